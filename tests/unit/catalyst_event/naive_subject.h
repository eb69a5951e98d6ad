/* Wildcards by the book: split into tokens, compare token by token. For judging the real thing. */
#ifndef NAIVE_SUBJECT_H
#define NAIVE_SUBJECT_H

#include <stdbool.h>
#include <string.h>

#include <chassis/buf.h>

/* The first token of *rest, which moves behind it; *ret_separator is what ended it, 0 at the end. */
static inline struct chassis_view naive_token(struct chassis_view *rest, char *ret_separator)
{
    size_t n = 0;
    while (n < rest->len && rest->data[n] != '.' && rest->data[n] != '/') {
        n++;
    }
    struct chassis_view token = {rest->data, n};
    *ret_separator = n < rest->len ? (char)rest->data[n] : 0;
    n += *ret_separator != 0;
    *rest = (struct chassis_view){rest->data + n, rest->len - n};
    return token;
}

static inline bool naive_is(struct chassis_view token, const char *text)
{
    return token.len == strlen(text) && memcmp(token.data, text, token.len) == 0;
}

static inline bool naive_match(struct chassis_view pattern, struct chassis_view name)
{
    if (name.len == 0) {
        return false;
    }
    for (;;) {
        char p_end, n_end;
        struct chassis_view whole = name;
        struct chassis_view p = naive_token(&pattern, &p_end), n = naive_token(&name, &n_end);
        if (p_end == 0 && naive_is(p, ">")) {
            return whole.len > 0;
        }
        if (p_end == 0 && p.len > 1 && p.data[p.len - 1] == '*') {
            return whole.len >= p.len - 1 && memcmp(whole.data, p.data, p.len - 1) == 0;
        }
        if (naive_is(p, "*") ? n.len == 0 : !chassis_view_eq(p, n)) {
            return false;
        }
        if (p_end != n_end) {
            return false;
        }
        if (p_end == 0) {
            return true;
        }
    }
}

#endif
