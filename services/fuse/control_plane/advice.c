#include "fuse/control_plane/advice.h"

#include <stdio.h>

#include "fuse/control_plane/pattern.h"
#include "fuse/control_plane/regex.h"

/* Bits of fuse_retry.on: RetryOn 5 to 9 look at gRPC's trailers. */
#define ON_GRPC UINT32_C(0x3e0)

/* ---- whole routes ---- */

static bool grpc_retry(const struct fuse_route *r)
{
    return (r->retry.on & ON_GRPC) != 0;
}
static bool retry_pauses(const struct fuse_route *r)
{
    return r->retry.backoff_base_ms != 0 || r->retry.backoff_max_ms != 0;
}
static bool per_try(const struct fuse_route *r)
{
    return r->retry.per_try_timeout_ms != 0;
}
static bool per_try_too_long(const struct fuse_route *r)
{
    return r->timeout_ms != 0 && r->retry.per_try_timeout_ms >= r->timeout_ms;
}
static bool http_retry_only(const struct fuse_route *r)
{
    return r->http2 && r->retry.on != 0 && (r->retry.on & ON_GRPC) == 0;
}
static bool http2_queries(const struct fuse_route *r)
{
    return r->http2 && r->n_queries != 0;
}
static bool http2_rewrite(const struct fuse_route *r)
{
    return r->http2 && *r->prefix_rewrite != '\0';
}
static bool http2_hash(const struct fuse_route *r)
{
    return r->http2 && r->hash_kind != FUSE_HASH_NONE && r->hash_kind != FUSE_HASH_HEADER;
}
static bool grpc_over_http1(const struct fuse_route *r)
{
    return r->grpc && !r->http2;
}
static bool grpc_without_post(const struct fuse_route *r)
{
    bool post = r->n_methods == 0;
    for (unsigned i = 0; i < r->n_methods; i++) {
        post |= strcmp(r->methods[i], "POST") == 0;
    }
    return r->grpc && !post;
}
/* "/api/" and "/v2": "/api/x" becomes "/v2x". */
static bool rewrite_joins(const struct fuse_route *r)
{
    size_t path = strlen(r->path), rewrite = strlen(r->prefix_rewrite);
    return r->path_kind == FUSE_PATH_PREFIX && rewrite != 0 &&
           (r->path[path - 1] == '/') != (r->prefix_rewrite[rewrite - 1] == '/');
}

static const struct {
    bool (*holds)(const struct fuse_route *route);
    const char *field, *text;
} advices[] = {
    {grpc_retry, "retry.on", "HAProxy does not see gRPC's trailers: it does not retry on GRPC_*"},
    {http_retry_only, "retry.on",
     "proxyless gRPC clients retry on the GRPC_* conditions only, so never on these"},
    {per_try, "retry.per_try_timeout", "HAProxy has no time limit of a single attempt"},
    {per_try_too_long, "retry.per_try_timeout",
     "is not shorter than the timeout of the whole request, so it never ends an attempt"},
    {retry_pauses, "retry", "HAProxy chooses its own pauses between attempts"},
    {http2_queries, "match.query_matches",
     "proxyless gRPC clients have no query strings: they do not take this route"},
    {http2_rewrite, "prefix_rewrite", "proxyless gRPC clients do not rewrite paths"},
    {http2_hash, "hash_key",
     "proxyless gRPC clients hash by header only: this key has no effect there"},
    {grpc_over_http1, "enable_http2",
     "is off, so gRPC requests are sent on in HTTP/1.1, where their trailers get lost: set it"},
    {grpc_without_post, "match.methods", "gRPC requests are POST: the route never matches"},
    {rewrite_joins, "prefix_rewrite",
     "ends with '/' where the matched prefix does not, or the other way round: '/a/' to '/b' makes "
     "'/bx' of '/a/x'"},
};

/* ---- parts ---- */

static void advise_regex(const struct fuse_regex *regex, const char *field,
                         struct fuse_problems *problems)
{
    if (regex != NULL && fuse_regex_size(regex) > FUSE_PATTERN_SIZE_ENVOY) {
        fuse_problem_warning(problems, field, NULL,
                             "is about %u instructions; Envoy takes 100 unless its runtime key "
                             "re2.max_program_size.error_level is higher",
                             fuse_regex_size(regex));
    }
}

/* `first` is the one that stands at [0] of the list. */
static void advise_matches(const char *list, const struct fuse_named_match *matches, unsigned first,
                           unsigned n, struct fuse_problems *problems)
{
    for (unsigned i = first; i < n; i++) {
        char field[80];
        snprintf(field, sizeof field, "%s[%u].value.regex", list, i - first);
        advise_regex(matches[i].value.regex, field, problems);
    }
}

static void advise_headers(const struct fuse_route *route, struct fuse_problems *problems)
{
    for (unsigned i = route->by_header_option; i < route->n_headers && route->http2; i++) {
        const char *name = route->headers[i].name;
        size_t len = strlen(name);
        if (strncmp(name, "grpc-", 5) == 0 || (len > 4 && strcmp(name + len - 4, "-bin") == 0)) {
            char field[80];
            snprintf(field, sizeof field, "match.header_matches[%u].name",
                     i - route->by_header_option);
            fuse_problem_warning(
                problems, field, NULL,
                "proxyless gRPC clients do not match '%.64s': headers 'grpc-...' and "
                "'...-bin' count as absent there",
                name);
        }
    }
}

void fuse_route_advise(const struct fuse_route *route, struct fuse_problems *problems)
{
    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++) {
        if (advices[i].holds(route)) {
            fuse_problem_warning(problems, advices[i].field, NULL, "%s", advices[i].text);
        }
    }
    advise_regex(route->path_regex, "match.regex", problems);
    advise_matches("match.header_matches", route->headers, route->by_header_option,
                   route->n_headers, problems);
    advise_matches("match.query_matches", route->queries, 0, route->n_queries, problems);
    advise_headers(route, problems);
}
