/* Services and their instances: the model's other half.
 *
 * Invariants: an instance stands in exactly one service; a service is listed while it has an instance
 * or a target, but for the moment in which a change makes or leaves it empty.
 * Threads: one owner. Ownership: nodes are the table's until they are dropped; zeroed = empty.
 */
#ifndef FUSE_CONTROL_PLANE_SERVICES_H
#define FUSE_CONTROL_PLANE_SERVICES_H

#include "model.h"
#include "tree.h"

struct fuse_service_node {
    struct fuse_service service;
    const struct fuse_instance **instances; /* by pid, each within its node */
    unsigned cap;
    bool fresh;  /* nobody was told of it */
    bool listed; /* in the table */
    struct fuse_tree_node node;
    char name[];
};
struct fuse_instance_node {
    struct fuse_instance instance;
    struct fuse_service_node *service;
    uint64_t revision;
    uint64_t list; /* the latest list it was in */
    struct fuse_tree_node node;
    char texts[];
};
struct fuse_services {
    struct fuse_tree tree;      /* of services by name */
    struct fuse_tree instances; /* by pid */
};

void fuse_services_fini(struct fuse_services *services);
/* NULL = none. */
struct fuse_service_node *fuse_services_find(const struct fuse_services *services,
                                             const char *name);
/* The same; made if there is none. */
struct fuse_service_node *fuse_services_get(struct fuse_services *services, const char *name);
/* If nothing is left of it, it is taken out and becomes the caller's: true. */
bool fuse_services_drop(struct fuse_services *services, struct fuse_service_node *service);
void fuse_service_node_free(struct fuse_service_node *service);

/* NULL = none. */
struct fuse_instance_node *fuse_services_instance(const struct fuse_services *services,
                                                  const char *pid);
struct fuse_instance_node *fuse_instance_node_new(const struct fuse_instance *instance,
                                                  uint64_t revision);
bool fuse_instance_node_equal(const struct fuse_instance_node *node,
                              const struct fuse_instance *instance, uint64_t revision);
/* Takes the node; no other has its pid. */
void fuse_services_enter(struct fuse_services *services, struct fuse_service_node *service,
                         struct fuse_instance_node *instance);
/* Frees the node. */
void fuse_services_leave(struct fuse_services *services, struct fuse_instance_node *instance);

#endif
