/* Questions to another state machine, the leader's or a certain node's: answered from its memory,
 * never retried. */
#include "consensus/node.h"

#include "base/assert.h"

static struct ask_state *ask_state(struct chassis_ask *a)
{
    return (struct ask_state *)(void *)a->internal;
}
static struct chassis_ask *ask_of(struct chassis_list *link)
{
    return (struct chassis_ask *)(void *)((char *)link - offsetof(struct chassis_ask, internal));
}

static void run_done(struct chassis_task *task)
{
    struct chassis_ask *a = chassis_container_of(task, struct chassis_ask, task);
    a->done(a);
}

static void finish(struct chassis_ask *a, int status, const char *text)
{
    chassis_list_remove(&ask_state(a)->link);
    a->status = status;
    if (status != 0 && a->error.code == 0) {
        chassis_error_set(&a->error, status, "%s", text);
    }
    chassis_buf_fini(&a->question);
    if (a->executor == NULL) {
        a->done(a);
    } else {
        a->task.run = run_done;
        chassis_post(a->executor, &a->task);
    }
}

static int answer(struct chassis_consensus *n, bool leader_only, uint64_t from,
                  struct chassis_view question, struct chassis_buf *out)
{
    const struct chassis_state_machine *m = n->o.machine;
    int (*ask)(void *, uint64_t, struct chassis_view, struct chassis_buf *) =
        leader_only ? m->ops->ask : m->ops->ask_node;
    if (ask == NULL) {
        return CHASSIS_UNIMPLEMENTED;
    }
    return !leader_only || (n->leading && n->role == RAFT_LEADER)
               ? ask(m->data, from, question, out)
               : CHASSIS_NOT_LEADER;
}

static void on_ask(struct chassis_task *task)
{
    struct chassis_ask *a = chassis_container_of(task, struct chassis_ask, task);
    struct ask_state *s = ask_state(a);
    struct chassis_consensus *n = s->node;
    chassis_list_init(&s->link);
    if (n->closing) {
        finish(a, CHASSIS_SHUTTING_DOWN, "this node is shutting down");
        return;
    }
    bool leader_only = s->peer == 0;
    if (leader_only ? n->role == RAFT_LEADER : s->peer == n->identity.id) {
        int rc = answer(n, leader_only, n->identity.id, chassis_buf_view(&a->question), &a->answer);
        finish(a, rc, chassis_status_text(rc));
        return;
    }
    s->sequence = ++n->next_sequence;
    s->peer = leader_only ? n->leader : s->peer;
    s->deadline_ns = node_now(n) + (a->timeout_ns != 0 ? a->timeout_ns : 2 * CHASSIS_NS_PER_S);
    struct frame_message m = {.type = leader_only ? FRAME_ASK : FRAME_ASK_NODE,
                              .boot = n->identity.boot,
                              .sequence = s->sequence,
                              .body = chassis_buf_view(&a->question)};
    if (s->peer == 0 || !peer_send(n, s->peer, &m)) {
        finish(a, s->peer == 0 ? CHASSIS_NOT_LEADER : CHASSIS_UNAVAILABLE,
               s->peer == 0 ? "no leader is known" : "the other node cannot be reached");
        return;
    }
    chassis_list_append(&n->asks, &s->link);
    node_touch(n);
}

void chassis_consensus_ask_leader(struct chassis_consensus *n, struct chassis_ask *a)
{
    chassis_consensus_ask_node(n, 0, a);
}

void chassis_consensus_ask_node(struct chassis_consensus *n, uint64_t member, struct chassis_ask *a)
{
    memset(a->internal, 0, sizeof a->internal);
    ask_state(a)->node = n;
    ask_state(a)->peer = member;
    a->status = 0;
    chassis_error_clear(&a->error);
    a->task.run = on_ask;
    chassis_post(n->o.loop, &a->task);
}

void ask_receive(struct chassis_consensus *n, uint64_t peer, const struct frame_message *m)
{
    if (m->type != FRAME_ANSWER) {
        struct chassis_buf out = {0};
        struct frame_message reply = {
            .type = FRAME_ANSWER, .boot = m->boot, .sequence = m->sequence};
        reply.status = answer(n, m->type == FRAME_ASK, peer, m->body, &out);
        reply.body = chassis_buf_view(&out);
        peer_send(n, peer, &reply);
        chassis_buf_fini(&out);
        return;
    }
    if (m->boot != n->identity.boot) {
        return;
    }
    chassis_list_foreach_safe (link, &n->asks) {
        struct chassis_ask *a = ask_of(link);
        if (ask_state(a)->sequence == m->sequence) {
            chassis_buf_append_view(&a->answer, m->body);
            finish(a, m->status, chassis_status_text(m->status));
            return;
        }
    }
}

void ask_peer_reset(struct chassis_consensus *n, uint64_t peer)
{
    chassis_list_foreach_safe (link, &n->asks) {
        if (ask_state(ask_of(link))->peer == peer) {
            finish(ask_of(link), CHASSIS_UNAVAILABLE, "the connection to the other node was lost");
        }
    }
}

void ask_tick(struct chassis_consensus *n, uint64_t now)
{
    chassis_list_foreach_safe (link, &n->asks) {
        if (ask_state(ask_of(link))->deadline_ns <= now) {
            finish(ask_of(link), CHASSIS_UNAVAILABLE, "the other node did not answer in time");
        }
    }
}

void ask_fail_all(struct chassis_consensus *n, int status)
{
    chassis_list_foreach_safe (link, &n->asks) {
        finish(ask_of(link), status, chassis_status_text(status));
    }
}
