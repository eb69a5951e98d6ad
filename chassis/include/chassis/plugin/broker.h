/* Message brokers: publish events, subscribe to them.
 *
 *     chassis_with_broker(c, &chassis_broker_catalyst);            // brokers.catalyst.url
 *     struct chassis_event event = {.type = chassis_view_str("order.placed"), .data = json};
 *     chassis_publish(chassis_broker(c, "catalyst"), &event, NULL, NULL, NULL, &err);
 *
 * Events are CloudEvents 1.0. A broker stays connected by itself for ever: what is published waits
 * in a bounded outbox and is sent again, with the same id, until it is acknowledged; subscriptions
 * are made anew and go on where they stood. docs/guide/events.md is the tour.
 *
 * Invariants: `done` runs exactly once for each publish that returned 0; events published by one
 * thread to one stream are stored in that order. Without a group every subscription gets every event
 * stored while it stands; members of a group share them, and an event whose handler did not return 0
 * is delivered again.
 * Threads: any. `done` runs on the broker's own role and must not block; handlers run on workers,
 * `parallel` at a time per subscription.
 * Ownership: what is passed in is copied; an event given to a handler lives until it returns.
 */
#ifndef CHASSIS_PLUGIN_BROKER_H
#define CHASSIS_PLUGIN_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/client.h>
#include <chassis/error.h>
#include <chassis/executor.h>

struct chassis_event_attribute {
    struct chassis_view name, value; /* lower-case letters and digits; the value as text */
};

/* Empty views are absent. */
struct chassis_event {
    struct chassis_view id; /* unique within its source; default: a new UUID */
    struct chassis_view
        source; /* URI reference of who made it; default: "/" and the service's name */
    struct chassis_view type; /* "order.placed"; needed */
    struct chassis_view subject;
    struct chassis_view data;
    struct chassis_view content_type; /* "application/json" */
    /* Further context attributes. */
    const struct chassis_event_attribute *attributes;
    size_t n_attributes;
    int64_t time_ns; /* since the epoch; 0 when publishing = now */
    /* Only of a received one: its place in the stream, when it was stored, how often it was
     * delivered with this time. */
    uint64_t sequence, stored_ns;
    uint32_t attempt;
};

struct chassis_broker;
struct chassis_subscription;

/* 0: the event is as durable as its stream says. Else a status: it was refused, or the broker was
 * closed before it was acknowledged (CHASSIS_SHUTTING_DOWN, outcome unknown). */
typedef void (*chassis_published_cb)(int status, const char *text, void *data);
/* 0 = done. Anything else: deliver it again (groups), as the group's backoff says. */
typedef int (*chassis_event_fn)(const struct chassis_event *event, void *data);

struct chassis_publish_options {
    const char *stream; /* NULL = wherever the rules of the streams say */
};

struct chassis_subscribe_options {
    const char *stream; /* NULL = "default" */
    const char *group;  /* made if it is not there; NULL = every event to this subscription */
    /* Attributes that must have exactly these values. */
    const struct chassis_event_attribute *tags;
    size_t n_tags;
    bool ignore_type;   /* events of every type */
    bool earliest;      /* a new group or subscription begins with the oldest event kept */
    unsigned parallel;  /* handlers at a time; 0 = 1, which keeps the order */
    unsigned in_flight; /* events the broker may send ahead; 0 = 64 */
    struct chassis_executor *executor; /* where handlers run; NULL = workers */
};

struct chassis_broker_ops {
    /* CHASSIS_RESOURCE_EXHAUSTED: the outbox is full, try later; CHASSIS_INVALID_ARGUMENT,
     * CHASSIS_TOO_LARGE, CHASSIS_SHUTTING_DOWN. */
    int (*publish)(struct chassis_broker *broker, const struct chassis_event *event,
                   const struct chassis_publish_options *options, chassis_published_cb done,
                   void *data, struct chassis_error *err);
    /* `type`: exactly this one, or with a '*' at its end all that begin so. */
    int (*subscribe)(struct chassis_broker *broker, const char *type,
                     const struct chassis_subscribe_options *options, chassis_event_fn handler,
                     void *data, struct chassis_subscription **ret_subscription,
                     struct chassis_error *err);
    /* When it returns, no handler runs or will run. Not from within a handler, nor on its role. */
    void (*unsubscribe)(struct chassis_subscription *subscription);
    /* Waits up to `flush_ms` for what is in the outbox; subscriptions end. */
    void (*close)(struct chassis_broker *broker, uint64_t flush_ms);
};

struct chassis_broker {
    const struct chassis_broker_ops *ops;
};

struct chassis_subscription {
    struct chassis_broker *broker;
};

/* What an engine is opened with. */
struct chassis_broker_options {
    const char *url;
    const char *service;                     /* name of the service, for sources and members */
    struct chassis_executor *loop;           /* the broker's role, with timers */
    struct chassis_executor *workers;        /* handlers */
    const struct chassis_tls_files *tls;     /* NULL = plaintext */
    struct chassis_resolver *resolver;       /* for names; NULL: addresses only */
    uint32_t outbox_events_max;              /* 0 = 8,192 */
    size_t outbox_bytes_max;                 /* 0 = 16 MiB */
    uint64_t backoff_min_ms, backoff_max_ms; /* 0 = 100 and 5,000 */
};

/* How a broker of some kind is opened. It need not be there yet. */
struct chassis_broker_plugin {
    const char *kind; /* "catalyst": brokers.catalyst.url */
    int (*open)(const struct chassis_broker_options *options, struct chassis_broker **ret_broker,
                struct chassis_error *err);
};

/* url: "host:port", "http://host:port" (several by commas), or the registered name "catalyst". */
extern const struct chassis_broker_plugin chassis_broker_catalyst;

/* CHASSIS_FAILED_PRECONDITION when `broker` is NULL: none is configured. `options`, `done` and `err`
 * may be NULL. */
int chassis_publish(struct chassis_broker *broker, const struct chassis_event *event,
                    const struct chassis_publish_options *options, chassis_published_cb done,
                    void *data, struct chassis_error *err);
/* Blocks until it is acknowledged: only on workers and in tools. 0 `timeout_ms` = 10,000. */
int chassis_publish_wait(struct chassis_broker *broker, const struct chassis_event *event,
                         const struct chassis_publish_options *options, uint64_t timeout_ms,
                         struct chassis_error *err);
/* `options` may be NULL. */
int chassis_subscribe(struct chassis_broker *broker, const char *type,
                      const struct chassis_subscribe_options *options, chassis_event_fn handler,
                      void *data, struct chassis_subscription **ret_subscription,
                      struct chassis_error *err);
/* NULL is fine. */
void chassis_unsubscribe(struct chassis_subscription *subscription);
/* The value of an attribute of an event, empty if it has none. */
struct chassis_view chassis_event_attribute(const struct chassis_event *event, const char *name);

#endif
