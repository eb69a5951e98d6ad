/* Blueprint's link to a broker: where it goes on in a stream, and what it makes of the broker's
 * answers. The broker is a server in this process with a stream of short texts. */
#include "blueprint/events/link.h"

#include <pthread.h>
#include <stdatomic.h>

#include "loop/loop.h"
#include "rpc/server.h"
#include "test.h"

#define SOURCE "/blueprint/0123"
enum { EVENTS_MAX = 8192 };

/* The stream: event i + 1 is of us, with this number as its id, or of somebody else (0). */
static struct {
    pthread_mutex_t mutex;
    bool exists, refuse_create;
    uint64_t first, last, ours[EVENTS_MAX];
    unsigned page; /* events looked at for one answer of Read; 0 = 1000 */
    unsigned reads, creates;
    char published[1024];
    uint32_t refuse_code;
    int fail_publish, fail_get;
    uint64_t dedupe_ms;
} broker;

static struct chassis_server *server;
static struct chassis_client *client;
static struct chassis_loop *loop;
static struct bp_link bp;

static void on_get(struct chassis_call *call, const Draft__Events__V1__GetStreamRequest *req)
{
    Draft__Events__V1__GetStreamResponse res = DRAFT__EVENTS__V1__GET_STREAM_RESPONSE__INIT;
    Draft__Events__V1__Stream stream = DRAFT__EVENTS__V1__STREAM__INIT;
    pthread_mutex_lock(&broker.mutex);
    int fail = broker.fail_get != 0 ? broker.fail_get : broker.exists ? 0 : CHASSIS_NOT_FOUND;
    stream.first_sequence = broker.first;
    stream.last_sequence = broker.last;
    pthread_mutex_unlock(&broker.mutex);
    if (fail != 0) {
        chassis_call_fail(call, fail, "there is no stream '%s'", req->name);
        return;
    }
    res.stream = &stream;
    events_stream_service_get_reply(call, &res);
}

static void on_create(struct chassis_call *call, const Draft__Events__V1__CreateStreamRequest *req)
{
    Draft__Events__V1__CreateStreamResponse res = DRAFT__EVENTS__V1__CREATE_STREAM_RESPONSE__INIT;
    pthread_mutex_lock(&broker.mutex);
    broker.creates++;
    broker.dedupe_ms = req->config->dedupe_ms;
    bool refuse = broker.refuse_create;
    broker.exists = broker.exists || !refuse;
    pthread_mutex_unlock(&broker.mutex);
    if (refuse) {
        chassis_call_fail(call, CHASSIS_PERMISSION_DENIED, "operators only");
        return;
    }
    events_stream_service_create_reply(call, &res);
}

static void on_read(struct chassis_call *call, const Draft__Events__V1__ReadRequest *req)
{
    struct chassis_arena *a = chassis_call_arena(call);
    Draft__Events__V1__ReadResponse res = DRAFT__EVENTS__V1__READ_RESPONSE__INIT;
    assert_string_equal(req->filters[0]->exact->values[0]->key, "source");
    assert_string_equal(req->filters[0]->exact->values[0]->value, SOURCE);
    pthread_mutex_lock(&broker.mutex);
    broker.reads++;
    uint64_t at = req->start->sequence > broker.first ? req->start->sequence : broker.first;
    uint64_t end = at + (broker.page != 0 ? broker.page : 1000);
    end = end <= broker.last ? end : broker.last + 1;
    res.deliveries = chassis_arena_alloc(a, (size_t)(end - at + 1) * sizeof *res.deliveries);
    for (; at < end; at++) {
        if (broker.ours[at - 1] == 0) {
            continue;
        }
        Draft__Events__V1__Delivery *d = chassis_arena_alloc(a, sizeof *d);
        draft__events__v1__delivery__init(d);
        d->event = chassis_arena_alloc(a, sizeof *d->event);
        core__message_broker__actors__v1__cloud_event__init(d->event);
        d->event->id = chassis_arena_printf(a, "%llu", (unsigned long long)broker.ours[at - 1]);
        d->sequence = at;
        res.deliveries[res.n_deliveries++] = d;
    }
    res.next_sequence = at;
    pthread_mutex_unlock(&broker.mutex);
    events_event_service_read_reply(call, &res);
}

static void on_publish(struct chassis_call *call, const Draft__Events__V1__PublishRequest *req)
{
    Draft__Events__V1__PublishResponse res = DRAFT__EVENTS__V1__PUBLISH_RESPONSE__INIT;
    Draft__Events__V1__Refusal refusal = DRAFT__EVENTS__V1__REFUSAL__INIT, *refusals[] = {&refusal};
    pthread_mutex_lock(&broker.mutex);
    for (size_t i = 0; i < req->batch->n_events; i++) {
        const Core__MessageBroker__Actors__V1__CloudEvent *e = req->batch->events[i];
        size_t len = strlen(broker.published);
        snprintf(broker.published + len, sizeof broker.published - len, "%s %s %s\n", e->id,
                 e->type, e->text_data);
    }
    int fail = broker.fail_publish;
    if (broker.refuse_code != 0) {
        refusal.code = broker.refuse_code;
        refusal.text = (char *)(uintptr_t) "not this one";
        refusal.id = (char *)(uintptr_t) "x";
        res.refusals = refusals;
        res.n_refusals = 1;
    }
    res.request = req->request;
    pthread_mutex_unlock(&broker.mutex);
    if (fail != 0) {
        chassis_call_fail(call, fail, "as the test wants");
        return;
    }
    events_event_service_publish_stream_send(call, &res);
}

/* --- what the publisher would hear --- */

static struct {
    pthread_mutex_t mutex;
    unsigned found, stored, refused, lost;
    int code;
    char last_id[64], text[256];
} heard;

static void on_found(void *data, const char *last_id)
{
    pthread_mutex_lock(&heard.mutex);
    heard.found++;
    snprintf(heard.last_id, sizeof heard.last_id, "%s", last_id);
    pthread_mutex_unlock(&heard.mutex);
}

static void on_stored(void *data, unsigned refused)
{
    pthread_mutex_lock(&heard.mutex);
    heard.stored++;
    heard.refused += refused;
    pthread_mutex_unlock(&heard.mutex);
}

static void on_writable(void *data)
{
}

static void on_lost(void *data, int code, const char *text)
{
    pthread_mutex_lock(&heard.mutex);
    heard.lost++;
    heard.code = code;
    snprintf(heard.text, sizeof heard.text, "%s", text);
    pthread_mutex_unlock(&heard.mutex);
}

static unsigned count(const unsigned *what)
{
    pthread_mutex_lock(&heard.mutex);
    unsigned n = *what;
    pthread_mutex_unlock(&heard.mutex);
    return n;
}

/* Change how the broker behaves. */
#define BROKER(change)                                                                             \
    do {                                                                                           \
        pthread_mutex_lock(&broker.mutex);                                                         \
        change;                                                                                    \
        pthread_mutex_unlock(&broker.mutex);                                                       \
    } while (0)

static int do_find(void *data)
{
    bp.sink.ops->find(&bp.sink, SOURCE);
    return 0;
}

static void find(void)
{
    pthread_mutex_lock(&heard.mutex);
    heard.found = heard.stored = heard.refused = heard.lost = 0;
    heard.last_id[0] = '?';
    pthread_mutex_unlock(&heard.mutex);
    chassis_loop_call(loop, do_find, NULL);
}

/* Find, and what it found. */
static const char *found(void)
{
    find();
    test_wait_until(count(&heard.found) == 1);
    return heard.last_id;
}

static int do_publish(void *data)
{
    struct bp_events_row row = {.at = {7, 0}};
    row.record.version.at = row.at;
    row.record.kind = chassis_view_str("type.googleapis.com/core.registry.key_value.v1.Value");
    row.record.version.key = chassis_view_str("color");
    row.record.version.value = chassis_view_str("\x0a\x04"
                                                "blue");
    bp.sink.ops->add(&bp.sink, SOURCE, &row);
    row.at.sub = 1;
    row.record.version.deleted = true;
    bp.sink.ops->add(&bp.sink, SOURCE, &row);
    bp.sink.ops->add_gap(&bp.sink, SOURCE, "gap-1-6", 1, 6);
    return bp.sink.ops->send(&bp.sink);
}

static int do_close(void *data)
{
    bp.sink.ops->close(&bp.sink);
    return 0;
}

static int setup(void **state)
{
    static const struct events_stream_service_handlers streams = {.get = on_get,
                                                                  .create = on_create};
    static const struct events_event_service_handlers events = {
        .read = on_read, .publish_stream = {.message = on_publish}};
    struct chassis_error err = {0};
    char address[64];
    memset(&broker, 0, sizeof broker);
    memset(&heard, 0, sizeof heard);
    pthread_mutex_init(&broker.mutex, NULL);
    pthread_mutex_init(&heard.mutex, NULL);
    broker.exists = true;
    broker.first = 1;
    struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    struct chassis_server_options options = {.listeners = &listener, .n_listeners = 1};
    assert_int_equal(chassis_server_new(&options, &server, &err), 0);
    assert_int_equal(
        chassis_server_add(server, events_stream_service_service(&streams, NULL), &err), 0);
    assert_int_equal(chassis_server_add(server, events_event_service_service(&events, NULL), &err),
                     0);
    assert_int_equal(chassis_server_start(server, &err), 0);
    snprintf(address, sizeof address, "127.0.0.1:%u", chassis_server_port(server, 0));
    assert_int_equal(chassis_loop_start("loop", &loop, &err), 0);
    struct chassis_client_options to = {.target = address, .executor = chassis_loop_executor(loop)};
    assert_int_equal(chassis_client_new(&to, &client, &err), 0);
    bp_link_init(&bp, client, "blueprint");
    bp.sink.handlers = (struct bp_events_sink_handlers){on_found, on_stored, on_writable, on_lost};
    return 0;
}

static int teardown(void **state)
{
    chassis_loop_call(loop, do_close, NULL);
    chassis_client_free(client);
    chassis_server_drain(server, 0);
    chassis_server_free(server);
    chassis_loop_stop(loop);
    return 0;
}

static void a_stream_that_is_not_there_is_made(void **state)
{
    BROKER(broker.exists = false);
    assert_string_equal(found(), "");
    assert_int_equal(broker.creates, 1);
    assert_true(broker.dedupe_ms >= 3600 * 1000);
    assert_string_equal(found(), "");
    assert_int_equal(broker.creates, 1);
}

static void who_may_not_make_streams_says_so(void **state)
{
    BROKER(broker.exists = false);
    BROKER(broker.refuse_create = true);
    find();
    test_wait_until(count(&heard.lost) == 1);
    assert_int_equal(heard.code, CHASSIS_PERMISSION_DENIED);
    assert_string_equal(heard.text, "make stream 'blueprint': operators only");
}

static void the_newest_event_of_ours_is_found_wherever_it_stands(void **state)
{
    static const struct {
        uint64_t first, last, ours, page;
    } cases[] = {{1, 1, 1, 0},          {1, 10, 10, 0},       {1, 5000, 5000, 0},
                 {1, 5000, 1, 0},       {1, 5000, 4936, 0},   {1, 5000, 4937, 0},
                 {1, 5000, 3000, 0},    {1, 5000, 3000, 7},   {2000, 5000, 2000, 0},
                 {2000, 5000, 4000, 1}, {4990, 5000, 4990, 3}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char wanted[32];
        BROKER(memset(broker.ours, 0, sizeof broker.ours));
        BROKER(broker.first = cases[i].first);
        BROKER(broker.last = cases[i].last);
        BROKER(broker.page = (unsigned)cases[i].page);
        BROKER(broker.ours[cases[i].ours - 1] = 77);
        if (cases[i].ours > cases[i].first) {
            BROKER(broker.ours[cases[i].ours - 2] = 76);
        }
        snprintf(wanted, sizeof wanted, "77");
        assert_string_equal(found(), wanted);
    }
}

static void a_stream_of_others_has_no_event_of_ours(void **state)
{
    BROKER(broker.last = 6000);
    assert_string_equal(found(), "");
    assert_true(broker.reads > 2);
    BROKER(broker.first = 6001); /* emptied */
    BROKER(broker.reads = 0);
    assert_string_equal(found(), "");
    assert_int_equal(broker.reads, 0);
}

static void changes_are_sent_as_events_of_the_contract(void **state)
{
    found();
    assert_int_equal(chassis_loop_call(loop, do_publish, NULL), 0);
    test_wait_until(count(&heard.stored) == 1);
    assert_string_equal(
        broker.published,
        "7 draft.blueprint.record.put "
        "{\"key\":\"color\",\"value\":{\"@type\":\"type.googleapis.com/"
        "core.registry.key_value.v1.Value\",\"data\":\"blue\"},\"meta\":{\"revision\":\"7\","
        "\"time\":\"1970-01-01T00:00:00Z\"}}\n"
        "7.1 draft.blueprint.record.deleted {\"type\":\"DELETE\",\"key\":\"color\",\"value\":"
        "{\"@type\":\"type.googleapis.com/core.registry.key_value.v1.Value\",\"data\":\"blue\"},"
        "\"meta\":{\"revision\":\"7\",\"time\":\"1970-01-01T00:00:00Z\"}}\n"
        "gap-1-6 draft.blueprint.gap {\"fromRevision\":\"1\",\"throughRevision\":\"6\"}\n");
}

static void an_event_that_is_wrong_is_left_out_and_anything_else_is_tried_again(void **state)
{
    found();
    BROKER(broker.refuse_code = 3); /* INVALID_ARGUMENT */
    chassis_loop_call(loop, do_publish, NULL);
    test_wait_until(count(&heard.stored) == 1);
    assert_int_equal(count(&heard.refused), 1);
    for (unsigned i = 0; i < 3; i++) {
        static const uint32_t codes[] = {5 /* NOT_FOUND */, 8 /* RESOURCE_EXHAUSTED */,
                                         14 /* UNAVAILABLE */};
        BROKER(broker.refuse_code = 0);
        found();
        BROKER(broker.refuse_code = codes[i]);
        chassis_loop_call(loop, do_publish, NULL);
        test_wait_until(count(&heard.lost) == 1);
        assert_int_equal(count(&heard.stored), 0);
    }
}

static void a_broken_stream_is_told_once(void **state)
{
    found();
    BROKER(broker.fail_publish = CHASSIS_UNAVAILABLE);
    chassis_loop_call(loop, do_publish, NULL);
    test_wait_until(count(&heard.lost) == 1);
    assert_string_equal(heard.text, "as the test wants");
    BROKER(broker.fail_publish = 0);
    BROKER(broker.fail_get = CHASSIS_UNAVAILABLE);
    find();
    test_wait_until(count(&heard.lost) == 1);
    BROKER(broker.fail_get = 0);
    assert_string_equal(found(), "");
    chassis_loop_call(loop, do_publish, NULL);
    test_wait_until(count(&heard.stored) == 1);
    assert_int_equal(count(&heard.lost), 0);
}

static void after_closing_nothing_is_heard(void **state)
{
    for (unsigned i = 0; i < 50; i++) {
        find();
        chassis_loop_call(loop, do_close, NULL);
        pthread_mutex_lock(&heard.mutex);
        unsigned before = heard.found + heard.lost;
        pthread_mutex_unlock(&heard.mutex);
        chassis_loop_call(loop, do_close, NULL); /* a turn later */
        assert_int_equal(count(&heard.found) + count(&heard.lost), before);
    }
    assert_string_equal(found(), "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_stream_that_is_not_there_is_made),
        TEST(who_may_not_make_streams_says_so),
        TEST(the_newest_event_of_ours_is_found_wherever_it_stands),
        TEST(a_stream_of_others_has_no_event_of_ours),
        TEST(changes_are_sent_as_events_of_the_contract),
        TEST(an_event_that_is_wrong_is_left_out_and_anything_else_is_tried_again),
        TEST(a_broken_stream_is_told_once),
        TEST(after_closing_nothing_is_heard),
    };
    return cmocka_run_group_tests_name("blueprint link", tests, NULL, NULL);
}
