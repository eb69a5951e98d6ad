/* How a transport (gRPC here, JSON and Connect in http/) serves a call.
 *
 * The call object knows handlers, decoding, interceptors, limits and life; a transport knows
 * frames. A transport finds the method by path, makes a call, starts it, delivers what the client
 * sends and writes what the operations below are given:
 *
 *     m = chassis_server_find(server, path)          NULL: answer UNIMPLEMENTED yourself
 *     call = chassis_call_new(server, m, &ops, own, deadline_ns)
 *     chassis_call_start(call)                       interceptors; may end the call at once
 *     chassis_call_deliver(call, bytes) or chassis_call_deliver_message(call, decoded)
 *     chassis_call_deliver_end(call)                 the client sent its last message
 *     …  ops->send, ops->end come from the handler's role, at any time after start
 *     chassis_call_release(call)                     after ops->end was called and all is written
 *
 * Invariants:
 *  - `end` is called exactly once; `send` never after it; `read` only when no message is being
 *    handled: deliver at most one message (or the end) for each `read`;
 *  - `read` is not called for unary and server-stream methods: deliver their one message after
 * start;
 *  - deliver functions do nothing once the call has ended; cancel and writable as well;
 *  - the call lives until the transport has released it and no handler step is running; then `freed`
 *    runs: the transport's own state must live until then;
 *  - a method whose request type is NULL takes raw bytes: its handler is given a chassis_view; one
 *    with the option `encoded` is given NULL and finds the bytes with chassis_call_encoded.
 * Threads: deliver, deliver_end, cancel, writable and release from the transport's threads, not two
 * of them for one call at the same time. Operations come from any role, but never two of them for
 * one call at the same time, except `send` and `queued`, which may come beside others.
 * Ownership: what is delivered as bytes is copied, decoded or done with before the function returns;
 * a decoded message must live in chassis_call_arena() or until the call is released.
 */
#ifndef CHASSIS_RPC_TRANSPORT_H
#define CHASSIS_RPC_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/call.h>

/* Trailer of a call that was refused before anything ran: it may be sent again, idempotent or not. */
#define CHASSIS_NOT_RUN_TRAILER "draft-not-run"

struct chassis_server;
struct chassis_server_method; /* a method as registered; see rpc/server.h */

/* What the connection proves. Strings must live as long as the call (use its arena). */
struct chassis_transport_peer {
    const char *address; /* "ipv4:127.0.0.1:50312" */
    const char *name;    /* verified client certificate: SAN, else CN; NULL or "" without */
    bool loopback;
    bool encrypted;
    bool peer_listener; /* came in by the peer-only listener */
};

struct chassis_status_detail {
    const char *type_url; /* "type.googleapis.com/…" */
    struct chassis_view value;
};

/* How a call ends. Lives until release. */
struct chassis_outcome {
    int code;         /* 0 or a chassis status; chassis_status_to_grpc() for the wire */
    const char *text; /* "" on success */
    /* The one answer of a unary or client-stream method: `message` is a protobuf-c struct that is
     * valid during `end` only; if it is NULL, `encoded` is (also borrowed). */
    bool has_answer;
    const void *message;
    struct chassis_view encoded;
    const struct chassis_pair *trailers;
    size_t n_trailers;
    const struct chassis_status_detail *details;
    size_t n_details;
    struct chassis_view status_bin; /* google.rpc.Status, encoded; empty without details */
};

struct chassis_transport_ops {
    const char *name; /* "grpc", "json", "connect" */
    /* A request header by its lower-case name; false if absent. Valid until release. */
    bool (*header)(struct chassis_call *call, const char *key, struct chassis_view *ret_value);
    void (*peer)(struct chassis_call *call, struct chassis_transport_peer *ret_peer);
    /* Client and bidi streams: deliver the next message or the end. */
    void (*read)(struct chassis_call *call);
    /* One message of a stream; `message` (protobuf-c) or, if NULL, `encoded`. Results as those of
     * chassis_call_send. Response headers are in chassis_call_headers() at the first. */
    int (*send)(struct chassis_call *call, const void *message, struct chassis_view encoded);
    size_t (*queued)(const struct chassis_call *call); /* bytes waiting */
    void (*end)(struct chassis_call *call, const struct chassis_outcome *outcome);
    /* The role the call's own work is done on cheapest; NULL: any. May be NULL itself. */
    struct chassis_executor *(*executor)(const struct chassis_call *call);
    /* Hold sends back until they can leave in one write; only on `executor`. May be NULL. */
    void (*cork)(struct chassis_call *call, bool on);
    /* The call object is gone (after release): free what is the transport's own. May be NULL. */
    void (*freed)(void *transport);
};

/* NULL if nothing is registered for "/package.Service/Method". */
const struct chassis_server_method *chassis_server_find(const struct chassis_server *server,
                                                        struct chassis_view path);

/* `deadline_ns`: on the clock of chassis_os_monotonic_ns(); UINT64_MAX = none. */
struct chassis_call *chassis_call_new(struct chassis_server *server,
                                      const struct chassis_server_method *method,
                                      const struct chassis_transport_ops *ops, void *transport,
                                      uint64_t deadline_ns);
/* The `transport` of chassis_call_new: ops find their own state with it. */
void *chassis_call_transport(const struct chassis_call *call);
/* Run the interceptors (trace, limits, deadline, authentication, access), then `open` of streams.
 */
void chassis_call_start(struct chassis_call *call);
void chassis_call_deliver(struct chassis_call *call, struct chassis_view encoded);
/* The same with a message that is decoded already (JSON); NULL = what was sent is not a message:
 * the transport ends such a call with chassis_call_reject. */
void chassis_call_deliver_message(struct chassis_call *call, const void *message, size_t bytes);
void chassis_call_deliver_end(struct chassis_call *call);
/* The request is unusable (bad JSON, too large): ends the call if it has not ended. */
void chassis_call_reject(struct chassis_call *call, const struct chassis_error *err);
/* The client cancelled or is gone, or the deadline passed. The handler still ends the call. */
void chassis_call_cancel(struct chassis_call *call);
/* The queue fell below half after a send was refused. */
void chassis_call_writable(struct chassis_call *call);
/* Nothing of the transport touches the call any more. */
void chassis_call_release(struct chassis_call *call);

/* Response headers set so far. */
const struct chassis_pair *chassis_call_headers(const struct chassis_call *call, size_t *ret_n);
/* What the method may receive at most, in bytes (of the encoded message). */
size_t chassis_call_request_max(const struct chassis_call *call);
/* Send queue limit in bytes. */
size_t chassis_call_queue_max(const struct chassis_call *call);

#endif
