/* Plain structs of key_value to protobuf, in an arena; shared by its view's files.
 *
 * Ownership: messages point into the arena and into what the views given point to.
 */
#ifndef BP_KEY_VALUE_CONVERT_H
#define BP_KEY_VALUE_CONVERT_H

#include "controller.h"
#include "core/registry/key_value/v1/key_value.chassis.h"

#define KV(name)      Core__Registry__KeyValue__V1__##name
#define KV_INIT(name) CORE__REGISTRY__KEY_VALUE__V1__##name##__INIT

char *bp_kv_text(struct chassis_arena *arena, struct chassis_view text);
Google__Protobuf__Any *bp_kv_any(struct chassis_arena *arena, struct chassis_view kind,
                                 struct chassis_view value);
KV(Meta) * bp_kv_meta(struct chassis_arena *arena, uint64_t revision, uint64_t created,
                      uint64_t version, int64_t time_ns, struct chassis_view actor);
KV(Meta) * bp_kv_meta_of(struct chassis_arena *arena, const struct bp_kv_version *version);
struct chassis_view bp_kv_kind_of(const Google__Protobuf__Any *any);
struct chassis_view bp_kv_value_of(const Google__Protobuf__Any *any);
KV(Event) * bp_kv_event_message(struct chassis_arena *arena, const struct bp_kv_event *event);
/* For bp_watch_options.encode. */
void bp_kv_encode_batch(const struct bp_feed_batch *batch, struct chassis_buf *out);
/* List and Query, in list.c. */
void bp_kv_rpc_list(struct chassis_call *call, const KV(ListRequest) * req);
void bp_kv_rpc_query(struct chassis_call *call, const KV(Statement) * req);

/* A read on its way: filled by the handler, run with a read transaction, linearizable unless stale.
 * `run` ends the call or returns the error to end it with. In the call's arena. */
struct bp_kv_read_job {
    struct chassis_read read;
    struct chassis_call *call;
    struct bp_kv *kv;
    int (*run)(struct chassis_txn *txn, void *job, struct chassis_error *err);
};
/* NULL after failing the call: the arena is full. */
void *bp_kv_job_new(struct chassis_call *call, size_t size);
void bp_kv_read_job_start(struct bp_kv_read_job *job, bool stale);

#endif
