/* What a group does in a turn: what is due, what is dead, what is delivered again, what is new. */
#include <stdlib.h>

#include "catalyst/groups/internal.h"

static bool sooner(const void *a, const void *b)
{
    return ((const struct cat_group *)a)->due_ns < ((const struct cat_group *)b)->due_ns;
}
const struct cat_heap_kind cat_groups_by_due = {sooner, offsetof(struct cat_group, at_due)};

void cat_group_touch(struct cat_group *g)
{
    struct cat_groups *all = g->all;
    if (g->touched || g->state == CAT_GROUP_GONE) {
        return;
    }
    g->touched = true;
    chassis_list_append(&all->touched, &g->touched_link);
    if (!all->turn.queued) {
        chassis_defer(all->options.loop, &all->turn);
    }
}

/* Credit that nothing else is meant for: what waits for redelivery comes before what is new. */
bool cat_group_may_deliver(const struct cat_group *g)
{
    return g->credit > (uint64_t)g->place.n_fetching + g->place.ready.n &&
           cat_place_may_deliver(&g->place);
}

/* Room for another event, its own and that of all groups. */
static bool may_take(const struct cat_group *g)
{
    const struct cat_groups *all = g->all;
    return cat_place_may_take(&g->place) &&
           (g->place.n_entries < CAT_ENTRIES_EACH || all->entries < all->options.entries_max);
}

/* The same for one that has to wait. Who has many of these leaves half of the room of all groups to
 * others, because they may stay for days. */
static bool may_hold(const struct cat_group *g)
{
    const struct cat_groups *all = g->all;
    bool many = g->place.n_held >= CAT_PLACE_BEHIND_MIN;
    uint32_t most = many ? all->options.entries_max / 2 : all->options.entries_max;
    return cat_place_may_hold(&g->place) &&
           (g->place.n_entries < CAT_ENTRIES_EACH || all->entries < most);
}

static void count_entries(struct cat_group *g)
{
    g->all->entries = g->all->entries - g->counted + g->place.n_entries;
    g->counted = g->place.n_entries;
}

/* ---- the reader ---- */

static uint32_t key_of(const struct cat_group *g, const struct cat_event *event)
{
    if (!g->config.ordered_by_key) {
        return 0;
    }
    struct chassis_view key = event->partitionkey.len != 0 ? event->partitionkey : event->subject;
    return key.len != 0 ? cat_place_key(key) : 0;
}

/* Monotonic; 0 = no delay. */
static uint64_t not_before(const struct cat_group *g, const struct cat_log_event *stored,
                           const struct cat_event *event)
{
    int64_t due_ms, wall_ms = cat_groups_wall_ms(g->all);
    if (event->has_notbefore) {
        due_ms = cat_timestamp_ms(event->notbefore);
    } else if (event->delay_ms > 0) {
        due_ms = stored->time_ns / (int64_t)CHASSIS_NS_PER_MS + event->delay_ms;
    } else {
        return 0;
    }
    const int64_t wait_max = INT64_C(36500) * 86400000;
    int64_t wait = due_ms - wall_ms < wait_max ? due_ms - wall_ms : wait_max;
    return wait > 0 ? cat_groups_now(g->all) + (uint64_t)wait * CHASSIS_NS_PER_MS : 0;
}

/* A dead letter that came back to another group by way of the stream. */
static bool for_another(const struct cat_group *g, const struct cat_event *event)
{
    struct cat_value target;
    return cat_event_attribute(event, chassis_view_str("deadreplay"), &target) &&
           target.type == CAT_STRING && !chassis_view_eq(target.text, g->config.name);
}

static int reader_event(void *data, struct chassis_view stream, const struct cat_log_event *stored,
                        const struct cat_event *event)
{
    struct cat_group *g = data;
    struct cat_event parsed;
    const uint16_t looks = CAT_MARK_DELAYED | CAT_MARK_COPY | CAT_MARK_UNKNOWN;
    if (event == NULL && (stored->marks & looks) != 0 &&
        cat_event_parse(stored->bytes, &parsed, NULL) == 0) {
        event = &parsed;
    }
    if (stored->sequence < g->place.next ||
        (event != NULL && event->attribute_count != 0 && for_another(g, event))) {
        return 0;
    }
    uint64_t now = cat_groups_now(g->all);
    uint32_t key = event != NULL ? key_of(g, event) : 0;
    uint64_t due = event != NULL ? not_before(g, stored, event) : 0;
    bool waits = due > now || cat_place_key_busy(&g->place, key);
    if (waits ? !may_hold(g) : !may_take(g) || !cat_group_may_deliver(g)) {
        g->reader_waits = true;
        g->reader_holds = waits;
        return 1;
    }
    struct cat_entry *e = cat_place_take(&g->place, stored->sequence, key, due, now);
    count_entries(g);
    if (e->state == CAT_ENTRY_READY) {
        cat_group_deliver(g, e, stored);
    }
    cat_group_dirty(g);
    cat_group_touch(g);
    return 0;
}

static void reader_pause(void *data, uint64_t next)
{
    struct cat_group *g = data;
    if (next > g->place.next) {
        cat_place_pass(&g->place, next);
        cat_group_dirty(g);
    }
    cat_group_flush(g);
}

static void reader_gap(void *data, struct chassis_view stream, uint64_t from, uint64_t to)
{
    struct cat_group *g = data;
    if (to > g->place.next) {
        uint64_t lost = to - (from > g->place.next ? from : g->place.next);
        chassis_log_warn(g->all->options.log, "the stream removed events before the group got them",
                         chassis_f_view("stream", g->config.stream),
                         chassis_f_view("group", g->config.name), chassis_f_u64("from", to - lost),
                         chassis_f_u64("first kept", to));
        cat_group_measure(g, CAT_MEASURE_LOST, lost);
        g->lost += lost;
        cat_place_pass(&g->place, to);
        cat_group_dirty(g);
        cat_group_tell_gap(g, to - lost, to);
    }
}

static void reader_ended(void *data, int status, const struct chassis_error *err)
{
    struct cat_group *g = data;
    cat_group_detach(g);
    cat_group_end_members(g, status, err);
}

static const struct cat_reader_ops reader_ops = {reader_event, reader_pause, reader_gap,
                                                 reader_ended};

static int make_filter(struct cat_group *g, struct chassis_error *err)
{
    if (g->filter_made || g->config.filter.len == 0) {
        return 0;
    }
    int rc = g->all->options.filter(g->config.filter, &g->filter, err);
    g->filter_made = rc == 0;
    return rc;
}

int cat_group_attend(struct cat_group *g, struct chassis_error *err)
{
    if (g->reader != NULL || g->n_members == 0) {
        return 0;
    }
    int rc = make_filter(g, err);
    if (rc != 0) {
        return rc;
    }
    struct cat_reader_options options = {
        .stream = g->config.stream,
        .start = {.kind = CAT_START_SEQUENCE, .sequence = g->place.next},
        .filter = g->filter,
        .delayed_at_once = true,
        .unparsed = g->filter == NULL && !g->config.ordered_by_key,
        .ops = &reader_ops,
        .data = g,
    };
    g->reader_waits = true;
    return cat_reader_open(g->all->options.broker, &options, &g->reader, err);
}

void cat_group_detach(struct cat_group *g)
{
    cat_reader_close(g->reader);
    g->reader = NULL;
    g->reader_waits = false;
    g->reader_holds = false;
}

/* ---- redelivery ---- */

struct cat_fetching {
    struct cat_work work;
    struct cat_fetch fetch;
    uint64_t generation;
    uint32_t n;
    uint64_t sequences[CAT_FETCH_MAX];
};

/* The entry, if it is still what this fetch is for. */
static struct cat_entry *fetching_entry(const struct cat_fetching *f, uint64_t sequence)
{
    struct cat_group *g = f->work.group;
    if (g->state != CAT_GROUP_LIVE || g->generation != f->generation) {
        return NULL;
    }
    struct cat_entry *e = cat_place_find(&g->place, sequence);
    return e != NULL && e->state == CAT_ENTRY_FETCHING ? e : NULL;
}

static bool expired(const struct cat_group *g, const struct cat_log_event *stored)
{
    struct cat_event event;
    return (stored->marks & (CAT_MARK_EXPIRES | CAT_MARK_UNKNOWN)) != 0 &&
           cat_event_parse(stored->bytes, &event, NULL) == 0 && event.has_expirytime &&
           cat_timestamp_ms(event.expirytime) <= cat_groups_wall_ms(g->all);
}

static void fetched(struct cat_fetch *fetch, const struct cat_log_event *stored)
{
    struct cat_fetching *f = chassis_container_of(fetch, struct cat_fetching, fetch);
    struct cat_group *g = f->work.group;
    struct cat_entry *e = fetching_entry(f, stored->sequence);
    if (e == NULL) {
        return;
    }
    if (expired(g, stored)) {
        cat_place_done(&g->place, e, cat_groups_now(g->all));
    } else if (g->able.n != 0) {
        cat_group_deliver(g, e, stored);
    } else {
        cat_place_fetch_failed(&g->place, e, cat_groups_now(g->all), 0); /* its taker left */
    }
}

/* What was not given: not reached, not readable, or not there any more. */
static void not_fetched(struct cat_fetching *f, int status, uint64_t next,
                        const struct chassis_error *err)
{
    struct cat_group *g = f->work.group;
    uint64_t now = cat_groups_now(g->all);
    bool failed = status != 0 && status != CHASSIS_NOT_FOUND;
    uint32_t lost = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        struct cat_entry *e = fetching_entry(f, f->sequences[i]);
        if (e == NULL) {
            continue;
        }
        if (failed) {
            cat_place_fetch_failed(&g->place, e, now, CAT_RETRY_MS * CHASSIS_NS_PER_MS);
        } else if (status == 0 && next != 0 && f->sequences[i] >= next) {
            cat_place_fetch_failed(&g->place, e, now, 0);
        } else {
            cat_place_done(&g->place, e, now);
            lost++;
        }
    }
    if (failed && !g->fetch_fails) {
        chassis_log_warn(g->all->options.log, "cannot read events for redelivery",
                         chassis_f_view("stream", g->config.stream),
                         chassis_f_view("group", g->config.name),
                         chassis_f_str("error", chassis_error_text(err)));
    } else if (lost != 0) {
        chassis_log_warn(g->all->options.log,
                         "the stream removed events before they were delivered again",
                         chassis_f_view("stream", g->config.stream),
                         chassis_f_view("group", g->config.name), chassis_f_u64("events", lost));
        cat_group_measure(g, CAT_MEASURE_LOST, lost);
        g->lost += lost;
    }
    g->fetch_fails = failed;
}

static void fetch_done(struct cat_fetch *fetch, int status, uint64_t next,
                       const struct chassis_error *err)
{
    struct cat_fetching *f = chassis_container_of(fetch, struct cat_fetching, fetch);
    struct cat_group *g = f->work.group;
    struct cat_groups *all = g->all;
    g->fetching = NULL;
    not_fetched(f, status, next, err);
    if (g->state == CAT_GROUP_LIVE) {
        cat_group_dirty(g);
        cat_group_touch(g);
    }
    cat_work_end(&f->work, all);
    free(f);
}

static void fetching_abandon(struct cat_work *work)
{
    free(chassis_container_of(work, struct cat_fetching, work));
}

/* Read what is ready, as far as there is credit for it. */
static void redeliver(struct cat_group *g)
{
    if (g->fetching != NULL || g->place.ready.n == 0 || g->credit == 0 ||
        !cat_place_may_deliver(&g->place)) {
        return;
    }
    struct cat_fetching *f = chassis_base_zalloc(sizeof *f);
    do {
        f->sequences[f->n++] = cat_place_fetch(&g->place)->sequence;
    } while (f->n < CAT_FETCH_MAX && g->place.ready.n != 0 && g->place.n_fetching < g->credit &&
             cat_place_may_deliver(&g->place));
    f->generation = g->generation;
    f->fetch = (struct cat_fetch){
        .stream = g->config.stream,
        .sequences = f->sequences,
        .n_sequences = f->n,
        .events_max = f->n,
        .bytes_max = CAT_FETCH_BYTES,
        .event = fetched,
        .done = fetch_done,
    };
    g->fetching = f;
    cat_work_begin(&f->work, g->all, g, fetching_abandon);
    cat_fetch(g->all->options.broker, &f->fetch);
}

/* ---- the turn ---- */

static void arm(struct cat_groups *all)
{
    const struct cat_group *first = cat_heap_top(&all->due);
    uint64_t due = first != NULL && !all->closing ? first->due_ns : 0;
    if (due == all->due_armed_ns) {
        return;
    }
    all->due_armed_ns = due;
    if (due == 0) {
        chassis_cancel(all->options.loop, &all->due_timer);
        return;
    }
    uint64_t now = cat_groups_now(all);
    chassis_post_after(all->options.loop, &all->due_timer, due > now ? due - now : 0);
}

static void schedule(struct cat_group *g)
{
    uint64_t due = cat_place_due(&g->place);
    cat_heap_remove(&g->all->due, &cat_groups_by_due, g);
    g->due_ns = due != 0 ? due : 1;
    if (due != UINT64_MAX) {
        cat_heap_put(&g->all->due, &cat_groups_by_due, g);
    }
}

static void group_turn(struct cat_group *g)
{
    if (g->state != CAT_GROUP_LIVE || g->all->closing) {
        return;
    }
    if (cat_place_due(&g->place) <= cat_groups_now(g->all)) {
        if (cat_place_expire(&g->place, cat_groups_now(g->all)) != 0) {
            cat_group_reload(g);
        }
        cat_group_dirty(g);
    }
    count_entries(g);
    cat_group_bury(g);
    redeliver(g);
    bool room = g->reader_holds ? may_hold(g) : cat_group_may_deliver(g) && may_take(g);
    if (g->reader_waits && g->reader != NULL && room) {
        g->reader_waits = false;
        g->reader_holds = false;
        cat_reader_wake(g->reader);
    }
    cat_group_flush(g);
    if (g->state != CAT_GROUP_LIVE) {
        return; /* a callback removed it */
    }
    if (g->n_members == 0 && g->fetching == NULL && g->burial == NULL) {
        cat_place_shrink(&g->place);
    }
    schedule(g);
}

void cat_groups_turn(struct chassis_task *task)
{
    struct cat_groups *all = chassis_container_of(task, struct cat_groups, turn);
    struct chassis_list now;
    chassis_list_init(&now);
    all->in_turn = true;
    while (!chassis_list_empty(&all->touched)) { /* what is touched meanwhile: the next turn */
        struct chassis_list *link = all->touched.next;
        chassis_list_remove(link);
        chassis_list_append(&now, link);
    }
    while (!chassis_list_empty(&now)) {
        struct cat_group *g = chassis_list_entry(now.next, struct cat_group, touched_link);
        chassis_list_remove(&g->touched_link);
        g->touched = false;
        cat_group_hold(g);
        group_turn(g);
        cat_group_release(g);
    }
    cat_groups_free_left(all);
    arm(all);
    all->in_turn = false;
    if (all->closing && all->under_way == 0) {
        cat_groups_closed(all);
    }
}

void cat_groups_due(struct chassis_timer *timer)
{
    struct cat_groups *all = chassis_container_of(timer, struct cat_groups, due_timer);
    uint64_t now = cat_groups_now(all);
    all->due_armed_ns = 0;
    for (struct cat_group *g; (g = cat_heap_top(&all->due)) != NULL && g->due_ns <= now;) {
        cat_heap_remove(&all->due, &cat_groups_by_due, g);
        cat_group_touch(g);
    }
    arm(all);
}
