#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fault.h"
#include "os/disk.h"

struct chassis_file {
    int fd;
};

static int open_fd(const char *path, int flags, int *ret_fd)
{
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return -errno;
    }
    *ret_fd = fd;
    return 0;
}

static struct chassis_file *file_new(int fd)
{
    struct chassis_file *file = chassis_base_alloc(sizeof *file);
    file->fd = fd;
    return file;
}

static int posix_open(struct chassis_disk *disk, const char *path, unsigned flags,
                      struct chassis_file **ret_file)
{
    (void)disk;
    if (CHASSIS_FAULT("disk.open")) {
        return -EIO;
    }
    int fd = -1;
    int rc = open_fd(path,
                     ((flags & CHASSIS_DISK_WRITE) != 0 ? O_RDWR : O_RDONLY) |
                         ((flags & CHASSIS_DISK_CREATE) != 0 ? O_CREAT : 0) |
                         ((flags & CHASSIS_DISK_EXCLUSIVE) != 0 ? O_EXCL : 0),
                     &fd);
    if (rc == 0) {
        *ret_file = file_new(fd);
    }
    return rc;
}

static void posix_close(struct chassis_file *file)
{
    if (file != NULL) {
        close(file->fd);
        free(file);
    }
}

static int posix_read(struct chassis_file *file, uint64_t offset, void *out, size_t len,
                      size_t *ret_len)
{
    if (CHASSIS_FAULT("disk.read")) {
        return -EIO;
    }
    size_t got = 0;
    while (got < len) {
        ssize_t n = pread(file->fd, (char *)out + got, len - got, (off_t)(offset + got));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        got += n > 0 ? (size_t)n : 0;
    }
    *ret_len = got;
    return 0;
}

static int posix_write(struct chassis_file *file, uint64_t offset, const void *data, size_t len)
{
    if (CHASSIS_FAULT("disk.write")) {
        return -EIO;
    }
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(file->fd, (const char *)data + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int posix_sync(struct chassis_file *file)
{
    if (CHASSIS_FAULT("disk.sync")) {
        return -EIO;
    }
    return fdatasync(file->fd) == 0 ? 0 : -errno;
}

static int posix_size(struct chassis_file *file, uint64_t *ret_size)
{
    struct stat st;
    if (CHASSIS_FAULT("disk.size")) {
        return -EIO;
    }
    if (fstat(file->fd, &st) < 0) {
        return -errno;
    }
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static int posix_truncate(struct chassis_file *file, uint64_t size)
{
    if (CHASSIS_FAULT("disk.truncate")) {
        return -EIO;
    }
    return ftruncate(file->fd, (off_t)size) == 0 ? 0 : -errno;
}

static int posix_rename(struct chassis_disk *disk, const char *from, const char *to)
{
    (void)disk;
    if (CHASSIS_FAULT("disk.rename")) {
        return -EIO;
    }
    return rename(from, to) == 0 ? 0 : -errno;
}

static int posix_unlink(struct chassis_disk *disk, const char *path)
{
    (void)disk;
    if (CHASSIS_FAULT("disk.unlink")) {
        return -EIO;
    }
    return unlink(path) == 0 ? 0 : -errno;
}

static int posix_mkdir(struct chassis_disk *disk, const char *path)
{
    (void)disk;
    if (CHASSIS_FAULT("disk.mkdir")) {
        return -EIO;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

static int posix_dir_sync(struct chassis_disk *disk, const char *path)
{
    (void)disk;
    if (CHASSIS_FAULT("disk.dir_sync")) {
        return -EIO;
    }
    int fd = -1;
    int rc = open_fd(path, O_RDONLY | O_DIRECTORY, &fd);
    if (rc < 0) {
        return rc;
    }
    rc = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

static int is_plain_file(const struct dirent *entry)
{
    return entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN;
}

static int in_byte_order(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* whatever the locale */
}

static int posix_list(struct chassis_disk *disk, const char *path,
                      int (*each)(const char *name, void *data), void *data)
{
    (void)disk;
    if (CHASSIS_FAULT("disk.list")) {
        return -EIO;
    }
    struct dirent **entries;
    int n = scandir(path, &entries, is_plain_file, in_byte_order);
    if (n < 0) {
        return -errno;
    }
    int rc = 0;
    for (int i = 0; i < n; i++) {
        if (rc == 0 && strcmp(entries[i]->d_name, ".") != 0 &&
            strcmp(entries[i]->d_name, "..") != 0) {
            rc = each(entries[i]->d_name, data);
        }
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int posix_space(struct chassis_disk *disk, const char *path, uint64_t *ret_free_bytes)
{
    (void)disk;
    struct statvfs vfs;
    if (CHASSIS_FAULT("disk.space")) {
        return -EIO;
    }
    if (statvfs(path, &vfs) < 0) {
        return -errno;
    }
    *ret_free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return 0;
}

static int posix_lock(struct chassis_disk *disk, const char *path, struct chassis_file **ret_lock)
{
    (void)disk;
    if (CHASSIS_FAULT("disk.lock")) {
        return -EIO;
    }
    int fd = -1;
    int rc = open_fd(path, O_RDONLY | O_DIRECTORY, &fd);
    if (rc < 0) {
        return rc;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
        close(fd);
        return rc;
    }
    *ret_lock = file_new(fd);
    return 0;
}

static const struct chassis_disk_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .size = posix_size,
    .truncate = posix_truncate,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .mkdir = posix_mkdir,
    .dir_sync = posix_dir_sync,
    .list = posix_list,
    .space = posix_space,
    .lock = posix_lock,
};

struct chassis_disk *chassis_disk_posix(void)
{
    static struct chassis_disk disk = {&posix_ops};
    return &disk;
}
