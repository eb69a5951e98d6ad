#include "fuse/control_plane/convert_parts.h"

/* protobuf-c's fields are not const; nobody writes through them. */
static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text;
}

static char **texts_of(const char *const *texts)
{
    return (char **)(uintptr_t)texts;
}

/* A fresh message in the arena. */
#define DEFINE_NEW(type, name, init)                                                               \
    static type *new_##name(struct chassis_arena *arena)                                           \
    {                                                                                              \
        type *message = chassis_arena_alloc(arena, sizeof *message);                               \
        init(message);                                                                             \
        return message;                                                                            \
    }
DEFINE_NEW(Google__Protobuf__Duration, duration, google__protobuf__duration__init)
DEFINE_NEW(NET(Route), route, core__control_plane__networking__v1__route__init)
DEFINE_NEW(NET(RouteMatch), route_match, core__control_plane__networking__v1__route_match__init)
DEFINE_NEW(NET(Endpoint), endpoint, core__control_plane__networking__v1__endpoint__init)
DEFINE_NEW(NET(HeaderMatchOptions), header_match_options,
           core__control_plane__networking__v1__header_match_options__init)
DEFINE_NEW(NET(GrpcMatchOptions), grpc_match_options,
           core__control_plane__networking__v1__grpc_match_options__init)
DEFINE_NEW(POL(Target), target, draft__routing__v1__target__init)
DEFINE_NEW(POL(StringMatch), string_match, draft__routing__v1__string_match__init)
DEFINE_NEW(POL(HeaderMatch), header_match, draft__routing__v1__header_match__init)
DEFINE_NEW(POL(QueryMatch), query_match, draft__routing__v1__query_match__init)
DEFINE_NEW(POL(RetryPolicy), retry_policy, draft__routing__v1__retry_policy__init)
DEFINE_NEW(POL(HashKey), hash_key, draft__routing__v1__hash_key__init)
DEFINE_NEW(POL(CircuitBreaker), circuit_breaker, draft__routing__v1__circuit_breaker__init)
DEFINE_NEW(POL(OutlierDetection), outlier_detection, draft__routing__v1__outlier_detection__init)

static Google__Protobuf__Duration *duration_of(struct chassis_arena *arena, uint64_t ms)
{
    if (ms == 0) {
        return NULL;
    }
    Google__Protobuf__Duration *d = new_duration(arena);
    d->seconds = (int64_t)(ms / 1000);
    d->nanos = (int32_t)(ms % 1000) * 1000000;
    return d;
}

/* ---- match ---- */

static POL(StringMatch) *
    string_match_of(struct chassis_arena *arena, const struct fuse_string_match *value)
{
    POL(StringMatch) *m = new_string_match(arena);
    m->invert = value->invert;
    switch (value->kind) {
    case FUSE_MATCH_EXACT:
        m->match_case = DRAFT__ROUTING__V1__STRING_MATCH__MATCH_EXACT;
        m->exact = text_of(value->text);
        break;
    case FUSE_MATCH_PREFIX:
        m->match_case = DRAFT__ROUTING__V1__STRING_MATCH__MATCH_PREFIX;
        m->prefix = text_of(value->text);
        break;
    case FUSE_MATCH_SUFFIX:
        m->match_case = DRAFT__ROUTING__V1__STRING_MATCH__MATCH_SUFFIX;
        m->suffix = text_of(value->text);
        break;
    case FUSE_MATCH_CONTAINS:
        m->match_case = DRAFT__ROUTING__V1__STRING_MATCH__MATCH_CONTAINS;
        m->contains = text_of(value->text);
        break;
    case FUSE_MATCH_REGEX:
        m->match_case = DRAFT__ROUTING__V1__STRING_MATCH__MATCH_REGEX;
        m->regex = text_of(value->text);
        break;
    case FUSE_MATCH_PRESENT:
        m->match_case = DRAFT__ROUTING__V1__STRING_MATCH__MATCH_PRESENT;
        m->present = true;
        break;
    }
    return m;
}

static void headers_of(struct chassis_arena *arena, const struct fuse_route *route,
                       NET(RouteMatch) * match)
{
    unsigned first = route->by_header_option;
    if (first != 0) {
        NET(HeaderMatchOptions) *option = new_header_match_options(arena);
        option->key = text_of(route->headers[0].name);
        option->value = text_of(route->headers[0].value.text);
        match->_headers_case = CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE_MATCH___HEADERS_HEADERS;
        match->headers = option;
    }
    match->n_header_matches = route->n_headers - first;
    match->header_matches =
        chassis_arena_alloc(arena, match->n_header_matches * sizeof *match->header_matches);
    for (unsigned i = first; i < route->n_headers; i++) {
        POL(HeaderMatch) *header = new_header_match(arena);
        header->name = text_of(route->headers[i].name);
        header->value = string_match_of(arena, &route->headers[i].value);
        match->header_matches[i - first] = header;
    }
}

static void queries_of(struct chassis_arena *arena, const struct fuse_route *route,
                       NET(RouteMatch) * match)
{
    match->n_query_matches = route->n_queries;
    match->query_matches =
        chassis_arena_alloc(arena, route->n_queries * sizeof *match->query_matches);
    for (unsigned i = 0; i < route->n_queries; i++) {
        POL(QueryMatch) *query = new_query_match(arena);
        query->name = text_of(route->queries[i].name);
        query->value = string_match_of(arena, &route->queries[i].value);
        match->query_matches[i] = query;
    }
}

/* "/pkg.Svc/" or "/pkg.Svc/Method" as service and method; false if the path is not of that form. */
static bool split_grpc(struct chassis_arena *arena, const struct fuse_route *route,
                       NET(GrpcMatchOptions) * ret_grpc)
{
    const char *slash = strchr(route->path + 1, '/');
    if (route->path_kind == FUSE_PATH_REGEX || slash == NULL ||
        (route->path_kind == FUSE_PATH_EXACT) == (slash[1] == '\0')) {
        return false;
    }
    const char *service =
        chassis_arena_strndup(arena, route->path + 1, (size_t)(slash - route->path - 1));
    if (fuse_check_grpc_service(service) != NULL ||
        (slash[1] != '\0' && fuse_check_grpc_method(slash + 1) != NULL)) {
        return false;
    }
    ret_grpc->service = text_of(service);
    ret_grpc->method = text_of(slash + 1);
    return true;
}

static void path_of(struct chassis_arena *arena, const struct fuse_route *route,
                    NET(RouteMatch) * match)
{
    if (route->grpc) {
        NET(GrpcMatchOptions) *grpc = new_grpc_match_options(arena);
        match->_grpc_match_options_case =
            CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE_MATCH___GRPC_MATCH_OPTIONS_GRPC_MATCH_OPTIONS;
        match->grpc_match_options = grpc;
        if (split_grpc(arena, route, grpc)) {
            return;
        }
    }
    switch (route->path_kind) {
    case FUSE_PATH_EXACT:
        match->path = text_of(route->path);
        break;
    case FUSE_PATH_PREFIX:
        match->prefix = text_of(route->path);
        break;
    case FUSE_PATH_REGEX:
        match->regex = text_of(route->path);
        break;
    }
}

static NET(RouteMatch) * match_of(struct chassis_arena *arena, const struct fuse_route *route)
{
    NET(RouteMatch) *match = new_route_match(arena);
    match->host = text_of(route->host);
    match->n_methods = route->n_methods;
    match->methods = texts_of(route->methods);
    path_of(arena, route, match);
    headers_of(arena, route, match);
    queries_of(arena, route, match);
    return match;
}

/* ---- where to ---- */

static void targets_of(struct chassis_arena *arena, const struct fuse_route *route,
                       NET(Route) * message)
{
    if (route->by_endpoint) {
        message->endpoint = new_endpoint(arena);
        message->endpoint->host = text_of(route->targets[0].host);
        message->endpoint->port = route->targets[0].port;
        return;
    }
    message->n_targets = route->n_targets;
    message->targets = chassis_arena_alloc(arena, route->n_targets * sizeof *message->targets);
    for (unsigned i = 0; i < route->n_targets; i++) {
        POL(Target) *target = new_target(arena);
        target->service = text_of(route->targets[i].service);
        target->host = text_of(route->targets[i].host);
        target->port = route->targets[i].port;
        target->weight = route->targets[i].weight;
        message->targets[i] = target;
    }
}

/* ---- policies ---- */

static POL(RetryPolicy) * retry_of(struct chassis_arena *arena, const struct fuse_retry *retry)
{
    enum { BITS = 32 };
    if (retry->on == 0) {
        return NULL;
    }
    POL(RetryPolicy) *m = new_retry_policy(arena);
    m->on = chassis_arena_alloc(arena, BITS * sizeof *m->on);
    for (unsigned bit = 0; bit < BITS; bit++) {
        if ((retry->on >> bit & 1) != 0) {
            m->on[m->n_on++] = (POL(RetryOn))bit;
        }
    }
    m->retries = retry->retries;
    m->per_try_timeout = duration_of(arena, retry->per_try_timeout_ms);
    m->backoff_base = duration_of(arena, retry->backoff_base_ms);
    m->backoff_max = duration_of(arena, retry->backoff_max_ms);
    return m;
}

static POL(HashKey) * hash_of(struct chassis_arena *arena, const struct fuse_route *route)
{
    if (route->hash_kind == FUSE_HASH_NONE) {
        return NULL;
    }
    POL(HashKey) *key = new_hash_key(arena);
    switch (route->hash_kind) {
    case FUSE_HASH_HEADER:
        key->of_case = DRAFT__ROUTING__V1__HASH_KEY__OF_HEADER;
        key->header = text_of(route->hash_name);
        break;
    case FUSE_HASH_COOKIE:
        key->of_case = DRAFT__ROUTING__V1__HASH_KEY__OF_COOKIE;
        key->cookie = text_of(route->hash_name);
        break;
    case FUSE_HASH_QUERY:
        key->of_case = DRAFT__ROUTING__V1__HASH_KEY__OF_QUERY;
        key->query = text_of(route->hash_name);
        break;
    case FUSE_HASH_SOURCE_ADDRESS:
        key->of_case = DRAFT__ROUTING__V1__HASH_KEY__OF_SOURCE_ADDRESS;
        key->source_address = true;
        break;
    case FUSE_HASH_NONE:
        break;
    }
    return key;
}

static void limits_of(struct chassis_arena *arena, const struct fuse_route *route,
                      NET(Route) * message)
{
    if (route->breaker.set) {
        POL(CircuitBreaker) *b = new_circuit_breaker(arena);
        b->max_connections = route->breaker.max_connections;
        b->max_pending_requests = route->breaker.max_pending_requests;
        b->max_requests = route->breaker.max_requests;
        b->max_retries = route->breaker.max_retries;
        message->circuit_breaker = b;
    }
    if (route->outlier.set) {
        POL(OutlierDetection) *o = new_outlier_detection(arena);
        o->consecutive_errors = route->outlier.consecutive_errors;
        o->max_ejection_percent = route->outlier.max_ejection_percent;
        o->interval = duration_of(arena, route->outlier.interval_ms);
        o->base_ejection_time = duration_of(arena, route->outlier.base_ejection_ms);
        message->outlier_detection = o;
    }
}

NET(Route) * fuse_route_to_message(const struct fuse_route *route, struct chassis_arena *arena)
{
    NET(Route) *message = new_route(arena);
    message->name = text_of(route->name);
    message->match = match_of(arena, route);
    targets_of(arena, route, message);
    message->enable_http2 = route->http2;
    message->priority = route->priority;
    message->prefix_rewrite = text_of(route->prefix_rewrite);
    message->timeout = duration_of(arena, route->timeout_ms);
    message->retry = retry_of(arena, &route->retry);
    message->hash_key = hash_of(arena, route);
    limits_of(arena, route, message);
    message->n_listeners = route->n_listeners;
    message->listeners = texts_of(route->listeners);
    message->n_groups = route->n_groups;
    message->groups = texts_of(route->groups);
    return message;
}
