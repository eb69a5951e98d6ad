/* Tokens: JWT (RFC 7519) with alg EdDSA (RFC 8037) and no other. */
#include <stdio.h>

#include "auth/internal.h"

enum { SKEW_S = 60 };

/* header.payload.signature taken apart; the texts are decoded and checked in form. */
struct parts {
    struct chassis_view signed_text; /* "header.payload" as it stands there */
    uint8_t signature[CHASSIS_AUTH_SIGNATURE_LEN];
    struct chassis_auth_claims claims;
};

static int bad(struct chassis_error *err, const char *what)
{
    return chassis_error_set(err, CHASSIS_UNAUTHENTICATED, "token refused: %s", what);
}

static const struct auth_member *member_find(const struct auth_member *members, const char *name)
{
    for (size_t i = 0; i < CHASSIS_AUTH_MEMBERS_MAX; i++) {
        if (strcmp(members[i].name, name) == 0) {
            return &members[i];
        }
    }
    return NULL;
}

/* Copy a text that must be there and fit. */
static bool text_of(const struct auth_member *members, const char *name, char *out, size_t size)
{
    const struct auth_member *m = member_find(members, name);
    return m != NULL && m->is_text && m->text[0] != '\0' &&
           snprintf(out, size, "%s", m->text) < (int)size;
}

static bool number_of(const struct auth_member *members, const char *name, int64_t *ret_number)
{
    const struct auth_member *m = member_find(members, name);
    if (m == NULL || m->is_text || m->number < 0) {
        return false;
    }
    *ret_number = m->number;
    return true;
}

static int decode_json(struct chassis_view text, struct auth_member *ret_members)
{
    struct chassis_buf json = {0};
    int rc = chassis_auth_base64url_decode(text, &json);
    if (rc == 0) {
        rc = chassis_auth_json_read(chassis_buf_view(&json), ret_members);
    }
    chassis_buf_fini(&json);
    return rc;
}

/* Only the three members we write: a "crit", "jwk" or "x5u" asks for what we will not do. */
static int read_header(struct chassis_view text, struct chassis_auth_claims *claims,
                       struct chassis_error *err)
{
    struct auth_member members[CHASSIS_AUTH_MEMBERS_MAX];
    if (decode_json(text, members) != 0) {
        return bad(err, "malformed header");
    }
    char alg[8], typ[8];
    if (!text_of(members, "alg", alg, sizeof alg) || strcmp(alg, "EdDSA") != 0) {
        return bad(err, "algorithm is not EdDSA");
    }
    if (!text_of(members, "typ", typ, sizeof typ) || strcmp(typ, "JWT") != 0 ||
        !text_of(members, "kid", claims->key_id, sizeof claims->key_id) ||
        members[3].name[0] != '\0') {
        return bad(err, "unexpected header");
    }
    return 0;
}

static int read_claims(struct chassis_view text, struct chassis_auth_claims *claims,
                       struct chassis_error *err)
{
    struct auth_member members[CHASSIS_AUTH_MEMBERS_MAX];
    int64_t incarnation;
    if (decode_json(text, members) != 0 ||
        !text_of(members, "sub", claims->process, sizeof claims->process) ||
        !text_of(members, "name", claims->name, sizeof claims->name) ||
        !number_of(members, "inc", &incarnation) || !number_of(members, "iat", &claims->issued_s) ||
        !number_of(members, "exp", &claims->expires_s)) {
        return bad(err, "malformed claims");
    }
    claims->incarnation = (uint64_t)incarnation;
    return 0;
}

static int read_signature(struct chassis_view text, uint8_t *signature, struct chassis_error *err)
{
    struct chassis_buf bytes = {0};
    bool good =
        chassis_auth_base64url_decode(text, &bytes) == 0 && bytes.len == CHASSIS_AUTH_SIGNATURE_LEN;
    if (good) {
        memcpy(signature, bytes.data, CHASSIS_AUTH_SIGNATURE_LEN);
    }
    chassis_buf_fini(&bytes);
    return good ? 0 : bad(err, "malformed signature");
}

static int take_apart(const char *token, struct parts *parts, struct chassis_error *err)
{
    memset(parts, 0, sizeof *parts);
    size_t len = strnlen(token, CHASSIS_AUTH_TOKEN_MAX);
    if (len == CHASSIS_AUTH_TOKEN_MAX) {
        return bad(err, "longer than 1023 bytes");
    }
    const char *first = strchr(token, '.');
    const char *second = first != NULL ? strchr(first + 1, '.') : NULL;
    if (second == NULL || strchr(second + 1, '.') != NULL) {
        return bad(err, "not three parts");
    }
    parts->signed_text = chassis_view(token, (size_t)(second - token));
    int rc = read_header(chassis_view(token, (size_t)(first - token)), &parts->claims, err);
    if (rc == 0) {
        rc =
            read_claims(chassis_view(first + 1, (size_t)(second - first - 1)), &parts->claims, err);
    }
    if (rc == 0) {
        rc = read_signature(chassis_view_str(second + 1), parts->signature, err);
    }
    return rc;
}

int chassis_auth_token_peek(const char *token, struct chassis_auth_claims *ret_claims,
                            struct chassis_error *err)
{
    struct parts parts;
    int rc = take_apart(token, &parts, err);
    if (rc == 0) {
        *ret_claims = parts.claims;
    }
    return rc;
}

int chassis_auth_token_verify(const char *token,
                              const uint8_t public_key[CHASSIS_AUTH_PUBLIC_KEY_LEN], int64_t now_s,
                              struct chassis_auth_claims *ret_claims, struct chassis_error *err)
{
    struct parts parts;
    int rc = take_apart(token, &parts, err);
    if (rc != 0) {
        return rc;
    }
    if (!chassis_auth_verify(public_key, parts.signed_text, parts.signature)) {
        return bad(err, "wrong signature");
    }
    if (now_s - SKEW_S >= parts.claims.expires_s) {
        return bad(err, "expired");
    }
    if (now_s + SKEW_S < parts.claims.issued_s) {
        return bad(err, "issued in the future: check the clocks");
    }
    *ret_claims = parts.claims;
    return 0;
}

static int write_json(const struct chassis_auth_claims *claims, struct chassis_buf *header,
                      struct chassis_buf *payload)
{
    chassis_buf_append_str(header, "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":");
    chassis_buf_append_str(payload, "{\"sub\":");
    int rc = chassis_auth_json_text(claims->key_id, header);
    rc = rc == 0 ? chassis_auth_json_text(claims->process, payload) : rc;
    chassis_buf_append_str(payload, ",\"name\":");
    rc = rc == 0 ? chassis_auth_json_text(claims->name, payload) : rc;
    chassis_buf_append_str(header, "}");
    chassis_buf_printf(payload, ",\"inc\":%llu,\"iat\":%lld,\"exp\":%lld}",
                       (unsigned long long)claims->incarnation, (long long)claims->issued_s,
                       (long long)claims->expires_s);
    return rc;
}

int chassis_auth_token_sign(const struct chassis_auth_key *key,
                            const struct chassis_auth_claims *claims,
                            char ret_token[CHASSIS_AUTH_TOKEN_MAX], struct chassis_error *err)
{
    if (claims->process[0] == '\0' || claims->name[0] == '\0' || claims->key_id[0] == '\0' ||
        claims->incarnation > INT64_MAX || claims->issued_s < 0 || claims->expires_s < 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "a token needs process, name, key id and times since the epoch");
    }
    struct chassis_buf header = {0}, payload = {0}, token = {0};
    int rc = write_json(claims, &header, &payload);
    if (rc != 0) {
        rc = chassis_error_set(err, rc, "process, name or key id of a token is not UTF-8");
    } else {
        uint8_t signature[CHASSIS_AUTH_SIGNATURE_LEN];
        chassis_auth_base64url(chassis_buf_view(&header), &token);
        chassis_buf_append_byte(&token, '.');
        chassis_auth_base64url(chassis_buf_view(&payload), &token);
        chassis_auth_sign(key, chassis_buf_view(&token), signature);
        chassis_buf_append_byte(&token, '.');
        chassis_auth_base64url(chassis_view(signature, sizeof signature), &token);
        if (token.len >= CHASSIS_AUTH_TOKEN_MAX) {
            rc = chassis_error_set(err, CHASSIS_TOO_LARGE, "a token would be %zu bytes, limit %d",
                                   token.len, CHASSIS_AUTH_TOKEN_MAX - 1);
        } else {
            memcpy(ret_token, token.data, token.len + 1);
        }
    }
    chassis_buf_fini(&header);
    chassis_buf_fini(&payload);
    chassis_buf_fini(&token);
    return rc;
}
