#include "fuse/xds/resources.h"

#include "base/assert.h"
#include "base/hash.h"
#include "fuse/xds/names.h"
#include "fuse/xds/part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL(type) "type.googleapis.com/envoy." type
const char *const fuse_type_urls[FUSE_N_TYPES] = {
    [FUSE_CLUSTER] = URL("config.cluster.v3.Cluster"),
    [FUSE_ENDPOINTS] = URL("config.endpoint.v3.ClusterLoadAssignment"),
    [FUSE_LISTENER] = URL("config.listener.v3.Listener"),
    [FUSE_ROUTES] = URL("config.route.v3.RouteConfiguration"),
    [FUSE_SECRET] = URL("extensions.transport_sockets.tls.v3.Secret"),
};
static const fuse_part_build_fn builders[FUSE_N_TYPES] = {
    [FUSE_CLUSTER] = fuse_cluster_build,   [FUSE_ENDPOINTS] = fuse_endpoints_build,
    [FUSE_LISTENER] = fuse_listener_build, [FUSE_ROUTES] = fuse_routes_build,
    [FUSE_SECRET] = fuse_secret_build,
};

enum { NAMES_MEMORY = 2048, RESOURCE_MEMORY = 8192 };

enum fuse_type fuse_type_of(const char *url)
{
    for (enum fuse_type type = 0; type < FUSE_N_TYPES; type++) {
        if (strcmp(url, fuse_type_urls[type]) == 0) {
            return type;
        }
    }
    return FUSE_N_TYPES;
}

bool fuse_resource_build(const struct fuse_resource_source *source, enum fuse_type type,
                         const char *name, struct chassis_buf *out, uint64_t *ret_revision)
{
    _Alignas(16) uint8_t memory[RESOURCE_MEMORY];
    struct chassis_arena arena;
    chassis_arena_init(&arena, memory, sizeof memory, 0);
    bool exists = builders[type](source, name, &arena, out, ret_revision);
    chassis_arena_fini(&arena);
    return exists;
}

size_t fuse_resource_stem(enum fuse_type type, const char *name)
{
    const char *colon = type == FUSE_LISTENER ? strrchr(name, ':') : NULL;
    size_t len = strlen(name);
    return colon != NULL && colon[1] != '\0' && strspn(colon, ":0123456789") == strlen(colon)
               ? (size_t)(colon - name)
               : len;
}

void fuse_resource_version(uint64_t revision, struct chassis_view bytes,
                           char ret_version[FUSE_VERSION_MAX])
{
    snprintf(ret_version, FUSE_VERSION_MAX, "%" PRIu64 ".%08" PRIx32, revision,
             chassis_crc32c(0, bytes.data, bytes.len));
}

/* ---- wildcards ---- */

/* All routes of a view, whatever their listeners. */
struct walk {
    const struct fuse_view *view;
    void (*each)(const struct fuse_entry *entry, void *data);
    void *data;
};

static bool walk_route(const struct fuse_entry *entry, void *data)
{
    const struct walk *walk = data;
    const struct fuse_entry *seen = fuse_view_route(walk->view, entry->route->name);
    if (seen != NULL) {
        walk->each(seen, walk->data);
    }
    return true;
}

static void each_route(const struct fuse_view *view,
                       void (*each)(const struct fuse_entry *entry, void *data), void *data)
{
    struct walk walk = {view, each, data};
    fuse_model_each_route(fuse_view_model(view), walk_route, &walk);
}

struct cluster_names {
    struct chassis_arena arena;
    const char **items;
    size_t n, cap;
};

static void collect_clusters(const struct fuse_entry *entry, void *data)
{
    struct cluster_names *names = data;
    for (unsigned i = 0; i < entry->route->n_targets; i++) {
        if (!fuse_target_is_used(entry->route, i)) {
            continue;
        }
        if (names->n == names->cap) {
            names->cap = names->cap != 0 ? 2 * names->cap : 64;
            names->items = chassis_base_realloc(names->items, names->cap * sizeof *names->items);
        }
        names->items[names->n++] = fuse_cluster_name(entry->route, i, &names->arena);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void each_cluster(const struct fuse_resource_source *source,
                         void (*each)(const char *name, void *data), void *data)
{
    struct cluster_names names = {0};
    chassis_arena_init(&names.arena, NULL, 0, 0);
    each_route(source->view, collect_clusters, &names);
    if (names.n != 0) {
        qsort(names.items, names.n, sizeof *names.items, by_name);
    }
    for (size_t i = 0; i < names.n; i++) {
        if (i == 0 || strcmp(names.items[i], names.items[i - 1]) != 0) {
            each(names.items[i], data);
        }
    }
    free(names.items);
    chassis_arena_fini(&names.arena);
}

static void each_listener(const struct fuse_resource_source *source,
                          void (*each)(const char *name, void *data), void *data)
{
    for (unsigned i = 0; i < source->statics->n_listeners; i++) {
        const struct fuse_socket_listener *listener = &source->statics->listeners[i];
        if (fuse_listener_in_group(listener, fuse_view_group(source->view))) {
            struct chassis_arena arena;
            chassis_arena_init(&arena, NULL, 0, 0);
            each(chassis_arena_printf(&arena, "listener/%s", listener->name), data);
            chassis_arena_fini(&arena);
        }
    }
}

void fuse_resource_each(const struct fuse_resource_source *source, enum fuse_type type,
                        void (*each)(const char *name, void *data), void *data)
{
    if (type == FUSE_CLUSTER) {
        each_cluster(source, each, data);
    } else if (type == FUSE_LISTENER) {
        each_listener(source, each, data);
    }
}

/* ---- changes ---- */

struct touching {
    const struct fuse_resource_source *source;
    void (*each)(enum fuse_type type, const char *name, void *data);
    void *data;
    struct chassis_arena arena;
};

static void touch(struct touching *t, enum fuse_type type, const char *name)
{
    t->each(type, name, t->data);
}

/* It exists now, or not any more. */
static void touch_proxyless(struct touching *t, const char *name)
{
    touch(t, FUSE_LISTENER, name);
    touch(t, FUSE_ROUTES, name);
}

static void touch_service(struct touching *t, const char *name, bool existence)
{
    const char *http = chassis_arena_printf(&t->arena, "%s/http", name);
    if (existence) {
        touch(t, FUSE_CLUSTER, name);
        touch(t, FUSE_CLUSTER, http);
        touch_proxyless(t, name);
    }
    touch(t, FUSE_ENDPOINTS, name);
    touch(t, FUSE_ENDPOINTS, http);
}

static void touch_route(struct touching *t, const struct fuse_entry *entry)
{
    const char *group = fuse_view_group(t->source->view);
    if (entry == NULL || !fuse_route_in_group(entry->route, group)) {
        return;
    }
    const struct fuse_route *route = entry->route;
    for (unsigned i = 0; i < route->n_targets; i++) {
        /* Services it makes appear or vanish are changes of their own. */
        touch(t, FUSE_CLUSTER, fuse_cluster_name(route, i, &t->arena));
    }
    if (route->host[0] != '*') {
        touch_proxyless(t, route->host);
    }
    for (unsigned i = 0; i < t->source->statics->n_listeners; i++) {
        const struct fuse_socket_listener *listener = &t->source->statics->listeners[i];
        if (fuse_listener_in_group(listener, group) &&
            fuse_route_on_listener(route, listener->name)) {
            touch(t, FUSE_ROUTES, chassis_arena_printf(&t->arena, "listener/%s", listener->name));
        }
    }
}

void fuse_resource_touched(const struct fuse_resource_source *source,
                           const struct fuse_change *change,
                           void (*each)(enum fuse_type type, const char *name, void *data),
                           void *data)
{
    struct touching t = {.source = source, .each = each, .data = data};
    _Alignas(16) uint8_t memory[NAMES_MEMORY];
    chassis_arena_init(&t.arena, memory, sizeof memory, 0);
    if (change->service != NULL) {
        touch_service(&t, change->service->name,
                      change->service_appeared || change->service_vanished);
    }
    touch_route(&t, change->before);
    touch_route(&t, change->after);
    chassis_arena_fini(&t.arena);
}

/* ---- who may be guilty ---- */

struct accusing {
    const char *name;
    bool endpoints;
    void (*each)(const struct fuse_entry *entry, void *data);
    void *data;
};

static void accuse_if_named(const struct fuse_entry *entry, void *data)
{
    const struct accusing *a = data;
    const struct fuse_route *route = entry->route;
    for (unsigned i = 0; i < route->n_targets; i++) {
        _Alignas(16) uint8_t memory[NAMES_MEMORY];
        struct chassis_arena arena;
        chassis_arena_init(&arena, memory, sizeof memory, 0);
        const char *name = a->endpoints
                               ? fuse_endpoints_name(&route->targets[i], route->http2, &arena)
                               : fuse_cluster_name(route, i, &arena);
        bool named = strcmp(name, a->name) == 0;
        chassis_arena_fini(&arena);
        if (named) {
            a->each(entry, a->data);
            return;
        }
    }
}

void fuse_resource_routes(const struct fuse_resource_source *source, enum fuse_type type,
                          const char *name,
                          void (*each)(const struct fuse_entry *entry, void *data), void *data)
{
    struct accusing accusing = {name, type == FUSE_ENDPOINTS, each, data};
    switch (type) {
    case FUSE_ROUTES:
        fuse_routes_each(source, name, each, data);
        break;
    case FUSE_CLUSTER:
    case FUSE_ENDPOINTS:
        each_route(source->view, accuse_if_named, &accusing);
        break;
    case FUSE_LISTENER: /* of the configuration */
    case FUSE_SECRET:
    case FUSE_N_TYPES:
        break;
    }
}
