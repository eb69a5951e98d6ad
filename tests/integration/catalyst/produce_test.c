/* Events coming in by gRPC: Producer.Produce, EventService.Publish and PublishStream. */
#include "rig.h"

#include "base/bytes.h"
#include "catalyst/broker/intake.h"
#include "catalyst/event/build.h"

static void send_raw(struct tap *tap, struct chassis_view event)
{
    struct chassis_buf request = {0};
    chassis_buf_append_byte(&request, 1 << 3 | 2);
    chassis_buf_append_block(&request, event);
    tap_send_bytes(tap, chassis_buf_view(&request));
    chassis_buf_fini(&request);
}

static void send_event(struct tap *tap, unsigned n, const char *source, const char *data)
{
    struct chassis_buf event = {0};
    rig_event(&event, n, source, NULL, data);
    send_raw(tap, chassis_buf_view(&event));
    chassis_buf_fini(&event);
}

static ACTORS(ProduceResponse) * response(struct tap *tap, size_t i, struct chassis_arena *arena)
{
    ACTORS(ProduceResponse) *res = NULL;
    pthread_mutex_lock(&tap->lock);
    assert_int_equal(core__message_broker__actors__v1__produce_response__decode(
                         chassis_buf_view(&tap->messages[i]), arena, &res, NULL),
                     0);
    pthread_mutex_unlock(&tap->lock);
    return res;
}

/* Answers i … of events numbered from `first`, all stored. */
static void expect_stored(struct tap *tap, size_t i, unsigned first, unsigned n)
{
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    tap_wait(tap, i + n);
    for (unsigned k = 0; k < n; k++) {
        char id[16];
        snprintf(id, sizeof id, "%u", first + k);
        const ACTORS(ProduceResponse) *res = response(tap, i + k, &arena);
        assert_string_equal(res->id, id);
        assert_null(res->refusal);
    }
    chassis_arena_fini(&arena);
}

/* The ids a stream holds, read page by page; how many. */
static size_t stored_ids(struct rig *rig, const char *stream, bool rising)
{
    struct chassis_arena arena;
    EV(Start) start = EV_INIT(START);
    EV(ReadRequest) req = EV_INIT(READ_REQUEST);
    size_t n = 0;
    unsigned last = 0;
    start.at_case = DRAFT__EVENTS__V1__START__AT_SEQUENCE;
    start.sequence = 1;
    req.stream = (char *)(uintptr_t)stream;
    req.start = &start;
    req.limit = 1000;
    for (;;) {
        chassis_arena_init(&arena, NULL, 0, 0);
        const EV(ReadResponse) *res =
            rig_call(rig, &events_event_service_read_method, &req, 0, &arena, NULL);
        size_t got = res->n_deliveries;
        for (size_t i = 0; i < got; i++) {
            unsigned id = (unsigned)atoi(res->deliveries[i]->event->id);
            assert_true(!rising || id > last);
            last = id;
        }
        n += got;
        start.sequence = res->next_sequence;
        chassis_arena_fini(&arena);
        if (got == 0) {
            return n;
        }
    }
}

static void every_event_is_answered_by_its_id_in_order(void **state)
{
    enum { N = 20000 };
    struct rig *rig = *state;
    struct tap tap;
    tap_open(rig, &tap, &actors_producer_produce_method);
    for (unsigned i = 1; i <= N; i++) {
        send_event(&tap, i, NULL, "some data");
    }
    expect_stored(&tap, 0, 1, N);
    assert_int_equal(tap_end(&tap), 0);
    assert_int_equal(stored_ids(rig, "default", true), N);
}

static void a_bad_event_is_refused_by_rule_and_the_stream_goes_on(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    struct chassis_arena arena;
    struct chassis_buf event = {0};
    chassis_arena_init(&arena, NULL, 0, 0);
    tap_open(rig, &tap, &actors_producer_produce_method);
    send_event(&tap, 1, NULL, NULL);
    rig_event(&event, 2, NULL, NULL, NULL);
    cat_build_attribute(&event, chassis_view_str("Not-A-Name"),
                        &(struct cat_value){.type = CAT_STRING, .text = chassis_view_str("x")});
    send_raw(&tap, chassis_buf_view(&event));
    send_raw(&tap, chassis_view("\xff\xff\xff", 3));
    tap_send_bytes(&tap, chassis_view(NULL, 0));       /* no event at all */
    tap_send_bytes(&tap, chassis_view("\x0a\x7f", 2)); /* no ProduceRequest */
    send_event(&tap, 3, NULL, NULL);
    tap_wait(&tap, 6);
    assert_string_equal(response(&tap, 0, &arena)->id, "1");
    static const struct {
        const char *id, *text;
    } refused[] = {{"2", "rule 'attribute-name'"},
                   {"", "rule 'wire-format'"},
                   {"", "field 'message' stands in the request 0 times"},
                   {"", "rule 'wire-format'"}};
    for (unsigned i = 0; i < 4; i++) {
        const ACTORS(ProduceResponse) *res = response(&tap, i + 1, &arena);
        assert_string_equal(res->id, ""); /* so that nobody takes it for an acknowledgement */
        assert_non_null(res->refusal);
        assert_string_equal(res->refusal->id, refused[i].id);
        assert_int_equal(res->refusal->code, 3);
        assert_non_null(strstr(res->refusal->text, refused[i].text));
    }
    assert_string_equal(response(&tap, 5, &arena)->id, "3");
    assert_int_equal(tap_end(&tap), 0);
    assert_int_equal(stored_ids(rig, "default", true), 2);
    chassis_buf_fini(&event);
    chassis_arena_fini(&arena);
}

/* However many are gathered on their way: each is refused for its own size. */
static void an_event_too_large_for_its_stream_is_refused_in_its_place(void **state)
{
    enum { N = 300 };
    struct rig *rig = *state;
    struct tap tap;
    struct chassis_arena arena;
    char name[] = "small", source[] = "/small", data[N + 1], expected[64];
    EV(Selection) selection = EV_INIT(SELECTION);
    EV(Selection) * takes[] = {&selection};
    EV(StreamConfig) config = EV_INIT(STREAM_CONFIG);
    EV(CreateStreamRequest) req = EV_INIT(CREATE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    selection.source = source;
    config.name = name;
    config.takes = takes;
    config.n_takes = 1;
    config.event_bytes_max = 200;
    req.config = &config;
    rig_call(rig, &events_stream_service_create_method, &req, 0, &arena, NULL);
    memset(data, 'x', N);
    tap_open(rig, &tap, &actors_producer_produce_method);
    for (unsigned i = 1; i <= N; i++) { /* every third is too large, none like another */
        data[i] = '\0';
        send_event(&tap, i, i % 3 == 0 ? "/small" : "/else", data);
        data[i] = 'x';
    }
    tap_wait(&tap, N);
    unsigned refusals = 0;
    for (unsigned i = 1; i <= N; i++) {
        const ACTORS(ProduceResponse) *res = response(&tap, i - 1, &arena);
        struct chassis_buf event = {0};
        data[i] = '\0';
        rig_event(&event, i, i % 3 == 0 ? "/small" : "/else", NULL, data);
        data[i] = 'x';
        assert_int_equal(res->refusal != NULL, i % 3 == 0 && event.len > 200);
        if (res->refusal != NULL) {
            snprintf(expected, sizeof expected, "event_bytes_max: %zu bytes, stream 'small'",
                     event.len);
            assert_int_equal(atoi(res->refusal->id), i);
            assert_int_equal(strncmp(res->refusal->text, expected, strlen(expected)), 0);
            refusals++;
        } else {
            assert_int_equal(atoi(res->id), i);
        }
        chassis_buf_fini(&event);
    }
    assert_in_range(refusals, 20, 90);
    assert_int_equal(tap_end(&tap), 0);
    chassis_arena_fini(&arena);
}

static void an_event_sent_again_is_acknowledged_and_stored_once(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    tap_open(rig, &tap, &actors_producer_produce_method);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 1; i <= 100; i++) {
            send_event(&tap, i, NULL, NULL);
        }
        expect_stored(&tap, (size_t)round * 100, 1, 100);
    }
    assert_int_equal(tap_end(&tap), 0);
    assert_int_equal(stored_ids(rig, "default", true), 100);
}

/* An event whose answer is long: its id is its number in 200 digits. */
static void long_id_request(struct chassis_buf *out, unsigned n)
{
    char id[201];
    struct chassis_buf event = {0};
    snprintf(id, sizeof id, "%0200u", n);
    struct cat_event_parts parts = {.id = chassis_view_str(id),
                                    .source = chassis_view_str("/test"),
                                    .type = chassis_view_str("test.type")};
    cat_event_build(&parts, &event);
    chassis_buf_clear(out);
    chassis_buf_append_byte(out, 1 << 3 | 2);
    chassis_buf_append_block(out, chassis_buf_view(&event));
    chassis_buf_fini(&event);
}

static void a_client_that_does_not_read_is_held_back_and_loses_nothing(void **state)
{
    enum { N = 100000 };
    struct rig *rig = *state;
    static struct tap tap; /* its callback may wait while the test fails */
    struct chassis_buf request = {0};
    unsigned sent = 0;
    tap_open(rig, &tap, &actors_producer_produce_method);
    tap_pause(&tap, true);
    for (unsigned refused = 0; refused < 500 && sent < N;) { /* half a second without room */
        long_id_request(&request, sent + 1);
        int rc = chassis_stream_send_bytes(tap.stream, chassis_buf_view(&request));
        sent += rc == 0;
        refused = rc == 0 ? 0 : refused + 1;
        if (rc != 0) {
            poll(NULL, 0, 1);
        }
    }
    tap_pause(&tap, false);
    assert_true(sent > 0 && sent < N); /* what the server takes in is bounded */
    tap_wait(&tap, sent);
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    for (unsigned i = 0; i < sent; i++) {
        const ACTORS(ProduceResponse) *res = response(&tap, i, &arena);
        assert_null(res->refusal);
        assert_int_equal(atoi(res->id + 180), i + 1);
    }
    chassis_arena_fini(&arena);
    assert_int_equal(tap_end(&tap), 0);
    chassis_buf_fini(&request);
}

static int setup_small(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig_init(rig);
    rig->publish_bytes_max = 20000;
    rig_open(rig);
    *state = rig;
    return 0;
}

static void a_busy_broker_makes_producers_wait_and_keeps_their_order(void **state)
{
    enum { N = 3000, PRODUCERS = 3 };
    static const char *const sources[PRODUCERS] = {"/a", "/b", "/c"};
    struct rig *rig = *state;
    struct tap taps[PRODUCERS];
    for (unsigned p = 0; p < PRODUCERS; p++) {
        tap_open(rig, &taps[p], &actors_producer_produce_method);
    }
    for (unsigned i = 1; i <= N; i++) {
        for (unsigned p = 0; p < PRODUCERS; p++) {
            send_event(&taps[p], i, sources[p], "a bit of data");
        }
    }
    for (unsigned p = 0; p < PRODUCERS; p++) {
        expect_stored(&taps[p], 0, 1, N);
        assert_int_equal(tap_end(&taps[p]), 0);
    }
    struct tap tap; /* in the stream the events of each stand in the order they were sent */
    EV(Start) start = EV_INIT(START);
    EV(SubscribeRequest) req = EV_INIT(SUBSCRIBE_REQUEST);
    start.at_case = DRAFT__EVENTS__V1__START__AT_EARLIEST;
    start.earliest = true;
    req.start = &start;
    req.credit = N * PRODUCERS + 1;
    req.until_end = true;
    tap_open_ending(rig, &tap, &events_event_service_subscribe_method);
    tap_send(&tap, &req);
    tap_wait_closed(&tap);
    unsigned last[PRODUCERS] = {0}, total = 0;
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    for (size_t i = 0; i < tap.n; i++) {
        EV(SubscribeResponse) *res = NULL;
        assert_int_equal(draft__events__v1__subscribe_response__decode(
                             chassis_buf_view(&tap.messages[i]), &arena, &res, NULL),
                         0);
        for (size_t j = 0; j < res->n_deliveries; j++, total++) {
            const ACTORS(CloudEvent) *e = res->deliveries[j]->event;
            unsigned p = (unsigned)(e->source[1] - 'a'), id = (unsigned)atoi(e->id);
            assert_int_equal(id, last[p] + 1);
            last[p] = id;
        }
    }
    assert_int_equal(total, N * PRODUCERS);
    chassis_arena_fini(&arena);
    assert_int_equal(tap_closed(&tap), 0);
}

static void what_was_answered_is_there_after_a_restart(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    tap_open(rig, &tap, &actors_producer_produce_method);
    for (unsigned i = 1; i <= 500; i++) {
        send_event(&tap, i, NULL, NULL);
    }
    expect_stored(&tap, 0, 1, 500);
    assert_int_equal(tap_end(&tap), 0);
    rig_close(rig);
    rig_open(rig);
    assert_int_equal(stored_ids(rig, "default", true), 500);
}

static void a_drain_answers_what_came_and_ends_the_stream(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    tap_open(rig, &tap, &actors_producer_produce_method);
    for (unsigned i = 1; i <= 100; i++) {
        send_event(&tap, i, NULL, NULL);
    }
    tap_wait(&tap, 100);
    rig_drain(rig);
    tap_end(&tap);
    assert_int_equal(tap.code, CHASSIS_UNAVAILABLE);
    assert_non_null(strstr(tap.text, "shutting down"));
    struct tap late;
    tap_open_ending(rig, &late, &actors_producer_produce_method);
    assert_int_equal(tap_closed(&late), CHASSIS_UNAVAILABLE);
}

static void a_client_that_goes_away_in_the_middle_harms_nobody(void **state)
{
    struct rig *rig = *state;
    for (unsigned round = 0; round < 20; round++) {
        struct tap tap;
        tap_open(rig, &tap, &actors_producer_produce_method);
        for (unsigned i = 0; i < 50 * round; i++) {
            send_event(&tap, round * 1000 + i, NULL, NULL);
        }
        tap_cancel(&tap);
    }
    struct tap tap;
    tap_open(rig, &tap, &actors_producer_produce_method);
    send_event(&tap, 77, "/other", NULL);
    expect_stored(&tap, 0, 77, 1);
    assert_int_equal(tap_end(&tap), 0);
}

/* ---- batches ---- */

static void encode_request(struct chassis_buf *out, const char *stream, unsigned first, unsigned n,
                           unsigned request)
{
    struct chassis_buf batch = {0}, event = {0};
    for (unsigned i = 0; i < n; i++) {
        chassis_buf_clear(&event);
        rig_event(&event, first + i, first + i == 13 ? "not a uri %" : NULL, NULL, NULL);
        cat_batch_append(&batch, chassis_buf_view(&event));
    }
    chassis_buf_clear(out);
    chassis_buf_append_byte(out, 1 << 3 | 2);
    chassis_buf_append_block(out, chassis_view_str(stream));
    chassis_buf_append_byte(out, 2 << 3 | 2);
    chassis_buf_append_block(out, chassis_buf_view(&batch));
    chassis_buf_append_byte(out, 3 << 3);
    chassis_buf_append_varint(out, request);
    chassis_buf_fini(&batch);
    chassis_buf_fini(&event);
}

static EV(PublishResponse) *
    publish_response(struct tap *tap, size_t i, struct chassis_arena *arena)
{
    EV(PublishResponse) *res = NULL;
    tap_wait(tap, i + 1);
    pthread_mutex_lock(&tap->lock);
    assert_int_equal(draft__events__v1__publish_response__decode(
                         chassis_buf_view(&tap->messages[i]), arena, &res, NULL),
                     0);
    pthread_mutex_unlock(&tap->lock);
    return res;
}

static void batches_are_answered_one_by_one_in_order(void **state)
{
    enum { N = 300 };
    struct rig *rig = *state;
    struct tap tap;
    struct chassis_buf request = {0};
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "orders");
    tap_open(rig, &tap, &events_event_service_publish_stream_method);
    for (unsigned i = 0; i < N; i++) {
        encode_request(&request, i == 100 ? "nowhere" : "orders", i * 10 + 1, 10, 1000 + i);
        tap_send_bytes(&tap, chassis_buf_view(&request));
    }
    tap_send_bytes(&tap, chassis_view("\x0a\x7f", 2));
    for (unsigned i = 0; i < N; i++) {
        const EV(PublishResponse) *res = publish_response(&tap, i, &arena);
        assert_int_equal(res->request, 1000 + i);
        assert_int_equal(res->n_refusals, i == 1 ? 1 : i == 100 ? 10 : 0);
        assert_int_equal(res->accepted, 10 - res->n_refusals);
        if (i == 1) {
            assert_int_equal(res->refusals[0]->index, 2);
            assert_string_equal(res->refusals[0]->id, "13");
            assert_non_null(strstr(res->refusals[0]->text, "rule 'source-uri-reference'"));
        }
        if (i == 100) {
            assert_int_equal(res->refusals[9]->code, 5);
            assert_non_null(strstr(res->refusals[9]->text, "nowhere"));
        }
    }
    const EV(PublishResponse) *res = publish_response(&tap, N, &arena);
    assert_int_equal(res->n_refusals, 1);
    assert_non_null(strstr(res->refusals[0]->text, "no PublishRequest"));
    assert_int_equal(tap_end(&tap), 0);
    assert_int_equal(stored_ids(rig, "orders", true), 10 * N - 11);
    chassis_buf_fini(&request);
    chassis_arena_fini(&arena);
}

static void a_publish_that_cannot_be_is_refused_by_what_is_wrong(void **state)
{
    struct rig *rig = *state;
    struct chassis_arena arena;
    struct chassis_error err;
    EV(PublishRequest) req = EV_INIT(PUBLISH_REQUEST);
    ACTORS(CloudEventBatch) batch = ACTORS_INIT(CLOUD_EVENT_BATCH);
    ACTORS(CloudEvent) event = ACTORS_INIT(CLOUD_EVENT);
    ACTORS(CloudEvent) **many = calloc(10001, sizeof *many);
    char id[] = "1", source[] = "/s", version[] = "1.0", type[] = "t", nowhere[] = "nowhere";
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_call(rig, &events_event_service_publish_method, &req, CHASSIS_INVALID_ARGUMENT, &arena,
             &err);
    assert_non_null(strstr(err.text, "'batch.events' has 0 events"));
    event.id = id;
    event.source = source;
    event.spec_version = version;
    event.type = type;
    for (unsigned i = 0; i < 10001; i++) {
        many[i] = &event;
    }
    batch.events = many;
    batch.n_events = 10001;
    req.batch = &batch;
    rig_call(rig, &events_event_service_publish_method, &req, CHASSIS_INVALID_ARGUMENT, &arena,
             &err);
    assert_non_null(strstr(err.text, "10001 events, must have 1 to 10000"));
    batch.n_events = 1;
    req.stream = nowhere;
    rig_call(rig, &events_event_service_publish_method, &req, CHASSIS_NOT_FOUND, &arena, &err);
    assert_non_null(strstr(err.text, "nowhere"));
    free(many);
    chassis_arena_fini(&arena);
}

/* As if others had all of it under way. */
static void without_memory_batches_are_refused_and_streams_go_on_slowly(void **state)
{
    enum { N = 3000 };
    struct rig *rig = *state;
    struct tap tap;
    struct chassis_arena arena;
    struct chassis_error err;
    EV(PublishRequest) req = EV_INIT(PUBLISH_REQUEST);
    ACTORS(CloudEventBatch) batch = ACTORS_INIT(CLOUD_EVENT_BATCH);
    ACTORS(CloudEvent) event = ACTORS_INIT(CLOUD_EVENT);
    ACTORS(CloudEvent) * list[] = {&event};
    batch.events = list;
    batch.n_events = 1;
    req.batch = &batch;
    chassis_arena_init(&arena, NULL, 0, 0);
    atomic_fetch_add(&rig->views.intake_memory, CAT_INTAKE_MEMORY_MAX);
    rig_call(rig, &events_event_service_publish_method, &req, CHASSIS_RESOURCE_EXHAUSTED, &arena,
             &err);
    assert_non_null(strstr(err.text, "try again later"));
    tap_open(rig, &tap, &actors_producer_produce_method);
    for (unsigned i = 1; i <= N; i++) {
        send_event(&tap, i, NULL, "some data");
    }
    expect_stored(&tap, 0, 1, N);
    assert_int_equal(tap_end(&tap), 0);
    atomic_fetch_sub(&rig->views.intake_memory, CAT_INTAKE_MEMORY_MAX);
    chassis_arena_fini(&arena);
}

#define TEST_OF(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(every_event_is_answered_by_its_id_in_order),
        TEST_OF(a_bad_event_is_refused_by_rule_and_the_stream_goes_on),
        TEST_OF(an_event_too_large_for_its_stream_is_refused_in_its_place),
        TEST_OF(an_event_sent_again_is_acknowledged_and_stored_once),
        TEST_OF(a_client_that_does_not_read_is_held_back_and_loses_nothing),
        cmocka_unit_test_setup_teardown(a_busy_broker_makes_producers_wait_and_keeps_their_order,
                                        setup_small, rig_teardown),
        TEST_OF(what_was_answered_is_there_after_a_restart),
        TEST_OF(a_drain_answers_what_came_and_ends_the_stream),
        TEST_OF(a_client_that_goes_away_in_the_middle_harms_nobody),
        TEST_OF(batches_are_answered_one_by_one_in_order),
        TEST_OF(a_publish_that_cannot_be_is_refused_by_what_is_wrong),
        TEST_OF(without_memory_batches_are_refused_and_streams_go_on_slowly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
