#include "consensus/identity.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/auth.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/prng.h"

static const char identity_magic[8] = "DRFTNODE";
enum { IDENTITY_FORMAT = 3 };

int small_file_read(struct chassis_disk *disk, const char *path, const char magic[8],
                    uint32_t format, struct chassis_buf *ret_payload, struct chassis_error *err)
{
    struct chassis_buf data = {0};
    int rc = chassis_disk_read_file(disk, path, SMALL_FILE_BYTES_MAX, &data, err);
    if (rc == -2 /* ENOENT */ || rc == CHASSIS_NOT_FOUND) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND, "no file '%s'", path);
    }
    if (rc != 0) {
        return rc;
    }
    struct chassis_view payload = {0};
    if (data.len < SMALL_FILE_HEADER_LEN || memcmp(data.data, magic, 8) != 0) {
        rc = chassis_error_set(err, CHASSIS_CORRUPT, "'%s' is damaged at offset 0: no %.8s header",
                               path, magic);
    } else if (chassis_get_le32(data.data + 12) != data.len - SMALL_FILE_HEADER_LEN) {
        rc = chassis_error_set(
            err, CHASSIS_CORRUPT, "'%s' is damaged at offset 12: length %u, but %zu bytes follow",
            path, chassis_get_le32(data.data + 12), data.len - SMALL_FILE_HEADER_LEN);
    } else {
        payload = chassis_view(data.data + SMALL_FILE_HEADER_LEN, data.len - SMALL_FILE_HEADER_LEN);
        uint32_t crc = chassis_crc32c(chassis_crc32c(0, data.data, 16), payload.data, payload.len);
        if (crc != chassis_get_le32(data.data + 16)) {
            rc = chassis_error_set(err, CHASSIS_CORRUPT,
                                   "'%s' is damaged at offset %d: wrong checksum", path,
                                   SMALL_FILE_HEADER_LEN);
        } else if (chassis_get_le32(data.data + 8) > format) { /* after the checksum over it */
            rc = chassis_error_set(err, CHASSIS_BAD_VERSION,
                                   "'%s' has format %u at offset 8, this program knows up to %u",
                                   path, chassis_get_le32(data.data + 8), format);
        }
    }
    if (rc == 0) {
        chassis_buf_append_view(ret_payload, payload);
    }
    chassis_buf_fini(&data);
    return rc;
}

int small_file_write(struct chassis_disk *disk, const char *path, const char magic[8],
                     uint32_t format, struct chassis_view payload, struct chassis_error *err)
{
    struct chassis_buf data = {0};
    chassis_buf_append(&data, magic, 8);
    chassis_buf_append_le32(&data, format);
    chassis_buf_append_le32(&data, (uint32_t)payload.len);
    uint32_t crc = chassis_crc32c(chassis_crc32c(0, data.data, 16), payload.data, payload.len);
    chassis_buf_append_le32(&data, crc);
    chassis_buf_append_view(&data, payload);
    int rc = chassis_disk_replace_file(disk, path, chassis_buf_view(&data), err);
    chassis_buf_fini(&data);
    return rc;
}

static int member_parse(const char *text, struct chassis_consensus_member *ret_member,
                        struct chassis_error *err)
{
    memset(ret_member, 0, sizeof *ret_member);
    const char *at = strchr(text, '@');
    const char *colon = at != NULL ? strrchr(at, ':') : NULL;
    size_t name_len = at != NULL ? (size_t)(at - text) : 0;
    if (colon == NULL || name_len == 0 || colon == at + 1 || colon[1] == '\0') {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "member '%s' is not of the form name@host:port", text);
    }
    if (name_len >= sizeof ret_member->name || strlen(at + 1) >= sizeof ret_member->address) {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "member '%s' is too long (name: 63 bytes, address: %d)", text,
                                 CHASSIS_CONSENSUS_ADDRESS_MAX - 1);
    }
    memcpy(ret_member->name, text, name_len);
    snprintf(ret_member->address, sizeof ret_member->address, "%s", at + 1);
    return 0;
}

static int member_cmp(const void *a, const void *b)
{
    return strcmp(((const struct chassis_consensus_member *)a)->name,
                  ((const struct chassis_consensus_member *)b)->name);
}

int identity_members(const char *const *texts, unsigned n, struct identity *ret_identity,
                     struct chassis_error *err)
{
    if (n == 0 || n > CHASSIS_CONSENSUS_NODES_MAX) {
        return chassis_error_set(err, CHASSIS_CONFIG, "a cluster has 1 to %d members, not %u",
                                 CHASSIS_CONSENSUS_NODES_MAX, n);
    }
    ret_identity->n_members = n;
    for (unsigned i = 0; i < n; i++) {
        int rc = member_parse(texts[i], &ret_identity->members[i], err);
        if (rc != 0) {
            return rc;
        }
    }
    qsort(ret_identity->members, n, sizeof ret_identity->members[0], member_cmp);
    for (unsigned i = 0; i < n; i++) {
        ret_identity->members[i].id = i + 1;
        for (unsigned j = 0; j < i; j++) {
            if (strcmp(ret_identity->members[i].name, ret_identity->members[j].name) == 0 ||
                strcmp(ret_identity->members[i].address, ret_identity->members[j].address) == 0) {
                return chassis_error_set(
                    err, CHASSIS_CONFIG, "members '%s@%s' and '%s@%s' share a name or an address",
                    ret_identity->members[j].name, ret_identity->members[j].address,
                    ret_identity->members[i].name, ret_identity->members[i].address);
            }
        }
    }
    return 0;
}

static void members_text(const struct identity *id, struct chassis_buf *out)
{
    for (unsigned i = 0; i < id->n_members; i++) {
        chassis_buf_printf(out, "%s%s@%s", i != 0 ? "," : "", id->members[i].name,
                           id->members[i].address);
    }
}

static void identity_encode(const struct identity *id, struct chassis_buf *out)
{
    chassis_buf_append(out, id->cluster_id, sizeof id->cluster_id);
    chassis_buf_append_le64(out, id->id);
    chassis_buf_append_le64(out, id->boot);
    chassis_buf_append_le32(out, id->n_members);
    for (unsigned i = 0; i < id->n_members; i++) {
        chassis_buf_append_le64(out, id->members[i].id);
        chassis_buf_append_block(out, chassis_view_str(id->members[i].name));
        chassis_buf_append_block(out, chassis_view_str(id->members[i].address));
    }
    chassis_buf_append(out, id->origin, sizeof id->origin); /* from format 2 on */
    chassis_buf_append_byte(out, id->joined);               /* from format 3 on */
}

static void read_text(struct chassis_reader *r, char *out, size_t size)
{
    struct chassis_view v = chassis_read_block(r);
    if (v.len >= size) {
        r->bad = true;
        return;
    }
    memcpy(out, v.data, v.len);
    out[v.len] = '\0';
}

static int identity_decode(struct chassis_view payload, struct identity *id)
{
    struct chassis_reader r = chassis_reader(payload);
    struct chassis_view cluster = chassis_read_bytes(&r, sizeof id->cluster_id);
    if (!r.bad) {
        memcpy(id->cluster_id, cluster.data, sizeof id->cluster_id);
    }
    id->id = chassis_read_le64(&r);
    id->boot = chassis_read_le64(&r);
    id->n_members = chassis_read_le32(&r);
    if (r.bad || id->n_members == 0 || id->n_members > CHASSIS_CONSENSUS_NODES_MAX) {
        return CHASSIS_CORRUPT;
    }
    for (unsigned i = 0; i < id->n_members; i++) {
        id->members[i].id = chassis_read_le64(&r);
        read_text(&r, id->members[i].name, sizeof id->members[i].name);
        read_text(&r, id->members[i].address, sizeof id->members[i].address);
    }
    if (!r.bad && chassis_reader_left(&r) >= sizeof id->origin) {
        memcpy(id->origin, chassis_read_bytes(&r, sizeof id->origin).data, sizeof id->origin);
        id->joined = chassis_reader_left(&r) != 0 && chassis_read_byte(&r) != 0;
    }
    return r.bad || chassis_reader_left(&r) != 0 ? CHASSIS_CORRUPT : 0;
}

/* The list and the secret are the same on all nodes, so each derives the same cluster id without
 * having talked to any other. What was restored from a backup is another cluster than the one that
 * was backed up, even with the same list and secret: its origin makes the difference. */
static void derive_cluster_id(struct identity *id, struct chassis_view secret)
{
    static const uint8_t first[IDENTITY_ORIGIN_LEN];
    uint8_t mac[CHASSIS_AUTH_MAC_LEN];
    struct chassis_buf text = {0};
    chassis_buf_append_str(&text, "draft cluster 1\n");
    members_text(id, &text);
    if (memcmp(id->origin, first, sizeof first) != 0) {
        chassis_buf_append_str(&text, "\nrestored\n");
        chassis_buf_append(&text, id->origin, sizeof id->origin);
    }
    chassis_auth_mac(secret.len != 0 ? secret : chassis_view_str("draft"), chassis_buf_view(&text),
                     mac);
    memcpy(id->cluster_id, mac, sizeof id->cluster_id);
    chassis_buf_fini(&text);
}

static int same_as_first(const struct identity *stored, const struct identity *given,
                         const char *path, struct chassis_error *err)
{
    struct chassis_buf was = {0}, is = {0};
    members_text(stored, &was);
    members_text(given, &is);
    int rc = 0;
    if (!chassis_view_eq(chassis_buf_view(&was), chassis_buf_view(&is))) {
        rc = chassis_error_set(err, CHASSIS_CONFIG,
                               "the member list was fixed at first start as '%.150s' and is now "
                               "'%.150s': give the first one again ('%s')",
                               (const char *)was.data, (const char *)is.data, path);
    } else if (stored->id != given->id) {
        rc = chassis_error_set(
            err, CHASSIS_CONFIG, "'%s' belongs to node '%s', not to '%s': check the data directory",
            path, stored->members[stored->id - 1].name, given->members[given->id - 1].name);
    } else if (memcmp(stored->cluster_id, given->cluster_id, sizeof given->cluster_id) != 0) {
        rc = chassis_error_set(err, CHASSIS_CONFIG,
                               "the cluster secret is not the one of the first start ('%s')", path);
    }
    chassis_buf_fini(&was);
    chassis_buf_fini(&is);
    return rc;
}

static int find_self(struct identity *id, const char *name, struct chassis_error *err)
{
    for (unsigned i = 0; i < id->n_members; i++) {
        if (strcmp(id->members[i].name, name) == 0) {
            id->id = id->members[i].id;
            return 0;
        }
    }
    return chassis_error_set(err, CHASSIS_CONFIG, "this node, '%s', is not in the member list",
                             name);
}

uint64_t identity_new_boot(void)
{
    uint32_t incarnation;
    chassis_base_random_bytes(&incarnation, sizeof incarnation);
    return (uint64_t)((incarnation & 0xffffff) | 1) << 32 | 1;
}

static int identity_given(const char *name, const char *const *members, unsigned n_members,
                          struct identity *given, struct chassis_error *err)
{
    int rc = identity_members(members, n_members, given, err);
    return rc != 0 ? rc : find_self(given, name, err);
}

static int identity_write(struct chassis_disk *disk, const char *path, const struct identity *id,
                          struct chassis_error *err)
{
    struct chassis_buf payload = {0};
    identity_encode(id, &payload);
    int rc = small_file_write(disk, path, identity_magic, IDENTITY_FORMAT,
                              chassis_buf_view(&payload), err);
    chassis_buf_fini(&payload);
    return rc;
}

/* CHASSIS_NOT_FOUND if there is none. */
static int identity_read(struct chassis_disk *disk, const char *path, struct identity *ret_stored,
                         struct chassis_error *err)
{
    struct chassis_buf payload = {0};
    int rc = small_file_read(disk, path, identity_magic, IDENTITY_FORMAT, &payload, err);
    if (rc == 0) {
        rc = identity_decode(chassis_buf_view(&payload), ret_stored);
        if (rc != 0 || ret_stored->id == 0 || ret_stored->id > ret_stored->n_members) {
            rc = chassis_error_set(err, CHASSIS_CORRUPT, "'%s' is damaged at offset %d", path,
                                   SMALL_FILE_HEADER_LEN);
        }
    }
    chassis_buf_fini(&payload);
    return rc;
}

int identity_create(struct chassis_disk *disk, const char *directory,
                    const struct identity_options *o, const uint8_t origin[IDENTITY_ORIGIN_LEN],
                    struct identity *ret_identity, struct chassis_error *err)
{
    struct identity *given = chassis_base_zalloc(sizeof *given);
    char path[512];
    snprintf(path, sizeof path, "%s/identity", directory);
    memcpy(given->origin, origin, sizeof given->origin);
    int rc = identity_given(o->name, o->members, o->n_members, given, err);
    if (rc == 0) {
        derive_cluster_id(given, o->secret);
        given->boot = o->first_boot - 1;
        rc = identity_write(disk, path, given, err);
    }
    if (rc == 0) {
        *ret_identity = *given;
    }
    free(given);
    return rc;
}

int identity_join(struct chassis_disk *disk, const char *directory, struct chassis_error *err)
{
    struct identity *stored = chassis_base_zalloc(sizeof *stored);
    char path[512];
    snprintf(path, sizeof path, "%s/identity", directory);
    int rc = identity_read(disk, path, stored, err);
    if (rc == 0) {
        stored->joined = true;
        rc = identity_write(disk, path, stored, err);
    }
    free(stored);
    return rc;
}

/* Nobody else knows where a lone node listens: it may move. */
static bool alone_as_before(const struct identity *stored, const struct identity *given)
{
    return stored->n_members == 1 && given->n_members == 1 &&
           strcmp(stored->members[0].name, given->members[0].name) == 0;
}

int identity_open(struct chassis_disk *disk, const char *directory,
                  const struct identity_options *o, struct identity *ret_identity,
                  struct chassis_error *err)
{
    struct identity *given = chassis_base_zalloc(sizeof *given);
    struct identity *stored = chassis_base_zalloc(sizeof *stored);
    char path[512];
    snprintf(path, sizeof path, "%s/identity", directory);
    int rc = identity_given(o->name, o->members, o->n_members, given, err);
    if (rc != 0) {
        goto out;
    }
    rc = identity_read(disk, path, stored, err);
    if (rc == CHASSIS_NOT_FOUND) {
        chassis_error_clear(err);
        derive_cluster_id(given, o->secret);
        given->boot = o->first_boot;
        rc = 0;
    } else if (rc == 0) {
        memcpy(given->origin, stored->origin, sizeof given->origin);
        given->joined = stored->joined;
        if (alone_as_before(stored, given)) {
            given->members[0] = stored->members[0];
        }
        derive_cluster_id(given, o->secret);
        given->boot = stored->boot + 1;
        rc = same_as_first(stored, given, path, err);
    }
    if (rc == 0) {
        rc = identity_write(disk, path, given, err);
    }
    if (rc == 0) {
        *ret_identity = *given;
        if (given->n_members == 1) { /* what is stored is part of the cluster id, this is where */
            (void)member_parse(o->members[0], ret_identity->members, NULL);
            ret_identity->members[0].id = 1;
        }
    }
out:
    free(given);
    free(stored);
    return rc;
}
