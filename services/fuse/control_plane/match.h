/* Does a request match a route? And if not, which condition fails.
 *
 * A header that comes several times has its values joined by ",", as Envoy and gRPC do; of a query
 * parameter the first counts, as it was sent.
 * Threads: any. Ownership: a look borrows its request.
 */
#ifndef FUSE_CONTROL_PLANE_MATCH_H
#define FUSE_CONTROL_PLANE_MATCH_H

#include "decide.h"

struct fuse_look {
    const struct fuse_request *request;
    struct chassis_view path, query; /* of the path before and behind "?" */
    struct chassis_buf joined;       /* values of the header looked at last */
};

void fuse_look_init(struct fuse_look *look, const struct fuse_request *request);
void fuse_look_fini(struct fuse_look *look);

/* All but the host. If not and `why` is given, the first condition that fails is appended, with what was
 * seen: "header 'x-user' is 'bob': it does not begin with 'al'". */
bool fuse_look_matches(struct fuse_look *look, const struct fuse_route *route,
                       struct chassis_buf *why);
/* NULL = absent. */
bool fuse_string_matches(const struct fuse_string_match *match, const struct chassis_view *value);
/* 'text', cut when it is long; always UTF-8. */
void fuse_quote(struct chassis_view text, struct chassis_buf *out);

#endif
