#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "fuse/xds/state.h"

/* ---- entries kept ---- */

void fuse_entry_copy(struct fuse_entry *to, const struct fuse_entry *from)
{
    *to = *from;
    fuse_route_ref(from->route);
    to->actor = chassis_base_strdup(from->actor);
}

void fuse_entry_drop(struct fuse_entry *entry)
{
    if (entry->route != NULL) {
        fuse_route_unref(entry->route);
        free((char *)(uintptr_t)entry->actor);
    }
    *entry = (struct fuse_entry){0};
}

struct fuse_past *fuse_past_find(const struct fuse_group *group, const char *route)
{
    if (group->judge.past.n == 0) {
        return NULL;
    }
    struct fuse_tree_node *node = fuse_tree_find(&group->judge.past, route);
    return node != NULL ? fuse_tree_entry(node, struct fuse_past, node) : NULL;
}

struct fuse_past *fuse_past_get(struct fuse_group *group, const char *route)
{
    struct fuse_past *past = fuse_past_find(group, route);
    if (past == NULL) {
        size_t len = strlen(route) + 1;
        past = chassis_base_zalloc(sizeof *past + len);
        memcpy(past->name, route, len);
        past->node.key = past->name;
        chassis_list_init(&past->with_sent);
        fuse_tree_put(&group->judge.past, &past->node);
    }
    return past;
}

static void past_clear(struct fuse_past *past)
{
    fuse_entry_drop(&past->accepted);
    for (unsigned i = 0; i < past->n_sent; i++) {
        fuse_entry_drop(&past->sent[i].entry);
    }
    past->n_sent = 0;
    chassis_list_remove(&past->with_sent);
}

static void past_free(struct fuse_group *group, struct fuse_past *past)
{
    fuse_tree_remove(&group->judge.past, &past->node);
    past_clear(past);
    free(past);
}

void fuse_past_fini(struct fuse_group *group)
{
    for (struct fuse_tree_node *node; (node = fuse_tree_pop(&group->judge.past)) != NULL;) {
        struct fuse_past *past = fuse_tree_entry(node, struct fuse_past, node);
        past_clear(past);
        free(past);
    }
}

/* ---- slots made of a route ---- */

struct slot_walk {
    const struct fuse_group *group;
    void (*each)(struct fuse_slot *slot, void *data);
    void *data;
};

static void walk_name(enum fuse_type type, const char *name, void *data)
{
    const struct slot_walk *walk = data;
    struct fuse_slot *slot = fuse_slot_find(walk->group, type, name);
    if (slot != NULL) {
        walk->each(slot, walk->data);
    }
}

void fuse_past_each_slot(const struct fuse_group *group, const struct fuse_change *change,
                         void (*each)(struct fuse_slot *slot, void *data), void *data)
{
    struct fuse_resource_source source = fuse_group_source(group);
    struct slot_walk walk = {group, each, data};
    fuse_resource_touched(&source, change, walk_name, &walk);
}

/* Somebody accepted what the slot was at that time or later, or accepted just what it is now. */
static bool slot_is_proven(const struct fuse_slot *slot, uint64_t sequence)
{
    bool fresh = chassis_list_empty(&slot->stale);
    return (slot->proven_sequence != 0 && slot->proven_sequence >= sequence) ||
           (fresh && slot->proven_hash != FUSE_NOTHING && slot->proven_hash == slot->hash);
}

struct proof {
    int type;          /* of interest; -1 = all */
    uint64_t sequence; /* of the present version */
    bool asked;        /* by somebody */
    bool proven, unproven;
    bool routes, clusters;           /* of such slots there are some */
    uint64_t by_routes, by_clusters; /* newest that was accepted with them */
    uint64_t sent;                   /* newest that was sent with any */
};

static void prove_slot(struct fuse_slot *slot, void *data)
{
    struct proof *p = data;
    bool asked = !chassis_list_empty(&slot->subs), counts = asked && slot->hash != FUSE_ABSENT;
    p->asked = p->asked || asked;
    if (!counts || (p->type >= 0 && p->type != (int)slot->type)) {
        return;
    }
    bool proven = slot_is_proven(slot, p->sequence);
    p->proven = p->proven || proven;
    p->unproven = p->unproven || !proven;
    p->sent = slot->sent_sequence > p->sent ? slot->sent_sequence : p->sent;
    uint64_t at = slot->proven_sequence;
    if (slot->type == FUSE_ROUTES) {
        p->routes = true;
        p->by_routes = at > p->by_routes ? at : p->by_routes;
    } else if (slot->type == FUSE_CLUSTER) {
        p->clusters = true;
        p->by_clusters = at > p->by_clusters ? at : p->by_clusters;
    }
}

bool fuse_past_is_proven(const struct fuse_group *group, const struct fuse_past *past,
                         const struct fuse_entry *entry, int type)
{
    /* Of a route without a past any acknowledgement will do: nothing changed since. */
    struct proof proof = {.type = type, .sequence = past != NULL ? past->sequence : 1};
    fuse_past_each_slot(group, &(struct fuse_change){.after = entry}, prove_slot, &proof);
    return proof.proven;
}

/* ---- what was accepted ---- */

/* The n-th of those that were sent was accepted: older ones say nothing any more. */
static void take_sent(struct fuse_past *past, unsigned n)
{
    fuse_entry_drop(&past->accepted);
    past->accepted = past->sent[n].entry;
    for (unsigned i = 0; i < n; i++) {
        fuse_entry_drop(&past->sent[i].entry);
    }
    past->n_sent -= n + 1;
    memmove(past->sent, past->sent + n + 1, past->n_sent * sizeof past->sent[0]);
    if (past->n_sent == 0) {
        chassis_list_remove(&past->with_sent);
    }
}

struct flight {
    const struct fuse_feed *feed;
    bool has;
};

static void look_in_flight(struct fuse_slot *slot, void *data)
{
    struct flight *flight = data;
    if (slot->type == flight->feed->type) {
        const struct fuse_sub *sub = fuse_feed_find(flight->feed, slot->name);
        flight->has = flight->has || (sub != NULL && (sub->flags & FUSE_SUB_IN_FLIGHT) != 0);
    }
}

void fuse_past_accept(struct fuse_feed *feed)
{
    struct fuse_group *group = feed->session->group;
    bool decides = feed->type == FUSE_ROUTES;
    chassis_list_foreach_safe (link, &group->judge.with_sent) {
        struct fuse_past *past = chassis_list_entry(link, struct fuse_past, with_sent);
        for (unsigned i = past->n_sent; decides && i-- > 0;) {
            struct flight flight = {.feed = feed};
            if (feed->sent_sequence < past->sent[i].from ||
                feed->sent_sequence >= past->sent[i].until) {
                continue;
            }
            fuse_past_each_slot(group, &(struct fuse_change){.after = &past->sent[i].entry},
                                look_in_flight, &flight);
            if (flight.has) {
                take_sent(past, i);
                break;
            }
        }
    }
}

/* What decides whether a route was accepted: that it was as a route, or, where nobody asks for routes,
 * as a cluster. */
static uint64_t accepted_at(const struct proof *proof)
{
    return proof->routes ? proof->by_routes : proof->clusters ? proof->by_clusters : 0;
}

bool fuse_past_is_over(const struct fuse_group *group, const struct fuse_past *past,
                       const struct fuse_entry *entry)
{
    struct proof proof = {.type = -1, .sequence = past->sequence};
    fuse_past_each_slot(group, &(struct fuse_change){.after = entry}, prove_slot, &proof);
    return !proof.unproven;
}

static void push_sent(struct fuse_group *group, struct fuse_past *past,
                      const struct fuse_entry *entry, uint64_t from)
{
    if (past->n_sent == FUSE_PAST_SENT_MAX) { /* nobody answers: the oldest is the least likely */
        fuse_entry_drop(&past->sent[0].entry);
        past->n_sent--;
        memmove(past->sent, past->sent + 1, past->n_sent * sizeof past->sent[0]);
    }
    fuse_entry_copy(&past->sent[past->n_sent].entry, entry);
    past->sent[past->n_sent].from = from;
    past->sent[past->n_sent++].until = group->xds->sequence;
    chassis_list_remove(&past->with_sent);
    chassis_list_append(&group->judge.with_sent, &past->with_sent);
}

void fuse_past_changed(struct fuse_group *group, const struct fuse_change *change)
{
    const char *name = (change->after != NULL ? change->after : change->before)->route->name;
    struct fuse_past *past = fuse_past_find(group, name);
    struct proof proof = {.type = -1, .sequence = past != NULL ? past->sequence : 1};
    fuse_past_each_slot(group, change, prove_slot, &proof);
    bool kept_away = fuse_view_is_overridden(group->view, name);
    uint64_t since = past != NULL && past->sequence != 0 ? past->sequence : 1;
    bool was_sent = change->before != NULL && !kept_away && proof.sent >= since;
    bool was_accepted = accepted_at(&proof) >= since;
    if (was_sent && !was_accepted) {
        group->judge.replaced = group->xds->sequence;
    }
    if (change->after == NULL) {
        if (past != NULL) {
            past_free(group, past);
        }
        return;
    }
    if (past == NULL && !proof.asked) {
        return; /* nobody asks for anything made of it */
    }
    if (past == NULL) {
        past = fuse_past_get(group, name);
    }
    if (was_sent && was_accepted) {
        fuse_entry_drop(&past->accepted);
        fuse_entry_copy(&past->accepted, change->before);
    } else if (was_sent) {
        push_sent(group, past, change->before, since);
    }
    const struct fuse_entry *instead = fuse_view_replacement(group->view, name);
    if (past->accepted.route == NULL && instead != NULL) {
        fuse_entry_copy(&past->accepted, instead);
    }
    past->sequence = group->xds->sequence;
    fuse_past_untidy(group);
}

void fuse_past_untidy(struct fuse_group *group)
{
    enum {
        AT_LEAST_NS = 20000000,
        EACH_NS = 100000
    }; /* so it takes a few hundredths of the time */
    struct fuse_judge *j = &group->judge;
    if (j->past.n != 0 && j->tidy.due_ns == 0) {
        chassis_post_after(group->xds->options.loop, &j->tidy,
                           AT_LEAST_NS + (uint64_t)j->past.n * EACH_NS);
    }
}

void fuse_past_tidy(struct chassis_timer *timer)
{
    struct fuse_judge *j = chassis_container_of(timer, struct fuse_judge, tidy);
    struct fuse_group *group = chassis_container_of(j, struct fuse_group, judge);
    struct fuse_past **gone = chassis_base_alloc((j->past.n + 1) * sizeof *gone);
    unsigned n = 0;
    struct fuse_tree_walk walk;
    fuse_tree_walk_begin(&walk, &group->judge.past);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct fuse_past *past = fuse_tree_entry(node, struct fuse_past, node);
        const struct fuse_entry *entry = fuse_view_route(group->view, past->name);
        bool kept_away = fuse_view_is_overridden(group->view, past->name);
        if (!kept_away && (entry == NULL || fuse_past_is_over(group, past, entry))) {
            gone[n++] = past;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        past_free(group, gone[i]);
    }
    free(gone);
}
