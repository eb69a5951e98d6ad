/* RouteConfigurations. Each route is made in an arena of its own and appended at once, so that the
 * memory needed is that of the result: ten thousand routes are one resource. */
#include "base/assert.h"
#include "base/bytes.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "fuse/xds/part.h"
#include "fuse/xds/route_message.h"
#include "proto/wire.h"

#include <stdlib.h>

#include <chassis/message.h>

enum {
    FIELD_VIRTUAL_HOSTS = 2, /* of RouteConfiguration */
    FIELD_ROUTES = 3,        /* of VirtualHost */
    ROUTE_MEMORY = 8192,     /* most routes need no more */
};

/* The routes of one host, from the view. */
struct host_entries {
    const struct fuse_entry **items;
    unsigned n;
};

static void host_entries_load(struct host_entries *entries, const struct fuse_view *view,
                              const char *host, const char *listener)
{
    entries->n = fuse_view_vhost(view, host, listener, NULL, 0);
    entries->items = chassis_base_alloc((entries->n + 1) * sizeof *entries->items);
    fuse_view_vhost(view, host, listener, entries->items, entries->n);
}

static void host_entries_fini(struct host_entries *entries)
{
    free(entries->items);
}

/* Its host's routes may be for listeners of their own only; those are not for proxyless clients. */
static bool is_for(const struct fuse_entry *entry, enum fuse_audience audience)
{
    return fuse_match_pieces(entry->route, audience) != 0;
}

/* ---- building ---- */

struct building {
    const struct fuse_resource_source *source;
    const char *listener; /* NULL: for proxyless clients */
    enum fuse_audience audience;
    struct chassis_buf *out;
    struct chassis_buf vhost, piece; /* scratch */
    uint64_t revision;
};

static void append_message(struct chassis_buf *out, uint32_t field, const struct chassis_buf *bytes)
{
    wire_append_tag(out, field, WIRE_BYTES);
    chassis_buf_append_varint(out, bytes->len);
    chassis_buf_append_view(out, chassis_buf_view(bytes));
}

static void append_route(struct building *b, ROUTE(Route) * route)
{
    chassis_buf_clear(&b->piece);
    chassis_encode(route, &b->piece);
    append_message(&b->vhost, FIELD_ROUTES, &b->piece);
}

static void append_entry(struct building *b, const struct fuse_entry *entry)
{
    unsigned n = fuse_match_pieces(entry->route, b->audience);
    for (unsigned piece = 0; piece < n; piece++) {
        _Alignas(16) uint8_t memory[ROUTE_MEMORY];
        struct chassis_arena arena;
        chassis_arena_init(&arena, memory, sizeof memory, 0);
        ROUTE(Route) *route =
            fuse_message_new(&arena, &envoy__config__route__v3__route__descriptor);
        route->name = fuse_message_text(entry->route->name);
        route->match = fuse_match_build(entry->route, b->audience, piece, &arena);
        route->action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE;
        route->route = fuse_action_build(entry->route, b->audience, &arena);
        append_route(b, route);
        chassis_arena_fini(&arena);
    }
    b->revision = entry->version > b->revision ? entry->version : b->revision;
}

/* What is left goes to the service of this name. */
static void append_service(struct building *b, const char *service)
{
    ROUTE(RouteMatch) match = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__INIT;
    match.path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
    match.prefix = fuse_message_text("");
    ROUTE(RouteAction) action = ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__INIT;
    action.cluster_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
    action.cluster = fuse_message_text(service);
    ROUTE(Route) route = ENVOY__CONFIG__ROUTE__V3__ROUTE__INIT;
    route.match = &match;
    route.action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE;
    route.route = &action;
    append_route(b, &route);
}

static void begin_host(struct building *b, const char *host, const char *domain)
{
    char *domains[] = {fuse_message_text(domain)};
    ROUTE(VirtualHost) vhost = ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__INIT;
    vhost.name = fuse_message_text(host);
    vhost.n_domains = 1;
    vhost.domains = domains;
    chassis_buf_clear(&b->vhost);
    chassis_encode(&vhost, &b->vhost);
}

static void append_entries(struct building *b, const char *host)
{
    struct host_entries entries;
    host_entries_load(&entries, b->source->view, host, b->listener);
    for (unsigned i = 0; i < entries.n; i++) {
        append_entry(b, entries.items[i]);
    }
    host_entries_fini(&entries);
}

static bool append_host(const char *host, void *data)
{
    struct building *b = data;
    begin_host(b, host, host);
    append_entries(b, host);
    append_message(b->out, FIELD_VIRTUAL_HOSTS, &b->vhost);
    return true;
}

static void append_proxyless(struct building *b, const char *name)
{
    begin_host(b, name, "*");
    append_entries(b, name);
    if (fuse_model_service(fuse_view_model(b->source->view), name) != NULL) {
        append_service(b, name);
    }
    append_message(b->out, FIELD_VIRTUAL_HOSTS, &b->vhost);
}

/* A message's encoding may be cut between its fields: what is appended to it is part of it. */
bool fuse_routes_build(const struct fuse_resource_source *source, const char *name,
                       struct chassis_arena *arena, struct chassis_buf *out, uint64_t *ret_revision)
{
    const struct fuse_socket_listener *listener = fuse_listener_find(source, name);
    if (listener == NULL && !fuse_routes_exist(source, name)) {
        return false;
    }
    struct building b = {.source = source, .out = out, .audience = FUSE_FOR_PROXYLESS};
    ROUTE(RouteConfiguration) head = ENVOY__CONFIG__ROUTE__V3__ROUTE_CONFIGURATION__INIT;
    ROUTE(RouteConfiguration) tail = ENVOY__CONFIG__ROUTE__V3__ROUTE_CONFIGURATION__INIT;
    head.name = fuse_message_text(name);
    chassis_encode(&head, out);
    if (listener != NULL) {
        b.listener = listener->name;
        b.audience = FUSE_FOR_ENVOY;
        fuse_view_each_host(source->view, listener->name, append_host, &b);
        tail.ignore_port_in_host_matching = true;
        chassis_encode(&tail, out);
    } else {
        append_proxyless(&b, name);
    }
    chassis_buf_fini(&b.vhost);
    chassis_buf_fini(&b.piece);
    *ret_revision = b.revision;
    return true;
}

/* ---- looking ---- */

bool fuse_routes_exist(const struct fuse_resource_source *source, const char *name)
{
    if (name[0] == '\0' || name[0] == '*') {
        return false;
    }
    bool found = fuse_model_service(fuse_view_model(source->view), name) != NULL;
    struct host_entries entries;
    host_entries_load(&entries, source->view, name, NULL);
    for (unsigned i = 0; i < entries.n && !found; i++) {
        found = is_for(entries.items[i], FUSE_FOR_PROXYLESS);
    }
    host_entries_fini(&entries);
    return found;
}

struct looking {
    const struct fuse_view *view;
    const char *listener;
    enum fuse_audience audience;
    void (*each)(const struct fuse_entry *entry, void *data);
    void *data;
};

static bool look_at_host(const char *host, void *data)
{
    const struct looking *look = data;
    struct host_entries entries;
    host_entries_load(&entries, look->view, host, look->listener);
    for (unsigned i = 0; i < entries.n; i++) {
        if (is_for(entries.items[i], look->audience)) {
            look->each(entries.items[i], look->data);
        }
    }
    host_entries_fini(&entries);
    return true;
}

void fuse_routes_each(const struct fuse_resource_source *source, const char *name,
                      void (*each)(const struct fuse_entry *entry, void *data), void *data)
{
    const struct fuse_socket_listener *listener = fuse_listener_find(source, name);
    struct looking look = {source->view, NULL, FUSE_FOR_PROXYLESS, each, data};
    if (listener != NULL) {
        look.listener = listener->name;
        look.audience = FUSE_FOR_ENVOY;
        fuse_view_each_host(source->view, listener->name, look_at_host, &look);
    } else {
        look_at_host(name, &look);
    }
}
