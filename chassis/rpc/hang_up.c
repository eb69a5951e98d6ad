#include "rpc/hang_up.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include <chassis/executor.h>

#include "os/os.h"

struct numbers {
    int *fds;
    size_t n;
};

/* All at once: what is opened while the list is read would come up in it. */
static int open_numbers(struct numbers *ret, struct chassis_error *err)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return chassis_error_code(err, -errno, "list '/proc/self/fd'");
    }
    struct numbers all = {0};
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            all.fds = chassis_base_realloc(all.fds, (all.n + 1) * sizeof *all.fds);
            all.fds[all.n++] = (int)strtol(entry->d_name, NULL, 10);
        }
    }
    closedir(dir);
    *ret = all;
    return 0;
}

static bool is_path(const struct sockaddr_un *at, socklen_t len, const char *address)
{
    size_t n = len > offsetof(struct sockaddr_un, sun_path)
                   ? len - offsetof(struct sockaddr_un, sun_path)
                   : 0;
    const char *path = at->sun_path;
    if (strncmp(address, "unix-abstract:", 14) == 0) {
        const char *name = address + 14;
        return n == strlen(name) + 1 && path[0] == '\0' && memcmp(path + 1, name, n - 1) == 0;
    }
    if (strncmp(address, "unix:", 5) != 0) {
        return false;
    }
    const char *name = address + (strncmp(address, "unix://", 7) == 0 ? 7 : 5);
    return n != 0 && strnlen(path, n) == strlen(name) && memcmp(path, name, strlen(name)) == 0;
}

static bool is_at(int fd, const char *address, int port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage room;
    } at = {0};
    socklen_t len = sizeof at;
    if (getsockname(fd, &at.any, &len) != 0) {
        return false;
    }
    bool is_unix = strncmp(address, "unix", 4) == 0;
    switch (at.any.sa_family) {
    case AF_INET:
        return !is_unix && ntohs(at.in.sin_port) == port;
    case AF_INET6:
        return !is_unix && ntohs(at.in6.sin6_port) == port;
    case AF_UNIX:
        return is_unix && is_path(&at.un, len, address);
    default:
        return false;
    }
}

static bool listens(int fd)
{
    int on = 0;
    socklen_t len = sizeof on;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on != 0;
}

/* A duplicate of the socket, and certainly of this one: its number may be another's by now. -1 if it
 * is none of the listener's. Files are left alone: closing a duplicate would give up their locks. */
static int duplicate(int fd, const char *address, int port, bool listening)
{
    if (!is_at(fd, address, port) || listens(fd) != listening) {
        return -1;
    }
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own >= 0 && !is_at(own, address, port)) {
        close(own);
        own = -1;
    }
    return own;
}

int rpc_hang_up_listening(const char *address, int port, struct chassis_error *err)
{
    struct numbers all;
    int rc = open_numbers(&all, err);
    for (size_t i = 0; rc == 0 && i < all.n; i++) {
        int fd = duplicate(all.fds[i], address, port, true);
        if (fd >= 0) {
            shutdown(fd, SHUT_RD);
            close(fd);
        }
    }
    if (rc == 0) {
        free(all.fds);
    }
    return rc;
}

int rpc_hang_up_connections(struct rpc_hang_up *h, const char *address, int port,
                            struct chassis_error *err)
{
    struct numbers all;
    int rc = open_numbers(&all, err);
    for (size_t i = 0; rc == 0 && i < all.n; i++) {
        int fd = duplicate(all.fds[i], address, port, false);
        if (fd >= 0) {
            shutdown(fd, SHUT_WR);
            h->sockets = chassis_base_realloc(h->sockets, (h->n + 1) * sizeof *h->sockets);
            h->sockets[h->n++] = (struct pollfd){.fd = fd}; /* POLLHUP: both sides have */
        }
    }
    if (rc == 0) {
        free(all.fds);
    }
    return rc;
}

void rpc_hang_up_fini(struct rpc_hang_up *h, uint64_t wait_ms)
{
    uint64_t until_ns = chassis_os_monotonic_ns() + wait_ms * CHASSIS_NS_PER_MS, now_ns;
    unsigned open = h->n;
    while (open != 0 && (now_ns = chassis_os_monotonic_ns()) < until_ns) {
        poll(h->sockets, h->n, (int)((until_ns - now_ns) / CHASSIS_NS_PER_MS) + 1);
        for (unsigned i = 0; i < h->n; i++) {
            struct pollfd *p = &h->sockets[i];
            if (p->fd >= 0 && (p->revents & (POLLHUP | POLLERR)) != 0) {
                close(p->fd);
                p->fd = -1;
                open--;
            }
        }
    }
    for (unsigned i = 0; i < h->n; i++) {
        if (h->sockets[i].fd >= 0) {
            close(h->sockets[i].fd);
        }
    }
    free(h->sockets);
    *h = (struct rpc_hang_up){0};
}
