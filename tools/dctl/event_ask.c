/* What the commands about events ask for in the same words: places, filters, names of groups; and
 * messages printed field by field. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event.h"
#include "proto/text.h"

typedef Draft__Events__V1__Filter filter;
typedef Draft__Events__V1__Filter__Attributes filter_attributes;
typedef Draft__Events__V1__Filter__Attributes__ValuesEntry filter_value;

enum { FILTERS_MAX = 16, TIME_SUFFIX = 8 /* of "_time_ns" */ };

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

void dctl_add_time_ns(struct chassis_arena *a, struct dctl_node *map, const char *key,
                      uint64_t time_ns)
{
    char text[48];
    struct tm tm;
    time_t seconds = (time_t)(time_ns / 1000000000);
    if (time_ns == 0 || gmtime_r(&seconds, &tm) == NULL) {
        dctl_add_text(a, map, key, NULL);
        return;
    }
    size_t n = strftime(text, sizeof text - 8, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03uZ", (unsigned)(time_ns / 1000000 % 1000));
    dctl_add_text(a, map, key, text);
}

/* --- messages field by field --- */

/* "WHEN_FULL_REFUSE_NEW" of WhenFull -> "refuse_new": without the words of the type's name. */
static const char *enum_word(struct chassis_arena *a, const ProtobufCEnumDescriptor *type,
                             int value)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(type, value);
    if (v == NULL) {
        return chassis_arena_printf(a, "%d", value);
    }
    const char *name = v->name;
    const char *word = type->short_name;
    size_t skip = 0;
    for (; *word != '\0'; word++) {
        skip += *word >= 'A' && *word <= 'Z' && word != type->short_name;
        skip++;
    }
    name += strlen(name) > skip + 1 && name[skip] == '_' ? skip + 1 : 0;
    char *text = chassis_arena_strdup(a, name);
    for (char *p = text; *p != '\0'; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
    }
    return text;
}

static void add_scalar(struct chassis_arena *a, struct dctl_node *to, const char *key,
                       const ProtobufCFieldDescriptor *f, const void *at)
{
    struct dctl_node *n;
    size_t len = strlen(f->name);
    switch ((int)f->type) { /* those that occur */
    case PROTOBUF_C_TYPE_UINT64:
        if (key != NULL && len > 3 && strcmp(f->name + len - 3, "_ns") == 0) {
            dctl_add_time_ns(a, to, chassis_arena_strndup(a, f->name, len - 3),
                             *(const uint64_t *)at);
            return;
        }
        dctl_add_u64(a, to, key, *(const uint64_t *)at);
        return;
    case PROTOBUF_C_TYPE_UINT32:
        dctl_add_u64(a, to, key, *(const uint32_t *)at);
        return;
    case PROTOBUF_C_TYPE_BOOL:
        dctl_add_bool(a, to, key, *(const protobuf_c_boolean *)at);
        return;
    case PROTOBUF_C_TYPE_DOUBLE:
        n = dctl_add_text(a, to, key, chassis_arena_printf(a, "%.1f", *(const double *)at));
        n->kind = DCTL_LITERAL;
        return;
    case PROTOBUF_C_TYPE_ENUM:
        dctl_add_text(a, to, key, enum_word(a, f->descriptor, *(const int *)at));
        return;
    case PROTOBUF_C_TYPE_STRING:
        dctl_add_text(a, to, key, *(char *const *)at);
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        dctl_add(to, key, dctl_message_node(a, *(void *const *)at));
        return;
    default:
        return; /* no message of the broker has another kind of field */
    }
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
    switch ((int)f->type) { /* those that occur */
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_BOOL:
        return 4;
    default:
        return sizeof(void *);
    }
}

static void add_field(struct chassis_arena *a, struct dctl_node *map, const uint8_t *message,
                      const ProtobufCFieldDescriptor *f)
{
    const uint8_t *at = message + f->offset;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t n = *(const size_t *)(const void *)(message + f->quantifier_offset);
        const uint8_t *items = *(const uint8_t *const *)(const void *)at;
        struct dctl_node *list = dctl_add(map, f->name, dctl_list(a));
        for (size_t i = 0; i < n; i++) {
            add_scalar(a, list, NULL, f, items + i * size_of(f));
        }
        return;
    }
    bool one_of = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (one_of && *(const uint32_t *)(const void *)(message + f->quantifier_offset) != f->id) {
        return;
    }
    if (f->type == PROTOBUF_C_TYPE_MESSAGE && *(void *const *)(const void *)at == NULL) {
        return;
    }
    add_scalar(a, map, f->name, f, at);
}

struct dctl_node *dctl_message_node(struct chassis_arena *a, const void *message)
{
    const ProtobufCMessage *base = message;
    struct dctl_node *map = dctl_map(a);
    for (unsigned i = 0; i < base->descriptor->n_fields; i++) {
        add_field(a, map, message, &base->descriptor->fields[i]);
    }
    return map;
}
