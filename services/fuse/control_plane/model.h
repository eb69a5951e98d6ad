/* All routes, services and instances Fuse knows: what Blueprint's watches brought, indexed.
 *
 * Pure: no thread, clock, protobuf or I/O. It is a cache of Blueprint: nothing here decides what is
 * stored, everything here can be filled again.
 *
 * Invariants: equal sets of records give equal models, whatever the order they came in; routes of a
 * host are always in order.h's order; a service exists while it has an instance or a target names it.
 * Threads: one role at a time (the loop).
 * Ownership: routes are referenced; what is returned lives until the next change of the model.
 */
#ifndef FUSE_CONTROL_PLANE_MODEL_H
#define FUSE_CONTROL_PLANE_MODEL_H

#include <chassis/error.h>

#include "route.h"

struct fuse_model;

/* A route as stored: the newest version and where it came from. */
struct fuse_entry {
    const struct fuse_route *route;
    uint64_t version;         /* Blueprint's revision */
    uint64_t created_version; /* of its first version since it was last deleted */
    int64_t time_ns;          /* Unix */
    const char *actor;
};

struct fuse_vhost {
    const char *host;
    uint64_t revision; /* newest version among its entries: what is gone leaves no trace, as after a
                        * restart; so it can go back when a route is deleted */
    struct fuse_entry *const *entries; /* in order of precedence */
    unsigned n_entries;
};

enum fuse_instance_state { /* why it gets no requests; texts by fuse_instance_reason */
                           FUSE_INSTANCE_USABLE,
                           FUSE_INSTANCE_STARTING,
                           FUSE_INSTANCE_UNHEALTHY,
                           FUSE_INSTANCE_DISCONNECTED,
};
struct fuse_instance {
    const char *pid;
    const char *service;
    const char *rpc_address;  /* host:port; "" = none */
    const char *http_address; /* "" = none */
    const char *locality;     /* "" = none */
    const char *group;        /* the domain it belongs to; "" = none, NULL in a put, too */
    enum fuse_instance_state state;
};
struct fuse_service {
    const char *name;
    uint64_t revision;                            /* newest of its present instances' */
    const struct fuse_instance *const *instances; /* by pid */
    unsigned n_instances, n_usable;
    unsigned n_targets; /* of routes, that name it */
};

/* What a change touched; lives during the call. Either a route or a service: services that a route
 * makes appear are told before it, those it makes vanish after it. */
struct fuse_change {
    const struct fuse_entry *before, *after; /* route: NULL = did not, does not exist */
    const struct fuse_service *service;
    bool service_appeared, service_vanished; /* vanished: only its name is left */
};
struct fuse_model_listener {
    void (*changed)(void *data, const struct fuse_change *change);
    void *data;
};

struct fuse_model *fuse_model_new(void);
void fuse_model_free(struct fuse_model *model);
/* At most 8, never removed. Told after the model changed; must not change it. */
void fuse_model_listen(struct fuse_model *model, const struct fuse_model_listener *listener);

/* Takes a reference. An older version than the one known is ignored, but for those of a list: a list
 * is the truth, even when revisions went back because Blueprint was restored from a backup. */
void fuse_model_put_route(struct fuse_model *model, const struct fuse_route *route,
                          uint64_t version, uint64_t created_version, int64_t time_ns,
                          const char *actor);
void fuse_model_delete_route(struct fuse_model *model, const char *name, uint64_t version);
/* Copied. An instance of another service under the same pid moves. Nobody is told of one that is the
 * same, its revision (0 = unknown) included. */
void fuse_model_put_instance(struct fuse_model *model, const struct fuse_instance *instance,
                             uint64_t revision);
void fuse_model_delete_instance(struct fuse_model *model, const char *pid, uint64_t revision);
/* A watch begins anew: what is not put again until the matching _end is deleted there. */
void fuse_model_routes_begin(struct fuse_model *model);
void fuse_model_routes_end(struct fuse_model *model, uint64_t revision);
void fuse_model_instances_begin(struct fuse_model *model);
void fuse_model_instances_end(struct fuse_model *model, uint64_t revision);

/* NULL if there is none. */
const struct fuse_entry *fuse_model_route(const struct fuse_model *model, const char *name);
const struct fuse_service *fuse_model_service(const struct fuse_model *model, const char *name);
const struct fuse_instance *fuse_model_instance(const struct fuse_model *model, const char *pid);
const struct fuse_vhost *fuse_model_vhost(const struct fuse_model *model, const char *host);
/* In order of name (routes, services) or host, until `each` returns false. */
void fuse_model_each_route(const struct fuse_model *model,
                           bool (*each)(const struct fuse_entry *entry, void *data), void *data);
/* Only routes whose names come after this one, which need not be there. */
void fuse_model_each_route_after(const struct fuse_model *model, const char *name,
                                 bool (*each)(const struct fuse_entry *entry, void *data),
                                 void *data);
void fuse_model_each_vhost(const struct fuse_model *model,
                           bool (*each)(const struct fuse_vhost *vhost, void *data), void *data);
void fuse_model_each_service(const struct fuse_model *model,
                             bool (*each)(const struct fuse_service *service, void *data),
                             void *data);
unsigned fuse_model_n_routes(const struct fuse_model *model);
/* Newest revision it has heard of, deletions included: what it is up to, not for resources' versions. */
uint64_t fuse_model_revision(const struct fuse_model *model);

/* "unhealthy", …; NULL when usable. */
const char *fuse_instance_reason(enum fuse_instance_state state);
/* Where a route's target is reached at this instance: its RPC or its HTTP address; "" = nowhere. */
const char *fuse_instance_address(const struct fuse_instance *instance, bool http2);

#endif
