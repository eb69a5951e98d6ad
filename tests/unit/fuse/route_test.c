/* Routes as messages and as structs: what is read, what is written, what stays the same. */
#include "json.h"

#include "fuse/control_plane/regex.h"

/* Every field once. */
static const char full[] =
    "{'name':'shop','match':{'prefix':'/api/','host':'Shop.Example.COM','methods':['GET','POST'],"
    "'headers':{'key':'X-Tenant','value':'a b'},"
    "'headerMatches':[{'name':'X-Beta','value':{'present':true,'invert':true}},"
    "{'name':'x-v','value':{'regex':'[0-9]+'}}],"
    "'queryMatches':[{'name':'q','value':{'contains':'%20x'}}]},"
    "'enableHttp2':true,'targets':[{'service':'echo','weight':90},"
    "{'host':'Backend.Example.com','port':8080,'weight':10}],"
    "'priority':-5,'prefixRewrite':'/v2/','timeout':'1.500s',"
    "'retry':{'on':['GRPC_UNAVAILABLE','CONNECT_FAILURE','CONNECT_FAILURE'],'retries':3,"
    "'perTryTimeout':'0.500s','backoffBase':'0.010s','backoffMax':'1s'},"
    "'hashKey':{'header':'X-User'},'circuitBreaker':{'maxRequests':100},"
    "'outlierDetection':{'consecutiveErrors':7},'listeners':['default'],'groups':['edge','inner']}";

static void every_field_is_read(void **state)
{
    struct fuse_route *r = json_accepted(full);
    assert_string_equal(r->name, "shop");
    assert_string_equal(r->host, "shop.example.com");
    assert_int_equal(r->path_kind, FUSE_PATH_PREFIX);
    assert_string_equal(r->path, "/api/");
    assert_int_equal(r->n_methods, 2);
    assert_string_equal(r->methods[1], "POST");
    assert_int_equal(r->n_headers, 3);
    assert_string_equal(r->headers[0].name, "x-tenant");
    assert_int_equal(r->headers[0].value.kind, FUSE_MATCH_EXACT);
    assert_string_equal(r->headers[0].value.text, "a b");
    assert_true(r->headers[1].value.invert);
    assert_int_equal(r->headers[1].value.kind, FUSE_MATCH_PRESENT);
    assert_true(fuse_regex_matches(r->headers[2].value.regex, chassis_view_str("42")));
    assert_int_equal(r->n_queries, 1);
    assert_string_equal(r->queries[0].value.text, "%20x");
    assert_true(r->http2);
    assert_int_equal(r->n_targets, 2);
    assert_string_equal(r->targets[0].service, "echo");
    assert_int_equal(r->targets[0].weight, 90);
    assert_string_equal(r->targets[1].host, "backend.example.com");
    assert_int_equal(r->targets[1].port, 8080);
    assert_int_equal(r->priority, -5);
    assert_string_equal(r->prefix_rewrite, "/v2/");
    assert_int_equal(r->timeout_ms, 1500);
    assert_int_equal(r->retry.on, 1U << 9 | 1U << 1);
    assert_int_equal(r->retry.retries, 3);
    assert_int_equal(r->retry.per_try_timeout_ms, 500);
    assert_int_equal(r->retry.backoff_base_ms, 10);
    assert_int_equal(r->retry.backoff_max_ms, 1000);
    assert_int_equal(r->hash_kind, FUSE_HASH_HEADER);
    assert_string_equal(r->hash_name, "x-user");
    assert_true(r->breaker.set);
    assert_int_equal(r->breaker.max_requests, 100);
    assert_true(r->outlier.set);
    assert_int_equal(r->outlier.consecutive_errors, 7);
    assert_int_equal(r->outlier.max_ejection_percent, 10);
    assert_int_equal(r->outlier.interval_ms, 10000);
    assert_int_equal(r->outlier.base_ejection_ms, 30000);
    assert_int_equal(fuse_route_conditions(r), 1 + 3 + 1);
    assert_true(fuse_route_in_group(r, "inner"));
    assert_false(fuse_route_in_group(r, ""));
    assert_true(fuse_route_on_listener(r, "default"));
    assert_false(fuse_route_on_listener(r, "other"));
    fuse_route_unref(r);
}

static void what_is_left_out_has_a_meaning(void **state)
{
    struct fuse_route *r = json_accepted("{'name':'r','targets':[{'service':'echo'}]}");
    assert_string_equal(r->host, "*");
    assert_int_equal(r->path_kind, FUSE_PATH_PREFIX);
    assert_string_equal(r->path, "/");
    assert_string_equal(r->prefix_rewrite, "");
    assert_int_equal(r->targets[0].weight, 1);
    assert_int_equal(r->timeout_ms, 0);
    assert_int_equal(fuse_route_conditions(r), 0);
    assert_true(fuse_route_in_group(r, "any") && fuse_route_on_listener(r, "any"));
    fuse_route_unref(r);
}

static void name_and_target_come_from_the_calling_service(void **state)
{
    const struct fuse_route_defaults defaults = {"shop-echo", "echo"};
    struct fuse_problems problems;
    struct fuse_route *r = json_route("{}", &defaults, &problems);
    assert_non_null(r);
    assert_string_equal(r->name, "shop-echo");
    assert_string_equal(r->targets[0].service, "echo");
    struct fuse_problems again_problems = {0};
    struct fuse_route *again = fuse_route_of_bytes(r->encoded, &again_problems);
    assert_non_null(again);
    assert_string_equal(again->name, "shop-echo");
    assert_string_equal(again->targets[0].service, "echo");
    fuse_route_unref(again);
    fuse_route_unref(r);
    /* The original's way: an endpoint without a host is the service itself. */
    r = json_route("{'name':'x','endpoint':{'port':80}}", &defaults, &problems);
    assert_non_null(r);
    assert_string_equal(r->name, "x");
    assert_string_equal(r->targets[0].service, "echo");
    assert_int_equal(problems.n, 1);
    assert_string_equal(problems.items[0].field, "endpoint.port");
    fuse_route_unref(r);
}

static void grpc_is_a_path_and_a_condition(void **state)
{
    struct fuse_route *r =
        json_accepted("{'name':'r','match':{'grpcMatchOptions':{'service':'a.b.Svc'}},"
                      "'targets':[{'service':'echo'}]}");
    assert_true(r->grpc);
    assert_int_equal(r->path_kind, FUSE_PATH_PREFIX);
    assert_string_equal(r->path, "/a.b.Svc/");
    assert_int_equal(fuse_route_conditions(r), 1);
    fuse_route_unref(r);
    r = json_accepted("{'name':'r','match':{'grpcMatchOptions':{'service':'Svc','method':'Do'}},"
                      "'targets':[{'service':'echo'}]}");
    assert_int_equal(r->path_kind, FUSE_PATH_EXACT);
    assert_string_equal(r->path, "/Svc/Do");
    fuse_route_unref(r);
    r = json_accepted("{'name':'r','match':{'prefix':'/x','grpcMatchOptions':{}},"
                      "'targets':[{'service':'echo'}]}");
    assert_true(r->grpc);
    assert_string_equal(r->path, "/x");
    fuse_route_unref(r);
}

/* ---- encodings ---- */

static const char *const accepted[] = {
    full,
    "{'name':'r','targets':[{'service':'echo','weight':50}]}",
    "{'name':'r','endpoint':{'host':'10.0.0.7','port':1}}",
    "{'name':'r','endpoint':{'host':'::0001','port':65535}}",
    "{'name':'r','match':{'host':'*.Example.com','path':'/"
    "a%2Fb'},'endpoint':{'host':'b','port':9}}",
    "{'name':'r','match':{'regex':'/v[0-9]+/.*'},'targets':[{'service':'a'},{'service':'b',"
    "'weight':10000}]}",
    "{'name':'r','match':{'grpcMatchOptions':{}},'targets':[{'service':'e'}]}",
    "{'name':'r','match':{'grpcMatchOptions':{'service':'a.S'}},'targets':[{'service':'e'}]}",
    "{'name':'r','match':{'grpcMatchOptions':{'service':'a.S','method':'M'}},"
    "'targets':[{'service':'e'}]}",
    "{'name':'r','match':{'path':'/a/b','grpcMatchOptions':{}},'targets':[{'service':'e'}]}",
    "{'name':'r','match':{'path':'/a/','grpcMatchOptions':{}},'targets':[{'service':'e'}]}",
    "{'name':'r','match':{'prefix':'/a/b','grpcMatchOptions':{}},'targets':[{'service':'e'}]}",
    "{'name':'r','match':{'regex':'/a/b','grpcMatchOptions':{}},'targets':[{'service':'e'}]}",
    "{'name':'r','match':{'headers':{'key':'A'}},'targets':[{'service':'e'}]}",
    "{'name':'r','hashKey':{'cookie':'sid'},'targets':[{'service':'e'}]}",
    "{'name':'r','hashKey':{'query':'q'},'targets':[{'service':'e'}]}",
    "{'name':'r','hashKey':{'sourceAddress':true},'targets':[{'service':'e'}]}",
    "{'name':'r','circuitBreaker':{},'outlierDetection':{},'targets':[{'service':'e'}]}",
    "{'name':'r','timeout':'86400s','priority':1000,'targets':[{'service':'e'}]}",
};

static void a_route_is_the_same_from_its_own_encoding(void **state)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        struct fuse_problems problems = {0};
        struct fuse_route *r = json_accepted(accepted[i]);
        struct fuse_route *again = fuse_route_of_bytes(r->encoded, &problems);
        if (again == NULL || !chassis_view_eq(r->encoded, again->encoded)) {
            fail_msg("%s: %s: %s", accepted[i], problems.items[0].field, problems.items[0].text);
        }
        assert_string_equal(r->path, again->path);
        assert_int_equal(r->path_kind, again->path_kind);
        assert_int_equal(r->grpc, again->grpc);
        assert_int_equal(r->n_headers, again->n_headers);
        assert_int_equal(r->n_targets, again->n_targets);
        assert_int_equal(r->by_endpoint, again->by_endpoint);
        fuse_route_unref(again);
        fuse_route_unref(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_read),
        cmocka_unit_test(what_is_left_out_has_a_meaning),
        cmocka_unit_test(name_and_target_come_from_the_calling_service),
        cmocka_unit_test(grpc_is_a_path_and_a_condition),
        cmocka_unit_test(a_route_is_the_same_from_its_own_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
