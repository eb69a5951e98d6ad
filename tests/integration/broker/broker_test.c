/* The chassis' broker against one that is stopped, restarted and made to forget: what is published is
 * stored once and in order, subscriptions go on, members answer what their handlers said. */
#include "fake.h"

#include <stdatomic.h>

#include <chassis/plugin/broker.h>

#include "loop/loop.h"
#include "os/os.h"
#include "test.h"

static struct fake fake;
static struct chassis_loop *loop;
static struct chassis_pool *pool;
static struct chassis_broker *broker;

static void open_broker(uint32_t outbox_events_max)
{
    char url[64];
    struct chassis_error err = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%u", fake.port);
    struct chassis_broker_options options = {.url = url,
                                             .service = "tester",
                                             .loop = chassis_loop_executor(loop),
                                             .workers = chassis_os_pool_executor(pool),
                                             .outbox_events_max = outbox_events_max,
                                             .backoff_min_ms = 5,
                                             .backoff_max_ms = 50};
    if (chassis_broker_catalyst.open(&options, &broker, &err) != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
}

static int setup(void **state)
{
    struct chassis_error err = {0};
    fake_init(&fake);
    fake_start(&fake);
    assert_int_equal(chassis_loop_start("loop", &loop, &err), 0);
    assert_int_equal(chassis_os_pool_start("worker", 4, 4096, &pool), 0);
    open_broker(0);
    return 0;
}

static int teardown(void **state)
{
    if (broker != NULL) {
        broker->ops->close(broker, 2000);
    }
    broker = NULL;
    chassis_os_pool_stop(pool);
    chassis_loop_stop(loop);
    fake_fini(&fake);
    return 0;
}

/* --- publishing --- */

static atomic_uint published, refused;

static void on_published(int status, const char *text, void *data)
{
    atomic_fetch_add(status == 0 ? &published : &refused, 1);
}

static void publish_number(unsigned n)
{
    char id[32], data[32];
    struct chassis_error err = {0};
    snprintf(id, sizeof id, "%u", n);
    snprintf(data, sizeof data, "{\"n\":%u}", n);
    struct chassis_event event = {.id = chassis_view_str(id),
                                  .type = chassis_view_str("number"),
                                  .subject = chassis_view_str("s"),
                                  .data = chassis_view_str(data)};
    if (chassis_publish(broker, &event, NULL, on_published, NULL, &err) != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
}

static void assert_stored_in_order(unsigned n)
{
    pthread_mutex_lock(&fake.mutex);
    assert_int_equal(fake.n_events, n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(atoi(fake.events[i].id), i);
    }
    pthread_mutex_unlock(&fake.mutex);
}

static void forget_counts(void)
{
    atomic_store(&published, 0);
    atomic_store(&refused, 0);
}

static void an_event_is_acknowledged_when_it_is_stored(void **state)
{
    struct chassis_error err = {0};
    struct chassis_event event = {.type = chassis_view_str("hello"),
                                  .data = chassis_view_str("hi"),
                                  .subject = chassis_view_str("you")};
    struct chassis_publish_options to = {.stream = "greetings"};
    assert_int_equal(chassis_publish_wait(broker, &event, &to, 0, &err), 0);
    assert_int_equal(fake_stored(&fake), 1);
    assert_string_equal(fake.events[0].source, "/tester");
    assert_int_equal(strlen(fake.events[0].id), 36);
    assert_string_equal(fake.events[0].subject, "you");
    assert_string_equal(fake.events[0].data, "hi");
    assert_string_equal(fake.events[0].stream, "greetings");
}

static void many_events_are_pipelined_and_stay_in_order(void **state)
{
    forget_counts();
    for (unsigned i = 0; i < 5000; i++) {
        publish_number(i);
    }
    test_wait_until(atomic_load(&published) == 5000);
    assert_stored_in_order(5000);
    assert_true(fake.publishes < 5000); /* several in a batch */
}

static void what_was_not_acknowledged_is_sent_again_and_stored_once(void **state)
{
    forget_counts();
    fake.cut_before_answer = 3;
    for (unsigned i = 0; i < 500; i++) {
        publish_number(i);
    }
    test_wait_until(atomic_load(&published) == 500);
    assert_stored_in_order(500);
    assert_true(fake.duplicates > 0);
}

static void publishing_outlives_a_restart_of_the_broker(void **state)
{
    forget_counts();
    for (unsigned i = 0; i < 3000; i++) {
        publish_number(i);
        if (i == 1000) {
            fake_stop(&fake);
        }
        if (i == 2500) {
            fake_start(&fake);
        }
    }
    test_wait_until(atomic_load(&published) == 3000);
    assert_stored_in_order(3000);
}

static void a_full_outbox_refuses_and_takes_again(void **state)
{
    struct chassis_error err = {0};
    struct chassis_event event = {.type = chassis_view_str("number")};
    broker->ops->close(broker, 2000);
    open_broker(10);
    forget_counts();
    fake_stop(&fake);
    for (unsigned i = 0; i < 10; i++) {
        publish_number(i);
    }
    assert_int_equal(chassis_publish(broker, &event, NULL, NULL, NULL, &err),
                     CHASSIS_RESOURCE_EXHAUSTED);
    fake_start(&fake);
    test_wait_until(atomic_load(&published) == 10);
    publish_number(10);
    test_wait_until(atomic_load(&published) == 11);
    assert_stored_in_order(11);
}

static void a_refused_event_is_told_alone(void **state)
{
    struct chassis_error err = {0};
    struct chassis_event event = {.type = chassis_view_str("bad")};
    fake.refuse_type = "bad";
    assert_int_equal(chassis_publish_wait(broker, &event, NULL, 0, &err), CHASSIS_INVALID_ARGUMENT);
    assert_string_equal(err.text, "not this one");
    event.type = chassis_view_str("good");
    assert_int_equal(chassis_publish_wait(broker, &event, NULL, 0, &err), 0);
}

static void a_batch_the_broker_never_takes_does_not_block_the_rest(void **state)
{
    struct chassis_error err = {0};
    struct chassis_event event = {.type = chassis_view_str("x")};
    pthread_mutex_lock(&fake.mutex);
    fake.fail_with = CHASSIS_INVALID_ARGUMENT;
    pthread_mutex_unlock(&fake.mutex);
    assert_int_equal(chassis_publish_wait(broker, &event, NULL, 0, &err), CHASSIS_INVALID_ARGUMENT);
    pthread_mutex_lock(&fake.mutex);
    fake.fail_with = 0;
    pthread_mutex_unlock(&fake.mutex);
    assert_int_equal(chassis_publish_wait(broker, &event, NULL, 0, &err), 0);
}

static void wrong_events_are_refused_before_they_are_sent(void **state)
{
    static char large[(1 << 20) + 1];
    struct chassis_error err = {0};
    struct chassis_event event = {.data = chassis_view_str("no type")};
    assert_int_equal(chassis_publish(broker, &event, NULL, NULL, NULL, &err),
                     CHASSIS_INVALID_ARGUMENT);
    event.type = chassis_view("\xff\xfe", 2);
    assert_int_equal(chassis_publish(broker, &event, NULL, NULL, NULL, &err),
                     CHASSIS_INVALID_ARGUMENT);
    event.type = chassis_view_str("t");
    event.data = chassis_view(large, sizeof large);
    assert_int_equal(chassis_publish(broker, &event, NULL, NULL, NULL, &err), CHASSIS_TOO_LARGE);
    assert_int_equal(chassis_publish(NULL, &event, NULL, NULL, NULL, &err),
                     CHASSIS_FAILED_PRECONDITION);
    assert_int_equal(fake.publishes, 0);
}

static void closing_flushes_and_says_what_was_not_acknowledged(void **state)
{
    forget_counts();
    for (unsigned i = 0; i < 300; i++) {
        publish_number(i);
    }
    broker->ops->close(broker, 10000);
    assert_int_equal(atomic_load(&published), 300);
    open_broker(0);
    pthread_mutex_lock(&fake.mutex);
    fake.mute = true;
    pthread_mutex_unlock(&fake.mutex);
    publish_number(300);
    broker->ops->close(broker, 10);
    broker = NULL;
    assert_int_equal(atomic_load(&refused), 1);
}

/* --- subscriptions --- */

struct handled {
    pthread_mutex_t mutex;
    unsigned n, running, running_most, fail_first;
    uint64_t sequences[8192];
    char last[64];
    atomic_bool block;
};

static int handle(const struct chassis_event *event, void *data)
{
    struct handled *h = data;
    int rc = 0;
    pthread_mutex_lock(&h->mutex);
    h->running++;
    h->running_most = h->running > h->running_most ? h->running : h->running_most;
    pthread_mutex_unlock(&h->mutex);
    while (atomic_load(&h->block)) {
        poll(NULL, 0, 1);
    }
    pthread_mutex_lock(&h->mutex);
    if (event->attempt <= h->fail_first) {
        rc = CHASSIS_UNAVAILABLE;
    } else {
        h->sequences[h->n++] = event->sequence;
    }
    snprintf(h->last, sizeof h->last, "%.*s|%.*s", CHASSIS_VIEW_ARG(event->type),
             CHASSIS_VIEW_ARG(event->data));
    h->running--;
    pthread_mutex_unlock(&h->mutex);
    return rc;
}

static unsigned most_at_once(struct handled *h)
{
    pthread_mutex_lock(&h->mutex);
    unsigned n = h->running_most;
    pthread_mutex_unlock(&h->mutex);
    return n;
}

static unsigned count_of(struct handled *h)
{
    pthread_mutex_lock(&h->mutex);
    unsigned n = h->n;
    pthread_mutex_unlock(&h->mutex);
    return n;
}

static struct chassis_subscription *
subscribe(const char *type, const struct chassis_subscribe_options *options, struct handled *h)
{
    struct chassis_subscription *s;
    struct chassis_error err = {0};
    pthread_mutex_init(&h->mutex, NULL);
    assert_int_equal(chassis_subscribe(broker, type, options, handle, h, &s, &err), 0);
    return s;
}

static unsigned joins(void)
{
    pthread_mutex_lock(&fake.mutex);
    unsigned n = fake.joins + fake.subscriptions;
    pthread_mutex_unlock(&fake.mutex);
    return n;
}

static void a_subscription_gets_what_is_stored_from_now_on_in_order(void **state)
{
    static struct handled h;
    memset(&h, 0, sizeof h);
    fake_add(&fake, "before", "0");
    struct chassis_subscription *s = subscribe("number", NULL, &h);
    test_wait_until(joins() == 1);
    fake_add(&fake, "other", "0");
    for (unsigned i = 0; i < 1000; i++) {
        publish_number(i);
    }
    test_wait_until(count_of(&h) == 1000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(h.sequences[i], i + 3);
    }
    assert_string_equal(h.last, "number|{\"n\":999}");
    assert_int_equal(most_at_once(&h), 1);
    chassis_unsubscribe(s);
}

static void a_subscription_goes_on_after_a_restart_without_gap_or_repetition(void **state)
{
    static struct handled h;
    memset(&h, 0, sizeof h);
    struct chassis_subscribe_options all = {.ignore_type = true, .earliest = true};
    struct chassis_subscription *s = subscribe(NULL, &all, &h);
    for (unsigned i = 0; i < 10; i++) {
        fake_add(&fake, "t", "x");
    }
    test_wait_until(count_of(&h) == 10);
    fake_stop(&fake);
    for (unsigned i = 0; i < 10; i++) {
        fake_add(&fake, "t", "x");
    }
    fake_start(&fake);
    test_wait_until(count_of(&h) == 20);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(h.sequences[i], i + 1);
    }
    assert_int_equal(fake.last_start, 11);
    chassis_unsubscribe(s);
}

static void a_member_acknowledges_what_its_handler_took(void **state)
{
    static struct handled h;
    memset(&h, 0, sizeof h);
    struct chassis_event_attribute tag = {chassis_view_str("region"), chassis_view_str("eu")};
    struct chassis_subscribe_options group = {
        .group = "billing", .stream = "orders", .tags = &tag, .n_tags = 1};
    struct chassis_subscription *s = subscribe("order.*", &group, &h);
    test_wait_until(joins() == 1);
    for (unsigned i = 0; i < 500; i++) {
        fake_add(&fake, i % 2 == 0 ? "order.placed" : "other", "x");
    }
    test_wait_until(fake_done(&fake) == 250);
    assert_int_equal(count_of(&h), 250);
    assert_string_equal(fake.group, "billing");
    assert_string_equal(fake.stream, "orders");
    assert_string_equal(fake.tags, "region=eu;");
    chassis_unsubscribe(s);
}

static void a_handler_that_fails_gets_the_event_again(void **state)
{
    static struct handled h;
    memset(&h, 0, sizeof h);
    h.fail_first = 2;
    struct chassis_subscribe_options group = {.group = "g"};
    struct chassis_subscription *s = subscribe("t", &group, &h);
    fake_add(&fake, "t", "x");
    test_wait_until(fake_done(&fake) == 1);
    pthread_mutex_lock(&fake.mutex);
    assert_int_equal(fake.nacks, 2);
    assert_int_equal(fake.acks, 1);
    pthread_mutex_unlock(&fake.mutex);
    chassis_unsubscribe(s);
}

static void handlers_run_in_parallel_when_asked(void **state)
{
    static struct handled h;
    memset(&h, 0, sizeof h);
    atomic_store(&h.block, true);
    struct chassis_subscribe_options group = {.group = "g", .parallel = 3};
    struct chassis_subscription *s = subscribe("t", &group, &h);
    for (unsigned i = 0; i < 50; i++) {
        fake_add(&fake, "t", "x");
    }
    pthread_mutex_lock(&h.mutex);
    while (h.running < 3) {
        pthread_mutex_unlock(&h.mutex);
        poll(NULL, 0, 1);
        pthread_mutex_lock(&h.mutex);
    }
    pthread_mutex_unlock(&h.mutex);
    atomic_store(&h.block, false);
    test_wait_until(fake_done(&fake) == 50);
    assert_int_equal(most_at_once(&h), 3);
    chassis_unsubscribe(s);
}

static void a_slow_handler_is_sent_no_more_than_it_may_hold(void **state)
{
    static struct handled h;
    memset(&h, 0, sizeof h);
    atomic_store(&h.block, true);
    struct chassis_subscribe_options group = {.group = "g", .in_flight = 8};
    struct chassis_subscription *s = subscribe("t", &group, &h);
    for (unsigned i = 0; i < 100; i++) {
        fake_add(&fake, "t", "x");
    }
    test_wait_until(joins() == 1);
    pthread_mutex_lock(&fake.mutex);
    unsigned given = 0;
    for (unsigned i = 0; i < fake.n_events; i++) {
        given += fake.events[i].given;
    }
    pthread_mutex_unlock(&fake.mutex);
    assert_int_equal(given, 8);
    atomic_store(&h.block, false);
    test_wait_until(fake_done(&fake) == 100);
    chassis_unsubscribe(s);
}

static void members_go_on_over_restarts_and_no_event_is_left_out(void **state)
{
    static struct handled h;
    memset(&h, 0, sizeof h);
    struct chassis_subscribe_options group = {.group = "g", .parallel = 2};
    struct chassis_subscription *s = subscribe("t", &group, &h);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 100; i++) {
            fake_add(&fake, "t", "x");
        }
        fake_stop(&fake);
        fake_start(&fake);
    }
    test_wait_until(fake_done(&fake) == 500);
    chassis_unsubscribe(s);
}

static void after_unsubscribe_no_handler_runs_and_the_rest_is_given_to_others(void **state)
{
    static struct handled h, other;
    memset(&h, 0, sizeof h);
    memset(&other, 0, sizeof other);
    struct chassis_subscribe_options group = {.group = "g"};
    struct chassis_subscription *s = subscribe("t", &group, &h);
    for (unsigned i = 0; i < 200; i++) {
        fake_add(&fake, "t", "x");
    }
    test_wait_until(count_of(&h) > 10);
    chassis_unsubscribe(s);
    unsigned handled = count_of(&h);
    s = subscribe("t", &group, &other);
    test_wait_until(fake_done(&fake) == 200);
    assert_int_equal(count_of(&h), handled);
    assert_int_equal(count_of(&other), 200 - handled); /* the answers arrived before the end */
    chassis_unsubscribe(s);
}

static void connections_that_cannot_be_opened_are_tried_again(void **state)
{
    static struct handled h;
    memset(&h, 0, sizeof h);
    struct chassis_error err = {0};
    struct chassis_event event = {.type = chassis_view_str("t")};
    struct chassis_subscribe_options group = {.group = "g", .earliest = true};
    chassis_fault_arm("broker.open", 1);
    assert_int_equal(chassis_publish_wait(broker, &event, NULL, 0, &err), 0);
    assert_true(chassis_fault_disarm());
    chassis_fault_arm("broker.open", 1);
    struct chassis_subscription *s = subscribe("t", &group, &h);
    test_wait_until(fake_done(&fake) == 1);
    assert_true(chassis_fault_disarm());
    chassis_unsubscribe(s);
}

static void a_subscription_needs_a_type_or_none_at_all(void **state)
{
    struct chassis_error err = {0};
    struct chassis_subscription *s;
    assert_int_equal(chassis_subscribe(broker, "", NULL, handle, NULL, &s, &err),
                     CHASSIS_INVALID_ARGUMENT);
}

static void urls_that_name_no_broker_are_refused(void **state)
{
    static const char *const urls[] = {"", "http://", "http://host", "a:1,b"};
    struct chassis_error err = {0};
    for (unsigned i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct chassis_broker *b;
        struct chassis_broker_options options = {.url = urls[i],
                                                 .service = "x",
                                                 .loop = chassis_loop_executor(loop),
                                                 .workers = chassis_os_pool_executor(pool)};
        assert_int_equal(chassis_broker_catalyst.open(&options, &b, &err), CHASSIS_CONFIG);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_event_is_acknowledged_when_it_is_stored),
        TEST(many_events_are_pipelined_and_stay_in_order),
        TEST(what_was_not_acknowledged_is_sent_again_and_stored_once),
        TEST(publishing_outlives_a_restart_of_the_broker),
        TEST(a_full_outbox_refuses_and_takes_again),
        TEST(a_refused_event_is_told_alone),
        TEST(a_batch_the_broker_never_takes_does_not_block_the_rest),
        TEST(wrong_events_are_refused_before_they_are_sent),
        TEST(closing_flushes_and_says_what_was_not_acknowledged),
        TEST(a_subscription_gets_what_is_stored_from_now_on_in_order),
        TEST(a_subscription_goes_on_after_a_restart_without_gap_or_repetition),
        TEST(a_member_acknowledges_what_its_handler_took),
        TEST(a_handler_that_fails_gets_the_event_again),
        TEST(handlers_run_in_parallel_when_asked),
        TEST(a_slow_handler_is_sent_no_more_than_it_may_hold),
        TEST(members_go_on_over_restarts_and_no_event_is_left_out),
        TEST(after_unsubscribe_no_handler_runs_and_the_rest_is_given_to_others),
        TEST(connections_that_cannot_be_opened_are_tried_again),
        TEST(a_subscription_needs_a_type_or_none_at_all),
        TEST(urls_that_name_no_broker_are_refused),
    };
    return cmocka_run_group_tests_name("broker", tests, NULL, NULL);
}
