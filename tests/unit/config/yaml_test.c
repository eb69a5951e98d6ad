#include "tests/test.h"

#include "config/yaml.h"

static struct chassis_yaml *parse(const char *text)
{
    struct chassis_yaml *yaml = NULL;
    struct chassis_error err = {0};
    if (chassis_yaml_parse(chassis_view_str(text), "t", &yaml, &err) != 0) {
        fail_msg("%s in: %s", err.text, text);
    }
    return yaml;
}

static void a_file_becomes_a_tree_with_lines(void **state)
{
    struct chassis_yaml *yaml = parse("name: demo\nprocesses:\n  - name: a\n    after: [b, 'c']\n"
                                      "  - {name: d}\nnothing: ~\ntext: '~'\n");
    const struct chassis_yaml_node *root = chassis_yaml_root(yaml);
    assert_string_equal(chassis_yaml_text(root, "name", "?"), "demo");
    assert_string_equal(chassis_yaml_text(root, "absent", "?"), "?");
    assert_string_equal(chassis_yaml_text(root, "nothing", "?"), "?");
    assert_string_equal(chassis_yaml_text(root, "text", "?"), "~");
    const struct chassis_yaml_node *processes = chassis_yaml_get(root, "processes");
    assert_int_equal(processes->kind, CHASSIS_YAML_SEQUENCE);
    assert_int_equal(processes->n, 2);
    assert_int_equal(processes->first->line, 3);
    const struct chassis_yaml_node *after = chassis_yaml_get(processes->first, "after");
    assert_string_equal(after->last->text, "c");
    assert_int_equal(after->line, 4);
    assert_null(chassis_yaml_get(after, "x"));
    chassis_yaml_free(yaml);
    yaml = parse("# only a comment\n");
    assert_null(chassis_yaml_root(yaml));
    chassis_yaml_free(yaml);
}

static void what_is_dangerous_or_ambiguous_is_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"a: &x 1\nb: *x\n", "t:1: anchors"},
        {"a: *x\n", "t:1: aliases"},
        {"a: !!str 1\n", "t:1: anchors and tags"},
        {"a: 1\nb: 2\na: 3\n", "t:3: duplicate key 'a', first on line 1"},
        {"? [a]\n: 1\n", "t:1: a key must be a plain text"},
        {"a: 1\n---\nb: 1\n", "t:2: more than one document"},
        {"a: \"x\\0y\"\n", "t:1: a text with a NUL"},
        {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "t:1: nested deeper than 16"},
        {"a: b: c\n", "t:1: "},
        {"a:\n\t- b\n", "t:2: "},
        {"a: \xff\n", "t: byte 3: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct chassis_yaml *yaml = NULL;
        struct chassis_error err = {0};
        int rc = chassis_yaml_parse(chassis_view_str(cases[i].text), "t", &yaml, &err);
        assert_int_equal(rc, CHASSIS_MALFORMED);
        assert_null(yaml);
        if (strstr(err.text, cases[i].why) != err.text) {
            fail_msg("'%s' instead of '%s'", err.text, cases[i].why);
        }
    }
}

static void limits_hold(void **state)
{
    struct chassis_yaml *yaml = NULL;
    struct chassis_error err = {0};
    struct chassis_buf text = {0};
    for (int i = 0; i < 5000; i++) {
        chassis_buf_printf(&text, "k%d: 1\n", i);
    }
    assert_int_equal(chassis_yaml_parse(chassis_buf_view(&text), "t", &yaml, &err),
                     CHASSIS_MALFORMED);
    assert_string_equal(err.text, "t:4097: more than 4096 keys in one map");
    chassis_buf_clear(&text);
    for (int i = 0; i < 150000; i++) {
        chassis_buf_append_str(&text, "- 1\n");
    }
    assert_int_equal(chassis_yaml_parse(chassis_buf_view(&text), "t", &yaml, &err),
                     CHASSIS_MALFORMED);
    while (text.len <= CHASSIS_YAML_FILE_MAX) {
        chassis_buf_append_str(&text, "# comment\n");
    }
    assert_int_equal(chassis_yaml_parse(chassis_buf_view(&text), "t", &yaml, &err),
                     CHASSIS_TOO_LARGE);
    chassis_buf_fini(&text);
    assert_true(chassis_yaml_load("/", &yaml, &err) < 0);
}

static void what_is_printed_reads_back_the_same(void **state)
{
    static const char *const texts[] = {
        "plain",
        "with space",
        "",
        "~",
        "null",
        "true",
        "Yes",
        "12",
        "0x1f",
        "1e3",
        "-",
        "- a",
        "a: b",
        "a #b",
        "a#b",
        "#",
        "\"",
        "\\",
        "line\nline",
        "tab\t",
        " lead",
        "trail ",
        "é",
        "\xf0\x9f\x98\x80",
        "http://h:1/x?y=z",
        "a:",
        "*x",
        "&x",
        "!t",
        "%d",
        "@x",
        "`",
        "{",
        "[",
        "a,b",
        "\x1b[1m",
        "\xc2\x85",
        "\xe2\x80\xa8",
        "2026-01-01",
        "/path/x",
        "=",
        "<<",
        ".5",
        "'",
        "?",
        "|",
        ">",
        "\xef\xbb\xbf",
        "---",
        "...",
    };
    struct chassis_yaml *yaml = chassis_yaml_new();
    struct chassis_yaml_node *root = chassis_yaml_map(yaml);
    struct chassis_yaml_node *list = chassis_yaml_sequence(yaml);
    struct chassis_yaml_node *map = chassis_yaml_map(yaml);
    size_t n = sizeof texts / sizeof texts[0];
    for (size_t i = 0; i < n; i++) {
        chassis_yaml_add(list, chassis_yaml_string(yaml, texts[i]));
        if (texts[i][0] != '\0') {
            chassis_yaml_put(yaml, map, texts[i], chassis_yaml_string(yaml, texts[i]));
        }
    }
    struct chassis_yaml_node *nested = chassis_yaml_sequence(yaml);
    chassis_yaml_add(nested, list);
    chassis_yaml_add(nested, map);
    chassis_yaml_add(nested, chassis_yaml_map(yaml));
    chassis_yaml_put(yaml, root, "nested", nested);
    chassis_yaml_put(yaml, root, "number", chassis_yaml_plain(yaml, "12"));
    chassis_yaml_put(yaml, root, "none", chassis_yaml_string(yaml, NULL));
    chassis_yaml_put(yaml, root, "empty", chassis_yaml_sequence(yaml));
    chassis_yaml_set_root(yaml, root);
    struct chassis_buf out = {0}, again = {0};
    chassis_yaml_emit(chassis_yaml_root(yaml), &out);
    assert_non_null(strstr((char *)out.data, "\nnumber: 12\nnone: null\nempty: []\n"));
    struct chassis_yaml *back = parse((char *)out.data);
    const struct chassis_yaml_node *seq =
        chassis_yaml_get(chassis_yaml_root(back), "nested")->first;
    const struct chassis_yaml_node *item = seq->first;
    for (size_t i = 0; i < n; i++, item = item->next) {
        assert_string_equal(item->text, texts[i]);
        if (texts[i][0] != '\0') {
            assert_string_equal(chassis_yaml_text(seq->next, texts[i], "?"), texts[i]);
        }
    }
    chassis_yaml_emit(chassis_yaml_root(back), &again);
    assert_string_equal((char *)again.data, (char *)out.data);
    chassis_buf_fini(&out);
    chassis_buf_fini(&again);
    chassis_yaml_free(back);
    chassis_yaml_free(yaml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_becomes_a_tree_with_lines),
        cmocka_unit_test(what_is_dangerous_or_ambiguous_is_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(what_is_printed_reads_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
