/* An idle loop may be run by whoever has something for it. */
#include "test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"

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

struct step {
    struct chassis_task task, deferred, again;
    struct chassis_timer timer;
    struct chassis_executor *ex;
    uint64_t delay_ns; /* 0 = no timer, but a task of the next turn */
    pthread_t on;
    unsigned n_tasks, n_deferred;
    bool current;
    atomic_uint n_timers, n_again;
};
static void step_timer(struct chassis_timer *timer)
{
    atomic_fetch_add(&chassis_container_of(timer, struct step, timer)->n_timers, 1);
}
static void step_again(struct chassis_task *task)
{
    atomic_fetch_add(&chassis_container_of(task, struct step, again)->n_again, 1);
}
static void step_deferred(struct chassis_task *task)
{
    struct step *s = chassis_container_of(task, struct step, deferred);
    s->n_deferred++;
    if (s->delay_ns == 0) {
        chassis_dispatch(s->ex, &s->again); /* the loop is not idle now: a later turn */
        assert_int_equal(atomic_load(&s->n_again), 0);
    }
}
static void step_task(struct chassis_task *task)
{
    struct step *s = chassis_container_of(task, struct step, task);
    s->on = pthread_self();
    s->current = chassis_is_current(s->ex);
    s->n_tasks++;
    chassis_defer(s->ex, &s->deferred);
    if (s->delay_ns != 0) {
        chassis_post_after(s->ex, &s->timer, s->delay_ns);
    }
}
static int nothing(void *data)
{
    return 0;
}

/* Until it ran on this thread: the loop may have something to do just then. */
static void dispatch_here(struct chassis_loop *loop, struct step *s, uint64_t delay_ns)
{
    bool here = false;
    while (!here) {
        chassis_loop_call(loop, nothing, NULL); /* its thread has begun */
        poll(NULL, 0, 1);
        *s = (struct step){.task.run = step_task,
                           .deferred.run = step_deferred,
                           .again.run = step_again,
                           .timer.run = step_timer,
                           .ex = chassis_loop_executor(loop),
                           .delay_ns = delay_ns};
        chassis_dispatch(s->ex, &s->task);
        here = s->n_tasks == 1 && s->n_deferred == 1 && pthread_equal(s->on, pthread_self());
        test_wait_until(atomic_load(&s->n_again) == (delay_ns == 0));
        test_wait_until(atomic_load(&s->n_timers) == (delay_ns != 0));
        chassis_loop_call(loop, nothing, NULL); /* nothing of it is under way */
        assert_int_equal(s->n_tasks, 1);
        assert_int_equal(s->n_deferred, 1);
        assert_true(s->current);
    }
    assert_false(chassis_is_current(s->ex));
}

static void an_idle_loops_turn_runs_on_the_thread_that_has_the_task(void **state)
{
    struct step s;
    dispatch_here(*state, &s, 0);
}

/* The loop's thread sleeps for as long as it knew to when the timer was not there yet. */
static void a_timer_that_is_set_elsewhere_wakes_the_loops_thread(void **state)
{
    struct step s;
    dispatch_here(*state, &s, 5 * CHASSIS_NS_PER_MS);
}

struct plug {
    struct chassis_task task;
    atomic_bool in, out;
};
static void run_plug(struct chassis_task *task)
{
    struct plug *plug = chassis_container_of(task, struct plug, task);
    atomic_store(&plug->in, true);
    test_wait_until(atomic_load(&plug->out));
}
struct letter {
    struct chassis_task task;
    char *text, letter;
};
static void run_letter(struct chassis_task *task)
{
    struct letter *l = chassis_container_of(task, struct letter, task);
    l->text[strlen(l->text)] = l->letter;
}
static void a_busy_loop_runs_what_was_dispatched_in_its_turn(void **state)
{
    struct chassis_executor *ex = chassis_loop_executor(*state);
    struct plug plug = {.task.run = run_plug};
    char text[8] = "";
    struct letter letters[3];
    for (unsigned i = 0; i < 3; i++) {
        letters[i] = (struct letter){{.run = run_letter}, text, (char)('a' + i)};
    }
    chassis_post(ex, &plug.task);
    test_wait_until(atomic_load(&plug.in));
    chassis_post(ex, &letters[0].task);
    chassis_dispatch(ex, &letters[1].task);
    chassis_post(ex, &letters[2].task);
    assert_string_equal(text, "");
    atomic_store(&plug.out, true);
    chassis_loop_call(*state, nothing, NULL);
    assert_string_equal(text, "abc");
}

enum { THREADS = 4, EACH = 5000 };
struct shared {
    struct chassis_executor *ex;
    unsigned count; /* no lock: one turn at a time */
    unsigned next[THREADS];
    bool in_order;
};
struct numbered {
    struct chassis_task task;
    struct shared *shared;
    unsigned thread, number;
};
static void run_numbered(struct chassis_task *task)
{
    struct numbered *n = chassis_container_of(task, struct numbered, task);
    struct shared *s = n->shared;
    s->count++;
    s->in_order = s->in_order && s->next[n->thread]++ == n->number;
}
static void *pass_many(void *data)
{
    struct numbered *tasks = data;
    for (unsigned i = 0; i < EACH; i++) {
        (i % 3 == 0 ? chassis_post : chassis_dispatch)(tasks[i].shared->ex, &tasks[i].task);
    }
    return NULL;
}
static void turns_of_many_threads_come_one_at_a_time_and_in_order(void **state)
{
    struct shared shared = {.ex = chassis_loop_executor(*state), .in_order = true};
    struct numbered *tasks = calloc(THREADS * EACH, sizeof *tasks);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS * EACH; i++) {
        tasks[i] = (struct numbered){{.run = run_numbered}, &shared, i / EACH, i % EACH};
    }
    for (unsigned t = 0; t < THREADS; t++) {
        pthread_create(&threads[t], NULL, pass_many, &tasks[t * EACH]);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
    }
    chassis_loop_call(*state, nothing, NULL);
    assert_int_equal(shared.count, THREADS * EACH);
    assert_true(shared.in_order);
    free(tasks);
}

struct chain {
    struct chassis_task task;
    struct chassis_executor *ex;
    atomic_uint n;
};
enum { LINKS = 1000 };
static void run_link(struct chassis_task *task)
{
    struct chain *chain = chassis_container_of(task, struct chain, task);
    if (atomic_fetch_add(&chain->n, 1) + 1 < LINKS) {
        chassis_defer(chain->ex, &chain->task);
    }
}
/* A turn ends; what its end deferred once more is the sleeping thread's. */
static void what_a_turn_elsewhere_leaves_over_is_run_by_the_loops_thread(void **state)
{
    static struct chain chain; /* a loop that is stopped runs what is left */
    bool left = false;
    while (!left) {
        chain = (struct chain){.task.run = run_link, .ex = chassis_loop_executor(*state)};
        chassis_loop_call(*state, nothing, NULL);
        poll(NULL, 0, 1);
        chassis_dispatch(chain.ex, &chain.task);
        unsigned n = atomic_load(&chain.n);
        left = n > 1 && n < LINKS;
        test_wait_until(atomic_load(&chain.n) == LINKS);
        chassis_loop_call(*state, nothing, NULL);
    }
}

struct dial {
    struct chassis_task task;
    struct chassis_loop *loop;
    char address[32];
    pthread_t on;
    int status;
    atomic_bool begun, answered;
};
static void on_answer(int status, void *data)
{
    struct dial *dial = data;
    dial->status = status;
    atomic_store(&dial->answered, true);
}
static void run_dial(struct chassis_task *task)
{
    struct dial *dial = chassis_container_of(task, struct dial, task);
    dial->on = pthread_self();
    assert_int_equal(
        chassis_loop_probe_tcp(dial->loop, dial->address, 20000, on_answer, dial, NULL), 0);
    atomic_store(&dial->begun, true);
}
/* The sleeping thread does not watch a connection it has not heard of. */
static void io_that_begins_elsewhere_wakes_the_loops_thread(void **state)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    bool here = false;
    while (!here) {
        struct dial dial = {.task.run = run_dial, .loop = *state, .status = 1};
        snprintf(dial.address, sizeof dial.address, "127.0.0.1:%d", ntohs(addr.sin_port));
        chassis_loop_call(*state, nothing, NULL);
        poll(NULL, 0, 1);
        chassis_dispatch(chassis_loop_executor(*state), &dial.task);
        here = atomic_load(&dial.begun) && pthread_equal(dial.on, pthread_self());
        test_wait_until(atomic_load(&dial.answered));
        assert_int_equal(dial.status, 0);
        chassis_loop_call(*state, nothing, NULL);
    }
    close(fd);
}

struct last {
    struct chassis_task task;
    struct chassis_executor *ex;
    atomic_bool ran;
};
static void run_last(struct chassis_task *task)
{
    atomic_store(&chassis_container_of(task, struct last, task)->ran, true);
}
static void *dispatch_last(void *data)
{
    struct last *last = data;
    chassis_dispatch(last->ex, &last->task);
    return NULL;
}
/* Who waited for the task stops the loop at once, while its caller is still about to leave. */
static void a_dispatched_task_may_lead_to_the_loops_end(void **state)
{
    for (unsigned i = 0; i < 300; i++) {
        struct chassis_loop *loop = NULL;
        pthread_t thread;
        assert_int_equal(chassis_loop_start("test-last", &loop, NULL), 0);
        struct last last = {.task.run = run_last, .ex = chassis_loop_executor(loop)};
        pthread_create(&thread, NULL, dispatch_last, &last);
        while (!atomic_load(&last.ran)) {
            sched_yield();
        }
        chassis_loop_stop(loop);
        pthread_join(thread, NULL);
    }
}

struct ball {
    struct chassis_task task;
    struct chassis_executor *sides[2];
    unsigned *hits; /* of each side: no lock, one turn at a time */
    unsigned n;
    atomic_bool out;
};
enum { BALLS = 8, HITS = 5000 };
static void run_ball(struct chassis_task *task)
{
    struct ball *ball = chassis_container_of(task, struct ball, task);
    unsigned side = ball->n++ % 2;
    assert_true(chassis_is_current(ball->sides[side]));
    ball->hits[side]++;
    if (ball->n == HITS) {
        atomic_store(&ball->out, true);
    } else {
        chassis_dispatch(ball->sides[1 - side], &ball->task);
    }
}
static void two_loops_dispatch_to_one_another_and_never_wait(void **state)
{
    struct chassis_loop *other = NULL;
    struct ball balls[BALLS];
    unsigned hits[2] = {0};
    assert_int_equal(chassis_loop_start("test-other", &other, NULL), 0);
    for (unsigned i = 0; i < BALLS; i++) {
        balls[i] = (struct ball){
            .task.run = run_ball,
            .sides = {chassis_loop_executor(*state), chassis_loop_executor(other)},
            .hits = hits,
            .n = i % 2,
        };
        (i % 4 < 2 ? chassis_post : chassis_dispatch)(balls[i].sides[i % 2], &balls[i].task);
    }
    for (unsigned i = 0; i < BALLS; i++) {
        test_wait_until(atomic_load(&balls[i].out));
    }
    chassis_loop_stop(other);
    chassis_loop_call(*state, nothing, NULL);
    assert_int_equal(hits[0] + hits[1], BALLS * HITS - BALLS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_idle_loops_turn_runs_on_the_thread_that_has_the_task,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_that_is_set_elsewhere_wakes_the_loops_thread, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_busy_loop_runs_what_was_dispatched_in_its_turn, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(turns_of_many_threads_come_one_at_a_time_and_in_order,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_a_turn_elsewhere_leaves_over_is_run_by_the_loops_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(io_that_begins_elsewhere_wakes_the_loops_thread, setup,
                                        teardown),
        cmocka_unit_test(a_dispatched_task_may_lead_to_the_loops_end),
        cmocka_unit_test_setup_teardown(two_loops_dispatch_to_one_another_and_never_wait, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
