/* What the files of this module share; included by no other module. */
#ifndef CHASSIS_LOOP_INTERNAL_H
#define CHASSIS_LOOP_INTERNAL_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <uv.h>

#include "base/assert.h"
#include "base/list.h"
#include "loop/loop.h"
#include "os/timers.h"

enum { SIGNALS_MAX = 8 };

struct task_queue {
    struct chassis_task *first, **last;
};

struct watched_signal {
    uv_signal_t handle;
    chassis_loop_signal_cb cb;
    void *data;
    bool used;
};

/* Owner: who holds the role, but for what the mutex guards. */
struct chassis_loop {
    struct chassis_executor executor; /* first: the executor handed out is this struct */
    char name[16];
    uv_loop_t uv;
    int bell;            /* an eventfd: what wakes the thread */
    atomic_uint ringing; /* how many are about to ring: the bell stays for them */
    uv_check_t end_of_turn;
    uv_timer_t alarm; /* rings for the earliest of `timers` */
    pthread_t thread;
    struct watched_signal signals[SIGNALS_MAX];
    struct chassis_list children, probes;
    struct task_queue deferred;
    struct chassis_timers timers;
    uint64_t alarm_due_ns; /* what `alarm` was set for; UINT64_MAX = not set */

    /* Held by whoever is the loop: its thread but for its waits, or who dispatched to it meanwhile. It
     * guards all but the three below. */
    pthread_mutex_t role;
    uint64_t until_ms; /* how long the thread waits at most, in libuv's time */

    pthread_mutex_t mutex; /* guards the two below */
    struct task_queue inbox;
    bool stopping;
};

static inline void task_queue_init(struct task_queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}
static inline void task_queue_push(struct task_queue *q, struct chassis_task *task)
{
    task->next = NULL;
    *q->last = task;
    q->last = &task->next;
}
/* Take everything: the other side of h2o's inbox, one lock per turn. */
static inline struct chassis_task *task_queue_take(struct task_queue *q)
{
    struct chassis_task *first = q->first;
    task_queue_init(q);
    return first;
}

/* timers.c */
void loop_timer_arm(struct chassis_loop *loop, struct chassis_timer *timer, uint64_t delay_ns);
void loop_timer_cancel(struct chassis_loop *loop, struct chassis_timer *timer);
void loop_timers_run(struct chassis_loop *loop);

/* loop.c */
void loop_run_deferred(struct chassis_loop *loop);

/* child.c */
void loop_children_abandon(struct chassis_loop *loop);

/* probe.c */
void loop_probes_abandon(struct chassis_loop *loop);

#endif
