/* List and Query: many records in one answer. */
#include "convert.h"
#include "core/control_plane/networking/v1/networking.pb-c.h"
#include "proto/message.h"

enum {
    LIST_BYTES_MAX = 3500 << 10, /* of an answer: clients take messages of 4 MiB by default */
    MATCH_MAX = 16,
};

struct list_job {
    struct bp_kv_read_job base;
    struct bp_kv_range range;
    uint32_t limit;
    uint64_t revision; /* the answer shows */
    /* while it runs */
    struct chassis_arena arena;
    KV(ListResponse) res;
    size_t cap, bytes;
    bool more;
    struct chassis_view last_key;
    /* Query only */
    const KV(Equal) * equal;
    const ProtobufCMessageDescriptor *type;
    struct chassis_view id;
};

enum { STOP_PAGE = 1 };

static int too_large(const struct list_job *job, struct chassis_error *err)
{
    return chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED,
                             "the records of kind '%.*s' take more than %d bytes, the limit of an "
                             "answer: ask with limit, then go on with next_page_token",
                             CHASSIS_VIEW_ARG(job->range.kind), LIST_BYTES_MAX);
}

static void add(struct list_job *job, const struct bp_kv_version *v)
{
    KV(ListResponse) *res = &job->res;
    if (res->n_values == job->cap) {
        size_t cap = job->cap != 0 ? job->cap * 2 : 64;
        void *values = chassis_arena_alloc(&job->arena, cap * sizeof *res->values);
        void *metas = chassis_arena_alloc(&job->arena, cap * sizeof *res->metas);
        if (job->cap != 0) {
            memcpy(values, res->values, job->cap * sizeof *res->values);
            memcpy(metas, res->metas, job->cap * sizeof *res->metas);
        }
        res->values = values;
        res->metas = metas;
        job->cap = cap;
    }
    KV(ListResponse__ValuesEntry) *value = chassis_arena_alloc(&job->arena, sizeof *value);
    core__registry__key_value__v1__list_response__values_entry__init(value);
    value->key = bp_kv_text(&job->arena, v->key);
    value->value = bp_kv_any(&job->arena, job->range.kind, v->value);
    KV(ListResponse__MetasEntry) *meta = chassis_arena_alloc(&job->arena, sizeof *meta);
    core__registry__key_value__v1__list_response__metas_entry__init(meta);
    meta->key = value->key;
    meta->value = bp_kv_meta_of(&job->arena, v);
    res->values[res->n_values++] = value;
    res->metas[res->n_metas++] = meta;
    job->last_key = v->key;
}

static int each_record(const struct bp_kv_version *v, void *data)
{
    struct list_job *job = data;
    size_t bytes = 2 * v->key.len + v->value.len + job->range.kind.len + v->actor.len + 96;
    if ((job->limit != 0 && job->res.n_values >= job->limit) ||
        (job->bytes + bytes > LIST_BYTES_MAX && job->res.n_values != 0)) {
        job->more = true;
        return STOP_PAGE;
    }
    job->bytes += bytes;
    add(job, v);
    return 0;
}

static int collect(struct chassis_txn *txn, struct list_job *job,
                   int (*each)(const struct bp_kv_version *v, void *data),
                   struct chassis_error *err)
{
    uint64_t floor;
    int r = bp_kv_revisions(txn, &job->revision, &floor, err);
    if (r == 0 && job->range.at_revision != 0) {
        job->revision = job->range.at_revision;
    }
    core__registry__key_value__v1__list_response__init(&job->res);
    if (r == 0) {
        r = bp_kv_list(txn, &job->range, each, job, err);
    }
    if (r == STOP_PAGE) {
        r = job->limit == 0 ? too_large(job, err) : 0;
    }
    return r;
}

static int run_list(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    /* A copy, for the reply frees the call and what lies in its arena. */
    struct list_job job = *(const struct list_job *)data;
    struct chassis_buf token = {0};
    chassis_arena_init(&job.arena, NULL, 0, 0); /* bounded by LIST_BYTES_MAX */
    int r = collect(txn, &job, each_record, err);
    if (r == 0) {
        if (job.more) {
            bp_kv_token_make(job.revision, job.range.kind, job.range.prefix, job.last_key, &token);
            job.res.next_page_token = (char *)token.data;
        }
        job.res.revision = job.revision;
        key_value_list_reply(job.base.call, &job.res);
    }
    chassis_buf_fini(&token);
    chassis_arena_fini(&job.arena);
    return r;
}

static struct list_job *job_new(struct chassis_call *call, const Google__Protobuf__Any *kind,
                                int (*run)(struct chassis_txn *, void *, struct chassis_error *))
{
    struct chassis_error err = {0};
    if (bp_kv_check_kind(bp_kv_kind_of(kind), &err) != 0) {
        chassis_call_fail_error(call, &err);
        return NULL;
    }
    struct list_job *job = bp_kv_job_new(call, sizeof *job);
    if (job != NULL) {
        job->base =
            (struct bp_kv_read_job){.call = call, .kv = chassis_call_data(call), .run = run};
        job->range.kind = bp_kv_kind_of(kind);
    }
    return job;
}

void bp_kv_rpc_list(struct chassis_call *call, const KV(ListRequest) * req)
{
    struct list_job *job = job_new(call, req->value, run_list);
    if (job == NULL) {
        return;
    }
    struct chassis_error err = {0};
    job->range.prefix = chassis_view_str(req->key_prefix);
    job->range.at_revision = req->at_revision;
    job->limit = req->limit;
    int r = bp_kv_check_prefix(job->range.prefix, &err);
    if (r == 0 && req->page_token[0] != '\0') {
        uint64_t revision = 0;
        r = bp_kv_token_parse(chassis_view_str(req->page_token), job->range.kind, job->range.prefix,
                              &revision, &job->range.after, &err);
        if (r == 0 && req->at_revision != 0 && req->at_revision != revision) {
            r = chassis_error_set(&err, CHASSIS_INVALID_ARGUMENT,
                                  "the page token is of revision %llu, at_revision is %llu",
                                  (unsigned long long)revision,
                                  (unsigned long long)req->at_revision);
        }
        job->range.at_revision = revision;
    }
    if (r != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    bp_kv_read_job_start(&job->base, req->stale);
}

/* --- Query --- */

/* The kinds whose fields the server can look into. */
static const ProtobufCMessageDescriptor *known_type(struct chassis_view kind)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &core__registry__key_value__v1__value__descriptor,
        &core__registry__key_value__v1__id__descriptor,
        &core__control_plane__networking__v1__route__descriptor,
    };
    for (size_t i = kind.len; i > 0; i--) {
        if (kind.data[i - 1] == '/') {
            kind = chassis_view(kind.data + i, kind.len - i);
            break;
        }
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (chassis_view_eq(kind, chassis_view_str(types[i]->name))) {
            return types[i];
        }
    }
    return NULL;
}

static bool fields_match(const ProtobufCMessage *message, const KV(Equal) * equal)
{
    for (size_t i = 0; i < equal->n_match; i++) {
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(
            message->descriptor, equal->match[i]->key);
        const char *text = *(char *const *)(const void *)((const uint8_t *)message + field->offset);
        if (strcmp(text != NULL ? text : "", equal->match[i]->value) != 0) {
            return false;
        }
    }
    return true;
}

static int each_match(const struct bp_kv_version *v, void *data)
{
    struct list_job *job = data;
    struct chassis_arena arena;
    ProtobufCMessage *message;
    chassis_arena_init(&arena, NULL, 0, 16 << 20);
    /* A value that is not of its kind matches nothing. */
    bool match = chassis_message_decode(job->type, v->value, NULL, &arena, &message, NULL) == 0 &&
                 fields_match(message, job->equal);
    chassis_arena_fini(&arena);
    return match ? each_record(v, data) : 0;
}

static void reply_query(struct list_job *job)
{
    KV(QueryResponse) res = KV_INIT(QUERY_RESPONSE);
    res.revision = job->revision;
    res.values = chassis_arena_alloc(&job->arena, (job->res.n_values + 1) * sizeof *res.values);
    for (size_t i = 0; i < job->res.n_values; i++) {
        KV(QueryResponse__ValuesEntry) *e = chassis_arena_alloc(&job->arena, sizeof *e);
        core__registry__key_value__v1__query_response__values_entry__init(e);
        e->key = job->res.values[i]->key;
        e->value = job->res.values[i]->value;
        res.values[res.n_values++] = e;
    }
    key_value_query_reply(job->base.call, &res);
}

static int run_query(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct list_job job = *(const struct list_job *)data;
    chassis_arena_init(&job.arena, NULL, 0, 0);
    struct bp_kv_version v;
    int r;
    if (job.id.len != 0) {
        uint64_t floor;
        core__registry__key_value__v1__list_response__init(&job.res);
        r = bp_kv_revisions(txn, &job.revision, &floor, err);
        if (r == 0) {
            r = bp_kv_get(txn, job.range.kind, job.id, 0, &v, err);
        }
        if (r == 0) {
            add(&job, &v);
        } else if (r == CHASSIS_NOT_FOUND) {
            r = 0; /* a query that finds nothing is answered */
        }
    } else {
        r = collect(txn, &job, job.equal != NULL ? each_match : each_record, err);
    }
    if (r == 0) {
        reply_query(&job);
    }
    chassis_arena_fini(&job.arena);
    return r;
}

static int check_equal(struct list_job *job, const KV(Equal) * equal, struct chassis_error *err)
{
    job->type = known_type(job->range.kind);
    if (job->type == NULL) {
        return chassis_error_set(err, CHASSIS_UNIMPLEMENTED,
                                 "the fields of kind '%.*s' are not known to this server: query "
                                 "it by is_all or by id",
                                 CHASSIS_VIEW_ARG(job->range.kind));
    }
    if (equal->n_match == 0 || equal->n_match > MATCH_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "key_val names %zu fields, 1 to %d are allowed", equal->n_match,
                                 MATCH_MAX);
    }
    for (size_t i = 0; i < equal->n_match; i++) {
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field_by_name(job->type, equal->match[i]->key);
        if (field == NULL || field->type != PROTOBUF_C_TYPE_STRING ||
            field->label == PROTOBUF_C_LABEL_REPEATED ||
            (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "kind '%.*s' has no top-level string field '%s'",
                                     CHASSIS_VIEW_ARG(job->range.kind), equal->match[i]->key);
        }
    }
    job->equal = equal;
    return 0;
}

void bp_kv_rpc_query(struct chassis_call *call, const KV(Statement) * req)
{
    struct chassis_error err = {0};
    if (req->operation != CORE__REGISTRY__KEY_VALUE__V1__OPERATION__SELECT) {
        chassis_call_fail(call, CHASSIS_UNIMPLEMENTED,
                          "a query implements SELECT only: change records with Set, Delete, Txn");
        return;
    }
    struct list_job *job = job_new(call, req->kind, run_query);
    if (job == NULL) {
        return;
    }
    int r = 0;
    switch (req->where_case) {
    case CORE__REGISTRY__KEY_VALUE__V1__STATEMENT__WHERE_IS_ALL:
        break;
    case CORE__REGISTRY__KEY_VALUE__V1__STATEMENT__WHERE_ID:
        job->id = bp_kv_trim(chassis_view_str(req->id->uuid));
        r = bp_kv_check_key(job->id, &err);
        break;
    case CORE__REGISTRY__KEY_VALUE__V1__STATEMENT__WHERE_KEY_VAL:
        r = check_equal(job, req->key_val, &err);
        break;
    case CORE__REGISTRY__KEY_VALUE__V1__STATEMENT__WHERE__NOT_SET:
    default:
        r = chassis_error_set(&err, CHASSIS_INVALID_ARGUMENT,
                              "the statement has no condition: set is_all, id or key_val");
        break;
    }
    if (r != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    bp_kv_read_job_start(&job->base, false);
}
