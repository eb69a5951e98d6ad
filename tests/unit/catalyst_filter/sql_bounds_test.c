/* CloudEvents SQL: what does not parse, what is too much, and expressions printed. */
#include "tests/test.h"

#include "tests/unit/catalyst_filter/filter_fixture.h"

static void parse_errors_say_where(void **state)
{
    static const struct {
        const char *sql, *text;
    } rows[] = {
        {"ABC(", "ParseError at 5: an operand expected, but the expression ends"},
        {"", "ParseError at 1: the expression is empty"},
        {"  ", "ParseError at 3: an operand expected"},
        {"x LIKE 123", "ParseError at 8: a string literal, the pattern, expected, not '123'"},
        {"x LIKE y", "ParseError at 8"},
        {"x NOT 5", "ParseError at 7: LIKE or IN after NOT"},
        {"x IN ()", "ParseError at 7"},
        {"x IN 5", "ParseError at 6: '(' expected"},
        {"x IN (1", "ParseError at 8: ',' or ')' expected"},
        {"(1", "ParseError at 3: ')' expected"},
        {"1)", "ParseError at 2: an operator or the end expected, not ')'"},
        {"a b", "ParseError at 3: an operator"},
        {"'abc", "ParseError at 1: a string without end"},
        {"'abc\\", "ParseError at 1: a string without end"},
        {"'abc\\'", "ParseError at 1: a string without end"},
        {"2147483648", "ParseError at 1: the integer does not fit"},
        {"-2147483649", "ParseError at 2: the integer does not fit"},
        {"99999999999999999999999", "does not fit"},
        {"1 = = 2", "ParseError at 5: an operand expected, not '='"},
        {"a_b", "ParseError at 1: an attribute's name"},
        {"f1(2)", "ParseError at 1: a function's name"},
        {"_F(2)", "ParseError at 1: a function's name"},
        {"EXISTS 'x'", "ParseError at 8: the name of an attribute"},
        {"EXISTS", "ParseError at 7: the name of an attribute"},
        {"EXISTS not", "the name of an attribute"},
        {"a ! b", "ParseError at 3: no such character: '!'"},
        {"a; b", "ParseError at 2: no such character: ';'"},
        {"a \xc3\xa9", "no such character"},
        {"\xff", "not valid UTF-8"},
        {"+x", "ParseError at 2: an integer after '+'"},
        {"AND", "ParseError at 1: an operand expected, not 'AND'"},
        {"1 AND", "an operand expected"},
        {"LIKE('a')", "an operand expected"},
        {"CONCAT(1,)", "an operand expected"},
        {"CONCAT(1 2)", "',' or ')' expected"},
        {"''''' ", "a string without end"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct chassis_error err = {0};
        struct cat_sql *sql;
        int rc = cat_sql_compile(filter_view(rows[i].sql), &sql, &err);
        if (rc != CHASSIS_INVALID_ARGUMENT || strstr(err.text, rows[i].text) == NULL) {
            fail_msg("%s: %d '%s'", rows[i].sql, rc, err.text);
        }
        assert_int_equal(cat_sql_compile(filter_view(rows[i].sql), &sql, NULL), rc);
    }
}

/* before × n, middle, after × n */
static int compile_repeated(const char *before, const char *middle, const char *after, unsigned n,
                            struct cat_sql **ret_sql)
{
    struct chassis_buf text = {0};
    for (unsigned i = 0; i < n; i++) {
        chassis_buf_append_str(&text, before);
    }
    chassis_buf_append_str(&text, middle);
    for (unsigned i = 0; i < n; i++) {
        chassis_buf_append_str(&text, after);
    }
    int rc = cat_sql_compile(chassis_buf_view(&text), ret_sql, NULL);
    chassis_buf_fini(&text);
    return rc;
}

static void size_and_nesting_are_bounded(void **state)
{
    static const struct {
        const char *before, *middle, *after;
        unsigned fits, too_many;
    } rows[] = {
        {"(", "1", ")", CAT_SQL_DEPTH_MAX - 1, CAT_SQL_DEPTH_MAX},
        {"NOT ", "TRUE", "", CAT_SQL_DEPTH_MAX - 1, CAT_SQL_DEPTH_MAX},
        {"-", "x", "", CAT_SQL_DEPTH_MAX - 1, CAT_SQL_DEPTH_MAX},
        {"ABS(", "1", ")", CAT_SQL_DEPTH_MAX - 1, CAT_SQL_DEPTH_MAX},
        {"1 IN (", "1", ")", CAT_SQL_DEPTH_MAX - 1, CAT_SQL_DEPTH_MAX},
        {"(", "1", ")", 1, 8000},
        {"1+", "1", "", CAT_SQL_NODES_MAX / 2 - 1, CAT_SQL_NODES_MAX / 2},
        {"", "CONCAT('a'", ",1", 0, 1}, /* not closed */
        {"", "1", "+1111111111", 10, CAT_SQL_TEXT_MAX / 11 + 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cat_sql *sql;
        if (i != 7) {
            assert_int_equal(
                compile_repeated(rows[i].before, rows[i].middle, rows[i].after, rows[i].fits, &sql),
                0);
            struct filter_fixture f;
            struct cat_sql_value value;
            filter_fixture_init(&f);
            cat_sql_evaluate(sql, &f.event, &f.scratch, &value);
            filter_fixture_fini(&f);
            cat_sql_free(sql);
        }
        int rc =
            compile_repeated(rows[i].before, rows[i].middle, rows[i].after, rows[i].too_many, &sql);
        assert_int_equal(rc, i != 7 ? CHASSIS_TOO_LARGE : CHASSIS_INVALID_ARGUMENT);
    }
}

static void memory_and_work_of_an_evaluation_are_bounded(void **state)
{
    struct filter_fixture f;
    struct cat_sql *sql;
    struct cat_sql_value value;
    struct chassis_buf text = {0};
    filter_fixture_init(&f);
    /* each level is eight times as long */
    assert_int_equal(
        compile_repeated("CONCAT_WS(", "'12345678'", ",'','','','','','','','','')", 12, &sql), 0);
    assert_int_equal(cat_sql_evaluate(sql, &f.event, &f.scratch, &value), CAT_SQL_GENERIC);
    assert_true(value.type == CAT_SQL_STRING && value.string.len == 0);
    assert_true(f.scratch.used <= f.scratch.cap);
    cat_sql_free(sql);
    /* each call needs little, all together too much */
    struct cat_attribute big = {filter_view("big"), cat_value_string(chassis_view(NULL, 0))};
    struct chassis_buf bytes = {0};
    struct cat_event event;
    char eight_thousand[8000];
    memset(eight_thousand, 'x', sizeof eight_thousand);
    big.value.text = chassis_view(eight_thousand, sizeof eight_thousand);
    cat_event_edit(&f.event, &big, 1, &bytes);
    assert_int_equal(cat_event_parse(chassis_buf_view(&bytes), &event, NULL), 0);
    for (unsigned n = 1; n <= 20; n += 19) {
        assert_int_equal(compile_repeated("LENGTH(UPPER(big)) + ", "0", "", n, &sql), 0);
        enum cat_sql_error error = cat_sql_evaluate(sql, &event, &f.scratch, &value);
        assert_int_equal(error, n == 1 ? CAT_SQL_OK : CAT_SQL_GENERIC);
        assert_int_equal(value.integer, n == 1 ? 8000 : 0);
        cat_sql_free(sql);
    }
    chassis_buf_fini(&bytes);
    /* a pattern that goes back again and again, many times over */
    chassis_buf_append_str(&text, "CONCAT('");
    for (int i = 0; i < 6000; i++) {
        chassis_buf_append_byte(&text, 'a');
    }
    chassis_buf_append_str(&text, "') LIKE '%");
    for (int i = 0; i < 3000; i++) {
        chassis_buf_append_byte(&text, 'a');
    }
    chassis_buf_append_str(&text, "b'");
    assert_int_equal(cat_sql_compile(chassis_buf_view(&text), &sql, NULL), 0);
    assert_int_equal(cat_sql_evaluate(sql, &f.event, &f.scratch, &value), CAT_SQL_GENERIC);
    assert_true(value.type == CAT_SQL_BOOLEAN && !value.boolean);
    cat_sql_free(sql);
    /* and the next evaluation is as good as new */
    assert_int_equal(cat_sql_compile(filter_view("CONCAT(id, 'x') = 'id-1x'"), &sql, NULL), 0);
    assert_int_equal(cat_sql_evaluate(sql, &f.event, &f.scratch, &value), CAT_SQL_OK);
    assert_true(value.type == CAT_SQL_BOOLEAN && value.boolean);
    cat_sql_free(sql);
    chassis_buf_fini(&text);
    filter_fixture_fini(&f);
}

static void printing_keeps_only_the_parentheses_it_needs(void **state)
{
    static const struct {
        const char *sql, *printed;
    } rows[] = {
        {"((a)=(1))or(b like'x%')", "a = 1 OR b LIKE 'x%'"},
        {"a AND (b OR c)", "a AND (b OR c)"},
        {"(a AND b) OR c", "a AND b OR c"},
        {"1-(2-3)-4", "1 - (2 - 3) - 4"},
        {"(1+2)*3", "(1 + 2) * 3"},
        {"not(a=b)", "NOT (a = b)"},
        {"not a=b", "NOT a = b"},
        {"- 10", "- 10"},
        {"-(x+1)", "- (x + 1)"},
        {"(x IN (1,2)) LIKE 't%'", "(x IN (1, 2)) LIKE 't%'"},
        {"x not in(1) <> TRUE", "x NOT IN (1) != TRUE"},
        {"\"it's\"", "\"it's\""},
        {"'it\\'s'", "'it''s'"},
        {"Concat(A,'B')", "concat(a, 'B')"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct chassis_buf out = {0};
        struct cat_sql *sql;
        assert_int_equal(cat_sql_compile(filter_view(rows[i].sql), &sql, NULL), 0);
        cat_sql_print(sql, &out);
        assert_string_equal((char *)out.data, rows[i].printed);
        cat_sql_free(sql);
        chassis_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_errors_say_where),
        cmocka_unit_test(size_and_nesting_are_bounded),
        cmocka_unit_test(memory_and_work_of_an_evaluation_are_bounded),
        cmocka_unit_test(printing_keeps_only_the_parentheses_it_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
