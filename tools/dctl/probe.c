/* Health probes: see probe.h. The HTTP page is fetched by a worker thread with plain sockets: one
 * GET (RFC 9112) whose status line is all that matters. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chassis/client.h>

#include "base/assert.h"
#include "grpc/health/v1/health.chassis.h"
#include "os/os.h"
#include "probe.h"

enum { PROBE_MS = 1000 };

struct dctl_probe {
    struct chassis_loop *loop;
    const struct dctl_service *service;
    struct chassis_client *client; /* gRPC */
    struct chassis_pool *pool;     /* HTTP */
    struct chassis_task fetch, answer;
    char problem[160]; /* of the fetch; empty = healthy */
    dctl_probe_cb done;
    void *data;
};

int dctl_probe_new(struct chassis_loop *loop, const struct dctl_service *service,
                   struct dctl_probe **ret_probe, struct chassis_error *err)
{
    struct dctl_probe *p = chassis_base_zalloc(sizeof *p);
    p->loop = loop;
    p->service = service;
    int rc = 0;
    if (service->health == DCTL_HEALTH_GRPC) {
        struct chassis_client_options options = {.target = service->health_address,
                                                 .executor = chassis_loop_executor(loop),
                                                 .timeout_ms = PROBE_MS,
                                                 .attempts_max = 1};
        rc = chassis_client_new(&options, &p->client, err);
    } else if (service->health == DCTL_HEALTH_HTTP) {
        rc = chassis_os_pool_start("probe", 1, 1, &p->pool);
        if (rc != 0) {
            chassis_error_code(err, rc, "start a probe thread");
        }
    }
    if (rc != 0) {
        free(p);
        return rc;
    }
    *ret_probe = p;
    return 0;
}

void dctl_probe_free(struct dctl_probe *p)
{
    if (p == NULL) {
        return;
    }
    chassis_client_free(p->client);
    if (p->pool != NULL) {
        chassis_os_pool_stop(p->pool);
    }
    free(p);
}

static void on_health(const struct chassis_reply *reply, void *data)
{
    struct dctl_probe *p = data;
    const Grpc__Health__V1__HealthCheckResponse *res = health_check_response(reply);
    if (reply->code != 0) {
        p->done(reply->text[0] != '\0' ? reply->text : chassis_status_text(reply->code), p->data);
    } else {
        bool serving =
            res->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
        p->done(serving ? NULL : "it answers that it is not serving yet", p->data);
    }
}

static void on_tcp(int status, void *data)
{
    struct dctl_probe *p = data;
    p->done(status == 0 ? NULL : chassis_status_text(status), p->data);
}

/* Wait until `fd` is ready for `events`; false after the time. */
static bool ready(int fd, short events)
{
    struct pollfd one = {.fd = fd, .events = events};
    return poll(&one, 1, PROBE_MS) == 1;
}

static int connect_to(const char *address)
{
    char host[256];
    snprintf(host, sizeof host, "%s", address);
    char *port = strrchr(host, ':');
    *port++ = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    if (getaddrinfo(host, port, &hints, &list) != 0) {
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next) {
        int problem = 0;
        socklen_t len = sizeof problem;
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0 &&
            (errno != EINPROGRESS || !ready(fd, POLLOUT) ||
             getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &len) != 0 || problem != 0)) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static void fetch(struct chassis_task *task)
{
    struct dctl_probe *p = chassis_container_of(task, struct dctl_probe, fetch);
    char text[512];
    int status = 0;
    int fd = connect_to(p->service->health_address);
    if (fd < 0) {
        snprintf(p->problem, sizeof p->problem, "no connection to %s", p->service->health_address);
    } else {
        int n =
            snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                     p->service->health_path, p->service->health_address);
        ssize_t got = -1;
        if (n < (int)sizeof text && send(fd, text, (size_t)n, MSG_NOSIGNAL) == n &&
            ready(fd, POLLIN)) {
            got = recv(fd, text, sizeof text - 1, 0);
        }
        text[got > 0 ? got : 0] = '\0';
        bool answered = sscanf(text, "HTTP/1.%*1d %3d", &status) == 1;
        close(fd);
        p->problem[0] = '\0';
        if (!answered) {
            snprintf(p->problem, sizeof p->problem, "no HTTP answer from %s",
                     p->service->health_address);
        } else if (status != 200) {
            snprintf(p->problem, sizeof p->problem, "%s answers %d", p->service->health_path,
                     status);
        }
    }
    chassis_post(chassis_loop_executor(p->loop), &p->answer);
}

static void answer(struct chassis_task *task)
{
    struct dctl_probe *p = chassis_container_of(task, struct dctl_probe, answer);
    p->done(p->problem[0] == '\0' ? NULL : p->problem, p->data);
}

void dctl_probe_start(struct dctl_probe *p, dctl_probe_cb done, void *data)
{
    Grpc__Health__V1__HealthCheckRequest req = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    struct chassis_error err = {0};
    p->done = done;
    p->data = data;
    switch (p->service->health) {
    case DCTL_HEALTH_NONE:
        done(NULL, data);
        break;
    case DCTL_HEALTH_GRPC:
        health_check(p->client, &req, NULL, on_health, p);
        break;
    case DCTL_HEALTH_HTTP:
        p->fetch.run = fetch;
        p->answer.run = answer;
        chassis_post(chassis_os_pool_executor(p->pool), &p->fetch);
        break;
    case DCTL_HEALTH_TCP:
        if (chassis_loop_probe_tcp(p->loop, p->service->health_address, PROBE_MS, on_tcp, p,
                                   &err) != 0) {
            done(chassis_error_text(&err), data);
        }
        break;
    }
}
