#include "fuse/xds/group.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "fuse/xds/state.h"

/* ---- groups ---- */

struct fuse_group *fuse_group_find(const struct fuse_xds *xds, const char *name)
{
    struct fuse_tree_node *node = fuse_tree_find(&xds->groups, name);
    return node != NULL ? fuse_tree_entry(node, struct fuse_group, node) : NULL;
}

struct fuse_group *fuse_group_get(struct fuse_xds *xds, const char *name)
{
    struct fuse_group *group = fuse_group_find(xds, name);
    if (group != NULL) {
        return group;
    }
    size_t len = strlen(name) + 1;
    group = chassis_base_zalloc(sizeof *group + len);
    memcpy(group->name, name, len);
    group->node.key = group->name;
    group->xds = xds;
    group->view = fuse_view_new(xds->options.model, name);
    for (unsigned type = 0; type < FUSE_N_TYPES; type++) {
        chassis_list_init(&group->wildcards[type].slots);
        chassis_list_init(&group->wildcards[type].feeds);
    }
    chassis_list_init(&group->stale);
    chassis_list_init(&group->touched);
    chassis_list_init(&group->sessions);
    fuse_judge_init(group);
    fuse_tree_put(&xds->groups, &group->node);
    xds->n_groups++;
    fuse_quarantine_apply(group);
    return group;
}

void fuse_group_free(struct fuse_group *group)
{
    CHASSIS_ASSERT(group->n_sessions == 0);
    fuse_judge_fini(group);
    for (unsigned type = 0; type < FUSE_N_TYPES; type++) {
        CHASSIS_ASSERT(group->slots[type].n == 0);
    }
    fuse_tree_remove(&group->xds->groups, &group->node);
    group->xds->n_groups--;
    chassis_list_remove(&group->touched);
    fuse_view_free(group->view);
    free(group);
}

void fuse_group_release(struct fuse_group *group)
{
    enum { WAITING_MAX = 1000 };
    bool waits = !fuse_judge_is_idle(group) && group->xds->n_groups < WAITING_MAX;
    if (group->n_sessions == 0 && !group->pinned && !waits) {
        fuse_group_free(group);
    }
}

struct fuse_resource_source fuse_group_source(const struct fuse_group *group)
{
    return (struct fuse_resource_source){.view = group->view,
                                         .statics = group->xds->options.statics};
}

void fuse_group_wake(struct fuse_group *group)
{
    if (chassis_list_empty(&group->touched)) {
        chassis_list_append(&group->xds->touched, &group->touched);
    }
    fuse_xds_wake(group->xds);
}

/* ---- slots ---- */

struct fuse_slot *fuse_slot_find(const struct fuse_group *group, enum fuse_type type,
                                 const char *name)
{
    struct fuse_tree_node *node = fuse_tree_find(&group->slots[type], name);
    return node != NULL ? fuse_tree_entry(node, struct fuse_slot, node) : NULL;
}

static struct fuse_stem *stem_get(struct fuse_tree *stems, const char *name, size_t len)
{
    struct fuse_stem *stem = chassis_base_zalloc(sizeof *stem + len + 1);
    memcpy(stem->name, name, len);
    struct fuse_tree_node *node = fuse_tree_find(stems, stem->name);
    if (node != NULL) {
        free(stem);
        return fuse_tree_entry(node, struct fuse_stem, node);
    }
    stem->node.key = stem->name;
    chassis_list_init(&stem->slots);
    fuse_tree_put(stems, &stem->node);
    return stem;
}

static void drop_bytes(struct fuse_slot *slot)
{
    chassis_buf_fini(&slot->any);
    slot->version[0] = '\0';
}

/* FNV-1a over what the type and the name do not say already; values below FUSE_HASH_FIRST have
 * meanings of their own. */
static uint64_t hash_of(struct chassis_view bytes)
{
    uint64_t hash = chassis_fnv1a(bytes.data, bytes.len);
    return hash >= FUSE_HASH_FIRST ? hash : FUSE_HASH_FIRST;
}

static void slot_take(struct fuse_slot *slot, struct chassis_view bytes, uint64_t revision)
{
    const char *url = fuse_type_urls[slot->type];
    chassis_buf_clear(&slot->any);
    chassis_buf_reserve(&slot->any, bytes.len + strlen(url) + 16);
    fuse_put_text(&slot->any, 1, url);
    fuse_put_tag(&slot->any, 2, bytes.len);
    chassis_buf_append_view(&slot->any, bytes);
    slot->revision = revision;
    fuse_resource_version(revision, bytes, slot->version);
}

/* Build again; the hash says whether anything changed. */
static void slot_build(struct fuse_slot *slot)
{
    struct fuse_xds *xds = slot->group->xds;
    struct fuse_resource_source source = fuse_group_source(slot->group);
    uint64_t revision = 0;
    chassis_buf_clear(&xds->out);
    fuse_measure_add(FUSE_MEASURE_BUILDS, 1);
    if (fuse_resource_build(&source, slot->type, slot->name, &xds->out, &revision)) {
        slot->hash = hash_of(chassis_buf_view(&xds->out));
        slot_take(slot, chassis_buf_view(&xds->out), revision);
        return;
    }
    slot->hash = FUSE_ABSENT;
    if (slot->n_holding == 0) {
        drop_bytes(slot);
    }
}

static void slot_is_fresh(struct fuse_slot *slot)
{
    if (!chassis_list_empty(&slot->stale)) {
        chassis_list_remove(&slot->stale);
        slot->group->n_stale[slot->type]--;
    }
}

static void slot_refresh(struct fuse_slot *slot)
{
    uint64_t before = slot->hash;
    slot_is_fresh(slot);
    slot_build(slot);
    if (slot->hash != before) {
        chassis_list_foreach_safe (link, &slot->subs) {
            fuse_sub_touch(chassis_list_entry(link, struct fuse_sub, link));
        }
    }
}

struct fuse_slot *fuse_slot_get(struct fuse_group *group, enum fuse_type type, const char *name)
{
    struct fuse_slot *slot = fuse_slot_find(group, type, name);
    if (slot != NULL) {
        if (!chassis_list_empty(&slot->stale)) {
            slot_refresh(slot);
        }
        return slot;
    }
    size_t len = strlen(name);
    slot = chassis_base_zalloc(sizeof *slot + len + 1);
    memcpy(slot->name, name, len);
    slot->node.key = slot->name;
    slot->group = group;
    slot->type = type;
    slot->name_hash = chassis_fnv1a(name, len);
    chassis_list_init(&slot->subs);
    chassis_list_init(&slot->stale);
    chassis_list_init(&slot->wild);
    chassis_list_init(&slot->stem_link);
    fuse_tree_put(&group->slots[type], &slot->node);
    size_t stem_len = fuse_resource_stem(type, name);
    if (stem_len != len) {
        slot->stem = stem_get(&group->stems[type], name, stem_len);
        chassis_list_append(&slot->stem->slots, &slot->stem_link);
    }
    slot_build(slot);
    return slot;
}

void fuse_slot_release(struct fuse_slot *slot)
{
    if (!chassis_list_empty(&slot->subs) || slot->in_wild) {
        return;
    }
    struct fuse_group *group = slot->group;
    fuse_tree_remove(&group->slots[slot->type], &slot->node);
    fuse_judge_forget(slot);
    slot_is_fresh(slot);
    chassis_list_remove(&slot->stem_link);
    if (slot->stem != NULL && chassis_list_empty(&slot->stem->slots)) {
        fuse_tree_remove(&group->stems[slot->type], &slot->stem->node);
        free(slot->stem);
    }
    drop_bytes(slot);
    free(slot);
}

void fuse_slot_hold(struct fuse_slot *slot, bool holds)
{
    slot->n_holding += holds ? 1 : -1U;
    if (slot->n_holding == 0 && slot->hash == FUSE_ABSENT) {
        drop_bytes(slot);
    }
}

/* ---- what a change touches ---- */

static void slot_touch(struct fuse_slot *slot)
{
    if (chassis_list_empty(&slot->stale)) {
        chassis_list_append(&slot->group->stale, &slot->stale);
        slot->group->n_stale[slot->type]++;
        fuse_group_wake(slot->group);
    } else {
        fuse_measure_add(FUSE_MEASURE_COALESCED, 1);
    }
}

static void touch_name(enum fuse_type type, const char *name, void *data)
{
    struct fuse_group *group = data;
    struct fuse_slot *slot = fuse_slot_find(group, type, name);
    if (slot != NULL) {
        slot_touch(slot);
    }
    struct fuse_tree_node *node = fuse_tree_find(&group->stems[type], name);
    if (node != NULL) {
        struct fuse_stem *stem = fuse_tree_entry(node, struct fuse_stem, node);
        chassis_list_foreach (link, &stem->slots) {
            slot_touch(chassis_list_entry(link, struct fuse_slot, stem_link));
        }
    }
}

static bool same_targets(const struct fuse_route *a, const struct fuse_route *b)
{
    bool same = a->n_targets == b->n_targets && a->http2 == b->http2 &&
                a->hash_kind == b->hash_kind && a->breaker.set == b->breaker.set &&
                a->outlier.set == b->outlier.set && a->n_groups == 0 && b->n_groups == 0 &&
                a->n_listeners == 0 && b->n_listeners == 0;
    for (unsigned i = 0; same && i < a->n_targets; i++) {
        const struct fuse_target *x = &a->targets[i], *y = &b->targets[i];
        same = strcmp(x->service, y->service) == 0 && strcmp(x->host, y->host) == 0 &&
               x->port == y->port && (x->weight == 0) == (y->weight == 0);
    }
    return same;
}

static void wildcard_touch(struct fuse_group *group, enum fuse_type type)
{
    if (!chassis_list_empty(&group->wildcards[type].feeds)) {
        group->wildcards[type].dirty = true;
        fuse_group_wake(group);
    }
}

void fuse_group_touch(struct fuse_group *group, const struct fuse_change *change)
{
    struct fuse_resource_source source = fuse_group_source(group);
    if (change->service == NULL && (change->before == NULL || change->after == NULL ||
                                    !same_targets(change->before->route, change->after->route))) {
        wildcard_touch(group, FUSE_CLUSTER);
    }
    fuse_resource_touched(&source, change, touch_name, group);
}

void fuse_group_touch_statics(struct fuse_group *group)
{
    static const enum fuse_type made[] = {FUSE_LISTENER, FUSE_ROUTES, FUSE_SECRET};
    wildcard_touch(group, FUSE_LISTENER);
    for (unsigned i = 0; i < sizeof made / sizeof *made; i++) {
        struct fuse_tree_walk walk;
        fuse_tree_walk_begin(&walk, &group->slots[made[i]]);
        for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
            slot_touch(fuse_tree_entry(node, struct fuse_slot, node));
        }
    }
}

bool fuse_group_has_stale(const struct fuse_group *group, enum fuse_type type)
{
    return group->n_stale[type] != 0 || group->wildcards[type].dirty;
}

bool fuse_group_is_stale(const struct fuse_group *group)
{
    bool stale = false;
    for (unsigned type = 0; type < FUSE_N_TYPES; type++) {
        stale = stale || fuse_group_has_stale(group, type);
    }
    return stale;
}

/* ---- wildcards ---- */

struct wildcard_walk {
    struct fuse_group *group;
    enum fuse_type type;
};

static void wildcard_has(const char *name, void *data)
{
    const struct wildcard_walk *walk = data;
    struct fuse_wildcard *wildcard = &walk->group->wildcards[walk->type];
    struct fuse_slot *slot = fuse_slot_get(walk->group, walk->type, name);
    slot->wild_round = wildcard->round;
    if (slot->in_wild) {
        return;
    }
    slot->in_wild = true;
    chassis_list_append(&wildcard->slots, &slot->wild);
    chassis_list_foreach (link, &wildcard->feeds) {
        fuse_feed_wild(chassis_list_entry(link, struct fuse_feed, wild_link), slot, true);
    }
}

static void wildcard_drop(struct fuse_wildcard *wildcard, struct fuse_slot *slot)
{
    chassis_list_remove(&slot->wild);
    chassis_list_foreach (link, &wildcard->feeds) {
        fuse_feed_wild(chassis_list_entry(link, struct fuse_feed, wild_link), slot, false);
    }
    slot->in_wild = false; /* kept it until now */
    fuse_slot_release(slot);
}

static void wildcard_refresh(struct fuse_group *group, enum fuse_type type)
{
    struct fuse_wildcard *wildcard = &group->wildcards[type];
    struct wildcard_walk walk = {group, type};
    struct fuse_resource_source source = fuse_group_source(group);
    wildcard->dirty = false;
    wildcard->round++;
    fuse_resource_each(&source, type, wildcard_has, &walk);
    chassis_list_foreach_safe (link, &wildcard->slots) {
        struct fuse_slot *slot = chassis_list_entry(link, struct fuse_slot, wild);
        if (slot->wild_round != wildcard->round) {
            wildcard_drop(wildcard, slot);
        }
    }
}

void fuse_wildcard_join(struct fuse_group *group, struct fuse_feed *feed)
{
    struct fuse_wildcard *wildcard = &group->wildcards[feed->type];
    if (chassis_list_empty(&wildcard->feeds) || wildcard->dirty) {
        wildcard_refresh(group, feed->type);
    }
    chassis_list_append(&wildcard->feeds, &feed->wild_link);
    chassis_list_foreach (link, &wildcard->slots) {
        fuse_feed_wild(feed, chassis_list_entry(link, struct fuse_slot, wild), true);
    }
}

void fuse_wildcard_leave(struct fuse_group *group, struct fuse_feed *feed)
{
    struct fuse_wildcard *wildcard = &group->wildcards[feed->type];
    chassis_list_remove(&feed->wild_link);
    if (!chassis_list_empty(&wildcard->feeds)) {
        return;
    }
    wildcard->dirty = false;
    chassis_list_foreach_safe (link, &wildcard->slots) {
        struct fuse_slot *slot = chassis_list_entry(link, struct fuse_slot, wild);
        slot->in_wild = false;
        chassis_list_remove(&slot->wild);
        fuse_slot_release(slot);
    }
}

/* ---- at the end of a turn ---- */

enum { LOOK_MAX = 8 }; /* of so many one can take something, or there is no use in waiting */

static bool can_take(const struct fuse_feed *feed)
{
    return !feed->outstanding && !feed->session->blocked;
}

static bool any_can_take(const struct fuse_slot *slot)
{
    unsigned n = 0;
    chassis_list_foreach (link, &slot->subs) {
        if (n++ == LOOK_MAX || can_take(chassis_list_entry(link, struct fuse_sub, link)->feed)) {
            return true;
        }
    }
    return n == 0;
}

static bool any_wild_can_take(const struct fuse_wildcard *wildcard)
{
    unsigned n = 0;
    chassis_list_foreach (link, &wildcard->feeds) {
        if (n++ == LOOK_MAX || can_take(chassis_list_entry(link, struct fuse_feed, wild_link))) {
            return true;
        }
    }
    return n == 0;
}

void fuse_group_can_take(struct fuse_group *group)
{
    if (fuse_group_is_stale(group)) {
        fuse_group_wake(group);
    }
}

void fuse_group_refresh(struct fuse_group *group)
{
    chassis_list_remove(&group->touched);
    for (unsigned type = 0; type < FUSE_N_TYPES; type++) {
        if (group->wildcards[type].dirty && any_wild_can_take(&group->wildcards[type])) {
            wildcard_refresh(group, type);
        }
    }
    chassis_list_foreach_safe (link, &group->stale) {
        struct fuse_slot *slot = chassis_list_entry(link, struct fuse_slot, stale);
        if (any_can_take(slot)) {
            slot_refresh(slot);
        }
    }
}
