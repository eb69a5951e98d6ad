#include "test.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "site.h"

/* Which of the servers answer n requests, by number. */
static void spread(struct site *s, const char *path, unsigned n, unsigned counts[8])
{
    memset(counts, 0, 8 * sizeof *counts);
    for (unsigned i = 0; i < n; i++) {
        struct lab_answer a;
        lab_get(&s->client, "any", path, &a);
        assert_int_equal(a.status, 200);
        assert_in_range(a.server, 0, 7);
        counts[a.server]++;
    }
}

static int status_of(struct site *s, const char *path)
{
    struct lab_answer a;
    lab_get(&s->client, "any", path, &a);
    return a.status;
}

static void instances_come_and_go_without_a_reload(void **state)
{
    struct site s;
    struct fuse_master before, after;
    unsigned counts[8];
    site_begin(&s, 4);
    site_put(&s, route(.name = "web", .service = "web"));
    site_open(&s);
    site_settle(&s);
    assert_int_equal(status_of(&s, "/"), 503);
    site_master(&s, &before);
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    site_settle(&s);
    spread(&s, "/", 10, counts);
    assert_int_equal(counts[0], 10);
    site_instance(&s, "web", 1, FUSE_INSTANCE_USABLE);
    site_instance(&s, "web", 2, FUSE_INSTANCE_STARTING);
    site_settle(&s);
    spread(&s, "/", 20, counts);
    assert_int_equal(counts[0], 10);
    assert_int_equal(counts[1], 10);
    site_instance(&s, "web", 0, FUSE_INSTANCE_UNHEALTHY);
    site_settle(&s);
    spread(&s, "/", 10, counts);
    assert_int_equal(counts[1], 10);
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    site_remove_instance(&s, "web", 1);
    site_settle(&s);
    spread(&s, "/", 10, counts);
    assert_int_equal(counts[0], 10);
    site_master(&s, &after);
    assert_int_equal(before.worker, after.worker);
    site_end(&s);
}

static void a_request_under_way_ends_well_when_its_instance_leaves(void **state)
{
    struct site s;
    struct lab_answer a;
    site_begin(&s, 2);
    site_put(&s, route(.name = "web", .service = "web"));
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    struct lab_client other = {.port = s.client.port, .fd = -1};
    assert_true(lab_send(&other, "GET /hold HTTP/1.1\r\nHost: any\r\n\r\n"));
    test_wait_until(lab_servers_held(s.servers, 0) == 1);
    site_instance(&s, "web", 1, FUSE_INSTANCE_USABLE);
    site_remove_instance(&s, "web", 0);
    site_settle(&s);
    unsigned counts[8];
    spread(&s, "/", 5, counts);
    assert_int_equal(counts[1], 5);
    lab_servers_release(s.servers);
    lab_receive(&other, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.server, 0);
    lab_client_close(&other);
    site_end(&s);
}

static const struct fuse_route *split(unsigned a, unsigned b)
{
    struct fuse_target targets[] = {{.service = "a", .host = "", .weight = a},
                                    {.service = "b", .host = "", .weight = b}};
    return route(.name = "split", .rest = {.targets = targets, .n_targets = 2});
}

static void weights_hold_however_many_instances_a_target_has(void **state)
{
    struct site s;
    struct fuse_master before, after;
    unsigned counts[8];
    site_begin(&s, 4);
    site_put(&s, split(80, 20));
    site_instance(&s, "a", 0, FUSE_INSTANCE_USABLE);
    site_instance(&s, "b", 1, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    spread(&s, "/", 100, counts);
    assert_in_range(counts[1], 15, 25);
    site_master(&s, &before);
    site_instance(&s, "b", 2, FUSE_INSTANCE_USABLE);
    site_instance(&s, "b", 3, FUSE_INSTANCE_USABLE);
    site_settle(&s);
    spread(&s, "/", 300, counts);
    assert_in_range(counts[0], 225, 255);
    assert_in_range(counts[3], 12, 28);
    site_master(&s, &after);
    assert_int_equal(before.worker, after.worker);
    site_end(&s);
}

static void a_new_route_is_a_new_configuration_and_the_old_connection_goes_on(void **state)
{
    struct site s;
    struct fuse_master before, after;
    struct site_seen seen;
    site_begin(&s, 1);
    site_put(&s, route(.name = "web", .path = "/web", .service = "web"));
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    site_master(&s, &before);
    assert_int_equal(status_of(&s, "/new"), 404);
    struct lab_client held = {.port = s.client.port, .fd = -1};
    assert_true(lab_send(&held, "GET /web HTTP/1.1\r\nHost: any\r\n\r\n"));
    struct lab_answer a;
    lab_receive(&held, &a);
    site_put(&s, route(.name = "new", .path = "/new", .service = "web"));
    site_settle(&s);
    site_master(&s, &after);
    assert_int_equal(before.pid, after.pid);
    assert_int_not_equal(before.worker, after.worker);
    lab_get(&held, "any", "/web", &a); /* of a connection the old worker has */
    assert_int_equal(a.status, 200);
    lab_client_close(&held);
    lab_client_close(&s.client);
    assert_int_equal(status_of(&s, "/new"), 200);
    site_see(&s, &seen);
    assert_true(seen.in_sync);
    assert_int_equal(seen.refusals, 0);
    site_end(&s);
}

static void the_next_fuse_takes_a_running_haproxy_over(void **state)
{
    struct site s;
    struct fuse_master before, after;
    unsigned counts[8];
    site_begin(&s, 3);
    site_put(&s, route(.name = "web", .service = "web"));
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    site_instance(&s, "web", 1, FUSE_INSTANCE_USABLE);
    site_settle(&s);
    site_master(&s, &before);
    site_close(&s);
    spread(&s, "/", 4, counts); /* goes on alone */
    site_remove_instance(&s, "web", 0);
    site_instance(&s, "web", 2, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    site_master(&s, &after);
    assert_int_equal(before.worker, after.worker);
    spread(&s, "/", 10, counts);
    assert_int_equal(counts[0], 0);
    assert_int_equal(counts[1], 5);
    site_close(&s);
    site_put(&s, route(.name = "new", .path = "/new", .service = "none"));
    site_open(&s);
    site_settle(&s);
    site_master(&s, &after);
    assert_int_equal(before.pid, after.pid);
    assert_int_not_equal(before.worker, after.worker);
    lab_client_close(&s.client);
    assert_int_equal(status_of(&s, "/new"), 503);
    site_end(&s);
}

/* This program as a process of its own with an adapter, until it is killed. */
static void live_alone(const char *dir, uint16_t port, int ready)
{
    struct site s;
    site_begin_at(&s, 0, dir, port);
    site_open(&s);
    site_settle(&s);
    if (write(ready, "x", 1) == 1) {
        pause();
    }
    _exit(1);
}

static void haproxy_outlives_a_fuse_that_is_killed(void **state)
{
    struct site s;
    struct fuse_master before, after;
    int ready[2];
    char byte, port[16], fd[16];
    site_begin(&s, 0);
    assert_int_equal(pipe(ready), 0);
    snprintf(port, sizeof port, "%u", s.listener.port);
    snprintf(fd, sizeof fd, "%d", ready[1]);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "adapter", s.dir, port, fd, (char *)NULL);
        _exit(127);
    }
    close(ready[1]); /* so that the end of the child is seen */
    assert_int_equal(read(ready[0], &byte, 1), 1);
    site_master(&s, &before);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(status_of(&s, "/"), 404);
    site_open(&s);
    site_settle(&s);
    site_master(&s, &after);
    assert_int_equal(before.worker, after.worker);
    assert_int_equal(status_of(&s, "/"), 404);
    close(ready[0]);
    site_end(&s);
}

/* Somebody starts another one by hand: it takes the sockets' names before it fails at the port. */
static void a_haproxy_that_cannot_be_reached_any_more_is_replaced(void **state)
{
    struct site s;
    struct fuse_master before, after;
    char command[1024];
    site_begin(&s, 2);
    site_put(&s, route(.name = "web", .service = "web"));
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    site_master(&s, &before);
    snprintf(
        command, sizeof command,
        "haproxy -W -D -f %s/haproxy.cfg -p %s/other.pid -S %s/master.sock,mode,600 2>/dev/null",
        s.home, s.home, s.home);
    assert_int_not_equal(system(command), 0);
    assert_int_not_equal(fuse_master_look(s.home, &after, NULL), 0);
    site_instance(&s, "web", 1, FUSE_INSTANCE_USABLE);
    site_remove_instance(&s, "web", 0);
    site_settle(&s);
    site_master(&s, &after);
    assert_int_not_equal(before.pid, after.pid);
    lab_client_close(&s.client);
    struct lab_answer a;
    lab_get(&s.client, "any", "/", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.server, 1);
    site_end(&s);
}

static void a_haproxy_that_dies_is_started_again(void **state)
{
    struct site s;
    struct fuse_master before, after;
    site_begin(&s, 1);
    site_put(&s, route(.name = "web", .service = "web"));
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    site_master(&s, &before);
    kill(before.pid, SIGKILL);
    lab_client_close(&s.client);
    test_wait_until(fuse_master_look(s.home, &after, NULL) == 0 && after.pid != before.pid &&
                    after.worker != 0);
    test_wait_until(status_of(&s, "/") == 200);
    site_end(&s);
}

/* A HAProxy that refuses configurations with this word. */
static void write_picky(struct site *s, char path[400])
{
    snprintf(path, 400, "%s/picky", s->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "#!/bin/sh\n"
            "if [ \"$1\" = -c ] && grep -q poison \"$3\"; then\n"
            "  echo \"[ALERT]    (1) : config : parsing [$3:7] : poison is not to be had.\" >&2\n"
            "  exit 1\n"
            "fi\n"
            "exec haproxy \"$@\"\n");
    fclose(file);
    assert_int_equal(chmod(path, 0700), 0);
}

static void a_refused_route_is_found_and_left_out_and_the_rest_goes_on(void **state)
{
    struct site s;
    char path[400], name[16], prefix[16];
    struct site_seen seen;
    site_begin(&s, 1);
    write_picky(&s, path);
    s.program = path;
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "r%u", i);
        snprintf(prefix, sizeof prefix, "/%u", i);
        site_put(&s, route(.name = name, .path = prefix, .service = "web"));
    }
    site_open(&s);
    site_settle(&s);
    site_put(&s, route(.name = "r13", .path = "/13", .service = "poison", .header = "x"));
    site_settle(&s);
    site_put(&s, route(.name = "later", .path = "/later", .service = "web"));
    site_settle(&s);
    lab_client_close(&s.client);
    assert_int_equal(status_of(&s, "/later"), 200);
    assert_int_equal(status_of(&s, "/12"), 200);
    assert_string_equal(s.quarantined, "r13");
    assert_string_equal(s.words, "parsing [trial.cfg:7] : poison is not to be had.");
    assert_int_equal(s.n_quarantined, 1);
    site_see(&s, &seen);
    assert_int_equal(seen.refusals, 1);
    assert_non_null(strstr(seen.words, "poison is not to be had"));
    snprintf(path, sizeof path, "%s/refused.cfg", s.home);
    assert_int_equal(access(path, R_OK), 0);
    snprintf(path, sizeof path, "%s/refused.txt", s.home);
    assert_int_equal(access(path, R_OK), 0);
    site_put(&s, route(.name = "r13", .path = "/thirteen", .service = "web"));
    site_settle(&s);
    lab_client_close(&s.client);
    assert_int_equal(status_of(&s, "/thirteen"), 200);
    site_end(&s);
}

static void what_no_route_is_guilty_of_keeps_the_old_configuration(void **state)
{
    struct site s;
    struct fuse_master before, after;
    site_begin(&s, 1);
    site_put(&s, route(.name = "web", .service = "web"));
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    site_master(&s, &before);
    s.statics.n_listeners = 1;
    s.listener.address = "no address";
    site_put(&s, route(.name = "new", .path = "/new", .service = "web"));
    site_settle(&s);
    site_master(&s, &after);
    assert_int_equal(before.worker, after.worker);
    assert_int_equal(status_of(&s, "/"), 200);
    assert_int_equal(s.n_quarantined, 0);
    site_end(&s);
}

/* The check cannot see it: ports are taken at the reload. */
static void a_listener_whose_port_is_taken_leaves_the_old_one_at_work(void **state)
{
    struct site s;
    struct lab_answer a;
    struct site_seen seen = {0};
    site_begin(&s, 2);
    site_put(&s, route(.name = "web", .service = "web"));
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    struct sockaddr_in taken = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof taken;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (void *)&taken, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (void *)&taken, &len), 0);
    s.listener.port = ntohs(taken.sin_port); /* nothing else runs that reads it */
    site_put(&s, route(.name = "new", .path = "/new", .service = "web"));
    for (int i = 0; i < 3000 && seen.refusals == 0; i++) {
        site_see(&s, &seen);
        poll(NULL, 0, 10);
    }
    assert_non_null(strstr(seen.words, "taken"));
    site_instance(&s, "web", 1, FUSE_INSTANCE_USABLE);
    site_remove_instance(&s, "web", 0);
    bool moved = false;
    for (int i = 0; i < 3000 && !moved; i++) {
        lab_get(&s.client, "any", "/", &a);
        moved = a.status == 200 && a.server == 1;
        poll(NULL, 0, 10);
    }
    assert_true(moved);
    close(fd);
    site_settle(&s);
    lab_client_close(&s.client);
    s.client.port = s.listener.port;
    assert_int_equal(status_of(&s, "/new"), 200);
    site_end(&s);
}

static void whatever_connection_to_haproxy_fails_it_gets_its_servers(void **state)
{
    struct site s;
    struct lab_answer a;
    site_begin(&s, 2);
    site_put(&s, route(.name = "web", .service = "web"));
    site_instance(&s, "web", 1, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    for (unsigned n = 1; n <= 4; n++) {
        chassis_fault_arm("fuse.haproxy.dial", n);
        site_instance(&s, "web", n % 2, FUSE_INSTANCE_UNHEALTHY);
        site_instance(&s, "web", (n + 1) % 2, FUSE_INSTANCE_USABLE);
        site_settle(&s);
        chassis_fault_disarm();
        lab_get(&s.client, "any", "/", &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.server, (n + 1) % 2);
    }
    site_end(&s);
}

static double ms_since(const struct timespec *from)
{
    struct timespec to;
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (double)(to.tv_sec - from->tv_sec) * 1e3 + (double)(to.tv_nsec - from->tv_nsec) / 1e6;
}

static void ten_thousand_routes_are_taken_like_ten(void **state)
{
    enum { ROUTES = 10000, HOSTS = 100, SERVICES = 1000, REQUESTS = 2000 };
    struct site s;
    struct timespec from;
    struct lab_answer a;
    char name[32], path[64], host[32], service[32];
    site_begin(&s, 1);
    for (unsigned i = 0; i < SERVICES; i++) {
        snprintf(service, sizeof service, "s%u", i);
        site_instance(&s, service, 0, FUSE_INSTANCE_USABLE);
    }
    for (unsigned i = 0; i < ROUTES; i++) {
        snprintf(name, sizeof name, "r%u", i);
        snprintf(path, sizeof path, "/pkg.Service%u/", i);
        snprintf(host, sizeof host, "h%u.example.com", i % HOSTS);
        snprintf(service, sizeof service, "s%u", i % SERVICES);
        site_put(&s, route(.name = name, .path = path, .host = host, .service = service,
                           .method = i % 3 == 0 ? "GET" : NULL));
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    site_open(&s);
    site_settle(&s);
    print_message("%d routes: started in %.0f ms\n", ROUTES, ms_since(&from));
    clock_gettime(CLOCK_MONOTONIC, &from);
    site_put(&s, route(.name = "one", .path = "/one", .service = "s1"));
    site_settle(&s);
    print_message("one more: in use in %.0f ms\n", ms_since(&from));
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned i = 0; i < REQUESTS; i++) {
        snprintf(path, sizeof path, "/pkg.Service%u/Method", i * 5 % ROUTES);
        snprintf(host, sizeof host, "h%u.example.com", i * 5 % HOSTS);
        lab_get(&s.client, host, path, &a);
        assert_int_equal(a.status, 200);
    }
    print_message("%.1f us per request\n", ms_since(&from) * 1000 / REQUESTS);
    lab_get(&s.client, "h1.example.com", "/pkg.Service2/Method", &a);
    assert_int_equal(a.status, 404);
    site_end(&s);
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        live_alone(argv[1], (uint16_t)atoi(argv[2]), atoi(argv[3]));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(haproxy_outlives_a_fuse_that_is_killed),
        cmocka_unit_test(instances_come_and_go_without_a_reload),
        cmocka_unit_test(a_request_under_way_ends_well_when_its_instance_leaves),
        cmocka_unit_test(weights_hold_however_many_instances_a_target_has),
        cmocka_unit_test(a_new_route_is_a_new_configuration_and_the_old_connection_goes_on),
        cmocka_unit_test(the_next_fuse_takes_a_running_haproxy_over),
        cmocka_unit_test(a_haproxy_that_dies_is_started_again),
        cmocka_unit_test(a_haproxy_that_cannot_be_reached_any_more_is_replaced),
        cmocka_unit_test(a_refused_route_is_found_and_left_out_and_the_rest_goes_on),
        cmocka_unit_test(what_no_route_is_guilty_of_keeps_the_old_configuration),
        cmocka_unit_test(a_listener_whose_port_is_taken_leaves_the_old_one_at_work),
        cmocka_unit_test(whatever_connection_to_haproxy_fails_it_gets_its_servers),
        cmocka_unit_test(ten_thousand_routes_are_taken_like_ten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
