/* Routes by host, in order of precedence: what the model and the replacements of a view have in
 * common.
 *
 * Invariants: a host is there while it has an entry.
 * Threads: one owner. Ownership: entries are the caller's and outlive their stay; zeroed = empty.
 */
#ifndef FUSE_CONTROL_PLANE_HOSTS_H
#define FUSE_CONTROL_PLANE_HOSTS_H

#include "model.h"
#include "tree.h"

struct fuse_hosts {
    struct fuse_tree tree;
};

void fuse_hosts_fini(struct fuse_hosts *hosts);
void fuse_hosts_add(struct fuse_hosts *hosts, struct fuse_entry *entry);
/* It is there. */
void fuse_hosts_remove(struct fuse_hosts *hosts, const struct fuse_entry *entry);
/* NULL = none. */
const struct fuse_vhost *fuse_hosts_find(const struct fuse_hosts *hosts, const char *host);

/* In order of hosts; NULL = that was all. */
void fuse_hosts_walk_begin(struct fuse_tree_walk *walk, const struct fuse_hosts *hosts);
const struct fuse_vhost *fuse_hosts_walk_next(struct fuse_tree_walk *walk);

#endif
