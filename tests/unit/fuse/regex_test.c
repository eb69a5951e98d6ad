/* Regular expressions: what is taken, what is refused and why, what matches. */
#include "fuse/control_plane/pattern.h"
#include "fuse/control_plane/regex.h"
#include "test.h"

static struct fuse_regex *compile(const char *pattern)
{
    struct fuse_regex *regex = NULL;
    struct chassis_error err = {0};
    if (fuse_regex_new(pattern, &regex, &err) != 0) {
        fail_msg("'%s' is refused: %s", pattern, chassis_error_text(&err));
    }
    return regex;
}

static void what_all_proxies_read_alike_is_taken(void **state)
{
    static const char *const taken[] = {"/",
                                        "/api/.*",
                                        "/v[0-9]+/users/[^/]+",
                                        "(a|b)*c",
                                        "(?:ab)?",
                                        "(?i)/API/.*",
                                        "(?i:x)y",
                                        "(?-s:x)",
                                        "(?imsU)a",
                                        "a{3}",
                                        "a{3,}",
                                        "a{3,5}?",
                                        "a*?b+?c??",
                                        "[a-z0-9_-]+",
                                        "[-a]",
                                        "[^-]",
                                        "[\\]\\[\\\\\\-]",
                                        "[[:alpha:]]+",
                                        "[[:^space:]x]",
                                        "\\d\\w\\s\\D\\W\\S",
                                        "\\bx\\b",
                                        "\\Ax\\z",
                                        "^a$",
                                        "\\x41",
                                        "\\.\\*\\+\\?\\(\\)\\{\\}\\|\\^\\$",
                                        "a||b",
                                        "()",
                                        "(|a)",
                                        "a}",
                                        "[.|*$(){}?+^]",
                                        "a{0}",
                                        "(a{10}){100}",
                                        "[\\d.]",
                                        "\\t",
                                        "\\#\\/\\ \\\"",
                                        "(((a)))",
                                        "[a-c-]",
                                        "\"' %\\[x # $y"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        fuse_regex_free(compile(taken[i]));
    }
}

static const struct {
    const char *pattern, *text;
} refused[] = {
    {"", "has 0 bytes"},
    {"(?=a)", "look-around"},
    {"(?!a)", "look-around"},
    {"(?<=a)b", "look-around"},
    {"(?<!a)b", "look-around"},
    {"(?<n>a)", "name"},
    {"(?P<n>a)", "name"},
    {"(?'n'a)", "name"},
    {"(?P=n)", "name"},
    {"(?>a)", "atomic"},
    {"(?|a|b)", "group"},
    {"(?#a)", "group"},
    {"(?R)", "group"},
    {"(?1)", "group"},
    {"(?&n)", "group"},
    {"(?(1)a|b)", "condition"},
    {"(?C1)a", "group"},
    {"(?x)a b", "group"},
    {"(?^i)a", "group"},
    {"(?-)a", "group"},
    {"(?i-)a", "group"},
    {"(?i-s-m)a", "group"},
    {"a(?i)b", "flags elsewhere"},
    {"(a(?i)b)", "flags elsewhere"},
    {"(?", "group"},
    {"(*UTF8)a", "a repetition of nothing"},
    {"(a)\\1", "back-reference"},
    {"\\0", "back-reference"},
    {"\\g1", "escape"},
    {"\\k<n>", "escape"},
    {"a\\Kb", "escape"},
    {"\\R", "escape"},
    {"\\X", "escape"},
    {"\\C", "escape"},
    {"\\Z", "escape"},
    {"\\G", "escape"},
    {"\\N", "escape"},
    {"\\h", "escape"},
    {"\\v", "escape"},
    {"\\e", "escape"},
    {"\\a", "escape"},
    {"\\cA", "escape"},
    {"\\pL", "escape"},
    {"\\p{Greek}", "escape"},
    {"\\Qa.b\\E", "escape"},
    {"\\_", "escape"},
    {"\\x4", "\\x needs"},
    {"\\x{41}", "\\x needs"},
    {"\\xff", "\\x needs"},
    {"\\x00", "\\x needs"},
    {"a\\", "backslash"},
    {"a*+", "possessive"},
    {"a++", "possessive"},
    {"a?+", "possessive"},
    {"a{2}+", "possessive"},
    {"a**", "two repetitions"},
    {"a+*", "two repetitions"},
    {"a{2}{3}", "two repetitions"},
    {"a???", "two repetitions"},
    {"*a", "repetition of nothing"},
    {"a|+", "repetition of nothing"},
    {"(?:*)", "repetition of nothing"},
    {"^*", "no character"},
    {"\\b+", "no character"},
    {"$?", "no character"},
    {"(?i)*", "no character"},
    {"a{1001}", "1,000"},
    {"a{1,1001}", "1,000"},
    {"a{99999999999999999999}", "1,000"},
    {"(a{2}){501}", "nested"},
    {"((a{10}){10}){11}", "nested"},
    {"a{3,2}", "below its smallest"},
    {"a{", "begins no repetition"},
    {"a{,3}", "begins no repetition"},
    {"a{00}", "begins with 0"},
    {"a{1,02}", "begins with 0"},
    {"a{x}", "begins no repetition"},
    {"a{1", "begins no repetition"},
    {"{id}", "repetition of nothing"},
    {"(a", "without its ')'"},
    {"a)", "without a group"},
    {"[a", "without its ']'"},
    {"[", "without its ']'"},
    {"[a-", "without its ']'"},
    {"[]a]", "an empty class"},
    {"[^]a]", "an empty class"},
    {"[]", "an empty class"},
    {"a]", "without a class"},
    {"[z-a]", "end comes before"},
    {"[a-\\d]", "range between classes"},
    {"[\\d-z]", "range between classes"},
    {"[a-c-e]", "'-' between"},
    {"[--a]", "range from '-'"},
    {"[a[b]", "'[' in a class"},
    {"[[:nope:]]", "class name"},
    {"[[:alpha]", "class name"},
    {"[[.a.]]", "'[' in a class"},
    {"[[=a=]]", "'[' in a class"},
    {"[\\b]", "cannot stand in a class"},
    {"a\nb", "control character"},
    {"[\x01]", "control character"},
    {"a\\\nb", "control character"},
    {"[\\\n]", "control character"},
    {"\\\xc3\xa4", "beyond ASCII"},
    {"\xc3\xa4", "beyond ASCII"},
    {"[\xc3\xa4]", "beyond ASCII"},
    {"(.{100}){10}(.{100}){10}", "too large"},
};

static void what_one_proxy_would_refuse_or_misread_is_refused(void **state)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct fuse_regex *regex = NULL;
        struct chassis_error err = {0};
        if (fuse_regex_new(refused[i].pattern, &regex, &err) != CHASSIS_INVALID_ARGUMENT) {
            fail_msg("'%s' is taken", refused[i].pattern);
        }
        if (strstr(err.text, refused[i].text) == NULL) {
            fail_msg("'%s': '%s' does not say '%s'", refused[i].pattern, err.text, refused[i].text);
        }
        assert_null(regex);
    }
}

static void length_and_depth_are_limited(void **state)
{
    char pattern[FUSE_REGEX_MAX + 2] = "";
    struct fuse_regex *regex = NULL;
    struct chassis_error err;
    memset(pattern, 'a', FUSE_REGEX_MAX);
    fuse_regex_free(compile(pattern));
    pattern[FUSE_REGEX_MAX] = 'a';
    assert_int_equal(fuse_regex_new(pattern, &regex, &err), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "has 513 bytes"));
    memset(pattern, 0, sizeof pattern);
    memset(pattern, '(', 50);
    memset(pattern + 50, ')', 50);
    fuse_regex_free(compile(pattern));
    memset(pattern, '(', 51);
    memset(pattern + 51, ')', 51);
    assert_int_equal(fuse_regex_new(pattern, &regex, &err), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "deeper than 50"));
}

static void the_place_is_named(void **state)
{
    struct fuse_regex *regex;
    struct chassis_error err;
    assert_int_equal(fuse_regex_new("/a/(?=b)", &regex, &err), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "at byte 4 of '/a/(?=b)'"));
}

static void the_whole_text_has_to_match(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        {"/api", "/api", true},
        {"/api", "/api/", false},
        {"api", "/api", false},
        {"/a|/ab", "/ab", true},
        {"a*?", "aaa", true},
        {"a+?b?", "aab", true},
        {"(?i)/api", "/API", true},
        {"(?i:a)b", "AB", false},
        {"(?i:a)b", "Ab", true},
        {"[^/]+", "a/b", false},
        {".*", "", true},
        {".", "\n", false},
        {"(?s).", "\n", true},
        {"a$", "a\n", false},
        {"a$\\n", "a\n", false},
        {"a\\z", "a", true},
        {"\\bfoo\\b.*", "foo-x", true},
        {"\\bfoo\\b.*", "foox", false},
        {"a{2,3}", "aaaa", false},
        {"()", "", true},
        {"a||b", "", true},
        {"[[:digit:]]{3}", "123", true},
        {"[^[:digit:]]", "1", false},
        {"\\x41", "A", true},
        {"(a|ab)(c|bcd)", "abcd", true},
        {"(?U)a+", "aaa", true},
        {"^/x$", "/x", true},
        {"a#b c", "a#b c", true},
        {"(?m)^a$", "a", true},
        {"[a\\-z]", "b", false},
        {"[.]", "x", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fuse_regex *regex = compile(rows[i].pattern);
        if (fuse_regex_matches(regex, chassis_view_str(rows[i].text)) != rows[i].matches) {
            fail_msg("'%s' and '%s'", rows[i].pattern, rows[i].text);
        }
        fuse_regex_free(regex);
    }
    struct fuse_regex *empty = compile("a*");
    assert_true(fuse_regex_matches(empty, chassis_view(NULL, 0)));
    fuse_regex_free(empty);
}

static void a_match_that_takes_too_long_is_none(void **state)
{
    char text[4096];
    struct fuse_regex *regex = compile("(a+)+b");
    memset(text, 'a', sizeof text);
    assert_false(fuse_regex_matches(regex, chassis_view(text, sizeof text)));
    text[3] = 'b';
    assert_true(fuse_regex_matches(regex, chassis_view(text, 4)));
    fuse_regex_free(regex);
    /* About a million steps before the second way, which would match, is tried. */
    regex = compile("(a+)+b|a+");
    memset(text, 'a', sizeof text);
    assert_true(fuse_regex_matches(regex, chassis_view(text, 10)));
    assert_false(fuse_regex_matches(regex, chassis_view(text, 20)));
    fuse_regex_free(regex);
}

static void a_compiler_that_fails_is_an_error(void **state)
{
    struct fuse_regex *regex = NULL;
    struct chassis_error err = {0};
    chassis_fault_arm("fuse.regex.compile", 1);
    assert_int_equal(fuse_regex_new("a", &regex, &err), CHASSIS_INVALID_ARGUMENT);
    assert_true(chassis_fault_disarm());
    assert_null(regex);
    assert_non_null(strstr(err.text, "memory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_all_proxies_read_alike_is_taken),
        cmocka_unit_test(what_one_proxy_would_refuse_or_misread_is_refused),
        cmocka_unit_test(length_and_depth_are_limited),
        cmocka_unit_test(the_place_is_named),
        cmocka_unit_test(the_whole_text_has_to_match),
        cmocka_unit_test(a_match_that_takes_too_long_is_none),
        cmocka_unit_test(a_compiler_that_fails_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
