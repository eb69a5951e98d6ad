/* Start, turns and close of a node. */
#include "consensus/node.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

_Noreturn void node_fatal(struct chassis_consensus *n, const char *what,
                          const struct chassis_error *err)
{
    chassis_log_fatal(n->log, what, chassis_f_err(err),
                      chassis_f_str("node", n->identity.members[n->identity.id - 1].name));
    CHASSIS_PANIC("consensus: %s: %s", what, chassis_error_text(err));
}

/* --- turns ------------------------------------------------------------------------------------- */

enum { SPACE_CHECK_MS = 200 };
#define FORGET_CRASHES_NS (60 * CHASSIS_NS_PER_S)

/* Refuse commands before they are written: a full store or disk must never be met in apply. What is
 * appended is stored a second time, so an eighth of the reserve must not go unseen. */
static void check_space(struct chassis_consensus *n, uint64_t now)
{
    struct chassis_store_space space;
    uint64_t free_bytes;
    if (n->space_checked_ns != 0 &&
        now - n->space_checked_ns < SPACE_CHECK_MS * CHASSIS_NS_PER_MS &&
        n->space_bytes < n->o.reserve_bytes / 8) {
        return;
    }
    n->space_checked_ns = now;
    n->space_bytes = 0;
    bool was = n->space_low || n->store_low;
    n->space_low =
        n->stalled != NULL || (n->disk->ops->space(n->disk, n->directory, &free_bytes) == 0 &&
                               free_bytes < n->o.reserve_bytes);
    n->store_low = n->store->ops->space(n->store, &space) == 0 && space.limit_bytes != 0 &&
                   space.used_bytes > space.limit_bytes - space.limit_bytes / 10;
    if (was != (n->space_low || n->store_low)) {
        chassis_log_warn(n->log, was ? "there is space again" : "nearly out of space",
                         chassis_f_bool("disk", n->space_low),
                         chassis_f_bool("store", n->store_low));
    }
}

const char *node_no_space(const struct chassis_consensus *n)
{
    if (n->space_low) {
        return "the disk of this node is nearly full: less than raft.reserve is free";
    }
    if (n->store_low) {
        return "the store of this node is nearly full: over 90 % of raft.store_size is used";
    }
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        if (n->peers[i].up && n->peers[i].store_low) {
            return "the store of another node is nearly full: over 90 % of its raft.store_size is "
                   "used";
        }
    }
    return NULL;
}

static void agree_version(struct chassis_consensus *n)
{
    uint32_t version = n->o.machine->ops->version;
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        const struct peer *p = &n->peers[i];
        if (p->member->id == n->identity.id) {
            continue;
        }
        uint32_t announced = p->announced ? p->version : 1;
        version = announced < version ? announced : version;
    }
    atomic_store(&n->agreed_version, version);
}

static void on_turn(struct chassis_task *task)
{
    struct chassis_consensus *n = chassis_container_of(task, struct chassis_consensus, turn);
    if (!n->started) {
        return;
    }
    log_turn(n);
    catchup_try_install(n);
    propose_turn(n);
    read_turn(n);
    apply_turn(n);
    peer_tell_commit(n);
    transfer_turn(n);
    snapshot_turn(n);
    peer_flush(n);
    agree_version(n);
    status_turn(n);
}

/* Long enough alive: what ended the process before was not the store. */
static void forget_crashes(struct chassis_consensus *n, uint64_t now)
{
    struct chassis_error err = {0};
    if (n->crashes != 0 && now - n->begun_ns > FORGET_CRASHES_NS) {
        n->crashes = 0;
        if (node_mark(n, false, &err) != 0) {
            chassis_log_warn(n->log, "the state of the store was not written", chassis_f_err(&err));
        }
    }
}

static void on_pace(struct chassis_timer *timer)
{
    struct chassis_consensus *n = chassis_container_of(timer, struct chassis_consensus, pace);
    n->pacing = false;
    node_touch(n);
}

void node_pace(struct chassis_consensus *n, uint64_t delay_ns)
{
    if (!n->pacing) { /* the one that is armed is at most NODE_PACE_MS away */
        n->pacing = true;
        chassis_post_after(n->o.loop, &n->pace, delay_ns);
    }
}

static void on_tick(struct chassis_timer *timer)
{
    struct chassis_consensus *n = chassis_container_of(timer, struct chassis_consensus, tick);
    uint64_t now = node_now(n);
    check_space(n, now);
    propose_tick(n, now);
    read_tick(n, now);
    ask_tick(n, now);
    catchup_tick(n, now);
    forget_crashes(n, now);
    known_turn(n);
    node_touch(n);
    if (n->closing) {
        node_close_step(n);
    }
    if (n->ticking) {
        chassis_post_after(n->o.loop, &n->tick, NODE_TICK_MS * CHASSIS_NS_PER_MS);
    }
}

/* --- start ------------------------------------------------------------------------------------- */

struct bootstrap {
    struct chassis_journal_append append;
    struct chassis_consensus *n;
    struct raft_buffer conf;
};

static void start_transport(struct chassis_consensus *n)
{
    struct chassis_error err = {0};
    struct chassis_transport_self self = {
        .id = n->identity.id,
        .boot = n->identity.boot,
        .version = n->o.machine->ops->version,
        .secret = chassis_buf_view(&n->secret),
        .loop = n->o.loop,
        .members = n->identity.members,
        .n_members = n->identity.n_members,
        .heartbeat_ms = n->o.heartbeat_ms,
    };
    memcpy(self.cluster_id, n->identity.cluster_id, sizeof self.cluster_id);
    if (n->o.transport == NULL || node_alone(n)) {
        return;
    }
    if (n->o.transport->ops->start(n->o.transport, &self, &peer_events, n, &err) != 0) {
        node_fatal(n, "cannot start the transport", &err);
    }
    n->transport_started = true;
}

/* From now on it may vote and confirm: if it ever comes back empty, it is not a new node. */
static void join(struct chassis_consensus *n)
{
    struct chassis_error err = {0};
    if (!n->identity.joined && identity_join(n->disk, n->directory, &err) != 0) {
        node_fatal(n, "cannot write that this node takes part", &err);
    }
    n->identity.joined = true;
}

/* A node that took part and has nothing left has forgotten its votes and what it had confirmed:
 * acknowledged writes could be lost by counting on it. Only somebody who knows that the others have
 * everything may let it begin anew. */
static int check_emptied(struct chassis_consensus *n, struct chassis_error *err)
{
    char path[544];
    struct chassis_file *file;
    if (!n->identity.joined) {
        return 0;
    }
    snprintf(path, sizeof path, "%s/refill", n->directory);
    if (n->disk->ops->open(n->disk, path, CHASSIS_DISK_READ, &file) == 0) {
        n->disk->ops->close(file);
        chassis_log_warn(n->log, "this node begins anew, as it was told to");
        int rc = n->disk->ops->unlink(n->disk, path);
        return rc != 0 ? chassis_error_code(err, rc, "remove '%s'", path) : 0;
    }
    return chassis_error_set(
        err, CHASSIS_FAILED_PRECONDITION,
        "node '%s' took part and has lost its log ('%s'): put its data back, or "
        "see \"refill a node from the others\" in docs/guide/backup-restore.md",
        n->o.name, n->directory);
}

static void begin(struct chassis_consensus *n)
{
    join(n);
    n->begun_ns = node_now(n);
    core_start(n);
    start_transport(n);
    n->ticking = true;
    on_tick(&n->tick);
    chassis_log_info(n->log, "node started", chassis_f_u64("id", n->identity.id),
                     chassis_f_u64("boot", n->identity.boot), chassis_f_u64("term", n->term),
                     chassis_f_u64("last", n->last_index), chassis_f_u64("applied", n->applied));
    node_close_step(n);
}

static void on_bootstrapped(struct chassis_journal_append *append)
{
    struct bootstrap *b = chassis_container_of(append, struct bootstrap, append);
    struct chassis_consensus *n = b->n;
    n->last_index = n->durable = 1;
    n->bootstrap = NULL;
    raft_free(b->conf.base);
    free(b);
    if (!n->closing) {
        begin(n);
    } else {
        node_close_step(n);
    }
}

/* The first entry is the member list, in term 1, the same on every node. */
static void bootstrap(struct chassis_consensus *n)
{
    struct chassis_error err = {0};
    struct raft_configuration conf;
    struct bootstrap *b = chassis_base_zalloc(sizeof *b);
    uint8_t term_one[17] = {1, 1};
    b->n = n;
    n->bootstrap = b;
    raft_configuration_init(&conf);
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        CHASSIS_ASSERT(raft_configuration_add(&conf, n->identity.members[i].id,
                                              n->identity.members[i].address, RAFT_VOTER) == 0);
    }
    CHASSIS_ASSERT(raft_configuration_encode(&conf, &b->conf) == 0);
    raft_configuration_close(&conf);
    if (n->raft.current_term == 0) {
        n->raft.current_term = 1;
        if (chassis_slots_write(n->slots, chassis_view(term_one, sizeof term_one), &err) != 0) {
            node_fatal(n, "cannot make the first term durable", &err);
        }
    }
    struct chassis_journal_record record = {.index = 1,
                                            .term = 1,
                                            .type = RAFT_CHANGE,
                                            .payload = chassis_view(b->conf.base, b->conf.len)};
    b->append.stream = NODE_STREAM;
    b->append.records = &record;
    b->append.n_records = 1;
    b->append.done = on_bootstrapped;
    if (chassis_journal_append(n->journal, &b->append, &err) != 0) {
        node_fatal(n, "cannot write the first log entry", &err);
    }
}

/* Make checkpoint, log and store fit one another; see the table in docs/internals/consensus.md. */
static void on_start(struct chassis_task *task)
{
    struct chassis_consensus *n = chassis_container_of(task, struct chassis_consensus, start_task);
    struct chassis_journal_stream s = chassis_journal_stream(n->journal, NODE_STREAM);
    struct chassis_error err = {0};
    if (n->closing) {
        node_close_step(n);
        return;
    }
    int rc = node_check_pieces(n, &err);
    if (rc == 0 && s.last_index == 0 && n->checkpoint_index == 0) {
        rc = check_emptied(n, &err);
    }
    if (rc != 0) {
        chassis_log_error(n->log, "this node does not start", chassis_f_err(&err));
        if (n->ready != NULL) {
            n->ready(rc, err.text, n->ready_data);
        }
        return;
    }
    n->last_index = n->durable = s.last_index;
    n->applied = n->role_apply.applied;
    n->apply_next = n->applied + 1;
    uint64_t c = n->checkpoint_index;
    if (c != 0 && (s.last_index < c ||
                   (s.first_index <= c &&
                    chassis_journal_term(n->journal, NODE_STREAM, c) != n->checkpoint_term))) {
        log_reset(n, c, n->checkpoint_term);
    }
    if (n->last_index == 0) {
        bootstrap(n);
    } else {
        begin(n);
    }
}

void chassis_consensus_start(struct chassis_consensus *n, chassis_consensus_ready_cb ready,
                             void *data)
{
    n->ready = ready;
    n->ready_data = data;
    n->start_task.run = on_start;
    chassis_post(n->o.loop, &n->start_task);
}

void node_init_tasks(struct chassis_consensus *n)
{
    n->turn.run = on_turn;
    n->tick.run = on_tick;
    n->pace.run = on_pace;
    n->stored_task.run = apply_stored;
    n->store_task.run = apply_store_run;
    n->role_apply.timer.run = apply_timer_run;
    n->stalled_last = &n->stalled;
    chassis_list_init(&n->appends);
    chassis_list_init(&n->reads_waiting);
    chassis_list_init(&n->reads_round);
    chassis_list_init(&n->reads_apply);
    chassis_list_init(&n->asks);
    chassis_list_init(&n->transfers);
    chassis_list_init(&n->posted);
    chassis_list_init(&n->checkpoint_requests);
    propose_init(n);
}

/* --- close ------------------------------------------------------------------------------------- */

void node_free(struct chassis_consensus *n)
{
    core_close(n);
    snapshot_fini(n);
    catchup_fini(n);
    peer_fini(n);
    read_fini(n);
    propose_fini(n);
    transfer_fini(n);
    log_fini(n);
    apply_fini(n);
    if (n->bootstrap != NULL) {
        raft_free(n->bootstrap->conf.base);
        free(n->bootstrap);
    }
    if (n->lock != NULL) {
        n->disk->ops->close(n->lock);
    }
    chassis_buf_fini(&n->checkpoint_conf);
    chassis_buf_fini(&n->secret);
    free(n->tables);
    free(n->records);
    free(n->entries);
    free(n->frame_entries);
    pthread_mutex_destroy(&n->status_lock);
    pthread_mutex_destroy(&n->known.lock);
    free(n);
}

void chassis_consensus_abandon(struct chassis_consensus *n)
{
    if (n->journal != NULL) {
        chassis_journal_abandon(n->journal);
    }
    apply_abandon(n);
    chassis_store_close(n->store);
    node_free(n);
}

static void on_final(struct chassis_task *task)
{
    struct chassis_consensus *n = chassis_container_of(task, struct chassis_consensus, close_task);
    struct chassis_error err = {0};
    void (*closed)(void *) = n->closed;
    void *data = n->closed_data;
    if (chassis_store_sync(n->store, &err) == 0) {
        chassis_store_close(n->store);
        n->store = NULL;
        (void)node_mark(n, true, &err);
    } else {
        chassis_log_error(n->log, "the store was not synced; it will be rebuilt",
                          chassis_f_err(&err));
        chassis_store_close(n->store);
    }
    node_free(n);
    closed(data);
}

static void on_journal_closed(void *data)
{
    struct chassis_consensus *n = data;
    n->journal = NULL;
    /* One turn later: nothing of ours stands on the stack or in the loop's queue any more. */
    n->close_task.run = on_final;
    chassis_post(n->o.loop, &n->close_task);
}

static void on_transport_stopped(void *data)
{
    struct chassis_consensus *n = data;
    n->transport_started = false;
    node_close_step(n);
}

/* BOOT … -> hand over (at most an election) -> answer callers -> stop transport -> drain -> journal
 * -> store -> free */
void node_close_step(struct chassis_consensus *n)
{
    if (!n->closing || n->journal_closing || n->bootstrap != NULL) {
        return;
    }
    bool others = n->started && !node_alone(n) && n->transport_started && !n->stopping_transport;
    if (others && n->role == RAFT_LEADER && node_now(n) < n->close_deadline_ns) {
        return; /* the tick looks again */
    }
    if (!n->answered) {
        n->answered = true;
        peer_flush(n);
        propose_stop(n);
        read_fail_all(n, CHASSIS_SHUTTING_DOWN);
        ask_fail_all(n, CHASSIS_SHUTTING_DOWN);
        snapshot_fail_all(n, CHASSIS_SHUTTING_DOWN);
        transfer_fail_all(n, CHASSIS_SHUTTING_DOWN, "this node is shutting down");
        if (n->leading && n->o.machine->ops->leadership != NULL) {
            n->o.machine->ops->leadership(n->o.machine->data, false, n->leading_term);
        }
        n->leading = false;
    }
    if (n->transport_started) {
        if (!n->stopping_transport) {
            n->stopping_transport = true;
            n->o.transport->ops->stop(n->o.transport, on_transport_stopped, n);
        }
        return;
    }
    n->started = false; /* no further turn does anything */
    if (n->batches_out != 0 || n->job != NULL || n->appends_out != 0 || n->known.writing ||
        !apply_flush(n)) {
        return;
    }
    n->ticking = false;
    chassis_cancel(n->o.loop, &n->tick);
    chassis_cancel(n->o.loop, &n->raft_timer);
    chassis_cancel(n->o.loop, &n->pace);
    if (n->raft_open) {
        core_close(n);
    }
    n->journal_closing = true;
    chassis_journal_close(n->journal, on_journal_closed, n);
}

static void transfer_for_close(int status, const char *text, void *data)
{
    struct chassis_consensus *n = data;
    n->close_deadline_ns = 0; /* handed over, or nobody can take it */
    if (!n->answered) {       /* else the step that ended the transfer goes on itself */
        node_close_step(n);
    }
}

static void on_close(struct chassis_task *task)
{
    struct chassis_consensus *n = chassis_container_of(task, struct chassis_consensus, close_task);
    n->closing = true;
    n->ready = NULL;
    n->close_deadline_ns = node_now(n) + n->o.election_ms * CHASSIS_NS_PER_MS;
    if (n->role == RAFT_LEADER && !node_alone(n) && n->started) {
        chassis_consensus_transfer(n, 0, transfer_for_close, n);
    }
    node_close_step(n);
}

void chassis_consensus_close(struct chassis_consensus *n, void (*closed)(void *data), void *data)
{
    atomic_store(&n->refusing, true);
    n->closed = closed;
    n->closed_data = data;
    n->close_task.run = on_close;
    chassis_post(n->o.loop, &n->close_task);
}
