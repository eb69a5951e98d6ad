/* Events between <chassis/plugin/broker.h> and the protobuf format. */
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include <chassis/uuid.h>

#include "base/utf8.h"
#include "broker/internal.h"
#include "os/os.h"
#include "proto/text.h"

typedef Core__MessageBroker__Actors__V1__CloudEvent cloud_event;
typedef Core__MessageBroker__Actors__V1__CloudEvent__AttributesEntry attribute_entry;
typedef Core__MessageBroker__Actors__V1__CloudEvent__CloudEventAttributeValue attribute_value;

#define ATTR(kind)                                                                                 \
    CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_##kind
#define DATA(kind) CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__DATA_##kind

enum { ATTRIBUTES_MAX = 64 };

/* --- to the wire --- */

struct encoding {
    struct chassis_arena arena;
    cloud_event event;
    attribute_entry *entries[ATTRIBUTES_MAX + 3];
};

static char *text_of(struct encoding *e, struct chassis_view v)
{
    return chassis_arena_strndup(&e->arena, v.data, v.len);
}

static attribute_value *add_attribute(struct encoding *e, char *name)
{
    attribute_entry *entry = chassis_arena_alloc(&e->arena, sizeof *entry);
    core__message_broker__actors__v1__cloud_event__attributes_entry__init(entry);
    entry->value = chassis_arena_alloc(&e->arena, sizeof *entry->value);
    core__message_broker__actors__v1__cloud_event__cloud_event_attribute_value__init(entry->value);
    entry->key = name;
    e->entries[e->event.n_attributes++] = entry;
    return entry->value;
}

static void add_text(struct encoding *e, const char *name, struct chassis_view value)
{
    if (value.len != 0) {
        attribute_value *v = add_attribute(e, (char *)(uintptr_t)name);
        v->attr_case = ATTR(STRING);
        v->ce_string = text_of(e, value);
    }
}

static void add_time(struct encoding *e, int64_t time_ns)
{
    attribute_value *v = add_attribute(e, (char *)(uintptr_t) "time");
    v->attr_case = ATTR(TIMESTAMP);
    v->ce_timestamp = chassis_arena_alloc(&e->arena, sizeof *v->ce_timestamp);
    google__protobuf__timestamp__init(v->ce_timestamp);
    v->ce_timestamp->seconds = time_ns / (int64_t)CHASSIS_NS_PER_S;
    v->ce_timestamp->nanos = (int32_t)(time_ns % (int64_t)CHASSIS_NS_PER_S);
}

static bool is_text(struct chassis_view data, struct chassis_view type)
{
    static const char *const texts[] = {"text/", "application/json", "application/xml"};
    bool named = type.len == 0;
    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        named = named || chassis_view_starts_with(type, chassis_view_str(texts[i]));
    }
    named = named ||
            (type.len > 5 && strncasecmp((const char *)type.data + type.len - 5, "+json", 5) == 0);
    return named && chassis_utf8_valid(data);
}

static void set_data(struct encoding *e, const struct chassis_event *event)
{
    if (event->data.len == 0) {
        return;
    }
    if (is_text(event->data, event->content_type)) {
        e->event.data_case = DATA(TEXT_DATA);
        e->event.text_data = text_of(e, event->data);
    } else {
        e->event.data_case = DATA(BINARY_DATA);
        e->event.binary_data.data = (uint8_t *)(uintptr_t)event->data.data;
        e->event.binary_data.len = event->data.len;
    }
}

static int check(const struct chassis_event *event, struct chassis_error *err)
{
    const struct chassis_view texts[] = {event->id, event->source, event->type, event->subject,
                                         event->content_type};
    if (event->type.len == 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "an event needs a type");
    }
    if (event->n_attributes > ATTRIBUTES_MAX) {
        return chassis_error_set(err, CHASSIS_TOO_LARGE, "%zu attributes, at most %d",
                                 event->n_attributes, ATTRIBUTES_MAX);
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] + event->n_attributes; i++) {
        size_t fixed = sizeof texts / sizeof texts[0];
        struct chassis_view v = i < fixed ? texts[i] : event->attributes[i - fixed].value;
        if (v.len != 0 && !chassis_utf8_valid(v)) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "an attribute of the event is not UTF-8 text");
        }
    }
    return 0;
}

int broker_encode(const struct chassis_event *event, const char *source, struct chassis_buf *out,
                  struct chassis_error *err)
{
    struct encoding e;
    char uuid[CHASSIS_UUID_SIZE];
    int rc = check(event, err);
    if (rc != 0) {
        return rc;
    }
    chassis_arena_init(&e.arena, NULL, 0, 0);
    core__message_broker__actors__v1__cloud_event__init(&e.event);
    e.event.attributes = e.entries;
    e.event.spec_version = (char *)(uintptr_t) "1.0";
    if (event->id.len == 0) {
        chassis_uuid(uuid);
    }
    e.event.id = event->id.len != 0 ? text_of(&e, event->id) : uuid;
    e.event.source =
        event->source.len != 0 ? text_of(&e, event->source) : (char *)(uintptr_t)source;
    e.event.type = text_of(&e, event->type);
    add_text(&e, "subject", event->subject);
    add_text(&e, "datacontenttype", event->content_type);
    add_time(&e, event->time_ns != 0 ? event->time_ns : chassis_wall_ns(chassis_clock_posix()));
    for (size_t i = 0; i < event->n_attributes; i++) {
        add_text(&e, text_of(&e, event->attributes[i].name), event->attributes[i].value);
    }
    set_data(&e, event);
    chassis_encode(&e.event, out);
    chassis_arena_fini(&e.arena);
    if (out->len > BROKER_EVENT_BYTES_MAX) {
        rc = chassis_error_set(err, CHASSIS_TOO_LARGE, "an event of %zu bytes, at most %d",
                               out->len, BROKER_EVENT_BYTES_MAX);
        chassis_buf_clear(out);
    }
    return rc;
}

/* --- from the wire --- */

static struct chassis_view copy_text(struct chassis_arena *a, const char *text)
{
    size_t len = strlen(text);
    return chassis_view(chassis_arena_strndup(a, text, len), len); /* a NUL follows */
}

/* Attributes are text here, whatever they are on the wire. */
static struct chassis_view attribute_text(struct chassis_arena *a, const attribute_value *v)
{
    struct chassis_buf text = {0};
    struct chassis_view copy = {0};
    switch (v != NULL ? (int)v->attr_case : 0) {
    case ATTR(STRING):
    case ATTR(URI):
    case ATTR(URI_REF):
        return copy_text(a, v->ce_string); /* one member of the union */
    case ATTR(BOOLEAN):
        return copy_text(a, v->ce_boolean ? "true" : "false");
    case ATTR(INTEGER):
        return copy_text(a, chassis_arena_printf(a, "%" PRId32, v->ce_integer));
    case ATTR(BYTES):
        text_print_base64(chassis_view(v->ce_bytes.data, v->ce_bytes.len), &text);
        break;
    case ATTR(TIMESTAMP):
        text_print_timestamp(v->ce_timestamp->seconds, v->ce_timestamp->nanos, &text);
        break;
    default:
        break;
    }
    if (text.len > 2) { /* printed in quotes */
        copy = chassis_view(chassis_arena_strndup(a, text.data + 1, text.len - 2), text.len - 2);
    }
    chassis_buf_fini(&text);
    return copy;
}

static void take_data(const cloud_event *from, struct chassis_arena *a, struct chassis_event *to)
{
    switch ((int)from->data_case) {
    case DATA(TEXT_DATA):
        to->data = copy_text(a, from->text_data);
        break;
    case DATA(BINARY_DATA):
        to->data =
            chassis_view(chassis_arena_strndup(a, from->binary_data.data, from->binary_data.len),
                         from->binary_data.len);
        break;
    case DATA(PROTO_DATA):
        to->data = chassis_view(
            chassis_arena_strndup(a, from->proto_data->value.data, from->proto_data->value.len),
            from->proto_data->value.len);
        break;
    default:
        break;
    }
}

void broker_decode(const cloud_event *from, struct chassis_arena *a, struct chassis_event *to)
{
    struct chassis_event_attribute *attributes =
        chassis_arena_alloc(a, (from->n_attributes + 1) * sizeof *attributes);
    to->id = copy_text(a, from->id);
    to->source = copy_text(a, from->source);
    to->type = copy_text(a, from->type);
    to->attributes = attributes;
    for (size_t i = 0; i < from->n_attributes; i++) {
        const attribute_entry *entry = from->attributes[i];
        if (strcmp(entry->key, "subject") == 0) {
            to->subject = attribute_text(a, entry->value);
        } else if (strcmp(entry->key, "datacontenttype") == 0) {
            to->content_type = attribute_text(a, entry->value);
        } else if (strcmp(entry->key, "time") == 0 && entry->value != NULL &&
                   entry->value->attr_case == ATTR(TIMESTAMP)) {
            to->time_ns = entry->value->ce_timestamp->seconds * (int64_t)CHASSIS_NS_PER_S +
                          entry->value->ce_timestamp->nanos;
        } else {
            attributes[to->n_attributes++] = (struct chassis_event_attribute){
                copy_text(a, entry->key), attribute_text(a, entry->value)};
        }
    }
    take_data(from, a, to);
    if (from->data_case == DATA(PROTO_DATA) && to->content_type.len == 0) {
        to->content_type = chassis_view_str("application/protobuf");
    }
}
