/* Timers of the executor: a binary heap of caller's timers above one uv_timer.
 *
 * One libuv timer for all keeps struct chassis_timer free of libuv, and arming costs no system call.
 */
#include "loop/internal.h"

static bool before(const struct chassis_timer *a, const struct chassis_timer *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->sequence < b->sequence;
}

static void place(struct chassis_loop *loop, uint32_t at, struct chassis_timer *timer)
{
    loop->heap[at] = timer;
    timer->slot = at + 1;
}

static void sift_up(struct chassis_loop *loop, uint32_t at, struct chassis_timer *timer)
{
    while (at > 0 && before(timer, loop->heap[(at - 1) / 2])) {
        place(loop, at, loop->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(loop, at, timer);
}

static void sift_down(struct chassis_loop *loop, uint32_t at, struct chassis_timer *timer)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= loop->n_heap) {
            break;
        }
        if (child + 1 < loop->n_heap && before(loop->heap[child + 1], loop->heap[child])) {
            child++;
        }
        if (!before(loop->heap[child], timer)) {
            break;
        }
        place(loop, at, loop->heap[child]);
        at = child;
    }
    place(loop, at, timer);
}

static void heap_insert(struct chassis_loop *loop, struct chassis_timer *timer)
{
    if (loop->n_heap == loop->cap_heap) {
        loop->cap_heap = loop->cap_heap != 0 ? loop->cap_heap * 2 : 16;
        loop->heap =
            chassis_base_realloc(loop->heap, loop->cap_heap * sizeof(struct chassis_timer *));
    }
    sift_up(loop, loop->n_heap++, timer);
}

static void heap_remove(struct chassis_loop *loop, struct chassis_timer *timer)
{
    uint32_t at = timer->slot - 1;
    CHASSIS_ASSERT(at < loop->n_heap && loop->heap[at] == timer);
    timer->slot = 0;
    timer->due_ns = 0;
    struct chassis_timer *last = loop->heap[--loop->n_heap];
    if (last != timer) {
        if (at > 0 && before(last, loop->heap[(at - 1) / 2])) {
            sift_up(loop, at, last);
        } else {
            sift_down(loop, at, last);
        }
    }
}

static void on_alarm(uv_timer_t *alarm)
{
    struct chassis_loop *loop = alarm->data;
    loop->alarm_due_ns = UINT64_MAX;
    loop_timers_run(loop);
    loop_run_deferred(loop);
}

/* Let the libuv timer ring for the earliest due time, not before it: libuv rounds down. */
static void set_alarm(struct chassis_loop *loop)
{
    uint64_t due = loop->n_heap != 0 ? loop->heap[0]->due_ns : UINT64_MAX;
    if (due == loop->alarm_due_ns) {
        return;
    }
    loop->alarm_due_ns = due;
    if (due == UINT64_MAX) {
        uv_timer_stop(&loop->alarm);
        return;
    }
    uint64_t now = uv_hrtime();
    uint64_t wait_ms = due > now ? (due - now + CHASSIS_NS_PER_MS - 1) / CHASSIS_NS_PER_MS : 0;
    uv_update_time(&loop->uv);
    uv_timer_start(&loop->alarm, on_alarm, wait_ms, 0);
}

void loop_timer_arm(struct chassis_loop *loop, struct chassis_timer *timer, uint64_t delay_ns)
{
    if (timer->slot != 0) {
        heap_remove(loop, timer);
    }
    uint64_t now = uv_hrtime();
    timer->due_ns = delay_ns < UINT64_MAX - 1 - now ? now + delay_ns : UINT64_MAX - 1;
    timer->sequence = ++loop->timer_sequence;
    heap_insert(loop, timer);
    set_alarm(loop);
}

void loop_timer_cancel(struct chassis_loop *loop, struct chassis_timer *timer)
{
    if (timer->slot != 0) {
        heap_remove(loop, timer);
        set_alarm(loop);
    }
}

void loop_timers_run(struct chassis_loop *loop)
{
    /* Timers armed by the ones that run here wait for the next turn, else two could keep it. */
    uint64_t now = uv_hrtime();
    uint64_t newest = loop->timer_sequence;
    while (loop->n_heap != 0 && loop->heap[0]->due_ns <= now && loop->heap[0]->sequence <= newest) {
        struct chassis_timer *timer = loop->heap[0];
        heap_remove(loop, timer);
        timer->run(timer);
    }
    set_alarm(loop);
}

void loop_timers_drop(struct chassis_loop *loop)
{
    while (loop->n_heap != 0) {
        heap_remove(loop, loop->heap[loop->n_heap - 1]);
    }
    free(loop->heap);
    loop->heap = NULL;
    loop->cap_heap = 0;
}
