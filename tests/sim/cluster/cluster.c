#include "cluster.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

static const char *const members[SIM_NODES_MAX] = {"n1@sim:1", "n2@sim:2", "n3@sim:3", "n4@sim:4",
                                                   "n5@sim:5"};
static const char *const names[SIM_NODES_MAX] = {"n1", "n2", "n3", "n4", "n5"};

static void try_again(void *data)
{
    struct node *node = data;
    if (node->consensus == NULL && !node->c->stopping) {
        node_start(node);
    }
}

static void on_ready(int status, const char *text, void *data)
{
    struct node *node = data;
    if (status != 0) {
        if (!node->c->config->quiet) {
            fprintf(stderr, "node %u does not start: %s\n", node->index, text);
        }
        node->c->failed = true;
    }
}

void node_start(struct node *node)
{
    static const uint64_t delays_ms[] = {0, 0, 1, 2, 5, 20, 100};
    struct cluster *c = node->c;
    struct chassis_error err = {0};
    uint64_t slow = delays_ms[chassis_prng_below(&c->prng, 7)] * CHASSIS_NS_PER_MS;
    node->incarnation++;
    node->loop = chassis_sim_executor(node->host, "loop", 20000);
    node->machine = c->workload->machine_new(c->workload, node->index);
    node->transport.ops = &network_ops;
    struct chassis_consensus_options o = {
        .name = names[node->index],
        .members = members,
        .n_members = c->n,
        .secret = chassis_view_str("simulated"),
        .directory = "/data",
        .store_directory = "/nonexistent/sim-store",
        .disk = chassis_sim_disk(node->host),
        .clock = chassis_sim_clock(node->host),
        .loop = node->loop,
        .writer = chassis_sim_executor(node->host, "writer", 100000 + (c->faults ? slow : 0)),
        .preparer = chassis_sim_executor(node->host, "preparer", 200000),
        .apply = chassis_sim_executor(node->host, "apply", 50000),
        .worker = chassis_sim_executor(node->host, "worker", 5 * CHASSIS_NS_PER_MS),
        .repository = &chassis_repository_memory,
        .machine = node->machine,
        .transport = &node->transport,
        .election_ms = 300,
        .heartbeat_ms = 50,
        .checkpoint_entries = c->checkpoint_entries,
        .trailing_entries = c->checkpoint_entries / 4 + 1,
        .segment_bytes = c->segment_bytes,
        .command_bytes_max = 4096,
        .chunk_bytes = c->chunk_bytes,
        .seed = chassis_prng_next(&c->prng) | 1,
        .boot_id = node->boot_id,
        .planted = c->config->planted,
    };
    int rc = chassis_consensus_open(&o, &node->consensus, &err);
    if (rc == 0) {
        chassis_consensus_start(node->consensus, on_ready, node);
        c->report.restarts++;
        return;
    }
    node->consensus = NULL;
    c->workload->machine_free(c->workload, node->machine);
    node->machine = NULL;
    chassis_sim_host_crash(node->host, false);
    if (rc == -ENOSPC || rc == CHASSIS_NO_SPACE) {
        chassis_sim_at(c->sim, CHASSIS_NS_PER_S, try_again, node);
        return;
    }
    if (!c->config->quiet) {
        fprintf(stderr, "node %u refuses to start: %s\n", node->index, chassis_error_text(&err));
    }
    c->failed = true;
}

void node_crash(struct node *node, bool power)
{
    struct cluster *c = node->c;
    struct chassis_consensus *consensus = node->consensus;
    node->consensus = NULL;
    chassis_sim_host_crash(node->host, power);
    network_node_down(c, node);
    chassis_consensus_abandon(consensus);
    c->workload->machine_free(c->workload, node->machine);
    node->machine = NULL;
    if (power) {
        snprintf(node->boot_id, sizeof node->boot_id, "boot-%u", ++node->machine_boots);
    }
    c->report.crashes++;
    client_node_down(c, node);
}

/* --- after the faults -------------------------------------------------------------------------- */

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
    chassis_consensus_status(c->nodes[0].consensus, &first);
    for (unsigned i = 0; i < c->n; i++) {
        if (c->nodes[i].consensus == NULL) {
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

static bool verify(struct cluster *c)
{
    for (unsigned i = 0; i < c->config->n_clients; i++) {
        c->clients[i].succeeded = 0;
    }
    if (!chassis_sim_run(c->sim, 60 * CHASSIS_NS_PER_S, everyone_served, c)) {
        return complain(c, "after everything healed the cluster does not serve");
    }
    c->stopping = true;
    if (!chassis_sim_run(c->sim, 30 * CHASSIS_NS_PER_S, clients_idle, c)) {
        return complain(c, "an operation never ended");
    }
    if (!chassis_sim_run(c->sim, 30 * CHASSIS_NS_PER_S, all_equal, c)) {
        return complain(c, "the nodes do not arrive at the same index");
    }
    for (unsigned i = 1; i < c->n; i++) {
        if (!same_stores(c, 0, i)) {
            return false;
        }
    }
    for (unsigned i = 0; i < c->n && c->workload->check != NULL; i++) {
        struct chassis_store *store = chassis_consensus_store_acquire(c->nodes[i].consensus);
        bool ok = c->workload->check(c->workload, store, i);
        chassis_consensus_store_release(c->nodes[i].consensus, store);
        if (!ok) {
            return false;
        }
    }
    return sim_history_check(&c->history, c->workload->n_keys, c->config->quiet);
}

static bool has_failed(void *data)
{
    return ((struct cluster *)data)->failed;
}

static struct cluster *cluster_new(const struct sim_config *config, struct sim_workload *workload)
{
    struct cluster *c = chassis_base_zalloc(sizeof *c);
    c->config = config;
    c->workload = workload;
    c->n = config->n_nodes;
    c->sim = chassis_sim_new(config->seed);
    chassis_prng_init(&c->prng, config->seed * 7919 + 1);
    c->checkpoint_entries = 20 + chassis_prng_below(&c->prng, 200);
    c->segment_bytes = 16384;
    c->chunk_bytes = 512 + (uint32_t)chassis_prng_below(&c->prng, 8192);
    for (unsigned i = 0; i < c->n; i++) {
        struct node *node = &c->nodes[i];
        node->c = c;
        node->index = i;
        node->host = chassis_sim_host_new(c->sim, names[i]);
        snprintf(node->boot_id, sizeof node->boot_id, "boot-0");
    }
    return c;
}

static void cluster_free(struct cluster *c)
{
    c->stopping = true;
    for (unsigned i = 0; i < c->n; i++) {
        if (c->nodes[i].consensus != NULL) {
            node_crash(&c->nodes[i], false);
        }
    }
    for (unsigned i = 0; i < c->config->n_clients; i++) {
        chassis_buf_fini(&c->clients[i].command);
    }
    network_fini(c);
    chassis_sim_free(c->sim);
    sim_history_fini(&c->history);
    free(c);
}

bool sim_cluster_run(const struct sim_config *config, struct sim_workload *workload,
                     struct sim_report *ret_report)
{
    struct cluster *c = cluster_new(config, workload);
    for (unsigned i = 0; i < c->n; i++) {
        node_start(&c->nodes[i]);
    }
    network_start(c);
    client_start(c);
    if (config->faults) {
        faults_start(c);
    }
    bool failed = chassis_sim_run(c->sim, config->fault_ns, has_failed, c);
    if (!failed) {
        faults_heal(c);
        failed = c->failed || !verify(c);
    }
    c->report.virtual_ns = chassis_sim_now_ns(c->sim);
    *ret_report = c->report;
    cluster_free(c);
    return !failed;
}
