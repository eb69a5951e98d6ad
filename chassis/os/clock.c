#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * CHASSIS_NS_PER_S + (uint64_t)t.tv_nsec;
}

static int64_t posix_wall_ns(struct chassis_clock *clock)
{
    (void)clock;
    return (int64_t)read_clock(CLOCK_REALTIME);
}

struct chassis_clock *chassis_clock_posix(void)
{
    static struct chassis_clock clock = {posix_wall_ns};
    return &clock;
}

uint64_t chassis_os_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int chassis_os_boot_id(char out[37])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n;
    do {
        n = read(fd, out, 36);
    } while (n < 0 && errno == EINTR);
    int rc = n == 36 ? 0 : n < 0 ? -errno : -EIO;
    close(fd);
    if (rc == 0) {
        out[36] = '\0';
    }
    return rc;
}
