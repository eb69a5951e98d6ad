/* From a publish to its `done`.
 *
 *     cat_publish → each event to the batches of its streams → flush at the end of the turn: one
 *     append per stream → appended: readers, then `done` of the publishes that have nothing left
 *     under way, in their orders
 *
 * Nothing is allocated per event: a batch is arrays that are used again.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "catalyst/broker/internal.h"
#include "catalyst/broker/rebuild.h"

enum {
    BATCHES_KEPT_MAX = 16,
    BATCH_KEPT_EVENTS = 8192,
    EVENT_OVERHEAD = 96, /* of an event under way, beside its bytes */
    HELD_MAX = 65536,    /* events of one stream that wait for its past */
    AHEAD = 8,           /* events whose place in dedupe is on its way to the processor */
};

struct held {
    struct item item;
    uint16_t marks;
};

/* ---- orders ---- */

static struct cat_publish_order *order_of(struct cat_broker *b, const struct cat_publish *p)
{
    return p->order != NULL ? p->order : &b->common;
}

/* Nothing of `p` is under way: those at the front of its order that are like that are ready. */
static void settle(struct cat_broker *b, struct cat_publish *p)
{
    struct cat_publish_order *order = order_of(b, p);
    while (order->first != NULL && order->first->under_way == 0) {
        struct cat_publish *first = order->first;
        order->first = first->next;
        if (order->first == NULL) {
            order->last = NULL;
        }
        first->next = NULL;
        *b->ready_tail = first;
        b->ready_tail = &first->next;
    }
}

static void release(struct cat_broker *b, struct cat_publish *p)
{
    CHASSIS_ASSERT(p->under_way != 0);
    if (--p->under_way == 0) {
        settle(b, p);
    }
}

void cat_publish_run_ready(struct cat_broker *b)
{
    while (b->ready != NULL) {
        struct cat_publish *p = b->ready;
        b->ready = p->next;
        if (b->ready == NULL) {
            b->ready_tail = &b->ready;
        }
        b->publish_bytes -= p->bytes;
        b->n_publishes--;
        p->done(p); /* may free it, and publish */
    }
    chassis_gauge_set(b->bytes_under_way, (int64_t)b->publish_bytes);
    cat_broker_close_if_idle(b);
}

/* ---- batches ---- */

static void on_appended(struct cat_append *append, int status, const struct chassis_error *err);

static struct batch *batch_take(struct stream *s)
{
    struct cat_broker *b = s->broker;
    struct batch *batch = b->free_batches;
    if (batch != NULL) {
        b->free_batches = batch->next;
        b->n_free_batches--;
    } else {
        batch = chassis_base_zalloc(sizeof *batch);
        chassis_list_init(&batch->link);
    }
    batch->stream = s;
    batch->next = NULL;
    s->gathering = batch;
    *b->gathering_tail = batch;
    b->gathering_tail = &batch->next;
    return batch;
}

static void batch_free(struct batch *batch)
{
    free(batch->views);
    free(batch->marks);
    free(batch->items);
    free(batch->entries);
    free(batch->riders);
    free(batch);
}

static void batch_give_back(struct cat_broker *b, struct batch *batch)
{
    batch->n = batch->n_riders = 0;
    batch->bytes = 0;
    batch->stream = NULL;
    if (b->n_free_batches >= BATCHES_KEPT_MAX || batch->cap > BATCH_KEPT_EVENTS) {
        batch_free(batch);
        return;
    }
    batch->next = b->free_batches;
    b->free_batches = batch;
    b->n_free_batches++;
}

static void batch_grow(struct batch *batch)
{
    uint32_t cap = batch->cap = batch->cap != 0 ? batch->cap * 2 : 16;
    batch->views = chassis_base_realloc(batch->views, cap * sizeof *batch->views);
    batch->marks = chassis_base_realloc(batch->marks, cap * sizeof *batch->marks);
    batch->items = chassis_base_realloc(batch->items, cap * sizeof *batch->items);
    batch->entries = chassis_base_realloc(batch->entries, cap * sizeof *batch->entries);
}

static void batch_add(struct stream *s, struct item item, uint16_t marks, uint64_t entry)
{
    struct batch *batch = s->gathering != NULL ? s->gathering : batch_take(s);
    if (batch->n == batch->cap) {
        batch_grow(batch);
    }
    struct chassis_view bytes = item.publish->events[item.event].event.bytes;
    batch->views[batch->n] = bytes;
    batch->marks[batch->n] = marks;
    batch->items[batch->n] = item;
    batch->entries[batch->n] = entry;
    batch->n++;
    batch->bytes += bytes.len;
    item.publish->under_way++;
}

/* A duplicate of what is not stored yet is acknowledged with it. */
static void batch_ride(struct stream *s, struct item item, uint64_t entry)
{
    struct batch *batch = s->gathering != NULL ? s->gathering : s->newest;
    if (batch->n_riders == batch->cap_riders) {
        batch->cap_riders = batch->cap_riders != 0 ? batch->cap_riders * 2 : 16;
        batch->riders =
            chassis_base_realloc(batch->riders, batch->cap_riders * sizeof *batch->riders);
    }
    batch->riders[batch->n_riders++] = (struct rider){item, entry};
    item.publish->under_way++;
}

/* ---- one event into one stream ---- */

static void set_duplicate(struct stream *s, struct item item, uint64_t sequence)
{
    struct cat_publish_event *e = &item.publish->events[item.event];
    chassis_counter_add(s->broker->duplicates, 1);
    if (item.first) {
        e->duplicate = true;
        e->sequence = sequence >= s->first ? sequence : 0;
    }
}

static struct fingerprint print_of(struct cat_broker *b, struct cat_publish_event *e)
{
    if ((e->print.low | e->print.high) == 0) { /* not asked for yet */
        e->print = cat_dedupe_fingerprint(b->dedupe_key, e->event.source, e->event.id);
    }
    return e->print;
}

/* Dedupe's index is larger than the processor's caches: what a search will want is fetched early. */
static void look_ahead(struct cat_broker *b, struct cat_publish *p, uint32_t i)
{
    const struct stream *s = cat_model_by_number(b, b->last_deduped);
    if (i < p->n_events && s != NULL && s->dedupe != NULL) {
        cat_dedupe_prefetch(s->dedupe, print_of(b, &p->events[i]));
    }
}

/* True when the event was seen before; otherwise it is noted. */
static bool deduped(struct stream *s, struct item item, int64_t now_ns, uint64_t *ret_entry)
{
    struct fingerprint print = print_of(s->broker, &item.publish->events[item.event]);
    uint64_t entry;
    s->broker->last_deduped = s->number;
    if (!cat_dedupe_find(s->dedupe, print, now_ns, &entry)) {
        *ret_entry = cat_dedupe_add(s->dedupe, print, now_ns);
        return false;
    }
    uint64_t sequence = cat_dedupe_sequence(s->dedupe, entry);
    bool on_its_way = sequence == 0 || sequence > s->readable;
    if (!on_its_way || (s->gathering == NULL && s->newest == NULL)) {
        set_duplicate(s, item, sequence);
    } else {
        batch_ride(s, item, entry);
    }
    return true;
}

/* Does dedupe know what was stored before? If not it finds out, and the event waits. */
static bool past_known(struct stream *s, int64_t now_ns)
{
    if (s->rebuild != NULL) {
        return false;
    }
    if (s->dedupe != NULL && !s->dedupe_stale) {
        return true;
    }
    uint64_t first = s->dedupe != NULL ? cat_dedupe_end(s->dedupe) : 1;
    cat_dedupe_free(s->dedupe);
    s->dedupe = cat_dedupe_new(&s->broker->dedupe_pool, s->config->is.dedupe_ms, first);
    s->dedupe_stale = false;
    return cat_rebuild_start(s, now_ns);
}

static void hold(struct stream *s, struct item item, uint16_t marks)
{
    if (s->n_held == HELD_MAX) {
        cat_refuse_event(s->broker, item, CHASSIS_BUSY,
                         "the stream is still being read after a start");
        return;
    }
    if (s->n_held == s->cap_held) {
        s->cap_held = s->cap_held != 0 ? s->cap_held * 2 : 16;
        s->held = chassis_base_realloc(s->held, s->cap_held * sizeof *s->held);
    }
    s->held[s->n_held++] = (struct held){item, marks};
    item.publish->under_way++;
}

static void put(struct stream *s, struct item item, uint16_t marks, int64_t now_ns)
{
    const struct cat_stream_config *config = &s->config->is;
    size_t len = item.publish->events[item.event].event.bytes.len;
    uint64_t entry = 0;
    if (len > config->event_bytes_max) {
        cat_refuse_too_large(s, item);
        return;
    }
    if (config->dedupe_ms != 0) {
        if (!past_known(s, now_ns)) {
            hold(s, item, marks);
            return;
        }
        if (deduped(s, item, now_ns, &entry)) {
            return;
        }
    } else {
        s->dedupe_stale = true;
    }
    const char *limit = config->when_full == CAT_REFUSE_NEW ? cat_retention_refuses(s, len) : NULL;
    if (limit != NULL) {
        if (entry != 0) {
            cat_dedupe_remove(s->dedupe, entry);
        }
        cat_refuse_full(s, item, limit);
        return;
    }
    batch_add(s, item, marks, entry);
}

void cat_publish_release(struct stream *s, int status, const struct chassis_error *err)
{
    struct held *held = s->held;
    uint32_t n = s->n_held;
    int64_t now_ns = broker_now(s->broker);
    s->held = NULL;
    s->n_held = s->cap_held = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (status == 0) {
            put(s, held[i].item, held[i].marks, now_ns);
        } else {
            cat_fail_event(s->broker, held[i].item, status, err);
        }
        release(s->broker, held[i].item.publish);
    }
    free(held);
    chassis_defer(s->broker->loop, &s->broker->flush);
}

/* ---- a publish ---- */

struct spread { /* an event over the streams whose rules take it */
    struct cat_broker *broker;
    struct item item;
    uint16_t marks;
    int64_t now_ns;
};

static void spread_to(void *data, uint32_t number)
{
    struct spread *to = data;
    struct stream *s = cat_model_by_number(to->broker, number);
    if (s != NULL && s->phase == STREAM_AWAY) {
        struct chassis_error err = {0};
        cat_stream_missing(to->broker, stream_name(s), &err);
        cat_refuse_event(to->broker, to->item, err.code, err.text);
    } else if (s != NULL) {
        put(s, to->item, to->marks, to->now_ns);
        to->marks |= CAT_MARK_COPY;
    }
    to->item.first = to->item.first && s == NULL;
}

static uint16_t marks_of(const struct cat_publish *p, const struct cat_event *event)
{
    bool delayed = event->has_notbefore || event->delay_ms > 0;
    return (uint16_t)((p->copy ? CAT_MARK_COPY : 0) | (delayed ? CAT_MARK_DELAYED : 0) |
                      (event->has_expirytime ? CAT_MARK_EXPIRES : 0));
}

/* The clock is read once per turn. */
static int64_t turn_now(struct cat_broker *b)
{
    b->turn_ns = b->turn_ns != 0 ? b->turn_ns : broker_now(b);
    return b->turn_ns;
}

static void put_all(struct cat_broker *b, struct cat_publish *p, struct stream *stream)
{
    struct spread to = {.broker = b, .now_ns = turn_now(b)};
    bool by_rules = stream == NULL && cat_subject_index_count(b->rules) != 0;
    for (uint32_t i = 0; i < AHEAD; i++) {
        look_ahead(b, p, i);
    }
    for (uint32_t i = 0; i < p->n_events; i++) {
        look_ahead(b, p, i + AHEAD);
        const struct cat_event *event = &p->events[i].event;
        to.item = (struct item){p, i, true};
        to.marks = marks_of(p, event);
        if (by_rules) {
            cat_subject_index_match(b->rules, event->source, event->type, event->subject, spread_to,
                                    &to);
        }
        if (stream != NULL || to.item.first) {
            put(stream != NULL ? stream : b->catch_all, to.item, to.marks, to.now_ns);
        }
    }
}

static int admit(struct cat_broker *b, struct cat_publish *p, struct stream **ret_stream,
                 struct chassis_error *err)
{
    if (b->closing) {
        return chassis_error_set(err, CHASSIS_SHUTTING_DOWN, "the broker is closing");
    }
    if (b->publish_bytes != p->bytes && b->publish_bytes > b->publish_bytes_max) {
        return chassis_error_set(err, CHASSIS_BUSY,
                                 "%zu bytes of events wait to be stored, at most %zu may",
                                 b->publish_bytes - p->bytes, b->publish_bytes_max);
    }
    *ret_stream = p->stream.len != 0 ? cat_model_open_stream(b, p->stream) : NULL;
    if (p->stream.len != 0 && *ret_stream == NULL) {
        return cat_stream_missing(b, p->stream, err);
    }
    return 0;
}

void cat_publish(struct cat_broker *b, struct cat_publish *p)
{
    struct cat_publish_order *order = order_of(b, p);
    struct stream *stream = NULL;
    p->status = 0;
    p->err.code = 0;
    p->err.text[0] = '\0';
    p->next = NULL;
    p->under_way = 1;
    p->bytes = 0;
    for (uint32_t i = 0; i < p->n_events; i++) {
        struct cat_publish_event *e = &p->events[i];
        e->status = 0;
        e->duplicate = false;
        e->sequence = 0;
        e->print = (struct fingerprint){0};
        p->bytes += e->event.bytes.len + EVENT_OVERHEAD;
    }
    *(order->last != NULL ? &order->last->next : &order->first) = p;
    order->last = p;
    b->publish_bytes += p->bytes;
    b->n_publishes++;
    int rc = admit(b, p, &stream, &p->err);
    if (rc == 0) {
        put_all(b, p, stream);
    } else {
        cat_refuse_whole(p, rc);
    }
    release(b, p);
    chassis_defer(b->loop, &b->flush);
}

/* ---- end of turn ---- */

static void batch_failed(struct batch *batch, int status, const struct chassis_error *err)
{
    struct stream *s = batch->stream;
    for (uint32_t i = batch->n; i-- > 0;) { /* the newest first: the ring shrinks again */
        if (batch->entries[i] != 0 && s->dedupe != NULL) {
            cat_dedupe_remove(s->dedupe, batch->entries[i]);
        }
    }
    for (uint32_t i = 0; i < batch->n; i++) {
        cat_fail_event(s->broker, batch->items[i], status, err);
        release(s->broker, batch->items[i].publish);
    }
    for (uint32_t i = 0; i < batch->n_riders; i++) {
        cat_fail_event(s->broker, batch->riders[i].item, status, err);
        release(s->broker, batch->riders[i].item.publish);
    }
}

static void know_sequences(struct batch *batch)
{
    struct stream *s = batch->stream;
    for (uint32_t i = 0; i < batch->n && s->dedupe != NULL; i++) {
        if (batch->entries[i] != 0) {
            cat_dedupe_set_sequence(s->dedupe, batch->entries[i], batch->append.first_sequence + i);
        }
    }
}

static void batch_append(struct batch *batch, int64_t now_ns)
{
    struct stream *s = batch->stream;
    struct cat_broker *b = s->broker;
    struct chassis_error err = {0};
    int rc = s->phase == STREAM_OPEN ? 0 : cat_stream_not_found(stream_name(s), &err);
    s->gathering = NULL;
    batch->append.events = batch->views;
    batch->append.marks = batch->marks;
    batch->append.n_events = batch->n;
    batch->append.time_ns = now_ns;
    batch->append.first_sequence = 0;
    batch->append.appended = on_appended;
    rc = rc == 0 ? s->log->ops->append(s->log, &batch->append, &err) : rc;
    if (rc < 0) {
        batch_failed(batch, rc, &err);
        batch_give_back(b, batch);
        if (s->n_batches == 0 && s->rebuild != NULL) {
            cat_rebuild_go_on(s);
        }
        if (rc == CHASSIS_NO_SPACE) {
            cat_retention_flush(b);
        }
        cat_stream_free_if_unused(s);
        return;
    }
    s->n_batches++;
    s->newest = batch;
    chassis_list_append(&b->in_flight, &batch->link);
    if (batch->append.first_sequence != 0) {
        s->last = batch->append.first_sequence + batch->n - 1;
        know_sequences(batch);
    }
}

static void on_flush(struct chassis_task *task)
{
    struct cat_broker *b = chassis_container_of(task, struct cat_broker, flush);
    int64_t now_ns = broker_now(b);
    struct batch *batch = b->gathering;
    b->turn_ns = 0;
    b->gathering = NULL;
    b->gathering_tail = &b->gathering;
    for (struct batch *next; batch != NULL; batch = next) {
        next = batch->next;
        batch_append(batch, now_ns);
    }
    cat_publish_run_ready(b);
}

/* ---- stored ---- */

static void count(struct stream *s, const struct batch *batch)
{
    struct cat_broker *b = s->broker;
    int64_t now_ns = batch->append.time_ns;
    double age_s = (double)(now_ns - s->rate_ns) / 1e9;
    s->rate = (age_s > 0 ? s->rate * exp(-age_s / 10) : s->rate) + (double)batch->n / 10;
    s->rate_ns = now_ns;
    chassis_counter_add(b->events_in, batch->n);
    chassis_counter_add(b->bytes_in, batch->bytes);
    chassis_histogram_observe(b->batch_events, (double)batch->n);
}

static void stored(struct batch *batch)
{
    struct stream *s = batch->stream;
    uint64_t first = batch->append.first_sequence;
    s->readable = first + batch->n - 1;
    s->last = s->readable > s->last ? s->readable : s->last;
    know_sequences(batch);
    for (uint32_t i = 0; i < batch->n; i++) {
        if (batch->items[i].first) {
            batch->items[i].publish->events[batch->items[i].event].sequence = first + i;
        }
    }
    count(s, batch);
    cat_readers_stored(s, batch, first);
    for (uint32_t i = 0; i < batch->n; i++) {
        release(s->broker, batch->items[i].publish);
    }
    for (uint32_t i = 0; i < batch->n_riders; i++) {
        const struct rider *r = &batch->riders[i];
        set_duplicate(s, r->item, s->dedupe != NULL ? cat_dedupe_sequence(s->dedupe, r->entry) : 0);
        release(s->broker, r->item.publish);
    }
    if (s->phase == STREAM_OPEN) {
        cat_retention_check(s);
    }
}

static void on_appended(struct cat_append *append, int status, const struct chassis_error *err)
{
    struct batch *batch = chassis_container_of(append, struct batch, append);
    struct stream *s = batch->stream;
    struct cat_broker *b = s->broker;
    chassis_list_remove(&batch->link);
    if (s->newest == batch) {
        s->newest = NULL;
    }
    if (status == 0) {
        stored(batch);
    } else {
        batch_failed(batch, status, err);
    }
    s->n_batches--;
    batch_give_back(b, batch);
    if (s->n_batches == 0 && s->rebuild != NULL) {
        cat_rebuild_go_on(s);
    }
    cat_stream_free_if_unused(s);
    cat_publish_run_ready(b);
}

void cat_publish_init(struct cat_broker *b)
{
    b->flush.run = on_flush;
    b->ready_tail = &b->ready;
    b->gathering_tail = &b->gathering;
    chassis_list_init(&b->in_flight);
}

void cat_publish_fini(struct cat_broker *b)
{
    for (struct batch *batch = b->free_batches, *next; batch != NULL; batch = next) {
        next = batch->next;
        batch_free(batch);
    }
    for (struct batch *batch = b->gathering, *next; batch != NULL; batch = next) {
        next = batch->next;
        batch_free(batch);
    }
    chassis_list_foreach_safe (link, &b->in_flight) {
        batch_free(chassis_list_entry(link, struct batch, link));
    }
}
