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
    s->rewrite_sequence = j->last_sequence + 1; /* appends to one of this number, now forgotten */
    s->rewrite_index = 1;
    chassis_list_init(&s->link);
    table_put(j, s);
    j->n_streams++;
    return s;
}

/* Close the gap the stream leaves in the table (Knuth 6.4, algorithm R). */
static void table_remove(struct chassis_journal *j, const struct stream *s)
{
    uint32_t mask = j->cap_table - 1, gap = hash_id(s->id) & mask;
    while (j->table[gap] != s) {
        gap = (gap + 1) & mask;
    }
    for (uint32_t i = (gap + 1) & mask; j->table[i] != NULL; i = (i + 1) & mask) {
        uint32_t home = hash_id(j->table[i]->id) & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            j->table[gap] = j->table[i];
            gap = i;
        }
    }
    j->table[gap] = NULL;
    j->n_streams--;
}

/* Let the segment that holds the state of a stream without records know about it. */
static void rehome(struct chassis_journal *j, struct stream *s)
{
    struct segment *home = s->n_entries == 0 ? journal_segment(j, s->state_segment) : NULL;
    if (s->home != home) {
        chassis_list_remove(&s->link);
        s->home = home;
        if (home != NULL) {
            chassis_list_append(&home->empty, &s->link);
        }
    }
}

/* Of the `n` records known of, `kept` remain. What they weigh is an estimate. */
static void keep_bytes(struct chassis_journal *j, struct stream *s, uint64_t kept, uint64_t n)
{
    uint64_t bytes = kept == 0 ? 0 : (uint64_t)((double)s->bytes * ((double)kept / (double)n));
    j->live_bytes -= s->bytes - bytes;
    s->bytes = bytes;
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

/* The term of one record in the midst of others, met late. */
static void terms_set(struct stream *s, uint64_t index, uint64_t term)
{
    uint32_t i = s->n_terms; /* the run that covers it is the one before */
    while (i > 0 && s->terms[i - 1].first_index > index) {
        i--;
    }
    uint64_t before = i > 0 ? s->terms[i - 1].term : 0;
    if (before == term) {
        return;
    }
    uint64_t end = i < s->n_terms ? s->terms[i].first_index : s->last + 1;
    if (i > 1 && s->terms[i - 1].first_index == index && s->terms[i - 2].term == term &&
        end != index + 1) {
        s->terms[i - 1].first_index++; /* the run before grows by one */
        return;
    }
    if (s->n_terms + 2 > s->cap_terms) {
        s->cap_terms = s->cap_terms * 2 + 2;
        s->terms = chassis_base_realloc(s->terms, s->cap_terms * sizeof *s->terms);
    }
    uint32_t more = end == index + 1 ? 1 : 2;
    memmove(s->terms + i + more, s->terms + i, (s->n_terms - i) * sizeof *s->terms);
    s->terms[i] = (struct term_run){index, term};
    if (more == 2) {
        s->terms[i + 1] = (struct term_run){index + 1, before};
    }
    s->n_terms += more;
}

/* Runs of equal terms become one, and one that begins where the next does is none. */
static void terms_settle(struct stream *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_terms; i++) {
        bool empty = i + 1 < s->n_terms && s->terms[i + 1].first_index == s->terms[i].first_index;
        if (!empty && (n != 0 ? s->terms[n - 1].term : 0) != s->terms[i].term) {
            s->terms[n++] = s->terms[i];
        }
    }
    s->n_terms = n;
}

static void terms_trim(struct stream *s, uint64_t first)
{
    uint32_t old = 0;
    while (old + 1 < s->n_terms && s->terms[old + 1].first_index <= first) {
        old++;
    }
    s->n_terms -= old;
    if (old != 0) {
        memmove(s->terms, s->terms + old, s->n_terms * sizeof *s->terms);
    }
}

/* ---- cache ---- */

static void cached_free(struct chassis_journal *j, struct stream *s, struct cached *c)
{
    chassis_list_remove(&c->link);
    s->cache_bytes -= c->length;
    j->cached_bytes -= c->length + sizeof *c;
    s->cache_n--;
    free(c);
    if (s->cache_n == 0) {
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
    keep_bytes(j, s, index > s->first ? index - s->first : 0, s->last + 1 - s->first);
    journal_entries_cut(j, s, index);
    while (s->n_terms != 0 && s->terms[s->n_terms - 1].first_index >= index) {
        s->n_terms--;
    }
    if (s->rewrite_sequence == 0 || index < s->rewrite_index) {
        s->rewrite_index = index;
    }
    s->rewrite_sequence = sequence;
    j->free_after = sequence; /* until then a crash brings the replaced ones back */
    journal_scans_cut(j, s->id, index, index);
    s->last = index - 1;
    s->next_read = 0;
    s->written = s->written < index ? s->written : index - 1;
    s->durable = s->durable < index ? s->durable : index - 1;
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
    if (h->index > s->last + 1 && s->n_entries != 0) {
        journal_entries_hole(j, s, s->last + 1); /* at open: copies come later in the log */
        replaces = true;
    }
    journal_entries_add(j, s, h, at, replaces);
    s->known = true;
    s->bytes += record_size(h->length);
    j->live_bytes += record_size(h->length);
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
    keep_bytes(j, s, 0, 1);
    journal_entries_cut(j, s, 0);
    s->n_terms = 0;
    s->known = true;
    s->last = h->index;
    s->first = h->index + 1;
    s->last_term = h->term;
    s->written = s->durable = h->index;
    s->rewrite_sequence = h->sequence;
    j->free_after = h->sequence;
    s->rewrite_index = s->first;
    s->next_read = 0;
    s->state_segment = segment;
    rehome(j, s);
}

bool journal_stream_copied(struct chassis_journal *j, struct stream *s,
                           const struct record_header *h, struct place at)
{
    if (s->n_entries == 0 || h->index > s->last) {
        bool first = !s->known; /* what came before was trimmed, or is met as a copy later */
        if (first) {
            journal_stream_add(j, s, h, at, NULL);
            s->known = false;
        }
        return first;
    }
    const struct entry *e = journal_entry(s, h->index);
    if (e == NULL || e->segment == 0) { /* at open, the first seen of it */
        s->bytes += record_size(h->length);
        j->live_bytes += record_size(h->length);
    }
    journal_entries_move(j, s, h, at);
    terms_set(s, h->index, h->term);
    s->next_read = 0;
    if (h->index == s->last) {
        s->state_segment = at.segment;
    }
    return true;
}

void journal_stream_settle(struct chassis_journal *j, struct stream *s)
{
    uint64_t first = journal_entries_settle(j, s);
    if (s->n_entries != 0) {
        s->first = first;
    }
    terms_settle(s);
    terms_trim(s, s->first);
    s->written = s->durable = s->last;
    s->rewrite_sequence = 0;
}

void journal_stream_trim(struct chassis_journal *j, struct stream *s, uint64_t through)
{
    keep_bytes(j, s, s->last - through, s->last + 1 - s->first);
    s->first = through + 1;
    while (s->cache_n != 0 && cache_front(s)->index <= through) {
        cache_pop_front(j, s);
    }
    if (through == s->last) {
        journal_entries_cut(j, s, 0);
        s->n_terms = 0;
    } else {
        journal_entries_trim(j, s, s->first);
        terms_trim(s, s->first);
    }
    if (s->next_read != 0 && s->next_read < s->first) {
        s->next_read = 0;
    }
    rehome(j, s);
}

void journal_stream_written(struct chassis_journal *j, struct stream *s, uint64_t index,
                            uint64_t sequence)
{
    if (sequence >= s->rewrite_sequence) {
        s->rewrite_sequence = 0;
    } else if (index >= s->rewrite_index) {
        index = s->rewrite_index - 1; /* replaced meanwhile by what comes after it */
    }
    if (index > s->written && index <= s->last) {
        s->written = index;
    }
    if (sequence <= j->synced_sequence) {
        s->durable = s->written;
    } else if (!s->is_unsynced) {
        s->is_unsynced = true;
        s->next_unsynced = j->unsynced_streams;
        j->unsynced_streams = s;
    }
}

void journal_streams_synced(struct chassis_journal *j)
{
    while (j->unsynced_streams != NULL) {
        struct stream *s = j->unsynced_streams;
        j->unsynced_streams = s->next_unsynced;
        s->is_unsynced = false;
        s->durable = s->written;
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
        .written_index = s->written,
        .durable_index = s->durable,
        .last_term = s->last_term,
        .bytes = s->bytes,
    };
}

static void stream_free(struct chassis_journal *j, struct stream *s)
{
    while (s->cache_n != 0) {
        cache_pop_back(j, s);
    }
    free(s->cache);
    free(s->entries);
    free(s->terms);
    free(s);
}

void journal_stream_forget(struct chassis_journal *j, struct stream *s)
{
    struct stream **link = &j->unsynced_streams;
    while (s->is_unsynced && *link != s) {
        link = &(*link)->next_unsynced;
    }
    if (s->is_unsynced) {
        *link = s->next_unsynced;
    }
    keep_bytes(j, s, 0, 1);
    journal_entries_cut(j, s, 0);
    chassis_list_remove(&s->link);
    table_remove(j, s);
    stream_free(j, s);
}

void chassis_journal_each_stream(struct chassis_journal *j,
                                 void (*each)(uint32_t stream, void *data), void *data)
{
    CHASSIS_ASSERT(chassis_is_current(j->owner));
    for (uint32_t i = 0; i < j->cap_table; i++) {
        if (j->table[i] != NULL) {
            each(j->table[i]->id, data);
        }
    }
}

void journal_streams_free(struct chassis_journal *j)
{
    for (uint32_t i = 0; i < j->cap_table; i++) {
        if (j->table[i] != NULL) {
            stream_free(j, j->table[i]);
        }
    }
    free(j->table);
}
