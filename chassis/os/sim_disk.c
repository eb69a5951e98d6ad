/* A disk in memory that forgets. Each file keeps an undo log of what was written since its last
 * sync; a power cut walks it backwards up to a random point. Names work the same way: a log of
 * creations, renames and removals since the directory was synced.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/list.h"
#include "os/sim_internal.h"

enum { SECTOR = 512, TYPICAL_FREE_GIB = 1024 };

struct undo {
    uint64_t offset, size_before;
    size_t len;       /* bytes of `before`: the part that existed */
    size_t write_len; /* bytes written; 0 for a truncation, where `before` is the cut-off end */
    uint8_t *before;
};

struct inode {
    struct chassis_list link; /* of disk->inodes */
    unsigned refs;            /* names, files, name changes not yet durable */
    uint8_t *data;
    uint64_t size, cap;
    struct undo *undo;
    size_t n_undo, cap_undo;
};

struct name {
    char *path;
    struct inode *inode;
};

/* One change of a name: `path` pointed to `before` (NULL: did not exist). A rename is two. */
struct name_undo {
    char *path;
    struct inode *before;
    unsigned group; /* the changes of one call survive together */
};

struct sim_disk {
    struct chassis_disk base;
    struct chassis_prng *prng;
    struct chassis_list inodes, files;
    struct name *names; /* sorted by path */
    size_t n_names, cap_names;
    struct name_undo *undo;
    size_t n_undo, cap_undo;
    unsigned next_group;
    uint64_t limit, used, syncs;
};

struct chassis_file {
    struct sim_disk *disk;
    struct chassis_list link;
    struct inode *inode; /* NULL after a crash, and for a lock */
    char *lock_path;
    bool writable;
};

static struct sim_disk *disk_of(struct chassis_disk *disk)
{
    return chassis_container_of(disk, struct sim_disk, base);
}

static void undo_clear(struct inode *inode)
{
    for (size_t i = 0; i < inode->n_undo; i++) {
        free(inode->undo[i].before);
    }
    inode->n_undo = 0;
}

static struct inode *inode_new(struct sim_disk *disk)
{
    struct inode *inode = chassis_base_zalloc(sizeof *inode);
    chassis_list_append(&disk->inodes, &inode->link);
    return inode;
}

static void inode_unref(struct sim_disk *disk, struct inode *inode)
{
    if (inode == NULL || --inode->refs != 0) {
        return;
    }
    disk->used -= inode->size;
    undo_clear(inode);
    chassis_list_remove(&inode->link);
    free(inode->undo);
    free(inode->data);
    free(inode);
}

static void inode_resize(struct sim_disk *disk, struct inode *inode, uint64_t size)
{
    if (size > inode->cap) {
        inode->cap = size > inode->cap * 2 ? size : inode->cap * 2;
        inode->data = chassis_base_realloc(inode->data, inode->cap);
    }
    if (size > inode->size) {
        memset(inode->data + inode->size, 0, size - inode->size);
    }
    disk->used = disk->used + size - inode->size;
    inode->size = size;
}

/* Remember what `len` bytes at `offset` held. */
static void undo_push(struct inode *inode, uint64_t offset, size_t len, size_t write_len)
{
    if (inode->n_undo == inode->cap_undo) {
        inode->cap_undo = inode->cap_undo != 0 ? inode->cap_undo * 2 : 4;
        inode->undo = chassis_base_realloc(inode->undo, inode->cap_undo * sizeof *inode->undo);
    }
    size_t kept = offset >= inode->size        ? 0
                  : len > inode->size - offset ? (size_t)(inode->size - offset)
                                               : len;
    struct undo *u = &inode->undo[inode->n_undo++];
    *u = (struct undo){.offset = offset,
                       .size_before = inode->size,
                       .len = kept,
                       .write_len = write_len,
                       .before = chassis_base_alloc(kept)};
    if (kept != 0) {
        memcpy(u->before, inode->data + offset, kept);
    }
}

static void undo_pop(struct sim_disk *disk, struct inode *inode)
{
    struct undo *u = &inode->undo[--inode->n_undo];
    inode_resize(disk, inode, u->size_before);
    if (u->len != 0) {
        memcpy(inode->data + u->offset, u->before, u->len);
    }
    free(u->before);
}

/* Take back a random set of the sectors of the last write: those that were not on the disk yet. */
static void undo_pop_torn(struct sim_disk *disk, struct inode *inode)
{
    struct undo *u = &inode->undo[inode->n_undo - 1];
    if (u->write_len == 0) {
        undo_pop(disk, inode);
        return;
    }
    bool prefix = chassis_prng_chance(disk->prng, 0.5);
    uint64_t end = u->offset + u->write_len;
    uint64_t cut = u->offset + chassis_prng_below(disk->prng, u->write_len);
    uint64_t end_kept = u->size_before; /* the new size is there only with the last sectors */
    for (uint64_t at = u->offset; at < end;) {
        uint64_t next = (at / SECTOR + 1) * SECTOR < end ? (at / SECTOR + 1) * SECTOR : end;
        bool kept = prefix ? next <= cut : chassis_prng_chance(disk->prng, 0.5);
        end_kept = kept && next > end_kept ? next : end_kept;
        for (; !kept && at < next; at++) {
            inode->data[at] = at - u->offset < u->len ? u->before[at - u->offset] : 0;
        }
        at = next;
    }
    inode_resize(disk, inode, end_kept);
    free(u->before);
    inode->n_undo--;
}

static size_t name_slot(const struct sim_disk *disk, const char *path, bool *ret_found)
{
    size_t low = 0, high = disk->n_names;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strcmp(disk->names[mid].path, path);
        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *ret_found = false;
    return low;
}

static struct inode *name_get(const struct sim_disk *disk, const char *path)
{
    bool found;
    size_t i = name_slot(disk, path, &found);
    return found ? disk->names[i].inode : NULL;
}

/* Let `path` point to `inode` (NULL removes it). */
static void name_set(struct sim_disk *disk, const char *path, struct inode *inode)
{
    bool found;
    size_t i = name_slot(disk, path, &found);
    if (inode != NULL) {
        inode->refs++;
    }
    if (found) {
        inode_unref(disk, disk->names[i].inode);
        disk->names[i].inode = inode;
        if (inode == NULL) {
            free(disk->names[i].path);
            disk->n_names--;
            memmove(&disk->names[i], &disk->names[i + 1],
                    (disk->n_names - i) * sizeof disk->names[0]);
        }
    } else if (inode != NULL) {
        if (disk->n_names == disk->cap_names) {
            disk->cap_names = disk->cap_names != 0 ? disk->cap_names * 2 : 16;
            disk->names =
                chassis_base_realloc(disk->names, disk->cap_names * sizeof disk->names[0]);
        }
        memmove(&disk->names[i + 1], &disk->names[i], (disk->n_names - i) * sizeof disk->names[0]);
        disk->names[i] = (struct name){chassis_base_strdup(path), inode};
        disk->n_names++;
    }
}

static void name_change(struct sim_disk *disk, const char *path, struct inode *inode,
                        unsigned group)
{
    if (disk->n_undo == disk->cap_undo) {
        disk->cap_undo = disk->cap_undo != 0 ? disk->cap_undo * 2 : 16;
        disk->undo = chassis_base_realloc(disk->undo, disk->cap_undo * sizeof disk->undo[0]);
    }
    struct inode *before = name_get(disk, path);
    if (before != NULL) {
        before->refs++;
    }
    disk->undo[disk->n_undo++] = (struct name_undo){chassis_base_strdup(path), before, group};
    name_set(disk, path, inode);
}

static void name_undo_drop(struct sim_disk *disk, size_t i)
{
    inode_unref(disk, disk->undo[i].before);
    free(disk->undo[i].path);
    disk->n_undo--;
    memmove(&disk->undo[i], &disk->undo[i + 1], (disk->n_undo - i) * sizeof disk->undo[0]);
}

static bool is_in(const char *path, const char *directory)
{
    size_t len = strlen(directory);
    return strncmp(path, directory, len) == 0 && path[len] == '/' &&
           strchr(path + len + 1, '/') == NULL;
}

static struct chassis_file *file_new(struct sim_disk *disk, struct inode *inode)
{
    struct chassis_file *file = chassis_base_zalloc(sizeof *file);
    file->disk = disk;
    file->inode = inode;
    if (inode != NULL) {
        inode->refs++;
    }
    chassis_list_append(&disk->files, &file->link);
    return file;
}

static int sim_open(struct chassis_disk *base, const char *path, unsigned flags,
                    struct chassis_file **ret_file)
{
    struct sim_disk *disk = disk_of(base);
    if (CHASSIS_FAULT("disk.open")) {
        return -EIO;
    }
    struct inode *inode = name_get(disk, path);
    if (inode != NULL && (flags & CHASSIS_DISK_EXCLUSIVE) != 0) {
        return -EEXIST;
    }
    if (inode == NULL) {
        if ((flags & CHASSIS_DISK_CREATE) == 0) {
            return -ENOENT;
        }
        inode = inode_new(disk);
        name_change(disk, path, inode, disk->next_group++);
    }
    struct chassis_file *file = file_new(disk, inode);
    file->writable = (flags & CHASSIS_DISK_WRITE) != 0;
    *ret_file = file;
    return 0;
}

static void sim_close(struct chassis_file *file)
{
    if (file == NULL) {
        return;
    }
    inode_unref(file->disk, file->inode);
    chassis_list_remove(&file->link);
    free(file->lock_path);
    free(file);
}

static int sim_read(struct chassis_file *file, uint64_t offset, void *out, size_t len,
                    size_t *ret_len)
{
    if (file->inode == NULL || CHASSIS_FAULT("disk.read")) {
        return -EIO;
    }
    uint64_t left = offset < file->inode->size ? file->inode->size - offset : 0;
    *ret_len = len < left ? len : (size_t)left;
    if (*ret_len != 0) {
        memcpy(out, file->inode->data + offset, *ret_len);
    }
    return 0;
}

static int sim_write(struct chassis_file *file, uint64_t offset, const void *data, size_t len)
{
    if (file->inode == NULL || CHASSIS_FAULT("disk.write")) {
        return -EIO;
    }
    struct inode *inode = file->inode;
    CHASSIS_ASSERT(file->writable);
    uint64_t end = offset + len;
    if (end > inode->size && file->disk->limit != 0 &&
        file->disk->used + (end - inode->size) > file->disk->limit) {
        return -ENOSPC;
    }
    if (len == 0) {
        return 0;
    }
    undo_push(inode, offset, len, len);
    if (end > inode->size) {
        inode_resize(file->disk, inode, end);
    }
    memcpy(inode->data + offset, data, len);
    return 0;
}

static int sim_sync(struct chassis_file *file)
{
    if (file->inode == NULL || CHASSIS_FAULT("disk.sync")) {
        return -EIO;
    }
    undo_clear(file->inode);
    file->disk->syncs++;
    return 0;
}

static int sim_size(struct chassis_file *file, uint64_t *ret_size)
{
    if (file->inode == NULL || CHASSIS_FAULT("disk.size")) {
        return -EIO;
    }
    *ret_size = file->inode->size;
    return 0;
}

static int sim_truncate(struct chassis_file *file, uint64_t size)
{
    if (file->inode == NULL || CHASSIS_FAULT("disk.truncate")) {
        return -EIO;
    }
    struct inode *inode = file->inode;
    undo_push(inode, size, size < inode->size ? (size_t)(inode->size - size) : 0, 0);
    inode_resize(file->disk, inode, size); /* a hole takes no space on a real disk; here it does */
    return 0;
}

static int sim_rename(struct chassis_disk *base, const char *from, const char *to)
{
    struct sim_disk *disk = disk_of(base);
    struct inode *inode = name_get(disk, from);
    if (CHASSIS_FAULT("disk.rename")) {
        return -EIO;
    }
    if (inode == NULL) {
        return -ENOENT;
    }
    unsigned group = disk->next_group++;
    name_change(disk, to, inode, group);
    name_change(disk, from, NULL, group);
    return 0;
}

static int sim_unlink(struct chassis_disk *base, const char *path)
{
    struct sim_disk *disk = disk_of(base);
    if (CHASSIS_FAULT("disk.unlink")) {
        return -EIO;
    }
    if (name_get(disk, path) == NULL) {
        return -ENOENT;
    }
    name_change(disk, path, NULL, disk->next_group++);
    return 0;
}

static int sim_mkdir(struct chassis_disk *base, const char *path)
{
    (void)base; /* directories are only prefixes of names */
    (void)path;
    return CHASSIS_FAULT("disk.mkdir") ? -EIO : 0;
}

static int sim_dir_sync(struct chassis_disk *base, const char *path)
{
    struct sim_disk *disk = disk_of(base);
    if (CHASSIS_FAULT("disk.dir_sync")) {
        return -EIO;
    }
    for (size_t i = 0; i < disk->n_undo;) {
        if (is_in(disk->undo[i].path, path)) {
            name_undo_drop(disk, i);
        } else {
            i++;
        }
    }
    return 0;
}

static int sim_list(struct chassis_disk *base, const char *path,
                    int (*each)(const char *name, void *data), void *data)
{
    struct sim_disk *disk = disk_of(base);
    if (CHASSIS_FAULT("disk.list")) {
        return -EIO;
    }
    /* A copy first: `each` may create and remove files. */
    char **found = chassis_base_alloc(disk->n_names * sizeof *found);
    size_t n = 0;
    for (size_t i = 0; i < disk->n_names; i++) {
        if (is_in(disk->names[i].path, path)) {
            found[n++] = chassis_base_strdup(disk->names[i].path + strlen(path) + 1);
        }
    }
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        if (rc == 0) {
            rc = each(found[i], data);
        }
        free(found[i]);
    }
    free(found);
    return rc;
}

static int sim_space(struct chassis_disk *base, const char *path, uint64_t *ret_free_bytes)
{
    (void)path;
    struct sim_disk *disk = disk_of(base);
    if (CHASSIS_FAULT("disk.space")) {
        return -EIO;
    }
    uint64_t limit = disk->limit != 0 ? disk->limit : (uint64_t)TYPICAL_FREE_GIB << 30;
    *ret_free_bytes = disk->used < limit ? limit - disk->used : 0;
    return 0;
}

static int sim_lock(struct chassis_disk *base, const char *path, struct chassis_file **ret_lock)
{
    struct sim_disk *disk = disk_of(base);
    if (CHASSIS_FAULT("disk.lock")) {
        return -EIO;
    }
    chassis_list_foreach (it, &disk->files) {
        struct chassis_file *other = chassis_list_entry(it, struct chassis_file, link);
        if (other->lock_path != NULL && strcmp(other->lock_path, path) == 0) {
            return -EBUSY;
        }
    }
    *ret_lock = file_new(disk, NULL);
    (*ret_lock)->lock_path = chassis_base_strdup(path);
    return 0;
}

static const struct chassis_disk_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .size = sim_size,
    .truncate = sim_truncate,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .dir_sync = sim_dir_sync,
    .list = sim_list,
    .space = sim_space,
    .lock = sim_lock,
};

struct sim_disk *sim_disk_new(struct chassis_prng *prng)
{
    struct sim_disk *disk = chassis_base_zalloc(sizeof *disk);
    disk->base.ops = &sim_ops;
    disk->prng = prng;
    chassis_list_init(&disk->inodes);
    chassis_list_init(&disk->files);
    return disk;
}

void sim_disk_free(struct sim_disk *disk)
{
    chassis_list_foreach_safe (it, &disk->files) {
        sim_close(chassis_list_entry(it, struct chassis_file, link));
    }
    while (disk->n_undo != 0) {
        name_undo_drop(disk, disk->n_undo - 1);
    }
    while (disk->n_names != 0) {
        name_set(disk, disk->names[disk->n_names - 1].path, NULL);
    }
    CHASSIS_ASSERT(chassis_list_empty(&disk->inodes));
    free(disk->names);
    free(disk->undo);
    free(disk);
}

struct chassis_disk *sim_disk_base(struct sim_disk *disk)
{
    return &disk->base;
}

/* Walk the log of names back to a random point; the two halves of a rename stay together. */
static void crash_names(struct sim_disk *disk)
{
    size_t keep = chassis_prng_below(disk->prng, disk->n_undo + 1);
    while (keep != 0 && keep < disk->n_undo &&
           disk->undo[keep].group == disk->undo[keep - 1].group) {
        keep--;
    }
    while (disk->n_undo > keep) {
        struct name_undo *u = &disk->undo[disk->n_undo - 1];
        name_set(disk, u->path, u->before);
        name_undo_drop(disk, disk->n_undo - 1);
    }
    while (disk->n_undo != 0) {
        name_undo_drop(disk, disk->n_undo - 1);
    }
}

static void crash_inode(struct sim_disk *disk, struct inode *inode)
{
    if (inode->n_undo != 0) {
        size_t keep = chassis_prng_below(disk->prng, inode->n_undo + 1);
        while (inode->n_undo > keep + 1) {
            undo_pop(disk, inode);
        }
        if (inode->n_undo > keep) {
            undo_pop_torn(disk, inode);
        }
    }
    undo_clear(inode); /* what survived a power cut is on the disk */
}

void sim_disk_crash(struct sim_disk *disk, bool power)
{
    chassis_list_foreach (it, &disk->files) {
        struct chassis_file *file = chassis_list_entry(it, struct chassis_file, link);
        inode_unref(disk, file->inode);
        file->inode = NULL;
        free(file->lock_path);
        file->lock_path = NULL;
    }
    if (power) {
        crash_names(disk);
        chassis_list_foreach (it, &disk->inodes) {
            crash_inode(disk, chassis_list_entry(it, struct inode, link));
        }
    }
}

void sim_disk_limit(struct sim_disk *disk, uint64_t bytes)
{
    disk->limit = bytes;
}

int sim_disk_flip(struct sim_disk *disk, const char *path, uint64_t bit)
{
    struct inode *inode = name_get(disk, path);
    if (inode == NULL) {
        return -ENOENT;
    }
    if (bit / 8 >= inode->size) {
        return -EINVAL;
    }
    inode->data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    return 0;
}

uint64_t sim_disk_syncs(const struct sim_disk *disk)
{
    return disk->syncs;
}

uint64_t sim_disk_used(const struct sim_disk *disk)
{
    return disk->used;
}
