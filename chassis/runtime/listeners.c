/* The stages that meet the outside: rpc, http, the registry. */
#include <stdio.h>
#include <unistd.h>

#include "runtime/internal.h"

enum { LEAVE_TIME_MS = 100 }; /* the drain has waited already */

/* host:port, with brackets around an IPv6 host. */
static void join_address(char *out, size_t size, const char *host, int64_t port)
{
    bool bare_v6 = strchr(host, ':') != NULL && host[0] != '[';
    snprintf(out, size, bare_v6 ? "[%s]:%lld" : "%s:%lld", host, (long long)port);
}

static bool operator_loopback(const struct chassis_settings *s)
{
    return s->operator_loopback == SETTINGS_ALWAYS ||
           (s->operator_loopback == SETTINGS_AUTO && strcmp(s->env, "local") == 0);
}

/* A NULL-terminated copy of a list, as rpc wants it; lives during the call only. */
static const char **terminated(const struct chassis_config_list *list)
{
    const char **copy = chassis_base_alloc((list->n + 1) * sizeof *copy);
    for (size_t i = 0; i < list->n; i++) {
        copy[i] = list->items[i];
    }
    copy[list->n] = NULL;
    return copy;
}

/* Of callers that are registered: what the registry knows of Blueprint's keys decides. */
static int verify_by_registry(void *data, const char *token, struct chassis_auth_claims *ret_claims,
                              struct chassis_error *err)
{
    struct chassis *c = data;
    return c->registry != NULL
               ? chassis_registry_verify_token(c->registry, token, ret_claims, err)
               : chassis_error_set(err, CHASSIS_UNAUTHENTICATED,
                                   "this service knows no Blueprint to check a token by: set "
                                   "service.entrypoint");
}

static int new_server(struct chassis *c, const char **operators, const char **peers,
                      struct chassis_error *err)
{
    const struct chassis_settings *s = &c->settings;
    char address[280], peer_address[280];
    join_address(address, sizeof address, s->bind_address, s->bind_port);
    join_address(peer_address, sizeof peer_address, s->bind_address, s->raft_port);
    struct chassis_listener_options listeners[2] = {
        {.address = address,
         .identity = c->identity,
         .client_certificate_required = s->tls_client_required,
         .plaintext_beyond_loopback = s->plaintext},
        {.address = peer_address,
         .identity = c->identity,
         .client_certificate_required = s->tls_client_required,
         .plaintext_beyond_loopback = s->plaintext,
         .peer_only = true},
    };
    bool second = c->machine != NULL && settings_peer_listener(s);
    struct chassis_server_options options = {
        .listeners = listeners,
        .n_listeners = second ? 2 : 1,
        .workers = chassis_os_pool_executor(c->workers),
        .message_bytes_max = s->message_bytes_max,
        .calls_max = (uint32_t)s->calls_max,
        .call_bytes_max = s->call_bytes_max,
        .verify_token = c->verify_token != NULL ? c->verify_token : verify_by_registry,
        .verify_token_data = c->verify_token != NULL ? c->verify_token_data : c,
        .cluster_secret = chassis_buf_view(&c->cluster_secret),
        .operators = operators,
        .peers = peers,
        .operator_loopback = operator_loopback(s),
    };
    return chassis_server_new(&options, &c->server, err);
}

int stage_server(struct chassis *c, struct chassis_error *err)
{
    const char **operators = terminated(&c->settings.operators);
    const char **peers = terminated(&c->settings.peers);
    int rc = new_server(c, operators, peers, err);
    free(operators);
    free(peers);
    for (unsigned i = 0; rc == 0 && i < c->n_services; i++) {
        rc = chassis_server_add(c->server, c->services[i], err);
        rc = rc == 0 ? chassis_dynamic_add_embedded(c->types, c->services[i].type->file, err) : rc;
    }
    rc = rc == 0 ? chassis_dynamic_link(c->types, err) : rc;
    /* The registry is ours until listeners open: nobody else reads it yet. */
    struct chassis_type_registry *types =
        (struct chassis_type_registry *)(uintptr_t)chassis_dynamic_types(c->types);
    for (unsigned i = 0; rc == 0 && i < c->n_more_types; i++) {
        chassis_type_registry_add(types, c->more_types[i]);
    }
    rc = rc == 0 ? cluster_add_services(c, err) : rc;
    if (rc != 0) {
        unstage_server(c);
    }
    return rc;
}

void unstage_server(struct chassis *c)
{
    chassis_server_free(c->server);
    c->server = NULL;
}

int stage_listen(struct chassis *c, struct chassis_error *err)
{
    const struct chassis_settings *s = &c->settings;
    int rc = chassis_server_start(c->server, err);
    if (rc == 0) {
        const char *host = s->internal_host != NULL ? s->internal_host : s->bind_address;
        int64_t port = s->internal_port != 0 ? s->internal_port : chassis_server_port(c->server, 0);
        join_address(c->rpc_address, sizeof c->rpc_address, host, port);
    }
    return rc;
}

/* -1 in the configuration: derived from the gRPC port as configured, so that it is known beforehand;
 * any free one if that is. */
static int64_t derived_port(int64_t configured, int64_t base, unsigned offset)
{
    return configured >= 0 ? configured : base != 0 ? base + offset : 0;
}

int stage_http(struct chassis *c, struct chassis_error *err)
{
    const struct chassis_settings *s = &c->settings;
    char address[280], admin[280] = "";
    int64_t port = derived_port(s->http_port, s->bind_port, c->http_offset);
    join_address(address, sizeof address, s->bind_address, port);
    if (s->admin_address != NULL && s->admin_address[0] != '\0') {
        join_address(admin, sizeof admin, s->admin_address, derived_port(s->admin_port, port, 100));
    }
    struct chassis_http_options options = {
        .address = address,
        .admin_address = admin[0] != '\0' ? admin : NULL,
        .identity = c->identity,
        .client_certificate_required = s->tls_client_required,
        .plaintext_beyond_loopback = s->plaintext,
        .server = c->server,
        .types = chassis_dynamic_types(c->types),
        .routes = c->routes,
        .n_routes = c->n_routes,
        .files = c->files,
        .n_files = c->n_files,
        .origins = s->origins.items,
        .n_origins = s->origins.n,
        .name = s->name,
        .version = DRAFT_VERSION,
        .config = c->config,
        .ready = ready_http,
        .ready_data = c,
        .connections_max = (uint32_t)s->connections_max,
        .body_bytes_max = s->message_bytes_max,
    };
    int rc = chassis_http_start(&options, &c->http, err);
    if (rc == 0) {
        const char *host = s->internal_host != NULL ? s->internal_host : s->bind_address;
        join_address(c->http_address, sizeof c->http_address, host, chassis_http_port(c->http));
    }
    return rc;
}

void unstage_http(struct chassis *c)
{
    chassis_http_stop(c->http);
    c->http = NULL;
}

int stage_ports(struct chassis *c, struct chassis_error *err)
{
    unsigned rpc = chassis_server_port(c->server, 0), http = chassis_http_port(c->http);
    unsigned admin = chassis_http_admin_port(c->http);
    chassis_log_info(c->log, "listening", chassis_f_str("address", c->settings.bind_address),
                     chassis_f_u64("rpc", rpc), chassis_f_u64("http", http),
                     chassis_f_u64("admin", admin));
    if (c->settings.port_file == NULL || c->settings.port_file[0] == '\0') {
        return 0;
    }
    struct chassis_buf text = {0};
    chassis_buf_printf(&text, "{\"rpc\":%u,\"http\":%u,\"admin\":%u,\"pid\":%d}\n", rpc, http,
                       admin, (int)getpid());
    int rc = chassis_disk_replace_file(chassis_disk_posix(), c->settings.port_file,
                                       chassis_buf_view(&text), err);
    chassis_buf_fini(&text);
    return rc;
}

int stage_registry(struct chassis *c, struct chassis_error *err)
{
    const struct chassis_settings *s = &c->settings;
    if (s->entrypoints.n == 0) {
        if (c->wants_registration) {
            chassis_log_info(c->log, "not registering: service.entrypoint names no Blueprint");
        }
        return 0;
    }
    struct chassis_tls_files tls = {s->tls_ca, s->tls_certificate, s->tls_key, NULL};
    struct chassis_registry_options options = {
        .entrypoints = s->entrypoints.items,
        .n_entrypoints = s->entrypoints.n,
        .loop = chassis_loop_executor(c->loop),
        .tls = c->identity != NULL ? &tls : NULL,
        .interval_ms = s->report_interval_ms,
    };
    return chassis_registry_open(&options, &c->registry, err);
}

void unstage_registry(struct chassis *c)
{
    /* Clients first: they use its resolver. */
    for (unsigned i = 0; i < c->n_clients; i++) {
        chassis_client_free(c->clients[i]);
    }
    c->n_clients = 0;
    chassis_registry_close(c->registry, LEAVE_TIME_MS);
    c->registry = NULL;
}

int stage_register(struct chassis *c, struct chassis_error *err)
{
    if (c->registry == NULL || !c->wants_registration) {
        return 0;
    }
    const struct chassis_service *const *services;
    size_t n = chassis_server_services(c->server, &services);
    const char **names = chassis_base_alloc((n + 1) * sizeof *names);
    size_t n_names = 0;
    for (size_t i = 0; i < n; i++) {
        const char *name = services[i]->type->name;
        if (strncmp(name, "grpc.", 5) != 0) { /* health and reflection: everybody has them */
            names[n_names++] = name;
        }
    }
    struct chassis_registration registration = {
        .name = c->settings.name,
        .group = c->group,
        .address = c->rpc_address,
        .http_address = c->http_address,
        .services = names,
        .n_services = n_names,
        .metadata = c->metadata,
        .n_metadata = c->n_metadata,
        .healthy = chassis_runtime_is_ready(c),
    };
    int rc = chassis_registry_register(c->registry, &registration, err);
    free(names);
    return rc;
}
