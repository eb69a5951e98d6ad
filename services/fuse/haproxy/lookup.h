/* The routes of one listener as maps, so that a request is looked up, not tried against each route.
 *
 *   host ──hosts, wild──▶ number of the virtual host
 *   "<number>:<path>" ──exact, then longest of prefix──▶ a place: every route that can match there
 *
 * A place is one of
 *   <pool>   its first route has no conditions: decided
 *   ?<n>     depends on the method or on gRPC: "?<n>.<g>.<method>", then "?<n>.<g>", in `classes`
 *   !<n>     depends on headers, query parameters or a regular expression: the rules of list n, in order
 *
 * The routes of a place are known beforehand: an exact path's own and those of every prefix of it, and
 * the host's regular expressions, in order of precedence up to the first that always matches.
 *
 * Invariants: equal routes give equal texts; places with equal lists share one.
 * Threads: any. Ownership: caller's memory.
 */
#ifndef FUSE_HAPROXY_LOOKUP_H
#define FUSE_HAPROXY_LOOKUP_H

#include "fuse/control_plane/model.h"
#include "fuse/haproxy/condition.h"
#include "fuse/haproxy/text.h"

enum { FUSE_LOOKUP_RULES_MAX = 500000 };

/* One route of a virtual host and the pool it goes to. */
struct fuse_lookup_route {
    const struct fuse_route *route;
    const char *pool;
};
struct fuse_lookup {
    struct chassis_buf hosts, wild, exact, prefix, classes; /* lines of maps */
    struct chassis_buf rules;                               /* lines of a frontend */
    struct fuse_condition_headers headers;
    struct fuse_texts lists;
    unsigned n_hosts, n_places, n_lists, n_rules;
    unsigned any_host;            /* the number of "*"; 0 = none */
    uint8_t wild_labels[128 / 8]; /* a bit per number of labels after "*." */
};

void fuse_lookup_fini(struct fuse_lookup *lookup);
/* In order of precedence. Zero-initialised `lookup`. */
void fuse_lookup_add_host(struct fuse_lookup *lookup, const char *host,
                          const struct fuse_lookup_route *routes, unsigned n);
/* More than FUSE_LOOKUP_RULES_MAX rules: the result is incomplete and must not be used. */
bool fuse_lookup_is_too_large(const struct fuse_lookup *lookup);

#endif
