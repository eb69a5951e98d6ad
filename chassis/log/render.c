#include "log/render.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/utf8.h"

bool chassis_log_render_put(struct chassis_log_render *r, const void *text, size_t len)
{
    if (len > r->limit - r->len) {
        r->cut = true;
        return false;
    }
    if (len != 0) {
        memcpy(r->text + r->len, text, len);
    }
    r->len += len;
    return true;
}

bool chassis_log_render_puts(struct chassis_log_render *r, const char *text)
{
    return chassis_log_render_put(r, text, strlen(text));
}

/* The form of one character in a record: itself or its escape. Terminals obey the C1 controls
 * (U+0080…U+009F) as well, so these are escaped too. */
static size_t escape(const uint8_t *p, size_t len, bool quoted, char out[8])
{
    static const char short_form[][2] = {
        {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\b', 'b'}, {'\f', 'f'}};
    for (size_t i = 0; i < sizeof short_form / sizeof short_form[0]; i++) {
        if (p[0] == (uint8_t)short_form[i][0]) {
            out[0] = '\\';
            out[1] = short_form[i][1];
            return 2;
        }
    }
    if (p[0] < 0x20 || p[0] == 0x7f) {
        return (size_t)snprintf(out, 8, "\\u%04x", p[0]);
    }
    if (len == 2 && p[0] == 0xc2 && p[1] < 0xa0) {
        return (size_t)snprintf(out, 8, "\\u%04x", p[1]);
    }
    if (quoted && (p[0] == '"' || p[0] == '\\')) {
        out[0] = '\\';
        out[1] = (char)p[0];
        return 2;
    }
    memcpy(out, p, len);
    return len;
}

void chassis_log_render_text(struct chassis_log_render *r, struct chassis_view text, bool quoted,
                             size_t len_max)
{
    size_t room = r->limit - r->len;
    if (room > len_max) {
        room = len_max;
    }
    if (quoted) {
        if (room < 2) {
            r->cut = true;
            return;
        }
        r->text[r->len++] = '"';
        room -= 2;
    }
    size_t written = 0;
    for (size_t i = 0; i < text.len;) {
        char unit[8];
        size_t len = chassis_utf8_len(text.data + i, text.len - i);
        size_t n = 3;
        if (len == 0) {
            memcpy(unit, "\xef\xbf\xbd", 3);
            len = 1;
        } else {
            n = escape(text.data + i, len, quoted, unit);
        }
        if (n > room - written) {
            r->cut = true;
            break;
        }
        memcpy(r->text + r->len, unit, n);
        r->len += n;
        written += n;
        i += len;
    }
    if (quoted) {
        r->text[r->len++] = '"';
    }
}

/* The shorter of two forms that reads back as the same number; JSON has no NaN and no infinity. */
static void render_f64(struct chassis_log_render *r, double value)
{
    char text[40];
    if (isnan(value)) {
        snprintf(text, sizeof text, "\"NaN\"");
    } else if (isinf(value)) {
        snprintf(text, sizeof text, "\"%sInf\"", value < 0 ? "-" : "+");
    } else {
        snprintf(text, sizeof text, "%.15g", value);
        if (strtod(text, NULL) != value) {
            snprintf(text, sizeof text, "%.17g", value);
        }
    }
    chassis_log_render_puts(r, text);
}

static void render_hex(struct chassis_log_render *r, struct chassis_view bytes)
{
    static const char digits[] = "0123456789abcdef";
    if (r->limit - r->len < 2) {
        r->cut = true;
        return;
    }
    r->text[r->len++] = '"';
    for (size_t i = 0; i < bytes.len; i++) {
        if (r->limit - r->len < 3) {
            r->cut = true;
            break;
        }
        r->text[r->len++] = digits[bytes.data[i] >> 4];
        r->text[r->len++] = digits[bytes.data[i] & 15];
    }
    r->text[r->len++] = '"';
}

static void render_value(struct chassis_log_render *r, const struct chassis_log_field *field)
{
    char number[32];
    switch (field->type) {
    case CHASSIS_LOG_STR:
        if (field->value.str == NULL) {
            chassis_log_render_puts(r, "null");
        } else {
            chassis_log_render_text(r, chassis_view_str(field->value.str), true, SIZE_MAX);
        }
        return;
    case CHASSIS_LOG_VIEW:
        chassis_log_render_text(r, field->value.view, true, SIZE_MAX);
        return;
    case CHASSIS_LOG_I64:
        snprintf(number, sizeof number, "%lld", (long long)field->value.i64);
        chassis_log_render_puts(r, number);
        return;
    case CHASSIS_LOG_U64:
        snprintf(number, sizeof number, "%llu", (unsigned long long)field->value.u64);
        chassis_log_render_puts(r, number);
        return;
    case CHASSIS_LOG_F64:
        render_f64(r, field->value.f64);
        return;
    case CHASSIS_LOG_BOOL:
        chassis_log_render_puts(r, field->value.boolean ? "true" : "false");
        return;
    case CHASSIS_LOG_HEX:
        render_hex(r, field->value.view);
        return;
    case CHASSIS_LOG_CODE:
        chassis_log_render_text(r, chassis_view_str(chassis_status_name((int)field->value.i64)),
                                true, SIZE_MAX);
        return;
    }
    CHASSIS_PANIC("log field '%s' of unknown type %d", field->key, (int)field->type);
}

void chassis_log_render_fields(struct chassis_log_render *r, const struct chassis_log_field *fields,
                               size_t n)
{
    for (size_t i = 0; i < n; i++) {
        CHASSIS_ASSERT(fields[i].key != NULL);
        size_t start = r->len;
        bool whole = chassis_log_render_puts(r, ",");
        if (whole) {
            chassis_log_render_text(r, chassis_view_str(fields[i].key), true, 256);
            whole = chassis_log_render_puts(r, ":");
        }
        size_t value = r->len;
        if (whole) {
            render_value(r, &fields[i]);
        }
        if (!whole || r->len == value) {
            r->len = start; /* a field is there with a value or not at all */
        }
    }
}

void chassis_log_render_record(struct chassis_log_render *r,
                               const struct chassis_log_record *record)
{
    static const char mark[] = ",\"cut\":true";
    size_t limit = r->limit;
    r->limit -= sizeof mark; /* the mark and the last brace always fit */
    struct tm tm;
    time_t seconds = (time_t)(record->time_ns / 1000000000);
    gmtime_r(&seconds, &tm);
    char head[64];
    size_t len = strftime(head, sizeof head, "{\"time\":\"%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(head + len, sizeof head - len, ".%03dZ\",\"level\":\"",
             (int)(record->time_ns / 1000000 % 1000));
    chassis_log_render_puts(r, head);
    chassis_log_render_puts(r, chassis_log_level_name(record->level));
    chassis_log_render_puts(r, "\",\"module\":");
    chassis_log_render_text(r, chassis_view_str(record->module), true, 256);
    chassis_log_render_puts(r, ",\"msg\":");
    chassis_log_render_text(r, chassis_view_str(record->message), true, CHASSIS_LOG_MESSAGE_MAX);
    chassis_log_render_put(r, record->inherited.data, record->inherited.len);
    chassis_log_render_fields(r, record->fields, record->n_fields);
    r->limit = limit;
    if (r->cut) {
        chassis_log_render_put(r, mark, sizeof mark - 1);
    }
    chassis_log_render_puts(r, "}");
}
