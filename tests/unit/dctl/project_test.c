/* draft.yaml and contexts. */
#include "run.h"

#include "project.h"

static char dir[256];
static struct chassis_arena arena;

static int make(void **state)
{
    test_tmpdir(dir);
    setenv("XDG_CONFIG_HOME", dir, 1);
    chassis_arena_init(&arena, NULL, 0, 0);
    return 0;
}
static int drop(void **state)
{
    chassis_arena_fini(&arena);
    test_rmtree(dir);
    return 0;
}

static int load(const char *text, struct dctl_project *p, struct chassis_error *err)
{
    char file[300];
    snprintf(file, sizeof file, "%s/draft.yaml", dir);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return dctl_project_load(&arena, file, p, err);
}

static void a_project_is_read_with_defaults(void **state)
{
    static struct dctl_project p;
    struct chassis_error err = {0};
    assert_int_equal(load("name: shop\n"
                          "endpoint: [127.0.0.1:1, 127.0.0.1:2]\n"
                          "events_endpoint: 127.0.0.1:3\n"
                          "cluster_secret: data/secret\n"
                          "services:\n"
                          "  - name: a\n"
                          "    command: prog --x 'two words' \"\"\n"
                          "    environment: {K: v, EMPTY: }\n"
                          "    health: http://127.0.0.1:80/readyz\n"
                          "  - name: b\n"
                          "    command: [prog, \"one word\"]\n"
                          "    health: grpc://127.0.0.1:81\n"
                          "    restart: never\n"
                          "  - {name: c, command: x, after: [a]}\n",
                          &p, &err),
                     0);
    assert_string_equal(p.context.name, "shop");
    assert_string_equal(p.context.endpoint, "127.0.0.1:1,127.0.0.1:2");
    assert_string_equal(p.context.events_endpoint, "127.0.0.1:3");
    assert_int_equal(p.context.cluster_secret[0], '/');
    assert_int_equal(p.n_services, 3);
    assert_string_equal(p.services[0].argv[2], "two words");
    assert_string_equal(p.services[0].argv[3], "");
    assert_null(p.services[0].argv[4]);
    assert_string_equal(p.services[0].environment[0], "K=v");
    assert_string_equal(p.services[0].environment[1], "EMPTY=");
    assert_int_equal(p.services[0].health, DCTL_HEALTH_HTTP);
    assert_string_equal(p.services[0].health_address, "127.0.0.1:80");
    assert_string_equal(p.services[0].health_path, "/readyz");
    assert_int_equal(p.services[0].after, 0);
    assert_string_equal(p.services[1].argv[1], "one word");
    assert_int_equal(p.services[1].restart, DCTL_RESTART_NEVER);
    assert_int_equal(p.services[1].after, 1); /* the one before it */
    assert_int_equal(p.services[2].after, 1); /* a, not b */
    assert_int_equal(p.services[2].health, DCTL_HEALTH_NONE);
}

static void mistakes_are_named_with_their_line(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"nmae: x\n", ":1: unknown key 'nmae'"},
        {"services:\n  - name: a\n    comand: x\n", ":3: unknown key 'comand'"},
        {"services:\n  - name: a\n", "a command is needed for service 'a'"},
        {"services:\n  - command: x\n", "a service needs a name"},
        {"services:\n  - {name: a, command: x}\n  - {name: a, command: y}\n",
         ":3: a second service is called 'a'"},
        {"services:\n  - {name: a, command: x, after: [b]}\n", "no service above is called 'b'"},
        {"services:\n  - {name: a, command: x, after: [a]}\n", "no service above is called 'a'"},
        {"services:\n  - {name: a, command: x, health: 'ftp://h:1'}\n", "'ftp://h:1'"},
        {"services:\n  - {name: a, command: x, restart: maybe}\n", "'maybe'"},
        {"services:\n  - name: a\n    command: \"x 'y\"\n", "a quote is not closed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct dctl_project p;
        struct chassis_error err = {0};
        assert_int_not_equal(load(cases[i].text, &p, &err), 0);
        assert_contains(err.text, cases[i].says);
    }
}

static void a_context_is_made_listed_and_chosen(void **state)
{
    char shop[300], other[300];
    snprintf(shop, sizeof shop, "%s/shop", dir);
    snprintf(other, sizeof other, "%s/other", dir);
    struct run r = RUN("context", "init", shop);
    assert_int_equal(r.exit, DCTL_OK);
    run_fini(&r);
    r = RUN("context", "init", shop);
    assert_int_equal(r.exit, DCTL_FAILED);
    assert_contains(r.err, "exists");
    run_fini(&r);
    r = RUN("context", "init", other, "--name", "second");
    assert_int_equal(r.exit, DCTL_OK);
    run_fini(&r);
    r = RUN("context", "list", "-o", "yaml");
    assert_contains(r.out, "name: shop\n  default: true\n");
    assert_contains(r.out, "name: second\n  default: false\n");
    run_fini(&r);
    r = RUN("context", "set", "second");
    assert_int_equal(r.exit, DCTL_OK);
    run_fini(&r);
    r = RUN("context", "list", "-o", "yaml");
    assert_contains(r.out, "name: second\n  default: true\n");
    run_fini(&r);
    r = RUN("context", "set", "third");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    run_fini(&r);
    r = RUN("kv", "get", "a", "--context", "third");
    assert_int_equal(r.exit, DCTL_NOT_FOUND);
    assert_contains(r.err, "no context 'third'");
    run_fini(&r);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_project_is_read_with_defaults),
        TEST(mistakes_are_named_with_their_line),
        TEST(a_context_is_made_listed_and_chosen),
    };
    return cmocka_run_group_tests_name("dctl_project", tests, NULL, NULL);
}
