/* Our side of the rpc benchmark: the bench service on the chassis as any author would write it, with
 * metrics, deadline, limits and access checks on; prints its port. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <chassis/call.h>

#include "bench.chassis.h"
#include "rpc/server.h"

static void echo(struct chassis_call *call, const Draft__Bench__V1__Payload *req)
{
    Draft__Bench__V1__Payload res = DRAFT__BENCH__V1__PAYLOAD__INIT;
    if (chassis_call_time_left_ns(call) == 0) {
        chassis_call_fail(call, CHASSIS_DEADLINE_EXCEEDED, "late");
        return;
    }
    res.text = req->text;
    bench_echo_reply(call, &res);
}

struct download {
    uint64_t next, count;
    char *text;
};

/* Send until the queue is full; called again when there is room. */
static void download_on(struct chassis_call *call, void *data)
{
    struct download *d = data;
    Draft__Bench__V1__Payload res = DRAFT__BENCH__V1__PAYLOAD__INIT;
    res.text = d->text;
    while (d->next < d->count) {
        res.sequence = d->next;
        int code = bench_download_send(call, &res);
        if (code == CHASSIS_RESOURCE_EXHAUSTED) {
            return;
        }
        if (code != 0) {
            break;
        }
        d->next++;
    }
    chassis_call_finish(call);
}

static void download(struct chassis_call *call, const Draft__Bench__V1__DownloadRequest *req)
{
    if (req->size > 65536) {
        chassis_call_fail(call, CHASSIS_INVALID_ARGUMENT, "size %u is over 65536", req->size);
        return;
    }
    struct download *d = chassis_arena_zalloc(chassis_call_arena(call), sizeof *d);
    d->count = req->count;
    d->text = chassis_arena_zalloc(chassis_call_arena(call), req->size + 1);
    memset(d->text, 'x', req->size);
    chassis_call_on_writable(call, download_on, d);
    download_on(call, d);
}

static const struct bench_handlers handlers = {.echo = echo, .download = download};
static const struct chassis_method_options method_options[] = {
    {.method = "*", .access = CHASSIS_ACCESS_PUBLIC, .never_blocks = true},
    {0},
};

int main(void)
{
    sigset_t wait_for;
    sigemptyset(&wait_for);
    sigaddset(&wait_for, SIGTERM);
    sigaddset(&wait_for, SIGINT);
    sigprocmask(SIG_BLOCK, &wait_for, NULL);

    struct chassis_error err = {0};
    const struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    const struct chassis_server_options options = {.listeners = &listener, .n_listeners = 1};
    struct chassis_service service = bench_service(&handlers, NULL);
    service.options = method_options;
    struct chassis_server *server = NULL;
    if (chassis_server_new(&options, &server, &err) != 0 ||
        chassis_server_add(server, service, &err) != 0 || chassis_server_start(server, &err) != 0) {
        fprintf(stderr, "bench_server: %s\n", chassis_error_text(&err));
        return 1;
    }
    printf("%u\n", chassis_server_port(server, 0));
    fflush(stdout);
    int signal_number;
    sigwait(&wait_for, &signal_number);
    chassis_server_drain(server, 1000);
    chassis_server_free(server);
    return 0;
}
