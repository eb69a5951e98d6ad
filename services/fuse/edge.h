/* The HAProxy of this Fuse, if it has one: the adapter as the configuration wants it, on the view of
 * its node group.
 *
 * What HAProxy refuses is written down as a quarantine of the group, as for any other proxy: every Fuse
 * learns it from Blueprint, and it ends when the route changes.
 * Threads: the loop role. Ownership: caller's memory; must be closed before the core is stopped.
 */
#ifndef FUSE_EDGE_H
#define FUSE_EDGE_H

#include "fuse/core.h"
#include "fuse/haproxy/adapter.h"

struct fuse_edge_config {
    bool enabled;          /* fuse.haproxy.enabled */
    const char *program;   /* fuse.haproxy.program */
    const char *directory; /* fuse.haproxy.directory; empty = "haproxy" in the data directory */
    const char *group;     /* fuse.haproxy.group */
    bool stop;             /* fuse.haproxy.stop */
};
struct fuse_edge {
    const struct fuse_edge_config *config;
    struct fuse_core *core;
    struct chassis_logger *log;
    struct fuse_haproxy *haproxy; /* NULL = there is none */
};
int fuse_edge_open(struct fuse_edge *edge, const struct fuse_edge_config *config,
                   struct fuse_core *core, struct chassis_loop *loop,
                   struct chassis_executor *workers, const char *data_directory,
                   struct chassis_error *err);
/* The core knows everything. */
void fuse_edge_synced(struct fuse_edge *edge);
/* The core's view of a group changed otherwise than with the model; NULL = the statics did. */
void fuse_edge_changed(struct fuse_edge *edge, const char *group);
void fuse_edge_close(struct fuse_edge *edge, void (*closed)(void *data), void *data);

#endif
