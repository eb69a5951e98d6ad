/* The parts of convert.c: each reads one part of a Route message into the draft of a route, and says
 * what is wrong.
 *
 * Threads: any. Ownership: texts of the draft live in the arena or the message.
 */
#ifndef FUSE_CONTROL_PLANE_CONVERT_PARTS_H
#define FUSE_CONTROL_PLANE_CONVERT_PARTS_H

#include "fuse/control_plane/convert.h"

#define NET(type) Core__ControlPlane__Networking__V1__##type
#define POL(type) Draft__Routing__V1__##type

struct fuse_converting {
    struct chassis_arena *arena;
    struct fuse_problems *problems;
    struct fuse_route *draft;
};

/* False after an error was added: `why` is not NULL. */
bool fuse_convert_fine(struct fuse_converting *c, const char *field, const char *value,
                       const char *why);
/* "targets[2].weight" */
const char *fuse_convert_field(struct fuse_converting *c, const char *list, size_t i,
                               const char *member);
/* How many of `n` elements to look at; an error when there are more than FUSE_LIST_MAX. */
unsigned fuse_convert_count(struct fuse_converting *c, const char *field, size_t n);
const char *fuse_convert_lower(struct fuse_converting *c, const char *text);

void fuse_convert_match(struct fuse_converting *c, const NET(RouteMatch) * match);
void fuse_convert_policies(struct fuse_converting *c, const NET(Route) * message);

#endif
