/* Where the events of streams are kept: the engine behind the broker.
 *
 * The built-in engine is the node's journal; others (JetStream, Kafka) are plugins, loaded only when
 * a stream is configured to live there. Producers, consumers and groups never see which one it is.
 *
 * Invariants:
 *  - sequences of a stream rise without gaps, from 1; `appended` of an append runs once, in the order
 *    of appends, only when the events are as durable as the stream promises;
 *  - what was appended is visible to readers only then;
 *  - an append is all or nothing.
 * Threads: everything is called, and calls back, on the loop role; nothing here blocks it.
 * Ownership: events of an append are borrowed until `appended`; events read are borrowed during the
 * callback.
 */
#ifndef CAT_BROKER_LOG_H
#define CAT_BROKER_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>

enum cat_durability { CAT_FSYNC = 1, CAT_INTERVAL = 2, CAT_MEMORY = 3 };

struct cat_log;        /* of one stream */
struct cat_log_engine; /* "journal", "nats", "kafka" */

struct cat_log_options {
    struct chassis_view name; /* of the stream */
    uint32_t number;          /* of the stream within this node, never used again */
    enum cat_durability durability;
    uint32_t interval_ms;
};

/* What a reader must know of an event before it looks into it. */
enum cat_mark {
    CAT_MARK_EXPIRES = 1,      /* has an expirytime */
    CAT_MARK_DELAYED = 2,      /* has notbefore or delayms */
    CAT_MARK_COPY = 4,         /* stands in another stream too: not for readers of all streams */
    CAT_MARK_UNKNOWN = 0x8000, /* the engine keeps no marks: look into the event */
};

struct cat_log_event { /* one stored event */
    uint64_t sequence;
    int64_t time_ns;           /* stored at, since the epoch; never falls within a stream */
    struct chassis_view bytes; /* CloudEvent in protobuf form */
    uint16_t marks;            /* of enum cat_mark */
};

/* Caller's memory until `appended`. */
struct cat_append {
    const struct chassis_view *events;
    const uint16_t *marks; /* one per event, kept with it by engines that can */
    uint32_t n_events;
    int64_t time_ns;
    uint64_t first_sequence; /* set when `append` returns 0, by engines that know it then, else 0 */
    /* `status` 0: stored from first_sequence on. Otherwise nothing was stored. */
    void (*appended)(struct cat_append *append, int status, const struct chassis_error *err);
    void *engine; /* the engine's own */
};

struct cat_log_state {
    uint64_t first, last;                /* kept; first = last + 1 when empty */
    uint64_t readable;                   /* newest that may be read (durable as promised) */
    uint64_t bytes;                      /* of the events kept; an estimate */
    int64_t first_time_ns, last_time_ns; /* 0 = not known */
};

/* A read; caller's memory, zeroed at first. The same struct may be used again when `done`: an engine
 * keeps in `engine` what makes reading on cheap, until `cancel`, which ends every use. */
struct cat_read {
    uint64_t from;
    size_t bytes_max; /* stop after so many; at least one event */
    uint32_t events_max;
    /* Non-zero stops the read; negative: this event was not taken and is the next one. */
    int (*event)(struct cat_read *read, const struct cat_log_event *event);
    /* Once. `next` = where to go on. CHASSIS_NOT_FOUND: `from` is not kept any more. May run before
     * `read` returns. */
    void (*done)(struct cat_read *read, int status, uint64_t next, const struct chassis_error *err);
    void *engine;
};

struct cat_log_ops {
    /* CHASSIS_NO_SPACE, CHASSIS_BUSY (too much is under way): nothing was taken. */
    int (*append)(struct cat_log *log, struct cat_append *append, struct chassis_error *err);
    void (*read)(struct cat_log *log, struct cat_read *read);
    /* `done` does not run any more; also when nothing is under way. */
    void (*cancel)(struct cat_log *log, struct cat_read *read);
    /* First sequence stored at or after a time; last + 1 if none. `found` may run at once. */
    void (*at_time)(struct cat_log *log, int64_t time_ns,
                    void (*found)(void *data, int status, uint64_t sequence), void *data);
    struct cat_log_state (*state)(struct cat_log *log);
    /* The first sequence from which on at most so many bytes are kept; an estimate, last + 1 at most.
     */
    uint64_t (*at_bytes)(struct cat_log *log, uint64_t bytes_max);
    /* Events up to `through` are not needed any more. Cheap; may act later. */
    void (*trim)(struct cat_log *log, uint64_t through);
    /* When a readable event was stored, 0 = not known. NULL: only the state's times are. */
    int64_t (*time_of)(struct cat_log *log, uint64_t sequence);
    /* Another interval_ms from the next append on. NULL: none is kept. */
    void (*set_interval)(struct cat_log *log, uint32_t interval_ms);
    void (*close)(struct cat_log *log);
    /* Remove the stream's events for good, then close. */
    void (*destroy)(struct cat_log *log);
};
struct cat_log {
    const struct cat_log_ops *ops;
};

struct cat_log_engine_ops {
    /* `opened` may run at once. A stream that is not there is made. */
    void (*open)(struct cat_log_engine *engine, const struct cat_log_options *options,
                 void (*opened)(void *data, struct cat_log *log, const struct chassis_error *err),
                 void *data);
    void (*close)(struct cat_log_engine *engine, void (*closed)(void *data), void *data);
};
struct cat_log_engine {
    const struct cat_log_engine_ops *ops;
    const char *name;
};

#endif
