/* One version of a route: what a user wrote, checked, in plain C.
 *
 * Invariants: immutable once made; every field is within the limits of validate.h, regular
 * expressions are compiled, texts are never NULL ("" = unset), header names and hosts are lower case,
 * IP addresses in their shortest form.
 * Threads: any; the reference count is atomic.
 * Ownership: fuse_route_unref by every owner; a route is one piece of memory, beside its regular
 * expressions.
 */
#ifndef FUSE_CONTROL_PLANE_ROUTE_H
#define FUSE_CONTROL_PLANE_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>

struct fuse_regex;

enum {
    FUSE_NAME_MAX = 128,
    FUSE_LIST_MAX = 16, /* targets, matches of one kind, methods, groups, listeners */
};

enum fuse_match_kind {
    FUSE_MATCH_EXACT,
    FUSE_MATCH_PREFIX,
    FUSE_MATCH_SUFFIX,
    FUSE_MATCH_CONTAINS,
    FUSE_MATCH_REGEX,
    FUSE_MATCH_PRESENT,
};
struct fuse_string_match {
    enum fuse_match_kind kind;
    bool invert;
    const char *text;
    struct fuse_regex *regex; /* of FUSE_MATCH_REGEX */
};
struct fuse_named_match { /* a header or a query parameter */
    const char *name;
    struct fuse_string_match value;
};

enum fuse_path_kind { /* in the order of precedence */
                      FUSE_PATH_EXACT,
                      FUSE_PATH_PREFIX,
                      FUSE_PATH_REGEX,
};

struct fuse_target {
    const char *service; /* "" = host and port */
    const char *host;
    uint16_t port;
    uint32_t weight; /* of a single target 1 */
};

/* Bits of fuse_retry.on: 1 << (number of draft.routing.v1.RetryOn). */
struct fuse_retry {
    uint32_t on; /* 0 = no retries */
    uint32_t retries;
    uint64_t per_try_timeout_ms, backoff_base_ms, backoff_max_ms; /* 0 = unset */
};

enum fuse_hash_kind {
    FUSE_HASH_NONE,
    FUSE_HASH_HEADER,
    FUSE_HASH_COOKIE,
    FUSE_HASH_SOURCE_ADDRESS,
    FUSE_HASH_QUERY,
};

struct fuse_breaker {
    bool set;
    uint32_t max_connections, max_pending_requests, max_requests, max_retries; /* 0 = unset */
};
struct fuse_outlier {
    bool set;
    uint32_t consecutive_errors, max_ejection_percent; /* defaults filled in */
    uint64_t interval_ms, base_ejection_ms;
};

struct fuse_route {
    const char *name;
    const char *host; /* "*", "*.suffix" or a name */
    enum fuse_path_kind path_kind;
    const char *path;              /* of a gRPC service "/pkg.Svc/" or "/pkg.Svc/Method" */
    struct fuse_regex *path_regex; /* of FUSE_PATH_REGEX */
    bool grpc;                     /* only gRPC requests */
    const char *const *methods;
    unsigned n_methods;
    const struct fuse_named_match *headers; /* HeaderMatchOptions stands among them */
    unsigned n_headers;
    const struct fuse_named_match *queries;
    unsigned n_queries;
    const struct fuse_target *targets; /* at least one */
    unsigned n_targets;
    bool http2;
    int32_t priority;
    const char *prefix_rewrite;
    uint64_t timeout_ms; /* 0 = none */
    struct fuse_retry retry;
    enum fuse_hash_kind hash_kind;
    const char *hash_name;
    struct fuse_breaker breaker;
    struct fuse_outlier outlier;
    const char *const *listeners; /* none = all */
    unsigned n_listeners;
    const char *const *groups; /* none = all */
    unsigned n_groups;

    /* How it was written, so that it is shown that way: the one target as `endpoint`, headers[0] as
     * HeaderMatchOptions. */
    bool by_endpoint, by_header_option;
    struct chassis_view encoded; /* the Route message, defaults filled in */
    uint32_t refs;               /* route.c's own */
};

/* A copy of all of `from`, one reference. Texts that are NULL become "", a host "" becomes "*", a
 * prefix "" becomes "/"; the regular expressions are taken over. */
struct fuse_route *fuse_route_new(const struct fuse_route *from);
struct fuse_route *fuse_route_ref(const struct fuse_route *route);
/* NULL is fine. */
void fuse_route_unref(const struct fuse_route *route);
/* Of a route that is given up before fuse_route_new took them over. */
void fuse_route_free_regexes(const struct fuse_route *route);
/* How many further conditions it has: a list of methods, each header, each query parameter and gRPC
 * are one each. */
unsigned fuse_route_conditions(const struct fuse_route *route);
bool fuse_route_in_group(const struct fuse_route *route, const char *group);
bool fuse_route_on_listener(const struct fuse_route *route, const char *listener);

#endif
