/* An executor that is a thread. Other threads push into `inbox` under the lock; the thread swaps the
 * whole inbox out, unlocks and runs it: one lock round per turn, not per task.
 *
 *     turn:  due timers -> the inbox as it was -> what was deferred meanwhile
 *
 * While it waits another thread may run an errand of it: be it for a few turns (os.h).
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/fault.h"
#include "os/os.h"
#include "os/queue.h"
#include "os/timers.h"

/* Of an errand: what was dispatched, and what that posted. What is left is the thread's own. */
enum { ERRAND_TURNS = 2 };

struct thread {
    struct chassis_executor base;
    pthread_t handle;
    char name[16];
    bool prompt; /* a short slice */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct chassis_queue inbox; /* under lock */
    bool waiting;               /* under lock: the thread sleeps and needs a signal */
    bool errand;                /* under lock: another thread is this one, or is about to be */
    atomic_uint signalling;     /* how many are about to signal: the struct stays for them */
    bool stopping;              /* under lock */

    struct chassis_queue deferred; /* whose turn it is; as all below */
    struct chassis_timers timers;
};

static _Thread_local const struct thread *current_thread;

/* What the calling thread has taken on. */
static _Thread_local struct {
    bool taken;
    struct thread *of; /* NULL: nothing */
    struct chassis_task *task;
} errand;

static struct thread *thread_of(struct chassis_executor *ex)
{
    return chassis_container_of(ex, struct thread, base);
}

static bool thread_is_current(struct chassis_executor *ex)
{
    return current_thread == thread_of(ex);
}

/* Unlock, and wake the thread if it sleeps and is wanted. Not under the lock, which the woken thread
 * needs: it would sleep again at once. What was posted may have run by then, and its run may have led
 * to a stop, which waits for us. */
static void unlock_and_wake(struct thread *t, bool wanted)
{
    bool wake = t->waiting && wanted;
    if (wake) {
        t->waiting = false;
        atomic_fetch_add(&t->signalling, 1);
    }
    pthread_mutex_unlock(&t->lock);
    if (wake) {
        pthread_cond_signal(&t->wake);
        atomic_fetch_sub(&t->signalling, 1);
    }
}

static void thread_post(struct chassis_executor *ex, struct chassis_task *task)
{
    struct thread *t = thread_of(ex);
    pthread_mutex_lock(&t->lock);
    CHASSIS_ASSERT(!task->queued);
    chassis_queue_push(&t->inbox, task);
    unlock_and_wake(t, !t->errand); /* else whoever is the thread sees to it */
}

/* Be the thread, if it waits and has nothing to do. */
static bool take_on(struct thread *t)
{
    pthread_mutex_lock(&t->lock);
    bool idle = t->waiting && t->inbox.head == NULL && !t->errand && !t->stopping;
    t->errand = t->errand || idle;
    pthread_mutex_unlock(&t->lock);
    return idle;
}

static void thread_dispatch(struct chassis_executor *ex, struct chassis_task *task)
{
    struct thread *t = thread_of(ex);
    if (!errand.taken || errand.of != NULL || !take_on(t)) {
        thread_post(ex, task);
        return;
    }
    CHASSIS_ASSERT(!task->queued);
    task->queued = true;
    errand.of = t;
    errand.task = task;
}

static void thread_post_after(struct chassis_executor *ex, struct chassis_timer *timer,
                              uint64_t delay_ns)
{
    CHASSIS_ASSERT(thread_is_current(ex));
    chassis_timers_arm(&thread_of(ex)->timers, timer, chassis_os_monotonic_ns() + delay_ns);
}

static void thread_cancel(struct chassis_executor *ex, struct chassis_timer *timer)
{
    CHASSIS_ASSERT(thread_is_current(ex));
    chassis_timers_cancel(&thread_of(ex)->timers, timer);
}

static void thread_defer(struct chassis_executor *ex, struct chassis_task *task)
{
    CHASSIS_ASSERT(thread_is_current(ex));
    if (!task->queued) {
        chassis_queue_push(&thread_of(ex)->deferred, task);
    }
}

static uint64_t thread_now_ns(struct chassis_executor *ex)
{
    (void)ex;
    return chassis_os_monotonic_ns();
}

static const struct chassis_executor_ops thread_ops = {
    .post = thread_post,
    .dispatch = thread_dispatch,
    .post_after = thread_post_after,
    .cancel = thread_cancel,
    .defer = thread_defer,
    .now_ns = thread_now_ns,
    .is_current = thread_is_current,
};

/* Sleep until something is posted, a timer is due or stop was called. Lock held. */
static void thread_wait(struct thread *t)
{
    struct chassis_timer *first = t->errand ? NULL : chassis_timers_first(&t->timers);
    if (first == NULL) {
        t->waiting = true;
        pthread_cond_wait(&t->wake, &t->lock);
    } else {
        struct timespec until = {
            .tv_sec = (time_t)(first->due_ns / CHASSIS_NS_PER_S),
            .tv_nsec = (long)(first->due_ns % CHASSIS_NS_PER_S),
        };
        t->waiting = true;
        pthread_cond_timedwait(&t->wake, &t->lock, &until);
    }
    t->waiting = false;
}

static bool has_due_timer(struct thread *t)
{
    struct chassis_timer *first = chassis_timers_first(&t->timers);
    return first != NULL && first->due_ns <= chassis_os_monotonic_ns();
}

/* What to run this turn; false when the thread shall end. */
static bool thread_next_turn(struct thread *t, struct chassis_queue *ret_tasks)
{
    pthread_mutex_lock(&t->lock);
    while (t->errand || (t->inbox.head == NULL && t->deferred.head == NULL && !t->stopping &&
                         !has_due_timer(t))) {
        thread_wait(t);
    }
    bool more = t->inbox.head != NULL || t->deferred.head != NULL || !t->stopping;
    chassis_queue_take_all(ret_tasks, &t->inbox);
    pthread_mutex_unlock(&t->lock);
    return more;
}

static void run_all(struct chassis_queue *queue)
{
    struct chassis_task *task;
    while ((task = chassis_queue_pop(queue)) != NULL) {
        task->run(task);
    }
}

static void run_due_timers(struct thread *t)
{
    if (chassis_timers_first(&t->timers) == NULL) {
        return;
    }
    uint64_t now = chassis_os_monotonic_ns();
    struct chassis_timer *timer;
    while ((timer = chassis_timers_take_due(&t->timers, now)) != NULL) {
        timer->run(timer);
    }
}

/* The inbox as it was, then what was deferred; what is deferred from there on belongs to the next turn. */
static void run_turn(struct thread *t, struct chassis_queue *tasks)
{
    struct chassis_queue deferred;
    run_all(tasks);
    chassis_queue_take_all(&deferred, &t->deferred);
    run_all(&deferred);
}

static void *thread_main(void *data)
{
    struct thread *t = data;
    current_thread = t;
    if (t->prompt) {
        chassis_os_short_slice();
    }
    struct chassis_queue tasks;
    while (thread_next_turn(t, &tasks)) {
        run_due_timers(t);
        run_turn(t, &tasks);
    }
    chassis_timers_fini(&t->timers);
    return NULL;
}

/* ---- errands ---- */

void chassis_os_errands_take(bool take)
{
    CHASSIS_ASSERT(errand.of == NULL);
    errand.taken = take;
}

bool chassis_os_errand_waits(void)
{
    return errand.of != NULL;
}

/* Back to the thread if it has no more to do or this one has done enough; what there is to wake it for
 * is more tasks, timers it does not know of, its end. */
static bool give_back(struct thread *t, bool enough, struct chassis_queue *ret_tasks)
{
    pthread_mutex_lock(&t->lock);
    if (t->inbox.head != NULL && !enough) {
        chassis_queue_take_all(ret_tasks, &t->inbox);
        pthread_mutex_unlock(&t->lock);
        return false;
    }
    t->errand = false;
    unlock_and_wake(t, t->inbox.head != NULL || t->deferred.head != NULL || t->stopping ||
                           chassis_timers_first(&t->timers) != NULL);
    return true;
}

void chassis_os_errand_run(void)
{
    struct thread *t = errand.of;
    const struct thread *before = current_thread;
    struct chassis_queue tasks;
    CHASSIS_ASSERT(t != NULL);
    chassis_queue_init(&tasks);
    chassis_queue_push(&tasks, errand.task);
    errand.of = NULL;
    unsigned n = 0;
    do {
        current_thread = t;
        run_turn(t, &tasks);
        current_thread = before;
    } while (!give_back(t, ++n == ERRAND_TURNS, &tasks));
}

static int start(const char *name, bool prompt, struct chassis_executor **ret_executor)
{
    if (CHASSIS_FAULT("os.thread.start")) {
        return -EAGAIN;
    }
    struct thread *t = chassis_base_zalloc(sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->prompt = prompt;
    t->base.ops = &thread_ops;
    t->base.name = t->name;
    chassis_queue_init(&t->inbox);
    chassis_queue_init(&t->deferred);
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &attr);
    pthread_condattr_destroy(&attr);

    /* Signals are for the loop: no role's thread may be the one the kernel picks for SIGTERM. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&t->handle, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        pthread_cond_destroy(&t->wake);
        pthread_mutex_destroy(&t->lock);
        free(t);
        return -rc;
    }
    pthread_setname_np(t->handle, t->name);
    *ret_executor = &t->base;
    return 0;
}

int chassis_os_thread_start(const char *name, struct chassis_executor **ret_executor)
{
    return start(name, false, ret_executor);
}

int chassis_os_thread_start_prompt(const char *name, struct chassis_executor **ret_executor)
{
    return start(name, true, ret_executor);
}

void chassis_os_thread_stop(struct chassis_executor *executor)
{
    if (executor == NULL) {
        return;
    }
    struct thread *t = thread_of(executor);
    CHASSIS_ASSERT(!thread_is_current(executor));
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_mutex_unlock(&t->lock);
    pthread_cond_signal(&t->wake);
    pthread_join(t->handle, NULL);
    while (atomic_load(&t->signalling) != 0) {
        sched_yield();
    }
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
