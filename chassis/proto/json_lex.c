#include "proto/json_lex.h"

#include <stdio.h>

#include "base/utf8.h"
#include "proto/text.h"
#include "proto/wire.h"

int lex_fail(struct lexer *l, int code, const char *format, ...)
{
    size_t line = 1, column = 1;
    for (const uint8_t *p = l->start; p < l->p; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    va_list args;
    va_start(args, format);
    chassis_error_setv(l->err, code, format, args);
    va_end(args);
    if (l->err != NULL) {
        chassis_error_wrap(l->err, "JSON line %zu, column %zu", line, column);
    }
    return code;
}

static void skip_space(struct lexer *l)
{
    while (l->p < l->end && (*l->p == ' ' || *l->p == '\n' || *l->p == '\t' || *l->p == '\r')) {
        l->p++;
    }
}

char lex_peek(struct lexer *l)
{
    skip_space(l);
    if (l->p == l->end) {
        return 0;
    }
    return *l->p >= '0' && *l->p <= '9' ? '-' : (char)*l->p;
}

bool lex_take(struct lexer *l, char c)
{
    skip_space(l);
    if (l->p == l->end || *l->p != (uint8_t)c) {
        return false;
    }
    l->p++;
    return true;
}

int lex_expect(struct lexer *l, char c)
{
    if (lex_take(l, c)) {
        return 0;
    }
    if (l->p == l->end) {
        return lex_fail(l, CHASSIS_MALFORMED, "'%c' expected, but the text ends", c);
    }
    return lex_fail(l, CHASSIS_MALFORMED, "'%c' expected", c);
}

static int hex4(const uint8_t *p, const uint8_t *end)
{
    int value = 0;
    if (end - p < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

static size_t put_utf8(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* What follows a backslash at *p: never longer decoded than written. 0 = no such escape. */
static size_t unescape(const uint8_t **p, const uint8_t *end, uint8_t *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *simple = **p != 0 ? strchr(from, **p) : NULL;
    if (simple != NULL) {
        (*p)++;
        out[0] = (uint8_t)to[simple - from];
        return 1;
    }
    int c = **p == 'u' ? hex4(*p + 1, end) : -1;
    if (c <= 0 || (c >= 0xdc00 && c <= 0xdfff)) {
        return 0;
    }
    *p += 5;
    if (c < 0xd800 || c > 0xdfff) {
        return put_utf8(out, (uint32_t)c);
    }
    int low = end - *p >= 2 && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2, end) : -1;
    if (low < 0xdc00 || low > 0xdfff) {
        return 0;
    }
    *p += 6;
    return put_utf8(out, 0x10000 + ((uint32_t)(c - 0xd800) << 10 | (uint32_t)(low - 0xdc00)));
}

static int decode_escapes(struct lexer *l, const uint8_t *from, const uint8_t *to,
                          struct chassis_view *ret_text)
{
    uint8_t *out = chassis_arena_alloc(l->arena, (size_t)(to - from) + 1);
    size_t len = 0;
    if (out == NULL) {
        return lex_fail(l, CHASSIS_TOO_LARGE, "the text takes more memory than the call has");
    }
    while (from < to) {
        if (*from != '\\') {
            out[len++] = *from++;
            continue;
        }
        from++;
        size_t n = unescape(&from, to, out + len);
        if (n == 0) {
            l->p = from;
            return lex_fail(l, CHASSIS_MALFORMED,
                            "no such escape (\\u0000 and half a surrogate "
                            "pair are not allowed)");
        }
        len += n;
    }
    *ret_text = chassis_view(out, len);
    return 0;
}

int lex_string(struct lexer *l, struct chassis_view *ret_text)
{
    if (lex_peek(l) != '"') {
        return lex_fail(l, CHASSIS_MALFORMED, "a string is expected");
    }
    const uint8_t *from = l->p + 1, *to = from;
    bool escaped = false;
    while (to < l->end && *to != '"' && *to >= 0x20) {
        escaped |= *to == '\\';
        to += *to == '\\' && l->end - to > 1 ? 2 : 1;
    }
    if (to >= l->end) {
        return lex_fail(l, CHASSIS_MALFORMED, "a string without end");
    }
    if (*to < 0x20) {
        l->p = to;
        return lex_fail(l, CHASSIS_MALFORMED, "a control character inside a string");
    }
    struct chassis_view text = chassis_view(from, (size_t)(to - from));
    if (!chassis_utf8_valid(text)) {
        return lex_fail(l, CHASSIS_MALFORMED, "a string that is not valid UTF-8");
    }
    if (escaped) {
        int rc = decode_escapes(l, from, to, &text);
        if (rc != 0) {
            return rc;
        }
    }
    l->p = to + 1;
    *ret_text = text;
    return 0;
}

int lex_number(struct lexer *l, struct chassis_view *ret_text)
{
    if (lex_peek(l) != '-') {
        return lex_fail(l, CHASSIS_MALFORMED, "a number is expected");
    }
    const uint8_t *from = l->p;
    while (l->p < l->end && ((*l->p >= '0' && *l->p <= '9') || *l->p == '-' || *l->p == '+' ||
                             *l->p == '.' || *l->p == 'e' || *l->p == 'E')) {
        l->p++;
    }
    struct chassis_view text = chassis_view(from, (size_t)(l->p - from));
    if (!text_is_number(text)) {
        l->p = from;
        return lex_fail(l, CHASSIS_MALFORMED, "not a number");
    }
    *ret_text = text;
    return 0;
}

int lex_word(struct lexer *l, const char *word)
{
    size_t len = strlen(word);
    skip_space(l);
    if ((size_t)(l->end - l->p) < len || memcmp(l->p, word, len) != 0) {
        return lex_fail(l, CHASSIS_MALFORMED, "%s expected", word);
    }
    l->p += len;
    return 0;
}

static int skip_object(struct lexer *l, unsigned depth)
{
    struct chassis_view key;
    int rc = lex_expect(l, '{');
    if (rc != 0 || lex_take(l, '}')) {
        return rc;
    }
    do {
        if ((rc = lex_string(l, &key)) != 0 || (rc = lex_expect(l, ':')) != 0 ||
            (rc = lex_skip(l, depth + 1)) != 0) {
            return rc;
        }
    } while (lex_take(l, ','));
    return lex_expect(l, '}');
}

static int skip_array(struct lexer *l, unsigned depth)
{
    int rc = lex_expect(l, '[');
    if (rc != 0 || lex_take(l, ']')) {
        return rc;
    }
    do {
        if ((rc = lex_skip(l, depth + 1)) != 0) {
            return rc;
        }
    } while (lex_take(l, ','));
    return lex_expect(l, ']');
}

int lex_skip(struct lexer *l, unsigned depth)
{
    struct chassis_view text;
    if (depth > LEX_DEPTH_MAX) {
        return lex_fail(l, CHASSIS_TOO_LARGE, "nested deeper than %d", LEX_DEPTH_MAX);
    }
    switch (lex_peek(l)) {
    case '{':
        return skip_object(l, depth);
    case '[':
        return skip_array(l, depth);
    case '"':
        return lex_string(l, &text);
    case '-':
        return lex_number(l, &text);
    case 't':
        return lex_word(l, "true");
    case 'f':
        return lex_word(l, "false");
    case 'n':
        return lex_word(l, "null");
    default:
        return lex_fail(l, CHASSIS_MALFORMED, "a value is expected");
    }
}
