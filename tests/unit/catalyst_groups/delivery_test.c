/* Groups as their members see them, over the real broker in virtual time. */
#include <chassis/metrics.h>

#include "rig.h"

static const struct cat_group_config billing = {
    .stream = {(const uint8_t *)"orders", 6},
    .name = {(const uint8_t *)"billing", 7},
    .start = {.kind = CAT_START_EARLIEST},
    .ack_wait_ms = 1000,
};
static struct consumer a, b;

static struct consumer consumer(const char *name, int policy, uint32_t credit)
{
    return (struct consumer){.stream = "orders",
                             .group = "billing",
                             .name = name,
                             .policy = policy,
                             .credit = credit,
                             .refill = true};
}

static int setup(void **state)
{
    struct cat_stream_config stream = {.name = V("orders")};
    world_init(7);
    assert_int_equal(make_stream(&stream), 0);
    a = consumer("a", ANSWER_ACK, 100);
    b = consumer("b", ANSWER_ACK, 100);
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

static void members_share_the_events(void **state)
{
    with(billing);
    assert_int_equal(join(&a), 0);
    assert_int_equal(join(&b), 0);
    assert_int_equal(a.next, 1);
    publish("orders", "e", 1000, NULL, NULL, 0);
    world_run(100);
    for (uint64_t s = 1; s <= 1000; s++) {
        assert_int_equal(saw(&a, s) + saw(&b, s), 1);
    }
    assert_true(a.n > 300 && b.n > 300);
    struct cat_group_info info = group_info("orders", "billing");
    assert_int_equal(info.ack_floor, 1001);
    assert_int_equal(info.next_sequence, 1001);
    assert_int_equal(info.lag, 0);
    assert_int_equal(info.delivered, 1000);
    assert_int_equal(info.redelivered, 0);
    assert_int_equal(info.n_members, 2);
    assert_true(chassis_view_eq(info.members[0].name, V("a")));
    assert_true(chassis_view_eq(info.members[1].address, V("here:1")));
}

static void what_is_stored_already_is_read_from_the_log(void **state)
{
    publish("orders", "e", 3000, NULL, NULL, 0);
    with(billing);
    assert_int_equal(group_info("orders", "billing").lag, 3000);
    assert_int_equal(join(&a), 0);
    world_run(500);
    assert_int_equal(a.n, 3000);
    for (unsigned i = 0; i < a.n; i++) {
        assert_int_equal(a.seen[i].sequence, i + 1);
    }
    assert_int_equal(group_info("orders", "billing").lag, 0);
}

static void a_new_group_sees_new_events_only(void **state)
{
    struct cat_group_config config = billing;
    config.start.kind = CAT_START_NEW;
    publish("orders", "old", 5, NULL, NULL, 0);
    with(config);
    publish("orders", "new", 5, NULL, NULL, 0); /* nobody is there yet */
    assert_int_equal(join(&a), 0);
    world_run(50);
    assert_int_equal(a.n, 5);
    assert_string_equal(a.seen[0].id, "new1");
}

static void who_leaves_hands_over_at_once(void **state)
{
    with(billing);
    a.policy = HOLD;
    join(&a);
    publish("orders", "e", 10, NULL, NULL, 0);
    world_run(10);
    assert_int_equal(a.n, 10);
    join(&b);
    assert_int_equal(answer(&a, 3, CAT_ACK, 0, NULL), 0);
    uint64_t left = chassis_sim_now_ns(w.rig.sim);
    leave(&a);
    world_run(50);
    assert_int_equal(b.n, 9);
    assert_int_equal(saw(&b, 3), 0);
    for (unsigned i = 0; i < b.n; i++) {
        assert_int_equal(b.seen[i].attempt, 2);
        assert_true(b.seen[i].at_ns - left < 20 * MS);
    }
    assert_int_equal(group_info("orders", "billing").redelivered, 9);
}

static void no_answer_within_the_ack_wait_means_again(void **state)
{
    with(billing);
    a.policy = HOLD;
    join(&a);
    publish("orders", "e", 2, NULL, NULL, 0);
    world_run(900);
    assert_int_equal(a.n, 2);
    assert_int_equal(answer(&a, 1, CAT_IN_PROGRESS, 0, NULL), 0);
    world_run(200);
    assert_int_equal(saw(&a, 1), 1);
    assert_int_equal(saw(&a, 2), 2);
    assert_true(a.seen[2].at_ns - a.seen[1].at_ns >= 1000 * MS);
    assert_true(a.seen[2].at_ns - a.seen[1].at_ns < 1020 * MS);
    assert_int_equal(a.seen[2].attempt, 2);
    world_run(800);
    assert_int_equal(saw(&a, 1), 2);
    /* The first delivery cannot be acknowledged any more by somebody else. */
    join(&b);
    assert_int_equal(answer(&b, 1, CAT_ACK, 0, NULL), CHASSIS_NOT_FOUND);
    assert_int_equal(answer(&a, 1, CAT_ACK, 0, NULL), 0);
    assert_int_equal(answer(&a, 1, CAT_ACK, 0, NULL), CHASSIS_NOT_FOUND);
}

static void a_negative_answer_waits_as_told_or_as_configured(void **state)
{
    struct cat_group_config config = billing;
    config.backoff_ms[0] = 100;
    config.backoff_ms[1] = 400;
    config.n_backoff = 2;
    with(config);
    a.policy = HOLD;
    join(&a);
    publish("orders", "e", 1, NULL, NULL, 0);
    world_run(10);
    answer(&a, 1, CAT_NACK, 0, NULL);
    assert_int_equal(group_info("orders", "billing").waiting, 1);
    world_run(95);
    assert_int_equal(a.n, 1);
    world_run(10);
    assert_int_equal(a.n, 2);
    answer(&a, 1, CAT_NACK, 0, NULL);
    world_run(390);
    assert_int_equal(a.n, 2);
    world_run(20);
    assert_int_equal(a.n, 3);
    answer(&a, 1, CAT_NACK, 5000, NULL);
    world_run(4950);
    assert_int_equal(a.n, 3);
    world_run(100);
    assert_int_equal(a.n, 4);
    assert_int_equal(a.seen[3].attempt, 4);
}

static void acknowledging_through_takes_all_before(void **state)
{
    with(billing);
    a.policy = HOLD;
    b.policy = HOLD;
    join(&a);
    publish("orders", "e", 10, NULL, NULL, 0);
    world_run(10);
    join(&b);
    publish("orders", "f", 10, NULL, NULL, 0);
    world_run(10);
    assert_int_equal(answer_through(&a, 8), 0);
    assert_int_equal(group_info("orders", "billing").ack_floor, 9);
    assert_int_equal(answer_through(&b, 100), 0);
    assert_int_equal(group_info("orders", "billing").in_flight, a.n - 8);
}

static void events_of_one_key_come_one_after_the_other(void **state)
{
    struct cat_group_config config = billing;
    config.ordered_by_key = true;
    with(config);
    a.policy = HOLD;
    b.policy = HOLD;
    join(&a);
    join(&b);
    publish("orders", "x", 5, "x", NULL, 0);
    publish("orders", "y", 5, "y", NULL, 0);
    publish("orders", "free", 3, NULL, NULL, 0);
    world_run(20);
    assert_int_equal(a.n + b.n, 5); /* one of x, one of y, three without a key */
    assert_int_equal(saw(&a, 1) + saw(&b, 1), 1);
    assert_int_equal(saw(&a, 6) + saw(&b, 6), 1);
    struct consumer *who = saw(&a, 1) ? &a : &b;
    answer(who, 1, CAT_NACK, 100, NULL);
    world_run(50);
    assert_int_equal(saw(&a, 2) + saw(&b, 2), 0); /* 1 is not done */
    world_run(100);
    who = saw(&a, 1) > saw(&b, 1) || saw(&a, 1) == 2 ? &a : &b;
    assert_int_equal(saw(&a, 1) + saw(&b, 1), 2);
    if (answer(&a, 1, CAT_ACK, 0, NULL) != 0) {
        assert_int_equal(answer(&b, 1, CAT_ACK, 0, NULL), 0);
    }
    world_run(20);
    assert_int_equal(saw(&a, 2) + saw(&b, 2), 1);
    assert_int_equal(saw(&a, 3) + saw(&b, 3), 0);
}

static void a_partition_key_counts_before_the_subject(void **state)
{
    struct cat_attribute k1 = {V("partitionkey"), cat_value_string(V("k1"))};
    struct cat_attribute k2 = {V("partitionkey"), cat_value_string(V("k2"))};
    struct cat_group_config config = billing;
    config.ordered_by_key = true;
    with(config);
    a.policy = HOLD;
    join(&a);
    publish("orders", "x", 1, "x", &k1, 1);
    publish("orders", "y", 1, "y", &k1, 1); /* another subject, the same key */
    publish("orders", "z", 1, "x", &k2, 1); /* the same subject, another key */
    world_run(20);
    assert_int_equal(a.n, 2);
    assert_int_equal(saw(&a, 2), 0);
    assert_int_equal(saw(&a, 3), 1);
    answer(&a, 1, CAT_ACK, 0, NULL);
    world_run(20);
    assert_int_equal(saw(&a, 2), 1);
}

static void no_more_is_in_flight_than_allowed(void **state)
{
    struct cat_group_config config = billing;
    config.in_flight_max = 7;
    config.ack_wait_ms = 60000;
    with(config);
    a.policy = HOLD;
    join(&a);
    publish("orders", "e", 50, NULL, NULL, 0);
    world_run(20);
    assert_int_equal(a.n, 7);
    assert_int_equal(group_info("orders", "billing").in_flight, 7);
    answer(&a, 4, CAT_ACK, 0, NULL);
    world_run(20);
    assert_int_equal(a.n, 8);
    assert_int_equal(a.seen[7].sequence, 8);
    struct cat_group_info info = group_info("orders", "billing");
    assert_int_equal(info.ack_floor, 1);
    assert_int_equal(info.lag, 49);
}

static void a_member_gets_no_more_than_its_credit(void **state)
{
    with(billing);
    a = consumer("a", HOLD, 3);
    b = consumer("b", HOLD, 0);
    join(&a);
    join(&b);
    publish("orders", "e", 20, NULL, NULL, 0);
    world_run(20);
    assert_int_equal(a.n, 3);
    assert_int_equal(b.n, 0);
    give_credit(&b, 5);
    world_run(20);
    assert_int_equal(b.n, 5);
    assert_int_equal(group_info("orders", "billing").next_sequence, 9);
}

static void one_stuck_member_holds_back_its_own_only(void **state)
{
    with(billing);
    a = consumer("a", HOLD, 10);
    join(&a);
    join(&b);
    publish("orders", "e", 2000, NULL, NULL, 0);
    world_run(200);
    assert_int_equal(a.n, 10);
    assert_int_equal(b.n, 1990);
    world_run(1000);
    assert_int_equal(b.n, 2000); /* the stuck one's too */
    assert_int_equal(group_info("orders", "billing").lag, 0);
}

static void events_that_do_not_match_are_passed_over(void **state)
{
    struct cat_group_config config = billing;
    config.filter = V("{\"exact\": {\"subject\": \"wanted\"}}");
    with(config);
    join(&a);
    publish("orders", "n", 10, "other", NULL, 0);
    publish("orders", "y", 2, "wanted", NULL, 0);
    publish("orders", "m", 10, "other", NULL, 0);
    world_run(50);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.seen[0].sequence, 11);
    struct cat_group_info info = group_info("orders", "billing");
    assert_int_equal(info.ack_floor, 23);
    assert_int_equal(info.lag, 0);
}

static void a_delayed_event_comes_in_its_time_and_holds_back_nobody(void **state)
{
    struct cat_attribute delay = {V("delayms"), cat_value_integer(5000)};
    with(billing);
    join(&a);
    publish("orders", "late", 1, NULL, &delay, 1);
    publish("orders", "soon", 3, NULL, NULL, 0);
    world_run(1000);
    assert_int_equal(a.n, 3);
    assert_int_equal(group_info("orders", "billing").ack_floor, 1);
    world_restart(); /* the delay goes on */
    join(&a);
    world_run(3500);
    assert_int_equal(a.n, 3);
    world_run(1000);
    assert_int_equal(a.n, 4);
    assert_string_equal(a.seen[3].id, "late1");
    assert_int_equal(a.seen[3].attempt, 1);
}

static void thousands_of_delayed_events_hold_back_nobody(void **state)
{
    struct cat_attribute delay = {V("delayms"), cat_value_integer(60000)};
    struct cat_group_config small = billing;
    small.in_flight_max = 4;
    with(small);
    join(&a);
    for (unsigned i = 0; i < 5; i++) {
        publish("orders", "late", 1000, NULL, &delay, 1);
        publish("orders", "soon", 10, NULL, NULL, 0);
        world_run(2000);
        assert_int_equal(a.n, 10 * (i + 1));
    }
    assert_int_equal(group_info("orders", "billing").waiting, 5000);
    world_restart();
    join(&a);
    publish("orders", "soon", 10, NULL, NULL, 0);
    world_run(1000);
    assert_int_equal(a.n, 60);
    world_run(120000);
    assert_int_equal(a.n, 5060);
    assert_int_equal(group_info("orders", "billing").lag, 0);
}

static void thousands_given_back_with_a_delay_hold_back_nobody(void **state)
{
    with(billing);
    a.policy = ANSWER_NACK;
    a.delay_ms = 60000;
    join(&a);
    publish("orders", "e", 5000, NULL, NULL, 0);
    world_run(5000);
    assert_int_equal(a.n, 5000);
    a.policy = ANSWER_ACK;
    publish("orders", "new", 10, NULL, NULL, 0);
    world_run(1000);
    assert_int_equal(a.n, 5010);
    world_run(120000);
    assert_int_equal(a.n, 10010);
    assert_int_equal(group_info("orders", "billing").lag, 0);
}

static void delayed_events_leave_half_of_the_room_to_other_groups(void **state)
{
    struct cat_attribute delay = {V("delayms"), cat_value_integer(60000)};
    w.entries_max = 4000;
    world_crash(false);
    with(billing);
    join(&a);
    for (unsigned i = 0; i < 3; i++) {
        publish("orders", "late", 1000, NULL, &delay, 1);
    }
    publish("orders", "soon", 10, NULL, NULL, 0);
    world_run(2000);
    assert_int_equal(group_info("orders", "billing").waiting, 2000);
    assert_int_equal(a.n, 0); /* behind what had no room */
    world_run(120000);
    assert_int_equal(a.n, 3010);
    assert_int_equal(group_info("orders", "billing").lag, 0);
}

static void an_event_that_expired_is_not_delivered_again(void **state)
{
    struct cat_attribute expiry = {V("expirytime"), cat_value_timestamp(1700000020, 0)};
    with(billing);
    a.policy = HOLD;
    join(&a);
    publish("orders", "e", 1, NULL, &expiry, 1);
    world_run(100);
    assert_int_equal(a.n, 1);
    answer(&a, 1, CAT_NACK, 30000, NULL);
    world_run(40000);
    assert_int_equal(a.n, 1);
    assert_int_equal(group_info("orders", "billing").ack_floor, 2);
}

static void seeking_moves_the_group_and_forgets_what_is_in_flight(void **state)
{
    with(billing);
    a.policy = HOLD;
    join(&a);
    publish("orders", "e", 10, NULL, NULL, 0);
    world_run(10);
    struct cat_start to = {.kind = CAT_START_SEQUENCE, .sequence = 9};
    assert_int_equal(seek_group("orders", "billing", to), 0);
    assert_int_equal(answer(&a, 2, CAT_ACK, 0, NULL), CHASSIS_NOT_FOUND);
    world_run(10);
    assert_int_equal(a.n, 12);
    assert_int_equal(a.seen[10].sequence, 9);
    assert_int_equal(a.seen[10].attempt, 1);
    to = (struct cat_start){.kind = CAT_START_EARLIEST};
    assert_int_equal(seek_group("orders", "billing", to), 0);
    world_run(10);
    assert_int_equal(a.n, 22);
    world_run(500);
    int64_t since = stream_info("orders").log.last_time_ns + 1;
    publish("orders", "later", 5, NULL, NULL, 0);
    world_run(10);
    assert_int_equal(a.n, 27);
    to = (struct cat_start){.kind = CAT_START_TIME, .time_ns = since};
    assert_int_equal(seek_group("orders", "billing", to), 0);
    world_run(10);
    assert_int_equal(a.n, 32);
    assert_int_equal(a.seen[27].sequence, 11);
    to = (struct cat_start){.kind = CAT_START_NEW};
    assert_int_equal(seek_group("orders", "billing", to), 0);
    assert_int_equal(group_info("orders", "billing").lag, 0);
    assert_int_equal(seek_group("orders", "nobody", to), CHASSIS_NOT_FOUND);
}

static void a_group_that_fell_off_the_log_goes_on_at_the_first_kept(void **state)
{
    with(billing);
    a = consumer("a", HOLD, 2);
    join(&a);
    publish("orders", "e", 100, NULL, NULL, 0);
    world_run(10);
    assert_int_equal(purge_stream("orders", 61), 0);
    give_credit(&a, 200);
    world_run(10);
    assert_int_equal(a.n, 42);
    assert_int_equal(a.seen[2].sequence, 61);
    assert_int_equal(a.gaps, 1);
    assert_int_equal(a.gap_from, 3);
    assert_int_equal(a.gap_to, 61);
    assert_int_equal(group_info("orders", "billing").lost, 58);
    /* What it has in hand can still be acknowledged; what cannot be read again is given up. */
    assert_int_equal(answer(&a, 1, CAT_ACK, 0, NULL), 0);
    assert_int_equal(group_info("orders", "billing").ack_floor, 2);
    answer(&a, 2, CAT_NACK, 0, NULL);
    world_run(10);
    assert_int_equal(group_info("orders", "billing").ack_floor, 61);
    assert_int_equal(group_info("orders", "billing").lost, 59);
}

static void credit_lent_to_a_retry_is_not_given_to_a_new_event(void **state)
{
    with(billing);
    a = consumer("a", HOLD, 5);
    join(&a);
    publish("orders", "e", 10, NULL, NULL, 0);
    world_run(10);
    assert_int_equal(a.n, 5);
    answer(&a, 2, CAT_NACK, 0, NULL);
    answer(&a, 3, CAT_NACK, 0, NULL);
    give_credit(&a, 2);
    world_run(10);
    assert_int_equal(a.n, 7);
    assert_int_equal(a.seen[5].sequence, 2);
    assert_int_equal(a.seen[6].sequence, 3);
}

static void groups_share_a_bound_of_what_is_under_way(void **state)
{
    struct cat_group_config other = billing;
    other.name = V("shipping");
    w.entries_max = 100;
    world_crash(false);
    with(billing);
    with(other);
    a = consumer("a", HOLD, 1000);
    b = consumer("b", HOLD, 1000);
    b.group = "shipping";
    publish("orders", "e", 500, NULL, NULL, 0);
    join(&a);
    world_run(50);
    assert_int_equal(a.n, 100);
    join(&b);
    world_run(50);
    assert_int_equal(b.n, CAT_ENTRIES_EACH); /* what the others leave, but never less */
    answer_through(&a, 80);
    world_run(50);
    assert_int_equal(a.n, 80 + CAT_ENTRIES_EACH);
    answer_through(&b, 1000);
    a.policy = b.policy = ANSWER_ACK;
    world_run(3000);
    assert_int_equal(group_info("orders", "billing").lag, 0);
    assert_int_equal(group_info("orders", "shipping").lag, 0);
}

static void a_changed_configuration_holds_from_then_on(void **state)
{
    struct cat_group_config config = billing;
    with(billing);
    a = consumer("a", HOLD, 100);
    join(&a);
    publish("orders", "x", 4, "x", NULL, 0);
    world_run(10);
    assert_int_equal(a.n, 4);
    config.ordered_by_key = true; /* keys begin anew: what is in flight comes again */
    assert_int_equal(update_group(&config), 0);
    world_run(10);
    assert_int_equal(a.n, 8);
    assert_int_equal(saw(&a, 4), 2);
    config.filter = V("{\"exact\": {\"subject\": \"y\"}}");
    config.in_flight_max = 5;
    assert_int_equal(update_group(&config), 0);
    publish("orders", "x", 4, "x", NULL, 0);
    publish("orders", "y", 4, "y", NULL, 0);
    world_run(10);
    struct cat_group_info info = group_info("orders", "billing");
    assert_int_equal(info.in_flight, 5);
    assert_int_equal(info.next_sequence, 13);
    assert_int_equal(saw(&a, 9), 1);
}

static void changed_limits_hold_for_what_is_under_way(void **state)
{
    struct cat_group_config config = billing;
    with(billing);
    a.policy = HOLD;
    join(&a);
    publish("orders", "x", 3, NULL, NULL, 0);
    world_run(10);
    assert_int_equal(a.n, 3);
    config.deliveries_max = 1;
    config.ack_wait_ms = 200;
    assert_int_equal(update_group(&config), 0);
    answer(&a, 1, CAT_NACK, 0, "no"); /* that was the last time, now */
    world_run(50);
    assert_int_equal(saw(&a, 1), 1);
    assert_int_equal(group_info("orders", "billing").dead_lettered, 1);
    publish("orders", "y", 1, NULL, NULL, 0);
    world_run(250); /* no answer within the shorter time */
    assert_int_equal(group_info("orders", "billing").dead_lettered, 2);
    assert_int_equal(saw(&a, 4), 1);
}

static void metrics_tell_of_each_group(void **state)
{
    struct chassis_buf text = {0};
    with(billing);
    join(&a);
    publish("orders", "e", 5, NULL, NULL, 0);
    world_run(3000);
    chassis_metrics_render(&text);
    const char *acks = strstr((char *)text.data,
                              "catalyst_group_acks_total{stream=\"orders\",group=\"billing\"} ");
    assert_non_null(acks);
    assert_true(strtoul(strchr(acks, '}') + 1, NULL, 10) >= 5);
    assert_non_null(
        strstr((char *)text.data, "catalyst_group_lag{stream=\"orders\",group=\"billing\"} 0"));
    chassis_buf_fini(&text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(members_share_the_events),
        T(what_is_stored_already_is_read_from_the_log),
        T(a_new_group_sees_new_events_only),
        T(who_leaves_hands_over_at_once),
        T(no_answer_within_the_ack_wait_means_again),
        T(a_negative_answer_waits_as_told_or_as_configured),
        T(acknowledging_through_takes_all_before),
        T(events_of_one_key_come_one_after_the_other),
        T(a_partition_key_counts_before_the_subject),
        T(no_more_is_in_flight_than_allowed),
        T(a_member_gets_no_more_than_its_credit),
        T(one_stuck_member_holds_back_its_own_only),
        T(events_that_do_not_match_are_passed_over),
        T(a_delayed_event_comes_in_its_time_and_holds_back_nobody),
        T(thousands_of_delayed_events_hold_back_nobody),
        T(thousands_given_back_with_a_delay_hold_back_nobody),
        T(delayed_events_leave_half_of_the_room_to_other_groups),
        T(an_event_that_expired_is_not_delivered_again),
        T(seeking_moves_the_group_and_forgets_what_is_in_flight),
        T(a_group_that_fell_off_the_log_goes_on_at_the_first_kept),
        T(credit_lent_to_a_retry_is_not_given_to_a_new_event),
        T(groups_share_a_bound_of_what_is_under_way),
        T(a_changed_configuration_holds_from_then_on),
        T(changed_limits_hold_for_what_is_under_way),
        T(metrics_tell_of_each_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
