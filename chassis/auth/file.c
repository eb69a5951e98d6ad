/* Private files: reading with a look at their mode, and making them so that they are whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "auth/internal.h"
#include "base/fault.h"

void chassis_auth_wipe(struct chassis_buf *buf)
{
    if (buf->data != NULL) {
        OPENSSL_cleanse(buf->data, buf->cap);
    }
    chassis_buf_fini(buf);
}

static int check_mode(int fd, const char *path, mode_t forbidden, struct chassis_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return chassis_error_code(err, -errno, "stat '%s'", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "'%s' is not a regular file", path);
    }
    if ((st.st_mode & forbidden) != 0) {
        return chassis_error_set(err, CHASSIS_PERMISSION_DENIED,
                                 "'%s' can be read by others (mode %04o): run chmod 600 '%s'", path,
                                 (unsigned)st.st_mode & 07777, path);
    }
    if (st.st_size > CHASSIS_AUTH_FILE_MAX) {
        return chassis_error_set(err, CHASSIS_TOO_LARGE, "'%s' is larger than 1 MiB", path);
    }
    return 0;
}

/* No growth of the buffer after the first byte, so that no copy of a secret stays behind. */
static int read_all(int fd, const char *path, struct chassis_buf *out, struct chassis_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return chassis_error_code(err, -errno, "stat '%s'", path);
    }
    size_t size = (size_t)st.st_size;
    chassis_buf_reserve(out, size + 1);
    while (out->len < size) {
        ssize_t n = read(fd, out->data + out->len, size - out->len);
        if (n == 0) {
            break;
        }
        if ((n < 0 && errno != EINTR) || CHASSIS_FAULT("auth.file.read")) {
            return chassis_error_code(err, n < 0 ? -errno : -EIO, "read '%s'", path);
        }
        out->len += n > 0 ? (size_t)n : 0;
    }
    out->data[out->len] = '\0';
    return 0;
}

int chassis_auth_file_read(const char *path, mode_t forbidden_mode, struct chassis_buf *ret_text,
                           struct chassis_error *err)
{
    struct chassis_buf text = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return chassis_error_code(err, -errno, "open '%s'", path);
    }
    int rc = check_mode(fd, path, forbidden_mode, err);
    if (rc == 0) {
        rc = read_all(fd, path, &text, err);
    }
    close(fd);
    if (rc != 0) {
        chassis_auth_wipe(&text);
        return rc;
    }
    *ret_text = text;
    return 0;
}

static int sync_directory_of(const char *path)
{
    char dir[4096];
    const char *slash = strrchr(path, '/');
    int len = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
    snprintf(dir, sizeof dir, "%.*s", len, slash == NULL ? "." : path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = fsync(fd) != 0 || CHASSIS_FAULT("auth.file.sync_directory") ? -EIO : 0;
    close(fd);
    return rc;
}

static int write_all(int fd, struct chassis_view text)
{
    while (text.len != 0) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (CHASSIS_FAULT("auth.file.write")) {
            return -ENOSPC;
        }
        text = chassis_view(text.data + n, text.len - (size_t)n);
    }
    return fsync(fd) != 0 || CHASSIS_FAULT("auth.file.sync") ? -EIO : 0;
}

/* Written under another name, then linked: link(2), unlike rename(2), never replaces the file of
 * somebody who was faster. */
int chassis_auth_file_create(const char *path, struct chassis_view text, struct chassis_error *err)
{
    char temporary[4096];
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary) {
        return chassis_error_set(err, -ENAMETOOLONG, "path too long: '%.100s…'", path);
    }
    int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        return chassis_error_code(err, -errno, "create '%s'", path);
    }
    int rc = write_all(fd, text);
    close(fd);
    if (rc == 0 && link(temporary, path) != 0) {
        rc = -errno;
    }
    unlink(temporary);
    if (rc == 0) {
        rc = sync_directory_of(path);
    }
    return rc != 0 ? chassis_error_code(err, rc, "create '%s'", path) : 0;
}
