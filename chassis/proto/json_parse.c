/* JSON → wire bytes, driven by a descriptor alone (see json_print.c). A message is written in place:
 * its length is put before it when it is known. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "proto/json_parse.h"
#include "proto/text.h"
#include "proto/wire.h"

size_t parse_block_begin(struct chassis_buf *out)
{
    chassis_buf_append_byte(out, 0);
    return out->len;
}

void parse_block_end(struct chassis_buf *out, size_t begin)
{
    uint8_t head[10];
    size_t len = out->len - begin, n = 0;
    for (uint64_t v = len; n == 0 || v != 0; v >>= 7) {
        head[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
    }
    chassis_buf_reserve(out, n);
    memmove(out->data + begin - 1 + n, out->data + begin, len);
    memcpy(out->data + begin - 1, head, n);
    out->len = begin - 1 + n + len;
}

static int expected(struct parser *p, const ProtobufCFieldDescriptor *field, const char *what)
{
    return lex_fail(&p->l, CHASSIS_MALFORMED, "field '%s': %s expected", field->name, what);
}

static uint64_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint64_t double_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A number of any type from its text, as the 64 bits that go on the wire. */
static int number_from_text(struct parser *p, const ProtobufCFieldDescriptor *field,
                            struct chassis_view text, bool quoted, uint64_t *ret_value)
{
    int64_t i = 0;
    double d = 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        if (!text_parse_i64(text, INT32_MIN, INT32_MAX, &i)) {
            return expected(p, field, "a signed 32-bit integer is");
        }
        *ret_value = field->type == PROTOBUF_C_TYPE_INT32    ? (uint64_t)i
                     : field->type == PROTOBUF_C_TYPE_SINT32 ? wire_zigzag_encode(i)
                                                             : (uint32_t)i;
        return 0;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        if (!text_parse_i64(text, INT64_MIN, INT64_MAX, &i)) {
            return expected(p, field, "a signed 64-bit integer is");
        }
        *ret_value = field->type == PROTOBUF_C_TYPE_SINT64 ? wire_zigzag_encode(i) : (uint64_t)i;
        return 0;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return text_parse_u64(text, UINT32_MAX, ret_value)
                   ? 0
                   : expected(p, field, "an unsigned 32-bit integer is");
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return text_parse_u64(text, UINT64_MAX, ret_value)
                   ? 0
                   : expected(p, field, "an unsigned 64-bit integer is");
    case PROTOBUF_C_TYPE_FLOAT:
        /* what rounds to infinity is out of range, what is infinity is not */
        if (!text_parse_double(text, quoted, &d) ||
            (d - d == 0 && (d > 3.4028235677973366e38 || d < -3.4028235677973366e38))) {
            return expected(p, field, "a 32-bit floating-point number is");
        }
        *ret_value = float_bits((float)d);
        return 0;
    case PROTOBUF_C_TYPE_DOUBLE:
        if (!text_parse_double(text, quoted, &d)) {
            return expected(p, field, "a floating-point number is");
        }
        *ret_value = double_bits(d);
        return 0;
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    CHASSIS_PANIC("field type %d is no number", (int)field->type);
}

static int parse_number(struct parser *p, const ProtobufCFieldDescriptor *field,
                        uint64_t *ret_value)
{
    struct chassis_view text;
    bool quoted = lex_peek(&p->l) == '"';
    if (!quoted && lex_peek(&p->l) != '-') {
        return expected(p, field, "a number is");
    }
    int rc = quoted ? lex_string(&p->l, &text) : lex_number(&p->l, &text);
    return rc != 0 ? rc : number_from_text(p, field, text, quoted, ret_value);
}

static int parse_enum(struct parser *p, const ProtobufCFieldDescriptor *field, uint64_t *ret_value)
{
    const ProtobufCEnumDescriptor *type = (const ProtobufCEnumDescriptor *)field->descriptor;
    struct chassis_view text;
    int64_t number;
    if (schema_is_null_value(field) && lex_peek(&p->l) == 'n') {
        *ret_value = 0;
        return lex_word(&p->l, "null");
    }
    if (lex_peek(&p->l) == '-') {
        int rc = lex_number(&p->l, &text);
        if (rc != 0 || text_parse_i64(text, INT32_MIN, INT32_MAX, &number)) {
            *ret_value = rc == 0 ? (uint64_t)number : 0;
            return rc;
        }
        return expected(p, field, "a 32-bit enum number is");
    }
    if (lex_peek(&p->l) != '"') {
        return expected(p, field, "the name or number of an enum value is");
    }
    int rc = lex_string(&p->l, &text);
    if (rc != 0) {
        return rc;
    }
    for (unsigned i = 0; i < type->n_value_names; i++) {
        if (chassis_view_eq(text, chassis_view_str(type->values_by_name[i].name))) {
            *ret_value = (uint64_t)(int64_t)type->values[type->values_by_name[i].index].value;
            return 0;
        }
    }
    return lex_fail(&p->l, CHASSIS_MALFORMED, "field '%s': %s has no value '%.*s'", field->name,
                    type->name, CHASSIS_VIEW_ARG(text));
}

static int parse_bool(struct parser *p, const ProtobufCFieldDescriptor *field, uint64_t *ret_value)
{
    char c = lex_peek(&p->l);
    if (c != 't' && c != 'f') {
        return expected(p, field, "true or false");
    }
    *ret_value = c == 't';
    return lex_word(&p->l, c == 't' ? "true" : "false");
}

int parse_base64(struct parser *p, const ProtobufCFieldDescriptor *field,
                 struct chassis_view *ret_bytes)
{
    struct chassis_view text;
    if (lex_peek(&p->l) != '"') {
        return expected(p, field, "base64 text is");
    }
    int rc = lex_string(&p->l, &text);
    if (rc != 0) {
        return rc;
    }
    uint8_t *data = chassis_arena_alloc(p->l.arena, text.len + 1);
    if (data == NULL) {
        return lex_fail(&p->l, CHASSIS_TOO_LARGE, "field '%s' takes more memory than the call has",
                        field->name);
    }
    size_t len;
    if (!text_parse_base64(text, data, &len)) {
        return expected(p, field, "base64 text is");
    }
    *ret_bytes = chassis_view(data, len);
    return 0;
}

/* Anything but a message, without writing it. */
static int parse_scalar(struct parser *p, const ProtobufCFieldDescriptor *field,
                        struct wire_field *ret_wire)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return parse_bool(p, field, &ret_wire->value);
    case PROTOBUF_C_TYPE_ENUM:
        return parse_enum(p, field, &ret_wire->value);
    case PROTOBUF_C_TYPE_STRING:
        return lex_peek(&p->l) == '"' ? lex_string(&p->l, &ret_wire->bytes)
                                      : expected(p, field, "a string is");
    case PROTOBUF_C_TYPE_BYTES:
        return parse_base64(p, field, &ret_wire->bytes);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return parse_number(p, field, &ret_wire->value);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    CHASSIS_PANIC("field type %d is no scalar", (int)field->type);
}

/* The value alone, as it stands in a packed array or after its tag. */
static void append_value(struct parser *p, ProtobufCType type, const struct wire_field *wire)
{
    switch (wire_type_of(type)) {
    case WIRE_VARINT:
        chassis_buf_append_varint(p->out, wire->value);
        return;
    case WIRE_FIXED32:
        chassis_buf_append_le32(p->out, (uint32_t)wire->value);
        return;
    case WIRE_FIXED64:
        chassis_buf_append_le64(p->out, wire->value);
        return;
    case WIRE_BYTES:
        chassis_buf_append_block(p->out, wire->bytes);
        return;
    }
}

/* One value with its tag. Zero is left out where it is the same as unset, unless `always`. */
int parse_one(struct parser *p, const ProtobufCFieldDescriptor *field, bool always, unsigned depth)
{
    struct wire_field wire = {0};
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        wire_append_tag(p->out, field->id, WIRE_BYTES);
        size_t begin = parse_block_begin(p->out);
        int rc = parse_message(p, (const ProtobufCMessageDescriptor *)field->descriptor, depth + 1);
        parse_block_end(p->out, begin);
        return rc;
    }
    int rc = parse_scalar(p, field, &wire);
    if (rc == 0 && (always || wire.value != 0 || wire.bytes.len != 0)) {
        wire_append_tag(p->out, field->id, wire_type_of(field->type));
        append_value(p, field->type, &wire);
    }
    return rc;
}

int parse_array(struct parser *p, const ProtobufCFieldDescriptor *field, unsigned depth)
{
    bool packed = (field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) && wire_packable(field->type);
    if (lex_peek(&p->l) != '[') {
        return expected(p, field, "an array is");
    }
    int rc = lex_expect(&p->l, '[');
    if (rc != 0 || lex_take(&p->l, ']')) {
        return rc;
    }
    size_t begin = 0;
    if (packed) {
        wire_append_tag(p->out, field->id, WIRE_BYTES);
        begin = parse_block_begin(p->out);
    }
    do {
        struct wire_field wire = {0};
        if (!packed) {
            rc = parse_one(p, field, true, depth);
        } else if ((rc = parse_scalar(p, field, &wire)) == 0) {
            append_value(p, field->type, &wire);
        }
    } while (rc == 0 && lex_take(&p->l, ','));
    if (packed) {
        parse_block_end(p->out, begin);
    }
    return rc != 0 ? rc : lex_expect(&p->l, ']');
}

/* The key of a map entry comes as a string whatever its type. */
static int append_key(struct parser *p, const ProtobufCFieldDescriptor *field,
                      struct chassis_view text)
{
    struct wire_field wire = {.bytes = text};
    int rc = 0;
    if (field->type == PROTOBUF_C_TYPE_BOOL) {
        wire.value = chassis_view_eq(text, chassis_view_str("true"));
        if (!wire.value && !chassis_view_eq(text, chassis_view_str("false"))) {
            return expected(p, field, "true or false");
        }
    } else if (field->type != PROTOBUF_C_TYPE_STRING) {
        rc = number_from_text(p, field, text, true, &wire.value);
    }
    if (rc == 0) {
        wire_append_tag(p->out, 1, wire_type_of(field->type));
        append_value(p, field->type, &wire);
    }
    return rc;
}

int parse_map(struct parser *p, const ProtobufCFieldDescriptor *field,
              const ProtobufCMessageDescriptor *entry, unsigned depth)
{
    struct chassis_view key;
    if (lex_peek(&p->l) != '{') {
        return expected(p, field, "an object is");
    }
    int rc = lex_expect(&p->l, '{');
    if (rc != 0 || lex_take(&p->l, '}')) {
        return rc;
    }
    do {
        if ((rc = lex_string(&p->l, &key)) != 0 || (rc = lex_expect(&p->l, ':')) != 0) {
            return rc;
        }
        wire_append_tag(p->out, field->id, WIRE_BYTES);
        size_t begin = parse_block_begin(p->out);
        rc = append_key(p, &entry->fields[0], key);
        if (rc == 0) {
            rc = parse_one(p, &entry->fields[1], true, depth + 1);
        }
        parse_block_end(p->out, begin);
    } while (rc == 0 && lex_take(&p->l, ','));
    return rc != 0 ? rc : lex_expect(&p->l, '}');
}

/* null means "not there", but for the two types that hold a null. */
static bool null_is_value(const ProtobufCFieldDescriptor *field)
{
    return schema_is_null_value(field) ||
           (field->type == PROTOBUF_C_TYPE_MESSAGE &&
            schema_form((const ProtobufCMessageDescriptor *)field->descriptor) == FORM_VALUE);
}

/* A field may come once, a oneof with one member. `seen` has a byte for each field. */
static int check_once(struct parser *p, const ProtobufCMessageDescriptor *type,
                      const ProtobufCFieldDescriptor *field, uint8_t *seen)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (seen[i] && (&type->fields[i] == field || schema_same_oneof(&type->fields[i], field))) {
            return lex_fail(&p->l, CHASSIS_MALFORMED, "field '%s': '%s' is there already",
                            field->name, type->fields[i].name);
        }
    }
    seen[field - type->fields] = 1;
    return 0;
}

static int parse_member(struct parser *p, const ProtobufCMessageDescriptor *type,
                        struct chassis_view key, uint8_t *seen, unsigned depth)
{
    const ProtobufCFieldDescriptor *field = schema_find_field(type, key);
    if (field == NULL) {
        return p->ignore_unknown ? lex_skip(&p->l, depth)
                                 : lex_fail(&p->l, CHASSIS_MALFORMED, "%s has no field '%.*s'",
                                            type->name, CHASSIS_VIEW_ARG(key));
    }
    if (lex_peek(&p->l) == 'n' && !null_is_value(field)) {
        return lex_word(&p->l, "null");
    }
    int rc = check_once(p, type, field, seen);
    if (rc != 0) {
        return rc;
    }
    const ProtobufCMessageDescriptor *entry = schema_map_entry(type, field);
    if (entry != NULL) {
        return parse_map(p, field, entry, depth);
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return lex_peek(&p->l) == 'n' ? lex_word(&p->l, "null") : parse_array(p, field, depth);
    }
    return parse_one(p, field, schema_has_presence(field), depth);
}

/* The members of an object into the message; "@type" is left to parse_any. */
int parse_object(struct parser *p, const ProtobufCMessageDescriptor *type, bool in_any,
                 unsigned depth)
{
    struct chassis_view key;
    uint8_t *seen = chassis_arena_zalloc(p->l.arena, type->n_fields + 1);
    if (seen == NULL) {
        return lex_fail(&p->l, CHASSIS_TOO_LARGE, "the text takes more memory than the call has");
    }
    if (lex_peek(&p->l) != '{') {
        return lex_fail(&p->l, CHASSIS_MALFORMED, "an object is expected for %s", type->name);
    }
    int rc = lex_expect(&p->l, '{');
    if (rc != 0 || lex_take(&p->l, '}')) {
        return rc;
    }
    do {
        if ((rc = lex_string(&p->l, &key)) != 0 || (rc = lex_expect(&p->l, ':')) != 0) {
            return rc;
        }
        bool type_url = in_any && chassis_view_eq(key, chassis_view_str("@type"));
        rc = type_url ? lex_skip(&p->l, depth) : parse_member(p, type, key, seen, depth);
    } while (rc == 0 && lex_take(&p->l, ','));
    return rc != 0 ? rc : lex_expect(&p->l, '}');
}

int parse_message(struct parser *p, const ProtobufCMessageDescriptor *type, unsigned depth)
{
    if (depth > LEX_DEPTH_MAX) {
        return lex_fail(&p->l, CHASSIS_TOO_LARGE, "nested deeper than %d", LEX_DEPTH_MAX);
    }
    enum schema_form form = schema_form(type);
    return form == FORM_PLAIN ? parse_object(p, type, false, depth)
                              : parse_form(p, type, form, depth);
}

int chassis_json_parse_bytes(const ProtobufCMessageDescriptor *type, struct chassis_view json,
                             const struct chassis_type_registry *types, bool ignore_unknown,
                             struct chassis_arena *scratch, struct chassis_buf *out,
                             struct chassis_error *err)
{
    struct parser p = {.types = types, .ignore_unknown = ignore_unknown, .out = out};
    static const uint8_t nothing[1];
    const uint8_t *text = json.data != NULL ? json.data : nothing;
    size_t before = out->len;
    p.l = (struct lexer){text, text, text + json.len, scratch, err};
    int rc = parse_message(&p, type, 1);
    if (rc == 0 && lex_peek(&p.l) != 0) {
        rc = lex_fail(&p.l, CHASSIS_MALFORMED, "text after the value");
    } else if (rc == 0 && p.l.p != p.l.end) {
        rc = lex_fail(&p.l, CHASSIS_MALFORMED, "a NUL after the value");
    }
    if (rc != 0) {
        out->len = before;
    }
    return rc;
}

int chassis_json_parse(const ProtobufCMessageDescriptor *type, struct chassis_view json,
                       const struct chassis_type_registry *types, bool ignore_unknown,
                       struct chassis_arena *arena, ProtobufCMessage **ret_message,
                       struct chassis_error *err)
{
    struct chassis_buf encoded = {0};
    int rc = chassis_json_parse_bytes(type, json, types, ignore_unknown, arena, &encoded, err);
    if (rc == 0) {
        rc =
            chassis_message_decode(type, chassis_buf_view(&encoded), NULL, arena, ret_message, err);
    }
    chassis_buf_fini(&encoded);
    return rc;
}
