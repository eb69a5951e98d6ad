/* Texts in events: URIs, media types, the canonical text of values. */
#include "tests/test.h"

#include "catalyst/event/build.h"
#include "catalyst/event/check.h"

#define V(text) chassis_view_str(text)

static struct cat_value text_of(enum cat_type type, const char *text)
{
    struct cat_value value = {.type = type, .text = V(text)};
    return value;
}

static void uris_follow_rfc_3986(void **state)
{
    static const struct {
        const char *text;
        bool reference, absolute;
    } rows[] = {
        {"https://example.com/a?b=c#d", true, true},
        {"urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", true, true},
        {"mailto:cncf-wg@lists.cncf.io", true, true},
        {"/cloudevents/spec/pull/123", true, false},
        {"1-555-123-4567", true, false},
        {"localhost.localdomain", true, false},
        {"http://user:pw@[::1]:80/", true, true},
        {"http://[v1.x:y]/", true, true},
        {"//host/path", true, false},
        {"?q", true, false},
        {"#f", true, false},
        {"%20a", true, false},
        {"http://[::1", false, false},
        {"http://[zz]/", false, false},
        {"http://h:8a/", false, false},
        {"a b", false, false},
        {"%2", false, false},
        {"%zz", false, false},
        {"1a:b", false, false}, /* neither a scheme nor a first segment */
        {"a#b#c", false, false},
        {"caf\xc3\xa9", false, false},
        {"<x>", false, false},
        {"a\\b", false, false},
        {"", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (cat_check_uri(V(rows[i].text), false) != rows[i].reference ||
            cat_check_uri(V(rows[i].text), true) != rows[i].absolute) {
            fail_msg("'%s'", rows[i].text);
        }
    }
}

static void media_types_follow_rfc_9110(void **state)
{
    static const char *const good[] = {"application/json", "text/plain; charset=utf-8",
                                       "application/vnd.x+json;a=b;c=\"d e\"", "a/b;",
                                       "a/b ; ;c=d"};
    static const char *const bad[] = {
        "",      "json",   "/json",     "text/",      "text/plain charset",
        "a/b;c", "a/b;c=", "a/b;c=\"d", "a/b;c=\"\\", "a b/c"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(cat_check_media_type(V(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(cat_check_media_type(V(bad[i])));
    }
    assert_true(cat_media_type_is_json(V("Application/JSON ; charset=x")));
    assert_true(cat_media_type_is_json(V("application/cloudevents+Json")));
    assert_false(cat_media_type_is_json(V("application/jsonp")));
    assert_false(cat_media_type_is_json(V("application/xml; x=application/json")));
    assert_true(cat_media_type_is(V("TEXT/Plain; CharSet=utf-8"), "text/plain"));
}

static void values_have_a_canonical_text(void **state)
{
    struct chassis_buf text = {0};
    const struct {
        struct cat_value value;
        const char *text;
    } rows[] = {
        {cat_value_boolean(true), "true"},
        {cat_value_integer(INT32_MIN), "-2147483648"},
        {cat_value_timestamp(1524746889, 500000000), "2018-04-26T12:48:09.500Z"},
        {text_of(CAT_BYTES, "abc"), "YWJj"},
        {text_of(CAT_STRING, "x"), "x"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cat_value back;
        chassis_buf_clear(&text);
        chassis_buf_append_str(&text, "<");
        cat_value_print(&rows[i].value, &text);
        assert_string_equal((char *)text.data + 1, rows[i].text);
        if (rows[i].value.type != CAT_BYTES) {
            assert_true(cat_value_parse(V(rows[i].text), rows[i].value.type, &back));
            assert_true(cat_value_eq(&rows[i].value, &back));
        }
    }
    struct cat_value v;
    static const char *const no[] = {"", "-", "+1", "01", "2147483648", "12345678901", "1x"};
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        assert_false(cat_value_parse(V(no[i]), CAT_INTEGER, &v));
    }
    chassis_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uris_follow_rfc_3986),
        cmocka_unit_test(media_types_follow_rfc_9110),
        cmocka_unit_test(values_have_a_canonical_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
