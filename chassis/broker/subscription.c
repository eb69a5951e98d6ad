/* Subscriptions: one stream each, of a group's member or of its own.
 *
 *            open, timer          closed                 stopped and closed
 *   DOWN ────────────────▶ UP ───────────▶ DOWN      any ──────────────────▶ freed
 *
 * When the stream of a member breaks, what no handler has begun is dropped: the group gives it to
 * somebody again. A subscription without a group keeps it and goes on behind it.
 */
#include <stdio.h>

#include "base/fault.h"
#include "broker/subscription.h"

typedef Draft__Events__V1__Filter filter;
typedef Draft__Events__V1__Filter__Attributes filter_attributes;
typedef Draft__Events__V1__Filter__Attributes__ValuesEntry filter_value;
typedef Draft__Events__V1__JoinRequest join_request;
typedef Draft__Events__V1__SubscribeRequest subscribe_request;

enum { IN_FLIGHT = 64, IN_FLIGHT_MAX = 1024, PARALLEL_MAX = 64, PROGRESS_MS = 5000 };

/* --- the stream --- */

static void tell_gap(const struct subscription *s, const Draft__Events__V1__Gap *gap)
{
    if (gap != NULL) {
        chassis_log_warn(s->broker->log, "events are gone before they were received",
                         chassis_f_str("what", s->what), chassis_f_u64("from", gap->from_sequence),
                         chassis_f_u64("to", gap->to_sequence));
    }
}

static void on_joined(struct chassis_client_stream *stream, const void *message,
                      struct chassis_view encoded, void *data)
{
    struct subscription *s = data;
    const Draft__Events__V1__JoinResponse *res = message;
    broker_connected(s->broker, &s->backoff, s->what);
    tell_gap(s, res->gap);
    received_take(s, res->deliveries, res->n_deliveries);
}

static void on_subscribed(struct chassis_client_stream *stream, const void *message,
                          struct chassis_view encoded, void *data)
{
    struct subscription *s = data;
    const Draft__Events__V1__SubscribeResponse *res = message;
    broker_connected(s->broker, &s->backoff, s->what);
    tell_gap(s, res->gap);
    if (res->gap != NULL && res->gap->to_sequence < res->gap->from_sequence) {
        s->next_sequence = res->gap->to_sequence; /* the stream was made anew */
    }
    received_take(s, res->deliveries, res->n_deliveries);
    if (res->next_sequence > s->next_sequence) {
        s->next_sequence = res->next_sequence;
    }
}

static void on_writable(struct chassis_client_stream *stream, void *data)
{
    received_answer(data);
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct subscription *s = data;
    struct catalyst_broker *b = s->broker;
    s->up = NULL;
    chassis_cancel(b->loop, &s->still_working);
    pthread_mutex_lock(&b->mutex);
    if (s->group != NULL) {
        received_drop(&s->held, false);
    }
    bool stopped = s->stopped;
    pthread_mutex_unlock(&b->mutex);
    if (!stopped && !b->halted) {
        broker_wait(b, &s->backoff, s->what, status->code, status->text);
    }
    subscription_free_if_over(s);
    broker_stream_closed(b);
}

static void set_start(const struct subscription *s, Draft__Events__V1__Start *start)
{
    if (s->group == NULL && s->next_sequence != 0) {
        start->at_case = DRAFT__EVENTS__V1__START__AT_SEQUENCE;
        start->sequence = s->next_sequence;
    } else if (s->earliest) {
        start->at_case = DRAFT__EVENTS__V1__START__AT_EARLIEST;
        start->earliest = 1;
    } else {
        start->at_case = DRAFT__EVENTS__V1__START__AT_NEW;
        start->new_ = 1;
    }
}

static int send_first(struct subscription *s)
{
    Draft__Events__V1__Start start = DRAFT__EVENTS__V1__START__INIT;
    set_start(s, &start);
    if (s->group == NULL) {
        subscribe_request req = DRAFT__EVENTS__V1__SUBSCRIBE_REQUEST__INIT;
        size_t held = 0;
        pthread_mutex_lock(&s->broker->mutex);
        chassis_list_foreach (it, &s->held) {
            chassis_list_entry(it, struct received, link)->session = s->session; /* gives credit */
            held++;
        }
        pthread_mutex_unlock(&s->broker->mutex);
        req.stream = s->stream;
        req.start = &start;
        req.filters = s->filters;
        req.n_filters = s->n_filters;
        req.credit = held < s->in_flight ? s->in_flight - held : 1;
        req.batch_max = s->in_flight;
        req.progress_ms = PROGRESS_MS;
        return chassis_stream_send(s->up, &req);
    }
    join_request req = DRAFT__EVENTS__V1__JOIN_REQUEST__INIT;
    Draft__Events__V1__GroupConfig config = DRAFT__EVENTS__V1__GROUP_CONFIG__INIT;
    req.stream = config.stream = s->stream;
    req.group = config.name = s->group;
    req.member = s->broker->service;
    req.create = &config;
    req.credit = s->in_flight;
    req.batch_max = s->in_flight;
    config.start = &start;
    config.filters = s->filters;
    config.n_filters = s->n_filters;
    return chassis_stream_send(s->up, &req);
}

static void connect_stream(struct subscription *s)
{
    static const struct chassis_stream_handlers joined = {
        .message = on_joined, .writable = on_writable, .closed = on_closed};
    static const struct chassis_stream_handlers subscribed = {
        .message = on_subscribed, .writable = on_writable, .closed = on_closed};
    struct catalyst_broker *b = s->broker;
    struct chassis_error err = {0};
    if (b->halted || s->stopped) {
        return;
    }
    int rc =
        CHASSIS_FAULT("broker.open")
            ? chassis_error_set(&err, CHASSIS_UNAVAILABLE, "fault injected")
        : s->group != NULL
            ? events_group_service_join_open(b->client, NULL, &joined, s, &s->up, &err)
            : events_event_service_subscribe_open(b->client, NULL, &subscribed, s, &s->up, &err);
    if (rc != 0) {
        s->up = NULL;
        broker_wait(b, &s->backoff, s->what, rc, chassis_error_text(&err));
        return;
    }
    broker_stream_opened(b);
    s->session++;
    s->credit_due = 0;
    (void)send_first(s); /* the queue is empty; when it is over already, `closed` comes */
    if (s->group != NULL) {
        chassis_post_after(b->loop, &s->still_working,
                           RECEIVED_STILL_WORKING_MS * CHASSIS_NS_PER_MS);
    }
}

static void on_timer(struct chassis_timer *timer)
{
    connect_stream(chassis_container_of(timer, struct subscription, backoff.timer));
}

/* --- life --- */

static void subscription_free(struct subscription *s)
{
    received_drop(&s->held, true);
    received_drop(&s->answered, true);
    chassis_list_remove(&s->link);
    chassis_arena_fini(&s->arena);
    pthread_mutex_lock(&s->broker->mutex);
    s->broker->subscribed--;
    pthread_cond_broadcast(&s->broker->changed);
    pthread_mutex_unlock(&s->broker->mutex);
    free(s->workers);
    free(s->stream);
    free(s->group);
    free(s->what);
    free(s);
}

void subscription_free_if_over(struct subscription *s)
{
    pthread_mutex_lock(&s->broker->mutex);
    bool over = s->stopped && s->up == NULL && s->running == 0 && !s->answers_posted;
    pthread_mutex_unlock(&s->broker->mutex);
    if (over) {
        subscription_free(s);
    }
}

static void begin_on_loop(struct catalyst_broker *b, void *data)
{
    struct subscription *s = data;
    chassis_list_append(&b->subscriptions, &s->link);
    connect_stream(s);
}

static filter *attribute_filter(struct chassis_arena *a, const char *name,
                                struct chassis_view value, bool prefix)
{
    filter *f = chassis_arena_alloc(a, sizeof *f);
    filter_attributes *attributes = chassis_arena_alloc(a, sizeof *attributes);
    filter_value *entry = chassis_arena_alloc(a, sizeof *entry);
    draft__events__v1__filter__init(f);
    draft__events__v1__filter__attributes__init(attributes);
    draft__events__v1__filter__attributes__values_entry__init(entry);
    entry->key = chassis_arena_strdup(a, name);
    entry->value = chassis_arena_strndup(a, value.data, value.len);
    attributes->values = chassis_arena_alloc(a, sizeof(filter_value *));
    attributes->values[0] = entry;
    attributes->n_values = 1;
    f->dialect_case = prefix ? DRAFT__EVENTS__V1__FILTER__DIALECT_PREFIX
                             : DRAFT__EVENTS__V1__FILTER__DIALECT_EXACT;
    f->exact = attributes; /* one member of the union */
    return f;
}

static void make_filters(struct subscription *s, const char *type,
                         const struct chassis_subscribe_options *o)
{
    size_t len = type != NULL ? strlen(type) : 0;
    bool prefix = len != 0 && type[len - 1] == '*';
    s->filters = chassis_arena_alloc(&s->arena, (o->n_tags + 1) * sizeof *s->filters);
    if (!o->ignore_type && len > (size_t)prefix) {
        s->filters[s->n_filters++] =
            attribute_filter(&s->arena, "type", chassis_view(type, len - prefix), prefix);
    }
    for (size_t i = 0; i < o->n_tags; i++) {
        const char *name =
            chassis_arena_strndup(&s->arena, o->tags[i].name.data, o->tags[i].name.len);
        s->filters[s->n_filters++] = attribute_filter(&s->arena, name, o->tags[i].value, false);
    }
}

static unsigned bounded(unsigned value, unsigned otherwise, unsigned max)
{
    value = value != 0 ? value : otherwise;
    return value < max ? value : max;
}

int subscription_open(struct chassis_broker *broker, const char *type,
                      const struct chassis_subscribe_options *o, chassis_event_fn handler,
                      void *data, struct chassis_subscription **ret_subscription,
                      struct chassis_error *err)
{
    struct catalyst_broker *b = chassis_container_of(broker, struct catalyst_broker, broker);
    char what[400];
    if ((type == NULL || type[0] == '\0') && !o->ignore_type) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "a subscription needs a type, or ignore_type");
    }
    struct subscription *s = chassis_base_zalloc(sizeof *s);
    s->base.broker = broker;
    s->broker = b;
    s->stream = chassis_base_strdup(o->stream != NULL ? o->stream : "default");
    s->group = o->group != NULL ? chassis_base_strdup(o->group) : NULL;
    snprintf(what, sizeof what, "subscription %s of %s%s%s", type != NULL ? type : "*", s->stream,
             s->group != NULL ? "/" : "", s->group != NULL ? s->group : "");
    s->what = chassis_base_strdup(what);
    chassis_arena_init(&s->arena, NULL, 0, 0);
    make_filters(s, type, o);
    s->earliest = o->earliest;
    s->handler = handler;
    s->data = data;
    s->executor = o->executor != NULL ? o->executor : b->workers;
    s->n_workers = bounded(o->parallel, 1, PARALLEL_MAX);
    s->in_flight = bounded(o->in_flight, IN_FLIGHT, IN_FLIGHT_MAX);
    s->workers = chassis_base_zalloc(s->n_workers * sizeof *s->workers);
    for (unsigned i = 0; i < s->n_workers; i++) {
        s->workers[i].task.run = received_run_worker;
        s->workers[i].subscription = s;
    }
    chassis_list_init(&s->held);
    chassis_list_init(&s->answered);
    chassis_list_init(&s->link);
    s->answers.run = received_run_answers;
    s->backoff.timer.run = on_timer;
    s->still_working.run = received_still_working;
    pthread_mutex_lock(&b->mutex);
    b->subscribed++;
    pthread_mutex_unlock(&b->mutex);
    if (ret_subscription != NULL) {
        *ret_subscription = &s->base;
    }
    broker_on_loop(b, begin_on_loop, s);
    return 0;
}

static void stop_on_loop(struct catalyst_broker *b, void *data)
{
    struct subscription *s = data;
    chassis_cancel(b->loop, &s->backoff.timer);
    chassis_cancel(b->loop, &s->still_working);
    received_answer(s);
    pthread_mutex_lock(&b->mutex);
    s->stopped = true;
    pthread_mutex_unlock(&b->mutex);
    if (s->up != NULL && s->group != NULL && !s->closing) {
        s->closing = true;
        chassis_stream_half_close(s->up); /* behind the answers */
    } else if (s->up != NULL) {
        chassis_stream_cancel(s->up);
    }
    subscription_free_if_over(s);
}

void subscription_close(struct chassis_subscription *subscription)
{
    struct subscription *s = chassis_container_of(subscription, struct subscription, base);
    struct catalyst_broker *b = s->broker;
    CHASSIS_ASSERT(!chassis_is_current(b->loop));
    pthread_mutex_lock(&b->mutex);
    s->stopping = true;
    received_drop(&s->held, false);
    while (s->running != 0) {
        pthread_cond_wait(&b->changed, &b->mutex);
    }
    pthread_mutex_unlock(&b->mutex);
    broker_on_loop(b, stop_on_loop, s);
}

void subscriptions_quiesce(struct catalyst_broker *b)
{
    pthread_mutex_lock(&b->mutex);
    while (b->running != 0) {
        pthread_cond_wait(&b->changed, &b->mutex);
    }
    pthread_mutex_unlock(&b->mutex);
}

static void set_stopping(struct subscription *s)
{
    pthread_mutex_lock(&s->broker->mutex);
    s->stopping = true;
    received_drop(&s->held, false);
    pthread_mutex_unlock(&s->broker->mutex);
}

void subscriptions_halt(struct catalyst_broker *b)
{
    chassis_list_foreach_safe (it, &b->subscriptions) {
        struct subscription *s = chassis_list_entry(it, struct subscription, link);
        chassis_cancel(b->loop, &s->backoff.timer);
        chassis_cancel(b->loop, &s->still_working);
        set_stopping(s);
        if (s->up != NULL) {
            chassis_stream_cancel(s->up);
        }
    }
}

void subscriptions_refuse(struct catalyst_broker *b)
{
    chassis_list_foreach (it, &b->subscriptions) {
        set_stopping(chassis_list_entry(it, struct subscription, link));
    }
}

void subscriptions_stop(struct catalyst_broker *b)
{
    chassis_list_foreach_safe (it, &b->subscriptions) {
        stop_on_loop(b, chassis_list_entry(it, struct subscription, link));
    }
}

void subscriptions_free(struct catalyst_broker *b)
{
    chassis_list_foreach_safe (it, &b->subscriptions) {
        struct subscription *s = chassis_list_entry(it, struct subscription, link);
        CHASSIS_ASSERT(s->running == 0);
        subscription_free(s);
    }
}
