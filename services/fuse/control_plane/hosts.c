#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "fuse/control_plane/hosts.h"
#include "fuse/control_plane/order.h"

struct host {
    struct fuse_vhost vhost;
    struct fuse_entry **entries;
    unsigned cap;
    struct fuse_tree_node node;
    char name[];
};

static struct host *host_of(const struct fuse_hosts *hosts, const char *name)
{
    struct fuse_tree_node *node = fuse_tree_find(&hosts->tree, name);
    return node != NULL ? fuse_tree_entry(node, struct host, node) : NULL;
}

static void host_free(struct host *h)
{
    free(h->entries);
    free(h);
}

void fuse_hosts_fini(struct fuse_hosts *hosts)
{
    for (struct fuse_tree_node *node; (node = fuse_tree_pop(&hosts->tree)) != NULL;) {
        host_free(fuse_tree_entry(node, struct host, node));
    }
}

static struct host *host_new(struct fuse_hosts *hosts, const char *name)
{
    size_t len = strlen(name) + 1;
    struct host *h = chassis_base_zalloc(sizeof *h + len);
    memcpy(h->name, name, len);
    h->vhost.host = h->node.key = h->name;
    fuse_tree_put(&hosts->tree, &h->node);
    return h;
}

/* Where the entry stands or would stand: behind all that precede it. */
static unsigned place_of(const struct host *h, const struct fuse_entry *entry)
{
    unsigned low = 0, high = h->vhost.n_entries;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (fuse_order(h->entries[mid], entry) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

void fuse_hosts_add(struct fuse_hosts *hosts, struct fuse_entry *entry)
{
    struct host *h = host_of(hosts, entry->route->host);
    if (h == NULL) {
        h = host_new(hosts, entry->route->host);
    }
    unsigned n = h->vhost.n_entries;
    if (n == h->cap) {
        h->cap = n < 2 ? n + 1 : n + n / 2;
        h->entries = chassis_base_realloc(h->entries, h->cap * sizeof *h->entries);
        h->vhost.entries = h->entries;
    }
    unsigned at = place_of(h, entry);
    memmove(h->entries + at + 1, h->entries + at, (n - at) * sizeof *h->entries);
    h->entries[at] = entry;
    h->vhost.n_entries++;
    if (entry->version > h->vhost.revision) {
        h->vhost.revision = entry->version;
    }
}

void fuse_hosts_remove(struct fuse_hosts *hosts, const struct fuse_entry *entry)
{
    struct host *h = host_of(hosts, entry->route->host);
    CHASSIS_ASSERT(h != NULL);
    unsigned at = place_of(h, entry), n = --h->vhost.n_entries;
    CHASSIS_ASSERT(at <= n && h->entries[at] == entry);
    if (n == 0) {
        fuse_tree_remove(&hosts->tree, &h->node);
        host_free(h);
        return;
    }
    memmove(h->entries + at, h->entries + at + 1, (n - at) * sizeof *h->entries);
    if (entry->version == h->vhost.revision) {
        h->vhost.revision = 0;
        for (unsigned i = 0; i < n; i++) {
            if (h->entries[i]->version > h->vhost.revision) {
                h->vhost.revision = h->entries[i]->version;
            }
        }
    }
}

const struct fuse_vhost *fuse_hosts_find(const struct fuse_hosts *hosts, const char *host)
{
    const struct host *h = host_of(hosts, host);
    return h != NULL ? &h->vhost : NULL;
}

void fuse_hosts_walk_begin(struct fuse_tree_walk *walk, const struct fuse_hosts *hosts)
{
    fuse_tree_walk_begin(walk, &hosts->tree);
}

const struct fuse_vhost *fuse_hosts_walk_next(struct fuse_tree_walk *walk)
{
    struct fuse_tree_node *node = fuse_tree_walk_next(walk);
    return node != NULL ? &fuse_tree_entry(node, struct host, node)->vhost : NULL;
}
