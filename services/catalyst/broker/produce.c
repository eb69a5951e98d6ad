/* Producer.Produce and EventService.PublishStream: streams of events coming in.
 *
 *   cq     message: parse, check, into the open intake ─┐ end of the turn: submit
 *   loop   cat_publish, in order of submits             │
 *   cq     done: answers in order, in one burst  ◀──────┘
 *
 * Invariants: answers leave in the order of what came; at most UNDER_WAY_EVENTS and _BYTES of one
 * stream are not yet answered, beyond that the client is not read from; answers the client does not
 * take count as under way, too. Nothing that was read is dropped.
 * Threads: everything here on the call's executor, which is why there is no lock; drain comes from the
 * loop as a task.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "catalyst/broker/convert.h"
#include "catalyst/broker/intake.h"
#include "catalyst/broker/rpc.h"
#include "catalyst/event/wire.h"
#include "core/message_broker/actors/v1/actors.chassis.h"

enum {
    TURN_EVENTS = 256, /* most single events of one publish */
    UNDER_WAY_EVENTS = 8192,
    UNDER_WAY_BYTES = 8 << 20,
    SHARE_EVENTS = 128, /* of each while all together have too much */
    SHARE_BYTES = 64 << 10,
    SPARE_MAX = 8,
    ROOM_FIRST = 4, /* what an idle stream keeps */
    ALONE_MAX = 16, /* events that take less time than waking a thread */
};

struct producer {
    struct cat_producer_link drain; /* first: of the views' list */
    struct chassis_call *call;
    struct cat_views *views;
    struct chassis_executor *home;
    struct cat_lane lane;
    bool batches;                    /* PublishStream */
    struct cat_intake *open;         /* being filled; NULL = none */
    struct cat_intake *head, **tail; /* submitted, oldest first */
    struct cat_intake *spare;
    unsigned n_spare;
    uint32_t turn_events; /* of the last turn: the next will be like it */
    uint32_t answered;    /* items of `head` */
    size_t bytes;         /* under way */
    uint32_t events;
    bool held, blocked; /* not reading; the client does not read */
    bool finished;      /* the client sent its last */
    bool gone, draining;
    bool over; /* the call has ended */
    bool stop_ran;
    bool ended; /* and nothing is under way any more */
    struct chassis_task turn, stop;
    struct chassis_buf out;
};

static void answer(struct producer *p);

static void intake_done(struct cat_intake *intake)
{
    answer(intake->options.data);
}

static struct cat_intake_options intake_options(struct producer *p)
{
    return (struct cat_intake_options){.broker = p->views->broker,
                                       .loop = p->views->loop,
                                       .home = p->home,
                                       .done = intake_done,
                                       .data = p,
                                       .lane = &p->lane,
                                       .memory = &p->views->intake_memory};
}

static void submit(struct producer *p, struct cat_intake *intake)
{
    intake->next = NULL;
    intake->alone = p->head == NULL && intake->n_items <= ALONE_MAX;
    *p->tail = intake;
    p->tail = &intake->next;
    cat_intake_submit(intake);
}

static void run_turn(struct chassis_task *task)
{
    struct producer *p = chassis_container_of(task, struct producer, turn);
    struct cat_intake *intake = p->open;
    if (intake != NULL) {
        p->open = NULL;
        p->turn_events = intake->n_items;
        submit(p, intake);
    }
    answer(p);
}

/* ---- the end ---- */

static void free_spares(struct producer *p)
{
    while (p->spare != NULL) {
        struct cat_intake *intake = p->spare;
        p->spare = intake->next;
        cat_intake_free(intake);
    }
    p->n_spare = 0;
}

static void end_if_done(struct producer *p)
{
    bool idle = p->head == NULL && p->open == NULL && !p->turn.queued;
    if (!idle || p->ended || !(p->finished || p->gone || p->draining || p->over)) {
        return;
    }
    p->ended = true;
    free_spares(p);
    chassis_buf_fini(&p->out);
    if (p->over) {
    } else if (p->gone) {
        chassis_call_fail(p->call, CHASSIS_CANCELLED, "the client went away");
    } else if (p->finished) {
        chassis_call_finish(p->call);
    } else {
        chassis_call_fail(
            p->call, CHASSIS_SHUTTING_DOWN,
            "the service is shutting down: what was answered is stored, send the rest "
            "again, later or elsewhere");
    }
    if (cat_views_remove_producer(p->views, &p->drain) || p->stop_ran) { /* else it is on its way */
        chassis_call_unref(p->call);
    }
}

/* ---- answers ---- */

static void answer_event(struct producer *p, const struct cat_intake *intake, uint32_t item)
{
    struct cat_intake_result r;
    cat_intake_result(intake, item, &r);
    chassis_buf_clear(&p->out);
    if (r.code == 0) {
        cat_put_block(&p->out, 1, r.id);
        return;
    }
    struct chassis_buf refusal = {0};
    cat_put_block(&refusal, 1, r.id);
    cat_put_varint(&refusal, 2, (uint64_t)chassis_status_to_grpc(r.code));
    cat_put_block(&refusal, 3, r.text);
    cat_put_block(&p->out, 100, chassis_buf_view(&refusal));
    chassis_buf_fini(&refusal);
}

/* What is sent for `head` as it is; the number of items it answers. */
static uint32_t answer_next(struct producer *p)
{
    if (!p->batches) {
        answer_event(p, p->head, p->answered);
        return 1;
    }
    chassis_buf_clear(&p->out);
    cat_put_publish_response(&p->out, p->head);
    return p->head->n_items;
}

/* Kept for what comes next, as long as something comes. */
static void recycle(struct producer *p, struct cat_intake *intake)
{
    bool idle = p->head == NULL && p->open == NULL;
    if (idle) {
        free_spares(p);
    }
    if (p->batches || p->n_spare == SPARE_MAX || (idle && intake->room > ROOM_FIRST)) {
        cat_intake_free(intake);
        return;
    }
    cat_intake_reset(intake);
    intake->next = p->spare;
    p->spare = intake;
    p->n_spare++;
}

static void head_done(struct producer *p)
{
    struct cat_intake *intake = p->head;
    p->head = intake->next;
    p->tail = p->head != NULL ? p->tail : &p->head;
    p->answered = 0;
    p->events -= intake->n_items;
    p->bytes -= intake->bytes;
    atomic_fetch_sub_explicit(&p->views->intake_memory, intake->bytes, memory_order_relaxed);
    recycle(p, intake);
}

static bool is_full(const struct producer *p, unsigned part)
{
    bool many = atomic_load_explicit(&p->views->intake_memory, memory_order_relaxed) >
                CAT_INTAKE_MEMORY_MAX / 2;
    return p->events > (many ? SHARE_EVENTS : UNDER_WAY_EVENTS) / part ||
           p->bytes > (size_t)(many ? SHARE_BYTES : UNDER_WAY_BYTES) / part;
}

static void answer(struct producer *p)
{
    bool quiet = p->over || p->gone;
    if (!quiet) {
        chassis_call_cork(p->call);
    }
    while (p->head != NULL && p->head->finished && (quiet || !p->blocked)) {
        if (!quiet) {
            uint32_t n = answer_next(p);
            int rc = chassis_call_send_bytes(p->call, chassis_buf_view(&p->out));
            p->blocked = rc == CHASSIS_RESOURCE_EXHAUSTED;
            quiet = rc == CHASSIS_CANCELLED;
            p->answered += rc == 0 ? n : 0;
        }
        if (quiet || p->answered == p->head->n_items) {
            head_done(p);
        }
    }
    if (!p->over) {
        chassis_call_uncork(p->call);
        if (p->held && !p->draining && !is_full(p, 2)) {
            p->held = false;
            chassis_call_resume(p->call);
        }
    }
    end_if_done(p);
}

static void on_writable(struct chassis_call *call, void *data)
{
    struct producer *p = data;
    p->blocked = false;
    answer(p);
}

static void on_cancel(struct chassis_call *call, void *data)
{
    struct producer *p = data;
    p->gone = true;
    run_turn(&p->turn);
}

static void on_end(struct chassis_call *call, void *data)
{
    struct producer *p = data;
    p->over = true;
    if (!p->ended) { /* by the server: a message too large */
        chassis_defer(p->home, &p->turn);
    }
}

/* ---- drain ---- */

static void run_stop(struct chassis_task *task)
{
    struct producer *p = chassis_container_of(task, struct producer, stop);
    if (p->ended) {
        chassis_call_unref(p->call);
        return;
    }
    p->draining = p->stop_ran = true;
    if (!p->over && !p->held) {
        p->held = true;
        chassis_call_hold(p->call);
    }
    run_turn(&p->turn);
}

static void drain(struct cat_producer_link *link)
{
    struct producer *p = chassis_container_of(link, struct producer, drain);
    chassis_post(p->home, &p->stop);
}

/* ---- what comes in ---- */

static struct producer *producer_open(struct chassis_call *call, bool batches)
{
    struct producer *p = chassis_arena_zalloc(chassis_call_arena(call), sizeof *p);
    if (p == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return NULL;
    }
    p->call = call;
    p->views = chassis_call_data(call);
    p->home = chassis_call_executor(call);
    CHASSIS_ASSERT(p->home != NULL); /* streams from the client come by gRPC */
    p->batches = batches;
    p->tail = &p->head;
    p->turn.run = run_turn;
    p->stop.run = run_stop;
    chassis_call_ref(call);
    chassis_call_set_state(call, p);
    p->drain.drain = drain;
    cat_views_add_producer(p->views, &p->drain);
    chassis_call_on_end(call, on_end, p);
    chassis_call_on_writable(call, on_writable, p);
    chassis_call_on_cancel(call, on_cancel, p);
    return p;
}

static void open_produce(struct chassis_call *call)
{
    producer_open(call, false);
}

void cat_publish_stream_open(struct chassis_call *call)
{
    producer_open(call, true);
}

static void came(struct producer *p, struct cat_intake *intake, uint32_t items, size_t bytes)
{
    intake->bytes += bytes;
    atomic_fetch_add_explicit(&p->views->intake_memory, bytes, memory_order_relaxed);
    p->bytes += bytes;
    p->events += items;
    if (is_full(p, 1) && !p->held) {
        p->held = true;
        chassis_call_hold(p->call);
    }
    chassis_defer(p->home, &p->turn);
}

int cat_produce_request_of(struct chassis_view request, struct chassis_view *ret_event,
                           struct chassis_error *err)
{
    struct cat_field field;
    const uint8_t *end = cat_wire_end(request);
    unsigned n = 0;
    for (const uint8_t *p = request.data; p != end;) {
        p = cat_wire_next(p, end, &field);
        if (p == NULL) {
            return chassis_error_set(err, CHASSIS_MALFORMED,
                                     "rule 'wire-format': the message is no ProduceRequest");
        }
        if (field.number == 1 && field.wire == CAT_WIRE_BYTES) {
            *ret_event = field.bytes;
            n++;
        }
    }
    return n == 1 ? 0
                  : chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                      "rule 'wire-format': field 'message' stands in the request "
                                      "%u times, must be once",
                                      n);
}

static struct cat_intake *intake_with_room(struct producer *p)
{
    if (p->open != NULL && p->open->n_items >= TURN_EVENTS) {
        submit(p, p->open);
        p->open = NULL;
    }
    if (p->open == NULL && p->spare != NULL) {
        p->open = p->spare;
        p->spare = p->open->next;
        p->n_spare--;
    }
    if (p->open == NULL) {
        struct cat_intake_options options = intake_options(p);
        p->open =
            cat_intake_new(&options, p->turn_events > ROOM_FIRST ? p->turn_events : ROOM_FIRST);
    }
    return p->open;
}

static void on_event(struct chassis_call *call,
                     const Core__MessageBroker__Actors__V1__ProduceRequest *req)
{
    struct producer *p = chassis_call_state(call);
    struct chassis_view request = chassis_call_encoded(call), event;
    struct chassis_error err = {0};
    struct cat_intake *intake = intake_with_room(p);
    if (cat_produce_request_of(request, &event, &err) != 0) {
        cat_intake_refuse(intake, (struct chassis_view){0}, &err);
    } else {
        cat_intake_add(intake, event);
    }
    came(p, intake, 1, request.len);
}

void cat_publish_stream_message(struct chassis_call *call, const EV(PublishRequest) * req)
{
    struct producer *p = chassis_call_state(call);
    struct chassis_view request = chassis_call_encoded(call);
    struct cat_intake_options options = intake_options(p);
    struct cat_intake *intake;
    struct chassis_error err = {0};
    uint64_t number = 0;
    if (cat_publish_request_of(&options, request, &intake, &number, &err) != 0) {
        intake = cat_intake_new(&options, 1);
        intake->request = number;
        cat_intake_refuse(intake, (struct chassis_view){0}, &err);
    }
    came(p, intake, intake->n_items, request.len);
    submit(p, intake);
}

void cat_publish_stream_end(struct chassis_call *call)
{
    struct producer *p = chassis_call_state(call);
    p->finished = true;
    run_turn(&p->turn);
}

static const struct actors_producer_handlers handlers = {
    .produce = {.open = open_produce, .message = on_event, .end = cat_publish_stream_end},
};
static const struct chassis_method_options options[] = {
    {.method = "Produce", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true, .encoded = true},
    {.method = NULL},
};

struct chassis_service cat_producer_service(struct cat_views *views)
{
    struct chassis_service service = actors_producer_service(&handlers, views);
    service.options = options;
    return service;
}
