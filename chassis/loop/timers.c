/* Timers of the executor: the heap of os/timers.h above one uv_timer.
 *
 * One libuv timer for all keeps struct chassis_timer free of libuv, and arming costs no system call.
 */
#include "loop/internal.h"

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
    const struct chassis_timer *first = chassis_timers_first(&loop->timers);
    uint64_t due = first != NULL ? first->due_ns : UINT64_MAX;
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
    uint64_t now = uv_hrtime();
    chassis_timers_arm(&loop->timers, timer,
                       delay_ns < UINT64_MAX - 1 - now ? now + delay_ns : UINT64_MAX - 1);
    set_alarm(loop);
}

void loop_timer_cancel(struct chassis_loop *loop, struct chassis_timer *timer)
{
    chassis_timers_cancel(&loop->timers, timer);
    set_alarm(loop);
}

void loop_timers_run(struct chassis_loop *loop)
{
    /* Timers armed by the ones that run here wait for the next turn, else two could keep it. */
    uint64_t now = uv_hrtime(), end = loop->timers.next_sequence;
    const struct chassis_timer *first;
    while ((first = chassis_timers_first(&loop->timers)) != NULL && first->sequence < end) {
        struct chassis_timer *due = chassis_timers_take_due(&loop->timers, now);
        if (due == NULL) {
            break;
        }
        due->run(due);
    }
    set_alarm(loop);
}
