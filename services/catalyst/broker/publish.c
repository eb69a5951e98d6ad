/* EventService: Publish; the table of the service. */
#include "catalyst/broker/convert.h"
#include "catalyst/broker/intake.h"
#include "catalyst/broker/rpc.h"
#include "catalyst/event/wire.h"

struct fields {
    struct chassis_view stream, batch;
    uint64_t request;
};

static int fields_of(struct chassis_view encoded, struct fields *ret_fields,
                     struct chassis_error *err)
{
    struct cat_field field;
    const uint8_t *end = cat_wire_end(encoded);
    unsigned batches = 0;
    for (const uint8_t *p = encoded.data; p != end;) {
        p = cat_wire_next(p, end, &field);
        if (p == NULL) {
            return chassis_error_set(err, CHASSIS_MALFORMED,
                                     "rule 'wire-format': the message is no PublishRequest");
        }
        if (field.number == 1 && field.wire == CAT_WIRE_BYTES) {
            ret_fields->stream = field.bytes;
        } else if (field.number == 2 && field.wire == CAT_WIRE_BYTES) {
            ret_fields->batch = field.bytes;
            batches++;
        } else if (field.number == 3 && field.wire == CAT_WIRE_VARINT) {
            ret_fields->request = field.value;
        }
    }
    if (batches > 1) { /* a legal way to write one, which nobody uses */
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "field 'batch' stands in the request %u times, must be once",
                                 batches);
    }
    return 0;
}

int cat_publish_request_of(const struct cat_intake_options *options, struct chassis_view encoded,
                           struct cat_intake **ret_intake, uint64_t *ret_request,
                           struct chassis_error *err)
{
    struct fields fields = {0};
    struct cat_intake *intake;
    int rc = fields_of(encoded, &fields, err);
    *ret_request = fields.request;
    if (rc == 0 && fields.stream.len > CAT_NAME_MAX) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "field 'stream' has %zu bytes, the limit is %d", fields.stream.len,
                               CAT_NAME_MAX);
    }
    rc = rc == 0 ? cat_intake_batch(options, fields.batch, &intake, err) : rc;
    if (rc != 0) {
        return rc;
    }
    intake->request = fields.request;
    intake->publish.stream = chassis_arena_copy(&intake->arena, fields.stream);
    *ret_intake = intake;
    return 0;
}

static void put_refusal(struct chassis_buf *out, uint32_t index,
                        const struct cat_intake_result *result)
{
    struct chassis_buf refusal = {0};
    cat_put_varint(&refusal, 1, index);
    cat_put_block(&refusal, 2, result->id);
    cat_put_varint(&refusal, 3, (uint64_t)chassis_status_to_grpc(result->code));
    cat_put_block(&refusal, 4, result->text);
    cat_put_block(out, 4, chassis_buf_view(&refusal));
    chassis_buf_fini(&refusal);
}

void cat_put_publish_response(struct chassis_buf *out, const struct cat_intake *intake)
{
    uint64_t accepted = 0, duplicates = 0, last = 0;
    for (uint32_t i = 0; i < intake->n_items; i++) {
        struct cat_intake_result r;
        cat_intake_result(intake, i, &r);
        if (r.code != 0) {
            put_refusal(out, i, &r);
            continue;
        }
        accepted++;
        duplicates += r.duplicate;
        last = r.duplicate ? last : r.sequence;
    }
    cat_put_varint(out, 1, intake->request);
    cat_put_varint(out, 2, accepted);
    cat_put_varint(out, 3, duplicates);
    cat_put_varint(out, 5, last);
}

static void publish_done(struct cat_intake *intake)
{
    struct chassis_call *call = intake->options.data;
    bool none = true;
    for (uint32_t i = 0; i < intake->publish.n_events && none; i++) {
        none = intake->publish.events[i].status != 0;
    }
    if (intake->publish.status != 0 && none) { /* for a reason that is not an event's */
        if (intake->publish.err.code == 0) {
            chassis_error_code(&intake->publish.err, intake->publish.status, "publish");
        }
        chassis_call_fail_error(call, &intake->publish.err);
    } else {
        struct chassis_buf out = {0};
        cat_put_publish_response(&out, intake);
        chassis_call_reply_bytes(call, chassis_buf_view(&out));
        chassis_buf_fini(&out);
    }
    cat_intake_free(intake);
}

static void publish(struct chassis_call *call, const EV(PublishRequest) * req)
{
    struct cat_views *views = chassis_call_data(call);
    struct chassis_error err = {0};
    struct cat_intake *intake;
    uint64_t request;
    struct cat_intake_options options = {.broker = views->broker,
                                         .loop = views->loop,
                                         .home = chassis_call_executor(call),
                                         .done = publish_done,
                                         .data = call,
                                         .memory = &views->intake_memory};
    if (cat_publish_request_of(&options, chassis_call_encoded(call), &intake, &request, &err) !=
        0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    cat_intake_submit(intake);
}

static const struct events_event_service_handlers handlers = {
    .publish = publish,
    .publish_stream = {.open = cat_publish_stream_open,
                       .message = cat_publish_stream_message,
                       .end = cat_publish_stream_end},
    .subscribe = {.open = cat_subscribe_open,
                  .message = cat_subscribe_message,
                  .end = cat_subscribe_end},
    .read = cat_rpc_read,
};
static const struct chassis_method_options options[] = {
    {.method = "Publish", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true, .encoded = true},
    {.method = "PublishStream",
     .access = CHASSIS_ACCESS_SERVICE,
     .never_blocks = true,
     .encoded = true},
    {.method = "Read", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true, .idempotent = true},
    {.method = "*", .access = CHASSIS_ACCESS_SERVICE, .never_blocks = true},
    {.method = NULL},
};

struct chassis_service cat_event_service(struct cat_views *views)
{
    struct chassis_service service = events_event_service_service(&handlers, views);
    service.options = options;
    return service;
}
