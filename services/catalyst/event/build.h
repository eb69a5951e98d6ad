/* Making the bytes of an event: from nothing, or another event with attributes changed.
 *
 * Invariants: bytes are appended to a buffer, field by field in any order (that is how protobuf
 * messages are made), so an event gets one more attribute by appending it. Nothing is checked here:
 * cat_event_parse is the check.
 * Threads: any. Ownership: the caller's buffer; inputs are copied.
 */
#ifndef CAT_EVENT_BUILD_H
#define CAT_EVENT_BUILD_H

#include "catalyst/event/event.h"

/* Everything of an event. Views with len 0 are left out, spec_version then is "1.0". */
struct cat_event_parts {
    struct chassis_view id, source, type, spec_version;
    const struct cat_attribute *attributes; /* optional and extension attributes */
    size_t attribute_count;
    enum cat_data data_kind;
    struct chassis_view data; /* of CAT_DATA_PROTO: the encoded Any */
};
void cat_event_build(const struct cat_event_parts *parts, struct chassis_buf *out);

/* One field at a time. `name` of a required attribute: id, source, type or specversion; asserted. */
void cat_build_required(struct chassis_buf *out, const char *name, struct chassis_view text);
/* A value of CAT_NONE appends nothing. */
void cat_build_attribute(struct chassis_buf *out, struct chassis_view name,
                         const struct cat_value *value);
void cat_build_data(struct chassis_buf *out, enum cat_data kind, struct chassis_view data);

/* Append `event` with the attributes of `edits` set: those it has are replaced, CAT_NONE removes.
 * Everything else, unknown fields too, is copied as it is. Names must be of optional or extension
 * attributes. `edits` has at most CAT_EVENT_ATTRIBUTES_MAX elements. */
void cat_event_edit(const struct cat_event *event, const struct cat_attribute *edits,
                    size_t edit_count, struct chassis_buf *out);

/* Append one event to a CloudEventBatch. */
void cat_batch_append(struct chassis_buf *batch, struct chassis_view event);

static inline struct cat_value cat_value_string(struct chassis_view text)
{
    struct cat_value value = {.type = CAT_STRING, .text = text};
    return value;
}
static inline struct cat_value cat_value_integer(int32_t integer)
{
    struct cat_value value = {.type = CAT_INTEGER, .integer = integer};
    return value;
}
static inline struct cat_value cat_value_boolean(bool boolean)
{
    struct cat_value value = {.type = CAT_BOOLEAN, .boolean = boolean};
    return value;
}
static inline struct cat_value cat_value_timestamp(int64_t seconds, int32_t nanos)
{
    struct cat_value value = {.type = CAT_TIMESTAMP, .time = {seconds, nanos}};
    return value;
}

#endif
