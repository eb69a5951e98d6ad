/* dctl's commands about events against a server that answers what the test wants: what is sent, what
 * is printed, which exit code, and what happens when a stream breaks off. */
#include "unit/dctl/run.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "core/registry/service_discovery/v1/service_discovery.chassis.h"
#include "draft/events/v1/events.chassis.h"
#include "rpc/server.h"

typedef Core__MessageBroker__Actors__V1__CloudEvent cloud_event;
typedef Draft__Events__V1__PublishRequest publish_request;
typedef Draft__Events__V1__PublishResponse publish_response;
typedef Draft__Events__V1__SubscribeRequest subscribe_request;
typedef Draft__Events__V1__SubscribeResponse subscribe_response;
typedef Draft__Events__V1__JoinRequest join_request;
typedef Draft__Events__V1__JoinResponse join_response;
typedef Draft__Events__V1__Delivery delivery;
typedef Draft__Events__V1__Filter filter;

static struct chassis_server *server;
static char endpoint[64];

/* What the handlers saw, and how they shall behave. */
static struct {
    struct chassis_buf published; /* "source|id|type|subject|data\n" of each */
    uint64_t sequence;
    unsigned batches;
    char stream[64], group[64], member[64];
    struct chassis_buf filters;
    int start_case;
    uint64_t start;
    unsigned subscriptions;
    uint64_t starts[8];
    bool until_end;
    uint64_t credit;
    struct chassis_buf answers; /* "1 ack,…" */
    struct chassis_buf config;
    unsigned break_after; /* events of each subscription; 0 = all at once */
    bool break_off;       /* the publish stream */
} seen;

/* Calls and their answers order the threads, but inside gRPC, where ThreadSanitizer cannot see it. */
static atomic_uint passages;
static void pass(void)
{
    atomic_fetch_add(&passages, 1);
}

static struct run ask(const char *const *words)
{
    pass();
    struct run r = run_dctl(words);
    pass();
    return r;
}
#define ASK(...) ask((const char *const[]){__VA_ARGS__, NULL})

static const char *text_of(struct chassis_buf *buf)
{
    chassis_buf_append(buf, "", 0);
    return buf->data != NULL ? (const char *)buf->data : "";
}

static void keep(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text != NULL ? text : "");
}

static const char *subject_of(const cloud_event *e)
{
    for (size_t i = 0; i < e->n_attributes; i++) {
        if (strcmp(e->attributes[i]->key, "subject") == 0) {
            return e->attributes[i]->value->ce_string;
        }
    }
    return "";
}

static void on_publish(struct chassis_call *call, const publish_request *req)
{
    pass();
    publish_response res = DRAFT__EVENTS__V1__PUBLISH_RESPONSE__INIT;
    Draft__Events__V1__Refusal refusal = DRAFT__EVENTS__V1__REFUSAL__INIT, *refusals[] = {&refusal};
    keep(seen.stream, sizeof seen.stream, req->stream);
    seen.batches++;
    for (size_t i = 0; i < req->batch->n_events; i++) {
        const cloud_event *e = req->batch->events[i];
        if (strcmp(e->type, "bad") == 0) {
            refusal.id = e->id;
            refusal.text = (char *)(uintptr_t) "type 'bad' is not taken";
            res.refusals = refusals;
            res.n_refusals = 1;
            continue;
        }
        chassis_buf_printf(&seen.published, "%s|%s|%s|%s|%s\n", e->source, e->id, e->type,
                           subject_of(e), e->data_case == 7 ? e->text_data : "");
        res.accepted++;
        res.last_sequence = ++seen.sequence;
    }
    res.request = req->request;
    pass();
    if (seen.break_off && seen.batches == 2) {
        chassis_call_fail(call, CHASSIS_UNAVAILABLE, "going away");
        return;
    }
    events_event_service_publish_stream_send(call, &res);
}

static void on_publish_end(struct chassis_call *call)
{
    chassis_call_finish(call);
}

static void describe(const filter *f, struct chassis_buf *out)
{
    switch ((int)f->dialect_case) {
    case DRAFT__EVENTS__V1__FILTER__DIALECT_EXACT:
    case DRAFT__EVENTS__V1__FILTER__DIALECT_PREFIX:
    case DRAFT__EVENTS__V1__FILTER__DIALECT_SUFFIX:
        chassis_buf_printf(out, "%s %d '%s'; ", f->exact->values[0]->key, f->dialect_case,
                           f->exact->values[0]->value);
        break;
    case DRAFT__EVENTS__V1__FILTER__DIALECT_ANY:
        chassis_buf_printf(out, "any of %zu; ", f->any->n_filters);
        break;
    case DRAFT__EVENTS__V1__FILTER__DIALECT_SQL:
        chassis_buf_printf(out, "sql %s; ", f->sql);
        break;
    default:
        break;
    }
}

static void note_start(const Draft__Events__V1__Start *start)
{
    seen.start_case = start != NULL ? (int)start->at_case : 0;
    seen.start = start != NULL && start->at_case >= DRAFT__EVENTS__V1__START__AT_SEQUENCE
                     ? start->sequence
                     : 0;
}

/* Events `from`, from + 1 …, `n` of them. */
static delivery **deliveries_of(struct chassis_call *call, uint64_t from, size_t n)
{
    struct chassis_arena *a = chassis_call_arena(call);
    delivery **list = chassis_arena_alloc(a, (n + 1) * sizeof *list);
    for (size_t i = 0; i < n; i++) {
        list[i] = chassis_arena_alloc(a, sizeof *list[i]);
        draft__events__v1__delivery__init(list[i]);
        cloud_event *e = chassis_arena_alloc(a, sizeof *e);
        core__message_broker__actors__v1__cloud_event__init(e);
        e->id = chassis_arena_printf(a, "e%" PRIu64, from + i);
        e->source = chassis_arena_strdup(a, "/test");
        e->spec_version = chassis_arena_strdup(a, "1.0");
        e->type = chassis_arena_strdup(a, "test.made");
        e->data_case = CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__DATA_TEXT_DATA;
        e->text_data = chassis_arena_strdup(a, "{\"n\":1}");
        list[i]->event = e;
        list[i]->sequence = from + i;
        list[i]->time_ns = 1700000000000000000;
    }
    return list;
}

static void on_subscribe(struct chassis_call *call, const subscribe_request *req)
{
    pass();
    subscribe_response res = DRAFT__EVENTS__V1__SUBSCRIBE_RESPONSE__INIT;
    Draft__Events__V1__Gap gap = DRAFT__EVENTS__V1__GAP__INIT;
    if (chassis_call_state(call) != NULL) {
        seen.credit += req->credit; /* the first one opened it */
        pass();
        return;
    }
    chassis_call_set_state(call, &seen);
    keep(seen.stream, sizeof seen.stream, req->stream);
    note_start(req->start);
    for (size_t i = 0; i < req->n_filters; i++) {
        describe(req->filters[i], &seen.filters);
    }
    seen.until_end = req->until_end;
    seen.credit = req->credit;
    uint64_t from = seen.start_case == DRAFT__EVENTS__V1__START__AT_SEQUENCE ? seen.start : 5;
    if (seen.subscriptions < 8) {
        seen.starts[seen.subscriptions++] = seen.start;
    }
    if (seen.start == 1) {
        gap.from_sequence = 1;
        gap.to_sequence = from = 5;
        res.gap = &gap;
    }
    res.n_deliveries = seen.break_after != 0 ? seen.break_after : 3;
    res.deliveries = deliveries_of(call, from, res.n_deliveries);
    res.next_sequence = from + res.n_deliveries;
    bool end = seen.until_end, broken = seen.break_after != 0;
    pass();
    events_event_service_subscribe_send(call, &res);
    if (broken) {
        chassis_call_fail(call, CHASSIS_UNAVAILABLE, "going away");
    } else if (end) {
        chassis_call_finish(call);
    }
}

static void on_join(struct chassis_call *call, const join_request *req)
{
    static const char *const words[] = {"ack", "nack", "term", "progress"};
    pass();
    join_response res = DRAFT__EVENTS__V1__JOIN_RESPONSE__INIT;
    seen.credit += req->credit;
    for (size_t i = 0; i < req->n_answers; i++) {
        chassis_buf_printf(&seen.answers, "%" PRIu64 " %s %s,", req->answers[i]->sequence,
                           words[req->answers[i]->kind], req->answers[i]->reason);
    }
    if (chassis_call_state(call) != NULL) {
        pass();
        return;
    }
    chassis_call_set_state(call, &seen);
    keep(seen.stream, sizeof seen.stream, req->stream);
    keep(seen.group, sizeof seen.group, req->group);
    keep(seen.member, sizeof seen.member, req->member);
    note_start(req->create->start);
    res.next_sequence = 5;
    res.n_deliveries = 3;
    res.deliveries = deliveries_of(call, 5, 3);
    for (size_t i = 0; i < 3; i++) {
        res.deliveries[i]->attempt = 2;
    }
    pass();
    events_group_service_join_send(call, &res);
}

static void on_join_end(struct chassis_call *call)
{
    chassis_call_finish(call);
}

static Draft__Events__V1__Stream *stream_of(struct chassis_call *call, const char *name)
{
    struct chassis_arena *a = chassis_call_arena(call);
    Draft__Events__V1__Stream *s = chassis_arena_alloc(a, sizeof *s);
    draft__events__v1__stream__init(s);
    s->config = chassis_arena_alloc(a, sizeof *s->config);
    draft__events__v1__stream_config__init(s->config);
    s->config->name = chassis_arena_strdup(a, name);
    s->config->durability = DRAFT__EVENTS__V1__DURABILITY__DURABILITY_FSYNC;
    s->config->when_full = DRAFT__EVENTS__V1__WHEN_FULL__WHEN_FULL_REFUSE_NEW;
    s->config->age_max_ms = 5000;
    s->first_sequence = 3;
    s->last_sequence = 40;
    s->events = 38;
    s->last_time_ns = 1700000000000000000;
    s->rate = 2.5;
    return s;
}

static void note_config(const Draft__Events__V1__StreamConfig *c)
{
    chassis_buf_printf(&seen.config, "%s durability %d age %" PRIu64 " bytes %" PRIu64 " full %d",
                       c->name, (int)c->durability, c->age_max_ms, c->bytes_max, (int)c->when_full);
    for (size_t i = 0; i < c->n_takes; i++) {
        chassis_buf_printf(&seen.config, " take %s|%s|%s", c->takes[i]->source, c->takes[i]->type,
                           c->takes[i]->subject);
    }
    if (c->_dedupe_ms_case != 0) {
        chassis_buf_printf(&seen.config, " dedupe %" PRIu64, c->dedupe_ms);
    }
}

static void on_create(struct chassis_call *call, const Draft__Events__V1__CreateStreamRequest *req)
{
    pass();
    Draft__Events__V1__CreateStreamResponse res = DRAFT__EVENTS__V1__CREATE_STREAM_RESPONSE__INIT;
    note_config(req->config);
    res.stream = stream_of(call, req->config->name);
    pass();
    events_stream_service_create_reply(call, &res);
}

static void on_update(struct chassis_call *call, const Draft__Events__V1__UpdateStreamRequest *req)
{
    pass();
    Draft__Events__V1__UpdateStreamResponse res = DRAFT__EVENTS__V1__UPDATE_STREAM_RESPONSE__INIT;
    note_config(req->config);
    res.stream = stream_of(call, req->config->name);
    pass();
    events_stream_service_update_reply(call, &res);
}

static void on_get(struct chassis_call *call, const Draft__Events__V1__GetStreamRequest *req)
{
    Draft__Events__V1__GetStreamResponse res = DRAFT__EVENTS__V1__GET_STREAM_RESPONSE__INIT;
    if (strcmp(req->name, "absent") == 0) {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "no stream 'absent'");
        return;
    }
    res.stream = stream_of(call, req->name);
    events_stream_service_get_reply(call, &res);
}

/* Two pages of one stream each. */
static void on_list(struct chassis_call *call, const Draft__Events__V1__ListStreamsRequest *req)
{
    Draft__Events__V1__ListStreamsResponse res = DRAFT__EVENTS__V1__LIST_STREAMS_RESPONSE__INIT;
    bool first = req->page_token[0] == '\0';
    Draft__Events__V1__Stream *list[] = {stream_of(call, first ? "default" : "orders")};
    res.streams = list;
    res.n_streams = 1;
    res.next_page_token = (char *)(uintptr_t)(first ? "more" : "");
    events_stream_service_list_reply(call, &res);
}

static void on_purge(struct chassis_call *call, const Draft__Events__V1__PurgeStreamRequest *req)
{
    pass();
    Draft__Events__V1__PurgeStreamResponse res = DRAFT__EVENTS__V1__PURGE_STREAM_RESPONSE__INIT;
    chassis_buf_printf(&seen.config, "purge %s before %" PRIu64 " keep %" PRIu64, req->name,
                       req->keep_from_sequence, req->keep_events);
    res.purged = 7;
    res.stream = stream_of(call, req->name);
    pass();
    events_stream_service_purge_reply(call, &res);
}

static Draft__Events__V1__Group *group_of(struct chassis_call *call, const char *stream,
                                          const char *name)
{
    struct chassis_arena *a = chassis_call_arena(call);
    Draft__Events__V1__Group *g = chassis_arena_alloc(a, sizeof *g);
    draft__events__v1__group__init(g);
    g->config = chassis_arena_alloc(a, sizeof *g->config);
    draft__events__v1__group_config__init(g->config);
    g->config->name = chassis_arena_strdup(a, name);
    g->config->stream = chassis_arena_strdup(a, stream);
    g->lag = 12;
    g->ack_floor = 29;
    if (strcmp(name, "hook") == 0) {
        g->push = chassis_arena_alloc(a, sizeof *g->push);
        draft__events__v1__push_status__init(g->push);
        g->push->state = DRAFT__EVENTS__V1__PUSH_STATE__PUSH_STATE_UNVERIFIED;
        g->push->reason = chassis_arena_strdup(a, "HTTP 405 to OPTIONS");
    }
    return g;
}

static void on_group_create(struct chassis_call *call,
                            const Draft__Events__V1__CreateGroupRequest *req)
{
    pass();
    const Draft__Events__V1__GroupConfig *c = req->config;
    Draft__Events__V1__CreateGroupResponse res = DRAFT__EVENTS__V1__CREATE_GROUP_RESPONSE__INIT;
    note_start(c->start);
    chassis_buf_printf(&seen.config, "%s/%s wait %u deliveries %u ordered %d push %s %u backoff",
                       c->stream, c->name, c->ack_wait_ms, c->deliveries_max, c->ordered_by_key,
                       c->push != NULL ? c->push->url : "",
                       c->push != NULL ? c->push->requests_per_minute : 0);
    for (size_t i = 0; i < c->n_backoff_ms; i++) {
        chassis_buf_printf(&seen.config, " %u", c->backoff_ms[i]);
    }
    res.group = group_of(call, c->stream, c->name);
    pass();
    events_group_service_create_reply(call, &res);
}

static void on_group_list(struct chassis_call *call,
                          const Draft__Events__V1__ListGroupsRequest *req)
{
    Draft__Events__V1__ListGroupsResponse res = DRAFT__EVENTS__V1__LIST_GROUPS_RESPONSE__INIT;
    Draft__Events__V1__Group *list[] = {group_of(call, "orders", "billing"),
                                        group_of(call, "orders", "hook")};
    res.groups = list;
    res.n_groups = 2;
    events_group_service_list_reply(call, &res);
}

static void on_group_seek(struct chassis_call *call, const Draft__Events__V1__SeekGroupRequest *req)
{
    pass();
    Draft__Events__V1__SeekGroupResponse res = DRAFT__EVENTS__V1__SEEK_GROUP_RESPONSE__INIT;
    note_start(req->start);
    keep(seen.stream, sizeof seen.stream, req->stream);
    keep(seen.group, sizeof seen.group, req->name);
    res.group = group_of(call, req->stream, req->name);
    pass();
    events_group_service_seek_reply(call, &res);
}

static void on_peek(struct chassis_call *call, const Draft__Events__V1__PeekDeadLettersRequest *req)
{
    Draft__Events__V1__PeekDeadLettersResponse res =
        DRAFT__EVENTS__V1__PEEK_DEAD_LETTERS_RESPONSE__INIT;
    typedef Core__MessageBroker__Actors__V1__CloudEvent__AttributesEntry entry;
    Core__MessageBroker__Actors__V1__CloudEvent__CloudEventAttributeValue value =
        CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__INIT;
    entry e = CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__ATTRIBUTES_ENTRY__INIT, *list[] = {&e};
    e.key = (char *)(uintptr_t) "deadreason";
    e.value = &value;
    value.attr_case = 3;
    value.ce_string = (char *)(uintptr_t) "no such customer";
    res.n_deliveries = 2;
    res.deliveries = deliveries_of(call, req->from_sequence + 1, 2);
    res.deliveries[0]->event->attributes = list;
    res.deliveries[0]->event->n_attributes = 1;
    events_dead_letter_service_peek_reply(call, &res);
}

static void on_replay(struct chassis_call *call,
                      const Draft__Events__V1__ReplayDeadLettersRequest *req)
{
    Draft__Events__V1__ReplayDeadLettersResponse res =
        DRAFT__EVENTS__V1__REPLAY_DEAD_LETTERS_RESPONSE__INIT;
    res.replayed = req->n_sequences != 0 ? req->n_sequences : 99;
    events_dead_letter_service_replay_reply(call, &res);
}

/* "catalyst" is registered, and is this very server. */
static void on_query(struct chassis_call *call,
                     const Core__Registry__ServiceDiscovery__V1__QueryRequest *req)
{
    typedef Core__Registry__ServiceDiscovery__V1__QueryResponse__DataEntry entry;
    Core__Registry__ServiceDiscovery__V1__QueryResponse res =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__QUERY_RESPONSE__INIT;
    Core__Registry__ServiceDiscovery__V1__Process p =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS__INIT;
    entry e = CORE__REGISTRY__SERVICE_DISCOVERY__V1__QUERY_RESPONSE__DATA_ENTRY__INIT;
    entry *entries[] = {&e};
    p.pid = e.key = (char *)(uintptr_t) "0f0e0d0c-0000-4000-8000-000000000000";
    p.name = (char *)(uintptr_t) "catalyst";
    p.ip_address = endpoint;
    p.running_state = CORE__REGISTRY__SERVICE_DISCOVERY__V1__PROCESS_RUNNING_STATE__PROCESS_RUNNING;
    e.value = &p;
    res.data = entries;
    res.n_data = strcmp(req->filter->name, "catalyst") == 0;
    service_discovery_query_reply(call, &res);
}

static int start(void **state)
{
    static const struct events_event_service_handlers events = {
        .publish_stream = {.message = on_publish, .end = on_publish_end},
        .subscribe = {.message = on_subscribe}};
    static const struct events_stream_service_handlers streams = {.create = on_create,
                                                                  .update = on_update,
                                                                  .get = on_get,
                                                                  .list = on_list,
                                                                  .purge = on_purge};
    static const struct events_group_service_handlers groups = {
        .create = on_group_create,
        .list = on_group_list,
        .seek = on_group_seek,
        .join = {.message = on_join, .end = on_join_end}};
    static const struct events_dead_letter_service_handlers letters = {.peek = on_peek,
                                                                       .replay = on_replay};
    static const struct service_discovery_handlers discovery = {.query = on_query};
    struct chassis_error err = {0};
    struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    struct chassis_server_options options = {.listeners = &listener, .n_listeners = 1};
    const struct chassis_service services[] = {events_event_service_service(&events, NULL),
                                               events_stream_service_service(&streams, NULL),
                                               events_group_service_service(&groups, NULL),
                                               events_dead_letter_service_service(&letters, NULL),
                                               service_discovery_service(&discovery, NULL)};
    assert_int_equal(chassis_server_new(&options, &server, &err), 0);
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        assert_int_equal(chassis_server_add(server, services[i], &err), 0);
    }
    assert_int_equal(chassis_server_start(server, &err), 0);
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", chassis_server_port(server, 0));
    setenv("DRAFT_ENDPOINT", endpoint, 1); /* of a Blueprint, which knows where the broker is */
    return 0;
}

static int stop(void **state)
{
    chassis_server_drain(server, 1000);
    chassis_server_free(server);
    return 0;
}

static int forget(void **state)
{
    chassis_buf_fini(&seen.published);
    chassis_buf_fini(&seen.filters);
    chassis_buf_fini(&seen.answers);
    chassis_buf_fini(&seen.config);
    memset(&seen, 0, sizeof seen);
    return 0;
}

static unsigned lines_of(const char *text)
{
    unsigned n = 0;
    for (; *text != '\0'; text++) {
        n += *text == '\n';
    }
    return n;
}

static void produce_publishes_data_of_a_type_given_by_options(void **state)
{
    struct run r = ASK("events", "produce", "--type", "order.placed", "--source", "/shop", "--id",
                       "7", "--subject", "eu", "{\"amount\":5}", "--stream", "orders");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(text_of(&seen.published), "/shop|7|order.placed|eu|{\"amount\":5}\n");
    assert_string_equal(seen.stream, "orders");
    assert_contains(r.out, "SEQUENCE");
    assert_contains(r.out, "7 ");
    run_fini(&r);
}

static void produce_reads_whole_events_and_what_consume_prints(void **state)
{
    struct run r = ASK(
        "events", "produce", "-o", "json", "-d",
        "{\"specversion\":\"1.0\",\"id\":\"a\",\"source\":\"/s\",\"type\":\"t\",\"subject\":"
        "\"x\",\"datacontenttype\":\"text/plain\",\"data\":\"plain\"}",
        "-d",
        "[{\"id\":\"b\",\"source\":\"/s\",\"type\":\"t\",\"data\":[1,2]},"
        "{\"id\":\"c\",\"source\":\"/s\",\"type\":\"t\"}]",
        "-d",
        "{\"sequence\":9,\"time\":null,\"event\":{\"id\":\"d\",\"source\":\"/s\",\"type\":\"t\","
        "\"data\":\"text\"}}");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(text_of(&seen.published), "/s|a|t|x|plain\n/s|b|t||[1,2]\n/s|c|t||\n"
                                                  "/s|d|t||\"text\"\n");
    assert_int_equal(lines_of(r.out), 4);
    assert_contains(r.out, "{\"id\":\"d\",\"sequence\":4,\"accepted\":1,");
    run_fini(&r);
}

static void produce_counts_and_batches(void **state)
{
    struct run r =
        ASK("events", "produce", "--type", "t", "x", "-n", "2500", "--batch", "1000", "--quiet");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(r.out, "");
    assert_int_equal(seen.sequence, 2500);
    assert_int_equal(seen.batches, 3);
    run_fini(&r);
    r = ASK("events", "produce", "--type", "t", "x", "-n", "3000", "--quiet");
    assert_int_equal(r.exit, DCTL_OK);
    assert_int_equal(seen.sequence, 5500); /* more than may be under way at a time */
    run_fini(&r);
}

static void produce_says_which_event_was_refused_and_exits_with_1(void **state)
{
    struct run r = ASK("events", "produce", "-d", "{\"id\":\"q\",\"type\":\"bad\"}", "-d",
                       "{\"id\":\"r\",\"type\":\"good\"}");
    assert_int_equal(r.exit, DCTL_FAILED);
    assert_contains(r.err, "event 'q' was refused: type 'bad' is not taken");
    assert_contains(text_of(&seen.published), "/dctl|r|good");
    run_fini(&r);
}

static void produce_says_what_is_wrong_with_an_event_before_it_is_sent(void **state)
{
    static const struct {
        const char *input, *says;
    } cases[] = {
        {"{\"id\":\"a\"}", "no type"},
        {"[1,2]", "an event is a JSON object"},
        {"{\"type\":5}", "type must be a text"},
        {"{\"type\":\"t\",\"big\":3000000000}", "attribute 'big'"},
        {"{\"type\":\"t\",\"time\":\"soon\"}", "time must be"},
        {"{\"type\":\"t\",\"data\":1,\"data_base64\":\"\"}", "not both"},
        {"{\"type\":\"t\",\"data_base64\":\"*\"}", "not base64"},
        {"{\"type\":", "JSON, byte"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run r = ASK("events", "produce", cases[i].input);
        assert_int_equal(r.exit, DCTL_USAGE);
        assert_contains(r.err, cases[i].says);
        run_fini(&r);
    }
    assert_int_equal(seen.sequence, 0);
}

static void produce_counts_what_was_not_acknowledged(void **state)
{
    seen.break_off = true;
    struct run r =
        ASK("events", "produce", "-d", "{\"type\":\"t\"}", "-d", "{\"type\":\"t\"}", "-q");
    assert_int_equal(r.exit, DCTL_UNAVAILABLE);
    assert_contains(r.err, "1 batches were not acknowledged: going away");
    run_fini(&r);
}

static void consume_prints_events_and_goes_on_where_the_stream_broke(void **state)
{
    seen.break_after = 2;
    struct run r = ASK("events", "consume", "orders", "-n", "5", "--from", "10", "-o", "json");
    assert_int_equal(r.exit, DCTL_OK);
    assert_int_equal(seen.subscriptions, 3);
    assert_int_equal(seen.starts[0], 10);
    assert_int_equal(seen.starts[1], 12);
    assert_int_equal(seen.starts[2], 14);
    assert_int_equal(lines_of(r.out), 5);
    assert_contains(r.out, "{\"sequence\":14,\"time\":\"2023-11-14T22:13:20.000Z\",\"event\":{"
                           "\"specversion\":\"1.0\",\"id\":\"e14\",\"source\":\"/test\",\"type\":"
                           "\"test.made\",\"data\":{\"n\":1}}}");
    run_fini(&r);
}

static void consume_sends_filters_and_tells_of_a_gap(void **state)
{
    struct run r = ASK("events", "consume", "--until-end", "--from", "1", "--type", "a*",
                       "--source", "/x", "--source", "/y", "--subject", "*z", "--sql", "n > 3");
    assert_int_equal(r.exit, DCTL_OK);
    assert_true(seen.until_end);
    assert_string_equal(seen.stream, "default");
    assert_string_equal(text_of(&seen.filters), "any of 2; type 2 'a'; subject 3 'z'; sql n > 3; ");
    assert_contains(r.err, "events 1 to 4 are not kept any more");
    assert_contains(r.out, "test.made");
    assert_int_equal(lines_of(r.out), 4);
    run_fini(&r);
}

static void consume_knows_places_by_word_number_and_time(void **state)
{
    static const struct {
        const char *text;
        int kind;
        uint64_t at;
    } places[] = {{"new", 1, 0},
                  {"earliest", 2, 0},
                  {"77", 3, 77},
                  {"2023-11-14T22:13:20Z", 4, 1700000000000000000}};
    for (size_t i = 0; i < 4; i++) {
        struct run r = ASK("events", "consume", "--until-end", "--from", places[i].text, "-q");
        assert_int_equal(r.exit, DCTL_OK);
        assert_int_equal(seen.start_case, places[i].kind);
        assert_int_equal(seen.start, places[i].at);
        run_fini(&r);
    }
    struct run r = ASK("events", "consume", "--until-end", "--from", "10m", "-q");
    assert_int_equal(seen.start_case, 4);
    run_fini(&r);
    r = ASK("events", "consume", "--from", "yesterday");
    assert_int_equal(r.exit, DCTL_USAGE);
    assert_contains(r.err, "not 'yesterday'");
    run_fini(&r);
}

static void a_member_acknowledges_what_it_printed_and_no_more(void **state)
{
    struct run r = ASK("events", "consume", "orders", "--group", "billing", "--member", "me",
                       "--from", "earliest", "-n", "2", "-o", "json");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(seen.group, "billing");
    assert_string_equal(seen.stream, "orders");
    assert_string_equal(seen.member, "me");
    assert_int_equal(seen.start_case, 2);
    assert_int_equal(seen.credit, 2);
    assert_string_equal(text_of(&seen.answers), "5 ack ,6 ack ,");
    assert_contains(r.out, "\"attempt\":2");
    run_fini(&r);
    chassis_buf_clear(&seen.answers);
    r = ASK("events", "consume", "--group", "billing", "-n", "1", "--answer", "term", "--reason",
            "broken");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(text_of(&seen.answers), "5 term broken,");
    run_fini(&r);
}

static void tail_begins_with_the_last_events(void **state)
{
    struct run r = ASK("events", "tail", "orders", "-n", "3", "--lines", "20");
    assert_int_equal(r.exit, DCTL_OK);
    assert_int_equal(seen.starts[0], 21);
    run_fini(&r);
    r = ASK("events", "tail", "orders", "-n", "3", "--lines", "1000");
    assert_int_equal(seen.starts[1], 3);
    run_fini(&r);
    r = ASK("events", "tail", "absent");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    run_fini(&r);
}

static void streams_are_made_changed_listed_and_emptied(void **state)
{
    struct run r = ASK("streams", "create", "orders", "--take", "type=order.>,source=/shop",
                       "--take", "subject=eu", "--max-age", "7d", "--max-bytes", "2GiB",
                       "--when-full", "refuse-new", "--durability", "interval", "--dedupe", "0");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(text_of(&seen.config),
                        "orders durability 2 age 604800000 bytes 2147483648 full 2 take "
                        "/shop|order.>| take ||eu dedupe 0");
    run_fini(&r);
    chassis_buf_clear(&seen.config);
    r = ASK("streams", "update", "orders", "--max-bytes", "5"); /* the rest stays */
    assert_string_equal(text_of(&seen.config), "orders durability 1 age 5000 bytes 5 full 2");
    run_fini(&r);
    r = ASK("streams", "list");
    assert_int_equal(lines_of(r.out), 3);
    assert_contains(r.out, "orders");
    run_fini(&r);
    r = ASK("streams", "get", "orders", "-o", "json");
    assert_contains(r.out, "\"when_full\": \"refuse_new\"");
    assert_contains(r.out, "\"last_time\": \"2023-11-14T22:13:20.000Z\"");
    assert_contains(r.out, "\"rate\": 2.5");
    run_fini(&r);
    chassis_buf_clear(&seen.config);
    r = ASK("streams", "purge", "orders", "--keep", "3");
    assert_string_equal(text_of(&seen.config), "purge orders before 0 keep 3");
    assert_contains(r.out, "7 events removed");
    run_fini(&r);
    r = ASK("streams", "create", "orders", "--take", "kind=x");
    assert_int_equal(r.exit, DCTL_USAGE);
    run_fini(&r);
    r = ASK("streams", "create", "orders", "--max-bytes", "2GB");
    assert_int_equal(r.exit, DCTL_USAGE);
    run_fini(&r);
}

static void groups_are_made_moved_and_listed(void **state)
{
    struct run r = ASK("groups", "create", "orders/billing", "--ack-wait", "5s", "--deliveries",
                       "3", "--ordered", "--backoff", "1s,500ms", "--push", "http://a/b",
                       "--push-rate", "90", "--from", "earliest");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(text_of(&seen.config), "orders/billing wait 5000 deliveries 3 ordered 1 "
                                               "push http://a/b 90 backoff 1000 500");
    assert_int_equal(seen.start_case, 2);
    run_fini(&r);
    r = ASK("groups", "list", "-o", "json");
    assert_contains(r.out, "\"name\": \"orders/billing\"");
    assert_contains(r.out, "\"lag\": 12");
    assert_contains(r.out, "\"state\": \"unverified\"");
    assert_contains(r.out, "HTTP 405 to OPTIONS");
    run_fini(&r);
    r = ASK("groups", "list");
    assert_contains(r.out, "PUSH");
    assert_contains(r.out, "unverified");
    run_fini(&r);
    r = ASK("groups", "seek", "billing", "17");
    assert_int_equal(r.exit, DCTL_OK);
    assert_string_equal(seen.stream, "default");
    assert_string_equal(seen.group, "billing");
    assert_int_equal(seen.start, 17);
    run_fini(&r);
}

static void dead_letters_are_shown_with_their_reason(void **state)
{
    struct run r = ASK("dlq", "peek", "orders/billing");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "no such customer");
    run_fini(&r);
    r = ASK("dlq", "replay", "orders/billing", "4", "9");
    assert_string_equal(r.out, "2 dead letters replayed\n");
    run_fini(&r);
    r = ASK("dlq", "replay", "orders/billing", "-o", "json");
    assert_contains(r.out, "\"replayed\": 99");
    run_fini(&r);
    r = ASK("dlq", "replay", "orders/billing", "first");
    assert_int_equal(r.exit, DCTL_USAGE);
    run_fini(&r);
}

static void an_endpoint_of_its_own_comes_before_the_registry(void **state)
{
    setenv("DRAFT_EVENTS_ENDPOINT", "127.0.0.1:1", 1);
    struct run r = ASK("streams", "get", "orders", "--timeout", "300ms");
    assert_int_equal(r.exit, DCTL_UNAVAILABLE);
    run_fini(&r);
    r = ASK("streams", "get", "orders", "--endpoint", endpoint);
    assert_int_equal(r.exit, DCTL_OK);
    run_fini(&r);
    unsetenv("DRAFT_EVENTS_ENDPOINT");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, forget, forget)
    const struct CMUnitTest tests[] = {
        TEST(produce_publishes_data_of_a_type_given_by_options),
        TEST(produce_reads_whole_events_and_what_consume_prints),
        TEST(produce_counts_and_batches),
        TEST(produce_says_which_event_was_refused_and_exits_with_1),
        TEST(produce_says_what_is_wrong_with_an_event_before_it_is_sent),
        TEST(produce_counts_what_was_not_acknowledged),
        TEST(consume_prints_events_and_goes_on_where_the_stream_broke),
        TEST(consume_sends_filters_and_tells_of_a_gap),
        TEST(consume_knows_places_by_word_number_and_time),
        TEST(a_member_acknowledges_what_it_printed_and_no_more),
        TEST(tail_begins_with_the_last_events),
        TEST(streams_are_made_changed_listed_and_emptied),
        TEST(groups_are_made_moved_and_listed),
        TEST(dead_letters_are_shown_with_their_reason),
        TEST(an_endpoint_of_its_own_comes_before_the_registry),
    };
    return cmocka_run_group_tests_name("dctl events", tests, start, stop);
}
