#include "catalyst/groups/heap.h"

#include <stdlib.h>

#include "base/assert.h"

static uint32_t *place_of(const struct cat_heap_kind *kind, void *item)
{
    return (uint32_t *)(void *)((char *)item + kind->at);
}

static void set(struct cat_heap *heap, const struct cat_heap_kind *kind, uint32_t i, void *item)
{
    heap->items[i] = item;
    *place_of(kind, item) = i + 1;
}

static void sift_up(struct cat_heap *heap, const struct cat_heap_kind *kind, uint32_t i, void *item)
{
    while (i != 0 && kind->before(item, heap->items[(i - 1) / 2])) {
        set(heap, kind, i, heap->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    set(heap, kind, i, item);
}

static void sift_down(struct cat_heap *heap, const struct cat_heap_kind *kind, uint32_t i,
                      void *item)
{
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child + 1 < heap->n && kind->before(heap->items[child + 1], heap->items[child])) {
            child++;
        }
        if (child >= heap->n || !kind->before(heap->items[child], item)) {
            break;
        }
        set(heap, kind, i, heap->items[child]);
        i = child;
    }
    set(heap, kind, i, item);
}

void cat_heap_fini(struct cat_heap *heap)
{
    free(heap->items);
    *heap = (struct cat_heap){0};
}

void cat_heap_put(struct cat_heap *heap, const struct cat_heap_kind *kind, void *item)
{
    CHASSIS_ASSERT(*place_of(kind, item) == 0);
    if (heap->n == heap->cap) {
        heap->cap = heap->cap != 0 ? 2 * heap->cap : 8;
        heap->items = chassis_base_realloc(heap->items, heap->cap * sizeof *heap->items);
    }
    heap->n++;
    sift_up(heap, kind, heap->n - 1, item);
}

void cat_heap_moved(struct cat_heap *heap, const struct cat_heap_kind *kind, void *item)
{
    uint32_t i = *place_of(kind, item) - 1;
    CHASSIS_ASSERT(i < heap->n && heap->items[i] == item);
    if (i != 0 && kind->before(item, heap->items[(i - 1) / 2])) {
        sift_up(heap, kind, i, item);
    } else {
        sift_down(heap, kind, i, item);
    }
}

void cat_heap_remove(struct cat_heap *heap, const struct cat_heap_kind *kind, void *item)
{
    uint32_t place = *place_of(kind, item);
    if (place == 0) {
        return;
    }
    CHASSIS_ASSERT(place <= heap->n && heap->items[place - 1] == item);
    *place_of(kind, item) = 0;
    void *last = heap->items[--heap->n];
    if (last != item) {
        set(heap, kind, place - 1, last);
        cat_heap_moved(heap, kind, last);
    }
}
