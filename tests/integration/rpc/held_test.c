/* Streams one thread sends on while callbacks run on another: nothing goes under its hands. */
#include "rig.h"

static const struct chassis_call_options held = {.closed_after_half_close = true};

static struct chassis_client_stream *open_path(const struct rig *rig, const char *path,
                                               const struct chassis_call_options *options,
                                               struct result *r)
{
    struct chassis_client_stream *s = NULL;
    result_init(r);
    assert_int_equal(
        chassis_stream_open_path(rig->client, path, options, &result_stream, r, &s, NULL), 0);
    return s;
}

static bool is_done(struct result *r)
{
    pthread_mutex_lock(&r->lock);
    bool done = r->done;
    pthread_mutex_unlock(&r->lock);
    return done;
}

static unsigned writables(struct result *r)
{
    pthread_mutex_lock(&r->lock);
    unsigned n = r->writable;
    pthread_mutex_unlock(&r->lock);
    return n;
}

/* Until the stream's end has arrived here. */
static void send_until_over(struct chassis_client_stream *s)
{
    test_wait_until(chassis_stream_send_bytes(s, chassis_view_str("more")) == CHASSIS_CANCELLED);
}

static void a_held_stream_outlives_the_servers_end(void **state)
{
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client_stream *s = open_path(&rig, "/draft.test.Probe/Refuse", &held, &r);
    assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("this")), 0);
    send_until_over(s);
    result_wait_messages(&r, 1);
    test_wait_until(writables(&r) != 0); /* who waits is told */
    for (int i = 0; i < 1000; i++) {     /* the stream is there, however long the sender takes */
        assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("x")), CHASSIS_CANCELLED);
    }
    assert_false(is_done(&r));
    chassis_stream_half_close(s);
    result_wait(&r);
    assert_int_equal(r.code, CHASSIS_ABORTED);
    assert_string_equal(r.text, "refused 'this'");
    assert_string_equal(r.first, "one answer");
    assert_int_equal(r.times, 1);
    rig_stop(&rig);
}

static void cancelling_lets_go_of_a_held_stream_as_well(void **state)
{
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client_stream *s = open_path(&rig, "/draft.test.Probe/Refuse", &held, &r);
    assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("this")), 0);
    send_until_over(s);
    assert_false(is_done(&r));
    chassis_stream_cancel(s);
    result_wait(&r);
    assert_int_equal(r.code, CHASSIS_ABORTED); /* what the server said came first */
    s = open_path(&rig, "/draft.test.Probe/Chat", &held, &r);
    chassis_stream_cancel(s); /* and one that has not ended */
    result_wait(&r);
    assert_int_equal(r.code, CHASSIS_CANCELLED);
    assert_int_equal(r.times, 1);
    rig_stop(&rig);
}

static void other_streams_end_by_themselves(void **state)
{
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client_stream *s = open_path(&rig, "/draft.test.Probe/Refuse", NULL, &r);
    assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("this")), 0);
    result_wait(&r); /* without a half-close */
    assert_int_equal(r.code, CHASSIS_ABORTED);
    rig_stop(&rig);
}

static void a_half_closed_stream_ends_when_the_server_does(void **state)
{
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client_stream *s = open_path(&rig, "/draft.test.Probe/Chat", &held, &r);
    assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("hello")), 0);
    chassis_stream_half_close(s);
    result_wait(&r);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.first, "hello");
    rig_stop(&rig);
}

static void server_streams_are_always_held(void **state)
{
    static const struct chassis_method method = {.name = "Fail",
                                                 .path = "/draft.test.Probe/Fail",
                                                 .service = "draft.test.Probe",
                                                 .kind = CHASSIS_SERVER_STREAM};
    struct rig rig;
    struct result r;
    struct chassis_client_stream *s = NULL;
    rig_start(&rig, (struct chassis_server_options){0});
    result_init(&r);
    assert_int_equal(chassis_stream_open(rig.client, &method, NULL, &result_stream, &r, &s, NULL),
                     0);
    assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("5")), 0);
    send_until_over(s);
    assert_false(is_done(&r));
    chassis_stream_half_close(s);
    result_wait(&r);
    assert_int_equal(r.code, CHASSIS_NOT_FOUND);
    rig_stop(&rig);
}

/* The end comes at another moment of the sender's each time. */
static void the_end_may_come_at_any_moment(void **state)
{
    enum { ROUNDS = 200 };
    static struct result results[ROUNDS];
    struct rig rig;
    rig_start(&rig, (struct chassis_server_options){0});
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct result *r = &results[i];
        struct chassis_client_stream *s = open_path(&rig, "/draft.test.Probe/Refuse", &held, r);
        for (unsigned n = 0; n <= i; n++) {
            int rc = chassis_stream_send_bytes(s, chassis_view_str("this"));
            assert_true(rc == 0 || rc == CHASSIS_CANCELLED);
        }
        if (i % 2 == 0) {
            chassis_stream_half_close(s);
        } else {
            chassis_stream_cancel(s);
        }
        result_wait(r);
        assert_int_equal(r->times, 1);
    }
    rig_stop(&rig);
}

/* A task that keeps an executor from everything else until it is let go. */
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

/* The end was announced to the sender, who let go before the announcement ran. */
static void letting_go_while_the_end_waits_for_its_turn_closes_the_stream(void **state)
{
    struct rig rig;
    struct result r;
    struct chassis_executor *executor;
    struct chassis_client_stream *s = NULL;
    rig_start(&rig, (struct chassis_server_options){0});
    assert_int_equal(chassis_os_thread_start("callbacks", &executor), 0);
    struct chassis_client *client =
        rig_client(&rig, (struct chassis_client_options){.executor = executor});
    for (unsigned i = 0; i < 2; i++) {
        struct plug plug = {.task.run = run_plug};
        result_init(&r);
        assert_int_equal(chassis_stream_open_path(client, "/draft.test.Probe/Refuse", &held,
                                                  &result_stream, &r, &s, NULL),
                         0);
        assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("this")), 0);
        result_wait_messages(&r, 1);
        chassis_post(executor, &plug.task);
        test_wait_until(atomic_load(&plug.in));
        send_until_over(s);
        if (i == 0) {
            chassis_stream_half_close(s);
        } else {
            chassis_stream_cancel(s);
        }
        atomic_store(&plug.out, true);
        result_wait(&r);
        assert_int_equal(r.times, 1);
    }
    chassis_client_free(client);
    chassis_os_thread_stop(executor);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letting_go_while_the_end_waits_for_its_turn_closes_the_stream),
        cmocka_unit_test(a_held_stream_outlives_the_servers_end),
        cmocka_unit_test(cancelling_lets_go_of_a_held_stream_as_well),
        cmocka_unit_test(other_streams_end_by_themselves),
        cmocka_unit_test(a_half_closed_stream_ends_when_the_server_does),
        cmocka_unit_test(server_streams_are_always_held),
        cmocka_unit_test(the_end_may_come_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
