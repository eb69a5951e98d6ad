/* Driving the model of key_value: one call per command, results decoded into plain structs. */
#ifndef TESTS_KV_FIXTURE_H
#define TESTS_KV_FIXTURE_H

#include <chassis/chassis.h>

#include "array_store.h"
#include "blueprint/key_value/model.h"
#include "test.h"

#define V(text) chassis_view_str(text)
#define KIND    "type.googleapis.com/core.registry.key_value.v1.Value"

struct kv {
    struct chassis_store *store;
    int64_t time_ns;
    struct chassis_buf result; /* of the last command */
    struct chassis_arena arena;
};

void kv_init(struct kv *kv);
void kv_fini(struct kv *kv);
/* Apply an encoded command in a transaction of its own; returns the status. */
int kv_apply(struct kv *kv, struct chassis_view command);
int kv_set(struct kv *kv, const char *key, const char *value);
int kv_del(struct kv *kv, const char *key);
int kv_op(struct kv *kv, const struct bp_kv_op *op);
int kv_compact(struct kv *kv, uint64_t revision);
int kv_txn(struct kv *kv, const struct bp_kv_txn *txn);
struct bp_kv_result kv_result(struct kv *kv);
struct bp_kv_txn_result kv_txn_result(struct kv *kv);
/* Text of the last refusal. */
const char *kv_refusal(struct kv *kv);
uint64_t kv_revision(struct kv *kv);
/* The value as of a revision, copied into the arena; NULL with the status when there is none. */
const char *kv_get(struct kv *kv, const char *key, uint64_t at, int *ret_status);
/* "k=v k=v …" of the kind as of a revision. */
const char *kv_list(struct kv *kv, const char *prefix, uint64_t at);
void kv_lease(struct kv *kv, const char *lease, bool grant);

#endif
