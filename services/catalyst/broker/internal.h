/* The broker from inside: what its files share. Everything belongs to the loop role.
 *
 *     life.c        opening and closing                   model.c      streams by name and in order
 *     controller.c  streams: changing, looking            places.c     a reader's place in each stream
 *     check.c       what a configuration must obey        publishing.c from a publish to its `done`
 *     dedupe.c      who was there before                  retention.c  floors, ages, space
 *     reader.c      readers                               fetch.c      single events, places
 *     refuse.c      events that are not stored
 */
#ifndef CAT_BROKER_INTERNAL_H
#define CAT_BROKER_INTERNAL_H

#include <chassis/metrics.h>

#include "base/assert.h"
#include "base/list.h"
#include "catalyst/broker/broker.h"
#include "catalyst/broker/catalog.h"
#include "catalyst/broker/dedupe.h"
#include "catalyst/event/subject.h"

enum { READ_BYTES = 64 << 10, READ_EVENTS = 1024 };

struct config { /* a configuration that owns its texts */
    struct cat_stream_config is;
    uint8_t bytes[];
};

enum phase {
    STREAM_MAKING, /* its row is on its way: nobody sees it */
    STREAM_AWAY,   /* its engine cannot be reached: its rules count, what they take is refused */
    STREAM_OPEN,
    STREAM_DELETED, /* its row is gone; waits for what is under way */
};

struct item { /* of a batch: an event of a publish */
    struct cat_publish *publish;
    uint32_t event;
    bool first; /* of the streams that took it */
};
struct rider { /* a duplicate of an event that is not stored yet */
    struct item item;
    uint64_t entry; /* of dedupe */
};
struct batch {
    struct cat_append append;
    struct chassis_list link; /* while it is in flight */
    struct stream *stream;
    struct batch *next;
    struct chassis_view *views;
    uint16_t *marks;
    struct item *items;
    uint64_t *entries; /* of dedupe, one per event */
    struct rider *riders;
    uint32_t n, cap, n_riders, cap_riders;
    size_t bytes;
};

struct stream {
    struct stream *chain; /* of its bucket */
    uint32_t hash, number;
    uint32_t n_asked;  /* at_time of its engine that will answer with it */
    uint32_t n_places; /* of them, for rebuilds: the last one counts */
    enum phase phase;
    bool changing;    /* a change of its row is on its way */
    bool away_told;   /* it was logged */
    bool floor_dirty; /* stands in broker->dirty */
    struct config *config;
    struct cat_log *log;
    int64_t created_ns;
    uint64_t first, last, readable; /* first: readers see nothing before it */
    uint64_t floor_durable;
    struct batch *gathering, *newest; /* newest: the last under way */
    uint32_t n_batches, n_held, cap_held, n_readers;
    struct held *held; /* events that wait until dedupe knows the past */
    struct dedupe *dedupe;
    struct rebuild *rebuild;
    struct chassis_list readers, fetches;
    struct chassis_list dirty; /* of broker->dirty; when deleted, of broker->limbo */
    bool dedupe_stale;
    double rate;
    int64_t rate_ns;
    struct chassis_timer *age; /* only with a limit on age */
    struct cat_broker *broker;
};

struct cat_broker {
    struct chassis_journal *journal;
    struct chassis_executor *loop, *workers;
    struct chassis_logger *log;
    int64_t (*wall)(void *data);
    void *wall_data;
    int (*engine)(void *data, struct chassis_view name, struct cat_log_engine **ret_engine,
                  struct chassis_error *err);
    void *engine_data;
    struct cat_log_engine *journal_engine;
    struct cat_catalog *catalog;

    /* model.c */
    struct stream **buckets, **sorted;
    struct stream **by_number; /* numbers are dense enough: index number - CAT_FIRST_STREAM */
    uint32_t n_buckets, n_streams, cap_sorted, cap_numbers;
    uint32_t n_names; /* those that are being made included */
    uint32_t next_number;
    struct cat_subject_index *rules;
    struct stream *catch_all;

    /* publishing.c */
    size_t publish_bytes, publish_bytes_max;
    struct cat_publish_order common;
    struct cat_publish *ready, **ready_tail;
    struct batch *gathering, **gathering_tail, *free_batches;
    uint32_t n_free_batches, n_publishes;
    struct chassis_list in_flight; /* batches */
    int64_t turn_ns;               /* the time of this turn, 0 = not asked for yet */
    struct chassis_task flush;
    uint8_t dedupe_key[16];
    struct dedupe_pool dedupe_pool;
    uint32_t last_deduped; /* number of the stream */

    /* reader.c */
    struct chassis_list everywhere; /* readers of all streams */
    struct chassis_list runnable, closed_readers;
    struct chassis_task pump;
    struct cat_filter_scratch scratch;
    struct cat_event parsed;
    uint32_t n_reading;

    /* retention.c */
    struct chassis_list dirty; /* streams whose floor is not durable */
    struct chassis_list limbo; /* deleted streams that something is under way for */
    struct chassis_timer floors;
    struct chassis_list floor_commits;

    void (*deleted)(void *data, uint32_t number, struct chassis_view name);
    void *deleted_data;
    struct chassis_list changes; /* of streams, under way */
    uint32_t n_away, n_opening;  /* away.c */
    struct chassis_timer away;
    bool closing, engines_closing;
    struct chassis_task close_task, draining;
    void (*closed)(void *data);
    void *closed_data;

    struct chassis_counter *events_in, *bytes_in, *events_out, *bytes_out, *duplicates, *refused;
    struct chassis_histogram *batch_events;
    struct chassis_gauge *streams_now, *readers_now, *bytes_under_way;
};

static inline int64_t broker_now(const struct cat_broker *b)
{
    return b->wall(b->wall_data);
}
/* Around at_time with the stream as data: an answer comes whatever happens meanwhile. */
static inline void stream_ask(struct stream *s)
{
    s->n_asked++;
    s->broker->n_reading++;
}
static inline void stream_answered(struct stream *s)
{
    s->n_asked--;
    s->broker->n_reading--;
}
static inline struct chassis_view stream_name(const struct stream *s)
{
    return s->config->is.name;
}

/* model.c */
struct config *cat_config_copy(const struct cat_stream_config *config);
bool cat_config_equal(const struct cat_stream_config *a, const struct cat_stream_config *b);
/* Whatever its phase; NULL. */
struct stream *cat_model_find(struct cat_broker *b, struct chassis_view name);
/* Only one that is open. */
struct stream *cat_model_open_stream(struct cat_broker *b, struct chassis_view name);
struct stream *cat_model_by_number(const struct cat_broker *b, uint32_t number);
/* Known by name from now on, to nobody but the controller. Takes the configuration. */
struct stream *cat_model_add(struct cat_broker *b, struct config **config, uint32_t number);
/* Everybody sees it; its rules count. */
void cat_model_show(struct cat_broker *b, struct stream *s);
/* Its rules count, but nobody sees it. */
void cat_model_await(struct cat_broker *b, struct stream *s);
void cat_model_hide(struct cat_broker *b, struct stream *s);
void cat_model_forget(struct cat_broker *b, struct stream *s);
void cat_model_set_rules(struct cat_broker *b, struct stream *s);
/* The place in `sorted` of the first name after `after`. */
uint32_t cat_model_after(const struct cat_broker *b, struct chassis_view after);
void cat_model_fini(struct cat_broker *b);

/* check.c: fills in defaults of *config. */
int cat_check_config(struct cat_stream_config *config, struct chassis_error *err);

/* away.c: the log of a stream that was found in the catalog; again and again until it is there. */
void cat_away_init(struct cat_broker *b);
void cat_away_open(struct stream *s);
/* Why a stream cannot be used: there is none (CHASSIS_NOT_FOUND), or it is away
 * (CHASSIS_UNAVAILABLE). */
int cat_stream_missing(struct cat_broker *b, struct chassis_view name, struct chassis_error *err);

/* life.c */
void cat_broker_close_if_idle(struct cat_broker *b);

/* controller.c */
enum { STREAM_COUNTER = 0 }; /* key of the row with the next number */
int cat_engine_for(struct cat_broker *b, struct chassis_view name,
                   struct cat_log_engine **ret_engine, struct chassis_error *err);
void cat_open_log(struct stream *s, struct cat_log_engine *engine,
                  void (*opened)(void *data, struct cat_log *log, const struct chassis_error *err),
                  void *data);
/* The log is open: the stream is what it holds from `floor` on. */
void cat_adopt_log(struct stream *s, struct cat_log *log, uint64_t floor);
void cat_changes_abandon(struct cat_broker *b);
void cat_stream_free_if_unused(struct stream *s);
int cat_stream_not_found(struct chassis_view name, struct chassis_error *err);

/* publishing.c */
void cat_publish_init(struct cat_broker *b);
void cat_publish_fini(struct cat_broker *b);
void cat_publish_run_ready(struct cat_broker *b);
/* Dedupe knows the past: what waited goes on, or is refused with `status`. */
void cat_publish_release(struct stream *s, int status, const struct chassis_error *err);

/* refuse.c */
void cat_refuse_event(struct cat_broker *b, struct item item, int status, const char *text);
/* Larger than the stream takes. */
void cat_refuse_too_large(struct stream *s, struct item item);
/* `limit` leaves no room for it. */
void cat_refuse_full(struct stream *s, struct item item, const char *limit);
/* A stream that takes it could not store it; what others store of the same publish counts. */
void cat_fail_event(struct cat_broker *b, struct item item, int status,
                    const struct chassis_error *err);
/* All of it, with the text in its `err`. */
void cat_refuse_whole(struct cat_publish *p, int status);

/* reader.c */
void cat_readers_init(struct cat_broker *b);
void cat_readers_fini(struct cat_broker *b);
void cat_readers_abandon(struct chassis_list *readers); /* free them: the loop is gone */
/* New events of a stream: those of `batch`, stored from `first` on. */
void cat_readers_stored(struct stream *s, const struct batch *batch, uint64_t first);
/* All of a stream (or, NULL, all) end. */
void cat_readers_end(struct cat_broker *b, struct stream *s, int status,
                     const struct chassis_error *err);

/* fetch.c */
void cat_fetches_end(struct stream *s, int status, const struct chassis_error *err);

/* retention.c */
void cat_retention_init(struct cat_broker *b);
void cat_retention_fini(struct cat_broker *b);
void cat_retention_abandon(struct cat_broker *b); /* its memory: the loop is gone */
/* Look whether limits leave room for what is there. */
void cat_retention_check(struct stream *s);
/* A stream that refuses new events: the limit that leaves no place for one more of `bytes`; NULL. */
const char *cat_retention_refuses(const struct stream *s, size_t bytes);
/* Its limit on age is new, or the stream is. */
void cat_retention_arm(struct stream *s);
void cat_retention_disarm(struct stream *s);
void cat_retention_free(struct stream *s); /* as disarm, but the loop is gone */
/* Readers see nothing before `first` any more; space is given back later. */
void cat_retention_raise(struct stream *s, uint64_t first);
void cat_retention_flush(struct cat_broker *b);

#endif
