#include "test_service.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <chassis/call.h>

#include "grpc/testing/test.chassis.h"

enum { SIZE_MAX_BYTES = 16 << 20 };

#define TRAILING "x-grpc-test-echo-trailing-bin"
#define INITIAL  "x-grpc-test-echo-initial"

/* Cancellation comes on another role than the handler: who is first ends the call. */
struct stream {
    atomic_bool ended;
    int64_t total;
};

static void echo_metadata(struct chassis_call *call)
{
    const char *initial = chassis_call_metadata(call, INITIAL);
    const char *trailing = chassis_call_metadata(call, TRAILING);
    if (initial != NULL) {
        chassis_call_set_header(call, INITIAL, chassis_view_str(initial));
    }
    if (trailing != NULL) {
        chassis_call_set_trailer(call, TRAILING, chassis_view_str(trailing));
    }
}

static void empty_call(struct chassis_call *call, const Grpc__Testing__Empty *req)
{
    Grpc__Testing__Empty res = GRPC__TESTING__EMPTY__INIT;
    interop_test_service_empty_call_reply(call, &res);
}

/* Zeroes of the size asked for, in the call's memory; false if that is not to be had. */
static bool payload_of(struct chassis_call *call, int32_t size, Grpc__Testing__Payload *ret_payload)
{
    if (size < 0 || size > SIZE_MAX_BYTES) {
        return false;
    }
    ret_payload->body.data = chassis_arena_zalloc(chassis_call_arena(call), (size_t)size + 1);
    ret_payload->body.len = (size_t)size;
    return ret_payload->body.data != NULL;
}

static void unary_call(struct chassis_call *call, const Grpc__Testing__SimpleRequest *req)
{
    Grpc__Testing__SimpleResponse res = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    echo_metadata(call);
    if (req->response_status != NULL && req->response_status->code != 0) {
        chassis_call_fail(call, chassis_status_from_grpc(req->response_status->code), "%s",
                          req->response_status->message);
    } else if (!payload_of(call, req->response_size, &payload)) {
        chassis_call_fail(call, CHASSIS_INVALID_ARGUMENT, "response_size %d is not within 0…%d",
                          req->response_size, SIZE_MAX_BYTES);
    } else {
        res.payload = &payload;
        interop_test_service_unary_call_reply(call, &res);
    }
}

static void cancelled(struct chassis_call *call, void *data)
{
    struct stream *s = data;
    if (!atomic_exchange(&s->ended, true)) {
        chassis_call_fail(call, CHASSIS_CANCELLED, "cancelled");
    }
}

static struct stream *stream_open(struct chassis_call *call)
{
    struct stream *s = chassis_arena_zalloc(chassis_call_arena(call), sizeof *s);
    chassis_call_set_state(call, s);
    echo_metadata(call);
    chassis_call_on_cancel(call, cancelled, s);
    return s;
}

static void stream_fail(struct chassis_call *call, int code, const char *text)
{
    struct stream *s = chassis_call_state(call);
    if (!atomic_exchange(&s->ended, true)) {
        chassis_call_fail(call, code, "%s", text);
    }
}

static void stream_finish(struct chassis_call *call)
{
    struct stream *s = chassis_call_state(call);
    if (!atomic_exchange(&s->ended, true)) {
        chassis_call_finish(call);
    }
}

/* One answer for each of the request's parameters; false if the call was ended. */
static bool answer(struct chassis_call *call, const Grpc__Testing__StreamingOutputCallRequest *req)
{
    for (size_t i = 0; i < req->n_response_parameters; i++) {
        const Grpc__Testing__ResponseParameters *p = req->response_parameters[i];
        Grpc__Testing__StreamingOutputCallResponse res =
            GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
        Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
        if (!payload_of(call, p->size, &payload)) {
            stream_fail(call, CHASSIS_INVALID_ARGUMENT, "size of an answer is out of range");
            return false;
        }
        if (p->interval_us > 0) {
            struct timespec pause = {p->interval_us / 1000000, p->interval_us % 1000000 * 1000L};
            nanosleep(&pause, NULL);
        }
        res.payload = &payload;
        int rc = chassis_call_send(call, &res);
        if (rc != 0) {
            stream_fail(call, rc, rc == CHASSIS_CANCELLED ? "cancelled" : "read too slowly");
            return false;
        }
    }
    if (req->response_status != NULL && req->response_status->code != 0) {
        stream_fail(call, chassis_status_from_grpc(req->response_status->code),
                    req->response_status->message);
        return false;
    }
    return true;
}

static void output_call(struct chassis_call *call,
                        const Grpc__Testing__StreamingOutputCallRequest *req)
{
    stream_open(call);
    if (answer(call, req)) {
        stream_finish(call);
    }
}

static void input_open(struct chassis_call *call)
{
    stream_open(call);
}

static void input_message(struct chassis_call *call,
                          const Grpc__Testing__StreamingInputCallRequest *req)
{
    struct stream *s = chassis_call_state(call);
    s->total += req->payload != NULL ? (int64_t)req->payload->body.len : 0;
}

static void input_end(struct chassis_call *call)
{
    struct stream *s = chassis_call_state(call);
    Grpc__Testing__StreamingInputCallResponse res =
        GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    res.aggregated_payload_size = (int32_t)s->total;
    if (!atomic_exchange(&s->ended, true)) {
        chassis_call_reply(call, &res);
    }
}

static void duplex_message(struct chassis_call *call,
                           const Grpc__Testing__StreamingOutputCallRequest *req)
{
    answer(call, req);
}

static const struct interop_test_service_handlers handlers = {
    .empty_call = empty_call,
    .unary_call = unary_call,
    .cacheable_unary_call = unary_call,
    .streaming_output_call = output_call,
    .streaming_input_call = {input_open, input_message, input_end},
    .full_duplex_call = {input_open, duplex_message, stream_finish},
    .half_duplex_call = {input_open, duplex_message, stream_finish},
};

struct chassis_service test_service(void)
{
    return interop_test_service_service(&handlers, NULL);
}
