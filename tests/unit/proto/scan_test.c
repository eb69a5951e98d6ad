/* What bytes a stranger may send. */
#include "proto_test.h"

static int decode(const void *bytes, size_t len, size_t memory, struct chassis_error *err)
{
    struct chassis_arena arena;
    ProtobufCMessage *message = NULL;
    chassis_arena_init(&arena, NULL, 0, memory);
    int rc = chassis_message_decode(ALL, chassis_view(bytes, len), NULL, &arena, &message, err);
    if (rc == 0) {
        struct chassis_buf again = {0};
        chassis_message_encode(message, &again);
        assert_int_equal(chassis_message_size(message), again.len);
        chassis_buf_fini(&again);
    }
    chassis_arena_fini(&arena);
    return rc;
}

#define REFUSED(bytes, code, words)                                                                \
    do {                                                                                           \
        struct chassis_error e = {0};                                                              \
        assert_int_equal(decode(bytes, sizeof(bytes) - 1, 1 << 20, &e), code);                     \
        if (strstr(e.text, words) == NULL) {                                                       \
            fail_msg("'%s' does not say '%s'", e.text, words);                                     \
        }                                                                                          \
    } while (0)

static void malformed_bytes_are_refused_by_field(void **state)
{
    (void)state;
    REFUSED("\x72\x02\xc3\x28", CHASSIS_MALFORMED, "field 'f_string' is not valid UTF-8");
    REFUSED("\x72\x03\xed\xa0\x80", CHASSIS_MALFORMED, "UTF-8");     /* a surrogate */
    REFUSED("\x72\x02\xc0\x80", CHASSIS_MALFORMED, "UTF-8");         /* overlong */
    REFUSED("\x72\x04\xf4\x90\x80\x80", CHASSIS_MALFORMED, "UTF-8"); /* beyond U+10FFFF */
    REFUSED("\x72\x0a"
            "abcdefgh\0i",
            CHASSIS_MALFORMED, "field 'f_string' holds a NUL");
    REFUSED("\x72\x05"
            "abc",
            CHASSIS_MALFORMED, "wire format"); /* cut off */
    REFUSED("\x72\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", CHASSIS_MALFORMED, "wire format");
    REFUSED("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", CHASSIS_MALFORMED, "wire format");
    REFUSED("\x00\x01", CHASSIS_MALFORMED, "wire format"); /* number 0 */
    REFUSED("\x0b\x0c", CHASSIS_MALFORMED, "wire format"); /* a group */
    REFUSED("\x0a\x01\x01", CHASSIS_MALFORMED, "field 'f_int32' has another wire type");
    REFUSED("\xb2\x01\x02\x01\x80", CHASSIS_MALFORMED, "field 'numbers' is a packed array");
    REFUSED("\x8a\x01\x04\x12\x02\x70\x01", CHASSIS_MALFORMED, "field 'inner.all.f_string'");
}

static void what_is_well_formed_is_taken(void **state)
{
    (void)state;
    struct chassis_error err = {0};
    assert_int_equal(decode("", 0, 1 << 16, &err), 0);
    assert_int_equal(decode("\x72\x02\xc3\xa4", 4, 1 << 16, &err), 0);
    assert_int_equal(decode("\xb2\x01\x02\x01\x02\xb0\x01\x03", 8, 1 << 16, &err), 0);
    assert_int_equal(decode("\xf8\x7f\x01", 3, 1 << 16, &err), 0); /* an unknown field */
}

static void nest(struct chassis_buf *out, unsigned levels)
{
    /* inner { all { inner { … */
    for (unsigned i = 0; i < levels; i++) {
        struct chassis_buf outer = {0};
        size_t len = out->len;
        chassis_buf_append(&outer, i % 2 == 0 ? "\x12" : "\x8a\x01", i % 2 == 0 ? 1 : 2);
        do {
            chassis_buf_append_byte(&outer, (uint8_t)((len & 0x7f) | (len > 0x7f ? 0x80 : 0)));
            len >>= 7;
        } while (len != 0);
        chassis_buf_append_view(&outer, chassis_buf_view(out));
        chassis_buf_fini(out);
        *out = outer;
    }
}

static void deep_nesting_is_refused_without_a_crash(void **state)
{
    (void)state;
    struct chassis_buf buf = {0};
    struct chassis_error err = {0};
    nest(&buf, 62);
    assert_int_equal(decode(buf.data, buf.len, 1 << 20, &err), 0);
    chassis_buf_fini(&buf);
    nest(&buf, 64);
    assert_int_equal(decode(buf.data, buf.len, 1 << 20, &err), CHASSIS_TOO_LARGE);
    assert_non_null(strstr(err.text, "deeper than 64"));
    chassis_buf_fini(&buf);
    nest(&buf, 10000);
    assert_true(buf.len > 34000);
    assert_int_equal(decode(buf.data, buf.len, 1 << 20, &err), CHASSIS_TOO_LARGE);
    chassis_buf_fini(&buf);
}

static void amplification_is_bounded(void **state)
{
    (void)state;
    struct chassis_buf buf = {0};
    struct chassis_error err = {0};
    for (int i = 0; i < 50000; i++) {
        chassis_buf_append(&buf, "\xc2\x01\x00", 3); /* an empty inner: ~40 bytes each decoded */
    }
    assert_int_equal(decode(buf.data, buf.len, 1 << 20, &err), CHASSIS_TOO_LARGE);
    assert_non_null(strstr(err.text, "1048576"));
    assert_int_equal(decode(buf.data, buf.len, 64 << 20, &err), 0);
    for (int i = 0; i < 50001; i++) {
        chassis_buf_append(&buf, "\xc2\x01\x00", 3);
    }
    assert_int_equal(decode(buf.data, buf.len, 64 << 20, &err), CHASSIS_TOO_LARGE);
    assert_non_null(strstr(err.text, "more than 100000 fields"));
    chassis_buf_fini(&buf);
}

static void registry_finds_what_was_added(void **state)
{
    (void)state;
    struct chassis_type_registry *types = chassis_type_registry_new();
    static ProtobufCMessageDescriptor many[200];
    static char names[200][16];
    for (int i = 0; i < 200; i++) {
        snprintf(names[i], sizeof names[i], "t.T%d", i);
        many[i].name = names[i];
        chassis_type_registry_add(types, &many[i]);
        chassis_type_registry_add(types, &many[i]);
    }
    for (int i = 0; i < 200; i++) {
        assert_ptr_equal(chassis_type_registry_find(types, chassis_view_str(names[i])), &many[i]);
    }
    assert_null(chassis_type_registry_find(types, chassis_view_str("t.T200")));
    assert_null(chassis_type_registry_find(types, chassis_view_str("")));
    chassis_type_registry_free(types);
    chassis_type_registry_free(NULL);
}

int scan_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_bytes_are_refused_by_field),
        cmocka_unit_test(what_is_well_formed_is_taken),
        cmocka_unit_test(deep_nesting_is_refused_without_a_crash),
        cmocka_unit_test(amplification_is_bounded),
        cmocka_unit_test(registry_finds_what_was_added),
    };
    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
