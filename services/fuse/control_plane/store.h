/* Where routes are kept: Blueprint in production (blueprint/store.c), memory in tests.
 *
 * A change is one transaction: the route, its version, the versions that are too many. Its number is
 * the revision the store gives it. The store tells what happened by `fuse_store_events`, also of
 * changes made through it.
 * Threads: the loop role. Ownership: views live during the call.
 */
#ifndef FUSE_CONTROL_PLANE_STORE_H
#define FUSE_CONTROL_PLANE_STORE_H

#include <chassis/buf.h>
#include <chassis/error.h>

struct fuse_store;

/* A version as it lies in the store: an encoded draft.routing.v1.RouteVersion and its number. */
struct fuse_stored_version {
    uint64_t version;
    struct chassis_view encoded;
};
typedef void (*fuse_store_done_cb)(int code, const struct chassis_error *err, uint64_t version,
                                   void *data);
typedef void (*fuse_store_versions_cb)(int code, const struct chassis_error *err,
                                       const struct fuse_stored_version *versions, unsigned n,
                                       void *data);
/* CHASSIS_NOT_FOUND when there is none. */
typedef void (*fuse_store_route_cb)(int code, const struct chassis_error *err, uint64_t version,
                                    struct chassis_view encoded, void *data);
struct fuse_store_ops {
    /* The route as it is now, whatever the watch has brought so far. */
    void (*read)(struct fuse_store *store, const char *name, fuse_store_route_cb done, void *data);
    /* `route` empty = delete. The route must be at `expected` (0 = must not exist), else
     * CHASSIS_ABORTED. `record` is the encoded RouteVersion. At most `keep` versions stay. */
    void (*write)(struct fuse_store *store, const char *name, struct chassis_view route,
                  struct chassis_view record, uint64_t expected, unsigned keep,
                  fuse_store_done_cb done, void *data);
    /* Newest first. */
    void (*versions)(struct fuse_store *store, const char *name, fuse_store_versions_cb done,
                     void *data);
    /* An encoded draft.routing.v1.Quarantine; empty = remove it. */
    void (*quarantine)(struct fuse_store *store, const char *group, const char *route,
                       struct chassis_view record, fuse_store_done_cb done, void *data);
};
struct fuse_store {
    const struct fuse_store_ops *ops;
};

/* What the store tells; each runs on the loop. A list begins with routes_begin and ends with
 * routes_end; everything in between is what is there. */
struct fuse_store_events {
    void (*routes_begin)(void *data);
    void (*route)(void *data, const char *name, struct chassis_view encoded, uint64_t version,
                  uint64_t created_version, int64_t time_ns, const char *actor);
    void (*route_deleted)(void *data, const char *name, uint64_t version);
    void (*routes_end)(void *data, uint64_t revision);
    /* Empty record = removed. */
    void (*quarantine)(void *data, const char *group, const char *route,
                       struct chassis_view record);
    void *data;
};

#endif
