/* The transport of production: one gRPC stream to each peer for what this node sends, one from each
 * for what it receives.
 *
 * A stream begins with a hello and is answered by a welcome; both carry an HMAC-SHA-256 with the
 * cluster secret over cluster id, both node ids, boot, session, version and the caller's nonce, so
 * each side knows that the other belongs to this cluster before any frame is decoded. The method is
 * of access class peer besides: without the secret or a listed certificate a call does not get here.
 * Frames of an older session of a peer are dropped.
 *
 * Threads: new, service and free on the boot thread; streams arrive on completion-queue threads and
 * are passed to the loop; free only after the server that serves the service is gone.
 */
#ifndef CHASSIS_CONSENSUS_TRANSPORT_GRPC_H
#define CHASSIS_CONSENSUS_TRANSPORT_GRPC_H

#include <chassis/client.h>
#include <chassis/log.h>
#include <chassis/service.h>

#include "consensus/transport.h"

struct chassis_transport_grpc_options {
    const struct chassis_tls_files *tls; /* borrowed; NULL = plaintext */
    const char *cluster_secret_file;     /* for the proof each stream carries; NULL = none */
    struct chassis_logger *log;          /* NULL = module "consensus" */
};
struct chassis_transport *
chassis_transport_grpc_new(const struct chassis_transport_grpc_options *options);
/* To be added to the server before it starts; `/draft.cluster.v1.PeerService/Frames`. */
struct chassis_service chassis_transport_grpc_service(struct chassis_transport *transport);
void chassis_transport_grpc_free(struct chassis_transport *transport);

#endif
