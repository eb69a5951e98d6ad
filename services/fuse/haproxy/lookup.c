#include <stdlib.h>

#include "base/assert.h"
#include "fuse/haproxy/condition.h"
#include "fuse/haproxy/lookup.h"

/* A route whose path is no regular expression. */
struct path_ref {
    const char *path;
    unsigned index; /* in order of precedence */
    bool exact;
};
/* Equal paths of one kind: refs[start … end). */
struct span {
    unsigned start, end;
};
struct indexes {
    unsigned *items, n, cap;
};
/* The work on one virtual host. */
struct builder {
    struct fuse_lookup *lookup;
    const struct fuse_lookup_route *routes;
    unsigned number; /* of the virtual host */
    struct path_ref *refs;
    unsigned n_refs;
    unsigned *regexes;
    unsigned n_regexes;
    struct span *above; /* prefixes of the present path, shortest first */
    unsigned n_above, above_cap;
    struct indexes candidates, list;
};

void fuse_lookup_fini(struct fuse_lookup *lookup)
{
    struct chassis_buf *bufs[] = {&lookup->hosts,  &lookup->wild,    &lookup->exact,
                                  &lookup->prefix, &lookup->classes, &lookup->rules};
    for (unsigned i = 0; i < sizeof bufs / sizeof bufs[0]; i++) {
        chassis_buf_fini(bufs[i]);
    }
    fuse_condition_headers_fini(&lookup->headers);
    fuse_texts_fini(&lookup->lists);
}

bool fuse_lookup_is_too_large(const struct fuse_lookup *lookup)
{
    return lookup->n_rules > FUSE_LOOKUP_RULES_MAX;
}

static void push(struct indexes *list, unsigned index)
{
    if (list->n == list->cap) {
        list->cap = list->cap == 0 ? 64 : list->cap * 2;
        list->items = chassis_base_realloc(list->items, list->cap * sizeof *list->items);
    }
    list->items[list->n++] = index;
}

static bool needs_rule(const struct fuse_route *route)
{
    return route->path_kind == FUSE_PATH_REGEX || route->n_headers != 0 || route->n_queries != 0;
}

static bool needs_class(const struct fuse_route *route)
{
    return route->grpc || route->n_methods != 0;
}

static int by_number(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x < y ? -1 : x > y;
}

/* Everything that can match at a place, in order, up to the first that always does. */
static void collect(struct builder *b, const struct span *own)
{
    struct indexes *c = &b->candidates;
    c->n = 0;
    for (unsigned i = 0; i < b->n_above + (own != NULL); i++) {
        const struct span *span = i < b->n_above ? &b->above[i] : own;
        for (unsigned r = span->start; r < span->end; r++) {
            push(c, b->refs[r].index);
        }
    }
    if (c->n > 1) {
        qsort(c->items, c->n, sizeof *c->items, by_number);
    }
    unsigned limit = (unsigned)-1;
    for (unsigned i = 0; i < c->n; i++) {
        const struct fuse_route *route = b->routes[c->items[i]].route;
        if (!needs_rule(route) && !needs_class(route)) {
            limit = c->items[i];
            c->n = i + 1;
        }
    }
    unsigned before = c->n;
    for (unsigned i = 0; i < b->n_regexes && b->regexes[i] < limit; i++) {
        push(c, b->regexes[i]);
    }
    if (c->n > before && before != 0) {
        qsort(c->items, c->n, sizeof *c->items, by_number);
    }
}

static bool has_method(const struct fuse_route *route, const char *method)
{
    for (unsigned i = 0; i < route->n_methods; i++) {
        if (method != NULL && strcmp(route->methods[i], method) == 0) {
            return true;
        }
    }
    return route->n_methods == 0;
}

static void write_rules(struct builder *b, unsigned number)
{
    struct fuse_lookup *l = b->lookup;
    for (unsigned i = 0; i < b->list.n && !fuse_lookup_is_too_large(l); i++) {
        const struct fuse_lookup_route *r = &b->routes[b->list.items[i]];
        chassis_buf_printf(&l->rules, "    use_backend %s if { var(txn.n) -m str !%u }", r->pool,
                           number);
        fuse_condition_write(r->route, &l->headers, &l->rules);
        chassis_buf_append_byte(&l->rules, '\n');
        l->n_rules++;
    }
}

/* The place of the requests of a method (NULL = any that is not named) that are gRPC or not. */
static void write_place(struct builder *b, bool grpc, const char *method, struct chassis_buf *out)
{
    struct fuse_lookup *l = b->lookup;
    b->list.n = 0;
    for (unsigned i = 0; i < b->candidates.n; i++) {
        const struct fuse_lookup_route *r = &b->routes[b->candidates.items[i]];
        if ((r->route->grpc && !grpc) || !has_method(r->route, method)) {
            continue;
        }
        if (b->list.n == 0 && !needs_rule(r->route)) {
            chassis_buf_append_str(out, r->pool);
            return;
        }
        push(&b->list, b->candidates.items[i]);
        if (!needs_rule(r->route)) {
            break;
        }
    }
    if (b->list.n == 0) {
        chassis_buf_append_str(out, "!0"); /* nothing matches */
        return;
    }
    struct chassis_buf key = {0};
    chassis_buf_printf(&key, "%u ", b->number);
    chassis_buf_append(&key, b->list.items, b->list.n * sizeof *b->list.items);
    bool is_new = false;
    uint32_t number = fuse_texts_put(&l->lists, chassis_buf_view(&key), l->n_lists + 1, &is_new);
    chassis_buf_fini(&key);
    if (is_new) {
        l->n_lists++;
        write_rules(b, number);
    }
    chassis_buf_printf(out, "!%u", (unsigned)number);
}

static void write_class(struct builder *b, unsigned place, bool grpc, const char *method)
{
    struct chassis_buf *out = &b->lookup->classes;
    chassis_buf_printf(out, "?%u.%s%s%s ", place, grpc ? "g" : "", method != NULL ? "." : "",
                       method != NULL ? method : "");
    write_place(b, grpc, method, out);
    chassis_buf_append_byte(out, '\n');
}

/* Candidate i names this method first. */
static bool is_first_with(const struct builder *b, unsigned i, unsigned m)
{
    const char *method = b->routes[b->candidates.items[i]].route->methods[m];
    for (unsigned before = 0; before <= i; before++) {
        const struct fuse_route *route = b->routes[b->candidates.items[before]].route;
        unsigned n = before < i ? route->n_methods : m;
        for (unsigned k = 0; k < n; k++) {
            if (strcmp(route->methods[k], method) == 0) {
                return false;
            }
        }
    }
    return true;
}

static void write_classes(struct builder *b, unsigned place)
{
    write_class(b, place, false, NULL);
    write_class(b, place, true, NULL);
    for (unsigned i = 0; i < b->candidates.n; i++) {
        const struct fuse_route *route = b->routes[b->candidates.items[i]].route;
        for (unsigned m = 0; m < route->n_methods; m++) {
            if (fuse_text_is_key(route->methods[m]) && is_first_with(b, i, m)) {
                write_class(b, place, false, route->methods[m]);
                write_class(b, place, true, route->methods[m]);
            }
        }
    }
}

static void write_path(struct builder *b, const char *path, const struct span *own,
                       struct chassis_buf *out)
{
    collect(b, own);
    chassis_buf_printf(out, "%u:%s ", b->number, path);
    bool classes = false;
    for (unsigned i = 0; i < b->candidates.n; i++) {
        classes = classes || needs_class(b->routes[b->candidates.items[i]].route);
    }
    if (classes) {
        unsigned place = ++b->lookup->n_places;
        chassis_buf_printf(out, "?%u", place);
        write_classes(b, place);
    } else {
        write_place(b, false, NULL, out);
    }
    chassis_buf_append_byte(out, '\n');
}

/* By path, prefixes before the exact one, then by precedence. */
static int by_path(const void *a, const void *b)
{
    const struct path_ref *x = a, *y = b;
    int by = strcmp(x->path, y->path);
    if (by == 0) {
        by = (int)x->exact - (int)y->exact;
    }
    return by != 0 ? by : by_number(&x->index, &y->index);
}

static void leave_others(struct builder *b, const char *path)
{
    while (b->n_above != 0) {
        const char *prefix = b->refs[b->above[b->n_above - 1].start].path;
        if (strncmp(path, prefix, strlen(prefix)) == 0) {
            return;
        }
        b->n_above--;
    }
}

static void enter(struct builder *b, struct span span)
{
    if (b->n_above == b->above_cap) {
        b->above_cap = b->above_cap == 0 ? 16 : b->above_cap * 2;
        b->above = chassis_base_realloc(b->above, b->above_cap * sizeof *b->above);
    }
    b->above[b->n_above++] = span;
}

static struct span span_from(const struct builder *b, unsigned start)
{
    struct span span = {start, start};
    const struct path_ref *first = &b->refs[start];
    while (span.end < b->n_refs && b->refs[span.end].exact == first->exact &&
           strcmp(b->refs[span.end].path, first->path) == 0) {
        span.end++;
    }
    return span;
}

static void write_paths(struct builder *b)
{
    unsigned start = 0;
    if (b->n_refs != 0 && b->refs[0].path[0] == '\0' && !b->refs[0].exact) {
        enter(b, span_from(b, 0));
        start = b->above[0].end;
    }
    write_path(b, "", NULL, &b->lookup->prefix);
    for (struct span span; start < b->n_refs; start = span.end) {
        span = span_from(b, start);
        const struct path_ref *first = &b->refs[start];
        leave_others(b, first->path);
        if (first->exact) {
            write_path(b, first->path, &span, &b->lookup->exact);
        } else {
            enter(b, span);
            write_path(b, first->path, NULL, &b->lookup->prefix);
        }
    }
}

static void take_apart(struct builder *b, unsigned n)
{
    b->refs = chassis_base_alloc(n * sizeof *b->refs);
    b->regexes = chassis_base_alloc(n * sizeof *b->regexes);
    for (unsigned i = 0; i < n; i++) {
        const struct fuse_route *route = b->routes[i].route;
        if (route->path_kind == FUSE_PATH_REGEX) {
            b->regexes[b->n_regexes++] = i;
        } else if (fuse_text_is_key(route->path)) {
            b->refs[b->n_refs++] =
                (struct path_ref){route->path, i, route->path_kind == FUSE_PATH_EXACT};
        }
    }
    qsort(b->refs, b->n_refs, sizeof *b->refs, by_path);
}

/* "*.a.b" stands in `wild` as "a.b"; a request's host is asked for its last 2 labels then. */
static bool add_name(struct fuse_lookup *lookup, const char *host, unsigned number)
{
    if (strcmp(host, "*") == 0) {
        lookup->any_host = number;
        return true;
    }
    if (!fuse_text_is_key(host) || host[0] == '#') {
        return false;
    }
    if (strncmp(host, "*.", 2) != 0) {
        chassis_buf_printf(&lookup->hosts, "%s %u\n", host, number);
        return true;
    }
    unsigned labels = 1;
    for (const char *dot = host + 2; (dot = strchr(dot, '.')) != NULL; dot++) {
        labels++;
    }
    if (labels >= 128) {
        return false;
    }
    lookup->wild_labels[labels / 8] |= (uint8_t)(1u << labels % 8);
    chassis_buf_printf(&lookup->wild, "%s %u\n", host + 2, number);
    return true;
}

void fuse_lookup_add_host(struct fuse_lookup *lookup, const char *host,
                          const struct fuse_lookup_route *routes, unsigned n)
{
    if (n == 0 || !add_name(lookup, host, lookup->n_hosts + 1)) {
        return;
    }
    struct builder b = {.lookup = lookup, .routes = routes, .number = ++lookup->n_hosts};
    take_apart(&b, n);
    write_paths(&b);
    free(b.refs);
    free(b.regexes);
    free(b.above);
    free(b.candidates.items);
    free(b.list.items);
}
