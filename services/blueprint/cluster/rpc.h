/* The view of the cluster: its state, leadership transfer, backup; and RaftService of the original.
 *
 * Threads: handlers on workers, answers of other nodes and to them on the loop role.
 */
#ifndef BP_CLUSTER_RPC_H
#define BP_CLUSTER_RPC_H

#include <chassis/chassis.h>

struct bp_cluster {
    struct chassis *chassis;
    uint64_t started_ns;
    const char *version;
};

void bp_cluster_init(struct bp_cluster *cluster, struct chassis *chassis);
/* Status, Transfer, Backup; Promote says why not. `Peer` is the chassis' own. */
struct chassis_service bp_cluster_service(struct bp_cluster *cluster);
/* What this node says of itself to another that is asked for the status of all: appended to
 * `ret_answer`. For struct blueprint; `cluster` is a struct bp_cluster. */
int bp_cluster_describe(void *cluster, struct chassis_buf *ret_answer);
/* Stats; Join and Remove say why not. */
struct chassis_service bp_raft_service(struct bp_cluster *cluster);

#endif
