/* After the faults: it goes on, it comes to rest, everybody agrees, registers explain it. */
#include "internal.h"

static bool everyone_served(void *data)
{
    struct cluster *c = data;
    for (unsigned i = 0; i < c->config->n_clients; i++) {
        if (c->clients[i].succeeded < 10) {
            return false;
        }
    }
    return true;
}

static bool clients_idle(void *data)
{
    struct cluster *c = data;
    for (unsigned i = 0; i < c->config->n_clients; i++) {
        if (c->clients[i].busy) {
            return false;
        }
    }
    return true;
}

static bool all_equal(void *data)
{
    struct cluster *c = data;
    struct chassis_consensus_status first, s;
    if (!node_up(&c->nodes[0]) || !c->nodes[0].ready) {
        return false;
    }
    chassis_consensus_status(c->nodes[0].consensus, &first);
    for (unsigned i = 0; i < c->n; i++) {
        if (!node_up(&c->nodes[i]) || !c->nodes[i].ready) {
            return false;
        }
        chassis_consensus_status(c->nodes[i].consensus, &s);
        if (s.applied != s.last_index || s.applied != first.applied || s.leader_id == 0) {
            return false;
        }
    }
    return true;
}

static bool same_table(struct chassis_txn *a, struct chassis_txn *b, unsigned table)
{
    struct chassis_cursor *x, *y;
    struct chassis_view xk, xv, yk, yv;
    CHASSIS_ASSERT(chassis_cursor_open(a, table, &x) == 0);
    CHASSIS_ASSERT(chassis_cursor_open(b, table, &y) == 0);
    int rx = chassis_cursor_seek(x, chassis_view("", 1), &xk, &xv);
    int ry = chassis_cursor_seek(y, chassis_view("", 1), &yk, &yv);
    bool same = true;
    while (same && rx == 0 && ry == 0) {
        same = chassis_view_eq(xk, yk) && chassis_view_eq(xv, yv);
        rx = chassis_cursor_next(x, &xk, &xv);
        ry = chassis_cursor_next(y, &yk, &yv);
    }
    chassis_cursor_close(x);
    chassis_cursor_close(y);
    return same && rx == ry;
}

static bool same_stores(struct cluster *c, unsigned a, unsigned b)
{
    struct chassis_store *x = chassis_consensus_store_acquire(c->nodes[a].consensus);
    struct chassis_store *y = chassis_consensus_store_acquire(c->nodes[b].consensus);
    struct chassis_txn *xt, *yt;
    bool same = true;
    CHASSIS_ASSERT(chassis_store_begin(x, false, &xt, NULL) == 0);
    CHASSIS_ASSERT(chassis_store_begin(y, false, &yt, NULL) == 0);
    for (unsigned t = 0; same && t < x->n_tables; t++) {
        same = same_table(xt, yt, t);
        if (!same && !c->config->quiet) {
            fprintf(stderr, "table '%s' differs between node %u and node %u\n", x->tables[t], a, b);
        }
    }
    chassis_txn_abort(xt);
    chassis_txn_abort(yt);
    chassis_consensus_store_release(c->nodes[a].consensus, x);
    chassis_consensus_store_release(c->nodes[b].consensus, y);
    return same;
}

static void print_nodes(struct cluster *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct chassis_consensus_status s = {0};
        if (c->nodes[i].consensus != NULL) {
            chassis_consensus_status(c->nodes[i].consensus, &s);
        }
        fprintf(stderr,
                "  node %u: role %d leader %llu term %llu commit %llu applied %llu last %llu "
                "checkpoint %llu\n",
                i, (int)s.role, (unsigned long long)s.leader_id, (unsigned long long)s.term,
                (unsigned long long)s.commit, (unsigned long long)s.applied,
                (unsigned long long)s.last_index, (unsigned long long)s.checkpoint_index);
    }
}

static bool complain(struct cluster *c, const char *text)
{
    if (!c->config->quiet) {
        fprintf(stderr, "%s\n", text);
        print_nodes(c);
    }
    return false;
}

typedef bool on_store(struct sim_workload *w, struct chassis_store *store, unsigned node);

static bool on_every_store(struct cluster *c, on_store *fn)
{
    for (unsigned i = 0; i < c->n && fn != NULL; i++) {
        struct chassis_store *store = chassis_consensus_store_acquire(c->nodes[i].consensus);
        bool ok = store != NULL && fn(c->workload, store, i);
        if (store != NULL) {
            chassis_consensus_store_release(c->nodes[i].consensus, store);
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool all_settled(void *data)
{
    struct cluster *c = data;
    return all_equal(c) && on_every_store(c, c->workload->settled);
}

bool verify(struct cluster *c)
{
    for (unsigned i = 0; i < c->config->n_clients; i++) {
        c->clients[i].succeeded = 0;
    }
    if (!chassis_sim_run(c->sim, 60 * CHASSIS_NS_PER_S, everyone_served, c)) {
        return complain(c, "after everything healed the cluster does not serve");
    }
    cluster_trace(c, "everybody was served, the clients stop");
    c->stopping = c->workload->stopping = true;
    if (!chassis_sim_run(c->sim, 30 * CHASSIS_NS_PER_S, clients_idle, c)) {
        return complain(c, "an operation never ended");
    }
    if (!chassis_sim_run(c->sim, 30 * CHASSIS_NS_PER_S, all_equal, c)) {
        return complain(c, "the nodes do not arrive at the same index");
    }
    if (!chassis_sim_run(c->sim, 60 * CHASSIS_NS_PER_S, all_settled, c)) {
        return complain(c, "the workload does not come to rest");
    }
    for (unsigned i = 1; i < c->n; i++) {
        if (!same_stores(c, 0, i)) {
            return false;
        }
    }
    return on_every_store(c, c->workload->check) &&
           (c->workload->wrong == NULL || !c->workload->wrong(c->workload)) && !c->failed &&
           sim_history_check(&c->history, c->workload->n_keys, c->config->quiet);
}
