/* What key_value refuses before anything is proposed, and its page tokens. */
#include "blueprint/key_value/controller.h"
#include "kv_fixture.h"

static void page_tokens_fit_one_list_only(void **state)
{
    struct chassis_buf token = {0};
    uint64_t revision;
    struct chassis_view last;
    bp_kv_token_make(77, V("kind"), V("pre"), V("prefix/1"), &token);
    struct chassis_view t = chassis_buf_view(&token);
    assert_int_equal(bp_kv_token_parse(t, V("kind"), V("pre"), &revision, &last, NULL), 0);
    assert_int_equal(revision, 77);
    assert_true(chassis_view_eq(last, V("prefix/1")));
    assert_int_equal(bp_kv_token_parse(t, V("kind"), V("p"), &revision, &last, NULL),
                     CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(bp_kv_token_parse(t, V("kin"), V("pre"), &revision, &last, NULL),
                     CHASSIS_INVALID_ARGUMENT);
    token.data[3] = '7';
    assert_int_equal(bp_kv_token_parse(t, V("kind"), V("pre"), &revision, &last, NULL),
                     CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(bp_kv_token_parse(V("x"), V("kind"), V("pre"), &revision, &last, NULL),
                     CHASSIS_INVALID_ARGUMENT);
    chassis_buf_fini(&token);
}

static void limits_are_named(void **state)
{
    char text[600];
    struct chassis_error err = {0};
    memset(text, 'k', sizeof text);
    assert_int_equal(bp_kv_check_key(chassis_view(text, 480), &err), 0);
    assert_int_equal(bp_kv_check_key(chassis_view(text, 481), &err), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "480"));
    assert_int_equal(bp_kv_check_key(bp_kv_trim(V(" \t\n ")), &err), CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(bp_kv_check_key(V("\xff"), &err), CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(bp_kv_check_kind(chassis_view(text, 255), &err), 0);
    assert_int_equal(bp_kv_check_kind(chassis_view(text, 256), &err), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "255"));
    char *big = calloc(1, BP_KV_VALUE_MAX + 1);
    struct bp_kv_op op = {
        .kind = V("k"), .key = V("k"), .value = chassis_view(big, BP_KV_VALUE_MAX)};
    assert_int_equal(bp_kv_check_op(&op, &err), 0);
    op.value.len++;
    assert_int_equal(bp_kv_check_op(&op, &err), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "1048576"));
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_tokens_fit_one_list_only),
        cmocka_unit_test(limits_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
