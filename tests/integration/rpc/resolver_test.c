/* Clients of a name: endpoints that come late, change, and go. */
#include "rig.h"

#include "rpc/resolver.h"

/* A resolver that says what the test tells it to say. */
struct fake {
    struct chassis_resolver base;
    pthread_mutex_t lock;
    chassis_endpoints_cb update;
    void *data;
    char name[64];
};

static int fake_start(struct chassis_resolver *base, const char *name, chassis_endpoints_cb update,
                      void *data, struct chassis_resolution **ret_resolution,
                      struct chassis_error *err)
{
    struct fake *fake = (struct fake *)base;
    pthread_mutex_lock(&fake->lock);
    fake->update = update;
    fake->data = data;
    snprintf(fake->name, sizeof fake->name, "%s", name);
    pthread_mutex_unlock(&fake->lock);
    *ret_resolution = (struct chassis_resolution *)fake;
    return 0;
}

static void fake_stop(struct chassis_resolver *base, struct chassis_resolution *resolution)
{
    struct fake *fake = (struct fake *)base;
    assert_ptr_equal(resolution, fake);
    pthread_mutex_lock(&fake->lock);
    fake->update = NULL;
    pthread_mutex_unlock(&fake->lock);
}

static void fake_init(struct fake *fake)
{
    *fake = (struct fake){.base = {fake_start, fake_stop}};
    pthread_mutex_init(&fake->lock, NULL);
}

static void fake_say(struct fake *fake, const char *address, const char *why)
{
    const struct chassis_endpoint endpoint = {.address = address};
    pthread_mutex_lock(&fake->lock);
    assert_non_null(fake->update);
    fake->update(&endpoint, address != NULL ? 1 : 0, why, fake->data);
    pthread_mutex_unlock(&fake->lock);
}

static struct chassis_client *fake_client(struct rig *rig, struct fake *fake)
{
    fake_init(fake);
    return rig_client(
        rig, (struct chassis_client_options){.target = "draft:///probe", .resolver = &fake->base});
}

static struct chassis_client_stream *
chat(struct chassis_client *client, const struct chassis_call_options *options, struct result *r)
{
    struct chassis_client_stream *s = NULL;
    result_init(r);
    assert_int_equal(chassis_stream_open_path(client, "/draft.test.Probe/Chat", options,
                                              &result_stream, r, &s, NULL),
                     0);
    return s;
}

static void calls_and_streams_wait_for_the_first_endpoint(void **state)
{
    struct rig rig;
    struct fake fake;
    struct result calls[50], stream;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client *client = fake_client(&rig, &fake);
    assert_string_equal(fake.name, "probe");
    for (int i = 0; i < 50; i++) {
        result_init(&calls[i]);
        chassis_client_call_bytes(client, "/draft.test.Probe/Echo", chassis_view_str("late"), NULL,
                                  on_reply, &calls[i]);
    }
    struct chassis_client_stream *s = chat(client, NULL, &stream);
    for (int i = 0; i < 10; i++) { /* what is sent meanwhile is kept */
        assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("kept")), 0);
    }
    chassis_stream_half_close(s);
    assert_int_equal(atomic_load(&probe_calls), 0);
    fake_say(&fake, rig.address, NULL);
    for (int i = 0; i < 50; i++) {
        result_wait(&calls[i]);
        assert_int_equal(calls[i].code, 0);
        assert_string_equal(calls[i].first, "late");
    }
    result_wait(&stream);
    assert_int_equal(stream.code, 0);
    assert_int_equal(stream.messages, 10);
    assert_string_equal(stream.first, "kept");
    chassis_client_free(client);
    rig_stop(&rig);
}

static void a_wait_ends_with_the_deadline(void **state)
{
    const struct chassis_call_options options = {.timeout_ms = 50};
    struct rig rig;
    struct fake fake;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client *client = fake_client(&rig, &fake);
    probe(client, "Echo", "", &options, &r);
    assert_int_equal(r.code, CHASSIS_DEADLINE_EXCEEDED);
    assert_non_null(strstr(r.text, "draft:///probe"));
    chat(client, &options, &r);
    result_wait(&r);
    assert_int_equal(r.code, CHASSIS_DEADLINE_EXCEEDED);
    assert_non_null(strstr(r.text, "draft:///probe"));
    assert_int_equal(r.times, 1);
    chassis_client_free(client);
    rig_stop(&rig);
}

static void a_waiting_stream_can_be_cancelled(void **state)
{
    struct rig rig;
    struct fake fake;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client *client = fake_client(&rig, &fake);
    struct chassis_client_stream *s = chat(client, NULL, &r);
    chassis_stream_cancel(s);
    result_wait(&r);
    assert_int_equal(r.code, CHASSIS_CANCELLED);
    assert_int_equal(r.times, 1);
    chassis_client_free(client);
    rig_stop(&rig);
}

static void freeing_a_client_ends_what_waits(void **state)
{
    struct rig rig;
    struct fake fake;
    struct result call, stream;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client *client = fake_client(&rig, &fake);
    result_init(&call);
    chassis_client_call_bytes(client, "/draft.test.Probe/Echo", chassis_view_str(""), NULL,
                              on_reply, &call);
    struct chassis_client_stream *s = chat(client, NULL, &stream);
    chassis_stream_send_bytes(s, chassis_view_str("lost"));
    chassis_client_free(client);
    assert_null(fake.update);
    assert_true(call.done && stream.done);
    assert_int_equal(call.code, CHASSIS_CANCELLED);
    assert_int_equal(stream.code, CHASSIS_CANCELLED);
    assert_int_equal(call.times + stream.times, 2);
    assert_int_equal(atomic_load(&probe_calls), 0);
    rig_stop(&rig);
}

/* A chain of calls, each started by the reply to the one before. */
struct load {
    struct chassis_client *client;
    atomic_bool stop;
    atomic_uint done, failed, running;
};

static void load_reply(const struct chassis_reply *reply, void *data)
{
    struct load *load = data;
    atomic_fetch_add(&load->done, 1);
    atomic_fetch_add(&load->failed, reply->code != 0);
    if (atomic_load(&load->stop)) {
        atomic_fetch_sub(&load->running, 1);
        return;
    }
    chassis_client_call_bytes(load->client, "/draft.test.Probe/Echo", chassis_view_str("x"), NULL,
                              load_reply, load);
}

static void load_passes(struct load *load, unsigned n)
{
    unsigned from = atomic_load(&load->done);
    test_wait_until(atomic_load(&load->done) - from >= n);
}

static void endpoints_change_under_load_without_a_failed_call(void **state)
{
    struct rig a, b;
    struct fake fake;
    struct result parked;
    rig_start(&a, (struct chassis_server_options){0});
    rig_start(&b, (struct chassis_server_options){0});
    struct load load = {.client = fake_client(&a, &fake)};
    fake_say(&fake, a.address, NULL);
    result_init(&parked);
    chassis_client_call_bytes(load.client, "/draft.test.Probe/Park", chassis_view_str(""), NULL,
                              on_reply, &parked);
    test_wait_until(probe_parked() == 1);
    for (unsigned i = 0; i < 8; i++) {
        atomic_fetch_add(&load.running, 1);
        chassis_client_call_bytes(load.client, "/draft.test.Probe/Echo", chassis_view_str("x"),
                                  NULL, load_reply, &load);
    }
    for (int round = 0; round < 10; round++) {
        load_passes(&load, 50);
        fake_say(&fake, (round & 1) == 0 ? b.address : a.address, NULL);
    }
    fake_say(&fake, b.address, NULL);
    load_passes(&load, 50);
    assert_false(parked.done); /* the removed endpoint finishes what it began */
    probe_release();
    result_wait(&parked);
    assert_int_equal(parked.code, 0);
    chassis_server_drain(a.server, 20000);
    load_passes(&load, 50);
    atomic_store(&load.stop, true);
    test_wait_until(atomic_load(&load.running) == 0);
    assert_int_equal(atomic_load(&load.failed), 0);
    chassis_client_free(load.client);
    rig_stop(&b);
    rig_stop(&a);
}

static void nobody_left_is_told_with_the_reason(void **state)
{
    struct rig rig;
    struct fake fake;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client *client = fake_client(&rig, &fake);
    fake_say(&fake, rig.address, NULL);
    probe(client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, 0);
    fake_say(&fake, NULL, "all three processes are in maintenance");
    probe(client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_UNAVAILABLE);
    assert_non_null(strstr(r.text, "draft:///probe"));
    assert_non_null(strstr(r.text, "all three processes are in maintenance"));
    struct chassis_error err = {0};
    struct chassis_client_stream *s = NULL;
    assert_int_equal(chassis_stream_open_path(client, "/draft.test.Probe/Chat", NULL,
                                              &result_stream, &r, &s, &err),
                     CHASSIS_UNAVAILABLE);
    assert_null(s);
    assert_non_null(strstr(err.text, "maintenance"));
    fake_say(&fake, rig.address, NULL);
    probe(client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, 0);
    chassis_client_free(client);
    rig_stop(&rig);
}

static void freeing_a_client_does_not_wait_for_a_retry(void **state)
{
    const struct chassis_call_options idempotent = {.idempotent = true, .timeout_ms = 7200 * 1000};
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    struct chassis_client *client =
        rig_client(&rig, (struct chassis_client_options){.attempts_max = 10});
    result_init(&r);
    chassis_fault_arm("rpc.client.retry.late", 1); /* the retry comes in an hour */
    chassis_client_call_bytes(client, "/draft.test.Probe/Fail", chassis_view_str("14"), &idempotent,
                              on_reply, &r);
    test_wait_until(strcmp(chassis_fault_fired_at(), "rpc.client.retry.late") == 0);
    chassis_client_free(client);
    assert_true(chassis_fault_disarm());
    assert_true(r.done);
    assert_int_equal(r.code, CHASSIS_CANCELLED);
    assert_int_equal(atomic_load(&probe_calls), 1);
    rig_stop(&rig);
}

/* Whatever the client is at when it goes: the answer on its way, or the wait for the next attempt. */
static void calls_of_a_freed_client_are_cancelled_never_unavailable(void **state)
{
    const struct chassis_call_options idempotent = {.idempotent = true};
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    for (unsigned i = 0; i < 400; i++) {
        struct chassis_client *client = rig_client(&rig, (struct chassis_client_options){0});
        atomic_store(&probe_calls, 0);
        result_init(&r);
        chassis_client_call_bytes(client, "/draft.test.Probe/Fail", chassis_view_str("14"),
                                  &idempotent, on_reply, &r);
        test_wait_until(atomic_load(&probe_calls) != 0);
        for (unsigned turn = 0; turn < i % 100 * 150; turn++) {
            (void)chassis_os_monotonic_ns(); /* a little later each time */
        }
        chassis_client_free(client);
        assert_true(r.done);
        assert_int_equal(r.code, CHASSIS_CANCELLED);
    }
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_and_streams_wait_for_the_first_endpoint),
        cmocka_unit_test(a_wait_ends_with_the_deadline),
        cmocka_unit_test(a_waiting_stream_can_be_cancelled),
        cmocka_unit_test(freeing_a_client_ends_what_waits),
        cmocka_unit_test(endpoints_change_under_load_without_a_failed_call),
        cmocka_unit_test(nobody_left_is_told_with_the_reason),
        cmocka_unit_test(freeing_a_client_does_not_wait_for_a_retry),
        cmocka_unit_test(calls_of_a_freed_client_are_cancelled_never_unavailable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
