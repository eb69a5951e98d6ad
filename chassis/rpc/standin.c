#include "rpc/standin.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/fault.h"
#include "os/os.h"
#include "rpc/queue.h"

enum { LOOK_MS = 10 };

void rpc_standin_init(struct rpc_standin *s, struct rpc_queue *queue)
{
    pthread_condattr_t attr;
    s->queue = queue;
    s->running = s->stopping = false;
    atomic_init(&s->errands, 0);
    atomic_init(&s->watching, false);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
}

/* Until the errand that was seen is over. */
static void stand_in(struct rpc_standin *s, uint64_t seen)
{
    pthread_mutex_unlock(&s->lock);
    rpc_queue_enter(s->queue);
    bool more = true;
    while (more && atomic_load(&s->errands) == seen) {
        more = rpc_queue_step(s->queue, chassis_os_monotonic_ns() + LOOK_MS * CHASSIS_NS_PER_MS);
    }
    rpc_queue_leave(s->queue);
    pthread_mutex_lock(&s->lock);
}

static void wait_for_look(struct rpc_standin *s)
{
    uint64_t until_ns = chassis_os_monotonic_ns() + LOOK_MS * CHASSIS_NS_PER_MS;
    struct timespec until = {.tv_sec = (time_t)(until_ns / CHASSIS_NS_PER_S),
                             .tv_nsec = (long)(until_ns % CHASSIS_NS_PER_S)};
    while (!s->stopping && pthread_cond_timedwait(&s->changed, &s->lock, &until) != ETIMEDOUT) {
    }
}

static void *standin_main(void *data)
{
    struct rpc_standin *s = data;
    uint64_t last = 0;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        if (!atomic_load(&s->watching)) {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        wait_for_look(s);
        uint64_t seen = atomic_load(&s->errands);
        if (seen == last && seen % 2 != 0) {
            stand_in(s, seen);
        } else if (seen == last) {
            atomic_store(&s->watching, false);
            if (atomic_load(&s->errands) != seen) { /* began meanwhile and took us for awake */
                atomic_store(&s->watching, true);
            }
        }
        last = seen;
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static bool start(struct rpc_standin *s)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc =
        CHASSIS_FAULT("rpc.standin") ? EAGAIN : pthread_create(&s->thread, NULL, standin_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0) {
        pthread_setname_np(s->thread, "standin");
    }
    return rc == 0;
}

bool rpc_standin_begin(struct rpc_standin *s)
{
    if (!s->running && !(s->running = start(s))) {
        return false;
    }
    atomic_fetch_add(&s->errands, 1);
    if (!atomic_load(&s->watching)) {
        pthread_mutex_lock(&s->lock);
        atomic_store(&s->watching, true);
        pthread_cond_signal(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
    return true;
}

void rpc_standin_end(struct rpc_standin *s)
{
    atomic_fetch_add(&s->errands, 1);
}

void rpc_standin_fini(struct rpc_standin *s)
{
    if (s->running) {
        pthread_mutex_lock(&s->lock);
        s->stopping = true;
        pthread_cond_signal(&s->changed);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
}
