/* Consensus of one node without a log: commands are applied in the order they are proposed, on the
 * executor of the test. Threads: one. */
#ifndef TESTS_FAKE_CONSENSUS_H
#define TESTS_FAKE_CONSENSUS_H

#include <chassis/consensus.h>

struct chassis_consensus {
    struct chassis_store *store;
    struct chassis_executor *executor;
    const struct chassis_state_machine *machine;
    bool leader;     /* ask_leader reaches this machine, or fails */
    int64_t wall_ns; /* of entries */
    uint64_t applied;
    unsigned proposals, asks; /* seen */
};

#endif
