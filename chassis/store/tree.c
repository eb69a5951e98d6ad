#include "store/tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct tree_node {
    atomic_uint refs;
    bool leaf;
    unsigned n;
    struct tree_record *low[TREE_FANOUT];    /* a leaf's records */
    struct tree_node *children[TREE_FANOUT]; /* not allocated in a leaf */
};

struct tree_record *tree_record_new(struct chassis_view key, struct chassis_view value)
{
    struct tree_record *r = chassis_base_alloc(sizeof *r + key.len + value.len);
    atomic_init(&r->refs, 1);
    r->key_len = (uint16_t)key.len;
    r->value_len = (uint32_t)value.len;
    memcpy(r->bytes, key.data, key.len);
    if (value.len != 0) {
        memcpy(r->bytes + key.len, value.data, value.len);
    }
    return r;
}

static struct tree_record *record_ref(struct tree_record *record)
{
    atomic_fetch_add_explicit(&record->refs, 1, memory_order_relaxed);
    return record;
}

void tree_record_unref(struct tree_record *record)
{
    if (record != NULL && atomic_fetch_sub_explicit(&record->refs, 1, memory_order_acq_rel) == 1) {
        free(record);
    }
}

static struct tree_node *node_new(bool leaf)
{
    struct tree_node *node =
        chassis_base_alloc(leaf ? offsetof(struct tree_node, children) : sizeof(struct tree_node));
    atomic_init(&node->refs, 1);
    node->leaf = leaf;
    node->n = 0;
    return node;
}

void tree_ref(struct tree_node *root)
{
    if (root != NULL) {
        atomic_fetch_add_explicit(&root->refs, 1, memory_order_relaxed);
    }
}

void tree_unref(struct tree_node *root)
{
    if (root == NULL || atomic_fetch_sub_explicit(&root->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; i < root->n; i++) {
        tree_record_unref(root->low[i]);
        if (!root->leaf) {
            tree_unref(root->children[i]); /* as deep as the tree: TREE_DEPTH_MAX */
        }
    }
    free(root);
}

/* Make *slot a node that nobody else refers to. */
static struct tree_node *own(struct tree_node **slot)
{
    struct tree_node *node = *slot;
    if (atomic_load_explicit(&node->refs, memory_order_acquire) == 1) {
        return node;
    }
    struct tree_node *copy = node_new(node->leaf);
    copy->n = node->n;
    for (unsigned i = 0; i < node->n; i++) {
        copy->low[i] = record_ref(node->low[i]);
        if (!node->leaf) {
            copy->children[i] = node->children[i];
            tree_ref(copy->children[i]);
        }
    }
    tree_unref(node);
    *slot = copy;
    return copy;
}

/* memcmp with the shared length first: what the tree spends its time on. */
static int compare(const struct tree_record *record, struct chassis_view key)
{
    size_t len = record->key_len < key.len ? record->key_len : key.len;
    int order = memcmp(record->bytes, key.data, len);
    return order != 0 ? order : (record->key_len > key.len) - (record->key_len < key.len);
}

/* The first slot whose key is ≥ `key`. */
static unsigned lower_bound(const struct tree_node *node, struct chassis_view key, bool *ret_equal)
{
    unsigned low = 0, high = node->n;
    *ret_equal = false;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        int order = compare(node->low[mid], key);
        if (order < 0) {
            low = mid + 1;
        } else {
            *ret_equal = *ret_equal || order == 0;
            high = mid;
        }
    }
    return low;
}

static unsigned child_for(const struct tree_node *node, struct chassis_view key)
{
    bool equal;
    unsigned i = lower_bound(node, key, &equal);
    return equal ? i : i != 0 ? i - 1 : 0;
}

struct tree_record *tree_get(const struct tree_node *root, struct chassis_view key)
{
    while (root != NULL && !root->leaf) {
        root = root->children[child_for(root, key)];
    }
    if (root == NULL) {
        return NULL;
    }
    bool equal;
    unsigned i = lower_bound(root, key, &equal);
    return equal ? root->low[i] : NULL;
}

static void insert_at(struct tree_node *node, unsigned i, struct tree_record *low,
                      struct tree_node *child)
{
    memmove(&node->low[i + 1], &node->low[i], (node->n - i) * sizeof node->low[0]);
    node->low[i] = low;
    if (!node->leaf) {
        memmove(&node->children[i + 1], &node->children[i],
                (node->n - i) * sizeof node->children[0]);
        node->children[i] = child;
    }
    node->n++;
}

/* Insert at `i`; a full node gives its upper part away, which is returned. Inserting behind the last
 * leaves the node full: rising keys fill the tree densely. */
static struct tree_node *insert_split(struct tree_node *node, unsigned i, struct tree_record *low,
                                      struct tree_node *child)
{
    if (node->n < TREE_FANOUT) {
        insert_at(node, i, low, child);
        return NULL;
    }
    unsigned keep = i == TREE_FANOUT ? TREE_FANOUT : TREE_FANOUT / 2;
    struct tree_node *right = node_new(node->leaf);
    right->n = node->n - keep;
    memcpy(right->low, &node->low[keep], right->n * sizeof node->low[0]);
    if (!node->leaf) {
        memcpy(right->children, &node->children[keep], right->n * sizeof node->children[0]);
    }
    node->n = keep;
    if (i < keep) {
        insert_at(node, i, low, child);
    } else {
        insert_at(right, i - keep, low, child);
    }
    return right;
}

static struct tree_node *put(struct tree_node **slot, struct tree_record *record,
                             struct tree_record **ret_replaced)
{
    struct tree_node *node = own(slot);
    if (!node->leaf) {
        unsigned i = child_for(node, tree_key(record));
        struct tree_node *right = put(&node->children[i], record, ret_replaced);
        return right != NULL ? insert_split(node, i + 1, record_ref(right->low[0]), right) : NULL;
    }
    bool equal;
    unsigned i = lower_bound(node, tree_key(record), &equal);
    if (equal) {
        *ret_replaced = node->low[i];
        node->low[i] = record;
        return NULL;
    }
    return insert_split(node, i, record, NULL);
}

struct tree_record *tree_put(struct tree_node **root, struct tree_record *record)
{
    if (*root == NULL) {
        *root = node_new(true);
    }
    struct tree_record *replaced = NULL;
    struct tree_node *right = put(root, record, &replaced);
    if (right != NULL) {
        struct tree_node *left = *root, *top = node_new(false);
        insert_at(top, 0, record_ref(left->low[0]), left);
        insert_at(top, 1, record_ref(right->low[0]), right);
        *root = top;
    }
    return replaced;
}

static void remove_at(struct tree_node *node, unsigned i)
{
    node->n--;
    memmove(&node->low[i], &node->low[i + 1], (node->n - i) * sizeof node->low[0]);
    if (!node->leaf) {
        memmove(&node->children[i], &node->children[i + 1],
                (node->n - i) * sizeof node->children[0]);
    }
}

/* The key is known to be there. A node that became empty is left to the caller to take out. */
static struct tree_record *del(struct tree_node **slot, struct chassis_view key)
{
    struct tree_node *node = own(slot);
    bool equal;
    if (node->leaf) {
        unsigned i = lower_bound(node, key, &equal);
        struct tree_record *record = node->low[i];
        remove_at(node, i);
        return record;
    }
    unsigned i = child_for(node, key);
    struct tree_record *record = del(&node->children[i], key);
    if (node->children[i]->n == 0) {
        tree_unref(node->children[i]);
        tree_record_unref(node->low[i]);
        remove_at(node, i);
    }
    return record;
}

struct tree_record *tree_del(struct tree_node **root, struct chassis_view key)
{
    if (tree_get(*root, key) == NULL) {
        return NULL;
    }
    struct tree_record *record = del(root, key);
    while (*root != NULL && (*root)->n == 0) {
        tree_unref(*root);
        *root = NULL;
    }
    while (*root != NULL && !(*root)->leaf && (*root)->n == 1) {
        struct tree_node *child = (*root)->children[0];
        tree_ref(child);
        tree_unref(*root);
        *root = child;
    }
    return record;
}

static struct tree_record *record_at(const struct tree_path *path)
{
    if (path->depth == 0) {
        return NULL;
    }
    return path->nodes[path->depth - 1]->low[path->slots[path->depth - 1]];
}

/* Extend the path from its end down to a leaf, always at the first or the last slot. */
static void descend(struct tree_path *path, struct tree_node *node, bool last)
{
    for (;;) {
        CHASSIS_ASSERT(path->depth < TREE_DEPTH_MAX);
        path->nodes[path->depth] = node;
        path->slots[path->depth] = last ? node->n - 1 : 0;
        path->depth++;
        if (node->leaf) {
            return;
        }
        node = node->children[path->slots[path->depth - 1]];
    }
}

struct tree_record *tree_next(struct tree_path *path)
{
    while (path->depth != 0) {
        struct tree_node *node = path->nodes[path->depth - 1];
        unsigned slot = path->slots[path->depth - 1];
        if (slot + 1 < node->n) {
            path->slots[path->depth - 1]++;
            if (!node->leaf) {
                descend(path, node->children[slot + 1], false);
            }
            return record_at(path);
        }
        path->depth--;
    }
    return NULL;
}

struct tree_record *tree_prev(struct tree_path *path)
{
    while (path->depth != 0) {
        struct tree_node *node = path->nodes[path->depth - 1];
        unsigned slot = path->slots[path->depth - 1];
        if (slot != 0) {
            path->slots[path->depth - 1]--;
            if (!node->leaf) {
                descend(path, node->children[slot - 1], true);
            }
            return record_at(path);
        }
        path->depth--;
    }
    return NULL;
}

struct tree_record *tree_last(struct tree_path *path, struct tree_node *root)
{
    path->depth = 0;
    if (root != NULL) {
        descend(path, root, true);
    }
    return record_at(path);
}

struct tree_record *tree_seek(struct tree_path *path, struct tree_node *root,
                              struct chassis_view key_at_least)
{
    path->depth = 0;
    struct tree_node *node = root;
    bool equal;
    while (node != NULL) {
        CHASSIS_ASSERT(path->depth < TREE_DEPTH_MAX);
        unsigned slot =
            node->leaf ? lower_bound(node, key_at_least, &equal) : child_for(node, key_at_least);
        path->nodes[path->depth] = node;
        path->slots[path->depth] = slot;
        path->depth++;
        if (!node->leaf) {
            node = node->children[slot];
            continue;
        }
        if (slot < node->n) {
            return record_at(path);
        }
        path->slots[path->depth - 1] = node->n - 1; /* all smaller here: the next leaf has it */
        return tree_next(path);
    }
    return NULL;
}
