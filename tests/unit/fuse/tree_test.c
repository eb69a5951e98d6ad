/* The ordered map: it holds what was put, in order, and stays low. */
#include "test.h"

#include "base/prng.h"
#include "fuse/control_plane/tree.h"

enum { KEYS = 3000 };

struct item {
    struct fuse_tree_node node;
    char key[8];
    bool in;
};

/* The height, checked at every node. */
static int height(const struct fuse_tree_node *node)
{
    if (node == NULL) {
        return 0;
    }
    int a = height(node->child[0]), b = height(node->child[1]);
    assert_true(a - b >= -1 && a - b <= 1);
    assert_int_equal(node->height, 1 + (a > b ? a : b));
    return node->height;
}

static void check(const struct fuse_tree *tree, const struct item *items)
{
    struct fuse_tree_walk walk;
    unsigned n = 0;
    height(tree->root);
    fuse_tree_walk_begin(&walk, tree);
    for (unsigned i = 0; i < KEYS; i++) {
        if (items[i].in) {
            assert_ptr_equal(fuse_tree_walk_next(&walk), &items[i].node);
            n++;
        }
        assert_ptr_equal(fuse_tree_find(tree, items[i].key), items[i].in ? &items[i].node : NULL);
    }
    assert_null(fuse_tree_walk_next(&walk));
    assert_int_equal(tree->n, n);
}

static void change(struct fuse_tree *tree, struct item *item)
{
    if (item->in) {
        fuse_tree_remove(tree, &item->node);
    } else {
        assert_null(fuse_tree_put(tree, &item->node));
    }
    item->in = !item->in;
}

static struct item *items_new(void)
{
    struct item *items = calloc(KEYS, sizeof *items);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(items[i].key, sizeof items[i].key, "%04u", i);
        items[i].node.key = items[i].key;
    }
    return items;
}

static void it_holds_what_was_put_in_order(void **state)
{
    (void)state;
    struct chassis_prng prng;
    struct fuse_tree tree = {0};
    struct item *items = items_new();
    chassis_prng_init(&prng, 7);
    for (unsigned i = 0; i < 60000; i++) {
        change(&tree, &items[chassis_prng_below(&prng, KEYS)]);
        if (i % 1000 == 0) {
            check(&tree, items);
        }
    }
    unsigned n = tree.n, popped = 0;
    while (fuse_tree_pop(&tree) != NULL) {
        popped++;
    }
    assert_int_equal(popped, n);
    assert_null(tree.root);
    free(items);
}

static void sorted_keys_do_not_make_it_a_list(void **state)
{
    (void)state;
    struct fuse_tree tree = {0};
    struct item *items = items_new();
    for (unsigned i = 0; i < KEYS; i++) {
        change(&tree, &items[i]);
    }
    check(&tree, items);
    assert_true(tree.root->height <= 16); /* 1.44 log2(3000) */
    for (unsigned i = 0; i < KEYS; i++) {
        change(&tree, &items[i]);
    }
    check(&tree, items);
    free(items);
}

static void the_same_key_takes_the_place(void **state)
{
    (void)state;
    struct fuse_tree tree = {0};
    struct item *items = items_new();
    struct item other = {.node = {.key = other.key}, .key = "0001"};
    for (unsigned i = 0; i < 3; i++) {
        change(&tree, &items[i]);
    }
    assert_ptr_equal(fuse_tree_put(&tree, &other.node), &items[1].node);
    assert_ptr_equal(fuse_tree_find(&tree, "0001"), &other.node);
    assert_int_equal(tree.n, 3);
    height(tree.root);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_holds_what_was_put_in_order),
        cmocka_unit_test(sorted_keys_do_not_make_it_a_list),
        cmocka_unit_test(the_same_key_takes_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
