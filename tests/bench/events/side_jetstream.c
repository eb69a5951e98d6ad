/* JetStream over the NATS protocol: async publish with acknowledgements, push consumers without acks
 * and with flow control (what the clients call an ordered consumer). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "side.h"

enum kind { PRODUCER, CONSUMER, REQUEST };

struct peer {
    struct wire *wire;
    enum kind kind;
    void *owner;
    bool connected, answered;
    char answer[4096];
};

static void handle(struct peer *peer, const char *reply, size_t reply_len, const char *headers,
                   size_t headers_len, const uint8_t *body, size_t len)
{
    if (peer->kind == REQUEST) {
        size_t n = len < sizeof peer->answer - 1 ? len : sizeof peer->answer - 1;
        memcpy(peer->answer, body, n);
        peer->answer[n] = '\0';
        peer->answered = true;
        if (memmem(body, len, "\"error\"", 7) != NULL) {
            die("jetstream: %.*s", (int)n, (const char *)body);
        }
        return;
    }
    if (peer->kind == PRODUCER) {
        if (len < 10 || memmem(body, len, "\"seq\":", 6) == NULL) {
            die("jetstream: %.*s", (int)len, (const char *)body);
        }
        ((struct producer *)peer->owner)->acked++;
        return;
    }
    if (headers_len > 0 &&
        len == 0) { /* status 100: heartbeat, or flow control that wants an answer */
        if (reply_len > 0) {
            uint8_t *out = wire_room(peer->wire, reply_len + 32);
            peer->wire->out_len +=
                (size_t)sprintf((char *)out, "PUB %.*s 0\r\n\r\n", (int)reply_len, reply);
        }
        return;
    }
    consumer_take(peer->owner, body, len);
}

/* One line "MSG subject sid [reply] len" or "HMSG subject sid [reply] headers total". */
static size_t parse_message(struct peer *peer, const uint8_t *data, const uint8_t *line_end,
                            size_t len)
{
    const char *words[6];
    size_t lens[6];
    unsigned n = 0;
    for (const char *p = (const char *)data, *end = (const char *)line_end; p < end && n < 6;) {
        const char *space = memchr(p, ' ', (size_t)(end - p));
        const char *stop = space != NULL ? space : end;
        words[n] = p;
        lens[n++] = (size_t)(stop - p);
        p = stop + 1;
    }
    bool with_headers = data[0] == 'H';
    unsigned sizes = with_headers ? 2 : 1;
    size_t total = (size_t)atoll(words[n - 1]);
    size_t headers = with_headers ? (size_t)atoll(words[n - 2]) : 0;
    size_t begin = (size_t)(line_end - data) + 2;
    if (begin + total + 2 > len) {
        return 0;
    }
    bool has_reply = n == 4 + sizes;
    handle(peer, has_reply ? words[3] : "", has_reply ? lens[3] : 0, (const char *)data + begin,
           headers, data + begin + headers, total - headers);
    return begin + total + 2;
}

static size_t parse(struct wire *wire, const uint8_t *data, size_t len)
{
    struct peer *peer = wire->data;
    size_t at = 0;
    for (;;) {
        const uint8_t *end = memmem(data + at, len - at, "\r\n", 2);
        if (end == NULL) {
            return at;
        }
        const uint8_t *line = data + at;
        if (line[0] == 'M' || line[0] == 'H') {
            size_t used = parse_message(peer, line, end, len - at);
            if (used == 0) {
                return at;
            }
            at += used;
            continue;
        }
        if (memcmp(line, "PING", 4) == 0) {
            wire_put(wire, "PONG\r\n", 6);
        } else if (memcmp(line, "PONG", 4) == 0) {
            peer->connected = true;
        } else if (line[0] == '-') {
            die("nats: %.*s", (int)(end - line), (const char *)line);
        }
        at = (size_t)(end - data) + 2;
    }
}

static struct peer *peer_open(struct wire *wire, enum kind kind, void *owner, const char *address)
{
    static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,"
                                "\"no_responders\":false,\"lang\":\"c\",\"version\":\"1\","
                                "\"protocol\":1}\r\nPING\r\n";
    struct peer *peer = calloc(1, sizeof *peer);
    peer->wire = wire;
    peer->kind = kind;
    peer->owner = owner;
    wire->parse = parse;
    wire->data = peer;
    wire_open(wire, address);
    wire_put(wire, hello, sizeof hello - 1);
    while (!peer->connected) {
        wires_poll(1000);
    }
    return peer;
}

static void put_text(struct wire *wire, const char *subject, const char *reply, const char *text)
{
    uint8_t *out = wire_room(wire, strlen(text) + 256);
    wire->out_len +=
        (size_t)sprintf((char *)out, "PUB %s %s %zu\r\n%s\r\n", subject, reply, strlen(text), text);
}

/* A request to the JetStream API; the answer's text. */
static void ask(const char *address, const char *subject, const char *text, char answer[4096])
{
    struct wire wire = {0};
    struct peer *peer = peer_open(&wire, REQUEST, NULL, address);
    wire_put(&wire, "SUB _INBOX.ask 1\r\n", 18);
    put_text(&wire, subject, "_INBOX.ask", text);
    while (!peer->answered) {
        wires_poll(1000);
    }
    if (answer != NULL) {
        memcpy(answer, peer->answer, sizeof peer->answer);
    }
    wire_close(&wire);
    free(peer);
}

static void create(const char *address, const char *stream)
{
    char subject[256], text[512];
    snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.%s", stream);
    snprintf(text, sizeof text,
             "{\"name\":\"%s\",\"subjects\":[\"%s.events\"],\"retention\":\"limits\","
             "\"storage\":\"file\",\"num_replicas\":1,\"discard\":\"old\",\"max_consumers\":-1,"
             "\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,\"max_msg_size\":-1}",
             stream, stream);
    ask(address, subject, text, NULL);
}

static void remove_stream(const char *address, const char *stream)
{
    char subject[256];
    snprintf(subject, sizeof subject, "$JS.API.STREAM.DELETE.%s", stream);
    ask(address, subject, "", NULL);
}

static uint64_t count(const char *address, const char *stream)
{
    char subject[256], answer[4096];
    snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", stream);
    ask(address, subject, "", answer);
    const char *at = strstr(answer, "\"messages\":");
    return at == NULL ? 0 : (uint64_t)atoll(at + 11);
}

static void produce_open(struct producer *producer, const char *address)
{
    producer->side = peer_open(&producer->wire, PRODUCER, producer, address);
    wire_put(&producer->wire, "SUB _INBOX.ack.* 1\r\n", 20);
}

static void produce(struct producer *producer)
{
    struct wire *wire = &producer->wire;
    for (unsigned i = 0; i < producer->batch; i++) {
        uint8_t *out = wire_room(wire, producer->payload + 256);
        int n = sprintf((char *)out, "PUB %s.events _INBOX.ack.%llu %zu\r\n", producer->stream,
                        (unsigned long long)producer->sent, producer->payload);
        payload_fill(out + n, producer->payload, producer->sent++);
        memcpy(out + n + producer->payload, "\r\n", 2);
        wire->out_len += (size_t)n + producer->payload + 2;
    }
}

static void produce_close(struct producer *producer)
{
    wire_close(&producer->wire);
    free(producer->side);
}

static void consume_open(struct consumer *consumer, const char *address)
{
    static unsigned number;
    char text[512], line[128], subject[256];
    number++;
    consumer->side = peer_open(&consumer->wire, CONSUMER, consumer, address);
    snprintf(line, sizeof line, "SUB _D.%s.%u 1\r\nPING\r\n", consumer->stream, number);
    ((struct peer *)consumer->side)->connected = false;
    wire_put(&consumer->wire, line, strlen(line));
    while (!((struct peer *)consumer->side)->connected) {
        wires_poll(1000);
    }
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.%s", consumer->stream);
    snprintf(text, sizeof text,
             "{\"stream_name\":\"%s\",\"config\":{\"deliver_subject\":\"_D.%s.%u\","
             "\"deliver_policy\":\"%s\",\"ack_policy\":\"none\",\"replay_policy\":\"instant\","
             "\"flow_control\":true,\"idle_heartbeat\":5000000000}}",
             consumer->stream, consumer->stream, number, consumer->from_start ? "all" : "new");
    ask(address, subject, text, NULL);
    consumer->ready = true;
}

static void consume_close(struct consumer *consumer)
{
    wire_close(&consumer->wire);
    free(consumer->side);
}

const struct side side_jetstream = {
    .name = "jetstream",
    .durability = "no fsync before the ack (sync_interval 2 min)",
    .create = create,
    .remove = remove_stream,
    .produce_open = produce_open,
    .produce = produce,
    .produce_close = produce_close,
    .consume_open = consume_open,
    .consume_close = consume_close,
    .count = count,
};
