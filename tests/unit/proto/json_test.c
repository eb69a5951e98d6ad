/* JSON as the protobuf language guide maps it. */
#include "proto_test.h"

static struct chassis_type_registry *types;

/* Text → message → text. */
static int round_trip(const char *json, size_t len, struct chassis_buf *out,
                      struct chassis_error *err)
{
    struct chassis_arena arena;
    ProtobufCMessage *message = NULL;
    chassis_arena_init(&arena, NULL, 0, 1 << 20);
    int rc = chassis_json_parse(ALL, chassis_view(json, len), types, false, &arena, &message, err);
    if (rc == 0) {
        rc = chassis_json_print(message, types, out, err);
    }
    chassis_arena_fini(&arena);
    return rc;
}

static void gives(const char *json, const char *wanted)
{
    struct chassis_buf out = {0};
    struct chassis_error err = {0};
    if (round_trip(json, strlen(json), &out, &err) != 0) {
        fail_msg("%s: %s", json, err.text);
    }
    assert_string_equal((const char *)out.data, wanted);
    chassis_buf_fini(&out);
}

static void same(const char *json)
{
    gives(json, json);
}

static void refused(const char *json, const char *words)
{
    struct chassis_buf out = {0};
    struct chassis_error err = {0};
    if (round_trip(json, strlen(json), &out, &err) == 0) {
        fail_msg("%s was taken", json);
    }
    if (strstr(err.text, words) == NULL) {
        fail_msg("%s: '%s' does not say '%s'", json, err.text, words);
    }
    assert_int_equal(out.len, 0);
    chassis_buf_fini(&out);
}

static void numbers_keep_their_value(void **state)
{
    (void)state;
    same("{\"fInt32\":-2147483648,\"fInt64\":\"-9223372036854775808\",\"fUint32\":4294967295,"
         "\"fUint64\":\"18446744073709551615\",\"fSint32\":-2147483648,"
         "\"fSint64\":\"-9223372036854775808\",\"fFixed32\":4294967295,"
         "\"fFixed64\":\"18446744073709551615\",\"fSfixed32\":-5,\"fSfixed64\":\"-6\","
         "\"fFloat\":0.1,\"fDouble\":0.1,\"fBool\":true}");
    gives("{\"fUint64\":18446744073709551615,\"fInt64\":-9223372036854775808}",
          "{\"fInt64\":\"-9223372036854775808\",\"fUint64\":\"18446744073709551615\"}");
    gives("{\"fInt32\":\"12\",\"fUint32\":1.2e2,\"fInt64\":5.0}",
          "{\"fInt32\":12,\"fInt64\":\"5\",\"fUint32\":120}");
    same("{\"fFloat\":3.4028235e+38,\"fDouble\":1.7976931348623157e+308}");
    same("{\"fFloat\":\"NaN\",\"fDouble\":\"-Infinity\"}");
    gives("{\"f_int32\":1,\"fInt64\":null,\"fDouble\":\"1.5\"}", "{\"fInt32\":1,\"fDouble\":1.5}");
    refused("{\"fInt32\":2147483648}", "field 'f_int32': a signed 32-bit integer is expected");
    refused("{\"fInt32\":1.5}", "field 'f_int32'");
    refused("{\"fUint32\":-1}", "unsigned 32-bit");
    refused("{\"fUint64\":18446744073709551616}", "unsigned 64-bit");
    refused("{\"fInt64\":9223372036854775808}", "signed 64-bit");
    refused("{\"fFloat\":1e39}", "32-bit floating-point");
    refused("{\"fDouble\":1e309}", "floating-point");
    refused("{\"fInt32\":01}", "not a number");
    refused("{\"fInt32\":+1}", "field 'f_int32'");
    refused("{\"fInt32\":\"\"}", "field 'f_int32'");
    refused("{\"fBool\":\"true\"}", "field 'f_bool'");
    refused("{\"fBool\":1}", "field 'f_bool'");
}

static void defaults_are_left_out_but_presence_is_kept(void **state)
{
    (void)state;
    gives("{\"fInt32\":0,\"fString\":\"\",\"fBool\":false,\"numbers\":[],\"byName\":{},"
          "\"fColor\":\"COLOR_UNSPECIFIED\",\"fDouble\":0}",
          "{}");
    same("{\"inner\":{},\"maybe\":0,\"text\":\"\"}");
    same("{\"nothing\":null}");
    same("{}");
}

static void text_is_escaped_and_checked(void **state)
{
    (void)state;
    gives("{\"fString\":\"\\u00e4\\uD83D\\uDE00\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\"}",
          "{\"fString\":\"\xc3\xa4\xf0\x9f\x98\x80\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\"}");
    gives(" { \"fBytes\" : \"-_8\" } ", "{\"fBytes\":\"+/8=\"}");
    same("{\"fBytes\":\"AA==\"}");
    refused("{\"fBytes\":\"A\"}", "base64");
    refused("{\"fBytes\":\"AA=\"}", "base64");
    refused("{\"fBytes\":\"A*==\"}", "base64");
    refused("{\"fString\":\"\\ud800\"}", "escape");
    refused("{\"fString\":\"\\udc00\"}", "escape");
    refused("{\"fString\":\"\\u0000\"}", "escape");
    refused("{\"fString\":\"\\x\"}", "escape");
    refused("{\"fString\":\"\xff\"}", "UTF-8");
    refused("{\"fString\":\"a\nb\"}", "control character");
    refused("{\"fString\":\"abc", "without end");
    refused("{\"fString\":\"abc\\", "without end");
    refused("{\"fString\":1}", "field 'f_string': a string is expected");
    struct chassis_buf out = {0};
    struct chassis_error err = {0};
    assert_int_not_equal(round_trip("{}\0", 3, &out, &err), 0);
    assert_int_not_equal(round_trip("{\"fString\":\"a\0b\"}", 17, &out, &err), 0);
    assert_int_not_equal(round_trip("", 0, &out, &err), 0);
    assert_int_not_equal(round_trip(NULL, 0, &out, &err), 0);
    chassis_buf_fini(&out);
}

static void containers_and_choices(void **state)
{
    (void)state;
    same("{\"inner\":{\"number\":7,\"all\":{\"fInt32\":8}},\"numbers\":[1,0,-1],"
         "\"words\":[\"\",\"a\"],\"inners\":[{},{\"number\":1}],"
         "\"colors\":[\"GREEN\",\"COLOR_UNSPECIFIED\",\"NEGATIVE\",77]}");
    gives("{\"by_name\":{\"b\":2,\"a\":0,\"b\":3},\"byNumber\":{\"5\":{}},"
          "\"byTruth\":{\"true\":\"x\",\"false\":\"\"}}",
          "{\"byName\":{\"a\":0,\"b\":3},\"byNumber\":{\"5\":{}},"
          "\"byTruth\":{\"false\":\"\",\"true\":\"x\"}}");
    gives("{\"fColor\":2}", "{\"fColor\":\"GREEN\"}");
    gives("{\"fColor\":99}", "{\"fColor\":99}");
    refused("{\"fColor\":\"BLUE\"}", "draft.test.v1.Color has no value 'BLUE'");
    refused("{\"text\":\"a\",\"chosen\":{}}", "field 'chosen': 'text' is there already");
    refused("{\"fInt32\":1,\"f_int32\":1}", "'f_int32' is there already");
    refused("{\"nope\":1}", "draft.test.v1.All has no field 'nope'");
    refused("{\"numbers\":[null]}", "field 'numbers'");
    refused("{\"numbers\":{}}", "an array is expected");
    refused("{\"byName\":[]}", "an object is expected");
    refused("{\"byTruth\":{\"1\":\"\"}}", "true or false");
    refused("{\"numbers\":[1,]}", "field 'numbers'");
    refused("{\"fInt32\":1,}", "a string is expected");
    refused("{\"fInt32\":1} x", "text after the value");
    refused("[]", "an object is expected");
    refused("{\n \"fInt32\" 1}", "line 2, column 11");
}

static void well_known_types_have_their_own_forms(void **state)
{
    (void)state;
    same("{\"time\":\"2024-02-29T23:59:59.120Z\",\"span\":\"-0.000001s\"}");
    same("{\"time\":\"0001-01-01T00:00:00Z\",\"span\":\"315576000000s\"}");
    same("{\"time\":\"9999-12-31T23:59:59.999999999Z\",\"span\":\"3.000000001s\"}");
    gives("{\"time\":\"1970-01-01T01:00:00+01:00\"}", "{\"time\":\"1970-01-01T00:00:00Z\"}");
    gives("{\"time\":\"1969-12-31T23:59:59.5Z\"}", "{\"time\":\"1969-12-31T23:59:59.500Z\"}");
    refused("{\"time\":\"2023-02-29T00:00:00Z\"}", "google.protobuf.Timestamp");
    refused("{\"time\":\"2024-01-01 00:00:00Z\"}", "google.protobuf.Timestamp");
    refused("{\"time\":\"0001-01-01T00:00:00+00:01\"}", "google.protobuf.Timestamp");
    refused("{\"span\":\"1\"}", "google.protobuf.Duration");
    refused("{\"span\":\"315576000001s\"}", "google.protobuf.Duration");
    same("{\"wrapped\":\"5\"}");
    same("{\"wrapped\":\"0\"}");
    same("{\"object\":{\"a\":[1,\"x\",null,true,{\"b\":{}}],\"z\":-0.5},\"value\":null,"
         "\"list\":[],\"values\":[null,1]}");
    refused("{\"value\":\"x}", "without end");
    gives("{\"mask\":\"fInt32,inner.fString\"}", "{\"mask\":\"fInt32,inner.fString\"}");
    refused("{\"mask\":\"f_int32\"}", "lowerCamelCase");
    refused("{\"mask\":\"a,,b\"}", "empty path");
    refused("{\"mask\":\"a,\"}", "empty path");
    same("{\"mask\":\"\"}");
}

static void any_holds_known_and_unknown_types(void **state)
{
    (void)state;
    same("{\"any\":{\"@type\":\"type.googleapis.com/draft.test.v1.All\",\"fInt32\":5}}");
    gives("{\"any\":{\"fInt32\":5,\"@type\":\"draft.test.v1.All\"}}",
          "{\"any\":{\"@type\":\"draft.test.v1.All\",\"fInt32\":5}}");
    same("{\"any\":{\"@type\":\"a/google.protobuf.Duration\",\"value\":\"1s\"}}");
    gives("{\"any\":{\"value\":\"1s\",\"@type\":\"a/google.protobuf.Duration\"},\"wrapped\":1}",
          "{\"any\":{\"@type\":\"a/google.protobuf.Duration\",\"value\":\"1s\"},"
          "\"wrapped\":\"1\"}");
    same("{\"any\":{\"@type\":\"x/unknown.Type\",\"value\":\"CAU=\"}}");
    same("{\"any\":{}}");
    refused("{\"any\":{\"@type\":\"x/unknown.Type\",\"a\":1}}", "'x/unknown.Type' is not known");
    refused("{\"any\":{\"fInt32\":5}}", "@type");
    refused("{\"any\":{\"@type\":\"a/google.protobuf.Duration\"}}", "needs a \"value\"");
    refused("{\"any\":{\"@type\":\"draft.test.v1.All\",\"fInt32\":\"x\"}}", "field 'f_int32'");
}

static void unknown_fields_can_be_passed_over(void **state)
{
    (void)state;
    struct chassis_arena arena;
    struct chassis_buf out = {0};
    struct chassis_error err = {0};
    const char *json =
        "{\"nope\":{\"a\":[1,{\"b\":\"\\u0041\"}],\"c\":null},\"fInt32\":3,\"x\":false}";
    chassis_arena_init(&arena, NULL, 0, 1 << 16);
    assert_int_equal(
        chassis_json_parse_bytes(ALL, chassis_view_str(json), types, true, &arena, &out, &err), 0);
    assert_int_equal(out.len, 2);
    assert_memory_equal(out.data, "\x08\x03", 2);
    assert_int_not_equal(chassis_json_parse_bytes(ALL, chassis_view_str("{\"nope\":1-2}"), types,
                                                  true, &arena, &out, &err),
                         0);
    chassis_arena_fini(&arena);
    chassis_buf_fini(&out);
}

static void deep_json_is_refused_without_a_crash(void **state)
{
    (void)state;
    static const char *const pieces[] = {"{\"inner\":{\"all\":",
                                         "{\"value\":[",
                                         "{\"nope\":[",
                                         "{\"object\":{\"a\":",
                                         "[",
                                         "{\"any\":{\"@type\":\"draft.test.v1.All\",\"any\":"};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct chassis_arena arena;
        struct chassis_buf json = {0}, out = {0};
        struct chassis_error err = {0};
        chassis_buf_append_str(&json, "{\"value\":");
        for (int n = 0; n < 20000; n++) {
            chassis_buf_append_str(&json, pieces[i]);
        }
        chassis_arena_init(&arena, NULL, 0, 1 << 20);
        assert_int_not_equal(
            chassis_json_parse_bytes(ALL, chassis_buf_view(&json), types, true, &arena, &out, &err),
            0);
        assert_non_null(strstr(err.text, "deeper than 64"));
        chassis_arena_fini(&arena);
        chassis_buf_fini(&json);
        chassis_buf_fini(&out);
    }
}

static void wire_bytes_print_as_merged(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *json;
    } rows[] = {
        {"\x08\x01\x08\x02", 4, "{\"fInt32\":2}"},       /* the last wins */
        {"\x8a\x01\x02\x08\x01\x8a\x01\x02\x12\x00", 10, /* messages merge */
         "{\"inner\":{\"number\":1,\"all\":{}}}"},
        {"\x9a\x01\x01"
         "a\xa2\x01\x00",
         7, "{\"chosen\":{}}"}, /* the last member */
        {"\xa2\x01\x00\x9a\x01\x01"
         "a",
         7, "{\"text\":\"a\"}"},
        {"\xb0\x01\x01\xb2\x01\x02\x02\x03", 8, "{\"numbers\":[1,2,3]}"}, /* packed and not */
        {"\xd2\x01\x00", 3, "{\"byName\":{\"\":0}}"},                     /* an empty entry */
        {"\xf8\x7f\x01", 3, "{}"},                                        /* unknown */
        {"\xb2\x01\x00", 3, "{}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct chassis_buf out = {0};
        struct chassis_error err = {0};
        if (chassis_json_print_bytes(ALL, chassis_view(rows[i].bytes, rows[i].len), types, &out,
                                     &err) != 0) {
            fail_msg("row %zu: %s", i, err.text);
        }
        assert_string_equal((const char *)out.data, rows[i].json);
        chassis_buf_fini(&out);
    }
}

static void what_has_no_json_is_an_error(void **state)
{
    (void)state;
    struct chassis_buf out = {0};
    struct chassis_error err = {0};
    Draft__Test__V1__All all = DRAFT__TEST__V1__ALL__INIT;
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    time.nanos = -1;
    all.time = &time;
    assert_int_equal(chassis_json_print(&all.base, types, &out, &err), CHASSIS_MALFORMED);
    assert_non_null(strstr(err.text, "out of range"));
    all.time = NULL;
    char bad[] = "\xff";
    all.f_string = bad;
    assert_int_equal(chassis_json_print(&all.base, types, &out, &err), CHASSIS_MALFORMED);
    assert_non_null(strstr(err.text, "f_string"));
    assert_int_equal(out.len, 0);
    chassis_buf_fini(&out);
}

int json_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_value),
        cmocka_unit_test(defaults_are_left_out_but_presence_is_kept),
        cmocka_unit_test(text_is_escaped_and_checked),
        cmocka_unit_test(containers_and_choices),
        cmocka_unit_test(well_known_types_have_their_own_forms),
        cmocka_unit_test(any_holds_known_and_unknown_types),
        cmocka_unit_test(unknown_fields_can_be_passed_over),
        cmocka_unit_test(deep_json_is_refused_without_a_crash),
        cmocka_unit_test(wire_bytes_print_as_merged),
        cmocka_unit_test(what_has_no_json_is_an_error),
    };
    types = chassis_type_registry_new();
    chassis_type_registry_add(types, ALL);
    chassis_type_registry_add(types, &google__protobuf__duration__descriptor);
    int failed = cmocka_run_group_tests_name("json", tests, NULL, NULL);
    chassis_type_registry_free(types);
    return failed;
}
