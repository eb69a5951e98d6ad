#include "rig.h"

static void what_changes_is_sent_and_nothing_else(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    rig_instance(rig, "b", "2", "10.0.0.2:1");
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = "a b");
    client_gets(&c, FUSE_CLUSTER, "a b", "", NULL);
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b");
    client_gets(&c, FUSE_ENDPOINTS, "a b", "", NULL);
    rig_instance(rig, "b", "3", "10.0.0.3:1");
    client_gets(&c, FUSE_ENDPOINTS, "b", "", NULL);
    client_quiet(&c);
    client_close(&c);
}

static void a_name_that_does_not_exist_is_answered_at_once_and_remembered(void **state)
{
    struct rig *rig = *state;
    struct client c;
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a");
    client_gets(&c, FUSE_ENDPOINTS, "", "a", NULL);
    client_quiet(&c);
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    client_gets(&c, FUSE_ENDPOINTS, "a", "", NULL);
    rig_no_instance(rig, "1");
    client_gets(&c, FUSE_ENDPOINTS, "", "a", NULL);
    client_quiet(&c);
    client_close(&c);
}

static void a_name_asked_for_again_is_answered_again(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a x");
    client_gets(&c, FUSE_ENDPOINTS, "a", "x", "a x");
    client_gets(&c, FUSE_ENDPOINTS, "a", "x", NULL);
    client_quiet(&c);
    client_close(&c);
}

static void what_is_given_up_is_not_sent_any_more(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    rig_instance(rig, "b", "2", "10.0.0.2:1");
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b");
    client_gets(&c, FUSE_ENDPOINTS, "a b", "", NULL);
    client_ask(&c, FUSE_ENDPOINTS, .unsubscribe = "a never");
    rig_instance(rig, "a", "3", "10.0.0.3:1");
    client_quiet(&c);
    client_ask(&c, FUSE_ENDPOINTS, .names = "a");
    client_gets(&c, FUSE_ENDPOINTS, "a", "", NULL);
    client_quiet(&c);
    client_close(&c);
}

static void subscriptions_count_whatever_the_nonce(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    rig_instance(rig, "b", "2", "10.0.0.2:1");
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a");
    struct answer *first = client_expect(&c, FUSE_ENDPOINTS);
    client_ask(&c, FUSE_ENDPOINTS, .names = "b", .nonce = "older", .error = "not this one");
    client_quiet(&c); /* the first is still out */
    client_ask(&c, FUSE_ENDPOINTS, .nonce = first->nonce);
    client_gets(&c, FUSE_ENDPOINTS, "b", "", NULL);
    client_quiet(&c);
    answer_free(first);
    client_close(&c);
}

static void wildcards_come_and_go(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "extra", "1", "10.0.0.1:1");
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = NULL);
    client_gets(&c, FUSE_CLUSTER, "", "", "extra"); /* nothing, said at once */
    client_gets(&c, FUSE_CLUSTER, "extra", "", NULL);
    rig_route(rig, "r", "*", "echo", "");
    client_gets(&c, FUSE_CLUSTER, "echo", "", NULL);
    rig_route(rig, "s", "*", "extra", "");
    client_quiet(&c); /* it has it by name */
    client_ask(&c, FUSE_CLUSTER, .unsubscribe = "extra");
    client_gets(&c, FUSE_CLUSTER, "extra", "", NULL); /* the wildcard has it */
    rig_unroute(rig, "r");
    client_gets(&c, FUSE_CLUSTER, "", "echo", NULL);
    client_ask(&c, FUSE_CLUSTER, .unsubscribe = "*");
    rig_unroute(rig, "s");
    rig_route(rig, "t", "*", "third", "");
    client_quiet(&c);
    client_ask(&c, FUSE_CLUSTER, .names = "*");
    client_gets(&c, FUSE_CLUSTER, "third", "", "extra");
    client_gets(&c, FUSE_CLUSTER, "extra", "", NULL);
    client_ask(&c, FUSE_CLUSTER, .unsubscribe = "extra");
    client_gets(&c, FUSE_CLUSTER, "", "extra", NULL); /* the wildcard has it not */
    client_quiet(&c);
    client_close(&c);
}

static void a_new_stream_gets_what_differs_from_what_it_has(void **state)
{
    struct rig *rig = *state;
    struct client c;
    char initial[512] = "";
    rig_route(rig, "r", "*", "a", "");
    rig_route(rig, "s", "*", "b", "");
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = "*");
    struct answer *answer = client_expect(&c, FUSE_CLUSTER);
    assert_int_equal(answer->n_items, 2);
    for (unsigned i = 0; i < 2; i++) {
        size_t len = strlen(initial);
        snprintf(initial + len, sizeof initial - len, "%s=%s ", answer->items[i].name,
                 answer->items[i].version);
    }
    answer_free(answer);
    client_close(&c);
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = "*", .initial = initial);
    client_quiet(&c);
    client_close(&c);
    rig_unroute(rig, "s");
    rig_route(rig, "t", "*", "c", "");
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = "*", .initial = initial);
    client_gets(&c, FUSE_CLUSTER, "c", "b", NULL);
    client_quiet(&c);
    client_close(&c);
}

static void a_new_stream_is_told_what_went_meanwhile(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b", .initial = "a=1.00000000 b=2.00000000 c=3.0");
    client_gets(&c, FUSE_ENDPOINTS, "a", "b", NULL);
    client_quiet(&c);
    client_close(&c);
}

static void routes_go_before_the_cluster_they_used(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_route(rig, "r", "shop", "a", "");
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = "*");
    client_gets(&c, FUSE_CLUSTER, "a", "", NULL);
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b");
    client_gets(&c, FUSE_ENDPOINTS, "a", "b", NULL);
    client_ask(&c, FUSE_ROUTES, .names = "shop");
    client_gets(&c, FUSE_ROUTES, "shop", "", NULL);
    rig_route(rig, "r", "shop", "b", "");
    client_gets(&c, FUSE_CLUSTER, "b", "", NULL);
    client_gets(&c, FUSE_ENDPOINTS, "b", "", NULL);
    client_gets(&c, FUSE_ROUTES, "shop", "", NULL);
    client_gets(&c, FUSE_CLUSTER, "", "a", NULL);
    client_gets(&c, FUSE_ENDPOINTS, "", "a", NULL);
    client_quiet(&c);
    client_close(&c);
}

static void groups_see_different_routes(void **state)
{
    struct rig *rig = *state;
    struct client c, d;
    fixture_put(rig->model, ++rig->revision,
                route(.name = "only", .host = "shop", .path = "/", .service = "a", .http2 = true,
                      .group = "edge"));
    client_open(&c, rig, FUSE_XDS_DELTA, "edge", "a");
    client_open(&d, rig, FUSE_XDS_DELTA, "core", "b");
    client_ask(&c, FUSE_ROUTES, .names = "shop");
    client_ask(&d, FUSE_ROUTES, .names = "shop");
    client_gets(&c, FUSE_ROUTES, "shop", "", NULL);
    client_gets(&d, FUSE_ROUTES, "", "shop", NULL);
    client_close(&c);
    client_close(&d);
}

static void a_port_does_not_matter(void **state)
{
    struct rig *rig = *state;
    struct client c;
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_LISTENER, .names = "echo:443 echo");
    client_gets(&c, FUSE_LISTENER, "", "echo echo:443", NULL);
    rig_instance(rig, "echo", "1", "10.0.0.1:1");
    client_gets(&c, FUSE_LISTENER, "echo echo:443", "", NULL);
    client_quiet(&c);
    client_close(&c);
}

static void a_large_answer_comes_in_pieces(void **state)
{
    struct rig *rig = *state;
    struct client c;
    char *names = chassis_base_zalloc(9000 * 12);
    size_t len = 0;
    unsigned came = 0, answers = 0;
    for (int i = 0; i < 9000; i++) {
        char name[16], address[64];
        snprintf(name, sizeof name, "service%d", i);
        snprintf(address, sizeof address, "10.0.0.1:%d", i + 1);
        rig_instance(rig, name, name, address);
        len += (size_t)sprintf(names + len, "%s ", name);
    }
    client_open(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = names);
    for (struct answer *answer; (answer = client_take(&c)) != NULL; answers++) {
        came += answer->n_items;
        client_ask(&c, FUSE_ENDPOINTS, .nonce = answer->nonce);
        answer_free(answer);
    }
    assert_int_equal(came, 9000);
    assert_true(answers > 1);
    client_close(&c);
    free(names);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_changes_is_sent_and_nothing_else),
        T(a_name_that_does_not_exist_is_answered_at_once_and_remembered),
        T(a_name_asked_for_again_is_answered_again),
        T(what_is_given_up_is_not_sent_any_more),
        T(subscriptions_count_whatever_the_nonce),
        T(wildcards_come_and_go),
        T(a_new_stream_gets_what_differs_from_what_it_has),
        T(a_new_stream_is_told_what_went_meanwhile),
        T(routes_go_before_the_cluster_they_used),
        T(groups_see_different_routes),
        T(a_port_does_not_matter),
        T(a_large_answer_comes_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
