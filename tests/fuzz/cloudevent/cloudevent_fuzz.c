/* Any bytes as an event: refused, or protobuf-c reads the same from them, they survive being taken
 * apart and built again, and they go through JSON and HTTP and come back. */
#include <stdlib.h>

#include "catalyst/event/build.h"
#include "catalyst/event/http.h"
#include "catalyst/event/json.h"
#include "core/message_broker/actors/v1/actors.pb-c.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void protobuf_agrees(const struct cat_event *event)
{
    typedef Core__MessageBroker__Actors__V1__CloudEvent message;
    message *m = core__message_broker__actors__v1__cloud_event__unpack(NULL, event->bytes.len,
                                                                       event->bytes.data);
    CHECK(m != NULL);
    CHECK(chassis_view_eq(event->id, chassis_view_str(m->id)));
    CHECK(chassis_view_eq(event->source, chassis_view_str(m->source)));
    CHECK(chassis_view_eq(event->type, chassis_view_str(m->type)));
    CHECK(m->n_attributes == event->attribute_count);
    for (uint32_t i = 0; i < event->attribute_count; i++) {
        struct cat_attribute a = cat_event_attribute_at(event, i);
        CHECK(chassis_view_eq(a.name, chassis_view_str(m->attributes[i]->key)));
        CHECK(m->attributes[i]->value != NULL);
        CHECK((int)m->attributes[i]->value->attr_case == (int)a.value.type);
        CHECK(a.value.type != CAT_INTEGER ||
              m->attributes[i]->value->ce_integer == a.value.integer);
        CHECK(a.value.type != CAT_TIMESTAMP ||
              m->attributes[i]->value->ce_timestamp->seconds == a.value.time.seconds);
    }
    CHECK((int)m->data_case == (int)event->data_kind);
    CHECK(m->data_case != 7 || chassis_view_eq(event->data, chassis_view_str(m->text_data)));
    core__message_broker__actors__v1__cloud_event__free_unpacked(m, NULL);
}

static void same(const struct cat_event *a, const struct cat_event *b)
{
    struct cat_value value;
    CHECK(chassis_view_eq(a->id, b->id) && chassis_view_eq(a->source, b->source));
    CHECK(chassis_view_eq(a->type, b->type) && a->attribute_count == b->attribute_count);
    for (uint32_t i = 0; i < a->attribute_count; i++) {
        struct cat_attribute attribute = cat_event_attribute_at(a, i);
        CHECK(cat_event_attribute(b, attribute.name, &value));
        CHECK(cat_value_eq(&attribute.value, &value));
    }
    CHECK(a->data_kind == b->data_kind && chassis_view_eq(a->data, b->data));
    CHECK(a->delay_ms == b->delay_ms && a->durable == b->durable && a->has_time == b->has_time);
}

static void builds_again(const struct cat_event *event)
{
    struct cat_attribute attributes[CAT_EVENT_ATTRIBUTES_MAX];
    struct cat_attribute extra = {chassis_view_str("zzz"), cat_value_integer(7)};
    struct cat_event again;
    struct chassis_buf bytes = {0};
    for (uint32_t i = 0; i < event->attribute_count; i++) {
        attributes[i] = cat_event_attribute_at(event, i);
    }
    struct cat_event_parts parts = {
        event->id,  event->source,          event->type,      {0},
        attributes, event->attribute_count, event->data_kind, event->data};
    cat_event_build(&parts, &bytes);
    CHECK(cat_event_parse(chassis_buf_view(&bytes), &again, NULL) == 0);
    same(event, &again);
    chassis_buf_clear(&bytes);
    cat_event_edit(event, NULL, 0, &bytes);
    CHECK(chassis_view_eq(chassis_buf_view(&bytes), event->bytes));
    chassis_buf_clear(&bytes);
    cat_event_edit(event, &extra, 1, &bytes);
    int rc = cat_event_parse(chassis_buf_view(&bytes), &again, NULL);
    CHECK(rc == 0 || rc == CHASSIS_TOO_LARGE);
    chassis_buf_fini(&bytes);
}

/* An attribute of bytes or a type URL gets longer as text and may be refused for that. */
static bool read_back(int rc, const struct chassis_buf *bytes, struct cat_event *ret_event)
{
    CHECK(rc == 0 || rc == CHASSIS_TOO_LARGE);
    if (rc == 0) {
        CHECK(cat_event_parse(chassis_buf_view(bytes), ret_event, NULL) == 0);
    }
    return rc == 0;
}

static void through_json(const struct cat_event *event)
{
    struct chassis_buf text = {0}, bytes = {0}, once = {0};
    struct cat_event again;
    cat_json_write(event, &text);
    CHECK(memchr(text.data, '\n', text.len) == NULL);
    if (read_back(cat_json_read(chassis_buf_view(&text), &bytes, NULL), &bytes, &again)) {
        CHECK(chassis_view_eq(event->id, again.id) && chassis_view_eq(event->source, again.source));
        cat_json_write(&again, &once);
        chassis_buf_clear(&bytes);
        CHECK(cat_json_read(chassis_buf_view(&once), &bytes, NULL) == 0);
        CHECK(cat_event_parse(chassis_buf_view(&bytes), &again, NULL) == 0);
        chassis_buf_clear(&text);
        cat_json_write(&again, &text);
        CHECK(chassis_view_eq(chassis_buf_view(&text), chassis_buf_view(&once)));
    }
    chassis_buf_fini(&text);
    chassis_buf_fini(&bytes);
    chassis_buf_fini(&once);
}

struct headers {
    struct cat_http_header header[CAT_EVENT_ATTRIBUTES_MAX + 8];
    size_t count;
};

static void take_header(void *data, const char *name, const char *value)
{
    struct headers *h = data;
    for (const char *c = value; *c != 0; c++) {
        CHECK(*c >= 0x20 && *c < 0x7f);
    }
    h->header[h->count++] =
        (struct cat_http_header){chassis_view_str(strdup(name)), chassis_view_str(strdup(value))};
}

static void through_http(const struct cat_event *event)
{
    struct headers h = {.count = 0};
    struct chassis_view body;
    struct chassis_buf bytes = {0};
    struct cat_event again;
    cat_http_write(event, take_header, &h, &body);
    if (read_back(cat_http_read(h.header, h.count, body, &bytes, NULL), &bytes, &again)) {
        CHECK(chassis_view_eq(event->id, again.id) && chassis_view_eq(event->source, again.source));
        CHECK(chassis_view_eq(event->subject, again.subject));
        CHECK(chassis_view_eq(body, again.data));
    }
    for (size_t i = 0; i < h.count; i++) {
        free((void *)(uintptr_t)h.header[i].name.data);
        free((void *)(uintptr_t)h.header[i].value.data);
    }
    chassis_buf_fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chassis_view bytes = chassis_view(data, size), one;
    struct chassis_error err;
    struct cat_event event;
    int rc = cat_event_parse(bytes, &event, &err);
    CHECK(rc == cat_event_parse(bytes, &event, NULL));
    CHECK(rc == 0 || strncmp(err.text, "rule '", 6) == 0);
    if (rc == 0) {
        protobuf_agrees(&event);
        builds_again(&event);
        through_json(&event);
        through_http(&event);
    }
    for (struct chassis_view rest = bytes; cat_batch_next(&rest, &one, NULL) == 1;) {
        CHECK(one.len == 0 || (one.data >= data && one.data + one.len <= data + size));
    }
    return 0;
}
