/* A subscription from inside: what is received, handlers, answers. */
#ifndef CHASSIS_BROKER_SUBSCRIPTION_H
#define CHASSIS_BROKER_SUBSCRIPTION_H

#include "broker/internal.h"

/* An event that was received. */
struct received {
    struct chassis_list link; /* held or answered */
    struct chassis_arena arena;
    struct chassis_event event;
    uint64_t session; /* the connection it came by */
    bool begun;       /* a handler has it */
    int result;
};

struct worker {
    struct chassis_task task;
    struct subscription *subscription;
    bool busy; /* the task is posted or runs */
};

struct subscription {
    struct chassis_subscription base;
    struct chassis_list link; /* of the broker's */
    struct catalyst_broker *broker;
    char *stream, *group, *what;
    struct chassis_arena arena; /* of the filters */
    Draft__Events__V1__Filter **filters;
    size_t n_filters;
    bool earliest;
    chassis_event_fn handler;
    void *data;
    struct chassis_executor *executor;
    unsigned in_flight;
    struct worker *workers;
    unsigned n_workers;

    struct chassis_client_stream *up; /* NULL = down */
    struct broker_backoff backoff;
    struct chassis_timer still_working;
    uint64_t session;
    uint64_t next_sequence; /* without a group: where to go on; 0 = not known yet */
    uint32_t credit_due;
    bool closing; /* half-closed, waiting for the end */

    /* the broker's mutex guards what follows */
    struct chassis_list held;     /* received, by age */
    struct chassis_list answered; /* handled, the answer not on its way yet */
    unsigned running;
    bool stopping, stopped, answers_posted;
    struct chassis_task answers;
};

/* received.c */
/* Free what is in the list; without `begun_too` only what no handler has. With the mutex held, unless
 * the list is the caller's own. */
void received_drop(struct chassis_list *list, bool begun_too);
/* Copy, hold and hand to workers. */
void received_take(struct subscription *s, Draft__Events__V1__Delivery *const *deliveries,
                   size_t n);
/* Answers of handlers that returned, and credit for as many; until the queue is full. */
void received_answer(struct subscription *s);
/* The task and the timer of a subscription, and of its workers. */
void received_run_worker(struct chassis_task *task);
void received_run_answers(struct chassis_task *task);
void received_still_working(struct chassis_timer *timer);
enum { RECEIVED_STILL_WORKING_MS = 10000 }; /* less than half of the groups' default ack wait */

/* subscription.c */
void subscription_free_if_over(struct subscription *s);

#endif
