/* Status: what this node knows of itself, and what the others say of themselves. */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "internal.h"
#include "os/os.h"
#include "proto/message.h"

enum { ASK_TIMEOUT_MS = 1000 };

const struct chassis_consensus_member *
bp_cluster_member(const struct chassis_consensus_status *status, uint64_t id)
{
    for (unsigned i = 0; i < status->n_members; i++) {
        if (status->members[i].id == id && id != 0) {
            return &status->members[i];
        }
    }
    return NULL;
}

uint64_t bp_cluster_rss_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        if (fscanf(f, "%*u %llu", &pages) != 1) {
            pages = 0;
        }
        fclose(f);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static char *text(struct chassis_arena *arena, const char *s)
{
    return chassis_arena_strdup(arena, s);
}

/* One node that is asked. */
struct asked {
    struct gather *gather;
    struct chassis_ask ask;
    CL(NodeStatus) node;
};
/* What a status answer is gathered in; in the call's arena. */
struct gather {
    struct chassis_call *call;
    struct chassis_consensus_status status;
    atomic_uint waiting; /* answers, and one for the asking itself */
    struct asked asked[CHASSIS_CONSENSUS_NODES_MAX];
};

static void own_status(struct bp_cluster *cluster, const struct chassis_consensus_status *s,
                       CL(NodeStatus) * node)
{
    static const CL(Role) roles[] = {
        [CHASSIS_ROLE_STARTING] = DRAFT__CLUSTER__V1__ROLE__ROLE_STARTING,
        [CHASSIS_ROLE_FOLLOWER] = DRAFT__CLUSTER__V1__ROLE__ROLE_FOLLOWER,
        [CHASSIS_ROLE_CANDIDATE] = DRAFT__CLUSTER__V1__ROLE__ROLE_CANDIDATE,
        [CHASSIS_ROLE_LEADER] = DRAFT__CLUSTER__V1__ROLE__ROLE_LEADER,
    };
    node->role = roles[s->role];
    node->pid = (uint64_t)getpid();
    node->applied = s->applied;
    node->rss_bytes = bp_cluster_rss_bytes();
    node->term = s->term;
    node->commit = s->commit;
    node->last_index = s->last_index;
    node->checkpoint_index = s->checkpoint_index;
    node->connected = true;
    node->version = (char *)(uintptr_t)cluster->version;
    node->uptime_ms = (chassis_os_monotonic_ns() - cluster->started_ns) / CHASSIS_NS_PER_MS;
}

int bp_cluster_describe(void *data, struct chassis_buf *ret_answer)
{
    struct bp_cluster *cluster = data;
    struct chassis_consensus_status status;
    CL(NodeStatus) node = CL_INIT(NODE_STATUS);
    chassis_consensus_status(chassis_consensus(cluster->chassis), &status);
    own_status(cluster, &status, &node);
    chassis_message_encode(&node.base, ret_answer);
    return 0;
}

static void finish(struct gather *g)
{
    if (atomic_fetch_sub(&g->waiting, 1) != 1) {
        return;
    }
    struct chassis_arena *arena = chassis_call_arena(g->call);
    const struct chassis_consensus_member *leader =
        bp_cluster_member(&g->status, g->status.leader_id);
    CL(StatusResponse) res = CL_INIT(STATUS_RESPONSE);
    CL(NodeStatus) * nodes[CHASSIS_CONSENSUS_NODES_MAX];
    char id[33];
    for (unsigned i = 0; i < 16; i++) {
        snprintf(id + 2 * i, 3, "%02x", g->status.cluster_id[i]);
    }
    res.cluster_id = id;
    res.leader = text(arena, leader != NULL ? leader->name : "");
    res.nodes = nodes;
    for (unsigned i = 0; i < g->status.n_members; i++) {
        if (g->asked[i].node.id != 0) {
            nodes[res.n_nodes++] = &g->asked[i].node;
        }
    }
    cluster_status_reply(g->call, &res);
}

/* On the loop role, one at a time. */
static void answered(struct chassis_ask *ask)
{
    struct asked *asked = chassis_container_of(ask, struct asked, ask);
    struct gather *g = asked->gather;
    ProtobufCMessage *message = NULL;
    struct chassis_error err = {0};
    if (ask->status == 0 &&
        chassis_message_decode(&draft__cluster__v1__node_status__descriptor,
                               chassis_buf_view(&ask->answer), NULL, chassis_call_arena(g->call),
                               &message, &err) == 0) {
        CL(NodeStatus) *node = (CL(NodeStatus) *)message;
        node->id = asked->node.id; /* who and where it is the member list says */
        node->name = asked->node.name;
        node->address = asked->node.address;
        node->connected = true;
        asked->node = *node;
    } else {
        chassis_log_debug(chassis_call_logger(g->call), "a node did not say how it is",
                          chassis_f_str("node", asked->node.name), chassis_f_code(ask->status));
    }
    chassis_buf_fini(&ask->answer);
    finish(g);
}

/* Over the stream between the nodes: their listeners for clients may be out of our reach. */
static void ask(struct gather *g, struct chassis_consensus *node, struct asked *asked)
{
    asked->ask.timeout_ns = ASK_TIMEOUT_MS * CHASSIS_NS_PER_MS;
    asked->ask.executor = chassis_loop(((struct bp_cluster *)chassis_call_data(g->call))->chassis);
    asked->ask.done = answered;
    atomic_fetch_add(&g->waiting, 1);
    chassis_consensus_ask_node(node, asked->node.id, &asked->ask);
}

void bp_cluster_rpc_status(struct chassis_call *call, const CL(StatusRequest) * req)
{
    struct bp_cluster *cluster = chassis_call_data(call);
    struct chassis_consensus *node = chassis_consensus(cluster->chassis);
    struct chassis_arena *arena = chassis_call_arena(call);
    struct gather *g = chassis_arena_zalloc(arena, sizeof *g);
    if (g == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    g->call = call;
    chassis_consensus_status(node, &g->status);
    atomic_init(&g->waiting, 1);
    for (unsigned i = 0; i < g->status.n_members; i++) {
        const struct chassis_consensus_member *m = &g->status.members[i];
        struct asked *asked = &g->asked[i];
        draft__cluster__v1__node_status__init(&asked->node);
        asked->gather = g;
        if (m->id != g->status.id && req->local) {
            continue;
        }
        asked->node.id = m->id;
        asked->node.name = text(arena, m->name);
        asked->node.address = text(arena, m->service);
        if (m->id == g->status.id) {
            own_status(cluster, &g->status, &asked->node);
        }
    }
    /* All rows are there before the first answer can come; the arena is the answers' from then on. */
    for (unsigned i = 0; i < g->status.n_members && !req->local; i++) {
        if (g->status.members[i].id != g->status.id) {
            ask(g, node, &g->asked[i]);
        }
    }
    finish(g);
}
