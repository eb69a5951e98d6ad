/* CloudEvents SQL: a table of expressions with the value and the error the specification gives them,
 * section by section. */
#include "tests/test.h"

#include "tests/unit/catalyst_filter/filter_fixture.h"

/* Values as text: TRUE, 5, 'x'. */
struct row {
    const char *sql, *value;
    enum cat_sql_error error;
};
#define OK           CAT_SQL_OK
#define MATH         CAT_SQL_MATH
#define CAST         CAT_SQL_CAST
#define NO_ATTRIBUTE CAT_SQL_MISSING_ATTRIBUTE
#define NO_FUNCTION  CAT_SQL_MISSING_FUNCTION
#define FUNCTION     CAT_SQL_FUNCTION_EVALUATION

/* clang-format off: tables */
static const struct row literals[] = {
    {"TRUE", "TRUE", OK},
    {"fAlSe", "FALSE", OK},
    {"0", "0", OK},
    {"+7", "7", OK},
    {"-2147483648", "-2147483648", OK},
    {"2147483647", "2147483647", OK},
    {"007", "7", OK},
    {"'aBc'", "'aBc'", OK},
    {"\"AbC\"", "'AbC'", OK},
    {"''", "''", OK},
    {"'a\"b\\'c'", "'a\"b'c'", OK},
    {"\"a'b\\\"c\"", "'a'b\"c'", OK},
    {"'it''s'", "'it's'", OK},
    {"'a\\b'", "'a\\b'", OK},
    {"'a\\\\b'", "'a\\\\b'", OK},
    {" \t\r\n( ( TRUE ) )\n", "TRUE", OK},
    {"'\xe2\x82\xac'", "'\xe2\x82\xac'", OK},
};
static const struct row attributes[] = {
    {"id", "'id-1'", OK},
    {"source", "'https://example.com/shop'", OK},
    {"ID", "'id-1'", OK},
    {"type", "'com.example.order.created'", OK},
    {"specversion", "'1.0'", OK},
    {"subject", "'orders/42'", OK},
    {"mytrue", "TRUE", OK},
    {"myint", "10", OK},
    {"time", "'2018-04-26T12:48:09Z'", OK},
    {"raw", "'YWJj'", OK},
    {"link", "'urn:x:y'", OK},
    {"isdurable", "TRUE", OK},
    {"missing", "FALSE", NO_ATTRIBUTE},
    {"data", "FALSE", NO_ATTRIBUTE},
    {"EXISTS id AND EXISTS source AND EXISTS type AND EXISTS specversion", "TRUE", OK},
    {"EXISTS subject", "TRUE", OK},
    {"EXISTS SUBJECT", "TRUE", OK},
    {"EXISTS isDurable", "TRUE", OK},
    {"EXISTS missing", "FALSE", OK},
    {"NOT EXISTS missing", "TRUE", OK},
    {"EXISTS data", "FALSE", OK},
    {"EXISTS 0", "FALSE", OK},
    {"exists 9lives", "FALSE", OK},
};
static const struct row missing_attributes[] = {
    /* §3.2: the zero value of what uses them */
    {"missing = 2", "FALSE", NO_ATTRIBUTE},
    {"2 = missing", "FALSE", NO_ATTRIBUTE},
    {"missing != 2", "FALSE", NO_ATTRIBUTE},
    {"missing <> 2", "FALSE", NO_ATTRIBUTE},
    {"missing <= 2", "FALSE", NO_ATTRIBUTE},
    {"missing * 5", "0", NO_ATTRIBUTE},
    {"1 / missing", "0", NO_ATTRIBUTE},
    {"missing / 0", "0", NO_ATTRIBUTE},
    {"missing % 0", "0", NO_ATTRIBUTE},
    {"-missing", "0", NO_ATTRIBUTE},
    {"NOT missing", "FALSE", NO_ATTRIBUTE},
    {"true AND (missing = '')", "FALSE", NO_ATTRIBUTE},
    {"missing LIKE 'x'", "FALSE", NO_ATTRIBUTE},
    {"missing NOT LIKE 'x'", "FALSE", NO_ATTRIBUTE},
    {"missing IN (1)", "FALSE", NO_ATTRIBUTE},
    {"missing NOT IN (1)", "FALSE", NO_ATTRIBUTE},
    {"1 IN (2, missing)", "FALSE", NO_ATTRIBUTE},
    {"1 IN (1, missing)", "TRUE", OK},
    {"CONCAT('a', missing)", "''", NO_ATTRIBUTE},
    {"LENGTH(missing)", "0", NO_ATTRIBUTE},
    {"IS_INT(missing)", "FALSE", NO_ATTRIBUTE},
    {"missing OR TRUE", "FALSE", NO_ATTRIBUTE},
    {"missing XOR TRUE", "FALSE", NO_ATTRIBUTE},
    {"TRUE XOR missing", "FALSE", NO_ATTRIBUTE},
    {"EXISTS missing AND missing = 2", "FALSE", OK},
};
static const struct row logic[] = {
    {"FALSE AND FALSE", "FALSE", OK},
    {"FALSE AND TRUE", "FALSE", OK},
    {"TRUE AND FALSE", "FALSE", OK},
    {"TRUE AND TRUE", "TRUE", OK},
    {"FALSE OR FALSE", "FALSE", OK},
    {"FALSE OR TRUE", "TRUE", OK},
    {"TRUE OR FALSE", "TRUE", OK},
    {"TRUE OR TRUE", "TRUE", OK},
    {"FALSE XOR FALSE", "FALSE", OK},
    {"FALSE XOR TRUE", "TRUE", OK},
    {"TRUE XOR FALSE", "TRUE", OK},
    {"TRUE XOR TRUE", "FALSE", OK},
    {"false and (1 != 1 / 0)", "FALSE", OK},
    {"true and (1 != 1 / 0)", "FALSE", MATH},
    {"true or (1 != 1 / 0)", "TRUE", OK},
    {"false or (1 != 1 / 0)", "FALSE", MATH},
    {"true xor (1 = 1 / 0)", "FALSE", MATH},
    {"NOT TRUE", "FALSE", OK},
    {"NOT FALSE", "TRUE", OK},
    {"NOT 'TRUE'", "FALSE", OK},
    {"NOT 'False'", "TRUE", OK},
    {"NOT 10", "FALSE", OK},
    {"NOT 0", "TRUE", OK},
    {"NOT 'abc'", "FALSE", CAST},
    {"NOT NOT TRUE", "TRUE", OK},
    {"NOT(TRUE)", "FALSE", OK},
    {"'true' AND 1", "TRUE", OK},
    {"'yes' AND TRUE", "FALSE", CAST},
    {"'' OR TRUE", "FALSE", CAST},
    /* one level, from left to right */
    {"TRUE OR TRUE AND FALSE", "FALSE", OK},
    {"FALSE AND TRUE OR TRUE", "TRUE", OK},
    {"TRUE XOR TRUE OR TRUE", "TRUE", OK},
    {"TRUE OR FALSE XOR TRUE", "FALSE", OK},
    {"NOT FALSE AND FALSE", "FALSE", OK},
    {"NOT TRUE = FALSE", "TRUE", OK},
};
static const struct row comparison[] = {
    {"TRUE = FALSE", "FALSE", OK},
    {"FALSE = FALSE", "TRUE", OK},
    {"1 = 2", "FALSE", OK},
    {"2 = 2", "TRUE", OK},
    {"'abc' = '123'", "FALSE", OK},
    {"'abc' = 'abc'", "TRUE", OK},
    {"'abc' = 'ABC'", "FALSE", OK},
    {"TRUE != FALSE", "TRUE", OK},
    {"1 <> 1", "FALSE", OK},
    {"'a' <> 'b'", "TRUE", OK},
    {"2 <= 2", "TRUE", OK},
    {"3 <= 2", "FALSE", OK},
    {"1 < 2", "TRUE", OK},
    {"2 < 2", "FALSE", OK},
    {"2 >= 2", "TRUE", OK},
    {"2 >= 3", "FALSE", OK},
    {"2 > 1", "TRUE", OK},
    {"2 > 2", "FALSE", OK},
    {"-1 < +1", "TRUE", OK},
    /* the right operand's type counts */
    {"true = 'TRUE'", "FALSE", OK},
    {"'TRUE' = true", "TRUE", OK},
    {"TRUE = 'true'", "TRUE", OK},
    {"5 = '5'", "TRUE", OK},
    {"'05' = 5", "TRUE", OK},
    {"5 = '05'", "FALSE", OK},
    {"TRUE = 1", "TRUE", OK},
    {"2 = TRUE", "TRUE", OK},
    {"'x' = 1", "FALSE", CAST},
    {"'x' != 1", "FALSE", CAST},
    {"sequence = 5", "TRUE", OK},
    {"sequence = 6", "FALSE", OK},
    {"sequence = '5'", "TRUE", OK},
    {"hop < ttl", "TRUE", OK},
    {"'a' < 'b'", "FALSE", CAST},
    {"TRUE > FALSE", "TRUE", OK},
    {"INT(hop) < int(ttl) and int(hop) < 1000", "TRUE", OK},
    {"1 + 1 = 2", "TRUE", OK},
    {"1 < 2 = TRUE", "TRUE", OK},
    {"1=1", "TRUE", OK},
    {"TRUE = \"true\" AND FALSE = \"false\"", "TRUE", OK},
    {"TRUE = \"TRUE\" OR FALSE = \"FALSE\"", "FALSE", OK},
    {"firstname = 'Francesco' OR subject = 'orders/42'", "TRUE", OK},
};
static const struct row arithmetic[] = {
    {"4 * 2 + 4 / 2", "10", OK},
    {"4 * (2 + 4) / 2", "12", OK},
    {"5 / 3", "1", OK},
    {"-5 / 3", "-1", OK},
    {"5 % 2", "1", OK},
    {"-5 % 2", "-1", OK},
    {"5 % -2", "1", OK},
    {"5 / 0", "0", MATH},
    {"5 % 0", "0", MATH},
    {"4 + -1", "3", OK},
    {"4 - 1", "3", OK},
    {"4 -1", "3", OK},
    {"4-1", "3", OK},
    {"-4 - 1", "-5", OK},
    {"4 - -1", "5", OK},
    {"10 - 3 - 2", "5", OK},
    {"'5' + 3", "8", OK},
    {"5 + '3'", "8", OK},
    {"'+5' + '-3'", "2", OK},
    {"5 + TRUE", "6", OK},
    {"5 + 'x'", "0", CAST},
    {"2147483647 + 1", "0", MATH},
    {"-2147483648 - 1", "0", MATH},
    {"65536 * 65536", "0", MATH},
    {"-2147483648 / -1", "0", MATH},
    {"-2147483648 % -1", "0", OK},
    {"-10", "-10", OK},
    {"--10", "10", OK},
    {"- 10", "-10", OK},
    {"-'10'", "-10", OK},
    {"--'10'", "10", OK},
    {"-TRUE", "-1", OK},
    {"-low", "0", MATH},
    {"-'x'", "0", CAST},
    {"-(2147483647)", "-2147483647", OK},
    {"myint * 2", "20", OK},
    {"(1 / 0) + 1", "0", MATH},
};
static const struct row like[] = {
    {"'abc' LIKE 'abc'", "TRUE", OK},
    {"'ab\\c' LIKE 'ab\\c'", "TRUE", OK},
    {"'abc' NOT LIKE 'abc'", "FALSE", OK},
    {"'azzzbzzzc' LIKE 'a%b%c'", "TRUE", OK},
    {"'abc' LIKE 'a%b%c'", "TRUE", OK},
    {"'ac' LIKE 'abc'", "FALSE", OK},
    {"'' LIKE 'abc'", "FALSE", OK},
    {"'' LIKE ''", "TRUE", OK},
    {"'' LIKE '%%'", "TRUE", OK},
    {"'a' LIKE ''", "FALSE", OK},
    {"'.ab.cde.' LIKE '.%.%.'", "TRUE", OK},
    {"'ab.cde' LIKE '.%.%.'", "FALSE", OK},
    {"'abc' LIKE 'a_b_c'", "FALSE", OK},
    {"'azbzc' LIKE 'a_b_c'", "TRUE", OK},
    {"'a_b_c' LIKE 'a\\_b\\_c'", "TRUE", OK},
    {"'azbzc' LIKE 'a\\_b\\_c'", "FALSE", OK},
    {"'a%b' LIKE 'a\\%b'", "TRUE", OK},
    {"'axb' LIKE 'a\\%b'", "FALSE", OK},
    {"odd LIKE '100\\%\\_\\done'", "TRUE", OK},
    {"odd LIKE '%\\d%'", "TRUE", OK},
    {"234 LIKE '23_'", "TRUE", OK},
    {"2344 LIKE '23%'", "TRUE", OK},
    {"2344 LIKE '23_'", "FALSE", OK},
    {"TRUE LIKE 'tr%'", "TRUE", OK},
    {"FALSE LIKE 'tr%'", "FALSE", OK},
    {"'aBc' LIKE 'abc'", "FALSE", OK},
    {"firstname LIKE 'Fran_ois'", "TRUE", OK},
    {"'\xe2\x82\xac' LIKE '_'", "TRUE", OK},
    {"'\xe2\x82\xac' LIKE '__'", "FALSE", OK},
    {"'x\xe2\x82\xacy' LIKE '%_y'", "TRUE", OK},
    {"source like 'https://%' and type LIKE '%.created'", "TRUE", OK},
    {"'aab' LIKE '%ab'", "TRUE", OK},
    {"'mississippi' LIKE '%issip%i'", "TRUE", OK},
    {"'it''s' LIKE 'it''_'", "TRUE", OK},
    {"1 + '2' LIKE '2'", "2", OK}, /* LIKE first: 1 + TRUE */
};
static const struct row in[] = {
    {"123 IN (1, 2, 123)", "TRUE", OK},
    {"123 NOT IN (1, 2, 123)", "FALSE", OK},
    {"'abc' IN ('abc', \"bcd\")", "TRUE", OK},
    {"'aaa' IN ('abc', \"bcd\")", "FALSE", OK},
    {"TRUE IN (TRUE, FALSE)", "TRUE", OK},
    {"TRUE IN (FALSE)", "FALSE", OK},
    {"source IN (id, 'https://example.com/shop')", "TRUE", OK},
    {"source IN (source)", "TRUE", OK},
    {"source IN (id, 'xyz')", "FALSE", OK},
    {"'true' IN (TRUE, 'false')", "TRUE", OK},
    {"'true' IN ('TRUE', 'false')", "FALSE", OK},
    {"TRUE IN ('true', 'false')", "TRUE", OK},
    {"'TRUE' IN (TRUE, 'false')", "FALSE", OK},
    {"1 IN ('1', '2')", "TRUE", OK},
    {"'1' IN (1, 2)", "TRUE", OK},
    {"1 IN ('x', 1)", "FALSE", CAST},
    {"1 IN (1, 'x')", "TRUE", OK},
    {"3 IN (1 + 1, 1 + 2)", "TRUE", OK},
    {"2 * 1 IN (1)", "2", OK},
    {"1 NOT IN (2) AND 2 NOT IN (1)", "TRUE", OK},
};
static const struct row functions[] = {
    {"INT('1')", "1", OK},
    {"INT('-1')", "-1", OK},
    {"INT(1)", "1", OK},
    {"INT(TRUE)", "1", OK},
    {"INT('ABC')", "0", CAST},
    {"INT('')", "0", CAST},
    {"INT('+')", "0", CAST},
    {"INT(' 1')", "0", CAST},
    {"INT('2147483648')", "0", CAST},
    {"INT('-2147483648')", "-2147483648", OK},
    {"INT('99999999999999999999')", "0", CAST},
    {"INT('0000000000000000000001')", "1", OK},
    {"BOOL('TRUE')", "TRUE", OK},
    {"BOOL(\"false\")", "FALSE", OK},
    {"BOOL('ABC')", "FALSE", CAST},
    {"BOOL(100)", "TRUE", OK},
    {"BOOL(0)", "FALSE", OK},
    {"BOOL(-50)", "TRUE", OK},
    {"STRING(TRUE)", "'true'", OK},
    {"STRING(-1)", "'-1'", OK},
    {"STRING(low)", "'-2147483648'", OK},
    {"STRING('abc')", "'abc'", OK},
    {"IS_INT('12')", "TRUE", OK},
    {"IS_INT('x')", "FALSE", OK},
    {"IS_INT(TRUE)", "TRUE", OK},
    {"IS_BOOL('TRUE')", "TRUE", OK},
    {"is_bool('x')", "FALSE", OK},
    {"ABS(10)", "10", OK},
    {"ABS(-10)", "10", OK},
    {"ABS(0)", "0", OK},
    {"ABS(-2147483648)", "2147483647", MATH},
    {"ABS('-3')", "3", OK},
    {"ABS('x')", "0", CAST},
    {"LENGTH('abc')", "3", OK},
    {"LENGTH('')", "0", OK},
    {"LENGTH(TRUE)", "4", OK},
    {"LENGTH(firstname)", "8", OK},
    {"LENGTH('\xf0\x9f\x98\x80')", "1", OK},
    {"CONCAT('a', 'b', 'c')", "'abc'", OK},
    {"CONCAT()", "''", OK},
    {"CONCAT(1, TRUE)", "'1true'", OK},
    {"CONCAT_WS(',', 'a', 'b', 'c')", "'a,b,c'", OK},
    {"CONCAT_WS(',')", "''", OK},
    {"CONCAT_WS(',', 'a')", "'a'", OK},
    {"CONCAT_WS(0, '', '')", "'0'", OK},
    {"CONCAT_WS()", "FALSE", NO_FUNCTION},
    {"CONCAT_WS(1/0, 'a')", "''", MATH},
    {"LOWER('AbC')", "'abc'", OK},
    {"UPPER('AbC')", "'ABC'", OK},
    {"UPPER(firstname)", "'FRAN\xc3\x87OIS'", OK},
    {"LOWER('\xc3\x84\xd0\x96\xce\xa9')", "'\xc3\xa4\xd0\xb6\xcf\x89'", OK},
    {"LOWER('\xe2\x84\xaa')", "'k'", OK},
    {"UPPER('\xc9\x90')", "'\xe2\xb1\xaf'", OK},
    {"UPPER('\xc3\x9f')", "'\xc3\x9f'", OK},
    {"UPPER('\xc4\x81\xc4\x80')", "'\xc4\x80\xc4\x80'", OK},
    {"LOWER('\xc4\x81\xc4\x80')", "'\xc4\x81\xc4\x81'", OK},
    {"TRIM('   a b c   ')", "'a b c'", OK},
    {"TRIM('a b c')", "'a b c'", OK},
    {"TRIM('  ')", "''", OK},
    {"TRIM('\xe3\x80\x80x\xc2\xa0')", "'x'", OK},
    {"TRIM('\t\nx\x01')", "'x\x01'", OK},
    {"TRIM(blank)", "''", OK},
    {"LEFT('abc', 2)", "'ab'", OK},
    {"LEFT('abc', 10)", "'abc'", OK},
    {"LEFT('', 0)", "''", OK},
    {"LEFT('abc', -2)", "'abc'", FUNCTION},
    {"LEFT(firstname, 5)", "'Fran\xc3\xa7'", OK},
    {"RIGHT('abc', 2)", "'bc'", OK},
    {"RIGHT('abc', 10)", "'abc'", OK},
    {"RIGHT('abc', 0)", "''", OK},
    {"RIGHT('abc', -2)", "'abc'", FUNCTION},
    {"RIGHT(firstname, 4)", "'\xc3\xa7ois'", OK},
    {"SUBSTRING('abcdef', 1)", "'abcdef'", OK},
    {"SUBSTRING('Quadratically', 5)", "'ratically'", OK},
    {"SUBSTRING('Sakila', -3)", "'ila'", OK},
    {"SUBSTRING('abcdef', 2, 4)", "'bcde'", OK},
    {"SUBSTRING('Sakila', -5, 3)", "'aki'", OK},
    {"SUBSTRING('abc', 0)", "''", OK},
    {"SUBSTRING('abc', 0, 1)", "''", OK},
    {"SUBSTRING('abc', 3, 99)", "'c'", OK},
    {"SUBSTRING('abc', 4)", "''", FUNCTION},
    {"SUBSTRING('abc', -4)", "''", FUNCTION},
    {"SUBSTRING('abc', 10, 1)", "''", FUNCTION},
    {"SUBSTRING('abc', 1, -1)", "''", FUNCTION},
    {"SUBSTRING('abc', -3, 1)", "'a'", OK},
    {"SUBSTRING(firstname, 5, 1)", "'\xc3\xa7'", OK},
    {"SUBSTRING('', 0)", "''", OK},
    {"SUBSTRING(12345, '2', TRUE)", "'2'", OK},
    {"NOSUCH(1)", "FALSE", NO_FUNCTION},
    {"ABS()", "FALSE", NO_FUNCTION},
    {"ABS(1, 2)", "FALSE", NO_FUNCTION},
    {"TRUE OR NOSUCH()", "TRUE", OK},
    {"1 + NOSUCH()", "0", NO_FUNCTION},
    {"LEFT ('ab' , 1)", "'a'", OK},
    {"STRING(LENGTH(CONCAT(hop, ttl)) * 2)", "'6'", OK},
};
/* clang-format on */

static void show(const struct cat_sql_value *value, char out[256])
{
    switch (value->type) {
    case CAT_SQL_BOOLEAN:
        snprintf(out, 256, "%s", value->boolean ? "TRUE" : "FALSE");
        break;
    case CAT_SQL_INTEGER:
        snprintf(out, 256, "%d", (int)value->integer);
        break;
    case CAT_SQL_STRING:
        snprintf(out, 256, "'%.*s'", CHASSIS_VIEW_ARG(value->string));
        break;
    }
}

static void evaluates(struct filter_fixture *f, const struct row *row, struct chassis_view text)
{
    struct chassis_error err = {0};
    struct cat_sql *sql;
    struct cat_sql_value value;
    char shown[256];
    if (cat_sql_compile(text, &sql, &err) != 0) {
        fail_msg("%.*s: %s", CHASSIS_VIEW_ARG(text), err.text);
    }
    enum cat_sql_error error = cat_sql_evaluate(sql, &f->event, &f->scratch, &value);
    show(&value, shown);
    if (error != row->error || strcmp(shown, row->value) != 0) {
        fail_msg("%.*s is %s (%s), not %s (%s)", CHASSIS_VIEW_ARG(text), shown,
                 cat_sql_error_name(error), row->value, cat_sql_error_name(row->error));
    }
    assert_int_equal(cat_sql_missing_function(sql) != NULL,
                     strstr(row->sql, "NOSUCH") != NULL || row->error == NO_FUNCTION);
    cat_sql_free(sql);
}

static void run(const struct row *rows, size_t count)
{
    struct filter_fixture f;
    filter_fixture_init(&f);
    for (size_t i = 0; i < count; i++) {
        struct chassis_buf once = {0}, twice = {0};
        struct cat_sql *sql;
        evaluates(&f, &rows[i], filter_view(rows[i].sql));
        /* printed, it is the same, and prints the same */
        assert_int_equal(cat_sql_compile(filter_view(rows[i].sql), &sql, NULL), 0);
        cat_sql_print(sql, &once);
        cat_sql_free(sql);
        evaluates(&f, &rows[i], chassis_buf_view(&once));
        assert_int_equal(cat_sql_compile(chassis_buf_view(&once), &sql, NULL), 0);
        cat_sql_print(sql, &twice);
        cat_sql_free(sql);
        assert_string_equal((char *)once.data, (char *)twice.data);
        chassis_buf_fini(&once);
        chassis_buf_fini(&twice);
    }
    filter_fixture_fini(&f);
}
#define RUN(rows) run(rows, sizeof(rows) / sizeof(rows)[0])

static void literals_are_themselves(void **state)
{
    RUN(literals);
}
static void attributes_are_found_by_name(void **state)
{
    RUN(attributes);
}
static void what_is_missing_gives_the_zero_of_its_use(void **state)
{
    RUN(missing_attributes);
}
static void logic_cuts_short_and_goes_left_to_right(void **state)
{
    RUN(logic);
}
static void comparison_casts_to_the_right_type(void **state)
{
    RUN(comparison);
}
static void arithmetic_stays_within_32_bits(void **state)
{
    RUN(arithmetic);
}
static void like_knows_wildcards_and_escapes(void **state)
{
    RUN(like);
}
static void in_casts_to_the_left_type(void **state)
{
    RUN(in);
}
static void functions_do_what_the_specification_says(void **state)
{
    RUN(functions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_are_themselves),
        cmocka_unit_test(attributes_are_found_by_name),
        cmocka_unit_test(what_is_missing_gives_the_zero_of_its_use),
        cmocka_unit_test(logic_cuts_short_and_goes_left_to_right),
        cmocka_unit_test(comparison_casts_to_the_right_type),
        cmocka_unit_test(arithmetic_stays_within_32_bits),
        cmocka_unit_test(like_knows_wildcards_and_escapes),
        cmocka_unit_test(in_casts_to_the_left_type),
        cmocka_unit_test(functions_do_what_the_specification_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
