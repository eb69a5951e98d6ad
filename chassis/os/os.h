/* The operating system behind vtables: clock, threads as executors, and their simulated forms.
 *
 * Threads: chassis_os_thread_* may be called from any thread but the executor's own.
 */
#ifndef CHASSIS_OS_OS_H
#define CHASSIS_OS_OS_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/error.h>
#include <chassis/executor.h>

/* Wall-clock time; used only as a proposed value inside a command and in logs. */
struct chassis_clock {
    int64_t (*wall_ns)(struct chassis_clock *clock); /* since the epoch */
};
struct chassis_clock *chassis_clock_posix(void);
static inline int64_t chassis_wall_ns(struct chassis_clock *clock)
{
    return clock->wall_ns(clock);
}
uint64_t chassis_os_monotonic_ns(void);
/* The kernel's boot id (36 characters): tells a crash of the process from one of the machine. */
int chassis_os_boot_id(char out[37]);

/* An executor that is a thread with an inbox, timers and end-of-turn tasks. `stop` runs what is
 * queued, then joins. The name shows in ps and gdb (at most 15 characters). */
int chassis_os_thread_start(const char *name, struct chassis_executor **ret_executor);
/* The same, with a short slice. */
int chassis_os_thread_start_prompt(const char *name, struct chassis_executor **ret_executor);
void chassis_os_thread_stop(struct chassis_executor *executor);

/* Errands: what is dispatched to a thread executor that waits, by a thread that takes errands, is run
 * by that thread: not inside the call but when it says so, out of all roles it may be in by then, since
 * an errand may block. While it does the executor is this thread; what is posted to it meanwhile
 * waits, and goes to the executor's own thread after two turns. At most one waits at a time: what else
 * is dispatched is posted. Who takes errands must come to run them soon. */
void chassis_os_errands_take(bool take); /* of the calling thread; none may wait */
bool chassis_os_errand_waits(void);
void chassis_os_errand_run(void);

/* The calling thread is one that others wait for and that never runs long: where there are more threads
 * than processors it runs as soon as it is woken, before those that take long turns. Its share of the
 * processor stays what it was. On kernels before 6.12, or where it is forbidden, nothing happens. */
void chassis_os_short_slice(void);

/* A pool of threads with one bounded queue: tasks run in parallel and in no order; only post is
 * allowed. try_post fails with CHASSIS_BUSY when `queue_max` tasks wait. */
struct chassis_pool;
int chassis_os_pool_start(const char *name, unsigned n_threads, unsigned queue_max,
                          struct chassis_pool **ret_pool);
int chassis_os_pool_try_post(struct chassis_pool *pool, struct chassis_task *task);
/* The pool as an executor whose post never refuses: for work already bounded by a permit. */
struct chassis_executor *chassis_os_pool_executor(struct chassis_pool *pool);
void chassis_os_pool_stop(struct chassis_pool *pool);

#endif
