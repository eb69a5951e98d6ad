/* The data of service_discovery: who is registered, in what state, and how that came about.
 *
 * A pure state machine over the store. Heartbeats are not part of it: only changes are.
 *
 * Invariants: the incarnation of a process is the revision of its registration; what is said about
 * another incarnation changes nothing; every change leaves a transition with type, reason and actor;
 * a process's leased records of key_value go in the command that expires or removes it.
 * Threads: as the transaction. Ownership: views that come out point into the store.
 */
#ifndef BP_SERVICE_DISCOVERY_MODEL_H
#define BP_SERVICE_DISCOVERY_MODEL_H

#include "codec.h"

/* Apply one encoded command. The result is an encoded bp_sd_register_result or bp_sd_change_result,
 * or the text of a refusal: CHASSIS_NOT_FOUND (no such process), CHASSIS_FAILED_PRECONDITION
 * (another incarnation), CHASSIS_ALREADY_EXISTS (a nonce used too late, a key id taken),
 * CHASSIS_RESOURCE_EXHAUSTED. */
int bp_sd_apply(struct bp_change *change, struct chassis_view command);

/* CHASSIS_NOT_FOUND, CHASSIS_CORRUPT. Lists live in the arena. */
int bp_sd_get(struct chassis_txn *txn, struct chassis_view pid, struct chassis_arena *arena,
              struct bp_sd_process *ret_process, struct chassis_error *err);
/* Call `each` for every process in order of pids until it returns non-zero, which is returned. */
int bp_sd_each(struct chassis_txn *txn, struct chassis_arena *arena,
               int (*each)(const struct bp_sd_process *process, void *data), void *data,
               struct chassis_error *err);
/* Every node's key, until `each` returns other than 0. */
int bp_sd_key_each(struct chassis_txn *txn,
                   int (*each)(struct chassis_view key_id, struct chassis_view public_key,
                               void *data),
                   void *data, struct chassis_error *err);
/* The public half of a node's key. CHASSIS_NOT_FOUND. */
int bp_sd_key_get(struct chassis_txn *txn, struct chassis_view key_id,
                  uint8_t ret_public[BP_SD_PUBLIC_KEY_LEN], struct chassis_error *err);
/* Whether two reports say the same. */
bool bp_sd_details_equal(const struct bp_sd_details *a, const struct bp_sd_details *b);

enum bp_sd_filter_type {
    BP_SD_FILTER_ALL,
    BP_SD_FILTER_ID,
    BP_SD_FILTER_GROUP,
    BP_SD_FILTER_NAME,
    BP_SD_FILTER_SERVICE, /* serves this RPC service */
};
struct bp_sd_filter {
    enum bp_sd_filter_type type;
    struct chassis_view text;
};
bool bp_sd_matches(const struct bp_sd_filter *filter, const struct bp_sd_process *process);

#endif
