#include "diff.h"

#include "proto/text.h"

static void diff_messages(const ProtobufCMessage *from, const ProtobufCMessage *to,
                          const char *prefix, struct fuse_differences *out);

/* The place of a value: a field of a message, or an element of it. */
static const void *field_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (const uint8_t *)message + field->offset;
}

static size_t count_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return message != NULL ? *(const size_t *)(const void *)((const uint8_t *)message +
                                                             field->quantifier_offset)
                           : 0;
}

static size_t size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    }
    return 0;
}

static const void *element_of(const ProtobufCMessage *message,
                              const ProtobufCFieldDescriptor *field, size_t i)
{
    const uint8_t *items = *(const uint8_t *const *)field_of(message, field);
    return i < count_of(message, field) ? items + i * size_of(field->type) : NULL;
}

static bool is_zero(ProtobufCType type, const void *value)
{
    static const uint8_t zeros[8];
    switch (type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)value;
        return text == NULL || text[0] == '\0';
    }
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)value)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(const ProtobufCMessage *const *)value == NULL;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_BOOL:
        break;
    }
    return memcmp(value, zeros, size_of(type)) == 0;
}

/* The value of a singular field; NULL when it is not set. */
static const void *value_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (message == NULL) {
        return NULL;
    }
    const void *value = field_of(message, field);
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        uint32_t which =
            *(const uint32_t *)(const void *)((const uint8_t *)message + field->quantifier_offset);
        return which == field->id ? value : NULL;
    }
    return is_zero(field->type, value) ? NULL : value;
}

static void print_enum(const ProtobufCFieldDescriptor *field, int32_t number,
                       struct chassis_buf *out)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(field->descriptor, number);
    if (value != NULL) {
        text_print_string(chassis_view_str(value->name), out);
    } else {
        chassis_buf_printf(out, "%d", number);
    }
}

static void print_value(const ProtobufCFieldDescriptor *field, const void *value,
                        struct chassis_buf *out)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        chassis_buf_printf(out, "%d", *(const int32_t *)value);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        chassis_buf_printf(out, "%u", *(const uint32_t *)value);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        chassis_buf_printf(out, "\"%lld\"", (long long)*(const int64_t *)value);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        chassis_buf_printf(out, "\"%llu\"", (unsigned long long)*(const uint64_t *)value);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        text_print_float(*(const float *)value, out);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        text_print_double(*(const double *)value, out);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        chassis_buf_append_str(out, *(const protobuf_c_boolean *)value ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        print_enum(field, *(const int32_t *)value, out);
        break;
    case PROTOBUF_C_TYPE_STRING:
        text_print_string(chassis_view_str(*(const char *const *)value), out);
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *bytes = value;
        text_print_base64(chassis_view(bytes->data, bytes->len), out);
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        if (chassis_json_print(*(const ProtobufCMessage *const *)value, NULL, out, NULL) != 0) {
            chassis_buf_append_str(out, "null"); /* what JSON has no form for */
        }
        break;
    }
}

static const char *json_of(const ProtobufCFieldDescriptor *field, const void *value,
                           struct chassis_arena *arena)
{
    struct chassis_buf text = {0};
    if (value != NULL) {
        print_value(field, value, &text);
    }
    const char *copy = chassis_arena_strndup(arena, text.data, text.len);
    chassis_buf_fini(&text);
    return copy;
}

static void add(const char *path, const char *from, const char *to, struct fuse_differences *out)
{
    if (out->n == out->cap) {
        unsigned cap = out->cap != 0 ? out->cap * 2 : 16;
        struct fuse_difference *items = chassis_arena_alloc(out->arena, cap * sizeof *items);
        if (out->n != 0) {
            memcpy(items, out->items, out->n * sizeof *items);
        }
        out->items = items;
        out->cap = cap;
    }
    out->items[out->n++] = (struct fuse_difference){path, from, to};
}

static void diff_values(const ProtobufCFieldDescriptor *field, const void *from, const void *to,
                        const char *path, struct fuse_differences *out)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && from != NULL && to != NULL) {
        const ProtobufCMessageDescriptor *type = field->descriptor;
        if (strncmp(type->name, "google.protobuf.", 16) != 0) { /* those have a form of their own */
            diff_messages(*(const ProtobufCMessage *const *)from,
                          *(const ProtobufCMessage *const *)to,
                          chassis_arena_printf(out->arena, "%s.", path), out);
            return;
        }
    }
    const char *a = json_of(field, from, out->arena), *b = json_of(field, to, out->arena);
    if (strcmp(a, b) != 0) {
        add(path, a, b, out);
    }
}

static void diff_messages(const ProtobufCMessage *from, const ProtobufCMessage *to,
                          const char *prefix, struct fuse_differences *out)
{
    const ProtobufCMessageDescriptor *type = from != NULL ? from->descriptor : to->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
            diff_values(field, value_of(from, field), value_of(to, field),
                        chassis_arena_printf(out->arena, "%s%s", prefix, field->name), out);
            continue;
        }
        size_t n_from = count_of(from, field), n_to = count_of(to, field);
        for (size_t k = 0; k < n_from || k < n_to; k++) {
            diff_values(field, k < n_from ? element_of(from, field, k) : NULL,
                        k < n_to ? element_of(to, field, k) : NULL,
                        chassis_arena_printf(out->arena, "%s%s[%zu]", prefix, field->name, k), out);
        }
    }
}

void fuse_diff(const ProtobufCMessage *from, const ProtobufCMessage *to,
               struct fuse_differences *out)
{
    if (from != NULL || to != NULL) {
        diff_messages(from, to, "", out);
    }
}
