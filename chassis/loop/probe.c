#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "loop/internal.h"

struct probe {
    struct chassis_list link;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    void (*done)(int status, void *data);
    void *data;
    unsigned n_handles;
    bool over;
};

static void on_probe_closed(uv_handle_t *handle)
{
    struct probe *probe = handle->data;
    if (--probe->n_handles == 0) {
        free(probe);
    }
}

static void close_probe(struct probe *probe)
{
    probe->over = true;
    chassis_list_remove(&probe->link);
    uv_close((uv_handle_t *)&probe->tcp, on_probe_closed);
    uv_close((uv_handle_t *)&probe->timer, on_probe_closed);
}

static void finish(struct probe *probe, int status)
{
    if (!probe->over) { /* closing cancels the connect, which calls back once more */
        close_probe(probe);
        probe->done(status, probe->data);
    }
}

void loop_probes_abandon(struct chassis_loop *loop)
{
    chassis_list_foreach_safe (it, &loop->probes) {
        close_probe(chassis_list_entry(it, struct probe, link));
    }
}

static void on_connect(uv_connect_t *connect, int status)
{
    finish(connect->data, status);
}

static void on_timeout(uv_timer_t *timer)
{
    finish(timer->data, CHASSIS_DEADLINE_EXCEEDED);
}

/* host:port into a socket address, numeric hosts and "localhost" only. */
static int parse_address(const char *address, struct sockaddr_storage *ret_addr)
{
    char host[64];
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : 0;
    if (colon == NULL || end == colon + 1 || *end != '\0' || port < 1 || port > 65535) {
        return CHASSIS_INVALID_ARGUMENT;
    }
    size_t len = (size_t)(colon - address);
    bool v6 = len > 2 && address[0] == '[' && colon[-1] == ']';
    if (len - (v6 ? 2 : 0) >= sizeof host) {
        return CHASSIS_INVALID_ARGUMENT;
    }
    snprintf(host, sizeof host, "%.*s", (int)(len - (v6 ? 2 : 0)), address + (v6 ? 1 : 0));
    if (v6) {
        return uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)(void *)ret_addr);
    }
    return uv_ip4_addr(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, (int)port,
                       (struct sockaddr_in *)(void *)ret_addr);
}

int chassis_loop_probe_tcp(struct chassis_loop *loop, const char *address, uint64_t timeout_ms,
                           void (*done)(int status, void *data), void *data,
                           struct chassis_error *err)
{
    CHASSIS_ASSERT(chassis_is_current(&loop->executor));
    struct sockaddr_storage addr;
    if (parse_address(address, &addr) != 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "probe '%s': not an address of the form 127.0.0.1:80", address);
    }
    struct probe *probe = chassis_base_zalloc(sizeof *probe);
    probe->done = done;
    probe->data = data;
    probe->n_handles = 2;
    chassis_list_append(&loop->probes, &probe->link);
    uv_tcp_init(&loop->uv, &probe->tcp);
    uv_timer_init(&loop->uv, &probe->timer);
    probe->tcp.data = probe->timer.data = probe->connect.data = probe;
    uv_update_time(&loop->uv); /* a task's turn finds the time of before the wait */
    uv_timer_start(&probe->timer, on_timeout, timeout_ms, 0);
    int rc =
        uv_tcp_connect(&probe->connect, &probe->tcp, (const struct sockaddr *)&addr, on_connect);
    if (rc != 0) {
        close_probe(probe);
        return chassis_error_code(err, rc, "probe '%s'", address);
    }
    return 0;
}
