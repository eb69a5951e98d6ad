/* The few protobuf fields that health, reflection and status details need, by hand: rpc may not
 * depend on generated code that is itself built on rpc. */
#ifndef CHASSIS_RPC_WIRE_H
#define CHASSIS_RPC_WIRE_H

#include "base/bytes.h"

struct rpc_field {
    uint32_t number;
    uint64_t value;            /* varint fields */
    struct chassis_view bytes; /* length-delimited fields */
};

/* The next field of a message; false at its end or when it is malformed (reader->bad). */
static inline bool rpc_wire_next(struct chassis_reader *reader, struct rpc_field *ret_field)
{
    if (reader->bad || chassis_reader_left(reader) == 0) {
        return false;
    }
    uint64_t key = chassis_read_varint(reader);
    *ret_field = (struct rpc_field){.number = (uint32_t)(key >> 3)};
    switch (key & 7) {
    case 0:
        ret_field->value = chassis_read_varint(reader);
        break;
    case 1:
        ret_field->value = chassis_read_le64(reader);
        break;
    case 2:
        ret_field->bytes = chassis_read_block(reader);
        break;
    case 5:
        ret_field->value = chassis_read_le32(reader);
        break;
    default:
        reader->bad = true;
        break;
    }
    return !reader->bad;
}

static inline void rpc_wire_varint(struct chassis_buf *out, uint32_t number, uint64_t value)
{
    chassis_buf_append_varint(out, (uint64_t)number << 3);
    chassis_buf_append_varint(out, value);
}
static inline void rpc_wire_bytes(struct chassis_buf *out, uint32_t number,
                                  struct chassis_view value)
{
    chassis_buf_append_varint(out, (uint64_t)number << 3 | 2);
    chassis_buf_append_block(out, value);
}

#endif
