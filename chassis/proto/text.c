#include "proto/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

void text_print_string(struct chassis_view text, struct chassis_buf *out)
{
    static const char short_forms[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    chassis_buf_append_byte(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        chassis_buf_append(out, text.data + from, i - from);
        from = i + 1;
        if (c >= 0x20 || short_forms[c] != 0) {
            chassis_buf_append_byte(out, '\\');
            chassis_buf_append_byte(out, c >= 0x20 ? c : (uint8_t)short_forms[c]);
        } else {
            chassis_buf_printf(out, "\\u%04x", c);
        }
    }
    if (from < text.len) {
        chassis_buf_append(out, text.data + from, text.len - from);
    }
    chassis_buf_append_byte(out, '"');
}

void text_print_base64(struct chassis_view data, struct chassis_buf *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    chassis_buf_reserve(out, (data.len + 2) / 3 * 4 + 3);
    chassis_buf_append_byte(out, '"');
    for (size_t i = 0; i < data.len; i += 3) {
        size_t n = data.len - i < 3 ? data.len - i : 3;
        uint32_t v = (uint32_t)data.data[i] << 16 | (n > 1 ? (uint32_t)data.data[i + 1] << 8 : 0) |
                     (n > 2 ? data.data[i + 2] : 0);
        char quad[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63],
                        n > 1 ? alphabet[v >> 6 & 63] : '=', n > 2 ? alphabet[v & 63] : '='};
        chassis_buf_append(out, quad, 4);
    }
    chassis_buf_append_byte(out, '"');
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

bool text_parse_base64(struct chassis_view text, uint8_t *ret_data, size_t *ret_len)
{
    size_t digits = text.len, len = 0;
    while (digits > 0 && text.len - digits < 2 && text.data[digits - 1] == '=') {
        digits--;
    }
    if (digits % 4 == 1 || (digits != text.len && text.len % 4 != 0)) {
        return false;
    }
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = base64_digit(text.data[i]);
        if (digit < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            ret_data[len++] = (uint8_t)(bits >> n_bits);
        }
    }
    *ret_len = len;
    return true;
}

static bool print_special(double value, struct chassis_buf *out)
{
    if (isfinite(value)) {
        return false;
    }
    chassis_buf_append_str(out, isnan(value) ? "\"NaN\""
                                : value > 0  ? "\"Infinity\""
                                             : "\"-Infinity\"");
    return true;
}

void text_print_double(double value, struct chassis_buf *out)
{
    char text[40];
    if (print_special(value, out)) {
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    chassis_buf_append_str(out, text);
}

void text_print_float(float value, struct chassis_buf *out)
{
    char text[40];
    if (print_special((double)value, out)) {
        return;
    }
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) {
            break;
        }
    }
    chassis_buf_append_str(out, text);
}

bool text_is_number(struct chassis_view text)
{
    size_t i = 0;
#define DIGIT(at) ((at) < text.len && text.data[at] >= '0' && text.data[at] <= '9')
    i += text.len > 0 && text.data[0] == '-';
    if (!DIGIT(i)) {
        return false;
    }
    if (text.data[i] == '0') {
        i++;
    } else {
        while (DIGIT(i)) {
            i++;
        }
    }
    if (i < text.len && text.data[i] == '.') {
        i++;
        if (!DIGIT(i)) {
            return false;
        }
        while (DIGIT(i)) {
            i++;
        }
    }
    if (i < text.len && (text.data[i] == 'e' || text.data[i] == 'E')) {
        i++;
        i += i < text.len && (text.data[i] == '+' || text.data[i] == '-');
        if (!DIGIT(i)) {
            return false;
        }
        while (DIGIT(i)) {
            i++;
        }
    }
#undef DIGIT
    return i == text.len;
}

enum { NUMBER_MAX = 400 };

bool text_parse_double(struct chassis_view text, bool names, double *ret_value)
{
    char copy[NUMBER_MAX + 1];
    if (names && chassis_view_eq(text, chassis_view_str("NaN"))) {
        *ret_value = NAN;
        return true;
    }
    if (names && chassis_view_eq(text, chassis_view_str("Infinity"))) {
        *ret_value = INFINITY;
        return true;
    }
    if (names && chassis_view_eq(text, chassis_view_str("-Infinity"))) {
        *ret_value = -INFINITY;
        return true;
    }
    if (text.len > NUMBER_MAX || !text_is_number(text)) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    double value = strtod(copy, NULL);
    if (!isfinite(value)) {
        return false;
    }
    *ret_value = value;
    return true;
}

/* Digits only, after an optional sign: sign and magnitude; false if it is another form or overflows.
 */
static bool parse_plain(struct chassis_view text, bool *ret_negative, uint64_t *ret_magnitude)
{
    size_t i = text.len > 0 && text.data[0] == '-';
    uint64_t value = 0;
    if (!text_is_number(text)) {
        return false;
    }
    *ret_negative = i == 1;
    for (; i < text.len; i++) {
        uint8_t digit = (uint8_t)(text.data[i] - '0');
        if (digit > 9 || value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *ret_magnitude = value;
    return true;
}

/* "1e3", "12.0": whole and exactly representable. */
static bool parse_whole(struct chassis_view text, bool *ret_negative, uint64_t *ret_magnitude)
{
    double value;
    if (parse_plain(text, ret_negative, ret_magnitude)) {
        return true;
    }
    if (memchr(text.data, '.', text.len) == NULL && memchr(text.data, 'e', text.len) == NULL &&
        memchr(text.data, 'E', text.len) == NULL) {
        return false; /* more digits than 64 bits hold */
    }
    if (!text_parse_double(text, false, &value) || value != trunc(value) ||
        fabs(value) >= 18446744073709551616.0) {
        return false;
    }
    *ret_negative = value < 0;
    *ret_magnitude = (uint64_t)fabs(value);
    return true;
}

bool text_parse_i64(struct chassis_view text, int64_t min, int64_t max, int64_t *ret_value)
{
    bool negative;
    uint64_t magnitude;
    if (text.len == 0 || !parse_whole(text, &negative, &magnitude) ||
        magnitude > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    int64_t value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    if (value < min || value > max) {
        return false;
    }
    *ret_value = value;
    return true;
}

bool text_parse_u64(struct chassis_view text, uint64_t max, uint64_t *ret_value)
{
    bool negative;
    uint64_t magnitude;
    if (text.len == 0 || !parse_whole(text, &negative, &magnitude) ||
        (negative && magnitude != 0) || magnitude > max) {
        return false;
    }
    *ret_value = magnitude;
    return true;
}
