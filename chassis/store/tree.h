/* An ordered map in memory with cheap snapshots: a B+ tree of reference-counted nodes.
 *
 * A snapshot is a reference to the root. A change copies the nodes on its path that anybody else
 * refers to and alters the others in place, so a transaction copies each node at most once.
 *
 * Invariants: leaves hold records in key order; an inner node's low[i] is ≤ every key below child i
 * and > every key below child i - 1 (low[0] is not looked at); no node is empty; all leaves have the
 * same depth.
 * Threads: reference counts are atomic, so snapshots may be released on any thread; a tree that is
 * changed belongs to one.
 */
#ifndef CHASSIS_STORE_TREE_H
#define CHASSIS_STORE_TREE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <chassis/buf.h>

enum { TREE_FANOUT = 32, TREE_DEPTH_MAX = 16 };

struct tree_record {
    atomic_uint refs;
    uint16_t key_len;
    uint32_t value_len;
    uint8_t bytes[]; /* key, then value */
};

struct tree_node; /* NULL is the empty tree */

struct tree_path {
    struct tree_node *nodes[TREE_DEPTH_MAX];
    unsigned slots[TREE_DEPTH_MAX];
    unsigned depth; /* 0: not on a record */
};

static inline struct chassis_view tree_key(const struct tree_record *record)
{
    return chassis_view(record->bytes, record->key_len);
}
static inline struct chassis_view tree_value(const struct tree_record *record)
{
    return chassis_view(record->bytes + record->key_len, record->value_len);
}
struct tree_record *tree_record_new(struct chassis_view key, struct chassis_view value);
void tree_record_unref(struct tree_record *record);

void tree_ref(struct tree_node *root);
void tree_unref(struct tree_node *root);
struct tree_record *tree_get(const struct tree_node *root, struct chassis_view key);
/* Takes the reference to `record`. Gives back the record it replaces (its reference too) or NULL. */
struct tree_record *tree_put(struct tree_node **root, struct tree_record *record);
/* Takes the record out and gives it with its reference; NULL if there is none. */
struct tree_record *tree_del(struct tree_node **root, struct chassis_view key);

/* Each returns the record the path then stands on, or NULL. */
struct tree_record *tree_seek(struct tree_path *path, struct tree_node *root,
                              struct chassis_view key_at_least);
struct tree_record *tree_last(struct tree_path *path, struct tree_node *root);
struct tree_record *tree_next(struct tree_path *path);
struct tree_record *tree_prev(struct tree_path *path);

#endif
