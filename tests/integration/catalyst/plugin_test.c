/* The chassis' broker plugin against a whole Catalyst: what the interface promises, kept by both. */
#include "rig.h"

#include <chassis/plugin/broker.h>

#include "os/os.h"

enum { HANDLED_MAX = 256 };

/* A handler, and what it was given. */
struct handler {
    pthread_mutex_t lock;
    struct {
        char id[16], type[32];
        uint32_t attempt;
    } seen[HANDLED_MAX];
    atomic_uint n;
    const char *fails; /* the id it does not take */
};

static struct chassis_broker *open_broker(struct rig *rig, const char *service)
{
    struct chassis_broker *broker;
    struct chassis_error err = {0};
    const struct chassis_broker_options options = {.url = rig->address,
                                                   .service = service,
                                                   .loop = rig->loop,
                                                   .workers =
                                                       chassis_os_pool_executor(rig->workers),
                                                   .backoff_min_ms = 5,
                                                   .backoff_max_ms = 50};
    if (chassis_broker_catalyst.open(&options, &broker, &err) != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
    return broker;
}

static int on_event(const struct chassis_event *event, void *data)
{
    struct handler *h = data;
    pthread_mutex_lock(&h->lock);
    unsigned n = h->n;
    assert_true(n < HANDLED_MAX);
    snprintf(h->seen[n].id, sizeof h->seen[n].id, "%.*s", CHASSIS_VIEW_ARG(event->id));
    snprintf(h->seen[n].type, sizeof h->seen[n].type, "%.*s", CHASSIS_VIEW_ARG(event->type));
    h->seen[n].attempt = event->attempt;
    bool fails = h->fails != NULL && strcmp(h->seen[n].id, h->fails) == 0;
    atomic_fetch_add(&h->n, 1);
    pthread_mutex_unlock(&h->lock);
    return fails ? CHASSIS_UNAVAILABLE : 0;
}

static struct chassis_subscription *subscribe(struct chassis_broker *broker, const char *type,
                                              struct chassis_subscribe_options options,
                                              struct handler *h)
{
    struct chassis_subscription *s;
    struct chassis_error err = {0};
    const char *fails = h->fails;
    *h = (struct handler){.fails = fails};
    pthread_mutex_init(&h->lock, NULL);
    options.stream = "s";
    options.earliest = true;
    if (chassis_subscribe(broker, type, &options, on_event, h, &s, &err) != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
    return s;
}

static void publish(struct chassis_broker *broker, unsigned n, const char *type, const char *region)
{
    char id[16];
    struct chassis_error err = {0};
    const struct chassis_event_attribute tag = {chassis_view_str("region"),
                                                chassis_view_str(region)};
    snprintf(id, sizeof id, "%u", n);
    const struct chassis_event event = {.id = chassis_view_str(id),
                                        .type = chassis_view_str(type),
                                        .data = chassis_view_str("{}"),
                                        .attributes = &tag,
                                        .n_attributes = 1};
    const struct chassis_publish_options to = {.stream = "s"};
    if (chassis_publish_wait(broker, &event, &to, 30000, &err) != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
}

/* The ids in the order they came: "1 2 ". */
static void expect(struct handler *h, const char *ids)
{
    struct chassis_buf all = {0};
    size_t n = 0;
    for (const char *p = ids; *p != '\0'; p++) {
        n += *p == ' ';
    }
    test_wait_until(atomic_load(&h->n) >= n);
    pthread_mutex_lock(&h->lock);
    chassis_buf_append_str(&all, "");
    for (unsigned i = 0; i < h->n; i++) {
        chassis_buf_printf(&all, "%s ", h->seen[i].id);
    }
    pthread_mutex_unlock(&h->lock);
    assert_string_equal((const char *)all.data, ids);
    chassis_buf_fini(&all);
}

static void every_subscription_gets_what_it_asked_for(void **state)
{
    struct rig *rig = *state;
    static struct handler all, again, placed, orders, tagged;
    const struct chassis_event_attribute eu = {chassis_view_str("region"), chassis_view_str("eu")};
    struct chassis_broker *broker = open_broker(rig, "tester");
    rig_stream(rig, "s");
    struct chassis_subscription *subscriptions[] = {
        subscribe(broker, NULL, (struct chassis_subscribe_options){.ignore_type = true}, &all),
        subscribe(broker, NULL, (struct chassis_subscribe_options){.ignore_type = true}, &again),
        subscribe(broker, "order.placed", (struct chassis_subscribe_options){0}, &placed),
        subscribe(broker, "order.*", (struct chassis_subscribe_options){0}, &orders),
        subscribe(broker, "order.*", (struct chassis_subscribe_options){.tags = &eu, .n_tags = 1},
                  &tagged),
    };
    publish(broker, 1, "order.placed", "eu");
    publish(broker, 2, "order.paid", "us");
    publish(broker, 3, "invoice", "eu");
    publish(broker, 4, "order.paid", "eu");
    publish(broker, 4, "order.paid", "eu"); /* the same: stored once */
    publish(broker, 5, "order.placed", "us");
    expect(&all, "1 2 3 4 5 ");
    expect(&again, "1 2 3 4 5 ");
    expect(&placed, "1 5 ");
    expect(&orders, "1 2 4 5 ");
    expect(&tagged, "1 4 ");
    chassis_unsubscribe(subscriptions[2]);
    publish(broker, 6, "order.placed", "eu");
    expect(&all, "1 2 3 4 5 6 ");
    expect(&placed, "1 5 ");
    for (unsigned i = 0; i < 5; i++) {
        if (i != 2) {
            chassis_unsubscribe(subscriptions[i]);
        }
    }
    broker->ops->close(broker, 1000);
}

static unsigned consumers(struct rig *rig)
{
    struct chassis_arena arena;
    EV(GetStreamRequest) req = EV_INIT(GET_STREAM_REQUEST);
    char stream[] = "s";
    chassis_arena_init(&arena, NULL, 0, 0);
    req.name = stream;
    const EV(GetStreamResponse) *res =
        rig_call(rig, &events_stream_service_get_method, &req, 0, &arena, NULL);
    unsigned n = res->stream->consumers;
    chassis_arena_fini(&arena);
    return n;
}

static void a_subscription_goes_on_with_a_stream_that_was_made_anew(void **state)
{
    struct rig *rig = *state;
    static struct handler all;
    struct chassis_arena arena;
    struct chassis_broker *broker = open_broker(rig, "tester");
    char name[] = "s";
    EV(DeleteStreamRequest) req = EV_INIT(DELETE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    req.name = name;
    rig_stream(rig, "s");
    struct chassis_subscription *s =
        subscribe(broker, NULL, (struct chassis_subscribe_options){.ignore_type = true}, &all);
    for (unsigned i = 1; i <= 20; i++) {
        publish(broker, i, "t", "eu");
    }
    test_wait_until(atomic_load(&all.n) == 20);
    rig_call(rig, &events_stream_service_delete_method, &req, 0, &arena, NULL);
    rig_stream(rig, "s");
    test_wait_until(consumers(rig) == 1); /* it is back, and stands at 21 */
    publish(broker, 100, "t", "eu");
    test_wait_until(atomic_load(&all.n) == 21);
    assert_string_equal(all.seen[20].id, "100");
    chassis_unsubscribe(s);
    broker->ops->close(broker, 1000);
    chassis_arena_fini(&arena);
}

static uint64_t dead_letters(struct rig *rig)
{
    struct chassis_arena arena;
    EV(GetGroupRequest) req = EV_INIT(GET_GROUP_REQUEST);
    char stream[] = "s", group[] = "g";
    chassis_arena_init(&arena, NULL, 0, 0);
    req.stream = stream;
    req.name = group;
    const EV(GetGroupResponse) *res =
        rig_call(rig, &events_group_service_get_method, &req, 0, &arena, NULL);
    uint64_t n = res->group->dead_lettered;
    chassis_arena_fini(&arena);
    return n;
}

static void members_of_a_group_share_and_what_none_takes_is_a_dead_letter(void **state)
{
    enum { N = 60 };
    struct rig *rig = *state;
    static struct handler a, b;
    struct chassis_broker *first = open_broker(rig, "one"), *second = open_broker(rig, "two");
    const struct chassis_subscribe_options group = {.group = "g", .ignore_type = true};
    rig_stream(rig, "s");
    a.fails = b.fails = "7";
    struct chassis_subscription *x = subscribe(first, NULL, group, &a);
    struct chassis_subscription *y = subscribe(second, NULL, group, &b);
    for (unsigned i = 1; i <= N; i++) {
        publish(first, i, "t", "eu");
    }
    test_wait_until(a.n + b.n == N - 1 + 5); /* each once, the one that fails five times */
    unsigned attempts = 0, times[N + 1] = {0};
    struct handler *both[] = {&a, &b};
    for (unsigned h = 0; h < 2; h++) {
        pthread_mutex_lock(&both[h]->lock);
        for (unsigned i = 0; i < both[h]->n; i++) {
            unsigned id = (unsigned)atoi(both[h]->seen[i].id);
            times[id]++;
            attempts += id == 7 ? both[h]->seen[i].attempt : 0;
        }
        pthread_mutex_unlock(&both[h]->lock);
    }
    for (unsigned i = 1; i <= N; i++) {
        assert_int_equal(times[i], i == 7 ? 5 : 1);
    }
    assert_int_equal(attempts, 1 + 2 + 3 + 4 + 5);
    test_wait_until(dead_letters(rig) == 1);
    struct tap tap; /* of its dead letters */
    EV(SubscribeRequest) req = EV_INIT(SUBSCRIBE_REQUEST);
    EV(Start) start = EV_INIT(START);
    char dead[] = "s.g.dead";
    start.at_case = DRAFT__EVENTS__V1__START__AT_EARLIEST;
    start.earliest = true;
    req.stream = dead;
    req.start = &start;
    chassis_unsubscribe(x);
    chassis_unsubscribe(y);
    first->ops->close(first, 1000);
    second->ops->close(second, 1000);
    rig_close(rig);
    rig_open(rig); /* the letter is durable */
    tap_open(rig, &tap, &events_event_service_subscribe_method);
    tap_send(&tap, &req);
    test_wait_until(tap_deliveries(&tap) == 1);
    char *ids = tap_ids(&tap);
    assert_string_equal(ids, "7 ");
    free(ids);
    tap_cancel(&tap);
}

#define TEST_OF(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(every_subscription_gets_what_it_asked_for),
        TEST_OF(a_subscription_goes_on_with_a_stream_that_was_made_anew),
        TEST_OF(members_of_a_group_share_and_what_none_takes_is_a_dead_letter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
