/* RaftService of the original: figures of the node that answers, as texts. */
#include <inttypes.h>
#include <stdio.h>

#include "core/consensus/raft/v1/raft.chassis.h"
#include "internal.h"

#define RAFT(name)      Core__Consensus__Raft__V1__##name
#define RAFT_INIT(name) CORE__CONSENSUS__RAFT__V1__##name##__INIT

static const char fixed[] =
    "the members of a cluster are fixed at its first start in this version (raft.members): start "
    "a new cluster from a backup to change them";

static void rpc_join(struct chassis_call *call, const RAFT(JoinRequest) * req)
{
    chassis_call_fail(call, CHASSIS_UNIMPLEMENTED, "%s", fixed);
}

static void rpc_remove(struct chassis_call *call, const RAFT(RemoveRequest) * req)
{
    chassis_call_fail(call, CHASSIS_UNIMPLEMENTED, "%s", fixed);
}

enum { ENTRIES_MAX = 12 };
struct table {
    struct chassis_arena *arena;
    RAFT(Stats__StatsEntry) entries[ENTRIES_MAX], *list[ENTRIES_MAX];
    size_t n;
};

static void row(struct table *t, const char *key, const char *value)
{
    RAFT(Stats__StatsEntry) *e = &t->entries[t->n];
    core__consensus__raft__v1__stats__stats_entry__init(e);
    e->key = chassis_arena_strdup(t->arena, key);
    e->value = chassis_arena_strdup(t->arena, value);
    t->list[t->n++] = e;
}

static void number(struct table *t, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    row(t, key, text);
}

static void rpc_stats(struct chassis_call *call, const RAFT(StatsRequest) * req)
{
    static const char *const roles[] = {"Starting", "Follower", "Candidate", "Leader"};
    struct bp_cluster *cluster = chassis_call_data(call);
    struct chassis_consensus_status s;
    chassis_consensus_status(chassis_consensus(cluster->chassis), &s);
    const struct chassis_consensus_member *self = bp_cluster_member(&s, s.id);
    const struct chassis_consensus_member *leader = bp_cluster_member(&s, s.leader_id);
    const char *name = self != NULL ? self->name : "";
    if (req->node_id[0] != '\0' && strcmp(req->node_id, name) != 0) {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "this is node '%s', not '%s': ask that node",
                          name, req->node_id);
        return;
    }
    struct table t = {.arena = chassis_call_arena(call)};
    row(&t, "state", roles[s.role]);
    row(&t, "leader", leader != NULL ? leader->name : "");
    row(&t, "leader_address", leader != NULL ? leader->service : "");
    number(&t, "term", s.term);
    number(&t, "commit_index", s.commit);
    number(&t, "applied_index", s.applied);
    number(&t, "last_log_index", s.last_index);
    number(&t, "last_snapshot_index", s.checkpoint_index);
    number(&t, "num_peers", s.n_members != 0 ? s.n_members - 1 : 0);
    RAFT(Stats) stats = RAFT_INIT(STATS);
    RAFT(StatsResponse) res = RAFT_INIT(STATS_RESPONSE);
    stats.stats = t.list;
    stats.n_stats = t.n;
    res.node_id = chassis_arena_strdup(t.arena, name);
    res.stats = &stats;
    raft_service_stats_reply(call, &res);
}

static const struct raft_service_handlers handlers = {
    .join = rpc_join, .remove = rpc_remove, .stats = rpc_stats};
static const struct chassis_method_options options[] = {
    {.method = "Stats", .access = CHASSIS_ACCESS_PUBLIC, .idempotent = true},
    {.method = "*", .access = CHASSIS_ACCESS_OPERATOR},
    {0},
};

struct chassis_service bp_raft_service(struct bp_cluster *cluster)
{
    struct chassis_service service = raft_service_service(&handlers, cluster);
    service.options = options;
    return service;
}
