/* The ports of a gRPC server and the credentials they are served with.
 *
 * Invariants: each new connection of a port with TLS is served with what its identity has then.
 * Threads: one at a time; the identity is asked on gRPC's threads.
 * Ownership: what rpc_listen gives must outlive the server.
 */
#ifndef CHASSIS_RPC_LISTEN_H
#define CHASSIS_RPC_LISTEN_H

#include <grpc/grpc.h>

#include "rpc/server.h"

struct rpc_listen; /* NULL = plaintext */

/* Also when it fails there may be something to free after the server. */
int rpc_listen(grpc_server *server, const struct chassis_listener_options *options,
               struct rpc_listen **ret_listen, int *ret_port, struct chassis_error *err);
void rpc_listen_free(struct rpc_listen *listen);

#endif
