/* What a route asks of headers, query parameters and (regex) path, as conditions of HAProxy's rules.
 *
 * Threads: any.
 */
#ifndef FUSE_HAPROXY_CONDITION_H
#define FUSE_HAPROXY_CONDITION_H

#include "fuse/control_plane/route.h"
#include "fuse/haproxy/text.h"

/* The headers that conditions look at. The value of number n stands in the variable txn.h<n>, those of
 * a header that came several times joined by ",". Zeroed = empty. */
struct fuse_condition_headers {
    struct fuse_texts numbers;
    struct chassis_buf rules; /* what sets the variables, for requests that need them */
    unsigned n;
};
void fuse_condition_headers_fini(struct fuse_condition_headers *headers);

/* Appends " { … }" for each; all must hold. Method and gRPC are not among them. */
void fuse_condition_write(const struct fuse_route *route, struct fuse_condition_headers *headers,
                          struct chassis_buf *out);

#endif
