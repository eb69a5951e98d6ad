/* The repository "memory": one tree per table, a snapshot of all trees per committed state.
 *
 * A read transaction holds a reference to the snapshot it began with. A write transaction works on
 * references of its own and publishes them as the next snapshot.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/fault.h"
#include "store/store.h"
#include "store/tree.h"

struct snapshot {
    atomic_uint refs;
    uint64_t used_bytes;
    struct {
        struct tree_node *root;
        uint64_t count, bytes;
    } tables[]; /* store->n_tables */
};

struct mem_store {
    struct chassis_store base;
    uint64_t limit_bytes;
    pthread_mutex_t writer; /* held by the write transaction */
    pthread_mutex_t lock;   /* guards `newest` */
    struct snapshot *newest;
};

struct mem_txn {
    struct chassis_txn base;
    struct snapshot *snapshot; /* a writer's own until commit */
    unsigned n_cursors;
    uint64_t changes;
};

struct mem_cursor {
    struct chassis_cursor base;
    struct tree_path path;
    enum chassis_store_place place;
    uint64_t changes;
    size_t key_len; /* kept in write transactions only */
    uint8_t key[CHASSIS_STORE_KEY_MAX];
};

static struct mem_store *store_of(struct chassis_store *store)
{
    return (struct mem_store *)store;
}
static struct mem_txn *txn_of(struct chassis_txn *txn)
{
    return (struct mem_txn *)txn;
}
static struct mem_cursor *cursor_of(struct chassis_cursor *cursor)
{
    return (struct mem_cursor *)cursor;
}

static struct snapshot *snapshot_new(unsigned n_tables)
{
    struct snapshot *s = chassis_base_zalloc(sizeof *s + n_tables * sizeof s->tables[0]);
    atomic_init(&s->refs, 1);
    return s;
}

static struct snapshot *snapshot_copy(const struct snapshot *from, unsigned n_tables)
{
    struct snapshot *s = snapshot_new(n_tables);
    s->used_bytes = from->used_bytes;
    for (unsigned i = 0; i < n_tables; i++) {
        s->tables[i] = from->tables[i];
        tree_ref(s->tables[i].root);
    }
    return s;
}

static void snapshot_unref(struct snapshot *s, unsigned n_tables)
{
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; i < n_tables; i++) {
        tree_unref(s->tables[i].root);
    }
    free(s);
}

static struct snapshot *newest(struct mem_store *s)
{
    pthread_mutex_lock(&s->lock);
    struct snapshot *snapshot = s->newest;
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
    return snapshot;
}

static int mem_begin(struct chassis_store *store, bool write, struct chassis_txn **ret_txn,
                     struct chassis_error *err)
{
    struct mem_store *s = store_of(store);
    if (CHASSIS_FAULT("store.begin")) {
        return chassis_error_code(err, -EIO, "begin a transaction");
    }
    struct mem_txn *t = chassis_base_zalloc(sizeof *t);
    t->base = (struct chassis_txn){store, write};
    if (write) {
        int rc = pthread_mutex_lock(&s->writer);
        CHASSIS_ASSERT(rc == 0); /* a second write transaction on one thread waits for itself */
    }
    t->snapshot = newest(s);
    if (write) {
        struct snapshot *own = snapshot_copy(t->snapshot, store->n_tables);
        snapshot_unref(t->snapshot, store->n_tables);
        t->snapshot = own;
    }
    *ret_txn = &t->base;
    return 0;
}

static void mem_abort(struct chassis_txn *txn)
{
    struct mem_txn *t = txn_of(txn);
    CHASSIS_ASSERT(t->n_cursors == 0);
    snapshot_unref(t->snapshot, txn->store->n_tables);
    if (txn->write) {
        pthread_mutex_unlock(&store_of(txn->store)->writer);
    }
    free(t);
}

static int mem_commit(struct chassis_txn *txn, struct chassis_error *err)
{
    struct mem_txn *t = txn_of(txn);
    struct mem_store *s = store_of(txn->store);
    if (txn->write) {
        if (CHASSIS_FAULT("store.commit")) {
            mem_abort(txn);
            return chassis_error_code(err, -EIO, "commit a transaction");
        }
        pthread_mutex_lock(&s->lock);
        struct snapshot *before = s->newest;
        s->newest = t->snapshot;
        pthread_mutex_unlock(&s->lock);
        t->snapshot = before;
    }
    mem_abort(txn); /* lets go of the snapshot in hand: the reader's, or the one replaced */
    return 0;
}

static int mem_get(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                   struct chassis_view *ret_value)
{
    chassis_store_check_txn(txn, table, false);
    int rc = chassis_store_check_key(key);
    if (rc < 0) {
        return rc;
    }
    struct tree_record *record = tree_get(txn_of(txn)->snapshot->tables[table].root, key);
    if (record == NULL) {
        return CHASSIS_NOT_FOUND;
    }
    *ret_value = tree_value(record);
    return 0;
}

static uint64_t footprint(size_t key_len, size_t value_len)
{
    return sizeof(struct tree_record) + 16 + key_len + value_len;
}

static void account(struct snapshot *s, unsigned table, int64_t records, int64_t bytes)
{
    s->tables[table].count += (uint64_t)records;
    s->tables[table].bytes += (uint64_t)bytes;
    s->used_bytes += (uint64_t)bytes;
}

static int mem_put(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                   struct chassis_view value)
{
    struct mem_txn *t = txn_of(txn);
    chassis_store_check_txn(txn, table, true);
    int rc = chassis_store_check_key(key);
    if (rc < 0) {
        return rc;
    }
    if (value.len > UINT32_MAX) {
        return CHASSIS_TOO_LARGE;
    }
    if (CHASSIS_FAULT("store.put")) {
        return -EIO;
    }
    uint64_t bytes = footprint(key.len, value.len);
    if (t->snapshot->used_bytes + bytes > store_of(txn->store)->limit_bytes) {
        return CHASSIS_NO_SPACE;
    }
    t->changes++;
    struct tree_record *replaced =
        tree_put(&t->snapshot->tables[table].root, tree_record_new(key, value));
    account(t->snapshot, table, 1, (int64_t)bytes);
    if (replaced != NULL) {
        account(t->snapshot, table, -1,
                -(int64_t)footprint(replaced->key_len, replaced->value_len));
        tree_record_unref(replaced);
    }
    return 0;
}

static int mem_append(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                      struct chassis_view value)
{
    chassis_store_check_txn(txn, table, true);
    struct tree_path path;
    struct tree_record *last = tree_last(&path, txn_of(txn)->snapshot->tables[table].root);
    if (last != NULL && chassis_view_cmp(tree_key(last), key) >= 0) {
        int rc = chassis_store_check_key(key);
        return rc < 0 ? rc : CHASSIS_INVALID_ARGUMENT;
    }
    return mem_put(txn, table, key, value);
}

static int mem_del(struct chassis_txn *txn, unsigned table, struct chassis_view key)
{
    struct mem_txn *t = txn_of(txn);
    chassis_store_check_txn(txn, table, true);
    int rc = chassis_store_check_key(key);
    if (rc < 0) {
        return rc;
    }
    struct tree_record *record = tree_del(&t->snapshot->tables[table].root, key);
    if (record == NULL) {
        return CHASSIS_NOT_FOUND;
    }
    t->changes++;
    account(t->snapshot, table, -1, -(int64_t)footprint(record->key_len, record->value_len));
    tree_record_unref(record);
    return 0;
}

static uint64_t mem_count(struct chassis_txn *txn, unsigned table)
{
    chassis_store_check_txn(txn, table, false);
    return txn_of(txn)->snapshot->tables[table].count;
}

static int mem_clear(struct chassis_txn *txn, unsigned table)
{
    struct mem_txn *t = txn_of(txn);
    chassis_store_check_txn(txn, table, true);
    struct snapshot *s = t->snapshot;
    t->changes++;
    account(s, table, -(int64_t)s->tables[table].count, -(int64_t)s->tables[table].bytes);
    tree_unref(s->tables[table].root);
    s->tables[table].root = NULL;
    return 0;
}

static int mem_cursor_open(struct chassis_txn *txn, unsigned table,
                           struct chassis_cursor **ret_cursor)
{
    chassis_store_check_txn(txn, table, false);
    struct mem_cursor *c = chassis_base_alloc(sizeof *c);
    c->base = (struct chassis_cursor){txn, table};
    c->place = CHASSIS_STORE_NOWHERE;
    c->path.depth = 0;
    c->changes = 0;
    c->key_len = 0;
    txn_of(txn)->n_cursors++;
    *ret_cursor = &c->base;
    return 0;
}

static void mem_cursor_close(struct chassis_cursor *cursor)
{
    txn_of(cursor->txn)->n_cursors--;
    free(cursor_of(cursor));
}

static struct tree_node *root_of(const struct mem_cursor *c)
{
    return txn_of(c->base.txn)->snapshot->tables[c->base.table].root;
}

/* The cursor moved to `record`, or beyond an end. */
static int arrive(struct mem_cursor *c, struct tree_record *record, enum chassis_store_place beyond,
                  struct chassis_view *ret_key, struct chassis_view *ret_value)
{
    c->changes = txn_of(c->base.txn)->changes;
    if (record == NULL) {
        c->place = beyond;
        return CHASSIS_NOT_FOUND;
    }
    c->place = CHASSIS_STORE_AT;
    *ret_key = tree_key(record);
    *ret_value = tree_value(record);
    if (c->base.txn->write) {
        c->key_len = ret_key->len;
        memcpy(c->key, ret_key->data, ret_key->len);
    }
    return 0;
}

static int mem_seek(struct chassis_cursor *cursor, struct chassis_view key_at_least,
                    struct chassis_view *ret_key, struct chassis_view *ret_value)
{
    struct mem_cursor *c = cursor_of(cursor);
    if (key_at_least.len > CHASSIS_STORE_KEY_MAX) {
        return CHASSIS_TOO_LARGE;
    }
    if (key_at_least.data == NULL) {
        key_at_least = chassis_view_str("");
    }
    return arrive(c, tree_seek(&c->path, root_of(c), key_at_least), CHASSIS_STORE_END, ret_key,
                  ret_value);
}

static int mem_last(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                    struct chassis_view *ret_value)
{
    struct mem_cursor *c = cursor_of(cursor);
    return arrive(c, tree_last(&c->path, root_of(c)), CHASSIS_STORE_START, ret_key, ret_value);
}

static int mem_next(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                    struct chassis_view *ret_value)
{
    struct mem_cursor *c = cursor_of(cursor);
    if (c->place == CHASSIS_STORE_END) {
        return CHASSIS_NOT_FOUND;
    }
    if (c->place != CHASSIS_STORE_AT) {
        return mem_seek(cursor, chassis_view_str(""), ret_key, ret_value);
    }
    struct tree_record *record;
    if (c->changes != txn_of(cursor->txn)->changes) {
        struct chassis_view was = chassis_view(c->key, c->key_len);
        record = tree_seek(&c->path, root_of(c), was);
        if (record != NULL && chassis_view_eq(tree_key(record), was)) {
            record = tree_next(&c->path);
        }
    } else {
        record = tree_next(&c->path);
    }
    return arrive(c, record, CHASSIS_STORE_END, ret_key, ret_value);
}

static int mem_prev(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                    struct chassis_view *ret_value)
{
    struct mem_cursor *c = cursor_of(cursor);
    if (c->place == CHASSIS_STORE_START) {
        return CHASSIS_NOT_FOUND;
    }
    if (c->place != CHASSIS_STORE_AT) {
        return mem_last(cursor, ret_key, ret_value);
    }
    if (c->changes != txn_of(cursor->txn)->changes &&
        tree_seek(&c->path, root_of(c), chassis_view(c->key, c->key_len)) == NULL) {
        return mem_last(cursor, ret_key, ret_value);
    }
    return arrive(c, tree_prev(&c->path), CHASSIS_STORE_START, ret_key, ret_value);
}

static int mem_sync(struct chassis_store *store, struct chassis_error *err)
{
    (void)store;
    return CHASSIS_FAULT("store.sync") ? chassis_error_code(err, -EIO, "sync the store") : 0;
}

static int mem_space(struct chassis_store *store, struct chassis_store_space *ret_space)
{
    struct snapshot *s = newest(store_of(store));
    ret_space->used_bytes = s->used_bytes;
    ret_space->limit_bytes = store_of(store)->limit_bytes;
    snapshot_unref(s, store->n_tables);
    return 0;
}

static void mem_close(struct chassis_store *store)
{
    struct mem_store *s = store_of(store);
    snapshot_unref(s->newest, store->n_tables);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->writer);
    free(s);
}

static const struct chassis_store_ops mem_ops = {
    .begin = mem_begin,
    .commit = mem_commit,
    .abort = mem_abort,
    .get = mem_get,
    .put = mem_put,
    .append = mem_append,
    .del = mem_del,
    .count = mem_count,
    .clear = mem_clear,
    .cursor_open = mem_cursor_open,
    .cursor_close = mem_cursor_close,
    .seek = mem_seek,
    .last = mem_last,
    .next = mem_next,
    .prev = mem_prev,
    .sync = mem_sync,
    .space = mem_space,
    .close = mem_close,
};

static int mem_open(const struct chassis_repository_options *options,
                    struct chassis_store **ret_store, struct chassis_error *err)
{
    CHASSIS_ASSERT(options->n_tables <= CHASSIS_STORE_TABLES_MAX);
    if (CHASSIS_FAULT("store.open")) {
        return chassis_error_code(err, -EIO, "open a store in memory");
    }
    struct mem_store *s = chassis_base_zalloc(sizeof *s);
    s->base = (struct chassis_store){
        .ops = &mem_ops, .tables = options->tables, .n_tables = options->n_tables};
    s->limit_bytes = options->size_max_bytes != 0 ? options->size_max_bytes : 16ULL << 30;
    s->newest = snapshot_new(options->n_tables);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&s->writer, &attr);
    pthread_mutexattr_destroy(&attr);
    *ret_store = &s->base;
    return 0;
}

const struct chassis_repository chassis_repository_memory = {"memory", mem_open};
