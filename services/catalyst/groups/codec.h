/* Rows of groups as bytes: configuration (catalog kind 3) and place (kind 4). The first byte is the
 * format version; the configuration is one table of fields, each with the version that brought it, so
 * that a row of an older version decodes with that field zero. Version 1 of a place has
 * attempts << 4 and no letters.
 *
 *     place: version 2 · next varint · saved at, ms since the epoch varint · keys are kept 1 ·
 *            replayed runs: count varint, from - last to varint, to - from varint ·
 *            entries: count varint, then each: sequence - the last one's varint ·
 *            attempts << 5 | came back << 4 | cause << 1 | waits varint · ms to wait varint if it
 *            waits · letter it came back from varint if it did ·
 *            saved - first delivery in ms zigzag if attempts != 0 · key 4 if keys are kept
 *
 * Invariants: no input makes decode read out of bounds or take more memory than about 50 times its
 * length; a newer version is CHASSIS_BAD_VERSION naming both; what decodes, encodes and decodes
 * to the same again.
 * Threads: any. Ownership: decoded views point into the input.
 */
#ifndef CAT_GROUPS_CODEC_H
#define CAT_GROUPS_CODEC_H

#include "catalyst/groups/groups.h"
#include "catalyst/groups/model.h"
#include "catalyst/groups/runs.h"

struct cat_group_row {
    struct cat_group_config config;
    uint32_t number; /* of the group within this node */
    int64_t created_ns;
};

void cat_group_row_encode(const struct cat_group_row *row, struct chassis_buf *out);
int cat_group_row_decode(struct chassis_view bytes, struct cat_group_row *ret_row,
                         struct chassis_error *err);

void cat_place_row_encode(const struct cat_place *place, const struct cat_runs *replayed,
                          uint64_t now_ns, int64_t wall_ms, struct chassis_buf *out);
/* Into a place that has its rules and no entry, and an empty set; after a failure they may hold a
 * part. What waited goes on waiting for what is left of it at `wall_ms`. */
int cat_place_row_decode(struct chassis_view bytes, uint64_t now_ns, int64_t wall_ms,
                         struct cat_place *place, struct cat_runs *replayed,
                         struct chassis_error *err);

/* The key of a group's configuration: its stream's number, then its name. */
void cat_group_key(uint32_t stream, struct chassis_view name, struct chassis_buf *out);

#endif
