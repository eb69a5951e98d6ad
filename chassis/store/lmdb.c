/* LMDB as a repository: one environment, one named database per table.
 *
 * MDB_NOTLS lets a read transaction move between threads with its role; finished read transactions
 * are reset and kept, since renewing one costs no lock on the reader table. Without `sync` a commit
 * survives kill -9 but not power loss: then a journal beside the store is what makes data durable.
 */
#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "store/store.h"

enum { READERS_MAX = 510, READERS_KEPT = 32 };
#define SIZE_DEFAULT (16ULL << 30)

struct lmdb_txn {
    struct chassis_txn base;
    MDB_txn *txn;
    struct lmdb_txn *next; /* in the pool */
    unsigned n_cursors;
    uint64_t changes;
};

struct lmdb_store {
    struct chassis_store base;
    MDB_env *env;
    MDB_dbi tables[CHASSIS_STORE_TABLES_MAX];
    pthread_mutex_t lock;
    struct lmdb_txn *idle; /* reset read transactions; under lock, as the count */
    unsigned n_idle;
};

struct lmdb_cursor {
    struct chassis_cursor base;
    MDB_cursor *cursor;
    enum chassis_store_place place;
    uint64_t changes; /* of the transaction when it moved last */
    size_t key_len;   /* kept in write transactions only, to find the place again */
    uint8_t key[CHASSIS_STORE_KEY_MAX];
};

static struct lmdb_store *store_of(struct chassis_store *store)
{
    return (struct lmdb_store *)store;
}
static struct lmdb_txn *txn_of(struct chassis_txn *txn)
{
    return (struct lmdb_txn *)txn;
}
static struct lmdb_cursor *cursor_of(struct chassis_cursor *cursor)
{
    return (struct lmdb_cursor *)cursor;
}

/* The one place where LMDB's codes become ours. */
static int from_lmdb(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return CHASSIS_NOT_FOUND;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
        return CHASSIS_NO_SPACE;
    case MDB_KEYEXIST: /* MDB_APPEND of a key that is not the greatest */
    case MDB_BAD_VALSIZE:
        return CHASSIS_INVALID_ARGUMENT;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_DBI:
        return CHASSIS_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return CHASSIS_BAD_VERSION;
    case MDB_READERS_FULL:
        return CHASSIS_BUSY;
    case MDB_TXN_FULL:
        return CHASSIS_RESOURCE_EXHAUSTED;
    default:
        return rc > 0 ? -rc : CHASSIS_INTERNAL;
    }
}

static MDB_val to_val(struct chassis_view view)
{
    /* LMDB does not write through what it is given. */
    return (MDB_val){view.len, (void *)(uintptr_t)view.data};
}
static struct chassis_view to_view(MDB_val val)
{
    return chassis_view(val.mv_data, val.mv_size);
}

static struct lmdb_txn *take_idle(struct lmdb_store *s)
{
    pthread_mutex_lock(&s->lock);
    struct lmdb_txn *t = s->idle;
    if (t != NULL) {
        s->idle = t->next;
        s->n_idle--;
    }
    pthread_mutex_unlock(&s->lock);
    return t;
}

static int lmdb_begin(struct chassis_store *store, bool write, struct chassis_txn **ret_txn,
                      struct chassis_error *err)
{
    struct lmdb_store *s = store_of(store);
    if (CHASSIS_FAULT("store.begin")) {
        return chassis_error_code(err, -EIO, "begin a transaction");
    }
    struct lmdb_txn *t = write ? NULL : take_idle(s);
    int rc;
    if (t != NULL) {
        rc = mdb_txn_renew(t->txn);
        if (rc != 0) {
            mdb_txn_abort(t->txn);
            free(t);
        }
    } else {
        t = chassis_base_zalloc(sizeof *t);
        rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &t->txn);
        if (rc != 0) {
            free(t);
        }
    }
    if (rc != 0) {
        return chassis_error_code(err, from_lmdb(rc), "begin a %s transaction",
                                  write ? "write" : "read");
    }
    t->base = (struct chassis_txn){store, write};
    t->n_cursors = 0;
    t->changes = 0;
    *ret_txn = &t->base;
    return 0;
}

static void lmdb_abort(struct chassis_txn *txn)
{
    struct lmdb_txn *t = txn_of(txn);
    struct lmdb_store *s = store_of(txn->store);
    CHASSIS_ASSERT(t->n_cursors == 0);
    if (txn->write) {
        mdb_txn_abort(t->txn);
        free(t);
        return;
    }
    mdb_txn_reset(t->txn);
    pthread_mutex_lock(&s->lock);
    bool keep = s->n_idle < READERS_KEPT;
    if (keep) {
        t->next = s->idle;
        s->idle = t;
        s->n_idle++;
    }
    pthread_mutex_unlock(&s->lock);
    if (!keep) {
        mdb_txn_abort(t->txn);
        free(t);
    }
}

static int lmdb_commit(struct chassis_txn *txn, struct chassis_error *err)
{
    struct lmdb_txn *t = txn_of(txn);
    if (!txn->write) {
        lmdb_abort(txn);
        return 0;
    }
    CHASSIS_ASSERT(t->n_cursors == 0);
    if (CHASSIS_FAULT("store.commit")) {
        lmdb_abort(txn);
        return chassis_error_code(err, -EIO, "commit a transaction");
    }
    int rc = mdb_txn_commit(t->txn);
    free(t);
    return rc == 0 ? 0 : chassis_error_code(err, from_lmdb(rc), "commit a transaction");
}

static int lmdb_get(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                    struct chassis_view *ret_value)
{
    chassis_store_check_txn(txn, table, false);
    int rc = chassis_store_check_key(key);
    if (rc < 0) {
        return rc;
    }
    MDB_val k = to_val(key), v;
    rc = mdb_get(txn_of(txn)->txn, store_of(txn->store)->tables[table], &k, &v);
    if (rc == 0) {
        *ret_value = to_view(v);
    }
    return from_lmdb(rc);
}

static int put_with(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                    struct chassis_view value, unsigned flags)
{
    chassis_store_check_txn(txn, table, true);
    int rc = chassis_store_check_key(key);
    if (rc < 0) {
        return rc;
    }
    if (CHASSIS_FAULT("store.put")) {
        return -EIO;
    }
    MDB_val k = to_val(key), v = to_val(value);
    txn_of(txn)->changes++;
    return from_lmdb(mdb_put(txn_of(txn)->txn, store_of(txn->store)->tables[table], &k, &v, flags));
}

static int lmdb_put(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                    struct chassis_view value)
{
    return put_with(txn, table, key, value, 0);
}

static int lmdb_append(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                       struct chassis_view value)
{
    return put_with(txn, table, key, value, MDB_APPEND);
}

static int lmdb_del(struct chassis_txn *txn, unsigned table, struct chassis_view key)
{
    chassis_store_check_txn(txn, table, true);
    int rc = chassis_store_check_key(key);
    if (rc < 0) {
        return rc;
    }
    MDB_val k = to_val(key);
    txn_of(txn)->changes++;
    return from_lmdb(mdb_del(txn_of(txn)->txn, store_of(txn->store)->tables[table], &k, NULL));
}

static uint64_t lmdb_count(struct chassis_txn *txn, unsigned table)
{
    chassis_store_check_txn(txn, table, false);
    MDB_stat stat;
    int rc = mdb_stat(txn_of(txn)->txn, store_of(txn->store)->tables[table], &stat);
    CHASSIS_ASSERT(rc == 0); /* fails only for a transaction or table that is not ours */
    return stat.ms_entries;
}

static int lmdb_clear(struct chassis_txn *txn, unsigned table)
{
    chassis_store_check_txn(txn, table, true);
    txn_of(txn)->changes++;
    return from_lmdb(mdb_drop(txn_of(txn)->txn, store_of(txn->store)->tables[table], 0));
}

static int lmdb_cursor_open(struct chassis_txn *txn, unsigned table,
                            struct chassis_cursor **ret_cursor)
{
    chassis_store_check_txn(txn, table, false);
    struct lmdb_cursor *c = chassis_base_alloc(sizeof *c);
    c->base = (struct chassis_cursor){txn, table};
    c->place = CHASSIS_STORE_NOWHERE;
    c->changes = 0;
    c->key_len = 0;
    int rc = mdb_cursor_open(txn_of(txn)->txn, store_of(txn->store)->tables[table], &c->cursor);
    if (rc != 0) {
        free(c);
        return from_lmdb(rc);
    }
    txn_of(txn)->n_cursors++;
    *ret_cursor = &c->base;
    return 0;
}

static void lmdb_cursor_close(struct chassis_cursor *cursor)
{
    struct lmdb_cursor *c = cursor_of(cursor);
    txn_of(cursor->txn)->n_cursors--;
    mdb_cursor_close(c->cursor);
    free(c);
}

/* Move by `op`; past an end the cursor stands at `beyond`. */
static int move(struct lmdb_cursor *c, MDB_val *k, MDB_cursor_op op,
                enum chassis_store_place beyond, struct chassis_view *ret_key,
                struct chassis_view *ret_value)
{
    MDB_val v;
    int rc = mdb_cursor_get(c->cursor, k, &v, op);
    if (rc == MDB_NOTFOUND) {
        c->place = beyond;
    }
    if (rc != 0) {
        return from_lmdb(rc);
    }
    c->place = CHASSIS_STORE_AT;
    c->changes = txn_of(c->base.txn)->changes;
    if (c->base.txn->write) {
        c->key_len = k->mv_size;
        memcpy(c->key, k->mv_data, k->mv_size);
    }
    *ret_key = to_view(*k);
    *ret_value = to_view(v);
    return 0;
}

static int lmdb_seek(struct chassis_cursor *cursor, struct chassis_view key_at_least,
                     struct chassis_view *ret_key, struct chassis_view *ret_value)
{
    MDB_val k = to_val(key_at_least);
    if (key_at_least.len > CHASSIS_STORE_KEY_MAX) {
        return CHASSIS_TOO_LARGE;
    }
    return move(cursor_of(cursor), &k, k.mv_size == 0 ? MDB_FIRST : MDB_SET_RANGE,
                CHASSIS_STORE_END, ret_key, ret_value);
}

static int lmdb_last(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                     struct chassis_view *ret_value)
{
    MDB_val k;
    return move(cursor_of(cursor), &k, MDB_LAST, CHASSIS_STORE_START, ret_key, ret_value);
}

static int lmdb_next(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                     struct chassis_view *ret_value)
{
    struct lmdb_cursor *c = cursor_of(cursor);
    MDB_val k;
    if (c->place == CHASSIS_STORE_END) {
        return CHASSIS_NOT_FOUND;
    }
    if (c->place != CHASSIS_STORE_AT) {
        return move(c, &k, MDB_FIRST, CHASSIS_STORE_END, ret_key, ret_value);
    }
    if (c->changes != txn_of(cursor->txn)->changes) {
        struct chassis_view was = chassis_view(c->key, c->key_len);
        uint8_t copy[CHASSIS_STORE_KEY_MAX];
        memcpy(copy, c->key, c->key_len);
        was.data = copy;
        int rc = lmdb_seek(cursor, was, ret_key, ret_value);
        if (rc != 0 || !chassis_view_eq(*ret_key, was)) {
            return rc; /* the record it stood at is gone: this is the next */
        }
    }
    return move(c, &k, MDB_NEXT, CHASSIS_STORE_END, ret_key, ret_value);
}

static int lmdb_prev(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                     struct chassis_view *ret_value)
{
    struct lmdb_cursor *c = cursor_of(cursor);
    MDB_val k;
    if (c->place == CHASSIS_STORE_START) {
        return CHASSIS_NOT_FOUND;
    }
    if (c->place == CHASSIS_STORE_AT && c->changes != txn_of(cursor->txn)->changes) {
        uint8_t copy[CHASSIS_STORE_KEY_MAX];
        memcpy(copy, c->key, c->key_len);
        int rc = lmdb_seek(cursor, chassis_view(copy, c->key_len), ret_key, ret_value);
        if (rc != 0 && rc != CHASSIS_NOT_FOUND) {
            return rc;
        }
    }
    return move(c, &k, c->place == CHASSIS_STORE_AT ? MDB_PREV : MDB_LAST, CHASSIS_STORE_START,
                ret_key, ret_value);
}

static int lmdb_sync(struct chassis_store *store, struct chassis_error *err)
{
    int rc = CHASSIS_FAULT("store.sync") ? EIO : mdb_env_sync(store_of(store)->env, 1);
    return rc == 0 ? 0 : chassis_error_code(err, from_lmdb(rc), "sync the store");
}

/* Pages that are free for reuse stand in LMDB's own database 0 as lists: {count, pages…}. */
static int count_free_pages(MDB_txn *txn, uint64_t *ret_pages)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, 0, &cursor);
    if (rc != 0) {
        return rc;
    }
    uint64_t pages = 0;
    MDB_val k, v;
    while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
        size_t n;
        memcpy(&n, v.mv_data, sizeof n);
        pages += n;
    }
    mdb_cursor_close(cursor);
    *ret_pages = pages;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int lmdb_space(struct chassis_store *store, struct chassis_store_space *ret_space)
{
    struct chassis_txn *txn;
    int rc = lmdb_begin(store, false, &txn, NULL);
    if (rc < 0) {
        return rc;
    }
    MDB_envinfo info;
    MDB_stat stat;
    uint64_t free_pages = 0;
    mdb_env_info(store_of(store)->env, &info);
    mdb_env_stat(store_of(store)->env, &stat);
    rc = from_lmdb(count_free_pages(txn_of(txn)->txn, &free_pages));
    lmdb_abort(txn);
    if (rc == 0) {
        ret_space->used_bytes = (info.me_last_pgno + 1 - free_pages) * stat.ms_psize;
        ret_space->limit_bytes = info.me_mapsize;
    }
    return rc;
}

static void lmdb_close(struct chassis_store *store)
{
    struct lmdb_store *s = store_of(store);
    struct lmdb_txn *t;
    while ((t = take_idle(s)) != NULL) {
        mdb_txn_abort(t->txn);
        free(t);
    }
    mdb_env_close(s->env);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static const struct chassis_store_ops lmdb_ops = {
    .begin = lmdb_begin,
    .commit = lmdb_commit,
    .abort = lmdb_abort,
    .get = lmdb_get,
    .put = lmdb_put,
    .append = lmdb_append,
    .del = lmdb_del,
    .count = lmdb_count,
    .clear = lmdb_clear,
    .cursor_open = lmdb_cursor_open,
    .cursor_close = lmdb_cursor_close,
    .seek = lmdb_seek,
    .last = lmdb_last,
    .next = lmdb_next,
    .prev = lmdb_prev,
    .sync = lmdb_sync,
    .space = lmdb_space,
    .close = lmdb_close,
};

static int open_tables(struct lmdb_store *s)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    for (unsigned i = 0; rc == 0 && i < s->base.n_tables; i++) {
        rc = mdb_dbi_open(txn, s->base.tables[i], MDB_CREATE, &s->tables[i]);
        if (rc != 0) {
            mdb_txn_abort(txn);
        }
    }
    return rc == 0 ? mdb_txn_commit(txn) : rc;
}

static int open_env(struct lmdb_store *s, const struct chassis_repository_options *options)
{
    uint64_t size = options->size_max_bytes != 0 ? options->size_max_bytes : SIZE_DEFAULT;
    if (size > SIZE_MAX / 4) {
        size = SIZE_MAX / 4; /* a 32-bit address space */
    }
    int rc = mdb_env_create(&s->env);
    if (rc != 0) {
        s->env = NULL;
        return rc;
    }
    rc = mdb_env_set_mapsize(s->env, (size_t)size);
    if (rc == 0) {
        rc = mdb_env_set_maxdbs(s->env, CHASSIS_STORE_TABLES_MAX);
    }
    if (rc == 0) {
        rc = mdb_env_set_maxreaders(s->env, READERS_MAX);
    }
    if (rc == 0) {
        rc = CHASSIS_FAULT("store.open")
                 ? EIO
                 : mdb_env_open(s->env, options->path,
                                MDB_NOTLS | (options->sync ? 0U : MDB_NOSYNC), 0600);
    }
    if (rc == 0) {
        int dead; /* readers of processes that were killed would pin pages for ever */
        rc = mdb_reader_check(s->env, &dead);
    }
    return rc == 0 ? open_tables(s) : rc;
}

/* LMDB has no checksums: a flipped bit in what binds its pages together hides records, or brings old
 * ones back. So each table is walked once: keys rise, each is found from the root, and there are as
 * many as the table says. (The values are their writer's to check.) */
static int check_table(MDB_txn *txn, MDB_dbi table)
{
    MDB_stat stat;
    MDB_cursor *cursor;
    MDB_val key, value, found, before = {0, NULL};
    int rc = mdb_stat(txn, table, &stat);
    rc = rc == 0 ? mdb_cursor_open(txn, table, &cursor) : rc;
    if (rc != 0) {
        return rc;
    }
    size_t n = 0;
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        bool rises = before.mv_data == NULL || mdb_cmp(txn, table, &before, &key) < 0;
        before = key;
        rc = ++n > stat.ms_entries || !rises ? MDB_CORRUPTED : mdb_get(txn, table, &key, &found);
        if (rc == MDB_NOTFOUND || (rc == 0 && found.mv_data != value.mv_data)) {
            rc = MDB_CORRUPTED;
        }
    }
    mdb_cursor_close(cursor);
    return rc != MDB_NOTFOUND ? rc : n == stat.ms_entries ? 0 : MDB_CORRUPTED;
}

static int check_tables(struct lmdb_store *s, struct chassis_error *err)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    for (unsigned i = 0; rc == 0 && i < s->base.n_tables; i++) {
        rc = check_table(txn, s->tables[i]);
        if (rc != 0) {
            chassis_error_set(err, from_lmdb(rc), "the pages of table '%s' contradict each other",
                              s->base.tables[i]);
            mdb_txn_abort(txn);
        }
    }
    if (rc == 0) {
        mdb_txn_abort(txn);
    }
    return from_lmdb(rc);
}

static int lmdb_open(const struct chassis_repository_options *options,
                     struct chassis_store **ret_store, struct chassis_error *err)
{
    CHASSIS_ASSERT(options->n_tables <= CHASSIS_STORE_TABLES_MAX);
    if (mkdir(options->path, 0700) < 0 && errno != EEXIST) {
        return chassis_error_code(err, -errno, "make store directory '%s'", options->path);
    }
    struct lmdb_store *s = chassis_base_zalloc(sizeof *s);
    s->base = (struct chassis_store){
        .ops = &lmdb_ops, .tables = options->tables, .n_tables = options->n_tables};
    pthread_mutex_init(&s->lock, NULL);
    struct chassis_error why = {0};
    int rc = from_lmdb(open_env(s, options));
    rc = rc == 0 ? check_tables(s, &why) : rc;
    if (rc < 0) {
        if (s->env != NULL) {
            mdb_env_close(s->env);
        }
        pthread_mutex_destroy(&s->lock);
        free(s);
        return why.code == 0
                   ? chassis_error_code(err, rc, "open store '%s'", options->path)
                   : chassis_error_set(err, rc, "open store '%s': %s", options->path, why.text);
    }
    *ret_store = &s->base;
    return 0;
}

const struct chassis_repository chassis_repository_lmdb = {"lmdb", lmdb_open};
