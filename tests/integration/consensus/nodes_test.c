#include "rig.h"

static struct rig rig;

static void start_all(void)
{
    struct chassis_error err = {0};
    for (unsigned i = 0; i < rig.n; i++) {
        if (rig_start(&rig, i, &err) != 0) {
            fail_msg("%s", err.text);
        }
    }
    for (unsigned i = 0; i < rig.n; i++) {
        assert_true(rig_wait(rig_is_ready, &rig.nodes[i], 20000));
        assert_int_equal(atomic_load(&rig.nodes[i].ready), 1);
    }
}

static bool one_leads(void *data)
{
    unsigned leaders = 0;
    for (unsigned i = 0; i < rig.n; i++) {
        leaders += rig.nodes[i].node != NULL && atomic_load(&rig.nodes[i].leading) != 0;
    }
    return leaders == 1;
}

static unsigned leader(void)
{
    assert_true(rig_wait(one_leads, NULL, 20000));
    for (unsigned i = 0; i < rig.n; i++) {
        if (rig.nodes[i].node != NULL && atomic_load(&rig.nodes[i].leading) != 0) {
            return i;
        }
    }
    return 0;
}

static void one_node_keeps_what_it_acknowledged(void **state)
{
    char value[64];
    uint64_t begun = chassis_os_monotonic_ns();
    rig_init(&rig, 1);
    start_all();
    print_message("ready after %.1f ms\n", (double)(chassis_os_monotonic_ns() - begun) / 1e6);
    assert_int_equal(rig_propose(&rig.nodes[0], "a=1", "", 0, NULL), 0);
    assert_int_equal(rig_get(&rig.nodes[0], "a", value), 0);
    assert_string_equal(value, "1");
    assert_int_equal(rig_propose(&rig.nodes[0], "nonsense", "", 0, NULL), CHASSIS_INVALID_ARGUMENT);
    rig_stop(&rig, 0);
    start_all();
    assert_int_equal(rig_get(&rig.nodes[0], "a", value), 0);
    assert_string_equal(value, "1");
    rig_fini(&rig);
}

static void the_same_request_id_is_applied_once(void **state)
{
    uint64_t first = 0, second = 0;
    char value[64];
    rig_init(&rig, 1);
    start_all();
    assert_int_equal(rig_propose(&rig.nodes[0], "a=1", "id-1", 0, &first), 0);
    assert_int_equal(rig_propose(&rig.nodes[0], "a=2", "", 0, NULL), 0);
    rig_stop(&rig, 0);
    start_all(); /* the memory of ids outlives the process */
    assert_int_equal(rig_propose(&rig.nodes[0], "a=1", "id-1", 0, &second), 0);
    assert_true(first != 0);
    assert_int_equal(first, second);
    assert_int_equal(rig_get(&rig.nodes[0], "a", value), 0);
    assert_string_equal(value, "2");
    rig_fini(&rig);
}

static void another_member_list_is_refused(void **state)
{
    struct chassis_error err = {0};
    rig_init(&rig, 1);
    start_all();
    rig_stop(&rig, 0);
    rig.member_list[1] = "n2@127.0.0.1:1";
    rig.n = 2;
    assert_int_equal(rig_start(&rig, 0, &err), CHASSIS_CONFIG);
    assert_non_null(strstr(err.text, "member list was fixed at first start"));
    rig_fini(&rig);
}

static void a_lost_log_is_refused(void **state)
{
    struct chassis_error err = {0};
    char command[512];
    rig_init(&rig, 1);
    start_all();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(rig_propose(&rig.nodes[0], "a=1", "", 0, NULL), 0);
    }
    rig_stop(&rig, 0);
    snprintf(command, sizeof command, "rm -r %s/journal", rig.nodes[0].directory);
    assert_int_equal(system(command), 0);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    assert_true(rig_wait(rig_is_ready, &rig.nodes[0], 20000));
    assert_int_equal(atomic_load(&rig.nodes[0].ready), CHASSIS_CORRUPT);
    assert_non_null(strstr(rig.nodes[0].refusal, "the log was cut or replaced"));
    rig_fini(&rig);
}

static void three_nodes_serve_through_any_and_survive_a_leader(void **state)
{
    char value[64], command[64];
    rig_init(&rig, 3);
    start_all();
    unsigned first = leader();
    for (unsigned i = 0; i < 3; i++) {
        snprintf(command, sizeof command, "key%u=value%u", i, i);
        assert_int_equal(rig_propose(&rig.nodes[i], command, "", 0, NULL), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig_get(&rig.nodes[i], "key0", value), 0);
        assert_string_equal(value, "value0");
        assert_int_equal(rig_get(&rig.nodes[i], "key2", value), 0);
    }
    rig_stop(&rig, first); /* hands leadership over first */
    unsigned second = leader();
    assert_true(second != first);
    assert_int_equal(rig_propose(&rig.nodes[second], "after=1", "", 0, NULL), 0);
    struct chassis_error err = {0};
    assert_int_equal(rig_start(&rig, first, &err), 0);
    assert_true(rig_wait(rig_is_ready, &rig.nodes[first], 20000));
    assert_int_equal(rig_get(&rig.nodes[first], "after", value), 0);
    assert_string_equal(value, "1");
    rig_fini(&rig);
}

struct asked {
    struct rig_done done;
    struct chassis_ask ask;
};
static void on_asked(struct chassis_ask *a)
{
    atomic_store(&chassis_container_of(a, struct asked, ask)->done.done, 1);
}

static void a_question_reaches_the_leader(void **state)
{
    rig_init(&rig, 3);
    start_all();
    unsigned lead = leader(), other = (lead + 1) % 3;
    struct asked asked = {.ask.done = on_asked};
    chassis_buf_append_str(&asked.ask.question, "hello");
    chassis_consensus_ask_leader(rig.nodes[other].node, &asked.ask);
    assert_true(rig_wait(rig_is_done, &asked.done, 20000));
    assert_int_equal(asked.ask.status, 0);
    char expected[64];
    snprintf(expected, sizeof expected, "n%u heard hello from %u", lead + 1, other + 1);
    assert_string_equal((const char *)asked.ask.answer.data, expected);
    chassis_buf_fini(&asked.ask.answer);
    assert_int_equal(chassis_consensus_version(rig.nodes[lead].node), 3);
    rig_fini(&rig);
}

static void a_node_that_was_away_is_caught_up_by_checkpoint(void **state)
{
    char command[64], value[64];
    struct chassis_error err = {0};
    rig_init(&rig, 3);
    rig.checkpoint_entries = 50;
    start_all();
    unsigned away = (leader() + 1) % 3, lead = leader();
    rig_stop(&rig, away);
    for (int i = 0; i < 400; i++) {
        snprintf(command, sizeof command, "key%d=value%d", i % 37, i);
        assert_int_equal(rig_propose(&rig.nodes[lead], command, "", 0, NULL), 0);
    }
    struct chassis_consensus_status s;
    chassis_consensus_status(rig.nodes[lead].node, &s);
    assert_true(s.checkpoint_index > 200);
    assert_int_equal(rig_start(&rig, away, &err), 0);
    assert_true(rig_wait(rig_is_ready, &rig.nodes[away], 20000));
    assert_int_equal(rig_get(&rig.nodes[away], "key29", value), 0);
    assert_string_equal(value, "value399");
    chassis_consensus_status(rig.nodes[away].node, &s);
    assert_true(s.checkpoint_index > 200);
    rig_fini(&rig);
}

static void without_a_majority_nothing_is_acknowledged(void **state)
{
    char value[64];
    rig_init(&rig, 3);
    start_all();
    unsigned lead = leader();
    rig_stop(&rig, (lead + 1) % 3);
    rig_stop(&rig, (lead + 2) % 3);
    int rc = rig_propose(&rig.nodes[lead], "a=1", "", 1500, NULL);
    assert_true(rc == CHASSIS_OUTCOME_UNKNOWN || rc == CHASSIS_NO_QUORUM);
    struct rig_read r = {.r.done = rig_read_done, .r.timeout_ns = CHASSIS_NS_PER_S};
    chassis_consensus_read(rig.nodes[lead].node, &r.r);
    assert_true(rig_wait(rig_is_done, &r.done, 20000));
    assert_int_equal(r.r.status, CHASSIS_NO_QUORUM);
    (void)value;
    rig_fini(&rig);
}

static void a_member_with_a_small_store_is_not_filled_up(void **state)
{
    static char command[9000], value[9000];
    struct chassis_error err = {0};
    int rc = 0, accepted = 0;
    rig_init(&rig, 3);
    start_all();
    unsigned small = (leader() + 1) % 3;
    rig_stop(&rig, small);
    rig.nodes[small].store_bytes_max = 4 << 20;
    assert_int_equal(rig_start(&rig, small, &err), 0);
    assert_true(rig_wait(rig_is_ready, &rig.nodes[small], 20000));
    for (; accepted < 2000 && rc == 0; accepted++) {
        int n = snprintf(command, sizeof command, "key%d=", accepted);
        memset(command + n, 'x', 8000);
        rc = rig_propose(&rig.nodes[leader()], command, "", 0, NULL);
    }
    assert_int_equal(rc, CHASSIS_NO_SPACE);
    assert_in_range(accepted, 100, 600);
    assert_int_equal(rig_get(&rig.nodes[small], "key10", value),
                     0); /* it still applies and reads */
    assert_int_equal(rig_propose(&rig.nodes[small], "a=1", "", 0, NULL), CHASSIS_NO_SPACE);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node_keeps_what_it_acknowledged),
        cmocka_unit_test(the_same_request_id_is_applied_once),
        cmocka_unit_test(another_member_list_is_refused),
        cmocka_unit_test(a_lost_log_is_refused),
        cmocka_unit_test(three_nodes_serve_through_any_and_survive_a_leader),
        cmocka_unit_test(a_question_reaches_the_leader),
        cmocka_unit_test(a_node_that_was_away_is_caught_up_by_checkpoint),
        cmocka_unit_test(a_member_with_a_small_store_is_not_filled_up),
        cmocka_unit_test(without_a_majority_nothing_is_acknowledged),
    };
    chassis_log_set_level("", getenv("VERBOSE") != NULL ? CHASSIS_LOG_DEBUG : CHASSIS_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
