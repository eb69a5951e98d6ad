/* Every proxy Fuse programs, whatever its protocol, and what each has: for ListProxies, for metrics
 * and for processes that wait until nobody sends to them any more.
 *
 * Threads: the loop role. Ownership: a proxy is its owner's memory, from _add until _remove.
 */
#ifndef FUSE_CONTROL_PLANE_PROXIES_H
#define FUSE_CONTROL_PLANE_PROXIES_H

#include <chassis/arena.h>
#include <chassis/executor.h>

#include "base/list.h"
#include "draft/routing/v1/routing.pb-c.h"

struct fuse_proxy;
struct fuse_proxy_ops {
    /* Fill everything but the id; lives in the arena. */
    void (*describe)(struct fuse_proxy *proxy, Draft__Routing__V1__Proxy *out,
                     struct chassis_arena *arena);
    /* Everything that the model said up to now is sent and acknowledged (or refused). */
    bool (*settled)(struct fuse_proxy *proxy);
};
struct fuse_proxy {
    const struct fuse_proxy_ops *ops;
    char id[160];
    /* proxies.c's own */
    struct chassis_list link;
    uint64_t settled_at; /* turn of the last look at which it was settled */
};

struct fuse_proxies {
    struct chassis_list all, waiting;
    struct chassis_executor *loop;
    struct chassis_timer look; /* armed: at the end of this turn */
    uint64_t turn;             /* counts looks */
    unsigned n;
};
void fuse_proxies_init(struct fuse_proxies *proxies, struct chassis_executor *loop);
void fuse_proxies_fini(struct fuse_proxies *proxies);
/* `id` as the proxy says; "#2" … is appended when there is one already. */
void fuse_proxies_add(struct fuse_proxies *proxies, struct fuse_proxy *proxy, const char *id);
void fuse_proxies_remove(struct fuse_proxies *proxies, struct fuse_proxy *proxy);
struct fuse_proxy *fuse_proxies_find(const struct fuse_proxies *proxies, const char *id);
/* An owner's proxy may have become settled: look after those who wait, once for all that is said in
 * this turn. Costs nothing while nobody waits. */
void fuse_proxies_moved(struct fuse_proxies *proxies);
/* `done` once, never before this returns: true when every proxy of now has settled once since (or is
 * gone), false after `timeout_ms` or at fini. */
void fuse_proxies_await(struct fuse_proxies *proxies, uint64_t timeout_ms,
                        void (*done)(bool settled, void *data), void *data);

#endif
