/* Route messages to routes and back: where protobuf ends.
 *
 * A record that another Fuse or the original wrote is taken as it is where the limits allow; what is
 * wrong with it is said as problems, with the path of the field as users know it.
 *
 * Invariants: equal routes have equal encodings; a route's own encoding gives the same route again,
 * without an error.
 * Threads: any.
 */
#ifndef FUSE_CONTROL_PLANE_CONVERT_H
#define FUSE_CONTROL_PLANE_CONVERT_H

#include <chassis/arena.h>

#include "core/control_plane/networking/v1/networking.pb-c.h"
#include "fuse/control_plane/route.h"
#include "fuse/control_plane/validate.h"

enum { FUSE_ROUTE_BYTES_MAX = 256 * 1024 };

/* What a route that names no target gets; "" or NULL = none, so that it is an error. */
struct fuse_route_defaults {
    const char *name;    /* for a route without a name */
    const char *service; /* for a route without target and endpoint */
};
/* NULL if there is an error among `problems` (which may hold warnings in either case). `defaults` may
 * be NULL. The encoded form of the route has them filled in. */
struct fuse_route *fuse_route_of_message(const Core__ControlPlane__Networking__V1__Route *message,
                                         const struct fuse_route_defaults *defaults,
                                         struct fuse_problems *problems);
/* The same from a record's bytes (an encoded Route). */
struct fuse_route *fuse_route_of_bytes(struct chassis_view encoded, struct fuse_problems *problems);
/* The message; lives in the arena, its texts in the route. */
Core__ControlPlane__Networking__V1__Route *fuse_route_to_message(const struct fuse_route *route,
                                                                 struct chassis_arena *arena);

#endif
