/* Streams of the three kinds.
 *
 * Invariants: one batch of sends and one read at a time; a message is handed over only after the
 * handler of the one before returned; `closed` comes after the last message, with nothing under way.
 * Until the call exists (the target is being resolved) `sending` and `reading` stand for its first
 * batches: messages queue up, and nothing closes.
 * The client's lock guards op.call, the stream's own lock the rest.
 */
#include <grpc/slice_buffer.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "os/os.h"
#include "proto/message.h"
#include "rpc/client_impl.h"

enum { QUEUE_MAX = 1 << 20 };

enum event { EVENT_NONE, EVENT_MESSAGE, EVENT_WRITABLE, EVENT_CLOSED };

struct chassis_client_stream {
    struct rpc_client_op op;
    struct rpc_tag send_tag, read_tag, status_tag;
    const struct chassis_method *method; /* NULL: by path */
    const struct chassis_stream_handlers *handlers;
    struct chassis_stream_handlers handlers_copy;
    void *data;
    struct rpc_endpoint *endpoint;
    struct rpc_headers headers;
    struct chassis_arena arena, message_arena;
    grpc_call *call; /* NULL until the target is resolved */
    char *path;
    uint64_t deadline_ns;

    pthread_mutex_t lock;
    struct chassis_task task; /* runs the events that are due, on the executor */
    bool task_posted;
    bool have_message, have_writable, status_done, closed;
    bool held; /* `closed` waits for the opener's half-close or cancel */
    bool reading, read_ended, sending, half_close, half_closed, broken, want_writable, cancelled;
    grpc_byte_buffer *incoming, *message;
    grpc_slice_buffer queue;   /* messages that wait to be sent, a slice each */
    grpc_byte_buffer outgoing; /* the one in the batch under way */
    size_t sending_len;        /* counts as queued, too */

    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
    struct chassis_reply reply;
    int local_code; /* a message that could not be decoded */
    struct chassis_error error;
};

static void read_start(struct chassis_client_stream *s);
static void on_sent(struct rpc_tag *tag, bool ok);

static const char *reply_trailer(const struct chassis_reply *reply, const char *key)
{
    struct chassis_client_stream *s = chassis_container_of((struct chassis_reply *)(uintptr_t)reply,
                                                           struct chassis_client_stream, reply);
    const char *found = rpc_metadata_find(&s->trailing, key, &s->arena);
    return found != NULL ? found : rpc_metadata_find(&s->initial, key, &s->arena);
}

static void stream_free(struct chassis_client_stream *s)
{
    struct chassis_client *client = s->op.client;
    pthread_mutex_lock(&client->lock);
    s->op.call = NULL;
    pthread_mutex_unlock(&client->lock);
    grpc_slice_buffer_destroy(&s->queue);
    grpc_slice_buffer_destroy(&s->outgoing.data.raw.slice_buffer);
    free(s->path);
    grpc_byte_buffer_destroy(s->message);
    grpc_metadata_array_destroy(&s->initial);
    grpc_metadata_array_destroy(&s->trailing);
    grpc_slice_unref(s->details);
    if (s->call != NULL) {
        grpc_call_unref(s->call);
    }
    rpc_headers_fini(&s->headers);
    chassis_arena_fini(&s->arena);
    chassis_arena_fini(&s->message_arena);
    pthread_mutex_destroy(&s->lock);
    rpc_client_leave(&s->op);
    free(s);
    rpc_client_unref(client);
}

/* ---- events, on the executor ---- */

static void event_closed(struct chassis_client_stream *s)
{
    int code = s->local_code != 0            ? s->local_code
               : s->status == GRPC_STATUS_OK ? 0
                                             : chassis_status_from_grpc((int)s->status);
    struct chassis_view text = rpc_slice_view(&s->details);
    const char *kept =
        s->local_code != 0 ? s->error.text : chassis_arena_strndup(&s->arena, text.data, text.len);
    s->reply.code = code;
    s->reply.text = kept != NULL ? kept : "";
    s->reply.trailer = reply_trailer;
    s->reply.details = rpc_metadata_view(&s->trailing, "grpc-status-details-bin");
    s->reply.endpoint = "";
    if (s->endpoint != NULL) {
        s->reply.endpoint = chassis_arena_strdup(&s->arena, s->endpoint->address);
        struct rpc_verdict verdict;
        const struct rpc_ending ending = {s->call,     s->status,    &s->details,
                                          &s->initial, &s->trailing, true};
        rpc_client_verdict(&ending, &verdict);
        rpc_client_report(s->op.client, s->endpoint, &verdict);
    }
    if (s->handlers->closed != NULL) {
        s->handlers->closed(s, &s->reply, s->data);
    }
    stream_free(s);
}

static void event_message(struct chassis_client_stream *s)
{
    struct rpc_bytes bytes;
    ProtobufCMessage *message = NULL;
    int rc = 0;
    rpc_bytes_init(&bytes, s->message);
    if (s->method != NULL && s->method->response != NULL) {
        rc = chassis_message_decode(chassis_message_descriptor(s->method->response), bytes.view,
                                    NULL, &s->message_arena, &message, &s->error);
    }
    if (rc == 0) {
        s->handlers->message(s, message, bytes.view, s->data);
    } else {
        pthread_mutex_lock(&s->lock);
        s->local_code = CHASSIS_INTERNAL;
        pthread_mutex_unlock(&s->lock);
        chassis_error_wrap(&s->error, "message of '%s'", s->method->path);
        chassis_stream_cancel(s);
    }
    rpc_bytes_fini(&bytes);
    chassis_arena_fini(&s->message_arena);
    chassis_arena_init(&s->message_arena, NULL, 0, 64UL << 20);
    pthread_mutex_lock(&s->lock);
    grpc_byte_buffer_destroy(s->message);
    s->message = NULL;
    pthread_mutex_unlock(&s->lock);
    read_start(s);
}

/* The next event that is due. Under the lock. */
static enum event event_next(struct chassis_client_stream *s)
{
    if (s->have_message) {
        s->have_message = false;
        return EVENT_MESSAGE;
    }
    if (s->have_writable) {
        s->have_writable = false;
        if (!s->status_done || s->held) { /* else nobody can send any more: it may be over */
            return EVENT_WRITABLE;
        }
    }
    if (s->status_done && !s->held && !s->reading && !s->sending && s->message == NULL &&
        !s->closed) {
        s->closed = true;
        return EVENT_CLOSED;
    }
    return EVENT_NONE;
}

static void events_run(struct chassis_client_stream *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        enum event event = event_next(s);
        if (event == EVENT_NONE) {
            s->task_posted = false;
        }
        pthread_mutex_unlock(&s->lock);
        switch (event) {
        case EVENT_NONE:
            return;
        case EVENT_MESSAGE:
            event_message(s);
            break;
        case EVENT_WRITABLE:
            if (s->handlers->writable != NULL) {
                s->handlers->writable(s, s->data);
            }
            break;
        case EVENT_CLOSED:
            event_closed(s);
            return;
        }
    }
}

static void task_run(struct chassis_task *task)
{
    events_run(chassis_container_of(task, struct chassis_client_stream, task));
}

/* With the lock held; gives it up. The stream may be gone afterwards. */
static void events_post(struct chassis_client_stream *s)
{
    bool due = s->have_message || s->have_writable ||
               (s->status_done && !s->held && !s->reading && !s->sending && s->message == NULL &&
                !s->closed);
    bool post = due && !s->task_posted;
    struct chassis_executor *executor = s->op.client->executor;
    s->task_posted = s->task_posted || post;
    pthread_mutex_unlock(&s->lock);
    if (!post) {
        return;
    }
    if (executor != NULL) {
        s->task.run = task_run;
        chassis_post(executor, &s->task);
    } else {
        events_run(s);
    }
}

/* ---- reading ---- */

static void on_read(struct rpc_tag *tag, bool ok)
{
    struct chassis_client_stream *s =
        chassis_container_of(tag, struct chassis_client_stream, read_tag);
    pthread_mutex_lock(&s->lock);
    s->reading = false;
    s->message = s->incoming;
    s->incoming = NULL;
    s->read_ended = s->message == NULL;
    s->have_message = s->message != NULL;
    events_post(s);
}

static void read_start(struct chassis_client_stream *s)
{
    grpc_op op;
    pthread_mutex_lock(&s->lock);
    bool go = !s->reading && !s->read_ended;
    s->reading = s->reading || go;
    pthread_mutex_unlock(&s->lock);
    if (!go) {
        return;
    }
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &s->incoming;
    rpc_tag_set(&s->read_tag, on_read);
    grpc_call_error rc = grpc_call_start_batch(s->call, &op, 1, &s->read_tag, NULL);
    CHASSIS_ASSERT(rc == GRPC_CALL_OK);
}

static void on_status(struct rpc_tag *tag, bool ok)
{
    struct chassis_client_stream *s =
        chassis_container_of(tag, struct chassis_client_stream, status_tag);
    pthread_mutex_lock(&s->lock);
    s->status_done = true;
    s->have_writable = s->have_writable || s->held; /* who waits to send hears that it is over */
    s->broken = true;
    events_post(s);
}

/* ---- sending ---- */

/* Fill `ops` with the next batch, and its number; 0 if none may be started. Under the lock. */
static size_t batch_fill(struct chassis_client_stream *s, grpc_op ops[2])
{
    size_t n = 0;
    memset(ops, 0, 2 * sizeof ops[0]);
    if (s->sending || s->broken || (s->queue.count == 0 && (!s->half_close || s->half_closed))) {
        return 0;
    }
    if (s->queue.count != 0) {
        grpc_slice slice = grpc_slice_buffer_take_first(&s->queue);
        s->sending_len = GRPC_SLICE_LENGTH(slice);
        grpc_slice_buffer_add_indexed(&s->outgoing.data.raw.slice_buffer, slice);
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n].data.send_message.send_message = &s->outgoing;
        ops[n++].flags = s->queue.count != 0 ? GRPC_WRITE_BUFFER_HINT : 0;
    }
    if (s->half_close && s->queue.count == 0) {
        ops[n++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        s->half_closed = true;
    }
    s->sending = true;
    rpc_tag_set(&s->send_tag, on_sent);
    return n;
}

/* The batch under way is complete. Under the lock. */
static void sent(struct chassis_client_stream *s, bool ok)
{
    grpc_slice_buffer_reset_and_unref(&s->outgoing.data.raw.slice_buffer);
    s->sending = false;
    s->sending_len = 0;
    s->broken = s->broken || !ok;
    if (s->broken) {
        grpc_slice_buffer_reset_and_unref(&s->queue);
    }
    if (s->want_writable && s->queue.length * 2 <= QUEUE_MAX) {
        s->want_writable = false;
        s->have_writable = true;
    }
}

/* Start the next batch if one may be started. With the lock held; gives it up. A batch the socket took
 * at once is done with here, if events run elsewhere: its completion need not wake the queue. */
static void send_next(struct chassis_client_stream *s)
{
    grpc_op ops[2];
    bool ok, here = s->op.client->executor != NULL;
    for (;;) {
        size_t n = batch_fill(s, ops);
        if (n == 0) {
            events_post(s);
            return;
        }
        grpc_call *call = s->call;
        pthread_mutex_unlock(&s->lock);
        if (!rpc_queue_start_batch(here ? rpc_client_env_queue() : NULL, call, ops, n, &s->send_tag,
                                   &ok)) {
            return;
        }
        pthread_mutex_lock(&s->lock);
        sent(s, ok);
    }
}

static void on_sent(struct rpc_tag *tag, bool ok)
{
    struct chassis_client_stream *s =
        chassis_container_of(tag, struct chassis_client_stream, send_tag);
    pthread_mutex_lock(&s->lock);
    sent(s, ok);
    bool more = !s->broken && (s->queue.count != 0 || (s->half_close && !s->half_closed));
    if (!more) {
        events_post(s);
        return;
    }
    /* An event that is due as well is posted first, by whoever has the next batch: the stream
     * cannot close while one is under way. */
    bool due = s->have_writable && !s->task_posted;
    if (!due) {
        send_next(s);
        return;
    }
    struct chassis_executor *executor = s->op.client->executor;
    s->task_posted = true;
    send_next(s);
    if (executor != NULL) {
        s->task.run = task_run;
        chassis_post(executor, &s->task);
    } else {
        events_run(s);
    }
}

static int send_message(struct chassis_client_stream *s, const void *message,
                        struct chassis_view encoded)
{
    grpc_slice slice = rpc_slice_of(message, encoded);
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    size_t queued = s->queue.length + s->sending_len;
    if (s->broken || s->half_close || s->cancelled) {
        rc = CHASSIS_CANCELLED;
    } else if (queued != 0 && queued + GRPC_SLICE_LENGTH(slice) > QUEUE_MAX) {
        s->want_writable = true;
        rc = CHASSIS_RESOURCE_EXHAUSTED;
    }
    if (rc != 0) {
        pthread_mutex_unlock(&s->lock);
        grpc_slice_unref(slice);
        return rc;
    }
    grpc_slice_buffer_add_indexed(&s->queue, slice);
    send_next(s);
    return 0;
}

int chassis_stream_send(struct chassis_client_stream *stream, const void *message)
{
    CHASSIS_ASSERT(message != NULL);
    return send_message(stream, message, chassis_view(NULL, 0));
}

int chassis_stream_send_bytes(struct chassis_client_stream *stream, struct chassis_view encoded)
{
    return send_message(stream, NULL, encoded);
}

void chassis_stream_half_close(struct chassis_client_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->half_close = true;
    bool over = stream->held && stream->status_done;
    stream->held = false;
    if (over) {
        events_post(stream);
    } else {
        send_next(stream);
    }
}

void chassis_stream_cancel(struct chassis_client_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->cancelled = true;
    bool over = stream->held && stream->status_done;
    stream->held = false;
    if (over) {
        events_post(stream);
        return;
    }
    grpc_call *call = stream->call;
    pthread_mutex_unlock(&stream->lock);
    if (call != NULL) {
        grpc_call_cancel(call, NULL);
    } else {
        rpc_timer_hurry(&stream->op.timer);
    }
}

/* ---- opening ---- */

static void stream_start(struct chassis_client_stream *s)
{
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    op.data.recv_status_on_client.trailing_metadata = &s->trailing;
    op.data.recv_status_on_client.status = &s->status;
    op.data.recv_status_on_client.status_details = &s->details;
    rpc_tag_set(&s->send_tag, on_sent);
    rpc_tag_set(&s->read_tag, on_read);
    rpc_tag_set(&s->status_tag, on_status);
    grpc_call_error rc = grpc_call_start_batch(s->call, &op, 1, &s->status_tag, NULL);
    CHASSIS_ASSERT(rc == GRPC_CALL_OK);
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_SEND_INITIAL_METADATA;
    op.data.send_initial_metadata.count = s->headers.n;
    op.data.send_initial_metadata.metadata = s->headers.items;
    rc = grpc_call_start_batch(s->call, &op, 1, &s->send_tag, NULL);
    CHASSIS_ASSERT(rc == GRPC_CALL_OK);
    grpc_op ops[2];
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_RECV_MESSAGE;
    ops[0].data.recv_message.recv_message = &s->incoming;
    ops[1].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &s->initial;
    rc = grpc_call_start_batch(s->call, ops, 2, &s->read_tag, NULL);
    CHASSIS_ASSERT(rc == GRPC_CALL_OK);
}

/* 0 with a call, or without one while the target is being resolved: `on_timer` comes then. */
static int stream_connect(struct chassis_client_stream *s, bool *ret_wait,
                          struct chassis_client_stream **ret_stream, struct chassis_error *err)
{
    struct chassis_client *client = s->op.client;
    grpc_call *call = NULL;
    pthread_mutex_lock(&client->lock);
    int rc = client->closed ? chassis_error_set(err, CHASSIS_CANCELLED, "the client is closed")
                            : rpc_client_pick(client, NULL, &s->endpoint, err);
    if (rc == 0) {
        grpc_slice method = grpc_slice_from_copied_string(s->path);
        call = grpc_channel_create_call(s->endpoint->channel->channel, NULL,
                                        GRPC_PROPAGATE_DEFAULTS, rpc_client_queue(), method, NULL,
                                        rpc_deadline(s->deadline_ns), NULL);
        grpc_slice_unref(method);
        s->op.call = call;
    }
    *ret_wait = rc == CHASSIS_BUSY;
    if (*ret_wait) {
        rc = rpc_client_wait_resolved(client, &s->op, s->deadline_ns, err);
    }
    if (rc == 0 && ret_stream != NULL) {
        *ret_stream = s; /* callbacks may come before the opening function returns */
    }
    pthread_mutex_unlock(&client->lock);
    if (call != NULL) {
        pthread_mutex_lock(&s->lock);
        s->call = call;
        bool cancelled = s->cancelled;
        pthread_mutex_unlock(&s->lock);
        if (cancelled) {
            grpc_call_cancel(call, NULL);
        }
    }
    return rc;
}

/* The end of a stream that never had a call. */
static void stream_fail(struct chassis_client_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->local_code = s->error.code;
    s->status_done = s->broken = true;
    s->sending = s->reading = false;
    grpc_slice_buffer_reset_and_unref(&s->queue);
    events_post(s);
}

static void on_timer(struct rpc_timer *timer)
{
    struct chassis_client_stream *s =
        chassis_container_of(timer, struct chassis_client_stream, op.timer);
    bool wait = false;
    pthread_mutex_lock(&s->lock);
    bool cancelled = s->cancelled;
    pthread_mutex_unlock(&s->lock);
    int rc = cancelled ? chassis_error_set(&s->error, CHASSIS_CANCELLED, "the stream was cancelled")
                       : stream_connect(s, &wait, NULL, &s->error);
    if (rc != 0) {
        stream_fail(s);
    } else if (!wait) {
        /* A proof made before the wait may be too old by now. */
        rpc_client_headers_renew(s->op.client, s->path, &s->headers);
        stream_start(s);
    }
}

static int stream_open(struct chassis_client *client, const struct chassis_method *method,
                       const char *path, const struct chassis_call_options *options,
                       const struct chassis_stream_handlers *handlers, void *data,
                       struct chassis_client_stream **ret_stream, struct chassis_error *err)
{
    struct chassis_client_stream *s = chassis_base_zalloc(sizeof *s);
    s->method = method;
    s->path = chassis_base_strdup(path);
    s->deadline_ns = rpc_client_deadline(client, options, true);
    s->handlers_copy = *handlers;
    s->handlers = &s->handlers_copy;
    s->data = data;
    s->held = (method != NULL && method->kind == CHASSIS_SERVER_STREAM) ||
              (options != NULL && options->closed_after_half_close);
    s->sending = true; /* the headers */
    s->reading = true; /* nothing closes before both first batches are started */
    s->details = grpc_empty_slice();
    s->outgoing.type = GRPC_BB_RAW;
    s->outgoing.data.raw.compression = GRPC_COMPRESS_NONE;
    grpc_slice_buffer_init(&s->outgoing.data.raw.slice_buffer);
    grpc_slice_buffer_init(&s->queue);
    pthread_mutex_init(&s->lock, NULL);
    grpc_metadata_array_init(&s->initial);
    grpc_metadata_array_init(&s->trailing);
    chassis_arena_init(&s->arena, NULL, 0, 1UL << 20);
    chassis_arena_init(&s->message_arena, NULL, 0, 64UL << 20);
    rpc_client_enter(client, &s->op, on_timer);
    bool wait = false;
    int rc = rpc_client_headers(client, path, options, &s->arena, &s->headers, err);
    rc = rc != 0 ? rc : stream_connect(s, &wait, ret_stream, err);
    if (rc != 0) {
        stream_free(s);
    } else if (!wait) {
        stream_start(s);
    }
    return rc;
}

int chassis_stream_open(struct chassis_client *client, const struct chassis_method *method,
                        const struct chassis_call_options *options,
                        const struct chassis_stream_handlers *handlers, void *data,
                        struct chassis_client_stream **ret_stream, struct chassis_error *err)
{
    return stream_open(client, method, method->path, options, handlers, data, ret_stream, err);
}

int chassis_stream_open_path(struct chassis_client *client, const char *path,
                             const struct chassis_call_options *options,
                             const struct chassis_stream_handlers *handlers, void *data,
                             struct chassis_client_stream **ret_stream, struct chassis_error *err)
{
    return stream_open(client, NULL, path, options, handlers, data, ret_stream, err);
}
