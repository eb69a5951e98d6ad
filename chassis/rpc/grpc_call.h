/* One call of the gRPC transport.
 *
 * Invariants: at most one batch with sends and one with a read is under way (flags under `lock`);
 * batches are started after the lock was given up: the flag is what keeps them apart. All tags run
 * on the thread of the call's queue; release happens there.
 * While a handler or callback runs on that thread the call is corked: the last message is held back,
 * so that each but the last of a burst goes out with the hint that more follows.
 */
#ifndef CHASSIS_RPC_GRPC_CALL_H
#define CHASSIS_RPC_GRPC_CALL_H

#include <grpc/slice_buffer.h>

#include "rpc/grpc_env.h"
#include "rpc/queue.h"
#include "rpc/server_impl.h"

struct rpc_listener {
    struct rpc_grpc *owner;
    grpc_server *server;
    bool peer_only, encrypted, started;
    int port;
    struct rpc_listen *listen;
    struct rpc_slot **slots;
    size_t n_slots;
    struct rpc_tag shutdown_tag;
};

struct rpc_grpc {
    struct chassis_server *server;
    struct rpc_queue **queues; /* [0] is shared with the process's clients */
    unsigned n_queues;
    bool started;
    struct rpc_listener *listeners;
    unsigned n_listeners;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    unsigned shut; /* listeners whose shutdown is complete */
    unsigned held; /* armed slots, calls, shutdowns: tags of ours that may still run */
    struct rpc_grpc_call *pool;
    unsigned pool_n;
};

/* An armed request for a call: of one registered method, or of any other (generic). */
struct rpc_slot {
    struct rpc_tag tag;
    struct rpc_listener *listener;
    struct rpc_queue *queue;
    const struct chassis_server_method *method; /* NULL: generic */
    void *registered;
    grpc_call *call;
    grpc_metadata_array metadata;
    grpc_call_details details; /* generic only */
    gpr_timespec deadline;
    grpc_byte_buffer *payload;
};

struct rpc_grpc_call {
    struct rpc_grpc *owner;
    struct rpc_grpc_call *next_free;
    pthread_mutex_t lock;
    grpc_metadata_array metadata;
    grpc_slice_buffer queue;  /* messages that wait to be sent, a slice each */
    grpc_byte_buffer sending; /* the one in the batch under way */

    struct rpc_listener *listener; /* first of what is zeroed from here on */
    struct rpc_queue *cq;
    grpc_call *call;
    struct chassis_call *core; /* NULL: an unknown method is being refused */
    struct rpc_tag send_tag, read_tag, close_tag;
    grpc_byte_buffer *incoming;
    int cancelled; /* written by gRPC until the close tag */

    bool reading, sent_headers, sending_batch, status_sent;
    bool close_started, close_done, broken, want_writable, released;
    const struct chassis_outcome *outcome; /* set by end */
    size_t sending_len;                    /* counts as queued, too */
    /* The queue's thread only: */
    size_t burst;   /* bytes sent since corked: bounded, others want the thread as well */
    bool held_back; /* a message waits for uncork */
};

/* `payload` of registered methods: the one message, NULL if there was none. */
void rpc_grpc_call_accept(struct rpc_slot *slot, const struct chassis_server_method *method,
                          grpc_call *call, uint64_t deadline_ns, grpc_byte_buffer *payload);
void rpc_grpc_call_refuse(struct rpc_slot *slot, grpc_call *call, struct chassis_view path);
/* The transport's `peer` (grpc_peer.c). */
void rpc_grpc_peer(struct chassis_call *call, struct chassis_transport_peer *ret_peer);
void rpc_grpc_pool_free(struct rpc_grpc *grpc);
void rpc_grpc_hold(struct rpc_grpc *grpc);
void rpc_grpc_release(struct rpc_grpc *grpc);

#endif
