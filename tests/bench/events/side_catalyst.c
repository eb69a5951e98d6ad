/* Catalyst over bare HTTP/2 and hand-made protobuf: Producer.Produce for single events,
 * EventService.PublishStream for batches, EventService.Subscribe for consumers. */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "side.h"

enum { WINDOW = 16 * 1024 * 1024, CREDIT = 100000 };

struct grpc { /* one HTTP/2 connection with one stream at a time, or several unary calls */
    struct wire *wire;
    nghttp2_session *session;
    int32_t stream_id;
    char authority[64];
    uint8_t *body; /* framed messages not yet taken by the session */
    size_t body_len, body_sent, body_cap;
    bool half_closed, deferred, closed;
    int status;
    char status_text[512];
    uint8_t *message; /* being received, with its prefix */
    size_t message_len, message_cap;
    void (*on_message)(void *owner, const uint8_t *message, size_t len);
    void *owner;
    uint64_t credit_used;
};

/* ---- protobuf by hand ---- */

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put_block(uint8_t *p, unsigned field, const void *data, size_t len)
{
    p = put_varint(p, field << 3 | 2);
    p = put_varint(p, len);
    memcpy(p, data, len);
    return p + len;
}

struct field {
    unsigned number;
    uint64_t value;
    const uint8_t *data; /* length-delimited */
    size_t len;
};

static const uint8_t *get_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        v |= (uint64_t)(*p & 0x7f) << shift;
        if ((*p++ & 0x80) == 0) {
            *ret = v;
            return p;
        }
    }
    die("catalyst: malformed answer");
}

static const uint8_t *get_field(const uint8_t *p, const uint8_t *end, struct field *ret)
{
    uint64_t tag;
    p = get_varint(p, end, &tag);
    ret->number = (unsigned)(tag >> 3);
    if ((tag & 7) == 0) {
        return get_varint(p, end, &ret->value);
    }
    if ((tag & 7) == 1) {
        return p + 8;
    }
    if ((tag & 7) != 2) {
        die("catalyst: wire type %u", (unsigned)(tag & 7));
    }
    uint64_t len;
    p = get_varint(p, end, &len);
    if (len > (size_t)(end - p)) {
        die("catalyst: malformed answer");
    }
    ret->data = p;
    ret->len = (size_t)len;
    return p + len;
}

/* ---- gRPC over nghttp2 ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *data)
{
    struct grpc *g = data;
    if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
        g->status = atoi((const char *)value);
    } else if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0) {
        snprintf(g->status_text, sizeof g->status_text, "%.*s", (int)value_len,
                 (const char *)value);
    }
    return 0;
}

static void take(struct grpc *g, const uint8_t *data, size_t len)
{
    if (g->message_len + len > g->message_cap) {
        g->message_cap = 2 * (g->message_len + len);
        g->message = realloc(g->message, g->message_cap);
    }
    memcpy(g->message + g->message_len, data, len);
    g->message_len += len;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t len, void *user)
{
    struct grpc *g = user;
    take(g, data, len);
    size_t at = 0;
    while (g->message_len - at >= 5) {
        const uint8_t *p = g->message + at;
        size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
        if (g->message_len - at < 5 + n) {
            break;
        }
        g->on_message(g->owner, p + 5, n);
        at += 5 + n;
    }
    memmove(g->message, g->message + at, g->message_len - at);
    g->message_len -= at;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream_id, uint32_t error, void *user)
{
    struct grpc *g = user;
    g->closed = true;
    if (g->status != 0) {
        die("catalyst: status %d: %s", g->status, g->status_text);
    }
    return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct grpc *g = user;
    size_t n = g->body_len - g->body_sent;
    if (n == 0 && !g->half_closed) {
        g->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    n = n < room ? n : room;
    memcpy(out, g->body + g->body_sent, n);
    g->body_sent += n;
    if (g->body_sent == g->body_len) {
        g->body_sent = g->body_len = 0;
        if (g->half_closed) {
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        }
    }
    return (ssize_t)n;
}

static void before_write(struct wire *wire)
{
    struct grpc *g = wire->data;
    if (g->deferred && (g->body_len > 0 || g->half_closed)) {
        g->deferred = false;
        nghttp2_session_resume_data(g->session, g->stream_id);
    }
    while (wire->out_len - wire->out_sent < 256 * 1024) {
        const uint8_t *piece;
        ssize_t n = nghttp2_session_mem_send(g->session, &piece);
        if (n <= 0) {
            return;
        }
        wire_put(wire, piece, (size_t)n);
    }
}

static size_t parse(struct wire *wire, const uint8_t *data, size_t len)
{
    struct grpc *g = wire->data;
    ssize_t n = nghttp2_session_mem_recv(g->session, data, len);
    if (n < 0) {
        die("catalyst: HTTP/2: %s", nghttp2_strerror((int)n));
    }
    return (size_t)n;
}

static struct grpc *grpc_open(struct wire *wire, const char *address)
{
    struct grpc *g = calloc(1, sizeof *g);
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_client_new(&g->session, callbacks, g);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
                                         {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 20}};
    nghttp2_submit_settings(g->session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(g->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
    snprintf(g->authority, sizeof g->authority, "%s", address);
    g->wire = wire;
    wire->data = g;
    wire->parse = parse;
    wire->before_write = before_write;
    wire_open(wire, address);
    return g;
}

static void grpc_close(struct grpc *g)
{
    nghttp2_session_del(g->session);
    wire_close(g->wire);
    free(g->body);
    free(g->message);
    free(g);
}

#define HEADER(n, v)                                                                               \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, strlen(v),            \
            NGHTTP2_NV_FLAG_NONE                                                                   \
    }

static void grpc_start(struct grpc *g, const char *path,
                       void (*on_message)(void *, const uint8_t *, size_t), void *owner)
{
    const nghttp2_nv headers[] = {
        HEADER(":method", "POST"), HEADER(":scheme", "http"),
        HEADER(":path", path),     HEADER(":authority", g->authority),
        HEADER("te", "trailers"),  HEADER("content-type", "application/grpc"),
    };
    nghttp2_data_provider body = {.read_callback = read_body};
    g->on_message = on_message;
    g->owner = owner;
    g->half_closed = g->closed = g->deferred = false;
    g->status = -1;
    g->stream_id = nghttp2_submit_request(g->session, NULL, headers,
                                          sizeof headers / sizeof headers[0], &body, NULL);
    if (g->stream_id < 0) {
        die("catalyst: %s", nghttp2_strerror(g->stream_id));
    }
}

/* Room for one message of up to `max` bytes; grpc_sent() says how long it became. */
static uint8_t *grpc_room(struct grpc *g, size_t max)
{
    if (g->body_len + max + 5 > g->body_cap) {
        g->body_cap = 2 * (g->body_len + max + 5);
        g->body = realloc(g->body, g->body_cap);
    }
    return g->body + g->body_len + 5;
}

static void grpc_sent(struct grpc *g, size_t len)
{
    uint8_t *prefix = g->body + g->body_len;
    prefix[0] = 0;
    prefix[1] = (uint8_t)(len >> 24);
    prefix[2] = (uint8_t)(len >> 16);
    prefix[3] = (uint8_t)(len >> 8);
    prefix[4] = (uint8_t)len;
    g->body_len += 5 + len;
}

struct answer {
    uint8_t bytes[8192];
    size_t len;
};

static void on_answer(void *owner, const uint8_t *message, size_t len)
{
    struct answer *answer = owner;
    answer->len = len < sizeof answer->bytes ? len : sizeof answer->bytes;
    memcpy(answer->bytes, message, answer->len);
}

static void unary(struct grpc *g, const char *path, const uint8_t *request, size_t len,
                  struct answer *answer)
{
    grpc_start(g, path, on_answer, answer);
    memcpy(grpc_room(g, len), request, len);
    grpc_sent(g, len);
    g->half_closed = true;
    while (!g->closed) {
        wires_poll(1000);
    }
    if (g->status != 0) {
        die("catalyst: %s: status %d: %s", path, g->status, g->status_text);
    }
}

#define SERVICE "/draft.events.v1."

static void ask(const char *address, const char *path, const uint8_t *request, size_t len,
                struct answer *answer)
{
    struct wire wire = {0};
    struct answer ignored;
    struct grpc *g = grpc_open(&wire, address);
    unary(g, path, request, len, answer != NULL ? answer : &ignored);
    grpc_close(g);
}

enum { DURABILITY_FSYNC = 1, DURABILITY_INTERVAL = 2 };

static void create_with(const char *address, const char *stream, unsigned durability)
{
    uint8_t selection[256], config[600], request[700];
    char source[256];
    snprintf(source, sizeof source, "/bench/%s", stream);
    size_t n = (size_t)(put_block(selection, 1, source, strlen(source)) - selection);
    uint8_t *p = put_block(config, 1, stream, strlen(stream));
    p = put_block(p, 2, selection, n);
    p = put_varint(p, 3 << 3);
    p = put_varint(p, durability);
    n = (size_t)(put_block(request, 1, config, (size_t)(p - config)) - request);
    ask(address, SERVICE "StreamService/Create", request, n, NULL);
}

static void create(const char *address, const char *stream)
{
    create_with(address, stream, DURABILITY_FSYNC);
}

static void create_interval(const char *address, const char *stream)
{
    create_with(address, stream, DURABILITY_INTERVAL);
}

static void remove_stream(const char *address, const char *stream)
{
    uint8_t request[256];
    size_t n = (size_t)(put_block(request, 1, stream, strlen(stream)) - request);
    ask(address, SERVICE "StreamService/Delete", request, n, NULL);
}

static uint64_t count(const char *address, const char *stream)
{
    uint8_t request[256];
    struct answer answer = {.len = 0};
    size_t n = (size_t)(put_block(request, 1, stream, strlen(stream)) - request);
    ask(address, SERVICE "StreamService/Get", request, n, &answer);
    struct field field;
    const uint8_t *end = answer.bytes + answer.len;
    get_field(answer.bytes, end, &field); /* the stream */
    end = field.data + field.len;
    for (const uint8_t *p = field.data; p < end;) {
        p = get_field(p, end, &field);
        if (field.number == 7) {
            return field.value;
        }
    }
    return 0;
}

/* ---- producing ---- */

static void on_single_ack(void *owner, const uint8_t *message, size_t len)
{
    struct producer *producer = owner;
    struct field field;
    for (const uint8_t *p = message, *end = message + len; p < end;) {
        p = get_field(p, end, &field);
        if (field.number != 1) {
            die("catalyst: an event was refused");
        }
    }
    producer->acked++;
}

static void on_batch_ack(void *owner, const uint8_t *message, size_t len)
{
    struct producer *producer = owner;
    struct field field;
    for (const uint8_t *p = message, *end = message + len; p < end;) {
        p = get_field(p, end, &field);
        if (field.number == 2) {
            producer->acked += field.value;
        } else if (field.number == 3 || field.number == 4) {
            die("catalyst: an event was refused or taken for a duplicate");
        }
    }
}

static void produce_open(struct producer *producer, const char *address)
{
    struct grpc *g = grpc_open(&producer->wire, address);
    producer->side = g;
    if (producer->batch == 1) {
        grpc_start(g, "/core.message_broker.actors.v1.Producer/Produce", on_single_ack, producer);
    } else {
        grpc_start(g, SERVICE "EventService/PublishStream", on_batch_ack, producer);
    }
}

/* One CloudEvent; ids are unique over the whole life of the stream. */
static size_t encode_event(struct producer *producer, uint8_t *out)
{
    char id[32], source[256];
    uint8_t payload[PAYLOAD_MAX];
    int id_len = snprintf(id, sizeof id, "%016llx", (unsigned long long)producer->sent);
    int source_len = snprintf(source, sizeof source, "/bench/%s", producer->stream);
    payload_fill(payload, producer->payload, producer->sent++);
    uint8_t *p = put_block(out, 1, id, (size_t)id_len);
    p = put_block(p, 2, source, (size_t)source_len);
    p = put_block(p, 3, "1.0", 3);
    p = put_block(p, 4, "bench.event", 11);
    return (size_t)(put_block(p, 6, payload, producer->payload) - out);
}

static void produce(struct producer *producer)
{
    struct grpc *g = producer->side;
    uint8_t event[PAYLOAD_MAX + 512];
    size_t each = producer->payload + 512;
    if (producer->batch == 1) {
        uint8_t *out = grpc_room(g, each);
        size_t n = encode_event(producer, event);
        grpc_sent(g, (size_t)(put_block(out, 1, event, n) - out));
        return;
    }
    uint8_t *batch = malloc(each * producer->batch), *p = batch;
    for (unsigned i = 0; i < producer->batch; i++) {
        size_t n = encode_event(producer, event);
        p = put_block(p, 1, event, n);
    }
    uint8_t *out = grpc_room(g, each * producer->batch + 512);
    grpc_sent(g, (size_t)(put_block(out, 2, batch, (size_t)(p - batch)) - out));
    free(batch);
}

static void produce_close(struct producer *producer)
{
    grpc_close(producer->side);
}

/* ---- consuming ---- */

static void give_credit(struct grpc *g, uint64_t credit)
{
    uint8_t *out = grpc_room(g, 32);
    uint8_t *p = put_varint(out, 5 << 3);
    grpc_sent(g, (size_t)(put_varint(p, credit) - out));
}

static void take_delivery(struct consumer *consumer, const uint8_t *p, const uint8_t *end)
{
    struct field field;
    while (p < end) {
        p = get_field(p, end, &field);
        if (field.number != 3) {
            continue;
        }
        for (const uint8_t *q = field.data, *stop = field.data + field.len; q < stop;) {
            q = get_field(q, stop, &field);
            if (field.number == 6) {
                consumer_take(consumer, field.data, field.len);
            }
        }
        return;
    }
}

static void on_deliveries(void *owner, const uint8_t *message, size_t len)
{
    struct consumer *consumer = owner;
    struct grpc *g = consumer->side;
    struct field field;
    consumer->ready = true;
    for (const uint8_t *p = message, *end = message + len; p < end;) {
        p = get_field(p, end, &field);
        if (field.number == 1) {
            take_delivery(consumer, field.data, field.data + field.len);
            g->credit_used++;
        } else if (field.number == 3) {
            die("catalyst: a gap");
        }
    }
    if (g->credit_used > CREDIT / 2) {
        give_credit(g, g->credit_used);
        g->credit_used = 0;
    }
}

static void consume_open(struct consumer *consumer, const char *address)
{
    struct grpc *g = grpc_open(&consumer->wire, address);
    consumer->side = g;
    grpc_start(g, SERVICE "EventService/Subscribe", on_deliveries, consumer);
    const uint8_t from_new[] = {1 << 3, 1}, from_earliest[] = {2 << 3, 1};
    uint8_t *out = grpc_room(g, 512);
    uint8_t *p = put_block(out, 1, consumer->stream, strlen(consumer->stream));
    p = put_block(p, 2, consumer->from_start ? from_earliest : from_new, 2);
    p = put_varint(p, 4 << 3);
    p = put_varint(p, 1000);
    p = put_varint(p, 5 << 3);
    p = put_varint(p, CREDIT);
    if (!consumer->from_start) { /* the first progress message says that it stands */
        p = put_varint(p, 6 << 3);
        p = put_varint(p, 100);
    }
    grpc_sent(g, (size_t)(p - out));
    while (!consumer->from_start && !consumer->ready) {
        wires_poll(1000);
    }
}

static void consume_close(struct consumer *consumer)
{
    grpc_close(consumer->side);
}

/* ---- many streams or groups ---- */

void catalyst_create_many(const char *address, const char *what, const char *stream, unsigned first,
                          unsigned n)
{
    struct wire wire = {0};
    struct answer answer;
    struct grpc *g = grpc_open(&wire, address);
    bool groups = strcmp(what, "groups") == 0;
    for (unsigned i = first; i < first + n; i++) {
        char name[64], type[64];
        uint8_t selection[128], config[300], request[400], *p;
        snprintf(name, sizeof name, "many-%u", i);
        p = put_block(config, 1, name, strlen(name));
        if (groups) {
            p = put_block(p, 2, stream, strlen(stream));
        } else {
            snprintf(type, sizeof type, "bench.many.%u", i);
            size_t len = (size_t)(put_block(selection, 2, type, strlen(type)) - selection);
            p = put_block(p, 2, selection, len);
        }
        size_t len = (size_t)(put_block(request, 1, config, (size_t)(p - config)) - request);
        unary(g, groups ? SERVICE "GroupService/Create" : SERVICE "StreamService/Create", request,
              len, &answer);
    }
    grpc_close(g);
}

#define SIDE(says, promise, make)                                                                  \
    {                                                                                              \
        .name = (says), .durability = (promise), .create = (make), .remove = remove_stream,        \
        .produce_open = produce_open, .produce = produce, .produce_close = produce_close,          \
        .consume_open = consume_open, .consume_close = consume_close, .count = count,              \
    }
const struct side side_catalyst = SIDE("catalyst", "fsync before the ack", create);
const struct side side_catalyst_interval =
    SIDE("catalyst-interval", "no fsync before the ack (interval, 100 ms)", create_interval);
