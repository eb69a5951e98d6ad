#include "journal/format.h"

#include "base/bytes.h"
#include "base/hash.h"

void record_encode(struct chassis_buf *buf, const struct record_header *h,
                   struct chassis_view payload)
{
    size_t size = record_size(payload.len);
    chassis_buf_reserve(buf, size);
    uint8_t *p = buf->data + buf->len;
    chassis_put_le32(p, RECORD_MAGIC);
    chassis_put_le16(p + 8, h->format);
    chassis_put_le16(p + 10, h->type);
    chassis_put_le16(p + 12, h->kind);
    chassis_put_le16(p + 14, 0);
    chassis_put_le32(p + 16, h->stream);
    chassis_put_le32(p + 20, (uint32_t)payload.len);
    chassis_put_le64(p + 24, h->sequence);
    chassis_put_le64(p + 32, h->index);
    chassis_put_le64(p + 40, h->term);
    chassis_put_le64(p + 48, (uint64_t)h->time_ns);
    chassis_put_le64(p + 56, h->durable);
    if (payload.len != 0) {
        memcpy(p + RECORD_HEADER_SIZE, payload.data, payload.len);
    }
    memset(p + RECORD_HEADER_SIZE + payload.len, 0, size - RECORD_HEADER_SIZE - payload.len);
    chassis_put_le32(p + 4, chassis_crc32c(0, p + 8, RECORD_HEADER_SIZE - 8 + payload.len));
    buf->len += size;
}

bool record_header_decode(const uint8_t p[RECORD_HEADER_SIZE], struct record_header *ret)
{
    if (chassis_get_le32(p) != RECORD_MAGIC) {
        return false;
    }
    *ret = (struct record_header){
        .format = chassis_get_le16(p + 8),
        .type = chassis_get_le16(p + 10),
        .kind = chassis_get_le16(p + 12),
        .stream = chassis_get_le32(p + 16),
        .length = chassis_get_le32(p + 20),
        .sequence = chassis_get_le64(p + 24),
        .index = chassis_get_le64(p + 32),
        .term = chassis_get_le64(p + 40),
        .time_ns = (int64_t)chassis_get_le64(p + 48),
        .durable = chassis_get_le64(p + 56),
    };
    return true;
}

bool record_crc_ok(const uint8_t *bytes, uint32_t length)
{
    return chassis_get_le32(bytes + 4) ==
           chassis_crc32c(0, bytes + 8, RECORD_HEADER_SIZE - 8 + (size_t)length);
}

void segment_header_encode(uint8_t out[SEGMENT_HEADER_SIZE], uint32_t number, uint32_t size)
{
    memset(out, 0, SEGMENT_HEADER_SIZE);
    chassis_put_le32(out, SEGMENT_MAGIC);
    chassis_put_le16(out + 8, JOURNAL_FORMAT_OLDEST);
    chassis_put_le32(out + 12, size);
    chassis_put_le64(out + 16, number);
    chassis_put_le32(out + 4, chassis_crc32c(0, out + 8, 24));
}

static int check_head(const uint8_t *bytes, size_t len, size_t want, uint32_t magic,
                      const char *path, struct chassis_error *err)
{
    if (len < want) {
        return chassis_error_set(err, CHASSIS_CORRUPT, "'%s' is cut off at %zu bytes; %s", path,
                                 len, JOURNAL_REPAIR);
    }
    if (chassis_get_le32(bytes) != magic ||
        chassis_get_le32(bytes + 4) != chassis_crc32c(0, bytes + 8, want - 8)) {
        return chassis_error_set(err, CHASSIS_CORRUPT,
                                 "'%s' is damaged at offset 0: wrong checksum; %s", path,
                                 JOURNAL_REPAIR);
    }
    uint16_t format = chassis_get_le16(bytes + 8);
    if (format > JOURNAL_FORMAT) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "'%s' has format %u, this program knows up to %u: run the newer "
                                 "version",
                                 path, format, JOURNAL_FORMAT);
    }
    return 0;
}

int segment_header_decode(const uint8_t *bytes, size_t len, const char *path, uint32_t number,
                          uint32_t *ret_size, struct chassis_error *err)
{
    int rc = check_head(bytes, len, 32, SEGMENT_MAGIC, path, err);
    if (rc < 0) {
        return rc;
    }
    uint32_t size = chassis_get_le32(bytes + 12);
    if (chassis_get_le64(bytes + 16) != number || size < SEGMENT_HEADER_SIZE + RECORD_HEADER_SIZE ||
        size > 1U << 30) {
        return chassis_error_set(err, CHASSIS_CORRUPT,
                                 "'%s' is damaged at offset 0: the file of another segment; %s",
                                 path, JOURNAL_REPAIR);
    }
    *ret_size = size;
    return 0;
}

void high_water_encode(uint8_t out[HIGH_WATER_SIZE], const struct high_water *hw)
{
    memset(out, 0, HIGH_WATER_SIZE);
    chassis_put_le32(out, HIGH_WATER_MAGIC);
    chassis_put_le16(out + 8, JOURNAL_FORMAT_OLDEST);
    chassis_put_le64(out + 16, hw->segment);
    chassis_put_le64(out + 24, hw->offset);
    chassis_put_le64(out + 32, hw->sequence);
    chassis_put_le64(out + 40, hw->first_segment);
    chassis_put_le32(out + 4, chassis_crc32c(0, out + 8, HIGH_WATER_SIZE - 8));
}

int high_water_decode(const uint8_t *bytes, size_t len, const char *path, struct high_water *ret,
                      struct chassis_error *err)
{
    int rc = check_head(bytes, len, HIGH_WATER_SIZE, HIGH_WATER_MAGIC, path, err);
    if (rc == 0) {
        *ret = (struct high_water){
            .segment = chassis_get_le64(bytes + 16),
            .offset = chassis_get_le64(bytes + 24),
            .sequence = chassis_get_le64(bytes + 32),
            .first_segment = chassis_get_le64(bytes + 40),
        };
    }
    return rc;
}
