/* Random routes and requests: the decision is the one that looking at all routes gives, by a reference
 * that shares no code with the product; and the order is one. */
#include "test.h"

#include "fuse/control_plane/decide.h"
#include "fuse/control_plane/order.h"

#include "random.h"

enum { ROUTES = 24, REQUESTS = 150, SEEDS = 200 };

/* The expressions of random.h, by hand. */
static bool ref_regex(const char *pattern, const char *text)
{
    bool slash = pattern[0] == '/';
    if (slash && strcmp(pattern, "/a|/b") != 0) {
        return text[0] == '/' && ref_regex(pattern + 1, text + 1);
    }
    size_t n = strlen(text);
    if (strcmp(pattern, "a.*") == 0) {
        return text[0] == 'a';
    }
    if (strcmp(pattern, "[ab]") == 0 || strcmp(pattern, "a|b") == 0) {
        return strcmp(text, "a") == 0 || strcmp(text, "b") == 0;
    }
    if (strcmp(pattern, "/a|/b") == 0) {
        return strcmp(text, "/a") == 0 || strcmp(text, "/b") == 0;
    }
    if (strcmp(pattern, ".*b") == 0) {
        return n > 0 && text[n - 1] == 'b';
    }
    if (strcmp(pattern, "ab?") == 0) {
        return strcmp(text, "a") == 0 || strcmp(text, "ab") == 0;
    }
    if (strcmp(pattern, "a.+") == 0) {
        return text[0] == 'a' && n > 1;
    }
    assert_string_equal(pattern, "a/.+");
    return strncmp(text, "a/", 2) == 0 && n > 2;
}

static bool ref_text(const struct fuse_string_match *m, const char *value /* NULL = absent */)
{
    bool yes = false;
    if (value != NULL) {
        size_t n = strlen(value), k = strlen(m->text);
        yes = m->kind == FUSE_MATCH_EXACT      ? strcmp(value, m->text) == 0
              : m->kind == FUSE_MATCH_PREFIX   ? strncmp(value, m->text, k) == 0
              : m->kind == FUSE_MATCH_SUFFIX   ? n >= k && strcmp(value + n - k, m->text) == 0
              : m->kind == FUSE_MATCH_CONTAINS ? strstr(value, m->text) != NULL
              : m->kind == FUSE_MATCH_REGEX    ? ref_regex(m->text, value)
                                               : true;
    }
    return m->invert ? !yes : yes;
}

static const char *ref_header(const struct fuse_request *r, const char *name, char out[64])
{
    const char *value = NULL;
    out[0] = '\0';
    for (unsigned i = 0; i < r->n_headers; i++) {
        if (strcmp(r->headers[i].name, name) == 0) {
            strcat(strcat(out, value != NULL ? "," : ""), r->headers[i].value);
            value = out;
        }
    }
    return value;
}

static const char *ref_query(const struct fuse_request *r, const char *name, char out[64])
{
    const char *at = strchr(r->path, '?');
    size_t n = strlen(name);
    while (at != NULL) {
        at++;
        if (strncmp(at, name, n) == 0 && strchr("=&", at[n]) != NULL) {
            snprintf(out, 64, "%s", at[n] == '=' ? at + n + 1 : "");
            out[strcspn(out, "&")] = '\0';
            return out;
        }
        at = strchr(at, '&');
    }
    return NULL;
}

static bool ref_conditions(const struct fuse_route *t, const struct fuse_request *r)
{
    char value[64];
    bool method = t->n_methods == 0;
    for (unsigned i = 0; i < t->n_methods; i++) {
        method = method || strcmp(t->methods[i], r->method) == 0;
    }
    const char *type = ref_header(r, "content-type", value);
    bool grpc = type != NULL && (strcmp(type, "application/grpc") == 0 ||
                                 strcmp(type, "application/grpc+proto") == 0);
    bool all = method && (grpc || !t->grpc);
    for (unsigned i = 0; i < t->n_headers; i++) {
        all = all && ref_text(&t->headers[i].value, ref_header(r, t->headers[i].name, value));
    }
    for (unsigned i = 0; i < t->n_queries; i++) {
        all = all && ref_text(&t->queries[i].value, ref_query(r, t->queries[i].name, value));
    }
    return all;
}

static bool ref_matches(const struct fuse_route *t, const struct fuse_request *r)
{
    char path[64];
    snprintf(path, sizeof path, "%s", r->path);
    path[strcspn(path, "?")] = '\0';
    bool fits = t->path_kind == FUSE_PATH_EXACT    ? strcmp(path, t->path) == 0
                : t->path_kind == FUSE_PATH_PREFIX ? strstr(path, t->path) == path
                                                   : ref_regex(t->path, path);
    return fits && ref_conditions(t, r);
}

/* How exact a host is for a request; 0 = it is not for it. */
static size_t ref_host(const char *pattern, const char *host)
{
    size_t n = strlen(host), k = strlen(pattern);
    if (strcmp(pattern, "*") == 0) {
        return 1;
    }
    if (pattern[0] != '*') {
        return strcasecmp(pattern, host) == 0 ? 1000 : 0;
    }
    return n >= k && strcasecmp(host + n - (k - 1), pattern + 1) == 0 ? k : 0;
}

static bool ref_listed(const char *const *list, unsigned n, const char *text)
{
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(list[i], text) == 0) {
            return true;
        }
    }
    return n == 0;
}

/* The rank in which README.md puts them, as one text to compare. */
static void ref_rank(const struct fuse_entry *e, char out[256])
{
    const struct fuse_route *t = e->route;
    unsigned length = t->path_kind == FUSE_PATH_PREFIX ? (unsigned)strlen(t->path) : 0;
    unsigned conditions =
        t->n_headers + t->n_queries + (t->n_methods > 0 ? 1 : 0) + (t->grpc ? 1 : 0);
    snprintf(out, 256, "%04d %d %04u %04u %08u %s", 1000 - (int)t->priority, (int)t->path_kind,
             9999 - length, 9999 - conditions, (unsigned)e->created_version, t->name);
}

struct ref_world {
    struct fuse_entry seen[ROUTES]; /* what the view should have */
    unsigned n;
};

static const struct fuse_entry *ref_decide(const struct ref_world *w, const char *group,
                                           const char *listener, const struct fuse_request *r)
{
    size_t exact = 0;
    const struct fuse_entry *best = NULL;
    char best_rank[256] = "", rank[256];
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < w->n; i++) {
            const struct fuse_entry *e = &w->seen[i];
            if (!ref_listed(e->route->groups, e->route->n_groups, group) ||
                !ref_listed(e->route->listeners, e->route->n_listeners, listener)) {
                continue;
            }
            size_t how = ref_host(e->route->host, r->host);
            if (pass == 0) {
                exact = how > exact ? how : exact;
            } else if (how == exact && how > 0 && ref_matches(e->route, r)) {
                ref_rank(e, rank);
                if (best == NULL || strcmp(rank, best_rank) < 0) {
                    best = e;
                    strcpy(best_rank, rank);
                }
            }
        }
    }
    return best;
}

/* Routes in the model, some of them replaced in the view, and what should be seen of it. */
static void make(struct chassis_prng *prng, struct fuse_model *model, struct fuse_view *view,
                 struct ref_world *w)
{
    char name[16];
    w->n = 0;
    for (unsigned i = 0; i < ROUTES; i++) {
        snprintf(name, sizeof name, "r%02u", (unsigned)chassis_prng_below(prng, 100));
        if (fuse_model_route(model, name) != NULL) {
            continue;
        }
        struct fuse_route *r = random_route(prng, name);
        struct fuse_entry e = {.route = r,
                               .version = 1000 + i,
                               .created_version = 1 + chassis_prng_below(prng, 8),
                               .actor = ""};
        fuse_model_put_route(model, r, e.version, e.created_version, 0, "");
        if (chassis_prng_chance(prng, 0.1)) {
            fuse_view_override(view, name, NULL);
            fuse_route_unref(r);
            continue;
        }
        if (chassis_prng_chance(prng, 0.15)) {
            fuse_route_unref(r);
            e.route = random_route(prng, name);
            e.version = 1;
            fuse_view_override(view, name, &e);
        }
        w->seen[w->n++] = e;
    }
}

static void a_decision_is_what_looking_at_all_routes_gives(void **state)
{
    (void)state;
    unsigned found = 0, none = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct chassis_prng prng;
        struct ref_world w;
        struct random_request r;
        chassis_prng_init(&prng, seed);
        struct fuse_model *model = fuse_model_new();
        struct fuse_view *view = fuse_view_new(model, "g1");
        make(&prng, model, view, &w);
        for (unsigned i = 0; i < REQUESTS; i++) {
            random_request(&prng, &r);
            const struct fuse_entry *expected = ref_decide(&w, "g1", "l1", &r.request);
            const struct fuse_entry *got = fuse_decide(view, "l1", &r.request);
            if ((expected == NULL) != (got == NULL) ||
                (got != NULL && (got->version != expected->version ||
                                 strcmp(got->route->name, expected->route->name) != 0))) {
                fail_msg("seed %u request %u %s %s%s: %s, not %s", seed, i, r.request.method,
                         r.request.host, r.path, got != NULL ? got->route->name : "none",
                         expected != NULL ? expected->route->name : "none");
            }
            *(got != NULL ? &found : &none) += 1;
        }
        for (unsigned i = 0; i < w.n; i++) {
            fuse_route_unref(w.seen[i].route);
        }
        fuse_view_free(view);
        fuse_model_free(model);
    }
    assert_true(found > SEEDS * REQUESTS / 10); /* else the alphabets are wrong */
    assert_true(none > SEEDS * REQUESTS / 10);
}

static void an_explanation_names_the_same_winner_and_every_route_once(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct chassis_prng prng;
        struct ref_world w;
        struct random_request r;
        chassis_prng_init(&prng, seed);
        struct fuse_model *model = fuse_model_new();
        struct fuse_view *view = fuse_view_new(model, "g2");
        make(&prng, model, view, &w);
        for (unsigned i = 0; i < 50; i++) {
            struct chassis_arena arena;
            struct fuse_decision d;
            unsigned wins = 0;
            random_request(&prng, &r);
            chassis_arena_init(&arena, NULL, 0, 0);
            fuse_decide_explain(view, "l2", &r.request, &arena, &d);
            assert_ptr_equal(d.winner, fuse_decide(view, "l2", &r.request));
            for (unsigned j = 0; j < d.n_verdicts; j++) {
                wins += d.verdicts[j].outcome == FUSE_WINS;
                assert_true((d.verdicts[j].outcome == FUSE_WINS) ==
                            (d.verdicts[j].entry == d.winner));
                assert_true(d.verdicts[j].reason[0] != '\0');
                for (unsigned k = 0; k < j; k++) {
                    assert_ptr_not_equal(d.verdicts[j].entry, d.verdicts[k].entry);
                }
            }
            assert_int_equal(wins, d.winner != NULL);
            chassis_arena_fini(&arena);
        }
        for (unsigned i = 0; i < w.n; i++) {
            fuse_route_unref(w.seen[i].route);
        }
        fuse_view_free(view);
        fuse_model_free(model);
    }
}

struct ref_hosts {
    const struct ref_world *w;
    const struct fuse_view *view;
    unsigned n_routes;
    char last[64];
};

/* One host of the view: its routes are those of the records, in rank. */
static bool check_host(const char *host, void *data)
{
    struct ref_hosts *h = data;
    const struct fuse_entry *entries[ROUTES];
    char last[256] = "", rank[256];
    unsigned n = fuse_view_vhost(h->view, host, "l1", entries, ROUTES), expected = 0;
    assert_true(strcmp(h->last, host) < 0);
    snprintf(h->last, sizeof h->last, "%s", host);
    for (unsigned i = 0; i < h->w->n; i++) {
        const struct fuse_route *r = h->w->seen[i].route;
        expected += strcmp(r->host, host) == 0 && ref_listed(r->groups, r->n_groups, "g1") &&
                    ref_listed(r->listeners, r->n_listeners, "l1");
    }
    assert_int_equal(n, expected);
    assert_true(n > 0);
    for (unsigned i = 0; i < n; i++) {
        ref_rank(entries[i], rank);
        assert_true(strcmp(last, rank) < 0);
        strcpy(last, rank);
        assert_ptr_equal(fuse_view_route(h->view, entries[i]->route->name), entries[i]);
    }
    h->n_routes += n;
    return true;
}

static void a_view_lists_every_host_and_route_it_has(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct chassis_prng prng;
        struct ref_world w;
        chassis_prng_init(&prng, seed);
        struct fuse_model *model = fuse_model_new();
        struct fuse_view *view = fuse_view_new(model, "g1");
        make(&prng, model, view, &w);
        struct ref_hosts h = {.w = &w, .view = view};
        unsigned expected = 0;
        fuse_view_each_host(view, "l1", check_host, &h);
        for (unsigned i = 0; i < w.n; i++) {
            const struct fuse_route *r = w.seen[i].route;
            expected += ref_listed(r->groups, r->n_groups, "g1") &&
                        ref_listed(r->listeners, r->n_listeners, "l1");
            fuse_route_unref(r);
        }
        assert_int_equal(h.n_routes, expected);
        fuse_view_free(view);
        fuse_model_free(model);
    }
}

static int sign(int n)
{
    return n < 0 ? -1 : n > 0;
}

static void the_order_is_one(void **state)
{
    (void)state;
    enum { N = 60 };
    struct chassis_prng prng;
    struct fuse_entry e[N];
    char a[256], b[256], name[16];
    chassis_prng_init(&prng, 42);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof name, "r%02u", i);
        e[i] = (struct fuse_entry){.route = random_route(&prng, name),
                                   .created_version = 1 + chassis_prng_below(&prng, 3)};
    }
    for (unsigned i = 0; i < N; i++) {
        for (unsigned j = 0; j < N; j++) {
            ref_rank(&e[i], a);
            ref_rank(&e[j], b);
            assert_int_equal(sign(fuse_order(&e[i], &e[j])), sign(strcmp(a, b)));
            assert_int_equal(sign(fuse_order(&e[i], &e[j])), -sign(fuse_order(&e[j], &e[i])));
            for (unsigned k = 0; k < N; k++) {
                assert_false(fuse_order(&e[i], &e[j]) < 0 && fuse_order(&e[j], &e[k]) < 0 &&
                             fuse_order(&e[i], &e[k]) >= 0);
            }
        }
    }
    for (unsigned i = 0; i < N; i++) {
        fuse_route_unref(e[i].route);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decision_is_what_looking_at_all_routes_gives),
        cmocka_unit_test(an_explanation_names_the_same_winner_and_every_route_once),
        cmocka_unit_test(a_view_lists_every_host_and_route_it_has),
        cmocka_unit_test(the_order_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
