/* The rate line: how many events, how fast, on one line of the terminal that is written anew.
 *
 * Shown when standard error is a terminal. Rows on standard output are printed between
 * dctl_meter_begin and dctl_meter_end, which take the line away first.
 * Threads: any; rows and line take turns.
 */
#ifndef DCTL_METER_H
#define DCTL_METER_H

#include <pthread.h>

#include "dctl.h"

struct dctl_meter {
    struct dctl *d;
    const char *verb; /* "received" */
    bool terminal;
    pthread_mutex_t mutex; /* guards what follows */
    uint64_t events, bytes;
    uint64_t started_ns, window_ns, window_events, window_bytes;
    double rate, bytes_rate;
    bool shown;
};

void dctl_meter_init(struct dctl_meter *m, struct dctl *d, const char *verb);
void dctl_meter_begin(struct dctl_meter *m);
void dctl_meter_end(struct dctl_meter *m, uint64_t events, uint64_t bytes);
/* Write the line anew, at most five times a second. */
void dctl_meter_show(struct dctl_meter *m);
/* Take the line away; on a terminal, when there were several events, say how it went. */
void dctl_meter_fini(struct dctl_meter *m);

#endif
