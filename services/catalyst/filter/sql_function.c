/* The built-in functions (§3.5) and the casts. Characters are code points. */
#include <strings.h>

#include "base/utf8.h"
#include "catalyst/filter/case_table.h"
#include "catalyst/filter/scratch.h"
#include "catalyst/filter/sql_node.h"

static size_t step(struct chassis_view text, size_t at)
{
    size_t len = chassis_utf8_len(text.data + at, text.len - at);
    return len != 0 ? len : 1;
}

static size_t length(struct chassis_view text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += (text.data[i] & 0xc0) != 0x80; /* first bytes of characters */
    }
    return n;
}

/* Where the n-th character (from 0) begins; the end if there are fewer. */
static size_t offset(struct chassis_view text, size_t n)
{
    size_t at = 0;
    for (; at < text.len && n > 0; n--) {
        at += step(text, at);
    }
    return at;
}

static enum cat_sql_error call_identity(struct sql_run *run, const struct cat_sql_value *args,
                                        unsigned count, struct cat_sql_value *ret_value)
{
    *ret_value = args[0]; /* cast to the parameter's type */
    return CAT_SQL_OK;
}

static enum cat_sql_error is_type(struct sql_run *run, struct cat_sql_value x,
                                  enum cat_sql_type type, struct cat_sql_value *ret_value)
{
    *ret_value = sql_boolean(sql_cast(run, &x, type) == CAT_SQL_OK);
    return CAT_SQL_OK;
}

static enum cat_sql_error call_is_int(struct sql_run *run, const struct cat_sql_value *args,
                                      unsigned count, struct cat_sql_value *ret_value)
{
    return is_type(run, args[0], CAT_SQL_INTEGER, ret_value);
}

static enum cat_sql_error call_is_bool(struct sql_run *run, const struct cat_sql_value *args,
                                       unsigned count, struct cat_sql_value *ret_value)
{
    return is_type(run, args[0], CAT_SQL_BOOLEAN, ret_value);
}

static enum cat_sql_error call_abs(struct sql_run *run, const struct cat_sql_value *args,
                                   unsigned count, struct cat_sql_value *ret_value)
{
    int32_t x = args[0].integer;
    if (x == INT32_MIN) {
        *ret_value = sql_integer(INT32_MAX);
        return CAT_SQL_MATH;
    }
    *ret_value = sql_integer(x < 0 ? -x : x);
    return CAT_SQL_OK;
}

static enum cat_sql_error call_length(struct sql_run *run, const struct cat_sql_value *args,
                                      unsigned count, struct cat_sql_value *ret_value)
{
    if (!sql_work(run, args[0].string.len)) {
        return CAT_SQL_GENERIC;
    }
    *ret_value = sql_integer((int32_t)length(args[0].string));
    return CAT_SQL_OK;
}

static uint32_t map_case(uint32_t c, const struct case_row *rows, size_t count)
{
    size_t low = 0, high = count;
    while (low < high) { /* the first row that ends at or after c */
        size_t middle = (low + high) / 2;
        if (rows[middle].last < c) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == count || c < rows[low].first || (c - rows[low].first) % rows[low].step != 0) {
        return c;
    }
    return (uint32_t)((int32_t)c + rows[low].delta);
}

static size_t put_char(uint8_t *out, uint32_t c)
{
    size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len; i > 1; i--, c >>= 6) {
        out[i - 1] = (uint8_t)(0x80 | (c & 0x3f));
    }
    out[0] = (uint8_t)(first[len] | c);
    return len;
}

static uint32_t get_char(const uint8_t *p, size_t len)
{
    uint32_t c = len == 1 ? p[0] : len == 2 ? p[0] & 0x1fU : len == 3 ? p[0] & 0x0fU : p[0] & 7U;
    for (size_t i = 1; i < len; i++) {
        c = c << 6 | (p[i] & 0x3f);
    }
    return c;
}

static enum cat_sql_error change_case(struct sql_run *run, struct chassis_view text, bool upper,
                                      struct cat_sql_value *ret_value)
{
    /* a character of two bytes may become one of three */
    uint8_t *room = scratch_alloc(run->scratch, 2 * text.len + 4);
    if (room == NULL || !sql_work(run, text.len)) {
        return CAT_SQL_GENERIC;
    }
    size_t len = 0;
    for (size_t at = 0, n; at < text.len; at += n) {
        uint8_t c = text.data[at];
        n = 1;
        if (c < 0x80) {
            bool change = upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
            room[len++] = change ? c ^ 0x20 : c;
            continue;
        }
        n = step(text, at);
        uint32_t wide = get_char(text.data + at, n);
        wide = upper ? map_case(wide, upper_rows, sizeof upper_rows / sizeof upper_rows[0])
                     : map_case(wide, lower_rows, sizeof lower_rows / sizeof lower_rows[0]);
        len += put_char(room + len, wide);
    }
    *ret_value = sql_string(chassis_view(room, len));
    return CAT_SQL_OK;
}

static enum cat_sql_error call_lower(struct sql_run *run, const struct cat_sql_value *args,
                                     unsigned count, struct cat_sql_value *ret_value)
{
    return change_case(run, args[0].string, false, ret_value);
}

static enum cat_sql_error call_upper(struct sql_run *run, const struct cat_sql_value *args,
                                     unsigned count, struct cat_sql_value *ret_value)
{
    return change_case(run, args[0].string, true, ret_value);
}

/* The property White_Space of Unicode (PropList.txt). */
static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

static enum cat_sql_error call_trim(struct sql_run *run, const struct cat_sql_value *args,
                                    unsigned count, struct cat_sql_value *ret_value)
{
    struct chassis_view text = args[0].string;
    size_t begin = 0, end = 0;
    if (!sql_work(run, text.len)) {
        return CAT_SQL_GENERIC;
    }
    while (begin < text.len && is_space(get_char(text.data + begin, step(text, begin)))) {
        begin += step(text, begin);
    }
    for (size_t at = begin, n; at < text.len; at += n) {
        n = step(text, at);
        end = is_space(get_char(text.data + at, n)) ? end : at + n;
    }
    *ret_value = sql_string(chassis_view(text.data + begin, end > begin ? end - begin : 0));
    return CAT_SQL_OK;
}

static enum cat_sql_error call_left(struct sql_run *run, const struct cat_sql_value *args,
                                    unsigned count, struct cat_sql_value *ret_value)
{
    struct chassis_view x = args[0].string;
    *ret_value = sql_string(x);
    if (args[1].integer < 0) {
        return CAT_SQL_FUNCTION_EVALUATION;
    }
    if (!sql_work(run, x.len)) {
        return CAT_SQL_GENERIC;
    }
    ret_value->string.len = offset(x, (size_t)args[1].integer);
    return CAT_SQL_OK;
}

static enum cat_sql_error call_right(struct sql_run *run, const struct cat_sql_value *args,
                                     unsigned count, struct cat_sql_value *ret_value)
{
    struct chassis_view x = args[0].string;
    *ret_value = sql_string(x);
    if (args[1].integer < 0) {
        return CAT_SQL_FUNCTION_EVALUATION;
    }
    if (!sql_work(run, 2 * x.len)) {
        return CAT_SQL_GENERIC;
    }
    size_t n = length(x), y = (size_t)args[1].integer;
    size_t from = n > y ? offset(x, n - y) : 0;
    *ret_value = sql_string(chassis_view(x.data + from, x.len - from));
    return CAT_SQL_OK;
}

static enum cat_sql_error call_substring(struct sql_run *run, const struct cat_sql_value *args,
                                         unsigned count, struct cat_sql_value *ret_value)
{
    struct chassis_view x = args[0].string;
    if (!sql_work(run, 3 * x.len)) {
        return CAT_SQL_GENERIC;
    }
    int64_t n = (int64_t)length(x), pos = args[1].integer, len = count == 3 ? args[2].integer : n;
    if (pos > n || pos < -n || len < 0) {
        return CAT_SQL_FUNCTION_EVALUATION;
    }
    if (pos == 0) {
        return CAT_SQL_OK;
    }
    size_t from = offset(x, (size_t)(pos > 0 ? pos - 1 : n + pos));
    struct chassis_view rest = chassis_view(x.data + from, x.len - from);
    rest.len = offset(rest, (size_t)len);
    *ret_value = sql_string(rest);
    return CAT_SQL_OK;
}

enum { B = CAT_SQL_BOOLEAN, I = CAT_SQL_INTEGER, S = CAT_SQL_STRING };
/* clang-format off: a table */
static const struct sql_function functions[] = {
    {"INT", 1, 1, false, {I}, I, call_identity},
    {"BOOL", 1, 1, false, {B}, B, call_identity},
    {"STRING", 1, 1, false, {S}, S, call_identity},
    {"IS_INT", 1, 1, false, {SQL_ANY}, B, call_is_int},
    {"IS_BOOL", 1, 1, false, {SQL_ANY}, B, call_is_bool},
    {"ABS", 1, 1, false, {I}, I, call_abs},
    {"LENGTH", 1, 1, false, {S}, I, call_length},
    {"CONCAT", 0, 255, true, {S}, S, NULL},
    {"CONCAT_WS", 1, 255, true, {S}, S, NULL},
    {"LOWER", 1, 1, false, {S}, S, call_lower},
    {"UPPER", 1, 1, false, {S}, S, call_upper},
    {"TRIM", 1, 1, false, {S}, S, call_trim},
    {"LEFT", 2, 2, false, {S, I}, S, call_left},
    {"RIGHT", 2, 2, false, {S, I}, S, call_right},
    {"SUBSTRING", 2, 3, false, {S, I, I}, S, call_substring},
};
/* clang-format on */

const struct sql_function *sql_function_find(struct chassis_view name, unsigned args)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        const struct sql_function *f = &functions[i];
        if (name.len == strlen(f->name) &&
            strncasecmp((const char *)name.data, f->name, name.len) == 0) {
            bool fits = args >= f->args_min && (f->joins || args <= f->args_max);
            return fits ? f : NULL;
        }
    }
    return NULL;
}
