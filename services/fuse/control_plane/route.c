#include "fuse/control_plane/route.h"

#include <stdlib.h>

#include "base/assert.h"
#include "fuse/control_plane/regex.h"

/* ---- copying: arrays first, then the encoded bytes, then texts, in one allocation ---- */

struct copy {
    struct fuse_route *route; /* NULL while measuring */
    uint8_t *arrays;
    char *texts;
    size_t arrays_len, texts_len;
};

static size_t aligned(size_t len)
{
    return (len + 7) & ~(size_t)7;
}

static void copy_text(struct copy *c, const char **text)
{
    if (*text == NULL || **text == '\0') {
        if (c->route != NULL) {
            *text = "";
        }
        return;
    }
    size_t len = strlen(*text) + 1;
    c->texts_len += len;
    if (c->route != NULL) {
        *text = memcpy(c->texts, *text, len);
        c->texts += len;
    }
}

/* Where the copy of an array is to be changed; NULL while measuring. */
static void *copy_array(struct copy *c, const void *array, size_t len)
{
    c->arrays_len += aligned(len);
    if (c->route == NULL || len == 0) {
        return NULL;
    }
    void *here = memcpy(c->arrays, array, len);
    c->arrays += aligned(len);
    return here;
}

static void copy_list(struct copy *c, const char *const **list, unsigned n)
{
    const char **copied = copy_array(c, *list, n * sizeof **list);
    for (unsigned i = 0; i < n; i++) {
        const char *text = (*list)[i];
        copy_text(c, copied != NULL ? &copied[i] : &text);
    }
    if (c->route != NULL) {
        *list = copied;
    }
}

static void copy_matches(struct copy *c, const struct fuse_named_match **matches, unsigned n)
{
    struct fuse_named_match *copied = copy_array(c, *matches, n * sizeof **matches);
    for (unsigned i = 0; i < n; i++) {
        struct fuse_named_match match = (*matches)[i];
        copy_text(c, copied != NULL ? &copied[i].name : &match.name);
        copy_text(c, copied != NULL ? &copied[i].value.text : &match.value.text);
    }
    if (c->route != NULL) {
        *matches = copied;
    }
}

static void copy_targets(struct copy *c, const struct fuse_target **targets, unsigned n)
{
    struct fuse_target *copied = copy_array(c, *targets, n * sizeof **targets);
    for (unsigned i = 0; i < n; i++) {
        struct fuse_target target = (*targets)[i];
        copy_text(c, copied != NULL ? &copied[i].service : &target.service);
        copy_text(c, copied != NULL ? &copied[i].host : &target.host);
    }
    if (c->route != NULL) {
        *targets = copied;
    }
}

/* Everything a route points to, `r` being the copy itself or, while measuring, a throw-away. */
static void copy_parts(struct copy *c, struct fuse_route *r)
{
    copy_matches(c, &r->headers, r->n_headers);
    copy_matches(c, &r->queries, r->n_queries);
    copy_targets(c, &r->targets, r->n_targets);
    copy_list(c, &r->methods, r->n_methods);
    copy_list(c, &r->listeners, r->n_listeners);
    copy_list(c, &r->groups, r->n_groups);
    void *encoded = copy_array(c, r->encoded.data, r->encoded.len);
    if (c->route != NULL) {
        r->encoded.data = encoded;
    }
    copy_text(c, &r->name);
    copy_text(c, &r->host);
    copy_text(c, &r->path);
    copy_text(c, &r->prefix_rewrite);
    copy_text(c, &r->hash_name);
}

struct fuse_route *fuse_route_new(const struct fuse_route *from)
{
    struct copy c = {0};
    struct fuse_route measured = *from;
    copy_parts(&c, &measured);
    size_t head = aligned(sizeof *from), arrays_len = c.arrays_len, texts_len = c.texts_len;
    uint8_t *memory = chassis_base_alloc(head + arrays_len + texts_len);
    struct fuse_route *route = (struct fuse_route *)(void *)memory;
    *route = *from;
    c = (struct copy){
        .route = route, .arrays = memory + head, .texts = (char *)memory + head + arrays_len};
    copy_parts(&c, route);
    CHASSIS_ASSERT(c.arrays_len == arrays_len && c.texts_len == texts_len);
    if (*route->host == '\0') {
        route->host = "*";
    }
    if (route->path_kind == FUSE_PATH_PREFIX && *route->path == '\0') {
        route->path = "/";
    }
    route->refs = 1;
    return route;
}

/* ---- life ---- */

struct fuse_route *fuse_route_ref(const struct fuse_route *route)
{
    struct fuse_route *r = (struct fuse_route *)(uintptr_t)route; /* constant but for the count */
    uint32_t before = __atomic_fetch_add(&r->refs, 1, __ATOMIC_RELAXED);
    CHASSIS_ASSERT(before != 0);
    return r;
}

void fuse_route_free_regexes(const struct fuse_route *route)
{
    fuse_regex_free(route->path_regex);
    for (unsigned i = 0; i < route->n_headers; i++) {
        fuse_regex_free(route->headers[i].value.regex);
    }
    for (unsigned i = 0; i < route->n_queries; i++) {
        fuse_regex_free(route->queries[i].value.regex);
    }
}

void fuse_route_unref(const struct fuse_route *route)
{
    struct fuse_route *r = (struct fuse_route *)(uintptr_t)route;
    if (r == NULL) {
        return;
    }
    uint32_t before = __atomic_fetch_sub(&r->refs, 1, __ATOMIC_ACQ_REL);
    CHASSIS_ASSERT(before != 0);
    if (before == 1) {
        fuse_route_free_regexes(r);
        free(r);
    }
}

/* ---- looking at it ---- */

unsigned fuse_route_conditions(const struct fuse_route *route)
{
    return (route->n_methods != 0) + route->n_headers + route->n_queries + route->grpc;
}

static bool in_list(const char *const *list, unsigned n, const char *text)
{
    bool found = n == 0;
    for (unsigned i = 0; i < n && !found; i++) {
        found = strcmp(list[i], text) == 0;
    }
    return found;
}

bool fuse_route_in_group(const struct fuse_route *route, const char *group)
{
    return in_list(route->groups, route->n_groups, group);
}

bool fuse_route_on_listener(const struct fuse_route *route, const char *listener)
{
    return in_list(route->listeners, route->n_listeners, listener);
}
