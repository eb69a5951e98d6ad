/* What server and clients share of gRPC: the library's life, queues with their threads, tags, bytes.
 *
 * Invariants: a tag is embedded in the object it is about and stands for one batch at a time.
 * Threads: a queue's tags run in its role: on its one thread, or, while that waits, on the thread of who
 * dispatched to it.
 */
#ifndef CHASSIS_RPC_GRPC_ENV_H
#define CHASSIS_RPC_GRPC_ENV_H

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <chassis/buf.h>
#include <chassis/executor.h>
#include <chassis/error.h>

#include "os/queue.h"

/* What a peer may send of one stream before it is read. Fixed: to find one by itself gRPC sends a ping
 * for nearly every read, which costs a small message more than the message. */
enum { RPC_WINDOW_BYTES = 1 << 20 };

struct rpc_tag;
typedef void (*rpc_tag_fn)(struct rpc_tag *tag, bool ok);

/* A hand-over inside gRPC is invisible to a race checker: `run` is stored (release) just before a
 * batch is started and loaded (acquire) by the queue's thread, which makes it visible. */
struct rpc_tag {
    _Atomic(rpc_tag_fn) run;
    struct rpc_tag *next; /* completed, set aside by rpc_queue_take */
    bool ok;
};

static inline void rpc_tag_set(struct rpc_tag *tag, rpc_tag_fn run)
{
    atomic_store_explicit(&tag->run, run, memory_order_release);
}

/* Its executor runs tasks between tags; post, dispatch, defer, now and is_current. */
struct rpc_queue {
    struct chassis_executor executor;
    /* Held by whoever is the queue: its thread but for its waits, or who dispatched to it meanwhile. */
    pthread_mutex_t role;
    uint64_t until_ns; /* how long its thread waits at most */
    struct chassis_task *dispatched;
    struct rpc_tag dispatch_tag;
    pthread_mutex_t inbox_lock; /* guards the two below */
    struct chassis_queue inbox;
    bool rung;
    grpc_channel *lame;
    grpc_call *bell; /* never started: an empty batch on it posts its tag at once */
    struct rpc_tag bell_tag;
    struct rpc_tag *handed, **handed_last; /* under inbox_lock: met by other threads, to be run */
    grpc_completion_queue *cq;
    pthread_t thread;
    bool running;
    uint64_t (*timers)(void);            /* runs what is due, says when to come back; NULL = none */
    struct chassis_queue deferred;       /* to run when the turn is over; the role's */
    struct rpc_tag *aside, **aside_last; /* completed tags to run next; the role's */
};

/* grpc_init and its counterpart, counted; the first sends gRPC's own log to ours. */
void rpc_grpc_ref(void);
void rpc_grpc_unref(void);

void rpc_queue_init(struct rpc_queue *queue);
/* -errno when the machine has no thread left. */
int rpc_queue_start(struct rpc_queue *queue, const char *name, struct chassis_error *err);
/* Nothing may be started on the queue any more; waits until every tag has run. */
void rpc_queue_fini(struct rpc_queue *queue);
/* The queue that this thread is, for good or for a turn; NULL on others. */
struct rpc_queue *rpc_queue_current(void);
/* On the queue's thread, inside a tag: whether the batch of `tag`, started just now, is complete
 * already. Then its `run` will not be called. */
bool rpc_queue_take(struct rpc_queue *queue, struct rpc_tag *tag, bool *ret_ok);

/* Start a batch from another thread. True: it is complete already and its `run` will not be called,
 * so that the queue's thread is not woken. On a queue's thread, or with NULL, always false. */
bool rpc_queue_start_batch(struct rpc_queue *queue, grpc_call *call, const grpc_op *ops, size_t n,
                           struct rpc_tag *tag, bool *ret_ok);

/* Whether "host:port" or "unix:…" can be reached from this machine only. */
bool rpc_address_is_local(const char *address);
bool rpc_peer_is_local(const char *peer_uri);

struct rpc_bytes {
    struct chassis_view view;
    grpc_slice slice; /* what holds it */
};
/* The bytes of a received buffer in one piece; valid until rpc_bytes_fini. */
void rpc_bytes_init(struct rpc_bytes *bytes, grpc_byte_buffer *buffer);
void rpc_bytes_fini(struct rpc_bytes *bytes);

/* A protobuf-c message, or bytes if it is NULL, as a slice to send. */
grpc_slice rpc_slice_of(const void *message, struct chassis_view encoded);

static inline struct chassis_view rpc_slice_view(const grpc_slice *slice)
{
    return chassis_view(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}
gpr_timespec rpc_deadline(uint64_t monotonic_ns);
uint64_t rpc_deadline_from(gpr_timespec deadline);

#endif
