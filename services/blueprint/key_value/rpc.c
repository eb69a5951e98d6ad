#include "rpc.h"

#include "../deadline.h"
#include "../watch_call.h"
#include "convert.h"

/* --- writes --- */

struct write_job {
    struct chassis_proposal proposal;
    struct chassis_call *call;
    struct chassis_view key;
    const struct bp_kv_txn *txn; /* as asked, for the keys and kinds of the answer */
    void (*reply)(struct write_job *job, struct chassis_view result);
};

/* Cut at a character, for it must stay valid UTF-8. */
static struct chassis_view actor_of(struct chassis_call *call)
{
    struct chassis_view actor = chassis_view_str(chassis_call_peer(call)->actor);
    if (actor.len > BP_KV_ACTOR_MAX) {
        actor.len = BP_KV_ACTOR_MAX;
        while (actor.len != 0 && (actor.data[actor.len] & 0xc0) == 0x80) {
            actor.len--;
        }
    }
    return bp_text_valid(actor) ? actor : chassis_view_str("(not UTF-8)");
}

static void proposal_done(struct chassis_proposal *proposal)
{
    struct write_job *job = chassis_container_of(proposal, struct write_job, proposal);
    struct chassis_buf result = chassis_buf_move(&proposal->result);
    if (proposal->status == 0) {
        job->reply(job, chassis_buf_view(&result));
    } else if (result.len != 0) {
        chassis_call_fail(job->call, proposal->status, "%.*s",
                          CHASSIS_VIEW_ARG(chassis_buf_view(&result)));
    } else {
        if (proposal->error.code == 0) {
            chassis_error_code(&proposal->error, proposal->status, "propose the change");
        }
        chassis_call_fail_error(job->call, &proposal->error);
    }
    chassis_buf_fini(&result);
}

static void propose(struct write_job *job)
{
    struct bp_kv *kv = chassis_call_data(job->call);
    const char *id = chassis_call_metadata(job->call, "draft-request-id");
    job->proposal.request_id = chassis_view_str(id);
    if (job->proposal.request_id.len > 64) {
        chassis_buf_fini(&job->proposal.command);
        chassis_call_fail(job->call, CHASSIS_INVALID_ARGUMENT,
                          "draft-request-id has %zu bytes, the limit is 64",
                          job->proposal.request_id.len);
        return;
    }
    job->proposal.timeout_ns = bp_timeout_ns(job->call);
    job->proposal.early = true; /* the answer is made of the result alone */
    job->proposal.executor = chassis_call_executor(job->call);
    job->proposal.done = proposal_done;
    chassis_consensus_propose(kv->options.consensus, &job->proposal);
}

static bool decode_result(struct write_job *job, const struct bp_layout *layout,
                          struct chassis_view encoded, void *ret_result)
{
    struct chassis_error err = {0};
    if (bp_codec_decode(layout, encoded, chassis_call_arena(job->call), ret_result, &err) == 0) {
        return true;
    }
    chassis_call_fail_error(job->call, &err);
    return false;
}

static KV(Meta) * meta_of(struct chassis_arena *arena, const struct bp_kv_result *r)
{
    return bp_kv_meta(arena, r->revision, r->created, r->version, r->time_ns, r->actor);
}

static void reply_set(struct write_job *job, struct chassis_view encoded)
{
    struct bp_kv_result result;
    if (!decode_result(job, &bp_kv_layout_result, encoded, &result)) {
        return;
    }
    struct chassis_arena *arena = chassis_call_arena(job->call);
    KV(SetResponse) res = KV_INIT(SET_RESPONSE);
    res.key = bp_kv_text(arena, job->key);
    res.meta = meta_of(arena, &result);
    key_value_set_reply(job->call, &res);
}

static void reply_delete(struct write_job *job, struct chassis_view encoded)
{
    struct bp_kv_result result;
    if (!decode_result(job, &bp_kv_layout_result, encoded, &result)) {
        return;
    }
    struct chassis_arena *arena = chassis_call_arena(job->call);
    KV(DeleteResponse) res = KV_INIT(DELETE_RESPONSE);
    res.key = bp_kv_text(arena, job->key);
    res.meta = meta_of(arena, &result);
    key_value_delete_reply(job->call, &res);
}

static struct bp_kv_op set_op(const KV(SetRequest) * req)
{
    return (struct bp_kv_op){
        .type = BP_KV_OP_SET,
        .kind = bp_kv_kind_of(req->value),
        .key = bp_kv_trim(chassis_view_str(req->key)),
        .value = bp_kv_value_of(req->value),
        .lease = chassis_view_str(req->lease),
        .has_expected = req->_expected_revision_case != 0,
        .expected = req->_expected_revision_case != 0 ? req->expected_revision : 0,
    };
}

static struct bp_kv_op delete_op(const KV(DeleteRequest) * req)
{
    return (struct bp_kv_op){
        .type = BP_KV_OP_DELETE,
        .kind = bp_kv_kind_of(req->value),
        .key = bp_kv_trim(chassis_view_str(req->key)),
        .lease = chassis_view_str(req->lease),
        .has_expected = req->_expected_revision_case != 0,
        .expected = req->_expected_revision_case != 0 ? req->expected_revision : 0,
    };
}

static void write_one(struct chassis_call *call, const struct bp_kv_op *op,
                      void (*reply)(struct write_job *job, struct chassis_view result))
{
    struct chassis_error err = {0};
    if (bp_kv_check_op(op, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    struct write_job *job = bp_kv_job_new(call, sizeof *job);
    if (job == NULL) {
        return;
    }
    struct bp_kv_write write = {actor_of(call), *op};
    job->call = call;
    job->key = op->key;
    job->reply = reply;
    bp_kv_encode_write(&write, &job->proposal.command);
    propose(job);
}

static void rpc_set(struct chassis_call *call, const KV(SetRequest) * req)
{
    struct bp_kv_op op = set_op(req);
    write_one(call, &op, reply_set);
}

static void rpc_delete(struct chassis_call *call, const KV(DeleteRequest) * req)
{
    struct bp_kv_op op = delete_op(req);
    write_one(call, &op, reply_delete);
}

/* --- transactions --- */

static int op_of(const KV(Op) * op, struct bp_kv_op *ret_op, struct chassis_error *err)
{
    switch (op->op_case) {
    case CORE__REGISTRY__KEY_VALUE__V1__OP__OP_SET:
        *ret_op = set_op(op->set);
        return 0;
    case CORE__REGISTRY__KEY_VALUE__V1__OP__OP_DELETE:
        *ret_op = delete_op(op->delete_);
        return 0;
    case CORE__REGISTRY__KEY_VALUE__V1__OP__OP_GET:
        if (op->get->stale || op->get->at_revision != 0) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "a get inside a transaction reads the transaction's own "
                                     "revision: leave stale and at_revision unset");
        }
        *ret_op = (struct bp_kv_op){.type = BP_KV_OP_GET,
                                    .kind = bp_kv_kind_of(op->get->value),
                                    .key = bp_kv_trim(chassis_view_str(op->get->key))};
        return 0;
    case CORE__REGISTRY__KEY_VALUE__V1__OP__OP__NOT_SET:
    default:
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "an operation is neither set, delete nor get");
    }
}

static int ops_of(struct chassis_arena *arena, KV(Op) *const *list, size_t n,
                  struct bp_array *ret_ops, struct chassis_error *err)
{
    if (n > BP_KV_OPS_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "the transaction has %zu operations in one branch, the limit is "
                                 "%d",
                                 n, BP_KV_OPS_MAX);
    }
    struct bp_kv_op *ops = chassis_arena_alloc(arena, (n + 1) * sizeof *ops);
    if (ops == NULL) {
        return chassis_error_code(err, CHASSIS_RESOURCE_EXHAUSTED, "memory of the call");
    }
    for (size_t i = 0; i < n; i++) {
        int r = op_of(list[i], &ops[i], err);
        if (r != 0) {
            return r;
        }
    }
    *ret_ops = (struct bp_array){ops, n};
    return 0;
}

static int compare_of(const KV(Compare) * c, struct bp_kv_compare *ret, struct chassis_error *err)
{
    *ret = (struct bp_kv_compare){.kind = bp_kv_kind_of(c->kind),
                                  .key = bp_kv_trim(chassis_view_str(c->key))};
    switch (c->target_case) {
    case CORE__REGISTRY__KEY_VALUE__V1__COMPARE__TARGET_REVISION:
        ret->target = BP_KV_TARGET_REVISION;
        ret->number = c->revision;
        return 0;
    case CORE__REGISTRY__KEY_VALUE__V1__COMPARE__TARGET_VERSION:
        ret->target = BP_KV_TARGET_VERSION;
        ret->number = c->version;
        return 0;
    case CORE__REGISTRY__KEY_VALUE__V1__COMPARE__TARGET_EXISTS:
        ret->target = BP_KV_TARGET_EXISTS;
        ret->number = c->exists ? 1 : 0;
        return 0;
    case CORE__REGISTRY__KEY_VALUE__V1__COMPARE__TARGET_VALUE:
        ret->target = BP_KV_TARGET_VALUE;
        ret->value = bp_kv_value_of(c->value);
        return 0;
    case CORE__REGISTRY__KEY_VALUE__V1__COMPARE__TARGET__NOT_SET:
    default:
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "the comparison of key '%.*s' has no target",
                                 CHASSIS_VIEW_ARG(ret->key));
    }
}

static int txn_of(struct chassis_call *call, const KV(TxnRequest) * req, struct bp_kv_txn *ret_txn,
                  struct chassis_error *err)
{
    struct chassis_arena *arena = chassis_call_arena(call);
    if (req->n_compare > BP_KV_OPS_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "the transaction has %zu comparisons, the limit is %d",
                                 req->n_compare, BP_KV_OPS_MAX);
    }
    struct bp_kv_compare *compare =
        chassis_arena_alloc(arena, (req->n_compare + 1) * sizeof *compare);
    if (compare == NULL) {
        return chassis_error_code(err, CHASSIS_RESOURCE_EXHAUSTED, "memory of the call");
    }
    int r = 0;
    for (size_t i = 0; i < req->n_compare && r == 0; i++) {
        r = compare_of(req->compare[i], &compare[i], err);
    }
    ret_txn->actor = actor_of(call);
    ret_txn->compare = (struct bp_array){compare, req->n_compare};
    if (r == 0) {
        r = ops_of(arena, req->success, req->n_success, &ret_txn->success, err);
    }
    if (r == 0) {
        r = ops_of(arena, req->failure, req->n_failure, &ret_txn->failure, err);
    }
    return r != 0 ? r : bp_kv_check_txn(ret_txn, err);
}

static KV(OpResult) * op_result_of(struct chassis_arena *arena, const struct bp_kv_op *op,
                                   const struct bp_kv_result *result)
{
    KV(OpResult) *r = chassis_arena_alloc(arena, sizeof *r);
    core__registry__key_value__v1__op_result__init(r);
    KV(Meta) *meta = result->found ? meta_of(arena, result) : NULL;
    switch ((enum bp_kv_op_type)op->type) {
    case BP_KV_OP_SET:
        r->result_case = CORE__REGISTRY__KEY_VALUE__V1__OP_RESULT__RESULT_SET;
        r->set = chassis_arena_alloc(arena, sizeof *r->set);
        core__registry__key_value__v1__set_response__init(r->set);
        r->set->key = bp_kv_text(arena, op->key);
        r->set->meta = meta;
        break;
    case BP_KV_OP_DELETE:
        r->result_case = CORE__REGISTRY__KEY_VALUE__V1__OP_RESULT__RESULT_DELETE;
        r->delete_ = chassis_arena_alloc(arena, sizeof *r->delete_);
        core__registry__key_value__v1__delete_response__init(r->delete_);
        r->delete_->key = bp_kv_text(arena, op->key);
        r->delete_->meta = meta;
        break;
    case BP_KV_OP_GET:
    case BP_KV_OP_TYPES:
        r->result_case = CORE__REGISTRY__KEY_VALUE__V1__OP_RESULT__RESULT_GET;
        r->get = chassis_arena_alloc(arena, sizeof *r->get);
        core__registry__key_value__v1__get_response__init(r->get);
        r->get->value = result->found ? bp_kv_any(arena, op->kind, result->value) : NULL;
        r->get->meta = meta;
        break;
    }
    return r;
}

static void reply_txn(struct write_job *job, struct chassis_view encoded)
{
    struct bp_kv_txn_result result;
    if (!decode_result(job, &bp_kv_layout_txn_result, encoded, &result)) {
        return;
    }
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0); /* bounded by the limits of a transaction */
    const struct bp_array *list = result.succeeded ? &job->txn->success : &job->txn->failure;
    const struct bp_kv_op *ops = list->items;
    const struct bp_kv_result *results = result.results.items;
    KV(TxnResponse) res = KV_INIT(TXN_RESPONSE);
    res.succeeded = result.succeeded;
    res.revision = result.revision;
    res.results = chassis_arena_alloc(&arena, (list->n + 1) * sizeof *res.results);
    /* A repeated request id is answered with the first one's result, whatever is asked now. */
    for (size_t i = 0; i < result.results.n && i < list->n; i++) {
        res.results[res.n_results++] = op_result_of(&arena, &ops[i], &results[i]);
    }
    key_value_txn_reply(job->call, &res);
    chassis_arena_fini(&arena);
}

static void rpc_txn(struct chassis_call *call, const KV(TxnRequest) * req)
{
    struct bp_kv_txn *txn = bp_kv_job_new(call, sizeof *txn);
    struct write_job *job = txn != NULL ? bp_kv_job_new(call, sizeof *job) : NULL;
    struct chassis_error err = {0};
    if (job == NULL) {
        return;
    }
    if (txn_of(call, req, txn, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    job->call = call;
    job->txn = txn;
    job->reply = reply_txn;
    bp_kv_encode_txn(txn, &job->proposal.command);
    propose(job);
}

/* --- reads --- */

struct get_job {
    struct bp_kv_read_job base;
    struct chassis_view kind, key;
    uint64_t at_revision;
};

static int run_get(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct get_job *job = data;
    struct bp_kv_version v;
    int r = bp_kv_get(txn, job->kind, job->key, job->at_revision, &v, err);
    if (r != 0) {
        return r;
    }
    struct chassis_arena *arena = chassis_call_arena(job->base.call);
    KV(GetResponse) res = KV_INIT(GET_RESPONSE);
    res.value = bp_kv_any(arena, job->kind, v.value); /* encoded before the transaction ends */
    res.meta = bp_kv_meta_of(arena, &v);
    key_value_get_reply(job->base.call, &res);
    return 0;
}

static void rpc_get(struct chassis_call *call, const KV(GetRequest) * req)
{
    struct chassis_error err = {0};
    struct chassis_view key = bp_kv_trim(chassis_view_str(req->key));
    struct chassis_view kind = bp_kv_kind_of(req->value);
    if (bp_kv_check_key(key, &err) != 0 || bp_kv_check_kind(kind, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    struct get_job *job = bp_kv_job_new(call, sizeof *job);
    if (job == NULL) {
        return;
    }
    job->base =
        (struct bp_kv_read_job){.call = call, .kv = chassis_call_data(call), .run = run_get};
    job->kind = kind;
    job->key = key;
    job->at_revision = req->at_revision;
    bp_kv_read_job_start(&job->base, req->stale);
}

static void rpc_watch(struct chassis_call *call, const KV(WatchRequest) * req)
{
    struct chassis_error err = {0};
    struct bp_kv *kv = chassis_call_data(call);
    struct chassis_view kind = bp_kv_kind_of(req->kind), prefix = chassis_view_str(req->key_prefix);
    int r = bp_kv_check_kind(kind, &err);
    if (r == 0) {
        r = bp_kv_check_prefix(prefix, &err);
    }
    if (r == 0 && req->progress_ms != 0 && req->progress_ms < 100) {
        r = chassis_error_set(&err, CHASSIS_INVALID_ARGUMENT, "progress_ms is %u, the least is 100",
                              req->progress_ms);
    }
    if (r != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    struct chassis_buf filter = {0};
    bp_kv_watch_filter(kind, prefix, req->prev_value, &filter);
    struct bp_watch_options options = {
        .feed = &kv->feed,
        .filter = chassis_buf_view(&filter),
        .start_revision = req->start_revision,
        .progress_ms = req->progress_ms,
        .encode = bp_kv_encode_batch,
    };
    bp_watch_call_open(call, &options);
    chassis_buf_fini(&filter);
}

static const struct key_value_handlers handlers = {
    .set = rpc_set,
    .get = rpc_get,
    .delete = rpc_delete,
    .list = bp_kv_rpc_list,
    .watch = rpc_watch,
    .txn = rpc_txn,
    .query = bp_kv_rpc_query,
};

/* Nothing here waits: writes are handed to consensus, reads take a few microseconds; List and Query
 * may walk far and run on workers. */
static const struct chassis_method_options options[] = {
    {.method = "Set", .access = CHASSIS_ACCESS_PUBLIC, .never_blocks = true},
    {.method = "Delete", .access = CHASSIS_ACCESS_PUBLIC, .never_blocks = true},
    {.method = "Txn", .access = CHASSIS_ACCESS_PUBLIC, .never_blocks = true},
    {.method = "Get", .access = CHASSIS_ACCESS_PUBLIC, .never_blocks = true, .idempotent = true},
    {.method = "Watch", .access = CHASSIS_ACCESS_PUBLIC, .never_blocks = true, .idempotent = true},
    {.method = "*", .access = CHASSIS_ACCESS_PUBLIC, .idempotent = true},
    {0},
};

struct chassis_service bp_kv_service(struct bp_kv *kv)
{
    struct chassis_service service = key_value_service(&handlers, kv);
    service.options = options;
    return service;
}
