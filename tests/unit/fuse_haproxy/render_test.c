#include "test.h"

#include <time.h>

#include "base/prng.h"
#include "fuse/haproxy/render.h"
#include "os/disk.h"
#include "unit/fuse/fixture.h"

#include "nasty.h"

struct stage {
    struct fuse_model *model;
    struct fuse_view *view;
    struct fuse_socket_listener listeners[3];
    struct fuse_secret_files secret;
    struct fuse_statics statics;
};

static int setup(void **state)
{
    struct stage *s = calloc(1, sizeof *s);
    s->model = fuse_model_new();
    s->view = fuse_view_new(s->model, "edge");
    s->listeners[0] =
        (struct fuse_socket_listener){.name = "default", .address = "127.0.0.1", .port = 18000};
    s->statics = (struct fuse_statics){
        .listeners = s->listeners, .n_listeners = 1, .secrets = &s->secret, .n_secrets = 0};
    *state = s;
    return 0;
}
static int teardown(void **state)
{
    struct stage *s = *state;
    fuse_view_free(s->view);
    fuse_model_free(s->model);
    free(s);
    return 0;
}

static struct fuse_plan *render(struct stage *s)
{
    struct fuse_plan *plan = NULL;
    struct fuse_plan_options options = {
        .view = s->view, .statics = &s->statics, .directory = "/run/fuse/haproxy"};
    assert_int_equal(fuse_plan_new(&options, &plan, NULL), 0);
    return plan;
}
static const char *text_of(const struct fuse_plan *plan)
{
    return (const char *)plan->config.data;
}
static const char *file_of(const struct fuse_plan *plan, const char *kind)
{
    for (unsigned i = 0; i < plan->n_files; i++) {
        if (strncmp(plan->files[i].name, kind, strlen(kind)) == 0) {
            return (const char *)plan->files[i].content.data;
        }
    }
    return "";
}

static void some_routes(struct stage *s)
{
    fixture_put(s->model, 1, route(.name = "all", .service = "web"));
    fixture_put(s->model, 2,
                route(.name = "echo", .path = "/echo.v1.Echo/", .service = "echo", .grpc = true,
                      .http2 = true));
    fixture_put(s->model, 3,
                route(.name = "api", .host = "shop.example.com", .path = "/api/", .service = "web",
                      .rewrite = "/v2/", .method = "GET"));
    fixture_put(s->model, 4,
                route(.name = "beta", .host = "*.example.com", .regex = "/b(eta)?",
                      .header = "x-user", .header_is = "bob's", .query = "q", .address = "10.0.0.7",
                      .port = 80));
    fixture_instance(s->model, 5, .pid = "1", .service = "web", .http_address = "127.0.0.1:81");
    fixture_instance(s->model, 6, .pid = "2", .service = "web", .http_address = "127.0.0.1:82");
    fixture_instance(s->model, 7, .pid = "3", .service = "echo", .rpc_address = "[::1]:90");
    fixture_instance(s->model, 8, .pid = "4", .service = "web", .http_address = "127.0.0.1:83",
                     .state = FUSE_INSTANCE_UNHEALTHY);
}

static void a_configuration_is_what_it_always_was(void **state)
{
    struct stage *s = *state;
    some_routes(s);
    struct fuse_plan *plan = render(s);
    struct chassis_buf all = {0}, golden = {0};
    chassis_buf_append_view(&all, chassis_buf_view(&plan->config));
    for (unsigned i = 0; i < plan->n_files; i++) {
        chassis_buf_printf(&all, "#### %s\n%s", plan->files[i].name,
                           (const char *)plan->files[i].content.data);
    }
    char path[512];
    struct chassis_error err = {0};
    snprintf(path, sizeof path, "%s/tests/unit/fuse_haproxy/golden.cfg", getenv("DRAFT_SOURCE"));
    if (getenv("DRAFT_GOLDEN") != NULL) {
        chassis_disk_replace_file(chassis_disk_posix(), path, chassis_buf_view(&all), &err);
    }
    assert_int_equal(chassis_disk_read_file(chassis_disk_posix(), path, 1 << 20, &golden, &err), 0);
    assert_string_equal((const char *)all.data, (const char *)golden.data);
    chassis_buf_fini(&all);
    chassis_buf_fini(&golden);
    fuse_plan_free(plan);
}

static void the_same_routes_in_another_order_give_the_same_bytes(void **state)
{
    struct stage *s = *state;
    struct stage other;
    void *created;
    setup(&created);
    other = *(struct stage *)created;
    for (unsigned i = 0; i < 40; i++) {
        for (unsigned k = 0; k < 2; k++) {
            struct stage *to = k == 0 ? s : &other;
            unsigned at = k == 0 ? i : 39 - i;
            char name[16], path[16], service[16];
            snprintf(name, sizeof name, "r%u", at);
            snprintf(path, sizeof path, "/%u", at % 7);
            snprintf(service, sizeof service, "s%u", at % 5);
            struct fuse_route *r =
                route(.name = name, .path = path, .service = service,
                      .header = at % 3 == 0 ? "x" : NULL, .method = at % 4 == 0 ? "GET" : NULL);
            fuse_model_put_route(to->model, r, at + 1, at + 1, 0, "t");
            fuse_route_unref(r);
        }
    }
    struct fuse_plan *a = render(s), *b = render(&other);
    assert_string_equal(text_of(a), text_of(b));
    assert_int_equal(a->n_files, b->n_files);
    for (unsigned i = 0; i < a->n_files; i++) {
        assert_string_equal(a->files[i].name, b->files[i].name);
    }
    fuse_plan_free(a);
    fuse_plan_free(b);
    teardown(&created);
}

static void instances_do_not_change_the_structure(void **state)
{
    struct stage *s = *state;
    some_routes(s);
    struct fuse_plan *before = render(s);
    fixture_instance(s->model, 9, .pid = "5", .service = "web", .http_address = "127.0.0.1:84");
    fuse_model_delete_instance(s->model, "1", 10);
    struct fuse_plan *after = render(s);
    assert_true(before->structure == after->structure);
    assert_string_not_equal(text_of(before), text_of(after));
    assert_non_null(strstr(text_of(after), "server 127.0.0.1:84 127.0.0.1:84 weight"));
    assert_true(fuse_plan_structure_of(strstr(text_of(after), "description")) == after->structure);
    fixture_put(s->model, 11, route(.name = "new", .path = "/new", .service = "web"));
    struct fuse_plan *third = render(s);
    assert_true(third->structure != after->structure);
    fuse_plan_free(before);
    fuse_plan_free(after);
    fuse_plan_free(third);
}

static void what_instances_say_of_themselves_cannot_get_into_the_text(void **state)
{
    static const char *const bad[] = {"127.0.0.1:80 backup",
                                      "127.0.0.1:80\n    acl x always_true",
                                      "0.0.0.0:80",
                                      "[::]:80",
                                      "127.0.0.1:0",
                                      "127.0.0.1:70000",
                                      "127.0.0.1",
                                      ":80",
                                      "/var/run/docker.sock",
                                      "unix@/tmp/x:80",
                                      "host name:80",
                                      "fd@3:80",
                                      "ipv4@127.0.0.1:80",
                                      "127.0.0.1:80x",
                                      "\"$HOME\":80",
                                      "a'b:80"};
    struct stage *s = *state;
    fixture_put(s->model, 1, route(.name = "all", .service = "web"));
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fixture_instance(s->model, i + 2, .pid = "1", .service = "web", .http_address = bad[i]);
        struct fuse_plan *plan = render(s);
        assert_null(strstr(text_of(plan), "    server "));
        fuse_plan_free(plan);
    }
    fixture_instance(s->model, 100, .pid = "1", .service = "web", .http_address = "db.local:80");
    struct fuse_plan *plan = render(s);
    assert_non_null(
        strstr(text_of(plan), "    server db.local:80 db.local:80 weight 16 init-addr"));
    fuse_plan_free(plan);
}

/* The words HAProxy sees: outside of single quotes nothing but the escaped quote may mean anything. */
static void check_line(const char *line, const char *end)
{
    bool quoted = false;
    for (const char *c = line; c < end; c++) {
        assert_true((uint8_t)*c >= 0x20 && *c != 0x7f);
        if (quoted) {
            quoted = *c != '\'';
        } else if (*c == '\\') {
            c++;
            assert_true(*c == '\'' || *c == 'n');
        } else {
            quoted = *c == '\'';
            assert_true(strchr("#$`", *c) == NULL);
        }
    }
    assert_false(quoted);
    assert_int_not_equal(strncmp(line, "backend evil", 12), 0);
}

static void no_text_of_a_route_gets_out_of_its_place(void **state)
{
    struct stage *s = *state;
    for (unsigned i = 0; i < NASTY_TEXTS; i++) {
        nasty_route(s->model, i);
        struct fuse_plan *plan = render(s);
        unsigned lines = 0;
        for (const char *line = text_of(plan); *line != '\0'; lines++) {
            const char *end = strchr(line, '\n');
            if (line[0] != '#') {
                check_line(line, end);
            }
            line = end + 1;
        }
        assert_true(lines > 30);
        fuse_plan_free(plan);
    }
}

static void a_share_is_the_weight_divided_by_the_instances(void **state)
{
    struct stage *s = *state;
    struct fuse_target targets[] = {{.service = "a", .host = "", .weight = 90},
                                    {.service = "b", .host = "", .weight = 10},
                                    {.service = "", .host = "10.0.0.1", .port = 80, .weight = 0}};
    fixture_put(s->model, 1, route(.name = "split", .rest = {.targets = targets, .n_targets = 3}));
    fixture_instance(s->model, 2, .pid = "1", .service = "a", .http_address = "127.0.0.1:81");
    fixture_instance(s->model, 3, .pid = "2", .service = "a", .http_address = "127.0.0.1:82");
    fixture_instance(s->model, 4, .pid = "3", .service = "b", .http_address = "127.0.0.1:83");
    struct fuse_plan *plan = render(s);
    assert_non_null(strstr(text_of(plan), "server 127.0.0.1:81 127.0.0.1:81 weight 256\n"));
    assert_non_null(strstr(text_of(plan), "server 127.0.0.1:82 127.0.0.1:82 weight 256\n"));
    assert_non_null(strstr(text_of(plan), "server 127.0.0.1:83 127.0.0.1:83 weight 57\n"));
    assert_null(strstr(text_of(plan), "10.0.0.1"));
    fuse_plan_free(plan);
}

static void only_listeners_of_the_group_and_with_their_certificate_are_there(void **state)
{
    struct stage *s = *state;
    static const char *const others[] = {"inner"};
    s->listeners[1] = (struct fuse_socket_listener){
        .name = "tls", .address = "::", .port = 443, .secret = "site"};
    s->listeners[2] = (struct fuse_socket_listener){
        .name = "inner", .address = "127.0.0.1", .port = 1, .groups = others, .n_groups = 1};
    s->statics.n_listeners = 3;
    fixture_put(s->model, 1, route(.name = "all", .service = "web"));
    struct fuse_plan *plan = render(s);
    assert_null(strstr(text_of(plan), ":443"));
    assert_null(strstr(text_of(plan), "127.0.0.1:1'"));
    fuse_plan_free(plan);
    s->secret = (struct fuse_secret_files){.name = "site",
                                           .certificate = chassis_view_str("CERT"),
                                           .key = chassis_view_str("KEY"),
                                           .ca = chassis_view_str("CA")};
    s->statics.n_secrets = 1;
    plan = render(s);
    assert_non_null(strstr(text_of(plan), "bind '[::]:443' ssl crt tls-"));
    assert_non_null(strstr(text_of(plan), "alpn h2,http/1.1 ca-file ca-"));
    assert_string_equal(file_of(plan, "tls-"), "CERT\nKEY");
    assert_string_equal(file_of(plan, "ca-"), "CA");
    assert_null(strstr(text_of(plan), "KEY"));
    fuse_plan_free(plan);
}

static void ten_thousand_routes_need_no_rule_and_share_their_pools(void **state)
{
    struct stage *s = *state;
    struct timespec from, to;
    for (unsigned i = 0; i < 10000; i++) {
        char name[16], path[32], host[32], service[16];
        snprintf(name, sizeof name, "r%u", i);
        snprintf(path, sizeof path, "/pkg.Service%u/", i);
        snprintf(host, sizeof host, "h%u.example.com", i % 100);
        snprintf(service, sizeof service, "s%u", i % 50);
        fixture_put(s->model, i + 1,
                    route(.name = name, .path = path, .host = host, .service = service,
                          .grpc = i % 2 == 0, .http2 = true, .method = i % 3 == 0 ? "POST" : NULL));
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    struct fuse_plan *plan = render(s);
    clock_gettime(CLOCK_MONOTONIC, &to);
    print_message("rendered in %.1f ms, %zu bytes\n",
                  (double)(to.tv_sec - from.tv_sec) * 1e3 +
                      (double)(to.tv_nsec - from.tv_nsec) / 1e6,
                  plan->config.len);
    assert_int_equal(plan->n_routes, 10000);
    assert_int_equal(plan->pools.n, 50);
    assert_null(strstr(text_of(plan), "-m str !"));
    fuse_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_configuration_is_what_it_always_was),
        T(the_same_routes_in_another_order_give_the_same_bytes),
        T(instances_do_not_change_the_structure),
        T(what_instances_say_of_themselves_cannot_get_into_the_text),
        T(no_text_of_a_route_gets_out_of_its_place),
        T(a_share_is_the_weight_divided_by_the_instances),
        T(only_listeners_of_the_group_and_with_their_certificate_are_there),
        T(ten_thousand_routes_need_no_rule_and_share_their_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
