/* Reaching the platform: which endpoint, with what proof, and following streams.
 *
 * Threads: the main thread; a follower's `message` runs on the tool's own executor thread, one call
 * at a time, while the main thread waits in dctl_follow.
 */
#ifndef DCTL_CONNECT_H
#define DCTL_CONNECT_H

#include <chassis/client.h>

#include "dctl.h"

/* The client of the broker for this run: --endpoint, DRAFT_EVENTS_ENDPOINT, the context's
 * `events_endpoint`, whoever is registered as "catalyst" where a Blueprint is configured, else
 * 127.0.0.1:2220. NULL after an error was written to `err`. */
struct chassis_client *dctl_events_client(struct dctl *d, struct chassis_error *err);
/* The client of Fuse for this run: --endpoint, DRAFT_ROUTES_ENDPOINT, the context's
 * `routes_endpoint`, whoever is registered as "fuse" where a Blueprint is configured, else whom its
 * record `fuse_address` names, else 127.0.0.1:18000. NULL after an error was written to `err`. */
struct chassis_client *dctl_routes_client(struct dctl *d, struct chassis_error *err);
/* The client for this run, made on first use; NULL after an error was written to `err`. */
struct chassis_client *dctl_client(struct dctl *d, struct chassis_error *err);
/* From here on talk to `target` ("host:port,…"). */
int dctl_client_at(struct dctl *d, const char *target, struct chassis_error *err);
/* From here on talk to the processes registered as `service` (services.c finds them). */
int dctl_client_switch(struct dctl *d, const char *service, struct chassis_error *err);
/* The addresses ("host:port,…") of the running processes of a service; CHASSIS_NOT_FOUND. */
int dctl_resolve(struct dctl *d, const char *service, const char **ret_target,
                 struct chassis_error *err);
/* Is it worth to try the same again a little later? */
bool dctl_worth_another_try(int code);
/* --timeout, else `otherwise` (milliseconds; 0 = none for a stream, the client's for a call). */
struct chassis_call_options dctl_call_options(const struct dctl *d, uint64_t otherwise_ms);

struct dctl_duplex;
struct dctl_follower {
    /* False ends the stream. `message` is NULL for a stream opened by path. */
    bool (*message)(struct dctl_follower *f, const void *message, struct chassis_view encoded);
    struct dctl *d;
    void *data;
    uint64_t messages;          /* received on this stream */
    struct dctl_duplex *duplex; /* the stream, if it is one */
};
/* Open a server stream with `request`, hand every message over, wait for the end. 0 when the server
 * or the follower ended it, else the status. */
int dctl_follow(struct dctl *d, const struct chassis_method *method, const void *request,
                const struct chassis_call_options *options, struct dctl_follower *f,
                struct chassis_error *err);
/* The same for any kind of method by path: `requests` encoded, sent in order, then half-closed. */
int dctl_follow_path(struct dctl *d, const char *path, const struct chassis_view *requests,
                     size_t n_requests, const struct chassis_call_options *options,
                     struct dctl_follower *f, struct chassis_error *err);

/* A stream one sends on while answers arrive: the main thread opens, sends, waits and closes; the
 * follower's `message` runs on the executor thread. When it returns false no more is handed over
 * and dctl_duplex_wait ends; nothing else happens to the stream. */
int dctl_duplex_open(struct dctl *d, const struct chassis_method *method,
                     const struct chassis_call_options *options, struct dctl_follower *f,
                     struct dctl_duplex **ret_duplex, struct chassis_error *err);
/* Waits for room; false when the stream is over. */
bool dctl_duplex_send(struct dctl_duplex *x, const void *message);
/* From `message`: end the wait of the main thread. */
void dctl_duplex_poke(struct dctl_duplex *x);
/* Until poked, or `ms` have passed. False when the stream is over or the follower has enough. */
bool dctl_duplex_wait(struct dctl_duplex *x, uint64_t ms);
/* Ends sending and waits for the server's end; with `cancel` does not wait for what is under way.
 * Frees `x`. 0 when the server or the follower ended it, else the status. */
int dctl_duplex_close(struct dctl_duplex *x, bool cancel, struct chassis_error *err);
/* Wait before the `attempt`-th try (from 1): 100 ms growing to 3 s. */
void dctl_pause(unsigned attempt);

#endif
