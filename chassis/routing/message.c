/* From struct chassis_route to the message Fuse takes. */
#include <stdio.h>

#include <google/protobuf/duration.pb-c.h>

#include "proto/message.h"
#include "routing/internal.h"

typedef Core__ControlPlane__Networking__V1__RouteMatch match_message;

static char *copy(struct chassis_routing *r, const char *text)
{
    return chassis_arena_strdup(&r->arena, text != NULL ? text : "");
}

bool routing_host_port(const char *url, struct chassis_buf *out)
{
    const char *scheme = strstr(url, "://");
    const char *host = scheme != NULL ? scheme + 3 : url;
    size_t len = strcspn(host, "/");
    if (len == 0 || len >= ROUTING_ADDRESS_SIZE || memchr(host, ':', len) == NULL) {
        return false;
    }
    if (out->len != 0) {
        chassis_buf_append_byte(out, ',');
    }
    chassis_buf_append(out, host, len);
    return true;
}

static void add_methods(struct chassis_routing *r, const char *const *methods, match_message *m)
{
    while (methods != NULL && methods[m->n_methods] != NULL) {
        m->n_methods++;
    }
    m->methods = chassis_arena_alloc(&r->arena, (m->n_methods + 1) * sizeof *m->methods);
    for (size_t i = 0; i < m->n_methods; i++) {
        m->methods[i] = copy(r, methods[i]);
    }
}

static match_message *match_of(struct chassis_routing *r, const struct chassis_route *route)
{
    match_message *m = chassis_arena_alloc(&r->arena, sizeof *m);
    core__control_plane__networking__v1__route_match__init(m);
    m->host = copy(r, route->host);
    m->prefix = copy(r, route->prefix);
    m->path = copy(r, route->path);
    m->regex = copy(r, route->regex);
    add_methods(r, route->methods, m);
    if (route->grpc_service != NULL) {
        m->_grpc_match_options_case =
            CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE_MATCH___GRPC_MATCH_OPTIONS_GRPC_MATCH_OPTIONS;
        m->grpc_match_options = chassis_arena_alloc(&r->arena, sizeof *m->grpc_match_options);
        core__control_plane__networking__v1__grpc_match_options__init(m->grpc_match_options);
        m->grpc_match_options->service = copy(r, route->grpc_service);
    }
    return m;
}

static void behave(struct chassis_routing *r, const struct chassis_route *route,
                   routing_message *message)
{
    message->prefix_rewrite = copy(r, route->prefix_rewrite);
    message->priority = route->priority;
    message->enable_http2 = route->http2 || route->grpc_service != NULL;
    if (route->timeout_ms != 0) {
        message->timeout = chassis_arena_alloc(&r->arena, sizeof *message->timeout);
        google__protobuf__duration__init(message->timeout);
        message->timeout->seconds = route->timeout_ms / 1000;
        message->timeout->nanos = (int32_t)(route->timeout_ms % 1000) * 1000000;
    }
    if (route->retries != 0) {
        static const Draft__Routing__V1__RetryOn on[] = {
            DRAFT__ROUTING__V1__RETRY_ON__CONNECT_FAILURE, DRAFT__ROUTING__V1__RETRY_ON__RESET};
        message->retry = chassis_arena_alloc(&r->arena, sizeof *message->retry);
        draft__routing__v1__retry_policy__init(message->retry);
        message->retry->on = chassis_arena_alloc(&r->arena, sizeof on);
        memcpy(message->retry->on, on, sizeof on);
        message->retry->n_on = sizeof on / sizeof on[0];
        message->retry->retries = route->retries;
    }
}

static int endpoint_of(struct chassis_routing *r, const char *address, routing_message *message,
                       struct chassis_error *err)
{
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : 0;
    if (colon == NULL || colon == address || *end != '\0' || port < 1 || port > 65535) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "route '%s': the address '%s' is not host:port", message->name,
                                 address);
    }
    bool v6 = address[0] == '[' && colon[-1] == ']';
    message->endpoint = chassis_arena_alloc(&r->arena, sizeof *message->endpoint);
    core__control_plane__networking__v1__endpoint__init(message->endpoint);
    message->endpoint->host =
        chassis_arena_strndup(&r->arena, address + v6, (size_t)(colon - address) - 2 * v6);
    message->endpoint->port = (uint32_t)port;
    return 0;
}

static int aim(struct chassis_routing *r, const struct chassis_route *route,
               routing_message *message, struct chassis_error *err)
{
    if (message->n_targets != 0 ||
        (message->endpoint != NULL && message->endpoint->host[0] != '\0')) {
        return 0; /* the encoded message says it */
    }
    if (route->this_process) {
        return endpoint_of(r,
                           message->enable_http2 ? r->options.rpc_address : r->options.http_address,
                           message, err);
    }
    if (route->address != NULL) {
        return endpoint_of(r, route->address, message, err);
    }
    message->n_targets = 1;
    message->targets = chassis_arena_alloc(&r->arena, sizeof *message->targets);
    message->targets[0] = chassis_arena_alloc(&r->arena, sizeof *message->targets[0]);
    draft__routing__v1__target__init(message->targets[0]);
    message->targets[0]->service =
        copy(r, route->service != NULL ? route->service : r->options.name);
    message->targets[0]->weight = 1;
    return 0;
}

static int check(const struct chassis_route *route, const char *name, struct chassis_error *err)
{
    int paths = (route->prefix != NULL) + (route->path != NULL) + (route->regex != NULL) +
                (route->grpc_service != NULL);
    int places = (route->service != NULL) + (route->address != NULL) + route->this_process;
    if (paths <= 1 && places <= 1) {
        return 0;
    }
    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "route '%s': %s", name,
                             paths > 1 ? "prefix, path, regex and grpc_service: at most one"
                                       : "service, address and this_process: at most one");
}

int routing_build(struct chassis_routing *r, const struct chassis_route *route,
                  routing_message **ret_message, bool *ret_own, struct chassis_error *err)
{
    routing_message *message;
    const char *name =
        route->name != NULL
            ? route->name
            : chassis_arena_printf(&r->arena, "%s-%s", r->options.domain, r->options.name);
    int rc = check(route, name, err);
    if (rc != 0) {
        return rc;
    }
    if (route->encoded.len != 0) {
        rc = core__control_plane__networking__v1__route__decode(route->encoded, &r->arena, &message,
                                                                err);
        if (rc != 0) {
            return chassis_error_wrap(err, "route '%s'", name);
        }
    } else {
        message = chassis_arena_alloc(&r->arena, sizeof *message);
        core__control_plane__networking__v1__route__init(message);
        message->match = match_of(r, route);
        behave(r, route, message);
    }
    if (message->name[0] == '\0') {
        message->name = copy(r, name);
    }
    rc = aim(r, route, message, err);
    if (rc == 0) {
        *ret_message = message;
        *ret_own = route->this_process;
    }
    return rc;
}
