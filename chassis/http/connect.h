/* The Connect protocol as text and bytes: content types, errors, envelopes, time limits.
 *
 * Source: https://connectrpc.com/docs/protocol
 * Threads: any; no state.
 */
#ifndef CHASSIS_HTTP_CONNECT_H
#define CHASSIS_HTTP_CONNECT_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>

#include "rpc/transport.h"

/* How a request is written; the answer is written the same way. */
struct connect_request {
    bool json;    /* else protobuf */
    bool stream;  /* enveloped */
    bool connect; /* by a Connect client: shown in pages and logs */
};

enum { CONNECT_ENVELOPE_HEAD = 5, CONNECT_COMPRESSED = 1, CONNECT_END_STREAM = 2 };

/* false: not a content type we know. Parameters ("; charset=utf-8") are accepted. */
bool connect_parse_content_type(const char *text, struct connect_request *ret_request);
const char *connect_content_type(const struct connect_request *request);
/* Milliseconds, 1 to 10 digits; false if it is not that. */
bool connect_parse_timeout(const char *text, uint64_t *ret_ms);
/* "not_found" for a chassis status. */
const char *connect_code(int status);
unsigned connect_http_status(int status);
/* {"code":…,"message":…,"details":[…]} */
void connect_error_json(int status, const char *text, const struct chassis_status_detail *details,
                        size_t n_details, struct chassis_buf *out);
void connect_envelope(uint8_t flags, struct chassis_view data, struct chassis_buf *out);
/* The one message of a request body. */
int connect_open_envelope(struct chassis_view body, struct chassis_view *ret_message,
                          struct chassis_error *err);

/* Standard base64; decode takes padded, unpadded and URL-safe forms. */
void connect_base64(struct chassis_view data, struct chassis_buf *out);
int connect_base64_decode(struct chassis_view text, struct chassis_buf *out);
/* "text" with quotes and escapes. */
void connect_json_string(const char *text, struct chassis_buf *out);

#endif
