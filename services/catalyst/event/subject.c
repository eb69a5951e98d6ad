#include "catalyst/event/subject.h"

#include "catalyst/event/check.h"

static bool is_separator(uint8_t c)
{
    return c == '.' || c == '/';
}

/* A token of a pattern: literal, "*", ">" or, as the last, a literal with '*' at its end. */
static bool token_ok(const uint8_t *token, size_t len, bool last)
{
    for (size_t i = 0; i < len; i++) {
        bool whole = len == 1;
        if ((token[i] == '*' && !whole && !(last && i == len - 1)) ||
            (token[i] == '>' && !(whole && last))) {
            return false;
        }
    }
    return true;
}

int cat_subject_valid(struct chassis_view pattern, struct chassis_error *err)
{
    if (pattern.len == 0 || pattern.len > CAT_SUBJECT_PATTERN_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "pattern '%s' has %zu bytes, 1 to %d are taken",
                                 cat_quote(pattern).text, pattern.len, CAT_SUBJECT_PATTERN_MAX);
    }
    if (!cat_check_string(pattern)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "pattern '%s' is not valid UTF-8 or holds a control character",
                                 cat_quote(pattern).text);
    }
    for (size_t begin = 0, end; begin <= pattern.len; begin = end + 1) {
        for (end = begin; end < pattern.len && !is_separator(pattern.data[end]); end++) {
        }
        if (!token_ok(pattern.data + begin, end - begin, end == pattern.len)) {
            return chassis_error_set(
                err, CHASSIS_INVALID_ARGUMENT,
                "pattern '%s': '*' stands for a token or ends the pattern, '>' is the last token",
                cat_quote(pattern).text);
        }
    }
    return 0;
}

bool cat_subject_is_exact(struct chassis_view pattern)
{
    return memchr(pattern.data, '*', pattern.len) == NULL &&
           memchr(pattern.data, '>', pattern.len) == NULL;
}

bool cat_subject_match(struct chassis_view pattern, struct chassis_view name)
{
    const uint8_t *n = name.data;
    size_t left = name.len;
    if (left == 0) {
        return false;
    }
    for (size_t i = 0; i < pattern.len; i++) {
        uint8_t c = pattern.data[i];
        if (c == '>') {
            return left > 0;
        }
        if (c == '*') {
            bool token = (i == 0 || is_separator(pattern.data[i - 1])) &&
                         (i + 1 == pattern.len || is_separator(pattern.data[i + 1]));
            if (!token) {
                return true; /* the pattern's end */
            }
            size_t taken = 0;
            while (taken < left && !is_separator(n[taken])) {
                taken++;
            }
            if (taken == 0) {
                return false;
            }
            n += taken;
            left -= taken;
            continue;
        }
        if (left == 0 || *n != c) {
            return false;
        }
        n++;
        left--;
    }
    return left == 0;
}
