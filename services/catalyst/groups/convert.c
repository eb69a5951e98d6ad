#include "catalyst/groups/convert.h"

#include "catalyst/groups/rpc.h"

enum { FILTER_ARENA_MAX = 4 << 20 };

/* The stored form of filters: a GroupConfig with nothing else. */
static struct chassis_view filters_encoded(struct chassis_arena *arena,
                                           const EV(GroupConfig) * config)
{
    EV(GroupConfig) only = EV_INIT(GROUP_CONFIG);
    struct chassis_buf out = {0};
    only.n_filters = config->n_filters;
    only.filters = config->filters;
    draft__events__v1__group_config__encode(&only, &out);
    struct chassis_view kept = chassis_arena_copy(arena, chassis_buf_view(&out));
    chassis_buf_fini(&out);
    return kept;
}

int cat_group_filter_of(struct chassis_view encoded, struct cat_filter **ret_filter,
                        struct chassis_error *err)
{
    struct chassis_arena arena;
    EV(GroupConfig) * config;
    chassis_arena_init(&arena, NULL, 0, FILTER_ARENA_MAX);
    int rc = draft__events__v1__group_config__decode(encoded, &arena, &config, err);
    rc = rc == 0 ? cat_filter_of(&arena, config->filters, config->n_filters, ret_filter, err) : rc;
    chassis_arena_fini(&arena);
    return rc;
}

static void push_of(const EV(Push) * push, struct cat_push_config *ret_push)
{
    if (push != NULL) {
        *ret_push = (struct cat_push_config){.url = chassis_view_str(push->url),
                                             .token_secret = chassis_view_str(push->token_secret),
                                             .structured = push->structured,
                                             .timeout_ms = push->timeout_ms,
                                             .concurrency = push->concurrency,
                                             .per_minute = push->requests_per_minute};
    }
}

int cat_group_config_of(struct chassis_arena *arena, const EV(GroupConfig) * config,
                        struct cat_group_config *ret_config, struct chassis_error *err)
{
    if (config == NULL) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "field 'config' is not set");
    }
    if (config->n_backoff_ms > CAT_BACKOFF_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'backoff_ms' has %zu waits, the limit is %d",
                                 config->n_backoff_ms, CAT_BACKOFF_MAX);
    }
    struct cat_group_config c = {
        .stream = chassis_view_str(config->stream),
        .name = chassis_view_str(config->name),
        .description = chassis_view_str(config->description),
        .ack_wait_ms = config->ack_wait_ms,
        .deliveries_max = config->deliveries_max,
        .in_flight_max = config->in_flight_max,
        .n_backoff = (uint32_t)config->n_backoff_ms,
        .ordered_by_key = config->ordered_by_key,
        .dead_letter_stream = chassis_view_str(config->dead_letter_stream),
    };
    for (uint32_t i = 0; i < c.n_backoff; i++) {
        c.backoff_ms[i] = config->backoff_ms[i];
    }
    push_of(config->push, &c.push);
    int rc = cat_start_of(config->start, &c.start, err);
    if (rc == 0) {
        c.filter = config->n_filters != 0 ? filters_encoded(arena, config) : c.filter;
        *ret_config = c;
    }
    return rc;
}

static EV(Start) * start_message(struct chassis_arena *arena, const struct cat_start *start)
{
    EV(Start) *m = chassis_arena_alloc(arena, sizeof *m);
    draft__events__v1__start__init(m);
    switch (start->kind) {
    case CAT_START_NEW:
        m->at_case = DRAFT__EVENTS__V1__START__AT_NEW;
        m->new_ = true;
        break;
    case CAT_START_EARLIEST:
        m->at_case = DRAFT__EVENTS__V1__START__AT_EARLIEST;
        m->earliest = true;
        break;
    case CAT_START_SEQUENCE:
        m->at_case = DRAFT__EVENTS__V1__START__AT_SEQUENCE;
        m->sequence = start->sequence;
        break;
    case CAT_START_TIME:
        m->at_case = DRAFT__EVENTS__V1__START__AT_TIME_NS;
        m->time_ns = (uint64_t)start->time_ns;
        break;
    }
    return m;
}

static EV(Push) * push_message(struct chassis_arena *arena, const struct cat_push_config *push)
{
    if (push->url.len == 0) {
        return NULL;
    }
    EV(Push) *m = chassis_arena_alloc(arena, sizeof *m);
    draft__events__v1__push__init(m);
    m->url = cat_text(arena, push->url);
    m->structured = push->structured;
    m->token_secret = cat_text(arena, push->token_secret);
    m->timeout_ms = push->timeout_ms;
    m->concurrency = push->concurrency;
    m->requests_per_minute = push->per_minute;
    return m;
}

static EV(PushStatus) * push_status(struct chassis_arena *arena, const struct cat_push_info *info)
{
    static const Draft__Events__V1__PushState states[CAT_PUSH_STATES] = {
        [CAT_PUSH_NONE] = DRAFT__EVENTS__V1__PUSH_STATE__PUSH_STATE_UNSPECIFIED,
        [CAT_PUSH_UNVERIFIED] = DRAFT__EVENTS__V1__PUSH_STATE__PUSH_STATE_UNVERIFIED,
        [CAT_PUSH_VERIFIED] = DRAFT__EVENTS__V1__PUSH_STATE__PUSH_STATE_VERIFIED,
        [CAT_PUSH_EXEMPT] = DRAFT__EVENTS__V1__PUSH_STATE__PUSH_STATE_EXEMPT,
        [CAT_PUSH_PAUSED] = DRAFT__EVENTS__V1__PUSH_STATE__PUSH_STATE_PAUSED,
        [CAT_PUSH_GONE] = DRAFT__EVENTS__V1__PUSH_STATE__PUSH_STATE_GONE,
    };
    if (info == NULL) {
        return NULL;
    }
    EV(PushStatus) *m = chassis_arena_alloc(arena, sizeof *m);
    draft__events__v1__push_status__init(m);
    m->state = states[info->state];
    m->reason = cat_text(arena, chassis_view_str(info->reason));
    m->requests_per_minute = info->per_minute;
    m->next_time_ns = (uint64_t)info->next_ns;
    return m;
}

static EV(GroupConfig) *
    config_message(struct chassis_arena *arena, const struct cat_group_config *c)
{
    EV(GroupConfig) *m = chassis_arena_alloc(arena, sizeof *m);
    EV(GroupConfig) * stored;
    draft__events__v1__group_config__init(m);
    m->name = cat_text(arena, c->name);
    m->stream = cat_text(arena, c->stream);
    m->start = start_message(arena, &c->start);
    if (c->filter.len != 0 &&
        draft__events__v1__group_config__decode(c->filter, arena, &stored, NULL) == 0) {
        m->n_filters = stored->n_filters;
        m->filters = stored->filters;
    }
    m->ack_wait_ms = c->ack_wait_ms;
    m->deliveries_max = c->deliveries_max;
    m->in_flight_max = c->in_flight_max;
    m->n_backoff_ms = c->n_backoff;
    m->backoff_ms = chassis_arena_alloc(arena, (c->n_backoff + 1) * sizeof *m->backoff_ms);
    memcpy(m->backoff_ms, c->backoff_ms, c->n_backoff * sizeof *m->backoff_ms);
    m->ordered_by_key = c->ordered_by_key;
    m->dead_letter_stream = cat_text(arena, c->dead_letter_stream);
    m->push = push_message(arena, &c->push);
    m->description = cat_text(arena, c->description);
    return m;
}

EV(Group) * cat_group_message(struct chassis_arena *arena, const struct cat_group_info *info)
{
    EV(Group) *m = chassis_arena_alloc(arena, sizeof *m);
    draft__events__v1__group__init(m);
    m->config = config_message(arena, &info->config);
    m->created_time_ns = (uint64_t)info->created_ns;
    m->ack_floor = info->ack_floor;
    m->next_sequence = info->next_sequence;
    m->in_flight = info->in_flight;
    m->waiting = info->waiting;
    m->lag = info->lag;
    m->delivered = info->delivered;
    m->redelivered = info->redelivered;
    m->dead_lettered = info->dead_lettered;
    m->push = push_status(arena, info->push);
    m->lost = info->lost;
    m->n_members = info->n_members;
    m->members = chassis_arena_alloc(arena, (info->n_members + 1) * sizeof(void *));
    for (uint32_t i = 0; i < info->n_members; i++) {
        EV(Member) *member = chassis_arena_alloc(arena, sizeof *member);
        draft__events__v1__member__init(member);
        member->name = cat_text(arena, info->members[i].name);
        member->address = cat_text(arena, info->members[i].address);
        member->joined_time_ns = (uint64_t)info->members[i].joined_ns;
        member->in_flight = info->members[i].in_flight;
        m->members[i] = member;
    }
    return m;
}
