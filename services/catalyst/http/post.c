/* POST: events in any mode of the binding, published as one. */
#include "catalyst/event/http.h"

#include "base/utf8.h"
#include "catalyst/broker/intake.h"
#include "catalyst/event/json.h"
#include "catalyst/http/http.h"
#include "http/connect.h"

enum { HEADERS_MAX = 128 };

/* ---- the answer ---- */

static void put_text(struct chassis_buf *out, const char *name, struct chassis_view text)
{
    struct chassis_buf copy = {0};
    chassis_buf_append_view(&copy, text);
    chassis_buf_append_byte(&copy, '\0');
    chassis_buf_printf(out, "\"%s\":", name);
    connect_json_string((const char *)copy.data, out);
    chassis_buf_fini(&copy);
}

static void put_refusal(struct chassis_buf *out, uint32_t index,
                        const struct cat_intake_result *result)
{
    chassis_buf_printf(out, "{\"index\":%u,", index);
    put_text(out, "id", result->id);
    chassis_buf_printf(out, ",\"code\":\"%s\",", connect_code(result->code));
    put_text(out, "message", result->text);
    chassis_buf_append_byte(out, '}');
}

static unsigned status_of(int code)
{
    switch (code) {
    case CHASSIS_TOO_LARGE:
        return 413;
    case CHASSIS_NO_SPACE:
        return 507;
    case CHASSIS_BUSY:
        return 503;
    default:
        return connect_http_status(code);
    }
}

static void answer(struct chassis_call *call, const struct cat_intake *intake)
{
    struct chassis_buf out = {0}, refusals = {0};
    unsigned accepted = 0, duplicates = 0, status = 200;
    uint64_t last = 0;
    chassis_buf_append_byte(&out, '{');
    for (uint32_t i = 0; i < intake->n_items; i++) {
        struct cat_intake_result r;
        cat_intake_result(intake, i, &r);
        if (r.code == 0) {
            accepted++;
            duplicates += r.duplicate;
            last = r.duplicate ? last : r.sequence;
            continue;
        }
        if (refusals.len == 0) {
            status = status_of(r.code);
            chassis_buf_printf(&out, "\"code\":\"%s\",", connect_code(r.code));
            put_text(&out, "message", r.text);
            chassis_buf_append_byte(&out, ',');
        } else {
            chassis_buf_append_byte(&refusals, ',');
        }
        put_refusal(&refusals, i, &r);
    }
    chassis_buf_printf(&out,
                       "\"accepted\":%u,\"duplicates\":%u,\"lastSequence\":%llu,\"refusals\":[%s]}",
                       accepted, duplicates, (unsigned long long)last,
                       refusals.len != 0 ? (const char *)refusals.data : "");
    if (status == 503) {
        chassis_call_set_header(call, "retry-after", chassis_view_str("1"));
    }
    chassis_http_answer(call, status, "application/json", chassis_buf_view(&out));
    chassis_buf_fini(&refusals);
    chassis_buf_fini(&out);
}

static void published(struct cat_intake *intake)
{
    answer(intake->options.data, intake);
    cat_intake_free(intake);
}

/* ---- the request ---- */

struct reading {
    struct cat_intake *intake;
    struct chassis_error *err;
    bool too_many;
};

static void read_binary(struct cat_intake *intake, const struct chassis_http_request *request)
{
    struct cat_http_header headers[HEADERS_MAX];
    struct chassis_buf event = {0};
    struct chassis_error err = {0};
    struct chassis_view id = {0};
    size_t n = 0;
    for (size_t i = 0; i < request->n_headers && n < HEADERS_MAX; i++) {
        id = strcmp(request->headers[i].key, "ce-id") == 0 ? request->headers[i].value : id;
        headers[n++] = (struct cat_http_header){chassis_view_str(request->headers[i].key),
                                                request->headers[i].value};
    }
    if (cat_http_read(headers, n, request->body, &event, &err) != 0) {
        id.len = id.len <= CAT_EVENT_ID_SIZE_MAX && chassis_utf8_valid(id) ? id.len : 0;
        cat_intake_refuse(intake, id, &err);
    } else {
        cat_intake_add(intake, chassis_buf_view(&event));
    }
    chassis_buf_fini(&event);
}

static void read_json(struct cat_intake *intake, struct chassis_view body)
{
    struct chassis_buf event = {0};
    struct chassis_error err = {0};
    if (cat_json_read(body, &event, &err) != 0) {
        cat_intake_refuse(intake, chassis_view(NULL, 0), &err);
    } else {
        cat_intake_add(intake, chassis_buf_view(&event));
    }
    chassis_buf_fini(&event);
}

static void read_item(void *data, const struct cat_json_item *item)
{
    struct reading *r = data;
    r->too_many = r->intake->n_items == CAT_BATCH_EVENTS_MAX;
    if (r->too_many) {
        return;
    }
    if (item->status != 0) {
        cat_intake_refuse(r->intake, chassis_view(NULL, 0), item->err);
    } else {
        cat_intake_add(r->intake, item->bytes);
    }
}

static int read_json_batch(struct cat_intake *intake, struct chassis_view body,
                           struct chassis_error *err)
{
    struct reading r = {.intake = intake};
    int rc = cat_json_read_batch(body, read_item, &r, err);
    if (rc == 0 && (r.too_many || intake->n_items == 0)) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "the batch has %s events, must have 1 to %d",
                               r.too_many ? "more" : "no", CAT_BATCH_EVENTS_MAX);
    }
    return rc;
}

/* Into a new intake. What one event does wrong is a refusal in it, not a failure. */
static int read_events(const struct cat_intake_options *options,
                       const struct chassis_http_request *request, enum cat_http_mode mode,
                       struct cat_intake **ret_intake, struct chassis_error *err)
{
    if (mode == CAT_HTTP_PROTOBUF_BATCH) {
        return cat_intake_batch(options, request->body, ret_intake, err);
    }
    struct cat_intake *intake = cat_intake_new(options, mode == CAT_HTTP_JSON_BATCH ? 64 : 1);
    int rc = 0;
    switch (mode) {
    case CAT_HTTP_BINARY:
        read_binary(intake, request);
        break;
    case CAT_HTTP_JSON:
        read_json(intake, request->body);
        break;
    case CAT_HTTP_JSON_BATCH:
        rc = read_json_batch(intake, request->body, err);
        break;
    case CAT_HTTP_PROTOBUF:
        cat_intake_add(intake, request->body);
        break;
    case CAT_HTTP_PROTOBUF_BATCH:
    case CAT_HTTP_UNKNOWN:
        break;
    }
    if (rc != 0) {
        cat_intake_free(intake);
        return rc;
    }
    *ret_intake = intake;
    return 0;
}

void cat_http_post(struct chassis_call *call, const struct chassis_http_request *request)
{
    struct cat_views *views = chassis_call_data(call);
    struct chassis_error err = {0};
    struct cat_intake *intake;
    const char *type = chassis_call_metadata(call, "content-type");
    enum cat_http_mode mode = cat_http_mode(chassis_view_str(type));
    struct cat_intake_options options = {.broker = views->broker,
                                         .loop = views->loop,
                                         .done = published,
                                         .data = call,
                                         .memory = &views->intake_memory};
    if (mode == CAT_HTTP_UNKNOWN) {
        static const char text[] =
            "{\"code\":\"invalid_argument\",\"message\":\"this event format is not known here: "
            "send "
            "application/cloudevents+json, application/cloudevents-batch+json, "
            "application/cloudevents+protobuf, or binary mode\"}";
        chassis_http_answer(call, 415, "application/json", chassis_view_str(text));
        return;
    }
    if (strchr(request->rest, '/') != NULL) {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "no such page: '%.200s'", request->path);
        return;
    }
    if (read_events(&options, request, mode, &intake, &err) != 0) {
        chassis_call_fail_error(call, &err);
        return;
    }
    intake->publish.stream = chassis_arena_copy(&intake->arena, chassis_view_str(request->rest));
    cat_intake_submit(intake);
}
