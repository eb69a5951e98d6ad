/* The server itself, for the files of this folder.
 *
 * Threads: the loop role.
 */
#ifndef FUSE_XDS_STATE_H
#define FUSE_XDS_STATE_H

#include "fuse/xds/session.h"

enum {
    FUSE_PROXIES_MAX = 10000,
    FUSE_TRIAL_MS = 10000,           /* an oracle that says nothing for so long is none */
    FUSE_SUBS_BYTES_MAX = 512 << 20, /* of all sessions' subscriptions */
};

struct fuse_xds {
    struct fuse_xds_options options;
    struct chassis_buf out; /* the response at hand */
    struct fuse_tree groups;
    unsigned n_groups;
    struct chassis_list touched;  /* groups */
    struct chassis_list sessions; /* all */
    struct chassis_list pushing;  /* sessions */
    struct chassis_list quarantines;
    struct chassis_task flush;
    unsigned n_sessions, n_fetching;
    uint64_t serial;   /* of sessions */
    uint64_t sequence; /* counts changes of model and views */
    size_t bytes;      /* of subs */
    bool ready, ready_wanted, flushing, closing;
};

static inline int64_t fuse_xds_wall_ns(const struct fuse_xds *xds)
{
    return xds->options.wall_ns(xds->options.wall_data);
}
static inline uint64_t fuse_xds_now_ns(const struct fuse_xds *xds)
{
    return chassis_now_ns(xds->options.loop);
}
/* Look after everything at the end of the turn. */
void fuse_xds_wake(struct fuse_xds *xds);
/* Readiness may have waited for this. */
void fuse_xds_fetched(struct fuse_xds *xds);

/* ---- measure.c ---- */
enum fuse_measure {
    FUSE_MEASURE_BUILDS,
    FUSE_MEASURE_COALESCED,
    FUSE_MEASURE_QUARANTINED,
    FUSE_MEASURE_ROUNDS,
    FUSE_MEASURE_STALE_NONCES,
    FUSE_N_MEASURES,
};
void fuse_measure_init(void);
void fuse_measure_quarantines(int delta);
void fuse_measure_add(enum fuse_measure measure, uint64_t n);
void fuse_measure_sessions(enum fuse_xds_protocol protocol, int delta);
void fuse_measure_push(enum fuse_type type, size_t bytes);
void fuse_measure_nack(enum fuse_type type);
void fuse_measure_ack(enum fuse_type type, double seconds);

#endif
