/* GroupService.Join: a member of a group while the stream is open.
 *
 * The handler (cq) copies what a message says into an `order`, the loop carries orders out one after
 * the other. Of the client's credit the group is given as much as fits into about WINDOW_BYTES, so
 * that what a slow client leaves here is bounded whatever it asked for.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "catalyst/broker/session.h"
#include "catalyst/groups/convert.h"

enum {
    CREDIT_DEFAULT = 100,
    WINDOW_BYTES = 4 << 20,
    ORDERS_MAX = 16, /* not yet carried out, of one call */
    ANSWERS_MAX = 10000,
};

/* One message for the client that it did not take yet. */
struct message {
    struct message *next;
    struct chassis_buf bytes;
};

struct member {
    struct cat_session session; /* first */
    /* the handler's */
    bool opened;
    atomic_uint orders; /* under way to the loop */
    /* from the first message */
    struct chassis_view stream, group, name;
    struct cat_group_config create;
    bool may_create;
    uint32_t batch_max;
    /* the loop's */
    struct cat_member *member;
    bool first; /* the first answer says where the group is */
    uint64_t credit, next;
    uint32_t given;         /* of it, to the group, not yet used */
    size_t average;         /* bytes of an event, roughly */
    struct chassis_buf out; /* being built */
    uint32_t n;
    struct message *head, **tail;
    struct chassis_buf stale;  /* varints */
    uint64_t gap_from, gap_to; /* to be told; 0 = none */
};

struct order {
    struct chassis_task task;
    struct member *member;
    uint64_t credit;
    uint32_t n;
    struct cat_answer answers[];
};

static struct member *of(struct cat_session *session)
{
    return chassis_container_of(session, struct member, session);
}

/* ---- sending ---- */

static void drain(struct member *m)
{
    while (m->head != NULL) {
        struct message *message = m->head;
        if (cat_session_send(&m->session, chassis_buf_view(&message->bytes)) ==
            CHASSIS_RESOURCE_EXHAUSTED) {
            return;
        }
        m->head = message->next;
        m->tail = m->head != NULL ? m->tail : &m->head;
        chassis_buf_fini(&message->bytes);
        free(message);
    }
}

/* What was gathered is a message. */
static void close_out(struct member *m)
{
    if (m->first) {
        m->first = false;
        cat_put_varint(&m->out, 2, m->next);
    }
    if (m->stale.len != 0) {
        cat_put_block(&m->out, 3, chassis_buf_view(&m->stale));
        chassis_buf_clear(&m->stale);
    }
    if (m->gap_to != 0 && m->head == NULL) { /* a client that does not read: one for all */
        cat_put_gap(&m->out, 4, m->gap_from, m->gap_to);
        m->gap_to = 0;
    }
    m->n = 0;
    if (m->out.len == 0) {
        return;
    }
    struct message *message = chassis_base_alloc(sizeof *message);
    *message = (struct message){.bytes = chassis_buf_move(&m->out)};
    *m->tail = message;
    m->tail = &message->next;
}

static void give(struct member *m)
{
    uint64_t window = m->average != 0 ? WINDOW_BYTES / m->average + 1 : 64;
    window = window < m->batch_max ? window : m->batch_max;
    if (m->head != NULL || m->given > window / 2 || m->credit == 0 || m->member == NULL) {
        return;
    }
    uint64_t more = window - m->given < m->credit ? window - m->given : m->credit;
    m->credit -= more;
    m->given += (uint32_t)more;
    cat_member_credit(m->member, (uint32_t)more);
}

static void send_all(struct member *m)
{
    close_out(m);
    drain(m);
    give(m);
}

/* ---- the group's callbacks ---- */

static void deliver(void *data, const struct cat_log_event *stored, uint32_t attempt)
{
    struct member *m = data;
    bool full =
        m->n == m->batch_max || (m->n != 0 && m->out.len + stored->bytes.len > CAT_MESSAGE_BYTES);
    if (full) {
        close_out(m);
        drain(m);
    }
    cat_put_delivery(&m->out, stored, attempt);
    m->n++;
    m->given -= m->given != 0;
    m->average += stored->bytes.len / 8 - m->average / 8;
    m->average = m->average != 0 ? m->average : 1;
}

static void flush(void *data)
{
    send_all(data);
}

static void ended(void *data, int status, const struct chassis_error *err)
{
    struct member *m = data;
    m->member = NULL;
    cat_session_stop(&m->session, err);
}

/* In a message of its own: what was gathered comes before. */
static void gap(void *data, uint64_t from, uint64_t to)
{
    struct member *m = data;
    send_all(m);
    m->gap_from = m->gap_to != 0 ? m->gap_from : from;
    m->gap_to = to;
    send_all(m);
}

static const struct cat_member_ops member_ops = {deliver, flush, ended, gap};

/* ---- the session ---- */

static void join(struct member *m)
{
    struct chassis_error err = {0};
    const struct cat_member_options options = {
        .stream = m->stream,
        .group = m->group,
        .name = m->name,
        .address = chassis_view_str(chassis_call_peer(m->session.call)->address),
        .ops = &member_ops,
        .data = m};
    if (cat_member_join(m->session.views->groups, &options, &m->member, &m->next, &err) != 0) {
        cat_session_stop(&m->session, &err);
        return;
    }
    m->first = true;
    send_all(m);
}

static void created(void *data, int status, const struct chassis_error *err)
{
    struct member *m = data;
    if (m->session.stopped) {
    } else if (status != 0 && status != CHASSIS_ALREADY_EXISTS) {
        cat_session_stop(&m->session, err);
    } else {
        join(m);
    }
    cat_session_put(&m->session);
}

static void start(struct cat_session *session)
{
    struct member *m = of(session);
    struct cat_group_info info;
    bool there = cat_group_get(session->views->groups, m->stream, m->group, &info, NULL) == 0;
    m->tail = &m->head;
    if (there || !m->may_create) {
        join(m);
        return;
    }
    cat_session_hold(session);
    cat_group_create(session->views->groups, &m->create, created, m);
}

static void news(struct cat_session *session)
{
    struct member *m = of(session);
    drain(m);
    if (m->gap_to != 0 && m->head == NULL) {
        close_out(m);
        drain(m);
    }
    give(m);
}

static void stop(struct cat_session *session)
{
    struct member *m = of(session);
    if (m->member != NULL) {
        cat_member_leave(m->member);
        m->member = NULL;
    }
    while (m->head != NULL) {
        struct message *message = m->head;
        m->head = message->next;
        chassis_buf_fini(&message->bytes);
        free(message);
    }
    chassis_buf_fini(&m->out);
    chassis_buf_fini(&m->stale);
}

static const struct cat_session_ops session_ops = {start, news, stop};

/* ---- orders ---- */

static void answer(struct member *m, const struct cat_answer *a)
{
    if (cat_member_answer(m->member, a) == CHASSIS_NOT_FOUND) {
        chassis_buf_append_varint(&m->stale, a->sequence);
    }
}

static void run_order(struct chassis_task *task)
{
    struct order *order = chassis_container_of(task, struct order, task);
    struct member *m = order->member;
    struct cat_session *session = &m->session;
    if (!session->stopped) {
        m->credit += order->credit;
        for (uint32_t i = 0; i < order->n && m->member != NULL; i++) {
            answer(m, &order->answers[i]);
        }
        if (m->member != NULL && !session->stopped) {
            send_all(m);
        }
    }
    if (atomic_fetch_sub(&m->orders, 1) - 1 == ORDERS_MAX / 2) {
        chassis_call_resume(session->call);
    }
    cat_session_put(session);
    free(order);
}

static size_t reasons_size(const EV(JoinRequest) * req)
{
    size_t n = 0;
    for (size_t i = 0; i < req->n_answers; i++) {
        n += strlen(req->answers[i]->reason);
    }
    return n;
}

static int answer_of(const EV(Answer) * from, struct cat_answer *ret_to, struct chassis_error *err)
{
    static const struct {
        EV(Answer__Kind) from;
        enum cat_answer_kind to;
    } kinds[] = {{DRAFT__EVENTS__V1__ANSWER__KIND__ACK, CAT_ACK},
                 {DRAFT__EVENTS__V1__ANSWER__KIND__NACK, CAT_NACK},
                 {DRAFT__EVENTS__V1__ANSWER__KIND__TERM, CAT_TERM},
                 {DRAFT__EVENTS__V1__ANSWER__KIND__IN_PROGRESS, CAT_IN_PROGRESS}};
    *ret_to = (struct cat_answer){.sequence = from->sequence,
                                  .delay_ms = from->delay_ms,
                                  .reason = chassis_view_str(from->reason),
                                  .through = from->through};
    if (from->delay_ms > 86400000) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'answers.delay_ms' is %u, the limit is 86400000",
                                 from->delay_ms);
    }
    if (ret_to->reason.len > CAT_REASON_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'answers.reason' has %zu bytes, the limit is %d",
                                 ret_to->reason.len, CAT_REASON_MAX);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].from == from->kind) {
            ret_to->kind = kinds[i].to;
            return from->through && ret_to->kind != CAT_ACK
                       ? chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                           "field 'answers.through' goes with ACK only")
                       : 0;
        }
    }
    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                             "field 'answers.kind' is %d, which is none of this version's",
                             from->kind);
}

static int order_of(const EV(JoinRequest) * req, struct order **ret_order,
                    struct chassis_error *err)
{
    if (req->n_answers > ANSWERS_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'answers' has %zu elements, the limit is %d",
                                 req->n_answers, ANSWERS_MAX);
    }
    size_t list = req->n_answers * sizeof(struct cat_answer);
    struct order *order = chassis_base_alloc(sizeof *order + list + reasons_size(req));
    char *room = (char *)order->answers + list;
    *order =
        (struct order){.task.run = run_order, .credit = req->credit, .n = (uint32_t)req->n_answers};
    for (size_t i = 0; i < req->n_answers; i++) {
        struct cat_answer *a = &order->answers[i];
        int rc = answer_of(req->answers[i], a, err);
        if (rc != 0) {
            free(order);
            return rc;
        }
        memcpy(room, req->answers[i]->reason, a->reason.len);
        a->reason.data = (const uint8_t *)room;
        room += a->reason.len;
    }
    *ret_order = order;
    return 0;
}

/* ---- the handlers ---- */

void cat_join_open(struct chassis_call *call)
{
    struct member *m = chassis_arena_zalloc(chassis_call_arena(call), sizeof *m);
    if (m == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    chassis_call_set_state(call, m);
}

static struct chassis_view kept(struct chassis_call *call, struct chassis_view text)
{
    return chassis_arena_copy(chassis_call_arena(call), text);
}

/* The message goes with its handler: what is needed later is copied. */
static int creation_of(struct chassis_call *call, struct member *m, const EV(JoinRequest) * req,
                       struct chassis_error *err)
{
    struct cat_group_config *c = &m->create;
    int rc = cat_group_config_of(chassis_call_arena(call), req->create, c, err);
    if (rc != 0) {
        return rc;
    }
    m->may_create = true;
    c->stream = m->stream;
    c->name = m->group;
    c->description = kept(call, c->description);
    c->dead_letter_stream = kept(call, c->dead_letter_stream);
    c->push.url = kept(call, c->push.url);
    c->push.token_secret = kept(call, c->push.token_secret);
    return 0;
}

static int options_of(struct chassis_call *call, struct member *m, const EV(JoinRequest) * req,
                      struct chassis_error *err)
{
    const char *stream = req->stream[0] != '\0' ? req->stream : "default";
    const char *name = req->member[0] != '\0' ? req->member : chassis_call_peer(call)->address;
    if (strlen(name) > CAT_NAME_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'member' has %zu bytes, the limit is %d", strlen(name),
                                 CAT_NAME_MAX);
    }
    m->stream = kept(call, chassis_view_str(stream));
    m->group = kept(call, chassis_view_str(req->group));
    m->name = kept(call, chassis_view_str(name));
    int rc = cat_limit_of("batch_max", req->batch_max, CAT_BATCH_DEFAULT, CAT_BATCH_MAX,
                          &m->batch_max, err);
    return rc == 0 && req->create != NULL ? creation_of(call, m, req, err) : rc;
}

static bool is_more(const EV(JoinRequest) * req)
{
    return req->stream[0] == '\0' && req->group[0] == '\0' && req->member[0] == '\0' &&
           req->create == NULL && req->batch_max == 0;
}

void cat_join_message(struct chassis_call *call, const EV(JoinRequest) * req)
{
    struct member *m = chassis_call_state(call);
    struct chassis_error err = {0};
    struct order *order = NULL;
    int rc = 0;
    if (!m->opened) {
        rc = options_of(call, m, req, &err);
    } else if (!is_more(req)) {
        rc = chassis_error_set(&err, CHASSIS_INVALID_ARGUMENT,
                               "only fields 'credit' and 'answers' can be given after the first "
                               "message");
    }
    rc = rc == 0 ? order_of(req, &order, &err) : rc;
    if (rc != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    if (!m->opened) {
        m->opened = true;
        order->credit = order->credit != 0 ? order->credit : CREDIT_DEFAULT;
        cat_session_open(&m->session, call, &session_ops);
    }
    order->member = m;
    chassis_call_hold(call);
    cat_session_hold(&m->session);
    if (atomic_fetch_add(&m->orders, 1) + 1 < ORDERS_MAX) {
        chassis_call_resume(call);
    }
    chassis_post(m->session.views->loop, &order->task);
}

/* The client gives no more credit and answers nothing more: what it has goes to others. */
void cat_join_end(struct chassis_call *call)
{
    struct member *m = chassis_call_state(call);
    if (!m->opened) {
        chassis_call_fail(call, CHASSIS_INVALID_ARGUMENT, "no message came that names the group");
        return;
    }
    cat_session_finish(&m->session);
}
