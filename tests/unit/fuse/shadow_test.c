/* Routes that never win: what is said is true, and the plain cases are said. */
#include "test.h"

#include "fuse/control_plane/match.h"
#include "fuse/control_plane/order.h"
#include "fuse/control_plane/shadow.h"

#include "random.h"

static bool covers(struct fuse_route *a, struct fuse_route *b)
{
    bool yes = fuse_covers(a, b);
    fuse_route_unref(a);
    fuse_route_unref(b);
    return yes;
}
#define R(...) route(.name = "r", __VA_ARGS__)

static void what_is_plainly_covered_is_found(void **state)
{
    (void)state;
    static const char *const get_post[] = {"GET", "POST"};
    assert_true(covers(R(.path = "/"), R(.path = "/a", .method = "GET", .grpc = true)));
    assert_true(covers(R(.path = "/a"), R(.exact = "/ab")));
    assert_false(covers(R(.path = "/a"), R(.regex = "/a|/b")));
    assert_true(covers(R(.path = "/a"), R(.regex = "/ab*")));
    assert_false(covers(R(.path = "/ab"), R(.regex = "/ab*")));
    assert_true(covers(R(.regex = "/a.*"), R(.regex = "/a.*")));
    assert_true(covers(R(.regex = "/a.*"), R(.exact = "/abc")));
    assert_false(covers(R(.regex = "/a.*"), R(.path = "/a")));
    assert_false(covers(R(.path = "/ab"), R(.path = "/a")));
    assert_true(covers(R(.host = "*"), R(.host = "*.b")));
    assert_true(covers(R(.host = "*.b"), R(.host = "a.b")));
    assert_true(covers(R(.host = "*.b"), R(.host = "*.a.b")));
    assert_false(covers(R(.host = "*.a.b"), R(.host = "*.b")));
    assert_false(covers(R(.host = "*.b"), R(.host = "*")));
    assert_false(covers(R(.host = "a.b"), R(.host = "*.b")));
    assert_false(covers(R(.method = "GET"), R(.path = "/")));
    assert_true(covers(R(.rest = {.methods = get_post, .n_methods = 2}), R(.method = "POST")));
    assert_false(covers(R(.method = "POST"), R(.rest = {.methods = get_post, .n_methods = 2})));
    assert_false(covers(R(.grpc = true), R(.path = "/")));
    assert_true(covers(R(.header = "x"), R(.header = "x", .header_is = "1")));
    assert_false(covers(R(.header = "x", .header_is = "1"), R(.header = "x")));
    assert_false(covers(R(.header = "x"), R(.header = "y")));
    assert_true(covers(R(.query = "x"), R(.query = "x", .query_is = "")));
    assert_false(covers(R(.query = "x"), R(.header = "x")));
    assert_true(covers(R(.path = "/"), R(.group = "g", .listener = "l")));
    assert_false(covers(R(.group = "g"), R(.path = "/")));
    assert_false(covers(R(.group = "g"), R(.group = "h")));
    assert_false(covers(R(.listener = "l"), R(.path = "/")));
}

static bool takes(const struct fuse_route *r, const char *group, const char *listener,
                  const struct fuse_request *request)
{
    struct fuse_look look;
    fuse_look_init(&look, request);
    bool yes = fuse_route_in_group(r, group) && fuse_route_on_listener(r, listener) &&
               fuse_host_matches(r->host, request->host) && fuse_look_matches(&look, r, NULL);
    fuse_look_fini(&look);
    return yes;
}

static void a_covered_route_never_has_a_request_of_its_own(void **state)
{
    (void)state;
    enum { SEEDS = 200, ROUTES = 24, REQUESTS = 100 };
    unsigned covered = 0, met = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct chassis_prng prng;
        struct fuse_route *routes[ROUTES];
        struct random_request r;
        chassis_prng_init(&prng, seed);
        for (unsigned i = 0; i < ROUTES; i++) {
            routes[i] = random_route(&prng, "r");
        }
        for (unsigned k = 0; k < REQUESTS; k++) {
            const char *group = RANDOM_OF(&prng, random_groups);
            const char *listener = RANDOM_OF(&prng, random_listeners);
            bool taken[ROUTES];
            random_request(&prng, &r);
            for (unsigned i = 0; i < ROUTES; i++) {
                taken[i] = takes(routes[i], group, listener, &r.request);
            }
            for (unsigned i = 0; i < ROUTES * ROUTES; i++) {
                unsigned a = i / ROUTES, b = i % ROUTES;
                if (k == 0) {
                    covered += a != b && fuse_covers(routes[a], routes[b]);
                }
                if (taken[b] && fuse_covers(routes[a], routes[b])) {
                    met += a != b;
                    assert_true(taken[a]);
                }
            }
        }
        for (unsigned i = 0; i < ROUTES; i++) {
            fuse_route_unref(routes[i]);
        }
    }
    assert_true(covered > 1000 && met > 1000); /* else nothing was tried */
}

/* Every comparison of random.h's texts. */
static unsigned all_matches(struct fuse_named_match out[128])
{
    unsigned n = 0;
    for (int invert = 0; invert < 2; invert++) {
        for (enum fuse_match_kind kind = 0; kind <= FUSE_MATCH_PRESENT; kind++) {
            bool regex = kind == FUSE_MATCH_REGEX;
            size_t texts = regex                        ? sizeof random_value_regexes
                           : kind == FUSE_MATCH_PRESENT ? sizeof(char *)
                                                        : sizeof random_texts;
            for (size_t i = 0; i < texts / sizeof(char *); i++) {
                const char *text = regex                        ? random_value_regexes[i]
                                   : kind == FUSE_MATCH_PRESENT ? ""
                                                                : random_texts[i];
                out[n++] = (struct fuse_named_match){
                    .name = "x", .value = {.kind = kind, .invert = invert != 0, .text = text}};
            }
        }
    }
    return n;
}

static struct fuse_route *with_header(const struct fuse_named_match *match)
{
    struct fuse_named_match m = *match;
    if (m.value.kind == FUSE_MATCH_REGEX) {
        m.value.regex = fixture_regex(m.value.text);
    }
    return route(.name = "r", .rest = {.headers = &m, .n_headers = 1});
}

/* Absent, and every text of up to four of "abc". */
enum { VALUES = 1 + 1 + 3 + 9 + 27 + 81 };
static void all_values(char out[VALUES][8])
{
    unsigned n = 1, from = 1, to = 2;
    out[n++][0] = '\0';
    for (unsigned len = 1; len <= 4; len++) {
        for (unsigned i = from; i < to; i++) {
            for (char c = 'a'; c <= 'c'; c++) {
                snprintf(out[n++], 8, "%.5s%c", out[i], c);
            }
        }
        from = to;
        to = n;
    }
    assert_int_equal(n, VALUES);
}

static void no_comparison_covers_what_it_does_not(void **state)
{
    (void)state;
    struct fuse_named_match matches[128];
    static bool taken[128][VALUES];
    static char values[VALUES][8];
    struct fuse_route *routes[128];
    unsigned n = all_matches(matches), said = 0, holds = 0;
    all_values(values);
    for (unsigned i = 0; i < n; i++) {
        routes[i] = with_header(&matches[i]);
        for (unsigned v = 0; v < VALUES; v++) {
            struct chassis_view value = chassis_view_str(values[v]);
            taken[i][v] = fuse_string_matches(&routes[i]->headers[0].value, v > 0 ? &value : NULL);
        }
    }
    for (unsigned a = 0; a < n; a++) {
        for (unsigned b = 0; b < n; b++) {
            bool truth = true;
            for (unsigned v = 0; v < VALUES; v++) {
                truth = truth && (taken[a][v] || !taken[b][v]);
            }
            bool yes = fuse_covers(routes[a], routes[b]);
            if (yes && !truth) {
                fail_msg("%d%s '%s' does not cover %d%s '%s'", (int)matches[a].value.kind,
                         matches[a].value.invert ? "!" : "", matches[a].value.text,
                         (int)matches[b].value.kind, matches[b].value.invert ? "!" : "",
                         matches[b].value.text);
            }
            said += yes;
            holds += truth;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        fuse_route_unref(routes[i]);
    }
    assert_true(said * 3 > holds * 2); /* of those that hold most are found */
}

struct world {
    struct fuse_model *model;
    struct fuse_problems problems;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->model = fuse_model_new();
    fixture_instance(w->model, 1, .pid = "1", .service = "s");
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    fuse_model_free(w->model);
    free(w);
    return 0;
}

/* What is said of a route, one line each. */
static const char *check(struct world *w, const struct fuse_route *r)
{
    static char text[4096];
    text[0] = '\0';
    memset(&w->problems, 0, sizeof w->problems);
    fuse_shadow_check(w->model, r, &w->problems);
    for (unsigned i = 0; i < w->problems.n; i++) {
        const struct fuse_problem *p = &w->problems.items[i];
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "%s%s %s", at > 0 ? "\n" : "",
                 p->is_error ? "error" : p->route, p->field);
    }
    fuse_route_unref(r);
    return text;
}

static void the_same_match_twice_is_refused(void **state)
{
    struct world *w = *state;
    fixture_put(w->model, 1,
                route(.name = "a", .path = "/a", .header = "x", .group = "g", .service = "s"));
    assert_string_equal(check(w, route(.name = "b", .path = "/a", .header = "x", .service = "s")),
                        "error match");
    assert_non_null(strstr(w->problems.items[0].text, "'a'"));
    assert_string_equal(
        check(w, route(.name = "b", .path = "/a", .header = "x", .group = "h", .service = "s")),
        "");
    assert_string_equal(check(w, route(.name = "b", .path = "/a", .header = "y", .service = "s")),
                        "");
    assert_string_equal(
        check(w, route(.name = "b", .path = "/a", .header = "x", .host = "h", .service = "s")), "");
    assert_string_equal(check(w, route(.name = "a", .path = "/a", .header = "x", .service = "s")),
                        "");
    assert_string_equal(
        check(w, route(.name = "b", .path = "/a", .header = "x", .priority = 1, .service = "s")),
        "a match");
}

static void routes_that_never_win_are_named(void **state)
{
    struct world *w = *state;
    fixture_put(w->model, 1, route(.name = "all", .path = "/", .priority = 5, .service = "s"));
    fixture_put(w->model, 2, route(.name = "api", .path = "/api", .priority = 6, .service = "s"));
    fixture_put(w->model, 3, route(.name = "x", .path = "/x", .service = "s"));
    assert_string_equal(check(w, route(.name = "new", .path = "/api/v1", .service = "s")),
                        "api match");
    assert_string_equal(w->problems.items[0].text,
                        "gets no request: route 'api' takes all of them, because its priority 6 is "
                        "higher than 0");
    assert_string_equal(check(w, route(.name = "new", .path = "/", .priority = 6, .service = "s")),
                        "all match\nx match");
    assert_string_equal(w->problems.items[1].text,
                        "takes all requests of route 'x', which comes later and gets none");
    /* The route itself does not stand in its own way. */
    assert_string_equal(check(w, route(.name = "all", .path = "/", .priority = 5, .service = "s")),
                        "x match");
    assert_string_equal(check(w, route(.name = "new", .host = "h", .service = "s")), "");
}

static void a_service_nobody_registered_is_named(void **state)
{
    struct world *w = *state;
    static const struct fuse_target targets[] = {
        {"s", "", 0, 1}, {"gone", "", 0, 1}, {"", "h", 1, 1}};
    assert_string_equal(check(w, route(.name = "a", .rest = {.targets = targets, .n_targets = 3})),
                        " targets[1].service");
    fixture_put(w->model, 1, route(.name = "b", .host = "h", .service = "gone"));
    assert_string_equal(check(w, route(.name = "a", .service = "gone")), " targets[0].service");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_plainly_covered_is_found),
        cmocka_unit_test(a_covered_route_never_has_a_request_of_its_own),
        cmocka_unit_test(no_comparison_covers_what_it_does_not),
        TEST(the_same_match_twice_is_refused),
        TEST(routes_that_never_win_are_named),
        TEST(a_service_nobody_registered_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
