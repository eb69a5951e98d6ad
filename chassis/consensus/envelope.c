#include "consensus/envelope.h"

void envelope_encode(struct chassis_buf *out, const struct envelope *e)
{
    chassis_buf_append_byte(out, ENVELOPE_FORMAT);
    chassis_buf_append_le64(out, (uint64_t)e->time_ns);
    chassis_buf_append_varint(out, e->node);
    chassis_buf_append_varint(out, e->boot);
    chassis_buf_append_varint(out, e->sequence);
    chassis_buf_append_varint(out, e->floor);
    chassis_buf_append_block(out, e->request_id);
    chassis_buf_append_view(out, e->command);
}

int envelope_decode(struct chassis_view payload, struct envelope *ret_envelope)
{
    struct envelope e;
    struct chassis_reader r = chassis_reader(payload);
    if (chassis_read_byte(&r) != ENVELOPE_FORMAT) {
        return payload.len == 0 ? CHASSIS_MALFORMED : CHASSIS_BAD_VERSION;
    }
    e.time_ns = (int64_t)chassis_read_le64(&r);
    e.node = chassis_read_varint(&r);
    e.boot = chassis_read_varint(&r);
    e.sequence = chassis_read_varint(&r);
    e.floor = chassis_read_varint(&r);
    e.request_id = chassis_read_block(&r);
    if (r.bad || e.request_id.len > ENVELOPE_REQUEST_ID_MAX) {
        return CHASSIS_MALFORMED;
    }
    e.command = chassis_read_bytes(&r, chassis_reader_left(&r));
    *ret_envelope = e;
    return 0;
}

struct chassis_view envelope_id(const struct envelope *e, uint8_t out[1 + 64])
{
    if (e->request_id.len != 0) {
        out[0] = 'c';
        memcpy(out + 1, e->request_id.data, e->request_id.len);
        return chassis_view(out, 1 + e->request_id.len);
    }
    out[0] = 'n';
    chassis_put_be64(out + 1, e->node);
    chassis_put_be64(out + 9, e->boot);
    chassis_put_be64(out + 17, e->sequence);
    return chassis_view(out, 25);
}
