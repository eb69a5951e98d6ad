#include "rpc/interceptors.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/prng.h"
#include "metrics/trace.h"
#include "os/os.h"
#include "rpc/recent.h"
#include "rpc/server_impl.h"

/* ---- trace: the W3C context of the caller, or a new one ---- */

static int trace_begin(struct chassis_call *call, struct chassis_error *err)
{
    struct chassis_view header;
    struct chassis_trace from, own;
    if (call->ops->header(call, "traceparent", &header) &&
        chassis_trace_parse(header, &from) == 0) {
        chassis_trace_child(&from, &own);
    } else {
        chassis_trace_new(&own);
    }
    memcpy(call->trace_id, own.trace_id, sizeof call->trace_id);
    memcpy(call->span_id, own.span_id, sizeof call->span_id);
    call->trace_flags = own.flags;
    return 0;
}

/* ---- metrics ---- */

static int metrics_begin(struct chassis_call *call, struct chassis_error *err)
{
    chassis_gauge_add(call->server->in_flight, 1);
    return 0;
}

static const char *const grpc_names[RPC_GRPC_CODES] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

static void metrics_end(struct chassis_call *call, uint64_t duration_ns)
{
    struct chassis_method_metrics *m = call->method->metrics;
    int code = chassis_status_to_grpc(call->outcome.code);
    struct chassis_counter *counter = atomic_load_explicit(&m->handled[code], memory_order_acquire);
    if (counter ==
        NULL) { /* the same name and labels give the same counter, so a race is harmless */
        const struct chassis_label labels[] = {
            {"method", call->method->method->path},
            {"code", grpc_names[code]},
        };
        counter = chassis_counter("draft_rpc_server_handled_total",
                                  "Calls ended, by method and gRPC status.", labels, 2);
        atomic_store_explicit(&m->handled[code], counter, memory_order_release);
    }
    chassis_counter_add(counter, 1);
    chassis_histogram_observe(m->seconds, (double)duration_ns / 1e9);
}

static void metrics_release(struct chassis_call *call)
{
    chassis_gauge_add(call->server->in_flight, -1);
}

/* ---- recent and slow requests ---- */

static void recent_end(struct chassis_call *call, uint64_t duration_ns)
{
    struct chassis_server *server = call->server;
    bool slow = duration_ns >= server->options.slow_ms * CHASSIS_NS_PER_MS;
    struct chassis_recent_entry entry;
    entry.path = call->method->method->path;
    entry.transport = call->ops->name;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    entry.ended_ns = (int64_t)now.tv_sec * (int64_t)CHASSIS_NS_PER_S + now.tv_nsec;
    entry.duration_ns = duration_ns;
    entry.request_bytes = call->bytes_in;
    entry.response_bytes = atomic_load_explicit(&call->bytes_out, memory_order_relaxed);
    entry.messages_in = call->messages_in;
    entry.messages_out = atomic_load_explicit(&call->messages_out, memory_order_relaxed);
    entry.code = call->outcome.code;
    memcpy(entry.trace_id, chassis_call_trace_id(call), sizeof entry.trace_id);
    entry.peer[0] = entry.text[0] = '\0';
    if (slow || entry.code != 0 || call->peer_known) {
        snprintf(entry.peer, sizeof entry.peer, "%s", chassis_call_peer(call)->address);
    }
    if (entry.code != 0) {
        snprintf(entry.text, sizeof entry.text, "%s", call->outcome.text);
    }
    chassis_recent_add(server->recent, &entry, slow);
}

/* ---- access log ---- */

static void log_end(struct chassis_call *call, uint64_t duration_ns)
{
    bool fatal = chassis_status_class(call->outcome.code) == CHASSIS_CLASS_FATAL;
    enum chassis_log_level level = fatal ? CHASSIS_LOG_WARN : CHASSIS_LOG_DEBUG;
    if (!chassis_log_on(call->server->log, level)) {
        return;
    }
    chassis_log_at(
        chassis_call_logger(call), level, "call ended", chassis_f_code(call->outcome.code),
        chassis_f_str("text", call->outcome.text), chassis_f_str("transport", call->ops->name),
        chassis_f_str("peer", chassis_call_peer(call)->address),
        chassis_f_f64("ms", (double)duration_ns / 1e6), chassis_f_u64("bytes_in", call->bytes_in));
}

/* ---- limits: permits by count and bytes ---- */

static int limits_begin(struct chassis_call *call, struct chassis_error *err)
{
    struct chassis_server *server = call->server;
    if (atomic_load_explicit(&server->refusing, memory_order_relaxed)) {
        rpc_pairs_set(call, &call->trailers, CHASSIS_NOT_RUN_TRAILER, chassis_view_str("1"));
        return chassis_error_set(err, CHASSIS_SHUTTING_DOWN,
                                 "this server is shutting down: call another one");
    }
    call->counted = true;
    unsigned now = atomic_fetch_add_explicit(&server->calls, 1, memory_order_relaxed);
    if (now >= server->options.calls_max) {
        chassis_counter_add(server->refused, 1);
        return chassis_error_set(
            err, CHASSIS_RESOURCE_EXHAUSTED,
            "%u calls are in flight, the limit of this server: try again later",
            server->options.calls_max);
    }
    return 0;
}

int rpc_intercept_bytes(struct chassis_call *call, size_t bytes, struct chassis_error *err)
{
    struct chassis_server *server = call->server;
    size_t before = call->permit_bytes;
    size_t now =
        atomic_fetch_add_explicit(&server->call_bytes, bytes - before, memory_order_relaxed);
    call->permit_bytes = bytes;
    if (now - before + bytes > server->options.call_bytes_max) {
        chassis_counter_add(server->refused, 1);
        return chassis_error_set(
            err, CHASSIS_RESOURCE_EXHAUSTED,
            "requests of %zu bytes are in flight, the limit of this server: try again later",
            server->options.call_bytes_max);
    }
    return 0;
}

static void limits_release(struct chassis_call *call)
{
    if (call->permit_bytes != 0) {
        atomic_fetch_sub_explicit(&call->server->call_bytes, call->permit_bytes,
                                  memory_order_relaxed);
    }
    if (call->counted) {
        atomic_fetch_sub_explicit(&call->server->calls, 1, memory_order_relaxed);
    }
}

/* ---- deadline and access ---- */

static int deadline_begin(struct chassis_call *call, struct chassis_error *err)
{
    if (call->deadline_ns != UINT64_MAX && call->started_ns >= call->deadline_ns) {
        return chassis_error_set(err, CHASSIS_DEADLINE_EXCEEDED,
                                 "the deadline of '%s' had passed when it arrived",
                                 call->method->method->path);
    }
    return 0;
}

static int access_begin(struct chassis_call *call, struct chassis_error *err)
{
    return rpc_access_check(call->server->access, call, err);
}

struct interceptor {
    const char *name;
    int (*begin)(struct chassis_call *call, struct chassis_error *err);
    void (*end)(struct chassis_call *call, uint64_t duration_ns);
    void (*release)(struct chassis_call *call);
};

/* Trace first: what follows names the trace. Metrics before what may refuse: refusals count. */
static const struct interceptor table[] = {
    {"trace", trace_begin, NULL, NULL},
    {"metrics", metrics_begin, metrics_end, metrics_release},
    {"recent", NULL, recent_end, NULL},
    {"log", NULL, log_end, NULL},
    {"limits", limits_begin, NULL, limits_release},
    {"deadline", deadline_begin, NULL, NULL},
    {"access", access_begin, NULL, NULL},
};
enum { N_INTERCEPTORS = sizeof table / sizeof table[0] };

int rpc_intercept_begin(struct chassis_call *call, struct chassis_error *err)
{
    for (unsigned i = 0; i < N_INTERCEPTORS; i++) {
        call->begun = i + 1;
        int rc = table[i].begin != NULL ? table[i].begin(call, err) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

void rpc_intercept_end(struct chassis_call *call)
{
    uint64_t duration_ns = chassis_os_monotonic_ns() - call->started_ns;
    for (unsigned i = call->begun; i-- > 0;) {
        if (table[i].end != NULL) {
            table[i].end(call, duration_ns);
        }
    }
}

void rpc_intercept_release(struct chassis_call *call)
{
    for (unsigned i = call->begun; i-- > 0;) {
        if (table[i].release != NULL) {
            table[i].release(call);
        }
    }
}
