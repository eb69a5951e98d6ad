/* Status: what this node knows of itself, and what the others say of themselves. */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "internal.h"
#include "os/os.h"

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

/* What a status answer is gathered in; in the call's arena. */
struct gather {
    struct chassis_call *call;
    struct bp_cluster *cluster;
    struct chassis_consensus_status status;
    atomic_uint waiting; /* answers, and one for the asking itself */
    CL(NodeStatus) nodes[CHASSIS_CONSENSUS_NODES_MAX];
};
struct asked {
    struct gather *gather;
    unsigned i;
};

static void own_status(struct gather *g, CL(NodeStatus) * node)
{
    const struct chassis_consensus_status *s = &g->status;
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
    node->version = text(chassis_call_arena(g->call), g->cluster->version);
    node->uptime_ms = (chassis_os_monotonic_ns() - g->cluster->started_ns) / CHASSIS_NS_PER_MS;
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
        if (g->nodes[i].id != 0) {
            nodes[res.n_nodes++] = &g->nodes[i];
        }
    }
    cluster_status_reply(g->call, &res);
}

static void answered(const struct chassis_reply *reply, void *data)
{
    struct asked *asked = data;
    struct gather *g = asked->gather;
    const CL(StatusResponse) *res = reply->code == 0 ? cluster_status_response(reply) : NULL;
    for (size_t i = 0; res != NULL && i < res->n_nodes; i++) {
        CL(NodeStatus) *node = &g->nodes[asked->i];
        const CL(NodeStatus) *from = res->nodes[i];
        if (from->id != node->id) {
            continue;
        }
        /* Numbers only: texts would die with the reply. */
        node->role = from->role;
        node->pid = from->pid;
        node->applied = from->applied;
        node->rss_bytes = from->rss_bytes;
        node->term = from->term;
        node->commit = from->commit;
        node->last_index = from->last_index;
        node->checkpoint_index = from->checkpoint_index;
        node->uptime_ms = from->uptime_ms;
        node->connected = true;
    }
    finish(g);
}

static struct chassis_client *client_of(struct gather *g, unsigned i)
{
    struct bp_cluster *c = g->cluster;
    struct chassis_error err = {0};
    pthread_mutex_lock(&c->lock);
    if (c->clients[i] == NULL &&
        chassis_client(c->chassis, g->status.members[i].address, &c->clients[i], &err) != 0) {
        chassis_log_warn(chassis_call_logger(g->call), "cannot ask a node for its status",
                         chassis_f_str("node", g->status.members[i].name), chassis_f_err(&err));
    }
    struct chassis_client *client = c->clients[i];
    pthread_mutex_unlock(&c->lock);
    return client;
}

static void ask(struct gather *g, unsigned i)
{
    struct asked *asked = chassis_arena_alloc(chassis_call_arena(g->call), sizeof *asked);
    struct chassis_client *client = client_of(g, i);
    if (client == NULL || asked == NULL) {
        return;
    }
    *asked = (struct asked){g, i};
    CL(StatusRequest) req = CL_INIT(STATUS_REQUEST);
    req.local = true;
    struct chassis_call_options options = {.timeout_ms = ASK_TIMEOUT_MS, .idempotent = true};
    atomic_fetch_add(&g->waiting, 1);
    cluster_status(client, &req, &options, answered, asked);
}

void bp_cluster_rpc_status(struct chassis_call *call, const CL(StatusRequest) * req)
{
    struct chassis_arena *arena = chassis_call_arena(call);
    struct gather *g = chassis_arena_zalloc(arena, sizeof *g);
    if (g == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    g->call = call;
    g->cluster = chassis_call_data(call);
    chassis_consensus_status(chassis_consensus(g->cluster->chassis), &g->status);
    atomic_init(&g->waiting, 1);
    for (unsigned i = 0; i < g->status.n_members; i++) {
        const struct chassis_consensus_member *m = &g->status.members[i];
        draft__cluster__v1__node_status__init(&g->nodes[i]);
        if (m->id != g->status.id && req->local) {
            continue;
        }
        g->nodes[i].id = m->id;
        g->nodes[i].name = text(arena, m->name);
        g->nodes[i].address = text(arena, m->address);
    }
    /* All rows are there before the first answer can come. */
    for (unsigned i = 0; i < g->status.n_members; i++) {
        if (g->status.members[i].id == g->status.id) {
            own_status(g, &g->nodes[i]);
        } else if (!req->local) {
            ask(g, i);
        }
    }
    finish(g);
}
