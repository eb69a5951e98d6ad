/* Streams by name (a hash table), in order of names (a sorted array) and by number (an array); the
 * rules that say which of them take an event.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "catalyst/broker/internal.h"

/* ---- configurations ---- */

static size_t texts_size(const struct cat_stream_config *c)
{
    size_t size = c->name.len + c->backend.len + c->description.len;
    for (uint32_t i = 0; i < c->n_takes; i++) {
        size += c->takes[i].source.len + c->takes[i].type.len + c->takes[i].subject.len;
    }
    return size;
}

static void copy_text(struct chassis_view *text, uint8_t **at)
{
    if (text->len != 0) {
        memcpy(*at, text->data, text->len);
    }
    text->data = *at;
    *at += text->len;
}

struct config *cat_config_copy(const struct cat_stream_config *from)
{
    size_t takes = from->n_takes * sizeof(struct cat_selection);
    struct config *c = chassis_base_alloc(sizeof *c + takes + texts_size(from));
    c->is = *from;
    struct cat_selection *selections = (struct cat_selection *)(void *)c->bytes;
    uint8_t *at = c->bytes + takes;
    c->is.takes = selections;
    for (uint32_t i = 0; i < from->n_takes; i++) {
        selections[i] = from->takes[i];
        copy_text(&selections[i].source, &at);
        copy_text(&selections[i].type, &at);
        copy_text(&selections[i].subject, &at);
    }
    copy_text(&c->is.name, &at);
    copy_text(&c->is.backend, &at);
    copy_text(&c->is.description, &at);
    return c;
}

bool cat_config_equal(const struct cat_stream_config *a, const struct cat_stream_config *b)
{
    if (a->n_takes != b->n_takes || !chassis_view_eq(a->name, b->name) ||
        !chassis_view_eq(a->backend, b->backend) ||
        !chassis_view_eq(a->description, b->description)) {
        return false;
    }
    for (uint32_t i = 0; i < a->n_takes; i++) {
        if (!chassis_view_eq(a->takes[i].source, b->takes[i].source) ||
            !chassis_view_eq(a->takes[i].type, b->takes[i].type) ||
            !chassis_view_eq(a->takes[i].subject, b->takes[i].subject)) {
            return false;
        }
    }
    return a->durability == b->durability && a->interval_ms == b->interval_ms &&
           a->age_max_ms == b->age_max_ms && a->bytes_max == b->bytes_max &&
           a->events_max == b->events_max && a->dedupe_ms == b->dedupe_ms &&
           a->event_bytes_max == b->event_bytes_max && a->when_full == b->when_full;
}

/* ---- by name ---- */

static uint32_t name_hash(struct chassis_view name)
{
    return (uint32_t)(chassis_fnv1a(name.data, name.len) * 0x9e3779b97f4a7c15ULL >> 32);
}

static struct stream **find(struct cat_broker *b, struct chassis_view name, uint32_t hash)
{
    struct stream **at = &b->buckets[hash & (b->n_buckets - 1)];
    while (*at != NULL && !((*at)->hash == hash && chassis_view_eq(stream_name(*at), name))) {
        at = &(*at)->chain;
    }
    return at;
}

struct stream *cat_model_find(struct cat_broker *b, struct chassis_view name)
{
    return b->n_buckets != 0 ? *find(b, name, name_hash(name)) : NULL;
}

struct stream *cat_model_open_stream(struct cat_broker *b, struct chassis_view name)
{
    struct stream *s = cat_model_find(b, name);
    return s != NULL && s->phase == STREAM_OPEN ? s : NULL;
}

static void grow(struct cat_broker *b)
{
    struct stream **before = b->buckets;
    uint32_t n = b->n_buckets;
    b->n_buckets = n != 0 ? n * 2 : 64;
    b->buckets = chassis_base_zalloc(b->n_buckets * sizeof(struct stream *));
    for (uint32_t i = 0; i < n; i++) {
        for (struct stream *s = before[i], *next; s != NULL; s = next) {
            next = s->chain;
            struct stream **at = &b->buckets[s->hash & (b->n_buckets - 1)];
            s->chain = *at;
            *at = s;
        }
    }
    free(before);
}

/* ---- by number ---- */

struct stream *cat_model_by_number(const struct cat_broker *b, uint32_t number)
{
    uint32_t i = number - CAT_FIRST_STREAM;
    return number >= CAT_FIRST_STREAM && i < b->cap_numbers ? b->by_number[i] : NULL;
}

static void set_number(struct cat_broker *b, uint32_t number, struct stream *s)
{
    uint32_t i = number - CAT_FIRST_STREAM;
    if (i >= b->cap_numbers) {
        uint32_t cap = b->cap_numbers != 0 ? b->cap_numbers : 64;
        while (cap <= i) {
            cap *= 2;
        }
        b->by_number = chassis_base_realloc(b->by_number, cap * sizeof(struct stream *));
        memset(b->by_number + b->cap_numbers, 0, (cap - b->cap_numbers) * sizeof(struct stream *));
        b->cap_numbers = cap;
    }
    b->by_number[i] = s;
}

/* ---- life of a stream ---- */

struct stream *cat_model_add(struct cat_broker *b, struct config **config, uint32_t number)
{
    if (b->n_names >= b->n_buckets) {
        grow(b);
    }
    struct stream *s = chassis_base_zalloc(sizeof *s);
    s->config = *config;
    *config = NULL;
    s->number = number;
    s->hash = name_hash(stream_name(s));
    s->phase = STREAM_MAKING;
    s->broker = b;
    s->first = 1;
    chassis_list_init(&s->readers);
    chassis_list_init(&s->fetches);
    chassis_list_init(&s->dirty);
    struct stream **at = find(b, stream_name(s), s->hash);
    CHASSIS_ASSERT(*at == NULL);
    *at = s;
    b->n_names++;
    return s;
}

uint32_t cat_model_after(const struct cat_broker *b, struct chassis_view after)
{
    uint32_t low = 0, high = b->n_streams;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (chassis_view_cmp(stream_name(b->sorted[mid]), after) <= 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

void cat_model_set_rules(struct cat_broker *b, struct stream *s)
{
    const struct cat_stream_config *c = &s->config->is;
    cat_subject_index_remove(b->rules, s->number);
    for (uint32_t i = 0; i < c->n_takes; i++) {
        int rc = cat_subject_index_add(b->rules, s->number, c->takes[i].source, c->takes[i].type,
                                       c->takes[i].subject, NULL);
        CHASSIS_ASSERT(rc == 0); /* they were checked */
    }
}

void cat_model_await(struct cat_broker *b, struct stream *s)
{
    set_number(b, s->number, s);
    s->phase = STREAM_AWAY;
    cat_model_set_rules(b, s);
}

void cat_model_show(struct cat_broker *b, struct stream *s)
{
    if (b->n_streams == b->cap_sorted) {
        b->cap_sorted = b->cap_sorted != 0 ? b->cap_sorted * 2 : 64;
        b->sorted = chassis_base_realloc(b->sorted, b->cap_sorted * sizeof(struct stream *));
    }
    uint32_t at = cat_model_after(b, stream_name(s));
    memmove(b->sorted + at + 1, b->sorted + at, (b->n_streams - at) * sizeof(struct stream *));
    b->sorted[at] = s;
    b->n_streams++;
    chassis_gauge_set(b->streams_now, b->n_streams);
    set_number(b, s->number, s);
    s->phase = STREAM_OPEN;
    cat_model_set_rules(b, s);
    if (chassis_view_eq(stream_name(s), chassis_view_str("default"))) {
        b->catch_all = s;
    }
}

void cat_model_hide(struct cat_broker *b, struct stream *s)
{
    uint32_t at = cat_model_after(b, stream_name(s)) - 1;
    CHASSIS_ASSERT(b->sorted[at] == s);
    b->n_streams--;
    chassis_gauge_set(b->streams_now, b->n_streams);
    memmove(b->sorted + at, b->sorted + at + 1, (b->n_streams - at) * sizeof(struct stream *));
    set_number(b, s->number, NULL);
    cat_subject_index_remove(b->rules, s->number);
}

void cat_model_forget(struct cat_broker *b, struct stream *s)
{
    struct stream **at = find(b, stream_name(s), s->hash);
    CHASSIS_ASSERT(*at == s);
    *at = s->chain;
    b->n_names--;
}

void cat_model_fini(struct cat_broker *b)
{
    free(b->buckets);
    free(b->sorted);
    free(b->by_number);
    cat_subject_index_free(b->rules);
}
