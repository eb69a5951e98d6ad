#include "catalyst/broker/intake.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "catalyst/event/wire.h"

/* What so many items need, parsed. */
static size_t cost(uint32_t room)
{
    return room * (sizeof(struct cat_intake_item) + sizeof(struct cat_publish_event));
}

static void count(struct cat_intake *intake, size_t bytes)
{
    if (intake->options.memory != NULL) {
        atomic_fetch_add(intake->options.memory, bytes - intake->counted);
        intake->counted = bytes;
    }
}

struct cat_intake *cat_intake_new(const struct cat_intake_options *options, uint32_t room)
{
    struct cat_intake *intake = chassis_base_zalloc(sizeof *intake);
    intake->options = *options;
    intake->room = room;
    intake->items = chassis_base_alloc(room * sizeof *intake->items);
    intake->publish.events = chassis_base_alloc(room * sizeof *intake->publish.events);
    chassis_arena_init(&intake->arena, NULL, 0, 0); /* bounded by what one request may carry */
    count(intake, cost(room));
    return intake;
}

void cat_intake_reset(struct cat_intake *intake)
{
    struct cat_publish_event *events = intake->publish.events;
    intake->publish = (struct cat_publish){.events = events};
    intake->n_items = 0;
    intake->bytes = 0;
    intake->texts = NULL;
    intake->finished = false;
    chassis_arena_fini(&intake->arena);
    chassis_arena_init(&intake->arena, NULL, 0, 0);
}

void cat_intake_free(struct cat_intake *intake)
{
    if (intake != NULL) {
        count(intake, 0);
        chassis_arena_fini(&intake->arena);
        free(intake->publish.events);
        free(intake->items);
        free(intake);
    }
}

/* ---- what comes in ---- */

/* The id of an event that is not valid, for whoever sent it; empty if that is no text either. */
static struct chassis_view id_of(struct chassis_view event)
{
    struct chassis_view id = {0};
    struct cat_field field;
    const uint8_t *end = cat_wire_end(event);
    for (const uint8_t *p = event.data; p != end && (p = cat_wire_next(p, end, &field)) != NULL;) {
        if (field.number == CAT_FIELD_ID && field.wire == CAT_WIRE_BYTES) {
            id = field.bytes;
        }
    }
    bool fit = id.len <= CAT_EVENT_ID_SIZE_MAX && chassis_utf8_valid(id);
    return fit ? id : (struct chassis_view){0};
}

/* One more item, and perhaps one more event. */
static void make_room(struct cat_intake *intake)
{
    if (intake->n_items == intake->room) {
        struct cat_publish *publish = &intake->publish;
        intake->room *= 2;
        intake->items = chassis_base_realloc(intake->items, intake->room * sizeof *intake->items);
        publish->events =
            chassis_base_realloc(publish->events, intake->room * sizeof *publish->events);
        count(intake, cost(intake->room));
    }
}

static struct cat_intake_item *item_add(struct cat_intake *intake)
{
    struct cat_intake_item *item = &intake->items[intake->n_items++];
    *item = (struct cat_intake_item){.event = -1};
    return item;
}

void cat_intake_refuse(struct cat_intake *intake, struct chassis_view id,
                       const struct chassis_error *err)
{
    make_room(intake);
    struct cat_intake_item *item = item_add(intake);
    item->code = err->code;
    item->id = chassis_arena_copy(&intake->arena, id);
    item->text = chassis_arena_copy(&intake->arena, chassis_view_str(chassis_error_text(err)));
}

void cat_intake_add(struct cat_intake *intake, struct chassis_view event)
{
    struct chassis_error err;
    make_room(intake);
    struct chassis_view bytes = chassis_arena_copy(&intake->arena, event);
    struct cat_publish_event *e = &intake->publish.events[intake->publish.n_events];
    chassis_error_clear(&err);
    if (cat_event_parse(bytes, &e->event, &err) != 0) {
        cat_intake_refuse(intake, id_of(bytes), &err);
        return;
    }
    e->status = 0;
    e->duplicate = false;
    e->sequence = 0;
    struct cat_intake_item *item = item_add(intake);
    item->event = (int32_t)intake->publish.n_events++;
}

int cat_intake_batch(const struct cat_intake_options *options, struct chassis_view batch,
                     struct cat_intake **ret_intake, struct chassis_error *err)
{
    struct chassis_view rest = batch, event;
    uint32_t n = 0;
    int rc;
    while ((rc = cat_batch_next(&rest, &event, err)) == 1) {
        n++;
    }
    if (rc != 0) {
        return rc;
    }
    if (n == 0 || n > CAT_BATCH_EVENTS_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'batch.events' has %u events, must have 1 to %d", n,
                                 CAT_BATCH_EVENTS_MAX);
    }
    if (options->lane == NULL && options->memory != NULL &&
        atomic_load(options->memory) + cost(n) > CAT_INTAKE_MEMORY_MAX) {
        return chassis_error_set(err, CHASSIS_BUSY,
                                 "events under way need %zu bytes of memory, the limit is %d: try "
                                 "again later",
                                 atomic_load(options->memory), CAT_INTAKE_MEMORY_MAX);
    }
    struct cat_intake *intake = cat_intake_new(options, n);
    rest = batch;
    while (cat_batch_next(&rest, &event, err) == 1) {
        cat_intake_add(intake, event);
    }
    *ret_intake = intake;
    return 0;
}

/* ---- to the loop and back ---- */

static void publish_done(struct cat_publish *publish);

static void event_refused(struct cat_publish *publish, uint32_t event, const char *text)
{
    struct cat_intake *intake = chassis_container_of(publish, struct cat_intake, publish);
    if (intake->texts == NULL) {
        intake->texts =
            chassis_arena_zalloc(&intake->arena, publish->n_events * sizeof *intake->texts);
    }
    intake->texts[event] = chassis_arena_copy(&intake->arena, chassis_view_str(text));
}

static void run_done(struct chassis_task *task)
{
    struct cat_intake *intake = chassis_container_of(task, struct cat_intake, task);
    intake->finished = true;
    intake->options.done(intake);
}

static void pass_on(struct cat_intake *intake, struct chassis_executor *to)
{
    (intake->alone ? chassis_dispatch : chassis_post)(to, &intake->task);
}

static void go_home(struct cat_intake *intake)
{
    struct chassis_executor *home = intake->options.home;
    intake->task.run = run_done;
    pass_on(intake, home != NULL ? home : intake->options.loop);
}

static void publish_again(struct cat_intake *intake)
{
    struct cat_publish *publish = &intake->publish;
    struct cat_lane *lane = intake->options.lane;
    intake->texts = NULL;
    *publish = (struct cat_publish){.stream = publish->stream,
                                    .events = publish->events,
                                    .n_events = publish->n_events,
                                    .order = lane != NULL ? &lane->order : &intake->order,
                                    .refused = event_refused,
                                    .done = publish_done};
    cat_publish(intake->options.broker, publish);
    if (lane != NULL && publish->status == CHASSIS_BUSY) {
        lane->stalled = true; /* what comes now would overtake it */
    }
}

/* In order of submits: those behind one that found the broker busy wait behind it. */
static void lane_wait(struct cat_lane *lane, struct cat_intake *intake)
{
    struct cat_intake **at = &lane->head;
    while (*at != NULL && (*at)->number < intake->number) {
        at = &(*at)->waiting;
    }
    intake->waiting = *at;
    *at = intake;
}

static void lane_retry(struct chassis_timer *timer)
{
    struct cat_lane *lane = chassis_container_of(timer, struct cat_lane, timer);
    struct cat_intake *all = lane->head;
    lane->head = NULL;
    while (all != NULL) {
        struct cat_intake *intake = all;
        all = intake->waiting;
        if (lane->stalled) { /* one before it was too much again */
            lane_wait(lane, intake);
        } else {
            publish_again(intake);
        }
    }
}

static void publish_done(struct cat_publish *publish)
{
    struct cat_intake *intake = chassis_container_of(publish, struct cat_intake, publish);
    struct cat_lane *lane = intake->options.lane;
    if (publish->status != CHASSIS_BUSY || lane == NULL) {
        go_home(intake);
        return;
    }
    lane->timer.run = lane_retry;
    lane->stalled = false;
    lane_wait(lane, intake);
    chassis_post_after(intake->options.loop, &lane->timer, CAT_LANE_RETRY_MS * CHASSIS_NS_PER_MS);
}

static void run_publish(struct chassis_task *task)
{
    struct cat_intake *intake = chassis_container_of(task, struct cat_intake, task);
    struct cat_lane *lane = intake->options.lane;
    if (lane != NULL && (lane->head != NULL || lane->stalled)) {
        lane_wait(lane, intake);
        return;
    }
    publish_again(intake);
}

void cat_intake_submit(struct cat_intake *intake)
{
    struct cat_lane *lane = intake->options.lane;
    if (lane != NULL) {
        intake->number = lane->next++;
    }
    if (intake->publish.n_events == 0) {
        go_home(intake);
        return;
    }
    intake->task.run = run_publish;
    pass_on(intake, intake->options.loop);
}

void cat_intake_result(const struct cat_intake *intake, uint32_t item,
                       struct cat_intake_result *ret_result)
{
    const struct cat_intake_item *it = &intake->items[item];
    const struct cat_publish *publish = &intake->publish;
    if (it->event < 0) {
        *ret_result = (struct cat_intake_result){.code = it->code, .id = it->id, .text = it->text};
        return;
    }
    const struct cat_publish_event *e = &publish->events[it->event];
    *ret_result = (struct cat_intake_result){
        .code = e->status, .id = e->event.id, .duplicate = e->duplicate, .sequence = e->sequence};
    bool own = intake->texts != NULL && intake->texts[it->event].data != NULL;
    if (e->status != 0) { /* of the whole, if it has none of its own */
        ret_result->text =
            own ? intake->texts[it->event] : chassis_view_str(chassis_error_text(&publish->err));
    }
}
