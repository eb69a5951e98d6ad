/* The checker of the simulation: histories made by hand, good and bad. */
#include "history.h"

#include "test.h"

#define ANY UINT64_MAX /* return time of what nobody heard of again */

static struct sim_op read_of(uint64_t value, uint64_t call, uint64_t ret)
{
    return (struct sim_op){.kind = SIM_READ, .value = value, .call_ns = call, .return_ns = ret};
}

static struct sim_op write_of(uint64_t value, uint64_t call, uint64_t ret)
{
    return (struct sim_op){.kind = SIM_WRITE,
                           .value = value,
                           .call_ns = call,
                           .return_ns = ret,
                           .unknown = ret == ANY};
}

static struct sim_op cas_of(uint64_t expected, uint64_t value, bool swapped, uint64_t call,
                            uint64_t ret)
{
    return (struct sim_op){.kind = SIM_CAS,
                           .value = value,
                           .expected = expected,
                           .swapped = swapped,
                           .call_ns = call,
                           .return_ns = ret,
                           .unknown = ret == ANY};
}

static bool explained(const struct sim_op *ops, size_t n)
{
    struct sim_history history = {0};
    for (size_t i = 0; i < n; i++) {
        sim_history_add(&history, &ops[i]);
    }
    bool ok = sim_history_check(&history, 2, true);
    sim_history_fini(&history);
    return ok;
}
#define EXPLAINED(...)                                                                             \
    explained((struct sim_op[]){__VA_ARGS__},                                                      \
              sizeof((struct sim_op[]){__VA_ARGS__}) / sizeof(struct sim_op))

static void reads_that_follow_writes_are_fine(void **state)
{
    assert_true(EXPLAINED(read_of(0, 1, 2)));
    assert_true(
        EXPLAINED(write_of(1, 1, 2), read_of(1, 3, 4), write_of(2, 5, 6), read_of(2, 7, 8)));
}

static void a_lost_write_is_found(void **state)
{
    assert_false(EXPLAINED(write_of(1, 1, 2), read_of(0, 3, 4)));
    assert_false(EXPLAINED(write_of(1, 1, 2), write_of(2, 3, 4), read_of(1, 5, 6)));
}

static void a_value_nobody_wrote_is_found(void **state)
{
    assert_false(EXPLAINED(write_of(1, 1, 2), read_of(7, 3, 4)));
}

static void overlapping_operations_may_happen_in_any_order(void **state)
{
    assert_true(EXPLAINED(write_of(1, 1, 10), read_of(0, 2, 3), read_of(1, 4, 5)));
    assert_true(EXPLAINED(write_of(1, 1, 10), write_of(2, 1, 10), read_of(2, 11, 12)));
    assert_true(EXPLAINED(write_of(1, 1, 10), write_of(2, 1, 10), read_of(1, 11, 12)));
}

static void a_read_that_goes_backwards_is_found(void **state)
{
    assert_false(EXPLAINED(write_of(1, 1, 10), read_of(1, 2, 3), read_of(0, 4, 5)));
    assert_false(
        EXPLAINED(write_of(1, 1, 10), write_of(2, 1, 10), read_of(1, 11, 12), read_of(2, 13, 14)));
}

static void an_unknown_write_may_happen_late_or_never(void **state)
{
    assert_true(EXPLAINED(write_of(1, 1, ANY), read_of(0, 5, 6)));
    assert_true(EXPLAINED(write_of(1, 1, ANY), read_of(0, 5, 6), read_of(1, 7, 8)));
    assert_false(EXPLAINED(write_of(1, 4, ANY), read_of(1, 1, 2)));
    assert_false(EXPLAINED(write_of(1, 1, ANY), read_of(1, 5, 6), read_of(0, 7, 8)));
}

static void a_swap_needs_what_it_expected(void **state)
{
    assert_true(EXPLAINED(write_of(1, 1, 2), cas_of(1, 2, true, 3, 4), read_of(2, 5, 6)));
    assert_true(EXPLAINED(write_of(1, 1, 2), cas_of(9, 2, false, 3, 4), read_of(1, 5, 6)));
    assert_false(EXPLAINED(write_of(1, 1, 2), cas_of(9, 2, true, 3, 4)));
    assert_false(EXPLAINED(write_of(1, 1, 2), cas_of(1, 2, false, 3, 4)));
}

static void of_two_swaps_from_one_value_only_one_can_win(void **state)
{
    assert_false(EXPLAINED(cas_of(0, 1, true, 1, 10), cas_of(0, 2, true, 1, 10)));
    assert_true(EXPLAINED(cas_of(0, 1, true, 1, 10), cas_of(0, 2, false, 1, 10)));
    assert_true(EXPLAINED(cas_of(0, 1, ANY == 0, 1, ANY), cas_of(0, 2, true, 1, 10)));
}

static void keys_are_judged_one_by_one(void **state)
{
    struct sim_op other = read_of(5, 3, 4);
    other.key = 1;
    assert_false(EXPLAINED(write_of(5, 1, 2), other));
    struct sim_op write = write_of(5, 1, 2);
    write.key = 1;
    assert_true(EXPLAINED(write, other, read_of(0, 5, 6)));
}

/* Many operations at once: the memory of configurations must keep this from taking for ever. */
static void wide_histories_are_judged(void **state)
{
    struct sim_history history = {0};
    for (uint64_t i = 1; i <= 60; i++) {
        struct sim_op op = write_of(i, i, i % 20 == 7 ? ANY : i + 6);
        sim_history_add(&history, &op);
    }
    struct sim_op good = read_of(60, 400, 401), bad = read_of(3, 402, 403);
    sim_history_add(&history, &good);
    assert_true(sim_history_check(&history, 1, true));
    sim_history_add(&history, &bad);
    sim_history_add(&history, &good);
    history.ops[history.n - 1].call_ns = 404;
    history.ops[history.n - 1].return_ns = 405;
    assert_false(sim_history_check(&history, 1, true));
    sim_history_fini(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_that_follow_writes_are_fine),
        cmocka_unit_test(a_lost_write_is_found),
        cmocka_unit_test(a_value_nobody_wrote_is_found),
        cmocka_unit_test(overlapping_operations_may_happen_in_any_order),
        cmocka_unit_test(a_read_that_goes_backwards_is_found),
        cmocka_unit_test(an_unknown_write_may_happen_late_or_never),
        cmocka_unit_test(a_swap_needs_what_it_expected),
        cmocka_unit_test(of_two_swaps_from_one_value_only_one_can_win),
        cmocka_unit_test(keys_are_judged_one_by_one),
        cmocka_unit_test(wide_histories_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
