/* Types known only at run time, as dctl meets them. */
#include "proto_test.h"

#include "all.chassis.h"
#include "proto/dynamic.h"

static struct chassis_dynamic *load(void)
{
    struct chassis_dynamic *d = chassis_dynamic_new();
    struct chassis_error err = {0};
    if (chassis_dynamic_add_embedded(d, &all_file, &err) != 0 ||
        chassis_dynamic_link(d, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return d;
}

static void json_goes_to_the_same_bytes_as_typed(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"fInt32\":-5,\"fSint64\":\"-7\",\"fFloat\":1.5,\"fString\":\"x\",\"fBytes\":\"AA==\","
        "\"fColor\":\"GREEN\",\"inner\":{\"number\":1},\"maybe\":0,\"text\":\"\","
        "\"numbers\":[1,2],\"words\":[\"\"],\"colors\":[\"NEGATIVE\"],\"byName\":{\"a\":1},"
        "\"byNumber\":{\"3\":{}},\"byTruth\":{\"true\":\"t\"},"
        "\"time\":\"2024-05-06T07:08:09Z\",\"span\":\"1s\","
        "\"any\":{\"@type\":\"x/draft.test.v1.All\",\"fInt32\":1},\"object\":{\"a\":[1]},"
        "\"value\":null,\"list\":[{}],\"wrapped\":\"9\",\"mask\":\"a,bC\"}",
        "{\"nothing\":null}", "{\"chosen\":{}}"};
    struct chassis_dynamic *d = load();
    const ProtobufCMessageDescriptor *type =
        chassis_dynamic_message(d, chassis_view_str("draft.test.v1.All"));
    assert_non_null(type);
    struct chassis_type_registry *types = chassis_type_registry_new();
    chassis_type_registry_add(types, ALL);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct chassis_arena arena;
        struct chassis_buf mine = {0}, typed = {0}, back = {0};
        struct chassis_error err = {0};
        chassis_arena_init(&arena, NULL, 0, 1 << 20);
        struct chassis_view json = chassis_view_str(texts[i]);
        if (chassis_json_parse_bytes(type, json, chassis_dynamic_types(d), false, &arena, &mine,
                                     &err) != 0 ||
            chassis_json_print_bytes(type, chassis_buf_view(&mine), chassis_dynamic_types(d), &back,
                                     &err) != 0) {
            fail_msg("%s", err.text);
        }
        assert_int_equal(chassis_json_parse_bytes(ALL, json, types, false, &arena, &typed, &err),
                         0);
        assert_int_equal(mine.len, typed.len);
        assert_memory_equal(mine.data, typed.data, mine.len);
        assert_string_equal((const char *)back.data, texts[i]);
        chassis_arena_fini(&arena);
        chassis_buf_fini(&mine);
        chassis_buf_fini(&typed);
        chassis_buf_fini(&back);
    }
    chassis_type_registry_free(types);
    chassis_dynamic_free(d);
}

static void methods_are_found_with_their_kind(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum chassis_method_kind kind;
    } rows[] = {{"Unary", CHASSIS_UNARY},
                {"Default", CHASSIS_SERVER_STREAM},
                {"GatherHTTPThings", CHASSIS_CLIENT_STREAM},
                {"Chat", CHASSIS_BIDI_STREAM}};
    struct chassis_dynamic *d = load();
    struct chassis_dynamic_method method;
    struct chassis_error err = {0};
    assert_string_equal(chassis_dynamic_service_name(d, 0), "draft.test.v1.Kinds");
    assert_null(chassis_dynamic_service_name(d, 1));
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(chassis_dynamic_method_name(d, 0, i), rows[i].name);
        assert_int_equal(
            chassis_dynamic_method(d, "draft.test.v1.Kinds", rows[i].name, &method, &err), 0);
        assert_int_equal(method.kind, rows[i].kind);
        assert_string_equal(method.request->name, "draft.test.v1.All");
    }
    assert_string_equal(method.path, "/draft.test.v1.Kinds/Chat");
    assert_null(chassis_dynamic_method_name(d, 0, 4));
    assert_int_equal(chassis_dynamic_method(d, "draft.test.v1.Kinds", "No", &method, &err),
                     CHASSIS_NOT_FOUND);
    assert_non_null(strstr(err.text, "it has: Unary, Default"));
    assert_int_equal(chassis_dynamic_method(d, "No", "No", &method, &err), CHASSIS_NOT_FOUND);
    assert_non_null(strstr(err.text, "draft.test.v1.Kinds"));
    chassis_dynamic_free(d);
}

static void a_missing_import_is_named(void **state)
{
    (void)state;
    struct chassis_dynamic *d = chassis_dynamic_new();
    struct chassis_error err = {0};
    assert_null(chassis_dynamic_missing(d));
    assert_int_equal(chassis_dynamic_add_file(d, chassis_view(all_file.data, all_file.len), &err),
                     0);
    assert_int_equal(chassis_dynamic_link(d, &err), CHASSIS_NOT_FOUND);
    assert_non_null(strstr(err.text, "google.protobuf."));
    for (const char *name; (name = chassis_dynamic_missing(d)) != NULL;) {
        const struct chassis_file_descriptor *const *f = all_file.imports;
        while (strcmp((*f)->name, name) != 0) {
            f++;
        }
        assert_int_equal(chassis_dynamic_add_file(d, chassis_view((*f)->data, (*f)->len), &err), 0);
    }
    assert_int_equal(chassis_dynamic_link(d, &err), 0);
    chassis_dynamic_free(d);
    chassis_dynamic_free(NULL);
}

static void damaged_descriptors_are_errors(void **state)
{
    (void)state;
    uint8_t *copy = malloc(all_file.len);
    for (size_t at = 0; at < all_file.len; at++) {
        struct chassis_dynamic *d = chassis_dynamic_new();
        struct chassis_error err = {0};
        memcpy(copy, all_file.data, all_file.len);
        copy[at] ^= (uint8_t)(1 + at % 255);
        for (size_t i = 0; all_file.imports[i] != NULL; i++) {
            const struct chassis_file_descriptor *f = all_file.imports[i];
            assert_int_equal(chassis_dynamic_add_file(d, chassis_view(f->data, f->len), &err), 0);
        }
        if (chassis_dynamic_add_file(d, chassis_view(copy, all_file.len), &err) == 0 &&
            chassis_dynamic_link(d, &err) == 0) {
            struct chassis_arena arena;
            struct chassis_buf out = {0};
            const ProtobufCMessageDescriptor *type =
                chassis_dynamic_message(d, chassis_view_str("draft.test.v1.All"));
            chassis_arena_init(&arena, NULL, 0, 1 << 16);
            if (type != NULL) {
                (void)chassis_json_parse_bytes(
                    type, chassis_view_str("{\"byName\":{\"a\":1},\"value\":[null,{}],\"any\":{}}"),
                    NULL, true, &arena, &out, &err);
            }
            chassis_arena_fini(&arena);
            chassis_buf_fini(&out);
        }
        chassis_dynamic_free(d);
    }
    free(copy);
}

int dynamic_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_goes_to_the_same_bytes_as_typed),
        cmocka_unit_test(methods_are_found_with_their_kind),
        cmocka_unit_test(a_missing_import_is_named),
        cmocka_unit_test(damaged_descriptors_are_errors),
    };
    return cmocka_run_group_tests_name("dynamic", tests, NULL, NULL);
}
