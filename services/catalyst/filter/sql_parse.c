/* Lexer and parser: precedence climbing over the levels of §3.6. */
#include <stdlib.h>
#include <strings.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "catalyst/event/check.h"
#include "catalyst/filter/sql_node.h"

enum token_kind { T_END, T_INTEGER, T_STRING, T_WORD, T_SIGN };
struct token {
    enum token_kind kind;
    const uint8_t *begin, *end;
    char quote; /* of T_STRING */
};

struct parser {
    const uint8_t *start, *end;
    struct token token; /* the next, not taken yet */
    uint8_t *text;      /* room for names and strings: never more than the expression */
    size_t text_len;
    struct sql_node nodes[CAT_SQL_NODES_MAX];
    uint16_t count;
    unsigned depth;
    const char *missing_function;
    struct chassis_error *err;
    int rc;
};

/* Every function below returns a node or SQL_NO_NODE after parse_error. */
static uint16_t parse_error(struct parser *p, const uint8_t *at, int code, const char *format, ...)
    CHASSIS_PRINTF(4, 5);
static uint16_t parse_error(struct parser *p, const uint8_t *at, int code, const char *format, ...)
{
    if (p->rc == 0) { /* the first counts */
        va_list args;
        va_start(args, format);
        chassis_error_setv(p->err, code, format, args);
        va_end(args);
        if (p->err != NULL) {
            chassis_error_wrap(p->err, "ParseError at %zu", (size_t)(at - p->start) + 1);
        }
        p->rc = code;
    }
    return SQL_NO_NODE;
}

static uint16_t unexpected(struct parser *p, const char *expected)
{
    struct chassis_view token =
        chassis_view(p->token.begin, (size_t)(p->token.end - p->token.begin));
    if (p->token.kind == T_END) {
        return parse_error(p, p->token.begin, CHASSIS_INVALID_ARGUMENT,
                           "%s expected, but the expression ends", expected);
    }
    return parse_error(p, p->token.begin, CHASSIS_INVALID_ARGUMENT, "%s expected, not '%s'",
                       expected, cat_quote(token).text);
}

static bool is_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The end of a string that begins at `p` with its quote; a backslash takes the next character along,
 * a doubled quote stands for one. NULL: no end. */
static const uint8_t *string_end(const uint8_t *p, const uint8_t *end)
{
    uint8_t quote = *p++;
    while (p < end) {
        if (*p == '\\') {
            if (end - p < 2) {
                return NULL;
            }
            p += 2;
        } else if (*p == quote) {
            if (end - p < 2 || p[1] != quote) {
                return p + 1;
            }
            p += 2;
        } else {
            p++;
        }
    }
    return NULL;
}

static int read_token(struct parser *p)
{
    const uint8_t *at = p->token.end;
    while (at < p->end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) {
        at++;
    }
    struct token t = {T_END, at, at, 0};
    if (at == p->end) {
        p->token = t;
        return 0;
    }
    if (is_word(*at)) {
        t.kind = T_INTEGER;
        for (; t.end < p->end && is_word(*t.end); t.end++) {
            if (*t.end < '0' || *t.end > '9') {
                t.kind = T_WORD;
            }
        }
    } else if (*at == '\'' || *at == '"') {
        t.kind = T_STRING;
        t.quote = (char)*at;
        t.end = string_end(at, p->end);
        if (t.end == NULL) {
            parse_error(p, at, CHASSIS_INVALID_ARGUMENT, "a string without end");
            return p->rc;
        }
    } else {
        static const char *const signs[] = {"!=", "<>", "<=", ">="};
        t.kind = T_SIGN;
        t.end++;
        for (size_t i = 0; i < 4 && p->end - at >= 2; i++) {
            t.end += memcmp(at, signs[i], 2) == 0;
        }
        if (strchr("()+-*/%=<>,!", *at) == NULL || (*at == '!' && t.end - at == 1) || *at == 0) {
            parse_error(p, at, CHASSIS_INVALID_ARGUMENT, "no such character: '%s'",
                        cat_quote(chassis_view(at, 1)).text);
            return p->rc;
        }
    }
    p->token = t;
    return 0;
}

static bool word_is(const struct token *t, const char *word)
{
    size_t len = strlen(word);
    return t->kind == T_WORD && (size_t)(t->end - t->begin) == len &&
           strncasecmp((const char *)t->begin, word, len) == 0;
}

static bool sign_is(const struct token *t, const char *sign)
{
    size_t len = strlen(sign);
    return t->kind == T_SIGN && (size_t)(t->end - t->begin) == len &&
           memcmp(t->begin, sign, len) == 0;
}

static bool take_sign(struct parser *p, const char *sign)
{
    return p->rc == 0 && sign_is(&p->token, sign) && read_token(p) == 0;
}

static bool is_keyword(const struct token *t)
{
    static const char *const words[] = {"AND",    "OR", "XOR",  "NOT",  "LIKE",
                                        "EXISTS", "IN", "TRUE", "FALSE"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (word_is(t, words[i])) {
            return true;
        }
    }
    return false;
}

static uint16_t new_node(struct parser *p, enum sql_op op)
{
    if (p->count == CAT_SQL_NODES_MAX) {
        return parse_error(p, p->token.begin, CHASSIS_TOO_LARGE,
                           "the expression has more than %d operators and operands",
                           CAT_SQL_NODES_MAX);
    }
    p->nodes[p->count] =
        (struct sql_node){.op = (uint8_t)op, .child = SQL_NO_NODE, .next = SQL_NO_NODE};
    return p->count++;
}

/* Make `child` the last operand of `node`. */
static void add_operand(struct parser *p, uint16_t node, uint16_t child)
{
    uint16_t *link = &p->nodes[node].child;
    while (*link != SQL_NO_NODE) {
        link = &p->nodes[*link].next;
    }
    *link = child;
    p->nodes[node].operands++;
}

/* The token's text kept for the node: strings without quotes and escapes, words in lower case. */
static struct chassis_view keep(struct parser *p, const struct token *t)
{
    uint8_t *to = p->text + p->text_len, *begin = to;
    if (t->kind != T_STRING) {
        for (const uint8_t *c = t->begin; c < t->end; c++) {
            *to++ = *c >= 'A' && *c <= 'Z' ? (uint8_t)(*c - 'A' + 'a') : *c;
        }
    } else {
        uint8_t quote = (uint8_t)t->quote;
        for (const uint8_t *c = t->begin + 1; c < t->end - 1; c++) {
            if (*c == '\\' && c[1] != quote) {
                *to++ = *c++; /* only the quote is escaped; LIKE has its own use of backslashes */
            } else if (*c == '\\' || *c == quote) {
                c++;
            }
            *to++ = *c;
        }
    }
    p->text_len = (size_t)(to - p->text) + 1;
    *to = 0;
    return chassis_view(begin, (size_t)(to - begin));
}

static uint16_t parse_expression(struct parser *p, int level);

static uint16_t parse_string(struct parser *p)
{
    uint16_t node = new_node(p, SQL_LITERAL);
    if (node != SQL_NO_NODE) {
        p->nodes[node].quote = p->token.quote;
        p->nodes[node].value = sql_string(keep(p, &p->token));
        read_token(p);
    }
    return p->rc == 0 ? node : SQL_NO_NODE;
}

static uint16_t parse_integer(struct parser *p, bool negative)
{
    int64_t value = 0;
    for (const uint8_t *c = p->token.begin; c < p->token.end; c++) {
        value = value * 10 + (*c - '0');
        if (value > (int64_t)INT32_MAX + negative) {
            return parse_error(p, p->token.begin, CHASSIS_INVALID_ARGUMENT,
                               "the integer does not fit into 32 bits");
        }
    }
    uint16_t node = new_node(p, SQL_LITERAL);
    if (node != SQL_NO_NODE) {
        p->nodes[node].value = sql_integer((int32_t)(negative ? -value : value));
        read_token(p);
    }
    return p->rc == 0 ? node : SQL_NO_NODE;
}

/* ( expression , … ) behind `node`, whose operands they become. */
static uint16_t parse_list(struct parser *p, uint16_t node, bool may_be_empty)
{
    if (!take_sign(p, "(")) {
        return p->rc == 0 ? unexpected(p, "'('") : SQL_NO_NODE;
    }
    if (may_be_empty && take_sign(p, ")")) {
        return p->rc == 0 ? node : SQL_NO_NODE;
    }
    do {
        uint16_t element = parse_expression(p, 0);
        if (element == SQL_NO_NODE) {
            return element;
        }
        add_operand(p, node, element);
    } while (take_sign(p, ","));
    if (!take_sign(p, ")")) {
        return p->rc == 0 ? unexpected(p, "',' or ')'") : SQL_NO_NODE;
    }
    return node;
}

static uint16_t parse_call(struct parser *p, const struct token *name)
{
    for (const uint8_t *c = name->begin; c < name->end; c++) {
        if ((*c >= '0' && *c <= '9') || *name->begin == '_') {
            return parse_error(p, name->begin, CHASSIS_INVALID_ARGUMENT,
                               "a function's name holds letters and '_' only");
        }
    }
    uint16_t node = new_node(p, SQL_CALL);
    if (node == SQL_NO_NODE) {
        return node;
    }
    p->nodes[node].name = keep(p, name);
    node = parse_list(p, node, true);
    if (node != SQL_NO_NODE) {
        struct sql_node *call = &p->nodes[node];
        call->function = sql_function_find(call->name, call->operands);
        if (call->function == NULL && p->missing_function == NULL) {
            p->missing_function = (const char *)call->name.data;
        }
    }
    return node;
}

static bool is_attribute(const struct token *t)
{
    return (t->kind == T_WORD || t->kind == T_INTEGER) && !is_keyword(t) &&
           memchr(t->begin, '_', (size_t)(t->end - t->begin)) == NULL;
}

static uint16_t parse_named(struct parser *p, enum sql_op op, const struct token *name)
{
    uint16_t node = new_node(p, op);
    if (node != SQL_NO_NODE) {
        p->nodes[node].name = keep(p, name);
    }
    return node;
}

/* A word: TRUE, FALSE, EXISTS attribute, a call, an attribute. */
static uint16_t parse_word(struct parser *p)
{
    struct token word = p->token;
    if (is_keyword(&word) && !word_is(&word, "TRUE") && !word_is(&word, "FALSE") &&
        !word_is(&word, "EXISTS")) {
        return unexpected(p, "an operand");
    }
    if (read_token(p) != 0) {
        return SQL_NO_NODE;
    }
    if (word_is(&word, "EXISTS")) {
        struct token name = p->token;
        if (!is_attribute(&name)) {
            return unexpected(p, "the name of an attribute");
        }
        return read_token(p) == 0 ? parse_named(p, SQL_EXISTS, &name) : SQL_NO_NODE;
    }
    if (is_keyword(&word)) {
        uint16_t node = new_node(p, SQL_LITERAL);
        if (node != SQL_NO_NODE) {
            p->nodes[node].value = sql_boolean(word_is(&word, "TRUE"));
        }
        return node;
    }
    if (sign_is(&p->token, "(")) {
        return parse_call(p, &word);
    }
    if (!is_attribute(&word)) {
        return parse_error(p, word.begin, CHASSIS_INVALID_ARGUMENT,
                           "an attribute's name holds a-z and 0-9 only");
    }
    return parse_named(p, SQL_ATTRIBUTE, &word);
}

static uint16_t parse_operand(struct parser *p);

static uint16_t parse_unary(struct parser *p, enum sql_op op)
{
    uint16_t node = new_node(p, op);
    uint16_t operand = node != SQL_NO_NODE ? parse_operand(p) : SQL_NO_NODE;
    if (operand == SQL_NO_NODE) {
        return operand;
    }
    add_operand(p, node, operand);
    return node;
}

/* A sign: '-' or '+' of a literal (nothing between), '-' as operator, parentheses. */
static uint16_t parse_signed(struct parser *p)
{
    struct token sign = p->token;
    bool minus = sign_is(&sign, "-"), plus = sign_is(&sign, "+");
    if ((!minus && !plus && !sign_is(&sign, "(")) || read_token(p) != 0) {
        return p->rc == 0 ? unexpected(p, "an operand") : SQL_NO_NODE;
    }
    if (minus || plus) {
        if (p->token.kind == T_INTEGER && p->token.begin == sign.end) {
            return parse_integer(p, minus);
        }
        return minus ? parse_unary(p, SQL_NEGATE) : unexpected(p, "an integer after '+'");
    }
    uint16_t node = parse_expression(p, 0);
    if (node != SQL_NO_NODE && !take_sign(p, ")")) {
        return p->rc == 0 ? unexpected(p, "')'") : SQL_NO_NODE;
    }
    return p->rc == 0 ? node : SQL_NO_NODE;
}

static bool nest(struct parser *p)
{
    if (++p->depth > CAT_SQL_DEPTH_MAX) {
        parse_error(p, p->token.begin, CHASSIS_TOO_LARGE, "nested deeper than %d",
                    CAT_SQL_DEPTH_MAX);
    }
    return p->rc == 0;
}

static uint16_t parse_operand(struct parser *p)
{
    uint16_t node = SQL_NO_NODE;
    if (!nest(p)) {
        return node;
    }
    switch (p->token.kind) {
    case T_END:
        node = unexpected(p, "an operand");
        break;
    case T_STRING:
        node = parse_string(p);
        break;
    case T_INTEGER:
        node = parse_integer(p, false);
        break;
    case T_WORD:
        if (!word_is(&p->token, "NOT")) {
            node = parse_word(p);
        } else if (read_token(p) == 0) {
            node = parse_unary(p, SQL_NOT);
        }
        break;
    case T_SIGN:
        node = parse_signed(p);
        break;
    }
    p->depth--;
    return node;
}

/* The operators between and behind operands; "<>" is "!=". */
static const struct infix {
    const char *text;
    uint8_t op, level;
} infixes[] = {
#define CAT_X(name, text, level) {(text), SQL_##name, (level)},
    CAT_SQL_OP_TABLE(CAT_X)
#undef CAT_X
        {"<>", SQL_UNEQUAL, 2},
};

static const struct infix *find_infix(const struct token *t)
{
    for (size_t i = 0; i < sizeof infixes / sizeof infixes[0]; i++) {
        if (infixes[i].level != 0 && (word_is(t, infixes[i].text) || sign_is(t, infixes[i].text))) {
            return &infixes[i];
        }
    }
    return NULL;
}

/* Behind `left`: LIKE 'pattern', IN ( … ), or an operator and its right side. */
static uint16_t parse_right(struct parser *p, uint16_t left, const struct infix *infix,
                            bool negated)
{
    uint16_t node = new_node(p, (enum sql_op)infix->op);
    if (node == SQL_NO_NODE) {
        return node;
    }
    p->nodes[node].negated = negated;
    add_operand(p, node, left);
    if (infix->op == SQL_IN) {
        node = nest(p) ? parse_list(p, node, false) : SQL_NO_NODE;
        p->depth--;
        return node;
    }
    if (infix->op == SQL_LIKE) {
        if (p->token.kind != T_STRING) {
            return unexpected(p, "a string literal, the pattern,");
        }
        p->nodes[node].quote = p->token.quote;
        p->nodes[node].name = keep(p, &p->token);
        return read_token(p) == 0 ? node : SQL_NO_NODE;
    }
    uint16_t right = parse_expression(p, infix->level + 1);
    if (right != SQL_NO_NODE) {
        add_operand(p, node, right);
    }
    return right != SQL_NO_NODE ? node : SQL_NO_NODE;
}

/* An operand and what follows it, of operators of at least `level`. */
static uint16_t parse_expression(struct parser *p, int level)
{
    uint16_t left = parse_operand(p);
    while (left != SQL_NO_NODE) {
        struct token at = p->token;
        bool negated = word_is(&at, "NOT");
        if (negated && read_token(p) != 0) {
            return SQL_NO_NODE;
        }
        const struct infix *infix = find_infix(&p->token);
        if (negated && (infix == NULL || (infix->op != SQL_LIKE && infix->op != SQL_IN))) {
            return unexpected(p, "LIKE or IN after NOT");
        }
        if (infix == NULL || infix->level < level) {
            p->token = at; /* the NOT too */
            return left;
        }
        left = read_token(p) == 0 ? parse_right(p, left, infix, negated) : SQL_NO_NODE;
    }
    return left;
}

static int parse(struct parser *p, struct chassis_view text)
{
    p->token.end = p->start = text.data;
    p->end = text.data + text.len;
    if (read_token(p) != 0) {
        return p->rc;
    }
    uint16_t root = parse_expression(p, 0);
    if (root != SQL_NO_NODE && p->token.kind != T_END) {
        unexpected(p, "an operator or the end");
    }
    return p->rc != 0 ? p->rc : root;
}

int cat_sql_compile(struct chassis_view text, struct cat_sql **ret_sql, struct chassis_error *err)
{
    if (text.len == 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "ParseError at 1: the expression is empty");
    }
    if (text.len > CAT_SQL_TEXT_MAX) {
        return chassis_error_set(err, CHASSIS_TOO_LARGE,
                                 "the expression has %zu bytes, at most %d are taken", text.len,
                                 CAT_SQL_TEXT_MAX);
    }
    if (!chassis_utf8_valid(text)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "ParseError at 1: the expression is not valid UTF-8");
    }
    struct parser *p = chassis_base_zalloc(sizeof *p);
    p->text = chassis_base_alloc(2 * text.len + 2); /* every kept text has a NUL behind it */
    p->err = err;
    int rc = parse(p, text);
    if (rc >= 0) {
        struct cat_sql *sql = chassis_base_zalloc(sizeof *sql);
        sql->nodes = chassis_base_alloc(p->count * sizeof *sql->nodes);
        memcpy(sql->nodes, p->nodes, p->count * sizeof *sql->nodes);
        sql->count = p->count;
        sql->root = (uint16_t)rc;
        sql->missing_function = p->missing_function;
        sql->text = p->text;
        *ret_sql = sql;
        rc = 0;
    } else {
        free(p->text);
    }
    free(p);
    return rc;
}

void cat_sql_free(struct cat_sql *sql)
{
    if (sql != NULL) {
        free(sql->nodes);
        free(sql->text);
        free(sql);
    }
}

const char *cat_sql_missing_function(const struct cat_sql *sql)
{
    return sql->missing_function;
}
