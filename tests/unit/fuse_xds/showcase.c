#include "showcase.h"

#include <stdio.h>

#include "fuse/control_plane/regex.h"

#define HOST "echo"

static struct fuse_regex *regex(const char *pattern)
{
    struct fuse_regex *made;
    struct chassis_error err = {0};
    if (fuse_regex_new(pattern, &made, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return made;
}

static void instance(struct world *w, const char *service, const char *pid, uint16_t port)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    world_instance_with(w, 10,
                        &(struct fuse_instance){.pid = pid,
                                                .service = service,
                                                .rpc_address = address,
                                                .http_address = address,
                                                .locality = "eu/a",
                                                .state = FUSE_INSTANCE_USABLE});
}

/* Everything to "next" unless it says another target. */
static void put(struct world *w, uint64_t version, struct fuse_route route)
{
    static const struct fuse_target next = {.service = "next", .weight = 1};
    if (route.n_targets == 0) {
        route.targets = &next;
        route.n_targets = 1;
    }
    route.http2 = true;
    route.host = route.host != NULL ? route.host : HOST;
    world_route(w, version, &route);
}

static void by_path(struct world *w)
{
    put(w, 20,
        (struct fuse_route){
            .name = "exact", .path_kind = FUSE_PATH_EXACT, .path = "/demo.Demo/Exact"});
    put(w, 21,
        (struct fuse_route){
            .name = "prefix", .path_kind = FUSE_PATH_PREFIX, .path = "/demo.Other/"});
    put(w, 22,
        (struct fuse_route){.name = "regex",
                            .path_kind = FUSE_PATH_REGEX,
                            .path = "/demo\\.Demo/A[0-9]+|/demo\\.Demo/B",
                            .path_regex = regex("/demo\\.Demo/A[0-9]+|/demo\\.Demo/B")});
    static const char *const methods[] = {"POST", "PUT"};
    put(w, 23,
        (struct fuse_route){.name = "method",
                            .path_kind = FUSE_PATH_EXACT,
                            .path = "/demo.Demo/Post",
                            .grpc = true,
                            .methods = methods,
                            .n_methods = 2});
}

static void by_header(struct world *w)
{
    const struct {
        const char *name;
        struct fuse_named_match matches[2];
    } routes[] = {
        {"header-exact", {{"x-exact", {FUSE_MATCH_EXACT, false, "1", NULL}}}},
        {"header-prefix", {{"x-prefix", {FUSE_MATCH_PREFIX, false, "ab", NULL}}}},
        {"header-suffix", {{"x-suffix", {FUSE_MATCH_SUFFIX, false, "yz", NULL}}}},
        {"header-contains", {{"x-contains", {FUSE_MATCH_CONTAINS, false, "b.c", NULL}}}},
        {"header-regex", {{"x-regex", {FUSE_MATCH_REGEX, false, "a+|b+", regex("a+|b+")}}}},
        {"header-present", {{"x-present", {FUSE_MATCH_PRESENT, false, "", NULL}}}},
        {"header-inverted",
         {{"x-gate", {FUSE_MATCH_EXACT, false, "color", NULL}},
          {"x-color", {FUSE_MATCH_EXACT, true, "red", NULL}}}},
        {"header-absent",
         {{"x-gate", {FUSE_MATCH_EXACT, false, "absent", NULL}},
          {"x-missing", {FUSE_MATCH_PRESENT, true, "", NULL}}}},
    };
    for (unsigned i = 0; i < N(routes); i++) {
        put(w, 30 + i,
            (struct fuse_route){.name = routes[i].name,
                                .headers = routes[i].matches,
                                .n_headers = routes[i].matches[1].name != NULL ? 2 : 1});
    }
}

static void by_target(struct world *w, uint16_t port)
{
    static const struct fuse_target two[] = {
        {.service = "echo", .weight = 3}, {.service = "next", .weight = 1}, {.service = "old"}};
    const struct fuse_target ip = {.host = "127.0.0.1", .port = port, .weight = 1};
    const struct fuse_target name = {.host = "localhost", .port = port, .weight = 1};
    put(w, 40,
        (struct fuse_route){.name = "split",
                            .path_kind = FUSE_PATH_EXACT,
                            .path = "/demo.Demo/Split",
                            .targets = two,
                            .n_targets = 3});
    put(w, 41,
        (struct fuse_route){.name = "fixed",
                            .path_kind = FUSE_PATH_EXACT,
                            .path = "/demo.Demo/Fixed",
                            .targets = &ip,
                            .n_targets = 1});
    put(w, 42,
        (struct fuse_route){.name = "dns",
                            .path_kind = FUSE_PATH_EXACT,
                            .path = "/demo.Demo/Dns",
                            .targets = &name,
                            .n_targets = 1});
}

static void by_policy(struct world *w, uint16_t port)
{
    static const struct fuse_target pool = {.service = "pool", .weight = 1};
    const struct fuse_target fixed = {.host = "127.0.0.1", .port = port, .weight = 1};
    static const struct {
        const char *name, *path;
        enum fuse_hash_kind kind;
    } hashes[] = {
        {"hash-header", "/demo.Demo/HashHeader", FUSE_HASH_HEADER},
        {"hash-cookie", "/demo.Demo/HashCookie", FUSE_HASH_COOKIE},
        {"hash-source", "/demo.Demo/HashSource", FUSE_HASH_SOURCE_ADDRESS},
        {"hash-query", "/demo.Demo/HashQuery", FUSE_HASH_QUERY},
    };
    for (unsigned i = 0; i < N(hashes); i++) {
        put(w, 50 + i,
            (struct fuse_route){.name = hashes[i].name,
                                .path_kind = FUSE_PATH_EXACT,
                                .path = hashes[i].path,
                                .targets = &pool,
                                .n_targets = 1,
                                .hash_kind = hashes[i].kind,
                                .hash_name = "x-user"});
    }
    put(w, 60,
        (struct fuse_route){.name = "retry",
                            .path_kind = FUSE_PATH_EXACT,
                            .path = "/demo.Demo/Retry",
                            .targets = &fixed,
                            .n_targets = 1,
                            .retry = {.on = 0x3fe,
                                      .retries = 3,
                                      .per_try_timeout_ms = 5000,
                                      .backoff_base_ms = 1,
                                      .backoff_max_ms = 10}});
    put(w, 61,
        (struct fuse_route){.name = "timeout",
                            .path_kind = FUSE_PATH_EXACT,
                            .path = "/demo.Demo/Slow",
                            .targets = &fixed,
                            .n_targets = 1,
                            .timeout_ms = 300});
    put(w, 62,
        (struct fuse_route){
            .name = "limits",
            .path_kind = FUSE_PATH_EXACT,
            .path = "/demo.Demo/Limits",
            .breaker = {.set = true,
                        .max_connections = 10,
                        .max_pending_requests = 20,
                        .max_requests = 30,
                        .max_retries = 40},
            .outlier = {.set = true,
                        .consecutive_errors = 5,
                        .max_ejection_percent = 10,
                        .interval_ms = 10000,
                        .base_ejection_ms = 30000},
        });
}

/* What only Envoy can follow. */
static void for_envoy(struct world *w)
{
    static const char *const tls[] = {"tls"};
    static const struct fuse_target plain[] = {{.service = "echo", .weight = 1}};
    const struct fuse_named_match queries[] = {
        {"a", {FUSE_MATCH_EXACT, false, "1", NULL}},
        {"b", {FUSE_MATCH_REGEX, true, "x+", regex("x+")}},
        {"c", {FUSE_MATCH_PRESENT, false, "", NULL}},
    };
    put(w, 70, (struct fuse_route){.name = "query", .queries = queries, .n_queries = N(queries)});
    put(w, 71,
        (struct fuse_route){.name = "rewrite",
                            .host = "*.example.com",
                            .path_kind = FUSE_PATH_PREFIX,
                            .path = "/old/",
                            .prefix_rewrite = "/new/"});
    world_route(
        w, 72,
        &(struct fuse_route){
            .name = "http1", .targets = plain, .n_targets = 1, .listeners = tls, .n_listeners = 1});
}

void showcase_fill(struct world *w, const uint16_t ports[SHOWCASE_PORTS])
{
    instance(w, "echo", "p1", ports[0]);
    instance(w, "next", "p2", ports[1]);
    instance(w, "pool", "p3", ports[0]);
    instance(w, "pool", "p4", ports[1]);
    by_path(w);
    by_header(w);
    by_target(w, ports[2]);
    by_policy(w, ports[2]);
    for_envoy(w);
}

struct going {
    struct world *world;
    void (*each)(struct world *w, enum fuse_type type, const char *name, void *data);
    void *data;
};

static void go_cluster(const char *name, void *data)
{
    const struct going *g = data;
    g->each(g->world, FUSE_CLUSTER, name, g->data);
    if (world_exists(g->world, FUSE_ENDPOINTS, name)) {
        g->each(g->world, FUSE_ENDPOINTS, name, g->data);
    }
}

static void go_listener(const char *name, void *data)
{
    const struct going *g = data;
    g->each(g->world, FUSE_LISTENER, name, g->data);
    g->each(g->world, FUSE_ROUTES, name, g->data);
}

void showcase_each(struct world *w,
                   void (*each)(struct world *w, enum fuse_type type, const char *name, void *data),
                   void *data)
{
    static const char *const more[] = {"front", "front/ca"};
    struct going g = {w, each, data};
    fuse_resource_each(&w->source, FUSE_CLUSTER, go_cluster, &g);
    each(w, FUSE_ENDPOINTS, "pool", data); /* its clusters have policies */
    fuse_resource_each(&w->source, FUSE_LISTENER, go_listener, &g);
    go_listener(HOST, &g);
    for (unsigned i = 0; i < N(more); i++) {
        each(w, FUSE_SECRET, more[i], data);
    }
}

void showcase_file_name(enum fuse_type type, const char *name, char out[200])
{
    snprintf(out, 200, "%s@%s", strrchr(fuse_type_urls[type], '.') + 1, name);
    for (char *c = out; *c != '\0'; c++) {
        *c = strchr("/:*[]", *c) != NULL ? '_' : *c;
    }
}
