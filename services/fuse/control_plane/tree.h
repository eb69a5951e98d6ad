/* An ordered map from text to whatever the node is embedded in: a balanced tree (Adelson-Velsky and
 * Landis 1962), so that no choice of names makes it slow.
 *
 * Invariants: keys are unique and in byte order; the heights of two siblings differ by one at most.
 * Threads: one owner. Ownership: nodes and keys are the caller's; zeroed = empty.
 */
#ifndef FUSE_CONTROL_PLANE_TREE_H
#define FUSE_CONTROL_PLANE_TREE_H

#include <stddef.h>
#include <stdint.h>

enum { FUSE_TREE_DEPTH_MAX = 64 }; /* of more nodes than memory holds: 1.44 log2(n) */

struct fuse_tree_node {
    struct fuse_tree_node *child[2]; /* before, after */
    const char *key;
    int height;
};
struct fuse_tree {
    struct fuse_tree_node *root;
    unsigned n;
};

/* NULL = none. */
struct fuse_tree_node *fuse_tree_find(const struct fuse_tree *tree, const char *key);
/* `node->key` is set. Takes the place of the node with the same key, which is returned, or NULL. */
struct fuse_tree_node *fuse_tree_put(struct fuse_tree *tree, struct fuse_tree_node *node);
/* It is in the tree. */
void fuse_tree_remove(struct fuse_tree *tree, const struct fuse_tree_node *node);

/* In order of keys; the tree must not change on the way. */
struct fuse_tree_walk {
    struct fuse_tree_node *above[FUSE_TREE_DEPTH_MAX]; /* nodes that are still to come */
    unsigned n;
};
void fuse_tree_walk_begin(struct fuse_tree_walk *walk, const struct fuse_tree *tree);
/* Begins behind this key, whether it is there or not. */
void fuse_tree_walk_after(struct fuse_tree_walk *walk, const struct fuse_tree *tree,
                          const char *key);
/* NULL = that was all. */
struct fuse_tree_node *fuse_tree_walk_next(struct fuse_tree_walk *walk);
/* To empty a tree whose nodes are to be freed: any node that has no child, taken out; NULL = empty. */
struct fuse_tree_node *fuse_tree_pop(struct fuse_tree *tree);

#define fuse_tree_entry(node, type, member)                                                        \
    ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
