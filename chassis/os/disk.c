#include "os/disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int chassis_disk_read_file(struct chassis_disk *disk, const char *path, size_t max,
                           struct chassis_buf *ret_data, struct chassis_error *err)
{
    struct chassis_file *file;
    int rc = disk->ops->open(disk, path, CHASSIS_DISK_READ, &file);
    if (rc < 0) {
        return chassis_error_code(err, rc, "open '%s'", path);
    }
    struct chassis_buf data = {0};
    uint64_t size = 0;
    size_t got = 0;
    rc = disk->ops->size(file, &size);
    if (rc == 0 && size > max) {
        rc = CHASSIS_TOO_LARGE;
    }
    if (rc == 0) {
        chassis_buf_reserve(&data, (size_t)size + 1);
        rc = disk->ops->read(file, 0, data.data, (size_t)size, &got);
    }
    disk->ops->close(file);
    if (rc < 0) {
        chassis_buf_fini(&data);
        return rc == CHASSIS_TOO_LARGE
                   ? chassis_error_set(err, rc, "read '%s': %llu bytes, at most %zu expected", path,
                                       (unsigned long long)size, max)
                   : chassis_error_code(err, rc, "read '%s'", path);
    }
    data.len = got;
    data.data[got] = '\0';
    *ret_data = data;
    return 0;
}

static void parent_of(const char *path, char out[4096])
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        snprintf(out, 4096, ".");
    } else {
        snprintf(out, 4096, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    }
}

int chassis_disk_replace_file(struct chassis_disk *disk, const char *path, struct chassis_view data,
                              struct chassis_error *err)
{
    char neighbour[4096], parent[4096];
    if (strlen(path) + 5 > sizeof neighbour) {
        return chassis_error_code(err, -ENAMETOOLONG, "replace '%s'", path);
    }
    snprintf(neighbour, sizeof neighbour, "%s.new", path);
    parent_of(path, parent);
    struct chassis_file *file;
    const char *step = "open";
    int rc = disk->ops->open(disk, neighbour, CHASSIS_DISK_WRITE | CHASSIS_DISK_CREATE, &file);
    if (rc == 0) {
        step = "write";
        rc = disk->ops->truncate(file, 0);
        if (rc == 0) {
            rc = disk->ops->write(file, 0, data.data, data.len);
        }
        if (rc == 0) {
            step = "sync";
            rc = disk->ops->sync(file);
        }
        disk->ops->close(file);
        if (rc < 0) {
            disk->ops->unlink(disk, neighbour);
        }
    }
    if (rc == 0) {
        step = "rename";
        rc = disk->ops->rename(disk, neighbour, path);
    }
    if (rc == 0) {
        step = "sync the directory of";
        rc = disk->ops->dir_sync(disk, parent);
    }
    return rc == 0 ? 0 : chassis_error_code(err, rc, "%s '%s'", step, neighbour);
}
