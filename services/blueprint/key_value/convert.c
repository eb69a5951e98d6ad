#include "convert.h"

#include "../deadline.h"
#include "base/bytes.h"

char *bp_kv_text(struct chassis_arena *arena, struct chassis_view text)
{
    return chassis_arena_strndup(arena, text.data, text.len);
}

struct chassis_view bp_kv_kind_of(const Google__Protobuf__Any *any)
{
    return any != NULL ? chassis_view_str(any->type_url) : chassis_view(NULL, 0);
}

struct chassis_view bp_kv_value_of(const Google__Protobuf__Any *any)
{
    return any != NULL ? chassis_view(any->value.data, any->value.len) : chassis_view(NULL, 0);
}

Google__Protobuf__Any *bp_kv_any(struct chassis_arena *arena, struct chassis_view kind,
                                 struct chassis_view value)
{
    Google__Protobuf__Any *any = chassis_arena_alloc(arena, sizeof *any);
    google__protobuf__any__init(any);
    any->type_url = bp_kv_text(arena, kind);
    any->value.data = (uint8_t *)(uintptr_t)value.data;
    any->value.len = value.len;
    return any;
}

KV(Meta) * bp_kv_meta(struct chassis_arena *arena, uint64_t revision, uint64_t created,
                      uint64_t version, int64_t time_ns, struct chassis_view actor)
{
    KV(Meta) *meta = chassis_arena_alloc(arena, sizeof *meta);
    core__registry__key_value__v1__meta__init(meta);
    meta->revision = revision;
    meta->created_revision = created;
    meta->version = version;
    meta->actor = bp_kv_text(arena, actor);
    meta->time = chassis_arena_alloc(arena, sizeof *meta->time);
    google__protobuf__timestamp__init(meta->time);
    meta->time->seconds = time_ns / 1000000000;
    meta->time->nanos = (int32_t)(time_ns % 1000000000);
    return meta;
}

KV(Meta) * bp_kv_meta_of(struct chassis_arena *arena, const struct bp_kv_version *v)
{
    return bp_kv_meta(arena, v->at.revision, v->created, v->version, v->time_ns, v->actor);
}

KV(Event) * bp_kv_event_message(struct chassis_arena *arena, const struct bp_kv_event *event)
{
    KV(Event) *e = chassis_arena_alloc(arena, sizeof *e);
    core__registry__key_value__v1__event__init(e);
    e->type = event->version.deleted ? CORE__REGISTRY__KEY_VALUE__V1__EVENT__TYPE__DELETE
                                     : CORE__REGISTRY__KEY_VALUE__V1__EVENT__TYPE__PUT;
    e->key = bp_kv_text(arena, event->version.key);
    e->value = bp_kv_any(arena, event->kind, event->version.value);
    if (event->has_prev) {
        e->prev_value = bp_kv_any(arena, event->kind, event->prev_value);
    }
    e->meta = bp_kv_meta_of(arena, &event->version);
    return e;
}

void bp_kv_encode_batch(const struct bp_feed_batch *batch, struct chassis_buf *out)
{
    static const KV(WatchResponse__Kind) kinds[] = {
        [BP_FEED_NORMAL] = CORE__REGISTRY__KEY_VALUE__V1__WATCH_RESPONSE__KIND__NORMAL,
        [BP_FEED_PROGRESS] = CORE__REGISTRY__KEY_VALUE__V1__WATCH_RESPONSE__KIND__PROGRESS,
        [BP_FEED_SNAPSHOT] = CORE__REGISTRY__KEY_VALUE__V1__WATCH_RESPONSE__KIND__RESYNC,
        [BP_FEED_RESYNC] = CORE__REGISTRY__KEY_VALUE__V1__WATCH_RESPONSE__KIND__RESYNC,
    };
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    KV(WatchResponse) response = KV_INIT(WATCH_RESPONSE);
    response.kind = kinds[batch->kind];
    response.revision = batch->revision;
    response.compact_revision = batch->floor;
    response.n_events = batch->n;
    response.events = chassis_arena_alloc(&arena, (batch->n + 1) * sizeof *response.events);
    for (size_t i = 0; i < batch->n; i++) {
        response.events[i] = bp_kv_event_message(&arena, batch->events[i]);
    }
    size_t size = core__registry__key_value__v1__watch_response__get_packed_size(&response);
    chassis_buf_append_varint(out, size);
    chassis_buf_reserve(out, size);
    core__registry__key_value__v1__watch_response__pack(&response, out->data + out->len);
    out->len += size;
    chassis_arena_fini(&arena);
}

void *bp_kv_job_new(struct chassis_call *call, size_t size)
{
    void *job = chassis_arena_zalloc(chassis_call_arena(call), size);
    if (job == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
    }
    return job;
}

static void job_run(struct bp_kv_read_job *job)
{
    struct chassis_error err = {0};
    if (bp_read(job->kv->options.consensus, job->run, job, &err) != 0) {
        chassis_call_fail_error(job->call, &err);
    }
}

static void read_done(struct chassis_read *read)
{
    struct bp_kv_read_job *job = chassis_container_of(read, struct bp_kv_read_job, read);
    if (read->status != 0) {
        if (read->error.code == 0) {
            chassis_error_code(&read->error, read->status, "linearizable read");
        }
        chassis_call_fail_error(job->call, &read->error);
        return;
    }
    job_run(job);
}

void bp_kv_read_job_start(struct bp_kv_read_job *job, bool stale)
{
    if (stale) {
        job_run(job);
        return;
    }
    job->read.timeout_ns = bp_timeout_ns(job->call);
    job->read.executor = job->kv->options.readers;
    job->read.done = read_done;
    chassis_consensus_read(job->kv->options.consensus, &job->read);
}
