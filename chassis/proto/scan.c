/* The pre-scan: protobuf-c has no limit of depth, takes any bytes for a string and multiplies what a
 * hostile message may allocate, so wire bytes are checked before it sees them. */
#include "proto/message.h"
#include "proto/wire.h"

#include <stdio.h>

#include "base/utf8.h"

enum { DEPTH_MAX = 64, FIELDS_MAX = 100000 };

/* Where in the message the scan stands, for the text of an error. */
struct frame {
    const struct frame *parent;
    const ProtobufCFieldDescriptor *field; /* that holds this message; NULL at the top */
};
struct scan {
    unsigned depth_max;
    uint32_t fields_left, fields_max;
    struct chassis_error *err;
};

static size_t path_of(const struct frame *frame, char *out, size_t cap)
{
    if (frame == NULL || frame->field == NULL) {
        return 0;
    }
    size_t len = path_of(frame->parent, out, cap);
    if (len < cap) {
        int n = snprintf(out + len, cap - len, "%s%s", len != 0 ? "." : "", frame->field->name);
        len += n > 0 ? (size_t)n : 0;
    }
    return len;
}

static int fail(const struct scan *s, int code, const struct frame *frame,
                const ProtobufCFieldDescriptor *field, const char *what)
{
    char path[256] = "";
    struct frame here = {frame, field};
    if (s->err == NULL) {
        return code;
    }
    if (path_of(field != NULL ? &here : frame, path, sizeof path) == 0) {
        return chassis_error_set(s->err, code, "message %s", what);
    }
    return chassis_error_set(s->err, code, "field '%s' %s", path, what);
}

static int count(struct scan *s, const struct frame *frame, const ProtobufCFieldDescriptor *field)
{
    if (s->fields_left == 0) {
        char what[64];
        snprintf(what, sizeof what, "holds more than %u fields", s->fields_max);
        return fail(s, CHASSIS_TOO_LARGE, frame, field, what);
    }
    s->fields_left--;
    return 0;
}

static int scan_packed(struct scan *s, const struct frame *frame,
                       const ProtobufCFieldDescriptor *field, struct chassis_view bytes)
{
    const uint8_t *p = bytes.data, *end = wire_end(bytes);
    uint64_t value;
    while (p < end) {
        int rc = count(s, frame, field);
        if (rc != 0) {
            return rc;
        }
        p = wire_packed_next(p, end, wire_type_of(field->type), &value);
        if (p == NULL) {
            return fail(s, CHASSIS_MALFORMED, frame, field, "is a packed array that is cut off");
        }
    }
    return 0;
}

static int scan_message(struct scan *s, const ProtobufCMessageDescriptor *type,
                        struct chassis_view encoded, const struct frame *frame, unsigned depth);

static int scan_known(struct scan *s, const struct frame *frame,
                      const ProtobufCFieldDescriptor *field, const struct wire_field *got,
                      unsigned depth)
{
    if (got->type != wire_type_of(field->type)) {
        if (got->type == WIRE_BYTES && field->label == PROTOBUF_C_LABEL_REPEATED) {
            return scan_packed(s, frame, field, got->bytes);
        }
        return fail(s, CHASSIS_MALFORMED, frame, field, "has another wire type than its own");
    }
    if (field->type == PROTOBUF_C_TYPE_STRING && !chassis_utf8_valid(got->bytes)) {
        return fail(s, CHASSIS_MALFORMED, frame, field,
                    memchr(got->bytes.data, 0, got->bytes.len) != NULL ? "holds a NUL"
                                                                       : "is not valid UTF-8");
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        struct frame inner = {frame, field};
        return scan_message(s, field->descriptor, got->bytes, &inner, depth + 1);
    }
    return 0;
}

static int scan_message(struct scan *s, const ProtobufCMessageDescriptor *type,
                        struct chassis_view encoded, const struct frame *frame, unsigned depth)
{
    if (depth > s->depth_max) {
        char what[64];
        snprintf(what, sizeof what, "is nested deeper than %u messages", s->depth_max);
        return fail(s, CHASSIS_TOO_LARGE, frame, NULL, what);
    }
    const uint8_t *p = encoded.data, *end = wire_end(encoded);
    unsigned hint = 0;
    while (p < end) {
        struct wire_field got;
        p = wire_next(p, end, &got);
        if (p == NULL) {
            return fail(s, CHASSIS_MALFORMED, frame, NULL, "is not protobuf wire format");
        }
        const ProtobufCFieldDescriptor *field = wire_find(type, got.number, &hint);
        int rc = count(s, frame, field);
        if (rc == 0 && field != NULL) {
            rc = scan_known(s, frame, field, &got, depth);
            hint += field->label != PROTOBUF_C_LABEL_REPEATED;
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int chassis_message_scan(const ProtobufCMessageDescriptor *type, struct chassis_view encoded,
                         const struct chassis_decode_limits *limits, struct chassis_error *err)
{
    struct scan s = {DEPTH_MAX, FIELDS_MAX, FIELDS_MAX, err};
    if (limits != NULL && limits->depth_max != 0) {
        s.depth_max = limits->depth_max;
    }
    if (limits != NULL && limits->fields_max != 0) {
        s.fields_left = s.fields_max = limits->fields_max;
    }
    if (encoded.len == 0) {
        return 0;
    }
    struct frame top = {NULL, NULL};
    return scan_message(&s, type, encoded, &top, 1);
}
