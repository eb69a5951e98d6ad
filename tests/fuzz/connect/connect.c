/* What a stranger can say in our own reading of Connect over HTTP: envelopes, time limits, content
 * types, base64 of a GET's query, and text that goes into an error's JSON. The first byte selects.
 */
#include <stdlib.h>

#include <chassis/arena.h>

#include "http/connect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* What is opened is the whole body but its head, and is what an envelope of it opens to again. */
static void envelope(struct chassis_view body)
{
    struct chassis_view message, again;
    struct chassis_error err = {0};
    if (connect_open_envelope(body, &message, &err) != 0) {
        require(err.code != 0 && err.text[0] != '\0');
        return;
    }
    require(message.len + CONNECT_ENVELOPE_HEAD == body.len);
    struct chassis_buf out = {0};
    connect_envelope(0, message, &out);
    require(connect_open_envelope(chassis_buf_view(&out), &again, &err) == 0);
    require(chassis_view_eq(message, again));
    chassis_buf_fini(&out);
}

static void timeout(const char *text)
{
    uint64_t ms;
    if (connect_parse_timeout(text, &ms)) {
        require(strlen(text) >= 1 && strlen(text) <= 10 && ms <= 9999999999U);
        require(strtoull(text, NULL, 10) == ms);
    }
}

static void content_type(const char *text)
{
    struct connect_request request = {0}, again = {0};
    if (connect_parse_content_type(text, &request)) {
        require(connect_parse_content_type(connect_content_type(&request), &again));
        require(request.json == again.json && request.stream == again.stream);
    }
}

static void base64(struct chassis_view text)
{
    struct chassis_buf raw = {0}, encoded = {0}, again = {0};
    if (connect_base64_decode(text, &raw) == 0) {
        require(raw.len <= text.len);
        connect_base64(chassis_buf_view(&raw), &encoded);
        require(connect_base64_decode(chassis_buf_view(&encoded), &again) == 0);
        require(chassis_view_eq(chassis_buf_view(&raw), chassis_buf_view(&again)));
    }
    chassis_buf_fini(&raw);
    chassis_buf_fini(&encoded);
    chassis_buf_fini(&again);
}

/* Nothing in a text ends the string it stands in or tears a line. */
static void json_string(const char *text)
{
    struct chassis_buf out = {0};
    connect_json_string(text, &out);
    require(out.len >= 2 && out.data[0] == '"' && out.data[out.len - 1] == '"');
    for (size_t i = 1; i + 1 < out.len; i++) {
        require(out.data[i] >= 0x20 && out.data[i] != '"');
        if (out.data[i] == '\\') {
            i++;
            require(i + 1 < out.len);
        }
    }
    chassis_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct chassis_buf text = {0};
    chassis_buf_append(&text, data + 1, size - 1);
    chassis_buf_append_byte(&text, 0);
    switch (data[0] % 5) {
    case 0:
        envelope(chassis_view(data + 1, size - 1));
        break;
    case 1:
        timeout((const char *)text.data);
        break;
    case 2:
        content_type((const char *)text.data);
        break;
    case 3:
        base64(chassis_view(data + 1, size - 1));
        break;
    default:
        json_string((const char *)text.data);
    }
    chassis_buf_fini(&text);
    return 0;
}
