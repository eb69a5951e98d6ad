/* Who a caller is and what it may: access classes, tokens, proofs by the cluster secret.
 *
 * A proof is a request header that only a holder of the cluster secret can make:
 *     draft-proof: v1.<unix seconds>.<nonce, 32 hex digits>.<mac, 64 hex digits>
 *     mac = HMAC-SHA-256(secret, "draft-proof-v1\n" path "\n" seconds "\n" nonce)
 * It is good for one call of one method, for 60 s around its time, and once: the nonces of that
 * window are remembered (bounded; when full, proofs are refused until the window has moved on).
 * Holders of the secret are nodes and operators, so a proof gives the class peer, which includes
 * operator. The classes form a ladder: public < service < operator < peer.
 *
 * Threads: any. Ownership: the secret is copied and wiped.
 */
#ifndef CHASSIS_RPC_ACCESS_H
#define CHASSIS_RPC_ACCESS_H

#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/call.h>
#include <chassis/error.h>

#include "rpc/server.h"

#define CHASSIS_PROOF_HEADER "draft-proof"
enum { CHASSIS_PROOF_MAX = 128, CHASSIS_PROOF_WINDOW_S = 60 };

/* For callers: the header's value for one call. */
void chassis_proof_make(struct chassis_view secret, const char *path, int64_t now_s,
                        char ret_proof[CHASSIS_PROOF_MAX]);

struct rpc_access;
struct rpc_access *rpc_access_new(const struct chassis_server_options *options);
void rpc_access_free(struct rpc_access *access);
/* CHASSIS_UNAUTHENTICATED with the reason: form, time, mac or replay. */
int rpc_access_check_proof(struct rpc_access *access, const char *proof, const char *path,
                           int64_t now_s, struct chassis_error *err);
/* Fill in call->peer. A credential that does not hold leaves the class it would have given out; its
 * reason goes to `err` (may be NULL). */
void rpc_access_resolve(struct rpc_access *access, struct chassis_call *call,
                        struct chassis_error *err);
/* The class the method asks for against the one the caller has proved. */
int rpc_access_check(struct rpc_access *access, struct chassis_call *call,
                     struct chassis_error *err);
const char *rpc_access_name(enum chassis_access access);

#endif
