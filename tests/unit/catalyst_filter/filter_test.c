/* The dialects of the Subscriptions API, described in JSON as its users do. */
#include "tests/test.h"

#include "tests/unit/catalyst_filter/filter_fixture.h"

static void events_match_or_not(void **state)
{
    static const struct {
        const char *json;
        bool match;
    } rows[] = {
        {"[]", true},
        {"{\"exact\":{\"type\":\"com.example.order.created\"}}", true},
        {"{\"exact\":{\"type\":\"com.example.order\"}}", false},
        {"{\"exact\":{\"type\":\"COM.example.order.created\"}}", false},
        {"{\"exact\":{\"type\":\"com.example.order.created\",\"subject\":\"orders/42\"}}", true},
        {"{\"exact\":{\"type\":\"com.example.order.created\",\"subject\":\"x\"}}", false},
        {"{\"exact\":{\"nosuch\":\"x\"}}", false},
        {"{\"exact\":{\"myint\":\"10\"}}", true},
        {"{\"exact\":{\"mytrue\":\"true\"}}", true},
        {"{\"exact\":{\"time\":\"2018-04-26T12:48:09Z\"}}", true},
        {"{\"exact\":{\"raw\":\"YWJj\"}}", true},
        {"{\"exact\":{\"isdurable\":\"true\"}}", true},
        {"{\"prefix\":{\"type\":\"com.example.\",\"subject\":\"orders/\"}}", true},
        {"{\"prefix\":{\"type\":\"com.example.order.created.x\"}}", false},
        {"{\"prefix\":{\"time\":\"2018-04\"}}", true},
        {"{\"suffix\":{\"type\":\".created\"}}", true},
        {"{\"suffix\":{\"type\":\".deleted\"}}", false},
        {"{\"suffix\":{\"subject\":\"orders/42\"}}", true},
        {"{\"all\":[{\"exact\":{\"id\":\"id-1\"}},{\"suffix\":{\"source\":\"shop\"}}]}", true},
        {"{\"all\":[{\"exact\":{\"id\":\"id-1\"}},{\"suffix\":{\"source\":\"shoe\"}}]}", false},
        {"{\"any\":[{\"exact\":{\"id\":\"no\"}},{\"suffix\":{\"source\":\"shop\"}}]}", true},
        {"{\"any\":[{\"exact\":{\"id\":\"no\"}}]}", false},
        {"{\"not\":{\"exact\":{\"id\":\"no\"}}}", true},
        {"{\"not\":{\"exact\":{\"nosuch\":\"no\"}}}", true},
        {"{\"not\":{\"any\":[{\"exact\":{\"id\":\"id-1\"}}]}}", false},
        {"{\"sql\":\"source LIKE '%example%' AND sequence > 4\"}", true},
        {"{\"sql\":\"sequence > 5\"}", false},
        {"{\"sql\":\"nosuch = 5\"}", false},
        {"{\"not\":{\"sql\":\"nosuch = 5\"}}", true}, /* the sql filter is false */
        {"{\"sql\":\"1\"}", false},                   /* not a Boolean */
        {"{\"sql\":\"'true'\"}", false},
        {"{\"sql\":\"NOT 1 / 0 = 5\"}", false},
        {" [ {\"exact\":{\"id\":\"id-1\"}} , {\"sql\":\"TRUE\"} ] ", true},
        {"[{\"exact\":{\"id\":\"id-1\"}},{\"sql\":\"FALSE\"}]", false},
        {"[{\"sql\":\"EXISTS subject\"}]", true},
    };
    struct filter_fixture f;
    filter_fixture_init(&f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct chassis_error err = {0};
        struct cat_filter *filter;
        if (cat_filter_compile_json(filter_view(rows[i].json), &filter, &err) != 0) {
            fail_msg("%s: %s", rows[i].json, err.text);
        }
        if (cat_filter_matches(filter, &f.event, &f.scratch) != rows[i].match) {
            fail_msg("%s should be %s", rows[i].json, rows[i].match ? "true" : "false");
        }
        cat_filter_free(filter);
    }
    filter_fixture_fini(&f);
}

static void bad_filters_are_refused_saying_which(void **state)
{
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"", "1 to"},
        {"5", "'{' expected"},
        {"{}", "string is expected"},
        {"{\"exact\":{}}", "filter exact: no attribute is given"},
        {"{\"exact\":{\"type\":\"\"}}", "may not be empty"},
        {"{\"exact\":{\"\":\"x\"}}", "may not be empty"},
        {"{\"exact\":{\"Type\":\"x\"}}", "'Type': a name holds a-z"},
        {"{\"exact\":{\"type\":5}}", "a string is expected"},
        {"{\"all\":[]}", "filter all: at least one"},
        {"{\"any\":[]}", "filter any: at least one"},
        {"{\"not\":[]}", "'{' expected"},
        {"{\"sql\":\"\"}", "filter sql: ParseError at 1"},
        {"{\"sql\":\"1 +\"}", "filter sql: ParseError at 4"},
        {"{\"sql\":\"NOSUCH(1)\"}", "MissingFunctionError: no function 'nosuch'"},
        {"{\"all\":[{\"sql\":\"TRUE\"},{\"any\":[{\"prefix\":{}}]}]}",
         "filter all: [1]: filter any: [0]: filter prefix: no attribute"},
        {"{\"regex\":{\"type\":\"x\"}}", "no such dialect: 'regex'"},
        {"{\"exact\":{\"id\":\"x\"},\"sql\":\"TRUE\"}", "'}' expected"},
        {"[{\"sql\":\"TRUE\"}] x", "something follows"},
        {"[{\"sql\":\"TRUE\"},]", "'{' expected"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct chassis_error err = {0};
        struct cat_filter *filter = NULL;
        int rc = cat_filter_compile_json(filter_view(rows[i].json), &filter, &err);
        if (rc >= 0 || filter != NULL || strstr(err.text, rows[i].text) == NULL) {
            fail_msg("%s: %d '%s'", rows[i].json, rc, err.text);
        }
        assert_true(cat_filter_compile_json(filter_view(rows[i].json), &filter, NULL) < 0);
    }
}

static void descriptions_are_bounded(void **state)
{
    struct cat_filter_spec chain[CAT_FILTER_DEPTH_MAX + 1] = {{0}};
    struct cat_filter_spec wide[CAT_FILTER_COUNT_MAX + 1] = {{0}};
    struct cat_filter_pair pairs[CAT_FILTER_PAIRS_MAX + 1];
    struct cat_filter *filter;
    char huge[CAT_FILTER_TEXT_MAX + 2];
    for (size_t i = 0; i < CAT_FILTER_DEPTH_MAX; i++) {
        chain[i] = (struct cat_filter_spec){
            .dialect = CAT_DIALECT_NOT, .children = &chain[i + 1], .child_count = 1};
    }
    chain[CAT_FILTER_DEPTH_MAX] =
        (struct cat_filter_spec){.dialect = CAT_DIALECT_SQL, .sql = filter_view("TRUE")};
    assert_int_equal(cat_filter_compile(&chain[0], &filter, NULL), CHASSIS_TOO_LARGE);
    assert_int_equal(cat_filter_compile(&chain[1], &filter, NULL), 0);
    cat_filter_free(filter);
    for (size_t i = 0; i <= CAT_FILTER_COUNT_MAX; i++) {
        wide[i] = chain[CAT_FILTER_DEPTH_MAX];
    }
    assert_int_equal(cat_filter_compile_list(wide, CAT_FILTER_COUNT_MAX, &filter, NULL),
                     CHASSIS_TOO_LARGE);
    assert_int_equal(cat_filter_compile_list(wide, CAT_FILTER_COUNT_MAX - 1, &filter, NULL), 0);
    cat_filter_free(filter);
    memset(huge, 'x', sizeof huge);
    for (size_t i = 0; i <= CAT_FILTER_PAIRS_MAX; i++) {
        pairs[i] = (struct cat_filter_pair){filter_view("id"), filter_view("x")};
    }
    struct cat_filter_spec exact = {.dialect = CAT_DIALECT_EXACT, .pairs = pairs};
    exact.pair_count = CAT_FILTER_PAIRS_MAX + 1;
    assert_int_equal(cat_filter_compile(&exact, &filter, NULL), CHASSIS_TOO_LARGE);
    exact.pair_count = 1;
    pairs[0].value = chassis_view(huge, CAT_FILTER_TEXT_MAX + 1);
    assert_int_equal(cat_filter_compile(&exact, &filter, NULL), CHASSIS_TOO_LARGE);
    pairs[0].value.len--;
    assert_int_equal(cat_filter_compile(&exact, &filter, NULL), 0);
    cat_filter_free(filter);
    exact.dialect = (enum cat_dialect)99;
    assert_int_equal(cat_filter_compile(&exact, &filter, NULL), CHASSIS_INVALID_ARGUMENT);
    exact.dialect = (enum cat_dialect)0;
    assert_int_equal(cat_filter_compile(&exact, &filter, NULL), CHASSIS_INVALID_ARGUMENT);
    cat_filter_free(NULL);
}

static void work_is_bounded_over_all_expressions(void **state)
{
    /* each alone comes to an end, three do not */
    enum { COUNT = 20, A = 6000 };
    struct filter_fixture f;
    struct cat_filter_spec specs[COUNT];
    struct cat_filter *filter;
    struct chassis_buf text = {0};
    filter_fixture_init(&f);
    chassis_buf_append_str(&text, "CONCAT('");
    for (int i = 0; i < A; i++) {
        chassis_buf_append_byte(&text, 'a');
    }
    chassis_buf_append_str(&text, "') NOT LIKE '%aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'");
    for (size_t i = 0; i < COUNT; i++) {
        specs[i] =
            (struct cat_filter_spec){.dialect = CAT_DIALECT_SQL, .sql = chassis_buf_view(&text)};
    }
    for (size_t n = 1; n <= COUNT; n += COUNT - 1) {
        assert_int_equal(cat_filter_compile_list(specs, n, &filter, NULL), 0);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(cat_filter_matches(filter, &f.event, &f.scratch), n == 1);
        }
        cat_filter_free(filter);
    }
    chassis_buf_fini(&text);
    filter_fixture_fini(&f);
}

static void asking_again_allocates_nothing_more(void **state)
{
    struct filter_fixture f;
    struct cat_filter *filter;
    filter_fixture_init(&f);
    assert_int_equal(
        cat_filter_compile_json(
            filter_view(
                "[{\"exact\":{\"time\":\"2018-04-26T12:48:09Z\"}},"
                "{\"sql\":\"CONCAT(UPPER(id), time, raw) = 'ID-12018-04-26T12:48:09ZYWJj'\"}]"),
            &filter, NULL),
        0);
    assert_true(cat_filter_matches(filter, &f.event, &f.scratch));
    const uint8_t *room = f.scratch.room;
    size_t used = f.scratch.used;
    for (int i = 0; i < 100000; i++) {
        assert_true(cat_filter_matches(filter, &f.event, &f.scratch));
        assert_true(f.scratch.room == room && f.scratch.used == used);
    }
    cat_filter_free(filter);
    filter_fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_match_or_not),
        cmocka_unit_test(bad_filters_are_refused_saying_which),
        cmocka_unit_test(descriptions_are_bounded),
        cmocka_unit_test(work_is_bounded_over_all_expressions),
        cmocka_unit_test(asking_again_allocates_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
