/* Any bytes as a ProduceRequest and as a PublishRequest, which Catalyst takes apart by hand: refused,
 * or protobuf-c reads the same from them, every event is answered once and in its place, and all
 * memory that was counted is given back. */
#include <stdlib.h>

#include "catalyst/broker/convert.h"
#include "catalyst/broker/intake.h"
#include "core/message_broker/actors/v1/actors.pb-c.h"
#include "draft/events/v1/events.pb-c.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As if the broker had stored every second of them new, and known the others. */
static void answer_all(struct cat_intake *intake)
{
    for (uint32_t i = 0; i < intake->publish.n_events; i++) {
        intake->publish.events[i].sequence = i + 1;
        intake->publish.events[i].duplicate = i % 2 == 1;
    }
}

static void check_items(const struct cat_intake *intake)
{
    int32_t events = 0;
    for (uint32_t i = 0; i < intake->n_items; i++) {
        struct cat_intake_result r;
        cat_intake_result(intake, i, &r);
        CHECK(r.code <= 0 && (r.code == 0 || r.text.len != 0));
        if (intake->items[i].event >= 0) {
            CHECK(intake->items[i].event == events && r.code == 0 && r.id.len != 0);
            events++;
        }
    }
    CHECK((uint32_t)events == intake->publish.n_events);
}

static void check_response(const struct cat_intake *intake, uint64_t request)
{
    struct chassis_buf out = {0};
    cat_put_publish_response(&out, intake);
    EV(PublishResponse) *res = draft__events__v1__publish_response__unpack(NULL, out.len, out.data);
    CHECK(res != NULL && res->request == request);
    CHECK(res->accepted == intake->publish.n_events && res->duplicates == res->accepted / 2);
    CHECK(res->accepted + res->n_refusals == intake->n_items);
    draft__events__v1__publish_response__free_unpacked(res, NULL);
    chassis_buf_fini(&out);
}

/* What protobuf-c makes of it, if it takes it at all: an event that it does not is one refused here. */
static void protobuf_agrees(const struct cat_intake *intake, struct chassis_view bytes)
{
    EV(PublishRequest) *req =
        draft__events__v1__publish_request__unpack(NULL, bytes.len, bytes.data);
    if (req == NULL) {
        return;
    }
    CHECK(chassis_view_eq(intake->publish.stream, chassis_view_str(req->stream)) ||
          strlen(req->stream) != intake->publish.stream.len); /* a zero byte ends C's */
    CHECK(req->request == intake->request);
    CHECK(req->batch != NULL && req->batch->n_events == intake->n_items);
    for (uint32_t i = 0; i < intake->n_items; i++) {
        const struct cat_intake_item *item = &intake->items[i];
        CHECK(item->event < 0 || chassis_view_eq(intake->publish.events[item->event].event.id,
                                                 chassis_view_str(req->batch->events[i]->id)));
    }
    draft__events__v1__publish_request__free_unpacked(req, NULL);
}

static void publish(struct chassis_view bytes)
{
    atomic_size_t memory = 0;
    const struct cat_intake_options options = {.memory = &memory};
    struct cat_intake *intake;
    struct chassis_error err = {0};
    uint64_t request;
    if (cat_publish_request_of(&options, bytes, &intake, &request, &err) != 0) {
        CHECK(err.code < 0 && err.text[0] != '\0' && atomic_load(&memory) == 0);
        return;
    }
    CHECK(intake->n_items >= 1 && intake->n_items <= CAT_BATCH_EVENTS_MAX);
    CHECK(intake->publish.stream.len <= CAT_NAME_MAX && request == intake->request);
    answer_all(intake);
    check_items(intake);
    check_response(intake, request);
    protobuf_agrees(intake, bytes);
    cat_intake_free(intake);
    CHECK(atomic_load(&memory) == 0);
}

static void produce(struct chassis_view bytes)
{
    typedef Core__MessageBroker__Actors__V1__ProduceRequest message;
    const struct cat_intake_options options = {0};
    struct chassis_error err = {0};
    struct chassis_view event;
    if (cat_produce_request_of(bytes, &event, &err) != 0) {
        CHECK(strncmp(err.text, "rule 'wire-format': ", 20) == 0);
        return;
    }
    CHECK(event.len == 0 ||
          (event.data >= bytes.data && event.data + event.len <= bytes.data + bytes.len));
    struct cat_intake *intake = cat_intake_new(&options, 1);
    cat_intake_add(intake, event);
    cat_intake_add(intake, event); /* makes room */
    answer_all(intake);
    check_items(intake);
    CHECK(intake->n_items == 2);
    message *m =
        core__message_broker__actors__v1__produce_request__unpack(NULL, bytes.len, bytes.data);
    CHECK(m == NULL || m->message != NULL);
    CHECK(m == NULL || intake->publish.n_events == 0 ||
          chassis_view_eq(intake->publish.events[0].event.id, chassis_view_str(m->message->id)));
    if (m != NULL) {
        core__message_broker__actors__v1__produce_request__free_unpacked(m, NULL);
    }
    cat_intake_reset(intake);
    CHECK(intake->n_items == 0 && intake->publish.n_events == 0);
    cat_intake_free(intake);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    publish(chassis_view(data, size));
    produce(chassis_view(data, size));
    return 0;
}
