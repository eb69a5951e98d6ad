/* The chassis object, from inside the module. */
#ifndef CHASSIS_RUNTIME_INTERNAL_H
#define CHASSIS_RUNTIME_INTERNAL_H

#include <pthread.h>
#include <stdlib.h>

#include "base/assert.h"
#include "http/http.h"
#include "loop/loop.h"
#include "os/disk.h"
#include "os/os.h"
#include "proto/dynamic.h"
#include "registry/registry.h"
#include "routing/routing.h"
#include "rpc/server.h"
#include "runtime/life.h"
#include "runtime/runtime.h"

enum {
    RUNTIME_SERVICES_MAX = 64,
    RUNTIME_ROUTES_MAX = 64,
    RUNTIME_TABLES_MAX = 16,
    RUNTIME_RUNNERS_MAX = 32,
    RUNTIME_CHECKS_MAX = 32,
    RUNTIME_DRAINS_MAX = 16,
    RUNTIME_CLOSERS_MAX = 8,
    RUNTIME_TYPES_MAX = 64,
    RUNTIME_REPOSITORIES_MAX = 8,
    RUNTIME_CLIENTS_MAX = 64,
    RUNTIME_DEFAULTS_MAX = 16,
    RUNTIME_BROKERS_MAX = 4,
    RUNTIME_SUBSCRIPTIONS_MAX = 64,
    RUNTIME_EDGE_ROUTES_MAX = 64,
    RUNTIME_WITHDRAW_MS = 1000, /* for proxies to let go of a process that drains */
};

struct runtime_repository {
    const struct chassis_repository *repository;
    const char *const *tables;
    unsigned n_tables;
    struct chassis_store *store;
};
struct runtime_broker {
    const struct chassis_broker_plugin *plugin;
    struct chassis_broker *broker; /* NULL: not configured */
};
struct runtime_subscription {
    const char *kind, *type;
    struct chassis_subscribe_options options;
    chassis_event_fn handler;
    void *data;
    struct chassis_subscription *subscription;
};
struct runtime_check {
    const char *name;
    bool (*ready)(void *data);
    void *data;
};

struct runtime_drain {
    void (*drain)(void *data);
    void *data;
};

struct runtime_closer {
    void (*close)(void *data, void (*closed)(void *closed_data), void *closed_data);
    void *data;
};

struct runtime_cluster; /* cluster.c: the consensus node with its threads and transport */

struct chassis {
    const char *name;
    int argc;
    char **argv;
    struct chassis_logger *log;

    /* what it is made of */
    struct chassis_service services[RUNTIME_SERVICES_MAX];
    unsigned n_services;
    const struct chassis_config_key *tables[RUNTIME_TABLES_MAX + 1];
    void *structs[RUNTIME_TABLES_MAX + 1];
    unsigned n_tables;
    struct chassis_config_pair defaults[RUNTIME_DEFAULTS_MAX];
    unsigned n_defaults;
    const struct chassis_state_machine *machine;
    struct runtime_repository repositories[RUNTIME_REPOSITORIES_MAX];
    unsigned n_repositories;
    struct runtime_broker brokers[RUNTIME_BROKERS_MAX];
    unsigned n_brokers;
    struct runtime_subscription subscriptions[RUNTIME_SUBSCRIPTIONS_MAX];
    unsigned n_subscriptions;
    struct chassis_route edge_routes[RUNTIME_EDGE_ROUTES_MAX]; /* told to Fuse */
    unsigned n_edge_routes;
    struct chassis_runner runners[RUNTIME_RUNNERS_MAX];
    unsigned n_runners, n_runners_started;
    struct runtime_check checks[RUNTIME_CHECKS_MAX];
    unsigned n_checks;
    struct runtime_drain drains[RUNTIME_DRAINS_MAX];
    unsigned n_drains;
    struct runtime_closer closers[RUNTIME_CLOSERS_MAX];
    unsigned n_closers;
    struct chassis_secret_store *secret_store; /* the author's own */
    struct chassis_log_sink *log_sink;
    struct chassis_http_route routes[RUNTIME_ROUTES_MAX];
    unsigned n_routes;
    struct chassis_http_file *files;
    size_t n_files;
    unsigned http_offset;
    int (*verify_token)(void *, const char *, struct chassis_auth_claims *, struct chassis_error *);
    void *verify_token_data;
    bool wants_registration;
    char *group;
    struct chassis_metadata_pair *metadata;
    size_t n_metadata;

    /* what it runs on */
    struct chassis_config_key *own_table; /* of the settings, with the service's defaults */
    struct chassis_settings settings;
    struct chassis_config *config;
    struct chassis_secret_store *secret_stores[8];
    unsigned n_secret_stores;
    struct chassis_auth_identity *identity; /* NULL = plaintext */
    struct chassis_loop *loop;
    struct chassis_pool *workers;
    struct runtime_cluster *cluster;
    struct chassis_buf cluster_secret;
    struct chassis_server *server;
    const ProtobufCMessageDescriptor *more_types[RUNTIME_TYPES_MAX];
    unsigned n_more_types;
    struct chassis_dynamic *types; /* of all services' files: what an Any can hold in JSON */
    struct chassis_http *http;
    struct chassis_registry *registry;
    struct chassis_routing *routing;
    char rpc_address[280], http_address[280];
    uint64_t booted_ns;

    /* readiness; owner: loop, but for what the mutex guards */
    struct chassis_timer poll, watchdog, overdue;
    uint64_t watchdog_ns; /* 0 = systemd does not watch */
    bool polling;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct life life;
    bool stop_asked, ready, cluster_ready;
    bool failed; /* the process ends with 1 */
    unsigned signals;
    struct chassis_buf checks_json;
    struct chassis_client *clients[RUNTIME_CLIENTS_MAX];
    unsigned n_clients;
};

/* command_line.c: -1 = go on, else the exit code. */
int runtime_load(struct chassis *c);

/* run.c */
void runtime_free(struct chassis *c);

/* run.c */
void runtime_free(struct chassis *c);

/* boot.c */
int runtime_boot(struct chassis *c, struct chassis_error *err);
void runtime_unboot(struct chassis *c); /* reverse order, what was started */

/* stages.c */
int stage_log(struct chassis *c, struct chassis_error *err);
int stage_secrets(struct chassis *c, struct chassis_error *err);
void unstage_secrets(struct chassis *c);
int stage_tls(struct chassis *c, struct chassis_error *err);
void unstage_tls(struct chassis *c);
int stage_loop(struct chassis *c, struct chassis_error *err);
void unstage_loop(struct chassis *c);
int stage_workers(struct chassis *c, struct chassis_error *err);
void unstage_workers(struct chassis *c);
int stage_repositories(struct chassis *c, struct chassis_error *err);
void unstage_repositories(struct chassis *c);
int stage_runners(struct chassis *c, struct chassis_error *err);
void unstage_runners(struct chassis *c);

/* listeners.c */
int stage_server(struct chassis *c, struct chassis_error *err);
void unstage_server(struct chassis *c);
int stage_listen(struct chassis *c, struct chassis_error *err);
int stage_http(struct chassis *c, struct chassis_error *err);
void unstage_http(struct chassis *c);
int stage_ports(struct chassis *c, struct chassis_error *err);
int stage_registry(struct chassis *c, struct chassis_error *err);
void unstage_registry(struct chassis *c);
int stage_register(struct chassis *c, struct chassis_error *err);

/* brokers.c */
const char *broker_url(const struct chassis *c, const char *kind); /* NULL: not configured */
int stage_brokers(struct chassis *c, struct chassis_error *err);
void unstage_brokers(struct chassis *c);
int stage_subscriptions(struct chassis *c, struct chassis_error *err);
void unstage_subscriptions(struct chassis *c);

/* routes.c */
int stage_routes(struct chassis *c, struct chassis_error *err);
void unstage_routes(struct chassis *c);
/* After the registry was left (as far as it answered): blocks until proxies have let go. */
void routes_withdraw(struct chassis *c, bool left);

/* cluster.c */
int stage_cluster(struct chassis *c, struct chassis_error *err);
void unstage_cluster(struct chassis *c);
int stage_cluster_start(struct chassis *c, struct chassis_error *err);
void cluster_hand_over(struct chassis *c); /* blocks a moment; leadership goes to another node */
bool cluster_ready(void *data);
struct chassis_consensus *cluster_node(struct chassis *c);
/* The services the cluster itself needs on the server. */
int cluster_add_services(struct chassis *c, struct chassis_error *err);

/* ready.c */
int stage_ready(struct chassis *c, struct chassis_error *err);
void unstage_ready(struct chassis *c);
void ready_refuse(struct chassis *c); /* not ready any more: draining */
bool ready_http(void *data, struct chassis_buf *ret_checks);

/* notify.c: to the service manager, if there is one */
void notify_send(const char *state);
uint64_t notify_watchdog_ns(void);

#endif
