/* What the views of routes are given: NetworkingService and RoutingService.
 *
 * A request is read where it came in (workers, or a completion-queue thread), then everything happens
 * on the loop, where it is answered, too.
 *
 * Threads: handlers as marked in rpc.c; everything else on the loop.
 * Ownership: the service's memory, from before the first call until after the last.
 */
#ifndef FUSE_CONTROL_PLANE_VIEWS_H
#define FUSE_CONTROL_PLANE_VIEWS_H

#include <chassis/call.h>
#include <chassis/service.h>

#include "base/list.h"
#include "controller.h"
#include "proxies.h"
#include "view.h"

struct fuse_views {
    struct fuse_model *model; /* listened to */
    struct fuse_controller *controller;
    struct fuse_store *store;
    struct fuse_proxies *proxies;
    struct chassis_executor *loop;
    struct chassis_logger *log;
    /* The model is complete: until then calls are answered UNAVAILABLE. */
    bool (*ready)(void *data);
    /* The view of a node group; of one that no proxy belongs to, NULL: as if nothing were
     * quarantined there. */
    struct fuse_view *(*view)(void *data, const char *group);
    /* Records of the quarantines a route is in. */
    void (*each_quarantine)(void *data, const char *route,
                            void (*each)(struct chassis_view record, void *each_data),
                            void *each_data);
    void *data;
    /* the views' own */
    struct chassis_list watches, leavers;
    bool draining;
};
/* What is above `own` is filled in. */
void fuse_views_init(struct fuse_views *views);
/* A quarantine of this route began or ended. */
void fuse_views_quarantined(struct fuse_views *views, const char *route);
/* The service begins to drain: streams end. */
void fuse_views_drain(struct fuse_views *views);

struct chassis_service fuse_networking_service(struct fuse_views *views);
struct chassis_service fuse_routing_service(struct fuse_views *views);

#endif
