/* Names of clusters and of their endpoints, made from routes and taken apart again: README.md's
 * table of names is here.
 *
 * Threads: as the model's. Ownership: texts live in the arena.
 */
#ifndef FUSE_XDS_NAMES_H
#define FUSE_XDS_NAMES_H

#include <chassis/arena.h>

#include "fuse/control_plane/model.h"

enum fuse_cluster_kind {
    FUSE_CLUSTER_OF_SERVICE,
    FUSE_CLUSTER_OF_ADDRESS,
    FUSE_CLUSTER_OF_ROUTE, /* with policies of its own */
};
struct fuse_cluster_name {
    enum fuse_cluster_kind kind;
    bool http2;
    const char *service;
    const char *host; /* without brackets */
    uint16_t port;
    const char *route;
    unsigned target;
};

/* Its targets have clusters of their own. */
bool fuse_route_has_policies(const struct fuse_route *route);
/* Of several targets those of weight 0 get none. */
bool fuse_target_is_used(const struct fuse_route *route, unsigned i);
const char *fuse_cluster_name(const struct fuse_route *route, unsigned i,
                              struct chassis_arena *arena);
/* As the cluster without policies. */
const char *fuse_endpoints_name(const struct fuse_target *target, bool http2,
                                struct chassis_arena *arena);
/* The same as a target; false: it can be none. Whether it exists is another question, but for a
 * service the model does not know. */
bool fuse_cluster_parse(const struct fuse_model *model, const char *name,
                        struct chassis_arena *arena, struct fuse_cluster_name *ret_name);

/* "10.0.0.7:80", "[::1]:80", "host:80"; the host comes without brackets. */
bool fuse_address_parse(const char *text, struct chassis_arena *arena, const char **ret_host,
                        uint16_t *ret_port);
bool fuse_is_ip(const char *host);

#endif
