#include "record.h"

#include "base/bytes.h"
#include "proto/wire.h"

enum { ROUTE = 1, KIND = 2, ACTOR = 3, TIME = 4, ROLLED_BACK_TO = 5 };
enum { SECONDS = 1, NANOS = 2 }; /* of google.protobuf.Timestamp */
#define NS_PER_S 1000000000

const char *fuse_record_kind_name(enum fuse_record_kind kind)
{
    static const char *const names[] = {
        [FUSE_RECORD_ADDED] = "added",
        [FUSE_RECORD_CHANGED] = "changed",
        [FUSE_RECORD_DELETED] = "deleted",
        [FUSE_RECORD_ROLLED_BACK] = "rolled back",
    };
    return (size_t)kind < sizeof names / sizeof names[0] && names[kind] != NULL ? names[kind]
                                                                                : "unknown";
}

static void append_bytes(struct chassis_buf *out, uint32_t number, struct chassis_view bytes)
{
    wire_append_tag(out, number, WIRE_BYTES);
    chassis_buf_append_varint(out, bytes.len);
    chassis_buf_append_view(out, bytes);
}

static void append_number(struct chassis_buf *out, uint32_t number, uint64_t value)
{
    if (value != 0) {
        wire_append_tag(out, number, WIRE_VARINT);
        chassis_buf_append_varint(out, value);
    }
}

void fuse_record_encode(const struct fuse_record *record, struct chassis_buf *out)
{
    struct chassis_buf time = {0};
    append_number(&time, SECONDS, (uint64_t)(record->time_ns / NS_PER_S));
    append_number(&time, NANOS, (uint64_t)(record->time_ns % NS_PER_S));
    append_bytes(out, ROUTE, record->route);
    append_number(out, KIND, (uint64_t)record->kind);
    append_bytes(out, ACTOR, record->actor);
    append_bytes(out, TIME, chassis_buf_view(&time));
    append_number(out, ROLLED_BACK_TO, record->rolled_back_to);
    chassis_buf_fini(&time);
}

/* NULL at the end, or when what follows is no field (then `p` is not the end). */
static const uint8_t *next_field(const uint8_t *p, const uint8_t *end, struct wire_field *field)
{
    return p != end ? wire_next(p, end, field) : NULL;
}

static bool decode_time(struct chassis_view bytes, int64_t *ret_time_ns)
{
    const uint8_t *p = bytes.data, *end = wire_end(bytes), *next;
    struct wire_field f;
    int64_t time_ns = 0;
    while ((next = next_field(p, end, &f)) != NULL) {
        if (f.type == WIRE_VARINT && f.number == SECONDS && f.value <= INT64_MAX / NS_PER_S - 1) {
            time_ns += (int64_t)f.value * NS_PER_S;
        } else if (f.type == WIRE_VARINT && f.number == NANOS && f.value < NS_PER_S) {
            time_ns += (int64_t)f.value;
        }
        p = next;
    }
    *ret_time_ns = time_ns;
    return p == end;
}

int fuse_record_decode(struct chassis_view encoded, struct fuse_record *ret_record,
                       struct chassis_error *err)
{
    const uint8_t *p = encoded.data, *end = wire_end(encoded), *next;
    struct fuse_record record = {0};
    struct wire_field f;
    bool good = true;
    while (good && (next = next_field(p, end, &f)) != NULL) {
        if (f.type == WIRE_BYTES && f.number == ROUTE) {
            record.route = f.bytes;
        } else if (f.type == WIRE_VARINT && f.number == KIND) {
            good = f.value <= FUSE_RECORD_ROLLED_BACK;
            record.kind = (enum fuse_record_kind)f.value;
        } else if (f.type == WIRE_BYTES && f.number == ACTOR) {
            record.actor = f.bytes;
        } else if (f.type == WIRE_BYTES && f.number == TIME) {
            good = decode_time(f.bytes, &record.time_ns);
        } else if (f.type == WIRE_VARINT && f.number == ROLLED_BACK_TO) {
            record.rolled_back_to = f.value;
        }
        p = next;
    }
    if (!good || p != end) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "not a version of a route");
    }
    *ret_record = record;
    return 0;
}
