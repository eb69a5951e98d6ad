/* The broker's views: how calls reach it. Protobuf and gRPC end here.
 *
 * Threads: see each. Ownership: the views are the service's, for as long as it runs.
 */
#ifndef CAT_BROKER_RPC_H
#define CAT_BROKER_RPC_H

#include <pthread.h>
#include <stdatomic.h>

#include <chassis/executor.h>
#include <chassis/service.h>

#include "base/list.h"
#include "catalyst/broker/broker.h"

struct cat_groups;

/* A stream of events coming in, to be told of the drain. */
struct cat_producer_link {
    struct chassis_list link;
    void (*drain)(
        struct cat_producer_link *link); /* on the loop, with the lock: posts and returns */
    bool told;
};

/* What every view is given as chassis_call_data(). Filled in before the first call comes. */
struct cat_views {
    struct cat_broker *broker;
    struct cat_groups *groups; /* NULL: there are none */
    struct chassis_executor *loop;
    struct chassis_list sessions; /* calls that live on the loop; owner: the loop */
    bool draining;                /* the loop's */
    atomic_size_t intake_memory;  /* broker/intake.h */
    pthread_mutex_t lock;         /* guards what follows */
    struct chassis_list producers;
    bool producers_told;
};

void cat_views_init(struct cat_views *views, struct cat_broker *broker, struct cat_groups *groups,
                    struct chassis_executor *loop);
/* On the loop, when the service begins to drain: streams end, after what they were promised. */
void cat_views_drain(struct cat_views *views);
/* After the last call. */
void cat_views_fini(struct cat_views *views);

void cat_views_add_producer(struct cat_views *views, struct cat_producer_link *link);
/* False: it has been told of the drain. */
bool cat_views_remove_producer(struct cat_views *views, struct cat_producer_link *link);

/* ---- services ---- */

struct chassis_service cat_producer_service(struct cat_views *views);
struct chassis_service cat_consumer_service(struct cat_views *views);
struct chassis_service cat_event_service(struct cat_views *views);
struct chassis_service cat_stream_service(struct cat_views *views);

#endif
