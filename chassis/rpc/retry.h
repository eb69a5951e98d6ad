/* The retry budget of a client: a token bucket. Each call puts in a tenth of a token, time puts in
 * ten a second, a retry takes one: when a service is down, retries add at most about 10 % load.
 *
 * Threads: the owner guards it.
 */
#ifndef CHASSIS_RPC_RETRY_H
#define CHASSIS_RPC_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct rpc_budget {
    uint64_t milli;   /* thousandths of a token */
    uint64_t last_ns; /* when time was last counted */
};

enum { RPC_BUDGET_MAX = 100, RPC_BUDGET_PER_S = 10, RPC_BUDGET_CALL_MILLI = 100 };

void rpc_budget_init(struct rpc_budget *budget, uint64_t now_ns);
void rpc_budget_call(struct rpc_budget *budget);
/* Take a token; false when there is none: do not retry. */
bool rpc_budget_take(struct rpc_budget *budget, uint64_t now_ns);
/* How long to wait before attempt `attempt` (2, 3, …): 20 ms doubling to 1 s, times 0.5…1.5 by
 * `random` in [0, 1). */
uint64_t rpc_retry_delay_ns(unsigned attempt, double random);

#endif
