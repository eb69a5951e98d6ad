/* The broker "catalyst" from inside.
 *
 * Owner of everything not marked otherwise: the loop role. */
#ifndef CHASSIS_BROKER_INTERNAL_H
#define CHASSIS_BROKER_INTERNAL_H

#include <pthread.h>
#include <stdlib.h>

#include <chassis/arena.h>
#include <chassis/log.h>
#include <chassis/metrics.h>
#include <chassis/plugin/broker.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/prng.h"
#include "draft/events/v1/events.chassis.h"

enum {
    BROKER_EVENT_BYTES_MAX = 1 << 20, /* the wire's limit of one event */
    BROKER_BATCH_EVENTS = 256,
    BROKER_BATCH_BYTES = 256 << 10,
    BROKER_BATCHES_MAX = 64, /* under way */
};

/* An event that waits to be acknowledged. */
struct broker_outgoing {
    struct chassis_list link;
    struct chassis_buf encoded; /* CloudEvent */
    char *stream;               /* NULL = by rules */
    chassis_published_cb done;
    void *data;
};

struct broker_batch {
    struct chassis_list link;
    struct chassis_list events; /* broker_outgoing */
    unsigned n_events;
    uint64_t request;
    bool sent; /* on the present connection */
};

struct broker_backoff {
    struct chassis_timer timer;
    unsigned attempt;
    bool complained; /* it was logged that the way is broken */
};

struct broker_publisher {
    struct chassis_client_stream *stream; /* NULL = down */
    struct broker_backoff backoff;
    struct chassis_list batches; /* under way, in order */
    unsigned n_batches;
    uint64_t request;
    bool progress; /* something was acknowledged on this connection */
};

struct catalyst_broker {
    struct chassis_broker broker;
    struct chassis_executor *loop, *workers;
    struct chassis_client *client;
    struct chassis_logger *log;
    char *url, *service, *source;
    uint64_t backoff_min_ms, backoff_max_ms;
    uint32_t outbox_events_max;
    size_t outbox_bytes_max;
    struct chassis_prng prng;
    struct broker_publisher publisher;
    struct chassis_list subscriptions;
    unsigned streams; /* open on the client */
    bool halted;      /* nothing new begins */
    bool clients_freed;
    struct chassis_counter *published, *refused, *received, *failed;
    struct chassis_gauge *waiting;

    pthread_mutex_t mutex; /* guards what follows, and what subscriptions mark so */
    pthread_cond_t changed;
    struct chassis_list outbox; /* broker_outgoing, not in a batch yet */
    uint32_t events;            /* not acknowledged */
    size_t bytes;
    unsigned running;    /* handlers of all subscriptions */
    unsigned subscribed; /* subscriptions that are not freed */
    bool closing, pump_posted, quiet;
    struct chassis_task pump;
};

/* catalyst.c */
/* A task of its own memory that runs `fn` on the loop. */
void broker_on_loop(struct catalyst_broker *b, void (*fn)(struct catalyst_broker *, void *),
                    void *data);
/* Arm the timer of `backoff`: full jitter, doubling. */
void broker_wait(struct catalyst_broker *b, struct broker_backoff *backoff, const char *what,
                 int code, const char *text);
void broker_connected(struct catalyst_broker *b, struct broker_backoff *backoff, const char *what);
void broker_stream_opened(struct catalyst_broker *b);
void broker_stream_closed(struct catalyst_broker *b);

/* publisher.c */
int publisher_publish(struct chassis_broker *broker, const struct chassis_event *event,
                      const struct chassis_publish_options *options, chassis_published_cb done,
                      void *data, struct chassis_error *err);
void publisher_init(struct catalyst_broker *b);
void publisher_halt(struct catalyst_broker *b);
/* Whatever is left ends with `status`. */
void publisher_fail_all(struct catalyst_broker *b, int status);

/* subscription.c */
int subscription_open(struct chassis_broker *broker, const char *type,
                      const struct chassis_subscribe_options *options, chassis_event_fn handler,
                      void *data, struct chassis_subscription **ret_subscription,
                      struct chassis_error *err);
void subscription_close(struct chassis_subscription *subscription);
/* On the loop: no handler begins any more. */
void subscriptions_refuse(struct catalyst_broker *b);
/* Not on the loop: until the handlers that run are over. */
void subscriptions_quiesce(struct catalyst_broker *b);
/* On the loop: send the answers, then end. */
void subscriptions_stop(struct catalyst_broker *b);
/* On the loop: end without waiting. */
void subscriptions_halt(struct catalyst_broker *b);
void subscriptions_free(struct catalyst_broker *b);

/* convert.c */
/* CloudEvent bytes; CHASSIS_INVALID_ARGUMENT, CHASSIS_TOO_LARGE. */
int broker_encode(const struct chassis_event *event, const char *source, struct chassis_buf *out,
                  struct chassis_error *err);
/* Copied into the arena. */
void broker_decode(const Core__MessageBroker__Actors__V1__CloudEvent *from,
                   struct chassis_arena *arena, struct chassis_event *ret_event);

#endif
