#include "catalyst/broker/journal_log.h"

#include <stdlib.h>

#include "base/assert.h"

enum { RECORDS_KEPT_MAX = 4096, RECORD_OVERHEAD = 64 + 7 };

static struct journal_log *log_of(struct cat_log *base)
{
    return chassis_container_of(base, struct journal_log, base);
}

static struct chassis_journal_stream bounds(const struct journal_log *log)
{
    struct chassis_journal_stream s = chassis_journal_stream(log->engine->journal, log->number);
    s.first_index = s.first_index != 0 ? s.first_index : 1;
    return s;
}

uint64_t cat_journal_readable(const struct journal_log *log, const struct chassis_journal_stream *s)
{
    return log->durability == CAT_MEMORY ? s->last_index : s->written_index;
}

/* ---- times of the ends ---- */

static int take_time(const struct chassis_journal_record *record, void *data)
{
    *(int64_t *)data = record->time_ns;
    return 1;
}

static int64_t time_of(const struct journal_log *log, uint64_t index)
{
    int64_t time_ns = 0;
    chassis_journal_read(log->engine->journal, log->number, index, 1, take_time, &time_ns, NULL);
    return time_ns;
}

static void know_last_time(struct journal_log *log, const struct chassis_journal_stream *s)
{
    if (!log->times_known) {
        log->times_known = true;
        if (s->last_index >= s->first_index && s->last_index != 0) {
            log->last_time_ns = time_of(log, s->last_index);
        }
    }
}

/* ---- appending ---- */

static void log_free_if_closed(struct journal_log *log)
{
    if (log->closing && log->n_puts == 0) {
        chassis_list_remove(&log->link);
        cat_weights_fini(&log->weights);
        free(log);
    }
}

static void put_done(struct chassis_journal_append *append)
{
    struct put *put = chassis_container_of(append, struct put, append);
    struct journal_log *log = put->log;
    struct journal_engine *engine = log->engine;
    struct cat_append *of = put->of;
    chassis_list_remove(&put->link);
    put->next = engine->free_puts;
    engine->free_puts = put;
    log->n_puts--;
    of->appended(of, 0, NULL);
    log_free_if_closed(log);
    cat_journal_engine_end_if_idle(engine);
}

static struct put *put_take(struct journal_log *log, struct cat_append *of)
{
    struct journal_engine *engine = log->engine;
    struct put *put = engine->free_puts;
    if (put != NULL) {
        engine->free_puts = put->next;
    } else {
        put = chassis_base_zalloc(sizeof *put);
    }
    put->of = of;
    put->log = log;
    return put;
}

/* The journal syncs at an interval of its own: who wants it sooner gets it at once. */
static enum chassis_journal_durability durability_of(const struct journal_log *log)
{
    switch (log->durability) {
    case CAT_FSYNC:
        break;
    case CAT_INTERVAL:
        return log->interval_ms < CAT_JOURNAL_SYNC_MS ? CHASSIS_JOURNAL_SYNC
                                                      : CHASSIS_JOURNAL_INTERVAL;
    case CAT_MEMORY:
        return CHASSIS_JOURNAL_NONE;
    }
    return CHASSIS_JOURNAL_SYNC;
}

static struct chassis_journal_record *records_for(struct journal_engine *engine, uint32_t n)
{
    if (n > engine->cap_records) {
        free(engine->records);
        engine->cap_records = n < 64 ? 64 : n;
        engine->records = chassis_base_alloc(engine->cap_records * sizeof *engine->records);
    }
    return engine->records;
}

static int journal_log_append(struct cat_log *base, struct cat_append *append,
                              struct chassis_error *err)
{
    struct journal_log *log = log_of(base);
    struct journal_engine *engine = log->engine;
    struct chassis_journal_stream s = bounds(log);
    know_last_time(log, &s);
    int64_t time_ns = append->time_ns > log->last_time_ns ? append->time_ns : log->last_time_ns;
    struct chassis_journal_record *records = records_for(engine, append->n_events);
    for (uint32_t i = 0; i < append->n_events; i++) {
        records[i] = (struct chassis_journal_record){
            .index = s.last_index + 1 + i,
            .time_ns = time_ns,
            .type = append->marks != NULL ? append->marks[i] : 0,
            .payload = append->events[i],
        };
    }
    struct put *put = put_take(log, append);
    put->append = (struct chassis_journal_append){.stream = log->number,
                                                  .durability = durability_of(log),
                                                  .records = records,
                                                  .n_records = append->n_events,
                                                  .done = put_done};
    int rc = chassis_journal_append(engine->journal, &put->append, err);
    if (rc < 0) {
        put->next = engine->free_puts;
        engine->free_puts = put;
        return rc;
    }
    chassis_list_append(&engine->puts, &put->link);
    log->n_puts++;
    log->last_time_ns = time_ns;
    for (uint32_t i = 0; i < append->n_events && log->weights.marks != NULL; i++) {
        cat_weights_add(&log->weights, (append->events[i].len + RECORD_OVERHEAD) & ~(size_t)7);
    }
    append->time_ns = time_ns;
    append->first_sequence = s.last_index + 1;
    if (engine->cap_records > RECORDS_KEPT_MAX) {
        free(engine->records);
        engine->records = NULL;
        engine->cap_records = 0;
    }
    return 0;
}

/* ---- state ---- */

/* Asked for again and again: of the first event kept. */
static int64_t journal_log_time_of(struct cat_log *base, uint64_t sequence)
{
    struct journal_log *log = log_of(base);
    if (log->first_time_of != sequence) {
        log->first_time_of = sequence;
        log->first_time_ns = time_of(log, sequence);
    }
    return log->first_time_ns;
}

static struct cat_log_state journal_log_state(struct cat_log *base)
{
    struct journal_log *log = log_of(base);
    struct chassis_journal_stream s = bounds(log);
    know_last_time(log, &s);
    bool any = s.first_index <= s.last_index;
    return (struct cat_log_state){
        .first = s.first_index,
        .last = s.last_index,
        .readable = cat_journal_readable(log, &s),
        .bytes = s.bytes,
        .first_time_ns = any ? journal_log_time_of(base, s.first_index) : 0,
        .last_time_ns = log->last_time_ns,
    };
}

/* Counting begins when somebody asks, which is when there is a limit. */
static uint64_t journal_log_at_bytes(struct cat_log *base, uint64_t bytes_max)
{
    struct journal_log *log = log_of(base);
    struct chassis_journal_stream s = bounds(log);
    if (log->weights.marks == NULL) {
        cat_weights_init(&log->weights, s.first_index, s.last_index, s.bytes, bytes_max / 32);
    }
    uint64_t sequence = cat_weights_at(&log->weights, bytes_max);
    return sequence > s.first_index ? sequence : s.first_index;
}

static void journal_log_at_time(struct cat_log *base, int64_t time_ns,
                                void (*found)(void *data, int status, uint64_t sequence),
                                void *data)
{
    struct journal_log *log = log_of(base);
    struct chassis_journal_stream s = bounds(log);
    uint64_t sequence = s.last_index + 1;
    int rc = 0;
    if (s.first_index <= s.last_index) {
        rc = chassis_journal_at_time(log->engine->journal, log->number, time_ns, &sequence, NULL);
    }
    found(data, rc, sequence);
}

static void journal_log_trim(struct cat_log *base, uint64_t through)
{
    struct journal_log *log = log_of(base);
    chassis_journal_trim(log->engine->journal, log->number, through);
    if (log->weights.marks != NULL) {
        cat_weights_trim(&log->weights, through + 1);
    }
}

/* ---- life ---- */

static void journal_log_set_interval(struct cat_log *base, uint32_t interval_ms)
{
    log_of(base)->interval_ms = interval_ms;
}

static void journal_log_close(struct cat_log *base)
{
    struct journal_log *log = log_of(base);
    log->closing = true;
    log_free_if_closed(log);
}

static void journal_log_destroy(struct cat_log *base)
{
    struct journal_log *log = log_of(base);
    chassis_journal_forget(log->engine->journal, log->number);
    journal_log_close(base);
}

static const struct cat_log_ops log_ops = {
    .append = journal_log_append,
    .read = cat_journal_log_read,
    .cancel = cat_journal_log_cancel,
    .at_time = journal_log_at_time,
    .state = journal_log_state,
    .at_bytes = journal_log_at_bytes,
    .trim = journal_log_trim,
    .time_of = journal_log_time_of,
    .set_interval = journal_log_set_interval,
    .close = journal_log_close,
    .destroy = journal_log_destroy,
};

static void engine_open(struct cat_log_engine *base, const struct cat_log_options *options,
                        void (*opened)(void *data, struct cat_log *log,
                                       const struct chassis_error *err),
                        void *data)
{
    struct journal_engine *engine = chassis_container_of(base, struct journal_engine, base);
    struct journal_log *log = chassis_base_zalloc(sizeof *log);
    log->base.ops = &log_ops;
    log->engine = engine;
    log->number = options->number;
    log->durability = options->durability;
    log->interval_ms = options->interval_ms;
    chassis_list_append(&engine->logs, &log->link);
    opened(data, &log->base, NULL);
}

static void engine_free(struct journal_engine *engine)
{
    while (engine->free_puts != NULL) {
        struct put *next = engine->free_puts->next;
        free(engine->free_puts);
        engine->free_puts = next;
    }
    cat_journal_read_fini(engine);
    free(engine->records);
    free(engine);
}

void cat_journal_engine_end_if_idle(struct journal_engine *engine)
{
    if (!engine->closing || !chassis_list_empty(&engine->puts) || engine->n_jobs != 0) {
        return;
    }
    void (*closed)(void *) = engine->closed;
    void *data = engine->closed_data;
    engine_free(engine);
    closed(data);
}

void cat_journal_engine_abandon(struct cat_log_engine *base)
{
    struct journal_engine *engine = chassis_container_of(base, struct journal_engine, base);
    chassis_list_foreach_safe (link, &engine->puts) {
        free(chassis_list_entry(link, struct put, link));
    }
    chassis_list_foreach_safe (link, &engine->logs) {
        struct journal_log *log = chassis_list_entry(link, struct journal_log, link);
        cat_weights_fini(&log->weights);
        free(log);
    }
    engine_free(engine);
}

static void engine_close(struct cat_log_engine *base, void (*closed)(void *data), void *data)
{
    struct journal_engine *engine = chassis_container_of(base, struct journal_engine, base);
    engine->closing = true;
    engine->closed = closed;
    engine->closed_data = data;
    cat_journal_engine_end_if_idle(engine);
}

static const struct cat_log_engine_ops engine_ops = {.open = engine_open, .close = engine_close};

struct cat_log_engine *cat_journal_engine_new(struct chassis_journal *journal,
                                              struct chassis_executor *loop,
                                              struct chassis_executor *workers)
{
    struct journal_engine *engine = chassis_base_zalloc(sizeof *engine);
    engine->base.ops = &engine_ops;
    engine->base.name = "journal";
    engine->journal = journal;
    engine->loop = loop;
    engine->workers = workers;
    chassis_list_init(&engine->puts);
    chassis_list_init(&engine->logs);
    cat_journal_read_init(engine);
    return &engine->base;
}
