#include "catalyst/broker/late.h"

#include <stdlib.h>

#include "base/assert.h"

void cat_late_fini(struct late *l)
{
    free(l->heap);
    *l = (struct late){0};
}

static void swap(struct late *l, uint32_t a, uint32_t b)
{
    struct late_event event = l->heap[a];
    l->heap[a] = l->heap[b];
    l->heap[b] = event;
}

static void up(struct late *l, uint32_t i)
{
    while (i != 0 && l->heap[i].due_ns < l->heap[(i - 1) / 2].due_ns) {
        swap(l, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

static void down(struct late *l, uint32_t i)
{
    for (;;) {
        uint32_t least = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < l->n; child++) {
            least = l->heap[child].due_ns < l->heap[least].due_ns ? child : least;
        }
        if (least == i) {
            return;
        }
        swap(l, i, least);
        i = least;
    }
}

static void find_lowest(struct late *l)
{
    l->lowest = UINT64_MAX;
    for (uint32_t i = 0; i < l->n; i++) {
        l->lowest = l->heap[i].sequence < l->lowest ? l->heap[i].sequence : l->lowest;
    }
}

void cat_late_add(struct late *l, struct late_event event)
{
    CHASSIS_ASSERT(!cat_late_full(l));
    if (l->n == l->cap) {
        l->cap = l->cap != 0 ? l->cap * 2 : 8;
        l->heap = chassis_base_realloc(l->heap, l->cap * sizeof *l->heap);
    }
    l->lowest = l->n == 0 || event.sequence < l->lowest ? event.sequence : l->lowest;
    l->heap[l->n] = event;
    up(l, l->n++);
}

void cat_late_pop(struct late *l)
{
    CHASSIS_ASSERT(l->n != 0);
    uint64_t sequence = l->heap[0].sequence;
    l->heap[0] = l->heap[--l->n];
    down(l, 0);
    if (sequence == l->lowest) {
        find_lowest(l);
    }
    if (l->n == 0) {
        cat_late_fini(l);
    }
}

void cat_late_drop_stream(struct late *l, uint32_t stream)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->heap[i].stream != stream) {
            l->heap[n++] = l->heap[i];
        }
    }
    l->n = n;
    for (uint32_t i = n / 2; i-- > 0;) {
        down(l, i);
    }
    find_lowest(l);
}
