/* Fixed-width integers in byte strings: little-endian for files and messages, big-endian for keys
 * that must sort by value. Bounded reading with chassis_reader.
 *
 * Threads: any.
 */
#ifndef CHASSIS_BASE_BYTES_H
#define CHASSIS_BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <chassis/buf.h>

static inline void chassis_put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void chassis_put_le32(uint8_t *p, uint32_t v)
{
    chassis_put_le16(p, (uint16_t)v);
    chassis_put_le16(p + 2, (uint16_t)(v >> 16));
}
static inline void chassis_put_le64(uint8_t *p, uint64_t v)
{
    chassis_put_le32(p, (uint32_t)v);
    chassis_put_le32(p + 4, (uint32_t)(v >> 32));
}
static inline uint16_t chassis_get_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t chassis_get_le32(const uint8_t *p)
{
    return chassis_get_le16(p) | (uint32_t)chassis_get_le16(p + 2) << 16;
}
static inline uint64_t chassis_get_le64(const uint8_t *p)
{
    return chassis_get_le32(p) | (uint64_t)chassis_get_le32(p + 4) << 32;
}
static inline void chassis_put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}
static inline void chassis_put_be64(uint8_t *p, uint64_t v)
{
    chassis_put_be32(p, (uint32_t)(v >> 32));
    chassis_put_be32(p + 4, (uint32_t)v);
}
static inline uint32_t chassis_get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint64_t chassis_get_be64(const uint8_t *p)
{
    return (uint64_t)chassis_get_be32(p) << 32 | chassis_get_be32(p + 4);
}

void chassis_buf_append_le32(struct chassis_buf *buf, uint32_t v);
void chassis_buf_append_le64(struct chassis_buf *buf, uint64_t v);
/* Base-128 variable-length integer, as protobuf writes it; at most 10 bytes. */
void chassis_buf_append_varint(struct chassis_buf *buf, uint64_t v);
/* Length as varint, then the bytes. */
void chassis_buf_append_block(struct chassis_buf *buf, struct chassis_view view);

/* Reads from a view; once something did not fit, `bad` stays true and every further read gives
 * zero, so a decoder checks once at its end. */
struct chassis_reader {
    const uint8_t *next, *end;
    bool bad;
};
static inline struct chassis_reader chassis_reader(struct chassis_view view)
{
    struct chassis_reader r = {view.data, view.len != 0 ? view.data + view.len : view.data, false};
    return r;
}
static inline size_t chassis_reader_left(const struct chassis_reader *r)
{
    return (size_t)(r->end - r->next);
}
uint8_t chassis_read_byte(struct chassis_reader *r);
uint32_t chassis_read_le32(struct chassis_reader *r);
uint64_t chassis_read_le64(struct chassis_reader *r);
uint64_t chassis_read_varint(struct chassis_reader *r);
struct chassis_view chassis_read_bytes(struct chassis_reader *r, size_t len);
struct chassis_view chassis_read_block(struct chassis_reader *r);

#endif
