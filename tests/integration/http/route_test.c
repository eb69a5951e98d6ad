/* HTTP routes of a service's own, over real sockets. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include <chassis/http_route.h>

#include "http/http.h"
#include "os/os.h"
#include "raw.h"
#include "rpc/server.h"

static struct {
    struct chassis_pool *workers;
    struct chassis_server *server;
    struct chassis_http *http;
    uint16_t port;
    pthread_mutex_t mutex;
    struct chassis_call *waiting;
    atomic_uint cancelled, sent, refused;
} world;

/* "method path rest query body" of what came, and a header. */
static void echo(struct chassis_call *call, const struct chassis_http_request *request)
{
    struct chassis_buf body = {0};
    const char *q = chassis_http_query(call, "q");
    const char *header = chassis_call_metadata(call, "x-word");
    chassis_buf_printf(&body, "%s|%s|%s|%s|%s|%.*s|%s", request->method, request->path,
                       request->rest, q != NULL ? q : "-", header != NULL ? header : "-",
                       CHASSIS_VIEW_ARG(request->body), (const char *)chassis_call_data(call));
    chassis_call_set_header(call, "x-count", chassis_view_str("1"));
    chassis_http_answer(call, 202, "text/plain", chassis_buf_view(&body));
    chassis_buf_fini(&body);
}

static void refuse(struct chassis_call *call, const struct chassis_http_request *request)
{
    chassis_call_fail(call, CHASSIS_FAILED_PRECONDITION, "not \"%s\"", request->rest);
}

static void silent(struct chassis_call *call, const struct chassis_http_request *request)
{
    chassis_call_finish(call);
}

static void on_cancel(struct chassis_call *call, void *data)
{
    pthread_mutex_lock(&world.mutex);
    bool mine = world.waiting == call;
    world.waiting = mine ? NULL : world.waiting;
    pthread_mutex_unlock(&world.mutex);
    atomic_fetch_add(&world.cancelled, 1);
    if (mine) {
        chassis_call_fail(call, CHASSIS_CANCELLED, "gone");
    }
}

static struct chassis_call *take_waiting(void)
{
    pthread_mutex_lock(&world.mutex);
    struct chassis_call *call = world.waiting;
    world.waiting = NULL;
    pthread_mutex_unlock(&world.mutex);
    return call;
}

static bool is_waiting(void)
{
    pthread_mutex_lock(&world.mutex);
    bool is = world.waiting != NULL;
    pthread_mutex_unlock(&world.mutex);
    return is;
}

static struct chassis_call *wait_call(void)
{
    test_wait_until(is_waiting());
    return take_waiting();
}

static void park(struct chassis_call *call, const struct chassis_http_request *request)
{
    if (strcmp(request->rest, "begun") == 0) {
        chassis_http_begin(call, 200, "text/event-stream");
    }
    chassis_call_on_cancel(call, on_cancel, NULL);
    pthread_mutex_lock(&world.mutex);
    world.waiting = call;
    pthread_mutex_unlock(&world.mutex);
}

/* 64 MiB in pieces of 1 KiB, as fast as the client takes them. */
static void pour_on(struct chassis_call *call, void *data)
{
    static const uint8_t kilobyte[1024] = {'x'};
    uint32_t *left = data;
    for (; *left != 0; --*left) {
        int rc = chassis_call_send_bytes(call, chassis_view(kilobyte, sizeof kilobyte));
        if (rc == CHASSIS_RESOURCE_EXHAUSTED) {
            atomic_fetch_add(&world.refused, 1);
            return;
        }
        if (rc != 0) {
            break;
        }
        atomic_fetch_add(&world.sent, 1);
    }
    chassis_call_finish(call);
}

static void pour(struct chassis_call *call, const struct chassis_http_request *request)
{
    uint32_t *left = chassis_arena_alloc(chassis_call_arena(call), sizeof *left);
    *left = 65536;
    chassis_http_begin(call, 200, "application/octet-stream");
    chassis_call_on_writable(call, pour_on, left);
    pour_on(call, left);
}

static char one[] = "one", two[] = "two";
static const struct chassis_http_route routes[] = {
    {.method = "GET", .path = "/things", .handle = echo, .data = one},
    {.method = "POST", .path = "/things", .handle = echo, .body_bytes_max = 1000, .data = one},
    {.method = "PUT", .path = "/things/special", .handle = echo, .never_blocks = true, .data = two},
    {.method = "POST", .path = "/refuse", .handle = refuse},
    {.method = "POST", .path = "/asked", .handle = echo, .data = one},
    {.method = "OPTIONS", .path = "/asked", .handle = echo, .data = two},
    {.method = "DELETE", .path = "/silent", .handle = silent},
    {.method = "GET", .path = "/park", .handle = park, .lasting = true},
    {.method = "GET", .path = "/hurry", .handle = park},
    {.method = "GET", .path = "/pour", .handle = pour, .never_blocks = true, .lasting = true},
    {.method = "GET", .path = "/operate", .handle = echo, .access = CHASSIS_ACCESS_OPERATOR},
    {.method = "GET", .path = "/livez", .handle = refuse},
};
static const char *const origins[] = {"https://app.example"};

static int setup(void **state)
{
    struct chassis_error err = {0};
    memset(&world, 0, sizeof world);
    pthread_mutex_init(&world.mutex, NULL);
    assert_int_equal(chassis_os_pool_start("worker", 2, 100, &world.workers), 0);
    struct chassis_server_options server = {.workers = chassis_os_pool_executor(world.workers),
                                            .queue_bytes_max = 64 * 1024};
    assert_int_equal(chassis_server_new(&server, &world.server, &err), 0);
    assert_int_equal(chassis_server_start(world.server, &err), 0);
    struct chassis_http_options options = {.address = "127.0.0.1:0",
                                           .server = world.server,
                                           .routes = routes,
                                           .n_routes = sizeof routes / sizeof routes[0],
                                           .origins = origins,
                                           .n_origins = 1,
                                           .name = "test",
                                           .version = "1",
                                           .body_bytes_max = 100000,
                                           .call_timeout_ms = 300};
    assert_int_equal(chassis_http_start(&options, &world.http, &err), 0);
    world.port = chassis_http_port(world.http);
    return 0;
}

static int teardown(void **state)
{
    chassis_http_quiesce(world.http, 0);
    chassis_server_drain(world.server, 2000);
    chassis_http_stop(world.http);
    chassis_server_free(world.server);
    chassis_os_pool_stop(world.workers);
    return 0;
}

static void expect(const char *method, const char *path, const char *headers, const char *body,
                   int status, const char *answer)
{
    struct raw_answer a;
    raw_call(world.port, method, path, headers, body, &a);
    const char *got = a.body.len != 0 ? (const char *)a.body.data : "";
    if (a.status != status || (answer != NULL && strcmp(got, answer) != 0)) {
        fail_msg("%s %s: %d '%s'; expected %d '%s'", method, path, a.status, got, status,
                 answer != NULL ? answer : "");
    }
    raw_free(&a);
}

static void a_request_reaches_its_route_with_all_it_has(void **state)
{
    struct raw_answer a;
    expect("GET", "/things", "", NULL, 202, "GET|/things||-|-||one");
    expect("GET", "/things/a%20b/c?q=1%262&z", "X-Word: hi\r\n", NULL, 202,
           "GET|/things/a b/c|a b/c|1&2|hi||one");
    expect("POST", "/things/x", "Content-Type: text/plain\r\n", "body", 202,
           "POST|/things/x|x|-|-|body|one");
    expect("PUT", "/things/special/y", "", "z", 202, "PUT|/things/special/y|y|-|-|z|two");
    raw_call(world.port, "GET", "/things", "", NULL, &a);
    assert_string_equal(raw_header(&a, "x-count"), "1");
    assert_string_equal(raw_header(&a, "Content-Type"), "text/plain");
    raw_free(&a);
}

static void what_no_route_takes_is_told_so(void **state)
{
    struct raw_answer a;
    expect("GET", "/thingsx", "", NULL, 404, NULL);
    raw_call(world.port, "DELETE", "/things/x", "", NULL, &a);
    assert_int_equal(a.status, 405);
    assert_non_null(strstr(raw_header(&a, "Allow"), "GET"));
    assert_non_null(strstr(raw_header(&a, "Allow"), "POST"));
    raw_free(&a);
    raw_call(world.port, "GET", "/things/special", "", NULL, &a);
    assert_int_equal(a.status, 405);
    assert_string_equal(raw_header(&a, "Allow"), "PUT");
    raw_free(&a);
    expect("GET", "/livez", "", NULL, 200, "{\"status\":\"alive\"}\n"); /* the chassis' own */
}

static void failures_are_json_with_the_status_of_their_code(void **state)
{
    struct raw_answer a;
    raw_call(world.port, "POST", "/refuse/this", "", "", &a);
    assert_int_equal(a.status, 400);
    assert_string_equal(raw_header(&a, "Content-Type"), "application/json");
    assert_string_equal((const char *)a.body.data,
                        "{\"code\":\"failed_precondition\",\"message\":\"not \\\"this\\\"\"}");
    raw_free(&a);
    expect("DELETE", "/silent", "", NULL, 204, "");
    expect("GET", "/operate", "", NULL, 401, NULL);
    expect("GET", "/hurry", "", NULL, 504,
           "{\"code\":\"deadline_exceeded\",\"message\":\"deadline "
           "exceeded\"}");
    assert_int_equal(atomic_load(&world.cancelled), 1);
}

static void a_body_beyond_the_routes_limit_is_refused(void **state)
{
    char body[1002];
    memset(body, 'x', sizeof body - 1);
    body[1001] = '\0';
    expect("POST", "/things", "", body, 413, NULL);
    body[1000] = '\0';
    expect("POST", "/things", "", body, 202, NULL);
}

static void an_answer_may_come_later_and_from_any_role(void **state)
{
    struct raw_answer a;
    int fd = raw_connect(world.port);
    raw_send(fd, "GET", "/park", "", NULL, 0);
    chassis_http_answer(wait_call(), 201, NULL, chassis_view_str("late"));
    raw_read(fd, &a);
    assert_int_equal(a.status, 201);
    assert_string_equal((const char *)a.body.data, "late");
    raw_free(&a);
}

static size_t read_until(int fd, char *room, size_t size, const char *what)
{
    size_t n = 0;
    while (memmem(room, n, what, strlen(what)) == NULL) {
        ssize_t got = recv(fd, room + n, size - n - 1, 0);
        assert_true(got > 0);
        n += (size_t)got;
    }
    room[n] = '\0';
    return n;
}

static void pieces_are_seen_as_they_are_sent(void **state)
{
    char room[4096];
    struct raw_answer a;
    int fd = raw_connect(world.port);
    raw_send(fd, "GET", "/park/begun", "", NULL, 0);
    read_until(fd, room, sizeof room, "\r\n\r\n"); /* before there is any body */
    assert_non_null(strstr(room, "200 OK"));
    assert_non_null(strstr(room, "text/event-stream"));
    struct chassis_call *call = wait_call();
    assert_int_equal(chassis_call_send_bytes(call, chassis_view_str("first")), 0);
    read_until(fd, room, sizeof room, "first");
    assert_int_equal(chassis_call_send_bytes(call, chassis_view_str("second")), 0);
    chassis_call_finish(call);
    read_until(fd, room, sizeof room, "0\r\n\r\n");
    assert_non_null(strstr(room, "second"));
    close(fd);

    fd = raw_connect(world.port); /* broken off: no last chunk */
    raw_send(fd, "GET", "/park/begun", "", NULL, 0);
    chassis_call_fail(wait_call(), CHASSIS_INTERNAL, "broken");
    raw_read(fd, &a);
    assert_int_equal(a.body.len, 0);
    assert_null(memmem(a.headers.data, a.headers.len, "broken", 6));
    raw_free(&a);
}

static void a_client_that_goes_away_cancels_the_call(void **state)
{
    for (int i = 0; i < 2; i++) {
        unsigned before = atomic_load(&world.cancelled);
        int fd = raw_connect(world.port);
        raw_send(fd, "GET", i == 0 ? "/park" : "/park/begun", "", NULL, 0);
        test_wait_until(is_waiting());
        close(fd);
        test_wait_until(atomic_load(&world.cancelled) == before + 1);
        assert_null(take_waiting());
    }
}

static void a_slow_reader_is_bounded_and_loses_nothing(void **state)
{
    struct raw_answer a;
    int fd = raw_connect(world.port);
    raw_send(fd, "GET", "/pour", "", NULL, 0);
    test_wait_until(atomic_load(&world.refused) != 0);
    assert_true(atomic_load(&world.sent) < 65536);
    raw_read(fd, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.len, 64 << 20);
    raw_free(&a);
}

static void browsers_may_call_from_allowed_origins(void **state)
{
    struct raw_answer a;
    raw_call(world.port, "OPTIONS", "/things",
             "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n"
             "Access-Control-Request-Headers: ce-id\r\n",
             NULL, &a);
    assert_int_equal(a.status, 204);
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Headers"), "ce-id");
    assert_non_null(strstr(raw_header(&a, "Access-Control-Allow-Methods"), "POST"));
    raw_free(&a);
    raw_call(world.port, "GET", "/things", "Origin: https://app.example\r\n", NULL, &a);
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Origin"), "https://app.example");
    raw_free(&a);
    raw_call(world.port, "GET", "/things", "Origin: https://evil.example\r\n", NULL, &a);
    assert_null(raw_header(&a, "Access-Control-Allow-Origin"));
    raw_free(&a);
}

static void a_route_may_answer_options_that_are_no_preflight(void **state)
{
    struct raw_answer a;
    raw_call(world.port, "OPTIONS", "/asked", "x-word: webhook\r\n", NULL, &a);
    assert_int_equal(a.status, 202);
    assert_non_null(strstr((const char *)a.body.data, "OPTIONS|/asked||-|webhook||two"));
    raw_free(&a);
    raw_call(world.port, "OPTIONS", "/asked",
             "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n", NULL, &a);
    assert_int_equal(a.status, 204);
    assert_string_equal(raw_header(&a, "Allow"), "POST, OPTIONS");
    raw_free(&a);
    raw_call(world.port, "OPTIONS", "/things", "x-word: webhook\r\n", NULL, &a);
    assert_int_equal(a.status, 204); /* no route for it */
    raw_free(&a);
}

static void stopping_cancels_what_lasts(void **state)
{
    int fd = raw_connect(world.port);
    raw_send(fd, "GET", "/park/begun", "", NULL, 0);
    test_wait_until(is_waiting());
    chassis_http_quiesce(world.http, 0);
    test_wait_until(atomic_load(&world.cancelled) == 1);
    close(fd);
}

#define TEST_OF(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(a_request_reaches_its_route_with_all_it_has),
        TEST_OF(what_no_route_takes_is_told_so),
        TEST_OF(failures_are_json_with_the_status_of_their_code),
        TEST_OF(a_body_beyond_the_routes_limit_is_refused),
        TEST_OF(an_answer_may_come_later_and_from_any_role),
        TEST_OF(pieces_are_seen_as_they_are_sent),
        TEST_OF(a_client_that_goes_away_cancels_the_call),
        TEST_OF(a_slow_reader_is_bounded_and_loses_nothing),
        TEST_OF(browsers_may_call_from_allowed_origins),
        TEST_OF(a_route_may_answer_options_that_are_no_preflight),
        TEST_OF(stopping_cancels_what_lasts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
