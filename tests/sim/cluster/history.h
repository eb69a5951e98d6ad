/* What the clients of a simulation did, and whether one register per key can explain it.
 *
 * Algorithm: Wing and Gong 1993 with the memory of Lowe 2017 (configurations of linearized
 * operations and state are visited once), per key (Herlihy and Wing 1990: linearizability is local).
 * An operation whose outcome is unknown may have happened at any time after its call, or never.
 */
#ifndef DRAFT_SIM_HISTORY_H
#define DRAFT_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sim_op_kind {
    SIM_READ,  /* returned `value` (0 = absent) */
    SIM_WRITE, /* set `value` */
    SIM_CAS,   /* set `value` if it was `expected`; `swapped` says whether it did */
    SIM_STALE, /* a read of whatever one node has: the workload's to check */
    SIM_OTHER, /* a command that is about no register: the workload's to check */
};
struct sim_op {
    enum sim_op_kind kind;
    unsigned key;
    uint64_t value, expected;
    bool swapped;
    bool unknown; /* whether it took effect is not known */
    uint64_t call_ns, return_ns;
    unsigned client, node;
    unsigned flavour;   /* the workload's own */
    uint64_t detail[2]; /* the workload's own */
};

struct sim_history {
    struct sim_op *ops;
    size_t n, cap;
};
void sim_history_add(struct sim_history *history, const struct sim_op *op);
void sim_history_fini(struct sim_history *history);
/* True if every key is linearizable; else the offending key and a short text on stderr. */
bool sim_history_check(const struct sim_history *history, unsigned n_keys, bool quiet);

#endif
