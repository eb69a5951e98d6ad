/* Routes and requests from small alphabets, so that they often meet, with the characters that mean
 * something to HAProxy's configuration among them. Route number i goes to lab server i.
 *
 * Ownership: texts are constants; a request lives in its struct.
 */
#ifndef TESTS_FUSE_HAPROXY_RANDOM_H
#define TESTS_FUSE_HAPROXY_RANDOM_H

#include "base/prng.h"
#include "fuse/control_plane/decide.h"
#include "unit/fuse/fixture.h"

#include "lab.h"

#define OF(prng, list) ((list)[chassis_prng_below(prng, sizeof(list) / sizeof((list)[0]))])

static const char *const route_hosts[] = {"*",   "a.b",     "*.b", "*.a.b",
                                          "x.b", "*.x.a.b", "c",   "y_z.b"};
static const char *const request_hosts[] = {
    "",   "a.b",     "x.b", "x.a.b", "b",       "A.b:8080", "c:1",     "zz",
    ".b", "y.x.a.b", "*.b", "..b",   "y.X.A.b", "C",        "v.y_z.b", "y_z.b:80"};
static const char *const route_paths[] = {"/",     "/a",     "/a/",    "/ab",   "/a/b",
                                          "/it's", "/$a",    "/x,y;z", "/(x)",  "/a!*b",
                                          "/%25",  "/a/b/c", "/{~}",   "/p.S/", "/p.S/M"};
static const char *const route_regexes[] = {
    "/a.*", "/[ab]", "/a|/b", "/.*b", "/a'b", "/\\$a\"?.*", "/#?(x|y)\\}", "/a{2,3}", "/.+ ?%25"};
static const char *const request_paths[] = {
    "/",     "/a",       "/a/",  "/ab",  "/a/b",     "/b",     "/aa",    "/aab",
    "/it's", "/it's/x",  "/$a",  "/$ab", "/x,y;z/1", "/(x)",   "/(x)y",  "/a!*b",
    "/%25",  "/a/b/c/d", "/a'b", "/x}",  "/{~}",     "/p.S/M", "/p.S/N", "/p.S/MM"};
static const char *const names[] = {"x-q", "r", "it.s_a"};
static const char *const texts[] = {"a",      "b",   "ab",     "ba", "a'b", "a\"b",     "$HOME",
                                    "%[src]", "a#b", "}",      "{",  "a b", "a\\b",     "||",
                                    "-i",     "a,b", "`'\"\\", "!a", "",    "a if {b}", "%"};
static const char *const value_regexes[] = {"a.*",   "[ab]",      "a|b",  ".*b",     "a'b",
                                            "\\$.*", ".*[#\"].*", "[{}]", "a\\\\.?", "a,b|b,a"};
static const char *const query_texts[] = {"a",  "b",   "ab",  "",    "a'b",
                                          "$x", "(x)", "a;b", "a|b", "%25"};
static const char *const queries[] = {"",
                                      "?",
                                      "?r=a",
                                      "?x-q=ab&r=b",
                                      "?r&x-q",
                                      "?x-q=",
                                      "?r=b&x-q=ba",
                                      "?&&x-q=a",
                                      "?xxq=a&r=a'b",
                                      "?r=$x",
                                      "?r=a;b",
                                      "?a;r=b",
                                      "?x-q=(x)&it.s_a",
                                      "?r=a|b&r=a",
                                      "?=&=a",
                                      "?r=%25a",
                                      "?it_s_a=a",
                                      "?x-q==a&r=a=b",
                                      "?it.s_a=b&&"};
static const char *const methods[] = {"GET", "POST", "PUT", "PURGE"};
static const char *const types[] = {"application/grpc", "application/grpc+proto",
                                    "application/grpcx", "application/grpc;a", "text/plain"};

static inline struct fuse_named_match random_match(struct chassis_prng *prng, bool query)
{
    struct fuse_named_match m = {
        .name = OF(prng, names),
        .value = {.kind = (enum fuse_match_kind)chassis_prng_below(prng, FUSE_MATCH_PRESENT + 1),
                  .invert = chassis_prng_chance(prng, 0.3)}};
    m.value.text = query ? OF(prng, query_texts) : OF(prng, texts);
    if (m.value.kind == FUSE_MATCH_REGEX) {
        m.value.text = OF(prng, value_regexes);
        m.value.regex = fixture_regex(m.value.text);
    } else if (m.value.kind == FUSE_MATCH_PRESENT) {
        m.value.text = "";
    }
    return m;
}

static inline void random_path(struct chassis_prng *prng, struct fixture_spec *spec)
{
    switch (chassis_prng_below(prng, 5)) {
    case 0:
        spec->exact = OF(prng, route_paths);
        break;
    case 1:
        spec->regex = OF(prng, route_regexes);
        return;
    default:
        spec->path = OF(prng, route_paths);
    }
    if (chassis_prng_chance(prng, 0.3)) {
        spec->rewrite = OF(prng, route_paths);
    }
}

static inline struct fuse_route *random_route(struct chassis_prng *prng, unsigned i, uint16_t port)
{
    struct fuse_named_match headers[2], params[2];
    char name[32], address[24];
    const char *route_methods[2] = {OF(prng, methods), OF(prng, methods)};
    snprintf(name, sizeof name, "route-%u", i);
    lab_address(i, address);
    struct fixture_spec spec = {
        .name = name, .host = OF(prng, route_hosts), .address = address, .port = port};
    random_path(prng, &spec);
    spec.priority = (int)chassis_prng_below(prng, 6) / 4;
    spec.grpc = chassis_prng_chance(prng, 0.2);
    unsigned n_headers = chassis_prng_chance(prng, 0.4) ? 1 : 0;
    unsigned n_params = chassis_prng_chance(prng, 0.3) ? 1 : 0;
    n_headers += n_headers != 0 && chassis_prng_chance(prng, 0.3);
    n_params += n_params != 0 && chassis_prng_chance(prng, 0.3);
    for (unsigned k = 0; k < n_headers; k++) {
        headers[k] = random_match(prng, false);
    }
    for (unsigned k = 0; k < n_params; k++) {
        params[k] = random_match(prng, true);
    }
    spec.rest = (struct fuse_route){.headers = headers,
                                    .n_headers = n_headers,
                                    .queries = params,
                                    .n_queries = n_params,
                                    .methods = route_methods};
    spec.rest.n_methods = chassis_prng_chance(prng, 0.2) ? 2 : 0;
    return fixture_route(spec);
}

struct random_request {
    struct fuse_request request;
    struct fuse_header headers[6];
    char path[128], host[64];
    char head[2048]; /* as it is sent */
};

static inline void random_request(struct chassis_prng *prng, struct random_request *r)
{
    const char *host = OF(prng, request_hosts);
    snprintf(r->host, sizeof r->host, "%.*s", (int)strcspn(host, ":"), host);
    r->request = (struct fuse_request){
        .method = OF(prng, methods), .host = r->host, .path = r->path, .headers = r->headers};
    snprintf(r->path, sizeof r->path, "%s%s", OF(prng, request_paths), OF(prng, queries));
    unsigned n = (unsigned)chassis_prng_below(prng, 5);
    for (unsigned i = 0; i < n; i++) {
        r->headers[i] = (struct fuse_header){OF(prng, names), OF(prng, texts)};
    }
    if (chassis_prng_chance(prng, 0.4)) {
        r->headers[n++] = (struct fuse_header){"content-type", OF(prng, types)};
    }
    r->request.n_headers = n;
    size_t len =
        (size_t)snprintf(r->head, sizeof r->head, "%s %s HTTP/1.1\r\n", r->request.method, r->path);
    if (host[0] != '\0') {
        len += (size_t)snprintf(r->head + len, sizeof r->head - len, "Host: %s\r\n", host);
    }
    for (unsigned i = 0; i < n; i++) {
        len += (size_t)snprintf(r->head + len, sizeof r->head - len, "%s: %s\r\n",
                                r->headers[i].name, r->headers[i].value);
    }
    snprintf(r->head + len, sizeof r->head - len, "content-length: 0\r\n\r\n");
}

#endif
