#include "codec.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/utf8.h"

bool bp_text_valid(struct chassis_view text)
{
    return chassis_utf8_valid(text);
}

uint8_t bp_codec_id(struct chassis_view encoded)
{
    return encoded.len >= 2 ? encoded.data[1] : 0;
}

static uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

static void encode_fields(const struct bp_layout *layout, uint8_t version, const uint8_t *message,
                          struct chassis_buf *out);

static void encode_field(const struct bp_field *f, uint8_t version, const void *at,
                         struct chassis_buf *out)
{
    switch (f->type) {
    case BP_FIELD_BOOL:
        chassis_buf_append_byte(out, *(const bool *)at);
        break;
    case BP_FIELD_U32:
        chassis_buf_append_varint(out, *(const uint32_t *)at);
        break;
    case BP_FIELD_U64:
        chassis_buf_append_varint(out, *(const uint64_t *)at);
        break;
    case BP_FIELD_I64:
        chassis_buf_append_varint(out, zigzag(*(const int64_t *)at));
        break;
    case BP_FIELD_FLOAT: {
        uint32_t bits;
        memcpy(&bits, at, sizeof bits);
        chassis_buf_append_le32(out, bits);
        break;
    }
    case BP_FIELD_BYTES:
    case BP_FIELD_TEXT:
        chassis_buf_append_block(out, *(const struct chassis_view *)at);
        break;
    case BP_FIELD_LIST: {
        const struct bp_array *list = at;
        chassis_buf_append_varint(out, list->n);
        for (size_t i = 0; i < list->n; i++) {
            encode_fields(f->of, version, (const uint8_t *)list->items + i * f->of->size, out);
        }
        break;
    }
    }
}

static void encode_fields(const struct bp_layout *layout, uint8_t version, const uint8_t *message,
                          struct chassis_buf *out)
{
    for (size_t i = 0; i < layout->n_fields; i++) {
        if (layout->fields[i].since <= version) {
            encode_field(&layout->fields[i], version, message + layout->fields[i].offset, out);
        }
    }
}

void bp_codec_encode(const struct bp_layout *layout, uint8_t version, const void *message,
                     struct chassis_buf *out)
{
    CHASSIS_ASSERT(version >= 1 && version <= BP_CODEC_VERSION);
    chassis_buf_append_byte(out, version);
    chassis_buf_append_byte(out, layout->id);
    encode_fields(layout, version, message, out);
}

struct decode {
    struct chassis_reader reader;
    struct chassis_arena *arena;
    const struct bp_layout *top;
    uint8_t version;
    struct chassis_error *err;
};

static int malformed(struct decode *d, const struct bp_field *f, const char *what)
{
    return chassis_error_set(d->err, CHASSIS_MALFORMED, "%s: field '%s': %s", d->top->name, f->name,
                             what);
}

static int decode_fields(struct decode *d, const struct bp_layout *layout, uint8_t *message);

static int decode_list(struct decode *d, const struct bp_field *f, struct bp_array *ret_list)
{
    uint64_t n = chassis_read_varint(&d->reader);
    /* An element takes at least one byte for each of its fields. */
    if (n > chassis_reader_left(&d->reader) || (f->max != 0 && n > f->max)) {
        return malformed(d, f, "too many elements");
    }
    uint8_t *items = NULL;
    if (n != 0) {
        items = chassis_arena_zalloc(d->arena, (size_t)n * f->of->size);
        if (items == NULL) {
            return malformed(d, f, "passes the memory limit");
        }
    }
    for (size_t i = 0; i < n; i++) {
        int r = decode_fields(d, f->of, items + i * f->of->size);
        if (r != 0) {
            return r;
        }
    }
    *ret_list = (struct bp_array){items, (size_t)n};
    return 0;
}

static int decode_number(struct decode *d, const struct bp_field *f, void *at)
{
    uint64_t v = chassis_read_varint(&d->reader);
    if ((f->max != 0 && v > f->max) || (f->type == BP_FIELD_U32 && v > UINT32_MAX)) {
        return malformed(d, f, "number out of range");
    }
    if (f->type == BP_FIELD_U32) {
        *(uint32_t *)at = (uint32_t)v;
    } else if (f->type == BP_FIELD_U64) {
        *(uint64_t *)at = v;
    } else {
        *(int64_t *)at = unzigzag(v);
    }
    return 0;
}

static int decode_field(struct decode *d, const struct bp_field *f, void *at)
{
    switch (f->type) {
    case BP_FIELD_BOOL: {
        uint8_t v = chassis_read_byte(&d->reader);
        if (v > 1) {
            return malformed(d, f, "neither true nor false");
        }
        *(bool *)at = v == 1;
        return 0;
    }
    case BP_FIELD_U32:
    case BP_FIELD_U64:
    case BP_FIELD_I64:
        return decode_number(d, f, at);
    case BP_FIELD_FLOAT: {
        uint32_t bits = chassis_read_le32(&d->reader);
        memcpy(at, &bits, sizeof bits);
        return 0;
    }
    case BP_FIELD_BYTES:
    case BP_FIELD_TEXT: {
        struct chassis_view v = chassis_read_block(&d->reader);
        if (f->max != 0 && v.len > f->max) {
            return malformed(d, f, "too long");
        }
        if (f->type == BP_FIELD_TEXT && !bp_text_valid(v)) {
            return malformed(d, f, "not valid UTF-8");
        }
        *(struct chassis_view *)at = v;
        return 0;
    }
    case BP_FIELD_LIST:
        return decode_list(d, f, at);
    }
    CHASSIS_PANIC("field type %d", (int)f->type);
}

static int decode_fields(struct decode *d, const struct bp_layout *layout, uint8_t *message)
{
    for (size_t i = 0; i < layout->n_fields; i++) {
        const struct bp_field *f = &layout->fields[i];
        if (f->since > d->version) {
            continue;
        }
        int r = decode_field(d, f, message + f->offset);
        if (r == 0 && d->reader.bad) {
            r = malformed(d, f, "ends too early");
        }
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

int bp_codec_decode(const struct bp_layout *layout, struct chassis_view encoded,
                    struct chassis_arena *arena, void *ret_message, struct chassis_error *err)
{
    struct decode d = {chassis_reader(encoded), arena, layout, 0, err};
    d.version = chassis_read_byte(&d.reader);
    uint8_t id = chassis_read_byte(&d.reader);
    if (d.reader.bad || d.version == 0) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "%s: no version", layout->name);
    }
    if (d.version > BP_CODEC_VERSION) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "%s has format version %u, this build knows up to %u: upgrade it",
                                 layout->name, d.version, BP_CODEC_VERSION);
    }
    if (id != layout->id) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "not a %s but message %u", layout->name,
                                 id);
    }
    /* Decoded aside, so that nothing half decoded is ever seen. */
    uint8_t *message = chassis_arena_zalloc(arena, layout->size);
    if (message == NULL) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "%s passes the memory limit",
                                 layout->name);
    }
    int r = decode_fields(&d, layout, message);
    if (r == 0 && chassis_reader_left(&d.reader) != 0) {
        r = chassis_error_set(err, CHASSIS_MALFORMED, "%s: %zu bytes too many", layout->name,
                              chassis_reader_left(&d.reader));
    }
    if (r == 0) {
        memcpy(ret_message, message, layout->size);
    }
    return r;
}
