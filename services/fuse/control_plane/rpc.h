/* What the files of the views share; included by them only.
 *
 * Threads: as views.h. Ownership: a job lives as long as its call.
 */
#ifndef FUSE_CONTROL_PLANE_RPC_H
#define FUSE_CONTROL_PLANE_RPC_H

#include "core/control_plane/networking/v1/networking.chassis.h"
#include "draft/routing/v1/routing.chassis.h"
#include "views.h"

#define NET(name)          Core__ControlPlane__Networking__V1__##name
#define NET_INIT(name)     CORE__CONTROL_PLANE__NETWORKING__V1__##name##__INIT
#define ROUTING(name)      Draft__Routing__V1__##name
#define ROUTING_INIT(name) DRAFT__ROUTING__V1__##name##__INIT

enum {
    FUSE_ANSWER_MAX = 3500 << 10, /* bytes: clients take messages of 4 MiB by default */
    FUSE_ENDPOINTS_MAX = 10000,   /* of all targets of a route in one answer */
};

/* --- a call's way to the loop --- */

struct fuse_job {
    struct chassis_task task;
    struct chassis_call *call;
    struct fuse_views *views;
    const void *request;
    void (*run)(struct fuse_job *job); /* answers the call, now or later */
    const struct fuse_route *route;    /* of Add and Validate; the job's reference */
    struct fuse_problems *problems;
};
/* In the call's arena; NULL after failing the call. */
struct fuse_job *fuse_job_new(struct chassis_call *call, const void *request,
                              void (*run)(struct fuse_job *job));
void fuse_job_start(struct fuse_job *job);

/* --- messages (messages.c); all live in the arena, which has no limit --- */

Google__Protobuf__Timestamp *fuse_message_time(struct chassis_arena *arena, int64_t time_ns);
ROUTING(Problem) * *fuse_message_problems(struct chassis_arena *arena,
                                          const struct fuse_problems *problems, size_t *ret_n);
ROUTING(TargetState) * *fuse_message_targets(struct chassis_arena *arena,
                                             const struct fuse_model *model,
                                             const struct fuse_route *route, size_t *ret_n);
enum { FUSE_WITH_PROBLEMS = 1, FUSE_WITH_TARGETS = 2 };
ROUTING(RouteState) * fuse_message_state(struct chassis_arena *arena,
                                         const struct fuse_views *views,
                                         const struct fuse_entry *entry, unsigned with);

/* --- handlers --- */

void fuse_rpc_list_routes(struct chassis_call *call, const NET(ListRoutesRequest) * req);
void fuse_rpc_get_route(struct chassis_call *call, const ROUTING(GetRouteRequest) * req);
void fuse_rpc_history(struct chassis_call *call, const ROUTING(HistoryRequest) * req);
void fuse_rpc_diff(struct chassis_call *call, const ROUTING(DiffRequest) * req);
void fuse_rpc_explain(struct chassis_call *call, const ROUTING(ExplainRequest) * req);
void fuse_rpc_watch(struct chassis_call *call, const ROUTING(WatchRequest) * req);
void fuse_rpc_list_proxies(struct chassis_call *call, const ROUTING(ListProxiesRequest) * req);
void fuse_rpc_get_proxy(struct chassis_call *call, const ROUTING(GetProxyRequest) * req);
void fuse_rpc_await_withdrawn(struct chassis_call *call,
                              const ROUTING(AwaitWithdrawnRequest) * req);

/* The model changed, or is about to end: what the views wait for. */
void fuse_watches_changed(struct fuse_views *views, const struct fuse_change *change);
void fuse_watches_drain(struct fuse_views *views);
void fuse_leavers_changed(struct fuse_views *views, const struct fuse_change *change);
void fuse_leavers_drain(struct fuse_views *views);

#endif
