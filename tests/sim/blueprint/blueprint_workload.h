/* Blueprint under simulation: its own commands, state machine and feeds as a workload.
 *
 * Clients set, compare-and-set and read keys of kind "sim"; on every start of every node two
 * watchers run on the state machine's own feed, one of them slow, from where that start found the
 * store. At the end what they saw must be what the store says happened, complete and in order.
 */
#ifndef DRAFT_SIM_BLUEPRINT_WORKLOAD_H
#define DRAFT_SIM_BLUEPRINT_WORKLOAD_H

#include "workload.h"

struct sim_workload *sim_blueprint_new(void);
void sim_blueprint_free(struct sim_workload *w);

#endif
