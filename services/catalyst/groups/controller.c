/* Groups by name, their memory, opening and closing. */
#include <stdlib.h>

#include "base/bytes.h"
#include "catalyst/broker/codec.h"
#include "catalyst/groups/internal.h"

/* ---- found by name ---- */

static int compare_names(const struct cat_group *g, struct chassis_view stream,
                         struct chassis_view name)
{
    int c = chassis_view_cmp(g->config.stream, stream);
    return c != 0 ? c : chassis_view_cmp(g->config.name, name);
}

/* The first group that is not before (stream, name). */
static size_t lower_bound(const struct cat_groups *all, struct chassis_view stream,
                          struct chassis_view name)
{
    size_t low = 0, high = all->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare_names(all->sorted[mid], stream, name) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

struct cat_group *cat_groups_find(const struct cat_groups *all, struct chassis_view stream,
                                  struct chassis_view name)
{
    size_t i = lower_bound(all, stream, name);
    bool there = i < all->n && compare_names(all->sorted[i], stream, name) == 0;
    return there ? all->sorted[i] : NULL;
}

struct cat_group *cat_groups_live(const struct cat_groups *all, struct chassis_view stream,
                                  struct chassis_view name, struct chassis_error *err)
{
    struct cat_group *g = cat_groups_find(all, stream, name);
    if (all->closing) {
        chassis_error_set(err, CHASSIS_SHUTTING_DOWN, "the service is shutting down");
    } else if (g == NULL || g->state != CAT_GROUP_LIVE) {
        chassis_error_set(err, CHASSIS_NOT_FOUND, "no group '%.*s' in stream '%.*s'",
                          CHASSIS_VIEW_ARG(name), CHASSIS_VIEW_ARG(stream));
    } else {
        return g;
    }
    return NULL;
}

size_t cat_groups_after(const struct cat_groups *all, struct chassis_view stream,
                        struct chassis_view after_stream, struct chassis_view after_name)
{
    size_t from = lower_bound(all, stream, chassis_view(NULL, 0));
    if (after_stream.len == 0) {
        return from;
    }
    size_t after = lower_bound(all, after_stream, after_name);
    if (after < all->n && compare_names(all->sorted[after], after_stream, after_name) == 0) {
        after++;
    }
    return after > from ? after : from;
}

void cat_groups_insert(struct cat_groups *all, struct cat_group *g)
{
    if (all->n == all->cap) {
        all->cap = all->cap != 0 ? 2 * all->cap : 16;
        all->sorted = chassis_base_realloc(all->sorted, all->cap * sizeof(struct cat_group *));
    }
    size_t i = lower_bound(all, g->config.stream, g->config.name);
    memmove(&all->sorted[i + 1], &all->sorted[i], (all->n - i) * sizeof(struct cat_group *));
    all->sorted[i] = g;
    all->n++;
}

static void forget_name(struct cat_group *g)
{
    struct cat_groups *all = g->all;
    size_t i = lower_bound(all, g->config.stream, g->config.name);
    CHASSIS_ASSERT(i < all->n && all->sorted[i] == g);
    all->n--;
    memmove(&all->sorted[i], &all->sorted[i + 1], (all->n - i) * sizeof(struct cat_group *));
}

/* ---- life of one group ---- */

void cat_groups_hold(struct cat_groups *all)
{
    all->under_way++;
}

void cat_groups_release(struct cat_groups *all)
{
    CHASSIS_ASSERT(all->under_way != 0);
    if (--all->under_way == 0 && all->closing && !all->in_turn && !all->turn.queued) {
        chassis_defer(all->options.loop, &all->turn);
    }
}

void cat_group_hold(struct cat_group *g)
{
    g->holds++;
    cat_groups_hold(g->all);
}

void cat_work_begin(struct cat_work *work, struct cat_groups *all, struct cat_group *g,
                    void (*abandon)(struct cat_work *work))
{
    *work = (struct cat_work){.group = g, .abandon = abandon};
    chassis_list_append(&all->works, &work->link);
    if (g != NULL) {
        cat_group_hold(g);
    } else {
        cat_groups_hold(all);
    }
}

void cat_work_end(struct cat_work *work, struct cat_groups *all)
{
    chassis_list_remove(&work->link);
    if (work->group != NULL) {
        cat_group_release(work->group);
    } else {
        cat_groups_release(all);
    }
}

static void free_waits(struct cat_group_wait *w)
{
    for (struct cat_group_wait *next; w != NULL; w = next) {
        next = w->next;
        free(w);
    }
}

static void group_free(struct cat_group *g)
{
    chassis_list_remove(&g->link);
    g->all->entries -= g->counted;
    free_waits(g->makers);
    free_waits(g->savers);
    cat_place_fini(&g->place);
    cat_runs_fini(&g->replayed);
    cat_heap_fini(&g->able);
    cat_filter_free(g->filter);
    chassis_buf_fini(&g->row);
    cat_group_unmeasured(g);
    free(g->push);
    free(g);
}

void cat_group_release(struct cat_group *g)
{
    struct cat_groups *all = g->all;
    CHASSIS_ASSERT(g->holds != 0);
    if (--g->holds == 0 && g->state == CAT_GROUP_GONE) {
        CHASSIS_ASSERT(g->reader == NULL && g->n_members == 0);
        group_free(g);
    }
    cat_groups_release(all);
}

struct cat_place_rules cat_group_rules(const struct cat_group_config *c)
{
    struct cat_place_rules rules = {
        .ack_wait_ns = c->ack_wait_ms * CHASSIS_NS_PER_MS,
        .n_backoff = c->n_backoff,
        .deliveries_max = c->deliveries_max,
        .in_flight_max = c->in_flight_max,
        .ordered = c->ordered_by_key,
    };
    for (uint32_t i = 0; i < c->n_backoff; i++) {
        rules.backoff_ns[i] = c->backoff_ms[i] * CHASSIS_NS_PER_MS;
    }
    return rules;
}

/* From its row, which it takes. */
struct cat_group *cat_group_new(struct cat_groups *all, struct chassis_buf *row,
                                uint32_t stream_number, enum cat_group_state state)
{
    struct cat_group *g = chassis_base_zalloc(sizeof *g);
    g->all = all;
    chassis_list_append(&all->groups, &g->link);
    g->row = chassis_buf_move(row);
    struct cat_group_row decoded;
    int rc = cat_group_row_decode(chassis_buf_view(&g->row), &decoded, NULL);
    CHASSIS_ASSERT(rc == 0);
    g->config = decoded.config;
    g->number = decoded.number;
    g->created_ns = decoded.created_ns;
    g->stream_number = stream_number;
    g->state = state;
    chassis_list_init(&g->members);
    chassis_list_init(&g->unflushed);
    chassis_list_init(&g->touched_link);
    chassis_list_init(&g->dirty_link);
    struct cat_place_rules rules = cat_group_rules(&g->config);
    cat_place_init(&g->place, &rules, 1);
    return g;
}

void cat_group_tell_push(struct cat_group *g, bool there)
{
    const struct cat_groups_options *o = &g->all->options;
    if (o->push != NULL && !g->all->closing) {
        o->push(o->push_data, g->config.stream, g->config.name, there ? &g->config : NULL);
    }
}

/* It is not found any more. */
void cat_group_gone(struct cat_group *g, int status, const struct chassis_error *err)
{
    struct cat_groups *all = g->all;
    bool pushed = g->config.push.url.len != 0 && g->state == CAT_GROUP_LIVE;
    g->state = CAT_GROUP_GONE;
    g->generation++;
    g->holds++;
    forget_name(g);
    cat_group_end_members(g, status, err);
    cat_group_detach(g);
    cat_group_save_forget(g);
    chassis_list_remove(&g->touched_link);
    g->touched = false;
    cat_heap_remove(&all->due, &cat_groups_by_due, g);
    if (pushed) {
        cat_group_tell_push(g, false);
    }
    if (--g->holds == 0) {
        group_free(g);
    }
}

/* ---- open, close ---- */

struct loading {
    struct cat_groups *all;
    struct chassis_error *err;
    int rc;
};

/* What a stream that is not synced lost in a crash was never delivered: its sequences come again. */
static void clamp(struct cat_group *g, const struct cat_stream_info *stream)
{
    if (stream->config.durability != CAT_FSYNC && g->place.next > stream->log.last + 1) {
        chassis_log_warn(
            g->all->options.log, "stream ends before the group's place: going back",
            chassis_f_view("stream", g->config.stream), chassis_f_view("group", g->config.name),
            chassis_f_u64("place", g->place.next), chassis_f_u64("last", stream->log.last));
        cat_place_cut(&g->place, stream->log.last + 1, cat_groups_now(g->all));
        cat_group_dirty(g);
    }
}

/* Letters that are not there were of a stream that was deleted. */
static void check_replayed(struct cat_group *g)
{
    struct cat_stream_info stream;
    struct chassis_buf dead = {0};
    if (g->replayed.n == 0) {
        return;
    }
    cat_dead_letter_stream(&g->config, &dead);
    if (cat_stream_get(g->all->options.broker, chassis_buf_view(&dead), &stream, NULL) != 0 ||
        stream.log.last < g->replayed.items[g->replayed.n - 1].to) {
        cat_runs_fini(&g->replayed);
        cat_group_dirty(g);
    }
    chassis_buf_fini(&dead);
}

static int load_one(void *data, struct chassis_view key, struct chassis_view value)
{
    struct loading *l = data;
    struct cat_groups *all = l->all;
    struct cat_group_row decoded;
    struct cat_stream_info stream;
    struct chassis_view place;
    struct chassis_buf row = {0};
    l->rc = cat_group_row_decode(value, &decoded, l->err);
    if (l->rc == 0 && key.len < 4) {
        l->rc = chassis_error_set(l->err, CHASSIS_CORRUPT, "the key of a group is malformed");
    }
    if (l->rc != 0) {
        return 1;
    }
    uint32_t number = chassis_get_be32(key.data);
    cat_group_row_encode(&decoded, &row); /* as this version would have written it */
    struct cat_group *g = cat_group_new(all, &row, number, CAT_GROUP_LIVE);
    all->last_number = g->number > all->last_number ? g->number : all->last_number;
    int found = cat_stream_get(all->options.broker, g->config.stream, &stream, NULL);
    bool away = found == CHASSIS_UNAVAILABLE; /* then members cannot join until it is there */
    if (!away && (found != 0 || stream.number != number)) {
        g->state = CAT_GROUP_GONE; /* its stream is: load_finish removes its rows */
        return 0;
    }
    cat_groups_insert(all, g);
    struct cat_number_key place_key = cat_number_key(g->number);
    l->rc = cat_catalog_get(all->catalog, CAT_ROW_PLACE,
                            chassis_view(place_key.bytes, sizeof place_key.bytes), &place);
    if (l->rc != 0) {
        chassis_error_set(l->err, CHASSIS_CORRUPT, "it has no place");
        l->rc = CHASSIS_CORRUPT;
    } else {
        l->rc = cat_place_row_decode(place, cat_groups_now(all), cat_groups_wall_ms(all), &g->place,
                                     &g->replayed, l->err);
    }
    if (l->rc != 0) {
        chassis_error_wrap(l->err, "group '%.*s' of stream '%.*s'",
                           CHASSIS_VIEW_ARG(g->config.name), CHASSIS_VIEW_ARG(g->config.stream));
        return 1;
    }
    if (!away) {
        clamp(g, &stream);
    }
    check_replayed(g);
    return 0;
}

static void load_finish(struct cat_groups *all, struct loading *l)
{
    chassis_list_foreach_safe (link, &all->groups) {
        struct cat_group *g = chassis_list_entry(link, struct cat_group, link);
        if (g->state == CAT_GROUP_GONE && l->rc == 0) {
            cat_group_remove_rows(g);
        }
    }
    for (size_t i = 0; i < all->n && l->rc == 0; i++) {
        cat_group_measured(all->sorted[i]);
        cat_group_touch(all->sorted[i]);
        if (all->sorted[i]->config.push.url.len != 0) {
            cat_group_tell_push(all->sorted[i], true);
        }
    }
}

static void groups_free(struct cat_groups *all)
{
    while (!chassis_list_empty(&all->groups)) {
        group_free(chassis_list_entry(all->groups.next, struct cat_group, link));
    }
    cat_groups_free_left(all); /* places have let go of what members hold */
    cat_heap_fini(&all->due);
    chassis_buf_fini(&all->infos);
    free(all->sorted);
    free(all);
}

int cat_groups_open(const struct cat_groups_options *options, struct cat_groups **ret_groups,
                    struct chassis_error *err)
{
    struct cat_groups *all = chassis_base_zalloc(sizeof *all);
    all->options = *options;
    all->options.entries_max = options->entries_max != 0 ? options->entries_max : 1 << 20;
    all->catalog = cat_broker_catalog(options->broker);
    all->turn.run = cat_groups_turn;
    all->due_timer.run = cat_groups_due;
    all->save_timer.run = cat_groups_save_due;
    all->measure_timer.run = cat_groups_measure;
    chassis_list_init(&all->groups);
    chassis_list_init(&all->works);
    chassis_list_init(&all->touched);
    chassis_list_init(&all->dirty);
    chassis_list_init(&all->left);
    struct loading l = {.all = all, .err = err};
    cat_catalog_each(all->catalog, CAT_ROW_GROUP, load_one, &l);
    load_finish(all, &l);
    if (l.rc != 0) {
        chassis_error_wrap(err, "open groups");
        chassis_cancel(options->loop, &all->save_timer);
        groups_free(all);
        return l.rc;
    }
    cat_broker_on_stream_deleted(options->broker, cat_groups_stream_deleted, all);
    *ret_groups = all;
    return 0;
}

/* Everything is saved and has come back: the rest of the turn task calls this. */
void cat_groups_closed(struct cat_groups *all)
{
    void (*closed)(void *data) = all->closed;
    void *data = all->closed_data;
    chassis_cancel(all->options.loop, &all->due_timer);
    chassis_cancel(all->options.loop, &all->save_timer);
    chassis_cancel(all->options.loop, &all->measure_timer);
    for (size_t i = 0; i < all->n; i++) {
        cat_heap_remove(&all->due, &cat_groups_by_due, all->sorted[i]);
    }
    groups_free(all);
    closed(data);
}

void cat_groups_abandon(struct cat_groups *all)
{
    while (!chassis_list_empty(&all->works)) {
        struct cat_work *work = chassis_list_entry(all->works.next, struct cat_work, link);
        chassis_list_remove(&work->link);
        work->abandon(work);
    }
    chassis_list_foreach (link, &all->groups) {
        struct cat_group *g = chassis_list_entry(link, struct cat_group, link);
        while (!chassis_list_empty(&g->members)) {
            struct chassis_list *member = g->members.next;
            chassis_list_remove(member);
            chassis_list_append(&all->left, member);
        }
    }
    groups_free(all);
}

void cat_groups_close(struct cat_groups *all, void (*closed)(void *data), void *data)
{
    struct chassis_error err = {0};
    CHASSIS_ASSERT(!all->closing);
    cat_broker_on_stream_deleted(all->options.broker, NULL, NULL);
    all->closing = true;
    all->closed = closed;
    all->closed_data = data;
    chassis_error_set(&err, CHASSIS_SHUTTING_DOWN, "the service is shutting down");
    for (size_t i = 0; i < all->n; i++) {
        cat_group_end_members(all->sorted[i], CHASSIS_SHUTTING_DOWN, &err);
        cat_group_detach(all->sorted[i]);
    }
    cat_groups_save_now(all);
    if (!all->turn.queued) {
        chassis_defer(all->options.loop, &all->turn);
    }
}
