/* A binary heap of timers, earliest first, equal due times in the order armed. What executors keep
 * their timers in.
 *
 * Invariants: an armed timer stands in exactly one heap, at slot - 1; slot 0 means not armed.
 * Threads: one owner. Ownership: timers are the caller's memory.
 */
#ifndef CHASSIS_OS_TIMERS_H
#define CHASSIS_OS_TIMERS_H

#include <chassis/executor.h>

struct chassis_timers {
    struct chassis_timer **heap;
    uint32_t n, cap;
    uint64_t next_sequence;
};

void chassis_timers_fini(struct chassis_timers *timers); /* disarms what is left */
/* Arm, or re-arm, for the absolute time `due_ns`. */
void chassis_timers_arm(struct chassis_timers *timers, struct chassis_timer *timer,
                        uint64_t due_ns);
/* A timer that is not armed is left alone. */
void chassis_timers_cancel(struct chassis_timers *timers, struct chassis_timer *timer);
/* The earliest timer, NULL if there is none. */
static inline struct chassis_timer *chassis_timers_first(const struct chassis_timers *timers)
{
    return timers->n != 0 ? timers->heap[0] : NULL;
}
/* Take the earliest timer out if it is due at `now_ns`. */
struct chassis_timer *chassis_timers_take_due(struct chassis_timers *timers, uint64_t now_ns);

#endif
