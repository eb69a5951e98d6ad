/* An idle loop may be run by whoever has something for it. */
#include "test.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "loop/loop.h"

static int setup(void **state)
{
    struct chassis_loop *loop = NULL;
    assert_int_equal(chassis_loop_start("test-loop", &loop, NULL), 0);
    *state = loop;
    return 0;
}
static int teardown(void **state)
{
    chassis_loop_stop(*state);
    return 0;
}

struct step {
    struct chassis_task task, deferred, again;
    struct chassis_timer timer;
    struct chassis_executor *ex;
    uint64_t delay_ns; /* 0 = no timer, but a task of the next turn */
    pthread_t on;
    unsigned n_tasks, n_deferred;
    bool current;
    atomic_uint n_timers, n_again;
};
static void step_timer(struct chassis_timer *timer)
{
    atomic_fetch_add(&chassis_container_of(timer, struct step, timer)->n_timers, 1);
}
static void step_again(struct chassis_task *task)
{
    atomic_fetch_add(&chassis_container_of(task, struct step, again)->n_again, 1);
}
static void step_deferred(struct chassis_task *task)
{
    struct step *s = chassis_container_of(task, struct step, deferred);
    s->n_deferred++;
    if (s->delay_ns == 0) {
        chassis_dispatch(s->ex, &s->again); /* the loop is not idle now: a later turn */
        assert_int_equal(atomic_load(&s->n_again), 0);
    }
}
static void step_task(struct chassis_task *task)
{
    struct step *s = chassis_container_of(task, struct step, task);
    s->on = pthread_self();
    s->current = chassis_is_current(s->ex);
    s->n_tasks++;
    chassis_defer(s->ex, &s->deferred);
    if (s->delay_ns != 0) {
        chassis_post_after(s->ex, &s->timer, s->delay_ns);
    }
}
static int nothing(void *data)
{
    return 0;
}

/* Until it ran on this thread: the loop may have something to do just then. */
static void dispatch_here(struct chassis_loop *loop, struct step *s, uint64_t delay_ns)
{
    bool here = false;
    while (!here) {
        chassis_loop_call(loop, nothing, NULL); /* its thread has begun */
        poll(NULL, 0, 1);
        *s = (struct step){.task.run = step_task,
                           .deferred.run = step_deferred,
                           .again.run = step_again,
                           .timer.run = step_timer,
                           .ex = chassis_loop_executor(loop),
                           .delay_ns = delay_ns};
        chassis_dispatch(s->ex, &s->task);
        here = s->n_tasks == 1 && s->n_deferred == 1 && pthread_equal(s->on, pthread_self());
        test_wait_until(atomic_load(&s->n_again) == (delay_ns == 0));
        test_wait_until(atomic_load(&s->n_timers) == (delay_ns != 0));
        chassis_loop_call(loop, nothing, NULL); /* nothing of it is under way */
        assert_int_equal(s->n_tasks, 1);
        assert_int_equal(s->n_deferred, 1);
        assert_true(s->current);
    }
    assert_false(chassis_is_current(s->ex));
}

static void an_idle_loops_turn_runs_on_the_thread_that_has_the_task(void **state)
{
    struct step s;
    dispatch_here(*state, &s, 0);
}

/* The loop's thread sleeps for as long as it knew to when the timer was not there yet. */
static void a_timer_that_is_set_elsewhere_wakes_the_loops_thread(void **state)
{
    struct step s;
    dispatch_here(*state, &s, 5 * CHASSIS_NS_PER_MS);
}

struct plug {
    struct chassis_task task;
    atomic_bool in, out;
};
static void run_plug(struct chassis_task *task)
{
    struct plug *plug = chassis_container_of(task, struct plug, task);
    atomic_store(&plug->in, true);
    test_wait_until(atomic_load(&plug->out));
}
struct letter {
    struct chassis_task task;
    char *text, letter;
};
static void run_letter(struct chassis_task *task)
{
    struct letter *l = chassis_container_of(task, struct letter, task);
    l->text[strlen(l->text)] = l->letter;
}
static void a_busy_loop_runs_what_was_dispatched_in_its_turn(void **state)
{
    struct chassis_executor *ex = chassis_loop_executor(*state);
    struct plug plug = {.task.run = run_plug};
    char text[8] = "";
    struct letter letters[3];
    for (unsigned i = 0; i < 3; i++) {
        letters[i] = (struct letter){{.run = run_letter}, text, (char)('a' + i)};
    }
    chassis_post(ex, &plug.task);
    test_wait_until(atomic_load(&plug.in));
    chassis_post(ex, &letters[0].task);
    chassis_dispatch(ex, &letters[1].task);
    chassis_post(ex, &letters[2].task);
    assert_string_equal(text, "");
    atomic_store(&plug.out, true);
    chassis_loop_call(*state, nothing, NULL);
    assert_string_equal(text, "abc");
}

enum { THREADS = 4, EACH = 5000 };
struct shared {
    struct chassis_executor *ex;
    unsigned count; /* no lock: one turn at a time */
    unsigned next[THREADS];
    bool in_order;
};
struct numbered {
    struct chassis_task task;
    struct shared *shared;
    unsigned thread, number;
};
static void run_numbered(struct chassis_task *task)
{
    struct numbered *n = chassis_container_of(task, struct numbered, task);
    struct shared *s = n->shared;
    s->count++;
    s->in_order = s->in_order && s->next[n->thread]++ == n->number;
}
static void *pass_many(void *data)
{
    struct numbered *tasks = data;
    for (unsigned i = 0; i < EACH; i++) {
        (i % 3 == 0 ? chassis_post : chassis_dispatch)(tasks[i].shared->ex, &tasks[i].task);
    }
    return NULL;
}
static void turns_of_many_threads_come_one_at_a_time_and_in_order(void **state)
{
    struct shared shared = {.ex = chassis_loop_executor(*state), .in_order = true};
    struct numbered *tasks = calloc(THREADS * EACH, sizeof *tasks);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS * EACH; i++) {
        tasks[i] = (struct numbered){{.run = run_numbered}, &shared, i / EACH, i % EACH};
    }
    for (unsigned t = 0; t < THREADS; t++) {
        pthread_create(&threads[t], NULL, pass_many, &tasks[t * EACH]);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
    }
    chassis_loop_call(*state, nothing, NULL);
    assert_int_equal(shared.count, THREADS * EACH);
    assert_true(shared.in_order);
    free(tasks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_idle_loops_turn_runs_on_the_thread_that_has_the_task,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_that_is_set_elsewhere_wakes_the_loops_thread, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_busy_loop_runs_what_was_dispatched_in_its_turn, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(turns_of_many_threads_come_one_at_a_time_and_in_order,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
