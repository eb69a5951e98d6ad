#include "rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

/* One table being walked. */
struct tail {
    enum bp_table table;
    struct chassis_cursor *cursor;
    bool more;
    struct chassis_view key, value;
};

static int tail_open(struct chassis_txn *txn, enum bp_table table, struct bp_position from,
                     struct tail *t, struct chassis_error *err)
{
    struct bp_key key;
    bp_key_position(&key, from);
    *t = (struct tail){.table = table};
    int r = chassis_cursor_open(txn, table, &t->cursor);
    if (r != 0) {
        return chassis_error_code(err, r, "open a cursor on table '%s'", bp_tables[table]);
    }
    r = chassis_cursor_seek(t->cursor, bp_key_view(&key), &t->key, &t->value);
    t->more = r == 0;
    return r == 0 || r == CHASSIS_NOT_FOUND
               ? 0
               : chassis_error_code(err, r, "walk table '%s'", bp_tables[table]);
}

static int tail_next(struct tail *t, struct chassis_error *err)
{
    int r = chassis_cursor_next(t->cursor, &t->key, &t->value);
    t->more = r == 0;
    return r == 0 || r == CHASSIS_NOT_FOUND
               ? 0
               : chassis_error_code(err, r, "walk table '%s'", bp_tables[t->table]);
}

static int read_row(struct chassis_txn *txn, const struct tail *t, struct chassis_arena *arena,
                    struct bp_events_row *row, struct chassis_error *err)
{
    memset(row, 0, sizeof *row);
    row->at = bp_position_of(t->key);
    row->process = t->table == BP_TABLE_TRANSITIONS;
    if (row->process) {
        return bp_store_unseal(t->table, t->key, t->value, &bp_sd_layout_transition, arena,
                               &row->transition, err);
    }
    int r = bp_store_unseal(t->table, t->key, t->value, &bp_kv_layout_version, arena,
                            &row->record.version, err);
    if (r == 0) {
        row->record.version.at = row->at;
        r = bp_kv_kind_name(txn, row->record.version.kind, &row->record.kind, err);
    }
    row->own = r == 0 &&
               chassis_view_eq(row->record.version.key, chassis_view_str(BP_EVENTS_POSITION_KEY)) &&
               chassis_view_eq(row->record.kind, chassis_view_str(BP_EVENTS_POSITION_KIND));
    return r;
}

static int merge(struct chassis_txn *txn, struct tail *a, struct tail *b,
                 int (*each)(const struct bp_events_row *row, void *data), void *data,
                 struct chassis_error *err)
{
    int r = 0;
    while (r == 0 && (a->more || b->more)) {
        struct tail *first = !b->more || (a->more && chassis_view_cmp(a->key, b->key) < 0) ? a : b;
        struct bp_events_row row;
        struct chassis_arena arena;
        chassis_arena_init(&arena, NULL, 0, 0);
        r = read_row(txn, first, &arena, &row, err);
        r = r == 0 ? each(&row, data) : r;
        chassis_arena_fini(&arena);
        r = r == 0 ? tail_next(first, err) : r;
    }
    return r > 0 ? 0 : r;
}

int bp_events_rows(struct chassis_txn *txn, struct bp_position from,
                   int (*each)(const struct bp_events_row *row, void *data), void *data,
                   struct chassis_error *err)
{
    struct tail records, transitions = {0};
    int r = tail_open(txn, BP_TABLE_REVS, from, &records, err);
    r = r == 0 ? tail_open(txn, BP_TABLE_TRANSITIONS, from, &transitions, err) : r;
    r = r == 0 ? merge(txn, &records, &transitions, each, data, err) : r;
    if (records.cursor != NULL) {
        chassis_cursor_close(records.cursor);
    }
    if (transitions.cursor != NULL) {
        chassis_cursor_close(transitions.cursor);
    }
    return r;
}

int bp_events_horizon(struct chassis_txn *txn, uint64_t *ret_revision, struct chassis_error *err)
{
    uint64_t records = 0, transitions = 0;
    int r = bp_kv_feed_ops.floor(txn, &records, err);
    r = r == 0 ? bp_sd_feed_ops.floor(txn, &transitions, err) : r;
    *ret_revision = records > transitions ? records : transitions;
    return r;
}

/* --- the position --- */

int bp_events_position_get(struct chassis_txn *txn, uint64_t *ret_revision,
                           struct chassis_error *err)
{
    struct bp_kv_version v;
    char text[24];
    int r = bp_kv_get(txn, chassis_view_str(BP_EVENTS_POSITION_KIND),
                      chassis_view_str(BP_EVENTS_POSITION_KEY), 0, &v, err);
    *ret_revision = 0;
    if (r == CHASSIS_NOT_FOUND) {
        chassis_error_clear(err);
        return 0;
    }
    if (r == 0 && v.value.len > 2 && v.value.len < sizeof text) { /* Value.data: tag, length */
        snprintf(text, sizeof text, "%.*s", (int)v.value.len - 2, (const char *)v.value.data + 2);
        *ret_revision = strtoull(text, NULL, 10);
    }
    return r;
}

void bp_events_position_encode(uint64_t revision, struct chassis_buf *out)
{
    char text[24];
    struct chassis_buf value = {0};
    snprintf(text, sizeof text, "%" PRIu64, revision);
    chassis_buf_append_byte(&value, 0x0a); /* Value.data: field 1, length-delimited */
    chassis_buf_append_block(&value, chassis_view_str(text));
    struct bp_kv_write write = {
        .actor = chassis_view_str("events"),
        .op = {.type = BP_KV_OP_SET,
               .kind = chassis_view_str(BP_EVENTS_POSITION_KIND),
               .key = chassis_view_str(BP_EVENTS_POSITION_KEY),
               .value = chassis_buf_view(&value)},
    };
    bp_codec_encode(&bp_kv_layout_write, BP_CODEC_VERSION, &write, out);
    chassis_buf_fini(&value);
}

/* --- ids --- */

void bp_events_id(struct bp_position at, char out[BP_EVENTS_ID_MAX])
{
    if (at.sub == 0) {
        snprintf(out, BP_EVENTS_ID_MAX, "%" PRIu64, at.revision);
    } else {
        snprintf(out, BP_EVENTS_ID_MAX, "%" PRIu64 ".%" PRIu32, at.revision, at.sub);
    }
}

/* The number at *text, which moves behind it. */
static bool take_number(const char **text, uint64_t *ret)
{
    char *end;
    if (**text < '0' || **text > '9') {
        return false;
    }
    *ret = strtoull(*text, &end, 10);
    *text = end;
    return true;
}

bool bp_events_id_parse(const char *id, struct bp_position *ret_next, uint64_t *ret_gap)
{
    uint64_t revision, sub = 0, through = 0;
    bool gap = strncmp(id, "gap-", 4) == 0;
    const char *p = gap ? id + 4 : id;
    if (!take_number(&p, &revision) || revision == 0) {
        return false;
    }
    if (gap) {
        p += *p == '-';
        if (!take_number(&p, &through) || *p != '\0') {
            return false;
        }
        *ret_next = (struct bp_position){revision, 0};
        *ret_gap = through;
        return true;
    }
    if (*p == '.') {
        p++;
        if (!take_number(&p, &sub) || sub >= UINT16_MAX) {
            return false;
        }
    }
    *ret_next = (struct bp_position){revision, (uint32_t)sub + 1};
    *ret_gap = 0;
    return *p == '\0';
}
