/* Who this node is: written once at first start, checked at every later one.
 *
 * Small files of one form: magic (8) | format u32 | payload length u32 | crc32c u32 of the payload |
 * payload. A damaged one is refused with its name and offset, never repaired by guessing.
 *
 * Threads: blocking; at boot.
 */
#ifndef CHASSIS_CONSENSUS_IDENTITY_H
#define CHASSIS_CONSENSUS_IDENTITY_H

#include <chassis/consensus.h>

#include "os/disk.h"

enum { SMALL_FILE_HEADER_LEN = 20, SMALL_FILE_BYTES_MAX = 64 * 1024 };

/* CHASSIS_NOT_FOUND if there is none; CHASSIS_CORRUPT, CHASSIS_BAD_VERSION with file and offset. */
int small_file_read(struct chassis_disk *disk, const char *path, const char magic[8],
                    uint32_t format, struct chassis_buf *ret_payload, struct chassis_error *err);
int small_file_write(struct chassis_disk *disk, const char *path, const char magic[8],
                     uint32_t format, struct chassis_view payload, struct chassis_error *err);

enum { IDENTITY_ORIGIN_LEN = 16 };
struct identity {
    uint8_t cluster_id[16];
    uint8_t origin[IDENTITY_ORIGIN_LEN]; /* zero, or drawn when a backup was restored */
    uint64_t id;   /* of this node: place of its name in the sorted list, from 1 */
    uint64_t boot; /* incarnation (24 bits) << 32 | number of this start, from 1 */
    bool joined;   /* it has a log, and may have promised something */
    unsigned n_members;
    struct chassis_consensus_member members[CHASSIS_CONSENSUS_NODES_MAX];
};

/* Parse and sort "name@host:port" texts; ids follow the order of the names. */
int identity_members(const char *const *texts, unsigned n, struct identity *ret_identity,
                     struct chassis_error *err);
/* The data that a node began with: a node that comes back with another incarnation lost it. */
static inline uint32_t identity_incarnation(uint64_t boot)
{
    return (uint32_t)(boot >> 32);
}

/* The first boot number of a drawn incarnation. */
uint64_t identity_new_boot(void);

struct identity_options {
    const char *name; /* of this node */
    const char *const *members;
    unsigned n_members;
    struct chassis_view secret;
    uint64_t first_boot; /* boot number if there is no identity yet */
};
/* Load `directory`/identity or make it; either way the boot number is one higher and durable.
 * CHASSIS_CONFIG if name or list differ from those of the first start (the address of a node that
 * stands alone may). */
int identity_open(struct chassis_disk *disk, const char *directory,
                  const struct identity_options *options, struct identity *ret_identity,
                  struct chassis_error *err);
/* Before the node takes part for the first time: durable in `directory`/identity. */
int identity_join(struct chassis_disk *disk, const char *directory, struct chassis_error *err);
/* Make one for a node that was not started yet and comes from a backup. */
int identity_create(struct chassis_disk *disk, const char *directory,
                    const struct identity_options *options,
                    const uint8_t origin[IDENTITY_ORIGIN_LEN], struct identity *ret_identity,
                    struct chassis_error *err);

#endif
