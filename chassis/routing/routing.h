/* The client of Fuse: tells the routes of this process, keeps them there, withdraws.
 *
 *     open → add … → start ─▶ told, looked after for ever ─▶ withdraw ─▶ close
 *
 * Fuse is where `address` says, else where Blueprint's record `fuse_address` does; the record is read
 * again whenever a call fails.
 *
 * Invariants: nothing here gives up but by withdraw or close; a refused route is logged once per
 * reason and tried again.
 * Threads: all state lives on the loop role; start, withdraw and close from any thread but the
 * loop's, one at a time.
 * Ownership: what options and routes point to is copied, but for the executor; `data` is borrowed.
 */
#ifndef CHASSIS_ROUTING_ROUTING_H
#define CHASSIS_ROUTING_ROUTING_H

#include <chassis/client.h>
#include <chassis/executor.h>
#include <chassis/route.h>

struct chassis_routing;

struct chassis_routing_options {
    const char *name, *domain;              /* of the service, for names and targets of routes */
    const char *rpc_address, *http_address; /* host:port of this process */
    const char *address; /* of Fuse: http://host:port or host:port; NULL = by the record */
    const char *const *entrypoints; /* Blueprint nodes, for the record */
    size_t n_entrypoints;
    struct chassis_executor *loop;
    const struct chassis_tls_files *tls; /* NULL = plaintext */
    void (*token_now)(void *data, struct chassis_buf *out);
    void *token_data;
    uint64_t backoff_min_ms;  /* 0 = 100 */
    uint64_t backoff_max_ms;  /* 0 = 5,000 */
    uint64_t interval_ms;     /* between looks whether the routes are there; 0 = 30,000 */
    uint64_t call_timeout_ms; /* 0 = 3,000 */
};
int chassis_routing_open(const struct chassis_routing_options *options,
                         struct chassis_routing **ret_routing, struct chassis_error *err);
/* Before start. CHASSIS_INVALID_ARGUMENT, CHASSIS_ALREADY_EXISTS (the name). */
int chassis_routing_add(struct chassis_routing *routing, const struct chassis_route *route,
                        struct chassis_error *err);
void chassis_routing_start(struct chassis_routing *routing);
/* After leaving the registry as `pid`: delete the routes to this process alone, then wait until no
 * proxy sends anything here any more, at most `wait_ms` in all. True if Fuse says so. False at once
 * where there is no Fuse. Nothing is told any more. */
bool chassis_routing_withdraw(struct chassis_routing *routing, const char *pid, uint64_t wait_ms);
/* NULL is fine. */
void chassis_routing_close(struct chassis_routing *routing);

struct chassis_routing_status {
    unsigned routes, told, refused;
    uint64_t attempts; /* rounds that failed in a row */
    char fuse[256];    /* the address in use; "" while none is known */
};
void chassis_routing_status(struct chassis_routing *routing,
                            struct chassis_routing_status *ret_status);

#endif
