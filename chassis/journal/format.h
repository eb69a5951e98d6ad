/* What stands in the journal's files. Little-endian.
 *
 *     segment "%016x.seg":  header (512 bytes, used 32) · records, 8-byte aligned · zeros
 *       segment header      magic 4 · crc32c 4 (of the 24 bytes that follow) · format 2 · 0 2 ·
 *                           size 4 · number 8 · 0 8
 *       record              magic 4 · crc32c 4 (of all that follows, payload included) · format 2 ·
 *                           type 2 · kind 2 · 0 2 · stream 4 · length 4 · sequence 8 · index 8 ·
 *                           term 8 · time 8 · durable-so-far 8 · payload · zeros up to 8 bytes
 *     "high-water":         magic 4 · crc32c 4 (of the 40 bytes that follow) · format 2 · 0 6 ·
 *                           segment 8 · offset 8 · sequence 8 · first segment 8
 *
 * `sequence` rises by one from record to record over all streams and segments: a hole is visible.
 * `durable-so-far` is the sequence known to be synced when the record was written: a record found
 * beyond a break proves by it whether what is missing was durable.
 * The high-water file lies in one sector, so it is written whole or not at all.
 *
 * Versions: each part carries the lowest format whose programs understand it, and is refused
 * (CHASSIS_BAD_VERSION) by those that know less. 1: all but copies. 2: records of kind copy. So a
 * journal in which nothing was copied forward can be opened by a program that only knows format 1,
 * and every journal by a newer one.
 */
#ifndef CHASSIS_JOURNAL_FORMAT_H
#define CHASSIS_JOURNAL_FORMAT_H

#include "journal/journal.h"

enum {
    JOURNAL_FORMAT = 2,        /* the newest this program knows */
    JOURNAL_FORMAT_OLDEST = 1, /* of what every version can read */
    SEGMENT_HEADER_SIZE = 512,
    RECORD_HEADER_SIZE = 64,
    HIGH_WATER_SIZE = 48,
};
#define SEGMENT_MAGIC    0x47455344U /* "DSEG" */
#define RECORD_MAGIC     0x4352444aU /* "JDRC" */
#define HIGH_WATER_MAGIC 0x4b524d48U /* "HMRK" */

enum record_kind {
    RECORD_DATA = 1,
    RECORD_MARKER = 2, /* says only that all before it is durable; type 1: a clean shutdown */
    RECORD_RESET =
        3,           /* the stream is empty and goes on after `index`, whose term is `term`; type 1:
                          it is forgotten */
    RECORD_COPY = 4, /* a data record that stood further back, again: it replaces nothing */
};

struct record_header {
    uint16_t format, type, kind;
    uint32_t stream, length;
    uint64_t sequence, index, term, durable;
    int64_t time_ns;
};
struct high_water {
    uint64_t segment, offset, sequence, first_segment;
};

static inline size_t record_size(size_t payload_len)
{
    return (RECORD_HEADER_SIZE + payload_len + 7) & ~(size_t)7;
}
/* Appends header, payload and padding. */
void record_encode(struct chassis_buf *buf, const struct record_header *header,
                   struct chassis_view payload);
/* The fields, whatever they are; false if the magic is another. */
bool record_header_decode(const uint8_t bytes[RECORD_HEADER_SIZE], struct record_header *ret);
/* `bytes` holds header and payload. */
bool record_crc_ok(const uint8_t *bytes, uint32_t length);

void segment_header_encode(uint8_t out[SEGMENT_HEADER_SIZE], uint32_t number, uint32_t size);
/* CHASSIS_CORRUPT or CHASSIS_BAD_VERSION; `err` names `path`. */
int segment_header_decode(const uint8_t *bytes, size_t len, const char *path, uint32_t number,
                          uint32_t *ret_size, struct chassis_error *err);
void high_water_encode(uint8_t out[HIGH_WATER_SIZE], const struct high_water *hw);
int high_water_decode(const uint8_t *bytes, size_t len, const char *path, struct high_water *ret,
                      struct chassis_error *err);

#define JOURNAL_REPAIR                                                                             \
    "restore this node from its peers (move the directory away and start it again) or from a "     \
    "backup"

#endif
