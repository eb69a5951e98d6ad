/* Life of the broker: opening it over what the journal holds, and closing it. */
#include <stdlib.h>

#include "base/prng.h"
#include "catalyst/broker/codec.h"
#include "catalyst/broker/internal.h"
#include "catalyst/broker/journal_log.h"
#include "catalyst/broker/rebuild.h"

enum { DEDUPE_EVENTS = 4 << 20 };

/* ---- opening ---- */

struct loading {
    struct cat_broker *broker;
    struct chassis_error *err;
    struct cat_stream_row row;
    int rc;
};

static int load_stream(void *data, struct chassis_view key, struct chassis_view value)
{
    struct loading *l = data;
    struct cat_broker *b = l->broker;
    l->rc = cat_stream_row_decode(value, &l->row, l->err);
    if (l->rc < 0) {
        chassis_error_wrap(l->err, "stream '%.*s'", CHASSIS_VIEW_ARG(key));
        return 1;
    }
    struct config *copy = cat_config_copy(&l->row.config);
    struct stream *s = cat_model_add(b, &copy, l->row.number);
    s->created_ns = l->row.created_ns;
    cat_away_open(s);
    return 0;
}

/* What is left of streams that were deleted, or not yet made, just before a crash. */
struct leftovers {
    const struct cat_broker *broker;
    uint32_t *numbers;
    uint32_t n, cap;
};

static void find_leftover(uint32_t number, void *data)
{
    struct leftovers *l = data;
    if (number < CAT_FIRST_STREAM || cat_model_by_number(l->broker, number) != NULL) {
        return;
    }
    if (l->n == l->cap) {
        l->cap = l->cap != 0 ? l->cap * 2 : 16;
        l->numbers = chassis_base_realloc(l->numbers, l->cap * sizeof *l->numbers);
    }
    l->numbers[l->n++] = number;
}

static void drop_leftovers(struct cat_broker *b)
{
    struct leftovers l = {.broker = b};
    chassis_journal_each_stream(b->journal, find_leftover, &l);
    for (uint32_t i = 0; i < l.n; i++) {
        chassis_journal_forget(b->journal, l.numbers[i]);
    }
    free(l.numbers);
}

static void on_catalog_idle(void *data)
{
    cat_broker_close_if_idle(data);
}

static int load(struct cat_broker *b, struct chassis_error *err)
{
    struct cat_number_key key = cat_number_key(STREAM_COUNTER);
    struct chassis_view row;
    uint64_t next = CAT_FIRST_STREAM;
    int rc = cat_catalog_open(b->journal, b->log, &b->catalog, err);
    if (rc == 0 && cat_catalog_get(b->catalog, CAT_ROW_COUNTER, chassis_view(key.bytes, sizeof key),
                                   &row) == 0) {
        rc = cat_number_row_decode(row, &next, err);
    }
    if (rc < 0) {
        return rc;
    }
    b->next_number = (uint32_t)next;
    cat_catalog_on_idle(b->catalog, on_catalog_idle, b);
    struct loading *l = chassis_base_zalloc(sizeof *l);
    l->broker = b;
    l->err = err;
    cat_catalog_each(b->catalog, CAT_ROW_STREAM, load_stream, l);
    rc = l->rc;
    free(l);
    drop_leftovers(b);
    return rc;
}

static void on_default_made(void *data, int status, const struct chassis_error *err)
{
    int *ret_status = data;
    if (ret_status != NULL) {
        *ret_status = status;
    }
}

/* What is published before its row is durable stands behind the row in the journal: everybody may see
 * it at once. */
static int make_default(struct cat_broker *b, struct chassis_error *err)
{
    static const struct cat_stream_config config = {
        .name = {(const uint8_t *)"default", 7},
        .dedupe_ms = 120000,
        .description = {(const uint8_t *)"What no other stream takes.", 27},
    };
    if (cat_model_find(b, config.name) != NULL) {
        return 0;
    }
    cat_stream_create(b, &config, on_default_made, NULL);
    struct stream *s = cat_model_find(b, config.name);
    if (s == NULL) {
        return chassis_error_set(err, CHASSIS_NO_SPACE,
                                 "the journal has no room for the stream 'default'");
    }
    cat_model_show(b, s);
    return 0;
}

static void init_metrics(struct cat_broker *b)
{
    static const double bounds[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000};
    b->events_in = chassis_counter("catalyst_events_stored_total",
                                   "Events stored, once per stream that took them.", NULL, 0);
    b->bytes_in =
        chassis_counter("catalyst_stored_bytes_total", "Bytes of the events stored.", NULL, 0);
    b->events_out = chassis_counter("catalyst_events_delivered_total",
                                    "Events given to readers: consumers and groups.", NULL, 0);
    b->bytes_out = chassis_counter("catalyst_delivered_bytes_total",
                                   "Bytes of the events given to readers.", NULL, 0);
    b->duplicates = chassis_counter("catalyst_duplicates_total",
                                    "Events that were stored before, within the window.", NULL, 0);
    b->refused = chassis_counter("catalyst_events_refused_total", "Events not stored.", NULL, 0);
    b->streams_now = chassis_gauge("catalyst_streams", "Streams there are.", NULL, 0);
    b->readers_now =
        chassis_gauge("catalyst_readers", "Open readers: consumers and groups.", NULL, 0);
    b->bytes_under_way =
        chassis_gauge("catalyst_publish_pending_bytes",
                      "Events accepted and not yet answered, with bookkeeping.", NULL, 0);
    b->batch_events =
        chassis_histogram("catalyst_batch_events", "Events of one stream stored together.", bounds,
                          sizeof bounds / sizeof bounds[0], NULL, 0);
}

static void stream_free_now(struct stream *s)
{
    cat_retention_free(s);
    cat_readers_abandon(&s->readers);
    s->phase = STREAM_DELETED;
    s->n_batches = s->n_readers = 0;
    s->gathering = NULL;
    s->changing = false;
    free(s->rebuild);
    s->rebuild = NULL;
    cat_stream_free_if_unused(s);
}

static void broker_free(struct cat_broker *b)
{
    cat_changes_abandon(b);
    cat_retention_abandon(b);
    for (uint32_t i = 0; i < b->n_buckets; i++) {
        for (struct stream *s = b->buckets[i], *next; s != NULL; s = next) {
            next = s->chain;
            stream_free_now(s);
        }
    }
    chassis_list_foreach_safe (link, &b->limbo) {
        stream_free_now(chassis_list_entry(link, struct stream, dirty));
    }
    cat_publish_fini(b);
    cat_readers_fini(b);
    cat_model_fini(b);
    cat_catalog_close(b->catalog);
    free(b);
}

static void on_close_task(struct chassis_task *task);

int cat_broker_open(const struct cat_broker_options *o, struct cat_broker **ret_broker,
                    struct chassis_error *err)
{
    struct cat_broker *b = chassis_base_zalloc(sizeof *b);
    b->journal = o->journal;
    b->loop = o->loop;
    b->workers = o->workers;
    b->log = o->log;
    b->wall = o->wall_ns;
    b->wall_data = o->wall_data;
    b->engine = o->engine;
    b->engine_data = o->engine_data;
    b->publish_bytes_max = o->publish_bytes_max != 0 ? o->publish_bytes_max : 64 << 20;
    b->dedupe_pool.max = o->dedupe_events_max != 0 ? o->dedupe_events_max : DEDUPE_EVENTS;
    b->journal_engine = cat_journal_engine_new(o->journal, o->loop, o->workers);
    b->rules = cat_subject_index_new();
    b->close_task.run = on_close_task;
    chassis_base_random_bytes(b->dedupe_key, sizeof b->dedupe_key);
    chassis_list_init(&b->limbo);
    chassis_list_init(&b->changes);
    init_metrics(b);
    cat_publish_init(b);
    cat_readers_init(b);
    cat_retention_init(b);
    cat_away_init(b);
    int rc = load(b, err);
    rc = rc == 0 ? make_default(b, err) : rc;
    if (rc < 0) {
        cat_broker_abandon(b);
        return rc;
    }
    chassis_log_info(b->log, "broker open", chassis_f_u64("streams", b->n_streams));
    *ret_broker = b;
    return 0;
}

/* ---- closing ---- */

static void on_engine_closed(void *data)
{
    struct cat_broker *b = data;
    b->journal_engine = NULL;
    void (*closed)(void *) = b->closed;
    void *closed_data = b->closed_data;
    broker_free(b);
    closed(closed_data);
}

static void on_close_task(struct chassis_task *task)
{
    struct cat_broker *b = chassis_container_of(task, struct cat_broker, close_task);
    if (b->engines_closing || b->n_publishes != 0 || !chassis_list_empty(&b->changes) ||
        b->n_reading != 0 || b->n_opening != 0 || !chassis_list_empty(&b->floor_commits) ||
        cat_catalog_under_way(b->catalog) != 0) {
        return;
    }
    b->engines_closing = true;
    for (uint32_t i = 0; i < b->n_streams; i++) {
        b->sorted[i]->log->ops->close(b->sorted[i]->log);
        b->sorted[i]->log = NULL;
    }
    b->journal_engine->ops->close(b->journal_engine, on_engine_closed, b);
}

/* After the flush of this turn, which comes before: what was published is appended. */
static void on_drain(struct chassis_task *task)
{
    struct cat_broker *b = chassis_container_of(task, struct cat_broker, draining);
    chassis_journal_drain(b->journal);
}

void cat_broker_close_if_idle(struct cat_broker *b)
{
    if (b->closing) {
        chassis_defer(b->loop, &b->close_task);
    }
}

void cat_broker_close(struct cat_broker *b, void (*closed)(void *data), void *data)
{
    struct chassis_error err = {0};
    chassis_error_set(&err, CHASSIS_SHUTTING_DOWN, "the broker is closing");
    b->closing = true;
    b->closed = closed;
    b->closed_data = data;
    cat_readers_end(b, NULL, CHASSIS_SHUTTING_DOWN, &err);
    for (uint32_t i = 0; i < b->n_streams; i++) {
        cat_fetches_end(b->sorted[i], CHASSIS_SHUTTING_DOWN, &err);
        cat_rebuild_cancel(b->sorted[i]);
        cat_publish_release(b->sorted[i], CHASSIS_SHUTTING_DOWN, &err);
        cat_retention_disarm(b->sorted[i]);
    }
    cat_retention_fini(b);
    chassis_cancel(b->loop, &b->away);
    b->draining.run = on_drain;
    chassis_defer(b->loop, &b->draining);
    cat_broker_close_if_idle(b);
}

void cat_broker_abandon(struct cat_broker *b)
{
    if (b != NULL) {
        cat_journal_engine_abandon(b->journal_engine);
        broker_free(b);
    }
}
