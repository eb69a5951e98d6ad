/* Groups above broker, catalog and journal on a machine that is killed, loses power, is restarted and
 * has its disk filled, while members come, go, answer, fail and fall silent.
 *
 *     test_sim_catalyst_groups [--seeds N] [--seed X] [--keep FILE]
 *
 * DRAFT_SIM_TRACE=1 prints what happens. A failing seed prints itself with the command that runs it
 * again. */
#include <inttypes.h>

#include "catalyst/event/build.h"
#include "catalyst/groups/letter.h"
#include "tests/unit/journal/rig.h"
#include "truth.h"

#define V(text) chassis_view_str(text)
#define MS      UINT64_C(1000000)

enum { MEMBERS = 10, QUEUE = 4096, ROUNDS = 700, BATCH_MAX = 20 };

struct member {
    struct cat_member *member;
    unsigned group;
    bool there;
    uint32_t credit;
    struct {
        uint64_t sequence, due_ns;
    } queue[QUEUE];
    unsigned n;
};
static struct {
    uint64_t seed;
    struct rig rig;
    struct chassis_prng prng;
    struct chassis_executor *worker;
    struct cat_broker *broker;
    struct cat_groups *groups;
    struct truth *truth;
    struct member members[MEMBERS];
    struct cat_publish publish;
    struct cat_publish_event events[BATCH_MAX];
    struct chassis_buf bytes[BATCH_MAX];
    unsigned first, n; /* events of the publish under way, 0 = none */
    bool published, publish_failed, done, replaying, quiet, trace;
    int rc;
    struct chassis_error err;
    unsigned crashes;
} w;

static uint64_t below(uint64_t bound)
{
    return chassis_prng_below(&w.prng, bound);
}
static uint64_t now_ns(void)
{
    return chassis_sim_now_ns(w.rig.sim);
}

void wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("seed %" PRIu64 " at %" PRIu64 " ms: ", w.seed, now_ns() / MS);
    vprintf(format, args);
    printf("\nrun again: test_sim_catalyst_groups --seed %" PRIu64 "\n", w.seed);
    va_end(args);
    fflush(stdout);
    _exit(1);
}

#define trace(...)                                                                                 \
    do {                                                                                           \
        if (w.trace) {                                                                             \
            printf("%8" PRIu64 " ", now_ns() / MS);                                                \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
        }                                                                                          \
    } while (0)

static void call(void (*fn)(void *data), void *data)
{
    w.truth->now_ns = now_ns();
    chassis_sim_call(w.rig.options.owner, fn, data);
}
static bool is_done(void *data)
{
    return w.done;
}
static void wait_done(const char *what)
{
    if (!chassis_sim_run(w.rig.sim, 60 * CHASSIS_NS_PER_S, is_done, NULL)) {
        wrong("%s does not end", what);
    }
}

/* ---- the machine ---- */

static int64_t wall_ns(void *data)
{
    return INT64_C(1700000000000000000) + (int64_t)now_ns();
}
static int odd_filter(struct chassis_view encoded, struct cat_filter **ret_filter,
                      struct chassis_error *err)
{
    return cat_filter_compile_json(encoded, ret_filter, err);
}
static void open_now(void *data)
{
    struct cat_broker_options broker = {.journal = w.rig.journal,
                                        .loop = w.rig.options.owner,
                                        .workers = w.worker,
                                        .log = chassis_log_module("broker"),
                                        .wall_ns = wall_ns};
    struct cat_groups_options groups = {.loop = w.rig.options.owner,
                                        .log = chassis_log_module("groups"),
                                        .wall_ns = wall_ns,
                                        .filter = odd_filter};
    w.rc = cat_broker_open(&broker, &w.broker, &w.err);
    groups.broker = w.broker;
    w.rc = w.rc == 0 ? cat_groups_open(&groups, &w.groups, &w.err) : w.rc;
    if (w.rc != 0) {
        wrong("open: %s", w.err.text);
    }
}
static void start(void)
{
    if (rig_open(&w.rig) != 0) {
        wrong("open the journal: %s", w.rig.err.text);
    }
    w.worker = chassis_sim_executor(w.rig.host, "worker", 300000);
    call(open_now, NULL);
}
static void on_closed(void *data)
{
    w.done = true;
}
static void close_groups(void *data)
{
    cat_groups_close(w.groups, on_closed, NULL);
}
static void close_broker(void *data)
{
    cat_broker_close(w.broker, on_closed, NULL);
}

static void stopped(bool orderly)
{
    w.truth->now_ns = now_ns();
    truth_stopped(w.truth, orderly);
    for (unsigned i = 0; i < MEMBERS; i++) {
        w.members[i].there = false;
    }
    w.publish_failed |= w.n != 0 && !w.published;
    w.replaying = false;
}

static void crash(bool power)
{
    trace("%s", power ? "loss of power" : "killed");
    w.crashes++;
    chassis_sim_host_crash(w.rig.host, power);
    chassis_journal_abandon(w.rig.journal);
    cat_groups_abandon(w.groups);
    cat_broker_abandon(w.broker);
    stopped(false);
    start();
}

static void restart(void)
{
    trace("restart");
    w.done = false;
    call(close_groups, NULL);
    wait_done("closing groups");
    w.done = false;
    call(close_broker, NULL);
    wait_done("closing the broker");
    stopped(true);
    rig_close(&w.rig);
    chassis_sim_host_crash(w.rig.host, false);
    start();
}

/* ---- members ---- */

static void on_deliver(void *data, const struct cat_log_event *stored, uint32_t attempt)
{
    struct member *m = data;
    struct cat_event event;
    char id[16] = "";
    if (cat_event_parse(stored->bytes, &event, &w.err) != 0) {
        wrong("%s", w.err.text);
    }
    memcpy(id, event.id.data, event.id.len < 15 ? event.id.len : 15);
    unsigned number = (unsigned)strtoul(id + 1, NULL, 10);
    if (m->credit-- == 0 || !m->there) {
        wrong("a delivery without credit");
    }
    w.truth->now_ns = now_ns();
    trace("group %u member %d event %u (%" PRIu64 ") attempt %u", m->group, (int)(m - w.members),
          number, stored->sequence, attempt);
    truth_delivered(w.truth, m->group, (int)(m - w.members), number, stored->sequence, attempt);
    if (m->n < QUEUE) {
        uint64_t delay = w.quiet ? 0 : below(10) == 0 ? below(2000) : below(60);
        m->queue[m->n].sequence = stored->sequence;
        m->queue[m->n++].due_ns = now_ns() + delay * MS;
    }
}
static void on_flush(void *data)
{
}
static void on_ended(void *data, int status, const struct chassis_error *err)
{
    struct member *m = data;
    w.truth->now_ns = now_ns();
    truth_left(w.truth, m->group, (int)(m - w.members));
    m->there = false;
    if (status != CHASSIS_SHUTTING_DOWN) {
        wrong("a member ended: %s", chassis_error_text(err));
    }
}
static const struct cat_member_ops ops = {on_deliver, on_flush, on_ended, NULL};

static void join_now(void *data)
{
    struct member *m = data;
    uint64_t next;
    struct cat_member_options o = {
        .stream = V("s"), .group = V(w.truth->groups[m->group].name), .ops = &ops, .data = m};
    int rc = cat_member_join(w.groups, &o, &m->member, &next, &w.err);
    if (rc != 0) {
        wrong("join: %s", w.err.text);
    }
    m->there = true;
    m->n = 0;
    m->credit = w.quiet ? 100000 : 1 + (uint32_t)below(50);
    cat_member_credit(m->member, m->credit);
}

static void leave_now(void *data)
{
    struct member *m = data;
    m->there = false;
    truth_left(w.truth, m->group, (int)(m - w.members));
    cat_member_leave(m->member);
}

static void answer(struct member *m, uint64_t sequence)
{
    unsigned luck = w.quiet ? 50 : (unsigned)below(100);
    struct cat_answer a = {.sequence = sequence, .kind = CAT_ACK};
    if (luck < 6) {
        return; /* silence */
    }
    if (luck < 18) {
        a.kind = CAT_NACK;
        a.delay_ms = luck < 12 ? (uint32_t)below(500) : 0;
    } else if (luck < 20) {
        a.kind = CAT_TERM;
    } else if (luck < 24) {
        a.kind = CAT_IN_PROGRESS;
    }
    int rc = cat_member_answer(m->member, &a);
    trace("group %u member %d answers %" PRIu64 " kind %d: %d", m->group, (int)(m - w.members),
          sequence, (int)a.kind, rc);
    truth_answered(w.truth, m->group, (int)(m - w.members), sequence, &a, rc);
    if (m->there && !w.quiet) {
        m->credit++;
        cat_member_credit(m->member, 1);
    }
}

static void answer_due(void *data)
{
    struct member *m = data;
    unsigned kept = 0, n = m->n;
    for (unsigned i = 0; i < n && m->there; i++) {
        if (m->queue[i].due_ns > now_ns()) {
            m->queue[kept++] = m->queue[i];
        } else {
            answer(m, m->queue[i].sequence);
        }
    }
    for (unsigned i = n; i < m->n; i++) { /* delivered meanwhile */
        m->queue[kept++] = m->queue[i];
    }
    m->n = m->there ? kept : 0;
}

/* ---- publishing ---- */

static void on_published(struct cat_publish *p)
{
    bool all = p->status == 0;
    for (unsigned i = 0; i < w.n; i++) {
        all = all && w.events[i].status == 0;
    }
    w.publish_failed = !all;
    w.published = all;
    for (unsigned i = 0; i < w.n; i++) {
        w.truth->events[w.first + i].stored |= p->status == 0 && w.events[i].status == 0;
    }
}

static void publish_now(void *data)
{
    w.publish = (struct cat_publish){
        .stream = V("s"), .events = w.events, .n_events = w.n, .done = on_published};
    for (unsigned i = 0; i < w.n; i++) {
        w.events[i] = (struct cat_publish_event){0};
        if (cat_event_parse(chassis_buf_view(&w.bytes[i]), &w.events[i].event, &w.err) != 0) {
            wrong("%s", w.err.text);
        }
    }
    w.published = w.publish_failed = false;
    cat_publish(w.broker, &w.publish);
}

static void make_batch(void)
{
    w.first = w.truth->n_events;
    w.n = 1 + (unsigned)below(BATCH_MAX);
    for (unsigned i = 0; i < w.n; i++) {
        struct event *e = &w.truth->events[w.first + i];
        char id[16], key[16];
        *e = (struct event){.key = (unsigned)below(KEYS), .odd = below(2) != 0};
        snprintf(id, sizeof id, "n%u", w.first + i);
        snprintf(key, sizeof key, "key-%u", e->key);
        struct cat_attribute attribute = {V("partitionkey"), cat_value_string(V(key))};
        struct cat_event_parts parts = {.id = V(id),
                                        .source = V("/sim"),
                                        .type = V(e->odd ? "odd" : "even"),
                                        .attributes = &attribute,
                                        .attribute_count = e->key != 0,
                                        .data_kind = CAT_DATA_TEXT,
                                        .data = V("x")};
        chassis_buf_clear(&w.bytes[i]);
        cat_event_build(&parts, &w.bytes[i]);
        for (unsigned g = 0; g < GROUPS; g++) {
            w.truth->rows[g][w.first + i].member = -1;
        }
    }
    w.truth->n_events += w.n;
}

static void publish_some(void)
{
    if (w.n != 0 && w.publish_failed) {
        call(publish_now, NULL); /* the same once more */
    } else if ((w.n == 0 || w.published) && w.truth->n_events + BATCH_MAX < EVENTS_MAX) {
        make_batch();
        call(publish_now, NULL);
    }
}

/* ---- dead letters ---- */

static void on_replayed(void *data, int status, uint64_t count, const struct chassis_error *err)
{
    trace("replayed %" PRIu64 ": %d", count, status);
    w.replaying = false;
}
static void replay_now(void *data)
{
    struct group_rules *g = data;
    trace("replay %s", g->name);
    truth_replay(w.truth, (unsigned)(g - w.truth->groups));
    cat_dead_letter_replay(w.groups, V("s"), V(g->name), NULL, 0, on_replayed, NULL);
}

static unsigned peeked_group;
static void on_letter(void *data, const struct cat_log_event *stored)
{
    struct cat_event event;
    struct cat_letter letter;
    if (cat_event_parse(stored->bytes, &event, NULL) != 0 || !cat_letter_read(&event, &letter)) {
        wrong("a dead letter that is none");
    }
    unsigned e = w.truth->at_sequence[letter.sequence];
    trace("letter %" PRIu64 " '%.*s' of sequence %" PRIu64 ", group %.*s, %u attempts, %.*s",
          stored->sequence, CHASSIS_VIEW_ARG(event.id), letter.sequence,
          CHASSIS_VIEW_ARG(letter.group), letter.attempts, CHASSIS_VIEW_ARG(letter.reason));
    if (e == 0) {
        wrong("a dead letter of an event nobody saw");
    }
    w.truth->rows[peeked_group][e - 1].letters++;
}
static void on_peeked(void *data, int status, uint64_t next, const struct chassis_error *err)
{
    w.done = true;
    if (status != 0) {
        wrong("peek: %s", chassis_error_text(err));
    }
}
static void peek_now(void *data)
{
    cat_dead_letter_peek(w.groups, V("s"), V(w.truth->groups[peeked_group].name), 0, UINT32_MAX,
                         on_letter, on_peeked, NULL);
}

/* ---- a run ---- */

static void on_made(void *data, int status, const struct chassis_error *err)
{
    w.done = true;
    if (status != 0) {
        wrong("make: %s", chassis_error_text(err));
    }
}
static void make_stream_now(void *data)
{
    struct cat_stream_config config = {.name = V("s"), .dedupe_ms = 600000};
    cat_stream_create(w.broker, &config, on_made, NULL);
}
static void make_group_now(void *data)
{
    struct group_rules *g = data;
    struct cat_group_config config = {
        .stream = V("s"),
        .name = V(g->name),
        .start = {.kind = CAT_START_EARLIEST},
        .ack_wait_ms = g->ack_wait_ms,
        .deliveries_max = g->deliveries_max,
        .in_flight_max = g->in_flight_max,
        .backoff_ms = {g->backoff_ms},
        .n_backoff = g->backoff_ms != 0,
        .ordered_by_key = g->ordered,
        .filter = g->odd_only ? V("{\"exact\": {\"type\": \"odd\"}}") : chassis_view(NULL, 0),
    };
    cat_group_create(w.groups, &config, on_made, NULL);
}

static void make_all(void)
{
    w.done = false;
    call(make_stream_now, NULL);
    wait_done("making a stream");
    for (unsigned i = 0; i < GROUPS; i++) {
        struct group_rules *g = &w.truth->groups[i];
        snprintf(g->name, sizeof g->name, "g%u", i);
        g->ack_wait_ms = 100 + (uint32_t)below(1500);
        g->deliveries_max = 1 + (uint32_t)below(6);
        g->in_flight_max = 1 + (uint32_t)below(i % 2 != 0 ? 8 : 200);
        g->backoff_ms = below(2) != 0 ? (uint32_t)below(300) : 0;
        g->ordered = i >= 2 || below(2) != 0;
        g->odd_only = i == 3;
        w.done = false;
        call(make_group_now, g);
        wait_done("making a group");
    }
}

static void disk_full(bool full)
{
    trace("disk %s", full ? "full" : "free");
    uint64_t used = chassis_sim_disk_used(w.rig.host);
    chassis_sim_disk_limit(w.rig.host, full ? used + below(1 << 20) : 0);
    if (full && w.truth->full_ns == 0) {
        w.truth->full_ns = now_ns();
    }
}

static void act(uint64_t *full_until)
{
    unsigned kind = (unsigned)below(1000);
    struct member *m = &w.members[below(MEMBERS)];
    if (kind < 400) {
        publish_some();
    } else if (kind < 520 && !m->there) {
        m->group = (unsigned)(m - w.members) % GROUPS;
        call(join_now, m);
    } else if (kind < 560 && m->there) {
        trace("member %d leaves", (int)(m - w.members));
        call(leave_now, m);
    } else if (kind < 575 && !w.replaying) {
        w.replaying = true;
        call(replay_now, &w.truth->groups[below(GROUPS)]);
    } else if (kind < 582) {
        crash(below(2) != 0);
    } else if (kind < 585 && *full_until == 0) {
        restart();
    } else if (kind < 588 && *full_until == 0) {
        disk_full(true);
        *full_until = now_ns() + below(2000) * MS;
    }
}

static void answer_all(void)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (w.members[i].there) {
            call(answer_due, &w.members[i]);
        }
    }
}

struct looking {
    unsigned group;
    struct cat_group_info info;
};
static void look_now(void *data)
{
    struct looking *l = data;
    if (cat_group_get(w.groups, V("s"), V(w.truth->groups[l->group].name), &l->info, &w.err)) {
        wrong("%s", w.err.text);
    }
}

static bool all_done(void)
{
    for (unsigned g = 0; g < GROUPS; g++) {
        struct looking l = {.group = g};
        call(look_now, &l);
        if (l.info.lag != 0) {
            return false;
        }
    }
    return true;
}

/* Everybody answers at once, with an acknowledgement: all comes to its end. */
static void settle(void)
{
    disk_full(false);
    for (unsigned i = 0; i < 1000 && w.n != 0 && !w.published; i++) {
        publish_some();
        rig_run(&w.rig, 20 * MS);
    }
    w.quiet = true;
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *m = &w.members[i];
        if (m->there) {
            call(leave_now, m);
        }
        m->group = i % GROUPS;
        call(join_now, m);
    }
    for (unsigned i = 0; i < 20000 && !all_done(); i++) {
        rig_run(&w.rig, 3 * MS);
        answer_all();
    }
    for (unsigned g = 0; g < GROUPS; g++) {
        struct looking l = {.group = g};
        call(look_now, &l);
        const struct cat_group_info info = l.info;
        if (info.lag != 0 || info.ack_floor != info.next_sequence) {
            wrong("group %u: lag %" PRIu64 ", floor %" PRIu64 ", next %" PRIu64 ", %u waiting", g,
                  info.lag, info.ack_floor, info.next_sequence, info.waiting);
        }
        peeked_group = g;
        w.done = false;
        call(peek_now, NULL);
        wait_done("peeking");
        truth_settled(w.truth, g);
    }
}

static void run(uint64_t seed, bool trace_it)
{
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.trace = trace_it;
    w.truth = calloc(1, sizeof *w.truth);
    rig_init(&w.rig, seed, 1 << 20);
    chassis_prng_init(&w.prng, seed);
    start();
    make_all();
    uint64_t full_until = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        rig_run(&w.rig, below(8) == 0 ? below(200) * MS : below(5 * MS));
        answer_all();
        if (full_until != 0 && now_ns() >= full_until) {
            disk_full(false);
            full_until = 0;
        } else if (w.truth->full_ns != 0 && full_until == 0 && below(40) == 0) {
            w.truth->full_ns = 0; /* long free: everything is saved by now, see UNSAVED_NS */
            rig_run(&w.rig, 2 * UNSAVED_NS);
        }
        act(&full_until);
    }
    settle();
    chassis_sim_host_crash(w.rig.host, false);
    chassis_journal_abandon(w.rig.journal);
    cat_groups_abandon(w.groups);
    cat_broker_abandon(w.broker);
    chassis_sim_free(w.rig.sim);
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        chassis_buf_fini(&w.bytes[i]);
    }
}

/* Lines "catalyst_groups SEED NODES why". */
static void run_kept(const char *path)
{
    char line[512];
    uint64_t seed;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        printf("sim: cannot read %s\n", path);
        exit(1);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "catalyst_groups %" SCNu64, &seed) == 1) {
            run(seed, false);
            free(w.truth);
        }
    }
    fclose(file);
}

int main(int argc, char **argv)
{
    uint64_t seeds = 25, one = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seeds") == 0) {
            seeds = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0) {
            one = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--keep") == 0) {
            run_kept(argv[i + 1]);
        } else if (strcmp(argv[i], "--nodes") != 0) {
            printf("sim: '%s' is unknown\n", argv[i]);
            return 1;
        }
    }
    unsigned events = 0, deliveries = 0, redeliveries = 0, acks = 0, crashes = 0, replayed = 0;
    for (uint64_t seed = one != 0 ? one : 1; seed <= (one != 0 ? one : seeds); seed++) {
        run(seed, getenv("DRAFT_SIM_TRACE") != NULL);
        events += w.truth->n_events;
        deliveries += w.truth->n_deliveries;
        redeliveries += w.truth->n_redeliveries;
        acks += w.truth->n_acks;
        replayed += w.truth->n_replayed;
        crashes += w.crashes;
        free(w.truth);
    }
    printf("%u events, %u deliveries (%u again, %u replayed), %u acknowledged, %u crashes\n",
           events, deliveries, redeliveries, replayed, acks, crashes);
    return 0;
}
