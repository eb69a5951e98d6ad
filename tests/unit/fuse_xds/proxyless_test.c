/* Routes in the words of gRPC clients, which refuse everything for one word they do not know. */
#include "world.h"

static void after_the_routes_of_the_host_comes_the_service(void **state)
{
    struct world *w = *state;
    assert_false(world_exists(w, FUSE_ROUTES, "echo"));
    world_instance(w, 30, "echo", "p1", "127.0.0.1:9000", "");
    assert_resource(w, FUSE_ROUTES, "echo",
                    "{'name':'echo','virtualHosts':[{'name':'echo','domains':['*'],'routes':["
                    "{'match':{'prefix':''},'route':{'cluster':'echo'}}]}]}");
    assert_int_equal(w->revision, 0);
    static const struct fuse_target next = {.service = "next", .host = "", .weight = 1};
    world_route(w, 31,
                &(struct fuse_route){.name = "a",
                                     .host = "echo",
                                     .path = "/pkg.Svc/Do",
                                     .path_kind = FUSE_PATH_EXACT,
                                     .targets = &next,
                                     .n_targets = 1,
                                     .http2 = true});
    assert_resource(w, FUSE_ROUTES, "echo",
                    "{'name':'echo','virtualHosts':[{'name':'echo','domains':['*'],'routes':["
                    "{'match':{'path':'/pkg.Svc/Do'},'route':{'cluster':'next'},'name':'a'},"
                    "{'match':{'prefix':''},'route':{'cluster':'echo'}}]}]}");
    assert_int_equal(w->revision, 31);
}

static void matches_are_said_so_that_every_client_knows_them(void **state)
{
    struct world *w = *state;
    static const struct fuse_named_match some[] = {
        {"a", {FUSE_MATCH_EXACT, false, "1", NULL}},
        {"b", {FUSE_MATCH_PREFIX, false, "2", NULL}},
        {"c", {FUSE_MATCH_SUFFIX, false, "3", NULL}},
        {"d", {FUSE_MATCH_CONTAINS, false, "4.", NULL}},
        {"e", {FUSE_MATCH_REGEX, false, "5|6", NULL}},
        {"f", {FUSE_MATCH_PRESENT, false, "", NULL}},
        {"g", {FUSE_MATCH_PRESENT, true, "", NULL}},
    };
    static const char *const methods[] = {"GET", "POST"};
    world_route(w, 5,
                &(struct fuse_route){.name = "r",
                                     .host = "shop",
                                     .grpc = true,
                                     .methods = methods,
                                     .n_methods = 2,
                                     .headers = some,
                                     .n_headers = N(some)});
    world_assert_json(w, world_match(w, "shop", 0, 0),
                      "{'prefix':'/','headers':["
                      "{'name':'a','exactMatch':'1'},{'name':'b','prefixMatch':'2'},"
                      "{'name':'c','suffixMatch':'3'},"
                      "{'name':'d','safeRegexMatch':{'regex':'.*4\\\\..*'}},"
                      "{'name':'e','safeRegexMatch':{'regex':'(?:5|6)'}},"
                      "{'name':'f','presentMatch':true},"
                      "{'name':'g','presentMatch':true,'invertMatch':true}]}");
}

/* A client never takes an absent header for one that is not equal. */
static void an_inverted_header_is_two_routes(void **state)
{
    struct world *w = *state;
    struct fuse_named_match some[] = {
        {"a", {FUSE_MATCH_EXACT, true, "1", NULL}},  {"b", {FUSE_MATCH_EXACT, false, "2", NULL}},
        {"c", {FUSE_MATCH_PREFIX, true, "3", NULL}}, {"d", {FUSE_MATCH_EXACT, true, "4", NULL}},
        {"e", {FUSE_MATCH_EXACT, true, "5", NULL}},  {"f", {FUSE_MATCH_EXACT, true, "6", NULL}},
    };
    struct fuse_route route = {.name = "r", .host = "shop", .headers = some, .n_headers = 3};
    world_route(w, 5, &route);
#define A    "{'name':'a','exactMatch':'1','invertMatch':true}"
#define NO_A "{'name':'a','presentMatch':true,'invertMatch':true}"
#define B    "{'name':'b','exactMatch':'2'}"
#define C    "{'name':'c','invertMatch':true,'prefixMatch':'3'}"
#define NO_C "{'name':'c','presentMatch':true,'invertMatch':true}"
    static const char *const expected[] = {
        "{'prefix':'/','headers':[" A "," B "," C "]}",
        "{'prefix':'/','headers':[" NO_A "," B "," C "]}",
        "{'prefix':'/','headers':[" A "," B "," NO_C "]}",
        "{'prefix':'/','headers':[" NO_A "," B "," NO_C "]}",
    };
    for (unsigned i = 0; i < N(expected); i++) {
        world_assert_json(w, world_match(w, "shop", 0, i), expected[i]);
        assert_string_equal(world_route_of(w, "shop", 0, i)->name, "r");
        world_assert_json(w, world_action(w, "shop", 0, i), "{'cluster':'echo'}");
    }
    route.n_headers = 5; /* four of them inverted */
    world_route(w, 6, &route);
    world_route_of(w, "shop", 0, 15);
    route.n_headers = 6;
    world_route(w, 7, &route);
    assert_false(world_exists(w, FUSE_ROUTES, "shop"));
}

static void what_no_grpc_request_can_take_is_left_out(void **state)
{
    struct world *w = *state;
    static const char *const get[] = {"GET"}, *const tls[] = {"tls"};
    static const struct fuse_named_match query = {"a", {FUSE_MATCH_PRESENT, false, "", NULL}};
    static const struct fuse_target target = {.service = "echo", .host = "", .weight = 1};
    const struct fuse_route left_out[] = {
        {.targets = &target, .n_targets = 1}, /* HTTP/1.1 */
        {.methods = get, .n_methods = 1},
        {.queries = &query, .n_queries = 1},
        {.prefix_rewrite = "/x"},
        {.listeners = tls, .n_listeners = 1},
        {.path_kind = FUSE_PATH_EXACT, .path = "/"},
        {.path_kind = FUSE_PATH_EXACT, .path = "/svc"},
        {.path_kind = FUSE_PATH_EXACT, .path = "/svc/"},
        {.path_kind = FUSE_PATH_EXACT, .path = "//do"},
        {.path_kind = FUSE_PATH_EXACT, .path = "/svc/do/more"},
        {.path_kind = FUSE_PATH_PREFIX, .path = "/svc/do/"},
        {.path_kind = FUSE_PATH_PREFIX, .path = "//"},
    };
    const struct fuse_route kept[] = {
        {.path_kind = FUSE_PATH_PREFIX, .path = "/"},
        {.path_kind = FUSE_PATH_PREFIX, .path = "/sv"},
        {.path_kind = FUSE_PATH_PREFIX, .path = "/svc/"},
        {.path_kind = FUSE_PATH_PREFIX, .path = "/svc/Do"},
        {.path_kind = FUSE_PATH_EXACT, .path = "/svc/do"},
        {.path_kind = FUSE_PATH_REGEX, .path = "/a/b/c"},
    };
    for (unsigned i = 0; i < N(left_out) + N(kept); i++) {
        bool is_kept = i >= N(left_out);
        struct fuse_route route = is_kept ? kept[i - N(left_out)] : left_out[i];
        route.name = "r";
        route.host = "shop";
        world_route(w, i + 1, &route);
        assert_int_equal(world_exists(w, FUSE_ROUTES, "shop"), is_kept);
        assert_int_equal(world_exists(w, FUSE_LISTENER, "shop"), is_kept);
    }
}

static void actions_are_said_so_that_every_client_knows_them(void **state)
{
    struct world *w = *state;
    static const struct fuse_target targets[] = {
        {.service = "echo", .host = "", .weight = 3},
        {.service = "next", .host = "", .weight = 2},
        {.service = "old", .host = "", .weight = 0},
    };
    struct fuse_route route = {.name = "r",
                               .host = "shop",
                               .targets = targets,
                               .n_targets = 3,
                               .http2 = true,
                               .timeout_ms = 1500,
                               .hash_kind = FUSE_HASH_SOURCE_ADDRESS};
    route.retry = (struct fuse_retry){.on = 1 << 9, .retries = 2};
    world_route(w, 5, &route);
    world_assert_json(w, world_action(w, "shop", 0, 0),
                      "{'weightedClusters':{'clusters':[{'name':'route/r/0','weight':3},"
                      "{'name':'route/r/1','weight':2}],'totalWeight':5},"
                      "'retryPolicy':{'retryOn':'unavailable','numRetries':2},"
                      "'hashPolicy':[{'filterState':{'key':'io.grpc.channel_id'}}],"
                      "'maxStreamDuration':{'maxStreamDuration':'1.500s'}}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(after_the_routes_of_the_host_comes_the_service),
        TEST(matches_are_said_so_that_every_client_knows_them),
        TEST(an_inverted_header_is_two_routes),
        TEST(what_no_grpc_request_can_take_is_left_out),
        TEST(actions_are_said_so_that_every_client_knows_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
