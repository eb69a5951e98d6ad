/* The way of a message between two nodes: one bidi stream as the peer transport uses it (raw bytes,
 * a handler that never blocks, callbacks on a loop thread), two processes on loopback.
 *
 *   bench_hop ping BYTES SECONDS    ping-pong: half of a round trip is one hop
 *   bench_hop push BYTES SECONDS    frames one way as fast as flow control lets them through
 *
 * Prints one JSON object; CPU is that of both processes.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chassis/call.h>
#include <chassis/client.h>

#include "os/os.h"
#include "rpc/server.h"

#define SERVICE "draft.bench.v1.Hop"

/* ---- the server: Ping answers every message, Push the empty one that ends a run ---- */

static void ping_message(const void *handlers, struct chassis_call *call, const void *request)
{
    chassis_call_send_bytes(call, *(const struct chassis_view *)request);
}
static void push_message(const void *handlers, struct chassis_call *call, const void *request)
{
    if (((const struct chassis_view *)request)->len == 0) {
        chassis_call_send_bytes(call, chassis_view_str("all"));
    }
}
static void on_end(const void *handlers, struct chassis_call *call, const void *request)
{
    chassis_call_finish(call);
}

static const struct chassis_method methods[] = {
    {.name = "Ping", .path = "/" SERVICE "/Ping", .service = SERVICE, .kind = CHASSIS_BIDI_STREAM},
    {.name = "Push", .path = "/" SERVICE "/Push", .service = SERVICE, .kind = CHASSIS_BIDI_STREAM},
};
static const struct chassis_method_binding bindings[] = {
    {.method = &methods[0], .message = ping_message, .end = on_end},
    {.method = &methods[1], .message = push_message, .end = on_end},
};
static const struct chassis_service_type type = {
    .name = SERVICE, .methods = bindings, .n_methods = 2};
static const struct chassis_method_options method_options[] = {
    {.method = "*", .never_blocks = true}, {.method = NULL}};

static void die(const char *what, const struct chassis_error *err)
{
    fprintf(stderr, "bench_hop: %s: %s\n", what, chassis_error_text(err));
    exit(1);
}

static void serve(int port_pipe)
{
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, NULL);
    struct chassis_error err = {0};
    const struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    const struct chassis_server_options options = {.listeners = &listener, .n_listeners = 1};
    struct chassis_service service = {.type = &type, .options = method_options};
    struct chassis_server *server = NULL;
    if (chassis_server_new(&options, &server, &err) != 0 ||
        chassis_server_add(server, service, &err) != 0 || chassis_server_start(server, &err) != 0) {
        die("server", &err);
    }
    uint16_t port = chassis_server_port(server, 0);
    if (write(port_pipe, &port, sizeof port) != sizeof port) {
        exit(1);
    }
    int signal_number;
    sigwait(&end, &signal_number);
    chassis_server_free(server);
    exit(0);
}

/* ---- the client ---- */

struct run {
    bool push;
    size_t bytes;
    uint8_t *frame;
    uint64_t end_ns, began_ns, sent, hops;
    struct chassis_client_stream *stream;
    struct chassis_task task;
    bool ending;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool done;
    uint64_t took_ns;
};

static void run_over(struct run *run)
{
    pthread_mutex_lock(&run->lock);
    run->took_ns = chassis_os_monotonic_ns() - run->began_ns;
    run->done = true;
    pthread_cond_signal(&run->over);
    pthread_mutex_unlock(&run->lock);
}

static void push_on(struct run *run)
{
    while (!run->ending) {
        bool last = chassis_os_monotonic_ns() >= run->end_ns;
        int rc =
            chassis_stream_send_bytes(run->stream, chassis_view(run->frame, last ? 0 : run->bytes));
        if (rc != 0) {
            return; /* full: writable comes */
        }
        run->sent += !last;
        run->ending = last;
    }
}

static void on_message(struct chassis_client_stream *stream, const void *message,
                       struct chassis_view encoded, void *data)
{
    struct run *run = data;
    run->hops += 2;
    if (run->push || chassis_os_monotonic_ns() >= run->end_ns) {
        run_over(run);
        return;
    }
    chassis_stream_send_bytes(stream, chassis_view(run->frame, run->bytes));
}
static void on_writable(struct chassis_client_stream *stream, void *data)
{
    push_on(data);
}
static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    if (status->code != 0 && status->code != CHASSIS_CANCELLED) {
        fprintf(stderr, "bench_hop: stream: %s\n", status->text);
        exit(1);
    }
}
static const struct chassis_stream_handlers handlers = {on_message, on_writable, on_closed};

static void on_start(struct chassis_task *task)
{
    struct run *run = chassis_container_of(task, struct run, task);
    run->began_ns = chassis_os_monotonic_ns();
    if (run->push) {
        push_on(run);
    } else {
        chassis_stream_send_bytes(run->stream, chassis_view(run->frame, run->bytes));
    }
}

static double cpu_s(int who, long *ret_switches)
{
    struct rusage u;
    getrusage(who, &u);
    *ret_switches += u.ru_nvcsw;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print(const struct run *run, double cpu, long switches)
{
    double seconds = (double)run->took_ns / 1e9;
    double n = run->push ? (double)run->sent : (double)run->hops;
    printf("{\"kind\":\"%s\",\"bytes\":%zu,\"messages\":%.0f,\"us_per_hop\":%.2f,"
           "\"cpu_us\":%.2f,\"switches\":%.2f,\"mb_per_s\":%.1f}\n",
           run->push ? "push" : "ping", run->bytes, n, seconds * 1e6 / n, cpu * 1e6 / n,
           (double)switches / n, n * (double)run->bytes / 1e6 / seconds);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: bench_hop ping|push BYTES SECONDS\n");
        return 2;
    }
    int fds[2];
    uint16_t port = 0;
    pid_t child = pipe(fds) == 0 ? fork() : -1;
    if (child == 0) {
        serve(fds[1]);
    }
    if (child < 0 || read(fds[0], &port, sizeof port) != sizeof port) {
        return 1;
    }
    struct run run = {.push = strcmp(argv[1], "push") == 0, .bytes = (size_t)atol(argv[2])};
    struct chassis_error err = {0};
    struct chassis_executor *loop = NULL;
    struct chassis_client *client = NULL;
    char target[64];
    run.frame = calloc(1, run.bytes + 1);
    pthread_mutex_init(&run.lock, NULL);
    pthread_cond_init(&run.over, NULL);
    snprintf(target, sizeof target, "127.0.0.1:%u", port);
    if (chassis_os_thread_start("loop", &loop) != 0) {
        return 1;
    }
    const struct chassis_client_options options = {.target = target, .executor = loop};
    const char *path = run.push ? methods[1].path : methods[0].path;
    if (chassis_client_new(&options, &client, &err) != 0 ||
        chassis_stream_open_path(client, path, NULL, &handlers, &run, &run.stream, &err) != 0) {
        die("client", &err);
    }
    run.end_ns = chassis_os_monotonic_ns() + (uint64_t)(atof(argv[3]) * 1e9);
    run.task.run = on_start;
    chassis_post(loop, &run.task);
    pthread_mutex_lock(&run.lock);
    while (!run.done) {
        pthread_cond_wait(&run.over, &run.lock);
    }
    pthread_mutex_unlock(&run.lock);
    chassis_client_free(client);
    chassis_os_thread_stop(loop);
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
    long switches = 0;
    double cpu = cpu_s(RUSAGE_SELF, &switches) + cpu_s(RUSAGE_CHILDREN, &switches);
    print(&run, cpu, switches);
    free(run.frame);
    return 0;
}
