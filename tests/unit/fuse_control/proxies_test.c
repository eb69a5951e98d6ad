/* Who waits until nobody is sent to any more, and how proxies are told apart. */
#include "fuse/control_plane/proxies.h"
#include "os/sim.h"
#include "test.h"

struct fake {
    struct fuse_proxy proxy;
    bool settled;
};

struct rig {
    struct chassis_sim *sim;
    struct chassis_executor *loop;
    struct fuse_proxies proxies;
    struct fake a, b, c;
    int answers, yes; /* of those who wait */
};

static bool settled(struct fuse_proxy *proxy)
{
    return chassis_container_of(proxy, struct fake, proxy)->settled;
}
static const struct fuse_proxy_ops ops = {.settled = settled};

static void on_done(bool is_settled, void *data)
{
    struct rig *rig = data;
    rig->answers++;
    rig->yes += is_settled;
}

static void init(void *data)
{
    struct rig *rig = data;
    fuse_proxies_init(&rig->proxies, rig->loop);
    rig->a.proxy.ops = rig->b.proxy.ops = rig->c.proxy.ops = &ops;
    fuse_proxies_add(&rig->proxies, &rig->a.proxy, "envoy");
    fuse_proxies_add(&rig->proxies, &rig->b.proxy, "envoy");
}

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig->sim = chassis_sim_new(1);
    rig->loop = chassis_sim_executor(chassis_sim_host_new(rig->sim, "host"), "loop", 0);
    chassis_sim_call(rig->loop, init, rig);
    *state = rig;
    return 0;
}

static void fini(void *data)
{
    fuse_proxies_fini(&((struct rig *)data)->proxies);
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    chassis_sim_call(rig->loop, fini, rig);
    chassis_sim_free(rig->sim);
    free(rig);
    return 0;
}

static void await(void *data)
{
    struct rig *rig = data;
    fuse_proxies_await(&rig->proxies, 1000, on_done, rig);
    assert_int_equal(rig->answers, 0);
}
static void moved(void *data)
{
    fuse_proxies_moved(&((struct rig *)data)->proxies);
}
static void remove_b(void *data)
{
    struct rig *rig = data;
    fuse_proxies_remove(&rig->proxies, &rig->b.proxy);
}
static void add_c(void *data)
{
    struct rig *rig = data;
    fuse_proxies_add(&rig->proxies, &rig->c.proxy, "late");
}

static void run(struct rig *rig, uint64_t ms)
{
    chassis_sim_run(rig->sim, ms * CHASSIS_NS_PER_MS, NULL, NULL);
}

static void proxies_of_one_name_are_numbered(void **state)
{
    struct rig *rig = *state;
    assert_string_equal(rig->a.proxy.id, "envoy");
    assert_string_equal(rig->b.proxy.id, "envoy#2");
    chassis_sim_call(rig->loop, add_c, rig);
    assert_ptr_equal(fuse_proxies_find(&rig->proxies, "late"), &rig->c.proxy);
    assert_null(fuse_proxies_find(&rig->proxies, "envoy#3"));
    fuse_proxies_remove(&rig->proxies, &rig->c.proxy);
    fuse_proxies_add(&rig->proxies, &rig->c.proxy, "envoy");
    assert_string_equal(rig->c.proxy.id, "envoy#3");
    fuse_proxies_remove(&rig->proxies, &rig->c.proxy);
    char longest[400];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    fuse_proxies_add(&rig->proxies, &rig->c.proxy, longest);
    assert_true(strlen(rig->c.proxy.id) > 100);
}

static void waiting_ends_when_each_has_settled_once(void **state)
{
    struct rig *rig = *state;
    chassis_sim_call(rig->loop, await, rig);
    run(rig, 1);
    rig->a.settled = true;
    chassis_sim_call(rig->loop, moved, rig);
    run(rig, 1);
    assert_int_equal(rig->answers, 0);
    /* The next change is under way to `a` when `b` settles. */
    rig->a.settled = false;
    rig->b.settled = true;
    chassis_sim_call(rig->loop, moved, rig);
    run(rig, 1);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->yes, 1);
}

static void nobody_waits_for_proxies_that_go_or_come_later(void **state)
{
    struct rig *rig = *state;
    rig->a.settled = true;
    chassis_sim_call(rig->loop, await, rig);
    chassis_sim_call(rig->loop, add_c, rig);
    run(rig, 1);
    assert_int_equal(rig->answers, 0);
    chassis_sim_call(rig->loop, remove_b, rig);
    run(rig, 1);
    assert_int_equal(rig->yes, 1);
}

static void waiting_has_an_end(void **state)
{
    struct rig *rig = *state;
    chassis_sim_call(rig->loop, await, rig);
    run(rig, 2000);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->yes, 0);
    rig->answers = 0;
    chassis_sim_call(rig->loop, await, rig);
    chassis_sim_call(rig->loop, fini, rig);
    assert_int_equal(rig->answers, 1);
    assert_int_equal(rig->yes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(proxies_of_one_name_are_numbered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waiting_ends_when_each_has_settled_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_waits_for_proxies_that_go_or_come_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(waiting_has_an_end, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
