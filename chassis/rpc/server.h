/* The RPC server: services, listeners, limits, drain.
 *
 *     chassis_server_new(&options, &server, &err)
 *     chassis_server_add(server, echo_service(&handlers, NULL), &err)
 *     chassis_server_start(server, &err)
 *     …
 *     chassis_server_drain(server, grace_ms)     finish what runs, refuse what comes
 *     chassis_server_free(server)
 *
 * Health (grpc.health.v1) and reflection (grpc.reflection.v1 and v1alpha) are built in. Without a
 * listener the server still serves calls that other transports (http) make with rpc/transport.h.
 *
 * Invariants: services are added before start; a call is served while the server lives: free after
 * all transports have released their calls.
 * Threads: new, add, start, drain and free on one thread (drain blocks); the rest from any.
 * Ownership: options are copied but for what they point to as "borrowed".
 */
#ifndef CHASSIS_RPC_SERVER_H
#define CHASSIS_RPC_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/error.h>
#include <chassis/executor.h>
#include <chassis/service.h>

#include "auth/auth.h"

struct chassis_server;
struct chassis_recent;

/* A method as registered: everything a transport or a page needs to know of it. Constant. */
struct chassis_server_method {
    const struct chassis_method *method;
    const struct chassis_method_binding *binding;
    const struct chassis_service *service;
    enum chassis_access access;
    bool never_blocks;
    bool idempotent;
    bool encoded;
    bool rare;
    size_t request_bytes_max;
    struct chassis_method_metrics *metrics; /* rpc's own */
};

struct chassis_listener_options {
    const char *address;                    /* "127.0.0.1:0", "[::]:8090", "unix:/path" */
    struct chassis_auth_identity *identity; /* borrowed; NULL = plaintext. With a ca client
                                               certificates are asked for and verified. New
                                               connections get what it has then */
    bool client_certificate_required;       /* mTLS only: a caller without one cannot connect */
    bool plaintext_beyond_loopback; /* else start refuses a plaintext address others can reach */
    bool peer_only;                 /* serves methods of access class peer, nothing else */
};

struct chassis_server_options {
    const struct chassis_listener_options *listeners;
    unsigned n_listeners;
    /* Where handlers that may block run; NULL: on the completion-queue (transport's) thread. */
    struct chassis_executor *workers;
    unsigned
        n_queues; /* completion-queue threads; 0 = 1 on up to 2 cores, else cores / 2, at most 4 */

    size_t message_bytes_max;      /* of a request; 0 = 4 MiB */
    size_t metadata_bytes_max;     /* 0 = 16 KiB */
    uint32_t streams_max;          /* concurrent streams of one connection; 0 = 1,024 */
    uint32_t calls_max;            /* in flight, all transports; 0 = 16,384 */
    size_t call_bytes_max;         /* request bytes in flight, all transports; 0 = 256 MiB */
    size_t queue_bytes_max;        /* send queue of one call; 0 = 1 MiB */
    size_t arena_bytes_max;        /* memory of one call; 0 = 64 MiB */
    uint32_t keepalive_ms;         /* 0 = 30,000 */
    uint32_t keepalive_timeout_ms; /* 0 = 5,000 */
    uint32_t slow_ms;              /* calls at least this long are kept as slow; 0 = 100 */

    /* Bearer tokens: 0 and the claims, or CHASSIS_UNAUTHENTICATED with the reason. Runs on the
     * transport's thread: must not block. NULL = tokens are not known here. */
    int (*verify_token)(void *data, const char *token, struct chassis_auth_claims *ret_claims,
                        struct chassis_error *err);
    void *verify_token_data;
    struct chassis_view cluster_secret; /* copied; empty = nobody can prove by it */
    const char *const *operators; /* certificate names; NULL-terminated, copied; may be NULL */
    const char *const *peers;     /* likewise, of the other nodes */
    bool operator_loopback;       /* every caller from this machine is an operator */
};

int chassis_server_new(const struct chassis_server_options *options,
                       struct chassis_server **ret_server, struct chassis_error *err);
/* CHASSIS_ALREADY_EXISTS for a service that is there; CHASSIS_INVALID_ARGUMENT for an option row
 * that names no method. The tables and handlers are borrowed. */
int chassis_server_add(struct chassis_server *server, struct chassis_service service,
                       struct chassis_error *err);
/* A method of a transport's own, which no path leads to and which is not listed. `service` and
 * `binding` are borrowed as long as the server lives; allowed after start. Its options must be the
 * service's. The answer lives as long as the server. */
const struct chassis_server_method *
chassis_server_add_private(struct chassis_server *server, const struct chassis_service *service,
                           const struct chassis_method_binding *binding);
int chassis_server_start(struct chassis_server *server, struct chassis_error *err);
/* The bound port of a listener; 0 for unix sockets. */
uint16_t chassis_server_port(const struct chassis_server *server, unsigned listener);
/* Refuse new calls with UNAVAILABLE, let those in flight finish for `grace_ms`, then cancel them
 * and wait until every transport has released its calls. Listeners are closed afterwards. */
void chassis_server_drain(struct chassis_server *server, uint64_t grace_ms);
/* Only the refusing: from now on new calls of every transport get UNAVAILABLE. */
void chassis_server_refuse(struct chassis_server *server);
/* NULL is fine; drains with no grace if that was not done. */
void chassis_server_free(struct chassis_server *server);
unsigned chassis_server_calls_in_flight(const struct chassis_server *server);

/* What is served, for reflection, transcoding, registration and pages. */
size_t chassis_server_services(const struct chassis_server *server,
                               const struct chassis_service *const **ret_services);
const struct chassis_server_method *chassis_server_method_at(const struct chassis_server *server,
                                                             size_t index);
size_t chassis_server_method_count(const struct chassis_server *server);

/* grpc.health.v1: "" is the server as a whole. Begins NOT_SERVING; services follow the whole unless
 * set on their own. */
void chassis_server_set_serving(struct chassis_server *server, const char *service, bool serving);

/* Recent and slow requests (rpc/recent.h). */
struct chassis_recent *chassis_server_recent(struct chassis_server *server);

#endif
