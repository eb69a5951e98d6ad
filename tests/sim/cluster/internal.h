/* Shared by cluster.c, node.c, verify.c, network.c, client.c and faults.c. One thread. */
#ifndef DRAFT_SIM_INTERNAL_H
#define DRAFT_SIM_INTERNAL_H

#include <stddef.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/list.h"
#include "cluster.h"

struct cluster;

struct net_link {
    uint64_t session;
    bool up;     /* as its sender knows */
    bool broken; /* a frame was lost: nothing more arrives in this session */
    uint64_t last_ns;
};
struct node {
    struct cluster *c;
    unsigned index;
    struct chassis_sim_host *host;
    struct chassis_consensus *consensus;   /* NULL while down */
    struct chassis_state_machine *machine; /* NULL while down; the workload's */
    struct chassis_state_machine outer;    /* what consensus gets: the workload's, watched */
    struct chassis_state_machine_ops outer_ops;
    bool ready, closing;
    struct chassis_clock clock; /* the world's, with jumps */
    int64_t clock_ns;
    struct chassis_executor *writer;
    uint64_t lag_ns; /* added to every frame from and to it */
    char store_directory[512];
    uint64_t incarnation;
    char boot_id[40];
    unsigned machine_boots;
    struct chassis_executor *loop;
    struct chassis_transport transport;
    const struct chassis_transport_events *events; /* NULL until started */
    void *events_data;
    uint64_t boot;
    uint32_t version;
};
struct client {
    struct cluster *c;
    unsigned index;
    struct node *node; /* of the operation under way */
    struct sim_op op;
    bool busy, with_id;
    unsigned tries;
    uint64_t operations, succeeded;
    struct chassis_buf command;
    char id[32];
    struct chassis_proposal proposal;
    struct chassis_read read;
};
struct cluster {
    const struct sim_config *config;
    struct sim_workload *workload;
    struct chassis_sim *sim;
    struct chassis_prng prng; /* of the test: faults and clients */
    struct node nodes[SIM_NODES_MAX];
    unsigned n;
    struct net_link links[SIM_NODES_MAX][SIM_NODES_MAX]; /* [from][to] */
    unsigned side[SIM_NODES_MAX];                        /* nodes of different sides cannot talk */
    bool blocked[SIM_NODES_MAX][SIM_NODES_MAX];          /* [from][to]: one direction */
    double notice;     /* how likely a dead link is noticed in 20 ms */
    uint32_t *results; /* by index: what applying it gave, the same on all nodes; 0 = unknown */
    uint64_t cap_results;
    bool faults, stopping, failed;
    struct chassis_list messages;
    struct client clients[SIM_CLIENTS_MAX];
    struct sim_history history;
    struct sim_report report;
    uint64_t next_id;
    uint64_t checkpoint_entries, segment_bytes;
    uint32_t chunk_bytes;
};

/* A line of the trace. */
__attribute__((format(printf, 2, 3))) void cluster_trace(struct cluster *c, const char *format,
                                                         ...);

/* network.c */
extern const struct chassis_transport_ops network_ops;
void network_start(struct cluster *c);
void network_node_down(struct cluster *c, struct node *node);
void network_fini(struct cluster *c);
void network_break(struct cluster *c, unsigned from, unsigned to);

/* client.c */
void client_start(struct cluster *c);
void client_node_down(struct cluster *c, struct node *node);

/* node.c */
void node_init(struct cluster *c, unsigned index);
void node_start(struct node *node);
void node_crash(struct node *node, bool power);
void node_close(struct node *node); /* a clean shutdown; it stays down */
static inline bool node_up(const struct node *node)
{
    return node->consensus != NULL && !node->closing;
}
static inline bool node_down(const struct node *node)
{
    return node->machine == NULL;
}

/* stores.c: real files */
void stores_open(struct cluster *c);
void stores_lose_power(struct node *node);
void stores_damage(struct node *node);
void stores_remove(struct cluster *c);

/* verify.c */
bool verify(struct cluster *c);

/* faults.c */
void faults_start(struct cluster *c);
void faults_heal(struct cluster *c);

#endif
