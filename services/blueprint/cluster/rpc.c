#include "internal.h"

#include "os/os.h"

static void rpc_promote(struct chassis_call *call, const CL(PromoteRequest) * req)
{
    chassis_call_fail(call, CHASSIS_UNIMPLEMENTED,
                      "the members of a cluster are fixed at its first start in this version: "
                      "start a new cluster from a backup to change them");
}

struct transfer {
    struct chassis_call *call;
    struct chassis_consensus *node;
};

static void transferred(int status, const char *text, void *data)
{
    struct transfer *t = data;
    if (status != 0) {
        chassis_call_fail(t->call, status, "%s", text != NULL ? text : "");
        return;
    }
    struct chassis_consensus_status now;
    chassis_consensus_status(t->node, &now);
    const struct chassis_consensus_member *leader = bp_cluster_member(&now, now.leader_id);
    CL(TransferResponse) res = CL_INIT(TRANSFER_RESPONSE);
    res.leader =
        chassis_arena_strdup(chassis_call_arena(t->call), leader != NULL ? leader->name : "");
    cluster_transfer_reply(t->call, &res);
}

static void rpc_transfer(struct chassis_call *call, const CL(TransferRequest) * req)
{
    struct bp_cluster *cluster = chassis_call_data(call);
    struct chassis_consensus *node = chassis_consensus(cluster->chassis);
    struct chassis_consensus_status status;
    uint64_t target = 0;
    chassis_consensus_status(node, &status);
    for (unsigned i = 0; i < status.n_members && req->name[0] != '\0'; i++) {
        if (strcmp(status.members[i].name, req->name) == 0) {
            target = status.members[i].id;
        }
    }
    if (req->name[0] != '\0' && target == 0) {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "no node '%s' in this cluster", req->name);
        return;
    }
    if (status.leader_id != status.id) {
        const struct chassis_consensus_member *leader =
            bp_cluster_member(&status, status.leader_id);
        chassis_call_fail(call, CHASSIS_NOT_LEADER, "only the leader hands over: ask %s",
                          leader != NULL ? leader->service : "again when there is one");
        return;
    }
    struct transfer *t = chassis_arena_alloc(chassis_call_arena(call), sizeof *t);
    if (t == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    *t = (struct transfer){call, node};
    chassis_consensus_transfer(node, target, transferred, t);
}

static const struct cluster_handlers cluster_handlers_table = {
    .status = bp_cluster_rpc_status,
    .promote = rpc_promote,
    .transfer = rpc_transfer,
    .backup = bp_cluster_rpc_backup,
};

static const struct chassis_method_options cluster_options[] = {
    {.method = "Status", .access = CHASSIS_ACCESS_PUBLIC, .idempotent = true},
    {.method = "Promote", .access = CHASSIS_ACCESS_OPERATOR},
    {.method = "Transfer", .access = CHASSIS_ACCESS_OPERATOR},
    {.method = "Backup", .access = CHASSIS_ACCESS_OPERATOR},
    {.method = "*", .access = CHASSIS_ACCESS_PEER},
    {0},
};

void bp_cluster_init(struct bp_cluster *cluster, struct chassis *chassis)
{
    memset(cluster, 0, sizeof *cluster);
    cluster->chassis = chassis;
    cluster->started_ns = chassis_os_monotonic_ns();
    cluster->version = "0.1.0";
}

struct chassis_service bp_cluster_service(struct bp_cluster *cluster)
{
    struct chassis_service service = cluster_service(&cluster_handlers_table, cluster);
    service.options = cluster_options;
    return service;
}
