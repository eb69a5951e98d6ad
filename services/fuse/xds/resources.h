/* Views of the model as xDS resources. Pure; the only place that knows Envoy's messages of
 * configuration.
 *
 * Invariants: equal views give equal bytes; the names are those of README.md's table; a resource is
 * made of few routes and services and made without looking at the others, but for the
 * RouteConfiguration of a socket listener.
 * Threads: as the view's. Ownership: results are appended to the caller's buffers.
 */
#ifndef FUSE_XDS_RESOURCES_H
#define FUSE_XDS_RESOURCES_H

#include <chassis/buf.h>

#include "fuse/control_plane/view.h"

enum fuse_type { /* in the order in which they are sent: make before break */
                 FUSE_CLUSTER,
                 FUSE_ENDPOINTS,
                 FUSE_LISTENER,
                 FUSE_ROUTES,
                 FUSE_SECRET,
                 FUSE_N_TYPES,
};
/* "type.googleapis.com/envoy.config.cluster.v3.Cluster" */
extern const char *const fuse_type_urls[FUSE_N_TYPES];
/* FUSE_N_TYPES when it is none of ours. */
enum fuse_type fuse_type_of(const char *url);

struct fuse_socket_listener {
    const char *name; /* "default" */
    const char *address;
    uint16_t port;
    const char *secret; /* TLS with this secret; NULL = plaintext */
    const char *const *groups;
    unsigned n_groups; /* 0 = all */
};
struct fuse_secret_files { /* contents, as PEM */
    const char *name;
    struct chassis_view certificate, key, ca; /* ca empty = none: clients show no certificate */
    uint64_t revision;                        /* 0: equal files, equal versions */
};
/* What comes from the configuration, not from the model. */
struct fuse_statics {
    const struct fuse_socket_listener *listeners;
    unsigned n_listeners;
    const struct fuse_secret_files *secrets;
    unsigned n_secrets;
};

struct fuse_resource_source {
    const struct fuse_view *view;
    const struct fuse_statics *statics;
};

/* Appends the encoded resource (the content of its Any) and gives the newest revision of what it
 * was made of. False: there is no such resource. */
bool fuse_resource_build(const struct fuse_resource_source *source, enum fuse_type type,
                         const char *name, struct chassis_buf *out, uint64_t *ret_revision);
/* What a wildcard subscription gets: socket listeners of the group; the clusters that its routes
 * name, by name, each once. Other types have no wildcard. */
void fuse_resource_each(const struct fuse_resource_source *source, enum fuse_type type,
                        void (*each)(const char *name, void *data), void *data);
/* The names a change may have touched, of every type, each at least once; to be called after the
 * model (or the view) changed. */
void fuse_resource_touched(const struct fuse_resource_source *source,
                           const struct fuse_change *change,
                           void (*each)(enum fuse_type type, const char *name, void *data),
                           void *data);
/* How much of a name fuse_resource_touched says: all of it, but for a listener asked for with a
 * port ("echo:443"), which is touched as "echo". */
size_t fuse_resource_stem(enum fuse_type type, const char *name);
/* The routes a resource is made of: who may be guilty when it is refused. */
void fuse_resource_routes(const struct fuse_resource_source *source, enum fuse_type type,
                          const char *name,
                          void (*each)(const struct fuse_entry *entry, void *data), void *data);
/* "<revision>.<crc32c>" */
enum { FUSE_VERSION_MAX = 32 };
void fuse_resource_version(uint64_t revision, struct chassis_view bytes,
                           char ret_version[FUSE_VERSION_MAX]);

#endif
