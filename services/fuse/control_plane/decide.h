/* Which route a request takes: Explain's and the property tests' answer, the reference every data
 * plane is compared with.
 *
 * Threads: as the view's. Ownership: verdicts live in the caller's arena.
 */
#ifndef FUSE_CONTROL_PLANE_DECIDE_H
#define FUSE_CONTROL_PLANE_DECIDE_H

#include <chassis/arena.h>

#include "view.h"

struct fuse_header {
    const char *name; /* lower case */
    const char *value;
};
struct fuse_request {
    const char *method;
    const char *host; /* without port, lower case; "" = none */
    const char *path; /* with the query string */
    const struct fuse_header *headers;
    unsigned n_headers;
};

enum fuse_outcome { /* numbers of draft.routing.v1.Verdict.Outcome */
                    FUSE_WINS = 1,
                    FUSE_LATER,
                    FUSE_NO_MATCH,
                    FUSE_NOT_HERE,
};
struct fuse_verdict {
    const struct fuse_entry *entry;
    enum fuse_outcome outcome;
    const char *reason;
};
struct fuse_decision {
    const struct fuse_entry *winner; /* NULL = none */
    const char *host;                /* whose routes were looked at; "" = none */
    /* The host's routes in order, those not seen here, of every less exact host the one that would
     * match, routes of other hosts; FUSE_VERDICTS_MAX at most, the winner among them. */
    struct fuse_verdict *verdicts;
    unsigned n_verdicts;
    const char *rewritten_path; /* "" without a winner */
};
enum { FUSE_VERDICTS_MAX = 1000 };

/* The winner only: what a proxy does. */
const struct fuse_entry *fuse_decide(const struct fuse_view *view, const char *listener,
                                     const struct fuse_request *request);
/* The same with the reasons; what does not fit into the arena's limit is left out. */
void fuse_decide_explain(const struct fuse_view *view, const char *listener,
                         const struct fuse_request *request, struct chassis_arena *arena,
                         struct fuse_decision *ret_decision);
/* The path as the target sees it after this route, query string included. */
const char *fuse_rewrite(const struct fuse_route *route, const char *path,
                         struct chassis_arena *arena);

#endif
