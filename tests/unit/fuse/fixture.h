/* Routes and instances from C literals:
 *     fixture_put(model, 7, route(.name = "a", .host = "x", .path = "/p", .service = "echo"));
 *     fixture_instance(model, 8, .pid = "1", .service = "echo", .rpc_address = "127.0.0.1:1");
 *
 * Ownership: route() gives one reference, which fixture_put takes.
 */
#ifndef TESTS_UNIT_FUSE_FIXTURE_H
#define TESTS_UNIT_FUSE_FIXTURE_H

#include <string.h>

#include "fuse/control_plane/model.h"
#include "fuse/control_plane/regex.h"
#include "fuse/control_plane/route.h"

/* The usual fields in short; `rest` has all the others and more than one of each. */
struct fixture_spec {
    const char *name, *host;
    const char *path, *exact, *regex; /* at most one: a prefix, the whole path, an expression */
    const char *service, *address;    /* a target of weight 1: by name, or host and */
    uint16_t port;
    const char *method, *header, *header_is, *query, *query_is; /* header alone: it is there */
    const char *listener, *group, *rewrite;
    bool grpc, http2;
    int priority;
    struct fuse_route rest;
};

static inline struct fuse_regex *fixture_regex(const char *pattern)
{
    struct fuse_regex *regex = NULL;
    assert_int_equal(fuse_regex_new(pattern, &regex, NULL), 0);
    return regex;
}

static inline struct fuse_named_match fixture_match(const char *name, const char *value)
{
    return (struct fuse_named_match){
        .name = name,
        .value = {.kind = value != NULL ? FUSE_MATCH_EXACT : FUSE_MATCH_PRESENT,
                  .text = value != NULL ? value : ""}};
}

static inline void fixture_path(const struct fixture_spec *spec, struct fuse_route *r)
{
    if (spec->exact != NULL) {
        r->path_kind = FUSE_PATH_EXACT;
        r->path = spec->exact;
    } else if (spec->regex != NULL) {
        r->path_kind = FUSE_PATH_REGEX;
        r->path = spec->regex;
        r->path_regex = fixture_regex(spec->regex);
    } else if (r->path == NULL) {
        r->path_kind = FUSE_PATH_PREFIX;
        r->path = spec->path != NULL ? spec->path : "/";
    }
}

static inline struct fuse_route *fixture_route(struct fixture_spec spec)
{
    struct fuse_route r = spec.rest;
    struct fuse_target target = {
        .service = spec.service != NULL ? spec.service : "",
        .host = spec.address != NULL ? spec.address : "",
        .port = spec.port,
        .weight = 1,
    };
    struct fuse_named_match header = fixture_match(spec.header, spec.header_is);
    struct fuse_named_match query = fixture_match(spec.query, spec.query_is);
    r.name = spec.name;
    r.host = spec.host != NULL ? spec.host : "*";
    fixture_path(&spec, &r);
    r.grpc = r.grpc || spec.grpc;
    r.http2 = r.http2 || spec.http2;
    r.priority += spec.priority;
    r.prefix_rewrite = spec.rewrite != NULL ? spec.rewrite : r.prefix_rewrite;
#define FIXTURE_ONE(given, list, n, item)                                                          \
    if ((given) != NULL) {                                                                         \
        r.list = (item);                                                                           \
        r.n = 1;                                                                                   \
    }
    FIXTURE_ONE(spec.method, methods, n_methods, &spec.method)
    FIXTURE_ONE(spec.header, headers, n_headers, &header)
    FIXTURE_ONE(spec.query, queries, n_queries, &query)
    FIXTURE_ONE(spec.listener, listeners, n_listeners, &spec.listener)
    FIXTURE_ONE(spec.group, groups, n_groups, &spec.group)
#undef FIXTURE_ONE
    if (r.n_targets == 0) {
        r.targets = &target;
        r.n_targets = 1;
    }
    return fuse_route_new(&r);
}
#define route(...) fixture_route((struct fixture_spec){__VA_ARGS__})

/* Created with that version, or when the one that is there was. */
static inline void fixture_put(struct fuse_model *model, uint64_t version,
                               const struct fuse_route *r)
{
    const struct fuse_entry *old = fuse_model_route(model, r->name);
    fuse_model_put_route(model, r, version, old != NULL ? old->created_version : version,
                         (int64_t)version * 1000, "tester");
    fuse_route_unref(r);
}

static inline void fixture_put_instance(struct fuse_model *model, uint64_t revision,
                                        struct fuse_instance i)
{
    i.rpc_address = i.rpc_address != NULL ? i.rpc_address : "";
    i.http_address = i.http_address != NULL ? i.http_address : "";
    i.locality = i.locality != NULL ? i.locality : "";
    fuse_model_put_instance(model, &i, revision);
}
#define fixture_instance(model, revision, ...)                                                     \
    fixture_put_instance(model, revision, (struct fuse_instance){__VA_ARGS__})

#endif
