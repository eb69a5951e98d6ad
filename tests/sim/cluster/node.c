/* The life of a simulated node. Its state machine is watched: what applying an entry gives must be
 * the same on every node and at every replay. */
#include <errno.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "internal.h"

static const char *const members[SIM_NODES_MAX] = {"n1@sim:1", "n2@sim:2", "n3@sim:3", "n4@sim:4",
                                                   "n5@sim:5"};
static const char *const names[SIM_NODES_MAX] = {"n1", "n2", "n3", "n4", "n5"};

static struct node *node_of(void *data)
{
    return data;
}

static void compare_result(struct node *node, const struct chassis_entry *entry, int status,
                           struct chassis_view result)
{
    struct cluster *c = node->c;
    uint8_t head[28];
    chassis_put_le64(head, entry->term);
    chassis_put_le64(head + 8, (uint64_t)entry->time_ns);
    chassis_put_le32(head + 16, (uint32_t)status);
    chassis_put_le32(head + 20, chassis_crc32c(0, entry->command.data, entry->command.len));
    chassis_put_le32(head + 24, chassis_crc32c(0, result.data, result.len));
    uint32_t sum = chassis_crc32c(0, head, sizeof head) | 1;
    if (entry->index >= c->cap_results) {
        uint64_t cap = entry->index * 2 + 1024;
        c->results = chassis_base_realloc(c->results, cap * sizeof *c->results);
        memset(c->results + c->cap_results, 0, (cap - c->cap_results) * sizeof *c->results);
        c->cap_results = cap;
    }
    if (c->results[entry->index] != 0 && c->results[entry->index] != sum) {
        if (!c->config->quiet) {
            fprintf(stderr, "node %u: entry %llu gave something else than on another node\n",
                    node->index, (unsigned long long)entry->index);
        }
        c->failed = true;
    }
    c->results[entry->index] = sum;
}

static int outer_apply(void *data, struct chassis_txn *txn, const struct chassis_entry *entry,
                       struct chassis_buf *ret_result)
{
    struct node *node = node_of(data);
    int status = node->machine->ops->apply(node->machine->data, txn, entry, ret_result);
    compare_result(node, entry, status, chassis_buf_view(ret_result));
    return status;
}

static void outer_committed(void *data, uint64_t applied)
{
    struct node *node = node_of(data);
    if (node->machine->ops->committed != NULL) {
        node->machine->ops->committed(node->machine->data, applied);
    }
}

static void outer_restored(void *data)
{
    struct node *node = node_of(data);
    node->c->report.installs++;
    cluster_trace(node->c, "node %u: checkpoint installed", node->index);
    if (node->machine->ops->restored != NULL) {
        node->machine->ops->restored(node->machine->data);
    }
}

static void outer_leadership(void *data, bool leader, uint64_t term)
{
    struct node *node = node_of(data);
    cluster_trace(node->c, "node %u: %s term %llu", node->index, leader ? "leads" : "follows",
                  (unsigned long long)term);
    if (node->machine->ops->leadership != NULL) {
        node->machine->ops->leadership(node->machine->data, leader, term);
    }
}

static int outer_ask(void *data, uint64_t from, struct chassis_view question,
                     struct chassis_buf *ret_answer)
{
    struct node *node = node_of(data);
    return node->machine->ops->ask(node->machine->data, from, question, ret_answer);
}

static void watch_machine(struct node *node)
{
    node->outer_ops = (struct chassis_state_machine_ops){
        .apply = outer_apply,
        .committed = outer_committed,
        .restored = outer_restored,
        .leadership = outer_leadership,
        .ask = node->machine->ops->ask != NULL ? outer_ask : NULL,
        .version = node->machine->ops->version,
    };
    node->outer = (struct chassis_state_machine){&node->outer_ops, node, node->machine->tables,
                                                 node->machine->n_tables};
}

static void try_again(void *data)
{
    struct node *node = data;
    if (node_down(node)) {
        node_start(node);
    }
}

static void on_ready(int status, const char *text, void *data)
{
    struct node *node = data;
    struct cluster *c = node->c;
    if (status != 0) {
        if (!c->config->quiet) {
            fprintf(stderr, "node %u does not start: %s\n", node->index, text);
        }
        c->failed = true;
        return;
    }
    cluster_trace(c, "node %u: ready", node->index);
    node->ready = true;
    if (c->workload->started != NULL && !node->closing) {
        struct sim_replica replica = {node->index, node->machine, node->consensus, node->loop,
                                      &node->clock};
        c->workload->started(c->workload, &replica);
    }
}

static int64_t wall_ns(struct chassis_clock *clock)
{
    struct node *node = chassis_container_of(clock, struct node, clock);
    return chassis_wall_ns(chassis_sim_clock(node->host)) + node->clock_ns;
}

void node_init(struct cluster *c, unsigned index)
{
    struct node *node = &c->nodes[index];
    node->c = c;
    node->index = index;
    node->host = chassis_sim_host_new(c->sim, names[index]);
    node->clock.wall_ns = wall_ns;
    snprintf(node->boot_id, sizeof node->boot_id, "boot-0");
    snprintf(node->store_directory, sizeof node->store_directory, "/nonexistent/sim-store");
}

static struct chassis_consensus_options options_of(struct node *node)
{
    static const uint64_t delays_ms[] = {0, 0, 1, 2, 5, 20, 100};
    struct cluster *c = node->c;
    uint64_t slow = delays_ms[chassis_prng_below(&c->prng, 7)] * CHASSIS_NS_PER_MS;
    node->loop = chassis_sim_executor(node->host, "loop", 20000);
    node->writer = chassis_sim_executor(node->host, "writer", 100000 + (c->faults ? slow : 0));
    return (struct chassis_consensus_options){
        .name = names[node->index],
        .members = members,
        .n_members = c->n,
        .secret = chassis_view_str("simulated"),
        .directory = "/data",
        .store_directory = node->store_directory,
        .disk = chassis_sim_disk(node->host),
        .clock = &node->clock,
        .loop = node->loop,
        .writer = node->writer,
        .preparer = chassis_sim_executor(node->host, "preparer", 200000),
        .apply = chassis_sim_executor(node->host, "apply", 50000),
        .worker = chassis_sim_executor(node->host, "worker", 5 * CHASSIS_NS_PER_MS),
        .repository = c->config->lmdb ? &chassis_repository_lmdb : &chassis_repository_memory,
        .store_bytes_max = 64 << 20,
        .machine = &node->outer,
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
}

void node_start(struct node *node)
{
    struct cluster *c = node->c;
    struct chassis_error err = {0};
    node->incarnation++;
    node->ready = node->closing = false;
    node->machine = c->workload->machine_new(c->workload, node->index);
    node->transport.ops = &network_ops;
    watch_machine(node);
    struct chassis_consensus_options o = options_of(node);
    int rc = chassis_consensus_open(&o, &node->consensus, &err);
    cluster_trace(c, "node %u: start %llu: %s", node->index, (unsigned long long)node->incarnation,
                  rc == 0 ? "ok" : chassis_error_text(&err));
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

static void gone(struct node *node, bool power)
{
    struct cluster *c = node->c;
    struct chassis_consensus *consensus = node->consensus;
    node->consensus = NULL;
    node->ready = node->closing = false;
    chassis_sim_host_crash(node->host, power);
    network_node_down(c, node);
    if (consensus != NULL) {
        chassis_consensus_abandon(consensus);
    }
    c->workload->machine_free(c->workload, node->machine);
    node->machine = NULL;
    if (power) {
        snprintf(node->boot_id, sizeof node->boot_id, "boot-%u", ++node->machine_boots);
        stores_lose_power(node);
    }
    client_node_down(c, node);
}

void node_crash(struct node *node, bool power)
{
    cluster_trace(node->c, "node %u: %s", node->index, power ? "loses power" : "is killed");
    gone(node, power);
}

/* --- a clean shutdown --- */

static void after_close(void *data)
{
    struct node *node = data;
    if (node->closing && node->consensus == NULL) {
        cluster_trace(node->c, "node %u: closed", node->index);
        gone(node, false);
    }
}

static void on_closed(void *data)
{
    struct node *node = data;
    node->consensus = NULL;
    chassis_sim_at(node->c->sim, 0, after_close, node);
}

static void stop_workload(void *data)
{
    struct node *node = data;
    node->c->workload->stopped(node->c->workload, node->machine);
}

void node_close(struct node *node)
{
    struct cluster *c = node->c;
    cluster_trace(c, "node %u: shuts down", node->index);
    if (node->ready && c->workload->stopped != NULL) {
        chassis_sim_call(node->loop, stop_workload, node);
    }
    node->closing = true;
    chassis_consensus_close(node->consensus, on_closed, node);
}
