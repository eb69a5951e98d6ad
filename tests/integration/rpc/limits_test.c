/* What the server refuses, drops and ends by itself. */
#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void a_peer_listener_serves_peers_only(void **state)
{
    const struct chassis_listener_options listeners[] = {
        {.address = "127.0.0.1:0"}, {.address = "127.0.0.1:0", .peer_only = true}};
    struct rig rig;
    struct result r;
    struct chassis_buf secret = {0};
    char dir[256], path[300], address[64];
    snprintf(path, sizeof path, "%s/secret", test_tmpdir(dir));
    assert_int_equal(chassis_auth_secret_open(path, true, &secret, NULL), 0);
    rig_start(&rig, (struct chassis_server_options){.listeners = listeners,
                                                    .n_listeners = 2,
                                                    .cluster_secret = chassis_buf_view(&secret)});
    snprintf(address, sizeof address, "127.0.0.1:%u", chassis_server_port(rig.server, 1));
    struct chassis_client *stranger =
        rig_client(&rig, (struct chassis_client_options){.target = address});
    struct chassis_client *member = rig_client(
        &rig, (struct chassis_client_options){.target = address, .cluster_secret_file = path});
    probe(member, "Peer", "from a node", NULL, &r);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.first, "from a node");
    probe(member, "Echo", "", NULL, &r); /* whoever asks: it is not there */
    assert_int_equal(r.code, CHASSIS_UNIMPLEMENTED);
    probe(stranger, "Peer", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_UNAUTHENTICATED);
    assert_int_equal(atomic_load(&probe_calls), 1);
    probe(rig.client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, 0);
    chassis_client_free(stranger);
    chassis_client_free(member);
    chassis_buf_fini(&secret);
    rig_stop(&rig);
    test_rmtree(dir);
}

static void park(struct chassis_client *client, const char *request, struct result *r)
{
    result_init(r);
    chassis_client_call_bytes(client, "/draft.test.Probe/Park", chassis_view_str(request), NULL,
                              on_reply, r);
}

static void request_bytes_in_flight_are_limited(void **state)
{
    struct rig rig;
    struct result r, waits[3];
    char request[301];
    memset(request, 'x', 300);
    request[300] = '\0';
    rig_start(&rig, (struct chassis_server_options){.call_bytes_max = 1000});
    for (unsigned i = 0; i < 3; i++) {
        park(rig.client, request, &waits[i]);
    }
    test_wait_until(probe_parked() == 3);
    probe(rig.client, "Echo", request, NULL, &r);
    assert_int_equal(r.code, CHASSIS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(r.text, "requests of 1000 bytes are in flight"));
    probe(rig.client, "Echo", "small enough", NULL, &r);
    assert_int_equal(r.code, 0);
    probe_release();
    for (unsigned i = 0; i < 3; i++) {
        result_wait(&waits[i]);
        assert_int_equal(waits[i].code, 0);
    }
    test_wait_until(chassis_server_calls_in_flight(rig.server) == 0);
    probe(rig.client, "Echo", request, NULL, &r); /* the permits came back, all of them */
    assert_int_equal(r.code, 0);
    rig_stop(&rig);
}

static void calls_in_flight_are_limited_and_permits_come_back(void **state)
{
    struct rig rig;
    struct result r, wait;
    rig_start(&rig, (struct chassis_server_options){.calls_max = 1});
    for (unsigned i = 0; i < 20; i++) { /* refused calls keep no permit */
        park(rig.client, "", &wait);
        test_wait_until(probe_parked() == 1);
        probe(rig.client, "Echo", "", NULL, &r);
        assert_int_equal(r.code, CHASSIS_RESOURCE_EXHAUSTED);
        assert_non_null(strstr(r.text, "1 calls are in flight"));
        probe_release();
        result_wait(&wait);
        assert_int_equal(wait.code, 0);
        test_wait_until(chassis_server_calls_in_flight(rig.server) == 0);
    }
    rig_stop(&rig);
}

/* Open a stream to a method of one request, send none. */
static struct chassis_client_stream *open_silent(struct rig *rig, const char *path,
                                                 struct result *r)
{
    struct chassis_client_stream *stream;
    result_init(r);
    assert_int_equal(
        chassis_stream_open_path(rig->client, path, NULL, &result_stream, r, &stream, NULL), 0);
    return stream;
}

static void a_call_without_its_request_runs_nothing_and_leaves_nothing(void **state)
{
    static const char *const paths[] = {"/draft.test.Probe/Rare", "/draft.test.Probe/Flood"};
    struct rig rig;
    struct result r;
    rig_start(&rig, (struct chassis_server_options){0});
    for (unsigned i = 0; i < 2; i++) {
        struct chassis_client_stream *stream = open_silent(&rig, paths[i], &r);
        test_wait_until(chassis_server_calls_in_flight(rig.server) == 1);
        chassis_stream_cancel(stream);
        result_wait(&r);
        assert_int_equal(r.code, CHASSIS_CANCELLED);
        test_wait_until(chassis_server_calls_in_flight(rig.server) == 0);
        stream = open_silent(&rig, paths[i], &r);
        chassis_stream_half_close(stream);
        result_wait(&r);
        assert_int_equal(r.code, CHASSIS_INVALID_ARGUMENT);
        assert_non_null(strstr(r.text, "carries no request message"));
        test_wait_until(chassis_server_calls_in_flight(rig.server) == 0);
    }
    assert_int_equal(atomic_load(&probe_calls), 0);
    assert_int_equal(probe_parked(), 0);
    rig_stop(&rig);
}

static void a_rare_method_is_served_like_any_other(void **state)
{
    const struct chassis_call_options short_time = {.timeout_ms = 100};
    struct rig rig;
    struct result r;
    char *big = malloc(20001);
    memset(big, 'x', 20000);
    big[20000] = '\0';
    rig_start(&rig, (struct chassis_server_options){.message_bytes_max = 10000});
    probe(rig.client, "Rare", big, NULL, &r);
    assert_int_equal(r.code, CHASSIS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(r.text, "10000"));
    test_wait_until(chassis_server_calls_in_flight(rig.server) == 0);
    assert_int_equal(atomic_load(&probe_calls), 0);
    probe(rig.client, "Rare", "", &short_time, &r);
    assert_int_equal(r.code, CHASSIS_DEADLINE_EXCEEDED);
    test_wait_until(atomic_load(&probe_cancels) == 1);
    probe_release();
    test_wait_until(chassis_server_calls_in_flight(rig.server) == 0);
    result_init(&r);
    chassis_client_call_bytes(rig.client, "/draft.test.Probe/Rare", chassis_view_str("x"), NULL,
                              on_reply, &r);
    test_wait_until(probe_parked() == 1);
    probe_release();
    result_wait(&r);
    assert_int_equal(r.code, 0);
    free(big);
    rig_stop(&rig);
}

static void streams_of_a_connection_are_limited(void **state)
{
    const struct chassis_call_options short_time = {.timeout_ms = 200};
    struct rig rig;
    struct result r, waits[2];
    rig_start(&rig, (struct chassis_server_options){.streams_max = 2});
    probe(rig.client, "Echo", "", NULL, &r); /* the limit is known to the client from here on */
    assert_int_equal(r.code, 0);
    park(rig.client, "", &waits[0]);
    park(rig.client, "", &waits[1]);
    test_wait_until(probe_parked() == 2);
    probe(rig.client, "Echo", "", &short_time, &r); /* waits for a place on the connection */
    assert_int_equal(r.code, CHASSIS_DEADLINE_EXCEEDED);
    assert_int_equal(atomic_load(&probe_calls), 3);
    probe_release();
    result_wait(&waits[0]);
    result_wait(&waits[1]);
    probe(rig.client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, 0);
    rig_stop(&rig);
}

static void metadata_is_limited(void **state)
{
    char value[3001];
    const struct chassis_metadata md = {"x-probe", value};
    /* The second call may be repeated: see what_comes_in_pieces_costs_its_own_connection. */
    const struct chassis_call_options options = {
        .metadata = &md, .n_metadata = 1, .idempotent = true};
    struct rig rig;
    struct result r;
    memset(value, 'v', 3000);
    value[3000] = '\0';
    rig_start(&rig, (struct chassis_server_options){.metadata_bytes_max = 2000});
    probe(rig.client, "Echo", "", &options, &r);
    assert_int_equal(r.code, CHASSIS_RESOURCE_EXHAUSTED);
    assert_int_equal(atomic_load(&probe_calls), 0);
    value[1000] = '\0';
    probe(rig.client, "Echo", "", &options, &r);
    assert_int_equal(r.code, 0);
    rig_stop(&rig);
}

static void metadata_beyond_the_usual_limit_is_not_sent(void **state)
{
    static char value[16385];
    const struct chassis_metadata md = {"x-probe", value};
    const struct chassis_call_options options = {.metadata = &md, .n_metadata = 1};
    struct rig rig;
    struct result r, parked;
    struct chassis_client_stream *s = NULL;
    struct chassis_error err = {0};
    memset(value, 'v', sizeof value - 1);
    rig_start(&rig, (struct chassis_server_options){0});
    result_init(&parked);
    chassis_client_call_bytes(rig.client, "/draft.test.Probe/Park", chassis_view_str(""), NULL,
                              on_reply, &parked);
    test_wait_until(probe_parked() == 1);
    for (int i = 0; i < 10; i++) {
        probe(rig.client, "Echo", "", &options, &r);
        assert_int_equal(r.code, CHASSIS_RESOURCE_EXHAUSTED);
        assert_non_null(strstr(r.text, "the limit is 16384"));
    }
    assert_int_equal(chassis_stream_open_path(rig.client, "/draft.test.Probe/Chat", &options,
                                              &result_stream, &r, &s, &err),
                     CHASSIS_RESOURCE_EXHAUSTED);
    assert_int_equal(atomic_load(&probe_calls), 1);
    probe_release(); /* calls beside it keep their connection */
    result_wait(&parked);
    assert_int_equal(parked.code, 0);
    rig_stop(&rig);
}

/* What goes before the `len` bytes of a value. */
static size_t literal(uint8_t *out, const char *key, size_t len)
{
    size_t n = 0, key_len = strlen(key); /* both below 127; len longer than that */
    out[n++] = 0;
    out[n++] = (uint8_t)key_len;
    memcpy(out + n, key, key_len);
    n += key_len;
    out[n++] = 127;
    for (len -= 127; len >= 128; len /= 128) {
        out[n++] = (uint8_t)(len % 128 + 128);
    }
    out[n++] = (uint8_t)len;
    return n;
}

/* gRPC 1.51 answers a header block beyond the limit with RESOURCE_EXHAUSTED, but loses its place in
 * one that it has to read in pieces: it closes the connection then. Others do not notice. */
static void what_comes_in_pieces_costs_its_own_connection(void **state)
{
    enum { VALUE = 3000 };
    static const uint8_t begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    uint8_t block[VALUE + 64], head[9] = {0, 0, 0, 1, 4, 0, 0, 0, 1}, answer[4096];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rig rig;
    struct result parked;
    rig_start(&rig, (struct chassis_server_options){.metadata_bytes_max = 2000});
    result_init(&parked);
    chassis_client_call_bytes(rig.client, "/draft.test.Probe/Park", chassis_view_str(""), NULL,
                              on_reply, &parked);
    test_wait_until(probe_parked() == 1);
    size_t len = literal(block, "x-long", VALUE);
    memset(block + len, 'v', VALUE);
    len += VALUE;
    head[1] = (uint8_t)(len >> 8);
    head[2] = (uint8_t)len;
    at.sin_port = htons(chassis_server_port(rig.server, 0));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_true(send(fd, begin, sizeof begin - 1, 0) > 0);
    assert_true(recv(fd, answer, sizeof answer, 0) > 0); /* its settings */
    assert_true(send(fd, head, sizeof head, MSG_NOSIGNAL) > 0);
    for (size_t i = 0; i < len; i += 100) { /* whether it closes or answers, it ends the stream */
        size_t n = len - i < 100 ? len - i : 100;
        if (send(fd, block + i, n, MSG_NOSIGNAL) < 0) {
            break;
        }
    }
    shutdown(fd, SHUT_WR);
    while (recv(fd, answer, sizeof answer, 0) > 0) {
    }
    close(fd);
    assert_false(parked.done);
    probe_release();
    result_wait(&parked);
    assert_int_equal(parked.code, 0);
    assert_int_equal(atomic_load(&probe_calls), 1);
    rig_stop(&rig);
}

/* ---- a client written by hand, which falls silent ---- */

static size_t frame(uint8_t *out, uint8_t type, uint8_t flags, uint8_t stream, const void *payload,
                    size_t len)
{
    const uint8_t head[9] = {0, 0, (uint8_t)len, type, flags, 0, 0, 0, stream};
    memcpy(out, head, sizeof head);
    if (len != 0) {
        memcpy(out + sizeof head, payload, len);
    }
    return sizeof head + len;
}

/* Preface, SETTINGS, and a complete unary call of Park. */
static int silent_client(unsigned port)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const char headers[] = "\x83\x86"                       /* :method POST, :scheme http */
                                  "\x04\x16/draft.test.Probe/Park" /* :path */
                                  "\x01\x01x"                      /* :authority */
                                  "\x0f\x10\x10"
                                  "application/grpc" /* content-type */
                                  "\x00\x02te\x08trailers";
    static const uint8_t message[5];
    uint8_t out[256];
    size_t n = sizeof preface - 1;
    memcpy(out, preface, n);
    n += frame(out + n, 4, 0, 0, NULL, 0);
    n += frame(out + n, 1, 4, 1, headers, sizeof headers - 1);
    n += frame(out + n, 0, 1, 1, message, sizeof message);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(fd, out, n), (ssize_t)n);
    return fd;
}

static void a_client_that_stops_answering_is_dropped(void **state)
{
    struct rig rig;
    char bytes[512];
    ssize_t n;
    rig_start(&rig,
              (struct chassis_server_options){.keepalive_ms = 100, .keepalive_timeout_ms = 100});
    int fd = silent_client(chassis_server_port(rig.server, 0));
    test_wait_until(probe_parked() == 1);
    test_wait_until(atomic_load(&probe_cancels) == 1); /* its call was told */
    do {
        n = read(fd, bytes, sizeof bytes);
    } while (n > 0);
    assert_true(n == 0 || errno == ECONNRESET);
    close(fd);
    rig_stop(&rig);
}

static void an_answering_client_outlives_the_keepalive(void **state)
{
    const struct chassis_call_options options = {.timeout_ms = 600};
    struct rig rig;
    struct result r;
    rig_start(&rig,
              (struct chassis_server_options){.keepalive_ms = 100, .keepalive_timeout_ms = 100});
    probe(rig.client, "Park", "", &options, &r); /* idle for six keepalives, then its deadline */
    assert_int_equal(r.code, CHASSIS_DEADLINE_EXCEEDED);
    probe(rig.client, "Echo", "", NULL, &r);
    assert_int_equal(r.code, 0);
    rig_stop(&rig);
}

static void the_server_may_end_a_stream_in_the_middle(void **state)
{
    struct rig rig;
    struct result r;
    struct chassis_client_stream *s = NULL;
    rig_start(&rig, (struct chassis_server_options){0});
    result_init(&r);
    assert_int_equal(chassis_stream_open_path(rig.client, "/draft.test.Probe/Refuse", NULL,
                                              &result_stream, &r, &s, NULL),
                     0);
    assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("first")), 0);
    result_wait(&r); /* the client's half was never closed */
    assert_int_equal(r.code, CHASSIS_ABORTED);
    assert_string_equal(r.text, "refused 'first'");
    assert_int_equal(r.messages, 1);
    assert_int_equal(r.times, 1);
    test_wait_until(chassis_server_calls_in_flight(rig.server) == 0);
    rig_stop(&rig);
}

static void a_drain_out_of_time_cancels_streams(void **state)
{
    struct rig rig;
    struct result r;
    struct chassis_client_stream *s = NULL;
    rig_start(&rig, (struct chassis_server_options){0});
    result_init(&r);
    assert_int_equal(chassis_stream_open_path(rig.client, "/draft.test.Probe/Chat", NULL,
                                              &result_stream, &r, &s, NULL),
                     0);
    assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("hello")), 0);
    result_wait_messages(&r, 1);
    chassis_server_drain(rig.server, 20);
    result_wait(&r);
    assert_int_not_equal(r.code, 0);
    rig_stop(&rig);
}

/* The handler of Chat asks for no cancellation: nobody else would end the call. */
static void a_stream_whose_client_is_gone_leaves_nothing(void **state)
{
    struct rig rig;
    struct result r;
    struct chassis_client_stream *s = NULL;
    rig_start(&rig, (struct chassis_server_options){0});
    for (int i = 0; i < 50; i++) {
        result_init(&r);
        assert_int_equal(chassis_stream_open_path(rig.client, "/draft.test.Probe/Chat", NULL,
                                                  &result_stream, &r, &s, NULL),
                         0);
        assert_int_equal(chassis_stream_send_bytes(s, chassis_view_str("hello")), 0);
        if ((i & 1) == 0) {
            result_wait_messages(&r, 1);
        }
        chassis_stream_cancel(s);
        result_wait(&r);
        assert_int_equal(r.code, CHASSIS_CANCELLED);
    }
    test_wait_until(chassis_server_calls_in_flight(rig.server) == 0);
    rig_stop(&rig);
}

/* ---- every step of start and of a client's creation fails once ---- */

static void start_and_call(void *data)
{
    const struct chassis_listener_options listeners[] = {
        {.address = "127.0.0.1:0"}, {.address = "127.0.0.1:0", .peer_only = true}};
    const struct chassis_server_options options = {
        .listeners = listeners, .n_listeners = 2, .n_queues = 2};
    struct chassis_server *server = NULL;
    struct chassis_client *client = NULL;
    struct chassis_error err = {0};
    unsigned *complete = data;
    int rc = chassis_server_new(&options, &server, &err);
    rc = rc != 0 ? rc : chassis_server_add(server, probe_service(), &err);
    rc = rc != 0 ? rc : chassis_server_start(server, &err);
    if (rc == 0) {
        char target[64];
        snprintf(target, sizeof target, "127.0.0.1:%u", chassis_server_port(server, 0));
        const struct chassis_client_options co = {.target = target};
        rc = chassis_client_new(&co, &client, &err);
    }
    if (rc == 0) {
        struct result r;
        probe(client, "Echo", "works", NULL, &r);
        assert_int_equal(r.code, 0);
        ++*complete;
    } else {
        assert_int_equal(rc, err.code);
        assert_true(strlen(err.text) > 10);
        assert_null(client);
    }
    chassis_client_free(client);
    chassis_server_free(server);
}

static void each_failure_of_start_is_an_error_and_leaves_nothing(void **state)
{
    unsigned complete = 0;
    /* the queue shared with the client, two listeners, a second queue, the client's target */
    assert_int_equal(test_each_fault("rpc.", start_and_call, &complete), 5);
    assert_int_equal(complete, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_listener_serves_peers_only),
        cmocka_unit_test(request_bytes_in_flight_are_limited),
        cmocka_unit_test(calls_in_flight_are_limited_and_permits_come_back),
        cmocka_unit_test(a_call_without_its_request_runs_nothing_and_leaves_nothing),
        cmocka_unit_test(a_rare_method_is_served_like_any_other),
        cmocka_unit_test(streams_of_a_connection_are_limited),
        cmocka_unit_test(metadata_is_limited),
        cmocka_unit_test(metadata_beyond_the_usual_limit_is_not_sent),
        cmocka_unit_test(what_comes_in_pieces_costs_its_own_connection),
        cmocka_unit_test(a_client_that_stops_answering_is_dropped),
        cmocka_unit_test(an_answering_client_outlives_the_keepalive),
        cmocka_unit_test(the_server_may_end_a_stream_in_the_middle),
        cmocka_unit_test(a_drain_out_of_time_cancels_streams),
        cmocka_unit_test(a_stream_whose_client_is_gone_leaves_nothing),
        cmocka_unit_test(each_failure_of_start_is_an_error_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
