/* CloudEvents over HTTP: every mode of POST, refusals, server-sent events; RPCs as JSON. */
#include "rig.h"

#include <sys/socket.h>

#include "../http/raw.h"
#include "catalyst/event/build.h"

#define BINARY(id)                                                                                 \
    "ce-specversion: 1.0\r\nce-id: " id "\r\nce-source: /shop\r\nce-type: order.created\r\n"       \
    "Content-Type: application/json\r\n"
#define JSON  "Content-Type: application/cloudevents+json; charset=utf-8\r\n"
#define BATCH "Content-Type: application/cloudevents-batch+json\r\n"

static void post(struct rig *rig, const char *path, const char *headers, const void *body,
                 size_t len, int status, const char *answer)
{
    struct raw_answer a;
    int fd = raw_connect(rig->http_port);
    raw_send(fd, "POST", path, headers, body, len);
    raw_read(fd, &a);
    const char *got = a.body.len != 0 ? (const char *)a.body.data : "";
    if (a.status != status || strstr(got, answer) == NULL) {
        fail_msg("POST %s: %d '%s'; expected %d '%s'", path, a.status, got, status, answer);
    }
    raw_free(&a);
}

static void post_text(struct rig *rig, const char *path, const char *headers, const char *body,
                      int status, const char *answer)
{
    post(rig, path, headers, body, strlen(body), status, answer);
}

/* What a stream holds, as JSON, one a line: through server-sent events from the beginning. */
static char *follow(struct rig *rig, const char *path, const char *headers, unsigned n)
{
    struct chassis_buf all = {0};
    unsigned seen = 0;
    int fd = raw_connect(rig->http_port);
    raw_send(fd, "GET", path, headers, NULL, 0);
    while (seen < n) {
        char room[4096];
        ssize_t got = recv(fd, room, sizeof room, 0);
        if (got <= 0) {
            fail_msg("GET %s ended: %s", path, all.len != 0 ? (const char *)all.data : "");
        }
        chassis_buf_append(&all, room, (size_t)got);
        seen = 0;
        for (const char *at = (const char *)all.data; (at = strstr(at, "\ndata: ")) != NULL; at++) {
            seen += strstr(at + 1, "\n\n") != NULL;
        }
    }
    close(fd);
    return (char *)all.data;
}

static void expect_stored(struct rig *rig, unsigned n, const char *const *parts)
{
    char *all = follow(rig, "/events/s?start=earliest", "Accept: text/event-stream\r\n", n);
    for (; *parts != NULL; parts++) {
        if (strstr(all, *parts) == NULL) {
            fail_msg("no '%s' in %s", *parts, all);
        }
    }
    free(all);
}

static void an_event_may_come_in_every_mode(void **state)
{
    struct rig *rig = *state;
    struct chassis_buf event = {0}, batch = {0};
    rig_stream(rig, "s");
    post_text(rig, "/events/s", BINARY("1") "ce-subject: caf%C3%A9\r\n", "{\"n\":1}", 200,
              "{\"accepted\":1,\"duplicates\":0,\"lastSequence\":1,\"refusals\":[]}");
    post_text(rig, "/events/s", BINARY("1"), "{\"n\":1}", 200, "\"duplicates\":1");
    post_text(rig, "/events/s", JSON,
              "{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/shop\",\"type\":\"t\","
              "\"data\":{\"n\":2}}",
              200, "\"lastSequence\":2");
    post_text(rig, "/events/s", BATCH,
              "[{\"specversion\":\"1.0\",\"id\":\"3\",\"source\":\"/shop\",\"type\":\"t\"},"
              "{\"specversion\":\"1.0\",\"id\":\"4\",\"source\":\"/shop\",\"type\":\"t\"}]",
              200, "{\"accepted\":2,\"duplicates\":0,\"lastSequence\":4");
    rig_event(&event, 5, "/shop", "t", "five");
    post(rig, "/events/s", "Content-Type: application/cloudevents+protobuf\r\n", event.data,
         event.len, 200, "\"lastSequence\":5");
    chassis_buf_clear(&event);
    rig_event(&event, 6, "/shop", "t", "six");
    cat_batch_append(&batch, chassis_buf_view(&event));
    post(rig, "/events/s", "Content-Type: application/cloudevents-batch+protobuf\r\n", batch.data,
         batch.len, 200, "\"lastSequence\":6");
    static const char *const parts[] = {"\nid: 1\n",
                                        "\"subject\":\"café\"",
                                        "\"data\":{\"n\":1}",
                                        "\"id\":\"2\"",
                                        "\"data\":{\"n\":2}",
                                        "\nid: 3\n",
                                        "\nid: 4\n",
                                        "\"five\"",
                                        "\"six\"",
                                        NULL};
    expect_stored(rig, 6, parts);
    chassis_buf_fini(&event);
    chassis_buf_fini(&batch);
}

static void events_without_a_stream_go_where_rules_say(void **state)
{
    struct rig *rig = *state;
    struct raw_answer a;
    post_text(rig, "/events", BINARY("1"), "{}", 200, "\"accepted\":1");
    free(follow(rig, "/events/default?start=1", "", 1));
    raw_call(rig->http_port, "GET", "/events", "", NULL, &a);
    assert_int_equal(a.status, 404);
    assert_non_null(strstr((const char *)a.body.data, "name a stream"));
    raw_free(&a);
}

static void a_bad_event_is_refused_by_its_rule(void **state)
{
    struct rig *rig = *state;
    post_text(rig, "/events", "ce-specversion: 1.0\r\nce-source: /s\r\nce-type: t\r\n", "", 400,
              "rule 'id-required'");
    post_text(rig, "/events", JSON, "{\"specversion\":\"0.3\",\"id\":\"1\"}", 400, "rule '");
    post_text(rig, "/events", JSON, "{\"specversion\"", 400, "\"code\":\"invalid_argument\"");
    post_text(rig, "/events", "Content-Type: application/cloudevents+avro\r\n", "x", 415,
              "event format");
    post_text(rig, "/events", "Content-Type: application/cloudevents+protobuf\r\n", "\xff\xff", 400,
              "rule 'wire-format'");
    post_text(rig, "/events/nowhere", BINARY("1"), "{}", 404, "nowhere");
    post_text(rig, "/events/a/b", BINARY("1"), "{}", 404, "no such page");
    post_text(rig, "/events", BATCH, "[]", 400, "the batch has no events");
    post_text(rig, "/events", BATCH, "{}", 400, "\"code\":\"invalid_argument\"");
}

static void a_batch_lists_all_refusals_and_stores_the_rest(void **state)
{
    struct rig *rig = *state;
    struct raw_answer a;
    rig_stream(rig, "s");
    raw_call(rig->http_port, "POST", "/events/s", BATCH,
             "[{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"},"
             "{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/s\"},"
             "{\"specversion\":\"1.0\",\"id\":\"3\",\"source\":\"/s\",\"type\":\"t\"},"
             "{\"specversion\":\"1.0\",\"id\":\"4\",\"source\":\"/s\",\"type\":\"t\",\"Bad\":1}]",
             &a);
    const char *body = (const char *)a.body.data;
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(body, "\"accepted\":2"));
    assert_non_null(strstr(body, "{\"index\":1,"));
    assert_non_null(strstr(body, "rule 'type-required'"));
    assert_non_null(strstr(body, "{\"index\":3,"));
    assert_non_null(strstr(body, "rule 'attribute-name'"));
    assert_null(strstr(body, "{\"index\":0,"));
    raw_free(&a);
    static const char *const parts[] = {"\"id\":\"1\"", "\"id\":\"3\"", NULL};
    expect_stored(rig, 2, parts);
}

#define STREAM(config)                                                                             \
    post_text(rig, "/draft.events.v1.StreamService/Create", "Content-Type: application/json\r\n",  \
              "{\"config\":" config "}", 200, "\"name\"")
#define EVENT(id, type, data)                                                                      \
    "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/s\",\"type\":\"" type "\","          \
    "\"data\":\"" data "\"}"

/* Rules of CloudEvents, limits of streams: each event has the place and the reason of its own. */
static void each_refusal_of_a_batch_has_its_own_reason(void **state)
{
    struct rig *rig = *state;
    struct raw_answer a;
    static const char *const expected[] = {
        "\"accepted\":2,",
        "{\"index\":1,\"id\":\"b\",\"code\":\"invalid_argument\",\"message\":\"event_bytes_max: ",
        "{\"index\":2,\"id\":\"\",\"code\":\"invalid_argument\",\"message\":\"rule "
        "'source-required'",
        "{\"index\":3,\"id\":\"d\",\"code\":\"resource_exhausted\",\"message\":\"events_max: "
        "stream "
        "'full' is full",
        "{\"index\":5,\"id\":\"f\",\"code\":\"invalid_argument\",\"message\":\"event_bytes_max: ",
    };
    STREAM("{\"name\":\"small\",\"takes\":[{\"type\":\"small.*\"}],\"eventBytesMax\":70}");
    STREAM("{\"name\":\"full\",\"takes\":[{\"type\":\"full\"}],\"eventsMax\":1,"
           "\"whenFull\":\"WHEN_FULL_REFUSE_NEW\"}");
    post_text(rig, "/events", JSON, EVENT("0", "full", "x"), 200, "\"accepted\":1");
    raw_call(
        rig->http_port, "POST", "/events", BATCH,
        "[" EVENT("a", "other", "x") "," EVENT(
            "b", "small.b",
            "0123456789012345678901234") ","
                                         "{\"specversion\":\"1.0\",\"id\":\"c\",\"type\":\"t\"}"
                                         "," EVENT("d", "full", "x") "," EVENT(
                                             "e", "small.e",
                                             "") "," EVENT("f", "small.f",
                                                           "012345678901234567890123456789") "]",
        &a);
    const char *body = (const char *)a.body.data;
    assert_int_equal(a.status, 413);
    for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        if (strstr(body, expected[i]) == NULL) {
            fail_msg("no '%s' in %s", expected[i], body);
        }
    }
    assert_null(strstr(body, "\"index\":0,"));
    assert_null(strstr(body, "\"index\":4,"));
    raw_free(&a);
}

static void limits_of_a_stream_hold_over_http(void **state)
{
    struct rig *rig = *state;
    struct chassis_arena arena;
    char name[] = "small";
    EV(StreamConfig) config = EV_INIT(STREAM_CONFIG);
    EV(CreateStreamRequest) req = EV_INIT(CREATE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    config.name = name;
    config.event_bytes_max = 1024;
    req.config = &config;
    rig_call(rig, &events_stream_service_create_method, &req, 0, &arena, NULL);
    char data[2048];
    memset(data, 'x', sizeof data - 1);
    data[sizeof data - 1] = '\0';
    post_text(rig, "/events/small", BINARY("1"), data, 413, "1024");
    data[500] = '\0';
    post_text(rig, "/events/small", BINARY("1"), data, 200, "\"accepted\":1");
    chassis_arena_fini(&arena);
}

static void a_browser_that_comes_back_goes_on_where_it_was(void **state)
{
    struct rig *rig = *state;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    char *all = follow(rig, "/events/s?start=earliest", "Last-Event-ID: 8\r\n", 2);
    assert_null(strstr(all, "\nid: 8\n"));
    assert_non_null(strstr(all, "\nid: 9\n"));
    assert_non_null(strstr(all, "\nid: 10\n"));
    assert_non_null(strcasestr(all, "content-type: text/event-stream"));
    free(all);
    all = follow(rig, "/events/s?start=3&sql=INT(id)%20%25%204%20%3D%200", "", 2);
    assert_non_null(strstr(all, "\nid: 4\n"));
    assert_non_null(strstr(all, "\nid: 8\n"));
    assert_null(strstr(all, "\nid: 5\n"));
    free(all);
    all = follow(rig, "/events/s?start=1&filter=%7B%22suffix%22%3A%7B%22id%22%3A%220%22%7D%7D", "",
                 1);
    assert_non_null(strstr(all, "\nid: 10\n"));
    assert_null(strstr(all, "\nid: 9\n"));
    free(all);
    all = follow(rig, "/events/s?start=2020-01-01T00:00:00Z&type=test.*&source=/test", "", 10);
    assert_non_null(strstr(all, "\nid: 1\n"));
    free(all);
}

static void a_browser_is_told_what_it_missed(void **state)
{
    struct rig *rig = *state;
    static const char json[] = "Content-Type: application/json\r\n";
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    post_text(rig, "/draft.events.v1.StreamService/Purge", json,
              "{\"name\":\"s\",\"keepFromSequence\":\"8\"}", 200, "\"purged\":\"7\"");
    char *all = follow(rig, "/events/s", "Last-Event-ID: 2\r\n", 4); /* the gap and three events */
    const char *gap = strstr(all, "event: gap\ndata: {\"from\":3,\"to\":8}\n\n");
    assert_non_null(gap);
    assert_true(strstr(all, "\nid: 8\n") > gap);
    assert_non_null(strstr(all, "\nid: 10\n"));
    free(all);
}

static void a_browser_follows_a_stream_that_is_deleted_and_made_anew(void **state)
{
    struct rig *rig = *state;
    static const char json[] = "Content-Type: application/json\r\n";
    char room[4096];
    size_t n = 0;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 50);
    int fd = raw_connect(rig->http_port);
    raw_send(fd, "GET", "/events/s?start=50", "", NULL, 0);
    while (memmem(room, n, "\nid: 50\n", 8) == NULL) {
        ssize_t got = recv(fd, room + n, sizeof room - n, 0);
        assert_true(got > 0);
        n += (size_t)got;
    }
    post_text(rig, "/draft.events.v1.StreamService/Delete", json, "{\"name\":\"s\"}", 200, "{}");
    while (recv(fd, room, sizeof room, 0) > 0) { /* it ends */
    }
    close(fd);
    rig_stream(rig, "s");
    rig_publish(rig, "s", 51, 2);
    fd = raw_connect(rig->http_port);
    raw_send(fd, "GET", "/events/s", "Last-Event-ID: 50\r\n", NULL, 0);
    static const char gap[] = "\ndata: {\"from\":51,\"to\":3}\n\n";
    for (n = 0; memmem(room, n, gap, sizeof gap - 1) == NULL;) {
        ssize_t got = recv(fd, room + n, sizeof room - n, 0);
        assert_true(got > 0);
        n += (size_t)got;
    }
    rig_publish(rig, "s", 53, 1);
    while (memmem(room, n, "\nid: 3\n", 7) == NULL) {
        ssize_t got = recv(fd, room + n, sizeof room - n, 0);
        assert_true(got > 0);
        n += (size_t)got;
    }
    close(fd);
}

static void a_page_of_an_allowed_site_may_send_and_follow(void **state)
{
    struct rig *rig = *state;
    struct raw_answer a;
    rig_stream(rig, "s");
    raw_call(rig->http_port, "OPTIONS", "/events/s",
             "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n"
             "Access-Control-Request-Headers: ce-id,ce-type,content-type\r\n",
             NULL, &a);
    assert_int_equal(a.status, 204);
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Origin"), "https://app.example");
    assert_non_null(strstr(raw_header(&a, "Access-Control-Allow-Methods"), "POST"));
    assert_non_null(strstr(raw_header(&a, "Access-Control-Allow-Headers"), "ce-id"));
    raw_free(&a);
    raw_call(rig->http_port, "POST", "/events/s", BINARY("1") "Origin: https://app.example\r\n",
             "{}", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(raw_header(&a, "Access-Control-Allow-Origin"), "https://app.example");
    raw_free(&a);
    char *all = follow(rig, "/events/s?start=earliest", "Origin: https://app.example\r\n", 1);
    assert_non_null(strcasestr(all, "access-control-allow-origin: https://app.example"));
    free(all);
    all = follow(rig, "/events/s?start=earliest", "Origin: https://evil.example\r\n", 1);
    assert_null(strcasestr(all, "access-control-allow-origin"));
    free(all);
}

static void events_are_pushed_as_they_are_stored(void **state)
{
    struct rig *rig = *state;
    char room[4096];
    size_t n = 0;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 3);
    int fd = raw_connect(rig->http_port);
    raw_send(fd, "GET", "/events/s", "", NULL, 0);
    /* The first comment says that it stands where new events come. */
    while (memmem(room, n, ":\n\n", 3) == NULL) {
        n += (size_t)recv(fd, room + n, sizeof room - n, 0);
    }
    rig_publish(rig, "s", 4, 1);
    while (memmem(room, n, "\"id\":\"4\"", 8) == NULL) {
        ssize_t got = recv(fd, room + n, sizeof room - n, 0);
        assert_true(got > 0);
        n += (size_t)got;
    }
    assert_null(memmem(room, n, "\"id\":\"3\"", 8));
    close(fd);
}

static void headers_hold_an_event_back_or_end_its_life(void **state)
{
    struct rig *rig = *state;
    rig_stream(rig, "s");
    post_text(rig, "/events/s", BINARY("1") "ce-delayms: 300\r\n", "{}", 200, "\"accepted\":1");
    post_text(rig, "/events/s", BINARY("2") "ce-expirytime: 2020-01-01T00:00:00Z\r\n", "{}", 200,
              "\"accepted\":1");
    post_text(rig, "/events/s", BINARY("3"), "{}", 200, "\"accepted\":1");
    post_text(rig, "/events/s", BINARY("4") "ce-delayms: soon\r\n", "{}", 400,
              "rule 'attribute-integer'");
    post_text(rig, "/events/s",
              BINARY("5") "ce-delayms: 1\r\nce-notbefore: 2030-01-01T00:00:00Z\r\n", "{}", 400,
              "rule 'delay-once'");
    char *all = follow(rig, "/events/s?start=earliest", "", 2);
    const char *third = strstr(all, "\nid: 3\n"), *first = strstr(all, "\nid: 1\n");
    assert_true(third != NULL && first > third);
    assert_null(strstr(all, "\nid: 2\n"));
    free(all);
}

static void a_follower_is_told_what_is_wrong(void **state)
{
    static const struct {
        const char *path, *headers;
        int status;
        const char *text;
    } cases[] = {
        {"/events/nowhere", "", 404, "nowhere"},
        {"/events/default?start=soon", "", 400, "parameter 'start'"},
        {"/events/default", "Last-Event-ID: x\r\n", 400, "Last-Event-ID"},
        {"/events/default?sql=1%20%2B", "", 400, "parameter 'sql'"},
        {"/events/default?filter=%7B", "", 400, "parameter 'filter'"},
        {"/events/default?type=a.*b.c", "", 400, "parameter 'type'"},
        {"/events/default", "Accept: application/json\r\n", 406, "text/event-stream"},
    };
    struct rig *rig = *state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raw_answer a;
        raw_call(rig->http_port, "GET", cases[i].path, cases[i].headers, NULL, &a);
        if (a.status != cases[i].status ||
            strstr((const char *)a.body.data, cases[i].text) == NULL) {
            fail_msg("GET %s: %d %s", cases[i].path, a.status, (const char *)a.body.data);
        }
        raw_free(&a);
    }
}

static void a_follower_that_does_not_read_holds_up_nobody(void **state)
{
    struct rig *rig = *state;
    rig_stream(rig, "s");
    int fd = raw_connect(rig->http_port);
    raw_send(fd, "GET", "/events/s?start=earliest", "", NULL, 0);
    for (unsigned i = 0; i < 30; i++) {
        rig_publish(rig, "s", i * 1000 + 1, 1000);
    }
    free(follow(rig, "/events/s?start=29999", "", 2));
    size_t n = 0; /* now it reads, and nothing is missing */
    char room[65536], tail[64] = "";
    while (strstr(tail, "\"id\":\"30000\"") == NULL) {
        ssize_t got = recv(fd, room, sizeof room - 1, 0);
        assert_true(got > 0);
        room[got] = '\0';
        for (char *at = room; (at = strstr(at, "\ndata: ")) != NULL; at++) {
            n++;
        }
        char *last = strstr(room, "\"id\":\"30000\"");
        if (last != NULL) {
            memcpy(tail, last, 12);
        }
    }
    assert_true(n > 20000); /* those that no border of two reads cut */
    close(fd);
}

static void followers_that_hang_up_at_once_harm_nobody(void **state)
{
    struct rig *rig = *state;
    for (unsigned i = 0; i < 100; i++) {
        int fd = raw_connect(rig->http_port);
        raw_send(fd, "GET", i % 3 == 0 ? "/events/nowhere" : "/events/default?start=earliest", "",
                 NULL, 0);
        close(fd);
    }
    post_text(rig, "/events/default", BINARY("1"), "{}", 200, "\"accepted\":1");
    free(follow(rig, "/events/default?start=earliest", "", 1));
}

static void a_drain_ends_followers(void **state)
{
    struct rig *rig = *state;
    char room[4096];
    int fd = raw_connect(rig->http_port);
    raw_send(fd, "GET", "/events/default", "", NULL, 0);
    assert_true(recv(fd, room, sizeof room, 0) > 0);
    rig_drain(rig);
    while (recv(fd, room, sizeof room, 0) > 0) {
    }
    close(fd);
}

static void every_dialect_of_filters_is_evaluated_in_the_server(void **state)
{
    static const struct {
        const char *filters;
        int status;
        const char *sequences; /* or what is wrong */
    } rows[] = {
        {"{\"exact\":{\"values\":{\"id\":\"3\",\"source\":\"/test\"}}}", 200, "3 "},
        {"{\"exact\":{\"values\":{\"id\":\"3\",\"source\":\"/no\"}}}", 200, ""},
        {"{\"prefix\":{\"values\":{\"id\":\"1\"}}}", 200, "1 10 "},
        {"{\"suffix\":{\"values\":{\"id\":\"0\"}}}", 200, "10 "},
        {"{\"exact\":{\"values\":{\"nowhere\":\"x\"}}}", 200, ""},
        {"{\"all\":{\"filters\":[{\"prefix\":{\"values\":{\"id\":\"1\"}}},"
         "{\"not\":{\"suffix\":{\"values\":{\"id\":\"0\"}}}}]}}",
         200, "1 "},
        {"{\"any\":{\"filters\":[{\"exact\":{\"values\":{\"id\":\"2\"}}},"
         "{\"sql\":\"INT(id) > 8\"}]}}",
         200, "2 9 10 "},
        {"{\"not\":{\"any\":{\"filters\":[{\"sql\":\"INT(id) < 9\"}]}}}", 200, "9 10 "},
        {"{\"sql\":\"id IN ('4', '5') AND type LIKE 'test.%'\"},{\"sql\":\"id != '4'\"}", 200,
         "5 "},
        {"{\"sql\":\"EXISTS subject OR nowhere = 1\"}", 200, ""}, /* an error does not match */
        {"{\"sql\":\"id = \"}", 400, "ParseError at 6"},
        {"{\"sql\":\"HASH(id)\"}", 400, "MissingFunctionError"},
        {"{\"exact\":{}}", 400, "filter exact"},
        {"{\"any\":{}}", 400, "filter any"},
        {"{}", 400, "no known dialect"},
    };
    struct rig *rig = *state;
    rig_stream(rig, "s");
    rig_publish(rig, "s", 1, 10);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct raw_answer a;
        struct chassis_buf request = {0};
        char got[128] = "";
        chassis_buf_printf(&request,
                           "{\"stream\":\"s\",\"start\":{\"earliest\":true},\"filters\":[%s]}",
                           rows[i].filters);
        raw_call(rig->http_port, "POST", "/draft.events.v1.EventService/Read",
                 "Content-Type: application/json\r\n", (const char *)request.data, &a);
        const char *at = (const char *)a.body.data;
        bool as_said = a.status == rows[i].status;
        if (a.status == 200) {
            static const char key[] = "{\"sequence\":\"";
            while ((at = strstr(at, key)) != NULL) {
                at += sizeof key - 1;
                strncat(got, at, strcspn(at, "\""));
                strcat(got, " ");
            }
            as_said = as_said && strcmp(got, rows[i].sequences) == 0;
        } else {
            as_said = as_said && strstr(at, rows[i].sequences) != NULL;
        }
        if (!as_said) {
            fail_msg("%s: %d '%s' %s", rows[i].filters, a.status, got, (const char *)a.body.data);
        }
        raw_free(&a);
        chassis_buf_fini(&request);
    }
}

static void rpcs_can_be_called_as_json(void **state)
{
    struct rig *rig = *state;
    static const char json[] = "Content-Type: application/json\r\n";
    post_text(rig, "/draft.events.v1.StreamService/Create", json,
              "{\"config\":{\"name\":\"j\",\"takes\":[{\"type\":\"a.>\"}]}}", 200,
              "\"name\":\"j\"");
    post_text(rig, "/draft.events.v1.EventService/Publish", json,
              "{\"stream\":\"j\",\"batch\":{\"events\":[{\"id\":\"1\",\"source\":\"/s\","
              "\"specVersion\":\"1.0\",\"type\":\"t\",\"textData\":\"hello\"}]}}",
              200, "\"accepted\":1");
    post_text(rig, "/draft.events.v1.EventService/Read", json,
              "{\"stream\":\"j\",\"start\":{\"earliest\":true}}", 200, "\"textData\":\"hello\"");
}

#define TEST_OF(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(an_event_may_come_in_every_mode),
        TEST_OF(events_without_a_stream_go_where_rules_say),
        TEST_OF(a_bad_event_is_refused_by_its_rule),
        TEST_OF(a_batch_lists_all_refusals_and_stores_the_rest),
        TEST_OF(each_refusal_of_a_batch_has_its_own_reason),
        TEST_OF(limits_of_a_stream_hold_over_http),
        TEST_OF(a_browser_that_comes_back_goes_on_where_it_was),
        TEST_OF(a_browser_is_told_what_it_missed),
        TEST_OF(a_browser_follows_a_stream_that_is_deleted_and_made_anew),
        TEST_OF(a_page_of_an_allowed_site_may_send_and_follow),
        TEST_OF(every_dialect_of_filters_is_evaluated_in_the_server),
        TEST_OF(events_are_pushed_as_they_are_stored),
        TEST_OF(headers_hold_an_event_back_or_end_its_life),
        TEST_OF(a_follower_is_told_what_is_wrong),
        TEST_OF(a_follower_that_does_not_read_holds_up_nobody),
        TEST_OF(followers_that_hang_up_at_once_harm_nobody),
        TEST_OF(a_drain_ends_followers),
        TEST_OF(rpcs_can_be_called_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
