#include "catalyst/event/event.h"

#include "base/utf8.h"
#include "catalyst/event/attribute.h"
#include "catalyst/event/check.h"
#include "catalyst/event/wire.h"

static int refuse_wire(struct chassis_error *err, const char *what)
{
    return cat_refuse(err, CAT_RULE_WIRE_FORMAT, "%s is not protobuf wire format", what);
}

/* id, source or type: once, not empty, not long, a String. */
static int required(struct chassis_view bytes, const char *what, enum cat_rule rule,
                    struct chassis_view *ret_text, struct chassis_error *err)
{
    if (ret_text->data != NULL) {
        return cat_refuse(err, CAT_RULE_DUPLICATE, "attribute '%s' is given twice", what);
    }
    if (bytes.len == 0) {
        return cat_refuse(err, rule, "attribute '%s' is empty", what);
    }
    if (bytes.len > CAT_EVENT_ID_SIZE_MAX) {
        return cat_refuse(err, CAT_RULE_SIZE, "attribute '%s' has %zu bytes, at most %d are taken",
                          what, bytes.len, CAT_EVENT_ID_SIZE_MAX);
    }
    if (!cat_check_string(bytes)) {
        return cat_refuse(err, CAT_RULE_STRING,
                          "attribute '%s' is not valid UTF-8 or holds a control character", what);
    }
    *ret_text = bytes;
    return 0;
}

static int take_source(struct cat_event *event, struct chassis_view bytes,
                       struct chassis_error *err)
{
    int rc = required(bytes, "source", CAT_RULE_SOURCE_REQUIRED, &event->source, err);
    if (rc == 0 && !cat_check_uri(bytes, false)) {
        rc = cat_refuse(err, CAT_RULE_SOURCE_URI, "attribute 'source' is no URI reference: '%s'",
                        cat_quote(bytes).text);
    }
    return rc;
}

static int take_specversion(struct cat_event *event, struct chassis_view bytes,
                            struct chassis_error *err)
{
    if (event->spec_version.data != NULL) {
        return cat_refuse(err, CAT_RULE_DUPLICATE, "attribute 'specversion' is given twice");
    }
    if (bytes.len != 3 || memcmp(bytes.data, "1.0", 3) != 0) {
        return cat_refuse(err, CAT_RULE_SPECVERSION, "specversion is '%s', it must be '1.0'",
                          cat_quote(bytes).text);
    }
    event->spec_version = bytes;
    return 0;
}

static int scan_any(struct chassis_view any, struct chassis_view *ret_type_url,
                    struct chassis_view *ret_value)
{
    *ret_type_url = *ret_value = chassis_view(NULL, 0);
    const uint8_t *end = cat_wire_end(any);
    for (const uint8_t *p = any.data; p < end;) {
        struct cat_field field;
        p = cat_wire_next(p, end, &field);
        bool known =
            p != NULL && (field.number == CAT_ANY_TYPE_URL || field.number == CAT_ANY_VALUE);
        if (p == NULL || (known && field.wire != CAT_WIRE_BYTES)) {
            return -1;
        }
        if (known) {
            *(field.number == CAT_ANY_VALUE ? ret_value : ret_type_url) = field.bytes;
        }
    }
    return ret_type_url->len != 0 && chassis_utf8_valid(*ret_type_url) ? 0 : -1;
}

void cat_event_proto(const struct cat_event *event, struct chassis_view *ret_type_url,
                     struct chassis_view *ret_value)
{
    CHASSIS_ASSERT(event->data_kind == CAT_DATA_PROTO);
    int rc = scan_any(event->data, ret_type_url, ret_value);
    CHASSIS_ASSERT(rc == 0);
}

static int take_data(struct cat_event *event, const struct cat_field *field,
                     struct chassis_error *err)
{
    struct chassis_view type_url, value;
    if (event->data_kind != CAT_DATA_NONE) {
        return cat_refuse(err, CAT_RULE_DATA_ONCE, "the event has data twice");
    }
    if (field->number == CAT_DATA_TEXT && !chassis_utf8_valid(field->bytes)) {
        return cat_refuse(err, CAT_RULE_DATA_TEXT,
                          "text_data is not valid UTF-8 or holds a NUL: send it as binary_data");
    }
    if (field->number == CAT_DATA_PROTO && scan_any(field->bytes, &type_url, &value) != 0) {
        return cat_refuse(err, CAT_RULE_DATA_PROTO,
                          "proto_data is not a google.protobuf.Any with a type_url");
    }
    event->data_kind = (enum cat_data)field->number;
    event->data = field->bytes;
    return 0;
}

static int take(struct cat_event *event, const struct cat_field *field, struct chassis_error *err)
{
    if (field->number > CAT_DATA_PROTO) {
        return 0; /* of a later version of the message */
    }
    if (field->wire != CAT_WIRE_BYTES) {
        return cat_refuse(err, CAT_RULE_WIRE_FORMAT, "field %u of the event has wire type %d",
                          field->number, (int)field->wire);
    }
    switch (field->number) {
    case CAT_FIELD_ID:
        return required(field->bytes, "id", CAT_RULE_ID_REQUIRED, &event->id, err);
    case CAT_FIELD_SOURCE:
        return take_source(event, field->bytes, err);
    case CAT_FIELD_SPEC_VERSION:
        return take_specversion(event, field->bytes, err);
    case CAT_FIELD_TYPE:
        return required(field->bytes, "type", CAT_RULE_TYPE_REQUIRED, &event->type, err);
    case CAT_FIELD_ATTRIBUTES:
        return cat_attribute_take(event, field->bytes, err);
    default:
        return take_data(event, field, err);
    }
}

/* What only the whole event shows. */
static int check_whole(const struct cat_event *event, struct chassis_error *err)
{
    if (event->id.data == NULL) {
        return cat_refuse(err, CAT_RULE_ID_REQUIRED, "attribute 'id' is missing");
    }
    if (event->source.data == NULL) {
        return cat_refuse(err, CAT_RULE_SOURCE_REQUIRED, "attribute 'source' is missing");
    }
    if (event->type.data == NULL) {
        return cat_refuse(err, CAT_RULE_TYPE_REQUIRED, "attribute 'type' is missing");
    }
    if (event->spec_version.data == NULL) {
        return cat_refuse(err, CAT_RULE_SPECVERSION, "specversion is missing, it must be '1.0'");
    }
    if (event->has_notbefore && event->delay_ms >= 0) {
        return cat_refuse(err, CAT_RULE_DELAY, "'notbefore' and 'delayms' are given both");
    }
    /* The protobuf format puts the type URL of a message there, which may lack the scheme. */
    if (event->dataschema.data != NULL &&
        !cat_check_uri(event->dataschema, event->data_kind != CAT_DATA_PROTO)) {
        return cat_refuse(err, CAT_RULE_DATASCHEMA_URI, "attribute 'dataschema' is no URI: '%s'",
                          cat_quote(event->dataschema).text);
    }
    return 0;
}

int cat_event_parse(struct chassis_view bytes, struct cat_event *ret_event,
                    struct chassis_error *err)
{
    if (bytes.len > CAT_EVENT_SIZE_MAX) {
        return cat_refuse(err, CAT_RULE_EVENT_SIZE, "the event has %zu bytes, at most %d are taken",
                          bytes.len, CAT_EVENT_SIZE_MAX);
    }
    memset(ret_event, 0, offsetof(struct cat_event, slots));
    ret_event->bytes = bytes;
    ret_event->durable = -1;
    ret_event->delay_ms = -1;
    const uint8_t *end = cat_wire_end(bytes);
    for (const uint8_t *p = bytes.data; p < end;) {
        struct cat_field field;
        p = cat_wire_next(p, end, &field);
        if (p == NULL) {
            return refuse_wire(err, "the event");
        }
        int rc = take(ret_event, &field, err);
        if (rc != 0) {
            return rc;
        }
    }
    return check_whole(ret_event, err);
}

int cat_batch_next(struct chassis_view *rest, struct chassis_view *ret_event,
                   struct chassis_error *err)
{
    const uint8_t *p = rest->data, *end = cat_wire_end(*rest);
    while (p < end) {
        struct cat_field field;
        p = cat_wire_next(p, end, &field);
        if (p == NULL || (field.number == CAT_BATCH_EVENTS && field.wire != CAT_WIRE_BYTES)) {
            return refuse_wire(err, "the batch");
        }
        if (field.number == CAT_BATCH_EVENTS) {
            *rest = chassis_view(p, (size_t)(end - p));
            *ret_event = field.bytes;
            return 1;
        }
    }
    *rest = chassis_view(end, 0);
    return 0;
}
