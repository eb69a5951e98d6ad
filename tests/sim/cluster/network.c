/* The network between simulated nodes: ordered sessions with delays that break, never reorder. */
#include <stdlib.h>

#include "internal.h"

enum kind { K_FRAME, K_UP, K_DOWN };
struct message {
    struct chassis_list link;
    struct chassis_task task;
    struct cluster *c;
    enum kind kind;
    unsigned from, to; /* the link */
    unsigned at;       /* whose loop gets it */
    uint64_t session, incarnation;
    bool posted;
    struct chassis_buf data;
};

static void message_free(struct message *m)
{
    chassis_list_remove(&m->link);
    chassis_buf_fini(&m->data);
    free(m);
}

static void on_delivered(struct chassis_task *task)
{
    struct message *m = chassis_container_of(task, struct message, task);
    struct node *node = &m->c->nodes[m->at];
    if (node->events != NULL) {
        struct node *other = &m->c->nodes[m->at == m->to ? m->from : m->to];
        switch (m->kind) {
        case K_FRAME:
            node->events->frame(node->events_data, other->index + 1, chassis_buf_view(&m->data));
            break;
        case K_UP:
            node->events->up(node->events_data, other->index + 1, other->boot, other->version);
            break;
        case K_DOWN:
            node->events->down(node->events_data, other->index + 1);
            break;
        }
    }
    message_free(m);
}

static void post(struct message *m)
{
    struct node *node = &m->c->nodes[m->at];
    if (node->consensus == NULL || node->incarnation != m->incarnation) {
        message_free(m);
        return;
    }
    m->posted = true;
    m->task.run = on_delivered;
    chassis_post(node->loop, &m->task);
}

static struct message *message_new(struct cluster *c, enum kind kind, unsigned from, unsigned to)
{
    struct message *m = chassis_base_zalloc(sizeof *m);
    m->c = c;
    m->kind = kind;
    m->from = from;
    m->to = to;
    m->at = kind == K_FRAME ? to : from;
    m->session = c->links[from][to].session;
    m->incarnation = c->nodes[m->at].incarnation;
    chassis_list_append(&c->messages, &m->link);
    return m;
}

/* Frames from `a` to `b` arrive. */
static bool passes(const struct cluster *c, unsigned a, unsigned b)
{
    return c->side[a] == c->side[b] && !c->blocked[a][b] && c->nodes[a].consensus != NULL &&
           c->nodes[b].consensus != NULL;
}

/* A session can be begun. */
static bool reachable(const struct cluster *c, unsigned a, unsigned b)
{
    return passes(c, a, b) && passes(c, b, a);
}

static void arrive(void *data)
{
    struct message *m = data;
    struct net_link *link = &m->c->links[m->from][m->to];
    if (m->session != link->session || link->broken) {
        message_free(m);
        return;
    }
    if (!passes(m->c, m->from, m->to)) {
        link->broken = true;
        message_free(m);
        return;
    }
    post(m);
}

static uint64_t delay(struct cluster *c, unsigned from, unsigned to)
{
    uint64_t ns = 20000 + chassis_prng_below(&c->prng, 500000);
    uint64_t lag = c->nodes[from].lag_ns + c->nodes[to].lag_ns;
    ns += lag != 0 ? chassis_prng_below(&c->prng, lag) : 0;
    if (c->faults && chassis_prng_chance(&c->prng, 0.01)) {
        ns += chassis_prng_below(&c->prng, 200 * CHASSIS_NS_PER_MS);
    }
    return ns;
}

static int net_send(struct chassis_transport *transport, uint64_t peer, struct chassis_buf *frame)
{
    struct node *node = chassis_container_of(transport, struct node, transport);
    struct cluster *c = node->c;
    struct net_link *link = &c->links[node->index][peer - 1];
    if (!link->up) {
        return CHASSIS_UNAVAILABLE;
    }
    if (c->faults && chassis_prng_chance(&c->prng, 0.0005)) {
        link->broken = true; /* a connection reset: this frame and all behind it are lost */
    }
    struct message *m = message_new(c, K_FRAME, node->index, (unsigned)peer - 1);
    m->data = chassis_buf_move(frame);
    uint64_t at = chassis_sim_now_ns(c->sim) + delay(c, node->index, (unsigned)peer - 1);
    at = at > link->last_ns ? at : link->last_ns + 1;
    link->last_ns = at;
    chassis_sim_at(c->sim, at - chassis_sim_now_ns(c->sim), arrive, m);
    return 0;
}

static int net_start(struct chassis_transport *transport, const struct chassis_transport_self *self,
                     const struct chassis_transport_events *events, void *data,
                     struct chassis_error *err)
{
    struct node *node = chassis_container_of(transport, struct node, transport);
    node->events = events;
    node->events_data = data;
    node->boot = self->boot;
    node->version = self->version;
    return 0;
}

static void net_stop(struct chassis_transport *transport, void (*stopped)(void *data), void *data)
{
    struct node *node = chassis_container_of(transport, struct node, transport);
    node->events = NULL;
    stopped(data);
}

const struct chassis_transport_ops network_ops = {
    .start = net_start, .send = net_send, .stop = net_stop};

/* Notice broken links, make new ones. */
static void maintain(void *data)
{
    struct cluster *c = data;
    for (unsigned a = 0; a < c->n; a++) {
        for (unsigned b = 0; b < c->n; b++) {
            struct net_link *link = &c->links[a][b];
            if (a == b || c->nodes[a].events == NULL) {
                continue;
            }
            if (link->up && (link->broken || !passes(c, a, b)) &&
                chassis_prng_chance(&c->prng, c->notice)) {
                link->up = false;
                link->broken = true;
                post(message_new(c, K_DOWN, a, b));
            } else if (!link->up && reachable(c, a, b) && c->nodes[b].events != NULL &&
                       chassis_prng_chance(&c->prng, 0.5)) {
                link->session++;
                link->up = true;
                link->broken = false;
                post(message_new(c, K_UP, a, b));
            }
        }
    }
    chassis_sim_at(c->sim, 20 * CHASSIS_NS_PER_MS, maintain, c);
}

void network_start(struct cluster *c)
{
    chassis_list_init(&c->messages);
    maintain(c);
}

void network_break(struct cluster *c, unsigned from, unsigned to)
{
    c->links[from][to].broken = true;
}

void network_node_down(struct cluster *c, struct node *node)
{
    node->events = NULL;
    for (unsigned i = 0; i < c->n; i++) {
        c->links[node->index][i].up = false;
        c->links[node->index][i].broken = true;
        c->links[i][node->index].broken = true;
    }
    chassis_list_foreach_safe (at, &c->messages) {
        struct message *m = chassis_list_entry(at, struct message, link);
        if (m->posted && m->at == node->index) {
            message_free(m);
        }
    }
}

void network_fini(struct cluster *c)
{
    chassis_list_foreach_safe (at, &c->messages) {
        message_free(chassis_list_entry(at, struct message, link));
    }
}
