/* Evaluation: every operator gives a value whatever happens; an operand's error ends it early with
 * the zero value of its type. */
#include "base/assert.h"
#include "base/utf8.h"
#include "catalyst/filter/scratch.h"
#include "catalyst/filter/sql_node.h"

const char *cat_sql_error_name(enum cat_sql_error error)
{
    static const char *const names[] = {
#define CAT_X(name, text) [CAT_SQL_##name] = (text),
        CAT_SQL_ERROR_TABLE(CAT_X)
#undef CAT_X
    };
    CHASSIS_ASSERT(error < sizeof names / sizeof names[0]);
    return names[error];
}

struct cat_sql_value sql_zero(enum cat_sql_type type)
{
    switch (type) {
    case CAT_SQL_BOOLEAN:
        return sql_boolean(false);
    case CAT_SQL_INTEGER:
        return sql_integer(0);
    case CAT_SQL_STRING:
        break;
    }
    return sql_string(chassis_view("", 0));
}

/* An attribute's value as one of the three types. */
static enum cat_sql_error from_attribute(struct sql_run *run, const struct cat_value *value,
                                         struct cat_sql_value *ret_value)
{
    struct chassis_view text;
    if (value->type == CAT_BOOLEAN) {
        *ret_value = sql_boolean(value->boolean);
    } else if (value->type == CAT_INTEGER) {
        *ret_value = sql_integer(value->integer);
    } else if (scratch_text(run->scratch, value, &text)) {
        *ret_value = sql_string(text);
    } else {
        *ret_value = sql_zero(CAT_SQL_STRING);
        return CAT_SQL_GENERIC;
    }
    return CAT_SQL_OK;
}

static bool string_to_integer(struct chassis_view text, int32_t *ret_integer)
{
    bool negative = text.len != 0 && text.data[0] == '-';
    size_t i = negative || (text.len != 0 && text.data[0] == '+') ? 1 : 0;
    int64_t value = 0;
    if (i == text.len) {
        return false;
    }
    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
        if (value > (int64_t)INT32_MAX + negative) {
            return false;
        }
    }
    *ret_integer = (int32_t)(negative ? -value : value);
    return true;
}

static bool is_word(struct chassis_view text, const char *word)
{
    if (text.len != strlen(word)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if ((text.data[i] | 0x20) != (uint8_t)word[i]) { /* letters only are compared with */
            return false;
        }
    }
    return true;
}

static enum cat_sql_error to_boolean(struct cat_sql_value *value)
{
    bool boolean = false;
    enum cat_sql_error error = CAT_SQL_OK;
    if (value->type == CAT_SQL_INTEGER) {
        boolean = value->integer != 0;
    } else {
        boolean = is_word(value->string, "true");
        error = boolean || is_word(value->string, "false") ? CAT_SQL_OK : CAT_SQL_CAST;
    }
    *value = sql_boolean(boolean);
    return error;
}

static enum cat_sql_error to_integer(struct cat_sql_value *value)
{
    int32_t integer = 0;
    enum cat_sql_error error = CAT_SQL_OK;
    if (value->type == CAT_SQL_BOOLEAN) {
        integer = value->boolean;
    } else if (!string_to_integer(value->string, &integer)) {
        integer = 0;
        error = CAT_SQL_CAST;
    }
    *value = sql_integer(integer);
    return error;
}

static enum cat_sql_error to_string(struct sql_run *run, struct cat_sql_value *value)
{
    if (value->type == CAT_SQL_BOOLEAN) {
        *value = sql_string(chassis_view_str(value->boolean ? "true" : "false"));
        return CAT_SQL_OK;
    }
    char digits[16], *p = digits + sizeof digits;
    int64_t n = value->integer < 0 ? -(int64_t)value->integer : value->integer;
    do {
        *--p = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    if (value->integer < 0) {
        *--p = '-';
    }
    size_t len = (size_t)(digits + sizeof digits - p);
    char *text = scratch_alloc(run->scratch, len);
    if (text == NULL) {
        *value = sql_zero(CAT_SQL_STRING);
        return CAT_SQL_GENERIC;
    }
    memcpy(text, p, len);
    *value = sql_string(chassis_view(text, len));
    return CAT_SQL_OK;
}

enum cat_sql_error sql_cast(struct sql_run *run, struct cat_sql_value *value,
                            enum cat_sql_type type)
{
    if (value->type == type) {
        return CAT_SQL_OK;
    }
    switch (type) {
    case CAT_SQL_BOOLEAN:
        return to_boolean(value);
    case CAT_SQL_INTEGER:
        return to_integer(value);
    case CAT_SQL_STRING:
        break;
    }
    return to_string(run, value);
}

bool sql_value_eq(const struct cat_sql_value *a, const struct cat_sql_value *b)
{
    switch (a->type) {
    case CAT_SQL_BOOLEAN:
        return a->boolean == b->boolean;
    case CAT_SQL_INTEGER:
        return a->integer == b->integer;
    case CAT_SQL_STRING:
        break;
    }
    return chassis_view_eq(a->string, b->string);
}

/* One literal character of a pattern at *p, its escape passed. */
static uint8_t pattern_byte(const uint8_t **p, const uint8_t *end)
{
    if (**p == '\\' && end - *p > 1 && ((*p)[1] == '%' || (*p)[1] == '_')) {
        (*p)++;
    }
    return *(*p)++;
}

/* Greedy matching with one place to go back to: what stands before the last '%' seen need not be
 * looked at again. */
enum cat_sql_error sql_like(struct sql_run *run, struct chassis_view text,
                            struct chassis_view pattern, bool *ret_match)
{
    const uint8_t *t = text.data, *t_end = t + text.len, *p = pattern.data;
    const uint8_t *p_end = p + pattern.len, *back_p = NULL, *back_t = NULL;
    *ret_match = false;
    while (t < t_end) {
        if (!sql_work(run, 0)) {
            return CAT_SQL_GENERIC;
        }
        if (p < p_end && *p == '%') {
            back_p = ++p;
            back_t = t;
            if (p == p_end) {
                *ret_match = true;
                return CAT_SQL_OK;
            }
            continue;
        }
        if (p < p_end && *p == '_') {
            size_t len = chassis_utf8_len(t, (size_t)(t_end - t));
            t += len != 0 ? len : 1;
            p++;
            continue;
        }
        if (p < p_end) {
            const uint8_t *next = p;
            if (pattern_byte(&next, p_end) == *t) {
                p = next;
                t++;
                continue;
            }
        }
        if (back_p == NULL) {
            return CAT_SQL_OK;
        }
        p = back_p;
        size_t len = chassis_utf8_len(back_t, (size_t)(t_end - back_t));
        t = back_t += len != 0 ? len : 1;
    }
    while (p < p_end && *p == '%') {
        p++;
    }
    *ret_match = p == p_end;
    return CAT_SQL_OK;
}

static enum cat_sql_error eval(struct sql_run *run, uint16_t at, struct cat_sql_value *ret_value);

/* Evaluate and cast one operand. */
static enum cat_sql_error operand(struct sql_run *run, uint16_t at, enum cat_sql_type type,
                                  struct cat_sql_value *ret_value)
{
    enum cat_sql_error error = eval(run, at, ret_value);
    return error != CAT_SQL_OK ? error : sql_cast(run, ret_value, type);
}

static enum cat_sql_error eval_attribute(struct sql_run *run, const struct sql_node *node,
                                         struct cat_sql_value *ret_value)
{
    struct cat_value value;
    if (cat_event_attribute(run->event, node->name, &value)) {
        return from_attribute(run, &value, ret_value);
    }
    *ret_value = sql_boolean(false);
    return CAT_SQL_MISSING_ATTRIBUTE;
}

static enum cat_sql_error eval_logic(struct sql_run *run, const struct sql_node *node,
                                     struct cat_sql_value *ret_value)
{
    struct cat_sql_value left, right;
    *ret_value = sql_boolean(false);
    enum cat_sql_error error = operand(run, node->child, CAT_SQL_BOOLEAN, &left);
    if (error != CAT_SQL_OK) {
        return error;
    }
    if (node->op != SQL_XOR && left.boolean == (node->op == SQL_OR)) {
        *ret_value = left; /* true OR …, false AND … */
        return CAT_SQL_OK;
    }
    error = operand(run, run->sql->nodes[node->child].next, CAT_SQL_BOOLEAN, &right);
    if (error == CAT_SQL_OK) {
        *ret_value =
            sql_boolean(node->op == SQL_XOR ? left.boolean != right.boolean : right.boolean);
    }
    return error;
}

/* `=` and `!=`: the right operand's type counts (§3.7). */
static enum cat_sql_error eval_equality(struct sql_run *run, const struct sql_node *node,
                                        struct cat_sql_value *ret_value)
{
    struct cat_sql_value left, right;
    *ret_value = sql_boolean(false);
    enum cat_sql_error error = eval(run, node->child, &left);
    if (error == CAT_SQL_OK) {
        error = eval(run, run->sql->nodes[node->child].next, &right);
    }
    if (error == CAT_SQL_OK) {
        error = sql_cast(run, &left, right.type);
    }
    if (error == CAT_SQL_OK && right.type == CAT_SQL_STRING && !sql_work(run, right.string.len)) {
        error = CAT_SQL_GENERIC;
    }
    if (error == CAT_SQL_OK) {
        *ret_value = sql_boolean(sql_value_eq(&left, &right) == (node->op == SQL_EQUAL));
    }
    return error;
}

static enum cat_sql_error integers(struct sql_run *run, const struct sql_node *node, int64_t *ret_x,
                                   int64_t *ret_y)
{
    struct cat_sql_value x, y;
    enum cat_sql_error error = eval(run, node->child, &x);
    if (error == CAT_SQL_OK) {
        error = eval(run, run->sql->nodes[node->child].next, &y);
    }
    if (error == CAT_SQL_OK) {
        error = sql_cast(run, &x, CAT_SQL_INTEGER);
    }
    if (error == CAT_SQL_OK) {
        error = sql_cast(run, &y, CAT_SQL_INTEGER);
    }
    if (error == CAT_SQL_OK) {
        *ret_x = x.integer;
        *ret_y = y.integer;
    }
    return error;
}

static enum cat_sql_error eval_order(struct sql_run *run, const struct sql_node *node,
                                     struct cat_sql_value *ret_value)
{
    int64_t x, y;
    enum cat_sql_error error = integers(run, node, &x, &y);
    bool holds = false;
    if (error == CAT_SQL_OK) {
        holds = node->op == SQL_LESS         ? x < y
                : node->op == SQL_LESS_EQUAL ? x <= y
                : node->op == SQL_GREATER    ? x > y
                                             : x >= y;
    }
    *ret_value = sql_boolean(holds);
    return error;
}

static enum cat_sql_error eval_arithmetic(struct sql_run *run, const struct sql_node *node,
                                          struct cat_sql_value *ret_value)
{
    int64_t x, y, z;
    enum cat_sql_error error = integers(run, node, &x, &y);
    *ret_value = sql_integer(0);
    if (error != CAT_SQL_OK) {
        return error;
    }
    if ((node->op == SQL_DIVIDE || node->op == SQL_MODULO) && y == 0) {
        return CAT_SQL_MATH;
    }
    z = node->op == SQL_MULTIPLY ? x * y
        : node->op == SQL_DIVIDE ? x / y
        : node->op == SQL_MODULO ? x % y
        : node->op == SQL_ADD    ? x + y
                                 : x - y;
    if (z < INT32_MIN || z > INT32_MAX) {
        return CAT_SQL_MATH;
    }
    *ret_value = sql_integer((int32_t)z);
    return CAT_SQL_OK;
}

static enum cat_sql_error eval_unary(struct sql_run *run, const struct sql_node *node,
                                     struct cat_sql_value *ret_value)
{
    bool negate = node->op == SQL_NEGATE;
    enum cat_sql_type type = negate ? CAT_SQL_INTEGER : CAT_SQL_BOOLEAN;
    struct cat_sql_value x;
    enum cat_sql_error error = operand(run, node->child, type, &x);
    *ret_value = sql_zero(type);
    if (error == CAT_SQL_OK && negate && x.integer == INT32_MIN) {
        return CAT_SQL_MATH;
    }
    if (error == CAT_SQL_OK) {
        *ret_value = negate ? sql_integer(-x.integer) : sql_boolean(!x.boolean);
    }
    return error;
}

static enum cat_sql_error eval_like(struct sql_run *run, const struct sql_node *node,
                                    struct cat_sql_value *ret_value)
{
    struct cat_sql_value text;
    bool match = false;
    enum cat_sql_error error = operand(run, node->child, CAT_SQL_STRING, &text);
    if (error == CAT_SQL_OK) {
        error = sql_like(run, text.string, node->name, &match);
    }
    *ret_value = sql_boolean(error == CAT_SQL_OK && match != node->negated);
    return error;
}

/* Elements are cast to the type of what is looked for. */
static enum cat_sql_error eval_in(struct sql_run *run, const struct sql_node *node,
                                  struct cat_sql_value *ret_value)
{
    struct cat_sql_value x, element;
    bool found = false;
    enum cat_sql_error error = eval(run, node->child, &x);
    uint16_t at = run->sql->nodes[node->child].next;
    for (; error == CAT_SQL_OK && !found && at != SQL_NO_NODE; at = run->sql->nodes[at].next) {
        error = operand(run, at, x.type, &element);
        if (error == CAT_SQL_OK && x.type == CAT_SQL_STRING && !sql_work(run, x.string.len)) {
            error = CAT_SQL_GENERIC;
        }
        found = error == CAT_SQL_OK && sql_value_eq(&x, &element);
    }
    *ret_value = sql_boolean(error == CAT_SQL_OK && found != node->negated);
    return error;
}

struct piece {
    struct piece *next;
    struct chassis_view text;
};

/* CONCAT and CONCAT_WS: all operands as strings, then one string of them. */
static enum cat_sql_error eval_join(struct sql_run *run, const struct sql_node *node,
                                    struct cat_sql_value *ret_value)
{
    struct piece *first = NULL, **link = &first;
    struct chassis_view delimiter = chassis_view("", 0);
    size_t len = 0, count = 0;
    uint16_t at = node->child;
    *ret_value = sql_zero(CAT_SQL_STRING);
    for (bool skip = node->function->args_min == 1; at != SQL_NO_NODE;
         at = run->sql->nodes[at].next, skip = false) {
        struct cat_sql_value value;
        enum cat_sql_error error = operand(run, at, CAT_SQL_STRING, &value);
        if (error != CAT_SQL_OK) {
            return error;
        }
        if (skip) {
            delimiter = value.string;
            continue;
        }
        struct piece *piece = scratch_alloc(run->scratch, sizeof *piece);
        if (piece == NULL) {
            return CAT_SQL_GENERIC;
        }
        *piece = (struct piece){NULL, value.string};
        *link = piece;
        link = &piece->next;
        len += value.string.len + (count++ != 0 ? delimiter.len : 0);
    }
    uint8_t *text = scratch_alloc(run->scratch, len), *to = text;
    if (text == NULL || !sql_work(run, len)) {
        return CAT_SQL_GENERIC;
    }
    for (const struct piece *piece = first; piece != NULL; piece = piece->next) {
        if (piece != first) {
            memcpy(to, delimiter.data, delimiter.len);
            to += delimiter.len;
        }
        memcpy(to, piece->text.data, piece->text.len);
        to += piece->text.len;
    }
    *ret_value = sql_string(chassis_view(text, len));
    return CAT_SQL_OK;
}

static enum cat_sql_error eval_call(struct sql_run *run, const struct sql_node *node,
                                    struct cat_sql_value *ret_value)
{
    const struct sql_function *function = node->function;
    if (function == NULL) {
        *ret_value = sql_boolean(false);
        return CAT_SQL_MISSING_FUNCTION;
    }
    if (function->joins) {
        return eval_join(run, node, ret_value);
    }
    struct cat_sql_value args[SQL_ARGS_MAX];
    unsigned count = 0;
    *ret_value = sql_zero((enum cat_sql_type)function->returns);
    for (uint16_t at = node->child; at != SQL_NO_NODE; at = run->sql->nodes[at].next, count++) {
        enum cat_sql_error error = eval(run, at, &args[count]);
        if (error == CAT_SQL_OK && function->params[count] != SQL_ANY) {
            error = sql_cast(run, &args[count], (enum cat_sql_type)function->params[count]);
        }
        if (error != CAT_SQL_OK) {
            return error;
        }
    }
    return function->call(run, args, count, ret_value);
}

static enum cat_sql_error eval(struct sql_run *run, uint16_t at, struct cat_sql_value *ret_value)
{
    const struct sql_node *node = &run->sql->nodes[at];
    struct cat_value value;
    switch ((enum sql_op)node->op) {
    case SQL_LITERAL:
        *ret_value = node->value;
        return CAT_SQL_OK;
    case SQL_ATTRIBUTE:
        return eval_attribute(run, node, ret_value);
    case SQL_EXISTS:
        *ret_value = sql_boolean(cat_event_attribute(run->event, node->name, &value));
        return CAT_SQL_OK;
    case SQL_CALL:
        return eval_call(run, node, ret_value);
    case SQL_NOT:
    case SQL_NEGATE:
        return eval_unary(run, node, ret_value);
    case SQL_LIKE:
        return eval_like(run, node, ret_value);
    case SQL_IN:
        return eval_in(run, node, ret_value);
    case SQL_MULTIPLY:
    case SQL_DIVIDE:
    case SQL_MODULO:
    case SQL_ADD:
    case SQL_SUBTRACT:
        return eval_arithmetic(run, node, ret_value);
    case SQL_EQUAL:
    case SQL_UNEQUAL:
        return eval_equality(run, node, ret_value);
    case SQL_LESS:
    case SQL_LESS_EQUAL:
    case SQL_GREATER:
    case SQL_GREATER_EQUAL:
        return eval_order(run, node, ret_value);
    case SQL_AND:
    case SQL_OR:
    case SQL_XOR:
        return eval_logic(run, node, ret_value);
    }
    CHASSIS_PANIC("no such node: %d", (int)node->op);
}

enum cat_sql_error sql_evaluate_within(const struct cat_sql *sql, const struct cat_event *event,
                                       struct cat_filter_scratch *scratch,
                                       struct cat_sql_value *ret_value)
{
    struct sql_run run = {sql, event, scratch};
    scratch_reset(scratch);
    return eval(&run, sql->root, ret_value);
}

enum cat_sql_error cat_sql_evaluate(const struct cat_sql *sql, const struct cat_event *event,
                                    struct cat_filter_scratch *scratch,
                                    struct cat_sql_value *ret_value)
{
    scratch->work = CAT_SQL_WORK_MAX;
    return sql_evaluate_within(sql, event, scratch, ret_value);
}
