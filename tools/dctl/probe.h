/* Is a service healthy? Asked by gRPC health, an HTTP page, or a TCP connection.
 *
 * Threads: probes are started and `done` runs on the loop. One probe of a target at a time.
 * Ownership: a target is freed by dctl_probe_free once no probe is under way.
 */
#ifndef DCTL_PROBE_H
#define DCTL_PROBE_H

#include "loop/loop.h"
#include "project.h"

struct dctl_probe;

/* `done(NULL)` = healthy, else why not. */
typedef void (*dctl_probe_cb)(const char *problem, void *data);

int dctl_probe_new(struct chassis_loop *loop, const struct dctl_service *service,
                   struct dctl_probe **ret_probe, struct chassis_error *err);
void dctl_probe_start(struct dctl_probe *probe, dctl_probe_cb done, void *data);
/* Not while a probe is under way. NULL is fine. */
void dctl_probe_free(struct dctl_probe *probe);

#endif
