/* Proxies, and waiting until none sends to a process any more. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/message.h"
#include "rpc.h"

static ROUTING(Proxy) * describe(struct fuse_proxy *proxy, struct chassis_arena *arena)
{
    ROUTING(Proxy) *message = chassis_arena_alloc(arena, sizeof *message);
    draft__routing__v1__proxy__init(message);
    proxy->ops->describe(proxy, message, arena);
    message->id = proxy->id;
    return message;
}

static void run_list(struct fuse_job *job)
{
    struct chassis_arena arena;
    ROUTING(ListProxiesResponse) res = ROUTING_INIT(LIST_PROXIES_RESPONSE);
    size_t bytes = 0;
    chassis_arena_init(&arena, NULL, 0, 0);
    res.proxies = chassis_arena_alloc(&arena, (job->views->proxies->n + 1) * sizeof *res.proxies);
    chassis_list_foreach (it, &job->views->proxies->all) {
        struct fuse_proxy *proxy = chassis_list_entry(it, struct fuse_proxy, link);
        ROUTING(Proxy) *message = describe(proxy, &arena);
        bytes += chassis_message_size(&message->base) + 8;
        if (bytes > FUSE_ANSWER_MAX) { /* which is why GetProxy is there, and `total` */
            break;
        }
        res.proxies[res.n_proxies++] = message;
    }
    res.total = job->views->proxies->n;
    routing_list_proxies_reply(job->call, &res);
    chassis_arena_fini(&arena);
}

void fuse_rpc_list_proxies(struct chassis_call *call, const ROUTING(ListProxiesRequest) * req)
{
    struct fuse_job *job = fuse_job_new(call, req, run_list);
    if (job != NULL) {
        fuse_job_start(job);
    }
}

static void run_get(struct fuse_job *job)
{
    const ROUTING(GetProxyRequest) *req = job->request;
    struct fuse_proxy *proxy = fuse_proxies_find(job->views->proxies, req->id);
    struct chassis_arena arena;
    if (proxy == NULL) {
        chassis_call_fail(job->call, CHASSIS_NOT_FOUND, "no proxy '%.160s' is connected", req->id);
        return;
    }
    chassis_arena_init(&arena, NULL, 0, 0);
    routing_get_proxy_reply(job->call, describe(proxy, &arena));
    chassis_arena_fini(&arena);
}

void fuse_rpc_get_proxy(struct chassis_call *call, const ROUTING(GetProxyRequest) * req)
{
    struct fuse_job *job = fuse_job_new(call, req, run_get);
    if (job != NULL) {
        fuse_job_start(job);
    }
}

/* ---- AwaitWithdrawn: first the registry says so, then the proxies have it ---- */

enum { TIMEOUT_MS = 1000, TIMEOUT_MAX_MS = 10000 };

struct leaver {
    struct chassis_list link;
    struct fuse_job *job;
    const char *pid;
    uint64_t due_ns;
    struct chassis_timer timer; /* while the registry has it */
};

static void reply(struct leaver *l, bool withdrawn)
{
    ROUTING(AwaitWithdrawnResponse) res = ROUTING_INIT(AWAIT_WITHDRAWN_RESPONSE);
    res.withdrawn = withdrawn;
    chassis_list_remove(&l->link);
    chassis_cancel(l->job->views->loop, &l->timer);
    routing_await_withdrawn_reply(l->job->call, &res); /* frees l, which lies in its arena */
}

static bool gets_requests(const struct leaver *l)
{
    const struct fuse_instance *i = fuse_model_instance(l->job->views->model, l->pid);
    return i != NULL && i->state == FUSE_INSTANCE_USABLE;
}

static void on_settled(bool settled, void *data)
{
    reply(data, settled);
}

static void await_proxies(struct leaver *l)
{
    struct fuse_views *views = l->job->views;
    uint64_t now = chassis_now_ns(views->loop);
    chassis_list_remove(&l->link);
    chassis_cancel(views->loop, &l->timer);
    fuse_proxies_await(views->proxies, l->due_ns > now ? (l->due_ns - now) / CHASSIS_NS_PER_MS : 0,
                       on_settled, l);
}

static void on_timeout(struct chassis_timer *timer)
{
    reply(chassis_container_of(timer, struct leaver, timer), false);
}

static void run_await(struct fuse_job *job)
{
    const ROUTING(AwaitWithdrawnRequest) *req = job->request;
    struct leaver *l = chassis_arena_zalloc(chassis_call_arena(job->call), sizeof *l);
    if (l == NULL || job->views->draining) {
        chassis_call_fail(job->call, l == NULL ? CHASSIS_RESOURCE_EXHAUSTED : CHASSIS_SHUTTING_DOWN,
                          l == NULL ? "the call's memory limit is reached"
                                    : "Fuse is shutting down: ask another");
        return;
    }
    uint64_t timeout_ms = req->timeout_ms != 0 ? req->timeout_ms : TIMEOUT_MS;
    timeout_ms = timeout_ms < TIMEOUT_MAX_MS ? timeout_ms : TIMEOUT_MAX_MS;
    l->job = job;
    l->pid = req->pid;
    l->timer.run = on_timeout;
    l->due_ns = chassis_now_ns(job->views->loop) + timeout_ms * CHASSIS_NS_PER_MS;
    chassis_list_append(&job->views->leavers, &l->link);
    if (gets_requests(l)) {
        chassis_post_after(job->views->loop, &l->timer, timeout_ms * CHASSIS_NS_PER_MS);
    } else {
        await_proxies(l);
    }
}

void fuse_leavers_changed(struct fuse_views *views, const struct fuse_change *change)
{
    if (change->service == NULL) {
        return;
    }
    chassis_list_foreach_safe (it, &views->leavers) {
        struct leaver *l = chassis_list_entry(it, struct leaver, link);
        if (!gets_requests(l)) {
            await_proxies(l);
        }
    }
}

void fuse_leavers_drain(struct fuse_views *views)
{
    while (!chassis_list_empty(&views->leavers)) {
        reply(chassis_list_entry(views->leavers.next, struct leaver, link), false);
    }
}

void fuse_rpc_await_withdrawn(struct chassis_call *call, const ROUTING(AwaitWithdrawnRequest) * req)
{
    struct fuse_job *job = fuse_job_new(call, req, run_await);
    if (job != NULL) {
        fuse_job_start(job);
    }
}
