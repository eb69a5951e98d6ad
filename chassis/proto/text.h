/* The forms values take as text in JSON: base64, numbers, RFC 3339 times, durations.
 *
 * Threads: any. Printing appends; parsing returns false for what is not well-formed or out of range.
 */
#ifndef CHASSIS_PROTO_TEXT_H
#define CHASSIS_PROTO_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/arena.h>
#include <chassis/buf.h>

/* A JSON string with its quotes. `text` must be valid UTF-8. */
void text_print_string(struct chassis_view text, struct chassis_buf *out);
/* Standard alphabet with padding (RFC 4648 §4), quoted. */
void text_print_base64(struct chassis_view data, struct chassis_buf *out);
/* Both alphabets, padding optional. `ret_data` has room for text.len bytes. */
bool text_parse_base64(struct chassis_view text, uint8_t *ret_data, size_t *ret_len);
/* The shortest text that reads back as the same number; NaN and infinities as quoted names. */
void text_print_double(double value, struct chassis_buf *out);
void text_print_float(float value, struct chassis_buf *out);
/* The grammar of a number in RFC 8259 §6. */
bool text_is_number(struct chassis_view text);
/* A JSON number; a fraction or exponent is accepted where the value is whole. */
bool text_parse_i64(struct chassis_view text, int64_t min, int64_t max, int64_t *ret_value);
bool text_parse_u64(struct chassis_view text, uint64_t max, uint64_t *ret_value);
/* Also "NaN", "Infinity" and "-Infinity" when `names`. False when it overflows. */
bool text_parse_double(struct chassis_view text, bool names, double *ret_value);

/* "1972-01-01T10:00:20.021Z", years 1 to 9999; false outside. Quoted when printed. */
bool text_print_timestamp(int64_t seconds, int64_t nanos, struct chassis_buf *out);
bool text_parse_timestamp(struct chassis_view text, int64_t *ret_seconds, int32_t *ret_nanos);
/* "-3.000000001s", at most 315,576,000,000 s either way. */
bool text_print_duration(int64_t seconds, int64_t nanos, struct chassis_buf *out);
bool text_parse_duration(struct chassis_view text, int64_t *ret_seconds, int32_t *ret_nanos);

#endif
