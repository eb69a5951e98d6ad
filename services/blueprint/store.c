#include "store.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"

const char *const bp_tables[BP_TABLES] = {
    [BP_TABLE_KINDS] = "kinds",
    [BP_TABLE_REVS] = "revs",
    [BP_TABLE_INDEX] = "index",
    [BP_TABLE_META] = "meta",
    [BP_TABLE_LEASES] = "leases",
    [BP_TABLE_PROCESSES] = "processes",
    [BP_TABLE_TRANSITIONS] = "transitions",
    [BP_TABLE_NONCES] = "nonces",
    [BP_TABLE_KEYS] = "keys",
};

static const struct bp_field counter_fields[] = {
    {"value", BP_FIELD_U64, 1, offsetof(struct bp_counter, value), 0, NULL},
};
const struct bp_layout bp_layout_counter = {"counter", BP_RECORD_COUNTER, sizeof(struct bp_counter),
                                            counter_fields, 1};
static const struct bp_field text_fields[] = {
    {"text", BP_FIELD_BYTES, 1, offsetof(struct bp_text, text), CHASSIS_STORE_KEY_MAX, NULL},
};
const struct bp_layout bp_layout_text = {"text record", BP_RECORD_TEXT, sizeof(struct bp_text),
                                         text_fields, 1};

enum { CRC_LEN = 4, SCRATCH_LEN = 512 };

static void (*on_damage)(void *data, const char *text);
static void *on_damage_data;

void bp_store_on_damage(void (*damaged)(void *data, const char *text), void *data)
{
    on_damage = damaged;
    on_damage_data = data;
}

int bp_store_damaged(const struct chassis_error *err)
{
    if (on_damage != NULL) {
        on_damage(on_damage_data, chassis_error_text(err));
    }
    return CHASSIS_CORRUPT;
}

static uint32_t seal_of(enum bp_table table, struct chassis_view key, const void *data, size_t len)
{
    uint8_t prefix[2] = {(uint8_t)table, (uint8_t)key.len};
    uint32_t crc = chassis_crc32c(0, prefix, sizeof prefix);
    crc = chassis_crc32c(crc, key.data, key.len);
    return chassis_crc32c(crc, data, len);
}

static void key_text(struct chassis_view key, char out[129])
{
    static const char digits[] = "0123456789abcdef";
    size_t n = key.len < 64 ? key.len : 64;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[key.data[i] >> 4];
        out[2 * i + 1] = digits[key.data[i] & 15];
    }
    out[2 * n] = '\0';
}

int bp_store_unseal(enum bp_table table, struct chassis_view key, struct chassis_view value,
                    const struct bp_layout *layout, struct chassis_arena *arena, void *ret_record,
                    struct chassis_error *err)
{
    struct chassis_error local = {0};
    err = err != NULL ? err : &local;
    if (value.len < CRC_LEN || chassis_get_le32(value.data + value.len - CRC_LEN) !=
                                   seal_of(table, key, value.data, value.len - CRC_LEN)) {
        char text[129];
        key_text(key, text);
        chassis_error_set(err, CHASSIS_CORRUPT,
                          "record %s of table '%s' is damaged (wrong checksum): the store must be "
                          "rebuilt from checkpoint and journal",
                          text, bp_tables[table]);
        return bp_store_damaged(err);
    }
    int r = bp_codec_decode(layout, chassis_view(value.data, value.len - CRC_LEN), arena,
                            ret_record, err);
    if (r != CHASSIS_MALFORMED) {
        return r;
    }
    chassis_error_set(err, CHASSIS_CORRUPT, "record of table '%s' does not decode as %s",
                      bp_tables[table], layout->name);
    return bp_store_damaged(err);
}

int bp_store_get(struct chassis_txn *txn, enum bp_table table, struct chassis_view key,
                 const struct bp_layout *layout, struct chassis_arena *arena, void *ret_record,
                 struct chassis_error *err)
{
    struct chassis_view value;
    int r = chassis_txn_get(txn, table, key, &value);
    if (r == CHASSIS_NOT_FOUND) {
        return chassis_error_code(err, r, "%s", layout->name);
    }
    if (r != 0) {
        struct chassis_error local = {0};
        err = err != NULL ? err : &local;
        chassis_error_code(err, r, "read table '%s'", bp_tables[table]);
        return r == CHASSIS_CORRUPT ? bp_store_damaged(err) : r;
    }
    return bp_store_unseal(table, key, value, layout, arena, ret_record, err);
}

int bp_store_counter(struct chassis_txn *txn, const char *name, uint64_t *ret_value,
                     struct chassis_error *err)
{
    uint8_t room[64];
    struct chassis_arena arena;
    chassis_arena_init(&arena, room, sizeof room, 0);
    struct bp_counter counter = {0};
    int r = bp_store_get(txn, BP_TABLE_META, chassis_view_str(name), &bp_layout_counter, &arena,
                         &counter, err);
    chassis_arena_fini(&arena);
    if (r == 0 || r == CHASSIS_NOT_FOUND) {
        *ret_value = counter.value;
        r = 0;
    }
    return r;
}

void bp_key_append(struct bp_key *key, const void *data, size_t len)
{
    CHASSIS_ASSERT(key->len + len <= sizeof key->data);
    if (len != 0) {
        memcpy(key->data + key->len, data, len);
        key->len += len;
    }
}

void bp_key_append_be32(struct bp_key *key, uint32_t v)
{
    uint8_t b[4];
    chassis_put_be32(b, v);
    bp_key_append(key, b, sizeof b);
}

void bp_key_append_be64(struct bp_key *key, uint64_t v)
{
    uint8_t b[8];
    chassis_put_be64(b, v);
    bp_key_append(key, b, sizeof b);
}

void bp_key_position(struct bp_key *key, struct bp_position position)
{
    CHASSIS_ASSERT(position.sub <= UINT16_MAX);
    key->len = 0;
    bp_key_append_be64(key, position.revision);
    uint8_t sub[2] = {(uint8_t)(position.sub >> 8), (uint8_t)position.sub};
    bp_key_append(key, sub, sizeof sub);
}

struct bp_position bp_position_of(struct chassis_view key)
{
    CHASSIS_ASSERT(key.len == BP_POSITION_LEN);
    return (struct bp_position){chassis_get_be64(key.data),
                                (uint32_t)key.data[8] << 8 | key.data[9]};
}

void bp_change_begin(struct bp_change *change, struct chassis_txn *txn, int64_t time_ns,
                     struct chassis_buf *result)
{
    memset(change, 0, offsetof(struct bp_change, room));
    change->txn = txn;
    change->time_ns = time_ns;
    change->result = result;
    chassis_arena_init(&change->arena, change->room, sizeof change->room, 0);
    chassis_buf_reserve(&change->scratch, SCRATCH_LEN);
    change->revision = bp_change_counter(change, BP_COUNTER_REVISION);
}

void bp_change_end(struct bp_change *change)
{
    if (change->changed) {
        bp_change_set_counter(change, BP_COUNTER_REVISION, change->revision);
    }
    chassis_arena_fini(&change->arena);
    chassis_buf_fini(&change->scratch);
}

struct bp_position bp_change_next(struct bp_change *change)
{
    if (!change->changed) {
        change->changed = true;
        change->revision++;
    }
    return (struct bp_position){change->revision, change->next_sub++};
}

int bp_change_refuse(struct bp_change *change, int code, const char *format, ...)
{
    CHASSIS_ASSERT(!change->changed && code < 0);
    chassis_buf_clear(change->result);
    va_list args;
    va_start(args, format);
    chassis_buf_vprintf(change->result, format, args);
    va_end(args);
    return code;
}

void bp_change_damaged(const char *format, ...)
{
    struct chassis_error err = {0};
    char text[CHASSIS_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    chassis_error_set(&err, CHASSIS_CORRUPT, "%s", text);
    bp_store_damaged(&err);
    CHASSIS_PANIC("cannot apply: %s", text);
}

bool bp_change_get(struct bp_change *change, enum bp_table table, struct chassis_view key,
                   const struct bp_layout *layout, bool copy, void *ret_record)
{
    struct chassis_view value;
    int r = chassis_txn_get(change->txn, table, key, &value);
    if (r == CHASSIS_NOT_FOUND) {
        return false;
    }
    struct chassis_error err = {0};
    if (r == 0) {
        if (copy) {
            value = chassis_arena_copy(&change->arena, value);
        }
        r = bp_store_unseal(table, key, value, layout, &change->arena, ret_record, &err);
    }
    if (r == CHASSIS_CORRUPT) {
        bp_change_damaged("read table '%s': %s", bp_tables[table],
                          err.code != 0 ? err.text : chassis_status_text(r));
    }
    if (r != 0) {
        CHASSIS_PANIC("cannot apply: read table '%s': %s", bp_tables[table],
                      err.code != 0 ? err.text : chassis_status_text(r));
    }
    return true;
}

static struct chassis_view seal(struct bp_change *change, enum bp_table table,
                                struct chassis_view key, const struct bp_layout *layout,
                                const void *record)
{
    struct chassis_buf *b = &change->scratch;
    chassis_buf_clear(b);
    bp_codec_encode(layout, BP_CODEC_VERSION, record, b);
    chassis_buf_append_le32(b, seal_of(table, key, b->data, b->len));
    return chassis_buf_view(b);
}

static void must(int r, const char *what, enum bp_table table)
{
    if (r == CHASSIS_CORRUPT) {
        bp_change_damaged("%s table '%s': %s", what, bp_tables[table], chassis_status_text(r));
    }
    if (r != 0) {
        CHASSIS_PANIC("cannot apply: %s table '%s': %s", what, bp_tables[table],
                      chassis_status_text(r));
    }
}

void bp_change_put(struct bp_change *change, enum bp_table table, struct chassis_view key,
                   const struct bp_layout *layout, const void *record)
{
    must(chassis_txn_put(change->txn, table, key, seal(change, table, key, layout, record)),
         "write", table);
}

void bp_change_append(struct bp_change *change, enum bp_table table, struct chassis_view key,
                      const struct bp_layout *layout, const void *record)
{
    must(chassis_txn_append(change->txn, table, key, seal(change, table, key, layout, record)),
         "append to", table);
}

bool bp_change_del(struct bp_change *change, enum bp_table table, struct chassis_view key)
{
    int r = chassis_txn_del(change->txn, table, key);
    if (r == CHASSIS_NOT_FOUND) {
        return false;
    }
    must(r, "delete from", table);
    return true;
}

uint64_t bp_change_counter(struct bp_change *change, const char *name)
{
    struct bp_counter counter = {0};
    bp_change_get(change, BP_TABLE_META, chassis_view_str(name), &bp_layout_counter, false,
                  &counter);
    return counter.value;
}

void bp_change_set_counter(struct bp_change *change, const char *name, uint64_t value)
{
    struct bp_counter counter = {value};
    bp_change_put(change, BP_TABLE_META, chassis_view_str(name), &bp_layout_counter, &counter);
}
