#include "consensus/dedupe.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"

enum { BUCKETS = DEDUPE_WINDOW * 2, ROW_FORMAT = 1 };

struct slot {
    uint64_t index; /* 0 = empty */
    uint32_t next;  /* of the bucket: slot + 1 */
    uint32_t bucket;
    int32_t status;
    uint16_t id_len, result_len;
    bool result_dropped;
    uint8_t *bytes; /* id, then result */
};

struct dedupe {
    unsigned table;
    struct slot *slots;  /* by index mod DEDUPE_WINDOW */
    uint32_t *buckets;   /* slot + 1 */
    uint64_t applied;    /* end of the window */
    uint64_t dirty_from; /* first index added since the last store; 0 = none */
    uint64_t trimmed;    /* rows below this row number are gone */
};

struct dedupe *dedupe_new(unsigned table)
{
    struct dedupe *d = chassis_base_zalloc(sizeof *d);
    d->table = table;
    d->slots = chassis_base_zalloc(DEDUPE_WINDOW * sizeof *d->slots);
    d->buckets = chassis_base_zalloc(BUCKETS * sizeof *d->buckets);
    return d;
}

static void slot_clear(struct dedupe *d, struct slot *s)
{
    uint32_t *link = &d->buckets[s->bucket];
    uint32_t self = (uint32_t)(s - d->slots) + 1;
    if (s->index == 0) {
        return;
    }
    while (*link != self) {
        CHASSIS_ASSERT(*link != 0);
        link = &d->slots[*link - 1].next;
    }
    *link = s->next;
    free(s->bytes);
    memset(s, 0, sizeof *s);
}

static void clear_all(struct dedupe *d)
{
    for (unsigned i = 0; i < DEDUPE_WINDOW; i++) {
        if (d->slots[i].index != 0) {
            free(d->slots[i].bytes);
            memset(&d->slots[i], 0, sizeof d->slots[i]);
        }
    }
    memset(d->buckets, 0, BUCKETS * sizeof *d->buckets);
    d->applied = d->dirty_from = d->trimmed = 0;
}

void dedupe_free(struct dedupe *d)
{
    if (d != NULL) {
        clear_all(d);
        free(d->slots);
        free(d->buckets);
        free(d);
    }
}

bool dedupe_find(const struct dedupe *d, struct chassis_view id, struct dedupe_entry *ret)
{
    uint32_t at = d->buckets[chassis_fnv1a(id.data, id.len) % BUCKETS];
    for (; at != 0; at = d->slots[at - 1].next) {
        const struct slot *s = &d->slots[at - 1];
        /* Slots are reused lazily: what fell out of the window does not count, whether or not its
         * place was needed again, or nodes that restarted would decide otherwise. */
        if (s->index > dedupe_floor(d) && chassis_view_eq(chassis_view(s->bytes, s->id_len), id)) {
            ret->index = s->index;
            ret->status = s->status;
            ret->result_dropped = s->result_dropped;
            ret->result = chassis_view(s->bytes + s->id_len, s->result_len);
            return true;
        }
    }
    return false;
}

uint64_t dedupe_floor(const struct dedupe *d)
{
    /* Whole rows leave the window, as they leave the table. */
    uint64_t row = d->applied / DEDUPE_ROW_ENTRIES;
    uint64_t rows = DEDUPE_WINDOW / DEDUPE_ROW_ENTRIES - 1;
    return row > rows ? (row - rows) * DEDUPE_ROW_ENTRIES - 1 : 0;
}

void dedupe_advance(struct dedupe *d, uint64_t applied)
{
    d->applied = applied;
}

static void insert(struct dedupe *d, uint64_t index, struct chassis_view id, int status,
                   struct chassis_view result, bool dropped)
{
    struct slot *s = &d->slots[index % DEDUPE_WINDOW];
    slot_clear(d, s);
    s->index = index;
    s->status = status;
    s->result_dropped = dropped;
    s->id_len = (uint16_t)id.len;
    s->result_len = (uint16_t)result.len;
    s->bytes = chassis_base_alloc(id.len + result.len + 1);
    memcpy(s->bytes, id.data, id.len);
    if (result.len != 0) {
        memcpy(s->bytes + id.len, result.data, result.len);
    }
    s->bucket = (uint32_t)(chassis_fnv1a(id.data, id.len) % BUCKETS);
    s->next = d->buckets[s->bucket];
    d->buckets[s->bucket] = (uint32_t)(s - d->slots) + 1;
}

void dedupe_add(struct dedupe *d, uint64_t index, struct chassis_view id, int status,
                struct chassis_view result)
{
    bool dropped = result.len > DEDUPE_RESULT_MAX;
    insert(d, index, id, status, dropped ? chassis_view(NULL, 0) : result, dropped);
    d->applied = index;
    if (d->dirty_from == 0) {
        d->dirty_from = index;
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

static struct chassis_view row_key(uint64_t row, uint8_t out[9])
{
    out[0] = 'd';
    chassis_put_be64(out + 1, row);
    return chassis_view(out, 9);
}

static int put_row(struct dedupe *d, struct chassis_txn *txn, uint64_t row, uint64_t last)
{
    uint8_t key[9];
    struct chassis_buf value = {0};
    chassis_buf_append_le32(&value, 0); /* crc */
    chassis_buf_append_byte(&value, ROW_FORMAT);
    for (uint64_t i = row * DEDUPE_ROW_ENTRIES; i <= last && i / DEDUPE_ROW_ENTRIES == row; i++) {
        const struct slot *s = &d->slots[i % DEDUPE_WINDOW];
        if (s->index != i || i == 0) {
            continue;
        }
        chassis_buf_append_byte(&value, (uint8_t)(i % DEDUPE_ROW_ENTRIES));
        chassis_buf_append_byte(&value, s->result_dropped);
        chassis_buf_append_le32(&value, (uint32_t)s->status);
        chassis_buf_append_block(&value, chassis_view(s->bytes, s->id_len));
        chassis_buf_append_block(&value, chassis_view(s->bytes + s->id_len, s->result_len));
    }
    chassis_put_le32(value.data, chassis_crc32c(0, value.data + 4, value.len - 4));
    int rc = chassis_txn_put(txn, d->table, row_key(row, key), chassis_buf_view(&value));
    chassis_buf_fini(&value);
    return rc;
}

int dedupe_store(struct dedupe *d, struct chassis_txn *txn, uint64_t applied)
{
    int rc = 0;
    uint8_t key[9];
    if (d->dirty_from != 0) {
        uint64_t last = d->applied;
        uint64_t row = d->dirty_from / DEDUPE_ROW_ENTRIES;
        for (; rc == 0 && row <= last / DEDUPE_ROW_ENTRIES; row++) {
            rc = put_row(d, txn, row, last);
        }
        d->dirty_from = 0;
    }
    d->applied = applied;
    uint64_t first = (dedupe_floor(d) + 1) / DEDUPE_ROW_ENTRIES;
    for (; rc == 0 && d->trimmed < first; d->trimmed++) {
        rc = chassis_txn_del(txn, d->table, row_key(d->trimmed, key));
        rc = rc == CHASSIS_NOT_FOUND ? 0 : rc;
    }
    return rc;
}

static int restore_row(struct dedupe *d, uint64_t row, struct chassis_view value)
{
    struct chassis_reader r = chassis_reader(value);
    uint32_t crc = chassis_read_le32(&r);
    if (r.bad || chassis_crc32c(0, value.data + 4, value.len - 4) != crc ||
        chassis_read_byte(&r) != ROW_FORMAT) {
        return CHASSIS_CORRUPT;
    }
    while (chassis_reader_left(&r) != 0) {
        uint8_t place = chassis_read_byte(&r);
        bool dropped = chassis_read_byte(&r) != 0;
        int32_t status = (int32_t)chassis_read_le32(&r);
        struct chassis_view id = chassis_read_block(&r);
        struct chassis_view result = chassis_read_block(&r);
        if (r.bad || place >= DEDUPE_ROW_ENTRIES || id.len == 0 || id.len > 65 ||
            result.len > DEDUPE_RESULT_MAX) {
            return CHASSIS_CORRUPT;
        }
        insert(d, row * DEDUPE_ROW_ENTRIES + place, id, status, result, dropped);
    }
    return 0;
}

int dedupe_restore(struct dedupe *d, struct chassis_txn *txn, uint64_t applied,
                   struct chassis_error *err)
{
    struct chassis_cursor *cursor;
    struct chassis_view key, value;
    clear_all(d);
    d->applied = applied;
    int rc = chassis_cursor_open(txn, d->table, &cursor);
    if (rc != 0) {
        return chassis_error_code(err, rc, "read the table of request ids");
    }
    bool any = false;
    rc = chassis_cursor_seek(cursor, chassis_view("d", 1), &key, &value);
    while (rc == 0 && key.len == 9 && key.data[0] == 'd') {
        uint64_t row = chassis_get_be64(key.data + 1);
        if (!any) {
            d->trimmed = row;
            any = true;
        }
        rc = restore_row(d, row, value);
        if (rc != 0) {
            chassis_error_set(err, rc, "the table of request ids is damaged at row %llu",
                              (unsigned long long)row);
            break;
        }
        rc = chassis_cursor_next(cursor, &key, &value);
    }
    chassis_cursor_close(cursor);
    if (!any) {
        d->trimmed = (dedupe_floor(d) + 1) / DEDUPE_ROW_ENTRIES;
    }
    return rc == CHASSIS_NOT_FOUND ? 0 : rc;
}
