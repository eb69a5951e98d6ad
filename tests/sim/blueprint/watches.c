#include "watches.h"

#include "base/assert.h"

static const struct truth_row *row_of(const struct watch *w, size_t i)
{
    return i < w->truth->logs[w->log].n ? &w->truth->logs[w->log].rows[i] : NULL;
}

static bool same_event(const struct watch *w, const void *event, const struct truth_row *row)
{
    char key[40];
    if (w->log == TRUTH_TRANSITIONS) {
        const struct bp_sd_transition *t = event;
        truth_copy(key, sizeof key, t->process.pid);
        return row->value == t->type && strcmp(key, row->key) == 0;
    }
    const struct bp_kv_event *e = event;
    truth_copy(key, sizeof key, e->version.key);
    return e->version.at.revision == row->revision && e->version.at.sub == row->sub &&
           e->version.deleted == row->deleted && strcmp(key, row->key) == 0 &&
           (row->deleted || truth_number(e->version.value) == row->value);
}

static void take_changes(struct watch *w, const struct bp_feed_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        const struct truth_row *row = row_of(w, w->at++);
        if (row == NULL || row->revision > batch->revision ||
            !same_event(w, batch->events[i], row)) {
            truth_wrong(w->truth,
                        "a watcher of log %d got something else than the change of revision %llu "
                        "(event %zu of a batch up to revision %llu)",
                        (int)w->log, row != NULL ? (unsigned long long)row->revision : 0, i,
                        (unsigned long long)batch->revision);
            return;
        }
    }
    w->events += batch->n;
    const struct truth_row *row = row_of(w, w->at);
    if (row != NULL && row->revision <= batch->revision) {
        truth_wrong(w->truth, "a watcher of log %d missed revision %llu, it got up to %llu",
                    (int)w->log, (unsigned long long)row->revision,
                    (unsigned long long)batch->revision);
    }
}

/* What replaces all it knew: it may only happen to one that had to miss something. */
static void take_snapshot(struct watch *w, const struct bp_feed_batch *batch)
{
    if (batch->kind == BP_FEED_RESYNC && w->next > batch->floor) {
        truth_wrong(w->truth, "a watcher at revision %llu was resynchronised, the floor is %llu",
                    (unsigned long long)w->next, (unsigned long long)batch->floor);
    }
    w->at = truth_find(w->truth, w->log, batch->revision + 1);
    w->resyncs++;
}

static int send(struct bp_watcher *watcher, struct bp_feed_batch *batch)
{
    struct watch *w = chassis_container_of(watcher, struct watch, watcher);
    if (w->room == 0) {
        return CHASSIS_RESOURCE_EXHAUSTED;
    }
    w->room--;
    w->batches++;
    if (batch->revision + 1 < w->next) {
        truth_wrong(w->truth, "a watcher at revision %llu got a batch up to %llu",
                    (unsigned long long)w->next, (unsigned long long)batch->revision);
    }
    switch (batch->kind) {
    case BP_FEED_NORMAL:
    case BP_FEED_PROGRESS:
        take_changes(w, batch);
        break;
    case BP_FEED_SNAPSHOT:
    case BP_FEED_RESYNC:
        take_snapshot(w, batch);
        break;
    }
    w->next = batch->revision + 1;
    return 0;
}

static void ended(struct bp_watcher *watcher, const struct chassis_error *err)
{
    struct watch *w = chassis_container_of(watcher, struct watch, watcher);
    if (err->code != CHASSIS_SHUTTING_DOWN) {
        truth_wrong(w->truth, "a watcher was ended: %s", chassis_error_text(err));
    }
    w->feed = NULL;
}

static const struct bp_sink_ops sink_ops = {send, ended};

void watch_init(struct watch *w, struct truth *truth, unsigned number)
{
    *w = (struct watch){
        .truth = truth, .log = (enum truth_log)(number % TRUTH_LOGS), .slow = number >= TRUTH_LOGS};
    w->watcher.ops = &sink_ops;
}

static void filter_of(const struct watch *w, struct chassis_buf *out)
{
    if (w->log == TRUTH_TRANSITIONS) {
        struct bp_sd_filter all = {BP_SD_FILTER_ALL, chassis_view(NULL, 0)};
        bp_sd_watch_filter(&all, out);
    } else {
        const char *kind = w->log == TRUTH_LEASED ? TRUTH_LEASES : TRUTH_KIND;
        bp_kv_watch_filter(chassis_view_str(kind), chassis_view(NULL, 0), w->slow, out);
    }
}

bool watch_connect(struct watch *w, struct bp_feed *feed)
{
    struct chassis_buf filter = {0};
    struct chassis_error err = {0};
    filter_of(w, &filter);
    w->watcher.next = w->next;
    w->watcher.progress_ns = w->slow ? 0 : 200 * CHASSIS_NS_PER_MS;
    w->room = w->slow ? 0 : UINT32_MAX;
    int r = bp_feed_add(feed, &w->watcher, chassis_buf_view(&filter), &err);
    if (r == CHASSIS_OUT_OF_RANGE) {
        if (w->next > w->truth->floor) {
            truth_wrong(w->truth, "a watcher may not go on from %llu: %s",
                        (unsigned long long)w->next, chassis_error_text(&err));
        }
        chassis_error_clear(&err);
        w->watcher.next = w->next = 0; /* it begins anew */
        w->resyncs++;
        r = bp_feed_add(feed, &w->watcher, chassis_buf_view(&filter), &err);
    }
    chassis_buf_fini(&filter);
    chassis_error_clear(&err);
    if (r != 0) {
        return false;
    }
    if (w->next == 0) {
        w->next = w->watcher.next;
        w->at = truth_find(w->truth, w->log, w->next);
    }
    w->feed = feed;
    return true;
}

void watch_disconnect(struct watch *w)
{
    bp_feed_remove(w->feed, &w->watcher);
    w->feed = NULL;
}

void watch_make_room(struct watch *w, unsigned batches)
{
    w->room = batches;
    bp_feed_writable(w->feed, &w->watcher);
}

bool watch_caught_up(const struct watch *w)
{
    return w->next != 0 && w->at == w->truth->logs[w->log].n;
}
