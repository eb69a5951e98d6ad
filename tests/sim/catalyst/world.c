/* The machine, the node on it, its faults, and the course of a run. */
#include "world.h"

#include <stdarg.h>

struct world w;
const char *const stream_names[STREAMS] = {"plain", "short", "keyed"};

enum { SHORT_EVENTS_MAX = 200 };
#define CALM_NS (120 * CHASSIS_NS_PER_S)

void wrong(const char *format, ...)
{
    va_list args;
    if (!w.failed) {
        w.failed = true;
        va_start(args, format);
        vsnprintf(w.why, sizeof w.why, format, args);
        va_end(args);
    }
}

struct chassis_prng *prng(void)
{
    return chassis_sim_prng(w.sim);
}

bool chance(double probability)
{
    return chassis_prng_chance(prng(), probability);
}

void world_call(void (*fn)(void *data), void *data)
{
    chassis_sim_call(w.loop, fn, data);
}

void run_ns(uint64_t ns)
{
    chassis_sim_run(w.sim, ns, NULL, NULL);
}

static int64_t wall_ns(void *data)
{
    return chassis_wall_ns(w.clock);
}

struct event_id id_of(struct chassis_view text)
{
    struct event_id id = {0};
    char copy[32];
    snprintf(copy, sizeof copy, "%.*s", CHASSIS_VIEW_ARG(text));
    if (sscanf(copy, "%" SCNu32 ":%" SCNu32, &id.producer, &id.number) != 2) {
        wrong("an event has the id '%s'", copy);
    }
    return id;
}

void learn(unsigned stream, uint64_t sequence, struct event_id id)
{
    if (sequence == 0 || sequence >= SEQUENCES) {
        wrong("stream %s: sequence %" PRIu64, stream_names[stream], sequence);
        return;
    }
    struct event_id *truth = &w.truth[stream][sequence];
    if (truth->number != 0 && (truth->number != id.number || truth->producer != id.producer)) {
        wrong("stream %s, sequence %" PRIu64 ": was %u:%u, now %u:%u", stream_names[stream],
              sequence, truth->producer, truth->number, id.producer, id.number);
    }
    *truth = id;
    w.last_seen[stream] = sequence > w.last_seen[stream] ? sequence : w.last_seen[stream];
}

/* ---- the node ---- */

static int make_filter(struct chassis_view encoded, struct cat_filter **ret_filter,
                       struct chassis_error *err)
{
    *ret_filter = NULL;
    return 0;
}

static void open_now(void *data)
{
    struct cat_broker_options broker = {.journal = w.journal,
                                        .loop = w.loop,
                                        .workers = w.worker,
                                        .log = chassis_log_module("catalyst"),
                                        .wall_ns = wall_ns};
    struct cat_groups_options groups = {.loop = w.loop,
                                        .log = chassis_log_module("catalyst.groups"),
                                        .wall_ns = wall_ns,
                                        .filter = make_filter};
    w.broker = NULL;
    w.groups = NULL;
    w.rc = cat_broker_open(&broker, &w.broker, &w.err);
    if (w.rc == 0) {
        groups.broker = w.broker;
        w.rc = cat_groups_open(&groups, &w.groups, &w.err);
    }
}

static void on_created(void *data, int status, const struct chassis_error *err)
{
    /* With a full disk it is made later: clients meet NOT_FOUND until then. */
}

static void create_now(void *data)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        struct cat_stream_config config = {.name = chassis_view_str(stream_names[i]),
                                           .durability = w.planted == PLANT_EARLY_ACK ? CAT_MEMORY
                                                                                      : CAT_FSYNC,
                                           .dedupe_ms = 600000,
                                           .events_max = i == 1 ? SHORT_EVENTS_MAX : 0};
        cat_stream_create(w.broker, &config, on_created, NULL);
    }
}

static void abandon(void)
{
    chassis_journal_abandon(w.journal);
    cat_groups_abandon(w.groups);
    cat_broker_abandon(w.broker);
    w.journal = NULL;
    w.groups = NULL;
    w.broker = NULL;
}

static void start(void)
{
    w.loop = chassis_sim_executor(w.host, "loop", 0);
    w.writer = chassis_sim_executor(w.host, "journal", 300000);
    w.preparer = chassis_sim_executor(w.host, "prepare", 500000);
    w.worker = chassis_sim_executor(w.host, "worker", 200000);
    w.clock = chassis_sim_clock(w.host);
    struct chassis_journal_options options = {
        .disk = chassis_sim_disk(w.host),
        .directory = "d/j",
        .owner = w.loop,
        .writer = w.writer,
        .preparer = w.preparer,
        .log = chassis_log_module("journal"),
        .segment_bytes = 64 << 10,
        .reserve_bytes = 256 << 10,
        .sync_interval_ms = 100,
        .cache_bytes_per_stream = 8 << 10,
        .live_percent = 50,
    };
    chassis_error_clear(&w.err);
    if (chassis_journal_open(&options, &w.journal, &w.err) != 0) {
        wrong("open the journal: %s", w.err.text);
        return;
    }
    world_call(open_now, NULL);
    if (w.rc == CHASSIS_NO_SPACE) { /* at the very first start only */
        chassis_sim_host_crash(w.host, false);
        abandon();
        return;
    }
    if (w.rc != 0) {
        wrong("open: %s", w.err.text);
        return;
    }
    w.up = true;
    world_call(create_now, NULL);
}

static void down(void)
{
    w.up = false;
    producers_lost();
    consumers_lost();
}

static void crash(bool power)
{
    *(power ? &w.report.power_losses : &w.report.kills) += 1;
    chassis_sim_host_crash(w.host, power);
    abandon();
    down();
}

static void on_journal_closed(void *data)
{
    w.closed = true;
}

static void on_broker_closed(void *data)
{
    w.broker = NULL;
    chassis_journal_close(w.journal, on_journal_closed, NULL);
}

static void on_groups_closed(void *data)
{
    w.groups = NULL;
    cat_broker_close(w.broker, on_broker_closed, NULL);
}

static void close_now(void *data)
{
    cat_groups_close(w.groups, on_groups_closed, NULL);
}

static bool is_closed(void *data)
{
    return w.closed;
}

static void stop(void)
{
    w.closed = false;
    world_call(close_now, NULL);
    if (!chassis_sim_run(w.sim, CALM_NS, is_closed, NULL)) {
        if (!w.disk_limited) {
            wrong("the node does not close");
        }
        crash(false); /* what was accepted cannot be written: somebody loses patience */
        return;
    }
    w.journal = NULL;
    w.report.restarts++;
    down();
}

/* ---- a run ---- */

static void fault(void)
{
    double what = chassis_prng_unit(prng());
    if (what < 0.35) {
        crash(true);
    } else if (what < 0.6) {
        crash(false);
    } else if (what < 0.75) {
        stop();
    } else if (what < 0.9) {
        uint64_t used = chassis_sim_disk_used(w.host);
        chassis_sim_disk_limit(w.host, used + chassis_prng_below(prng(), 600 << 10));
        w.disk_limited = true;
        w.report.full_disks++;
    } else {
        chassis_sim_executor_delay(w.writer, 50 * CHASSIS_NS_PER_MS);
        w.report.slow_disks++;
    }
}

static void heal(void)
{
    chassis_sim_disk_limit(w.host, 0);
    w.disk_limited = false;
    if (!w.up) {
        start();
    }
    if (w.up) {
        chassis_sim_executor_delay(w.writer, 300000);
    }
}

static void act(void)
{
    if (!w.up && chance(0.1)) {
        start();
    }
    if (w.up) {
        producers_act();
        consumers_act();
    }
    run_ns(chassis_prng_below(prng(), 2 * CHASSIS_NS_PER_MS));
    if (w.up && chance(0.004)) {
        fault();
    }
    if (chance(0.002)) {
        heal();
    }
}

static void world_end(void)
{
    if (w.up) {
        chassis_sim_host_crash(w.host, false);
        abandon();
        down();
    }
    producers_fini();
    consumers_fini();
    w.report.virtual_ns = chassis_sim_now_ns(w.sim);
    chassis_sim_free(w.sim);
}

bool world_run(uint64_t seed, enum planted planted, uint64_t seconds)
{
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.planted = planted;
    w.sim = chassis_sim_new(seed);
    w.host = chassis_sim_host_new(w.sim, "a");
    producers_init();
    consumers_init();
    start();
    while (!w.failed && chassis_sim_now_ns(w.sim) < seconds * CHASSIS_NS_PER_S) {
        act();
    }
    if (!w.failed) {
        heal();
        producers_stop();
        consumers_hungry();
    }
    uint64_t until = chassis_sim_now_ns(w.sim) + CALM_NS;
    while (!w.failed && !(producers_done() && consumers_done())) {
        producers_act();
        consumers_act();
        run_ns(5 * CHASSIS_NS_PER_MS);
        if (chassis_sim_now_ns(w.sim) > until) {
            wrong("all is healed, but %s", producers_done() ? "consumers do not come to the end"
                                                            : "producers are not served");
        }
    }
    if (!w.failed) {
        producers_check();
        consumers_check();
    }
    bool ok = !w.failed;
    world_end();
    return ok;
}
