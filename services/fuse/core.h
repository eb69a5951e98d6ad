/* All of Fuse but its configuration and its listeners: model, Blueprint's side, controller, views, xDS,
 * proxies. main.c puts it into a process, tests into theirs.
 *
 * Threads: everything on the loop role, but the services' handlers.
 * Ownership: the caller's memory, from before the first call until the client of Blueprint was freed
 * after `stopped`.
 */
#ifndef FUSE_CORE_H
#define FUSE_CORE_H

#include "fuse/blueprint/link.h"
#include "fuse/blueprint/store.h"
#include "fuse/control_plane/views.h"
#include "fuse/xds/rpc.h"

struct chassis_gauge;
struct chassis_counter;

struct fuse_core_options {
    struct chassis_client *blueprint; /* its callbacks run on the loop */
    struct chassis_executor *loop;
    struct chassis_logger *log;
    int64_t (*wall_ns)(void *data);
    unsigned versions_kept; /* 0 = 20 */
    const struct fuse_statics *statics;
    /* See address.h; NULL = the address is not published. */
    bool (*self)(void *data, char ret_url[300], char ret_pid[64]);
    /* Everything is known; told once. The view of a group changed otherwise than with the model. Both
     * may be NULL. */
    void (*synced)(void *data);
    void (*regrouped)(void *data, const char *group);
    void *data;
};

struct fuse_core {
    struct fuse_core_options options;
    struct fuse_model *model;
    struct fuse_blueprint_store store;
    struct fuse_controller *controller;
    struct fuse_proxies proxies;
    struct fuse_link link;
    struct fuse_views views;
    struct fuse_xds *xds;
    struct fuse_xds_views xds_views;
    /* core.c's own */
    struct chassis_gauge *instances, *usable, *revision, *lag, *streams;
    struct chassis_counter *invalid;
    struct chassis_timer measure;
    void (*stopped)(void *data);
    void *stopped_data;
};

void fuse_core_start(struct fuse_core *core, const struct fuse_core_options *options);
/* Streams end; see the drain of a service. */
void fuse_core_drain(struct fuse_core *core);
/* After the last call: `stopped` when nothing is under way at Blueprint any more. */
void fuse_core_stop(struct fuse_core *core, void (*stopped)(void *data), void *data);
/* What the configuration says has changed: a secret's files. */
void fuse_core_statics_changed(struct fuse_core *core);
bool fuse_core_synced(const struct fuse_core *core);

#endif
