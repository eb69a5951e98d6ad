/* Appending. The owner encodes records into parts, each for one segment, and knows their place at
 * once; the writer writes and syncs what has gathered, one job at a time.
 *
 *     append -> part (pending) -> flush at the end of the owner's turn -> job on the writer:
 *     pwrite each part, fdatasync each file, high-water mark -> back on the owner: `done` in order
 *
 * A job in which nothing waits for a sync ends with the write. Its files are synced with those of the
 * next job that syncs, at the latest when the interval has passed: so what is synced is always all
 * that was written, and an append that waits for less can stand in one queue with the others.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "journal/internal.h"
#include "os/os.h"

static size_t payload_max(const struct chassis_journal *j)
{
    size_t max = j->segment_bytes < RECORD_MAX ? (size_t)j->segment_bytes : RECORD_MAX;
    return max - SEGMENT_HEADER_SIZE - RECORD_HEADER_SIZE - 8;
}

/* Room for `len` bytes at the tail: the part they go to. */
static struct part *make_room(struct chassis_journal *j, size_t len)
{
    struct segment *seg = journal_segment(j, j->tail_segment);
    if (j->tail_offset + len > seg->size) {
        seg->end = j->tail_offset;
        j->full_bytes += seg->end;
        uint32_t next = ++j->tail_segment;
        j->tail_offset = SEGMENT_HEADER_SIZE;
        bool there = next - j->segments[0]->number < j->n_segments;
        seg = there ? journal_segment(j, next)
                    : journal_segment_add(j, next, journal_segment_size(j, next));
        CHASSIS_ASSERT(len <= seg->size - SEGMENT_HEADER_SIZE);
    }
    struct part *part = j->newest;
    if (part == NULL || part->segment != seg) {
        part = chassis_base_zalloc(sizeof *part);
        part->segment = seg;
        part->offset = j->tail_offset;
        *j->pending_tail = part;
        j->pending_tail = &part->next;
        j->newest = part;
    }
    return part;
}

uint64_t journal_put(struct chassis_journal *j, struct record_header *h,
                     struct chassis_view payload, struct place *ret_at)
{
    size_t size = record_size(payload.len);
    struct part *part = make_room(j, size);
    h->format = h->kind == RECORD_COPY ? JOURNAL_FORMAT : JOURNAL_FORMAT_OLDEST;
    h->sequence = ++j->last_sequence;
    h->durable = j->synced_sequence;
    record_encode(&part->bytes, h, payload);
    part->last_sequence = h->sequence;
    *ret_at = (struct place){j->tail_segment, j->tail_offset};
    j->tail_offset += (uint32_t)size;
    j->pending_bytes += size;
    j->last_is_marker = h->kind == RECORD_MARKER;
    j->sync_through = h->sequence; /* an append that does not wait for it takes this back */
    return h->sequence;
}

void journal_flush_soon(struct chassis_journal *j)
{
    chassis_defer(j->owner, &j->flush);
}

/* ---- on the writer ---- */

static _Noreturn void write_failed(struct chassis_journal *j, const char *what, uint32_t segment,
                                   int rc)
{
    chassis_log_fatal(j->log, "the journal cannot write", chassis_f_str("step", what),
                      chassis_f_str("directory", j->directory), chassis_f_u64("segment", segment),
                      chassis_f_code(rc));
    CHASSIS_PANIC("journal in '%s': %s segment %x: %s: ending the process, since what the disk "
                  "holds is unknown until it is read again",
                  j->directory, what, segment, chassis_status_text(rc));
}

static void write_parts(struct chassis_journal *j, struct part *parts)
{
    for (struct part *p = parts; p != NULL; p = p->next) {
        int rc = CHASSIS_FAULT("journal.write") ? -EIO
                                                : j->disk->ops->write(p->segment->file, p->offset,
                                                                      p->bytes.data, p->bytes.len);
        if (rc < 0) {
            write_failed(j, "write", p->segment->number, rc);
        }
        chassis_counter_add(j->bytes_written, p->bytes.len);
    }
}

static void sync_files(struct chassis_journal *j, const struct files *files)
{
    uint64_t begin = chassis_os_monotonic_ns();
    for (uint32_t i = 0; i < files->n; i++) {
        struct segment *seg = files->list[i];
        int rc = CHASSIS_FAULT("journal.sync") ? -EIO : j->disk->ops->sync(seg->file);
        if (rc < 0) {
            write_failed(j, "sync", seg->number, rc);
        }
    }
    chassis_histogram_observe(j->sync_seconds, (double)(chassis_os_monotonic_ns() - begin) / 1e9);
    chassis_counter_add(j->batches, 1);
}

/* The owner's turn at the end of a job: here if that is short and the owner idle. The journal may be
 * gone afterwards. */
static void job_done(struct chassis_journal *j)
{
    (j->write.alone ? chassis_dispatch : chassis_post)(j->owner, &j->write.done);
}

/* Writing and syncing are two tasks, so that a simulation can crash between them. */
static void write_run(struct chassis_task *task)
{
    struct write_job *job = chassis_container_of(task, struct write_job, task);
    struct chassis_journal *j = chassis_container_of(job, struct chassis_journal, write);
    write_parts(j, job->parts);
    if (job->synced) {
        chassis_post(j->writer, &job->sync);
    } else {
        job_done(j);
    }
}

static void sync_run(struct chassis_task *task)
{
    struct write_job *job = chassis_container_of(task, struct write_job, sync);
    struct chassis_journal *j = chassis_container_of(job, struct chassis_journal, write);
    uint8_t bytes[HIGH_WATER_SIZE];
    sync_files(j, &job->files);
    high_water_encode(bytes, &job->high_water);
    int rc = j->disk->ops->write(j->high_water_file, 0, bytes, sizeof bytes);
    if (rc == 0 && job->sync_high_water) {
        rc = j->disk->ops->sync(j->high_water_file);
    }
    if (rc < 0) {
        write_failed(j, "write the high-water mark for", (uint32_t)job->high_water.segment, rc);
    }
    job_done(j);
}

/* ---- on the owner ---- */

static void free_parts(struct part *part)
{
    while (part != NULL) {
        struct part *next = part->next;
        chassis_buf_fini(&part->bytes);
        free(part);
        part = next;
    }
}

static void files_add(struct files *files, struct segment *seg)
{
    if (files->n != 0 && files->list[files->n - 1] == seg) {
        return; /* what is written only ever moves on */
    }
    if (files->n == files->cap) {
        files->cap = files->cap != 0 ? files->cap * 2 : 4;
        files->list = chassis_base_realloc(files->list, files->cap * sizeof(struct segment *));
    }
    seg->refs++;
    files->list[files->n++] = seg;
}

static void files_clear(struct chassis_journal *j, struct files *files)
{
    while (files->n != 0) {
        journal_segment_unref(j->disk, files->list[--files->n]);
    }
}

void journal_files_free(struct chassis_journal *j, struct files *files)
{
    files_clear(j, files);
    free(files->list);
}

/* Move the parts whose segments are there from `pending` to the job. */
static bool take_ready(struct chassis_journal *j)
{
    struct write_job *job = &j->write;
    struct part **end = &job->parts;
    *end = NULL;
    while (j->pending != NULL && j->pending->segment->file != NULL) {
        struct part *part = j->pending;
        j->pending = part->next;
        part->next = NULL;
        *end = part;
        end = &part->next;
        job->high_water.segment = part->segment->number;
        job->high_water.offset = part->offset + part->bytes.len;
        job->high_water.sequence = part->last_sequence;
        files_add(&j->unsynced, part->segment);
        if (j->newest == part) {
            j->newest = NULL;
        }
    }
    if (j->pending == NULL) {
        j->pending_tail = &j->pending;
    }
    return job->parts != NULL;
}

static void put_marker(struct chassis_journal *j)
{
    if (!j->last_is_marker && !j->closing && !j->no_space) {
        struct record_header h = {.kind = RECORD_MARKER};
        struct place at;
        journal_put(j, &h, chassis_view(NULL, 0), &at);
        journal_flush_soon(j);
    }
}

static void on_idle(struct chassis_timer *timer)
{
    struct chassis_journal *j = chassis_container_of(timer, struct chassis_journal, idle);
    bool unsynced = j->synced_sequence < j->written_sequence; /* the interval sees to that */
    if (j->write.busy || j->pending != NULL || unsynced) {
        return;
    }
    put_marker(j);
}

static void on_interval(struct chassis_timer *timer)
{
    struct chassis_journal *j = chassis_container_of(timer, struct chassis_journal, sync);
    j->sync_due = true;
    put_marker(j);
    journal_flush_soon(j);
}

/* Accepted, but the disk is full to the last byte: never acknowledged, so it may be lost. */
static void give_up_pending(struct chassis_journal *j)
{
    chassis_log_error(j->log, "disk full while closing: unacknowledged records are dropped",
                      chassis_f_u64("bytes", j->pending_bytes));
    free_parts(j->pending);
    j->pending = j->newest = NULL;
    j->pending_tail = &j->pending;
}

static bool close_if_idle(struct chassis_journal *j)
{
    if (!j->closing || j->write.busy || j->prepare.busy || j->copy.busy) {
        return false;
    }
    if (j->pending != NULL && !j->prepare.failed) {
        return false;
    }
    if (j->pending != NULL) {
        give_up_pending(j);
    }
    chassis_cancel(j->owner, &j->idle);
    chassis_cancel(j->owner, &j->space);
    chassis_cancel(j->owner, &j->sync);
    void (*closed)(void *) = j->closed;
    void *data = j->closed_data;
    journal_making_drop(j->disk, j->directory, &j->prepare.making);
    journal_free(j);
    closed(data);
    return true;
}

/* Tell those that only waited for the end of the turn. */
static void complete_accepted(struct chassis_journal *j)
{
    struct chassis_journal_append *a = j->accepted;
    j->accepted = NULL;
    j->accepted_tail = &j->accepted;
    while (a != NULL) {
        struct chassis_journal_append *next = a->next;
        a->next = NULL;
        a->done(a);
        a = next;
    }
}

static void start_job(struct chassis_journal *j)
{
    struct write_job *job = &j->write;
    bool any = take_ready(j);
    bool free_some = j->free_to > j->durable_first && j->synced_sequence >= j->free_after &&
                     (j->pending == NULL || j->pending->segment->number >= j->free_to);
    bool sync = j->sync_through > j->synced_sequence || j->sync_due || j->closing;
    job->synced = free_some || (sync && job->high_water.sequence > j->synced_sequence);
    if (!any && !job->synced) {
        return;
    }
    job->sync_high_water = free_some;
    if (free_some) {
        job->high_water.first_segment = j->free_to;
    }
    if (job->synced) {
        struct files empty = job->files;
        job->files = j->unsynced;
        j->unsynced = empty;
        j->sync_due = false;
        chassis_cancel(j->owner, &j->sync);
    }
    job->alone = j->pending_bytes <= ALONE_BYTES && !j->closing;
    job->busy = true;
    (job->alone ? chassis_dispatch : chassis_post)(j->writer, &job->task);
}

static void flush(struct chassis_task *task)
{
    struct chassis_journal *j = chassis_container_of(task, struct chassis_journal, flush);
    journal_prepare(j);
    journal_copy(j);
    if (!j->write.busy) {
        start_job(j);
    }
    complete_accepted(j);
    close_if_idle(j);
}

static void complete(struct chassis_journal *j)
{
    while (j->waiting != NULL && j->waiting->batch <= j->written_sequence) {
        struct chassis_journal_append *a = j->waiting;
        j->waiting = a->next;
        if (j->waiting == NULL) {
            j->waiting_tail = &j->waiting;
        }
        a->next = NULL;
        struct stream *s = journal_stream_find(j, a->stream);
        if (s != NULL) { /* not forgotten meanwhile */
            journal_stream_written(j, s, a->last_index, a->batch);
        }
        a->done(a);
    }
}

static void write_done(struct chassis_task *task)
{
    struct write_job *job = chassis_container_of(task, struct write_job, done);
    struct chassis_journal *j = chassis_container_of(job, struct chassis_journal, write);
    for (struct part *p = job->parts; p != NULL; p = p->next) {
        j->pending_bytes -= p->bytes.len;
    }
    free_parts(job->parts);
    job->parts = NULL;
    job->busy = false;
    j->written_sequence = job->high_water.sequence;
    if (job->synced) {
        j->synced_sequence = j->written_sequence;
        files_clear(j, &job->files);
        journal_streams_synced(j);
    } else if (j->sync.due_ns == 0) {
        chassis_post_after(j->owner, &j->sync, j->sync_interval_ns);
    }
    if (job->sync_high_water) {
        j->durable_first = (uint32_t)job->high_water.first_segment;
    }
    journal_cache_evict(j);
    journal_flush_soon(j); /* before `done` is told: what it appends goes with the next batch */
    complete(j);
    if (j->pending == NULL && !j->closing && !j->last_is_marker) {
        chassis_post_after(j->owner, &j->idle, IDLE_NS);
    }
}

void journal_init_tasks(struct chassis_journal *j)
{
    j->write.task.run = write_run;
    j->write.sync.run = sync_run;
    j->write.done.run = write_done;
    j->flush.run = flush;
    j->idle.run = on_idle;
    j->sync.run = on_interval;
    j->pending_tail = &j->pending;
    j->waiting_tail = &j->waiting;
    j->accepted_tail = &j->accepted;
    journal_prepare_init(j);
    journal_copy_init(j);
}

/* ---- public ---- */

static int check_append(struct chassis_journal *j, const struct stream *s,
                        const struct chassis_journal_append *a, struct chassis_error *err)
{
    uint64_t first = s != NULL ? s->first : 1, last = s != NULL ? s->last : 0;
    uint64_t index = a->records[0].index;
    if (index == 0 || index > last + 1 || index < first || index + a->n_records > INDEX_VALUE_MAX) {
        return chassis_error_set(err, CHASSIS_OUT_OF_RANGE,
                                 "append to stream %u: index %llu does not follow %llu … %llu",
                                 a->stream, (unsigned long long)index, (unsigned long long)first,
                                 (unsigned long long)last);
    }
    size_t bytes = 0;
    for (size_t i = 0; i < a->n_records; i++) {
        CHASSIS_ASSERT(a->records[i].index == index + i);
        if (a->records[i].payload.len > payload_max(j)) {
            return chassis_error_set(err, CHASSIS_TOO_LARGE,
                                     "append to stream %u: a record of %zu bytes, at most %zu fit",
                                     a->stream, a->records[i].payload.len, payload_max(j));
        }
        bytes += record_size(a->records[i].payload.len);
    }
    if (j->no_space && !a->urgent) {
        journal_prepare(j); /* look again, at most so often */
        return chassis_error_set(err, CHASSIS_NO_SPACE,
                                 "append to stream %u: less than %llu bytes are free on the disk "
                                 "of '%s': free some, appends then go on by themselves",
                                 a->stream, (unsigned long long)j->reserve_bytes, j->directory);
    }
    if (j->pending_bytes != 0 && j->pending_bytes + bytes > j->pending_bytes_max) {
        return chassis_error_set(err, CHASSIS_BUSY,
                                 "append to stream %u: %zu bytes wait to be written, at most %zu "
                                 "may",
                                 a->stream, j->pending_bytes, j->pending_bytes_max);
    }
    return 0;
}

static void forget(struct chassis_journal_append *a)
{
    free(a);
}

/* An append that waits for nothing leaves a note in its place: the stream has to know what of it is
 * written. */
static void wait(struct chassis_journal *j, struct chassis_journal_append *a)
{
    a->next = NULL;
    if (a->durability == CHASSIS_JOURNAL_NONE) {
        *j->accepted_tail = a;
        j->accepted_tail = &a->next;
        struct chassis_journal_append *note = chassis_base_alloc(sizeof *note);
        *note = *a;
        note->done = forget;
        a = note;
    }
    *j->waiting_tail = a;
    j->waiting_tail = &a->next;
}

void journal_waiting_free(struct chassis_journal *j)
{
    while (j->waiting != NULL) {
        struct chassis_journal_append *a = j->waiting;
        j->waiting = a->next;
        if (a->done == forget) {
            free(a);
        }
    }
}

int chassis_journal_append(struct chassis_journal *j, struct chassis_journal_append *a,
                           struct chassis_error *err)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner) && a->n_records != 0 && !j->reading);
    if (j->draining) {
        return chassis_error_set(err, CHASSIS_SHUTTING_DOWN, "the journal is closing");
    }
    int rc = check_append(j, journal_stream_find(j, a->stream), a, err);
    if (rc < 0) {
        return rc;
    }
    j->urgent |= a->urgent;
    struct stream *s = journal_stream_make(j, a->stream);
    uint64_t sync_through = j->sync_through;
    for (size_t i = 0; i < a->n_records; i++) {
        const struct chassis_journal_record *r = &a->records[i];
        struct record_header h = {
            .kind = RECORD_DATA,
            .type = r->type,
            .stream = a->stream,
            .index = r->index,
            .term = r->term,
            .time_ns = r->time_ns,
            .length = (uint32_t)r->payload.len,
        };
        struct place at;
        a->batch = journal_put(j, &h, r->payload, &at);
        journal_stream_add(j, s, &h, at, &r->payload);
    }
    a->last_index = s->last;
    if (a->durability != CHASSIS_JOURNAL_SYNC) {
        j->sync_through = sync_through;
    }
    wait(j, a);
    journal_flush_soon(j);
    return 0;
}

void chassis_journal_trim(struct chassis_journal *j, uint32_t stream, uint64_t through)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner) && !j->reading);
    struct stream *s = journal_stream_find(j, stream);
    if (s == NULL || through < s->first || j->closing) {
        return;
    }
    journal_stream_trim(j, s, through < s->last ? through : s->last);
    journal_collect(j);
}

void chassis_journal_reset(struct chassis_journal *j, uint32_t stream, uint64_t next_index,
                           uint64_t last_term)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner) && !j->reading && next_index != 0 &&
                   next_index <= INDEX_VALUE_MAX);
    if (j->closing) {
        return;
    }
    struct stream *s = journal_stream_make(j, stream);
    struct record_header h = {
        .kind = RECORD_RESET, .stream = stream, .index = next_index - 1, .term = last_term};
    struct place at;
    journal_put(j, &h, chassis_view(NULL, 0), &at);
    journal_stream_reset(j, s, &h, at.segment);
    journal_scans_cut(j, stream, 0, next_index);
    journal_collect(j);
    journal_flush_soon(j);
}

void chassis_journal_forget(struct chassis_journal *j, uint32_t stream)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner) && !j->reading);
    struct stream *s = journal_stream_find(j, stream);
    if (s == NULL || j->closing) {
        return;
    }
    struct record_header h = {.kind = RECORD_RESET, .type = 1, .stream = stream};
    struct place at;
    j->free_after = journal_put(j, &h, chassis_view(NULL, 0), &at);
    journal_stream_forget(j, s);
    journal_scans_cut(j, stream, 0, 1);
    journal_collect(j);
    journal_flush_soon(j);
}

void chassis_journal_drain(struct chassis_journal *j)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner));
    j->draining = true;
    journal_flush_soon(j);
}

void chassis_journal_close(struct chassis_journal *j, void (*closed)(void *data), void *data)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner) && !j->closing);
    j->closing = j->draining = true;
    j->closed = closed;
    j->closed_data = data;
    struct record_header h = {.kind = RECORD_MARKER, .type = 1};
    struct place at;
    journal_put(j, &h, chassis_view(NULL, 0), &at);
    journal_flush_soon(j);
}

void chassis_journal_abandon(struct chassis_journal *j)
{
    if (j != NULL) {
        free_parts(j->pending);
        free_parts(j->write.parts);
        j->disk->ops->close(j->prepare.file);
        j->disk->ops->close(j->prepare.making.file);
        journal_free(j);
    }
}
