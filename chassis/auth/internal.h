/* What the files of this module share.
 *
 * Threads: none of its own.
 */
#ifndef CHASSIS_AUTH_INTERNAL_H
#define CHASSIS_AUTH_INTERNAL_H

#include <sys/types.h>

#include "auth/auth.h"
#include "auth/identity.h"

enum { CHASSIS_AUTH_FILE_MAX = 1 << 20 /* bytes of a key, certificate or secret file */ };

/* Read a regular file. Refused when its mode has a bit of `forbidden_mode`, with what to do. */
int chassis_auth_file_read(const char *path, mode_t forbidden_mode, struct chassis_buf *ret_text,
                           struct chassis_error *err);
/* Make a file that must not exist yet, mode 0600, synced; it appears whole or not at all. -EEXIST
 * if it is there. */
int chassis_auth_file_create(const char *path, struct chassis_view text, struct chassis_error *err);
/* Reserve and forget without a trace. */
void chassis_auth_wipe(struct chassis_buf *buf);

/* Read the files given (NULL = none) and check them: whole, key and certificate belong together, not
 * weak, valid now. The error names the file. */
struct chassis_auth_tls_paths {
    const char *ca, *certificate, *key;
};
int chassis_auth_tls_load(const struct chassis_auth_tls_paths *paths,
                          struct chassis_auth_tls *ret_tls, struct chassis_error *err);
void chassis_auth_tls_fini(struct chassis_auth_tls *tls); /* wipes the key */
/* "2026-11-22 15:04 UTC" */
void chassis_auth_date_text(int64_t time_s, char out[32]);
/* How often identities are looked at, from now on; for tests. */
void chassis_auth_look_every_ms(unsigned ms);

/* Ed25519 (RFC 8032). */
void chassis_auth_sign(const struct chassis_auth_key *key, struct chassis_view message,
                       uint8_t ret_signature[CHASSIS_AUTH_SIGNATURE_LEN]);
bool chassis_auth_verify(const uint8_t public_key[CHASSIS_AUTH_PUBLIC_KEY_LEN],
                         struct chassis_view message,
                         const uint8_t signature[CHASSIS_AUTH_SIGNATURE_LEN]);
/* From 32 raw bytes, for test vectors. */
struct chassis_auth_key *chassis_auth_key_from_seed(const uint8_t seed[32]);

/* One flat JSON object of strings, integers and booleans, read member by member. Strict: no nesting,
 * no floating point, no duplicate of a member (the caller asks for each by name), whole input. */
struct auth_member {
    char name[32];
    bool is_text;
    char text[256];
    int64_t number; /* of a number; 0 or 1 of a boolean */
};
enum { CHASSIS_AUTH_MEMBERS_MAX = 16 };
int chassis_auth_json_read(struct chassis_view json,
                           struct auth_member ret_members[CHASSIS_AUTH_MEMBERS_MAX]);
/* A JSON string with its quotes, appended; CHASSIS_INVALID_ARGUMENT for what is no UTF-8. */
int chassis_auth_json_text(const char *text, struct chassis_buf *out);

#endif
