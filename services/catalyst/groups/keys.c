#include "catalyst/groups/keys.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "catalyst/groups/model.h"

uint32_t cat_place_key(struct chassis_view key)
{
    uint64_t hash = chassis_fnv1a(key.data, key.len);
    uint32_t folded = (uint32_t)(hash ^ hash >> 32);
    return folded != 0 ? folded : 1;
}

void cat_keys_fini(struct cat_keys *k)
{
    free(k->buckets);
    *k = (struct cat_keys){0};
}

/* Where the first entry of the key hangs, or would. */
static struct cat_entry **link_of(const struct cat_keys *k, uint32_t key)
{
    uint32_t mixed = key * UINT32_C(0x9e3779b1);
    struct cat_entry **link = &k->buckets[(mixed >> 8) & (k->n_buckets - 1)];
    while (*link != NULL && (*link)->key != key) {
        link = &(*link)->bucket_next;
    }
    return link;
}

struct cat_entry *cat_keys_first(const struct cat_keys *k, uint32_t key)
{
    return k->n != 0 ? *link_of(k, key) : NULL;
}

static void grow(struct cat_keys *k)
{
    uint32_t old_n = k->n_buckets;
    struct cat_entry **old = k->buckets;
    k->n_buckets = old_n != 0 ? 2 * old_n : 16;
    k->buckets = chassis_base_zalloc(k->n_buckets * sizeof(struct cat_entry *));
    for (uint32_t i = 0; i < old_n; i++) {
        for (struct cat_entry *e = old[i], *following; e != NULL; e = following) {
            following = e->bucket_next;
            e->bucket_next = NULL;
            *link_of(k, e->key) = e;
        }
    }
    free(old);
}

bool cat_keys_enter(struct cat_keys *k, struct cat_entry *e)
{
    if (k->n >= k->n_buckets) {
        grow(k);
    }
    struct cat_entry **link = link_of(k, e->key), *first = *link;
    if (first == NULL) {
        *link = e;
        e->key_last = e;
        k->n++;
        return true;
    }
    struct cat_entry *after = first->key_last;
    if (after != first && after->sequence > e->sequence) { /* reopened: not the newest */
        for (after = first; after->key_next->sequence < e->sequence;) {
            after = after->key_next;
        }
    }
    e->key_next = after->key_next;
    after->key_next = e;
    if (e->key_next == NULL) {
        first->key_last = e;
    }
    return false;
}

struct cat_entry *cat_keys_leave(struct cat_keys *k, struct cat_entry *e)
{
    struct cat_entry **link = link_of(k, e->key), *heir = e->key_next;
    CHASSIS_ASSERT(*link == e);
    if (heir == NULL) {
        *link = e->bucket_next;
        k->n--;
        return NULL;
    }
    heir->key_last = e->key_last;
    heir->bucket_next = e->bucket_next;
    *link = heir;
    return heir;
}
