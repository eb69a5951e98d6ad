#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "fuse/control_plane/tree.h"

static int height(const struct fuse_tree_node *node)
{
    return node != NULL ? node->height : 0;
}

static void measure(struct fuse_tree_node *node)
{
    int before = height(node->child[0]), after = height(node->child[1]);
    node->height = 1 + (before > after ? before : after);
}

/* The child on `side` comes up, its parent goes down to the other side. */
static void rotate(struct fuse_tree_node **link, int side)
{
    struct fuse_tree_node *down = *link, *up = down->child[side];
    down->child[side] = up->child[!side];
    up->child[!side] = down;
    measure(down);
    measure(up);
    *link = up;
}

static void balance(struct fuse_tree_node **link)
{
    struct fuse_tree_node *node = *link;
    int lean = height(node->child[1]) - height(node->child[0]);
    if (lean >= -1 && lean <= 1) {
        measure(node);
        return;
    }
    int side = lean > 0;
    const struct fuse_tree_node *deep = node->child[side];
    if (height(deep->child[!side]) > height(deep->child[side])) {
        rotate(&node->child[side], !side);
    }
    rotate(link, side);
}

struct fuse_tree_node *fuse_tree_find(const struct fuse_tree *tree, const char *key)
{
    struct fuse_tree_node *node = tree->root;
    while (node != NULL) {
        int order = strcmp(key, node->key);
        if (order == 0) {
            return node;
        }
        node = node->child[order > 0];
    }
    return NULL;
}

/* The links from the root to where the key is or would be. */
struct way {
    struct fuse_tree_node **links[FUSE_TREE_DEPTH_MAX];
    unsigned n;
};

static struct fuse_tree_node **go(struct fuse_tree *tree, const char *key, struct way *way)
{
    struct fuse_tree_node **link = &tree->root;
    way->n = 0;
    while (*link != NULL) {
        int order = strcmp(key, (*link)->key);
        if (order == 0) {
            break;
        }
        CHASSIS_ASSERT(way->n < FUSE_TREE_DEPTH_MAX - 1);
        way->links[way->n++] = link;
        link = &(*link)->child[order > 0];
    }
    return link;
}

struct fuse_tree_node *fuse_tree_put(struct fuse_tree *tree, struct fuse_tree_node *node)
{
    struct way way;
    struct fuse_tree_node **link = go(tree, node->key, &way), *old = *link;
    *link = node;
    if (old != NULL) {
        memcpy(node->child, old->child, sizeof node->child);
        node->height = old->height;
        return old;
    }
    node->child[0] = node->child[1] = NULL;
    node->height = 1;
    tree->n++;
    while (way.n > 0) {
        balance(way.links[--way.n]);
    }
    return NULL;
}

void fuse_tree_remove(struct fuse_tree *tree, const struct fuse_tree_node *node)
{
    struct way way;
    struct fuse_tree_node **link = go(tree, node->key, &way);
    CHASSIS_ASSERT(*link == node);
    if (node->child[1] == NULL) {
        *link = node->child[0];
    } else { /* the next one takes its place */
        unsigned at = way.n;
        way.links[way.n++] = link;
        struct fuse_tree_node *parent = *link, **lowest = &parent->child[1];
        while ((*lowest)->child[0] != NULL) {
            CHASSIS_ASSERT(way.n < FUSE_TREE_DEPTH_MAX - 1);
            way.links[way.n++] = lowest;
            lowest = &(*lowest)->child[0];
        }
        struct fuse_tree_node *next = *lowest;
        *lowest = next->child[1];
        memcpy(next->child, node->child, sizeof next->child);
        *link = next;
        if (way.n > at + 1) {
            way.links[at + 1] = &next->child[1];
        }
    }
    tree->n--;
    while (way.n > 0) {
        balance(way.links[--way.n]);
    }
}

static void descend(struct fuse_tree_walk *walk, struct fuse_tree_node *node)
{
    for (; node != NULL; node = node->child[0]) {
        CHASSIS_ASSERT(walk->n < FUSE_TREE_DEPTH_MAX);
        walk->above[walk->n++] = node;
    }
}

void fuse_tree_walk_begin(struct fuse_tree_walk *walk, const struct fuse_tree *tree)
{
    walk->n = 0;
    descend(walk, tree->root);
}

void fuse_tree_walk_after(struct fuse_tree_walk *walk, const struct fuse_tree *tree,
                          const char *key)
{
    walk->n = 0;
    for (struct fuse_tree_node *node = tree->root; node != NULL;) {
        bool is_behind = strcmp(node->key, key) > 0;
        if (is_behind) {
            walk->above[walk->n++] = node;
        }
        node = node->child[is_behind ? 0 : 1];
    }
}

struct fuse_tree_node *fuse_tree_walk_next(struct fuse_tree_walk *walk)
{
    if (walk->n == 0) {
        return NULL;
    }
    struct fuse_tree_node *node = walk->above[--walk->n];
    descend(walk, node->child[1]);
    return node;
}

struct fuse_tree_node *fuse_tree_pop(struct fuse_tree *tree)
{
    struct fuse_tree_node **link = &tree->root;
    if (*link == NULL) {
        return NULL;
    }
    while ((*link)->child[0] != NULL || (*link)->child[1] != NULL) {
        link = &(*link)->child[(*link)->child[0] == NULL];
    }
    struct fuse_tree_node *node = *link;
    *link = NULL;
    tree->n--;
    return node;
}
