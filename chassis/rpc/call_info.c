/* What a handler can learn of its call and attach to it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "os/os.h"
#include "proto/message.h"
#include "rpc/server_impl.h"

const struct chassis_method *chassis_call_method(const struct chassis_call *call)
{
    return call->method->method;
}

void *chassis_call_data(const struct chassis_call *call)
{
    return call->method->service->data;
}

void *chassis_call_transport(const struct chassis_call *call)
{
    return call->transport;
}

void chassis_call_set_state(struct chassis_call *call, void *state)
{
    call->state = state;
}

void *chassis_call_state(const struct chassis_call *call)
{
    return call->state;
}

struct chassis_executor *chassis_call_executor(const struct chassis_call *call)
{
    return call->ops->executor != NULL ? call->ops->executor(call) : NULL;
}

struct chassis_view chassis_call_encoded(const struct chassis_call *call)
{
    CHASSIS_ASSERT(call->method->encoded || call->method->method->request == NULL);
    return call->raw_request;
}

static void cork(struct chassis_call *call, bool on)
{
    struct chassis_executor *ex = chassis_call_executor(call);
    if (call->ops->cork != NULL && ex != NULL && chassis_is_current(ex)) {
        call->ops->cork(call, on);
    }
}

void chassis_call_cork(struct chassis_call *call)
{
    cork(call, true);
}

void chassis_call_uncork(struct chassis_call *call)
{
    cork(call, false);
}

struct chassis_arena *chassis_call_arena(struct chassis_call *call)
{
    return &call->arena;
}

size_t chassis_call_request_max(const struct chassis_call *call)
{
    return call->method->request_bytes_max;
}

size_t chassis_call_queue_max(const struct chassis_call *call)
{
    return call->server->options.queue_bytes_max;
}

uint64_t chassis_call_time_left_ns(const struct chassis_call *call)
{
    if (call->deadline_ns == UINT64_MAX) {
        return UINT64_MAX;
    }
    uint64_t now = chassis_os_monotonic_ns();
    return now < call->deadline_ns ? call->deadline_ns - now : 0;
}

const char *chassis_call_metadata(const struct chassis_call *call, const char *key)
{
    struct chassis_call *own = (struct chassis_call *)(uintptr_t)call; /* only its arena is used */
    struct chassis_view value;
    if (!call->ops->header(own, key, &value)) {
        return NULL;
    }
    return chassis_arena_strndup(&own->arena, value.data, value.len);
}

static void hex(char *out, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

const char *chassis_call_trace_id(const struct chassis_call *call)
{
    struct chassis_call *own = (struct chassis_call *)(uintptr_t)call;
    if (own->trace_text[0] == '\0') {
        hex(own->trace_text, own->trace_id, sizeof own->trace_id);
    }
    return own->trace_text;
}

const char *chassis_call_traceparent(const struct chassis_call *call)
{
    struct chassis_call *own = (struct chassis_call *)(uintptr_t)call;
    if (own->traceparent[0] == '\0') {
        char span[17];
        hex(span, own->span_id, sizeof own->span_id);
        snprintf(own->traceparent, sizeof own->traceparent, "00-%s-%s-%02x",
                 chassis_call_trace_id(call), span, own->trace_flags);
    }
    return own->traceparent;
}

struct chassis_logger *chassis_call_logger(struct chassis_call *call)
{
    if (call->logger == NULL) {
        char span[17];
        hex(span, call->span_id, sizeof call->span_id);
        const struct chassis_log_field fields[] = {
            chassis_f_str("method", call->method->method->path),
            chassis_f_str("trace_id", chassis_call_trace_id(call)),
            chassis_f_str("span_id", span),
        };
        call->logger = chassis_log_child(call->server->log, fields, 3);
    }
    return call->logger;
}

const struct chassis_peer *chassis_call_peer(const struct chassis_call *call)
{
    struct chassis_call *own = (struct chassis_call *)(uintptr_t)call;
    if (!own->peer_known) {
        rpc_access_resolve(own->server->access, own, NULL);
    }
    return &own->peer;
}

const struct chassis_pair *chassis_call_headers(const struct chassis_call *call, size_t *ret_n)
{
    *ret_n = call->headers.n;
    return call->headers.items;
}

void rpc_pairs_set(struct chassis_call *call, struct rpc_pairs *pairs, const char *key,
                   struct chassis_view value)
{
    if (pairs->n == CHASSIS_RPC_PAIRS_MAX) {
        return;
    }
    if (pairs->n == pairs->cap) {
        size_t cap = pairs->cap != 0 ? pairs->cap * 2 : 4;
        struct chassis_pair *items = chassis_arena_alloc(&call->arena, cap * sizeof *items);
        if (items == NULL) {
            return;
        }
        if (pairs->n != 0) {
            memcpy(items, pairs->items, pairs->n * sizeof *items);
        }
        pairs->items = items;
        pairs->cap = cap;
    }
    char *name = chassis_arena_strdup(&call->arena, key);
    struct chassis_view kept = chassis_arena_copy(&call->arena, value);
    if (name != NULL && kept.len == value.len) {
        pairs->items[pairs->n++] = (struct chassis_pair){name, kept};
    }
}

/* HTTP/2 would refuse the whole batch for one key or value it cannot carry. */
static bool pair_legal(const char *key, struct chassis_view value)
{
    size_t n = strlen(key);
    bool binary = n > 4 && strcmp(key + n - 4, "-bin") == 0;
    bool legal = n != 0 && strncmp(key, "grpc-", 5) != 0;
    for (size_t i = 0; i < n && legal; i++) {
        char c = key[i];
        legal =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    }
    for (size_t i = 0; i < value.len && legal && !binary; i++) {
        legal = value.data[i] >= 0x20 && value.data[i] <= 0x7e;
    }
    return legal;
}

static void set_pair(struct chassis_call *call, struct rpc_pairs *pairs, const char *key,
                     struct chassis_view value)
{
    if (!pair_legal(key, value)) {
        chassis_log_warn(chassis_call_logger(call),
                         "response metadata dropped: not legal in a header",
                         chassis_f_str("key", key));
        return;
    }
    rpc_pairs_set(call, pairs, key, value);
}

void chassis_call_set_header(struct chassis_call *call, const char *key, struct chassis_view value)
{
    set_pair(call, &call->headers, key, value);
}

void chassis_call_set_trailer(struct chassis_call *call, const char *key, struct chassis_view value)
{
    set_pair(call, &call->trailers, key, value);
}

void chassis_call_add_detail(struct chassis_call *call, const void *message)
{
    const ProtobufCMessage *m = message;
    if (call->n_details == call->details_cap) {
        size_t cap = call->details_cap != 0 ? call->details_cap * 2 : 2;
        struct chassis_status_detail *all = chassis_arena_alloc(&call->arena, cap * sizeof *all);
        if (all == NULL || cap > CHASSIS_RPC_PAIRS_MAX) {
            return;
        }
        if (call->n_details != 0) {
            memcpy(all, call->details, call->n_details * sizeof *all);
        }
        call->details = all;
        call->details_cap = cap;
    }
    size_t len = chassis_message_size(m);
    uint8_t *bytes = chassis_arena_alloc(&call->arena, len + 1);
    char *url = chassis_arena_printf(&call->arena, "type.googleapis.com/%s", m->descriptor->name);
    if (bytes == NULL || url == NULL) {
        return;
    }
    protobuf_c_message_pack(m, bytes);
    call->details[call->n_details++] =
        (struct chassis_status_detail){url, chassis_view(bytes, len)};
}

struct chassis_view rpc_status_encode(struct chassis_call *call, int grpc_code, const char *text)
{
    struct chassis_buf out, any;
    chassis_buf_init(&out);
    chassis_buf_init(&any);
    chassis_buf_append_byte(&out, 1 << 3);
    chassis_buf_append_varint(&out, (uint64_t)grpc_code);
    chassis_buf_append_byte(&out, 2 << 3 | 2);
    chassis_buf_append_block(&out, chassis_view_str(text));
    for (size_t i = 0; i < call->n_details; i++) {
        chassis_buf_clear(&any);
        chassis_buf_append_byte(&any, 1 << 3 | 2);
        chassis_buf_append_block(&any, chassis_view_str(call->details[i].type_url));
        chassis_buf_append_byte(&any, 2 << 3 | 2);
        chassis_buf_append_block(&any, call->details[i].value);
        chassis_buf_append_byte(&out, 3 << 3 | 2);
        chassis_buf_append_block(&out, chassis_buf_view(&any));
    }
    struct chassis_view kept = chassis_arena_copy(&call->arena, chassis_buf_view(&out));
    chassis_buf_fini(&out);
    chassis_buf_fini(&any);
    return kept;
}
