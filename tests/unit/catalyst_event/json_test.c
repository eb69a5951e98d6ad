/* The JSON format and the HTTP binding, both ways. */
#include "tests/test.h"

#include "catalyst/event/build.h"
#include "catalyst/event/http.h"
#include "catalyst/event/json.h"

#define V(text) chassis_view_str(text)
#define HEAD    "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\""

struct fixture {
    struct chassis_buf bytes, text;
    struct cat_event event;
    struct chassis_error err;
};

static void fini(struct fixture *f)
{
    chassis_buf_fini(&f->bytes);
    chassis_buf_fini(&f->text);
}

static void read_json(struct fixture *f, const char *json)
{
    chassis_buf_clear(&f->bytes);
    if (cat_json_read(V(json), &f->bytes, &f->err) != 0) {
        fail_msg("%s: %s", json, f->err.text);
    }
    assert_int_equal(cat_event_parse(chassis_buf_view(&f->bytes), &f->event, NULL), 0);
}

static const char *write_json(struct fixture *f)
{
    chassis_buf_clear(&f->text);
    cat_json_write(&f->event, &f->text);
    return (const char *)f->text.data;
}

/* Reads as JSON and writes as `same`. */
static void round_trip(const char *json, const char *same)
{
    struct fixture f = {0};
    read_json(&f, json);
    assert_string_equal(write_json(&f), same);
    fini(&f);
}

static void refused(const char *json, const char *part)
{
    struct fixture f = {0};
    chassis_buf_append_str(&f.bytes, "kept");
    assert_true(cat_json_read(V(json), &f.bytes, &f.err) < 0);
    if (strstr(f.err.text, part) == NULL) {
        fail_msg("%s: '%s' expected in '%s'", json, part, f.err.text);
    }
    assert_int_equal(f.bytes.len, 4);
    fini(&f);
}

static void attributes_keep_their_types(void **state)
{
    struct fixture f = {0};
    struct cat_value v;
    read_json(&f, "{\"b\":true,\"i\":-5,\"s\":\"\\u00e9x\",\"n\":null,\"subject\":null,"
                  "\"time\":\"2018-04-05T17:31:00+01:00\",\"dataschema\":\"a:b\"," HEAD "}");
    assert_true(cat_event_attribute(&f.event, V("b"), &v) && v.type == CAT_BOOLEAN && v.boolean);
    assert_true(cat_event_attribute(&f.event, V("i"), &v) && v.type == CAT_INTEGER);
    assert_int_equal(v.integer, -5);
    assert_true(cat_event_attribute(&f.event, V("s"), &v) && v.type == CAT_STRING);
    assert_true(chassis_view_eq(v.text, V("\xc3\xa9x")));
    assert_false(cat_event_attribute(&f.event, V("n"), &v));
    assert_true(f.event.subject.data == NULL);
    assert_true(cat_event_attribute(&f.event, V("time"), &v) && v.type == CAT_TIMESTAMP);
    assert_true(cat_event_attribute(&f.event, V("dataschema"), &v) && v.type == CAT_URI);
    assert_int_equal(f.event.data_kind, CAT_DATA_NONE);
    assert_string_equal(write_json(&f),
                        "{" HEAD ",\"b\":true,\"i\":-5,\"s\":\"\xc3\xa9x\","
                        "\"time\":\"2018-04-05T16:31:00Z\",\"dataschema\":\"a:b\"}");
    fini(&f);
}

static void data_follows_its_content_type(void **state)
{
    round_trip("{" HEAD ",\"data\":{\"a\" : [1, \"x \\\" y\"]}}",
               "{" HEAD
               ",\"datacontenttype\":\"application/json\",\"data\":{\"a\":[1,\"x \\\" y\"]}}");
    round_trip("{\"data\":\"text\"," HEAD ",\"datacontenttype\":\"text/xml\"}",
               "{" HEAD ",\"datacontenttype\":\"text/xml\",\"data\":\"text\"}");
    round_trip("{" HEAD ",\"datacontenttype\":\"x/y+json\",\"data\":null}",
               "{" HEAD ",\"datacontenttype\":\"x/y+json\",\"data\":null}");
    round_trip("{" HEAD ",\"data\":\"I'm just a string\"}",
               "{" HEAD
               ",\"datacontenttype\":\"application/json\",\"data\":\"I'm just a string\"}");
    round_trip("{" HEAD ",\"data_base64\":\"AAECgP8=\"}",
               "{" HEAD ",\"data_base64\":\"AAECgP8=\"}");
    round_trip("{" HEAD ",\"data_base64\":null}", "{" HEAD "}");
    round_trip("{" HEAD ",\"data\":1.5}",
               "{" HEAD ",\"datacontenttype\":\"application/json\",\"data\":1.5}");
    struct fixture f = {0};
    read_json(&f, "{" HEAD ",\"data\": {\"a\": 1} }");
    assert_int_equal(f.event.data_kind, CAT_DATA_TEXT);
    assert_true(chassis_view_eq(f.event.data, V("{\"a\": 1}")));
    read_json(&f, "{" HEAD ",\"datacontenttype\":\"text/plain\",\"data\":\"a\\nb\"}");
    assert_true(chassis_view_eq(f.event.data, V("a\nb")));
    read_json(&f, "{" HEAD ",\"data_base64\":\"eyAieHl6IjogMTIzIH0=\"}");
    assert_true(f.event.data_kind == CAT_DATA_BINARY && f.event.datacontenttype.data == NULL);
    fini(&f);
}

/* An event of parts as JSON. */
static void written(enum cat_data kind, const char *data, const char *type, const char *tail)
{
    struct fixture f = {0};
    struct cat_attribute attribute = {V("datacontenttype"), cat_value_string(V(type))};
    struct cat_event_parts parts = {.id = V("1"),
                                    .source = V("/s"),
                                    .type = V("t"),
                                    .attributes = &attribute,
                                    .attribute_count = type[0] != 0,
                                    .data_kind = kind,
                                    .data = V(data)};
    char expected[512];
    cat_event_build(&parts, &f.bytes);
    assert_int_equal(cat_event_parse(chassis_buf_view(&f.bytes), &f.event, NULL), 0);
    snprintf(expected, sizeof expected, "{" HEAD "%s}", tail);
    assert_string_equal(write_json(&f), expected);
    struct chassis_buf again = {0}; /* and reads again */
    assert_int_equal(cat_json_read(chassis_buf_view(&f.text), &again, NULL), 0);
    chassis_buf_fini(&again);
    fini(&f);
}

static void data_of_any_kind_can_be_written(void **state)
{
    written(CAT_DATA_TEXT, "plain", "", ",\"data\":\"plain\"");
    written(CAT_DATA_TEXT, "{broken", "application/json",
            ",\"datacontenttype\":\"application/json\",\"data_base64\":\"e2Jyb2tlbg==\"");
    written(CAT_DATA_TEXT, "", "application/json",
            ",\"datacontenttype\":\"application/json\",\"data_base64\":\"\"");
    written(CAT_DATA_BINARY, "{}", "application/json",
            ",\"datacontenttype\":\"application/json\",\"data_base64\":\"e30=\"");
    written(CAT_DATA_PROTO,
            "\x0a\x05"
            "x.y/z"
            "\x12\x01"
            "A",
            "",
            ",\"datacontenttype\":\"application/protobuf\",\"dataschema\":\"https://x.y/z\","
            "\"data_base64\":\"QQ==\"");
}

static void bad_json_is_refused_by_place_or_rule(void **state)
{
    refused("", "nothing");
    refused("[]", "'{' expected");
    refused("{" HEAD "} x", "something follows");
    refused("{" HEAD, "'}' expected");
    refused("{" HEAD ",}", "string is expected");
    refused("{" HEAD ",\"id\":\"2\"}", "attribute-duplicate");
    refused("{\"specversion\":\"1.0\",\"id\":1,\"source\":\"/s\",\"type\":\"t\"}", "string");
    refused("{\"specversion\":\"1.0\",\"id\":null,\"source\":\"/s\",\"type\":\"t\"}",
            "rule 'id-required'");
    refused("{" HEAD ",\"X\":1}", "rule 'attribute-name'");
    refused("{" HEAD ",\"x\":1.0}", "rule 'attribute-integer'");
    refused("{" HEAD ",\"x\":1e3}", "rule 'attribute-integer'");
    refused("{" HEAD ",\"x\":2147483648}", "rule 'attribute-integer'");
    refused("{" HEAD ",\"x\":{}}", "rule 'attribute-type'");
    refused("{" HEAD ",\"x\":[]}", "rule 'attribute-type'");
    refused("{" HEAD ",\"time\":\"now\"}", "rule 'attribute-timestamp'");
    refused("{" HEAD ",\"data\":1,\"data_base64\":\"\"}", "rule 'data-once'");
    refused("{" HEAD ",\"data\":1,\"data\":1}", "rule 'data-once'");
    refused("{" HEAD ",\"data_base64\":\"a\"}", "base64");
    refused("{" HEAD ",\"datacontenttype\":\"text/plain\",\"data\":{}}", "rule 'data-text'");
    refused("{" HEAD ",\"datacontenttype\":\"text\",\"data\":\"\"}", "media-type");
    refused("{" HEAD ",\"data\":[[}", "expected");
}

struct items {
    size_t n;
    int status[8];
    char text[8][CHASSIS_ERROR_TEXT_MAX];
};

static void take_item(void *data, const struct cat_json_item *item)
{
    struct items *items = data;
    struct cat_event event;
    assert_int_equal(item->index, items->n);
    items->status[items->n] = item->status;
    snprintf(items->text[items->n], sizeof items->text[0], "%s",
             item->status != 0 ? item->err->text : "");
    assert_int_equal(item->status == 0, cat_event_parse(item->bytes, &event, NULL) == 0);
    items->n++;
}

static void a_bad_event_of_a_batch_spoils_only_itself(void **state)
{
    struct items items = {0};
    struct chassis_error err;
    assert_int_equal(cat_json_read_batch(V(" [ ] "), take_item, &items, &err), 0);
    assert_int_equal(items.n, 0);
    assert_int_equal(
        cat_json_read_batch(V("[{" HEAD "}, 5 ,{\"id\":\"x\"},{" HEAD ",\"data\":{}}]"), take_item,
                            &items, &err),
        0);
    assert_int_equal(items.n, 4);
    assert_true(items.status[0] == 0 && items.status[3] == 0);
    assert_int_equal(items.status[1], CHASSIS_MALFORMED);
    assert_int_equal(items.status[2], CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(items.text[2], "rule 'source-required'"));
    static const char *const bad[] = {"", "{}", "[", "[{" HEAD "}", "[{" HEAD "}] x", "[1,]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        items.n = 0;
        assert_int_equal(cat_json_read_batch(V(bad[i]), take_item, &items, &err),
                         CHASSIS_MALFORMED);
    }
}

static void headers_are_percent_encoded(void **state)
{
    struct chassis_buf out = {0};
    cat_http_encode(V("Euro \xe2\x82\xac \xf0\x9f\x98\x80 \"%"), &out);
    assert_string_equal((char *)out.data, "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22%25");
    static const struct {
        const char *value, *text; /* text NULL: refused */
    } rows[] = {
        {"Euro%20%e2%82%AC", "Euro \xe2\x82\xac"},
        {"  plain\t", "plain"},
        {"\"a b \\\" %41\"", "a b \" A"},
        {"%2541", "%41"}, /* a single round */
        {"%4", "%4"},
        {"100%", "100%"},
        {"%zz", "%zz"},
        {"", ""},
        {"%C0%A0", NULL},
        {"%00", NULL},
        {"\"open", NULL},
        {"\"a\"b", NULL},
        {"\"", NULL},
        {"\xff", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        chassis_buf_clear(&out);
        int rc = cat_http_decode(V(rows[i].value), &out, NULL);
        if (rows[i].text == NULL) {
            assert_int_equal(rc, CHASSIS_INVALID_ARGUMENT);
            assert_int_equal(out.len, 0);
        } else {
            assert_int_equal(rc, 0);
            assert_true(chassis_view_eq(chassis_buf_view(&out), V(rows[i].text)));
        }
    }
    chassis_buf_fini(&out);
}

static void binary_mode_reads_headers_and_body(void **state)
{
    struct fixture f = {0};
    struct cat_http_header h[] = {
        {V("Host"), V("x")},
        {V("ce-specversion"), V("1.0")},
        {V("CE-Type"), V("com.example.someevent")},
        {V("ce-time"), V("2018-04-05T03:56:24Z")},
        {V("ce-id"), V("12%2034")},
        {V("ce-source"), V("/mycontext/subcontext")},
        {V("ce-delayms"), V("50")},
        {V("ce-isDurable"), V("true")},
        {V("ce-myext"), V("%E2%82%AC")},
        {V("Content-Type"), V("application/json; charset=utf-8")},
    };
    assert_int_equal(cat_http_read(h, 10, V("{\"a\":1}"), &f.bytes, &f.err), 0);
    assert_int_equal(cat_event_parse(chassis_buf_view(&f.bytes), &f.event, NULL), 0);
    assert_true(chassis_view_eq(f.event.id, V("12 34")));
    assert_int_equal(f.event.data_kind, CAT_DATA_TEXT);
    assert_int_equal(f.event.delay_ms, 50);
    assert_int_equal(f.event.durable, 1);
    struct cat_value v;
    assert_true(cat_event_attribute(&f.event, V("time"), &v) && v.type == CAT_TIMESTAMP);
    assert_true(cat_event_attribute(&f.event, V("myext"), &v) && v.type == CAT_STRING);
    assert_true(chassis_view_eq(f.event.datacontenttype, V("application/json; charset=utf-8")));

    chassis_buf_clear(&f.bytes);
    assert_int_equal(cat_http_read(h, 9, V("{\"a\":1}"), &f.bytes, &f.err), 0);
    assert_int_equal(cat_event_parse(chassis_buf_view(&f.bytes), &f.event, NULL), 0);
    assert_int_equal(f.event.data_kind, CAT_DATA_BINARY); /* nothing says it is text */
    h[9].value = V("text/plain; charset=latin1");
    chassis_buf_clear(&f.bytes);
    assert_int_equal(cat_http_read(h, 10, V("x"), &f.bytes, &f.err), 0);
    assert_int_equal(cat_event_parse(chassis_buf_view(&f.bytes), &f.event, NULL), 0);
    assert_int_equal(f.event.data_kind, CAT_DATA_BINARY);
    chassis_buf_clear(&f.bytes);
    assert_int_equal(cat_http_read(h, 10, V(""), &f.bytes, &f.err), 0);
    assert_int_equal(cat_event_parse(chassis_buf_view(&f.bytes), &f.event, NULL), 0);
    assert_int_equal(f.event.data_kind, CAT_DATA_NONE);

    static const struct {
        const char *name, *value, *rule;
    } bad[] = {{"ce-datacontenttype", "a/b", "attribute-reserved"},
               {"ce-data", "x", "attribute-name"},
               {"ce-", "x", "attribute-name"},
               {"ce-under_score", "x", "attribute-name"},
               {"ce-delayms", "soon", "attribute-integer"},
               {"ce-x", "%c0%a0", "string-characters"},
               {"ce-id", "again", "attribute-duplicate"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        h[6] = (struct cat_http_header){V(bad[i].name), V(bad[i].value)};
        chassis_buf_clear(&f.bytes);
        assert_true(cat_http_read(h, 10, V(""), &f.bytes, &f.err) < 0);
        assert_non_null(strstr(f.err.text, bad[i].rule));
        assert_int_equal(f.bytes.len, 0);
    }
    fini(&f);
}

static void take_header(void *data, const char *name, const char *value)
{
    chassis_buf_printf(data, "%s: %s\n", name, value);
}

static void binary_mode_writes_headers_and_body(void **state)
{
    struct fixture f = {0};
    struct chassis_view body;
    read_json(&f, "{" HEAD ",\"subject\":\"a b\",\"i\":7,\"data\":[1]}");
    cat_http_write(&f.event, take_header, &f.text, &body);
    assert_string_equal((char *)f.text.data,
                        "ce-specversion: 1.0\nce-id: 1\nce-source: /s\nce-type: t\n"
                        "ce-subject: a%20b\nce-i: 7\ncontent-type: application/json\n");
    assert_true(chassis_view_eq(body, V("[1]")));

    struct cat_attribute attributes[] = {{V("isDurable"), cat_value_boolean(true)},
                                         {V("empty"), cat_value_string(V(""))}};
    struct cat_event_parts parts = {.id = V("1"),
                                    .source = V("/s"),
                                    .type = V("t"),
                                    .attributes = attributes,
                                    .attribute_count = 2,
                                    .data_kind = CAT_DATA_PROTO,
                                    .data = V("\x0a\x05"
                                              "x.y/z"
                                              "\x12\x02hi")};
    chassis_buf_clear(&f.bytes);
    chassis_buf_clear(&f.text);
    cat_event_build(&parts, &f.bytes);
    assert_int_equal(cat_event_parse(chassis_buf_view(&f.bytes), &f.event, NULL), 0);
    cat_http_write(&f.event, take_header, &f.text, &body);
    assert_string_equal((char *)f.text.data,
                        "ce-specversion: 1.0\nce-id: 1\nce-source: /s\nce-type: t\n"
                        "ce-isdurable: true\nce-empty: \ncontent-type: application/protobuf\n"
                        "ce-dataschema: https://x.y/z\n");
    assert_true(chassis_view_eq(body, V("hi")));
    fini(&f);
}

static void modes_are_told_by_content_type(void **state)
{
    assert_int_equal(cat_http_mode(V("")), CAT_HTTP_BINARY);
    assert_int_equal(cat_http_mode(V("application/json")), CAT_HTTP_BINARY);
    assert_int_equal(cat_http_mode(V("Application/CloudEvents+JSON; charset=utf-8")),
                     CAT_HTTP_JSON);
    assert_int_equal(cat_http_mode(V("application/cloudevents-batch+json")), CAT_HTTP_JSON_BATCH);
    assert_int_equal(cat_http_mode(V("application/cloudevents+protobuf")), CAT_HTTP_PROTOBUF);
    assert_int_equal(cat_http_mode(V("application/cloudevents-batch+protobuf")),
                     CAT_HTTP_PROTOBUF_BATCH);
    assert_int_equal(cat_http_mode(V("application/cloudevents+avro")), CAT_HTTP_UNKNOWN);
    assert_string_equal(cat_http_content_type(CAT_HTTP_JSON), "application/cloudevents+json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_keep_their_types),
        cmocka_unit_test(data_follows_its_content_type),
        cmocka_unit_test(data_of_any_kind_can_be_written),
        cmocka_unit_test(bad_json_is_refused_by_place_or_rule),
        cmocka_unit_test(a_bad_event_of_a_batch_spoils_only_itself),
        cmocka_unit_test(headers_are_percent_encoded),
        cmocka_unit_test(binary_mode_reads_headers_and_body),
        cmocka_unit_test(binary_mode_writes_headers_and_body),
        cmocka_unit_test(modes_are_told_by_content_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
