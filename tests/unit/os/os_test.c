#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/prng.h"
#include "os/disk.h"
#include "os/os.h"
#include "os/timers.h"

/* A latch the test's thread waits on. */
struct latch {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned left;
};
static void latch_init(struct latch *l, unsigned n)
{
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->cond, NULL);
    l->left = n;
}
static void latch_down(struct latch *l)
{
    pthread_mutex_lock(&l->lock);
    l->left--;
    pthread_cond_broadcast(&l->cond);
    pthread_mutex_unlock(&l->lock);
}
static void latch_wait(struct latch *l)
{
    pthread_mutex_lock(&l->lock);
    while (l->left != 0) {
        pthread_cond_wait(&l->cond, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
}

struct item {
    struct chassis_task task;
    unsigned producer, n;
};
enum { PRODUCERS = 4, PER_PRODUCER = 5000 };
static struct chassis_executor *thread;
static unsigned next_of[PRODUCERS];
static struct item items[PRODUCERS][PER_PRODUCER];
static struct latch all_ran;

static void check_order(struct chassis_task *task)
{
    struct item *item = chassis_container_of(task, struct item, task);
    assert_true(chassis_is_current(thread));
    assert_int_equal(item->n, next_of[item->producer]++);
    if (item->n + 1 == PER_PRODUCER) {
        latch_down(&all_ran);
    }
}

static void *produce(void *data)
{
    unsigned p = (unsigned)(uintptr_t)data;
    for (unsigned i = 0; i < PER_PRODUCER; i++) {
        items[p][i] = (struct item){.task.run = check_order, .producer = p, .n = i};
        chassis_post(thread, &items[p][i].task);
    }
    return NULL;
}

static void tasks_of_many_threads_run_in_the_order_each_posted_them(void **state)
{
    latch_init(&all_ran, PRODUCERS);
    assert_int_equal(chassis_os_thread_start("order", &thread), 0);
    assert_false(chassis_is_current(thread));
    pthread_t producers[PRODUCERS];
    for (uintptr_t p = 0; p < PRODUCERS; p++) {
        pthread_create(&producers[p], NULL, produce, (void *)p);
    }
    for (unsigned p = 0; p < PRODUCERS; p++) {
        pthread_join(producers[p], NULL);
    }
    latch_wait(&all_ran);
    chassis_os_thread_stop(thread);
}

static void stop_runs_what_is_queued(void **state)
{
    memset(next_of, 0, sizeof next_of);
    latch_init(&all_ran, PRODUCERS);
    assert_int_equal(chassis_os_thread_start("stop", &thread), 0);
    produce(NULL);
    chassis_os_thread_stop(thread);
    assert_int_equal(next_of[0], PER_PRODUCER);
}

static struct {
    struct chassis_task start, deferred, posted;
    struct chassis_timer late, early, never;
    struct latch done;
    char order[16];
} turn;

static void note(char c)
{
    size_t n = strlen(turn.order);
    turn.order[n] = c;
}
static void on_deferred(struct chassis_task *task)
{
    note('d');
}
static void on_posted(struct chassis_task *task)
{
    note('p');
}
static void on_late(struct chassis_timer *timer)
{
    note('l');
    latch_down(&turn.done);
}
static void on_early(struct chassis_timer *timer)
{
    note('e');
    chassis_cancel(thread, &turn.never);
    assert_int_equal(turn.never.slot, 0);
}
static void on_never(struct chassis_timer *timer)
{
    note('!');
}
static void on_start(struct chassis_task *task)
{
    chassis_post(thread, &turn.posted); /* the next turn: after what is deferred now */
    chassis_defer(thread, &turn.deferred);
    chassis_defer(thread, &turn.deferred);
    turn.late.run = on_late;
    turn.early.run = on_early;
    turn.never.run = on_never;
    chassis_post_after(thread, &turn.late, 3 * CHASSIS_NS_PER_MS);
    chassis_post_after(thread, &turn.never, 2 * CHASSIS_NS_PER_MS);
    chassis_post_after(thread, &turn.early, 10 * CHASSIS_NS_PER_S);
    chassis_post_after(thread, &turn.early, CHASSIS_NS_PER_MS); /* re-armed */
    note('s');
}

static void a_turn_runs_tasks_then_the_deferred_and_timers_when_due(void **state)
{
    latch_init(&turn.done, 1);
    turn.start.run = on_start;
    turn.deferred.run = on_deferred;
    turn.posted.run = on_posted;
    assert_int_equal(chassis_os_thread_start("turn", &thread), 0);
    chassis_post(thread, &turn.start);
    latch_wait(&turn.done);
    chassis_os_thread_stop(thread);
    assert_string_equal(turn.order, "sdpel");
}

static struct latch pool_latch, pool_gate;
static void pool_work(struct chassis_task *task)
{
    latch_wait(&pool_gate);
    latch_down(&pool_latch);
}

static void a_full_pool_refuses_and_a_permit_never_is(void **state)
{
    enum { N = 10 };
    struct chassis_pool *pool;
    struct chassis_task tasks[N + 3];
    for (unsigned i = 0; i < N + 3; i++) {
        tasks[i] = (struct chassis_task){.run = pool_work};
    }
    latch_init(&pool_latch, N + 3);
    latch_init(&pool_gate, 1);
    assert_int_equal(chassis_os_pool_start("pool", 2, N, &pool), 0);
    unsigned accepted = 0;
    while (accepted < N + 2 && chassis_os_pool_try_post(pool, &tasks[accepted]) == 0) {
        accepted++;
    }
    assert_true(accepted >= N && accepted <= N + 2);
    for (unsigned i = accepted; i < N + 3; i++) {
        chassis_post(chassis_os_pool_executor(pool), &tasks[i]);
    }
    struct chassis_task refused = {.run = pool_work};
    assert_int_equal(chassis_os_pool_try_post(pool, &refused), CHASSIS_BUSY);
    latch_down(&pool_gate);
    latch_wait(&pool_latch);
    chassis_os_pool_stop(pool);
}

static void start_pool(void *data)
{
    struct chassis_pool *pool = NULL;
    if (chassis_os_pool_start("fault", 3, 1, &pool) == 0) {
        chassis_os_pool_stop(pool);
    }
    struct chassis_executor *ex = NULL;
    if (chassis_os_thread_start("fault", &ex) == 0) {
        chassis_os_thread_stop(ex);
    }
}

static void a_thread_that_cannot_start_is_an_error_and_leaves_nothing(void **state)
{
    assert_int_equal(test_each_fault("os.", start_pool, NULL), 4);
}

struct attr { /* the kernel's sched_attr, whose header and libc's exclude each other */
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t slice_ns, deadline, period;
};
static struct {
    struct chassis_task task;
    struct attr own, started;
} slices;

static void *ask_slice(void *data)
{
    struct attr *attr = data;
    attr->size = sizeof *attr;
    assert_int_equal(syscall(SYS_sched_getattr, 0, attr, sizeof *attr, 0), 0);
    return NULL;
}

static void on_prompt_thread(struct chassis_task *task)
{
    pthread_t child;
    ask_slice(&slices.own);
    assert_int_equal(pthread_create(&child, NULL, ask_slice, &slices.started), 0);
    pthread_join(child, NULL);
}

static void a_prompt_thread_has_a_short_slice_and_what_it_starts_has_not(void **state)
{
    struct attr usual;
    ask_slice(&usual);
    if (usual.policy != SCHED_OTHER || usual.nice < 0 || usual.slice_ns == 0) {
        skip(); /* a kernel before 6.12, or somebody chose otherwise */
    }
    slices.task.run = on_prompt_thread;
    assert_int_equal(chassis_os_thread_start_prompt("prompt", &thread), 0);
    chassis_post(thread, &slices.task);
    chassis_os_thread_stop(thread);
    assert_int_equal(slices.own.slice_ns, 100000);
    assert_int_equal(slices.own.nice, usual.nice);
    assert_int_not_equal(slices.started.slice_ns, 100000);
}

static void timers_come_in_order_whatever_is_cancelled(void **state)
{
    enum { N = 500 };
    static struct chassis_timer timers[N];
    struct chassis_timers heap = {0};
    struct chassis_prng prng;
    chassis_prng_init(&prng, 7);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++) {
            chassis_timers_arm(&heap, &timers[i], 1 + chassis_prng_below(&prng, 100));
        }
        for (int i = 0; i < N / 2; i++) {
            chassis_timers_cancel(&heap, &timers[chassis_prng_below(&prng, N)]);
        }
        uint64_t due = 0, sequence = 0;
        struct chassis_timer *t;
        while ((t = chassis_timers_first(&heap)) != NULL) {
            assert_true(t->due_ns > due || (t->due_ns == due && t->sequence > sequence));
            due = t->due_ns;
            sequence = t->sequence;
            assert_ptr_equal(chassis_timers_take_due(&heap, due), t);
        }
    }
    chassis_timers_fini(&heap);
}

static int collect(const char *name, void *data)
{
    strcat(data, name);
    strcat(data, " ");
    return 0;
}

static void files_keep_what_was_written(void **state)
{
    char dir[256], path[300], sub[300], names[200] = "";
    test_tmpdir(dir);
    struct chassis_disk *disk = chassis_disk_posix();
    struct chassis_file *file;
    snprintf(path, sizeof path, "%s/b", dir);
    assert_int_equal(disk->ops->open(disk, path, CHASSIS_DISK_READ, &file), -ENOENT);
    unsigned create = CHASSIS_DISK_WRITE | CHASSIS_DISK_CREATE | CHASSIS_DISK_EXCLUSIVE;
    assert_int_equal(disk->ops->open(disk, path, create, &file), 0);
    struct chassis_file *second;
    assert_int_equal(disk->ops->open(disk, path, create, &second), -EEXIST);
    assert_int_equal(disk->ops->write(file, 10, "hello", 5), 0);
    assert_int_equal(disk->ops->sync(file), 0);
    uint64_t size;
    assert_int_equal(disk->ops->size(file, &size), 0);
    assert_int_equal(size, 15);
    char got[20];
    size_t n;
    assert_int_equal(disk->ops->read(file, 10, got, sizeof got, &n), 0);
    assert_int_equal(n, 5);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(disk->ops->truncate(file, 12), 0);
    disk->ops->close(file);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 12);

    snprintf(sub, sizeof sub, "%s/sub", dir);
    assert_int_equal(disk->ops->mkdir(disk, sub), 0);
    assert_int_equal(disk->ops->mkdir(disk, sub), 0);
    snprintf(sub, sizeof sub, "%s/a", dir);
    assert_int_equal(disk->ops->rename(disk, path, sub), 0);
    assert_int_equal(chassis_disk_replace_file(disk, path, chassis_view_str("x"), NULL), 0);
    assert_int_equal(disk->ops->dir_sync(disk, dir), 0);
    assert_int_equal(disk->ops->list(disk, dir, collect, names), 0);
    assert_string_equal(names, "a b ");
    assert_int_equal(disk->ops->unlink(disk, sub), 0);
    uint64_t space;
    assert_int_equal(disk->ops->space(disk, dir, &space), 0);
    assert_true(space > 0);
    assert_int_equal(disk->ops->lock(disk, dir, &file), 0);
    assert_int_equal(disk->ops->lock(disk, dir, &second), -EBUSY);
    disk->ops->close(file);
    assert_int_equal(disk->ops->lock(disk, dir, &second), 0);
    disk->ops->close(second);
    test_rmtree(dir);
}

static void replace(void *data)
{
    struct chassis_disk *disk = chassis_disk_posix();
    const char *path = data;
    struct chassis_buf was = {0}, is = {0};
    bool armed = chassis_fault_armed;
    chassis_fault_armed = false;
    assert_int_equal(chassis_disk_replace_file(disk, path, chassis_view_str("old"), NULL), 0);
    chassis_fault_armed = armed;
    struct chassis_error err = {0};
    int rc = chassis_disk_replace_file(disk, path, chassis_view_str("new"), &err);
    assert_true(rc == 0 || strstr(err.text, path) != NULL);
    chassis_fault_armed = false;
    assert_int_equal(chassis_disk_read_file(disk, path, 100, &is, NULL), 0);
    bool late = strcmp(chassis_fault_fired_at(), "disk.dir_sync") == 0;
    assert_string_equal((char *)is.data, rc == 0 || late ? "new" : "old");
    chassis_buf_fini(&was);
    chassis_buf_fini(&is);
}

static void a_failed_replace_leaves_the_old_file(void **state)
{
    char dir[256], path[300];
    test_tmpdir(dir);
    snprintf(path, sizeof path, "%s/value", dir);
    assert_int_equal(test_each_fault("disk.", replace, path), 6);
    struct chassis_buf data = {0};
    struct chassis_error err = {0};
    assert_int_equal(chassis_disk_read_file(chassis_disk_posix(), path, 2, &data, &err),
                     CHASSIS_TOO_LARGE);
    assert_non_null(strstr(err.text, "at most 2"));
    test_rmtree(dir);
}

static void the_boot_id_is_a_uuid(void **state)
{
    char a[37], b[37];
    assert_int_equal(chassis_os_boot_id(a), 0);
    assert_int_equal(chassis_os_boot_id(b), 0);
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), 36);
    assert_true(chassis_wall_ns(chassis_clock_posix()) > 1700000000000000000LL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_of_many_threads_run_in_the_order_each_posted_them),
        cmocka_unit_test(stop_runs_what_is_queued),
        cmocka_unit_test(a_turn_runs_tasks_then_the_deferred_and_timers_when_due),
        cmocka_unit_test(a_full_pool_refuses_and_a_permit_never_is),
        cmocka_unit_test(a_thread_that_cannot_start_is_an_error_and_leaves_nothing),
        cmocka_unit_test(a_prompt_thread_has_a_short_slice_and_what_it_starts_has_not),
        cmocka_unit_test(timers_come_in_order_whatever_is_cancelled),
        cmocka_unit_test(files_keep_what_was_written),
        cmocka_unit_test(a_failed_replace_leaves_the_old_file),
        cmocka_unit_test(the_boot_id_is_a_uuid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
