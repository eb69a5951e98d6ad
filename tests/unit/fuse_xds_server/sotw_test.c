#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "rig.h"

#include <chassis/message.h>

static void clients_of_a_type_get_what_they_name_and_only_that(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "echo", "1", "10.0.0.1:1");
    rig_instance(rig, "crud", "2", "10.0.0.2:1");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "echo");
    client_gets(&c, FUSE_ENDPOINTS, "echo", "", "echo");
    client_quiet(&c);
    rig_instance(rig, "crud", "3", "10.0.0.3:1");
    client_quiet(&c);
    rig_instance(rig, "echo", "4", "10.0.0.4:1");
    client_gets(&c, FUSE_ENDPOINTS, "echo", "", "echo");
    client_close(&c);
}

static void a_name_that_does_not_exist_yet_is_remembered(void **state)
{
    struct rig *rig = *state;
    struct client c;
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "echo");
    client_quiet(&c);
    rig_instance(rig, "echo", "1", "10.0.0.1:1");
    client_gets(&c, FUSE_ENDPOINTS, "echo", "", "echo");
    client_quiet(&c);
    client_close(&c);
}

static void listeners_and_clusters_that_do_not_exist_are_said_so_at_once(void **state)
{
    struct rig *rig = *state;
    struct client c;
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_LISTENER, .names = "echo");
    client_gets(&c, FUSE_LISTENER, "", "", "echo");
    client_ask(&c, FUSE_CLUSTER, .names = "echo");
    client_gets(&c, FUSE_CLUSTER, "", "", "echo");
    client_quiet(&c);
    rig_instance(rig, "echo", "1", "10.0.0.1:1");
    client_gets(&c, FUSE_CLUSTER, "echo", "", "echo");
    client_gets(&c, FUSE_LISTENER, "echo", "", "echo");
    rig_no_instance(rig, "1");
    client_gets(&c, FUSE_LISTENER, "", "", "echo");
    client_gets(&c, FUSE_CLUSTER, "", "", "echo");
    client_quiet(&c);
    client_close(&c);
}

static void answers_of_clusters_carry_all_that_of_endpoints_what_changed(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    rig_instance(rig, "b", "2", "10.0.0.2:1");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = "a b c");
    client_gets(&c, FUSE_CLUSTER, "a b", "", "a b c");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b c");
    client_gets(&c, FUSE_ENDPOINTS, "a b", "", "a b c");
    rig_instance(rig, "c", "3", "10.0.0.3:1");
    client_gets(&c, FUSE_CLUSTER, "a b c", "", "a b c");
    client_gets(&c, FUSE_ENDPOINTS, "c", "", "a b c");
    client_quiet(&c);
    client_close(&c);
}

static void nothing_asked_for_first_means_everything(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_route(rig, "r", "*", "echo", "");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = NULL);
    client_gets(&c, FUSE_CLUSTER, "echo", "", NULL);
    client_ask(&c, FUSE_LISTENER, .names = NULL);
    client_gets(&c, FUSE_LISTENER, "listener/default", "", NULL);
    rig_route(rig, "s", "*", "crud", "");
    client_gets(&c, FUSE_CLUSTER, "crud echo", "", NULL);
    rig_unroute(rig, "r");
    client_gets(&c, FUSE_CLUSTER, "crud", "", NULL);
    client_quiet(&c);
    client_close(&c);
}

static void everything_ends_when_names_are_given(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_route(rig, "r", "*", "echo", "");
    rig_route(rig, "s", "*", "crud", "");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = NULL);
    client_gets(&c, FUSE_CLUSTER, "crud echo", "", "crud");
    client_quiet(&c); /* crud is known there already */
    rig_route(rig, "t", "*", "third", "");
    client_quiet(&c);
    client_ask(&c, FUSE_CLUSTER, .names = "crud third");
    client_gets(&c, FUSE_CLUSTER, "crud third", "", NULL);
    rig_unroute(rig, "t"); /* and no name is none */
    rig_unroute(rig, "s");
    client_quiet(&c);
    client_ask(&c, FUSE_CLUSTER, .names = "*");
    client_gets(&c, FUSE_CLUSTER, "echo", "", "* nowhere");
    client_gets(&c, FUSE_CLUSTER, "echo", "", "* nowhere");
    client_quiet(&c);
    client_close(&c);
}

static void a_request_with_an_old_nonce_is_ignored_whatever_it_says(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    rig_instance(rig, "b", "2", "10.0.0.2:1");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a");
    struct answer *first = client_expect(&c, FUSE_ENDPOINTS);
    client_ask(&c, FUSE_ENDPOINTS, .names = "a", .nonce = first->nonce);
    rig_instance(rig, "a", "3", "10.0.0.3:1");
    rig_turn(rig);
    struct answer *second = client_expect(&c, FUSE_ENDPOINTS);
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b", .nonce = first->nonce);
    client_ask(&c, FUSE_ENDPOINTS, .names = "a", .nonce = first->nonce, .error = "no");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a", .nonce = "made.1", .error = "no");
    client_quiet(&c);
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b", .nonce = second->nonce);
    client_gets(&c, FUSE_ENDPOINTS, "b", "", "a b");
    client_quiet(&c);
    answer_free(first);
    answer_free(second);
    client_close(&c);
}

static void one_answer_a_type_is_out_and_the_newest_follows(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a");
    struct answer *first = client_expect(&c, FUSE_ENDPOINTS);
    for (int i = 2; i < 10; i++) {
        char pid[2] = {(char)('0' + i), '\0'};
        rig_instance(rig, "a", pid, "10.0.0.3:1");
        client_quiet(&c);
    }
    client_ask(&c, FUSE_ENDPOINTS, .names = "a", .nonce = first->nonce);
    client_gets(&c, FUSE_ENDPOINTS, "a", "", "a");
    client_quiet(&c);
    answer_free(first);
    client_close(&c);
}

static void what_changes_back_before_it_is_sent_is_not_sent(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a");
    client_gets(&c, FUSE_ENDPOINTS, "a", "", "a");
    rig_instance(rig, "a", "2", "10.0.0.2:1");
    rig_no_instance(rig, "2");
    client_quiet(&c);
    client_close(&c);
}

static void a_refusal_is_an_error_detail_and_is_not_answered_until_something_changes(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    rig_instance(rig, "b", "9", "10.0.0.9:1");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b");
    struct answer *answer = client_expect(&c, FUSE_ENDPOINTS);
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b", .nonce = answer->nonce, .error = "no");
    client_quiet(&c);
    answer_free(answer);
    rig_instance(rig, "a", "2", "10.0.0.2:1"); /* nobody knows what it took of both */
    client_gets(&c, FUSE_ENDPOINTS, "a b", "", "a b");
    client_quiet(&c);
    client_close(&c);
}

static void order_is_clusters_endpoints_listeners_routes(void **state)
{
    struct rig *rig = *state;
    struct client c;
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ROUTES, .names = "shop");
    client_ask(&c, FUSE_LISTENER, .names = "shop");
    client_gets(&c, FUSE_LISTENER, "", "", "shop");
    client_ask(&c, FUSE_ENDPOINTS, .names = "echo");
    client_ask(&c, FUSE_CLUSTER, .names = "echo");
    client_gets(&c, FUSE_CLUSTER, "", "", "echo");
    client_quiet(&c);
    rig_route(rig, "r", "shop", "echo", "");
    rig_turn(rig);
    assert_int_equal(c.n_inbox, 4);
    client_gets(&c, FUSE_CLUSTER, "echo", "", "echo");
    client_gets(&c, FUSE_ENDPOINTS, "echo", "", "echo");
    client_gets(&c, FUSE_LISTENER, "shop", "", "shop");
    client_gets(&c, FUSE_ROUTES, "shop", "", "shop");
    client_quiet(&c);
    client_close(&c);
}

static void routes_wait_for_a_cluster_that_is_not_out_yet(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_route(rig, "r", "shop", "a", "");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = NULL);
    struct answer *clusters = client_expect(&c, FUSE_CLUSTER);
    client_ask(&c, FUSE_ROUTES, .names = "shop");
    client_gets(&c, FUSE_ROUTES, "shop", "", "shop");
    rig_route(rig, "r", "shop", "b", "");
    client_quiet(&c); /* the answer that is out knows nothing of b */
    client_ask(&c, FUSE_CLUSTER, .names = NULL, .nonce = clusters->nonce);
    answer_free(clusters);
    assert_int_equal(c.n_inbox, 2);
    client_gets(&c, FUSE_CLUSTER, "a b", "", NULL);
    client_quiet(&(struct client){.rig = rig}); /* a goes when the routes are accepted */
    client_gets(&c, FUSE_ROUTES, "shop", "", "shop");
    client_gets(&c, FUSE_CLUSTER, "b", "", NULL);
    client_quiet(&c);
    client_close(&c);
}

static void a_new_stream_goes_on_where_the_last_one_ended(void **state)
{
    struct rig *rig = *state;
    struct client c;
    char version[64];
    rig_route(rig, "r", "shop", "a", "");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = NULL);
    rig_turn(rig);
    struct answer *answer = client_expect(&c, FUSE_CLUSTER);
    snprintf(version, sizeof version, "%s", answer->version);
    answer_free(answer);
    client_close(&c);
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = NULL, .version = version, .nonce = "old.1");
    client_quiet(&c);
    rig_route(rig, "s", "shop", "b", "");
    client_gets(&c, FUSE_CLUSTER, "a b", "", NULL);
    client_close(&c);
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = NULL, .version = version);
    client_gets(&c, FUSE_CLUSTER, "a b", "", NULL);
    client_close(&c);
}

static void names_resume_for_envoy_and_not_for_who_may_have_forgotten_them(void **state)
{
    struct rig *rig = *state;
    struct client c;
    char version[64];
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a");
    struct answer *answer = client_expect(&c, FUSE_ENDPOINTS);
    snprintf(version, sizeof version, "%s", answer->version);
    answer_free(answer);
    client_close(&c);
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a", .version = version);
    client_quiet(&c);
    client_close(&c);
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    snprintf(c.agent, sizeof c.agent, "gRPC C-core Linux");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a", .version = version);
    client_gets(&c, FUSE_ENDPOINTS, "a", "", "a");
    client_close(&c);
}

static void versions_are_the_same_at_every_fuse(void **state)
{
    struct rig *one = *state, two;
    char versions[2][64];
    rig_start(&two, true);
    rig_route(one, "r", "shop", "a", "");
    rig_route(one, "s", "shop", "b", "");
    two.revision = 1;
    rig_route(&two, "s", "shop", "b", "");
    two.revision = 0;
    rig_route(&two, "r", "shop", "a", "");
    for (int i = 0; i < 2; i++) {
        struct client c;
        client_open(&c, i == 0 ? one : &two, FUSE_XDS_SOTW, "", "a");
        client_ask(&c, FUSE_CLUSTER, .names = NULL);
        struct answer *answer = client_expect(&c, FUSE_CLUSTER);
        snprintf(versions[i], 64, "%s", answer->version);
        answer_free(answer);
        client_close(&c);
    }
    assert_string_equal(versions[0], versions[1]);
    rig_stop(&two);
}

static void a_name_given_up_and_asked_for_again_is_sent_again(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    rig_instance(rig, "b", "2", "10.0.0.2:1");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b");
    client_gets(&c, FUSE_ENDPOINTS, "a b", "", "a");
    client_quiet(&c);
    client_ask(&c, FUSE_ENDPOINTS, .names = "a b");
    client_gets(&c, FUSE_ENDPOINTS, "b", "", "a b a b a");
    client_quiet(&c);
    client_close(&c);
}

static void a_client_that_reads_slowly_gets_the_newest_when_it_can(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    c.congested = true;
    client_ask(&c, FUSE_ENDPOINTS, .names = "a");
    rig_instance(rig, "a", "2", "10.0.0.2:1");
    client_quiet(&c);
    c.congested = false;
    rig_instance(rig, "a", "3", "10.0.0.3:1");
    client_quiet(&c);
    fuse_xds_writable(c.session);
    client_gets(&c, FUSE_ENDPOINTS, "a", "", "a");
    client_quiet(&c);
    client_close(&c);
}

static void nobody_is_answered_before_the_model_is_complete(void **state)
{
    struct rig rig;
    struct client c;
    rig_start(&rig, false);
    client_open(&c, &rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_CLUSTER, .names = "echo");
    rig_instance(&rig, "echo", "1", "10.0.0.1:1");
    client_quiet(&c);
    fuse_xds_ready(rig.xds);
    client_gets(&c, FUSE_CLUSTER, "echo", "", "echo");
    client_close(&c);
    rig_stop(&rig);
}

static void too_much_is_refused_in_words(void **state)
{
    struct rig *rig = *state;
    struct client c;
    char *names = chassis_base_alloc(20001 * 8);
    size_t len = 0;
    for (int i = 0; i <= 20000; i++) {
        len += (size_t)sprintf(names + len, "n%d ", i);
    }
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_ENDPOINTS, .names = names);
    assert_int_equal(c.failed.code, CHASSIS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(c.failed.text, "20000"));
    client_close(&c);
    free(names);
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_N_TYPES, .names = "a");
    assert_int_equal(c.failed.code, CHASSIS_INVALID_ARGUMENT);
    client_close(&c);
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    fuse_xds_request(c.session, chassis_view_str("\x0a\xff"));
    assert_int_equal(c.failed.code, CHASSIS_MALFORMED);
    client_close(&c);
}

static void secrets_go_over_private_streams_only(void **state)
{
    struct rig *rig = *state;
    struct client c;
    client_open(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_SECRET, .names = "front");
    client_gets(&c, FUSE_SECRET, "front", "", "front");
    client_close(&c);
    client_open_public(&c, rig, FUSE_XDS_SOTW, "", "a");
    client_ask(&c, FUSE_SECRET, .names = "front");
    client_quiet(&c);
    client_close(&c);
    client_open_public(&c, rig, FUSE_XDS_DELTA, "", "a");
    client_ask(&c, FUSE_SECRET, .names = "front");
    client_gets(&c, FUSE_SECRET, "", "front", NULL);
    client_close(&c);
}

static void what_a_proxy_has_can_be_read(void **state)
{
    struct rig *rig = *state;
    struct client c;
    rig_instance(rig, "a", "1", "10.0.0.1:1");
    client_open(&c, rig, FUSE_XDS_SOTW, "edge", "node-1");
    client_ask(&c, FUSE_ENDPOINTS, .names = "a");
    struct answer *answer = client_expect(&c, FUSE_ENDPOINTS);
    struct fuse_proxy *proxy = fuse_proxies_find(&rig->proxies, "node-1");
    assert_non_null(proxy);
    assert_false(proxy->ops->settled(proxy));
    rig->now_ns += 5000000;
    client_ask(&c, FUSE_ENDPOINTS, .names = "a", .nonce = answer->nonce, .error = "a\nb\x01");
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    Draft__Routing__V1__Proxy out = DRAFT__ROUTING__V1__PROXY__INIT;
    proxy->ops->describe(proxy, &out, &arena);
    assert_string_equal(out.group, "edge");
    assert_string_equal(out.user_agent, "envoy");
    assert_string_equal(out.protocol, "State of the World");
    assert_false(out.in_sync);
    assert_int_equal(out.n_resources, 1);
    assert_string_equal(out.resources[0]->type, "envoy.config.endpoint.v3.ClusterLoadAssignment");
    assert_int_equal(out.resources[0]->subscribed, 1);
    assert_string_equal(out.resources[0]->sent_version, answer->version);
    assert_string_equal(out.resources[0]->acked_version, "");
    assert_string_equal(out.resources[0]->last_nack, "a b ");
    assert_int_equal(out.resources[0]->nacks, 1);
    assert_true(proxy->ops->settled(proxy));
    chassis_arena_fini(&arena);
    answer_free(answer);
    client_close(&c);
    assert_null(fuse_proxies_find(&rig->proxies, "node-1"));
}

static Envoy__Config__Cluster__V3__Cluster__LbPolicy
policy_given_to(struct rig *rig, enum fuse_xds_protocol protocol, const char *agent)
{
    struct client c;
    client_open(&c, rig, protocol, "", "a");
    snprintf(c.agent, sizeof c.agent, "%s", agent);
    client_ask(&c, FUSE_CLUSTER, .names = "route/sticky/0");
    struct answer *answer = client_expect(&c, FUSE_CLUSTER);
    struct chassis_arena arena;
    struct chassis_error err = {0};
    void *message;
    chassis_arena_init(&arena, NULL, 0, 0);
    assert_int_equal(answer->n_items, 1);
    assert_int_equal(chassis_decode(&envoy__config__cluster__v3__cluster__descriptor,
                                    chassis_buf_view(&answer->items[0].bytes), &arena, &message,
                                    &err),
                     0);
    Envoy__Config__Cluster__V3__Cluster *cluster = message;
    assert_string_equal(cluster->name, "route/sticky/0");
    assert_int_equal(cluster->type, ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS);
    Envoy__Config__Cluster__V3__Cluster__LbPolicy policy = cluster->lb_policy;
    chassis_arena_fini(&arena);
    answer_free(answer);
    client_close(&c);
    return policy;
}

/* One that dies of ring hash is in the same group as others. */
static void a_client_is_not_told_what_it_would_die_of(void **state)
{
    struct rig *rig = *state;
    static const struct fuse_target echo = {.service = "echo", .weight = 1};
    struct fuse_route *route = fuse_route_new(&(struct fuse_route){.name = "sticky",
                                                                   .targets = &echo,
                                                                   .n_targets = 1,
                                                                   .hash_kind = FUSE_HASH_HEADER,
                                                                   .hash_name = "x-user"});
    fuse_model_put_route(rig->model, route, 1, 1, 0, "");
    fuse_route_unref(route);
    enum fuse_xds_protocol protocols[] = {FUSE_XDS_SOTW, FUSE_XDS_DELTA};
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(policy_given_to(rig, protocols[i], "gRPC C-core linux Python"),
                         ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__ROUND_ROBIN);
        assert_int_equal(policy_given_to(rig, protocols[i], "gRPC Node Pure JS"),
                         ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RING_HASH);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(clients_of_a_type_get_what_they_name_and_only_that),
        T(a_name_that_does_not_exist_yet_is_remembered),
        T(listeners_and_clusters_that_do_not_exist_are_said_so_at_once),
        T(answers_of_clusters_carry_all_that_of_endpoints_what_changed),
        T(nothing_asked_for_first_means_everything),
        T(everything_ends_when_names_are_given),
        T(a_request_with_an_old_nonce_is_ignored_whatever_it_says),
        T(one_answer_a_type_is_out_and_the_newest_follows),
        T(what_changes_back_before_it_is_sent_is_not_sent),
        T(a_refusal_is_an_error_detail_and_is_not_answered_until_something_changes),
        T(order_is_clusters_endpoints_listeners_routes),
        T(routes_wait_for_a_cluster_that_is_not_out_yet),
        T(a_new_stream_goes_on_where_the_last_one_ended),
        T(names_resume_for_envoy_and_not_for_who_may_have_forgotten_them),
        T(versions_are_the_same_at_every_fuse),
        T(a_name_given_up_and_asked_for_again_is_sent_again),
        T(a_client_that_reads_slowly_gets_the_newest_when_it_can),
        T(nobody_is_answered_before_the_model_is_complete),
        T(too_much_is_refused_in_words),
        T(secrets_go_over_private_streams_only),
        T(what_a_proxy_has_can_be_read),
        T(a_client_is_not_told_what_it_would_die_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
