/* Opening: read what the last run left, refuse what is damaged, rebuild the store if need be. */
#include "consensus/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

static const char store_magic[8] = "DRFTSTOR";
enum { STORE_FORMAT = 1, CRASHES_MAX = 3 };

/* state (1 clean, 0 open, 1 + n open and n ends without a clean stop before) | boot id of the
 * machine, or "damaged" */
static int write_state(struct chassis_consensus *n, uint8_t state, const char *boot_id,
                       struct chassis_error *err)
{
    char path[512];
    struct chassis_buf payload = {0};
    snprintf(path, sizeof path, "%s/store.state", n->directory);
    chassis_buf_append_byte(&payload, state);
    chassis_buf_append_str(&payload, boot_id);
    int rc =
        small_file_write(n->disk, path, store_magic, STORE_FORMAT, chassis_buf_view(&payload), err);
    chassis_buf_fini(&payload);
    return rc;
}

int node_mark(struct chassis_consensus *n, bool clean, struct chassis_error *err)
{
    if (atomic_load(&n->distrusted)) {
        return 0; /* it stays marked as damaged */
    }
    return write_state(n,
                       clean             ? 1
                       : n->crashes == 0 ? 0
                                         : (uint8_t)(1 + n->crashes),
                       n->boot_id, err);
}

void chassis_consensus_distrust(struct chassis_consensus *n, const char *why)
{
    struct chassis_error err = {0};
    if (atomic_exchange(&n->distrusted, true)) {
        return;
    }
    chassis_log_error(n->log, "the store is damaged: the next start rebuilds it",
                      chassis_f_str("why", why));
    if (write_state(n, 0, "damaged", &err) != 0) {
        chassis_log_error(n->log, "the store is not marked as damaged", chassis_f_err(&err));
    }
}

/* Why the store must not be believed, NULL if it may. It is written without sync, so after a crash
 * of the machine it is not; and a store whose damage kills the process again and again is not. */
static int store_distrusted(struct chassis_consensus *n, const char **ret_why,
                            struct chassis_error *err)
{
    char path[512];
    struct chassis_buf payload = {0};
    snprintf(path, sizeof path, "%s/store.state", n->directory);
    int rc = small_file_read(n->disk, path, store_magic, STORE_FORMAT, &payload, err);
    if (rc == CHASSIS_NOT_FOUND) {
        chassis_error_clear(err);
        return 0; /* the first start */
    }
    if (rc == 0 && payload.len > 1 && payload.data[0] != 1) {
        struct chassis_view boot = chassis_view(payload.data + 1, payload.len - 1);
        n->crashes = payload.data[0] < 2 ? 1 : payload.data[0];
        if (chassis_view_eq(boot, chassis_view_str("damaged"))) {
            *ret_why = "a damaged record was met";
        } else if (!chassis_view_eq(boot, chassis_view_str(n->boot_id))) {
            *ret_why = "the machine went down while it was open";
        } else if (n->crashes >= CRASHES_MAX) {
            *ret_why = "the process ended several times without a clean stop";
        }
    } else if (rc == 0 && payload.len <= 1) {
        *ret_why = "its state is not known";
    }
    chassis_buf_fini(&payload);
    return rc;
}

static int remove_file(const char *name, void *data)
{
    char path[1024];
    struct chassis_disk *disk = chassis_disk_posix();
    snprintf(path, sizeof path, "%s/%s", (const char *)data, name);
    return disk->ops->unlink(disk, path);
}

/* Stores live on the machine's own disk, whatever `disk` is. */
static void drop_store(struct chassis_consensus *n, const char *why)
{
    struct chassis_disk *disk = chassis_disk_posix();
    chassis_log_warn(n->log, "the store is dropped and rebuilt from checkpoint and log",
                     chassis_f_str("why", why));
    (void)disk->ops->list(disk, n->store_directory, remove_file, n->store_directory);
}

static int open_store(struct chassis_consensus *n, struct chassis_error *err)
{
    struct chassis_repository_options o = {.path = n->store_directory,
                                           .size_max_bytes = n->o.store_bytes_max,
                                           .tables = n->tables,
                                           .n_tables = n->n_tables};
    int rc = n->o.repository->open(&o, &n->store, err);
    if (rc != 0) {
        return rc;
    }
    if (n->o.machine->ops->verify != NULL) {
        rc = n->o.machine->ops->verify(n->o.machine->data, n->store, err);
    }
    rc = rc == 0 ? apply_open(n, err) : rc;
    if (rc != 0) {
        chassis_store_close(n->store);
        n->store = NULL;
    }
    return rc;
}

static int open_store_or_rebuild(struct chassis_consensus *n, struct chassis_error *err)
{
    const char *why = NULL;
    int rc = store_distrusted(n, &why, err);
    if (rc != 0) {
        return rc;
    }
    if (why != NULL) {
        drop_store(n, why);
        n->crashes = 0;
    }
    rc = node_mark(n, false, err);
    if (rc != 0) {
        return rc;
    }
    rc = open_store(n, err);
    if (rc != 0) {
        drop_store(n, chassis_error_text(err));
        chassis_error_clear(err);
        rc = open_store(n, err);
    }
    return rc;
}

static int open_checkpoint(struct chassis_consensus *n, struct chassis_error *err)
{
    char path[512];
    struct checkpoint_header h;
    uint64_t index;
    int rc = checkpoint_newest(n->disk, n->directory, true, &index, err);
    if (rc != 0 || index == 0) {
        return rc;
    }
    memset(&h, 0, sizeof h);
    checkpoint_path(n->directory, index, path);
    rc = checkpoint_load(n->disk, path, NULL, &h, err); /* every byte: others may ask for it */
    if (rc != 0) {
        return rc;
    }
    if (h.index != index || memcmp(h.cluster_id, n->identity.cluster_id, 16) != 0) {
        rc = chassis_error_set(err, CHASSIS_CONFIG, "'%s' belongs to another cluster or index",
                               path);
        checkpoint_header_fini(&h);
        return rc;
    }
    n->checkpoint_index = h.index;
    n->checkpoint_term = h.term;
    n->checkpoint_conf_index = h.configuration_index;
    n->checkpoint_conf = chassis_buf_move(&h.configuration);
    return 0;
}

static int load_checkpoint(struct chassis_consensus *n, struct chassis_error *err)
{
    char path[512];
    struct checkpoint_header h;
    memset(&h, 0, sizeof h);
    checkpoint_path(n->directory, n->checkpoint_index, path);
    chassis_log_info(n->log, "filling the store from the checkpoint",
                     chassis_f_u64("index", n->checkpoint_index));
    int rc = apply_install_run(n, path, &h, err);
    if (rc == 0) {
        checkpoint_header_fini(&h);
    }
    return rc;
}

/* Store, checkpoint and log must overlap; what is missing can only be had from the peers. */
int node_check_pieces(struct chassis_consensus *n, struct chassis_error *err)
{
    struct chassis_journal_stream s = chassis_journal_stream(n->journal, NODE_STREAM);
    uint64_t c = n->checkpoint_index, applied = n->role_apply.applied;
    bool any = s.last_index != 0 && s.first_index <= s.last_index;
    if (n->raft.current_term > 1 && s.last_index == 0 && c == 0) {
        return chassis_error_set(err, CHASSIS_CORRUPT,
                                 "'%s/journal' is empty, but this node voted in term %llu: the log "
                                 "was lost; restore it, or replace the node",
                                 n->directory, (unsigned long long)n->raft.current_term);
    }
    if (any && s.first_index > c + 1) {
        return chassis_error_set(
            err, CHASSIS_CORRUPT,
            "the log in '%s/journal' begins at %llu, but the newest checkpoint "
            "is at %llu: a checkpoint is missing",
            n->directory, (unsigned long long)s.first_index, (unsigned long long)c);
    }
    if (applied > s.last_index && applied > c) {
        return chassis_error_set(err, CHASSIS_CORRUPT,
                                 "the store has applied %llu entries, the log in '%s/journal' ends "
                                 "at %llu: the log was cut or replaced; restore it, or remove the "
                                 "data directory of this node",
                                 (unsigned long long)applied, n->directory,
                                 (unsigned long long)s.last_index);
    }
    if (any && s.last_term > n->raft.current_term &&
        !(n->o.planted & CHASSIS_PLANTED_FORGOTTEN_VOTE)) {
        return chassis_error_set(err, CHASSIS_CORRUPT,
                                 "'%s/term' is at term %llu, the log has entries of term %llu: the "
                                 "file was replaced by an older one",
                                 n->directory, (unsigned long long)n->raft.current_term,
                                 (unsigned long long)s.last_term);
    }
    return 0;
}

static int open_pieces(struct chassis_consensus *n, struct chassis_error *err)
{
    char journal[512];
    snprintf(journal, sizeof journal, "%s/journal", n->directory);
    struct chassis_journal_options jo = {.disk = n->disk,
                                         .directory = journal,
                                         .owner = n->o.loop,
                                         .writer = n->o.writer,
                                         .preparer = n->o.preparer,
                                         .log = n->log,
                                         .segment_bytes = n->o.segment_bytes};
    int rc = core_open(n, err);
    rc = rc != 0 ? rc : known_open(n, err);
    rc = rc != 0 ? rc : open_checkpoint(n, err);
    rc = rc != 0 ? rc : open_store_or_rebuild(n, err);
    if (rc == 0 && n->role_apply.applied < n->checkpoint_index) {
        rc = load_checkpoint(n, err);
    }
    return rc != 0 ? rc : chassis_journal_open(&jo, &n->journal, err);
}

static void open_metrics(struct chassis_consensus *n)
{
    static const double batches[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
    struct node_metrics *m = &n->metrics;
    m->term = chassis_gauge("chassis_consensus_term", "Current Raft term.", NULL, 0);
    m->role = chassis_gauge("chassis_consensus_role",
                            "0 starting, 1 follower, 2 candidate, 3 leader.", NULL, 0);
    m->commit =
        chassis_gauge("chassis_consensus_commit_index", "Highest committed log index.", NULL, 0);
    m->applied =
        chassis_gauge("chassis_consensus_applied_index", "Highest applied log index.", NULL, 0);
    m->outstanding = chassis_gauge("chassis_consensus_outstanding_proposals",
                                   "Commands accepted and not yet answered.", NULL, 0);
    m->elections = chassis_counter("chassis_consensus_elections_total",
                                   "Times this node became a candidate.", NULL, 0);
    m->dropped = chassis_counter("chassis_consensus_dropped_messages_total",
                                 "Messages not sent because a peer was down or slow.", NULL, 0);
    m->checkpoints =
        chassis_counter("chassis_consensus_checkpoints_total", "Checkpoints written.", NULL, 0);
    m->installs = chassis_counter("chassis_consensus_installs_total",
                                  "Checkpoints of other nodes installed.", NULL, 0);
    m->resubmitted = chassis_counter("chassis_consensus_resubmitted_total",
                                     "Commands sent again after a change of leader.", NULL, 0);
    m->duplicates = chassis_counter("chassis_consensus_duplicates_total",
                                    "Commands answered from the table of request ids.", NULL, 0);
    m->proposal =
        chassis_histogram("chassis_consensus_proposal_seconds",
                          "From acceptance of a command to its answer.", NULL, 0, NULL, 0);
    m->batch = chassis_histogram("chassis_consensus_batch_entries", "Commands per submission.",
                                 batches, sizeof batches / sizeof batches[0], NULL, 0);
    m->sync = chassis_histogram("chassis_consensus_persist_seconds",
                                "From handing entries to the journal to their being durable.", NULL,
                                0, NULL, 0);
}

static void defaults(struct chassis_consensus_options *o)
{
#define DEFAULT(field, value) o->field = o->field != 0 ? o->field : (value)
    DEFAULT(election_ms, 1000);
    DEFAULT(heartbeat_ms, 100);
    DEFAULT(checkpoint_entries, 100000);
    DEFAULT(checkpoint_bytes, 64ULL << 20);
    DEFAULT(trailing_entries, 8192);
    DEFAULT(trailing_bytes, 16ULL << 20);
    DEFAULT(proposals_max, 16384);
    DEFAULT(proposals_bytes_max, 64ULL << 20);
    DEFAULT(command_bytes_max, 2U << 20);
    DEFAULT(chunk_bytes, 256U << 10);
    uint64_t segment = o->segment_bytes != 0 ? o->segment_bytes : 64ULL << 20;
    DEFAULT(reserve_bytes, 3 * segment); /* above the journal's own: it should not have to refuse */
#undef DEFAULT
}

static struct chassis_consensus *allocate(const struct chassis_consensus_options *options)
{
    struct chassis_consensus *n = chassis_base_zalloc(sizeof *n);
    n->o = *options;
    defaults(&n->o);
    n->disk = options->disk;
    n->log = options->log != NULL ? options->log : chassis_log_module("consensus");
    snprintf(n->directory, sizeof n->directory, "%s", options->directory);
    if (options->store_directory != NULL) {
        snprintf(n->store_directory, sizeof n->store_directory, "%s", options->store_directory);
    } else {
        snprintf(n->store_directory, sizeof n->store_directory, "%s/store", options->directory);
    }
    chassis_buf_append_view(&n->secret, options->secret);
    n->n_tables = options->machine->n_tables + 1;
    n->own_table = options->machine->n_tables;
    n->tables = chassis_base_zalloc(n->n_tables * sizeof(const char *));
    for (unsigned i = 0; i < options->machine->n_tables; i++) {
        n->tables[i] = options->machine->tables[i];
    }
    n->tables[n->own_table] = CHASSIS_CONSENSUS_TABLE;
    n->records = chassis_base_alloc(FRAME_ENTRIES_MAX * sizeof *n->records);
    n->entries = chassis_base_alloc(FRAME_ENTRIES_MAX * sizeof *n->entries);
    n->frame_entries = chassis_base_alloc(FRAME_ENTRIES_MAX * sizeof *n->frame_entries);
    pthread_mutex_init(&n->status_lock, NULL);
    pthread_mutex_init(&n->known.lock, NULL);
    open_metrics(n);
    node_init_tasks(n);
    return n;
}

static int open_directory(struct chassis_consensus *n, struct chassis_error *err)
{
    int rc = n->disk->ops->mkdir(n->disk, n->directory);
    if (rc != 0) {
        return chassis_error_code(err, rc, "make directory '%s'", n->directory);
    }
    rc = n->disk->ops->lock(n->disk, n->directory, &n->lock);
    if (rc != 0) {
        return chassis_error_code(err, rc, "lock '%s' (is another process using it?)",
                                  n->directory);
    }
    if (n->o.boot_id != NULL) {
        snprintf(n->boot_id, sizeof n->boot_id, "%s", n->o.boot_id);
        return 0;
    }
    rc = chassis_os_boot_id(n->boot_id);
    return rc != 0 ? chassis_error_code(err, rc, "read the boot id of this machine") : 0;
}

/* Drawn, so that the others notice when a node comes back without what it had; simulations, which
 * give a seed, must be the same each time. */
static uint64_t first_boot(const struct chassis_consensus *n)
{
    return n->o.seed != 0 ? 1 : identity_new_boot();
}

int chassis_consensus_open(const struct chassis_consensus_options *options,
                           struct chassis_consensus **ret_node, struct chassis_error *err)
{
    struct chassis_error local = {0};
    err = err != NULL ? err : &local;
    if (strlen(options->directory) >= sizeof((struct chassis_consensus *)0)->directory ||
        options->machine->n_tables >= CHASSIS_STORE_TABLES_MAX) {
        return chassis_error_set(err, CHASSIS_CONFIG, "the data directory's name is too long");
    }
    struct chassis_consensus *n = allocate(options);
    int rc = open_directory(n, err);
    struct identity_options identity = {.name = n->o.name,
                                        .members = n->o.members,
                                        .n_members = n->o.n_members,
                                        .secret = chassis_buf_view(&n->secret),
                                        .first_boot = first_boot(n)};
    rc = rc != 0 ? rc : identity_open(n->disk, n->directory, &identity, &n->identity, err);
    if (rc == 0) {
        peer_init(n);
        n->status.id = n->identity.id;
        n->status.n_members = n->identity.n_members;
        memcpy(n->status.cluster_id, n->identity.cluster_id, sizeof n->status.cluster_id);
        memcpy(n->status.members, n->identity.members, sizeof n->status.members);
        for (unsigned i = 0; i < n->status.n_members; i++) { /* until it says otherwise */
            struct chassis_consensus_member *m = &n->status.members[i];
            memcpy(m->service, m->address, sizeof m->service);
        }
        rc = open_pieces(n, err);
    }
    if (rc != 0) {
        chassis_consensus_abandon(n);
        return rc;
    }
    *ret_node = n;
    return 0;
}
