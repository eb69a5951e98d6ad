#include "base/assert.h"
#include "catalyst/event/attribute.h"
#include "catalyst/event/build.h"
#include "catalyst/event/check.h"
#include "catalyst/event/json.h"
#include "proto/json_lex.h"
#include "proto/text.h"

/* What of an object is settled only when all its members are known. */
struct reader {
    struct lexer l;
    struct chassis_buf *out;
    struct chassis_view data; /* as it was written; data == NULL while there is none */
    struct chassis_view data_base64;
    struct chassis_view datacontenttype;
};

static bool is_required(struct chassis_view name, const char **ret_name)
{
    static const char *const names[] = {"specversion", "id", "source", "type"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (chassis_view_eq(name, chassis_view_str(names[i]))) {
            *ret_name = names[i];
            return true;
        }
    }
    return false;
}

/* Only the integer component of a JSON number is an Integer. */
static int read_integer(struct reader *r, struct chassis_view name, struct cat_value *ret_value)
{
    struct chassis_view text;
    int rc = lex_number(&r->l, &text);
    if (rc == 0 && !cat_value_parse(text, CAT_INTEGER, ret_value)) {
        rc = cat_refuse(r->l.err, CAT_RULE_INTEGER, "attribute '%s' is no integer of 32 bits: %s",
                        cat_quote(name).text, cat_quote(text).text);
    }
    return rc;
}

static int read_text(struct reader *r, struct chassis_view name, struct cat_value *ret_value)
{
    struct chassis_view text;
    int rc = lex_string(&r->l, &text);
    if (rc != 0) {
        return rc;
    }
    enum cat_type type = cat_attribute_type(name);
    if (type == CAT_BOOLEAN || type == CAT_INTEGER || !cat_value_parse(text, type, ret_value)) {
        *ret_value = cat_value_string(text); /* cat_event_parse says what is wrong with it */
    }
    return 0;
}

static int read_attribute(struct reader *r, struct chassis_view name)
{
    struct cat_value value = {.type = CAT_NONE};
    int rc = cat_attribute_name_check(name, r->l.err);
    if (rc != 0) {
        return rc;
    }
    switch (lex_peek(&r->l)) {
    case 'n':
        return lex_word(&r->l, "null");
    case 't':
    case 'f':
        value = cat_value_boolean(lex_peek(&r->l) == 't');
        rc = lex_word(&r->l, value.boolean ? "true" : "false");
        break;
    case '-':
        rc = read_integer(r, name, &value);
        break;
    case '"':
        rc = read_text(r, name, &value);
        break;
    default:
        return cat_refuse(r->l.err, CAT_RULE_TYPE,
                          "attribute '%s' is neither a string nor a number nor a boolean",
                          cat_quote(name).text);
    }
    if (rc != 0) {
        return rc;
    }
    if (cat_attribute_known(name) == CAT_KNOWN_DATACONTENTTYPE && value.type == CAT_STRING) {
        r->datacontenttype = value.text;
    }
    cat_build_attribute(r->out, name, &value);
    return 0;
}

/* `null` or a string. */
static int read_nullable(struct reader *r, struct chassis_view *ret_text)
{
    if (lex_peek(&r->l) == 'n') {
        return lex_word(&r->l, "null");
    }
    return lex_string(&r->l, ret_text);
}

static int read_data(struct reader *r)
{
    if (r->data.data != NULL) {
        return cat_refuse(r->l.err, CAT_RULE_DATA_ONCE, "the event has 'data' twice");
    }
    lex_peek(&r->l); /* pass white space */
    const uint8_t *begin = r->l.p;
    int rc = lex_skip(&r->l, 1);
    r->data = chassis_view(begin, (size_t)(r->l.p - begin));
    return rc;
}

static int read_member(struct reader *r)
{
    struct chassis_view name, text = {NULL, 0};
    const char *required;
    int rc = lex_string(&r->l, &name);
    if (rc != 0 || (rc = lex_expect(&r->l, ':')) != 0) {
        return rc;
    }
    if (is_required(name, &required)) {
        rc = read_nullable(r, &text);
        if (rc == 0 && text.data != NULL) {
            cat_build_required(r->out, required, text);
        }
        return rc;
    }
    if (chassis_view_eq(name, chassis_view_str("data"))) {
        return read_data(r);
    }
    if (chassis_view_eq(name, chassis_view_str("data_base64"))) {
        if (r->data_base64.data != NULL) {
            return cat_refuse(r->l.err, CAT_RULE_DATA_ONCE, "the event has 'data_base64' twice");
        }
        return read_nullable(r, &r->data_base64);
    }
    return read_attribute(r, name);
}

static int put_base64(struct reader *r)
{
    uint8_t *bytes = chassis_arena_alloc(r->l.arena, r->data_base64.len + 1);
    size_t len;
    CHASSIS_ASSERT(bytes != NULL); /* the arena has no limit, the text has one */
    if (!text_parse_base64(r->data_base64, bytes, &len)) {
        return chassis_error_set(r->l.err, CHASSIS_MALFORMED, "'data_base64' is not base64");
    }
    cat_build_data(r->out, CAT_DATA_BINARY, chassis_view(bytes, len));
    return 0;
}

static int put_data(struct reader *r)
{
    if (r->data_base64.data != NULL) {
        return r->data.data == NULL ? put_base64(r)
                                    : cat_refuse(r->l.err, CAT_RULE_DATA_ONCE,
                                                 "the event has both 'data' and 'data_base64'");
    }
    if (r->data.data == NULL) {
        return 0;
    }
    struct chassis_view text = r->data;
    if (r->datacontenttype.data == NULL) {
        struct cat_value json = cat_value_string(chassis_view_str("application/json"));
        cat_build_attribute(r->out, chassis_view_str("datacontenttype"), &json);
    } else if (!cat_media_type_is_json(r->datacontenttype)) {
        r->l.p = r->data.data;
        if (lex_peek(&r->l) != '"') {
            return cat_refuse(r->l.err, CAT_RULE_DATA_TEXT,
                              "'data' is not a string, but its type '%s' is not JSON",
                              cat_quote(r->datacontenttype).text);
        }
        int rc = lex_string(&r->l, &text);
        if (rc != 0) {
            return rc;
        }
    }
    cat_build_data(r->out, CAT_DATA_TEXT, text);
    return 0;
}

/* The object at r->l; out gets the bytes of its event. */
static int read_object(struct reader *r)
{
    size_t begin = r->out->len;
    struct cat_event event;
    int rc = lex_expect(&r->l, '{');
    if (rc == 0 && !lex_take(&r->l, '}')) {
        do {
            rc = read_member(r);
        } while (rc == 0 && lex_take(&r->l, ','));
        if (rc == 0) {
            rc = lex_expect(&r->l, '}');
        }
    }
    const uint8_t *end = r->l.p;
    if (rc == 0) {
        rc = put_data(r);
    }
    if (rc == 0) {
        rc = cat_event_parse(cat_appended(r->out, begin), &event, r->l.err);
        r->l.p = end;
    }
    if (rc != 0) {
        r->out->len = begin;
    }
    return rc;
}

static int text_size_check(struct chassis_view text, struct chassis_error *err)
{
    /* base64 and escapes make at most six of one byte */
    if (text.len / 6 > CAT_EVENT_SIZE_MAX) {
        return cat_refuse(err, CAT_RULE_EVENT_SIZE, "the text has %zu bytes", text.len);
    }
    return 0;
}

int cat_json_read(struct chassis_view text, struct chassis_buf *out, struct chassis_error *err)
{
    _Alignas(16) uint8_t first[2048];
    struct chassis_arena arena;
    int rc = text_size_check(text, err);
    if (rc != 0) {
        return rc;
    }
    if (text.len == 0) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "JSON expected, but there is nothing");
    }
    size_t begin = out->len;
    chassis_arena_init(&arena, first, sizeof first, 0);
    struct reader r = {.l = {text.data, text.data, text.data + text.len, &arena, err}, .out = out};
    rc = read_object(&r);
    if (rc == 0 && lex_peek(&r.l) != 0) {
        rc = lex_fail(&r.l, CHASSIS_MALFORMED, "something follows the event");
        out->len = begin;
    }
    chassis_arena_fini(&arena);
    return rc;
}

/* One element: skipped as a whole first, so that the next is found even if this one is refused. */
static int read_item(struct lexer *l, struct cat_json_item *item, struct chassis_buf *bytes,
                     struct chassis_error *err)
{
    _Alignas(16) uint8_t first[2048];
    struct chassis_arena arena;
    lex_peek(l);
    const uint8_t *begin = l->p;
    int rc = lex_skip(l, 1);
    if (rc != 0) {
        return rc;
    }
    struct chassis_view text = chassis_view(begin, (size_t)(l->p - begin));
    chassis_arena_init(&arena, first, sizeof first, 0);
    struct reader r = {.l = {l->start, begin, l->p, &arena, err}, .out = bytes};
    chassis_error_clear(err);
    chassis_buf_clear(bytes);
    item->status = text_size_check(text, err);
    if (item->status == 0) {
        item->status = read_object(&r);
    }
    item->bytes = chassis_buf_view(bytes);
    item->err = err;
    chassis_arena_fini(&arena);
    return 0;
}

int cat_json_read_batch(struct chassis_view text,
                        void (*each)(void *data, const struct cat_json_item *item), void *data,
                        struct chassis_error *err)
{
    struct chassis_arena arena;
    struct chassis_buf bytes = {0};
    struct chassis_error item_err;
    struct cat_json_item item = {0};
    if (text.len == 0) {
        return chassis_error_set(err, CHASSIS_MALFORMED, "JSON expected, but there is nothing");
    }
    chassis_arena_init(&arena, NULL, 0, 0);
    struct lexer l = {text.data, text.data, text.data + text.len, &arena, err};
    int rc = lex_expect(&l, '[');
    if (rc == 0 && !lex_take(&l, ']')) {
        do {
            rc = read_item(&l, &item, &bytes, &item_err);
            if (rc == 0) {
                each(data, &item);
                item.index++;
            }
            chassis_arena_fini(&arena); /* what skipping an element needed */
            chassis_arena_init(&arena, NULL, 0, 0);
        } while (rc == 0 && lex_take(&l, ','));
        if (rc == 0) {
            rc = lex_expect(&l, ']');
        }
    }
    if (rc == 0 && lex_peek(&l) != 0) {
        rc = lex_fail(&l, CHASSIS_MALFORMED, "something follows the batch");
    }
    chassis_arena_fini(&arena);
    chassis_buf_fini(&bytes);
    return rc;
}
