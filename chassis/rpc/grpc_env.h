/* What server and clients share of gRPC: the library's life, addresses, bytes, time.
 *
 * Threads: any.
 */
#ifndef CHASSIS_RPC_GRPC_ENV_H
#define CHASSIS_RPC_GRPC_ENV_H

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <stdbool.h>

#include <chassis/buf.h>

/* What a peer may send of one stream before it is read. Fixed: to find one by itself gRPC sends a ping
 * for nearly every read, which costs a small message more than the message. */
enum { RPC_WINDOW_BYTES = 1 << 20 };

/* grpc_init and its counterpart, counted; the first sends gRPC's own log to ours. */
void rpc_grpc_ref(void);
void rpc_grpc_unref(void);

/* Whether "host:port" or "unix:…" can be reached from this machine only. */
bool rpc_address_is_local(const char *address);
bool rpc_peer_is_local(const char *peer_uri);

struct rpc_bytes {
    struct chassis_view view;
    grpc_slice slice; /* what holds it */
};
/* The bytes of a received buffer in one piece; valid until rpc_bytes_fini. */
void rpc_bytes_init(struct rpc_bytes *bytes, grpc_byte_buffer *buffer);
void rpc_bytes_fini(struct rpc_bytes *bytes);

/* A protobuf-c message, or bytes if it is NULL, as a slice to send. */
grpc_slice rpc_slice_of(const void *message, struct chassis_view encoded);

static inline struct chassis_view rpc_slice_view(const grpc_slice *slice)
{
    return chassis_view(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}
gpr_timespec rpc_deadline(uint64_t monotonic_ns);
uint64_t rpc_deadline_from(gpr_timespec deadline);

#endif
