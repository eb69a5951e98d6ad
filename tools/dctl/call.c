/* dctl call: any method of any kind, described by the server itself. */
#include <string.h>

#include "connect.h"
#include "output.h"
#include "reflect.h"
#include "value.h"

enum { REQUESTS_MAX = 10000, HEADERS_MAX = 32 };

struct calling {
    struct chassis_dynamic *dynamic;
    struct chassis_dynamic_method method;
    struct chassis_view *requests; /* encoded */
    size_t n_requests;
    struct chassis_error err; /* of printing an answer */
};

static int add_request(struct dctl *d, struct calling *c, struct chassis_view json,
                       struct chassis_error *err)
{
    struct chassis_buf bytes = {0};
    if (c->n_requests == REQUESTS_MAX) {
        return chassis_error_set(err, CHASSIS_TOO_LARGE, "more than %d requests", REQUESTS_MAX);
    }
    int rc = chassis_json_parse_bytes(c->method.request, json, chassis_dynamic_types(c->dynamic),
                                      false, &d->arena, &bytes, err);
    if (rc == 0) {
        c->requests[c->n_requests++] = chassis_arena_copy(&d->arena, chassis_buf_view(&bytes));
    } else {
        chassis_error_wrap(err, "request %zu", c->n_requests + 1);
    }
    chassis_buf_fini(&bytes);
    return rc;
}

/* Every -d, each of which may hold several values; without any, one empty message for those methods
 * that take exactly one. */
static int read_requests(struct dctl *d, struct calling *c, struct chassis_error *err)
{
    struct chassis_view text;
    const char *data;
    bool many = c->method.kind == CHASSIS_CLIENT_STREAM || c->method.kind == CHASSIS_BIDI_STREAM;
    int rc = 0;
    c->requests = chassis_arena_alloc(&d->arena, REQUESTS_MAX * sizeof *c->requests);
    for (unsigned i = 0; rc == 0 && (data = dctl_repeated(d, "data", i)) != NULL; i++) {
        rc = dctl_read_input(d, data, &text, err);
        while (rc == 0) {
            struct chassis_view value = dctl_json_next(&text);
            if (value.len == 0) {
                break;
            }
            rc = add_request(d, c, value, err);
        }
    }
    if (rc == 0 && c->n_requests == 0 && !many) {
        rc = add_request(d, c, chassis_view_str("{}"), err);
    }
    if (rc == 0 && c->n_requests > 1 && !many) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "%s takes one request, not %zu",
                               c->method.name, c->n_requests);
    }
    return rc;
}

static int read_headers(struct dctl *d, struct chassis_call_options *options,
                        struct chassis_error *err)
{
    struct chassis_metadata *list = chassis_arena_zalloc(&d->arena, HEADERS_MAX * sizeof *list);
    const char *header;
    for (unsigned i = 0; (header = dctl_repeated(d, "header", i)) != NULL; i++) {
        const char *colon = strchr(header, ':');
        if (colon == NULL || colon == header || i == HEADERS_MAX) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "--header is 'key: value', at most %d times; not '%s'",
                                     HEADERS_MAX, header);
        }
        char *key = chassis_arena_strndup(&d->arena, header, (size_t)(colon - header));
        for (char *p = key; *p != '\0'; p++) {
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
        }
        list[i] = (struct chassis_metadata){key, colon + 1 + strspn(colon + 1, " ")};
        options->n_metadata = i + 1;
    }
    options->metadata = list;
    return 0;
}

/* One answer: JSON in a table's stead, as it is with -o json, YAML with -o yaml. */
static bool on_answer(struct dctl_follower *f, const void *message, struct chassis_view encoded)
{
    struct calling *c = f->data;
    struct dctl *d = f->d;
    struct chassis_buf json = {0};
    struct dctl_node *tree;
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    int rc = chassis_json_print_bytes(c->method.response, encoded,
                                      chassis_dynamic_types(c->dynamic), &json, &c->err);
    if (rc == 0) {
        rc = dctl_json_parse(&arena, chassis_buf_view(&json), &tree, &c->err);
    }
    if (rc == 0) {
        bool stream =
            c->method.kind == CHASSIS_SERVER_STREAM || c->method.kind == CHASSIS_BIDI_STREAM;
        enum dctl_format format = d->format;
        d->format = format == DCTL_TABLE ? DCTL_JSON : format;
        if (stream) {
            dctl_print_next(d, tree, NULL);
        } else {
            dctl_print(d, tree, NULL);
        }
        d->format = format;
    } else {
        chassis_error_wrap(&c->err, "answer %llu", (unsigned long long)f->messages);
    }
    chassis_arena_fini(&arena);
    chassis_buf_fini(&json);
    return rc == 0 && !ferror(d->out);
}

static int call_method(struct dctl *d, const char *service, const char *method, struct calling *c,
                       struct chassis_error *err)
{
    const char *full;
    struct dctl_follower follower = {.message = on_answer, .d = d, .data = c};
    int rc = dctl_reflect_find(d, service, &full, err);
    rc = rc != 0 ? rc : dctl_reflect_load(d, full, c->dynamic, err);
    rc = rc != 0 ? rc : chassis_dynamic_method(c->dynamic, full, method, &c->method, err);
    rc = rc != 0 ? rc : read_requests(d, c, err);
    const char *through = dctl_string(d, "through");
    if (rc == 0 && through != NULL) {
        rc = dctl_client_at(d, through, err); /* who described the method is not who is called */
    }
    if (rc != 0) {
        return rc;
    }
    struct chassis_call_options options =
        dctl_call_options(d, c->method.kind == CHASSIS_UNARY ? 10000 : 0);
    rc = read_headers(d, &options, err);
    if (rc != 0) {
        return rc;
    }
    rc = dctl_follow_path(d, c->method.path, c->requests, c->n_requests, &options, &follower, err);
    if (rc != 0) {
        chassis_error_wrap(err, "%s: %s", c->method.path + 1, chassis_status_name(rc));
        return rc;
    }
    return c->err.code != 0 ? chassis_error_set(err, c->err.code, "%s", c->err.text) : 0;
}

static int list_services(struct dctl *d, struct chassis_error *err)
{
    static const struct dctl_column columns[] = {{"SERVICE", "service", 0}, {0}};
    const char *const *names;
    int rc = dctl_reflect_services(d, &names, err);
    if (rc != 0) {
        return rc;
    }
    struct dctl_node *list = dctl_list(&d->arena);
    for (; *names != NULL; names++) {
        dctl_add_text(&d->arena, dctl_add(list, NULL, dctl_map(&d->arena)), "service", *names);
    }
    dctl_print(d, list, columns);
    return 0;
}

static int list_methods(struct dctl *d, const char *service, struct calling *c,
                        struct chassis_error *err)
{
    static const struct dctl_column columns[] = {{"METHOD", "method", 0},
                                                 {"KIND", "kind", 0},
                                                 {"REQUEST", "request", 0},
                                                 {"RESPONSE", "response", 0},
                                                 {0}};
    static const char *const kinds[] = {"unary", "server stream", "client stream", "bidi stream"};
    const char *full, *name;
    int rc = dctl_reflect_find(d, service, &full, err);
    rc = rc != 0 ? rc : dctl_reflect_load(d, full, c->dynamic, err);
    if (rc != 0) {
        return rc;
    }
    struct dctl_node *list = dctl_list(&d->arena);
    for (size_t n = 0; (name = chassis_dynamic_service_name(c->dynamic, n)) != NULL; n++) {
        const char *method;
        for (size_t m = 0; strcmp(name, full) == 0 &&
                           (method = chassis_dynamic_method_name(c->dynamic, n, m)) != NULL;
             m++) {
            if (chassis_dynamic_method(c->dynamic, full, method, &c->method, err) != 0) {
                return err->code;
            }
            struct dctl_node *row = dctl_add(list, NULL, dctl_map(&d->arena));
            dctl_add_text(&d->arena, row, "method", c->method.path + 1);
            dctl_add_text(&d->arena, row, "kind", kinds[c->method.kind]);
            dctl_add_text(&d->arena, row, "request", c->method.request->name);
            dctl_add_text(&d->arena, row, "response", c->method.response->name);
        }
    }
    dctl_print(d, list, columns);
    return 0;
}

int dctl_call(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    bool list = dctl_flag(d, "list");
    /* A leading slash: as it stands in HTTP/2. */
    char *name = argc != 0 ? chassis_arena_strdup(&d->arena, argv[0] + (argv[0][0] == '/')) : NULL;
    char *slash = name != NULL ? strchr(name, '/') : NULL;
    if (!list && (slash == NULL || slash[1] == '\0')) {
        return dctl_usage(d, "call needs SERVICE/METHOD; --list shows what there is");
    }
    if (slash != NULL) {
        *slash = '\0';
    }
    const char *service = dctl_string(d, "service");
    if (service != NULL && dctl_client_switch(d, service, &err) != 0) {
        return dctl_fail(d, &err);
    }
    struct calling c = {.dynamic = chassis_dynamic_new()};
    int rc = !list          ? call_method(d, name, slash + 1, &c, &err)
             : name != NULL ? list_methods(d, name, &c, &err)
                            : list_services(d, &err);
    chassis_dynamic_free(c.dynamic);
    return rc != 0 ? dctl_fail(d, &err) : DCTL_OK;
}
