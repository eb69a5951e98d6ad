/* What is wrong with a route: everything a proxy would refuse, found before any proxy sees it.
 *
 * Checks of single values stand in a table by kind (validate.c); convert.c runs them while it makes the
 * route. What a route as a whole asks of data planes that cannot do it is advice.h's, what depends on
 * other routes shadow.h's.
 *
 * What can stand in a route that was accepted, so what has to be escaped when it is written into a
 * proxy's configuration: nowhere a control character or one beyond ASCII. Names, hosts, addresses,
 * methods, names of headers, cookies and query parameters: no space, quote, backslash, '#', '$', '{' or
 * "%[" at all. Paths, rewrites, texts of query parameters: '%' only with two hexadecimal digits behind
 * it; no space, double quote, backslash, '#', '{'; but "'", '$', '(' and ')' are there. Texts of headers
 * and regular expressions: any printable character, spaces, both quotes, backslashes, '#', "%[" and
 * "${" included.
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
/* "match.regex: …": a problem as one line, as AddRouteResponse has them; appends. */
void fuse_problem_print(const struct fuse_problem *problem, struct chassis_buf *out);

/* Single values: NULL when fine, else what is wrong, as a constant text. */
const char *fuse_check_name(const char *name); /* of a route, service, listener, group */
const char *fuse_check_host(const char *host); /* "*", "*.suffix", a name; any case */
const char *fuse_check_path(const char *path); /* exact, prefix or rewrite */
const char *fuse_check_method(const char *method);
const char *fuse_check_header(const char *name); /* any case */
const char *fuse_check_header_text(const char *text);
const char *fuse_check_query(const char *name);
const char *fuse_check_query_text(const char *text);
const char *fuse_check_cookie(const char *name);
const char *fuse_check_address(const char *host);      /* of a target: IP address or DNS name */
const char *fuse_check_grpc_service(const char *name); /* "pkg.Service" */
const char *fuse_check_grpc_method(const char *name);

#endif
