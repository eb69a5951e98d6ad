/* What certain clients must not be told.
 *
 * gRPC's C core before 1.52 (core 30) dies when a ring-hash picker goes: a wrong cast (grpc/grpc
 * issue 31766, pull request 32012; Debian 12 has 1.51.1). It gets the clusters without: round robin,
 * so that hash keys mean nothing to it, under the same version.
 * Threads: any.
 */
#ifndef FUSE_XDS_QUIRK_H
#define FUSE_XDS_QUIRK_H

#include <stdbool.h>

#include <chassis/buf.h>

/* Of a node: "gRPC C-core linux Python", "C-core 29.0.0 Python 1.51.1". */
bool fuse_quirk_fears_ring_hash(const char *user_agent_name, const char *user_agent_version);
/* Appends a cluster, encoded, as it is but without its policy of load balancing, and without an Any
 * around it. */
void fuse_quirk_drop_ring_hash(struct chassis_view cluster, struct chassis_buf *out);

#endif
