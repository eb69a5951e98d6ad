/* The echo example as a real process. */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <examples/echo/v1/echo.chassis.h>

#include "../http/raw.h"
#include "runtime/life.h"

static char dir[256], port_file[300];
static pid_t pid;
static unsigned rpc_port, http_port, admin_port;

static bool read_ports(void)
{
    FILE *f = fopen(port_file, "r");
    if (f == NULL) {
        return false;
    }
    int n = fscanf(f, "{\"rpc\":%u,\"http\":%u,\"admin\":%u", &rpc_port, &http_port, &admin_port);
    fclose(f);
    return n == 3;
}

static pid_t spawn(const char *extra)
{
    char program[512], file_flag[400];
    snprintf(program, sizeof program, "%s/echo", getenv("DRAFT_BIN"));
    snprintf(file_flag, sizeof file_flag, "--service.network.port_file=%s", port_file);
    pid_t child = fork();
    if (child == 0) {
        if (chdir(dir) != 0) {
            _exit(99);
        }
        dup2(open("out", O_WRONLY | O_CREAT | O_APPEND, 0600), 1);
        dup2(1, 2);
        execl(program, "echo", "--service.network.bind_port=0", file_flag, extra, (char *)NULL);
        _exit(98);
    }
    return child;
}
static int wait_exit(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int setup(void **state)
{
    test_tmpdir(dir);
    snprintf(port_file, sizeof port_file, "%s/ports.json", dir);
    pid = 0;
    return 0;
}
static int teardown(void **state)
{
    if (pid != 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    test_rmtree(dir);
    return 0;
}

static void echo_answers_by_grpc_and_by_json_and_ends_when_told(void **state)
{
    pid = spawn(NULL);
    test_wait_until(read_ports());
    char target[64];
    snprintf(target, sizeof target, "127.0.0.1:%u", rpc_port);
    struct chassis_client_options options = {.target = target};
    struct chassis_client *client;
    struct chassis_error err = {0};
    assert_int_equal(chassis_client_new(&options, &client, &err), 0);
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    Examples__Echo__V1__SpeakRequest req = EXAMPLES__ECHO__V1__SPEAK_REQUEST__INIT;
    Examples__Echo__V1__SpeakResponse *res = NULL;
    char text[] = "by gRPC";
    req.input = text;
    assert_int_equal(echo_speak_sync(client, &req, NULL, &arena, &res, &err), 0);
    assert_string_equal(res->output, "by gRPC");
    chassis_arena_fini(&arena);
    chassis_client_free(client);

    struct raw_answer a;
    raw_call((uint16_t)http_port, "POST", "/examples.echo.v1.EchoService/Speak",
             "Content-Type: application/json\r\n", "{\"input\":\"by JSON\"}", &a);
    assert_string_equal((char *)a.body.data, "{\"output\":\"by JSON\"}");
    raw_free(&a);
    raw_call((uint16_t)http_port, "GET", "/readyz", "", NULL, &a);
    assert_int_equal(a.status, 200);
    raw_free(&a);
    raw_call((uint16_t)admin_port, "GET", "/config?format=json", "", NULL, &a);
    assert_non_null(strstr((char *)a.body.data, "service.network.bind_port"));
    raw_free(&a);
    kill(pid, SIGTERM);
    assert_int_equal(wait_exit(pid), 0);
    pid = 0;
}

static void a_request_under_way_is_answered_before_the_process_ends(void **state)
{
    pid = spawn(NULL);
    test_wait_until(read_ports());
    int fd = raw_connect((uint16_t)http_port);
    const char head[] = "POST /examples.echo.v1.EchoService/Speak HTTP/1.1\r\nHost: localhost\r\n"
                        "Content-Type: application/json\r\nContent-Length: 16\r\n"
                        "Expect: 100-continue\r\n\r\n";
    char line[64] = "";
    assert_int_equal(write(fd, head, sizeof head - 1), (ssize_t)sizeof head - 1);
    assert_true(read(fd, line, sizeof line - 1) > 0); /* 100: the request was accepted */
    assert_non_null(strstr(line, "100"));
    kill(pid, SIGTERM);
    struct raw_answer a;
    assert_int_equal(write(fd, "{\"input\":\"late\"}", 16), 16);
    raw_read(fd, &a);
    /* Read before or after the drain began: an answer in any case, not a torn connection. */
    assert_true(a.status == 200 || a.status == 503);
    raw_free(&a);
    assert_int_equal(wait_exit(pid), 0);
    pid = 0;
}

static void a_wrong_configuration_ends_with_2_before_anything_is_opened(void **state)
{
    pid_t child = spawn("--service.network.bind_prot=1");
    assert_int_equal(wait_exit(child), 2);
    assert_int_equal(access(port_file, F_OK), -1);
}

static void questions_are_answered_without_serving(void **state)
{
    assert_int_equal(wait_exit(spawn("--help")), 0);
    assert_int_equal(wait_exit(spawn("--version")), 0);
    assert_int_equal(wait_exit(spawn("--check-config")), 0);
    assert_int_equal(wait_exit(spawn("--print-config")), 0);
    assert_int_equal(access(port_file, F_OK), -1);
}

static void a_life_goes_forward_only(void **state)
{
    for (int from = LIFE_BOOT; from <= LIFE_DONE; from++) {
        for (int to = LIFE_BOOT; to <= from; to++) {
            assert_false(life_may_move((enum life_state)from, (enum life_state)to));
        }
    }
    assert_true(life_may_move(LIFE_BOOT, LIFE_CLOSING));
    assert_false(life_may_move(LIFE_READY, LIFE_CLOSING));
}

#define TEST_OF(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(echo_answers_by_grpc_and_by_json_and_ends_when_told),
        TEST_OF(a_request_under_way_is_answered_before_the_process_ends),
        TEST_OF(a_wrong_configuration_ends_with_2_before_anything_is_opened),
        TEST_OF(questions_are_answered_without_serving),
        cmocka_unit_test(a_life_goes_forward_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
