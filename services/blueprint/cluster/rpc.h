/* The view of the cluster: its state, leadership transfer, backup; and RaftService of the original.
 *
 * Threads: handlers on workers. Ownership: clients of the other nodes are kept for the life of the
 * process.
 */
#ifndef BP_CLUSTER_RPC_H
#define BP_CLUSTER_RPC_H

#include <pthread.h>

#include <chassis/chassis.h>

struct bp_cluster {
    struct chassis *chassis;
    uint64_t started_ns;
    const char *version;
    pthread_mutex_t lock; /* of clients */
    struct chassis_client *clients[CHASSIS_CONSENSUS_NODES_MAX];
};

void bp_cluster_init(struct bp_cluster *cluster, struct chassis *chassis);
/* Status, Transfer, Backup; Promote says why not. `Peer` is the chassis' own. */
struct chassis_service bp_cluster_service(struct bp_cluster *cluster);
/* Stats; Join and Remove say why not. */
struct chassis_service bp_raft_service(struct bp_cluster *cluster);

#endif
