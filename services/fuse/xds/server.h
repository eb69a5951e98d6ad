/* The xDS server without its wires: groups, sessions, acknowledgements, quarantine.
 *
 *   model ──changed──▶ group: touched resources are built again, once ──▶ sessions that asked for them
 *   session ──NACK──▶ judge: which route? ──▶ view override + quarantine record ──▶ group
 *
 * A session is one stream of one proxy. It is given encoded requests and gives encoded responses; rpc.c
 * ties it to a call, tests and the fuzzer talk to it directly.
 *
 * Invariants: what has not changed is never sent again; at most one response per type is
 * unacknowledged; of changes that came meanwhile only the newest state follows; types go out in the
 * order of enum fuse_type.
 * Threads: the loop role. Ownership: sessions are freed by fuse_xds_close.
 */
#ifndef FUSE_XDS_SERVER_H
#define FUSE_XDS_SERVER_H

#include <chassis/executor.h>
#include <chassis/log.h>

#include "fuse/control_plane/proxies.h"
#include "fuse/control_plane/store.h"
#include "resources.h"

struct fuse_xds_options {
    const struct fuse_model *model; /* listened to by the server */
    const struct fuse_statics *statics;
    struct fuse_proxies *proxies;
    struct fuse_store *store; /* for quarantine records */
    struct chassis_executor *loop;
    struct chassis_logger *log;
    int64_t (*wall_ns)(void *data);
    void *wall_data;
    unsigned proxies_max; /* 0 = 10,000 */
    /* A view that fuse_xds_view gave away is another now, without a change of the model: a route is kept
     * away, or no longer. May be NULL. */
    void (*view_changed)(void *data, const char *group);
    void *view_data;
};
struct fuse_xds *fuse_xds_new(const struct fuse_xds_options *options);
/* Sessions must be closed before. */
void fuse_xds_free(struct fuse_xds *xds);
/* The model is complete: sessions are answered from now on (requests before that wait). */
void fuse_xds_ready(struct fuse_xds *xds);
/* statics changed (a secret's file). */
void fuse_xds_statics_changed(struct fuse_xds *xds);
/* What Blueprint knows of a group's quarantine; record empty = released. */
void fuse_xds_quarantine(struct fuse_xds *xds, const char *group, const char *route,
                         struct chassis_view record);
/* Quarantines of a route, for GetRoute; views live until the next change. */
void fuse_xds_each_quarantine(const struct fuse_xds *xds, const char *route,
                              void (*each)(struct chassis_view record, void *data), void *data);
/* The view of a node group, for who keeps it (the HAProxy adapter): made if it is not there, lives as
 * long as the server. */
struct fuse_view *fuse_xds_view(struct fuse_xds *xds, const char *group);
/* The same for a look (Explain): NULL if the group has no proxies, then it is what fuse_view_new
 * makes. Lives until the loop's turn ends. */
struct fuse_view *fuse_xds_find_view(const struct fuse_xds *xds, const char *group);

struct fuse_xds_session;
struct fuse_xds_wire {
    /* 0, CHASSIS_RESOURCE_EXHAUSTED (not taken; fuse_xds_writable follows), CHASSIS_CANCELLED. */
    int (*send)(void *data, struct chassis_view response);
    /* The proxy broke the rules: end the stream with this. Not called again; fuse_xds_close follows. */
    void (*fail)(void *data, const struct chassis_error *err);
    void *data;
};
struct fuse_xds_peer {
    const char *address;
    bool private_stream; /* loopback or encrypted: secrets may be sent */
};
enum fuse_xds_protocol { FUSE_XDS_SOTW, FUSE_XDS_DELTA };
/* `only`: of a per-type service; FUSE_N_TYPES = aggregated. CHASSIS_RESOURCE_EXHAUSTED when there are
 * too many proxies. */
int fuse_xds_open(struct fuse_xds *xds, enum fuse_xds_protocol protocol, enum fuse_type only,
                  const struct fuse_xds_peer *peer, const struct fuse_xds_wire *wire,
                  struct fuse_xds_session **ret_session, struct chassis_error *err);
void fuse_xds_request(struct fuse_xds_session *session, struct chassis_view encoded);
void fuse_xds_writable(struct fuse_xds_session *session);
void fuse_xds_close(struct fuse_xds_session *session);

/* One request, one answer, no session: appends the encoded DiscoveryResponse with everything that was
 * asked for. */
int fuse_xds_fetch(struct fuse_xds *xds, enum fuse_type only, const struct fuse_xds_peer *peer,
                   struct chassis_view encoded, struct chassis_buf *out, struct chassis_error *err);

#endif
