/* Members: who is there, who gets the next event, what they answer. */
#include <stdlib.h>

#include "catalyst/groups/internal.h"

/* Who has least in flight; among equals, who waits longest. */
static bool rather(const void *a, const void *b)
{
    const struct cat_member *x = a, *y = b;
    return x->load != y->load ? x->load < y->load : x->turn < y->turn;
}
static const struct cat_heap_kind by_load = {rather, offsetof(struct cat_member, at_able)};

/* What it has in flight, or its credit, has changed. */
static void reload(struct cat_member *m)
{
    struct cat_heap *able = &m->group->able;
    m->load = m->holder.in_flight.n;
    if (m->credit == 0) {
        cat_heap_remove(able, &by_load, m);
    } else if (m->at_able == 0) {
        cat_heap_put(able, &by_load, m);
    } else {
        cat_heap_moved(able, &by_load, m);
    }
}

void cat_group_reload(struct cat_group *g)
{
    chassis_list_foreach (link, &g->members) {
        reload(chassis_list_entry(link, struct cat_member, link));
    }
}

void cat_group_deliver(struct cat_group *g, struct cat_entry *entry,
                       const struct cat_log_event *stored)
{
    struct cat_member *m = cat_heap_top(&g->able);
    CHASSIS_ASSERT(m != NULL && m->credit != 0);
    uint32_t attempt = cat_place_deliver(&g->place, entry, &m->holder, cat_groups_now(g->all),
                                         cat_groups_wall_ms(g->all));
    m->credit--;
    g->credit--;
    m->turn = ++g->turn;
    reload(m);
    if (chassis_list_empty(&m->flush_link)) {
        chassis_list_append(&g->unflushed, &m->flush_link);
    }
    g->delivered++;
    cat_group_measure(g, CAT_MEASURE_DELIVERED, 1);
    if (attempt > 1) {
        g->redelivered++;
        cat_group_measure(g, CAT_MEASURE_REDELIVERED, 1);
    }
    m->ops->deliver(m->data, stored, attempt);
}

void cat_group_flush(struct cat_group *g)
{
    while (!chassis_list_empty(&g->unflushed)) {
        struct cat_member *m = chassis_list_entry(g->unflushed.next, struct cat_member, flush_link);
        chassis_list_remove(&m->flush_link);
        m->ops->flush(m->data);
    }
}

void cat_group_tell_gap(struct cat_group *g, uint64_t from, uint64_t to)
{
    chassis_list_foreach (link, &g->members) {
        const struct cat_member *m = chassis_list_entry(link, struct cat_member, link);
        if (m->ops->gap != NULL) {
            m->ops->gap(m->data, from, to);
        }
    }
}

/* ---- join, leave ---- */

static char *copy(struct chassis_view text)
{
    size_t len = text.len < 255 ? text.len : 255;
    char *out = chassis_base_zalloc(len + 1);
    if (len != 0) {
        memcpy(out, text.data, len);
    }
    return out;
}

/* Its memory goes at the end of the turn: it may be in the middle of a callback. */
static void part(struct cat_member *m)
{
    struct cat_group *g = m->group;
    cat_heap_remove(&g->able, &by_load, m);
    g->credit -= m->credit;
    chassis_list_remove(&m->flush_link);
    chassis_list_remove(&m->link);
    g->n_members--;
    if (cat_place_release(&g->place, &m->holder) != 0) {
        cat_group_dirty(g);
    }
    m->group = NULL;
    chassis_list_append(&g->all->left, &m->link);
    if (g->n_members == 0) {
        cat_group_detach(g);
        cat_heap_fini(&g->able);
    }
    if (!g->all->turn.queued) {
        chassis_defer(g->all->options.loop, &g->all->turn);
    }
    cat_group_touch(g);
}

void cat_groups_free_left(struct cat_groups *all)
{
    while (!chassis_list_empty(&all->left)) {
        struct cat_member *m = chassis_list_entry(all->left.next, struct cat_member, link);
        chassis_list_remove(&m->link);
        cat_heap_fini(&m->holder.in_flight);
        free(m->name);
        free(m->address);
        free(m);
    }
}

void cat_group_end_members(struct cat_group *g, int status, const struct chassis_error *err)
{
    while (!chassis_list_empty(&g->members)) {
        struct cat_member *m = chassis_list_entry(g->members.next, struct cat_member, link);
        const struct cat_member_ops *ops = m->ops;
        void *data = m->data;
        part(m);
        ops->ended(data, status, err);
    }
}

static int may_join(const struct cat_group *g, const struct cat_member_options *o,
                    struct chassis_error *err)
{
    if (o->push != (g->config.push.url.len != 0)) {
        return chassis_error_set(err, CHASSIS_FAILED_PRECONDITION, "group '%.*s' is %s",
                                 CHASSIS_VIEW_ARG(g->config.name),
                                 o->push ? "for members that join" : "pushed to a URL");
    }
    if (g->n_members >= CAT_MEMBERS_MAX) {
        return chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED,
                                 "group '%.*s' has %u members, the most",
                                 CHASSIS_VIEW_ARG(g->config.name), g->n_members);
    }
    return 0;
}

int cat_member_join(struct cat_groups *all, const struct cat_member_options *o,
                    struct cat_member **ret_member, uint64_t *ret_next, struct chassis_error *err)
{
    struct chassis_error own = {0};
    struct cat_group *g = cat_groups_live(all, o->stream, o->group, &own);
    if (g == NULL || may_join(g, o, &own) != 0) {
        return chassis_error_set(err, own.code, "%s", own.text);
    }
    g->n_members++;
    if (cat_group_attend(g, &own) != 0) {
        g->n_members--;
        return chassis_error_set(err, own.code, "join group '%.*s': %s",
                                 CHASSIS_VIEW_ARG(g->config.name), own.text);
    }
    struct cat_member *m = chassis_base_zalloc(sizeof *m);
    *m = (struct cat_member){
        .group = g,
        .ops = o->ops,
        .data = o->data,
        .name = copy(o->name.len != 0 ? o->name : o->address),
        .address = copy(o->address),
        .joined_ns = all->options.wall_ns(all->options.wall_data),
    };
    chassis_list_init(&m->flush_link);
    chassis_list_append(&g->members, &m->link);
    *ret_member = m;
    *ret_next = g->place.next;
    return 0;
}

void cat_member_credit(struct cat_member *m, uint32_t more)
{
    if (m->group == NULL || more == 0) {
        return;
    }
    more = more < UINT32_MAX - m->credit ? more : UINT32_MAX - m->credit;
    m->credit += more;
    m->group->credit += more;
    reload(m);
    cat_group_touch(m->group);
}

void cat_member_withdraw(struct cat_member *m)
{
    if (m->group != NULL) {
        m->group->credit -= m->credit;
        m->credit = 0;
        reload(m);
    }
}

void cat_member_leave(struct cat_member *m)
{
    if (m->group != NULL) {
        part(m);
    }
}

/* ---- answers ---- */

/* How many answers counted. */
static uint32_t answer(struct cat_member *m, const struct cat_answer *a)
{
    struct cat_group *g = m->group;
    uint64_t now = cat_groups_now(g->all);
    uint32_t n = 0;
    struct chassis_view reason = a->reason;
    reason.len = reason.len < CAT_REASON_MAX ? reason.len : CAT_REASON_MAX;
    switch (a->kind) {
    case CAT_ACK:
        n = a->through ? cat_place_ack_through(&g->place, &m->holder, a->sequence, now)
                       : cat_place_ack(&g->place, &m->holder, a->sequence, now);
        g->acked += n;
        cat_group_measure(g, CAT_MEASURE_ACKS, n);
        break;
    case CAT_NACK:
        n = cat_place_nack(&g->place, &m->holder, a->sequence, now,
                           (a->delay_ms < CAT_NACK_DELAY_MAX ? a->delay_ms : CAT_NACK_DELAY_MAX) *
                               CHASSIS_NS_PER_MS,
                           reason);
        g->nacked += n;
        cat_group_measure(g, CAT_MEASURE_NACKS, n);
        break;
    case CAT_TERM:
        n = cat_place_term(&g->place, &m->holder, a->sequence, reason);
        break;
    case CAT_IN_PROGRESS:
        n = cat_place_progress(&g->place, &m->holder, a->sequence, now);
        break;
    }
    return n;
}

int cat_member_answer(struct cat_member *m, const struct cat_answer *a)
{
    if (m->group == NULL) {
        return CHASSIS_NOT_FOUND;
    }
    if (answer(m, a) == 0) {
        return a->through && a->kind == CAT_ACK ? 0 : CHASSIS_NOT_FOUND;
    }
    if (a->kind != CAT_IN_PROGRESS) {
        reload(m);
        cat_group_dirty(m->group);
    }
    cat_group_touch(m->group);
    return 0;
}
