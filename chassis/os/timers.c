#include "os/timers.h"

#include <stdlib.h>

#include "base/assert.h"

static bool earlier(const struct chassis_timer *a, const struct chassis_timer *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->sequence < b->sequence;
}

static void put(struct chassis_timers *timers, uint32_t i, struct chassis_timer *timer)
{
    timers->heap[i] = timer;
    timer->slot = i + 1;
}

static void sift_up(struct chassis_timers *timers, uint32_t i, struct chassis_timer *timer)
{
    while (i != 0 && earlier(timer, timers->heap[(i - 1) / 2])) {
        put(timers, i, timers->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(timers, i, timer);
}

static void sift_down(struct chassis_timers *timers, uint32_t i, struct chassis_timer *timer)
{
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= timers->n) {
            break;
        }
        if (child + 1 < timers->n && earlier(timers->heap[child + 1], timers->heap[child])) {
            child++;
        }
        if (!earlier(timers->heap[child], timer)) {
            break;
        }
        put(timers, i, timers->heap[child]);
        i = child;
    }
    put(timers, i, timer);
}

void chassis_timers_fini(struct chassis_timers *timers)
{
    for (uint32_t i = 0; i < timers->n; i++) {
        timers->heap[i]->slot = 0;
        timers->heap[i]->due_ns = 0;
    }
    free(timers->heap);
    *timers = (struct chassis_timers){0};
}

void chassis_timers_arm(struct chassis_timers *timers, struct chassis_timer *timer, uint64_t due_ns)
{
    chassis_timers_cancel(timers, timer);
    if (timers->n == timers->cap) {
        timers->cap = timers->cap != 0 ? timers->cap * 2 : 16;
        timers->heap =
            chassis_base_realloc(timers->heap, timers->cap * sizeof(struct chassis_timer *));
    }
    timer->due_ns = due_ns != 0 ? due_ns : 1;
    timer->sequence = timers->next_sequence++;
    sift_up(timers, timers->n++, timer);
}

void chassis_timers_cancel(struct chassis_timers *timers, struct chassis_timer *timer)
{
    if (timer->slot == 0) {
        return;
    }
    uint32_t i = timer->slot - 1;
    CHASSIS_ASSERT(i < timers->n && timers->heap[i] == timer);
    timer->slot = 0;
    timer->due_ns = 0;
    struct chassis_timer *last = timers->heap[--timers->n];
    if (last == timer) {
        return;
    }
    if (i != 0 && earlier(last, timers->heap[(i - 1) / 2])) {
        sift_up(timers, i, last);
    } else {
        sift_down(timers, i, last);
    }
}

struct chassis_timer *chassis_timers_take_due(struct chassis_timers *timers, uint64_t now_ns)
{
    struct chassis_timer *first = chassis_timers_first(timers);
    if (first == NULL || first->due_ns > now_ns) {
        return NULL;
    }
    chassis_timers_cancel(timers, first);
    return first;
}
