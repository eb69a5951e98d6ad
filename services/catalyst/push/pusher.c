/* One push group: its endpoint is asked for its permission, then it has a member that posts. */
#include "catalyst/push/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "catalyst/event/http.h"
#include "catalyst/event/json.h"

enum {
    BACKOFF_MIN_MS = 1000, /* of an event, if the group has none */
    BACKOFF_MAX_MS = 60000,
    ASK_MS = 10000, /* for one question */
    ASK_AGAIN_MIN_MS = 1000,
    ASK_AGAIN_MAX_MS = 300000,
};

struct delivery {
    struct cat_push_request request; /* first */
    struct cat_pusher *pusher;
    uint64_t sequence;
    uint32_t attempt, joined, target;
    struct chassis_buf headers, body;
    char url[];
};

struct question {
    struct cat_push_request request; /* first */
    struct cat_pusher *pusher;
    uint32_t target;
    struct chassis_buf headers;
    char url[];
};

static void put_header(void *data, const char *name, const char *value)
{
    struct chassis_buf *out = data;
    chassis_buf_printf(out, "%s: %s", name, value);
    chassis_buf_append_byte(out, '\0');
}

/* ---- what is said of it ---- */

/* `next_ms` until it is asked, or posted to, again; 0 = now, or never. */
static void tell(struct cat_pusher *p, const char *reason, uint64_t next_ms)
{
    struct cat_push_info info = {.state = p->state, .per_minute = p->allowed};
    size_t n = strlen(reason) < sizeof info.reason ? strlen(reason) : sizeof info.reason - 1;
    for (size_t i = 0; i < n; i++) { /* parts of it are the endpoint's words */
        info.reason[i] = reason[i] >= ' ' && reason[i] <= '~' ? reason[i] : '?';
    }
    cat_group_push_state(p->push->groups, chassis_view_str(p->stream), chassis_view_str(p->name),
                         &info, next_ms);
}

static uint64_t now_ns(const struct cat_pusher *p)
{
    return chassis_now_ns(p->push->options.loop);
}

static void wake_after(struct cat_pusher *p, uint64_t delay_ns)
{
    chassis_post_after(p->push->options.loop, &p->timer, delay_ns);
}

/* ---- credit: how many events it may be given now ---- */

static void pump(struct cat_pusher *p)
{
    if (p->member == NULL) {
        return;
    }
    uint64_t now = now_ns(p);
    bool paused = p->paused_until_ns > now;
    uint32_t may = p->concurrency - p->busy;
    uint32_t allowed = paused ? 0 : cat_rate_allows(&p->rate, now);
    bool held = may != 0 && allowed == 0;
    may = may < allowed ? may : allowed;
    if (may < p->given) {
        cat_member_withdraw(p->member);
        p->given = 0;
    }
    if (may > p->given) {
        cat_member_credit(p->member, may - p->given);
        p->given = may;
    }
    if (held) {
        uint64_t due = paused ? p->paused_until_ns : cat_rate_due(&p->rate);
        wake_after(p, due > now ? due - now : 0);
    }
}

static void pause(struct cat_pusher *p, const char *reason, uint32_t wait_ms)
{
    uint64_t now = now_ns(p), until = now + wait_ms * CHASSIS_NS_PER_MS;
    if (until > p->paused_until_ns) {
        p->paused_until_ns = until;
        p->state = CAT_PUSH_PAUSED;
        tell(p, reason, wait_ms);
    }
}

/* ---- one event ---- */

static void fill(struct delivery *d, const struct cat_event *event)
{
    struct cat_pusher *p = d->pusher;
    struct chassis_view body = {0};
    char attempt[16];
    if (p->structured) {
        cat_json_write(event, &d->body);
        put_header(&d->headers, "content-type", cat_http_content_type(CAT_HTTP_JSON));
    } else {
        cat_http_write(event, put_header, &d->headers, &body);
        chassis_buf_append_view(&d->body, body);
    }
    if (p->authorization[0] != '\0') {
        put_header(&d->headers, "authorization", p->authorization);
    }
    snprintf(attempt, sizeof attempt, "%u", d->attempt);
    put_header(&d->headers, "draft-attempt", attempt);
    put_header(&d->headers, "webhook-request-origin", p->push->origin);
    put_header(&d->headers, "expect", ""); /* no 100-continue */
    chassis_buf_append_byte(&d->headers, '\0');
}

static void pusher_free(struct cat_pusher *p)
{
    chassis_list_remove(&p->link);
    free(p->stream);
    free(p->name);
    free(p->url);
    free(p->authorization);
    free(p);
}

static void release(struct cat_pusher *p)
{
    p->holds--;
    if (p->gone && p->holds == 0) {
        pusher_free(p);
    }
}

/* What the answer asks for; 0 = nothing. */
static uint32_t asked_to_wait_ms(const struct cat_push_request *r)
{
    return r->status == 429 || r->status == 503 ? r->retry_after_ms : 0;
}

static uint32_t wait_ms(const struct delivery *d)
{
    uint32_t asked = asked_to_wait_ms(&d->request);
    if (asked != 0 || !d->pusher->own_backoff) {
        return asked; /* 0 = as the group says */
    }
    uint32_t doublings = d->attempt < 7 ? d->attempt - 1 : 6;
    uint32_t wait = (uint32_t)BACKOFF_MIN_MS << doublings;
    return wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS;
}

static void endpoint_gone(struct cat_pusher *p, const char *reason)
{
    chassis_log_warn(p->push->options.log,
                     "the endpoint of a push group is gone: nothing is sent until the group is "
                     "updated",
                     chassis_f_str("stream", p->stream), chassis_f_str("group", p->name),
                     chassis_f_str("url", p->url));
    cat_pusher_leave(p);
    p->state = CAT_PUSH_GONE;
    tell(p, reason, 0);
}

static void failed(struct cat_pusher *p, const struct delivery *d)
{
    char reason[CAT_REASON_MAX + 1];
    const struct cat_push_request *r = &d->request;
    if (r->status != 0) {
        snprintf(reason, sizeof reason, "push: HTTP %u", r->status);
    } else {
        snprintf(reason, sizeof reason, "push: %.200s", r->text);
    }
    chassis_counter_add(p->push->failed, 1);
    chassis_log_debug(p->push->options.log, "push failed", chassis_f_str("stream", p->stream),
                      chassis_f_str("group", p->name), chassis_f_str("why", reason),
                      chassis_f_u64("sequence", d->sequence), chassis_f_u64("attempt", d->attempt));
    if (p->member == NULL) {
        return;
    }
    /* An endpoint that does not understand an event will not when it comes again. */
    const struct cat_answer answer = {.sequence = d->sequence,
                                      .kind = r->status == 415 ? CAT_TERM : CAT_NACK,
                                      .delay_ms = wait_ms(d),
                                      .reason = chassis_view_str(reason)};
    cat_member_answer(p->member, &answer);
    if (d->target != p->target) {
        return; /* another endpoint's answer */
    }
    if (r->status == 410) {
        endpoint_gone(p, reason);
    } else if (asked_to_wait_ms(r) != 0) {
        pause(p, reason, asked_to_wait_ms(r));
    }
}

static void delivered(struct cat_push_request *request)
{
    struct delivery *d = chassis_container_of(request, struct delivery, request);
    struct cat_pusher *p = d->pusher;
    if (d->joined == p->joined) {
        p->busy--;
    }
    if (request->status >= 200 && request->status <= 299) {
        chassis_counter_add(p->push->pushed, 1);
        if (p->member != NULL) {
            cat_member_answer(p->member,
                              &(struct cat_answer){.sequence = d->sequence, .kind = CAT_ACK});
        }
    } else {
        failed(p, d);
    }
    chassis_buf_fini(&d->headers);
    chassis_buf_fini(&d->body);
    free(d);
    pump(p);
    release(p);
}

static struct delivery *delivery_new(struct cat_pusher *p, const struct cat_event *event,
                                     uint64_t sequence, uint32_t attempt)
{
    size_t url_size = strlen(p->url) + 1;
    struct delivery *d = chassis_base_zalloc(sizeof *d + url_size);
    d->pusher = p;
    d->sequence = sequence;
    d->attempt = attempt;
    d->joined = p->joined;
    d->target = p->target;
    memcpy(d->url, p->url, url_size); /* the group may be updated meanwhile */
    fill(d, event);
    d->request.method = "POST";
    d->request.url = d->url;
    d->request.headers = (const char *)d->headers.data;
    d->request.body = chassis_buf_view(&d->body);
    d->request.timeout_ms = p->timeout_ms;
    d->request.done = delivered;
    return d;
}

static void deliver(void *data, const struct cat_log_event *stored, uint32_t attempt)
{
    struct cat_pusher *p = data;
    struct cat_event event;
    struct chassis_error err = {0};
    CHASSIS_ASSERT(p->given != 0);
    p->given--;
    if (cat_event_parse(stored->bytes, &event, &err) != 0) { /* stored by another version */
        const struct cat_answer answer = {.sequence = stored->sequence,
                                          .kind = CAT_TERM,
                                          .reason = chassis_view_str("push: not a valid event")};
        cat_member_answer(p->member, &answer);
    } else {
        struct delivery *d = delivery_new(p, &event, stored->sequence, attempt);
        cat_rate_take(&p->rate, now_ns(p));
        p->holds++;
        p->busy++;
        p->push->client->ops->send(p->push->client, &d->request);
    }
    pump(p);
}

static void flush(void *data)
{
}

/* ---- permission ---- */

static void ask(struct cat_pusher *p);

/* Not now: once more later. */
static void refused(struct cat_pusher *p, const char *why, uint64_t asked_ms)
{
    uint32_t doublings = p->refusals < 9 ? p->refusals : 9;
    uint64_t wait_ms = (uint64_t)ASK_AGAIN_MIN_MS << doublings;
    wait_ms = wait_ms < ASK_AGAIN_MAX_MS ? wait_ms : ASK_AGAIN_MAX_MS;
    wait_ms = wait_ms > asked_ms ? wait_ms : asked_ms;
    chassis_counter_add(p->push->refused, 1);
    if (p->refusals++ == 0) { /* once, however long it lasts */
        chassis_log_warn(p->push->options.log, "group cannot be pushed now",
                         chassis_f_str("stream", p->stream), chassis_f_str("group", p->name),
                         chassis_f_str("url", p->url), chassis_f_str("why", why));
    }
    p->state = CAT_PUSH_UNVERIFIED;
    tell(p, why, wait_ms);
    wake_after(p, wait_ms * CHASSIS_NS_PER_MS);
}

static void ended(void *data, int status, const struct chassis_error *err)
{
    struct cat_pusher *p = data;
    p->member = NULL;
    if (!p->gone) { /* if its group is gone, or not pushed any more, that is said next */
        p->state = CAT_PUSH_UNVERIFIED;
        tell(p, err != NULL ? chassis_error_text(err) : chassis_status_text(status),
             ASK_AGAIN_MIN_MS);
        wake_after(p, ASK_AGAIN_MIN_MS * CHASSIS_NS_PER_MS);
    }
}

static const struct cat_member_ops member_ops = {deliver, flush, ended, NULL};

static void join(struct cat_pusher *p)
{
    struct chassis_error err = {0};
    uint64_t next;
    const struct cat_member_options options = {.stream = chassis_view_str(p->stream),
                                               .group = chassis_view_str(p->name),
                                               .name = chassis_view_str("push"),
                                               .address = chassis_view_str(p->url),
                                               .push = true,
                                               .ops = &member_ops,
                                               .data = p};
    if (cat_member_join(p->push->groups, &options, &p->member, &next, &err) != 0) {
        refused(p, chassis_error_text(&err), 0);
        return;
    }
    p->joined++;
    p->busy = 0;
    p->given = 0;
    p->refusals = 0;
    if (p->state != CAT_PUSH_PAUSED) {
        tell(p, "", 0);
    }
    pump(p);
}

static void permit(struct cat_pusher *p, enum cat_push_state state, uint32_t allowed)
{
    uint32_t own = p->per_minute;
    p->allowed = own != 0 && (allowed == 0 || own < allowed) ? own : allowed;
    p->state = p->permitted = state;
    cat_rate_init(&p->rate, p->allowed);
    join(p);
}

static void judge(struct cat_pusher *p, const struct cat_push_request *r)
{
    char why[CAT_REASON_MAX + 1];
    uint32_t allowed;
    const struct cat_permit_answer answer = {.status = r->status,
                                             .allowed_origin = r->allowed_origin,
                                             .allowed_rate = r->allowed_rate,
                                             .text = r->text};
    if (r->status == 410) {
        endpoint_gone(p, "the endpoint is gone: HTTP 410 to OPTIONS");
    } else if (cat_permit_read(p->push->origin, &answer, &allowed, why, sizeof why)) {
        permit(p, CAT_PUSH_VERIFIED, allowed);
    } else {
        refused(p, why, asked_to_wait_ms(r));
    }
}

static void ask_next(struct cat_push *push)
{
    while (push->asked < CAT_PUSH_ASKED_MAX && !chassis_list_empty(&push->waiting)) {
        struct chassis_list *link = push->waiting.next;
        chassis_list_remove(link);
        ask(chassis_list_entry(link, struct cat_pusher, waiting_link));
    }
}

static void answered(struct cat_push_request *request)
{
    struct question *q = chassis_container_of(request, struct question, request);
    struct cat_pusher *p = q->pusher;
    struct cat_push *push = p->push;
    push->asked--;
    if (!p->gone && q->target == p->target) {
        judge(p, request);
    }
    chassis_buf_fini(&q->headers);
    free(q);
    release(p);
    ask_next(push);
}

/* The secret is not sent along: who has not allowed it yet may be a stranger. */
static void ask(struct cat_pusher *p)
{
    struct cat_push *push = p->push;
    if (push->asked == CAT_PUSH_ASKED_MAX) {
        chassis_list_append(&push->waiting, &p->waiting_link);
        return;
    }
    size_t url_size = strlen(p->url) + 1;
    struct question *q = chassis_base_zalloc(sizeof *q + url_size);
    q->pusher = p;
    q->target = p->target;
    memcpy(q->url, p->url, url_size);
    put_header(&q->headers, "webhook-request-origin", push->origin);
    if (p->per_minute != 0) {
        char rate[16];
        snprintf(rate, sizeof rate, "%u", p->per_minute);
        put_header(&q->headers, "webhook-request-rate", rate);
    }
    chassis_buf_append_byte(&q->headers, '\0');
    q->request.method = "OPTIONS";
    q->request.url = q->url;
    q->request.headers = (const char *)q->headers.data;
    q->request.timeout_ms = ASK_MS;
    q->request.done = answered;
    p->holds++;
    push->asked++;
    push->client->ops->send(push->client, &q->request);
}

static void try(struct cat_pusher *p)
{
    const struct cat_push_options *o = &p->push->options;
    struct chassis_error err = {0};
    if (cat_push_load(p->push, &err) != 0) {
        refused(p, chassis_error_text(&err), 0);
    } else if (cat_permit_exempt(o->unvalidated_hosts, o->n_unvalidated_hosts, p->url)) {
        permit(p, CAT_PUSH_EXEMPT, 0);
    } else {
        ask(p);
    }
}

static void wake(struct chassis_timer *timer)
{
    struct cat_pusher *p = chassis_container_of(timer, struct cat_pusher, timer);
    if (p->member == NULL) {
        try(p);
        return;
    }
    if (p->state == CAT_PUSH_PAUSED && p->paused_until_ns <= now_ns(p)) {
        p->state = p->permitted;
        tell(p, "", 0);
    }
    pump(p);
}

/* ---- life ---- */

struct cat_pusher *cat_pusher_new(struct cat_push *push, char *stream, char *name)
{
    struct cat_pusher *p = chassis_base_zalloc(sizeof *p);
    p->push = push;
    p->stream = stream;
    p->name = name;
    p->timer.run = wake;
    chassis_list_init(&p->waiting_link);
    chassis_list_append(&push->pushers, &p->link);
    return p;
}

void cat_pusher_begin(struct cat_pusher *p)
{
    chassis_list_remove(&p->waiting_link);
    p->target++;
    p->refusals = 0;
    p->paused_until_ns = 0;
    p->allowed = 0;
    p->state = CAT_PUSH_UNVERIFIED;
    tell(p, "the endpoint is being asked", 0);
    try(p);
}

void cat_pusher_go_on(struct cat_pusher *p)
{
    join(p);
}

void cat_pusher_leave(struct cat_pusher *p)
{
    chassis_cancel(p->push->options.loop, &p->timer);
    if (p->member != NULL) {
        cat_member_leave(p->member);
        p->member = NULL;
    }
}

void cat_pusher_let_go(struct cat_pusher *p)
{
    cat_pusher_leave(p);
    chassis_list_remove(&p->waiting_link);
    p->gone = true;
    if (p->holds == 0) {
        pusher_free(p);
    }
}
