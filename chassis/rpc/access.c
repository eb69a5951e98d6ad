#include "rpc/access.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "auth/auth.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/prng.h"
#include "rpc/server_impl.h"

enum {
    NONCE_LEN = 16,
    NONCES_FIRST = 256,
    NONCES_MAX = 32768, /* per generation of 2 windows */
    TOKENS = 64,
    TOKEN_TTL_S = 5, /* a verified token is believed this long without asking again */
};

struct nonce_set { /* open addressing; an all-zero slot is free */
    uint8_t (*slots)[NONCE_LEN];
    size_t size, used;
    int64_t since_s;
};

struct token_entry {
    uint64_t hash;
    int64_t until_s;
    char *token;
    struct chassis_auth_claims claims;
};

struct rpc_access {
    struct chassis_buf secret;
    char **operators, **peers;
    bool operator_loopback;
    int (*verify)(void *, const char *, struct chassis_auth_claims *, struct chassis_error *);
    void *verify_data;
    pthread_mutex_t lock;       /* guards what follows */
    struct nonce_set nonces[2]; /* the present generation and the one before */
    struct token_entry tokens[TOKENS];
};

static char **names_copy(const char *const *names)
{
    size_t n = 0;
    while (names != NULL && names[n] != NULL) {
        n++;
    }
    char **out = chassis_base_zalloc((n + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        out[i] = chassis_base_strdup(names[i]);
    }
    return out;
}

static void names_free(char **names)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        free(names[i]);
    }
    free(names);
}

static bool names_have(char *const *names, const char *name)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

struct rpc_access *rpc_access_new(const struct chassis_server_options *options)
{
    struct rpc_access *a = chassis_base_zalloc(sizeof *a);
    chassis_buf_append_view(&a->secret, options->cluster_secret);
    a->operators = names_copy(options->operators);
    a->peers = names_copy(options->peers);
    a->operator_loopback = options->operator_loopback;
    a->verify = options->verify_token;
    a->verify_data = options->verify_token_data;
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

void rpc_access_free(struct rpc_access *a)
{
    if (a == NULL) {
        return;
    }
    explicit_bzero(a->secret.data, a->secret.cap);
    chassis_buf_fini(&a->secret);
    names_free(a->operators);
    names_free(a->peers);
    for (int i = 0; i < TOKENS; i++) {
        free(a->tokens[i].token);
    }
    free(a->nonces[0].slots);
    free(a->nonces[1].slots);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ---- proofs ---- */

static void hex(char *out, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
}

static int unhex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(uint8_t *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int hi = unhex_digit(text[2 * i]), lo = hi < 0 ? -1 : unhex_digit(text[2 * i + 1]);
        if (lo < 0) {
            return false;
        }
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static void proof_mac(struct chassis_view secret, const char *path, int64_t seconds,
                      const uint8_t nonce[NONCE_LEN], uint8_t ret_mac[CHASSIS_AUTH_MAC_LEN])
{
    char nonce_text[2 * NONCE_LEN + 1];
    struct chassis_buf text = {0};
    hex(nonce_text, nonce, NONCE_LEN);
    chassis_buf_printf(&text, "draft-proof-v1\n%s\n%lld\n%s", path, (long long)seconds, nonce_text);
    chassis_auth_mac(secret, chassis_buf_view(&text), ret_mac);
    chassis_buf_fini(&text);
}

void chassis_proof_make(struct chassis_view secret, const char *path, int64_t now_s,
                        char ret_proof[CHASSIS_PROOF_MAX])
{
    uint8_t nonce[NONCE_LEN], mac[CHASSIS_AUTH_MAC_LEN];
    char nonce_text[2 * NONCE_LEN + 1], mac_text[2 * CHASSIS_AUTH_MAC_LEN + 1];
    chassis_base_random_bytes(nonce, sizeof nonce);
    proof_mac(secret, path, now_s, nonce, mac);
    hex(nonce_text, nonce, sizeof nonce);
    hex(mac_text, mac, sizeof mac);
    snprintf(ret_proof, CHASSIS_PROOF_MAX, "v1.%lld.%s.%s", (long long)now_s, nonce_text, mac_text);
}

static bool nonce_find(const struct nonce_set *set, const uint8_t nonce[NONCE_LEN], size_t *ret_at)
{
    static const uint8_t none[NONCE_LEN];
    if (set->size == 0) {
        return false;
    }
    uint64_t at;
    memcpy(&at, nonce, sizeof at);
    for (at &= set->size - 1;; at = (at + 1) & (set->size - 1)) {
        if (memcmp(set->slots[at], nonce, NONCE_LEN) == 0) {
            return true;
        }
        if (memcmp(set->slots[at], none, NONCE_LEN) == 0) {
            *ret_at = at;
            return false;
        }
    }
}

static void nonce_add(struct nonce_set *set, const uint8_t nonce[NONCE_LEN])
{
    size_t at = 0;
    if (set->used * 2 >= set->size) {
        struct nonce_set old = *set;
        set->size = old.size != 0 ? old.size * 2 : NONCES_FIRST;
        set->slots = chassis_base_zalloc(set->size * NONCE_LEN);
        set->used = 0;
        static const uint8_t none[NONCE_LEN];
        for (size_t i = 0; i < old.size; i++) {
            if (memcmp(old.slots[i], none, NONCE_LEN) != 0) {
                nonce_add(set, old.slots[i]);
            }
        }
        free(old.slots);
    }
    if (!nonce_find(set, nonce, &at)) {
        memcpy(set->slots[at], nonce, NONCE_LEN);
        set->used++;
    }
}

/* A nonce can come again while its time is within the window: at most 2 windows after it was first
 * seen. A generation that old is forgotten as a whole. */
static int nonce_use(struct rpc_access *a, const uint8_t nonce[NONCE_LEN], int64_t now_s,
                     struct chassis_error *err)
{
    size_t at;
    int rc = 0;
    pthread_mutex_lock(&a->lock);
    if (now_s - a->nonces[0].since_s > 2 * CHASSIS_PROOF_WINDOW_S || a->nonces[0].size == 0) {
        free(a->nonces[1].slots);
        a->nonces[1] = a->nonces[0];
        a->nonces[0] = (struct nonce_set){.since_s = now_s};
    }
    if (nonce_find(&a->nonces[0], nonce, &at) || nonce_find(&a->nonces[1], nonce, &at)) {
        rc = chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                               "proof was used before: make a new one for every call");
    } else if (a->nonces[0].used >= NONCES_MAX) {
        rc = chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED,
                               "more than %d proofs within %d s: try again later", NONCES_MAX,
                               2 * CHASSIS_PROOF_WINDOW_S);
    } else {
        nonce_add(&a->nonces[0], nonce);
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

int rpc_access_check_proof(struct rpc_access *a, const char *proof, const char *path, int64_t now_s,
                           struct chassis_error *err)
{
    uint8_t nonce[NONCE_LEN], mac[CHASSIS_AUTH_MAC_LEN], expected[CHASSIS_AUTH_MAC_LEN];
    char *end = NULL;
    if (a->secret.len == 0) {
        return chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                                 "this node has no cluster secret to check a proof with");
    }
    bool form = strncmp(proof, "v1.", 3) == 0 && proof[3] >= '0' && proof[3] <= '9';
    long long seconds = form ? strtoll(proof + 3, &end, 10) : 0;
    form = form && strlen(end) == 1 + 2 * NONCE_LEN + 1 + 2 * CHASSIS_AUTH_MAC_LEN &&
           end[0] == '.' && end[1 + 2 * NONCE_LEN] == '.' && unhex(nonce, end + 1, NONCE_LEN) &&
           unhex(mac, end + 2 + 2 * NONCE_LEN, CHASSIS_AUTH_MAC_LEN);
    if (!form) {
        return chassis_error_set(err, CHASSIS_UNAUTHENTICATED, "proof is not of the form v1");
    }
    proof_mac(chassis_buf_view(&a->secret), path, seconds, nonce, expected);
    if (!chassis_auth_equal(chassis_view(mac, sizeof mac),
                            chassis_view(expected, sizeof expected))) {
        return chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                                 "proof was not made with the secret of this cluster");
    }
    if (seconds < now_s - CHASSIS_PROOF_WINDOW_S || seconds > now_s + CHASSIS_PROOF_WINDOW_S) {
        return chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                                 "proof is %lld s away from this node's clock, %d are allowed",
                                 (long long)(now_s - seconds), CHASSIS_PROOF_WINDOW_S);
    }
    return nonce_use(a, nonce, now_s, err);
}

/* ---- tokens ---- */

static bool token_cached(struct rpc_access *a, const char *token, uint64_t hash, int64_t now_s,
                         struct chassis_auth_claims *ret_claims)
{
    pthread_mutex_lock(&a->lock);
    struct token_entry *e = &a->tokens[hash % TOKENS];
    bool hit =
        e->token != NULL && e->hash == hash && now_s < e->until_s && strcmp(e->token, token) == 0;
    if (hit) {
        *ret_claims = e->claims;
    }
    pthread_mutex_unlock(&a->lock);
    return hit;
}

static void token_keep(struct rpc_access *a, const char *token, uint64_t hash, int64_t now_s,
                       const struct chassis_auth_claims *claims)
{
    pthread_mutex_lock(&a->lock);
    struct token_entry *e = &a->tokens[hash % TOKENS];
    free(e->token);
    e->token = chassis_base_strdup(token);
    e->hash = hash;
    e->until_s = now_s + TOKEN_TTL_S;
    e->claims = *claims;
    pthread_mutex_unlock(&a->lock);
}

static int token_check(struct rpc_access *a, const char *token,
                       struct chassis_auth_claims *ret_claims, struct chassis_error *err)
{
    if (a->verify == NULL) {
        return chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                                 "this server has no key to check a token with");
    }
    if (strlen(token) >= CHASSIS_AUTH_TOKEN_MAX) {
        return chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                                 "token is longer than the limit of %d bytes",
                                 CHASSIS_AUTH_TOKEN_MAX - 1);
    }
    int64_t now_s = (int64_t)time(NULL);
    uint64_t hash = chassis_fnv1a(token, strlen(token));
    if (token_cached(a, token, hash, now_s, ret_claims)) {
        return 0;
    }
    int rc = a->verify(a->verify_data, token, ret_claims, err);
    if (rc == 0) {
        token_keep(a, token, hash, now_s, ret_claims);
    }
    return rc;
}

/* ---- the caller ---- */

static void raise(struct chassis_peer *peer, enum chassis_access access)
{
    if (access > peer->access) {
        peer->access = access;
    }
}

static const char *keep(struct chassis_call *call, const char *text)
{
    const char *kept = text != NULL ? chassis_arena_strdup(&call->arena, text) : NULL;
    return kept != NULL ? kept : "";
}

static void resolve_token(struct rpc_access *a, struct chassis_call *call,
                          struct chassis_error *err)
{
    const char *header = chassis_call_metadata(call, "authorization");
    struct chassis_auth_claims claims = {0};
    if (header == NULL || strncasecmp(header, "bearer ", 7) != 0 ||
        token_check(a, header + 7, &claims, err) != 0) {
        return;
    }
    raise(&call->peer, CHASSIS_ACCESS_SERVICE);
    call->peer.process = keep(call, claims.process);
    call->peer.actor = keep(call, claims.name[0] != '\0' ? claims.name : claims.process);
}

void rpc_access_resolve(struct rpc_access *a, struct chassis_call *call, struct chassis_error *err)
{
    struct chassis_transport_peer from = {0};
    struct chassis_peer *peer = &call->peer;
    call->ops->peer(call, &from);
    *peer = (struct chassis_peer){.address = from.address != NULL ? from.address : "",
                                  .name = from.name != NULL ? from.name : "",
                                  .loopback = from.loopback,
                                  .encrypted = from.encrypted,
                                  .access = CHASSIS_ACCESS_PUBLIC,
                                  .process = ""};
    peer->actor = peer->name[0] != '\0' ? peer->name : peer->address;
    call->peer_known = true;
    resolve_token(a, call, err);
    if (a->operator_loopback && from.loopback) {
        raise(peer, CHASSIS_ACCESS_OPERATOR);
    }
    if (peer->name[0] != '\0' && names_have(a->operators, peer->name)) {
        raise(peer, CHASSIS_ACCESS_OPERATOR);
    }
    if (peer->name[0] != '\0' && names_have(a->peers, peer->name)) {
        raise(peer, CHASSIS_ACCESS_PEER);
    }
    const char *proof = peer->access < CHASSIS_ACCESS_PEER
                            ? chassis_call_metadata(call, CHASSIS_PROOF_HEADER)
                            : NULL;
    if (proof != NULL && rpc_access_check_proof(a, proof, call->method->method->path,
                                                (int64_t)time(NULL), err) == 0) {
        raise(peer, CHASSIS_ACCESS_PEER);
    }
}

const char *rpc_access_name(enum chassis_access access)
{
    switch (access) {
    case CHASSIS_ACCESS_PUBLIC:
        return "public";
    case CHASSIS_ACCESS_SERVICE:
        return "service";
    case CHASSIS_ACCESS_OPERATOR:
        return "operator";
    case CHASSIS_ACCESS_PEER:
        return "peer";
    }
    return "unknown";
}

int rpc_access_check(struct rpc_access *a, struct chassis_call *call, struct chassis_error *err)
{
    static const char *const how[] = {
        [CHASSIS_ACCESS_PUBLIC] = "",
        [CHASSIS_ACCESS_SERVICE] = "send the token of a registered process as a bearer token",
        [CHASSIS_ACCESS_OPERATOR] =
            ("use a client certificate that is listed, the cluster secret, or a loopback caller if "
             "configured"),
        [CHASSIS_ACCESS_PEER] = "use a client certificate of a listed node or the cluster secret",
    };
    enum chassis_access want = call->method->access;
    if (want == CHASSIS_ACCESS_PUBLIC) {
        return 0;
    }
    struct chassis_error why;
    chassis_error_clear(&why);
    rpc_access_resolve(a, call, &why);
    if (call->peer.access >= want) {
        return 0;
    }
    int code = call->peer.access == CHASSIS_ACCESS_PUBLIC ? CHASSIS_UNAUTHENTICATED
                                                          : CHASSIS_PERMISSION_DENIED;
    if (why.code == CHASSIS_RESOURCE_EXHAUSTED) {
        code = why.code;
    }
    return chassis_error_set(err, code, "'%s' is for callers of class %s: %s%s%s",
                             call->method->method->path, rpc_access_name(want),
                             why.code != 0 ? chassis_error_text(&why) : how[want],
                             why.code != 0 ? "; " : "", why.code != 0 ? how[want] : "");
}
