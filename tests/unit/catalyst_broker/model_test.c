/* Seeded random operations on a broker that crashes and reopens, against a simple model in memory:
 * what was acknowledged is there once, in order, until a purge, a limit or a delete takes it.
 */
#include "fixture.h"

enum { STREAMS = 4, SEQUENCES = 6000, PENDING = 64, IDS = 400, CYCLES = 8, BATCH = 8 };
#define DEDUPE_MS 30000

struct stored {
    uint32_t id; /* 0 = nobody heard of this sequence yet */
};
struct known { /* of one stream */
    bool there;
    unsigned generation;
    struct cat_stream_config config;
    struct stored stored[SEQUENCES];
    uint64_t last;            /* highest acknowledged */
    bool may_lose;            /* the last crash may have taken its newest events */
    uint64_t floor;           /* nothing before it may show: purges that were acknowledged */
    uint64_t floor_wanted;    /* … or asked for */
    int64_t seen_ns[IDS + 1]; /* when an id was last acknowledged as new */
};
struct pending {
    struct post *post;
    unsigned stream, generation;
    uint32_t ids[BATCH];
    bool crashed; /* its outcome is unknown */
};
static struct known known[STREAMS];
static struct pending pending[PENDING];
static unsigned n_pending;
static uint64_t seed;
static unsigned long published, duplicates, read_back, crashes;

static const char *name_of(unsigned i)
{
    static char names[STREAMS][16];
    snprintf(names[i], sizeof names[i], "stream-%u", i);
    return names[i];
}

#define WANT(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("seed %llu: %s", (unsigned long long)seed, #condition);                       \
        }                                                                                          \
    } while (0)

static struct chassis_prng *prng(void)
{
    return chassis_sim_prng(f.rig.sim);
}

static int64_t now_ns(void)
{
    return chassis_wall_ns(f.clock);
}

/* ---- publishing ---- */

static void learn_new(struct known *k, uint64_t sequence, uint32_t id)
{
    WANT(sequence != 0 && sequence < SEQUENCES);
    WANT(k->stored[sequence].id == 0);
    k->stored[sequence].id = id;
    k->last = sequence > k->last ? sequence : k->last;
    k->seen_ns[id] = now_ns();
    published++;
}

static void learn(const struct pending *p, uint32_t i)
{
    struct known *k = &known[p->stream];
    const struct cat_publish_event *e = &p->post->events[i];
    if (p->post->publish.status == CHASSIS_NOT_FOUND || k->generation != p->generation ||
        e->status != 0) {
        WANT(p->post->publish.status != 0 || e->status == 0 ||
             e->status == CHASSIS_RESOURCE_EXHAUSTED);
        return;
    }
    if (!e->duplicate) {
        learn_new(k, e->sequence, p->ids[i]);
        return;
    }
    duplicates++;
    WANT(k->config.dedupe_ms != 0);
    if (e->sequence != 0) {
        /* The first one may have been in flight at a crash, unheard of. */
        WANT(k->stored[e->sequence].id == p->ids[i] || k->stored[e->sequence].id == 0);
    }
}

static void settle(void)
{
    for (;;) { /* in the order they were done */
        unsigned first = n_pending;
        for (unsigned i = 0; i < n_pending; i++) {
            if (pending[i].post->done &&
                (first == n_pending || pending[i].post->turn < pending[first].post->turn)) {
                first = i;
            }
        }
        if (first == n_pending) {
            return;
        }
        for (uint32_t i = 0; i < pending[first].post->publish.n_events; i++) {
            learn(&pending[first], i);
        }
        post_free(pending[first].post);
        memmove(pending + first, pending + first + 1, (--n_pending - first) * sizeof pending[0]);
    }
}

static void publish_some(void)
{
    settle();
    if (n_pending == PENDING) {
        fixture_run_ms(20);
        settle();
        return;
    }
    struct pending *p = &pending[n_pending];
    p->stream = (unsigned)chassis_prng_below(prng(), STREAMS);
    p->generation = known[p->stream].generation;
    if (known[p->stream].last + 4 * PENDING * BATCH > SEQUENCES) {
        return;
    }
    p->post = post_new(name_of(p->stream));
    p->crashed = false;
    unsigned n = 1 + (unsigned)chassis_prng_below(prng(), BATCH);
    for (unsigned i = 0; i < n; i++) {
        char id[16];
        p->ids[i] = 1 + (uint32_t)chassis_prng_below(prng(), IDS);
        snprintf(id, sizeof id, "%u", p->ids[i]);
        post_add(p->post, id, NULL, NULL, 0);
    }
    n_pending++;
    post_send(p->post);
}

/* ---- streams ---- */

static void random_config(unsigned i, struct cat_stream_config *config)
{
    *config = (struct cat_stream_config){.name = chassis_view_str(name_of(i))};
    config->dedupe_ms = chassis_prng_chance(prng(), 0.7) ? DEDUPE_MS : 0;
    config->durability = (enum cat_durability)(1 + chassis_prng_below(prng(), 3));
    config->durability = chassis_prng_chance(prng(), 0.5) ? CAT_FSYNC : config->durability;
    config->interval_ms = 100;
    if (chassis_prng_chance(prng(), 0.4)) {
        config->events_max = 20 + chassis_prng_below(prng(), 100);
        config->when_full = chassis_prng_chance(prng(), 0.3) ? CAT_REFUSE_NEW : CAT_DISCARD_OLD;
    }
}

static void forget_stream(unsigned i)
{
    struct known *k = &known[i];
    unsigned generation = k->generation + 1;
    memset(k, 0, sizeof *k);
    k->generation = generation;
    k->floor = k->floor_wanted = 1;
}

static void make_or_delete(void)
{
    unsigned i = (unsigned)chassis_prng_below(prng(), STREAMS);
    struct known *k = &known[i];
    if (!k->there) {
        struct cat_stream_config config;
        random_config(i, &config);
        WANT(stream_create(&config) == 0);
        settle();
        forget_stream(i);
        k->there = true;
        k->config = config;
    } else if (chassis_prng_chance(prng(), 0.3)) {
        WANT(stream_delete(name_of(i)) == 0);
        settle();
        forget_stream(i);
    }
}

static void purge(void)
{
    unsigned i = (unsigned)chassis_prng_below(prng(), STREAMS);
    struct known *k = &known[i];
    if (!k->there || k->last == 0) {
        return;
    }
    uint64_t from = 1 + chassis_prng_below(prng(), k->last);
    k->floor_wanted = from > k->floor_wanted ? from : k->floor_wanted;
    WANT(stream_purge(name_of(i), from, 0, NULL) == 0);
    settle();
    k->floor = from > k->floor ? from : k->floor;
}

/* ---- looking ---- */

static void check_stream(unsigned i)
{
    struct known *k = &known[i];
    struct cat_stream_info info;
    int rc = stream_get(name_of(i), &info);
    WANT(rc == (k->there ? 0 : CHASSIS_NOT_FOUND));
    if (rc != 0) {
        return;
    }
    struct cat_start start = {.kind = CAT_START_EARLIEST};
    struct seen *s = seen_open(name_of(i), start, 4000);
    WANT(seen_wait(s, (unsigned)info.events));
    fixture_run_ms(1);
    WANT(s->n == info.events && s->gaps == 0);
    if (k->may_lose && info.log.last < k->last) {
        memset(k->stored + info.log.last + 1, 0, (k->last - info.log.last) * sizeof k->stored[0]);
        k->last = info.log.last;
    }
    k->may_lose = false;
    WANT(info.log.last >= k->last);
    WANT(info.log.first >= k->floor || (info.events == 0 && info.log.last + 1 == info.log.first));
    uint64_t first_max = k->floor_wanted;
    if (k->config.events_max != 0) {
        WANT(info.events <= k->config.events_max);
        if (info.log.last > k->config.events_max &&
            info.log.last + 1 - k->config.events_max > first_max) {
            first_max = info.log.last + 1 - k->config.events_max;
        }
    }
    WANT(info.log.first <= first_max || info.events == 0);
    for (unsigned n = 0; n < s->n; n++) {
        uint32_t id = (uint32_t)strtoul(s->ids[n], NULL, 10);
        WANT(s->sequences[n] == info.log.first + n && s->sequences[n] < SEQUENCES);
        struct stored *stored = &k->stored[s->sequences[n]];
        WANT(stored->id == 0 || stored->id == id); /* 0: in flight at a crash */
        stored->id = id;
        read_back++;
    }
    for (unsigned n = 0; n < s->n && k->config.dedupe_ms != 0; n++) {
        for (unsigned m = n + 1; m < s->n; m++) { /* within the window nothing stands twice */
            WANT(strcmp(s->ids[n], s->ids[m]) != 0 || k->config.dedupe_ms == 0 ||
                 s->times[m] - s->times[n] > (int64_t)DEDUPE_MS * 1000000);
        }
    }
    k->last = info.log.last;
    seen_close(s);
}

static void check(void)
{
    fixture_run_ms(50);
    settle();
    WANT(n_pending == 0);
    for (unsigned i = 0; i < STREAMS; i++) {
        check_stream(i);
    }
}

static void lose_pending(void)
{
    settle();
    for (unsigned i = 0; i < n_pending; i++) {
        post_free(pending[i].post);
    }
    n_pending = 0;
}

static void live(void)
{
    fixture_begin(seed, seed % 3 == 0 ? 16384 : 1 << 20);
    memset(known, 0, sizeof known);
    for (unsigned i = 0; i < STREAMS; i++) {
        forget_stream(i);
    }
    for (unsigned cycle = 0; cycle < CYCLES; cycle++) {
        unsigned n = (unsigned)chassis_prng_below(prng(), 80);
        for (unsigned k = 0; k < n; k++) {
            double what = chassis_prng_unit(prng());
            if (what < 0.85) {
                publish_some();
            } else if (what < 0.94) {
                make_or_delete();
            } else {
                purge();
            }
            if (chassis_prng_chance(prng(), 0.3)) {
                rig_run(&f.rig, chassis_prng_below(prng(), 800000));
            }
            if (chassis_prng_chance(prng(), 0.02)) {
                fixture_run_ms(chassis_prng_below(prng(), 20000));
            }
        }
        if (chassis_prng_chance(prng(), 0.3)) {
            check();
        }
        bool crash = chassis_prng_chance(prng(), 0.7);
        bool kill = crash && chassis_prng_chance(prng(), 0.3);
        settle();
        for (unsigned i = 0; i < STREAMS; i++) {
            known[i].may_lose = crash && (known[i].config.durability == CAT_MEMORY ||
                                          (known[i].config.durability == CAT_INTERVAL && !kill));
        }
        if (kill) {
            fixture_kill();
        } else {
            fixture_reopen(crash);
        }
        lose_pending();
        crashes += crash;
        check();
    }
    fixture_end();
}

static void a_broker_keeps_what_it_acknowledged(void **state)
{
    const char *one = getenv("SEED");
    uint64_t from = one != NULL ? strtoull(one, NULL, 10) : 0;
    uint64_t to = one != NULL ? from + 1 : 150;
    for (seed = from; seed < to; seed++) {
        live();
    }
    print_message("%lu events stored, %lu duplicates, %lu read back, %lu crashes\n", published,
                  duplicates, read_back, crashes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broker_keeps_what_it_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
