/* Which route a request takes, and what a user is told about the others. */
#include "test.h"

#include "fuse/control_plane/decide.h"

#include "fixture.h"

struct world {
    struct fuse_model *model;
    struct fuse_view *view;
    struct chassis_arena arena;
    struct fuse_decision decision;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->model = fuse_model_new();
    w->view = fuse_view_new(w->model, "edge");
    chassis_arena_init(&w->arena, NULL, 0, 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    chassis_arena_fini(&w->arena);
    fuse_view_free(w->view);
    fuse_model_free(w->model);
    free(w);
    return 0;
}

/* Headers as "name: value" lines. */
static const char *ask(struct world *w, const char *method, const char *host, const char *path,
                       const char *headers)
{
    static struct fuse_header parsed[8];
    static char text[256];
    struct fuse_request request = {.method = method, .host = host, .path = path, .headers = parsed};
    snprintf(text, sizeof text, "%s", headers);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char *colon = strchr(line, ':');
        *colon = '\0';
        parsed[request.n_headers++] = (struct fuse_header){line, colon + 2};
    }
    const struct fuse_entry *entry = fuse_decide(w->view, "default", &request);
    fuse_decide_explain(w->view, "default", &request, &w->arena, &w->decision);
    assert_ptr_equal(entry, w->decision.winner);
    return entry != NULL ? entry->route->name : "-";
}

static const char *line(const struct world *w, unsigned i)
{
    static const char *const outcomes[] = {"?", "wins", "later", "no match", "not here"};
    static char text[1024];
    if (i >= w->decision.n_verdicts) {
        return "none";
    }
    const struct fuse_verdict *v = &w->decision.verdicts[i];
    snprintf(text, sizeof text, "%s %s: %s", v->entry->route->name, outcomes[v->outcome],
             v->reason);
    return text;
}

/* Why the only route of its host does not match. */
static const char *why_not(struct world *w, const char *method, const char *path,
                           const char *headers, const struct fuse_route *r)
{
    fixture_put(w->model, fuse_model_revision(w->model) + 1, r);
    assert_string_equal(ask(w, method, "h", path, headers), "-");
    assert_int_equal(w->decision.verdicts[0].outcome, FUSE_NO_MATCH);
    return w->decision.verdicts[0].reason;
}

static void only_the_most_exact_host_with_a_route_is_looked_at(void **state)
{
    struct world *w = *state;
    fixture_put(w->model, 1, route(.name = "all", .priority = 9, .service = "s"));
    fixture_put(w->model, 2, route(.name = "suffix", .host = "*.b.c", .service = "s"));
    fixture_put(w->model, 3,
                route(.name = "long", .host = "*.a.b.c", .path = "/x", .service = "s"));
    fixture_put(w->model, 4, route(.name = "name", .host = "a.b.c", .service = "s"));
    fixture_put(w->model, 5,
                route(.name = "other", .host = "x.b.c", .group = "core", .service = "s"));
    fixture_put(w->model, 6,
                route(.name = "admin", .host = "y.b.c", .listener = "admin", .service = "s"));
    assert_string_equal(ask(w, "GET", "a.b.c", "/", ""), "name");
    assert_string_equal(ask(w, "GET", "A.B.C", "/", ""), "name");
    assert_string_equal(ask(w, "GET", "x.b.c", "/", ""), "suffix");
    assert_string_equal(ask(w, "GET", "y.b.c", "/", ""), "suffix");
    assert_string_equal(ask(w, "GET", "1.2.b.c", "/", ""), "suffix");
    assert_string_equal(ask(w, "GET", "b.c", "/", ""), "all");
    assert_string_equal(ask(w, "GET", ".b.c", "/", ""), "all");
    assert_string_equal(ask(w, "GET", "", "/", ""), "all");
    assert_string_equal(ask(w, "GET", "*", "/", ""), "all");
    assert_string_equal(ask(w, "GET", "z.a.b.c", "/x", ""), "long");
    assert_string_equal(ask(w, "GET", "z.a.b.c", "/y", ""), "-");
    assert_string_equal(w->decision.host, "*.a.b.c");
    fuse_model_delete_route(w->model, "all", 7);
    assert_string_equal(ask(w, "GET", "b.c", "/", ""), "-");
    assert_string_equal(w->decision.host, "");
}

static void a_very_long_host_still_ends_somewhere(void **state)
{
    struct world *w = *state;
    char *host = malloc(100001);
    memset(host, '.', 100000);
    memcpy(host + 100000 - 4, "x.b", 4);
    fixture_put(w->model, 1, route(.name = "suffix", .host = "*.b", .service = "s"));
    assert_string_equal(ask(w, "GET", host, "/", ""), "suffix");
    free(host);
}

static void a_grpc_route_takes_grpc_requests_only(void **state)
{
    struct world *w = *state;
    fixture_put(w->model, 1, route(.name = "g", .path = "/p.S/", .grpc = true, .service = "s"));
    assert_string_equal(ask(w, "POST", "h", "/p.S/M", "content-type: application/grpc"), "g");
    assert_string_equal(ask(w, "POST", "h", "/p.S/M", "Content-Type: application/grpc+json"), "g");
    assert_string_equal(ask(w, "POST", "h", "/p.S/M", "content-type: application/grpc;x=1"), "g");
    assert_string_equal(ask(w, "POST", "h", "/p.S/M", "content-type: application/grpc-web"), "-");
    assert_string_equal(line(w, 0),
                        "g no match: not a gRPC request: content-type is 'application/grpc-web'");
    assert_string_equal(ask(w, "POST", "h", "/p.S/M", ""), "-");
    assert_string_equal(line(w, 0), "g no match: not a gRPC request: content-type is absent");
}

static void paths_are_compared_without_their_query(void **state)
{
    struct world *w = *state;
    fixture_put(w->model, 1, route(.name = "exact", .exact = "/a", .service = "s"));
    fixture_put(w->model, 2, route(.name = "regex", .regex = "/[bc]+", .service = "s"));
    assert_string_equal(ask(w, "GET", "h", "/a?x", ""), "exact");
    assert_string_equal(ask(w, "GET", "h", "/bcb?/", ""), "regex");
    assert_string_equal(ask(w, "GET", "h", "/bcb/", ""), "-");
    assert_string_equal(line(w, 0), "exact no match: path '/bcb/' is not '/a'");
    assert_string_equal(line(w, 1), "regex no match: path '/bcb/' does not match the regular "
                                    "expression '/[bc]+'");
}

static void every_route_of_the_host_has_its_reason(void **state)
{
    struct world *w = *state;
    fixture_put(w->model, 1, route(.name = "low", .host = "h", .service = "s"));
    fixture_put(w->model, 2, route(.name = "twin", .host = "h", .service = "s"));
    fixture_put(w->model, 3, route(.name = "api", .host = "h", .path = "/api", .service = "s"));
    fixture_put(w->model, 4,
                route(.name = "high", .host = "h", .path = "/b", .priority = 5, .service = "s"));
    fixture_put(w->model, 5, route(.name = "core", .host = "h", .group = "core", .service = "s"));
    fixture_put(w->model, 6, route(.name = "adm", .host = "h", .listener = "adm", .service = "s"));
    fixture_put(w->model, 7, route(.name = "all", .service = "s"));
    fixture_put(w->model, 8, route(.name = "elsewhere", .host = "i", .service = "s"));
    fixture_put(w->model, 9, route(.name = "quarantined", .host = "h", .service = "s"));
    fuse_view_override(w->view, "quarantined", NULL);
    assert_string_equal(ask(w, "GET", "h", "/api/x", ""), "api");
    static const char *const lines[] = {
        "high no match: path '/api/x' does not begin with '/b'",
        "api wins: the first route of host 'h' that matches",
        "low later: would match, but 'api' comes first: its prefix '/api' is longer than '/'",
        "twin later: would match, but 'api' comes first: its prefix '/api' is longer than '/'",
        "core not here: only for node group 'core', not 'edge'",
        "adm not here: only on listener 'adm', not 'default'",
        "quarantined not here: quarantined: a proxy of node group 'edge' refused it; the group "
        "goes "
        "without",
        "all later: would match, but its host '*' is less exact than 'h', whose routes alone are "
        "looked at",
        "elsewhere no match: its host 'i' does not match 'h'",
        "none",
    };
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_string_equal(line(w, i), lines[i]);
    }
    assert_string_equal(ask(w, "GET", "h", "/", ""), "low");
    assert_string_equal(line(w, 3), "twin later: would match, but 'low' comes first: it is older");
}

static void the_condition_that_fails_is_named(void **state)
{
    struct world *w = *state;
    struct fuse_named_match m = {.name = "x", .value = {.text = "al"}};
#define WITH_HEADER(kind_, invert_)                                                                \
    (m.value.kind = (kind_), m.value.invert = (invert_),                                           \
     route(.name = "r", .host = "h", .rest = {.headers = &m, .n_headers = 1}, .service = "s"))
    assert_string_equal(why_not(w, "PUT", "/", "",
                                route(.name = "r", .host = "h", .method = "GET", .service = "s")),
                        "method 'PUT' is not GET");
    static const char *const methods[] = {"GET", "HEAD"};
    assert_string_equal(
        why_not(w, "PUT", "/", "",
                route(.name = "r", .host = "h", .rest = {.methods = methods, .n_methods = 2},
                      .service = "s")),
        "method 'PUT' is none of GET, HEAD");
    assert_string_equal(why_not(w, "GET", "/", "", WITH_HEADER(FUSE_MATCH_EXACT, false)),
                        "header 'x' is absent");
    assert_string_equal(why_not(w, "GET", "/", "x: bob", WITH_HEADER(FUSE_MATCH_EXACT, false)),
                        "header 'x' is 'bob': it is not 'al'");
    assert_string_equal(why_not(w, "GET", "/", "x: bob", WITH_HEADER(FUSE_MATCH_PREFIX, false)),
                        "header 'x' is 'bob': it does not begin with 'al'");
    assert_string_equal(
        why_not(w, "GET", "/", "x: all\nx: b", WITH_HEADER(FUSE_MATCH_SUFFIX, false)),
        "header 'x' is 'all,b': it does not end with 'al'");
    assert_string_equal(why_not(w, "GET", "/", "x: bob", WITH_HEADER(FUSE_MATCH_CONTAINS, false)),
                        "header 'x' is 'bob': it does not contain 'al'");
    assert_string_equal(why_not(w, "GET", "/", "x: ally", WITH_HEADER(FUSE_MATCH_CONTAINS, true)),
                        "header 'x' is 'ally': it contains 'al', which the route excludes");
    assert_string_equal(why_not(w, "GET", "/", "x: bob", WITH_HEADER(FUSE_MATCH_PRESENT, true)),
                        "header 'x' is 'bob': it is there, which the route excludes");
    assert_string_equal(why_not(w, "GET", "/", "", WITH_HEADER(FUSE_MATCH_PRESENT, false)),
                        "header 'x' is absent");
    assert_string_equal(why_not(w, "GET", "/?r=1", "",
                                route(.name = "r", .host = "h", .query = "q", .service = "s")),
                        "query parameter 'q' is absent");
    assert_string_equal(
        why_not(w, "GET", "/?q=%20&q=1", "",
                route(.name = "r", .host = "h", .query = "q", .query_is = "1", .service = "s")),
        "query parameter 'q' is '%20': it is not '1'");
#undef WITH_HEADER
}

static void an_absent_header_matches_what_is_excluded(void **state)
{
    struct world *w = *state;
    struct fuse_named_match m = {.name = "x", .value = {.text = "a", .invert = true}};
    for (m.value.kind = FUSE_MATCH_EXACT; m.value.kind <= FUSE_MATCH_PRESENT; m.value.kind++) {
        m.value.regex = m.value.kind == FUSE_MATCH_REGEX ? fixture_regex("a") : NULL;
        fixture_put(w->model, fuse_model_revision(w->model) + 1,
                    route(.name = "r", .rest = {.headers = &m, .n_headers = 1}, .service = "s"));
        assert_string_equal(ask(w, "GET", "h", "/", ""), "r");
        assert_string_equal(ask(w, "GET", "h", "/", "x: a"), "-");
    }
}

static void what_is_shown_is_short_and_printable(void **state)
{
    struct world *w = *state;
    char header[200] = "x: \n\x01\xff\xc3\xa4";
    header[3] = 'b';
    for (unsigned i = 7; i < 150; i += 2) {
        memcpy(header + i, "\xc3\xa4", 3);
    }
    header[4] = '\t';
    const char *why =
        why_not(w, "GET", "/", header,
                route(.name = "r", .host = "h", .header = "x", .header_is = "a", .service = "s"));
    assert_non_null(strstr(why, "'b???"));
    assert_non_null(strstr(why, "\xc3\xa4…': it is not 'a'"));
    assert_true(strlen(why) < 130);
}

static void many_routes_are_cut_but_never_the_winner(void **state)
{
    struct world *w = *state;
    char name[32], path[32];
    for (unsigned i = 0; i < 1500; i++) {
        snprintf(name, sizeof name, "r%04u", i);
        snprintf(path, sizeof path, "/%04u", i);
        fixture_put(w->model, i + 1,
                    route(.name = name, .host = "h", .path = path, .service = "s"));
    }
    assert_string_equal(ask(w, "GET", "h", "/1234", ""), "r1234");
    assert_int_equal(w->decision.n_verdicts, FUSE_VERDICTS_MAX);
    assert_string_equal(line(w, 999), "r1234 wins: the first route of host 'h' that matches");
    assert_string_equal(ask(w, "GET", "i", "/", ""), "-");
    assert_int_equal(w->decision.n_verdicts, FUSE_VERDICTS_MAX);
}

static void a_bounded_arena_cuts_the_explanation_only(void **state)
{
    struct world *w = *state;
    fixture_put(w->model, 1, route(.name = "r", .host = "h", .rewrite = "/b", .service = "s"));
    struct fuse_request request = {.method = "GET", .host = "h", .path = "/"};
    for (size_t limit = 16; limit < 25000; limit += 8000) {
        struct chassis_arena small;
        chassis_arena_init(&small, NULL, 0, limit);
        fuse_decide_explain(w->view, NULL, &request, &small, &w->decision);
        assert_non_null(w->decision.winner);
        chassis_arena_fini(&small);
    }
}

static const char *rewritten(struct world *w, const char *path, struct fuse_route *r)
{
    const char *text = fuse_rewrite(r, path, &w->arena);
    fuse_route_unref(r);
    return text;
}

static void a_rewrite_replaces_what_matched(void **state)
{
    struct world *w = *state;
    assert_string_equal(
        rewritten(w, "/api/v1?q=/api", route(.name = "r", .path = "/api", .rewrite = "/b")),
        "/b/v1?q=/api");
    assert_string_equal(rewritten(w, "/api", route(.name = "r", .path = "/api", .rewrite = "/")),
                        "/");
    assert_string_equal(
        rewritten(w, "/api?q", route(.name = "r", .exact = "/api", .rewrite = "/b")), "/b?q");
    assert_string_equal(rewritten(w, "/api?q", route(.name = "r", .path = "/api")), "/api?q");
    fixture_put(w->model, 1, route(.name = "r", .path = "/api", .rewrite = "/b", .service = "s"));
    ask(w, "GET", "h", "/api/x", "");
    assert_string_equal(w->decision.rewritten_path, "/b/x");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(only_the_most_exact_host_with_a_route_is_looked_at),
        TEST(a_very_long_host_still_ends_somewhere),
        TEST(a_grpc_route_takes_grpc_requests_only),
        TEST(paths_are_compared_without_their_query),
        TEST(every_route_of_the_host_has_its_reason),
        TEST(the_condition_that_fails_is_named),
        TEST(an_absent_header_matches_what_is_excluded),
        TEST(what_is_shown_is_short_and_printable),
        TEST(many_routes_are_cut_but_never_the_winner),
        TEST(a_bounded_arena_cuts_the_explanation_only),
        TEST(a_rewrite_replaces_what_matched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
