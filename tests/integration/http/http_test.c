#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include <examples/echo/v1/echo.chassis.h>
#include <grpc/testing/test.chassis.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "http/http.h"
#include "os/os.h"
#include "proto/message.h"
#include "raw.h"
#include "rpc/server.h"

#define SPEAK   "/examples.echo.v1.EchoService/Speak"
#define TEST    "/grpc.testing.TestService/"
#define JSON    "Content-Type: application/json\r\n"
#define CONNECT JSON "Connect-Protocol-Version: 1\r\n"

struct world {
    struct chassis_pool *workers;
    struct chassis_server *server;
    struct chassis_http *http;
    uint16_t port, admin;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct chassis_call *waiting; /* a call whose handler has not ended it */
    unsigned cancelled, streams_done;
    atomic_bool ready;
};
static struct world world;

static void hit(unsigned *counter)
{
    pthread_mutex_lock(&world.mutex);
    (*counter)++;
    pthread_cond_broadcast(&world.cond);
    pthread_mutex_unlock(&world.mutex);
}
static void wait_counter(unsigned *counter)
{
    pthread_mutex_lock(&world.mutex);
    while (*counter == 0) {
        pthread_cond_wait(&world.cond, &world.mutex);
    }
    pthread_mutex_unlock(&world.mutex);
}
static struct chassis_call *wait_call(void)
{
    pthread_mutex_lock(&world.mutex);
    while (world.waiting == NULL) {
        pthread_cond_wait(&world.cond, &world.mutex);
    }
    struct chassis_call *call = world.waiting;
    world.waiting = NULL;
    pthread_mutex_unlock(&world.mutex);
    return call;
}

static void on_cancel(struct chassis_call *call, void *data)
{
    hit(&world.cancelled);
}
static void keep(struct chassis_call *call)
{
    chassis_call_on_cancel(call, on_cancel, NULL);
    pthread_mutex_lock(&world.mutex);
    world.waiting = call;
    pthread_cond_broadcast(&world.cond);
    pthread_mutex_unlock(&world.mutex);
}

static void speak(struct chassis_call *call, const Examples__Echo__V1__SpeakRequest *req)
{
    Examples__Echo__V1__SpeakResponse res = EXAMPLES__ECHO__V1__SPEAK_RESPONSE__INIT;
    if (strcmp(req->input, "wait") == 0) {
        keep(call);
        return;
    }
    if (strcmp(req->input, "fail") == 0) {
        chassis_call_add_detail(call, req);
        chassis_call_set_trailer(call, "why", chassis_view_str("asked \"to\""));
        chassis_call_fail(call, CHASSIS_FAILED_PRECONDITION, "no \"speech\" today");
        return;
    }
    const char *header = chassis_call_metadata(call, "x-say");
    chassis_call_set_header(call, "x-said", chassis_view_str(req->input));
    chassis_call_set_header(call, "x-raw-bin", chassis_view("\x01\x02", 2));
    chassis_call_set_trailer(call, "x-after", chassis_view_str("yes"));
    res.output = header != NULL ? (char *)(uintptr_t)header : req->input;
    echo_speak_reply(call, &res);
}

/* One message per parameter: `size` bytes of 'x'; a size of -1 fails the stream. */
struct flow {
    struct chassis_task task;
    struct chassis_call *call;
    const Grpc__Testing__StreamingOutputCallRequest *req;
    size_t next;
};
static void flow_on(struct flow *flow)
{
    for (; flow->next < flow->req->n_response_parameters; flow->next++) {
        int32_t size = flow->req->response_parameters[flow->next]->size;
        Grpc__Testing__StreamingOutputCallResponse res =
            GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
        Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
        if (size == -1) {
            chassis_call_fail(flow->call, CHASSIS_OUT_OF_RANGE, "negative");
            return;
        }
        if (size == -2) {
            keep(flow->call);
            return;
        }
        payload.body.len = (size_t)size;
        payload.body.data = malloc((size_t)size + 1);
        memset(payload.body.data, 'x', (size_t)size);
        res.payload = &payload;
        int rc = interop_test_service_streaming_output_call_send(flow->call, &res);
        free(payload.body.data);
        if (rc == CHASSIS_RESOURCE_EXHAUSTED) {
            return; /* on_writable goes on */
        }
        if (rc != 0) {
            break;
        }
    }
    struct chassis_call *call = flow->call;
    chassis_call_finish(call);
    hit(&world.streams_done);
}
static void flow_task(struct chassis_task *task)
{
    flow_on(chassis_container_of(task, struct flow, task));
}
static void flow_writable(struct chassis_call *call, void *data)
{
    struct flow *flow = data;
    chassis_post(chassis_os_pool_executor(world.workers), &flow->task);
}
static void stream_out(struct chassis_call *call,
                       const Grpc__Testing__StreamingOutputCallRequest *req)
{
    struct flow *flow = chassis_arena_zalloc(chassis_call_arena(call), sizeof *flow);
    flow->task.run = flow_task;
    flow->call = call;
    flow->req = req;
    chassis_call_on_writable(call, flow_writable, flow);
    flow_on(flow);
}
static void input_message(struct chassis_call *call,
                          const Grpc__Testing__StreamingInputCallRequest *req)
{
}
static void cacheable(struct chassis_call *call, const Grpc__Testing__SimpleRequest *req)
{
    Grpc__Testing__SimpleResponse res = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    interop_test_service_cacheable_unary_call_reply(call, &res);
}

/* Encoded: the answer's payload is the request as it would have come in protobuf form. */
static void encoded(struct chassis_call *call, const Grpc__Testing__SimpleRequest *req)
{
    Grpc__Testing__SimpleResponse res = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    struct chassis_view bytes = chassis_call_encoded(call);
    CHASSIS_ASSERT(req == NULL);
    payload.body.len = bytes.len;
    payload.body.data = (uint8_t *)(uintptr_t)bytes.data;
    res.payload = &payload;
    interop_test_service_unary_call_reply(call, &res);
}

static const struct echo_handlers echo = {.speak = speak};
static const struct interop_test_service_handlers interop = {
    .unary_call = encoded,
    .cacheable_unary_call = cacheable,
    .streaming_output_call = stream_out,
    .streaming_input_call = {.message = input_message},
};
static const struct chassis_method_options interop_options[] = {
    {.method = "CacheableUnaryCall", .idempotent = true},
    {.method = "UnaryCall", .encoded = true},
    {.method = NULL}};
static const char *const origins[] = {"https://app.example"};
static const struct chassis_http_file files[] = {
    {"/index.html", "text/html", "<h1>app</h1>", 12},
    {"/main.js", "text/javascript", "1", 1},
};

static bool is_ready(void *data, struct chassis_buf *ret_checks)
{
    chassis_buf_printf(ret_checks, "{\"store\":%s}", world.ready ? "true" : "false");
    return world.ready;
}

static struct chassis_http_options http_options(void)
{
    return (struct chassis_http_options){
        .address = "127.0.0.1:0",
        .admin_address = "localhost:0",
        .server = world.server,
        .files = files,
        .n_files = 2,
        .origins = origins,
        .n_origins = 1,
        .name = "test",
        .version = "1.2.3",
        .ready = is_ready,
        .body_bytes_max = 100000,
    };
}

static int setup(void **state)
{
    memset(&world, 0, sizeof world);
    pthread_mutex_init(&world.mutex, NULL);
    pthread_cond_init(&world.cond, NULL);
    struct chassis_error err = {0};
    assert_int_equal(chassis_os_pool_start("worker", 2, 100, &world.workers), 0);
    struct chassis_server_options options = {.workers = chassis_os_pool_executor(world.workers),
                                             .queue_bytes_max = 64 * 1024};
    assert_int_equal(chassis_server_new(&options, &world.server, &err), 0);
    struct chassis_service service = interop_test_service_service(&interop, NULL);
    service.options = interop_options;
    assert_int_equal(chassis_server_add(world.server, echo_service(&echo, NULL), &err), 0);
    assert_int_equal(chassis_server_add(world.server, service, &err), 0);
    assert_int_equal(chassis_server_start(world.server, &err), 0);
    struct chassis_http_options o = http_options();
    assert_int_equal(chassis_http_start(&o, &world.http, &err), 0);
    world.port = chassis_http_port(world.http);
    world.admin = chassis_http_admin_port(world.http);
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
    if (a.status != status || (answer != NULL && strcmp((char *)a.body.data, answer) != 0)) {
        fail_msg("%s %s: %d %s; expected %d %s", method, path, a.status, (char *)a.body.data,
                 status, answer != NULL ? answer : "");
    }
    raw_free(&a);
}

static void a_unary_method_answers_json(void **state)
{
    expect("POST", SPEAK, JSON, "{\"input\":\"hi\"}", 200, "{\"output\":\"hi\"}");
    expect("POST", SPEAK, "content-type: application/json; charset=utf-8\r\n", "", 200, "{}");
    expect("POST", SPEAK, JSON "X-Say: from a header\r\n", "{}", 200,
           "{\"output\":\"from a header\"}");
}

static void response_headers_and_trailers_come_back(void **state)
{
    struct raw_answer a;
    raw_call(world.port, "POST", SPEAK, CONNECT, "{\"input\":\"hi\"}", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(raw_header(&a, "x-said"), "hi");
    assert_string_equal(raw_header(&a, "x-raw-bin"), "AQI");
    assert_string_equal(raw_header(&a, "trailer-x-after"), "yes");
    raw_free(&a);
}

static void a_typo_is_named_for_people_and_ignored_for_connect_clients(void **state)
{
    struct raw_answer a;
    raw_call(world.port, "POST", SPEAK, JSON, "{\"inptu\":\"hi\"}", &a);
    assert_int_equal(a.status, 400);
    assert_non_null(strstr((char *)a.body.data, "inptu"));
    raw_free(&a);
    expect("POST", SPEAK, CONNECT, "{\"inptu\":\"hi\",\"input\":\"x\"}", 200, "{\"output\":\"x\"}");
}

static void protobuf_goes_in_and_comes_out(void **state)
{
    int fd = raw_connect(world.port);
    struct raw_answer a;
    raw_send(fd, "POST", SPEAK, "Content-Type: application/proto\r\n", "\x0a\x02hi", 4);
    raw_read(fd, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(raw_header(&a, "Content-Type"), "application/proto");
    assert_int_equal(a.body.len, 4);
    assert_memory_equal(a.body.data, "\x12\x02hi", 4);
    raw_free(&a);
    fd = raw_connect(world.port);
    raw_send(fd, "POST", SPEAK, "Content-Type: application/proto\r\n", "\x0a\x05hi", 4);
    raw_read(fd, &a);
    assert_int_equal(a.status, 400);
    raw_free(&a);
}

static void a_failure_carries_code_text_and_details(void **state)
{
    struct raw_answer a;
    raw_call(world.port, "POST", SPEAK, CONNECT, "{\"input\":\"fail\"}", &a);
    assert_int_equal(a.status, 400);
    assert_string_equal(
        (char *)a.body.data,
        "{\"code\":\"failed_precondition\",\"message\":\"no \\\"speech\\\" today\",\"details\":[{"
        "\"type\":\"examples.echo.v1.SpeakRequest\",\"value\":\"CgRmYWls\"}]}");
    assert_string_equal(raw_header(&a, "trailer-why"), "asked \"to\"");
    raw_free(&a);
}

static void wrong_requests_are_told_what_is_right(void **state)
{
    struct raw_answer a;
    raw_call(world.port, "POST", SPEAK, "Content-Type: text/plain\r\n", "{}", &a);
    assert_int_equal(a.status, 415);
    assert_string_equal(raw_header(&a, "Accept-Post"), "application/json, application/proto");
    raw_free(&a);
    raw_call(world.port, "GET", SPEAK "?connect=v1&encoding=json&message=%7B%7D", "", NULL, &a);
    assert_int_equal(a.status, 405);
    assert_string_equal(raw_header(&a, "Allow"), "POST");
    raw_free(&a);
    expect("POST", "/no.such.Service/Method", JSON, "{}", 404,
           "{\"code\":\"unimplemented\",\"message\":\"no method '/no.such.Service/Method' is "
           "served here\"}");
    expect("POST", SPEAK, CONNECT "Content-Encoding: gzip\r\n", "{}", 501, NULL);
    expect("POST", SPEAK, JSON "Connect-Protocol-Version: 2\r\n", "{}", 400, NULL);
    expect("POST", SPEAK, CONNECT "Connect-Timeout-Ms: soon\r\n", "{}", 400, NULL);
    expect("POST", SPEAK, JSON, "{\"input\":", 400, NULL);
    expect("POST", TEST "StreamingOutputCall", JSON, "{}", 415, NULL);
    expect("POST", TEST "EmptyCall", JSON, "{}", 501, NULL);
}

static void an_idempotent_method_can_be_got(void **state)
{
    expect("GET", TEST "CacheableUnaryCall?connect=v1&encoding=json&message=%7B%7D", "", NULL, 200,
           "{}");
    expect("GET", TEST "CacheableUnaryCall?connect=v1&encoding=json&base64=1&message=e30", "", NULL,
           200, "{}");
    expect("GET", TEST "CacheableUnaryCall?connect=v1&encoding=xml&message=", "", NULL, 400, NULL);
}

static void a_body_beyond_the_limit_is_refused_with_or_without_its_length(void **state)
{
    char *big = malloc(200001);
    memset(big, ' ', 200000);
    big[200000] = '\0';
    expect("POST", SPEAK, JSON, big, 413, NULL);
    int fd = raw_connect(world.port);
    struct raw_answer a;
    struct chassis_buf chunked = {0};
    chassis_buf_printf(&chunked, "%zx\r\n%s\r\n0\r\n\r\n", strlen(big), big);
    raw_send(fd, "POST", SPEAK, JSON "Transfer-Encoding: chunked\r\n", NULL, 0);
    assert_true(send(fd, chunked.data, chunked.len, MSG_NOSIGNAL) > 0);
    raw_read(fd, &a);
    assert_int_equal(a.status, 413);
    raw_free(&a);
    chassis_buf_fini(&chunked);
    free(big);
}

static void a_method_that_wants_bytes_gets_json_encoded(void **state)
{
    expect("POST", TEST "UnaryCall", JSON, "{\"responseSize\":300}", 200,
           "{\"payload\":{\"body\":\"EKwC\"}}"); /* field 2, varint 300 */
    expect("POST", TEST "UnaryCall", JSON, "{}", 200, "{\"payload\":{}}");
    expect("POST", TEST "UnaryCall", JSON, "{\"nonsense\":1}", 400, NULL);
}

static int stream_begin(const char *json)
{
    struct chassis_buf body = {0};
    uint8_t head[5] = {0};
    chassis_put_be32(head + 1, (uint32_t)strlen(json));
    chassis_buf_append(&body, head, 5);
    chassis_buf_append_str(&body, json);
    int fd = raw_connect(world.port);
    raw_send(fd, "POST", TEST "StreamingOutputCall",
             "Content-Type: application/connect+json\r\nConnect-Protocol-Version: 1\r\n", body.data,
             body.len);
    chassis_buf_fini(&body);
    return fd;
}
static void stream_call(const char *json, struct raw_answer *ret)
{
    raw_read(stream_begin(json), ret);
}
/* Take the next envelope off the body. */
static struct chassis_view envelope(struct chassis_buf *body, uint8_t *ret_flags)
{
    static char text[1 << 20];
    assert_true(body->len >= 5);
    uint32_t len = chassis_get_be32(body->data + 1);
    *ret_flags = body->data[0];
    assert_true(body->len >= 5 + len && len < sizeof text);
    memcpy(text, body->data + 5, len);
    text[len] = '\0';
    chassis_buf_consume(body, 5 + len);
    return chassis_view(text, len);
}

static void a_server_stream_comes_in_envelopes_and_says_how_it_ended(void **state)
{
    struct raw_answer a;
    uint8_t flags;
    stream_call("{\"responseParameters\":[{\"size\":1},{\"size\":2}]}", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(raw_header(&a, "Content-Type"), "application/connect+json");
    struct chassis_view v = envelope(&a.body, &flags);
    assert_string_equal((const char *)v.data, "{\"payload\":{\"body\":\"eA==\"}}");
    v = envelope(&a.body, &flags);
    assert_string_equal((const char *)v.data, "{\"payload\":{\"body\":\"eHg=\"}}");
    assert_int_equal(flags, 0);
    v = envelope(&a.body, &flags);
    assert_int_equal(flags, 2);
    assert_string_equal((const char *)v.data, "{}");
    assert_int_equal(a.body.len, 0);
    raw_free(&a);

    stream_call("{\"responseParameters\":[{\"size\":1},{\"size\":-1}]}", &a);
    envelope(&a.body, &flags);
    v = envelope(&a.body, &flags);
    assert_int_equal(flags, 2);
    assert_string_equal((const char *)v.data,
                        "{\"error\":{\"code\":\"out_of_range\",\"message\":\"negative\"}}");
    raw_free(&a);
}

static void a_long_stream_passes_a_small_queue_whole(void **state)
{
    struct chassis_buf json = {0};
    struct raw_answer a;
    uint8_t flags;
    chassis_buf_append_str(&json, "{\"responseParameters\":[{\"size\":20000}");
    for (int i = 1; i < 200; i++) {
        chassis_buf_append_str(&json, ",{\"size\":20000}");
    }
    chassis_buf_append_str(&json, "]}");
    stream_call((char *)json.data, &a);
    for (int i = 0; i < 200; i++) {
        struct chassis_view v = envelope(&a.body, &flags);
        assert_int_equal(flags, 0);
        assert_int_equal(v.len, strlen("{\"payload\":{\"body\":\"\"}}") + 26668);
    }
    envelope(&a.body, &flags);
    assert_int_equal(flags, 2);
    raw_free(&a);
    chassis_buf_fini(&json);
}

static void streams_from_the_client_are_told_to_use_grpc(void **state)
{
    struct raw_answer a;
    uint8_t flags;
    raw_call(world.port, "POST", TEST "StreamingInputCall",
             "Content-Type: application/connect+json\r\n", "", &a);
    assert_int_equal(a.status, 200);
    struct chassis_view v = envelope(&a.body, &flags);
    assert_int_equal(flags, 2);
    assert_non_null(strstr((const char *)v.data, "unimplemented"));
    raw_free(&a);
}

static void end_waiting_call(void)
{
    Examples__Echo__V1__SpeakResponse res = EXAMPLES__ECHO__V1__SPEAK_RESPONSE__INIT;
    res.output = (char *)(uintptr_t) "late";
    echo_speak_reply(wait_call(), &res);
}

static void an_answer_may_come_later_from_another_thread(void **state)
{
    struct raw_answer a;
    int fd = raw_connect(world.port);
    raw_send(fd, "POST", SPEAK, JSON, "{\"input\":\"wait\"}", 16);
    end_waiting_call();
    raw_read(fd, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal((char *)a.body.data, "{\"output\":\"late\"}");
    raw_free(&a);
}

static void the_client_hears_of_its_deadline_though_the_handler_goes_on(void **state)
{
    expect("POST", SPEAK, CONNECT "Connect-Timeout-Ms: 50\r\n", "{\"input\":\"wait\"}", 504,
           "{\"code\":\"deadline_exceeded\",\"message\":\"deadline exceeded\"}");
    wait_counter(&world.cancelled);
    end_waiting_call();
}

static void a_client_that_hangs_up_cancels_its_call(void **state)
{
    int fd = raw_connect(world.port);
    raw_send(fd, "POST", SPEAK, JSON, "{\"input\":\"wait\"}", 16);
    struct chassis_call *call = wait_call();
    assert_false(chassis_call_cancelled(call));
    close(fd);
    wait_counter(&world.cancelled);
    assert_true(chassis_call_cancelled(call));
    Examples__Echo__V1__SpeakResponse res = EXAMPLES__ECHO__V1__SPEAK_RESPONSE__INIT;
    echo_speak_reply(call, &res);
}

static void a_stream_whose_client_hangs_up_is_cancelled(void **state)
{
    int fd = stream_begin("{\"responseParameters\":[{\"size\":5},{\"size\":-2}]}");
    struct chassis_call *call = wait_call();
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 1); /* the first message is on its way */
    close(fd);
    wait_counter(&world.cancelled);
    chassis_call_finish(call);
}

static void browsers_of_allowed_origins_only_may_call(void **state)
{
    struct raw_answer a;
    raw_call(world.port, "OPTIONS", SPEAK,
             "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n"
             "Access-Control-Request-Headers: content-type\r\n",
             NULL, &a);
    assert_int_equal(a.status, 204);
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Origin"), "https://app.example");
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Headers"), "content-type");
    raw_free(&a);
    raw_call(world.port, "POST", SPEAK, JSON "Origin: https://app.example\r\n", "{}", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Origin"), "https://app.example");
    assert_non_null(strstr(raw_header(&a, "Access-Control-Expose-Headers"), "trailer-x-after"));
    raw_free(&a);
    raw_call(world.port, "OPTIONS", SPEAK, "Origin: https://evil.example\r\n", NULL, &a);
    assert_null(raw_header(&a, "Access-Control-Allow-Origin"));
    assert_null(raw_header(&a, "Access-Control-Allow-Methods"));
    raw_free(&a);
    /* A page that reaches this machine by a name of its own (DNS rebinding). */
    expect("POST", SPEAK, JSON "Host: evil.example\r\nOrigin: http://evil.example\r\n", "{}", 403,
           NULL);
}

static void health_version_and_metrics_are_pages(void **state)
{
    struct raw_answer a;
    expect("GET", "/livez", "", NULL, 200, "{\"status\":\"alive\"}\n");
    expect("GET", "/readyz", "", NULL, 503,
           "{\"status\":\"not ready\",\"checks\":{\"store\":false}}\n");
    world.ready = true;
    expect("GET", "/readyz", "", NULL, 200, "{\"status\":\"ready\",\"checks\":{\"store\":true}}\n");
    raw_call(world.port, "GET", "/version", "", NULL, &a);
    assert_non_null(strstr((char *)a.body.data, "\"version\":\"1.2.3\""));
    raw_free(&a);
    raw_call(world.port, "GET", "/metrics", "", NULL, &a);
    assert_string_equal(raw_header(&a, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_non_null(strstr((char *)a.body.data, "chassis_http_requests_total{status=\"2xx\"}"));
    raw_free(&a);
}

static void admin_pages_are_on_the_admin_address_only(void **state)
{
    struct raw_answer a;
    expect("POST", SPEAK, JSON, "{\"input\":\"fail\"}", 400, NULL);
    raw_call(world.admin, "GET", "/requests?format=json", "", NULL, &a);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr((char *)a.body.data, SPEAK));
    assert_non_null(strstr((char *)a.body.data, "FAILED_PRECONDITION"));
    raw_free(&a);
    raw_call(world.admin, "GET", "/requests", "", NULL, &a);
    assert_non_null(strstr((char *)a.body.data, "no &quot;speech&quot; today"));
    raw_free(&a);
    raw_call(world.admin, "GET", "/", "", NULL, &a);
    assert_non_null(strstr((char *)a.body.data, SPEAK));
    raw_free(&a);
    raw_call(world.admin, "POST", SPEAK, JSON, "{}", &a); /* no calls here */
    assert_int_equal(a.status, 404);
    raw_free(&a);
    raw_call(world.port, "GET", "/requests.json", "", NULL, &a);
    assert_int_equal(a.status, 404);
    raw_free(&a);
    raw_call(world.port, "POST", "/loglevel?level=off", JSON, "", &a);
    assert_int_equal(a.status, 404);
    raw_free(&a);
}

static void the_log_level_can_be_changed_but_not_by_another_site(void **state)
{
    struct raw_answer a;
    struct chassis_logger *log = chassis_log_module("some.module");
    assert_false(chassis_log_on(log, CHASSIS_LOG_TRACE));
    raw_call(world.admin, "POST", "/loglevel",
             "Content-Type: application/x-www-form-urlencoded\r\n", "module=some&level=trace", &a);
    assert_int_equal(a.status, 200);
    raw_free(&a);
    assert_true(chassis_log_on(log, CHASSIS_LOG_TRACE));
    raw_call(world.admin, "POST", "/loglevel?level=loud", "", "", &a);
    assert_int_equal(a.status, 400);
    raw_free(&a);
    raw_call(world.admin, "POST", "/loglevel?level=off", "Origin: https://app.example\r\n", "", &a);
    assert_int_equal(a.status, 403);
    raw_free(&a);
    assert_true(chassis_log_on(log, CHASSIS_LOG_TRACE));
}

static void the_web_application_gets_its_files_and_its_index(void **state)
{
    struct raw_answer a;
    char headers[128];
    expect("GET", "/main.js", "", NULL, 200, "1");
    expect("GET", "/users/42", "Accept: text/html\r\n", NULL, 200, "<h1>app</h1>");
    expect("GET", "/missing.png", "Accept: text/html\r\n", NULL, 404, NULL);
    expect("GET", "/users/42", "Accept: image/png\r\n", NULL, 404, NULL);
    raw_call(world.port, "GET", "/", "", NULL, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(raw_header(&a, "Content-Type"), "text/html");
    snprintf(headers, sizeof headers, "If-None-Match: %s\r\n", raw_header(&a, "ETag"));
    raw_free(&a);
    expect("GET", "/", headers, NULL, 304, "");
}

static void stopping_cancels_what_waits_and_waits_for_its_handler(void **state)
{
    struct raw_answer a;
    int fd = raw_connect(world.port);
    raw_send(fd, "POST", SPEAK, JSON, "{\"input\":\"wait\"}", 16);
    struct chassis_call *call = wait_call();
    chassis_http_quiesce(world.http, 0); /* no grace */
    wait_counter(&world.cancelled);
    raw_read(fd, &a);
    assert_int_equal(a.status, 0);
    raw_free(&a);
    Examples__Echo__V1__SpeakResponse res = EXAMPLES__ECHO__V1__SPEAK_RESPONSE__INIT;
    echo_speak_reply(call, &res);
}

static void an_address_others_can_reach_needs_tls_or_a_word(void **state)
{
    struct chassis_http_options o = http_options();
    struct chassis_http *http = NULL;
    struct chassis_error err = {0};
    o.address = "0.0.0.0:0";
    assert_int_equal(chassis_http_start(&o, &http, &err), CHASSIS_CONFIG);
    assert_non_null(strstr(err.text, "no TLS"));
    o.address = "nonsense";
    assert_int_equal(chassis_http_start(&o, &http, &err), CHASSIS_CONFIG);
    assert_null(http);
}

static void start_again(void *data)
{
    struct chassis_http_options o = http_options();
    struct chassis_http *http = NULL;
    struct chassis_error err = {0};
    int rc = chassis_http_start(&o, &http, &err);
    assert_int_equal(rc == 0, http != NULL);
    assert_int_equal(rc != 0, err.text[0] != '\0');
    chassis_http_stop(http);
}
static void every_failure_to_start_is_reported_and_leaks_nothing(void **state)
{
    assert_int_equal(test_each_fault("http.", start_again, NULL), 3);
}

#define TEST_OF(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(a_unary_method_answers_json),
        TEST_OF(a_method_that_wants_bytes_gets_json_encoded),
        TEST_OF(response_headers_and_trailers_come_back),
        TEST_OF(a_typo_is_named_for_people_and_ignored_for_connect_clients),
        TEST_OF(protobuf_goes_in_and_comes_out),
        TEST_OF(a_failure_carries_code_text_and_details),
        TEST_OF(wrong_requests_are_told_what_is_right),
        TEST_OF(an_idempotent_method_can_be_got),
        TEST_OF(a_body_beyond_the_limit_is_refused_with_or_without_its_length),
        TEST_OF(a_server_stream_comes_in_envelopes_and_says_how_it_ended),
        TEST_OF(a_long_stream_passes_a_small_queue_whole),
        TEST_OF(streams_from_the_client_are_told_to_use_grpc),
        TEST_OF(an_answer_may_come_later_from_another_thread),
        TEST_OF(the_client_hears_of_its_deadline_though_the_handler_goes_on),
        TEST_OF(a_client_that_hangs_up_cancels_its_call),
        TEST_OF(a_stream_whose_client_hangs_up_is_cancelled),
        TEST_OF(browsers_of_allowed_origins_only_may_call),
        TEST_OF(health_version_and_metrics_are_pages),
        TEST_OF(admin_pages_are_on_the_admin_address_only),
        TEST_OF(the_log_level_can_be_changed_but_not_by_another_site),
        TEST_OF(the_web_application_gets_its_files_and_its_index),
        TEST_OF(stopping_cancels_what_waits_and_waits_for_its_handler),
        TEST_OF(an_address_others_can_reach_needs_tls_or_a_word),
        TEST_OF(every_failure_to_start_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
