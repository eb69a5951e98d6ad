/* The view of the xDS server: AggregatedDiscoveryService and the services of one type each (LDS, RDS,
 * CDS, EDS, SDS), their streams in both protocols and Fetch.
 *
 *   cq     open, message (bytes as they came), end ── held: one at a time ──▶ loop: session
 *   cq     client gone, room again ─────────────────────────────────────────▶ loop
 *   loop   answers are sent from here; a full queue waits for room
 *
 * So a stream costs its call, its session and at most one request; what it does not read is not
 * queued but told later in its newest state.
 *
 * Threads: handlers on the completion-queue threads, everything else on the loop.
 * Ownership: the service's memory, from before the first call until after the last.
 */
#ifndef FUSE_XDS_RPC_H
#define FUSE_XDS_RPC_H

#include <chassis/call.h>

#include "base/list.h"
#include "server.h"

struct fuse_xds_views {
    struct fuse_xds *xds; /* NULL = not there yet: UNAVAILABLE; set on the loop */
    struct chassis_executor *loop;
    /* the views' own */
    struct chassis_list streams;
    bool draining;
};
/* `loop` is set; the rest is zeroed. */
void fuse_xds_views_init(struct fuse_xds_views *views);
/* On the loop: streams end, so that proxies go elsewhere; new ones are refused. All sessions are closed
 * when it returns. */
void fuse_xds_views_drain(struct fuse_xds_views *views);

enum { FUSE_XDS_SERVICES = 6 };
void fuse_xds_services(struct fuse_xds_views *views,
                       struct chassis_service ret_services[FUSE_XDS_SERVICES]);

#endif
