/* EventService.Read: what is there already, up to a limit. */
#include "catalyst/broker/convert.h"
#include "catalyst/broker/session.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, ANSWER_BYTES = 3500000 };

struct page {
    struct cat_session session; /* first */
    struct chassis_view stream;
    struct cat_start start;
    struct cat_filter *filter;
    struct cat_reader *reader;
    uint32_t limit, n;
    uint64_t end; /* the first that was not there yet */
    bool full;
};

static int on_event(void *data, struct chassis_view stream, const struct cat_log_event *stored,
                    const struct cat_event *event)
{
    struct page *page = data;
    struct chassis_buf *out = &page->session.answer;
    page->full = page->n == page->limit || stored->sequence >= page->end ||
                 (page->n != 0 && out->len + stored->bytes.len > ANSWER_BYTES);
    if (page->full) {
        return 1;
    }
    cat_put_delivery(out, stored, 0);
    page->n++;
    return 0;
}

static void on_pause(void *data, uint64_t next)
{
    struct page *page = data;
    if (!page->full && next < page->end) {
        return; /* a part was read */
    }
    cat_put_varint(&page->session.answer, 2, next);
    page->session.answers = true;
    cat_session_stop(&page->session, NULL);
}

static void on_gap(void *data, struct chassis_view stream, uint64_t from, uint64_t to)
{
    struct page *page = data;
    if (page->n == 0) { /* a later one: the next Read tells of it */
        cat_put_gap(&page->session.answer, 3, from, to);
    }
}

static void on_ended(void *data, int status, const struct chassis_error *err)
{
    struct page *page = data;
    cat_session_stop(&page->session, err);
}

static const struct cat_reader_ops reader_ops = {on_event, on_pause, on_gap, on_ended};

static void start(struct cat_session *session)
{
    struct page *page = chassis_container_of(session, struct page, session);
    struct chassis_error err = {0};
    const struct cat_reader_options options = {.stream = page->stream,
                                               .start = page->start,
                                               .filter = page->filter,
                                               .delayed_at_once = true,
                                               .ops = &reader_ops,
                                               .data = page};
    struct cat_stream_info info;
    int rc = cat_stream_get(session->views->broker, page->stream, &info, &err);
    rc = rc == 0 ? cat_reader_open(session->views->broker, &options, &page->reader, &err) : rc;
    if (rc != 0) {
        cat_session_stop(session, &err);
        return;
    }
    page->end = info.log.readable + 1;
    cat_reader_wake(page->reader);
}

static void stop(struct cat_session *session)
{
    struct page *page = chassis_container_of(session, struct page, session);
    cat_reader_close(page->reader);
    page->reader = NULL;
    cat_filter_free(page->filter);
    page->filter = NULL;
}

static const struct cat_session_ops session_ops = {start, NULL, stop};

void cat_rpc_read(struct chassis_call *call, const EV(ReadRequest) * req)
{
    struct chassis_arena *arena = chassis_call_arena(call);
    struct page *page = chassis_arena_zalloc(arena, sizeof *page);
    struct chassis_error err = {0};
    if (page == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    page->stream = chassis_view_str(req->stream[0] != '\0' ? req->stream : "default");
    int rc = cat_start_of(req->start, &page->start, &err);
    rc = rc == 0 ? cat_limit_of("limit", req->limit, LIMIT_DEFAULT, LIMIT_MAX, &page->limit, &err)
                 : rc;
    rc = rc == 0 ? cat_filter_of(arena, req->filters, req->n_filters, &page->filter, &err) : rc;
    if (rc != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    cat_session_open(&page->session, call, &session_ops);
}
