/* A Blueprint of a hundred lines on the real RPC server: what it answers is set by the test. */
#ifndef TESTS_REGISTRY_FAKE_H
#define TESTS_REGISTRY_FAKE_H

#include <pthread.h>
#include <stdbool.h>

#include <core/registry/service_discovery/v1/service_discovery.chassis.h>

#include "rpc/server.h"

enum { FAKE_PROCESSES_MAX = 8, FAKE_STREAMS_MAX = 8 };

struct fake_process {
    char pid[64], address[64];
    bool healthy, running;
};

struct fake {
    struct chassis_server *server;
    char address[64]; /* host:port */
    pthread_mutex_t mutex;
    pthread_cond_t changed;

    /* what the test sets */
    int refuse_initialize, refuse_report; /* codes; 0 = accept */
    unsigned finalize_later;              /* so many are UNAVAILABLE first */
    bool mute;                            /* reports are not answered */
    const char *nodes[4];                 /* of the cluster view */
    unsigned n_nodes;
    const char *next_token; /* handed out with the next answer */
    unsigned interval_ms;
    struct fake_process processes[FAKE_PROCESSES_MAX];
    unsigned n_processes;

    /* what the test looks at */
    unsigned initialized, reports, finalized, watches;
    char last_nonce[130], last_pid[64], last_token[256], last_services[256], last_address[64];
    char finalize_authorization[300];
    bool last_healthy;
    struct chassis_call *streams[FAKE_STREAMS_MAX]; /* open watches */
};

void fake_start(struct fake *fake, const char *address);
void fake_stop(struct fake *fake);
/* Wait until a counter is at least `n`. */
void fake_wait(struct fake *fake, const unsigned *counter, unsigned n);
/* Tell the watchers of a change. */
void fake_event(struct fake *fake, Core__Registry__ServiceDiscovery__V1__ProcessEvent__Type type,
                const struct fake_process *process);

#endif
