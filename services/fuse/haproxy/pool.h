/* Pools: HAProxy's backends. Routes with the same targets and the same behaviour share one; a route
 * with a hash key, circuit breaker or outlier detection has its own.
 *
 * The servers of a pool are the usable instances of its targets. Their share of the requests is the
 * target's weight divided by its instances, as HAProxy's weights: 1..256 relative to the largest; so
 * a share below 1/256 of the largest is rounded up.
 *
 * Invariants: a pool is fully described by its head, its targets and its parameters, and equal ones
 * have equal names; a server's name is its address, so that it means the same in every process; a
 * server that cannot be written safely or that would reach nobody (port 0, 0.0.0.0) is left out.
 * Threads: any. Ownership: everything lives in the arena of the pools.
 */
#ifndef FUSE_HAPROXY_POOL_H
#define FUSE_HAPROXY_POOL_H

#include <chassis/arena.h>

#include "fuse/control_plane/model.h"
#include "fuse/haproxy/text.h"

struct fuse_pool_target {
    const char *service; /* "" = the address */
    const char *address;
    uint32_t weight;
};
struct fuse_pool {
    const char *name;
    const char *head;   /* its section but the first line and the servers */
    const char *params; /* what follows every server's address; begins with a space */
    const struct fuse_pool_target *targets;
    unsigned n_targets;
    bool http2;
    bool hashed;  /* servers have stable numbers */
    bool checked; /* HAProxy looks after the servers itself, too */
};
struct fuse_pools {
    struct chassis_arena arena;
    struct fuse_texts keys, names;
    struct fuse_pool **items;
    unsigned n, cap;
};

void fuse_pools_init(struct fuse_pools *pools);
void fuse_pools_fini(struct fuse_pools *pools);
/* The pool a route's requests go to, made if it is new. */
const struct fuse_pool *fuse_pools_of_route(struct fuse_pools *pools,
                                            const struct fuse_route *route);

enum { FUSE_SERVER_WEIGHT_MAX = 256, FUSE_SERVER_NAME_MAX = 280 };
struct fuse_server {
    const char *name;
    const char *address;
    unsigned weight;
    uint32_t number; /* of a hashed pool */
    bool by_name;    /* HAProxy must look the address up: only a new configuration brings it */
};
/* Those of now, by name; they live in `arena`. */
unsigned fuse_pool_servers(const struct fuse_pool *pool, const struct fuse_model *model,
                           struct chassis_arena *arena, struct fuse_server **ret_servers);
/* What follows "server <name>" or "add server <pool>/<name>". */
void fuse_pool_server_text(const struct fuse_pool *pool, const struct fuse_server *server,
                           struct chassis_buf *out);

#endif
