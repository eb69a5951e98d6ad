#include "base/fault.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

bool chassis_fault_armed;

static char armed_prefix[64];
static char fired_name[64];
static uint64_t armed_nth;
static atomic_uint_fast64_t passages;
static atomic_bool fired;

void chassis_fault_arm(const char *prefix, uint64_t nth)
{
    snprintf(armed_prefix, sizeof armed_prefix, "%s", prefix);
    armed_nth = nth;
    fired_name[0] = '\0';
    atomic_store(&passages, 0);
    atomic_store(&fired, false);
    __atomic_store_n(&chassis_fault_armed, true, __ATOMIC_RELEASE);
}

bool chassis_fault_disarm(void)
{
    __atomic_store_n(&chassis_fault_armed, false, __ATOMIC_RELEASE);
    return atomic_load(&fired);
}

const char *chassis_fault_fired_at(void)
{
    return atomic_load(&fired) ? fired_name : "";
}

bool chassis_fault_hit(const char *name)
{
    if (strncmp(name, armed_prefix, strlen(armed_prefix)) != 0) {
        return false;
    }
    if (atomic_fetch_add(&passages, 1) + 1 != armed_nth) {
        return false;
    }
    snprintf(fired_name, sizeof fired_name, "%s", name);
    atomic_store(&fired, true);
    return true;
}
