/* Streams, publishing and reading, on a simulated machine. */
#include "fixture.h"

static const struct cat_start earliest = {.kind = CAT_START_EARLIEST};
static const struct cat_start new_ones = {.kind = CAT_START_NEW};

static void assert_ids(const struct seen *s, unsigned first, unsigned n)
{
    assert_int_equal(s->n, n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(strtoul(s->ids[i], NULL, 10), first + i);
    }
}

static void events_are_numbered_and_come_back_after_a_crash(void **state)
{
    fixture_begin(1, 1 << 20);
    struct cat_stream_config config = named("orders");
    assert_int_equal(stream_create(&config), 0);
    publish_many("orders", 1, 100, 7);
    for (int crash = 0; crash < 2; crash++) {
        fixture_reopen(crash);
        struct seen *s = seen_open("orders", earliest, 1000);
        assert_true(seen_wait(s, 100));
        assert_ids(s, 1, 100);
        assert_int_equal(s->sequences[99], 100);
        assert_int_equal(s->next, 101);
        seen_close(s);
    }
    uint64_t sequence;
    assert_int_equal(post_one("orders", "more", &sequence), 0);
    assert_int_equal(sequence, 101);
    struct cat_stream_info info;
    assert_int_equal(stream_get("orders", &info), 0);
    assert_int_equal(info.events, 101);
    assert_int_equal(info.log.first, 1);
    assert_true(info.log.bytes > 101 * 20);
    assert_true(info.log.first_time_ns > 0 && info.log.first_time_ns <= info.log.last_time_ns);
    fixture_end();
}

static void publishes_of_one_order_are_done_in_order(void **state)
{
    fixture_begin(2, 1 << 20);
    struct post *posts[30];
    struct cat_publish_order order = {0};
    for (unsigned i = 0; i < 30; i++) {
        posts[i] = post_new(i % 7 == 3 ? "absent" : "default");
        posts[i]->publish.order = i % 2 ? &order : NULL;
        char id[16];
        snprintf(id, sizeof id, "%u", i);
        post_add(posts[i], id, NULL, NULL, 0);
        post_send(posts[i]);
        assert_false(posts[i]->done && i % 7 != 3);
    }
    post_wait(posts[28]);
    post_wait(posts[29]);
    for (unsigned i = 2; i < 30; i++) {
        assert_true(posts[i]->done && posts[i]->turn > posts[i - 2]->turn);
        assert_int_equal(posts[i]->publish.status, i % 7 == 3 ? CHASSIS_NOT_FOUND : 0);
    }
    for (unsigned i = 0; i < 30; i++) {
        post_free(posts[i]);
    }
    fixture_end();
}

static void the_same_event_is_stored_once_also_in_flight_and_after_a_restart(void **state)
{
    fixture_begin(3, 1 << 20);
    struct cat_stream_config config = named("s");
    config.dedupe_ms = 60000;
    assert_int_equal(stream_create(&config), 0);
    struct post *a = post_new("s"), *b = post_new("s");
    post_add(a, "x", NULL, NULL, 0);
    post_add(a, "y", NULL, NULL, 0);
    post_add(a, "x", NULL, NULL, 0);
    post_add(b, "y", NULL, NULL, 0);
    post_send(a);
    post_send(b);
    post_wait(b);
    assert_true(a->done);
    assert_false(a->events[0].duplicate);
    assert_true(a->events[2].duplicate);
    assert_int_equal(a->events[2].sequence, 1);
    assert_true(b->events[0].duplicate);
    assert_int_equal(b->events[0].sequence, 2);
    post_free(a);
    post_free(b);
    for (int crash = 0; crash < 2; crash++) {
        fixture_reopen(crash);
        uint64_t sequence;
        assert_int_equal(post_one("s", "y", &sequence), 0);
        assert_int_equal(sequence, 2);
    }
    fixture_run_ms(61000);
    uint64_t sequence;
    assert_int_equal(post_one("s", "y", &sequence), 0); /* the window has passed */
    assert_int_equal(sequence, 3);
    fixture_end();
}

static void a_duplicate_of_a_purged_event_has_no_sequence(void **state)
{
    fixture_begin(4, 1 << 20);
    assert_int_equal(post_one("", "x", NULL), 0);
    assert_int_equal(stream_purge("default", 0, 0, NULL), 0);
    uint64_t sequence = 9;
    assert_int_equal(post_one("default", "x", &sequence), 0);
    assert_int_equal(sequence, 0);
    fixture_end();
}

static void refusals_name_the_rule(void **state)
{
    fixture_begin(5, 1 << 20);
    struct cat_stream_config config = named("small");
    config.event_bytes_max = 30;
    assert_int_equal(stream_create(&config), 0);
    struct post *post = post_new("small");
    post_add(post, "1", "a", NULL, 0);
    post_add(post, "a-long-identifier-that-does-not-fit", "a", NULL, 0);
    post_add(post, "2", "a", NULL, 0);
    post_send(post);
    post_wait(post);
    assert_int_equal(post->publish.status, 0);
    assert_int_equal(post->events[0].status, 0);
    assert_int_equal(post->events[1].status, CHASSIS_TOO_LARGE);
    assert_int_equal(post->events[2].status, 0);
    assert_int_equal(post->events[2].sequence, 2);
    assert_non_null(strstr(post->publish.err.text, "at most 30"));
    assert_non_null(strstr(post->why[1], "event_bytes_max: "));
    post_free(post);
    config = named("-bad");
    assert_int_equal(stream_create(&config), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(change_err.text, "name"));
    config = named("default");
    assert_int_equal(stream_create(&config), CHASSIS_ALREADY_EXISTS);
    assert_int_equal(stream_delete("default"), CHASSIS_FAILED_PRECONDITION);
    assert_int_equal(stream_delete("none"), CHASSIS_NOT_FOUND);
    config = named("small");
    config.event_bytes_max = 30;
    assert_int_equal(stream_create(&config), 0); /* the same again */
    config.durability = CAT_MEMORY;
    assert_int_equal(stream_update(&config), CHASSIS_FAILED_PRECONDITION);
    assert_non_null(strstr(change_err.text, "durability"));
    config = named("elsewhere");
    config.backend = chassis_view_str("nats");
    assert_int_equal(stream_create(&config), CHASSIS_UNIMPLEMENTED);
    fixture_end();
}

static void too_much_under_way_is_refused_and_nothing_of_it_stored(void **state)
{
    fixture_begin(6, 1 << 20);
    f.options.publish_bytes_max = 2000;
    fixture_reopen(false);
    struct post *posts[40];
    unsigned stored = 0;
    for (unsigned i = 0; i < 40; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", i);
        posts[i] = post_new("default");
        post_add(posts[i], id, NULL, NULL, 0);
        post_send(posts[i]);
    }
    post_wait(posts[39]);
    for (unsigned i = 0; i < 40; i++) {
        assert_true(posts[i]->publish.status == 0 || posts[i]->publish.status == CHASSIS_BUSY);
        stored += posts[i]->publish.status == 0;
        post_free(posts[i]);
    }
    assert_in_range(stored, 5, 30);
    struct cat_stream_info info;
    assert_int_equal(stream_get("default", &info), 0);
    assert_int_equal(info.events, stored);
    fixture_end();
}

static void rules_say_which_streams_take_an_event(void **state)
{
    fixture_begin(7, 1 << 20);
    struct cat_selection a = {.type = chassis_view_str("order.>")};
    struct cat_selection b = {.type = chassis_view_str("order.*.paid"),
                              .source = chassis_view_str("/test")};
    struct cat_stream_config config = named("orders");
    config.takes = &a;
    config.n_takes = 1;
    assert_int_equal(stream_create(&config), 0);
    config = named("paid");
    config.takes = &b;
    config.n_takes = 1;
    assert_int_equal(stream_create(&config), 0);
    fixture_reopen(true);
    struct seen *all = seen_open("", new_ones, 100);
    struct post *post = post_new("");
    post_add(post, "1", "order.eu.paid", NULL, 0);
    post_add(post, "2", "order.eu.made", NULL, 0);
    post_add(post, "3", "other", NULL, 0);
    post_send(post);
    post_wait(post);
    post_free(post);
    static const struct {
        const char *stream;
        unsigned n;
        const char *last;
    } expected[] = {{"orders", 2, "2"}, {"paid", 1, "1"}, {"default", 1, "3"}};
    for (unsigned i = 0; i < 3; i++) {
        struct seen *s = seen_open(expected[i].stream, earliest, 100);
        assert_true(seen_wait(s, expected[i].n));
        assert_string_equal(s->ids[s->n - 1], expected[i].last);
        seen_close(s);
    }
    assert_true(seen_wait(all, 3)); /* each once, although "1" stands in two streams */
    seen_close(all);
    assert_int_equal(stream_delete("orders"), 0);
    assert_int_equal(stream_delete("paid"), 0);
    post = post_new("");
    post_add(post, "4", "order.eu.paid", NULL, 0);
    post_send(post);
    post_wait(post);
    post_free(post);
    struct cat_stream_info info;
    assert_int_equal(stream_get("default", &info), 0);
    assert_int_equal(info.events, 2);
    fixture_end();
}

static void a_reader_gets_every_event_once_whenever_it_has_room(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        fixture_begin(100 + seed, 1 << 20);
        f.rig.options.cache_bytes_per_stream = seed % 2 == 0 ? 500 : 0;
        fixture_reopen(false);
        struct seen *s = seen_open("default", new_ones, 0);
        struct seen *everywhere = seen_open("", new_ones, 0);
        struct chassis_prng *prng = chassis_sim_prng(f.rig.sim);
        unsigned published = 0;
        for (unsigned i = 0; i < 60; i++) {
            if (chassis_prng_chance(prng, 0.6)) {
                unsigned n = 1 + (unsigned)chassis_prng_below(prng, 9);
                publish_many("default", published, n, 1 + (unsigned)chassis_prng_below(prng, 4));
                published += n;
            }
            if (chassis_prng_chance(prng, 0.5)) {
                seen_more(s, (unsigned)chassis_prng_below(prng, 12));
            }
            if (chassis_prng_chance(prng, 0.5)) {
                seen_more(everywhere, (unsigned)chassis_prng_below(prng, 12));
            }
            if (chassis_prng_chance(prng, 0.3)) {
                rig_run(&f.rig, chassis_prng_below(prng, 300000));
            }
        }
        seen_more(s, 4000);
        seen_more(everywhere, 4000);
        assert_true(seen_wait(s, published));
        assert_true(seen_wait(everywhere, published));
        assert_ids(s, 0, published);
        assert_ids(everywhere, 0, published);
        assert_int_equal(s->next, published + 1);
        seen_close(s);
        seen_close(everywhere);
        fixture_end();
    }
}

static void who_falls_off_is_told(void **state)
{
    fixture_begin(9, 1 << 20);
    struct cat_stream_config config = named("s");
    config.events_max = 10;
    assert_int_equal(stream_create(&config), 0);
    struct seen *everywhere = seen_open("", new_ones, 2);
    publish_many("s", 1, 5, 5);
    struct seen *s = seen_open("s", earliest, 2);
    assert_true(seen_wait(s, 2) && seen_wait(everywhere, 2));
    publish_many("s", 6, 20, 4);
    seen_more(s, 100);
    assert_true(seen_wait(s, 12));
    assert_int_equal(s->gaps, 1);
    assert_int_equal(s->gap_from, 3);
    assert_int_equal(s->gap_to, 16);
    assert_int_equal(s->sequences[2], 16);
    assert_string_equal(s->gap_stream, "s");
    seen_more(everywhere, 100);
    assert_true(seen_wait(everywhere, 12));
    assert_int_equal(everywhere->gaps, 1);
    assert_int_equal(everywhere->gap_from, 3);
    assert_int_equal(everywhere->gap_to, 16);
    assert_string_equal(everywhere->gap_stream, "s");
    seen_close(everywhere);
    struct cat_stream_info info;
    assert_int_equal(stream_get("s", &info), 0);
    assert_int_equal(info.events, 10);
    fixture_run_ms(5000); /* the floor is durable */
    seen_close(s);
    fixture_reopen(true);
    assert_int_equal(stream_get("s", &info), 0);
    assert_int_equal(info.log.first, 16);
    fixture_end();
}

/* A stream that was made anew, or is not synced and lost its tail: nobody waits for ever. */
static void who_stands_behind_the_end_is_told_and_goes_on(void **state)
{
    fixture_begin(21, 1 << 20);
    publish_many("default", 1, 10, 5);
    struct cat_start far = {.kind = CAT_START_SEQUENCE, .sequence = 500};
    struct seen *s = seen_open("default", far, 100);
    fixture_run_ms(10);
    assert_int_equal(s->gaps, 1);
    assert_int_equal(s->gap_from, 500);
    assert_int_equal(s->gap_to, 11);
    publish_many("default", 11, 3, 3);
    assert_true(seen_wait(s, 3));
    assert_ids(s, 11, 3);
    assert_int_equal(s->next, 14);
    seen_close(s);
    far.sequence = 14; /* the next one is no gap */
    s = seen_open("default", far, 100);
    publish_many("default", 14, 1, 1);
    assert_true(seen_wait(s, 1));
    assert_int_equal(s->gaps, 0);
    seen_close(s);
    fixture_end();
}

static void a_limit_on_bytes_keeps_the_newest(void **state)
{
    fixture_begin(19, 1 << 20);
    struct cat_stream_config config = named("s");
    config.bytes_max = 20000;
    assert_int_equal(stream_create(&config), 0);
    for (int again = 0; again < 3; again++) {
        publish_many("s", (unsigned)again * 1000, 1000, 50);
        struct cat_stream_info info;
        fixture_run_ms(5000);
        assert_int_equal(stream_get("s", &info), 0);
        assert_in_range(info.log.bytes, 10000, 21000);
        assert_in_range(info.events, 60, 220);
        assert_int_equal(info.log.last, ((unsigned)again + 1) * 1000);
        fixture_reopen(again == 1);
    }
    fixture_end();
}

static void a_purge_is_durable_and_a_reader_of_a_deleted_stream_ends(void **state)
{
    fixture_begin(10, 1 << 20);
    struct cat_stream_config config = named("s");
    assert_int_equal(stream_create(&config), 0);
    publish_many("s", 1, 50, 10);
    uint64_t purged = 0;
    assert_int_equal(stream_purge("s", 11, 0, &purged), 0);
    assert_int_equal(purged, 10);
    fixture_reopen(true);
    struct cat_stream_info info;
    assert_int_equal(stream_get("s", &info), 0);
    assert_int_equal(info.log.first, 11);
    assert_int_equal(stream_purge("s", 0, 5, &purged), 0);
    assert_int_equal(purged, 35);
    assert_int_equal(stream_purge("s", 0, 0, &purged), 0);
    assert_int_equal(purged, 5);
    fixture_reopen(true);
    uint64_t sequence;
    assert_int_equal(post_one("s", "next", &sequence), 0);
    assert_int_equal(sequence, 51);
    struct seen *s = seen_open("s", earliest, 100);
    assert_true(seen_wait(s, 1));
    assert_int_equal(stream_delete("s"), 0);
    assert_int_equal(s->ended, CHASSIS_NOT_FOUND);
    seen_close(s);
    assert_int_equal(stream_get("s", &info), CHASSIS_NOT_FOUND);
    assert_int_equal(stream_create(&config), 0);
    assert_int_equal(post_one("s", "new", &sequence), 0);
    assert_int_equal(sequence, 1);
    fixture_reopen(true);
    assert_int_equal(stream_get("s", &info), 0);
    assert_int_equal(info.events, 1);
    fixture_end();
}

static void a_full_stream_that_refuses_new_events_says_so(void **state)
{
    fixture_begin(11, 1 << 20);
    struct cat_stream_config config = named("s");
    config.events_max = 3;
    config.when_full = CAT_REFUSE_NEW;
    assert_int_equal(stream_create(&config), 0);
    for (unsigned i = 0; i < 3; i++) {
        char id[8];
        snprintf(id, sizeof id, "%u", i);
        assert_int_equal(post_one("s", id, NULL), 0);
    }
    struct post *refused = post_new("s");
    post_add(refused, "x", NULL, NULL, 0);
    post_send(refused);
    post_wait(refused);
    assert_int_equal(refused->events[0].status, CHASSIS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(refused->why[0], "events_max: stream 's' is full"));
    post_free(refused);
    assert_int_equal(stream_purge("s", 2, 0, NULL), 0);
    assert_int_equal(post_one("s", "x", NULL), 0);
    assert_int_equal(post_one("s", "y", NULL), CHASSIS_RESOURCE_EXHAUSTED);
    config = named("bytes");
    config.bytes_max = 1000;
    config.when_full = CAT_REFUSE_NEW;
    assert_int_equal(stream_create(&config), 0);
    int rc = 0;
    unsigned n = 0;
    for (; rc == 0 && n < 100; n++) {
        char id[8];
        snprintf(id, sizeof id, "%u", n);
        rc = post_one("bytes", id, NULL);
    }
    assert_int_equal(rc, CHASSIS_RESOURCE_EXHAUSTED);
    assert_in_range(n, 5, 20);
    fixture_end();
}

static void old_events_go(void **state)
{
    fixture_begin(12, 1 << 20);
    struct cat_stream_config config = named("s");
    config.age_max_ms = 10000;
    assert_int_equal(stream_create(&config), 0);
    publish_many("s", 1, 10, 5);
    fixture_run_ms(6000);
    publish_many("s", 11, 10, 5);
    fixture_run_ms(6000);
    struct cat_stream_info info;
    assert_int_equal(stream_get("s", &info), 0);
    assert_int_equal(info.log.first, 11);
    fixture_run_ms(10000);
    assert_int_equal(stream_get("s", &info), 0);
    assert_int_equal(info.events, 0);
    fixture_end();
}

static struct cat_attribute delay_of(int32_t ms)
{
    return (struct cat_attribute){chassis_view_str("delayms"), cat_value_integer(ms)};
}

static void post_delayed(const char *id, int32_t ms)
{
    struct cat_attribute delay = delay_of(ms);
    struct post *post = post_new("default");
    post_add(post, id, NULL, ms != 0 ? &delay : NULL, ms != 0 ? 1 : 0);
    post_send(post);
    post_wait(post);
    post_free(post);
}

static void delayed_events_come_when_their_time_has_come(void **state)
{
    fixture_begin(13, 1 << 20);
    struct seen *tail = seen_open("default", new_ones, 100);
    struct seen *everywhere = seen_open("", new_ones, 100);
    post_delayed("slow", 5000);
    post_delayed("quick", 0);
    post_delayed("slower", 7000);
    post_delayed("quick2", 0);
    struct seen *late = seen_open("default", earliest, 100);
    assert_true(seen_wait(tail, 2) && seen_wait(late, 2) && seen_wait(everywhere, 2));
    assert_string_equal(tail->ids[1], "quick2");
    assert_int_equal(tail->next, 1); /* who goes on from here misses nothing */
    fixture_run_ms(5500);
    assert_true(seen_wait(tail, 3) && seen_wait(late, 3) && seen_wait(everywhere, 3));
    assert_string_equal(tail->ids[2], "slow");
    assert_string_equal(everywhere->ids[2], "slow");
    assert_int_equal(tail->next, 3);
    struct seen *after = seen_open("default", earliest, 100);
    assert_true(seen_wait(after, 3));
    assert_string_equal(after->ids[0], "slow"); /* in its place by now */
    tail->room = 0;
    fixture_run_ms(2500);
    assert_int_equal(tail->n, 3);
    assert_true(seen_wait(late, 4) && seen_wait(after, 4));
    seen_more(tail, 100);
    assert_true(seen_wait(tail, 4));
    assert_string_equal(tail->ids[3], "slower");
    assert_int_equal(tail->next, 5);
    fixture_run_ms(20000);
    assert_int_equal(tail->n + late->n + after->n, 12);
    seen_close(tail);
    seen_close(late);
    seen_close(after);
    seen_close(everywhere);
    fixture_end();
}

static void an_event_may_name_the_time_from_which_on_it_counts(void **state)
{
    fixture_begin(20, 1 << 20);
    int64_t now_s = chassis_wall_ns(f.clock) / 1000000000;
    struct cat_attribute at[3] = {
        {chassis_view_str("notbefore"), cat_value_timestamp(now_s + 8, 0)},
        {chassis_view_str("notbefore"), cat_value_timestamp(now_s - 8, 0)}, /* long ago: at once */
        {chassis_view_str("expirytime"), cat_value_timestamp(now_s + 4, 0)},
    };
    struct post *post = post_new("default");
    post_add(post, "later", NULL, &at[0], 1);
    post_add(post, "now", NULL, &at[1], 1);
    struct cat_attribute both[2] = {at[0], at[2]};
    post_add(post, "never", NULL, both, 2); /* over before its time comes */
    post_send(post);
    post_wait(post);
    post_free(post);
    struct seen *s = seen_open("default", earliest, 100);
    assert_true(seen_wait(s, 1));
    assert_string_equal(s->ids[0], "now");
    fixture_run_ms(5000);
    assert_int_equal(s->n, 1);
    fixture_reopen(true); /* it is as durable as any */
    free(s);
    s = seen_open("default", earliest, 100);
    assert_true(seen_wait(s, 1));
    fixture_run_ms(10000);
    assert_int_equal(s->n, 2);
    assert_string_equal(s->ids[1], "later");
    assert_true(chassis_wall_ns(f.clock) / 1000000000 >= now_s + 8);
    seen_close(s);
    fixture_end();
}

static void expired_events_are_never_given(void **state)
{
    fixture_begin(14, 1 << 20);
    int64_t now_s = chassis_wall_ns(f.clock) / 1000000000;
    struct cat_attribute soon = {chassis_view_str("expirytime"),
                                 cat_value_timestamp(now_s + 10, 0)};
    struct post *post = post_new("default");
    post_add(post, "short", NULL, &soon, 1);
    post_add(post, "long", NULL, NULL, 0);
    post_send(post);
    post_wait(post);
    post_free(post);
    struct seen *now = seen_open("default", earliest, 100);
    assert_true(seen_wait(now, 2));
    fixture_run_ms(11000);
    struct seen *later = seen_open("default", earliest, 100);
    assert_true(seen_wait(later, 1));
    assert_string_equal(later->ids[0], "long");
    seen_close(now);
    seen_close(later);
    fixture_end();
}

struct fetched {
    struct cat_fetch fetch;
    uint64_t sequences[64];
    unsigned n;
    int status;
    uint64_t next;
    bool done;
};

static void on_fetched_event(struct cat_fetch *fetch, const struct cat_log_event *stored)
{
    struct fetched *g = chassis_container_of(fetch, struct fetched, fetch);
    g->sequences[g->n++] = stored->sequence;
}

static void on_fetched(struct cat_fetch *fetch, int status, uint64_t next,
                       const struct chassis_error *err)
{
    struct fetched *g = chassis_container_of(fetch, struct fetched, fetch);
    g->done = true;
    g->status = status;
    g->next = next;
}

static void fetch_now(void *data)
{
    cat_fetch(f.broker, &((struct fetched *)data)->fetch);
}

static bool is_fetched(void *data)
{
    return ((struct fetched *)data)->done;
}

static void fetch(struct fetched *g, const uint64_t *sequences, uint32_t n, uint64_t from,
                  uint32_t max)
{
    *g = (struct fetched){.fetch = {.stream = chassis_view_str("s"),
                                    .sequences = sequences,
                                    .n_sequences = n,
                                    .from = from,
                                    .events_max = max,
                                    .bytes_max = 1 << 20,
                                    .event = on_fetched_event,
                                    .done = on_fetched}};
    fixture_call(fetch_now, g);
    assert_true(chassis_sim_run(f.rig.sim, 10 * CHASSIS_NS_PER_S, is_fetched, g));
}

static void events_are_fetched_by_sequence(void **state)
{
    fixture_begin(15, 1 << 20);
    struct cat_stream_config config = named("s");
    assert_int_equal(stream_create(&config), 0);
    publish_many("s", 1, 50, 10);
    stream_purge("s", 11, 0, NULL);
    fixture_reopen(false);
    static const uint64_t wanted[] = {3, 11, 12, 13, 20, 49, 50, 51, 90};
    struct fetched g;
    fetch(&g, wanted, 9, 0, 0);
    assert_int_equal(g.status, 0);
    assert_int_equal(g.n, 6);
    assert_int_equal(g.sequences[0], 11);
    assert_int_equal(g.sequences[5], 50);
    fetch(&g, NULL, 0, 5, 7);
    assert_int_equal(g.n, 7);
    assert_int_equal(g.sequences[0], 11);
    assert_int_equal(g.next, 18);
    fetch(&g, NULL, 0, 48, 7);
    assert_int_equal(g.n, 3);
    assert_int_equal(g.next, 51);
    stream_delete("s");
    fetch(&g, NULL, 0, 48, 7);
    assert_int_equal(g.status, CHASSIS_NOT_FOUND);
    fixture_end();
}

static void closing_finishes_what_is_under_way_and_ends_readers(void **state)
{
    fixture_begin(16, 1 << 20);
    struct seen *s = seen_open("default", earliest, 100);
    struct post *post = post_new("default");
    post_add(post, "1", NULL, NULL, 0);
    post_send(post);
    fixture_reopen(false);
    assert_true(post->done);
    assert_int_equal(post->publish.status, 0);
    assert_int_equal(s->ended, CHASSIS_SHUTTING_DOWN);
    post_free(post);
    seen_close(s);
    struct seen *later = seen_open("default", earliest, 100);
    assert_true(seen_wait(later, 1));
    seen_close(later);
    fixture_end();
}

/* A life with a fault somewhere: whatever fails says so, and the next attempt succeeds. */
static void faulty_life(void *data)
{
    if (fixture_try_begin(17, 1 << 20) != 0) {
        assert_int_equal(f.rc, CHASSIS_NO_SPACE);
        fixture_end();
        return;
    }
    f.rig.options.cache_bytes_per_stream = 1; /* reads go to the workers */
    struct cat_stream_config config = named("s");
    config.dedupe_ms = 60000;
    if (stream_create(&config) != 0) {
        assert_int_equal(stream_create(&config), 0);
    }
    publish_many("s", 0, 20, 5);
    fixture_reopen(false);
    int rc = post_one("s", "19", NULL); /* dedupe reads what it must know */
    assert_true(rc == 0 || rc == CHASSIS_CORRUPT);
    if (rc != 0) {
        assert_int_equal(post_one("s", "19", NULL), 0);
    }
    struct seen *s = seen_open("s", earliest, 100);
    if (!seen_wait(s, 20)) {
        assert_int_equal(s->ended, CHASSIS_CORRUPT);
        seen_close(s);
        s = seen_open("s", earliest, 100);
        assert_true(seen_wait(s, 20));
    }
    seen_close(s);
    struct fetched g;
    fetch(&g, NULL, 0, 1, 20);
    if (g.status != 0) {
        assert_int_equal(g.status, CHASSIS_CORRUPT);
        fetch(&g, NULL, 0, 1, 20);
    }
    assert_int_equal(g.n, 20);
    if (stream_purge("s", 11, 0, NULL) != 0) {
        assert_int_equal(stream_purge("s", 11, 0, NULL), 0);
    }
    config.events_max = 5;
    if (stream_update(&config) != 0) {
        assert_int_equal(stream_update(&config), 0);
    }
    fixture_run_ms(10000); /* a floor that was refused is tried again */
    fixture_reopen(true);
    struct cat_stream_info info;
    assert_int_equal(stream_get("s", &info), 0);
    assert_int_equal(info.events, 5);
    if (stream_delete("s") != 0) {
        assert_int_equal(stream_delete("s"), 0);
    }
    assert_int_equal(stream_get("s", &info), CHASSIS_NOT_FOUND);
    fixture_end();
}

static void what_fails_says_so_and_can_be_repeated(void **state)
{
    unsigned faults = test_each_fault("catalyst.", faulty_life, NULL);
    assert_in_range(faults, 8, 40);
}

static void a_full_disk_refuses_events_and_recovers_by_itself(void **state)
{
    fixture_begin(18, 1 << 20);
    f.rig.options.reserve_bytes = 4 << 20;
    fixture_reopen(false);
    struct seen *s = seen_open("default", earliest, 4000);
    publish_many("default", 0, 10, 5);
    chassis_sim_disk_limit(f.rig.host, chassis_sim_disk_used(f.rig.host) + (1 << 20));
    fixture_run_ms(3000);
    int rc = 0;
    unsigned stored = 10;
    for (unsigned i = 0; rc == 0 && i < 100; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", stored);
        rc = post_one("default", id, NULL);
        stored += rc == 0;
        fixture_run_ms(50);
    }
    assert_int_equal(rc, CHASSIS_NO_SPACE);
    assert_true(seen_wait(s, stored));                        /* reads go on */
    assert_int_equal(stream_purge("default", 0, 0, NULL), 0); /* and so does what makes room */
    chassis_sim_disk_limit(f.rig.host, 0);
    fixture_run_ms(2000);
    assert_int_equal(post_one("default", "after", NULL), 0);
    assert_true(seen_wait(s, stored + 1));
    seen_close(s);
    fixture_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_numbered_and_come_back_after_a_crash),
        cmocka_unit_test(publishes_of_one_order_are_done_in_order),
        cmocka_unit_test(the_same_event_is_stored_once_also_in_flight_and_after_a_restart),
        cmocka_unit_test(a_duplicate_of_a_purged_event_has_no_sequence),
        cmocka_unit_test(refusals_name_the_rule),
        cmocka_unit_test(too_much_under_way_is_refused_and_nothing_of_it_stored),
        cmocka_unit_test(rules_say_which_streams_take_an_event),
        cmocka_unit_test(a_reader_gets_every_event_once_whenever_it_has_room),
        cmocka_unit_test(who_falls_off_is_told),
        cmocka_unit_test(who_stands_behind_the_end_is_told_and_goes_on),
        cmocka_unit_test(a_limit_on_bytes_keeps_the_newest),
        cmocka_unit_test(a_purge_is_durable_and_a_reader_of_a_deleted_stream_ends),
        cmocka_unit_test(a_full_stream_that_refuses_new_events_says_so),
        cmocka_unit_test(old_events_go),
        cmocka_unit_test(delayed_events_come_when_their_time_has_come),
        cmocka_unit_test(an_event_may_name_the_time_from_which_on_it_counts),
        cmocka_unit_test(expired_events_are_never_given),
        cmocka_unit_test(events_are_fetched_by_sequence),
        cmocka_unit_test(what_fails_says_so_and_can_be_repeated),
        cmocka_unit_test(a_full_disk_refuses_events_and_recovers_by_itself),
        cmocka_unit_test(closing_finishes_what_is_under_way_and_ends_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
