/* The protobuf wire format as far as a CloudEvent needs it, inline for the hot path.
 *
 * Threads: any. Ownership: fields borrow from the bytes that are read.
 */
#ifndef CAT_EVENT_WIRE_H
#define CAT_EVENT_WIRE_H

#include <chassis/buf.h>

enum cat_wire {
    CAT_WIRE_VARINT = 0,
    CAT_WIRE_FIXED64 = 1,
    CAT_WIRE_BYTES = 2,
    CAT_WIRE_FIXED32 = 5
};

/* The numbers of the fields in actors.proto. */
enum {
    CAT_FIELD_ID = 1,
    CAT_FIELD_SOURCE = 2,
    CAT_FIELD_SPEC_VERSION = 3,
    CAT_FIELD_TYPE = 4,
    CAT_FIELD_ATTRIBUTES = 5,
    CAT_ENTRY_KEY = 1,
    CAT_ENTRY_VALUE = 2,
    CAT_TIMESTAMP_SECONDS = 1,
    CAT_TIMESTAMP_NANOS = 2,
    CAT_ANY_TYPE_URL = 1,
    CAT_ANY_VALUE = 2,
    CAT_BATCH_EVENTS = 1,
};

struct cat_field {
    uint32_t number;
    enum cat_wire wire;
    uint64_t value;            /* of CAT_WIRE_VARINT */
    struct chassis_view bytes; /* of CAT_WIRE_BYTES; a varint as it was written */
};

/* NULL when it does not end within 10 bytes or before `end`. */
static inline const uint8_t *cat_wire_varint(const uint8_t *p, const uint8_t *end,
                                             uint64_t *ret_value)
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

/* Read one field; NULL when the bytes are none: cut off, number 0, a group or an unknown type. */
static inline const uint8_t *cat_wire_next(const uint8_t *p, const uint8_t *end,
                                           struct cat_field *ret_field)
{
    uint64_t tag, len;
    p = cat_wire_varint(p, end, &tag);
    if (p == NULL || tag >> 3 == 0 || tag > UINT32_MAX) {
        return NULL;
    }
    *ret_field = (struct cat_field){(uint32_t)(tag >> 3), (enum cat_wire)(tag & 7), 0, {p, 0}};
    switch (tag & 7) {
    case CAT_WIRE_BYTES:
        p = cat_wire_varint(p, end, &len);
        if (p == NULL || len > (uint64_t)(end - p)) {
            return NULL;
        }
        ret_field->bytes = chassis_view(p, (size_t)len);
        return p + len;
    case CAT_WIRE_VARINT:
        p = cat_wire_varint(p, end, &ret_field->value);
        ret_field->bytes.len = p != NULL ? (size_t)(p - ret_field->bytes.data) : 0;
        return p;
    case CAT_WIRE_FIXED64:
        return end - p >= 8 ? p + 8 : NULL;
    case CAT_WIRE_FIXED32:
        return end - p >= 4 ? p + 4 : NULL;
    default:
        return NULL;
    }
}

static inline const uint8_t *cat_wire_end(struct chassis_view view)
{
    return view.len != 0 ? view.data + view.len : view.data;
}

#endif
