#include "tests/test.h"

#include <errno.h>

#include <chassis/arena.h>
#include <chassis/buf.h>
#include <chassis/error.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/prng.h"
#include "base/utf8.h"

static void error_text_is_wrapped_on_the_way_up(void **state)
{
    struct chassis_error err = {0};
    int code = chassis_error_code(&err, -EACCES, "open store '%s'", "/x");
    assert_int_equal(code, -EACCES);
    assert_int_equal(chassis_error_wrap(&err, "start node %d", 2), -EACCES);
    assert_string_equal(err.text, "start node 2: open store '/x': Permission denied");
    char huge[2048];
    memset(huge, 'a', sizeof huge);
    huge[sizeof huge - 1] = '\0';
    chassis_error_wrap(&err, "%s", huge);
    assert_int_equal(strlen(err.text), CHASSIS_ERROR_TEXT_MAX - 1);
}

static void every_status_has_a_grpc_number_and_comes_back(void **state)
{
    for (int grpc = 0; grpc <= 16; grpc++) {
        assert_int_equal(chassis_status_to_grpc(chassis_status_from_grpc(grpc)), grpc);
    }
    assert_int_equal(chassis_status_from_grpc(99), CHASSIS_UNKNOWN);
    assert_int_equal(chassis_status_class(CHASSIS_NOT_LEADER), CHASSIS_CLASS_REDIRECT);
    assert_string_equal(chassis_status_name(CHASSIS_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(chassis_status_name(-ENOENT), "ENOENT");
}

static void buf_grows_and_stays_terminated(void **state)
{
    struct chassis_buf buf = {0};
    for (int i = 0; i < 1000; i++) {
        chassis_buf_printf(&buf, "%d,", i);
    }
    assert_int_equal(buf.data[buf.len], '\0');
    assert_true(chassis_view_starts_with(chassis_buf_view(&buf), chassis_view_str("0,1,2,")));
    chassis_buf_consume(&buf, 2);
    assert_int_equal(buf.data[0], '1');
    struct chassis_buf moved = chassis_buf_move(&buf);
    assert_null(buf.data);
    chassis_buf_fini(&moved);
}

static void arena_stops_at_its_limit(void **state)
{
    struct chassis_arena arena;
    uint8_t first[256];
    chassis_arena_init(&arena, first, sizeof first, 100000);
    void *small = chassis_arena_alloc(&arena, 10);
    assert_true((uint8_t *)small >= first && (uint8_t *)small < first + sizeof first);
    size_t got = 0;
    while (chassis_arena_alloc(&arena, 1000) != NULL) {
        got += 1000;
    }
    assert_in_range(got, 90000, 100000);
    assert_null(chassis_arena_alloc(&arena, SIZE_MAX));
    assert_string_equal(chassis_arena_printf(&arena, "%d", 7), "7");
    chassis_arena_fini(&arena);
}

static void reader_never_passes_the_end(void **state)
{
    struct chassis_buf buf = {0};
    const uint64_t values[] = {0, 127, 128, 1ULL << 32, UINT64_MAX};
    for (size_t i = 0; i < 5; i++) {
        chassis_buf_append_varint(&buf, values[i]);
    }
    chassis_buf_append_block(&buf, chassis_view_str("hello"));
    for (size_t cut = 0; cut < buf.len; cut++) {
        struct chassis_reader r = chassis_reader(chassis_view(buf.data, cut));
        for (size_t i = 0; i < 5; i++) {
            chassis_read_varint(&r);
        }
        chassis_read_block(&r);
        assert_true(r.bad);
    }
    struct chassis_reader r = chassis_reader(chassis_buf_view(&buf));
    for (size_t i = 0; i < 5; i++) {
        assert_true(chassis_read_varint(&r) == values[i]);
    }
    assert_true(chassis_view_eq(chassis_read_block(&r), chassis_view_str("hello")));
    assert_false(r.bad);
    const uint8_t overlong[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    r = chassis_reader(chassis_view(overlong, sizeof overlong));
    chassis_read_varint(&r);
    assert_true(r.bad);
    chassis_buf_fini(&buf);
}

static void crc32c_matches_the_published_vectors(void **state)
{
    uint8_t zeros[32] = {0};
    assert_int_equal(chassis_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(chassis_crc32c(0, zeros, sizeof zeros), 0x8a9136aa);
    /* split anywhere, the sum is the same */
    for (size_t cut = 0; cut <= 9; cut++) {
        uint32_t crc = chassis_crc32c(0, "123456789", cut);
        assert_int_equal(chassis_crc32c(crc, &"123456789"[cut], 9 - cut), 0xe3069283);
    }
}

static void big_endian_sorts_by_value(void **state)
{
    uint8_t a[8], b[8];
    chassis_put_be64(a, 255);
    chassis_put_be64(b, 256);
    assert_true(memcmp(a, b, 8) < 0);
    assert_true(chassis_get_be64(b) == 256);
}

static void prng_repeats_by_seed(void **state)
{
    struct chassis_prng a, b;
    chassis_prng_init(&a, 42);
    chassis_prng_init(&b, 42);
    for (int i = 0; i < 100; i++) {
        assert_true(chassis_prng_next(&a) == chassis_prng_next(&b));
        assert_true(chassis_prng_below(&a, 7) < 7);
        chassis_prng_below(&b, 7);
    }
}

static size_t encode_utf8(uint32_t c, uint8_t out[4])
{
    size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    static const uint8_t marks[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (uint8_t)(marks[len - 1] | c);
    return len;
}

static void every_character_is_valid_utf8_and_no_surrogate_is(void **state)
{
    for (uint32_t c = 0; c < 0x110000 + 0x1000; c++) {
        uint8_t text[4];
        size_t len = encode_utf8(c, text);
        bool good = (c < 0xd800 || c > 0xdfff) && c < 0x110000;
        assert_int_equal(chassis_utf8_len(text, len), good ? len : 0);
        assert_int_equal(chassis_utf8_valid(chassis_view(text, len)), good && c != 0);
        if (len > 1) {
            assert_int_equal(chassis_utf8_len(text, len - 1), 0);
        }
    }
}

static void malformed_utf8_is_found_wherever_it_stands(void **state)
{
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",         "\xc3\x28",         "\xe2\x82\x28",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t before = 0; before < 20; before++) {
            uint8_t text[48];
            memset(text, 'x', sizeof text);
            assert_true(chassis_utf8_valid(chassis_view(text, sizeof text)));
            memcpy(text + before, bad[i], strlen(bad[i]));
            assert_false(chassis_utf8_valid(chassis_view(text, sizeof text)));
            assert_false(chassis_utf8_valid(chassis_view(text, before + strlen(bad[i]))));
        }
    }
    uint8_t nul[16] = "0123456789";
    assert_true(chassis_utf8_valid(chassis_view(nul, 10)));
    assert_false(chassis_utf8_valid(chassis_view(nul, 11)));
    assert_true(chassis_utf8_valid(chassis_view_str("")));
}

struct item {
    int value;
    struct chassis_list link;
};

static void list_keeps_order_and_removes_while_walking(void **state)
{
    struct chassis_list head;
    struct item items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    chassis_list_init(&head);
    for (int i = 0; i < 4; i++) {
        chassis_list_append(&head, &items[i].link);
    }
    chassis_list_foreach_safe (it, &head) {
        if (chassis_list_entry(it, struct item, link)->value % 2 == 0) {
            chassis_list_remove(it);
        }
    }
    int sum = 0;
    chassis_list_foreach (it, &head) {
        sum = sum * 10 + chassis_list_entry(it, struct item, link)->value;
    }
    assert_int_equal(sum, 13);
}

static void touch_two_points(void *data)
{
    int *failures = data;
    if (CHASSIS_FAULT("test.first")) {
        (*failures)++;
        return;
    }
    if (CHASSIS_FAULT("test.second")) {
        (*failures)++;
    }
}

static void every_fault_point_is_failed_in_turn(void **state)
{
    int failures = 0;
    assert_int_equal(test_each_fault("test.", touch_two_points, &failures), 2);
    assert_int_equal(failures, 2);
    assert_false(CHASSIS_FAULT("test.first"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_text_is_wrapped_on_the_way_up),
        cmocka_unit_test(every_status_has_a_grpc_number_and_comes_back),
        cmocka_unit_test(buf_grows_and_stays_terminated),
        cmocka_unit_test(arena_stops_at_its_limit),
        cmocka_unit_test(reader_never_passes_the_end),
        cmocka_unit_test(crc32c_matches_the_published_vectors),
        cmocka_unit_test(big_endian_sorts_by_value),
        cmocka_unit_test(prng_repeats_by_seed),
        cmocka_unit_test(every_character_is_valid_utf8_and_no_surrogate_is),
        cmocka_unit_test(malformed_utf8_is_found_wherever_it_stands),
        cmocka_unit_test(list_keeps_order_and_removes_while_walking),
        cmocka_unit_test(every_fault_point_is_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
