/* The loop thread and its executor. The inbox is a list under a mutex that is swapped out whole, as
 * in h2o's lib/common/multithread.c; the waker is rung only when the inbox was empty. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fault.h"
#include "loop/internal.h"
#include "os/os.h"

enum { LOOP_STACK_BYTES = 256 * 1024, DEFER_ROUNDS = 4 };

static _Thread_local struct chassis_loop *current_loop;

static struct chassis_loop *of(struct chassis_executor *ex)
{
    return (struct chassis_loop *)(void *)ex;
}

/* Not uv_async_send: a loop that is woken before its waker is through with that function spins until it
 * is, which on a busy machine is a time slice. */
static void ring(struct chassis_loop *loop)
{
    const uint64_t one = 1;
    ssize_t n;
    do {
        n = write(loop->bell, &one, sizeof one);
    } while (n < 0 && errno == EINTR); /* EAGAIN: it has been ringing for long */
}

/* Under the mutex; then ring_after, not under it: the woken loop needs it. */
static void ring_announce(struct chassis_loop *loop)
{
    atomic_fetch_add(&loop->ringing, 1);
}

/* What was posted may have run by now and have led to a stop, which waits for us. */
static void ring_after(struct chassis_loop *loop)
{
    ring(loop);
    atomic_fetch_sub(&loop->ringing, 1);
}

static void loop_post(struct chassis_executor *ex, struct chassis_task *task)
{
    struct chassis_loop *loop = of(ex);
    pthread_mutex_lock(&loop->mutex);
    CHASSIS_ASSERT(!task->queued);
    task->queued = true;
    bool was_empty = loop->inbox.first == NULL;
    task_queue_push(&loop->inbox, task);
    if (was_empty) {
        ring_announce(loop);
    }
    pthread_mutex_unlock(&loop->mutex);
    if (was_empty) {
        ring_after(loop);
    }
}

static bool loop_is_current(struct chassis_executor *ex)
{
    return current_loop == of(ex);
}

static void loop_post_after(struct chassis_executor *ex, struct chassis_timer *timer,
                            uint64_t delay_ns)
{
    CHASSIS_ASSERT(loop_is_current(ex));
    loop_timer_arm(of(ex), timer, delay_ns);
}

static void loop_cancel(struct chassis_executor *ex, struct chassis_timer *timer)
{
    CHASSIS_ASSERT(loop_is_current(ex));
    loop_timer_cancel(of(ex), timer);
}

static void loop_defer(struct chassis_executor *ex, struct chassis_task *task)
{
    CHASSIS_ASSERT(loop_is_current(ex));
    if (!task->queued) {
        task->queued = true;
        task_queue_push(&of(ex)->deferred, task);
    }
}

static uint64_t loop_now_ns(struct chassis_executor *ex)
{
    return uv_hrtime();
}

/* `queued` is cleared before the task runs: it may post itself again, and after `run` its memory may
 * be gone. */
static void run_tasks(struct chassis_task *task)
{
    while (task != NULL) {
        struct chassis_task *next = task->next;
        task->queued = false;
        task->run(task);
        task = next;
    }
}

static bool run_inbox(struct chassis_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    struct chassis_task *first = task_queue_take(&loop->inbox);
    pthread_mutex_unlock(&loop->mutex);
    run_tasks(first);
    return first != NULL;
}

/* What is deferred while deferring follows at once (the turn of consensus leaves work to the journal,
 * and so on): ringing oneself costs three system calls. Not for ever: others want the thread as well. */
void loop_run_deferred(struct chassis_loop *loop)
{
    for (unsigned i = 0; i < DEFER_ROUNDS && loop->deferred.first != NULL; i++) {
        run_tasks(task_queue_take(&loop->deferred));
    }
    if (loop->deferred.first != NULL) {
        ring(loop);
    }
}

static void on_bell(struct chassis_loop *loop)
{
    uint64_t rings;
    ssize_t n = read(loop->bell, &rings, sizeof rings); /* before the inbox: no ring is missed */
    CHASSIS_ASSERT(n == (ssize_t)sizeof rings || errno == EAGAIN || errno == EINTR);
    run_inbox(loop);
    loop_run_deferred(loop);
}

/* How long libuv has nothing to do, in milliseconds; -1 = for ever. */
static int idle_ms(struct chassis_loop *loop, uint64_t *ret_until_ms)
{
    uv_update_time(&loop->uv);
    int ms = uv_backend_timeout(&loop->uv);
    *ret_until_ms = ms < 0 ? UINT64_MAX : uv_now(&loop->uv) + (uint64_t)ms;
    return ms;
}

/* Waits here and not inside uv_run: only here others may be the loop. */
static void turn(struct chassis_loop *loop)
{
    struct pollfd fds[] = {{.fd = loop->bell, .events = POLLIN},
                           {.fd = uv_backend_fd(&loop->uv), .events = POLLIN}};
    int ms = idle_ms(loop, &loop->until_ms);
    pthread_mutex_unlock(&loop->role);
    int n = poll(fds, 2, ms);
    pthread_mutex_lock(&loop->role);
    if (n > 0 && fds[0].revents != 0) {
        on_bell(loop);
    }
    if (n <= 0 || ms == 0 || fds[1].revents != 0) {
        uv_run(&loop->uv, UV_RUN_NOWAIT);
    }
}

static bool may_go_on(struct chassis_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    bool go_on = !loop->stopping;
    pthread_mutex_unlock(&loop->mutex);
    return go_on;
}

static bool inbox_empty(struct chassis_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    bool empty = loop->inbox.first == NULL;
    pthread_mutex_unlock(&loop->mutex);
    return empty;
}

/* Be the loop for one turn. All of it under the role: afterwards the loop may be gone. What is posted
 * meanwhile rings for the thread, which then waits for the role. */
static void loop_dispatch(struct chassis_executor *ex, struct chassis_task *task)
{
    struct chassis_loop *loop = of(ex), *before = current_loop;
    uint64_t until_ms;
    if (pthread_mutex_trylock(&loop->role) != 0) {
        loop_post(ex, task);
        return;
    }
    if (!inbox_empty(loop)) { /* it has its place behind those */
        loop_post(ex, task);
        pthread_mutex_unlock(&loop->role);
        return;
    }
    current_loop = loop;
    CHASSIS_ASSERT(!task->queued);
    task->run(task);
    loop_run_deferred(loop);
    (void)idle_ms(loop, &until_ms);
    if (until_ms < loop->until_ms) { /* the thread would sleep too long */
        ring(loop);
    }
    current_loop = before;
    pthread_mutex_unlock(&loop->role);
}

static const struct chassis_executor_ops loop_ops = {
    .post = loop_post,
    .dispatch = loop_dispatch,
    .post_after = loop_post_after,
    .cancel = loop_cancel,
    .defer = loop_defer,
    .now_ns = loop_now_ns,
    .is_current = loop_is_current,
};

static void on_end_of_turn(uv_check_t *check)
{
    loop_run_deferred(check->data);
}

static void close_handle(uv_handle_t *handle, void *data)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void *loop_main(void *data)
{
    struct chassis_loop *loop = data;
    current_loop = loop;
    pthread_setname_np(pthread_self(), loop->name);
    chassis_os_short_slice();
    pthread_mutex_lock(&loop->role);
    while (may_go_on(loop)) {
        turn(loop);
    }
    while (run_inbox(loop) || loop->deferred.first != NULL) {
        loop_run_deferred(loop);
    }
    chassis_timers_fini(&loop->timers);
    loop_children_abandon(loop);
    loop_probes_abandon(loop);
    uv_walk(&loop->uv, close_handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&loop->uv);
    CHASSIS_ASSERT(rc == 0);
    pthread_mutex_unlock(&loop->role);
    return NULL;
}

static int init_handles(struct chassis_loop *loop)
{
    int rc = CHASSIS_FAULT("loop.init") ? -EMFILE : uv_loop_init(&loop->uv);
    if (rc != 0) {
        return rc;
    }
    loop->bell = CHASSIS_FAULT("loop.wake") ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->bell < 0) {
        uv_loop_close(&loop->uv);
        return -EMFILE;
    }
    uv_check_init(&loop->uv, &loop->end_of_turn);
    uv_check_start(&loop->end_of_turn, on_end_of_turn);
    uv_timer_init(&loop->uv, &loop->alarm);
    loop->end_of_turn.data = loop->alarm.data = loop;
    return 0;
}

static int start_thread(struct chassis_loop *loop)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, LOOP_STACK_BYTES);
    int rc = CHASSIS_FAULT("loop.thread") ? EAGAIN
                                          : pthread_create(&loop->thread, &attr, loop_main, loop);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        uv_walk(&loop->uv, close_handle, NULL);
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        uv_loop_close(&loop->uv);
    }
    return -rc;
}

static void loop_free(struct chassis_loop *loop)
{
    while (atomic_load(&loop->ringing) != 0) {
        sched_yield();
    }
    if (loop->bell >= 0) {
        close(loop->bell);
    }
    pthread_mutex_destroy(&loop->mutex);
    pthread_mutex_destroy(&loop->role);
    free(loop);
}

int chassis_loop_start(const char *name, struct chassis_loop **ret_loop, struct chassis_error *err)
{
    struct chassis_loop *loop = chassis_base_zalloc(sizeof *loop);
    snprintf(loop->name, sizeof loop->name, "%s", name);
    loop->executor.ops = &loop_ops;
    loop->executor.name = loop->name;
    loop->alarm_due_ns = UINT64_MAX;
    loop->bell = -1;
    task_queue_init(&loop->inbox);
    task_queue_init(&loop->deferred);
    chassis_list_init(&loop->children);
    chassis_list_init(&loop->probes);
    pthread_mutex_init(&loop->mutex, NULL);
    pthread_mutex_init(&loop->role, NULL);
    int rc = init_handles(loop);
    if (rc == 0) {
        rc = start_thread(loop);
    }
    if (rc != 0) {
        loop_free(loop);
        return chassis_error_code(err, rc, "start event loop '%s'", name);
    }
    *ret_loop = loop;
    return 0;
}

void chassis_loop_stop(struct chassis_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    CHASSIS_ASSERT(current_loop != loop);
    pthread_mutex_lock(&loop->mutex);
    loop->stopping = true;
    ring_announce(loop);
    pthread_mutex_unlock(&loop->mutex);
    ring_after(loop);
    pthread_join(loop->thread, NULL);
    loop_free(loop);
}

struct chassis_executor *chassis_loop_executor(struct chassis_loop *loop)
{
    return &loop->executor;
}

struct sync_call {
    struct chassis_task task;
    int (*fn)(void *data);
    void *data;
    int result;
    bool done;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
};

static void run_sync_call(struct chassis_task *task)
{
    struct sync_call *call = chassis_container_of(task, struct sync_call, task);
    int result = call->fn(call->data);
    pthread_mutex_lock(&call->mutex);
    call->result = result;
    call->done = true;
    pthread_cond_signal(&call->cond);
    pthread_mutex_unlock(&call->mutex);
}

int chassis_loop_call(struct chassis_loop *loop, int (*fn)(void *data), void *data)
{
    if (current_loop == loop) {
        return fn(data);
    }
    struct sync_call call = {.task.run = run_sync_call, .fn = fn, .data = data};
    pthread_mutex_init(&call.mutex, NULL);
    pthread_cond_init(&call.cond, NULL);
    chassis_post(&loop->executor, &call.task);
    pthread_mutex_lock(&call.mutex);
    while (!call.done) {
        pthread_cond_wait(&call.cond, &call.mutex);
    }
    pthread_mutex_unlock(&call.mutex);
    pthread_cond_destroy(&call.cond);
    pthread_mutex_destroy(&call.mutex);
    return call.result;
}

struct signal_request {
    struct chassis_loop *loop;
    int signal;
    chassis_loop_signal_cb cb;
    void *data;
};

static void on_signal(uv_signal_t *handle, int signal)
{
    struct watched_signal *watched = handle->data;
    watched->cb(signal, watched->data);
}

static int watch_signal(void *data)
{
    struct signal_request *req = data;
    struct watched_signal *free_slot = NULL;
    for (unsigned i = 0; i < SIGNALS_MAX; i++) {
        struct watched_signal *watched = &req->loop->signals[i];
        if (watched->used && watched->handle.signum == req->signal) {
            watched->cb = req->cb;
            watched->data = req->data;
            return 0;
        }
        if (!watched->used && free_slot == NULL) {
            free_slot = watched;
        }
    }
    if (free_slot == NULL) {
        return CHASSIS_RESOURCE_EXHAUSTED;
    }
    int rc = uv_signal_init(&req->loop->uv, &free_slot->handle);
    if (rc != 0) {
        return rc;
    }
    free_slot->used = true;
    free_slot->handle.data = free_slot;
    free_slot->cb = req->cb;
    free_slot->data = req->data;
    rc = uv_signal_start(&free_slot->handle, on_signal, req->signal);
    if (rc == 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, req->signal);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    return rc;
}

int chassis_loop_on_signal(struct chassis_loop *loop, int signal, chassis_loop_signal_cb cb,
                           void *data, struct chassis_error *err)
{
    struct signal_request req = {.loop = loop, .signal = signal, .cb = cb, .data = data};
    int rc = chassis_loop_call(loop, watch_signal, &req);
    return rc == 0 ? 0 : chassis_error_code(err, rc, "watch signal %d", signal);
}
