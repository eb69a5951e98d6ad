/* Segments: made ahead of need by the preparer, freed when no stream needs them.
 *
 *     made as "next.tmp", zero-filled, synced -> renamed -> directory synced -> written
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

static int fill(struct chassis_disk *disk, struct chassis_file *file, uint32_t number,
                uint32_t size)
{
    enum { CHUNK = 1 << 20 };
    size_t chunk = size < CHUNK ? size : CHUNK;
    uint8_t *bytes = chassis_base_zalloc(chunk);
    int rc = disk->ops->truncate(file, 0);
    segment_header_encode(bytes, number, size);
    for (uint32_t at = 0; rc == 0 && at < size; at += (uint32_t)chunk) {
        rc = disk->ops->write(file, at, bytes, size - at < chunk ? size - at : chunk);
        memset(bytes, 0, SEGMENT_HEADER_SIZE);
    }
    free(bytes);
    return rc == 0 ? disk->ops->sync(file) : rc;
}

int journal_segment_create(struct chassis_disk *disk, const char *directory, uint32_t number,
                           uint32_t size, struct chassis_file **ret_file)
{
    char tmp[JOURNAL_PATH_MAX], path[JOURNAL_PATH_MAX];
    journal_path(tmp, directory, "next.tmp");
    journal_segment_path(path, directory, number);
    struct chassis_file *file;
    int rc = CHASSIS_FAULT("journal.segment.create")
                 ? -EIO
                 : disk->ops->open(disk, tmp, CHASSIS_DISK_WRITE | CHASSIS_DISK_CREATE, &file);
    if (rc < 0) {
        return rc;
    }
    rc = fill(disk, file, number, size);
    if (rc == 0) {
        rc = disk->ops->rename(disk, tmp, path);
    }
    if (rc == 0) {
        rc = disk->ops->dir_sync(disk, directory);
    }
    if (rc < 0) {
        disk->ops->close(file);
        disk->ops->unlink(disk, tmp);
        return rc;
    }
    *ret_file = file;
    return 0;
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
    if (job->rc == 0 && job->size != 0) {
        job->rc =
            job->free_bytes < job->size + job->reserve_bytes
                ? CHASSIS_NO_SPACE
                : journal_segment_create(j->disk, j->directory, job->number, job->size, &job->file);
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
    job->failed = j->closing && job->size != 0 && rc == CHASSIS_NO_SPACE;
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
    if (!check_space && !unlink && seg == NULL) {
        return;
    }
    job->unlink_from = job->unlink_to = 0;
    if (unlink) {
        drop_free(j, job);
    }
    job->number = seg != NULL ? seg->number : 0;
    job->size = seg != NULL ? seg->size : 0;
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
