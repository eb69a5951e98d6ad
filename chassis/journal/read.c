/* Reading a stream: the old part from the disk, the newest from memory. */
#include <stdlib.h>

#include "journal/internal.h"

struct read {
    struct chassis_journal *j;
    struct stream *s;
    struct journal_window window;
    struct place at;
    uint64_t index; /* next to be delivered */
    size_t left;    /* bytes the caller still wants */
    bool any;       /* at least one record is always delivered */
    int (*each)(const struct chassis_journal_record *record, void *data);
    void *data;
};

static int damaged(const struct read *r, struct chassis_error *err)
{
    char path[JOURNAL_PATH_MAX];
    journal_segment_path(path, r->j->directory, r->at.segment);
    return chassis_error_set(err, CHASSIS_CORRUPT,
                             "segment '%s' is damaged at offset %u: no valid record there (reading "
                             "record %llu of stream %u); %s",
                             path, r->at.offset, (unsigned long long)r->index, r->s->id,
                             JOURNAL_REPAIR);
}

static void go(struct read *r, struct place at)
{
    if (r->window.file == NULL || at.segment != r->at.segment) {
        journal_window_move(&r->window, journal_segment(r->j, at.segment)->file);
    }
    r->at = at;
}

/* The record at r->at, or the first of the next segment. */
static int fetch(struct read *r, struct record_header *ret, const uint8_t **ret_bytes,
                 struct chassis_error *err)
{
    for (;;) {
        const struct segment *seg = journal_segment(r->j, r->at.segment);
        if (r->at.segment < r->j->tail_segment && r->at.offset >= seg->end) {
            go(r, (struct place){r->at.segment + 1, SEGMENT_HEADER_SIZE});
            if (r->window.file == NULL) {
                return damaged(r, err);
            }
            continue;
        }
        int rc = CHASSIS_EOF_REACHED;
        if (r->at.offset + RECORD_HEADER_SIZE <= seg->size) {
            rc = journal_window_get(&r->window, r->at.offset, RECORD_HEADER_SIZE, ret_bytes);
        }
        if (rc == 0 && (!record_header_decode(*ret_bytes, ret) ||
                        record_size(ret->length) > seg->size - r->at.offset)) {
            return damaged(r, err);
        }
        if (rc == 0) {
            rc = journal_window_get(&r->window, r->at.offset,
                                    RECORD_HEADER_SIZE + (size_t)ret->length, ret_bytes);
        }
        if (rc < 0) {
            return rc == CHASSIS_EOF_REACHED
                       ? damaged(r, err)
                       : chassis_error_code(err, rc, "read the journal in '%s'", r->j->directory);
        }
        return record_crc_ok(*ret_bytes, ret->length) ? 0 : damaged(r, err);
    }
}

/* Hand one record over; false when the caller has enough. */
static bool deliver(struct read *r, const struct chassis_journal_record *record)
{
    if (r->any && record->payload.len > r->left) {
        return false;
    }
    r->left -= record->payload.len < r->left ? record->payload.len : r->left;
    r->any = true;
    r->index++;
    return r->each(record, r->data) == 0 && r->left != 0;
}

static int read_disk(struct read *r, uint64_t end, bool *ret_more, struct chassis_error *err)
{
    const struct entry *e = journal_entry(r->s, r->index);
    CHASSIS_ASSERT(e != NULL);
    const struct entry *last = r->s->entries + r->s->n_entries - 1;
    bool go_on = r->s->next_read == r->index && !(e->forced && e->index == r->index);
    go(r, go_on ? r->s->next_place : (struct place){e->segment, e->offset});
    while (*ret_more && r->index < end) {
        while (e < last && e[1].index <= r->index) {
            e++;
            if (e->forced) {
                go(r, (struct place){e->segment, e->offset});
            }
        }
        struct record_header h;
        const uint8_t *bytes;
        int rc = fetch(r, &h, &bytes, err);
        if (rc < 0) {
            return rc;
        }
        struct place at = r->at;
        if (h.kind == RECORD_DATA && h.stream == r->s->id && h.index == r->index) {
            struct chassis_journal_record record = {
                .index = h.index,
                .term = h.term,
                .time_ns = h.time_ns,
                .type = h.type,
                .payload = chassis_view(bytes + RECORD_HEADER_SIZE, h.length),
            };
            *ret_more = deliver(r, &record);
            if (r->index == h.index) {
                break; /* it did not fit: the next read begins with it */
            }
        }
        r->at.offset = at.offset + (uint32_t)record_size(h.length);
    }
    r->s->next_read = r->index;
    r->s->next_place = r->at;
    return 0;
}

static void read_cache(struct read *r, bool more)
{
    while (more && r->index <= r->s->last) {
        const struct cached *c = journal_cached(r->s, r->index);
        struct chassis_journal_record record = {
            .index = c->index,
            .term = c->term,
            .time_ns = c->time_ns,
            .type = c->type,
            .payload = chassis_view(c->bytes, c->length),
        };
        more = deliver(r, &record);
    }
}

int chassis_journal_read(struct chassis_journal *j, uint32_t stream, uint64_t index,
                         size_t bytes_max,
                         int (*each)(const struct chassis_journal_record *record, void *data),
                         void *data, struct chassis_error *err)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner) && !j->reading);
    struct stream *s = journal_stream_find(j, stream);
    if (s == NULL || index < s->first || index > s->last) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND, "stream %u has no record %llu", stream,
                                 (unsigned long long)index);
    }
    struct read r = {
        .j = j,
        .s = s,
        .window.disk = j->disk,
        .index = index,
        .left = bytes_max,
        .each = each,
        .data = data,
    };
    uint64_t cached_from = s->last + 1 - s->cache_n;
    bool more = true;
    int rc = 0;
    j->reading = true;
    if (index < cached_from) {
        rc = read_disk(&r, cached_from, &more, err);
    }
    if (rc == 0) {
        read_cache(&r, more);
    }
    j->reading = false;
    chassis_buf_fini(&r.window.bytes);
    return rc;
}
