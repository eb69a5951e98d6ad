/* What a route asks for that only some data planes do, or that does not do what it seems to: warnings.
 *
 * Threads: any. Pure.
 */
#ifndef FUSE_CONTROL_PLANE_ADVICE_H
#define FUSE_CONTROL_PLANE_ADVICE_H

#include "fuse/control_plane/route.h"
#include "fuse/control_plane/validate.h"

void fuse_route_advise(const struct fuse_route *route, struct fuse_problems *problems);

#endif
