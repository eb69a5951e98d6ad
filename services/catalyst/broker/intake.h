/* Events on their way in: gathered and checked where they came in, published on the loop, back with
 * their results. Producer, EventService and HTTP all publish by it.
 *
 *     intake = cat_intake_new(options, room)         on the role that has the call ("home")
 *     cat_intake_add(intake, bytes) …                parse; a bad event becomes a refusal in its place
 *     cat_intake_submit(intake)                      → loop → cat_publish → home: `done`
 *     cat_intake_result(intake, i, &result) …
 *     cat_intake_free(intake)
 *
 * Invariants: `done` runs once, on home, after submit returned; items keep their order; events of one
 * lane are published in the order of their submits, also when the broker was busy in between.
 * Threads: home, one at a time; the loop in between.
 * Ownership: events are copied.
 */
#ifndef CAT_BROKER_INTAKE_H
#define CAT_BROKER_INTAKE_H

#include <stdatomic.h>

#include <chassis/arena.h>

#include "catalyst/broker/broker.h"

enum {
    CAT_BATCH_EVENTS_MAX = 10000, /* of one request */
    CAT_INTAKE_MEMORY_MAX = 256 << 20,

    CAT_LANE_RETRY_MS = 2, /* until a lane tries again */
};

struct cat_intake;

/* Keeps the order of one caller that waits while the broker is busy. Zeroed = ready. Owner: the
 * loop; its memory must live while intakes of it are under way. */
struct cat_lane {
    struct cat_publish_order order;
    struct cat_intake *head; /* waiting, by number */
    bool stalled;            /* one found the broker busy and is on its way back */
    uint64_t next;           /* number of the next submit; home's */
    struct chassis_timer timer;
};

struct cat_intake_options {
    struct cat_broker *broker;
    struct chassis_executor *loop;
    struct chassis_executor *home; /* where `done` runs; NULL = the loop */
    void (*done)(struct cat_intake *intake);
    void *data;
    struct cat_lane *lane; /* NULL: CHASSIS_BUSY is a result like others */
    atomic_size_t *memory; /* of all intakes together, bytes; NULL = not counted */
};

struct cat_intake_item {
    int32_t event; /* of publish.events; -1 = refused before it came so far */
    int code;
    struct chassis_view id, text;
};

struct cat_intake {
    struct cat_intake_options options;
    struct cat_publish publish; /* its `stream` may be set before submit; borrowed until done */
    struct cat_intake_item *items;
    uint32_t n_items, room;         /* items it can hold, at least 1; grows */
    struct chassis_view *texts;     /* why events were refused, in the arena; NULL = none was */
    struct cat_publish_order order; /* without a lane */
    struct chassis_arena arena;
    size_t counted; /* in *memory */
    bool finished;  /* the results are there */
    bool alone;     /* short, and its caller has nothing else under way: waits for no thread */
    struct cat_intake *next; /* the owner's; the lane's on the loop */
    uint64_t request;        /* the owner's, as `bytes` */
    size_t bytes;
    uint64_t number; /* in the lane */
    struct cat_intake *waiting;
    struct chassis_task task;
};

struct cat_intake *cat_intake_new(const struct cat_intake_options *options, uint32_t room);
/* Empty again, for the next events; keeps its memory. Not while it is under way. */
void cat_intake_reset(struct cat_intake *intake);
void cat_intake_free(struct cat_intake *intake);

/* One event's bytes. */
void cat_intake_add(struct cat_intake *intake, struct chassis_view event);
/* Something that is no event: an item refused. `id` may be empty. Copied. */
void cat_intake_refuse(struct cat_intake *intake, struct chassis_view id,
                       const struct chassis_error *err);
/* All events of an encoded CloudEventBatch into a new intake. CHASSIS_INVALID_ARGUMENT: none or too
 * many; CHASSIS_MALFORMED; CHASSIS_BUSY without a lane: CAT_INTAKE_MEMORY_MAX is in use. */
int cat_intake_batch(const struct cat_intake_options *options, struct chassis_view batch,
                     struct cat_intake **ret_intake, struct chassis_error *err);

void cat_intake_submit(struct cat_intake *intake);

struct cat_intake_result {
    int code; /* 0 = stored */
    struct chassis_view id, text;
    bool duplicate;
    uint64_t sequence;
};
void cat_intake_result(const struct cat_intake *intake, uint32_t item,
                       struct cat_intake_result *ret_result);

#endif
