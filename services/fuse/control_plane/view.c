#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "fuse/control_plane/hosts.h"
#include "fuse/control_plane/order.h"
#include "fuse/control_plane/view.h"

struct override {
    struct fuse_entry instead; /* without a route = nothing */
    struct fuse_tree_node node;
    char texts[]; /* name, actor */
};
struct fuse_view {
    const struct fuse_model *model;
    struct fuse_tree overrides;     /* by name */
    struct fuse_hosts replacements; /* what the overrides put in place */
    char group[];
};

struct fuse_view *fuse_view_new(const struct fuse_model *model, const char *group)
{
    size_t len = strlen(group) + 1;
    struct fuse_view *view = chassis_base_zalloc(sizeof *view + len);
    memcpy(view->group, group, len);
    view->model = model;
    return view;
}

static void override_free(struct override *o)
{
    fuse_route_unref(o->instead.route);
    free(o);
}

void fuse_view_free(struct fuse_view *view)
{
    if (view == NULL) {
        return;
    }
    fuse_hosts_fini(&view->replacements);
    for (struct fuse_tree_node *node; (node = fuse_tree_pop(&view->overrides)) != NULL;) {
        override_free(fuse_tree_entry(node, struct override, node));
    }
    free(view);
}

const struct fuse_model *fuse_view_model(const struct fuse_view *view)
{
    return view->model;
}

const char *fuse_view_group(const struct fuse_view *view)
{
    return view->group;
}

static struct override *override_of(const struct fuse_view *view, const char *name)
{
    if (view->overrides.n == 0) {
        return NULL;
    }
    struct fuse_tree_node *node = fuse_tree_find(&view->overrides, name);
    return node != NULL ? fuse_tree_entry(node, struct override, node) : NULL;
}

void fuse_view_override(struct fuse_view *view, const char *name, const struct fuse_entry *instead)
{
    size_t name_len = strlen(name) + 1;
    size_t actor_len = instead != NULL ? strlen(instead->actor) + 1 : 0;
    struct override *o = chassis_base_zalloc(sizeof *o + name_len + actor_len);
    memcpy(o->texts, name, name_len);
    o->node.key = o->texts;
    if (instead != NULL) {
        CHASSIS_ASSERT(strcmp(instead->route->name, name) == 0);
        o->instead = *instead;
        fuse_route_ref(instead->route);
        o->instead.actor = memcpy(o->texts + name_len, instead->actor, actor_len);
    }
    fuse_view_release(view, name);
    fuse_tree_put(&view->overrides, &o->node);
    if (instead != NULL) {
        fuse_hosts_add(&view->replacements, &o->instead);
    }
}

bool fuse_view_release(struct fuse_view *view, const char *name)
{
    struct override *o = override_of(view, name);
    if (o == NULL) {
        return false;
    }
    fuse_tree_remove(&view->overrides, &o->node);
    if (o->instead.route != NULL) {
        fuse_hosts_remove(&view->replacements, &o->instead);
    }
    override_free(o);
    return true;
}

bool fuse_view_is_overridden(const struct fuse_view *view, const char *name)
{
    return override_of(view, name) != NULL;
}

const struct fuse_entry *fuse_view_replacement(const struct fuse_view *view, const char *name)
{
    const struct override *o = override_of(view, name);
    return o != NULL && o->instead.route != NULL ? &o->instead : NULL;
}

static bool visible(const struct fuse_view *view, const struct fuse_entry *entry,
                    const char *listener)
{
    const struct fuse_route *route = entry->route;
    return (route->n_groups == 0 || fuse_route_in_group(route, view->group)) &&
           (route->n_listeners == 0 || listener == NULL || fuse_route_on_listener(route, listener));
}

const struct fuse_entry *fuse_view_route(const struct fuse_view *view, const char *name)
{
    const struct fuse_entry *entry = fuse_model_route(view->model, name);
    const struct override *o = override_of(view, name);
    if (entry != NULL && o != NULL) {
        entry = o->instead.route != NULL ? &o->instead : NULL;
    }
    return entry != NULL && visible(view, entry, NULL) ? entry : NULL;
}

/* The model's routes of a host and the view's replacements there, merged. */
struct merge {
    const struct fuse_view *view;
    const char *listener;
    const struct fuse_vhost *own, *replaced; /* NULL = none, or no more */
    unsigned at_own, at_replaced;
};

static void merge_begin(struct merge *m, const struct fuse_view *view, const char *host,
                        const char *listener)
{
    *m = (struct merge){
        .view = view,
        .listener = listener,
        .own = fuse_model_vhost(view->model, host),
        .replaced =
            view->replacements.tree.n > 0 ? fuse_hosts_find(&view->replacements, host) : NULL,
    };
}

static const struct fuse_entry *own_next(struct merge *m)
{
    while (m->own != NULL && m->at_own < m->own->n_entries) {
        const struct fuse_entry *entry = m->own->entries[m->at_own];
        if (visible(m->view, entry, m->listener) &&
            override_of(m->view, entry->route->name) == NULL) {
            return entry;
        }
        m->at_own++;
    }
    return NULL;
}

static const struct fuse_entry *replaced_next(struct merge *m)
{
    while (m->replaced != NULL && m->at_replaced < m->replaced->n_entries) {
        const struct fuse_entry *entry = m->replaced->entries[m->at_replaced];
        if (visible(m->view, entry, m->listener) &&
            fuse_model_route(m->view->model, entry->route->name) != NULL) {
            return entry;
        }
        m->at_replaced++;
    }
    return NULL;
}

static const struct fuse_entry *merge_next(struct merge *m)
{
    const struct fuse_entry *a = own_next(m), *b = replaced_next(m);
    if (b == NULL || (a != NULL && fuse_order(a, b) < 0)) {
        m->at_own++;
        return a;
    }
    m->at_replaced++;
    return b;
}

unsigned fuse_view_vhost(const struct fuse_view *view, const char *host, const char *listener,
                         const struct fuse_entry **ret_entries, unsigned n_max)
{
    struct merge m;
    unsigned n = 0;
    merge_begin(&m, view, host, listener);
    for (const struct fuse_entry *entry; (entry = merge_next(&m)) != NULL; n++) {
        if (n < n_max) {
            ret_entries[n] = entry;
        }
    }
    return n;
}

void fuse_view_each_entry(const struct fuse_view *view, const char *host, const char *listener,
                          bool (*each)(const struct fuse_entry *entry, void *data), void *data)
{
    struct merge m;
    merge_begin(&m, view, host, listener);
    for (const struct fuse_entry *entry; (entry = merge_next(&m)) != NULL;) {
        if (!each(entry, data)) {
            return;
        }
    }
}

struct host_walk {
    const struct fuse_view *view;
    const char *listener;
    bool (*each)(const char *host, void *data);
    void *data;
    struct fuse_tree_walk replaced;
    const struct fuse_vhost *next; /* of the replacements */
    bool done;
};

/* At least one of the two is there. */
static void host_offer(struct host_walk *w, const struct fuse_vhost *own,
                       const struct fuse_vhost *replaced)
{
    struct merge m = {.view = w->view, .listener = w->listener, .own = own, .replaced = replaced};
    const char *host = own != NULL ? own->host : replaced->host;
    w->done = w->done || (merge_next(&m) != NULL && !w->each(host, w->data));
}

static bool own_host(const struct fuse_vhost *vhost, void *data)
{
    struct host_walk *w = data;
    const struct fuse_vhost *replaced = NULL;
    for (int order; w->next != NULL && (order = strcmp(w->next->host, vhost->host)) <= 0;) {
        if (order == 0) {
            replaced = w->next;
        } else {
            host_offer(w, NULL, w->next);
        }
        w->next = fuse_hosts_walk_next(&w->replaced);
    }
    host_offer(w, vhost, replaced);
    return !w->done;
}

void fuse_view_each_host(const struct fuse_view *view, const char *listener,
                         bool (*each)(const char *host, void *data), void *data)
{
    struct host_walk w = {.view = view, .listener = listener, .each = each, .data = data};
    fuse_hosts_walk_begin(&w.replaced, &view->replacements);
    w.next = fuse_hosts_walk_next(&w.replaced);
    fuse_model_each_vhost(view->model, own_host, &w);
    while (!w.done && w.next != NULL) {
        host_offer(&w, NULL, w.next);
        w.next = fuse_hosts_walk_next(&w.replaced);
    }
}
