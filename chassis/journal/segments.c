/* Segments: made ahead of need by the preparer, freed when no stream needs them.
 *
 *     made as "next.tmp", zero-filled and synced step by step -> renamed -> directory synced -> written
 *       -> no stream needs it and none before it -> high-water mark with the new first segment
 *          synced -> removed
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "journal/internal.h"

uint32_t journal_segment_size(const struct chassis_journal *j, uint32_t number)
{
    uint64_t size = SEGMENT_FIRST;
    for (uint32_t i = 1; i < number && size < j->segment_bytes; i++) {
        size *= 2;
    }
    return (uint32_t)(size < j->segment_bytes ? size : j->segment_bytes);
}

struct segment *journal_segment(struct chassis_journal *j, uint32_t number)
{
    uint32_t i = number - j->segments[0]->number;
    CHASSIS_ASSERT(i < j->n_segments);
    return j->segments[i];
}

struct segment *journal_segment_add(struct chassis_journal *j, uint32_t number, uint32_t size)
{
    struct segment *seg = chassis_base_zalloc(sizeof *seg);
    seg->number = number;
    seg->size = size;
    seg->refs = 1;
    chassis_list_init(&seg->empty);
    if (j->n_segments == j->cap_segments) {
        j->cap_segments = j->cap_segments != 0 ? j->cap_segments * 2 : 8;
        j->segments = chassis_base_realloc(j->segments, j->cap_segments * sizeof(struct segment *));
    }
    j->segments[j->n_segments++] = seg;
    return seg;
}

void journal_segment_unref(struct chassis_disk *disk, struct segment *seg)
{
    if (--seg->refs == 0) {
        disk->ops->close(seg->file);
        free(seg);
    }
}

/* ---- making one ---- */

void journal_making_drop(struct chassis_disk *disk, const char *directory,
                         struct segment_making *making)
{
    char tmp[JOURNAL_PATH_MAX];
    if (making->file != NULL) {
        journal_path(tmp, directory, "next.tmp");
        disk->ops->close(making->file);
        disk->ops->unlink(disk, tmp);
    }
    *making = (struct segment_making){0};
}

static int making_begin(struct chassis_disk *disk, const char *directory,
                        struct segment_making *making)
{
    char tmp[JOURNAL_PATH_MAX];
    journal_path(tmp, directory, "next.tmp");
    int rc =
        CHASSIS_FAULT("journal.segment.create")
            ? -EIO
            : disk->ops->open(disk, tmp, CHASSIS_DISK_WRITE | CHASSIS_DISK_CREATE, &making->file);
    return rc < 0 ? rc : disk->ops->truncate(making->file, 0);
}

/* Zeros up to `to`. Each piece is synced before the next, for a large sync would keep the one that
 * callers wait for from the disk; unless they wait for this. */
static int making_fill(struct chassis_disk *disk, struct segment_making *making, uint32_t to,
                       bool hurry)
{
    uint8_t *bytes = chassis_base_zalloc(SEGMENT_STEP);
    int rc = 0;
    while (rc == 0 && making->filled < to) {
        uint32_t left = making->size - making->filled;
        uint32_t len = left < SEGMENT_STEP ? left : SEGMENT_STEP;
        if (making->filled == 0) {
            segment_header_encode(bytes, making->number, making->size);
        }
        rc = disk->ops->write(making->file, making->filled, bytes, len);
        memset(bytes, 0, SEGMENT_HEADER_SIZE);
        if (rc == 0 && (!hurry || making->filled + len >= to)) {
            rc = disk->ops->sync(making->file);
        }
        making->filled += rc == 0 ? len : 0;
    }
    free(bytes);
    return rc;
}

static int making_finish(struct chassis_disk *disk, const char *directory,
                         struct segment_making *making, struct chassis_file **ret_file)
{
    char tmp[JOURNAL_PATH_MAX], path[JOURNAL_PATH_MAX];
    journal_path(tmp, directory, "next.tmp");
    journal_segment_path(path, directory, making->number);
    int rc = disk->ops->rename(disk, tmp, path);
    rc = rc != 0 ? rc : disk->ops->dir_sync(disk, directory);
    if (rc == 0) {
        *ret_file = making->file;
        *making = (struct segment_making){0};
    }
    return rc;
}

/* A step: up to `to` bytes; the file once it is whole. After a failure there is nothing left of it. */
static int making_step(struct chassis_disk *disk, const char *directory,
                       struct segment_making *making, uint32_t to, bool hurry,
                       struct chassis_file **ret_file)
{
    int rc = making->file == NULL ? making_begin(disk, directory, making) : 0;
    rc = rc != 0 ? rc : making_fill(disk, making, to, hurry);
    if (rc == 0 && making->filled == making->size) {
        rc = making_finish(disk, directory, making, ret_file);
    }
    if (rc != 0) {
        journal_making_drop(disk, directory, making);
    }
    return rc;
}

int journal_segment_create(struct chassis_disk *disk, const char *directory, uint32_t number,
                           uint32_t size, struct chassis_file **ret_file)
{
    struct segment_making making = {.number = number, .size = size};
    return making_step(disk, directory, &making, size, true, ret_file);
}

/* ---- on the preparer ---- */

static void prepare_run(struct chassis_task *task)
{
    struct prepare_job *job = chassis_container_of(task, struct prepare_job, task);
    struct chassis_journal *j = chassis_container_of(job, struct chassis_journal, prepare);
    char path[JOURNAL_PATH_MAX];
    for (uint32_t n = job->unlink_from; n < job->unlink_to; n++) {
        journal_segment_path(path, j->directory, n);
        j->disk->ops->unlink(j->disk, path); /* left over, it is skipped and removed at open */
    }
    if (job->unlink_from != job->unlink_to) {
        j->disk->ops->dir_sync(j->disk, j->directory); /* only now is the space free for sure */
    }
    job->rc = j->disk->ops->space(j->disk, j->directory, &job->free_bytes);
    struct segment_making *m = &job->making;
    if (job->rc == 0 && job->to != 0) {
        job->rc = job->free_bytes < m->size - m->filled + job->reserve_bytes
                      ? CHASSIS_NO_SPACE
                      : making_step(j->disk, j->directory, m, job->to, job->hurry, &job->file);
    }
    chassis_post(j->owner, &job->done);
}

/* ---- on the owner ---- */

static void on_space_timer(struct chassis_timer *timer)
{
    struct chassis_journal *j = chassis_container_of(timer, struct chassis_journal, space);
    j->space_checked_ns = 0;
    journal_prepare(j);
}

static void note_space(struct chassis_journal *j, bool no_space, uint64_t free_bytes)
{
    if (no_space != j->no_space) {
        j->no_space = no_space;
        if (no_space) {
            chassis_log_warn(j->log, "disk nearly full, refusing appends",
                             chassis_f_str("directory", j->directory),
                             chassis_f_u64("free_bytes", free_bytes),
                             chassis_f_u64("reserve_bytes", j->reserve_bytes));
        } else {
            chassis_log_info(j->log, "disk has room again, accepting appends",
                             chassis_f_u64("free_bytes", free_bytes));
        }
    }
    if (no_space && !j->closing) {
        chassis_post_after(j->owner, &j->space, SPACE_RETRY_NS);
    }
}

static void prepare_done(struct chassis_task *task)
{
    struct prepare_job *job = chassis_container_of(task, struct prepare_job, done);
    struct chassis_journal *j = chassis_container_of(job, struct chassis_journal, prepare);
    int rc = job->rc;
    job->busy = false;
    j->space_checked_ns = chassis_now_ns(j->owner);
    if (rc == -ENOSPC || rc == -EDQUOT) {
        rc = CHASSIS_NO_SPACE;
    }
    if (rc < 0 && rc != CHASSIS_NO_SPACE) {
        chassis_log_fatal(j->log, "cannot prepare a journal segment", chassis_f_code(rc),
                          chassis_f_str("directory", j->directory));
        CHASSIS_PANIC("prepare segment %x in '%s': %s", job->number, j->directory,
                      chassis_status_text(rc));
    }
    if (job->file != NULL) {
        journal_segment(j, job->number)->file = job->file;
        job->file = NULL;
    }
    job->failed = j->closing && job->to != 0 && rc == CHASSIS_NO_SPACE;
    note_space(j, rc == CHASSIS_NO_SPACE || job->free_bytes < j->reserve_bytes, job->free_bytes);
    if (j->pending != NULL || j->closing) {
        journal_flush_soon(j);
    }
    if (rc == 0) {
        journal_prepare(j);
    }
}

void journal_prepare_init(struct chassis_journal *j)
{
    j->prepare.task.run = prepare_run;
    j->prepare.done.run = prepare_done;
    j->space.run = on_space_timer;
    j->durable_first = j->free_to = j->segments[0]->number;
}

/* The first segment without a file, up to the number that should be there; NULL if all are. */
static struct segment *unprepared(struct chassis_journal *j)
{
    uint32_t through = j->tail_segment + (j->draining ? 0 : SEGMENTS_AHEAD);
    for (uint32_t n = j->tail_segment;; n++) {
        if (n - j->segments[0]->number == j->n_segments) {
            journal_segment_add(j, n, journal_segment_size(j, n));
        }
        if (journal_segment(j, n)->file == NULL) {
            break;
        }
        if (n == through) {
            break;
        }
    }
    for (uint32_t i = 0; i < j->n_segments; i++) { /* a large backlog passes several */
        if (j->segments[i]->file == NULL && j->segments[i]->number <= through) {
            return j->segments[i];
        }
    }
    return NULL;
}

/* Drop the segments that are free for good and say which files to remove. */
static void drop_free(struct chassis_journal *j, struct prepare_job *job)
{
    uint32_t n = 0;
    job->unlink_from = j->segments[0]->number;
    while (j->segments[n]->number < j->durable_first) {
        struct segment *seg = j->segments[n++];
        CHASSIS_ASSERT(seg->n_live == 0 && chassis_list_empty(&seg->empty));
        journal_segment_unref(j->disk, seg);
    }
    job->unlink_to = j->durable_first;
    j->n_segments -= n;
    memmove(j->segments, j->segments + n, j->n_segments * sizeof(struct segment *));
}

/* How much of the next segment should be there: it grows one and a half times as fast as the one that is
 * written, so that its zeros are spread over time and a node without load writes none. */
static uint32_t making_goal(const struct chassis_journal *j, const struct segment *seg)
{
    if (seg->number <= j->tail_segment) {
        return seg->size; /* records wait for it */
    }
    uint64_t tail = journal_segment_size(j, j->tail_segment);
    uint64_t goal = (uint64_t)seg->size * j->tail_offset * 3 / (tail * 2);
    return goal < seg->size ? (uint32_t)(goal / SEGMENT_STEP * SEGMENT_STEP) : seg->size;
}

/* What to do for the segment: 0 = nothing now. */
static uint32_t making_next(struct chassis_journal *j, const struct segment *seg)
{
    struct segment_making *m = &j->prepare.making;
    uint32_t goal = making_goal(j, seg);
    CHASSIS_ASSERT(m->file == NULL || m->number == seg->number);
    if (m->file == NULL) {
        *m = (struct segment_making){.number = seg->number, .size = seg->size};
    }
    return goal > m->filled ? goal : 0;
}

void journal_prepare(struct chassis_journal *j)
{
    struct prepare_job *job = &j->prepare;
    if (job->busy) {
        return;
    }
    bool check_space = !j->closing && chassis_now_ns(j->owner) - j->space_checked_ns >
                                          (j->no_space ? SPACE_RETRY_NS : SPACE_CHECK_NS);
    bool unlink = j->segments[0]->number < j->durable_first;
    bool wait = j->closing ? job->failed : j->no_space && !check_space && !j->urgent;
    struct segment *seg = wait ? NULL : unprepared(j);
    uint32_t to = seg != NULL ? making_next(j, seg) : 0;
    if (!check_space && !unlink && to == 0) {
        return;
    }
    job->unlink_from = job->unlink_to = 0;
    if (unlink) {
        drop_free(j, job);
    }
    job->to = to;
    job->hurry = seg != NULL && seg->number <= j->tail_segment;
    job->number = seg != NULL ? seg->number : 0;
    job->file = NULL;
    /* The reserve is what lets a journal write what it accepted when it closes, what is urgent, and
     * the state of streams whose segments shall be freed. */
    job->reserve_bytes =
        j->draining || j->urgent || j->free_to > j->durable_first ? 0 : j->reserve_bytes;
    j->urgent = false;
    job->busy = true;
    chassis_post(j->preparer, &job->task);
}

/* Write the state of the streams without records again, so that the segment can go. */
static void move_empty_streams(struct chassis_journal *j, struct segment *seg)
{
    while (!chassis_list_empty(&seg->empty)) {
        struct stream *s = chassis_list_entry(seg->empty.next, struct stream, link);
        struct record_header h = {
            .kind = RECORD_RESET, .stream = s->id, .index = s->last, .term = s->last_term};
        struct place at;
        journal_put(j, &h, chassis_view(NULL, 0), &at);
        uint64_t written = s->written, durable = s->durable;
        journal_stream_reset(j, s, &h, at.segment);
        s->written = written;
        s->durable = durable;
    }
}

void journal_collect(struct chassis_journal *j)
{
    uint32_t number = j->free_to;
    while (number < j->tail_segment && journal_segment(j, number)->n_live == 0) {
        struct segment *seg = journal_segment(j, number++);
        j->full_bytes -= seg->end;
        if (!chassis_list_empty(&seg->empty)) {
            move_empty_streams(j, seg);
        }
    }
    if (number != j->free_to) {
        j->free_to = number;
        journal_flush_soon(j);
    }
}
