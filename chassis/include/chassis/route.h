/* Which requests from outside come to a service: what chassis_with_route tells Fuse.
 *
 *     chassis_with_route(c, &(struct chassis_route){.prefix = "/examples.echo.v1.EchoService/"});
 *     chassis_with_route(c, &(struct chassis_route){
 *                               .name = "echo-grpc", .grpc_service = "examples.echo.v1.EchoService"});
 *
 * Requests go to the healthy instances registered under the service's own name, as they come and go;
 * proxies leave an instance out before it closes. The order among routes is written in
 * docs/guide/routes.md.
 *
 * Invariants: a route is told when the process is ready, replacing the one of that name, and told
 * again when it is gone; what is changed by others meanwhile stays until the next start. A route that
 * Fuse refuses is an error in the log with Fuse's words; the service runs on.
 * Ownership: texts are borrowed until chassis_run returns.
 */
#ifndef CHASSIS_ROUTE_H
#define CHASSIS_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>

struct chassis_route {
    const char *name; /* its identity among all routes; NULL = "<service.domain>-<service.name>" */
    const char *host; /* "shop.example.com", "*.example.com"; NULL = every host */

    /* At most one of these four; none = every path. */
    const char *prefix;       /* "/api/" */
    const char *path;         /* exactly */
    const char *regex;        /* of the whole path */
    const char *grpc_service; /* gRPC calls of "examples.echo.v1.EchoService"; implies http2 */

    const char *const *methods; /* "GET", …; NULL-terminated, NULL = any */
    int priority;               /* higher goes first: -1,000..1,000 */

    bool http2; /* to the address of the RPC listener; else to that of HTTP */
    /* Where to instead of all instances of this service. At most one. */
    const char *service; /* the instances of another one */
    const char *address; /* "host:port" */
    bool this_process; /* only here; the route goes when the process drains. Name it accordingly */

    const char *prefix_rewrite; /* replaces the matched prefix or path */
    uint32_t timeout_ms;        /* of a whole request; 0 = none */
    unsigned retries; /* where no connection was made or it broke before an answer; 0..10 */

    /* For all else: an encoded core.control_plane.networking.v1.Route. The members above but `name`
     * and where to are not looked at then; those fill in what it does not say. */
    struct chassis_view encoded;
};

#endif
