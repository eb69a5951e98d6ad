/* Rows of the catalog that belong to the broker, as bytes: one table of fields per row gives encode
 * and decode. The first byte is the format version; a field names the version it came with, so that a
 * row of an older version decodes with that field zero.
 *
 * Invariants: no input makes decode read out of bounds; a newer version is CHASSIS_BAD_VERSION naming
 * both. Threads: any. Ownership: decoded views point into the input.
 */
#ifndef CAT_BROKER_CODEC_H
#define CAT_BROKER_CODEC_H

#include "catalyst/broker/broker.h"

struct cat_stream_row {
    struct cat_stream_config config; /* `takes` points to `selections` once decoded */
    uint32_t number;
    int64_t created_ns;
    struct cat_selection selections[CAT_SELECTIONS_MAX];
};

void cat_stream_row_encode(const struct cat_stream_config *config, uint32_t number,
                           int64_t created_ns, struct chassis_buf *out);
int cat_stream_row_decode(struct chassis_view bytes, struct cat_stream_row *ret_row,
                          struct chassis_error *err);

/* Keys of rows that belong to a stream: its number, big-endian. */
struct cat_number_key {
    uint8_t bytes[4];
};
struct cat_number_key cat_number_key(uint32_t number);
/* One number as a row: floors (a sequence), counters. */
struct cat_number_row {
    uint8_t bytes[9];
};
struct cat_number_row cat_number_row(uint64_t value);
int cat_number_row_decode(struct chassis_view row, uint64_t *ret_value, struct chassis_error *err);

#endif
