/* Entries of a group by the hash of their key: a table of the first entry of each, the others behind it
 * in a list.
 *
 * Invariants: the first stays first until it leaves; the others are in order of their sequences.
 * Threads: one owner. Ownership: entries are the place's; zeroed = empty.
 */
#ifndef CAT_GROUPS_KEYS_H
#define CAT_GROUPS_KEYS_H

#include <stdbool.h>
#include <stdint.h>

struct cat_entry;
struct cat_keys {
    struct cat_entry **buckets;
    uint32_t n_buckets, n; /* buckets: a power of two; n: of keys */
};

void cat_keys_fini(struct cat_keys *keys);
/* NULL = no entry has this key. */
struct cat_entry *cat_keys_first(const struct cat_keys *keys, uint32_t key);
/* True: it is the first of its key. False: it stands behind the first, in its order. */
bool cat_keys_enter(struct cat_keys *keys, struct cat_entry *entry);
/* The first of its key goes; who is first now, or NULL. */
struct cat_entry *cat_keys_leave(struct cat_keys *keys, struct cat_entry *entry);

#endif
