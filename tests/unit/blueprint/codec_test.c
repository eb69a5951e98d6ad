/* The bytes of commands and records are kept in golden files, one per message and version: a change
 * of the format that forgets to raise the version fails here. With GOLDEN_WRITE set in the
 * environment missing files are written (never replaced). */
#include "blueprint/key_value/codec.h"
#include "blueprint/service_discovery/codec.h"
#include "test.h"

#define V(text) chassis_view_str(text)

static const struct bp_kv_compare compares[] = {
    {.target = BP_KV_TARGET_VALUE,
     .kind = {(const uint8_t *)"kind", 4},
     .key = {(const uint8_t *)"key", 3},
     .number = 7,
     .value = {(const uint8_t *)"v", 1}},
};
static const struct bp_kv_op ops[] = {
    {.type = BP_KV_OP_SET,
     .kind = {(const uint8_t *)"kind", 4},
     .key = {(const uint8_t *)"key", 3},
     .value = {(const uint8_t *)"value\0x", 7},
     .lease = {(const uint8_t *)"lease", 5},
     .has_expected = true,
     .expected = 300},
    {.type = BP_KV_OP_GET, .kind = {(const uint8_t *)"kind", 4}, .key = {(const uint8_t *)"k2", 2}},
};
static const struct bp_kv_result results[] = {
    {.type = BP_KV_OP_GET,
     .found = true,
     .revision = 9,
     .created = 8,
     .version = 2,
     .time_ns = -5,
     .actor = {(const uint8_t *)"me", 2},
     .value = {(const uint8_t *)"v", 1}},
};
static const struct bp_sd_metadata metadata[] = {
    {{(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}}};
static const struct bp_sd_text services[] = {{{(const uint8_t *)"x.Y", 3}},
                                             {{(const uint8_t *)"z.W", 3}}};
static const struct bp_sd_seen seen[] = {{{(const uint8_t *)"pid", 3}, 123456789}};

#define DETAILS                                                                                    \
    {                                                                                              \
        .running = 3, .health = 1, .kind = 1, .lat = 1.5f, .lng = -2.25f,                          \
        .group = {(const uint8_t *)"g", 1}, .address = {(const uint8_t *)"h:1", 3},                \
        .http_address = {(const uint8_t *)"h:2", 3}, .metadata = {metadata, 1}, .services = {      \
            services,                                                                              \
            2                                                                                      \
        }                                                                                          \
    }
#define T(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
#define PROCESS                                                                                    \
    {                                                                                              \
        .pid = T("pid"), .name = T("echo"), .incarnation = 5, .details = DETAILS, .joined_ns = 10, \
        .changed_ns = 20, .left_ns = 0, .reported = true, .reason = T("why"), .actor = T("who")    \
    }

static const struct bp_counter counter = {4711};
static const struct bp_text text = {T("type_url")};
static const struct bp_kv_write kv_write = {
    T("actor"), {.type = BP_KV_OP_DELETE, .kind = T("kind"), .key = T("key")}};
static const struct bp_kv_txn txn = {T("actor"), {compares, 1}, {ops, 2}, {ops + 1, 1}};
static const struct bp_kv_compact compact = {1099511627776};
static const struct bp_kv_txn_result txn_result = {true, 12, {results, 1}};
static const struct bp_kv_version version = {.kind = 3,
                                             .key = T("key"),
                                             .deleted = false,
                                             .value = T("value"),
                                             .lease = T("lease"),
                                             .actor = T("actor"),
                                             .created = 4,
                                             .version = 2,
                                             .time_ns = 1700000000000000000,
                                             .depth = 6,
                                             .prev = {7, 1},
                                             .jump = {5, 0}};
static const struct bp_kv_index index_record = {{9, 2}, 4, 2, 6, {5, 0}, 1};
static const struct bp_sd_register reg = {T("actor"), T("pid"), T("echo"), T("0123456789abcdef"),
                                          true};
static const struct bp_sd_report report = {T("actor"), T("pid"), T("why"), 5, DETAILS};
static const struct bp_sd_remove remove_command = {T("actor"), T("pid"), T("why"), 5, 2};
static const struct bp_sd_node_key node_key = {T("n1"), T("id"),
                                               T("0123456789abcdef0123456789abcdef")};
static const struct bp_sd_set_health health = {T("actor"), T("pid"), T("why"), 0, 2};
static const struct bp_sd_register_result register_result = {T("pid"), 5};
static const struct bp_sd_change_result change_result = {true, 6, 5};
static const struct bp_sd_process process = PROCESS;
static const struct bp_sd_transition transition = {.type = 2, .time_ns = 30, .process = PROCESS};
static const struct bp_sd_nonce nonce = {T("pid"), 5, 40};
static const struct bp_sd_key key_record = {T("0123456789abcdef0123456789abcdef"), T("n1"), 50};
static const struct bp_sd_heartbeats beats = {{services, 2}};
static const struct bp_sd_last_seen last_seen = {{seen, 1}};

static const struct {
    const char *name;
    const struct bp_layout *layout;
    const void *message;
} goldens[] = {
    {"counter", &bp_layout_counter, &counter},
    {"text", &bp_layout_text, &text},
    {"kv-write", &bp_kv_layout_write, &kv_write},
    {"kv-txn", &bp_kv_layout_txn, &txn},
    {"kv-compact", &bp_kv_layout_compact, &compact},
    {"kv-result", &bp_kv_layout_result, results},
    {"kv-txn-result", &bp_kv_layout_txn_result, &txn_result},
    {"kv-version", &bp_kv_layout_version, &version},
    {"kv-index", &bp_kv_layout_index, &index_record},
    {"sd-register", &bp_sd_layout_register, &reg},
    {"sd-report", &bp_sd_layout_report, &report},
    {"sd-remove", &bp_sd_layout_remove, &remove_command},
    {"sd-node-key", &bp_sd_layout_node_key, &node_key},
    {"sd-health", &bp_sd_layout_set_health, &health},
    {"sd-register-result", &bp_sd_layout_register_result, &register_result},
    {"sd-change-result", &bp_sd_layout_change_result, &change_result},
    {"sd-process", &bp_sd_layout_process, &process},
    {"sd-transition", &bp_sd_layout_transition, &transition},
    {"sd-nonce", &bp_sd_layout_nonce, &nonce},
    {"sd-key", &bp_sd_layout_key, &key_record},
    {"sd-heartbeats", &bp_sd_layout_heartbeats, &beats},
    {"sd-ask-last-seen", &bp_sd_layout_ask_last_seen, &beats},
    {"sd-last-seen", &bp_sd_layout_last_seen, &last_seen},
};
enum { N_GOLDENS = sizeof goldens / sizeof goldens[0] };

static bool read_file(const char *path, struct chassis_buf *out)
{
    FILE *f = fopen(path, "rb");
    uint8_t room[4096];
    if (f == NULL) {
        return false;
    }
    chassis_buf_append(out, room, fread(room, 1, sizeof room, f));
    fclose(f);
    return true;
}

static void golden_path(char *path, size_t size, const char *name, unsigned version_number)
{
    const char *source = getenv("DRAFT_SOURCE");
    snprintf(path, size, "%s/tests/fuzz/blueprint_codec/corpus/%s.v%u",
             source != NULL ? source : ".", name, version_number);
}

static void messages_keep_their_bytes(void **state)
{
    for (size_t i = 0; i < N_GOLDENS; i++) {
        char path[512];
        struct chassis_buf now = {0}, golden = {0};
        golden_path(path, sizeof path, goldens[i].name, BP_CODEC_VERSION);
        bp_codec_encode(goldens[i].layout, BP_CODEC_VERSION, goldens[i].message, &now);
        if (!read_file(path, &golden)) {
            if (getenv("GOLDEN_WRITE") == NULL) {
                fail_msg("no golden file '%s'", path);
            }
            FILE *f = fopen(path, "wb");
            assert_non_null(f);
            assert_int_equal(fwrite(now.data, 1, now.len, f), now.len);
            fclose(f);
            chassis_buf_append_view(&golden, chassis_buf_view(&now));
        }
        if (!chassis_view_eq(chassis_buf_view(&now), chassis_buf_view(&golden))) {
            fail_msg("the bytes of '%s' changed without a new version", goldens[i].name);
        }
        chassis_buf_fini(&now);
        chassis_buf_fini(&golden);
    }
}

static void golden_files_of_every_version_decode(void **state)
{
    for (unsigned v = 1; v <= BP_CODEC_VERSION; v++) {
        for (size_t i = 0; i < N_GOLDENS; i++) {
            char path[512];
            struct chassis_buf golden = {0}, again = {0};
            struct chassis_arena arena;
            struct bp_sd_transition room[2]; /* the largest, and more */
            golden_path(path, sizeof path, goldens[i].name, v);
            assert_true(read_file(path, &golden));
            assert_true(goldens[i].layout->size <= sizeof room);
            chassis_arena_init(&arena, NULL, 0, 0);
            assert_int_equal(
                bp_codec_decode(goldens[i].layout, chassis_buf_view(&golden), &arena, room, NULL),
                0);
            bp_codec_encode(goldens[i].layout, (uint8_t)v, room, &again);
            assert_true(chassis_view_eq(chassis_buf_view(&golden), chassis_buf_view(&again)));
            chassis_arena_fini(&arena);
            chassis_buf_fini(&golden);
            chassis_buf_fini(&again);
        }
    }
}

static void every_cut_and_every_flipped_version_is_refused(void **state)
{
    for (size_t i = 0; i < N_GOLDENS; i++) {
        struct chassis_buf bytes = {0};
        struct chassis_arena arena;
        struct chassis_error err = {0};
        struct bp_sd_transition room[2];
        chassis_arena_init(&arena, NULL, 0, 1 << 20);
        bp_codec_encode(goldens[i].layout, BP_CODEC_VERSION, goldens[i].message, &bytes);
        for (size_t len = 0; len < bytes.len; len++) {
            assert_int_equal(bp_codec_decode(goldens[i].layout, chassis_view(bytes.data, len),
                                             &arena, room, &err),
                             CHASSIS_MALFORMED);
        }
        chassis_buf_append_byte(&bytes, 0);
        assert_int_equal(
            bp_codec_decode(goldens[i].layout, chassis_buf_view(&bytes), &arena, room, &err),
            CHASSIS_MALFORMED);
        bytes.data[0] = BP_CODEC_VERSION + 1;
        assert_int_equal(
            bp_codec_decode(goldens[i].layout, chassis_buf_view(&bytes), &arena, room, &err),
            CHASSIS_BAD_VERSION);
        assert_non_null(strstr(err.text, "version 2, this build knows up to 1"));
        bytes.data[0] = 0;
        assert_int_equal(
            bp_codec_decode(goldens[i].layout, chassis_buf_view(&bytes), &arena, room, &err),
            CHASSIS_MALFORMED);
        chassis_arena_fini(&arena);
        chassis_buf_fini(&bytes);
    }
}

static void text_is_utf8(void **state)
{
    const char *good[] = {
        "", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    const char *bad[] = {"\x80",
                         "\xc3",
                         "\xc0\xaf",
                         "\xe0\x80\xaf",
                         "\xed\xa0\x80",
                         "\xf0\x80\x80\x80",
                         "\xf4\x90\x80\x80",
                         "\xff",
                         "a\xe2\x82"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(bp_text_valid(V(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(bp_text_valid(V(bad[i])));
    }
    assert_false(bp_text_valid(chassis_view("a\0b", 3)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_keep_their_bytes),
        cmocka_unit_test(golden_files_of_every_version_decode),
        cmocka_unit_test(every_cut_and_every_flipped_version_is_refused),
        cmocka_unit_test(text_is_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
