/* dctl events consume and tail: events as they are stored, or as a member of a group. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "connect.h"
#include "event.h"
#include "meter.h"

typedef Draft__Events__V1__SubscribeRequest subscribe_request;
typedef Draft__Events__V1__SubscribeResponse subscribe_response;
typedef Draft__Events__V1__JoinRequest join_request;
typedef Draft__Events__V1__JoinResponse join_response;
typedef Draft__Events__V1__Answer answer;
typedef Draft__Events__V1__Start start_at;

enum { CREDIT = 1000, WAIT_MS = 200, ANSWERS_MAX = 1000, TAIL_EVENTS = 10, PROGRESS_MS = 1000 };

/* Executor thread while a stream runs: what it shows; the meter's mutex guards it. */
struct consuming {
    struct dctl *d;
    struct dctl_meter meter;
    uint64_t left;          /* events still to be shown */
    uint64_t next_sequence; /* where to go on; 0 = not known yet */
    uint64_t credit;        /* events the server may still send */
    bool quiet, opened;
    bool group;
    uint64_t answers[2 * CREDIT]; /* sequences not answered yet */
    size_t n_answers;
};

static void show(struct consuming *c, const event_delivery *delivery)
{
    struct chassis_arena arena;
    if (c->quiet) {
        return;
    }
    chassis_arena_init(&arena, NULL, 0, 0); /* of this event only: it may run for long */
    dctl_print_next(c->d, dctl_delivery_node(c->d, &arena, delivery), dctl_delivery_columns);
    chassis_arena_fini(&arena);
}

static uint64_t show_all(struct consuming *c, event_delivery *const *deliveries, size_t n)
{
    uint64_t shown = 0;
    for (; shown < n && c->left != 0; shown++, c->left--) {
        show(c, deliveries[shown]);
        c->next_sequence = deliveries[shown]->sequence + 1;
        c->credit -= c->credit != 0;
        if (c->group && c->n_answers < sizeof c->answers / sizeof c->answers[0]) {
            c->answers[c->n_answers++] = deliveries[shown]->sequence;
        }
    }
    return shown;
}

static void tell_gap(const struct dctl *d, const Draft__Events__V1__Gap *gap)
{
    if (gap != NULL && gap->to_sequence < gap->from_sequence) {
        fprintf(d->err, "dctl: the stream ends before event %llu, it goes on with %llu\n",
                (unsigned long long)gap->from_sequence, (unsigned long long)gap->to_sequence);
    } else if (gap != NULL) {
        fprintf(d->err, "dctl: events %llu to %llu are not kept any more\n",
                (unsigned long long)gap->from_sequence, (unsigned long long)gap->to_sequence - 1);
    }
}

static bool on_subscribed(struct dctl_follower *f, const void *message, struct chassis_view encoded)
{
    const subscribe_response *res = message;
    struct consuming *c = f->data;
    dctl_meter_begin(&c->meter);
    tell_gap(f->d, res->gap);
    if (res->gap != NULL && res->gap->to_sequence < res->gap->from_sequence) {
        c->next_sequence = res->gap->to_sequence;
    }
    uint64_t n = show_all(c, res->deliveries, res->n_deliveries);
    if (c->left != 0 && res->next_sequence > c->next_sequence) {
        c->next_sequence = res->next_sequence;
    }
    c->opened = true;
    bool more = c->left != 0 && !ferror(f->d->out);
    dctl_meter_end(&c->meter, n, encoded.len);
    dctl_duplex_poke(f->duplex);
    return more;
}

static bool on_joined(struct dctl_follower *f, const void *message, struct chassis_view encoded)
{
    const join_response *res = message;
    struct consuming *c = f->data;
    dctl_meter_begin(&c->meter);
    tell_gap(f->d, res->gap);
    for (size_t i = 0; i < res->n_stale; i++) {
        fprintf(f->d->err, "dctl: the answer for event %llu came too late: it comes again\n",
                (unsigned long long)res->stale[i]);
    }
    uint64_t n = show_all(c, res->deliveries, res->n_deliveries);
    c->opened = true;
    bool more = c->left != 0 && !ferror(f->d->out);
    dctl_meter_end(&c->meter, n, encoded.len);
    dctl_duplex_poke(f->duplex);
    return more;
}

/* Credit up to what is wanted; not in small coins. No more than is still to be shown, so that nothing
 * is taken from the other members of a group. */
static uint64_t take_credit(struct consuming *c)
{
    pthread_mutex_lock(&c->meter.mutex);
    uint64_t wanted = c->left < CREDIT ? c->left : CREDIT, n = 0;
    if (c->credit <= wanted / 2) {
        n = wanted - c->credit;
        c->credit = wanted;
    }
    pthread_mutex_unlock(&c->meter.mutex);
    return n;
}

static int subscribe_once(struct consuming *c, const subscribe_request *first,
                          struct chassis_error *err)
{
    struct dctl_follower follower = {.message = on_subscribed, .d = c->d, .data = c};
    struct chassis_call_options options = dctl_call_options(c->d, 0);
    struct dctl_duplex *stream;
    int rc = dctl_duplex_open(c->d, &events_event_service_subscribe_method, &options, &follower,
                              &stream, err);
    if (rc != 0) {
        return rc;
    }
    bool open = dctl_duplex_send(stream, first);
    while (open && dctl_duplex_wait(stream, WAIT_MS)) {
        subscribe_request more = DRAFT__EVENTS__V1__SUBSCRIBE_REQUEST__INIT;
        more.credit = take_credit(c);
        open = more.credit == 0 || dctl_duplex_send(stream, &more);
        dctl_meter_show(&c->meter);
    }
    /* Cancelled when we have enough; when the server ended it, its status is awaited. */
    return dctl_duplex_close(stream, c->left == 0 || ferror(c->d->out), err);
}

static answer *answers_of(struct consuming *c, const uint64_t *sequences, size_t n, answer ***ret)
{
    static const char *const words[] = {"ack", "nack", "term"};
    const char *kind = dctl_string(c->d, "answer"), *reason = dctl_string(c->d, "reason");
    answer *list = chassis_base_alloc((n + 1) * sizeof *list);
    *ret = chassis_base_alloc((n + 1) * sizeof **ret);
    for (size_t i = 0; i < n; i++) {
        draft__events__v1__answer__init(&list[i]);
        list[i].sequence = sequences[i];
        for (unsigned k = 0; kind != NULL && k < 3; k++) {
            if (strcmp(kind, words[k]) == 0) {
                list[i].kind = (Draft__Events__V1__Answer__Kind)k;
            }
        }
        list[i].delay_ms = (uint32_t)dctl_duration_ms(c->d, "delay", 0);
        list[i].reason = reason != NULL ? (char *)(uintptr_t)reason : list[i].reason;
        (*ret)[i] = &list[i];
    }
    return list;
}

/* Answer what was shown, and give credit. False when the stream is over. */
static bool answer_shown(struct consuming *c, struct dctl_duplex *stream)
{
    join_request req = DRAFT__EVENTS__V1__JOIN_REQUEST__INIT;
    uint64_t sequences[ANSWERS_MAX];
    const char *kind = dctl_string(c->d, "answer");
    for (;;) {
        pthread_mutex_lock(&c->meter.mutex);
        size_t n = c->n_answers < ANSWERS_MAX ? c->n_answers : ANSWERS_MAX;
        memcpy(sequences, c->answers, n * sizeof sequences[0]);
        memmove(c->answers, c->answers + n, (c->n_answers - n) * sizeof sequences[0]);
        c->n_answers -= n;
        pthread_mutex_unlock(&c->meter.mutex);
        req.credit = (uint32_t)take_credit(c);
        if (n == 0 && req.credit == 0) {
            return true;
        }
        answer *list = answers_of(c, sequences, n, &req.answers);
        req.n_answers = kind != NULL && strcmp(kind, "none") == 0 ? 0 : n;
        bool sent = dctl_duplex_send(stream, &req);
        free(list);
        free((void *)req.answers);
        if (!sent) {
            return false;
        }
    }
}

static int join_once(struct consuming *c, const join_request *first, struct chassis_error *err)
{
    struct dctl_follower follower = {.message = on_joined, .d = c->d, .data = c};
    struct chassis_call_options options = dctl_call_options(c->d, 0);
    struct dctl_duplex *stream;
    c->n_answers = 0; /* of a stream that is gone: they come again */
    int rc = dctl_duplex_open(c->d, &events_group_service_join_method, &options, &follower, &stream,
                              err);
    if (rc != 0) {
        return rc;
    }
    bool open = dctl_duplex_send(stream, first);
    while (open && dctl_duplex_wait(stream, WAIT_MS)) {
        open = answer_shown(c, stream);
        dctl_meter_show(&c->meter);
    }
    if (open) {
        answer_shown(c, stream);
    }
    return dctl_duplex_close(stream, false, err); /* the answers are on their way: not cancelled */
}

static int attempt_once(struct consuming *c, subscribe_request *sub, join_request *join,
                        struct chassis_error *err)
{
    if (join != NULL) {
        join->credit = (uint32_t)take_credit(c);
        return join_once(c, join, err);
    }
    start_at start = DRAFT__EVENTS__V1__START__INIT;
    if (c->next_sequence != 0) {
        start.at_case = DRAFT__EVENTS__V1__START__AT_SEQUENCE;
        start.sequence = c->next_sequence;
        sub->start = &start;
    }
    sub->credit = take_credit(c);
    int rc = subscribe_once(c, sub, err);
    sub->start = NULL;
    return rc;
}

/* Until there is enough, over broken connections. */
static int consume(struct consuming *c, subscribe_request *sub, join_request *join)
{
    struct chassis_error err = {0};
    struct dctl *d = c->d;
    start_at *from = sub->start;
    int result = DCTL_OK;
    for (unsigned attempt = 1; c->left != 0; attempt++) {
        c->opened = false;
        c->credit = 0;
        sub->start = from;
        int rc = attempt_once(c, sub, join, &err);
        if (c->left == 0 || ferror(d->out) || (rc == 0 && sub->until_end)) {
            break;
        }
        attempt = c->opened ? 1 : attempt;
        bool ever = c->meter.events != 0 || c->next_sequence != 0 || c->opened;
        if (rc != 0 && (!ever || !dctl_worth_another_try(rc))) {
            result = rc == CHASSIS_DEADLINE_EXCEEDED && dctl_string(d, "timeout") != NULL && ever
                         ? DCTL_OK
                         : dctl_fail(d, &err);
            break;
        }
        if (attempt == 1) {
            fprintf(d->err, "dctl: %s; trying again\n",
                    rc != 0 ? chassis_error_text(&err) : "the server ended the stream");
        }
        chassis_error_clear(&err);
        dctl_pause(attempt);
    }
    dctl_meter_fini(&c->meter);
    return result;
}

static struct consuming *consuming_new(struct dctl *d)
{
    struct consuming *c = chassis_arena_zalloc(&d->arena, sizeof *c);
    c->d = d;
    c->left = dctl_number(d, "count", UINT64_MAX);
    c->quiet = dctl_flag(d, "quiet");
    dctl_meter_init(&c->meter, d, "received");
    return c;
}

/* A group that is not there yet is made with this. */
static void group_of_options(struct dctl *d, const char *name, subscribe_request *sub,
                             join_request *join, Draft__Events__V1__GroupConfig *config)
{
    const char *member = dctl_string(d, "member");
    join->stream = sub->stream;
    join->group = chassis_arena_strdup(&d->arena, name);
    join->member = member != NULL ? chassis_arena_strdup(&d->arena, member) : join->member;
    join->create = config;
    config->name = join->group;
    config->stream = sub->stream;
    config->start = sub->start;
    config->filters = sub->filters;
    config->n_filters = sub->n_filters;
}

int dctl_events_consume(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    subscribe_request sub = DRAFT__EVENTS__V1__SUBSCRIBE_REQUEST__INIT;
    join_request join = DRAFT__EVENTS__V1__JOIN_REQUEST__INIT;
    Draft__Events__V1__GroupConfig config = DRAFT__EVENTS__V1__GROUP_CONFIG__INIT;
    const char *group = dctl_string(d, "group");
    sub.stream = chassis_arena_strdup(&d->arena, argc != 0 ? argv[0] : "default");
    sub.until_end = dctl_flag(d, "until-end");
    sub.progress_ms = PROGRESS_MS;
    if (group != NULL && sub.until_end) {
        return dctl_usage(d, "--until-end is not for groups, whose end others move too");
    }
    if (dctl_start_parse(d, dctl_string(d, "from"), &sub.start, &err) != 0) {
        return dctl_usage(d, "%s", chassis_error_text(&err));
    }
    dctl_filters(d, &sub.filters, &sub.n_filters);
    if (group != NULL) {
        group_of_options(d, group, &sub, &join, &config);
    }
    if (dctl_events_client(d, &err) == NULL) {
        return dctl_fail(d, &err);
    }
    struct consuming *c = consuming_new(d);
    c->group = group != NULL;
    return consume(c, &sub, group != NULL ? &join : NULL);
}

int dctl_events_tail(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    subscribe_request sub = DRAFT__EVENTS__V1__SUBSCRIBE_REQUEST__INIT;
    Draft__Events__V1__GetStreamRequest get = DRAFT__EVENTS__V1__GET_STREAM_REQUEST__INIT;
    Draft__Events__V1__GetStreamResponse *stream;
    uint64_t lines = dctl_number(d, "lines", TAIL_EVENTS);
    sub.stream = chassis_arena_strdup(&d->arena, argc != 0 ? argv[0] : "default");
    sub.progress_ms = PROGRESS_MS;
    dctl_filters(d, &sub.filters, &sub.n_filters);
    get.name = sub.stream;
    struct chassis_call_options options = dctl_call_options(d, 10000);
    options.idempotent = true;
    if (dctl_events_client(d, &err) == NULL ||
        events_stream_service_get_sync(d->client, &get, &options, &d->arena, &stream, &err) != 0) {
        return dctl_fail(d, &err);
    }
    struct consuming *c = consuming_new(d);
    uint64_t first = stream->stream->first_sequence, next = stream->stream->last_sequence + 1;
    c->next_sequence = next > lines && next - lines > first ? next - lines : first;
    c->next_sequence = c->next_sequence != 0 ? c->next_sequence : 1;
    return consume(c, &sub, NULL);
}
