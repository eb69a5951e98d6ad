/* The model as one node group (and one listener) sees it: routes for others left out, quarantined
 * ones replaced by the version the group had before, or absent.
 *
 * Threads: as the model's. Ownership: a view references its replacements.
 */
#ifndef FUSE_CONTROL_PLANE_VIEW_H
#define FUSE_CONTROL_PLANE_VIEW_H

#include "model.h"

struct fuse_view;

struct fuse_view *fuse_view_new(const struct fuse_model *model, const char *group);
void fuse_view_free(struct fuse_view *view);
const struct fuse_model *fuse_view_model(const struct fuse_view *view);
const char *fuse_view_group(const struct fuse_view *view);

/* From now on the group has `instead` (its version, creation and content; NULL = nothing) in place of
 * every version of the route; replaces an earlier override. The entry is copied, the route referenced.
 * A route that is deleted has no versions: its replacement is not seen either. */
void fuse_view_override(struct fuse_view *view, const char *name, const struct fuse_entry *instead);
/* The newest version again. False if there was no override. */
bool fuse_view_release(struct fuse_view *view, const char *name);
bool fuse_view_is_overridden(const struct fuse_view *view, const char *name);
/* What the override put in place, seen or not; NULL = nothing, or no override. */
const struct fuse_entry *fuse_view_replacement(const struct fuse_view *view, const char *name);

/* What the group has of this route; NULL = nothing. */
const struct fuse_entry *fuse_view_route(const struct fuse_view *view, const char *name);
/* Its routes of one host on a listener (NULL = every listener), in order. Returns how many; fills at
 * most `n_max`. */
unsigned fuse_view_vhost(const struct fuse_view *view, const char *host, const char *listener,
                         const struct fuse_entry **ret_entries, unsigned n_max);
/* The same one by one, until `each` returns false. */
void fuse_view_each_entry(const struct fuse_view *view, const char *host, const char *listener,
                          bool (*each)(const struct fuse_entry *entry, void *data), void *data);
/* Hosts that have a route on this listener, in order of name, until
 * `each` returns false. */
void fuse_view_each_host(const struct fuse_view *view, const char *listener,
                         bool (*each)(const char *host, void *data), void *data);

#endif
