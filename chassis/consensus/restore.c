#include "consensus/restore.h"

#include <raft.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "consensus/checkpoint.h"
#include "journal/slots.h"

enum { TERM_FORMAT = 1, TERM_LEN = 17 };

static int any_file(const char *name, void *data)
{
    snprintf(data, 256, "%s", name);
    return 1;
}

static int refuse_data(const struct chassis_consensus_restore *o, struct chassis_error *err)
{
    char name[256] = "", journal[512];
    int rc = o->disk->ops->list(o->disk, o->directory, any_file, name);
    if (rc >= 0 && name[0] == '\0') {
        snprintf(journal, sizeof journal, "%s/journal", o->directory);
        rc = o->disk->ops->list(o->disk, journal, any_file, name);
    }
    return rc < 0 || name[0] == '\0'
               ? 0
               : chassis_error_set(err, CHASSIS_ALREADY_EXISTS,
                                   "'%s' holds data already ('%s'): a backup is restored into an "
                                   "empty data directory only; move it away first",
                                   o->directory, name);
}

static int remove_one(const char *name, void *data)
{
    const struct chassis_consensus_restore *o = data;
    char path[1024];
    snprintf(path, sizeof path, "%s.restoring/%s", o->directory, name);
    return o->disk->ops->unlink(o->disk, path);
}

static void encode_members(const struct identity *id, struct chassis_buf *out)
{
    struct raft_configuration conf;
    struct raft_buffer encoded;
    raft_configuration_init(&conf);
    for (unsigned i = 0; i < id->n_members; i++) {
        CHASSIS_ASSERT(raft_configuration_add(&conf, id->members[i].id, id->members[i].address,
                                              RAFT_VOTER) == 0);
    }
    CHASSIS_ASSERT(raft_configuration_encode(&conf, &encoded) == 0);
    chassis_buf_append(out, encoded.base, encoded.len);
    raft_free(encoded.base);
    raft_configuration_close(&conf);
}

/* The new cluster goes on in the term of the backup, in which nobody has voted. */
static int write_term(const struct chassis_consensus_restore *o, const char *directory,
                      uint64_t term, struct chassis_error *err)
{
    char path[544];
    uint8_t value[TERM_LEN] = {TERM_FORMAT};
    struct chassis_slots *slots;
    struct chassis_buf empty = {0};
    snprintf(path, sizeof path, "%s/term", directory);
    int rc = chassis_slots_open(o->disk, path, &slots, &empty, err);
    chassis_buf_fini(&empty);
    if (rc == 0) {
        chassis_put_le64(value + 1, term);
        rc = chassis_slots_write(slots, chassis_view(value, sizeof value), err);
        chassis_slots_close(slots);
    }
    return rc;
}

static int write_pieces(const struct chassis_consensus_restore *o, const char *directory,
                        struct chassis_consensus_restored *ret, struct chassis_error *err)
{
    const char *tables[CHASSIS_STORE_TABLES_MAX];
    unsigned n_tables = o->machine->n_tables;
    struct checkpoint_header given, copied;
    struct identity *id = chassis_base_zalloc(sizeof *id);
    struct identity_options io = {.name = o->name,
                                  .members = o->members,
                                  .n_members = o->n_members,
                                  .secret = o->secret,
                                  .first_boot = identity_new_boot()};
    memcpy(tables, o->machine->tables, n_tables * sizeof *tables);
    tables[n_tables++] = CHASSIS_CONSENSUS_TABLE;
    memset(&given, 0, sizeof given);
    memset(&copied, 0, sizeof copied);
    int rc = identity_create(o->disk, directory, &io, o->origin, id, err);
    if (rc == 0) {
        memcpy(given.cluster_id, id->cluster_id, sizeof given.cluster_id);
        encode_members(id, &given.configuration);
        rc = checkpoint_copy(o->disk, o->file, directory, tables, n_tables, &given, &copied, err);
    }
    if (rc == 0) {
        rc = write_term(o, directory, copied.term, err);
    }
    if (rc == 0) {
        ret->index = copied.index;
        ret->term = copied.term;
        memcpy(ret->cluster_id, id->cluster_id, sizeof ret->cluster_id);
    }
    checkpoint_header_fini(&given);
    checkpoint_header_fini(&copied);
    free(id);
    return rc;
}

static int give_name(const struct chassis_consensus_restore *o, const char *from,
                     struct chassis_error *err)
{
    char parent[512];
    snprintf(parent, sizeof parent, "%s", o->directory);
    char *slash = strrchr(parent, '/');
    snprintf(slash != NULL ? slash : parent, 3, slash != NULL ? "" : ".");
    int rc = o->disk->ops->dir_sync(o->disk, from);
    if (rc == 0) {
        rc = CHASSIS_FAULT("consensus.restore.rename")
                 ? -5
                 : o->disk->ops->rename(o->disk, from, o->directory);
    }
    rc = rc != 0 ? rc : o->disk->ops->dir_sync(o->disk, parent);
    return rc != 0 ? chassis_error_code(err, rc, "rename '%s' to '%s'", from, o->directory) : 0;
}

int chassis_consensus_restore(const struct chassis_consensus_restore *o,
                              struct chassis_consensus_restored *ret_restored,
                              struct chassis_error *err)
{
    char directory[512];
    struct chassis_consensus_restored restored = {0};
    CHASSIS_ASSERT(o->machine->n_tables < CHASSIS_STORE_TABLES_MAX);
    snprintf(directory, sizeof directory, "%s.restoring", o->directory);
    int rc = refuse_data(o, err);
    if (rc != 0) {
        return rc;
    }
    rc = o->disk->ops->mkdir(o->disk, directory);
    if (rc != 0) {
        return chassis_error_code(err, rc, "make directory '%s'", directory);
    }
    (void)o->disk->ops->list(o->disk, directory, remove_one, (void *)(uintptr_t)o);
    rc = write_pieces(o, directory, &restored, err);
    rc = rc != 0 ? rc : give_name(o, directory, err);
    if (rc != 0) {
        (void)o->disk->ops->list(o->disk, directory, remove_one, (void *)(uintptr_t)o);
        return rc;
    }
    *ret_restored = restored;
    return 0;
}
