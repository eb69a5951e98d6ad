/* Consumer.Consume with the option `group`: a member that acknowledges what it has sent.
 *
 * Events that do not fit the member's template are acknowledged, too: who shares a group shares a
 * template. What the client does not take waits here, at most WINDOW events; more are only asked for
 * when those are gone.
 */
#include "base/assert.h"
#include "catalyst/broker/consume.h"
#include "catalyst/broker/convert.h"
#include "catalyst/broker/session.h"
#include "catalyst/groups/groups.h"

enum { WINDOW = 32 };

struct waiting {
    uint64_t sequence;
    struct chassis_buf message;
};

struct consumer {
    struct cat_session session; /* first */
    struct cat_template template;
    struct cat_filter *filter;
    struct cat_filter_scratch scratch;
    struct cat_member *member;
    struct waiting waiting[WINDOW]; /* not taken by the client, oldest first */
    uint32_t n;
    uint32_t used; /* credit to be given again */
    struct cat_gaps gaps;
};

static void done_with(struct consumer *c, uint64_t sequence)
{
    cat_member_answer(c->member, &(struct cat_answer){.sequence = sequence, .kind = CAT_ACK});
    c->used++;
}

static bool fits(struct consumer *c, const struct cat_log_event *stored)
{
    const struct cat_template *t = &c->template;
    struct cat_event event;
    if (t->source.len == 0 && t->type.len == 0 && t->subject.len == 0 && c->filter == NULL) {
        return true;
    }
    return cat_event_parse(stored->bytes, &event, NULL) == 0 && cat_template_fits(t, &event) &&
           cat_filter_matches(c->filter, &event, &c->scratch);
}

static void deliver(void *data, const struct cat_log_event *stored, uint32_t attempt)
{
    struct consumer *c = data;
    struct waiting w = {.sequence = stored->sequence};
    if (!fits(c, stored)) {
        done_with(c, stored->sequence);
        return;
    }
    cat_put_block(&w.message, 1, stored->bytes);
    chassis_buf_append_view(&w.message, chassis_buf_view(&c->gaps.fields));
    cat_gaps_clear(&c->gaps);
    if (c->n == 0 &&
        cat_session_send(&c->session, chassis_buf_view(&w.message)) != CHASSIS_RESOURCE_EXHAUSTED) {
        chassis_buf_fini(&w.message);
        done_with(c, stored->sequence);
        return;
    }
    CHASSIS_ASSERT(c->n < WINDOW); /* no more than the credit */
    c->waiting[c->n++] = w;
}

static void give_credit(struct consumer *c)
{
    if (c->n == 0 && c->used != 0) {
        uint32_t more = c->used;
        c->used = 0;
        cat_member_credit(c->member, more);
    }
}

static void flush(void *data)
{
    give_credit(data);
}

static void news(struct cat_session *session)
{
    struct consumer *c = chassis_container_of(session, struct consumer, session);
    uint32_t i = 0;
    for (; i < c->n; i++) {
        struct waiting *w = &c->waiting[i];
        if (cat_session_send(session, chassis_buf_view(&w->message)) ==
            CHASSIS_RESOURCE_EXHAUSTED) {
            break;
        }
        chassis_buf_fini(&w->message);
        done_with(c, w->sequence);
    }
    memmove(c->waiting, c->waiting + i, (c->n - i) * sizeof *c->waiting);
    c->n -= i;
    give_credit(c);
}

static void ended(void *data, int status, const struct chassis_error *err)
{
    struct consumer *c = data;
    c->member = NULL;
    cat_session_stop(&c->session, err);
}

static void gap(void *data, uint64_t from, uint64_t to)
{
    struct consumer *c = data;
    cat_gaps_add(&c->gaps, c->template.stream, from, to);
}

static const struct cat_member_ops member_ops = {deliver, flush, ended, gap};

static void join(struct consumer *c)
{
    struct cat_session *session = &c->session;
    struct chassis_error err = {0};
    uint64_t next;
    const char *address = chassis_call_peer(session->call)->address;
    const struct cat_member_options options = {.stream = c->template.stream,
                                               .group = c->template.group,
                                               .name = chassis_view_str(address),
                                               .address = chassis_view_str(address),
                                               .ops = &member_ops,
                                               .data = c};
    if (cat_member_join(session->views->groups, &options, &c->member, &next, &err) != 0) {
        cat_session_stop(session, &err);
        return;
    }
    cat_member_credit(c->member, WINDOW);
}

static void created(void *data, int status, const struct chassis_error *err)
{
    struct consumer *c = data;
    if (c->session.stopped) {
        cat_session_put(&c->session);
        return;
    }
    if (status != 0 && status != CHASSIS_ALREADY_EXISTS) {
        cat_session_stop(&c->session, err);
    } else {
        join(c);
    }
    cat_session_put(&c->session);
}

static void start(struct cat_session *session)
{
    struct consumer *c = chassis_container_of(session, struct consumer, session);
    struct cat_group_info info;
    const struct cat_template *t = &c->template;
    if (cat_group_get(session->views->groups, t->stream, t->group, &info, NULL) == 0) {
        join(c);
        return;
    }
    const struct cat_group_config config = {
        .stream = t->stream, .name = t->group, .start = t->start};
    cat_session_hold(session);
    cat_group_create(session->views->groups, &config, created, c);
}

static void stop(struct cat_session *session)
{
    struct consumer *c = chassis_container_of(session, struct consumer, session);
    if (c->member != NULL) {
        cat_member_leave(c->member);
        c->member = NULL;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        chassis_buf_fini(&c->waiting[i].message);
    }
    c->n = 0;
    cat_filter_free(c->filter);
    c->filter = NULL;
    cat_filter_scratch_fini(&c->scratch);
    cat_gaps_clear(&c->gaps);
}

static void news_if_member(struct cat_session *session)
{
    if (chassis_container_of(session, struct consumer, session)->member != NULL) {
        news(session);
    }
}

static const struct cat_session_ops session_ops = {start, news_if_member, stop};

int cat_consume_as_member(struct chassis_call *call, const struct cat_template *t,
                          struct chassis_error *err)
{
    struct consumer *c = chassis_arena_zalloc(chassis_call_arena(call), sizeof *c);
    if (c == NULL) {
        return chassis_error_code(err, CHASSIS_RESOURCE_EXHAUSTED, "memory of the call");
    }
    c->template = *t;
    const struct cat_filter_spec sql = {.dialect = CAT_DIALECT_SQL, .sql = t->sql};
    int rc = t->sql.len != 0 ? cat_filter_compile(&sql, &c->filter, err) : 0;
    if (rc == 0) {
        cat_session_open(&c->session, call, &session_ops);
    }
    return rc;
}
