/* RPCs over HTTP: from a request to a call, and from the end of the call to the answer. Everything
 * here runs on the http thread; what comes from handlers stands in transport.c. */
#include <stdio.h>
#include <strings.h>

#include "http/internal.h"

enum { STREAM_BLOCK_BYTES = 16 * 1024 };

static enum MHD_Result unsupported_type(struct http_exchange *x, const char *types)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, "Accept-Post", types);
    return http_queue(x, 415, response);
}

static enum MHD_Result wrong_method(struct http_exchange *x, const char *allow)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    return http_queue(x, 405, response);
}

static bool is_identity(const char *encoding)
{
    return encoding == NULL || encoding[0] == '\0' || strcasecmp(encoding, "identity") == 0;
}

/* GET of an idempotent method: the message is in the query. */
static enum MHD_Result accept_get(struct http_exchange *x)
{
    const char *encoding = http_query(x, "encoding"), *message = http_query(x, "message");
    const char *base64 = http_query(x, "base64");
    if (!x->rpc->idempotent || x->rpc->method->kind != CHASSIS_UNARY) {
        return wrong_method(x, "POST");
    }
    x->connect.connect = true;
    x->connect.json = encoding != NULL && strcmp(encoding, "json") == 0;
    if (encoding == NULL || (!x->connect.json && strcmp(encoding, "proto") != 0) ||
        message == NULL) {
        return http_answer_error(x, CHASSIS_INVALID_ARGUMENT, 0,
                                 "a GET needs the parameters encoding (json or proto) and message");
    }
    if (!is_identity(http_query(x, "compression"))) {
        return http_answer_error(x, CHASSIS_UNIMPLEMENTED, 0,
                                 "compressed messages are not supported: send identity");
    }
    if (base64 != NULL && strcmp(base64, "1") == 0) {
        if (connect_base64_decode(chassis_view_str(message), &x->body) != 0) {
            return http_answer_error(x, CHASSIS_INVALID_ARGUMENT, 0, "message is not base64");
        }
    } else {
        chassis_buf_append_str(&x->body, message);
    }
    return MHD_YES;
}

static enum MHD_Result accept_post(struct http_exchange *x)
{
    enum chassis_method_kind kind = x->rpc->method->kind;
    bool known = connect_parse_content_type(http_header(x, "Content-Type"), &x->connect);
    if (!known || x->connect.stream != (kind != CHASSIS_UNARY)) {
        x->connect.stream = false;
        return unsupported_type(x, kind == CHASSIS_UNARY
                                       ? "application/json, application/proto"
                                       : "application/connect+json, application/connect+proto");
    }
    const char *version = http_header(x, "Connect-Protocol-Version");
    x->connect.connect = version != NULL || x->connect.stream;
    if (version != NULL && strcmp(version, "1") != 0) {
        return http_answer_error(x, CHASSIS_INVALID_ARGUMENT, 0,
                                 "Connect-Protocol-Version must be 1");
    }
    if (!is_identity(
            http_header(x, x->connect.stream ? "Connect-Content-Encoding" : "Content-Encoding"))) {
        return http_answer_error(x, CHASSIS_UNIMPLEMENTED, 0,
                                 "compressed messages are not supported: send identity");
    }
    if (kind == CHASSIS_CLIENT_STREAM || kind == CHASSIS_BIDI_STREAM) {
        return http_answer_error(x, CHASSIS_UNIMPLEMENTED, 0,
                                 "streams from the client need gRPC: HTTP/1.1 is half duplex");
    }
    return MHD_YES;
}

enum MHD_Result http_rpc_accept(struct http_exchange *x)
{
    const struct chassis_server *server = x->http->options.server;
    x->rpc = server != NULL ? chassis_server_find(server, chassis_view_str(x->path)) : NULL;
    if (x->rpc == NULL) {
        char text[320];
        snprintf(text, sizeof text, "no method '%.255s' is served here", x->path);
        return http_answer_error(x, CHASSIS_UNIMPLEMENTED, 404, text);
    }
    enum MHD_Result result = x->method[0] == 'P' ? accept_post(x) : accept_get(x);
    const char *timeout = http_header(x, "Connect-Timeout-Ms");
    uint64_t ms;
    if (x->phase != HTTP_ANSWERING && timeout != NULL && !connect_parse_timeout(timeout, &ms)) {
        result = http_answer_error(x, CHASSIS_INVALID_ARGUMENT, 0,
                                   "Connect-Timeout-Ms must be 1 to 10 digits");
    }
    if (x->phase == HTTP_ANSWERING) {
        return result;
    }
    size_t max = x->rpc->request_bytes_max;
    size_t limit = x->http->options.body_bytes_max;
    x->body_max = (max != 0 && max < limit ? max : limit) + CONNECT_ENVELOPE_HEAD;
    const char *length = http_header(x, "Content-Length");
    if (length != NULL && strtoull(length, NULL, 10) > x->body_max) {
        char text[128];
        snprintf(text, sizeof text, "the request has %.20s bytes, the limit is %zu", length,
                 x->body_max - CONNECT_ENVELOPE_HEAD);
        return http_answer_error(x, CHASSIS_RESOURCE_EXHAUSTED, 413, text);
    }
    return result;
}

static void on_deadline(struct chassis_timer *timer)
{
    struct http_exchange *x = chassis_container_of(timer, struct http_exchange, deadline);
    if (x->call == NULL) {
        return;
    }
    pthread_mutex_lock(&x->mutex);
    x->deadline_passed = !x->ended;
    if (x->deadline_passed && !x->cut) {
        x->cut = true;
        x->code = CHASSIS_DEADLINE_EXCEEDED;
        struct chassis_outcome outcome = {.code = x->code, .text = "deadline exceeded"};
        if (x->connect.stream) {
            http_end_stream(x, &outcome);
        } else if (!x->begun) {
            x->status = x->route != NULL ? connect_http_status(x->code) : 0;
            connect_error_json(x->code, outcome.text, NULL, 0, &x->out);
        }
    }
    pthread_mutex_unlock(&x->mutex);
    if (x->deadline_passed) {
        chassis_call_cancel(x->call);
        http_exchange_resume(x);
    }
}

static void deliver_json(struct http_exchange *x)
{
    const struct chassis_message_type *type = x->rpc->method->request;
    struct chassis_view json = chassis_buf_view(&x->body);
    struct chassis_error err = {0};
    ProtobufCMessage *message = NULL;
    int rc = 0;
    if (x->connect.stream) {
        rc = connect_open_envelope(json, &json, &err);
    }
    if (rc == 0 && type == NULL) {
        rc = chassis_error_set(&err, CHASSIS_UNIMPLEMENTED,
                               "this method takes raw bytes: use application/proto");
    }
    if (rc == 0) {
        json = json.len != 0 ? json : chassis_view_str("{}");
        /* Connect clients may be newer than we are; a person with curl wants to hear of a typo. */
        rc = chassis_json_parse(chassis_message_descriptor(type), json, x->http->types,
                                x->connect.connect, chassis_call_arena(x->call), &message, &err);
    }
    if (rc != 0) {
        chassis_call_reject(x->call, &err);
        return;
    }
    chassis_call_deliver_message(x->call, message, json.len);
}

static void deliver_proto(struct http_exchange *x)
{
    struct chassis_view data = chassis_buf_view(&x->body);
    struct chassis_error err = {0};
    if (x->connect.stream && connect_open_envelope(data, &data, &err) != 0) {
        chassis_call_reject(x->call, &err);
        return;
    }
    chassis_call_deliver(x->call, data);
}

static uint64_t deadline_of(struct http_exchange *x)
{
    const char *text = http_header(x, "Connect-Timeout-Ms");
    bool lasts = x->connect.stream || (x->route != NULL && http_route_lasts(x));
    uint64_t ms = lasts ? 0 : x->http->options.call_timeout_ms;
    if (text != NULL) {
        connect_parse_timeout(text, &ms);
        ms = ms != 0 ? ms : 1;
    }
    return ms != 0 ? x->began_ns + ms * CHASSIS_NS_PER_MS : UINT64_MAX;
}

static bool has_news(struct http_exchange *x)
{
    pthread_mutex_lock(&x->mutex);
    bool news =
        x->ended || x->cut || x->out.len != x->out_begin || (x->begun && x->phase == HTTP_CALLING);
    pthread_mutex_unlock(&x->mutex);
    return news;
}

enum MHD_Result http_rpc_begin(struct http_exchange *x)
{
    uint64_t deadline_ns = deadline_of(x);
    const struct chassis_transport_ops *ops = x->route != NULL     ? &http_ops_route
                                              : x->connect.connect ? &http_ops_connect
                                                                   : &http_ops_json;
    x->call = chassis_call_new(x->http->options.server, x->rpc, ops, x, deadline_ns);
    x->phase = HTTP_CALLING;
    x->holds_call = true;
    x->http->n_calls++;
    atomic_fetch_add(&x->refs, 1);
    http_copy_request(x);
    x->in_begin = true;
    chassis_call_start(x->call);
    if (x->route != NULL) {
        http_route_deliver(x); /* keeps the body */
    } else if (x->connect.json) {
        deliver_json(x);
    } else {
        deliver_proto(x);
    }
    x->in_begin = false;
    if (x->route == NULL) {
        chassis_buf_fini(&x->body);
    }
    if (has_news(x)) {
        return http_rpc_resumed(x);
    }
    if (deadline_ns != UINT64_MAX) {
        x->deadline.run = on_deadline;
        chassis_timers_arm(&x->http->timers, &x->deadline, deadline_ns);
    }
    http_exchange_suspend(x);
    return MHD_YES;
}

static void add_headers(struct http_exchange *x, struct MHD_Response *response)
{
    const char *at = (const char *)x->out_headers.data;
    const char *end = x->out_headers.len != 0 ? at + x->out_headers.len : at;
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        MHD_add_response_header(response, at, value);
        at = value + strlen(value) + 1;
    }
}

static ssize_t read_stream(void *data, uint64_t position, char *room, size_t max)
{
    struct http_exchange *x = data;
    if (x->client_gone) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    pthread_mutex_lock(&x->mutex);
    size_t n = x->out.len - x->out_begin;
    n = n < max ? n : max;
    if (n != 0) {
        memcpy(room, x->out.data + x->out_begin, n);
        x->out_begin += n;
        if (x->out_begin > x->out.len / 2) {
            chassis_buf_consume(&x->out, x->out_begin);
            x->out_begin = 0;
        }
    }
    bool over = x->ended || x->cut;
    bool broken = over && x->begun && x->code != 0; /* the client must not take it for whole */
    bool writable =
        x->refused_send && !over && x->out.len - x->out_begin < chassis_call_queue_max(x->call) / 2;
    x->refused_send = x->refused_send && !writable;
    pthread_mutex_unlock(&x->mutex);
    if (writable) {
        chassis_call_writable(x->call);
    }
    if (n == 0 && over) {
        return broken ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (n == 0) {
        http_exchange_suspend(x);
    }
    return (ssize_t)n;
}

static enum MHD_Result answer_stream(struct http_exchange *x)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, x, NULL);
    if (x->route == NULL) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                connect_content_type(&x->connect));
    }
    pthread_mutex_lock(&x->mutex);
    unsigned status = x->status != 0 ? x->status : 200;
    add_headers(x, response);
    pthread_mutex_unlock(&x->mutex);
    return http_queue(x, status, response);
}

static enum MHD_Result answer_whole(struct http_exchange *x)
{
    pthread_mutex_lock(&x->mutex);
    struct chassis_buf body = chassis_buf_move(&x->out);
    int code = x->code;
    unsigned status = x->route != NULL && x->status != 0 ? x->status
                      : code != 0                        ? connect_http_status(code)
                                                         : 200;
    pthread_mutex_unlock(&x->mutex);
    struct MHD_Response *response =
        body.data != NULL
            ? MHD_create_response_from_buffer_with_free_callback(body.len, body.data, free)
            : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        chassis_buf_fini(&body);
        return MHD_NO;
    }
    if (code != 0 || x->route == NULL) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                code != 0 ? "application/json" : connect_content_type(&x->connect));
    }
    pthread_mutex_lock(&x->mutex);
    if (x->ended) {
        add_headers(x, response);
    }
    pthread_mutex_unlock(&x->mutex);
    return http_queue(x, status, response);
}

/* Not in one piece. */
static bool is_stream(struct http_exchange *x)
{
    pthread_mutex_lock(&x->mutex);
    bool begun = x->begun;
    pthread_mutex_unlock(&x->mutex);
    return x->connect.stream || begun;
}

enum MHD_Result http_rpc_resumed(struct http_exchange *x)
{
    if (x->client_gone) {
        return MHD_NO;
    }
    if (!has_news(x)) {
        http_exchange_suspend(x);
        return MHD_YES;
    }
    bool stream = is_stream(x);
    if (!stream) {
        chassis_timers_cancel(&x->http->timers, &x->deadline);
    }
    return stream ? answer_stream(x) : answer_whole(x);
}

static void release_when_over(struct http_exchange *x)
{
    pthread_mutex_lock(&x->mutex);
    bool ended = x->ended;
    pthread_mutex_unlock(&x->mutex);
    if (ended && x->connection == NULL && x->call != NULL) {
        struct chassis_call *call = x->call;
        x->call = NULL;
        chassis_timers_cancel(&x->http->timers, &x->deadline);
        chassis_call_release(call);
    }
}

void http_rpc_news(struct http_exchange *x)
{
    release_when_over(x);
    if (x->connection != NULL && x->suspended && has_news(x)) {
        http_exchange_resume(x);
    }
    pthread_mutex_lock(&x->mutex);
    bool freed = x->freed;
    pthread_mutex_unlock(&x->mutex);
    if (freed && x->holds_call) {
        x->holds_call = false;
        x->http->n_calls--;
        http_exchange_unref(x); /* the caller holds another */
    }
}

void http_rpc_closed(struct http_exchange *x)
{
    if (x->call == NULL) {
        return;
    }
    pthread_mutex_lock(&x->mutex);
    bool ended = x->ended;
    x->cut = true;
    pthread_mutex_unlock(&x->mutex);
    if (!ended) {
        chassis_call_cancel(x->call);
    }
    release_when_over(x);
}

/* The grace time is over: the client gets nothing more. */
void http_rpc_give_up(struct http_exchange *x)
{
    if (x->call == NULL) {
        return;
    }
    if (x->suspended) {
        http_exchange_hung_up(x);
        return;
    }
    pthread_mutex_lock(&x->mutex);
    bool ended = x->ended;
    pthread_mutex_unlock(&x->mutex);
    x->client_gone = true;
    if (!ended) {
        chassis_call_cancel(x->call);
        return;
    }
    struct chassis_call *call = x->call;
    x->call = NULL;
    chassis_call_release(call);
}
