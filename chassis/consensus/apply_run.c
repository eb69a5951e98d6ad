/* The apply role: committed entries to the state machine, in transactions of the store that also carry
 * the applied index and the table of request ids.
 *
 *   batch -> entries run in the open transaction -> callers that need not read it are answered
 *         -> stored (committed): others are answered, the loop is told, read transactions see it
 *
 * Storing costs more than many entries, so it is put off while nobody waits for it: at most
 * NODE_STORE_MS. With somebody who watches it takes up to a sixth of the role's time, so it comes soon
 * where few pages change, and is put off NODE_PACE_MS at most. What was answered before is in the log
 * of a majority; after a crash it is run again.
 *
 * Threads: the apply role, but for apply_read_meta (who has the transaction) and apply_abandon.
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

/* --- entries ----------------------------------------------------------------------------------- */

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

/* --- storing ------------------------------------------------------------------------------------ */

static void store_run(struct chassis_consensus *n)
{
    struct chassis_error err = {0};
    uint64_t index = n->role_apply.applied, began = chassis_now_ns(n->o.apply);
    fatal_rc(n, dedupe_store(n->role_apply.dedupe, n->role_apply.txn, index), "store request ids",
             index);
    fatal_rc(n, put_meta(n, n->role_apply.txn, index, n->role_apply.term), "store the index",
             index);
    if (chassis_txn_commit(n->role_apply.txn, &err) != 0) {
        node_fatal(n, "cannot commit to the store", &err);
    }
    n->role_apply.txn = NULL;
    if (n->role_apply.armed) {
        n->role_apply.armed = false;
        chassis_cancel(n->o.apply, &n->role_apply.timer);
    }
    n->role_apply.stored_ns = chassis_now_ns(n->o.apply);
    n->role_apply.store_ns = n->role_apply.stored_ns - began;
    atomic_store(&n->stored, index);
    if (n->o.machine->ops->committed != NULL) {
        n->o.machine->ops->committed(n->o.machine->data, index);
    }
}

static bool store_wanted(struct chassis_consensus *n)
{
    uint64_t wanted = atomic_load(&n->store_wanted);
    return wanted > atomic_load(&n->stored) && wanted <= n->role_apply.applied;
}

static void tell_stored(struct chassis_consensus *n)
{
    if (!atomic_exchange(&n->stored_on, true)) {
        chassis_post(n->o.loop, &n->stored_task);
    }
}

void apply_store_run(struct chassis_task *task)
{
    struct chassis_consensus *n = chassis_container_of(task, struct chassis_consensus, store_task);
    atomic_store(&n->store_on, false);
    if (n->role_apply.txn != NULL && store_wanted(n)) {
        store_run(n);
        tell_stored(n);
    }
}

void apply_flush_run(struct chassis_task *task)
{
    struct chassis_consensus *n = chassis_container_of(task, struct chassis_consensus, flush_task);
    if (n->role_apply.txn != NULL) {
        store_run(n);
    }
    task->run = apply_flushed;
    chassis_post(n->o.loop, task);
}

void apply_timer_run(struct chassis_timer *timer)
{
    struct chassis_consensus *n =
        chassis_container_of(timer, struct chassis_consensus, role_apply.timer);
    n->role_apply.armed = false;
    if (n->role_apply.txn != NULL) {
        store_run(n);
        tell_stored(n);
    }
}

/* How long after the last store the next is put off. */
static uint64_t store_pause_ns(struct chassis_consensus *n)
{
    const struct chassis_state_machine *m = n->o.machine;
    if (m->ops->watched == NULL || !m->ops->watched(m->data)) {
        return NODE_STORE_MS * CHASSIS_NS_PER_MS;
    }
    uint64_t least = CHASSIS_NS_PER_MS, most = NODE_PACE_MS * CHASSIS_NS_PER_MS;
    uint64_t share = 5 * n->role_apply.store_ns;
    return share < least ? least : share < most ? share : most;
}

/* Put off, unless it is due. */
static void store_soon(struct chassis_consensus *n)
{
    uint64_t now = chassis_now_ns(n->o.apply), due = n->role_apply.stored_ns + store_pause_ns(n);
    if (due <= now || store_wanted(n) || n->role_apply.entries >= NODE_STORE_ENTRIES ||
        n->role_apply.bytes >= NODE_STORE_BYTES) {
        store_run(n);
    } else if (!n->role_apply.armed) {
        n->role_apply.armed = true;
        chassis_post_after(n->o.apply, &n->role_apply.timer, due - now);
    }
}

void apply_abandon(struct chassis_consensus *n)
{
    if (n->role_apply.txn != NULL) {
        chassis_txn_abort(n->role_apply.txn);
        n->role_apply.txn = NULL;
    }
}

/* --- batches ------------------------------------------------------------------------------------ */

static void begin_run(struct chassis_consensus *n)
{
    struct chassis_error err = {0};
    if (n->role_apply.txn != NULL) {
        return;
    }
    if (chassis_store_begin(n->store, true, &n->role_apply.txn, &err) != 0) {
        node_fatal(n, "cannot begin a transaction of the store", &err);
    }
    n->role_apply.entries = 0;
    n->role_apply.bytes = 0;
}

/* Answer those that may be answered `early`, or the others; true if some are left. */
static bool finish_run(struct chassis_consensus *n, struct apply_batch *b, bool early)
{
    bool left = false;
    for (unsigned i = 0; i < b->n; i++) {
        struct chassis_proposal *p = b->entries[i].proposal;
        if (p == NULL) {
            continue;
        }
        if (early && !p->early) {
            left = true;
            continue;
        }
        b->entries[i].proposal = NULL;
        propose_finish(n, p);
    }
    return left;
}

void apply_batch_run(struct chassis_task *task)
{
    struct apply_batch *b = chassis_container_of(task, struct apply_batch, task);
    struct chassis_consensus *n = b->node;
    CHASSIS_ASSERT(b->entries[0].entry.index == n->role_apply.applied + 1);
    begin_run(n);
    for (unsigned i = 0; i < b->n; i++) {
        entry_run(n, n->role_apply.txn, &b->entries[i]);
    }
    n->role_apply.applied = b->last_index;
    n->role_apply.term = b->last_term;
    n->role_apply.entries += b->n;
    n->role_apply.bytes += b->payloads.len;
    if (finish_run(n, b, true)) {
        store_run(n);
        finish_run(n, b, false);
    } else {
        store_soon(n);
    }
    b->task.run = apply_batch_done;
    chassis_post(n->o.loop, &b->task);
}

int apply_install_run(struct chassis_consensus *n, const char *path,
                      struct checkpoint_header *ret_header, struct chassis_error *err)
{
    struct chassis_txn *txn;
    if (n->role_apply.txn != NULL) {
        store_run(n);
    }
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
        atomic_store(&n->stored, index);
        if (n->o.machine->ops->restored != NULL) {
            n->o.machine->ops->restored(n->o.machine->data);
        }
    } else {
        checkpoint_header_fini(ret_header);
    }
    return rc;
}
