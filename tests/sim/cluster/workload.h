/* What the clients of a simulated cluster do: a service's own state machine and commands.
 *
 * The harness asks for operations, turns them into proposals and reads, and hands back what came of
 * them as a register operation per key, which is what the checker knows. What touches several keys
 * adds the operations on the others to `history` itself.
 */
#ifndef DRAFT_SIM_WORKLOAD_H
#define DRAFT_SIM_WORKLOAD_H

#include <chassis/consensus.h>

#include "base/prng.h"
#include "history.h"
#include "os/os.h"

/* One start of one node, from when it serves. */
struct sim_replica {
    unsigned node;
    struct chassis_state_machine *machine;
    struct chassis_consensus *consensus;
    struct chassis_executor *loop;
    struct chassis_clock *clock;
};

struct sim_workload {
    const char *name;
    unsigned n_keys;
    /* Set by the harness. */
    struct sim_history *history;
    bool stopping; /* no operation begins any more */
    bool quiet;    /* do not print what is wrong */
    bool healed;   /* no fault happens any more */

    /* A state machine for one start of one node, and its end (with the executors already gone). */
    struct chassis_state_machine *(*machine_new)(struct sim_workload *w, unsigned node);
    void (*machine_free)(struct sim_workload *w, struct chassis_state_machine *machine);
    /* The node serves; it is about to be closed. On its loop role. NULL: nothing to do. */
    void (*started)(struct sim_workload *w, const struct sim_replica *replica);
    void (*stopped)(struct sim_workload *w, struct chassis_state_machine *machine);
    /* Every 50 ms of virtual time, on no role (NULL: nothing to do). */
    void (*tick)(struct sim_workload *w, struct chassis_prng *prng);
    /* The next operation of a client: fill op->kind, key, value (unique per write), expected; for
     * what is proposed also the command. */
    void (*next)(struct sim_workload *w, struct chassis_prng *prng, struct sim_op *op,
                 struct chassis_buf *ret_command);
    /* The command's outcome; `status` is the state machine's or the way's. Fill swapped; unknown
     * has been set by the harness. Return false if the operation certainly had no effect and should
     * not count. */
    bool (*wrote)(struct sim_workload *w, struct sim_op *op, int status,
                  struct chassis_view result);
    /* Read op->key from the store into op->value. False if it is no read of the register as it is
     * now: it has been checked here then. */
    bool (*read)(struct sim_workload *w, struct chassis_store *store, struct sim_op *op);
    /* Did something come out wrong meanwhile? (NULL: nothing can) */
    bool (*wrong)(struct sim_workload *w);
    /* Nothing is under way any more (NULL: nothing can be). Asked on every node's store. */
    bool (*settled)(struct sim_workload *w, struct chassis_store *store, unsigned node);
    /* Further checks at the end, on every node's store (NULL: none). False = failed, said why. */
    bool (*check)(struct sim_workload *w, struct chassis_store *store, unsigned node);
};

/* One register per key, plus a record of every command that was applied. */
struct sim_workload *sim_register_new(unsigned planted);
void sim_register_free(struct sim_workload *w);

#endif
