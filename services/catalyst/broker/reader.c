/* Readers. One that has seen everything is given new events straight from the publishes that brought
 * them, when they are stored; one that is behind reads from the log, a piece per turn, until it has
 * caught up.
 *
 *     asleep ──wake──▶ behind ⇄ reading
 *       ▲ refused        │ nothing more
 *       └──────────── at the end ◀── stored: given at once
 *
 * Events whose time has not come are passed over and kept in mind (late.h): read again, one by one,
 * when they are due.
 */
#include <stdlib.h>

#include "catalyst/broker/internal.h"
#include "catalyst/broker/late.h"
#include "catalyst/broker/places.h"

enum offer { OFFER_DONE, OFFER_REFUSED, OFFER_CLOSED };
#define LATE_CHECK_NS (10 * CHASSIS_NS_PER_S) /* the wall clock may be set meanwhile */

struct cat_reader {
    struct chassis_list link; /* of its stream, or of those of all streams */
    struct chassis_list run;  /* of the runnable, or of the closed */
    struct cat_broker *broker;
    struct stream *stream; /* NULL: of all streams, or it has ended */
    struct cat_reader_options o;
    uint64_t next;
    uint64_t
        beyond; /* where it wanted to begin, behind the stream's end; 0 = told, or was not so */
    bool everywhere, awake, resolved, closed, ended;
    bool orphaned; /* nobody knows it any more but who looks for its place */
    bool reading, reading_late, refused, paused;
    struct stream *reads; /* where `read` was used last */
    struct cat_read read;
    struct late late;
    struct chassis_timer due;
    struct places behind; /* of all streams: where it is behind */
    uint64_t n_given, bytes_given;
    struct chassis_gauge *readers_now; /* outlives the broker */
};

static void run_soon(struct cat_reader *r)
{
    struct cat_broker *b = r->broker;
    if (!r->closed && !r->ended && r->awake && r->resolved && chassis_list_empty(&r->run)) {
        chassis_list_append(&b->runnable, &r->run);
        chassis_defer(b->loop, &b->pump);
    }
}

/* Let go of what reading on keeps. */
static void let_go(struct cat_reader *r)
{
    if (r->reads != NULL) {
        r->reads->log->ops->cancel(r->reads->log, &r->read);
        r->reads = NULL;
    }
    if (r->reading) {
        r->reading = false;
        r->broker->n_reading--;
    }
}

/* ---- one event ---- */

static int64_t timestamp_ns(struct cat_timestamp t)
{
    if (t.seconds > INT64_MAX / 1000000000 - 1) {
        return INT64_MAX;
    }
    if (t.seconds < -(INT64_MAX / 1000000000 - 1)) {
        return INT64_MIN;
    }
    return t.seconds * 1000000000 + t.nanos;
}

static int64_t due_ns(const struct cat_log_event *stored, const struct cat_event *event)
{
    if (event->has_notbefore) {
        return timestamp_ns(event->notbefore);
    }
    return event->delay_ms > 0 ? stored->time_ns + event->delay_ms * (int64_t)CHASSIS_NS_PER_MS : 0;
}

static void arm(struct cat_reader *r)
{
    if (r->late.n != 0) {
        int64_t wait_ns = r->late.heap[0].due_ns - broker_now(r->broker);
        uint64_t delay_ns = wait_ns > 0 ? (uint64_t)wait_ns : 0;
        chassis_post_after(r->broker->loop, &r->due,
                           delay_ns < LATE_CHECK_NS ? delay_ns : LATE_CHECK_NS);
    }
}

static void on_due(struct chassis_timer *timer)
{
    struct cat_reader *r = chassis_container_of(timer, struct cat_reader, due);
    if (r->late.n != 0 && r->late.heap[0].due_ns > broker_now(r->broker)) {
        arm(r);
    } else {
        run_soon(r);
    }
}

/* Keep in mind an event that is not due. */
static enum offer put_off(struct cat_reader *r, struct stream *s,
                          const struct cat_log_event *stored, int64_t due)
{
    if (cat_late_full(&r->late)) {
        return OFFER_REFUSED; /* goes on when some are due */
    }
    cat_late_add(&r->late, (struct late_event){
                               .due_ns = due, .sequence = stored->sequence, .stream = s->number});
    arm(r);
    return OFFER_DONE;
}

static enum offer offer(struct cat_reader *r, struct stream *s, const struct cat_log_event *stored,
                        const struct cat_event *event)
{
    struct cat_broker *b = r->broker;
    uint16_t timed = stored->marks & (CAT_MARK_EXPIRES | CAT_MARK_DELAYED | CAT_MARK_UNKNOWN);
    if (r->everywhere && (stored->marks & CAT_MARK_COPY) != 0) {
        return OFFER_DONE;
    }
    if (event == NULL && (timed != 0 || r->o.filter != NULL || !r->o.unparsed)) {
        if (cat_event_parse(stored->bytes, &b->parsed, NULL) < 0) {
            return OFFER_DONE; /* it was valid once, and the checksum holds: an older set of rules */
        }
        event = &b->parsed;
    }
    if (timed != 0) {
        int64_t now_ns = broker_now(b);
        if (event->has_expirytime && timestamp_ns(event->expirytime) <= now_ns) {
            return OFFER_DONE;
        }
        int64_t due = r->o.delayed_at_once ? 0 : due_ns(stored, event);
        if (due > now_ns) {
            return put_off(r, s, stored, due);
        }
    }
    if (r->o.filter != NULL && !cat_filter_matches(r->o.filter, event, &b->scratch)) {
        return OFFER_DONE;
    }
    int refused = r->o.ops->event(r->o.data, stream_name(s), stored, event);
    if (r->closed) {
        return OFFER_CLOSED;
    }
    if (refused != 0) {
        r->awake = false;
        return OFFER_REFUSED;
    }
    r->n_given++;
    r->bytes_given += stored->bytes.len;
    return OFFER_DONE;
}

/* The end of a run of events. */
static void pause(struct cat_reader *r)
{
    if (r->n_given != 0) {
        chassis_counter_add(r->broker->events_out, r->n_given);
        chassis_counter_add(r->broker->bytes_out, r->bytes_given);
        r->n_given = r->bytes_given = 0;
    }
    r->paused = true;
    if (!r->closed && !r->ended && r->o.ops->pause != NULL) {
        r->o.ops->pause(r->o.data, cat_reader_next(r));
    }
}

uint64_t cat_reader_next(const struct cat_reader *r)
{
    if (r->everywhere) {
        return 0;
    }
    return r->late.n != 0 && r->late.lowest < r->next ? r->late.lowest : r->next;
}

/* ---- reading from the log ---- */

static void end_reader(struct cat_reader *r, int status, const struct chassis_error *err)
{
    if (r->ended || r->closed) {
        return;
    }
    let_go(r);
    r->ended = true;
    r->awake = false;
    chassis_cancel(r->broker->loop, &r->due);
    chassis_list_remove(&r->run);
    chassis_list_remove(&r->link);
    if (r->stream != NULL) {
        struct stream *s = r->stream;
        r->stream = NULL;
        s->n_readers--;
        cat_stream_free_if_unused(s);
    }
    r->o.ops->ended(r->o.data, status, err);
}

static int on_read_event(struct cat_read *read, const struct cat_log_event *stored)
{
    struct cat_reader *r = chassis_container_of(read, struct cat_reader, read);
    struct stream *s = r->reads;
    if (r->reading_late && stored->sequence != read->from) {
        return -1; /* the one that was due is gone */
    }
    enum offer result = offer(r, s, stored, NULL);
    if (result == OFFER_CLOSED) {
        return -1;
    }
    r->refused = result == OFFER_REFUSED;
    if (r->refused) {
        return -1;
    }
    if (!r->reading_late) {
        uint64_t next = stored->sequence + 1;
        struct place_in *place = r->everywhere ? cat_places_find(&r->behind, s->number) : NULL;
        if (place != NULL) {
            place->next = next;
        } else if (!r->everywhere) {
            r->next = next;
        }
    }
    return 0;
}

static void gap(struct cat_reader *r, const struct stream *s, uint64_t *next, uint64_t first)
{
    uint64_t from = *next;
    *next = first;
    if (from != first && r->o.ops->gap != NULL) {
        r->o.ops->gap(r->o.data, stream_name(s), from, first);
    }
}

static void on_read_done(struct cat_read *read, int status, uint64_t next,
                         const struct chassis_error *err)
{
    struct cat_reader *r = chassis_container_of(read, struct cat_reader, read);
    r->reading = false;
    r->broker->n_reading--;
    if (r->closed || r->ended) {
        return;
    }
    if (r->reading_late && !r->refused && (status == 0 || status == CHASSIS_NOT_FOUND)) {
        cat_late_pop(&r->late);
    }
    if (status < 0 && status != CHASSIS_NOT_FOUND) {
        end_reader(r, status, err);
        return;
    }
    if (status == CHASSIS_NOT_FOUND && !r->reading_late && r->reads != NULL &&
        r->reads->first < next) {
        r->reads->first = next; /* the engine dropped more than it was told to */
    }
    pause(r);
    arm(r);
    run_soon(r);
}

static void start_read(struct cat_reader *r, struct stream *s, uint64_t from, bool late)
{
    if (r->reads != s) {
        let_go(r);
        r->reads = s;
    }
    r->reading = true;
    r->reading_late = late;
    r->refused = false;
    r->broker->n_reading++;
    r->read.from = from;
    r->read.events_max = late ? 1 : READ_EVENTS;
    r->read.bytes_max = READ_BYTES;
    r->read.event = on_read_event;
    r->read.done = on_read_done;
    s->log->ops->read(s->log, &r->read);
}

/* An event whose time has come; true if one is read now. */
static bool run_late(struct cat_reader *r)
{
    while (r->late.n != 0 && r->late.heap[0].due_ns <= broker_now(r->broker)) {
        struct late_event e = r->late.heap[0];
        struct stream *s = cat_model_by_number(r->broker, e.stream);
        if (s != NULL && e.sequence >= s->first) {
            start_read(r, s, e.sequence, true);
            return true;
        }
        cat_late_pop(&r->late); /* gone meanwhile */
    }
    return false;
}

static void run_stream(struct cat_reader *r)
{
    struct stream *s = r->stream;
    if (r->beyond != 0 || r->next < s->first) {
        uint64_t from = r->beyond != 0 ? r->beyond : r->next;
        r->next = r->next > s->first ? r->next : s->first;
        r->beyond = 0;
        gap(r, s, &from, r->next);
        if (r->closed || r->ended) {
            return;
        }
    }
    if (r->next <= s->readable && !cat_late_full(&r->late)) {
        start_read(r, s, r->next, false);
    } else if (r->next > s->readable) {
        let_go(r);
        if (!r->paused) {
            pause(r); /* who begins at the end hears of it */
        }
    }
}

static void run_everywhere(struct cat_reader *r)
{
    struct place_in *place;
    while ((place = cat_places_any(&r->behind)) != NULL && !cat_late_full(&r->late)) {
        struct stream *s = cat_model_by_number(r->broker, place->stream);
        if (s == NULL || place->next > s->readable) {
            cat_places_remove(&r->behind, place->stream);
            continue;
        }
        if (place->next < s->first) {
            uint64_t next = place->next;
            place->next = s->first;
            gap(r, s, &next, s->first);
            if (r->closed || r->ended) {
                return;
            }
            continue;
        }
        start_read(r, s, place->next, false);
        return;
    }
    if (r->behind.n == 0) {
        let_go(r);
    }
}

static void reader_free(struct cat_reader *r)
{
    chassis_gauge_add(r->readers_now, -1);
    cat_late_fini(&r->late);
    cat_places_fini(&r->behind);
    free(r);
}

static void drop(struct cat_reader *r)
{
    if (r->resolved) {
        reader_free(r);
    } else {
        r->orphaned = true;
    }
}

static void reap(struct cat_broker *b)
{
    while (!chassis_list_empty(&b->closed_readers)) {
        struct cat_reader *r = chassis_list_entry(b->closed_readers.next, struct cat_reader, run);
        struct stream *s = r->stream;
        chassis_list_remove(&r->run);
        chassis_list_remove(&r->link);
        drop(r);
        if (s != NULL) {
            s->n_readers--;
            cat_stream_free_if_unused(s);
        }
    }
}

static void on_pump(struct chassis_task *task)
{
    struct cat_broker *b = chassis_container_of(task, struct cat_broker, pump);
    struct chassis_list now;
    chassis_list_init(&now);
    while (!chassis_list_empty(&b->runnable)) {
        struct chassis_list *link = b->runnable.next;
        chassis_list_remove(link);
        chassis_list_append(&now, link);
    }
    while (!chassis_list_empty(&now)) { /* those that go on stand in b->runnable again */
        struct cat_reader *r = chassis_list_entry(now.next, struct cat_reader, run);
        chassis_list_remove(&r->run);
        if (r->closed || r->ended || !r->awake || r->reading || run_late(r)) {
            continue;
        }
        if (r->everywhere) {
            run_everywhere(r);
        } else {
            run_stream(r);
        }
    }
    reap(b);
    cat_broker_close_if_idle(b);
}

/* ---- new events ---- */

static void give_stored(struct cat_reader *r, struct stream *s, const struct batch *batch,
                        uint64_t first)
{
    uint64_t next = first;
    enum offer result = OFFER_DONE;
    for (uint32_t i = 0; i < batch->n && result == OFFER_DONE; i++) {
        const struct item *item = &batch->items[i];
        struct cat_log_event stored = {.sequence = first + i,
                                       .time_ns = batch->append.time_ns,
                                       .bytes = batch->views[i],
                                       .marks = batch->marks[i]};
        result = offer(r, s, &stored, &item->publish->events[item->event].event);
        next += result == OFFER_DONE ? 1 : 0;
    }
    if (result == OFFER_CLOSED) {
        return;
    }
    if (!r->everywhere) {
        r->next = next;
    } else if (next != first + batch->n) {
        cat_places_add(&r->behind, s->number, next);
    }
    pause(r);
}

void cat_readers_stored(struct stream *s, const struct batch *batch, uint64_t first)
{
    struct cat_broker *b = s->broker;
    chassis_list_foreach (link, &s->readers) {
        struct cat_reader *r = chassis_list_entry(link, struct cat_reader, link);
        if (r->closed || !r->awake || !r->resolved || r->reading) {
            continue;
        }
        if (r->next == first && !cat_late_full(&r->late)) {
            give_stored(r, s, batch, first);
        } else {
            run_soon(r);
        }
    }
    chassis_list_foreach (link, &b->everywhere) {
        struct cat_reader *r = chassis_list_entry(link, struct cat_reader, link);
        if (r->closed || cat_places_find(&r->behind, s->number) != NULL) {
            continue;
        }
        if (r->awake && !cat_late_full(&r->late) && !(r->reading && r->reads == s)) {
            give_stored(r, s, batch, first);
        } else {
            cat_places_add(&r->behind, s->number, first);
            run_soon(r);
        }
    }
}

/* ---- life ---- */

static void on_resolved(void *data, int status, uint64_t sequence, const struct chassis_error *err)
{
    struct cat_reader *r = data;
    r->resolved = true;
    r->next = sequence;
    if (r->orphaned) {
        reader_free(r);
    } else if (r->closed || r->ended) {
        return;
    } else if (status < 0) {
        end_reader(r, status, err);
    } else {
        if (sequence > r->stream->readable + 1) {
            r->beyond = sequence; /* it was made anew, or its tail was lost in a crash */
            r->next = r->stream->readable + 1;
        }
        run_soon(r);
    }
}

int cat_reader_open(struct cat_broker *b, const struct cat_reader_options *options,
                    struct cat_reader **ret_reader, struct chassis_error *err)
{
    struct stream *s = NULL;
    if (b->closing) {
        return chassis_error_set(err, CHASSIS_SHUTTING_DOWN, "the broker is closing");
    }
    if (options->stream.len != 0 && (s = cat_model_open_stream(b, options->stream)) == NULL) {
        return cat_stream_missing(b, options->stream, err);
    }
    struct cat_reader *r = chassis_base_zalloc(sizeof *r);
    r->broker = b;
    r->stream = s;
    r->o = *options;
    r->o.stream = chassis_view(NULL, 0);
    r->everywhere = s == NULL;
    r->resolved = true;
    r->due.run = on_due;
    r->readers_now = b->readers_now;
    chassis_list_init(&r->run);
    chassis_list_append(s != NULL ? &s->readers : &b->everywhere, &r->link);
    *ret_reader = r;
    chassis_gauge_add(b->readers_now, 1);
    if (s != NULL) {
        s->n_readers++;
        r->resolved = false;
        cat_resolve(b, stream_name(s), options->start, on_resolved, r);
    }
    return 0;
}

void cat_reader_wake(struct cat_reader *r)
{
    if (!r->ended && !r->closed) {
        r->awake = true;
        run_soon(r);
    }
}

void cat_reader_close(struct cat_reader *r)
{
    if (r == NULL) {
        return;
    }
    CHASSIS_ASSERT(!r->closed);
    if (r->ended) { /* nobody knows it any more, and the broker may be gone */
        drop(r);
        return;
    }
    let_go(r);
    chassis_cancel(r->broker->loop, &r->due);
    r->closed = true;
    chassis_list_remove(&r->run);
    chassis_list_append(&r->broker->closed_readers, &r->run);
    chassis_defer(r->broker->loop, &r->broker->pump); /* freed when nobody runs over it */
}

static void end_all(struct chassis_list *readers, int status, const struct chassis_error *err)
{
    struct chassis_list all; /* callbacks may close others: each is looked at once */
    chassis_list_init(&all);
    while (!chassis_list_empty(readers)) {
        struct chassis_list *link = readers->next;
        chassis_list_remove(link);
        chassis_list_append(&all, link);
    }
    while (!chassis_list_empty(&all)) {
        struct cat_reader *r = chassis_list_entry(all.next, struct cat_reader, link);
        chassis_list_remove(&r->link);
        end_reader(r, status, err);
    }
}

void cat_readers_end(struct cat_broker *b, struct stream *s, int status,
                     const struct chassis_error *err)
{
    if (s != NULL) {
        chassis_list_foreach (link, &b->everywhere) {
            struct cat_reader *r = chassis_list_entry(link, struct cat_reader, link);
            if (r->reads == s) {
                let_go(r);
                run_soon(r);
            }
            cat_places_remove(&r->behind, s->number);
            cat_late_drop_stream(&r->late, s->number);
        }
        end_all(&s->readers, status, err);
        return;
    }
    for (uint32_t i = 0; i < b->n_streams; i++) {
        end_all(&b->sorted[i]->readers, status, err);
    }
    end_all(&b->everywhere, status, err);
}

void cat_readers_init(struct cat_broker *b)
{
    chassis_list_init(&b->everywhere);
    chassis_list_init(&b->runnable);
    chassis_list_init(&b->closed_readers);
    b->pump.run = on_pump;
}

void cat_readers_abandon(struct chassis_list *readers)
{
    chassis_list_foreach_safe (link, readers) {
        struct cat_reader *r = chassis_list_entry(link, struct cat_reader, link);
        chassis_list_remove(&r->run);
        chassis_list_remove(&r->link);
        reader_free(r);
    }
}

void cat_readers_fini(struct cat_broker *b)
{
    cat_readers_abandon(&b->everywhere);
    cat_filter_scratch_fini(&b->scratch);
}
