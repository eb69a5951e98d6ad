/* Events going out by gRPC: Subscribe, Read, Consume. */
#include "rig.h"

#include <time.h>

#include "base/bytes.h"
#include "catalyst/event/build.h"

/* What a Subscribe begins with; the pointers are borrowed. */
struct ask {
    EV(Start) start;
    EV(SubscribeRequest) req;
};

static void ask_init(struct ask *ask, const char *stream, uint64_t credit)
{
    ask->start = (EV(Start))EV_INIT(START);
    ask->start.at_case = DRAFT__EVENTS__V1__START__AT_EARLIEST;
    ask->start.earliest = true;
    ask->req = (EV(SubscribeRequest))EV_INIT(SUBSCRIBE_REQUEST);
    ask->req.stream = (char *)(uintptr_t)stream;
    ask->req.start = &ask->start;
    ask->req.credit = credit;
}

static void ask_from(struct ask *ask, uint64_t sequence)
{
    ask->start.at_case = DRAFT__EVENTS__V1__START__AT_SEQUENCE;
    ask->start.sequence = sequence;
}

static void subscribe(struct rig *rig, struct tap *tap, const struct ask *ask)
{
    tap_open(rig, tap, &events_event_service_subscribe_method);
    tap_send(tap, &ask->req);
}

static void give_credit(struct tap *tap, uint64_t credit)
{
    EV(SubscribeRequest) more = EV_INIT(SUBSCRIBE_REQUEST);
    more.credit = credit;
    tap_send(tap, &more);
}

static EV(SubscribeResponse) * message(struct tap *tap, size_t i, struct chassis_arena *arena)
{
    EV(SubscribeResponse) *res = NULL;
    pthread_mutex_lock(&tap->lock);
    assert_int_equal(draft__events__v1__subscribe_response__decode(
                         chassis_buf_view(&tap->messages[i]), arena, &res, NULL),
                     0);
    pthread_mutex_unlock(&tap->lock);
    return res;
}

static void expect_ids(struct tap *tap, const char *ids)
{
    char *got = tap_ids(tap);
    assert_string_equal(got, ids);
    free(got);
}

static void wait_deliveries(struct tap *tap, size_t n)
{
    test_wait_until(tap_deliveries(tap) >= n);
    assert_int_equal(tap_deliveries(tap), n);
}

/* ---- Subscribe ---- */

static void no_more_is_sent_than_there_is_credit_for(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    struct ask ask;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 20);
    ask_init(&ask, "s", 3);
    subscribe(rig, &tap, &ask);
    wait_deliveries(&tap, 3);
    rig_publish(rig, "s", 21, 1); /* nothing comes of it */
    give_credit(&tap, 2);
    wait_deliveries(&tap, 5);
    expect_ids(&tap, "1 2 3 4 5 ");
    give_credit(&tap, 100);
    wait_deliveries(&tap, 21);
    rig_publish(rig, "s", 22, 2); /* as they are stored */
    wait_deliveries(&tap, 23);
    tap_cancel(&tap);
}

static void batches_are_no_larger_than_asked_for(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    struct ask ask;
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 1000);
    ask_init(&ask, "s", 1000);
    ask.req.batch_max = 7;
    ask.req.until_end = true;
    tap_open_ending(rig, &tap, &events_event_service_subscribe_method);
    tap_send(&tap, &ask.req);
    tap_wait_closed(&tap);
    uint64_t sequence = 0;
    for (size_t i = 0; i < tap.n; i++) {
        const EV(SubscribeResponse) *res = message(&tap, i, &arena);
        assert_true(res->n_deliveries <= 7);
        for (size_t j = 0; j < res->n_deliveries; j++) {
            assert_int_equal(res->deliveries[j]->sequence, ++sequence);
            assert_true(res->deliveries[j]->time_ns != 0);
        }
        assert_int_equal(res->next_sequence, sequence + 1);
    }
    assert_int_equal(sequence, 1000);
    assert_int_equal(tap_closed(&tap), 0);
    chassis_arena_fini(&arena);
}

static void it_begins_where_it_is_told_to(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    struct ask ask;
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 5);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    rig_publish(rig, "s", 6, 5);

    ask_init(&ask, "s", 100);
    ask_from(&ask, 9);
    subscribe(rig, &tap, &ask);
    wait_deliveries(&tap, 2);
    expect_ids(&tap, "9 10 ");
    tap_cancel(&tap);

    ask.start.at_case = DRAFT__EVENTS__V1__START__AT_TIME_NS;
    ask.start.time_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    subscribe(rig, &tap, &ask);
    wait_deliveries(&tap, 5);
    expect_ids(&tap, "6 7 8 9 10 ");
    tap_cancel(&tap);

    ask.req.start = NULL;
    ask.req.progress_ms = 20;
    subscribe(rig, &tap, &ask);
    tap_wait(&tap, 1); /* it is there when it says where */
    assert_int_equal(message(&tap, 0, &arena)->next_sequence, 11);
    rig_publish(rig, "s", 11, 1);
    test_wait_until(tap_deliveries(&tap) == 1);
    expect_ids(&tap, "11 ");
    tap_cancel(&tap);
    chassis_arena_fini(&arena);
}

static void until_end_ends_also_when_there_is_nothing(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    struct ask ask;
    rig_stream(rig, "s");
    for (unsigned round = 0; round < 3; round++) {
        ask_init(&ask, "s", 100);
        ask.req.until_end = true;
        if (round == 2) {
            ask.req.start = NULL; /* from now on: nothing of what is there */
        }
        tap_open_ending(rig, &tap, &events_event_service_subscribe_method);
        tap_send(&tap, &ask.req);
        tap_wait_closed(&tap);
        assert_int_equal(tap_deliveries(&tap), round == 1 ? 10 : 0);
        assert_int_equal(tap_closed(&tap), 0);
        if (round == 0) {
            rig_publish(rig, "s", 1, 10);
        }
    }
}

static void only_what_the_filters_let_through_comes(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    struct ask ask;
    char sql[] = "INT(id) % 3 = 0", key[] = "type", value[] = "test.";
    EV(Filter) by_sql = EV_INIT(FILTER), by_prefix = EV_INIT(FILTER);
    EV(Filter__Attributes) attributes = EV_INIT(FILTER__ATTRIBUTES);
    EV(Filter__Attributes__ValuesEntry) entry = EV_INIT(FILTER__ATTRIBUTES__VALUES_ENTRY);
    EV(Filter__Attributes__ValuesEntry) * entries[] = {&entry};
    EV(Filter) * filters[] = {&by_sql, &by_prefix};
    by_sql.dialect_case = DRAFT__EVENTS__V1__FILTER__DIALECT_SQL;
    by_sql.sql = sql;
    entry.key = key;
    entry.value = value;
    attributes.n_values = 1;
    attributes.values = entries;
    by_prefix.dialect_case = DRAFT__EVENTS__V1__FILTER__DIALECT_PREFIX;
    by_prefix.prefix = &attributes;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    ask_init(&ask, "s", 100);
    ask.req.filters = filters;
    ask.req.n_filters = 2;
    subscribe(rig, &tap, &ask);
    wait_deliveries(&tap, 3);
    expect_ids(&tap, "3 6 9 ");
    tap_cancel(&tap);
}

static void events_that_are_gone_are_told_of(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    struct ask ask;
    struct chassis_arena arena;
    char name[] = "s";
    EV(PurgeStreamRequest) purge = EV_INIT(PURGE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    purge.name = name;
    purge.keep_from_sequence = 8;
    const EV(PurgeStreamResponse) *purged =
        rig_call(rig, &events_stream_service_purge_method, &purge, 0, &arena, NULL);
    assert_int_equal(purged->purged, 7);
    assert_int_equal(purged->stream->first_sequence, 8);
    ask_init(&ask, "s", 100);
    ask_from(&ask, 3);
    subscribe(rig, &tap, &ask);
    wait_deliveries(&tap, 3);
    expect_ids(&tap, "8 9 10 ");
    const EV(SubscribeResponse) *first = message(&tap, 0, &arena);
    assert_non_null(first->gap);
    assert_int_equal(first->gap->from_sequence, 3);
    assert_int_equal(first->gap->to_sequence, 8);
    assert_int_equal(first->n_deliveries, 0);
    tap_cancel(&tap);
    chassis_arena_fini(&arena);
}

static int setup_small_queue(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig_init(rig);
    rig->queue_bytes_max = 64 * 1024;
    rig_open(rig);
    *state = rig;
    return 0;
}

static void a_slow_consumer_gets_all_and_holds_up_nobody(void **state)
{
    enum { N = 30000 };
    struct rig *rig = *state;
    static struct tap slow;
    struct tap fast;
    struct ask ask;
    rig_stream(rig, "s");
    ask_init(&ask, "s", N);
    subscribe(rig, &slow, &ask);
    tap_pause(&slow, true);
    for (unsigned i = 0; i < N / 1000; i++) {
        rig_publish(rig, "s", i * 1000 + 1, 1000);
    }
    /* Its callback stands still, and with it everything else of that client: another one reads. */
    struct chassis_client *own = rig->client;
    rig_new_client(rig);
    subscribe(rig, &fast, &ask);
    wait_deliveries(&fast, N);
    tap_cancel(&fast);
    rig_free_client(rig, own);
    tap_pause(&slow, false);
    wait_deliveries(&slow, N);
    unsigned last = 0;
    char *ids = tap_ids(&slow);
    for (char *at = ids; *at != '\0';) {
        assert_int_equal(strtoul(at, &at, 10), ++last);
        at++;
    }
    free(ids);
    tap_cancel(&slow);
}

static void a_subscription_ends_with_its_stream_and_with_the_service(void **state)
{
    struct rig *rig = *state;
    struct tap gone, drained;
    struct ask ask;
    char name[] = "s";
    struct chassis_arena arena;
    EV(DeleteStreamRequest) delete = EV_INIT(DELETE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 1);
    ask_init(&ask, "s", 10);
    tap_open_ending(rig, &gone, &events_event_service_subscribe_method);
    tap_send(&gone, &ask.req);
    tap_wait(&gone, 1);
    delete.name = name;
    rig_call(rig, &events_stream_service_delete_method, &delete, 0, &arena, NULL);
    assert_int_equal(tap_closed(&gone), CHASSIS_NOT_FOUND);
    chassis_arena_fini(&arena);

    rig_publish(rig, "default", 1, 1);
    ask_init(&ask, "", 10);
    tap_open_ending(rig, &drained, &events_event_service_subscribe_method);
    tap_send(&drained, &ask.req);
    tap_wait(&drained, 1);
    rig_drain(rig);
    assert_int_equal(tap_closed(&drained), CHASSIS_UNAVAILABLE);
}

static void half_closing_means_that_no_more_credit_comes(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    struct ask ask;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    ask_init(&ask, "s", 4);
    subscribe(rig, &tap, &ask);
    chassis_stream_half_close(tap.stream);
    tap_wait_closed(&tap);
    expect_ids(&tap, "1 2 3 4 ");
    assert_int_equal(tap_closed(&tap), 0);
}

static void what_cannot_be_is_refused_by_field(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    struct ask ask;
    struct {
        const char *text;
        int code;
    } expected[] = {{"'batch_max' is 10001, the limit is 10000", CHASSIS_INVALID_ARGUMENT},
                    {"'progress_ms' is 1", CHASSIS_INVALID_ARGUMENT},
                    {"'start.sequence' is 0", CHASSIS_INVALID_ARGUMENT},
                    {"nowhere", CHASSIS_NOT_FOUND},
                    {"field 'filters': ", CHASSIS_INVALID_ARGUMENT}};
    char sql[] = "1 +";
    EV(Filter) filter = EV_INIT(FILTER);
    EV(Filter) * filters[] = {&filter};
    filter.dialect_case = DRAFT__EVENTS__V1__FILTER__DIALECT_SQL;
    filter.sql = sql;
    for (unsigned i = 0; i < 5; i++) {
        ask_init(&ask, i == 3 ? "nowhere" : "", 10);
        ask.req.batch_max = i == 0 ? 10001 : 0;
        ask.req.progress_ms = i == 1 ? 1 : 0;
        if (i == 2) {
            ask_from(&ask, 0);
        }
        ask.req.n_filters = i == 4 ? 1 : 0;
        ask.req.filters = filters;
        tap_open_ending(rig, &tap, &events_event_service_subscribe_method);
        tap_send(&tap, &ask.req);
        tap_wait_closed(&tap);
        if (tap.code != expected[i].code || strstr(tap.text, expected[i].text) == NULL) {
            fail_msg("%u: %d %s", i, tap.code, tap.text);
        }
        tap_closed(&tap);
    }
    ask_init(&ask, "", 10);
    subscribe(rig, &tap, &ask);
    tap_send(&tap, &ask.req); /* twice */
    tap_end(&tap);
    assert_int_equal(tap.code, CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(tap.text, "only field 'credit'"));
}

/* ---- Read ---- */

static void read_gives_pages(void **state)
{
    struct rig *rig = *state;
    struct chassis_arena arena;
    char name[] = "s";
    struct ask ask;
    EV(ReadRequest) req = EV_INIT(READ_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "s");
    ask_init(&ask, "s", 0);
    req.stream = name;
    req.start = &ask.start;
    const EV(ReadResponse) *res =
        rig_call(rig, &events_event_service_read_method, &req, 0, &arena, NULL);
    assert_int_equal(res->n_deliveries, 0);
    assert_int_equal(res->next_sequence, 1);
    rig_publish(rig, "s", 1, 250);
    uint64_t expected[] = {101, 201, 251, 251};
    for (unsigned page = 0; page < 4; page++) {
        res = rig_call(rig, &events_event_service_read_method, &req, 0, &arena, NULL);
        assert_int_equal(res->next_sequence, expected[page]);
        ask_from(&ask, res->next_sequence);
    }
    assert_int_equal(res->n_deliveries, 0);
    struct chassis_error err;
    req.limit = 1001;
    rig_call(rig, &events_event_service_read_method, &req, CHASSIS_INVALID_ARGUMENT, &arena, &err);
    assert_non_null(strstr(err.text, "'limit' is 1001, the limit is 1000"));
    chassis_arena_fini(&arena);
}

/* ---- Consume ---- */

#define VALUE_STRING                                                                               \
    CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_STRING

struct wish {
    ACTORS(CloudEvent__CloudEventAttributeValue) values[8];
    ACTORS(CloudEvent__AttributesEntry) entries[8], *list[8];
    ACTORS(CloudEvent) event;
    ACTORS(ConsumeRequest) req;
};

/* `options`: name, value, …, NULL. */
static void wish_init(struct wish *t, const char *source, const char *type,
                      const char *const *options)
{
    core__message_broker__actors__v1__cloud_event__init(&t->event);
    core__message_broker__actors__v1__consume_request__init(&t->req);
    t->event.source = (char *)(uintptr_t)source;
    t->event.type = (char *)(uintptr_t)type;
    t->event.attributes = t->list;
    for (size_t i = 0; options != NULL && options[2 * i] != NULL; i++) {
        core__message_broker__actors__v1__cloud_event__cloud_event_attribute_value__init(
            &t->values[i]);
        t->values[i].attr_case = VALUE_STRING;
        t->values[i].ce_string = (char *)(uintptr_t)options[2 * i + 1];
        core__message_broker__actors__v1__cloud_event__attributes_entry__init(&t->entries[i]);
        t->entries[i].key = (char *)(uintptr_t)options[2 * i];
        t->entries[i].value = &t->values[i];
        t->list[i] = &t->entries[i];
        t->event.n_attributes = i + 1;
    }
    t->req.message = &t->event;
}

static void consume(struct rig *rig, struct tap *tap, const char *source, const char *type,
                    const char *const *options)
{
    struct wish t;
    wish_init(&t, source, type, options);
    /* Not one that the server ends: its refusal may come before the half-close. */
    tap_open(rig, tap, &actors_consumer_consume_method);
    tap_send(tap, &t.req);
    chassis_stream_half_close(tap->stream);
}

static void expect_consumed(struct tap *tap, const char *ids)
{
    struct chassis_arena arena;
    struct chassis_buf out = {0};
    chassis_arena_init(&arena, NULL, 0, 0);
    chassis_buf_append_str(&out, "");
    pthread_mutex_lock(&tap->lock);
    for (size_t i = 0; i < tap->n; i++) {
        ACTORS(ConsumeResponse) *res = NULL;
        assert_int_equal(core__message_broker__actors__v1__consume_response__decode(
                             chassis_buf_view(&tap->messages[i]), &arena, &res, NULL),
                         0);
        chassis_buf_printf(&out, "%s ", res->message->id);
    }
    pthread_mutex_unlock(&tap->lock);
    assert_string_equal((const char *)out.data, ids);
    chassis_buf_fini(&out);
    chassis_arena_fini(&arena);
}

static void publish_one(struct rig *rig, const char *stream, unsigned n, const char *source,
                        const char *type)
{
    struct chassis_arena arena;
    struct chassis_buf event = {0}, batch = {0};
    EV(PublishRequest) req = EV_INIT(PUBLISH_REQUEST);
    ACTORS(CloudEventBatch) *decoded = NULL;
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_event(&event, n, source, type, "data");
    cat_batch_append(&batch, chassis_buf_view(&event));
    assert_int_equal(core__message_broker__actors__v1__cloud_event_batch__decode(
                         chassis_buf_view(&batch), &arena, &decoded, NULL),
                     0);
    req.stream = (char *)(uintptr_t)stream;
    req.batch = decoded;
    const EV(PublishResponse) *res =
        rig_call(rig, &events_event_service_publish_method, &req, 0, &arena, NULL);
    assert_int_equal(res->accepted, 1);
    chassis_buf_fini(&event);
    chassis_buf_fini(&batch);
    chassis_arena_fini(&arena);
}

/* Consumers of everything say nothing when they are there: events until one arrives. */
static void wait_consumers(struct rig *rig, struct tap *taps, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        for (unsigned id = 1; taps[i].n == 0 && id < 10000; id++) {
            publish_one(rig, "", 100000 + id, "/ready", "ready");
            poll(NULL, 0, 1);
        }
        tap_wait(&taps[i], 1);
    }
}

static void every_consumer_gets_every_new_event_of_all_streams(void **state)
{
    enum { N = 10 };
    struct rig *rig = *state;
    struct tap taps[N];
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 5); /* before: not for them */
    for (unsigned i = 0; i < N; i++) {
        consume(rig, &taps[i], i % 2 == 0 ? "" : "*", "", NULL);
    }
    wait_consumers(rig, taps, N);
    publish_one(rig, "s", 6, "/a", "x");
    publish_one(rig, "", 7, "/b", "y");
    for (unsigned i = 0; i < N; i++) {
        struct chassis_arena arena;
        ACTORS(ConsumeResponse) *res = NULL;
        unsigned found = 0;
        chassis_arena_init(&arena, NULL, 0, 0);
        for (size_t at = 0; found < 2; at++) {
            tap_wait(&taps[i], at + 1);
            pthread_mutex_lock(&taps[i].lock);
            assert_int_equal(core__message_broker__actors__v1__consume_response__decode(
                                 chassis_buf_view(&taps[i].messages[at]), &arena, &res, NULL),
                             0);
            pthread_mutex_unlock(&taps[i].lock);
            if (strcmp(res->message->type, "ready") != 0) {
                assert_string_equal(res->message->id, found == 0 ? "6" : "7");
                found++;
            }
        }
        tap_cancel(&taps[i]);
        chassis_arena_fini(&arena);
    }
}

static void a_thousand_consumers_get_all_though_one_of_them_does_not_read(void **state)
{
    enum { N = 1000, EVENTS = 20 };
    static const char *const earliest[] = {"stream", "s", "start", "earliest", NULL};
    struct rig *rig = *state;
    static struct tap stuck;
    struct tap *taps = calloc(N, sizeof *taps);
    rig_stream(rig, "s");
    consume(rig, &stuck, "", "", earliest);
    tap_pause(&stuck, true);
    struct chassis_client *own = rig->client;
    rig_new_client(rig);
    for (unsigned i = 0; i < N; i++) {
        consume(rig, &taps[i], "", "", earliest);
    }
    for (unsigned i = 0; i < EVENTS; i++) {
        rig_publish(rig, "s", i + 1, 1);
    }
    for (unsigned i = 0; i < N; i++) {
        tap_wait(&taps[i], EVENTS);
    }
    for (unsigned i = 0; i < N; i++) {
        tap_cancel(&taps[i]);
    }
    free(taps);
    rig_free_client(rig, own);
    tap_pause(&stuck, false);
    tap_wait(&stuck, EVENTS);
    tap_cancel(&stuck);
}

static void the_template_selects(void **state)
{
    struct rig *rig = *state;
    struct tap by_pattern, by_sql, late;
    static const char *const earliest[] = {"stream", "s", "start", "earliest", NULL};
    static const char *const sql[] = {"stream",     "s", "startsequence", "2", "filtersql",
                                      "type = 'b'", NULL};
    static const char *const from_time[] = {"stream", "s", "start", "2020-01-01T00:00:00Z", NULL};
    rig_stream(rig, "s");
    publish_one(rig, "s", 1, "/shop/1", "b");
    publish_one(rig, "s", 2, "/shop/2", "a.created");
    publish_one(rig, "s", 3, "/store/1", "a.created");
    publish_one(rig, "s", 4, "/shop/1", "b");
    publish_one(rig, "s", 5, "/shop/1", "a.deleted");
    consume(rig, &by_pattern, "/shop/*", "a.>", earliest);
    consume(rig, &by_sql, "", "", sql);
    consume(rig, &late, "", "", from_time);
    tap_wait(&by_pattern, 2);
    expect_consumed(&by_pattern, "2 5 ");
    tap_wait(&by_sql, 1);
    expect_consumed(&by_sql, "4 ");
    tap_wait(&late, 5);
    expect_consumed(&late, "1 2 3 4 5 ");
    tap_cancel(&by_pattern);
    tap_cancel(&by_sql);
    tap_cancel(&late);
}

static void a_consumer_is_told_of_what_it_missed_with_the_next_event(void **state)
{
    struct rig *rig = *state;
    struct tap tap;
    struct chassis_arena arena;
    static const char *const third[] = {"stream", "s", "startsequence", "3", NULL};
    char name[] = "s";
    EV(PurgeStreamRequest) purge = EV_INIT(PURGE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    purge.name = name;
    purge.keep_from_sequence = 9;
    rig_call(rig, &events_stream_service_purge_method, &purge, 0, &arena, NULL);
    consume(rig, &tap, "", "", third);
    tap_wait(&tap, 2);
    expect_consumed(&tap, "9 10 ");
    for (unsigned i = 0; i < 2; i++) {
        ACTORS(ConsumeResponse) *res = NULL;
        assert_int_equal(core__message_broker__actors__v1__consume_response__decode(
                             chassis_buf_view(&tap.messages[i]), &arena, &res, NULL),
                         0);
        assert_int_equal(res->n_gaps, i == 0);
        if (i == 0) {
            assert_string_equal(res->gaps[0]->stream, "s");
            assert_int_equal(res->gaps[0]->from_sequence, 3);
            assert_int_equal(res->gaps[0]->to_sequence, 9);
        }
    }
    tap_cancel(&tap);
    chassis_arena_fini(&arena);
}

static void a_template_that_says_nonsense_is_refused_by_attribute(void **state)
{
    static const struct {
        const char *source;
        const char *options[6];
        const char *text;
    } cases[] = {
        {"", {"colour", "red"}, "attribute 'colour'"},
        {"", {"start", "earliest"}, "needs the attribute 'stream'"},
        {"", {"stream", "default", "start", "tomorrow"}, "attribute 'start'"},
        {"", {"stream", "default", "startsequence", "-3"}, "attribute 'startsequence'"},
        {"", {"filtersql", "1 +"}, "sql"},
        {"a.*b.c", {0}, "'source' of the template"},
    };
    struct rig *rig = *state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tap tap;
        consume(rig, &tap, cases[i].source, "", cases[i].options);
        tap_wait_closed(&tap);
        if (tap.code != CHASSIS_INVALID_ARGUMENT || strstr(tap.text, cases[i].text) == NULL) {
            fail_msg("%u: %d %s", i, tap.code, tap.text);
        }
        tap_closed(&tap);
    }
}

static void consumers_of_a_group_share_its_events(void **state)
{
    struct rig *rig = *state;
    struct tap taps[2];
    static const char *const group[] = {"stream", "s", "group", "g", "start", "earliest", NULL};
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 20);
    consume(rig, &taps[0], "", "", group);
    consume(rig, &taps[1], "", "", group);
    test_wait_until(taps[0].n + taps[1].n >= 20);
    rig_publish(rig, "s", 21, 20);
    test_wait_until(taps[0].n + taps[1].n >= 40);
    tap_cancel(&taps[0]);
    tap_cancel(&taps[1]);
}

#define TEST_OF(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(no_more_is_sent_than_there_is_credit_for),
        TEST_OF(batches_are_no_larger_than_asked_for),
        TEST_OF(it_begins_where_it_is_told_to),
        TEST_OF(until_end_ends_also_when_there_is_nothing),
        TEST_OF(only_what_the_filters_let_through_comes),
        TEST_OF(events_that_are_gone_are_told_of),
        cmocka_unit_test_setup_teardown(a_slow_consumer_gets_all_and_holds_up_nobody,
                                        setup_small_queue, rig_teardown),
        TEST_OF(a_subscription_ends_with_its_stream_and_with_the_service),
        TEST_OF(half_closing_means_that_no_more_credit_comes),
        TEST_OF(what_cannot_be_is_refused_by_field),
        TEST_OF(read_gives_pages),
        TEST_OF(every_consumer_gets_every_new_event_of_all_streams),
        TEST_OF(a_thousand_consumers_get_all_though_one_of_them_does_not_read),
        TEST_OF(the_template_selects),
        TEST_OF(a_consumer_is_told_of_what_it_missed_with_the_next_event),
        TEST_OF(a_template_that_says_nonsense_is_refused_by_attribute),
        TEST_OF(consumers_of_a_group_share_its_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
