/* One run: start, faults, healing, verification. */
#include "cluster.h"

#include <stdarg.h>
#include <stdlib.h>

#include "internal.h"

void cluster_trace(struct cluster *c, const char *format, ...)
{
    if (!c->config->trace) {
        return;
    }
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%12.6f  ", (double)chassis_sim_now_ns(c->sim) / 1e9);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static bool has_failed(void *data)
{
    struct cluster *c = data;
    return c->failed || (c->workload->wrong != NULL && c->workload->wrong(c->workload));
}

static void tick(void *data)
{
    struct cluster *c = data;
    c->workload->tick(c->workload, &c->prng);
    chassis_sim_at(c->sim, 50 * CHASSIS_NS_PER_MS, tick, c);
}

static struct cluster *cluster_new(const struct sim_config *config, struct sim_workload *workload)
{
    struct cluster *c = chassis_base_zalloc(sizeof *c);
    c->config = config;
    c->workload = workload;
    workload->history = &c->history;
    workload->quiet = config->quiet;
    c->n = config->n_nodes;
    c->sim = chassis_sim_new(config->seed);
    chassis_prng_init(&c->prng, config->seed * 7919 + 1);
    c->checkpoint_entries = 20 + chassis_prng_below(&c->prng, 200);
    c->segment_bytes = 16384;
    c->chunk_bytes = 512 + (uint32_t)chassis_prng_below(&c->prng, 8192);
    c->notice = 0.3;
    for (unsigned i = 0; i < c->n; i++) {
        node_init(c, i);
    }
    stores_open(c);
    return c;
}

static void cluster_free(struct cluster *c)
{
    c->stopping = true;
    for (unsigned i = 0; i < c->n; i++) {
        if (!node_down(&c->nodes[i])) {
            node_crash(&c->nodes[i], false);
        }
    }
    for (unsigned i = 0; i < c->config->n_clients; i++) {
        chassis_buf_fini(&c->clients[i].command);
    }
    network_fini(c);
    chassis_sim_free(c->sim);
    stores_remove(c);
    sim_history_fini(&c->history);
    free(c->results);
    free(c);
}

bool sim_cluster_run(const struct sim_config *config, struct sim_workload *workload,
                     struct sim_report *ret_report)
{
    struct cluster *c = cluster_new(config, workload);
    network_start(c);
    for (unsigned i = 0; i < c->n; i++) {
        node_start(&c->nodes[i]);
    }
    client_start(c);
    if (workload->tick != NULL) {
        tick(c);
    }
    if (config->faults) {
        faults_start(c);
    }
    bool failed = chassis_sim_run(c->sim, config->fault_ns, has_failed, c);
    if (!failed) {
        faults_heal(c);
        failed = !verify(c);
    }
    c->report.virtual_ns = chassis_sim_now_ns(c->sim);
    *ret_report = c->report;
    cluster_free(c);
    return !failed;
}
