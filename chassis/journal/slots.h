/* A small durable value in two checksummed slots (term and vote of a replica): a write goes to the
 * older slot and is synced, so a crash leaves the old or the new value, never neither. Damage of a
 * slot that was complete is a refusal naming the file: a forgotten vote could elect two leaders.
 *
 * Threads: one owner at a time. Blocking.
 */
#ifndef CHASSIS_JOURNAL_SLOTS_H
#define CHASSIS_JOURNAL_SLOTS_H

#include "os/disk.h"

enum { CHASSIS_SLOTS_VALUE_MAX = 200 };
struct chassis_slots;

/* Reads the newest valid value into ret_value (empty when the file is new). */
int chassis_slots_open(struct chassis_disk *disk, const char *path,
                       struct chassis_slots **ret_slots, struct chassis_buf *ret_value,
                       struct chassis_error *err);
/* Returns after the sync. */
int chassis_slots_write(struct chassis_slots *slots, struct chassis_view value,
                        struct chassis_error *err);
void chassis_slots_close(struct chassis_slots *slots);

#endif
