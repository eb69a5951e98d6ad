/* The index: every rule hangs in one bucket, keyed by what must stand literally in one of the event's
 * fields: the whole of it, or its beginning up to the first wildcard. An event asks for its three
 * fields as a whole and for those beginnings whose lengths occur. Of the up to three buckets a rule
 * could hang in it takes the emptiest, so that many rules with the same type part by subject. */
#include <stdlib.h>

#include "base/assert.h"
#include "catalyst/event/subject.h"

enum { SOURCE, TYPE, SUBJECT, FIELDS };

struct bucket {
    struct bucket *next; /* of the same slot of the table */
    struct rule *rules;
    uint64_t hash;
    size_t count;
    uint8_t field, exact, len;
    uint8_t text[];
};
struct owner {
    struct owner *next;
    struct rule *rules;
    uint64_t stamp; /* of the last question it was told for */
    uint32_t id;
};
struct rule {
    struct rule *next, **link; /* in its bucket */
    struct rule *next_of_owner;
    struct owner *owner;
    struct bucket *bucket;
    uint8_t len[FIELDS]; /* of its patterns, 0 = anything */
    uint8_t text[];      /* one behind the other */
};
struct cat_subject_index {
    struct bucket **buckets;
    struct owner **owners;
    size_t bucket_slots, owner_slots; /* powers of two */
    size_t bucket_count, owner_count, rule_count;
    uint64_t stamp;
    uint32_t lengths[FIELDS][CAT_SUBJECT_PATTERN_MAX + 1]; /* buckets of beginnings so long */
};

/* FNV-1a, byte by byte, so that one pass gives the hash of every beginning. */
static const uint64_t hash_begin = 0xcbf29ce484222325;
static uint64_t hash_step(uint64_t hash, uint8_t byte)
{
    return (hash ^ byte) * 0x100000001b3;
}
static uint64_t hash_end(uint64_t hash, unsigned field, bool exact)
{
    hash = hash_step(hash, (uint8_t)(field << 1 | exact));
    return hash ^ hash >> 29; /* the table takes the low bits */
}
static uint64_t hash_id(uint32_t id)
{
    uint64_t hash = id * 0x9e3779b97f4a7c15;
    return hash ^ hash >> 32;
}

struct cat_subject_index *cat_subject_index_new(void)
{
    struct cat_subject_index *index = chassis_base_zalloc(sizeof *index);
    index->bucket_slots = index->owner_slots = 16;
    index->buckets = chassis_base_zalloc(index->bucket_slots * sizeof(struct bucket *));
    index->owners = chassis_base_zalloc(index->owner_slots * sizeof(struct owner *));
    return index;
}

void cat_subject_index_free(struct cat_subject_index *index)
{
    if (index == NULL) {
        return;
    }
    for (size_t i = 0; i < index->bucket_slots; i++) {
        for (struct bucket *b = index->buckets[i], *next; b != NULL; b = next) {
            for (struct rule *r = b->rules, *after; r != NULL; r = after) {
                after = r->next;
                free(r);
            }
            next = b->next;
            free(b);
        }
    }
    for (size_t i = 0; i < index->owner_slots; i++) {
        for (struct owner *o = index->owners[i], *next; o != NULL; o = next) {
            next = o->next;
            free(o);
        }
    }
    free(index->buckets);
    free(index->owners);
    free(index);
}

static void grow_buckets(struct cat_subject_index *index)
{
    size_t slots = index->bucket_slots * 2;
    struct bucket **table = chassis_base_zalloc(slots * sizeof *table);
    for (size_t i = 0; i < index->bucket_slots; i++) {
        for (struct bucket *b = index->buckets[i], *next; b != NULL; b = next) {
            next = b->next;
            b->next = table[b->hash & (slots - 1)];
            table[b->hash & (slots - 1)] = b;
        }
    }
    free(index->buckets);
    index->buckets = table;
    index->bucket_slots = slots;
}

static void grow_owners(struct cat_subject_index *index)
{
    size_t slots = index->owner_slots * 2;
    struct owner **table = chassis_base_zalloc(slots * sizeof *table);
    for (size_t i = 0; i < index->owner_slots; i++) {
        for (struct owner *o = index->owners[i], *next; o != NULL; o = next) {
            next = o->next;
            o->next = table[hash_id(o->id) & (slots - 1)];
            table[hash_id(o->id) & (slots - 1)] = o;
        }
    }
    free(index->owners);
    index->owners = table;
    index->owner_slots = slots;
}

/* What a rule would hang by in one field. */
struct anchor {
    struct chassis_view text;
    uint64_t hash;
    uint8_t field;
    bool exact;
};

static struct bucket *find_bucket(const struct cat_subject_index *index,
                                  const struct anchor *anchor)
{
    struct bucket *b = index->buckets[anchor->hash & (index->bucket_slots - 1)];
    while (b != NULL &&
           (b->hash != anchor->hash || b->field != anchor->field || b->exact != anchor->exact ||
            b->len != anchor->text.len || memcmp(b->text, anchor->text.data, b->len) != 0)) {
        b = b->next;
    }
    return b;
}

static struct bucket *make_bucket(struct cat_subject_index *index, const struct anchor *anchor)
{
    if (index->bucket_count == index->bucket_slots) {
        grow_buckets(index);
    }
    struct bucket *b = chassis_base_zalloc(sizeof *b + anchor->text.len);
    b->hash = anchor->hash;
    b->field = anchor->field;
    b->exact = anchor->exact;
    b->len = (uint8_t)anchor->text.len;
    memcpy(b->text, anchor->text.data, b->len);
    b->next = index->buckets[b->hash & (index->bucket_slots - 1)];
    index->buckets[b->hash & (index->bucket_slots - 1)] = b;
    index->bucket_count++;
    index->lengths[b->field][b->len] += !b->exact;
    return b;
}

static struct anchor anchor_of(unsigned field, struct chassis_view pattern)
{
    struct anchor anchor = {.field = (uint8_t)field, .text = {(const uint8_t *)"", 0}};
    uint64_t hash = hash_begin;
    size_t n = 0;
    while (n < pattern.len && pattern.data[n] != '*' && pattern.data[n] != '>') {
        hash = hash_step(hash, pattern.data[n++]);
    }
    anchor.exact = pattern.len != 0 && n == pattern.len;
    anchor.hash = hash_end(hash, field, anchor.exact);
    if (n != 0) {
        anchor.text = chassis_view(pattern.data, n);
    }
    return anchor;
}

/* The emptiest bucket; among equals an exact one, then the longest. */
static bool is_better(const struct anchor *a, size_t a_count, const struct anchor *b,
                      size_t b_count)
{
    if (a_count != b_count) {
        return a_count < b_count;
    }
    return a->exact != b->exact ? a->exact : a->text.len > b->text.len;
}

static struct bucket *choose_bucket(struct cat_subject_index *index,
                                    const struct chassis_view patterns[FIELDS])
{
    struct anchor best = {0};
    size_t best_count = SIZE_MAX;
    for (unsigned field = 0; field < FIELDS; field++) {
        if (patterns[field].len == 0) {
            continue;
        }
        struct anchor anchor = anchor_of(field, patterns[field]);
        const struct bucket *b = find_bucket(index, &anchor);
        size_t count = b != NULL ? b->count : 0;
        if (best_count == SIZE_MAX || is_better(&anchor, count, &best, best_count)) {
            best = anchor;
            best_count = count;
        }
    }
    if (best_count == SIZE_MAX) { /* takes everything: every event has a type */
        best = anchor_of(TYPE, chassis_view(NULL, 0));
    }
    struct bucket *b = find_bucket(index, &best);
    return b != NULL ? b : make_bucket(index, &best);
}

static struct owner **find_owner(const struct cat_subject_index *index, uint32_t id)
{
    struct owner **o = &index->owners[hash_id(id) & (index->owner_slots - 1)];
    while (*o != NULL && (*o)->id != id) {
        o = &(*o)->next;
    }
    return o;
}

static struct owner *get_owner(struct cat_subject_index *index, uint32_t id)
{
    struct owner *o = *find_owner(index, id);
    if (o == NULL) {
        if (index->owner_count == index->owner_slots) {
            grow_owners(index);
        }
        o = chassis_base_zalloc(sizeof *o);
        o->id = id;
        *find_owner(index, id) = o;
        index->owner_count++;
    }
    return o;
}

int cat_subject_index_add(struct cat_subject_index *index, uint32_t id, struct chassis_view source,
                          struct chassis_view type, struct chassis_view subject,
                          struct chassis_error *err)
{
    const struct chassis_view patterns[FIELDS] = {source, type, subject};
    size_t len = 0;
    for (unsigned field = 0; field < FIELDS; field++) {
        int rc = patterns[field].len != 0 ? cat_subject_valid(patterns[field], err) : 0;
        if (rc != 0) {
            return rc;
        }
        len += patterns[field].len;
    }
    struct rule *rule = chassis_base_zalloc(sizeof *rule + len);
    len = 0;
    for (unsigned field = 0; field < FIELDS; field++) {
        rule->len[field] = (uint8_t)patterns[field].len;
        if (patterns[field].len != 0) {
            memcpy(rule->text + len, patterns[field].data, patterns[field].len);
        }
        len += patterns[field].len;
    }
    rule->owner = get_owner(index, id);
    rule->next_of_owner = rule->owner->rules;
    rule->owner->rules = rule;
    rule->bucket = choose_bucket(index, patterns);
    rule->bucket->count++;
    rule->next = rule->bucket->rules;
    rule->link = &rule->bucket->rules;
    if (rule->next != NULL) {
        rule->next->link = &rule->next;
    }
    rule->bucket->rules = rule;
    index->rule_count++;
    return 0;
}

static void drop_bucket(struct cat_subject_index *index, struct bucket *bucket)
{
    struct bucket **b = &index->buckets[bucket->hash & (index->bucket_slots - 1)];
    while (*b != bucket) {
        b = &(*b)->next;
    }
    *b = bucket->next;
    index->bucket_count--;
    index->lengths[bucket->field][bucket->len] -= !bucket->exact;
    free(bucket);
}

void cat_subject_index_remove(struct cat_subject_index *index, uint32_t id)
{
    struct owner **place = find_owner(index, id), *owner = *place;
    if (owner == NULL) {
        return;
    }
    for (struct rule *r = owner->rules, *next; r != NULL; r = next) {
        next = r->next_of_owner;
        *r->link = r->next;
        if (r->next != NULL) {
            r->next->link = r->link;
        }
        if (--r->bucket->count == 0) {
            drop_bucket(index, r->bucket);
        }
        index->rule_count--;
        free(r);
    }
    *place = owner->next;
    index->owner_count--;
    free(owner);
}

struct question {
    struct cat_subject_index *index;
    struct chassis_view names[FIELDS];
    void (*each)(void *data, uint32_t id);
    void *data;
};

static bool takes(const struct rule *rule, const struct chassis_view names[FIELDS])
{
    const uint8_t *text = rule->text;
    for (unsigned field = 0; field < FIELDS; field++) {
        struct chassis_view pattern = chassis_view(text, rule->len[field]);
        if (pattern.len != 0 && !cat_subject_match(pattern, names[field])) {
            return false;
        }
        text += rule->len[field];
    }
    return true;
}

static void ask_bucket(const struct question *q, unsigned field, bool exact, size_t len,
                       uint64_t hash)
{
    struct anchor anchor = {chassis_view(q->names[field].data, len), hash_end(hash, field, exact),
                            (uint8_t)field, exact};
    const struct bucket *b = find_bucket(q->index, &anchor);
    for (const struct rule *r = b != NULL ? b->rules : NULL; r != NULL; r = r->next) {
        if (r->owner->stamp != q->index->stamp && takes(r, q->names)) {
            r->owner->stamp = q->index->stamp;
            q->each(q->data, r->owner->id);
        }
    }
}

void cat_subject_index_match(struct cat_subject_index *index, struct chassis_view source,
                             struct chassis_view type, struct chassis_view subject,
                             void (*each)(void *data, uint32_t id), void *data)
{
    const struct question q = {index, {source, type, subject}, each, data};
    index->stamp++;
    for (unsigned field = 0; field < FIELDS; field++) {
        struct chassis_view name = q.names[field];
        uint64_t hash = hash_begin;
        if (name.len == 0) {
            continue;
        }
        for (size_t len = 0;; len++) {
            if (index->lengths[field][len] != 0) {
                ask_bucket(&q, field, false, len, hash);
            }
            if (len == name.len) {
                ask_bucket(&q, field, true, len, hash);
            }
            if (len == name.len || len == CAT_SUBJECT_PATTERN_MAX) {
                break;
            }
            hash = hash_step(hash, name.data[len]);
        }
    }
}

size_t cat_subject_index_count(const struct cat_subject_index *index)
{
    return index->rule_count;
}
