#include "controller.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

enum {
    BATCH_ROWS = 128,
    BATCH_BYTES = 256 << 10,
    TURN_BATCHES = 1, /* made in one turn of the loop, which has others to serve */
    POSITION_MS = 5000,
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 5000,
};

static bool before(struct bp_position a, struct bp_position b)
{
    return a.revision != b.revision ? a.revision < b.revision : a.sub < b.sub;
}

static void notify(struct bp_events *e)
{
    if (!__atomic_exchange_n(&e->notified, true, __ATOMIC_SEQ_CST)) {
        chassis_post(e->options.loop, &e->task);
    }
}

static void set_active(struct bp_events *e, bool active)
{
    __atomic_store_n(&e->active, active, __ATOMIC_SEQ_CST);
}

void bp_events_committed(struct bp_events *e)
{
    if (__atomic_load_n(&e->active, __ATOMIC_SEQ_CST)) {
        notify(e);
    }
}

/* --- the way to the broker --- */

static void wait(struct bp_events *e, int code, const char *text)
{
    uint64_t ceiling = e->options.backoff_min_ms;
    for (unsigned i = 0; i < e->attempt && ceiling < e->options.backoff_max_ms; i++) {
        ceiling *= 2;
    }
    ceiling = ceiling < e->options.backoff_max_ms ? ceiling : e->options.backoff_max_ms;
    if (!e->complained) {
        e->complained = true;
        chassis_log_warn(e->log, "changes are not published for now: trying again",
                         chassis_f_code(code), chassis_f_str("text", text));
    }
    e->attempt++;
    e->state = BP_EVENTS_WAITING;
    e->n = 0; /* whatever was on its way is found again */
    set_active(e, false);
    chassis_post_after(e->options.loop, &e->retry, ceiling * CHASSIS_NS_PER_MS);
}

static void on_lost(void *data, int code, const char *text)
{
    struct bp_events *e = data;
    if (e->state == BP_EVENTS_FINDING || e->state == BP_EVENTS_STREAMING) {
        wait(e, code, text);
    }
}

static void find(struct bp_events *e)
{
    struct chassis_consensus_status status;
    chassis_consensus_status(e->options.consensus, &status);
    size_t n = (size_t)snprintf(e->source, sizeof e->source, "/blueprint/");
    for (unsigned i = 0; i < sizeof status.cluster_id; i++) {
        n += (size_t)snprintf(e->source + n, sizeof e->source - n, "%02x", status.cluster_id[i]);
    }
    e->state = BP_EVENTS_FINDING;
    e->options.sink->ops->find(e->options.sink, e->source);
}

static void on_retry(struct chassis_timer *timer)
{
    struct bp_events *e = chassis_container_of(timer, struct bp_events, retry);
    if (e->leader && !e->stopping) {
        find(e);
    }
}

/* What the store says about where we are. */
struct place {
    uint64_t revision, remembered, horizon;
};

static int read_place(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct place *p = data;
    uint64_t floor;
    int r = bp_kv_revisions(txn, &p->revision, &floor, err);
    r = r == 0 ? bp_events_horizon(txn, &p->horizon, err) : r;
    return r == 0 ? bp_events_position_get(txn, &p->remembered, err) : r;
}

static void set_acked(struct bp_events *e, struct bp_position acked)
{
    e->acked = acked;
    /* Whatever comes before `acked` may be compacted away. */
    e->options.kv->hold = acked.revision - 1;
}

static void on_found(void *data, const char *last_id)
{
    struct bp_events *e = data;
    struct place place = {0};
    struct chassis_error err = {0};
    struct bp_position next;
    uint64_t gap = 0;
    if (e->state != BP_EVENTS_FINDING) {
        return;
    }
    if (bp_read(e->options.consensus, read_place, &place, &err) != 0) {
        wait(e, err.code, chassis_error_text(&err));
        return;
    }
    chassis_error_clear(&err);
    if (last_id[0] == '\0') {
        next = (struct bp_position){place.remembered + 1, 0};
    } else if (!bp_events_id_parse(last_id, &next, &gap)) {
        chassis_error_set(&err, CHASSIS_FAILED_PRECONDITION,
                          "the newest event of source '%s' has the id '%s', which is none of ours",
                          e->source, last_id);
    } else if (next.revision > place.revision) {
        chassis_error_set(&err, CHASSIS_UNAVAILABLE,
                          "the stream has revision %" PRIu64 ", this node only %" PRIu64,
                          next.revision, place.revision);
    }
    if (err.code != 0) {
        e->options.sink->ops->close(e->options.sink);
        wait(e, err.code, chassis_error_text(&err));
        return;
    }
    chassis_log_info(e->log, "publishing changes", chassis_f_str("source", e->source),
                     chassis_f_u64("from", next.revision), chassis_f_str("after", last_id));
    e->state = BP_EVENTS_STREAMING;
    e->attempt = 0;
    e->complained = false;
    e->next = next;
    /* Who begins for the first time misses nothing by what was compacted before. */
    e->gap_told = last_id[0] == '\0' && place.remembered == 0 ? place.horizon : gap;
    e->remembered = place.remembered;
    set_acked(e, next);
    set_active(e, true);
    notify(e);
}

/* --- batches --- */

struct making {
    struct bp_events *events;
    struct bp_events_batch batch;
    uint64_t revision;
};

static int add_row(const struct bp_events_row *row, void *data)
{
    struct making *m = data;
    struct bp_events *e = m->events;
    struct bp_events_sink *sink = e->options.sink;
    if (m->batch.n >= BATCH_ROWS || sink->ops->size(sink) >= BATCH_BYTES) {
        return 1;
    }
    sink->ops->add(sink, e->source, row);
    m->batch.n++;
    m->batch.own += row->own;
    m->batch.last = row->at;
    return 0;
}

/* Changes that are gone before they were published are told before what is still there. A revision of
 * which something was published was published as a whole, or is still there. */
static int tell_gap(struct chassis_txn *txn, struct making *m, struct chassis_error *err)
{
    struct bp_events *e = m->events;
    uint64_t horizon, from = e->next.revision + (e->next.sub != 0);
    char id[BP_EVENTS_ID_MAX];
    int r = bp_events_horizon(txn, &horizon, err);
    if (r != 0 || from > horizon || e->gap_told >= horizon) {
        return r;
    }
    snprintf(id, sizeof id, "gap-%" PRIu64 "-%" PRIu64, from, horizon);
    chassis_log_warn(e->log, "changes were compacted before they could be published",
                     chassis_f_u64("from", from), chassis_f_u64("through", horizon));
    e->options.sink->ops->add_gap(e->options.sink, e->source, id, from, horizon);
    e->gap_told = horizon;
    m->batch.n++;
    m->batch.last = (struct bp_position){from - 1, UINT16_MAX};
    return 0;
}

static int make_batch(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct making *m = data;
    uint64_t floor;
    int r = bp_kv_revisions(txn, &m->revision, &floor, err);
    r = r == 0 ? tell_gap(txn, m, err) : r;
    return r == 0 ? bp_events_rows(txn, m->events->next, add_row, m, err) : r;
}

static struct bp_position after(struct bp_position p)
{
    return p.sub >= UINT16_MAX ? (struct bp_position){p.revision + 1, 0}
                               : (struct bp_position){p.revision, p.sub + 1};
}

/* A revision comes as a whole: with nothing behind it, it is over. */
static void caught_up(struct bp_events *e)
{
    if (e->next.sub != 0) {
        e->next = (struct bp_position){e->next.revision + 1, 0};
    }
    if (e->n == 0) {
        set_acked(e, e->next);
    }
}

/* True when there may be more. */
static bool send_batch(struct bp_events *e)
{
    struct making m = {.events = e};
    struct chassis_error err = {0};
    uint64_t gap_told = e->gap_told;
    if (bp_read(e->options.consensus, make_batch, &m, &err) != 0) {
        e->options.sink->ops->close(e->options.sink);
        wait(e, err.code, chassis_error_text(&err));
        return false;
    }
    chassis_gauge_set(e->behind, m.revision >= e->acked.revision
                                     ? (int64_t)(m.revision - e->acked.revision + 1)
                                     : 0);
    if (m.batch.n == 0) {
        caught_up(e);
        return false;
    }
    int rc = e->options.sink->ops->send(e->options.sink);
    if (rc != 0) {
        e->gap_told = gap_told;
        return false; /* writable or lost comes */
    }
    e->window[(e->first + e->n++) % BP_EVENTS_BATCHES_MAX] = m.batch;
    if (before(e->next, after(m.batch.last))) {
        e->next = after(m.batch.last);
    }
    return true;
}

static void run(struct chassis_task *task)
{
    struct bp_events *e = chassis_container_of(task, struct bp_events, task);
    unsigned made = 0;
    __atomic_store_n(&e->notified, false, __ATOMIC_SEQ_CST);
    while (e->state == BP_EVENTS_STREAMING && e->n < BP_EVENTS_BATCHES_MAX) {
        if (made++ == TURN_BATCHES) {
            notify(e);
            return;
        }
        if (!send_batch(e)) {
            return;
        }
    }
}

static void on_stored(void *data, unsigned refused)
{
    struct bp_events *e = data;
    if (e->state != BP_EVENTS_STREAMING) {
        return;
    }
    CHASSIS_ASSERT(e->n != 0);
    const struct bp_events_batch *b = &e->window[e->first];
    e->first = (e->first + 1) % BP_EVENTS_BATCHES_MAX;
    e->n--;
    chassis_counter_add(e->published, b->n - refused);
    chassis_counter_add(e->refused, refused);
    if (b->n > b->own) {
        e->worth_remembering = true;
    }
    set_acked(e, after(b->last));
    if (e->remember.due_ns == 0) {
        chassis_post_after(e->options.loop, &e->remember,
                           e->options.position_ms * CHASSIS_NS_PER_MS);
    }
    notify(e);
}

static void on_writable(void *data)
{
    notify(data);
}

/* --- the position --- */

static void remembered(struct chassis_proposal *proposal)
{
    struct bp_events *e = chassis_container_of(proposal, struct bp_events, proposal);
    e->proposing = false;
    if (proposal->status != 0) {
        e->worth_remembering = true; /* the next time */
    }
    chassis_buf_fini(&proposal->result);
}

/* The record is a change, too, and is published: it alone is no reason for the next one. */
static void on_remember(struct chassis_timer *timer)
{
    struct bp_events *e = chassis_container_of(timer, struct bp_events, remember);
    uint64_t revision = e->acked.revision - 1;
    if (e->state != BP_EVENTS_STREAMING || e->stopping || e->proposing || !e->worth_remembering ||
        revision <= e->remembered) {
        return;
    }
    memset(&e->proposal, 0, sizeof e->proposal);
    bp_events_position_encode(revision, &e->proposal.command);
    e->proposal.executor = e->options.loop;
    e->proposal.done = remembered;
    e->proposing = true;
    e->worth_remembering = false;
    e->remembered = revision;
    chassis_consensus_propose(e->options.consensus, &e->proposal);
}

/* --- life --- */

void bp_events_start(struct bp_events *e, const struct bp_events_options *options)
{
    memset(e, 0, sizeof *e);
    e->options = *options;
    e->options.position_ms = options->position_ms != 0 ? options->position_ms : POSITION_MS;
    e->options.backoff_min_ms =
        options->backoff_min_ms != 0 ? options->backoff_min_ms : BACKOFF_MIN_MS;
    e->options.backoff_max_ms =
        options->backoff_max_ms != 0 ? options->backoff_max_ms : BACKOFF_MAX_MS;
    e->log = chassis_log_module("blueprint.events");
    e->task.run = run;
    e->retry.run = on_retry;
    e->remember.run = on_remember;
    e->published = chassis_counter("blueprint_events_published_total",
                                   "Changes stored by the broker.", NULL, 0);
    e->refused = chassis_counter("blueprint_events_refused_total",
                                 "Changes the broker refused for good.", NULL, 0);
    e->behind = chassis_gauge("blueprint_events_behind_revisions",
                              "Revisions not yet published; on the leader.", NULL, 0);
    e->options.sink->handlers = (struct bp_events_sink_handlers){
        .found = on_found, .stored = on_stored, .writable = on_writable, .lost = on_lost};
    e->options.sink->data = e;
}

static void idle(struct bp_events *e)
{
    set_active(e, false);
    chassis_cancel(e->options.loop, &e->retry);
    chassis_cancel(e->options.loop, &e->remember);
    if (e->state == BP_EVENTS_FINDING || e->state == BP_EVENTS_STREAMING) {
        e->options.sink->ops->close(e->options.sink);
    }
    e->state = BP_EVENTS_IDLE;
    e->n = 0;
    e->options.kv->hold = UINT64_MAX;
}

void bp_events_leadership(struct bp_events *e, bool leader)
{
    e->leader = leader;
    idle(e);
    if (leader && !e->stopping) {
        struct place place = {0};
        (void)bp_read(e->options.consensus, read_place, &place, NULL); /* 0: what is published */
        e->options.kv->hold = place.remembered; /* is not known, so nothing goes */
        find(e);
    }
}

void bp_events_stop(struct bp_events *e)
{
    e->stopping = true;
    idle(e);
}
