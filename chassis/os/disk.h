/* Files behind a vtable, so that the journal, checkpoints and term files run over a real disk, over
 * a failing one and over a simulated one that forgets unsynced writes.
 *
 * Invariants: nothing written is durable before file_sync returned 0; a created, renamed or removed
 * name is durable only after dir_sync of its directory; a failed file_sync is final: the caller ends
 * the process and never retries.
 * Threads: a disk from any role; a file from one role at a time, except that file_read may run
 * beside writes to other ranges.
 * Ownership: file_close frees the file (NULL is fine).
 */
#ifndef CHASSIS_OS_DISK_H
#define CHASSIS_OS_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>

struct chassis_disk;
struct chassis_file;

enum chassis_disk_flags {
    CHASSIS_DISK_READ = 0,
    CHASSIS_DISK_WRITE = 1,     /* also writable */
    CHASSIS_DISK_CREATE = 2,    /* made (mode 0600) if absent */
    CHASSIS_DISK_EXCLUSIVE = 4, /* with CREATE: -EEXIST if it is there */
};

struct chassis_disk_ops {
    int (*open)(struct chassis_disk *disk, const char *path, unsigned flags,
                struct chassis_file **ret_file);
    void (*close)(struct chassis_file *file);
    /* All of `len` or an error; reading past the end gives fewer bytes in *ret_len. */
    int (*read)(struct chassis_file *file, uint64_t offset, void *out, size_t len, size_t *ret_len);
    int (*write)(struct chassis_file *file, uint64_t offset, const void *data, size_t len);
    int (*sync)(struct chassis_file *file); /* fdatasync */
    int (*size)(struct chassis_file *file, uint64_t *ret_size);
    int (*truncate)(struct chassis_file *file, uint64_t size);

    int (*rename)(struct chassis_disk *disk, const char *from, const char *to);
    int (*unlink)(struct chassis_disk *disk, const char *path);
    int (*mkdir)(struct chassis_disk *disk, const char *path); /* 0700; fine if it exists */
    int (*dir_sync)(struct chassis_disk *disk, const char *path);
    /* Every plain file in the directory, in name order; stops at the first non-zero result. */
    int (*list)(struct chassis_disk *disk, const char *path,
                int (*each)(const char *name, void *data), void *data);
    int (*space)(struct chassis_disk *disk, const char *path, uint64_t *ret_free_bytes);
    /* Hold the directory for this process; -EBUSY if another one does. Lasts until close. */
    int (*lock)(struct chassis_disk *disk, const char *path, struct chassis_file **ret_lock);
};

struct chassis_disk {
    const struct chassis_disk_ops *ops;
};

/* The machine's own disk. */
struct chassis_disk *chassis_disk_posix(void);

/* Read a whole file of at most `max` bytes. */
int chassis_disk_read_file(struct chassis_disk *disk, const char *path, size_t max,
                           struct chassis_buf *ret_data, struct chassis_error *err);
/* Replace a file so that either the old or the new content is there after a crash: write a
 * neighbour, sync, rename, sync the directory. */
int chassis_disk_replace_file(struct chassis_disk *disk, const char *path, struct chassis_view data,
                              struct chassis_error *err);

#endif
