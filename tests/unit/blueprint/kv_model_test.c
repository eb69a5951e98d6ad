#include "kv_fixture.h"

static void every_change_takes_the_next_revision(void **state)
{
    struct kv kv;
    kv_init(&kv);
    assert_int_equal(kv_set(&kv, "a", "1"), 0);
    struct bp_kv_result r = kv_result(&kv);
    assert_int_equal(r.revision, 1);
    assert_int_equal(r.created, 1);
    assert_int_equal(r.version, 1);
    assert_true(chassis_view_eq(r.actor, V("tester")));
    assert_int_equal(kv_set(&kv, "b", "1"), 0);
    assert_int_equal(kv_set(&kv, "a", "2"), 0);
    r = kv_result(&kv);
    assert_int_equal(r.revision, 3);
    assert_int_equal(r.created, 1);
    assert_int_equal(r.version, 2);
    assert_int_equal(kv_del(&kv, "a"), 0);
    r = kv_result(&kv);
    assert_int_equal(r.revision, 4);
    assert_int_equal(r.version, 0);
    assert_int_equal(kv_set(&kv, "a", "3"), 0);
    r = kv_result(&kv);
    assert_int_equal(r.created, 5);
    assert_int_equal(r.version, 1);
    assert_int_equal(kv_revision(&kv), 5);
    kv_fini(&kv);
}

static void refused_commands_change_nothing(void **state)
{
    struct kv kv;
    kv_init(&kv);
    assert_int_equal(kv_set(&kv, "a", "1"), 0);
    struct chassis_buf before = {0}, after = {0};
    array_store_dump(kv.store, &before);
    assert_int_equal(kv_del(&kv, "absent"), CHASSIS_NOT_FOUND);
    struct bp_kv_op op = {.type = BP_KV_OP_SET,
                          .kind = V(KIND),
                          .key = V("a"),
                          .value = V("2"),
                          .has_expected = true,
                          .expected = 7};
    assert_int_equal(kv_op(&kv, &op), CHASSIS_ABORTED);
    assert_non_null(strstr(kv_refusal(&kv), "at revision 1, expected 7"));
    op.expected = 0;
    assert_int_equal(kv_op(&kv, &op), CHASSIS_ABORTED);
    op.has_expected = false;
    op.lease = V("no-such-process");
    assert_int_equal(kv_op(&kv, &op), CHASSIS_FAILED_PRECONDITION);
    op.type = BP_KV_OP_GET;
    assert_int_equal(kv_op(&kv, &op), CHASSIS_MALFORMED);
    assert_int_equal(kv_apply(&kv, V("\x01\x01")), CHASSIS_MALFORMED);
    assert_int_equal(kv_apply(&kv, V("")), CHASSIS_MALFORMED);
    assert_int_equal(kv_apply(&kv, V("\x02\x01")), CHASSIS_BAD_VERSION);
    assert_non_null(strstr(kv_refusal(&kv), "format version 2, this build knows up to 1"));
    array_store_dump(kv.store, &after);
    assert_true(chassis_view_eq(chassis_buf_view(&before), chassis_buf_view(&after)));
    chassis_buf_fini(&before);
    chassis_buf_fini(&after);
    kv_fini(&kv);
}

static void compare_and_set_succeeds_at_the_named_revision(void **state)
{
    struct kv kv;
    kv_init(&kv);
    struct bp_kv_op op = {.type = BP_KV_OP_SET,
                          .kind = V(KIND),
                          .key = V("a"),
                          .value = V("1"),
                          .has_expected = true};
    assert_int_equal(kv_op(&kv, &op), 0);
    op.expected = 1;
    assert_int_equal(kv_op(&kv, &op), 0);
    assert_int_equal(kv_op(&kv, &op), CHASSIS_ABORTED);
    op.type = BP_KV_OP_DELETE;
    op.value = V("");
    assert_int_equal(kv_op(&kv, &op), CHASSIS_ABORTED);
    op.expected = 2;
    assert_int_equal(kv_op(&kv, &op), 0);
    op.expected = 0;
    assert_int_equal(kv_op(&kv, &op), CHASSIS_NOT_FOUND);
    kv_fini(&kv);
}

static void the_past_can_be_read_at_every_revision(void **state)
{
    struct kv kv;
    kv_init(&kv);
    char value[32];
    for (int i = 1; i <= 300; i++) {
        snprintf(value, sizeof value, "v%d", i);
        assert_int_equal(i % 7 == 0 ? kv_del(&kv, "k") : kv_set(&kv, "k", value), 0);
    }
    for (int i = 1; i <= 300; i++) {
        snprintf(value, sizeof value, "v%d", i);
        int status;
        const char *seen = kv_get(&kv, "k", (uint64_t)i, &status);
        if (i % 7 == 0) {
            assert_int_equal(status, CHASSIS_NOT_FOUND);
        } else {
            assert_string_equal(seen, value);
        }
    }
    int status;
    kv_get(&kv, "k", 301, &status);
    assert_int_equal(status, CHASSIS_OUT_OF_RANGE);
    kv_fini(&kv);
}

static void compaction_keeps_every_snapshot_from_the_floor_on(void **state)
{
    struct kv kv;
    kv_init(&kv);
    kv_set(&kv, "a", "1"); /* 1 */
    kv_set(&kv, "b", "1"); /* 2 */
    kv_set(&kv, "a", "2"); /* 3 */
    kv_del(&kv, "b");      /* 4 */
    kv_set(&kv, "c", "1"); /* 5 */
    kv_set(&kv, "b", "2"); /* 6 */
    kv_del(&kv, "a");      /* 7 */
    assert_int_equal(kv_compact(&kv, 8), CHASSIS_OUT_OF_RANGE);
    assert_int_equal(kv_compact(&kv, 5), 0);
    assert_int_equal(kv_revision(&kv), 7);
    assert_string_equal(kv_list(&kv, "", 5), "a=2 c=1");
    assert_string_equal(kv_list(&kv, "", 6), "a=2 b=2 c=1");
    assert_string_equal(kv_list(&kv, "", 7), "b=2 c=1");
    int status;
    kv_get(&kv, "a", 4, &status);
    assert_int_equal(status, CHASSIS_OUT_OF_RANGE);
    assert_int_equal(kv_compact(&kv, 3), 0); /* below: nothing to do */
    assert_int_equal(kv_compact(&kv, 7), 0);
    assert_string_equal(kv_list(&kv, "", 7), "b=2 c=1");
    /* Nothing is left of a, and its chain begins anew. */
    struct chassis_txn *txn;
    chassis_store_begin(kv.store, false, &txn, NULL);
    assert_int_equal(chassis_txn_count(txn, BP_TABLE_REVS), 2);
    assert_int_equal(chassis_txn_count(txn, BP_TABLE_INDEX), 2);
    chassis_txn_abort(txn);
    kv_set(&kv, "a", "9");
    assert_int_equal(kv_result(&kv).version, 1);
    kv_get(&kv, "a", 7, &status);
    assert_int_equal(status, CHASSIS_NOT_FOUND);
    kv_fini(&kv);
}

static void kinds_do_not_collide(void **state)
{
    struct kv kv;
    kv_init(&kv);
    kv_set(&kv, "a", "1");
    struct bp_kv_op other = {
        .type = BP_KV_OP_SET, .kind = V("other"), .key = V("a"), .value = V("2")};
    assert_int_equal(kv_op(&kv, &other), 0);
    assert_int_equal(kv_result(&kv).version, 1);
    assert_string_equal(kv_list(&kv, "", 0), "a=1");
    other.type = BP_KV_OP_DELETE;
    assert_int_equal(kv_op(&kv, &other), 0);
    assert_string_equal(kv_get(&kv, "a", 0, NULL), "1");
    kv_fini(&kv);
}

static void a_list_goes_by_prefix_and_on_after_a_key(void **state)
{
    struct kv kv;
    kv_init(&kv);
    const char *keys[] = {"app", "app/1", "app/2", "app/30", "apq", "b"};
    for (size_t i = 0; i < 6; i++) {
        kv_set(&kv, keys[i], "x");
    }
    kv_del(&kv, "app/2");
    assert_string_equal(kv_list(&kv, "app/", 0), "app/1=x app/30=x");
    assert_string_equal(kv_list(&kv, "app/", 6), "app/1=x app/2=x app/30=x");
    assert_string_equal(kv_list(&kv, "zzz", 0), "");
    kv_fini(&kv);
}

static struct bp_kv_op put_op(const char *key, const char *value)
{
    return (struct bp_kv_op){
        .type = BP_KV_OP_SET, .kind = V(KIND), .key = V(key), .value = V(value)};
}

static void a_transaction_is_one_revision_or_nothing(void **state)
{
    struct kv kv;
    kv_init(&kv);
    kv_set(&kv, "a", "1");
    struct bp_kv_compare compare[] = {
        {.target = BP_KV_TARGET_VALUE, .kind = V(KIND), .key = V("a"), .value = V("1")},
        {.target = BP_KV_TARGET_EXISTS, .kind = V(KIND), .key = V("b"), .number = 0},
        {.target = BP_KV_TARGET_REVISION, .kind = V(KIND), .key = V("a"), .number = 1},
        {.target = BP_KV_TARGET_VERSION, .kind = V(KIND), .key = V("b"), .number = 0},
    };
    struct bp_kv_op yes[] = {
        put_op("b", "2"),
        {.type = BP_KV_OP_DELETE, .kind = V(KIND), .key = V("a")},
        {.type = BP_KV_OP_GET, .kind = V(KIND), .key = V("b")},
        {.type = BP_KV_OP_DELETE, .kind = V(KIND), .key = V("absent")},
    };
    struct bp_kv_op no[] = {{.type = BP_KV_OP_GET, .kind = V(KIND), .key = V("b")}};
    struct bp_kv_txn txn = {V("me"), {compare, 4}, {yes, 4}, {no, 1}};
    assert_int_equal(kv_txn(&kv, &txn), 0);
    struct bp_kv_txn_result r = kv_txn_result(&kv);
    const struct bp_kv_result *results = r.results.items;
    assert_true(r.succeeded);
    assert_int_equal(r.revision, 2);
    assert_int_equal(r.results.n, 4);
    assert_true(results[2].found);
    assert_true(chassis_view_eq(results[2].value, V("2")));
    assert_false(results[3].found);
    assert_string_equal(kv_list(&kv, "", 0), "b=2");
    /* The comparison fails now: the other branch reads only and takes no revision. */
    assert_int_equal(kv_txn(&kv, &txn), 0);
    r = kv_txn_result(&kv);
    assert_false(r.succeeded);
    assert_int_equal(r.revision, 2);
    assert_int_equal(kv_revision(&kv), 2);
    kv_fini(&kv);
}

static void a_transaction_with_one_bad_operation_does_nothing(void **state)
{
    struct kv kv;
    kv_init(&kv);
    kv_set(&kv, "a", "1");
    struct bp_kv_op ops[] = {put_op("x", "1"), put_op("a", "2")};
    ops[1].has_expected = true;
    ops[1].expected = 9;
    struct bp_kv_txn txn = {V("me"), {NULL, 0}, {ops, 2}, {NULL, 0}};
    assert_int_equal(kv_txn(&kv, &txn), CHASSIS_ABORTED);
    assert_string_equal(kv_list(&kv, "", 0), "a=1");
    ops[1] = put_op("x", "2");
    assert_int_equal(kv_txn(&kv, &txn), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(kv_refusal(&kv), "both write record 'x'"));
    assert_int_equal(kv_revision(&kv), 1);
    kv_fini(&kv);
}

static void leased_records_go_with_their_process_at_one_revision(void **state)
{
    struct kv kv;
    kv_init(&kv);
    kv_lease(&kv, "pid-1", true);
    assert_int_equal(kv_revision(&kv), 0);
    struct bp_kv_op op = put_op("a", "1");
    op.lease = V("pid-1");
    assert_int_equal(kv_op(&kv, &op), 0);
    op.key = V("b");
    assert_int_equal(kv_op(&kv, &op), 0);
    op.key = V("c");
    assert_int_equal(kv_op(&kv, &op), 0);
    kv_set(&kv, "c", "free"); /* set without a lease: it stays */
    struct bp_kv_op del = {
        .type = BP_KV_OP_DELETE, .kind = V(KIND), .key = V("c"), .lease = V("pid-1")};
    assert_int_equal(kv_op(&kv, &del), CHASSIS_FAILED_PRECONDITION);
    kv_lease(&kv, "pid-1", false);
    assert_string_equal(kv_list(&kv, "", 0), "c=free");
    assert_int_equal(kv_revision(&kv), 5);
    assert_string_equal(kv_list(&kv, "", 4), "a=1 b=1 c=free");
    op.key = V("d");
    assert_int_equal(kv_op(&kv, &op), CHASSIS_FAILED_PRECONDITION);
    kv_lease(&kv, "pid-1", false); /* gone already: nothing happens */
    assert_int_equal(kv_revision(&kv), 5);
    kv_fini(&kv);
}

static void a_lease_holds_a_bounded_number_of_records(void **state)
{
    struct kv kv;
    kv_init(&kv);
    kv_lease(&kv, "p", true);
    char key[32];
    struct bp_kv_op op = put_op(key, "1");
    op.lease = V("p");
    for (int i = 0; i <= BP_KV_LEASE_RECORDS_MAX; i++) {
        snprintf(key, sizeof key, "%d", i);
        op.key = V(key);
        assert_int_equal(kv_op(&kv, &op),
                         i < BP_KV_LEASE_RECORDS_MAX ? 0 : CHASSIS_RESOURCE_EXHAUSTED);
    }
    assert_non_null(strstr(kv_refusal(&kv), "limit is 1024"));
    op.key = V("7"); /* one of its own can still be changed */
    assert_int_equal(kv_op(&kv, &op), 0);
    kv_lease(&kv, "p", false);
    assert_string_equal(kv_list(&kv, "", 0), "");
    kv_fini(&kv);
}

static void a_flipped_bit_is_detected_and_never_served(void **state)
{
    const enum bp_table tables[] = {BP_TABLE_KINDS, BP_TABLE_REVS, BP_TABLE_INDEX};
    for (size_t t = 0; t < 3; t++) {
        struct kv kv;
        kv_init(&kv);
        kv_set(&kv, "a", "the value");
        for (size_t bit = 0; bit < 700; bit += 3) {
            assert_true(array_store_flip(kv.store, tables[t], tables[t] == BP_TABLE_KINDS, bit));
            int status;
            assert_null(kv_get(&kv, "a", 0, &status));
            assert_int_equal(status, CHASSIS_CORRUPT);
            assert_true(array_store_flip(kv.store, tables[t], tables[t] == BP_TABLE_KINDS, bit));
        }
        assert_string_equal(kv_get(&kv, "a", 0, NULL), "the value");
        kv_fini(&kv);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_takes_the_next_revision),
        cmocka_unit_test(refused_commands_change_nothing),
        cmocka_unit_test(compare_and_set_succeeds_at_the_named_revision),
        cmocka_unit_test(the_past_can_be_read_at_every_revision),
        cmocka_unit_test(compaction_keeps_every_snapshot_from_the_floor_on),
        cmocka_unit_test(kinds_do_not_collide),
        cmocka_unit_test(a_list_goes_by_prefix_and_on_after_a_key),
        cmocka_unit_test(a_transaction_is_one_revision_or_nothing),
        cmocka_unit_test(a_transaction_with_one_bad_operation_does_nothing),
        cmocka_unit_test(leased_records_go_with_their_process_at_one_revision),
        cmocka_unit_test(a_lease_holds_a_bounded_number_of_records),
        cmocka_unit_test(a_flipped_bit_is_detected_and_never_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
