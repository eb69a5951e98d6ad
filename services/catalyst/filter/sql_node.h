/* A compiled expression from inside: nodes in one array, children linked by number.
 *
 * Threads: any; constant once compiled.
 */
#ifndef CAT_FILTER_SQL_NODE_H
#define CAT_FILTER_SQL_NODE_H

#include "catalyst/filter/sql.h"

/* clang-format off: a table */
/*      name           text      level: how tight an operator between operands binds, 0 for others */
#define CAT_SQL_OP_TABLE(X)                                                                        \
    X(LITERAL, "", 0)                                                                              \
    X(ATTRIBUTE, "", 0)                                                                            \
    X(CALL, "", 0)                                                                                 \
    X(EXISTS, "EXISTS", 0)                                                                         \
    X(NOT, "NOT", 0)                                                                               \
    X(NEGATE, "-", 0)                                                                              \
    X(LIKE, "LIKE", 6)                                                                             \
    X(IN, "IN", 5)                                                                                 \
    X(MULTIPLY, "*", 4)                                                                            \
    X(DIVIDE, "/", 4)                                                                              \
    X(MODULO, "%", 4)                                                                              \
    X(ADD, "+", 3)                                                                                 \
    X(SUBTRACT, "-", 3)                                                                            \
    X(EQUAL, "=", 2)                                                                               \
    X(UNEQUAL, "!=", 2)                                                                            \
    X(LESS, "<", 2)                                                                                \
    X(LESS_EQUAL, "<=", 2)                                                                         \
    X(GREATER, ">", 2)                                                                             \
    X(GREATER_EQUAL, ">=", 2)                                                                      \
    X(AND, "AND", 1)                                                                               \
    X(OR, "OR", 1)                                                                                 \
    X(XOR, "XOR", 1)
/* clang-format on */
enum sql_op {
#define CAT_X(name, text, level) SQL_##name,
    CAT_SQL_OP_TABLE(CAT_X)
#undef CAT_X
};

struct sql_run;
/* Arguments are cast already; *ret_value is set whatever is returned. */
typedef enum cat_sql_error (*sql_function_fn)(struct sql_run *run, const struct cat_sql_value *args,
                                              unsigned count, struct cat_sql_value *ret_value);

enum { SQL_ARGS_MAX = 3, SQL_ANY = 3 }; /* SQL_ANY: a parameter that is not cast */

struct sql_function {
    const char *name;
    uint8_t args_min, args_max;
    bool joins; /* CONCAT, CONCAT_WS: any number of strings, made by the evaluator */
    uint8_t params[SQL_ARGS_MAX]; /* enum cat_sql_type or SQL_ANY */
    uint8_t returns;
    sql_function_fn call;
};
/* NULL when there is none of that name (in any case) and arity. */
const struct sql_function *sql_function_find(struct chassis_view name, unsigned args);

enum { SQL_NO_NODE = UINT16_MAX };

struct sql_node {
    uint8_t op;               /* enum sql_op */
    bool negated;             /* NOT LIKE, NOT IN */
    char quote;               /* of a string literal and a LIKE pattern, for printing */
    uint16_t child, next;     /* first operand; next operand of the same parent; or SQL_NO_NODE */
    uint16_t operands;        /* children */
    struct chassis_view name; /* of attribute and function; the pattern of LIKE */
    struct cat_sql_value value;
    const struct sql_function *function; /* NULL: missing */
};

struct cat_sql {
    struct sql_node *nodes;
    uint16_t count, root;
    const char *missing_function;
    uint8_t *text; /* names and strings of the nodes */
};

/* An evaluation under way. */
struct sql_run {
    const struct cat_sql *sql;
    const struct cat_event *event;
    struct cat_filter_scratch *scratch;
};
/* Account for looking at `n` characters; false when that is too much. */
static inline bool sql_work(struct sql_run *run, size_t n)
{
    run->scratch->work -= (int64_t)n + 1;
    return run->scratch->work >= 0;
}
/* As cat_sql_evaluate, with what work the scratch has left: a filter of many expressions has one bound
 * for all of them. */
enum cat_sql_error sql_evaluate_within(const struct cat_sql *sql, const struct cat_event *event,
                                       struct cat_filter_scratch *scratch,
                                       struct cat_sql_value *ret_value);
/* Cast in place; on an error the value is the zero of `type`. */
enum cat_sql_error sql_cast(struct sql_run *run, struct cat_sql_value *value,
                            enum cat_sql_type type);
enum cat_sql_error sql_like(struct sql_run *run, struct chassis_view text,
                            struct chassis_view pattern, bool *ret_match);
bool sql_value_eq(const struct cat_sql_value *a, const struct cat_sql_value *b);
struct cat_sql_value sql_zero(enum cat_sql_type type);
static inline struct cat_sql_value sql_boolean(bool boolean)
{
    struct cat_sql_value value = {.type = CAT_SQL_BOOLEAN, .boolean = boolean};
    return value;
}
static inline struct cat_sql_value sql_integer(int32_t integer)
{
    struct cat_sql_value value = {.type = CAT_SQL_INTEGER, .integer = integer};
    return value;
}
static inline struct cat_sql_value sql_string(struct chassis_view string)
{
    struct cat_sql_value value = {.type = CAT_SQL_STRING, .string = string};
    return value;
}

#endif
