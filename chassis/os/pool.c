#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/fault.h"
#include "os/os.h"
#include "os/queue.h"

struct chassis_pool {
    struct chassis_executor base;
    char name[16];
    unsigned n_threads, queue_max;
    pthread_t *threads;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct chassis_queue queue; /* under lock, as the two below */
    unsigned n_waiting;
    bool stopping;
};

static _Thread_local const struct chassis_pool *current_pool;

static struct chassis_pool *pool_of(struct chassis_executor *ex)
{
    return chassis_container_of(ex, struct chassis_pool, base);
}

static int push(struct chassis_pool *pool, struct chassis_task *task, size_t max)
{
    pthread_mutex_lock(&pool->lock);
    CHASSIS_ASSERT(!task->queued);
    if (pool->queue.n >= max) {
        pthread_mutex_unlock(&pool->lock);
        return CHASSIS_BUSY;
    }
    chassis_queue_push(&pool->queue, task);
    if (pool->n_waiting != 0) {
        pthread_cond_signal(&pool->wake); /* under the lock: see thread.c */
    }
    pthread_mutex_unlock(&pool->lock);
    return 0;
}

int chassis_os_pool_try_post(struct chassis_pool *pool, struct chassis_task *task)
{
    return push(pool, task, pool->queue_max);
}

static void pool_post(struct chassis_executor *ex, struct chassis_task *task)
{
    push(pool_of(ex), task, SIZE_MAX);
}

static void pool_post_after(struct chassis_executor *ex, struct chassis_timer *timer,
                            uint64_t delay_ns)
{
    (void)timer;
    (void)delay_ns;
    CHASSIS_PANIC("pool '%s' has no timers", ex->name);
}

static void pool_cancel(struct chassis_executor *ex, struct chassis_timer *timer)
{
    (void)timer;
    CHASSIS_PANIC("pool '%s' has no timers", ex->name);
}

static void pool_defer(struct chassis_executor *ex, struct chassis_task *task)
{
    (void)task;
    CHASSIS_PANIC("pool '%s' has no turns to defer to", ex->name);
}

static uint64_t pool_now_ns(struct chassis_executor *ex)
{
    (void)ex;
    return chassis_os_monotonic_ns();
}

static bool pool_is_current(struct chassis_executor *ex)
{
    return current_pool == pool_of(ex);
}

static const struct chassis_executor_ops pool_ops = {
    .post = pool_post,
    .post_after = pool_post_after,
    .cancel = pool_cancel,
    .defer = pool_defer,
    .now_ns = pool_now_ns,
    .is_current = pool_is_current,
};

static void *pool_main(void *data)
{
    struct chassis_pool *pool = data;
    current_pool = pool;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct chassis_task *task = chassis_queue_pop(&pool->queue);
        if (task != NULL) {
            pthread_mutex_unlock(&pool->lock);
            task->run(task);
            pthread_mutex_lock(&pool->lock);
        } else if (pool->stopping) {
            break;
        } else {
            pool->n_waiting++;
            pthread_cond_wait(&pool->wake, &pool->lock);
            pool->n_waiting--;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int chassis_os_pool_start(const char *name, unsigned n_threads, unsigned queue_max,
                          struct chassis_pool **ret_pool)
{
    CHASSIS_ASSERT(n_threads != 0);
    struct chassis_pool *pool = chassis_base_zalloc(sizeof *pool);
    snprintf(pool->name, sizeof pool->name, "%s", name);
    pool->base.ops = &pool_ops;
    pool->base.name = pool->name;
    pool->queue_max = queue_max;
    pool->threads = chassis_base_alloc(n_threads * sizeof *pool->threads);
    chassis_queue_init(&pool->queue);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = 0;
    while (rc == 0 && pool->n_threads < n_threads) {
        rc = CHASSIS_FAULT("os.pool.start")
                 ? EAGAIN
                 : pthread_create(&pool->threads[pool->n_threads], NULL, pool_main, pool);
        if (rc == 0) {
            pthread_setname_np(pool->threads[pool->n_threads++], pool->name);
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        chassis_os_pool_stop(pool);
        return -rc;
    }
    *ret_pool = pool;
    return 0;
}

struct chassis_executor *chassis_os_pool_executor(struct chassis_pool *pool)
{
    return &pool->base;
}

void chassis_os_pool_stop(struct chassis_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    for (unsigned i = 0; i < pool->n_threads; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}
