/* The JSON format of CloudEvents 1.0 (structured mode and batches), to and from the bytes of events.
 *
 * Reading: `data` of a JSON media type becomes text_data as it was written, of another media type
 * (then it must be a string) text_data with the string's content; `data_base64` becomes binary_data.
 * `data` without datacontenttype sets datacontenttype to application/json, which JSON implies.
 * Strings become the type an attribute has by specification (time a timestamp …), else strings; null
 * is as if it were absent.
 * Writing: JSON text that is none, and binary data, go out as data_base64; a protobuf message as the
 * base64 of its bytes with application/protobuf and its type URL as dataschema.
 *
 * Invariants: what is read, parses (cat_event_parse has seen it); what is written is one line, and
 * reads again.
 * Threads: any. Ownership: output is appended to the caller's buffer; after a failure it is as before.
 */
#ifndef CAT_EVENT_JSON_H
#define CAT_EVENT_JSON_H

#include "catalyst/event/event.h"

/* Append the bytes of the event that `text` (one JSON object) is. CHASSIS_MALFORMED with line and
 * column when it is no JSON, else the refusals of cat_event_parse. */
int cat_json_read(struct chassis_view text, struct chassis_buf *out, struct chassis_error *err);

/* One element of a batch. */
struct cat_json_item {
    size_t index;
    int status;                /* 0, or why this event is refused: the others are not */
    struct chassis_view bytes; /* of the event, until `each` returns */
    const struct chassis_error *err;
};
/* Call `each` for every element of a JSON array, in order. Fails as a whole, perhaps after some
 * calls, only when `text` is no JSON array. */
int cat_json_read_batch(struct chassis_view text,
                        void (*each)(void *data, const struct cat_json_item *item), void *data,
                        struct chassis_error *err);

/* Append the event as one JSON object. */
void cat_json_write(const struct cat_event *event, struct chassis_buf *out);

#endif
