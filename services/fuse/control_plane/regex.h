/* Regular expressions as every data plane understands them: the syntax RE2 and PCRE2 share
 * (pattern.h says which).
 *
 * Invariants: a match looks at the whole text; what RE2 would refuse or read differently is refused; a
 * match takes bounded time (beyond it there is no match).
 * Threads: any; a compiled expression is constant. The only user of <pcre2.h>.
 */
#ifndef FUSE_CONTROL_PLANE_REGEX_H
#define FUSE_CONTROL_PLANE_REGEX_H

#include <stdbool.h>

#include <chassis/buf.h>
#include <chassis/error.h>

struct fuse_regex;

enum { FUSE_REGEX_MAX = 512 };
/* CHASSIS_INVALID_ARGUMENT with what is wrong and where. */
int fuse_regex_new(const char *pattern, struct fuse_regex **ret_regex, struct chassis_error *err);
/* NULL is fine. */
void fuse_regex_free(struct fuse_regex *regex);
bool fuse_regex_matches(const struct fuse_regex *regex, struct chassis_view text);
/* About the instructions of RE2's program, rather more than less. */
unsigned fuse_regex_size(const struct fuse_regex *regex);

#endif
