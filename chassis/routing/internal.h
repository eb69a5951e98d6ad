/* What the files of this module share; included by no other module. */
#ifndef CHASSIS_ROUTING_INTERNAL_H
#define CHASSIS_ROUTING_INTERNAL_H

#include <pthread.h>
#include <stdlib.h>

#include <core/control_plane/networking/v1/networking.chassis.h>
#include <core/registry/key_value/v1/key_value.chassis.h>
#include <draft/routing/v1/routing.chassis.h>

#include <chassis/log.h>
#include <chassis/metrics.h>

#include "base/assert.h"
#include "base/prng.h"
#include "routing/routing.h"
#include "rpc/resolver.h"

enum { ROUTING_ROUTES_MAX = 64, ROUTING_ADDRESS_SIZE = 256 };

typedef Core__ControlPlane__Networking__V1__Route routing_message;

struct routing_route {
    routing_message *message; /* in the arena */
    bool own;                 /* to this process alone: deleted when it drains */
    bool told;                /* Fuse has it, as far as we know */
    bool refused;
    char words[512]; /* of the last refusal */
};

struct chassis_routing {
    struct chassis_resolver resolver; /* first: handed to the client, tells where Fuse is */
    struct chassis_executor *loop;
    struct chassis_logger *log;
    struct chassis_gauge *gauge_told;
    struct chassis_counter *failures;
    struct chassis_arena arena; /* copies of options, messages of routes */
    struct chassis_routing_options options;
    struct chassis_tls_files tls;
    const char *blueprint_target; /* NULL: no entrypoint */
    struct routing_route routes[ROUTING_ROUTES_MAX];
    unsigned n_routes;

    /* owner: loop */
    struct chassis_client *blueprint, *fuse; /* made at first use */
    struct chassis_timer timer;
    struct chassis_prng prng;
    unsigned at; /* the route whose turn it is */
    uint64_t attempt;
    bool calling;     /* one call at a time is under way */
    bool withdrawing; /* keep.c stops, withdraw.c goes on */
    bool closing;
    char pid[64];
    uint64_t withdraw_by_ns;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct chassis_routing_status status;
    chassis_endpoints_cb update; /* of the one client that resolves; NULL = none */
    void *update_data;
    bool withdrawn, withdraw_over, halted, quiet;
};

/* message.c: the message a route stands for, in the arena. */
int routing_build(struct chassis_routing *r, const struct chassis_route *route,
                  routing_message **ret_message, bool *ret_own, struct chassis_error *err);
/* "host:port" of "http://host:port/…", appended with a comma between; false without a port. */
bool routing_host_port(const char *url, struct chassis_buf *out);

/* routing.c */
struct chassis_client *routing_fuse(struct chassis_routing *r, struct chassis_error *err);
void routing_set_fuse(struct chassis_routing *r, const char *address);
bool routing_knows_fuse(struct chassis_routing *r);
/* Read the record; `done` on the loop, 0 or why not. Without entrypoints it is 0 at once if the
 * address is configured. */
void routing_find(struct chassis_routing *r, uint64_t timeout_ms,
                  void (*done)(struct chassis_routing *r, int code, const char *text));
void routing_count(struct chassis_routing *r); /* the status follows the routes */

/* keep.c */
void routing_round(struct chassis_routing *r);

/* withdraw.c */
void routing_withdraw_begin(struct chassis_routing *r);
void routing_withdraw_end(struct chassis_routing *r, bool withdrawn);

#endif
