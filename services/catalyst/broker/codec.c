#include "catalyst/broker/codec.h"

#include "base/assert.h"
#include "base/bytes.h"

enum { CODEC_VERSION = 1 };

enum field_type { FIELD_U32, FIELD_U64, FIELD_TEXT, FIELD_TAKES };

struct field {
    enum field_type type;
    uint8_t since;
    size_t offset;
};

#define AT(member) offsetof(struct cat_stream_row, member)
static const struct field fields[] = {
    {FIELD_U32, 1, AT(number)},
    {FIELD_U64, 1, AT(created_ns)},
    {FIELD_TEXT, 1, AT(config.name)},
    {FIELD_TAKES, 1, 0},
    {FIELD_U32, 1, AT(config.durability)},
    {FIELD_U32, 1, AT(config.interval_ms)},
    {FIELD_U64, 1, AT(config.age_max_ms)},
    {FIELD_U64, 1, AT(config.bytes_max)},
    {FIELD_U64, 1, AT(config.events_max)},
    {FIELD_U64, 1, AT(config.dedupe_ms)},
    {FIELD_U32, 1, AT(config.event_bytes_max)},
    {FIELD_U32, 1, AT(config.when_full)},
    {FIELD_TEXT, 1, AT(config.backend)},
    {FIELD_TEXT, 1, AT(config.description)},
};
#undef AT
enum { N_FIELDS = sizeof fields / sizeof fields[0] };

static void encode_takes(const struct cat_stream_config *config, struct chassis_buf *out)
{
    chassis_buf_append_varint(out, config->n_takes);
    for (uint32_t i = 0; i < config->n_takes; i++) {
        chassis_buf_append_block(out, config->takes[i].source);
        chassis_buf_append_block(out, config->takes[i].type);
        chassis_buf_append_block(out, config->takes[i].subject);
    }
}

void cat_stream_row_encode(const struct cat_stream_config *config, uint32_t number,
                           int64_t created_ns, struct chassis_buf *out)
{
    struct cat_stream_row row; /* without its selections, which need not be copied */
    row.config = *config;
    row.number = number;
    row.created_ns = created_ns;
    chassis_buf_append_byte(out, CODEC_VERSION);
    for (unsigned i = 0; i < N_FIELDS; i++) {
        const uint8_t *at = (const uint8_t *)&row + fields[i].offset;
        uint32_t u32;
        uint64_t u64;
        struct chassis_view view;
        switch (fields[i].type) {
        case FIELD_U32:
            memcpy(&u32, at, sizeof u32);
            chassis_buf_append_varint(out, u32);
            break;
        case FIELD_U64:
            memcpy(&u64, at, sizeof u64);
            chassis_buf_append_varint(out, u64);
            break;
        case FIELD_TEXT:
            memcpy(&view, at, sizeof view);
            chassis_buf_append_block(out, view);
            break;
        case FIELD_TAKES:
            encode_takes(config, out);
            break;
        }
    }
}

static void decode_takes(struct chassis_reader *reader, struct cat_stream_row *row)
{
    uint64_t n = chassis_read_varint(reader);
    if (n > CAT_SELECTIONS_MAX) {
        reader->bad = true;
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        row->selections[i].source = chassis_read_block(reader);
        row->selections[i].type = chassis_read_block(reader);
        row->selections[i].subject = chassis_read_block(reader);
    }
    row->config.takes = row->selections;
    row->config.n_takes = (uint32_t)n;
}

static int check_version(struct chassis_reader *reader, const char *what, uint8_t *ret_version,
                         struct chassis_error *err)
{
    *ret_version = chassis_read_byte(reader);
    if (*ret_version > CODEC_VERSION) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "%s has format version %u, this program knows up to %u: run the "
                                 "newer version",
                                 what, *ret_version, CODEC_VERSION);
    }
    return 0;
}

int cat_stream_row_decode(struct chassis_view bytes, struct cat_stream_row *row,
                          struct chassis_error *err)
{
    struct chassis_reader reader = chassis_reader(bytes);
    uint8_t version;
    int rc = check_version(&reader, "the row of a stream", &version, err);
    if (rc < 0) {
        return rc;
    }
    memset(&row->config, 0, sizeof row->config);
    for (unsigned i = 0; i < N_FIELDS; i++) {
        uint8_t *at = (uint8_t *)row + fields[i].offset;
        if (fields[i].since > version) {
            continue;
        }
        uint64_t value;
        struct chassis_view view;
        switch (fields[i].type) {
        case FIELD_U32:
            value = chassis_read_varint(&reader);
            reader.bad = reader.bad || value > UINT32_MAX;
            memcpy(at, &(uint32_t){(uint32_t)value}, sizeof(uint32_t));
            break;
        case FIELD_U64:
            value = chassis_read_varint(&reader);
            memcpy(at, &value, sizeof value);
            break;
        case FIELD_TEXT:
            view = chassis_read_block(&reader);
            memcpy(at, &view, sizeof view);
            break;
        case FIELD_TAKES:
            decode_takes(&reader, row);
            break;
        }
    }
    if (version == 0 || reader.bad || chassis_reader_left(&reader) != 0) {
        return chassis_error_set(err, CHASSIS_CORRUPT, "the row of a stream is malformed");
    }
    return 0;
}

struct cat_number_key cat_number_key(uint32_t number)
{
    struct cat_number_key key = {0};
    chassis_put_be32(key.bytes, number);
    return key;
}

struct cat_number_row cat_number_row(uint64_t value)
{
    struct cat_number_row row = {{CODEC_VERSION}};
    chassis_put_le64(row.bytes + 1, value);
    return row;
}

int cat_number_row_decode(struct chassis_view bytes, uint64_t *ret_value, struct chassis_error *err)
{
    struct chassis_reader reader = chassis_reader(bytes);
    uint8_t version;
    int rc = check_version(&reader, "a row with a number", &version, err);
    uint64_t value = chassis_read_le64(&reader);
    if (rc == 0 && (version == 0 || reader.bad || chassis_reader_left(&reader) != 0)) {
        rc = chassis_error_set(err, CHASSIS_CORRUPT, "a row with a number is malformed");
    }
    if (rc == 0) {
        *ret_value = value;
    }
    return rc;
}
