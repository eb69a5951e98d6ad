/* A call being served: the same object whether it came by gRPC, JSON or Connect.
 *
 *     static void speak(struct chassis_call *call, const Examples__Echo__V1__SpeakRequest *req)
 *     {
 *         Examples__Echo__V1__SpeakResponse res = EXAMPLES__ECHO__V1__SPEAK_RESPONSE__INIT;
 *         res.output = req->input;
 *         echo_speak_reply(call, &res);
 *     }
 *
 * Invariants:
 *  - a handler ends its call exactly once, now or later, from any role: reply, finish or fail.
 *    Until then the call and its arena live, even when the client is gone; afterwards it must not be
 *    touched;
 *  - a request message lives until the call ends (unary, server stream) or until the message
 *    handler returns (client and bidi streams);
 *  - messages of one call are delivered one at a time and in order; the next is read when the
 *    handler returned, unless it called chassis_call_hold();
 *  - what is sent is encoded (or copied) before the function returns.
 * Threads: handlers run on a worker, or on a completion-queue thread if the method "never blocks";
 * on_cancel and on_writable callbacks run on a completion-queue thread and must not block: pass work
 * on to your executor. The functions below may be called from any role, but for one call not by two
 * roles at the same time (chassis_call_cancelled and chassis_call_send excepted).
 */
#ifndef CHASSIS_CALL_H
#define CHASSIS_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/arena.h>
#include <chassis/error.h>
#include <chassis/executor.h>
#include <chassis/log.h>
#include <chassis/service.h>

struct chassis_call;

/* A header or trailer. */
struct chassis_pair {
    const char *key;
    struct chassis_view value;
};

/* Who calls. Strings are empty, never NULL. */
struct chassis_peer {
    const char *address; /* "ipv4:127.0.0.1:50312" */
    const char *name;    /* from the client certificate (SAN, else CN); empty without mTLS */
    bool loopback;
    bool encrypted;
    enum chassis_access access; /* the highest class the caller has proved */
    const char *process;        /* pid of the signed token, empty without one */
    const char *actor;          /* what audit records show: name, process or address */
};

const struct chassis_method *chassis_call_method(const struct chassis_call *call);
/* The `data` the service was registered with. */
void *chassis_call_data(const struct chassis_call *call);
/* The handler's own pointer, for what it keeps between messages. */
void chassis_call_set_state(struct chassis_call *call, void *state);
void *chassis_call_state(const struct chassis_call *call);
/* Memory that lives as long as the call; bounded by the server's per-call limit. Only from the role
 * that has the call in hand. */
struct chassis_arena *chassis_call_arena(struct chassis_call *call);
/* Where an answer is sent at the least cost: the thread of the call's completion queue, for tasks
 * that never block; handlers that never block and callbacks run there, too, so state that only they
 * touch needs no lock. Can post and defer: a deferred task runs when the messages at hand have been
 * handled. NULL: any role is as good. */
struct chassis_executor *chassis_call_executor(const struct chassis_call *call);
/* Methods registered with `encoded`: the bytes of the request or message being handled, as they came;
 * of JSON as it would have come. They live as long as the decoded form would: of a unary call or a
 * server stream until it ends, of a stream from the client until the message handler returns. */
struct chassis_view chassis_call_encoded(const struct chassis_call *call);
/* Carries method, trace and span id in every record. */
struct chassis_logger *chassis_call_logger(struct chassis_call *call);
const struct chassis_peer *chassis_call_peer(const struct chassis_call *call);
/* Nanoseconds until the deadline; 0 when it has passed, UINT64_MAX when there is none. */
uint64_t chassis_call_time_left_ns(const struct chassis_call *call);
/* A request header by its lower-case name, NULL if absent. */
const char *chassis_call_metadata(const struct chassis_call *call, const char *key);
/* 32 hexadecimal digits (W3C trace context), never empty. */
const char *chassis_call_trace_id(const struct chassis_call *call);
/* The full traceparent header for a call made on behalf of this one. */
const char *chassis_call_traceparent(const struct chassis_call *call);

/* The client cancelled, is gone, or the deadline passed. The handler still has to end the call, with
 * one exception: a stream from the client that waits for its next message and has no on_cancel is
 * ended for it. (So a handler that keeps the call to send from elsewhere sets on_cancel.) */
bool chassis_call_cancelled(const struct chassis_call *call);
/* `cb` once when that happens (at once if it has); not called any more after the call ended. */
void chassis_call_on_cancel(struct chassis_call *call, void (*cb)(struct chassis_call *, void *),
                            void *data);

/* `cb` once when the call has ended, whoever ended it (the server itself, after a malformed message):
 * on the role that ended it, which must not be kept waiting. The call's memory is still there. */
void chassis_call_on_end(struct chassis_call *call, void (*cb)(struct chassis_call *, void *),
                         void *data);
/* Keep the memory of the call and its arena, for who may come after its end. */
void chassis_call_ref(struct chassis_call *call);
void chassis_call_unref(struct chassis_call *call);
/* As chassis_call_fail_error, but nothing happens if the call has ended meanwhile: for ending a
 * stream beside its handler. Needs a reference or a lock that on_end takes. */
void chassis_call_abort(struct chassis_call *call, const struct chassis_error *err);

/* Response headers (before the first message) and trailers. Keys lower case; "-bin" takes bytes. */
void chassis_call_set_header(struct chassis_call *call, const char *key, struct chassis_view value);
void chassis_call_set_trailer(struct chassis_call *call, const char *key,
                              struct chassis_view value);
/* Attach a message (protobuf-c struct) as google.protobuf.Any to a later fail: status details. */
void chassis_call_add_detail(struct chassis_call *call, const void *message);

/* Unary and client stream: send the one answer and end the call. Generated code wraps this. */
void chassis_call_reply(struct chassis_call *call, const void *message);
/* The same with the message already encoded. */
void chassis_call_reply_bytes(struct chassis_call *call, struct chassis_view encoded);

/* Server and bidi stream: send one message. 0, CHASSIS_CANCELLED (the call is over for the client)
 * or CHASSIS_RESOURCE_EXHAUSTED (the client reads too slowly and the send queue, 1 MiB by default,
 * is full: nothing was queued; wait for on_writable). A single message may pass an empty queue
 * whatever its size. */
int chassis_call_send(struct chassis_call *call, const void *message);
int chassis_call_send_bytes(struct chassis_call *call, struct chassis_view encoded);
/* Around a burst of sends from a task on chassis_call_executor(): they leave in as few writes as
 * possible, none later than the uncork. Handlers and callbacks on that role are corked already.
 * Elsewhere it does nothing. The call may be ended in between. */
void chassis_call_cork(struct chassis_call *call);
void chassis_call_uncork(struct chassis_call *call);
/* Bytes waiting to be written to this client. */
size_t chassis_call_queued_bytes(const struct chassis_call *call);
/* `cb` each time the queue falls below half after a send was refused. */
void chassis_call_on_writable(struct chassis_call *call, void (*cb)(struct chassis_call *, void *),
                              void *data);
/* Streams: end with OK after everything queued was sent. */
void chassis_call_finish(struct chassis_call *call);
/* End with a status. Text is for people: what, where, what to do. Queued messages are still sent. */
void chassis_call_fail(struct chassis_call *call, int code, const char *format, ...)
    CHASSIS_PRINTF(3, 4);
void chassis_call_fail_error(struct chassis_call *call, const struct chassis_error *err);

/* Client and bidi streams: inside the message handler, do not read on; later read on. */
void chassis_call_hold(struct chassis_call *call);
void chassis_call_resume(struct chassis_call *call);

#endif
