#include "rpc/queue.h"

#include <errno.h>
#include <signal.h>

#include "base/assert.h"
#include "base/fault.h"
#include "os/os.h"
#include "rpc/burst.h"
#include "rpc/grpc_env.h"

static void queue_ring(struct rpc_queue *queue);

enum { IN_A_ROW = 256 };

static void tag_run(struct rpc_tag *tag, bool ok)
{
    rpc_tag_fn run = atomic_load_explicit(&tag->run, memory_order_acquire);
    run(tag, ok);
}

/* The completion gRPC kept for this thread since the cache was set up; NULL if there is none. */
static struct rpc_tag *cached(struct rpc_queue *queue)
{
    void *got = NULL;
    int success = 0;
    if (!grpc_completion_queue_thread_local_cache_flush(queue->cq, &got, &success)) {
        return NULL;
    }
    struct rpc_tag *tag = got;
    tag->ok = success != 0;
    return tag;
}

static void aside_put(struct rpc_queue *queue, struct rpc_tag *tag)
{
    tag->next = NULL;
    *queue->aside_last = tag;
    queue->aside_last = &tag->next;
}

static struct rpc_tag *aside_get(struct rpc_queue *queue)
{
    struct rpc_tag *tag = queue->aside;
    if (tag != NULL) {
        queue->aside = tag->next;
        queue->aside_last = queue->aside != NULL ? queue->aside_last : &queue->aside;
    }
    return tag;
}

/* What a tag starts is often complete when it returns (a write the socket took at once). gRPC keeps
 * the first such completion of a thread in a cache if asked to: taking it from there saves the way
 * through the queue and the wake-up of its poller. After some in a row the queue has its turn. */
static void run_chain(struct rpc_queue *queue, struct rpc_tag *tag, bool ok)
{
    for (unsigned n = 0; tag != NULL; n++) {
        if (n < IN_A_ROW) {
            grpc_completion_queue_thread_local_cache_init(queue->cq);
        }
        tag_run(tag, ok);
        struct rpc_tag *completed = cached(queue); /* always: rpc_queue_take sets it up again */
        if (completed != NULL) {
            aside_put(queue, completed);
        }
        tag = aside_get(queue);
        ok = tag != NULL && tag->ok;
    }
}

/* A turn: what one completion led to, then what that deferred. */
static void run_on(struct rpc_queue *queue, struct rpc_tag *tag, bool ok)
{
    struct chassis_queue tasks;
    struct chassis_task *task;
    while (tag != NULL) {
        run_chain(queue, tag, ok);
        chassis_queue_take_all(&tasks, &queue->deferred);
        while ((task = chassis_queue_pop(&tasks)) != NULL) {
            task->run(task);
            struct rpc_tag *completed = cached(queue);
            if (completed != NULL) {
                aside_put(queue, completed);
            }
        }
        if (queue->deferred.n != 0) { /* by those: it has its turn by way of the queue */
            queue_ring(queue);
        }
        tag = aside_get(queue);
        ok = tag != NULL && tag->ok;
    }
}

bool rpc_queue_take(struct rpc_queue *queue, struct rpc_tag *tag, bool *ret_ok)
{
    struct rpc_tag *completed = cached(queue);
    grpc_completion_queue_thread_local_cache_init(queue->cq);
    if (completed == tag) {
        *ret_ok = tag->ok;
        return true;
    }
    if (completed != NULL) {
        aside_put(queue, completed);
    }
    return false;
}

static _Thread_local struct rpc_queue *current;

struct rpc_queue *rpc_queue_current(void)
{
    return current;
}

/* ---- tasks of other roles ---- */

static void ring_locked(struct rpc_queue *queue)
{
    if (!queue->rung) {
        queue->rung = true;
        grpc_call_error rc = grpc_call_start_batch(queue->bell, NULL, 0, &queue->bell_tag, NULL);
        CHASSIS_ASSERT(rc == GRPC_CALL_OK);
    }
}

static void queue_ring(struct rpc_queue *queue)
{
    pthread_mutex_lock(&queue->inbox_lock);
    ring_locked(queue);
    pthread_mutex_unlock(&queue->inbox_lock);
}

static void queue_post(struct chassis_executor *ex, struct chassis_task *task)
{
    struct rpc_queue *queue = chassis_container_of(ex, struct rpc_queue, executor);
    pthread_mutex_lock(&queue->inbox_lock);
    CHASSIS_ASSERT(!task->queued);
    chassis_queue_push(&queue->inbox, task);
    ring_locked(queue); /* afterwards the task may run, and lead to the queue's end */
    pthread_mutex_unlock(&queue->inbox_lock);
}

static void on_dispatch(struct rpc_tag *tag, bool ok)
{
    struct rpc_queue *queue = chassis_container_of(tag, struct rpc_queue, dispatch_tag);
    struct chassis_task *task = queue->dispatched;
    CHASSIS_ASSERT(!task->queued);
    task->run(task);
}

static bool inbox_empty(struct rpc_queue *queue)
{
    pthread_mutex_lock(&queue->inbox_lock);
    bool empty = queue->inbox.n == 0 && queue->handed == NULL;
    pthread_mutex_unlock(&queue->inbox_lock);
    return empty;
}

/* Run what is due; when the next is. What that left for the queue has its turn by way of the bell: its
 * thread is about to wait, or is not this one. */
static uint64_t run_timers(struct rpc_queue *queue)
{
    uint64_t next_ns = queue->timers != NULL ? queue->timers() : UINT64_MAX;
    struct rpc_tag *completed = cached(queue);
    if (completed != NULL) {
        aside_put(queue, completed);
    }
    if (queue->aside != NULL || queue->deferred.n != 0) {
        queue_ring(queue);
    }
    return next_ns;
}

/* Run a turn of the queue here while its thread waits. Not on the thread of another one: gRPC's cache
 * of a thread is for one queue. */
static void queue_dispatch(struct chassis_executor *ex, struct chassis_task *task)
{
    struct rpc_queue *queue = chassis_container_of(ex, struct rpc_queue, executor);
    if (current != NULL || pthread_mutex_trylock(&queue->role) != 0) {
        queue_post(ex, task);
        return;
    }
    if (!inbox_empty(queue)) { /* it has its place behind those */
        queue_post(ex, task);
        pthread_mutex_unlock(&queue->role);
        return;
    }
    current = queue;
    queue->dispatched = task;
    run_on(queue, &queue->dispatch_tag, true);
    if (run_timers(queue) < queue->until_ns) {
        queue_ring(queue); /* its thread would wait too long */
    }
    current = NULL;
    pthread_mutex_unlock(&queue->role);
}

static void queue_defer(struct chassis_executor *ex, struct chassis_task *task)
{
    struct rpc_queue *queue = chassis_container_of(ex, struct rpc_queue, executor);
    CHASSIS_ASSERT(rpc_queue_current() == queue);
    if (!task->queued) {
        chassis_queue_push(&queue->deferred, task);
    }
}

bool rpc_queue_start_batch(struct rpc_queue *queue, grpc_call *call, const grpc_op *ops, size_t n,
                           struct rpc_tag *tag, bool *ret_ok)
{
    bool here = queue != NULL && rpc_queue_current() == NULL;
    if (here) {
        grpc_completion_queue_thread_local_cache_init(queue->cq);
    }
    grpc_call_error rc = grpc_call_start_batch(call, ops, n, tag, NULL);
    CHASSIS_ASSERT(rc == GRPC_CALL_OK);
    struct rpc_tag *completed = here ? cached(queue) : NULL;
    if (completed == tag && here) {
        *ret_ok = tag->ok;
        return true;
    }
    if (completed != NULL) { /* gRPC did somebody else's work as well: that is the queue's */
        completed->next = NULL;
        pthread_mutex_lock(&queue->inbox_lock);
        *queue->handed_last = completed;
        queue->handed_last = &completed->next;
        ring_locked(queue);
        pthread_mutex_unlock(&queue->inbox_lock);
    }
    return false;
}

static void on_bell(struct rpc_tag *tag, bool ok)
{
    struct rpc_queue *queue = chassis_container_of(tag, struct rpc_queue, bell_tag);
    struct chassis_queue tasks;
    struct chassis_task *task;
    pthread_mutex_lock(&queue->inbox_lock);
    queue->rung = false;
    chassis_queue_take_all(&tasks, &queue->inbox);
    struct rpc_tag *handed = queue->handed, *next;
    queue->handed = NULL;
    queue->handed_last = &queue->handed;
    pthread_mutex_unlock(&queue->inbox_lock);
    for (; handed != NULL; handed = next) {
        next = handed->next;
        aside_put(queue, handed);
    }
    while ((task = chassis_queue_pop(&tasks)) != NULL) {
        if (tasks.n != 0) {
            rpc_burst_begin();
        } else {
            rpc_burst_last();
        }
        task->run(task);
        struct rpc_tag *completed = cached(queue);
        if (completed != NULL) {
            aside_put(queue, completed);
        }
        grpc_completion_queue_thread_local_cache_init(queue->cq);
    }
    rpc_burst_end();
}

static uint64_t queue_now_ns(struct chassis_executor *ex)
{
    return chassis_os_monotonic_ns();
}

static bool queue_is_current(struct chassis_executor *ex)
{
    return rpc_queue_current() == chassis_container_of(ex, struct rpc_queue, executor);
}

static const struct chassis_executor_ops queue_ops = {.post = queue_post,
                                                      .dispatch = queue_dispatch,
                                                      .defer = queue_defer,
                                                      .now_ns = queue_now_ns,
                                                      .is_current = queue_is_current};

static void bell_open(struct rpc_queue *queue)
{
    queue->executor = (struct chassis_executor){&queue_ops, "cq"};
    pthread_mutex_init(&queue->inbox_lock, NULL);
    chassis_queue_init(&queue->inbox);
    chassis_queue_init(&queue->deferred);
    queue->rung = false;
    queue->handed = NULL;
    queue->handed_last = &queue->handed;
    queue->lame = grpc_lame_client_channel_create("bell", GRPC_STATUS_UNAVAILABLE, "bell");
    queue->bell = grpc_channel_create_call(queue->lame, NULL, 0, queue->cq,
                                           grpc_slice_from_static_string("/bell"), NULL,
                                           gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    rpc_tag_set(&queue->bell_tag, on_bell);
    rpc_tag_set(&queue->dispatch_tag, on_dispatch);
}

void rpc_queue_enter(struct rpc_queue *queue)
{
    current = queue;
    pthread_mutex_lock(&queue->role);
}

void rpc_queue_leave(struct rpc_queue *queue)
{
    pthread_mutex_unlock(&queue->role);
    current = NULL;
}

/* One wait and the turn that it led to. */
static bool wait_turn(struct rpc_queue *queue, uint64_t until_ns)
{
    pthread_mutex_unlock(&queue->role);
    grpc_event ev = grpc_completion_queue_next(queue->cq, rpc_deadline(until_ns), NULL);
    pthread_mutex_lock(&queue->role);
    if (ev.type == GRPC_OP_COMPLETE) {
        run_on(queue, ev.tag, ev.success != 0);
    }
    return ev.type != GRPC_QUEUE_SHUTDOWN;
}

bool rpc_queue_step(struct rpc_queue *queue, uint64_t until_ns)
{
    queue->until_ns = run_timers(queue);
    return wait_turn(queue, queue->until_ns < until_ns ? queue->until_ns : until_ns);
}

/* What the last turn left for a thread that may block. Out of the role: the errand's end may want it. */
static void run_errand(struct rpc_queue *queue)
{
    rpc_queue_leave(queue);
    bool stood_in = rpc_standin_begin(&queue->standin);
    chassis_os_errand_run();
    if (stood_in) {
        rpc_standin_end(&queue->standin);
    } else {
        chassis_os_errands_take(false);
    }
    rpc_queue_enter(queue);
}

static void *queue_main(void *arg)
{
    struct rpc_queue *queue = arg;
    rpc_queue_enter(queue);
    for (bool more = true; more;) {
        queue->until_ns = run_timers(queue);
        if (chassis_os_errand_waits()) {
            run_errand(queue);
        } else {
            more = wait_turn(queue, queue->until_ns);
        }
    }
    rpc_queue_leave(queue);
    return NULL;
}

static void *queue_thread(void *arg)
{
    chassis_os_short_slice();
    chassis_os_errands_take(true);
    return queue_main(arg);
}

void rpc_queue_init(struct rpc_queue *queue)
{
    queue->cq = grpc_completion_queue_create_for_next(NULL);
    queue->running = false;
    queue->timers = NULL;
    pthread_mutex_init(&queue->role, NULL);
    queue->aside = NULL;
    queue->aside_last = &queue->aside;
    rpc_standin_init(&queue->standin, queue);
    bell_open(queue);
}

int rpc_queue_start(struct rpc_queue *queue, const char *name, struct chassis_error *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = CHASSIS_FAULT("rpc.thread")
                 ? EAGAIN
                 : pthread_create(&queue->thread, NULL, queue_thread, queue);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        return chassis_error_code(err, -rc, "start thread '%s'", name);
    }
    pthread_setname_np(queue->thread, name);
    queue->running = true;
    return 0;
}

void rpc_queue_fini(struct rpc_queue *queue)
{
    pthread_mutex_lock(&queue->role); /* whose turn led here may still be about to ring */
    pthread_mutex_unlock(&queue->role);
    grpc_call_unref(queue->bell);
    grpc_channel_destroy(queue->lame);
    grpc_completion_queue_shutdown(queue->cq);
    if (queue->running) {
        pthread_join(queue->thread, NULL);
    } else {
        queue_main(queue);
    }
    rpc_standin_fini(&queue->standin);
    grpc_completion_queue_destroy(queue->cq);
    pthread_mutex_destroy(&queue->inbox_lock);
    pthread_mutex_destroy(&queue->role);
}
