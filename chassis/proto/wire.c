#include "proto/wire.h"

#include "base/assert.h"
#include "base/bytes.h"

const uint8_t *wire_next(const uint8_t *p, const uint8_t *end, struct wire_field *ret_field)
{
    uint64_t tag;
    p = wire_varint(p, end, &tag);
    if (p == NULL || tag >> 3 == 0 || tag > UINT32_MAX) {
        return NULL;
    }
    ret_field->number = (uint32_t)(tag >> 3);
    switch (tag & 7) {
    case WIRE_VARINT:
        ret_field->type = WIRE_VARINT;
        return wire_varint(p, end, &ret_field->value);
    case WIRE_FIXED64:
        ret_field->type = WIRE_FIXED64;
        if (end - p < 8) {
            return NULL;
        }
        ret_field->value = chassis_get_le64(p);
        return p + 8;
    case WIRE_FIXED32:
        ret_field->type = WIRE_FIXED32;
        if (end - p < 4) {
            return NULL;
        }
        ret_field->value = chassis_get_le32(p);
        return p + 4;
    case WIRE_BYTES: {
        uint64_t len;
        ret_field->type = WIRE_BYTES;
        p = wire_varint(p, end, &len);
        if (p == NULL || len > (uint64_t)(end - p)) {
            return NULL;
        }
        ret_field->bytes = chassis_view(p, (size_t)len);
        return p + len;
    }
    default: /* groups, which proto3 does not have, and what is no type at all */
        return NULL;
    }
}

enum wire_type wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        return WIRE_VARINT;
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    }
    CHASSIS_PANIC("field type %d", (int)type);
}

const uint8_t *wire_packed_next(const uint8_t *p, const uint8_t *end, enum wire_type type,
                                uint64_t *ret_value)
{
    switch (type) {
    case WIRE_VARINT:
        return wire_varint(p, end, ret_value);
    case WIRE_FIXED32:
        if (end - p < 4) {
            return NULL;
        }
        *ret_value = chassis_get_le32(p);
        return p + 4;
    case WIRE_FIXED64:
        if (end - p < 8) {
            return NULL;
        }
        *ret_value = chassis_get_le64(p);
        return p + 8;
    case WIRE_BYTES:
        break;
    }
    CHASSIS_PANIC("a packed array of byte strings");
}

void wire_append_tag(struct chassis_buf *out, uint32_t number, enum wire_type type)
{
    chassis_buf_append_varint(out, (uint64_t)number << 3 | (uint64_t)type);
}

const ProtobufCFieldDescriptor *wire_find(const ProtobufCMessageDescriptor *type, uint32_t number,
                                          unsigned *hint)
{
    if (*hint < type->n_fields && type->fields[*hint].id == number) {
        return &type->fields[*hint];
    }
    unsigned low = 0, high = type->n_fields;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (type->fields[middle].id < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *hint = low;
    return low < type->n_fields && type->fields[low].id == number ? &type->fields[low] : NULL;
}
