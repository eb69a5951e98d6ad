/* The HTTP binding of CloudEvents 1.0.2: which mode a message is in, and binary mode: attributes as
 * ce-* headers, data as body. (Structured and batched modes are a body in an event format: json.h, or
 * the protobuf format, whose bytes are the event's own.)
 *
 * Reading: a header's text becomes the type an attribute has by specification, else a string. A body
 * becomes text_data when its type says text, JSON or XML in UTF-8 and it is that, else binary_data; an
 * empty body is no data.
 *
 * Invariants: what is read, parses; what is written holds only printable ASCII in its headers.
 * Threads: any. Ownership: output is appended to the caller's buffer; after a failure it is as before.
 */
#ifndef CAT_EVENT_HTTP_H
#define CAT_EVENT_HTTP_H

#include "catalyst/event/event.h"

enum cat_http_mode {
    CAT_HTTP_BINARY,
    CAT_HTTP_JSON,           /* structured: application/cloudevents+json */
    CAT_HTTP_JSON_BATCH,     /* application/cloudevents-batch+json */
    CAT_HTTP_PROTOBUF,       /* application/cloudevents+protobuf */
    CAT_HTTP_PROTOBUF_BATCH, /* application/cloudevents-batch+protobuf */
    CAT_HTTP_UNKNOWN,        /* another event format: 415 */
};
/* By the value of Content-Type; none (len 0) is binary. */
enum cat_http_mode cat_http_mode(struct chassis_view content_type);
/* The Content-Type of a mode other than binary. */
const char *cat_http_content_type(enum cat_http_mode mode);

struct cat_http_header {
    struct chassis_view name; /* in any case */
    struct chassis_view value;
};
/* Append the bytes of the event that headers and body of a message in binary mode are; headers that
 * are neither ce-* nor content-type are passed over. */
int cat_http_read(const struct cat_http_header *headers, size_t count, struct chassis_view body,
                  struct chassis_buf *out, struct chassis_error *err);
/* The event in binary mode: `header` is called for each header with texts valid until it returns;
 * *ret_body borrows from the event. */
void cat_http_write(const struct cat_event *event,
                    void (*header)(void *data, const char *name, const char *value), void *data,
                    struct chassis_view *ret_body);

/* A header's value: percent-encoding of §3.1.3.2, and back; decoding also takes quoted strings and
 * checks for UTF-8. */
void cat_http_encode(struct chassis_view text, struct chassis_buf *out);
int cat_http_decode(struct chassis_view value, struct chassis_buf *out, struct chassis_error *err);

#endif
