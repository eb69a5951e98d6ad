#include <stdio.h>
#include <string.h>

#include "fuse/control_plane/match.h"
#include "fuse/control_plane/order.h"
#include "fuse/control_plane/regex.h"
#include "fuse/control_plane/shadow.h"

static bool has(struct chassis_view text, const struct fuse_string_match *match)
{
    struct fuse_string_match plain = *match;
    plain.invert = false;
    return fuse_string_matches(&plain, &text);
}

static bool same_match(const struct fuse_string_match *a, const struct fuse_string_match *b)
{
    return a->kind == b->kind && strcmp(a->text, b->text) == 0;
}

/* Of two beginnings one continues the other, so that a text can have both. */
static bool prefixes_agree(struct chassis_view a, struct chassis_view b)
{
    return chassis_view_starts_with(a, b) || chassis_view_starts_with(b, a);
}

static bool suffixes_agree(struct chassis_view a, struct chassis_view b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    return n == 0 || memcmp(a.data + a.len - n, b.data + b.len - n, n) == 0;
}

/* Whatever the value, if there is one that matches `b` it matches `a`; neither looked at inverted. */
static bool implies(const struct fuse_string_match *b, const struct fuse_string_match *a)
{
    struct chassis_view text = chassis_view_str(b->text);
    if (a->kind == FUSE_MATCH_PRESENT || same_match(a, b)) {
        return true;
    }
    switch (b->kind) {
    case FUSE_MATCH_EXACT:
        return has(text, a);
    case FUSE_MATCH_PREFIX: /* what the known part of the value has, the value has */
        return (a->kind == FUSE_MATCH_PREFIX || a->kind == FUSE_MATCH_CONTAINS) && has(text, a);
    case FUSE_MATCH_SUFFIX:
        return (a->kind == FUSE_MATCH_SUFFIX || a->kind == FUSE_MATCH_CONTAINS) && has(text, a);
    case FUSE_MATCH_CONTAINS:
        return a->kind == FUSE_MATCH_CONTAINS && has(text, a);
    case FUSE_MATCH_REGEX:
    case FUSE_MATCH_PRESENT:
        break;
    }
    return false;
}

/* No value matches both; neither looked at inverted. */
static bool excludes(const struct fuse_string_match *b, const struct fuse_string_match *a)
{
    struct chassis_view x = chassis_view_str(a->text), y = chassis_view_str(b->text);
    if (b->kind == FUSE_MATCH_EXACT) {
        return !has(y, a);
    }
    if (a->kind == FUSE_MATCH_EXACT) {
        return !has(x, b);
    }
    if (a->kind == FUSE_MATCH_PREFIX && b->kind == FUSE_MATCH_PREFIX) {
        return !prefixes_agree(x, y);
    }
    return a->kind == FUSE_MATCH_SUFFIX && b->kind == FUSE_MATCH_SUFFIX && !suffixes_agree(x, y);
}

static bool string_covers(const struct fuse_string_match *a, const struct fuse_string_match *b)
{
    if (!b->invert) {
        return a->invert ? excludes(b, a) : implies(b, a);
    }
    /* Absent values match `b`, so they must match `a`; of the others by contraposition. */
    return a->invert && implies(a, b);
}

/* Every condition of `a` follows from one of `b`. */
static bool named_cover(const struct fuse_named_match *a, unsigned n_a,
                        const struct fuse_named_match *b, unsigned n_b)
{
    for (unsigned i = 0; i < n_a; i++) {
        bool covered = false;
        for (unsigned j = 0; j < n_b && !covered; j++) {
            covered = strcmp(a[i].name, b[j].name) == 0 && string_covers(&a[i].value, &b[j].value);
        }
        if (!covered) {
            return false;
        }
    }
    return true;
}

/* Every text in `b` is in `a`; none = all. */
static bool list_covers(const char *const *a, unsigned n_a, const char *const *b, unsigned n_b)
{
    if (n_a == 0) {
        return true;
    }
    for (unsigned i = 0; i < n_b; i++) {
        bool found = false;
        for (unsigned j = 0; j < n_a && !found; j++) {
            found = strcmp(a[j], b[i]) == 0;
        }
        if (!found) {
            return false;
        }
    }
    return n_b > 0;
}

static bool lists_meet(const char *const *a, unsigned n_a, const char *const *b, unsigned n_b)
{
    if (n_a == 0 || n_b == 0) {
        return true;
    }
    for (unsigned i = 0; i < n_a; i++) {
        if (list_covers(b, n_b, &a[i], 1)) {
            return true;
        }
    }
    return false;
}

/* What every text that matches the expression surely begins with: its characters up to the first that
 * means something; nothing if there are alternatives. */
static struct chassis_view literal_beginning(const char *pattern)
{
    size_t len = strcspn(pattern, "\\^$.[]|()?*+{}");
    if (strchr(pattern, '|') != NULL) {
        len = 0;
    } else if (len > 0 && strchr("?*{", pattern[len]) != NULL && pattern[len] != '\0') {
        len--; /* the last one need not be there */
    }
    return chassis_view(pattern, len);
}

static bool path_covers(const struct fuse_route *a, const struct fuse_route *b)
{
    struct chassis_view x = chassis_view_str(a->path), y = chassis_view_str(b->path);
    switch (a->path_kind) {
    case FUSE_PATH_EXACT:
        return b->path_kind == FUSE_PATH_EXACT && chassis_view_eq(x, y);
    case FUSE_PATH_PREFIX:
        return chassis_view_starts_with(
            b->path_kind == FUSE_PATH_REGEX ? literal_beginning(b->path) : y, x);
    case FUSE_PATH_REGEX:
        return b->path_kind == FUSE_PATH_REGEX
                   ? chassis_view_eq(x, y)
                   : b->path_kind == FUSE_PATH_EXACT && fuse_regex_matches(a->path_regex, y);
    }
    return false;
}

/* Of a request at a host both have. */
static bool request_covers(const struct fuse_route *a, const struct fuse_route *b)
{
    return path_covers(a, b) && (b->grpc || !a->grpc) &&
           list_covers(a->methods, a->n_methods, b->methods, b->n_methods) &&
           named_cover(a->headers, a->n_headers, b->headers, b->n_headers) &&
           named_cover(a->queries, a->n_queries, b->queries, b->n_queries);
}

/* "*.b" has "x.b" and "*.x.b". */
static bool host_covers(const char *a, const char *b)
{
    if (strcmp(a, b) == 0 || strcmp(a, "*") == 0) {
        return true;
    }
    return strcmp(b, "*") != 0 && a[0] == '*' && fuse_host_matches(a, b);
}

bool fuse_covers(const struct fuse_route *a, const struct fuse_route *b)
{
    return host_covers(a->host, b->host) &&
           list_covers(a->groups, a->n_groups, b->groups, b->n_groups) &&
           list_covers(a->listeners, a->n_listeners, b->listeners, b->n_listeners) &&
           request_covers(a, b);
}

/* Only their age decides which comes first, and some proxy has both. */
static bool conflict(const struct fuse_route *a, const struct fuse_route *b)
{
    return a->priority == b->priority && a->path_kind == b->path_kind &&
           fuse_route_conditions(a) == fuse_route_conditions(b) && request_covers(a, b) &&
           request_covers(b, a) && lists_meet(a->groups, a->n_groups, b->groups, b->n_groups) &&
           lists_meet(a->listeners, a->n_listeners, b->listeners, b->n_listeners);
}

static void check_before(const struct fuse_entry *first, const struct fuse_entry *entry,
                         struct fuse_problems *problems)
{
    struct chassis_buf why = {0};
    fuse_order_reason(first, entry, &why);
    fuse_problem_warning(problems, "match", first->route->name,
                         "gets no request: route '%s' takes all of them, because %.*s",
                         first->route->name, CHASSIS_VIEW_ARG(chassis_buf_view(&why)));
    chassis_buf_fini(&why);
}

static void check_other(const struct fuse_entry *other, const struct fuse_entry *entry,
                        bool *shadowed, struct fuse_problems *problems)
{
    const struct fuse_route *route = entry->route, *theirs = other->route;
    const char *name = theirs->name;
    if (conflict(theirs, route)) {
        fuse_problem_error(problems, "match",
                           "the same match and priority as route '%s': the older one would always "
                           "win; change a match or the priority, or delete one of the two",
                           name);
    } else if (fuse_order(other, entry) < 0) {
        if (!*shadowed && fuse_covers(theirs, route)) {
            *shadowed = true;
            check_before(other, entry, problems);
        }
    } else if (fuse_covers(route, theirs)) {
        fuse_problem_warning(problems, "match", name,
                             "takes all requests of route '%s', which comes later and gets none",
                             name);
    }
}

static void check_targets(const struct fuse_model *model, const struct fuse_route *route,
                          struct fuse_problems *problems)
{
    for (unsigned i = 0; i < route->n_targets; i++) {
        const char *name = route->targets[i].service;
        const struct fuse_service *service = fuse_model_service(model, name);
        if (name[0] != '\0' && (service == NULL || service->n_instances == 0)) {
            char field[sizeof(((struct fuse_problem *)NULL)->field)];
            snprintf(field, sizeof field, "targets[%u].service", i);
            fuse_problem_warning(problems, field, "",
                                 "no instance of service '%s' is registered: requests fail until "
                                 "one is",
                                 name);
        }
    }
}

void fuse_shadow_check(const struct fuse_model *model, const struct fuse_route *route,
                       struct fuse_problems *problems)
{
    const struct fuse_entry *old = fuse_model_route(model, route->name);
    struct fuse_entry entry = {
        .route = route,
        .created_version = old != NULL ? old->created_version : UINT64_MAX,
    };
    const struct fuse_vhost *vhost = fuse_model_vhost(model, route->host);
    bool shadowed = false;
    for (unsigned i = 0; vhost != NULL && i < vhost->n_entries; i++) {
        if (vhost->entries[i] != old) {
            check_other(vhost->entries[i], &entry, &shadowed, problems);
        }
    }
    check_targets(model, route, problems);
}
