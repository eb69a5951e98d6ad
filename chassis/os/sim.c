/* World and executors. One heap of timers orders everything that waits for a time (each executor's
 * next timer, delayed starts, the test's events); executors with something to run at once stand in
 * an array from which a random one is taken for each step.
 *
 *     executor:  idle --post--> [waking, if it has a delay] --> ready --step--> idle or again
 */
#include "os/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "os/queue.h"
#include "os/sim_internal.h"
#include "os/timers.h"

enum { TASK_COST_NS = 100 };
#define SIM_EPOCH_NS 1700000000000000000LL

struct sim_executor {
    struct chassis_executor base;
    struct chassis_sim *sim;
    struct chassis_sim_host *host; /* NULL once its host crashed */
    struct chassis_list link;
    char name[32];
    uint64_t delay_max_ns;
    uint64_t frozen_until_ns;
    struct chassis_queue queue, deferred;
    size_t turn_left;    /* tasks of the present turn that have not run yet */
    bool running;        /* perhaps below another one that dispatched to it */
    uint32_t ready_slot; /* place in sim->ready + 1 */
    struct chassis_timers timers;
    struct chassis_timer alarm; /* in the world's heap while `timers` is not empty */
    struct chassis_timer wake;  /* in the world's heap while a start is delayed */
};

struct chassis_sim_host {
    struct chassis_sim *sim;
    struct chassis_list link;
    struct chassis_list executors;
    struct chassis_list zombies; /* of the last crash: their users may still hold them */
    struct sim_disk *disk;
    struct chassis_clock clock;
    char name[32];
};

struct sim_event {
    struct chassis_timer timer;
    struct chassis_list link;
    void (*fn)(void *data);
    void *data;
};

struct chassis_sim {
    struct chassis_prng prng;
    uint64_t now_ns;
    struct chassis_timers heap;
    struct sim_executor **ready;
    uint32_t n_ready, cap_ready;
    struct sim_executor *current;
    struct chassis_list hosts;
    struct chassis_list events; /* the test's own that have not run yet */
};

static struct sim_executor *executor_of(struct chassis_executor *ex)
{
    return chassis_container_of(ex, struct sim_executor, base);
}

static void make_ready(struct sim_executor *ex)
{
    struct chassis_sim *sim = ex->sim;
    if (sim->n_ready == sim->cap_ready) {
        sim->cap_ready = sim->cap_ready != 0 ? sim->cap_ready * 2 : 16;
        sim->ready =
            chassis_base_realloc(sim->ready, sim->cap_ready * sizeof(struct sim_executor *));
    }
    sim->ready[sim->n_ready++] = ex;
    ex->ready_slot = sim->n_ready;
}

static void make_unready(struct sim_executor *ex)
{
    struct chassis_sim *sim = ex->sim;
    struct sim_executor *last = sim->ready[--sim->n_ready];
    sim->ready[ex->ready_slot - 1] = last;
    last->ready_slot = ex->ready_slot;
    ex->ready_slot = 0;
}

/* See to it that an executor with work runs, now or after its delay. */
static void schedule(struct sim_executor *ex)
{
    if (ex->ready_slot != 0 || ex->wake.slot != 0 ||
        (ex->queue.head == NULL && ex->deferred.head == NULL)) {
        return;
    }
    if (ex->delay_max_ns == 0) {
        make_ready(ex);
    } else {
        uint64_t delay = chassis_prng_below(&ex->sim->prng, ex->delay_max_ns + 1);
        chassis_timers_arm(&ex->sim->heap, &ex->wake, ex->sim->now_ns + delay);
    }
}

/* A frozen executor gets its turn when it thaws; which of its tasks and timers is first is chance. */
static bool frozen(struct sim_executor *ex, struct chassis_timer *again)
{
    if (ex->sim->now_ns >= ex->frozen_until_ns) {
        return false;
    }
    uint64_t late = chassis_prng_below(&ex->sim->prng, 1000000);
    chassis_timers_arm(&ex->sim->heap, again, ex->frozen_until_ns + late);
    return true;
}

static void on_wake(struct chassis_timer *timer)
{
    struct sim_executor *ex = chassis_container_of(timer, struct sim_executor, wake);
    if (!frozen(ex, timer)) {
        make_ready(ex);
    }
}

static void end_turn(struct sim_executor *ex)
{
    struct chassis_queue deferred; /* deferred from here on: at the end of the next turn */
    chassis_queue_take_all(&deferred, &ex->deferred);
    struct chassis_task *task;
    while ((task = chassis_queue_pop(&deferred)) != NULL) {
        task->run(task);
    }
}

/* From here to leave() the one step is the executor's; below it is what dispatched to it, or nothing. */
static struct sim_executor *enter(struct sim_executor *ex)
{
    struct sim_executor *below = ex->sim->current;
    CHASSIS_ASSERT(!ex->running);
    ex->running = true;
    ex->sim->current = ex;
    return below;
}

static void leave(struct sim_executor *ex, struct sim_executor *below)
{
    if (ex->turn_left == 0) {
        end_turn(ex);
    }
    ex->running = false;
    ex->sim->current = below;
    schedule(ex);
}

static void run_one(struct sim_executor *ex)
{
    if (frozen(ex, &ex->wake)) {
        return;
    }
    struct sim_executor *below = enter(ex);
    if (ex->turn_left == 0) {
        ex->turn_left = ex->queue.n;
    }
    struct chassis_task *task = ex->turn_left != 0 ? chassis_queue_pop(&ex->queue) : NULL;
    if (task != NULL) {
        ex->turn_left--;
        task->run(task);
    }
    leave(ex, below);
}

static void set_alarm(struct sim_executor *ex)
{
    struct chassis_timer *first = chassis_timers_first(&ex->timers);
    if (first == NULL) {
        chassis_timers_cancel(&ex->sim->heap, &ex->alarm);
    } else if (ex->alarm.due_ns != first->due_ns) {
        chassis_timers_arm(&ex->sim->heap, &ex->alarm, first->due_ns);
    }
}

static void on_alarm(struct chassis_timer *timer)
{
    struct sim_executor *ex = chassis_container_of(timer, struct sim_executor, alarm);
    if (frozen(ex, timer)) {
        return;
    }
    struct chassis_timer *due = chassis_timers_take_due(&ex->timers, ex->sim->now_ns);
    if (due != NULL) {
        struct sim_executor *below = enter(ex);
        due->run(due);
        leave(ex, below);
    }
    set_alarm(ex);
}

static void sim_post(struct chassis_executor *base, struct chassis_task *task)
{
    struct sim_executor *ex = executor_of(base);
    if (ex->host == NULL) {
        return; /* the machine is gone, and so is the message */
    }
    CHASSIS_ASSERT(!task->queued);
    chassis_queue_push(&ex->queue, task);
    if (ex->sim->current != ex) { /* else the end of its step sees to it */
        schedule(ex);
    }
}

/* Chance decides whether an executor without work is idle. */
static void sim_dispatch(struct chassis_executor *base, struct chassis_task *task)
{
    struct sim_executor *ex = executor_of(base);
    bool idle = ex->host != NULL && !ex->running && ex->queue.head == NULL &&
                ex->deferred.head == NULL && ex->sim->now_ns >= ex->frozen_until_ns;
    if (!idle || chassis_prng_below(&ex->sim->prng, 2) == 0) {
        sim_post(base, task);
        return;
    }
    struct sim_executor *below = enter(ex);
    CHASSIS_ASSERT(!task->queued);
    task->run(task);
    leave(ex, below);
}

static void sim_post_after(struct chassis_executor *base, struct chassis_timer *timer,
                           uint64_t delay_ns)
{
    struct sim_executor *ex = executor_of(base);
    if (ex->host == NULL) {
        return;
    }
    CHASSIS_ASSERT(ex->sim->current == ex);
    uint64_t late =
        ex->delay_max_ns != 0 ? chassis_prng_below(&ex->sim->prng, ex->delay_max_ns + 1) : 0;
    chassis_timers_arm(&ex->timers, timer, ex->sim->now_ns + delay_ns + late);
    set_alarm(ex);
}

static void sim_cancel(struct chassis_executor *base, struct chassis_timer *timer)
{
    struct sim_executor *ex = executor_of(base);
    if (ex->host == NULL) {
        return;
    }
    CHASSIS_ASSERT(ex->sim->current == ex);
    chassis_timers_cancel(&ex->timers, timer);
    set_alarm(ex);
}

static void sim_defer(struct chassis_executor *base, struct chassis_task *task)
{
    struct sim_executor *ex = executor_of(base);
    if (ex->host == NULL) {
        return;
    }
    CHASSIS_ASSERT(ex->sim->current == ex);
    if (!task->queued) {
        chassis_queue_push(&ex->deferred, task);
    }
}

static uint64_t sim_now_ns(struct chassis_executor *base)
{
    return executor_of(base)->sim->now_ns;
}

static bool sim_is_current(struct chassis_executor *base)
{
    struct sim_executor *ex = executor_of(base);
    return ex->sim->current == ex;
}

static const struct chassis_executor_ops sim_ops = {
    .post = sim_post,
    .dispatch = sim_dispatch,
    .post_after = sim_post_after,
    .cancel = sim_cancel,
    .defer = sim_defer,
    .now_ns = sim_now_ns,
    .is_current = sim_is_current,
};

struct chassis_executor *chassis_sim_executor(struct chassis_sim_host *host, const char *name,
                                              uint64_t delay_max_ns)
{
    struct sim_executor *ex = chassis_base_zalloc(sizeof *ex);
    snprintf(ex->name, sizeof ex->name, "%s", name);
    ex->base.ops = &sim_ops;
    ex->base.name = ex->name;
    ex->sim = host->sim;
    ex->host = host;
    ex->delay_max_ns = delay_max_ns;
    chassis_queue_init(&ex->queue);
    chassis_queue_init(&ex->deferred);
    ex->alarm.run = on_alarm;
    ex->wake.run = on_wake;
    chassis_list_append(&host->executors, &ex->link);
    return &ex->base;
}

void chassis_sim_executor_delay(struct chassis_executor *executor, uint64_t delay_max_ns)
{
    executor_of(executor)->delay_max_ns = delay_max_ns;
}

void chassis_sim_executor_freeze(struct chassis_executor *executor, uint64_t for_ns)
{
    struct sim_executor *ex = executor_of(executor);
    ex->frozen_until_ns = ex->sim->now_ns + for_ns;
}

void chassis_sim_call(struct chassis_executor *executor, void (*fn)(void *data), void *data)
{
    struct sim_executor *ex = executor_of(executor);
    CHASSIS_ASSERT(ex->sim->current == NULL && ex->host != NULL);
    struct sim_executor *below = enter(ex);
    fn(data);
    leave(ex, below);
}

/* Forget everything it was to run; the memory stays, since its users may still hold it. */
static void executor_kill(struct sim_executor *ex)
{
    while (chassis_queue_pop(&ex->queue) != NULL || chassis_queue_pop(&ex->deferred) != NULL) {
    }
    chassis_timers_fini(&ex->timers);
    chassis_timers_cancel(&ex->sim->heap, &ex->alarm);
    chassis_timers_cancel(&ex->sim->heap, &ex->wake);
    if (ex->ready_slot != 0) {
        make_unready(ex);
    }
    ex->turn_left = 0;
    ex->host = NULL;
}

static void free_executors(struct chassis_list *list)
{
    chassis_list_foreach_safe (it, list) {
        struct sim_executor *ex = chassis_list_entry(it, struct sim_executor, link);
        if (ex->host != NULL) {
            executor_kill(ex);
        }
        chassis_list_remove(it);
        free(ex);
    }
}

static int64_t sim_wall_ns(struct chassis_clock *clock)
{
    struct chassis_sim_host *host = chassis_container_of(clock, struct chassis_sim_host, clock);
    return SIM_EPOCH_NS + (int64_t)host->sim->now_ns;
}

struct chassis_sim_host *chassis_sim_host_new(struct chassis_sim *sim, const char *name)
{
    struct chassis_sim_host *host = chassis_base_zalloc(sizeof *host);
    snprintf(host->name, sizeof host->name, "%s", name);
    host->sim = sim;
    host->disk = sim_disk_new(&sim->prng);
    host->clock.wall_ns = sim_wall_ns;
    chassis_list_init(&host->executors);
    chassis_list_init(&host->zombies);
    chassis_list_append(&sim->hosts, &host->link);
    return host;
}

struct chassis_disk *chassis_sim_disk(struct chassis_sim_host *host)
{
    return sim_disk_base(host->disk);
}

struct chassis_clock *chassis_sim_clock(struct chassis_sim_host *host)
{
    return &host->clock;
}

void chassis_sim_host_crash(struct chassis_sim_host *host, bool power)
{
    CHASSIS_ASSERT(host->sim->current == NULL || host->sim->current->host != host);
    free_executors(&host->zombies);
    chassis_list_foreach_safe (it, &host->executors) {
        executor_kill(chassis_list_entry(it, struct sim_executor, link));
        chassis_list_remove(it);
        chassis_list_append(&host->zombies, it);
    }
    sim_disk_crash(host->disk, power);
}

void chassis_sim_disk_limit(struct chassis_sim_host *host, uint64_t bytes)
{
    sim_disk_limit(host->disk, bytes);
}

int chassis_sim_disk_flip(struct chassis_sim_host *host, const char *path, uint64_t bit)
{
    return sim_disk_flip(host->disk, path, bit);
}

uint64_t chassis_sim_disk_syncs(struct chassis_sim_host *host)
{
    return sim_disk_syncs(host->disk);
}

uint64_t chassis_sim_disk_used(struct chassis_sim_host *host)
{
    return sim_disk_used(host->disk);
}

struct chassis_sim *chassis_sim_new(uint64_t seed)
{
    struct chassis_sim *sim = chassis_base_zalloc(sizeof *sim);
    chassis_prng_init(&sim->prng, seed);
    sim->now_ns = CHASSIS_NS_PER_S; /* zero is "never" in many places */
    chassis_list_init(&sim->hosts);
    chassis_list_init(&sim->events);
    return sim;
}

void chassis_sim_free(struct chassis_sim *sim)
{
    if (sim == NULL) {
        return;
    }
    chassis_list_foreach_safe (it, &sim->hosts) {
        struct chassis_sim_host *host = chassis_list_entry(it, struct chassis_sim_host, link);
        free_executors(&host->executors);
        free_executors(&host->zombies);
        sim_disk_free(host->disk);
        free(host);
    }
    chassis_timers_fini(&sim->heap);
    chassis_list_foreach_safe (it, &sim->events) {
        free(chassis_list_entry(it, struct sim_event, link));
    }
    free(sim->ready);
    free(sim);
}

struct chassis_prng *chassis_sim_prng(struct chassis_sim *sim)
{
    return &sim->prng;
}

uint64_t chassis_sim_now_ns(struct chassis_sim *sim)
{
    return sim->now_ns;
}

static void on_event(struct chassis_timer *timer)
{
    struct sim_event *event = chassis_container_of(timer, struct sim_event, timer);
    void (*fn)(void *) = event->fn;
    void *data = event->data;
    chassis_list_remove(&event->link);
    free(event);
    fn(data);
}

void chassis_sim_at(struct chassis_sim *sim, uint64_t delay_ns, void (*fn)(void *data), void *data)
{
    struct sim_event *event = chassis_base_zalloc(sizeof *event);
    event->timer.run = on_event;
    event->fn = fn;
    event->data = data;
    chassis_list_append(&sim->events, &event->link);
    chassis_timers_arm(&sim->heap, &event->timer, sim->now_ns + delay_ns);
}

bool chassis_sim_step(struct chassis_sim *sim)
{
    CHASSIS_ASSERT(sim->current == NULL);
    struct chassis_timer *first = chassis_timers_first(&sim->heap);
    if (first != NULL && (first->due_ns <= sim->now_ns || sim->n_ready == 0)) {
        if (first->due_ns > sim->now_ns) {
            sim->now_ns = first->due_ns;
        }
        chassis_timers_cancel(&sim->heap, first);
        first->run(first);
        return true;
    }
    if (sim->n_ready == 0) {
        return false;
    }
    uint32_t i = sim->n_ready > 1 ? (uint32_t)chassis_prng_below(&sim->prng, sim->n_ready) : 0;
    struct sim_executor *ex = sim->ready[i];
    make_unready(ex);
    sim->now_ns += TASK_COST_NS;
    run_one(ex);
    return true;
}

bool chassis_sim_run(struct chassis_sim *sim, uint64_t for_ns, bool (*done)(void *data), void *data)
{
    uint64_t end = sim->now_ns + for_ns;
    for (;;) {
        if (done != NULL && done(data)) {
            return true;
        }
        if (sim->now_ns >= end) {
            return false;
        }
        struct chassis_timer *first = chassis_timers_first(&sim->heap);
        if (sim->n_ready == 0 && (first == NULL || first->due_ns > end)) {
            sim->now_ns = end; /* nothing happens in between */
            return done != NULL && done(data);
        }
        chassis_sim_step(sim);
    }
}
