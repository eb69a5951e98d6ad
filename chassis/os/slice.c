/* Scheduling of threads that others wait for. */
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/os.h"

enum { SLICE_NS = 100 * 1000 };

/* The kernel reads the slice from sched_runtime since 6.12; before, it takes no notice of it. Threads
 * and processes started from here do not inherit it; they would lose a negative nice value with it, so
 * who has one, or another policy, keeps what was chosen. */
void chassis_os_short_slice(void)
{
    struct sched_attr attr = {.size = sizeof attr};
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) == 0 &&
        attr.sched_policy == SCHED_NORMAL && attr.sched_nice >= 0) {
        attr.sched_flags |= SCHED_FLAG_RESET_ON_FORK;
        attr.sched_runtime = SLICE_NS;
        (void)syscall(SYS_sched_setattr, 0, &attr, 0);
    }
}
