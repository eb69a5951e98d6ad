/* Keys, tokens and secrets; TLS files are in auth/identity.h. The only user of OpenSSL.
 *
 * Each node makes its own Ed25519 key (RFC 8032) on first start, file mode 0600, and publishes the
 * public half in replicated state, so any node can verify what another one signed. A token is a JWT
 * (RFC 7519, alg EdDSA, RFC 8037) about one registered process.
 *
 * Threads: keys and secrets are constant after opening and may be used from any role.
 * Ownership: `open` results are the caller's to close.
 */
#ifndef CHASSIS_AUTH_AUTH_H
#define CHASSIS_AUTH_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>

enum {
    CHASSIS_AUTH_PUBLIC_KEY_LEN = 32,
    CHASSIS_AUTH_SIGNATURE_LEN = 64,
    CHASSIS_AUTH_MAC_LEN = 32,
    CHASSIS_AUTH_TOKEN_MAX = 1024,
};

struct chassis_auth_key;

/* Load the private key (PEM) at `path`, or make one there (0600). A file others can read is refused. */
int chassis_auth_key_open(const char *path, struct chassis_auth_key **ret_key,
                          struct chassis_error *err);
void chassis_auth_key_close(struct chassis_auth_key *key);
void chassis_auth_key_public(const struct chassis_auth_key *key,
                             uint8_t ret_public[CHASSIS_AUTH_PUBLIC_KEY_LEN]);

struct chassis_auth_claims {
    char process[64]; /* pid (UUID); "sub" */
    char name[256];
    uint64_t incarnation;
    int64_t issued_s, expires_s; /* since the epoch; "iat", "exp" */
    char key_id[64];             /* which node signed: header "kid" */
};
/* Sign; writes a NUL-terminated token of at most CHASSIS_AUTH_TOKEN_MAX bytes. */
int chassis_auth_token_sign(const struct chassis_auth_key *key,
                            const struct chassis_auth_claims *claims,
                            char ret_token[CHASSIS_AUTH_TOKEN_MAX], struct chassis_error *err);
/* Only take apart (to find key_id and process); nothing is proven by it. */
int chassis_auth_token_peek(const char *token, struct chassis_auth_claims *ret_claims,
                            struct chassis_error *err);
/* Signature, algorithm and expiry (60 s of skew allowed) against one public key.
 * CHASSIS_UNAUTHENTICATED with the reason. */
int chassis_auth_token_verify(const char *token,
                              const uint8_t public_key[CHASSIS_AUTH_PUBLIC_KEY_LEN], int64_t now_s,
                              struct chassis_auth_claims *ret_claims, struct chassis_error *err);

/* The cluster secret: 32 random bytes, hexadecimal, in a 0600 file made by the first node. */
int chassis_auth_secret_open(const char *path, bool create, struct chassis_buf *ret_secret,
                             struct chassis_error *err);
/* HMAC-SHA-256 (RFC 2104) and comparison in constant time. */
void chassis_auth_mac(struct chassis_view secret, struct chassis_view message,
                      uint8_t ret_mac[CHASSIS_AUTH_MAC_LEN]);
bool chassis_auth_equal(struct chassis_view a, struct chassis_view b);

/* URL-safe base64 without padding (RFC 4648 §5), appended; and back. */
void chassis_auth_base64url(struct chassis_view data, struct chassis_buf *out);
int chassis_auth_base64url_decode(struct chassis_view text, struct chassis_buf *out);

#endif
