#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "fuse/control_plane/hosts.h"
#include "fuse/control_plane/model.h"
#include "fuse/control_plane/services.h"

enum { LISTENERS_MAX = 8 };

struct route {
    struct fuse_entry entry;
    struct fuse_tree_node node; /* by name */
    uint64_t list;              /* the latest list it was in */
    char actor[];
};

struct fuse_model {
    struct fuse_tree routes;
    struct fuse_hosts hosts;
    struct fuse_services services;
    uint64_t revision;
    uint64_t routes_list, instances_list; /* count lists */
    bool routes_listing, instances_listing;
    bool telling; /* listeners must not change what they are told about */
    struct fuse_model_listener listeners[LISTENERS_MAX];
    unsigned n_listeners;
};

struct fuse_model *fuse_model_new(void)
{
    return chassis_base_zalloc(sizeof(struct fuse_model));
}

static void route_free(struct route *r)
{
    if (r != NULL) {
        fuse_route_unref(r->entry.route);
        free(r);
    }
}

void fuse_model_free(struct fuse_model *model)
{
    if (model == NULL) {
        return;
    }
    fuse_hosts_fini(&model->hosts);
    for (struct fuse_tree_node *node; (node = fuse_tree_pop(&model->routes)) != NULL;) {
        route_free(fuse_tree_entry(node, struct route, node));
    }
    fuse_services_fini(&model->services);
    free(model);
}

void fuse_model_listen(struct fuse_model *model, const struct fuse_model_listener *listener)
{
    CHASSIS_ASSERT(model->n_listeners < LISTENERS_MAX);
    model->listeners[model->n_listeners++] = *listener;
}

static void tell(struct fuse_model *model, const struct fuse_change *change)
{
    model->telling = true;
    for (unsigned i = 0; i < model->n_listeners; i++) {
        model->listeners[i].changed(model->listeners[i].data, change);
    }
    model->telling = false;
}

static void tell_service(struct fuse_model *model, struct fuse_service_node *s)
{
    struct fuse_change change = {
        .service = &s->service, .service_appeared = s->fresh, .service_vanished = !s->listed};
    s->fresh = false;
    tell(model, &change);
}

/* Before every change. */
static void enter(struct fuse_model *model, uint64_t revision)
{
    CHASSIS_ASSERT(!model->telling);
    if (revision > model->revision) {
        model->revision = revision;
    }
}

static struct route *route_find(const struct fuse_model *model, const char *name)
{
    struct fuse_tree_node *node = fuse_tree_find(&model->routes, name);
    return node != NULL ? fuse_tree_entry(node, struct route, node) : NULL;
}

static struct route *route_new(const struct fuse_route *route, const char *actor)
{
    size_t len = strlen(actor) + 1;
    struct route *r = chassis_base_zalloc(sizeof *r + len);
    memcpy(r->actor, actor, len);
    r->entry.route = fuse_route_ref(route);
    r->entry.actor = r->actor;
    r->node.key = route->name;
    return r;
}

/* The services a route names come to be, are told of, or go; a route names at most FUSE_LIST_MAX. */
static void targets_hold(struct fuse_model *model, const struct fuse_route *route)
{
    for (unsigned i = 0; i < route->n_targets; i++) {
        if (route->targets[i].service[0] != '\0') {
            fuse_services_get(&model->services, route->targets[i].service)->service.n_targets++;
        }
    }
}

static void targets_tell(struct fuse_model *model, const struct fuse_route *route)
{
    for (unsigned i = 0; i < route->n_targets; i++) {
        struct fuse_service_node *s =
            fuse_services_find(&model->services, route->targets[i].service);
        if (s != NULL && s->fresh) {
            tell_service(model, s);
        }
    }
}

static unsigned targets_release(struct fuse_model *model, const struct fuse_route *route,
                                struct fuse_service_node *gone[FUSE_LIST_MAX])
{
    unsigned n = 0;
    for (unsigned i = 0; i < route->n_targets; i++) {
        if (route->targets[i].service[0] == '\0') {
            continue;
        }
        struct fuse_service_node *s =
            fuse_services_find(&model->services, route->targets[i].service);
        s->service.n_targets--;
        if (fuse_services_drop(&model->services, s)) {
            CHASSIS_ASSERT(n < FUSE_LIST_MAX);
            gone[n++] = s;
        }
    }
    return n;
}

/* `after` is new, or NULL; `before` is in the model, or NULL. */
static void route_change(struct fuse_model *model, struct route *before, struct route *after)
{
    struct fuse_service_node *gone[FUSE_LIST_MAX];
    unsigned n_gone = 0;
    if (before != NULL) {
        fuse_hosts_remove(&model->hosts, &before->entry);
        fuse_tree_remove(&model->routes, &before->node);
    }
    if (after != NULL) {
        fuse_tree_put(&model->routes, &after->node);
        fuse_hosts_add(&model->hosts, &after->entry);
        targets_hold(model, after->entry.route);
    }
    if (before != NULL) {
        n_gone = targets_release(model, before->entry.route, gone);
    }
    if (after != NULL) {
        targets_tell(model, after->entry.route);
    }
    tell(model, &(struct fuse_change){.before = before != NULL ? &before->entry : NULL,
                                      .after = after != NULL ? &after->entry : NULL});
    for (unsigned i = 0; i < n_gone; i++) {
        tell_service(model, gone[i]);
        fuse_service_node_free(gone[i]);
    }
    route_free(before);
}

void fuse_model_put_route(struct fuse_model *model, const struct fuse_route *route,
                          uint64_t version, uint64_t created_version, int64_t time_ns,
                          const char *actor)
{
    enter(model, version);
    struct route *old = route_find(model, route->name);
    if (old != NULL) {
        if (version < old->entry.version && !model->routes_listing) {
            return;
        }
        if (version == old->entry.version &&
            chassis_view_eq(route->encoded, old->entry.route->encoded)) {
            old->list = model->routes_list;
            return;
        }
    }
    struct route *r = route_new(route, actor);
    r->entry.version = version;
    r->entry.created_version = created_version;
    r->entry.time_ns = time_ns;
    r->list = model->routes_list;
    route_change(model, old, r);
}

void fuse_model_delete_route(struct fuse_model *model, const char *name, uint64_t version)
{
    enter(model, version);
    struct route *old = route_find(model, name);
    if (old != NULL && (version >= old->entry.version || model->routes_listing)) {
        route_change(model, old, NULL);
    }
}

void fuse_model_routes_begin(struct fuse_model *model)
{
    enter(model, 0);
    model->routes_list++;
    model->routes_listing = true;
}

void fuse_model_routes_end(struct fuse_model *model, uint64_t revision)
{
    enter(model, revision);
    CHASSIS_ASSERT(model->routes_listing);
    model->routes_listing = false;
    struct route **old = chassis_base_alloc((model->routes.n + 1) * sizeof(struct route *));
    unsigned n = 0;
    struct fuse_tree_walk walk;
    fuse_tree_walk_begin(&walk, &model->routes);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct route *r = fuse_tree_entry(node, struct route, node);
        if (r->list != model->routes_list) {
            old[n++] = r;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        route_change(model, old[i], NULL);
    }
    free(old);
}

/* Tells what a service has become, and forgets it if nothing is left of it. */
static void service_settle(struct fuse_model *model, struct fuse_service_node *s)
{
    bool gone = fuse_services_drop(&model->services, s);
    tell_service(model, s);
    if (gone) {
        fuse_service_node_free(s);
    }
}

void fuse_model_put_instance(struct fuse_model *model, const struct fuse_instance *instance,
                             uint64_t revision)
{
    enter(model, revision);
    struct fuse_instance_node *old = fuse_services_instance(&model->services, instance->pid);
    if (old != NULL && fuse_instance_node_equal(old, instance, revision)) {
        old->list = model->instances_list;
        return;
    }
    struct fuse_service_node *from = old != NULL ? old->service : NULL;
    struct fuse_service_node *to = fuse_services_get(&model->services, instance->service);
    struct fuse_instance_node *i = fuse_instance_node_new(instance, revision);
    i->list = model->instances_list;
    if (old != NULL) {
        fuse_services_leave(&model->services, old);
    }
    fuse_services_enter(&model->services, to, i);
    if (from != NULL && from != to) {
        service_settle(model, from);
    }
    service_settle(model, to);
}

static void instance_delete(struct fuse_model *model, struct fuse_instance_node *old)
{
    struct fuse_service_node *s = old->service;
    fuse_services_leave(&model->services, old);
    service_settle(model, s);
}

void fuse_model_delete_instance(struct fuse_model *model, const char *pid, uint64_t revision)
{
    enter(model, revision);
    struct fuse_instance_node *old = fuse_services_instance(&model->services, pid);
    if (old != NULL) {
        instance_delete(model, old);
    }
}

void fuse_model_instances_begin(struct fuse_model *model)
{
    enter(model, 0);
    model->instances_list++;
    model->instances_listing = true;
}

void fuse_model_instances_end(struct fuse_model *model, uint64_t revision)
{
    enter(model, revision);
    CHASSIS_ASSERT(model->instances_listing);
    model->instances_listing = false;
    struct fuse_instance_node **old =
        chassis_base_alloc((model->services.instances.n + 1) * sizeof(struct fuse_instance_node *));
    unsigned n = 0;
    struct fuse_tree_walk walk;
    fuse_tree_walk_begin(&walk, &model->services.instances);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct fuse_instance_node *i = fuse_tree_entry(node, struct fuse_instance_node, node);
        if (i->list != model->instances_list) {
            old[n++] = i;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        instance_delete(model, old[i]);
    }
    free(old);
}

const struct fuse_entry *fuse_model_route(const struct fuse_model *model, const char *name)
{
    const struct route *r = route_find(model, name);
    return r != NULL ? &r->entry : NULL;
}

const struct fuse_service *fuse_model_service(const struct fuse_model *model, const char *name)
{
    const struct fuse_service_node *s = fuse_services_find(&model->services, name);
    return s != NULL ? &s->service : NULL;
}

const struct fuse_instance *fuse_model_instance(const struct fuse_model *model, const char *pid)
{
    const struct fuse_instance_node *i = fuse_services_instance(&model->services, pid);
    return i != NULL ? &i->instance : NULL;
}

const struct fuse_vhost *fuse_model_vhost(const struct fuse_model *model, const char *host)
{
    return fuse_hosts_find(&model->hosts, host);
}

void fuse_model_each_route(const struct fuse_model *model,
                           bool (*each)(const struct fuse_entry *entry, void *data), void *data)
{
    fuse_model_each_route_after(model, "", each, data);
}

void fuse_model_each_route_after(const struct fuse_model *model, const char *name,
                                 bool (*each)(const struct fuse_entry *entry, void *data),
                                 void *data)
{
    struct fuse_tree_walk walk;
    fuse_tree_walk_after(&walk, &model->routes, name);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        if (!each(&fuse_tree_entry(node, struct route, node)->entry, data)) {
            return;
        }
    }
}

void fuse_model_each_vhost(const struct fuse_model *model,
                           bool (*each)(const struct fuse_vhost *vhost, void *data), void *data)
{
    struct fuse_tree_walk walk;
    fuse_hosts_walk_begin(&walk, &model->hosts);
    for (const struct fuse_vhost *vhost; (vhost = fuse_hosts_walk_next(&walk)) != NULL;) {
        if (!each(vhost, data)) {
            return;
        }
    }
}

void fuse_model_each_service(const struct fuse_model *model,
                             bool (*each)(const struct fuse_service *service, void *data),
                             void *data)
{
    struct fuse_tree_walk walk;
    fuse_tree_walk_begin(&walk, &model->services.tree);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        if (!each(&fuse_tree_entry(node, struct fuse_service_node, node)->service, data)) {
            return;
        }
    }
}

unsigned fuse_model_n_routes(const struct fuse_model *model)
{
    return model->routes.n;
}

uint64_t fuse_model_revision(const struct fuse_model *model)
{
    return model->revision;
}
