/* Executors: where a role runs its work.
 *
 * A role (loop, journal, apply, worker, …) is a run queue. Code is handed to it as a task that is
 * embedded in the object the work is about, so that passing work on allocates nothing. In production
 * an executor is a thread (or a libuv loop); in a simulation one thread runs all of them in a seeded
 * order over virtual time. Code that only knows this header runs the same in both.
 *
 * Invariants: tasks of one executor run one at a time in the order posted; a task is posted at most
 * once until it runs (asserted); after post() the poster must not touch the object any more.
 * `defer` runs a task at the end of the present turn, after everything that was queued when the turn
 * began: this is where batches are closed. Deferring a task twice before it runs does nothing.
 * `dispatch` is a post whose task may run at once, inside the call, when the executor is idle: the
 * caller's thread then is the executor for one turn, and nobody has to be woken. An executor that is
 * a thread, whose tasks may block, is run when the caller's own turn is over (errands, os/os.h).
 * Threads: post and dispatch from any; post_after, cancel and defer only from the executor itself.
 * Ownership: a task or timer is caller's memory and must live until it ran or was cancelled.
 */
#ifndef CHASSIS_EXECUTOR_H
#define CHASSIS_EXECUTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chassis_executor;
struct chassis_task;
struct chassis_timer;

typedef void (*chassis_task_fn)(struct chassis_task *task);
typedef void (*chassis_timer_fn)(struct chassis_timer *timer);

struct chassis_task {
    struct chassis_task *next; /* of the queue it stands in */
    chassis_task_fn run;
    bool queued; /* stands in a queue; for the assert and for defer */
};

struct chassis_timer {
    chassis_timer_fn run;
    uint64_t due_ns;   /* 0 while not armed */
    uint64_t sequence; /* order among equal due times */
    uint32_t slot;     /* place in the executor's heap + 1; 0 while not armed */
};

struct chassis_executor_ops {
    void (*post)(struct chassis_executor *ex, struct chassis_task *task);
    void (*dispatch)(struct chassis_executor *ex, struct chassis_task *task); /* NULL: as post */
    void (*post_after)(struct chassis_executor *ex, struct chassis_timer *timer, uint64_t delay_ns);
    void (*cancel)(struct chassis_executor *ex, struct chassis_timer *timer);
    void (*defer)(struct chassis_executor *ex, struct chassis_task *task);
    uint64_t (*now_ns)(struct chassis_executor *ex);
    /* True when called from inside this executor; the run-time side of "one owner per struct". */
    bool (*is_current)(struct chassis_executor *ex);
};

struct chassis_executor {
    const struct chassis_executor_ops *ops;
    const char *name; /* "loop", "journal" …; for logs and asserts */
};

static inline void chassis_post(struct chassis_executor *ex, struct chassis_task *task)
{
    ex->ops->post(ex, task);
}
/* Post a task that is short and waited for, in a state in which it may run before this returns: no
 * lock is held that it or what else is due in its turn could want. For the last thing a step does
 * when nothing else is under way; where much is, threads that work beside one another do more. */
static inline void chassis_dispatch(struct chassis_executor *ex, struct chassis_task *task)
{
    (ex->ops->dispatch != NULL ? ex->ops->dispatch : ex->ops->post)(ex, task);
}
/* Run `timer` once, not before `delay_ns` (nanoseconds) have passed; re-arms one that is armed. */
static inline void chassis_post_after(struct chassis_executor *ex, struct chassis_timer *timer,
                                      uint64_t delay_ns)
{
    ex->ops->post_after(ex, timer, delay_ns);
}
/* A timer that is not armed is left alone. */
static inline void chassis_cancel(struct chassis_executor *ex, struct chassis_timer *timer)
{
    ex->ops->cancel(ex, timer);
}
static inline void chassis_defer(struct chassis_executor *ex, struct chassis_task *task)
{
    ex->ops->defer(ex, task);
}
/* Monotonic nanoseconds; virtual time in a simulation. Only differences mean anything. */
static inline uint64_t chassis_now_ns(struct chassis_executor *ex)
{
    return ex->ops->now_ns(ex);
}
static inline bool chassis_is_current(struct chassis_executor *ex)
{
    return ex->ops->is_current(ex);
}

#define CHASSIS_NS_PER_MS 1000000ULL
#define CHASSIS_NS_PER_S  1000000000ULL

/* The struct that holds `member`: from a task back to the object it is embedded in. */
#define chassis_container_of(ptr, type, member)                                                    \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#endif
