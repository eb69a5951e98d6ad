/* Any bytes, read as every message of Blueprint: no crash, and what decodes, encodes to something
 * that decodes to the same bytes again. Commands are applied as well: no input may end the process
 * (a newer version excepted, which is refused before). */
#include "blueprint/key_value/model.h"
#include "blueprint/service_discovery/model.h"
#include "tests/unit/blueprint/array_store.h"

#include <stdlib.h>

static const struct bp_layout *const layouts[] = {
    &bp_layout_counter,          &bp_layout_text,          &bp_kv_layout_write,
    &bp_kv_layout_txn,           &bp_kv_layout_compact,    &bp_kv_layout_result,
    &bp_kv_layout_txn_result,    &bp_kv_layout_version,    &bp_kv_layout_index,
    &bp_sd_layout_register,      &bp_sd_layout_report,     &bp_sd_layout_remove,
    &bp_sd_layout_node_key,      &bp_sd_layout_set_health, &bp_sd_layout_register_result,
    &bp_sd_layout_change_result, &bp_sd_layout_process,    &bp_sd_layout_transition,
    &bp_sd_layout_nonce,         &bp_sd_layout_key,        &bp_sd_layout_heartbeats,
    &bp_sd_layout_ask_last_seen, &bp_sd_layout_last_seen,
};

union any_message {
    struct bp_sd_transition transition;
    struct bp_sd_report report;
    struct bp_kv_txn_result txn_result;
    struct bp_kv_version version;
    struct bp_kv_write write;
    uint8_t room[1024];
};

static void round_trip(const struct bp_layout *layout, struct chassis_view input)
{
    union any_message message;
    struct chassis_arena arena;
    struct chassis_buf once = {0}, twice = {0};
    chassis_arena_init(&arena, NULL, 0, 16 << 20);
    if (layout->size > sizeof message) {
        abort();
    }
    if (bp_codec_decode(layout, input, &arena, &message, NULL) == 0) {
        bp_codec_encode(layout, BP_CODEC_VERSION, &message, &once);
        if (bp_codec_decode(layout, chassis_buf_view(&once), &arena, &message, NULL) != 0) {
            abort();
        }
        bp_codec_encode(layout, BP_CODEC_VERSION, &message, &twice);
        if (!chassis_view_eq(chassis_buf_view(&once), chassis_buf_view(&twice))) {
            abort();
        }
    }
    chassis_buf_fini(&once);
    chassis_buf_fini(&twice);
    chassis_arena_fini(&arena);
}

static void apply(struct chassis_view input)
{
    struct chassis_store *store = array_store_new(bp_tables, BP_TABLES);
    struct chassis_txn *txn;
    struct chassis_buf result = {0};
    if (chassis_store_begin(store, true, &txn, NULL) != 0) {
        abort();
    }
    for (int i = 0; i < 2; i++) { /* twice: the second meets what the first left */
        struct bp_change change;
        chassis_buf_clear(&result);
        bp_change_begin(&change, txn, 1000 + i, &result);
        uint8_t id = bp_codec_id(input);
        int r = id >= BP_SD_REGISTER && id < BP_COMMANDS_END ? bp_sd_apply(&change, input)
                                                             : bp_kv_apply(&change, input);
        if (r != 0 && change.changed) {
            abort();
        }
        bp_change_end(&change);
    }
    chassis_txn_commit(txn, NULL);
    chassis_buf_fini(&result);
    chassis_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct chassis_view input = chassis_view(data, len);
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        round_trip(layouts[i], input);
    }
    apply(input);
    return 0;
}
