/* Streams and groups as clients see them: StreamService, GroupService, Join, DeadLetterService. */
#include "rig.h"

#include <chassis/metrics.h>

#include "catalyst/broker/convert.h"

/* ---- streams ---- */

static void create(struct rig *rig, EV(StreamConfig) * config, int code, const char *text)
{
    struct chassis_arena arena;
    struct chassis_error err;
    EV(CreateStreamRequest) req = EV_INIT(CREATE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    req.config = config;
    rig_call(rig, &events_stream_service_create_method, &req, code, &arena, &err);
    if (strstr(err.text, text) == NULL) {
        fail_msg("'%s', expected '%s'", err.text, text);
    }
    chassis_arena_fini(&arena);
}

static void a_stream_is_described_as_it_was_asked_for(void **state)
{
    struct rig *rig = *state;
    struct chassis_arena arena;
    char name[] = "orders", type[] = "order.*", text[] = "all orders";
    EV(Selection) selection = EV_INIT(SELECTION);
    EV(Selection) * takes[] = {&selection};
    EV(StreamConfig) config = EV_INIT(STREAM_CONFIG);
    EV(GetStreamRequest) get = EV_INIT(GET_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    selection.type = type;
    config.name = name;
    config.takes = takes;
    config.n_takes = 1;
    config.events_max = 100;
    config.description = text;
    create(rig, &config, 0, "");
    create(rig, &config, 0, ""); /* the same again is fine */
    rig_publish(rig, "orders", 1, 7);
    get.name = name;
    const EV(GetStreamResponse) *res =
        rig_call(rig, &events_stream_service_get_method, &get, 0, &arena, NULL);
    const EV(Stream) *stream = res->stream;
    assert_string_equal(stream->config->name, "orders");
    assert_string_equal(stream->config->takes[0]->type, "order.*");
    assert_string_equal(stream->config->description, "all orders");
    assert_string_equal(stream->config->backend, "journal");
    assert_int_equal(stream->config->dedupe_ms, 120000);
    assert_int_equal(stream->config->event_bytes_max, 1 << 20);
    assert_int_equal(stream->first_sequence, 1);
    assert_int_equal(stream->last_sequence, 7);
    assert_int_equal(stream->events, 7);
    assert_true(stream->created_time_ns != 0 && stream->last_time_ns >= stream->first_time_ns);
    chassis_arena_fini(&arena);
}

static void a_wrong_configuration_is_refused_by_field(void **state)
{
    struct rig *rig = *state;
    char bad[] = "no spaces", good[] = "good", missing[] = "punchcards";
    EV(StreamConfig) config = EV_INIT(STREAM_CONFIG);
    create(rig, NULL, CHASSIS_INVALID_ARGUMENT, "'config'");
    config.name = bad;
    create(rig, &config, CHASSIS_INVALID_ARGUMENT, "name");
    config.name = good;
    config.event_bytes_max = (1 << 20) + 1;
    create(rig, &config, CHASSIS_INVALID_ARGUMENT, "1048576");
    config.event_bytes_max = 0;
    config.durability = (EV(Durability))9;
    create(rig, &config, CHASSIS_INVALID_ARGUMENT, "'durability' is 9");
    config.durability = DRAFT__EVENTS__V1__DURABILITY__DURABILITY_FSYNC;
    config.when_full = (EV(WhenFull))7;
    create(rig, &config, CHASSIS_INVALID_ARGUMENT, "'when_full' is 7");
    config.when_full = DRAFT__EVENTS__V1__WHEN_FULL__WHEN_FULL_DISCARD_OLD;
    config.backend = missing;
    create(rig, &config, CHASSIS_UNIMPLEMENTED, "punchcards");
}

static void a_stream_is_changed_while_it_is_used(void **state)
{
    struct rig *rig = *state;
    struct chassis_arena arena;
    struct chassis_error err;
    char name[] = "s", nowhere[] = "nowhere";
    EV(StreamConfig) config = EV_INIT(STREAM_CONFIG);
    EV(UpdateStreamRequest) req = EV_INIT(UPDATE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 100);
    config.name = name;
    config.events_max = 30;
    req.config = &config;
    const EV(UpdateStreamResponse) *res =
        rig_call(rig, &events_stream_service_update_method, &req, 0, &arena, NULL);
    assert_int_equal(res->stream->events, 30);
    assert_int_equal(res->stream->first_sequence, 71);
    assert_int_equal(res->stream->last_sequence, 100);
    assert_true(res->stream->rate > 0);
    config.durability = DRAFT__EVENTS__V1__DURABILITY__DURABILITY_MEMORY;
    rig_call(rig, &events_stream_service_update_method, &req, CHASSIS_FAILED_PRECONDITION, &arena,
             &err);
    assert_non_null(strstr(err.text, "durability"));
    config.durability = DRAFT__EVENTS__V1__DURABILITY__DURABILITY_FSYNC;
    config.name = nowhere;
    rig_call(rig, &events_stream_service_update_method, &req, CHASSIS_NOT_FOUND, &arena, &err);
    assert_non_null(strstr(err.text, "nowhere"));
    chassis_arena_fini(&arena);
}

static void streams_are_listed_page_by_page(void **state)
{
    struct rig *rig = *state;
    struct chassis_arena arena;
    char prefix[] = "p.", name[16];
    unsigned seen = 0;
    EV(ListStreamsRequest) req = EV_INIT(LIST_STREAMS_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    for (unsigned i = 0; i < 25; i++) {
        snprintf(name, sizeof name, "p.%02u", i);
        rig_stream(rig, name);
    }
    req.name_prefix = prefix;
    req.limit = 10;
    for (unsigned page = 0; page < 3; page++) {
        const EV(ListStreamsResponse) *res =
            rig_call(rig, &events_stream_service_list_method, &req, 0, &arena, NULL);
        for (size_t i = 0; i < res->n_streams; i++, seen++) {
            snprintf(name, sizeof name, "p.%02u", seen);
            assert_string_equal(res->streams[i]->config->name, name);
        }
        req.page_token = res->next_page_token;
        assert_int_equal(req.page_token[0] == '\0', page == 2);
    }
    assert_int_equal(seen, 25);
    chassis_arena_fini(&arena);
}

static void the_default_stream_stays(void **state)
{
    struct rig *rig = *state;
    struct chassis_arena arena;
    char name[] = "default";
    EV(DeleteStreamRequest) req = EV_INIT(DELETE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    req.name = name;
    rig_publish(rig, "default", 1, 1); /* it is there */
    rig_call(rig, &events_stream_service_delete_method, &req, CHASSIS_FAILED_PRECONDITION, &arena,
             NULL);
    chassis_arena_fini(&arena);
}

/* ---- groups ---- */

struct member {
    struct tap tap;
    EV(GroupConfig) config;
    EV(Start) start;
    EV(JoinRequest) first;
};

static void join(struct rig *rig, struct member *m, const char *stream, const char *group,
                 uint32_t credit)
{
    m->config = (EV(GroupConfig))EV_INIT(GROUP_CONFIG);
    m->start = (EV(Start))EV_INIT(START);
    m->first = (EV(JoinRequest))EV_INIT(JOIN_REQUEST);
    m->start.at_case = DRAFT__EVENTS__V1__START__AT_EARLIEST;
    m->start.earliest = true;
    m->config.start = &m->start;
    m->config.deliveries_max = 2;
    m->first.stream = (char *)(uintptr_t)stream;
    m->first.group = (char *)(uintptr_t)group;
    m->first.create = &m->config;
    m->first.credit = credit;
    tap_open(rig, &m->tap, &events_group_service_join_method);
    tap_send(&m->tap, &m->first);
}

static void answer(struct member *m, uint64_t sequence, EV(Answer__Kind) kind, bool through,
                   const char *reason)
{
    EV(JoinRequest) req = EV_INIT(JOIN_REQUEST);
    EV(Answer) a = EV_INIT(ANSWER);
    EV(Answer) * list[] = {&a};
    a.sequence = sequence;
    a.kind = kind;
    a.through = through;
    a.reason = (char *)(uintptr_t)reason;
    req.answers = list;
    req.n_answers = 1;
    tap_send(&m->tap, &req);
}

static EV(Group) *
    describe(struct rig *rig, const char *stream, const char *name, struct chassis_arena *arena)
{
    EV(GetGroupRequest) req = EV_INIT(GET_GROUP_REQUEST);
    req.stream = (char *)(uintptr_t)stream;
    req.name = (char *)(uintptr_t)name;
    EV(GetGroupResponse) *res =
        rig_call(rig, &events_group_service_get_method, &req, 0, arena, NULL);
    return res->group;
}

static void wait_floor(struct rig *rig, const char *stream, const char *group, uint64_t floor)
{
    struct chassis_arena arena;
    uint64_t at = 0;
    for (unsigned i = 0; i < 30000 && at < floor; i++) {
        chassis_arena_init(&arena, NULL, 0, 0);
        at = describe(rig, stream, group, &arena)->ack_floor;
        chassis_arena_fini(&arena);
        if (at < floor) {
            poll(NULL, 0, 1);
        }
    }
    assert_int_equal(at, floor);
}

#define ACK  DRAFT__EVENTS__V1__ANSWER__KIND__ACK
#define NACK DRAFT__EVENTS__V1__ANSWER__KIND__NACK
#define TERM DRAFT__EVENTS__V1__ANSWER__KIND__TERM

static void a_member_gets_events_and_answers_for_them(void **state)
{
    struct rig *rig = *state;
    struct member m;
    struct chassis_arena arena;
    EV(JoinResponse) *res = NULL;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    join(rig, &m, "s", "g", 4);
    test_wait_until(tap_deliveries(&m.tap) >= 4);
    char *ids = tap_ids(&m.tap);
    assert_string_equal(ids, "1 2 3 4 "); /* as much as the credit allows */
    free(ids);
    chassis_arena_init(&arena, NULL, 0, 0);
    assert_int_equal(draft__events__v1__join_response__decode(chassis_buf_view(&m.tap.messages[0]),
                                                              &arena, &res, NULL),
                     0);
    assert_int_equal(res->next_sequence, 1);
    answer(&m, 4, ACK, true, "");
    wait_floor(rig, "s", "g", 5);
    const EV(Group) *group = describe(rig, "s", "g", &arena);
    assert_int_equal(group->lag, 6);
    assert_int_equal(group->n_members, 1);
    assert_int_equal(group->config->deliveries_max, 2);
    EV(JoinRequest) more = EV_INIT(JOIN_REQUEST);
    more.credit = 100;
    tap_send(&m.tap, &more);
    test_wait_until(tap_deliveries(&m.tap) >= 10);
    answer(&m, 77, ACK, false, ""); /* never delivered */
    for (size_t i = 0;; i++) {
        tap_wait(&m.tap, i + 1);
        assert_int_equal(draft__events__v1__join_response__decode(
                             chassis_buf_view(&m.tap.messages[i]), &arena, &res, NULL),
                         0);
        if (res->n_stale != 0) {
            assert_int_equal(res->stale[0], 77);
            break;
        }
    }
    answer(&m, 10, ACK, true, "");
    wait_floor(rig, "s", "g", 11);
    assert_int_equal(tap_end(&m.tap), 0);
    chassis_arena_fini(&arena);
}

static void make_group(struct rig *rig, char *stream, char *name)
{
    struct chassis_arena arena;
    EV(GroupConfig) config = EV_INIT(GROUP_CONFIG);
    EV(Start) start = EV_INIT(START);
    EV(CreateGroupRequest) req = EV_INIT(CREATE_GROUP_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    start.at_case = DRAFT__EVENTS__V1__START__AT_EARLIEST;
    start.earliest = true;
    config.stream = stream;
    config.name = name;
    config.start = &start;
    req.config = &config;
    rig_call(rig, &events_group_service_create_method, &req, 0, &arena, NULL);
    chassis_arena_fini(&arena);
}

static void who_reads_a_stream_is_counted(void **state)
{
    struct rig *rig = *state;
    struct member members[3];
    struct tap tap;
    struct chassis_arena arena;
    char s[] = "s", idle[] = "idle";
    EV(GetStreamRequest) get = EV_INIT(GET_STREAM_REQUEST);
    EV(ListStreamsRequest) list = EV_INIT(LIST_STREAMS_REQUEST);
    EV(SubscribeRequest) subscribe = EV_INIT(SUBSCRIBE_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 1);
    make_group(rig, s, idle);
    join(rig, &members[0], "s", "g", 10);
    join(rig, &members[1], "s", "g", 10);
    join(rig, &members[2], "s", "h", 10);
    for (unsigned i = 0; i < 3; i++) {
        tap_wait(&members[i].tap, 1); /* it is in */
    }
    EV(Start) start = EV_INIT(START);
    start.at_case = DRAFT__EVENTS__V1__START__AT_EARLIEST;
    start.earliest = true;
    subscribe.stream = s;
    subscribe.start = &start;
    tap_open(rig, &tap, &events_event_service_subscribe_method);
    tap_send(&tap, &subscribe);
    test_wait_until(tap_deliveries(&tap) == 1);
    get.name = s;
    const EV(GetStreamResponse) *res =
        rig_call(rig, &events_stream_service_get_method, &get, 0, &arena, NULL);
    assert_int_equal(res->stream->groups, 3);
    assert_int_equal(res->stream->consumers, 4);
    list.name_prefix = s;
    const EV(ListStreamsResponse) *listed =
        rig_call(rig, &events_stream_service_list_method, &list, 0, &arena, NULL);
    assert_int_equal(listed->streams[0]->groups, 3);
    tap_cancel(&tap);
    for (unsigned i = 0; i < 3; i++) {
        tap_cancel(&members[i].tap);
    }
    chassis_arena_fini(&arena);
}

static void purge_before(struct rig *rig, char *stream, uint64_t keep_from)
{
    struct chassis_arena arena;
    EV(PurgeStreamRequest) purge = EV_INIT(PURGE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    purge.name = stream;
    purge.keep_from_sequence = keep_from;
    rig_call(rig, &events_stream_service_purge_method, &purge, 0, &arena, NULL);
    chassis_arena_fini(&arena);
}

static void members_of_a_group_that_fell_off_the_log_are_told(void **state)
{
    struct rig *rig = *state;
    struct member m;
    struct tap tap;
    struct chassis_arena arena;
    char s[] = "s", g[] = "g", h[] = "h";
    unsigned gaps = 0;
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    make_group(rig, s, g);
    make_group(rig, s, h);
    purge_before(rig, s, 8);
    join(rig, &m, "s", "g", 100);
    test_wait_until(tap_deliveries(&m.tap) == 3);
    char *ids = tap_ids(&m.tap);
    assert_string_equal(ids, "8 9 10 ");
    free(ids);
    for (size_t i = 0; i < m.tap.n; i++) {
        EV(JoinResponse) *res = NULL;
        assert_int_equal(draft__events__v1__join_response__decode(
                             chassis_buf_view(&m.tap.messages[i]), &arena, &res, NULL),
                         0);
        if (res->gap != NULL) {
            assert_int_equal(res->gap->from_sequence, 1);
            assert_int_equal(res->gap->to_sequence, 8);
            assert_int_equal(res->n_deliveries, 0);
            gaps++;
        }
    }
    assert_int_equal(gaps, 1);
    assert_int_equal(describe(rig, "s", "g", &arena)->lost, 7);
    tap_cancel(&m.tap);
    /* By Consumer.Consume: with the first event. */
    ACTORS(ConsumeRequest) consume = ACTORS_INIT(CONSUME_REQUEST);
    ACTORS(CloudEvent) template = ACTORS_INIT(CLOUD_EVENT);
    ACTORS(CloudEvent__AttributesEntry) entries[2], *list[2];
    ACTORS(CloudEvent__CloudEventAttributeValue) values[2];
    char *names[2] = {(char[]){"stream"}, (char[]){"group"}}, *texts[2] = {s, h};
    for (unsigned i = 0; i < 2; i++) {
        core__message_broker__actors__v1__cloud_event__attributes_entry__init(&entries[i]);
        core__message_broker__actors__v1__cloud_event__cloud_event_attribute_value__init(
            &values[i]);
        values[i].attr_case =
            CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_STRING;
        values[i].ce_string = texts[i];
        entries[i].key = names[i];
        entries[i].value = &values[i];
        list[i] = &entries[i];
    }
    template.attributes = list;
    template.n_attributes = 2;
    consume.message = &template;
    tap_open(rig, &tap, &actors_consumer_consume_method);
    tap_send(&tap, &consume);
    chassis_stream_half_close(tap.stream);
    for (unsigned i = 0; i < 3; i++) {
        ACTORS(ConsumeResponse) *res = NULL;
        tap_wait(&tap, i + 1);
        assert_int_equal(core__message_broker__actors__v1__consume_response__decode(
                             chassis_buf_view(&tap.messages[i]), &arena, &res, NULL),
                         0);
        assert_int_equal(atoi(res->message->id), 8 + i);
        assert_int_equal(res->n_gaps, i == 0);
        if (i == 0) {
            assert_string_equal(res->gaps[0]->stream, "s");
            assert_int_equal(res->gaps[0]->from_sequence, 1);
            assert_int_equal(res->gaps[0]->to_sequence, 8);
        }
    }
    tap_cancel(&tap);
    chassis_arena_fini(&arena);
}

static void what_a_member_leaves_goes_to_another(void **state)
{
    struct rig *rig = *state;
    struct member first, second;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 5);
    join(rig, &first, "s", "g", 5);
    test_wait_until(tap_deliveries(&first.tap) == 5);
    answer(&first, 2, ACK, true, "");
    wait_floor(rig, "s", "g", 3);
    assert_int_equal(tap_end(&first.tap), 0);
    join(rig, &second, "s", "g", 100);
    test_wait_until(tap_deliveries(&second.tap) == 3);
    char *ids = tap_ids(&second.tap);
    assert_string_equal(ids, "3 4 5 ");
    free(ids);
    tap_cancel(&second.tap);
}

static void dead_letters_can_be_seen_replayed_and_purged(void **state)
{
    struct rig *rig = *state;
    struct member m;
    struct chassis_arena arena;
    char stream[] = "s", group[] = "g";
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 2);
    join(rig, &m, "s", "g", 100);
    test_wait_until(tap_deliveries(&m.tap) == 2);
    answer(&m, 1, TERM, false, "cannot be");
    answer(&m, 2, NACK, false, "not now"); /* again … */
    test_wait_until(tap_deliveries(&m.tap) == 3);
    answer(&m, 2, NACK, false, "not ever"); /* … and that was the last */
    wait_floor(rig, "s", "g", 3);

    EV(ListDeadLettersRequest) list = EV_INIT(LIST_DEAD_LETTERS_REQUEST);
    const EV(ListDeadLettersResponse) *listed =
        rig_call(rig, &events_dead_letter_service_list_method, &list, 0, &arena, NULL);
    assert_int_equal(listed->n_dead_letters, 1);
    assert_string_equal(listed->dead_letters[0]->group, "g");
    assert_int_equal(listed->dead_letters[0]->events, 2);

    EV(PeekDeadLettersRequest) peek = EV_INIT(PEEK_DEAD_LETTERS_REQUEST);
    peek.stream = stream;
    peek.group = group;
    const EV(PeekDeadLettersResponse) *peeked =
        rig_call(rig, &events_dead_letter_service_peek_method, &peek, 0, &arena, NULL);
    assert_int_equal(peeked->n_deliveries, 2);
    assert_string_equal(peeked->deliveries[0]->event->id, "1");

    EV(ReplayDeadLettersRequest) replay = EV_INIT(REPLAY_DEAD_LETTERS_REQUEST);
    uint64_t wrong[] = {2, 1};
    struct chassis_error err;
    replay.stream = stream;
    replay.group = group;
    replay.sequences = wrong;
    replay.n_sequences = 2;
    rig_call(rig, &events_dead_letter_service_replay_method, &replay, CHASSIS_INVALID_ARGUMENT,
             &arena, &err);
    assert_non_null(strstr(err.text, "'sequences' must rise"));
    replay.sequences = &peeked->deliveries[0]->sequence;
    replay.n_sequences = 1;
    const EV(ReplayDeadLettersResponse) *replayed =
        rig_call(rig, &events_dead_letter_service_replay_method, &replay, 0, &arena, NULL);
    assert_int_equal(replayed->replayed, 1);
    test_wait_until(tap_deliveries(&m.tap) == 4); /* it comes once more */

    EV(PurgeDeadLettersRequest) purge = EV_INIT(PURGE_DEAD_LETTERS_REQUEST);
    purge.stream = stream;
    purge.group = group;
    const EV(PurgeDeadLettersResponse) *purged =
        rig_call(rig, &events_dead_letter_service_purge_method, &purge, 0, &arena, NULL);
    assert_int_equal(purged->purged, 1);
    tap_cancel(&m.tap);
    chassis_arena_fini(&arena);
}

/* Of the first sample whose name (and labels) begin so. */
static double sample(const char *name)
{
    struct chassis_buf text = {0};
    char line[160];
    double value = -1;
    chassis_metrics_render(&text);
    chassis_buf_append_byte(&text, '\0');
    snprintf(line, sizeof line, "\n%s", name);
    const char *at = strstr((const char *)text.data, line);
    if (at != NULL) {
        const char *end = strchr(at + 1, '\n'), *last = end;
        while (last[-1] != ' ') {
            last--;
        }
        value = strtod(last, NULL);
    }
    chassis_buf_fini(&text);
    return value;
}

static void metrics_tell_what_the_broker_does(void **state)
{
    static const struct {
        const char *name;
        double least;
    } grow[] = {
        {"catalyst_events_stored_total", 21}, /* the dead letter too */
        {"catalyst_stored_bytes_total", 400},
        {"catalyst_events_delivered_total", 20},
        {"catalyst_delivered_bytes_total", 400},
        {"catalyst_duplicates_total", 20},
        {"catalyst_events_refused_total", 1},
        {"catalyst_batch_events_count", 2},
        {"catalyst_batch_events_sum", 21},
        {"chassis_journal_sync_seconds_count", 2}, /* how long the disk takes */
    };
    enum { N = sizeof grow / sizeof grow[0] };
    struct rig *rig = *state;
    struct member m;
    double before[N];
    rig_stream(rig, "s");
    for (unsigned i = 0; i < N; i++) {
        before[i] = sample(grow[i].name);
    }
    rig_publish(rig, "s", 1, 20);
    rig_publish(rig, "s", 1, 20); /* duplicates */
    struct chassis_buf event = {0};
    char *large = calloc(1, (1 << 20) + 100);
    memset(large, 'x', (1 << 20) + 99);
    rig_event(&event, 99, NULL, NULL, large);
    struct tap tap;
    struct chassis_buf request = {0};
    cat_put_block(&request, 1, chassis_buf_view(&event));
    tap_open(rig, &tap, &actors_producer_produce_method);
    tap_send_bytes(&tap, chassis_buf_view(&request));
    tap_wait(&tap, 1);
    tap_end(&tap);
    join(rig, &m, "s", "metered", 100); /* deliveries_max 2 */
    test_wait_until(tap_deliveries(&m.tap) == 20);
    answer(&m, 1, NACK, false, "");
    test_wait_until(tap_deliveries(&m.tap) == 21);
    answer(&m, 1, NACK, false, "");
    answer(&m, 15, ACK, true, "");
    wait_floor(rig, "s", "metered", 16);
    for (unsigned i = 0; i < N; i++) {
        double now = sample(grow[i].name);
        if (now < 0 || now - before[i] < grow[i].least) {
            fail_msg("%s: %g before, %g now", grow[i].name, before[i], now);
        }
    }
#define OF "{stream=\"s\",group=\"metered\"}"
    assert_true(sample("catalyst_group_delivered_total" OF) == 21);
    assert_true(sample("catalyst_group_redelivered_total" OF) == 1);
    assert_true(sample("catalyst_group_nacks_total" OF) == 2);
    assert_true(sample("catalyst_group_acks_total" OF) == 14);
    assert_true(sample("catalyst_group_dead_letters_total" OF) == 1);
    test_wait_until(sample("catalyst_group_lag" OF) == 5);
    tap_cancel(&m.tap);
    free(large);
    chassis_buf_fini(&event);
    chassis_buf_fini(&request);
}

static void groups_are_managed(void **state)
{
    struct rig *rig = *state;
    struct chassis_arena arena;
    struct chassis_error err;
    char stream[] = "s", name[] = "g", sql[] = "type = 'x'", text[] = "changed";
    EV(Filter) filter = EV_INIT(FILTER);
    EV(Filter) * filters[] = {&filter};
    EV(GroupConfig) config = EV_INIT(GROUP_CONFIG);
    EV(CreateGroupRequest) req = EV_INIT(CREATE_GROUP_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    rig_call(rig, &events_group_service_create_method, &req, CHASSIS_INVALID_ARGUMENT, &arena,
             &err);
    assert_non_null(strstr(err.text, "'config'"));
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 5);
    filter.dialect_case = DRAFT__EVENTS__V1__FILTER__DIALECT_SQL;
    filter.sql = sql;
    config.stream = stream;
    config.name = name;
    config.filters = filters;
    config.n_filters = 1;
    req.config = &config;
    const EV(CreateGroupResponse) *created =
        rig_call(rig, &events_group_service_create_method, &req, 0, &arena, NULL);
    assert_string_equal(created->group->config->filters[0]->sql, sql);
    assert_int_equal(created->group->config->ack_wait_ms, 30000);
    assert_int_equal(created->group->next_sequence, 6);
    config.deliveries_max = 5000;
    rig_call(rig, &events_group_service_create_method, &req, CHASSIS_INVALID_ARGUMENT, &arena,
             &err);
    assert_non_null(strstr(err.text, "deliveries_max"));
    config.deliveries_max = 7;
    config.description = text;
    EV(UpdateGroupRequest) update = EV_INIT(UPDATE_GROUP_REQUEST);
    update.config = &config;
    const EV(UpdateGroupResponse) *updated =
        rig_call(rig, &events_group_service_update_method, &update, 0, &arena, NULL);
    assert_int_equal(updated->group->config->deliveries_max, 7);
    EV(SeekGroupRequest) seek = EV_INIT(SEEK_GROUP_REQUEST);
    EV(Start) start = EV_INIT(START);
    start.at_case = DRAFT__EVENTS__V1__START__AT_SEQUENCE;
    start.sequence = 2;
    seek.stream = stream;
    seek.name = name;
    seek.start = &start;
    const EV(SeekGroupResponse) *sought =
        rig_call(rig, &events_group_service_seek_method, &seek, 0, &arena, NULL);
    assert_int_equal(sought->group->next_sequence, 2);
    EV(ListGroupsRequest) list = EV_INIT(LIST_GROUPS_REQUEST);
    const EV(ListGroupsResponse) *listed =
        rig_call(rig, &events_group_service_list_method, &list, 0, &arena, NULL);
    assert_int_equal(listed->n_groups, 1);
    EV(DeleteGroupRequest) delete = EV_INIT(DELETE_GROUP_REQUEST);
    delete.stream = stream;
    delete.name = name;
    rig_call(rig, &events_group_service_delete_method, &delete, 0, &arena, NULL);
    rig_call(rig, &events_group_service_delete_method, &delete, CHASSIS_NOT_FOUND, &arena, NULL);
    chassis_arena_fini(&arena);
}

static void a_join_that_cannot_be_is_refused(void **state)
{
    struct rig *rig = *state;
    struct member m;
    struct tap tap;
    EV(JoinRequest) req = EV_INIT(JOIN_REQUEST);
    char group[] = "nobody";
    req.group = group;
    tap_open_ending(rig, &tap, &events_group_service_join_method);
    tap_send(&tap, &req);
    assert_int_equal(tap_closed(&tap), CHASSIS_NOT_FOUND);
    join(rig, &m, "default", "g", 1);
    tap_wait(&m.tap, 1);
    answer(&m, 1, NACK, true, "");
    tap_end(&m.tap);
    assert_int_equal(m.tap.code, CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(m.tap.text, "'answers.through'"));
}

static void a_group_goes_on_after_a_restart(void **state)
{
    struct rig *rig = *state;
    struct member m;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    join(rig, &m, "s", "g", 100);
    test_wait_until(tap_deliveries(&m.tap) == 10);
    answer(&m, 6, ACK, true, "");
    wait_floor(rig, "s", "g", 7);
    assert_int_equal(tap_end(&m.tap), 0);
    rig_close(rig);
    rig_open(rig);
    join(rig, &m, "s", "g", 100);
    test_wait_until(tap_deliveries(&m.tap) == 4);
    char *ids = tap_ids(&m.tap);
    assert_string_equal(ids, "7 8 9 10 ");
    free(ids);
    tap_cancel(&m.tap);
}

#define TEST_OF(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(a_stream_is_described_as_it_was_asked_for),
        TEST_OF(a_wrong_configuration_is_refused_by_field),
        TEST_OF(a_stream_is_changed_while_it_is_used),
        TEST_OF(streams_are_listed_page_by_page),
        TEST_OF(the_default_stream_stays),
        TEST_OF(a_member_gets_events_and_answers_for_them),
        TEST_OF(who_reads_a_stream_is_counted),
        TEST_OF(members_of_a_group_that_fell_off_the_log_are_told),
        TEST_OF(what_a_member_leaves_goes_to_another),
        TEST_OF(dead_letters_can_be_seen_replayed_and_purged),
        TEST_OF(metrics_tell_what_the_broker_does),
        TEST_OF(groups_are_managed),
        TEST_OF(a_join_that_cannot_be_is_refused),
        TEST_OF(a_group_goes_on_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
