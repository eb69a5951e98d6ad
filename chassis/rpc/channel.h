/* Channels to endpoints, shared within the process by address, TLS identity and limits; and the
 * client side's completion queue, which lives as long as any channel user.
 *
 * Threads: any. Ownership: acquire/release count.
 */
#ifndef CHASSIS_RPC_CHANNEL_H
#define CHASSIS_RPC_CHANNEL_H

#include "auth/identity.h"
#include "base/list.h"
#include "rpc/grpc_env.h"
#include "rpc/queue.h"

struct rpc_channel {
    struct rpc_channel *next;
    grpc_channel *channel;
    char *key;
    unsigned refs;
};

struct rpc_channel_options {
    const char *address;
    const struct chassis_auth_tls *tls; /* borrowed for the call; NULL = plaintext */
    const char *server_name;
    size_t response_bytes_max;
};

/* The first starts the queue's thread; the last waits for it to end. */
int rpc_client_env_ref(struct chassis_error *err);
void rpc_client_env_unref(void);
grpc_completion_queue *rpc_client_queue(void);
/* The queue itself, for who shares its thread; valid while the caller holds a reference. */
struct rpc_queue *rpc_client_env_queue(void);
/* True on the thread that runs callbacks. */
bool rpc_client_on_queue(void);

/* A timer runs on the queue's thread, once per start. */
struct rpc_timer {
    struct chassis_list link;
    uint64_t due_ns;
    void (*run)(struct rpc_timer *timer);
};
void rpc_timer_init(struct rpc_timer *timer, void (*run)(struct rpc_timer *timer));
/* `due_ns`: monotonic; UINT64_MAX: when it is hurried. */
void rpc_timer_start(struct rpc_timer *timer, uint64_t due_ns);
/* Due now, if it is started; else nothing. */
void rpc_timer_hurry(struct rpc_timer *timer);

struct rpc_channel *rpc_channel_acquire(const struct rpc_channel_options *options);
void rpc_channel_release(struct rpc_channel *channel);

#endif
