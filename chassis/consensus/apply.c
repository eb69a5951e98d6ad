/* Committed entries on their way to the state machine: read from the journal into batches, taken apart,
 * sent to the apply role; and what is told when they come back. apply_run.c is the other side.
 */
#include "consensus/node.h"

#include <stdlib.h>

#include "base/assert.h"

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

/* What is stored may be more than before. */
static void stored_changed(struct chassis_consensus *n)
{
    uint64_t stored = atomic_load(&n->stored);
    if (stored > n->applied) {
        n->applied = stored;
        read_applied(n);
        node_touch(n);
    }
    node_close_step(n);
}

void apply_stored(struct chassis_task *task)
{
    struct chassis_consensus *n = chassis_container_of(task, struct chassis_consensus, stored_task);
    atomic_store(&n->stored_on, false); /* before the index is read: none is missed */
    stored_changed(n);
}

void apply_batch_done(struct chassis_task *task)
{
    struct apply_batch *b = chassis_container_of(task, struct apply_batch, task);
    struct chassis_consensus *n = b->node;
    batch_unlink(n, b);
    batch_put(n, b);
    node_touch(n);
    stored_changed(n);
}

void apply_flushed(struct chassis_task *task)
{
    struct chassis_consensus *n = chassis_container_of(task, struct chassis_consensus, flush_task);
    n->apply_flushed = true;
    stored_changed(n);
}

bool apply_flush(struct chassis_consensus *n)
{
    if (!n->apply_flushing) {
        n->apply_flushing = true;
        n->flush_task.run = apply_flush_run;
        chassis_post(n->o.apply, &n->flush_task);
    }
    return n->apply_flushed;
}

void apply_want(struct chassis_consensus *n, uint64_t index)
{
    if (index <= n->apply_wanted || index <= n->applied || n->apply_flushing) {
        return;
    }
    n->apply_wanted = index;
    atomic_store(&n->store_wanted, index);
    if (!atomic_exchange(&n->store_on, true)) {
        chassis_post(n->o.apply, &n->store_task);
    }
    node_touch(n);
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
        int rc = envelope_decode(payload, &e->envelope);
        if (rc != 0) {
            struct chassis_error err = {0};
            chassis_error_code(&err, rc, "decode the entry at log index %llu",
                               (unsigned long long)e->entry.index);
            node_fatal(n, "cannot apply", &err);
        }
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
    if (leads && !n->leading) {
        apply_want(n, n->read_floor);
    }
    if (leads && !n->leading && n->applied >= n->read_floor && !n->closing) {
        n->leading = true;
        n->leading_term = n->term;
        if (m->ops->leadership != NULL) {
            m->ops->leadership(m->data, true, n->term);
        }
    }
}

/* A follower is ready when it has what was committed when it first knew. */
static void tell_ready(struct chassis_consensus *n)
{
    if (n->ready == NULL || n->leader == 0 || !n->started) {
        return;
    }
    if (n->ready_index == 0 && n->role != RAFT_LEADER) {
        n->ready_index = n->commit;
        apply_want(n, n->ready_index);
    }
    if (n->role == RAFT_LEADER ? n->leading : n->ready_index != 0 && n->applied >= n->ready_index) {
        chassis_consensus_ready_cb ready = n->ready;
        n->ready = NULL;
        ready(0, "", n->ready_data);
    }
}

/* Whether to apply now. A follower nobody waits for gathers what comes. */
static bool hurry(struct chassis_consensus *n, uint64_t limit)
{
    uint64_t now = node_now(n), due = n->applied_at_ns + NODE_PACE_MS * CHASSIS_NS_PER_MS;
    if (n->role == RAFT_LEADER || n->ready != NULL || n->closing || due <= now ||
        n->apply_wanted >= n->apply_next || !chassis_list_empty(&n->sent) ||
        limit - n->apply_next + 1 >= NODE_APPLY_WAIT) {
        return true;
    }
    node_pace(n, due - now);
    return false;
}

static void send_batch(struct chassis_consensus *n, uint64_t limit)
{
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
    f.batch->task.run = apply_batch_run;
    chassis_post(n->o.apply, &f.batch->task);
}

void apply_turn(struct chassis_consensus *n)
{
    /* Not beyond what is durable here: the store must never be ahead of this node's own log. */
    uint64_t limit = n->commit < n->durable ? n->commit : n->durable;
    bool may = n->started && n->installing.index == 0 && !n->apply_held;
    if (may && n->apply_next <= limit && hurry(n, limit)) {
        while (n->batches_out < NODE_APPLY_BATCHES && n->apply_next <= limit) {
            send_batch(n, limit);
        }
        n->applied_at_ns = node_now(n);
    }
    tell_leadership(n);
    tell_ready(n);
}

int apply_open(struct chassis_consensus *n, struct chassis_error *err)
{
    struct chassis_txn *txn;
    int rc = chassis_store_begin(n->store, false, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = apply_read_meta(n, txn, &n->role_apply.applied, &n->role_apply.term, err);
    atomic_store(&n->stored, n->role_apply.applied);
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
