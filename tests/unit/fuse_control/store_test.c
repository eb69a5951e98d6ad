/* Keys of records in Blueprint. */
#include "fuse/blueprint/store.h"
#include "test.h"

static void round_trip(const char *group, const char *route, const char *expected)
{
    char key[FUSE_QUARANTINE_KEY_MAX + 1], g[FUSE_QUARANTINE_KEY_MAX + 1],
        r[FUSE_QUARANTINE_KEY_MAX + 1];
    assert_int_equal(fuse_quarantine_key(group, route, key, NULL), 0);
    assert_string_equal(key, expected);
    assert_true(fuse_quarantine_key_parse(key, g, r));
    assert_string_equal(g, group);
    assert_string_equal(r, route);
}

static void quarantines_are_found_again_whatever_groups_are_called(void **state)
{
    round_trip("edge", "shop", "edge/shop");
    round_trip("", "shop", "/shop");
    round_trip("a/b", "shop", "a/b/shop");
    round_trip(" eu 1%", "s", "%20eu%201%25/s");
    round_trip("\x01\x7f", "s", "%01%7f/s");
    round_trip("größe", "s", "größe/s");
}

static void names_that_do_not_fit_are_refused(void **state)
{
    char group[600], key[FUSE_QUARANTINE_KEY_MAX + 1];
    memset(group, 'g', sizeof group - 1);
    group[sizeof group - 1] = '\0';
    assert_int_equal(fuse_quarantine_key(group, "r", key, NULL), CHASSIS_INVALID_ARGUMENT);
    group[FUSE_QUARANTINE_KEY_MAX - 6] = '\0';
    assert_int_equal(fuse_quarantine_key(group, "r", key, NULL), 0);
}

static void what_is_no_key_is_none(void **state)
{
    char g[FUSE_QUARANTINE_KEY_MAX + 1], r[FUSE_QUARANTINE_KEY_MAX + 1];
    const char *const keys[] = {"", "noslash", "trailing/", "a%/r", "a%2/r", "a%zz/r", "a%00/r"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_false(fuse_quarantine_key_parse(keys[i], g, r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quarantines_are_found_again_whatever_groups_are_called),
        cmocka_unit_test(names_that_do_not_fit_are_refused),
        cmocka_unit_test(what_is_no_key_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
