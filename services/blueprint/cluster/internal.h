/* Shared by the files of this folder. */
#ifndef BP_CLUSTER_INTERNAL_H
#define BP_CLUSTER_INTERNAL_H

#include "draft/cluster/v1/cluster.chassis.h"
#include "rpc.h"

#define CL(name)      Draft__Cluster__V1__##name
#define CL_INIT(name) DRAFT__CLUSTER__V1__##name##__INIT

void bp_cluster_rpc_status(struct chassis_call *call, const CL(StatusRequest) * req);
void bp_cluster_rpc_backup(struct chassis_call *call, const CL(BackupRequest) * req);
const struct chassis_consensus_member *
bp_cluster_member(const struct chassis_consensus_status *status, uint64_t id);
uint64_t bp_cluster_rss_bytes(void);

#endif
