/* UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF.
 *
 * Threads: any.
 */
#ifndef CHASSIS_BASE_UTF8_H
#define CHASSIS_BASE_UTF8_H

#include <stdbool.h>

#include <chassis/buf.h>

/* Bytes of the well-formed character at `p`, of which `left` (at least one) bytes are there; 0 if
 * there is none. NUL is a character of one byte. */
size_t chassis_utf8_len(const uint8_t *p, size_t left);

/* Well-formed from end to end and free of NUL, so also a C string. */
bool chassis_utf8_valid(struct chassis_view text);

#endif
