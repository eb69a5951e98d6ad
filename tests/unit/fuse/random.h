/* Routes and requests from small alphabets, so that they often meet: what matches, what nearly does.
 *
 * Ownership: texts are constants, expressions belong to the route; a request lives in its struct.
 */
#ifndef TESTS_UNIT_FUSE_RANDOM_H
#define TESTS_UNIT_FUSE_RANDOM_H

#include "base/prng.h"
#include "fuse/control_plane/decide.h"

#include "fixture.h"

#define RANDOM_OF(prng, list) ((list)[chassis_prng_below(prng, sizeof(list) / sizeof((list)[0]))])

static const char *const random_hosts[] = {"*", "a.b", "*.b", "*.a.b", "b", "x.b"};
static const char *const random_request_hosts[] = {"",    "a.b", "x.b",     "x.a.b", "b",
                                                   "A.b", "c",   "y.x.a.b", ".b",    "*.b"};
static const char *const random_paths[] = {"/", "/a", "/a/", "/ab", "/a/b", "/b"};
/* With what the reference takes them for in decide_random_test.c. */
static const char *const random_regexes[] = {"/a.*", "/[ab]", "/a|/b", "/.*b", "/ab?", "/a/.+"};
static const char *const random_request_paths[] = {"/",  "/a",  "/a/",  "/ab",    "/a/b",
                                                   "/b", "/bb", "/abb", "/a/b/c", "*"};
static const char *const random_queries[] = {"",     "",    "?",         "?q=a",   "?q=ab&q=b",
                                             "?r&q", "?q=", "?r=b&q=ba", "?&&q=a", "?qq=a&r=a"};
static const char *const random_methods[] = {"GET", "POST", "PUT"};
static const char *const random_texts[] = {"a", "b", "ab", "ba", "aba", "", "c"};
static const char *const random_value_regexes[] = {"a.*", "[ab]", "a|b", ".*b", "ab?", "a.+"};
static const char *const random_names[] = {"q", "r"};
static const char *const random_types[] = {"application/grpc", "application/grpc+proto",
                                           "application/grpcx", "text/plain"};
static const char *const random_groups[] = {"g1", "g2", "g3"};
static const char *const random_listeners[] = {"l1", "l2"};

static inline struct fuse_named_match random_match(struct chassis_prng *prng)
{
    struct fuse_named_match m = {
        .name = RANDOM_OF(prng, random_names),
        .value = {.kind = (enum fuse_match_kind)chassis_prng_below(prng, FUSE_MATCH_PRESENT + 1),
                  .invert = chassis_prng_chance(prng, 0.3)}};
    m.value.text = RANDOM_OF(prng, random_texts);
    if (m.value.kind == FUSE_MATCH_REGEX) {
        m.value.text = RANDOM_OF(prng, random_value_regexes);
        m.value.regex = fixture_regex(m.value.text);
    } else if (m.value.kind == FUSE_MATCH_PRESENT) {
        m.value.text = "";
    }
    return m;
}

/* Some of the texts, in their order; the count. */
static inline unsigned random_some(struct chassis_prng *prng, double probability,
                                   const char *const *from, unsigned n, const char **out)
{
    unsigned picked = 0;
    for (unsigned i = 0; i < n; i++) {
        if (chassis_prng_chance(prng, probability)) {
            out[picked++] = from[i];
        }
    }
    return picked;
}

static inline struct fuse_route *random_route(struct chassis_prng *prng, const char *name)
{
    struct fuse_named_match headers[2], queries[2];
    const char *methods[3], *groups[3], *listeners[2];
    struct fixture_spec spec = {
        .name = name, .host = RANDOM_OF(prng, random_hosts), .service = "s"};
    switch (chassis_prng_below(prng, 5)) {
    case 0:
        spec.exact = RANDOM_OF(prng, random_paths);
        break;
    case 1:
        spec.regex = RANDOM_OF(prng, random_regexes);
        break;
    default:
        spec.path = RANDOM_OF(prng, random_paths);
    }
    spec.priority = (int)chassis_prng_below(prng, 6) / 4;
    spec.grpc = chassis_prng_chance(prng, 0.2);
    unsigned n_headers = chassis_prng_chance(prng, 0.4) ? 1 : 0;
    n_headers += n_headers != 0 && chassis_prng_chance(prng, 0.3);
    unsigned n_queries = chassis_prng_chance(prng, 0.3) ? 1 : 0;
    for (unsigned i = 0; i < n_headers; i++) {
        headers[i] = random_match(prng);
    }
    for (unsigned i = 0; i < n_queries; i++) {
        queries[i] = random_match(prng);
    }
    spec.rest = (struct fuse_route){.headers = headers,
                                    .n_headers = n_headers,
                                    .queries = queries,
                                    .n_queries = n_queries,
                                    .methods = methods,
                                    .groups = groups,
                                    .listeners = listeners};
    spec.rest.n_methods = random_some(prng, 0.15, random_methods, 3, methods);
    spec.rest.n_groups = random_some(prng, 0.1, random_groups, 3, groups);
    spec.rest.n_listeners = random_some(prng, 0.1, random_listeners, 2, listeners);
    return fixture_route(spec);
}

struct random_request {
    struct fuse_request request;
    struct fuse_header headers[4];
    char path[64];
};

static inline void random_request(struct chassis_prng *prng, struct random_request *r)
{
    r->request = (struct fuse_request){.method = RANDOM_OF(prng, random_methods),
                                       .host = RANDOM_OF(prng, random_request_hosts),
                                       .path = r->path,
                                       .headers = r->headers};
    snprintf(r->path, sizeof r->path, "%s%s", RANDOM_OF(prng, random_request_paths),
             RANDOM_OF(prng, random_queries));
    unsigned n = (unsigned)chassis_prng_below(prng, 4);
    for (unsigned i = 0; i < n; i++) {
        r->headers[i] =
            (struct fuse_header){RANDOM_OF(prng, random_names), RANDOM_OF(prng, random_texts)};
    }
    if (chassis_prng_chance(prng, 0.4)) {
        r->headers[n++] = (struct fuse_header){"content-type", RANDOM_OF(prng, random_types)};
    }
    r->request.n_headers = n;
}

#endif
