/* DeadLetterService. */
#include "catalyst/groups/convert.h"
#include "catalyst/groups/rpc.h"

enum { PEEK_DEFAULT = 100, PEEK_MAX = 1000, REPLAY_MAX = 10000, ANSWER_BYTES = 3500000 };

struct job {
    struct chassis_task task;
    struct chassis_call *call;
    struct cat_views *views;
    struct chassis_view stream, group;
    uint64_t number; /* from, through */
    uint32_t limit, n;
    const uint64_t *sequences;
    struct chassis_buf out;
    uint64_t first_left; /* peek: the first that had no room; 0 = all had */
};

static struct job *job_new(struct chassis_call *call, chassis_task_fn run, const char *stream,
                           const char *group)
{
    struct job *job = chassis_arena_zalloc(chassis_call_arena(call), sizeof *job);
    if (job == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return NULL;
    }
    job->task.run = run;
    job->call = call;
    job->views = chassis_call_data(call);
    job->stream = chassis_view_str(stream);
    job->group = chassis_view_str(group);
    return job;
}

static void job_start(struct job *job)
{
    job->stream = job->stream.len != 0 ? job->stream : chassis_view_str("default");
    chassis_post(job->views->loop, &job->task);
}

/* ---- list ---- */

static int list_one(void *data, const struct cat_group_info *info)
{
    struct job *job = data;
    struct cat_dead_letters state;
    struct chassis_buf name = {0}, one = {0};
    const struct cat_group_config *c = &info->config;
    if (cat_dead_letter_state(job->views->groups, c->stream, c->name, &state, NULL) != 0 ||
        state.events == 0) {
        return 0;
    }
    cat_dead_letter_stream(c, &name);
    cat_put_block(&one, 1, c->stream);
    cat_put_block(&one, 2, c->name);
    cat_put_block(&one, 3, chassis_buf_view(&name));
    cat_put_varint(&one, 4, state.events);
    cat_put_varint(&one, 5, (uint64_t)state.first_time_ns);
    cat_put_varint(&one, 6, (uint64_t)state.last_time_ns);
    cat_put_block(&job->out, 1, chassis_buf_view(&one));
    chassis_buf_fini(&name);
    chassis_buf_fini(&one);
    return job->out.len > ANSWER_BYTES;
}

static void run_list(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    struct chassis_buf out;
    cat_group_list(job->views->groups, job->stream, chassis_view(NULL, 0), chassis_view(NULL, 0),
                   list_one, job);
    out = chassis_buf_move(&job->out); /* the job goes with the call */
    chassis_call_reply_bytes(job->call, chassis_buf_view(&out));
    chassis_buf_fini(&out);
}

static void list(struct chassis_call *call, const EV(ListDeadLettersRequest) * req)
{
    struct job *job = job_new(call, run_list, req->stream, "");
    if (job != NULL) {
        chassis_post(job->views->loop, &job->task); /* no stream = all */
    }
}

/* ---- peek ---- */

static void peek_one(void *data, const struct cat_log_event *stored)
{
    struct job *job = data;
    bool full = job->n != 0 && job->out.len + stored->bytes.len > ANSWER_BYTES;
    if (full || job->first_left != 0) {
        job->first_left = job->first_left != 0 ? job->first_left : stored->sequence;
        return;
    }
    cat_put_delivery(&job->out, stored, 0);
    job->n++;
}

static void peeked(void *data, int status, uint64_t next, const struct chassis_error *err)
{
    struct job *job = data;
    struct chassis_buf out = chassis_buf_move(&job->out);
    if (status != 0) {
        chassis_call_fail_error(job->call, err);
    } else {
        cat_put_varint(&out, 2, job->first_left != 0 ? job->first_left : next);
        chassis_call_reply_bytes(job->call, chassis_buf_view(&out));
    }
    chassis_buf_fini(&out);
}

static void run_peek(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_dead_letter_peek(job->views->groups, job->stream, job->group, job->number, job->limit,
                         peek_one, peeked, job);
}

static void peek(struct chassis_call *call, const EV(PeekDeadLettersRequest) * req)
{
    struct chassis_error err = {0};
    struct job *job = job_new(call, run_peek, req->stream, req->group);
    if (job == NULL) {
        return;
    }
    job->number = req->from_sequence;
    if (cat_limit_of("limit", req->limit, PEEK_DEFAULT, PEEK_MAX, &job->limit, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    job_start(job);
}

/* ---- replay, purge ---- */

static void replayed(void *data, int status, uint64_t count, const struct chassis_error *err)
{
    struct job *job = data;
    if (status != 0) {
        chassis_call_fail(job->call, status, "%s (%llu were replayed)", chassis_error_text(err),
                          (unsigned long long)count);
        return;
    }
    EV(ReplayDeadLettersResponse) res = EV_INIT(REPLAY_DEAD_LETTERS_RESPONSE);
    res.replayed = count;
    events_dead_letter_service_replay_reply(job->call, &res);
}

static void run_replay(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_dead_letter_replay(job->views->groups, job->stream, job->group, job->sequences, job->n,
                           replayed, job);
}

static int sequences_of(const EV(ReplayDeadLettersRequest) * req, struct chassis_error *err)
{
    if (req->n_sequences > REPLAY_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'sequences' has %zu numbers, the limit is %d",
                                 req->n_sequences, REPLAY_MAX);
    }
    for (size_t i = 1; i < req->n_sequences; i++) {
        if (req->sequences[i] <= req->sequences[i - 1]) {
            return chassis_error_set(
                err, CHASSIS_INVALID_ARGUMENT, "field 'sequences' must rise: %llu comes after %llu",
                (unsigned long long)req->sequences[i], (unsigned long long)req->sequences[i - 1]);
        }
    }
    return 0;
}

static void replay(struct chassis_call *call, const EV(ReplayDeadLettersRequest) * req)
{
    struct chassis_error err = {0};
    struct job *job = job_new(call, run_replay, req->stream, req->group);
    if (job == NULL) {
        return;
    }
    if (sequences_of(req, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    job->n = (uint32_t)req->n_sequences;
    job->sequences = job->n != 0 ? req->sequences : NULL;
    job_start(job);
}

static void purged(void *data, int status, uint64_t count, const struct chassis_error *err)
{
    struct job *job = data;
    if (status != 0) {
        chassis_call_fail_error(job->call, err);
        return;
    }
    EV(PurgeDeadLettersResponse) res = EV_INIT(PURGE_DEAD_LETTERS_RESPONSE);
    res.purged = count;
    events_dead_letter_service_purge_reply(job->call, &res);
}

static void run_purge(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    cat_dead_letter_purge(job->views->groups, job->stream, job->group, job->number, purged, job);
}

static void purge(struct chassis_call *call, const EV(PurgeDeadLettersRequest) * req)
{
    struct job *job = job_new(call, run_purge, req->stream, req->group);
    if (job != NULL) {
        job->number = req->through_sequence;
        job_start(job);
    }
}

static const struct events_dead_letter_service_handlers handlers = {
    .list = list, .peek = peek, .replay = replay, .purge = purge};
static const struct chassis_method_options options[] = {
    {.method = "List", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true, .idempotent = true},
    {.method = "Peek", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true, .idempotent = true},
    {.method = "*", .access = CHASSIS_ACCESS_OPERATOR, .never_blocks = true},
    {.method = NULL},
};

struct chassis_service cat_dead_letter_service(struct cat_views *views)
{
    struct chassis_service service = events_dead_letter_service_service(&handlers, views);
    service.options = options;
    return service;
}
