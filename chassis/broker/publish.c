/* What services call: one broker or another behind the vtable. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker/internal.h"

int chassis_publish(struct chassis_broker *broker, const struct chassis_event *event,
                    const struct chassis_publish_options *options, chassis_published_cb done,
                    void *data, struct chassis_error *err)
{
    return broker != NULL
               ? broker->ops->publish(broker, event, options, done, data, err)
               : chassis_error_set(err, CHASSIS_FAILED_PRECONDITION,
                                   "no broker is configured: brokers.<kind>.url names one");
}

int chassis_subscribe(struct chassis_broker *broker, const char *type,
                      const struct chassis_subscribe_options *options, chassis_event_fn handler,
                      void *data, struct chassis_subscription **ret_subscription,
                      struct chassis_error *err)
{
    static const struct chassis_subscribe_options none;
    return broker != NULL
               ? broker->ops->subscribe(broker, type, options != NULL ? options : &none, handler,
                                        data, ret_subscription, err)
               : chassis_error_set(err, CHASSIS_FAILED_PRECONDITION,
                                   "no broker is configured: brokers.<kind>.url names one");
}

void chassis_unsubscribe(struct chassis_subscription *subscription)
{
    if (subscription != NULL) {
        subscription->broker->ops->unsubscribe(subscription);
    }
}

struct chassis_view chassis_event_attribute(const struct chassis_event *event, const char *name)
{
    for (size_t i = 0; i < event->n_attributes; i++) {
        if (chassis_view_eq(event->attributes[i].name, chassis_view_str(name))) {
            return event->attributes[i].value;
        }
    }
    return (struct chassis_view){0};
}

/* One publish being waited for; whoever comes last, the waiting thread or the answer, frees. */
struct waiting {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool done, abandoned;
    int status;
    char text[256];
};

static void waiting_free(struct waiting *w)
{
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

static void on_published(int status, const char *text, void *data)
{
    struct waiting *w = data;
    pthread_mutex_lock(&w->mutex);
    w->done = true;
    w->status = status;
    snprintf(w->text, sizeof w->text, "%s", text);
    bool abandoned = w->abandoned;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    if (abandoned) {
        waiting_free(w);
    }
}

static int waiting_end(struct waiting *w, uint64_t timeout_ms, struct chassis_error *err)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + timeout_ms * CHASSIS_NS_PER_MS;
    until.tv_sec += (time_t)(ns / CHASSIS_NS_PER_S);
    until.tv_nsec = (long)(ns % CHASSIS_NS_PER_S);
    pthread_mutex_lock(&w->mutex);
    while (!w->done && pthread_cond_timedwait(&w->changed, &w->mutex, &until) == 0) {
    }
    bool done = w->done;
    w->abandoned = !done;
    pthread_mutex_unlock(&w->mutex);
    if (!done) {
        return chassis_error_set(err, CHASSIS_DEADLINE_EXCEEDED,
                                 "the event is not acknowledged yet: it is still being sent");
    }
    int rc = w->status != 0 ? chassis_error_set(err, w->status, "%s", w->text) : 0;
    waiting_free(w);
    return rc;
}

int chassis_publish_wait(struct chassis_broker *broker, const struct chassis_event *event,
                         const struct chassis_publish_options *options, uint64_t timeout_ms,
                         struct chassis_error *err)
{
    pthread_condattr_t monotonic;
    struct waiting *w = chassis_base_zalloc(sizeof *w);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int rc = chassis_publish(broker, event, options, on_published, w, err);
    if (rc != 0) {
        waiting_free(w);
        return rc;
    }
    return waiting_end(w, timeout_ms != 0 ? timeout_ms : 10000, err);
}
