#include "tests/test.h"

#include <errno.h>

#include "os/sim.h"

struct player {
    struct chassis_task task;
    struct chassis_executor *self, *other;
    struct chassis_buf *trace;
    char letter;
    uint64_t left;
};

static void play(struct chassis_task *task)
{
    struct player *p = chassis_container_of(task, struct player, task);
    assert_true(chassis_is_current(p->self));
    assert_false(chassis_is_current(p->other));
    if (p->trace != NULL) {
        chassis_buf_append_byte(p->trace, (uint8_t)p->letter);
    }
    if (--p->left != 0) {
        chassis_post(p->self, &p->task);
    }
}

static void trace_of(uint64_t seed, struct chassis_buf *ret_trace)
{
    struct chassis_sim *sim = chassis_sim_new(seed);
    struct chassis_sim_host *host = chassis_sim_host_new(sim, "a");
    struct chassis_executor *x = chassis_sim_executor(host, "x", 0);
    struct chassis_executor *y = chassis_sim_executor(host, "y", 1000);
    struct player px = {{.run = play}, x, y, ret_trace, 'x', 100};
    struct player py = {{.run = play}, y, x, ret_trace, 'y', 100};
    chassis_post(x, &px.task);
    chassis_post(y, &py.task);
    while (chassis_sim_step(sim)) {
    }
    chassis_sim_free(sim);
}

static void equal_seeds_give_equal_runs_and_others_differ(void **state)
{
    struct chassis_buf a = {0}, b = {0}, c = {0};
    trace_of(1, &a);
    trace_of(1, &b);
    trace_of(2, &c);
    assert_int_equal(a.len, 200);
    assert_string_equal((char *)a.data, (char *)b.data);
    assert_string_not_equal((char *)a.data, (char *)c.data);
    chassis_buf_fini(&a);
    chassis_buf_fini(&b);
    chassis_buf_fini(&c);
}

struct dispatched {
    struct chassis_task first, second;
    struct chassis_executor *x, *y;
    bool below; /* the first still runs */
    unsigned at_once, later;
};

static void dispatched_second(struct chassis_task *task)
{
    struct dispatched *d = chassis_container_of(task, struct dispatched, second);
    assert_true(chassis_is_current(d->y));
    assert_false(chassis_is_current(d->x));
    *(d->below ? &d->at_once : &d->later) += 1;
    if (d->below) {
        chassis_dispatch(d->x, &d->first); /* not idle: after what dispatched to us */
        assert_true(d->below);
    }
}

static void dispatched_first(struct chassis_task *task)
{
    struct dispatched *d = chassis_container_of(task, struct dispatched, first);
    if (d->at_once != 0) {
        return;
    }
    d->below = true;
    chassis_dispatch(d->y, &d->second);
    assert_true(chassis_is_current(d->x));
    d->below = false;
}

static void what_is_dispatched_to_an_idle_executor_runs_at_once_or_later(void **state)
{
    unsigned at_once = 0, later = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct chassis_sim *sim = chassis_sim_new(seed);
        struct chassis_sim_host *host = chassis_sim_host_new(sim, "a");
        struct dispatched d = {.first.run = dispatched_first, .second.run = dispatched_second};
        d.x = chassis_sim_executor(host, "x", 0);
        d.y = chassis_sim_executor(host, "y", 0);
        chassis_post(d.x, &d.first);
        while (chassis_sim_step(sim)) {
        }
        assert_int_equal(d.at_once + d.later, 1);
        at_once += d.at_once;
        later += d.later;
        chassis_sim_free(sim);
    }
    assert_int_not_equal(at_once, 0);
    assert_int_not_equal(later, 0);
}

static void a_million_tasks_take_less_than_a_second_or_so(void **state)
{
    enum { N = 16 };
    struct chassis_sim *sim = chassis_sim_new(3);
    struct chassis_sim_host *host = chassis_sim_host_new(sim, "a");
    struct player players[N];
    struct chassis_executor *ex[N];
    for (int i = 0; i < N; i++) {
        ex[i] = chassis_sim_executor(host, "e", i % 4 == 0 ? 500 : 0);
    }
    for (int i = 0; i < N; i++) {
        players[i] = (struct player){{.run = play}, ex[i], ex[(i + 1) % N], NULL, 'p', 125000};
        chassis_post(ex[i], &players[i].task);
    }
    uint64_t begin = chassis_os_monotonic_ns();
    while (chassis_sim_step(sim)) {
    }
    double seconds = (double)(chassis_os_monotonic_ns() - begin) / 1e9;
    print_message("%.1f million tasks/s\n", 2.0 / seconds);
    chassis_sim_free(sim);
}

static struct {
    struct chassis_executor *ex;
    struct chassis_timer timer;
    struct chassis_task task, deferred;
    int fired, ran, ended;
    uint64_t at;
} w;

static void w_timer(struct chassis_timer *timer)
{
    w.fired++;
    w.at = chassis_now_ns(w.ex);
}
static void w_task(struct chassis_task *task)
{
    w.ran++;
}
static void w_deferred(struct chassis_task *task)
{
    w.ended++;
}
static void w_arm(void *data)
{
    w.timer.run = w_timer;
    w.task.run = w_task;
    w.deferred.run = w_deferred;
    chassis_post_after(w.ex, &w.timer, 5 * CHASSIS_NS_PER_S);
    int ended = w.ended;
    chassis_defer(w.ex, &w.deferred);
    assert_int_equal(w.ended, ended);
}
static void w_cancel(void *data)
{
    chassis_cancel(w.ex, &w.timer);
}

static void virtual_time_passes_to_the_next_timer(void **state)
{
    memset(&w, 0, sizeof w);
    struct chassis_sim *sim = chassis_sim_new(3);
    struct chassis_sim_host *host = chassis_sim_host_new(sim, "a");
    w.ex = chassis_sim_executor(host, "e", 0);
    uint64_t begin = chassis_sim_now_ns(sim);
    chassis_sim_call(w.ex, w_arm, NULL);
    assert_int_equal(w.ended, 1);
    assert_false(chassis_sim_run(sim, 4 * CHASSIS_NS_PER_S, NULL, NULL));
    assert_int_equal(w.fired, 0);
    assert_int_equal(chassis_sim_now_ns(sim), begin + 4 * CHASSIS_NS_PER_S);
    chassis_sim_run(sim, 2 * CHASSIS_NS_PER_S, NULL, NULL);
    assert_int_equal(w.fired, 1);
    assert_int_equal(w.at, begin + 5 * CHASSIS_NS_PER_S);
    chassis_sim_call(w.ex, w_arm, NULL);
    chassis_sim_call(w.ex, w_cancel, NULL);
    chassis_sim_run(sim, 100 * CHASSIS_NS_PER_S, NULL, NULL);
    assert_int_equal(w.fired, 1);
    chassis_sim_free(sim);
}

static void a_crash_drops_tasks_and_timers_and_later_posts(void **state)
{
    memset(&w, 0, sizeof w);
    struct chassis_sim *sim = chassis_sim_new(3);
    struct chassis_sim_host *host = chassis_sim_host_new(sim, "a");
    w.ex = chassis_sim_executor(host, "e", 0);
    chassis_sim_call(w.ex, w_arm, NULL);
    chassis_post(w.ex, &w.task);
    chassis_sim_host_crash(host, true);
    assert_false(w.task.queued);
    assert_int_equal(w.timer.slot, 0);
    chassis_post(w.ex, &w.task);
    assert_false(chassis_sim_step(sim));
    assert_int_equal(w.ran + w.fired, 0);
    chassis_sim_free(sim);
}

static struct chassis_file *open_file(struct chassis_disk *disk, const char *path)
{
    struct chassis_file *file = NULL;
    disk->ops->open(disk, path, CHASSIS_DISK_WRITE | CHASSIS_DISK_CREATE, &file);
    return file;
}

/* Three synced sectors of 'a', then unsynced writes over them. */
static void what_was_synced_survives_and_the_rest_is_torn_at_sectors(void **state)
{
    bool seen_none = false, seen_all = false, seen_torn = false, seen_killed = true;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct chassis_sim *sim = chassis_sim_new(seed);
        struct chassis_sim_host *host = chassis_sim_host_new(sim, "a");
        struct chassis_disk *disk = chassis_sim_disk(host);
        struct chassis_file *file = open_file(disk, "d/f");
        uint8_t block[1536], got[4096];
        memset(block, 'a', sizeof block);
        assert_int_equal(disk->ops->write(file, 0, block, sizeof block), 0);
        assert_int_equal(disk->ops->sync(file), 0);
        assert_int_equal(disk->ops->dir_sync(disk, "d"), 0);
        memset(block, 'b', sizeof block);
        disk->ops->write(file, 512, block, 1536);
        bool power = seed % 8 != 0;
        chassis_sim_host_crash(host, power);
        size_t n;
        assert_int_equal(disk->ops->read(file, 0, got, sizeof got, &n), -EIO);
        disk->ops->close(file);
        assert_int_equal(disk->ops->open(disk, "d/f", CHASSIS_DISK_READ, &file), 0);
        assert_int_equal(disk->ops->read(file, 0, got, sizeof got, &n), 0);
        unsigned b = 0;
        for (size_t s = 0; s < n / 512; s++) {
            for (size_t i = 1; i < 512; i++) {
                assert_int_equal(got[s * 512 + i], got[s * 512]);
            }
            b += got[s * 512] == 'b';
        }
        assert_int_equal(got[0], 'a');
        seen_killed = seen_killed && (power || b == 3);
        seen_none = seen_none || (b == 0 && n == 1536);
        seen_all = seen_all || (power && b == 3);
        seen_torn = seen_torn || b == 1 || b == 2;
        disk->ops->close(file);
        chassis_sim_free(sim);
    }
    assert_true(seen_none && seen_all && seen_torn && seen_killed);
}

static void names_are_durable_only_after_a_directory_sync(void **state)
{
    unsigned created = 0, renamed = 0, halves = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct chassis_sim *sim = chassis_sim_new(seed);
        struct chassis_sim_host *host = chassis_sim_host_new(sim, "a");
        struct chassis_disk *disk = chassis_sim_disk(host);
        struct chassis_file *file = open_file(disk, "d/old");
        disk->ops->close(file);
        disk->ops->dir_sync(disk, "d");
        disk->ops->rename(disk, "d/old", "d/moved");
        file = open_file(disk, "d/new");
        disk->ops->sync(file);
        disk->ops->close(file);
        chassis_sim_host_crash(host, true);
        bool has_new = disk->ops->open(disk, "d/new", 0, &file) == 0;
        bool has_old = disk->ops->open(disk, "d/old", 0, &file) == 0;
        bool has_moved = disk->ops->open(disk, "d/moved", 0, &file) == 0;
        created += has_new;
        renamed += has_moved;
        halves += has_old == has_moved;
        chassis_sim_free(sim);
    }
    assert_int_equal(halves, 0);
    assert_in_range(created, 10, 190);
    assert_in_range(renamed, created, 199);
}

static void a_full_disk_refuses_and_a_flipped_bit_is_there(void **state)
{
    struct chassis_sim *sim = chassis_sim_new(1);
    struct chassis_sim_host *host = chassis_sim_host_new(sim, "a");
    struct chassis_disk *disk = chassis_sim_disk(host);
    chassis_sim_disk_limit(host, 1000);
    struct chassis_file *file = open_file(disk, "d/f");
    char data[600] = {0};
    assert_int_equal(disk->ops->write(file, 0, data, 600), 0);
    assert_int_equal(disk->ops->write(file, 600, data, 600), -ENOSPC);
    assert_int_equal(disk->ops->write(file, 0, data, 600), 0);
    uint64_t left;
    disk->ops->space(disk, "d", &left);
    assert_int_equal(left, 400);
    assert_int_equal(chassis_sim_disk_flip(host, "d/f", 17), 0);
    assert_int_equal(chassis_sim_disk_flip(host, "d/g", 17), -ENOENT);
    assert_int_equal(chassis_sim_disk_flip(host, "d/f", 600 * 8), -EINVAL);
    size_t n;
    disk->ops->read(file, 0, data, 600, &n);
    assert_int_equal(data[2], 2);
    struct chassis_file *lock, *second;
    assert_int_equal(disk->ops->lock(disk, "d", &lock), 0);
    assert_int_equal(disk->ops->lock(disk, "d", &second), -EBUSY);
    chassis_sim_host_crash(host, false);
    assert_int_equal(disk->ops->lock(disk, "d", &second), 0);
    chassis_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_dispatched_to_an_idle_executor_runs_at_once_or_later),
        cmocka_unit_test(equal_seeds_give_equal_runs_and_others_differ),
        cmocka_unit_test(a_million_tasks_take_less_than_a_second_or_so),
        cmocka_unit_test(virtual_time_passes_to_the_next_timer),
        cmocka_unit_test(a_crash_drops_tasks_and_timers_and_later_posts),
        cmocka_unit_test(what_was_synced_survives_and_the_rest_is_torn_at_sectors),
        cmocka_unit_test(names_are_durable_only_after_a_directory_sync),
        cmocka_unit_test(a_full_disk_refuses_and_a_flipped_bit_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
