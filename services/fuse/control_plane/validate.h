/* What is wrong with a route: everything a proxy would refuse, found before any proxy sees it.
 *
 * Checks of single fields stand in a table by field (validate.c); convert.c runs them while it makes the
 * route. What depends on other routes is shadow.h's.
 * Threads: any.
 */
#ifndef FUSE_CONTROL_PLANE_VALIDATE_H
#define FUSE_CONTROL_PLANE_VALIDATE_H

#include <stdbool.h>

#include <chassis/buf.h>

enum { FUSE_PROBLEMS_MAX = 64, FUSE_PROBLEM_TEXT_MAX = 240 };
struct fuse_problem {
    bool is_error; /* else a warning */
    char field[80];
    char text[FUSE_PROBLEM_TEXT_MAX];
    char route[129]; /* the other route; "" = none */
};
/* Caller's memory, zero-initialised; further problems than fit are counted only. */
struct fuse_problems {
    struct fuse_problem items[FUSE_PROBLEMS_MAX];
    unsigned n, n_errors, n_lost;
};
void fuse_problem_error(struct fuse_problems *problems, const char *field, const char *format, ...)
    CHASSIS_PRINTF(3, 4);
void fuse_problem_warning(struct fuse_problems *problems, const char *field,
                          const char *other_route, const char *format, ...) CHASSIS_PRINTF(4, 5);

/* Single values: NULL when fine, else what is wrong, as a constant text. */
const char *fuse_check_name(const char *name);
const char *fuse_check_host(const char *host); /* "*", "*.suffix", a name */
const char *fuse_check_path(const char *path); /* exact, prefix or rewrite */
const char *fuse_check_header(const char *name);
const char *fuse_check_address(const char *host); /* of a target: IP address or DNS name */

#endif
