/* Values of attributes as text and back. */
#include "base/assert.h"
#include "catalyst/event/event.h"
#include "proto/text.h"

void cat_value_print(const struct cat_value *value, struct chassis_buf *out)
{
    size_t begin = out->len;
    switch (value->type) {
    case CAT_NONE:
        break;
    case CAT_BOOLEAN:
        chassis_buf_append_str(out, value->boolean ? "true" : "false");
        break;
    case CAT_INTEGER:
        chassis_buf_printf(out, "%d", (int)value->integer);
        break;
    case CAT_STRING:
    case CAT_URI:
    case CAT_URI_REF:
        chassis_buf_append_view(out, value->text);
        break;
    case CAT_BYTES:
    case CAT_TIMESTAMP:
        if (value->type == CAT_BYTES) {
            text_print_base64(value->text, out);
        } else if (!text_print_timestamp(value->time.seconds, value->time.nanos, out)) {
            CHASSIS_PANIC("a timestamp out of range was built");
        }
        /* both come in quotes */
        memmove(out->data + begin, out->data + begin + 1, out->len - begin - 2);
        out->len -= 2;
        out->data[out->len] = 0;
        break;
    }
}

bool cat_value_eq(const struct cat_value *a, const struct cat_value *b)
{
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case CAT_NONE:
        return true;
    case CAT_BOOLEAN:
        return a->boolean == b->boolean;
    case CAT_INTEGER:
        return a->integer == b->integer;
    case CAT_STRING:
    case CAT_BYTES:
    case CAT_URI:
    case CAT_URI_REF:
        return chassis_view_eq(a->text, b->text);
    case CAT_TIMESTAMP:
        return a->time.seconds == b->time.seconds && a->time.nanos == b->time.nanos;
    }
    return false;
}

static bool is_word(struct chassis_view text, const char *word)
{
    return chassis_view_eq(text, chassis_view_str(word));
}

/* "-"? digits, as CloudEvents writes an Integer: no sign '+', no leading zero. */
static bool parse_integer(struct chassis_view text, int32_t *ret_integer)
{
    bool negative = text.len != 0 && text.data[0] == '-';
    size_t i = negative ? 1 : 0, digits = text.len - i;
    int64_t value = 0;
    if (digits == 0 || digits > 10 || (digits > 1 && text.data[i] == '0')) {
        return false;
    }
    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    value = negative ? -value : value;
    *ret_integer = (int32_t)value;
    return value == *ret_integer;
}

bool cat_value_parse(struct chassis_view text, enum cat_type type, struct cat_value *ret_value)
{
    struct cat_value value = {.type = type};
    switch (type) {
    case CAT_BOOLEAN:
        value.boolean = is_word(text, "true");
        if (!value.boolean && !is_word(text, "false")) {
            return false;
        }
        break;
    case CAT_INTEGER:
        if (!parse_integer(text, &value.integer)) {
            return false;
        }
        break;
    case CAT_TIMESTAMP:
        if (!text_parse_timestamp(text, &value.time.seconds, &value.time.nanos)) {
            return false;
        }
        break;
    case CAT_STRING:
    case CAT_URI:
    case CAT_URI_REF:
        value.text = text;
        break;
    case CAT_NONE:
    case CAT_BYTES:
        return false;
    }
    *ret_value = value;
    return true;
}

/* Without parameters and the space before them. */
static struct chassis_view bare(struct chassis_view media_type)
{
    size_t n = 0;
    while (n < media_type.len && media_type.data[n] != ';') {
        n++;
    }
    while (n > 0 && (media_type.data[n - 1] == ' ' || media_type.data[n - 1] == '\t')) {
        n--;
    }
    return chassis_view(media_type.data, n);
}

static bool same_ignoring_case(struct chassis_view text, const char *word)
{
    if (text.len != strlen(word)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if ((c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c) != (uint8_t)word[i]) {
            return false;
        }
    }
    return true;
}

bool cat_media_type_is(struct chassis_view media_type, const char *name)
{
    return same_ignoring_case(bare(media_type), name);
}

bool cat_media_type_is_json(struct chassis_view media_type)
{
    struct chassis_view type = bare(media_type);
    static const char *const ends[] = {"/json", "+json"};
    for (size_t i = 0; i < 2; i++) {
        if (type.len > 5 &&
            same_ignoring_case(chassis_view(type.data + type.len - 5, 5), ends[i])) {
            return true;
        }
    }
    return false;
}
