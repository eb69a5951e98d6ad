/* GroupService, but for Join. A request is checked where it came in; the loop does it and answers. */
#include "catalyst/groups/rpc.h"

#include "catalyst/groups/convert.h"
#include "proto/message.h"

enum { LIST_DEFAULT = 100, LIST_MAX = 1000, LIST_BYTES = 3000000 };

struct job {
    struct chassis_task task;
    struct chassis_call *call;
    struct cat_views *views;
    struct cat_group_config config;
    struct chassis_view stream, name;
    struct cat_start start;
    void (*reply)(struct job *job, EV(Group) * group);
};

static struct job *job_new(struct chassis_call *call, chassis_task_fn run, const char *stream,
                           const char *name)
{
    struct job *job = chassis_arena_zalloc(chassis_call_arena(call), sizeof *job);
    if (job == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return NULL;
    }
    job->task.run = run;
    job->call = call;
    job->views = chassis_call_data(call);
    job->stream = chassis_view_str(stream[0] != '\0' ? stream : "default");
    job->name = chassis_view_str(name);
    return job;
}

static void job_start(struct job *job)
{
    chassis_post(job->views->loop, &job->task);
}

static void reply_group(struct job *job)
{
    struct cat_group_info info;
    struct chassis_error err = {0};
    if (cat_group_get(job->views->groups, job->stream, job->name, &info, &err) != 0) {
        chassis_call_fail_error(job->call, &err);
        return;
    }
    job->reply(job, cat_group_message(chassis_call_arena(job->call), &info));
}

static void changed(void *data, int status, const struct chassis_error *err)
{
    struct job *job = data;
    if (status != 0) {
        chassis_call_fail_error(job->call, err);
    } else {
        reply_group(job);
    }
}

/* ---- create, update, get, seek ---- */

#define REPLY(function, Message, MESSAGE)                                                          \
    static void reply_##function(struct job *job, EV(Group) * group)                               \
    {                                                                                              \
        EV(Message) res = EV_INIT(MESSAGE);                                                        \
        res.group = group;                                                                         \
        events_group_service_##function##_reply(job->call, &res);                                  \
    }
REPLY(create, CreateGroupResponse, CREATE_GROUP_RESPONSE)
REPLY(update, UpdateGroupResponse, UPDATE_GROUP_RESPONSE)
REPLY(get, GetGroupResponse, GET_GROUP_RESPONSE)
REPLY(seek, SeekGroupResponse, SEEK_GROUP_RESPONSE)

static void run_create(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_group_create(job->views->groups, &job->config, changed, job);
}

static void run_update(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_group_update(job->views->groups, &job->config, changed, job);
}

static void run_get(struct chassis_task *task)
{
    reply_group(chassis_container_of(task, struct job, task));
}

static void run_seek(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_group_seek(job->views->groups, job->stream, job->name, job->start, changed, job);
}

static void change(struct chassis_call *call, const EV(GroupConfig) * config, chassis_task_fn run,
                   void (*reply)(struct job *, EV(Group) *))
{
    struct chassis_error err = {0};
    struct job *job = job_new(call, run, config != NULL ? config->stream : "",
                              config != NULL ? config->name : "");
    if (job == NULL) {
        return;
    }
    if (cat_group_config_of(chassis_call_arena(call), config, &job->config, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    job->config.stream = job->stream;
    job->reply = reply;
    job_start(job);
}

static void create(struct chassis_call *call, const EV(CreateGroupRequest) * req)
{
    change(call, req->config, run_create, reply_create);
}

static void update(struct chassis_call *call, const EV(UpdateGroupRequest) * req)
{
    change(call, req->config, run_update, reply_update);
}

static void get(struct chassis_call *call, const EV(GetGroupRequest) * req)
{
    struct job *job = job_new(call, run_get, req->stream, req->name);
    if (job != NULL) {
        job->reply = reply_get;
        job_start(job);
    }
}

static void seek(struct chassis_call *call, const EV(SeekGroupRequest) * req)
{
    struct chassis_error err = {0};
    struct job *job = job_new(call, run_seek, req->stream, req->name);
    if (job == NULL) {
        return;
    }
    if (cat_start_of(req->start, &job->start, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    job->reply = reply_seek;
    job_start(job);
}

/* ---- delete ---- */

static void deleted(void *data, int status, const struct chassis_error *err)
{
    struct job *job = data;
    if (status != 0) {
        chassis_call_fail_error(job->call, err);
        return;
    }
    EV(DeleteGroupResponse) res = EV_INIT(DELETE_GROUP_RESPONSE);
    events_group_service_delete_reply(job->call, &res);
}

static void run_delete(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_group_delete(job->views->groups, job->stream, job->name, deleted, job);
}

static void delete (struct chassis_call *call, const EV(DeleteGroupRequest) * req)
{
    struct job *job = job_new(call, run_delete, req->stream, req->name);
    if (job != NULL) {
        job_start(job);
    }
}

/* ---- list ---- */

struct list_job {
    struct chassis_task task;
    struct chassis_call *call;
    struct cat_views *views;
    struct chassis_view stream, after_stream, after_name;
    uint32_t limit, n;
    EV(Group) * *groups;
    size_t bytes;
    bool more;
};

static int list_one(void *data, const struct cat_group_info *info)
{
    struct list_job *job = data;
    job->more = job->n == job->limit || job->bytes > LIST_BYTES;
    if (job->more) {
        return 1;
    }
    EV(Group) *group = cat_group_message(chassis_call_arena(job->call), info);
    job->bytes += chassis_message_size((const ProtobufCMessage *)group);
    job->groups[job->n++] = group;
    return 0;
}

static void run_list(struct chassis_task *task)
{
    struct list_job *job = chassis_container_of(task, struct list_job, task);
    cat_group_list(job->views->groups, job->stream, job->after_stream, job->after_name, list_one,
                   job);
    EV(ListGroupsResponse) res = EV_INIT(LIST_GROUPS_RESPONSE);
    res.n_groups = job->n;
    res.groups = job->groups;
    if (job->more) { /* "stream/name": neither has a slash */
        const EV(GroupConfig) *last = job->groups[job->n - 1]->config;
        res.next_page_token =
            chassis_arena_printf(chassis_call_arena(job->call), "%s/%s", last->stream, last->name);
    }
    events_group_service_list_reply(job->call, &res);
}

static void list(struct chassis_call *call, const EV(ListGroupsRequest) * req)
{
    struct chassis_error err = {0};
    struct chassis_arena *arena = chassis_call_arena(call);
    struct list_job *job = chassis_arena_zalloc(arena, sizeof *job);
    if (job == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    const char *slash = strchr(req->page_token, '/');
    int rc = cat_limit_of("limit", req->limit, LIST_DEFAULT, LIST_MAX, &job->limit, &err);
    if (rc == 0 && slash == NULL && req->page_token[0] != '\0') {
        rc = chassis_error_set(&err, CHASSIS_INVALID_ARGUMENT,
                               "field 'page_token' is none that was given out");
    }
    if (rc != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    if (slash != NULL) {
        job->after_stream = chassis_view(req->page_token, (size_t)(slash - req->page_token));
        job->after_name = chassis_view_str(slash + 1);
    }
    job->task.run = run_list;
    job->call = call;
    job->views = chassis_call_data(call);
    job->stream = chassis_view_str(req->stream);
    job->groups = chassis_arena_alloc(arena, (job->limit + 1) * sizeof(void *));
    chassis_post(job->views->loop, &job->task);
}

static const struct events_group_service_handlers handlers = {
    .create = create,
    .update = update,
    .get = get,
    .list = list,
    .delete = delete,
    .seek = seek,
    .join = {.open = cat_join_open, .message = cat_join_message, .end = cat_join_end},
};
static const struct chassis_method_options options[] = {
    {.method = "Get", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true, .idempotent = true},
    {.method = "List", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true, .idempotent = true},
    {.method = "Join", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true},
    {.method = "*", .access = CHASSIS_ACCESS_OPERATOR, .never_blocks = true},
    {.method = NULL},
};

struct chassis_service cat_group_service(struct cat_views *views)
{
    struct chassis_service service = events_group_service_service(&handlers, views);
    service.options = options;
    return service;
}
