/* What a change touches, what a wildcard means, who may be guilty, and versions. */
#include "world.h"

/* ---- types and versions ---- */

static void types_are_known_by_their_url(void **state)
{
    for (enum fuse_type type = 0; type < FUSE_N_TYPES; type++) {
        assert_int_equal(fuse_type_of(fuse_type_urls[type]), type);
    }
    assert_int_equal(fuse_type_of(""), FUSE_N_TYPES);
    assert_int_equal(fuse_type_of("type.googleapis.com/envoy.config.cluster.v3.Clusters"),
                     FUSE_N_TYPES);
}

static void a_version_is_revision_and_checksum(void **state)
{
    char version[FUSE_VERSION_MAX];
    fuse_resource_version(7, chassis_view("123456789", 9), version);
    assert_string_equal(version, "7.e3069283"); /* CRC-32C's check value */
    fuse_resource_version(UINT64_MAX, chassis_view(NULL, 0), version);
    assert_string_equal(version, "18446744073709551615.00000000");
}

/* Two Fuses that heard the same in another order. */
static void equal_models_give_equal_bytes(void **state)
{
    struct world *a = *state, *b;
    void *other;
    world_set_up(&other);
    b = other;
    const struct fuse_route first = {.name = "a", .path = "/a", .path_kind = FUSE_PATH_PREFIX};
    const struct fuse_route second = {.name = "b", .path = "/b", .path_kind = FUSE_PATH_PREFIX};
    world_route(a, 5, &first);
    world_route(a, 6, &second);
    world_instance(a, 7, "echo", "p1", "127.0.0.1:9000", "");
    world_instance(a, 8, "echo", "p2", "127.0.0.1:9001", "");
    world_instance(b, 8, "echo", "p2", "127.0.0.1:9001", "");
    world_instance(b, 7, "echo", "p1", "127.0.0.1:9000", "");
    world_route(b, 6, &second);
    world_route(b, 3, &second);
    world_route(b, 5, &first);
    static const struct {
        enum fuse_type type;
        const char *name;
    } all[] = {{FUSE_ROUTES, "listener/default"}, {FUSE_ENDPOINTS, "echo"}, {FUSE_CLUSTER, "echo"}};
    for (unsigned i = 0; i < N(all); i++) {
        struct chassis_view x = world_bytes(a, all[i].type, all[i].name);
        assert_true(chassis_view_eq(x, world_bytes(b, all[i].type, all[i].name)));
        assert_int_equal(a->revision, b->revision);
    }
    world_tear_down(&other);
}

/* ---- names, collected as text ---- */

static const char *const short_types[] = {"C", "E", "L", "R", "S"};

struct names {
    char *items[64];
    unsigned n;
};

static void names_add(enum fuse_type type, const char *name, void *data)
{
    struct names *names = data;
    assert_true(names->n < N(names->items));
    char text[200];
    snprintf(text, sizeof text, "%s:%s", short_types[type], name);
    for (unsigned i = 0; i < names->n; i++) {
        if (strcmp(names->items[i], text) == 0) {
            return;
        }
    }
    names->items[names->n++] = strdup(text);
}

static void names_clear(struct names *names)
{
    while (names->n != 0) {
        free(names->items[--names->n]);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, one space between; empties `names`. */
static void assert_names(struct names *names, const char *expected)
{
    struct chassis_buf text = {0};
    chassis_buf_append_str(&text, "");
    qsort(names->items, names->n, sizeof *names->items, by_text);
    for (unsigned i = 0; i < names->n; i++) {
        chassis_buf_printf(&text, "%s%s", i != 0 ? " " : "", names->items[i]);
    }
    assert_string_equal(text.len != 0 ? (const char *)text.data : "", expected);
    chassis_buf_fini(&text);
    names_clear(names);
}

struct watch {
    struct world *world;
    struct names names;
};

static void on_changed(void *data, const struct fuse_change *change)
{
    struct watch *watch = data;
    fuse_resource_touched(&watch->world->source, change, names_add, &watch->names);
}

static struct watch *watch_new(struct world *w)
{
    struct watch *watch = chassis_arena_zalloc(&w->arena, sizeof *watch);
    watch->world = w;
    fuse_model_listen(w->model, &(struct fuse_model_listener){on_changed, watch});
    return watch;
}

static void instances_touch_endpoints_and_the_first_and_last_the_service(void **state)
{
    struct world *w = *state;
    struct watch *watch = watch_new(w);
    world_instance(w, 5, "echo", "p1", "127.0.0.1:9000", "");
    assert_names(&watch->names, "C:echo C:echo/http E:echo E:echo/http L:echo R:echo");
    world_instance(w, 6, "echo", "p2", "127.0.0.1:9001", "");
    assert_names(&watch->names, "E:echo E:echo/http");
    fuse_model_delete_instance(w->model, "p1", 7);
    assert_names(&watch->names, "E:echo E:echo/http");
    fuse_model_delete_instance(w->model, "p2", 8);
    assert_names(&watch->names, "C:echo C:echo/http E:echo E:echo/http L:echo R:echo");
}

static void routes_touch_their_host_their_listeners_and_their_clusters(void **state)
{
    struct world *w = *state;
    struct watch *watch = watch_new(w);
    world_instance(w, 5, "echo", "p1", "127.0.0.1:9000", "");
    world_instance(w, 5, "next", "p2", "127.0.0.1:9001", "");
    names_clear(&watch->names);
    struct fuse_route route = {.name = "r", .host = "shop"};
    world_route(w, 6, &route);
    assert_names(&watch->names, "C:echo L:shop R:listener/default R:listener/tls R:shop");
    static const struct fuse_target next = {.service = "next", .host = "", .weight = 1};
    static const char *const tls[] = {"tls"};
    route = (struct fuse_route){.name = "r", .targets = &next, .n_targets = 1};
    route.listeners = tls;
    route.n_listeners = 1;
    route.breaker.set = true;
    world_route(w, 7, &route); /* before and after */
    assert_names(&watch->names,
                 "C:echo C:route/r/0 L:shop R:listener/default R:listener/tls R:shop");
    fuse_model_delete_route(w->model, "r", 8);
    assert_names(&watch->names, "C:route/r/0 R:listener/tls");
}

static void routes_of_other_groups_touch_nothing(void **state)
{
    struct world *w = *state;
    static const char *const core[] = {"core"};
    world_instance(w, 5, "echo", "p1", "127.0.0.1:9000", "");
    struct watch *watch = watch_new(w);
    world_route(w, 6, &(struct fuse_route){.name = "r", .groups = core, .n_groups = 1});
    assert_names(&watch->names, "");
}

/* The rule behind the cases above: what changed was touched. */
static void everything_that_changed_was_touched(void **state)
{
    struct world *w = *state;
    struct watch *watch = watch_new(w);
    static const struct {
        enum fuse_type type;
        const char *name;
    } all[] = {
        {FUSE_CLUSTER, "echo"},        {FUSE_CLUSTER, "echo/http"},
        {FUSE_CLUSTER, "route/r/0"},   {FUSE_ENDPOINTS, "echo"},
        {FUSE_ENDPOINTS, "echo/http"}, {FUSE_LISTENER, "echo"},
        {FUSE_LISTENER, "shop"},       {FUSE_ROUTES, "echo"},
        {FUSE_ROUTES, "shop"},         {FUSE_ROUTES, "listener/default"},
        {FUSE_ROUTES, "listener/tls"}, {FUSE_LISTENER, "listener/default"},
    };
    struct chassis_buf before[N(all)] = {0};
    uint64_t random = 42;
    for (unsigned round = 0; round <= 2000; round++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        unsigned dice = (unsigned)(random >> 33);
        struct fuse_route route = {.name = "r", .host = dice & 8 ? "shop" : "echo"};
        route.priority = dice >> 4 & 1;
        route.breaker.set = dice & 32;
        static const char *const tls[] = {"tls"};
        route.listeners = tls;
        route.n_listeners = dice >> 6 & 1;
        char pid[2] = {(char)('a' + (dice >> 4 & 1)), 0};
        switch (round != 0 ? dice & 3 : 4) {
        case 0:
            world_route(w, round, &route);
            break;
        case 1:
            fuse_model_delete_route(w->model, "r", round);
            break;
        case 2:
            world_instance(w, round, "echo", pid, dice & 32 ? "127.0.0.1:1" : "127.0.0.1:2",
                           "127.0.0.1:3");
            break;
        case 3:
            fuse_model_delete_instance(w->model, pid, round);
            break;
        default: /* how it begins */
            break;
        }
        for (unsigned i = 0; i < N(all); i++) {
            struct chassis_buf now = {0};
            uint64_t revision;
            fuse_resource_build(&w->source, all[i].type, all[i].name, &now, &revision);
            if (round != 0 &&
                !chassis_view_eq(chassis_buf_view(&now), chassis_buf_view(&before[i]))) {
                unsigned n = watch->names.n;
                names_add(all[i].type, all[i].name, &watch->names);
                if (watch->names.n != n) {
                    fail_msg("round %u: '%s' changed and was not touched", round, all[i].name);
                }
            }
            chassis_buf_fini(&before[i]);
            before[i] = now;
        }
        names_clear(&watch->names);
    }
    for (unsigned i = 0; i < N(all); i++) {
        chassis_buf_fini(&before[i]);
    }
}

/* ---- wildcards ---- */

struct of_type {
    enum fuse_type type;
    struct names *names;
};

static void name_add(const char *name, void *data)
{
    const struct of_type *t = data;
    unsigned n = t->names->n;
    names_add(t->type, name, t->names);
    assert_int_equal(t->names->n, n + 1); /* each once */
}

static void a_wildcard_is_the_sockets_of_the_group_and_the_clusters_of_its_routes(void **state)
{
    struct world *w = *state;
    struct names names = {0};
    static const char *const core[] = {"core"}, *const tls[] = {"tls"};
    static const struct fuse_target targets[] = {
        {.service = "old", .host = "", .weight = 0},
        {.service = "next", .host = "", .weight = 1},
        {.service = "", .host = "db", .port = 80, .weight = 1},
    };
    world_instance(w, 4, "unused", "p1", "127.0.0.1:9000", "");
    world_route(w, 5, &(struct fuse_route){.name = "a"});
    world_route(w, 6, &(struct fuse_route){.name = "b", .listeners = tls, .n_listeners = 1});
    world_route(w, 7, &(struct fuse_route){.name = "c", .targets = targets, .n_targets = 3});
    struct fuse_route route = {.name = "d", .groups = core, .n_groups = 1};
    route.breaker.set = true;
    world_route(w, 8, &route);
    route.name = "e";
    route.n_groups = 0;
    world_route(w, 9, &route);
    for (enum fuse_type type = 0; type < FUSE_N_TYPES; type++) {
        fuse_resource_each(&w->source, type, name_add, &(struct of_type){type, &names});
    }
    assert_names(&names, "C:db:80/http C:echo C:next/http C:route/e/0 "
                         "L:listener/default L:listener/tls");
}

/* ---- guilt ---- */

static void entry_add(const struct fuse_entry *entry, void *data)
{
    struct names *names = data;
    names->items[names->n++] = strdup(entry->route->name);
}

static void assert_guilty(struct world *w, enum fuse_type type, const char *name,
                          const char *expected)
{
    struct names names = {0};
    fuse_resource_routes(&w->source, type, name, entry_add, &names);
    assert_names(&names, expected);
}

static void who_may_be_guilty_of_a_refused_resource(void **state)
{
    struct world *w = *state;
    static const char *const tls[] = {"tls"}, *const get[] = {"GET"};
    world_route(w, 5, &(struct fuse_route){.name = "a", .host = "shop"});
    world_route(w, 6, &(struct fuse_route){.name = "b", .listeners = tls, .n_listeners = 1});
    world_route(w, 7,
                &(struct fuse_route){.name = "c", .host = "shop", .methods = get, .n_methods = 1});
    struct fuse_route route = {.name = "d"};
    route.breaker.set = true;
    world_route(w, 8, &route);
    assert_guilty(w, FUSE_ROUTES, "listener/default", "a c d");
    assert_guilty(w, FUSE_ROUTES, "listener/tls", "a b c d");
    assert_guilty(w, FUSE_ROUTES, "shop", "a");
    assert_guilty(w, FUSE_CLUSTER, "echo", "a b c");
    assert_guilty(w, FUSE_CLUSTER, "route/d/0", "d");
    assert_guilty(w, FUSE_ENDPOINTS, "echo", "a b c d");
    assert_guilty(w, FUSE_LISTENER, "listener/default", "");
    assert_guilty(w, FUSE_SECRET, "front", "");
    fuse_view_override(w->view, "a", NULL);
    assert_guilty(w, FUSE_ROUTES, "listener/default", "c d");
    assert_guilty(w, FUSE_CLUSTER, "echo", "b c");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(types_are_known_by_their_url),
        TEST(a_version_is_revision_and_checksum),
        TEST(equal_models_give_equal_bytes),
        TEST(instances_touch_endpoints_and_the_first_and_last_the_service),
        TEST(routes_touch_their_host_their_listeners_and_their_clusters),
        TEST(routes_of_other_groups_touch_nothing),
        TEST(everything_that_changed_was_touched),
        TEST(a_wildcard_is_the_sockets_of_the_group_and_the_clusters_of_its_routes),
        TEST(who_may_be_guilty_of_a_refused_resource),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
