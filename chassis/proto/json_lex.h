/* Reading JSON (RFC 8259) piece by piece, without building a tree: numbers keep all their digits,
 * memory is not multiplied, and depth is bounded by the caller's recursion and by lex_skip.
 *
 * Invariants: after an error the lexer stays where it is and `err` holds line and column.
 * Threads: any. Ownership: strings without escapes borrow from the text, others lie in the arena.
 */
#ifndef CHASSIS_PROTO_JSON_LEX_H
#define CHASSIS_PROTO_JSON_LEX_H

#include <stdbool.h>

#include <chassis/arena.h>
#include <chassis/buf.h>
#include <chassis/error.h>

enum { LEX_DEPTH_MAX = 64 };

struct lexer {
    const uint8_t *start, *p, *end;
    struct chassis_arena *arena;
    struct chassis_error *err;
};

/* The first character of the next value after white space: '{' '[' '"' 't' 'f' 'n' '-' (any number),
 * another character as it is, 0 at the end. */
char lex_peek(struct lexer *l);
/* The character `c` comes next (after white space): take it. */
bool lex_take(struct lexer *l, char c);
/* As lex_take, an error if it does not. */
int lex_expect(struct lexer *l, char c);
/* A string: well-formed UTF-8 without NUL. */
int lex_string(struct lexer *l, struct chassis_view *ret_text);
int lex_number(struct lexer *l, struct chassis_view *ret_text);
/* "true", "false" or "null". */
int lex_word(struct lexer *l, const char *word);
/* Any value at nesting `depth`. */
int lex_skip(struct lexer *l, unsigned depth);
/* CHASSIS_MALFORMED (or `code`) with "line L, column C: " before the text. */
int lex_fail(struct lexer *l, int code, const char *format, ...) CHASSIS_PRINTF(3, 4);

#endif
