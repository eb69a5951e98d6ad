/* Answers that the http thread sees before it is told: it is still on its way from starting the call.
 * Whoever answered is held where the end can be seen, until the request is over and gone. */
#include "test.h"

#include <semaphore.h>

#include "http/internal.h"
#include "raw.h"

int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

static struct {
    struct chassis_executor *answerer;
    struct chassis_server *server;
    struct chassis_http *http;
    uint16_t port;
    struct chassis_task task;
    struct chassis_call *call;
    sem_t ended, go_on, done;
} world;
static _Thread_local struct http_exchange *answered; /* by this thread, not yet held */

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    struct http_exchange *x = answered;
    bool end = x != NULL && mutex == &x->mutex && x->ended;
    int rc = __real_pthread_mutex_unlock(mutex);
    if (end) {
        answered = NULL;
        sem_post(&world.ended);
        sem_wait(&world.go_on);
    }
    return rc;
}

static void answer(struct chassis_task *task)
{
    answered = chassis_call_transport(world.call);
    chassis_http_answer(world.call, 507, "text/plain", chassis_view_str("no"));
    sem_post(&world.done);
}

/* On the http thread. */
static void refuse_at_once(struct chassis_call *call, const struct chassis_http_request *request)
{
    world.call = call;
    world.task.run = answer;
    chassis_post(world.answerer, &world.task);
    sem_wait(&world.ended);
}

static void nothing(struct chassis_call *call, const struct chassis_http_request *request)
{
    chassis_call_finish(call);
}

static const struct chassis_http_route routes[] = {
    {.method = "POST", .path = "/refuse", .handle = refuse_at_once, .never_blocks = true},
    {.method = "GET", .path = "/nothing", .handle = nothing, .never_blocks = true},
};

static int setup(void **state)
{
    struct chassis_error err = {0};
    memset(&world, 0, sizeof world);
    sem_init(&world.ended, 0, 0);
    sem_init(&world.go_on, 0, 0);
    sem_init(&world.done, 0, 0);
    assert_int_equal(chassis_os_thread_start("answerer", &world.answerer), 0);
    struct chassis_server_options server = {0};
    assert_int_equal(chassis_server_new(&server, &world.server, &err), 0);
    assert_int_equal(chassis_server_start(world.server, &err), 0);
    struct chassis_http_options options = {.address = "127.0.0.1:0",
                                           .server = world.server,
                                           .routes = routes,
                                           .n_routes = sizeof routes / sizeof routes[0],
                                           .name = "test",
                                           .version = "1"};
    assert_int_equal(chassis_http_start(&options, &world.http, &err), 0);
    world.port = chassis_http_port(world.http);
    return 0;
}

static int teardown(void **state)
{
    chassis_http_quiesce(world.http, 0);
    chassis_server_drain(world.server, 2000);
    chassis_http_stop(world.http);
    chassis_server_free(world.server);
    chassis_os_thread_stop(world.answerer);
    return 0;
}

static void expect(const char *method, const char *path, int status)
{
    struct raw_answer a;
    raw_call(world.port, method, path, "", NULL, &a);
    assert_int_equal(a.status, status);
    raw_free(&a);
}

static void who_answers_early_may_be_slow(void **state)
{
    for (unsigned i = 0; i < 20; i++) {
        expect("POST", "/refuse", 507); /* answered, and who did so is still at it */
        for (unsigned turn = 0; turn < 3; turn++) {
            expect("GET", "/nothing", 204);
        }
        sem_post(&world.go_on);
        sem_wait(&world.done);
        expect("GET", "/nothing", 204);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_answers_early_may_be_slow, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
