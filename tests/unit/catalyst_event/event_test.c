/* One event: every rule refuses what breaks it by its name; what protobuf-c writes, parses; what is
 * built, protobuf-c reads. */
#include "tests/test.h"

#include "catalyst/event/build.h"
#include "catalyst/event/event.h"
#include "core/message_broker/actors/v1/actors.pb-c.h"

#define V(text) chassis_view_str(text)

static struct cat_event_parts plain(void)
{
    struct cat_event_parts parts = {
        .id = V("A234"), .source = V("/sensors/7"), .type = V("t.read")};
    return parts;
}

static int parse(const struct chassis_buf *bytes, struct cat_event *event,
                 struct chassis_error *err)
{
    chassis_error_clear(err);
    return cat_event_parse(chassis_buf_view(bytes), event, err);
}

/* The bytes are refused, and the text names `rule`. */
static void refused(const struct chassis_buf *bytes, const char *rule)
{
    struct chassis_error err = {0};
    struct cat_event event;
    char begin[64];
    int rc = parse(bytes, &event, &err);
    snprintf(begin, sizeof begin, "rule '%s': ", rule);
    if (rc >= 0 || strncmp(err.text, begin, strlen(begin)) != 0) {
        fail_msg("expected %s, got %d %s", rule, rc, err.text);
    }
    assert_int_equal(cat_event_parse(chassis_buf_view(bytes), &event, NULL), rc);
}

static void refused_parts(const struct cat_event_parts *parts, const char *rule)
{
    struct chassis_buf bytes = {0};
    cat_event_build(parts, &bytes);
    refused(&bytes, rule);
    chassis_buf_fini(&bytes);
}

static void refused_attribute(const char *name, struct cat_value value, const char *rule)
{
    struct cat_event_parts parts = plain();
    struct cat_attribute attribute = {V(name), value};
    parts.attributes = &attribute;
    parts.attribute_count = 1;
    refused_parts(&parts, rule);
}

static void accepted_attribute(const char *name, struct cat_value value, struct cat_event *event,
                               struct chassis_buf *bytes)
{
    struct cat_event_parts parts = plain();
    struct cat_attribute attribute = {V(name), value};
    struct chassis_error err = {0};
    parts.attributes = &attribute;
    parts.attribute_count = 1;
    chassis_buf_clear(bytes);
    cat_event_build(&parts, bytes);
    if (parse(bytes, event, &err) != 0) {
        fail_msg("%s", err.text);
    }
    struct cat_value found;
    assert_true(cat_event_attribute(event, V(name), &found));
    assert_true(cat_value_eq(&found, &value));
    assert_int_equal(event->attribute_count, 1);
    assert_true(chassis_view_eq(cat_event_attribute_at(event, 0).name, V(name)));
}

static struct cat_value typed(enum cat_type type, const char *text)
{
    struct cat_value value = {.type = type, .text = V(text)};
    return value;
}

static void what_is_required_must_be_there(void **state)
{
    struct cat_event_parts parts = plain();
    parts.id = V("");
    refused_parts(&parts, "id-required");
    parts = plain();
    parts.source = V("");
    refused_parts(&parts, "source-required");
    parts.source = V("a b");
    refused_parts(&parts, "source-uri-reference");
    parts = plain();
    parts.type = V("");
    refused_parts(&parts, "type-required");
    parts = plain();
    parts.spec_version = V("0.3");
    refused_parts(&parts, "specversion");
    struct chassis_buf bytes = {0};
    refused(&bytes, "id-required"); /* nothing at all */
    cat_build_required(&bytes, "id", V("1"));
    refused(&bytes, "source-required");
    cat_build_required(&bytes, "source", V("s"));
    refused(&bytes, "type-required");
    cat_build_required(&bytes, "type", V("t"));
    refused(&bytes, "specversion");
    cat_build_required(&bytes, "specversion", V("1.0"));
    struct cat_event event;
    assert_int_equal(parse(&bytes, &event, NULL), 0);
    cat_build_required(&bytes, "id", V("2"));
    refused(&bytes, "attribute-duplicate");
    chassis_buf_clear(&bytes);
    cat_build_required(&bytes, "id", V(""));
    refused(&bytes, "id-required");
    chassis_buf_fini(&bytes);
}

static void texts_are_clean_and_short(void **state)
{
    static const char *const bad[] = {"a\nb",         "\x7f",           "caf\xc3",
                                      "\xc2\x85",     "\xef\xbf\xbe",   "\xef\xb7\x90",
                                      "\xed\xa0\x80", "12345678\x01 90"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cat_event_parts parts = plain();
        parts.id = V(bad[i]);
        refused_parts(&parts, "string-characters");
        refused_attribute("subject", typed(CAT_STRING, bad[i]), "string-characters");
    }
    struct cat_event_parts parts = plain();
    char text[8300];
    memset(text, 'x', sizeof text);
    parts.type = chassis_view(text, 255);
    struct chassis_buf bytes = {0};
    struct cat_event event;
    cat_event_build(&parts, &bytes);
    assert_int_equal(parse(&bytes, &event, NULL), 0);
    parts.type = chassis_view(text, 256);
    refused_parts(&parts, "attribute-size");
    struct cat_value value = cat_value_string(chassis_view(text, CAT_EVENT_ATTRIBUTE_SIZE_MAX));
    accepted_attribute("long", value, &event, &bytes);
    value.text.len++;
    refused_attribute("long", value, "attribute-size");
    accepted_attribute("wide", typed(CAT_STRING, "caf\xc3\xa9 \xf0\x9f\x98\x80 \xe2\x82\xac"),
                       &event, &bytes);
    chassis_buf_fini(&bytes);
}

static void names_of_attributes_obey_the_convention(void **state)
{
    static const char *const bad[] = {"Upper", "under_score", "dash-ed",  "",
                                      "Data",  "sp ace",      "isDurabl", "caf\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refused_attribute(bad[i], cat_value_boolean(true), "attribute-name");
    }
    char longest[CAT_EVENT_ATTRIBUTE_NAME_MAX + 2] = "";
    memset(longest, 'n', sizeof longest - 1);
    refused_attribute(longest, cat_value_boolean(true), "attribute-name");
    longest[CAT_EVENT_ATTRIBUTE_NAME_MAX] = 0;
    struct cat_event event;
    struct chassis_buf bytes = {0};
    accepted_attribute(longest, cat_value_boolean(true), &event, &bytes);
    accepted_attribute("0digits9", cat_value_boolean(false), &event, &bytes);
    accepted_attribute("isDurable", cat_value_boolean(true), &event, &bytes);
    assert_int_equal(event.durable, 1);
    chassis_buf_fini(&bytes);
}

/* An entry of the map written by hand, as a stranger might. */
static void put_entry(struct chassis_buf *out, const char *name, const char *value,
                      size_t value_len)
{
    size_t n = strlen(name);
    chassis_buf_append_byte(out, 0x2a);
    chassis_buf_append_byte(out, (uint8_t)(2 + n + 2 + value_len));
    chassis_buf_append_byte(out, 0x0a);
    chassis_buf_append_byte(out, (uint8_t)n);
    chassis_buf_append(out, name, n);
    chassis_buf_append_byte(out, 0x12);
    chassis_buf_append_byte(out, (uint8_t)value_len);
    chassis_buf_append(out, value, value_len);
}

static void entries_by_strangers_are_refused_by_rule(void **state)
{
    static const struct {
        const char *name, *value;
        size_t len;
        const char *rule;
    } rows[] = {
        {"id", "\x1a\x01x", 3, "attribute-reserved"},
        {"source", "\x1a\x01x", 3, "attribute-reserved"},
        {"type", "\x1a\x01x", 3, "attribute-reserved"},
        {"specversion", "\x1a\x01x", 3, "attribute-reserved"},
        {"data", "\x1a\x01x", 3, "attribute-name"},
        {"x", "", 0, "attribute-empty"},
        {"x", "\x1a\x01x\x08\x01", 5, "attribute-empty"},
        {"x", "\x18\x01", 2, "wire-format"},
        {"x", "\x1a\x05x", 3, "wire-format"},
        {"x", "\x0b", 1, "wire-format"},
        {"x", "\x10\xff\xff\xff\xff\x0f", 6, "attribute-integer"},
        {"x", "\x10\x80\x80\x80\x80\x08", 6, "attribute-integer"},
        {"x", "\x3a\x02\x10\xff", 4, "attribute-timestamp"},
        {"x", "\x3a\x06\x10\x80\x94\xeb\xdc\x03", 8, "attribute-timestamp"}, /* 10^9 ns */
        {"x", "\x3a\x07\x08\x80\x92\xb8\xc3\x98\xfe", 9, "attribute-timestamp"},
        {"x", "\x32\x03%4x", 5, "attribute-uri"},
        {"x", "\x2a\x02/a", 4, "attribute-uri"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cat_event_parts parts = plain();
        struct chassis_buf bytes = {0};
        cat_event_build(&parts, &bytes);
        put_entry(&bytes, rows[i].name, rows[i].value, rows[i].len);
        refused(&bytes, rows[i].rule);
        chassis_buf_fini(&bytes);
    }
}

static void no_attribute_is_given_twice_and_there_is_a_limit(void **state)
{
    struct cat_event_parts parts = plain();
    struct cat_attribute attributes[CAT_EVENT_ATTRIBUTES_MAX + 1];
    char names[CAT_EVENT_ATTRIBUTES_MAX + 1][8];
    for (size_t i = 0; i <= CAT_EVENT_ATTRIBUTES_MAX; i++) {
        snprintf(names[i], sizeof names[i], "a%zu", i);
        attributes[i] = (struct cat_attribute){V(names[i]), cat_value_integer(-(int32_t)i)};
    }
    parts.attributes = attributes;
    parts.attribute_count = CAT_EVENT_ATTRIBUTES_MAX + 1;
    refused_parts(&parts, "attribute-count");
    parts.attribute_count--;
    struct chassis_buf bytes = {0};
    struct cat_event event;
    cat_event_build(&parts, &bytes);
    assert_int_equal(parse(&bytes, &event, NULL), 0);
    assert_int_equal(event.attribute_count, CAT_EVENT_ATTRIBUTES_MAX);
    assert_int_equal(cat_event_attribute_at(&event, 63).value.integer, -63);
    chassis_buf_fini(&bytes);
    attributes[5].name = V("a3");
    refused_parts(&parts, "attribute-duplicate");
    attributes[0] = (struct cat_attribute){V("isdurable"), cat_value_boolean(true)};
    attributes[1] = (struct cat_attribute){V("isDurable"), cat_value_boolean(true)};
    parts.attribute_count = 2;
    refused_parts(&parts, "attribute-duplicate");
    attributes[0] = (struct cat_attribute){V("delayms"), cat_value_integer(10)};
    attributes[1] = (struct cat_attribute){V("notbefore"), cat_value_timestamp(1, 0)};
    refused_parts(&parts, "delay-once");
}

static void known_attributes_have_their_types(void **state)
{
    refused_attribute("subject", cat_value_integer(1), "attribute-type");
    refused_attribute("subject", typed(CAT_STRING, ""), "attribute-empty");
    refused_attribute("partitionkey", typed(CAT_STRING, ""), "attribute-empty");
    refused_attribute("partitionkey", typed(CAT_URI, "a:b"), "attribute-type");
    refused_attribute("time", cat_value_integer(1), "attribute-type");
    refused_attribute("time", typed(CAT_STRING, "yesterday"), "attribute-timestamp");
    refused_attribute("expirytime", typed(CAT_STRING, "2026-02-30T00:00:00Z"),
                      "attribute-timestamp");
    refused_attribute("datacontenttype", typed(CAT_STRING, "json"), "datacontenttype-media-type");
    refused_attribute("dataschema", typed(CAT_STRING, "/relative"), "dataschema-uri");
    refused_attribute("dataschema", typed(CAT_URI, "a b"), "dataschema-uri");
    refused_attribute("delayms", cat_value_integer(-1), "attribute-integer");
    refused_attribute("delayms", typed(CAT_STRING, "1.5"), "attribute-integer");
    refused_attribute("delayms", cat_value_boolean(true), "attribute-type");
    refused_attribute("isdurable", typed(CAT_STRING, "yes"), "attribute-type");

    refused_attribute("x", cat_value_timestamp(-62135596801, 0), "attribute-timestamp");
    refused_attribute("x", cat_value_timestamp(253402300800, 0), "attribute-timestamp");

    struct cat_event event;
    struct chassis_buf b = {0};
    accepted_attribute("x", cat_value_timestamp(253402300799, 0), &event, &b);
    accepted_attribute("subject", typed(CAT_STRING, "room 7"), &event, &b);
    assert_true(chassis_view_eq(event.subject, V("room 7")));
    accepted_attribute("partitionkey", typed(CAT_STRING, "k"), &event, &b);
    assert_true(chassis_view_eq(event.partitionkey, V("k")));
    accepted_attribute("time", cat_value_timestamp(-62135596800, 999999999), &event, &b);
    assert_true(event.has_time && event.time.seconds == -62135596800);
    accepted_attribute("time", typed(CAT_STRING, "2018-04-26T14:48:09.5+02:00"), &event, &b);
    assert_int_equal(cat_timestamp_ms(event.time), 1524746889500);
    accepted_attribute("expirytime", cat_value_timestamp(7, 0), &event, &b);
    assert_true(event.has_expirytime && event.expirytime.seconds == 7);
    accepted_attribute("notbefore", typed(CAT_STRING, "1970-01-01T00:00:09Z"), &event, &b);
    assert_true(event.has_notbefore && event.notbefore.seconds == 9);
    accepted_attribute("delayms", typed(CAT_STRING, "1500"), &event, &b);
    assert_int_equal(event.delay_ms, 1500);
    accepted_attribute("delayms", cat_value_integer(0), &event, &b);
    assert_int_equal(event.delay_ms, 0);
    assert_int_equal(event.durable, -1);
    accepted_attribute("isdurable", typed(CAT_STRING, "false"), &event, &b);
    assert_int_equal(event.durable, 0);
    accepted_attribute("dataschema", typed(CAT_URI, "https://example.com/s#v1"), &event, &b);
    accepted_attribute("datacontenttype", typed(CAT_STRING, "text/plain; charset=\"u\\\"8\""),
                       &event, &b);
    accepted_attribute("binary", typed(CAT_BYTES, "\x01\xff"), &event, &b);
    assert_true(event.subject.data == NULL && !event.has_time && event.delay_ms == -1);
    chassis_buf_fini(&b);
}

static void data_comes_once_and_is_what_it_says(void **state)
{
    struct cat_event_parts parts = plain();
    struct cat_event event;
    struct chassis_buf bytes = {0};
    parts.data_kind = CAT_DATA_TEXT;
    parts.data = V("\xff");
    refused_parts(&parts, "data-text");
    parts.data = chassis_view("a\0b", 3);
    refused_parts(&parts, "data-text");
    parts.data_kind = CAT_DATA_PROTO;
    parts.data = V("\x12\x01x"); /* no type_url */
    refused_parts(&parts, "data-proto");
    parts.data = V("\x0a\x05x");
    refused_parts(&parts, "data-proto");
    parts.data = V("\x0a\x03"
                   "a/b"
                   "\x12\x02hi");
    cat_event_build(&parts, &bytes);
    assert_int_equal(parse(&bytes, &event, NULL), 0);
    struct chassis_view type_url, value;
    cat_event_proto(&event, &type_url, &value);
    assert_true(chassis_view_eq(type_url, V("a/b")) && chassis_view_eq(value, V("hi")));
    cat_build_data(&bytes, CAT_DATA_BINARY, V(""));
    refused(&bytes, "data-once");
    chassis_buf_clear(&bytes);
    parts.data_kind = CAT_DATA_BINARY;
    parts.data = chassis_view("\0\xff", 2);
    cat_event_build(&parts, &bytes);
    assert_int_equal(parse(&bytes, &event, NULL), 0);
    assert_int_equal(event.data_kind, CAT_DATA_BINARY);
    assert_true(chassis_view_eq(event.data, parts.data));
    chassis_buf_fini(&bytes);
}

static void edits_replace_add_and_remove(void **state)
{
    struct cat_event_parts parts = plain();
    struct cat_attribute had[] = {{V("keep"), cat_value_integer(1)},
                                  {V("drop"), cat_value_integer(2)},
                                  {V("time"), typed(CAT_STRING, "1970-01-01T00:00:00Z")}};
    struct cat_attribute edits[] = {{V("drop"), {.type = CAT_NONE}},
                                    {V("absent"), {.type = CAT_NONE}},
                                    {V("time"), cat_value_timestamp(5, 6)},
                                    {V("sequence"), typed(CAT_STRING, "42")}};
    struct chassis_buf bytes = {0}, out = {0};
    struct cat_event event, edited;
    struct cat_value value;
    parts.attributes = had;
    parts.attribute_count = 3;
    parts.data_kind = CAT_DATA_TEXT;
    parts.data = V("payload");
    cat_event_build(&parts, &bytes);
    chassis_buf_append(&bytes, "\xc2\x3e\x01z", 4); /* an unknown field, 1000 */
    assert_int_equal(parse(&bytes, &event, NULL), 0);
    cat_event_edit(&event, edits, 4, &out);
    assert_int_equal(parse(&out, &edited, NULL), 0);
    assert_int_equal(edited.attribute_count, 3);
    assert_true(cat_event_attribute(&edited, V("keep"), &value) && value.integer == 1);
    assert_false(cat_event_attribute(&edited, V("drop"), &value));
    assert_true(edited.time.seconds == 5 && edited.time.nanos == 6);
    assert_true(cat_event_attribute(&edited, V("sequence"), &value));
    assert_true(chassis_view_eq(edited.data, V("payload")));
    assert_true(chassis_view_eq(edited.id, event.id));
    assert_non_null(memmem(out.data, out.len, "\xc2\x3e\x01z", 4));
    chassis_buf_fini(&bytes);
    chassis_buf_fini(&out);
}

typedef Core__MessageBroker__Actors__V1__CloudEvent pb_event;
typedef Core__MessageBroker__Actors__V1__CloudEvent__CloudEventAttributeValue pb_value;
typedef Core__MessageBroker__Actors__V1__CloudEvent__AttributesEntry pb_entry;

static void protobuf_writes_what_parses(void **state)
{
    pb_event message;
    pb_value value;
    pb_entry entry, *entries[] = {&entry};
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    core__message_broker__actors__v1__cloud_event__init(&message);
    core__message_broker__actors__v1__cloud_event__cloud_event_attribute_value__init(&value);
    core__message_broker__actors__v1__cloud_event__attributes_entry__init(&entry);
    message.id = (char *)(uintptr_t) "1";
    message.source = (char *)(uintptr_t) "urn:x";
    message.spec_version = (char *)(uintptr_t) "1.0";
    message.type = (char *)(uintptr_t) "t";
    time.seconds = -1;
    time.nanos = 7;
    value.attr_case =
        CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_TIMESTAMP;
    value.ce_timestamp = &time;
    entry.key = (char *)(uintptr_t) "time";
    entry.value = &value;
    message.attributes = entries;
    message.n_attributes = 1;
    uint8_t room[256];
    size_t len = core__message_broker__actors__v1__cloud_event__pack(&message, room);
    struct cat_event event;
    struct chassis_error err;
    assert_int_equal(cat_event_parse(chassis_view(room, len), &event, &err), 0);
    assert_true(event.has_time && event.time.seconds == -1 && event.time.nanos == 7);
    assert_true(chassis_view_eq(event.source, V("urn:x")));
}

static void protobuf_reads_what_is_built(void **state)
{
    struct cat_event_parts parts = plain();
    struct cat_attribute attributes[] = {
        {V("b"), cat_value_boolean(true)},     {V("i"), cat_value_integer(-5)},
        {V("s"), typed(CAT_STRING, "text")},   {V("y"), typed(CAT_BYTES, "\x01\x02")},
        {V("u"), typed(CAT_URI, "a:b")},       {V("r"), typed(CAT_URI_REF, "/r")},
        {V("t"), cat_value_timestamp(-9, 10)}, {V("e"), typed(CAT_STRING, "")},
        {V("f"), cat_value_boolean(false)},    {V("z"), cat_value_timestamp(0, 0)},
    };
    struct chassis_buf bytes = {0};
    parts.attributes = attributes;
    parts.attribute_count = sizeof attributes / sizeof attributes[0];
    parts.data_kind = CAT_DATA_TEXT;
    parts.data = V("hello");
    cat_event_build(&parts, &bytes);
    pb_event *m =
        core__message_broker__actors__v1__cloud_event__unpack(NULL, bytes.len, bytes.data);
    assert_non_null(m);
    assert_string_equal(m->id, "A234");
    assert_string_equal(m->source, "/sensors/7");
    assert_string_equal(m->spec_version, "1.0");
    assert_string_equal(m->type, "t.read");
    assert_string_equal(m->text_data, "hello");
    assert_int_equal(m->n_attributes, parts.attribute_count);
    assert_true(m->attributes[0]->value->ce_boolean);
    assert_int_equal(m->attributes[1]->value->ce_integer, -5);
    assert_string_equal(m->attributes[2]->value->ce_string, "text");
    assert_int_equal(m->attributes[3]->value->ce_bytes.len, 2);
    assert_string_equal(m->attributes[4]->value->ce_uri, "a:b");
    assert_string_equal(m->attributes[5]->value->ce_uri_ref, "/r");
    assert_int_equal(m->attributes[6]->value->ce_timestamp->seconds, -9);
    assert_int_equal(m->attributes[6]->value->ce_timestamp->nanos, 10);
    assert_int_equal(
        m->attributes[8]->value->attr_case,
        CORE__MESSAGE_BROKER__ACTORS__V1__CLOUD_EVENT__CLOUD_EVENT_ATTRIBUTE_VALUE__ATTR_CE_BOOLEAN);
    core__message_broker__actors__v1__cloud_event__free_unpacked(m, NULL);
    struct cat_event event;
    assert_int_equal(parse(&bytes, &event, NULL), 0);
    for (uint32_t i = 0; i < event.attribute_count; i++) {
        struct cat_attribute a = cat_event_attribute_at(&event, i);
        assert_true(cat_value_eq(&a.value, &attributes[i].value));
    }
    chassis_buf_fini(&bytes);
}

static void events_have_a_largest_size(void **state)
{
    struct cat_event_parts parts = plain();
    struct chassis_buf bytes = {0};
    struct cat_event event;
    uint8_t *data = calloc(1, CAT_EVENT_SIZE_MAX);
    parts.data_kind = CAT_DATA_BINARY;
    parts.data = chassis_view(data, CAT_EVENT_SIZE_MAX - 64);
    cat_event_build(&parts, &bytes);
    assert_int_equal(parse(&bytes, &event, NULL), 0);
    parts.data.len += 64;
    refused_parts(&parts, "event-size");
    chassis_buf_fini(&bytes);
    free(data);
}

static void required_attributes_are_found_by_name(void **state)
{
    struct cat_event_parts parts = plain();
    struct chassis_buf bytes = {0};
    struct cat_event event;
    struct cat_value value;
    cat_event_build(&parts, &bytes);
    assert_int_equal(parse(&bytes, &event, NULL), 0);
    assert_true(cat_event_attribute(&event, V("id"), &value) &&
                chassis_view_eq(value.text, V("A234")));
    assert_true(cat_event_attribute(&event, V("source"), &value) && value.type == CAT_URI_REF);
    assert_true(cat_event_attribute(&event, V("type"), &value) &&
                chassis_view_eq(value.text, V("t.read")));
    assert_true(cat_event_attribute(&event, V("specversion"), &value) &&
                chassis_view_eq(value.text, V("1.0")));
    assert_false(cat_event_attribute(&event, V("data"), &value));
    assert_false(cat_event_attribute(&event, V("subject"), &value));
    chassis_buf_fini(&bytes);
}

static void a_batch_is_read_event_by_event(void **state)
{
    struct cat_event_parts parts = plain();
    struct chassis_buf bytes = {0}, batch = {0};
    struct chassis_view rest, one;
    cat_event_build(&parts, &bytes);
    cat_batch_append(&batch, chassis_buf_view(&bytes));
    chassis_buf_append(&batch, "\x10\x05", 2); /* unknown */
    cat_batch_append(&batch, chassis_buf_view(&bytes));
    rest = chassis_buf_view(&batch);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cat_batch_next(&rest, &one, NULL), 1);
        assert_true(chassis_view_eq(one, chassis_buf_view(&bytes)));
    }
    assert_int_equal(cat_batch_next(&rest, &one, NULL), 0);
    assert_int_equal(cat_batch_next(&rest, &one, NULL), 0);
    rest = chassis_view("\x0a\x05x", 3);
    assert_int_equal(cat_batch_next(&rest, &one, NULL), CHASSIS_MALFORMED);
    chassis_buf_fini(&bytes);
    chassis_buf_fini(&batch);
}

static void any_cut_is_refused_or_smaller(void **state)
{
    struct cat_event_parts parts = plain();
    struct cat_attribute attributes[] = {{V("subject"), typed(CAT_STRING, "s")},
                                         {V("time"), cat_value_timestamp(1524746889, 1)}};
    struct chassis_buf bytes = {0};
    struct cat_event event;
    parts.attributes = attributes;
    parts.attribute_count = 2;
    parts.data_kind = CAT_DATA_BINARY;
    parts.data = V("0123456789");
    cat_event_build(&parts, &bytes);
    unsigned ok = 0;
    for (size_t n = 0; n < bytes.len; n++) {
        uint8_t *cut =
            malloc(n != 0 ? n : 1); /* exactly as large: a read beyond shows under asan */
        memcpy(cut, bytes.data, n);
        ok += cat_event_parse(chassis_view(cut, n), &event, NULL) == 0;
        free(cut);
    }
    assert_int_equal(ok, 3); /* after the type, the subject, the time */
    chassis_buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_required_must_be_there),
        cmocka_unit_test(texts_are_clean_and_short),
        cmocka_unit_test(names_of_attributes_obey_the_convention),
        cmocka_unit_test(entries_by_strangers_are_refused_by_rule),
        cmocka_unit_test(no_attribute_is_given_twice_and_there_is_a_limit),
        cmocka_unit_test(known_attributes_have_their_types),
        cmocka_unit_test(data_comes_once_and_is_what_it_says),
        cmocka_unit_test(edits_replace_add_and_remove),
        cmocka_unit_test(protobuf_writes_what_parses),
        cmocka_unit_test(protobuf_reads_what_is_built),
        cmocka_unit_test(events_have_a_largest_size),
        cmocka_unit_test(required_attributes_are_found_by_name),
        cmocka_unit_test(a_batch_is_read_event_by_event),
        cmocka_unit_test(any_cut_is_refused_or_smaller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
