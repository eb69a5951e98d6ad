/* A version of a route as it lies in the store: bytes of a draft.routing.v1.RouteVersion.
 *
 * Written and read field by field, so that the route in it keeps the very bytes it was given with.
 * Threads: any. Ownership: views point into the bytes that were read.
 */
#ifndef FUSE_CONTROL_PLANE_RECORD_H
#define FUSE_CONTROL_PLANE_RECORD_H

#include <chassis/buf.h>

enum fuse_record_kind { /* numbers of draft.routing.v1.RouteVersion.Change */
                        FUSE_RECORD_ADDED = 1,
                        FUSE_RECORD_CHANGED,
                        FUSE_RECORD_DELETED,
                        FUSE_RECORD_ROLLED_BACK,
};
struct fuse_record {
    struct chassis_view route; /* of a deletion what was deleted */
    enum fuse_record_kind kind;
    struct chassis_view actor;
    int64_t time_ns;         /* Unix */
    uint64_t rolled_back_to; /* of FUSE_RECORD_ROLLED_BACK */
};
/* "added", … */
const char *fuse_record_kind_name(enum fuse_record_kind kind);
/* Appends. */
void fuse_record_encode(const struct fuse_record *record, struct chassis_buf *out);
/* CHASSIS_MALFORMED. Unknown fields are passed over. */
int fuse_record_decode(struct chassis_view encoded, struct fuse_record *ret_record,
                       struct chassis_error *err);

#endif
