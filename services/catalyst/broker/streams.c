/* StreamService. A request is checked where it came in; the loop does it and answers. */
#include <stdlib.h>

#include "base/assert.h"
#include "catalyst/broker/convert.h"
#include "catalyst/broker/rpc.h"
#include "proto/message.h"

enum { LIST_DEFAULT = 100, LIST_MAX = 1000, LIST_BYTES = 3000000 };

struct job {
    struct chassis_task task;
    struct chassis_call *call;
    struct cat_views *views;
    struct cat_stream_config config;
    struct chassis_view name;
    uint64_t keep_from, keep_events;
    void (*reply)(struct job *job, EV(Stream) * stream);
};

/* In the call's arena; NULL after failing the call. */
static struct job *job_new(struct chassis_call *call, chassis_task_fn run)
{
    struct job *job = chassis_arena_zalloc(chassis_call_arena(call), sizeof *job);
    if (job == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return NULL;
    }
    job->task.run = run;
    job->call = call;
    job->views = chassis_call_data(call);
    return job;
}

static void job_start(struct job *job)
{
    chassis_post(job->views->loop, &job->task);
}

/* The stream as it is now, in the answer. */
static void reply_stream(struct job *job)
{
    struct cat_stream_info info;
    struct chassis_error err = {0};
    if (cat_stream_get(job->views->broker, job->name, &info, &err) != 0) {
        chassis_call_fail_error(job->call, &err);
        return;
    }
    job->reply(job, cat_stream_message(chassis_call_arena(job->call), &info, job->views->groups));
}

static void changed(void *data, int status, const struct chassis_error *err)
{
    struct job *job = data;
    if (status != 0) {
        chassis_call_fail_error(job->call, err);
    } else {
        reply_stream(job);
    }
}

/* ---- create, update, get ---- */

static void reply_create(struct job *job, EV(Stream) * stream)
{
    EV(CreateStreamResponse) res = EV_INIT(CREATE_STREAM_RESPONSE);
    res.stream = stream;
    events_stream_service_create_reply(job->call, &res);
}

static void reply_update(struct job *job, EV(Stream) * stream)
{
    EV(UpdateStreamResponse) res = EV_INIT(UPDATE_STREAM_RESPONSE);
    res.stream = stream;
    events_stream_service_update_reply(job->call, &res);
}

static void reply_get(struct job *job, EV(Stream) * stream)
{
    EV(GetStreamResponse) res = EV_INIT(GET_STREAM_RESPONSE);
    res.stream = stream;
    events_stream_service_get_reply(job->call, &res);
}

static void run_create(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_stream_create(job->views->broker, &job->config, changed, job);
}

static void run_update(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_stream_update(job->views->broker, &job->config, changed, job);
}

static void run_get(struct chassis_task *task)
{
    reply_stream(chassis_container_of(task, struct job, task));
}

static void change(struct chassis_call *call, const EV(StreamConfig) * config, chassis_task_fn run,
                   void (*reply)(struct job *, EV(Stream) *))
{
    struct chassis_error err = {0};
    struct job *job = job_new(call, run);
    if (job == NULL) {
        return;
    }
    if (cat_stream_config_of(chassis_call_arena(call), config, &job->config, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    job->name = job->config.name;
    job->reply = reply;
    job_start(job);
}

static void create(struct chassis_call *call, const EV(CreateStreamRequest) * req)
{
    change(call, req->config, run_create, reply_create);
}

static void update(struct chassis_call *call, const EV(UpdateStreamRequest) * req)
{
    change(call, req->config, run_update, reply_update);
}

static void get(struct chassis_call *call, const EV(GetStreamRequest) * req)
{
    struct job *job = job_new(call, run_get);
    if (job != NULL) {
        job->name = chassis_view_str(req->name);
        job->reply = reply_get;
        job_start(job);
    }
}

/* ---- purge, delete ---- */

static void purged(void *data, int status, uint64_t n, const struct chassis_error *err)
{
    struct job *job = data;
    struct cat_stream_info info;
    if (status != 0) {
        chassis_call_fail_error(job->call, err);
        return;
    }
    EV(PurgeStreamResponse) res = EV_INIT(PURGE_STREAM_RESPONSE);
    res.purged = n;
    if (cat_stream_get(job->views->broker, job->name, &info, NULL) == 0) {
        res.stream = cat_stream_message(chassis_call_arena(job->call), &info, job->views->groups);
    }
    events_stream_service_purge_reply(job->call, &res);
}

static void run_purge(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_stream_purge(job->views->broker, job->name, job->keep_from, job->keep_events, purged, job);
}

static void purge(struct chassis_call *call, const EV(PurgeStreamRequest) * req)
{
    struct job *job = job_new(call, run_purge);
    if (job != NULL) {
        job->name = chassis_view_str(req->name);
        job->keep_from = req->keep_from_sequence;
        job->keep_events = req->keep_events;
        job_start(job);
    }
}

static void deleted(void *data, int status, const struct chassis_error *err)
{
    struct job *job = data;
    if (status != 0) {
        chassis_call_fail_error(job->call, err);
        return;
    }
    EV(DeleteStreamResponse) res = EV_INIT(DELETE_STREAM_RESPONSE);
    events_stream_service_delete_reply(job->call, &res);
}

static void run_delete(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_stream_delete(job->views->broker, job->name, deleted, job);
}

static void delete (struct chassis_call *call, const EV(DeleteStreamRequest) * req)
{
    struct job *job = job_new(call, run_delete);
    if (job != NULL) {
        job->name = chassis_view_str(req->name);
        job_start(job);
    }
}

/* ---- list ---- */

struct list_job {
    struct chassis_task task;
    struct chassis_call *call;
    struct cat_views *views;
    struct chassis_view prefix, after;
    uint32_t limit, n;
    EV(Stream) * *streams;
    size_t bytes; /* encoded */
    bool more;
};

static int list_one(void *data, const struct cat_stream_info *info)
{
    struct list_job *job = data;
    struct chassis_arena *arena = chassis_call_arena(job->call);
    job->more = job->n == job->limit || job->bytes > LIST_BYTES;
    if (job->more) {
        return 1;
    }
    EV(Stream) *stream = cat_stream_message(arena, info, job->views->groups);
    job->bytes += chassis_message_size((const ProtobufCMessage *)stream);
    job->streams[job->n++] = stream;
    return 0;
}

static void run_list(struct chassis_task *task)
{
    struct list_job *job = chassis_container_of(task, struct list_job, task);
    cat_stream_list(job->views->broker, job->prefix, job->after, list_one, job);
    EV(ListStreamsResponse) res = EV_INIT(LIST_STREAMS_RESPONSE);
    res.n_streams = job->n;
    res.streams = job->streams;
    if (job->more) {
        res.next_page_token = job->streams[job->n - 1]->config->name;
    }
    events_stream_service_list_reply(job->call, &res);
}

static void list(struct chassis_call *call, const EV(ListStreamsRequest) * req)
{
    struct chassis_error err = {0};
    struct chassis_arena *arena = chassis_call_arena(call);
    struct list_job *job = chassis_arena_zalloc(arena, sizeof *job);
    if (job == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    if (cat_limit_of("limit", req->limit, LIST_DEFAULT, LIST_MAX, &job->limit, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    job->task.run = run_list;
    job->call = call;
    job->views = chassis_call_data(call);
    job->prefix = chassis_view_str(req->name_prefix);
    job->after = chassis_view_str(req->page_token);
    job->streams = chassis_arena_alloc(arena, (job->limit + 1) * sizeof(void *));
    chassis_post(job->views->loop, &job->task);
}

static const struct events_stream_service_handlers handlers = {
    .create = create, .update = update, .get = get, .list = list, .purge = purge, .delete = delete};
static const struct chassis_method_options options[] = {
    {.method = "Get", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true, .idempotent = true},
    {.method = "List", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true, .idempotent = true},
    {.method = "*", .access = CHASSIS_ACCESS_OPERATOR, .never_blocks = true},
    {.method = NULL},
};

struct chassis_service cat_stream_service(struct cat_views *views)
{
    struct chassis_service service = events_stream_service_service(&handlers, views);
    service.options = options;
    return service;
}
