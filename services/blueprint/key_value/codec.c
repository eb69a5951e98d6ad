#include "codec.h"

#define ROWS(table) (table), sizeof(table) / sizeof((table)[0])
/* A row: name, type, version that brought it, bound. */
#define F(s, name, type, since, max)                                                               \
    {                                                                                              \
#name, BP_FIELD_##type, (since), offsetof(struct s, name), (max), NULL                     \
    }
#define L(s, name, since, max, layout)                                                             \
    {                                                                                              \
#name, BP_FIELD_LIST, (since), offsetof(struct s, name), (max), &(layout)                  \
    }

/* The fields of an operation, standing alone or inside a write. */
#define OP_FIELDS(s, prefix)                                                                       \
    F(s, prefix type, U32, 1, BP_KV_OP_TYPES - 1), F(s, prefix kind, TEXT, 1, BP_KV_KIND_MAX),     \
        F(s, prefix key, TEXT, 1, BP_KV_KEY_MAX), F(s, prefix value, BYTES, 1, BP_KV_VALUE_MAX),   \
        F(s, prefix lease, TEXT, 1, BP_KV_LEASE_MAX), F(s, prefix has_expected, BOOL, 1, 0),       \
        F(s, prefix expected, U64, 1, 0)

static const struct bp_field op_fields[] = {OP_FIELDS(bp_kv_op, )};
static const struct bp_layout op_layout = {"operation", 0, sizeof(struct bp_kv_op),
                                           ROWS(op_fields)};

static const struct bp_field compare_fields[] = {
    F(bp_kv_compare, target, U32, 1, BP_KV_TARGETS - 1),
    F(bp_kv_compare, kind, TEXT, 1, BP_KV_KIND_MAX),
    F(bp_kv_compare, key, TEXT, 1, BP_KV_KEY_MAX),
    F(bp_kv_compare, number, U64, 1, 0),
    F(bp_kv_compare, value, BYTES, 1, BP_KV_VALUE_MAX),
};
static const struct bp_layout compare_layout = {"comparison", 0, sizeof(struct bp_kv_compare),
                                                ROWS(compare_fields)};

static const struct bp_field write_fields[] = {
    F(bp_kv_write, actor, TEXT, 1, BP_KV_ACTOR_MAX),
    OP_FIELDS(bp_kv_write, op.),
};
const struct bp_layout bp_kv_layout_write = {"write command", BP_KV_WRITE,
                                             sizeof(struct bp_kv_write), ROWS(write_fields)};

static const struct bp_field txn_fields[] = {
    F(bp_kv_txn, actor, TEXT, 1, BP_KV_ACTOR_MAX),
    L(bp_kv_txn, compare, 1, BP_KV_OPS_MAX, compare_layout),
    L(bp_kv_txn, success, 1, BP_KV_OPS_MAX, op_layout),
    L(bp_kv_txn, failure, 1, BP_KV_OPS_MAX, op_layout),
};
const struct bp_layout bp_kv_layout_txn = {"transaction command", BP_KV_TXN,
                                           sizeof(struct bp_kv_txn), ROWS(txn_fields)};

static const struct bp_field compact_fields[] = {F(bp_kv_compact, revision, U64, 1, 0)};
const struct bp_layout bp_kv_layout_compact = {"compact command", BP_KV_COMPACT,
                                               sizeof(struct bp_kv_compact), ROWS(compact_fields)};

static const struct bp_field result_fields[] = {
    F(bp_kv_result, type, U32, 1, BP_KV_OP_TYPES - 1),
    F(bp_kv_result, found, BOOL, 1, 0),
    F(bp_kv_result, revision, U64, 1, 0),
    F(bp_kv_result, created, U64, 1, 0),
    F(bp_kv_result, version, U64, 1, 0),
    F(bp_kv_result, time_ns, I64, 1, 0),
    F(bp_kv_result, actor, TEXT, 1, BP_KV_ACTOR_MAX),
    F(bp_kv_result, value, BYTES, 1, BP_KV_VALUE_MAX),
};
const struct bp_layout bp_kv_layout_result = {"write result", BP_KV_RESULT,
                                              sizeof(struct bp_kv_result), ROWS(result_fields)};

static const struct bp_field txn_result_fields[] = {
    F(bp_kv_txn_result, succeeded, BOOL, 1, 0),
    F(bp_kv_txn_result, revision, U64, 1, 0),
    L(bp_kv_txn_result, results, 1, BP_KV_OPS_MAX, bp_kv_layout_result),
};
const struct bp_layout bp_kv_layout_txn_result = {"transaction result", BP_KV_TXN_RESULT,
                                                  sizeof(struct bp_kv_txn_result),
                                                  ROWS(txn_result_fields)};

static const struct bp_field version_fields[] = {
    F(bp_kv_version, kind, U32, 1, 0),
    F(bp_kv_version, key, TEXT, 1, BP_KV_KEY_MAX),
    F(bp_kv_version, deleted, BOOL, 1, 0),
    F(bp_kv_version, value, BYTES, 1, BP_KV_VALUE_MAX),
    F(bp_kv_version, lease, TEXT, 1, BP_KV_LEASE_MAX),
    F(bp_kv_version, actor, TEXT, 1, BP_KV_ACTOR_MAX),
    F(bp_kv_version, created, U64, 1, 0),
    F(bp_kv_version, version, U64, 1, 0),
    F(bp_kv_version, time_ns, I64, 1, 0),
    F(bp_kv_version, depth, U64, 1, 0),
    F(bp_kv_version, prev.revision, U64, 1, 0),
    F(bp_kv_version, prev.sub, U32, 1, UINT16_MAX),
    F(bp_kv_version, jump.revision, U64, 1, 0),
    F(bp_kv_version, jump.sub, U32, 1, UINT16_MAX),
};
const struct bp_layout bp_kv_layout_version = {"version record", BP_RECORD_VERSION,
                                               sizeof(struct bp_kv_version), ROWS(version_fields)};

static const struct bp_field index_fields[] = {
    F(bp_kv_index, at.revision, U64, 1, 0),
    F(bp_kv_index, at.sub, U32, 1, UINT16_MAX),
    F(bp_kv_index, created, U64, 1, 0),
    F(bp_kv_index, version, U64, 1, 0),
    F(bp_kv_index, depth, U64, 1, 0),
    F(bp_kv_index, jump.revision, U64, 1, 0),
    F(bp_kv_index, jump.sub, U32, 1, UINT16_MAX),
    F(bp_kv_index, lease, U64, 1, 0),
};
const struct bp_layout bp_kv_layout_index = {"index record", BP_RECORD_INDEX,
                                             sizeof(struct bp_kv_index), ROWS(index_fields)};
