#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "os/os.h"
#include "proto/message.h"
#include "rpc/interceptors.h"
#include "rpc/server_impl.h"

static void step_task(struct chassis_task *task);

static void message_arena_init(struct chassis_call *call)
{
    chassis_arena_init(&call->message_arena, call->lean ? NULL : call->first + RPC_FIRST_OWN,
                       call->lean ? 0 : RPC_FIRST - RPC_FIRST_OWN,
                       call->server->options.arena_bytes_max);
}

struct chassis_call *chassis_call_new(struct chassis_server *server,
                                      const struct chassis_server_method *method,
                                      const struct chassis_transport_ops *ops, void *transport,
                                      uint64_t deadline_ns)
{
    struct chassis_call *call = rpc_server_call_get(server, rpc_call_is_lean(method));
    call->method = method;
    if (method->access == CHASSIS_ACCESS_PEER) {
        atomic_fetch_add(&server->lasting, 1);
    }
    call->ops = ops;
    call->transport = transport;
    call->deadline_ns = deadline_ns;
    call->started_ns = chassis_os_monotonic_ns();
    call->task.run = step_task;
    atomic_store_explicit(&call->refs, 1, memory_order_relaxed);
    bool shared = rpc_client_streams(call); /* between the call itself and its messages */
    chassis_arena_init(&call->arena, call->first, shared ? RPC_FIRST_OWN : RPC_FIRST,
                       server->options.arena_bytes_max);
    if (shared) {
        message_arena_init(call);
    }
    return call;
}

void chassis_call_ref(struct chassis_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
}

void chassis_call_unref(struct chassis_call *call)
{
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    CHASSIS_ASSERT(atomic_load(&call->ended));
    rpc_intercept_release(call);
    if (call->ops->freed != NULL) {
        call->ops->freed(call->transport);
    }
    if (call->logger != NULL) {
        chassis_log_free(call->logger);
    }
    chassis_arena_fini(&call->arena);
    if (rpc_client_streams(call)) {
        chassis_arena_fini(&call->message_arena);
    }
    rpc_server_call_put(call);
}

void chassis_call_release(struct chassis_call *call)
{
    chassis_call_unref(call);
}

/* ---- the end ---- */

static bool call_begin_end(struct chassis_call *call, bool must)
{
    pthread_mutex_lock(&call->lock);
    bool first = !atomic_load_explicit(&call->ended, memory_order_relaxed);
    if (first) {
        while (call->in_callback && !pthread_equal(call->callback_thread, pthread_self())) {
            pthread_cond_wait(&call->callback_done, &call->lock);
        }
        atomic_store_explicit(&call->ended, true, memory_order_release);
        call->on_cancel = NULL;
        call->on_writable = NULL;
    }
    pthread_mutex_unlock(&call->lock);
    if (must && !first) {
        CHASSIS_PANIC("call of %s ended twice", call->method->method->path);
    }
    return first;
}

/* After this the call must not be touched but by who holds a reference. */
static void call_end(struct chassis_call *call)
{
    struct chassis_outcome *out = &call->outcome;
    out->trailers = call->trailers.items;
    out->n_trailers = call->trailers.n;
    out->details = call->details;
    out->n_details = call->n_details;
    if (out->code != 0 && call->n_details != 0) {
        out->status_bin = rpc_status_encode(call, chassis_status_to_grpc(out->code), out->text);
    }
    rpc_intercept_end(call);
    if (call->on_end != NULL) {
        call->on_end(call, call->on_end_data);
    }
    call->ops->end(call, out);
}

static void call_fail_text(struct chassis_call *call, int code, const char *text)
{
    const char *kept = chassis_arena_strdup(&call->arena, text);
    call->outcome.code = code != 0 ? code : CHASSIS_UNKNOWN;
    call->outcome.text = kept != NULL ? kept : chassis_status_text(code);
    call_end(call);
}

void chassis_call_fail(struct chassis_call *call, int code, const char *format, ...)
{
    char text[CHASSIS_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    call_begin_end(call, true);
    call_fail_text(call, code, text);
}

void chassis_call_fail_error(struct chassis_call *call, const struct chassis_error *err)
{
    call_begin_end(call, true);
    call_fail_text(call, err->code, chassis_error_text(err));
}

void chassis_call_reject(struct chassis_call *call, const struct chassis_error *err)
{
    if (call_begin_end(call, false)) {
        call_fail_text(call, err->code, chassis_error_text(err));
    }
}

void chassis_call_abort(struct chassis_call *call, const struct chassis_error *err)
{
    chassis_call_reject(call, err);
}

void chassis_call_on_end(struct chassis_call *call, void (*cb)(struct chassis_call *, void *),
                         void *data)
{
    call->on_end = cb;
    call->on_end_data = data;
}

static void call_answer(struct chassis_call *call, const void *message, struct chassis_view encoded)
{
    call_begin_end(call, true);
    call->outcome.code = 0;
    call->outcome.text = "";
    call->outcome.has_answer = true;
    call->outcome.message = message;
    call->outcome.encoded = encoded;
    call_end(call);
}

void chassis_call_reply(struct chassis_call *call, const void *message)
{
    CHASSIS_ASSERT(message != NULL);
    call_answer(call, message, chassis_view(NULL, 0));
}

void chassis_call_reply_bytes(struct chassis_call *call, struct chassis_view encoded)
{
    call_answer(call, NULL, encoded);
}

void chassis_call_finish(struct chassis_call *call)
{
    call_begin_end(call, true);
    call->outcome.code = 0;
    call->outcome.text = "";
    call_end(call);
}

/* ---- steps ---- */

/* A stream that was cancelled while it waits for the client's next message, by a handler that does
 * not ask to be told: nothing would ever end it. Under the lock. */
static bool is_orphan(const struct chassis_call *call)
{
    return rpc_client_streams(call) &&
           atomic_load_explicit(&call->cancelled, memory_order_relaxed) && !call->minded &&
           !call->busy && !call->held && !call->finished;
}

static void orphan_end(struct chassis_call *call)
{
    struct chassis_error err;
    chassis_error_set(&err, CHASSIS_CANCELLED, "the client cancelled the stream or is gone");
    chassis_call_reject(call, &err);
}

static void step_done(struct chassis_call *call, enum rpc_step step)
{
    bool read = false, orphan = false;
    if (rpc_client_streams(call)) {
        if (step == RPC_STEP_MESSAGE) {
            chassis_arena_fini(&call->message_arena);
            message_arena_init(call);
        }
        pthread_mutex_lock(&call->lock);
        call->busy = false;
        orphan = is_orphan(call);
        read = !orphan && !atomic_load_explicit(&call->ended, memory_order_relaxed) &&
               !call->held && !call->finished && !call->reading;
        call->reading = call->reading || read;
        pthread_mutex_unlock(&call->lock);
    }
    if (orphan) {
        orphan_end(call);
    } else if (read) {
        call->ops->read(call);
    }
}

static void step_run(struct chassis_call *call)
{
    enum rpc_step step = call->step;
    const struct chassis_method_binding *b = call->method->binding;
    chassis_invoke_fn fn = step == RPC_STEP_OPEN  ? b->open
                           : step == RPC_STEP_END ? b->end
                                                  : b->message;
    /* A stream's handler may have ended the call while this step was on its way. */
    if (fn != NULL && !atomic_load_explicit(&call->ended, memory_order_acquire)) {
        fn(call->method->service->handlers, call, call->request);
    }
    step_done(call, step);
    chassis_call_unref(call);
}

static void step_task(struct chassis_task *task)
{
    step_run(chassis_container_of(task, struct chassis_call, task));
}

/* Handlers of this call run on the transport's thread, not on a worker. */
static bool runs_here(const struct chassis_call *call)
{
    return call->method->never_blocks || call->server->options.workers == NULL;
}

static void step_dispatch(struct chassis_call *call, enum rpc_step step, const void *request)
{
    call->step = step;
    call->request = request;
    chassis_call_ref(call);
    if (runs_here(call)) {
        step_run(call);
    } else {
        chassis_post(call->server->options.workers, &call->task);
    }
}

void chassis_call_start(struct chassis_call *call)
{
    struct chassis_error err;
    chassis_error_clear(&err);
    if (rpc_intercept_begin(call, &err) != 0) {
        chassis_call_reject(call, &err);
        return;
    }
    const struct chassis_server_method *m = call->method;
    if (m->binding->present != NULL && !m->binding->present(m->service->handlers)) {
        chassis_error_set(&err, CHASSIS_UNIMPLEMENTED, "method '%s' is not implemented here",
                          m->method->path);
        chassis_call_reject(call, &err);
        return;
    }
    if (!rpc_client_streams(call)) {
        return;
    }
    if (m->binding->open != NULL) {
        call->busy = true;
        step_dispatch(call, RPC_STEP_OPEN, NULL);
    } else {
        call->reading = true;
        call->ops->read(call);
    }
}

/* Admission of one message: size, then bytes in flight (released when the call goes). */
static bool message_admit(struct chassis_call *call, size_t bytes, struct chassis_error *err)
{
    size_t max = call->method->request_bytes_max;
    if (bytes > max) {
        chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED,
                          "message of %zu bytes to '%s' is larger than the limit of %zu bytes",
                          bytes, call->method->method->path, max);
        return false;
    }
    call->messages_in++;
    call->bytes_in += bytes;
    return rpc_intercept_bytes(call, bytes, err) == 0;
}

/* True if this message or end may be handled now. */
static bool deliver_begin(struct chassis_call *call, bool end)
{
    pthread_mutex_lock(&call->lock);
    bool go = !atomic_load_explicit(&call->ended, memory_order_relaxed) && !call->finished;
    call->reading = false;
    if (go) {
        CHASSIS_ASSERT(!call->busy);
        call->busy = true;
        call->finished = end || !rpc_client_streams(call);
    }
    pthread_mutex_unlock(&call->lock);
    return go;
}

void chassis_call_deliver(struct chassis_call *call, struct chassis_view encoded)
{
    struct chassis_error err;
    if (!deliver_begin(call, false)) {
        return;
    }
    chassis_error_clear(&err);
    if (!message_admit(call, encoded.len, &err)) {
        chassis_call_reject(call, &err);
        return;
    }
    bool streams = rpc_client_streams(call);
    struct chassis_arena *arena = streams ? &call->message_arena : &call->arena;
    const struct chassis_message_type *type = call->method->method->request;
    const void *request = type == NULL ? &call->raw_request : NULL;
    if (type == NULL || call->method->encoded) {
        /* What is handled before we return needs no copy. */
        bool borrow = streams && runs_here(call);
        call->raw_request = borrow ? encoded : chassis_arena_copy(arena, encoded);
    } else {
        ProtobufCMessage *message;
        if (chassis_message_decode(chassis_message_descriptor(type), encoded, NULL, arena, &message,
                                   &err) != 0) {
            chassis_error_wrap(&err, "request of '%s'", call->method->method->path);
            chassis_call_reject(call, &err);
            return;
        }
        request = message;
    }
    step_dispatch(call, RPC_STEP_MESSAGE, request);
}

void chassis_call_deliver_message(struct chassis_call *call, const void *message, size_t bytes)
{
    struct chassis_error err;
    if (!deliver_begin(call, false)) {
        return;
    }
    chassis_error_clear(&err);
    if (!message_admit(call, bytes, &err)) {
        chassis_call_reject(call, &err);
        return;
    }
    if (call->method->encoded) {
        size_t len = chassis_message_size(message);
        uint8_t *encoded = chassis_arena_alloc(&call->arena, len + 1);
        if (encoded == NULL) {
            chassis_error_set(&err, CHASSIS_RESOURCE_EXHAUSTED,
                              "the request needs more memory than a call may use");
            chassis_call_reject(call, &err);
            return;
        }
        protobuf_c_message_pack(message, encoded);
        call->raw_request = chassis_view(encoded, len);
        message = NULL;
    }
    step_dispatch(call, RPC_STEP_MESSAGE, message);
}

void chassis_call_deliver_end(struct chassis_call *call)
{
    if (!deliver_begin(call, true)) {
        return;
    }
    if (rpc_client_streams(call)) {
        step_dispatch(call, RPC_STEP_END, NULL);
        return;
    }
    struct chassis_error err;
    chassis_error_set(&err, CHASSIS_INVALID_ARGUMENT, "call of '%s' carries no request message",
                      call->method->method->path);
    chassis_call_reject(call, &err);
}

/* ---- cancellation and flow ---- */

typedef void (*call_cb)(struct chassis_call *, void *);

/* Run `*cb` so that an end from another role waits for it. */
static void run_callback(struct chassis_call *call, call_cb *cb, void *const *data, bool once)
{
    pthread_mutex_lock(&call->lock);
    call_cb fn = *cb;
    void *arg = *data;
    if (fn != NULL && !atomic_load_explicit(&call->ended, memory_order_relaxed)) {
        if (once) {
            *cb = NULL;
        }
        call->in_callback = true;
        call->callback_thread = pthread_self();
        pthread_mutex_unlock(&call->lock);
        fn(call, arg);
        pthread_mutex_lock(&call->lock);
        call->in_callback = false;
        pthread_cond_broadcast(&call->callback_done);
    }
    pthread_mutex_unlock(&call->lock);
}

void chassis_call_cancel(struct chassis_call *call)
{
    pthread_mutex_lock(&call->lock);
    atomic_store_explicit(&call->cancelled, true, memory_order_release);
    bool orphan = is_orphan(call);
    pthread_mutex_unlock(&call->lock);
    if (orphan) {
        orphan_end(call);
        return;
    }
    run_callback(call, &call->on_cancel, &call->on_cancel_data, true);
}

void chassis_call_writable(struct chassis_call *call)
{
    run_callback(call, &call->on_writable, &call->on_writable_data, false);
}

void chassis_call_on_cancel(struct chassis_call *call, void (*cb)(struct chassis_call *, void *),
                            void *data)
{
    pthread_mutex_lock(&call->lock);
    bool now = atomic_load_explicit(&call->cancelled, memory_order_relaxed);
    call->minded = call->minded || cb != NULL;
    if (!now) {
        call->on_cancel = cb;
        call->on_cancel_data = data;
    }
    pthread_mutex_unlock(&call->lock);
    if (now && cb != NULL) {
        cb(call, data);
    }
}

void chassis_call_on_writable(struct chassis_call *call, void (*cb)(struct chassis_call *, void *),
                              void *data)
{
    pthread_mutex_lock(&call->lock);
    call->on_writable = cb;
    call->on_writable_data = data;
    pthread_mutex_unlock(&call->lock);
}

bool chassis_call_cancelled(const struct chassis_call *call)
{
    return atomic_load_explicit(&call->cancelled, memory_order_acquire) ||
           (call->deadline_ns != UINT64_MAX && chassis_call_time_left_ns(call) == 0);
}

void chassis_call_hold(struct chassis_call *call)
{
    pthread_mutex_lock(&call->lock);
    call->held = true;
    pthread_mutex_unlock(&call->lock);
}

void chassis_call_resume(struct chassis_call *call)
{
    pthread_mutex_lock(&call->lock);
    bool read = call->held && !call->busy && !call->reading && !call->finished &&
                !atomic_load_explicit(&call->ended, memory_order_relaxed);
    call->held = false;
    bool orphan = is_orphan(call);
    call->reading = call->reading || (read && !orphan);
    pthread_mutex_unlock(&call->lock);
    if (orphan) {
        orphan_end(call);
    } else if (read) {
        call->ops->read(call);
    }
}

static int call_send(struct chassis_call *call, const void *message, struct chassis_view encoded)
{
    if (atomic_load_explicit(&call->cancelled, memory_order_acquire)) {
        return CHASSIS_CANCELLED;
    }
    return call->ops->send(call, message, encoded);
}

int chassis_call_send(struct chassis_call *call, const void *message)
{
    CHASSIS_ASSERT(message != NULL);
    return call_send(call, message, chassis_view(NULL, 0));
}

int chassis_call_send_bytes(struct chassis_call *call, struct chassis_view encoded)
{
    return call_send(call, NULL, encoded);
}

size_t chassis_call_queued_bytes(const struct chassis_call *call)
{
    return call->ops->queued != NULL ? call->ops->queued(call) : 0;
}
