/* Completion queues, their tags and threads; a queue is an executor, too.
 *
 * Invariants: a tag is embedded in the object it is about and stands for one batch at a time.
 * Threads: a queue's tags run in its role: on its one thread, or, while that waits, on the thread of who
 * dispatched to it, or, while an errand keeps it, on the stand-in's.
 */
#ifndef CHASSIS_RPC_QUEUE_H
#define CHASSIS_RPC_QUEUE_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <chassis/error.h>
#include <chassis/executor.h>

#include "os/queue.h"
#include "rpc/standin.h"

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
    struct rpc_standin standin;
};

void rpc_queue_init(struct rpc_queue *queue);
/* -errno when the machine has no thread left. */
int rpc_queue_start(struct rpc_queue *queue, const char *name, struct chassis_error *err);
/* Nothing may be started on the queue any more; waits until every tag has run. */
void rpc_queue_fini(struct rpc_queue *queue);
/* For who stands in for the queue's thread: be the queue, wait for one turn and run it, be it no more.
 * False: the queue has ended. */
void rpc_queue_enter(struct rpc_queue *queue);
bool rpc_queue_step(struct rpc_queue *queue, uint64_t until_ns);
void rpc_queue_leave(struct rpc_queue *queue);
/* The queue that this thread is, for good or for a turn; NULL on others. */
struct rpc_queue *rpc_queue_current(void);
/* On the queue's thread, inside a tag: whether the batch of `tag`, started just now, is complete
 * already. Then its `run` will not be called. */
bool rpc_queue_take(struct rpc_queue *queue, struct rpc_tag *tag, bool *ret_ok);

/* Start a batch from another thread. True: it is complete already and its `run` will not be called,
 * so that the queue's thread is not woken. On a queue's thread, or with NULL, always false. */
bool rpc_queue_start_batch(struct rpc_queue *queue, grpc_call *call, const grpc_op *ops, size_t n,
                           struct rpc_tag *tag, bool *ret_ok);

#endif
