/* Reading away from the owner. The owner copies into the scan what a reader needs: the part of the
 * stream's index up to the bound, and the segments it points to, which stay open as long as the scan
 * holds them. Between two refreshes only the reading role touches the position; the one thing shared
 * while it reads is `limit`, which the owner lowers when records are replaced.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "journal/internal.h"

enum {
    SCAN_RUNS_MAX = 512, /* index entries held at once: 128 MiB of log where a stream is dense */
    SCAN_PINS_MAX = 16,  /* segments held at once, more only if one entry needs them */
};

struct pin {
    struct source source; /* as of the refresh: what the reading role looks at */
    struct segment *segment;
};

struct chassis_journal_scan {
    struct chassis_list link;
    struct chassis_journal *journal; /* NULL once it is gone */
    struct chassis_disk *disk;
    char *directory;
    uint64_t id;
    uint32_t version; /* rises with each refresh */
    uint32_t stream;
    uint64_t next, end;
    _Atomic uint64_t limit; /* no record from here on may be delivered any more */
    uint64_t replaced;      /* lowest index replaced since the refresh */
    struct entry *runs;
    struct pin *pins; /* rising numbers */
    uint32_t n_runs, run, n_pins, cap_pins;
    struct place at; /* segment 0: at the beginning of runs[run] */
    uint64_t sequence;
};

void chassis_journal_scratch_fini(struct chassis_journal_scratch *scratch)
{
    chassis_buf_fini(&scratch->bytes);
    scratch->scan = 0;
}

/* ---- on the owner ---- */

static uint32_t find_pin(const struct chassis_journal_scan *scan, uint32_t number)
{
    uint32_t low = 0, high = scan->n_pins;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (scan->pins[mid].source.number < number) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static void pin(struct chassis_journal_scan *scan, uint32_t number)
{
    struct chassis_journal *j = scan->journal;
    uint32_t i = find_pin(scan, number);
    if (i < scan->n_pins && scan->pins[i].source.number == number) {
        return;
    }
    struct segment *seg = journal_segment(j, number);
    if (seg->file == NULL) {
        return; /* nothing is written there yet */
    }
    if (scan->n_pins == scan->cap_pins) {
        scan->cap_pins = scan->cap_pins != 0 ? scan->cap_pins * 2 : 4;
        scan->pins = chassis_base_realloc(scan->pins, scan->cap_pins * sizeof *scan->pins);
    }
    memmove(scan->pins + i + 1, scan->pins + i, (scan->n_pins - i) * sizeof *scan->pins);
    scan->n_pins++;
    seg->refs++;
    scan->pins[i] = (struct pin){
        .source = {.number = number,
                   .size = seg->size,
                   .end = number < j->tail_segment ? seg->end : 0,
                   .file = seg->file},
        .segment = seg,
    };
}

static void unpin(struct chassis_disk *disk, struct pin *pins, uint32_t n_pins)
{
    for (uint32_t i = 0; i < n_pins; i++) {
        journal_segment_unref(disk, pins[i].segment);
    }
    free(pins);
}

/* Copy the part of the index the reader needs next and hold its segments. */
static void take_runs(struct chassis_journal_scan *scan, const struct stream *s)
{
    const struct entry *e = journal_entry(s, scan->next);
    const struct entry *end = s->entries + s->n_entries;
    uint32_t n = 0;
    scan->end = s->written + 1;
    for (; e != end && e->index <= s->written; e++) {
        uint32_t last = e + 1 != end ? e[1].segment : s->state_segment;
        last = last > e->segment ? last : e->segment; /* a run may go on in the next ones */
        if (n == SCAN_RUNS_MAX || (n != 0 && scan->n_pins + (last - e->segment) >= SCAN_PINS_MAX)) {
            scan->end = e->index;
            break;
        }
        for (uint32_t number = e->segment; number <= last; number++) {
            pin(scan, number);
        }
        n++;
    }
    scan->runs = chassis_base_realloc(scan->runs, (n != 0 ? n : 1) * sizeof *scan->runs);
    memcpy(scan->runs, e - n, n * sizeof *scan->runs);
    scan->n_runs = n;
    scan->run = 0;
}

static int no_record(uint32_t stream, uint64_t index, const struct stream *s,
                     struct chassis_error *err)
{
    uint64_t first = s != NULL ? s->first : 1, last = s != NULL ? s->last : 0;
    if (index < first) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND,
                                 "stream %u has no record %llu any more: the first kept is %llu",
                                 stream, (unsigned long long)index, (unsigned long long)first);
    }
    return chassis_error_set(err, CHASSIS_NOT_FOUND,
                             "stream %u has no record %llu: the last is %llu", stream,
                             (unsigned long long)index, (unsigned long long)last);
}

static void take_snapshot(struct chassis_journal_scan *scan, const struct stream *s)
{
    struct pin *pins = scan->pins;
    uint32_t n_pins = scan->n_pins;
    scan->pins = NULL;
    scan->n_pins = scan->cap_pins = 0;
    scan->n_runs = scan->run = 0;
    scan->end = scan->next;
    if (s != NULL && s->n_entries != 0 && scan->next <= s->written) {
        take_runs(scan, s);
    }
    unpin(scan->disk, pins, n_pins);
    scan->version++;
    scan->replaced = UINT64_MAX;
    atomic_store(&scan->limit, UINT64_MAX);
}

int chassis_journal_scan_open(struct chassis_journal *j, uint32_t stream, uint64_t index,
                              struct chassis_journal_scan **ret_scan, struct chassis_error *err)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner));
    const struct stream *s = journal_stream_find(j, stream);
    if (s != NULL ? index < s->first || index > s->last + 1 : index != 1) {
        return no_record(stream, index, s, err);
    }
    struct chassis_journal_scan *scan = chassis_base_zalloc(sizeof *scan);
    scan->journal = j;
    scan->disk = j->disk;
    scan->directory = chassis_base_strdup(j->directory);
    static _Atomic uint64_t ids; /* a scratch may serve scans of several journals */
    scan->id = atomic_fetch_add(&ids, 1) + 1;
    scan->stream = stream;
    scan->next = index;
    chassis_list_append(&j->scans, &scan->link);
    take_snapshot(scan, s);
    *ret_scan = scan;
    return 0;
}

int chassis_journal_scan_refresh(struct chassis_journal_scan *scan, struct chassis_error *err)
{
    struct chassis_journal *j = scan->journal;
    if (j == NULL) {
        return chassis_error_set(err, CHASSIS_SHUTTING_DOWN, "the journal is closed");
    }
    CHASSIS_ASSERT(chassis_is_current(j->owner));
    const struct stream *s = journal_stream_find(j, scan->stream);
    if (s != NULL && scan->next < s->first) {
        return no_record(scan->stream, scan->next, s, err);
    }
    if (scan->next > scan->replaced || (s != NULL && scan->next > s->last + 1)) {
        return chassis_error_set(err, CHASSIS_ABORTED,
                                 "records of stream %u before %llu have been replaced since they "
                                 "were read",
                                 scan->stream, (unsigned long long)scan->next);
    }
    struct entry before = {0};
    if (scan->n_runs != 0) {
        before = scan->runs[scan->run];
    }
    take_snapshot(scan, s);
    /* The place stays right as long as the run it was reached in is there as it was. */
    if (scan->n_runs == 0 || scan->runs[0].segment != before.segment ||
        scan->runs[0].offset != before.offset || scan->runs[0].index != before.index) {
        scan->at.segment = 0;
    }
    return 0;
}

void chassis_journal_scan_close(struct chassis_journal_scan *scan)
{
    if (scan != NULL) {
        CHASSIS_ASSERT(scan->journal == NULL || chassis_is_current(scan->journal->owner));
        chassis_list_remove(&scan->link);
        unpin(scan->disk, scan->pins, scan->n_pins);
        free(scan->runs);
        free(scan->directory);
        free(scan);
    }
}

void journal_scans_cut(struct chassis_journal *j, uint32_t stream, uint64_t index,
                       uint64_t replaced)
{
    chassis_list_foreach (link, &j->scans) {
        struct chassis_journal_scan *scan =
            chassis_list_entry(link, struct chassis_journal_scan, link);
        if (scan->stream == stream) {
            scan->replaced = replaced < scan->replaced ? replaced : scan->replaced;
            if (index < atomic_load(&scan->limit)) {
                atomic_store(&scan->limit, index);
            }
        }
    }
}

void journal_scans_detach(struct chassis_journal *j)
{
    chassis_list_foreach_safe (link, &j->scans) {
        struct chassis_journal_scan *scan =
            chassis_list_entry(link, struct chassis_journal_scan, link);
        scan->journal = NULL;
        chassis_list_remove(link);
    }
}

/* ---- on the reading role ---- */

uint64_t chassis_journal_scan_next(const struct chassis_journal_scan *scan)
{
    return scan->next;
}

uint64_t chassis_journal_scan_end(const struct chassis_journal_scan *scan)
{
    return scan->end;
}

static bool find_source(void *context, uint32_t number, struct source *ret)
{
    const struct chassis_journal_scan *scan = context;
    uint32_t i = find_pin(scan, number);
    if (i == scan->n_pins || scan->pins[i].source.number != number) {
        return false;
    }
    *ret = scan->pins[i].source;
    return true;
}

/* The caller's `each`, but for records replaced since the refresh. */
struct guard {
    struct chassis_journal_scan *scan;
    int (*each)(const struct chassis_journal_record *record, void *data);
    void *data;
    bool stopped;
};

static int guarded(const struct chassis_journal_record *record, void *data)
{
    struct guard *g = data;
    if (record->index >= atomic_load_explicit(&g->scan->limit, memory_order_acquire)) {
        g->stopped = true;
        return 1;
    }
    return g->each(record, g->data);
}

/* What the window held of this scan since its last refresh is still good. */
static struct journal_window window_from(struct chassis_journal_scan *scan,
                                         struct chassis_journal_scratch *scratch)
{
    struct journal_window w = {.disk = scan->disk, .bytes = scratch->bytes};
    scratch->bytes = (struct chassis_buf){0};
    struct source source;
    if (scratch->scan == scan->id && scratch->version == scan->version &&
        find_source(scan, scratch->segment, &source)) {
        w.file = source.file;
        w.start = scratch->start;
    } else {
        chassis_buf_clear(&w.bytes);
    }
    return w;
}

static int read_runs(struct chassis_journal_scan *scan, struct journal_reader *r,
                     struct chassis_error *err)
{
    const struct entry *e = &scan->runs[scan->run];
    struct place at = {e->segment, e->offset};
    if (scan->at.segment != 0) {
        at = scan->at;
    }
    int rc = journal_reader_go(r, at, err);
    if (rc == 0) {
        r->sequence = scan->at.segment != 0 ? scan->sequence : 0;
        rc = journal_reader_run(r, scan->end, err);
    }
    scan->run = r->run;
    scan->at = (struct place){rc == 0 ? r->in.number : 0, r->offset};
    scan->sequence = r->sequence;
    return rc;
}

int chassis_journal_scan_read(struct chassis_journal_scan *scan,
                              struct chassis_journal_scratch *scratch, size_t bytes_max,
                              int (*each)(const struct chassis_journal_record *record, void *data),
                              void *data, struct chassis_error *err)
{
    if (scan->next >= scan->end) {
        return 0;
    }
    struct guard guard = {scan, each, data, false};
    struct journal_reader r = {
        .directory = scan->directory,
        .stream = scan->stream,
        .runs = scan->runs,
        .n_runs = scan->n_runs,
        .run = scan->run,
        .source = find_source,
        .context = scan,
        .window = window_from(scan, scratch),
        .index = scan->next,
        .left = bytes_max,
        .each = guarded,
        .data = &guard,
    };
    int rc = read_runs(scan, &r, err);
    scan->next = guard.stopped ? r.index - 1 : r.index;
    if (guard.stopped) {
        scan->end = scan->next;
        scan->at.segment = 0;
    }
    scratch->bytes = r.window.bytes;
    scratch->scan = scan->id;
    scratch->version = scan->version;
    scratch->segment = r.in.number;
    scratch->start = r.window.start;
    return rc;
}
