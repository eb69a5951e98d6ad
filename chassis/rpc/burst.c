#include "rpc/burst.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rpc/window.h"

enum {
    SOCKETS_MAX = 64,
    WRITES_MAX = 64, /* then what there is is sent: the client can begin with it */
};

static _Thread_local struct {
    bool on;
    unsigned writes;
    unsigned n;
    int sockets[SOCKETS_MAX]; /* with something that waits */
} burst;

static void send_waiting(void)
{
    for (unsigned i = 0; i < burst.n; i++) {
        int on = 1; /* as it is already; setting it sends */
        (void)setsockopt(burst.sockets[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    burst.n = burst.writes = 0;
}

void rpc_burst_begin(void)
{
    burst.on = true;
}

void rpc_burst_last(void)
{
    burst.on = false;
}

void rpc_burst_end(void)
{
    burst.on = false;
    send_waiting();
}

static int *find(int fd)
{
    for (unsigned i = burst.n; i-- > 0;) {
        if (burst.sockets[i] == fd) {
            return &burst.sockets[i];
        }
    }
    return NULL;
}

/* Whether a write to this socket may wait; notes that it does. */
static bool may_wait(int fd)
{
    if (find(fd) == NULL) {
        if (burst.n == SOCKETS_MAX) {
            return false;
        }
        burst.sockets[burst.n++] = fd;
    }
    return true;
}

/* In place of libc's, for the whole process: gRPC's calls come here as well. Outside of a turn it is
 * the system call, but for window updates (window.h). */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    int *waits;
    bool release = rpc_window_hold(fd, message);
    if (burst.on && ++burst.writes >= WRITES_MAX) {
        send_waiting();
    }
    if (burst.on && may_wait(fd)) {
        flags |= MSG_MORE;
    } else if (burst.n != 0 && (waits = find(fd)) != NULL) {
        *waits = burst.sockets[--burst.n]; /* this one takes it along */
    }
    ssize_t n = syscall(SYS_sendmsg, fd, message, flags);
    if (release) {
        rpc_window_release(fd);
    }
    return n;
}
