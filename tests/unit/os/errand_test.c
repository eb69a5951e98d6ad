/* Errands: a thread that takes them runs what it dispatched to a thread executor that waits. */
#include "tests/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "os/os.h"

struct job {
    struct chassis_task task;
    void (*work)(struct job *job);
    struct chassis_executor *ex;
    pthread_t on;
    atomic_bool ran;
};

static char order[16];
static atomic_uint n_order;

static void note(char c)
{
    order[atomic_fetch_add(&n_order, 1)] = c;
}

static void run_job(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    assert_true(chassis_is_current(job->ex));
    job->on = pthread_self();
    if (job->work != NULL) {
        job->work(job);
    }
    atomic_store(&job->ran, true);
}

static struct job job_of(struct chassis_executor *ex, void (*work)(struct job *))
{
    return (struct job){.task.run = run_job, .ex = ex, .work = work};
}

static bool was_here(const struct job *job)
{
    return pthread_equal(job->on, pthread_self());
}

/* Until nothing of the executor is under way it is not idle, and what is dispatched is posted. */
static void wait_for_idle(struct chassis_executor *ex)
{
    for (;;) {
        struct job job = job_of(ex, NULL);
        chassis_dispatch(ex, &job.task);
        if (chassis_os_errand_waits()) {
            chassis_os_errand_run();
            return;
        }
        test_wait_until(atomic_load(&job.ran));
    }
}

static struct chassis_executor *start(void)
{
    struct chassis_executor *ex;
    assert_int_equal(chassis_os_thread_start("errand", &ex), 0);
    memset(order, 0, sizeof order);
    atomic_store(&n_order, 0);
    chassis_os_errands_take(true);
    wait_for_idle(ex);
    return ex;
}

static void stop(struct chassis_executor *ex)
{
    chassis_os_errands_take(false);
    chassis_os_thread_stop(ex);
}

static void an_errand_is_run_when_who_took_it_says_so(void **state)
{
    struct chassis_executor *ex = start();
    struct job job = job_of(ex, NULL);
    chassis_dispatch(ex, &job.task);
    assert_true(chassis_os_errand_waits());
    assert_false(atomic_load(&job.ran));
    chassis_os_errand_run();
    assert_false(chassis_os_errand_waits());
    assert_true(atomic_load(&job.ran) && was_here(&job));
    assert_false(chassis_is_current(ex));
    stop(ex);
}

static void without_taking_errands_a_dispatch_is_a_post(void **state)
{
    struct chassis_executor *ex = start();
    chassis_os_errands_take(false);
    struct job job = job_of(ex, NULL);
    chassis_dispatch(ex, &job.task);
    assert_false(chassis_os_errand_waits());
    test_wait_until(atomic_load(&job.ran));
    assert_false(was_here(&job));
    stop(ex);
}

static void a_second_one_is_posted(void **state)
{
    struct chassis_executor *ex = start(), *other;
    assert_int_equal(chassis_os_thread_start("other", &other), 0);
    struct job first = job_of(ex, NULL), behind = job_of(ex, NULL), second = job_of(other, NULL);
    chassis_dispatch(ex, &first.task);
    chassis_dispatch(ex, &behind.task);
    chassis_dispatch(other, &second.task);
    test_wait_until(atomic_load(&second.ran));
    assert_false(was_here(&second));
    assert_false(atomic_load(&behind.ran)); /* it has its place behind the errand */
    chassis_os_errand_run();
    test_wait_until(atomic_load(&behind.ran));
    assert_true(was_here(&first));
    stop(ex);
    chassis_os_thread_stop(other);
}

static struct job inner[3];

static void post_third(struct job *job)
{
    note('2');
    chassis_post(job->ex, &inner[1].task);
}

static void post_second(struct job *job)
{
    note('1');
    chassis_post(job->ex, &inner[0].task);
}

static void note_third(struct job *job)
{
    note('3');
}

static void after_two_turns_the_rest_is_the_threads_own(void **state)
{
    struct chassis_executor *ex = start();
    struct job first = job_of(ex, post_second);
    inner[0] = job_of(ex, post_third);
    inner[1] = job_of(ex, note_third);
    chassis_dispatch(ex, &first.task);
    chassis_os_errand_run();
    test_wait_until(atomic_load(&inner[1].ran));
    assert_string_equal(order, "123");
    assert_true(was_here(&first) && was_here(&inner[0]));
    assert_false(was_here(&inner[1]));
    stop(ex);
}

static void *post_inner(void *data)
{
    struct job *job = data;
    chassis_post(job->ex, &job->task);
    return NULL;
}

static void let_others_post(struct job *job)
{
    pthread_t others[3];
    for (unsigned i = 0; i < 3; i++) {
        inner[i] = job_of(job->ex, note_third);
        pthread_create(&others[i], NULL, post_inner, &inner[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(others[i], NULL);
        assert_false(atomic_load(&inner[i].ran)); /* one at a time */
    }
    note('1');
}

static void what_others_post_meanwhile_waits_for_its_end(void **state)
{
    struct chassis_executor *ex = start();
    struct job job = job_of(ex, let_others_post);
    chassis_dispatch(ex, &job.task);
    chassis_os_errand_run();
    for (unsigned i = 0; i < 3; i++) {
        test_wait_until(atomic_load(&inner[i].ran));
    }
    assert_string_equal(order, "1333");
    stop(ex);
}

static struct {
    struct chassis_timer timer;
    struct chassis_task deferred;
    pthread_t on;
    atomic_bool ran, deferred_ran;
} later;

static void on_timer(struct chassis_timer *timer)
{
    later.on = pthread_self();
    atomic_store(&later.ran, true);
}

static void on_deferred(struct chassis_task *task)
{
    atomic_store(&later.deferred_ran, true);
}

static void arm_and_defer(struct job *job)
{
    later.timer.run = on_timer;
    later.deferred.run = on_deferred;
    chassis_post_after(job->ex, &later.timer, 1000);
    chassis_defer(job->ex, &later.deferred);
}

static void a_timer_set_by_an_errand_is_the_threads_own(void **state)
{
    struct chassis_executor *ex = start();
    struct job job = job_of(ex, arm_and_defer);
    chassis_dispatch(ex, &job.task);
    chassis_os_errand_run();
    assert_true(atomic_load(&later.deferred_ran));
    test_wait_until(atomic_load(&later.ran));
    assert_false(pthread_equal(later.on, pthread_self()));
    stop(ex);
}

static void arm_soon(struct job *job)
{
    later.timer.run = on_timer;
    chassis_post_after(job->ex, &later.timer, 10 * CHASSIS_NS_PER_MS);
}

static void let_pass(uint64_t ms)
{
    uint64_t until = chassis_os_monotonic_ns() + ms * CHASSIS_NS_PER_MS;
    while (chassis_os_monotonic_ns() < until) {
        sched_yield();
    }
}

static void outlast_the_timer(struct job *job)
{
    let_pass(30);
    assert_false(atomic_load(&later.ran));
}

static void a_timer_that_is_due_meanwhile_waits(void **state)
{
    struct chassis_executor *ex = start();
    for (bool errand = false; !errand;) {
        struct job arm = job_of(ex, arm_soon), job = job_of(ex, NULL);
        atomic_store(&later.ran, false);
        chassis_post(ex, &arm.task);
        test_wait_until(atomic_load(&arm.ran));
        let_pass(2); /* it waits for the timer now, unless the machine is very busy */
        chassis_dispatch(ex, &job.task);
        errand = chassis_os_errand_waits() && !atomic_load(&later.ran);
        if (chassis_os_errand_waits()) {
            job.work = errand ? outlast_the_timer : NULL;
            chassis_os_errand_run();
        }
        test_wait_until(atomic_load(&later.ran) && atomic_load(&job.ran));
    }
    stop(ex);
}

static void *stop_it(void *data)
{
    chassis_os_thread_stop(data);
    return NULL;
}

static void an_executor_ends_after_the_errand_and_what_it_left(void **state)
{
    for (unsigned round = 0; round < 100; round++) {
        struct chassis_executor *ex = start();
        struct job first = job_of(ex, post_second);
        pthread_t stopper;
        inner[0] = job_of(ex, post_third);
        inner[1] = job_of(ex, note_third);
        chassis_dispatch(ex, &first.task);
        pthread_create(&stopper, NULL, stop_it, ex);
        chassis_os_errand_run();
        pthread_join(stopper, NULL);
        assert_string_equal(order, "123");
        chassis_os_errands_take(false);
    }
}

enum { RUNNERS = 3, JOBS = 2000 };
static struct chassis_executor *shared;
static unsigned counted; /* by one at a time */
static atomic_uint errands_run;

static void count(struct job *job)
{
    counted++;
}

static void *run_many(void *data)
{
    chassis_os_errands_take(true);
    for (unsigned i = 0; i < JOBS; i++) {
        struct job job = job_of(shared, count);
        chassis_dispatch(shared, &job.task);
        if (chassis_os_errand_waits()) {
            atomic_fetch_add(&errands_run, 1);
            chassis_os_errand_run();
        }
        test_wait_until(atomic_load(&job.ran));
    }
    return NULL;
}

static void tasks_of_many_threads_run_one_at_a_time(void **state)
{
    pthread_t runners[RUNNERS];
    shared = start();
    for (unsigned i = 0; i < RUNNERS; i++) {
        pthread_create(&runners[i], NULL, run_many, NULL);
    }
    for (unsigned i = 0; i < RUNNERS; i++) {
        pthread_join(runners[i], NULL);
    }
    stop(shared);
    assert_int_equal(counted, RUNNERS * JOBS);
    assert_int_not_equal(atomic_load(&errands_run), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_errand_is_run_when_who_took_it_says_so),
        cmocka_unit_test(without_taking_errands_a_dispatch_is_a_post),
        cmocka_unit_test(a_second_one_is_posted),
        cmocka_unit_test(after_two_turns_the_rest_is_the_threads_own),
        cmocka_unit_test(what_others_post_meanwhile_waits_for_its_end),
        cmocka_unit_test(a_timer_set_by_an_errand_is_the_threads_own),
        cmocka_unit_test(a_timer_that_is_due_meanwhile_waits),
        cmocka_unit_test(an_executor_ends_after_the_errand_and_what_it_left),
        cmocka_unit_test(tasks_of_many_threads_run_one_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
