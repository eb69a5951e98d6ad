/* Checkpoints: the whole store in one engine-neutral file.
 *
 *   header  = "DRFTCHKP" | format u32 (1) | length u32 | crc32c u32 | payload
 *             payload: cluster id (16) | index u64 | term u64 | configuration index u64
 *                      | configuration (block) | tables u32 | table name (block)…
 *   block   = length u32 | crc32c u32 | record…        (about 64 KiB, whole records)
 *             record: table u8 | key (block) | value (block), sorted by (table, key)
 *   trailer = 0xffffffff | crc32c u32 | records u64 | blocks u64 | file length u64
 *
 * A file is written beside its name, synced and renamed, so what bears the name is complete; it is
 * still verified whenever it is opened, sent or loaded.
 *
 * Threads: blocking: workers, the apply role (load) and boot. Ownership: readers are closed.
 */
#ifndef CHASSIS_CONSENSUS_CHECKPOINT_H
#define CHASSIS_CONSENSUS_CHECKPOINT_H

#include <chassis/plugin/repository.h>

#include "os/disk.h"

enum {
    CHECKPOINT_FORMAT = 1,
    CHECKPOINT_BLOCK_SOFT_MAX = 64 * 1024,
    CHECKPOINT_BLOCK_MAX = 16 * 1024 * 1024,
    CHECKPOINT_HEADER_MAX = 64 * 1024,
};

struct checkpoint_header {
    uint8_t cluster_id[16];
    uint64_t index, term;
    uint64_t configuration_index;
    struct chassis_buf configuration; /* as raft encodes it */
};
void checkpoint_header_fini(struct checkpoint_header *header);

/* directory/checkpoint-<index>.ckpt */
void checkpoint_path(const char *directory, uint64_t index, char out[512]);
/* Index of the newest one by name, 0 if none; `remove_older` deletes the others and leftovers. */
int checkpoint_newest(struct chassis_disk *disk, const char *directory, bool remove_older,
                      uint64_t *ret_index, struct chassis_error *err);

/* Write what `txn` sees to directory/checkpoint-<header->index>.ckpt, durable when it returns. */
int checkpoint_write(struct chassis_disk *disk, const char *directory,
                     const struct checkpoint_header *header, struct chassis_txn *txn,
                     struct chassis_error *err);

/* Only the header. */
int checkpoint_read_header(struct chassis_disk *disk, const char *path,
                           struct checkpoint_header *ret_header, struct chassis_error *err);
/* Read and check every byte; with `txn`, clear its tables and put the records. CHASSIS_CORRUPT with
 * file and offset, CHASSIS_BAD_VERSION, CHASSIS_CONFIG if the tables are not those of the store. */
int checkpoint_load(struct chassis_disk *disk, const char *path, struct chassis_txn *txn,
                    struct checkpoint_header *ret_header, struct chassis_error *err);

/* Write the state of the file `from`, every byte of it checked, to `directory` as the checkpoint of
 * another cluster: cluster id and configuration are those of `identity`, index and term stay.
 * CHASSIS_CONFIG if its tables are not `tables`. */
int checkpoint_copy(struct chassis_disk *disk, const char *from, const char *directory,
                    const char *const *tables, unsigned n_tables,
                    const struct checkpoint_header *identity, struct checkpoint_header *ret_header,
                    struct chassis_error *err);

#endif
