/* One broker as the event load generator sees it.
 *
 * Every event carries its number and when it was sent; a consumer checks the whole payload.
 * Threads: one. A failure ends the program with a text.
 */
#ifndef DRAFT_TESTS_BENCH_SIDE_H
#define DRAFT_TESTS_BENCH_SIDE_H

#include "wire.h"

enum { PAYLOAD_MAX = 4096 };

struct producer {
    struct wire wire;
    const char *stream;
    unsigned batch; /* events in one message */
    size_t payload;
    uint64_t sent, acked; /* events */
    void *side;
};

struct consumer {
    struct wire wire;
    const char *stream;
    size_t payload;
    bool from_start; /* else events from now on */
    bool ready;      /* will see what is sent from now on */
    uint64_t received;
    /* May be NULL. */
    void (*event)(struct consumer *consumer, uint64_t number, uint64_t sent_ns);
    void *side;
};

struct side {
    const char *name;
    const char *durability;
    void (*create)(const char *address, const char *stream);
    void (*remove)(const char *address, const char *stream);
    void (*produce_open)(struct producer *producer, const char *address);
    /* Queue one message of `batch` events, numbered from producer->sent on. */
    void (*produce)(struct producer *producer);
    void (*produce_close)(struct producer *producer);
    void (*consume_open)(struct consumer *consumer, const char *address); /* NULL: cannot */
    void (*consume_close)(struct consumer *consumer);
    /* Events the broker says it keeps. */
    uint64_t (*count)(const char *address, const char *stream);
};

extern const struct side side_catalyst, side_catalyst_interval, side_jetstream, side_redis;

/* `payload` bytes for event `number`: number, time, then bytes that depend on the number. */
void payload_fill(uint8_t *out, size_t payload, uint64_t number);
/* Check one, count it, hand it on. */
void consumer_take(struct consumer *consumer, const uint8_t *data, size_t len);

/* Create `n` streams, or groups of `stream`, numbered from `first`; Catalyst only. */
void catalyst_create_many(const char *address, const char *what, const char *stream, unsigned first,
                          unsigned n);

#endif
