/* Two messages of one type, field by field, as users know them: paths and JSON values.
 *
 * Threads: any. Ownership: what is found lives in the arena.
 */
#ifndef FUSE_CONTROL_PLANE_DIFF_H
#define FUSE_CONTROL_PLANE_DIFF_H

#include "proto/message.h"

struct fuse_difference {
    const char *field;     /* "targets[0].weight" */
    const char *from, *to; /* as JSON; "" = absent */
};
struct fuse_differences {
    struct chassis_arena *arena;
    struct fuse_difference *items;
    unsigned n, cap;
};
/* Appends to `out`, whose arena is set. Either may be NULL: then every field of the other one. */
void fuse_diff(const ProtobufCMessage *from, const ProtobufCMessage *to,
               struct fuse_differences *out);

#endif
