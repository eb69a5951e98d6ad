#include "base/assert.h"
#include "catalyst/event/attribute.h"
#include "catalyst/event/json.h"
#include "proto/json_lex.h"
#include "proto/text.h"

static void put_name(struct chassis_buf *out, const char *name)
{
    chassis_buf_append_str(out, out->data[out->len - 1] == '{' ? "\"" : ",\"");
    chassis_buf_append_str(out, name);
    chassis_buf_append_str(out, "\":");
}

static void put_text(struct chassis_buf *out, const char *name, struct chassis_view text)
{
    put_name(out, name);
    text_print_string(text, out);
}

static bool is_json(struct chassis_view text)
{
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    struct lexer l = {text.data, text.data, text.data + text.len, &arena, NULL};
    bool ok = text.len != 0 && lex_skip(&l, 1) == 0 && lex_peek(&l) == 0;
    chassis_arena_fini(&arena);
    return ok;
}

/* JSON without the white space between its tokens, so that an event is one line. */
static void put_json(struct chassis_buf *out, struct chassis_view text)
{
    bool in_string = false;
    chassis_buf_reserve(out, text.len);
    for (size_t i = 0, run = 0; i <= text.len; i++) {
        uint8_t c = i < text.len ? text.data[i] : ' ';
        if (in_string && c == '\\') {
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == ' ' || c == '\n' || c == '\t' || c == '\r')) {
            chassis_buf_append(out, text.data + run, i - run);
            run = i + 1;
        }
    }
}

static void put_schema(struct chassis_buf *out, struct chassis_view schema)
{
    struct chassis_buf uri = {0};
    if (cat_schema_uri(schema, &uri)) {
        put_text(out, "dataschema", chassis_buf_view(&uri));
    }
    chassis_buf_fini(&uri);
}

static void put_attribute(struct chassis_buf *out, const struct cat_event *event,
                          const struct cat_attribute *attribute)
{
    char name[CAT_EVENT_ATTRIBUTE_NAME_MAX + 1];
    enum cat_known known = cat_attribute_known(attribute->name);
    if (known == CAT_KNOWN_DATASCHEMA) {
        put_schema(out, event->dataschema);
        return;
    }
    memcpy(name, attribute->name.data, attribute->name.len);
    name[attribute->name.len] = 0;
    put_name(out, known == CAT_KNOWN_ISDURABLE ? "isdurable" : name);
    size_t quote = out->len;
    switch (attribute->value.type) {
    case CAT_BOOLEAN:
    case CAT_INTEGER:
        cat_value_print(&attribute->value, out);
        break;
    case CAT_STRING:
    case CAT_URI:
    case CAT_URI_REF:
        text_print_string(attribute->value.text, out);
        break;
    case CAT_NONE:
    case CAT_BYTES:
    case CAT_TIMESTAMP:
        chassis_buf_append_byte(out, '"');
        cat_value_print(&attribute->value, out);
        chassis_buf_append_byte(out, '"');
        break;
    }
    CHASSIS_ASSERT(out->len > quote);
}

static void put_base64(struct chassis_buf *out, struct chassis_view data)
{
    put_name(out, "data_base64");
    text_print_base64(data, out);
}

static void put_data(struct chassis_buf *out, const struct cat_event *event)
{
    struct chassis_view type_url, value;
    bool typed = event->datacontenttype.data != NULL;
    switch (event->data_kind) {
    case CAT_DATA_NONE:
        break;
    case CAT_DATA_BINARY:
        put_base64(out, event->data);
        break;
    case CAT_DATA_TEXT:
        if (!typed || !cat_media_type_is_json(event->datacontenttype)) {
            put_text(out, "data", event->data);
        } else if (is_json(event->data)) {
            put_name(out, "data");
            put_json(out, event->data);
        } else {
            put_base64(out, event->data);
        }
        break;
    case CAT_DATA_PROTO:
        cat_event_proto(event, &type_url, &value);
        if (!typed) {
            put_text(out, "datacontenttype", chassis_view_str("application/protobuf"));
        }
        if (event->dataschema.data == NULL) {
            put_schema(out, type_url);
        }
        put_base64(out, value);
        break;
    }
}

void cat_json_write(const struct cat_event *event, struct chassis_buf *out)
{
    chassis_buf_reserve(out, event->bytes.len + 128);
    chassis_buf_append_byte(out, '{');
    put_text(out, "specversion", event->spec_version);
    put_text(out, "id", event->id);
    put_text(out, "source", event->source);
    put_text(out, "type", event->type);
    for (uint32_t i = 0; i < event->attribute_count; i++) {
        struct cat_attribute attribute = cat_event_attribute_at(event, i);
        put_attribute(out, event, &attribute);
    }
    put_data(out, event);
    chassis_buf_append_byte(out, '}');
}
