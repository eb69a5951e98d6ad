/* The client object from inside the module.
 *
 * Invariants: `lock` guards everything but what is constant after new; calls and streams are in
 * `active` from start until their last callback was handed over; an endpoint lives while it is listed
 * or a call uses it.
 */
#ifndef CHASSIS_RPC_CLIENT_IMPL_H
#define CHASSIS_RPC_CLIENT_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include <chassis/client.h>
#include <chassis/log.h>
#include <chassis/metrics.h>

#include "base/list.h"
#include "base/prng.h"
#include "rpc/channel.h"
#include "rpc/resolver.h"
#include "rpc/retry.h"

struct rpc_endpoint {
    char *address;
    struct rpc_channel *channel;
    unsigned refs;     /* the list and each call on it */
    bool listed;       /* false: removed, drains */
    unsigned failures; /* in a row */
    uint64_t ejected_until_ns;
    uint64_t leaving_until_ns; /* it said that it is shutting down */
};

struct chassis_client {
    struct chassis_logger *log;
    char *target;
    struct chassis_executor *executor;
    uint64_t timeout_ms;
    uint32_t attempts_max;
    size_t response_bytes_max;
    char *authorization; /* "Bearer …"; NULL = none */
    void (*token_now)(void *data, struct chassis_buf *out);
    void *token_data;
    struct chassis_buf secret;
    struct chassis_auth_identity *identity; /* NULL = plaintext */
    struct chassis_auth_watch watch;
    char *server_name;
    struct chassis_resolver *resolver;
    struct chassis_resolution *resolution;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned refs; /* the owner and each active call */
    bool closed, resolved;
    const struct chassis_auth_tls *tls; /* of the identity, as the endpoints have it */
    struct rpc_endpoint **endpoints;
    size_t n_endpoints, next_endpoint;
    char why[256]; /* there are no endpoints */
    struct rpc_budget budget;
    struct chassis_prng prng;
    struct chassis_list active; /* struct rpc_client_op */
};

/* What unary calls and streams have in common; the first member of both. */
struct rpc_client_op {
    struct chassis_list link;
    struct chassis_client *client;
    grpc_call *call; /* NULL while none is under way */
    bool cancelled;
    bool unresolved;        /* waits for the resolver's first word */
    struct rpc_timer timer; /* the end of a wait: hurried when what it waits for comes */
};

/* The headers every call carries, then the caller's own. */
struct rpc_headers {
    grpc_metadata *items;
    size_t n;
};
/* CHASSIS_RESOURCE_EXHAUSTED if they are more than servers of the chassis take; to be freed either
 * way. */
enum { RPC_METADATA_BYTES = 16 << 10 };
int rpc_client_headers(struct chassis_client *client, const char *path,
                       const struct chassis_call_options *options, struct chassis_arena *arena,
                       struct rpc_headers *ret_headers, struct chassis_error *err);
/* A proof may be used once: every attempt carries a new one. */
void rpc_client_headers_renew(struct chassis_client *client, const char *path,
                              struct rpc_headers *headers);
void rpc_headers_fini(struct rpc_headers *headers);
/* Absolute (monotonic) deadline; UINT64_MAX = none. */
uint64_t rpc_client_deadline(const struct chassis_client *client,
                             const struct chassis_call_options *options, bool stream);

/* How a call ended, as gRPC tells it. */
struct rpc_ending {
    grpc_call *call;
    grpc_status_code status;
    const grpc_slice *details;
    const grpc_metadata_array *initial, *trailing;
    bool cancelled; /* by us */
};
/* What that means. */
struct rpc_verdict {
    int code;        /* a chassis status */
    bool never_run;  /* may be sent again whatever the method */
    bool leaving;    /* the server is shutting down */
    bool broken_off; /* by the other side without a status of its own */
};
void rpc_client_verdict(const struct rpc_ending *ending, struct rpc_verdict *ret_verdict);

/* 0 and an endpoint with a reference; CHASSIS_BUSY: not resolved yet; CHASSIS_UNAVAILABLE. Under the
 * client's lock. `avoid` (may be NULL) is taken only if there is no other. */
int rpc_client_pick(struct chassis_client *client, const struct rpc_endpoint *avoid,
                    struct rpc_endpoint **ret_endpoint, struct chassis_error *err);
/* What came of a call on it, and give the reference back. */
void rpc_client_report(struct chassis_client *client, struct rpc_endpoint *endpoint,
                       const struct rpc_verdict *verdict);

/* Enter and leave `active`; false: the client is closed. `resume` runs on the queue's thread when a
 * wait (op->timer) is over. */
bool rpc_client_enter(struct chassis_client *client, struct rpc_client_op *op,
                      void (*resume)(struct rpc_timer *timer));
/* Under the client's lock, after rpc_client_pick gave CHASSIS_BUSY: 0 and `resume` will run when
 * there is more to know or the deadline is over; CHASSIS_DEADLINE_EXCEEDED if it is. */
int rpc_client_wait_resolved(struct chassis_client *client, struct rpc_client_op *op,
                             uint64_t deadline_ns, struct chassis_error *err);
void rpc_client_leave(struct rpc_client_op *op);
void rpc_client_unref(struct chassis_client *client);

/* A trailer by name, as text in `arena`; NULL if absent. */
const char *rpc_metadata_find(const grpc_metadata_array *array, const char *key,
                              struct chassis_arena *arena);
struct chassis_view rpc_metadata_view(const grpc_metadata_array *array, const char *key);

#endif
