/* The syntax of regular expressions that RE2 (Envoy, gRPC) and PCRE2 (HAProxy) read alike, checked
 * without either.
 *
 * Allowed: visible ASCII and spaces; . | ^ $ ( ) (?: ) groups; * + ? {n} {n,} {n,m} up to 1,000, also
 * of nested repetitions taken together, without leading zeros, each also lazy; [classes] with ranges,
 * negated ones, [:names:]; \d \w \s \D \W \S \b \B \A \z \t \n \r \f \xHH below 80, and any
 * punctuation escaped; (?i), (?s), (?m), (?U) at the very beginning or for a group. Refused with the
 * place: everything else, also where only one of the two would take it, and literals that are easily
 * misread ("{", "]", "[" in a class) unless escaped.
 * Text beyond ASCII: RE2 looks at characters, PCRE2 at bytes; "." and negated classes can tell.
 * Threads: any. Pure.
 */
#ifndef FUSE_CONTROL_PLANE_PATTERN_H
#define FUSE_CONTROL_PLANE_PATTERN_H

#include <chassis/error.h>

enum {
    FUSE_PATTERN_SIZE_MAX = 20000,
    FUSE_PATTERN_SIZE_ENVOY = 100, /* re2.max_program_size.error_level, unless it is set */
};
/* `ret_size`: about the instructions RE2 needs, rather more than less. */
int fuse_pattern_check(const char *pattern, unsigned *ret_size, struct chassis_error *err);

#endif
