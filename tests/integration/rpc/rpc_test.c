#include "rig.h"

static void all_kinds_of_calls_are_answered(void **state)
{
    struct rig rig;
    struct result r;
    struct chassis_client_stream *s;
    rig_start(&rig, (struct chassis_server_options){0});
    probe(rig.client, "Echo", "hello", NULL, &r);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.first, "hello");

    result_init(&r);
    assert_int_equal(chassis_stream_open_path(rig.client, "/draft.test.Probe/Sum", NULL,
                                              &result_stream, &r, &s, NULL),
                     0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("12345")), 0);
    }
    chassis_stream_half_close(s);
    result_wait(&r);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.first, "5000");

    result_init(&r);
    assert_int_equal(chassis_stream_open_path(rig.client, "/draft.test.Probe/Chat", NULL,
                                              &result_stream, &r, &s, NULL),
                     0);
    for (unsigned i = 1; i <= 100; i++) { /* ping-pong */
        assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("ping")), 0);
        result_wait_messages(&r, i);
    }
    chassis_stream_half_close(s);
    result_wait(&r);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.messages, 100);

    result_init(&r);
    assert_int_equal(chassis_stream_open_path(rig.client, "/draft.test.Probe/Flood", NULL,
                                              &result_stream, &r, &s, NULL),
                     0);
    assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("")), 0);
    chassis_stream_half_close(s);
    result_wait(&r);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.messages, 65536);
    rig_stop(&rig);
}

/* Not decoded: bytes that are no protobuf message reach the handler. */
static void encoded_methods_get_the_bytes_as_they_came(void **state)
{
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    probe(rig.client, "Bytes", "\xff\xff not a message", NULL, &r);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.first, "\xff\xff not a message");
    rig_stop(&rig);
}

struct answers {
    struct result result; /* first: result_stream's data */
    unsigned n, turns, last_turn;
    bool wrong;
};

static void on_answer(struct chassis_client_stream *stream, const void *message,
                      struct chassis_view encoded, void *data)
{
    struct answers *a = data;
    unsigned at, turn;
    char text[40];
    snprintf(text, sizeof text, "%.*s", CHASSIS_VIEW_ARG(encoded));
    a->wrong = a->wrong || sscanf(text, "%u/%u", &at, &turn) != 2 || at != a->n;
    a->n++;
    a->turns += turn != a->last_turn;
    a->last_turn = turn;
}
static void on_answers_end(struct chassis_client_stream *stream, const struct chassis_reply *status,
                           void *data)
{
    struct answers *a = data;
    on_reply(status, &a->result);
}

static void a_burst_is_handled_in_turns_and_answered_in_order(void **state)
{
    static const struct chassis_stream_handlers handlers = {on_answer, NULL, on_answers_end};
    enum { N = 20000 };
    struct rig rig;
    struct answers a = {0};
    struct chassis_client_stream *s;
    char text[16];
    rig_start(&rig, (struct chassis_server_options){0});
    result_init(&a.result);
    assert_int_equal(chassis_stream_open_path(rig.client, "/draft.test.Probe/Gather", NULL,
                                              &handlers, &a, &s, NULL),
                     0);
    for (unsigned i = 0; i < N;) {
        snprintf(text, sizeof text, "%u", i);
        int rc = chassis_stream_send_bytes(s, chassis_view_str(text));
        assert_true(rc == 0 || rc == CHASSIS_RESOURCE_EXHAUSTED);
        i += rc == 0;
    }
    chassis_stream_half_close(s);
    result_wait(&a.result);
    assert_int_equal(a.result.code, 0);
    assert_false(a.wrong);
    assert_int_equal(a.n, N);
    assert_true(a.turns < N); /* some turn held more than one */
    rig_stop(&rig);
}

static void deadline_ends_a_call_on_both_sides(void **state)
{
    struct rig rig;
    struct result r;
    const struct chassis_call_options options = {.timeout_ms = 100};
    rig_start(&rig, (struct chassis_server_options){0});
    probe(rig.client, "Park", "", &options, &r);
    assert_int_equal(r.code, CHASSIS_DEADLINE_EXCEEDED);
    WAIT_UNTIL(atomic_load(&probe_cancels) == 1);
    rig_stop(&rig);
}

static void cancel_from_the_client_reaches_the_handler(void **state)
{
    struct rig rig;
    struct result r;
    struct chassis_client_stream *s;
    rig_start(&rig, (struct chassis_server_options){0});
    result_init(&r);
    assert_int_equal(chassis_stream_open_path(rig.client, "/draft.test.Probe/Park", NULL,
                                              &result_stream, &r, &s, NULL),
                     0);
    chassis_stream_send_bytes(s, chassis_view_str(""));
    chassis_stream_half_close(s);
    WAIT_UNTIL(probe_parked() == 1);
    chassis_stream_cancel(s);
    result_wait(&r);
    assert_int_equal(r.code, CHASSIS_CANCELLED);
    WAIT_UNTIL(atomic_load(&probe_cancels) == 1);
    assert_int_equal(r.times, 1);
    rig_stop(&rig);
}

static void freeing_the_client_ends_its_calls_first(void **state)
{
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client *client = rig_client(&rig, (struct chassis_client_options){0});
    result_init(&r);
    chassis_client_call_bytes(client, "/draft.test.Probe/Park", chassis_view_str(""), NULL,
                              on_reply, &r);
    WAIT_UNTIL(probe_parked() == 1);
    chassis_client_free(client);
    assert_true(r.done);
    assert_int_equal(r.code, CHASSIS_CANCELLED);
    rig_stop(&rig);
}

static void metadata_trace_and_details_travel(void **state)
{
    struct rig rig;
    struct result r;
    const struct chassis_metadata md[] = {
        {"x-probe", "value"},
        {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}};
    const struct chassis_call_options options = {.metadata = md, .n_metadata = 1};
    rig_start(&rig, (struct chassis_server_options){0});
    probe(rig.client, "Echo", "x", &options, &r);
    assert_string_equal(r.details, "value");
    assert_int_equal(strlen(r.trailer), 32);
    probe(rig.client, "Fail", "5", NULL, &r);
    assert_int_equal(r.code, CHASSIS_NOT_FOUND);
    assert_string_equal(r.text, "failed with 5 as asked");
    assert_true(r.details_len > 0);
    assert_non_null(memmem(r.details, r.details_len, "google.protobuf.StringValue", 27));
    assert_non_null(memmem(r.details, r.details_len, "detail of it", 12));
    rig_stop(&rig);
}

static void oversize_and_unknown_are_refused_by_name(void **state)
{
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){.message_bytes_max = 10000});
    char *big = malloc(20001);
    memset(big, 'x', 20000);
    big[20000] = '\0';
    probe(rig.client, "Echo", big, NULL, &r);
    assert_int_equal(r.code, CHASSIS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(r.text, "10000"));
    big[200] = '\0';
    probe(rig.client, "Small", big, NULL, &r);
    assert_int_equal(r.code, CHASSIS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(r.text, "limit of 100 bytes"));
    free(big);
    probe(rig.client, "NoSuch", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_UNIMPLEMENTED);
    assert_non_null(strstr(r.text, "/draft.test.Probe/NoSuch"));
    rig_stop(&rig);
}

/* A reader that stops reading: the handler waits, the queue stays within its limit. */
struct slow {
    struct result result;
    atomic_bool go;
};
static void slow_message(struct chassis_client_stream *stream, const void *message,
                         struct chassis_view encoded, void *data)
{
    struct slow *slow = data;
    test_wait_until(atomic_load(&slow->go));
    result_stream.message(stream, message, encoded, &slow->result);
}
static void slow_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                        void *data)
{
    struct slow *slow = data;
    on_reply(status, &slow->result);
}

static void slow_reader_is_bounded_and_loses_nothing(void **state)
{
    static const struct chassis_stream_handlers handlers = {slow_message, NULL, slow_closed};
    struct rig rig;
    struct slow slow;
    struct chassis_client_stream *s;
    struct chassis_executor *thread;
    rig_start(&rig, (struct chassis_server_options){0});
    assert_int_equal(chassis_os_thread_start("reader", &thread), 0);
    struct chassis_client *client =
        rig_client(&rig, (struct chassis_client_options){.executor = thread});
    result_init(&slow.result);
    atomic_init(&slow.go, false);
    assert_int_equal(chassis_stream_open_path(client, "/draft.test.Probe/Flood", NULL, &handlers,
                                              &slow, &s, NULL),
                     0);
    chassis_stream_send_bytes(s, chassis_view_str(""));
    chassis_stream_half_close(s);
    WAIT_UNTIL(atomic_load(&probe_refused) != 0);
    unsigned sent = atomic_load(&probe_sent);
    assert_true(sent < 65536);
    assert_true(atomic_load(&probe_bytes_peak) <= 1 << 20);
    atomic_store(&slow.go, true);
    result_wait(&slow.result);
    assert_int_equal(slow.result.code, 0);
    assert_int_equal(slow.result.messages, 65536);
    assert_true(atomic_load(&probe_bytes_peak) <= 1 << 20);
    chassis_client_free(client);
    chassis_os_thread_stop(thread);
    rig_stop(&rig);
}

static void no_permit_left_is_resource_exhausted(void **state)
{
    struct rig rig;
    struct result r, waits[4];
    rig_start(&rig, (struct chassis_server_options){.calls_max = 4});
    for (int i = 0; i < 4; i++) {
        result_init(&waits[i]);
        chassis_client_call_bytes(rig.client, "/draft.test.Probe/Park", chassis_view_str(""), NULL,
                                  on_reply, &waits[i]);
    }
    WAIT_UNTIL(probe_parked() == 4);
    probe(rig.client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_RESOURCE_EXHAUSTED);
    probe_release();
    for (int i = 0; i < 4; i++) {
        result_wait(&waits[i]);
        assert_int_equal(waits[i].code, 0);
    }
    WAIT_UNTIL(chassis_server_calls_in_flight(rig.server) == 0);
    probe(rig.client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, 0);
    rig_stop(&rig);
}

static void *drain_main(void *arg)
{
    struct rig *rig = arg;
    chassis_server_drain(rig->server, 20000);
    return NULL;
}

static void drain_finishes_what_runs_and_refuses_what_comes(void **state)
{
    struct rig rig;
    struct result r, running;
    pthread_t thread;
    rig_start(&rig, (struct chassis_server_options){0});
    result_init(&running);
    chassis_client_call_bytes(rig.client, "/draft.test.Probe/Park", chassis_view_str(""), NULL,
                              on_reply, &running);
    WAIT_UNTIL(probe_parked() == 1);
    chassis_server_refuse(rig.server);
    pthread_create(&thread, NULL, drain_main, &rig);
    probe(rig.client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_UNAVAILABLE);
    assert_int_equal(atomic_load(&probe_calls), 1);
    assert_false(running.done);
    probe_release();
    result_wait(&running);
    assert_int_equal(running.code, 0);
    assert_string_equal(running.first, "released");
    pthread_join(thread, NULL);
    rig_stop(&rig);
}

static void drain_cancels_after_the_grace_time(void **state)
{
    struct rig rig;
    struct result running;
    rig_start(&rig, (struct chassis_server_options){0});
    result_init(&running);
    chassis_client_call_bytes(rig.client, "/draft.test.Probe/Park", chassis_view_str(""), NULL,
                              on_reply, &running);
    WAIT_UNTIL(probe_parked() == 1);
    chassis_server_drain(rig.server, 50);
    result_wait(&running);
    assert_int_not_equal(running.code, 0);
    assert_int_equal(atomic_load(&probe_cancels), 1);
    rig_stop(&rig);
}

static void client_comes_back_after_the_server_restarts(void **state)
{
    struct rig rig, again;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%u", chassis_server_port(rig.server, 0));
    struct chassis_client *client =
        rig_client(&rig, (struct chassis_client_options){.target = address});
    probe(client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, 0);
    rig_stop(&rig);
    probe(client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_UNAVAILABLE);
    const struct chassis_listener_options listener = {.address = address};
    rig_start(&again, (struct chassis_server_options){.listeners = &listener, .n_listeners = 1});
    for (int i = 0; i < 200; i++) {
        probe(client, "Echo", "", NULL, &r);
        if (r.code == 0) {
            break;
        }
    }
    assert_int_equal(r.code, 0);
    chassis_client_free(client);
    rig_stop(&again);
}

static void only_what_may_be_repeated_is_retried(void **state)
{
    struct rig rig;
    struct result r;
    const struct chassis_call_options idempotent = {.idempotent = true};
    const struct chassis_metadata id = {"draft-request-id", "a1"};
    const struct chassis_call_options with_id = {.metadata = &id, .n_metadata = 1};
    rig_start(&rig, (struct chassis_server_options){0});
    probe(rig.client, "Fail", "14", NULL, &r);
    assert_int_equal(r.code, CHASSIS_UNAVAILABLE);
    assert_int_equal(atomic_load(&probe_calls), 1);
    probe(rig.client, "Fail", "14", &idempotent, &r);
    assert_int_equal(atomic_load(&probe_calls), 1 + 3);
    probe(rig.client, "Fail", "14", &with_id, &r);
    assert_int_equal(atomic_load(&probe_calls), 1 + 3 + 3);
    probe(rig.client, "Fail", "13", &idempotent, &r);
    assert_int_equal(atomic_load(&probe_calls), 1 + 3 + 3 + 1);
    assert_int_equal(r.times, 1);
    rig_stop(&rig);
}

static void calls_go_round_and_past_a_dead_endpoint(void **state)
{
    struct rig a, b;
    struct result r;
    char targets[256];
    rig_start(&a, (struct chassis_server_options){0});
    rig_start(&b, (struct chassis_server_options){0});
    /* port 1 of loopback: nothing listens there */
    snprintf(targets, sizeof targets, "127.0.0.1:1,%s,%s", a.address, b.address);
    struct chassis_client *client =
        rig_client(&a, (struct chassis_client_options){.target = targets});
    for (int i = 0; i < 20; i++) {
        probe(client, "Echo", "", NULL, &r);
        assert_int_equal(r.code, 0);
    }
    struct chassis_recent_entry entries[64];
    assert_true(chassis_recent_list(chassis_server_recent(a.server), false, entries, 64) >= 5);
    assert_true(chassis_recent_list(chassis_server_recent(b.server), false, entries, 64) >= 5);
    chassis_client_free(client);
    rig_stop(&b);
    rig_stop(&a);
}

static void a_stranger_is_no_operator_and_no_peer(void **state)
{
    static const char *const methods[] = {"Operate", "Peer", "Service"};
    struct rig rig;
    struct result r;
    char dir[256], path[300];
    rig_start(&rig, (struct chassis_server_options){.cluster_secret = chassis_view_str("secret")});
    for (int i = 0; i < 3; i++) {
        probe(rig.client, methods[i], "", NULL, &r);
        assert_int_equal(r.code, CHASSIS_UNAUTHENTICATED);
    }
    assert_int_equal(atomic_load(&probe_calls), 0);
    rig_stop(&rig);

    struct chassis_buf secret = {0};
    test_tmpdir(dir);
    snprintf(path, sizeof path, "%s/secret", dir);
    assert_int_equal(chassis_auth_secret_open(path, true, &secret, NULL), 0);
    rig_start(&rig, (struct chassis_server_options){.cluster_secret = chassis_buf_view(&secret)});
    struct chassis_client *member =
        rig_client(&rig, (struct chassis_client_options){.cluster_secret_file = path});
    for (int i = 0; i < 3; i++) {
        probe(member, methods[i], "", NULL, &r);
        assert_int_equal(r.code, 0);
    }
    chassis_client_free(member);
    chassis_buf_fini(&secret);
    rig_stop(&rig);

    rig_start(&rig, (struct chassis_server_options){.operator_loopback = true});
    probe(rig.client, "Operate", "", NULL, &r);
    assert_int_equal(r.code, 0);
    probe(rig.client, "Peer", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_PERMISSION_DENIED);
    rig_stop(&rig);
    test_rmtree(dir);
}

static int verify(void *data, const char *token, struct chassis_auth_claims *ret_claims,
                  struct chassis_error *err)
{
    if (strcmp(token, "good") != 0) {
        return chassis_error_set(err, CHASSIS_UNAUTHENTICATED, "token is not good");
    }
    *ret_claims = (struct chassis_auth_claims){.process = "pid-1", .name = "tester"};
    return 0;
}

static void a_token_opens_the_service_class_only(void **state)
{
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){.verify_token = verify});
    struct chassis_client *good =
        rig_client(&rig, (struct chassis_client_options){.token = "good"});
    struct chassis_client *bad = rig_client(&rig, (struct chassis_client_options){.token = "bad"});
    probe(good, "Service", "", NULL, &r);
    assert_int_equal(r.code, 0);
    probe(good, "Operate", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_PERMISSION_DENIED);
    probe(bad, "Service", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_UNAUTHENTICATED);
    assert_non_null(strstr(r.text, "token is not good"));
    chassis_client_free(good);
    chassis_client_free(bad);
    rig_stop(&rig);
}

static void plaintext_beyond_loopback_and_taken_ports_are_refused(void **state)
{
    struct chassis_server *server = NULL;
    struct chassis_error err = {0};
    struct chassis_listener_options listener = {.address = "0.0.0.0:0"};
    struct chassis_server_options options = {.listeners = &listener, .n_listeners = 1};
    assert_int_equal(chassis_server_new(&options, &server, &err), 0);
    assert_int_equal(chassis_server_start(server, &err), CHASSIS_CONFIG);
    assert_non_null(strstr(err.text, "0.0.0.0:0"));
    chassis_server_free(server);

    struct rig rig;
    char address[64];
    rig_start(&rig, (struct chassis_server_options){0});
    snprintf(address, sizeof address, "127.0.0.1:%u", chassis_server_port(rig.server, 0));
    listener.address = address;
    assert_int_equal(chassis_server_new(&options, &server, &err), 0);
    assert_int_equal(chassis_server_start(server, &err), -98);
    assert_non_null(strstr(err.text, "already in use"));
    chassis_server_free(server);
    rig_stop(&rig);
}

static void health_and_reflection_answer(void **state)
{
    struct rig rig;
    struct result r;
    struct chassis_client_stream *s;
    rig_start(&rig, (struct chassis_server_options){0});
    result_init(&r);
    chassis_client_call_bytes(rig.client, "/grpc.health.v1.Health/Check", chassis_view_str(""),
                              NULL, on_reply, &r);
    result_wait(&r);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.first, "\x08\x01");

    result_init(&r);
    assert_int_equal(chassis_stream_open_path(rig.client, "/grpc.health.v1.Health/Watch", NULL,
                                              &result_stream, &r, &s, NULL),
                     0);
    chassis_stream_send_bytes(s, chassis_view_str(""));
    chassis_stream_half_close(s);
    result_wait_messages(&r, 1);
    chassis_server_set_serving(rig.server, "", false);
    result_wait_messages(&r, 2);
    chassis_stream_cancel(s);
    result_wait(&r);

    result_init(&r);
    assert_int_equal(chassis_stream_open_path(rig.client,
                                              "/grpc.reflection.v1.ServerReflection/"
                                              "ServerReflectionInfo",
                                              NULL, &result_stream, &r, &s, NULL),
                     0);
    chassis_stream_send_bytes(s, chassis_view("\x3a\x00", 2)); /* list_services */
    chassis_stream_half_close(s);
    result_wait(&r);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.messages, 1);

    static const char symbol[] = "\x22\x1bgrpc.health.v1.Health.Check"; /* file_containing_symbol */
    result_init(&r);
    assert_int_equal(chassis_stream_open_path(rig.client,
                                              "/grpc.reflection.v1alpha.ServerReflection/"
                                              "ServerReflectionInfo",
                                              NULL, &result_stream, &r, &s, NULL),
                     0);
    chassis_stream_send_bytes(s, chassis_view_str(symbol));
    result_wait_messages(&r, 1);
    assert_non_null(memmem(r.raw, r.raw_len, "grpc/health/v1/health.proto", 27));
    chassis_stream_half_close(s);
    result_wait(&r);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds_of_calls_are_answered),
        cmocka_unit_test(encoded_methods_get_the_bytes_as_they_came),
        cmocka_unit_test(a_burst_is_handled_in_turns_and_answered_in_order),
        cmocka_unit_test(deadline_ends_a_call_on_both_sides),
        cmocka_unit_test(cancel_from_the_client_reaches_the_handler),
        cmocka_unit_test(freeing_the_client_ends_its_calls_first),
        cmocka_unit_test(metadata_trace_and_details_travel),
        cmocka_unit_test(oversize_and_unknown_are_refused_by_name),
        cmocka_unit_test(slow_reader_is_bounded_and_loses_nothing),
        cmocka_unit_test(no_permit_left_is_resource_exhausted),
        cmocka_unit_test(drain_finishes_what_runs_and_refuses_what_comes),
        cmocka_unit_test(drain_cancels_after_the_grace_time),
        cmocka_unit_test(client_comes_back_after_the_server_restarts),
        cmocka_unit_test(only_what_may_be_repeated_is_retried),
        cmocka_unit_test(calls_go_round_and_past_a_dead_endpoint),
        cmocka_unit_test(a_stranger_is_no_operator_and_no_peer),
        cmocka_unit_test(a_token_opens_the_service_class_only),
        cmocka_unit_test(plaintext_beyond_loopback_and_taken_ports_are_refused),
        cmocka_unit_test(health_and_reflection_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
