/* Routes as files say them: read, printed so that they read back as the same, compared. */
#include "run.h"

#include "routes.h"

static struct dctl d;

static int setup(void **state)
{
    d = (struct dctl){.out = stdout, .err = stderr};
    chassis_arena_init(&d.arena, NULL, 0, 0);
    return 0;
}
static int teardown(void **state)
{
    chassis_arena_fini(&d.arena);
    return 0;
}

static int read_text(const char *text, struct dctl_routes *ret_routes, struct chassis_error *err)
{
    char dir[256], file[300];
    test_tmpdir(dir);
    snprintf(file, sizeof file, "%s/routes.yaml", dir);
    FILE *f = fopen(file, "w");
    fputs(text, f);
    fclose(f);
    int rc = dctl_routes_read(&d, file, ret_routes, err);
    test_rmtree(dir);
    return rc;
}

/* One of every kind of field. */
static const char whole[] = "name: whole\n"
                            "match:\n"
                            "  host: \"*.example.com\"\n"
                            "  regex: /[a-z]+\n"
                            "  methods: [GET, POST]\n"
                            "  headers: {key: a, value: \"true\"}\n"
                            "  header_matches:\n"
                            "    - {name: x, value: {exact: 12}}\n"
                            "    - {name: y, value: {present: false, invert: true}}\n"
                            "endpoint: {host: 10.0.0.7, port: 80}\n"
                            "priority: -1000\n"
                            "timeout: 1500ms\n"
                            "retry: {on: [CONNECT_FAILURE, GRPC_UNAVAILABLE], retries: 2, "
                            "per_try_timeout: 2m}\n"
                            "hash_key: {header: x-user}\n"
                            "outlier_detection: {interval: 10s}\n"
                            "status: {whatever: stands, here: [is, not, read]}\n";

static void a_route_reads_back_as_the_same(void **state)
{
    struct chassis_error err = {0};
    struct dctl_routes first, second;
    struct chassis_buf yaml = {0}, a = {0}, b = {0};
    if (read_text(whole, &first, &err) != 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(first.n, 1);
    const route_message *r = first.items[0];
    assert_string_equal(r->match->header_matches[0]->value->exact, "12");
    assert_string_equal(r->match->headers->value, "true");
    assert_true(r->timeout->seconds == 1 && r->timeout->nanos == 500000000);
    assert_int_equal(r->retry->per_try_timeout->seconds, 120);
    assert_int_equal(r->priority, -1000);
    dctl_write_yaml(dctl_message_input(&d.arena, r), &yaml);
    assert_contains((const char *)yaml.data, "timeout: \"1.500s\"");
    assert_contains((const char *)yaml.data, "present: false"); /* said, though it is the zero */
    assert_null(strstr((const char *)yaml.data, "enable_http2"));
    assert_int_equal(read_text((const char *)yaml.data, &second, &err), 0);
    chassis_message_encode(&r->base, &a);
    chassis_message_encode(&second.items[0]->base, &b);
    assert_true(chassis_view_eq(chassis_buf_view(&a), chassis_buf_view(&b)));
    chassis_buf_fini(&yaml);
    chassis_buf_fini(&a);
    chassis_buf_fini(&b);
}

static void many_routes_come_in_every_form(void **state)
{
    static const char *const forms[] = {
        "name: a\n---\n# nothing here\n---\nname: b\n...\n---\nname: c\n",
        "- name: a\n- name: b\n- name: c\n",
        "routes:\n  - name: a\n  - name: b\n  - {name: c}\n",
        "{\"name\":\"a\"}\n{\"name\":\"b\"} {\"name\":\"c\",\"enableHttp2\":true}",
        "[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\",\"priority\":3}]",
        "{\"routes\": [{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}",
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct chassis_error err = {0};
        struct dctl_routes routes = {0};
        if (read_text(forms[i], &routes, &err) != 0) {
            fail_msg("form %zu: %s", i, err.text);
        }
        assert_int_equal(routes.n, 3);
        assert_string_equal(routes.items[0]->name, "a");
        assert_string_equal(routes.items[2]->name, "c");
    }
}

static void mistakes_name_line_and_field(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"name: a\n---\nname: b\nmatch:\n  hots: x\n", "routes.yaml:5: there is no field "
                                                       "'match.hots'"},
        {"name: a\ntargets:\n  - service: x\n  - [y]\n", ":4: a map of fields is expected at "
                                                         "'targets[1]'"},
        {"name: a\ntimeout: soon\n", ":2: timeout: 'soon' is not a google.protobuf.Duration"},
        {"name: a\nretry: {on: [NEVER]}\n", "retry.on: "},
        {"name: a\nendpoint: {port: -1}\n", "endpoint.port: "},
        {"name: a\n---\nname: [\n", "after line 2"},
        {"", "holds no route"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct chassis_error err = {0};
        struct dctl_routes routes = {0};
        assert_int_not_equal(read_text(cases[i].text, &routes, &err), 0);
        assert_contains(err.text, cases[i].says);
    }
}

static void a_difference_names_fields(void **state)
{
    struct chassis_error err = {0};
    struct dctl_routes a, b;
    struct chassis_buf json = {0};
    assert_int_equal(read_text("name: a\nmatch: {prefix: /x}\ntargets: [{service: s, weight: 1}, "
                               "{service: t}]\n",
                               &a, &err),
                     0);
    assert_int_equal(read_text("name: a\nmatch: {path: /x}\ntargets: [{service: s, weight: 2}]\n"
                               "timeout: 2s\n",
                               &b, &err),
                     0);
    dctl_write_json(dctl_node_diff(&d, dctl_message_input(&d.arena, a.items[0]),
                                   dctl_message_input(&d.arena, b.items[0])),
                    -1, &json);
    assert_string_equal(
        (const char *)json.data,
        "[{\"field\":\"match.prefix\",\"from\":\"\\\"/x\\\"\",\"to\":null},"
        "{\"field\":\"match.path\",\"from\":null,\"to\":\"\\\"/x\\\"\"},"
        "{\"field\":\"targets[0].weight\",\"from\":\"1\",\"to\":\"2\"},"
        "{\"field\":\"targets[1]\",\"from\":\"{\\\"service\\\":\\\"t\\\"}\",\"to\":null},"
        "{\"field\":\"timeout\",\"from\":null,\"to\":\"\\\"2s\\\"\"}]");
    chassis_buf_fini(&json);
}

static void results_are_in_plain_words(void **state)
{
    Draft__Routing__V1__RouteVersion v = DRAFT__ROUTING__V1__ROUTE_VERSION__INIT;
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    struct chassis_buf json = {0};
    v.change = DRAFT__ROUTING__V1__ROUTE_VERSION__CHANGE__ROLLED_BACK;
    time.seconds = 1700000000;
    time.nanos = 5000000;
    v.time = &time;
    dctl_write_json(dctl_message_node(&d.arena, &v), -1, &json);
    assert_string_equal((const char *)json.data,
                        "{\"change\":\"rolled_back\",\"actor\":\"\","
                        "\"time\":\"2023-11-14T22:13:20.005Z\",\"rolled_back_to\":0,"
                        "\"version\":0}");
    chassis_buf_fini(&json);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_route_reads_back_as_the_same), TEST(many_routes_come_in_every_form),
        TEST(mistakes_name_line_and_field),   TEST(a_difference_names_fields),
        TEST(results_are_in_plain_words),
    };
    return cmocka_run_group_tests_name("dctl routes", tests, NULL, NULL);
}
