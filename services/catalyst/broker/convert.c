#include "catalyst/broker/convert.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "catalyst/broker/rpc.h"
#include "catalyst/groups/groups.h"

enum { FILTERS_MAX = 64 };

char *cat_text(struct chassis_arena *arena, struct chassis_view text)
{
    return chassis_arena_strndup(arena, text.len != 0 ? (const void *)text.data : "", text.len);
}

/* ---- streams ---- */

static int durability_of(EV(Durability) from, enum cat_durability *ret_to,
                         struct chassis_error *err)
{
    switch (from) {
    case DRAFT__EVENTS__V1__DURABILITY__DURABILITY_UNSPECIFIED:
    case DRAFT__EVENTS__V1__DURABILITY__DURABILITY_FSYNC:
        *ret_to = CAT_FSYNC;
        return 0;
    case DRAFT__EVENTS__V1__DURABILITY__DURABILITY_INTERVAL:
        *ret_to = CAT_INTERVAL;
        return 0;
    case DRAFT__EVENTS__V1__DURABILITY__DURABILITY_MEMORY:
        *ret_to = CAT_MEMORY;
        return 0;
    default:
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'durability' is %d, which is none of this version's", from);
    }
}

static int when_full_of(EV(WhenFull) from, enum cat_when_full *ret_to, struct chassis_error *err)
{
    switch (from) {
    case DRAFT__EVENTS__V1__WHEN_FULL__WHEN_FULL_UNSPECIFIED:
    case DRAFT__EVENTS__V1__WHEN_FULL__WHEN_FULL_DISCARD_OLD:
        *ret_to = CAT_DISCARD_OLD;
        return 0;
    case DRAFT__EVENTS__V1__WHEN_FULL__WHEN_FULL_REFUSE_NEW:
        *ret_to = CAT_REFUSE_NEW;
        return 0;
    default:
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'when_full' is %d, which is none of this version's", from);
    }
}

static int takes_of(struct chassis_arena *arena, const EV(StreamConfig) * config,
                    struct cat_stream_config *ret_config, struct chassis_error *err)
{
    if (config->n_takes > CAT_SELECTIONS_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'takes' has %zu rules, the limit is %d", config->n_takes,
                                 CAT_SELECTIONS_MAX);
    }
    struct cat_selection *takes = chassis_arena_alloc(arena, (config->n_takes + 1) * sizeof *takes);
    if (takes == NULL) {
        return chassis_error_code(err, CHASSIS_RESOURCE_EXHAUSTED, "memory of the call");
    }
    for (size_t i = 0; i < config->n_takes; i++) {
        const EV(Selection) *s = config->takes[i];
        takes[i] = (struct cat_selection){chassis_view_str(s->source), chassis_view_str(s->type),
                                          chassis_view_str(s->subject)};
    }
    ret_config->takes = takes;
    ret_config->n_takes = (uint32_t)config->n_takes;
    return 0;
}

int cat_stream_config_of(struct chassis_arena *arena, const EV(StreamConfig) * config,
                         struct cat_stream_config *ret_config, struct chassis_error *err)
{
    if (config == NULL) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "field 'config' is not set");
    }
    const char *backend = config->backend[0] != '\0' ? config->backend : "journal";
    struct cat_stream_config c = {
        .name = chassis_view_str(config->name),
        .age_max_ms = config->age_max_ms,
        .bytes_max = config->bytes_max,
        .events_max = config->events_max,
        .dedupe_ms = config->_dedupe_ms_case != 0 ? config->dedupe_ms : 120000,
        .event_bytes_max =
            config->event_bytes_max != 0 ? config->event_bytes_max : CAT_EVENT_BYTES_MAX,
        .backend = chassis_view_str(backend),
        .description = chassis_view_str(config->description),
    };
    int rc = durability_of(config->durability, &c.durability, err);
    rc = rc == 0 ? when_full_of(config->when_full, &c.when_full, err) : rc;
    rc = rc == 0 ? takes_of(arena, config, &c, err) : rc;
    if (rc == 0) {
        c.interval_ms = config->interval_ms != 0       ? config->interval_ms
                        : c.durability == CAT_INTERVAL ? 100
                                                       : 0;
        *ret_config = c;
    }
    return rc;
}

static EV(StreamConfig) *
    config_message(struct chassis_arena *arena, const struct cat_stream_config *c)
{
    EV(StreamConfig) *m = chassis_arena_alloc(arena, sizeof *m);
    draft__events__v1__stream_config__init(m);
    m->name = cat_text(arena, c->name);
    m->n_takes = c->n_takes;
    m->takes = chassis_arena_alloc(arena, (c->n_takes + 1) * sizeof *m->takes);
    for (uint32_t i = 0; i < c->n_takes; i++) {
        m->takes[i] = chassis_arena_alloc(arena, sizeof *m->takes[i]);
        draft__events__v1__selection__init(m->takes[i]);
        m->takes[i]->source = cat_text(arena, c->takes[i].source);
        m->takes[i]->type = cat_text(arena, c->takes[i].type);
        m->takes[i]->subject = cat_text(arena, c->takes[i].subject);
    }
    m->durability = (EV(Durability))c->durability;
    m->interval_ms = c->interval_ms;
    m->age_max_ms = c->age_max_ms;
    m->bytes_max = c->bytes_max;
    m->events_max = c->events_max;
    m->_dedupe_ms_case = DRAFT__EVENTS__V1__STREAM_CONFIG___DEDUPE_MS_DEDUPE_MS;
    m->dedupe_ms = c->dedupe_ms;
    m->event_bytes_max = c->event_bytes_max;
    m->when_full = (EV(WhenFull))c->when_full;
    m->backend = cat_text(arena, c->backend);
    m->description = cat_text(arena, c->description);
    return m;
}

/* A group reads with one reader for all its members. */
static void count_consumers(const struct cat_stream_info *info, struct cat_groups *groups,
                            EV(Stream) * m)
{
    struct cat_stream_groups of = {0};
    if (groups != NULL) {
        of = cat_groups_of_stream(groups, info->config.name);
    }
    m->groups = of.groups;
    m->consumers = of.members + (info->readers > of.readers ? info->readers - of.readers : 0);
}

EV(Stream) * cat_stream_message(struct chassis_arena *arena, const struct cat_stream_info *info,
                                struct cat_groups *groups)
{
    EV(Stream) *m = chassis_arena_alloc(arena, sizeof *m);
    draft__events__v1__stream__init(m);
    m->config = config_message(arena, &info->config);
    m->created_time_ns = (uint64_t)info->created_ns;
    m->first_sequence = info->log.first;
    m->last_sequence = info->log.last;
    m->first_time_ns = (uint64_t)info->log.first_time_ns;
    m->last_time_ns = (uint64_t)info->log.last_time_ns;
    m->events = info->events;
    m->bytes = info->log.bytes;
    m->rate = info->rate;
    count_consumers(info, groups, m);
    return m;
}

/* ---- where and what ---- */

int cat_start_of(const EV(Start) * start, struct cat_start *ret_start, struct chassis_error *err)
{
    *ret_start = (struct cat_start){.kind = CAT_START_NEW};
    if (start == NULL) {
        return 0;
    }
    switch (start->at_case) {
    case DRAFT__EVENTS__V1__START__AT_NEW:
    case DRAFT__EVENTS__V1__START__AT__NOT_SET:
        return 0;
    case DRAFT__EVENTS__V1__START__AT_EARLIEST:
        ret_start->kind = CAT_START_EARLIEST;
        return 0;
    case DRAFT__EVENTS__V1__START__AT_SEQUENCE:
        ret_start->kind = CAT_START_SEQUENCE;
        ret_start->sequence = start->sequence;
        return start->sequence != 0 ? 0
                                    : chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                                        "field 'start.sequence' is 0, sequences "
                                                        "begin at 1");
    case DRAFT__EVENTS__V1__START__AT_TIME_NS:
        ret_start->kind = CAT_START_TIME;
        ret_start->time_ns = (int64_t)start->time_ns;
        return ret_start->time_ns >= 0 ? 0
                                       : chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                                           "field 'start.time_ns' is beyond the "
                                                           "year 2262");
    default:
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'start' is of no known kind");
    }
}

static int spec_of(struct chassis_arena *arena, const EV(Filter) * filter, unsigned depth,
                   struct cat_filter_spec *ret_spec, struct chassis_error *err);

static int list_of(struct chassis_arena *arena, EV(Filter) *const *filters, size_t n,
                   unsigned depth, const struct cat_filter_spec **ret_specs,
                   struct chassis_error *err)
{
    if (n > FILTERS_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'filters' has %zu filters in one list, the limit is %d", n,
                                 FILTERS_MAX);
    }
    struct cat_filter_spec *specs = chassis_arena_zalloc(arena, (n + 1) * sizeof *specs);
    if (specs == NULL) {
        return chassis_error_code(err, CHASSIS_RESOURCE_EXHAUSTED, "memory of the call");
    }
    for (size_t i = 0; i < n; i++) {
        int rc = spec_of(arena, filters[i], depth, &specs[i], err);
        if (rc != 0) {
            return rc;
        }
    }
    *ret_specs = specs;
    return 0;
}

static int pairs_of(struct chassis_arena *arena, const EV(Filter__Attributes) * attributes,
                    enum cat_dialect dialect, struct cat_filter_spec *ret_spec,
                    struct chassis_error *err)
{
    size_t n = attributes->n_values;
    struct cat_filter_pair *pairs = chassis_arena_alloc(arena, (n + 1) * sizeof *pairs);
    if (pairs == NULL) {
        return chassis_error_code(err, CHASSIS_RESOURCE_EXHAUSTED, "memory of the call");
    }
    for (size_t i = 0; i < n; i++) {
        pairs[i].attribute = chassis_view_str(attributes->values[i]->key);
        pairs[i].value = chassis_view_str(attributes->values[i]->value);
    }
    *ret_spec = (struct cat_filter_spec){.dialect = dialect, .pairs = pairs, .pair_count = n};
    return 0;
}

static int children_of(struct chassis_arena *arena, EV(Filter) *const *filters, size_t n,
                       enum cat_dialect dialect, unsigned depth, struct cat_filter_spec *ret_spec,
                       struct chassis_error *err)
{
    ret_spec->dialect = dialect;
    ret_spec->child_count = n;
    return list_of(arena, filters, n, depth + 1, &ret_spec->children, err);
}

static int spec_of(struct chassis_arena *arena, const EV(Filter) * filter, unsigned depth,
                   struct cat_filter_spec *ret_spec, struct chassis_error *err)
{
    if (depth > CAT_FILTER_DEPTH_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'filters' has filters %u deep, the limit is %d", depth,
                                 CAT_FILTER_DEPTH_MAX);
    }
    switch (filter->dialect_case) {
    case DRAFT__EVENTS__V1__FILTER__DIALECT_EXACT:
        return pairs_of(arena, filter->exact, CAT_DIALECT_EXACT, ret_spec, err);
    case DRAFT__EVENTS__V1__FILTER__DIALECT_PREFIX:
        return pairs_of(arena, filter->prefix, CAT_DIALECT_PREFIX, ret_spec, err);
    case DRAFT__EVENTS__V1__FILTER__DIALECT_SUFFIX:
        return pairs_of(arena, filter->suffix, CAT_DIALECT_SUFFIX, ret_spec, err);
    case DRAFT__EVENTS__V1__FILTER__DIALECT_ALL:
        return children_of(arena, filter->all->filters, filter->all->n_filters, CAT_DIALECT_ALL,
                           depth, ret_spec, err);
    case DRAFT__EVENTS__V1__FILTER__DIALECT_ANY:
        return children_of(arena, filter->any->filters, filter->any->n_filters, CAT_DIALECT_ANY,
                           depth, ret_spec, err);
    case DRAFT__EVENTS__V1__FILTER__DIALECT_NOT:
        return children_of(arena, &filter->not_, 1, CAT_DIALECT_NOT, depth, ret_spec, err);
    case DRAFT__EVENTS__V1__FILTER__DIALECT_SQL:
        ret_spec->dialect = CAT_DIALECT_SQL;
        ret_spec->sql = chassis_view_str(filter->sql);
        return 0;
    case DRAFT__EVENTS__V1__FILTER__DIALECT__NOT_SET:
    default:
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'filters' has a filter of no known dialect");
    }
}

int cat_filter_of(struct chassis_arena *arena, EV(Filter) *const *filters, size_t n,
                  struct cat_filter **ret_filter, struct chassis_error *err)
{
    const struct cat_filter_spec *specs;
    int rc = list_of(arena, filters, n, 1, &specs, err);
    if (rc == 0 && cat_filter_compile_list(specs, n, ret_filter, err) != 0) {
        rc = chassis_error_wrap(err, "field 'filters'");
    }
    return rc;
}

int cat_limit_of(const char *field, uint64_t value, uint64_t preset, uint64_t max,
                 uint32_t *ret_value, struct chassis_error *err)
{
    if (value > max) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field '%s' is %llu, the limit is %llu", field,
                                 (unsigned long long)value, (unsigned long long)max);
    }
    *ret_value = (uint32_t)(value != 0 ? value : preset);
    return 0;
}

/* ---- by hand ---- */

static size_t varint_size(uint64_t value)
{
    return (size_t)(63 - __builtin_clzll(value | 1)) / 7 + 1;
}

static uint8_t *write_varint(uint8_t *p, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        *p++ = (uint8_t)(value | 0x80);
    }
    *p++ = (uint8_t)value;
    return p;
}

void cat_put_delivery(struct chassis_buf *out, const struct cat_log_event *stored, uint32_t attempt)
{
    uint64_t time = (uint64_t)stored->time_ns;
    size_t len = 1 + varint_size(stored->sequence) + 1 + varint_size(time) + 1 +
                 varint_size(stored->bytes.len) + stored->bytes.len +
                 (attempt != 0 ? 1 + varint_size(attempt) : 0);
    chassis_buf_reserve(out, len + 12);
    uint8_t *p = out->data + out->len;
    *p++ = 1 << 3 | 2;
    p = write_varint(p, len);
    *p++ = 1 << 3;
    p = write_varint(p, stored->sequence);
    *p++ = 2 << 3;
    p = write_varint(p, time);
    *p++ = 3 << 3 | 2;
    p = write_varint(p, stored->bytes.len);
    memcpy(p, stored->bytes.data, stored->bytes.len);
    p += stored->bytes.len;
    if (attempt != 0) {
        *p++ = 4 << 3;
        p = write_varint(p, attempt);
    }
    out->len = (size_t)(p - out->data);
}

void cat_put_varint(struct chassis_buf *out, uint32_t field, uint64_t value)
{
    if (value != 0) {
        chassis_buf_append_varint(out, field << 3);
        chassis_buf_append_varint(out, value);
    }
}

void cat_put_block(struct chassis_buf *out, uint32_t field, struct chassis_view bytes)
{
    chassis_buf_append_varint(out, field << 3 | 2);
    chassis_buf_append_block(out, bytes);
}

void cat_put_gap(struct chassis_buf *out, uint32_t field, uint64_t from, uint64_t to)
{
    size_t len = (from != 0 ? 1 + varint_size(from) : 0) + (to != 0 ? 1 + varint_size(to) : 0);
    chassis_buf_append_varint(out, field << 3 | 2);
    chassis_buf_append_varint(out, len);
    cat_put_varint(out, 1, from);
    cat_put_varint(out, 2, to);
}
