/* What the commands about events ask for in the same words: places, filters, names of groups. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event.h"
#include "proto/text.h"

typedef Draft__Events__V1__Filter filter;
typedef Draft__Events__V1__Filter__Attributes filter_attributes;
typedef Draft__Events__V1__Filter__Attributes__ValuesEntry filter_value;

enum { FILTERS_MAX = 16 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int dctl_start_parse(struct dctl *d, const char *text, Draft__Events__V1__Start **ret_start,
                     struct chassis_error *err)
{
    Draft__Events__V1__Start *start = chassis_arena_alloc(&d->arena, sizeof *start);
    int64_t seconds;
    int32_t nanos;
    uint64_t ms;
    draft__events__v1__start__init(start);
    if (text == NULL) {
        *ret_start = NULL;
        return 0;
    }
    if (strcmp(text, "new") == 0) {
        start->at_case = DRAFT__EVENTS__V1__START__AT_NEW;
        start->new_ = 1;
    } else if (strcmp(text, "earliest") == 0) {
        start->at_case = DRAFT__EVENTS__V1__START__AT_EARLIEST;
        start->earliest = 1;
    } else if (dctl_parse_number(text, &start->sequence) == 0) {
        start->at_case = DRAFT__EVENTS__V1__START__AT_SEQUENCE;
    } else if (text_parse_timestamp(chassis_view_str(text), &seconds, &nanos) && seconds >= 0) {
        start->at_case = DRAFT__EVENTS__V1__START__AT_TIME_NS;
        start->time_ns = (uint64_t)seconds * 1000000000 + (uint64_t)nanos;
    } else if (dctl_parse_duration_ms(text, &ms) == 0 && ms < now_ns() / 1000000) {
        start->at_case = DRAFT__EVENTS__V1__START__AT_TIME_NS;
        start->time_ns = now_ns() - ms * 1000000;
    } else {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "--from is new, earliest, a sequence, a time such as "
                                 "2026-01-31T12:00:00Z or how long ago (10m), not '%s'",
                                 text);
    }
    *ret_start = start;
    return 0;
}

static filter *filter_new(struct dctl *d)
{
    filter *f = chassis_arena_alloc(&d->arena, sizeof *f);
    draft__events__v1__filter__init(f);
    return f;
}

/* "a" exactly, "a*" the beginning, "*a" the end. */
static filter *attribute_filter(struct dctl *d, const char *name, const char *text)
{
    filter *f = filter_new(d);
    filter_attributes *a = chassis_arena_alloc(&d->arena, sizeof *a);
    filter_value *v = chassis_arena_alloc(&d->arena, sizeof *v);
    size_t len = strlen(text);
    draft__events__v1__filter__attributes__init(a);
    draft__events__v1__filter__attributes__values_entry__init(v);
    a->values = chassis_arena_alloc(&d->arena, sizeof(filter_value *));
    a->values[0] = v;
    a->n_values = 1;
    v->key = chassis_arena_strdup(&d->arena, name);
    f->exact = a; /* one member of the union */
    if (len > 1 && text[len - 1] == '*') {
        f->dialect_case = DRAFT__EVENTS__V1__FILTER__DIALECT_PREFIX;
        v->value = chassis_arena_strndup(&d->arena, text, len - 1);
    } else if (len > 1 && text[0] == '*') {
        f->dialect_case = DRAFT__EVENTS__V1__FILTER__DIALECT_SUFFIX;
        v->value = chassis_arena_strdup(&d->arena, text + 1);
    } else {
        f->dialect_case = DRAFT__EVENTS__V1__FILTER__DIALECT_EXACT;
        v->value = chassis_arena_strdup(&d->arena, text);
    }
    return f;
}

/* Several values of one attribute: any of them. NULL without. */
static filter *option_filter(struct dctl *d, const char *name)
{
    const char *text;
    filter **list = chassis_arena_alloc(&d->arena, DCTL_GIVEN_MAX * sizeof *list);
    size_t n = 0;
    while ((text = dctl_repeated(d, name, (unsigned)n)) != NULL) {
        list[n++] = attribute_filter(d, name, text);
    }
    if (n <= 1) {
        return n == 1 ? list[0] : NULL;
    }
    filter *any = filter_new(d);
    any->dialect_case = DRAFT__EVENTS__V1__FILTER__DIALECT_ANY;
    any->any = chassis_arena_alloc(&d->arena, sizeof *any->any);
    draft__events__v1__filter__filters__init(any->any);
    any->any->filters = list;
    any->any->n_filters = n;
    return any;
}

void dctl_filters(struct dctl *d, filter ***ret_filters, size_t *ret_n)
{
    static const char *const names[] = {"source", "type", "subject"};
    filter **list = chassis_arena_alloc(&d->arena, FILTERS_MAX * sizeof *list);
    size_t n = 0;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        filter *f = option_filter(d, names[i]);
        if (f != NULL) {
            list[n++] = f;
        }
    }
    const char *sql = dctl_string(d, "sql");
    if (sql != NULL) {
        list[n] = filter_new(d);
        list[n]->dialect_case = DRAFT__EVENTS__V1__FILTER__DIALECT_SQL;
        list[n++]->sql = chassis_arena_strdup(&d->arena, sql);
    }
    *ret_filters = list;
    *ret_n = n;
}

void dctl_group_name(struct dctl *d, const char *text, char **ret_stream, char **ret_group)
{
    const char *slash = strchr(text, '/');
    *ret_stream = slash != NULL ? chassis_arena_strndup(&d->arena, text, (size_t)(slash - text))
                                : chassis_arena_strdup(&d->arena, "default");
    *ret_group = chassis_arena_strdup(&d->arena, slash != NULL ? slash + 1 : text);
}
