/* The first message of a peer stream each way; see transport_grpc.h.
 *
 *   magic "DPHE" (hello) or "DPWE" (welcome) | format u32 (1) | cluster id (16) | from u64 | to u64
 *   | boot u64 | session u64 | command version u32 | nonce (32, the caller's) | mac (32)
 *
 * Threads: any.
 */
#ifndef CHASSIS_CONSENSUS_HELLO_H
#define CHASSIS_CONSENSUS_HELLO_H

#include <chassis/buf.h>
#include <chassis/error.h>

enum { HELLO_NONCE_LEN = 32, HELLO_FORMAT = 1, HELLO_LEN = 4 + 4 + 16 + 4 * 8 + 4 + 32 + 32 };

struct hello {
    bool welcome; /* the answer */
    uint8_t cluster_id[16];
    uint64_t from, to, boot, session;
    uint32_t version;
    uint8_t nonce[HELLO_NONCE_LEN];
};

void hello_encode(const struct hello *hello, struct chassis_view secret, uint8_t out[HELLO_LEN]);
/* CHASSIS_MALFORMED, CHASSIS_BAD_VERSION, CHASSIS_PERMISSION_DENIED (another cluster, another node
 * meant, wrong secret): compared with `expected`, whose cluster, `to` and `welcome` count. */
int hello_decode(struct chassis_view data, const struct hello *expected, struct chassis_view secret,
                 struct hello *ret_hello, struct chassis_error *err);

#endif
