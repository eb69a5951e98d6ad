#include "verify.h"

#include "key_value/codec.h"
#include "service_discovery/codec.h"

/* What a table holds; in some the first byte of the key tells. */
static const struct bp_layout *layout_of(unsigned table, struct chassis_view key)
{
    char first = key.len != 0 ? (char)key.data[0] : '\0';
    switch ((enum bp_table)table) {
    case BP_TABLE_KINDS:
        return first == 'i' ? &bp_layout_text : &bp_layout_counter;
    case BP_TABLE_REVS:
        return &bp_kv_layout_version;
    case BP_TABLE_INDEX:
        return &bp_kv_layout_index;
    case BP_TABLE_META:
    case BP_TABLE_LEASES:
        return &bp_layout_counter;
    case BP_TABLE_PROCESSES:
        return &bp_sd_layout_process;
    case BP_TABLE_TRANSITIONS:
        return &bp_sd_layout_transition;
    case BP_TABLE_NONCES:
        return first == 't' ? &bp_layout_text : &bp_sd_layout_nonce;
    case BP_TABLE_KEYS:
        return &bp_sd_layout_key;
    case BP_TABLES:
        break;
    }
    return NULL;
}

static int verify_table(struct chassis_txn *txn, unsigned table, const char *name,
                        void (*fault)(const char *text, void *data), void *data,
                        struct chassis_error *err)
{
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    int r = chassis_cursor_open(txn, table, &cursor);
    if (r != 0) {
        return chassis_error_code(err, r, "%s: read table '%s'", name, bp_tables[table]);
    }
    r = chassis_cursor_seek(cursor, chassis_view("\0", 1), &k, &v);
    while (r == 0) {
        union {
            struct bp_kv_version version;
            struct bp_kv_index index;
            struct bp_sd_transition transition;
            struct bp_sd_nonce nonce;
            struct bp_sd_key key;
            struct bp_text text;
            struct bp_counter counter;
        } record;
        struct chassis_arena arena;
        struct chassis_error why = {0};
        chassis_arena_init(&arena, NULL, 0, 16 << 20);
        if (bp_store_unseal((enum bp_table)table, k, v, layout_of(table, k), &arena, &record,
                            &why) != 0) {
            chassis_error_wrap(&why, "%s", name);
            fault(chassis_error_text(&why), data);
        }
        chassis_arena_fini(&arena);
        r = chassis_cursor_next(cursor, &k, &v);
    }
    chassis_cursor_close(cursor);
    return r == CHASSIS_NOT_FOUND
               ? 0
               : chassis_error_code(err, r, "%s: walk table '%s'", name, bp_tables[table]);
}

int bp_verify_store(struct chassis_store *store, const char *name,
                    void (*fault)(const char *text, void *data), void *data,
                    struct chassis_error *err)
{
    struct chassis_txn *txn;
    int r = chassis_store_begin(store, false, &txn, err);
    if (r != 0) {
        return r;
    }
    for (unsigned table = 0; table < BP_TABLES && r == 0; table++) {
        r = verify_table(txn, table, name, fault, data, err);
    }
    chassis_txn_abort(txn);
    return r;
}
