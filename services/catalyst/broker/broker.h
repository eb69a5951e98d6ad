/* The broker's controller: streams by name, publishing into them, reading from them.
 *
 * What it decides: which streams take an event, whether it is a duplicate, what retention removes,
 * when an event may be delivered. The events themselves are kept by a log engine (log.h); names,
 * configurations, floors and groups by the catalog (catalog.h), a model fed from its own journal
 * stream.
 *
 * Invariants:
 *  - `done` of a publish runs once, in the order of publishes of one caller, when every event of it is
 *    stored as durably as its streams say, refused by name of a rule, or a known duplicate;
 *  - readers see each readable event of their stream in order, exactly once per reader, and are told
 *    of every gap;
 *  - a reader costs bounded memory: it holds no events, only a place.
 * Threads: everything on the loop role, callbacks too.
 * Ownership: publish and read requests are caller's memory until their callback.
 */
#ifndef CAT_BROKER_BROKER_H
#define CAT_BROKER_BROKER_H

#include <chassis/executor.h>
#include <chassis/log.h>

#include "base/list.h"
#include "catalyst/broker/dedupe.h"
#include "catalyst/broker/log.h"
#include "catalyst/event/event.h"
#include "catalyst/filter/filter.h"
#include "journal/journal.h"

enum {
    CAT_NAME_MAX = 128,
    CAT_PATTERN_MAX = 255,
    CAT_SELECTIONS_MAX = 64,
    CAT_STREAMS_MAX = 1 << 20,
    CAT_EVENT_BYTES_MAX = 1 << 20,
    CAT_DEDUPE_EVENTS_MAX = 262144,
};

enum cat_when_full { CAT_DISCARD_OLD = 1, CAT_REFUSE_NEW = 2 };

struct cat_selection { /* those that are not empty must match; subject.h */
    struct chassis_view source, type, subject;
};

struct cat_stream_config {
    struct chassis_view name;
    const struct cat_selection *takes;
    uint32_t n_takes;
    enum cat_durability durability;
    uint32_t interval_ms;
    uint64_t age_max_ms, bytes_max, events_max, dedupe_ms;
    uint32_t event_bytes_max;
    enum cat_when_full when_full;
    struct chassis_view backend; /* "journal" */
    struct chassis_view description;
};

struct cat_stream_info { /* borrowed from the broker until the loop's turn ends */
    struct cat_stream_config config;
    uint32_t number;
    int64_t created_ns;
    struct cat_log_state log;
    uint64_t events;
    double rate; /* events stored a second, over about the last ten seconds */
    uint32_t readers;
};

struct cat_broker;

struct cat_broker_options {
    struct chassis_journal *journal; /* of the node; recovered */
    struct chassis_executor *loop, *workers;
    struct chassis_logger *log;
    int64_t (*wall_ns)(void *data); /* time since the epoch */
    void *wall_data;
    /* Engines beside the journal; asked for by name when a stream needs one. May be NULL. */
    int (*engine)(void *data, struct chassis_view name, struct cat_log_engine **ret_engine,
                  struct chassis_error *err);
    void *engine_data;
    size_t publish_bytes_max; /* under way at a time; 0 = 64 MiB; beyond: CHASSIS_BUSY */
    /* Remembered over all streams for their dedupe windows, some 40 bytes each; 0 = 4,194,304. When
     * there are more, a stream that stores an event forgets its oldest. */
    size_t dedupe_events_max;
};
/* Reads the catalog; makes the stream "default" if it is not there. */
int cat_broker_open(const struct cat_broker_options *options, struct cat_broker **ret_broker,
                    struct chassis_error *err);
/* Readers end with CHASSIS_SHUTTING_DOWN; `closed` when everything under way is done. */
void cat_broker_close(struct cat_broker *broker, void (*closed)(void *data), void *data);
/* Free it as a crash would, readers too: for simulations, after the host crashed and
 * the journal was abandoned. */
void cat_broker_abandon(struct cat_broker *broker);

/* ---- streams ---- */

typedef void (*cat_done_cb)(void *data, int status, const struct chassis_error *err);

/* Refusals name the field and its limit. `done` when durable, or refused; it may run at once. */
void cat_stream_create(struct cat_broker *broker, const struct cat_stream_config *config,
                       cat_done_cb done, void *data);
void cat_stream_update(struct cat_broker *broker, const struct cat_stream_config *config,
                       cat_done_cb done, void *data);
void cat_stream_delete(struct cat_broker *broker, struct chassis_view name, cat_done_cb done,
                       void *data);
/* Keep from `keep_from` on (0 = none), and at most the newest `keep_events` (0 = not used). */
void cat_stream_purge(struct cat_broker *broker, struct chassis_view name, uint64_t keep_from,
                      uint64_t keep_events,
                      void (*done)(void *data, int status, uint64_t purged,
                                   const struct chassis_error *err),
                      void *data);
/* CHASSIS_NOT_FOUND names the stream. */
int cat_stream_get(struct cat_broker *broker, struct chassis_view name,
                   struct cat_stream_info *ret_info, struct chassis_error *err);
/* A stream and its events are gone for good; what depends on it (groups) goes too. After `deleted`
 * the name may stand for a new stream with another number. One listener; NULL = none. */
void cat_broker_on_stream_deleted(struct cat_broker *broker,
                                  void (*deleted)(void *data, uint32_t number,
                                                  struct chassis_view name),
                                  void *data);
/* In order of names after `after`; `each` returns non-zero to stop. */
void cat_stream_list(struct cat_broker *broker, struct chassis_view prefix,
                     struct chassis_view after,
                     int (*each)(void *data, const struct cat_stream_info *info), void *data);

/* ---- publishing ---- */

struct cat_publish_event {
    struct cat_event event; /* parsed and valid (cat_event_parse), its bytes alive until done */
    /* Results: */
    int status; /* 0 stored or duplicate; CHASSIS_TOO_LARGE, CHASSIS_RESOURCE_EXHAUSTED … */
    bool duplicate;
    uint64_t sequence; /* in the first stream that took it; 0 for a duplicate not kept any more */
    struct fingerprint print; /* the broker's own */
};
/* Publishes of one order are done in the order they were made. Zeroed = ready; must outlive them. */
struct cat_publish_order {
    struct cat_publish *first, *last;
};
/* Caller's memory until `done`; what is not set is zero. */
struct cat_publish {
    struct chassis_view stream; /* empty = by the streams' rules */
    struct cat_publish_event *events;
    uint32_t n_events;
    struct cat_publish_order *order; /* of the caller, so that it waits for nobody else; NULL = an
                                        order it shares with all who give none */
    bool copy; /* readers of all streams have seen these events: dead letters */
    /* Before `done`: why an event was not stored everywhere it should be. May be NULL. */
    void (*refused)(struct cat_publish *publish, uint32_t event, const char *text);
    void (*done)(struct cat_publish *publish);
    int status;               /* 0, or what went wrong beyond single events: CHASSIS_NOT_FOUND
                                 (stream), CHASSIS_NO_SPACE, CHASSIS_BUSY; each event that was
                                 stored nevertheless has status 0 */
    struct chassis_error err; /* text of `status`, or of the first refused event */
    struct cat_publish *next; /* the broker's own from here on */
    struct cat_publish *waiting;
    uint32_t under_way;
    size_t bytes;
};
/* `done` does not run before this returns. */
void cat_publish(struct cat_broker *broker, struct cat_publish *publish);

/* ---- reading ---- */

enum cat_start_kind { CAT_START_NEW, CAT_START_EARLIEST, CAT_START_SEQUENCE, CAT_START_TIME };
struct cat_start {
    enum cat_start_kind kind;
    uint64_t sequence;
    int64_t time_ns;
};

struct cat_reader;
struct cat_reader_ops {
    /* One event that matches. Non-zero: not taken, stop for now (wake the reader later). `stream`
     * tells readers of all streams whose it is. */
    int (*event)(void *data, struct chassis_view stream, const struct cat_log_event *stored,
                 const struct cat_event *event);
    /* After a run of events: everything before `next` was given or did not match, or was delayed and
     * has been given since: a reader that goes on from here misses nothing. Readers of all streams: 0.
     */
    void (*pause)(void *data, uint64_t next);
    /* Events from … to - 1 of the stream are gone; `to` below `from`: the stream ends before `from`, and
     * goes on at `to`. */
    void (*gap)(void *data, struct chassis_view stream, uint64_t from, uint64_t to);
    /* The last callback: the stream was deleted (CHASSIS_NOT_FOUND), damage (CHASSIS_CORRUPT),
     * CHASSIS_SHUTTING_DOWN. */
    void (*ended)(void *data, int status, const struct chassis_error *err);
};
struct cat_reader_options {
    struct chassis_view stream; /* empty: events of every stream, new ones only */
    struct cat_start start;
    const struct cat_filter *filter; /* NULL = all; must outlive the reader */
    /* Events whose time has not come are given like others: the taker keeps them until then. Groups
     * do, durably; a reader that kept them back would leave them behind its place. */
    bool delayed_at_once;
    /* Without a filter: `event` gets NULL for the parsed event, so that nobody parses it. */
    bool unparsed;
    const struct cat_reader_ops *ops;
    void *data;
};
/* A reader begins asleep: cat_reader_wake starts it. It pauses at the end of the stream and goes on
 * by itself when something is stored. Delayed events come when their time has come, expired ones
 * never. */
int cat_reader_open(struct cat_broker *broker, const struct cat_reader_options *options,
                    struct cat_reader **ret_reader, struct chassis_error *err);
/* The taker has room again after `event` refused, or wants to begin. Callbacks may run at once. */
void cat_reader_wake(struct cat_reader *reader);
/* The next event to look at; for readers of one stream. */
uint64_t cat_reader_next(const struct cat_reader *reader);
/* No callback runs any more. Allowed inside a callback. NULL is fine. */
void cat_reader_close(struct cat_reader *reader);

/* Events by sequence, whatever the filters: for redelivery and peeking. `event` may be called fewer
 * times than asked (some are gone); `done` once. Cancelled by nothing: `data` lives until done. */
struct cat_fetch {
    struct chassis_view stream;
    const uint64_t *sequences; /* rising; NULL = from `from`, at most events_max */
    uint32_t n_sequences;
    uint64_t from;
    uint32_t events_max;
    size_t bytes_max;
    void (*event)(struct cat_fetch *fetch, const struct cat_log_event *stored);
    void (*done)(struct cat_fetch *fetch, int status, uint64_t next,
                 const struct chassis_error *err);
    struct cat_read read; /* the broker's own, zero at first, as what follows */
    void *broker;
    uint32_t place;
    struct chassis_list link;
    uint64_t next;
    size_t bytes_left;
    int status;
    struct chassis_error err;
    bool busy, again;
};
void cat_fetch(struct cat_broker *broker, struct cat_fetch *fetch);

/* Turn a start into a sequence of the stream. */
void cat_resolve(struct cat_broker *broker, struct chassis_view stream, struct cat_start start,
                 void (*resolved)(void *data, int status, uint64_t sequence,
                                  const struct chassis_error *err),
                 void *data);

#endif
