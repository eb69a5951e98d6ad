/* What routes ask for beyond matching, and what listeners speak, as the real HAProxy does it. */
#include "test.h"

#include <sys/socket.h>

#include "os/disk.h"
#include "site.h"

static int status_of(struct site *s, const char *path, int *ret_server)
{
    struct lab_answer a;
    lab_get(&s->client, "any", path, &a);
    if (ret_server != NULL) {
        *ret_server = a.server;
    }
    return a.status;
}

static void begin(struct site *s, const struct fuse_route *route, unsigned n)
{
    site_begin(s, 4);
    site_put(s, route);
    for (unsigned i = 0; i < n; i++) {
        site_instance(s, "web", i, FUSE_INSTANCE_USABLE);
    }
    site_open(s);
    site_settle(s);
}

static void keys_stay_at_their_instance_through_reloads_and_others_coming(void **state)
{
    enum { KEYS = 60 };
    struct site s;
    int before[KEYS], after, moved = 0;
    unsigned seen = 0;
    char path[64];
    begin(&s,
          route(.name = "web", .service = "web",
                .rest = {.hash_kind = FUSE_HASH_QUERY, .hash_name = "user"}),
          3);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(path, sizeof path, "/?user=u%u", i);
        assert_int_equal(status_of(&s, path, &before[i]), 200);
        seen |= 1u << before[i];
    }
    assert_int_equal(seen, 7); /* of all three */
    site_put(&s, route(.name = "other", .path = "/other", .service = "web"));
    site_settle(&s);
    lab_client_close(&s.client);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(path, sizeof path, "/?user=u%u", i);
        assert_int_equal(status_of(&s, path, &after), 200);
        assert_int_equal(after, before[i]);
    }
    site_instance(&s, "web", 3, FUSE_INSTANCE_USABLE);
    site_settle(&s);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(path, sizeof path, "/?user=u%u", i);
        assert_int_equal(status_of(&s, path, &after), 200);
        moved += after != before[i];
        assert_true(after == before[i] || after == 3);
    }
    assert_in_range(moved, 1, KEYS / 2);
    site_remove_instance(&s, "web", 3);
    site_settle(&s);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(path, sizeof path, "/?user=u%u", i);
        assert_int_equal(status_of(&s, path, &after), 200);
        assert_int_equal(after, before[i]);
    }
    site_end(&s);
}

static void a_breaker_answers_503_beyond_its_requests(void **state)
{
    struct site s;
    struct lab_answer a;
    begin(&s,
          route(.name = "web", .service = "web",
                .rest = {.breaker = {.set = true, .max_requests = 2}}),
          1);
    struct lab_client first = {s.client.port, -1}, second = {s.client.port, -1};
    assert_true(lab_send(&first, "GET /hold HTTP/1.1\r\nHost: any\r\n\r\n"));
    assert_true(lab_send(&second, "GET /hold HTTP/1.1\r\nHost: any\r\n\r\n"));
    test_wait_until(lab_servers_held(s.servers, 0) == 2);
    assert_int_equal(status_of(&s, "/", NULL), 503);
    lab_servers_release(s.servers);
    lab_receive(&first, &a);
    assert_int_equal(a.status, 200);
    lab_receive(&second, &a);
    assert_int_equal(a.status, 200);
    test_wait_until(status_of(&s, "/", NULL) == 200);
    lab_client_close(&first);
    lab_client_close(&second);
    site_end(&s);
}

static void a_route_that_retries_hides_an_instance_that_fails(void **state)
{
    struct site s;
    int server = -1;
    begin(&s, route(.name = "plain", .path = "/plain", .service = "web"), 2);
    site_put(&s, route(.name = "again", .path = "/again", .service = "web",
                       .rest = {.retry = {.on = 1u << 4, .retries = 3}}));
    site_settle(&s);
    unsigned failed = 0;
    for (unsigned i = 0; i < 10; i++) {
        failed += status_of(&s, "/plain?fail=0", NULL) == 500;
        assert_int_equal(status_of(&s, "/again?fail=0", &server), 200);
        assert_int_equal(server, 1);
    }
    assert_int_equal(failed, 5);
    site_end(&s);
}

static void an_instance_with_errors_is_left_out_for_a_while(void **state)
{
    struct site s;
    int server = -1;
    begin(&s,
          route(.name = "web", .service = "web",
                .rest = {.outlier = {.set = true,
                                     .consecutive_errors = 2,
                                     .interval_ms = 60000,
                                     .base_ejection_ms = 300,
                                     .max_ejection_percent = 50}}),
          1);
    site_instance(&s, "web", 1, FUSE_INSTANCE_USABLE); /* by the socket: watched as well */
    site_settle(&s);
    unsigned failed = 0;
    for (unsigned i = 0; i < 20; i++) {
        failed += status_of(&s, "/?fail=1", &server) == 500;
    }
    assert_in_range(failed, 2, 4);
    bool back = false;
    test_wait_until(back || (back = status_of(&s, "/", &server) == 200 && server == 1));
    site_end(&s);
}

static void a_timeout_is_answered_with_504(void **state)
{
    struct site s;
    begin(&s, route(.name = "web", .service = "web", .rest = {.timeout_ms = 100}), 1);
    assert_int_equal(status_of(&s, "/hold", NULL), 504);
    site_end(&s);
}

static void websockets_pass(void **state)
{
    struct site s;
    char in[512] = "";
    begin(&s, route(.name = "web", .service = "web"), 1);
    assert_true(lab_send(&s.client, "GET /ws HTTP/1.1\r\nHost: any\r\nConnection: Upgrade\r\n"
                                    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"));
    size_t len = 0;
    while (strstr(in, "\r\n\r\n") == NULL) {
        ssize_t n = recv(s.client.fd, in + len, sizeof in - 1 - len, 0);
        assert_true(n > 0);
        len += (size_t)n;
        in[len] = '\0';
    }
    assert_int_equal(strncmp(in, "HTTP/1.1 101", 12), 0);
    site_put(&s, route(.name = "other", .path = "/other", .service = "web"));
    site_settle(&s); /* the tunnel outlives its worker's time */
    assert_int_equal(send(s.client.fd, "hello", 5, 0), 5);
    assert_int_equal(recv(s.client.fd, in, 5, MSG_WAITALL), 5);
    assert_memory_equal(in, "hello", 5);
    site_end(&s);
}

static int run(const char *format, ...) CHASSIS_PRINTF(1, 2);
static int run(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command);
}

static struct chassis_buf read_file(const char *dir, const char *name)
{
    char path[512];
    struct chassis_buf content = {0};
    struct chassis_error err = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(chassis_disk_read_file(chassis_disk_posix(), path, 1 << 20, &content, &err),
                     0);
    return content;
}

static void tls_listeners_speak_http2_and_http1(void **state)
{
    struct site s;
    site_begin(&s, 1);
    assert_int_equal(
        run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
            "-days 2 -subj /CN=site.test -addext subjectAltName=DNS:site.test "
            "-keyout %s/key.pem -out %s/cert.pem 2>/dev/null",
            s.dir, s.dir),
        0);
    struct chassis_buf certificate = read_file(s.dir, "cert.pem"),
                       key = read_file(s.dir, "key.pem");
    struct fuse_secret_files secret = {.name = "site",
                                       .certificate = chassis_buf_view(&certificate),
                                       .key = chassis_buf_view(&key)};
    s.listener.secret = "site";
    s.statics.secrets = &secret;
    s.statics.n_secrets = 1;
    site_put(&s, route(.name = "web", .host = "site.test", .service = "web"));
    site_instance(&s, "web", 0, FUSE_INSTANCE_USABLE);
    site_open(&s);
    site_settle(&s);
    static const char *const versions[] = {"1.1", "2"};
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(
            run("test \"$(curl -s --noproxy '*' --http%s --cacert %s/cert.pem -o /dev/null "
                "-w '%%{http_version} %%{http_code}' --resolve site.test:%u:127.0.0.1 "
                "https://site.test:%u/)\" = '%s 200'",
                versions[i], s.dir, s.listener.port, s.listener.port, versions[i]),
            0);
    }
    chassis_buf_fini(&certificate);
    chassis_buf_fini(&key);
    site_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_stay_at_their_instance_through_reloads_and_others_coming),
        cmocka_unit_test(a_breaker_answers_503_beyond_its_requests),
        cmocka_unit_test(a_route_that_retries_hides_an_instance_that_fails),
        cmocka_unit_test(an_instance_with_errors_is_left_out_for_a_while),
        cmocka_unit_test(a_timeout_is_answered_with_504),
        cmocka_unit_test(websockets_pass),
        cmocka_unit_test(tls_listeners_speak_http2_and_http1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
