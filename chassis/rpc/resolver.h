/* Resolvers: from a target to its endpoints, now and whenever they change.
 *
 * Threads: `start` and `stop` from any; `update` may be called from any role until stop returned.
 */
#ifndef CHASSIS_RPC_RESOLVER_H
#define CHASSIS_RPC_RESOLVER_H

#include <stddef.h>

#include <chassis/error.h>

struct chassis_resolution; /* one running resolution, the resolver's own */

struct chassis_endpoint {
    const char *address; /* "host:port" */
};
/* n = 0 means: nothing is known to serve this name; `why` says so for the callers' errors. */
typedef void (*chassis_endpoints_cb)(const struct chassis_endpoint *endpoints, size_t n,
                                     const char *why, void *data);

struct chassis_resolver {
    int (*start)(struct chassis_resolver *resolver, const char *name, chassis_endpoints_cb update,
                 void *data, struct chassis_resolution **ret_resolution, struct chassis_error *err);
    void (*stop)(struct chassis_resolver *resolver, struct chassis_resolution *resolution);
};

#endif
