#include "catalyst/engines/remote.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "os/os.h"

struct engine {
    struct cat_log_engine engine;
    const struct cat_backend_ops *ops;
    struct chassis_executor *loop, *storer, *manager;
    struct chassis_logger *log;
    char *url;
    struct cat_backend *backend; /* the manager's; NULL until the first stream is opened */
    unsigned n_logs;
    void (*closed)(void *data);
    void *closed_data;
};

struct remote_log {
    struct cat_log log;
    struct engine *engine;
    struct cat_backend_stream *stream;
    struct cat_log_state state;
    struct chassis_list appends; /* in their order */
    size_t pending_bytes;
    unsigned n_jobs; /* with the storer or the manager */
    bool closing, destroy;
};

struct cat_stored {
    struct remote_append *append;
};

/* One append on its way: loop → storer → library's threads → loop. */
struct remote_append {
    struct chassis_task task, back;
    struct chassis_list link;
    struct remote_log *log;
    struct cat_append *append;
    size_t bytes;
    bool finished;
    _Atomic uint32_t left; /* events without an answer, and one for the storer itself */
    pthread_mutex_t lock;  /* of the results */
    uint64_t first_sequence;
    int status;
    struct chassis_error err;
    struct cat_stored stored[]; /* one each: the library keeps the pointer */
};

enum job_kind { JOB_OPEN, JOB_READ, JOB_AT_TIME, JOB_TRIM, JOB_CLOSE };

/* One errand to the manager and back. */
struct job {
    struct chassis_task task, back;
    enum job_kind kind;
    struct engine *engine;
    struct remote_log *log;
    int status;
    struct chassis_error err;
    char name[CAT_REMOTE_NAME_MAX];                                                   /* open */
    void (*opened)(void *data, struct cat_log *log, const struct chassis_error *err); /* open */
    void (*found)(void *data, int status, uint64_t sequence);                         /* at_time */
    void *data;
    struct cat_read *read; /* read; NULL when cancelled */
    uint64_t from;
    uint32_t events_max;
    size_t bytes_max;
    struct chassis_buf events; /* read: struct cat_log_event without bytes, then the bytes, each */
    int64_t time_ns;
    uint64_t sequence; /* at_time: result; trim: through */
};

void cat_remote_name(struct chassis_view name, const char *prefix, char out[CAT_REMOTE_NAME_MAX])
{
    size_t n = strlen(prefix);
    memcpy(out, prefix, n);
    for (size_t i = 0; i < name.len && n + 1 < CAT_REMOTE_NAME_MAX; i++) {
        char c = ((const char *)name.data)[i];
        out[n++] = c == '.' ? '=' : c;
    }
    out[n] = '\0';
}

/* ---- jobs ---- */

static void job_run(struct chassis_task *task);
static void job_back(struct chassis_task *task);

static struct job *job_new(enum job_kind kind, struct engine *engine, struct remote_log *log)
{
    struct job *job = chassis_base_alloc(sizeof *job);
    memset(job, 0, sizeof *job);
    job->kind = kind;
    job->engine = engine;
    job->log = log;
    job->task.run = job_run;
    job->back.run = job_back;
    chassis_buf_init(&job->events);
    log->n_jobs++;
    return job;
}

static void job_start(struct job *job)
{
    chassis_post(job->engine->manager, &job->task);
}

static int gather(void *data, const struct cat_log_event *event)
{
    struct job *job = data;
    if (job->events.len > 0 && job->events.len + event->bytes.len > job->bytes_max) {
        return 1;
    }
    struct cat_log_event head = *event;
    head.bytes.data = NULL;
    chassis_buf_append(&job->events, &head, sizeof head);
    chassis_buf_append_view(&job->events, event->bytes);
    return 0;
}

static int manage_open(struct job *job)
{
    struct engine *engine = job->engine;
    struct remote_log *log = job->log;
    if (engine->backend == NULL) {
        int rc = engine->ops->connect(engine->url, engine->log, &engine->backend, &job->err);
        if (rc != 0) {
            return rc;
        }
    }
    return engine->ops->open(engine->backend, job->name, &log->stream, &log->state, &job->err);
}

static int manage_close(struct job *job)
{
    struct remote_log *log = job->log;
    if (log->stream == NULL) {
        return 0;
    }
    if (log->destroy) {
        return job->engine->ops->destroy(log->stream, &job->err);
    }
    job->engine->ops->close(log->stream);
    return 0;
}

static void job_run(struct chassis_task *task)
{
    struct job *job = (struct job *)task;
    const struct cat_backend_ops *ops = job->engine->ops;
    struct cat_backend_stream *stream = job->log->stream;
    switch (job->kind) {
    case JOB_OPEN:
        job->status = manage_open(job);
        break;
    case JOB_READ:
        job->status = ops->read(stream, job->from, job->events_max, gather, job, &job->err);
        break;
    case JOB_AT_TIME:
        job->status = ops->at_time(stream, job->time_ns, &job->sequence, &job->err);
        break;
    case JOB_TRIM:
        job->status = ops->trim(stream, job->sequence, &job->err);
        break;
    case JOB_CLOSE:
        job->status = manage_close(job);
        break;
    }
    chassis_post(job->engine->loop, &job->back);
}

/* ---- reading ---- */

static void give_events(struct job *job)
{
    struct cat_read *read = job->read;
    const uint8_t *at = job->events.data, *end = at + job->events.len;
    uint64_t next = job->from;
    int status = job->status;
    while (at < end) {
        struct cat_log_event event;
        memcpy(&event, at, sizeof event);
        event.bytes.data = at + sizeof event;
        at += sizeof event + event.bytes.len;
        if (read->event(read, &event) != 0) {
            status = 0;
            break;
        }
        next = event.sequence + 1;
        if (job->read == NULL) { /* cancelled by the reader itself */
            return;
        }
    }
    read->engine = NULL;
    read->done(read, status, next, status != 0 ? &job->err : NULL);
}

static void log_read(struct cat_log *base, struct cat_read *read)
{
    struct remote_log *log = (struct remote_log *)base;
    struct job *job = job_new(JOB_READ, log->engine, log);
    job->read = read;
    job->from = read->from;
    job->events_max = read->events_max;
    job->bytes_max = read->bytes_max;
    read->engine = job;
    job_start(job);
}

static void log_cancel(struct cat_log *base, struct cat_read *read)
{
    struct job *job = read->engine;
    if (job != NULL) {
        job->read = NULL;
        read->engine = NULL;
    }
}

static void log_at_time(struct cat_log *base, int64_t time_ns,
                        void (*found)(void *data, int status, uint64_t sequence), void *data)
{
    struct remote_log *log = (struct remote_log *)base;
    struct job *job = job_new(JOB_AT_TIME, log->engine, log);
    job->time_ns = time_ns;
    job->found = found;
    job->data = data;
    job_start(job);
}

static struct cat_log_state log_state(struct cat_log *base)
{
    return ((struct remote_log *)base)->state;
}

static void log_trim(struct cat_log *base, uint64_t through)
{
    struct remote_log *log = (struct remote_log *)base;
    if (through < log->state.first) {
        return;
    }
    uint64_t events = log->state.last + 1 - log->state.first;
    uint64_t gone = through + 1 - log->state.first;
    log->state.bytes -= events == 0 ? 0
                                    : (uint64_t)((double)log->state.bytes / (double)events *
                                                 (double)(gone < events ? gone : events));
    log->state.first = through + 1;
    struct job *job = job_new(JOB_TRIM, log->engine, log);
    job->sequence = through;
    job_start(job);
}

/* ---- appending ---- */

static void append_put(struct remote_append *ra)
{
    if (atomic_fetch_sub_explicit(&ra->left, 1, memory_order_acq_rel) == 1) {
        chassis_post(ra->log->engine->loop, &ra->back);
    }
}

void cat_remote_stored(struct cat_stored *stored, uint64_t sequence, int status, const char *text)
{
    struct remote_append *ra = stored->append;
    pthread_mutex_lock(&ra->lock);
    if (status != 0 && ra->status == 0) {
        ra->status = chassis_error_set(&ra->err, status, "%s", text);
    } else if (status == 0 && (ra->first_sequence == 0 || sequence < ra->first_sequence)) {
        ra->first_sequence = sequence;
    }
    pthread_mutex_unlock(&ra->lock);
    append_put(ra);
}

static void append_store(struct chassis_task *task)
{
    struct remote_append *ra = (struct remote_append *)task;
    const struct cat_backend_ops *ops = ra->log->engine->ops;
    for (uint32_t i = 0; i < ra->append->n_events; i++) {
        ra->stored[i].append = ra;
        ops->store(ra->log->stream, ra->append->events[i], ra->append->time_ns, &ra->stored[i]);
    }
    if (ops->flush != NULL) {
        ops->flush(ra->log->stream);
    }
    append_put(ra);
}

static void log_release(struct remote_log *log);

static void append_finish(struct remote_append *ra)
{
    struct remote_log *log = ra->log;
    struct cat_append *append = ra->append;
    chassis_list_remove(&ra->link);
    log->pending_bytes -= ra->bytes;
    if (ra->status == 0) {
        uint64_t last = ra->first_sequence + append->n_events - 1;
        append->first_sequence = ra->first_sequence;
        if (last > log->state.last) {
            log->state.last = log->state.readable = last;
            log->state.last_time_ns = append->time_ns;
        }
        log->state.bytes += ra->bytes;
    } else {
        chassis_error_wrap(&ra->err, "some of %u events may have been stored", append->n_events);
    }
    append->appended(append, ra->status, ra->status != 0 ? &ra->err : NULL);
    pthread_mutex_destroy(&ra->lock);
    free(ra);
    log->n_jobs--;
}

static void append_back(struct chassis_task *task)
{
    struct remote_append *ra =
        (struct remote_append *)((char *)task - offsetof(struct remote_append, back));
    struct remote_log *log = ra->log;
    ra->finished = true;
    while (!chassis_list_empty(&log->appends)) {
        ra = chassis_list_entry(log->appends.next, struct remote_append, link);
        if (!ra->finished) {
            return;
        }
        append_finish(ra);
    }
    log_release(log);
}

static int log_append(struct cat_log *base, struct cat_append *append, struct chassis_error *err)
{
    struct remote_log *log = (struct remote_log *)base;
    size_t bytes = 0;
    for (uint32_t i = 0; i < append->n_events; i++) {
        bytes += append->events[i].len;
    }
    if (log->pending_bytes > 0 && log->pending_bytes + bytes > CAT_REMOTE_PENDING_MAX) {
        return chassis_error_set(err, CHASSIS_BUSY,
                                 "%zu bytes of events wait for the backend '%s': try again later",
                                 log->pending_bytes, log->engine->ops->name);
    }
    struct remote_append *ra =
        chassis_base_alloc(sizeof *ra + append->n_events * sizeof ra->stored[0]);
    memset(ra, 0, sizeof *ra);
    ra->task.run = append_store;
    ra->back.run = append_back;
    ra->log = log;
    ra->append = append;
    ra->bytes = bytes;
    atomic_init(&ra->left, append->n_events + 1);
    pthread_mutex_init(&ra->lock, NULL);
    chassis_list_append(&log->appends, &ra->link);
    log->pending_bytes += bytes;
    log->n_jobs++;
    append->first_sequence = 0;
    chassis_post(log->engine->storer, &ra->task);
    return 0;
}

/* ---- life ---- */

static void engine_release(struct engine *engine)
{
    if (engine->closed == NULL || engine->n_logs > 0) {
        return;
    }
    chassis_os_thread_stop(engine->storer);
    chassis_os_thread_stop(engine->manager);
    if (engine->backend != NULL) {
        engine->ops->disconnect(engine->backend);
    }
    void (*closed)(void *) = engine->closed;
    void *data = engine->closed_data;
    free(engine->url);
    free(engine);
    closed(data);
}

/* The stream is closed there when nothing of it is under way any more. */
static void log_release(struct remote_log *log)
{
    if (log->closing && log->n_jobs == 0) {
        job_start(job_new(JOB_CLOSE, log->engine, log));
    }
}

static void log_gone(struct remote_log *log)
{
    struct engine *engine = log->engine;
    free(log);
    engine->n_logs--;
    engine_release(engine);
}

static void log_close(struct cat_log *base)
{
    struct remote_log *log = (struct remote_log *)base;
    log->closing = true;
    log_release(log);
}

static void log_destroy(struct cat_log *base)
{
    ((struct remote_log *)base)->destroy = true;
    log_close(base);
}

static const struct cat_log_ops log_ops = {
    .append = log_append,
    .read = log_read,
    .cancel = log_cancel,
    .at_time = log_at_time,
    .state = log_state,
    .trim = log_trim,
    .close = log_close,
    .destroy = log_destroy,
};

static void warn(struct job *job, const char *what)
{
    if (job->status != 0) {
        chassis_log_warn(job->engine->log, what, chassis_f_str("engine", job->engine->ops->name),
                         chassis_f_err(&job->err));
    }
}

static void job_back(struct chassis_task *task)
{
    struct job *job = (struct job *)((char *)task - offsetof(struct job, back));
    struct remote_log *log = job->log;
    log->n_jobs--;
    switch (job->kind) {
    case JOB_OPEN:
        job->opened(job->data, job->status == 0 ? &log->log : NULL,
                    job->status == 0 ? NULL : &job->err);
        if (job->status != 0) {
            log->closing = true;
        }
        break;
    case JOB_READ:
        if (job->read != NULL) {
            give_events(job);
        }
        break;
    case JOB_AT_TIME:
        job->found(job->data, job->status, job->sequence);
        break;
    case JOB_TRIM:
        warn(job, "events could not be removed");
        break;
    case JOB_CLOSE:
        warn(job, "stream could not be removed");
        break;
    }
    bool gone = job->kind == JOB_CLOSE;
    chassis_buf_fini(&job->events);
    free(job);
    if (gone) {
        log_gone(log);
    } else {
        log_release(log);
    }
}

static void engine_open(struct cat_log_engine *base, const struct cat_log_options *options,
                        void (*opened)(void *data, struct cat_log *log,
                                       const struct chassis_error *err),
                        void *data)
{
    struct engine *engine = (struct engine *)base;
    struct remote_log *log = chassis_base_alloc(sizeof *log);
    memset(log, 0, sizeof *log);
    log->log.ops = &log_ops;
    log->engine = engine;
    chassis_list_init(&log->appends);
    engine->n_logs++;
    struct job *job = job_new(JOB_OPEN, engine, log);
    job->opened = opened;
    job->data = data;
    cat_remote_name(options->name, "draft-", job->name);
    job_start(job);
}

static void engine_close(struct cat_log_engine *base, void (*closed)(void *data), void *data)
{
    struct engine *engine = (struct engine *)base;
    engine->closed = closed;
    engine->closed_data = data;
    engine_release(engine);
}

static const struct cat_log_engine_ops engine_ops = {.open = engine_open, .close = engine_close};

int cat_remote_open(const struct cat_backend_ops *ops,
                    const struct cat_engine_plugin_options *options,
                    struct cat_log_engine **ret_engine, struct chassis_error *err)
{
    if (options->version != CAT_ENGINE_PLUGIN_VERSION) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "engine '%s' is of version %d, the service of version %u",
                                 ops->name, CAT_ENGINE_PLUGIN_VERSION, options->version);
    }
    struct engine *engine = chassis_base_alloc(sizeof *engine);
    memset(engine, 0, sizeof *engine);
    engine->engine = (struct cat_log_engine){.ops = &engine_ops, .name = ops->name};
    engine->ops = ops;
    engine->loop = options->loop;
    engine->log = options->log;
    engine->url = chassis_base_strdup(options->url);
    int rc = chassis_os_thread_start("store", &engine->storer);
    if (rc == 0) {
        rc = chassis_os_thread_start("manage", &engine->manager);
        if (rc != 0) {
            chassis_os_thread_stop(engine->storer);
        }
    }
    if (rc != 0) {
        free(engine->url);
        free(engine);
        return chassis_error_code(err, rc, "start the threads of engine '%s'", ops->name);
    }
    *ret_engine = &engine->engine;
    return 0;
}
