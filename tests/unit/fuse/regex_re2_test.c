/* Random patterns, ours and RE2's opinion: what we take RE2 takes, matches the same texts and needs no
 * more instructions than we say. Patterns are made of pieces that mean something, so that many are
 * taken, and then damaged, so that many nearly are.
 */
#include "base/prng.h"
#include "fuse/control_plane/pattern.h"
#include "fuse/control_plane/regex.h"
#include "test.h"

void *re2_compile(const char *pattern, int *ret_size);
int re2_matches(void *regex, const char *text, unsigned long len);
void re2_free(void *regex);

enum { PATTERNS = 100000, TEXTS = 12, PATTERN_MAX = 80, TEXT_MAX = 12 };

static const char *const pieces[] = {
    "a",      "b",        "/",           "A",
    "-",      "_",        ".",           "^",
    "$",      "|",        "(",           ")",
    "(?:",    "(?i:",     "(?s:",        "(?-i:",
    "(?i)",   "(?U)",     "(?m)",        "(?is)",
    "*",      "+",        "?",           "*?",
    "+?",     "??",       "{2}",         "{0}",
    "{0,2}",  "{0,}",     "{1,}",        "{2,3}?",
    "[",      "]",        "[^",          "[ab]",
    "[a-c]",  "[^a]",     "[^/]+",       "[a-]",
    "[-a]",   "[\\]]",    "[[:alpha:]]", "[[:^digit:]b]",
    "[\\d-]", "[\\w.]",   "\\d",         "\\w",
    "\\s",    "\\D",      "\\W",         "\\S",
    "\\b",    "\\B",      "\\A",         "\\z",
    "\\.",    "\\\\",     "\\/",         "\\-",
    "\\x41",  "\\t",      "\\Q",         "\\E",
    "\\1",    "\\C",      "\\pL",        "(?=",
    "(?!",    "(?<=",     "(?P<n>",      "(?>",
    "(?#",    "\\K",      "\\R",         "\\h",
    "\\v",    "{",        "}",           "[:",
    "&&",     "~~",       "#",           " ",
    "\"",     "'",        "%[",          "0",
    "9",      "[!--]",    "[+--]",       "[ -~]",
    "[^\\W]", "[\\s\\S]", "\\$",         "\\ ",
    "\\_",    "\\<",      "[a\\-c]",
};
enum { N_PIECES = sizeof pieces / sizeof *pieces };

static void make_pattern(struct chassis_prng *prng, char out[PATTERN_MAX])
{
    unsigned n = 1 + (unsigned)chassis_prng_below(prng, 8);
    out[0] = '\0';
    int open = 0;
    for (unsigned i = 0; i < n; i++) {
        const char *piece = pieces[chassis_prng_below(prng, N_PIECES)];
        open += piece[0] == '(' && strchr(piece, ')') == NULL;
        open -= piece[0] == ')';
        if (strlen(out) + strlen(piece) + (size_t)(open > 0 ? open : 0) + 2 < PATTERN_MAX) {
            strcat(out, piece);
        }
    }
    while (open-- > 0 && strlen(out) + 1 < PATTERN_MAX) {
        strcat(out, ")");
    }
    if (chassis_prng_below(prng, 2) == 0) { /* and one byte that does not belong */
        out[chassis_prng_below(prng, strlen(out))] =
            (char)(' ' + (char)chassis_prng_below(prng, 95));
    }
}

static size_t make_text(struct chassis_prng *prng, char out[TEXT_MAX])
{
    static const char letters[] = "aabbcAB/-_.09 \\t#~{";
    size_t len = chassis_prng_below(prng, TEXT_MAX);
    for (size_t i = 0; i < len; i++) {
        out[i] = letters[chassis_prng_below(prng, sizeof letters - 1)];
    }
    return len;
}

static void compare(struct chassis_prng *prng, const char *pattern, const struct fuse_regex *ours,
                    void *theirs, unsigned *matches)
{
    for (unsigned i = 0; i < TEXTS; i++) {
        char text[TEXT_MAX];
        size_t len = make_text(prng, text);
        bool here = fuse_regex_matches(ours, chassis_view(text, len));
        if (here != (re2_matches(theirs, text, len) != 0)) {
            fail_msg("'%s' and '%.*s': %s", pattern, (int)len, text, here ? "ours" : "RE2's");
        }
        *matches += here;
    }
}

static void what_we_take_is_the_same_in_re2(void **state)
{
    struct chassis_prng prng;
    unsigned taken = 0, matches = 0;
    chassis_prng_init(&prng, 20260707);
    for (unsigned i = 0; i < PATTERNS; i++) {
        char pattern[PATTERN_MAX];
        struct fuse_regex *ours = NULL;
        int size = 0;
        make_pattern(&prng, pattern);
        if (fuse_regex_new(pattern, &ours, NULL) != 0) {
            continue;
        }
        void *theirs = re2_compile(pattern, &size);
        if (theirs == NULL) {
            fail_msg("RE2 refuses '%s'", pattern);
        }
        if ((unsigned)size > fuse_regex_size(ours)) {
            fail_msg("'%s' has %d instructions, we say %u", pattern, size, fuse_regex_size(ours));
        }
        compare(&prng, pattern, ours, theirs, &matches);
        taken++;
        re2_free(theirs);
        fuse_regex_free(ours);
    }
    assert_true(taken > PATTERNS / 20 && matches > taken / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_we_take_is_the_same_in_re2)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
