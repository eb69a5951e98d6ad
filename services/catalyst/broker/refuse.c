/* Events that are not stored, and why. Their publishes go on with the others. */
#include <stdio.h>

#include "catalyst/broker/internal.h"

enum { TEXT_MAX = 256 };

void cat_refuse_event(struct cat_broker *b, struct item item, int status, const char *text)
{
    struct cat_publish *p = item.publish;
    struct cat_publish_event *e = &p->events[item.event];
    e->status = status;
    chassis_counter_add(b->refused, 1);
    if (p->refused != NULL) {
        p->refused(p, item.event, text);
    }
    if (p->err.code == 0) {
        chassis_error_set(&p->err, status, "event %u, id '%.*s': %s", item.event,
                          (int)(e->event.id.len < 64 ? e->event.id.len : 64),
                          (const char *)e->event.id.data, text);
    }
}

void cat_fail_event(struct cat_broker *b, struct item item, int status,
                    const struct chassis_error *err)
{
    struct cat_publish *p = item.publish;
    if (p->status == 0) {
        p->status = status;
        p->err = *err;
    }
    cat_refuse_event(b, item, status, chassis_error_text(err));
}

void cat_refuse_whole(struct cat_publish *p, int status)
{
    p->status = status;
    for (uint32_t i = 0; i < p->n_events; i++) {
        p->events[i].status = status;
    }
}

void cat_refuse_too_large(struct stream *s, struct item item)
{
    char text[TEXT_MAX];
    snprintf(text, sizeof text, "event_bytes_max: %zu bytes, stream '%.*s' takes at most %u",
             item.publish->events[item.event].event.bytes.len, CHASSIS_VIEW_ARG(stream_name(s)),
             s->config->is.event_bytes_max);
    cat_refuse_event(s->broker, item, CHASSIS_TOO_LARGE, text);
}

void cat_refuse_full(struct stream *s, struct item item, const char *limit)
{
    char text[TEXT_MAX];
    snprintf(text, sizeof text, "%s: stream '%.*s' is full and refuses new events", limit,
             CHASSIS_VIEW_ARG(stream_name(s)));
    cat_refuse_event(s->broker, item, CHASSIS_RESOURCE_EXHAUSTED, text);
}
