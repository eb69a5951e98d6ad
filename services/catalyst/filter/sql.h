/* CloudEvents SQL 1.0: expressions over the attributes of an event, compiled once, evaluated many
 * times.
 *
 * Where the specification leaves room: AND, OR and XOR group from left to right as its text says (its
 * grammar file groups to the right); attribute names are folded to lower case, as its test cases
 * need; an operator or function whose operand ended in an error returns the zero value of its type and
 * that error, and evaluates no further operand; overflow is a math error with value 0. Also there:
 * IS_INT(x) and IS_BOOL(x) of the drafts.
 *
 * Invariants: text, nodes, nesting, work and memory (128 KiB of strings made) are bounded; evaluation is total: it always gives
 * a value, and CAT_SQL_OK or the kind of the first error.
 * Threads: a compiled expression is constant; a scratch has one user at a time.
 * Ownership: compiling copies the text; strings of results borrow from event, expression and scratch.
 */
#ifndef CAT_FILTER_SQL_H
#define CAT_FILTER_SQL_H

#include "catalyst/event/event.h"
#include "catalyst/filter/filter.h"

enum {
    CAT_SQL_TEXT_MAX = 16384,      /* bytes of an expression */
    CAT_SQL_NODES_MAX = 1024,      /* operators, functions, attributes and literals */
    CAT_SQL_DEPTH_MAX = 64,        /* nesting of parentheses, calls, unary operators */
    CAT_SQL_WORK_MAX = 512 * 1024, /* characters looked at for one event: 1 to 2 ms */
};

/* clang-format off: a table */
#define CAT_SQL_ERROR_TABLE(X)                                                                     \
    X(OK, "none")                                                                                  \
    X(PARSE, "ParseError")                                                                         \
    X(MATH, "MathError") /* division by zero, overflow */                                          \
    X(CAST, "CastError")                                                                           \
    X(MISSING_ATTRIBUTE, "MissingAttributeError")                                                  \
    X(MISSING_FUNCTION, "MissingFunctionError") /* no function of that name and arity */           \
    X(FUNCTION_EVALUATION, "FunctionEvaluationError")                                              \
    X(GENERIC, "GenericError") /* beyond the bounds of memory or work */
/* clang-format on */
enum cat_sql_error {
#define CAT_X(name, text) CAT_SQL_##name,
    CAT_SQL_ERROR_TABLE(CAT_X)
#undef CAT_X
};
const char *cat_sql_error_name(enum cat_sql_error error);

enum cat_sql_type { CAT_SQL_BOOLEAN, CAT_SQL_INTEGER, CAT_SQL_STRING };
struct cat_sql_value {
    enum cat_sql_type type;
    union {
        bool boolean;
        int32_t integer;
        struct chassis_view string;
    };
};

struct cat_sql;

/* CHASSIS_INVALID_ARGUMENT ("ParseError at 12: …", counted in bytes from 1) or CHASSIS_TOO_LARGE. An
 * unknown function is no parse error: cat_sql_missing_function. */
int cat_sql_compile(struct chassis_view text, struct cat_sql **ret_sql, struct chassis_error *err);
void cat_sql_free(struct cat_sql *sql);
/* Name of a function that is called but not there (or not with so many arguments); NULL if none. */
const char *cat_sql_missing_function(const struct cat_sql *sql);

/* Always sets *ret_value. */
enum cat_sql_error cat_sql_evaluate(const struct cat_sql *sql, const struct cat_event *event,
                                    struct cat_filter_scratch *scratch,
                                    struct cat_sql_value *ret_value);

/* The expression in a normal form, appended: the parentheses it needs, single spaces. It compiles to
 * the same (unless the spaces made it too long). */
void cat_sql_print(const struct cat_sql *sql, struct chassis_buf *out);

#endif
