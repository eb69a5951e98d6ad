#include "journal/reader.h"

#include "base/assert.h"
#include "journal/walk.h"

enum { WINDOW_MIN = 8 * 1024, WINDOW_MAX = 256 * 1024 };

/* A jump reads little, reading on reads ever more. */
static size_t window_size(const struct journal_window *w, uint64_t offset)
{
    bool on = w->bytes.len != 0 && offset >= w->start && offset <= w->start + w->bytes.len;
    size_t more = on ? w->bytes.len * 4 : WINDOW_MIN;
    return more < WINDOW_MAX ? more : WINDOW_MAX;
}

int journal_window_get(struct journal_window *w, uint64_t offset, size_t len,
                       const uint8_t **ret_bytes)
{
    if (offset < w->start || offset + len > w->start + w->bytes.len) {
        size_t want = window_size(w, offset);
        want = len > want ? len : want;
        chassis_buf_clear(&w->bytes);
        chassis_buf_reserve(&w->bytes, want);
        size_t got = 0;
        int rc = w->disk->ops->read(w->file, offset, w->bytes.data, want, &got);
        if (rc < 0) {
            return rc;
        }
        w->start = offset;
        w->bytes.len = got;
        if (got < len) {
            return CHASSIS_EOF_REACHED;
        }
    }
    *ret_bytes = w->bytes.data + (offset - w->start);
    return 0;
}

void journal_window_move(struct journal_window *w, struct chassis_file *file)
{
    w->file = file;
    w->start = 0;
    chassis_buf_clear(&w->bytes);
}

static int damaged(const struct journal_reader *r, struct chassis_error *err)
{
    char path[JOURNAL_PATH_MAX];
    journal_segment_path(path, r->directory, r->in.number);
    return chassis_error_set(err, CHASSIS_CORRUPT,
                             "segment '%s' is damaged at offset %u: no valid record there (reading "
                             "record %llu of stream %u); %s",
                             path, r->offset, (unsigned long long)r->index, r->stream,
                             JOURNAL_REPAIR);
}

int journal_reader_go(struct journal_reader *r, struct place at, struct chassis_error *err)
{
    r->sequence = at.offset == r->offset && at.segment == r->in.number ? r->sequence : 0;
    r->offset = at.offset;
    if (r->in.file != NULL && r->in.number == at.segment) {
        return 0;
    }
    bool there = r->source(r->context, at.segment, &r->in);
    if (!there || r->in.file == NULL) {
        r->in = (struct source){.number = at.segment};
        return damaged(r, err);
    }
    if (r->window.file != r->in.file) {
        journal_window_move(&r->window, r->in.file);
    }
    return 0;
}

/* The header of the record the position is at, or of the first in the next segment. Checked are what
 * leads to the next record and that none was missed, not the checksum. */
static int next_header(struct journal_reader *r, struct record_header *ret,
                       struct chassis_error *err)
{
    while (r->in.end != 0 && r->offset >= r->in.end) {
        uint64_t sequence = r->sequence;
        int rc = journal_reader_go(r, (struct place){r->in.number + 1, SEGMENT_HEADER_SIZE}, err);
        if (rc < 0) {
            return rc;
        }
        r->sequence = sequence;
    }
    const uint8_t *bytes;
    int rc = CHASSIS_EOF_REACHED;
    if (r->offset + RECORD_HEADER_SIZE <= r->in.size) {
        rc = journal_window_get(&r->window, r->offset, RECORD_HEADER_SIZE, &bytes);
    }
    if (rc == 0 &&
        (!record_header_decode(bytes, ret) || record_size(ret->length) > r->in.size - r->offset ||
         (r->sequence != 0 && ret->sequence != r->sequence + 1))) {
        return damaged(r, err);
    }
    if (rc < 0) {
        return rc == CHASSIS_EOF_REACHED
                   ? damaged(r, err)
                   : chassis_error_code(err, rc, "read the journal in '%s'", r->directory);
    }
    return 0;
}

void journal_reader_deliver(struct journal_reader *r, const struct chassis_journal_record *record)
{
    if (r->any && record->payload.len > r->left) {
        r->enough = true;
        return;
    }
    r->left -= record->payload.len < r->left ? record->payload.len : r->left;
    r->any = true;
    r->index++;
    r->enough = r->each(record, r->data) != 0 || r->left == 0;
}

/* The record at the position is the one wanted: check it and hand it over. */
static int deliver(struct journal_reader *r, const struct record_header *h,
                   struct chassis_error *err)
{
    const uint8_t *bytes;
    int rc =
        journal_window_get(&r->window, r->offset, RECORD_HEADER_SIZE + (size_t)h->length, &bytes);
    if (rc < 0 && rc != CHASSIS_EOF_REACHED) {
        return chassis_error_code(err, rc, "read the journal in '%s'", r->directory);
    }
    if (rc < 0 || !record_crc_ok(bytes, h->length)) {
        return damaged(r, err);
    }
    struct chassis_journal_record record = {
        .index = h->index,
        .term = h->term,
        .time_ns = h->time_ns,
        .type = h->type,
        .payload = chassis_view(bytes + RECORD_HEADER_SIZE, h->length),
    };
    journal_reader_deliver(r, &record);
    return 0;
}

int journal_reader_run(struct journal_reader *r, uint64_t end, struct chassis_error *err)
{
    while (!r->enough && r->index < end) {
        if (r->run + 1 < r->n_runs && r->runs[r->run + 1].index == r->index) {
            const struct entry *e = &r->runs[++r->run];
            int rc = journal_reader_go(r, (struct place){e->segment, e->offset}, err);
            if (rc < 0) {
                return rc;
            }
        }
        struct record_header h;
        int rc = next_header(r, &h, err);
        if (rc < 0) {
            return rc;
        }
        if ((h.kind == RECORD_DATA || h.kind == RECORD_COPY) && h.stream == r->stream &&
            h.index == r->index) {
            rc = deliver(r, &h, err);
            if (rc < 0) {
                return rc;
            }
            if (r->index == h.index) {
                return 0; /* it did not fit: the next read begins with it */
            }
        }
        r->offset += (uint32_t)record_size(h.length);
        r->sequence = h.sequence;
    }
    return 0;
}
