/* What the clients of a simulated cluster do: a service's own state machine and commands.
 *
 * The harness asks for operations, turns them into proposals and reads, and hands back what came of
 * them as a register operation per key, which is what the checker knows.
 */
#ifndef DRAFT_SIM_WORKLOAD_H
#define DRAFT_SIM_WORKLOAD_H

#include <chassis/consensus.h>

#include "base/prng.h"
#include "history.h"

struct sim_workload {
    const char *name;
    unsigned n_keys;
    /* A state machine for one start of one node, and its end. */
    struct chassis_state_machine *(*machine_new)(struct sim_workload *w, unsigned node);
    void (*machine_free)(struct sim_workload *w, struct chassis_state_machine *machine);
    /* The next operation of a client: fill op->kind, key, value (unique per write), expected; for a
     * write or cas also the command. */
    void (*next)(struct sim_workload *w, struct chassis_prng *prng, struct sim_op *op,
                 struct chassis_buf *ret_command);
    /* The command's outcome; `status` is the state machine's or the way's. Fill swapped; unknown
     * has been set by the harness. Return false if the operation certainly had no effect and should
     * not count. */
    bool (*wrote)(struct sim_workload *w, struct sim_op *op, int status,
                  struct chassis_view result);
    /* Read op->key from the store into op->value. */
    void (*read)(struct sim_workload *w, struct chassis_store *store, struct sim_op *op);
    /* Further checks at the end, on every node's store (NULL: none). False = failed, said why. */
    bool (*check)(struct sim_workload *w, struct chassis_store *store, unsigned node);
};

/* One register per key, plus a record of every command that was applied. */
struct sim_workload *sim_register_new(void);
void sim_register_free(struct sim_workload *w);

#endif
