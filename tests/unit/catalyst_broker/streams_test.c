/* Changing streams while they are used, what is said of them, and very many of them. */
#include "fixture.h"

#include <malloc.h>

static const struct cat_start earliest = {.kind = CAT_START_EARLIEST};

static struct cat_stream_info info_of(const char *name)
{
    struct cat_stream_info info;
    assert_int_equal(stream_get(name, &info), 0);
    return info;
}

static void change_to(const struct cat_stream_config *config)
{
    if (stream_update(config) != 0) {
        fail_msg("%s", change_err.text);
    }
}

/* One event of a type by the streams' rules. */
static void post_type(const char *id, const char *type)
{
    struct post *post = post_new("");
    post_add(post, id, type, NULL, 0);
    post_send(post);
    post_wait(post);
    assert_int_equal(post->events[0].status, 0);
    post_free(post);
}

/* ---- limits ---- */

static void a_lowered_limit_holds_at_once(void **state)
{
    fixture_begin(1, 1 << 20);
    struct cat_stream_config config = named("s");
    assert_int_equal(stream_create(&config), 0);
    publish_many("s", 1, 100, 10);
    struct seen *s = seen_open("s", earliest, 5);
    assert_true(seen_wait(s, 5));
    config.events_max = 40;
    change_to(&config);
    assert_int_equal(info_of("s").events, 40);
    assert_int_equal(info_of("s").log.first, 61);
    config.events_max = 0;
    config.bytes_max = info_of("s").log.bytes / 2;
    change_to(&config);
    assert_in_range(info_of("s").events, 10, 25);
    uint64_t first = info_of("s").log.first;
    seen_more(s, 100); /* who stood before it is told */
    assert_true(seen_wait(s, 5 + 101 - (unsigned)first));
    assert_int_equal(s->gap_from, 6);
    assert_int_equal(s->gap_to, first);
    seen_close(s);
    fixture_run_ms(10000);
    config.bytes_max = 0;
    config.age_max_ms = 5000;
    change_to(&config);
    fixture_run_ms(200);
    assert_int_equal(info_of("s").events, 0);
    fixture_run_ms(5000); /* durable */
    fixture_reopen(true);
    assert_int_equal(info_of("s").events, 0);
    assert_int_equal(info_of("s").config.age_max_ms, 5000);
    uint64_t sequence;
    assert_int_equal(post_one("s", "101", &sequence), 0);
    assert_int_equal(sequence, 101);
    config.age_max_ms = 0; /* and no limit again */
    change_to(&config);
    fixture_run_ms(200000);
    assert_int_equal(info_of("s").events, 1);
    fixture_end();
}

static void the_largest_event_and_what_happens_when_full_can_change(void **state)
{
    fixture_begin(2, 1 << 20);
    struct cat_stream_config config = named("s");
    assert_int_equal(stream_create(&config), 0);
    publish_many("s", 1, 3, 3);
    config.event_bytes_max = 10;
    change_to(&config);
    assert_int_equal(post_one("s", "4", NULL), CHASSIS_TOO_LARGE);
    config.event_bytes_max = 0;
    config.events_max = 3;
    config.when_full = CAT_REFUSE_NEW;
    change_to(&config);
    assert_int_equal(post_one("s", "4", NULL), CHASSIS_RESOURCE_EXHAUSTED);
    config.when_full = CAT_DISCARD_OLD;
    change_to(&config);
    assert_int_equal(post_one("s", "4", NULL), 0);
    assert_int_equal(info_of("s").log.first, 2);
    fixture_end();
}

static void changed_rules_count_from_then_on(void **state)
{
    struct cat_selection dots = {.type = chassis_view_str("order.*.paid")};
    struct cat_selection slashes = {.source = chassis_view_str("/test"),
                                    .type = chassis_view_str("order/>")};
    fixture_begin(3, 1 << 20);
    struct cat_stream_config config = named("s");
    config.takes = &dots;
    config.n_takes = 1;
    assert_int_equal(stream_create(&config), 0);
    post_type("1", "order.eu.paid");
    post_type("2", "order/eu/paid");
    assert_int_equal(info_of("s").events, 1);
    config.takes = &slashes;
    change_to(&config);
    for (int crash = 0; crash < 2; crash++) {
        post_type(crash != 0 ? "3c" : "3", "order.eu.paid");
        post_type(crash != 0 ? "4c" : "4", "order/eu/paid");
        assert_int_equal(info_of("s").events, 2 + crash);
        fixture_reopen(true);
    }
    config.n_takes = 0; /* only by name */
    change_to(&config);
    post_type("5", "order/eu/paid");
    assert_int_equal(info_of("s").events, 3);
    assert_int_equal(info_of("default").events, 4);
    fixture_end();
}

static void the_dedupe_window_can_change(void **state)
{
    fixture_begin(4, 1 << 20);
    struct cat_stream_config config = named("s");
    config.dedupe_ms = 0;
    assert_int_equal(stream_create(&config), 0);
    assert_int_equal(post_one("s", "x", NULL), 0);
    assert_int_equal(post_one("s", "x", NULL), 0);
    assert_int_equal(info_of("s").events, 2);
    config.dedupe_ms = 60000;
    change_to(&config);
    uint64_t sequence;
    assert_int_equal(post_one("s", "x", &sequence), 0); /* it knows what was stored before */
    assert_in_range(sequence, 1, 2);
    assert_int_equal(info_of("s").events, 2);
    fixture_run_ms(5000);
    config.dedupe_ms = 1000;
    change_to(&config);
    assert_int_equal(post_one("s", "x", NULL), 0);
    assert_int_equal(info_of("s").events, 3);
    assert_int_equal(post_one("s", "y", NULL), 0);
    fixture_run_ms(5000);
    config.dedupe_ms = 60000;
    change_to(&config);
    assert_int_equal(post_one("s", "y", &sequence), 0);
    assert_int_equal(sequence, 4);
    assert_int_equal(info_of("s").events, 4);
    config.dedupe_ms = 0;
    change_to(&config);
    assert_int_equal(post_one("s", "y", NULL), 0);
    assert_int_equal(info_of("s").events, 5);
    fixture_end();
}

static void on_updated(void *data, int status, const struct chassis_error *err)
{
    *(int *)data = status;
}

struct update {
    struct cat_stream_config config;
    int status;
};

static void update_now(void *data)
{
    struct update *u = data;
    cat_stream_update(f.broker, &u->config, on_updated, &u->status);
}

/* While the stream's past is being read for a narrower one. */
static void a_window_widened_while_the_past_is_read_is_not_forgotten(void **state)
{
    for (uint64_t step_us = 0; step_us < 1000; step_us += 50) {
        fixture_begin(200 + step_us, 4 << 20);
        struct update u = {.config = named("s"), .status = 1};
        u.config.dedupe_ms = 1000;
        assert_int_equal(stream_create(&u.config), 0);
        assert_int_equal(post_one("s", "old", NULL), 0);
        fixture_run_ms(5000);
        publish_many("s", 0, 8000, 500);
        f.rig.options.cache_bytes_per_stream = 1; /* reads go to the workers */
        fixture_reopen(false);
        u.config.dedupe_ms = 60000;
        fixture_call(update_now, &u);
        rig_run(&f.rig, step_us * 1000);
        struct post *post = post_new("s");
        post_add(post, "0", NULL, NULL, 0);
        post_send(post); /* begins to read */
        post_wait(post);
        post_free(post);
        fixture_run_ms(100);
        assert_int_equal(u.status, 0);
        assert_int_equal(post_one("s", "old", NULL), 0);
        assert_int_equal(info_of("s").events, 8001);
        fixture_end();
    }
}

/* Synced at an interval that is short: at once. Otherwise a power cut may take what was said last. */
static void a_changed_interval_counts_from_the_next_event_on(void **state)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        fixture_begin(100 + seed, 1 << 20);
        struct cat_stream_config config = named("s");
        config.durability = CAT_INTERVAL;
        config.interval_ms = 60000;
        assert_int_equal(stream_create(&config), 0);
        fixture_run_ms(seed);
        assert_int_equal(post_one("s", "1", NULL), 0);
        fixture_reopen(true);
        lost += info_of("s").events == 0;
        config.interval_ms = 60000;
        uint64_t before = info_of("s").events;
        config.interval_ms = 1;
        change_to(&config);
        assert_int_equal(post_one("s", "2", NULL), 0);
        fixture_reopen(true);
        assert_int_equal(info_of("s").events, before + 1);
        fixture_end();
    }
    assert_int_not_equal(lost, 0); /* otherwise this shows nothing */
}

static void what_cannot_change_is_refused_by_its_name(void **state)
{
    fixture_begin(5, 1 << 20);
    struct cat_stream_config config = named("s"), other;
    assert_int_equal(stream_update(&config), CHASSIS_NOT_FOUND);
    assert_int_equal(stream_create(&config), 0);
    assert_int_equal(post_one("s", "1", NULL), 0);
    const enum cat_durability durabilities[] = {CAT_INTERVAL, CAT_MEMORY};
    for (unsigned i = 0; i < 2; i++) {
        other = config;
        other.durability = durabilities[i];
        other.events_max = 1; /* nothing of it is done */
        assert_int_equal(stream_update(&other), CHASSIS_FAILED_PRECONDITION);
        assert_non_null(strstr(change_err.text, "durability"));
    }
    other = config;
    other.backend = chassis_view_str("nats");
    assert_int_equal(stream_update(&other), CHASSIS_FAILED_PRECONDITION);
    assert_non_null(strstr(change_err.text, "backend"));
    other = config;
    other.event_bytes_max = CAT_EVENT_BYTES_MAX + 1;
    assert_int_equal(stream_update(&other), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(change_err.text, "event_bytes_max"));
    struct cat_selection bad = {.subject = chassis_view_str("a.>.b")};
    other = config;
    other.takes = &bad;
    other.n_takes = 1;
    assert_int_equal(stream_update(&other), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(change_err.text, "takes[0].subject"));
    assert_int_equal(info_of("s").config.events_max, 0);
    fixture_reopen(true);
    assert_int_equal(info_of("s").config.events_max, 0);
    assert_int_equal(info_of("s").events, 1);
    fixture_end();
}

/* ---- what is said of a stream ---- */

static void a_description_knows_rate_and_times(void **state)
{
    fixture_begin(6, 1 << 20);
    struct cat_stream_config config = named("s");
    int64_t begun = chassis_wall_ns(f.clock);
    assert_int_equal(stream_create(&config), 0);
    struct cat_stream_info info = info_of("s");
    assert_true(info.created_ns >= begun && info.created_ns <= chassis_wall_ns(f.clock));
    assert_true(info.rate == 0 && info.events == 0 && info.log.bytes == 0);
    assert_int_equal(info.log.first_time_ns, 0);
    struct seen *s = seen_open("s", earliest, 4000);
    for (unsigned i = 0; i < 600; i++) {
        publish_many("s", i * 2, 2, 2);
        fixture_run_ms(100);
    }
    info = info_of("s");
    if (info.rate < 15 || info.rate > 25) {
        fail_msg("%g events a second, not about 20", info.rate);
    }
    assert_true(seen_wait(s, 1200));
    assert_int_equal(info.log.first_time_ns, s->times[0]);
    assert_int_equal(info.log.last_time_ns, s->times[1199]);
    assert_true(s->times[1199] - s->times[0] >= 59 * (int64_t)CHASSIS_NS_PER_S);
    assert_int_equal(stream_purge("s", 601, 0, NULL), 0);
    assert_int_equal(info_of("s").log.first_time_ns, s->times[600]);
    assert_in_range(info_of("s").log.bytes, info.log.bytes * 2 / 5, info.log.bytes * 3 / 5);
    config.events_max = 100;
    change_to(&config);
    assert_int_equal(info_of("s").log.first_time_ns, s->times[1100]);
    fixture_run_ms(60000);
    assert_true(info_of("s").rate < 0.5);
    assert_int_equal(stream_purge("s", 0, 0, NULL), 0);
    info = info_of("s");
    assert_int_equal(info.log.first_time_ns, 0);
    assert_int_equal(info.log.last_time_ns, s->times[1199]);
    assert_int_equal(info.log.first, 1201);
    assert_int_equal(info.log.bytes, 0);
    seen_close(s);
    fixture_end();
}

/* ---- refusals ---- */

/* An engine whose server takes nothing. */
static int fake_append(struct cat_log *log, struct cat_append *append, struct chassis_error *err)
{
    return chassis_error_set(err, CHASSIS_UNAVAILABLE, "the far server says no");
}
static void fake_read(struct cat_log *log, struct cat_read *read)
{
    read->done(read, 0, read->from, NULL);
}
static void fake_cancel(struct cat_log *log, struct cat_read *read)
{
}
static struct {
    void (*found)(void *data, int status, uint64_t sequence);
    void *data;
} asked[4]; /* it takes its time */
static unsigned n_asked;

static void fake_at_time(struct cat_log *log, int64_t time_ns,
                         void (*found)(void *data, int status, uint64_t sequence), void *data)
{
    assert_true(n_asked < 4);
    asked[n_asked].found = found;
    asked[n_asked++].data = data;
}
static void answer_now(void *data)
{
    for (unsigned i = 0; i < n_asked; i++) {
        asked[i].found(asked[i].data, 0, 1);
    }
    n_asked = 0;
}
static struct cat_log_state fake_state(struct cat_log *log)
{
    return (struct cat_log_state){.first = 1, .last = 5, .readable = 5, .first_time_ns = 1};
}
static uint64_t fake_at_bytes(struct cat_log *log, uint64_t bytes_max)
{
    return 1;
}
static void fake_trim(struct cat_log *log, uint64_t through)
{
}
static void fake_close(struct cat_log *log)
{
}
static void fake_open(struct cat_log_engine *engine, const struct cat_log_options *options,
                      void (*opened)(void *data, struct cat_log *log,
                                     const struct chassis_error *err),
                      void *data)
{
    static const struct cat_log_ops ops = {
        .append = fake_append,
        .read = fake_read,
        .cancel = fake_cancel,
        .at_time = fake_at_time,
        .state = fake_state,
        .at_bytes = fake_at_bytes,
        .trim = fake_trim,
        .close = fake_close,
        .destroy = fake_close,
    };
    static struct cat_log log = {&ops};
    opened(data, &log, NULL);
}
static int fake_engine(void *data, struct chassis_view name, struct cat_log_engine **ret_engine,
                       struct chassis_error *err)
{
    static const struct cat_log_engine_ops ops = {.open = fake_open};
    static struct cat_log_engine engine = {&ops, "far"};
    *ret_engine = &engine;
    return 0;
}

static void each_refused_event_is_told_why_and_the_others_are_stored(void **state)
{
    static const char *const types[] = {"near", "far", "small", "full", "near", "small", "far"};
    static const struct {
        int status;
        const char *why;
    } expected[] = {{0, ""},
                    {CHASSIS_UNAVAILABLE, "the far server says no"},
                    {CHASSIS_TOO_LARGE, "event_bytes_max: "},
                    {CHASSIS_RESOURCE_EXHAUSTED, "events_max: stream 'full' is full"},
                    {0, ""},
                    {CHASSIS_TOO_LARGE, "stream 'small' takes at most 20"},
                    {CHASSIS_UNAVAILABLE, "the far server says no"}};
    struct cat_selection far = {.type = chassis_view_str("far")};
    struct cat_selection small = {.type = chassis_view_str("small")};
    struct cat_selection full = {.type = chassis_view_str("full")};
    fixture_begin(8, 1 << 20);
    f.options.engine = fake_engine;
    fixture_reopen(false);
    struct cat_stream_config config = named("far");
    config.takes = &far;
    config.n_takes = 1;
    config.backend = chassis_view_str("far");
    assert_int_equal(stream_create(&config), 0);
    config = named("small");
    config.takes = &small;
    config.n_takes = 1;
    config.event_bytes_max = 20;
    assert_int_equal(stream_create(&config), 0);
    config = named("full");
    config.takes = &full;
    config.n_takes = 1;
    config.events_max = 1;
    config.when_full = CAT_REFUSE_NEW;
    assert_int_equal(stream_create(&config), 0);
    assert_int_equal(post_one("full", "first", NULL), 0);
    struct post *post = post_new("");
    for (unsigned i = 0; i < 7; i++) {
        char id[8];
        snprintf(id, sizeof id, "%u", i);
        post_add(post, id, types[i], NULL, 0);
    }
    post_send(post);
    post_wait(post);
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(post->events[i].status, expected[i].status);
        assert_non_null(strstr(post->why[i], expected[i].why));
        assert_int_equal(post->why[i][0] == '\0', expected[i].status == 0);
    }
    assert_int_equal(post->publish.status, CHASSIS_UNAVAILABLE);
    assert_int_equal(post->events[4].sequence, 2);
    post_free(post);
    assert_int_equal(info_of("default").events, 2);
    fixture_end();
}

static void a_reader_may_go_while_its_place_is_looked_for(void **state)
{
    for (int deleted = 0; deleted < 2; deleted++) {
        fixture_begin(11, 1 << 20);
        f.options.engine = fake_engine;
        fixture_reopen(false);
        struct cat_stream_config config = named("far");
        config.backend = chassis_view_str("far");
        assert_int_equal(stream_create(&config), 0);
        struct cat_start at = {.kind = CAT_START_TIME, .time_ns = 1};
        n_asked = 0;
        struct seen *s = seen_open("far", at, 10);
        assert_int_equal(n_asked, 1);
        if (deleted != 0) {
            assert_int_equal(stream_delete("far"), 0);
            assert_int_equal(s->ended, CHASSIS_NOT_FOUND);
        }
        seen_close(s);
        fixture_run_ms(10);
        fixture_call(answer_now, NULL);
        fixture_run_ms(10);
        assert_int_equal(post_one("default", "1", NULL), 0);
        fixture_end();
    }
}

static void a_stream_may_go_while_its_events_are_looked_for(void **state)
{
    for (int age = 0; age < 2; age++) {
        fixture_begin(12, 1 << 20);
        f.options.engine = fake_engine;
        fixture_reopen(false);
        struct cat_stream_config config = named("far");
        config.backend = chassis_view_str("far");
        config.dedupe_ms = age == 0 ? 60000 : 0;
        config.age_max_ms = age == 0 ? 0 : 1000;
        n_asked = 0;
        assert_int_equal(stream_create(&config), 0);
        struct post *post = post_new("far");
        post_add(post, "1", NULL, NULL, 0);
        if (age == 0) {
            post_send(post); /* it waits until dedupe knows the past */
        }
        fixture_run_ms(150);
        assert_true(n_asked >= 1);
        assert_int_equal(stream_delete("far"), 0);
        if (age == 0) {
            post_wait(post);
            assert_int_equal(post->events[0].status, CHASSIS_NOT_FOUND);
        }
        post_free(post);
        fixture_call(answer_now, NULL);
        fixture_run_ms(10);
        assert_int_equal(post_one("default", "1", NULL), 0);
        fixture_reopen(false);
        fixture_end();
    }
}

/* ---- space ---- */

/* Both share segments; what the slow one keeps for ever is copied out of those of the fast one. */
static void a_slow_stream_does_not_pin_the_segments_of_a_fast_one(void **state)
{
    enum { ROUNDS = 60 };
    fixture_begin(10, 64 << 10);
    struct cat_stream_config slow = named("slow"), fast = named("fast");
    fast.events_max = 200;
    assert_int_equal(stream_create(&slow), 0);
    assert_int_equal(stream_create(&fast), 0);
    uint64_t most = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char id[16];
        snprintf(id, sizeof id, "s%u", i);
        assert_int_equal(post_one("slow", id, NULL), 0);
        publish_many("fast", i * 1000, 1000, 100);
        fixture_run_ms(3000); /* floors become durable, space is given back */
        uint64_t used = chassis_sim_disk_used(f.rig.host);
        most = used > most ? used : most;
    }
    if (most > 1 << 20) { /* some 100 bytes of each of 60,000 events went by */
        fail_msg("%llu bytes on the disk", (unsigned long long)most);
    }
    fixture_reopen(true);
    struct seen *s = seen_open("slow", earliest, 1000);
    assert_true(seen_wait(s, ROUNDS));
    for (unsigned i = 0; i < ROUNDS; i++) {
        assert_int_equal(s->sequences[i], i + 1);
        assert_int_equal(strtoul(s->ids[i] + 1, NULL, 10), i);
    }
    seen_close(s);
    assert_int_equal(info_of("fast").events, 200);
    fixture_end();
}

/* ---- very many ---- */

static unsigned n_made;

static void on_made(void *data, int status, const struct chassis_error *err)
{
    assert_int_equal(status, 0);
    n_made++;
}

struct many {
    unsigned from, n, listed;
    char last[32];
};

static void name_of(unsigned i, char name[32])
{
    snprintf(name, 32, "many.%06u", i * 7919 % 100000); /* in no order */
}

static void make_many(void *data)
{
    struct many *m = data;
    for (unsigned i = m->from; i < m->from + m->n; i++) {
        char name[32];
        name_of(i, name);
        struct cat_selection rule = {.type = chassis_view_str(name)};
        struct cat_stream_config config = {.name = chassis_view_str(name),
                                           .takes = &rule,
                                           .n_takes = 1,
                                           .age_max_ms = 3600000,
                                           .dedupe_ms = 120000};
        cat_stream_create(f.broker, &config, on_made, NULL);
    }
}

static bool all_made(void *data)
{
    return n_made == ((struct many *)data)->from + ((struct many *)data)->n;
}

static int list_one(void *data, const struct cat_stream_info *info)
{
    struct many *m = data;
    char name[32];
    snprintf(name, sizeof name, "%.*s", CHASSIS_VIEW_ARG(info->config.name));
    assert_true(strcmp(name, m->last) > 0);
    memcpy(m->last, name, sizeof name);
    m->listed++;
    return 0;
}

static void list_many(void *data)
{
    cat_stream_list(f.broker, chassis_view_str("many."), chassis_view(NULL, 0), list_one, data);
}

static void a_hundred_thousand_streams_are_fine(void **state)
{
    enum { STREAMS = 100000, STEP = 500 };
    struct many m = {.n = STEP};
    fixture_begin(9, 16 << 20);
    n_made = 0;
    size_t before = mallinfo2().uordblks;
    for (; m.from < STREAMS; m.from += STEP) {
        fixture_call(make_many, &m);
        assert_true(chassis_sim_run(f.rig.sim, 60 * CHASSIS_NS_PER_S, all_made, &m));
    }
    for (unsigned i = 0; i < STREAMS; i += EVENTS_MAX) { /* one event each, by their rules */
        struct post *post = post_new("");
        for (unsigned k = i; k < i + EVENTS_MAX && k < STREAMS; k++) {
            char name[32];
            name_of(k, name);
            post_add(post, name, name, NULL, 0);
        }
        post_send(post);
        post_wait(post);
        assert_int_equal(post->publish.status, 0);
        post_free(post);
    }
    fixture_reopen(true);
    size_t each = (mallinfo2().uordblks - before) / STREAMS;
    if (each > 2048) { /* of an allocator that counts; a sanitizer's does not */
        fail_msg("%zu bytes a stream", each);
    }
    fixture_call(list_many, &m);
    assert_int_equal(m.listed, STREAMS);
    assert_int_equal(info_of("default").events, 0);
    for (unsigned i = 0; i < STREAMS; i += 9973) {
        char name[32];
        uint64_t sequence;
        name_of(i, name);
        struct seen *s = seen_open(name, earliest, 10);
        assert_true(seen_wait(s, 1));
        assert_string_equal(s->ids[0], name);
        seen_close(s);
        assert_int_equal(post_one(name, name, &sequence), 0); /* stored before */
        assert_int_equal(sequence, 1);
        assert_int_equal(stream_delete(name), 0);
    }
    fixture_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lowered_limit_holds_at_once),
        cmocka_unit_test(the_largest_event_and_what_happens_when_full_can_change),
        cmocka_unit_test(changed_rules_count_from_then_on),
        cmocka_unit_test(the_dedupe_window_can_change),
        cmocka_unit_test(a_window_widened_while_the_past_is_read_is_not_forgotten),
        cmocka_unit_test(a_changed_interval_counts_from_the_next_event_on),
        cmocka_unit_test(what_cannot_change_is_refused_by_its_name),
        cmocka_unit_test(a_description_knows_rate_and_times),
        cmocka_unit_test(each_refused_event_is_told_why_and_the_others_are_stored),
        cmocka_unit_test(a_reader_may_go_while_its_place_is_looked_for),
        cmocka_unit_test(a_stream_may_go_while_its_events_are_looked_for),
        cmocka_unit_test(a_slow_stream_does_not_pin_the_segments_of_a_fast_one),
        cmocka_unit_test(a_hundred_thousand_streams_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
