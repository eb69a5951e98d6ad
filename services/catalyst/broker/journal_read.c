/* Reads of the built-in engine.
 *
 *     loop: what is in memory is copied into a span and given at once
 *           else wait for one of CAT_READS_MAX places → worker: scan into a span → loop: give
 *
 * A read that stands still keeps its scan, so that reading on does not search, and, half way through
 * a span, the span.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/fault.h"
#include "catalyst/broker/journal_log.h"

enum { HALFWAY_MAX = 64, SPANS_KEPT_MAX = 8, SPAN_KEPT_BYTES = 512 << 10 };

enum job_state { JOB_IDLE, JOB_WAITING, JOB_RUNNING, JOB_GIVING };

struct job {
    struct chassis_task task; /* on the worker, and back on the loop */
    struct chassis_list link; /* waiting, or half way */
    struct chassis_list all;
    struct journal_log *log;
    struct journal_engine *engine;
    struct cat_read *read; /* NULL once cancelled */
    struct chassis_journal_scan *scan;
    struct chassis_journal_scratch *scratch;
    struct span *span;
    enum job_state state;
    size_t bytes_max; /* of the read that runs: the reader's memory is the loop's */
    uint32_t events_max;
    uint64_t readable;
    int rc;
    struct chassis_error err;
};

/* ---- spans ---- */

static struct span *span_take(struct journal_engine *engine)
{
    struct span *span = engine->free_spans;
    if (span != NULL) {
        engine->free_spans = span->next;
        engine->n_free_spans--;
        return span;
    }
    return chassis_base_zalloc(sizeof *span);
}

static void span_free(struct span *span)
{
    chassis_buf_fini(&span->bytes);
    free(span->events);
    free(span);
}

static void span_give_back(struct journal_engine *engine, struct span *span)
{
    if (engine->n_free_spans >= SPANS_KEPT_MAX || span->bytes.cap > SPAN_KEPT_BYTES) {
        span_free(span);
        return;
    }
    span->n = span->at = 0;
    chassis_buf_clear(&span->bytes);
    span->next = engine->free_spans;
    engine->free_spans = span;
    engine->n_free_spans++;
}

static void span_add(struct span *span, const struct chassis_journal_record *record)
{
    if (span->n == span->cap) {
        span->cap = span->cap != 0 ? span->cap * 2 : 64;
        span->events = chassis_base_realloc(span->events, span->cap * sizeof *span->events);
    }
    span->events[span->n++] = (struct span_event){
        .sequence = record->index,
        .time_ns = record->time_ns,
        .offset = span->bytes.len,
        .len = (uint32_t)record->payload.len,
        .marks = record->type,
    };
    chassis_buf_append_view(&span->bytes, record->payload);
}

/* ---- jobs ---- */

static void drop_span(struct job *job)
{
    if (job->span != NULL) {
        span_give_back(job->engine, job->span);
        job->span = NULL;
    }
    if (!chassis_list_empty(&job->link) && job->state == JOB_IDLE) {
        chassis_list_remove(&job->link);
        job->engine->n_halfway--;
    }
}

static void job_free(struct job *job)
{
    drop_span(job);
    chassis_list_remove(&job->link);
    chassis_list_remove(&job->all);
    chassis_journal_scan_close(job->scan);
    job->engine->n_jobs--;
    free(job);
}

static void keep_halfway(struct job *job)
{
    struct journal_engine *engine = job->engine;
    chassis_list_append(&engine->halfway, &job->link);
    if (++engine->n_halfway > HALFWAY_MAX) {
        drop_span(chassis_list_entry(engine->halfway.next, struct job, link));
    }
}

static void finish(struct job *job, int status, uint64_t next, const struct chassis_error *err)
{
    struct cat_read *read = job->read;
    struct chassis_error copy = {0}; /* the job's own goes with it when it is cancelled in `done` */
    if (err != NULL) {
        copy = *err;
    }
    job->state = JOB_IDLE;
    if (job->span != NULL && status == 0 && job->span->at < job->span->n) {
        keep_halfway(job);
    } else {
        drop_span(job);
    }
    read->done(read, status, next, err != NULL ? &copy : NULL);
}

/* Hand over what the span holds. */
static void give(struct job *job)
{
    struct cat_read *read = job->read;
    struct span *span = job->span;
    uint64_t next = read->from;
    size_t left = read->bytes_max;
    job->state = JOB_GIVING;
    for (uint32_t n = 0; span->at < span->n && n < read->events_max; n++) {
        const struct span_event *e = &span->events[span->at];
        if (n != 0 && e->len > left) {
            break;
        }
        struct cat_log_event event = {
            .sequence = e->sequence,
            .time_ns = e->time_ns,
            .bytes = chassis_view(span->bytes.data + e->offset, e->len),
            .marks = e->marks,
        };
        int stop = read->event(read, &event);
        if (job->read == NULL) { /* cancelled in there */
            struct journal_engine *engine = job->engine;
            job_free(job);
            cat_journal_engine_end_if_idle(engine);
            return;
        }
        if (stop < 0) {
            next = e->sequence;
            break;
        }
        left -= e->len < left ? e->len : left;
        span->at++;
        next = e->sequence + 1;
        if (stop != 0) {
            break;
        }
    }
    finish(job, 0, next, NULL);
}

/* ---- on a worker ---- */

static int take(const struct chassis_journal_record *record, void *data)
{
    struct job *job = data;
    span_add(job->span, record);
    return job->span->n >= job->events_max;
}

static void job_done(struct chassis_task *task);

static void job_run(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    job->rc = CHASSIS_FAULT("catalyst.log.read")
                  ? chassis_error_set(&job->err, CHASSIS_CORRUPT, "fault point")
                  : chassis_journal_scan_read(job->scan, job->scratch, job->bytes_max, take, job,
                                              &job->err);
    job->task.run = job_done;
    chassis_post(job->engine->loop, &job->task);
}

/* ---- on the loop ---- */

static void start_waiting(struct journal_engine *engine)
{
    while (engine->n_running < CAT_READS_MAX && !chassis_list_empty(&engine->waiting)) {
        struct job *job = chassis_list_entry(engine->waiting.next, struct job, link);
        chassis_list_remove(&job->link);
        job->scratch = engine->scratches[engine->n_running++];
        job->span = span_take(engine);
        job->state = JOB_RUNNING;
        job->task.run = job_run;
        chassis_post(engine->workers, &job->task);
    }
}

static void job_done(struct chassis_task *task)
{
    struct job *job = chassis_container_of(task, struct job, task);
    struct journal_engine *engine = job->engine;
    engine->scratches[--engine->n_running] = job->scratch;
    job->scratch = NULL;
    job->state = JOB_IDLE;
    start_waiting(engine);
    if (job->read == NULL) {
        job_free(job);
        cat_journal_engine_end_if_idle(engine);
    } else if (job->rc < 0 && job->span->n == 0) {
        finish(job, job->rc, job->read->from, &job->err);
    } else {
        give(job); /* an error behind good events comes up again with the next read */
    }
}

static int take_readable(const struct chassis_journal_record *record, void *data)
{
    struct job *job = data;
    return record->index > job->readable || take(record, data);
}

/* From the journal's memory, at once. */
static void read_memory(struct job *job, uint64_t from)
{
    struct journal_engine *engine = job->engine;
    job->span = span_take(engine);
    int rc = chassis_journal_read(engine->journal, job->log->number, from, job->bytes_max,
                                  take_readable, job, &job->err);
    if (rc < 0) {
        finish(job, rc, from, &job->err);
    } else {
        give(job);
    }
}

/* A scan that stands at `from`. */
static int ready_scan(struct job *job, uint64_t from)
{
    struct journal_engine *engine = job->engine;
    int rc = 0;
    if (job->scan != NULL && chassis_journal_scan_next(job->scan) == from) {
        if (chassis_journal_scan_end(job->scan) != from) {
            return 0;
        }
        rc = chassis_journal_scan_refresh(job->scan, &job->err);
        if (rc == 0) {
            return 0;
        }
    }
    chassis_journal_scan_close(job->scan);
    job->scan = NULL;
    return chassis_journal_scan_open(engine->journal, job->log->number, from, &job->scan,
                                     &job->err);
}

static struct job *job_of(struct journal_log *log, struct cat_read *read)
{
    struct job *job = read->engine;
    if (job == NULL) {
        job = chassis_base_zalloc(sizeof *job);
        job->engine = log->engine;
        job->log = log;
        chassis_list_init(&job->link);
        chassis_list_append(&log->engine->jobs, &job->all);
        log->engine->n_jobs++;
        read->engine = job;
    }
    CHASSIS_ASSERT(job->state == JOB_IDLE);
    return job;
}

void cat_journal_log_read(struct cat_log *base, struct cat_read *read)
{
    struct journal_log *log = chassis_container_of(base, struct journal_log, base);
    struct journal_engine *engine = log->engine;
    struct job *job = job_of(log, read);
    struct chassis_journal_stream s = chassis_journal_stream(engine->journal, log->number);
    uint64_t from = read->from;
    job->read = read;
    job->bytes_max = read->bytes_max;
    job->events_max = read->events_max;
    job->readable = cat_journal_readable(log, &s);
    if (job->span != NULL && job->span->events[job->span->at].sequence == from &&
        from >= s.first_index) {
        chassis_list_remove(&job->link);
        engine->n_halfway--;
        give(job);
        return;
    }
    drop_span(job);
    if (from < s.first_index) {
        chassis_error_set(&job->err, CHASSIS_NOT_FOUND, "event %llu is not kept any more",
                          (unsigned long long)from);
        finish(job, CHASSIS_NOT_FOUND, s.first_index, &job->err);
    } else if (from > job->readable) {
        finish(job, 0, from, NULL);
    } else if (chassis_journal_cached(engine->journal, log->number, from)) {
        read_memory(job, from);
    } else {
        int rc = ready_scan(job, from);
        if (rc < 0) {
            finish(job, rc, rc == CHASSIS_NOT_FOUND ? s.first_index : from, &job->err);
            return;
        }
        job->state = JOB_WAITING;
        chassis_list_append(&engine->waiting, &job->link);
        start_waiting(engine);
    }
}

void cat_journal_log_cancel(struct cat_log *base, struct cat_read *read)
{
    struct job *job = read->engine;
    read->engine = NULL;
    if (job == NULL) {
        return;
    }
    struct journal_engine *engine = job->engine;
    job->read = NULL;
    switch (job->state) {
    case JOB_IDLE:
    case JOB_WAITING:
        job_free(job);
        cat_journal_engine_end_if_idle(engine);
        break;
    case JOB_RUNNING: /* freed when the worker is done with it */
    case JOB_GIVING:  /* freed by give() */
        break;
    }
}

void cat_journal_read_init(struct journal_engine *engine)
{
    chassis_list_init(&engine->waiting);
    chassis_list_init(&engine->halfway);
    chassis_list_init(&engine->jobs);
    for (unsigned i = 0; i < CAT_READS_MAX; i++) {
        engine->scratches[i] = chassis_base_zalloc(sizeof *engine->scratches[i]);
    }
}

void cat_journal_read_fini(struct journal_engine *engine)
{
    while (!chassis_list_empty(&engine->jobs)) { /* after a simulated crash */
        struct job *job = chassis_list_entry(engine->jobs.next, struct job, all);
        if (job->scratch != NULL) {
            engine->scratches[--engine->n_running] = job->scratch;
        }
        job->state = job->state == JOB_RUNNING ? JOB_GIVING : job->state;
        job_free(job);
    }
    while (engine->free_spans != NULL) {
        struct span *next = engine->free_spans->next;
        span_free(engine->free_spans);
        engine->free_spans = next;
    }
    for (unsigned i = 0; i < CAT_READS_MAX; i++) {
        chassis_journal_scratch_fini(engine->scratches[i]);
        free(engine->scratches[i]);
    }
}
