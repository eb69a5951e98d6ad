/* The data of key_value: a pure state machine over the store, without clock, threads or network.
 *
 * Invariants: the same commands in the same order give byte-equal tables; a command that changes
 * data takes exactly one revision, a refused one changes nothing; every snapshot at or above the
 * floor can be read.
 * Threads: as the transaction; reads on any role with its own transaction.
 * Ownership: views that come out point into the store.
 */
#ifndef BP_KEY_VALUE_MODEL_H
#define BP_KEY_VALUE_MODEL_H

#include "codec.h"

/* Apply one encoded command. The result is an encoded bp_kv_result or bp_kv_txn_result, or the text
 * of a refusal: CHASSIS_NOT_FOUND, CHASSIS_ABORTED (a comparison), CHASSIS_FAILED_PRECONDITION (a
 * lease), CHASSIS_RESOURCE_EXHAUSTED, CHASSIS_MALFORMED. CHASSIS_BAD_VERSION must end the process.
 */
int bp_kv_apply(struct bp_change *change, struct chassis_view command);

/* Leases: named groups of records that go together; a registered process is one (its pid).
 * grant does nothing if it is there; revoke deletes the records in the change's revision. */
void bp_kv_lease_grant(struct bp_change *change, struct chassis_view lease);
/* Returns how many records went. */
unsigned bp_kv_lease_revoke(struct bp_change *change, struct chassis_view lease);

/* Present revision and floor. */
int bp_kv_revisions(struct chassis_txn *txn, uint64_t *ret_revision, uint64_t *ret_floor,
                    struct chassis_error *err);
/* The number of a kind, 0 if nothing of it was ever stored; and back. */
int bp_kv_kind_id(struct chassis_txn *txn, struct chassis_view kind, uint32_t *ret_id,
                  struct chassis_error *err);
int bp_kv_kind_name(struct chassis_txn *txn, uint32_t id, struct chassis_view *ret_kind,
                    struct chassis_error *err);

/* The record as of a revision (0 = now). CHASSIS_NOT_FOUND, CHASSIS_OUT_OF_RANGE (below the floor,
 * naming it, or in the future), CHASSIS_CORRUPT. */
int bp_kv_get(struct chassis_txn *txn, struct chassis_view kind, struct chassis_view key,
              uint64_t at_revision, struct bp_kv_version *ret_version, struct chassis_error *err);

struct bp_kv_range {
    struct chassis_view kind, prefix;
    struct chassis_view after; /* keys greater than this; empty = from the start */
    uint64_t at_revision;      /* 0 = now */
};
/* Call `each` for the records in order of keys until it returns non-zero, which is returned. */
int bp_kv_list(struct chassis_txn *txn, const struct bp_kv_range *range,
               int (*each)(const struct bp_kv_version *version, void *data), void *data,
               struct chassis_error *err);

/* One version by its place, CHASSIS_NOT_FOUND if it is not kept. */
int bp_kv_version_at(struct chassis_txn *txn, struct bp_position at,
                     struct bp_kv_version *ret_version, struct chassis_error *err);

/* What the rest of the model shares. */
struct bp_kv_slot { /* a key on its way to be changed */
    uint32_t kind;
    struct bp_key index_key;
    bool exists; /* an index record is there; version 0 = deleted */
    struct bp_kv_index index;
};
void bp_kv_slot_find(struct bp_change *change, uint32_t kind, struct chassis_view key,
                     struct bp_kv_slot *ret_slot);
/* Append a version to the chain of `slot`, attached to `lease_number` (0 = none). */
void bp_kv_slot_set(struct bp_change *change, struct bp_kv_slot *slot, struct chassis_view key,
                    struct chassis_view value, struct chassis_view lease, uint64_t lease_number);
void bp_kv_slot_delete(struct bp_change *change, struct bp_kv_slot *slot, struct chassis_view key);
/* The number of a lease and how many records it holds; false if there is none. */
bool bp_kv_lease_find(struct bp_change *change, struct chassis_view lease, uint64_t *ret_number,
                      unsigned *ret_records);
void bp_kv_lease_attach(struct bp_change *change, uint64_t number, const struct bp_kv_slot *slot,
                        bool attach);
void bp_kv_index_key(struct bp_key *ret_key, uint32_t kind, struct chassis_view key);
int bp_kv_compact_to(struct bp_change *change, uint64_t revision);

#endif
