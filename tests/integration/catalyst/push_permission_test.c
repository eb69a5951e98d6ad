/* Push subscriptions: nothing is posted to an endpoint that has not allowed it, nor faster than it
 * allows. */
#include "hook.h"

static void nothing_is_posted_before_the_endpoint_allows_it(void **state)
{
    struct rig *rig = *state;
    struct group g;
    char secret[] = "hook";
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    push_group_init(&g);
    g.push.token_secret = secret;
    hook_consent((struct consent){405, NULL, NULL});
    push_group_create(rig, &g);
    test_wait_until(is_refused_with(rig, "HTTP 405 to OPTIONS"));
    assert_true(push_status(rig).next_time_ns != 0);
    test_wait_until(atomic_load(&hook.asked) >= 2); /* again, by itself */
    assert_int_equal(push_group_ask(rig, MEMBERS), 0);
    assert_int_equal(push_group_ask(rig, LAG), 10);
    assert_int_equal(atomic_load(&hook.n), 0);
    assert_string_equal(hook_question().origin, "broker.test");
    assert_string_equal(hook_question().authorization, ""); /* it may be a stranger's */
    hook_consent((struct consent){204, "BROKER.test", NULL});
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 10);
    assert_string_equal(hook.hits[0].origin, "broker.test");
    assert_int_equal(push_status(rig).state, STATE(VERIFIED));
    assert_string_equal(push_status(rig).reason, "");
}

static void what_is_no_permission_is_said(void **state)
{
    static const struct {
        struct consent consent;
        const char *why;
    } cases[] = {
        {{200, NULL, NULL}, "no webhook-allowed-origin"},
        {{200, "other.test", "*"}, "allows origin 'other.test', not 'broker.test'"},
        {{403, "*", "*"}, "HTTP 403"},
        {{302, "*", "*"}, "HTTP 302"},
        {{200, "*", "0"}, "webhook-allowed-rate"},
        {{200, "*", "-5"}, "webhook-allowed-rate"},
        {{200, "*", "a few"}, "webhook-allowed-rate"},
    };
    struct rig *rig = *state;
    struct group g;
    char url[128];
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 1);
    push_group_init(&g);
    push_group_create(rig, &g);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned asked = atomic_load(&hook.asked);
        hook_consent(cases[i].consent);
        snprintf(url, sizeof url, "%s?%u", hook.url, i); /* another target is asked anew */
        g.push.url = url;
        push_group_update(rig, &g);
        rig_publish(rig, "s", 2 + i, 1);
        test_wait_until(is_refused_with(rig, cases[i].why));
        assert_true(atomic_load(&hook.asked) > asked);
        assert_int_equal(push_group_ask(rig, LAG), i + 1);
    }
    assert_int_equal(atomic_load(&hook.n), 1);
}

static void an_endpoint_that_does_not_answer_is_unverified(void **state)
{
    struct rig *rig = *state;
    struct group g;
    char url[] = "http://127.0.0.1:1/hook";
    rig_stream(rig, "s");
    push_group_init(&g);
    g.push.url = url;
    push_group_create(rig, &g);
    test_wait_until(is_refused_with(rig, "no answer to OPTIONS: "));
}

static void it_is_asked_once_and_after_a_restart(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 20);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    g.push.concurrency = 2; /* the same target, so still allowed */
    push_group_update(rig, &g);
    rig_publish(rig, "s", 21, 20);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.asked), 1);
    rig_close(rig);
    rig_open(rig);
    rig_publish(rig, "s", 41, 1);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.asked), 2);
}

static void hosts_that_need_not_be_asked_are_not(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_close(rig);
    rig->unvalidated_host = "127.0.0.1";
    rig_open(rig);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 1);
    push_group_init(&g);
    hook_consent((struct consent){405, NULL, NULL});
    push_group_create(rig, &g);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(push_status(rig).state, STATE(EXEMPT));
    assert_int_equal(atomic_load(&hook.asked), 0);
}

static void the_allowed_rate_is_kept(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    hook_consent((struct consent){200, "broker.test", "600"});
    push_group_create(rig, &g);
    test_wait_until(push_status(rig).state == STATE(VERIFIED));
    assert_int_equal(push_status(rig).per_minute, 600);
    assert_string_equal(hook_question().type, ""); /* no rate asked for */
    uint64_t begun = hook_now_ms();
    rig_publish(rig, "s", 1, 9);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 9);
    assert_true(hook.hits[8].at_ms - begun >= 7 * 100);
}

static void the_rate_of_the_group_is_asked_for_and_kept(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    g.push.requests_per_minute = 1200;
    push_group_create(rig, &g);
    test_wait_until(push_status(rig).state == STATE(VERIFIED));
    assert_string_equal(hook_question().type, "1200");
    assert_int_equal(push_status(rig).per_minute, 1200);
    g.push.requests_per_minute = 6000; /* more than it was asked for */
    hook_consent((struct consent){200, "*", "60"});
    push_group_update(rig, &g);
    test_wait_until(push_status(rig).per_minute == 60);
    assert_string_equal(hook_question().type, "6000");
}

static void a_request_to_wait_holds_for_all_events(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    g.push.concurrency = 1;
    hook.status[0] = 429;
    hook.retry_after = "1";
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 5);
    test_wait_until(push_status(rig).state == STATE(PAUSED) || atomic_load(&hook.n) > 1);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 6);
    for (unsigned i = 1; i < 6; i++) {
        assert_true(hook.hits[i].at_ms - hook.hits[0].at_ms >= 990);
    }
    assert_int_equal(push_status(rig).state, STATE(VERIFIED));
}

static void what_the_endpoint_does_not_understand_is_a_dead_letter_at_once(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    hook.status[0] = 415;
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 1);
    test_wait_until(push_group_ask(rig, DEAD) == 1);
    rig_publish(rig, "s", 2, 1);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.n), 2);
    assert_string_equal(hook.hits[1].id, "2");
}

static void an_endpoint_that_is_gone_when_asked_is_left_alone(void **state)
{
    struct rig *rig = *state;
    struct group g;
    rig_stream(rig, "s");
    push_group_init(&g);
    hook_consent((struct consent){410, NULL, NULL});
    push_group_create(rig, &g);
    rig_publish(rig, "s", 1, 1);
    test_wait_until(push_status(rig).state == STATE(GONE));
    assert_int_equal(push_status(rig).next_time_ns, 0);
    hook_consent((struct consent){200, "*", NULL});
    push_group_update(rig, &g);
    test_wait_until(push_group_ask(rig, LAG) == 0);
    assert_int_equal(atomic_load(&hook.asked), 2);
}

#define TEST_OF(f) cmocka_unit_test_setup_teardown(f, hook_setup, hook_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(nothing_is_posted_before_the_endpoint_allows_it),
        TEST_OF(what_is_no_permission_is_said),
        TEST_OF(an_endpoint_that_does_not_answer_is_unverified),
        TEST_OF(it_is_asked_once_and_after_a_restart),
        TEST_OF(hosts_that_need_not_be_asked_are_not),
        TEST_OF(the_allowed_rate_is_kept),
        TEST_OF(the_rate_of_the_group_is_asked_for_and_kept),
        TEST_OF(a_request_to_wait_holds_for_all_events),
        TEST_OF(what_the_endpoint_does_not_understand_is_a_dead_letter_at_once),
        TEST_OF(an_endpoint_that_is_gone_when_asked_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
