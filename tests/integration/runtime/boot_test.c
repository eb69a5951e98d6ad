/* A boot whose stages fail one after the other: what it says, how it ends, what it leaves open. Each
 * try is a process of its own, so that a sanitizer build also sees what was not freed. */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>

#include <chassis/chassis.h>
#include <examples/echo/v1/echo.chassis.h>

static char dir[256], out[300];

static void speak(struct chassis_call *call, const Examples__Echo__V1__SpeakRequest *req)
{
    chassis_call_fail(call, CHASSIS_UNIMPLEMENTED, "never called");
}

/* Runners at the bottom and at the top of the boot: both are stopped if they were started. */
static int runners;
static int start(struct chassis *c, void *data, struct chassis_error *err)
{
    runners++;
    return 0;
}
static void stop(struct chassis *c, void *data)
{
    runners--;
}

static int on_event(const struct chassis_event *event, void *data)
{
    return 0; /* nobody is there to send one */
}

static unsigned open_files(void)
{
    unsigned n = 0;
    DIR *fds = opendir("/proc/self/fd");
    while (readdir(fds) != NULL) {
        n++;
    }
    closedir(fds);
    return n;
}

static unsigned threads(void)
{
    unsigned n = 0;
    DIR *tasks = opendir("/proc/self/task");
    while (readdir(tasks) != NULL) {
        n++;
    }
    closedir(tasks);
    return n;
}

static int boot(unsigned nth)
{
    static const struct echo_handlers handlers = {.speak = speak};
    static const struct chassis_runner runner = {.start = start, .stop = stop};
    static const char *const tables[] = {"names"};
    char data[400];
    snprintf(data, sizeof data, "--service.data_directory=%s/data", dir);
    char *argv[] = {(char *)"booting",
                    data,
                    (char *)"--service.network.bind_port=0",
                    (char *)"--service.network.http_port=0",
                    (char *)"--service.network.admin_port=0",
                    (char *)"--service.entrypoint=127.0.0.1:1",
                    (char *)"--service.logging.format=json",
                    (char *)"--brokers.catalyst.url=http://127.0.0.1:1",
                    NULL};
    struct chassis *c = chassis_new("booting", 8, argv);
    chassis_with_broker(c, &chassis_broker_catalyst);
    chassis_with_subscription(c, "catalyst", "t", NULL, on_event, NULL);
    chassis_with_repository(c, &chassis_repository_lmdb, tables, 1);
    chassis_with_rpc_handler(c, echo_service(&handlers, NULL));
    chassis_with_runner(c, &runner);
    chassis_register(c, "tests", NULL, 0);
    chassis_fault_arm("runtime.stage", nth);
    int result = chassis_run(c);
    bool fired = chassis_fault_disarm();
    if (runners != 0) {
        return 71;
    }
    return fired ? result : 70;
}

/* gRPC and the first use of libraries keep threads and descriptors of their own: a second boot that
 * fails at the same stage must not leave more. */
static void child(unsigned nth)
{
    int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || chdir(dir) != 0) {
        _exit(99);
    }
    dup2(fd, 2);
    close(fd);
    int result = boot(nth);
    unsigned files = open_files(), tasks = threads();
    if (result == 1) {
        result = boot(nth);
        for (int i = 0; i < 5000 && (open_files() > files || threads() > tasks); i++) {
            poll(NULL, 0, 1); /* gRPC ends threads of its own when it likes */
        }
        bool same = open_files() <= files && threads() <= tasks;
        exit(result != 1 ? result : same ? 1 : 72); /* not _exit: leaks are looked for here */
    }
    exit(result);
}

static void read_out(char text[8192])
{
    int fd = open(out, O_RDONLY);
    ssize_t n = read(fd, text, 8191);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
}

static void each_stage_that_fails_is_named_and_leaves_nothing(void **state)
{
    static const char *const names[] = {
        "log",       "loop",  "secrets",  "tls",           "workers", "repositories",
        "consensus", "rpc",   "registry", "brokers",       "runners", "listen",
        "http",      "ports", "join",     "subscriptions", "ready",   "register"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            child(i + 1);
        }
        int status;
        char text[8192], wanted[64];
        assert_int_equal(waitpid(pid, &status, 0), pid);
        read_out(text);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 1) {
            fail_msg("stage %s: status %x, output:\n%s", names[i], (unsigned)status, text);
        }
        snprintf(wanted, sizeof wanted, "\"%s: fault injected\"", names[i]);
        if (strstr(text, wanted) == NULL || strstr(text, "cannot start") == NULL) {
            fail_msg("stage %s is not named in:\n%s", names[i], text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_stage_that_fails_is_named_and_leaves_nothing),
    };
    test_tmpdir(dir);
    snprintf(out, sizeof out, "%s/out", dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_rmtree(dir);
    return failed;
}
