/* Running the services of a project: start in order of health, restart with growing pauses, merge
 * their output, stop in reverse order.
 *
 *     WAITING --all of `after` are healthy--> STARTING --probe--> HEALTHY
 *        ^                                        |                  |
 *        |                                        +----- it ends ----+
 *     (pause) <--to be restarted-- ENDED <--------------+
 *
 * Threads: everything on the loop; dctl_supervise is called on the main thread and waits there.
 * Ownership: the services belong to the caller and outlive the call.
 */
#ifndef DCTL_SUPERVISOR_H
#define DCTL_SUPERVISOR_H

#include "project.h"

struct dctl_supervisor_options {
    const struct dctl_service *services;
    unsigned n_services;
    const char *ready_file; /* made when all are healthy; NULL = none */
    const char *path;       /* put before PATH of the services; NULL = none */
    uint64_t grace_ms;      /* between SIGTERM and SIGKILL; 0 = 15,000 */
};
/* Until SIGINT, SIGTERM or SIGHUP and every service is stopped, or until all ended for good. Returns
 * the exit code: 1 when a service that is not restarted failed. */
int dctl_supervise(struct dctl *d, const struct dctl_supervisor_options *options);

#endif
