#include "consensus/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/hash.h"

static const char checkpoint_magic[8] = "DRFTCHKP";
enum { PREFIX_LEN = 20, BLOCK_HEADER_LEN = 8, TRAILER_LEN = 32 };
#define TRAILER_MARK 0xffffffffU

void checkpoint_header_fini(struct checkpoint_header *header)
{
    chassis_buf_fini(&header->configuration);
}

void checkpoint_path(const char *directory, uint64_t index, char out[512])
{
    snprintf(out, 512, "%s/checkpoint-%020llu.ckpt", directory, (unsigned long long)index);
}

/* --- names ------------------------------------------------------------------------------------ */

struct names {
    struct chassis_disk *disk;
    const char *directory;
    uint64_t newest;
    bool remove;
};

static bool name_index(const char *name, uint64_t *ret_index)
{
    unsigned long long index;
    int used = 0;
    if (sscanf(name, "checkpoint-%20llu.ckpt%n", &index, &used) != 1 || used == 0 ||
        name[used] != '\0') {
        return false;
    }
    *ret_index = index;
    return true;
}

static int see_name(const char *name, void *data)
{
    struct names *n = data;
    uint64_t index;
    if (name_index(name, &index) && index > n->newest) {
        n->newest = index;
    }
    return 0;
}

static int remove_name(const char *name, void *data)
{
    struct names *n = data;
    uint64_t index;
    char path[1024];
    bool old = name_index(name, &index) && index < n->newest;
    bool leftover = strncmp(name, "checkpoint-", 11) == 0 && strstr(name, ".tmp") != NULL;
    if (old || leftover) {
        snprintf(path, sizeof path, "%s/%s", n->directory, name);
        (void)n->disk->ops->unlink(n->disk, path); /* tried again next time */
    }
    return 0;
}

int checkpoint_newest(struct chassis_disk *disk, const char *directory, bool remove_older,
                      uint64_t *ret_index, struct chassis_error *err)
{
    struct names n = {.disk = disk, .directory = directory};
    int rc = disk->ops->list(disk, directory, see_name, &n);
    if (rc == 0 && remove_older) {
        rc = disk->ops->list(disk, directory, remove_name, &n);
    }
    if (rc != 0) {
        return chassis_error_code(err, rc, "list '%s'", directory);
    }
    *ret_index = n.newest;
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

struct writer {
    struct chassis_disk *disk;
    struct chassis_file *file;
    char path[520]; /* beside the name, until it is complete */
    uint64_t offset;
    uint64_t n_records, n_blocks;
    struct chassis_buf block; /* header of the block, then its records */
};

static int writer_put(struct writer *w, struct chassis_view data, struct chassis_error *err)
{
    int rc = CHASSIS_FAULT("consensus.checkpoint.write")
                 ? -5 /* EIO */
                 : w->disk->ops->write(w->file, w->offset, data.data, data.len);
    if (rc != 0) {
        return chassis_error_code(err, rc, "write '%s' at offset %llu", w->path,
                                  (unsigned long long)w->offset);
    }
    w->offset += data.len;
    return 0;
}

static void block_begin(struct writer *w)
{
    static const uint8_t header[BLOCK_HEADER_LEN];
    chassis_buf_clear(&w->block);
    chassis_buf_append(&w->block, header, sizeof header);
}

static int block_end(struct writer *w, struct chassis_error *err)
{
    size_t len = w->block.len - BLOCK_HEADER_LEN;
    if (len == 0) {
        return 0;
    }
    chassis_put_le32(w->block.data, (uint32_t)len);
    chassis_put_le32(w->block.data + 4, chassis_crc32c(0, w->block.data + BLOCK_HEADER_LEN, len));
    int rc = writer_put(w, chassis_buf_view(&w->block), err);
    w->n_blocks++;
    block_begin(w);
    return rc;
}

static int write_header(struct writer *w, const struct checkpoint_header *h,
                        const char *const *tables, unsigned n_tables, struct chassis_error *err)
{
    struct chassis_buf out = {0};
    static const uint8_t zero[PREFIX_LEN];
    chassis_buf_append(&out, zero, sizeof zero);
    chassis_buf_append(&out, h->cluster_id, sizeof h->cluster_id);
    chassis_buf_append_le64(&out, h->index);
    chassis_buf_append_le64(&out, h->term);
    chassis_buf_append_le64(&out, h->configuration_index);
    chassis_buf_append_block(&out, chassis_buf_view(&h->configuration));
    chassis_buf_append_le32(&out, n_tables);
    for (unsigned i = 0; i < n_tables; i++) {
        chassis_buf_append_block(&out, chassis_view_str(tables[i]));
    }
    memcpy(out.data, checkpoint_magic, 8);
    chassis_put_le32(out.data + 8, CHECKPOINT_FORMAT);
    chassis_put_le32(out.data + 12, (uint32_t)(out.len - PREFIX_LEN));
    uint32_t crc = chassis_crc32c(0, out.data, 16);
    crc = chassis_crc32c(crc, out.data + PREFIX_LEN, out.len - PREFIX_LEN);
    chassis_put_le32(out.data + 16, crc);
    int rc = writer_put(w, chassis_buf_view(&out), err);
    chassis_buf_fini(&out);
    return rc;
}

static int write_trailer(struct writer *w, struct chassis_error *err)
{
    uint8_t t[TRAILER_LEN];
    chassis_put_le32(t, TRAILER_MARK);
    chassis_put_le64(t + 8, w->n_records);
    chassis_put_le64(t + 16, w->n_blocks);
    chassis_put_le64(t + 24, w->offset + TRAILER_LEN);
    chassis_put_le32(t + 4, chassis_crc32c(0, t + 8, TRAILER_LEN - 8));
    return writer_put(w, chassis_view(t, sizeof t), err);
}

static int write_table(struct writer *w, struct chassis_txn *txn, unsigned table,
                       struct chassis_error *err)
{
    struct chassis_cursor *cursor;
    struct chassis_view key, value;
    int rc = chassis_cursor_open(txn, table, &cursor);
    if (rc != 0) {
        return chassis_error_code(err, rc, "read table '%s'", txn->store->tables[table]);
    }
    rc =
        chassis_cursor_seek(cursor, chassis_view("", 1), &key, &value); /* the least key there is */
    while (rc == 0) {
        chassis_buf_append_byte(&w->block, (uint8_t)table);
        chassis_buf_append_block(&w->block, key);
        chassis_buf_append_block(&w->block, value);
        w->n_records++;
        if (w->block.len >= CHECKPOINT_BLOCK_SOFT_MAX) {
            rc = block_end(w, err);
            if (rc != 0) {
                break;
            }
        }
        rc = chassis_cursor_next(cursor, &key, &value);
        if (rc != 0 && rc != CHASSIS_NOT_FOUND) {
            chassis_error_code(err, rc, "read table '%s'", txn->store->tables[table]);
        }
    }
    chassis_cursor_close(cursor);
    return rc == CHASSIS_NOT_FOUND ? 0 : rc;
}

static int write_all(struct writer *w, const struct checkpoint_header *h, struct chassis_txn *txn,
                     struct chassis_error *err)
{
    int rc = write_header(w, h, txn->store->tables, txn->store->n_tables, err);
    block_begin(w);
    for (unsigned t = 0; rc == 0 && t < txn->store->n_tables; t++) {
        rc = write_table(w, txn, t, err);
    }
    return rc != 0 ? rc : block_end(w, err);
}

static int writer_open(struct writer *w, struct chassis_disk *disk, const char *path,
                       struct chassis_error *err)
{
    memset(w, 0, sizeof *w);
    w->disk = disk;
    snprintf(w->path, sizeof w->path, "%s.tmp", path);
    (void)disk->ops->unlink(disk, w->path);
    int rc = disk->ops->open(disk, w->path, CHASSIS_DISK_WRITE | CHASSIS_DISK_CREATE, &w->file);
    return rc != 0 ? chassis_error_code(err, rc, "create '%s'", w->path) : 0;
}

/* Complete: trailer, sync, rename; or, with a code, remove what was written. */
static int writer_close(struct writer *w, int rc, const char *directory, const char *path,
                        struct chassis_error *err)
{
    rc = rc != 0 ? rc : write_trailer(w, err);
    if (rc == 0) {
        rc = CHASSIS_FAULT("consensus.checkpoint.sync") ? -5 : w->disk->ops->sync(w->file);
        if (rc != 0) {
            chassis_error_code(err, rc, "sync '%s'", w->path);
        }
    }
    w->disk->ops->close(w->file);
    chassis_buf_fini(&w->block);
    if (rc == 0) {
        rc = CHASSIS_FAULT("consensus.checkpoint.rename")
                 ? -5
                 : w->disk->ops->rename(w->disk, w->path, path);
        rc = rc != 0 ? rc : w->disk->ops->dir_sync(w->disk, directory);
        if (rc != 0) {
            chassis_error_code(err, rc, "rename '%s'", w->path);
        }
    }
    if (rc != 0) {
        (void)w->disk->ops->unlink(w->disk, w->path);
    }
    return rc;
}

int checkpoint_write(struct chassis_disk *disk, const char *directory,
                     const struct checkpoint_header *header, struct chassis_txn *txn,
                     struct chassis_error *err)
{
    char path[512];
    struct writer w;
    checkpoint_path(directory, header->index, path);
    int rc = writer_open(&w, disk, path, err);
    return rc != 0 ? rc : writer_close(&w, write_all(&w, header, txn, err), directory, path, err);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reader {
    struct chassis_disk *disk;
    struct chassis_file *file;
    const char *path;
    const char *advice; /* what to do when it is damaged */
    uint64_t offset;
    struct chassis_buf data;
};

static int corrupt(const struct reader *r, uint64_t offset, const char *what,
                   struct chassis_error *err)
{
    return chassis_error_set(err, CHASSIS_CORRUPT, "'%s' is damaged at offset %llu: %s; %s",
                             r->path, (unsigned long long)offset, what, r->advice);
}

/* The next `len` bytes, into r->data. */
static int take(struct reader *r, size_t len, struct chassis_error *err)
{
    size_t got = 0;
    chassis_buf_clear(&r->data);
    chassis_buf_reserve(&r->data, len + 1);
    int rc = r->disk->ops->read(r->file, r->offset, r->data.data, len, &got);
    if (rc != 0) {
        return chassis_error_code(err, rc, "read '%s' at offset %llu", r->path,
                                  (unsigned long long)r->offset);
    }
    if (got != len) {
        return corrupt(r, r->offset + got, "it ends too early", err);
    }
    r->data.len = len;
    r->offset += len;
    return 0;
}

static int header_fields(struct reader *r, const char *const *tables, unsigned wanted,
                         struct checkpoint_header *h, struct chassis_error *err)
{
    struct chassis_reader in = chassis_reader(chassis_buf_view(&r->data));
    struct chassis_view cluster = chassis_read_bytes(&in, sizeof h->cluster_id);
    if (!in.bad) {
        memcpy(h->cluster_id, cluster.data, cluster.len);
    }
    h->index = chassis_read_le64(&in);
    h->term = chassis_read_le64(&in);
    h->configuration_index = chassis_read_le64(&in);
    chassis_buf_append_view(&h->configuration, chassis_read_block(&in));
    uint32_t n_tables = chassis_read_le32(&in);
    bool same = tables == NULL || n_tables == wanted;
    for (uint32_t i = 0; i < n_tables && !in.bad && same; i++) {
        struct chassis_view name = chassis_read_block(&in);
        same = tables == NULL || chassis_view_eq(name, chassis_view_str(tables[i]));
    }
    if (in.bad || h->index == 0 || h->term == 0 || n_tables > CHASSIS_STORE_TABLES_MAX) {
        return corrupt(r, PREFIX_LEN, "malformed header", err);
    }
    if (!same) {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "'%s' holds other tables than this service has: it was written by "
                                 "another service or a newer version",
                                 r->path);
    }
    return 0;
}

/* With `tables` they are compared. */
static int read_header(struct reader *r, const char *const *tables, unsigned n_tables,
                       struct checkpoint_header *h, struct chassis_error *err)
{
    uint8_t prefix[PREFIX_LEN];
    int rc = take(r, PREFIX_LEN, err);
    if (rc != 0) {
        return rc;
    }
    memcpy(prefix, r->data.data, sizeof prefix);
    if (memcmp(prefix, checkpoint_magic, 8) != 0) {
        return corrupt(r, 0, "no checkpoint header", err);
    }
    uint32_t format = chassis_get_le32(prefix + 8), len = chassis_get_le32(prefix + 12);
    if (format > CHECKPOINT_FORMAT) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "'%s' has format %u, this program knows up to %d", r->path, format,
                                 CHECKPOINT_FORMAT);
    }
    if (format == 0 || len > CHECKPOINT_HEADER_MAX) {
        return corrupt(r, 8, "malformed header", err);
    }
    rc = take(r, len, err);
    if (rc != 0) {
        return rc;
    }
    if (chassis_crc32c(chassis_crc32c(0, prefix, 16), r->data.data, len) !=
        chassis_get_le32(prefix + 16)) {
        return corrupt(r, PREFIX_LEN, "wrong checksum of the header", err);
    }
    return header_fields(r, tables, n_tables, h, err);
}

/* The records of the block in r->data, which begins at `begin`. */
static int block_records(struct reader *r, uint64_t begin, struct chassis_txn *txn,
                         uint64_t *n_records, struct chassis_error *err)
{
    struct chassis_reader in = chassis_reader(chassis_buf_view(&r->data));
    while (chassis_reader_left(&in) != 0) {
        uint8_t table = chassis_read_byte(&in);
        struct chassis_view key = chassis_read_block(&in);
        struct chassis_view value = chassis_read_block(&in);
        if (in.bad || key.len == 0 || key.len > CHASSIS_STORE_KEY_MAX ||
            (txn != NULL && table >= txn->store->n_tables)) {
            return corrupt(r, begin, "malformed record", err);
        }
        ++*n_records;
        if (txn == NULL) {
            continue;
        }
        int rc = chassis_txn_append(txn, table, key, value);
        if (rc != 0) {
            return chassis_error_code(err, rc, "put a record of '%s'", r->path);
        }
    }
    return 0;
}

static int read_trailer(struct reader *r, uint64_t begin, uint64_t n_records, uint64_t n_blocks,
                        struct chassis_error *err)
{
    uint64_t size;
    uint32_t crc = chassis_get_le32(r->data.data + 4);
    int rc = take(r, TRAILER_LEN - BLOCK_HEADER_LEN, err);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *t = r->data.data;
    if (chassis_crc32c(0, t, TRAILER_LEN - 8) != crc || chassis_get_le64(t) != n_records ||
        chassis_get_le64(t + 8) != n_blocks || chassis_get_le64(t + 16) != r->offset) {
        return corrupt(r, begin, "the trailer does not fit what stands before it", err);
    }
    rc = r->disk->ops->size(r->file, &size);
    if (rc == 0 && size != r->offset) {
        return corrupt(r, r->offset, "bytes after the trailer", err);
    }
    return rc;
}

static int copy_block(struct writer *w, const struct reader *r, struct chassis_error *err)
{
    block_begin(w);
    chassis_buf_append_view(&w->block, chassis_buf_view(&r->data));
    return block_end(w, err);
}

/* Check all blocks and the trailer; the records go to `txn`, the blocks to `copy`, if given. */
static int read_blocks(struct reader *r, struct chassis_txn *txn, struct writer *copy,
                       struct chassis_error *err)
{
    uint64_t n_records = 0, n_blocks = 0;
    for (;;) {
        uint64_t begin = r->offset;
        int rc = take(r, BLOCK_HEADER_LEN, err);
        if (rc != 0) {
            return rc;
        }
        uint32_t len = chassis_get_le32(r->data.data), crc = chassis_get_le32(r->data.data + 4);
        if (len == TRAILER_MARK) {
            if (copy != NULL) {
                copy->n_records = n_records;
            }
            return read_trailer(r, begin, n_records, n_blocks, err);
        }
        if (len == 0 || len > CHECKPOINT_BLOCK_MAX) {
            return corrupt(r, begin, "malformed length of a block", err);
        }
        rc = take(r, len, err);
        if (rc == 0 && chassis_crc32c(0, r->data.data, len) != crc) {
            rc = corrupt(r, begin, "wrong checksum of a block", err);
        }
        rc = rc != 0 ? rc : block_records(r, begin, txn, &n_records, err);
        rc = rc != 0 || copy == NULL ? rc : copy_block(copy, r, err);
        if (rc != 0) {
            return rc;
        }
        n_blocks++;
    }
}

static int open_reader(struct chassis_disk *disk, const char *path, struct reader *r,
                       struct chassis_error *err)
{
    memset(r, 0, sizeof *r);
    r->disk = disk;
    r->path = path;
    r->advice = "see \"a node that refuses to start\" in docs/guide/backup-restore.md";
    int rc = disk->ops->open(disk, path, CHASSIS_DISK_READ, &r->file);
    return rc != 0 ? chassis_error_code(err, rc, "open '%s'", path) : 0;
}

static int load(struct chassis_disk *disk, const char *path, bool whole, struct chassis_txn *txn,
                struct checkpoint_header *ret_header, struct chassis_error *err)
{
    struct reader r;
    struct checkpoint_header h;
    memset(&h, 0, sizeof h);
    int rc = open_reader(disk, path, &r, err);
    if (rc != 0) {
        return rc;
    }
    rc = txn != NULL ? read_header(&r, txn->store->tables, txn->store->n_tables, &h, err)
                     : read_header(&r, NULL, 0, &h, err);
    for (unsigned t = 0; rc == 0 && txn != NULL && t < txn->store->n_tables; t++) {
        rc = chassis_txn_clear(txn, t);
    }
    if (rc == 0 && whole) {
        rc = read_blocks(&r, txn, NULL, err);
    }
    disk->ops->close(r.file);
    chassis_buf_fini(&r.data);
    if (rc == 0 && ret_header != NULL) {
        *ret_header = h;
    } else {
        checkpoint_header_fini(&h);
    }
    return rc;
}

int checkpoint_read_header(struct chassis_disk *disk, const char *path,
                           struct checkpoint_header *ret_header, struct chassis_error *err)
{
    return load(disk, path, false, NULL, ret_header, err);
}

int checkpoint_load(struct chassis_disk *disk, const char *path, struct chassis_txn *txn,
                    struct checkpoint_header *ret_header, struct chassis_error *err)
{
    return load(disk, path, true, txn, ret_header, err);
}

int checkpoint_copy(struct chassis_disk *disk, const char *from, const char *directory,
                    const char *const *tables, unsigned n_tables,
                    const struct checkpoint_header *identity, struct checkpoint_header *ret_header,
                    struct chassis_error *err)
{
    struct reader r;
    struct writer w;
    struct checkpoint_header h;
    char path[512];
    memset(&h, 0, sizeof h);
    int rc = open_reader(disk, from, &r, err);
    if (rc != 0) {
        return rc;
    }
    r.advice = "this backup cannot be used: take another one";
    rc = read_header(&r, tables, n_tables, &h, err);
    if (rc == 0) {
        checkpoint_path(directory, h.index, path);
        memcpy(h.cluster_id, identity->cluster_id, sizeof h.cluster_id);
        chassis_buf_clear(&h.configuration);
        chassis_buf_append_view(&h.configuration, chassis_buf_view(&identity->configuration));
        rc = writer_open(&w, disk, path, err);
    }
    if (rc == 0) {
        rc = write_header(&w, &h, tables, n_tables, err);
        rc = rc != 0 ? rc : read_blocks(&r, NULL, &w, err);
        rc = writer_close(&w, rc, directory, path, err);
    }
    disk->ops->close(r.file);
    chassis_buf_fini(&r.data);
    if (rc == 0) {
        *ret_header = h;
    } else {
        checkpoint_header_fini(&h);
    }
    return rc;
}
