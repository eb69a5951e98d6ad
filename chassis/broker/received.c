/* What a subscription received: held until its handler returned and its answer is on its way. */
#include "broker/subscription.h"

typedef Draft__Events__V1__JoinRequest join_request;
typedef Draft__Events__V1__SubscribeRequest subscribe_request;
typedef Draft__Events__V1__Answer answer;

enum { ANSWERS_MAX = 256 }; /* in one message */

static void received_free(struct received *r)
{
    struct chassis_arena arena = r->arena; /* it lives in it */
    chassis_list_remove(&r->link);
    chassis_arena_fini(&arena);
}

void received_drop(struct chassis_list *list, bool begun_too)
{
    chassis_list_foreach_safe (it, list) {
        struct received *r = chassis_list_entry(it, struct received, link);
        if (begun_too || !r->begun) {
            received_free(r);
        }
    }
}

/* --- handlers --- */

/* With the mutex held: the oldest that no handler has. */
static struct received *next_waiting(struct subscription *s)
{
    chassis_list_foreach (it, &s->held) {
        struct received *r = chassis_list_entry(it, struct received, link);
        if (!r->begun) {
            return r;
        }
    }
    return NULL;
}

static void post_answers(struct subscription *s)
{
    if (!s->answers_posted) {
        s->answers_posted = true;
        chassis_post(s->broker->loop, &s->answers);
    }
}

/* One event; then back to the end of the workers' queue, so that others get their turn. */
void received_run_worker(struct chassis_task *task)
{
    struct worker *w = chassis_container_of(task, struct worker, task);
    struct subscription *s = w->subscription;
    struct catalyst_broker *b = s->broker;
    pthread_mutex_lock(&b->mutex);
    struct received *r = s->stopping ? NULL : next_waiting(s);
    if (r == NULL) {
        w->busy = false;
        s->running--;
        b->running--;
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->mutex);
        return;
    }
    r->begun = true;
    pthread_mutex_unlock(&b->mutex);
    chassis_counter_add(b->received, 1);
    r->result = s->handler(&r->event, s->data);
    if (r->result != 0) {
        chassis_counter_add(b->failed, 1);
        chassis_log_debug(b->log, "a handler did not take an event", chassis_f_str("what", s->what),
                          chassis_f_view("id", r->event.id), chassis_f_code(r->result));
    }
    pthread_mutex_lock(&b->mutex);
    chassis_list_remove(&r->link);
    chassis_list_append(&s->answered, &r->link);
    post_answers(s);
    pthread_mutex_unlock(&b->mutex);
    chassis_post(s->executor, &w->task);
}

/* With the mutex held: as many workers as there is work for. */
static void wake_workers(struct subscription *s, unsigned n)
{
    for (unsigned i = 0; i < s->n_workers && n != 0 && !s->stopping; i++) {
        struct worker *w = &s->workers[i];
        if (!w->busy) {
            w->busy = true;
            s->running++;
            s->broker->running++;
            n--;
            chassis_post(s->executor, &w->task);
        }
    }
}

void received_take(struct subscription *s, Draft__Events__V1__Delivery *const *deliveries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const Draft__Events__V1__Delivery *d = deliveries[i];
        struct chassis_arena arena;
        if (d->event == NULL) {
            continue;
        }
        chassis_arena_init(&arena, NULL, 0, 0);
        struct received *r = chassis_arena_zalloc(&arena, sizeof *r);
        broker_decode(d->event, &arena, &r->event);
        r->event.sequence = d->sequence;
        r->event.stored_ns = d->time_ns;
        r->event.attempt = d->attempt != 0 ? d->attempt : 1;
        r->session = s->session;
        r->arena = arena;
        chassis_list_init(&r->link);
        pthread_mutex_lock(&s->broker->mutex);
        if (s->stopping) {
            received_free(r);
        } else {
            chassis_list_append(&s->held, &r->link);
            wake_workers(s, 1);
        }
        pthread_mutex_unlock(&s->broker->mutex);
        s->next_sequence = d->sequence + 1;
    }
}

/* --- answers and credit --- */

/* Take up to ANSWERS_MAX off the answered; *ret_more if there are others. */
static size_t take_answers(struct subscription *s, answer *list, unsigned *ret_credit,
                           struct chassis_list *taken)
{
    size_t n = 0;
    *ret_credit = 0;
    pthread_mutex_lock(&s->broker->mutex);
    chassis_list_foreach_safe (it, &s->answered) {
        struct received *r = chassis_list_entry(it, struct received, link);
        if (*ret_credit == ANSWERS_MAX) {
            break;
        }
        chassis_list_remove(it);
        chassis_list_append(taken, it);
        if (r->session != s->session || s->up == NULL) {
            continue; /* of a connection that is gone: the group gives it to somebody again */
        }
        ++*ret_credit;
        draft__events__v1__answer__init(&list[n]);
        list[n].sequence = r->event.sequence;
        list[n].kind = r->result == 0 ? DRAFT__EVENTS__V1__ANSWER__KIND__ACK
                                      : DRAFT__EVENTS__V1__ANSWER__KIND__NACK;
        if (r->result != 0) {
            list[n].reason = (char *)(uintptr_t)chassis_status_text(r->result);
        }
        n++;
    }
    pthread_mutex_unlock(&s->broker->mutex);
    return n;
}

static int send_join(struct subscription *s, answer *list, size_t n, uint32_t credit)
{
    join_request req = DRAFT__EVENTS__V1__JOIN_REQUEST__INIT;
    answer *answers[ANSWERS_MAX];
    for (size_t i = 0; i < n; i++) {
        answers[i] = &list[i];
    }
    req.answers = answers;
    req.n_answers = n;
    req.credit = credit;
    return chassis_stream_send(s->up, &req);
}

static int send_credit(struct subscription *s, uint32_t credit)
{
    subscribe_request req = DRAFT__EVENTS__V1__SUBSCRIBE_REQUEST__INIT;
    req.credit = credit;
    return chassis_stream_send(s->up, &req);
}

/* Back in front of the others, to be sent when there is room. */
static void put_back(struct subscription *s, struct chassis_list *taken)
{
    pthread_mutex_lock(&s->broker->mutex);
    while (!chassis_list_empty(taken)) {
        struct chassis_list *it = taken->prev;
        chassis_list_remove(it);
        chassis_list_prepend(&s->answered, it);
    }
    pthread_mutex_unlock(&s->broker->mutex);
}

void received_answer(struct subscription *s)
{
    answer list[ANSWERS_MAX];
    for (;;) {
        struct chassis_list taken;
        unsigned credit;
        int rc = 0;
        chassis_list_init(&taken);
        size_t n = take_answers(s, list, &credit, &taken);
        if (chassis_list_empty(&taken)) {
            return;
        }
        s->credit_due += credit;
        if (credit != 0 && s->group != NULL) {
            rc = send_join(s, list, n, credit);
        } else if (s->up != NULL && s->group == NULL && s->credit_due * 2 >= s->in_flight) {
            rc = send_credit(s, s->credit_due);
            s->credit_due = rc == 0 ? 0 : s->credit_due - credit;
        }
        if (rc == CHASSIS_RESOURCE_EXHAUSTED) {
            put_back(s, &taken); /* `writable` comes */
            return;
        }
        received_drop(&taken, true);
    }
}

void received_run_answers(struct chassis_task *task)
{
    struct subscription *s = chassis_container_of(task, struct subscription, answers);
    pthread_mutex_lock(&s->broker->mutex);
    s->answers_posted = false;
    pthread_mutex_unlock(&s->broker->mutex);
    received_answer(s);
    subscription_free_if_over(s);
}

/* Whatever a member still has is not lost: tell the group before it gives it to somebody else. */
void received_still_working(struct chassis_timer *timer)
{
    struct subscription *s = chassis_container_of(timer, struct subscription, still_working);
    answer list[ANSWERS_MAX];
    size_t n = 0;
    if (s->up == NULL || s->closing) {
        return;
    }
    pthread_mutex_lock(&s->broker->mutex);
    chassis_list_foreach (it, &s->held) {
        struct received *r = chassis_list_entry(it, struct received, link);
        if (n < ANSWERS_MAX && r->session == s->session) {
            draft__events__v1__answer__init(&list[n]);
            list[n].sequence = r->event.sequence;
            list[n++].kind = DRAFT__EVENTS__V1__ANSWER__KIND__IN_PROGRESS;
        }
    }
    pthread_mutex_unlock(&s->broker->mutex);
    if (n != 0) {
        (void)send_join(s, list, n, 0); /* a full queue: the next time */
    }
    chassis_post_after(s->broker->loop, timer, RECEIVED_STILL_WORKING_MS * CHASSIS_NS_PER_MS);
}
