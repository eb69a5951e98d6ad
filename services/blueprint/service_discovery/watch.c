/* What a watch of service_discovery sees: the feed of its transitions. */
#include "watch.h"

#include "base/bytes.h"

void bp_sd_watch_filter(const struct bp_sd_filter *filter, struct chassis_buf *out)
{
    chassis_buf_append_byte(out, (uint8_t)filter->type);
    chassis_buf_append_view(out, filter->text);
}

static struct bp_sd_filter parse(const struct chassis_buf *bytes)
{
    return (struct bp_sd_filter){(enum bp_sd_filter_type)bytes->data[0],
                                 chassis_view(bytes->data + 1, bytes->len - 1)};
}

static void add(struct bp_feed_batch *batch, const struct bp_sd_transition *t, uint64_t revision)
{
    struct bp_sd_transition *copy = chassis_arena_alloc(&batch->arena, sizeof *copy);
    *copy = *t;
    bp_feed_batch_add(batch, copy, revision, 512);
}

static int event(struct bp_feed_group *group, struct bp_position at, struct chassis_view key,
                 struct chassis_view value, struct bp_feed_batch *batch, struct chassis_error *err)
{
    struct bp_sd_filter filter = parse(&group->filter);
    struct bp_sd_transition t;
    int r = bp_store_unseal(BP_TABLE_TRANSITIONS, key, value, &bp_sd_layout_transition,
                            &batch->arena, &t, err);
    if (r == 0 && bp_sd_matches(&filter, &t.process)) {
        t.revision = at.revision;
        add(batch, &t, at.revision);
    }
    return r;
}

/* Transitions older than the oldest one kept may be gone. */
static int floor_of(struct chassis_txn *txn, uint64_t *ret_floor, struct chassis_error *err)
{
    *ret_floor = 0;
    if (chassis_txn_count(txn, BP_TABLE_TRANSITIONS) < BP_SD_TRANSITIONS_MAX) {
        return 0;
    }
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    int r = chassis_cursor_open(txn, BP_TABLE_TRANSITIONS, &cursor);
    if (r == 0) {
        r = chassis_cursor_seek(cursor, chassis_view("\0", 1), &k, &v);
        *ret_floor = r == 0 ? bp_position_of(k).revision : 0;
        chassis_cursor_close(cursor);
    }
    return r == 0 || r == CHASSIS_NOT_FOUND
               ? 0
               : chassis_error_code(err, r, "read table 'transitions'");
}

struct snapshot {
    struct bp_feed_batch *batch;
    struct bp_sd_filter filter;
};

static int each_process(const struct bp_sd_process *process, void *data)
{
    struct snapshot *s = data;
    if (bp_sd_matches(&s->filter, process)) {
        struct bp_sd_transition t = {
            .type = BP_SD_EVENT_JOINED, .time_ns = process->changed_ns, .process = *process};
        add(s->batch, &t, s->batch->revision);
    }
    return 0;
}

static int snapshot(struct bp_feed_group *group, struct bp_feed_batch *batch,
                    struct chassis_error *err)
{
    struct snapshot s = {batch, parse(&group->filter)};
    struct bp_sd_transition mark = {.type = BP_SD_EVENT_RESYNC, .revision = batch->revision};
    if (batch->kind == BP_FEED_RESYNC) {
        add(batch, &mark, batch->revision);
    }
    int r = bp_sd_each(batch->txn, &batch->arena, each_process, &s, err);
    mark.type = BP_SD_EVENT_SYNCED;
    add(batch, &mark, batch->revision);
    return r;
}

const struct bp_feed_ops bp_sd_feed_ops = {
    .table = BP_TABLE_TRANSITIONS, .event = event, .floor = floor_of, .snapshot = snapshot};
