/* Streams: changing them, and looking at them. A change is a commit of the catalog:
 *
 *     create   open a log → commit row and counter → everybody sees it
 *     update   commit row → the new configuration counts
 *     delete   commit without rows → readers end, nobody sees it → the log goes → freed when nothing
 *              is under way
 *     purge    commit floor → readers see nothing before it → space is given back
 */
#include <math.h>
#include <stdlib.h>

#include "catalyst/broker/codec.h"
#include "catalyst/broker/internal.h"
#include "catalyst/broker/rebuild.h"

enum change_kind { CHANGE_CREATE, CHANGE_UPDATE, CHANGE_DELETE, CHANGE_PURGE };

struct change {
    struct cat_commit commit;
    struct chassis_list link;
    struct cat_broker *broker;
    struct stream *stream;
    enum change_kind kind;
    struct config *config; /* of an update */
    uint64_t floor;        /* of a purge */
    cat_done_cb done;
    void (*purged)(void *data, int status, uint64_t purged, const struct chassis_error *err);
    void *data;
};

int cat_stream_not_found(struct chassis_view name, struct chassis_error *err)
{
    return chassis_error_set(err, CHASSIS_NOT_FOUND, "there is no stream '%.*s'",
                             CHASSIS_VIEW_ARG(name));
}

void cat_stream_free_if_unused(struct stream *s)
{
    if (s->phase != STREAM_DELETED || s->n_batches != 0 || s->gathering != NULL ||
        s->rebuild != NULL || s->n_readers != 0 || s->n_asked != 0 || s->changing) {
        return;
    }
    chassis_list_remove(&s->dirty);
    cat_dedupe_free(s->dedupe);
    free(s->age);
    free(s->held);
    free(s->config);
    free(s);
}

static struct change *change_new(struct cat_broker *b, struct stream *s, enum change_kind kind,
                                 cat_done_cb done, void *data)
{
    struct change *c = chassis_base_zalloc(sizeof *c);
    c->broker = b;
    c->stream = s;
    c->kind = kind;
    c->done = done;
    c->data = data;
    s->changing = true;
    chassis_list_append(&b->changes, &c->link);
    return c;
}

static void change_end(struct change *c, int status, const struct chassis_error *err)
{
    struct cat_broker *b = c->broker;
    chassis_list_remove(&c->link);
    if (c->done != NULL) {
        c->done(c->data, status, err);
    }
    free(c->config);
    free(c);
    cat_broker_close_if_idle(b);
}

/* ---- what a durable change does ---- */

static void created(struct change *c)
{
    if (c->stream->phase == STREAM_MAKING) {
        cat_model_show(c->broker, c->stream);
        cat_retention_arm(c->stream);
    }
}

static void updated(struct change *c)
{
    struct stream *s = c->stream;
    uint64_t dedupe_ms = s->config->is.dedupe_ms;
    free(s->config);
    s->config = c->config;
    c->config = NULL;
    cat_model_set_rules(c->broker, s);
    s->dedupe_stale = s->dedupe_stale || s->config->is.dedupe_ms > dedupe_ms;
    cat_dedupe_set_window(s->dedupe, s->config->is.dedupe_ms);
    if (s->log->ops->set_interval != NULL) {
        s->log->ops->set_interval(s->log, s->config->is.interval_ms);
    }
    cat_retention_arm(s);
    cat_retention_check(s);
}

static void deleted(struct change *c)
{
    struct stream *s = c->stream;
    struct cat_broker *b = c->broker;
    struct chassis_error err = {0};
    cat_stream_not_found(stream_name(s), &err);
    cat_model_hide(b, s);
    cat_model_forget(b, s);
    s->phase = STREAM_DELETED;
    cat_retention_disarm(s);
    chassis_list_append(&b->limbo, &s->dirty);
    cat_readers_end(b, s, CHASSIS_NOT_FOUND, &err);
    cat_fetches_end(s, CHASSIS_NOT_FOUND, &err);
    cat_rebuild_cancel(s);
    cat_publish_release(s, CHASSIS_NOT_FOUND, &err);
    s->log->ops->destroy(s->log);
    s->log = NULL;
    chassis_log_info(b->log, "stream deleted", chassis_f_view("stream", stream_name(s)));
    if (b->deleted != NULL) {
        b->deleted(b->deleted_data, s->number, stream_name(s));
    }
    s->changing = false;
    cat_stream_free_if_unused(s);
}

static void purged(struct change *c)
{
    struct stream *s = c->stream;
    uint64_t before = s->first;
    s->floor_durable = c->floor > s->floor_durable ? c->floor : s->floor_durable;
    cat_retention_raise(s, c->floor);
    s->log->ops->trim(s->log, s->floor_durable - 1);
    c->purged(c->data, 0, s->first > before ? s->first - before : 0, NULL);
}

static void on_change(struct cat_commit *commit)
{
    struct change *c = chassis_container_of(commit, struct change, commit);
    c->stream->changing = c->kind == CHANGE_DELETE; /* until all that is done */
    switch (c->kind) {
    case CHANGE_CREATE:
        created(c);
        break;
    case CHANGE_UPDATE:
        updated(c);
        break;
    case CHANGE_DELETE:
        deleted(c);
        break;
    case CHANGE_PURGE:
        purged(c);
        break;
    }
    change_end(c, 0, NULL);
}

/* ---- commits ---- */

static int commit_config(struct change *c, const struct cat_stream_config *config,
                         struct chassis_error *err)
{
    struct chassis_buf row = {0};
    struct cat_number_key key = cat_number_key(STREAM_COUNTER);
    struct cat_number_row next = cat_number_row(c->broker->next_number);
    cat_stream_row_encode(config, c->stream->number, c->stream->created_ns, &row);
    struct cat_change changes[2] = {
        {CAT_ROW_STREAM, config->name, chassis_buf_view(&row)},
        {CAT_ROW_COUNTER, chassis_view(key.bytes, sizeof key), chassis_view(&next, sizeof next)},
    };
    c->commit.done = on_change;
    int rc = cat_catalog_commit(c->broker->catalog, changes, c->kind == CHANGE_CREATE ? 2 : 1,
                                &c->commit, err);
    chassis_buf_fini(&row);
    return rc;
}

/* A change that was refused: nothing happened. */
static void refuse(struct change *c, int status, const struct chassis_error *err)
{
    c->stream->changing = false;
    change_end(c, status, err);
}

static void create_failed(struct change *c, int status, const struct chassis_error *err)
{
    struct stream *s = c->stream;
    cat_model_forget(c->broker, s);
    if (s->log != NULL) {
        s->log->ops->destroy(s->log);
    }
    change_end(c, status, err);
    s->changing = false;
    s->phase = STREAM_DELETED;
    cat_stream_free_if_unused(s);
}

void cat_adopt_log(struct stream *s, struct cat_log *log, uint64_t floor)
{
    s->log = log;
    struct cat_log_state state = log->ops->state(log);
    s->floor_durable = floor;
    s->first = state.first > floor ? state.first : floor;
    s->first = s->first <= state.last ? s->first : state.last + 1;
    s->last = state.last;
    s->readable = state.readable;
    if (floor > state.first) {
        log->ops->trim(log, floor - 1); /* what a crash brought back */
    }
}

static void on_log_of_new(void *data, struct cat_log *log, const struct chassis_error *err)
{
    struct change *c = data;
    struct chassis_error own = {0};
    if (log == NULL) {
        create_failed(c, err->code, err);
        return;
    }
    cat_adopt_log(c->stream, log, 1);
    int rc = commit_config(c, &c->stream->config->is, &own);
    if (rc < 0) {
        create_failed(c, rc, &own);
    }
}

int cat_engine_for(struct cat_broker *b, struct chassis_view name,
                   struct cat_log_engine **ret_engine, struct chassis_error *err)
{
    if (chassis_view_eq(name, chassis_view_str("journal"))) {
        *ret_engine = b->journal_engine;
        return 0;
    }
    if (b->engine == NULL) {
        return chassis_error_set(err, CHASSIS_UNIMPLEMENTED,
                                 "backend '%.*s' is not configured here; there is 'journal'",
                                 CHASSIS_VIEW_ARG(name));
    }
    return b->engine(b->engine_data, name, ret_engine, err);
}

void cat_open_log(struct stream *s, struct cat_log_engine *engine,
                  void (*opened)(void *data, struct cat_log *log, const struct chassis_error *err),
                  void *data)
{
    const struct cat_stream_config *config = &s->config->is;
    struct cat_log_options options = {.name = config->name,
                                      .number = s->number,
                                      .durability = config->durability,
                                      .interval_ms = config->interval_ms};
    engine->ops->open(engine, &options, opened, data);
}

/* ---- requests ---- */

/* What stands under the name already: 0 = nothing, 1 = the same. */
static int check_existing(struct cat_broker *b, const struct cat_stream_config *config,
                          struct chassis_error *err)
{
    const struct stream *s = cat_model_find(b, config->name);
    if (s == NULL) {
        return 0;
    }
    if (s->changing) {
        return chassis_error_set(err, CHASSIS_ABORTED, "stream '%.*s' is being changed: try again",
                                 CHASSIS_VIEW_ARG(config->name));
    }
    return cat_config_equal(config, &s->config->is)
               ? 1
               : chassis_error_set(err, CHASSIS_ALREADY_EXISTS,
                                   "stream '%.*s' exists with another configuration",
                                   CHASSIS_VIEW_ARG(config->name));
}

static int check_create(struct cat_broker *b, struct cat_stream_config *config,
                        struct cat_log_engine **ret_engine, struct chassis_error *err)
{
    int rc = b->closing ? chassis_error_set(err, CHASSIS_SHUTTING_DOWN, "the broker is closing")
                        : cat_check_config(config, err);
    rc = rc == 0 ? check_existing(b, config, err) : rc;
    if (rc == 0 && (b->n_names >= CAT_STREAMS_MAX || b->next_number == UINT32_MAX)) {
        rc = chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED, "%u streams, at most %d",
                               b->n_names, CAT_STREAMS_MAX);
    }
    return rc == 0 ? cat_engine_for(b, config->backend, ret_engine, err) : rc;
}

void cat_stream_create(struct cat_broker *b, const struct cat_stream_config *wanted,
                       cat_done_cb done, void *data)
{
    struct cat_stream_config config = *wanted;
    struct chassis_error err = {0};
    struct cat_log_engine *engine;
    int rc = check_create(b, &config, &engine, &err);
    if (rc != 0) {
        done(data, rc > 0 ? 0 : rc, rc > 0 ? NULL : &err);
        return;
    }
    struct config *copy = cat_config_copy(&config);
    struct stream *s = cat_model_add(b, &copy, b->next_number++);
    s->created_ns = broker_now(b);
    cat_open_log(s, engine, on_log_of_new, change_new(b, s, CHANGE_CREATE, done, data));
}

/* The open stream of a name that may be changed now. */
static int changeable(struct cat_broker *b, struct chassis_view name, struct stream **ret_stream,
                      struct chassis_error *err)
{
    struct stream *s = cat_model_open_stream(b, name);
    if (b->closing) {
        return chassis_error_set(err, CHASSIS_SHUTTING_DOWN, "the broker is closing");
    }
    if (s == NULL) {
        return cat_stream_missing(b, name, err);
    }
    if (s->changing) {
        return chassis_error_set(err, CHASSIS_ABORTED, "stream '%.*s' is being changed: try again",
                                 CHASSIS_VIEW_ARG(name));
    }
    *ret_stream = s;
    return 0;
}

static int check_update(const struct stream *s, const struct cat_stream_config *config,
                        struct chassis_error *err)
{
    const char *what = NULL;
    what = config->durability != s->config->is.durability ? "durability" : what;
    what = !chassis_view_eq(config->backend, s->config->is.backend) ? "backend" : what;
    return what == NULL
               ? 0
               : chassis_error_set(err, CHASSIS_FAILED_PRECONDITION,
                                   "%s of stream '%.*s' cannot change: make another stream", what,
                                   CHASSIS_VIEW_ARG(config->name));
}

void cat_stream_update(struct cat_broker *b, const struct cat_stream_config *wanted,
                       cat_done_cb done, void *data)
{
    struct cat_stream_config config = *wanted;
    struct chassis_error err = {0};
    struct stream *s = NULL;
    int rc = cat_check_config(&config, &err);
    rc = rc == 0 ? changeable(b, config.name, &s, &err) : rc;
    rc = rc == 0 ? check_update(s, &config, &err) : rc;
    if (rc < 0) {
        done(data, rc, &err);
        return;
    }
    struct change *c = change_new(b, s, CHANGE_UPDATE, done, data);
    c->config = cat_config_copy(&config);
    rc = commit_config(c, &config, &err);
    if (rc < 0) {
        refuse(c, rc, &err);
    }
}

void cat_stream_delete(struct cat_broker *b, struct chassis_view name, cat_done_cb done, void *data)
{
    struct chassis_error err = {0};
    struct stream *s = NULL;
    int rc = changeable(b, name, &s, &err);
    if (rc == 0 && s == b->catch_all) {
        rc = chassis_error_set(&err, CHASSIS_FAILED_PRECONDITION,
                               "stream 'default' takes what no other does: purge it instead");
    }
    if (rc < 0) {
        done(data, rc, &err);
        return;
    }
    struct change *c = change_new(b, s, CHANGE_DELETE, done, data);
    struct cat_number_key key = cat_number_key(s->number);
    struct cat_change changes[2] = {
        {CAT_ROW_STREAM, stream_name(s), chassis_view(NULL, 0)},
        {CAT_ROW_FLOOR, chassis_view(key.bytes, sizeof key), chassis_view(NULL, 0)},
    };
    c->commit.done = on_change;
    rc = cat_catalog_commit(b->catalog, changes, 2, &c->commit, &err);
    if (rc < 0) {
        refuse(c, rc, &err);
    }
}

void cat_stream_purge(struct cat_broker *b, struct chassis_view name, uint64_t keep_from,
                      uint64_t keep_events,
                      void (*done)(void *data, int status, uint64_t purged,
                                   const struct chassis_error *err),
                      void *data)
{
    struct chassis_error err = {0};
    struct stream *s = NULL;
    int rc = changeable(b, name, &s, &err);
    if (rc < 0) {
        done(data, rc, 0, &err);
        return;
    }
    uint64_t end = s->readable + 1;
    uint64_t floor = keep_from == 0 && keep_events == 0 ? end : keep_from;
    if (keep_events != 0 && keep_events < end && end - keep_events > floor) {
        floor = end - keep_events;
    }
    floor = floor > end ? end : floor;
    if (floor <= s->first) {
        done(data, 0, 0, NULL);
        return;
    }
    struct change *c = change_new(b, s, CHANGE_PURGE, NULL, data);
    c->purged = done;
    c->floor = floor;
    struct cat_number_key key = cat_number_key(s->number);
    struct cat_number_row row = cat_number_row(floor);
    struct cat_change change = {CAT_ROW_FLOOR, chassis_view(key.bytes, sizeof key),
                                chassis_view(row.bytes, sizeof row)};
    c->commit.done = on_change;
    rc = cat_catalog_commit(b->catalog, &change, 1, &c->commit, &err);
    if (rc < 0) {
        done(data, rc, 0, &err);
        refuse(c, rc, &err);
    }
}

/* ---- looking ---- */

static void fill_info(const struct cat_broker *b, const struct stream *s,
                      struct cat_stream_info *info)
{
    struct cat_log_state state = s->log->ops->state(s->log);
    uint64_t kept = state.last + 1 - state.first;
    uint64_t shown = s->readable + 1 - s->first;
    double age_s = (double)(broker_now(b) - s->rate_ns) / 1e9;
    *info = (struct cat_stream_info){
        .config = s->config->is,
        .number = s->number,
        .created_ns = s->created_ns,
        .log = state,
        .events = shown,
        .rate = age_s < 0 ? s->rate : s->rate * exp(-age_s / 10),
        .readers = s->n_readers,
    };
    info->log.first = s->first;
    info->log.last = info->log.readable = s->readable;
    if (shown == 0) {
        info->log.bytes = 0;
        info->log.first_time_ns = 0;
    } else if (shown < kept) { /* the engine gives space back later */
        info->log.first_time_ns = s->log->ops->time_of != NULL
                                      ? s->log->ops->time_of(s->log, s->first)
                                      : info->log.first_time_ns;
        info->log.bytes = (uint64_t)((double)state.bytes * (double)shown / (double)kept);
    }
}

int cat_stream_get(struct cat_broker *b, struct chassis_view name, struct cat_stream_info *ret_info,
                   struct chassis_error *err)
{
    const struct stream *s = cat_model_open_stream(b, name);
    if (s == NULL) {
        return cat_stream_missing(b, name, err);
    }
    fill_info(b, s, ret_info);
    return 0;
}

void cat_stream_list(struct cat_broker *b, struct chassis_view prefix, struct chassis_view after,
                     int (*each)(void *data, const struct cat_stream_info *info), void *data)
{
    uint32_t i = cat_model_after(b, after);
    if (chassis_view_cmp(after, prefix) < 0) { /* the prefix itself may be a name */
        for (i = cat_model_after(b, prefix);
             i > 0 && chassis_view_eq(stream_name(b->sorted[i - 1]), prefix); i--) {
        }
    }
    for (; i < b->n_streams && chassis_view_starts_with(stream_name(b->sorted[i]), prefix); i++) {
        struct cat_stream_info info;
        fill_info(b, b->sorted[i], &info);
        if (each(data, &info) != 0) {
            return;
        }
    }
}

void cat_broker_on_stream_deleted(struct cat_broker *b,
                                  void (*on_deleted)(void *data, uint32_t number,
                                                     struct chassis_view name),
                                  void *data)
{
    b->deleted = on_deleted;
    b->deleted_data = data;
}

struct cat_catalog *cat_broker_catalog(struct cat_broker *b)
{
    return b->catalog;
}

void cat_changes_abandon(struct cat_broker *b)
{
    chassis_list_foreach_safe (link, &b->changes) {
        struct change *c = chassis_list_entry(link, struct change, link);
        chassis_buf_fini(&c->commit.payload);
        free(c->config);
        free(c);
    }
}
