/* Repositories: an ordered key-value store behind one vtable.
 *
 * What the author of a storage engine implements and what models are written against: a set of
 * tables, each an ordered map from byte strings to byte strings, changed in transactions.
 *
 * Invariants: keys are 1 … 511 bytes in memcmp order; one write transaction at a time; a read
 * transaction sees one moment (MVCC) and never blocks a writer; what a get or a cursor returns is
 * valid until the next change or the end of the transaction.
 * Threads: a store may be used from any role; a transaction and its cursors belong to the role that
 * began it.
 * Ownership: views are borrowed from the engine.
 * Errors: CHASSIS_NOT_FOUND, CHASSIS_NO_SPACE (checked before proposing, never met in apply),
 * CHASSIS_CORRUPT, -errno.
 */
#ifndef CHASSIS_PLUGIN_REPOSITORY_H
#define CHASSIS_PLUGIN_REPOSITORY_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>

enum { CHASSIS_STORE_TABLES_MAX = 32, CHASSIS_STORE_KEY_MAX = 511 };

struct chassis_store;
struct chassis_txn;
struct chassis_cursor;

struct chassis_store_space {
    uint64_t used_bytes;  /* by live pages */
    uint64_t limit_bytes; /* the most the store may grow to */
};

struct chassis_store_ops {
    int (*begin)(struct chassis_store *store, bool write, struct chassis_txn **ret_txn,
                 struct chassis_error *err);
    int (*commit)(struct chassis_txn *txn, struct chassis_error *err); /* frees txn either way */
    void (*abort)(struct chassis_txn *txn);                            /* frees txn */

    int (*get)(struct chassis_txn *txn, unsigned table, struct chassis_view key,
               struct chassis_view *ret_value);
    int (*put)(struct chassis_txn *txn, unsigned table, struct chassis_view key,
               struct chassis_view value);
    /* As put, where `key` is greater than every key of the table: cheaper in a B-tree. */
    int (*append)(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                  struct chassis_view value);
    int (*del)(struct chassis_txn *txn, unsigned table, struct chassis_view key);
    uint64_t (*count)(struct chassis_txn *txn, unsigned table);
    /* Remove every record of a table. */
    int (*clear)(struct chassis_txn *txn, unsigned table);

    int (*cursor_open)(struct chassis_txn *txn, unsigned table, struct chassis_cursor **ret_cursor);
    void (*cursor_close)(struct chassis_cursor *cursor);
    /* Each moves and returns the record there, or CHASSIS_NOT_FOUND past an end. */
    int (*seek)(struct chassis_cursor *cursor, struct chassis_view key_at_least,
                struct chassis_view *ret_key, struct chassis_view *ret_value);
    int (*last)(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                struct chassis_view *ret_value);
    int (*next)(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                struct chassis_view *ret_value);
    int (*prev)(struct chassis_cursor *cursor, struct chassis_view *ret_key,
                struct chassis_view *ret_value);

    int (*sync)(struct chassis_store *store, struct chassis_error *err);
    int (*space)(struct chassis_store *store, struct chassis_store_space *ret_space);
    void (*close)(struct chassis_store *store);
};

struct chassis_store {
    const struct chassis_store_ops *ops;
    const char *const *tables; /* names, in the order of the table numbers; static memory */
    unsigned n_tables;
};

struct chassis_txn {
    struct chassis_store *store;
    bool write;
};

struct chassis_cursor {
    struct chassis_txn *txn;
    unsigned table;
};

/* How a repository of some kind ("lmdb", "memory") is opened. */
struct chassis_repository_options {
    const char *path;          /* directory; made if absent */
    uint64_t size_max_bytes;   /* 0 = 16 GiB of address space */
    bool sync;                 /* false: durable only by `sync` or by a journal beside it */
    const char *const *tables; /* static memory */
    unsigned n_tables;
};
struct chassis_repository {
    const char *kind;
    int (*open)(const struct chassis_repository_options *options, struct chassis_store **ret_store,
                struct chassis_error *err);
};

static inline int chassis_store_begin(struct chassis_store *store, bool write,
                                      struct chassis_txn **ret_txn, struct chassis_error *err)
{
    return store->ops->begin(store, write, ret_txn, err);
}
static inline int chassis_txn_commit(struct chassis_txn *txn, struct chassis_error *err)
{
    return txn->store->ops->commit(txn, err);
}
static inline void chassis_txn_abort(struct chassis_txn *txn)
{
    txn->store->ops->abort(txn);
}
static inline int chassis_txn_get(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                                  struct chassis_view *ret_value)
{
    return txn->store->ops->get(txn, table, key, ret_value);
}
static inline int chassis_txn_put(struct chassis_txn *txn, unsigned table, struct chassis_view key,
                                  struct chassis_view value)
{
    return txn->store->ops->put(txn, table, key, value);
}
static inline int chassis_txn_append(struct chassis_txn *txn, unsigned table,
                                     struct chassis_view key, struct chassis_view value)
{
    return txn->store->ops->append(txn, table, key, value);
}
static inline int chassis_txn_del(struct chassis_txn *txn, unsigned table, struct chassis_view key)
{
    return txn->store->ops->del(txn, table, key);
}
static inline uint64_t chassis_txn_count(struct chassis_txn *txn, unsigned table)
{
    return txn->store->ops->count(txn, table);
}
static inline int chassis_txn_clear(struct chassis_txn *txn, unsigned table)
{
    return txn->store->ops->clear(txn, table);
}
static inline int chassis_cursor_open(struct chassis_txn *txn, unsigned table,
                                      struct chassis_cursor **ret_cursor)
{
    return txn->store->ops->cursor_open(txn, table, ret_cursor);
}
static inline void chassis_cursor_close(struct chassis_cursor *c)
{
    if (c != NULL) {
        c->txn->store->ops->cursor_close(c);
    }
}
static inline int chassis_cursor_seek(struct chassis_cursor *c, struct chassis_view key_at_least,
                                      struct chassis_view *ret_key, struct chassis_view *ret_value)
{
    return c->txn->store->ops->seek(c, key_at_least, ret_key, ret_value);
}
static inline int chassis_cursor_last(struct chassis_cursor *c, struct chassis_view *ret_key,
                                      struct chassis_view *ret_value)
{
    return c->txn->store->ops->last(c, ret_key, ret_value);
}
static inline int chassis_cursor_next(struct chassis_cursor *c, struct chassis_view *ret_key,
                                      struct chassis_view *ret_value)
{
    return c->txn->store->ops->next(c, ret_key, ret_value);
}
static inline int chassis_cursor_prev(struct chassis_cursor *c, struct chassis_view *ret_key,
                                      struct chassis_view *ret_value)
{
    return c->txn->store->ops->prev(c, ret_key, ret_value);
}
static inline int chassis_store_sync(struct chassis_store *store, struct chassis_error *err)
{
    return store->ops->sync(store, err);
}
static inline void chassis_store_close(struct chassis_store *store)
{
    if (store != NULL) {
        store->ops->close(store);
    }
}

/* The built-in repositories. "memory" is an ordered tree with copy-on-write snapshots, for tests,
 * simulations and caches. */
extern const struct chassis_repository chassis_repository_lmdb;
extern const struct chassis_repository chassis_repository_memory;

#endif
