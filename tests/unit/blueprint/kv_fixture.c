#include "kv_fixture.h"

void kv_init(struct kv *kv)
{
    memset(kv, 0, sizeof *kv);
    kv->store = array_store_new(bp_tables, BP_TABLES);
    chassis_arena_init(&kv->arena, NULL, 0, 0);
}

void kv_fini(struct kv *kv)
{
    chassis_store_close(kv->store);
    chassis_buf_fini(&kv->result);
    chassis_arena_fini(&kv->arena);
}

int kv_apply(struct kv *kv, struct chassis_view command)
{
    struct chassis_txn *txn;
    assert_int_equal(chassis_store_begin(kv->store, true, &txn, NULL), 0);
    chassis_buf_clear(&kv->result);
    struct bp_change change;
    kv->time_ns += 1000;
    bp_change_begin(&change, txn, kv->time_ns, &kv->result);
    int r = bp_kv_apply(&change, command);
    bp_change_end(&change);
    assert_int_equal(chassis_txn_commit(txn, NULL), 0);
    return r;
}

static int apply(struct kv *kv, const struct bp_layout *layout, const void *message)
{
    struct chassis_buf command = {0};
    bp_codec_encode(layout, BP_CODEC_VERSION, message, &command);
    int r = kv_apply(kv, chassis_buf_view(&command));
    chassis_buf_fini(&command);
    return r;
}

int kv_op(struct kv *kv, const struct bp_kv_op *op)
{
    struct bp_kv_write write = {.actor = V("tester"), .op = *op};
    return apply(kv, &bp_kv_layout_write, &write);
}

int kv_set(struct kv *kv, const char *key, const char *value)
{
    return kv_op(kv, &(struct bp_kv_op){
                         .type = BP_KV_OP_SET, .kind = V(KIND), .key = V(key), .value = V(value)});
}

int kv_del(struct kv *kv, const char *key)
{
    return kv_op(kv, &(struct bp_kv_op){.type = BP_KV_OP_DELETE, .kind = V(KIND), .key = V(key)});
}

int kv_compact(struct kv *kv, uint64_t revision)
{
    struct bp_kv_compact compact = {revision};
    return apply(kv, &bp_kv_layout_compact, &compact);
}

int kv_txn(struct kv *kv, const struct bp_kv_txn *txn)
{
    return apply(kv, &bp_kv_layout_txn, txn);
}

struct bp_kv_result kv_result(struct kv *kv)
{
    struct bp_kv_result result;
    assert_int_equal(bp_codec_decode(&bp_kv_layout_result, chassis_buf_view(&kv->result),
                                     &kv->arena, &result, NULL),
                     0);
    return result;
}

struct bp_kv_txn_result kv_txn_result(struct kv *kv)
{
    struct bp_kv_txn_result result;
    assert_int_equal(bp_codec_decode(&bp_kv_layout_txn_result, chassis_buf_view(&kv->result),
                                     &kv->arena, &result, NULL),
                     0);
    return result;
}

const char *kv_refusal(struct kv *kv)
{
    return kv->result.len != 0 ? (const char *)kv->result.data : "";
}

uint64_t kv_revision(struct kv *kv)
{
    struct chassis_txn *txn;
    assert_int_equal(chassis_store_begin(kv->store, false, &txn, NULL), 0);
    uint64_t revision, floor;
    assert_int_equal(bp_kv_revisions(txn, &revision, &floor, NULL), 0);
    chassis_txn_abort(txn);
    return revision;
}

const char *kv_get(struct kv *kv, const char *key, uint64_t at, int *ret_status)
{
    struct chassis_txn *txn;
    assert_int_equal(chassis_store_begin(kv->store, false, &txn, NULL), 0);
    struct bp_kv_version v;
    const char *value = NULL;
    int r = bp_kv_get(txn, V(KIND), V(key), at, &v, NULL);
    if (r == 0) {
        value = chassis_arena_strndup(&kv->arena, v.value.data, v.value.len);
    }
    if (ret_status != NULL) {
        *ret_status = r;
    }
    chassis_txn_abort(txn);
    return value;
}

static int add(const struct bp_kv_version *v, void *data)
{
    struct chassis_buf *out = data;
    chassis_buf_printf(out, "%s%.*s=%.*s", out->len != 0 ? " " : "", CHASSIS_VIEW_ARG(v->key),
                       CHASSIS_VIEW_ARG(v->value));
    return 0;
}

const char *kv_list(struct kv *kv, const char *prefix, uint64_t at)
{
    struct chassis_txn *txn;
    assert_int_equal(chassis_store_begin(kv->store, false, &txn, NULL), 0);
    struct chassis_buf out = {0};
    struct bp_kv_range range = {.kind = V(KIND), .prefix = V(prefix), .at_revision = at};
    assert_int_equal(bp_kv_list(txn, &range, add, &out, NULL), 0);
    chassis_txn_abort(txn);
    const char *text = chassis_arena_strndup(&kv->arena, out.data, out.len);
    chassis_buf_fini(&out);
    return text;
}

void kv_lease(struct kv *kv, const char *lease, bool grant)
{
    struct chassis_txn *txn;
    assert_int_equal(chassis_store_begin(kv->store, true, &txn, NULL), 0);
    struct bp_change change;
    bp_change_begin(&change, txn, kv->time_ns, &kv->result);
    if (grant) {
        bp_kv_lease_grant(&change, V(lease));
    } else {
        bp_kv_lease_revoke(&change, V(lease));
    }
    bp_change_end(&change);
    assert_int_equal(chassis_txn_commit(txn, NULL), 0);
}
