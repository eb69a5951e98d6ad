/* The model and the view: what is there after changes, and what listeners were told. */
#include "test.h"

#include "fuse/control_plane/model.h"
#include "fuse/control_plane/order.h"
#include "fuse/control_plane/view.h"

#include "fixture.h"

struct told {
    char text[4096];
};

static void tell(void *data, const struct fuse_change *change)
{
    struct told *told = data;
    size_t at = strlen(told->text);
    char *to = told->text + at;
    size_t room = sizeof told->text - at;
    if (change->service != NULL) {
        snprintf(to, room, "%s%s%s ", change->service_appeared ? "+" : "",
                 change->service_vanished ? "-" : "", change->service->name);
        return;
    }
    const struct fuse_route *r = (change->after != NULL ? change->after : change->before)->route;
    snprintf(to, room, "%s:%d>%d ", r->name,
             change->before != NULL ? (int)change->before->version : 0,
             change->after != NULL ? (int)change->after->version : 0);
}

#define assert_told(told, expected)                                                                \
    do {                                                                                           \
        assert_string_equal((told)->text, expected);                                               \
        (told)->text[0] = '\0';                                                                    \
    } while (0)

static struct fuse_model *listened_model(struct told *told)
{
    struct fuse_model *m = fuse_model_new();
    told->text[0] = '\0';
    fuse_model_listen(m, &(struct fuse_model_listener){tell, told});
    return m;
}

static const char *names(struct fuse_entry *const *entries, unsigned n, char out[256])
{
    out[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        snprintf(out + strlen(out), 256 - strlen(out), "%s ", entries[i]->route->name);
    }
    return out;
}

static void routes_of_a_host_stand_in_order_of_precedence(void **state)
{
    (void)state;
    struct fuse_model *m = fuse_model_new();
    fixture_put(m, 10, route(.name = "older", .path = "/a", .service = "s"));
    fixture_put(m, 11, route(.name = "a-newer", .path = "/b", .service = "s"));
    fixture_put(m, 12, route(.name = "longer", .path = "/a/long", .service = "s"));
    fixture_put(m, 13, route(.name = "exact", .exact = "/", .service = "s"));
    fixture_put(m, 14, route(.name = "regex", .regex = "/a/very/long/one", .service = "s"));
    fixture_put(m, 15, route(.name = "get", .path = "/a", .method = "GET", .service = "s"));
    fixture_put(m, 16, route(.name = "first", .regex = "/x", .priority = 1, .service = "s"));
    fixture_put(m, 17, route(.name = "elsewhere", .host = "h", .service = "s"));
    const struct fuse_vhost *v = fuse_model_vhost(m, "*");
    char text[256];
    assert_string_equal(names(v->entries, v->n_entries, text),
                        "first exact longer get older a-newer regex ");
    fixture_put(m, 18, route(.name = "older", .path = "/a", .service = "s"));
    v = fuse_model_vhost(m, "*");
    assert_string_equal(names(v->entries, v->n_entries, text),
                        "first exact longer get older a-newer regex ");
    assert_int_equal(fuse_model_route(m, "older")->created_version, 10);
    assert_null(fuse_model_vhost(m, "other"));
    fuse_model_free(m);
}

static void revisions_come_from_what_is_there(void **state)
{
    (void)state;
    struct fuse_model *m = fuse_model_new();
    fixture_put(m, 10, route(.name = "a", .host = "h", .service = "s"));
    fixture_put(m, 20, route(.name = "b", .host = "h", .service = "s"));
    assert_int_equal(fuse_model_vhost(m, "h")->revision, 20);
    fuse_model_delete_route(m, "b", 30);
    assert_int_equal(fuse_model_vhost(m, "h")->revision, 10);
    assert_int_equal(fuse_model_revision(m), 30);
    fixture_instance(m, 31, .pid = "1", .service = "s", .rpc_address = "1.1.1.1:1");
    fixture_instance(m, 32, .pid = "2", .service = "s", .rpc_address = "1.1.1.1:2");
    assert_int_equal(fuse_model_service(m, "s")->revision, 32);
    fuse_model_delete_instance(m, "2", 33);
    assert_int_equal(fuse_model_service(m, "s")->revision, 31);
    fuse_model_free(m);
}

static void a_route_is_told_with_its_services(void **state)
{
    (void)state;
    struct told told;
    struct fuse_model *m = listened_model(&told);
    fixture_put(m, 1, route(.name = "a", .service = "echo"));
    assert_told(&told, "+echo a:0>1 ");
    fixture_put(m, 2, route(.name = "a", .service = "shop"));
    assert_told(&told, "+shop a:1>2 -echo ");
    fixture_put(m, 2, route(.name = "a", .service = "shop"));
    assert_told(&told, "");
    fixture_put(m, 1, route(.name = "a", .service = "old"));
    assert_told(&told, "");
    fixture_instance(m, 3, .pid = "1", .service = "shop");
    assert_told(&told, "shop ");
    fuse_model_delete_route(m, "a", 1);
    assert_told(&told, "");
    fuse_model_delete_route(m, "a", 4);
    assert_told(&told, "a:2>0 ");
    assert_null(fuse_model_route(m, "a"));
    assert_int_equal(fuse_model_n_routes(m), 0);
    fuse_model_delete_instance(m, "1", 5);
    assert_told(&told, "-shop ");
    fuse_model_delete_route(m, "a", 6);
    fuse_model_delete_instance(m, "1", 6);
    assert_told(&told, "");
    fuse_model_free(m);
}

static void instances_change_and_move(void **state)
{
    (void)state;
    struct told told;
    struct fuse_model *m = listened_model(&told);
    fixture_instance(m, 1, .pid = "2", .service = "a", .rpc_address = "1.1.1.1:1");
    fixture_instance(m, 2, .pid = "1", .service = "a", .state = FUSE_INSTANCE_UNHEALTHY);
    assert_told(&told, "+a a ");
    const struct fuse_service *a = fuse_model_service(m, "a");
    assert_int_equal(a->n_instances, 2);
    assert_int_equal(a->n_usable, 1);
    assert_string_equal(a->instances[0]->pid, "1");
    assert_string_equal(fuse_instance_reason(a->instances[0]->state), "unhealthy");
    assert_null(fuse_instance_reason(a->instances[1]->state));
    fixture_instance(m, 2, .pid = "1", .service = "a", .state = FUSE_INSTANCE_UNHEALTHY);
    assert_told(&told, "");
    fixture_instance(m, 3, .pid = "1", .service = "a", .state = FUSE_INSTANCE_USABLE);
    assert_told(&told, "a ");
    assert_int_equal(fuse_model_service(m, "a")->n_usable, 2);
    fixture_instance(m, 4, .pid = "1", .service = "b", .http_address = "1.1.1.1:80");
    assert_told(&told, "a +b ");
    fixture_instance(m, 5, .pid = "2", .service = "b");
    assert_told(&told, "-a b ");
    assert_null(fuse_model_service(m, "a"));
    assert_int_equal(fuse_model_service(m, "b")->n_instances, 2);
    const struct fuse_instance *one = fuse_model_instance(m, "1");
    assert_string_equal(fuse_instance_address(one, false), "1.1.1.1:80");
    assert_string_equal(fuse_instance_address(one, true), "");
    fuse_model_free(m);
}

static void what_a_list_lacks_is_deleted(void **state)
{
    (void)state;
    struct told told;
    struct fuse_model *m = listened_model(&told);
    fixture_put(m, 1, route(.name = "a", .address = "h", .port = 1));
    fixture_put(m, 2, route(.name = "b", .address = "h", .port = 1));
    fixture_put(m, 3, route(.name = "c", .address = "h", .port = 1));
    fixture_instance(m, 4, .pid = "1", .service = "s");
    fixture_instance(m, 5, .pid = "2", .service = "s");
    told.text[0] = '\0';
    fuse_model_routes_begin(m);
    fixture_put(m, 1, route(.name = "a", .address = "h", .port = 1));
    fuse_model_routes_begin(m); /* the connection broke, a new list */
    fixture_put(m, 3, route(.name = "c", .address = "h", .port = 1));
    fixture_put(m, 7, route(.name = "d", .address = "h", .port = 1));
    assert_told(&told, "d:0>7 ");
    fuse_model_routes_end(m, 8);
    assert_told(&told, "a:1>0 b:2>0 ");
    assert_int_equal(fuse_model_revision(m), 8);
    fuse_model_instances_begin(m);
    fixture_instance(m, 5, .pid = "2", .service = "s");
    fuse_model_instances_end(m, 9);
    assert_told(&told, "s ");
    assert_int_equal(fuse_model_service(m, "s")->n_instances, 1);
    fuse_model_instances_begin(m);
    fuse_model_instances_end(m, 10);
    assert_told(&told, "-s ");
    fuse_model_free(m);
}

static void a_list_of_a_restored_blueprint_is_the_truth(void **state)
{
    (void)state;
    struct told told;
    struct fuse_model *m = listened_model(&told);
    fixture_put(m, 100, route(.name = "a", .address = "h", .port = 1));
    told.text[0] = '\0';
    fuse_model_routes_begin(m);
    fixture_put(m, 50, route(.name = "a", .address = "h", .port = 2));
    fuse_model_routes_end(m, 60);
    assert_told(&told, "a:100>50 ");
    assert_int_equal(fuse_model_route(m, "a")->route->targets[0].port, 2);
    fuse_model_free(m);
}

static const char *seen(const struct fuse_view *v, const char *host, const char *listener,
                        char out[256])
{
    const struct fuse_entry *entries[16];
    unsigned n = fuse_view_vhost(v, host, listener, entries, 16);
    out[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        snprintf(out + strlen(out), 256 - strlen(out), "%s@%d ", entries[i]->route->name,
                 (int)entries[i]->version);
    }
    return out;
}

static bool add_host(const char *host, void *data)
{
    strcat(strcat(data, host), " ");
    return true;
}

static const char *hosts(const struct fuse_view *v, const char *listener, char out[256])
{
    out[0] = '\0';
    fuse_view_each_host(v, listener, add_host, out);
    return out;
}

static void a_group_sees_its_own_routes(void **state)
{
    (void)state;
    char text[256];
    struct fuse_model *m = fuse_model_new();
    fixture_put(m, 1, route(.name = "all", .host = "h", .service = "s"));
    fixture_put(m, 2, route(.name = "edge", .host = "h", .group = "edge", .service = "s"));
    fixture_put(m, 3, route(.name = "admin", .host = "i", .listener = "admin", .service = "s"));
    struct fuse_view *edge = fuse_view_new(m, "edge"), *core = fuse_view_new(m, "core");
    assert_string_equal(seen(edge, "h", "default", text), "all@1 edge@2 ");
    assert_string_equal(seen(core, "h", "default", text), "all@1 ");
    assert_string_equal(seen(core, "i", NULL, text), "admin@3 ");
    assert_string_equal(hosts(core, NULL, text), "h i ");
    assert_string_equal(hosts(core, "default", text), "h ");
    assert_string_equal(hosts(core, "admin", text), "h i ");
    assert_non_null(fuse_view_route(edge, "edge"));
    assert_null(fuse_view_route(core, "edge"));
    assert_int_equal(fuse_view_vhost(edge, "h", NULL, NULL, 0), 2);
    fuse_view_free(edge);
    fuse_view_free(core);
    fuse_model_free(m);
}

static void a_quarantined_route_is_replaced_in_its_group_only(void **state)
{
    (void)state;
    char text[256];
    struct fuse_model *m = fuse_model_new();
    fixture_put(m, 1, route(.name = "a", .host = "old", .path = "/a", .service = "s"));
    fixture_put(m, 2, route(.name = "b", .host = "old", .path = "/b", .service = "s"));
    fixture_put(m, 3, route(.name = "z", .host = "zoo", .service = "s"));
    struct fuse_view *v = fuse_view_new(m, "g"), *other = fuse_view_new(m, "other");
    fuse_view_override(v, "a", fuse_model_route(m, "a"));
    fixture_put(m, 4, route(.name = "a", .host = "new", .path = "/a", .service = "s"));
    assert_string_equal(seen(v, "old", NULL, text), "a@1 b@2 ");
    assert_string_equal(seen(v, "new", NULL, text), "");
    assert_string_equal(hosts(v, NULL, text), "old zoo ");
    assert_string_equal(hosts(other, NULL, text), "new old zoo ");
    assert_int_equal(fuse_view_route(v, "a")->version, 1);
    assert_int_equal(fuse_view_route(other, "a")->version, 4);
    fuse_model_delete_route(m, "b", 5);
    assert_string_equal(hosts(v, NULL, text), "old zoo "); /* only the replacement is left there */
    fuse_view_override(v, "a", fuse_view_replacement(v, "a"));
    assert_int_equal(fuse_view_route(v, "a")->version, 1);
    fuse_view_override(v, "z", NULL);
    assert_null(fuse_view_route(v, "z"));
    assert_string_equal(hosts(v, NULL, text), "old ");
    assert_true(fuse_view_is_overridden(v, "z"));
    fixture_put(m, 6, route(.name = "zz", .host = "zoo", .service = "s"));
    fuse_model_delete_route(m, "z", 7);
    assert_string_equal(hosts(v, NULL, text), "old zoo ");
    fuse_model_delete_route(m, "zz", 8);
    assert_string_equal(hosts(v, NULL, text), "old "); /* behind every host of the model */
    fuse_model_delete_route(m, "a", 9);
    assert_string_equal(hosts(v, NULL, text), "");
    assert_null(fuse_view_route(v, "a"));
    assert_int_equal(fuse_view_replacement(v, "a")->version, 1);
    assert_true(fuse_view_release(v, "z"));
    assert_false(fuse_view_release(v, "z"));
    fixture_put(m, 10, route(.name = "z", .host = "zoo", .service = "s"));
    assert_string_equal(hosts(v, NULL, text), "zoo ");
    fuse_view_free(v);
    fuse_view_free(other);
    fuse_model_free(m);
}

static void the_more_exact_host_comes_first(void **state)
{
    (void)state;
    static const char *const hosts_in_order[] = {"a.b", "b.b", "*.a.b.c", "*.b.c", "*.c", "*"};
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned j = 0; j < 6; j++) {
            int by = fuse_order_hosts(hosts_in_order[i], hosts_in_order[j]);
            assert_true(i < j ? by < 0 : i > j ? by > 0 : by == 0);
        }
    }
    assert_true(fuse_host_matches("*.b.c", "x.b.c"));
    assert_true(fuse_host_matches("*.b.c", "x.y.B.c"));
    assert_false(fuse_host_matches("*.b.c", "b.c"));
    assert_false(fuse_host_matches("*.b.c", ".b.c"));
    assert_false(fuse_host_matches("*.b.c", "xb.c"));
    assert_true(fuse_host_matches("*", ""));
    assert_true(fuse_host_matches("a.b", "A.b"));
    assert_false(fuse_host_matches("a.b", "a.bc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_of_a_host_stand_in_order_of_precedence),
        cmocka_unit_test(revisions_come_from_what_is_there),
        cmocka_unit_test(a_route_is_told_with_its_services),
        cmocka_unit_test(instances_change_and_move),
        cmocka_unit_test(what_a_list_lacks_is_deleted),
        cmocka_unit_test(a_list_of_a_restored_blueprint_is_the_truth),
        cmocka_unit_test(a_group_sees_its_own_routes),
        cmocka_unit_test(a_quarantined_route_is_replaced_in_its_group_only),
        cmocka_unit_test(the_more_exact_host_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
