/* The client of Blueprint: keeps this process registered, finds others by name.
 *
 * Registered means for ever: when Blueprint dies, moves or forgets us, the registry tries the other
 * nodes of the last cluster view and the entrypoints, with exponential backoff and full jitter, and
 * registers anew where it must. Names ("draft:///echo") resolve to the healthy, running processes of
 * that name; a name is watched once however many clients use it, and what was known last is kept
 * while no node can be reached.
 *
 * Invariants: nothing here ever gives up but by leave or close.
 * Threads: all state lives on the loop role; every function may be called from any thread, close from
 * any but the loop's.
 * Ownership: what options and registrations point to is copied; `loop` is borrowed.
 */
#ifndef CHASSIS_REGISTRY_REGISTRY_H
#define CHASSIS_REGISTRY_REGISTRY_H

#include <stdbool.h>

#include <chassis/chassis.h>

#include "auth/auth.h"
#include "rpc/resolver.h"

struct chassis_registry;

struct chassis_registry_options {
    const char *const *entrypoints; /* Blueprint nodes: host:port or http(s)://host:port */
    size_t n_entrypoints;
    struct chassis_executor *loop;
    const struct chassis_tls_files *tls; /* NULL = plaintext */
    uint64_t interval_ms;     /* between reports; 0 = 5,000. Blueprint may ask for another */
    uint64_t backoff_min_ms;  /* 0 = 100 */
    uint64_t backoff_max_ms;  /* 0 = 10,000 */
    uint64_t call_timeout_ms; /* of Initialize; 0 = 3,000 */
};
int chassis_registry_open(const struct chassis_registry_options *options,
                          struct chassis_registry **ret_registry, struct chassis_error *err);

struct chassis_registration {
    const char *name, *group;
    const char *address;         /* host:port at which others reach us */
    const char *http_address;    /* may be NULL */
    const char *const *services; /* full names of our RPC services */
    size_t n_services;
    const struct chassis_metadata_pair *metadata;
    size_t n_metadata;
    bool healthy;
};
/* Begin to be registered. Once. */
int chassis_registry_register(struct chassis_registry *registry,
                              const struct chassis_registration *registration,
                              struct chassis_error *err);
/* Reported at once. */
void chassis_registry_set_healthy(struct chassis_registry *registry, bool healthy);
/* Begin to leave (Finalize); returns at once. */
void chassis_registry_leave(struct chassis_registry *registry);
/* Wait until Finalize is over, at most `wait_ms`. False when time was up; true at once for a process
 * that was not told to leave. Not on the loop. */
bool chassis_registry_wait_left(struct chassis_registry *registry, uint64_t wait_ms);
/* Wait up to `wait_ms` for a leave under way, then end everything. NULL is fine. */
void chassis_registry_close(struct chassis_registry *registry, uint64_t wait_ms);

/* The token that proves who we are to other services, appended; nothing while there is none. */
void chassis_registry_token(struct chassis_registry *registry, struct chassis_buf *out);
/* Who a token was given to, by the keys of Blueprint's nodes as of our last report. Without a call:
 * CHASSIS_UNAUTHENTICATED with the reason. A key that is not known has the next report made soon. */
int chassis_registry_verify_token(struct chassis_registry *registry, const char *token,
                                  struct chassis_auth_claims *ret_claims,
                                  struct chassis_error *err);

struct chassis_resolver *chassis_registry_resolver(struct chassis_registry *registry);

/* Our place in the registry; see member.c. */
enum registry_state {
    REGISTRY_OUT,          /* nobody asked to be registered */
    REGISTRY_INITIALIZING, /* Initialize is under way */
    REGISTRY_OPENING,      /* Synchronize is open, the first report not yet answered */
    REGISTRY_MEMBER,       /* reports are answered */
    REGISTRY_WAITING,      /* backing off before the next attempt */
    REGISTRY_LEAVING,      /* Finalize is under way */
    REGISTRY_GONE,         /* left */
};
struct chassis_registry_status {
    enum registry_state state;
    char pid[64];     /* "" while there is none */
    char node[256];   /* the Blueprint node in use */
    unsigned n_nodes; /* known */
    uint64_t registrations, reconnects, reports;
};
void chassis_registry_status(struct chassis_registry *registry,
                             struct chassis_registry_status *ret_status);
const char *chassis_registry_state_name(enum registry_state state);

#endif
