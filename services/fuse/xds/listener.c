/* Listeners: sockets of the configuration for Envoy, listeners without one for proxyless
 * clients. */
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "fuse/xds/message.h"
#include "fuse/xds/part.h"

#include <chassis/message.h>

static const char listener_prefix[] = "listener/";
enum {
    PREFIX_LEN = sizeof listener_prefix - 1,
    HEADERS_TIMEOUT_MS = 10000, /* for clients that never finish their headers */
    STREAMS_MAX = 1024,         /* of one HTTP/2 connection */
    KEEPALIVE_MS = 30000,       /* as the chassis' own clients and servers */
    KEEPALIVE_TIMEOUT_MS = 5000,
};

bool fuse_listener_in_group(const struct fuse_socket_listener *listener, const char *group)
{
    for (unsigned i = 0; i < listener->n_groups; i++) {
        if (strcmp(listener->groups[i], group) == 0) {
            return true;
        }
    }
    return listener->n_groups == 0;
}

const struct fuse_socket_listener *fuse_listener_find(const struct fuse_resource_source *source,
                                                      const char *name)
{
    if (strncmp(name, listener_prefix, PREFIX_LEN) != 0) {
        return NULL;
    }
    for (unsigned i = 0; i < source->statics->n_listeners; i++) {
        const struct fuse_socket_listener *listener = &source->statics->listeners[i];
        if (strcmp(listener->name, name + PREFIX_LEN) == 0 &&
            fuse_listener_in_group(listener, fuse_view_group(source->view))) {
            return listener;
        }
    }
    return NULL;
}

/* HTTP whose routes come by RDS. */
static HTTP(HttpConnectionManager) * http_of(const char *routes, struct chassis_arena *arena)
{
    Envoy__Extensions__Filters__Http__Router__V3__Router *router =
        fuse_message_new(arena, &envoy__extensions__filters__http__router__v3__router__descriptor);
    HTTP(HttpFilter) *filter = fuse_message_new(
        arena,
        &envoy__extensions__filters__network__http_connection_manager__v3__http_filter__descriptor);
    filter->name = fuse_message_text("envoy.filters.http.router");
    filter->config_type_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter->typed_config = fuse_message_any(arena, &router->base);
    HTTP(Rds) *rds = fuse_message_new(
        arena, &envoy__extensions__filters__network__http_connection_manager__v3__rds__descriptor);
    rds->config_source = fuse_message_ads(arena);
    rds->route_config_name = fuse_message_text(routes);
    HTTP(HttpConnectionManager) *http = fuse_message_new(
        arena,
        &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor);
    http->route_specifier_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS;
    http->rds = rds;
    http->n_http_filters = 1;
    http->http_filters = fuse_message_list(arena, filter);
    return http;
}

static CORE(Http2ProtocolOptions) * http2_of_socket(struct chassis_arena *arena)
{
    CORE(KeepaliveSettings) *keepalive =
        fuse_message_new(arena, &envoy__config__core__v3__keepalive_settings__descriptor);
    keepalive->interval = fuse_message_ms(arena, KEEPALIVE_MS);
    keepalive->timeout = fuse_message_ms(arena, KEEPALIVE_TIMEOUT_MS);
    CORE(Http2ProtocolOptions) *http2 =
        fuse_message_new(arena, &envoy__config__core__v3__http2_protocol_options__descriptor);
    http2->allow_connect = true;
    http2->max_concurrent_streams = fuse_message_u32(arena, STREAMS_MAX);
    http2->connection_keepalive = keepalive;
    return http2;
}

/* Routes decide about time (streams may be idle for hours; a connection that is dead shows by its
 * keepalive), paths and headers stay as they came, and WebSocket passes. */
static void serve_strangers(HTTP(HttpConnectionManager) * http, const char *name,
                            struct chassis_arena *arena)
{
    HTTP(HttpConnectionManager__UpgradeConfig) *websocket = fuse_message_new(
        arena,
        &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__upgrade_config__descriptor);
    websocket->upgrade_type = fuse_message_text("websocket");
    http->n_upgrade_configs = 1;
    http->upgrade_configs = fuse_message_list(arena, websocket);
    http->stat_prefix = fuse_message_text(name);
    http->http2_protocol_options = http2_of_socket(arena);
    http->stream_idle_timeout = fuse_message_ms(arena, 0);
    http->request_headers_timeout = fuse_message_ms(arena, HEADERS_TIMEOUT_MS);
    http->use_remote_address = fuse_message_true(arena);
    http->server_header_transformation =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__SERVER_HEADER_TRANSFORMATION__PASS_THROUGH;
}

static TLS(SdsSecretConfig) * secret_by_name(const char *name, struct chassis_arena *arena)
{
    TLS(SdsSecretConfig) *config = fuse_message_new(
        arena, &envoy__extensions__transport_sockets__tls__v3__sds_secret_config__descriptor);
    config->name = fuse_message_text(name);
    config->sds_config = fuse_message_ads(arena);
    return config;
}

static bool trusts_someone(const struct fuse_statics *statics, const char *secret)
{
    for (unsigned i = 0; i < statics->n_secrets; i++) {
        if (strcmp(statics->secrets[i].name, secret) == 0) {
            return statics->secrets[i].ca.len != 0;
        }
    }
    return false;
}

static CORE(TransportSocket) *
    tls_of(const struct fuse_statics *statics, const char *secret, struct chassis_arena *arena)
{
    static const char *const protocols[] = {"h2", "http/1.1"};
    TLS(TlsParameters) *parameters = fuse_message_new(
        arena, &envoy__extensions__transport_sockets__tls__v3__tls_parameters__descriptor);
    parameters->tls_minimum_protocol_version =
        ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_2;
    TLS(CommonTlsContext) *common = fuse_message_new(
        arena, &envoy__extensions__transport_sockets__tls__v3__common_tls_context__descriptor);
    common->tls_params = parameters;
    common->n_alpn_protocols = sizeof protocols / sizeof *protocols;
    common->alpn_protocols = (char **)(uintptr_t)protocols;
    common->n_tls_certificate_sds_secret_configs = 1;
    common->tls_certificate_sds_secret_configs =
        fuse_message_list(arena, secret_by_name(secret, arena));
    TLS(DownstreamTlsContext) *tls = fuse_message_new(
        arena, &envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor);
    tls->common_tls_context = common;
    if (trusts_someone(statics, secret)) {
        common->validation_context_type_case =
            ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT_SDS_SECRET_CONFIG;
        common->validation_context_sds_secret_config =
            secret_by_name(chassis_arena_printf(arena, "%s/ca", secret), arena);
        tls->require_client_certificate = fuse_message_true(arena);
    }
    CORE(TransportSocket) *socket =
        fuse_message_new(arena, &envoy__config__core__v3__transport_socket__descriptor);
    socket->name = fuse_message_text("envoy.transport_sockets.tls");
    socket->config_type_case = ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG;
    socket->typed_config = fuse_message_any(arena, &tls->base);
    return socket;
}

static void listen_on_socket(LISTENER(Listener) * message, const struct fuse_statics *statics,
                             const struct fuse_socket_listener *listener,
                             struct chassis_arena *arena)
{
    HTTP(HttpConnectionManager) *http = http_of(message->name, arena);
    serve_strangers(http, listener->name, arena);
    LISTENER(Filter) *filter =
        fuse_message_new(arena, &envoy__config__listener__v3__filter__descriptor);
    filter->name = fuse_message_text("envoy.filters.network.http_connection_manager");
    filter->config_type_case = ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter->typed_config = fuse_message_any(arena, &http->base);
    LISTENER(FilterChain) *chain =
        fuse_message_new(arena, &envoy__config__listener__v3__filter_chain__descriptor);
    chain->n_filters = 1;
    chain->filters = fuse_message_list(arena, filter);
    if (listener->secret != NULL) {
        chain->transport_socket = tls_of(statics, listener->secret, arena);
    }
    message->address = fuse_message_address(arena, listener->address, listener->port);
    message->n_filter_chains = 1;
    message->filter_chains = fuse_message_list(arena, chain);
}

bool fuse_listener_build(const struct fuse_resource_source *source, const char *name,
                         struct chassis_arena *arena, struct chassis_buf *out,
                         uint64_t *ret_revision)
{
    LISTENER(Listener) *message =
        fuse_message_new(arena, &envoy__config__listener__v3__listener__descriptor);
    message->name = fuse_message_text(name);
    const struct fuse_socket_listener *listener = fuse_listener_find(source, name);
    if (listener != NULL) {
        listen_on_socket(message, source->statics, listener, arena);
    } else {
        const char *routes =
            chassis_arena_strndup(arena, name, fuse_resource_stem(FUSE_LISTENER, name));
        if (strncmp(name, listener_prefix, PREFIX_LEN) == 0 || !fuse_routes_exist(source, routes)) {
            return false;
        }
        message->api_listener =
            fuse_message_new(arena, &envoy__config__listener__v3__api_listener__descriptor);
        message->api_listener->api_listener =
            fuse_message_any(arena, &http_of(routes, arena)->base);
    }
    chassis_encode(message, out);
    *ret_revision = 0; /* the configuration's, and that of names */
    return true;
}
