#include "model.h"

#include "base/assert.h"
#include "base/bytes.h"

static void kind_key(struct bp_key *key, struct chassis_view kind)
{
    key->len = 0;
    bp_key_append(key, "u", 1);
    bp_key_append(key, kind.data, kind.len);
}

static void kind_name_key(struct bp_key *key, uint32_t id)
{
    key->len = 0;
    bp_key_append(key, "i", 1);
    bp_key_append_be32(key, id);
}

/* 0 if it is not known yet. */
static uint32_t kind_find(struct bp_change *change, struct chassis_view kind)
{
    struct bp_key key;
    kind_key(&key, kind);
    struct bp_counter id = {0};
    bp_change_get(change, BP_TABLE_KINDS, bp_key_view(&key), &bp_layout_counter, false, &id);
    return (uint32_t)id.value;
}

static uint32_t kind_intern(struct bp_change *change, struct chassis_view kind)
{
    uint32_t id = kind_find(change, kind);
    if (id != 0) {
        return id;
    }
    struct bp_counter counter = {bp_change_counter(change, BP_COUNTER_KINDS) + 1};
    CHASSIS_ASSERT(counter.value <= BP_KV_KINDS_MAX);
    bp_change_set_counter(change, BP_COUNTER_KINDS, counter.value);
    struct bp_key key;
    kind_key(&key, kind);
    bp_change_put(change, BP_TABLE_KINDS, bp_key_view(&key), &bp_layout_counter, &counter);
    struct bp_text name = {kind};
    kind_name_key(&key, (uint32_t)counter.value);
    bp_change_put(change, BP_TABLE_KINDS, bp_key_view(&key), &bp_layout_text, &name);
    return (uint32_t)counter.value;
}

static bool is_live(const struct bp_kv_slot *slot)
{
    return slot->exists && slot->index.version != 0;
}

/* What a refused operation is about, for its text. */
#define KEY_ARG(op) CHASSIS_VIEW_ARG((op)->key)

static int check_expected(struct bp_change *change, const struct bp_kv_op *op,
                          const struct bp_kv_slot *slot)
{
    uint64_t present = is_live(slot) ? slot->index.at.revision : 0;
    if (!op->has_expected || op->expected == present) {
        return 0;
    }
    if (present == 0) {
        return bp_change_refuse(change, CHASSIS_ABORTED,
                                "record '%.*s' does not exist (present revision 0), expected "
                                "revision %llu",
                                KEY_ARG(op), (unsigned long long)op->expected);
    }
    return bp_change_refuse(change, CHASSIS_ABORTED,
                            "record '%.*s' is at revision %llu, expected %llu%s", KEY_ARG(op),
                            (unsigned long long)present, (unsigned long long)op->expected,
                            op->expected == 0 ? " (it must not exist)" : "");
}

static int check_set(struct bp_change *change, const struct bp_kv_op *op,
                     const struct bp_kv_slot *slot, unsigned before)
{
    if (slot->kind == 0 &&
        bp_change_counter(change, BP_COUNTER_KINDS) + before >= BP_KV_KINDS_MAX - BP_KV_OPS_MAX) {
        return bp_change_refuse(change, CHASSIS_RESOURCE_EXHAUSTED,
                                "the store holds %d kinds already, the most it can",
                                BP_KV_KINDS_MAX - BP_KV_OPS_MAX);
    }
    if (op->lease.len == 0) {
        return 0;
    }
    uint64_t number;
    unsigned records;
    if (!bp_kv_lease_find(change, op->lease, &number, &records)) {
        return bp_change_refuse(change, CHASSIS_FAILED_PRECONDITION,
                                "lease '%.*s' of record '%.*s' is not a registered process",
                                CHASSIS_VIEW_ARG(op->lease), KEY_ARG(op));
    }
    if (slot->index.lease != number && records + before >= BP_KV_LEASE_RECORDS_MAX) {
        return bp_change_refuse(change, CHASSIS_RESOURCE_EXHAUSTED,
                                "lease '%.*s' holds %u records already, the limit is %d",
                                CHASSIS_VIEW_ARG(op->lease), records, BP_KV_LEASE_RECORDS_MAX);
    }
    return 0;
}

static int check_delete(struct bp_change *change, const struct bp_kv_op *op,
                        const struct bp_kv_slot *slot, bool absent_is_refused)
{
    if (!is_live(slot)) {
        return absent_is_refused
                   ? bp_change_refuse(change, CHASSIS_NOT_FOUND, "no record '%.*s' of kind '%.*s'",
                                      KEY_ARG(op), CHASSIS_VIEW_ARG(op->kind))
                   : 0;
    }
    uint64_t number = 0;
    if (op->lease.len != 0 &&
        (!bp_kv_lease_find(change, op->lease, &number, NULL) || number != slot->index.lease)) {
        return bp_change_refuse(change, CHASSIS_FAILED_PRECONDITION,
                                "record '%.*s' does not belong to lease '%.*s'", KEY_ARG(op),
                                CHASSIS_VIEW_ARG(op->lease));
    }
    return 0;
}

/* Everything that may refuse an operation; nothing is changed. `before`: how many operations of the
 * same transaction come first, for the limits they may use up. The slot is good until a change. */
static int check_op(struct bp_change *change, const struct bp_kv_op *op, bool alone,
                    unsigned before, struct bp_kv_slot *ret_slot)
{
    bp_kv_slot_find(change, kind_find(change, op->kind), op->key, ret_slot);
    int r = check_expected(change, op, ret_slot);
    if (r == 0 && op->type == BP_KV_OP_SET) {
        r = check_set(change, op, ret_slot, before);
    } else if (r == 0 && op->type == BP_KV_OP_DELETE) {
        r = check_delete(change, op, ret_slot, alone);
    }
    return r;
}

static void run_get(struct bp_change *change, const struct bp_kv_op *op,
                    struct bp_kv_result *ret_result)
{
    struct bp_kv_slot slot;
    bp_kv_slot_find(change, kind_find(change, op->kind), op->key, &slot);
    if (!is_live(&slot)) {
        return;
    }
    struct bp_key key;
    bp_key_position(&key, slot.index.at);
    struct bp_kv_version v;
    if (!bp_change_get(change, BP_TABLE_REVS, bp_key_view(&key), &bp_kv_layout_version, true, &v)) {
        bp_change_damaged("record '%.*s' has no version %llu", KEY_ARG(op),
                          (unsigned long long)slot.index.at.revision);
    }
    *ret_result = (struct bp_kv_result){
        .found = true,
        .revision = slot.index.at.revision,
        .created = v.created,
        .version = v.version,
        .time_ns = v.time_ns,
        .actor = v.actor,
        .value = v.value,
    };
}

/* A set or a delete, in the slot check_op found. */
static void run_write(struct bp_change *change, const struct bp_kv_op *op, struct bp_kv_slot *slot,
                      struct bp_kv_result *ret_result)
{
    bool set = op->type == BP_KV_OP_SET, live = is_live(slot);
    if (set) {
        uint64_t number = 0;
        if (op->lease.len != 0) {
            CHASSIS_ASSERT(bp_kv_lease_find(change, op->lease, &number, NULL));
        }
        if (slot->kind == 0) {
            bp_kv_slot_find(change, kind_intern(change, op->kind), op->key, slot);
        }
        bp_kv_slot_set(change, slot, op->key, op->value, op->lease, number);
    } else if (live) {
        bp_kv_slot_delete(change, slot, op->key);
    }
    *ret_result = (struct bp_kv_result){.type = op->type, .found = set || live};
    if (ret_result->found) {
        ret_result->revision = change->revision;
        ret_result->created = slot->index.created;
        ret_result->version = slot->index.version;
        ret_result->time_ns = change->time_ns;
        ret_result->actor = change->actor;
    }
}

static void run_op(struct bp_change *change, const struct bp_kv_op *op,
                   struct bp_kv_result *ret_result)
{
    if (op->type == BP_KV_OP_GET) {
        memset(ret_result, 0, sizeof *ret_result);
        run_get(change, op, ret_result);
        ret_result->type = op->type;
        return;
    }
    struct bp_kv_slot slot;
    bp_kv_slot_find(change, kind_find(change, op->kind), op->key, &slot);
    run_write(change, op, &slot, ret_result);
}

static int apply_write(struct bp_change *change, const struct bp_kv_write *write)
{
    change->actor = write->actor;
    if (write->op.type == BP_KV_OP_GET) {
        return bp_change_refuse(change, CHASSIS_MALFORMED, "a get is not a write");
    }
    struct bp_kv_slot slot;
    int r = check_op(change, &write->op, true, 0, &slot);
    if (r != 0) {
        return r;
    }
    struct bp_kv_result result;
    run_write(change, &write->op, &slot, &result);
    bp_codec_encode(&bp_kv_layout_result, BP_CODEC_VERSION, &result, change->result);
    return 0;
}

static bool holds(struct bp_change *change, const struct bp_kv_compare *c)
{
    struct bp_kv_op get = {.type = BP_KV_OP_GET, .kind = c->kind, .key = c->key};
    struct bp_kv_slot slot;
    bp_kv_slot_find(change, kind_find(change, c->kind), c->key, &slot);
    bool live = is_live(&slot);
    switch ((enum bp_kv_target)c->target) {
    case BP_KV_TARGET_REVISION:
        return c->number == (live ? slot.index.at.revision : 0);
    case BP_KV_TARGET_VERSION:
        return c->number == (live ? slot.index.version : 0);
    case BP_KV_TARGET_EXISTS:
        return live == (c->number != 0);
    case BP_KV_TARGET_VALUE: {
        struct bp_kv_result present = {0};
        run_get(change, &get, &present);
        return present.found && chassis_view_eq(present.value, c->value);
    }
    case BP_KV_TARGETS:
        break;
    }
    return false;
}

/* A key may be written once: else the order inside one revision would matter. */
static int check_distinct(struct bp_change *change, const struct bp_kv_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i && ops[i].type != BP_KV_OP_GET; j++) {
            if (ops[j].type != BP_KV_OP_GET && chassis_view_eq(ops[i].key, ops[j].key) &&
                chassis_view_eq(ops[i].kind, ops[j].kind)) {
                return bp_change_refuse(change, CHASSIS_INVALID_ARGUMENT,
                                        "operations %zu and %zu both write record '%.*s'", j, i,
                                        KEY_ARG(&ops[i]));
            }
        }
    }
    return 0;
}

/* The values a transaction would answer may not pass its limit. */
static int check_answer(struct bp_change *change, const struct bp_kv_op *ops, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        struct bp_kv_result result = {0};
        if (ops[i].type == BP_KV_OP_GET) {
            run_get(change, &ops[i], &result);
        }
        bytes += ops[i].value.len + result.value.len;
    }
    return bytes <= BP_KV_TXN_BYTES_MAX
               ? 0
               : bp_change_refuse(change, CHASSIS_RESOURCE_EXHAUSTED,
                                  "the values of the transaction take %zu bytes, the limit is %d",
                                  bytes, BP_KV_TXN_BYTES_MAX);
}

static int apply_txn(struct bp_change *change, const struct bp_kv_txn *txn)
{
    change->actor = txn->actor;
    const struct bp_kv_compare *compare = txn->compare.items;
    struct bp_kv_txn_result result = {.succeeded = true};
    for (size_t i = 0; i < txn->compare.n && result.succeeded; i++) {
        result.succeeded = holds(change, &compare[i]);
    }
    const struct bp_array *list = result.succeeded ? &txn->success : &txn->failure;
    const struct bp_kv_op *ops = list->items;
    int r = check_distinct(change, ops, list->n);
    if (r == 0) {
        r = check_answer(change, ops, list->n);
    }
    for (size_t i = 0; i < list->n && r == 0; i++) {
        struct bp_kv_slot slot;
        r = check_op(change, &ops[i], false, (unsigned)i, &slot);
    }
    if (r != 0) {
        return r;
    }
    struct bp_kv_result *results =
        chassis_arena_zalloc(&change->arena, (list->n + 1) * sizeof *results);
    for (size_t i = 0; i < list->n; i++) {
        run_op(change, &ops[i], &results[i]);
    }
    result.revision = change->revision;
    result.results = (struct bp_array){results, list->n};
    bp_codec_encode(&bp_kv_layout_txn_result, BP_CODEC_VERSION, &result, change->result);
    return 0;
}

static int decoded(struct bp_change *change, const struct bp_layout *layout,
                   struct chassis_view command, void *ret_message)
{
    struct chassis_error err = {0};
    int r = bp_codec_decode(layout, command, &change->arena, ret_message, &err);
    return r == 0 ? 0 : bp_change_refuse(change, r, "%s", err.text);
}

int bp_kv_apply(struct bp_change *change, struct chassis_view command)
{
    union {
        struct bp_kv_write write;
        struct bp_kv_txn txn;
        struct bp_kv_compact compact;
    } m;
    int r;
    switch (bp_codec_id(command)) {
    case BP_KV_WRITE:
        r = decoded(change, &bp_kv_layout_write, command, &m.write);
        return r != 0 ? r : apply_write(change, &m.write);
    case BP_KV_TXN:
        r = decoded(change, &bp_kv_layout_txn, command, &m.txn);
        return r != 0 ? r : apply_txn(change, &m.txn);
    case BP_KV_COMPACT:
        r = decoded(change, &bp_kv_layout_compact, command, &m.compact);
        return r != 0 ? r : bp_kv_compact_to(change, m.compact.revision);
    default:
        return bp_change_refuse(change, CHASSIS_MALFORMED, "no command of key_value has number %u",
                                bp_codec_id(command));
    }
}
