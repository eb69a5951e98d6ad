#include "catalyst/groups/model.h"
#include "model_random_test.h"
#include "test.h"

static const struct cat_place_rules rules = {
    .ack_wait_ns = 1000, .deliveries_max = 3, .in_flight_max = 4, .ordered = true};

static struct cat_entry *take(struct cat_place *p, uint64_t sequence, uint32_t key)
{
    return cat_place_take(p, sequence, key, 0, 0);
}

static void acknowledged_above_the_floor_takes_no_room(void **state)
{
    struct cat_place p;
    struct cat_holder h = {0};
    cat_place_init(&p, &rules, 1);
    cat_place_deliver(&p, take(&p, 1, 0), &h, 0, 1);
    for (uint64_t s = 2; s < 100000; s++) {
        cat_place_deliver(&p, take(&p, s, 0), &h, 0, 1);
        assert_true(cat_place_ack(&p, &h, s, 0));
    }
    assert_int_equal(cat_place_floor(&p), 1);
    assert_int_equal(p.n_entries, 1);
    assert_true(p.cap_slots <= 256);
    assert_true(cat_place_ack(&p, &h, 1, 0));
    assert_int_equal(cat_place_floor(&p), 100000);
    cat_place_fini(&p);
    cat_heap_fini(&h.in_flight);
}

static void a_busy_key_holds_back_its_own_only(void **state)
{
    struct cat_place p;
    struct cat_holder h = {0};
    cat_place_init(&p, &rules, 1);
    cat_place_deliver(&p, take(&p, 1, 7), &h, 0, 1);
    assert_int_equal(take(&p, 2, 7)->state, CAT_ENTRY_BLOCKED);
    assert_int_equal(take(&p, 3, 8)->state, CAT_ENTRY_READY);
    assert_int_equal(take(&p, 4, 0)->state, CAT_ENTRY_READY);
    assert_int_equal(cat_place_fetch(&p)->sequence, 3);
    assert_int_equal(cat_place_fetch(&p)->sequence, 4);
    assert_null(cat_place_fetch(&p));
    assert_true(cat_place_ack(&p, &h, 1, 0));
    assert_int_equal(cat_place_fetch(&p)->sequence, 2);
    cat_place_fini(&p);
    cat_heap_fini(&h.in_flight);
}

static void an_event_delivered_too_often_is_dead_and_its_key_waits_until_it_is_stored(void **state)
{
    struct cat_place p;
    struct cat_holder h = {0};
    cat_place_init(&p, &rules, 1);
    take(&p, 1, 7);
    take(&p, 2, 7);
    uint64_t now = 0;
    for (unsigned attempt = 1; attempt <= 3; attempt++) {
        assert_null(cat_place_bury(&p));
        assert_int_equal(cat_place_deliver(&p, cat_place_fetch(&p), &h, now, 5), attempt);
        assert_int_equal(cat_place_expire(&p, now + 999), 0);
        now += 1000;
        assert_int_equal(cat_place_expire(&p, now), 1);
    }
    assert_null(cat_place_fetch(&p));
    struct cat_entry *dead = cat_place_bury(&p);
    assert_int_equal(dead->sequence, 1);
    assert_int_equal(dead->attempts, 3);
    assert_int_equal(dead->cause, CAT_CAUSE_UNANSWERED);
    assert_null(cat_place_fetch(&p));
    cat_place_done(&p, dead, now);
    assert_int_equal(cat_place_fetch(&p)->sequence, 2);
    cat_place_fini(&p);
    cat_heap_fini(&h.in_flight);
}

static void the_group_pauses_when_too_many_are_there(void **state)
{
    struct cat_place p;
    bool full;
    uint64_t n = 0;
    cat_place_init(&p, &rules, 1);
    while (cat_place_may_take(&p)) {
        take(&p, ++n, 0);
    }
    assert_int_equal(n, cat_place_entries_max(&p));
    assert_int_equal(n, 4 + CAT_PLACE_BEHIND_MIN);
    for (uint64_t s = n + 1; s <= n + CAT_PLACE_REOPEN_MAX; s++) {
        cat_place_pass(&p, s + 1);
        assert_true(cat_place_reopen(&p, s, 0, 1, &full));
    }
    cat_place_pass(&p, 20000);
    assert_false(cat_place_reopen(&p, 19999, 0, 1, &full));
    assert_true(full);
    cat_place_fini(&p);
}

/* Delayed ones, and those behind a busy key, have a room of their own. */
static void what_has_to_wait_leaves_room_for_what_has_not(void **state)
{
    struct cat_place p;
    struct cat_holder h = {0};
    bool full;
    uint64_t n = 0;
    cat_place_init(&p, &rules, 1);
    take(&p, ++n, 7);
    while (cat_place_may_hold(&p)) {
        n++;
        cat_place_take(&p, n, n % 2 != 0 ? 7 : 0, n % 2 != 0 ? 0 : 5000 + n, 0);
    }
    assert_int_equal(n, 1 + CAT_PLACE_HELD_MAX);
    assert_true(cat_place_may_take(&p));
    for (unsigned i = 0; i < 100; i++) { /* and the group goes on with these */
        n++;
        cat_place_deliver(&p, take(&p, n, 0), &h, 0, 1);
        assert_true(cat_place_ack(&p, &h, n, 0));
    }
    assert_false(cat_place_may_hold(&p));
    assert_int_equal(cat_place_expire(&p, 5002), 0); /* one is due: room for another */
    assert_true(cat_place_may_hold(&p));
    cat_place_expire(&p, UINT64_MAX / 2); /* all are: no room until they are fewer */
    assert_int_equal(p.n_held, CAT_PLACE_HELD_MAX / 2);
    assert_false(cat_place_may_take(&p));
    while (cat_place_fetch(&p) != NULL) {
    }
    for (uint64_t s = n + 1; cat_place_reopen(&p, s, 7, 1, &full) || !full; s++) {
        cat_place_pass(&p, s + 1);
    }
    assert_true(p.n_entries <= CAT_PLACE_HELD_MAX + 4 + CAT_PLACE_REOPEN_MAX + 1);
    cat_place_fini(&p);
    cat_heap_fini(&h.in_flight);
}

static void what_is_given_back_with_a_delay_is_bounded_too(void **state)
{
    struct cat_place p;
    struct cat_holder h = {0};
    struct chassis_view none = {NULL, 0};
    uint64_t n = 0;
    cat_place_init(&p, &rules, 1);
    while (cat_place_may_take(&p)) {
        cat_place_deliver(&p, take(&p, ++n, 0), &h, 0, 1);
        assert_true(cat_place_nack(&p, &h, n, 0, 1000, none));
    }
    assert_int_equal(n, CAT_PLACE_HELD_MAX + cat_place_entries_max(&p));
    assert_false(cat_place_may_hold(&p));
    cat_place_fini(&p);
    cat_heap_fini(&h.in_flight);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_above_the_floor_takes_no_room),
        cmocka_unit_test(a_busy_key_holds_back_its_own_only),
        cmocka_unit_test(an_event_delivered_too_often_is_dead_and_its_key_waits_until_it_is_stored),
        cmocka_unit_test(the_group_pauses_when_too_many_are_there),
        cmocka_unit_test(what_is_given_back_with_a_delay_is_bounded_too),
        cmocka_unit_test(what_has_to_wait_leaves_room_for_what_has_not),
        cmocka_unit_test(random_operations_match_the_reference),
        cmocka_unit_test(random_operations_match_the_reference_with_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
