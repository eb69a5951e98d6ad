#include "catalyst/push/permit.h"
#include "test.h"

#define MS     UINT64_C(1000000)
#define MINUTE (60000 * MS)

static bool allows(const char *origin, const char *rate, uint32_t *ret_rate)
{
    char why[256] = "";
    const struct cat_permit_answer answer = {200, origin, rate, ""};
    bool yes = cat_permit_read("broker.org", &answer, ret_rate, why, sizeof why);
    assert_int_equal(yes, why[0] == '\0'); /* what is refused is refused with a reason */
    return yes;
}

static void an_endpoint_allows_us_by_name_or_everybody(void **state)
{
    uint32_t rate = 7;
    assert_true(allows("*", "", &rate));
    assert_int_equal(rate, 0);
    assert_true(allows("Broker.ORG", "*", &rate));
    assert_int_equal(rate, 0);
    assert_true(allows("broker.org", "120", &rate));
    assert_int_equal(rate, 120);
    assert_true(allows("*", "0060", &rate));
    assert_int_equal(rate, 60);
    assert_true(allows("*", "99999999999999999999", &rate)); /* more than we ever send */
    assert_int_equal(rate, 0);
}

static void anything_else_is_no_permission(void **state)
{
    static const char *const rates[] = {"0", "000", "-1", "1.5", "60/s", "**", "?", " 60"};
    uint32_t rate;
    char why[256];
    assert_false(allows("", "*", &rate));
    assert_false(allows("broker.org.evil.com", "*", &rate));
    assert_false(allows("broker", "*", &rate));
    assert_false(allows("* ", "*", &rate));
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        assert_false(allows("*", rates[i], &rate));
    }
    static const unsigned codes[] = {0, 100, 199, 300, 301, 400, 405, 500};
    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        const struct cat_permit_answer answer = {codes[i], "*", "*", "connection refused"};
        assert_false(cat_permit_read("broker.org", &answer, &rate, why, sizeof why));
        assert_non_null(strstr(why, codes[i] == 0 ? "connection refused" : "HTTP"));
    }
}

static void only_hosts_that_are_named_are_exempt(void **state)
{
    static const char *const hosts[] = {"hooks.internal", "127.0.0.1:8080", "[::1]", ""};
    static const char *const yes[] = {
        "http://hooks.internal",   "https://HOOKS.internal:8443/x",
        "http://hooks.internal?q", "http://127.0.0.1:8080/hook",
        "http://[::1]/",           "http://[::1]:99/",
    };
    static const char *const no[] = {
        "http://127.0.0.1/hook",
        "http://127.0.0.1:80800/hook",
        "http://hooks.internal.evil.com/",
        "http://evil.com/hooks.internal",
        "http://evil.com?hooks.internal",
        "http://hooks.internal@evil.com/",
        "http://hooks.internal:x@evil.com/",
        "http://hooks.internal\\@evil.com/",
        "http://hooks.internal%00.evil.com/",
        "http://evil.com#@hooks.internal",
        "http://[::1/",
        "http:///hook",
        "hooks.internal",
    };
    static const char *const all[] = {"*"};
    for (unsigned i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        assert_true(cat_permit_exempt(hosts, 4, yes[i]));
    }
    for (unsigned i = 0; i < sizeof no / sizeof no[0]; i++) {
        assert_false(cat_permit_exempt(hosts, 4, no[i]));
        assert_true(cat_permit_exempt(all, 1, no[i]));
    }
    assert_false(cat_permit_exempt(NULL, 0, yes[0]));
}

static void an_origin_is_a_plain_name(void **state)
{
    char longest[255];
    memset(longest, 'a', sizeof longest);
    longest[253] = '\0';
    assert_true(cat_permit_origin_valid(longest));
    assert_true(cat_permit_origin_valid("events.example.org"));
    longest[253] = 'a';
    longest[254] = '\0';
    assert_false(cat_permit_origin_valid(longest));
    assert_false(cat_permit_origin_valid(""));
    assert_false(cat_permit_origin_valid("*"));
    assert_false(cat_permit_origin_valid("a\r\nx: y"));
}

/* Whenever somebody with random pauses and random bursts takes what is allowed, any minute sees at most
 * the rate; and who takes all he gets, gets nearly all of it. */
static void no_minute_sees_more_than_the_rate(void **state)
{
    static const uint32_t rates[] = {1, 2, 59, 600, 601, 5000, 60000};
    static uint64_t taken[400000];
    srand(4);
    for (unsigned r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        for (unsigned lazy = 0; lazy < 2; lazy++) {
            struct cat_rate rate;
            size_t n = 0, from = 0;
            uint64_t now = 5 * MINUTE, end = now + 4 * MINUTE;
            cat_rate_init(&rate, rates[r]);
            while (now < end) {
                for (uint32_t k = cat_rate_allows(&rate, now); k != 0; k--) {
                    cat_rate_take(&rate, now);
                    taken[n++] = now;
                }
                uint64_t due = cat_rate_due(&rate);
                assert_true(due > now || cat_rate_allows(&rate, now) != 0);
                now = due > now ? due : now + 1;
                now += lazy && rand() % 50 == 0 ? (uint64_t)(rand() % 20000) * MS : 0;
            }
            for (size_t i = 0; i < n; i++) {
                while (taken[from] + MINUTE <= taken[i]) {
                    from++;
                }
                assert_true(i - from + 1 <= rates[r]);
            }
            assert_true(lazy || n >= 4 * (size_t)rates[r] * 99 / 100);
        }
    }
    struct cat_rate unlimited;
    cat_rate_init(&unlimited, 0);
    cat_rate_take(&unlimited, MINUTE);
    assert_int_equal(cat_rate_allows(&unlimited, MINUTE), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_endpoint_allows_us_by_name_or_everybody),
        cmocka_unit_test(anything_else_is_no_permission),
        cmocka_unit_test(only_hosts_that_are_named_are_exempt),
        cmocka_unit_test(an_origin_is_a_plain_name),
        cmocka_unit_test(no_minute_sees_more_than_the_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
