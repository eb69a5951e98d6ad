/* The JSON of tokens: one flat object, nothing more, nothing allocated. */
#include "auth/internal.h"
#include "base/bytes.h"
#include "base/utf8.h"

static uint8_t peek(const struct chassis_reader *r)
{
    return r->next < r->end ? *r->next : 0;
}

static void skip_space(struct chassis_reader *r)
{
    while (r->next < r->end && strchr(" \t\r\n", *r->next) != NULL && *r->next != 0) {
        r->next++;
    }
}

static bool take(struct chassis_reader *r, uint8_t byte)
{
    skip_space(r);
    if (r->next == r->end || *r->next != byte) {
        return false;
    }
    r->next++;
    return true;
}

/* The character behind a backslash. \u only for what our own writer escapes: control characters. */
static int take_escape(struct chassis_reader *r)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    uint8_t c = chassis_read_byte(r);
    if (c == 'u') {
        struct chassis_view digits = chassis_read_bytes(r, 4);
        int code = 0;
        for (size_t i = 0; i < digits.len; i++) {
            const char *at =
                digits.data[i] != 0 ? strchr("0123456789abcdef", digits.data[i]) : NULL;
            if (at == NULL) {
                return -1;
            }
            code = code * 16 + (int)(at - strchr("0123456789abcdef", '0'));
        }
        return digits.len == 4 && code > 0 && code < 0x80 ? code : -1;
    }
    const char *at = c != 0 ? strchr(names, c) : NULL;
    return at != NULL ? values[at - names] : -1;
}

static bool take_text(struct chassis_reader *r, char *out, size_t size)
{
    size_t len = 0;
    if (!take(r, '"')) {
        return false;
    }
    while (r->next < r->end && *r->next != '"') {
        size_t n = chassis_utf8_len(r->next, chassis_reader_left(r));
        if (n == 0 || *r->next < 0x20 || len + n >= size) {
            return false;
        }
        if (*r->next == '\\') {
            r->next++;
            int c = take_escape(r);
            if (c < 0) {
                return false;
            }
            out[len++] = (char)c;
            continue;
        }
        memcpy(out + len, r->next, n);
        r->next += n;
        len += n;
    }
    out[len] = '\0';
    return take(r, '"');
}

static bool take_number(struct chassis_reader *r, int64_t *ret_number)
{
    bool negative = peek(r) == '-';
    r->next += negative;
    const uint8_t *first = r->next;
    int64_t number = 0;
    while (peek(r) >= '0' && peek(r) <= '9') {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, *r->next - '0', &number)) {
            return false;
        }
        r->next++;
    }
    *ret_number = negative ? -number : number;
    return r->next != first && (*first != '0' || r->next == first + 1);
}

static bool take_word(struct chassis_reader *r, const char *word)
{
    size_t len = strlen(word);
    if (chassis_reader_left(r) < len || memcmp(r->next, word, len) != 0) {
        return false;
    }
    r->next += len;
    return true;
}

static bool take_value(struct chassis_reader *r, struct auth_member *member)
{
    skip_space(r);
    if (peek(r) == '"') {
        member->is_text = true;
        return take_text(r, member->text, sizeof member->text);
    }
    if (take_word(r, "true")) {
        member->number = 1;
        return true;
    }
    return take_word(r, "false") || take_number(r, &member->number);
}

int chassis_auth_json_read(struct chassis_view json,
                           struct auth_member ret_members[CHASSIS_AUTH_MEMBERS_MAX])
{
    struct chassis_reader r = chassis_reader(json);
    size_t n = 0;
    memset(ret_members, 0, CHASSIS_AUTH_MEMBERS_MAX * sizeof *ret_members);
    if (!take(&r, '{')) {
        return CHASSIS_MALFORMED;
    }
    do {
        if (n == CHASSIS_AUTH_MEMBERS_MAX) {
            return CHASSIS_MALFORMED;
        }
        struct auth_member *member = &ret_members[n];
        if (!take_text(&r, member->name, sizeof member->name) || member->name[0] == '\0' ||
            !take(&r, ':') || !take_value(&r, member)) {
            return CHASSIS_MALFORMED;
        }
        for (size_t i = 0; i < n; i++) {
            if (strcmp(ret_members[i].name, member->name) == 0) {
                return CHASSIS_MALFORMED;
            }
        }
        n++;
    } while (take(&r, ','));
    if (!take(&r, '}')) {
        return CHASSIS_MALFORMED;
    }
    skip_space(&r);
    return r.next == r.end ? 0 : CHASSIS_MALFORMED;
}

int chassis_auth_json_text(const char *text, struct chassis_buf *out)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + strlen(text);
    chassis_buf_append_byte(out, '"');
    while (p < end) {
        size_t n = chassis_utf8_len(p, (size_t)(end - p));
        if (n == 0) {
            return CHASSIS_INVALID_ARGUMENT;
        }
        if (*p < 0x20) {
            chassis_buf_printf(out, "\\u%04x", *p);
        } else {
            if (*p == '"' || *p == '\\') {
                chassis_buf_append_byte(out, '\\');
            }
            chassis_buf_append(out, p, n);
        }
        p += n;
    }
    chassis_buf_append_byte(out, '"');
    return 0;
}
