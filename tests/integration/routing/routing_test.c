#include "test.h"

#include "fake.h"
#include "loop/loop.h"
#include "routing/routing.h"

static struct chassis_loop *loop;
static struct fake fake = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static struct chassis_routing *routing;

static int setup(void **state)
{
    routing = NULL;
    assert_int_equal(chassis_loop_start("loop", &loop, NULL), 0);
    fake_start(&fake);
    return 0;
}
static int teardown(void **state)
{
    chassis_routing_close(routing);
    fake_stop(&fake);
    chassis_loop_stop(loop);
    return 0;
}

static int open_with(const char *address, const char *entrypoint, struct chassis_error *err)
{
    struct chassis_routing_options options = {
        .name = "echo",
        .domain = "examples",
        .rpc_address = "10.0.0.1:8090",
        .http_address = "[::1]:8091",
        .address = address,
        .entrypoints = &entrypoint,
        .n_entrypoints = entrypoint != NULL,
        .loop = chassis_loop_executor(loop),
        .backoff_min_ms = 2,
        .backoff_max_ms = 20,
        .interval_ms = 10,
    };
    return chassis_routing_open(&options, &routing, err);
}

static void open_routing(void)
{
    assert_int_equal(open_with(NULL, fake.blueprint_address, NULL), 0);
}

static void add(const struct chassis_route *route)
{
    assert_int_equal(chassis_routing_add(routing, route, NULL), 0);
}
#define ADD(...) add(&(struct chassis_route){__VA_ARGS__})

static bool has(const char *name)
{
    char words[512];
    fake_words(&fake, name, words);
    return words[0] != '\0';
}

static struct chassis_routing_status status_now(void)
{
    struct chassis_routing_status s;
    chassis_routing_status(routing, &s);
    return s;
}

static void assert_says(const char *name, const char *wanted)
{
    char words[512];
    test_wait_until(has(name));
    fake_words(&fake, name, words);
    assert_string_equal(words, wanted);
}

static void a_route_goes_to_the_service_itself_under_its_domain_and_name(void **state)
{
    open_routing();
    ADD(.prefix = "/api/");
    ADD(.name = "grpc", .grpc_service = "a.B", .host = "*.example.com");
    ADD(.name = "all", .path = "/x", .methods = (const char *const[]){"GET", "PUT", NULL},
        .priority = -3, .service = "other", .prefix_rewrite = "/y", .timeout_ms = 1500,
        .retries = 2);
    ADD(.name = "there", .regex = "/[a-z]+", .address = "10.0.0.7:80", .http2 = true);
    ADD(.name = "here", .this_process = true);
    ADD(.name = "here-too", .this_process = true, .http2 = true);
    chassis_routing_start(routing);
    assert_says("examples-echo", " /api/    | 0 0  0ms 0 | echo");
    assert_says("grpc", "*.example.com    a.B | 1 0  0ms 0 | echo");
    assert_says("all", "  /x   GET PUT | 0 -3 /y 1500ms 2 | other");
    assert_says("there", "   /[a-z]+  | 1 0  0ms 0 | 10.0.0.7:80");
    assert_says("here", "     | 0 0  0ms 0 | ::1:8091");
    assert_says("here-too", "     | 1 0  0ms 0 | 10.0.0.1:8090");
    test_wait_until(status_now().told == 6);
    assert_int_equal(fake_count(&fake, &fake.adds), 6);
}

static void an_encoded_route_is_taken_as_it_is(void **state)
{
    Core__ControlPlane__Networking__V1__Route message =
        CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE__INIT;
    Core__ControlPlane__Networking__V1__RouteMatch match =
        CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE_MATCH__INIT;
    struct chassis_buf bytes = {0};
    match.prefix = (char *)(uintptr_t) "/encoded";
    message.match = &match;
    message.priority = 9;
    core__control_plane__networking__v1__route__encode(&message, &bytes);
    open_routing();
    ADD(.name = "x", .encoded = chassis_buf_view(&bytes));
    struct chassis_route broken = {.name = "y", .encoded = chassis_view("\xff\xff", 2)};
    assert_int_not_equal(chassis_routing_add(routing, &broken, NULL), 0);
    chassis_buf_fini(&bytes);
    chassis_routing_start(routing);
    assert_says("x", " /encoded    | 0 9  0ms 0 | echo");
}

static void what_contradicts_itself_is_an_error_at_boot(void **state)
{
    static const struct {
        struct chassis_route route;
        const char *says;
    } cases[] = {
        {{.name = "a", .prefix = "/", .path = "/"}, "prefix, path, regex and grpc_service"},
        {{.name = "a", .service = "x", .this_process = true}, "service, address and this_process"},
        {{.name = "a", .address = "nowhere"}, "'nowhere' is not host:port"},
        {{.name = "a", .address = "host:99999"}, "is not host:port"},
        {{.prefix = "/"}, "two routes are called 'examples-echo'"},
    };
    open_routing();
    ADD(.prefix = "/api/");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct chassis_error err = {0};
        assert_int_not_equal(chassis_routing_add(routing, &cases[i].route, &err), 0);
        if (strstr(err.text, cases[i].says) == NULL) {
            fail_msg("'%s' does not contain '%s'", err.text, cases[i].says);
        }
    }
    chassis_routing_close(routing);
    routing = NULL;
    struct chassis_error err = {0};
    assert_int_equal(open_with("nowhere", NULL, &err), CHASSIS_CONFIG);
    assert_int_equal(open_with(NULL, "http://nowhere", &err), CHASSIS_CONFIG);
}

static void a_fuse_that_comes_late_is_told(void **state)
{
    fake_record(&fake, "");
    FAKE_SET(&fake, fail, CHASSIS_UNAVAILABLE);
    open_routing();
    ADD(.prefix = "/api/");
    chassis_routing_start(routing);
    test_wait_until(fake_count(&fake, &fake.records) >= 3);
    assert_int_equal(fake_count(&fake, &fake.adds), 0);
    fake_record(&fake, fake.fuse_address);
    test_wait_until(fake_count(&fake, &fake.adds) >= 3);
    FAKE_SET(&fake, fail, 0);
    test_wait_until(has("examples-echo"));
    test_wait_until(status_now().attempts == 0);
}

static void a_configured_fuse_needs_no_blueprint(void **state)
{
    char url[96];
    snprintf(url, sizeof url, "http://%s", fake.fuse_address);
    assert_int_equal(open_with(url, NULL, NULL), 0);
    ADD(.prefix = "/api/");
    chassis_routing_start(routing);
    test_wait_until(has("examples-echo"));
    assert_int_equal(fake_count(&fake, &fake.records), 0);
    assert_string_equal(status_now().fuse, fake.fuse_address);
}

static void a_route_that_is_gone_comes_back_and_one_that_was_changed_stays(void **state)
{
    char words[512];
    open_routing();
    ADD(.prefix = "/api/");
    ADD(.name = "changed", .prefix = "/x");
    chassis_routing_start(routing);
    test_wait_until(status_now().told == 2);
    fake_put(&fake, "changed", "10.9.9.9", 9);
    fake_forget(&fake, "examples-echo");
    test_wait_until(has("examples-echo"));
    unsigned gets = fake_count(&fake, &fake.gets);
    test_wait_until(fake_count(&fake, &fake.gets) > gets + 4);
    fake_words(&fake, "changed", words);
    assert_string_equal(words, "of another");
}

static void a_fuse_that_moved_is_found(void **state)
{
    open_routing();
    ADD(.prefix = "/api/");
    chassis_routing_start(routing);
    test_wait_until(status_now().told == 1);
    fake_move(&fake);
    fake_forget(&fake, "examples-echo");
    test_wait_until(has("examples-echo"));
    assert_string_equal(status_now().fuse, fake.fuse_address);
}

static void a_refused_route_keeps_no_other_back_and_is_tried_again(void **state)
{
    FAKE_SET(&fake, refuse, "bad");
    FAKE_SET(&fake, refuse_why, "match.regex: '(' is not closed");
    open_routing();
    ADD(.name = "bad", .regex = "(");
    ADD(.name = "good", .prefix = "/");
    chassis_routing_start(routing);
    test_wait_until(status_now().refused == 1 && status_now().told == 1);
    assert_true(has("good") && !has("bad"));
    FAKE_SET(&fake, refuse, NULL);
    test_wait_until(has("bad"));
    test_wait_until(status_now().refused == 0 && status_now().told == 2);
}

static void withdrawing_deletes_what_is_for_this_process_alone(void **state)
{
    open_routing();
    ADD(.prefix = "/api/");
    ADD(.name = "mine", .this_process = true);
    ADD(.name = "taken-over", .this_process = true);
    chassis_routing_start(routing);
    test_wait_until(status_now().told == 3);
    fake_put(&fake, "taken-over", "10.9.9.9", 9);
    assert_true(chassis_routing_withdraw(routing, "pid-1", 20000));
    assert_int_equal(fake_count(&fake, &fake.awaits), 1);
    assert_string_equal(fake.pid, "pid-1");
    assert_false(has("mine"));
    assert_true(has("taken-over") && has("examples-echo"));
    unsigned adds = fake_count(&fake, &fake.adds);
    fake_forget(&fake, "examples-echo");
    assert_int_equal(fake_count(&fake, &fake.adds), adds); /* nothing is told any more */
}

static void a_process_without_routes_withdraws_too(void **state)
{
    open_routing();
    chassis_routing_start(routing);
    assert_true(chassis_routing_withdraw(routing, "pid-2", 20000));
    assert_int_equal(fake_count(&fake, &fake.adds), 0);
    assert_string_equal(fake.pid, "pid-2");
}

static void without_a_fuse_nobody_waits(void **state)
{
    fake_record(&fake, "");
    open_routing();
    ADD(.prefix = "/api/");
    chassis_routing_start(routing);
    assert_false(chassis_routing_withdraw(routing, "pid-3", 60000)); /* the test's own time is up */
    assert_int_equal(fake_count(&fake, &fake.awaits), 0);
}

static void a_fuse_that_does_not_answer_is_not_waited_for_longer(void **state)
{
    FAKE_SET(&fake, mute, true);
    open_routing();
    ADD(.prefix = "/api/");
    chassis_routing_start(routing);
    test_wait_until(status_now().told == 1);
    assert_false(chassis_routing_withdraw(routing, "pid-4", 50));
}

static void a_mute_fuse_does_not_hold_up_closing(void **state)
{
    FAKE_SET(&fake, mute, true);
    open_routing();
    ADD(.prefix = "/api/");
    chassis_routing_start(routing);
    test_wait_until(status_now().told == 1);
    chassis_routing_withdraw(routing, "pid-5", 1);
    chassis_routing_close(routing);
    routing = NULL;
}

static void told_despite_faults(void *data)
{
    open_routing();
    ADD(.prefix = "/api/");
    chassis_routing_start(routing);
    test_wait_until(status_now().told == 1);
    chassis_routing_close(routing);
    routing = NULL;
}

static void a_client_that_cannot_be_made_is_made_later(void **state)
{
    assert_int_equal(test_each_fault("routing.", told_despite_faults, NULL), 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_route_goes_to_the_service_itself_under_its_domain_and_name),
        TEST(an_encoded_route_is_taken_as_it_is),
        TEST(what_contradicts_itself_is_an_error_at_boot),
        TEST(a_fuse_that_comes_late_is_told),
        TEST(a_configured_fuse_needs_no_blueprint),
        TEST(a_route_that_is_gone_comes_back_and_one_that_was_changed_stays),
        TEST(a_fuse_that_moved_is_found),
        TEST(a_refused_route_keeps_no_other_back_and_is_tried_again),
        TEST(withdrawing_deletes_what_is_for_this_process_alone),
        TEST(a_process_without_routes_withdraws_too),
        TEST(without_a_fuse_nobody_waits),
        TEST(a_fuse_that_does_not_answer_is_not_waited_for_longer),
        TEST(a_mute_fuse_does_not_hold_up_closing),
        TEST(a_client_that_cannot_be_made_is_made_later),
    };
    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
