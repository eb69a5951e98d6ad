#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "fuse/control_plane/match.h"
#include "fuse/control_plane/regex.h"

enum { QUOTE_MAX = 80 };

void fuse_look_init(struct fuse_look *look, const struct fuse_request *request)
{
    const char *mark = strchr(request->path, '?');
    size_t len = mark != NULL ? (size_t)(mark - request->path) : strlen(request->path);
    *look = (struct fuse_look){
        .request = request,
        .path = chassis_view(request->path, len),
        .query = chassis_view_str(mark != NULL ? mark + 1 : ""),
    };
}

void fuse_look_fini(struct fuse_look *look)
{
    chassis_buf_fini(&look->joined);
}

void fuse_quote(struct chassis_view text, struct chassis_buf *out)
{
    chassis_buf_append_byte(out, '\'');
    size_t at = 0;
    while (at < text.len) {
        size_t n = chassis_utf8_len(text.data + at, text.len - at);
        if (at + n > QUOTE_MAX) {
            chassis_buf_append_str(out, "…");
            break;
        }
        bool printable = n > 1 || (n == 1 && text.data[at] >= ' ' && text.data[at] != 0x7f);
        chassis_buf_append(out, printable ? (const char *)text.data + at : "?", printable ? n : 1);
        at += n != 0 ? n : 1;
    }
    chassis_buf_append_byte(out, '\'');
}

static bool ends_with(struct chassis_view text, struct chassis_view end)
{
    return text.len >= end.len &&
           (end.len == 0 || memcmp(text.data + text.len - end.len, end.data, end.len) == 0);
}

static bool contains(struct chassis_view text, struct chassis_view part)
{
    return part.len == 0 ||
           (text.len >= part.len && memmem(text.data, text.len, part.data, part.len) != NULL);
}

static bool there_matches(const struct fuse_string_match *match, struct chassis_view value)
{
    struct chassis_view text = chassis_view_str(match->text);
    switch (match->kind) {
    case FUSE_MATCH_EXACT:
        return chassis_view_eq(value, text);
    case FUSE_MATCH_PREFIX:
        return chassis_view_starts_with(value, text);
    case FUSE_MATCH_SUFFIX:
        return ends_with(value, text);
    case FUSE_MATCH_CONTAINS:
        return contains(value, text);
    case FUSE_MATCH_REGEX:
        return fuse_regex_matches(match->regex, value);
    case FUSE_MATCH_PRESENT:
        return true;
    }
    return false;
}

bool fuse_string_matches(const struct fuse_string_match *match, const struct chassis_view *value)
{
    return (value != NULL && there_matches(match, *value)) != match->invert;
}

/* False = absent. */
static bool header_value(struct fuse_look *look, const char *name, struct chassis_view *ret_value)
{
    const struct fuse_request *request = look->request;
    unsigned found = 0;
    for (unsigned i = 0; i < request->n_headers; i++) {
        if (strcasecmp(request->headers[i].name, name) != 0) {
            continue;
        }
        if (found++ == 0) {
            *ret_value = chassis_view_str(request->headers[i].value);
            continue;
        }
        if (found == 2) {
            chassis_buf_clear(&look->joined);
            chassis_buf_append_view(&look->joined, *ret_value);
        }
        chassis_buf_append_byte(&look->joined, ',');
        chassis_buf_append_str(&look->joined, request->headers[i].value);
        *ret_value = chassis_buf_view(&look->joined);
    }
    return found > 0;
}

static bool query_value(struct fuse_look *look, const char *name, struct chassis_view *ret_value)
{
    struct chassis_view wanted = chassis_view_str(name), rest = look->query;
    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.data, '&', rest.len);
        size_t len = end != NULL ? (size_t)(end - rest.data) : rest.len;
        const uint8_t *is = len != 0 ? memchr(rest.data, '=', len) : NULL;
        size_t name_len = is != NULL ? (size_t)(is - rest.data) : len;
        if (len != 0 && chassis_view_eq(chassis_view(rest.data, name_len), wanted)) {
            *ret_value =
                is != NULL ? chassis_view(is + 1, len - name_len - 1) : chassis_view("", 0);
            return true;
        }
        size_t step = end != NULL ? len + 1 : len;
        rest = chassis_view(rest.data + step, rest.len - step);
    }
    return false;
}

static void say_path(struct chassis_view path, const char *how, const char *text,
                     struct chassis_buf *why)
{
    if (why != NULL) {
        chassis_buf_append_str(why, "path ");
        fuse_quote(path, why);
        chassis_buf_printf(why, " %s ", how);
        fuse_quote(chassis_view_str(text), why);
    }
}

static bool path_matches(const struct fuse_look *look, const struct fuse_route *route,
                         struct chassis_buf *why)
{
    struct chassis_view text = chassis_view_str(route->path);
    bool matches = false;
    const char *how = "";
    switch (route->path_kind) {
    case FUSE_PATH_EXACT:
        matches = chassis_view_eq(look->path, text);
        how = "is not";
        break;
    case FUSE_PATH_PREFIX:
        matches = chassis_view_starts_with(look->path, text);
        how = "does not begin with";
        break;
    case FUSE_PATH_REGEX:
        matches = fuse_regex_matches(route->path_regex, look->path);
        how = "does not match the regular expression";
        break;
    }
    if (!matches) {
        say_path(look->path, how, route->path, why);
    }
    return matches;
}

static bool method_matches(const struct fuse_look *look, const struct fuse_route *route,
                           struct chassis_buf *why)
{
    bool matches = route->n_methods == 0;
    for (unsigned i = 0; i < route->n_methods && !matches; i++) {
        matches = strcmp(route->methods[i], look->request->method) == 0;
    }
    if (!matches && why != NULL) {
        chassis_buf_append_str(why, "method ");
        fuse_quote(chassis_view_str(look->request->method), why);
        chassis_buf_append_str(why, route->n_methods == 1 ? " is not " : " is none of ");
        for (unsigned i = 0; i < route->n_methods; i++) {
            chassis_buf_printf(why, "%s%s", i > 0 ? ", " : "", route->methods[i]);
        }
    }
    return matches;
}

static bool grpc_matches(struct fuse_look *look, const struct fuse_route *route,
                         struct chassis_buf *why)
{
    static const char grpc[] = "application/grpc";
    struct chassis_view type = {0};
    if (!route->grpc) {
        return true;
    }
    bool there = header_value(look, "content-type", &type);
    if (there && chassis_view_starts_with(type, chassis_view_str(grpc))) {
        size_t len = sizeof grpc - 1;
        if (type.len == len || type.data[len] == '+' || type.data[len] == ';') {
            return true;
        }
    }
    if (why != NULL) {
        chassis_buf_append_str(why, "not a gRPC request: ");
        if (there) {
            chassis_buf_append_str(why, "content-type is ");
            fuse_quote(type, why);
        } else {
            chassis_buf_append_str(why, "content-type is absent");
        }
    }
    return false;
}

static const char *const words[][2] = {
    /*                       does not          does */
    [FUSE_MATCH_EXACT] = {"it is not", "it is"},
    [FUSE_MATCH_PREFIX] = {"it does not begin with", "it begins with"},
    [FUSE_MATCH_SUFFIX] = {"it does not end with", "it ends with"},
    [FUSE_MATCH_CONTAINS] = {"it does not contain", "it contains"},
    [FUSE_MATCH_REGEX] = {"it does not match the regular expression",
                          "it matches the regular expression"},
    [FUSE_MATCH_PRESENT] = {"it is absent", "it is there"},
};

/* Of a condition that failed. */
static void say_value(const char *what, const struct fuse_named_match *match,
                      const struct chassis_view *value, struct chassis_buf *why)
{
    chassis_buf_printf(why, "%s '%s' is ", what, match->name);
    if (value == NULL) {
        chassis_buf_append_str(why, "absent");
        return;
    }
    fuse_quote(*value, why);
    chassis_buf_printf(why, ": %s", words[match->value.kind][match->value.invert]);
    if (match->value.kind != FUSE_MATCH_PRESENT) {
        chassis_buf_append_byte(why, ' ');
        fuse_quote(chassis_view_str(match->value.text), why);
    }
    if (match->value.invert) {
        chassis_buf_append_str(why, ", which the route excludes");
    }
}

typedef bool (*value_fn)(struct fuse_look *look, const char *name, struct chassis_view *ret_value);

static bool named_match(struct fuse_look *look, const char *what, value_fn value_of,
                        const struct fuse_named_match *matches, unsigned n, struct chassis_buf *why)
{
    for (unsigned i = 0; i < n; i++) {
        struct chassis_view value;
        bool there = value_of(look, matches[i].name, &value);
        if (!fuse_string_matches(&matches[i].value, there ? &value : NULL)) {
            if (why != NULL) {
                say_value(what, &matches[i], there ? &value : NULL, why);
            }
            return false;
        }
    }
    return true;
}

bool fuse_look_matches(struct fuse_look *look, const struct fuse_route *route,
                       struct chassis_buf *why)
{
    return path_matches(look, route, why) && method_matches(look, route, why) &&
           grpc_matches(look, route, why) &&
           named_match(look, "header", header_value, route->headers, route->n_headers, why) &&
           named_match(look, "query parameter", query_value, route->queries, route->n_queries, why);
}
