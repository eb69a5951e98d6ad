/* The servers a running HAProxy has, and the commands that make them those it should have.
 *
 * A server is added when its instance comes, put into maintenance when it goes (no new requests; those
 * under way finish) and taken out again when the same address comes back. It is never removed: a
 * removal fails while a connection is left, and the next configuration begins without it anyway.
 *
 * Pure. Threads: any. Ownership: fuse_live_free.
 */
#ifndef FUSE_HAPROXY_LIVE_H
#define FUSE_HAPROXY_LIVE_H

#include "fuse/haproxy/render.h"
#include "fuse/haproxy/runtime.h"

struct fuse_live;

/* As after a start with the plan's configuration. The plan must outlive it. */
struct fuse_live *fuse_live_of_plan(const struct fuse_plan *plan);
/* As a running HAProxy says ("show servers state"), whose structure is the plan's. */
struct fuse_live *fuse_live_of_state(const struct fuse_plan *plan, const char *answer);
void fuse_live_free(struct fuse_live *live);

struct fuse_live_change {
    struct fuse_runtime_batch *commands; /* additions first */
    struct fuse_runtime_batch
        *removals;            /* of them, for workers that are ending, too; may be NULL */
    bool needs_configuration; /* a server whose name must be looked up, or too many have gone */
};
/* What is to be done in pool `i` of the plan; taken for done from then on. */
void fuse_live_change(struct fuse_live *live, unsigned i, const struct fuse_model *model,
                      struct fuse_live_change *change);
/* HAProxy did what it was told. */
bool fuse_live_answer_is_fine(const char *answer);

#endif
