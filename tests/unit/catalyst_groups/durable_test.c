/* What stays of a group: across restarts, crashes and full disks; its dead letters. */
#include <malloc.h>

#include "rig.h"

static const struct cat_group_config billing = {
    .stream = {(const uint8_t *)"orders", 6},
    .name = {(const uint8_t *)"billing", 7},
    .start = {.kind = CAT_START_EARLIEST},
    .ack_wait_ms = 1000,
    .deliveries_max = 3,
};
static struct consumer a, b;
static struct letters letters;
static const char dead_stream[] = "orders.billing.dead";

static struct consumer consumer(const char *name, int policy, uint32_t credit)
{
    return (struct consumer){.stream = "orders",
                             .group = "billing",
                             .name = name,
                             .policy = policy,
                             .credit = credit,
                             .refill = true};
}

static void begin(uint64_t seed)
{
    struct cat_stream_config stream = {.name = V("orders"), .dedupe_ms = 120000};
    world_init(seed);
    assert_int_equal(make_stream(&stream), 0);
    a = consumer("a", ANSWER_ACK, 100);
    b = consumer("b", ANSWER_ACK, 100);
}

static int setup(void **state)
{
    begin(11);
    return 0;
}

static int teardown(void **state)
{
    world_fini();
    return 0;
}

static void with(struct cat_group_config config)
{
    if (make_group(&config) != 0) {
        fail_msg("%s", w.err.text);
    }
}

static void what_was_acknowledged_does_not_come_again_after_a_restart(void **state)
{
    with(billing);
    a.policy = HOLD;
    join(&a);
    publish("orders", "e", 20, NULL, NULL, 0);
    world_run(10);
    for (uint64_t s = 1; s <= 20; s++) {
        if (s != 4 && s != 17) {
            answer(&a, s, CAT_ACK, 0, NULL);
        }
    }
    world_restart(); /* everything is written before it stops */
    assert_int_equal(a.ended, CHASSIS_SHUTTING_DOWN);
    struct cat_group_info info = group_info("orders", "billing");
    assert_int_equal(info.ack_floor, 4);
    assert_int_equal(info.next_sequence, 21);
    assert_int_equal(info.waiting, 2);
    a.policy = ANSWER_ACK;
    join(&a);
    world_run(50);
    assert_int_equal(a.n, 22);
    assert_int_equal(saw(&a, 4), 2);
    assert_int_equal(saw(&a, 17), 2);
    assert_int_equal(a.seen[20].attempt, 2);
    assert_int_equal(group_info("orders", "billing").lag, 0);
}

static void a_crash_forgets_what_was_answered_in_the_last_moment_only(void **state)
{
    with(billing);
    a.policy = HOLD;
    join(&a);
    publish("orders", "e", 20, NULL, NULL, 0);
    world_run(10);
    for (uint64_t s = 1; s <= 10; s++) {
        answer(&a, s, CAT_ACK, 0, NULL);
    }
    world_run(150); /* "long ago" */
    answer(&a, 11, CAT_ACK, 0, NULL);
    world_crash(true);
    b.refill = false;
    join(&b);
    world_run(100);
    for (uint64_t s = 1; s <= 20; s++) {
        if (s <= 10) {
            assert_int_equal(saw(&b, s), 0);
        } else if (s != 11) {
            assert_int_equal(saw(&b, s), 1);
        }
    }
}

static void order_by_key_holds_across_a_crash(void **state)
{
    struct cat_group_config config = billing;
    config.ordered_by_key = true;
    with(config);
    a.policy = HOLD;
    join(&a);
    publish("orders", "x", 5, "x", NULL, 0);
    world_run(10);
    answer(&a, 1, CAT_NACK, 800, NULL);
    world_run(200);
    world_crash(true);
    a = consumer("a", HOLD, 100);
    join(&a);
    world_run(300);
    assert_int_equal(a.n, 0); /* 2 does not come before 1 */
    world_run(400);
    assert_int_equal(a.n, 1);
    assert_int_equal(a.seen[0].sequence, 1);
    assert_int_equal(a.seen[0].attempt, 2);
    answer(&a, 1, CAT_ACK, 0, NULL);
    world_run(20);
    assert_int_equal(a.seen[1].sequence, 2);
}

static void what_is_said_to_be_done_survives_a_crash_at_once(void **state)
{
    struct cat_start to = {.kind = CAT_START_SEQUENCE, .sequence = 4};
    with(billing);
    publish("orders", "e", 5, NULL, NULL, 0);
    assert_int_equal(seek_group("orders", "billing", to), 0);
    world_crash(true);
    assert_int_equal(group_info("orders", "billing").next_sequence, 4);
    a.policy = ANSWER_TERM;
    join(&a);
    world_run(100);
    assert_int_equal(a.n, 2);
    a.credit = 0;
    a.policy = HOLD;
    leave(&a);
    assert_int_equal(replay("orders", "billing", NULL, 0), 0);
    assert_int_equal(w.count, 2);
    world_crash(true);
    join(&b);
    world_run(50);
    assert_int_equal(b.n, 2);
    peek_letters("orders", "billing", 0, 100, &letters);
    assert_int_equal(letters.n, 0);
}

static void a_stream_that_forgets_in_a_crash_takes_its_groups_back(void **state)
{
    struct cat_stream_config stream = {.name = V("memory"), .durability = CAT_MEMORY};
    struct cat_group_config config = billing;
    assert_int_equal(make_stream(&stream), 0);
    config.stream = V("memory");
    with(config);
    a.stream = "memory";
    join(&a);
    publish("memory", "e", 10, NULL, NULL, 0);
    world_run(100);
    assert_int_equal(a.n, 10);
    world_crash(true);
    uint64_t last = stream_info("memory").log.last;
    assert_true(group_info("memory", "billing").next_sequence <= last + 1);
    a = consumer("a", ANSWER_ACK, 100);
    a.stream = "memory";
    join(&a);
    world_run(100);
    a.n = 0;
    publish("memory", "f", 10, NULL, NULL, 0);
    world_run(100);
    assert_int_equal(a.n, 10); /* none is taken for one that was seen */
    assert_string_equal(a.seen[0].id, "f1");
}

static void groups_are_made_changed_and_removed(void **state)
{
    struct cat_group_config config = billing, other = billing;
    with(config);
    with(config); /* the same again is fine */
    config.deliveries_max = 9;
    assert_int_equal(make_group(&config), CHASSIS_ALREADY_EXISTS);
    assert_int_equal(update_group(&config), 0);
    other.name = V("shipping");
    with(other);
    world_crash(true);
    assert_int_equal(group_info("orders", "billing").config.deliveries_max, 9);
    assert_int_equal(group_info("orders", "shipping").config.deliveries_max, 3);
    a.policy = HOLD;
    join(&a);
    assert_int_equal(delete_group("orders", "billing"), 0);
    assert_int_equal(a.ended, CHASSIS_NOT_FOUND);
    assert_int_equal(join(&b), CHASSIS_NOT_FOUND);
    assert_int_equal(delete_group("orders", "billing"), CHASSIS_NOT_FOUND);
    world_crash(true);
    group_info("orders", "billing");
    assert_int_equal(w.rc, CHASSIS_NOT_FOUND);
    group_info("orders", "shipping");
    assert_int_equal(w.rc, 0);
    with(billing); /* begins anew */
    assert_int_equal(group_info("orders", "billing").next_sequence, 1);
}

static void a_deleted_stream_takes_its_groups_along(void **state)
{
    struct cat_stream_config stream = {.name = V("orders")};
    with(billing);
    a.policy = HOLD;
    join(&a);
    publish("orders", "e", 3, NULL, NULL, 0);
    world_run(10);
    assert_int_equal(delete_stream("orders"), 0);
    world_run(10);
    assert_int_equal(a.ended, CHASSIS_NOT_FOUND);
    assert_int_equal(make_stream(&stream), 0);
    group_info("orders", "billing");
    assert_int_equal(w.rc, CHASSIS_NOT_FOUND);
    world_crash(true);
    group_info("orders", "billing");
    assert_int_equal(w.rc, CHASSIS_NOT_FOUND);
    with(billing);
}

static void a_crash_right_after_a_stream_is_deleted_leaves_no_group(void **state)
{
    struct cat_stream_config stream = {.name = V("orders")};
    with(billing);
    publish("orders", "e", 3, NULL, NULL, 0);
    assert_int_equal(delete_stream("orders"), 0);
    world_crash(true); /* the group's rows may be there still */
    group_info("orders", "billing");
    assert_int_equal(w.rc, CHASSIS_NOT_FOUND);
    assert_int_equal(make_stream(&stream), 0);
    with(billing);
    publish("orders", "f", 2, NULL, NULL, 0);
    world_crash(true);
    join(&a);
    world_run(50);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.seen[0].sequence, 1);
}

static void bad_configurations_are_refused_by_name_of_the_field(void **state)
{
    static const struct {
        const char *field;
        struct cat_group_config config;
    } bad[] = {
        {"name", {.name = {(const uint8_t *)"-x", 2}}},
        {"stream", {.stream = {(const uint8_t *)"a b", 3}}},
        {"ack_wait_ms", {.ack_wait_ms = 99}},
        {"ack_wait_ms", {.ack_wait_ms = 3600001}},
        {"deliveries_max", {.deliveries_max = 1001}},
        {"in_flight_max", {.in_flight_max = 65537}},
        {"backoff_ms", {.n_backoff = 17}},
        {"backoff_ms", {.n_backoff = 1, .backoff_ms = {86400001}}},
        {"dead_letter_stream", {.dead_letter_stream = {(const uint8_t *)"orders", 6}}},
        {"dead_letter_stream", {.dead_letter_stream = {(const uint8_t *)"/", 1}}},
        {"push.url", {.push = {.url = {(const uint8_t *)"ftp://x", 7}}}},
        {"push.timeout_ms", {.push = {.url = {(const uint8_t *)"http://x", 8}, .timeout_ms = 5}}},
        {"push.concurrency",
         {.push = {.url = {(const uint8_t *)"http://x", 8}, .concurrency = 257}}},
        {"description", {.description = {(const uint8_t *)"\xff", 1}}},
        {"JSON", {.filter = {(const uint8_t *)"nonsense", 8}}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cat_group_config c = bad[i].config;
        c.name = c.name.len != 0 ? c.name : V("g");
        c.stream = c.stream.len != 0 ? c.stream : V("orders");
        int rc = make_group(&c);
        assert_true(rc == CHASSIS_INVALID_ARGUMENT || rc == CHASSIS_MALFORMED);
        if (strstr(w.err.text, bad[i].field) == NULL) {
            fail_msg("%s: %s", bad[i].field, w.err.text);
        }
    }
    struct cat_group_config nowhere = {.name = V("g"), .stream = V("nowhere")};
    assert_int_equal(make_group(&nowhere), CHASSIS_NOT_FOUND);
}

static void a_group_that_is_pushed_is_not_joined(void **state)
{
    struct cat_group_config config = billing;
    config.push.url = V("http://localhost/hook");
    with(config);
    assert_int_equal(w.pushes, 1);
    assert_string_equal(w.pushed, "http://localhost/hook");
    assert_int_equal(join(&a), CHASSIS_FAILED_PRECONDITION);
    a.push = true;
    assert_int_equal(join(&a), 0);
    world_crash(true);
    assert_int_equal(w.pushes, 2); /* found at start */
    assert_int_equal(update_group(&billing), 0);
    assert_int_equal(w.pushes, 3);
    assert_string_equal(w.pushed, "");
    assert_int_equal(join(&b), 0);
    assert_int_equal(update_group(&config), 0);
    assert_int_equal(b.ended, CHASSIS_FAILED_PRECONDITION);
    assert_int_equal(delete_group("orders", "billing"), 0);
    assert_string_equal(w.pushed, "gone");
}

/* ---- dead letters ---- */

static void bury(unsigned n)
{
    with(billing);
    a.policy = ANSWER_NACK;
    join(&a);
    publish("orders", "e", n, NULL, NULL, 0);
    world_run(200);
    assert_int_equal(a.n, 3 * n);
}

static void after_the_last_attempt_an_event_is_a_dead_letter(void **state)
{
    bury(2);
    read_stream(dead_stream, &letters);
    assert_int_equal(letters.n, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(letters.letter[i].is);
        assert_int_equal(letters.letter[i].sequence, i + 1);
        assert_int_equal(letters.letter[i].attempts, 3);
        assert_string_equal(letters.letter[i].group, "billing");
        assert_string_equal(letters.letter[i].reason, "negative answer");
    }
    assert_string_equal(letters.seen[0].id, "e1");
    struct cat_group_info info = group_info("orders", "billing");
    assert_int_equal(info.ack_floor, 3);
    assert_int_equal(info.dead_lettered, 2);
    world_crash(true);
    world_run(1000);
    read_stream(dead_stream, &letters);
    assert_int_equal(letters.n, 2);
}

static void a_terminated_event_is_dead_at_once_for_the_reason_given(void **state)
{
    with(billing);
    a.policy = ANSWER_TERM;
    join(&a);
    publish("orders", "e", 1, NULL, NULL, 0);
    world_run(100);
    assert_int_equal(a.n, 1);
    read_stream(dead_stream, &letters);
    assert_int_equal(letters.n, 1);
    assert_string_equal(letters.letter[0].reason, "cannot be used");
    assert_int_equal(letters.letter[0].attempts, 1);
}

static void silence_is_a_reason_too(void **state)
{
    with(billing);
    a.policy = HOLD;
    join(&a);
    publish("orders", "e", 1, NULL, NULL, 0);
    world_run(3100);
    assert_int_equal(a.n, 3);
    read_stream(dead_stream, &letters);
    assert_int_equal(letters.n, 1);
    assert_string_equal(letters.letter[0].reason, "no answer within the ack wait");
}

static void groups_that_share_a_dead_letter_stream_keep_theirs_apart(void **state)
{
    struct cat_group_config first = billing, second = billing;
    first.dead_letter_stream = second.dead_letter_stream = V("morgue");
    second.name = V("shipping");
    with(first);
    with(second);
    a.policy = b.policy = ANSWER_TERM;
    b.group = "shipping";
    join(&a);
    join(&b);
    publish("orders", "e", 3, NULL, NULL, 0);
    world_run(1500); /* who came second to make the stream tries again */
    read_stream("morgue", &letters);
    assert_int_equal(letters.n, 6); /* the same events, and neither is taken for a duplicate */
    peek_letters("orders", "shipping", 0, 100, &letters);
    assert_int_equal(letters.n, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_string_equal(letters.letter[i].group, "shipping");
    }
    assert_int_equal(purge_letters("orders", "shipping", 0), 0);
    assert_int_equal(w.count, 3);
    peek_letters("orders", "shipping", 0, 100, &letters);
    assert_int_equal(letters.n, 0);
    peek_letters("orders", "billing", 0, 2, &letters);
    assert_int_equal(letters.n, 2);
    peek_letters("orders", "billing", w.count, 100, &letters);
    assert_int_equal(letters.n, 1);
}

static void replayed_letters_are_delivered_again_and_gone(void **state)
{
    bury(5);
    const uint64_t two[] = {2, 4};
    a.policy = ANSWER_ACK;
    assert_int_equal(replay("orders", "billing", two, 2), 0);
    assert_int_equal(w.count, 2);
    world_run(50);
    assert_int_equal(a.n, 17);
    assert_int_equal(a.seen[15].sequence, 2);
    assert_int_equal(a.seen[15].attempt, 1);
    assert_int_equal(a.seen[16].sequence, 4);
    peek_letters("orders", "billing", 0, 100, &letters);
    assert_int_equal(letters.n, 3);
    world_crash(true);
    peek_letters("orders", "billing", 0, 100, &letters);
    assert_int_equal(letters.n, 3);
    assert_int_equal(replay("orders", "billing", two, 2), 0);
    assert_int_equal(w.count, 0); /* they were */
    assert_int_equal(replay("orders", "billing", NULL, 0), 0);
    assert_int_equal(w.count, 3);
    assert_int_equal(stream_info(dead_stream).events, 0);
    a = consumer("a", ANSWER_ACK, 100);
    join(&a);
    world_run(50);
    assert_int_equal(a.n, 3);
    assert_int_equal(group_info("orders", "billing").lag, 0);
}

static void a_letter_that_dies_again_is_stored_again(void **state)
{
    bury(1);
    assert_int_equal(replay("orders", "billing", NULL, 0), 0);
    world_run(100);
    assert_int_equal(a.n, 6);
    peek_letters("orders", "billing", 0, 100, &letters);
    assert_int_equal(letters.n, 1);
    a.policy = ANSWER_ACK;
    assert_int_equal(replay("orders", "billing", NULL, 0), 0);
    world_run(100);
    assert_int_equal(a.n, 7);
    assert_string_equal(a.seen[6].id, "e1");
}

static void a_letter_whose_event_is_gone_comes_back_to_its_group_alone(void **state)
{
    struct cat_group_config other = billing;
    bury(3);
    publish("orders", "f", 1, NULL, NULL, 0);
    assert_int_equal(purge_stream("orders", 4), 0);
    other.name = V("shipping");
    with(other);
    b.group = "shipping";
    join(&b);
    /* Its id is within the stream's dedupe window: it would be taken for a duplicate. */
    a.policy = ANSWER_ACK;
    assert_int_equal(replay("orders", "billing", NULL, 0), CHASSIS_FAILED_PRECONDITION);
    world_run(130000);
    peek_letters("orders", "billing", 0, 100, &letters);
    unsigned before = a.n;
    assert_true(letters.n >= 3);
    assert_int_equal(replay("orders", "billing", NULL, 0), 0);
    world_run(100);
    assert_int_equal(a.n, before + letters.n);
    assert_int_equal(b.n, 1);
    assert_int_equal(group_info("orders", "shipping").lag, 0);
}

static void a_letter_too_large_with_its_reasons_is_stored_bare(void **state)
{
    struct cat_stream_config morgue = {.name = V("morgue"), .event_bytes_max = 400};
    struct cat_group_config config = billing;
    struct cat_attribute filler[] = {
        {V("fill"), cat_value_string(V("0123456789012345678901234567890123456789012345678901234567"
                                       "0123456789012345678901234567890123456789012345678901234567"
                                       "0123456789012345678901234567890123456789012345678901234567"
                                       "0123456789012345678901234567890123456789012345678901234567"
                                       "0123456789012345678901234567890123456789012345678901"))}};
    assert_int_equal(make_stream(&morgue), 0);
    config.dead_letter_stream = V("morgue");
    with(config);
    a.policy = ANSWER_TERM;
    join(&a);
    publish("orders", "e", 1, NULL, filler, 1);
    world_run(100);
    read_stream("morgue", &letters);
    assert_int_equal(letters.n, 1);
    assert_string_equal(letters.seen[0].id, "e1");
    assert_string_equal(letters.letter[0].reason,
                        "(too large for a whole dead letter) cannot be used");
}

static void a_power_cut_at_any_moment_loses_no_dead_letter_and_doubles_none(void **state)
{
    world_fini();
    for (uint64_t seed = 1; seed <= 40; seed++) {
        begin(seed);
        with(billing);
        a.policy = ANSWER_TERM;
        join(&a);
        publish("orders", "e", 10, NULL, NULL, 0);
        /* From before the answers to after everything is stored: some 40 ms. */
        chassis_sim_run(w.rig.sim, seed * MS + seed * 7919, NULL, NULL);
        world_crash(true);
        a = consumer("a", ANSWER_TERM, 100);
        join(&a);
        world_run(200);
        peek_letters("orders", "billing", 0, 200, &letters);
        unsigned times[11] = {0};
        for (unsigned i = 0; i < letters.n; i++) {
            times[letters.letter[i].sequence]++;
        }
        for (unsigned s = 1; s <= 10; s++) {
            if (times[s] != 1) {
                fail_msg("seed %llu: event %u is there %u times", (unsigned long long)seed, s,
                         times[s]);
            }
        }
        assert_int_equal(group_info("orders", "billing").lag, 0);
        if (seed != 40) {
            world_fini();
        }
    }
}

static void a_letter_that_dies_again_in_a_power_cut_stands_once(void **state)
{
    world_fini();
    for (uint64_t seed = 1; seed <= 60; seed++) {
        begin(seed);
        with(billing);
        a.policy = ANSWER_TERM;
        join(&a);
        publish("orders", "e", 5, NULL, NULL, 0);
        world_run(200);
        assert_int_equal(replay("orders", "billing", NULL, 0), 0);
        assert_int_equal(w.count, 5);
        assert_true(stream_info(dead_stream).log.first > 5); /* the old ones are cut off */
        chassis_sim_run(w.rig.sim, seed % 30 * MS + seed * 7919, NULL, NULL);
        world_crash(true);
        a = consumer("a", ANSWER_TERM, 100);
        join(&a);
        world_run(200);
        peek_letters("orders", "billing", 0, 200, &letters);
        unsigned times[6] = {0};
        for (unsigned i = 0; i < letters.n; i++) {
            times[letters.letter[i].sequence]++;
        }
        for (unsigned s = 1; s <= 5; s++) {
            if (times[s] != 1) {
                fail_msg("seed %llu: event %u is there %u times", (unsigned long long)seed, s,
                         times[s]);
            }
        }
        world_fini();
    }
    begin(1);
}

static void a_disk_that_is_full_for_a_while_loses_nothing(void **state)
{
    with(billing);
    a.policy = ANSWER_TERM;
    join(&a);
    publish("orders", "e", 10, NULL, NULL, 0);
    chassis_fault_arm("catalyst.groups.dead.publish", 1);
    world_run(200);
    assert_true(chassis_fault_disarm());
    world_run(3000);
    read_stream(dead_stream, &letters);
    assert_int_equal(letters.n, 10);

    chassis_fault_arm("catalyst.groups.save", 1);
    a.policy = ANSWER_ACK;
    publish("orders", "f", 10, NULL, NULL, 0);
    world_run(300);
    assert_true(chassis_fault_disarm());
    world_crash(true);
    assert_int_equal(group_info("orders", "billing").ack_floor, 21);
}

struct life {
    bool full;
};
static void whole_life(void *data)
{
    struct life *life = data;
    begin(3);
    a.policy = ANSWER_TERM;
    int rc = make_group(&billing);
    if (rc == 0) {
        join(&a);
        publish("orders", "e", 3, NULL, NULL, 0);
        world_run(5000);
        read_stream(dead_stream, &letters);
        assert_int_equal(letters.n, 3);
        life->full |= delete_group("orders", "billing") == 0;
    } else {
        assert_true(rc == CHASSIS_NO_SPACE || rc == CHASSIS_BUSY);
    }
    world_fini();
}

static void each_refusal_of_the_catalog_is_survived(void **state)
{
    struct life life = {false};
    world_fini();
    /* The broker's own streams need the catalog too: faults begin once they are there. */
    unsigned n = test_each_fault("catalyst.groups", whole_life, &life);
    assert_true(n >= 2);
    assert_true(life.full);
    begin(1);
}

static void patiently(int (*change)(void))
{
    for (unsigned i = 0; change() != 0; i++) {
        assert_true(w.rc == CHASSIS_NO_SPACE || w.rc == CHASSIS_BUSY);
        assert_true(i < 3);
        world_run(10);
    }
}
static int make_billing(void)
{
    return make_group(&billing);
}
static int update_billing(void)
{
    struct cat_group_config config = billing;
    config.deliveries_max = 2;
    return update_group(&config);
}
static int seek_billing(void)
{
    return seek_group("orders", "billing", (struct cat_start){.kind = CAT_START_EARLIEST});
}
static int replay_billing(void)
{
    return replay("orders", "billing", NULL, 0);
}
static int delete_billing(void)
{
    return delete_group("orders", "billing");
}

static void a_catalog_that_refuses_once_stops_nothing(void **state)
{
    bool fired = true;
    unsigned n = 0;
    world_fini();
    while (fired) {
        n++;
        begin(3);
        chassis_fault_arm("catalyst.catalog.commit", n);
        patiently(make_billing);
        patiently(update_billing);
        a.policy = ANSWER_TERM;
        join(&a);
        publish("orders", "e", 3, NULL, NULL, 0);
        world_run(3000); /* the dead-letter stream is made, or tried again a second later */
        a.policy = HOLD;
        patiently(replay_billing);
        world_run(100);
        a.policy = ANSWER_ACK;
        patiently(seek_billing);
        world_run(500);
        assert_int_equal(group_info("orders", "billing").lag, 0);
        assert_true(saw(&a, 1) >= 3);
        world_run(500);
        fired = chassis_fault_disarm();
        world_crash(true);
        assert_int_equal(group_info("orders", "billing").ack_floor, 4);
        assert_int_equal(group_info("orders", "billing").config.deliveries_max, 2);
        chassis_fault_arm("catalyst.catalog.commit", n);
        patiently(delete_billing);
        fired = chassis_fault_disarm() || fired;
        world_crash(true);
        group_info("orders", "billing");
        assert_int_equal(w.rc, CHASSIS_NOT_FOUND);
        world_fini();
    }
    assert_true(n > 6); /* refusals that were met, and one round without */
    begin(1);
}

static void a_place_beyond_the_end_of_the_stream_is_kept(void **state)
{
    struct cat_start to = {.kind = CAT_START_SEQUENCE, .sequence = 6};
    with(billing);
    publish("orders", "e", 2, NULL, NULL, 0);
    assert_int_equal(seek_group("orders", "billing", to), 0);
    world_crash(true);
    join(&a);
    publish("orders", "f", 4, NULL, NULL, 0);
    world_run(50);
    assert_int_equal(a.n, 1);
    assert_int_equal(a.seen[0].sequence, 6);
}

static void idle_groups_are_small(void **state)
{
    enum { MANY = 10000 };
    char name[TEXT_MAX];
    struct cat_group_config config = billing;
    with(billing);
    uint64_t disk = chassis_sim_disk_used(w.rig.host);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "group-%u", i);
        config.name = V(name);
        with(config);
    }
    world_run(1000);
    size_t each = (mallinfo2().uordblks + mallinfo2().hblkhd - before) / MANY;
    disk = (chassis_sim_disk_used(w.rig.host) - disk) / MANY;
    printf("%zu bytes per idle group, the simulated disk's %zu included\n", each, (size_t)disk);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(each <= 2048);
#endif
    a.group = "group-77";
    publish("orders", "e", 3, NULL, NULL, 0);
    join(&a);
    world_run(50);
    assert_int_equal(a.n, 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_acknowledged_does_not_come_again_after_a_restart),
        T(a_crash_forgets_what_was_answered_in_the_last_moment_only),
        T(order_by_key_holds_across_a_crash),
        T(what_is_said_to_be_done_survives_a_crash_at_once),
        T(a_stream_that_forgets_in_a_crash_takes_its_groups_back),
        T(groups_are_made_changed_and_removed),
        T(a_deleted_stream_takes_its_groups_along),
        T(a_crash_right_after_a_stream_is_deleted_leaves_no_group),
        T(bad_configurations_are_refused_by_name_of_the_field),
        T(a_group_that_is_pushed_is_not_joined),
        T(after_the_last_attempt_an_event_is_a_dead_letter),
        T(a_terminated_event_is_dead_at_once_for_the_reason_given),
        T(silence_is_a_reason_too),
        T(groups_that_share_a_dead_letter_stream_keep_theirs_apart),
        T(replayed_letters_are_delivered_again_and_gone),
        T(a_letter_that_dies_again_is_stored_again),
        T(a_letter_whose_event_is_gone_comes_back_to_its_group_alone),
        T(a_letter_too_large_with_its_reasons_is_stored_bare),
        T(a_power_cut_at_any_moment_loses_no_dead_letter_and_doubles_none),
        T(a_letter_that_dies_again_in_a_power_cut_stands_once),
        T(a_disk_that_is_full_for_a_while_loses_nothing),
        T(each_refusal_of_the_catalog_is_survived),
        T(a_catalog_that_refuses_once_stops_nothing),
        T(a_place_beyond_the_end_of_the_stream_is_kept),
        T(idle_groups_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
