#include "rpc/retry.h"

#include <chassis/executor.h>

void rpc_budget_init(struct rpc_budget *budget, uint64_t now_ns)
{
    *budget = (struct rpc_budget){.milli = RPC_BUDGET_PER_S * 1000, .last_ns = now_ns};
}

static void add(struct rpc_budget *budget, uint64_t milli)
{
    uint64_t max = RPC_BUDGET_MAX * 1000ULL;
    budget->milli = budget->milli + milli > max ? max : budget->milli + milli;
}

void rpc_budget_call(struct rpc_budget *budget)
{
    add(budget, RPC_BUDGET_CALL_MILLI);
}

bool rpc_budget_take(struct rpc_budget *budget, uint64_t now_ns)
{
    uint64_t ms = now_ns > budget->last_ns ? (now_ns - budget->last_ns) / CHASSIS_NS_PER_MS : 0;
    budget->last_ns += ms * CHASSIS_NS_PER_MS;
    add(budget, ms > 3600 * 1000 ? RPC_BUDGET_MAX * 1000ULL : ms * RPC_BUDGET_PER_S);
    if (budget->milli < 1000) {
        return false;
    }
    budget->milli -= 1000;
    return true;
}

uint64_t rpc_retry_delay_ns(unsigned attempt, double random)
{
    unsigned doublings = attempt > 2 ? attempt - 2 : 0;
    uint64_t ns = doublings >= 6 ? CHASSIS_NS_PER_S : 20 * CHASSIS_NS_PER_MS << doublings;
    ns = ns > CHASSIS_NS_PER_S ? CHASSIS_NS_PER_S : ns;
    return (uint64_t)((double)ns * (0.5 + random));
}
