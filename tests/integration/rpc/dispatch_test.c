/* A queue whose thread waits may be run by whoever has something for it. */
#include "rig.h"

#include "rpc/resolver.h"

static void park(struct chassis_client *client, struct result *r)
{
    const struct chassis_call_options options = {.timeout_ms = 600000};
    unsigned before = probe_parked();
    result_init(r);
    chassis_client_call_bytes(client, "/draft.test.Probe/Park", chassis_view_str(""), &options,
                              on_reply, r);
    WAIT_UNTIL(probe_parked() == before + 1);
}

static void an_answer_to_an_idle_queue_leaves_on_the_thread_that_has_it(void **state)
{
    struct rig rig;
    struct result r;
    unsigned here = 0;
    rig_start(&rig, (struct chassis_server_options){0});
    while (here == 0) { /* the queue may have something to do just then */
        park(rig.client, &r);
        here = probe_release_here();
        result_wait(&r);
        assert_int_equal(r.code, 0);
        assert_string_equal(r.first, "released");
    }
    rig_stop(&rig);
}

struct caller {
    struct chassis_client *client;
    unsigned released;
};

enum { CALLERS = 4, CALLS = 200 };
static atomic_uint calling;

static void *call_on(void *data)
{
    struct caller *c = data;
    for (unsigned i = 0; i < CALLS; i++) {
        struct result r;
        probe(c->client, "Park", "", NULL, &r);
        c->released += r.code == 0 && strcmp(r.first, "released") == 0;
    }
    atomic_fetch_sub(&calling, 1);
    return NULL;
}

static void *release_on(void *data)
{
    while (atomic_load(&calling) != 0) {
        probe_release_here();
        poll(NULL, 0, 0);
    }
    return NULL;
}

static void many_threads_may_answer_while_the_queue_works(void **state)
{
    struct rig rig;
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS], releasers[2];
    rig_start(&rig, (struct chassis_server_options){0});
    atomic_store(&calling, CALLERS);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.client = rig.client};
        pthread_create(&threads[i], NULL, call_on, &callers[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&releasers[i], NULL, release_on, NULL);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].released, CALLS);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(releasers[i], NULL);
    }
    rig_stop(&rig);
}

/* Never says where to. */
static int silent_start(struct chassis_resolver *base, const char *name,
                        chassis_endpoints_cb update, void *data,
                        struct chassis_resolution **ret_resolution, struct chassis_error *err)
{
    *ret_resolution = (struct chassis_resolution *)base;
    return 0;
}
static void silent_stop(struct chassis_resolver *base, struct chassis_resolution *resolution)
{
}

static bool is_done(struct result *r)
{
    pthread_mutex_lock(&r->lock);
    bool done = r->done;
    pthread_mutex_unlock(&r->lock);
    return done;
}

struct late {
    struct chassis_task task;
    struct chassis_client *client;
    struct result result;
    pthread_t on;
    atomic_bool ran;
};

static void call_that_waits(struct chassis_task *task)
{
    struct late *late = chassis_container_of(task, struct late, task);
    const struct chassis_call_options options = {.timeout_ms = 20};
    late->on = pthread_self();
    chassis_client_call_bytes(late->client, "/draft.test.Probe/Echo", chassis_view_str(""),
                              &options, on_reply, &late->result);
    atomic_store(&late->ran, true);
}

/* The queue's thread sleeps for as long as it knew to when the timer was not there yet. */
static void a_timer_that_is_set_elsewhere_wakes_the_queues_thread(void **state)
{
    struct chassis_resolver silent = {silent_start, silent_stop};
    struct rig rig;
    struct result parked;
    bool here = false;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client *client = rig_client(
        &rig, (struct chassis_client_options){.target = "draft:///probe", .resolver = &silent});
    park(rig.client, &parked);
    while (!here) {
        struct late late = {.task.run = call_that_waits, .client = client};
        result_init(&late.result);
        chassis_dispatch(probe_parked_on(), &late.task);
        here = atomic_load(&late.ran) && pthread_equal(late.on, pthread_self());
        WAIT_UNTIL(is_done(&late.result));
        assert_int_equal(late.result.code, CHASSIS_DEADLINE_EXCEEDED);
    }
    probe_release();
    result_wait(&parked);
    chassis_client_free(client);
    rig_stop(&rig);
}

static void *release_what_is_parked(void *data)
{
    while (probe_parked() != 0) {
        probe_release_here();
    }
    return NULL;
}

/* The last answers lead to the queues' end while who gave them is still about to leave. */
static void a_server_ends_while_others_answer_for_it(void **state)
{
    enum { ROUNDS = 10, PARKED = 16, RELEASERS = 3 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rig rig;
        struct result results[PARKED];
        pthread_t releasers[RELEASERS];
        rig_start(&rig, (struct chassis_server_options){.n_queues = 2});
        for (unsigned i = 0; i < PARKED; i++) {
            park(rig.client, &results[i]);
        }
        for (unsigned i = 0; i < RELEASERS; i++) {
            pthread_create(&releasers[i], NULL, release_what_is_parked, NULL);
        }
        chassis_server_drain(rig.server, 60000);
        for (unsigned i = 0; i < PARKED; i++) {
            result_wait(&results[i]);
            assert_int_equal(results[i].code, 0);
            assert_string_equal(results[i].first, "released");
        }
        rig_stop(&rig);
        for (unsigned i = 0; i < RELEASERS; i++) {
            pthread_join(releasers[i], NULL);
        }
    }
}

struct after {
    struct chassis_task deferred;
    struct chassis_executor *ex;
    int code;
    atomic_bool ran;
};

static void run_after(struct chassis_task *task)
{
    atomic_store(&chassis_container_of(task, struct after, deferred)->ran, true);
}

static void defer_after(const struct chassis_reply *reply, void *data)
{
    struct after *after = data;
    after->code = reply->code;
    chassis_defer(after->ex, &after->deferred);
}

/* The queue's thread is about to sleep when a deadline passes: nothing else comes. */
static void what_a_deadline_defers_on_its_queue_is_run(void **state)
{
    const struct chassis_call_options options = {.timeout_ms = 20};
    struct chassis_resolver silent = {silent_start, silent_stop};
    struct rig rig;
    struct result parked;
    rig_start(&rig, (struct chassis_server_options){.n_queues = 1});
    struct chassis_client *client = rig_client(
        &rig, (struct chassis_client_options){.target = "draft:///probe", .resolver = &silent});
    park(rig.client, &parked);
    struct after after = {.deferred.run = run_after, .ex = probe_parked_on()};
    chassis_client_call_bytes(client, "/draft.test.Probe/Echo", chassis_view_str(""), &options,
                              defer_after, &after);
    WAIT_UNTIL(atomic_load(&after.ran));
    assert_int_equal(after.code, CHASSIS_DEADLINE_EXCEEDED);
    probe_release();
    result_wait(&parked);
    chassis_client_free(client);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_to_an_idle_queue_leaves_on_the_thread_that_has_it),
        cmocka_unit_test(many_threads_may_answer_while_the_queue_works),
        cmocka_unit_test(a_timer_that_is_set_elsewhere_wakes_the_queues_thread),
        cmocka_unit_test(what_a_deadline_defers_on_its_queue_is_run),
        cmocka_unit_test(a_server_ends_while_others_answer_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
