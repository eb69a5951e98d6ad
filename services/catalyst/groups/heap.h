/* A binary heap of pointers whose items know where they stand, so that any of them can be moved or
 * removed in logarithmic time.
 *
 * Invariants: the uint32_t at offset `at` of an item is its place + 1, 0 while it stands in no heap.
 * Threads: none of its own. Ownership: items are the caller's; an empty heap holds no memory after
 * cat_heap_fini.
 */
#ifndef CAT_GROUPS_HEAP_H
#define CAT_GROUPS_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cat_heap { /* zeroed = empty */
    void **items;
    uint32_t n, cap;
};
struct cat_heap_kind {
    bool (*before)(const void *a, const void *b);
    size_t at; /* offset of the place within an item */
};

void cat_heap_fini(struct cat_heap *heap);
void cat_heap_put(struct cat_heap *heap, const struct cat_heap_kind *kind, void *item);
/* An item that stands in no heap is left alone. */
void cat_heap_remove(struct cat_heap *heap, const struct cat_heap_kind *kind, void *item);
/* The order of an item that stands in the heap has changed. */
void cat_heap_moved(struct cat_heap *heap, const struct cat_heap_kind *kind, void *item);
static inline void *cat_heap_top(const struct cat_heap *heap)
{
    return heap->n != 0 ? heap->items[0] : NULL;
}

#endif
