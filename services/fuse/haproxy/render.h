/* A view as HAProxy's configuration. Pure: no file, clock or process.
 *
 * The configuration is one text and a few files beside it (maps and TLS files), named by their
 * content, so that a new configuration never touches a file of the old one. Its structure is
 * everything but the servers of the pools: those change without a new configuration.
 *
 * Invariants: equal views give equal bytes; nothing a route, a secret or an instance contains gets
 * out of its place in the text; a request is answered as fuse_decide says.
 * Threads: as the view's while it is made, any afterwards. Ownership: fuse_plan_free.
 */
#ifndef FUSE_HAPROXY_RENDER_H
#define FUSE_HAPROXY_RENDER_H

#include "fuse/control_plane/view.h"
#include "fuse/haproxy/pool.h"
#include "fuse/xds/resources.h"

enum { FUSE_PLAN_DIRECTORY_MAX = 80 }; /* paths of sockets are short */
#define FUSE_PLAN_RUNTIME_SOCKET "runtime.sock"
#define FUSE_PLAN_MASTER_SOCKET  "master.sock"

struct fuse_plan_options {
    const struct fuse_view *view;
    const struct fuse_statics *statics;
    const char *directory; /* absolute: where its sockets are */
    bool has_dns;          /* names of targets are looked up again at the servers of resolv.conf */
    /* Leave this route out; NULL = none. */
    bool (*hidden)(const struct fuse_entry *entry, void *data);
    void *data;
};
struct fuse_plan_file {
    char name[48];
    struct chassis_buf content;
};
/* The servers of one pool in the text. */
struct fuse_plan_servers {
    struct fuse_server *items;
    unsigned n;
};
struct fuse_plan {
    struct chassis_buf config;
    struct fuse_plan_file *files;
    unsigned n_files, files_cap;
    struct fuse_pools pools;           /* by name */
    struct fuse_plan_servers *servers; /* of each pool */
    struct chassis_arena arena;
    uint64_t structure;
    uint64_t revision; /* of the model */
    unsigned n_routes;
};
/* CHASSIS_TOO_LARGE: more rules than HAProxy could go through. */
int fuse_plan_new(const struct fuse_plan_options *options, struct fuse_plan **ret_plan,
                  struct chassis_error *err);
/* NULL is fine. */
void fuse_plan_free(struct fuse_plan *plan);

/* The structure a running HAProxy was given, from the description it shows; 0 = none of ours. */
uint64_t fuse_plan_structure_of(const char *description);

#endif
