#include "test.h"

#include <errno.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "loop/loop.h"

/* A latch: tests wait for what happens on the loop. */
struct latch {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    unsigned count;
};
static void latch_init(struct latch *l)
{
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->cond, NULL);
    l->count = 0;
}
static void latch_hit(struct latch *l)
{
    pthread_mutex_lock(&l->mutex);
    l->count++;
    pthread_cond_broadcast(&l->cond);
    pthread_mutex_unlock(&l->mutex);
}
static void latch_wait(struct latch *l, unsigned count)
{
    pthread_mutex_lock(&l->mutex);
    while (l->count < count) {
        pthread_cond_wait(&l->cond, &l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
}

static int setup(void **state)
{
    struct chassis_loop *loop = NULL;
    assert_int_equal(chassis_loop_start("test-loop", &loop, NULL), 0);
    *state = loop;
    return 0;
}
static int teardown(void **state)
{
    chassis_loop_stop(*state);
    return 0;
}

struct numbered {
    struct chassis_task task;
    unsigned number, *next;
    bool *in_order;
    struct latch *latch;
};
static void run_numbered(struct chassis_task *task)
{
    struct numbered *n = chassis_container_of(task, struct numbered, task);
    *n->in_order = *n->in_order && n->number == (*n->next)++;
    latch_hit(n->latch);
}
static void tasks_run_in_the_order_posted(void **state)
{
    struct chassis_executor *ex = chassis_loop_executor(*state);
    enum { N = 10000 };
    struct latch latch;
    latch_init(&latch);
    struct numbered *tasks = calloc(N, sizeof *tasks);
    unsigned next = 0;
    bool in_order = true;
    for (unsigned i = 0; i < N; i++) {
        tasks[i] = (struct numbered){{.run = run_numbered}, i, &next, &in_order, &latch};
        chassis_post(ex, &tasks[i].task);
    }
    latch_wait(&latch, N);
    assert_true(in_order);
    free(tasks);
}

struct counter {
    struct chassis_task task;
    unsigned *count;
};
static void run_counter(struct chassis_task *task)
{
    (*chassis_container_of(task, struct counter, task)->count)++;
}
struct poster {
    struct chassis_executor *ex;
    struct counter tasks[500];
};
static void *post_many(void *data)
{
    struct poster *p = data;
    for (unsigned i = 0; i < 500; i++) {
        chassis_post(p->ex, &p->tasks[i].task);
    }
    return NULL;
}
static void nothing_posted_by_many_threads_is_lost_when_the_loop_stops(void **state)
{
    struct chassis_loop *loop = NULL;
    assert_int_equal(chassis_loop_start("many", &loop, NULL), 0);
    unsigned count = 0;
    pthread_t threads[4];
    struct poster posters[4];
    for (unsigned t = 0; t < 4; t++) {
        posters[t].ex = chassis_loop_executor(loop);
        for (unsigned i = 0; i < 500; i++) {
            posters[t].tasks[i] = (struct counter){{.run = run_counter}, &count};
        }
        pthread_create(&threads[t], NULL, post_many, &posters[t]);
    }
    for (unsigned t = 0; t < 4; t++) {
        pthread_join(threads[t], NULL);
    }
    chassis_loop_stop(loop);
    assert_int_equal(count, 2000);
}

struct turn {
    struct chassis_task first, second, batch;
    struct chassis_executor *ex;
    char trace[8];
    struct latch latch;
};
static void mark(struct turn *t, char c)
{
    t->trace[strlen(t->trace)] = c;
}
static void turn_batch(struct chassis_task *task)
{
    struct turn *t = chassis_container_of(task, struct turn, batch);
    mark(t, 'B');
    latch_hit(&t->latch);
}
static void turn_second(struct chassis_task *task)
{
    struct turn *t = chassis_container_of(task, struct turn, second);
    mark(t, '2');
    chassis_defer(t->ex, &t->batch);
}
static void turn_first(struct chassis_task *task)
{
    struct turn *t = chassis_container_of(task, struct turn, first);
    mark(t, '1');
    chassis_defer(t->ex, &t->batch);
}
static int post_both(void *data)
{
    struct turn *t = data;
    chassis_post(t->ex, &t->first);
    chassis_post(t->ex, &t->second);
    return 0;
}
static void deferred_work_runs_once_after_everything_queued_in_the_turn(void **state)
{
    struct turn t = {.first.run = turn_first, .second.run = turn_second, .batch.run = turn_batch};
    t.ex = chassis_loop_executor(*state);
    latch_init(&t.latch);
    chassis_loop_call(*state, post_both, &t); /* from the loop: both stand in one turn's inbox */
    latch_wait(&t.latch, 1);
    assert_string_equal(t.trace, "12B");
}

struct ticking {
    struct chassis_timer timers[3];
    struct chassis_executor *ex;
    uint64_t begun_ns, rang_ns[3];
    char order[4];
    struct latch latch;
};
static struct ticking *ticking;
static void ring(struct chassis_timer *timer)
{
    size_t i = (size_t)(timer - ticking->timers);
    ticking->rang_ns[i] = chassis_now_ns(ticking->ex);
    ticking->order[strlen(ticking->order)] = (char)('0' + i);
    latch_hit(&ticking->latch);
}
static int arm_timers(void *data)
{
    struct ticking *t = data;
    t->begun_ns = chassis_now_ns(t->ex);
    chassis_post_after(t->ex, &t->timers[0], 30 * CHASSIS_NS_PER_MS);
    chassis_post_after(t->ex, &t->timers[1], 3 * CHASSIS_NS_PER_MS);
    chassis_post_after(t->ex, &t->timers[2], 500);
    chassis_post_after(t->ex, &t->timers[2], 12 * CHASSIS_NS_PER_MS); /* re-armed */
    return 0;
}
static void timers_ring_in_order_and_never_early(void **state)
{
    struct ticking t = {.ex = chassis_loop_executor(*state)};
    ticking = &t;
    latch_init(&t.latch);
    for (int i = 0; i < 3; i++) {
        t.timers[i].run = ring;
    }
    chassis_loop_call(*state, arm_timers, &t);
    latch_wait(&t.latch, 3);
    assert_string_equal(t.order, "120");
    assert_true(t.rang_ns[0] - t.begun_ns >= 30 * CHASSIS_NS_PER_MS);
    assert_true(t.rang_ns[1] - t.begun_ns >= 3 * CHASSIS_NS_PER_MS);
    assert_true(t.rang_ns[2] - t.begun_ns >= 12 * CHASSIS_NS_PER_MS);
}

static int arm_and_cancel(void *data)
{
    struct ticking *t = data;
    for (int i = 0; i < 3; i++) {
        chassis_post_after(t->ex, &t->timers[i], (uint64_t)(i + 1) * CHASSIS_NS_PER_MS);
    }
    chassis_cancel(t->ex, &t->timers[0]);
    chassis_cancel(t->ex, &t->timers[2]);
    chassis_cancel(t->ex, &t->timers[2]); /* not armed: left alone */
    chassis_post_after(t->ex, &t->timers[2], 10 * CHASSIS_NS_PER_MS);
    return 0;
}
static void a_cancelled_timer_never_rings(void **state)
{
    struct ticking t = {.ex = chassis_loop_executor(*state)};
    ticking = &t;
    latch_init(&t.latch);
    for (int i = 0; i < 3; i++) {
        t.timers[i].run = ring;
    }
    chassis_loop_call(*state, arm_and_cancel, &t);
    latch_wait(&t.latch, 2);
    assert_string_equal(t.order, "12");
}

static void on_usr1(int signal, void *data)
{
    latch_hit(data);
}
static void a_signal_reaches_its_callback(void **state)
{
    struct latch latch;
    latch_init(&latch);
    assert_int_equal(chassis_loop_on_signal(*state, SIGUSR1, on_usr1, &latch, NULL), 0);
    kill(getpid(), SIGUSR1);
    latch_wait(&latch, 1);
    kill(getpid(), SIGUSR1);
    latch_wait(&latch, 2);
}

struct run {
    struct chassis_loop *loop;
    const char *const *argv;
    const char *const *environment;
    struct chassis_child *child;
    struct chassis_buf out, err;
    unsigned n_lines;
    int exit_code, signal;
    struct chassis_error error;
    bool kill_at_line;
    struct latch latch;
};
static void on_line(struct chassis_child *child, enum chassis_child_stream stream,
                    struct chassis_view line, void *data)
{
    struct run *r = data;
    struct chassis_buf *to = stream == CHASSIS_CHILD_STDOUT ? &r->out : &r->err;
    chassis_buf_append_view(to, line);
    chassis_buf_append_byte(to, '|');
    r->n_lines++;
    if (r->kill_at_line) {
        chassis_child_kill(child, SIGTERM);
    }
}
static void on_exited(struct chassis_child *child, int exit_code, int signal, void *data)
{
    struct run *r = data;
    r->exit_code = exit_code;
    r->signal = signal;
    latch_hit(&r->latch);
}
static int spawn_it(void *data)
{
    struct run *r = data;
    struct chassis_child_options options = {
        .argv = r->argv,
        .environment = r->environment,
        .own_group = true,
        .line = on_line,
        .exited = on_exited,
        .data = r,
    };
    return chassis_child_spawn(r->loop, &options, &r->child, &r->error);
}
static void run_fini(struct run *r)
{
    chassis_buf_fini(&r->out);
    chassis_buf_fini(&r->err);
}
static void a_childs_output_comes_in_lines_and_then_its_exit_code(void **state)
{
    const char *const argv[] = {"sh", "-c", "echo one; echo; echo $X >&2; printf tail; exit 7",
                                NULL};
    const char *const environment[] = {"X=from-env", "PATH=/bin:/usr/bin", NULL};
    struct run r = {.loop = *state, .argv = argv, .environment = environment};
    latch_init(&r.latch);
    assert_int_equal(chassis_loop_call(*state, spawn_it, &r), 0);
    latch_wait(&r.latch, 1);
    assert_int_equal(r.exit_code, 7);
    assert_int_equal(r.signal, 0);
    assert_string_equal((char *)r.out.data, "one||tail|");
    assert_string_equal((char *)r.err.data, "from-env|");
    run_fini(&r);
}
static void a_very_long_line_comes_in_pieces_and_nothing_is_lost(void **state)
{
    const char *const argv[] = {"sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x; echo; echo end",
                                NULL};
    struct run r = {.loop = *state, .argv = argv};
    latch_init(&r.latch);
    assert_int_equal(chassis_loop_call(*state, spawn_it, &r), 0);
    latch_wait(&r.latch, 1);
    size_t x = 0;
    for (size_t i = 0; i < r.out.len; i++) {
        x += r.out.data[i] == 'x';
    }
    assert_int_equal(x, 50000);
    assert_int_equal(r.n_lines, 50000 / CHASSIS_CHILD_LINE_MAX + 2);
    run_fini(&r);
}
static void a_child_can_be_signalled_with_its_whole_group(void **state)
{
    const char *const argv[] = {"sh", "-c", "sleep 1000 & echo ready; wait", NULL};
    struct run r = {.loop = *state, .argv = argv, .kill_at_line = true};
    latch_init(&r.latch);
    assert_int_equal(chassis_loop_call(*state, spawn_it, &r), 0);
    latch_wait(&r.latch, 1);
    assert_int_equal(r.signal, SIGTERM);
    run_fini(&r);
}
static void a_program_that_is_not_there_is_a_clear_error(void **state)
{
    const char *const argv[] = {"/no/such/program", NULL};
    struct run r = {.loop = *state, .argv = argv};
    assert_int_equal(chassis_loop_call(*state, spawn_it, &r), -ENOENT);
    assert_string_equal(r.error.text, "start '/no/such/program': No such file or directory");
}
static void stopping_the_loop_kills_what_still_runs(void **state)
{
    struct chassis_loop *loop = NULL;
    assert_int_equal(chassis_loop_start("stopping", &loop, NULL), 0);
    const char *const argv[] = {"sleep", "1000", NULL};
    struct run r = {.loop = loop, .argv = argv};
    latch_init(&r.latch);
    assert_int_equal(chassis_loop_call(loop, spawn_it, &r), 0);
    pid_t pid = chassis_child_pid(r.child);
    chassis_loop_stop(loop);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

struct probing {
    struct chassis_loop *loop;
    const char *address;
    uint64_t timeout_ms;
    int status;
    struct latch latch;
};
static void on_probe(int status, void *data)
{
    struct probing *p = data;
    p->status = status;
    latch_hit(&p->latch);
}
static int begin_probe(void *data)
{
    struct probing *p = data;
    return chassis_loop_probe_tcp(p->loop, p->address, p->timeout_ms, on_probe, p, NULL);
}
static int listen_somewhere(int backlog, struct sockaddr_in *ret_addr)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *ret_addr =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof *ret_addr;
    assert_int_equal(bind(fd, (struct sockaddr *)ret_addr, len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_addr, &len), 0);
    return fd;
}
static void a_probe_tells_an_open_port_from_a_closed_one(void **state)
{
    struct sockaddr_in addr;
    int fd = listen_somewhere(1, &addr);
    char address[32];
    snprintf(address, sizeof address, "localhost:%d", ntohs(addr.sin_port));
    struct probing p = {.loop = *state, .address = address, .timeout_ms = 5000, .status = 1};
    latch_init(&p.latch);
    assert_int_equal(chassis_loop_call(*state, begin_probe, &p), 0);
    latch_wait(&p.latch, 1);
    assert_int_equal(p.status, 0);
    close(fd);
    assert_int_equal(chassis_loop_call(*state, begin_probe, &p), 0);
    latch_wait(&p.latch, 2);
    assert_int_equal(p.status, -ECONNREFUSED);
    p.address = "example.org:80";
    assert_int_equal(chassis_loop_call(*state, begin_probe, &p), CHASSIS_INVALID_ARGUMENT);
}
/* The queue of the port is full, so that nobody answers; the loop has slept for longer than the
 * probe may take. */
static void a_probe_waits_its_time_also_on_a_loop_that_was_asleep(void **state)
{
    enum { ASLEEP_MS = 300, TIMEOUT_MS = 200, FULL = 4 };
    struct sockaddr_in addr;
    int fd = listen_somewhere(0, &addr), callers[FULL];
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(addr.sin_port));
    for (unsigned i = 0; i < FULL; i++) {
        callers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(callers[i], (struct sockaddr *)&addr, sizeof addr);
    }
    poll(NULL, 0, ASLEEP_MS);
    struct probing p = {.loop = *state, .address = address, .timeout_ms = TIMEOUT_MS};
    latch_init(&p.latch);
    uint64_t begin = chassis_now_ns(chassis_loop_executor(*state));
    assert_int_equal(chassis_loop_call(*state, begin_probe, &p), 0);
    latch_wait(&p.latch, 1);
    uint64_t took = chassis_now_ns(chassis_loop_executor(*state)) - begin;
    assert_int_equal(p.status, CHASSIS_DEADLINE_EXCEEDED);
    assert_true(took >= (TIMEOUT_MS - 1) * CHASSIS_NS_PER_MS); /* libuv's time is rounded down */
    for (unsigned i = 0; i < FULL; i++) {
        close(callers[i]);
    }
    close(fd);
}

static void start_and_stop(void *data)
{
    struct chassis_loop *loop = NULL;
    struct chassis_error err = {0};
    if (chassis_loop_start("faulty", &loop, &err) != 0) {
        assert_null(loop);
        assert_true(strncmp(err.text, "start event loop 'faulty': ", 27) == 0);
        return;
    }
    const char *const argv[] = {"true", NULL};
    struct run r = {.loop = loop, .argv = argv};
    latch_init(&r.latch);
    int rc = chassis_loop_call(loop, spawn_it, &r);
    if (rc == 0) {
        latch_wait(&r.latch, 1);
    } else {
        assert_int_equal(rc, -EAGAIN);
    }
    chassis_loop_stop(loop);
}
static void every_failure_on_the_way_up_is_reported_and_leaks_nothing(void **state)
{
    assert_int_equal(test_each_fault("loop.", start_and_stop, NULL), 4);
}

int main(void)
{
    /* As the runtime does: watched signals are blocked everywhere but on the loop. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tasks_run_in_the_order_posted, setup, teardown),
        cmocka_unit_test(nothing_posted_by_many_threads_is_lost_when_the_loop_stops),
        cmocka_unit_test_setup_teardown(deferred_work_runs_once_after_everything_queued_in_the_turn,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(timers_ring_in_order_and_never_early, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cancelled_timer_never_rings, setup, teardown),
        cmocka_unit_test_setup_teardown(a_signal_reaches_its_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(a_childs_output_comes_in_lines_and_then_its_exit_code,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_very_long_line_comes_in_pieces_and_nothing_is_lost, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_child_can_be_signalled_with_its_whole_group, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_program_that_is_not_there_is_a_clear_error, setup,
                                        teardown),
        cmocka_unit_test(stopping_the_loop_kills_what_still_runs),
        cmocka_unit_test_setup_teardown(a_probe_waits_its_time_also_on_a_loop_that_was_asleep,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_probe_tells_an_open_port_from_a_closed_one, setup,
                                        teardown),
        cmocka_unit_test(every_failure_on_the_way_up_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
