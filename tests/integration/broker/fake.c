#include "fake.h"

#include "rpc/server.h"
#include "test.h"

typedef Core__MessageBroker__Actors__V1__CloudEvent cloud_event;
typedef Draft__Events__V1__Delivery delivery;

static void keep(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text != NULL ? text : "");
}

static struct fake_call *find_call(struct fake *f, struct chassis_call *call)
{
    for (unsigned i = 0; i < FAKE_CALLS_MAX; i++) {
        if (f->calls[i].call == call) {
            return &f->calls[i];
        }
    }
    return NULL;
}

static bool wants(const struct fake_call *c, const struct fake_event *e)
{
    size_t len = strlen(c->type);
    return len == 0 ||
           (c->prefix ? strncmp(e->type, c->type, len) == 0 : strcmp(e->type, c->type) == 0);
}

static void fill(const struct fake_event *e, uint64_t sequence, cloud_event *event, delivery *d)
{
    core__message_broker__actors__v1__cloud_event__init(event);
    draft__events__v1__delivery__init(d);
    event->id = (char *)(uintptr_t)e->id;
    event->source = (char *)(uintptr_t)e->source;
    event->spec_version = (char *)(uintptr_t) "1.0";
    event->type = (char *)(uintptr_t)e->type;
    event->data_case = CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__DATA_TEXT_DATA;
    event->text_data = e->data;
    d->event = event;
    d->sequence = sequence;
    d->time_ns = 1;
    d->attempt = e->attempts;
}

static void send_one(struct fake_call *c, struct fake_event *e, uint64_t sequence)
{
    cloud_event event;
    delivery d, *list[] = {&d};
    fill(e, sequence, &event, &d);
    if (c->member) {
        Draft__Events__V1__JoinResponse res = DRAFT__EVENTS__V1__JOIN_RESPONSE__INIT;
        res.deliveries = list;
        res.n_deliveries = 1;
        events_group_service_join_send(c->call, &res);
    } else {
        Draft__Events__V1__SubscribeResponse res = DRAFT__EVENTS__V1__SUBSCRIBE_RESPONSE__INIT;
        res.deliveries = list;
        res.n_deliveries = 1;
        res.next_sequence = sequence + 1;
        events_event_service_subscribe_send(c->call, &res);
    }
    c->credit--;
}

/* With the mutex held: give out whatever credit allows. */
static void feed(struct fake *f)
{
    for (unsigned i = 0; i < FAKE_CALLS_MAX; i++) {
        struct fake_call *c = &f->calls[i];
        if (c->call == NULL) {
            continue;
        }
        for (unsigned n = c->member ? 0 : (unsigned)c->next - 1; n < f->n_events && c->credit != 0;
             n++) {
            struct fake_event *e = &f->events[n];
            if (!c->member) {
                c->next = n + 2;
                if (wants(c, e)) {
                    send_one(c, e, n + 1);
                }
            } else if (!e->done && !e->given && wants(c, e)) {
                e->given = true;
                e->attempts++;
                send_one(c, e, n + 1);
            }
        }
    }
}

static void store(struct fake *f, const cloud_event *from, const char *stream)
{
    for (unsigned i = 0; i < f->n_events; i++) {
        if (strcmp(f->events[i].id, from->id) == 0 &&
            strcmp(f->events[i].source, from->source) == 0) {
            f->duplicates++;
            return;
        }
    }
    assert_true(f->n_events < FAKE_EVENTS_MAX);
    struct fake_event *e = &f->events[f->n_events++];
    keep(e->id, sizeof e->id, from->id);
    keep(e->source, sizeof e->source, from->source);
    keep(e->type, sizeof e->type, from->type);
    keep(e->stream, sizeof e->stream, stream);
    for (size_t i = 0; i < from->n_attributes; i++) {
        if (strcmp(from->attributes[i]->key, "subject") == 0) {
            keep(e->subject, sizeof e->subject, from->attributes[i]->value->ce_string);
        }
    }
    e->data =
        strdup(from->data_case == CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__DATA_TEXT_DATA
                   ? from->text_data
                   : "");
}

static void on_publish(struct chassis_call *call, const Draft__Events__V1__PublishRequest *req)
{
    struct fake *f = chassis_call_data(call);
    Draft__Events__V1__PublishResponse res = DRAFT__EVENTS__V1__PUBLISH_RESPONSE__INIT;
    Draft__Events__V1__Refusal refusal = DRAFT__EVENTS__V1__REFUSAL__INIT, *refusals[] = {&refusal};
    pthread_mutex_lock(&f->mutex);
    f->publishes++;
    int fail = f->fail_with;
    bool silent = f->mute, cut = false;
    for (size_t i = 0; i < req->batch->n_events && fail == 0 && !silent; i++) {
        const cloud_event *e = req->batch->events[i];
        if (f->refuse_type != NULL && strcmp(e->type, f->refuse_type) == 0) {
            refusal.index = (uint32_t)i;
            refusal.id = e->id;
            refusal.code = 3;
            refusal.text = (char *)(uintptr_t) "not this one";
            res.refusals = refusals;
            res.n_refusals = 1;
            continue;
        }
        store(f, e, req->stream);
        res.accepted++;
    }
    if (fail == 0 && !silent && f->cut_before_answer != 0) {
        f->cut_before_answer--;
        cut = true;
    }
    res.request = req->request;
    feed(f);
    pthread_mutex_unlock(&f->mutex);
    if (fail != 0 || cut) {
        chassis_call_fail(call, fail != 0 ? fail : CHASSIS_UNAVAILABLE, "as the test wants");
    } else if (!silent) {
        events_event_service_publish_stream_send(call, &res);
    }
}

static void on_end(struct chassis_call *call)
{
    chassis_call_finish(call);
}

/* What a member had goes back to the group. */
static bool forget(struct fake *f, struct chassis_call *call)
{
    pthread_mutex_lock(&f->mutex);
    struct fake_call *c = find_call(f, call);
    bool was = c != NULL;
    if (was && c->member) {
        for (unsigned i = 0; i < f->n_events; i++) {
            f->events[i].given = false;
        }
    }
    if (was) {
        c->call = NULL;
        feed(f);
    }
    pthread_mutex_unlock(&f->mutex);
    return was;
}

static void on_gone(struct chassis_call *call, void *data)
{
    if (forget(data, call)) {
        chassis_call_fail(call, CHASSIS_CANCELLED, "gone");
    }
}

static void on_leave(struct chassis_call *call)
{
    if (forget(chassis_call_data(call), call)) {
        chassis_call_finish(call);
    }
}

static struct fake_call *open_call(struct fake *f, struct chassis_call *call, bool member,
                                   Draft__Events__V1__Filter *const *filters, size_t n)
{
    struct fake_call *c = find_call(f, NULL);
    assert_non_null(c);
    *c = (struct fake_call){.call = call, .member = member};
    f->tags[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        const Draft__Events__V1__Filter__Attributes__ValuesEntry *e = filters[i]->exact->values[0];
        if (strcmp(e->key, "type") == 0) {
            keep(c->type, sizeof c->type, e->value);
            c->prefix = filters[i]->dialect_case == DRAFT__EVENTS__V1__FILTER__DIALECT_PREFIX;
        } else {
            size_t len = strlen(f->tags);
            snprintf(f->tags + len, sizeof f->tags - len, "%s=%s;", e->key, e->value);
        }
    }
    chassis_call_on_cancel(call, on_gone, f);
    return c;
}

static uint64_t start_of(const struct fake *f, const Draft__Events__V1__Start *start)
{
    return start->at_case == DRAFT__EVENTS__V1__START__AT_SEQUENCE   ? start->sequence
           : start->at_case == DRAFT__EVENTS__V1__START__AT_EARLIEST ? 1
                                                                     : f->n_events + 1;
}

static void on_subscribe(struct chassis_call *call, const Draft__Events__V1__SubscribeRequest *req)
{
    struct fake *f = chassis_call_data(call);
    bool first = chassis_call_state(call) == NULL;
    if (first) {
        chassis_call_set_state(call, f);
    }
    pthread_mutex_lock(&f->mutex);
    struct fake_call *c = find_call(f, call);
    if (first) {
        c = open_call(f, call, false, req->filters, req->n_filters);
        c->next = start_of(f, req->start);
        keep(f->stream, sizeof f->stream, req->stream);
        f->last_start =
            req->start->at_case == DRAFT__EVENTS__V1__START__AT_SEQUENCE ? req->start->sequence : 0;
        f->subscriptions++;
    }
    if (c != NULL) {
        c->credit += req->credit;
        feed(f);
    }
    pthread_mutex_unlock(&f->mutex);
}

static void take_answers(struct fake *f, const Draft__Events__V1__JoinRequest *req)
{
    for (size_t i = 0; i < req->n_answers; i++) {
        const Draft__Events__V1__Answer *a = req->answers[i];
        struct fake_event *e = &f->events[a->sequence - 1];
        f->acks += a->kind == DRAFT__EVENTS__V1__ANSWER__KIND__ACK;
        f->nacks += a->kind == DRAFT__EVENTS__V1__ANSWER__KIND__NACK;
        f->in_progress += a->kind == DRAFT__EVENTS__V1__ANSWER__KIND__IN_PROGRESS;
        e->done = e->done || a->kind == DRAFT__EVENTS__V1__ANSWER__KIND__ACK;
        if (a->kind == DRAFT__EVENTS__V1__ANSWER__KIND__NACK) {
            e->given = false;
        }
    }
}

static void on_join(struct chassis_call *call, const Draft__Events__V1__JoinRequest *req)
{
    struct fake *f = chassis_call_data(call);
    bool first = chassis_call_state(call) == NULL;
    if (first) {
        chassis_call_set_state(call, f);
    }
    pthread_mutex_lock(&f->mutex);
    struct fake_call *c = find_call(f, call);
    if (first) {
        c = open_call(f, call, true, req->create->filters, req->create->n_filters);
        keep(f->group, sizeof f->group, req->group);
        keep(f->stream, sizeof f->stream, req->stream);
        f->joins++;
    }
    if (c != NULL) {
        take_answers(f, req);
        c->credit += req->credit;
        feed(f);
    }
    pthread_mutex_unlock(&f->mutex);
}

void fake_init(struct fake *f)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->mutex, NULL);
}

void fake_start(struct fake *f)
{
    static const struct events_event_service_handlers events = {
        .publish_stream = {.message = on_publish, .end = on_end},
        .subscribe = {.message = on_subscribe, .end = on_leave}};
    static const struct events_group_service_handlers groups = {
        .join = {.message = on_join, .end = on_leave}};
    char address[32];
    struct chassis_error err = {0};
    snprintf(address, sizeof address, "127.0.0.1:%u", f->port);
    struct chassis_listener_options listener = {.address = address};
    struct chassis_server_options options = {.listeners = &listener, .n_listeners = 1};
    assert_int_equal(chassis_server_new(&options, &f->server, &err), 0);
    assert_int_equal(chassis_server_add(f->server, events_event_service_service(&events, f), &err),
                     0);
    assert_int_equal(chassis_server_add(f->server, events_group_service_service(&groups, f), &err),
                     0);
    if (chassis_server_start(f->server, &err) != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
    f->port = chassis_server_port(f->server, 0);
}

void fake_stop(struct fake *f)
{
    chassis_server_drain(f->server, 0);
    chassis_server_free(f->server);
    f->server = NULL;
}

void fake_fini(struct fake *f)
{
    if (f->server != NULL) {
        fake_stop(f);
    }
    for (unsigned i = 0; i < f->n_events; i++) {
        free(f->events[i].data);
    }
    pthread_mutex_destroy(&f->mutex);
}

unsigned fake_stored(struct fake *f)
{
    pthread_mutex_lock(&f->mutex);
    unsigned n = f->n_events;
    pthread_mutex_unlock(&f->mutex);
    return n;
}

unsigned fake_done(struct fake *f)
{
    pthread_mutex_lock(&f->mutex);
    unsigned n = 0;
    for (unsigned i = 0; i < f->n_events; i++) {
        n += f->events[i].done;
    }
    pthread_mutex_unlock(&f->mutex);
    return n;
}

void fake_add(struct fake *f, const char *type, const char *data)
{
    pthread_mutex_lock(&f->mutex);
    struct fake_event *e = &f->events[f->n_events++];
    snprintf(e->id, sizeof e->id, "n%u", f->n_events);
    keep(e->source, sizeof e->source, "/nowhere");
    keep(e->type, sizeof e->type, type);
    e->data = strdup(data);
    feed(f);
    pthread_mutex_unlock(&f->mutex);
}
