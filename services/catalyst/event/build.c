#include "catalyst/event/build.h"

#include "base/bytes.h"
#include "catalyst/event/attribute.h"
#include "catalyst/event/wire.h"

static void put_block(struct chassis_buf *out, uint32_t number, struct chassis_view bytes)
{
    chassis_buf_append_byte(out, (uint8_t)(number << 3 | CAT_WIRE_BYTES)); /* all below 16 */
    chassis_buf_append_block(out, bytes);
}

static void put_varint(struct chassis_buf *out, uint32_t number, uint64_t value)
{
    chassis_buf_append_byte(out, (uint8_t)(number << 3 | CAT_WIRE_VARINT));
    chassis_buf_append_varint(out, value);
}

static size_t varint_size(uint64_t value)
{
    size_t n = 1;
    for (; value >= 0x80; value >>= 7) {
        n++;
    }
    return n;
}

void cat_build_required(struct chassis_buf *out, const char *name, struct chassis_view text)
{
    static const struct {
        const char *name;
        uint32_t number;
    } fields[] = {{"id", CAT_FIELD_ID},
                  {"source", CAT_FIELD_SOURCE},
                  {"specversion", CAT_FIELD_SPEC_VERSION},
                  {"type", CAT_FIELD_TYPE}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(fields[i].name, name) == 0) {
            put_block(out, fields[i].number, text);
            return;
        }
    }
    CHASSIS_PANIC("'%s' is no required attribute", name);
}

static size_t timestamp_size(struct cat_timestamp t)
{
    return (t.seconds != 0 ? 1 + varint_size((uint64_t)t.seconds) : 0) +
           (t.nanos != 0 ? 1 + varint_size((uint64_t)t.nanos) : 0);
}

/* Of the CloudEventAttributeValue. */
static size_t value_size(const struct cat_value *value)
{
    size_t len = 0;
    switch (value->type) {
    case CAT_NONE:
        return 0;
    case CAT_BOOLEAN:
        return 2;
    case CAT_INTEGER:
        return 1 + varint_size((uint64_t)(int64_t)value->integer);
    case CAT_STRING:
    case CAT_BYTES:
    case CAT_URI:
    case CAT_URI_REF:
        len = value->text.len;
        break;
    case CAT_TIMESTAMP:
        len = timestamp_size(value->time);
        break;
    }
    return 1 + varint_size(len) + len;
}

static void put_value(struct chassis_buf *out, const struct cat_value *value)
{
    switch (value->type) {
    case CAT_NONE:
        break;
    case CAT_BOOLEAN:
        put_varint(out, CAT_BOOLEAN, value->boolean);
        break;
    case CAT_INTEGER:
        put_varint(out, CAT_INTEGER, (uint64_t)(int64_t)value->integer);
        break;
    case CAT_STRING:
    case CAT_BYTES:
    case CAT_URI:
    case CAT_URI_REF:
        put_block(out, (uint32_t)value->type, value->text);
        break;
    case CAT_TIMESTAMP:
        chassis_buf_append_byte(out, CAT_TIMESTAMP << 3 | CAT_WIRE_BYTES);
        chassis_buf_append_varint(out, timestamp_size(value->time));
        if (value->time.seconds != 0) {
            put_varint(out, CAT_TIMESTAMP_SECONDS, (uint64_t)value->time.seconds);
        }
        if (value->time.nanos != 0) {
            put_varint(out, CAT_TIMESTAMP_NANOS, (uint64_t)value->time.nanos);
        }
        break;
    }
}

void cat_build_attribute(struct chassis_buf *out, struct chassis_view name,
                         const struct cat_value *value)
{
    if (value->type == CAT_NONE) {
        return;
    }
    CHASSIS_ASSERT(cat_attribute_known(name) != CAT_KNOWN_RESERVED);
    size_t message = value_size(value);
    size_t entry = 1 + varint_size(name.len) + name.len + 1 + varint_size(message) + message;
    chassis_buf_append_byte(out, CAT_FIELD_ATTRIBUTES << 3 | CAT_WIRE_BYTES);
    chassis_buf_append_varint(out, entry);
    put_block(out, CAT_ENTRY_KEY, name);
    chassis_buf_append_byte(out, CAT_ENTRY_VALUE << 3 | CAT_WIRE_BYTES);
    chassis_buf_append_varint(out, message);
    put_value(out, value);
}

void cat_build_data(struct chassis_buf *out, enum cat_data kind, struct chassis_view data)
{
    if (kind != CAT_DATA_NONE) {
        put_block(out, (uint32_t)kind, data);
    }
}

void cat_event_build(const struct cat_event_parts *parts, struct chassis_buf *out)
{
    const struct {
        uint32_t number;
        struct chassis_view text;
    } fields[] = {
        {CAT_FIELD_ID, parts->id},
        {CAT_FIELD_SOURCE, parts->source},
        {CAT_FIELD_SPEC_VERSION,
         parts->spec_version.len != 0 ? parts->spec_version : chassis_view_str("1.0")},
        {CAT_FIELD_TYPE, parts->type},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (fields[i].text.len != 0) {
            put_block(out, fields[i].number, fields[i].text);
        }
    }
    for (size_t i = 0; i < parts->attribute_count; i++) {
        cat_build_attribute(out, parts->attributes[i].name, &parts->attributes[i].value);
    }
    cat_build_data(out, parts->data_kind, parts->data);
}

static bool is_edited(struct chassis_view name, const struct cat_attribute *edits, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (chassis_view_eq(name, edits[i].name)) {
            return true;
        }
    }
    return false;
}

void cat_event_edit(const struct cat_event *event, const struct cat_attribute *edits,
                    size_t edit_count, struct chassis_buf *out)
{
    const uint8_t *p = event->bytes.data, *end = cat_wire_end(event->bytes), *copied = p;
    uint32_t slot = 0;
    CHASSIS_ASSERT(edit_count <= CAT_EVENT_ATTRIBUTES_MAX);
    chassis_buf_reserve(out, event->bytes.len + 64 * edit_count);
    while (p < end) {
        struct cat_field field;
        const uint8_t *begin = p;
        p = cat_wire_next(p, end, &field);
        CHASSIS_ASSERT(p != NULL); /* it was parsed */
        if (field.number != CAT_FIELD_ATTRIBUTES) {
            continue;
        }
        /* slots are in the order of the bytes */
        const struct cat_slot *at = &event->slots[slot++];
        struct chassis_view name = chassis_view(event->bytes.data + at->name_at, at->name_len);
        if (is_edited(name, edits, edit_count)) {
            chassis_buf_append(out, copied, (size_t)(begin - copied));
            copied = p;
        }
    }
    chassis_buf_append(out, copied, (size_t)(end - copied));
    for (size_t i = 0; i < edit_count; i++) {
        cat_build_attribute(out, edits[i].name, &edits[i].value);
    }
}

void cat_batch_append(struct chassis_buf *batch, struct chassis_view event)
{
    put_block(batch, CAT_BATCH_EVENTS, event);
}
