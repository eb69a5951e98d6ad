#include "rpc/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "rpc/server_impl.h"

#define DEFAULT(field, value)                                                                      \
    do {                                                                                           \
        if (server->options.field == 0) {                                                          \
            server->options.field = (value);                                                       \
        }                                                                                          \
    } while (0)

enum { GOODBYE_MS = 1000 }; /* for callers to close their side, at most */

static void defaults(struct chassis_server *server)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned queues = cores <= 2 ? 1 : cores >= 8 ? 4 : (unsigned)cores / 2;
    DEFAULT(n_queues, queues);
    DEFAULT(message_bytes_max, 4UL << 20);
    DEFAULT(metadata_bytes_max, 16UL << 10);
    DEFAULT(streams_max, 1024);
    DEFAULT(calls_max, 16384);
    DEFAULT(call_bytes_max, 256UL << 20);
    DEFAULT(queue_bytes_max, 1UL << 20);
    DEFAULT(arena_bytes_max, 64UL << 20);
    DEFAULT(keepalive_ms, 30000);
    DEFAULT(keepalive_timeout_ms, 5000);
    DEFAULT(slow_ms, 100);
}

int chassis_server_new(const struct chassis_server_options *options,
                       struct chassis_server **ret_server, struct chassis_error *err)
{
    struct chassis_server *server = chassis_base_zalloc(sizeof *server);
    server->options = *options;
    defaults(server);
    server->listeners = chassis_base_zalloc((options->n_listeners + 1) * sizeof *server->listeners);
    for (unsigned i = 0; i < options->n_listeners; i++) {
        server->listeners[i] = options->listeners[i];
        server->listeners[i].address = chassis_base_strdup(options->listeners[i].address);
    }
    server->options.listeners = server->listeners;
    server->log = chassis_log_module("rpc");
    server->access = rpc_access_new(options);
    server->recent = chassis_recent_new();
    server->in_flight = chassis_gauge("draft_rpc_server_in_flight", "Calls being served.", NULL, 0);
    server->refused =
        chassis_counter("draft_rpc_server_refused_total",
                        "Calls refused because a limit of the server was reached.", NULL, 0);
    pthread_mutex_init(&server->pool_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->idle, &attr);
    pthread_condattr_destroy(&attr);
    server->health = rpc_health_new(server);
    int rc = chassis_server_add(server, rpc_health_service(server->health), err);
    rc = rc != 0 ? rc : chassis_server_add(server, rpc_reflection_service(server, false), err);
    rc = rc != 0 ? rc : chassis_server_add(server, rpc_reflection_service(server, true), err);
    if (rc != 0) {
        chassis_server_free(server);
        return rc;
    }
    *ret_server = server;
    return 0;
}

/* ---- methods ---- */

static const struct chassis_method_options *options_of(const struct chassis_service *service,
                                                       const char *name)
{
    const struct chassis_method_options *all = NULL;
    for (const struct chassis_method_options *o = service->options; o != NULL && o->method != NULL;
         o++) {
        if (strcmp(o->method, name) == 0) {
            return o;
        }
        if (strcmp(o->method, "*") == 0) {
            all = o;
        }
    }
    return all;
}

static int options_check(const struct chassis_service *service, struct chassis_error *err)
{
    for (const struct chassis_method_options *o = service->options; o != NULL && o->method != NULL;
         o++) {
        bool known = strcmp(o->method, "*") == 0;
        for (size_t i = 0; i < service->type->n_methods; i++) {
            known = known || strcmp(service->type->methods[i].method->name, o->method) == 0;
        }
        if (!known) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "service '%s' has options for '%s', which is no method of it",
                                     service->type->name, o->method);
        }
    }
    return 0;
}

static void table_put(struct chassis_server *server, struct chassis_server_method *m)
{
    uint64_t at = chassis_fnv1a(m->method->path, strlen(m->method->path));
    for (at &= server->table_size - 1; server->table[at] != NULL;) {
        at = (at + 1) & (server->table_size - 1);
    }
    server->table[at] = m;
}

static void table_add(struct chassis_server *server, struct chassis_server_method *m)
{
    server->methods =
        chassis_base_realloc(server->methods, (server->n_methods + 1) * sizeof *server->methods);
    server->methods[server->n_methods++] = m;
    if (server->n_methods * 2 > server->table_size) {
        free(server->table);
        server->table_size = server->table_size != 0 ? server->table_size * 2 : 64;
        server->table = chassis_base_zalloc(server->table_size * sizeof(void *));
        for (size_t i = 0; i < server->n_methods; i++) {
            table_put(server, server->methods[i]);
        }
    } else {
        table_put(server, m);
    }
}

static struct chassis_server_method *method_new(struct chassis_server *server,
                                                const struct chassis_service *service,
                                                const struct chassis_method_binding *binding)
{
    struct chassis_server_method *m = chassis_base_zalloc(sizeof *m);
    const struct chassis_method_options *o = options_of(service, binding->method->name);
    const struct chassis_label label = {"method", binding->method->path};
    m->method = binding->method;
    m->binding = binding;
    m->service = service;
    m->request_bytes_max = server->options.message_bytes_max;
    if (o != NULL) {
        m->access = o->access;
        m->never_blocks = o->never_blocks;
        m->idempotent = o->idempotent;
        m->encoded = o->encoded;
        m->rare = o->rare;
        if (o->request_bytes_max != 0 && o->request_bytes_max < m->request_bytes_max) {
            m->request_bytes_max = o->request_bytes_max;
        }
    }
    m->metrics = chassis_base_zalloc(sizeof *m->metrics);
    m->metrics->seconds =
        chassis_histogram("draft_rpc_server_seconds",
                          "Time from arrival to the end of the handler.", NULL, 0, &label, 1);
    return m;
}

const struct chassis_server_method *
chassis_server_add_private(struct chassis_server *server, const struct chassis_service *service,
                           const struct chassis_method_binding *binding)
{
    struct chassis_server_method *m = method_new(server, service, binding);
    server->private_methods = chassis_base_realloc(
        server->private_methods, (server->n_private + 1) * sizeof *server->private_methods);
    server->private_methods[server->n_private++] = m;
    return m;
}

int chassis_server_add(struct chassis_server *server, struct chassis_service service,
                       struct chassis_error *err)
{
    CHASSIS_ASSERT(!server->started);
    for (size_t i = 0; i < server->n_services; i++) {
        if (strcmp(server->services[i]->type->name, service.type->name) == 0) {
            return chassis_error_set(err, CHASSIS_ALREADY_EXISTS,
                                     "service '%s' is registered twice", service.type->name);
        }
    }
    int rc = options_check(&service, err);
    if (rc != 0) {
        return rc;
    }
    struct chassis_service *kept = chassis_base_alloc(sizeof *kept);
    *kept = service;
    server->services =
        chassis_base_realloc(server->services, (server->n_services + 1) * sizeof *server->services);
    server->services[server->n_services++] = kept;
    for (size_t i = 0; i < service.type->n_methods; i++) {
        table_add(server, method_new(server, kept, &service.type->methods[i]));
    }
    return 0;
}

const struct chassis_server_method *chassis_server_find(const struct chassis_server *server,
                                                        struct chassis_view path)
{
    if (server->table_size == 0) {
        return NULL;
    }
    uint64_t at = chassis_fnv1a(path.data, path.len);
    for (at &= server->table_size - 1; server->table[at] != NULL;
         at = (at + 1) & (server->table_size - 1)) {
        if (chassis_view_eq(chassis_view_str(server->table[at]->method->path), path)) {
            return server->table[at];
        }
    }
    return NULL;
}

size_t chassis_server_services(const struct chassis_server *server,
                               const struct chassis_service *const **ret_services)
{
    *ret_services = (const struct chassis_service *const *)server->services;
    return server->n_services;
}

const struct chassis_server_method *chassis_server_method_at(const struct chassis_server *server,
                                                             size_t index)
{
    return index < server->n_methods ? server->methods[index] : NULL;
}

size_t chassis_server_method_count(const struct chassis_server *server)
{
    return server->n_methods;
}

/* ---- life ---- */

int chassis_server_start(struct chassis_server *server, struct chassis_error *err)
{
    CHASSIS_ASSERT(!server->started);
    if (server->options.n_listeners != 0) {
        int rc = rpc_grpc_start(server, err);
        if (rc != 0) {
            return rc;
        }
    }
    server->started = true;
    return 0;
}

uint16_t chassis_server_port(const struct chassis_server *server, unsigned listener)
{
    return server->grpc != NULL ? rpc_grpc_port(server->grpc, listener) : 0;
}

void chassis_server_refuse(struct chassis_server *server)
{
    atomic_store(&server->refusing, true);
}

static void wait_idle(struct chassis_server *server, uint64_t grace_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + grace_ms % 1000 * CHASSIS_NS_PER_MS;
    until.tv_sec += (time_t)(grace_ms / 1000 + ns / CHASSIS_NS_PER_S);
    until.tv_nsec = (long)(ns % CHASSIS_NS_PER_S);
    int rc = 0;
    pthread_mutex_lock(&server->pool_lock);
    while (atomic_load(&server->objects) > atomic_load(&server->lasting) && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&server->idle, &server->pool_lock, &until);
    }
    pthread_mutex_unlock(&server->pool_lock);
}

void chassis_server_drain(struct chassis_server *server, uint64_t grace_ms)
{
    if (server->drained) {
        return;
    }
    server->drained = true;
    chassis_server_set_serving(server, "", false);
    rpc_health_set(server->health, NULL, false); /* ends the watchers */
    chassis_server_refuse(server);
    /* While calls finish, new ones are answered UNAVAILABLE by the interceptor: a gRPC server that
     * is shutting down would break them off as CANCELLED (hang_up.h). */
    wait_idle(server, grace_ms);
    if (server->grpc != NULL) {
        rpc_grpc_drain(server->grpc, grace_ms < GOODBYE_MS ? grace_ms : GOODBYE_MS);
    }
    pthread_mutex_lock(&server->pool_lock);
    while (atomic_load(&server->objects) != 0) {
        pthread_cond_wait(&server->idle, &server->pool_lock);
    }
    pthread_mutex_unlock(&server->pool_lock);
    if (server->grpc != NULL) {
        rpc_grpc_free(server->grpc);
        server->grpc = NULL;
    }
}

static void pool_free(struct chassis_call *pool)
{
    for (struct chassis_call *call; (call = pool) != NULL;) {
        pool = call->next_free;
        pthread_mutex_destroy(&call->lock);
        pthread_cond_destroy(&call->callback_done);
        free(call);
    }
}

void chassis_server_free(struct chassis_server *server)
{
    if (server == NULL) {
        return;
    }
    chassis_server_drain(server, 0);
    pool_free(server->pool[0]);
    pool_free(server->pool[1]);
    for (size_t i = 0; i < server->n_methods; i++) {
        free(server->methods[i]->metrics);
        free(server->methods[i]);
    }
    for (size_t i = 0; i < server->n_private; i++) {
        free(server->private_methods[i]->metrics);
        free(server->private_methods[i]);
    }
    for (size_t i = 0; i < server->n_services; i++) {
        free(server->services[i]);
    }
    for (unsigned i = 0; i < server->options.n_listeners; i++) {
        free((char *)(uintptr_t)server->listeners[i].address);
    }
    free(server->methods);
    free(server->private_methods);
    free(server->services);
    free(server->table);
    free(server->listeners);
    rpc_health_free(server->health);
    rpc_access_free(server->access);
    chassis_recent_free(server->recent);
    pthread_mutex_destroy(&server->pool_lock);
    pthread_cond_destroy(&server->idle);
    free(server);
}

unsigned chassis_server_calls_in_flight(const struct chassis_server *server)
{
    return atomic_load(&server->calls);
}

void chassis_server_set_serving(struct chassis_server *server, const char *service, bool serving)
{
    rpc_health_set(server->health, service, serving);
}

struct chassis_recent *chassis_server_recent(struct chassis_server *server)
{
    return server->recent;
}

/* ---- the pool of call objects ---- */

struct chassis_call *rpc_server_call_get(struct chassis_server *server, bool lean)
{
    pthread_mutex_lock(&server->pool_lock);
    struct chassis_call *call = server->pool[lean];
    if (call != NULL) {
        server->pool[lean] = call->next_free;
        server->pool_n[lean]--;
    }
    atomic_fetch_add(&server->objects, 1);
    pthread_mutex_unlock(&server->pool_lock);
    if (call == NULL) {
        call = chassis_base_alloc(sizeof *call + (lean ? RPC_FIRST_OWN : RPC_FIRST));
        memset(call, 0, offsetof(struct chassis_call, first));
        pthread_mutex_init(&call->lock, NULL);
        pthread_cond_init(&call->callback_done, NULL);
        call->server = server;
        call->lean = lean;
    }
    return call;
}

static void call_reset(struct chassis_call *call)
{
    size_t from = offsetof(struct chassis_call, method);
    memset((char *)call + from, 0, offsetof(struct chassis_call, first) - from);
}

void rpc_server_call_put(struct chassis_call *call)
{
    struct chassis_server *server = call->server;
    bool lasting = call->method->access == CHASSIS_ACCESS_PEER;
    call_reset(call);
    pthread_mutex_lock(&server->pool_lock);
    bool lean = call->lean, keep = server->pool_n[lean] < RPC_FREE_CALLS_MAX;
    if (keep) {
        call->next_free = server->pool[lean];
        server->pool[lean] = call;
        server->pool_n[lean]++;
    }
    atomic_fetch_sub(&server->lasting, lasting ? 1 : 0);
    if (atomic_fetch_sub(&server->objects, 1) - 1 <= atomic_load(&server->lasting)) {
        pthread_cond_broadcast(&server->idle);
    }
    pthread_mutex_unlock(&server->pool_lock); /* the server may be gone from here on */
    if (!keep) {
        pthread_mutex_destroy(&call->lock);
        pthread_cond_destroy(&call->callback_done);
        free(call);
    }
}
