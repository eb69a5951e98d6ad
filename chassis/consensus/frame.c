#include "consensus/frame.h"

#include "base/assert.h"
#include "base/hash.h"

/* Which fields a message carries, in the order of the table; a row per type makes encoder and
 * decoder one loop each. */
enum frame_field {
    F_END,
    F_TERM,
    F_INDEX,
    F_INDEX_TERM,
    F_COMMIT,
    F_REJECTED,
    F_SEQUENCE,
    F_BOOT,
    F_OFFSET,
    F_SIZE,
    F_STATUS,
    F_FEATURES,
    F_CAPACITY,
    F_VERSION,
    F_GRANTED,
    F_PRE_VOTE,
    F_DISRUPT,
    F_ENTRIES,
    F_BODY, /* always last: the rest of the message */
};

static const uint8_t frame_layout[FRAME_TYPE_END][10] = {
    [FRAME_APPEND] = {F_VERSION, F_TERM, F_INDEX, F_INDEX_TERM, F_COMMIT, F_ENTRIES, F_BODY},
    [FRAME_APPEND_RESULT] = {F_VERSION, F_TERM, F_REJECTED, F_INDEX, F_FEATURES, F_CAPACITY},
    [FRAME_VOTE] = {F_VERSION, F_TERM, F_INDEX, F_INDEX_TERM, F_DISRUPT, F_PRE_VOTE},
    [FRAME_VOTE_RESULT] = {F_VERSION, F_TERM, F_GRANTED, F_PRE_VOTE, F_FEATURES, F_CAPACITY},
    [FRAME_INSTALL] = {F_VERSION, F_TERM, F_INDEX, F_INDEX_TERM, F_SIZE, F_BODY},
    [FRAME_TIMEOUT_NOW] = {F_VERSION, F_TERM, F_INDEX, F_INDEX_TERM},
    [FRAME_PROPOSE] = {F_BODY},
    [FRAME_PROPOSE_REFUSED] = {F_BOOT, F_SEQUENCE, F_STATUS, F_BODY},
    [FRAME_READ_PING] = {F_TERM, F_SEQUENCE},
    [FRAME_READ_PONG] = {F_TERM, F_SEQUENCE},
    [FRAME_READ_ASK] = {F_BOOT, F_SEQUENCE},
    [FRAME_READ_ANSWER] = {F_BOOT, F_SEQUENCE, F_STATUS, F_INDEX},
    [FRAME_ASK] = {F_BOOT, F_SEQUENCE, F_BODY},
    [FRAME_ANSWER] = {F_BOOT, F_SEQUENCE, F_STATUS, F_BODY},
    [FRAME_FETCH] = {F_INDEX, F_OFFSET, F_SIZE},
    [FRAME_CHUNK] = {F_INDEX, F_TERM, F_OFFSET, F_SIZE, F_STATUS, F_BODY},
    [FRAME_ABOUT] = {F_BODY},
    [FRAME_ASK_NODE] = {F_BOOT, F_SEQUENCE, F_BODY},
};

/* Fixed places for what is patched after the entries were written. */
enum { APPEND_FIXED_LEN = 1 + 4 * 8 + 4 };

void frame_begin(struct chassis_buf *frame)
{
    static const uint8_t header[FRAME_HEADER_LEN] = {FRAME_FORMAT};
    CHASSIS_ASSERT(frame->len == 0);
    chassis_buf_append(frame, header, sizeof header);
}

unsigned frame_count(const struct chassis_buf *frame)
{
    return frame->len < FRAME_HEADER_LEN ? 0 : chassis_get_le16(frame->data + 2);
}

static size_t message_begin(struct chassis_buf *frame, enum frame_type type)
{
    unsigned count = frame_count(frame) + 1;
    uint8_t header[FRAME_MESSAGE_HEADER_LEN] = {(uint8_t)type};
    CHASSIS_ASSERT(count <= FRAME_MESSAGES_MAX);
    chassis_put_le16(frame->data + 2, (uint16_t)count);
    chassis_buf_append(frame, header, sizeof header);
    return frame->len;
}

static void message_end(struct chassis_buf *frame, size_t begin)
{
    chassis_put_le32(frame->data + begin - 4, (uint32_t)(frame->len - begin));
}

static void put_field(struct chassis_buf *b, enum frame_field field, const struct frame_message *m)
{
    switch (field) {
    case F_TERM:
        chassis_buf_append_le64(b, m->term);
        return;
    case F_INDEX:
        chassis_buf_append_le64(b, m->index);
        return;
    case F_INDEX_TERM:
        chassis_buf_append_le64(b, m->index_term);
        return;
    case F_COMMIT:
        chassis_buf_append_le64(b, m->commit);
        return;
    case F_REJECTED:
        chassis_buf_append_le64(b, m->rejected);
        return;
    case F_SEQUENCE:
        chassis_buf_append_le64(b, m->sequence);
        return;
    case F_BOOT:
        chassis_buf_append_le64(b, m->boot);
        return;
    case F_OFFSET:
        chassis_buf_append_le64(b, m->offset);
        return;
    case F_SIZE:
        chassis_buf_append_le64(b, m->size);
        return;
    case F_STATUS:
        chassis_buf_append_le32(b, (uint32_t)m->status);
        return;
    case F_FEATURES:
        chassis_buf_append_le32(b, m->features);
        return;
    case F_CAPACITY:
        chassis_buf_append_le32(b, m->capacity);
        return;
    case F_VERSION:
        chassis_buf_append_byte(b, m->version);
        return;
    case F_GRANTED:
        chassis_buf_append_byte(b, m->granted);
        return;
    case F_PRE_VOTE:
        chassis_buf_append_byte(b, m->pre_vote);
        return;
    case F_DISRUPT:
        chassis_buf_append_byte(b, m->disrupt);
        return;
    case F_ENTRIES:
        chassis_buf_append_le32(b, m->n_entries);
        return;
    case F_BODY:
        chassis_buf_append_view(b, m->body);
        return;
    case F_END:
        return;
    }
}

void frame_append(struct chassis_buf *frame, const struct frame_message *message)
{
    size_t begin = message_begin(frame, message->type);
    const uint8_t *layout = frame_layout[message->type];
    for (unsigned i = 0; layout[i] != F_END; i++) {
        put_field(frame, (enum frame_field)layout[i], message);
    }
    message_end(frame, begin);
}

size_t frame_append_begin(struct chassis_buf *frame, const struct frame_message *message)
{
    size_t begin = message_begin(frame, FRAME_APPEND);
    const uint8_t *layout = frame_layout[FRAME_APPEND];
    for (unsigned i = 0; layout[i] != F_BODY; i++) {
        put_field(frame, (enum frame_field)layout[i], message);
    }
    CHASSIS_ASSERT(frame->len - begin == APPEND_FIXED_LEN);
    return begin;
}

void frame_append_entry(struct chassis_buf *frame, const struct frame_entry *entry)
{
    chassis_buf_append_byte(frame, entry->type);
    chassis_buf_append_varint(frame, entry->term);
    chassis_buf_append_block(frame, entry->payload);
}

void frame_append_end(struct chassis_buf *frame, size_t begin, uint32_t n_entries)
{
    chassis_put_le32(frame->data + begin + APPEND_FIXED_LEN - 4, n_entries);
    message_end(frame, begin);
}

void frame_seal(struct chassis_buf *frame)
{
    uint32_t crc = chassis_crc32c(0, frame->data + FRAME_HEADER_LEN, frame->len - FRAME_HEADER_LEN);
    chassis_put_le32(frame->data + 4, crc);
}

static uint16_t read_u16(struct chassis_reader *r)
{
    uint32_t v = chassis_read_le32(r);
    if (v > UINT16_MAX) {
        r->bad = true;
    }
    return (uint16_t)v;
}

static bool read_bool(struct chassis_reader *r)
{
    uint8_t v = chassis_read_byte(r);
    if (v > 1) {
        r->bad = true;
    }
    return v == 1;
}

static void get_field(struct chassis_reader *r, enum frame_field field, struct frame_message *m)
{
    switch (field) {
    case F_TERM:
        m->term = chassis_read_le64(r);
        return;
    case F_INDEX:
        m->index = chassis_read_le64(r);
        return;
    case F_INDEX_TERM:
        m->index_term = chassis_read_le64(r);
        return;
    case F_COMMIT:
        m->commit = chassis_read_le64(r);
        return;
    case F_REJECTED:
        m->rejected = chassis_read_le64(r);
        return;
    case F_SEQUENCE:
        m->sequence = chassis_read_le64(r);
        return;
    case F_BOOT:
        m->boot = chassis_read_le64(r);
        return;
    case F_OFFSET:
        m->offset = chassis_read_le64(r);
        return;
    case F_SIZE:
        m->size = chassis_read_le64(r);
        return;
    case F_STATUS:
        m->status = (int32_t)chassis_read_le32(r);
        return;
    case F_FEATURES:
        m->features = read_u16(r);
        return;
    case F_CAPACITY:
        m->capacity = read_u16(r);
        return;
    case F_VERSION:
        m->version = chassis_read_byte(r);
        return;
    case F_GRANTED:
        m->granted = read_bool(r);
        return;
    case F_PRE_VOTE:
        m->pre_vote = read_bool(r);
        return;
    case F_DISRUPT:
        m->disrupt = read_bool(r);
        return;
    case F_ENTRIES:
        m->n_entries = chassis_read_le32(r);
        return;
    case F_BODY:
        m->body = chassis_read_bytes(r, chassis_reader_left(r));
        return;
    case F_END:
        return;
    }
}

static int read_message(struct chassis_reader *r, struct frame_message *m)
{
    memset(m, 0, sizeof *m);
    uint8_t type = chassis_read_byte(r);
    struct chassis_view body = chassis_read_bytes(r, chassis_read_le32(r));
    if (r->bad || type == 0 || type >= FRAME_TYPE_END) {
        return CHASSIS_MALFORMED;
    }
    m->type = (enum frame_type)type;
    struct chassis_reader fields = chassis_reader(body);
    const uint8_t *layout = frame_layout[type];
    for (unsigned i = 0; layout[i] != F_END; i++) {
        get_field(&fields, (enum frame_field)layout[i], m);
    }
    if (fields.bad || chassis_reader_left(&fields) != 0 || m->n_entries > FRAME_ENTRIES_MAX) {
        return CHASSIS_MALFORMED;
    }
    return 0;
}

int frame_entries(const struct frame_message *message, struct frame_entry *out)
{
    struct chassis_reader r = chassis_reader(message->body);
    for (uint32_t i = 0; i < message->n_entries; i++) {
        out[i].type = chassis_read_byte(&r);
        out[i].term = chassis_read_varint(&r);
        out[i].payload = chassis_read_block(&r);
        if (r.bad || out[i].term == 0 || out[i].type < 1 || out[i].type > 3) {
            return CHASSIS_MALFORMED;
        }
    }
    return chassis_reader_left(&r) != 0 ? CHASSIS_MALFORMED : 0;
}

int frame_decode(struct chassis_view frame, int (*each)(const struct frame_message *, void *data),
                 void *data, struct chassis_error *err)
{
    if (frame.len < FRAME_HEADER_LEN || frame.len > FRAME_BYTES_MAX) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "a frame of %zu bytes (allowed: %d to %d)",
                                 frame.len, FRAME_HEADER_LEN, FRAME_BYTES_MAX);
    }
    if (frame.data[0] != FRAME_FORMAT || frame.data[1] != 0) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "a frame of format %u, this node speaks %d", frame.data[0],
                                 FRAME_FORMAT);
    }
    struct chassis_view rest =
        chassis_view(frame.data + FRAME_HEADER_LEN, frame.len - FRAME_HEADER_LEN);
    if (chassis_crc32c(0, rest.data, rest.len) != chassis_get_le32(frame.data + 4)) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "a frame with a wrong checksum");
    }
    struct frame_message m;
    unsigned count = chassis_get_le16(frame.data + 2);
    struct chassis_reader r = chassis_reader(rest);
    for (unsigned i = 0; i < count; i++) {
        if (read_message(&r, &m) != 0) {
            return chassis_error_set(err, CHASSIS_MALFORMED, "message %u of a frame is malformed",
                                     i);
        }
    }
    if (chassis_reader_left(&r) != 0) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "a frame with %zu bytes too many",
                                 chassis_reader_left(&r));
    }
    r = chassis_reader(rest);
    for (unsigned i = 0; i < count; i++) {
        (void)read_message(&r, &m);
        int rc = each(&m, data);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}
