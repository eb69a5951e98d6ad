#include "http/connect.h"

#include <stdio.h>
#include <strings.h>

#include "base/bytes.h"

static const struct {
    const char *text;
    bool json, stream;
} content_types[] = {
    {"application/json", true, false},
    {"application/proto", false, false},
    {"application/connect+json", true, true},
    {"application/connect+proto", false, true},
};

bool connect_parse_content_type(const char *text, struct connect_request *ret_request)
{
    if (text == NULL) {
        return false;
    }
    size_t len = strcspn(text, "; ");
    for (size_t i = 0; i < sizeof content_types / sizeof content_types[0]; i++) {
        if (strlen(content_types[i].text) == len &&
            strncasecmp(content_types[i].text, text, len) == 0) {
            ret_request->json = content_types[i].json;
            ret_request->stream = content_types[i].stream;
            return true;
        }
    }
    return false;
}

const char *connect_content_type(const struct connect_request *request)
{
    return content_types[(request->stream ? 2 : 0) + (request->json ? 0 : 1)].text;
}

bool connect_parse_timeout(const char *text, uint64_t *ret_ms)
{
    size_t len = strlen(text);
    if (len == 0 || len > 10 || strspn(text, "0123456789") != len) {
        return false;
    }
    uint64_t ms = 0;
    for (size_t i = 0; i < len; i++) {
        ms = ms * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_ms = ms;
    return true;
}

/* By gRPC number: Connect's name and its HTTP status. */
static const struct {
    const char *name;
    unsigned status;
} codes[] = {
    {"ok", 200},
    {"canceled", 499},
    {"unknown", 500},
    {"invalid_argument", 400},
    {"deadline_exceeded", 504},
    {"not_found", 404},
    {"already_exists", 409},
    {"permission_denied", 403},
    {"resource_exhausted", 429},
    {"failed_precondition", 400},
    {"aborted", 409},
    {"out_of_range", 400},
    {"unimplemented", 501},
    {"internal", 500},
    {"unavailable", 503},
    {"data_loss", 500},
    {"unauthenticated", 401},
};

const char *connect_code(int status)
{
    return codes[chassis_status_to_grpc(status)].name;
}

unsigned connect_http_status(int status)
{
    return codes[chassis_status_to_grpc(status)].status;
}

void connect_error_json(int status, const char *text, const struct chassis_status_detail *details,
                        size_t n_details, struct chassis_buf *out)
{
    static const char prefix[] = "type.googleapis.com/";
    chassis_buf_printf(out, "{\"code\":\"%s\"", connect_code(status));
    if (text != NULL && text[0] != '\0') {
        chassis_buf_append_str(out, ",\"message\":");
        connect_json_string(text, out);
    }
    for (size_t i = 0; i < n_details; i++) {
        const char *type = details[i].type_url;
        if (strncmp(type, prefix, sizeof prefix - 1) == 0) {
            type += sizeof prefix - 1;
        }
        chassis_buf_append_str(out, i == 0 ? ",\"details\":[{\"type\":" : ",{\"type\":");
        connect_json_string(type, out);
        chassis_buf_append_str(out, ",\"value\":\"");
        connect_base64(details[i].value, out);
        chassis_buf_append_str(out, "\"}");
    }
    chassis_buf_append_str(out, n_details != 0 ? "]}" : "}");
}

void connect_envelope(uint8_t flags, struct chassis_view data, struct chassis_buf *out)
{
    uint8_t head[CONNECT_ENVELOPE_HEAD] = {flags};
    chassis_put_be32(head + 1, (uint32_t)data.len);
    chassis_buf_append(out, head, sizeof head);
    chassis_buf_append_view(out, data);
}

int connect_open_envelope(struct chassis_view body, struct chassis_view *ret_message,
                          struct chassis_error *err)
{
    if (body.len < CONNECT_ENVELOPE_HEAD) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "request of %zu bytes: an envelope has a head of 5", body.len);
    }
    if ((body.data[0] & CONNECT_COMPRESSED) != 0) {
        return chassis_error_set(err, CHASSIS_UNIMPLEMENTED,
                                 "compressed messages are not supported: send identity");
    }
    uint32_t len = chassis_get_be32(body.data + 1);
    if (body.data[0] != 0 || len != body.len - CONNECT_ENVELOPE_HEAD) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "exactly one message must be sent: the envelope says %u bytes, "
                                 "%zu came",
                                 len, body.len - CONNECT_ENVELOPE_HEAD);
    }
    *ret_message = chassis_view(body.data + CONNECT_ENVELOPE_HEAD, len);
    return 0;
}

void connect_base64(struct chassis_view data, struct chassis_buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < data.len; i += 3) {
        size_t n = data.len - i < 3 ? data.len - i : 3;
        uint32_t bits = (uint32_t)data.data[i] << 16;
        bits |= n > 1 ? (uint32_t)data.data[i + 1] << 8 : 0;
        bits |= n > 2 ? data.data[i + 2] : 0;
        for (size_t j = 0; j <= n; j++) {
            chassis_buf_append_byte(out, (uint8_t)digits[bits >> (18 - 6 * j) & 63]);
        }
    }
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

int connect_base64_decode(struct chassis_view text, struct chassis_buf *out)
{
    while (text.len != 0 && text.data[text.len - 1] == '=') {
        text.len--;
    }
    if (text.len % 4 == 1) {
        return CHASSIS_MALFORMED;
    }
    uint32_t bits = 0;
    unsigned n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = base64_digit(text.data[i]);
        if (digit < 0) {
            return CHASSIS_MALFORMED;
        }
        bits = bits << 6 | (uint32_t)digit;
        n += 6;
        if (n >= 8) {
            n -= 8;
            chassis_buf_append_byte(out, (uint8_t)(bits >> n));
        }
    }
    return 0;
}

void connect_json_string(const char *text, struct chassis_buf *out)
{
    chassis_buf_append_byte(out, '"');
    for (const uint8_t *p = (const uint8_t *)text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') {
            chassis_buf_append_byte(out, '\\');
            chassis_buf_append_byte(out, *p);
        } else if (*p < 0x20) {
            chassis_buf_printf(out, "\\u%04x", *p);
        } else {
            chassis_buf_append_byte(out, *p);
        }
    }
    chassis_buf_append_byte(out, '"');
}
