/* Results as table, JSON and YAML; JSON read back; values as people write them. */
#include "run.h"

#include "output.h"
#include "value.h"

static struct dctl d;

static int make(void **state)
{
    d = (struct dctl){.command = &dctl_commands[0]};
    chassis_arena_init(&d.arena, NULL, 0, 0);
    return 0;
}
static int drop(void **state)
{
    chassis_arena_fini(&d.arena);
    return 0;
}

static char *printed(enum dctl_format format, const struct dctl_node *node,
                     const struct dctl_column *columns)
{
    char *text;
    size_t len;
    d.format = format;
    d.out = open_memstream(&text, &len);
    dctl_print(&d, node, columns);
    fclose(d.out);
    return text;
}

static void check(enum dctl_format format, const struct dctl_node *node,
                  const struct dctl_column *columns, const char *expected)
{
    char *text = printed(format, node, columns);
    assert_string_equal(text, expected);
    free(text);
}

static struct dctl_node *two_rows(void)
{
    struct dctl_node *list = dctl_list(&d.arena);
    struct dctl_node *row = dctl_add(list, NULL, dctl_map(&d.arena));
    dctl_add_text(&d.arena, row, "key", "straße");
    dctl_add_u64(&d.arena, row, "revision", 18446744073709551615U);
    dctl_add_text(&d.arena, row, "value", "a\nb\"c");
    row = dctl_add(list, NULL, dctl_map(&d.arena));
    dctl_add_text(&d.arena, row, "key", "b");
    dctl_add_u64(&d.arena, row, "revision", 7);
    dctl_add_text(&d.arena, row, "value", NULL);
    return list;
}

static void a_table_lines_up_and_stays_on_its_lines(void **state)
{
    static const struct dctl_column columns[] = {
        {"KEY", "key", 0}, {"REVISION", "revision", 0}, {"VALUE", "value", 0}, {0}};
    check(DCTL_TABLE, two_rows(), columns,
          "KEY     REVISION              VALUE\n"
          "straße  18446744073709551615  a\\x0ab\"c\n"
          "b       7                     -\n");
}

static void json_is_escaped_and_keeps_numbers(void **state)
{
    check(DCTL_JSON, two_rows(), NULL,
          "[\n  {\n    \"key\": \"straße\",\n    \"revision\": 18446744073709551615,\n"
          "    \"value\": \"a\\nb\\\"c\"\n  },\n  {\n    \"key\": \"b\",\n    \"revision\": 7,\n"
          "    \"value\": null\n  }\n]\n");
    check(DCTL_JSON, dctl_list(&d.arena), NULL, "[]\n");
}

static void yaml_quotes_what_could_be_something_else(void **state)
{
    struct dctl_node *map = dctl_map(&d.arena);
    dctl_add_text(&d.arena, map, "truth", "true");
    dctl_add_bool(&d.arena, map, "flag", true);
    dctl_add_text(&d.arena, map, "number", "12");
    dctl_add_u64(&d.arena, map, "count", 12);
    char *text = printed(DCTL_YAML, map, NULL);
    assert_contains(text, "flag: true\n");
    assert_contains(text, "count: 12\n");
    assert_null(strstr(text, "truth: true\n"));
    assert_null(strstr(text, "number: 12\n"));
    free(text);
}

static void json_read_back_is_the_same(void **state)
{
    static const char *const same[] = {
        "{\"a\":[1,-2.5e10,true,false,null],\"b\":{\"c\":\"x\\ny\"},\"empty\":{},\"none\":[]}",
        "\"\\u0001\\\"\\\\\"",
        "18446744073709551615",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct chassis_buf out = {0};
        struct dctl_node *node;
        assert_int_equal(dctl_json_parse(&d.arena, chassis_view_str(same[i]), &node, NULL), 0);
        dctl_write_json(node, -1, &out);
        assert_string_equal((const char *)out.data, same[i]);
        chassis_buf_fini(&out);
    }
}

static void json_escapes_become_utf8(void **state)
{
    struct dctl_node *node;
    struct chassis_view json = chassis_view_str("\"\\u00e4\\u20ac\\ud83d\\ude00\\/\"");
    assert_int_equal(dctl_json_parse(&d.arena, json, &node, NULL), 0);
    assert_string_equal((const char *)node->text.data, "ä€😀/");
}

static void bad_json_is_refused_and_the_place_named(void **state)
{
    static const char *const bad[] = {
        "",         "{",    "[1,",         "{\"a\" 1}", "\"x",     "tru",      "1 2",
        "{\"a\":}", "[1]]", "\"\\ud800\"", "\"\\u12\"", "\"\\q\"", "\"a\nb\"", "{a:1}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct dctl_node *node = NULL;
        struct chassis_error err = {0};
        assert_int_equal(dctl_json_parse(&d.arena, chassis_view_str(bad[i]), &node, &err),
                         CHASSIS_MALFORMED);
        assert_contains(err.text, "JSON, byte ");
        assert_null(node);
    }
}

static void json_nested_too_deep_is_refused(void **state)
{
    char deep[201];
    struct dctl_node *node;
    struct chassis_error err = {0};
    memset(deep, '[', 200);
    deep[200] = '\0';
    assert_int_equal(dctl_json_parse(&d.arena, chassis_view_str(deep), &node, &err),
                     CHASSIS_MALFORMED);
    assert_contains(err.text, "64");
}

static void a_text_value_comes_back_as_text(void **state)
{
    Google__Protobuf__Any *any;
    struct chassis_error err = {0};
    struct dctl_node *map = dctl_map(&d.arena);
    assert_int_equal(dctl_value_parse(&d, chassis_view_str("hello"), &any, &err), 0);
    assert_string_equal(any->type_url, "type.googleapis.com/core.registry.key_value.v1.Value");
    dctl_add_any(&d, map, "value", any);
    check(DCTL_JSON, map, NULL, "{\n  \"value\": \"hello\"\n}\n");
    assert_int_not_equal(dctl_value_parse(&d, chassis_view("a\0b", 3), &any, &err), 0);
    assert_contains(err.text, "zero byte");
}

static void a_message_value_is_written_as_json_and_comes_back_as_json(void **state)
{
    static const struct dctl_option type = {.name = "type", .value = DCTL_STRING, .arg = "TYPE"};
    Google__Protobuf__Any *any;
    struct chassis_error err = {0};
    struct dctl_node *map = dctl_map(&d.arena);
    d.given[d.n_given++] = (struct dctl_given){&type, "examples.crud.v1.Name"};
    assert_int_equal(dctl_value_parse(&d, chassis_view_str("{\"firstName\":\"Ada\"}"), &any, &err),
                     0);
    assert_string_equal(any->type_url, "type.googleapis.com/examples.crud.v1.Name");
    dctl_add_any(&d, map, "value", any);
    check(DCTL_JSON, map, NULL, "{\n  \"value\": {\n    \"firstName\": \"Ada\"\n  }\n}\n");
    assert_int_not_equal(dctl_value_parse(&d, chassis_view_str("{\"nope\":1}"), &any, &err), 0);
    d.given[0].value = "no.such.Type";
    assert_int_not_equal(dctl_value_parse(&d, chassis_view_str("{}"), &any, &err), 0);
    assert_contains(err.text, "no.such.Type");
}

static void a_value_of_unknown_type_is_shown_not_hidden(void **state)
{
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    struct dctl_node *map = dctl_map(&d.arena);
    any.type_url = (char *)(uintptr_t) "type.googleapis.com/no.such.Type";
    any.value.data = (uint8_t *)(uintptr_t) "abc";
    any.value.len = 3;
    dctl_add_any(&d, map, "value", &any);
    char *text = printed(DCTL_JSON, map, NULL);
    assert_contains(text, "\"@type\": \"type.googleapis.com/no.such.Type\"");
    assert_contains(text, "YWJj");
    free(text);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_table_lines_up_and_stays_on_its_lines),
        TEST(json_is_escaped_and_keeps_numbers),
        TEST(yaml_quotes_what_could_be_something_else),
        TEST(json_read_back_is_the_same),
        TEST(json_escapes_become_utf8),
        TEST(bad_json_is_refused_and_the_place_named),
        TEST(json_nested_too_deep_is_refused),
        TEST(a_text_value_comes_back_as_text),
        TEST(a_message_value_is_written_as_json_and_comes_back_as_json),
        TEST(a_value_of_unknown_type_is_shown_not_hidden),
    };
    return cmocka_run_group_tests_name("dctl_output", tests, NULL, NULL);
}
