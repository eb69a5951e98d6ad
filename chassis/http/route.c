/* Routes of the service's own: which one a request is for, and what its call asks of us. */
#include <stdio.h>

#include "http/internal.h"

struct http_route {
    struct chassis_http_route route;
    char *name; /* "POST /events": stands for the method in logs and metrics */
    size_t path_len;
    struct chassis_method method;
    struct chassis_method_binding binding;
    struct chassis_method_options options[2];
    struct chassis_service_type type;
    struct chassis_service service;
    const struct chassis_server_method *registered;
};

/* ---- which ---- */

static void invoke(const void *handlers, struct chassis_call *call, const void *request)
{
    const struct http_route *r = handlers;
    r->route.handle(call, request);
}

static struct http_route *route_new(struct chassis_http *http,
                                    const struct chassis_http_route *route)
{
    struct http_route *r = chassis_base_zalloc(sizeof *r);
    struct chassis_buf name = {0};
    chassis_buf_printf(&name, "%s %s", route->method, route->path);
    r->route = *route;
    r->name = (char *)name.data;
    r->path_len = strlen(route->path);
    r->method = (struct chassis_method){
        .name = r->name, .path = r->name, .service = "http", .kind = CHASSIS_SERVER_STREAM};
    r->binding = (struct chassis_method_binding){.method = &r->method, .message = invoke};
    r->options[0] = (struct chassis_method_options){.method = r->name,
                                                    .access = route->access,
                                                    .never_blocks = route->never_blocks,
                                                    .request_bytes_max = route->body_bytes_max};
    r->type = (struct chassis_service_type){.name = "http", .methods = &r->binding, .n_methods = 1};
    r->service = (struct chassis_service){
        .type = &r->type, .handlers = r, .options = r->options, .data = route->data};
    r->registered = chassis_server_add_private(http->options.server, &r->service, &r->binding);
    return r;
}

static int by_length(const void *a, const void *b)
{
    const struct http_route *const *x = a, *const *y = b;
    return ((*x)->path_len < (*y)->path_len) - ((*x)->path_len > (*y)->path_len);
}

void http_routes_init(struct chassis_http *http)
{
    size_t n = http->options.n_routes;
    CHASSIS_ASSERT(n == 0 || http->options.server != NULL);
    http->routes = chassis_base_alloc((n + 1) * sizeof(struct http_route *));
    for (size_t i = 0; i < n; i++) {
        CHASSIS_ASSERT(http->options.routes[i].path[0] == '/');
        http->routes[i] = route_new(http, &http->options.routes[i]);
    }
    qsort(http->routes, n, sizeof(struct http_route *), by_length);
}

void http_routes_fini(struct chassis_http *http)
{
    for (size_t i = 0; i < http->options.n_routes; i++) {
        free(http->routes[i]->name);
        free(http->routes[i]);
    }
    free(http->routes);
}

static bool path_fits(const struct http_route *r, const char *path)
{
    bool root = r->path_len == 1;
    return strncmp(path, r->route.path, r->path_len) == 0 &&
           (root || path[r->path_len] == '\0' || path[r->path_len] == '/');
}

/* Of the longest path that fits, the one with this method; *ret_len = length of that path. */
static const struct http_route *find(const struct http_exchange *x, size_t *ret_len)
{
    *ret_len = 0;
    for (size_t i = 0; i < x->http->options.n_routes; i++) {
        const struct http_route *r = x->http->routes[i];
        if (*ret_len != 0 && r->path_len < *ret_len) {
            break;
        }
        if (path_fits(r, x->path)) {
            *ret_len = r->path_len;
            if (strcmp(r->route.method, x->method) == 0) {
                return r;
            }
        }
    }
    return NULL;
}

bool http_route_takes_options(const struct http_exchange *x)
{
    size_t len;
    bool preflight = http_header(x, "Access-Control-Request-Method") != NULL;
    return !preflight && !x->listener->admin && find(x, &len) != NULL;
}

void http_route_methods(const struct http_exchange *x, struct chassis_buf *out)
{
    size_t len;
    find(x, &len);
    for (size_t i = 0; i < x->http->options.n_routes && len != 0; i++) {
        const struct http_route *r = x->http->routes[i];
        if (r->path_len == len && path_fits(r, x->path)) {
            chassis_buf_printf(out, "%s%s", out->len != 0 ? ", " : "", r->route.method);
        }
    }
}

static enum MHD_Result wrong_method(struct http_exchange *x)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    struct chassis_buf methods = {0};
    http_route_methods(x, &methods);
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, (const char *)methods.data);
    chassis_buf_fini(&methods);
    return http_queue(x, 405, response);
}

bool http_route_accept(struct http_exchange *x, enum MHD_Result *ret_result)
{
    size_t len;
    const struct http_route *r = find(x, &len);
    if (len == 0 || http_is_page(x->path) ||
        chassis_server_find(x->http->options.server, chassis_view_str(x->path)) != NULL) {
        return false;
    }
    if (r == NULL) {
        *ret_result = wrong_method(x);
        return true;
    }
    x->route = r;
    x->rpc = r->registered;
    size_t limit = x->http->options.body_bytes_max;
    x->body_max = x->rpc->request_bytes_max < limit ? x->rpc->request_bytes_max : limit;
    const char *length = http_header(x, "Content-Length");
    *ret_result = MHD_YES;
    if (length != NULL && strtoull(length, NULL, 10) > x->body_max) {
        char text[128];
        snprintf(text, sizeof text, "the request has %.20s bytes, the limit is %zu", length,
                 x->body_max);
        *ret_result = http_answer_error(x, CHASSIS_RESOURCE_EXHAUSTED, 413, text);
    }
    return true;
}

/* ---- the call ---- */

struct copying {
    struct http_exchange *x;
    struct chassis_arena *arena;
    size_t max;
};

static enum MHD_Result copy_query(void *data, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    struct copying *c = data;
    const char *name = chassis_arena_strdup(c->arena, key);
    const char *text = chassis_arena_strdup(c->arena, value != NULL ? value : "");
    if (name == NULL || text == NULL || c->x->n_query == c->max) {
        return MHD_NO;
    }
    c->x->query[c->x->n_query++] = (struct chassis_pair){name, chassis_view_str(text)};
    return MHD_YES;
}

bool http_route_lasts(const struct http_exchange *x)
{
    return x->route->route.lasting;
}

void http_route_deliver(struct http_exchange *x)
{
    struct chassis_arena *arena = chassis_call_arena(x->call);
    int n = MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, NULL, NULL);
    struct copying copying = {x, arena, n > 0 ? (size_t)n : 0};
    x->query = chassis_arena_alloc(arena, (copying.max + 1) * sizeof *x->query);
    if (x->query != NULL) {
        MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, copy_query, &copying);
    }
    const char *rest = x->path + (x->route->path_len == 1 ? 0 : x->route->path_len);
    x->request = (struct chassis_http_request){.method = x->method,
                                               .path = x->path,
                                               .rest = rest[0] == '/' ? rest + 1 : rest,
                                               .body = chassis_buf_view(&x->body),
                                               .headers = x->headers,
                                               .n_headers = x->n_headers};
    chassis_call_deliver_message(x->call, &x->request, x->body.len);
}

/* ---- what handlers ask for ---- */

static struct http_exchange *of(const struct chassis_call *call)
{
    return chassis_call_transport(call);
}

const char *chassis_http_query(const struct chassis_call *call, const char *name)
{
    const struct http_exchange *x = of(call);
    for (size_t i = 0; i < x->n_query; i++) {
        if (strcmp(x->query[i].key, name) == 0) {
            return (const char *)x->query[i].value.data;
        }
    }
    return NULL;
}

static void set_status(struct chassis_call *call, unsigned status, const char *content_type,
                       bool begin)
{
    struct http_exchange *x = of(call);
    CHASSIS_ASSERT(x->route != NULL && status >= 200 && status <= 599);
    if (content_type != NULL) {
        chassis_call_set_header(call, "content-type", chassis_view_str(content_type));
    }
    pthread_mutex_lock(&x->mutex);
    CHASSIS_ASSERT(x->status == 0 || !x->begun);
    x->status = status;
    x->begun = begin;
    if (begin) {
        http_snapshot_headers(x);
    }
    pthread_mutex_unlock(&x->mutex);
}

void chassis_http_answer(struct chassis_call *call, unsigned status, const char *content_type,
                         struct chassis_view body)
{
    set_status(call, status, content_type, false);
    chassis_call_reply_bytes(call, body);
}

void chassis_http_begin(struct chassis_call *call, unsigned status, const char *content_type)
{
    set_status(call, status, content_type, true);
    http_wake_unless_here(of(call));
}

static int op_send(struct chassis_call *call, const void *message, struct chassis_view encoded)
{
    struct http_exchange *x = of(call);
    CHASSIS_ASSERT(message == NULL);
    int rc = 0;
    pthread_mutex_lock(&x->mutex);
    CHASSIS_ASSERT(x->begun);
    size_t before = http_queued(x);
    if (x->cut || x->ended) {
        rc = CHASSIS_CANCELLED;
    } else if (before != 0 && before + encoded.len > chassis_call_queue_max(call)) {
        x->refused_send = true;
        rc = CHASSIS_RESOURCE_EXHAUSTED;
    } else {
        chassis_buf_append_view(&x->out, encoded);
    }
    pthread_mutex_unlock(&x->mutex);
    if (rc == 0 && before == 0) {
        http_wake_unless_here(x);
    }
    return rc;
}

static void op_end(struct chassis_call *call, const struct chassis_outcome *outcome)
{
    struct http_exchange *x = of(call);
    pthread_mutex_lock(&x->mutex);
    if (!x->cut) {
        x->code = outcome->code;
        http_snapshot_headers(x);
        if (outcome->code != 0 && !x->begun) {
            x->status = connect_http_status(outcome->code);
            connect_error_json(outcome->code, outcome->text, outcome->details, outcome->n_details,
                               &x->out);
        } else if (outcome->code == 0 && outcome->has_answer) {
            chassis_buf_append_view(&x->out, outcome->encoded);
        }
        x->status = x->status != 0 ? x->status : 204; /* finished without a word */
    }
    x->ended = true;
    http_wake_unless_here(x);
    pthread_mutex_unlock(&x->mutex);
}

const struct chassis_transport_ops http_ops_route = {
    .name = "http",
    .header = http_op_header,
    .peer = http_op_peer,
    .read = http_op_read,
    .send = op_send,
    .queued = http_op_queued,
    .end = op_end,
    .freed = http_op_freed,
};
