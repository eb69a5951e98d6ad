/* EventService.Subscribe: events of a stream in batches, as many as the client gave credit for.
 *
 * The handler (cq) checks the first message and counts credit; everything else is the loop's. A batch
 * is built by copying the events' bytes, and leaves when it is full, when the reader pauses or when
 * the credit is used. A batch the client does not take waits, one at most, and the reader with it.
 */
#include "base/assert.h"
#include "catalyst/broker/convert.h"
#include "catalyst/broker/session.h"

enum { CREDIT_DEFAULT = 1000, PROGRESS_MIN_MS = 10, PROGRESS_MAX_MS = 3600000 };

struct subscription {
    struct cat_session session; /* first */
    /* the handler's */
    bool opened;
    atomic_uint_fast64_t more; /* credit that came since the loop looked */
    atomic_bool half_closed;
    /* from the first message */
    struct chassis_view stream;
    struct cat_start start;
    struct cat_filter *filter;
    uint32_t batch_max, progress_ms;
    bool until_end;
    /* the loop's */
    struct cat_reader *reader;
    uint64_t credit, end; /* `end`: of until_end */
    struct chassis_buf out;
    uint32_t n;
    uint64_t next;             /* everything before it is in `out` or was sent */
    uint64_t gap_from, gap_to; /* to be told; 0 = none */
    bool blocked;              /* `out` was refused */
    struct chassis_timer progress;
};

static struct subscription *of(struct cat_session *session)
{
    return chassis_container_of(session, struct subscription, session);
}

/* ---- sending ---- */

static void arm_progress(struct subscription *s)
{
    if (s->progress_ms != 0) {
        chassis_post_after(s->session.views->loop, &s->progress,
                           s->progress_ms * CHASSIS_NS_PER_MS);
    }
}

static bool send_out(struct subscription *s)
{
    int rc = cat_session_send(&s->session, chassis_buf_view(&s->out));
    s->blocked = rc == CHASSIS_RESOURCE_EXHAUSTED;
    if (s->blocked) {
        return false;
    }
    chassis_buf_clear(&s->out);
    s->n = 0;
    arm_progress(s);
    return true;
}

/* What was gathered, then the gap; false if the client does not take it. */
static bool flush(struct subscription *s)
{
    if (s->n != 0) {
        if (!s->blocked) {
            cat_put_varint(&s->out, 2, s->next);
        }
        if (!send_out(s)) {
            return false;
        }
    }
    if (s->gap_to != 0) {
        if (!s->blocked) {
            cat_put_varint(&s->out, 2, s->next);
            cat_put_gap(&s->out, 3, s->gap_from, s->gap_to);
        }
        if (!send_out(s)) {
            return false;
        }
        s->gap_to = 0;
    }
    return true;
}

static void on_progress(struct chassis_timer *timer)
{
    struct subscription *s = chassis_container_of(timer, struct subscription, progress);
    if (!s->blocked && s->n == 0) {
        s->next = cat_reader_next(s->reader);
        cat_put_varint(&s->out, 2, s->next);
        if (!send_out(s)) { /* it says nothing that the next one does not say */
            s->blocked = false;
            chassis_buf_clear(&s->out);
        }
    }
    arm_progress(s);
}

/* ---- reading ---- */

static int on_event(void *data, struct chassis_view stream, const struct cat_log_event *stored,
                    const struct cat_event *event)
{
    struct subscription *s = data;
    if (s->blocked || s->credit == 0) {
        return 1;
    }
    bool full =
        s->n == s->batch_max || (s->n != 0 && s->out.len + stored->bytes.len > CAT_MESSAGE_BYTES);
    if (full && !flush(s)) {
        return 1;
    }
    cat_put_delivery(&s->out, stored, 0);
    s->next = stored->sequence + 1;
    s->n++;
    s->credit--;
    if (s->credit == 0) {
        flush(s);
    }
    return 0;
}

static void end_if_done(struct subscription *s)
{
    bool no_more = s->credit == 0 && atomic_load(&s->half_closed) && atomic_load(&s->more) == 0;
    bool all = s->until_end && s->next >= s->end;
    if ((no_more || all) && !s->blocked && s->n == 0) {
        cat_session_stop(&s->session, NULL);
    }
}

static void on_pause(void *data, uint64_t next)
{
    struct subscription *s = data;
    if (!s->blocked) {
        s->next = next;
        flush(s);
    }
    end_if_done(s);
}

static void on_gap(void *data, struct chassis_view stream, uint64_t from, uint64_t to)
{
    struct subscription *s = data;
    flush(s);
    s->gap_from = s->gap_to != 0 ? s->gap_from : from;
    s->gap_to = to;
    if (!s->blocked) {
        s->next = to;
        flush(s);
    }
}

static void on_ended(void *data, int status, const struct chassis_error *err)
{
    struct subscription *s = data;
    if (!s->blocked) {
        flush(s);
    }
    cat_session_stop(&s->session, err);
}

static const struct cat_reader_ops reader_ops = {on_event, on_pause, on_gap, on_ended};

/* ---- the session ---- */

static void start(struct cat_session *session)
{
    struct subscription *s = of(session);
    struct cat_broker *broker = session->views->broker;
    struct chassis_error err = {0};
    struct cat_stream_info info;
    const struct cat_reader_options options = {
        .stream = s->stream, .start = s->start, .filter = s->filter, .ops = &reader_ops, .data = s};
    int rc = cat_stream_get(broker, s->stream, &info, &err);
    rc = rc == 0 ? cat_reader_open(broker, &options, &s->reader, &err) : rc;
    if (rc != 0) {
        cat_session_stop(session, &err);
        return;
    }
    s->end = info.log.readable + 1;
    s->next = cat_reader_next(s->reader);
    s->progress.run = on_progress;
    arm_progress(s);
    cat_session_news(session);
}

/* Credit, or room to send. */
static void news(struct cat_session *session)
{
    struct subscription *s = of(session);
    uint64_t more = atomic_exchange(&s->more, 0);
    s->credit = s->credit + more >= s->credit ? s->credit + more : UINT64_MAX;
    if (s->blocked && !flush(s)) {
        return;
    }
    if (s->credit != 0) {
        cat_reader_wake(s->reader);
    }
    if (!session->stopped) {
        end_if_done(s);
    }
}

static void stop(struct cat_session *session)
{
    struct subscription *s = of(session);
    chassis_cancel(session->views->loop, &s->progress);
    cat_reader_close(s->reader);
    s->reader = NULL;
    cat_filter_free(s->filter);
    s->filter = NULL;
    chassis_buf_fini(&s->out);
}

static const struct cat_session_ops session_ops = {start, news, stop};

/* ---- the handlers ---- */

void cat_subscribe_open(struct chassis_call *call)
{
    struct subscription *s = chassis_arena_zalloc(chassis_call_arena(call), sizeof *s);
    if (s == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    chassis_call_set_state(call, s);
}

static int options_of(struct chassis_call *call, struct subscription *s,
                      const EV(SubscribeRequest) * req, struct chassis_error *err)
{
    struct chassis_arena *arena = chassis_call_arena(call);
    const char *stream = req->stream[0] != '\0' ? req->stream : "default";
    s->stream = chassis_arena_copy(arena, chassis_view_str(stream));
    s->until_end = req->until_end;
    int rc = cat_start_of(req->start, &s->start, err);
    rc = rc == 0 ? cat_limit_of("batch_max", req->batch_max, CAT_BATCH_DEFAULT, CAT_BATCH_MAX,
                                &s->batch_max, err)
                 : rc;
    rc = rc == 0 ? cat_limit_of("progress_ms", req->progress_ms, 0, PROGRESS_MAX_MS,
                                &s->progress_ms, err)
                 : rc;
    if (rc == 0 && s->progress_ms != 0 && s->progress_ms < PROGRESS_MIN_MS) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "field 'progress_ms' is %u, must be 0 or at least %d",
                               s->progress_ms, PROGRESS_MIN_MS);
    }
    return rc == 0 ? cat_filter_of(arena, req->filters, req->n_filters, &s->filter, err) : rc;
}

static bool is_more(const EV(SubscribeRequest) * req)
{
    return req->stream[0] == '\0' && req->start == NULL && req->n_filters == 0 &&
           req->batch_max == 0 && req->progress_ms == 0 && !req->until_end;
}

void cat_subscribe_message(struct chassis_call *call, const EV(SubscribeRequest) * req)
{
    struct subscription *s = chassis_call_state(call);
    struct chassis_error err = {0};
    if (!s->opened) {
        if (options_of(call, s, req, &err) != 0) {
            chassis_call_fail_error(call, &err);
            return;
        }
        s->opened = true;
        atomic_store(&s->more, req->credit != 0 ? req->credit : CREDIT_DEFAULT);
        cat_session_open(&s->session, call, &session_ops);
        return;
    }
    if (!is_more(req)) {
        chassis_error_set(&err, CHASSIS_INVALID_ARGUMENT,
                          "only field 'credit' can be given after the first message");
        chassis_call_fail_error(call, &err);
        return;
    }
    atomic_fetch_add(&s->more, req->credit);
    cat_session_news(&s->session);
}

void cat_subscribe_end(struct chassis_call *call)
{
    struct subscription *s = chassis_call_state(call);
    if (!s->opened) {
        chassis_call_fail(call, CHASSIS_INVALID_ARGUMENT,
                          "no message came that says what to subscribe to");
        return;
    }
    atomic_store(&s->half_closed, true);
    cat_session_news(&s->session);
}
