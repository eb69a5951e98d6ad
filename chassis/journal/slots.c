/* Two slots of one sector each, at offsets 0 and 4096. A write goes to the slot that does not hold
 * the present value.
 *
 *     slot: magic 4 · crc32c 4 (of all that follows) · format 2 · length 2 · 0 4 · version 8 · value
 *
 * The file is made whole (both slots, the second empty) by an atomic replace. Afterwards a slot is
 * written whole or not at all, since it lies in one sector: a slot whose checksum is wrong was
 * damaged, and if it held the newest value, a vote would be forgotten.
 */
#include "journal/slots.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "journal/format.h"

enum { SLOT_STEP = 4096, SLOT_HEADER = 24, SLOT_SIZE = 512, SLOTS_FORMAT = 1 };
#define SLOT_MAGIC 0x544f4c53U /* "SLOT" */

struct chassis_slots {
    struct chassis_disk *disk;
    struct chassis_file *file;
    char *path;
    uint64_t version; /* of the present value; it stands in slot version % 2 */
};

static void slot_encode(uint8_t out[SLOT_SIZE], uint64_t version, struct chassis_view value)
{
    memset(out, 0, SLOT_SIZE);
    chassis_put_le32(out, SLOT_MAGIC);
    chassis_put_le16(out + 8, SLOTS_FORMAT);
    chassis_put_le16(out + 10, (uint16_t)value.len);
    chassis_put_le64(out + 16, version);
    if (value.len != 0) {
        memcpy(out + SLOT_HEADER, value.data, value.len);
    }
    chassis_put_le32(out + 4, chassis_crc32c(0, out + 8, SLOT_SIZE - 8));
}

static int slot_check(const uint8_t *slot, unsigned which, const char *path,
                      struct chassis_error *err)
{
    if (chassis_get_le32(slot) != SLOT_MAGIC ||
        chassis_get_le32(slot + 4) != chassis_crc32c(0, slot + 8, SLOT_SIZE - 8) ||
        chassis_get_le64(slot + 16) % 2 != which ||
        chassis_get_le16(slot + 10) > CHASSIS_SLOTS_VALUE_MAX) {
        return chassis_error_set(err, CHASSIS_CORRUPT,
                                 "'%s' is damaged at offset %u: wrong checksum; %s", path,
                                 which * SLOT_STEP, JOURNAL_REPAIR);
    }
    if (chassis_get_le16(slot + 8) > SLOTS_FORMAT) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "'%s' has format %u, this program knows up to %u: run the newer "
                                 "version",
                                 path, chassis_get_le16(slot + 8), SLOTS_FORMAT);
    }
    return 0;
}

static int make_file(struct chassis_disk *disk, const char *path, struct chassis_error *err)
{
    uint8_t *bytes = chassis_base_zalloc(SLOT_STEP + SLOT_SIZE);
    slot_encode(bytes, 2, chassis_view(NULL, 0));
    slot_encode(bytes + SLOT_STEP, 1, chassis_view(NULL, 0));
    int rc = chassis_disk_replace_file(disk, path, chassis_view(bytes, SLOT_STEP + SLOT_SIZE), err);
    free(bytes);
    return rc;
}

int chassis_slots_open(struct chassis_disk *disk, const char *path,
                       struct chassis_slots **ret_slots, struct chassis_buf *ret_value,
                       struct chassis_error *err)
{
    struct chassis_buf data = {0};
    int rc = chassis_disk_read_file(disk, path, SLOT_STEP + SLOT_SIZE, &data, err);
    if (rc == -ENOENT) {
        rc = make_file(disk, path, err);
        if (rc == 0) {
            rc = chassis_disk_read_file(disk, path, SLOT_STEP + SLOT_SIZE, &data, err);
        }
    }
    if (rc == CHASSIS_TOO_LARGE || (rc == 0 && data.len != SLOT_STEP + SLOT_SIZE)) {
        rc = chassis_error_set(err, CHASSIS_CORRUPT, "'%s' is damaged: wrong size; %s", path,
                               JOURNAL_REPAIR);
    }
    for (unsigned i = 0; rc == 0 && i < 2; i++) {
        rc = slot_check(data.data + i * SLOT_STEP, i, path, err);
    }
    struct chassis_file *file = NULL;
    if (rc == 0) {
        rc = disk->ops->open(disk, path, CHASSIS_DISK_WRITE, &file);
        if (rc == 0) {
            /* What a killed process wrote last is acted on from now on. */
            rc = disk->ops->sync(file);
        }
        if (rc < 0) {
            disk->ops->close(file);
            chassis_error_code(err, rc, "open '%s'", path);
        }
    }
    if (rc < 0) {
        chassis_buf_fini(&data);
        return rc;
    }
    uint64_t v0 = chassis_get_le64(data.data + 16);
    uint64_t v1 = chassis_get_le64(data.data + SLOT_STEP + 16);
    const uint8_t *newest = data.data + (v1 > v0 ? SLOT_STEP : 0);
    struct chassis_slots *s = chassis_base_alloc(sizeof *s);
    *s = (struct chassis_slots){disk, file, chassis_base_strdup(path), v1 > v0 ? v1 : v0};
    chassis_buf_init(ret_value);
    chassis_buf_append(ret_value, newest + SLOT_HEADER, chassis_get_le16(newest + 10));
    chassis_buf_fini(&data);
    *ret_slots = s;
    return 0;
}

int chassis_slots_write(struct chassis_slots *s, struct chassis_view value,
                        struct chassis_error *err)
{
    CHASSIS_ASSERT(value.len <= CHASSIS_SLOTS_VALUE_MAX);
    uint8_t bytes[SLOT_SIZE];
    uint64_t version = s->version + 1;
    slot_encode(bytes, version, value);
    int rc = s->disk->ops->write(s->file, version % 2 * SLOT_STEP, bytes, sizeof bytes);
    if (rc == 0) {
        rc = s->disk->ops->sync(s->file);
    }
    if (rc < 0) {
        return chassis_error_code(err, rc, "write '%s'", s->path);
    }
    s->version = version;
    return 0;
}

void chassis_slots_close(struct chassis_slots *s)
{
    if (s != NULL) {
        s->disk->ops->close(s->file);
        free(s->path);
        free(s);
    }
}
