/* A queue's thread runs what its turn dispatched to a thread that waits, and may block there: a journal
 * that syncs. Calls go on meanwhile. */
#include "rig.h"

struct slow {
    struct chassis_task start, task; /* on the queue; on the executor that blocks */
    struct chassis_executor *ex;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool dispatched, running, done, may_end;
    bool errand;
};

static void run_slow(struct chassis_task *task)
{
    struct slow *slow = chassis_container_of(task, struct slow, task);
    pthread_mutex_lock(&slow->lock);
    slow->running = true;
    pthread_cond_broadcast(&slow->changed);
    while (!slow->may_end) {
        pthread_cond_wait(&slow->changed, &slow->lock);
    }
    slow->done = true;
    pthread_cond_broadcast(&slow->changed);
    pthread_mutex_unlock(&slow->lock);
}

static void run_start(struct chassis_task *task)
{
    struct slow *slow = chassis_container_of(task, struct slow, start);
    chassis_dispatch(slow->ex, &slow->task);
    pthread_mutex_lock(&slow->lock);
    slow->errand = chassis_os_errand_waits();
    slow->dispatched = true;
    pthread_cond_broadcast(&slow->changed);
    pthread_mutex_unlock(&slow->lock);
}

static void wait_for(struct slow *slow, const bool *what)
{
    pthread_mutex_lock(&slow->lock);
    while (!*what) {
        pthread_cond_wait(&slow->changed, &slow->lock);
    }
    pthread_mutex_unlock(&slow->lock);
}

static void slow_end(struct slow *slow)
{
    pthread_mutex_lock(&slow->lock);
    slow->may_end = true;
    pthread_cond_broadcast(&slow->changed);
    pthread_mutex_unlock(&slow->lock);
    wait_for(slow, &slow->done);
}

/* Something that blocks, dispatched by the queue's thread. Whether it was taken on as an errand. */
static bool slow_start(struct slow *slow, struct chassis_executor *queue,
                       struct chassis_executor *ex)
{
    memset(slow, 0, sizeof *slow);
    pthread_mutex_init(&slow->lock, NULL);
    pthread_cond_init(&slow->changed, NULL);
    slow->start.run = run_start;
    slow->task.run = run_slow;
    slow->ex = ex;
    chassis_post(queue, &slow->start);
    wait_for(slow, &slow->dispatched);
    wait_for(slow, &slow->running);
    return slow->errand;
}

/* Repeated until the executor was idle, as it is but for the moment of its start. */
static void slow_start_as_errand(struct slow *slow, struct chassis_executor *queue,
                                 struct chassis_executor *ex)
{
    while (!slow_start(slow, queue, ex)) {
        slow_end(slow);
    }
}

struct with {
    struct rig rig;
    struct result parked; /* shows where the queue is */
    struct chassis_executor *queue, *ex;
};

static void with_start(struct with *w)
{
    const struct chassis_call_options options = {.timeout_ms = 600000};
    rig_start(&w->rig, (struct chassis_server_options){.n_queues = 1});
    result_init(&w->parked);
    chassis_client_call_bytes(w->rig.client, "/draft.test.Probe/Park", chassis_view_str(""),
                              &options, on_reply, &w->parked);
    WAIT_UNTIL(probe_parked() == 1);
    w->queue = probe_parked_on();
    assert_int_equal(chassis_os_thread_start("slow", &w->ex), 0);
}

static void with_stop(struct with *w)
{
    probe_release();
    result_wait(&w->parked);
    assert_int_equal(w->parked.code, 0);
    chassis_os_thread_stop(w->ex);
    rig_stop(&w->rig);
}

static void echo(struct with *w)
{
    struct result r;
    const struct chassis_call_options options = {.timeout_ms = 600000};
    probe(w->rig.client, "Echo", "hello", &options, &r);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.first, "hello");
}

static void calls_are_answered_while_an_errand_keeps_the_thread(void **state)
{
    struct with w;
    struct slow slow;
    with_start(&w);
    for (unsigned round = 0; round < 3; round++) {
        slow_start_as_errand(&slow, w.queue, w.ex);
        for (unsigned i = 0; i < 20; i++) {
            echo(&w); /* for ever, if nobody stood in: client and server share the queue */
        }
        slow_end(&slow);
        for (unsigned i = 0; i < 20; i++) {
            echo(&w);
        }
    }
    with_stop(&w);
}

struct releaser {
    struct chassis_task task;
    atomic_bool ran;
};

static void run_release(struct chassis_task *task)
{
    atomic_store(&chassis_container_of(task, struct releaser, task)->ran, true);
}

static void what_is_posted_to_the_queue_meanwhile_is_run(void **state)
{
    struct with w;
    struct slow slow;
    struct releaser r = {.task.run = run_release};
    with_start(&w);
    slow_start_as_errand(&slow, w.queue, w.ex);
    chassis_post(w.queue, &r.task);
    WAIT_UNTIL(atomic_load(&r.ran));
    slow_end(&slow);
    with_stop(&w);
}

static void without_a_stand_in_there_are_no_more_errands(void **state)
{
    struct with w;
    struct slow slow;
    with_start(&w);
    chassis_fault_arm("rpc.standin", 1);
    slow_start_as_errand(&slow, w.queue, w.ex); /* this one was taken on before */
    slow_end(&slow);
    assert_true(chassis_fault_disarm());
    for (unsigned i = 0; i < 20; i++) {
        assert_false(slow_start(&slow, w.queue, w.ex));
        echo(&w);
        slow_end(&slow);
    }
    with_stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_answered_while_an_errand_keeps_the_thread),
        cmocka_unit_test(what_is_posted_to_the_queue_meanwhile_is_run),
        cmocka_unit_test(without_a_stand_in_there_are_no_more_errands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
