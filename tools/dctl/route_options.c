/* The routes that `routes add` and `routes validate` are about: a file, or one of the options. */
#include <stdlib.h>
#include <string.h>

#include <google/protobuf/duration.pb-c.h>

#include "routes.h"

typedef Draft__Routing__V1__Target target;

enum { TARGETS_MAX = 16 };

bool dctl_split(struct dctl *d, const char *text, char at, char **ret_left, char **ret_right)
{
    const char *found = strchr(text, at);
    if (found == NULL) {
        return false;
    }
    const char *right = found + 1;
    while (*right == ' ') {
        right++;
    }
    *ret_left = chassis_arena_strndup(&d->arena, text, (size_t)(found - text));
    *ret_right = chassis_arena_strdup(&d->arena, right);
    return true;
}

static char *text_of(struct dctl *d, const char *option)
{
    const char *text = dctl_string(d, option);
    return chassis_arena_strdup(&d->arena, text != NULL ? text : "");
}

static char **texts_of(struct dctl *d, const char *option, size_t *ret_n)
{
    char **list = chassis_arena_alloc(&d->arena, DCTL_GIVEN_MAX * sizeof *list);
    const char *text;
    size_t n = 0;
    while ((text = dctl_repeated(d, option, (unsigned)n)) != NULL) {
        list[n++] = chassis_arena_strdup(&d->arena, text);
    }
    *ret_n = n;
    return list;
}

/* "NAME", "NAME=WEIGHT". */
static int weight_of(struct dctl *d, const char *option, char *text, uint32_t *ret_weight)
{
    char *equals = strrchr(text, '=');
    uint64_t weight = 1;
    if (equals != NULL) {
        *equals = '\0';
        if (dctl_parse_number(equals + 1, &weight) != 0 || weight > UINT32_MAX) {
            return dctl_usage(d, "--%s: '%s' is no weight", option, equals + 1);
        }
    }
    *ret_weight = (uint32_t)weight;
    return 0;
}

static int port_of(struct dctl *d, char *text, target *t)
{
    char *colon = strrchr(text, ':');
    uint64_t port;
    if (colon == NULL || colon == text || dctl_parse_number(colon + 1, &port) != 0 ||
        port > 65535) {
        return dctl_usage(d, "--address is HOST:PORT or HOST:PORT=WEIGHT, not '%s'", text);
    }
    *colon = '\0';
    size_t len = strlen(text);
    if (text[0] == '[' && text[len - 1] == ']') { /* an IPv6 address */
        text[len - 1] = '\0';
        text++;
    }
    t->host = text;
    t->port = (uint32_t)port;
    return 0;
}

static int targets_of(struct dctl *d, route_message *route)
{
    size_t n_services, n_addresses;
    char **services = texts_of(d, "service", &n_services);
    char **addresses = texts_of(d, "address", &n_addresses);
    size_t n = n_services + n_addresses;
    if (n == 0 || n > TARGETS_MAX) {
        return dctl_usage(d, n == 0 ? "where to? --service NAME or --address HOST:PORT (or -f FILE)"
                                    : "a route has at most 16 targets");
    }
    route->targets = chassis_arena_alloc(&d->arena, n * sizeof *route->targets);
    for (size_t i = 0; i < n; i++) {
        target *t = route->targets[i] = chassis_arena_alloc(&d->arena, sizeof *t);
        bool service = i < n_services;
        char *text = service ? services[i] : addresses[i - n_services];
        draft__routing__v1__target__init(t);
        int code = weight_of(d, service ? "service" : "address", text, &t->weight);
        if (code == 0 && service) {
            t->service = text;
        } else if (code == 0) {
            code = port_of(d, text, t);
        }
        if (code != 0) {
            return code;
        }
    }
    route->n_targets = n;
    return 0;
}

/* -H 'key: value' exactly, 'key' there at all. */
static void headers_of(struct dctl *d, route_match *m)
{
    size_t n;
    char **texts = texts_of(d, "header", &n);
    m->header_matches = chassis_arena_alloc(&d->arena, (n + 1) * sizeof *m->header_matches);
    for (size_t i = 0; i < n; i++) {
        Draft__Routing__V1__HeaderMatch *h = m->header_matches[i] =
            chassis_arena_alloc(&d->arena, sizeof *h);
        draft__routing__v1__header_match__init(h);
        h->value = chassis_arena_alloc(&d->arena, sizeof *h->value);
        draft__routing__v1__string_match__init(h->value);
        char *value;
        if (dctl_split(d, texts[i], ':', &h->name, &value)) {
            h->value->match_case = DRAFT__ROUTING__V1__STRING_MATCH__MATCH_EXACT;
            h->value->exact = value;
        } else {
            h->name = texts[i];
            h->value->match_case = DRAFT__ROUTING__V1__STRING_MATCH__MATCH_PRESENT;
            h->value->present = 1;
        }
    }
    m->n_header_matches = n;
}

static void match_of(struct dctl *d, route_match *m)
{
    const char *grpc = dctl_string(d, "grpc");
    core__control_plane__networking__v1__route_match__init(m);
    m->host = text_of(d, "host");
    m->prefix = text_of(d, "prefix");
    m->path = text_of(d, "path");
    m->regex = text_of(d, "regex");
    m->methods = texts_of(d, "method", &m->n_methods);
    headers_of(d, m);
    if (grpc != NULL) {
        Core__ControlPlane__Networking__V1__GrpcMatchOptions *g =
            chassis_arena_alloc(&d->arena, sizeof *g);
        core__control_plane__networking__v1__grpc_match_options__init(g);
        m->_grpc_match_options_case =
            CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE_MATCH___GRPC_MATCH_OPTIONS_GRPC_MATCH_OPTIONS;
        m->grpc_match_options = g;
        if (!dctl_split(d, grpc, '/', &g->service, &g->method)) {
            g->service = text_of(d, "grpc");
        }
    }
}

static int parse_priority(struct dctl *d, int32_t *ret_priority)
{
    const char *text = dctl_string(d, "priority");
    uint64_t n;
    if (text == NULL) {
        return 0;
    }
    bool negative = text[0] == '-';
    if (dctl_parse_number(text + negative, &n) != 0 || n > 1000) {
        return dctl_usage(d, "--priority is -1000 to 1000, not '%s'", text);
    }
    *ret_priority = negative ? -(int32_t)n : (int32_t)n;
    return 0;
}

static int route_of_options(struct dctl *d, const char *name, route_message *route)
{
    core__control_plane__networking__v1__route__init(route);
    route->name = chassis_arena_strdup(&d->arena, name);
    route->match = chassis_arena_alloc(&d->arena, sizeof *route->match);
    match_of(d, route->match);
    route->enable_http2 = dctl_flag(d, "http2") || dctl_string(d, "grpc") != NULL;
    route->prefix_rewrite = text_of(d, "rewrite");
    route->listeners = texts_of(d, "listener", &route->n_listeners);
    route->groups = texts_of(d, "group", &route->n_groups);
    uint64_t ms = dctl_duration_ms(d, "request-timeout", 0);
    if (ms != 0) {
        route->timeout = chassis_arena_alloc(&d->arena, sizeof *route->timeout);
        google__protobuf__duration__init(route->timeout);
        route->timeout->seconds = (int64_t)(ms / 1000);
        route->timeout->nanos = (int32_t)(ms % 1000) * 1000000;
    }
    int code = parse_priority(d, &route->priority);
    return code != 0 ? code : targets_of(d, route);
}

/* Does the command line say anything of a route itself? */
static const char *option_given(const struct dctl *d)
{
    static const char *const names[] = {"host",    "prefix",   "path",           "regex",
                                        "grpc",    "method",   "header",         "service",
                                        "address", "http2",    "priority",       "rewrite",
                                        "group",   "listener", "request-timeout"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (unsigned g = 0; g < d->n_given; g++) {
            if (strcmp(d->given[g].option->name, names[i]) == 0) {
                return names[i];
            }
        }
    }
    return NULL;
}

int dctl_routes_given(struct dctl *d, const char *name, struct dctl_routes *ret_routes)
{
    struct chassis_error err = {0};
    const char *file = dctl_string(d, "file"), *option = option_given(d);
    if (file != NULL && (name != NULL || option != NULL)) {
        return dctl_usage(d, "--file says it all: %s%s does not go with it",
                          name != NULL ? "" : "--", name != NULL ? name : option);
    }
    if (file != NULL) {
        return dctl_routes_read(d, file, ret_routes, &err) != 0 ? dctl_fail(d, &err) : 0;
    }
    if (name == NULL) {
        return dctl_usage(d, "a NAME is needed, or --file");
    }
    route_message *route = chassis_arena_alloc(&d->arena, sizeof *route);
    int code = route_of_options(d, name, route);
    if (code == 0) {
        ret_routes->items = chassis_arena_alloc(&d->arena, sizeof(route_message *));
        ret_routes->items[0] = route;
        ret_routes->n = 1;
    }
    return code;
}
