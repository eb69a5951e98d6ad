/* Unary calls: attempts, retries, the answer. */
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/fault.h"
#include "os/os.h"
#include "proto/message.h"
#include "rpc/client_impl.h"
#include "rpc/transport.h"

struct unary {
    struct rpc_client_op op;
    struct rpc_tag tag;                  /* of the attempt */
    struct chassis_task task;            /* the callback, on the caller's executor */
    const struct chassis_method *method; /* NULL: raw bytes */
    char *path;
    grpc_slice request;
    struct rpc_headers headers;
    uint64_t deadline_ns;
    unsigned attempts;
    bool idempotent, failed; /* failed: with `error`, before anything could be started */
    bool direct;             /* direct: the callback runs on the queue whatever the executor */
    chassis_reply_cb done;
    void *data;
    struct chassis_arena arena;

    struct rpc_endpoint *endpoint, *avoid; /* avoid: only compared */
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
    grpc_byte_buffer *response;
    struct rpc_bytes bytes;
    struct chassis_reply reply;
    struct chassis_error error;
};

static void attempt(struct unary *u);

static const char *reply_trailer(const struct chassis_reply *reply, const char *key)
{
    struct unary *u =
        chassis_container_of((struct chassis_reply *)(uintptr_t)reply, struct unary, reply);
    const char *found = rpc_metadata_find(&u->trailing, key, &u->arena);
    return found != NULL ? found : rpc_metadata_find(&u->initial, key, &u->arena);
}

/* ---- the end ---- */

static void attempt_fini(struct unary *u)
{
    pthread_mutex_lock(&u->op.client->lock);
    grpc_call *call = u->op.call;
    u->op.call = NULL;
    pthread_mutex_unlock(&u->op.client->lock);
    grpc_metadata_array_destroy(&u->initial);
    grpc_metadata_array_destroy(&u->trailing);
    grpc_slice_unref(u->details);
    grpc_byte_buffer_destroy(u->response);
    u->response = NULL;
    if (call != NULL) {
        grpc_call_unref(call);
    }
}

static void unary_free(struct unary *u)
{
    struct chassis_client *client = u->op.client;
    rpc_bytes_fini(&u->bytes);
    attempt_fini(u);
    rpc_headers_fini(&u->headers);
    grpc_slice_unref(u->request);
    chassis_arena_fini(&u->arena);
    free(u->path);
    rpc_client_leave(&u->op);
    free(u);
    rpc_client_unref(client);
}

static void call_back(struct unary *u)
{
    u->done(&u->reply, u->data);
    unary_free(u);
}

static void task_run(struct chassis_task *task)
{
    call_back(chassis_container_of(task, struct unary, task));
}

/* On the queue's thread. */
static void finish(struct unary *u, int code, const char *text)
{
    u->reply.code = code;
    u->reply.text = text;
    u->reply.trailer = reply_trailer;
    if (u->reply.endpoint == NULL) {
        u->reply.endpoint = "";
    }
    if (u->op.client->executor != NULL && !u->direct) {
        u->task.run = task_run;
        chassis_post(u->op.client->executor, &u->task);
    } else {
        call_back(u);
    }
}

/* From the caller's thread: the callback must not run inside the call. */
static void fail_later(struct unary *u)
{
    u->failed = true;
    rpc_timer_start(&u->op.timer, 0);
}

/* The wait is over: before the next attempt, for the resolver, or for nothing. */
static void on_timer(struct rpc_timer *timer)
{
    struct unary *u = chassis_container_of(timer, struct unary, op.timer);
    if (u->failed) {
        finish(u, u->error.code, u->error.text);
    } else {
        attempt(u);
    }
}

/* ---- attempts ---- */

/* Under the lock: a client that is being freed hurries what it finds started, and waits. */
static void attempt_after(struct unary *u, uint64_t delay_ns)
{
    struct chassis_client *client = u->op.client;
    pthread_mutex_lock(&client->lock);
    bool cancelled = u->op.cancelled;
    rpc_timer_start(&u->op.timer, cancelled ? 0 : chassis_os_monotonic_ns() + delay_ns);
    pthread_mutex_unlock(&client->lock);
}

static void succeed(struct unary *u)
{
    rpc_bytes_init(&u->bytes, u->response);
    u->reply.encoded = u->bytes.view;
    if (u->response == NULL) {
        finish(u, CHASSIS_INTERNAL, "the server sent status OK without a message");
        return;
    }
    if (u->method != NULL && u->method->response != NULL) {
        ProtobufCMessage *message;
        int rc = chassis_message_decode(chassis_message_descriptor(u->method->response),
                                        u->bytes.view, NULL, &u->arena, &message, &u->error);
        if (rc != 0) {
            chassis_error_wrap(&u->error, "response of '%s'", u->path);
            finish(u, CHASSIS_INTERNAL, u->error.text);
            return;
        }
        u->reply.message = message;
    }
    finish(u, 0, "");
}

/* Whether, and after how long, to try again. */
static bool retry(struct unary *u, int code, bool never_run, uint64_t *ret_delay_ns)
{
    struct chassis_client *client = u->op.client;
    if (code != CHASSIS_UNAVAILABLE || (!never_run && !u->idempotent) ||
        u->attempts >= client->attempts_max) {
        return false;
    }
    uint64_t now_ns = chassis_os_monotonic_ns();
    pthread_mutex_lock(&client->lock);
    bool go = !u->op.cancelled && rpc_budget_take(&client->budget, now_ns);
    uint64_t delay_ns = rpc_retry_delay_ns(u->attempts + 1, chassis_prng_unit(&client->prng));
    if (CHASSIS_FAULT("rpc.client.retry.late")) {
        delay_ns = 3600 * CHASSIS_NS_PER_S;
    }
    bool other = client->n_endpoints > 1;
    pthread_mutex_unlock(&client->lock);
    if (other && u->attempts == 1) {
        delay_ns = 0; /* the first retry goes to another endpoint: nothing to wait for */
    }
    *ret_delay_ns = delay_ns;
    return go && (u->deadline_ns == UINT64_MAX || now_ns + delay_ns < u->deadline_ns);
}

static bool closed(struct unary *u)
{
    pthread_mutex_lock(&u->op.client->lock);
    bool cancelled = u->op.cancelled;
    pthread_mutex_unlock(&u->op.client->lock);
    return cancelled;
}

static void on_attempt(struct rpc_tag *tag, bool ok)
{
    struct unary *u = chassis_container_of(tag, struct unary, tag);
    const struct rpc_ending ending = {u->op.call,  u->status,    &u->details,
                                      &u->initial, &u->trailing, closed(u)};
    struct rpc_verdict verdict;
    rpc_client_verdict(&ending, &verdict);
    int code = verdict.code;
    uint64_t delay_ns;
    u->avoid = u->endpoint;
    u->reply.endpoint = chassis_arena_strdup(&u->arena, u->endpoint->address);
    rpc_client_report(u->op.client, u->endpoint, &verdict);
    u->endpoint = NULL;
    if (code == 0) {
        succeed(u);
        return;
    }
    if (retry(u, code, verdict.never_run, &delay_ns)) {
        attempt_fini(u);
        grpc_metadata_array_init(&u->initial);
        grpc_metadata_array_init(&u->trailing);
        u->details = grpc_empty_slice();
        attempt_after(u, delay_ns);
        return;
    }
    if (code == CHASSIS_UNAVAILABLE && closed(u)) {
        finish(u, CHASSIS_CANCELLED,
               "the client was closed"); /* or it would have been tried again */
        return;
    }
    struct chassis_view text = rpc_slice_view(&u->details);
    const char *kept = chassis_arena_strndup(&u->arena, text.data, text.len);
    u->reply.details = rpc_metadata_view(&u->trailing, "grpc-status-details-bin");
    finish(u, code,
           verdict.broken_off ? "the server broke the call off: it may be shutting down"
           : kept != NULL     ? kept
                              : "");
}

static void attempt_batch(struct unary *u, grpc_call *call)
{
    grpc_op ops[6];
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&u->request, 1);
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].data.send_initial_metadata.count = u->headers.n;
    ops[0].data.send_initial_metadata.metadata = u->headers.items;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = message;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &u->initial;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &u->response;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &u->trailing;
    ops[5].data.recv_status_on_client.status = &u->status;
    ops[5].data.recv_status_on_client.status_details = &u->details;
    rpc_tag_set(&u->tag, on_attempt);
    grpc_call_error rc = grpc_call_start_batch(call, ops, 6, &u->tag, NULL);
    if (rc != GRPC_CALL_OK) {
        CHASSIS_PANIC("gRPC refused a call: %s", grpc_call_error_to_string(rc));
    }
    grpc_byte_buffer_destroy(message);
}

/* One try: pick, then start. What cannot be started fails through the queue. */
static void attempt(struct unary *u)
{
    struct chassis_client *client = u->op.client;
    grpc_call *call = NULL;
    pthread_mutex_lock(&client->lock);
    int rc = u->op.cancelled
                 ? chassis_error_set(&u->error, CHASSIS_CANCELLED, "the client was closed")
                 : rpc_client_pick(client, u->avoid, &u->endpoint, &u->error);
    if (rc == 0) {
        u->attempts++;
        grpc_slice method = grpc_slice_from_copied_string(u->path);
        call = grpc_channel_create_call(u->endpoint->channel->channel, NULL,
                                        GRPC_PROPAGATE_DEFAULTS, rpc_client_queue(), method, NULL,
                                        rpc_deadline(u->deadline_ns), NULL);
        grpc_slice_unref(method);
        u->op.call = call;
    }
    bool wait = rc == CHASSIS_BUSY;
    if (wait) {
        rc = rpc_client_wait_resolved(client, &u->op, u->deadline_ns, &u->error);
    }
    pthread_mutex_unlock(&client->lock);
    if (rc != 0) {
        fail_later(u);
    } else if (!wait) {
        if (u->attempts > 1) {
            rpc_client_headers_renew(client, u->path, &u->headers);
        }
        attempt_batch(u, call);
    }
}

static bool has_request_id(const struct chassis_call_options *options)
{
    for (size_t i = 0; options != NULL && i < options->n_metadata; i++) {
        if (strcmp(options->metadata[i].key, "draft-request-id") == 0) {
            return true;
        }
    }
    return false;
}

static void unary_start(struct chassis_client *client, const struct chassis_method *method,
                        const char *path, grpc_slice request,
                        const struct chassis_call_options *options, bool direct,
                        chassis_reply_cb done, void *data)
{
    struct unary *u = chassis_base_zalloc(sizeof *u);
    u->method = method;
    u->path = chassis_base_strdup(path);
    u->request = request;
    u->direct = direct;
    u->done = done;
    u->data = data;
    u->deadline_ns = rpc_client_deadline(client, options, false);
    u->idempotent = (options != NULL && options->idempotent) || has_request_id(options);
    u->details = grpc_empty_slice();
    u->bytes.slice = grpc_empty_slice();
    grpc_metadata_array_init(&u->initial);
    grpc_metadata_array_init(&u->trailing);
    chassis_arena_init(&u->arena, NULL, 0, 64UL << 20);
    bool open = rpc_client_enter(client, &u->op, on_timer);
    int rc = rpc_client_headers(client, path, options, &u->arena, &u->headers, &u->error);
    if (!open) {
        rc = chassis_error_set(&u->error, CHASSIS_CANCELLED, "the client is closed");
    }
    if (rc != 0) {
        fail_later(u);
        return;
    }
    attempt(u);
}

void chassis_client_call(struct chassis_client *client, const struct chassis_method *method,
                         const void *request, const struct chassis_call_options *options,
                         chassis_reply_cb done, void *data)
{
    unary_start(client, method, method->path, rpc_slice_of(request, chassis_view(NULL, 0)), options,
                false, done, data);
}

void chassis_client_call_bytes(struct chassis_client *client, const char *path,
                               struct chassis_view request,
                               const struct chassis_call_options *options, chassis_reply_cb done,
                               void *data)
{
    unary_start(client, NULL, path, rpc_slice_of(NULL, request), options, false, done, data);
}

/* ---- blocking ---- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
    const struct chassis_method *method;
    struct chassis_arena *arena;
    void *response;
    int code;
    struct chassis_error *err;
};

/* The waiting thread's arena is used here: it does nothing else meanwhile. */
static void sync_done(const struct chassis_reply *reply, void *data)
{
    struct waiter *w = data;
    int code = reply->code;
    if (code != 0) {
        chassis_error_set(w->err, code, "%s",
                          reply->text[0] != '\0' ? reply->text : chassis_status_text(code));
    } else {
        ProtobufCMessage *message = NULL;
        code = chassis_message_decode(chassis_message_descriptor(w->method->response),
                                      reply->encoded, NULL, w->arena, &message, w->err);
        w->response = message;
    }
    pthread_mutex_lock(&w->lock);
    w->code = code;
    w->done = true;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

int chassis_client_call_sync(struct chassis_client *client, const struct chassis_method *method,
                             const void *request, const struct chassis_call_options *options,
                             struct chassis_arena *arena, void **ret_response,
                             struct chassis_error *err)
{
    struct waiter w = {.method = method, .arena = arena, .err = err};
    CHASSIS_ASSERT(!rpc_client_on_queue()); /* would wait for itself */
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.ended, NULL);
    /* The raw form: the answer is decoded once, into the caller's arena. */
    unary_start(client, NULL, method->path, rpc_slice_of(request, chassis_view(NULL, 0)), options,
                true, sync_done, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.done) {
        pthread_cond_wait(&w.ended, &w.lock);
    }
    pthread_mutex_unlock(&w.lock);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.ended);
    if (w.code == 0 && ret_response != NULL) {
        *ret_response = w.response;
    }
    return w.code;
}
