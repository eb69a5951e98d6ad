/* Routes in Envoy's words: which requests, what becomes of them, in which order. */
#include "fuse/control_plane/decide.h"
#include "fuse/control_plane/regex.h"
#include "world.h"

static void assert_match(void **state, const struct fuse_route *route, const char *expected)
{
    struct world *w = *state;
    world_route(w, w->revision + 1, route);
    world_assert_json(w, world_match(w, "listener/default", 0, 0), expected);
}

static void assert_action(void **state, const struct fuse_route *route, const char *expected)
{
    struct world *w = *state;
    world_route(w, w->revision + 1, route);
    world_assert_json(w, world_action(w, "listener/default", 0, 0), expected);
}

static void hosts_come_with_their_routes_in_order_of_precedence(void **state)
{
    struct world *w = *state;
    assert_resource(w, FUSE_ROUTES, "listener/default",
                    "{'name':'listener/default','ignorePortInHostMatching':true}");
    assert_int_equal(w->revision, 0);
    world_route(w, 5,
                &(struct fuse_route){.name = "short", .path = "/", .path_kind = FUSE_PATH_PREFIX});
    world_route(w, 9,
                &(struct fuse_route){.name = "long", .path = "/a/", .path_kind = FUSE_PATH_PREFIX});
    world_route(w, 8,
                &(struct fuse_route){
                    .name = "first", .path = "/", .path_kind = FUSE_PATH_PREFIX, .priority = 1});
    world_route(w, 7, &(struct fuse_route){.name = "shop", .host = "shop.example.com"});
    world_route(w, 6, &(struct fuse_route){.name = "any", .host = "*.example.com"});
#define TO_ECHO(prefix, name)                                                                      \
    "{'match':{'prefix':'" prefix "'},'route':{'cluster':'echo','timeout':'0s'},'name':'" name "'" \
    "}"
    assert_resource(
        w, FUSE_ROUTES, "listener/default",
        "{'name':'listener/default','virtualHosts':["
        "{'name':'*','domains':['*'],'routes':[" TO_ECHO("/", "first") "," TO_ECHO(
            "/a/",
            "long") "," TO_ECHO("/",
                                "short") "]},"
                                         "{'name':'*.example.com','domains':['*.example.com'],'"
                                         "routes':[" TO_ECHO(
                                             "/",
                                             "any") "]},"
                                                    "{'name':'shop.example.com','domains':['shop."
                                                    "example.com'],'routes':[" TO_ECHO(
                                                        "/",
                                                        "shop") "]}],'ignorePortInHostMatching':"
                                                                "true}");
    assert_int_equal(w->revision, 9);
}

static void routes_of_other_groups_and_listeners_are_not_there(void **state)
{
    struct world *w = *state;
    static const char *const core[] = {"core"}, *const edge[] = {"edge"}, *const tls[] = {"tls"};
    world_route(w, 5, &(struct fuse_route){.name = "c", .groups = core, .n_groups = 1});
    world_route(w, 6, &(struct fuse_route){.name = "t", .listeners = tls, .n_listeners = 1});
    assert_null(strstr(world_json(w, FUSE_ROUTES, "listener/default"), "virtualHosts"));
    assert_string_equal(world_route_of(w, "listener/tls", 0, 0)->name, "t");
    world_route(w, 7, &(struct fuse_route){.name = "e", .groups = edge, .n_groups = 1});
    assert_string_equal(world_route_of(w, "listener/default", 0, 0)->name, "e");
}

static void paths(void **state)
{
    assert_match(state,
                 &(struct fuse_route){.name = "r", .path = "/x", .path_kind = FUSE_PATH_EXACT},
                 "{'path':'/x'}");
    assert_match(state,
                 &(struct fuse_route){.name = "r", .path = "/x", .path_kind = FUSE_PATH_PREFIX},
                 "{'prefix':'/x'}");
    assert_match(state,
                 &(struct fuse_route){.name = "r", .path = "/a|/b", .path_kind = FUSE_PATH_REGEX},
                 "{'safeRegex':{'regex':'(?:/a|/b)'}}");
    assert_match(state, &(struct fuse_route){.name = "r", .grpc = true},
                 "{'prefix':'/','grpc':{}}");
}

static void methods(void **state)
{
    static const char *const one[] = {"GET"}, *const two[] = {"GET", "M-SEARCH"};
    assert_match(state, &(struct fuse_route){.name = "r", .methods = one, .n_methods = 1},
                 "{'prefix':'/','headers':[{'name':':method','stringMatch':{'exact':'GET'}}]}");
    assert_match(state, &(struct fuse_route){.name = "r", .methods = two, .n_methods = 2},
                 "{'prefix':'/','headers':[{'name':':method','stringMatch':{'safeRegex':{'regex':"
                 "'GET|M\\\\-SEARCH'}}}]}");
}

static void headers(void **state)
{
    static const struct fuse_named_match some[] = {
        {"a", {FUSE_MATCH_EXACT, false, "1", NULL}},
        {"b", {FUSE_MATCH_PREFIX, true, "2", NULL}},
        {"c", {FUSE_MATCH_SUFFIX, false, "3", NULL}},
        {"d", {FUSE_MATCH_CONTAINS, false, "4", NULL}},
        {"e", {FUSE_MATCH_REGEX, false, "5|6", NULL}},
        {"f", {FUSE_MATCH_PRESENT, false, "", NULL}},
        {"g", {FUSE_MATCH_PRESENT, true, "", NULL}},
    };
    assert_match(state, &(struct fuse_route){.name = "r", .headers = some, .n_headers = N(some)},
                 "{'prefix':'/','headers':["
                 "{'name':'a','stringMatch':{'exact':'1'}},"
                 "{'name':'b','invertMatch':true,'stringMatch':{'prefix':'2'},"
                 "'treatMissingHeaderAsEmpty':true},"
                 "{'name':'c','stringMatch':{'suffix':'3'}},"
                 "{'name':'d','stringMatch':{'contains':'4'}},"
                 "{'name':'e','stringMatch':{'safeRegex':{'regex':'5|6'}}},"
                 "{'name':'f','presentMatch':true},"
                 "{'name':'g','presentMatch':true,'invertMatch':true}]}");
}

static void query_parameters_and_their_opposite(void **state)
{
    static const struct fuse_named_match some[] = {
        {"a", {FUSE_MATCH_EXACT, false, "1", NULL}},   {"b", {FUSE_MATCH_PRESENT, false, "", NULL}},
        {"c.", {FUSE_MATCH_EXACT, true, "x y", NULL}}, {"d", {FUSE_MATCH_PRESENT, true, "", NULL}},
        {"e", {FUSE_MATCH_PREFIX, true, "p", NULL}},
    };
    assert_match(state, &(struct fuse_route){.name = "r", .queries = some, .n_queries = N(some)},
                 "{'prefix':'/','headers':["
                 "{'name':':path','invertMatch':true,'stringMatch':{'safeRegex':{'regex':"
                 "'[^?]*\\\\?(?:[^&]*&)*c\\\\.=x\\\\ y(?:&.*)?'}}},"
                 "{'name':':path','invertMatch':true,'stringMatch':{'safeRegex':{'regex':"
                 "'[^?]*\\\\?(?:[^&]*&)*d(?:[=&].*)?'}}},"
                 "{'name':':path','invertMatch':true,'stringMatch':{'safeRegex':{'regex':"
                 "'[^?]*\\\\?(?:[^&]*&)*e=p[^&]*(?:&.*)?'}}}],"
                 "'queryParameters':[{'name':'a','stringMatch':{'exact':'1'}},"
                 "{'name':'b','presentMatch':true}]}");
}

/* The expressions that stand for inverted query parameters say what Explain says. */
static void inverted_query_parameters_exclude_what_explain_excludes(void **state)
{
    struct world *w = *state;
    static const struct fuse_string_match values[] = {
        {FUSE_MATCH_EXACT, true, "a.b", NULL},   {FUSE_MATCH_PREFIX, true, "a.", NULL},
        {FUSE_MATCH_SUFFIX, true, ".b", NULL},   {FUSE_MATCH_CONTAINS, true, ".", NULL},
        {FUSE_MATCH_REGEX, true, "a|a.*", NULL}, {FUSE_MATCH_PRESENT, true, "", NULL},
    };
    static const char *const paths[] = {
        "/",          "/?",          "/?k",         "/?k=",           "/?k=a.b",    "/?k=a.bc",
        "/?k=ca.b",   "/?k=axb",     "/?kk=a.b",    "/?x=k=a.b",      "/?x&k=a.b",  "/?x&k=a.&y",
        "/?x=k&y",    "/?k=a.b&x=1", "/?x=1&k=a.b", "/?x=a.b&k=&y=.", "/?K=a.b",    "/k=a.b",
        "/x&k=a.b?y", "/?k%3Da.b",   "/?&&k=x.b&&", "/?k==a.b",       "/?y=k=a.b&", "/?k&x=a.b",
    };
    for (unsigned i = 0; i < N(values); i++) {
        struct fuse_named_match query = {"k", values[i]};
        struct chassis_error err = {0};
        if (values[i].kind == FUSE_MATCH_REGEX) {
            assert_int_equal(fuse_regex_new(values[i].text, &query.value.regex, &err), 0);
        }
        world_route(w, i + 1, &(struct fuse_route){.name = "r", .queries = &query, .n_queries = 1});
        const Envoy__Config__Route__V3__HeaderMatcher *header =
            world_route_of(w, "listener/default", 0, 0)->match->headers[0];
        struct fuse_regex *regex;
        assert_true(header->invert_match);
        assert_int_equal(fuse_regex_new(header->string_match->safe_regex->regex, &regex, &err), 0);
        for (unsigned p = 0; p < N(paths); p++) {
            struct fuse_request request = {.method = "GET", .host = "", .path = paths[p]};
            bool wanted = fuse_decide(w->view, "default", &request) != NULL;
            if (fuse_regex_matches(regex, chassis_view_str(paths[p])) == wanted) {
                fail_msg("'%s' and '%s' differ about '%s'", values[i].text,
                         header->string_match->safe_regex->regex, paths[p]);
            }
        }
        fuse_regex_free(regex);
    }
}

static void a_split_names_the_targets_that_get_something(void **state)
{
    static const struct fuse_target targets[] = {
        {.service = "echo", .host = "", .weight = 90},
        {.service = "", .host = "fd00::1", .port = 80, .weight = 10},
        {.service = "old", .host = "", .weight = 0},
    };
    assert_action(state, &(struct fuse_route){.name = "r", .targets = targets, .n_targets = 3},
                  "{'weightedClusters':{'clusters':[{'name':'echo/http','weight':90},"
                  "{'name':'[fd00::1]:80/http','weight':10}]},'timeout':'0s'}");
    struct fuse_route route = {.name = "r", .targets = targets, .n_targets = 3};
    route.breaker.set = true;
    assert_action(state, &route,
                  "{'weightedClusters':{'clusters':[{'name':'route/r/0','weight':90},"
                  "{'name':'route/r/1','weight':10}]},'timeout':'0s'}");
}

static void a_single_target_gets_all_whatever_its_weight(void **state)
{
    static const struct fuse_target target = {.service = "echo", .host = "", .weight = 0};
    assert_action(state, &(struct fuse_route){.name = "r", .targets = &target, .n_targets = 1},
                  "{'cluster':'echo/http','timeout':'0s'}");
}

static void rewrite_timeout_and_retries(void **state)
{
    struct fuse_route route = {.name = "r", .prefix_rewrite = "/v1", .timeout_ms = 2500};
    route.retry = (struct fuse_retry){.on = 0x3fe, .retries = 3};
    assert_action(state, &route,
                  "{'cluster':'echo','prefixRewrite':'/v1','timeout':'2.500s','retryPolicy':{"
                  "'retryOn':'connect-failure,reset,gateway-error,5xx,cancelled,deadline-exceeded,"
                  "internal,resource-exhausted,unavailable','numRetries':3}}");
    route.retry = (struct fuse_retry){.on = 1 << 1, .retries = 1, .per_try_timeout_ms = 1000};
    route.retry.backoff_max_ms = 10;
    assert_action(state, &route,
                  "{'cluster':'echo','prefixRewrite':'/v1','timeout':'2.500s','retryPolicy':{"
                  "'retryOn':'connect-failure','numRetries':1,'perTryTimeout':'1s',"
                  "'retryBackOff':{'baseInterval':'0.010s','maxInterval':'0.010s'}}}");
    route.retry.backoff_base_ms = 50;
    route.retry.backoff_max_ms = 0;
    assert_action(state, &route,
                  "{'cluster':'echo','prefixRewrite':'/v1','timeout':'2.500s','retryPolicy':{"
                  "'retryOn':'connect-failure','numRetries':1,'perTryTimeout':'1s',"
                  "'retryBackOff':{'baseInterval':'0.050s','maxInterval':'0.500s'}}}");
}

static void hash_keys(void **state)
{
    static const struct {
        enum fuse_hash_kind kind;
        const char *expected;
    } cases[] = {
        {FUSE_HASH_HEADER, "'header':{'headerName':'k'}"},
        {FUSE_HASH_COOKIE, "'cookie':{'name':'k'}"},
        {FUSE_HASH_SOURCE_ADDRESS, "'connectionProperties':{'sourceIp':true}"},
        {FUSE_HASH_QUERY, "'queryParameter':{'name':'k'}"},
    };
    for (unsigned i = 0; i < N(cases); i++) {
        char expected[200];
        snprintf(expected, sizeof expected,
                 "{'cluster':'route/r/0','timeout':'0s','hashPolicy':[{%s}]}", cases[i].expected);
        assert_action(
            state, &(struct fuse_route){.name = "r", .hash_kind = cases[i].kind, .hash_name = "k"},
            expected);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hosts_come_with_their_routes_in_order_of_precedence),
        TEST(routes_of_other_groups_and_listeners_are_not_there),
        TEST(paths),
        TEST(methods),
        TEST(headers),
        TEST(query_parameters_and_their_opposite),
        TEST(inverted_query_parameters_exclude_what_explain_excludes),
        TEST(a_split_names_the_targets_that_get_something),
        TEST(a_single_target_gets_all_whatever_its_weight),
        TEST(rewrite_timeout_and_retries),
        TEST(hash_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
