/* Reading a stream on the owner: the old part from the disk, the newest from memory. */
#include <stdlib.h>

#include "journal/internal.h"

static bool find_source(void *context, uint32_t number, struct source *ret)
{
    struct chassis_journal *j = context;
    if (number - j->segments[0]->number >= j->n_segments) {
        return false;
    }
    const struct segment *seg = journal_segment(j, number);
    *ret = (struct source){
        .number = number,
        .size = seg->size,
        .end = number < j->tail_segment ? seg->end : 0,
        .file = seg->file,
    };
    return true;
}

static int read_disk(struct chassis_journal *j, struct stream *s, struct journal_reader *r,
                     uint64_t end, struct chassis_error *err)
{
    const struct entry *e = journal_entry(s, r->index);
    CHASSIS_ASSERT(e != NULL);
    r->runs = s->entries;
    r->n_runs = s->n_entries;
    r->run = (uint32_t)(e - s->entries);
    r->source = find_source;
    r->context = j;
    bool go_on = s->next_read == r->index && e->index != r->index;
    int rc =
        journal_reader_go(r, go_on ? s->next_place : (struct place){e->segment, e->offset}, err);
    if (rc == 0) {
        rc = journal_reader_run(r, end, err);
    }
    s->next_read = rc == 0 ? r->index : 0;
    s->next_place = (struct place){r->in.number, r->offset};
    return rc;
}

static uint64_t cached_from(const struct stream *s)
{
    return s->last + 1 - s->cache_n;
}

static void read_cache(struct stream *s, struct journal_reader *r)
{
    while (!r->enough && r->index <= s->last) {
        const struct cached *c = journal_cached(s, r->index);
        struct chassis_journal_record record = {
            .index = c->index,
            .term = c->term,
            .time_ns = c->time_ns,
            .type = c->type,
            .payload = chassis_view(c->bytes, c->length),
        };
        journal_reader_deliver(r, &record);
    }
}

bool chassis_journal_cached(struct chassis_journal *j, uint32_t stream, uint64_t index)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner));
    const struct stream *s = journal_stream_find(j, stream);
    return s == NULL || index >= cached_from(s);
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
    struct journal_reader r = {
        .directory = j->directory,
        .stream = stream,
        .window.disk = j->disk,
        .index = index,
        .left = bytes_max,
        .each = each,
        .data = data,
    };
    int rc = 0;
    j->reading = true;
    if (index < cached_from(s)) {
        rc = read_disk(j, s, &r, cached_from(s), err);
    }
    if (rc == 0) {
        read_cache(s, &r);
    }
    j->reading = false;
    chassis_buf_fini(&r.window.bytes);
    return rc;
}

/* ---- by time ---- */

struct search {
    int64_t time_ns;
    uint64_t found;
};

static int older(const struct chassis_journal_record *record, void *data)
{
    struct search *search = data;
    if (record->time_ns >= search->time_ns) {
        search->found = record->index;
        return 1;
    }
    return 0;
}

/* The last entry whose record is older than the time, else the first: the answer lies between it and
 * the next one. */
static uint64_t search_entries(const struct stream *s, int64_t time_ns)
{
    uint32_t low = 0, high = s->n_entries;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (s->entries[mid].time_ns < time_ns) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    uint64_t index = s->entries[low != 0 ? low - 1 : 0].index;
    return index < s->first ? s->first : index;
}

/* What is in memory needs no reading: the first cached one that is not older, `last` + 1 if all are. */
static uint64_t search_cache(const struct stream *s, int64_t time_ns)
{
    uint64_t low = cached_from(s), high = s->last + 1;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (journal_cached(s, mid)->time_ns < time_ns) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

int chassis_journal_at_time(struct chassis_journal *j, uint32_t stream, int64_t time_ns,
                            uint64_t *ret_index, struct chassis_error *err)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner) && !j->reading);
    struct stream *s = journal_stream_find(j, stream);
    if (s == NULL || s->n_entries == 0) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND, "stream %u has no records", stream);
    }
    uint64_t from = search_entries(s, time_ns), in_cache = search_cache(s, time_ns);
    if (from >= cached_from(s) || in_cache > cached_from(s)) {
        *ret_index = in_cache;
        return 0;
    }
    struct search search = {time_ns, s->last + 1};
    int rc = chassis_journal_read(j, stream, from, SIZE_MAX, older, &search, err);
    if (rc == 0) {
        *ret_index = search.found;
    }
    return rc;
}
