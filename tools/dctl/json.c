/* JSON text (RFC 8259) to a tree of output.h: what servers answer, to be printed as YAML or taken
 * apart. Numbers keep their digits. */
#include <string.h>

#include "output.h"

enum { DEPTH_MAX = 64 };

struct parser {
    struct chassis_arena *arena;
    const uint8_t *start, *next, *end;
    unsigned depth;
    struct chassis_error *err;
};

static struct dctl_node *parse_value(struct parser *p);

static struct dctl_node *malformed(struct parser *p, const char *what)
{
    chassis_error_set(p->err, CHASSIS_MALFORMED, "JSON, byte %zu: %s",
                      (size_t)(p->next - p->start) + 1, what);
    return NULL;
}

static void skip_space(struct parser *p)
{
    while (p->next < p->end && strchr(" \t\r\n", *p->next) != NULL && *p->next != '\0') {
        p->next++;
    }
}

static bool take(struct parser *p, char c)
{
    skip_space(p);
    if (p->next < p->end && *p->next == (uint8_t)c) {
        p->next++;
        return true;
    }
    return false;
}

static struct dctl_node *make(struct parser *p, enum dctl_kind kind)
{
    struct dctl_node *n = chassis_arena_zalloc(p->arena, sizeof *n);
    n->kind = kind;
    return n;
}

static int hex4(struct parser *p, unsigned *ret_unit)
{
    unsigned unit = 0;
    for (int i = 0; i < 4; i++) {
        if (p->next == p->end) {
            return CHASSIS_MALFORMED;
        }
        uint8_t c = *p->next++;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) {
            return CHASSIS_MALFORMED;
        }
        unit = unit << 4 | digit;
    }
    *ret_unit = unit;
    return 0;
}

static void append_utf8(struct chassis_buf *out, unsigned c)
{
    if (c < 0x80) {
        chassis_buf_append_byte(out, (uint8_t)c);
        return;
    }
    if (c < 0x800) {
        chassis_buf_append_byte(out, (uint8_t)(0xc0 | c >> 6));
    } else {
        if (c < 0x10000) {
            chassis_buf_append_byte(out, (uint8_t)(0xe0 | c >> 12));
        } else {
            chassis_buf_append_byte(out, (uint8_t)(0xf0 | c >> 18));
            chassis_buf_append_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        }
        chassis_buf_append_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
    }
    chassis_buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
}

/* After the backslash. */
static int escape(struct parser *p, struct chassis_buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (p->next == p->end) {
        return CHASSIS_MALFORMED;
    }
    char c = (char)*p->next++;
    const char *plain = c != '\0' ? strchr(from, c) : NULL;
    if (plain != NULL) {
        chassis_buf_append_byte(out, (uint8_t)to[plain - from]);
        return 0;
    }
    unsigned unit, low;
    if (c != 'u' || hex4(p, &unit) != 0) {
        return CHASSIS_MALFORMED;
    }
    if (unit >= 0xd800 && unit < 0xdc00) {
        if (p->end - p->next < 6 || p->next[0] != '\\' || p->next[1] != 'u') {
            return CHASSIS_MALFORMED;
        }
        p->next += 2;
        if (hex4(p, &low) != 0 || low < 0xdc00 || low > 0xdfff) {
            return CHASSIS_MALFORMED;
        }
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    } else if (unit >= 0xdc00 && unit < 0xe000) {
        return CHASSIS_MALFORMED;
    }
    append_utf8(out, unit);
    return 0;
}

/* After the opening quote. */
static bool parse_string(struct parser *p, struct chassis_view *ret_text)
{
    struct chassis_buf text = {0};
    while (p->next < p->end && *p->next != '"' && *p->next >= 0x20) {
        uint8_t c = *p->next++;
        if (c != '\\') {
            chassis_buf_append_byte(&text, c);
        } else if (escape(p, &text) != 0) {
            chassis_buf_fini(&text);
            return malformed(p, "bad escape") != NULL;
        }
    }
    if (p->next == p->end || *p->next != '"') {
        chassis_buf_fini(&text);
        return malformed(p, "a string does not end") != NULL;
    }
    p->next++;
    *ret_text = chassis_view(
        chassis_arena_strndup(p->arena, chassis_buf_view(&text).data, text.len), text.len);
    chassis_buf_fini(&text);
    return true;
}

static struct dctl_node *parse_text(struct parser *p)
{
    struct dctl_node *n = make(p, DCTL_TEXT);
    return parse_string(p, &n->text) ? n : NULL;
}

static struct dctl_node *parse_map(struct parser *p)
{
    struct dctl_node *map = make(p, DCTL_MAP);
    if (take(p, '}')) {
        return map;
    }
    do {
        struct chassis_view key;
        if (!take(p, '"')) {
            return malformed(p, "a key in quotes is expected");
        }
        if (!parse_string(p, &key)) {
            return NULL;
        }
        if (!take(p, ':')) {
            return malformed(p, "':' is expected");
        }
        struct dctl_node *value = parse_value(p);
        if (value == NULL) {
            return NULL;
        }
        dctl_add(map, chassis_arena_strndup(p->arena, key.data, key.len), value);
    } while (take(p, ','));
    return take(p, '}') ? map : malformed(p, "',' or '}' is expected");
}

static struct dctl_node *parse_list(struct parser *p)
{
    struct dctl_node *list = make(p, DCTL_LIST);
    if (take(p, ']')) {
        return list;
    }
    do {
        struct dctl_node *value = parse_value(p);
        if (value == NULL) {
            return NULL;
        }
        dctl_add(list, NULL, value);
    } while (take(p, ','));
    return take(p, ']') ? list : malformed(p, "',' or ']' is expected");
}

static struct dctl_node *parse_word(struct parser *p)
{
    const uint8_t *start = p->next;
    while (p->next < p->end && *p->next != '\0' &&
           strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *p->next) != NULL) {
        p->next++;
    }
    struct chassis_view word = chassis_view(start, (size_t)(p->next - start));
    bool is_true = chassis_view_eq(word, chassis_view_str("true"));
    if (is_true || chassis_view_eq(word, chassis_view_str("false"))) {
        struct dctl_node *n = make(p, DCTL_BOOL);
        n->boolean = is_true;
        return n;
    }
    if (chassis_view_eq(word, chassis_view_str("null"))) {
        return make(p, DCTL_NULL);
    }
    if (word.len == 0 || strchr("-0123456789", word.data[0]) == NULL) {
        p->next = start;
        return malformed(p, "a value is expected");
    }
    struct dctl_node *n = make(p, DCTL_LITERAL);
    n->text = chassis_view(chassis_arena_strndup(p->arena, word.data, word.len), word.len);
    return n;
}

static struct dctl_node *parse_value(struct parser *p)
{
    if (++p->depth > DEPTH_MAX) {
        return malformed(p, "nested deeper than 64");
    }
    struct dctl_node *n = take(p, '{')   ? parse_map(p)
                          : take(p, '[') ? parse_list(p)
                          : take(p, '"') ? parse_text(p)
                                         : parse_word(p);
    p->depth--;
    return n;
}

int dctl_json_parse(struct chassis_arena *a, struct chassis_view json, struct dctl_node **ret_node,
                    struct chassis_error *err)
{
    struct chassis_error text = {0};
    struct parser p = {a, json.data, json.data, json.data + json.len, 0, &text};
    struct dctl_node *node = parse_value(&p);
    skip_space(&p);
    if (node != NULL && p.next != p.end) {
        node = malformed(&p, "something follows the value");
    }
    if (node == NULL) {
        return chassis_error_set(err, text.code, "%s", text.text);
    }
    *ret_node = node;
    return 0;
}

struct chassis_view dctl_json_next(struct chassis_view *text)
{
    size_t at = 0, depth = 0;
    bool in_string = false;
    while (text->len != 0 && strchr(" \t\r\n", text->data[0]) != NULL && text->data[0] != '\0') {
        text->data++;
        text->len--;
    }
    for (; at < text->len; at++) {
        uint8_t c = text->data[at];
        if (in_string) {
            at += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth -= depth != 0;
        }
        if (!in_string && depth == 0) {
            at++;
            break;
        }
    }
    struct chassis_view value = chassis_view(text->data, at < text->len ? at : text->len);
    text->data += value.len;
    text->len -= value.len;
    return value;
}
