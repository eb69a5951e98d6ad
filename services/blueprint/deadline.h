/* How long consensus may work on a call: a little less than its caller waits, so that the caller
 * hears the reason ("no leader …") and not only that its own clock ran out.
 *
 * Threads: any.
 */
#ifndef BP_DEADLINE_H
#define BP_DEADLINE_H

#include <chassis/call.h>

/* For the timeout_ns of proposals, reads and asks; 0 (their default) for a call without deadline. */
static inline uint64_t bp_timeout_ns(struct chassis_call *call)
{
    const uint64_t margin_max = 250 * UINT64_C(1000000);
    uint64_t left = chassis_call_time_left_ns(call);
    if (left == UINT64_MAX) {
        return 0;
    }
    uint64_t margin = left / 8 < margin_max ? left / 8 : margin_max;
    return left - margin != 0 ? left - margin : 1;
}

#endif
