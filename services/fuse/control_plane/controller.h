/* What may change routes: add, delete, roll back. Everything else only reads.
 *
 *   add ─▶ shadow.h against the model ─▶ content as it is? ──yes──▶ ask the store ──still so──▶ answer
 *                                             │ no                        │ not any more
 *                                             ▼                           ▼
 *          store: one transaction ──ABORTED, a concurrent writer──▶ read again (a few times)
 *             │ committed
 *             ▼
 *          wait until the model has it (a second at most) ─▶ answer
 *
 * Invariants: a change is answered once, when it is committed or refused; what has not changed is not
 * written; a change is of the version it was decided on, never of a newer one.
 * Threads: the loop role. Ownership: what is given is copied or referenced.
 */
#ifndef FUSE_CONTROL_PLANE_CONTROLLER_H
#define FUSE_CONTROL_PLANE_CONTROLLER_H

#include <chassis/executor.h>
#include <chassis/log.h>

#include "model.h"
#include "store.h"
#include "validate.h"

struct fuse_controller;

struct fuse_controller_options {
    struct fuse_model *model; /* listened to */
    struct fuse_store *store;
    struct chassis_executor *loop;
    struct chassis_logger *log;
    int64_t (*wall_ns)(void *data);
    /* convert.h's fuse_route_of_bytes. */
    struct fuse_route *(*parse)(struct chassis_view encoded, struct fuse_problems *problems);
    unsigned versions_kept; /* of a route; 0 = 20 */
    unsigned routes_max;    /* 0 = 100,000 */
    unsigned changes_max;   /* under way at once; 0 = 1,000 */
};
struct fuse_controller *fuse_controller_new(const struct fuse_controller_options *options);
/* No change may be under way, and the model tells nobody any more. */
void fuse_controller_free(struct fuse_controller *controller);

/* How a change ended; lives during the callback. */
struct fuse_result {
    /* 0; CHASSIS_INVALID_ARGUMENT: refused for its problems; CHASSIS_ABORTED: not at the expected
     * version; CHASSIS_NOT_FOUND; CHASSIS_RESOURCE_EXHAUSTED: too many routes, or changes under way;
     * or what the store says. */
    int code;
    const struct chassis_error *err;
    uint64_t version; /* the new one, or the present one when nothing changed */
    bool unchanged;
    const struct fuse_problems *problems; /* warnings, too */
};
typedef void (*fuse_result_cb)(const struct fuse_result *result, void *data);

/* `expected`: the version it must be at, 0 = must not exist; NULL = whatever is there. */
void fuse_controller_add(struct fuse_controller *controller, const struct fuse_route *route,
                         const uint64_t *expected, const char *actor, fuse_result_cb done,
                         void *data);
void fuse_controller_delete(struct fuse_controller *controller, const char *name,
                            const uint64_t *expected, const char *actor, fuse_result_cb done,
                            void *data);
/* A new version with the content of that one; 0 = the one before the newest. A version that would be
 * refused today is CHASSIS_INVALID_ARGUMENT with its problems; one that is not kept CHASSIS_NOT_FOUND. */
void fuse_controller_rollback(struct fuse_controller *controller, const char *name,
                              uint64_t to_version, const char *actor, fuse_result_cb done,
                              void *data);

#endif
