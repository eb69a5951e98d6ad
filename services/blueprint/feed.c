#include "feed.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"

enum {
    BATCH_BYTES = 256 << 10, /* a batch is closed at the next revision beyond this */
    TURN_ROWS = 4096,        /* looked at for one watcher or for all groups in one turn */
    PROGRESS_TICK_MS = 50,
};

static void batch_init(struct bp_feed_batch *b, struct chassis_txn *txn, uint64_t floor)
{
    memset(b, 0, sizeof *b);
    b->txn = txn;
    b->floor = floor;
    chassis_arena_init(&b->arena, NULL, 0, 0);
}

static void batch_fini(struct bp_feed_batch *b)
{
    free((void *)b->events);
    chassis_arena_fini(&b->arena);
    chassis_buf_fini(&b->encoded);
    memset(b, 0, sizeof *b);
}

void bp_feed_batch_add(struct bp_feed_batch *b, const void *event, uint64_t revision, size_t bytes)
{
    if (b->n == b->cap) {
        b->cap = b->cap != 0 ? b->cap * 2 : 16;
        b->events = chassis_base_realloc((void *)b->events, b->cap * sizeof *b->events);
    }
    if (b->n == 0) {
        b->first = revision;
    }
    b->events[b->n++] = event;
    b->bytes += bytes;
}

/* --- the store, for one turn --- */

struct turn {
    struct bp_feed *feed;
    struct chassis_store *store;
    struct chassis_txn *txn;
    uint64_t revision, floor;
};

static int turn_begin(struct bp_feed *feed, struct turn *t, struct chassis_error *err)
{
    *t = (struct turn){.feed = feed};
    t->store = feed->source.acquire(feed->source.data);
    if (t->store == NULL) {
        return chassis_error_set(err, CHASSIS_UNAVAILABLE, "the store is not open");
    }
    int r = chassis_store_begin(t->store, false, &t->txn, err);
    if (r == 0) {
        r = bp_store_counter(t->txn, BP_COUNTER_REVISION, &t->revision, err);
        if (r == 0) {
            r = feed->ops->floor(t->txn, &t->floor, err);
        }
        if (r != 0) {
            chassis_txn_abort(t->txn);
        }
    }
    if (r != 0) {
        feed->source.release(feed->source.data, t->store);
    }
    return r;
}

static void turn_end(struct turn *t)
{
    chassis_txn_abort(t->txn);
    t->feed->source.release(t->feed->source.data, t->store);
}

/* --- groups and watchers --- */

static struct bp_feed_group *group_of(struct bp_feed *feed, struct chassis_view filter)
{
    chassis_list_foreach (it, &feed->groups) {
        struct bp_feed_group *g = chassis_list_entry(it, struct bp_feed_group, link);
        if (chassis_view_eq(chassis_buf_view(&g->filter), filter)) {
            return g;
        }
    }
    struct bp_feed_group *g = chassis_base_zalloc(sizeof *g);
    chassis_list_init(&g->watchers);
    chassis_buf_append_view(&g->filter, filter);
    chassis_list_append(&feed->groups, &g->link);
    return g;
}

static void leave(struct bp_feed *feed, struct bp_watcher *w)
{
    struct bp_feed_group *g = w->group;
    chassis_list_remove(&w->link);
    w->group = NULL;
    __atomic_sub_fetch(&feed->watchers, 1, __ATOMIC_SEQ_CST);
    if (--g->members == 0) {
        chassis_list_remove(&g->link);
        chassis_buf_fini(&g->filter);
        batch_fini(&g->batch);
        free(g);
    }
}

static void fall_behind(struct bp_feed *feed, struct bp_watcher *w, uint64_t next, bool blocked)
{
    chassis_list_remove(&w->link);
    chassis_list_append(&feed->lagging, &w->link);
    w->live = false;
    w->blocked = blocked;
    w->next = next;
}

static void end_watcher(struct bp_feed *feed, struct bp_watcher *w, const struct chassis_error *err)
{
    leave(feed, w);
    w->ops->ended(w, err);
}

static void end_all(struct bp_feed *feed, const struct chassis_error *err)
{
    while (!chassis_list_empty(&feed->lagging)) {
        end_watcher(feed, chassis_list_entry(feed->lagging.next, struct bp_watcher, link), err);
    }
    while (!chassis_list_empty(&feed->groups)) {
        struct bp_feed_group *g = chassis_list_entry(feed->groups.next, struct bp_feed_group, link);
        CHASSIS_ASSERT(!chassis_list_empty(&g->watchers));
        end_watcher(feed, chassis_list_entry(g->watchers.next, struct bp_watcher, link), err);
    }
}

static void group_flush(struct bp_feed *feed, struct bp_feed_group *g, uint64_t revision)
{
    struct bp_feed_batch *b = &g->batch;
    if (b->n == 0) {
        return;
    }
    b->revision = revision;
    uint64_t now = chassis_now_ns(feed->executor);
    chassis_list_foreach_safe (it, &g->watchers) {
        struct bp_watcher *w = chassis_list_entry(it, struct bp_watcher, link);
        if (w->ops->send(w, b) != 0) {
            fall_behind(feed, w, b->first, true);
        } else {
            w->next = revision + 1;
            w->sent_ns = now;
        }
    }
    struct chassis_txn *txn = b->txn;
    uint64_t floor = b->floor;
    batch_fini(b);
    batch_init(b, txn, floor);
}

/* Calls `each` for the rows from revision `from` on, whole revisions only, about TURN_ROWS of them;
 * `begins` marks the first row of a revision, where `each` may return 1 to stop before it.
 * *ret_through is the last revision that was seen completely. */
static int each_row(struct turn *t, uint64_t from, struct chassis_error *err,
                    int (*each)(void *data, struct bp_position at, bool begins,
                                struct chassis_view key, struct chassis_view value,
                                struct chassis_error *err),
                    void *data, uint64_t *ret_through)
{
    struct chassis_cursor *cursor;
    int r = chassis_cursor_open(t->txn, t->feed->ops->table, &cursor);
    if (r != 0) {
        return chassis_error_code(err, r, "open a cursor on table '%s'",
                                  bp_tables[t->feed->ops->table]);
    }
    struct bp_key key;
    struct chassis_view k, v;
    bp_key_position(&key, (struct bp_position){from, 0});
    uint64_t last = from - 1;
    unsigned rows = 0;
    int stop = 0;
    r = chassis_cursor_seek(cursor, bp_key_view(&key), &k, &v);
    while (r == 0 && stop == 0) {
        struct bp_position at = bp_position_of(k);
        if (at.revision != last && rows >= TURN_ROWS) {
            break;
        }
        stop = each(data, at, at.revision != last, k, v, err);
        if (stop > 0) {
            break; /* the batch is full before this row's revision */
        }
        last = at.revision;
        rows++;
        r = chassis_cursor_next(cursor, &k, &v);
    }
    chassis_cursor_close(cursor);
    if (stop < 0) {
        return stop;
    }
    if (r != 0 && r != CHASSIS_NOT_FOUND) {
        return chassis_error_code(err, r, "walk table '%s'", bp_tables[t->feed->ops->table]);
    }
    *ret_through = r == CHASSIS_NOT_FOUND ? t->revision : last;
    return 0;
}

/* --- live delivery --- */

static int row_to_groups(void *data, struct bp_position at, bool begins, struct chassis_view key,
                         struct chassis_view value, struct chassis_error *err)
{
    struct bp_feed *feed = data;
    chassis_list_foreach (it, &feed->groups) {
        struct bp_feed_group *g = chassis_list_entry(it, struct bp_feed_group, link);
        if (begins && g->batch.bytes >= BATCH_BYTES) {
            group_flush(feed, g, at.revision - 1);
        }
        int r = feed->ops->event(g, at, key, value, &g->batch, err);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

static int deliver_live(struct turn *t, struct chassis_error *err)
{
    struct bp_feed *feed = t->feed;
    if (feed->seen < t->floor) {
        /* A checkpoint was installed: everybody goes by the store. */
        chassis_list_foreach (it, &feed->groups) {
            struct bp_feed_group *g = chassis_list_entry(it, struct bp_feed_group, link);
            while (!chassis_list_empty(&g->watchers)) {
                fall_behind(feed, chassis_list_entry(g->watchers.next, struct bp_watcher, link),
                            feed->seen + 1, false);
            }
        }
        feed->seen = t->revision;
    }
    if (feed->seen >= t->revision || chassis_list_empty(&feed->groups)) {
        feed->seen = t->revision;
        return 0;
    }
    chassis_list_foreach (it, &feed->groups) {
        struct bp_feed_group *g = chassis_list_entry(it, struct bp_feed_group, link);
        batch_init(&g->batch, t->txn, t->floor);
    }
    uint64_t through;
    int r = each_row(t, feed->seen + 1, err, row_to_groups, feed, &through);
    chassis_list_foreach (it, &feed->groups) {
        struct bp_feed_group *g = chassis_list_entry(it, struct bp_feed_group, link);
        if (r == 0) {
            group_flush(feed, g, through);
        }
        batch_fini(&g->batch);
    }
    if (r == 0) {
        feed->seen = through;
    }
    return r;
}

/* --- catching up --- */

struct catch_up {
    struct bp_feed *feed;
    struct bp_feed_group *group;
    struct bp_feed_batch batch;
};

static int row_to_one(void *data, struct bp_position at, bool begins, struct chassis_view key,
                      struct chassis_view value, struct chassis_error *err)
{
    struct catch_up *c = data;
    if (begins && c->batch.bytes >= BATCH_BYTES) {
        return 1;
    }
    return c->feed->ops->event(c->group, at, key, value, &c->batch, err);
}

static int resync(struct turn *t, struct bp_watcher *w, struct chassis_error *err)
{
    struct bp_feed_batch batch;
    batch_init(&batch, t->txn, t->floor);
    batch.kind = w->begin ? BP_FEED_SNAPSHOT : BP_FEED_RESYNC;
    batch.revision = t->revision;
    int r = t->feed->ops->snapshot != NULL ? t->feed->ops->snapshot(w->group, &batch, err) : 0;
    if (r == 0 && w->ops->send(w, &batch) != 0) {
        w->blocked = true;
    } else if (r == 0) {
        w->next = t->revision + 1;
        w->resync = w->begin = false;
        w->sent_ns = chassis_now_ns(t->feed->executor);
    }
    batch_fini(&batch);
    return r;
}

/* One step; the watcher may be in its group, blocked, or still behind afterwards. */
static int catch_up_step(struct turn *t, struct bp_watcher *w, struct chassis_error *err)
{
    struct bp_feed *feed = t->feed;
    if (w->begin || w->resync || w->next <= t->floor) {
        w->resync = true;
        return resync(t, w, err);
    }
    struct catch_up c = {feed, w->group, {0}};
    batch_init(&c.batch, t->txn, t->floor);
    uint64_t through = t->revision;
    int r = 0;
    if (w->next <= t->revision) {
        r = each_row(t, w->next, err, row_to_one, &c, &through);
    }
    if (r == 0 && c.batch.n != 0) {
        c.batch.revision = through;
        w->blocked = w->ops->send(w, &c.batch) != 0;
        w->sent_ns = chassis_now_ns(feed->executor);
    }
    if (r == 0 && !w->blocked && w->next <= through) {
        w->next = through + 1;
    }
    batch_fini(&c.batch);
    return r;
}

static bool pump(struct turn *t)
{
    struct bp_feed *feed = t->feed;
    bool more = false;
    chassis_list_foreach_safe (it, &feed->lagging) {
        struct bp_watcher *w = chassis_list_entry(it, struct bp_watcher, link);
        struct chassis_error err = {0};
        if (w->blocked) {
            continue;
        }
        if (catch_up_step(t, w, &err) != 0) {
            end_watcher(feed, w, &err);
        } else if (!w->blocked && w->next == feed->seen + 1) {
            chassis_list_remove(&w->link);
            chassis_list_append(&w->group->watchers, &w->link);
            w->live = true;
        } else {
            more |= !w->blocked && w->next <= t->revision;
        }
    }
    return more;
}

static void run(struct chassis_task *task)
{
    struct bp_feed *feed = chassis_container_of(task, struct bp_feed, task);
    __atomic_store_n(&feed->notified, false, __ATOMIC_SEQ_CST);
    if (feed->closed || feed->watchers == 0) {
        return;
    }
    struct turn t;
    struct chassis_error err = {0};
    int r = turn_begin(feed, &t, &err);
    bool more = false;
    if (r == 0) {
        r = deliver_live(&t, &err);
        if (r == 0) {
            more = pump(&t) || feed->seen < t.revision;
        }
        turn_end(&t);
    }
    if (r != 0) {
        chassis_log_error(feed->log, "watchers ended", chassis_f_err(&err));
        end_all(feed, &err);
    } else if (more) {
        bp_feed_notify(feed);
    }
}

static void tick(struct chassis_timer *timer)
{
    struct bp_feed *feed = chassis_container_of(timer, struct bp_feed, timer);
    uint64_t now = chassis_now_ns(feed->executor);
    bool wanted = false;
    chassis_list_foreach (it, &feed->groups) {
        struct bp_feed_group *g = chassis_list_entry(it, struct bp_feed_group, link);
        chassis_list_foreach_safe (wit, &g->watchers) {
            struct bp_watcher *w = chassis_list_entry(wit, struct bp_watcher, link);
            wanted |= w->progress_ns != 0;
            if (w->progress_ns == 0 || now - w->sent_ns < w->progress_ns) {
                continue;
            }
            struct bp_feed_batch batch;
            batch_init(&batch, NULL, 0);
            batch.kind = BP_FEED_PROGRESS;
            batch.revision = feed->seen;
            if (w->ops->send(w, &batch) != 0) {
                fall_behind(feed, w, feed->seen + 1, true);
            }
            w->sent_ns = now;
            batch_fini(&batch);
        }
    }
    chassis_list_foreach (it, &feed->lagging) {
        wanted |= chassis_list_entry(it, struct bp_watcher, link)->progress_ns != 0;
    }
    if (wanted && !feed->closed) {
        chassis_post_after(feed->executor, &feed->timer, PROGRESS_TICK_MS * CHASSIS_NS_PER_MS);
    }
}

void bp_feed_init(struct bp_feed *feed, const struct bp_feed_ops *ops,
                  const struct bp_source *source, struct chassis_executor *executor,
                  struct chassis_logger *log)
{
    memset(feed, 0, sizeof *feed);
    feed->ops = ops;
    feed->source = *source;
    feed->executor = executor;
    feed->log = log;
    feed->task.run = run;
    feed->timer.run = tick;
    chassis_list_init(&feed->groups);
    chassis_list_init(&feed->lagging);
}

void bp_feed_close(struct bp_feed *feed, const struct chassis_error *err)
{
    feed->closed = true;
    chassis_cancel(feed->executor, &feed->timer);
    end_all(feed, err);
}

void bp_feed_fini(struct bp_feed *feed)
{
    CHASSIS_ASSERT(feed->watchers == 0);
    feed->closed = true;
    chassis_cancel(feed->executor, &feed->timer);
}

bool bp_feed_watched(const struct bp_feed *feed)
{
    return __atomic_load_n(&feed->watchers, __ATOMIC_SEQ_CST) != 0;
}

void bp_feed_notify(struct bp_feed *feed)
{
    if (bp_feed_watched(feed) && !__atomic_exchange_n(&feed->notified, true, __ATOMIC_SEQ_CST)) {
        chassis_post(feed->executor, &feed->task);
    }
}

int bp_feed_add(struct bp_feed *feed, struct bp_watcher *w, struct chassis_view filter,
                struct chassis_error *err)
{
    struct turn t;
    int r = turn_begin(feed, &t, err);
    if (r != 0) {
        return r;
    }
    uint64_t revision = t.revision, floor = t.floor;
    turn_end(&t);
    if (w->next != 0 && w->next <= floor) {
        return chassis_error_set(err, CHASSIS_OUT_OF_RANGE,
                                 "changes of revision %llu were compacted away, the oldest to "
                                 "watch from is %llu",
                                 (unsigned long long)w->next, (unsigned long long)floor + 1);
    }
    if (feed->watchers == 0) {
        feed->seen = revision;
    }
    w->next = w->next != 0 ? w->next : revision + 1;
    w->group = group_of(feed, filter);
    w->group->members++;
    w->live = w->blocked = w->resync = false;
    w->sent_ns = chassis_now_ns(feed->executor);
    chassis_list_init(&w->link);
    chassis_list_append(&feed->lagging, &w->link);
    __atomic_add_fetch(&feed->watchers, 1, __ATOMIC_SEQ_CST);
    if (w->progress_ns != 0 && feed->timer.slot == 0) {
        chassis_post_after(feed->executor, &feed->timer, PROGRESS_TICK_MS * CHASSIS_NS_PER_MS);
    }
    bp_feed_notify(feed);
    return 0;
}

void bp_feed_remove(struct bp_feed *feed, struct bp_watcher *w)
{
    if (w->group != NULL) {
        leave(feed, w);
    }
}

void bp_feed_writable(struct bp_feed *feed, struct bp_watcher *w)
{
    if (w->group != NULL && w->blocked) {
        w->blocked = false;
        bp_feed_notify(feed);
    }
}
