/* What resources.c puts together: one function a type, each in the file of its name.
 *
 * Threads: as the view's.
 */
#ifndef FUSE_XDS_PART_H
#define FUSE_XDS_PART_H

#include <chassis/arena.h>

#include "fuse/xds/resources.h"

/* Append the resource of this name, made in `arena`, and set the newest revision of what it was
 * made of. False: there is none. */
typedef bool (*fuse_part_build_fn)(const struct fuse_resource_source *source, const char *name,
                                   struct chassis_arena *arena, struct chassis_buf *out,
                                   uint64_t *ret_revision);
bool fuse_listener_build(const struct fuse_resource_source *source, const char *name,
                         struct chassis_arena *arena, struct chassis_buf *out,
                         uint64_t *ret_revision);
bool fuse_routes_build(const struct fuse_resource_source *source, const char *name,
                       struct chassis_arena *arena, struct chassis_buf *out,
                       uint64_t *ret_revision);
bool fuse_cluster_build(const struct fuse_resource_source *source, const char *name,
                        struct chassis_arena *arena, struct chassis_buf *out,
                        uint64_t *ret_revision);
bool fuse_endpoints_build(const struct fuse_resource_source *source, const char *name,
                          struct chassis_arena *arena, struct chassis_buf *out,
                          uint64_t *ret_revision);
bool fuse_secret_build(const struct fuse_resource_source *source, const char *name,
                       struct chassis_arena *arena, struct chassis_buf *out,
                       uint64_t *ret_revision);

/* "listener/<name>" of this view's group; NULL if it is none. */
const struct fuse_socket_listener *fuse_listener_find(const struct fuse_resource_source *source,
                                                      const char *name);
bool fuse_listener_in_group(const struct fuse_socket_listener *listener, const char *group);
/* Something answers to this name (a service, a host) when a proxyless client asks for it. */
bool fuse_routes_exist(const struct fuse_resource_source *source, const char *name);
/* The routes of a RouteConfiguration, in its order. */
void fuse_routes_each(const struct fuse_resource_source *source, const char *name,
                      void (*each)(const struct fuse_entry *entry, void *data), void *data);

#endif
