/* Dead letters come back, are looked at, are purged. All of it is one walk over the dead-letter stream
 * in slices, which differs in what is done with a letter.
 *
 * A stream can only be cut at its front, so letters that were replayed from its middle stay; the place
 * of the group remembers them, in the same row as the events that were reopened: both or none are
 * there after a crash. */
#include <stdlib.h>

#include "catalyst/groups/internal.h"
#include "catalyst/groups/letter.h"

enum { SLICE = 256, SLICE_BYTES = 4 << 20 };
enum walk_kind { PEEK, REPLAY, PURGE };

struct again {         /* an event to be published again */
    uint64_t sequence; /* of its letter */
    struct chassis_buf bytes;
};
struct walk {
    struct cat_work work;
    enum walk_kind kind;
    struct chassis_buf dead_stream;
    uint64_t from, last;
    uint64_t *sequences; /* NULL = all */
    uint32_t n, at;
    uint64_t count, limit;
    struct cat_fetch fetch;
    struct again again[SLICE];
    uint32_t n_again;
    struct cat_publish publish;
    struct cat_publish_order order;
    struct cat_publish_event *events;
    void (*each)(void *data, const struct cat_log_event *stored);
    void (*peeked)(void *data, int status, uint64_t next, const struct chassis_error *err);
    cat_count_cb done;
    void *data;
    struct chassis_error err; /* the first thing that went wrong */
};

static void slice(struct walk *w);

/* ---- the end ---- */

static void clear_again(struct walk *w)
{
    for (uint32_t i = 0; i < w->n_again; i++) {
        chassis_buf_fini(&w->again[i].bytes);
    }
    w->n_again = 0;
}

static void walk_free(struct walk *w)
{
    clear_again(w);
    chassis_buf_fini(&w->dead_stream);
    free(w->sequences);
    free(w->events);
    free(w);
}

static void walk_abandon(struct cat_work *work)
{
    walk_free(chassis_container_of(work, struct walk, work));
}

static void finish(struct walk *w)
{
    struct cat_group *g = w->work.group;
    const struct chassis_error *err = w->err.code != 0 ? &w->err : NULL;
    if (w->kind == PEEK) {
        w->peeked(w->data, w->err.code, w->from, err);
    } else {
        g->walking = false;
        cat_group_touch(g); /* dead letters waited for this */
        w->done(w->data, w->err.code, w->count, err);
    }
    cat_work_end(&w->work, g->all);
    walk_free(w);
}

static void trimmed(void *data, int status, uint64_t purged, const struct chassis_error *err)
{
    finish(data); /* if not now, then with the next one */
}

/* Cut what was removed off the front of a stream that is the group's own. */
static void trim(struct walk *w)
{
    struct cat_group *g = w->work.group;
    struct cat_stream_info stream;
    bool own = g->config.dead_letter_stream.len == 0;
    if (g->state != CAT_GROUP_LIVE ||
        cat_stream_get(g->all->options.broker, chassis_buf_view(&w->dead_stream), &stream, NULL)) {
        finish(w);
        return;
    }
    cat_runs_cut(&g->replayed, stream.log.first);
    if (own && g->replayed.n != 0 && g->replayed.items[0].from <= stream.log.first) {
        uint64_t keep_from = g->replayed.items[0].to + 1;
        cat_stream_purge(g->all->options.broker, chassis_buf_view(&w->dead_stream), keep_from, 0,
                         trimmed, w);
    } else {
        finish(w);
    }
}

static void fail(struct walk *w, int status, const struct chassis_error *err)
{
    if (w->err.code == 0) {
        chassis_error_set(&w->err, status, "%s",
                          err != NULL ? chassis_error_text(err) : chassis_status_text(status));
    }
}

static void saved(void *data, int status, const struct chassis_error *err)
{
    struct walk *w = data;
    if (status != 0) {
        fail(w, status, err);
        finish(w);
    } else {
        trim(w);
    }
}

static void walked(struct walk *w)
{
    struct cat_group *g = w->work.group;
    if (g->all->closing && w->err.code == 0) {
        chassis_error_set(&w->err, CHASSIS_SHUTTING_DOWN, "the service is shutting down");
    }
    if (w->kind == PEEK || g->state != CAT_GROUP_LIVE || w->count == 0) {
        finish(w);
        return;
    }
    if (w->kind == PURGE && w->err.code == 0 && w->from > 1 &&
        !cat_runs_add(&g->replayed, 1, w->from - 1)) {
        chassis_error_set(&w->err, CHASSIS_RESOURCE_EXHAUSTED, "too many gaps: purge all");
    }
    cat_group_dirty(g);
    cat_group_touch(g);
    cat_group_save(g, saved, w);
}

/* ---- a letter ---- */

static uint32_t key_of(const struct cat_group *g, const struct cat_event *event)
{
    struct chassis_view key = event->partitionkey.len != 0 ? event->partitionkey : event->subject;
    return g->config.ordered_by_key && key.len != 0 ? cat_place_key(key) : 0;
}

static bool still_kept(const struct cat_group *g, uint64_t sequence)
{
    struct cat_stream_info stream;
    return cat_stream_get(g->all->options.broker, g->config.stream, &stream, NULL) == 0 &&
           sequence >= stream.log.first && sequence <= stream.log.last;
}

static void removed(struct walk *w, uint64_t sequence)
{
    if (cat_runs_add(&w->work.group->replayed, sequence, sequence)) {
        w->count++;
    } else {
        chassis_error_set(
            &w->err, CHASSIS_RESOURCE_EXHAUSTED,
            "too many gaps in stream '%.*s': replay or purge its oldest letters first",
            CHASSIS_VIEW_ARG(chassis_buf_view(&w->dead_stream)));
    }
}

static void replay_one(struct walk *w, uint64_t sequence, const struct cat_event *event,
                       const struct cat_letter *letter)
{
    struct cat_group *g = w->work.group;
    const struct cat_entry *e = cat_place_find(&g->place, letter->sequence);
    bool storing = e != NULL && (e->state == CAT_ENTRY_DEAD || e->state == CAT_ENTRY_STORING);
    bool full = false;
    if (w->err.code != 0 || storing) { /* this very letter is being stored: it stays */
        return;
    }
    if (g->replayed.n >= CAT_RUNS_MAX) {
        removed(w, sequence);
    } else if (!still_kept(g, letter->sequence)) {
        struct again *again = &w->again[w->n_again++];
        *again = (struct again){.sequence = sequence};
        cat_letter_restore(event, g->config.name, &again->bytes);
    } else if (!cat_place_reopen(&g->place, letter->sequence, key_of(g, event), sequence, &full) &&
               full) {
        chassis_error_set(&w->err, CHASSIS_RESOURCE_EXHAUSTED,
                          "group '%.*s' has no room for more now: go on when some are done",
                          CHASSIS_VIEW_ARG(g->config.name));
    } else {
        removed(w, sequence);
    }
}

static void letter(struct cat_fetch *fetch, const struct cat_log_event *stored)
{
    struct walk *w = chassis_container_of(fetch, struct walk, fetch);
    struct cat_group *g = w->work.group;
    struct cat_event event;
    struct cat_letter read;
    w->from = stored->sequence + 1;
    if (g->state != CAT_GROUP_LIVE || stored->sequence > w->last ||
        cat_runs_has(&g->replayed, stored->sequence) ||
        cat_event_parse(stored->bytes, &event, NULL) != 0 || !cat_letter_read(&event, &read) ||
        !chassis_view_eq(read.stream, g->config.stream) ||
        !chassis_view_eq(read.group, g->config.name)) {
        return;
    }
    switch (w->kind) {
    case PEEK:
        w->count++;
        w->each(w->data, stored);
        break;
    case PURGE:
        w->count++;
        break;
    case REPLAY:
        replay_one(w, stored->sequence, &event, &read);
        break;
    }
}

/* ---- slice by slice ---- */

static void published(struct cat_publish *publish)
{
    struct walk *w = chassis_container_of(publish, struct walk, publish);
    if (publish->status != 0) {
        fail(w, publish->status, &publish->err);
    }
    for (uint32_t i = 0; i < w->n_again && publish->status == 0; i++) {
        if (w->events[i].status != 0) {
            fail(w, w->events[i].status, &publish->err);
        } else if (w->events[i].duplicate) {
            struct chassis_error err = {0};
            chassis_error_set(
                &err, CHASSIS_FAILED_PRECONDITION,
                "the event of letter %llu is not kept any more, and its id still within "
                "the stream's dedupe window: replay it later",
                (unsigned long long)w->again[i].sequence);
            fail(w, err.code, &err);
        } else {
            removed(w, w->again[i].sequence);
        }
    }
    clear_again(w);
    slice(w);
}

static void publish_again(struct walk *w)
{
    struct chassis_error err = {0};
    uint32_t n = 0;
    w->events = chassis_base_realloc(w->events, SLICE * sizeof *w->events);
    for (uint32_t i = 0; i < w->n_again; i++) {
        struct again again = w->again[i];
        w->events[n] = (struct cat_publish_event){0};
        int rc = cat_event_parse(chassis_buf_view(&again.bytes), &w->events[n].event, &err);
        if (rc != 0) {
            fail(w, rc, &err);
            chassis_buf_fini(&again.bytes);
        } else {
            w->again[n++] = again;
        }
    }
    w->n_again = n;
    if (n == 0) {
        slice(w);
        return;
    }
    w->publish = (struct cat_publish){
        .stream = w->work.group->config.stream,
        .events = w->events,
        .n_events = n,
        .order = &w->order,
        .copy = true,
        .done = published,
    };
    cat_publish(w->work.group->all->options.broker, &w->publish);
}

static void slice_done(struct cat_fetch *fetch, int status, uint64_t next,
                       const struct chassis_error *err)
{
    struct walk *w = chassis_container_of(fetch, struct walk, fetch);
    if (w->sequences != NULL) {
        uint32_t tried = w->fetch.n_sequences;
        if (status == 0 && next != 0) { /* as far as it came */
            for (tried = 0; tried < w->fetch.n_sequences && w->sequences[w->at + tried] < next;) {
                tried++;
            }
            tried = tried != 0 ? tried : 1;
        }
        w->at += tried;
    } else if (next > w->from) {
        w->from = next;
    }
    if (status != 0 && status != CHASSIS_NOT_FOUND) {
        fail(w, status, err);
    } else if (status != 0 && w->sequences == NULL) {
        w->last = 0; /* nothing more there */
    }
    if (w->n_again != 0 && w->work.group->state == CAT_GROUP_LIVE) {
        publish_again(w);
    } else {
        slice(w);
    }
}

static void slice(struct walk *w)
{
    struct cat_group *g = w->work.group;
    struct cat_stream_info stream;
    uint64_t room = w->limit - w->count < SLICE ? w->limit - w->count : SLICE;
    bool more = w->sequences != NULL ? w->at < w->n : w->from <= w->last;
    if (!more || room == 0 || w->err.code != 0 || g->state != CAT_GROUP_LIVE || g->all->closing ||
        cat_stream_get(g->all->options.broker, chassis_buf_view(&w->dead_stream), &stream, NULL)) {
        walked(w);
        return;
    }
    w->fetch = (struct cat_fetch){
        .stream = chassis_buf_view(&w->dead_stream),
        .from = w->from > stream.log.first ? w->from : stream.log.first,
        .events_max = (uint32_t)room,
        .bytes_max = SLICE_BYTES,
        .event = letter,
        .done = slice_done,
    };
    if (w->sequences != NULL) {
        w->fetch.sequences = &w->sequences[w->at];
        w->fetch.n_sequences = w->n - w->at < room ? w->n - w->at : (uint32_t)room;
    }
    cat_fetch(g->all->options.broker, &w->fetch);
}

/* ---- to begin ---- */

static struct walk *begin(struct cat_groups *all, enum walk_kind kind, struct chassis_view stream,
                          struct chassis_view group, struct chassis_error *err)
{
    struct cat_group *g = cat_groups_live(all, stream, group, err);
    struct cat_stream_info info;
    if (g == NULL) {
        return NULL;
    }
    if (kind != PEEK && g->walking) {
        chassis_error_set(err, CHASSIS_BUSY,
                          "dead letters of group '%.*s' are being replayed or purged",
                          CHASSIS_VIEW_ARG(group));
        return NULL;
    }
    struct walk *w = chassis_base_zalloc(sizeof *w);
    w->kind = kind;
    w->limit = UINT64_MAX;
    w->from = 1;
    cat_dead_letter_stream(&g->config, &w->dead_stream);
    if (cat_stream_get(all->options.broker, chassis_buf_view(&w->dead_stream), &info, NULL) == 0) {
        w->last = info.log.last;
    }
    g->walking = g->walking || kind != PEEK;
    cat_work_begin(&w->work, all, g, walk_abandon);
    return w;
}

void cat_dead_letter_peek(struct cat_groups *all, struct chassis_view stream,
                          struct chassis_view group, uint64_t from, uint32_t limit,
                          void (*each)(void *data, const struct cat_log_event *stored),
                          void (*done)(void *data, int status, uint64_t next,
                                       const struct chassis_error *err),
                          void *data)
{
    struct chassis_error err = {0};
    struct walk *w = begin(all, PEEK, stream, group, &err);
    if (w == NULL) {
        done(data, err.code, 0, &err);
        return;
    }
    w->from = from != 0 ? from : 1;
    w->limit = limit;
    w->each = each;
    w->peeked = done;
    w->data = data;
    slice(w);
}

void cat_dead_letter_replay(struct cat_groups *all, struct chassis_view stream,
                            struct chassis_view group, const uint64_t *sequences, uint32_t n,
                            cat_count_cb done, void *data)
{
    struct chassis_error err = {0};
    for (uint32_t i = 0; i < n; i++) {
        if (sequences[i] == 0 || (i != 0 && sequences[i] <= sequences[i - 1])) {
            chassis_error_set(&err, CHASSIS_INVALID_ARGUMENT,
                              "sequences: they begin at 1, rise and are given once");
        }
    }
    struct walk *w = err.code == 0 ? begin(all, REPLAY, stream, group, &err) : NULL;
    if (w == NULL) {
        done(data, err.code, 0, &err);
        return;
    }
    if (sequences != NULL) {
        w->sequences = chassis_base_alloc((n + 1u) * sizeof *sequences);
        memcpy(w->sequences, sequences, n * sizeof *sequences);
        w->n = n;
    }
    w->done = done;
    w->data = data;
    slice(w);
}

void cat_dead_letter_purge(struct cat_groups *all, struct chassis_view stream,
                           struct chassis_view group, uint64_t through, cat_count_cb done,
                           void *data)
{
    struct chassis_error err = {0};
    struct walk *w = begin(all, PURGE, stream, group, &err);
    if (w == NULL) {
        done(data, err.code, 0, &err);
        return;
    }
    w->last = through != 0 && through < w->last ? through : w->last;
    w->done = done;
    w->data = data;
    slice(w);
}

int cat_dead_letter_state(struct cat_groups *all, struct chassis_view stream,
                          struct chassis_view group, struct cat_dead_letters *ret_state,
                          struct chassis_error *err)
{
    struct chassis_error own = {0};
    struct cat_group *g = cat_groups_live(all, stream, group, &own);
    struct cat_stream_info info;
    struct chassis_buf name = {0};
    if (g == NULL) {
        return chassis_error_set(err, own.code, "%s", own.text);
    }
    *ret_state = (struct cat_dead_letters){0};
    cat_dead_letter_stream(&g->config, &name);
    if (cat_stream_get(all->options.broker, chassis_buf_view(&name), &info, NULL) == 0) {
        cat_runs_cut(&g->replayed, info.log.first);
        uint64_t gone = cat_runs_count(&g->replayed);
        *ret_state = (struct cat_dead_letters){
            .events = info.events > gone ? info.events - gone : 0,
            .first_time_ns = info.log.first_time_ns,
            .last_time_ns = info.log.last_time_ns,
        };
    }
    chassis_buf_fini(&name);
    return 0;
}
