/* The real HAProxy, given a configuration we rendered, does with random requests what Explain says. */
#include "test.h"

#include <signal.h>
#include <sys/wait.h>

#include "fuse/haproxy/render.h"
#include "os/disk.h"
#include "random.h"
#include "unit/fuse_haproxy/nasty.h"

enum { ROUTES = 70, REQUESTS = 700 };

struct stage {
    char dir[256];
    struct fuse_model *model;
    struct fuse_view *view;
    struct fuse_socket_listener listener;
    struct fuse_statics statics;
    struct fuse_plan *plan;
    pid_t haproxy;
    struct lab_client client;
};

static void write_plan(const struct stage *s)
{
    char path[512];
    struct chassis_error err = {0};
    for (unsigned i = 0; i < s->plan->n_files; i++) {
        snprintf(path, sizeof path, "%s/%s", s->dir, s->plan->files[i].name);
        assert_int_equal(chassis_disk_replace_file(chassis_disk_posix(), path,
                                                   chassis_buf_view(&s->plan->files[i].content),
                                                   &err),
                         0);
    }
    snprintf(path, sizeof path, "%s/haproxy.cfg", s->dir);
    assert_int_equal(chassis_disk_replace_file(chassis_disk_posix(), path,
                                               chassis_buf_view(&s->plan->config), &err),
                     0);
}

static pid_t spawn(const struct stage *s, const char *flag)
{
    char path[512];
    snprintf(path, sizeof path, "%s/haproxy.cfg", s->dir);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("haproxy", "haproxy", flag, "-q", "-f", path, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static void check(const struct stage *s)
{
    int status = -1;
    pid_t pid = spawn(s, "-c");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0) {
        print_error("refused: %s/haproxy.cfg\n", s->dir);
    }
    assert_int_equal(status, 0);
}

static void stage_begin(struct stage *s, const char *group)
{
    *s = (struct stage){.client.fd = -1};
    snprintf(s->dir, sizeof s->dir, "/tmp/fuse-haproxy-XXXXXX"); /* sockets have short paths */
    assert_non_null(mkdtemp(s->dir));
    s->model = fuse_model_new();
    s->view = fuse_view_new(s->model, group);
    s->listener = (struct fuse_socket_listener){
        .name = "default", .address = "127.0.0.1", .port = lab_free_port()};
    s->statics = (struct fuse_statics){.listeners = &s->listener, .n_listeners = 1};
    s->client.port = s->listener.port;
}

static void stage_render(struct stage *s)
{
    struct chassis_error err = {0};
    struct fuse_plan_options options = {
        .view = s->view, .statics = &s->statics, .directory = s->dir};
    int rc = fuse_plan_new(&options, &s->plan, &err);
    if (rc != 0) {
        fail_msg("%s", err.text);
    }
    write_plan(s);
}

/* A test that fails must not leave a HAProxy behind. */
static pid_t running;
static void stop_running(void)
{
    if (running != 0) {
        kill(running, SIGTERM);
    }
}

static void stage_run(struct stage *s)
{
    running = s->haproxy = spawn(s, "-db");
    struct lab_answer a = {0};
    for (int tries = 0; a.status == 0 && tries < 3000; tries++) {
        poll(NULL, 0, 5);
        lab_get(&s->client, "nobody", "/nothing", &a);
    }
    assert_int_not_equal(a.status, 0);
}

static void stage_end(struct stage *s)
{
    if (s->haproxy != 0) {
        kill(s->haproxy, SIGTERM);
        waitpid(s->haproxy, NULL, 0);
        running = 0;
    }
    lab_client_close(&s->client);
    fuse_plan_free(s->plan);
    fuse_view_free(s->view);
    fuse_model_free(s->model);
    test_rmtree(s->dir);
}

static void compare(struct stage *s, const struct random_request *r)
{
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    const struct fuse_entry *winner = fuse_decide(s->view, "default", &r->request);
    int server = winner != NULL ? atoi(winner->route->name + strlen("route-")) : -1;
    const char *path = winner != NULL ? fuse_rewrite(winner->route, r->path, &arena) : "";
    struct lab_answer a;
    lab_ask(&s->client, r->head, &a);
    int status = winner != NULL ? 200 : 404;
    if (a.status != status || a.server != server || strcmp(a.path, path) != 0) {
        fail_msg("%s: request\n%s\nexpected %d from server %d with path '%s', "
                 "haproxy gave %d from server %d with path '%s'",
                 s->dir, r->head, status, server, path, a.status, a.server, a.path);
    }
    chassis_arena_fini(&arena);
}

static void haproxy_does_what_explain_says(void **state)
{
    const char *given = getenv("DRAFT_SEED");
    uint64_t first = given != NULL ? strtoull(given, NULL, 10) : 1;
    unsigned rounds = given != NULL ? 1 : 6, matched = 0;
    struct lab_servers *servers = lab_servers_start(ROUTES);
    for (uint64_t seed = first; seed < first + rounds; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        struct chassis_prng prng;
        chassis_prng_init(&prng, seed);
        struct stage s;
        stage_begin(&s, "");
        unsigned n = 1 + (unsigned)chassis_prng_below(&prng, ROUTES);
        for (unsigned i = 0; i < n; i++) {
            fixture_put(s.model, i + 1, random_route(&prng, i, lab_servers_port(servers)));
        }
        stage_render(&s);
        check(&s);
        stage_run(&s);
        for (unsigned i = 0; i < REQUESTS; i++) {
            struct random_request r;
            random_request(&prng, &r);
            compare(&s, &r);
            matched += fuse_decide(s.view, "default", &r.request) != NULL;
        }
        stage_end(&s);
    }
    lab_servers_stop(servers);
    assert_true(given != NULL || matched > rounds * REQUESTS / 10);
}

static void no_text_of_a_route_makes_haproxy_refuse(void **state)
{
    struct stage s;
    stage_begin(&s, "");
    for (unsigned i = 0; i < NASTY_TEXTS; i++) {
        nasty_route(s.model, i);
        stage_render(&s);
        check(&s);
        fuse_plan_free(s.plan);
        s.plan = NULL;
    }
    stage_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(haproxy_does_what_explain_says),
        cmocka_unit_test(no_text_of_a_route_makes_haproxy_refuse),
    };
    atexit(stop_running);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
