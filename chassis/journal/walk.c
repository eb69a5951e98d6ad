/* The end of the log is the first place where no valid record with the next sequence stands. It is a
 * torn tail, to be cut, unless something proves that more was durable: the high-water mark, or a
 * record that survived further on and says how far the log was synced when it was written.
 */
#include "journal/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"

void journal_path(char out[JOURNAL_PATH_MAX], const char *directory, const char *name)
{
    int len = snprintf(out, JOURNAL_PATH_MAX, "%s/%s", directory, name);
    CHASSIS_ASSERT(len > 0 &&
                   len < JOURNAL_PATH_MAX); /* the directory's length is checked at open */
}

void journal_segment_path(char out[JOURNAL_PATH_MAX], const char *directory, uint32_t number)
{
    char name[32];
    snprintf(name, sizeof name, "%016x.seg", number);
    journal_path(out, directory, name);
}

static int note_segment(const char *name, void *data)
{
    struct journal_walk *s = data;
    if (strlen(name) != 20 || strcmp(name + 16, ".seg") != 0 ||
        strspn(name, "0123456789abcdef") != 16) {
        return 0;
    }
    unsigned long long number = strtoull(name, NULL, 16);
    if (number > UINT32_MAX) {
        return 0;
    }
    s->segments = chassis_base_realloc(s->segments, (s->n_segments + 1) * sizeof s->segments[0]);
    s->segments[s->n_segments++] = (struct walk_segment){.number = (uint32_t)number};
    return 0;
}

static int read_high_water(struct journal_walk *s, struct chassis_error *err)
{
    char path[JOURNAL_PATH_MAX];
    journal_path(path, s->directory, "high-water");
    struct chassis_buf data = {0};
    int rc = chassis_disk_read_file(s->disk, path, HIGH_WATER_SIZE, &data, err);
    if (rc == -ENOENT && s->n_segments == 0) {
        s->is_new = true;
        return 0;
    }
    if (rc == -ENOENT) {
        return chassis_error_set(err, CHASSIS_CORRUPT,
                                 "'%s' is missing although there are segments; %s", path,
                                 JOURNAL_REPAIR);
    }
    if (rc == CHASSIS_TOO_LARGE) {
        return chassis_error_set(err, CHASSIS_CORRUPT, "'%s' is damaged: wrong size; %s", path,
                                 JOURNAL_REPAIR);
    }
    if (rc == 0) {
        rc = high_water_decode(data.data, data.len, path, &s->high_water, err);
    }
    chassis_buf_fini(&data);
    return rc;
}

static int open_segment(struct journal_walk *s, struct walk_segment *seg, bool writable,
                        struct chassis_error *err)
{
    char path[JOURNAL_PATH_MAX];
    uint8_t header[SEGMENT_HEADER_SIZE];
    size_t got = 0;
    uint64_t size = 0;
    journal_segment_path(path, s->directory, seg->number);
    int rc = s->disk->ops->open(s->disk, path, writable ? CHASSIS_DISK_WRITE : CHASSIS_DISK_READ,
                                &seg->file);
    if (rc < 0) {
        seg->file = NULL;
        return chassis_error_code(err, rc, "open segment '%s'", path);
    }
    rc = s->disk->ops->read(seg->file, 0, header, sizeof header, &got);
    if (rc == 0) {
        rc = s->disk->ops->size(seg->file, &size);
    }
    if (rc < 0) {
        return chassis_error_code(err, rc, "read segment '%s'", path);
    }
    rc = segment_header_decode(header, got, path, seg->number, &seg->size, err);
    if (rc == 0 && size != seg->size) {
        return chassis_error_set(err, CHASSIS_CORRUPT,
                                 "segment '%s' is damaged at offset %llu: the file should have %u "
                                 "bytes; %s",
                                 path, (unsigned long long)size, seg->size, JOURNAL_REPAIR);
    }
    return rc;
}

/* Segments the high-water mark no longer counts were about to be removed. */
static void skip_removed(struct journal_walk *s, bool writable)
{
    unsigned n = 0;
    while (n < s->n_segments && s->segments[n].number < s->high_water.first_segment) {
        if (writable) {
            char path[JOURNAL_PATH_MAX];
            journal_segment_path(path, s->directory, s->segments[n].number);
            s->disk->ops->unlink(s->disk, path); /* tried again at the next open */
        }
        n++;
    }
    s->n_segments -= n;
    if (n != 0) {
        memmove(s->segments, s->segments + n, s->n_segments * sizeof s->segments[0]);
    }
}

static int check_numbers(struct journal_walk *s, struct chassis_error *err)
{
    uint64_t want = s->high_water.first_segment;
    for (unsigned i = 0; i < s->n_segments; i++, want++) {
        if (s->segments[i].number != want) {
            break;
        }
    }
    bool all = want == s->high_water.first_segment + s->n_segments;
    if (all && (s->high_water.sequence == 0 || want > s->high_water.segment)) {
        return 0;
    }
    return chassis_error_set(err, CHASSIS_CORRUPT, "segment '%s/%016llx.seg' is missing; %s",
                             s->directory, (unsigned long long)want, JOURNAL_REPAIR);
}

int journal_walk_files(struct journal_walk *s, bool writable, struct chassis_error *err)
{
    int rc = s->disk->ops->list(s->disk, s->directory, note_segment, s);
    if (rc < 0) {
        return chassis_error_code(err, rc, "list '%s'", s->directory);
    }
    rc = read_high_water(s, err);
    if (rc < 0 || s->is_new) {
        return rc;
    }
    skip_removed(s, writable);
    rc = check_numbers(s, err);
    for (unsigned i = 0; rc == 0 && i < s->n_segments; i++) {
        rc = open_segment(s, &s->segments[i], writable, err);
    }
    return rc;
}

/* The record at `offset`, payload included: 0, CHASSIS_NOT_FOUND (none, or a broken one), or a read
 * error. */
static int record_at(struct journal_walk *s, struct journal_window *w,
                     const struct walk_segment *seg, uint64_t offset, struct record_header *ret)
{
    const uint8_t *bytes;
    if (offset + RECORD_HEADER_SIZE > seg->size) {
        return CHASSIS_NOT_FOUND;
    }
    int rc = journal_window_get(w, offset, RECORD_HEADER_SIZE, &bytes);
    if (rc < 0) {
        return rc == CHASSIS_EOF_REACHED ? CHASSIS_NOT_FOUND : rc;
    }
    if (!record_header_decode(bytes, ret) || record_size(ret->length) > seg->size - offset) {
        return CHASSIS_NOT_FOUND;
    }
    rc = journal_window_get(w, offset, RECORD_HEADER_SIZE + (size_t)ret->length, &bytes);
    if (rc < 0) {
        return rc == CHASSIS_EOF_REACHED ? CHASSIS_NOT_FOUND : rc;
    }
    return record_crc_ok(bytes, ret->length) ? 0 : CHASSIS_NOT_FOUND;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* Search what stands behind the tail for a record that proves more to have been durable. */
static int search_beyond(struct journal_walk *s, struct journal_window *w, unsigned i,
                         uint64_t offset, uint64_t *durable)
{
    const struct walk_segment *seg = &s->segments[i];
    journal_window_move(w, seg->file);
    enum { STEP = 4096 };
    while (offset < seg->size) {
        size_t len = seg->size - offset < STEP ? (size_t)(seg->size - offset) : STEP;
        const uint8_t *bytes;
        int rc = journal_window_get(w, offset, len, &bytes);
        if (rc < 0) {
            return rc;
        }
        if (all_zero(bytes, len)) {
            offset += len;
            continue;
        }
        s->torn = true;
        for (uint64_t end = offset + len; offset < end; offset += 8) {
            struct record_header h;
            rc = record_at(s, w, seg, offset, &h);
            if (rc == 0 && h.sequence > s->last_sequence && h.durable < h.sequence &&
                h.durable > *durable) {
                *durable = h.durable;
            }
            if (rc < 0 && rc != CHASSIS_NOT_FOUND) {
                return rc;
            }
        }
    }
    return 0;
}

static int judge_tail(struct journal_walk *s, struct journal_window *w, struct chassis_error *err)
{
    uint64_t durable = s->high_water.sequence;
    /* An opened journal goes on behind that mark with another one, if there is room for it. */
    bool room = s->segments[s->tail].size - s->tail_offset >= RECORD_HEADER_SIZE;
    if (durable <= s->last_sequence && !(s->clean && room)) {
        int rc = search_beyond(s, w, s->tail, s->tail_offset, &durable);
        for (unsigned i = s->tail + 1; rc == 0 && i < s->n_segments; i++) {
            rc = search_beyond(s, w, i, SEGMENT_HEADER_SIZE, &durable);
        }
        if (rc < 0) {
            return chassis_error_code(err, rc, "read the journal in '%s'", s->directory);
        }
    }
    if (durable <= s->last_sequence) {
        return 0;
    }
    char path[JOURNAL_PATH_MAX];
    journal_segment_path(path, s->directory, s->segments[s->tail].number);
    return chassis_error_set(err, CHASSIS_CORRUPT,
                             "segment '%s' is damaged at offset %u: record %llu is not readable, "
                             "but all up to %llu were durable; %s",
                             path, s->tail_offset, (unsigned long long)s->last_sequence + 1,
                             (unsigned long long)durable, JOURNAL_REPAIR);
}

static int take(struct journal_walk *s, const struct record_header *h, uint32_t segment,
                uint32_t offset, struct chassis_error *err)
{
    if (h->format > JOURNAL_FORMAT) {
        char path[JOURNAL_PATH_MAX];
        journal_segment_path(path, s->directory, segment);
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "segment '%s' has a record of format %u at offset %u, this "
                                 "program knows up to %u: run the newer version",
                                 path, h->format, offset, JOURNAL_FORMAT);
    }
    s->last_sequence = h->sequence;
    s->clean = h->kind == RECORD_MARKER && h->type == 1;
    return s->each(s, h, segment, offset, err);
}

int journal_walk_records(struct journal_walk *s, struct chassis_error *err)
{
    struct journal_window w = {.disk = s->disk};
    bool first = true, end = false;
    int rc = 0;
    s->tail = 0;
    s->tail_offset = SEGMENT_HEADER_SIZE;
    for (unsigned i = 0; rc == 0 && !end && i < s->n_segments; i++) {
        uint64_t offset = SEGMENT_HEADER_SIZE;
        bool any = false;
        journal_window_move(&w, s->segments[i].file);
        for (;;) {
            struct record_header h;
            rc = record_at(s, &w, &s->segments[i], offset, &h);
            bool next = rc == 0 && (first || h.sequence == s->last_sequence + 1);
            if (!next) {
                /* After a record the log may go on in the next segment, else this is its end. */
                end = !any;
                rc = rc == CHASSIS_NOT_FOUND ? 0 : rc;
                break;
            }
            rc = take(s, &h, s->segments[i].number, (uint32_t)offset, err);
            if (rc < 0) {
                chassis_buf_fini(&w.bytes);
                return rc;
            }
            first = false;
            any = true;
            offset += record_size(h.length);
            s->tail = i;
            s->tail_offset = (uint32_t)offset;
        }
    }
    if (rc < 0) {
        chassis_error_code(err, rc, "read the journal in '%s'", s->directory);
    } else if (s->n_segments != 0) {
        rc = judge_tail(s, &w, err);
    }
    chassis_buf_fini(&w.bytes);
    return rc;
}

void journal_walk_fini(struct journal_walk *s)
{
    for (unsigned i = 0; i < s->n_segments; i++) {
        s->disk->ops->close(s->segments[i].file);
    }
    free(s->segments);
    s->segments = NULL;
    s->n_segments = 0;
}
