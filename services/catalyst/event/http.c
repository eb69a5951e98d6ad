#include "catalyst/event/http.h"

#include "base/utf8.h"
#include "catalyst/event/attribute.h"
#include "catalyst/event/build.h"
#include "catalyst/event/check.h"

static const struct {
    enum cat_http_mode mode;
    const char *type;
} modes[] = {
    {CAT_HTTP_JSON, "application/cloudevents+json"},
    {CAT_HTTP_JSON_BATCH, "application/cloudevents-batch+json"},
    {CAT_HTTP_PROTOBUF, "application/cloudevents+protobuf"},
    {CAT_HTTP_PROTOBUF_BATCH, "application/cloudevents-batch+protobuf"},
};

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool begins_with(struct chassis_view text, const char *prefix)
{
    size_t n = strlen(prefix);
    for (size_t i = 0; i < n && text.len >= n; i++) {
        if (lower(text.data[i]) != (uint8_t)prefix[i]) {
            return false;
        }
    }
    return text.len >= n;
}

enum cat_http_mode cat_http_mode(struct chassis_view content_type)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (cat_media_type_is(content_type, modes[i].type)) {
            return modes[i].mode;
        }
    }
    return begins_with(content_type, "application/cloudevents") ? CAT_HTTP_UNKNOWN
                                                                : CAT_HTTP_BINARY;
}

const char *cat_http_content_type(enum cat_http_mode mode)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (modes[i].mode == mode) {
            return modes[i].type;
        }
    }
    CHASSIS_PANIC("mode %d has no content type", (int)mode);
}

void cat_http_encode(struct chassis_view text, struct chassis_buf *out)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c > 0x20 && c < 0x7f && c != '"' && c != '%') {
            chassis_buf_append_byte(out, c);
        } else {
            char code[3] = {'%', hex[c >> 4], hex[c & 15]};
            chassis_buf_append(out, code, 3);
        }
    }
}

static int hex_digit(uint8_t c)
{
    c = lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct chassis_view trim(struct chassis_view text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = chassis_view(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

/* Take the quotes and backslashes off a quoted string, in `out` from `begin` on. */
static bool unquote(struct chassis_buf *out, size_t begin)
{
    size_t to = begin, i = begin + 1;
    for (; i < out->len && out->data[i] != '"'; i++) {
        i += out->data[i] == '\\' && i + 1 < out->len;
        out->data[to++] = out->data[i];
    }
    bool closed = i + 1 == out->len && out->data[i] == '"';
    out->len = to;
    return closed;
}

int cat_http_decode(struct chassis_view value, struct chassis_buf *out, struct chassis_error *err)
{
    size_t begin = out->len, to = begin;
    value = trim(value);
    chassis_buf_append_view(out, value);
    if (value.len != 0 && value.data[0] == '"' && !unquote(out, begin)) {
        out->len = begin;
        return cat_refuse(err, CAT_RULE_STRING, "quoted string without end: %s",
                          cat_quote(value).text);
    }
    for (size_t i = begin; i < out->len; i++) {
        uint8_t c = out->data[i];
        if (c == '%' && out->len - i > 2) {
            int high = hex_digit(out->data[i + 1]), low = hex_digit(out->data[i + 2]);
            if (high >= 0 && low >= 0) {
                c = (uint8_t)(high << 4 | low);
                i += 2;
            }
        }
        out->data[to++] = c;
    }
    out->len = to;
    out->data[to] = 0;
    if (!chassis_utf8_valid(cat_appended(out, begin))) {
        out->len = begin;
        return cat_refuse(err, CAT_RULE_STRING, "not valid UTF-8: %s", cat_quote(value).text);
    }
    return 0;
}

/* A ce-* header: `name` without the prefix. */
static int read_attribute(struct chassis_view name, struct chassis_view value,
                          struct chassis_buf *out, struct chassis_buf *text,
                          struct chassis_error *err)
{
    static const char *const required[] = {"id", "source", "type", "specversion"};
    uint8_t room[CAT_EVENT_ATTRIBUTE_NAME_MAX + 1];
    size_t n = name.len < sizeof room ? name.len : sizeof room; /* one too long is refused */
    for (size_t i = 0; i < n; i++) {
        room[i] = lower(name.data[i]);
    }
    name = chassis_view(room, n);
    chassis_buf_clear(text);
    int rc = cat_http_decode(value, text, err);
    if (rc != 0) {
        chassis_error_wrap(err, "header 'ce-%s'", cat_quote(name).text);
        return rc;
    }
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        if (chassis_view_eq(name, chassis_view_str(required[i]))) {
            cat_build_required(out, required[i], chassis_buf_view(text));
            return 0;
        }
    }
    if ((rc = cat_attribute_name_check(name, err)) != 0) {
        return rc;
    }
    if (cat_attribute_known(name) == CAT_KNOWN_DATACONTENTTYPE) {
        return cat_refuse(err, CAT_RULE_RESERVED,
                          "header 'ce-datacontenttype': Content-Type says that in binary mode");
    }
    struct cat_value typed;
    if (!cat_value_parse(chassis_buf_view(text), cat_attribute_type(name), &typed)) {
        typed = cat_value_string(chassis_buf_view(text)); /* the parse will say what is wrong */
    }
    cat_build_attribute(out, name, &typed);
    return 0;
}

/* The charset parameter, if it is there, is UTF-8 or its subset. */
static bool is_utf8_charset(struct chassis_view type)
{
    for (size_t i = 0; i < type.len; i++) {
        if (type.data[i] != ';') {
            continue;
        }
        struct chassis_view parameter = trim(chassis_view(type.data + i + 1, type.len - i - 1));
        if (begins_with(parameter, "charset=")) {
            parameter = chassis_view(parameter.data + 8, parameter.len - 8);
            return begins_with(parameter, "utf-8") || begins_with(parameter, "\"utf-8\"") ||
                   begins_with(parameter, "us-ascii");
        }
    }
    return true;
}

static bool is_text(struct chassis_view type, struct chassis_view body)
{
    struct chassis_view bare = type;
    for (size_t i = 0; i < type.len && bare.len == type.len; i++) {
        if (type.data[i] == ';') {
            bare = trim(chassis_view(type.data, i));
        }
    }
    bool text = begins_with(type, "text/") || cat_media_type_is_json(type) ||
                cat_media_type_is(type, "application/xml") ||
                (bare.len > 4 && begins_with(chassis_view(bare.data + bare.len - 4, 4), "+xml"));
    return text && is_utf8_charset(type) && chassis_utf8_valid(body);
}

int cat_http_read(const struct cat_http_header *headers, size_t count, struct chassis_view body,
                  struct chassis_buf *out, struct chassis_error *err)
{
    struct chassis_buf text = {0};
    struct chassis_view type = {NULL, 0};
    struct cat_event event;
    size_t begin = out->len;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct chassis_view name = headers[i].name;
        if (begins_with(name, "ce-")) {
            rc = read_attribute(chassis_view(name.data + 3, name.len - 3), headers[i].value, out,
                                &text, err);
        } else if (name.len == 12 && begins_with(name, "content-type")) {
            type = trim(headers[i].value);
        }
    }
    chassis_buf_fini(&text);
    if (rc == 0 && type.len != 0) {
        struct cat_value value = cat_value_string(type);
        cat_build_attribute(out, chassis_view_str("datacontenttype"), &value);
    }
    if (rc == 0 && body.len != 0) {
        cat_build_data(out, is_text(type, body) ? CAT_DATA_TEXT : CAT_DATA_BINARY, body);
    }
    if (rc == 0) {
        rc = cat_event_parse(cat_appended(out, begin), &event, err);
    }
    if (rc != 0) {
        out->len = begin;
    }
    return rc;
}

struct writer {
    void (*header)(void *data, const char *name, const char *value);
    void *data;
    struct chassis_buf plain, value;
};

static void put(struct writer *w, struct chassis_view name, const struct cat_value *value)
{
    char text[CAT_EVENT_ATTRIBUTE_NAME_MAX + 4] = "ce-";
    for (size_t i = 0; i < name.len; i++) {
        text[3 + i] = (char)lower(name.data[i]); /* isDurable */
    }
    text[3 + name.len] = 0;
    chassis_buf_clear(&w->plain);
    chassis_buf_clear(&w->value);
    cat_value_print(value, &w->plain);
    cat_http_encode(chassis_buf_view(&w->plain), &w->value);
    chassis_buf_append(&w->value, "", 0); /* a NUL in any case */
    w->header(w->data, text, (const char *)w->value.data);
}

/* Content-Type goes out as it is: the attribute was checked to be a media type of clean characters,
 * but may hold others than ASCII in a quoted string. */
static void put_type(struct writer *w, struct chassis_view type)
{
    chassis_buf_clear(&w->value);
    for (size_t i = 0; i < type.len; i++) {
        chassis_buf_append_byte(&w->value, type.data[i] < 0x80 ? type.data[i] : '?');
    }
    w->header(w->data, "content-type", (const char *)w->value.data);
}

static void put_schema(struct writer *w, struct chassis_view schema)
{
    struct chassis_buf uri = {0};
    if (cat_schema_uri(schema, &uri)) {
        struct cat_value value = cat_value_string(chassis_buf_view(&uri));
        put(w, chassis_view_str("dataschema"), &value);
    }
    chassis_buf_fini(&uri);
}

static void put_proto(struct writer *w, const struct cat_event *event,
                      struct chassis_view *ret_body)
{
    struct chassis_view type_url;
    cat_event_proto(event, &type_url, ret_body);
    if (event->datacontenttype.data == NULL) {
        put_type(w, chassis_view_str("application/protobuf"));
    }
    if (event->dataschema.data == NULL) {
        put_schema(w, type_url);
    }
}

void cat_http_write(const struct cat_event *event,
                    void (*header)(void *data, const char *name, const char *value), void *data,
                    struct chassis_view *ret_body)
{
    static const char *const required[] = {"specversion", "id", "source", "type"};
    struct writer w = {.header = header, .data = data};
    struct cat_value value;
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        struct chassis_view name = chassis_view_str(required[i]);
        cat_event_attribute(event, name, &value);
        put(&w, name, &value);
    }
    for (uint32_t i = 0; i < event->attribute_count; i++) {
        struct cat_attribute attribute = cat_event_attribute_at(event, i);
        enum cat_known known = cat_attribute_known(attribute.name);
        if (known == CAT_KNOWN_DATACONTENTTYPE) {
            put_type(&w, attribute.value.text);
        } else if (known == CAT_KNOWN_DATASCHEMA) {
            put_schema(&w, attribute.value.text);
        } else {
            put(&w, attribute.name, &attribute.value);
        }
    }
    *ret_body = event->data;
    if (event->data_kind == CAT_DATA_PROTO) {
        put_proto(&w, event, ret_body);
    }
    chassis_buf_fini(&w.plain);
    chassis_buf_fini(&w.value);
}
