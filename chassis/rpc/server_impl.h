/* The server object from inside the module. */
#ifndef CHASSIS_RPC_SERVER_IMPL_H
#define CHASSIS_RPC_SERVER_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include <chassis/log.h>
#include <chassis/metrics.h>

#include "rpc/access.h"
#include "rpc/call_impl.h"

enum { RPC_GRPC_CODES = 17, RPC_FREE_CALLS_MAX = 256 };

struct chassis_method_metrics {
    _Atomic(struct chassis_counter *) handled[RPC_GRPC_CODES]; /* by gRPC code, made on first use */
    struct chassis_histogram *seconds;
};

struct rpc_listener; /* one gRPC server */
struct rpc_grpc;     /* its queues and threads */
struct rpc_health;

struct chassis_server {
    struct chassis_server_options options; /* with defaults filled in */
    struct chassis_listener_options *listeners;
    struct chassis_logger *log;

    struct chassis_service **services;
    size_t n_services;
    struct chassis_server_method **methods; /* in order of registration */
    size_t n_methods;
    struct chassis_server_method **private_methods; /* found by nobody but who added them */
    size_t n_private;
    struct chassis_server_method **table; /* open addressing by path; power of two */
    size_t table_size;

    struct rpc_access *access;
    struct chassis_recent *recent;
    struct rpc_health *health;
    struct rpc_grpc *grpc; /* NULL until started with listeners */
    bool started, drained;
    atomic_bool refusing;

    atomic_uint calls;
    atomic_size_t call_bytes;
    atomic_size_t objects; /* calls not yet freed */
    atomic_size_t lasting; /* of them those between nodes: a drain does not wait for their end */
    struct chassis_gauge *in_flight;
    struct chassis_counter *refused;

    pthread_mutex_t pool_lock;
    struct chassis_call *pool[2]; /* [1]: lean ones */
    unsigned pool_n[2];
    pthread_cond_t idle; /* signalled when the last call went; waits use pool_lock */
};

struct chassis_call *rpc_server_call_get(struct chassis_server *server, bool lean);
void rpc_server_call_put(struct chassis_call *call);

/* health.c, reflection.c: registered by chassis_server_new. */
struct rpc_health *rpc_health_new(struct chassis_server *server);
void rpc_health_free(struct rpc_health *health);
struct chassis_service rpc_health_service(struct rpc_health *health);
void rpc_health_set(struct rpc_health *health, const char *service, bool serving);
struct chassis_service rpc_reflection_service(struct chassis_server *server, bool alpha);

/* grpc_server.c */
int rpc_grpc_start(struct chassis_server *server, struct chassis_error *err);
uint16_t rpc_grpc_port(const struct rpc_grpc *grpc, unsigned listener);
void rpc_grpc_drain(struct rpc_grpc *grpc, uint64_t grace_ms);
void rpc_grpc_free(struct rpc_grpc *grpc);

#endif
