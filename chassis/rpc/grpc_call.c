#include "rpc/grpc_call.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

enum { POOL_MAX = 256 };

static const struct chassis_transport_ops grpc_ops;

/* ---- the pool ---- */

static struct rpc_grpc_call *call_get(struct rpc_grpc *grpc)
{
    pthread_mutex_lock(&grpc->lock);
    struct rpc_grpc_call *g = grpc->pool;
    grpc->held++;
    if (g != NULL) {
        grpc->pool = g->next_free;
        grpc->pool_n--;
    }
    pthread_mutex_unlock(&grpc->lock);
    if (g == NULL) {
        g = chassis_base_zalloc(sizeof *g);
        g->owner = grpc;
        pthread_mutex_init(&g->lock, NULL);
        grpc_metadata_array_init(&g->metadata);
        grpc_slice_buffer_init(&g->queue);
        g->sending.type = GRPC_BB_RAW;
        g->sending.data.raw.compression = GRPC_COMPRESS_NONE;
        grpc_slice_buffer_init(&g->sending.data.raw.slice_buffer);
    }
    size_t from = offsetof(struct rpc_grpc_call, listener);
    memset((char *)g + from, 0, sizeof *g - from);
    return g;
}

static void call_destroy(struct rpc_grpc_call *g)
{
    pthread_mutex_destroy(&g->lock);
    grpc_metadata_array_destroy(&g->metadata);
    grpc_slice_buffer_destroy(&g->queue);
    grpc_slice_buffer_destroy(&g->sending.data.raw.slice_buffer);
    free(g);
}

static void call_put(struct rpc_grpc_call *g)
{
    struct rpc_grpc *grpc = g->owner;
    g->metadata.count = 0; /* its elements belong to the call */
    grpc_slice_buffer_reset_and_unref(&g->queue);
    grpc_slice_buffer_reset_and_unref(&g->sending.data.raw.slice_buffer);
    grpc_byte_buffer_destroy(g->incoming);
    grpc_call_unref(g->call);
    pthread_mutex_lock(&grpc->lock);
    bool keep = grpc->pool_n < POOL_MAX;
    if (keep) {
        g->next_free = grpc->pool;
        grpc->pool = g;
        grpc->pool_n++;
    }
    if (--grpc->held == 0) {
        pthread_cond_broadcast(&grpc->changed);
    }
    pthread_mutex_unlock(&grpc->lock);
    if (!keep) {
        call_destroy(g);
    }
}

void rpc_grpc_pool_free(struct rpc_grpc *grpc)
{
    while (grpc->pool != NULL) {
        struct rpc_grpc_call *g = grpc->pool;
        grpc->pool = g->next_free;
        call_destroy(g);
    }
}

static void op_freed(void *transport)
{
    call_put(transport);
}

/* ---- what is sent ---- */

struct batch {
    grpc_op ops[4];
    size_t n;
    grpc_metadata headers[CHASSIS_RPC_PAIRS_MAX], trailers[CHASSIS_RPC_PAIRS_MAX + 1];
    size_t n_headers, n_trailers;
    grpc_slice text;
};

static grpc_op *batch_op(struct batch *b, grpc_op_type type)
{
    grpc_op *op = &b->ops[b->n++];
    memset(op, 0, sizeof *op);
    op->op = type;
    return op;
}

static grpc_metadata pair_of(const char *key, struct chassis_view value)
{
    grpc_metadata md;
    memset(&md, 0, sizeof md);
    md.key = grpc_slice_from_copied_string(key);
    md.value = grpc_slice_from_copied_buffer((const char *)value.data, value.len);
    return md;
}

static void batch_headers(struct batch *b, struct rpc_grpc_call *g)
{
    if (g->sent_headers) {
        return;
    }
    g->sent_headers = true;
    grpc_op *op = batch_op(b, GRPC_OP_SEND_INITIAL_METADATA);
    size_t n = 0;
    const struct chassis_pair *pairs = g->core != NULL ? chassis_call_headers(g->core, &n) : NULL;
    for (size_t i = 0; i < n; i++) {
        b->headers[b->n_headers++] = pair_of(pairs[i].key, pairs[i].value);
    }
    op->data.send_initial_metadata.count = b->n_headers;
    op->data.send_initial_metadata.metadata = b->headers;
}

static void batch_status(struct batch *b, struct rpc_grpc_call *g)
{
    const struct chassis_outcome *out = g->outcome;
    g->status_sent = true;
    grpc_op *op = batch_op(b, GRPC_OP_SEND_STATUS_FROM_SERVER);
    for (size_t i = 0; i < out->n_trailers; i++) {
        b->trailers[b->n_trailers++] = pair_of(out->trailers[i].key, out->trailers[i].value);
    }
    if (out->status_bin.len != 0) {
        b->trailers[b->n_trailers++] = pair_of("grpc-status-details-bin", out->status_bin);
    }
    op->data.send_status_from_server.trailing_metadata_count = b->n_trailers;
    op->data.send_status_from_server.trailing_metadata = b->trailers;
    op->data.send_status_from_server.status = (grpc_status_code)chassis_status_to_grpc(out->code);
    if (out->text[0] != '\0') {
        b->text = grpc_slice_from_copied_string(out->text);
        op->data.send_status_from_server.status_details = &b->text;
    }
}

static void batch_close(struct batch *b, struct rpc_grpc_call *g)
{
    if (g->close_started) {
        return;
    }
    /* Its completion is that of the send batch then. */
    grpc_op *op = batch_op(b, GRPC_OP_RECV_CLOSE_ON_SERVER);
    op->data.recv_close_on_server.cancelled = &g->cancelled;
}

static void batch_fini(struct batch *b)
{
    for (size_t i = 0; i < b->n_headers; i++) {
        grpc_slice_unref(b->headers[i].key);
        grpc_slice_unref(b->headers[i].value);
    }
    for (size_t i = 0; i < b->n_trailers; i++) {
        grpc_slice_unref(b->trailers[i].key);
        grpc_slice_unref(b->trailers[i].value);
    }
    grpc_slice_unref(b->text);
}

static void batch_start(struct batch *b, grpc_call *call, struct rpc_tag *tag)
{
    grpc_call_error rc = grpc_call_start_batch(call, b->ops, b->n, tag, NULL);
    if (rc != GRPC_CALL_OK) {
        CHASSIS_PANIC("gRPC refused a batch: %s", grpc_call_error_to_string(rc));
    }
    batch_fini(b); /* the batch holds its own references */
}

/* The call whose handler or callback runs on this thread. */
static _Thread_local struct rpc_grpc_call *corked;

/* Fill `b` with what is to be sent next; false if there is nothing. Under the lock; sets
 * sending_batch. A message is hinted only while another one waits behind it, never in the batch that
 * carries the headers (such a batch does not complete). */
static bool send_next(struct rpc_grpc_call *g, struct batch *b)
{
    b->n = b->n_headers = b->n_trailers = 0;
    b->text = grpc_empty_slice();
    if (g->sending_batch || g->status_sent || (g->queue.count == 0 && g->outcome == NULL)) {
        return false;
    }
    if (corked == g && g->queue.count == 1 && g->outcome == NULL) {
        g->held_back = true;
        return false;
    }
    bool fresh = !g->sent_headers;
    batch_headers(b, g);
    if (g->queue.count != 0) {
        grpc_slice slice = grpc_slice_buffer_take_first(&g->queue);
        g->sending_len = GRPC_SLICE_LENGTH(slice);
        grpc_slice_buffer_add_indexed(&g->sending.data.raw.slice_buffer, slice);
        grpc_op *op = batch_op(b, GRPC_OP_SEND_MESSAGE);
        op->data.send_message.send_message = &g->sending;
        op->flags = g->queue.count != 0 && !fresh ? GRPC_WRITE_BUFFER_HINT : 0;
    }
    if (g->outcome != NULL && g->queue.count == 0) {
        batch_status(b, g);
        batch_close(b, g);
    }
    g->sending_batch = true;
    return true;
}

static void cork(struct rpc_grpc_call *g)
{
    corked = g;
    g->burst = 0;
}

static void uncork(struct rpc_grpc_call *g)
{
    struct batch b;
    corked = NULL;
    if (!g->held_back) {
        return;
    }
    g->held_back = false;
    pthread_mutex_lock(&g->lock);
    bool start = send_next(g, &b);
    pthread_mutex_unlock(&g->lock);
    if (start) {
        batch_start(&b, g->call, &g->send_tag);
    }
}

/* On the queue's thread only, with nothing of this call under way but what the flags say. */
static void release_if_done(struct rpc_grpc_call *g)
{
    pthread_mutex_lock(&g->lock);
    bool done = g->status_sent && !g->sending_batch && !g->reading && !g->released &&
                (g->close_done || !g->close_started);
    g->released = g->released || done;
    pthread_mutex_unlock(&g->lock);
    if (!done) {
        return;
    }
    if (g->core != NULL) {
        chassis_call_release(g->core);
    } else {
        call_put(g);
    }
}

/* The batch under way is complete. Under the lock. */
static void sent(struct rpc_grpc_call *g, bool ok)
{
    grpc_slice_buffer_reset_and_unref(&g->sending.data.raw.slice_buffer);
    g->sending_batch = false;
    g->sending_len = 0;
    g->broken = g->broken || !ok;
    if (g->broken) { /* nothing of it reaches the client any more */
        grpc_slice_buffer_reset_and_unref(&g->queue);
    }
}

static void on_sent(struct rpc_tag *tag, bool ok)
{
    struct rpc_grpc_call *g = chassis_container_of(tag, struct rpc_grpc_call, send_tag);
    struct batch b;
    bool writable = false;
    pthread_mutex_lock(&g->lock);
    sent(g, ok);
    if (g->want_writable && g->queue.length * 2 <= chassis_call_queue_max(g->core)) {
        g->want_writable = false;
        writable = g->outcome == NULL;
    }
    bool more = !writable && send_next(g, &b);
    pthread_mutex_unlock(&g->lock);
    if (more) {
        batch_start(&b, g->call, &g->send_tag);
    }
    if (writable) {
        cork(g);
        chassis_call_writable(g->core);
        uncork(g);
    }
    if (!more) {
        release_if_done(g);
    }
}

/* Start the batch. Of a corked call those that complete at once are done with here, one after the
 * other: a burst of messages passes through without ever standing in a queue. */
static void send_batches(struct rpc_grpc_call *g, struct batch *b)
{
    bool more = true, ok;
    while (more) {
        batch_start(b, g->call, &g->send_tag);
        more = false;
        if (corked == g && !g->status_sent && rpc_queue_take(g->cq, &g->send_tag, &ok)) {
            pthread_mutex_lock(&g->lock);
            sent(g, ok);
            more = send_next(g, b);
            pthread_mutex_unlock(&g->lock);
        }
    }
}

/* Under the lock: nobody else writes, others only read. */
static void count_out(struct chassis_call *call, size_t len)
{
    uint64_t bytes = atomic_load_explicit(&call->bytes_out, memory_order_relaxed);
    unsigned messages = atomic_load_explicit(&call->messages_out, memory_order_relaxed);
    atomic_store_explicit(&call->bytes_out, bytes + len, memory_order_relaxed);
    atomic_store_explicit(&call->messages_out, messages + 1, memory_order_relaxed);
}

static int op_send(struct chassis_call *call, const void *message, struct chassis_view encoded)
{
    struct rpc_grpc_call *g = chassis_call_transport(call);
    grpc_slice slice = rpc_slice_of(message, encoded);
    size_t len = GRPC_SLICE_LENGTH(slice);
    struct batch b;
    int rc = 0;
    bool start = false;
    pthread_mutex_lock(&g->lock);
    size_t queued = g->queue.length + g->sending_len, max = chassis_call_queue_max(call);
    if (g->broken || g->close_done) {
        rc = CHASSIS_CANCELLED;
    } else if ((queued != 0 && queued + len > max) || (corked == g && g->burst > max)) {
        g->want_writable = true;
        rc = CHASSIS_RESOURCE_EXHAUSTED;
    } else {
        grpc_slice_buffer_add_indexed(&g->queue, slice);
        if (corked == g) {
            g->burst += len;
        }
        count_out(call, len);
        start = send_next(g, &b);
    }
    pthread_mutex_unlock(&g->lock);
    if (rc != 0) {
        grpc_slice_unref(slice);
        return rc;
    }
    if (start) {
        send_batches(g, &b);
    }
    return 0;
}

static size_t op_queued(const struct chassis_call *call)
{
    struct rpc_grpc_call *g = chassis_call_transport(call);
    pthread_mutex_lock(&g->lock);
    size_t queued = g->queue.length + g->sending_len;
    pthread_mutex_unlock(&g->lock);
    return queued;
}

static void op_end(struct chassis_call *call, const struct chassis_outcome *outcome)
{
    struct rpc_grpc_call *g = chassis_call_transport(call);
    struct batch b;
    grpc_slice answer = grpc_empty_slice();
    if (outcome->has_answer) {
        answer = rpc_slice_of(outcome->message, outcome->encoded);
    }
    pthread_mutex_lock(&g->lock);
    if (outcome->has_answer) {
        count_out(call, GRPC_SLICE_LENGTH(answer));
        grpc_slice_buffer_add_indexed(&g->queue, answer);
    }
    g->outcome = outcome;
    bool start = send_next(g, &b);
    grpc_call *own = g->call;
    pthread_mutex_unlock(&g->lock);
    if (start) {
        batch_start(&b, own, &g->send_tag);
    }
}

/* ---- what is received ---- */

static void on_read(struct rpc_tag *tag, bool ok)
{
    struct rpc_grpc_call *g = chassis_container_of(tag, struct rpc_grpc_call, read_tag);
    pthread_mutex_lock(&g->lock);
    grpc_byte_buffer *buffer = g->incoming;
    g->incoming = NULL;
    g->reading = false;
    bool end = !g->broken && (ok || !g->cancelled);
    pthread_mutex_unlock(&g->lock);
    /* The call may end meanwhile, but is released on this thread only. */
    if (buffer != NULL) {
        struct rpc_bytes bytes;
        rpc_bytes_init(&bytes, buffer);
        cork(g);
        chassis_call_deliver(g->core, bytes.view);
        uncork(g);
        rpc_bytes_fini(&bytes);
        grpc_byte_buffer_destroy(buffer);
    } else if (end && !grpc_call_failed_before_recv_message(g->call)) {
        cork(g);
        chassis_call_deliver_end(g->core);
        uncork(g);
    } else if (!rpc_client_streams(g->core)) { /* no handler will end it */
        struct chassis_error err;
        chassis_error_set(&err, CHASSIS_CANCELLED, "the client went before its request was there");
        chassis_call_reject(g->core, &err);
    }
    release_if_done(g);
}

static void op_read(struct chassis_call *call)
{
    struct rpc_grpc_call *g = chassis_call_transport(call);
    grpc_op op;
    pthread_mutex_lock(&g->lock);
    bool go = !g->reading && !g->status_sent && !g->released;
    g->reading = g->reading || go;
    pthread_mutex_unlock(&g->lock);
    if (!go) {
        return;
    }
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &g->incoming;
    grpc_call_error rc = grpc_call_start_batch(g->call, &op, 1, &g->read_tag, NULL);
    CHASSIS_ASSERT(rc == GRPC_CALL_OK);
}

static void on_close(struct rpc_tag *tag, bool ok)
{
    struct rpc_grpc_call *g = chassis_container_of(tag, struct rpc_grpc_call, close_tag);
    pthread_mutex_lock(&g->lock);
    bool cancelled = g->cancelled != 0;
    g->broken = g->broken || cancelled;
    pthread_mutex_unlock(&g->lock);
    if (cancelled) {
        chassis_call_cancel(g->core);
    }
    pthread_mutex_lock(&g->lock);
    g->close_done = true;
    pthread_mutex_unlock(&g->lock);
    release_if_done(g);
}

/* ---- with what ---- */

static bool op_header(struct chassis_call *call, const char *key, struct chassis_view *ret_value)
{
    const struct rpc_grpc_call *g = chassis_call_transport(call);
    size_t len = strlen(key);
    for (size_t i = 0; i < g->metadata.count; i++) {
        const grpc_metadata *md = &g->metadata.metadata[i];
        if (GRPC_SLICE_LENGTH(md->key) == len &&
            memcmp(GRPC_SLICE_START_PTR(md->key), key, len) == 0) {
            *ret_value = rpc_slice_view(&md->value);
            return true;
        }
    }
    return false;
}

static struct chassis_executor *op_executor(const struct chassis_call *call)
{
    const struct rpc_grpc_call *g = chassis_call_transport(call);
    return &g->cq->executor;
}

static void op_cork(struct chassis_call *call, bool on)
{
    struct rpc_grpc_call *g = chassis_call_transport(call);
    if (on) {
        cork(g);
    } else {
        uncork(g);
    }
}

static const struct chassis_transport_ops grpc_ops = {
    .name = "grpc",
    .executor = op_executor,
    .header = op_header,
    .peer = rpc_grpc_peer,
    .read = op_read,
    .send = op_send,
    .queued = op_queued,
    .cork = op_cork,
    .end = op_end,
    .freed = op_freed,
};

/* ---- arrival ---- */

static struct rpc_grpc_call *call_take(struct rpc_slot *slot, grpc_call *call)
{
    struct rpc_grpc_call *g = call_get(slot->listener->owner);
    g->listener = slot->listener;
    g->call = call;
    g->cq = slot->queue;
    rpc_tag_set(&g->send_tag, on_sent);
    rpc_tag_set(&g->read_tag, on_read);
    rpc_tag_set(&g->close_tag, on_close);
    grpc_metadata_array spare = g->metadata; /* keeps its room for the next call of the slot */
    g->metadata = slot->metadata;
    slot->metadata = spare;
    return g;
}

static void start_close(struct rpc_grpc_call *g)
{
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    op.data.recv_close_on_server.cancelled = &g->cancelled;
    grpc_call_error rc = grpc_call_start_batch(g->call, &op, 1, &g->close_tag, NULL);
    CHASSIS_ASSERT(rc == GRPC_CALL_OK);
}

static void deliver_payload(struct rpc_grpc_call *g, grpc_byte_buffer *payload)
{
    struct rpc_bytes bytes;
    if (payload == NULL) {
        chassis_call_deliver_end(g->core);
        return;
    }
    rpc_bytes_init(&bytes, payload);
    chassis_call_deliver(g->core, bytes.view);
    rpc_bytes_fini(&bytes);
    grpc_byte_buffer_destroy(payload);
}

void rpc_grpc_call_accept(struct rpc_slot *slot, const struct chassis_server_method *method,
                          grpc_call *call, uint64_t deadline_ns, grpc_byte_buffer *payload)
{
    struct rpc_grpc_call *g = call_take(slot, call);
    struct chassis_server *server = slot->listener->owner->server;
    bool generic = slot->method == NULL, unary = method->method->kind == CHASSIS_UNARY;
    bool inline_unary =
        unary && !generic && (method->never_blocks || server->options.workers == NULL);
    g->core = chassis_call_new(server, method, &grpc_ops, g, deadline_ns);
    if (!inline_unary) { /* cancellation must be seen while the handler is elsewhere */
        g->close_started = true;
        start_close(g);
    }
    if (!unary) {
        cork(g);
    }
    chassis_call_start(g->core);
    if (!generic) {
        deliver_payload(g, payload);
    } else if (!rpc_client_streams(g->core)) {
        op_read(g->core); /* streams from the client ask themselves */
    }
    if (!unary) {
        uncork(g);
    }
    if (inline_unary) { /* a handler that answers later after all */
        pthread_mutex_lock(&g->lock);
        bool start = !g->close_started && !g->status_sent && g->outcome == NULL;
        g->close_started = g->close_started || start;
        pthread_mutex_unlock(&g->lock);
        if (start) {
            start_close(g);
        }
    }
}

void rpc_grpc_call_refuse(struct rpc_slot *slot, grpc_call *call, struct chassis_view path)
{
    struct rpc_grpc_call *g = call_take(slot, call);
    char text[300];
    struct batch b = {.text = grpc_empty_slice()};
    snprintf(text, sizeof text, "unknown method '%.*s'", (int)(path.len < 256 ? path.len : 256),
             (const char *)path.data);
    struct chassis_outcome outcome = {.code = CHASSIS_UNIMPLEMENTED, .text = text};
    g->outcome = &outcome;
    batch_headers(&b, g);
    batch_status(&b, g);
    batch_close(&b, g);
    g->sending_batch = true;
    batch_start(&b, call, &g->send_tag);
}
