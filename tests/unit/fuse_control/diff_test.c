/* What a user sees as the difference of two routes. */
#include "draft/routing/v1/routing.pb-c.h"
#include "fuse/control_plane/diff.h"
#include "test.h"

/* "field: from -> to" of every difference, one a line. */
static char *diff_of(const char *from, const char *to)
{
    static char text[4096];
    const ProtobufCMessageDescriptor *type =
        &core__control_plane__networking__v1__route__descriptor;
    ProtobufCMessage *a = NULL, *b = NULL;
    struct chassis_error err = {0};
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    int rc = from == NULL
                 ? 0
                 : chassis_json_parse(type, chassis_view_str(from), NULL, false, &arena, &a, &err);
    rc = rc != 0 || to == NULL
             ? rc
             : chassis_json_parse(type, chassis_view_str(to), NULL, false, &arena, &b, &err);
    if (rc != 0) {
        fail_msg("%s", err.text);
    }
    struct fuse_differences found = {.arena = &arena};
    fuse_diff(a, b, &found);
    size_t n = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < found.n; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s: %s -> %s\n", found.items[i].field,
                              found.items[i].from, found.items[i].to);
    }
    chassis_arena_fini(&arena);
    return text;
}

static void equal_routes_differ_in_nothing(void **state)
{
    const char *route = "{\"name\":\"a\",\"match\":{\"prefix\":\"/\"},\"timeout\":\"1.5s\","
                        "\"targets\":[{\"service\":\"x\",\"weight\":2}]}";
    assert_string_equal(diff_of(route, route), "");
    assert_string_equal(diff_of(NULL, NULL), "");
}

static void fields_are_named_by_their_paths(void **state)
{
    assert_string_equal(
        diff_of("{\"match\":{\"prefix\":\"/a\",\"host\":\"h\"},\"priority\":-1,\"timeout\":\"1s\"}",
                "{\"match\":{\"prefix\":\"/\\\"b\",\"host\":\"h\"},\"enableHttp2\":true,"
                "\"timeout\":\"1.500s\"}"),
        "match.prefix: \"/a\" -> \"/\\\"b\"\n"
        "enable_http2:  -> true\n"
        "priority: -1 -> \n"
        "timeout: \"1s\" -> \"1.500s\"\n");
}

static void elements_of_lists_are_compared_in_their_places(void **state)
{
    assert_string_equal(diff_of("{\"targets\":[{\"service\":\"a\",\"weight\":1},{\"host\":\"h\"}]}",
                                "{\"targets\":[{\"service\":\"a\",\"weight\":3}],"
                                "\"groups\":[\"g\"]}"),
                        "targets[0].weight: 1 -> 3\n"
                        "targets[1]: {\"host\":\"h\"} -> \n"
                        "groups[0]:  -> \"g\"\n");
}

static void alternatives_and_names_of_numbers(void **state)
{
    assert_string_equal(
        diff_of("{\"retry\":{\"on\":[\"RESET\"]},\"match\":{\"headerMatches\":[{\"name\":\"n\","
                "\"value\":{\"exact\":\"\"}}]}}",
                "{\"retry\":{\"on\":[\"CONNECT_FAILURE\"]},\"match\":{\"headerMatches\":[{\"name\":"
                "\"n\",\"value\":{\"present\":true}}]}}"),
        "match.header_matches[0].value.exact: \"\" -> \n"
        "match.header_matches[0].value.present:  -> true\n"
        "retry.on[0]: \"RESET\" -> \"CONNECT_FAILURE\"\n");
}

static void a_route_that_is_new_differs_in_all_it_has(void **state)
{
    assert_string_equal(diff_of(NULL, "{\"name\":\"a\",\"match\":{\"prefix\":\"/\"}}"),
                        "name:  -> \"a\"\nmatch:  -> {\"prefix\":\"/\"}\n");
    assert_string_equal(diff_of("{\"name\":\"a\"}", NULL), "name: \"a\" -> \n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_routes_differ_in_nothing),
        cmocka_unit_test(fields_are_named_by_their_paths),
        cmocka_unit_test(elements_of_lists_are_compared_in_their_places),
        cmocka_unit_test(alternatives_and_names_of_numbers),
        cmocka_unit_test(a_route_that_is_new_differs_in_all_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
