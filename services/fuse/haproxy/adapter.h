/* Keeps one HAProxy in step with the view of its group.
 *
 *   structure changed (routes, listeners, clusters) ──▶ render → check (haproxy -c) → rename → reload
 *   servers changed (instances, weights)            ──▶ runtime socket, no reload
 *
 * A configuration that is refused though every route was valid: the guilty routes are found by trying
 * halves, left out and told; the rest goes on.
 *
 * Invariants: the file in use has always passed the check; a configuration that is refused is kept
 * beside it with HAProxy's words, and the old one stays in use; the proxy outlives Fuse (kill -9
 * included), and the next Fuse takes it over.
 * Threads: the loop role. Ownership: adapter frees itself after `closed`.
 */
#ifndef FUSE_HAPROXY_ADAPTER_H
#define FUSE_HAPROXY_ADAPTER_H

#include <chassis/log.h>

#include "fuse/control_plane/proxies.h"
#include "fuse/control_plane/view.h"
#include "fuse/xds/resources.h"
#include "loop/loop.h"

struct fuse_haproxy_options {
    const struct fuse_view *view;
    const struct fuse_statics *statics; /* listeners of the group */
    struct fuse_proxies *proxies;
    struct chassis_loop *loop;
    struct chassis_executor *workers; /* files are written there */
    struct chassis_logger *log;
    int64_t (*wall_ns)(void *data);
    const char *program;   /* "haproxy" */
    const char *directory; /* its files and sockets: 0700; absolute, at most 80 bytes */
    bool stop_with_us;     /* end it when closing; else it goes on */
    /* HAProxy refuses this version of a route, in these words; the adapter leaves it out until the view
     * has another one. May be NULL. */
    void (*quarantine)(const struct fuse_entry *entry, const char *text, void *data);
    void *data; /* of wall_ns and quarantine */
};
struct fuse_haproxy;
int fuse_haproxy_open(const struct fuse_haproxy_options *options, struct fuse_haproxy **ret_haproxy,
                      struct chassis_error *err);
/* The model is complete: act from now on. */
void fuse_haproxy_ready(struct fuse_haproxy *haproxy);
/* The view changed; told by whoever listens to the model, after each change. NULL = anything (the view's
 * overrides, the statics). */
void fuse_haproxy_changed(struct fuse_haproxy *haproxy, const struct fuse_change *change);
void fuse_haproxy_close(struct fuse_haproxy *haproxy, void (*closed)(void *data), void *data);

#endif
