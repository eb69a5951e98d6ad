/* Regular expressions as every data plane understands them: the syntax RE2 and PCRE2 share.
 *
 * Invariants: a match looks at the whole text; what RE2 would refuse is refused; a match takes bounded
 * time (beyond it there is no match).
 * Threads: any; a compiled expression is constant. The only user of <pcre2.h>.
 */
#ifndef FUSE_CONTROL_PLANE_REGEX_H
#define FUSE_CONTROL_PLANE_REGEX_H

#include <chassis/buf.h>
#include <chassis/error.h>

struct fuse_regex;

enum { FUSE_REGEX_MAX = 512 };
/* CHASSIS_INVALID_ARGUMENT with what is wrong and where. */
int fuse_regex_new(const char *pattern, struct fuse_regex **ret_regex, struct chassis_error *err);
void fuse_regex_free(struct fuse_regex *regex);
bool fuse_regex_matches(const struct fuse_regex *regex, struct chassis_view text);

#endif
