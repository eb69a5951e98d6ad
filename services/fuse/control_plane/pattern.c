#include "fuse/control_plane/pattern.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "fuse/control_plane/regex.h"

enum {
    DEPTH_MAX = 50,
    REPEAT_MAX = 1000,
    SIZE_ANY = 12,  /* of ".": every length of UTF-8 */
    SIZE_HEAD = 4,  /* of what stands around every program */
    SIZE_GROUP = 2, /* of a group that captures */
    SIZE_FOLD = 7,  /* of a class in any case, beyond its own: other letters, those beyond ASCII */
};

struct scan {
    const char *text;
    size_t at;
    unsigned depth;
    bool any_case; /* from here on, maybe */
    struct chassis_error *err;
};

/* What a part of a pattern costs. */
struct cost {
    uint64_t size;   /* instructions of RE2 */
    uint64_t repeat; /* nested counted repetitions, multiplied */
    bool anchor;     /* matches no character: cannot be repeated */
};

static int refuse(struct scan *s, size_t at, const char *what)
{
    return chassis_error_set(s->err, CHASSIS_INVALID_ARGUMENT, "%s at byte %zu of '%s'", what,
                             at + 1, s->text);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_strange(char c)
{
    return (uint8_t)c < ' ' || (uint8_t)c > '~';
}
static int hex_digit(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* ---- escapes ---- */

struct escape {
    enum { ESCAPE_CHAR, ESCAPE_CLASS, ESCAPE_ANCHOR } kind;
    char value;    /* of ESCAPE_CHAR */
    unsigned size; /* instructions */
};

static const struct letter_escape {
    char letter, value;
    uint8_t kind;
    unsigned size;
} letter_escapes[] = {
    {'d', 0, ESCAPE_CLASS, 1},
    {'w', 0, ESCAPE_CLASS, 7},
    {'s', 0, ESCAPE_CLASS, 5},
    {'D', 0, ESCAPE_CLASS, SIZE_ANY + 2},
    {'W', 0, ESCAPE_CLASS, SIZE_ANY + 8},
    {'S', 0, ESCAPE_CLASS, SIZE_ANY + 6},
    {'b', 0, ESCAPE_ANCHOR, 1},
    {'B', 0, ESCAPE_ANCHOR, 1},
    {'A', 0, ESCAPE_ANCHOR, 1},
    {'z', 0, ESCAPE_ANCHOR, 1},
    {'t', '\t', ESCAPE_CHAR, 1},
    {'n', '\n', ESCAPE_CHAR, 1},
    {'r', '\r', ESCAPE_CHAR, 1},
    {'f', '\f', ESCAPE_CHAR, 1},
};

/* \xHH; `at` stands behind the x. */
static int scan_hex(struct scan *s, struct escape *ret_escape)
{
    int high = hex_digit(s->text[s->at]), low = high < 0 ? -1 : hex_digit(s->text[s->at + 1]);
    if (low < 0 || high > 7 || high + low == 0) {
        return refuse(s, s->at - 2, "\\x needs two digits from 01 to 7f");
    }
    s->at += 2;
    *ret_escape = (struct escape){ESCAPE_CHAR, (char)(high << 4 | low), 1};
    return 0;
}

static int scan_escape(struct scan *s, struct escape *ret_escape)
{
    size_t start = s->at++;
    char c = s->text[s->at];
    if (c == '\0') {
        return refuse(s, start, "a backslash with nothing behind it");
    }
    s->at++;
    if (c == 'x') {
        return scan_hex(s, ret_escape);
    }
    for (size_t i = 0; i < sizeof letter_escapes / sizeof *letter_escapes; i++) {
        const struct letter_escape *e = &letter_escapes[i];
        if (e->letter == c) {
            *ret_escape = (struct escape){e->kind, e->value, e->size};
            return 0;
        }
    }
    if (is_digit(c)) {
        return refuse(s, start, "a back-reference or octal number, which not every proxy has,");
    }
    if (is_strange(c)) {
        return refuse(s, start, "a control character or one beyond ASCII");
    }
    if (is_letter(c) || c == '_') {
        return refuse(s, start, "an escape that proxies do not read alike");
    }
    *ret_escape = (struct escape){ESCAPE_CHAR, c, 1};
    return 0;
}

/* ---- classes ---- */

static const char *const class_names[] = {"alnum", "alpha", "ascii", "blank", "cntrl",
                                          "digit", "graph", "lower", "print", "punct",
                                          "space", "upper", "word",  "xdigit"};

/* "[:name:]" or "[:^name:]" inside of a class. */
static int scan_class_name(struct scan *s)
{
    const char *name = &s->text[s->at + 2];
    name += *name == '^';
    const char *end = strstr(name, ":]");
    for (size_t i = 0; end != NULL && i < sizeof class_names / sizeof *class_names; i++) {
        size_t len = strlen(class_names[i]);
        if ((size_t)(end - name) == len && memcmp(name, class_names[i], len) == 0) {
            s->at = (size_t)(end + 2 - s->text);
            return 0;
        }
    }
    return refuse(s, s->at, "a class name that is none ('[:alpha:]', '[:digit:]' ...)");
}

/* One character of a class as the start or end of a range, or a class of its own. */
static int scan_class_item(struct scan *s, struct escape *ret_item)
{
    char c = s->text[s->at];
    if (c == '\\') {
        size_t start = s->at;
        int rc = scan_escape(s, ret_item);
        if (rc == 0 && ret_item->kind == ESCAPE_ANCHOR) {
            return refuse(s, start,
                          "\\b, \\B, \\A and \\z mean no character, so they cannot stand in a "
                          "class");
        }
        return rc;
    }
    if (c == '[') {
        if (s->text[s->at + 1] != ':') {
            return refuse(s, s->at, "'[' in a class: write '\\['");
        }
        *ret_item = (struct escape){ESCAPE_CLASS, 0, 8};
        return scan_class_name(s);
    }
    if (is_strange(c)) {
        return refuse(s, s->at, "a control character or one beyond ASCII");
    }
    *ret_item = (struct escape){ESCAPE_CHAR, c, 2};
    s->at++;
    return 0;
}

/* "-z" behind `low`. */
static int scan_range(struct scan *s, const struct escape *low)
{
    size_t dash = s->at++;
    struct escape high;
    if (s->text[s->at] == '\0') {
        return refuse(s, dash, "a class without its ']'");
    }
    int rc = scan_class_item(s, &high);
    if (rc < 0) {
        return rc;
    }
    if (low->kind != ESCAPE_CHAR || high.kind != ESCAPE_CHAR) {
        return refuse(s, dash, "a range between classes: write '\\-' for the character");
    }
    if ((uint8_t)low->value > (uint8_t)high.value) {
        return refuse(s, dash, "a range whose end comes before its beginning");
    }
    return 0;
}

static int scan_class(struct scan *s, struct cost *ret_cost)
{
    size_t start = s->at++;
    *ret_cost = (struct cost){.size = s->any_case ? 1 + SIZE_FOLD : 1, .repeat = 1};
    if (s->text[s->at] == '^') {
        ret_cost->size += SIZE_ANY;
        s->at++;
    }
    bool first = true;
    for (; s->text[s->at] != ']' || first; first = false) {
        struct escape item;
        char c = s->text[s->at];
        if (c == '\0') {
            return refuse(s, start, "a class without its ']'");
        }
        if (c == ']') {
            return refuse(s, s->at, "an empty class, or ']' in one: write '\\]'");
        }
        if (c == '-' && !first && s->text[s->at + 1] != ']') {
            return refuse(s, s->at, "'-' between characters of a class: write '\\-'");
        }
        int rc = scan_class_item(s, &item);
        if (rc == 0 && s->text[s->at] == '-' && s->text[s->at + 1] != ']') {
            rc =
                c == '-' ? refuse(s, s->at, "a range from '-': write '\\-'") : scan_range(s, &item);
        }
        if (rc < 0) {
            return rc;
        }
        ret_cost->size += item.size;
    }
    s->at++;
    return 0;
}

/* ---- repetitions ---- */

static int scan_number(struct scan *s, size_t start, unsigned *ret_number)
{
    unsigned number = 0;
    if (s->text[s->at] == '0' && is_digit(s->text[s->at + 1])) { /* to RE2 these are characters */
        return refuse(s, start, "a number of repetitions that begins with 0");
    }
    while (is_digit(s->text[s->at])) {
        number = number * 10 + (unsigned)(s->text[s->at++] - '0');
        if (number > REPEAT_MAX) {
            return refuse(s, start, "more than 1,000 repetitions");
        }
    }
    *ret_number = number;
    return 0;
}

/* {n}, {n,} or {n,m}: the larger of both, 0 for none. */
static int scan_count(struct scan *s, uint64_t *ret_copies, bool *ret_open)
{
    size_t start = s->at++;
    unsigned low = 0, high = 0;
    bool open = false;
    if (!is_digit(s->text[s->at])) {
        return refuse(s, start, "'{' that begins no repetition: write '\\{'");
    }
    int rc = scan_number(s, start, &low);
    high = low;
    if (rc == 0 && s->text[s->at] == ',') {
        s->at++;
        open = !is_digit(s->text[s->at]);
        rc = open ? 0 : scan_number(s, start, &high);
    }
    if (rc < 0) {
        return rc;
    }
    if (s->text[s->at] != '}') {
        return refuse(s, start, "'{' that begins no repetition: write '\\{'");
    }
    if (high < low) {
        return refuse(s, start, "a repetition whose largest number is below its smallest");
    }
    s->at++;
    *ret_copies = high;
    *ret_open = open;
    return 0;
}

static bool is_repetition(char c)
{
    return c == '*' || c == '+' || c == '?' || c == '{';
}

/* What follows an atom; changes its cost. */
static int scan_repetition(struct scan *s, struct cost *cost)
{
    size_t start = s->at;
    char c = s->text[s->at];
    uint64_t copies = 1;
    bool open = c == '*' || c == '+';
    if (!is_repetition(c)) {
        return 0;
    }
    if (cost->anchor) {
        return refuse(s, start, "a repetition of what matches no character");
    }
    if (c == '{') {
        int rc = scan_count(s, &copies, &open);
        if (rc < 0) {
            return rc;
        }
    } else {
        s->at++;
    }
    s->at += s->text[s->at] == '?';
    if (s->text[s->at] == '+') {
        return refuse(s, s->at, "a possessive repetition, or two in a row,");
    }
    if (is_repetition(s->text[s->at])) {
        return refuse(s, s->at, "two repetitions in a row");
    }
    cost->repeat *= copies > 1 ? copies : 1;
    if (cost->repeat > REPEAT_MAX) {
        return refuse(s, start, "more than 1,000 nested repetitions");
    }
    copies += open && copies == 0;
    cost->size = cost->size * copies + copies + open;
    return 0;
}

/* ---- groups ---- */

/* The letters behind "(?", up to ':' or ')'. */
static int scan_flags(struct scan *s, size_t start)
{
    size_t first = s->at;
    bool minus = false;
    while (strchr("imsU-", s->text[s->at]) != NULL && s->text[s->at] != '\0') {
        s->any_case |= s->text[s->at] == 'i';
        if (s->text[s->at] == '-') {
            if (minus) {
                break;
            }
            minus = true;
        }
        s->at++;
    }
    bool letters = s->at > first && s->text[s->at - 1] != '-';
    if (s->text[s->at] == ':' && (letters || s->at == first)) {
        return 0;
    }
    if (s->text[s->at] == ')' && letters) {
        return start == 0
                   ? 0
                   : refuse(s, start, "flags elsewhere than at the beginning: write '(?i:...)'");
    }
    return refuse(s, start,
                  "a group that not every proxy has (look-around, name, condition, atomic ...): "
                  "only '(...)', '(?:...)' and the flags i, m, s, U exist");
}

static int scan_alternatives(struct scan *s, struct cost *ret_cost);

static int scan_group(struct scan *s, struct cost *ret_cost)
{
    size_t start = s->at++;
    int rc = 0;
    bool captures = s->text[s->at] != '?';
    if (!captures) {
        s->at++;
        rc = scan_flags(s, start);
        if (rc == 0 && s->text[s->at++] == ')') {
            *ret_cost = (struct cost){.repeat = 1, .anchor = true};
            return 0;
        }
    }
    if (rc == 0 && ++s->depth > DEPTH_MAX) {
        rc = refuse(s, start, "groups nested deeper than 50");
    }
    rc = rc == 0 ? scan_alternatives(s, ret_cost) : rc;
    if (rc < 0) {
        return rc;
    }
    if (s->text[s->at] != ')') {
        return refuse(s, start, "a group without its ')'");
    }
    s->at++;
    s->depth--;
    ret_cost->size += captures ? SIZE_GROUP : 1;
    return 0;
}

/* ---- the whole ---- */

static int scan_atom(struct scan *s, struct cost *ret_cost)
{
    char c = s->text[s->at];
    struct escape escape;
    int rc;
    *ret_cost = (struct cost){.size = 1, .repeat = 1};
    switch (c) {
    case '(':
        return scan_group(s, ret_cost);
    case '[':
        return scan_class(s, ret_cost);
    case '\\':
        rc = scan_escape(s, &escape);
        if (rc == 0) {
            bool folds = s->any_case && escape.kind == ESCAPE_CLASS;
            ret_cost->size = folds ? escape.size + SIZE_FOLD : escape.size;
            ret_cost->anchor = escape.kind == ESCAPE_ANCHOR;
        }
        return rc;
    case ']':
        return refuse(s, s->at, "']' without a class: write '\\]'");
    case '*':
    case '+':
    case '?':
    case '{':
        return refuse(s, s->at, "a repetition of nothing");
    case '.':
        ret_cost->size = SIZE_ANY;
        break;
    case '^':
    case '$':
        ret_cost->anchor = true;
        break;
    default:
        if (is_strange(c)) {
            return refuse(s, s->at, "a control character or one beyond ASCII");
        }
        /* In any case "k" is also the Kelvin sign and "s" the long one. */
        ret_cost->size = s->any_case && strchr("kKsS", c) != NULL ? SIZE_FOLD : 1;
        break;
    }
    s->at++;
    return 0;
}

static int scan_alternatives(struct scan *s, struct cost *ret_cost)
{
    *ret_cost = (struct cost){.size = 1, .repeat = 1};
    while (s->text[s->at] != '\0' && s->text[s->at] != ')') {
        if (s->text[s->at] == '|') {
            ret_cost->size += 2;
            s->at++;
            continue;
        }
        struct cost part;
        int rc = scan_atom(s, &part);
        rc = rc == 0 ? scan_repetition(s, &part) : rc;
        if (rc < 0) {
            return rc;
        }
        ret_cost->size += part.size;
        ret_cost->repeat = part.repeat > ret_cost->repeat ? part.repeat : ret_cost->repeat;
    }
    return 0;
}

int fuse_pattern_check(const char *pattern, unsigned *ret_size, struct chassis_error *err)
{
    struct scan s = {.text = pattern, .err = err};
    struct cost cost;
    size_t len = strlen(pattern);
    if (len == 0 || len > FUSE_REGEX_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "has %zu bytes, 1 to %d are allowed", len, FUSE_REGEX_MAX);
    }
    int rc = scan_alternatives(&s, &cost);
    if (rc == 0 && s.text[s.at] == ')') {
        rc = refuse(&s, s.at, "')' without a group: write '\\)'");
    }
    if (rc == 0 && cost.size + SIZE_HEAD > FUSE_PATTERN_SIZE_MAX) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "'%s' becomes too large when its repetitions are written out: make "
                               "them smaller",
                               pattern);
    }
    if (rc < 0) {
        return rc;
    }
    *ret_size = (unsigned)cost.size + SIZE_HEAD;
    return 0;
}
