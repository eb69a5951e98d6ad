/* Blueprint as Fuse knows it: routes, quarantines and instances, kept in the model; and our address
 * in its records.
 *
 * Invariants: synced once routes, quarantines and instances have been complete; what was known stays
 * while Blueprint is away.
 * Threads: `loop`, where the client's callbacks run, too.
 * Ownership: caller's memory, which must live until the client is freed after fuse_link_stop.
 */
#ifndef FUSE_BLUEPRINT_LINK_H
#define FUSE_BLUEPRINT_LINK_H

#include "address.h"
#include "fuse/control_plane/store.h"
#include "registry.h"

/* A quarantine record we know of: told as removed when a list does not have it any more. */
struct fuse_link_mark {
    char *key;
    bool seen;
};
struct fuse_link {
    struct chassis_client *client;
    struct chassis_executor *loop;
    struct chassis_logger *log;
    struct fuse_model *model;        /* instances go there */
    struct fuse_store_events events; /* routes and quarantines */
    void (*synced)(void *data);      /* once */
    void *data;
    struct fuse_address address; /* `self` and `data` filled in; NULL = do not publish */
    /* link.c's own */
    struct fuse_records routes, quarantines;
    struct fuse_registry registry;
    struct fuse_link_mark *marks;
    unsigned n_marks, cap_marks;
    bool told_synced;
};
/* What is above `own` is filled in. */
void fuse_link_start(struct fuse_link *link);
void fuse_link_stop(struct fuse_link *link);
bool fuse_link_synced(const struct fuse_link *link);

#endif
