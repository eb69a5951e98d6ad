#include "world.h"

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"
#include "proto/message.h"

#include <chassis/message.h>

static const ProtobufCMessageDescriptor *const descriptors[FUSE_N_TYPES] = {
    [FUSE_CLUSTER] = &envoy__config__cluster__v3__cluster__descriptor,
    [FUSE_ENDPOINTS] = &envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
    [FUSE_LISTENER] = &envoy__config__listener__v3__listener__descriptor,
    [FUSE_ROUTES] = &envoy__config__route__v3__route_configuration__descriptor,
    [FUSE_SECRET] = &envoy__extensions__transport_sockets__tls__v3__secret__descriptor,
};
static const ProtobufCMessageDescriptor *const inside_any[] = {
    &envoy__extensions__filters__http__router__v3__router__descriptor,
    &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
    &envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor,
    &envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor,
};

static const char *const core[] = {"core"};
static const struct fuse_socket_listener listeners[] = {
    {.name = "default", .address = "0.0.0.0", .port = 10000},
    {.name = "tls", .address = "::", .port = 10443, .secret = "front"},
    {.name = "elsewhere", .address = "0.0.0.0", .port = 10001, .groups = core, .n_groups = 1},
};
static struct fuse_secret_files secrets[2];

int world_set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    secrets[0] = (struct fuse_secret_files){
        .name = "front",
        .certificate = chassis_view_str("CERTIFICATE"),
        .key = chassis_view_str("KEY"),
        .ca = chassis_view_str("CA"),
        .revision = 7,
    };
    secrets[1] = secrets[0];
    secrets[1].name = "plain";
    secrets[1].ca = chassis_view(NULL, 0);
    w->model = fuse_model_new();
    w->view = fuse_view_new(w->model, "edge");
    w->statics = (struct fuse_statics){listeners, N(listeners), secrets, N(secrets)};
    w->source = (struct fuse_resource_source){w->view, &w->statics};
    chassis_arena_init(&w->arena, NULL, 0, 0);
    *state = w;
    return 0;
}

int world_tear_down(void **state)
{
    struct world *w = *state;
    fuse_view_free(w->view);
    fuse_model_free(w->model);
    chassis_arena_fini(&w->arena);
    free(w);
    return 0;
}

void world_route(struct world *w, uint64_t version, const struct fuse_route *from)
{
    static const struct fuse_target echo = {.service = "echo", .host = "", .weight = 1};
    struct fuse_route full = *from;
    if (full.n_targets == 0) {
        full.targets = &echo;
        full.n_targets = 1;
        full.http2 = true;
    }
    if (full.path == NULL) {
        full.path_kind = FUSE_PATH_PREFIX;
        full.path = "/";
    }
    full.host = full.host != NULL ? full.host : "*";
    struct fuse_route *route = fuse_route_new(&full);
    fuse_model_put_route(w->model, route, version, version, 0, "somebody");
    fuse_route_unref(route);
}

void world_instance_with(struct world *w, uint64_t revision, const struct fuse_instance *instance)
{
    fuse_model_put_instance(w->model, instance, revision);
}

void world_instance(struct world *w, uint64_t revision, const char *service, const char *pid,
                    const char *rpc_address, const char *http_address)
{
    world_instance_with(w, revision,
                        &(struct fuse_instance){.pid = pid,
                                                .service = service,
                                                .rpc_address = rpc_address,
                                                .http_address = http_address,
                                                .locality = "",
                                                .state = FUSE_INSTANCE_USABLE});
}

bool world_exists(struct world *w, enum fuse_type type, const char *name)
{
    struct chassis_buf out = {0};
    uint64_t revision;
    bool exists = fuse_resource_build(&w->source, type, name, &out, &revision);
    assert_true(exists || out.len == 0);
    chassis_buf_fini(&out);
    return exists;
}

struct chassis_view world_bytes(struct world *w, enum fuse_type type, const char *name)
{
    struct chassis_buf out = {0};
    if (!fuse_resource_build(&w->source, type, name, &out, &w->revision)) {
        fail_msg("there is no %s '%s'", fuse_type_urls[type], name);
    }
    struct chassis_view bytes = chassis_arena_copy(&w->arena, chassis_buf_view(&out));
    chassis_buf_fini(&out);
    return bytes;
}

static const char *json_of(struct world *w, const ProtobufCMessageDescriptor *type,
                           struct chassis_view bytes)
{
    struct chassis_type_registry *types = chassis_type_registry_new();
    for (unsigned i = 0; i < N(inside_any); i++) {
        chassis_type_registry_add(types, inside_any[i]);
    }
    struct chassis_buf out = {0};
    struct chassis_error err = {0};
    if (chassis_json_print_bytes(type, bytes, types, &out, &err) != 0) {
        fail_msg("%s", err.text);
    }
    const char *json = chassis_arena_strndup(&w->arena, out.data, out.len);
    chassis_buf_fini(&out);
    chassis_type_registry_free(types);
    return json;
}

const char *world_json(struct world *w, enum fuse_type type, const char *name)
{
    return json_of(w, descriptors[type], world_bytes(w, type, name));
}

const char *world_cluster_json(struct world *w, struct chassis_view bytes)
{
    return json_of(w, descriptors[FUSE_CLUSTER], bytes);
}

Envoy__Config__Route__V3__Route *world_route_of(struct world *w, const char *configuration,
                                                size_t h, size_t i)
{
    void *message;
    struct chassis_error err = {0};
    if (chassis_decode(descriptors[FUSE_ROUTES], world_bytes(w, FUSE_ROUTES, configuration),
                       &w->arena, &message, &err) != 0) {
        fail_msg("%s", err.text);
    }
    Envoy__Config__Route__V3__RouteConfiguration *decoded = message;
    assert_true(h < decoded->n_virtual_hosts);
    assert_true(i < decoded->virtual_hosts[h]->n_routes);
    return decoded->virtual_hosts[h]->routes[i];
}

static const char *message_json(struct world *w, const ProtobufCMessage *message)
{
    struct chassis_buf bytes = {0};
    chassis_encode(message, &bytes);
    const char *json = json_of(w, message->descriptor, chassis_buf_view(&bytes));
    chassis_buf_fini(&bytes);
    return json;
}

const char *world_match(struct world *w, const char *configuration, size_t h, size_t i)
{
    return message_json(w, &world_route_of(w, configuration, h, i)->match->base);
}

const char *world_action(struct world *w, const char *configuration, size_t h, size_t i)
{
    return message_json(w, &world_route_of(w, configuration, h, i)->route->base);
}

void world_assert_json(struct world *w, const char *json, const char *expected)
{
    char *quoted = chassis_arena_strdup(&w->arena, expected);
    for (char *c = quoted; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    assert_string_equal(json, quoted);
}
