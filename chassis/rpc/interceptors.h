/* What every call gets, whatever its transport: one const table in interceptors.c.
 *
 * Threads: begin and bytes on the transport's thread; end on the role that ends the call; release on
 * whichever role drops the call last.
 */
#ifndef CHASSIS_RPC_INTERCEPTORS_H
#define CHASSIS_RPC_INTERCEPTORS_H

#include <chassis/call.h>

/* All `begin` in order; the first refusal ends the call. */
int rpc_intercept_begin(struct chassis_call *call, struct chassis_error *err);
/* All `end` in reverse order, for those whose begin was run. */
void rpc_intercept_end(struct chassis_call *call);
/* Give back permits. */
void rpc_intercept_release(struct chassis_call *call);
/* A message of `bytes` came in: takes a permit for them until the call goes (streams: replaces the
 * permit of the message before). */
int rpc_intercept_bytes(struct chassis_call *call, size_t bytes, struct chassis_error *err);

#endif
