/* Linearizable reads: shared read-index rounds (Raft dissertation, 6.4), no disk write.
 *
 *   waiting --(leader: READ_PING to all; follower: READ_ASK to the leader)--> round
 *   round   --(a majority agrees on the term; READ_ANSWER)--> apply: the index is known
 *   apply   --(applied here)--> done
 * One round is under way at a time; what arrives meanwhile joins the next one.
 */
#include "consensus/node.h"

#include <stdlib.h>

#include "base/assert.h"

static struct read_item *item_of(struct chassis_list *link)
{
    return chassis_list_entry(link, struct read_item, link);
}

static void run_done(struct chassis_task *task)
{
    struct chassis_read *r = chassis_container_of(task, struct chassis_read, task);
    r->done(r);
}

static void move_all(struct chassis_list *from, struct chassis_list *to)
{
    while (!chassis_list_empty(from)) {
        struct chassis_list *link = from->next;
        chassis_list_remove(link);
        chassis_list_append(to, link);
    }
}

static void answer_peer(struct chassis_consensus *n, const struct read_item *i, int status)
{
    struct frame_message m = {.type = FRAME_READ_ANSWER,
                              .boot = i->peer_boot & ((1ULL << 56) - 1),
                              .sequence = i->sequence,
                              .status = status,
                              .index = i->index};
    peer_send(n, i->peer_boot >> 56, &m);
    peer_want_commit(n, i->peer_boot >> 56, status == 0 ? i->index : 0);
}

static void finish(struct chassis_consensus *n, struct read_item *i, int status, const char *text)
{
    struct chassis_read *r = i->read;
    chassis_list_remove(&i->link);
    if (r == NULL) {
        answer_peer(n, i, status);
        free(i);
        return;
    }
    r->status = status;
    if (status != 0) {
        chassis_error_set(&r->error, status, "%s", text);
    }
    if (r->executor == NULL) {
        r->done(r);
    } else {
        r->task.run = run_done;
        chassis_post(r->executor, &r->task);
    }
}

static void on_read(struct chassis_task *task)
{
    struct chassis_read *r = chassis_container_of(task, struct chassis_read, task);
    struct read_item *i = (struct read_item *)(void *)r->internal;
    struct chassis_consensus *n = i->node;
    i->deadline_ns = node_now(n) + (r->timeout_ns != 0 ? r->timeout_ns : 10 * CHASSIS_NS_PER_S);
    chassis_list_append(&n->reads_waiting, &i->link);
    if (n->closing) {
        finish(n, i, CHASSIS_SHUTTING_DOWN, "this node is shutting down");
    }
    node_touch(n);
}

void chassis_consensus_read(struct chassis_consensus *n, struct chassis_read *r)
{
    struct read_item *i = (struct read_item *)(void *)r->internal;
    memset(i, 0, sizeof *i);
    i->read = r;
    i->node = n;
    r->task.run = on_read;
    chassis_post(n->o.loop, &r->task);
}

/* --- leader ------------------------------------------------------------------------------------ */

static void confirmed(struct chassis_consensus *n, uint64_t index)
{
    while (!chassis_list_empty(&n->reads_round)) {
        struct read_item *i = item_of(n->reads_round.next);
        i->index = index;
        if (i->read == NULL) {
            finish(n, i, 0, ""); /* the follower waits until it has applied that much */
            continue;
        }
        chassis_list_remove(&i->link);
        chassis_list_append(&n->reads_apply, &i->link);
    }
    read_applied(n);
}

static void ping(struct chassis_consensus *n)
{
    struct frame_message m = {.type = FRAME_READ_PING, .term = n->term, .sequence = n->round};
    n->round_ns = node_now(n);
    for (unsigned i = 0; i < n->identity.n_members; i++) {
        if (n->identity.members[i].id != n->identity.id) {
            peer_send(n, n->identity.members[i].id, &m);
        }
    }
}

static void leader_turn(struct chassis_consensus *n)
{
    if (chassis_list_empty(&n->reads_waiting) || !chassis_list_empty(&n->reads_round)) {
        return;
    }
    move_all(&n->reads_waiting, &n->reads_round);
    n->round++;
    n->round_term = n->term;
    n->round_index = n->commit > n->read_floor ? n->commit : n->read_floor;
    n->round_mask = 1ULL << (n->identity.id - 1);
    if (node_alone(n) || (n->o.planted & CHASSIS_PLANTED_STALE_READ)) {
        confirmed(n, n->round_index);
    } else {
        ping(n);
    }
}

static void pong(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    if (n->role != RAFT_LEADER || m->term != n->term || n->round_term != n->term ||
        m->sequence != n->round || chassis_list_empty(&n->reads_round)) {
        return;
    }
    n->round_mask |= 1ULL << (peer - 1);
    if ((unsigned)__builtin_popcountll(n->round_mask) > n->identity.n_members / 2) {
        confirmed(n, n->round_index);
        node_touch(n);
    }
}

static void remote_ask(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    struct read_item *i = chassis_base_zalloc(sizeof *i);
    chassis_list_init(&i->link);
    i->node = n;
    i->sequence = m->sequence;
    i->peer_boot = peer << 56 | (m->boot & ((1ULL << 56) - 1));
    i->deadline_ns = node_now(n) + 2ULL * n->o.election_ms * CHASSIS_NS_PER_MS;
    if (n->role != RAFT_LEADER || n->closing) {
        finish(n, i, CHASSIS_NOT_LEADER, "");
        return;
    }
    chassis_list_append(&n->reads_waiting, &i->link);
}

/* --- follower ---------------------------------------------------------------------------------- */

static void follower_turn(struct chassis_consensus *n)
{
    struct peer *leader = peer_find(n, n->leader);
    if (!n->asking) {
        /* What an earlier question did not bring back is asked again. */
        move_all(&n->reads_waiting, &n->reads_round);
    }
    if (n->asking || chassis_list_empty(&n->reads_round) || leader == NULL || !leader->up ||
        node_now(n) < n->forward_after_ns) {
        return;
    }
    struct frame_message m = {
        .type = FRAME_READ_ASK, .boot = n->identity.boot, .sequence = ++n->ask_sequence};
    if (peer_send(n, n->leader, &m)) {
        n->asking = true;
        n->asked_ns = node_now(n);
    }
}

static void answered(struct chassis_consensus *n, const struct frame_message *m)
{
    if (m->boot != n->identity.boot || m->sequence != n->ask_sequence || !n->asking ||
        n->role == RAFT_LEADER) {
        return;
    }
    n->asking = false;
    if (m->status == 0) {
        confirmed(n, m->index);
    } else {
        n->forward_after_ns = node_now(n) + n->o.heartbeat_ms * CHASSIS_NS_PER_MS;
    }
    node_touch(n);
}

/* --- both -------------------------------------------------------------------------------------- */

void read_turn(struct chassis_consensus *n)
{
    if (!n->started) {
        return;
    }
    if (n->role == RAFT_LEADER) {
        leader_turn(n);
    } else {
        follower_turn(n);
    }
}

void read_leader_changed(struct chassis_consensus *n)
{
    /* No round survives: its reads are asked for anew; other nodes ask the new leader. */
    n->asking = false;
    move_all(&n->reads_round, &n->reads_waiting);
    chassis_list_foreach_safe (link, &n->reads_waiting) {
        if (item_of(link)->read == NULL) {
            finish(n, item_of(link), CHASSIS_NOT_LEADER, "");
        }
    }
}

void read_receive(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    switch ((unsigned)m->type) {
    case FRAME_READ_PING:
        if (n->raft_open && m->term == raft_current_term(&n->raft)) {
            struct frame_message out = {
                .type = FRAME_READ_PONG, .term = m->term, .sequence = m->sequence};
            peer_send(n, peer, &out);
        }
        return;
    case FRAME_READ_PONG:
        pong(n, peer, m);
        return;
    case FRAME_READ_ASK:
        remote_ask(n, peer, m);
        return;
    case FRAME_READ_ANSWER:
        answered(n, m);
        return;
    default:
        return;
    }
}

void read_applied(struct chassis_consensus *n)
{
    uint64_t most = 0;
    chassis_list_foreach_safe (link, &n->reads_apply) {
        uint64_t index = item_of(link)->index;
        if (index <= n->applied) {
            finish(n, item_of(link), 0, "");
        } else if (index > most) {
            most = index;
        }
    }
    apply_want(n, most);
}

static void expire(struct chassis_consensus *n, struct chassis_list *list, uint64_t now)
{
    chassis_list_foreach_safe (link, list) {
        if (item_of(link)->deadline_ns <= now) {
            finish(n, item_of(link), CHASSIS_NO_QUORUM,
                   "a majority of the nodes did not confirm the leader within the timeout");
        }
    }
}

void read_tick(struct chassis_consensus *n, uint64_t now)
{
    uint64_t patience = 2ULL * n->o.heartbeat_ms * CHASSIS_NS_PER_MS;
    expire(n, &n->reads_waiting, now);
    expire(n, &n->reads_round, now);
    expire(n, &n->reads_apply, now);
    if (n->role == RAFT_LEADER && !chassis_list_empty(&n->reads_round) &&
        now - n->round_ns > patience) {
        ping(n); /* some frame was lost with its session */
    }
    if (n->asking && now - n->asked_ns > patience * 2) {
        n->asking = false;
    }
}

static void fail_list(struct chassis_consensus *n, struct chassis_list *list, int status)
{
    chassis_list_foreach_safe (link, list) {
        finish(n, item_of(link), status, chassis_status_text(status));
    }
}

void read_fail_all(struct chassis_consensus *n, int status)
{
    fail_list(n, &n->reads_waiting, status);
    fail_list(n, &n->reads_round, status);
    fail_list(n, &n->reads_apply, status);
}

static void free_list(struct chassis_list *list)
{
    chassis_list_foreach_safe (link, list) {
        if (item_of(link)->read == NULL) {
            free(item_of(link));
        }
    }
}

void read_fini(struct chassis_consensus *n)
{
    free_list(&n->reads_waiting);
    free_list(&n->reads_round);
}
