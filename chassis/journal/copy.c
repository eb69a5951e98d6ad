/* Copying forward: what is still needed of the oldest segment is put again at the end of the log, so
 * that old records of a slow stream do not keep all that was written since.
 *
 *     worth it? -> preparer: read 1 MiB of the oldest segment -> owner: put the live records as copies
 *       -> written -> their streams' entries point to the copies -> next piece … -> no entry points
 *          into the segment -> once the copies are synced it is freed as any other
 *
 * A copy replaces nothing: it says again what stands at its index. Until it is written readers use the
 * original; at open whichever comes last in the log counts, and that is the copy. A record that was
 * truncated, trimmed or reset while its copy was on the way is left as it is: the copy stands before
 * the record that replaced it.
 *
 * At most so much is copied as is freed: it begins only when less than half of the log (live_percent)
 * is needed, and then each segment that gives nothing is paid for by others that do.
 */
#include <stdlib.h>

#include "base/fault.h"
#include "journal/internal.h"

enum {
    COPY_CHUNK = 1 << 20,
    COPY_SEGMENTS_MIN = 4, /* full ones */
    STREAM_STATE = RECORD_HEADER_SIZE,
};

/* ---- on the preparer ---- */

static void copy_read(struct chassis_task *task)
{
    struct copy_job *job = chassis_container_of(task, struct copy_job, task);
    struct chassis_journal *j = chassis_container_of(job, struct chassis_journal, copy);
    size_t got = 0;
    chassis_buf_clear(&job->bytes);
    chassis_buf_reserve(&job->bytes, job->want);
    job->rc =
        CHASSIS_FAULT("journal.copy.read")
            ? -5
            : j->disk->ops->read(job->segment->file, job->offset, job->bytes.data, job->want, &got);
    job->bytes.len = got;
    chassis_post(j->owner, &job->done);
}

/* ---- on the owner ---- */

static void stop(struct chassis_journal *j, const char *why, int rc)
{
    chassis_log_error(j->log, "copying forward stopped: old records keep their segments", //
                      chassis_f_str("reason", why), chassis_f_str("directory", j->directory),
                      chassis_f_u64("segment", j->copy.segment->number),
                      chassis_f_u64("offset", j->copy.offset), chassis_f_code(rc));
    j->copy.stopped = true;
}

/* Whether what stands there is the record its stream would read. */
static bool is_live(struct chassis_journal *j, const struct record_header *h, struct place at)
{
    const struct stream *s = journal_stream_find(j, h->stream);
    if (s == NULL || s->n_entries == 0 || h->index < s->first || h->index > s->last ||
        (h->kind != RECORD_DATA && h->kind != RECORD_COPY)) {
        return false;
    }
    const struct entry *e = journal_entry(s, h->index);
    return e->segment == at.segment && e->offset <= at.offset;
}

static void put_copy(struct chassis_journal *j, const struct record_header *header,
                     const uint8_t *bytes, struct place from)
{
    struct copy_job *job = &j->copy;
    if (job->n_moves == job->cap_moves) {
        job->cap_moves = job->cap_moves != 0 ? job->cap_moves * 2 : 64;
        job->moves = chassis_base_realloc(job->moves, job->cap_moves * sizeof *job->moves);
    }
    struct move *m = &job->moves[job->n_moves++];
    m->header = *header;
    m->header.kind = RECORD_COPY;
    m->from = from;
    journal_put(j, &m->header, chassis_view(bytes + RECORD_HEADER_SIZE, header->length), &m->to);
    chassis_counter_add(j->bytes_copied, record_size(header->length));
}

/* The records of the piece that was read; the offset moves behind the last whole one. */
static void put_copies(struct chassis_journal *j)
{
    struct copy_job *job = &j->copy;
    size_t at = 0;
    job->want = COPY_CHUNK;
    while (job->bytes.len - at >= RECORD_HEADER_SIZE) {
        const uint8_t *bytes = job->bytes.data + at;
        struct record_header h;
        struct place from = {job->segment->number, job->offset};
        if (!record_header_decode(bytes, &h) ||
            record_size(h.length) > job->segment->end - job->offset) {
            stop(j, "no valid record", CHASSIS_CORRUPT);
            return;
        }
        if (record_size(h.length) > job->bytes.len - at) {
            job->want = record_size(h.length) > job->want ? record_size(h.length) : job->want;
            break;
        }
        if (is_live(j, &h, from)) {
            if (!record_crc_ok(bytes, h.length)) {
                stop(j, "wrong checksum", CHASSIS_CORRUPT);
                return;
            }
            put_copy(j, &h, bytes, from);
        }
        at += record_size(h.length);
        job->offset = from.offset + (uint32_t)record_size(h.length);
    }
    if (at == 0 && job->want == COPY_CHUNK) {
        stop(j, "the file ends early", CHASSIS_CORRUPT);
    }
}

static void copy_done(struct chassis_task *task)
{
    struct copy_job *job = chassis_container_of(task, struct copy_job, done);
    struct chassis_journal *j = chassis_container_of(job, struct chassis_journal, copy);
    job->busy = false;
    if (job->rc < 0) {
        stop(j, "cannot read", job->rc);
    } else if (!j->closing) {
        put_copies(j);
    }
    journal_flush_soon(j);
}

/* The copies are written: from now on they are what is read. */
static void apply_moves(struct chassis_journal *j)
{
    struct copy_job *job = &j->copy;
    for (uint32_t i = 0; i < job->n_moves; i++) {
        struct move *m = &job->moves[i];
        if (is_live(j, &m->header, m->from)) {
            journal_stream_copied(j, journal_stream_find(j, m->header.stream), &m->header, m->to);
        }
    }
    if (job->n_moves != 0) {
        uint64_t last = job->moves[job->n_moves - 1].header.sequence;
        j->free_after = last > j->free_after ? last : j->free_after;
        job->n_moves = 0;
    }
}

/* Let go of the segment and of the memory, a megabyte or two. */
void journal_copy_fini(struct chassis_journal *j)
{
    struct copy_job *job = &j->copy;
    if (job->segment != NULL) {
        journal_segment_unref(j->disk, job->segment);
        job->segment = NULL;
    }
    chassis_buf_fini(&job->bytes);
    free(job->moves);
    job->moves = NULL;
    job->n_moves = job->cap_moves = 0;
}

static void end_segment(struct chassis_journal *j)
{
    struct copy_job *job = &j->copy;
    journal_entries_leave(j, job->segment);
    journal_copy_fini(j);
    journal_collect(j);
}

static bool is_worth_it(const struct chassis_journal *j)
{
    uint64_t needed = j->live_bytes + (uint64_t)j->n_streams * STREAM_STATE;
    return j->tail_segment - j->free_to >= COPY_SEGMENTS_MIN &&
           needed < j->full_bytes / 100 * j->live_percent;
}

/* Nothing is copied that would need a segment the disk has no room for. */
static bool has_room(struct chassis_journal *j)
{
    const struct segment *tail = journal_segment(j, j->tail_segment);
    uint32_t next = j->tail_segment + 1 - j->segments[0]->number;
    return !j->no_space || tail->size - j->tail_offset >= j->copy.want ||
           (next < j->n_segments && j->segments[next]->file != NULL);
}

void journal_copy(struct chassis_journal *j)
{
    struct copy_job *job = &j->copy;
    if (j->live_percent == 0 || job->busy || job->stopped || j->closing ||
        (job->n_moves != 0 && job->moves[job->n_moves - 1].header.sequence > j->written_sequence)) {
        return;
    }
    apply_moves(j);
    if (job->segment != NULL && (job->offset >= job->segment->end || job->segment->n_live == 0)) {
        end_segment(j);
    }
    if (job->segment == NULL && is_worth_it(j)) {
        job->segment = journal_segment(j, j->free_to);
        job->segment->refs++;
        job->offset = SEGMENT_HEADER_SIZE;
        job->want = COPY_CHUNK;
    }
    if (job->segment != NULL && has_room(j)) {
        uint32_t left = job->segment->end - job->offset;
        job->want = job->want < left ? job->want : left;
        job->busy = true;
        chassis_post(j->preparer, &job->task);
    }
}

void journal_copy_init(struct chassis_journal *j)
{
    j->copy.task.run = copy_read;
    j->copy.done.run = copy_done;
}
