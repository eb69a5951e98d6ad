/* Committed entries to the state machine: one store transaction per batch, which also carries the
 * applied index and the table of request ids.
 *
 * Threads: functions named _run and what they call: the apply role; the rest: loop.
 */
#include "consensus/node.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"

enum { META_FORMAT = 1, META_LEN = 4 + 1 + 8 + 8 };

/* --- the store's own row ----------------------------------------------------------------------- */

static struct chassis_view meta_key(void)
{
    return chassis_view_str("applied");
}

static int put_meta(struct chassis_consensus *n, struct chassis_txn *txn, uint64_t index,
                    uint64_t term)
{
    uint8_t v[META_LEN];
    v[4] = META_FORMAT;
    chassis_put_le64(v + 5, index);
    chassis_put_le64(v + 13, term);
    chassis_put_le32(v, chassis_crc32c(0, v + 4, sizeof v - 4));
    return chassis_txn_put(txn, n->own_table, meta_key(), chassis_view(v, sizeof v));
}

int apply_read_meta(struct chassis_consensus *n, struct chassis_txn *txn, uint64_t *ret_index,
                    uint64_t *ret_term, struct chassis_error *err)
{
    struct chassis_view v;
    int rc = chassis_txn_get(txn, n->own_table, meta_key(), &v);
    if (rc == CHASSIS_NOT_FOUND) {
        *ret_index = *ret_term = 0;
        return 0;
    }
    if (rc != 0) {
        return chassis_error_code(err, rc, "read the applied index from the store");
    }
    if (v.len != META_LEN || v.data[4] != META_FORMAT ||
        chassis_crc32c(0, v.data + 4, v.len - 4) != chassis_get_le32(v.data)) {
        return chassis_error_set(err, CHASSIS_CORRUPT, "the store's applied index is damaged");
    }
    *ret_index = chassis_get_le64(v.data + 5);
    *ret_term = chassis_get_le64(v.data + 13);
    return 0;
}

/* --- the apply role ---------------------------------------------------------------------------- */

static void fatal_rc(struct chassis_consensus *n, int rc, const char *what, uint64_t index)
{
    struct chassis_error err = {0};
    if (rc != 0) {
        chassis_error_code(&err, rc, "%s at log index %llu", what, (unsigned long long)index);
        node_fatal(n, "cannot apply", &err);
    }
}

/* Answer from memory if this id was applied before; false if it was not. */
static bool known_run(struct chassis_consensus *n, struct apply_entry *e, struct chassis_view id,
                      int *ret_status, struct chassis_buf *ret_result)
{
    struct dedupe *d = n->role_apply.dedupe;
    struct dedupe_entry seen;
    if (n->o.planted & CHASSIS_PLANTED_NO_DEDUPE) {
        return false;
    }
    if (dedupe_find(d, id, &seen)) {
        *ret_status = seen.result_dropped ? CHASSIS_ALREADY_EXISTS : seen.status;
        chassis_buf_append_view(ret_result, seen.result);
        chassis_counter_add(n->metrics.duplicates, 1);
        return true;
    }
    if (e->envelope.floor != 0 && dedupe_floor(d) > e->envelope.floor) {
        *ret_status = CHASSIS_OUTCOME_UNKNOWN; /* memory does not reach back to its first attempt */
        return true;
    }
    return false;
}

static void entry_run(struct chassis_consensus *n, struct chassis_txn *txn, struct apply_entry *e)
{
    uint8_t id_bytes[1 + 64];
    struct chassis_buf result = {0};
    int status = 0;
    if (e->type != RAFT_COMMAND) {
        return;
    }
    struct chassis_view id = envelope_id(&e->envelope, id_bytes);
    dedupe_advance(n->role_apply.dedupe, e->entry.index - 1);
    if (!known_run(n, e, id, &status, &result)) {
        status = n->o.machine->ops->apply(n->o.machine->data, txn, &e->entry, &result);
        dedupe_add(n->role_apply.dedupe, e->entry.index, id, status, chassis_buf_view(&result));
    }
    if (e->proposal != NULL) {
        e->proposal->status = status;
        e->proposal->index = e->entry.index;
        e->proposal->result = chassis_buf_move(&result);
        if (status < 0) {
            chassis_error_set(&e->proposal->error, status, "%s", chassis_status_text(status));
        }
    }
    chassis_buf_fini(&result);
}

static void on_batch_applied(struct chassis_task *task);

static void batch_run(struct chassis_task *task)
{
    struct apply_batch *b = chassis_container_of(task, struct apply_batch, task);
    struct chassis_consensus *n = b->node;
    struct chassis_error err = {0};
    struct chassis_txn *txn;
    CHASSIS_ASSERT(b->entries[0].entry.index == n->role_apply.applied + 1);
    if (chassis_store_begin(n->store, true, &txn, &err) != 0) {
        node_fatal(n, "cannot begin a transaction of the store", &err);
    }
    for (unsigned i = 0; i < b->n; i++) {
        entry_run(n, txn, &b->entries[i]);
    }
    fatal_rc(n, dedupe_store(n->role_apply.dedupe, txn, b->last_index), "store request ids",
             b->last_index);
    fatal_rc(n, put_meta(n, txn, b->last_index, b->last_term), "store the index", b->last_index);
    if (chassis_txn_commit(txn, &err) != 0) {
        node_fatal(n, "cannot commit to the store", &err);
    }
    n->role_apply.applied = b->last_index;
    n->role_apply.term = b->last_term;
    if (n->o.machine->ops->committed != NULL) {
        n->o.machine->ops->committed(n->o.machine->data, b->last_index);
    }
    for (unsigned i = 0; i < b->n; i++) {
        if (b->entries[i].proposal != NULL) {
            propose_finish(n, b->entries[i].proposal);
        }
    }
    b->task.run = on_batch_applied;
    chassis_post(n->o.loop, &b->task);
}

int apply_install_run(struct chassis_consensus *n, const char *path,
                      struct checkpoint_header *ret_header, struct chassis_error *err)
{
    struct chassis_txn *txn;
    int rc = chassis_store_begin(n->store, true, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = checkpoint_load(n->disk, path, txn, ret_header, err);
    if (rc == 0 && memcmp(ret_header->cluster_id, n->identity.cluster_id,
                          sizeof n->identity.cluster_id) != 0) {
        rc = chassis_error_set(err, CHASSIS_CONFIG, "'%s' belongs to another cluster", path);
        checkpoint_header_fini(ret_header);
    }
    uint64_t index = 0, term = 0;
    if (rc == 0) {
        rc = apply_read_meta(n, txn, &index, &term, err);
        if (rc == 0 && (index != ret_header->index || term != ret_header->term)) {
            rc = chassis_error_set(err, CHASSIS_CORRUPT, "'%s' is at index %llu, its store at %llu",
                                   path, (unsigned long long)ret_header->index,
                                   (unsigned long long)index);
        }
        rc = rc != 0 ? rc : dedupe_restore(n->role_apply.dedupe, txn, index, err);
        if (rc != 0) {
            checkpoint_header_fini(ret_header);
        }
    }
    if (rc != 0) {
        chassis_txn_abort(txn);
        return rc;
    }
    rc = chassis_txn_commit(txn, err);
    if (rc == 0) {
        n->role_apply.applied = index;
        n->role_apply.term = term;
        if (n->o.machine->ops->restored != NULL) {
            n->o.machine->ops->restored(n->o.machine->data);
        }
    } else {
        checkpoint_header_fini(ret_header);
    }
    return rc;
}

/* --- loop -------------------------------------------------------------------------------------- */

static struct apply_batch *batch_get(struct chassis_consensus *n)
{
    struct apply_batch *b = n->n_batches_free != 0 ? n->batches_free[--n->n_batches_free]
                                                   : chassis_base_zalloc(sizeof *b);
    b->node = n;
    b->n = 0;
    chassis_buf_clear(&b->payloads);
    n->batches_out++;
    return b;
}

static void batch_put(struct chassis_consensus *n, struct apply_batch *b)
{
    n->batches_out--;
    if (b->payloads.cap > 4 * NODE_SUBMIT_BYTES) {
        chassis_buf_fini(&b->payloads);
    }
    n->batches_free[n->n_batches_free++] = b;
}

static void batch_unlink(struct chassis_consensus *n, struct apply_batch *b)
{
    for (unsigned i = 0; i < NODE_APPLY_BATCHES; i++) {
        if (n->batches_running[i] == b) {
            n->batches_running[i] = NULL;
        }
    }
}

static void on_batch_applied(struct chassis_task *task)
{
    struct apply_batch *b = chassis_container_of(task, struct apply_batch, task);
    struct chassis_consensus *n = b->node;
    n->applied = b->last_index;
    n->applied_term = b->last_term;
    batch_unlink(n, b);
    batch_put(n, b);
    read_applied(n);
    node_touch(n);
    node_close_step(n);
}

struct fill {
    struct apply_batch *batch;
    uint64_t limit;
};

static int fill_batch(const struct chassis_journal_record *record, void *data)
{
    struct fill *f = data;
    struct apply_batch *b = f->batch;
    if (record->index > f->limit || b->n == NODE_SUBMIT_ENTRIES) {
        return 1;
    }
    struct apply_entry *e = &b->entries[b->n++];
    memset(e, 0, sizeof *e);
    e->type = record->type;
    e->entry.index = record->index;
    e->entry.term = record->term;
    e->offset = b->payloads.len;
    e->len = record->payload.len;
    chassis_buf_append_view(&b->payloads, record->payload);
    return record->index == f->limit || b->n == NODE_SUBMIT_ENTRIES;
}

static void configuration_committed(struct chassis_consensus *n, uint64_t index,
                                    struct chassis_view payload)
{
    struct raft_buffer buf = {(void *)(uintptr_t)payload.data, payload.len};
    struct raft_event event = {.type = RAFT_CONFIGURATION, .configuration.index = index};
    if (raft_configuration_decode(&buf, &event.configuration.conf) != 0) {
        struct chassis_error err = {0};
        chassis_error_set(&err, CHASSIS_CORRUPT, "malformed configuration at log index %llu",
                          (unsigned long long)index);
        node_fatal(n, "cannot apply", &err);
    }
    if (index > n->checkpoint_conf_index) {
        n->conf_index = index;
    }
    (void)core_step(n, &event); /* takes the configuration */
}

/* Take the payloads apart and attach the proposals that wait for them. */
static void prepare(struct chassis_consensus *n, struct apply_batch *b)
{
    for (unsigned i = 0; i < b->n; i++) {
        struct apply_entry *e = &b->entries[i];
        struct chassis_view payload = chassis_view(b->payloads.data + e->offset, e->len);
        if (e->type == RAFT_CHANGE) {
            configuration_committed(n, e->entry.index, payload);
        }
        if (e->type != RAFT_COMMAND) {
            continue;
        }
        fatal_rc(n, envelope_decode(payload, &e->envelope), "decode the entry", e->entry.index);
        e->entry.time_ns = e->envelope.time_ns;
        e->entry.command = e->envelope.command;
        if (e->envelope.node == n->identity.id && e->envelope.boot == n->identity.boot) {
            e->proposal = propose_take(n, e->envelope.sequence);
        }
    }
    b->last_index = b->entries[b->n - 1].entry.index;
    b->last_term = b->entries[b->n - 1].entry.term;
}

static void tell_leadership(struct chassis_consensus *n)
{
    bool leads = n->role == RAFT_LEADER;
    const struct chassis_state_machine *m = n->o.machine;
    if (n->leading && (!leads || n->leading_term != n->term)) {
        n->leading = false;
        if (m->ops->leadership != NULL) {
            m->ops->leadership(m->data, false, n->leading_term);
        }
    }
    if (leads && !n->leading && n->applied >= n->read_floor && !n->closing) {
        n->leading = true;
        n->leading_term = n->term;
        if (m->ops->leadership != NULL) {
            m->ops->leadership(m->data, true, n->term);
        }
    }
}

void apply_turn(struct chassis_consensus *n)
{
    /* Not beyond what is durable here: the store must never be ahead of this node's own log. */
    uint64_t limit = n->commit < n->durable ? n->commit : n->durable;
    while (n->started && n->installing.index == 0 && !n->apply_held &&
           n->batches_out < NODE_APPLY_BATCHES && n->apply_next <= limit) {
        struct fill f = {batch_get(n), limit};
        struct chassis_error err = {0};
        int rc = chassis_journal_read(n->journal, NODE_STREAM, n->apply_next, NODE_SUBMIT_BYTES,
                                      fill_batch, &f, &err);
        if (f.batch->n == 0) {
            chassis_error_set(&err, rc != 0 ? rc : CHASSIS_CORRUPT,
                              "log index %llu is committed but not in the journal: %s",
                              (unsigned long long)n->apply_next, chassis_error_text(&err));
            node_fatal(n, "cannot apply", &err);
        }
        prepare(n, f.batch);
        n->apply_next = f.batch->last_index + 1;
        for (unsigned i = 0; i < NODE_APPLY_BATCHES; i++) {
            if (n->batches_running[i] == NULL) {
                n->batches_running[i] = f.batch;
                break;
            }
        }
        f.batch->task.run = batch_run;
        chassis_post(n->o.apply, &f.batch->task);
    }
    tell_leadership(n);
    if (n->ready != NULL && n->leader != 0 && n->started &&
        (n->role == RAFT_LEADER ? n->leading : n->applied >= n->commit && n->commit != 0)) {
        chassis_consensus_ready_cb ready = n->ready;
        n->ready = NULL;
        ready(0, "", n->ready_data);
    }
}

int apply_open(struct chassis_consensus *n, struct chassis_error *err)
{
    struct chassis_txn *txn;
    int rc = chassis_store_begin(n->store, false, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = apply_read_meta(n, txn, &n->role_apply.applied, &n->role_apply.term, err);
    if (n->role_apply.dedupe == NULL) {
        n->role_apply.dedupe = dedupe_new(n->own_table);
    }
    if (rc == 0) {
        rc = dedupe_restore(n->role_apply.dedupe, txn, n->role_apply.applied, err);
    }
    chassis_txn_abort(txn);
    return rc;
}

void apply_fini(struct chassis_consensus *n)
{
    for (unsigned i = 0; i < NODE_APPLY_BATCHES; i++) {
        struct apply_batch *b = n->batches_running[i];
        if (b != NULL) { /* only after a crash: its tasks are gone */
            chassis_buf_fini(&b->payloads);
            free(b);
        }
    }
    while (n->n_batches_free != 0) {
        struct apply_batch *b = n->batches_free[--n->n_batches_free];
        chassis_buf_fini(&b->payloads);
        free(b);
    }
    dedupe_free(n->role_apply.dedupe);
}
