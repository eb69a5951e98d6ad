/* Clients that send one byte now and then: each byte restarts what libmicrohttpd waits, none ours. */
#include "test.h"

#include <errno.h>
#include <sys/socket.h>

#include "http/http.h"
#include "os/os.h"
#include "raw.h"

enum { LIMIT_MS = 300, EVERY_MS = 20, BYTES = 200 };

static struct chassis_http *http;
static uint16_t port;

static int setup(void **state)
{
    struct chassis_http_options options = {.address = "127.0.0.1:0",
                                           .admin_address = "127.0.0.1:0",
                                           .name = "slow",
                                           .version = "1",
                                           .idle_timeout_ms = LIMIT_MS,
                                           .upload_timeout_ms = LIMIT_MS};
    struct chassis_error err = {0};
    assert_int_equal(chassis_http_start(&options, &http, &err), 0);
    port = chassis_http_port(http);
    return 0;
}
static int teardown(void **state)
{
    chassis_http_stop(http);
    return 0;
}

/* Send `text`, then a byte every EVERY_MS. The number of bytes after which the server hung up, or
 * BYTES if it never did. */
static int drip(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    for (int i = 0; i < BYTES; i++) {
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        char byte;
        if (poll(&pollfd, 1, EVERY_MS) == 1 && read(fd, &byte, 1) <= 0) {
            return i;
        }
        if (send(fd, "x", 1, MSG_NOSIGNAL) != 1) {
            return i;
        }
    }
    return BYTES;
}

static void check(int fd, const char *text)
{
    uint64_t begin = chassis_os_monotonic_ns();
    int bytes = drip(fd, text);
    uint64_t ms = (chassis_os_monotonic_ns() - begin) / CHASSIS_NS_PER_MS;
    assert_true(bytes < BYTES);
    assert_true(ms >= LIMIT_MS / 2);
    close(fd);
}

static void a_client_that_drips_its_headers_is_cut_off(void **state)
{
    check(raw_connect(port), "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
}

static void a_client_that_drips_its_body_is_cut_off(void **state)
{
    check(raw_connect(chassis_http_admin_port(http)),
          "POST /loglevel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n");
}

static void a_kept_connection_that_drips_its_next_request_is_cut_off(void **state)
{
    int fd = raw_connect(port);
    const char first[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char answer[512] = "";
    assert_int_equal(write(fd, first, sizeof first - 1), (ssize_t)sizeof first - 1);
    size_t n = 0;
    while (strstr(answer, "\r\n\r\n") == NULL || answer[n - 1] != '\n') {
        ssize_t more = read(fd, answer + n, sizeof answer - 1 - n);
        assert_true(more > 0);
        n += (size_t)more;
    }
    assert_non_null(strstr(answer, "200"));
    check(fd, "GET /livez HTTP/1.1\r\nX-Slow: ");
}

static void a_silent_client_is_cut_off(void **state)
{
    int fd = raw_connect(port);
    char byte;
    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_drips_its_headers_is_cut_off),
        cmocka_unit_test(a_client_that_drips_its_body_is_cut_off),
        cmocka_unit_test(a_kept_connection_that_drips_its_next_request_is_cut_off),
        cmocka_unit_test(a_silent_client_is_cut_off),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
