#include "catalyst/broker/dedupe.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "catalyst/broker/broker.h"

enum { RING_MIN = 4 };

struct entry {
    struct fingerprint print;
    uint64_t sequence;
    int64_t time_ns;
};

/* What a search compares first and a removal moves by stands here: the ring, far larger than a cache
 * of the processor, is looked at only for what is very likely the same event. */
struct slot {
    uint32_t place; /* in the ring + 1; 0 = free */
    uint32_t low;   /* of its print */
};

struct dedupe {
    struct dedupe_pool *pool;
    struct entry *ring; /* entry number n stands at n & (cap - 1) */
    struct slot *index; /* 2 * cap of them */
    uint64_t first, end;
    uint32_t cap;
    int64_t window_ns;
};

/* ---- SipHash-2-4-128 ---- */

static uint64_t rotl(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

static void rounds(uint64_t v[4], unsigned n)
{
    for (; n > 0; n--) {
        v[0] += v[1];
        v[1] = rotl(v[1], 13) ^ v[0];
        v[0] = rotl(v[0], 32);
        v[2] += v[3];
        v[3] = rotl(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotl(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotl(v[1], 17) ^ v[2];
        v[2] = rotl(v[2], 32);
    }
}

static void absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
}

static void absorb_text(uint64_t v[4], struct chassis_view text)
{
    const uint8_t *p = text.data;
    size_t left = text.len;
    uint64_t word;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        absorb(v, word);
    }
    word = (uint64_t)text.len << 56; /* each text ends with its length: "a","bc" is not "ab","c" */
    for (size_t i = 0; i < left; i++) {
        word |= (uint64_t)p[i] << 8 * i;
    }
    absorb(v, word);
}

struct fingerprint cat_dedupe_fingerprint(const uint8_t key[16], struct chassis_view source,
                                          struct chassis_view id)
{
    uint64_t k0 = chassis_get_le64(key), k1 = chassis_get_le64(key + 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL ^ 0xee,
                     k0 ^ 0x6c7967656e657261ULL, k1 ^ 0x7465646279746573ULL};
    struct fingerprint print;
    absorb_text(v, source);
    absorb_text(v, id);
    v[2] ^= 0xee;
    rounds(v, 4);
    print.low = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    rounds(v, 4);
    print.high = v[0] ^ v[1] ^ v[2] ^ v[3];
    return print;
}

/* ---- the index: linear probing, deletion by moving back (Knuth 6.4, algorithm R) ---- */

static uint32_t index_mask(const struct dedupe *d)
{
    return d->cap * 2 - 1;
}

static uint32_t index_home(const struct dedupe *d, uint32_t place)
{
    return (uint32_t)d->ring[place].print.low & index_mask(d);
}

static void index_put(struct dedupe *d, uint32_t place)
{
    uint32_t i = index_home(d, place);
    while (d->index[i].place != 0) {
        i = (i + 1) & index_mask(d);
    }
    d->index[i] = (struct slot){place + 1, (uint32_t)d->ring[place].print.low};
}

static void index_remove(struct dedupe *d, uint32_t place)
{
    uint32_t mask = index_mask(d), i = index_home(d, place);
    while (d->index[i].place != place + 1) {
        if (d->index[i].place == 0) {
            return; /* removed before */
        }
        i = (i + 1) & mask;
    }
    for (uint32_t j = (i + 1) & mask; d->index[j].place != 0; j = (j + 1) & mask) {
        if (((j - d->index[j].low) & mask) >= ((j - i) & mask)) {
            d->index[i] = d->index[j];
            i = j;
        }
    }
    d->index[i].place = 0;
}

/* ---- the ring ---- */

static void resize(struct dedupe *d, uint32_t cap)
{
    struct entry *ring = cap != 0 ? chassis_base_alloc(cap * sizeof *ring) : NULL;
    uint8_t *gone = chassis_base_zalloc(d->cap != 0 ? d->cap : 1);
    struct slot *before = d->index;
    uint32_t n_before = d->cap * 2;
    memset(gone, 1, d->cap);
    for (uint32_t i = 0; i < n_before; i++) {
        if (before[i].place != 0) {
            gone[before[i].place - 1] = 0;
        }
    }
    struct entry *old = d->ring;
    uint32_t old_cap = d->cap;
    d->ring = ring;
    d->cap = cap;
    d->index = cap != 0 ? chassis_base_zalloc((size_t)cap * 2 * sizeof *d->index) : NULL;
    for (uint64_t n = d->first; n < d->end; n++) {
        uint32_t from = (uint32_t)n & (old_cap - 1), to = (uint32_t)n & (cap - 1);
        ring[to] = old[from];
        if (!gone[from]) {
            index_put(d, to);
        }
    }
    free(gone);
    free(old);
    free(before);
}

static void drop_first(struct dedupe *d)
{
    enum { AHEAD = 4 };
    uint32_t soon = (uint32_t)(d->first + AHEAD) & (d->cap - 1);
    __builtin_prefetch(&d->index[index_home(d, soon)], 1); /* of those that are dropped next */
    index_remove(d, (uint32_t)d->first & (d->cap - 1));
    d->first++;
    d->pool->n--;
}

static void expire(struct dedupe *d, int64_t now_ns)
{
    while (d->first != d->end && d->ring[d->first & (d->cap - 1)].time_ns < now_ns - d->window_ns) {
        drop_first(d);
    }
    uint64_t n = d->end - d->first;
    if (d->cap > RING_MIN && n * 8 < d->cap) {
        uint32_t cap = d->cap;
        while (cap > RING_MIN && n * 4 < cap) {
            cap /= 2;
        }
        resize(d, cap);
    }
}

struct dedupe *cat_dedupe_new(struct dedupe_pool *pool, uint64_t window_ms, uint64_t first)
{
    struct dedupe *d = chassis_base_zalloc(sizeof *d);
    d->pool = pool;
    d->first = d->end = first;
    cat_dedupe_set_window(d, window_ms);
    return d;
}

void cat_dedupe_free(struct dedupe *d)
{
    if (d != NULL) {
        d->pool->n -= d->end - d->first;
        free(d->ring);
        free(d->index);
        free(d);
    }
}

void cat_dedupe_set_window(struct dedupe *d, uint64_t window_ms)
{
    if (d != NULL) {
        d->window_ns = (int64_t)(window_ms * 1000000);
    }
}

void cat_dedupe_prefetch(const struct dedupe *d, struct fingerprint print)
{
    if (d->cap != 0) {
        __builtin_prefetch(&d->index[(uint32_t)print.low & index_mask(d)], 1);
    }
}

bool cat_dedupe_find(struct dedupe *d, struct fingerprint print, int64_t now_ns,
                     uint64_t *ret_entry)
{
    expire(d, now_ns);
    if (d->cap == 0) {
        return false;
    }
    for (uint32_t i = (uint32_t)print.low & index_mask(d); d->index[i].place != 0;
         i = (i + 1) & index_mask(d)) {
        if (d->index[i].low != (uint32_t)print.low) {
            continue;
        }
        uint32_t place = d->index[i].place - 1;
        const struct entry *e = &d->ring[place];
        if (e->print.low == print.low && e->print.high == print.high) {
            uint64_t behind = (place - (uint32_t)d->first) & (d->cap - 1);
            *ret_entry = d->first + behind;
            return true;
        }
    }
    return false;
}

uint64_t cat_dedupe_add(struct dedupe *d, struct fingerprint print, int64_t now_ns)
{
    bool full = d->end - d->first == CAT_DEDUPE_EVENTS_MAX || d->pool->n >= d->pool->max;
    if (full && d->end != d->first) {
        drop_first(d);
    }
    if (d->end - d->first == d->cap) {
        resize(d, d->cap != 0 ? d->cap * 2 : RING_MIN);
    }
    uint32_t place = (uint32_t)d->end & (d->cap - 1);
    d->ring[place] = (struct entry){.print = print, .time_ns = now_ns};
    index_put(d, place);
    d->pool->n++;
    return d->end++;
}

void cat_dedupe_set_sequence(struct dedupe *d, uint64_t entry, uint64_t sequence)
{
    if (entry >= d->first && entry < d->end) {
        d->ring[entry & (d->cap - 1)].sequence = sequence;
    }
}

uint64_t cat_dedupe_sequence(const struct dedupe *d, uint64_t entry)
{
    return entry >= d->first && entry < d->end ? d->ring[entry & (d->cap - 1)].sequence : 0;
}

void cat_dedupe_remove(struct dedupe *d, uint64_t entry)
{
    if (entry >= d->first && entry < d->end) {
        index_remove(d, (uint32_t)entry & (d->cap - 1));
        if (entry + 1 == d->end) {
            d->end--;
            d->pool->n--;
        }
    }
}

uint64_t cat_dedupe_end(const struct dedupe *d)
{
    return d->end;
}

uint32_t cat_dedupe_count(const struct dedupe *d)
{
    return (uint32_t)(d->end - d->first);
}
