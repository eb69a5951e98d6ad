/* Routes whose path begins with "/bad" are refused by proxies that know no better. */
#include "rig.h"

#include <chassis/message.h>

struct taster { /* a proxy that refuses what it cannot digest */
    struct client client;
    bool refuses_all, open;
    unsigned rounds, refusals;
    const char *names;
};

static bool contains_bad(const struct answer *answer)
{
    for (unsigned i = 0; i < answer->n_items; i++) {
        const struct chassis_buf *b = &answer->items[i].bytes;
        if (memmem(b->data, b->len, "/bad", 4) != NULL) {
            return true;
        }
    }
    return false;
}

static void taster_open_by(struct taster *t, struct rig *rig, enum fuse_xds_protocol protocol,
                           const char *id, const char *names)
{
    *t = (struct taster){.names = names, .open = true};
    client_open(&t->client, rig, protocol, "edge", id);
    client_ask(&t->client, FUSE_ROUTES, .names = names);
}

static void taster_open(struct taster *t, struct rig *rig, const char *id, const char *names)
{
    taster_open_by(t, rig, FUSE_XDS_DELTA, id, names);
}

/* Answers one answer; false: there was none. */
static bool taster_taste(struct taster *t)
{
    struct answer *answer = client_take(&t->client);
    if (answer == NULL) {
        return false;
    }
    bool refuse = t->refuses_all || contains_bad(answer);
    t->rounds++;
    t->refusals += refuse;
    client_ask(&t->client, answer->type, .nonce = answer->nonce,
               .error = refuse ? "bad, it says" : NULL,
               .names = t->client.protocol == FUSE_XDS_SOTW ? t->names : NULL);
    answer_free(answer);
    assert_true(t->rounds < 10000);
    return true;
}

static void taste_all(struct taster *tasters, unsigned n)
{
    rig_turn(tasters[0].client.rig);
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < n; i++) {
            any = taster_taste(&tasters[i]) || any;
        }
    }
}

static unsigned quarantined(const struct rig *rig, const char *route)
{
    unsigned n = 0;
    for (unsigned i = 0; i < rig->n_stored; i++) {
        if (strcmp(rig->stored[i].route, route) == 0) {
            n = rig->stored[i].removed ? 0 : n + 1;
        }
    }
    return n;
}

static void the_bad_route_is_kept_away_and_the_others_go_on(void **state)
{
    struct rig *rig = *state;
    struct taster t;
    rig_route(rig, "a", "shop", "x", "");
    rig_route(rig, "b", "shop", "x", "");
    taster_open(&t, rig, "p", "shop");
    taste_all(&t, 1);
    uint64_t before = rig->revision;
    rig_route(rig, "b", "shop", "x", "bad");
    taste_all(&t, 1);
    assert_int_equal(rig->n_stored, 1);
    assert_string_equal(rig->stored[0].group, "edge");
    assert_string_equal(rig->stored[0].route, "b");
    assert_int_equal(rig->stored[0].version, before + 1);
    assert_int_equal(rig->stored[0].instead, before);
    assert_string_equal(rig->stored[0].proxy, "p");
    assert_string_equal(rig->stored[0].text, "bad, it says");
    assert_int_equal(t.refusals, 1);
    struct fuse_view *view = fuse_xds_view(rig->xds, "edge");
    assert_int_equal(fuse_view_route(view, "b")->version, before);
    rig_route(rig, "a", "shop", "x", "new");
    taste_all(&t, 1);
    assert_int_equal(t.refusals, 1);
    client_close(&t.client);
}

static void a_new_bad_route_is_absent_until_it_changes(void **state)
{
    struct rig *rig = *state;
    struct taster t;
    rig_route(rig, "a", "shop", "x", "");
    taster_open(&t, rig, "p", "shop");
    taste_all(&t, 1);
    rig_route(rig, "b", "shop", "x", "bad");
    taste_all(&t, 1);
    struct fuse_view *view = fuse_xds_view(rig->xds, "edge");
    assert_int_equal(quarantined(rig, "b"), 1);
    assert_int_equal(rig->stored[0].instead, 0);
    assert_null(fuse_view_route(view, "b"));
    rig_route(rig, "b", "shop", "x", "good");
    taste_all(&t, 1);
    assert_int_equal(quarantined(rig, "b"), 0);
    assert_non_null(fuse_view_route(view, "b"));
    assert_int_equal(t.refusals, 1);
    client_close(&t.client);
}

static void who_keeps_a_view_is_told_that_it_changed(void **state)
{
    struct rig *rig = *state;
    struct taster t;
    struct fuse_view *view = fuse_xds_view(rig->xds, "edge");
    rig_route(rig, "a", "shop", "x", "");
    taster_open(&t, rig, "p", "shop");
    taste_all(&t, 1);
    rig_route(rig, "b", "shop", "x", "bad");
    assert_int_equal(rig->view_changes, 0);
    assert_non_null(fuse_view_route(view, "b"));
    taste_all(&t, 1);
    assert_true(rig->view_changes > 0);
    assert_null(fuse_view_route(view, "b"));
    client_close(&t.client);
}

static void other_groups_keep_the_route(void **state)
{
    struct rig *rig = *state;
    struct taster t;
    rig_route(rig, "a", "shop", "x", "");
    taster_open(&t, rig, "p", "shop");
    taste_all(&t, 1);
    rig_route(rig, "b", "shop", "x", "bad");
    taste_all(&t, 1);
    assert_null(fuse_view_route(fuse_xds_view(rig->xds, "edge"), "b"));
    assert_non_null(fuse_view_route(fuse_xds_view(rig->xds, ""), "b"));
    client_close(&t.client);
}

static void a_proxy_that_refuses_everything_convicts_nobody(void **state)
{
    struct rig *rig = *state;
    struct taster t[2];
    rig_route(rig, "a", "shop", "x", "");
    taster_open(&t[0], rig, "p", "shop");
    taste_all(t, 1);
    t[0].refuses_all = true;
    for (int i = 0; i < 5; i++) {
        rig_route(rig, "a", "shop", "x", i % 2 == 0 ? "u" : "v");
        rig_route(rig, "b", "shop", "x", i % 2 == 0 ? "u" : "v");
        taste_all(t, 1);
    }
    assert_int_equal(rig->n_stored, 0);
    assert_true(t[0].rounds < 40);
    const struct fuse_entry *newest = fuse_model_route(rig->model, "a");
    assert_int_equal(fuse_view_route(fuse_xds_view(rig->xds, "edge"), "a")->version,
                     newest->version);
    client_close(&t[0].client);
}

static void what_others_of_the_group_accepted_is_not_in_doubt(void **state)
{
    struct rig *rig = *state;
    struct taster t[2];
    rig_route(rig, "a", "shop", "x", "");
    taster_open(&t[0], rig, "p", "shop");
    taste_all(t, 1);
    taster_open(&t[1], rig, "q", "shop");
    t[1].refuses_all = true;
    taste_all(t, 2);
    assert_int_equal(rig->n_stored, 0);
    assert_int_equal(t[1].refusals, 1);
    client_close(&t[0].client);
    client_close(&t[1].client);
}

static void when_the_proxy_leaves_another_is_asked(void **state)
{
    struct rig *rig = *state;
    struct taster t[2];
    taster_open(&t[0], rig, "p", "shop");
    taster_open(&t[1], rig, "q", "shop");
    taste_all(t, 2);
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%d", i);
        rig_route(rig, name, "shop", "x", i == 5 ? "bad" : "");
    }
    rig_turn(rig);
    taster_taste(&t[0]);
    taster_taste(&t[0]);
    client_close(&t[0].client);
    rig_turn(rig);
    taste_all(&t[1], 1);
    assert_int_equal(rig->n_stored, 1);
    assert_string_equal(rig->stored[0].route, "r5");
    client_close(&t[1].client);
}

static void without_a_proxy_suspects_stay_out_until_one_comes(void **state)
{
    struct rig *rig = *state;
    struct taster t;
    taster_open(&t, rig, "p", "shop");
    taste_all(&t, 1);
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%d", i);
        rig_route(rig, name, "shop", "x", i == 2 || i == 3 ? "bad" : "");
    }
    rig_turn(rig);
    taster_taste(&t);
    client_close(&t.client);
    rig_turn(rig);
    rig_route(rig, "other", "shop", "x", ""); /* is not held up */
    assert_non_null(fuse_view_route(fuse_xds_view(rig->xds, "edge"), "other"));
    taster_open(&t, rig, "q", "shop");
    taste_all(&t, 1);
    assert_int_equal(rig->n_stored, 2);
    assert_int_equal(quarantined(rig, "r2"), 1);
    assert_int_equal(quarantined(rig, "r3"), 1);
    client_close(&t.client);
}

static void a_silent_proxy_does_not_hold_up_the_others(void **state)
{
    struct rig *rig = *state;
    struct taster t[2];
    taster_open(&t[0], rig, "p", "shop");
    taster_open(&t[1], rig, "q", "shop");
    taste_all(t, 2);
    rig_route(rig, "a", "shop", "x", "");
    rig_route(rig, "b", "shop", "x", "bad");
    rig_turn(rig);
    taster_taste(&t[0]); /* and says no more */
    taste_all(&t[1], 1);
    assert_int_equal(rig->n_stored, 0);
    rig_pass(rig, 11 * CHASSIS_NS_PER_S);
    taste_all(&t[1], 1);
    assert_int_equal(quarantined(rig, "b"), 1);
    assert_int_equal(rig->n_stored, 1);
    client_close(&t[0].client);
    client_close(&t[1].client);
}

static void after_a_restart_the_bad_one_of_many_is_found(void **state)
{
    struct rig *rig = *state;
    struct taster t;
    for (int i = 0; i < 64; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%02d", i);
        rig_route(rig, name, "shop", "x", i == 40 ? "bad" : "");
    }
    taster_open(&t, rig, "p", "shop");
    taste_all(&t, 1);
    assert_int_equal(rig->n_stored, 1);
    assert_string_equal(rig->stored[0].route, "r40");
    assert_true(t.rounds < 12);
    client_close(&t.client);
}

static void record_of(struct chassis_buf *out, const char *group, const char *route,
                      uint64_t version, uint64_t instead)
{
    Draft__Routing__V1__Quarantine q = DRAFT__ROUTING__V1__QUARANTINE__INIT;
    q.group = (char *)(uintptr_t)group;
    q.route = (char *)(uintptr_t)route;
    q.version = version;
    q.instead = instead;
    chassis_buf_clear(out);
    chassis_encode(&q, out);
}

static unsigned n_seen;
static void see(struct chassis_view record, void *data)
{
    n_seen++;
}

static void quarantines_outlive_a_restart(void **state)
{
    struct rig rig;
    struct taster t;
    struct chassis_buf record = {0}, version = {0};
    rig_start(&rig, false);
    rig.revision = 10;
    rig_route(&rig, "a", "shop", "x", "");
    rig_route(&rig, "b", "shop", "x", "bad"); /* 12 */
    record_of(&record, "edge", "b", 12, 5);
    fuse_xds_quarantine(rig.xds, "edge", "b", chassis_buf_view(&record));
    record_of(&record, "edge", "a", 3, 0); /* a has changed since */
    fuse_xds_quarantine(rig.xds, "edge", "a", chassis_buf_view(&record));
    n_seen = 0;
    fuse_xds_each_quarantine(rig.xds, "b", see, NULL);
    assert_int_equal(n_seen, 1);
    taster_open(&t, &rig, "p", "shop");
    fuse_xds_ready(rig.xds);
    rig_turn(&rig);
    client_quiet(&t.client); /* waits for what b was */
    Core__ControlPlane__Networking__V1__Route old =
        CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE__INIT;
    Core__ControlPlane__Networking__V1__RouteMatch match =
        CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE_MATCH__INIT;
    Core__ControlPlane__Networking__V1__Endpoint endpoint =
        CORE__CONTROL_PLANE__NETWORKING__V1__ENDPOINT__INIT;
    Draft__Routing__V1__RouteVersion kept = DRAFT__ROUTING__V1__ROUTE_VERSION__INIT;
    char texts[][16] = {"b", "shop", "/old", "10.0.0.1"};
    old.name = texts[0];
    match.host = texts[1];
    match.prefix = texts[2];
    endpoint.host = texts[3];
    endpoint.port = 80;
    old.match = &match;
    old.endpoint = &endpoint;
    old.enable_http2 = true;
    kept.route = &old;
    chassis_encode(&kept, &version);
    const struct fuse_stored_version versions[] = {{12, {0}}, {5, chassis_buf_view(&version)}};
    assert_non_null(rig.versions_done);
    rig.versions_done(0, NULL, versions, 2, rig.versions_data);
    rig_turn(&rig);
    struct answer *answer = client_take(&t.client);
    assert_non_null(answer);
    assert_false(contains_bad(answer));
    assert_non_null(memmem(answer->items[0].bytes.data, answer->items[0].bytes.len, "/old", 4));
    client_ask(&t.client, FUSE_ROUTES, .nonce = answer->nonce);
    answer_free(answer);
    assert_int_equal(quarantined(&rig, "a"), 0);
    assert_int_equal(rig.n_stored, 1); /* a's was taken away */
    fuse_xds_quarantine(rig.xds, "edge", "b", (struct chassis_view){0});
    rig_turn(&rig);
    answer = client_take(&t.client);
    assert_non_null(answer);
    assert_true(contains_bad(answer));
    answer_free(answer);
    client_close(&t.client);
    chassis_buf_fini(&record);
    chassis_buf_fini(&version);
    rig_stop(&rig);
}

static void exactly_the_bad_are_found_whatever_their_number(void **state)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rig rig;
        struct taster t[3];
        struct chassis_prng prng;
        bool bad[60] = {false};
        const char *names[] = {"shop", "listener/default", "shop listener/default other"};
        chassis_prng_init(&prng, seed);
        rig_start(&rig, true);
        unsigned n_tasters = 1 + (unsigned)chassis_prng_below(&prng, 3);
        for (unsigned i = 0; i < n_tasters; i++) {
            taster_open(&t[i], &rig, "p", i == 0 ? names[2] : names[chassis_prng_below(&prng, 3)]);
        }
        taste_all(t, n_tasters);
        unsigned n = 1 + (unsigned)chassis_prng_below(&prng, 60), n_bad = 0;
        double share = chassis_prng_unit(&prng) * 0.3;
        for (unsigned i = 0; i < n; i++) {
            char name[16];
            snprintf(name, sizeof name, "r%u", i);
            bad[i] = chassis_prng_chance(&prng, share);
            n_bad += bad[i];
            rig_route(&rig, name, chassis_prng_chance(&prng, 0.5) ? "shop" : "other", "x",
                      bad[i] ? "bad" : "");
            if (chassis_prng_chance(&prng, 0.1)) {
                rig_turn(&rig);
                taster_taste(&t[0]);
            }
        }
        unsigned before = t[0].rounds;
        taste_all(t, n_tasters);
        for (unsigned i = 0; i < n; i++) {
            char name[16];
            snprintf(name, sizeof name, "r%u", i);
            if ((quarantined(&rig, name) != 0) != bad[i]) {
                fail_msg("seed %llu: route %s of %u (%u bad) is %s", (unsigned long long)seed, name,
                         n, n_bad, bad[i] ? "bad and not found" : "good and kept away");
            }
        }
        if (t[0].rounds - before > 2 * (n_bad + 2) * 8 + 16) {
            fail_msg("seed %llu: %u rounds for %u bad of %u", (unsigned long long)seed,
                     t[0].rounds - before, n_bad, n);
        }
        for (unsigned i = 0; i < n_tasters; i++) {
            client_close(&t[i].client);
        }
        rig_stop(&rig);
    }
}

static void the_group_falls_back_to_what_it_accepted_last(void **state)
{
    struct rig *rig = *state;
    struct taster t;
    rig_route(rig, "a", "shop", "x", "one");
    taster_open(&t, rig, "p", "shop");
    taste_all(&t, 1);
    rig_route(rig, "a", "shop", "x", "two");
    uint64_t second = rig->revision;
    rig_turn(rig); /* is out */
    rig_route(rig, "a", "shop", "x", "three");
    rig_turn(rig);
    rig_route(rig, "a", "shop", "x", "bad");
    rig_turn(rig);
    taste_all(&t, 1);
    assert_int_equal(rig->n_stored, 1);
    assert_int_equal(rig->stored[0].instead, second);
    client_close(&t.client);
}

static void a_bad_cluster_of_a_route_is_the_routes_fault(void **state)
{
    struct rig *rig = *state;
    struct taster t;
    rig_route(rig, "a", "shop", "x", "");
    taster_open(&t, rig, "p", "shop");
    client_ask(&t.client, FUSE_CLUSTER, .names = "*");
    taste_all(&t, 1);
    fixture_put(
        rig->model, ++rig->revision,
        route(.name = "b", .host = "shop", .path = "/b", .service = "y/bad", .http2 = true));
    fixture_put(rig->model, ++rig->revision,
                route(.name = "c", .host = "shop", .path = "/c", .service = "z", .http2 = true));
    taste_all(&t, 1);
    assert_int_equal(quarantined(rig, "b"), 1);
    assert_int_equal(rig->n_stored, 1);
    client_close(&t.client);
}

/* ---- while everything goes on ---- */

enum { CHURN_ROUTES = 12, CHURN_TASTERS = 3 };
struct churn {
    struct rig rig;
    struct chassis_prng prng;
    struct taster tasters[CHURN_TASTERS];
    bool bad[CHURN_ROUTES], there[CHURN_ROUTES];
};

static void churn_open(struct churn *c, unsigned i)
{
    static const char *const ids[] = {"p", "q", "r"};
    taster_open_by(&c->tasters[i], &c->rig, i == 1 ? FUSE_XDS_SOTW : FUSE_XDS_DELTA, ids[i],
                   i == 2 ? "listener/default shop" : "listener/default");
}

static void churn_route(struct churn *c, bool bad)
{
    unsigned i = (unsigned)chassis_prng_below(&c->prng, CHURN_ROUTES);
    char name[16], mark[32];
    snprintf(name, sizeof name, "r%u", i);
    snprintf(mark, sizeof mark, "%s%llu", bad ? "bad" : "",
             (unsigned long long)chassis_prng_below(&c->prng, 4));
    c->there[i] = !chassis_prng_chance(&c->prng, 0.15);
    c->bad[i] = bad;
    if (c->there[i]) {
        rig_route(&c->rig, name, i % 2 == 0 ? "shop" : "other", "x", mark);
    } else {
        rig_unroute(&c->rig, name);
    }
}

static void churn_step(struct churn *c)
{
    unsigned i = (unsigned)chassis_prng_below(&c->prng, CHURN_TASTERS);
    double what = chassis_prng_unit(&c->prng);
    if (what < 0.2) {
        churn_route(c, chassis_prng_chance(&c->prng, 0.3));
    } else if (what < 0.22 && c->tasters[i].open) {
        client_close(&c->tasters[i].client);
        c->tasters[i].open = false;
    } else if (what < 0.3 && !c->tasters[i].open) {
        churn_open(c, i);
    } else if (what < 0.32) {
        rig_pass(&c->rig, chassis_prng_below(&c->prng, 12) * CHASSIS_NS_PER_S);
    } else if (c->tasters[i].open) {
        taster_taste(&c->tasters[i]);
    }
    if (chassis_prng_chance(&c->prng, 0.7)) {
        rig_turn(&c->rig);
    }
}

static void churn_end(struct churn *c, uint64_t seed)
{
    for (unsigned i = 0; i < CHURN_TASTERS; i++) {
        if (!c->tasters[i].open) {
            churn_open(c, i);
        }
    }
    taste_all(c->tasters, CHURN_TASTERS);
    const struct fuse_view *view = fuse_xds_view(c->rig.xds, "edge");
    for (unsigned i = 0; i < CHURN_ROUTES; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%u", i);
        const struct fuse_entry *newest = fuse_model_route(c->rig.model, name);
        const struct fuse_entry *seen = fuse_view_route(view, name);
        if (newest != NULL && (seen == newest) == c->bad[i]) {
            fail_msg("seed %llu: route %s is %s", (unsigned long long)seed, name,
                     c->bad[i] ? "bad, and offered" : "good, and kept away");
        }
        if (newest != NULL && (quarantined(&c->rig, name) != 0) != c->bad[i]) {
            fail_msg("seed %llu: of route %s the store knows something else",
                     (unsigned long long)seed, name);
        }
        if (seen != NULL && strstr(seen->route->path, "/bad") != NULL) {
            fail_msg("seed %llu: route %s is bad, and seen", (unsigned long long)seed, name);
        }
    }
}

static void the_bad_are_found_while_everything_changes(void **state)
{
    const char *only = getenv("DRAFT_SEED");
    uint64_t from = only != NULL ? strtoull(only, NULL, 10) : 1, to = only != NULL ? from : 300;
    for (uint64_t seed = from; seed <= to; seed++) {
        struct churn *c = chassis_base_zalloc(sizeof *c);
        chassis_prng_init(&c->prng, seed);
        rig_start(&c->rig, true);
        for (unsigned i = 0; i < CHURN_TASTERS; i++) {
            churn_open(c, i);
        }
        for (unsigned i = 0; i < 300; i++) {
            churn_step(c);
        }
        churn_end(c, seed);
        for (unsigned i = 0; i < CHURN_TASTERS; i++) {
            client_close(&c->tasters[i].client);
        }
        rig_stop(&c->rig);
        free(c);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_bad_route_is_kept_away_and_the_others_go_on),
        T(a_new_bad_route_is_absent_until_it_changes),
        T(who_keeps_a_view_is_told_that_it_changed),
        T(other_groups_keep_the_route),
        T(a_proxy_that_refuses_everything_convicts_nobody),
        T(what_others_of_the_group_accepted_is_not_in_doubt),
        T(when_the_proxy_leaves_another_is_asked),
        T(without_a_proxy_suspects_stay_out_until_one_comes),
        T(a_silent_proxy_does_not_hold_up_the_others),
        T(after_a_restart_the_bad_one_of_many_is_found),
        T(the_group_falls_back_to_what_it_accepted_last),
        T(a_bad_cluster_of_a_route_is_the_routes_fault),
        cmocka_unit_test(quarantines_outlive_a_restart),
        cmocka_unit_test(the_bad_are_found_while_everything_changes),
        cmocka_unit_test(exactly_the_bad_are_found_whatever_their_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
