/* Consumer.Consume: events that fit a template, one a message, as they are stored.
 *
 * The reader holds a place, not events: while the client does not read it stands still.
 */
#include "base/assert.h"
#include "catalyst/broker/consume.h"
#include "catalyst/broker/convert.h"
#include "catalyst/broker/session.h"
#include "catalyst/event/subject.h"
#include "core/message_broker/actors/v1/actors.chassis.h"

struct consumer {
    struct cat_session session; /* first */
    struct cat_template template;
    struct cat_filter *filter;
    struct cat_reader *reader;
    struct chassis_buf out;
    struct cat_gaps gaps;
};

enum { GAPS_MAX = 16 };

static bool fits(struct chassis_view pattern, struct chassis_view name)
{
    return pattern.len == 0 || cat_subject_match(pattern, name);
}

bool cat_template_fits(const struct cat_template *t, const struct cat_event *event)
{
    return fits(t->source, event->source) && fits(t->type, event->type) &&
           fits(t->subject, event->subject);
}

void cat_gaps_add(struct cat_gaps *gaps, struct chassis_view stream, uint64_t from, uint64_t to)
{
    struct chassis_buf gap = {0};
    if (gaps->n == GAPS_MAX) {
        return;
    }
    cat_put_block(&gap, 1, stream);
    cat_put_varint(&gap, 2, from);
    cat_put_varint(&gap, 3, to);
    cat_put_block(&gaps->fields, 100, chassis_buf_view(&gap));
    gaps->n++;
    chassis_buf_fini(&gap);
}

void cat_gaps_clear(struct cat_gaps *gaps)
{
    chassis_buf_fini(&gaps->fields);
    *gaps = (struct cat_gaps){0};
}

static int on_event(void *data, struct chassis_view stream, const struct cat_log_event *stored,
                    const struct cat_event *event)
{
    struct consumer *c = data;
    if (!cat_template_fits(&c->template, event)) {
        return 0;
    }
    chassis_buf_clear(&c->out);
    cat_put_block(&c->out, 1, stored->bytes);
    chassis_buf_append_view(&c->out, chassis_buf_view(&c->gaps.fields));
    if (cat_session_send(&c->session, chassis_buf_view(&c->out)) == CHASSIS_RESOURCE_EXHAUSTED) {
        return 1;
    }
    if (c->gaps.n != 0) {
        cat_gaps_clear(&c->gaps);
    }
    return 0;
}

static void on_pause(void *data, uint64_t next)
{
}

static void on_gap(void *data, struct chassis_view stream, uint64_t from, uint64_t to)
{
    struct consumer *c = data;
    chassis_log_warn(chassis_call_logger(c->session.call),
                     "consumer fell behind what is kept: events are missing for it",
                     chassis_f_view("stream", stream), chassis_f_u64("from", from),
                     chassis_f_u64("to", to));
    cat_gaps_add(&c->gaps, stream, from, to);
}

static void on_ended(void *data, int status, const struct chassis_error *err)
{
    struct consumer *c = data;
    cat_session_stop(&c->session, err);
}

static const struct cat_reader_ops reader_ops = {on_event, on_pause, on_gap, on_ended};

static void start(struct cat_session *session)
{
    struct consumer *c = chassis_container_of(session, struct consumer, session);
    struct chassis_error err = {0};
    const struct cat_reader_options options = {.stream = c->template.stream,
                                               .start = c->template.start,
                                               .filter = c->filter,
                                               .ops = &reader_ops,
                                               .data = c};
    if (cat_reader_open(session->views->broker, &options, &c->reader, &err) != 0) {
        cat_session_stop(session, &err);
        return;
    }
    cat_reader_wake(c->reader);
}

static void news(struct cat_session *session)
{
    struct consumer *c = chassis_container_of(session, struct consumer, session);
    cat_reader_wake(c->reader);
}

static void stop(struct cat_session *session)
{
    struct consumer *c = chassis_container_of(session, struct consumer, session);
    cat_reader_close(c->reader);
    c->reader = NULL;
    cat_filter_free(c->filter);
    c->filter = NULL;
    chassis_buf_fini(&c->out);
    cat_gaps_clear(&c->gaps);
}

static const struct cat_session_ops session_ops = {start, news, stop};

static void consume(struct chassis_call *call,
                    const Core__MessageBroker__Actors__V1__ConsumeRequest *req)
{
    struct chassis_error err = {0};
    struct consumer *c = chassis_arena_zalloc(chassis_call_arena(call), sizeof *c);
    if (c == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    int rc = cat_template_of(req->message, &c->template, &err);
    if (rc == 0 && c->template.group.len != 0) {
        rc = cat_consume_as_member(call, &c->template, &err);
        if (rc == 0) {
            return;
        }
    }
    const struct cat_filter_spec sql = {.dialect = CAT_DIALECT_SQL, .sql = c->template.sql};
    if (rc == 0 && c->template.sql.len != 0) {
        rc = cat_filter_compile(&sql, &c->filter, &err);
    }
    if (rc != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    cat_session_open(&c->session, call, &session_ops);
}

static const struct actors_consumer_handlers handlers = {.consume = consume};
static const struct chassis_method_options options[] = {
    {.method = "*", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true},
    {.method = NULL},
};

struct chassis_service cat_consumer_service(struct cat_views *views)
{
    struct chassis_service service = actors_consumer_service(&handlers, views);
    service.options = options;
    return service;
}
