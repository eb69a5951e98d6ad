/* Clients: one operation at a time each, on any node, with and without request ids. */
#include <stdlib.h>

#include "internal.h"

enum { TRIES = 6 };
static void begin(void *data);
static void issue(struct client *client);

static void later(struct client *client)
{
    struct cluster *c = client->c;
    uint64_t think = c->faults ? 60 : 10;
    client->busy = false;
    if (!c->stopping) {
        chassis_sim_at(c->sim, chassis_prng_below(&c->prng, think * CHASSIS_NS_PER_MS), begin,
                       client);
    }
}

static const char *const kinds[] = {"read", "write", "cas", "stale read", "other"};

static void record(struct client *client, bool unknown)
{
    struct cluster *c = client->c;
    struct sim_op *op = &client->op;
    op->unknown = unknown;
    op->return_ns = chassis_sim_now_ns(c->sim);
    cluster_trace(c, "client %u node %u: %s %u key %u value %llu expected %llu%s%s", op->client,
                  op->node, kinds[op->kind], op->flavour, op->key, (unsigned long long)op->value,
                  (unsigned long long)op->expected, op->swapped ? " swapped" : "",
                  unknown ? " (unknown)" : "");
    if (op->kind != SIM_STALE && op->kind != SIM_OTHER) {
        sim_history_add(&c->history, op);
    }
    c->report.operations++;
    c->report.unknown += unknown;
    client->operations++;
    client->succeeded += !unknown;
}

static void unknown(struct client *client);

static void retry(void *data)
{
    struct client *client = data;
    if (client->c->stopping) {
        unknown(client);
        return;
    }
    issue(client);
}

/* The outcome is unknown: with an id one may ask again, without one nothing more can be known. */
static void unknown(struct client *client)
{
    if (client->op.kind != SIM_READ && client->op.kind != SIM_STALE && client->with_id &&
        !client->c->stopping && ++client->tries < TRIES) {
        client->node = NULL;
        chassis_sim_at(client->c->sim, 50 * CHASSIS_NS_PER_MS, retry, client);
        return;
    }
    if (client->op.kind != SIM_READ && client->op.kind != SIM_STALE) {
        client->op.unknown = true;
        client->op.return_ns = chassis_sim_now_ns(client->c->sim);
        client->c->workload->wrote(client->c->workload, &client->op, CHASSIS_OUTCOME_UNKNOWN,
                                   chassis_view(NULL, 0));
        record(client, true);
    }
    later(client);
}

static void on_proposed(struct chassis_proposal *p)
{
    struct client *client = chassis_container_of(p, struct client, proposal);
    struct cluster *c = client->c;
    client->node = NULL;
    if (p->status == CHASSIS_OUTCOME_UNKNOWN || (client->tries != 0 && p->index == 0)) {
        chassis_buf_fini(&p->result);
        unknown(client);
        return;
    }
    client->op.unknown = false;
    client->op.return_ns = chassis_sim_now_ns(c->sim);
    if (c->workload->wrote(c->workload, &client->op, p->status, chassis_buf_view(&p->result))) {
        record(client, false);
    }
    chassis_buf_fini(&p->result);
    later(client);
}

/* From the store of the node that answers, now. */
static void look(struct client *client)
{
    struct cluster *c = client->c;
    struct chassis_consensus *consensus = client->node->consensus;
    struct chassis_store *store =
        consensus != NULL ? chassis_consensus_store_acquire(consensus) : NULL;
    if (store == NULL) {
        return;
    }
    client->op.return_ns = chassis_sim_now_ns(c->sim);
    bool counts = c->workload->read(c->workload, store, &client->op);
    chassis_consensus_store_release(consensus, store);
    if (counts) {
        record(client, false);
    } else {
        c->report.operations++;
    }
}

static void on_read(struct chassis_read *r)
{
    struct client *client = chassis_container_of(r, struct client, read);
    if (r->status == 0) {
        look(client);
    }
    client->node = NULL;
    later(client);
}

static void issue(struct client *client)
{
    struct cluster *c = client->c;
    struct node *node = &c->nodes[chassis_prng_below(&c->prng, c->n)];
    if (!node_up(node)) {
        chassis_sim_at(c->sim, 20 * CHASSIS_NS_PER_MS, retry, client);
        return;
    }
    client->node = node;
    client->op.node = node->index;
    uint64_t timeout = (200 + chassis_prng_below(&c->prng, 3000)) * CHASSIS_NS_PER_MS;
    if (client->op.kind == SIM_STALE) {
        if (node->ready) {
            look(client);
        }
        client->node = NULL;
        later(client);
        return;
    }
    if (client->op.kind == SIM_READ) {
        memset(&client->read, 0, sizeof client->read);
        client->read.done = on_read;
        client->read.timeout_ns = timeout;
        chassis_consensus_read(node->consensus, &client->read);
        return;
    }
    memset(&client->proposal, 0, sizeof client->proposal);
    client->proposal.done = on_proposed;
    client->proposal.timeout_ns = timeout;
    if (client->with_id) {
        client->proposal.request_id = chassis_view_str(client->id);
    }
    chassis_buf_append_view(&client->proposal.command, chassis_buf_view(&client->command));
    chassis_consensus_propose(node->consensus, &client->proposal);
}

static void begin(void *data)
{
    struct client *client = data;
    struct cluster *c = client->c;
    if (c->stopping) {
        return;
    }
    memset(&client->op, 0, sizeof client->op);
    chassis_buf_clear(&client->command);
    client->op.client = client->index;
    c->workload->next(c->workload, &c->prng, &client->op, &client->command);
    client->op.call_ns = chassis_sim_now_ns(c->sim);
    client->with_id = chassis_prng_chance(&c->prng, 0.5);
    snprintf(client->id, sizeof client->id, "request-%llu", (unsigned long long)++c->next_id);
    client->tries = 0;
    client->busy = true;
    issue(client);
}

void client_start(struct cluster *c)
{
    for (unsigned i = 0; i < c->config->n_clients; i++) {
        c->clients[i].c = c;
        c->clients[i].index = i;
        begin(&c->clients[i]);
    }
}

/* What the node was asked dies with it. */
void client_node_down(struct cluster *c, struct node *node)
{
    for (unsigned i = 0; i < c->config->n_clients; i++) {
        struct client *client = &c->clients[i];
        if (client->busy && client->node == node) {
            client->node = NULL;
            chassis_buf_fini(&client->proposal.command);
            chassis_buf_fini(&client->proposal.result);
            unknown(client);
        }
    }
}
