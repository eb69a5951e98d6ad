/* The command table: parsing, help, the reference page, exit codes. */
#include "run.h"

#include <chassis/client.h>

static void every_command_is_complete_and_named_once(void **state)
{
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        assert_non_null(c->run);
        assert_non_null(c->args);
        assert_true(strlen(c->help) > 10 && c->help[strlen(c->help) - 1] == '.');
        assert_true(c->args_min <= c->args_max);
        for (const struct dctl_command *other = c + 1; other->name != NULL; other++) {
            assert_string_not_equal(c->name, other->name);
        }
        for (const struct dctl_option *o = c->options; o != NULL && o->name != NULL; o++) {
            assert_true((o->value == DCTL_FLAG) == (o->arg == NULL));
            for (const struct dctl_option *g = dctl_global_options; g->name != NULL; g++) {
                assert_string_not_equal(o->name, g->name);
                assert_true(o->letter == 0 || o->letter != g->letter);
            }
        }
    }
}

static void help_of_all_groups_and_commands_comes_from_the_table(void **state)
{
    struct run r = RUN("help");
    assert_int_equal(r.exit, DCTL_OK);
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        assert_contains(r.out, c->help);
    }
    run_fini(&r);
    r = RUN("kv", "--help");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "kv set KEY VALUE");
    assert_null(strstr(r.out, "services list"));
    run_fini(&r);
    r = RUN("kv", "list", "-h");
    assert_int_equal(r.exit, DCTL_OK);
    assert_contains(r.out, "dctl kv list [PREFIX] [options]");
    assert_contains(r.out, "-n, --limit COUNT");
    assert_contains(r.out, "--endpoint");
    run_fini(&r);
}

static void the_reference_page_names_every_command_and_option(void **state)
{
    struct run r = RUN("docs");
    assert_int_equal(r.exit, DCTL_OK);
    for (const struct dctl_command *c = dctl_commands; c->name != NULL; c++) {
        char heading[96];
        snprintf(heading, sizeof heading, "\n## dctl %s\n", c->name);
        assert_contains(r.out, heading);
        for (const struct dctl_option *o = c->options; o != NULL && o->name != NULL; o++) {
            assert_contains(r.out, o->help);
        }
    }
    run_fini(&r);
}

static void wrong_usage_says_what_is_wrong_and_exits_with_2(void **state)
{
    static const struct {
        const char *words[8], *says;
    } cases[] = {
        {{"frobnicate"}, "no command 'frobnicate'"},
        {{"kv", "frobnicate"}, "no command 'kv frobnicate'"},
        {{"frobnicate", "--limit", "3"}, "no command 'frobnicate"},
        {{"kv", "get"}, "kv get needs KEY"},
        {{"kv", "get", "a", "b"}, "kv get takes only KEY"},
        {{"kv", "get", "a", "--frob"}, "no option '--frob' for kv get"},
        {{"kv", "list", "--limit", "many"}, "--limit takes a number, not 'many'"},
        {{"kv", "list", "--limit"}, "--limit needs a value: COUNT"},
        {{"kv", "list", "-o", "xml"}, "--output cannot be 'xml'"},
        {{"kv", "list", "--timeout", "soon"}, "--timeout takes a time"},
        {{"kv", "get", "a", "--stale=yes"}, "--stale takes no value"},
        {{"kv", "cas", "a", "first", "b"}, "REVISION is a number, not 'first'"},
        {{"kv", "txn"}, "nothing to do"},
        {{"kv", "txn", "--if", "a is 3", "--then", "del a"}, "'a is 3' is no condition"},
        {{"kv", "txn", "--then", "drop a"}, "'drop a' is no operation"},
        {{"completion", "tcsh"}, "no completion for 'tcsh'"},
        {{"help", "frobnicate"}, "no command 'frobnicate'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run r = run_dctl(cases[i].words);
        assert_contains(r.err, cases[i].says);
        assert_int_equal(r.exit, DCTL_USAGE);
        assert_string_equal(r.out, "");
        run_fini(&r);
    }
}

static void no_arguments_print_help_as_an_error(void **state)
{
    struct run r = run_dctl((const char *const[]){NULL});
    assert_int_equal(r.exit, DCTL_USAGE);
    assert_contains(r.err, "kv set KEY VALUE");
    run_fini(&r);
}

static void options_may_stand_anywhere_and_with_equals(void **state)
{
    struct run a = RUN("-o", "json", "version");
    struct run b = RUN("version", "--output=json");
    struct run c = RUN("version", "-ojson");
    assert_int_equal(a.exit, DCTL_OK);
    assert_contains(a.out, "\"version\": \"");
    assert_string_equal(a.out, b.out);
    assert_string_equal(a.out, c.out);
    run_fini(&a);
    run_fini(&b);
    run_fini(&c);
}

static void words_after_two_dashes_are_arguments(void **state)
{
    struct run r = RUN("completion", "--", "--weird");
    assert_int_equal(r.exit, DCTL_USAGE);
    assert_contains(r.err, "no completion for '--weird'");
    run_fini(&r);
}

static void times_are_read_with_their_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"500ms", 500}, {"5s", 5000},    {"7", 7000},
                {"2m", 120000}, {"1h", 3600000}, {"7d", 604800000}};
    static const char *const bad[] = {"", "ms", "5w", "-1s", "1.5s", "9999999999999s"};
    uint64_t ms;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(dctl_parse_duration_ms(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_not_equal(dctl_parse_duration_ms(bad[i], &ms), 0);
    }
}

static void exit_codes_tell_not_found_from_unavailable(void **state)
{
    assert_int_equal(dctl_exit_of(0), DCTL_OK);
    assert_int_equal(dctl_exit_of(CHASSIS_NOT_FOUND), DCTL_NOT_FOUND);
    assert_int_equal(dctl_exit_of(CHASSIS_UNAVAILABLE), DCTL_UNAVAILABLE);
    assert_int_equal(dctl_exit_of(CHASSIS_NO_QUORUM), DCTL_UNAVAILABLE);
    assert_int_equal(dctl_exit_of(CHASSIS_DEADLINE_EXCEEDED), DCTL_UNAVAILABLE);
    assert_int_equal(dctl_exit_of(CHASSIS_ABORTED), DCTL_FAILED);
    assert_int_equal(dctl_exit_of(CHASSIS_PERMISSION_DENIED), DCTL_FAILED);
}

static void nobody_listening_exits_with_4(void **state)
{
    struct run r = RUN("kv", "get", "a", "--endpoint", "127.0.0.1:1", "--timeout", "2s");
    assert_int_equal(r.exit, DCTL_UNAVAILABLE);
    assert_contains(r.err, "dctl: ");
    run_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_is_complete_and_named_once),
        cmocka_unit_test(help_of_all_groups_and_commands_comes_from_the_table),
        cmocka_unit_test(the_reference_page_names_every_command_and_option),
        cmocka_unit_test(wrong_usage_says_what_is_wrong_and_exits_with_2),
        cmocka_unit_test(no_arguments_print_help_as_an_error),
        cmocka_unit_test(options_may_stand_anywhere_and_with_equals),
        cmocka_unit_test(words_after_two_dashes_are_arguments),
        cmocka_unit_test(times_are_read_with_their_units),
        cmocka_unit_test(exit_codes_tell_not_found_from_unavailable),
        cmocka_unit_test(nobody_listening_exits_with_4),
    };
    return cmocka_run_group_tests_name("dctl", tests, NULL, NULL);
}
