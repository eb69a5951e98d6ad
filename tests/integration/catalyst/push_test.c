/* Push subscriptions: events are posted, and what the answers do. */
#include "hook.h"

static void events_are_posted_in_binary_mode_and_done_with_2xx(void **state)
{
    struct rig *rig = *state;
    struct group g;
    char secret[] = "hook";
    bool seen[101] = {false};
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 50);
    push_group_init(&g);
    g.push.token_secret = secret;
    push_group_create(rig, &g);
    rig_publish(rig, "s", 51, 50);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 100);
    for (unsigned i = 0; i < 100; i++) {
        unsigned id = (unsigned)atoi(hook.hits[i].id);
        assert_true(id >= 1 && id <= 100 && !seen[id]);
        seen[id] = true;
        assert_string_equal(hook.hits[i].type, "test.type");
        assert_string_equal(hook.hits[i].authorization, "Bearer open-sesame");
        assert_string_equal(hook.hits[i].attempt, "1");
    }
}

static void structured_mode_is_one_json_object(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 1);
    push_group_init(&g);
    g.push.structured = true;
    push_group_create(rig, &g);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_non_null(strstr(hook.hits[0].content_type, "application/cloudevents+json"));
    assert_non_null(strstr(hook.hits[0].body, "\"id\":\"1\""));
}

static void a_failed_post_is_made_again_and_in_the_end_a_dead_letter(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    g.config.deliveries_max = 3;
    g.push.concurrency = 1;
    hook.status[0] = 500;
    hook.status[1] = 400; /* then it goes well */
    hook.status[3] = hook.status[4] = hook.status[5] = 404;
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 1);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 3);
    assert_string_equal(hook.hits[2].attempt, "3");
    rig_publish(rig, "s", 2, 1);
    test_wait_until(push_group_ask(rig, DEAD) == 1);
    assert_int_equal(atomic_load(&hook.n), 6);
}

static void retry_after_is_heeded(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    hook.status[0] = 503;
    hook.retry_after = "1";
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 1);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 2);
    assert_true(hook.hits[1].at_ms - hook.hits[0].at_ms >= 990);
}

static void an_endpoint_that_is_gone_is_left_alone_until_the_group_is_updated(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    g.push.concurrency = 1;
    hook.status[0] = 410;
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 5);
    test_wait_until(push_status(rig).state == STATE(GONE));
    assert_int_equal(push_group_ask(rig, MEMBERS), 0); /* so nothing more can come */
    assert_int_equal(atomic_load(&hook.n), 1);
    assert_int_equal(push_group_ask(rig, LAG), 5);
    assert_int_equal(atomic_load(&hook.asked), 1);
    push_group_update(rig, &g);
    test_wait_until(push_group_ask(rig, LAG) == 0);
}

static void a_post_without_an_answer_ends_in_time(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    g.push.timeout_ms = 200;
    hook.status[0] = 1;
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 1);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 2);
    assert_string_equal(hook.hits[1].attempt, "2");
}

static void no_more_requests_are_under_way_than_allowed(void **state)
{
    struct rig *rig = *state;
    struct group g;
    struct chassis_call *calls[3];
    rig_stream(rig, "s");
    push_group_init(&g);
    g.push.concurrency = 3;
    for (unsigned i = 0; i < 3; i++) {
        hook.status[i] = 1;
    }
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 10);
    test_wait_until(atomic_load(&hook.n) == 3);
    assert_int_equal(push_group_ask(rig, IN_FLIGHT), 3);
    assert_int_equal(push_group_ask(rig, LAG), 10);
    assert_int_equal(atomic_load(&hook.n), 3);
    pthread_mutex_lock(&hook.lock);
    unsigned n = hook.n_parked;
    memcpy(calls, hook.parked, sizeof calls);
    hook.n_parked = 0;
    pthread_mutex_unlock(&hook.lock);
    assert_int_equal(n, 3);
    for (unsigned i = 0; i < n; i++) {
        chassis_http_answer(calls[i], 204, NULL, chassis_view(NULL, 0));
    }
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 10);
}

static void closing_breaks_off_what_hangs_and_a_restart_goes_on(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    g.push.timeout_ms = 20000;
    hook.status[0] = 1;
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 1);
    test_wait_until(atomic_load(&hook.n) == 1);
    rig_close(rig);
    rig_open(rig);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 2);
}

static void a_group_that_is_deleted_is_not_pushed_any_more(void **state)
{
    struct rig *rig = *state;
    struct group g;
    struct chassis_arena arena;
    EV(DeleteGroupRequest) delete = EV_INIT(DELETE_GROUP_REQUEST);
    rig_stream(rig, "s");
    push_group_init(&g);
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 3);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    chassis_arena_init(&arena, NULL, 0, 0);
    delete.stream = g.config.stream;
    delete.name = g.config.name;
    rig_call(rig, &events_group_service_delete_method, &delete, 0, &arena, NULL);
    chassis_arena_fini(&arena);
    rig_publish(rig, "s", 4, 3);
    assert_int_equal(atomic_load(&hook.n), 3);
}

#define TEST_OF(f) cmocka_unit_test_setup_teardown(f, hook_setup, hook_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(events_are_posted_in_binary_mode_and_done_with_2xx),
        TEST_OF(structured_mode_is_one_json_object),
        TEST_OF(a_failed_post_is_made_again_and_in_the_end_a_dead_letter),
        TEST_OF(retry_after_is_heeded),
        TEST_OF(an_endpoint_that_is_gone_is_left_alone_until_the_group_is_updated),
        TEST_OF(a_post_without_an_answer_ends_in_time),
        TEST_OF(no_more_requests_are_under_way_than_allowed),
        TEST_OF(closing_breaks_off_what_hangs_and_a_restart_goes_on),
        TEST_OF(a_group_that_is_deleted_is_not_pushed_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
