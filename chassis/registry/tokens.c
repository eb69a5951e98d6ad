/* Tokens: our own for other threads, those of others against the keys of Blueprint's nodes. */
#include <stdio.h>
#include <time.h>

#include "os/os.h"
#include "registry/internal.h"

enum { ASK_KEYS_NS = 1000000000 }; /* between reports hurried for unknown keys */

void registry_learn_keys(struct chassis_registry *r,
                         Core__Registry__ServiceDiscovery__V1__NodeKey *const *keys, size_t n)
{
    if (n == 0) {
        return; /* an older node: what was known stays */
    }
    pthread_mutex_lock(&r->mutex);
    r->n_keys = 0;
    for (size_t i = 0; i < n && r->n_keys < REGISTRY_KEYS_MAX; i++) {
        struct registry_key *key = &r->keys[r->n_keys];
        if (strlen(keys[i]->key_id) < sizeof key->id &&
            keys[i]->public_key.len == sizeof key->public_key) {
            snprintf(key->id, sizeof key->id, "%s", keys[i]->key_id);
            memcpy(key->public_key, keys[i]->public_key.data, sizeof key->public_key);
            r->n_keys++;
        }
    }
    pthread_mutex_unlock(&r->mutex);
}

void registry_set_token(struct chassis_registry *r, const char *token)
{
    pthread_mutex_lock(&r->mutex);
    chassis_buf_clear(&r->token);
    chassis_buf_append(&r->token, token, strlen(token));
    pthread_mutex_unlock(&r->mutex);
}

void chassis_registry_token(struct chassis_registry *r, struct chassis_buf *out)
{
    pthread_mutex_lock(&r->mutex);
    chassis_buf_append_view(out, chassis_buf_view(&r->token));
    pthread_mutex_unlock(&r->mutex);
}

static void report_on_loop(struct chassis_registry *r, void *data)
{
    member_report_now(r);
}

/* The key may be a new node's: the next report tells, and need not wait for its turn. */
static void ask_for_keys(struct chassis_registry *r)
{
    uint64_t now = chassis_os_monotonic_ns();
    pthread_mutex_lock(&r->mutex);
    bool ask = !r->halted && now - r->asked_keys_ns >= ASK_KEYS_NS;
    if (ask) {
        r->asked_keys_ns = now;
        registry_on_loop(r, report_on_loop, NULL); /* under the lock: close waits for the loop */
    }
    pthread_mutex_unlock(&r->mutex);
}

int chassis_registry_verify_token(struct chassis_registry *r, const char *token,
                                  struct chassis_auth_claims *ret_claims, struct chassis_error *err)
{
    struct chassis_auth_claims claims;
    uint8_t public_key[CHASSIS_AUTH_PUBLIC_KEY_LEN];
    if (chassis_auth_token_peek(token, &claims, err) != 0) {
        if (err != NULL) {
            err->code = CHASSIS_UNAUTHENTICATED;
        }
        return CHASSIS_UNAUTHENTICATED;
    }
    bool found = false;
    pthread_mutex_lock(&r->mutex);
    for (unsigned i = 0; i < r->n_keys && !found; i++) {
        found = strcmp(r->keys[i].id, claims.key_id) == 0;
        if (found) {
            memcpy(public_key, r->keys[i].public_key, sizeof public_key);
        }
    }
    pthread_mutex_unlock(&r->mutex);
    if (!found) {
        ask_for_keys(r);
        return chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                                 "no node of Blueprint is known here that signs with key '%s'",
                                 claims.key_id);
    }
    return chassis_auth_token_verify(token, public_key, (int64_t)time(NULL), ret_claims, err);
}
