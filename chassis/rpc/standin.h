/* Who takes a queue's place when an errand (os.h) keeps its thread: a disk that hangs must not keep calls
 * that have nothing to do with it.
 *
 * The queue's thread counts its errands; while there are any the stand-in looks every LOOK_MS, and where
 * it meets one a second time it waits on the queue itself until that one is over. So an errand costs
 * two counts, and a call waits at most for two looks. Without errands for one look it sleeps.
 *
 * Threads: begin and end on the queue's thread; the stand-in's own begins with the first errand.
 */
#ifndef CHASSIS_RPC_STANDIN_H
#define CHASSIS_RPC_STANDIN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rpc_queue;

struct rpc_standin {
    struct rpc_queue *queue;
    atomic_uint_fast64_t errands; /* begun and ended ones: odd while one keeps the thread */
    atomic_bool watching;
    bool running; /* the queue's thread's, as `thread` */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping; /* under lock */
};

void rpc_standin_init(struct rpc_standin *s, struct rpc_queue *queue);
/* False: the machine has no thread left, and nobody would stand in. */
bool rpc_standin_begin(struct rpc_standin *s);
void rpc_standin_end(struct rpc_standin *s);
/* When the queue's thread has ended. */
void rpc_standin_fini(struct rpc_standin *s);

#endif
