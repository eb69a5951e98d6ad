/* What a proxy is told about the places behind targets: clusters, endpoints, secrets. */
#include "fuse/xds/quirk.h"
#include "world.h"

#define EDS "'edsClusterConfig':{'edsConfig':{'ads':{},'resourceApiVersion':'V3'}"
#define HTTP2                                                                                      \
    "'typedExtensionProtocolOptions':{'envoy.extensions.upstreams.http.v3.HttpProtocolOptions':"   \
    "{'@type':'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',"       \
    "'explicitHttpConfig':{'http2ProtocolOptions':{'allowConnect':true}}}}"

static void a_service_is_a_cluster_by_grpc_and_by_http(void **state)
{
    struct world *w = *state;
    assert_false(world_exists(w, FUSE_CLUSTER, "echo"));
    world_instance(w, 30, "echo", "p1", "127.0.0.1:9000", "127.0.0.1:9001");
    assert_resource(w, FUSE_CLUSTER, "echo", "{'name':'echo','type':'EDS'," EDS "}," HTTP2 "}");
    assert_int_equal(w->revision, 0);
    assert_resource(w, FUSE_CLUSTER, "echo/http", "{'name':'echo/http','type':'EDS'," EDS "}}");
}

static void a_fixed_ip_address_has_endpoints_a_name_is_for_dns(void **state)
{
    struct world *w = *state;
    assert_resource(w, FUSE_CLUSTER, "10.0.0.7:80",
                    "{'name':'10.0.0.7:80','type':'EDS'," EDS "}," HTTP2 "}");
    assert_resource(w, FUSE_ENDPOINTS, "[fd00::1]:80/http",
                    "{'clusterName':'[fd00::1]:80/http','endpoints':[{'locality':{},'lbEndpoints':["
                    "{'endpoint':{'address':{'socketAddress':{'address':'fd00::1','portValue':80}}}"
                    ",'healthStatus':'HEALTHY'}],'loadBalancingWeight':1}]}");
    assert_int_equal(w->revision, 0);
    assert_resource(w, FUSE_CLUSTER, "db.example.com:80/http",
                    "{'name':'db.example.com:80/http','type':'LOGICAL_DNS',"
                    "'dnsLookupFamily':'V4_PREFERRED','loadAssignment':{'clusterName':"
                    "'db.example.com:80/http','endpoints':[{'lbEndpoints':[{'endpoint':{'address':"
                    "{'socketAddress':{'address':'db.example.com','portValue':80}}}}]}]}}");
    assert_false(world_exists(w, FUSE_ENDPOINTS, "db.example.com:80/http"));
}

static void names_of_nothing_give_nothing(void **state)
{
    struct world *w = *state;
    static const char *const names[] = {
        "",
        "/http",
        "nobody",
        "nobody/http",
        "10.0.0.7",
        "10.0.0.7:",
        ":80",
        "host:0",
        "host:080",
        "host:65536",
        "host:80/grpc",
        "[10.0.0.7:80",
        "fd00::1:80"
        "x",
        "[x]:80",
        "a b:80",
        "route/",
        "route/a",
        "route/a/",
        "route/a/16",
        "route//0",
        "route/a/01",
        "host:-1",
        "host:999999999999",
    };
    world_route(w, 5, &(struct fuse_route){.name = "a"});
    for (unsigned i = 0; i < N(names); i++) {
        assert_false(world_exists(w, FUSE_CLUSTER, names[i]));
        assert_false(world_exists(w, FUSE_ENDPOINTS, names[i]));
    }
}

static void a_route_with_policies_has_clusters_of_its_own(void **state)
{
    struct world *w = *state;
    static const struct fuse_target targets[] = {
        {.service = "echo", .host = "", .weight = 3},
        {.service = "", .host = "db.example.com", .port = 80, .weight = 1},
        {.service = "echo", .host = "", .weight = 0},
    };
    struct fuse_route route = {.name = "r", .targets = targets, .n_targets = 3, .http2 = true};
    route.hash_kind = FUSE_HASH_HEADER;
    route.hash_name = "x-user";
    world_route(w, 41, &route);
    assert_resource(w, FUSE_CLUSTER, "route/r/0",
                    "{'name':'route/r/0','type':'EDS'," EDS ",'serviceName':'echo'},"
                    "'lbPolicy':'RING_HASH'," HTTP2 "}");
    assert_int_equal(w->revision, 41);
    assert_non_null(strstr(world_json(w, FUSE_CLUSTER, "route/r/1"), "LOGICAL_DNS"));
    assert_false(world_exists(w, FUSE_CLUSTER, "route/r/2")); /* gets nothing */
    assert_false(world_exists(w, FUSE_CLUSTER, "route/r/3"));
    assert_false(world_exists(w, FUSE_ENDPOINTS, "route/r/0"));

    route.hash_kind = FUSE_HASH_NONE;
    world_route(w, 42, &route);
    assert_false(world_exists(w, FUSE_CLUSTER, "route/r/0"));
}

/* gRPC's C core 1.51 dies of ring hash. */
static void clients_that_cannot_survive_ring_hash_get_round_robin(void **state)
{
    struct world *w = *state;
    assert_true(
        fuse_quirk_fears_ring_hash("gRPC C-core linux Python", "C-core 29.0.0 Python 1.51.1"));
    assert_true(fuse_quirk_fears_ring_hash("gRPC C-core linux", ""));
    assert_false(fuse_quirk_fears_ring_hash("gRPC C-core linux", "C-core 30.1.0"));
    assert_false(fuse_quirk_fears_ring_hash("gRPC Node Pure JS", "1.14.1"));
    assert_false(fuse_quirk_fears_ring_hash("envoy", ""));
    struct fuse_route route = {.name = "r", .hash_kind = FUSE_HASH_SOURCE_ADDRESS};
    struct chassis_buf without = {0};
    world_route(w, 41, &route);
    fuse_quirk_drop_ring_hash(world_bytes(w, FUSE_CLUSTER, "route/r/0"), &without);
    route.hash_kind = FUSE_HASH_NONE;
    route.breaker.set = true;
    world_route(w, 42, &route);
    struct chassis_buf same = {0};
    fuse_quirk_drop_ring_hash(world_bytes(w, FUSE_CLUSTER, "route/r/0"), &same);
    assert_true(
        chassis_view_eq(chassis_buf_view(&same), world_bytes(w, FUSE_CLUSTER, "route/r/0")));
    world_assert_json(w, world_cluster_json(w, chassis_buf_view(&without)),
                      "{'name':'route/r/0','type':'EDS'," EDS ",'serviceName':'echo'}," HTTP2 "}");
    chassis_buf_fini(&without);
    chassis_buf_fini(&same);
}

static void limits_and_outliers_are_said_as_given(void **state)
{
    struct world *w = *state;
    struct fuse_route route = {.name = "r"};
    route.breaker = (struct fuse_breaker){.set = true, .max_requests = 100, .max_retries = 2};
    route.outlier = (struct fuse_outlier){.set = true,
                                          .consecutive_errors = 5,
                                          .max_ejection_percent = 10,
                                          .interval_ms = 1500,
                                          .base_ejection_ms = 30000};
    world_route(w, 41, &route);
    assert_resource(
        w, FUSE_CLUSTER, "route/r/0",
        "{'name':'route/r/0','type':'EDS'," EDS ",'serviceName':'echo'},"
        "'circuitBreakers':{'thresholds':[{'maxRequests':100,'maxRetries':2}]},"
        "'outlierDetection':{'consecutive5xx':5,'interval':'1.500s','baseEjectionTime':'30s',"
        "'maxEjectionPercent':10,'enforcingSuccessRate':0}," HTTP2 "}");
}

static void the_group_sees_the_policies_of_the_version_it_has(void **state)
{
    struct world *w = *state;
    struct fuse_route route = {.name = "r"};
    route.breaker = (struct fuse_breaker){.set = true, .max_requests = 1};
    world_route(w, 41, &route);
    fuse_view_override(w->view, "r", NULL);
    assert_false(world_exists(w, FUSE_CLUSTER, "route/r/0"));
    fuse_view_release(w->view, "r");
    assert_true(world_exists(w, FUSE_CLUSTER, "route/r/0"));
}

/* ---- endpoints ---- */

#define PLACE(port)                                                                                \
    "{'endpoint':{'address':{'socketAddress':{'address':'127.0.0.1','portValue':" port "}}},"      \
    "'healthStatus':'HEALTHY'}"

static void usable_instances_only_and_none_is_an_answer(void **state)
{
    struct world *w = *state;
    struct fuse_instance sick = {.pid = "p0",
                                 .service = "echo",
                                 .rpc_address = "127.0.0.1:8999",
                                 .http_address = "",
                                 .locality = "",
                                 .state = FUSE_INSTANCE_UNHEALTHY};
    world_instance_with(w, 20, &sick);
    assert_resource(w, FUSE_ENDPOINTS, "echo", "{'clusterName':'echo'}");
    assert_int_equal(w->revision, 20);
    world_instance(w, 30, "echo", "p1", "127.0.0.1:9000", "");
    world_instance(w, 31, "echo", "p2", "localhost:9001", "");
    assert_resource(w, FUSE_ENDPOINTS, "echo",
                    "{'clusterName':'echo','endpoints':[{'locality':{},'lbEndpoints':[" PLACE(
                        "9000") "," PLACE("9001") "],'loadBalancingWeight':2}]}");
    assert_int_equal(w->revision, 31);
    assert_resource(w, FUSE_ENDPOINTS, "echo/http", "{'clusterName':'echo/http'}");
}

/* A proxy refuses all endpoints for one it cannot read, and for one said twice. */
static void what_a_proxy_would_refuse_is_left_out(void **state)
{
    struct world *w = *state;
    world_instance(w, 30, "echo", "p1", "127.0.0.1:9000", "");
    world_instance(w, 31, "echo", "p2", "127.0.0.1:9000", "");
    world_instance(w, 32, "echo", "p3", "node3.example.com:9000", "");
    world_instance(w, 33, "echo", "p4", "127.0.0.1", "");
    assert_resource(w, FUSE_ENDPOINTS, "echo",
                    "{'clusterName':'echo','endpoints':[{'locality':{},'lbEndpoints':[" PLACE(
                        "9000") "],'loadBalancingWeight':1}]}");
}

static void localities_weigh_what_they_have(void **state)
{
    struct world *w = *state;
    static const char *const where[] = {"eu/a", "", "eu/b/rack/7", "eu/a"};
    for (unsigned i = 0; i < N(where); i++) {
        char pid[2] = {(char)('a' + i), 0}, address[32];
        snprintf(address, sizeof address, "127.0.0.1:900%u", 9 - i);
        world_instance_with(w, 30,
                            &(struct fuse_instance){.pid = pid,
                                                    .service = "echo",
                                                    .rpc_address = address,
                                                    .http_address = "",
                                                    .locality = where[i],
                                                    .state = FUSE_INSTANCE_USABLE});
    }
    assert_resource(
        w, FUSE_ENDPOINTS, "echo",
        "{'clusterName':'echo','endpoints':["
        "{'locality':{},'lbEndpoints':[" PLACE(
            "9008") "],'loadBalancingWeight':1},"
                    "{'locality':{'region':'eu','zone':'a'},'lbEndpoints':[" PLACE(
                        "9006") "," PLACE("9009") "],"
                                                  "'loadBalancingWeight':2},"
                                                  "{'locality':{'region':'eu','zone':'b','subZone':"
                                                  "'rack/7'},'lbEndpoints':[" PLACE(
                                                      "9007") "],'loadBalancingWeight':1}]}");
}

/* ---- secrets ---- */

static void a_secret_is_a_certificate_and_whom_it_trusts(void **state)
{
    struct world *w = *state;
    assert_resource(w, FUSE_SECRET, "front",
                    "{'name':'front','tlsCertificate':{'certificateChain':{'inlineBytes':"
                    "'Q0VSVElGSUNBVEU='},'privateKey':{'inlineBytes':'S0VZ'}}}");
    assert_int_equal(w->revision, 7);
    assert_resource(w, FUSE_SECRET, "front/ca",
                    "{'name':'front/ca','validationContext':{'trustedCa':{'inlineBytes':'Q0E='}}}");
    assert_true(world_exists(w, FUSE_SECRET, "plain"));
    assert_false(world_exists(w, FUSE_SECRET, "plain/ca"));
    assert_false(world_exists(w, FUSE_SECRET, "fron"));
    assert_false(world_exists(w, FUSE_SECRET, "front2"));
    assert_false(world_exists(w, FUSE_SECRET, ""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_service_is_a_cluster_by_grpc_and_by_http),
        TEST(a_fixed_ip_address_has_endpoints_a_name_is_for_dns),
        TEST(names_of_nothing_give_nothing),
        TEST(a_route_with_policies_has_clusters_of_its_own),
        TEST(clients_that_cannot_survive_ring_hash_get_round_robin),
        TEST(limits_and_outliers_are_said_as_given),
        TEST(the_group_sees_the_policies_of_the_version_it_has),
        TEST(usable_instances_only_and_none_is_an_answer),
        TEST(what_a_proxy_would_refuse_is_left_out),
        TEST(localities_weigh_what_they_have),
        TEST(a_secret_is_a_certificate_and_whom_it_trusts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
