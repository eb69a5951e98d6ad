/* Changing routes: what is written, what is refused, and who wins when two write at once. */
#include "fuse/control_plane/controller.h"
#include "fuse/control_plane/convert.h"
#include "fuse/control_plane/record.h"
#include "memory_store.h"
#include "os/sim.h"
#include "test.h"

struct outcome {
    int n, code;
    uint64_t version;
    bool unchanged;
    unsigned errors, warnings;
    char text[512];
    bool in_model; /* the model had it when the answer came */
};
struct rig {
    struct chassis_sim *sim;
    struct chassis_executor *loop;
    struct fuse_model *model;
    struct fuse_controller *controller;
    struct memory_store store;
    struct outcome last;
};

static int64_t wall_ns(void *data)
{
    return 1700000000LL * 1000000000;
}

static int set_up_with(void **state, unsigned routes_max)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig->sim = chassis_sim_new(1);
    rig->loop = chassis_sim_executor(chassis_sim_host_new(rig->sim, "host"), "loop", 0);
    rig->model = fuse_model_new();
    memory_store_init(&rig->store, rig->loop, rig->model);
    rig->controller = fuse_controller_new(&(struct fuse_controller_options){
        .model = rig->model,
        .store = &rig->store.store,
        .loop = rig->loop,
        .log = chassis_log_module("test"),
        .wall_ns = wall_ns,
        .parse = fuse_route_of_bytes,
        .versions_kept = 3,
        .routes_max = routes_max,
        .changes_max = 2,
    });
    *state = rig;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, 0);
}

static int set_up_small(void **state)
{
    return set_up_with(state, 2);
}

static void free_controller(void *data)
{
    fuse_controller_free(((struct rig *)data)->controller);
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    chassis_sim_run(rig->sim, 60 * CHASSIS_NS_PER_S, NULL, NULL);
    chassis_sim_call(rig->loop, free_controller, rig);
    memory_store_fini(&rig->store);
    fuse_model_free(rig->model);
    chassis_sim_free(rig->sim);
    free(rig);
    return 0;
}

static struct fuse_route *route(const char *name, const char *prefix)
{
    Core__ControlPlane__Networking__V1__Route m = CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE__INIT;
    Core__ControlPlane__Networking__V1__RouteMatch match =
        CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE_MATCH__INIT;
    Core__ControlPlane__Networking__V1__Endpoint endpoint =
        CORE__CONTROL_PLANE__NETWORKING__V1__ENDPOINT__INIT;
    struct fuse_problems problems = {0};
    m.name = (char *)(uintptr_t)name;
    match.prefix = (char *)(uintptr_t)prefix;
    endpoint.host = (char *)(uintptr_t) "127.0.0.1";
    endpoint.port = 8080;
    m.match = &match;
    m.endpoint = &endpoint;
    struct fuse_route *r = fuse_route_of_message(&m, NULL, &problems);
    assert_non_null(r);
    return r;
}

static void on_done(const struct fuse_result *result, void *data)
{
    struct rig *rig = data;
    struct outcome *o = &rig->last;
    o->n++;
    o->code = result->code;
    o->version = result->version;
    o->unchanged = result->unchanged;
    o->errors = result->problems->n_errors;
    o->warnings = result->problems->n - result->problems->n_errors;
    snprintf(o->text, sizeof o->text, "%s", chassis_error_text(result->err));
    o->in_model = fuse_model_revision(rig->model) >= result->version;
}

struct ask {
    struct rig *rig;
    struct fuse_route *route;
    const char *name;
    const uint64_t *expected;
    uint64_t version;
};

static void do_add(void *data)
{
    struct ask *a = data;
    fuse_controller_add(a->rig->controller, a->route, a->expected, "ann", on_done, a->rig);
}
static void do_delete(void *data)
{
    struct ask *a = data;
    fuse_controller_delete(a->rig->controller, a->name, a->expected, "bob", on_done, a->rig);
}
static void do_rollback(void *data)
{
    struct ask *a = data;
    fuse_controller_rollback(a->rig->controller, a->name, a->version, "eve", on_done, a->rig);
}

static void do_put(void *data)
{
    struct ask *a = data;
    memory_store_put(&a->rig->store, a->route->name, a->route->encoded);
}

/* By another Fuse. */
static void put(struct rig *rig, const char *name, const char *prefix)
{
    struct ask ask = {.rig = rig, .route = route(name, prefix)};
    chassis_sim_call(rig->loop, do_put, &ask);
    fuse_route_unref(ask.route);
}

static bool answered(void *data)
{
    return ((struct rig *)data)->last.n > 0;
}

static const struct outcome *run(struct rig *rig, void (*what)(void *), struct ask ask)
{
    rig->last = (struct outcome){0};
    ask.rig = rig;
    chassis_sim_call(rig->loop, what, &ask);
    chassis_sim_run(rig->sim, 20 * CHASSIS_NS_PER_S, answered, rig);
    assert_int_equal(rig->last.n, 1);
    fuse_route_unref(ask.route);
    return &rig->last;
}

static const struct outcome *add(struct rig *rig, const char *name, const char *prefix)
{
    return run(rig, do_add, (struct ask){.route = route(name, prefix)});
}
static const struct outcome *add_at(struct rig *rig, const char *name, const char *prefix,
                                    uint64_t expected)
{
    return run(rig, do_add, (struct ask){.route = route(name, prefix), .expected = &expected});
}
static const struct outcome *del(struct rig *rig, const char *name)
{
    return run(rig, do_delete, (struct ask){.name = name});
}
static const struct outcome *rollback(struct rig *rig, const char *name, uint64_t version)
{
    return run(rig, do_rollback, (struct ask){.name = name, .version = version});
}

/* The newest version of a route as it was written. */
static struct fuse_record newest(struct rig *rig, const char *name)
{
    struct fuse_record record = {0};
    for (unsigned i = rig->store.n_versions; i-- > 0;) {
        if (strcmp(rig->store.versions[i].name, name) == 0) {
            assert_int_equal(fuse_record_decode(chassis_buf_view(&rig->store.versions[i].encoded),
                                                &record, NULL),
                             0);
            return record;
        }
    }
    fail_msg("no version of '%s'", name);
    return record;
}

/* ---- what is written ---- */

static void a_route_is_written_with_its_version_and_known_when_answered(void **state)
{
    struct rig *rig = *state;
    rig->store.watch_delay_ns = 50 * CHASSIS_NS_PER_MS;
    const struct outcome *o = add(rig, "a", "/a");
    assert_int_equal(o->code, 0);
    assert_true(o->in_model);
    assert_int_equal(o->version, memory_store_route(&rig->store, "a")->version);
    struct fuse_record record = newest(rig, "a");
    assert_int_equal(record.kind, FUSE_RECORD_ADDED);
    assert_true(chassis_view_eq(record.actor, chassis_view_str("ann")));
    assert_int_equal(record.time_ns, wall_ns(NULL));
    assert_true(chassis_view_eq(record.route,
                                chassis_buf_view(&memory_store_route(&rig->store, "a")->encoded)));
    add(rig, "a", "/b");
    assert_int_equal(newest(rig, "a").kind, FUSE_RECORD_CHANGED);
}

static void a_watch_that_is_late_does_not_keep_the_answer(void **state)
{
    struct rig *rig = *state;
    rig->store.watch_delay_ns = 15 * CHASSIS_NS_PER_S;
    const struct outcome *o = add(rig, "a", "/a");
    assert_int_equal(o->code, 0);
    assert_false(o->in_model);
}

static void the_same_route_again_writes_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t version = add(rig, "a", "/a")->version;
    const struct outcome *o = add(rig, "a", "/a");
    assert_int_equal(o->code, 0);
    assert_true(o->unchanged);
    assert_int_equal(o->version, version);
    assert_int_equal(rig->store.commits, 1);
    assert_int_equal(memory_store_versions(&rig->store, "a"), 1);
}

static void the_same_route_is_written_when_another_fuse_has_changed_it(void **state)
{
    struct rig *rig = *state;
    uint64_t version = add(rig, "a", "/a")->version;
    rig->store.watch_delay_ns = 500 * CHASSIS_NS_PER_MS; /* the model still has the old content */
    put(rig, "a", "/other");
    const struct outcome *o = add(rig, "a", "/a");
    assert_int_equal(o->code, 0);
    assert_false(o->unchanged);
    assert_true(o->version > version + 1);
}

static void only_so_many_versions_are_kept(void **state)
{
    struct rig *rig = *state;
    char prefix[8];
    for (int i = 0; i < 6; i++) {
        snprintf(prefix, sizeof prefix, "/%d", i);
        assert_int_equal(add(rig, "a", prefix)->code, 0);
    }
    assert_int_equal(memory_store_versions(&rig->store, "a"), 3);
}

/* ---- two writers ---- */

static void overwrite(struct memory_store *store, void *data)
{
    static unsigned n;
    char prefix[16];
    snprintf(prefix, sizeof prefix, "/rival%u", n++);
    struct fuse_route *r = route("a", prefix);
    memory_store_put(store, "a", r->encoded);
    fuse_route_unref(r);
}

static void a_faster_writer_does_not_keep_us_from_writing(void **state)
{
    struct rig *rig = *state;
    add(rig, "a", "/a");
    rig->store.rival = overwrite;
    rig->store.rivals = 3;
    const struct outcome *o = add(rig, "a", "/b");
    assert_int_equal(o->code, 0);
    assert_int_equal(o->version, memory_store_route(&rig->store, "a")->version);
}

static void a_writer_who_is_always_faster_is_told(void **state)
{
    struct rig *rig = *state;
    add(rig, "a", "/a");
    rig->store.rival = overwrite;
    rig->store.rivals = 100;
    unsigned before = rig->store.writes;
    assert_int_equal(add(rig, "a", "/b")->code, CHASSIS_ABORTED);
    assert_true(rig->store.writes - before < 30);
    rig->store.rivals = 0;
}

static void who_expects_a_version_never_overwrites_another(void **state)
{
    struct rig *rig = *state;
    uint64_t version = add_at(rig, "a", "/a", 0)->version;
    assert_int_equal(add_at(rig, "a", "/b", 0)->code, CHASSIS_ABORTED);
    assert_int_equal(add_at(rig, "a", "/b", version + 7)->code, CHASSIS_ABORTED);
    rig->store.rival = overwrite;
    rig->store.rivals = 1;
    assert_int_equal(add_at(rig, "a", "/b", version)->code, CHASSIS_ABORTED);
    chassis_sim_run(rig->sim, CHASSIS_NS_PER_S, NULL, NULL);
    uint64_t now = memory_store_route(&rig->store, "a")->version;
    assert_int_equal(add_at(rig, "a", "/b", now)->code, 0);
    uint64_t stale = now;
    assert_int_equal(run(rig, do_delete, (struct ask){.name = "a", .expected = &stale})->code,
                     CHASSIS_ABORTED);
}

/* ---- what is refused ---- */

static void a_route_in_conflict_is_refused_with_the_others_name(void **state)
{
    struct rig *rig = *state;
    add(rig, "a", "/same");
    const struct outcome *o = add(rig, "b", "/same");
    assert_int_equal(o->code, CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(o->errors, 1);
    assert_non_null(strstr(o->text, "'a'"));
    assert_int_equal(rig->store.commits, 1);
}

static void the_limit_of_routes_is_named_and_does_not_hinder_changes(void **state)
{
    struct rig *rig = *state;
    add(rig, "a", "/a");
    add(rig, "b", "/b");
    const struct outcome *o = add(rig, "c", "/c");
    assert_int_equal(o->code, CHASSIS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(o->text, "2 routes"));
    assert_int_equal(add(rig, "b", "/bb")->code, 0);
    del(rig, "a");
    assert_int_equal(add(rig, "c", "/c")->code, 0);
}

static void changes_under_way_are_limited(void **state)
{
    struct rig *rig = *state;
    struct ask asks[] = {{.rig = rig, .route = route("a", "/a")},
                         {.rig = rig, .route = route("b", "/b")},
                         {.rig = rig, .route = route("c", "/c")}};
    rig->last = (struct outcome){0};
    for (int i = 0; i < 3; i++) {
        chassis_sim_call(rig->loop, do_add, &asks[i]);
        fuse_route_unref(asks[i].route);
    }
    assert_int_equal(rig->last.n, 1);
    assert_int_equal(rig->last.code, CHASSIS_RESOURCE_EXHAUSTED);
    chassis_sim_run(rig->sim, CHASSIS_NS_PER_S, NULL, NULL);
    assert_int_equal(rig->last.n, 3);
    assert_int_equal(rig->store.commits, 2);
}

static void a_failing_store_is_an_answer(void **state)
{
    struct rig *rig = *state;
    rig->store.fail_next_write = CHASSIS_UNAVAILABLE;
    assert_int_equal(add(rig, "a", "/a")->code, CHASSIS_UNAVAILABLE);
    assert_null(memory_store_route(&rig->store, "a"));
    add(rig, "a", "/a");
    rig->store.fail_next_read = CHASSIS_UNAVAILABLE;
    assert_int_equal(add(rig, "a", "/a")->code, CHASSIS_UNAVAILABLE);
    /* An answer that was lost: what was written is found by the next try. */
    rig->store.fail_next_write = CHASSIS_UNAVAILABLE;
    rig->store.apply_failed_write = true;
    assert_int_equal(add(rig, "a", "/b")->code, CHASSIS_UNAVAILABLE);
    const struct outcome *o = add(rig, "a", "/b");
    assert_int_equal(o->code, 0);
    assert_true(o->unchanged);
}

/* ---- deleting and bringing back ---- */

static void a_deletion_keeps_what_was_deleted(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(del(rig, "a")->code, CHASSIS_NOT_FOUND);
    add(rig, "a", "/a");
    struct fuse_route *was = route("a", "/a");
    const struct outcome *o = del(rig, "a");
    assert_int_equal(o->code, 0);
    assert_true(o->in_model);
    assert_null(fuse_model_route(rig->model, "a"));
    assert_int_equal(newest(rig, "a").kind, FUSE_RECORD_DELETED);
    assert_true(chassis_view_eq(newest(rig, "a").route, was->encoded));
    fuse_route_unref(was);
    assert_int_equal(del(rig, "a")->code, CHASSIS_NOT_FOUND);
}

static void a_route_only_the_store_knows_can_be_deleted(void **state)
{
    struct rig *rig = *state;
    rig->store.watch_delay_ns = 5 * CHASSIS_NS_PER_S;
    put(rig, "a", "/a");
    assert_int_equal(del(rig, "a")->code, 0);
    assert_null(memory_store_route(&rig->store, "a"));
}

static void rolling_back_makes_a_new_version_of_the_old_content(void **state)
{
    struct rig *rig = *state;
    uint64_t first = add(rig, "a", "/a")->version;
    uint64_t second = add(rig, "a", "/b")->version;
    const struct outcome *o = rollback(rig, "a", 0);
    assert_int_equal(o->code, 0);
    assert_true(o->version > second);
    assert_string_equal(fuse_model_route(rig->model, "a")->route->path, "/a");
    assert_int_equal(newest(rig, "a").kind, FUSE_RECORD_ROLLED_BACK);
    assert_int_equal(newest(rig, "a").rolled_back_to, first);
    assert_int_equal(rollback(rig, "a", second)->code, 0);
    assert_string_equal(fuse_model_route(rig->model, "a")->route->path, "/b");
    /* The first one is not kept any more. */
    o = rollback(rig, "a", first);
    assert_int_equal(o->code, CHASSIS_NOT_FOUND);
    assert_non_null(strstr(o->text, "3 that are kept"));
    assert_int_equal(rollback(rig, "never", 0)->code, CHASSIS_NOT_FOUND);
}

static void a_deleted_route_comes_back(void **state)
{
    struct rig *rig = *state;
    add(rig, "a", "/a");
    del(rig, "a");
    const struct outcome *o = rollback(rig, "a", 0);
    assert_int_equal(o->code, 0);
    assert_string_equal(fuse_model_route(rig->model, "a")->route->path, "/a");
}

static void what_is_in_conflict_now_does_not_come_back(void **state)
{
    struct rig *rig = *state;
    add(rig, "a", "/same");
    del(rig, "a");
    add(rig, "b", "/same");
    const struct outcome *o = rollback(rig, "a", 0);
    assert_int_equal(o->code, CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(o->errors, 1);
    assert_null(fuse_model_route(rig->model, "a"));
}

/* ---- records ---- */

static void a_damaged_record_is_refused(void **state)
{
    struct fuse_record in = {.route = chassis_view("\x0a\x01x", 3),
                             .kind = FUSE_RECORD_ROLLED_BACK,
                             .actor = chassis_view_str("ann"),
                             .time_ns = 1234567890123456789LL,
                             .rolled_back_to = 77},
                       out;
    struct chassis_buf bytes = {0};
    fuse_record_encode(&in, &bytes);
    assert_int_equal(fuse_record_decode(chassis_buf_view(&bytes), &out, NULL), 0);
    assert_true(chassis_view_eq(out.route, in.route) && chassis_view_eq(out.actor, in.actor));
    assert_int_equal(out.time_ns, in.time_ns);
    assert_int_equal(out.rolled_back_to, 77);
    for (size_t len = 1; len < bytes.len; len++) { /* any length is either a record or refused */
        (void)fuse_record_decode(chassis_view(bytes.data, len), &out, NULL);
    }
    assert_int_equal(fuse_record_decode(chassis_view(bytes.data, bytes.len - 1), &out, NULL),
                     CHASSIS_MALFORMED);
    assert_int_equal(fuse_record_decode(chassis_view("\x10\x63", 2), &out, NULL),
                     CHASSIS_MALFORMED);
    chassis_buf_fini(&bytes);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_route_is_written_with_its_version_and_known_when_answered),
        CASE(a_watch_that_is_late_does_not_keep_the_answer),
        CASE(the_same_route_again_writes_nothing),
        CASE(the_same_route_is_written_when_another_fuse_has_changed_it),
        CASE(only_so_many_versions_are_kept),
        CASE(a_faster_writer_does_not_keep_us_from_writing),
        CASE(a_writer_who_is_always_faster_is_told),
        CASE(who_expects_a_version_never_overwrites_another),
        CASE(a_route_in_conflict_is_refused_with_the_others_name),
        cmocka_unit_test_setup_teardown(the_limit_of_routes_is_named_and_does_not_hinder_changes,
                                        set_up_small, tear_down),
        CASE(changes_under_way_are_limited),
        CASE(a_failing_store_is_an_answer),
        CASE(a_deletion_keeps_what_was_deleted),
        CASE(a_route_only_the_store_knows_can_be_deleted),
        CASE(rolling_back_makes_a_new_version_of_the_old_content),
        CASE(a_deleted_route_comes_back),
        CASE(what_is_in_conflict_now_does_not_come_back),
        cmocka_unit_test(a_damaged_record_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
