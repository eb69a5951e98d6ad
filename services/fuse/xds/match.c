#include "base/assert.h"
#include "fuse/xds/route_message.h"

#include <string.h>

enum { INVERTED_MAX = 4 }; /* headers of a proxyless route: 16 pieces */

/* ---- regular expressions ---- */

static bool is_plain(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (unsigned char)c >= 0x80;
}

static void append_quoted(struct chassis_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (!is_plain(*text)) {
            chassis_buf_append_byte(out, '\\');
        }
        chassis_buf_append_byte(out, (uint8_t)*text);
    }
}

/* Of a whole value that matches, with `any` for characters it may consist of. */
static void append_value(struct chassis_buf *out, const struct fuse_string_match *value,
                         const char *any)
{
    switch (value->kind) {
    case FUSE_MATCH_EXACT:
        append_quoted(out, value->text);
        return;
    case FUSE_MATCH_PREFIX:
        append_quoted(out, value->text);
        chassis_buf_append_str(out, any);
        return;
    case FUSE_MATCH_SUFFIX:
        chassis_buf_append_str(out, any);
        append_quoted(out, value->text);
        return;
    case FUSE_MATCH_CONTAINS:
        chassis_buf_append_str(out, any);
        append_quoted(out, value->text);
        chassis_buf_append_str(out, any);
        return;
    case FUSE_MATCH_REGEX:
        chassis_buf_printf(out, "(?:%s)", value->text);
        return;
    case FUSE_MATCH_PRESENT:
        chassis_buf_append_str(out, any);
        return;
    }
}

static MATCHER(RegexMatcher) * regex_of(const char *pattern, struct chassis_arena *arena)
{
    MATCHER(RegexMatcher) *regex =
        fuse_message_new(arena, &envoy__type__matcher__v3__regex_matcher__descriptor);
    regex->regex = fuse_message_text(pattern);
    return regex;
}

static MATCHER(RegexMatcher) * regex_take(struct chassis_buf *pattern, struct chassis_arena *arena)
{
    MATCHER(RegexMatcher) *regex =
        regex_of(chassis_arena_strndup(arena, pattern->data, pattern->len), arena);
    chassis_buf_fini(pattern);
    return regex;
}

/* ---- values ---- */

static MATCHER(StringMatcher) *
    string_of(const struct fuse_string_match *value, struct chassis_arena *arena)
{
    MATCHER(StringMatcher) *matcher =
        fuse_message_new(arena, &envoy__type__matcher__v3__string_matcher__descriptor);
    char *text = fuse_message_text(value->text);
    switch (value->kind) {
    case FUSE_MATCH_EXACT:
        matcher->match_pattern_case = ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT;
        matcher->exact = text;
        break;
    case FUSE_MATCH_PREFIX:
        matcher->match_pattern_case =
            ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX;
        matcher->prefix = text;
        break;
    case FUSE_MATCH_SUFFIX:
        matcher->match_pattern_case =
            ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX;
        matcher->suffix = text;
        break;
    case FUSE_MATCH_CONTAINS:
        matcher->match_pattern_case =
            ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS;
        matcher->contains = text;
        break;
    case FUSE_MATCH_REGEX:
        matcher->match_pattern_case =
            ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX;
        matcher->safe_regex = regex_of(text, arena);
        break;
    case FUSE_MATCH_PRESENT:
        CHASSIS_ASSERT(false); /* has a field of its own */
    }
    return matcher;
}

/* ---- headers ---- */

static ROUTE(HeaderMatcher) * header_new(const char *name, struct chassis_arena *arena)
{
    ROUTE(HeaderMatcher) *header =
        fuse_message_new(arena, &envoy__config__route__v3__header_matcher__descriptor);
    header->name = fuse_message_text(name);
    return header;
}

static void header_present(ROUTE(HeaderMatcher) * header, bool invert)
{
    header->header_match_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PRESENT_MATCH;
    header->present_match = true;
    header->invert_match = invert;
}

static void header_regex(ROUTE(HeaderMatcher) * header, struct chassis_buf *pattern,
                         struct chassis_arena *arena)
{
    header->header_match_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SAFE_REGEX_MATCH;
    header->safe_regex_match = regex_take(pattern, arena);
}

static void header_string(ROUTE(HeaderMatcher) * header, const struct fuse_string_match *value,
                          struct chassis_arena *arena)
{
    header->header_match_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
    header->string_match = string_of(value, arena);
}

/* The fields that gRPC clients of every age know. grpc-js puts "^" and "$" around an expression
 * without parentheses, C core has no string_match, grpc-js no contains_match. */
static void header_proxyless(ROUTE(HeaderMatcher) * header, const struct fuse_string_match *value,
                             struct chassis_arena *arena)
{
    struct chassis_buf pattern = {0};
    char *text = fuse_message_text(value->text);
    switch (value->kind) {
    case FUSE_MATCH_EXACT:
        header->header_match_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_EXACT_MATCH;
        header->exact_match = text;
        return;
    case FUSE_MATCH_PREFIX:
        header->header_match_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PREFIX_MATCH;
        header->prefix_match = text;
        return;
    case FUSE_MATCH_SUFFIX:
        header->header_match_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_SUFFIX_MATCH;
        header->suffix_match = text;
        return;
    case FUSE_MATCH_CONTAINS:
    case FUSE_MATCH_REGEX:
        append_value(&pattern, value, ".*");
        header_regex(header, &pattern, arena);
        return;
    case FUSE_MATCH_PRESENT:
        CHASSIS_ASSERT(false);
    }
}

static bool is_inverted_value(const struct fuse_named_match *match)
{
    return match->value.invert && match->value.kind != FUSE_MATCH_PRESENT;
}

/* `absent`: this piece is about requests without the header. */
static ROUTE(HeaderMatcher) * header_of(const struct fuse_named_match *match,
                                        enum fuse_audience audience, bool absent,
                                        struct chassis_arena *arena)
{
    ROUTE(HeaderMatcher) *header = header_new(match->name, arena);
    if (match->value.kind == FUSE_MATCH_PRESENT) {
        header_present(header, match->value.invert);
        return header;
    }
    if (absent) {
        header_present(header, true);
        return header;
    }
    if (audience == FUSE_FOR_PROXYLESS) {
        header_proxyless(header, &match->value, arena);
    } else {
        header_string(header, &match->value, arena);
        header->treat_missing_header_as_empty = match->value.invert;
    }
    header->invert_match = match->value.invert;
    return header;
}

static ROUTE(HeaderMatcher) *
    header_of_methods(const struct fuse_route *route, struct chassis_arena *arena)
{
    ROUTE(HeaderMatcher) *header = header_new(":method", arena);
    if (route->n_methods == 1) {
        header_string(
            header,
            &(struct fuse_string_match){.kind = FUSE_MATCH_EXACT, .text = route->methods[0]},
            arena);
        return header;
    }
    struct chassis_buf pattern = {0};
    for (unsigned i = 0; i < route->n_methods; i++) {
        chassis_buf_append_str(&pattern, i != 0 ? "|" : "");
        append_quoted(&pattern, route->methods[i]);
    }
    const char *text = chassis_arena_strndup(arena, pattern.data, pattern.len);
    chassis_buf_fini(&pattern);
    header_string(header, &(struct fuse_string_match){.kind = FUSE_MATCH_REGEX, .text = text},
                  arena);
    return header;
}

/* Envoy has no inverted query parameter, but an inverted header, and the path is one. (Of a
 * parameter given twice each counts here, not only the first.) */
static ROUTE(HeaderMatcher) *
    header_of_query(const struct fuse_named_match *query, struct chassis_arena *arena)
{
    ROUTE(HeaderMatcher) *header = header_new(":path", arena);
    struct chassis_buf pattern = {0};
    chassis_buf_append_str(&pattern, "[^?]*\\?(?:[^&]*&)*");
    append_quoted(&pattern, query->name);
    if (query->value.kind == FUSE_MATCH_PRESENT) {
        chassis_buf_append_str(&pattern, "(?:[=&].*)?");
    } else {
        chassis_buf_append_str(&pattern, "=");
        append_value(&pattern, &query->value, "[^&]*");
        chassis_buf_append_str(&pattern, "(?:&.*)?");
    }
    const char *text = chassis_arena_strndup(arena, pattern.data, pattern.len);
    chassis_buf_fini(&pattern);
    header_string(header, &(struct fuse_string_match){.kind = FUSE_MATCH_REGEX, .text = text},
                  arena);
    header->invert_match = true;
    return header;
}

static void add_headers(ROUTE(RouteMatch) * match, const struct fuse_route *route,
                        enum fuse_audience audience, unsigned piece, struct chassis_arena *arena)
{
    size_t most = 1 + (size_t)route->n_headers + route->n_queries;
    match->headers = chassis_arena_alloc(arena, most * sizeof *match->headers);
    CHASSIS_ASSERT(match->headers != NULL);
    if (route->n_methods != 0 && audience == FUSE_FOR_ENVOY) {
        match->headers[match->n_headers++] = header_of_methods(route, arena);
    }
    for (unsigned i = 0; i < route->n_headers; i++) {
        const struct fuse_named_match *header = &route->headers[i];
        bool absent = false;
        if (audience == FUSE_FOR_PROXYLESS && is_inverted_value(header)) {
            absent = piece & 1;
            piece >>= 1;
        }
        match->headers[match->n_headers++] = header_of(header, audience, absent, arena);
    }
    for (unsigned i = 0; i < route->n_queries; i++) {
        if (route->queries[i].value.invert) {
            match->headers[match->n_headers++] = header_of_query(&route->queries[i], arena);
        }
    }
}

/* ---- query parameters ---- */

static void add_queries(ROUTE(RouteMatch) * match, const struct fuse_route *route,
                        struct chassis_arena *arena)
{
    match->query_parameters = chassis_arena_alloc(arena, ((size_t)route->n_queries + 1) *
                                                             sizeof *match->query_parameters);
    CHASSIS_ASSERT(match->query_parameters != NULL);
    for (unsigned i = 0; i < route->n_queries; i++) {
        const struct fuse_named_match *query = &route->queries[i];
        if (query->value.invert) {
            continue;
        }
        ROUTE(QueryParameterMatcher) *matcher =
            fuse_message_new(arena, &envoy__config__route__v3__query_parameter_matcher__descriptor);
        matcher->name = fuse_message_text(query->name);
        if (query->value.kind == FUSE_MATCH_PRESENT) {
            matcher->query_parameter_match_specifier_case =
                ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_PRESENT_MATCH;
            matcher->present_match = true;
        } else {
            matcher->query_parameter_match_specifier_case =
                ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_STRING_MATCH;
            matcher->string_match = string_of(&query->value, arena);
        }
        match->query_parameters[match->n_query_parameters++] = matcher;
    }
}

/* ---- the whole ---- */

/* A gRPC path is "/service/method": what can match none is ignored by C core, and a virtual host of
 * nothing else refused. */
static bool may_be_grpc_path(const struct fuse_route *route)
{
    bool is_prefix = route->path_kind == FUSE_PATH_PREFIX;
    if (route->path_kind == FUSE_PATH_REGEX || route->path[0] == '\0') {
        return true;
    }
    const char *service = route->path + 1, *slash = strchr(service, '/');
    if (slash == NULL) {
        return is_prefix;
    }
    return slash != service && strchr(slash + 1, '/') == NULL && (is_prefix || slash[1] != '\0');
}

static bool takes_post(const struct fuse_route *route)
{
    for (unsigned i = 0; i < route->n_methods; i++) {
        if (strcmp(route->methods[i], "POST") == 0) {
            return true;
        }
    }
    return route->n_methods == 0;
}

unsigned fuse_match_pieces(const struct fuse_route *route, enum fuse_audience audience)
{
    if (audience == FUSE_FOR_ENVOY) {
        return 1;
    }
    unsigned n_inverted = 0;
    for (unsigned i = 0; i < route->n_headers; i++) {
        n_inverted += is_inverted_value(&route->headers[i]);
    }
    bool followed = route->http2 && route->n_listeners == 0 && route->n_queries == 0 &&
                    route->prefix_rewrite[0] == '\0' && takes_post(route) &&
                    may_be_grpc_path(route) && n_inverted <= INVERTED_MAX;
    return followed ? 1U << n_inverted : 0;
}

ROUTE(RouteMatch) * fuse_match_build(const struct fuse_route *route, enum fuse_audience audience,
                                     unsigned piece, struct chassis_arena *arena)
{
    ROUTE(RouteMatch) *match =
        fuse_message_new(arena, &envoy__config__route__v3__route_match__descriptor);
    switch (route->path_kind) {
    case FUSE_PATH_EXACT:
        match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH;
        match->path = fuse_message_text(route->path);
        break;
    case FUSE_PATH_PREFIX:
        match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
        match->prefix = fuse_message_text(route->path);
        break;
    case FUSE_PATH_REGEX:
        match->path_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX;
        match->safe_regex = regex_of(chassis_arena_printf(arena, "(?:%s)", route->path), arena);
        break;
    }
    add_headers(match, route, audience, piece, arena);
    if (audience == FUSE_FOR_ENVOY) {
        add_queries(match, route, arena);
        if (route->grpc) {
            match->grpc = fuse_message_new(
                arena,
                &envoy__config__route__v3__route_match__grpc_route_match_options__descriptor);
        }
    }
    return match;
}
