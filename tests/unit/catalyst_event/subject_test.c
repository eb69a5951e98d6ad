/* Patterns of names, and the index of streams' rules: it finds exactly what matches. */
#include "tests/test.h"

#include "base/prng.h"
#include "catalyst/event/subject.h"
#include "tests/unit/catalyst_event/naive_subject.h"

#define V(text) chassis_view_str(text)

static void patterns_match_what_they_say(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool match;
    } rows[] = {
        {"a.b", "a.b", true},
        {"a.b", "a/b", false},
        {"a.b", "a.b.c", false},
        {"a.b", "a", false},
        {"orders.*.created", "orders.eu.created", true},
        {"orders.*.created", "orders.created", false},
        {"orders.*.created", "orders..created", false},
        {"orders.*.created", "orders.eu/created", false},
        {"orders.*.created", "orders.eu.de.created", false},
        {"*", "one", true},
        {"*", "one.two", false},
        {"*", "", false},
        {">", "one.two/three", true},
        {">", "", false},
        {"/sensors/>", "/sensors/7", true},
        {"/sensors/>", "/sensors/7/temperature", true},
        {"/sensors/>", "/sensors/", false},
        {"/sensors/>", "/sensors", false},
        {"com.example*", "com.example", true},
        {"com.example*", "com.examples.x", true},
        {"com.example*", "com.exampl", false},
        {"*.x*", "a.xyz/k", true},
        {"*.x*", "a.yx", false},
        {"https://example.com/*", "https://example.com/a", true},
        {"*.*", "a.b", true},
        {"*.*", "a.", false},
        {"a.", "a.", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(cat_subject_valid(V(rows[i].pattern), NULL), 0);
        if (cat_subject_match(V(rows[i].pattern), V(rows[i].name)) != rows[i].match ||
            naive_match(V(rows[i].pattern), V(rows[i].name)) != rows[i].match) {
            fail_msg("'%s' on '%s'", rows[i].pattern, rows[i].name);
        }
    }
}

static void bad_patterns_are_refused(void **state)
{
    static const char *const bad[] = {"",    "a>",    "a.>.b", "a*b",  "a*.b", "**",
                                      "a**", "*a",    ">>",    "a.>b", "\n",   "\xff",
                                      ">.",  "a.b*c", "*a.b",  "a*/b", "x.**"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct chassis_error err = {0};
        if (cat_subject_valid(V(bad[i]), &err) != CHASSIS_INVALID_ARGUMENT) {
            fail_msg("'%s' was taken", bad[i]);
        }
        assert_int_not_equal(strlen(err.text), 0);
    }
    char text[CAT_SUBJECT_PATTERN_MAX + 1];
    memset(text, 'x', sizeof text);
    assert_int_equal(cat_subject_valid(chassis_view(text, CAT_SUBJECT_PATTERN_MAX), NULL), 0);
    assert_int_not_equal(cat_subject_valid(chassis_view(text, sizeof text), NULL), 0);
    assert_true(cat_subject_is_exact(V("a.b")));
    assert_false(cat_subject_is_exact(V("a.*")));
    assert_false(cat_subject_is_exact(V(">")));
}

static void count_each(void *data, uint32_t id)
{
    ((unsigned *)data)[id]++;
}

static void an_id_is_told_once_and_can_be_forgotten(void **state)
{
    struct cat_subject_index *index = cat_subject_index_new();
    struct chassis_view none = V("");
    unsigned seen[4] = {0};
    assert_int_equal(cat_subject_index_add(index, 1, none, V("a.b"), none, NULL), 0);
    assert_int_equal(cat_subject_index_add(index, 1, none, V("a.*"), none, NULL), 0);
    assert_int_equal(cat_subject_index_add(index, 1, V("s"), none, none, NULL), 0);
    assert_int_equal(cat_subject_index_add(index, 2, none, none, none, NULL), 0);
    assert_int_equal(cat_subject_index_add(index, 3, none, V("a.b"), V("x.>"), NULL), 0);
    assert_int_equal(cat_subject_index_add(index, 3, none, V("a*b"), none, NULL),
                     CHASSIS_INVALID_ARGUMENT);
    cat_subject_index_match(index, V("s"), V("a.b"), none, count_each, seen);
    assert_true(seen[1] == 1 && seen[2] == 1 && seen[3] == 0);
    cat_subject_index_match(index, V("s"), V("a.b"), V("x.y"), count_each, seen);
    assert_true(seen[1] == 2 && seen[2] == 2 && seen[3] == 1);
    cat_subject_index_remove(index, 1);
    cat_subject_index_remove(index, 1);
    assert_int_equal(cat_subject_index_count(index), 2);
    cat_subject_index_match(index, V("s"), V("a.b"), V("x.y"), count_each, seen);
    assert_true(seen[1] == 2 && seen[2] == 3 && seen[3] == 2);
    cat_subject_index_free(index);
}

static const char *const words[] = {"a", "b", "order", "eu", "created", "s7"};

/* A name, or a pattern when `wild`. */
static struct chassis_view invent(struct chassis_prng *prng, bool wild, char out[128])
{
    size_t n = 1 + chassis_prng_below(prng, 4), len = 0;
    for (size_t i = 0; i < n; i++) {
        bool last = i + 1 == n;
        uint64_t kind = wild ? chassis_prng_below(prng, 8) : 7;
        const char *word = words[chassis_prng_below(prng, 6)];
        len += (size_t)snprintf(out + len, 128 - len, "%s%s%s",
                                kind == 0           ? "*"
                                : kind == 1 && last ? ">"
                                                    : word,
                                kind == 2 && last ? "*" : "",
                                last                               ? ""
                                : chassis_prng_below(prng, 4) == 0 ? "/"
                                                                   : ".");
    }
    return chassis_view(out, len);
}

struct model_rule {
    char text[3][128];
    struct chassis_view pattern[3];
    uint32_t id;
};

static bool model_takes(const struct model_rule *rule, const struct chassis_view names[3])
{
    for (int f = 0; f < 3; f++) {
        if (rule->pattern[f].len != 0 && !naive_match(rule->pattern[f], names[f])) {
            return false;
        }
    }
    return true;
}

static void the_index_finds_exactly_what_matches(void **state)
{
    enum { IDS = 200, ROUNDS = 3000 };
    struct chassis_prng prng;
    struct cat_subject_index *index = cat_subject_index_new();
    static struct model_rule rules[4 * IDS];
    size_t n = 0, found = 0;
    chassis_prng_init(&prng, 7);
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t id = (uint32_t)chassis_prng_below(&prng, IDS);
        if (chassis_prng_below(&prng, 4) == 0 || n == 4 * IDS) {
            cat_subject_index_remove(index, id);
            size_t kept = 0;
            for (size_t i = 0; i < n; i++) {
                if (rules[i].id != id) {
                    struct model_rule copy = rules[i];
                    for (int f = 0; f < 3; f++) {
                        copy.pattern[f].data = (uint8_t *)rules[kept].text[f];
                    }
                    rules[kept++] = copy;
                }
            }
            n = kept;
        } else {
            struct model_rule *r = &rules[n++];
            r->id = id;
            for (int f = 0; f < 3; f++) {
                r->pattern[f] = chassis_prng_below(&prng, 3) == 0 ? chassis_view(r->text[f], 0)
                                                                  : invent(&prng, true, r->text[f]);
            }
            assert_int_equal(
                cat_subject_index_add(index, id, r->pattern[0], r->pattern[1], r->pattern[2], NULL),
                0);
        }
        assert_int_equal(cat_subject_index_count(index), n);
        char text[3][128];
        struct chassis_view names[3] = {
            invent(&prng, false, text[0]), invent(&prng, false, text[1]),
            chassis_prng_below(&prng, 3) == 0 ? V("") : invent(&prng, false, text[2])};
        unsigned seen[IDS] = {0}, expected[IDS] = {0};
        cat_subject_index_match(index, names[0], names[1], names[2], count_each, seen);
        for (size_t i = 0; i < n; i++) {
            expected[rules[i].id] |= model_takes(&rules[i], names);
        }
        assert_memory_equal(seen, expected, sizeof seen);
        for (int i = 0; i < IDS; i++) {
            found += seen[i];
        }
    }
    assert_true(found > ROUNDS); /* the test did see matches */
    cat_subject_index_free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_what_they_say),
        cmocka_unit_test(bad_patterns_are_refused),
        cmocka_unit_test(an_id_is_told_once_and_can_be_forgotten),
        cmocka_unit_test(the_index_finds_exactly_what_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
