/* What a service is made of: the chassis_with_* functions and the accessors. */
#include <malloc.h>
#include <stdio.h>

#include "runtime/internal.h"

/* The interface says "never NULL" and has no error result: too many of something is a bug of the
 * service's own code, found at its first start. */
#define ROOM(count, max) CHASSIS_ASSERT((count) < (unsigned)(max))

struct chassis *chassis_new(const char *name, int argc, char **argv)
{
    mallopt(M_ARENA_MAX, 2); /* before the first thread: each arena costs memory */
    struct chassis *c = chassis_base_zalloc(sizeof *c);
    c->name = name;
    c->argc = argc;
    c->argv = argv;
    c->http_offset = 1;
    c->booted_ns = chassis_os_monotonic_ns();
    c->log = chassis_log_module(name);
    c->types = chassis_dynamic_new();
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->tables[0] = chassis_settings_table;
    c->structs[0] = &c->settings;
    c->n_tables = 1;
    return c;
}

void chassis_with_config(struct chassis *c, const struct chassis_config_key *table, void *config)
{
    ROOM(c->n_tables, RUNTIME_TABLES_MAX);
    c->tables[c->n_tables] = table;
    c->structs[c->n_tables++] = config;
}

void chassis_with_rpc_handler(struct chassis *c, struct chassis_service service)
{
    ROOM(c->n_services, RUNTIME_SERVICES_MAX);
    c->services[c->n_services++] = service;
}

void chassis_with_consensus(struct chassis *c, const struct chassis_state_machine *machine)
{
    CHASSIS_ASSERT(c->machine == NULL);
    c->machine = machine;
}

void chassis_with_repository(struct chassis *c, const struct chassis_repository *repository,
                             const char *const *tables, unsigned n_tables)
{
    ROOM(c->n_repositories, RUNTIME_REPOSITORIES_MAX);
    c->repositories[c->n_repositories++] =
        (struct runtime_repository){repository, tables, n_tables, NULL};
}

void chassis_with_broker(struct chassis *c, const struct chassis_broker_plugin *plugin)
{
    ROOM(c->n_brokers, RUNTIME_BROKERS_MAX);
    c->brokers[c->n_brokers++] = (struct runtime_broker){plugin, NULL};
}

void chassis_with_subscription(struct chassis *c, const char *kind, const char *type,
                               const struct chassis_subscribe_options *options,
                               chassis_event_fn handler, void *data)
{
    static const struct chassis_subscribe_options none;
    ROOM(c->n_subscriptions, RUNTIME_SUBSCRIPTIONS_MAX);
    c->subscriptions[c->n_subscriptions++] = (struct runtime_subscription){
        kind, type, options != NULL ? *options : none, handler, data, NULL};
}

void chassis_with_secret_store(struct chassis *c, struct chassis_secret_store *store)
{
    c->secret_store = store;
}

void chassis_with_log_sink(struct chassis *c, struct chassis_log_sink *sink)
{
    c->log_sink = sink;
}

void chassis_with_client_application(struct chassis *c, const struct chassis_web_file *files,
                                     size_t n)
{
    free(c->files);
    c->files = chassis_base_alloc((n + 1) * sizeof *c->files);
    c->n_files = n;
    for (size_t i = 0; i < n; i++) {
        c->files[i] = (struct chassis_http_file){files[i].path, files[i].content_type,
                                                 files[i].data, files[i].len};
    }
}

void chassis_with_http_route(struct chassis *c, const struct chassis_http_route *route)
{
    ROOM(c->n_routes, RUNTIME_ROUTES_MAX);
    c->routes[c->n_routes++] = *route;
}

void chassis_with_runner(struct chassis *c, const struct chassis_runner *runner)
{
    ROOM(c->n_runners, RUNTIME_RUNNERS_MAX);
    c->runners[c->n_runners++] = *runner;
}

void chassis_with_readiness(struct chassis *c, const char *name, bool (*ready)(void *data),
                            void *data)
{
    ROOM(c->n_checks, RUNTIME_CHECKS_MAX);
    c->checks[c->n_checks++] = (struct runtime_check){name, ready, data};
}

void chassis_register(struct chassis *c, const char *group,
                      const struct chassis_metadata_pair *metadata, size_t n)
{
    CHASSIS_ASSERT(!c->wants_registration);
    c->wants_registration = true;
    c->group = chassis_base_strdup(group != NULL ? group : "");
    c->metadata = chassis_base_alloc((n + 1) * sizeof *c->metadata);
    c->n_metadata = n;
    for (size_t i = 0; i < n; i++) {
        c->metadata[i] = (struct chassis_metadata_pair){chassis_base_strdup(metadata[i].key),
                                                        chassis_base_strdup(metadata[i].value)};
    }
}

void chassis_runtime_with_token_verifier(struct chassis *c,
                                         int (*verify)(void *data, const char *token,
                                                       struct chassis_auth_claims *ret_claims,
                                                       struct chassis_error *err),
                                         void *data)
{
    c->verify_token = verify;
    c->verify_token_data = data;
}

void chassis_runtime_with_drain(struct chassis *c, void (*drain)(void *data), void *data)
{
    ROOM(c->n_drains, RUNTIME_DRAINS_MAX);
    c->drains[c->n_drains++] = (struct runtime_drain){drain, data};
}

void chassis_runtime_with_closer(struct chassis *c,
                                 void (*close)(void *data, void (*closed)(void *closed_data),
                                               void *closed_data),
                                 void *data)
{
    ROOM(c->n_closers, RUNTIME_CLOSERS_MAX);
    c->closers[c->n_closers++] = (struct runtime_closer){close, data};
}

void chassis_runtime_with_type(struct chassis *c, const ProtobufCMessageDescriptor *type)
{
    ROOM(c->n_more_types, RUNTIME_TYPES_MAX);
    c->more_types[c->n_more_types++] = type;
}

void chassis_runtime_with_file(struct chassis *c, const struct chassis_file_descriptor *file)
{
    struct chassis_error err = {0};
    int rc = chassis_dynamic_add_embedded(c->types, file, &err);
    CHASSIS_ASSERT(rc == 0); /* our own generator wrote it */
}

void chassis_runtime_with_http_offset(struct chassis *c, unsigned offset)
{
    c->http_offset = offset;
}

void chassis_runtime_with_default(struct chassis *c, const char *key, const char *value)
{
    ROOM(c->n_defaults, RUNTIME_DEFAULTS_MAX);
    c->defaults[c->n_defaults++] = (struct chassis_config_pair){key, value};
}

const char *chassis_runtime_broker_url(struct chassis *c, const char *kind)
{
    return broker_url(c, kind);
}

const struct chassis_settings *chassis_runtime_settings(struct chassis *c)
{
    return &c->settings;
}

struct chassis_server *chassis_runtime_server(struct chassis *c)
{
    return c->server;
}

struct chassis_view chassis_runtime_cluster_secret(struct chassis *c)
{
    return chassis_buf_view(&c->cluster_secret);
}

bool chassis_runtime_is_ready(struct chassis *c)
{
    pthread_mutex_lock(&c->mutex);
    bool ready = c->ready;
    pthread_mutex_unlock(&c->mutex);
    return ready;
}

struct chassis_executor *chassis_loop(struct chassis *c)
{
    return chassis_loop_executor(c->loop);
}

struct chassis_executor *chassis_workers(struct chassis *c)
{
    return chassis_os_pool_executor(c->workers);
}

struct chassis_consensus *chassis_consensus(struct chassis *c)
{
    return cluster_node(c);
}

struct chassis_store *chassis_repository(struct chassis *c, const char *kind)
{
    for (unsigned i = 0; i < c->n_repositories; i++) {
        if (strcmp(c->repositories[i].repository->kind, kind) == 0) {
            return c->repositories[i].store;
        }
    }
    return NULL;
}

struct chassis_broker *chassis_broker(struct chassis *c, const char *kind)
{
    for (unsigned i = 0; i < c->n_brokers; i++) {
        if (strcmp(c->brokers[i].plugin->kind, kind) == 0) {
            return c->brokers[i].broker;
        }
    }
    return NULL;
}

int chassis_secret(struct chassis *c, const char *name, struct chassis_buf *ret_secret,
                   struct chassis_error *err)
{
    for (unsigned i = 0; i < c->n_secret_stores; i++) {
        int rc = c->secret_stores[i]->ops->get(c->secret_stores[i], name, ret_secret, err);
        if (rc != CHASSIS_NOT_FOUND) {
            return rc;
        }
    }
    return chassis_error_set(err, CHASSIS_NOT_FOUND,
                             "no secret '%s': none of the %u secret stores has it", name,
                             c->n_secret_stores);
}

struct chassis_logger *chassis_logger(struct chassis *c)
{
    return c->log;
}

static bool is_name(const char *target)
{
    return strstr(target, "://") == NULL && strchr(target, ':') == NULL;
}

static void token_now(void *data, struct chassis_buf *out)
{
    chassis_registry_token(data, out);
}

int chassis_client(struct chassis *c, const char *target, struct chassis_client **ret_client,
                   struct chassis_error *err)
{
    return chassis_runtime_client(c, target, NULL, ret_client, err);
}

int chassis_runtime_client(struct chassis *c, const char *target, struct chassis_executor *executor,
                           struct chassis_client **ret_client, struct chassis_error *err)
{
    char name[300];
    snprintf(name, sizeof name, "%s%s", is_name(target) ? "draft:///" : "", target);
    struct chassis_tls_files tls = {c->settings.tls_ca, c->settings.tls_certificate,
                                    c->settings.tls_key, NULL};
    struct chassis_client_options options = {
        .target = name,
        .tls = c->identity != NULL ? &tls : NULL,
        .resolver = c->registry != NULL ? chassis_registry_resolver(c->registry) : NULL,
        .executor = executor,
        .token_now = c->registry != NULL ? token_now : NULL,
        .token_data = c->registry,
    };
    pthread_mutex_lock(&c->mutex);
    bool room = c->n_clients < RUNTIME_CLIENTS_MAX;
    c->n_clients += room;
    unsigned slot = c->n_clients - 1;
    pthread_mutex_unlock(&c->mutex);
    if (!room) {
        return chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED,
                                 "client of '%s': %d are in use; keep one and share it", target,
                                 RUNTIME_CLIENTS_MAX);
    }
    struct chassis_client *client = NULL;
    int rc = chassis_client_new(&options, &client, err);
    pthread_mutex_lock(&c->mutex);
    c->clients[slot] = client; /* NULL is fine there */
    pthread_mutex_unlock(&c->mutex);
    if (rc != 0) {
        return rc;
    }
    *ret_client = client;
    return 0;
}

struct chassis_loop *chassis_runtime_loop(struct chassis *c)
{
    return c->loop;
}

bool chassis_runtime_pid(struct chassis *c, char ret_pid[64])
{
    struct chassis_registry_status status = {.pid = ""};
    if (c->registry != NULL) {
        chassis_registry_status(c->registry, &status);
    }
    snprintf(ret_pid, 64, "%s", status.pid);
    return status.state == REGISTRY_MEMBER && status.pid[0] != '\0';
}

const char *chassis_rpc_address(struct chassis *c)
{
    return c->rpc_address;
}

const char *chassis_http_address(struct chassis *c)
{
    return c->http_address;
}
