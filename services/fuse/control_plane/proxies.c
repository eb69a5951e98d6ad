#include "proxies.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

/* Who waits. Of a proxy that has settled once since `since` nothing more is asked: under steady
 * change it may never be settled at a look again. */
struct waiter {
    struct chassis_list link;
    struct fuse_proxies *proxies;
    struct chassis_timer timeout;
    uint64_t since;
    void (*done)(bool settled, void *data);
    void *data;
};

static void finish(struct waiter *w, bool settled)
{
    chassis_list_remove(&w->link);
    chassis_cancel(w->proxies->loop, &w->timeout);
    w->done(settled, w->data);
    free(w);
}

static void look(struct fuse_proxies *proxies)
{
    uint64_t oldest = UINT64_MAX; /* the proxy that settled the longest ago */
    proxies->turn++;
    chassis_list_foreach (it, &proxies->all) {
        struct fuse_proxy *proxy = chassis_list_entry(it, struct fuse_proxy, link);
        if (proxy->ops->settled(proxy)) {
            proxy->settled_at = proxies->turn;
        }
        oldest = proxy->settled_at < oldest ? proxy->settled_at : oldest;
    }
    /* A waiter that `done` adds began after this look: `oldest` is not newer than it. */
    struct chassis_list *it = proxies->waiting.next;
    while (it != &proxies->waiting) {
        struct waiter *w = chassis_list_entry(it, struct waiter, link);
        it = it->next;
        if (oldest > w->since) {
            finish(w, true);
        }
    }
}

static void on_look(struct chassis_timer *timer)
{
    look(chassis_container_of(timer, struct fuse_proxies, look));
}

static void look_soon(struct fuse_proxies *proxies)
{
    if (proxies->look.due_ns == 0) {
        chassis_post_after(proxies->loop, &proxies->look, 0);
    }
}

static void on_timeout(struct chassis_timer *timer)
{
    finish(chassis_container_of(timer, struct waiter, timeout), false);
}

void fuse_proxies_init(struct fuse_proxies *proxies, struct chassis_executor *loop)
{
    *proxies = (struct fuse_proxies){.loop = loop, .look.run = on_look};
    chassis_list_init(&proxies->all);
    chassis_list_init(&proxies->waiting);
}

void fuse_proxies_fini(struct fuse_proxies *proxies)
{
    chassis_cancel(proxies->loop, &proxies->look);
    while (!chassis_list_empty(&proxies->waiting)) {
        finish(chassis_list_entry(proxies->waiting.next, struct waiter, link), false);
    }
}

struct fuse_proxy *fuse_proxies_find(const struct fuse_proxies *proxies, const char *id)
{
    chassis_list_foreach (it, &proxies->all) {
        struct fuse_proxy *proxy = chassis_list_entry(it, struct fuse_proxy, link);
        if (strcmp(proxy->id, id) == 0) {
            return proxy;
        }
    }
    return NULL;
}

/* Which of those with this name it is: 1 for the name itself, 2 for "name#2"; 0 = none of them. */
static unsigned long number_of(const struct fuse_proxy *proxy, const char *name, size_t len)
{
    const char *rest = proxy->id + len;
    if (strncmp(proxy->id, name, len) != 0) {
        return 0;
    }
    return *rest == '\0' ? 1 : *rest == '#' ? strtoul(rest + 1, NULL, 10) : 0;
}

void fuse_proxies_add(struct fuse_proxies *proxies, struct fuse_proxy *proxy, const char *id)
{
    enum { SUFFIX_MAX = 24 };
    size_t len = strnlen(id, sizeof proxy->id - SUFFIX_MAX);
    unsigned long last = 0;
    chassis_list_foreach (it, &proxies->all) {
        unsigned long n =
            number_of(chassis_list_entry(it, struct fuse_proxy, link), id, len) % INT32_MAX;
        last = n > last ? n : last;
    }
    snprintf(proxy->id, sizeof proxy->id, last == 0 ? "%.*s" : "%.*s#%lu", (int)len, id, last + 1);
    proxy->settled_at = proxies->turn + 1; /* who waits already does not wait for it */
    chassis_list_append(&proxies->all, &proxy->link);
    proxies->n++;
}

void fuse_proxies_remove(struct fuse_proxies *proxies, struct fuse_proxy *proxy)
{
    CHASSIS_ASSERT(proxies->n > 0);
    chassis_list_remove(&proxy->link);
    proxies->n--;
    fuse_proxies_moved(proxies);
}

void fuse_proxies_moved(struct fuse_proxies *proxies)
{
    if (!chassis_list_empty(&proxies->waiting)) {
        look_soon(proxies);
    }
}

void fuse_proxies_await(struct fuse_proxies *proxies, uint64_t timeout_ms,
                        void (*done)(bool settled, void *data), void *data)
{
    struct waiter *w = chassis_base_zalloc(sizeof *w);
    w->proxies = proxies;
    w->timeout.run = on_timeout;
    w->since = ++proxies->turn; /* proxies added up to now are at most at this turn */
    w->done = done;
    w->data = data;
    chassis_list_append(&proxies->waiting, &w->link);
    chassis_post_after(proxies->loop, &w->timeout, timeout_ms * CHASSIS_NS_PER_MS);
    look_soon(proxies);
}
