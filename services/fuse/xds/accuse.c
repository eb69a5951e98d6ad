/* Which routes may be to blame for a refused answer: those it was made of that nobody of the group has
 * accepted as they are. */
#include "fuse/xds/judge.h"
#include "fuse/xds/state.h"

struct accusation {
    struct fuse_feed *feed;
    struct fuse_group *group;
    void (*each)(const struct fuse_entry *entry, void *data);
    void *data;
    bool in_refused;
    bool fresh; /* one of the refused was never accepted by anybody */
};

static void look_at_slot(struct fuse_slot *slot, void *data)
{
    struct accusation *a = data;
    if (slot->type == a->feed->type) {
        const struct fuse_sub *sub = fuse_feed_find(a->feed, slot->name);
        a->in_refused = a->in_refused || (sub != NULL && (sub->flags & FUSE_SUB_REFUSED) != 0);
    }
}

static void accuse(struct accusation *a, struct fuse_past *past, const struct fuse_entry *entry)
{
    struct fuse_group *group = a->group;
    const char *name = entry->route->name;
    if (fuse_view_is_overridden(group->view, name) ||
        (past != NULL && past->sequence > a->feed->sent_sequence)) {
        return;
    }
    a->in_refused = false;
    fuse_past_each_slot(group, &(struct fuse_change){.after = entry}, look_at_slot, a);
    if (!a->in_refused || fuse_past_is_proven(group, past, entry, (int)a->feed->type)) {
        return;
    }
    a->each(entry, a->data);
}

static bool accuse_any(const struct fuse_entry *entry, void *data)
{
    struct accusation *a = data;
    const struct fuse_entry *seen = fuse_view_route(a->group->view, entry->route->name);
    if (seen != NULL && fuse_past_find(a->group, entry->route->name) == NULL) {
        accuse(a, NULL, seen);
    }
    return true;
}

static void accuse_changed(struct accusation *a)
{
    struct fuse_tree_walk walk;
    fuse_tree_walk_begin(&walk, &a->group->judge.past);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct fuse_past *past = fuse_tree_entry(node, struct fuse_past, node);
        const struct fuse_entry *entry = fuse_view_route(a->group->view, past->name);
        if (entry != NULL) {
            accuse(a, past, entry);
        }
    }
}

/* After a restart nobody has accepted anything, and no route has a past. */
static void accuse_old(struct accusation *a)
{
    chassis_list_foreach (link, &a->feed->refused) {
        const struct fuse_sub *sub = chassis_list_entry(link, struct fuse_sub, flight);
        a->fresh = a->fresh || sub->slot->proven_sequence == 0;
    }
    if (a->fresh) {
        fuse_model_each_route(a->group->xds->options.model, accuse_any, a);
    }
}

void fuse_accuse(struct fuse_feed *feed, void (*each)(const struct fuse_entry *entry, void *data),
                 void *data, bool *ret_fresh)
{
    struct accusation a = {.feed = feed, .group = feed->session->group, .each = each, .data = data};
    accuse_changed(&a);
    accuse_old(&a);
    *ret_fresh = a.fresh;
}
