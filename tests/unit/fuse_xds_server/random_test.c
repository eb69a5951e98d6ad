/* Naive clients over random changes: what they have in the end is what the view says, nothing that did
 * not change was sent again, and no route ever named a cluster its client did not have.
 *
 * DRAFT_SEED repeats one seed. */
#include "rig.h"

enum { SERVICES = 8, HOSTS = 4, ROUTES = 12, CLIENTS = 6, STEPS = 400, NAMES = 24 };

struct thing { /* a resource a client knows or asks for */
    char name[32];
    bool asked;
    unsigned may_repeat; /* it said so often that it does not have it, or refused it */
    bool has, old;       /* old: from another stream */
    bool maybe;          /* came in an answer that was refused */
    char version[40];
    struct chassis_buf bytes;
};
struct side {                      /* one type of one client */
    bool answered, after_clusters; /* once; asked for when there were clusters already */
    bool open, wildcard, resumed;
    unsigned changed; /* what it asks for: answers that may still be about that */
    char nonce[64], version[64];
    struct thing things[NAMES];
    unsigned n_things;
};
struct naive {
    struct client client;
    struct side sides[FUSE_N_TYPES];
    bool reconnected;
};
struct world {
    struct rig rig;
    struct chassis_prng prng;
    struct naive naives[CLIENTS];
    uint64_t seed;
    bool calm; /* the end: nobody refuses, nobody is late */
};

#define FAIL(w, ...)                                                                               \
    do {                                                                                           \
        printf("seed %llu: ", (unsigned long long)(w)->seed);                                      \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

static unsigned below(struct world *w, unsigned n)
{
    return (unsigned)chassis_prng_below(&w->prng, n);
}
static bool chance(struct world *w, double p)
{
    return chassis_prng_chance(&w->prng, p);
}

/* ---- what a client knows ---- */

static struct thing *thing_of(struct side *side, const char *name)
{
    for (unsigned i = 0; i < side->n_things; i++) {
        if (strcmp(side->things[i].name, name) == 0) {
            return &side->things[i];
        }
    }
    assert_true(side->n_things < NAMES);
    struct thing *thing = &side->things[side->n_things++];
    snprintf(thing->name, sizeof thing->name, "%s", name);
    return thing;
}

static void thing_drop(struct thing *thing)
{
    thing->has = thing->maybe = thing->old = false;
    chassis_buf_fini(&thing->bytes);
}

static bool is_same(const struct thing *thing, const struct answer_item *item)
{
    return thing->has && !thing->maybe &&
           chassis_view_eq(chassis_buf_view(&thing->bytes), chassis_buf_view(&item->bytes));
}

static void thing_take(struct thing *thing, const struct answer_item *item)
{
    thing->may_repeat -= thing->may_repeat != 0 && is_same(thing, item);
    thing->has = true;
    thing->maybe = thing->old = false;
    snprintf(thing->version, sizeof thing->version, "%s", item->version);
    chassis_buf_clear(&thing->bytes);
    chassis_buf_append_view(&thing->bytes, chassis_buf_view(&item->bytes));
}

static bool carries_all(const struct naive *naive, enum fuse_type type)
{
    return naive->client.protocol == FUSE_XDS_SOTW &&
           (type == FUSE_CLUSTER || type == FUSE_LISTENER);
}

/* ---- answers ---- */

static void check_unrepeated(struct world *w, struct naive *naive, const struct answer *answer)
{
    struct side *side = &naive->sides[answer->type];
    bool news = side->changed != 0 || side->resumed;
    for (unsigned i = 0; i < answer->n_items; i++) {
        const struct answer_item *item = &answer->items[i];
        struct thing *thing = thing_of(side, item->name);
        bool same = is_same(thing, item);
        bool may = thing->may_repeat || (thing->old && (naive->client.protocol == FUSE_XDS_SOTW ||
                                                        strcmp(thing->version, item->version)));
        news = news || !same || may;
        if (same && !may && !carries_all(naive, answer->type)) {
            FAIL(w, "%s '%s' was sent again to %s", fuse_type_urls[answer->type], item->name,
                 naive->client.id);
        }
        if (!thing->asked && !side->wildcard) {
            news = true; /* asked for when it was sent */
        }
    }
    for (unsigned i = 0; i < side->n_things; i++) {
        struct thing *thing = &side->things[i];
        bool there = false;
        for (unsigned k = 0; k < answer->n_items; k++) {
            there = there || strcmp(answer->items[k].name, thing->name) == 0;
        }
        news = news || (thing->has && !there) || thing->may_repeat;
    }
    if (!news && carries_all(naive, answer->type)) {
        FAIL(w, "an answer of %s had nothing new for %s", fuse_type_urls[answer->type],
             naive->client.id);
    }
}

static void apply(struct naive *naive, const struct answer *answer)
{
    struct side *side = &naive->sides[answer->type];
    for (unsigned i = 0; i < side->n_things && carries_all(naive, answer->type); i++) {
        thing_drop(&side->things[i]);
    }
    for (unsigned i = 0; i < answer->n_items; i++) {
        struct thing *thing = thing_of(side, answer->items[i].name);
        if (thing->asked || side->wildcard) { /* else it came too late */
            thing_take(thing, &answer->items[i]);
        }
    }
    for (unsigned i = 0; i < answer->n_removed; i++) {
        thing_drop(thing_of(side, answer->removed[i]));
    }
    for (unsigned i = 0; i < side->n_things; i++) {
        if (carries_all(naive, answer->type)) {
            side->things[i].may_repeat = 0;
        }
    }
    side->resumed = false;
    side->changed -= side->changed != 0;
    side->answered = true;
}

static char *asked_names(const struct side *side, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    if (side->wildcard) {
        len += (size_t)snprintf(out, size, "* ");
    }
    for (unsigned i = 0; i < side->n_things; i++) {
        if (side->things[i].asked) {
            len += (size_t)snprintf(out + len, size - len, "%s ", side->things[i].name);
        }
    }
    return out;
}

/* Every service a route names has a cluster; "svc-00" … stand in both. */
static void check_clusters(struct world *w, struct naive *naive)
{
    struct side *clusters = &naive->sides[FUSE_CLUSTER], *routes = &naive->sides[FUSE_ROUTES];
    if (naive->reconnected || !clusters->wildcard || !routes->after_clusters) {
        return;
    }
    for (unsigned i = 0; i < routes->n_things; i++) {
        const struct thing *thing = &routes->things[i];
        if (!thing->has || strcmp(thing->name, "listener/default") != 0 || !thing->asked) {
            continue;
        }
        for (unsigned s = 0; s < SERVICES; s++) {
            char name[32];
            snprintf(name, sizeof name, "svc-%02u", s);
            if (memmem(thing->bytes.data, thing->bytes.len, name, strlen(name)) != NULL &&
                !thing_of(clusters, name)->has) {
                FAIL(w, "%s has a route to '%s' without a cluster", naive->client.id, name);
            }
        }
    }
}

static bool take_one(struct world *w, struct naive *naive)
{
    struct answer *answer = client_take(&naive->client);
    char names[1024];
    if (answer == NULL) {
        return false;
    }
    struct side *side = &naive->sides[answer->type];
    bool refuse = !w->calm && answer->type == FUSE_ENDPOINTS && chance(w, 0.1);
    check_unrepeated(w, naive, answer);
    if (refuse) {
        for (unsigned i = 0; i < answer->n_items; i++) {
            thing_of(side, answer->items[i].name)->may_repeat++;
        }
        for (unsigned i = 0; i < answer->n_removed; i++) {
            thing_of(side, answer->removed[i])->may_repeat++;
        }
    } else {
        apply(naive, answer);
        snprintf(side->version, sizeof side->version, "%s", answer->version);
        check_clusters(w, naive);
    }
    snprintf(side->nonce, sizeof side->nonce, "%s", answer->nonce);
    client_ask(
        &naive->client, answer->type, .nonce = answer->nonce, .error = refuse ? "not today" : NULL,
        .version = naive->client.protocol == FUSE_XDS_SOTW ? side->version : NULL,
        .names = naive->client.protocol == FUSE_XDS_SOTW ? asked_names(side, names, sizeof names)
                                                         : NULL);
    answer_free(answer);
    return true;
}

/* ---- clients come, ask for other things, go ---- */

static void random_name(struct world *w, enum fuse_type type, char out[32])
{
    unsigned kind = below(w, 4);
    if (type == FUSE_ROUTES && kind == 0) {
        snprintf(out, 32, "listener/default");
    } else if (type == FUSE_LISTENER && kind == 0) {
        snprintf(out, 32, "%s", chance(w, 0.5) ? "listener/default" : "h1:443");
    } else if ((type == FUSE_ROUTES || type == FUSE_LISTENER) && kind < 3) {
        snprintf(out, 32, "h%u", below(w, HOSTS));
    } else {
        snprintf(out, 32, "svc-%02u", below(w, SERVICES));
    }
}

static void open_side(struct world *w, struct naive *naive, enum fuse_type type)
{
    struct side *side = &naive->sides[type];
    bool can_wild = type == FUSE_CLUSTER || type == FUSE_LISTENER;
    char names[1024];
    side->open = true;
    side->changed = 1;
    side->after_clusters = naive->sides[FUSE_CLUSTER].answered;
    if (can_wild && chance(w, 0.5)) {
        side->wildcard = true;
    }
    for (unsigned i = below(w, 4) + !side->wildcard; i > 0; i--) {
        char name[32];
        random_name(w, type, name);
        thing_of(side, name)->asked = true;
    }
    client_ask(&naive->client, type, .names = asked_names(side, names, sizeof names));
}

static void change_side(struct world *w, struct naive *naive, enum fuse_type type)
{
    struct side *side = &naive->sides[type];
    char name[32], names[1024];
    random_name(w, type, name);
    struct thing *thing = thing_of(side, name);
    if (side->wildcard && naive->client.protocol == FUSE_XDS_SOTW && !thing->asked) {
        return; /* that it has it already is not to be seen */
    }
    bool was = thing->asked;
    if (was && naive->client.protocol == FUSE_XDS_SOTW &&
        strcmp(naive->client.agent, "envoy") == 0) {
        return; /* names what it was told to */
    }
    thing->asked = !was;
    side->changed = 2;
    if (naive->client.protocol == FUSE_XDS_DELTA) {
        thing->may_repeat++;
        client_ask(&naive->client, type, .names = was ? NULL : name,
                   .unsubscribe = was ? name : NULL);
    } else {
        client_ask(&naive->client, type, .names = asked_names(side, names, sizeof names),
                   .nonce = side->nonce, .version = side->version);
    }
    if (was && !side->wildcard) {
        thing_drop(thing);
        thing->may_repeat++;
    }
}

/* It is now what the client has. */
static bool is_so_now(struct world *w, const struct naive *naive, enum fuse_type type,
                      const struct thing *thing)
{
    char version[FUSE_VERSION_MAX];
    struct fuse_resource_source source = {fuse_xds_view(w->rig.xds, naive->client.group),
                                          &w->rig.statics};
    struct chassis_buf bytes = {0};
    uint64_t revision = 0;
    bool exists = fuse_resource_build(&source, type, thing->name, &bytes, &revision);
    fuse_resource_version(revision, chassis_buf_view(&bytes), version);
    chassis_buf_fini(&bytes);
    return exists && strcmp(version, thing->version) == 0;
}

static void reopen_side(struct world *w, struct naive *naive, enum fuse_type type)
{
    struct side *side = &naive->sides[type];
    char names[1024], initial[2048] = "";
    size_t len = 0;
    side->nonce[0] = '\0';
    side->resumed = true;
    if (asked_names(side, names, sizeof names)[0] == '\0') { /* would mean everything */
        for (unsigned i = 0; i < side->n_things; i++) {
            thing_drop(&side->things[i]);
        }
        side->open = side->answered = side->wildcard = false;
        side->n_things = 0;
        side->version[0] = '\0';
        return;
    }
    for (unsigned i = 0; i < side->n_things; i++) {
        struct thing *thing = &side->things[i];
        thing->old = thing->has;
        /* What it says is compared once, though it may become so again before it is sent. */
        thing->may_repeat = !thing->has || !is_so_now(w, naive, type, thing);
        if (thing->has) {
            len += (size_t)snprintf(initial + len, sizeof initial - len, "%s=%s ", thing->name,
                                    thing->version);
        }
    }
    bool delta = naive->client.protocol == FUSE_XDS_DELTA;
    client_ask(&naive->client, type, .names = asked_names(side, names, sizeof names),
               .initial = delta ? initial : NULL, .version = delta ? NULL : side->version);
}

static void reconnect(struct world *w, struct naive *naive)
{
    enum fuse_xds_protocol protocol = naive->client.protocol;
    char id[64], group[64], agent[32];
    memcpy(agent, naive->client.agent, sizeof agent);
    snprintf(id, sizeof id, "%s", naive->client.id);
    snprintf(group, sizeof group, "%s", naive->client.group);
    client_close(&naive->client);
    client_open(&naive->client, &w->rig, protocol, group, id);
    memcpy(naive->client.agent, agent, sizeof agent);
    naive->reconnected = true;
    for (unsigned type = 0; type < FUSE_SECRET; type++) {
        if (naive->sides[type].open) {
            reopen_side(w, naive, type);
        }
    }
}

/* ---- the world changes ---- */

static void change_route(struct world *w)
{
    char name[16], host[16], service[32];
    snprintf(name, sizeof name, "r%u", below(w, ROUTES));
    snprintf(host, sizeof host, "h%u", below(w, HOSTS));
    snprintf(service, sizeof service, "svc-%02u", below(w, SERVICES));
    if (chance(w, 0.3)) {
        rig_unroute(&w->rig, name);
        return;
    }
    fixture_put(w->rig.model, ++w->rig.revision,
                route(.name = name, .host = host, .path = chance(w, 0.5) ? "/a" : "/b",
                      .service = service, .http2 = true, .group = chance(w, 0.2) ? "edge" : NULL));
}

static void change_instance(struct world *w)
{
    char pid[16], service[32], address[32];
    unsigned i = below(w, 2 * SERVICES);
    snprintf(pid, sizeof pid, "p%u", i);
    snprintf(service, sizeof service, "svc-%02u", i % SERVICES);
    snprintf(address, sizeof address, "10.0.0.%u:1", below(w, 3));
    if (chance(w, 0.4)) {
        rig_no_instance(&w->rig, pid);
    } else {
        rig_instance(&w->rig, service, pid, address);
    }
}

static void step(struct world *w)
{
    struct naive *naive = &w->naives[below(w, CLIENTS)];
    enum fuse_type type = below(w, FUSE_SECRET);
    switch (below(w, 12)) {
    case 0:
    case 1:
        change_route(w);
        break;
    case 2:
    case 3:
        change_instance(w);
        break;
    case 4:
        if (naive->sides[type].open) {
            change_side(w, naive, type);
        } else {
            open_side(w, naive, type);
        }
        break;
    case 5:
        if (chance(w, 0.1)) {
            reconnect(w, naive);
        }
        break;
    case 6:
        naive->client.congested = !naive->client.congested;
        if (!naive->client.congested) {
            fuse_xds_writable(naive->client.session);
        }
        break;
    default:
        take_one(w, naive);
        break;
    }
    if (chance(w, 0.7)) {
        rig_turn(&w->rig);
    }
}

/* ---- the end ---- */

static void be_calm(struct world *w)
{
    w->calm = true;
    for (unsigned i = 0; i < CLIENTS; i++) {
        w->naives[i].client.congested = false;
        fuse_xds_writable(w->naives[i].client.session);
    }
    for (unsigned s = 0; s < SERVICES; s++) { /* so that what was refused is sent again */
        char pid[16], service[32];
        snprintf(pid, sizeof pid, "last%u", s);
        snprintf(service, sizeof service, "svc-%02u", s);
        rig_instance(&w->rig, service, pid, "10.0.0.9:9");
    }
    rig_turn(&w->rig);
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < CLIENTS; i++) {
            any = take_one(w, &w->naives[i]) || any;
        }
    }
}

struct wild {
    const char *name;
    bool found;
};
static void look_for(const char *name, void *data)
{
    struct wild *wild = data;
    wild->found = wild->found || strcmp(name, wild->name) == 0;
}
struct wild_check {
    struct world *w;
    struct naive *naive;
    enum fuse_type type;
};
static void check_wild(const char *name, void *data)
{
    struct wild_check *c = data;
    if (!thing_of(&c->naive->sides[c->type], name)->has) {
        FAIL(c->w, "%s has no %s '%s'", c->naive->client.id, fuse_type_urls[c->type], name);
    }
}

static void check_side(struct world *w, struct naive *naive, enum fuse_type type,
                       const struct fuse_resource_source *source)
{
    struct side *side = &naive->sides[type];
    bool tells = naive->client.protocol == FUSE_XDS_DELTA || carries_all(naive, type);
    if (side->wildcard) {
        struct wild_check check = {w, naive, type};
        fuse_resource_each(source, type, check_wild, &check);
    }
    for (unsigned i = 0; i < side->n_things; i++) {
        struct thing *thing = &side->things[i];
        struct chassis_buf truth = {0};
        uint64_t revision;
        struct wild wild = {.name = thing->name};
        if (side->wildcard) {
            fuse_resource_each(source, type, look_for, &wild);
        }
        bool exists = (thing->asked || wild.found) &&
                      fuse_resource_build(source, type, thing->name, &truth, &revision);
        if (exists && (!thing->has || !chassis_view_eq(chassis_buf_view(&truth),
                                                       chassis_buf_view(&thing->bytes)))) {
            FAIL(w, "%s %s %s '%s'", naive->client.id, thing->has ? "has an old" : "lacks",
                 fuse_type_urls[type], thing->name);
        }
        if (!exists && thing->has && tells) {
            FAIL(w, "%s still has %s '%s'", naive->client.id, fuse_type_urls[type], thing->name);
        }
        chassis_buf_fini(&truth);
    }
}

static void check_all(struct world *w)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct naive *naive = &w->naives[i];
        struct fuse_resource_source source = {fuse_xds_view(w->rig.xds, naive->client.group),
                                              &w->rig.statics};
        for (unsigned type = 0; type < FUSE_SECRET; type++) {
            if (naive->sides[type].open) {
                check_side(w, naive, type, &source);
            }
        }
    }
    assert_int_equal(w->rig.n_stored, 0);
}

static void run(uint64_t seed)
{
    struct world *w = chassis_base_zalloc(sizeof *w);
    w->seed = seed;
    chassis_prng_init(&w->prng, seed);
    rig_start(&w->rig, true);
    for (unsigned i = 0; i < CLIENTS; i++) {
        char id[16];
        snprintf(id, sizeof id, "%s-%u", i % 2 == 0 ? "sotw" : "delta", i);
        client_open(&w->naives[i].client, &w->rig, i % 2 == 0 ? FUSE_XDS_SOTW : FUSE_XDS_DELTA,
                    i % 3 == 0 ? "edge" : "", id);
        if (i >= CLIENTS / 2) {
            snprintf(w->naives[i].client.agent, sizeof w->naives[i].client.agent, "gRPC C-core");
        }
    }
    for (unsigned i = 0; i < STEPS; i++) {
        step(w);
    }
    be_calm(w);
    check_all(w);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_close(&w->naives[i].client);
        for (unsigned type = 0; type < FUSE_N_TYPES; type++) {
            for (unsigned k = 0; k < w->naives[i].sides[type].n_things; k++) {
                thing_drop(&w->naives[i].sides[type].things[k]);
            }
        }
    }
    rig_stop(&w->rig);
    free(w);
}

static void clients_end_up_with_the_truth(void **state)
{
    const char *seed = getenv("DRAFT_SEED");
    if (seed != NULL) {
        run(strtoull(seed, NULL, 10));
        return;
    }
    for (uint64_t i = 1; i <= 400; i++) {
        run(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(clients_end_up_with_the_truth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
