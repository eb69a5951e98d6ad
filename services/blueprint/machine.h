/* The state machine Blueprint gives to consensus: key_value and service_discovery over one store.
 *
 * Threads: apply and committed on the apply role, leadership and ask on the loop role.
 */
#ifndef BP_MACHINE_H
#define BP_MACHINE_H

#include <chassis/consensus.h>

#include "key_value/controller.h"
#include "service_discovery/controller.h"

/* Somebody who follows what is applied; NULL functions are not called. */
struct bp_follower {
    void (*committed)(void *data);               /* any role */
    void (*leadership)(void *data, bool leader); /* loop role */
    void *data;
};

struct blueprint {
    bool started; /* atomic: the controllers are there (the log is replayed before that) */
    bool leader;  /* what consensus said before they were; loop role */
    /* What this node says of itself to others: the view's (cluster/rpc.h). */
    int (*describe)(void *data, struct chassis_buf *ret_answer);
    void *describe_data;
    struct bp_follower follower; /* set before the start */
    struct bp_kv kv;
    struct bp_sd sd;
};

/* On the loop role. */
void bp_blueprint_start(struct blueprint *blueprint, const struct bp_kv_options *kv,
                        const struct bp_sd_options *sd);
/* Draining begins: end the long-lived streams of a struct blueprint. */
void bp_blueprint_drain(void *blueprint);
void bp_blueprint_stop(struct blueprint *blueprint);

extern const struct chassis_state_machine_ops bp_machine_ops;
/* For chassis_with_consensus. */
struct chassis_state_machine bp_machine(struct blueprint *blueprint);
/* The pure part: apply one command. Damage, a full store and newer commands abort the process. */
int bp_machine_apply(struct chassis_txn *txn, const struct chassis_entry *entry,
                     struct chassis_buf *ret_result);

#endif
