#include "tests/test.h"

#include <chassis/config.h>

struct settings {
    const char *node;
    bool bootstrap;
    int64_t port;
    uint64_t cache, grace;
    int level;
    struct chassis_config_list peers;
    const char *password;
    struct chassis_config_pairs paths;
};
struct other {
    const char *name;
};

static const char *const levels[] = {"debug", "info", "warn", NULL};
static const struct chassis_config_key table[] = {
    {.name = "raft.node-id",
     .type = CHASSIS_CONFIG_STRING,
     .offset = offsetof(struct settings, node),
     .help = "Name of this node."},
    {.name = "raft.bootstrap",
     .type = CHASSIS_CONFIG_BOOL,
     .offset = offsetof(struct settings, bootstrap),
     .help = "Begin a new cluster."},
    {.name = "service.port",
     .type = CHASSIS_CONFIG_INT,
     .offset = offsetof(struct settings, port),
     .initial = "8090",
     .min = 1,
     .max = 65535,
     .help = "Port."},
    {.name = "service.cache",
     .type = CHASSIS_CONFIG_SIZE,
     .offset = offsetof(struct settings, cache),
     .initial = "64KiB",
     .min = 4096,
     .max = 1 << 30,
     .help = "Cache | bytes."},
    {.name = "service.grace",
     .type = CHASSIS_CONFIG_DURATION,
     .offset = offsetof(struct settings, grace),
     .initial = "5s",
     .min = 100,
     .max = 60000,
     .help = "Grace time."},
    {.name = "service.logging.level",
     .type = CHASSIS_CONFIG_ENUM,
     .offset = offsetof(struct settings, level),
     .initial = "info",
     .choices = levels,
     .help = "Level."},
    {.name = "raft.peers",
     .type = CHASSIS_CONFIG_LIST,
     .offset = offsetof(struct settings, peers),
     .help = "Peers."},
    {.name = "service.password",
     .type = CHASSIS_CONFIG_STRING,
     .offset = offsetof(struct settings, password),
     .help = "Password.",
     .flags = CHASSIS_CONFIG_SECRET},
    {.name = "repositories.*.path",
     .type = CHASSIS_CONFIG_STRING,
     .offset = offsetof(struct settings, paths),
     .help = "Where a store is."},
    {.name = NULL},
};
static const struct chassis_config_key other_table[] = {
    {.name = "service.name",
     .type = CHASSIS_CONFIG_STRING,
     .offset = offsetof(struct other, name),
     .help = "Name.",
     .flags = CHASSIS_CONFIG_REQUIRED},
    {.name = NULL},
};
static const struct chassis_config_key *const tables[] = {table, other_table, NULL};

static char dir[256];
static struct settings settings;
static struct other other;
static struct chassis_config *config;
static struct chassis_buf problems;

#define ARGS(...) ((char *[]){"program", __VA_ARGS__ __VA_OPT__(, ) NULL})
#define ENV(...)  ((char *[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
static const char *const name_flag = "--service.name=me";

static const char *file_of(const char *yaml)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/c.yaml", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(yaml, file);
    fclose(file);
    return path;
}

static int load(const char *yaml, char **environment, char **argv)
{
    void *structs[] = {&settings, &other};
    struct chassis_config_source source = {
        .tables = tables, .structs = structs, .environment = environment, .argv = argv};
    struct chassis_error err = {0};
    while (argv[source.argc] != NULL) {
        source.argc++;
    }
    source.file = yaml != NULL ? file_of(yaml) : NULL;
    chassis_config_free(config);
    config = NULL;
    chassis_buf_clear(&problems);
    chassis_buf_append_str(&problems, "");
    memset(&settings, 0, sizeof settings);
    int rc = chassis_config_load(&source, &config, &problems, &err);
    assert_true(rc == 0 || rc == CHASSIS_CONFIG);
    assert_int_equal(err.code, rc);
    if (rc != 0) {
        assert_true(err.text[0] != '\0' && problems.len != 0);
        assert_null(config);
        assert_null(settings.node); /* nothing was filled in */
    }
    return rc;
}

static void expect_ok(int rc)
{
    if (rc != 0) {
        fail_msg("%s", (char *)problems.data);
    }
}

static void expect_problem(const char *text)
{
    if (strstr((char *)problems.data, text) == NULL) {
        fail_msg("no '%s' in: %s", text, (char *)problems.data);
    }
}

static unsigned count_problems(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < problems.len; i++) {
        n += problems.data[i] == '\n';
    }
    return n;
}

static void defaults_then_file_then_environment_then_flags(void **state)
{
    char *none[] = {"program", (char *)(uintptr_t)name_flag, NULL};
    expect_ok(load("", ENV(), none));
    assert_null(settings.node);
    assert_int_equal(settings.port, 8090);
    assert_int_equal(settings.cache, 65536);
    assert_int_equal(settings.grace, 5000);
    assert_int_equal(settings.level, 1);
    assert_int_equal(settings.peers.n, 0);
    assert_string_equal(other.name, "me");
    const char *yaml = "raft: {node-id: from-file, peers: [a, 'b c']}\nservice:\n  port: 1\n"
                       "  grace: 1m\nservice.cache: 1MiB\n";
    expect_ok(load(yaml, ENV("DRAFT_RAFT_NODE_ID=from-env", "DRAFT_SERVICE_PORT=2"),
                   ARGS("--service.port=3", "--service.name", "me", "--raft.bootstrap")));
    assert_string_equal(settings.node, "from-env");
    assert_int_equal(settings.port, 3);
    assert_int_equal(settings.grace, 60000);
    assert_int_equal(settings.cache, 1 << 20);
    assert_true(settings.bootstrap);
    assert_int_equal(settings.peers.n, 2);
    assert_string_equal(settings.peers.items[1], "b c");
    expect_ok(load("", ENV("DRAFT_RAFT_PEERS= a , b,c"),
                   ARGS("--raft.bootstrap", "false", "--service.name", "me")));
    assert_false(settings.bootstrap);
    assert_int_equal(settings.peers.n, 3);
    assert_string_equal(settings.peers.items[0], "a");
}

static void every_mistake_is_told_at_once_with_its_place(void **state)
{
    const char *yaml = "raft:\n  nodeid: a\n  bootstrap: maybe\nservice:\n  port: 70000\n"
                       "  cache: 3\n  grace: 5\n  logging: {level: infos}\nraftt: {x: 1}\n";
    assert_int_equal(load(yaml, ENV("DRAFT_RAFT_NOD_ID=x", "DRAFT_SERVICE_PORT=abc"),
                          ARGS("--raft.node=1", "stray", "--service.grace")),
                     CHASSIS_CONFIG);
    expect_problem("c.yaml:2: unknown key 'raft.nodeid'; did you mean 'raft.node-id'?");
    expect_problem("c.yaml:3: raft.bootstrap: 'maybe' is not a boolean");
    expect_problem("c.yaml:5: service.port: '70000' is out of range, allowed: 1 to 65535");
    expect_problem("c.yaml:6: service.cache: '3' is out of range, allowed: 4KiB to 1GiB");
    expect_problem("c.yaml:7: service.grace: '5' is not a duration, write a unit");
    expect_problem("c.yaml:8: service.logging.level: 'infos' is not one of debug, info, warn; did "
                   "you mean 'info'?");
    expect_problem("c.yaml:9: unknown key 'raftt'; did you mean 'raft'?");
    expect_problem("unknown variable 'DRAFT_RAFT_NOD_ID'; the nearest is 'DRAFT_RAFT_NODE_ID'");
    expect_problem("DRAFT_SERVICE_PORT: service.port: 'abc' is not a whole number");
    expect_problem("command line: unknown key 'raft.node'; did you mean 'raft.node-id'?");
    expect_problem("command line: '--service.grace' needs a value");
    expect_problem("'service.name' is required: set it in the file, as DRAFT_SERVICE_NAME or "
                   "--service.name");
    expect_problem("command line: unexpected argument 'stray'");
    assert_int_equal(count_problems(), 13);
}

static void variables_of_other_programs_are_left_alone(void **state)
{
    expect_ok(load("",
                   ENV("DRAFT_FUSE_ADDRESS=x", "DRAFT_TMP=/x", "DRAFT_BIN=b", "OTHER=1",
                       "DRAFT_CONTEXT=c", "DRAFT_SECRET_X=s", "DRAFT_SERVICE_NAME=me"),
                   ARGS()));
    assert_int_equal(load("", ENV("DRAFT_RATF_NODE_ID=x", "DRAFT_SERVICE_NAME=me"), ARGS()),
                     CHASSIS_CONFIG);
    expect_problem("DRAFT_RATF_NODE_ID");
}

static void the_file_may_be_named_in_three_ways(void **state)
{
    char flag[320], variable[320];
    const char *path = file_of("raft.node-id: named\nservice.name: me\n");
    snprintf(flag, sizeof flag, "--config=%s", path);
    snprintf(variable, sizeof variable, "DRAFT_CONFIG=%s", path);
    expect_ok(load(NULL, ENV(), ARGS(flag)));
    assert_string_equal(settings.node, "named");
    expect_ok(load(NULL, ENV(), ARGS("--config", (char *)(uintptr_t)path)));
    assert_string_equal(settings.node, "named");
    expect_ok(load(NULL, ENV(variable), ARGS()));
    assert_string_equal(settings.node, "named");
    expect_ok(load(NULL, ENV(), ARGS("--service.name=me"))); /* ./config.yaml need not exist */
    assert_int_equal(load(NULL, ENV(), ARGS("--config", "/nonexistent/x.yaml")), CHASSIS_CONFIG);
    expect_problem("open '/nonexistent/x.yaml': No such file or directory");
}

static void a_star_in_a_key_takes_any_name(void **state)
{
    expect_ok(load("repositories:\n  main: {path: /a}\n  side-2:\n    path: /b\n",
                   ENV("DRAFT_REPOSITORIES_MAIN_PATH=/c", "DRAFT_REPOSITORIES_NEW_PATH=/d"),
                   ARGS("--repositories.flag.path=/e", "--service.name=me")));
    assert_int_equal(settings.paths.n, 4);
    assert_string_equal(settings.paths.items[0].name, "main");
    assert_string_equal(settings.paths.items[0].value, "/c");
    assert_string_equal(settings.paths.items[1].name, "side-2");
    assert_string_equal(settings.paths.items[2].name, "new");
    assert_string_equal(settings.paths.items[3].value, "/e");
    assert_int_equal(
        load("repositories:\n  main: {pat: /a}\n  b: /x\n", ENV(), ARGS("--service.name=me")),
        CHASSIS_CONFIG);
    expect_problem(":2: unknown key 'repositories.main.pat'; did you mean "
                   "'repositories.main.path'?");
    expect_problem(":3: 'repositories.b' is a section");
}

static void a_key_is_set_once_and_in_the_right_form(void **state)
{
    load("raft.node-id: a\nraft: {node-id: b}\nservice: 3\nraft.bootstrap: [1]\n"
         "service.port: {a: 1}\nraft.peers: [{a: 1}]\n",
         ENV(), ARGS("--service.name=me"));
    expect_problem(":2: 'raft.node-id' is set twice, first on line 1");
    expect_problem(":3: 'service' is a section");
    expect_problem(":4: 'raft.bootstrap' must be one value, not a list");
    expect_problem(":5: 'service.port' must be one value, not a map");
    expect_problem(":6: 'raft.peers' has an item that is no text");
    assert_int_equal(count_problems(), 5);
    load("- a\n", ENV(), ARGS("--service.name=me"));
    expect_problem(":1: a configuration is a map");
    load("a: [\n", ENV(), ARGS());
    expect_problem("c.yaml:2: ");
    expect_problem("'service.name' is required");
}

static void amounts_are_read_with_their_units(void **state)
{
    static const struct {
        char *flag;
        bool good;
        uint64_t value;
    } cases[] = {
        {"--service.cache=4096", true, 4096},
        {"--service.cache=8KiB", true, 8192},
        {"--service.cache=1GiB", true, 1 << 30},
        {"--service.cache=8KB", false, 0},
        {"--service.cache=-8", false, 0},
        {"--service.cache=99999999999999TiB", false, 0},
        {"--service.cache=", false, 0},
        {"--service.cache=2GiB", false, 0},
        {"--service.grace=1s500ms", true, 1500},
        {"--service.grace=1m", true, 60000},
        {"--service.grace=0", false, 0},
        {"--service.grace=1.5s", false, 0},
        {"--service.grace=s", false, 0},
        {"--service.port=65535", true, 65535},
        {"--service.port=0", false, 0},
        {"--service.port=1x", false, 0},
        {"--service.port=99999999999999999999", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = load("", ENV(), ARGS("--service.name=me", cases[i].flag));
        if ((rc == 0) != cases[i].good) {
            fail_msg("%s: %d", cases[i].flag, rc);
        }
        uint64_t value = cases[i].flag[10] == 'c'   ? settings.cache
                         : cases[i].flag[10] == 'g' ? settings.grace
                                                    : (uint64_t)settings.port;
        assert_true(rc != 0 || value == cases[i].value);
    }
}

static void see(const char *name, const char *value, const char *origin, const char *help,
                void *data)
{
    chassis_buf_printf(data, "%s=%s (%s)\n", name, value, origin);
}

static void what_is_printed_loads_again_and_keeps_secrets(void **state)
{
    expect_ok(load("service: {password: 'p: 1', name: 'yes'}\nraft.node-id: \"a: b # c\"\n"
                   "raft.peers: ['h:1', x, '[::1]:2']\nrepositories.m.path: /x\n",
                   ENV("DRAFT_SERVICE_GRACE=200ms"), ARGS("--service.port", "77")));
    assert_string_equal(settings.password, "p: 1");
    struct chassis_buf out = {0};
    chassis_config_print(config, &out);
    assert_null(strstr((char *)out.data, "p: 1"));
    assert_non_null(strstr((char *)out.data, "service.password: \"***\"  # "));
    assert_non_null(strstr((char *)out.data, "service.grace: 200ms  # DRAFT_SERVICE_GRACE\n"));
    assert_non_null(strstr((char *)out.data, "service.port: 77  # --service.port\n"));
    assert_non_null(strstr((char *)out.data, "service.cache: 64KiB  # default\n"));
    char *copy = strdup((char *)out.data);
    expect_ok(load(copy, ENV(), ARGS()));
    free(copy);
    assert_string_equal(settings.node, "a: b # c");
    assert_string_equal(other.name, "yes");
    assert_int_equal(settings.port, 77);
    assert_int_equal(settings.peers.n, 3);
    assert_string_equal(settings.peers.items[2], "[::1]:2");
    assert_int_equal(settings.paths.n, 1);
    chassis_buf_clear(&out);
    chassis_config_each(config, see, &out);
    assert_non_null(strstr((char *)out.data, "repositories.m.path=/x ("));
    assert_non_null(strstr((char *)out.data, "service.password=*** ("));
    chassis_buf_fini(&out);
    assert_int_equal(load("", ENV("DRAFT_SERVICE_PASSWORD=topsecret"), ARGS()), CHASSIS_CONFIG);
    assert_null(strstr((char *)problems.data, "topsecret"));
}

static void help_and_reference_come_from_the_table(void **state)
{
    struct chassis_buf out = {0};
    chassis_config_help(tables, &out);
    assert_non_null(strstr((char *)out.data, "--service.port <number>\n        Port.\n        "
                                             "DRAFT_SERVICE_PORT; default 8090; 1 to 65535\n"));
    assert_non_null(strstr((char *)out.data, "--service.logging.level <debug|info|warn>"));
    chassis_buf_clear(&out);
    chassis_config_markdown(tables, &out);
    assert_non_null(strstr((char *)out.data,
                           "| `service.cache` | `DRAFT_SERVICE_CACHE` | size, 4KiB to 1GiB | "
                           "`64KiB` | Cache \\| bytes. |\n"));
    chassis_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_then_file_then_environment_then_flags),
        cmocka_unit_test(every_mistake_is_told_at_once_with_its_place),
        cmocka_unit_test(variables_of_other_programs_are_left_alone),
        cmocka_unit_test(the_file_may_be_named_in_three_ways),
        cmocka_unit_test(a_star_in_a_key_takes_any_name),
        cmocka_unit_test(a_key_is_set_once_and_in_the_right_form),
        cmocka_unit_test(amounts_are_read_with_their_units),
        cmocka_unit_test(what_is_printed_loads_again_and_keeps_secrets),
        cmocka_unit_test(help_and_reference_come_from_the_table),
    };
    test_tmpdir(dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    chassis_config_free(config);
    chassis_buf_fini(&problems);
    test_rmtree(dir);
    return failed;
}
