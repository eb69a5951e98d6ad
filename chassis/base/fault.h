/* Named fault points: places where a test makes the n-th passage fail.
 *
 *     if (CHASSIS_FAULT("journal.segment.create")) return -EIO;
 *
 * A test runs a body in a loop, failing passage 1, 2, 3 … until the body passes without a fault
 * having fired (chassis_fault_loop). Points cost one predictable branch while disarmed.
 * Threads: arm and disarm from the test's thread while nobody passes a point of the prefix; points may
 * be passed from any thread.
 */
#ifndef CHASSIS_BASE_FAULT_H
#define CHASSIS_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

extern bool chassis_fault_armed;

#define CHASSIS_FAULT(name)                                                                        \
    (__builtin_expect(__atomic_load_n(&chassis_fault_armed, __ATOMIC_ACQUIRE), 0) &&               \
     chassis_fault_hit(name))

/* Fail the `nth` passage (from 1) of any point whose name starts with `prefix` ("" = every one). */
void chassis_fault_arm(const char *prefix, uint64_t nth);
/* Back to normal; true if the fault fired since it was armed. */
bool chassis_fault_disarm(void);
/* The name of the point that fired last, "" if none. */
const char *chassis_fault_fired_at(void);
bool chassis_fault_hit(const char *name);

#endif
