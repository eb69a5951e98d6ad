/* One HTTP request, from its first header to its last byte: what libmicrohttpd calls. */
#include <stdio.h>
#include <sys/epoll.h>

#include "http/internal.h"

enum { ADMIN_BODY_MAX = 4096 };

static struct http_exchange *exchange_new(struct http_listener *l,
                                          struct MHD_Connection *connection, const char *url,
                                          const char *method)
{
    struct http_exchange *x = chassis_base_zalloc(sizeof *x);
    x->http = l->http;
    x->listener = l;
    x->connection = connection;
    x->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    x->path = chassis_base_strdup(url);
    snprintf(x->method, sizeof x->method, "%s", method);
    x->began_ns = chassis_os_monotonic_ns();
    atomic_init(&x->refs, 1);
    pthread_mutex_init(&x->mutex, NULL);
    chassis_list_append(&l->http->exchanges, &x->link);
    return x;
}

void http_exchange_unref(struct http_exchange *x)
{
    if (atomic_fetch_sub(&x->refs, 1) != 1) {
        return;
    }
    CHASSIS_ASSERT(http_on_thread(x->http));
    chassis_timers_cancel(&x->http->timers, &x->deadline);
    chassis_list_remove(&x->link);
    chassis_buf_fini(&x->body);
    chassis_buf_fini(&x->out);
    chassis_buf_fini(&x->out_headers);
    pthread_mutex_destroy(&x->mutex);
    free(x->path);
    free(x);
}

void http_exchange_suspend(struct http_exchange *x)
{
    x->suspended = true;
    MHD_suspend_connection(x->connection);
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = x};
    epoll_ctl(x->http->epoll_fd, EPOLL_CTL_ADD, x->fd, &ev);
}

void http_exchange_resume(struct http_exchange *x)
{
    if (x->suspended) {
        x->suspended = false;
        epoll_ctl(x->http->epoll_fd, EPOLL_CTL_DEL, x->fd, NULL);
        MHD_resume_connection(x->connection);
    }
}

void http_exchange_hung_up(struct http_exchange *x)
{
    x->client_gone = true;
    pthread_mutex_lock(&x->mutex);
    x->cut = true;
    pthread_mutex_unlock(&x->mutex);
    if (x->call != NULL) {
        chassis_call_cancel(x->call);
    }
    http_exchange_resume(x);
}

const char *http_header(const struct http_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

const char *http_query(const struct http_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, name);
}

enum MHD_Result http_queue(struct http_exchange *x, unsigned status, struct MHD_Response *response)
{
    http_cors_headers(x, response);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (x->listener->quiesced) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    chassis_counter_add(x->http->requests[status / 100 <= 5 ? status / 100 : 5], 1);
    x->phase = HTTP_ANSWERING;
    enum MHD_Result result = MHD_queue_response(x->connection, status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result http_answer(struct http_exchange *x, unsigned status, const char *content_type,
                            struct chassis_buf *body)
{
    struct chassis_buf taken = chassis_buf_move(body);
    struct MHD_Response *response =
        taken.data != NULL
            ? MHD_create_response_from_buffer_with_free_callback(taken.len, taken.data, free)
            : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        chassis_buf_fini(&taken);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    return http_queue(x, status, response);
}

enum MHD_Result http_answer_text(struct http_exchange *x, unsigned status, const char *format, ...)
{
    struct chassis_buf body = {0};
    va_list args;
    va_start(args, format);
    chassis_buf_vprintf(&body, format, args);
    va_end(args);
    chassis_buf_append_byte(&body, '\n');
    return http_answer(x, status, "text/plain; charset=utf-8", &body);
}

enum MHD_Result http_answer_error(struct http_exchange *x, int code, unsigned status,
                                  const char *text)
{
    struct chassis_buf body = {0};
    if (!x->connect.stream) {
        connect_error_json(code, text, NULL, 0, &body);
        return http_answer(x, status != 0 ? status : connect_http_status(code), "application/json",
                           &body);
    }
    struct chassis_buf error = {0};
    chassis_buf_append_str(&error, "{\"error\":");
    connect_error_json(code, text, NULL, 0, &error);
    chassis_buf_append_byte(&error, '}');
    connect_envelope(CONNECT_END_STREAM, chassis_buf_view(&error), &body);
    chassis_buf_fini(&error);
    return http_answer(x, 200, connect_content_type(&x->connect), &body);
}

/* A certificate that is shown must be good; one must be shown if the configuration says so. */
static bool stranger(const struct http_exchange *x, const char **ret_why)
{
    const char *name;
    enum http_identity identity = http_socket_identity(x, &name);
    bool missing = x->http->options.client_certificate_required && !x->listener->admin &&
                   identity != HTTP_GOOD_CERTIFICATE;
    *ret_why = identity == HTTP_BAD_CERTIFICATE
                   ? "the client certificate is not one that this service trusts for clients"
                   : "this service wants a client certificate";
    return missing || identity == HTTP_BAD_CERTIFICATE;
}

/* The headers are here, a body may follow. */
static enum MHD_Result on_headers(struct http_exchange *x)
{
    const char *why;
    http_socket_headers(x->connection);
    if (stranger(x, &why)) {
        return http_answer_text(x, 403, "%s", why);
    }
    if (http_foreign_browser(x)) {
        return http_answer_text(x, 403,
                                "this address is for this machine only: a page of another site "
                                "(Host '%s') may not use it",
                                http_header(x, "Host") != NULL ? http_header(x, "Host") : "");
    }
    if (strcmp(x->method, "OPTIONS") == 0 && !http_route_takes_options(x)) {
        return http_preflight(x);
    }
    bool post = strcmp(x->method, "POST") == 0;
    const char *connect = http_query(x, "connect");
    bool get_rpc = strcmp(x->method, "GET") == 0 && connect != NULL && strcmp(connect, "v1") == 0;
    enum MHD_Result result;
    if (!x->listener->admin && !get_rpc && http_route_accept(x, &result)) {
        return result;
    }
    if (!x->listener->admin && (post || get_rpc)) {
        return http_rpc_accept(x);
    }
    x->body_max = x->listener->admin && post ? ADMIN_BODY_MAX : 0;
    return MHD_YES;
}

static enum MHD_Result on_body(struct http_exchange *x, const char *data, size_t len)
{
    if (x->body.len + len > x->body_max) {
        x->body_too_large = true; /* read on and forget, so that the answer is seen */
        chassis_buf_fini(&x->body);
        x->body_max = 0;
        return MHD_YES;
    }
    chassis_buf_append(&x->body, data, len);
    return MHD_YES;
}

static enum MHD_Result on_whole(struct http_exchange *x)
{
    if (x->body_too_large) {
        return http_answer_error(x, CHASSIS_RESOURCE_EXHAUSTED, 413,
                                 "the request body is larger than this method's limit");
    }
    if (x->rpc != NULL) {
        return http_rpc_begin(x);
    }
    enum MHD_Result result;
    bool known = x->listener->admin ? http_admin_page(x, &result)
                                    : http_page(x, &result) || http_web_file(x, &result);
    return known ? result : http_answer_text(x, 404, "no such page: '%s'", x->path);
}

enum MHD_Result http_on_request(void *data, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_size, void **state)
{
    struct http_exchange *x = *state;
    if (x == NULL) {
        *state = x = exchange_new(data, connection, url, method);
        return on_headers(x);
    }
    if (*upload_size != 0) {
        size_t len = *upload_size;
        *upload_size = 0;
        return on_body(x, upload, len);
    }
    switch (x->phase) {
    case HTTP_READING:
        http_socket_whole(connection);
        return on_whole(x);
    case HTTP_CALLING:
        return http_rpc_resumed(x);
    case HTTP_ANSWERING:
        return MHD_YES;
    }
    return MHD_NO;
}

void http_on_completed(void *data, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode code)
{
    struct http_exchange *x = *state;
    if (x == NULL) {
        return;
    }
    *state = NULL;
    http_socket_idle(connection);
    if (x->suspended) { /* the daemon is being stopped */
        x->suspended = false;
        epoll_ctl(x->http->epoll_fd, EPOLL_CTL_DEL, x->fd, NULL);
    }
    x->connection = NULL;
    http_rpc_closed(x);
    http_exchange_unref(x);
}
