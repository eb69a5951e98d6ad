/* What the files of this module share; included by no other module. */
#ifndef CHASSIS_REGISTRY_INTERNAL_H
#define CHASSIS_REGISTRY_INTERNAL_H

#include <pthread.h>
#include <stdlib.h>

#include <core/registry/service_discovery/v1/service_discovery.chassis.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/prng.h"
#include "registry/registry.h"

enum { REGISTRY_NODES_MAX = 16, REGISTRY_KEYS_MAX = 64, REGISTRY_WATCH_PROCESSES_MAX = 4096 };

/* A Blueprint node we know, with its client, which lives until close. */
struct registry_node {
    char address[256];
    bool listed; /* an entrypoint, or in the last cluster view */
    bool entrypoint;
    struct chassis_client *client; /* made at first use */
};

/* Where to try next, and when. */
struct registry_backoff {
    unsigned attempt;
    unsigned node; /* index of the one in use */
};

struct registry_member {
    enum registry_state state;
    struct registry_backoff backoff;
    struct chassis_timer timer; /* the next attempt or the next report */
    char nonce[33];
    uint64_t nonce_ns; /* when it was made; 0 = none */
    char pid[64];
    struct chassis_buf token;
    uint64_t interval_ms;
    struct chassis_client_stream *stream; /* NULL = none */
    uint64_t answered_ns;                 /* last sign of life of the node */
    bool healthy, health_told;            /* told: newer than what the registration said */
    bool leave_asked, calling;
    char *name, *address;
    struct chassis_metadata_pair *metadata;
    size_t n_metadata;
};

struct registry_process {
    char pid[64];
    char address[256];
};
struct registry_view {
    struct registry_process *items; /* usable ones, by pid */
    size_t n, cap;
};

/* One name that is watched. */
struct registry_watch {
    struct chassis_list link;
    struct chassis_registry *registry;
    char *name;
    struct chassis_list users; /* struct chassis_resolution; with the registry's mutex */
    unsigned n_users;          /* whose end the loop has not seen; dropped by the last */
    struct registry_backoff backoff;
    struct chassis_timer timer;
    struct chassis_client_stream *stream;
    bool synced;  /* `view` is complete and told */
    bool filling; /* JOINED events go to `next` until SYNCED */
    bool dropped; /* nobody uses it; freed when its stream has closed */
    struct registry_view view, next;
    char why[256];
};

struct registry_key {
    char id[64];
    uint8_t public_key[CHASSIS_AUTH_PUBLIC_KEY_LEN];
};

struct chassis_registry {
    struct chassis_resolver resolver; /* first: the resolver handed out is this struct */
    struct chassis_executor *loop;
    struct chassis_logger *log;
    struct chassis_registry_options options; /* defaults filled in; entrypoints not kept */
    char *ca, *certificate, *key, *server_name;
    struct chassis_tls_files tls;
    struct registry_node nodes[REGISTRY_NODES_MAX];
    unsigned n_nodes;
    struct registry_member member;
    struct chassis_list watches;
    struct chassis_prng prng;
    bool closing, clients_freed;
    unsigned in_flight; /* calls and streams whose last callback has not come */
    struct chassis_gauge *registered;
    struct chassis_counter *reconnects;

    pthread_mutex_t mutex; /* guards what follows and the users of watches */
    pthread_cond_t changed;
    struct chassis_registry_status status;
    struct registry_key keys[REGISTRY_KEYS_MAX]; /* of Blueprint's nodes */
    unsigned n_keys;
    uint64_t asked_keys_ns;   /* when a report was hurried for an unknown one */
    struct chassis_buf token; /* the member's, for other threads */
    bool leaving;             /* told to leave */
    bool left;                /* Finalize is over */
    bool halted;              /* closing: nothing new begins */
    bool quiet;               /* nothing is in flight any more */
};

/* A task of its own memory that runs `fn` on the loop. */
void registry_on_loop(struct chassis_registry *r, void (*fn)(struct chassis_registry *, void *),
                      void *data);
/* The client of the node that `backoff` points at; NULL with `err` if it cannot be made. */
struct chassis_client *registry_client(struct chassis_registry *r, struct registry_backoff *backoff,
                                       struct chassis_error *err);
const char *registry_node_address(struct chassis_registry *r,
                                  const struct registry_backoff *backoff);
/* Move on to the next listed node; the delay before it is tried: full jitter, doubling. */
uint64_t registry_next_attempt_ns(struct chassis_registry *r, struct registry_backoff *backoff);
/* The nodes of a cluster view; entrypoints stay listed. */
void registry_learn(struct chassis_registry *r, const char *const *addresses, size_t n);
void registry_add_node(struct chassis_registry *r, const char *address, bool entrypoint);
void registry_done_one(struct chassis_registry *r); /* in_flight goes down */

/* tokens.c */
void registry_learn_keys(struct chassis_registry *r,
                         Core__Registry__ServiceDiscovery__V1__NodeKey *const *keys, size_t n);
/* Our own, from now on; "" = none. */
void registry_set_token(struct chassis_registry *r, const char *token);

/* member.c */
void member_begin(struct chassis_registry *r);
void member_report_now(struct chassis_registry *r);
void member_leave(struct chassis_registry *r);
void member_stop(struct chassis_registry *r);
void member_fini(struct chassis_registry *r);

/* watch.c */
int registry_resolve(struct chassis_resolver *resolver, const char *name,
                     chassis_endpoints_cb update, void *data,
                     struct chassis_resolution **ret_resolution, struct chassis_error *err);
void registry_unresolve(struct chassis_resolver *resolver, struct chassis_resolution *resolution);
void watches_stop(struct chassis_registry *r);
void watches_fini(struct chassis_registry *r);

#endif
