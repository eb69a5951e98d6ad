#include "array_store.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"

struct row {
    struct chassis_buf key, value;
};
struct table {
    struct row *rows;
    size_t n, cap;
};
struct array_store {
    struct chassis_store base;
    struct table tables[CHASSIS_STORE_TABLES_MAX];
};
struct array_cursor {
    struct chassis_cursor base;
    size_t at;
};

static struct table *table_of(struct chassis_txn *txn, unsigned table)
{
    return &((struct array_store *)txn->store)->tables[table];
}

/* First row whose key is at least `key`. */
static size_t lower(const struct table *t, struct chassis_view key)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (chassis_view_cmp(chassis_buf_view(&t->rows[mid].key), key) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static bool is_at(const struct table *t, size_t at, struct chassis_view key)
{
    return at < t->n && chassis_view_eq(chassis_buf_view(&t->rows[at].key), key);
}

static int begin(struct chassis_store *store, bool write, struct chassis_txn **ret_txn,
                 struct chassis_error *err)
{
    struct chassis_txn *txn = chassis_base_zalloc(sizeof *txn);
    *txn = (struct chassis_txn){store, write};
    *ret_txn = txn;
    return 0;
}

static int commit(struct chassis_txn *txn, struct chassis_error *err)
{
    free(txn);
    return 0;
}

static void abort_txn(struct chassis_txn *txn)
{
    CHASSIS_ASSERT(!txn->write);
    free(txn);
}

static int get(struct chassis_txn *txn, unsigned table, struct chassis_view key,
               struct chassis_view *ret_value)
{
    struct table *t = table_of(txn, table);
    size_t at = lower(t, key);
    if (!is_at(t, at, key)) {
        return CHASSIS_NOT_FOUND;
    }
    *ret_value = chassis_buf_view(&t->rows[at].value);
    return 0;
}

static int put(struct chassis_txn *txn, unsigned table, struct chassis_view key,
               struct chassis_view value)
{
    CHASSIS_ASSERT(txn->write && key.len >= 1 && key.len <= CHASSIS_STORE_KEY_MAX);
    struct table *t = table_of(txn, table);
    size_t at = lower(t, key);
    /* Fresh memory each time, so that a view kept across a change is caught by ASan. */
    struct chassis_buf copy = {0};
    chassis_buf_append_view(&copy, value);
    if (is_at(t, at, key)) {
        chassis_buf_fini(&t->rows[at].value);
        t->rows[at].value = copy;
        return 0;
    }
    if (t->n == t->cap) {
        t->cap = t->cap != 0 ? t->cap * 2 : 16;
        t->rows = chassis_base_realloc(t->rows, t->cap * sizeof *t->rows);
    }
    memmove(&t->rows[at + 1], &t->rows[at], (t->n - at) * sizeof *t->rows);
    t->n++;
    memset(&t->rows[at], 0, sizeof t->rows[at]);
    chassis_buf_append_view(&t->rows[at].key, key);
    t->rows[at].value = copy;
    return 0;
}

static int append(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                  struct chassis_view value)
{
    struct table *t = table_of(txn, table);
    CHASSIS_ASSERT(t->n == 0 ||
                   chassis_view_cmp(chassis_buf_view(&t->rows[t->n - 1].key), key) < 0);
    return put(txn, table, key, value);
}

static void row_fini(struct row *row)
{
    chassis_buf_fini(&row->key);
    chassis_buf_fini(&row->value);
}

static int del(struct chassis_txn *txn, unsigned table, struct chassis_view key)
{
    CHASSIS_ASSERT(txn->write);
    struct table *t = table_of(txn, table);
    size_t at = lower(t, key);
    if (!is_at(t, at, key)) {
        return CHASSIS_NOT_FOUND;
    }
    row_fini(&t->rows[at]);
    t->n--;
    memmove(&t->rows[at], &t->rows[at + 1], (t->n - at) * sizeof *t->rows);
    return 0;
}

static uint64_t count(struct chassis_txn *txn, unsigned table)
{
    return table_of(txn, table)->n;
}

static int clear(struct chassis_txn *txn, unsigned table)
{
    struct table *t = table_of(txn, table);
    for (size_t i = 0; i < t->n; i++) {
        row_fini(&t->rows[i]);
    }
    free(t->rows);
    memset(t, 0, sizeof *t);
    return 0;
}

static int cursor_open(struct chassis_txn *txn, unsigned table, struct chassis_cursor **ret_cursor)
{
    struct array_cursor *c = chassis_base_zalloc(sizeof *c);
    c->base = (struct chassis_cursor){txn, table};
    *ret_cursor = &c->base;
    return 0;
}

static void cursor_close(struct chassis_cursor *cursor)
{
    free(cursor);
}

static int show(struct array_cursor *c, struct chassis_view *ret_key,
                struct chassis_view *ret_value)
{
    struct table *t = table_of(c->base.txn, c->base.table);
    if (c->at >= t->n) {
        return CHASSIS_NOT_FOUND;
    }
    *ret_key = chassis_buf_view(&t->rows[c->at].key);
    *ret_value = chassis_buf_view(&t->rows[c->at].value);
    return 0;
}

static int seek(struct chassis_cursor *cursor, struct chassis_view key,
                struct chassis_view *ret_key, struct chassis_view *ret_value)
{
    struct array_cursor *c = (struct array_cursor *)cursor;
    c->at = lower(table_of(cursor->txn, cursor->table), key);
    return show(c, ret_key, ret_value);
}

static int last(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                struct chassis_view *ret_value)
{
    struct array_cursor *c = (struct array_cursor *)cursor;
    c->at = table_of(cursor->txn, cursor->table)->n - 1;
    return show(c, ret_key, ret_value);
}

static int next(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                struct chassis_view *ret_value)
{
    struct array_cursor *c = (struct array_cursor *)cursor;
    c->at++;
    return show(c, ret_key, ret_value);
}

static int prev(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                struct chassis_view *ret_value)
{
    struct array_cursor *c = (struct array_cursor *)cursor;
    c->at--;
    return show(c, ret_key, ret_value);
}

static int sync_store(struct chassis_store *store, struct chassis_error *err)
{
    return 0;
}

static int space(struct chassis_store *store, struct chassis_store_space *ret_space)
{
    *ret_space = (struct chassis_store_space){0, UINT64_MAX};
    return 0;
}

static void close_store(struct chassis_store *store)
{
    struct chassis_txn txn = {store, true};
    for (unsigned i = 0; i < store->n_tables; i++) {
        clear(&txn, i);
    }
    free(store);
}

static const struct chassis_store_ops ops = {
    begin,       commit,       abort_txn, get,  put,  append, del,        count, clear,
    cursor_open, cursor_close, seek,      last, next, prev,   sync_store, space, close_store,
};

struct chassis_store *array_store_new(const char *const *tables, unsigned n_tables)
{
    struct array_store *store = chassis_base_zalloc(sizeof *store);
    store->base = (struct chassis_store){&ops, tables, n_tables};
    return &store->base;
}

void array_store_dump(struct chassis_store *store, struct chassis_buf *out)
{
    struct array_store *s = (struct array_store *)store;
    for (unsigned i = 0; i < store->n_tables; i++) {
        chassis_buf_append_varint(out, s->tables[i].n);
        for (size_t row = 0; row < s->tables[i].n; row++) {
            chassis_buf_append_block(out, chassis_buf_view(&s->tables[i].rows[row].key));
            chassis_buf_append_block(out, chassis_buf_view(&s->tables[i].rows[row].value));
        }
    }
}

bool array_store_flip(struct chassis_store *store, unsigned table, size_t nth, size_t bit)
{
    struct table *t = &((struct array_store *)store)->tables[table];
    if (nth >= t->n || t->rows[nth].value.len == 0) {
        return false;
    }
    struct chassis_buf *value = &t->rows[nth].value;
    bit %= value->len * 8;
    value->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    return true;
}
