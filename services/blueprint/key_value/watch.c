#include "watch.h"

#include "base/bytes.h"

/* A response with previous values stays below this; the rest goes without them. */
enum { PREV_BYTES_MAX = 3 << 20 };

struct filter {
    bool prev_value;
    struct chassis_view kind, prefix;
};

void bp_kv_watch_filter(struct chassis_view kind, struct chassis_view prefix, bool prev_value,
                        struct chassis_buf *out)
{
    chassis_buf_append_byte(out, prev_value);
    chassis_buf_append_block(out, kind);
    chassis_buf_append_view(out, prefix);
}

static struct filter parse(const struct chassis_buf *bytes)
{
    struct chassis_reader r = chassis_reader(chassis_buf_view(bytes));
    struct filter f;
    f.prev_value = chassis_read_byte(&r) != 0;
    f.kind = chassis_read_block(&r);
    f.prefix = chassis_read_bytes(&r, chassis_reader_left(&r));
    return f;
}

/* Where it is still kept and the batch has room; a damaged one is not left out silently. */
static int add_prev(struct bp_kv_event *event, struct bp_feed_batch *batch,
                    struct chassis_error *err)
{
    struct bp_kv_version prev;
    if (event->version.prev.revision == 0 || batch->bytes > PREV_BYTES_MAX) {
        return 0;
    }
    int r = bp_kv_version_at(batch->txn, event->version.prev, &prev, err);
    if (r == CHASSIS_NOT_FOUND) {
        chassis_error_clear(err);
        return 0;
    }
    if (r == 0 && !prev.deleted && batch->bytes + prev.value.len <= PREV_BYTES_MAX) {
        event->has_prev = true;
        event->prev_value = prev.value;
    }
    return r;
}

static int event(struct bp_feed_group *group, struct bp_position at, struct chassis_view key,
                 struct chassis_view value, struct bp_feed_batch *batch, struct chassis_error *err)
{
    struct filter f = parse(&group->filter);
    uint32_t kind = (uint32_t)group->cache;
    int r = 0;
    if (kind == 0) {
        r = bp_kv_kind_id(batch->txn, f.kind, &kind, err);
        group->cache = kind; /* numbers of kinds never change */
    }
    if (r != 0 || kind == 0) {
        return r;
    }
    struct bp_kv_version v;
    r = bp_store_unseal(BP_TABLE_REVS, key, value, &bp_kv_layout_version, &batch->arena, &v, err);
    if (r != 0 || v.kind != kind || !chassis_view_starts_with(v.key, f.prefix)) {
        return r;
    }
    struct bp_kv_event *e = chassis_arena_zalloc(&batch->arena, sizeof *e);
    e->version = v;
    e->version.at = at;
    e->kind = f.kind;
    if (f.prev_value) {
        r = add_prev(e, batch, err);
    }
    if (r == 0) {
        bp_feed_batch_add(batch, e, at.revision,
                          64 + v.key.len + v.value.len + e->prev_value.len + f.kind.len);
    }
    return r;
}

static int floor_of(struct chassis_txn *txn, uint64_t *ret_floor, struct chassis_error *err)
{
    return bp_store_counter(txn, BP_COUNTER_FLOOR, ret_floor, err);
}

const struct bp_feed_ops bp_kv_feed_ops = {
    .table = BP_TABLE_REVS, .event = event, .floor = floor_of, .snapshot = NULL};
