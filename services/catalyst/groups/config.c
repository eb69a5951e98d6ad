/* What a group's configuration may be, and what is said of a group. */
#include "catalyst/groups/internal.h"

#include "base/utf8.h"

enum { FILTER_MAX = 64 << 10, URL_MAX = 2048, DESCRIPTION_MAX = 255, PER_MINUTE_MAX = 6000000 };

static bool name_valid(struct chassis_view name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && (i == 0 || (c != '.' && c != '_' && c != '-'))) {
            return false;
        }
    }
    return name.len != 0 && name.len <= CAT_NAME_MAX;
}

static int refuse_name(struct chassis_error *err, const char *field)
{
    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                             "%s: 1 to %d letters, digits, '.', '_' and '-', beginning with a "
                             "letter or digit",
                             field, CAT_NAME_MAX);
}

/* 0 becomes the default. */
static int number(uint32_t *value, uint32_t normally, uint32_t min, uint32_t max, const char *field,
                  struct chassis_error *err)
{
    *value = *value != 0 ? *value : normally;
    return *value >= min && *value <= max
               ? 0
               : chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "%s: %u is not within %u … %u",
                                   field, *value, min, max);
}

static int text(struct chassis_view value, size_t max, const char *field, struct chassis_error *err)
{
    return value.len <= max && chassis_utf8_valid(value)
               ? 0
               : chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                   "%s: must be UTF-8 of at most %zu bytes", field, max);
}

static int check_push(struct cat_push_config *p, struct chassis_error *err)
{
    if (p->url.len == 0) {
        *p = (struct cat_push_config){0};
        return 0;
    }
    if (!chassis_view_starts_with(p->url, chassis_view_str("http://")) &&
        !chassis_view_starts_with(p->url, chassis_view_str("https://"))) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "push.url: must begin with http:// or https://");
    }
    int rc = text(p->url, URL_MAX, "push.url", err);
    rc = rc != 0 ? rc : text(p->token_secret, DESCRIPTION_MAX, "push.token_secret", err);
    rc = rc != 0 ? rc : number(&p->timeout_ms, 10000, 100, 300000, "push.timeout_ms", err);
    rc = rc != 0 ? rc
                 : number(&p->per_minute, 0, 0, PER_MINUTE_MAX, "push.requests_per_minute", err);
    return rc != 0 ? rc : number(&p->concurrency, 16, 1, 256, "push.concurrency", err);
}

static int check_filter(const struct cat_groups *all, struct chassis_view encoded,
                        struct chassis_error *err)
{
    struct cat_filter *filter = NULL;
    if (encoded.len == 0) {
        return 0;
    }
    if (encoded.len > FILTER_MAX) {
        return chassis_error_set(err, CHASSIS_TOO_LARGE, "filters: more than %d bytes", FILTER_MAX);
    }
    int rc = all->options.filter(encoded, &filter, err);
    cat_filter_free(filter);
    return rc;
}

int cat_group_check(const struct cat_groups *all, struct cat_group_config *c,
                    struct chassis_error *err)
{
    if (all->closing) {
        return chassis_error_set(err, CHASSIS_SHUTTING_DOWN, "the service is shutting down");
    }
    c->stream = c->stream.len != 0 ? c->stream : chassis_view_str("default");
    if (!name_valid(c->name)) {
        return refuse_name(err, "name");
    }
    if (!name_valid(c->stream)) {
        return refuse_name(err, "stream");
    }
    if (c->dead_letter_stream.len != 0 && !name_valid(c->dead_letter_stream)) {
        return refuse_name(err, "dead_letter_stream");
    }
    if (chassis_view_eq(c->dead_letter_stream, c->stream)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "dead_letter_stream: must not be the group's own stream");
    }
    if (c->n_backoff > CAT_BACKOFF_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "backoff_ms: at most %d waits",
                                 CAT_BACKOFF_MAX);
    }
    for (uint32_t i = 0; i < c->n_backoff; i++) {
        if (c->backoff_ms[i] > 86400000) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "backoff_ms: at most 86,400,000 each");
        }
    }
    int rc = number(&c->ack_wait_ms, 30000, 100, 3600000, "ack_wait_ms", err);
    rc = rc != 0 ? rc : number(&c->deliveries_max, 5, 1, CAT_DELIVERIES_MAX, "deliveries_max", err);
    rc = rc != 0 ? rc : number(&c->in_flight_max, 1024, 1, CAT_IN_FLIGHT_MAX, "in_flight_max", err);
    rc = rc != 0 ? rc : text(c->description, DESCRIPTION_MAX, "description", err);
    rc = rc != 0 ? rc : check_push(&c->push, err);
    return rc != 0 ? rc : check_filter(all, c->filter, err);
}

/* ---- what is said of it ---- */

uint64_t cat_group_lag(const struct cat_group *g)
{
    struct cat_stream_info stream;
    if (cat_stream_get(g->all->options.broker, g->config.stream, &stream, NULL) != 0) {
        return 0;
    }
    uint64_t next = g->place.next > stream.log.first ? g->place.next : stream.log.first;
    uint64_t unseen = stream.log.last >= next ? stream.log.last - next + 1 : 0;
    return unseen + g->place.n_entries;
}

static void describe(struct cat_group *g, struct cat_group_info *ret_info)
{
    struct cat_groups *all = g->all;
    chassis_buf_clear(&all->infos);
    chassis_list_foreach (link, &g->members) {
        const struct cat_member *m = chassis_list_entry(link, struct cat_member, link);
        struct cat_member_info info = {
            .name = chassis_view_str(m->name),
            .address = chassis_view_str(m->address),
            .joined_ns = m->joined_ns,
            .in_flight = m->holder.in_flight.n,
        };
        chassis_buf_append(&all->infos, &info, sizeof info);
    }
    *ret_info = (struct cat_group_info){
        .config = g->config,
        .created_ns = g->created_ns,
        .ack_floor = cat_place_floor(&g->place),
        .next_sequence = g->place.next,
        .lag = cat_group_lag(g),
        .delivered = g->delivered,
        .redelivered = g->redelivered,
        .dead_lettered = g->dead_lettered,
        .lost = g->lost,
        .in_flight = g->place.n_in_flight,
        .waiting = g->place.n_entries - g->place.n_in_flight,
        .members = (const struct cat_member_info *)(const void *)all->infos.data,
        .n_members = g->n_members,
        .push = g->config.push.url.len != 0 ? g->push : NULL,
    };
}

void cat_group_push_state(struct cat_groups *all, struct chassis_view stream,
                          struct chassis_view name, const struct cat_push_info *info,
                          uint64_t next_ms)
{
    struct cat_group *g = cat_groups_find(all, stream, name);
    if (g == NULL) {
        return;
    }
    if (g->push == NULL) {
        g->push = chassis_base_alloc(sizeof *g->push);
    }
    *g->push = *info;
    g->push->next_ns =
        next_ms != 0 ? (cat_groups_wall_ms(all) + (int64_t)next_ms) * (int64_t)CHASSIS_NS_PER_MS
                     : 0;
}

int cat_group_get(struct cat_groups *all, struct chassis_view stream, struct chassis_view name,
                  struct cat_group_info *ret_info, struct chassis_error *err)
{
    struct chassis_error own = {0};
    struct cat_group *g = cat_groups_live(all, stream, name, &own);
    if (g == NULL) {
        return chassis_error_set(err, own.code, "%s", own.text);
    }
    describe(g, ret_info);
    return 0;
}

void cat_group_list(struct cat_groups *all, struct chassis_view stream,
                    struct chassis_view after_stream, struct chassis_view after_name,
                    int (*each)(void *data, const struct cat_group_info *info), void *data)
{
    struct cat_group_info info;
    for (size_t i = cat_groups_after(all, stream, after_stream, after_name); i < all->n; i++) {
        struct cat_group *g = all->sorted[i];
        if (stream.len != 0 && !chassis_view_eq(g->config.stream, stream)) {
            return;
        }
        if (g->state == CAT_GROUP_LIVE) {
            describe(g, &info);
            if (each(data, &info) != 0) {
                return;
            }
        }
    }
}

struct cat_stream_groups cat_groups_of_stream(const struct cat_groups *all,
                                              struct chassis_view stream)
{
    struct chassis_view none = {NULL, 0};
    struct cat_stream_groups of = {0};
    for (size_t i = cat_groups_after(all, stream, none, none);
         i < all->n && chassis_view_eq(all->sorted[i]->config.stream, stream); i++) {
        const struct cat_group *g = all->sorted[i];
        of.groups += g->state == CAT_GROUP_LIVE;
        of.members += g->n_members;
        of.readers += g->reader != NULL;
    }
    return of;
}
