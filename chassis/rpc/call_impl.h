/* The call object from inside the module. Everybody else sees <chassis/call.h> (handlers) and
 * rpc/transport.h (transports).
 *
 * Invariants: refs = 1 for the transport until release, + 1 for each handler step posted or running;
 * `lock` guards the flags below it and is never held while anything outside is called.
 */
#ifndef CHASSIS_RPC_CALL_IMPL_H
#define CHASSIS_RPC_CALL_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "rpc/recent.h"
#include "rpc/server.h"
#include "rpc/transport.h"

enum {
    RPC_FIRST_OWN = 1024, /* of a stream from the client: what lies beside its messages */
    RPC_FIRST = 3072,
    CHASSIS_RPC_PAIRS_MAX = 64,
};

enum rpc_step { RPC_STEP_OPEN, RPC_STEP_MESSAGE, RPC_STEP_END };

struct rpc_pairs {
    struct chassis_pair *items; /* in the call's arena */
    size_t n, cap;
};

struct chassis_call {
    /* these outlive the call: the object goes back to the server's pool */
    struct chassis_server *server;
    pthread_mutex_t lock;
    pthread_cond_t callback_done;
    bool lean; /* without room for messages in `first` */

    const struct chassis_server_method *method; /* first of what is zeroed in between */
    const struct chassis_transport_ops *ops;
    void *transport;
    struct chassis_call *next_free; /* in the server's pool */
    atomic_uint refs;
    void (*on_end)(struct chassis_call *call,
                   void *data); /* set by the handler, before it returns */
    void *on_end_data;
    atomic_bool cancelled, ended;

    /* guarded by lock */
    bool busy;     /* a step is posted or running */
    bool held;     /* the handler does not want to read on */
    bool reading;  /* the transport was asked for the next message */
    bool finished; /* the client sent its last message */
    bool minded;   /* the handler asked to be told of a cancellation */
    bool in_callback;
    pthread_t callback_thread;
    void (*on_cancel)(struct chassis_call *, void *);
    void *on_cancel_data;
    void (*on_writable)(struct chassis_call *, void *);
    void *on_writable_data;

    struct chassis_task task; /* the step, on a worker */
    enum rpc_step step;
    const void *request; /* of the step */
    struct chassis_view raw_request;
    void *state;

    uint64_t started_ns, deadline_ns;
    size_t permit_bytes;
    bool counted;   /* holds a permit */
    unsigned begun; /* interceptors whose begin passed or failed */
    uint64_t bytes_in;
    uint32_t messages_in;
    atomic_uint_fast64_t bytes_out;
    atomic_uint messages_out;

    uint8_t trace_id[16], span_id[8];
    uint8_t trace_flags;
    char trace_text[33], traceparent[56]; /* empty until asked for */

    bool peer_known;
    struct chassis_peer peer;
    struct chassis_logger *logger; /* child, made on first use */

    struct rpc_pairs headers, trailers;
    struct chassis_status_detail *details;
    size_t n_details, details_cap;
    struct chassis_outcome outcome;

    struct chassis_arena arena;         /* of the call */
    struct chassis_arena message_arena; /* of one message of a stream from the client */
    _Alignas(16) uint8_t first[];       /* RPC_FIRST bytes; lean: RPC_FIRST_OWN */
};

static inline bool rpc_client_streams(const struct chassis_call *call)
{
    enum chassis_method_kind kind = call->method->method->kind;
    return kind == CHASSIS_CLIENT_STREAM || kind == CHASSIS_BIDI_STREAM;
}

/* Of streams whose messages are handled as they came there are many, open for long. */
static inline bool rpc_call_is_lean(const struct chassis_server_method *method)
{
    enum chassis_method_kind kind = method->method->kind;
    return method->encoded && (kind == CHASSIS_CLIENT_STREAM || kind == CHASSIS_BIDI_STREAM);
}

void rpc_pairs_set(struct chassis_call *call, struct rpc_pairs *pairs, const char *key,
                   struct chassis_view value);
/* google.rpc.Status {1 code, 2 message, 3 repeated Any}. */
struct chassis_view rpc_status_encode(struct chassis_call *call, int grpc_code, const char *text);

#endif
