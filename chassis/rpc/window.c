#include "rpc/window.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

enum {
    FRAME_LEN = 13, /* of a WINDOW_UPDATE: header 9, increment 4 */
    HELD_BYTES_MAX = 16 << 10,
    SOCKETS = 1024, /* those with higher numbers do without */
};

/* What the updates that wait give back; 0 = the socket is not corked. */
static _Atomic uint32_t held[SOCKETS];

static void cork(int fd, int on)
{
    int error = errno;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    errno = error;
}

/* The bytes of a write of at most two frames, in one piece; 0 if it is a longer one. */
static size_t gather(const struct msghdr *message, uint8_t out[2 * FRAME_LEN])
{
    size_t len = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        const struct iovec *part = &message->msg_iov[i];
        if (part->iov_len > 2 * FRAME_LEN - len) {
            return 0;
        }
        if (part->iov_len != 0) {
            memcpy(out + len, part->iov_base, part->iov_len);
        }
        len += part->iov_len;
    }
    return len;
}

/* How much a write gives back if it is one or two WINDOW_UPDATEs and nothing else; else 0. */
static uint32_t update_of(const struct msghdr *message)
{
    static const uint8_t head[] = {0, 0, 4, 8, 0}; /* length 4, type 8, no flags */
    uint8_t bytes[2 * FRAME_LEN];
    uint32_t most = 0;
    size_t len = gather(message, bytes);
    if (len == 0 || len % FRAME_LEN != 0) {
        return 0;
    }
    for (const uint8_t *f = bytes; f < bytes + len; f += FRAME_LEN) {
        uint32_t n =
            (uint32_t)f[9] << 24 | (uint32_t)f[10] << 16 | (uint32_t)f[11] << 8 | (uint32_t)f[12];
        if (memcmp(f, head, sizeof head) != 0) {
            return 0;
        }
        most = n > most ? n : most;
    }
    return most;
}

bool rpc_window_hold(int fd, const struct msghdr *message)
{
    if (fd < 0 || fd >= SOCKETS) {
        return false;
    }
    uint32_t sum = atomic_load_explicit(&held[fd], memory_order_relaxed);
    uint32_t update = update_of(message);
    if (update == 0 || update >= HELD_BYTES_MAX - sum) {
        return sum != 0;
    }
    if (sum == 0) {
        cork(fd, 1);
    }
    atomic_store_explicit(&held[fd], sum + update, memory_order_relaxed);
    return false;
}

void rpc_window_release(int fd)
{
    atomic_store_explicit(&held[fd], 0, memory_order_relaxed);
    cork(fd, 0);
}
