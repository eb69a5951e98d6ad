/* Redis streams: XADD, pipelined. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "side.h"

static size_t parse_acks(struct wire *wire, const uint8_t *data, size_t len)
{
    struct producer *producer = wire->data;
    size_t at = 0;
    for (;;) { /* "$15\r\n1700000000000-0\r\n", "+OK\r\n" or ":5\r\n" */
        const uint8_t *end = memmem(data + at, len - at, "\r\n", 2);
        if (end == NULL) {
            return at;
        }
        size_t next = (size_t)(end - data) + 2;
        switch (data[at]) {
        case '$':
            next += (size_t)atoi((const char *)data + at + 1) + 2;
            break;
        case ':':
            producer->sent = (uint64_t)atoll((const char *)data + at + 1);
            break;
        case '+':
            break;
        default:
            die("redis: %.*s", (int)(end - data - (ptrdiff_t)at), (const char *)data + at);
        }
        if (next > len) {
            return at;
        }
        producer->acked++;
        at = next;
    }
}

static void command(struct wire *wire, const char *text)
{
    wire_put(wire, text, strlen(text));
}

/* Run one command and return its integer. */
static uint64_t ask(const char *address, const char *verb, const char *stream)
{
    struct producer producer = {.wire.parse = parse_acks};
    char text[256];
    producer.wire.data = &producer;
    wire_open(&producer.wire, address);
    snprintf(text, sizeof text, "*2\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(verb), verb,
             strlen(stream), stream);
    command(&producer.wire, text);
    while (producer.acked == 0) {
        wires_poll(1000);
    }
    uint64_t result = producer.sent;
    wire_close(&producer.wire);
    return result;
}

static void create(const char *address, const char *stream)
{
}

static void remove_stream(const char *address, const char *stream)
{
    ask(address, "DEL", stream);
}

static uint64_t count(const char *address, const char *stream)
{
    return ask(address, "XLEN", stream);
}

static void produce_open(struct producer *producer, const char *address)
{
    producer->wire.parse = parse_acks;
    producer->wire.data = producer;
    wire_open(&producer->wire, address);
}

static void produce(struct producer *producer)
{
    struct wire *wire = &producer->wire;
    for (unsigned i = 0; i < producer->batch; i++) {
        uint8_t *out = wire_room(wire, producer->payload + 256);
        int n =
            sprintf((char *)out, "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$1\r\nd\r\n$%zu\r\n",
                    strlen(producer->stream), producer->stream, producer->payload);
        payload_fill(out + n, producer->payload, producer->sent++);
        memcpy(out + n + producer->payload, "\r\n", 2);
        wire->out_len += (size_t)n + producer->payload + 2;
    }
}

static void produce_close(struct producer *producer)
{
    wire_close(&producer->wire);
}

const struct side side_redis = {
    .name = "redis",
    .durability = "appendfsync always",
    .create = create,
    .remove = remove_stream,
    .produce_open = produce_open,
    .produce = produce,
    .produce_close = produce_close,
    .count = count,
};
