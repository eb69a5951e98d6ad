/* What a call asks of its transport, on the handler's role: encode, queue, wake the http thread. */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "http/internal.h"

enum { DECODE_ARENA_MAX = 64 * 1024 * 1024 };

static struct http_exchange *of(const struct chassis_call *call)
{
    return chassis_call_transport(call);
}

void http_wake_unless_here(struct http_exchange *x)
{
    if (!http_on_thread(x->http) || !x->in_begin) {
        http_wake(x);
    }
}

bool http_op_header(struct chassis_call *call, const char *key, struct chassis_view *ret_value)
{
    struct http_exchange *x = of(call);
    for (size_t i = 0; i < x->n_headers; i++) {
        if (strcmp(x->headers[i].key, key) == 0) {
            *ret_value = x->headers[i].value;
            return true;
        }
    }
    return false;
}

void http_op_peer(struct chassis_call *call, struct chassis_transport_peer *ret_peer)
{
    *ret_peer = of(call)->peer;
}

/* Never asked: only methods with one request are served. */
void http_op_read(struct chassis_call *call)
{
}

static bool is_binary(const char *key)
{
    size_t len = strlen(key);
    return len > 4 && strcmp(key + len - 4, "-bin") == 0;
}

static void append_value(const char *key, struct chassis_view value, struct chassis_buf *out)
{
    if (is_binary(key)) {
        connect_base64(value, out);
    } else {
        chassis_buf_append_view(out, value);
    }
}

static void snapshot_pairs(struct http_exchange *x, const char *prefix,
                           const struct chassis_pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        chassis_buf_append_str(&x->out_headers, prefix);
        chassis_buf_append_str(&x->out_headers, pairs[i].key);
        chassis_buf_append_byte(&x->out_headers, '\0');
        append_value(pairs[i].key, pairs[i].value, &x->out_headers);
        chassis_buf_append_byte(&x->out_headers, '\0');
    }
}

/* With the lock: the headers as they are at the first message or the end. */
void http_snapshot_headers(struct http_exchange *x)
{
    if (!x->have_headers) {
        size_t n;
        const struct chassis_pair *pairs = chassis_call_headers(x->call, &n);
        snapshot_pairs(x, "", pairs, n);
        x->have_headers = true;
    }
}

static int print_encoded(struct http_exchange *x, struct chassis_view encoded,
                         struct chassis_buf *out, struct chassis_error *err)
{
    const struct chassis_message_type *type = x->rpc->method->response;
    if (type == NULL) {
        return chassis_error_set(err, CHASSIS_UNIMPLEMENTED,
                                 "this method's answer has no JSON form: use application/proto");
    }
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, DECODE_ARENA_MAX);
    ProtobufCMessage *message;
    int rc = chassis_message_decode(chassis_message_descriptor(type), encoded, NULL, &arena,
                                    &message, err);
    rc = rc == 0 ? chassis_json_print(message, x->http->types, out, err) : rc;
    chassis_arena_fini(&arena);
    return rc;
}

static int encode(struct http_exchange *x, const void *message, struct chassis_view encoded,
                  struct chassis_buf *out, struct chassis_error *err)
{
    if (message == NULL) {
        if (x->connect.json) {
            return print_encoded(x, encoded, out, err);
        }
        chassis_buf_append_view(out, encoded);
        return 0;
    }
    if (x->connect.json) {
        return chassis_json_print(message, x->http->types, out, err);
    }
    chassis_message_encode(message, out);
    return 0;
}

size_t http_queued(const struct http_exchange *x)
{
    return x->out.len - x->out_begin;
}

static int op_send(struct chassis_call *call, const void *message, struct chassis_view encoded)
{
    struct http_exchange *x = of(call);
    struct chassis_buf data = {0};
    struct chassis_error err = {0};
    int rc = encode(x, message, encoded, &data, &err);
    if (rc != 0) {
        chassis_log_error(x->http->log, "message of a stream has no JSON form",
                          chassis_f_str("method", x->rpc->method->path), chassis_f_err(&err));
        chassis_buf_fini(&data);
        return rc;
    }
    pthread_mutex_lock(&x->mutex);
    bool was_empty = http_queued(x) == 0;
    if (x->cut || x->ended) {
        rc = CHASSIS_CANCELLED;
    } else if (!was_empty &&
               http_queued(x) + data.len + CONNECT_ENVELOPE_HEAD > chassis_call_queue_max(call)) {
        x->refused_send = true;
        rc = CHASSIS_RESOURCE_EXHAUSTED;
    } else {
        http_snapshot_headers(x);
        connect_envelope(0, chassis_buf_view(&data), &x->out);
    }
    pthread_mutex_unlock(&x->mutex);
    chassis_buf_fini(&data);
    if (rc == 0 && was_empty) {
        http_wake_unless_here(x);
    }
    return rc;
}

size_t http_op_queued(const struct chassis_call *call)
{
    struct http_exchange *x = of(call);
    pthread_mutex_lock(&x->mutex);
    size_t n = http_queued(x);
    pthread_mutex_unlock(&x->mutex);
    return n;
}

void http_end_stream(struct http_exchange *x, const struct chassis_outcome *outcome)
{
    struct chassis_buf json = {0};
    chassis_buf_append_byte(&json, '{');
    if (outcome->code != 0) {
        chassis_buf_append_str(&json, "\"error\":");
        connect_error_json(outcome->code, outcome->text, outcome->details, outcome->n_details,
                           &json);
    }
    for (size_t i = 0; i < outcome->n_trailers; i++) {
        struct chassis_buf value = {0};
        append_value(outcome->trailers[i].key, outcome->trailers[i].value, &value);
        chassis_buf_append_byte(&value, '\0');
        chassis_buf_append_str(&json, i != 0               ? ","
                                      : outcome->code != 0 ? ",\"metadata\":{"
                                                           : "\"metadata\":{");
        connect_json_string(outcome->trailers[i].key, &json);
        chassis_buf_append_str(&json, ":[");
        connect_json_string((const char *)value.data, &json);
        chassis_buf_append_byte(&json, ']');
        chassis_buf_fini(&value);
    }
    chassis_buf_append_str(&json, outcome->n_trailers != 0 ? "}}" : "}");
    connect_envelope(CONNECT_END_STREAM, chassis_buf_view(&json), &x->out);
    chassis_buf_fini(&json);
}

/* The body and status of a unary answer. */
static void end_unary(struct http_exchange *x, const struct chassis_outcome *outcome)
{
    struct chassis_error err = {0};
    int rc = outcome->code;
    x->code = rc;
    snapshot_pairs(x, "trailer-", outcome->trailers, outcome->n_trailers);
    if (rc == 0) {
        rc = outcome->has_answer
                 ? encode(x, outcome->message, outcome->encoded, &x->out, &err)
                 : chassis_error_set(&err, CHASSIS_INTERNAL, "the method gave no answer");
        if (rc == 0) {
            return;
        }
        chassis_buf_clear(&x->out);
        x->code = CHASSIS_INTERNAL;
        connect_error_json(x->code, chassis_error_text(&err), NULL, 0, &x->out);
        return;
    }
    connect_error_json(rc, outcome->text, outcome->details, outcome->n_details, &x->out);
}

static void op_end(struct chassis_call *call, const struct chassis_outcome *outcome)
{
    struct http_exchange *x = of(call);
    pthread_mutex_lock(&x->mutex);
    if (!x->cut) {
        http_snapshot_headers(x);
        if (x->connect.stream) {
            http_end_stream(x, outcome);
        } else {
            end_unary(x, outcome);
        }
    }
    x->ended = true;
    http_wake_unless_here(x);
    pthread_mutex_unlock(&x->mutex);
}

void http_op_freed(void *transport)
{
    struct http_exchange *x = transport;
    pthread_mutex_lock(&x->mutex);
    x->freed = true;
    http_wake(x);
    pthread_mutex_unlock(&x->mutex);
}

#define HTTP_OPS(label)                                                                            \
    {                                                                                              \
        .name = (label), .header = http_op_header, .peer = http_op_peer, .read = http_op_read,     \
        .send = op_send, .queued = http_op_queued, .end = op_end, .freed = http_op_freed,          \
    }
const struct chassis_transport_ops http_ops_json = HTTP_OPS("json");
const struct chassis_transport_ops http_ops_connect = HTTP_OPS("connect");

struct copying {
    struct http_exchange *x;
    struct chassis_arena *arena;
    size_t max;
};

static enum MHD_Result copy_header(void *data, enum MHD_ValueKind kind, const char *key,
                                   const char *value)
{
    struct copying *c = data;
    struct http_exchange *x = c->x;
    size_t len = strlen(key), value_len = value != NULL ? strlen(value) : 0;
    char *copy = chassis_arena_alloc(c->arena, len + 1 + value_len + 1);
    if (copy == NULL || x->n_headers == c->max) {
        return MHD_NO;
    }
    for (size_t i = 0; i <= len; i++) {
        copy[i] = (char)tolower((unsigned char)key[i]);
    }
    char *text = copy + len + 1;
    memcpy(text, value_len != 0 ? value : "", value_len);
    text[value_len] = '\0';
    struct chassis_view view = chassis_view(text, value_len);
    if (is_binary(copy)) {
        struct chassis_buf raw = {0};
        if (connect_base64_decode(view, &raw) == 0 && raw.len <= value_len) {
            memcpy(text, raw.len != 0 ? (const char *)raw.data : "", raw.len);
            view.len = raw.len;
        }
        chassis_buf_fini(&raw);
    }
    x->headers[x->n_headers++] = (struct chassis_pair){copy, view};
    return MHD_YES;
}

static void copy_peer(struct http_exchange *x, struct chassis_arena *arena)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *addr = info->client_addr;
    char text[INET6_ADDRSTRLEN] = "";
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        x->peer.address = chassis_arena_printf(arena, "ipv4:%s:%u", text, ntohs(in->sin_port));
        x->peer.loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)addr;
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
        x->peer.address = chassis_arena_printf(arena, "ipv6:[%s]:%u", text, ntohs(in6->sin6_port));
        x->peer.loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    x->peer.encrypted = x->http->options.identity != NULL && !x->listener->admin;
    const char *name;
    http_socket_identity(x, &name);
    x->peer.name = chassis_arena_strndup(arena, name, strlen(name));
}

/* The connection may be gone while the handler still asks: it gets copies, in the call's arena. */
void http_copy_request(struct http_exchange *x)
{
    struct chassis_arena *arena = chassis_call_arena(x->call);
    int n = MHD_get_connection_values(x->connection, MHD_HEADER_KIND, NULL, NULL);
    struct copying copying = {x, arena, n > 0 ? (size_t)n : 0};
    x->headers = chassis_arena_alloc(arena, (copying.max + 1) * sizeof *x->headers);
    if (x->headers != NULL) {
        MHD_get_connection_values(x->connection, MHD_HEADER_KIND, copy_header, &copying);
    }
    copy_peer(x, arena);
}
