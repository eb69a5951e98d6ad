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
    r = json_route("{}", &(const struct fuse_route_defaults){NULL, NULL}, &problems);
    assert_null(r);
    assert_int_equal(problems.n_errors, 2);
    assert_string_equal(problems.items[0].field, "name");
    assert_string_equal(problems.items[1].field, "targets");
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

static void equal_meaning_has_one_encoding(void **state)
{
    static const char *const pairs[][2] = {
        {"{'name':'r','match':{'prefix':'/','host':'*'},'targets':[{'service':'e','weight':1}]}",
         "{'name':'r','targets':[{'service':'e','weight':77}]}"},
        {"{'name':'r','match':{'host':'A.b'},'endpoint':{'host':'H','port':1}}",
         "{'name':'r','match':{'host':'a.B'},'endpoint':{'host':'h','port':1}}"},
        {"{'name':'r','endpoint':{'host':'1::0:1','port':1}}",
         "{'name':'r','endpoint':{'host':'1:0:0:0:0:0:0:1','port':1}}"},
        {"{'name':'r','match':{'prefix':'/a.S/"
         "','grpcMatchOptions':{}},'targets':[{'service':'e'}]}",
         "{'name':'r','match':{'grpcMatchOptions':{'service':'a.S'}},'targets':[{'service':'e'}]}"},
        {"{'name':'r','retry':{'on':[2,1,1],'retries':1},'targets':[{'service':'e'}]}",
         "{'name':'r','retry':{'on':[1,2],'retries':1},'targets':[{'service':'e'}]}"},
        {"{'name':'r','outlierDetection':{},'circuitBreaker':{},'targets':[{'service':'e'}]}",
         "{'name':'r','outlierDetection':{'consecutiveErrors':5,'interval':'10s',"
         "'baseEjectionTime':'30s','maxEjectionPercent':10},'targets':[{'service':'e'}]}"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct fuse_route *a = json_accepted(pairs[i][0]), *b = json_accepted(pairs[i][1]);
        if (!chassis_view_eq(a->encoded, b->encoded)) {
            fail_msg("%s and %s", pairs[i][0], pairs[i][1]);
        }
        fuse_route_unref(a);
        fuse_route_unref(b);
    }
}

/* Records of routes are kept for years and compared by their bytes. */
static void the_encoding_does_not_change(void **state)
{
    static const char golden[] =
        "0a0473686f7012680a052f6170692f120f0a08782d74656e616e7412036120622a1073686f702e6578616d70"
        "6c652e636f6db20603474554b20604504f5354ba060e0a06782d62657461120430013801ba060f0a03782d76"
        "12082a065b302d395d2bc2060b0a017112062204253230782001a206080a046563686f205aa2061a12136261"
        "636b656e642e6578616d706c652e636f6d18903f200aa80609b206042f76322fba060808011080cab5ee01c2"
        "06190a02010910031a061080cab5ee0122051080ade2042a020801ca06080a06782d75736572d206021864da"
        "060c08071202080a1a02081e200ae2060764656661756c74ea060465646765ea0605696e6e6572";
    struct fuse_route *r = json_accepted(full);
    struct chassis_buf hex = {0};
    for (size_t i = 0; i < r->encoded.len; i++) {
        chassis_buf_printf(&hex, "%02x", r->encoded.data[i]);
    }
    assert_string_equal(hex.data, golden);
    chassis_buf_fini(&hex);
    fuse_route_unref(r);
}

static void fields_of_the_future_are_left_out(void **state)
{
    struct fuse_route *r = json_accepted(accepted[1]);
    struct chassis_buf bytes = {0};
    struct fuse_problems problems = {0};
    chassis_buf_append_view(&bytes, r->encoded);
    chassis_buf_append(&bytes, "\xf2\x3f\x02xy", 5); /* field 1022 */
    struct fuse_route *again = fuse_route_of_bytes(chassis_buf_view(&bytes), &problems);
    assert_non_null(again);
    assert_true(chassis_view_eq(r->encoded, again->encoded));
    fuse_route_unref(again);
    fuse_route_unref(r);
    chassis_buf_fini(&bytes);
}

static void what_is_no_route_is_a_problem(void **state)
{
    struct fuse_problems problems = {0};
    assert_null(fuse_route_of_message(NULL, NULL, &problems));
    assert_int_equal(problems.n_errors, 1);
    problems = (struct fuse_problems){0};
    assert_null(fuse_route_of_bytes(chassis_view("\x0a\xff", 2), &problems));
    assert_int_equal(problems.n_errors, 1);
    assert_non_null(strstr(problems.items[0].text, "is no route"));
    problems = (struct fuse_problems){0};
    assert_null(fuse_route_of_bytes(chassis_view("\x0a\x02\xff\xff", 4), &problems));
    assert_int_equal(problems.n_errors, 1);

    /* As large as it may be, but for its unknown fields, and one byte more. */
    struct chassis_buf bytes = {0};
    struct fuse_route *r = json_accepted(accepted[1]);
    chassis_buf_append_view(&bytes, r->encoded);
    while (bytes.len + 3 <= FUSE_ROUTE_BYTES_MAX) {
        chassis_buf_append(&bytes, "\xf0\x3f\x01", 3);
    }
    problems = (struct fuse_problems){0};
    struct fuse_route *large = fuse_route_of_bytes(chassis_buf_view(&bytes), &problems);
    assert_non_null(large);
    fuse_route_unref(large);
    chassis_buf_append(&bytes, "\xf0\x3f\x01", 3);
    assert_null(fuse_route_of_bytes(chassis_buf_view(&bytes), &problems));
    assert_non_null(strstr(problems.items[0].text, "at most 262144"));
    fuse_route_unref(r);
    chassis_buf_fini(&bytes);
}

static void convert_with_faults(void *data)
{
    struct fuse_problems problems;
    struct fuse_route *r = json_route(data, NULL, &problems);
    if (r == NULL) {
        assert_int_equal(problems.n_errors, 1);
        assert_non_null(strstr(problems.items[0].field, "regex"));
    }
    fuse_route_unref(r);
}

static void a_regex_that_cannot_be_compiled_leaves_nothing_behind(void **state)
{
    static char json[] =
        "{'name':'r','match':{'regex':'/a','headerMatches':[{'name':'a','value':{'regex':'b'}}],"
        "'queryMatches':[{'name':'a','value':{'regex':'c'}}]},'targets':[{'service':'e'}]}";
    assert_int_equal(test_each_fault("fuse.regex", convert_with_faults, json), 3);
}

/* ---- copies ---- */

static void a_copy_has_texts_of_its_own(void **state)
{
    char name[] = "n", service[] = "s", group[] = "g";
    const char *groups[] = {group};
    struct fuse_target target = {.service = service, .weight = 1};
    struct fuse_route from = {
        .name = name, .targets = &target, .n_targets = 1, .groups = groups, .n_groups = 1};
    struct fuse_route *r = fuse_route_new(&from);
    name[0] = service[0] = group[0] = 'x';
    groups[0] = "other";
    target.weight = 2;
    assert_string_equal(r->name, "n");
    assert_string_equal(r->targets[0].service, "s");
    assert_string_equal(r->targets[0].host, "");
    assert_int_equal(r->targets[0].weight, 1);
    assert_true(fuse_route_in_group(r, "g"));
    assert_string_equal(r->prefix_rewrite, "");
    assert_string_equal(r->host, "*");
    struct fuse_route *again = fuse_route_ref(r);
    fuse_route_unref(r);
    assert_string_equal(again->name, "n");
    fuse_route_unref(again);
    fuse_route_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_read),
        cmocka_unit_test(what_is_left_out_has_a_meaning),
        cmocka_unit_test(name_and_target_come_from_the_calling_service),
        cmocka_unit_test(grpc_is_a_path_and_a_condition),
        cmocka_unit_test(a_route_is_the_same_from_its_own_encoding),
        cmocka_unit_test(equal_meaning_has_one_encoding),
        cmocka_unit_test(the_encoding_does_not_change),
        cmocka_unit_test(fields_of_the_future_are_left_out),
        cmocka_unit_test(what_is_no_route_is_a_problem),
        cmocka_unit_test(a_regex_that_cannot_be_compiled_leaves_nothing_behind),
        cmocka_unit_test(a_copy_has_texts_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
