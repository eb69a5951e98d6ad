/* The protobuf wire format, field by field (protobuf.dev, "Encoding").
 *
 * Threads: any. Ownership: fields borrow from the bytes that are read.
 */
#ifndef CHASSIS_PROTO_WIRE_H
#define CHASSIS_PROTO_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include <chassis/buf.h>

enum wire_type {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,
};

struct wire_field {
    uint32_t number; /* 1 … 2^29 - 1 */
    enum wire_type type;
    uint64_t value;            /* of varint, fixed32 and fixed64 */
    struct chassis_view bytes; /* of WIRE_BYTES */
};

/* Where a view ends; NULL for an empty one without data, to which nothing may be added. */
static inline const uint8_t *wire_end(struct chassis_view view)
{
    return view.len != 0 ? view.data + view.len : view.data;
}

/* NULL when it does not end within 10 bytes or before `end`. */
static inline const uint8_t *wire_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret_value)
{
    if (p < end && *p < 0x80) {
        *ret_value = *p;
        return p + 1;
    }
    uint64_t value = 0;
    for (unsigned shift = 0; p < end && shift < 70; shift += 7) {
        uint8_t byte = *p++;
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (byte < 0x80) {
            *ret_value = value;
            return p;
        }
    }
    return NULL;
}

/* Read one field, NULL when the bytes are none: cut off, number 0, a group or an unknown type. */
const uint8_t *wire_next(const uint8_t *p, const uint8_t *end, struct wire_field *ret_field);

/* The wire type a value of `type` has outside of a packed array. */
enum wire_type wire_type_of(ProtobufCType type);
/* May stand in a packed array. */
static inline bool wire_packable(ProtobufCType type)
{
    return type != PROTOBUF_C_TYPE_STRING && type != PROTOBUF_C_TYPE_BYTES &&
           type != PROTOBUF_C_TYPE_MESSAGE;
}
/* Take one element off a packed array. */
const uint8_t *wire_packed_next(const uint8_t *p, const uint8_t *end, enum wire_type type,
                                uint64_t *ret_value);
void wire_append_tag(struct chassis_buf *out, uint32_t number, enum wire_type type);

static inline int64_t wire_zigzag_decode(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}
static inline uint64_t wire_zigzag_encode(int64_t v)
{
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

/* The field of this number, NULL if the type has none. `hint` (in and out) speeds up fields that
 * come in the order of their numbers; begin with 0. */
const ProtobufCFieldDescriptor *wire_find(const ProtobufCMessageDescriptor *type, uint32_t number,
                                          unsigned *hint);

#endif
