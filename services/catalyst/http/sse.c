/* GET: events as they are stored, as server-sent events
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
#include <stdlib.h>

#include "base/assert.h"
#include "catalyst/broker/consume.h"
#include "catalyst/broker/session.h"
#include "catalyst/event/json.h"
#include "catalyst/event/subject.h"
#include "catalyst/http/http.h"

enum { HEARTBEAT_MS = 15000 };

struct follower {
    struct cat_session session; /* first */
    struct cat_template template;
    struct cat_filter *filter;
    struct cat_reader *reader;
    struct chassis_timer heartbeat;
    struct chassis_buf out;
    uint64_t gap_from, gap_to; /* to be told; 0 = none */
};

static bool send_out(struct follower *f)
{
    return cat_session_send(&f->session, chassis_buf_view(&f->out)) != CHASSIS_RESOURCE_EXHAUSTED;
}

static bool send_gap(struct follower *f)
{
    if (f->gap_to == 0) {
        return true;
    }
    chassis_buf_clear(&f->out);
    chassis_buf_printf(&f->out, "event: gap\ndata: {\"from\":%llu,\"to\":%llu}\n\n",
                       (unsigned long long)f->gap_from, (unsigned long long)f->gap_to);
    bool sent = send_out(f);
    f->gap_to = sent ? 0 : f->gap_to;
    return sent;
}

static int on_event(void *data, struct chassis_view stream, const struct cat_log_event *stored,
                    const struct cat_event *event)
{
    struct follower *f = data;
    if (!cat_template_fits(&f->template, event)) {
        return 0;
    }
    if (!send_gap(f)) {
        return 1;
    }
    chassis_buf_clear(&f->out);
    chassis_buf_printf(&f->out, "id: %llu\ndata: ", (unsigned long long)stored->sequence);
    cat_json_write(event, &f->out);
    chassis_buf_append_str(&f->out, "\n\n");
    return send_out(f) ? 0 : 1;
}

static void on_pause(void *data, uint64_t next)
{
}

static void on_gap(void *data, struct chassis_view stream, uint64_t from, uint64_t to)
{
    struct follower *f = data;
    f->gap_from = f->gap_to != 0 ? f->gap_from : from;
    f->gap_to = to;
    send_gap(f);
}

static void on_ended(void *data, int status, const struct chassis_error *err)
{
    struct follower *f = data;
    cat_session_stop(&f->session, err);
}

static const struct cat_reader_ops reader_ops = {on_event, on_pause, on_gap, on_ended};

/* A comment: whoever stands in between sees that the connection is alive. */
static void on_heartbeat(struct chassis_timer *timer)
{
    struct follower *f = chassis_container_of(timer, struct follower, heartbeat);
    cat_session_send(&f->session, chassis_view_str(":\n\n"));
    chassis_post_after(f->session.views->loop, timer, HEARTBEAT_MS * CHASSIS_NS_PER_MS);
}

static void start(struct cat_session *session)
{
    struct follower *f = chassis_container_of(session, struct follower, session);
    struct chassis_error err = {0};
    const struct cat_reader_options options = {.stream = f->template.stream,
                                               .start = f->template.start,
                                               .filter = f->filter,
                                               .ops = &reader_ops,
                                               .data = f};
    if (cat_reader_open(session->views->broker, &options, &f->reader, &err) != 0) {
        cat_session_stop(session, &err);
        return;
    }
    chassis_call_set_header(session->call, "cache-control", chassis_view_str("no-cache"));
    chassis_http_begin(session->call, 200, "text/event-stream");
    cat_session_send(session, chassis_view_str(":\n\n"));
    f->heartbeat.run = on_heartbeat;
    chassis_post_after(session->views->loop, &f->heartbeat, HEARTBEAT_MS * CHASSIS_NS_PER_MS);
    cat_reader_wake(f->reader);
}

static void news(struct cat_session *session)
{
    struct follower *f = chassis_container_of(session, struct follower, session);
    if (send_gap(f)) {
        cat_reader_wake(f->reader);
    }
}

static void stop(struct cat_session *session)
{
    struct follower *f = chassis_container_of(session, struct follower, session);
    chassis_cancel(session->views->loop, &f->heartbeat);
    cat_reader_close(f->reader);
    f->reader = NULL;
    cat_filter_free(f->filter);
    f->filter = NULL;
    chassis_buf_fini(&f->out);
}

static const struct cat_session_ops session_ops = {start, news, stop};

/* ---- the request ---- */

static int sequence_of(const char *name, const char *text, uint64_t *ret_sequence,
                       struct chassis_error *err)
{
    size_t len = strlen(text);
    if (len == 0 || len > 19 || strspn(text, "0123456789") != len) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "%s is '%.64s', must be a sequence",
                                 name, text);
    }
    *ret_sequence = strtoull(text, NULL, 10);
    return 0;
}

static int start_of(struct chassis_call *call, struct cat_start *ret_start,
                    struct chassis_error *err)
{
    const char *last = chassis_call_metadata(call, "last-event-id");
    const char *text = chassis_http_query(call, "start");
    struct cat_value time;
    uint64_t sequence;
    *ret_start = (struct cat_start){.kind = CAT_START_NEW};
    if (last != NULL && last[0] != '\0') {
        int rc = sequence_of("header Last-Event-ID", last, &sequence, err);
        *ret_start = (struct cat_start){.kind = CAT_START_SEQUENCE, .sequence = sequence + 1};
        return rc;
    }
    if (text == NULL || strcmp(text, "new") == 0) {
        return 0;
    }
    if (strcmp(text, "earliest") == 0) {
        ret_start->kind = CAT_START_EARLIEST;
        return 0;
    }
    if (cat_value_parse(chassis_view_str(text), CAT_TIMESTAMP, &time) && time.time.seconds >= 0 &&
        time.time.seconds < INT64_MAX / 1000000000) {
        ret_start->kind = CAT_START_TIME;
        ret_start->time_ns = time.time.seconds * 1000000000 + time.time.nanos;
        return 0;
    }
    if (sequence_of("parameter 'start'", text, &sequence, NULL) != 0 || sequence == 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "parameter 'start' is '%.64s', must be new, earliest, a sequence "
                                 "from 1 up or an RFC 3339 time",
                                 text);
    }
    *ret_start = (struct cat_start){.kind = CAT_START_SEQUENCE, .sequence = sequence};
    return 0;
}

static int pattern_of(struct chassis_call *call, const char *name, struct chassis_view *ret_pattern,
                      struct chassis_error *err)
{
    struct chassis_view text = chassis_view_str(chassis_http_query(call, name));
    *ret_pattern = text;
    return text.len == 0 || cat_subject_valid(text, err) == 0
               ? 0
               : chassis_error_wrap(err, "parameter '%s'", name);
}

static int filter_of(struct chassis_call *call, struct cat_filter **ret_filter,
                     struct chassis_error *err)
{
    const char *sql = chassis_http_query(call, "sql"), *json = chassis_http_query(call, "filter");
    if (sql != NULL && json != NULL) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "parameters 'sql' and 'filter' exclude each other: put the "
                                 "expression into the filter as {\"sql\": …}");
    }
    const struct cat_filter_spec spec = {.dialect = CAT_DIALECT_SQL, .sql = chassis_view_str(sql)};
    int rc = sql != NULL    ? cat_filter_compile(&spec, ret_filter, err)
             : json != NULL ? cat_filter_compile_json(chassis_view_str(json), ret_filter, err)
                            : 0;
    return rc != 0 ? chassis_error_wrap(err, "parameter '%s'", sql != NULL ? "sql" : "filter") : 0;
}

static bool accepts_events(struct chassis_call *call)
{
    const char *accept = chassis_call_metadata(call, "accept");
    return accept == NULL || strstr(accept, "text/event-stream") != NULL ||
           strstr(accept, "*/*") != NULL;
}

void cat_http_follow(struct chassis_call *call, const struct chassis_http_request *request)
{
    struct chassis_error err = {0};
    if (request->rest[0] == '\0' || strchr(request->rest, '/') != NULL) {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "name a stream: /events/STREAM");
        return;
    }
    if (!accepts_events(call)) {
        static const char text[] =
            "{\"code\":\"invalid_argument\",\"message\":\"events of a stream "
            "come as text/event-stream\"}";
        chassis_http_answer(call, 406, "application/json", chassis_view_str(text));
        return;
    }
    struct follower *f = chassis_arena_zalloc(chassis_call_arena(call), sizeof *f);
    if (f == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    struct cat_template *t = &f->template;
    t->stream = chassis_view_str(request->rest);
    int rc = start_of(call, &t->start, &err);
    rc = rc == 0 ? pattern_of(call, "source", &t->source, &err) : rc;
    rc = rc == 0 ? pattern_of(call, "type", &t->type, &err) : rc;
    rc = rc == 0 ? pattern_of(call, "subject", &t->subject, &err) : rc;
    rc = rc == 0 ? filter_of(call, &f->filter, &err) : rc;
    if (rc != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    cat_session_open(&f->session, call, &session_ops);
}

void cat_http_routes(struct cat_views *views, struct chassis_http_route ret[CAT_HTTP_ROUTES])
{
    ret[0] = (struct chassis_http_route){.method = "POST",
                                         .path = "/events",
                                         .access = CHASSIS_ACCESS_SERVICE,
                                         .handle = cat_http_post,
                                         .data = views};
    ret[1] = (struct chassis_http_route){.method = "GET",
                                         .path = "/events",
                                         .access = CHASSIS_ACCESS_SERVICE,
                                         .never_blocks = true,
                                         .lasting = true,
                                         .handle = cat_http_follow,
                                         .data = views};
}
