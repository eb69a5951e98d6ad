/* What is known of each stream: bounds, sparse index, terms, newest payloads. */
#include <stdlib.h>

#include "journal/internal.h"

static uint32_t hash_id(uint32_t id)
{
    return (uint32_t)((id * 0x9e3779b97f4a7c15ULL) >> 32); /* Fibonacci hashing (Knuth 6.4) */
}

struct stream *journal_stream_find(struct chassis_journal *j, uint32_t id)
{
    if (j->cap_table == 0) {
        return NULL;
    }
    uint32_t i = hash_id(id) & (j->cap_table - 1);
    while (j->table[i] != NULL && j->table[i]->id != id) {
        i = (i + 1) & (j->cap_table - 1);
    }
    return j->table[i];
}

static void table_put(struct chassis_journal *j, struct stream *s)
{
    uint32_t i = hash_id(s->id) & (j->cap_table - 1);
    while (j->table[i] != NULL) {
        i = (i + 1) & (j->cap_table - 1);
    }
    j->table[i] = s;
}

static void table_grow(struct chassis_journal *j)
{
    struct stream **before = j->table;
    uint32_t n = j->cap_table;
    j->cap_table = n != 0 ? n * 2 : 16;
    j->table = chassis_base_zalloc(j->cap_table * sizeof *j->table);
    for (uint32_t i = 0; i < n; i++) {
        if (before[i] != NULL) {
            table_put(j, before[i]);
        }
    }
    free(before);
}

struct stream *journal_stream_make(struct chassis_journal *j, uint32_t id)
{
    struct stream *s = journal_stream_find(j, id);
    if (s != NULL) {
        return s;
    }
    if ((j->n_streams + 1) * 4 > j->cap_table * 3) {
        table_grow(j);
    }
    s = chassis_base_zalloc(sizeof *s);
    s->id = id;
    s->first = 1;
    s->spacing = j->segment_bytes < INDEX_SPACING ? j->segment_bytes : INDEX_SPACING;
    chassis_list_init(&s->link);
    table_put(j, s);
    j->n_streams++;
    return s;
}

/* Let the segment that holds the oldest thing the stream needs know about it. */
static void rehome(struct chassis_journal *j, struct stream *s)
{
    bool live = s->n_entries != 0;
    struct segment *home = journal_segment(j, live ? s->entries[0].segment : s->state_segment);
    if (s->home == home && s->home_live == live) {
        return;
    }
    if (s->home != NULL && s->home_live) {
        s->home->n_live--;
    }
    chassis_list_remove(&s->link);
    s->home = home;
    s->home_live = live;
    if (live) {
        home->n_live++;
    } else {
        chassis_list_append(&home->empty, &s->link);
    }
}

/* ---- sparse index ---- */

static uint32_t entries_max(const struct chassis_journal *j)
{
    uint32_t share = INDEX_TOTAL / (j->n_streams != 0 ? j->n_streams : 1);
    return share < INDEX_MIN ? INDEX_MIN : share > INDEX_MAX ? INDEX_MAX : share;
}

/* Drop every other entry that may be dropped. The first stays: it keeps its segment alive. */
static void entries_thin(struct stream *s)
{
    uint32_t n = 1;
    for (uint32_t i = 1; i < s->n_entries; i++) {
        if (s->entries[i].forced || i % 2 == 0) {
            s->entries[n++] = s->entries[i];
        }
    }
    s->n_entries = n;
    s->spacing *= 2;
}

static void entries_add(struct chassis_journal *j, struct stream *s, const struct record_header *h,
                        struct place at, bool forced)
{
    if (s->n_entries != 0 && !forced) {
        const struct entry *last = &s->entries[s->n_entries - 1];
        if (last->segment == at.segment && at.offset - last->offset < s->spacing) {
            return;
        }
        if (last->segment != at.segment && s->spacing > j->segment_bytes &&
            (at.segment - last->segment) * j->segment_bytes < s->spacing) {
            return;
        }
    }
    if (s->n_entries >= entries_max(j)) {
        entries_thin(s);
    }
    if (s->n_entries == s->cap_entries) {
        s->cap_entries = s->cap_entries != 0 ? s->cap_entries * 2 : 1;
        s->entries = chassis_base_realloc(s->entries, s->cap_entries * sizeof *s->entries);
    }
    s->entries[s->n_entries++] =
        (struct entry){h->index, h->time_ns, at.segment, at.offset & 0x7fffffffU, forced};
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

/* ---- terms: a run per change ---- */

static void terms_add(struct stream *s, uint64_t index, uint64_t term)
{
    if (s->n_terms != 0 ? s->terms[s->n_terms - 1].term == term : term == 0) {
        return;
    }
    if (s->n_terms == s->cap_terms) {
        s->cap_terms = s->cap_terms != 0 ? s->cap_terms * 2 : 2;
        s->terms = chassis_base_realloc(s->terms, s->cap_terms * sizeof *s->terms);
    }
    s->terms[s->n_terms++] = (struct term_run){index, term};
}

static uint64_t term_of(const struct stream *s, uint64_t index)
{
    for (uint32_t i = s->n_terms; i > 0; i--) { /* nearly always asked about the newest */
        if (s->terms[i - 1].first_index <= index) {
            return s->terms[i - 1].term;
        }
    }
    return 0;
}

uint64_t chassis_journal_term(struct chassis_journal *j, uint32_t stream, uint64_t index)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner));
    const struct stream *s = journal_stream_find(j, stream);
    return s != NULL && index >= s->first && index <= s->last ? term_of(s, index) : 0;
}

/* ---- cache ---- */

static void cached_free(struct chassis_journal *j, struct stream *s, struct cached *c)
{
    chassis_list_remove(&c->link);
    s->cache_bytes -= c->length;
    j->cached_bytes -= c->length + sizeof *c;
    s->cache_n--;
    free(c);
    if (s->cache_n == 0 && s->cache_cap > 64) {
        free(s->cache);
        s->cache = NULL;
        s->cache_cap = 0;
    }
}

static struct cached *cache_front(const struct stream *s)
{
    return s->cache[s->cache_head];
}

static void cache_pop_front(struct chassis_journal *j, struct stream *s)
{
    struct cached *c = cache_front(s);
    s->cache_head = (s->cache_head + 1) & (s->cache_cap - 1);
    cached_free(j, s, c);
}

static void cache_pop_back(struct chassis_journal *j, struct stream *s)
{
    cached_free(j, s, s->cache[(s->cache_head + s->cache_n - 1) & (s->cache_cap - 1)]);
}

struct cached *journal_cached(const struct stream *s, uint64_t index)
{
    if (index > s->last || s->last - index >= s->cache_n) {
        return NULL;
    }
    uint32_t i = s->cache_n - 1 - (uint32_t)(s->last - index);
    return s->cache[(s->cache_head + i) & (s->cache_cap - 1)];
}

static void cache_grow(struct stream *s)
{
    uint32_t cap = s->cache_cap != 0 ? s->cache_cap * 2 : 8;
    struct cached **ring = chassis_base_alloc(cap * sizeof(struct cached *));
    for (uint32_t i = 0; i < s->cache_n; i++) {
        ring[i] = s->cache[(s->cache_head + i) & (s->cache_cap - 1)];
    }
    free(s->cache);
    s->cache = ring;
    s->cache_cap = cap;
    s->cache_head = 0;
}

static void cache_add(struct chassis_journal *j, struct stream *s, const struct record_header *h,
                      struct chassis_view payload)
{
    if (s->cache_n == s->cache_cap) {
        cache_grow(s);
    }
    struct cached *c = chassis_base_alloc(sizeof *c + payload.len);
    c->stream = s;
    c->sequence = h->sequence;
    c->index = h->index;
    c->term = h->term;
    c->time_ns = h->time_ns;
    c->type = h->type;
    c->length = (uint32_t)payload.len;
    if (payload.len != 0) {
        memcpy(c->bytes, payload.data, payload.len);
    }
    chassis_list_append(&j->cached, &c->link);
    s->cache[(s->cache_head + s->cache_n) & (s->cache_cap - 1)] = c;
    s->cache_n++;
    s->cache_bytes += c->length;
    j->cached_bytes += c->length + sizeof *c;
    /* What is not written yet can be read from here only. */
    while (s->cache_bytes > j->cache_bytes_per_stream &&
           cache_front(s)->sequence <= j->written_sequence) {
        cache_pop_front(j, s);
    }
    journal_cache_evict(j);
}

void journal_cache_evict(struct chassis_journal *j)
{
    while (j->cached_bytes > CACHE_TOTAL) {
        struct cached *oldest = chassis_list_entry(j->cached.next, struct cached, link);
        if (oldest->sequence > j->written_sequence) {
            return;
        }
        CHASSIS_ASSERT(cache_front(oldest->stream) == oldest);
        cache_pop_front(j, oldest->stream);
    }
}

/* ---- changes ---- */

/* Forget the records from `index` on. */
static void cut_end(struct chassis_journal *j, struct stream *s, uint64_t index, uint64_t sequence)
{
    while (s->cache_n != 0 && s->last >= index) {
        cache_pop_back(j, s);
        s->last--;
    }
    while (s->n_entries != 0 && s->entries[s->n_entries - 1].index >= index) {
        s->n_entries--;
    }
    while (s->n_terms != 0 && s->terms[s->n_terms - 1].first_index >= index) {
        s->n_terms--;
    }
    if (s->rewrite_sequence == 0 || index < s->rewrite_index) {
        s->rewrite_index = index;
    }
    s->rewrite_sequence = sequence;
    journal_scans_cut(j, s->id, index, index);
    s->last = index - 1;
    s->next_read = 0;
    if (s->durable >= index) {
        s->durable = index - 1;
    }
}

void journal_stream_add(struct chassis_journal *j, struct stream *s, const struct record_header *h,
                        struct place at, const struct chassis_view *payload)
{
    bool replaces = h->index <= s->last;
    if (replaces) {
        cut_end(j, s, h->index, h->sequence);
    }
    if (s->n_entries == 0) {
        s->first = h->index; /* empty, new, or what came before it was trimmed */
    }
    entries_add(j, s, h, at, replaces);
    if (term_of(s, h->index) != h->term) {
        terms_add(s, h->index, h->term);
    }
    s->last = h->index;
    s->last_term = h->term;
    s->state_segment = at.segment;
    if (payload != NULL) {
        cache_add(j, s, h, *payload);
    }
    rehome(j, s);
}

void journal_stream_reset(struct chassis_journal *j, struct stream *s,
                          const struct record_header *h, uint32_t segment)
{
    while (s->cache_n != 0) {
        cache_pop_back(j, s);
    }
    s->n_entries = 0;
    s->n_terms = 0;
    s->last = h->index;
    s->first = h->index + 1;
    s->last_term = h->term;
    s->durable = h->index;
    s->rewrite_sequence = h->sequence;
    s->rewrite_index = s->first;
    s->next_read = 0;
    s->state_segment = segment;
    rehome(j, s);
}

void journal_stream_trim(struct chassis_journal *j, struct stream *s, uint64_t through)
{
    s->first = through + 1;
    while (s->cache_n != 0 && cache_front(s)->index <= through) {
        cache_pop_front(j, s);
    }
    if (through == s->last) {
        s->n_entries = 0;
        s->n_terms = 0;
    } else {
        const struct entry *e = journal_entry(s, s->first);
        uint32_t drop = e != NULL ? (uint32_t)(e - s->entries) : 0;
        s->n_entries -= drop;
        memmove(s->entries, s->entries + drop, s->n_entries * sizeof *s->entries);
        uint32_t old = 0;
        while (old + 1 < s->n_terms && s->terms[old + 1].first_index <= s->first) {
            old++;
        }
        s->n_terms -= old;
        if (old != 0) {
            memmove(s->terms, s->terms + old, s->n_terms * sizeof *s->terms);
        }
    }
    if (s->next_read != 0 && s->next_read < s->first) {
        s->next_read = 0;
    }
    rehome(j, s);
}

void journal_stream_durable(struct chassis_journal *j, struct stream *s, uint64_t index,
                            uint64_t sequence)
{
    if (sequence < s->rewrite_sequence && index >= s->rewrite_index) {
        index = s->rewrite_index - 1; /* replaced meanwhile by what is still in flight */
    }
    if (s->rewrite_sequence != 0 && s->rewrite_sequence <= j->written_sequence) {
        s->rewrite_sequence = 0;
    }
    if (index > s->durable && index <= s->last) {
        s->durable = index;
    }
}

struct chassis_journal_stream chassis_journal_stream(struct chassis_journal *j, uint32_t stream)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner));
    const struct stream *s = journal_stream_find(j, stream);
    if (s == NULL) {
        return (struct chassis_journal_stream){0};
    }
    return (struct chassis_journal_stream){
        .first_index = s->first,
        .last_index = s->last,
        .durable_index = s->durable,
        .last_term = s->last_term,
    };
}

void journal_streams_free(struct chassis_journal *j)
{
    for (uint32_t i = 0; i < j->cap_table; i++) {
        struct stream *s = j->table[i];
        if (s == NULL) {
            continue;
        }
        while (s->cache_n != 0) {
            cache_pop_back(j, s);
        }
        free(s->cache);
        free(s->entries);
        free(s->terms);
        free(s);
    }
    free(j->table);
}
