/* The index of a stream: a sorted array of entries, each the place from where its records, up to the
 * next entry, are met in order by reading on.
 *
 *     entries   5 @2:512   9 @3:512   14 @3:9000   20 @2:7000 (forced)
 *     records   5 … 8      9 … 13     14 … 19      20 … last
 *
 * While a stream has few records each has an entry; then they are thinned to one in 256 KiB of log, and
 * further when there are too many of all streams. Each counts in its segment, which is kept as long as
 * it does. A record that was copied forward is moved: the run it stood in is split around it.
 *
 * While a journal is read at open, copies may be met before records that stand between them. What is
 * missing is an entry without a place: a hole. When all is read, what lies before the last hole was
 * trimmed before its segments went, and is dropped.
 */
#include <stdlib.h>

#include "journal/internal.h"

static void hold(struct chassis_journal *j, const struct entry *e)
{
    if (e->segment != 0) {
        journal_segment(j, e->segment)->n_live++;
        j->n_entries++;
    }
}

static void let_go(struct chassis_journal *j, const struct entry *e)
{
    if (e->segment != 0) {
        struct segment *seg = journal_segment(j, e->segment);
        CHASSIS_ASSERT(seg->n_live != 0);
        seg->n_live--;
        j->n_entries--;
    }
}

static void resize(struct stream *s, uint32_t cap)
{
    s->cap_entries = cap;
    s->entries = chassis_base_realloc(s->entries, cap * sizeof *s->entries);
}

static void insert(struct chassis_journal *j, struct stream *s, uint32_t i, struct entry e)
{
    if (s->n_entries == s->cap_entries) {
        resize(s, s->cap_entries != 0 ? s->cap_entries * 2 : 1);
    }
    memmove(s->entries + i + 1, s->entries + i, (s->n_entries - i) * sizeof *s->entries);
    s->entries[i] = e;
    s->n_entries++;
    hold(j, &e);
}

/* Remove n entries from the i-th on. */
static void remove_some(struct chassis_journal *j, struct stream *s, uint32_t i, uint32_t n)
{
    if (n == 0) {
        return;
    }
    for (uint32_t k = i; k < i + n; k++) {
        let_go(j, &s->entries[k]);
    }
    s->n_entries -= n;
    memmove(s->entries + i, s->entries + i + n, (s->n_entries - i) * sizeof *s->entries);
    if (s->cap_entries > 4 && s->n_entries <= s->cap_entries / 4) {
        resize(s, s->cap_entries / 2);
    }
}

static uint32_t entries_max(const struct chassis_journal *j, const struct stream *s)
{
    if (s->spacing < INDEX_SPACING && s->spacing < j->segment_bytes) {
        return INDEX_FEW;
    }
    uint32_t share = INDEX_TOTAL / (j->n_streams != 0 ? j->n_streams : 1);
    if (j->n_entries < INDEX_TOTAL || share > INDEX_MAX) {
        return INDEX_MAX;
    }
    return share < INDEX_MIN ? INDEX_MIN : share;
}

/* Whether the record that follows the run's last one needs no entry of its own. */
static bool joins(const struct chassis_journal *j, const struct stream *s, const struct entry *run,
                  struct place at)
{
    if (run->segment == at.segment) {
        return at.offset > run->offset && at.offset - run->offset < s->spacing;
    }
    return run->segment != 0 && s->spacing > j->segment_bytes &&
           (at.segment - run->segment) * j->segment_bytes < s->spacing;
}

/* Make the spacing twice as large and drop the entries that need not be. */
static void thin(struct chassis_journal *j, struct stream *s)
{
    uint32_t n = 1;
    s->spacing = s->spacing != 0 ? s->spacing * 2 : INDEX_SPACING_FIRST;
    for (uint32_t i = 1; i < s->n_entries; i++) {
        const struct entry *e = &s->entries[i];
        if (e->forced || !joins(j, s, &s->entries[n - 1], (struct place){e->segment, e->offset})) {
            s->entries[n++] = *e;
        } else {
            let_go(j, e);
        }
    }
    s->n_entries = n;
}

static struct entry entry_at(const struct record_header *h, struct place at, bool forced)
{
    return (struct entry){h->index, h->time_ns, at.segment, at.offset & 0x7fffffffU, forced};
}

void journal_entries_add(struct chassis_journal *j, struct stream *s, const struct record_header *h,
                         struct place at, bool forced)
{
    if (s->n_entries != 0 && !forced && joins(j, s, &s->entries[s->n_entries - 1], at)) {
        return;
    }
    while (s->n_entries >= entries_max(j, s) && s->spacing < INDEX_SPACING_MAX) {
        thin(j, s);
    }
    insert(j, s, s->n_entries, entry_at(h, at, forced));
}

const struct entry *journal_entry(const struct stream *s, uint64_t index)
{
    uint32_t low = 0, high = s->n_entries;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (s->entries[mid].index <= index) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low != 0 ? &s->entries[low - 1] : NULL;
}

void journal_entries_cut(struct chassis_journal *j, struct stream *s, uint64_t index)
{
    while (s->n_entries != 0 && s->entries[s->n_entries - 1].index >= index) {
        let_go(j, &s->entries[--s->n_entries]);
    }
}

void journal_entries_trim(struct chassis_journal *j, struct stream *s, uint64_t first)
{
    const struct entry *e = journal_entry(s, first);
    if (e != NULL) {
        remove_some(j, s, 0, (uint32_t)(e - s->entries));
        s->entries[0].index = first; /* reading on from its place one meets it */
    }
}

/* Split the runs around `index`, which belongs to none then: where its entry is to be inserted. */
static uint32_t take_out(struct chassis_journal *j, struct stream *s, const struct record_header *h)
{
    uint64_t index = h->index;
    const struct entry *found = journal_entry(s, index);
    uint32_t i = found != NULL ? (uint32_t)(found - s->entries) : 0;
    struct entry rest = {.index = index + 1, .forced = 1}; /* a hole, if nothing covers it */
    uint32_t next = 0;
    if (found != NULL) {
        next = i + 1;
        rest.segment = found->segment;
        rest.offset = found->offset;
        rest.time_ns = h->time_ns;
    }
    uint64_t end = next < s->n_entries ? s->entries[next].index : s->last + 1;
    if (end == index + 1) { /* nothing remains behind it */
        if (next < s->n_entries) {
            s->entries[next].forced = 1;
        }
        if (found != NULL && found->index == index) {
            remove_some(j, s, i, 1);
            return i;
        }
    } else if (found != NULL && found->index == index) {
        s->entries[i] = rest;
        return i;
    } else {
        insert(j, s, next, rest);
        if (next + 1 < s->n_entries) {
            s->entries[next + 1].forced = 1;
        }
    }
    return next;
}

void journal_entries_move(struct chassis_journal *j, struct stream *s,
                          const struct record_header *h, struct place at)
{
    uint32_t i = take_out(j, s, h);
    const struct entry *before = i != 0 ? &s->entries[i - 1] : NULL;
    bool follows = before != NULL && before->segment == at.segment && before->offset < at.offset;
    if (!follows || at.offset - before->offset >= s->spacing) {
        insert(j, s, i, entry_at(h, at, !follows));
    }
}

void journal_entries_hole(struct chassis_journal *j, struct stream *s, uint64_t index)
{
    insert(j, s, s->n_entries, (struct entry){.index = index, .forced = 1});
}

uint64_t journal_entries_settle(struct chassis_journal *j, struct stream *s)
{
    uint32_t i = s->n_entries;
    while (i > 0 && s->entries[i - 1].segment != 0) {
        i--;
    }
    remove_some(j, s, 0, i);
    return s->n_entries != 0 ? s->entries[0].index : s->last + 1;
}

void journal_entries_leave(struct chassis_journal *j, struct segment *seg)
{
    for (uint32_t i = 0; i < j->cap_table && seg->n_live != 0; i++) {
        struct stream *s = j->table[i];
        for (uint32_t k = 0; s != NULL && k < s->n_entries; k++) {
            struct entry *e = &s->entries[k];
            if (e->segment == seg->number) {
                let_go(j, e);
                e->segment++;
                e->offset = SEGMENT_HEADER_SIZE;
                hold(j, e);
            }
        }
    }
}
