/* Listeners: sockets for Envoy, and what a proxyless client asks for. */
#include "world.h"

#define SOURCE "{'ads':{},'resourceApiVersion':'V3'}"
#define HTTP_TYPE                                                                                  \
    "'@type':'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."    \
    "HttpConnectionManager'"
#define ROUTES(name) "'rds':{'configSource':" SOURCE ",'routeConfigName':'" name "'}"
#define ROUTER                                                                                     \
    "'httpFilters':[{'name':'envoy.filters.http.router','typedConfig':{'@type':"                   \
    "'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router'}}]"
#define SOCKET(name, address, port, tls)                                                           \
    "{'name':'listener/" name "','address':{'socketAddress':{'address':'" address                  \
    "','portValue':" port "}},'filterChains':[{'filters':[{'name':"                                \
    "'envoy.filters.network.http_connection_manager','typedConfig':{" HTTP_TYPE                    \
    ",'statPrefix':'" name                                                                         \
    "'," ROUTES("listener/" name) "," ROUTER ",'http2ProtocolOptions':{'maxConcurrentStreams':"    \
                                  "1024,'allowConnect':true,"                                      \
                                  "'connectionKeepalive':{'interval':'30s','timeout':'5s'}},'"     \
                                  "useRemoteAddress':true,"                                        \
                                  "'upgradeConfigs':[{'upgradeType':'websocket'}],'"               \
                                  "streamIdleTimeout':'0s',"                                       \
                                  "'serverHeaderTransformation':'PASS_THROUGH','"                  \
                                  "requestHeadersTimeout':'10s'}}]" tls "}]}"

static void a_socket_serves_http_with_the_routes_of_its_name(void **state)
{
    struct world *w = *state;
    assert_resource(w, FUSE_LISTENER, "listener/default",
                    SOCKET("default", "0.0.0.0", "10000", ""));
    assert_false(world_exists(w, FUSE_LISTENER, "listener/elsewhere")); /* another group's */
    assert_false(world_exists(w, FUSE_LISTENER, "listener/nobody"));
    assert_false(world_exists(w, FUSE_LISTENER, "listener/"));
    assert_false(world_exists(w, FUSE_ROUTES, "listener/elsewhere"));
}

static void
a_socket_with_a_secret_speaks_tls_and_asks_for_certificates_if_it_trusts_any(void **state)
{
    struct world *w = *state;
    assert_resource(
        w, FUSE_LISTENER, "listener/tls",
        SOCKET("tls", "::", "10443",
               ",'transportSocket':{'name':'envoy.transport_sockets.tls','typedConfig':{'@type':"
               "'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
               "DownstreamTlsContext','commonTlsContext':{'tlsParams':{"
               "'tlsMinimumProtocolVersion':'TLSv1_2'},'alpnProtocols':['h2','http/1.1'],"
               "'tlsCertificateSdsSecretConfigs':[{'name':'front','sdsConfig':" SOURCE
               "}],'validationContextSdsSecretConfig':{'name':'front/ca','sdsConfig':" SOURCE
               "}},'requireClientCertificate':true}}"));
    struct fuse_socket_listener plain = w->statics.listeners[1];
    plain.secret = "plain";
    w->statics.listeners = &plain;
    w->statics.n_listeners = 1;
    const char *json = world_json(w, FUSE_LISTENER, "listener/tls");
    assert_non_null(strstr(json, "\"name\":\"plain\""));
    assert_null(strstr(json, "validationContext"));
    assert_null(strstr(json, "requireClientCertificate"));
}

#define PROXYLESS(name, routes)                                                                    \
    "{'name':'" name "','apiListener':{'apiListener':{" HTTP_TYPE "," ROUTES(routes) "," ROUTER    \
                                                                                     "}}}"

static void a_service_is_a_listener_with_or_without_port(void **state)
{
    struct world *w = *state;
    assert_false(world_exists(w, FUSE_LISTENER, "echo"));
    world_instance(w, 30, "echo", "p1", "127.0.0.1:9000", "");
    assert_resource(w, FUSE_LISTENER, "echo", PROXYLESS("echo", "echo"));
    assert_resource(w, FUSE_LISTENER, "echo:443", PROXYLESS("echo:443", "echo"));
    assert_false(world_exists(w, FUSE_LISTENER, "echo:"));
    assert_false(world_exists(w, FUSE_LISTENER, "echo:x"));
    assert_false(world_exists(w, FUSE_ROUTES, "echo:443"));
    assert_int_equal(fuse_resource_stem(FUSE_LISTENER, "echo:443"), 4);
    assert_int_equal(fuse_resource_stem(FUSE_LISTENER, "echo"), 4);
    assert_int_equal(fuse_resource_stem(FUSE_LISTENER, "listener/default"), 16);
    assert_int_equal(fuse_resource_stem(FUSE_CLUSTER, "10.0.0.7:80"), 11);
}

static void a_host_is_a_listener_while_it_has_a_route_grpc_can_take(void **state)
{
    struct world *w = *state;
    world_route(w, 5, &(struct fuse_route){.name = "a", .host = "shop.example.com"});
    assert_true(world_exists(w, FUSE_LISTENER, "shop.example.com:80"));
    world_route(w, 6, &(struct fuse_route){.name = "a", .host = "*.example.com"});
    assert_false(world_exists(w, FUSE_LISTENER, "shop.example.com"));
    assert_false(world_exists(w, FUSE_LISTENER, "*.example.com"));
    world_route(
        w, 7,
        &(struct fuse_route){.name = "a", .host = "shop.example.com", .prefix_rewrite = "/v1/"});
    assert_false(world_exists(w, FUSE_LISTENER, "shop.example.com"));
    assert_false(world_exists(w, FUSE_ROUTES, "shop.example.com"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_socket_serves_http_with_the_routes_of_its_name),
        TEST(a_socket_with_a_secret_speaks_tls_and_asks_for_certificates_if_it_trusts_any),
        TEST(a_service_is_a_listener_with_or_without_port),
        TEST(a_host_is_a_listener_while_it_has_a_route_grpc_can_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
