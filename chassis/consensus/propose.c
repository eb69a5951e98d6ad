/* Commands accepted by this node, and those other nodes forward to it while it leads.
 *
 *   queue --(leader: one SUBMIT per turn; follower: PROPOSE to the leader)--> sent
 *   sent  --(leadership or session lost)--> queue, with a floor
 *   sent  --(its entry is being applied here)--> taken by the apply role, which completes it
 *   any   --(timeout, refusal, close)--> done
 */
#include "consensus/node.h"

#include <stdlib.h>

#include "base/assert.h"

enum { BUCKETS = 16384, ROUND_FOREIGN_MAX = 65536 };

static void arriving_run(struct chassis_task *task);

void propose_init(struct chassis_consensus *n)
{
    chassis_list_init(&n->queue);
    chassis_list_init(&n->sent);
    chassis_list_init(&n->foreign);
    pthread_mutex_init(&n->arriving.lock, NULL);
    chassis_queue_init(&n->arriving.tasks);
    n->arriving.task.run = arriving_run;
    n->buckets = chassis_base_zalloc(BUCKETS * sizeof(struct chassis_proposal *));
}

void propose_fini(struct chassis_consensus *n)
{
    chassis_list_foreach_safe (link, &n->foreign) {
        struct foreign *f = chassis_list_entry(link, struct foreign, link);
        chassis_buf_fini(&f->envelope);
        free(f);
    }
    pthread_mutex_destroy(&n->arriving.lock);
    free(n->buckets);
}

/* --- ends -------------------------------------------------------------------------------------- */

static void run_done(struct chassis_task *task)
{
    struct chassis_proposal *p = chassis_container_of(task, struct chassis_proposal, task);
    p->done(p);
}

void propose_finish(struct chassis_consensus *n, struct chassis_proposal *p)
{
    uint32_t held = proposal_state(p)->held_bytes;
    if (held != 0) {
        uint64_t timeout = p->timeout_ns != 0 ? p->timeout_ns : 10 * CHASSIS_NS_PER_S;
        uint64_t accepted = proposal_state(p)->deadline_ns - timeout;
        chassis_histogram_observe(n->metrics.proposal, (double)(node_now(n) - accepted) / 1e9);
    }
    chassis_buf_fini(&p->command);
    atomic_fetch_sub(&n->outstanding_bytes, held);
    atomic_fetch_sub(&n->outstanding, held != 0);
    if (p->executor == NULL) {
        p->done(p);
        return;
    }
    p->task.run = run_done;
    chassis_post(p->executor, &p->task);
}

static struct chassis_proposal **bucket(struct chassis_consensus *n, uint64_t sequence)
{
    return &n->buckets[sequence % BUCKETS];
}

static void forget(struct chassis_consensus *n, struct chassis_proposal *p)
{
    struct proposal_state *s = proposal_state(p);
    struct chassis_proposal **at = bucket(n, s->sequence);
    while (*at != p) {
        CHASSIS_ASSERT(*at != NULL);
        at = &proposal_state(*at)->next_in_bucket;
    }
    *at = s->next_in_bucket;
    chassis_list_remove(&s->link);
}

static struct chassis_proposal *lookup(struct chassis_consensus *n, uint64_t sequence)
{
    struct chassis_proposal *p = *bucket(n, sequence);
    while (p != NULL && proposal_state(p)->sequence != sequence) {
        p = proposal_state(p)->next_in_bucket;
    }
    return p;
}

struct chassis_proposal *propose_take(struct chassis_consensus *n, uint64_t sequence)
{
    struct chassis_proposal *p = lookup(n, sequence);
    if (p != NULL) {
        forget(n, p);
    }
    return p;
}

static void fail(struct chassis_consensus *n, struct chassis_proposal *p, int status,
                 const char *text)
{
    forget(n, p);
    /* Sent once, it may be in a log: whatever the reason now, the outcome is not known. */
    p->status = proposal_state(p)->attempts != 0 ? CHASSIS_OUTCOME_UNKNOWN : status;
    if (proposal_state(p)->attempts != 0) {
        chassis_error_set(&p->error, p->status,
                          "the command was sent to the log but not confirmed (%s): ask again with "
                          "the same request id",
                          text);
    } else {
        chassis_error_set(&p->error, p->status, "%s", text);
    }
    propose_finish(n, p);
}

void propose_fail_all(struct chassis_consensus *n, int status)
{
    chassis_list_foreach_safe (link, &n->queue) {
        fail(n, proposal_of(link), status, chassis_status_text(status));
    }
    chassis_list_foreach_safe (link, &n->sent) {
        fail(n, proposal_of(link), status, chassis_status_text(status));
    }
}

/* --- accepting --------------------------------------------------------------------------------- */

static void accept(struct chassis_consensus *n, struct chassis_proposal *p)
{
    struct proposal_state *s = proposal_state(p);
    s->sequence = ++n->next_sequence;
    s->deadline_ns = node_now(n) + (p->timeout_ns != 0 ? p->timeout_ns : 10 * CHASSIS_NS_PER_S);
    s->next_in_bucket = *bucket(n, s->sequence);
    *bucket(n, s->sequence) = p;
    chassis_list_append(&n->queue, &s->link);
    if (n->closing) {
        fail(n, p, CHASSIS_SHUTTING_DOWN, "this node is shutting down");
    } else if (node_no_space(n) != NULL) {
        fail(n, p, CHASSIS_NO_SPACE, node_no_space(n));
    }
}

/* Take over what arrived; false if nothing did. */
static bool propose_accept(struct chassis_consensus *n)
{
    struct chassis_queue tasks;
    struct chassis_task *task;
    pthread_mutex_lock(&n->arriving.lock);
    chassis_queue_take_all(&tasks, &n->arriving.tasks);
    pthread_mutex_unlock(&n->arriving.lock);
    bool any = tasks.head != NULL;
    while ((task = chassis_queue_pop(&tasks)) != NULL) {
        accept(n, chassis_container_of(task, struct chassis_proposal, task));
    }
    return any;
}

static void arriving_run(struct chassis_task *task)
{
    struct chassis_consensus *n =
        chassis_container_of(task, struct chassis_consensus, arriving.task);
    pthread_mutex_lock(&n->arriving.lock);
    n->arriving.posted = false;
    pthread_mutex_unlock(&n->arriving.lock);
    (void)propose_accept(n);
    node_touch(n);
}

/* Any role: hand over to the loop, which is woken unless it will look by itself. */
static void arrive(struct chassis_consensus *n, struct chassis_proposal *p)
{
    pthread_mutex_lock(&n->arriving.lock);
    chassis_queue_push(&n->arriving.tasks, &p->task);
    bool post = !n->arriving.gathering && !n->arriving.posted;
    n->arriving.posted = n->arriving.posted || post;
    pthread_mutex_unlock(&n->arriving.lock);
    if (post) {
        chassis_post(n->o.loop, &n->arriving.task);
    }
}

static void refuse(struct chassis_consensus *n, struct chassis_proposal *p, int status,
                   const char *text)
{
    struct proposal_state *s = proposal_state(p);
    s->held_bytes = 0;
    p->status = status;
    chassis_error_set(&p->error, status, "%s", text);
    if (p->executor == NULL) {
        p->executor = n->o.loop; /* done never runs inside propose */
    }
    propose_finish(n, p);
}

void chassis_consensus_propose(struct chassis_consensus *n, struct chassis_proposal *p)
{
    struct proposal_state *s = proposal_state(p);
    uint32_t held = (uint32_t)p->command.len + ENVELOPE_OVERHEAD_MAX;
    memset(s, 0, sizeof *s);
    s->node = n;
    if (p->request_id.len > ENVELOPE_REQUEST_ID_MAX) {
        refuse(n, p, CHASSIS_TOO_LARGE, "the request id is longer than the limit of 64 bytes");
        return;
    }
    if (p->command.len > n->o.command_bytes_max) {
        char text[96];
        snprintf(text, sizeof text, "the command has %zu bytes, the limit is %u", p->command.len,
                 n->o.command_bytes_max);
        refuse(n, p, CHASSIS_TOO_LARGE, text);
        return;
    }
    if (atomic_load(&n->refusing)) {
        refuse(n, p, CHASSIS_SHUTTING_DOWN, "this node is shutting down");
        return;
    }
    if (atomic_fetch_add(&n->outstanding, 1) >= n->o.proposals_max ||
        atomic_load(&n->outstanding_bytes) + held > n->o.proposals_bytes_max) {
        atomic_fetch_sub(&n->outstanding, 1);
        refuse(n, p, CHASSIS_RESOURCE_EXHAUSTED, "too many commands are waiting to be committed");
        return;
    }
    s->held_bytes = held;
    atomic_fetch_add(&n->outstanding_bytes, held);
    arrive(n, p);
}

/* --- sending ----------------------------------------------------------------------------------- */

static void encode(struct chassis_consensus *n, struct chassis_proposal *p, int64_t time_ns,
                   struct chassis_buf *out)
{
    struct proposal_state *s = proposal_state(p);
    struct envelope e = {.time_ns = time_ns,
                         .node = n->identity.id,
                         .boot = n->identity.boot,
                         .sequence = s->sequence,
                         .floor = s->attempts != 0 ? s->floor : 0,
                         .request_id = p->request_id,
                         .command = chassis_buf_view(&p->command)};
    envelope_encode(out, &e);
}

static void mark_sent(struct chassis_consensus *n, struct chassis_proposal *p)
{
    struct proposal_state *s = proposal_state(p);
    if (s->attempts++ != 0) {
        chassis_counter_add(n->metrics.resubmitted, 1);
    } else {
        s->floor = n->applied;
    }
    chassis_list_remove(&s->link);
    chassis_list_append(&n->sent, &s->link);
}

static int64_t leader_time(struct chassis_consensus *n)
{
    int64_t now = chassis_wall_ns(n->o.clock);
    return now > n->last_time_ns ? now : n->last_time_ns;
}

/* Queue and forwarded commands into one SUBMIT; true if something is left for the next turn. */
static bool submit(struct chassis_consensus *n)
{
    static const size_t none = SIZE_MAX;
    struct raft_entry *e = n->entries;
    size_t offsets[NODE_SUBMIT_ENTRIES];
    struct chassis_buf bytes = {0};
    unsigned count = 0, own = 0;
    int64_t time_ns = leader_time(n);
    offsets[0] = none;
    chassis_list_foreach (link, &n->foreign) {
        struct foreign *f = chassis_list_entry(link, struct foreign, link);
        if (count == NODE_SUBMIT_ENTRIES || bytes.len >= NODE_SUBMIT_BYTES) {
            break;
        }
        offsets[count++] = bytes.len;
        chassis_buf_append_view(&bytes, chassis_buf_view(&f->envelope));
    }
    unsigned n_foreign = count;
    chassis_list_foreach (link, &n->queue) {
        if (count == NODE_SUBMIT_ENTRIES || bytes.len >= NODE_SUBMIT_BYTES) {
            break;
        }
        offsets[count++] = bytes.len;
        encode(n, proposal_of(link), time_ns, &bytes);
        own++;
    }
    if (count == 0) {
        return false;
    }
    void *batch = chassis_base_alloc(1); /* the core only asks that it be there */
    for (unsigned i = 0; i < count; i++) {
        size_t end = i + 1 < count ? offsets[i + 1] : bytes.len;
        chassis_put_le64(bytes.data + offsets[i] + ENVELOPE_TIME_OFFSET, (uint64_t)time_ns);
        e[i] = (struct raft_entry){.term = raft_current_term(&n->raft),
                                   .type = RAFT_COMMAND,
                                   .buf = {bytes.data + offsets[i], end - offsets[i]},
                                   .batch = batch};
    }
    struct raft_event event = {.type = RAFT_SUBMIT, .submit = {.entries = e, .n = count}};
    int rc = core_step(n, &event);
    if (rc == 0) {
        chassis_histogram_observe(n->metrics.batch, count);
        for (unsigned i = 0; i < n_foreign; i++) {
            struct foreign *f = chassis_list_entry(n->foreign.next, struct foreign, link);
            peer_want_commit(n, f->peer, n->last_index);
            chassis_list_remove(&f->link);
            chassis_buf_fini(&f->envelope);
            free(f);
            n->n_foreign--;
        }
        for (unsigned i = 0; i < own; i++) {
            mark_sent(n, proposal_of(n->queue.next));
        }
    }
    free(batch);
    chassis_buf_fini(&bytes);
    return rc == 0 && (!chassis_list_empty(&n->queue) || !chassis_list_empty(&n->foreign));
}

static void forward(struct chassis_consensus *n)
{
    struct chassis_buf bytes = {0};
    struct frame_message m = {.type = FRAME_PROPOSE};
    struct peer *leader = peer_find(n, n->leader);
    if (leader == NULL || !leader->up || n->leader == n->identity.id ||
        node_now(n) < n->forward_after_ns) {
        return;
    }
    while (!chassis_list_empty(&n->queue)) {
        struct chassis_proposal *p = proposal_of(n->queue.next);
        chassis_buf_clear(&bytes);
        encode(n, p, 0, &bytes);
        m.body = chassis_buf_view(&bytes);
        if (leader->queued_bytes > NODE_PEER_QUEUE_BYTES / 2 || !peer_send(n, n->leader, &m)) {
            break;
        }
        mark_sent(n, p);
    }
    chassis_buf_fini(&bytes);
}

/* On the leader; whether what arrives from now on waits for the end of the write under way. It goes with
 * the next one then, which could not begin before either: on each node a batch costs more than the
 * commands in it. */
static bool submit_turn(struct chassis_consensus *n)
{
    if (chassis_list_empty(&n->appends)) {
        propose_accept(n);
        if (raft_transferee(&n->raft) == 0 && submit(n)) {
            node_touch(n);
        }
    }
    return !chassis_list_empty(&n->appends) && !n->closing;
}

static void gather(struct chassis_consensus *n, bool on)
{
    pthread_mutex_lock(&n->arriving.lock);
    n->arriving.gathering = on;
    pthread_mutex_unlock(&n->arriving.lock);
    if (!on && propose_accept(n)) { /* what came before this was known */
        node_touch(n);
    }
}

void propose_turn(struct chassis_consensus *n)
{
    bool wait = false;
    if (n->started && n->stalled == NULL && n->role == RAFT_LEADER) {
        wait = submit_turn(n);
    } else if (n->started && n->stalled == NULL) {
        forward(n);
    }
    if (wait != n->arriving.gathering) { /* only this role writes it */
        gather(n, wait);
    }
}

void propose_stop(struct chassis_consensus *n)
{
    gather(n, false);
    propose_fail_all(n, CHASSIS_SHUTTING_DOWN);
}

/* --- resubmission ------------------------------------------------------------------------------ */

static void send_again(struct chassis_consensus *n)
{
    /* In the order of acceptance, before what was accepted later. */
    while (!chassis_list_empty(&n->sent)) {
        struct chassis_list *last = n->sent.prev;
        chassis_list_remove(last);
        chassis_list_prepend(&n->queue, last);
    }
}

static void drop_foreign(struct chassis_consensus *n, int status)
{
    while (!chassis_list_empty(&n->foreign)) {
        struct foreign *f = chassis_list_entry(n->foreign.next, struct foreign, link);
        struct frame_message m = {.type = FRAME_PROPOSE_REFUSED,
                                  .boot = f->boot,
                                  .sequence = f->sequence,
                                  .status = status};
        peer_send(n, f->peer, &m);
        chassis_list_remove(&f->link);
        chassis_buf_fini(&f->envelope);
        free(f);
        n->n_foreign--;
    }
}

void propose_leader_changed(struct chassis_consensus *n)
{
    if (n->role != RAFT_LEADER) {
        drop_foreign(n, CHASSIS_NOT_LEADER);
    }
    if (n->leader != 0) {
        n->forward_after_ns = 0;
        send_again(n);
    }
}

void propose_peer_reset(struct chassis_consensus *n, uint64_t peer)
{
    if (peer == n->leader) {
        send_again(n);
    }
}

void propose_installed(struct chassis_consensus *n)
{
    /* Their entries may lie inside the checkpoint: submitted again, the table of ids answers. */
    send_again(n);
}

/* --- from and to other nodes ------------------------------------------------------------------- */

static void refuse_foreign(struct chassis_consensus *n, uint64_t peer, const struct envelope *e,
                           int status)
{
    struct frame_message m = {.type = FRAME_PROPOSE_REFUSED,
                              .boot = e->boot,
                              .sequence = e->sequence,
                              .status = status,
                              .body = chassis_view_str(chassis_status_text(status))};
    peer_send(n, peer, &m);
}

static void receive_foreign(struct chassis_consensus *n, uint64_t peer,
                            const struct frame_message *m)
{
    struct envelope e;
    int rc = envelope_decode(m->body, &e);
    if (rc != 0 || e.node != peer || m->body.len > n->o.command_bytes_max + ENVELOPE_OVERHEAD_MAX) {
        chassis_log_warn(n->log, "a malformed command was dropped", chassis_f_u64("peer", peer));
        return;
    }
    if (n->role != RAFT_LEADER || n->closing) {
        refuse_foreign(n, peer, &e, CHASSIS_NOT_LEADER);
    } else if (node_no_space(n) != NULL) {
        refuse_foreign(n, peer, &e, CHASSIS_NO_SPACE);
    } else if (n->n_foreign >= ROUND_FOREIGN_MAX) {
        refuse_foreign(n, peer, &e, CHASSIS_RESOURCE_EXHAUSTED);
    } else {
        struct foreign *f = chassis_base_zalloc(sizeof *f);
        f->peer = peer;
        f->boot = e.boot;
        f->sequence = e.sequence;
        chassis_buf_append_view(&f->envelope, m->body);
        chassis_list_append(&n->foreign, &f->link);
        n->n_foreign++;
        node_touch(n);
    }
}

void propose_receive(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    if (m->type == FRAME_PROPOSE) {
        receive_foreign(n, peer, m);
        return;
    }
    struct chassis_proposal *p = m->boot == n->identity.boot ? lookup(n, m->sequence) : NULL;
    if (p == NULL) {
        return;
    }
    struct proposal_state *s = proposal_state(p);
    if (s->attempts != 0) {
        s->attempts--; /* this way did not lead into a log */
    }
    if (m->status == CHASSIS_NOT_LEADER) {
        chassis_list_remove(&s->link);
        chassis_list_append(&n->queue, &s->link); /* once more, to whoever leads then */
        n->forward_after_ns = node_now(n) + n->o.heartbeat_ms * CHASSIS_NS_PER_MS;
        return;
    }
    fail(n, p, m->status, chassis_status_text(m->status));
}

/* --- time -------------------------------------------------------------------------------------- */

static void expire(struct chassis_consensus *n, struct chassis_list *list, uint64_t now)
{
    chassis_list_foreach_safe (link, list) {
        struct chassis_proposal *p = proposal_of(link);
        if (proposal_state(p)->deadline_ns <= now) {
            fail(n, p, CHASSIS_NO_QUORUM,
                 n->leader == 0 ? "no leader within the timeout: too few nodes are reachable"
                                : "the leader did not take the command within the timeout");
        }
    }
}

void propose_tick(struct chassis_consensus *n, uint64_t now)
{
    if (propose_accept(n)) { /* gathered while a write takes long: their time runs */
        node_touch(n);
    }
    expire(n, &n->queue, now);
    expire(n, &n->sent, now);
}
