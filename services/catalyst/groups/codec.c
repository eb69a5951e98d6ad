#include "catalyst/groups/codec.h"

#include "base/assert.h"
#include "base/bytes.h"

enum { CONFIG_VERSION = 2, PLACE_VERSION = 2 };
#define NS_PER_MS   UINT64_C(1000000)
#define WAIT_MS_MAX (UINT64_C(36500) * 86400000) /* a hundred years */

enum field_type { FIELD_U32, FIELD_U64, FIELD_I64, FIELD_BOOL, FIELD_TEXT, FIELD_BACKOFF };

struct field {
    enum field_type type;
    uint8_t since; /* the version that brought it */
    size_t offset;
};

#define AT(member) offsetof(struct cat_group_row, member)
static const struct field fields[] = {
    {FIELD_U32, 1, AT(number)},
    {FIELD_I64, 1, AT(created_ns)},
    {FIELD_TEXT, 1, AT(config.stream)},
    {FIELD_TEXT, 1, AT(config.name)},
    {FIELD_TEXT, 1, AT(config.description)},
    {FIELD_U32, 1, AT(config.start.kind)},
    {FIELD_U64, 1, AT(config.start.sequence)},
    {FIELD_I64, 1, AT(config.start.time_ns)},
    {FIELD_TEXT, 1, AT(config.filter)},
    {FIELD_U32, 1, AT(config.ack_wait_ms)},
    {FIELD_U32, 1, AT(config.deliveries_max)},
    {FIELD_U32, 1, AT(config.in_flight_max)},
    {FIELD_BACKOFF, 1, 0},
    {FIELD_BOOL, 1, AT(config.ordered_by_key)},
    {FIELD_TEXT, 1, AT(config.dead_letter_stream)},
    {FIELD_TEXT, 1, AT(config.push.url)},
    {FIELD_TEXT, 1, AT(config.push.token_secret)},
    {FIELD_BOOL, 1, AT(config.push.structured)},
    {FIELD_U32, 1, AT(config.push.timeout_ms)},
    {FIELD_U32, 1, AT(config.push.concurrency)},
    {FIELD_U32, 2, AT(config.push.per_minute)},
};
#undef AT
enum { N_FIELDS = sizeof fields / sizeof fields[0] };

static uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}
static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

/* ---- configuration ---- */

static void encode_field(const struct field *f, const struct cat_group_row *row,
                         struct chassis_buf *out)
{
    const uint8_t *at = (const uint8_t *)row + f->offset;
    uint32_t u32;
    uint64_t u64;
    int64_t i64;
    struct chassis_view view;
    switch (f->type) {
    case FIELD_U32:
        memcpy(&u32, at, sizeof u32);
        chassis_buf_append_varint(out, u32);
        break;
    case FIELD_U64:
        memcpy(&u64, at, sizeof u64);
        chassis_buf_append_varint(out, u64);
        break;
    case FIELD_I64:
        memcpy(&i64, at, sizeof i64);
        chassis_buf_append_varint(out, zigzag(i64));
        break;
    case FIELD_BOOL:
        chassis_buf_append_byte(out, *at);
        break;
    case FIELD_TEXT:
        memcpy(&view, at, sizeof view);
        chassis_buf_append_block(out, view);
        break;
    case FIELD_BACKOFF:
        chassis_buf_append_varint(out, row->config.n_backoff);
        for (uint32_t i = 0; i < row->config.n_backoff; i++) {
            chassis_buf_append_varint(out, row->config.backoff_ms[i]);
        }
        break;
    }
}

void cat_group_row_encode(const struct cat_group_row *row, struct chassis_buf *out)
{
    chassis_buf_append_byte(out, CONFIG_VERSION);
    for (unsigned i = 0; i < N_FIELDS; i++) {
        encode_field(&fields[i], row, out);
    }
}

static uint32_t read_u32(struct chassis_reader *reader, uint64_t max)
{
    uint64_t value = chassis_read_varint(reader);
    reader->bad = reader->bad || value > max;
    return (uint32_t)value;
}

static void decode_field(const struct field *f, struct chassis_reader *reader,
                         struct cat_group_row *row)
{
    uint8_t *at = (uint8_t *)row + f->offset;
    uint32_t u32;
    uint64_t u64;
    int64_t i64;
    struct chassis_view view;
    switch (f->type) {
    case FIELD_U32:
        u32 = read_u32(reader, UINT32_MAX);
        memcpy(at, &u32, sizeof u32);
        break;
    case FIELD_U64:
        u64 = chassis_read_varint(reader);
        memcpy(at, &u64, sizeof u64);
        break;
    case FIELD_I64:
        i64 = unzigzag(chassis_read_varint(reader));
        memcpy(at, &i64, sizeof i64);
        break;
    case FIELD_BOOL:
        *at = (uint8_t)read_u32(reader, 1);
        *at &= 1;
        break;
    case FIELD_TEXT:
        view = chassis_read_block(reader);
        memcpy(at, &view, sizeof view);
        break;
    case FIELD_BACKOFF:
        row->config.n_backoff = read_u32(reader, CAT_BACKOFF_MAX);
        for (uint32_t i = 0; !reader->bad && i < row->config.n_backoff; i++) {
            row->config.backoff_ms[i] = read_u32(reader, UINT32_MAX);
        }
        break;
    }
}

static int check_version(struct chassis_reader *reader, const char *what, uint8_t known,
                         uint8_t *ret_version, struct chassis_error *err)
{
    uint8_t version = chassis_read_byte(reader);
    if (version > known) {
        return chassis_error_set(err, CHASSIS_BAD_VERSION,
                                 "%s has format version %u, this program knows up to %u: run the "
                                 "newer version",
                                 what, version, known);
    }
    *ret_version = version;
    return 0;
}

/* Within what the model asserts. */
static bool config_sane(const struct cat_group_config *c)
{
    return c->stream.len != 0 && c->stream.len <= CAT_NAME_MAX && c->name.len != 0 &&
           c->name.len <= CAT_NAME_MAX && c->start.kind <= CAT_START_TIME &&
           c->deliveries_max >= 1 && c->deliveries_max <= CAT_DELIVERIES_MAX &&
           c->in_flight_max >= 1 && c->in_flight_max <= CAT_IN_FLIGHT_MAX;
}

int cat_group_row_decode(struct chassis_view bytes, struct cat_group_row *ret_row,
                         struct chassis_error *err)
{
    struct chassis_reader reader = chassis_reader(bytes);
    struct cat_group_row row = {0};
    uint8_t version = 0;
    int rc = check_version(&reader, "the row of a group", CONFIG_VERSION, &version, err);
    if (rc < 0) {
        return rc;
    }
    for (unsigned i = 0; i < N_FIELDS; i++) {
        if (fields[i].since <= version) {
            decode_field(&fields[i], &reader, &row);
        }
    }
    if (version == 0 || reader.bad || chassis_reader_left(&reader) != 0 ||
        !config_sane(&row.config)) {
        return chassis_error_set(err, CHASSIS_CORRUPT, "the row of a group is malformed");
    }
    *ret_row = row;
    return 0;
}

void cat_group_key(uint32_t stream, struct chassis_view name, struct chassis_buf *out)
{
    uint8_t number[4];
    chassis_put_be32(number, stream);
    chassis_buf_append(out, number, sizeof number);
    chassis_buf_append_view(out, name);
}

/* ---- place ---- */

struct encode_entries {
    struct chassis_buf *out;
    uint64_t last;
    int64_t wall_ms;
    bool keys;
};

static void encode_entry(void *data, const struct cat_place_item *item)
{
    struct encode_entries *e = data;
    uint64_t wait_ms = (item->wait_ns + NS_PER_MS - 1) / NS_PER_MS;
    chassis_buf_append_varint(e->out, item->sequence - e->last);
    chassis_buf_append_varint(e->out, (uint64_t)item->attempts << 5 | (item->letter != 0) << 4 |
                                          (uint64_t)item->cause << 1 | (wait_ms != 0));
    if (wait_ms != 0) {
        chassis_buf_append_varint(e->out, wait_ms);
    }
    if (item->letter != 0) {
        chassis_buf_append_varint(e->out, item->letter);
    }
    if (item->attempts != 0) {
        chassis_buf_append_varint(e->out, zigzag(e->wall_ms - item->first_ms));
    }
    if (e->keys) {
        chassis_buf_append_le32(e->out, item->key);
    }
    e->last = item->sequence;
}

void cat_place_row_encode(const struct cat_place *place, const struct cat_runs *replayed,
                          uint64_t now_ns, int64_t wall_ms, struct chassis_buf *out)
{
    bool keys = place->rules.ordered && place->n_entries != 0;
    chassis_buf_append_byte(out, PLACE_VERSION);
    chassis_buf_append_varint(out, place->next);
    chassis_buf_append_varint(out, (uint64_t)wall_ms);
    chassis_buf_append_byte(out, keys);
    chassis_buf_append_varint(out, replayed->n);
    uint64_t last = 0;
    for (size_t i = 0; i < replayed->n; i++) {
        chassis_buf_append_varint(out, replayed->items[i].from - last);
        chassis_buf_append_varint(out, replayed->items[i].to - replayed->items[i].from);
        last = replayed->items[i].to;
    }
    chassis_buf_append_varint(out, place->n_entries);
    struct encode_entries e = {out, 0, wall_ms, keys};
    cat_place_each(place, now_ns, encode_entry, &e);
}

static void decode_runs(struct chassis_reader *reader, struct cat_runs *replayed)
{
    uint32_t n = read_u32(reader, CAT_RUNS_MAX);
    uint64_t last = 0;
    for (uint32_t i = 0; i < n && !reader->bad; i++) {
        uint64_t gap = chassis_read_varint(reader), more = chassis_read_varint(reader);
        if (reader->bad || gap < (i == 0 ? 1 : 2) || gap > INT64_MAX - last ||
            more > INT64_MAX - last - gap) {
            reader->bad = true;
            return;
        }
        cat_runs_add(replayed, last + gap, last + gap + more);
        last += gap + more;
    }
}

struct decode_entries {
    struct chassis_reader *reader;
    uint8_t version;
    bool keys;
    int64_t saved_ms, wall_ms;
};

/* False: the row is malformed. */
static bool decode_entry(const struct decode_entries *d, struct cat_place_item *item)
{
    struct chassis_reader *reader = d->reader;
    uint64_t gap = chassis_read_varint(reader), packed = chassis_read_varint(reader);
    uint64_t attempts = packed >> (d->version == 1 ? 4 : 5);
    bool came_back = d->version != 1 && (packed >> 4 & 1) != 0;
    uint64_t wait_ms = packed & 1 ? chassis_read_varint(reader) : 0;
    uint64_t letter = came_back ? chassis_read_varint(reader) : 0;
    int64_t since_ms = attempts != 0 ? unzigzag(chassis_read_varint(reader)) : 0;
    uint64_t sequence = item->sequence + gap;
    *item = (struct cat_place_item){
        .sequence = sequence,
        .attempts = (uint16_t)attempts,
        .cause = (uint8_t)(packed >> 1 & 7),
        .first_ms = attempts != 0 ? (int64_t)((uint64_t)d->saved_ms - (uint64_t)since_ms) : 0,
        .letter = letter,
        .key = d->keys ? chassis_read_le32(reader) : 0,
    };
    int64_t passed = d->wall_ms > d->saved_ms ? d->wall_ms - d->saved_ms : 0;
    if (wait_ms > (uint64_t)passed) {
        wait_ms -= (uint64_t)passed;
        item->wait_ns = (wait_ms < WAIT_MS_MAX ? wait_ms : WAIT_MS_MAX) * NS_PER_MS;
    }
    return !reader->bad && gap != 0 && sequence >= gap && attempts <= UINT16_MAX &&
           item->cause < CAT_CAUSES && came_back == (letter != 0);
}

int cat_place_row_decode(struct chassis_view bytes, uint64_t now_ns, int64_t wall_ms,
                         struct cat_place *place, struct cat_runs *replayed,
                         struct chassis_error *err)
{
    CHASSIS_ASSERT(place->n_entries == 0 && replayed->n == 0);
    struct chassis_reader reader = chassis_reader(bytes);
    uint8_t version = 0;
    int rc = check_version(&reader, "the place of a group", PLACE_VERSION, &version, err);
    if (rc < 0) {
        return rc;
    }
    place->next = chassis_read_varint(&reader);
    int64_t saved_ms = (int64_t)chassis_read_varint(&reader);
    uint8_t keys = chassis_read_byte(&reader);
    reader.bad = reader.bad || version == 0 || place->next == 0 || saved_ms < 0 || keys > 1;
    decode_runs(&reader, replayed);
    uint64_t n = chassis_read_varint(&reader);
    struct cat_place_item item = {0};
    const struct decode_entries entries = {&reader, version, keys != 0, saved_ms, wall_ms};
    for (uint64_t i = 0; i < n && !reader.bad; i++) {
        if (!decode_entry(&entries, &item) || item.sequence >= place->next) {
            reader.bad = true;
            break;
        }
        cat_place_restore(place, &item, now_ns);
    }
    if (reader.bad || chassis_reader_left(&reader) != 0) {
        return chassis_error_set(err, CHASSIS_CORRUPT, "the place of a group is malformed");
    }
    return 0;
}
