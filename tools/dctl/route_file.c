/* Reading files of routes: text -> tree -> checked against the message -> route. */
#include <stdlib.h>
#include <string.h>

#include <google/protobuf/duration.pb-c.h>

#include "config/yaml.h"
#include "routes.h"

struct reading {
    struct dctl *d;
    const char *name; /* of the file, for errors */
    struct dctl_routes *routes;
    struct chassis_error *err;
    bool blame; /* the route was refused: which field is it? */
};

/* --- text to trees --- */

static struct dctl_node *node_of_yaml(struct chassis_arena *a, const struct chassis_yaml_node *y,
                                      unsigned before)
{
    struct dctl_node *node = y->kind == CHASSIS_YAML_MAP ? dctl_map(a) : dctl_list(a);
    node->line = before + y->line;
    if (y->kind != CHASSIS_YAML_SCALAR) {
        for (const struct chassis_yaml_node *n = y->first; n != NULL; n = n->next) {
            dctl_add(node, n->key != NULL ? chassis_arena_strdup(a, n->key) : NULL,
                     node_of_yaml(a, n, before));
        }
        return node;
    }
    node->kind = y->text == NULL ? DCTL_NULL : DCTL_TEXT;
    if (y->text != NULL) {
        node->text = chassis_arena_copy(a, chassis_view(y->text, strlen(y->text) + 1));
        node->text.len--;
        node->boolean = strcmp(y->text, "true") == 0;
        if (y->plain && (node->boolean || strcmp(y->text, "false") == 0)) {
            node->kind = DCTL_BOOL;
        }
    }
    return node;
}

static int wrong(const struct reading *r, const struct dctl_node *at, const char *what,
                 const char *quoted)
{
    if (at->line == 0) {
        return chassis_error_set(r->err, CHASSIS_INVALID_ARGUMENT, "%s: %s '%s'", r->name, what,
                                 quoted);
    }
    return chassis_error_set(r->err, CHASSIS_INVALID_ARGUMENT, "%s:%u: %s '%s'", r->name, at->line,
                             what, quoted);
}

/* --- trees to routes --- */

static int fit(const struct reading *r, const ProtobufCMessageDescriptor *type,
               struct dctl_node *map, const char *path);

/* "250ms", "5s", "2m" as JSON says it; what is none of these is left for the parser to refuse. */
static void fit_duration(const struct reading *r, struct dctl_node *node)
{
    uint64_t ms;
    if ((node->kind == DCTL_TEXT || node->kind == DCTL_LITERAL) &&
        dctl_parse_duration_ms((const char *)node->text.data, &ms) == 0) {
        node->text = chassis_view_str(chassis_arena_printf(
            &r->d->arena, "%llu.%03us", (unsigned long long)(ms / 1000), (unsigned)(ms % 1000)));
        node->kind = DCTL_TEXT;
    }
}

static int fit_value(const struct reading *r, const ProtobufCFieldDescriptor *f,
                     struct dctl_node *node, const char *path)
{
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        if (f->descriptor == &google__protobuf__duration__descriptor) {
            fit_duration(r, node);
            return 0;
        }
        return node->kind == DCTL_MAP    ? fit(r, f->descriptor, node, path)
               : node->kind == DCTL_NULL ? 0
                                         : wrong(r, node, "a map of fields is expected at", path);
    }
    if (node->kind == DCTL_MAP || node->kind == DCTL_LIST) {
        return wrong(r, node, "one value is expected at", path);
    }
    if (f->type == PROTOBUF_C_TYPE_STRING && node->kind == DCTL_BOOL) {
        node->text = chassis_view_str(node->boolean ? "true" : "false");
        node->kind = DCTL_TEXT;
    } else if (f->type == PROTOBUF_C_TYPE_STRING && node->kind == DCTL_LITERAL) {
        node->kind = DCTL_TEXT;
    }
    return 0;
}

static int fit_list(const struct reading *r, const ProtobufCFieldDescriptor *f,
                    struct dctl_node *list, const char *path)
{
    unsigned i = 0;
    if (list->kind == DCTL_NULL) {
        return 0;
    }
    if (list->kind != DCTL_LIST) {
        return wrong(r, list, "a list is expected at", path);
    }
    for (struct dctl_node *n = list->first; n != NULL; n = n->next) {
        const char *item = chassis_arena_printf(&r->d->arena, "%s[%u]", path, i++);
        int rc = fit_value(r, f, n, item);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int parse(const struct reading *r, const ProtobufCMessageDescriptor *type,
                 const struct dctl_node *map, ProtobufCMessage **ret_message,
                 struct chassis_error *err)
{
    struct chassis_buf json = {0};
    dctl_write_json(map, -1, &json);
    int rc = chassis_json_parse(type, chassis_buf_view(&json), dctl_types(), false, &r->d->arena,
                                ret_message, err);
    chassis_buf_fini(&json);
    return rc;
}

/* Is it this value that the parser does not take? */
static int blame_value(const struct reading *r, const ProtobufCMessageDescriptor *type,
                       const struct dctl_node *node, const char *path)
{
    struct chassis_error err = {0};
    struct dctl_node *map = dctl_map(&r->d->arena);
    struct dctl_node *alone = chassis_arena_alloc(&r->d->arena, sizeof *alone);
    ProtobufCMessage *message;
    *alone = *node;
    alone->next = NULL;
    dctl_add(map, node->key, alone);
    if (parse(r, type, map, &message, &err) == 0) {
        return 0;
    }
    const char *place = strstr(err.text, "column ");
    const char *why = place != NULL ? strstr(place, ": ") : NULL;
    return node->line != 0 ? chassis_error_set(r->err, err.code, "%s:%u: %s: %s", r->name,
                                               node->line, path, why != NULL ? why + 2 : err.text)
                           : chassis_error_set(r->err, err.code, "%s: %s: %s", r->name, path,
                                               why != NULL ? why + 2 : err.text);
}

static bool is_value(const ProtobufCFieldDescriptor *f)
{
    return f->type != PROTOBUF_C_TYPE_MESSAGE ||
           f->descriptor == &google__protobuf__duration__descriptor;
}

/* Check that every key is a field, and put values into the form that the parser of JSON takes. */
static int fit(const struct reading *r, const ProtobufCMessageDescriptor *type,
               struct dctl_node *map, const char *path)
{
    for (struct dctl_node *n = map->first; n != NULL; n = n->next) {
        const char *here =
            path[0] != '\0' ? chassis_arena_printf(&r->d->arena, "%s.%s", path, n->key) : n->key;
        const ProtobufCFieldDescriptor *f = dctl_field_of(type, n->key);
        int rc = f == NULL                               ? wrong(r, n, "there is no field", here)
                 : f->label == PROTOBUF_C_LABEL_REPEATED ? fit_list(r, f, n, here)
                                                         : fit_value(r, f, n, here);
        if (rc == 0 && r->blame && is_value(f)) {
            rc = blame_value(r, type, n, here);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int add_route(const struct reading *r, struct dctl_node *map)
{
    struct dctl_routes *routes = r->routes;
    struct dctl_node *said = dctl_map(&r->d->arena);
    said->line = map->line;
    for (struct dctl_node *n = map->first, *next; n != NULL; n = next) {
        next = n->next;
        n->next = NULL;
        if (strcmp(n->key, "status") != 0) { /* what Fuse knows is not what a file says */
            dctl_add(said, n->key, n);
        }
    }
    const ProtobufCMessageDescriptor *type =
        &core__control_plane__networking__v1__route__descriptor;
    struct chassis_error err = {0};
    ProtobufCMessage *message;
    int rc = fit(r, type, said, "");
    if (rc != 0) {
        return rc;
    }
    if (parse(r, type, said, &message, &err) != 0) {
        struct reading again = *r;
        again.blame = true;
        rc = fit(&again, type, said, "");
        if (rc == 0) {
            rc = chassis_error_set(r->err, err.code, "%s, route at line %u: %s", r->name,
                                   said->line != 0 ? said->line : 1, err.text);
        }
        return rc;
    }
    if (routes->n == routes->cap) {
        size_t cap = routes->cap != 0 ? routes->cap * 2 : 16;
        route_message **more = chassis_arena_alloc(&r->d->arena, cap * sizeof *more);
        if (routes->n != 0) {
            memcpy(more, routes->items, routes->n * sizeof *more);
        }
        routes->items = more;
        routes->cap = cap;
    }
    void *any = message;
    routes->items[routes->n++] = any;
    return 0;
}

static int add_routes(const struct reading *r, struct dctl_node *node)
{
    struct dctl_node *list = node;
    if (node->kind == DCTL_MAP && node->first == node->last && node->first != NULL &&
        strcmp(node->first->key, "routes") == 0) {
        list = node->first;
    }
    if (list->kind == DCTL_MAP) {
        return add_route(r, list);
    }
    if (list->kind != DCTL_LIST) {
        return wrong(r, node, "a route is a map of fields, not", (const char *)node->text.data);
    }
    int rc = 0;
    for (struct dctl_node *n = list->first, *next; rc == 0 && n != NULL; n = next) {
        next = n->next;
        rc = n->kind == DCTL_MAP ? add_route(r, n)
                                 : wrong(r, n, "a route is a map of fields, not", "a single value");
    }
    return rc;
}

static int read_json(const struct reading *r, struct chassis_view text)
{
    int rc = 0;
    for (;;) {
        struct chassis_view one = dctl_json_next(&text);
        struct dctl_node *node;
        if (one.len == 0 || rc != 0) {
            return rc;
        }
        rc = dctl_json_parse(&r->d->arena, one, &node, r->err);
        rc = rc != 0 ? chassis_error_wrap(r->err, "%s", r->name) : add_routes(r, node);
    }
}

/* One document; `before` lines of the file stand before it. */
static int read_document(const struct reading *r, struct chassis_view text, unsigned before)
{
    struct chassis_yaml *yaml;
    const char *name =
        before == 0
            ? r->name
            : chassis_arena_printf(&r->d->arena, "%s, the part after line %u", r->name, before);
    int rc = chassis_yaml_parse(text, name, &yaml, r->err);
    if (rc != 0) {
        return rc;
    }
    const struct chassis_yaml_node *root = chassis_yaml_root(yaml);
    struct dctl_node *node = root != NULL ? node_of_yaml(&r->d->arena, root, before) : NULL;
    chassis_yaml_free(yaml);
    return node != NULL && node->kind != DCTL_NULL ? add_routes(r, node) : 0;
}

/* "---" or "..." alone, at the beginning of a line. */
static bool is_border(const uint8_t *line, size_t len)
{
    if (len < 3 || (memcmp(line, "---", 3) != 0 && memcmp(line, "...", 3) != 0)) {
        return false;
    }
    for (size_t i = 3; i < len && line[i] != '#'; i++) {
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') {
            return false;
        }
    }
    return true;
}

static int read_yaml(const struct reading *r, struct chassis_view text)
{
    size_t start = 0, at = 0;
    unsigned line = 0, before = 0;
    int rc = 0;
    while (rc == 0 && at < text.len) {
        const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
        size_t next = end != NULL ? (size_t)(end - text.data) + 1 : text.len;
        line++;
        if (is_border(text.data + at, next - at - (end != NULL))) {
            rc = read_document(r, chassis_view(text.data + start, at - start), before);
            start = next;
            before = line;
        }
        at = next;
    }
    return rc != 0 ? rc
                   : read_document(r, chassis_view(text.data + start, text.len - start), before);
}

int dctl_routes_read(struct dctl *d, const char *file, struct dctl_routes *ret_routes,
                     struct chassis_error *err)
{
    bool standard = strcmp(file, "-") == 0;
    struct dctl_routes routes = {0};
    struct reading r = {
        .d = d, .name = standard ? "standard input" : file, .routes = &routes, .err = err};
    struct chassis_view text;
    int rc = dctl_read_input(d, standard ? "-" : chassis_arena_printf(&d->arena, "@%s", file),
                             &text, err);
    if (rc != 0) {
        return rc;
    }
    size_t skip = 0;
    while (skip < text.len && strchr(" \t\r\n", text.data[skip]) != NULL && text.data[skip] != 0) {
        skip++;
    }
    bool json = skip < text.len && (text.data[skip] == '{' || text.data[skip] == '[');
    rc = json ? read_json(&r, text) : read_yaml(&r, text);
    if (rc == 0 && routes.n == 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "%s: holds no route", r.name);
    }
    if (rc == 0) {
        *ret_routes = routes;
    }
    return rc;
}
