/* Reaching the platform: which endpoint, with what proof, and following streams.
 *
 * Threads: the main thread; a follower's `message` runs on the tool's own executor thread, one call
 * at a time, while the main thread waits in dctl_follow.
 */
#ifndef DCTL_CONNECT_H
#define DCTL_CONNECT_H

#include <chassis/client.h>

#include "dctl.h"

/* The client for this run, made on first use; NULL after an error was written to `err`. */
struct chassis_client *dctl_client(struct dctl *d, struct chassis_error *err);
/* From here on talk to `target` ("host:port,…"). */
int dctl_client_at(struct dctl *d, const char *target, struct chassis_error *err);
/* From here on talk to the processes registered as `service` (services.c finds them). */
int dctl_client_switch(struct dctl *d, const char *service, struct chassis_error *err);
/* The addresses ("host:port,…") of the running processes of a service; CHASSIS_NOT_FOUND. */
int dctl_resolve(struct dctl *d, const char *service, const char **ret_target,
                 struct chassis_error *err);
/* --timeout, else `otherwise` (milliseconds; 0 = none for a stream, the client's for a call). */
struct chassis_call_options dctl_call_options(const struct dctl *d, uint64_t otherwise_ms);

struct dctl_follower {
    /* False ends the stream. `message` is NULL for a stream opened by path. */
    bool (*message)(struct dctl_follower *f, const void *message, struct chassis_view encoded);
    struct dctl *d;
    void *data;
    uint64_t messages; /* received on this stream */
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
/* Wait before the `attempt`-th try (from 1): 100 ms growing to 3 s. */
void dctl_pause(unsigned attempt);

#endif
