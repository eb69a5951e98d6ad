/* The messages of key_value: commands, their results and the records in the store.
 *
 * Threads: any. Ownership: as codec.h.
 */
#ifndef BP_KEY_VALUE_CODEC_H
#define BP_KEY_VALUE_CODEC_H

#include "../codec.h"
#include "../store.h"

enum {
    BP_KV_KEY_MAX = 480,            /* bytes; what is left of LMDB's 511 */
    BP_KV_KIND_MAX = 255,           /* bytes of a type_url */
    BP_KV_VALUE_MAX = 1 << 20,      /* bytes: 1 MiB */
    BP_KV_LEASE_MAX = 64,           /* bytes of a lease's name */
    BP_KV_ACTOR_MAX = 255,          /* bytes; longer ones are cut */
    BP_KV_OPS_MAX = 128,            /* operations and comparisons of a transaction, each */
    BP_KV_TXN_VALUES_MAX = 3 << 19, /* of the values a transaction brings */
    BP_KV_TXN_BYTES_MAX = 3 << 20,  /* of those and of what its gets answer */
    BP_KV_LEASE_RECORDS_MAX = 1024, /* attached to one lease */
    BP_KV_KINDS_MAX = 65536,
};

enum bp_kv_op_type { BP_KV_OP_SET, BP_KV_OP_DELETE, BP_KV_OP_GET, BP_KV_OP_TYPES };
struct bp_kv_op {
    uint32_t type; /* enum bp_kv_op_type */
    struct chassis_view kind, key, value, lease;
    bool has_expected;
    uint64_t expected; /* revision the record must be at; 0 = must not exist */
};

enum bp_kv_target {
    BP_KV_TARGET_REVISION,
    BP_KV_TARGET_VERSION,
    BP_KV_TARGET_EXISTS, /* number 0 or 1 */
    BP_KV_TARGET_VALUE,
    BP_KV_TARGETS,
};
struct bp_kv_compare {
    uint32_t target; /* enum bp_kv_target */
    struct chassis_view kind, key;
    uint64_t number;
    struct chassis_view value;
};

/* Commands. */
struct bp_kv_write {
    struct chassis_view actor;
    struct bp_kv_op op; /* SET or DELETE */
};
struct bp_kv_txn {
    struct chassis_view actor;
    struct bp_array compare;          /* struct bp_kv_compare */
    struct bp_array success, failure; /* struct bp_kv_op */
};
struct bp_kv_compact {
    uint64_t revision;
};

/* Results. */
struct bp_kv_result {
    uint32_t type; /* of the operation */
    bool found;    /* get, delete: there was such a record */
    uint64_t revision, created, version;
    int64_t time_ns;
    struct chassis_view actor;
    struct chassis_view value; /* get */
};
struct bp_kv_txn_result {
    bool succeeded;
    uint64_t revision;
    struct bp_array results; /* struct bp_kv_result */
};

/* Records. One version of one key; versions of a key form a chain towards the past with jump
 * pointers (Myers, "An applicative random-access stack", 1983), so finding the version of a
 * revision takes logarithmic time. */
struct bp_kv_version {
    uint32_t kind;
    struct chassis_view key;
    bool deleted;
    struct chassis_view value, lease, actor;
    uint64_t created, version; /* 0 for a deletion */
    int64_t time_ns;
    uint64_t depth;
    struct bp_position prev, jump; /* revision 0 = none */
    struct bp_position at;         /* of this version: from the key, not stored */
};
struct bp_kv_index {
    struct bp_position at; /* newest version */
    uint64_t created, version;
    uint64_t depth;
    struct bp_position jump;
    uint64_t lease; /* its number, 0 = none */
};

extern const struct bp_layout bp_kv_layout_write, bp_kv_layout_txn, bp_kv_layout_compact,
    bp_kv_layout_result, bp_kv_layout_txn_result, bp_kv_layout_version, bp_kv_layout_index;

#endif
