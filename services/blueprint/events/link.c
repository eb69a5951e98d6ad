#include "link.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "proto/message.h"

typedef Draft__Events__V1__Filter filter;
typedef Draft__Events__V1__Filter__Attributes filter_attributes;
typedef Draft__Events__V1__Filter__Attributes__ValuesEntry filter_value;

enum { CHUNK_MIN = 64, CHUNK_MAX = 65536, READ_MAX = 1000, CALL_MS = 10000 };
/* So that what a leader who was silenced for long had under way is not stored a second time. */
#define DEDUPE_MS (3600ULL * 1000)

/* A call or a stream of ours: it knows whether it still is. */
struct asking {
    struct bp_link *link;
    uint64_t generation;
};

struct bp_link_stream {
    struct bp_link *link;
    uint64_t generation;
    struct chassis_client_stream *stream;
};

static struct bp_link *link_of(struct bp_events_sink *sink)
{
    return chassis_container_of(sink, struct bp_link, sink);
}

static struct asking *ask(struct bp_link *link)
{
    struct asking *a = chassis_base_zalloc(sizeof *a);
    a->link = link;
    a->generation = link->generation;
    return a;
}

/* NULL when nobody waits for this answer any more. */
static struct bp_link *answered(void *data)
{
    struct asking *a = data;
    struct bp_link *link = a->generation == a->link->generation ? a->link : NULL;
    free(a);
    return link;
}

static void forget_batch(struct bp_link *link)
{
    link->n_events = 0;
    link->bytes = 0;
    chassis_arena_fini(&link->arena);
    chassis_arena_init(&link->arena, NULL, 0, 0);
}

static void close_link(struct bp_events_sink *sink)
{
    struct bp_link *link = link_of(sink);
    link->generation++;
    if (link->up != NULL) {
        chassis_stream_cancel(link->up->stream);
        link->up = NULL; /* freed when it is closed */
    }
    forget_batch(link);
}

static void lost(struct bp_link *link, int code, const char *text)
{
    close_link(&link->sink);
    link->sink.handlers.lost(link->sink.data, code, text);
}

static void found(struct bp_link *link)
{
    link->sink.handlers.found(link->sink.data, link->last_id);
}

/* --- finding the newest event of the source, from the stream's end backwards --- */

static void read_chunk(struct bp_link *link, uint64_t from);

static void on_read(const struct chassis_reply *reply, void *data)
{
    struct bp_link *link = answered(data);
    if (link == NULL) {
        return;
    }
    if (reply->code != 0) {
        lost(link, reply->code, reply->text);
        return;
    }
    const Draft__Events__V1__ReadResponse *res = reply->message;
    if (res->n_deliveries != 0 && res->deliveries[res->n_deliveries - 1]->event != NULL) {
        snprintf(link->last_id, sizeof link->last_id, "%s",
                 res->deliveries[res->n_deliveries - 1]->event->id);
    }
    if (res->next_sequence <= link->high && res->next_sequence > link->low) {
        link->low = res->next_sequence; /* an answer has its limits */
        read_chunk(link, link->low);
        return;
    }
    uint64_t begin = link->high + 1 > link->chunk ? link->high + 1 - link->chunk : 0;
    if (link->last_id[0] != '\0' || begin <= link->first) {
        found(link);
        return;
    }
    link->high = begin - 1;
    link->chunk = link->chunk * 4 < CHUNK_MAX ? link->chunk * 4 : CHUNK_MAX;
    begin = link->high + 1 > link->chunk ? link->high + 1 - link->chunk : 0;
    link->low = begin > link->first ? begin : link->first;
    read_chunk(link, link->low);
}

static void read_chunk(struct bp_link *link, uint64_t from)
{
    Draft__Events__V1__ReadRequest req = DRAFT__EVENTS__V1__READ_REQUEST__INIT;
    Draft__Events__V1__Start start = DRAFT__EVENTS__V1__START__INIT;
    filter f = DRAFT__EVENTS__V1__FILTER__INIT, *filters[] = {&f};
    filter_attributes exact = DRAFT__EVENTS__V1__FILTER__ATTRIBUTES__INIT;
    filter_value value = DRAFT__EVENTS__V1__FILTER__ATTRIBUTES__VALUES_ENTRY__INIT,
                 *values[] = {&value};
    struct chassis_call_options options = {.timeout_ms = CALL_MS, .idempotent = true};
    value.key = (char *)(uintptr_t) "source";
    value.value = link->source;
    exact.values = values;
    exact.n_values = 1;
    f.dialect_case = DRAFT__EVENTS__V1__FILTER__DIALECT_EXACT;
    f.exact = &exact;
    start.at_case = DRAFT__EVENTS__V1__START__AT_SEQUENCE;
    start.sequence = from;
    req.stream = link->stream;
    req.start = &start;
    req.filters = filters;
    req.n_filters = 1;
    req.limit = READ_MAX;
    events_event_service_read(link->client, &req, &options, on_read, ask(link));
}

static void on_created(const struct chassis_reply *reply, void *data)
{
    struct bp_link *link = answered(data);
    if (link == NULL) {
        return;
    }
    if (reply->code != 0) {
        char text[400];
        snprintf(text, sizeof text, "make stream '%s': %s", link->stream, reply->text);
        lost(link, reply->code, text);
        return;
    }
    found(link);
}

static void create_stream(struct bp_link *link)
{
    Draft__Events__V1__CreateStreamRequest req = DRAFT__EVENTS__V1__CREATE_STREAM_REQUEST__INIT;
    Draft__Events__V1__StreamConfig config = DRAFT__EVENTS__V1__STREAM_CONFIG__INIT;
    struct chassis_call_options options = {.timeout_ms = CALL_MS, .idempotent = true};
    config.name = link->stream;
    config.description = (char *)(uintptr_t) "changes of Blueprint's records and processes";
    config._dedupe_ms_case = DRAFT__EVENTS__V1__STREAM_CONFIG___DEDUPE_MS_DEDUPE_MS;
    config.dedupe_ms = DEDUPE_MS;
    req.config = &config;
    events_stream_service_create(link->client, &req, &options, on_created, ask(link));
}

static void on_stream(const struct chassis_reply *reply, void *data)
{
    struct bp_link *link = answered(data);
    if (link == NULL) {
        return;
    }
    if (reply->code == CHASSIS_NOT_FOUND) {
        create_stream(link);
        return;
    }
    if (reply->code != 0) {
        lost(link, reply->code, reply->text);
        return;
    }
    const Draft__Events__V1__GetStreamResponse *res = reply->message;
    if (res->stream == NULL || res->stream->first_sequence > res->stream->last_sequence ||
        res->stream->last_sequence == 0) {
        found(link);
        return;
    }
    link->first = res->stream->first_sequence;
    link->high = res->stream->last_sequence;
    link->chunk = CHUNK_MIN;
    uint64_t begin = link->high + 1 > link->chunk ? link->high + 1 - link->chunk : 0;
    link->low = begin > link->first ? begin : link->first;
    read_chunk(link, link->low);
}

static void find(struct bp_events_sink *sink, const char *source)
{
    struct bp_link *link = link_of(sink);
    Draft__Events__V1__GetStreamRequest req = DRAFT__EVENTS__V1__GET_STREAM_REQUEST__INIT;
    struct chassis_call_options options = {.timeout_ms = CALL_MS, .idempotent = true};
    close_link(sink);
    snprintf(link->source, sizeof link->source, "%s", source);
    link->last_id[0] = '\0';
    req.name = link->stream;
    events_stream_service_get(link->client, &req, &options, on_stream, ask(link));
}

/* --- publishing --- */

/* Only what is wrong with the event itself stays so. Anything else (a full disk, a stream that was
 * deleted) ends the connection: the event is sent again in its place. */
static bool is_final(uint32_t grpc_code)
{
    return (int)grpc_code == chassis_status_to_grpc(CHASSIS_INVALID_ARGUMENT);
}

static void on_response(struct chassis_client_stream *stream, const void *message,
                        struct chassis_view encoded, void *data)
{
    struct bp_link_stream *up = data;
    struct bp_link *link = up->link;
    const Draft__Events__V1__PublishResponse *res = message;
    if (up->generation != link->generation) {
        return;
    }
    if (res->request != link->answered + 1) {
        lost(link, CHASSIS_INTERNAL, "an answer to nothing that was asked");
        return;
    }
    for (size_t i = 0; i < res->n_refusals; i++) {
        if (!is_final(res->refusals[i]->code)) {
            lost(link, chassis_status_from_grpc((int)res->refusals[i]->code),
                 res->refusals[i]->text);
            return;
        }
        chassis_log_error(link->log, "a change cannot be published",
                          chassis_f_str("id", res->refusals[i]->id),
                          chassis_f_str("text", res->refusals[i]->text));
    }
    link->answered++;
    link->sink.handlers.stored(link->sink.data, (unsigned)res->n_refusals);
}

static void on_writable(struct chassis_client_stream *stream, void *data)
{
    struct bp_link_stream *up = data;
    if (up->generation == up->link->generation) {
        up->link->sink.handlers.writable(up->link->sink.data);
    }
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct bp_link_stream *up = data;
    struct bp_link *link = up->generation == up->link->generation ? up->link : NULL;
    if (link != NULL) {
        link->up = NULL;
    }
    free(up);
    if (link != NULL) {
        lost(link, status->code != 0 ? status->code : CHASSIS_UNAVAILABLE,
             status->text[0] != '\0' ? status->text : "the broker ended the stream");
    }
}

static int open_stream(struct bp_link *link)
{
    static const struct chassis_stream_handlers handlers = {
        .message = on_response, .writable = on_writable, .closed = on_closed};
    struct bp_link_stream *up = chassis_base_zalloc(sizeof *up);
    up->link = link;
    up->generation = link->generation;
    link->request = link->answered = 0;
    int rc = events_event_service_publish_stream_open(link->client, NULL, &handlers, up,
                                                      &up->stream, NULL);
    if (rc != 0) {
        free(up);
        return rc;
    }
    link->up = up;
    return 0;
}

static void add(struct bp_events_sink *sink, const char *source, const struct bp_events_row *row)
{
    struct bp_link *link = link_of(sink);
    CHASSIS_ASSERT(link->n_events < BP_LINK_ROWS_MAX);
    link->events[link->n_events] = bp_events_message(&link->arena, source, row);
    link->bytes += chassis_message_size(&link->events[link->n_events++]->base);
}

static void add_gap(struct bp_events_sink *sink, const char *source, const char *id, uint64_t from,
                    uint64_t through)
{
    struct bp_link *link = link_of(sink);
    CHASSIS_ASSERT(link->n_events < BP_LINK_ROWS_MAX);
    link->events[link->n_events++] = bp_events_gap(&link->arena, source, id, from, through);
}

static size_t size(struct bp_events_sink *sink)
{
    return link_of(sink)->bytes;
}

static int send_batch(struct bp_events_sink *sink)
{
    struct bp_link *link = link_of(sink);
    Draft__Events__V1__PublishRequest req = DRAFT__EVENTS__V1__PUBLISH_REQUEST__INIT;
    Core__MessageBroker__Actors__V1__CloudEventBatch batch =
        CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT_BATCH__INIT;
    if (link->up == NULL && open_stream(link) != 0) {
        lost(link, CHASSIS_UNAVAILABLE, "cannot open a stream to the broker");
        return CHASSIS_CANCELLED;
    }
    batch.events = link->events;
    batch.n_events = link->n_events;
    req.stream = link->stream;
    req.batch = &batch;
    req.request = link->request + 1;
    int rc = chassis_stream_send(link->up->stream, &req);
    link->request += rc == 0;
    forget_batch(link);
    return rc;
}

void bp_link_init(struct bp_link *link, struct chassis_client *client, const char *stream)
{
    static const struct bp_events_sink_ops ops = {.find = find,
                                                  .add = add,
                                                  .add_gap = add_gap,
                                                  .size = size,
                                                  .send = send_batch,
                                                  .close = close_link};
    memset(link, 0, sizeof *link);
    link->sink.ops = &ops;
    link->client = client;
    link->log = chassis_log_module("blueprint.events");
    snprintf(link->stream, sizeof link->stream, "%s", stream);
    chassis_arena_init(&link->arena, NULL, 0, 0);
}
