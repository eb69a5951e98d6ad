/* draft.yaml: what a project is and which services it runs.
 *
 *     name: shop
 *     endpoint: 127.0.0.1:2221            # of Blueprint; a list or a,b for several
 *     events_endpoint: 127.0.0.1:2220      # of Catalyst; default: as registered with Blueprint
 *     routes_endpoint: 127.0.0.1:18000     # of Fuse; default: as registered with Blueprint
 *     tls: {ca: ca.pem, certificate: me.pem, key: me.key, server_name: blueprint}
 *     cluster_secret: data/cluster-secret
 *     services:
 *       - name: blueprint
 *         command: blueprint --config blueprint.yaml   # or a list of words
 *         directory: .                     # where it runs; relative to this file
 *         environment: {DRAFT_LOG_LEVEL: debug}
 *         health: grpc://127.0.0.1:2221    # http://host:port/path, tcp://host:port; none: its start
 *         after: [other]                   # default: the one before it
 *         restart: always                  # on-failure, never
 *         domain: platform
 *
 * Invariants: an unknown key is an error with file:line; names are unique; `after` names services of
 * the file and has no circle.
 * Threads: one at a time. Ownership: everything lives in the arena it was read into.
 */
#ifndef DCTL_PROJECT_H
#define DCTL_PROJECT_H

#include "context.h"

enum { DCTL_SERVICES_MAX = 64, DCTL_WORDS_MAX = 64 };

enum dctl_restart {
    DCTL_RESTART_ALWAYS,
    DCTL_RESTART_ON_FAILURE,
    DCTL_RESTART_NEVER,
};

enum dctl_health {
    DCTL_HEALTH_NONE,
    DCTL_HEALTH_GRPC,
    DCTL_HEALTH_HTTP,
    DCTL_HEALTH_TCP,
};

struct dctl_service {
    const char *name, *domain, *directory;
    const char *const *argv;        /* ends with NULL */
    const char *const *environment; /* "A=b" beyond that of dctl; ends with NULL */
    enum dctl_restart restart;
    enum dctl_health health;
    const char *health_address; /* "host:port" */
    const char *health_path;    /* HTTP: "/readyz" */
    uint64_t after;             /* bit i: service i must be healthy first */
};

struct dctl_project {
    struct dctl_context context; /* root is the folder of the file */
    struct dctl_service services[DCTL_SERVICES_MAX];
    unsigned n_services;
};

int dctl_project_load(struct chassis_arena *arena, const char *file, struct dctl_project *ret,
                      struct chassis_error *err);

#endif
