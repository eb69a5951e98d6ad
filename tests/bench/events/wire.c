#include "wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct wire *wires;
static int epoll_fd = -1;

uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("events_load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void wire_open(struct wire *wire, const char *address)
{
    char host[64];
    snprintf(host, sizeof host, "%s", address);
    char *colon = strrchr(host, ':');
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (colon != NULL) {
        *colon = '\0';
    }
    if (colon == NULL || inet_pton(AF_INET, host, &to.sin_addr) != 1) {
        die("'%s' is not an IPv4 address and a port", address);
    }
    to.sin_port = htons((uint16_t)atoi(colon + 1));
    wire->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (wire->fd < 0 || connect(wire->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        die("connect to '%s': %s", address, strerror(errno));
    }
    int on = 1;
    setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (epoll_fd < 0) {
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = wire};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wire->fd, &event);
    wire->next = wires;
    wires = wire;
}

void wire_close(struct wire *wire)
{
    for (struct wire **at = &wires; *at != NULL; at = &(*at)->next) {
        if (*at == wire) {
            *at = wire->next;
            break;
        }
    }
    close(wire->fd);
    free(wire->in);
    free(wire->out);
    memset(wire, 0, sizeof *wire);
}

static void grow(uint8_t **bytes, size_t *cap, size_t want)
{
    if (want > *cap) {
        *cap = want > 2 * *cap ? want : 2 * *cap;
        *bytes = realloc(*bytes, *cap);
        if (*bytes == NULL) {
            die("out of memory");
        }
    }
}

uint8_t *wire_room(struct wire *wire, size_t n)
{
    grow(&wire->out, &wire->out_cap, wire->out_len + n);
    return wire->out + wire->out_len;
}

void wire_put(struct wire *wire, const void *data, size_t n)
{
    memcpy(wire_room(wire, n), data, n);
    wire->out_len += n;
}

static void write_out(struct wire *wire)
{
    if (wire->before_write != NULL) {
        wire->before_write(wire);
    }
    while (wire->out_sent < wire->out_len) {
        ssize_t n = send(wire->fd, wire->out + wire->out_sent, wire->out_len - wire->out_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN) {
                die("write: %s", strerror(errno));
            }
            break;
        }
        wire->out_sent += (size_t)n;
    }
    if (wire->out_sent == wire->out_len) {
        wire->out_sent = wire->out_len = 0;
    } else if (wire->out_sent > wire->out_len / 2) {
        memmove(wire->out, wire->out + wire->out_sent, wire->out_len - wire->out_sent);
        wire->out_len -= wire->out_sent;
        wire->out_sent = 0;
    }
    bool want = wire->out_len > 0;
    if (want != wire->want_write) {
        wire->want_write = want;
        struct epoll_event event = {.events = EPOLLIN | (want ? EPOLLOUT : 0u), .data.ptr = wire};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, wire->fd, &event);
    }
}

static void read_in(struct wire *wire)
{
    grow(&wire->in, &wire->in_cap, wire->in_len + 256 * 1024);
    ssize_t n = recv(wire->fd, wire->in + wire->in_len, wire->in_cap - wire->in_len, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        die("the server closed a connection%s%s", n < 0 ? ": " : "", n < 0 ? strerror(errno) : "");
    }
    if (n > 0) {
        wire->in_len += (size_t)n;
        size_t used = wire->parse(wire, wire->in, wire->in_len);
        memmove(wire->in, wire->in + used, wire->in_len - used);
        wire->in_len -= used;
    }
}

void wires_poll(int timeout_ms)
{
    wires_poll_ns((uint64_t)timeout_ms * 1000000);
}

void wires_poll_ns(uint64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                               .tv_nsec = (long)(timeout_ns % 1000000000)};
    for (struct wire *wire = wires; wire != NULL; wire = wire->next) {
        write_out(wire);
    }
    struct epoll_event events[128];
    int n = epoll_pwait2(epoll_fd, events, 128, &timeout, NULL);
    for (int i = 0; i < n; i++) {
        read_in(events[i].data.ptr);
    }
}
