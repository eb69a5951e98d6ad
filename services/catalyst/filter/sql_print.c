/* An expression as text again, with the parentheses it needs. */
#include "catalyst/filter/sql_node.h"

static const struct {
    const char *text;
    int level;
} ops[] = {
#define CAT_X(name, text, level) [SQL_##name] = {(text), (level)},
    CAT_SQL_OP_TABLE(CAT_X)
#undef CAT_X
};

static void print(const struct cat_sql *sql, uint16_t at, struct chassis_buf *out);

/* A text between its quotes: the quote is doubled, all else stays as it was written. */
static void print_string(struct chassis_view text, char quote, struct chassis_buf *out)
{
    chassis_buf_append_byte(out, (uint8_t)quote);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == (uint8_t)quote) {
            chassis_buf_append_byte(out, (uint8_t)quote);
        }
        chassis_buf_append_byte(out, text.data[i]);
    }
    chassis_buf_append_byte(out, (uint8_t)quote);
}

static void print_literal(const struct sql_node *node, struct chassis_buf *out)
{
    switch (node->value.type) {
    case CAT_SQL_BOOLEAN:
        chassis_buf_append_str(out, node->value.boolean ? "TRUE" : "FALSE");
        break;
    case CAT_SQL_INTEGER:
        chassis_buf_printf(out, "%d", (int)node->value.integer);
        break;
    case CAT_SQL_STRING:
        print_string(node->value.string, node->quote, out);
        break;
    }
}

/* ( a, b, … ) from node `at` on. */
static void print_list(const struct cat_sql *sql, uint16_t at, struct chassis_buf *out)
{
    chassis_buf_append_byte(out, '(');
    for (; at != SQL_NO_NODE; at = sql->nodes[at].next) {
        print(sql, at, out);
        if (sql->nodes[at].next != SQL_NO_NODE) {
            chassis_buf_append_str(out, ", ");
        }
    }
    chassis_buf_append_byte(out, ')');
}

/* An operand, in parentheses if it is an operator that binds less than `level`. */
static void print_operand(const struct cat_sql *sql, uint16_t at, int level,
                          struct chassis_buf *out)
{
    int own = ops[sql->nodes[at].op].level;
    bool wrap = own != 0 && own < level;
    chassis_buf_append_str(out, wrap ? "(" : "");
    print(sql, at, out);
    chassis_buf_append_str(out, wrap ? ")" : "");
}

static void print_infix(const struct cat_sql *sql, const struct sql_node *node,
                        struct chassis_buf *out)
{
    int level = ops[node->op].level;
    uint16_t right = sql->nodes[node->child].next;
    print_operand(sql, node->child, level, out);
    chassis_buf_printf(out, " %s%s ", node->negated ? "NOT " : "", ops[node->op].text);
    if (node->op == SQL_LIKE) {
        print_string(node->name, node->quote, out);
    } else if (node->op == SQL_IN) {
        print_list(sql, right, out);
    } else {
        print_operand(sql, right, level + 1, out); /* equals group to the left */
    }
}

static void print(const struct cat_sql *sql, uint16_t at, struct chassis_buf *out)
{
    enum { TIGHTEST = 100 };
    const struct sql_node *node = &sql->nodes[at];
    switch ((enum sql_op)node->op) {
    case SQL_LITERAL:
        print_literal(node, out);
        break;
    case SQL_ATTRIBUTE:
        chassis_buf_append_view(out, node->name);
        break;
    case SQL_CALL:
        chassis_buf_append_view(out, node->name);
        print_list(sql, node->child, out);
        break;
    case SQL_EXISTS:
        chassis_buf_append_str(out, "EXISTS ");
        chassis_buf_append_view(out, node->name);
        break;
    case SQL_NOT:
    case SQL_NEGATE: /* with a space, or a literal behind it would take the sign */
        chassis_buf_append_str(out, node->op == SQL_NOT ? "NOT " : "- ");
        print_operand(sql, node->child, TIGHTEST, out);
        break;
    case SQL_LIKE:
    case SQL_IN:
    case SQL_MULTIPLY:
    case SQL_DIVIDE:
    case SQL_MODULO:
    case SQL_ADD:
    case SQL_SUBTRACT:
    case SQL_EQUAL:
    case SQL_UNEQUAL:
    case SQL_LESS:
    case SQL_LESS_EQUAL:
    case SQL_GREATER:
    case SQL_GREATER_EQUAL:
    case SQL_AND:
    case SQL_OR:
    case SQL_XOR:
        print_infix(sql, node, out);
        break;
    }
}

void cat_sql_print(const struct cat_sql *sql, struct chassis_buf *out)
{
    print(sql, sql->root, out);
}
