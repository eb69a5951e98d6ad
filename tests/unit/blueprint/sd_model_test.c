#include "blueprint/key_value/model.h"
#include "blueprint/machine.h"
#include "kv_fixture.h"
#include "base/prng.h"
#include "os/os.h"

#define S(n) ((n)*INT64_C(1000000000))

struct sd {
    struct chassis_store *store;
    int64_t now_ns;
    struct chassis_buf result;
    struct chassis_arena arena;
};

static void sd_init(struct sd *sd)
{
    memset(sd, 0, sizeof *sd);
    sd->store = array_store_new(bp_tables, BP_TABLES);
    sd->now_ns = S(1000);
    chassis_arena_init(&sd->arena, NULL, 0, 0);
}

static void sd_fini(struct sd *sd)
{
    chassis_store_close(sd->store);
    chassis_buf_fini(&sd->result);
    chassis_arena_fini(&sd->arena);
}

static int apply(struct sd *sd, const struct bp_layout *layout, const void *message)
{
    struct chassis_buf command = {0};
    struct chassis_txn *txn;
    bp_codec_encode(layout, BP_CODEC_VERSION, message, &command);
    struct chassis_entry entry = {
        .index = 1, .time_ns = sd->now_ns, .command = chassis_buf_view(&command)};
    assert_int_equal(chassis_store_begin(sd->store, true, &txn, NULL), 0);
    chassis_buf_clear(&sd->result);
    int r = bp_machine_apply(txn, &entry, &sd->result);
    assert_int_equal(chassis_txn_commit(txn, NULL), 0);
    chassis_buf_fini(&command);
    return r;
}

static int reg(struct sd *sd, const char *pid, const char *name, const char *nonce)
{
    struct bp_sd_register m = {V("127.0.0.1"), V(pid), V(name), V(nonce), false};
    return apply(sd, &bp_sd_layout_register, &m);
}

static struct bp_sd_register_result registered(struct sd *sd)
{
    struct bp_sd_register_result result;
    assert_int_equal(bp_codec_decode(&bp_sd_layout_register_result, chassis_buf_view(&sd->result),
                                     &sd->arena, &result, NULL),
                     0);
    return result;
}

static bool changed(struct sd *sd)
{
    struct bp_sd_change_result result;
    assert_int_equal(bp_codec_decode(&bp_sd_layout_change_result, chassis_buf_view(&sd->result),
                                     &sd->arena, &result, NULL),
                     0);
    return result.changed;
}

static int report(struct sd *sd, const char *pid, uint64_t incarnation, uint32_t running)
{
    struct bp_sd_text services[] = {{V("examples.echo.v1.EchoService")}};
    struct bp_sd_metadata metadata[] = {{V("zone"), V("a")}};
    struct bp_sd_report m = {
        .actor = V("127.0.0.1"),
        .pid = V(pid),
        .incarnation = incarnation,
        .reason = V("reported"),
        .details = {.running = running,
                    .health = BP_SD_HEALTHY,
                    .kind = 1,
                    .address = V("127.0.0.1:9000"),
                    .group = V("examples"),
                    .metadata = {metadata, 1},
                    .services = {services, 1}},
    };
    return apply(sd, &bp_sd_layout_report, &m);
}

static int removal(struct sd *sd, const char *pid, uint64_t incarnation, enum bp_sd_removal kind)
{
    struct bp_sd_remove m = {V("n1"), V(pid), V("silent"), incarnation, kind};
    return apply(sd, &bp_sd_layout_remove, &m);
}

static int get(struct sd *sd, const char *pid, struct bp_sd_process *ret_process)
{
    struct chassis_txn *txn;
    assert_int_equal(chassis_store_begin(sd->store, false, &txn, NULL), 0);
    int r = bp_sd_get(txn, V(pid), &sd->arena, ret_process, NULL);
    chassis_txn_abort(txn);
    return r;
}

#define NONCE "0123456789abcdef"

static void a_repeated_initialize_gives_the_same_pid_for_two_minutes(void **state)
{
    struct sd sd;
    sd_init(&sd);
    assert_int_equal(reg(&sd, "pid-1", "echo", NONCE), 0);
    uint64_t incarnation = registered(&sd).incarnation;
    sd.now_ns += S(119);
    assert_int_equal(reg(&sd, "pid-2", "echo", NONCE), 0);
    assert_true(chassis_view_eq(registered(&sd).pid, V("pid-1")));
    assert_int_equal(registered(&sd).incarnation, incarnation);
    struct bp_sd_process p;
    assert_int_equal(get(&sd, "pid-2", &p), CHASSIS_NOT_FOUND);
    /* Another name is another registration. */
    assert_int_equal(reg(&sd, "pid-3", "crud", NONCE), 0);
    assert_true(chassis_view_eq(registered(&sd).pid, V("pid-3")));
    sd.now_ns += S(2);
    assert_int_equal(reg(&sd, "pid-4", "echo", NONCE), CHASSIS_ALREADY_EXISTS);
    sd_fini(&sd);
}

static void the_constant_nonce_registers_again_and_again_when_allowed(void **state)
{
    struct sd sd;
    sd_init(&sd);
    struct bp_sd_register m = {V("x"), V("p1"), V("echo"), V("constant"), true};
    assert_int_equal(apply(&sd, &bp_sd_layout_register, &m), 0);
    m.pid = V("p2");
    assert_int_equal(apply(&sd, &bp_sd_layout_register, &m), 0);
    assert_true(chassis_view_eq(registered(&sd).pid, V("p2")));
    sd_fini(&sd);
}

static void old_nonces_are_forgotten_in_the_end(void **state)
{
    struct sd sd;
    sd_init(&sd);
    char pid[16], nonce[32];
    for (int i = 0; i < 20; i++) {
        snprintf(pid, sizeof pid, "p%d", i);
        snprintf(nonce, sizeof nonce, "nonce-number-%06d", i);
        assert_int_equal(reg(&sd, pid, "echo", nonce), 0);
    }
    sd.now_ns += S(25 * 3600);
    for (int i = 20; i < 24; i++) {
        snprintf(pid, sizeof pid, "p%d", i);
        snprintf(nonce, sizeof nonce, "nonce-number-%06d", i);
        assert_int_equal(reg(&sd, pid, "echo", nonce), 0);
    }
    struct chassis_txn *txn;
    chassis_store_begin(sd.store, false, &txn, NULL);
    assert_int_equal(chassis_txn_count(txn, BP_TABLE_NONCES), 2 * 4);
    chassis_txn_abort(txn);
    sd_fini(&sd);
}

static void only_changes_take_a_revision(void **state)
{
    struct sd sd;
    sd_init(&sd);
    assert_int_equal(reg(&sd, "p", "echo", NONCE), 0);
    uint64_t incarnation = registered(&sd).incarnation;
    assert_int_equal(report(&sd, "p", incarnation, BP_SD_RUNNING), 0);
    assert_true(changed(&sd));
    assert_int_equal(report(&sd, "p", incarnation, BP_SD_RUNNING), 0);
    assert_false(changed(&sd));
    assert_int_equal(report(&sd, "p", incarnation + 1, BP_SD_RUNNING), CHASSIS_FAILED_PRECONDITION);
    assert_int_equal(report(&sd, "q", 0, BP_SD_RUNNING), CHASSIS_NOT_FOUND);
    struct bp_sd_process p;
    assert_int_equal(get(&sd, "p", &p), 0);
    assert_int_equal(p.details.running, BP_SD_RUNNING);
    assert_int_equal(p.details.services.n, 1);
    struct bp_sd_filter by_service = {BP_SD_FILTER_SERVICE, V("examples.echo.v1.EchoService")};
    assert_true(bp_sd_matches(&by_service, &p));
    by_service.text = V("other");
    assert_false(bp_sd_matches(&by_service, &p));
    sd_fini(&sd);
}

static void leased_records_go_with_an_expired_process_in_one_command(void **state)
{
    struct sd sd;
    sd_init(&sd);
    assert_int_equal(reg(&sd, "p", "echo", NONCE), 0);
    uint64_t incarnation = registered(&sd).incarnation;
    assert_int_equal(report(&sd, "p", incarnation, BP_SD_RUNNING), 0);
    struct bp_kv_write write = {.actor = V("t"),
                                .op = {.type = BP_KV_OP_SET,
                                       .kind = V(KIND),
                                       .key = V("addr"),
                                       .value = V("x"),
                                       .lease = V("p")}};
    assert_int_equal(apply(&sd, &bp_kv_layout_write, &write), 0);
    assert_int_equal(removal(&sd, "p", incarnation + 7, BP_SD_EXPIRED),
                     CHASSIS_FAILED_PRECONDITION);
    assert_int_equal(removal(&sd, "p", incarnation, BP_SD_EXPIRED), 0);
    struct bp_sd_process p;
    assert_int_equal(get(&sd, "p", &p), 0);
    assert_int_equal(p.details.running, BP_SD_DISCONNECTED);
    assert_int_equal(p.left_ns, sd.now_ns);
    struct chassis_txn *txn;
    struct bp_kv_version v;
    chassis_store_begin(sd.store, false, &txn, NULL);
    assert_int_equal(bp_kv_get(txn, V(KIND), V("addr"), 0, &v, NULL), CHASSIS_NOT_FOUND);
    chassis_txn_abort(txn);
    /* A blip: it reports again and is back, and may lease again. */
    assert_int_equal(report(&sd, "p", incarnation, BP_SD_RUNNING), 0);
    assert_int_equal(get(&sd, "p", &p), 0);
    assert_int_equal(p.left_ns, 0);
    assert_int_equal(apply(&sd, &bp_kv_layout_write, &write), 0);
    /* Finalize removes it altogether. */
    assert_int_equal(removal(&sd, "p", 0, BP_SD_FINALIZED), 0);
    assert_int_equal(get(&sd, "p", &p), CHASSIS_NOT_FOUND);
    assert_int_equal(removal(&sd, "p", 0, BP_SD_FINALIZED), CHASSIS_NOT_FOUND);
    sd_fini(&sd);
}

static void every_transition_says_who_and_why(void **state)
{
    struct sd sd;
    sd_init(&sd);
    reg(&sd, "p", "echo", NONCE);
    report(&sd, "p", 1, BP_SD_RUNNING);
    removal(&sd, "p", 1, BP_SD_EXPIRED);
    removal(&sd, "p", 1, BP_SD_FORGOTTEN);
    const uint32_t types[] = {BP_SD_EVENT_JOINED, BP_SD_EVENT_CHANGED, BP_SD_EVENT_EXPIRED,
                              BP_SD_EVENT_LEFT};
    struct chassis_txn *txn;
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    chassis_store_begin(sd.store, false, &txn, NULL);
    chassis_cursor_open(txn, BP_TABLE_TRANSITIONS, &cursor);
    int r = chassis_cursor_seek(cursor, chassis_view("\0", 1), &k, &v);
    for (size_t i = 0; i < 4; i++) {
        struct bp_sd_transition t;
        assert_int_equal(r, 0);
        assert_int_equal(bp_store_unseal(BP_TABLE_TRANSITIONS, k, v, &bp_sd_layout_transition,
                                         &sd.arena, &t, NULL),
                         0);
        assert_int_equal(t.type, types[i]);
        assert_int_equal(t.process.incarnation, 1);
        assert_true(t.process.reason.len != 0 && t.process.actor.len != 0);
        r = chassis_cursor_next(cursor, &k, &v);
    }
    assert_int_equal(r, CHASSIS_NOT_FOUND);
    chassis_cursor_close(cursor);
    chassis_txn_abort(txn);
    sd_fini(&sd);
}

static void a_key_id_belongs_to_one_key(void **state)
{
    struct sd sd;
    sd_init(&sd);
    uint8_t a[32] = {1}, b[32] = {2}, out[32];
    struct bp_sd_node_key m = {V("n1"), V("id"), chassis_view(a, 32)};
    assert_int_equal(apply(&sd, &bp_sd_layout_node_key, &m), 0);
    assert_int_equal(apply(&sd, &bp_sd_layout_node_key, &m), 0);
    m.public_key = chassis_view(b, 32);
    assert_int_equal(apply(&sd, &bp_sd_layout_node_key, &m), CHASSIS_ALREADY_EXISTS);
    struct chassis_txn *txn;
    chassis_store_begin(sd.store, false, &txn, NULL);
    assert_int_equal(bp_sd_key_get(txn, V("id"), out, NULL), 0);
    assert_memory_equal(out, a, 32);
    assert_int_equal(bp_sd_key_get(txn, V("other"), out, NULL), CHASSIS_NOT_FOUND);
    chassis_txn_abort(txn);
    sd_fini(&sd);
}

/* --- expiry --- */

struct due {
    unsigned n;
    enum bp_sd_removal last;
};

static void count_due(const struct bp_sd_process *process, enum bp_sd_removal kind,
                      const char *reason, void *data)
{
    struct due *due = data;
    due->n++;
    due->last = kind;
}

static unsigned scan(struct sd *sd, struct bp_expiry *expiry, uint64_t now_ns, struct due *due)
{
    struct chassis_txn *txn;
    unsigned before = due->n;
    chassis_store_begin(sd->store, false, &txn, NULL);
    assert_int_equal(bp_expiry_scan(expiry, txn, now_ns, count_due, due, NULL), 0);
    chassis_txn_abort(txn);
    return due->n - before;
}

static void silence_expires_and_a_new_leader_gives_a_full_time_to_live(void **state)
{
    struct sd sd;
    struct bp_expiry e;
    struct due due = {0};
    struct bp_expiry_limits limits = {15 * CHASSIS_NS_PER_S, 120 * CHASSIS_NS_PER_S,
                                      600 * CHASSIS_NS_PER_S};
    sd_init(&sd);
    bp_expiry_init(&e, &limits);
    reg(&sd, "p", "echo", NONCE);
    report(&sd, "p", 1, BP_SD_RUNNING);
    uint64_t t = 50 * CHASSIS_NS_PER_S;
    assert_int_equal(scan(&sd, &e, t, &due), 0);
    assert_int_equal(bp_expiry_last(&e, V("p")), 0);
    bp_expiry_touch(&e, V("p"), t + 10 * CHASSIS_NS_PER_S, 77);
    assert_int_equal(bp_expiry_last(&e, V("p")), 77);
    assert_int_equal(scan(&sd, &e, t + 24 * CHASSIS_NS_PER_S, &due), 0);
    bp_expiry_reset(&e); /* another node led for a moment */
    assert_int_equal(scan(&sd, &e, t + 25 * CHASSIS_NS_PER_S, &due), 0);
    assert_int_equal(scan(&sd, &e, t + 39 * CHASSIS_NS_PER_S, &due), 0);
    assert_int_equal(scan(&sd, &e, t + 40 * CHASSIS_NS_PER_S, &due), 1);
    assert_int_equal(due.last, BP_SD_EXPIRED);
    assert_int_equal(scan(&sd, &e, t + 41 * CHASSIS_NS_PER_S, &due), 0); /* proposed already */
    assert_int_equal(removal(&sd, "p", 1, BP_SD_EXPIRED), 0);
    bp_expiry_settled(&e, V("p"));
    assert_int_equal(scan(&sd, &e, t + 42 * CHASSIS_NS_PER_S, &due), 0);
    assert_int_equal(scan(&sd, &e, t + 643 * CHASSIS_NS_PER_S, &due), 1);
    assert_int_equal(due.last, BP_SD_FORGOTTEN);
    bp_expiry_fini(&e);
    sd_fini(&sd);
}

static void a_process_that_never_reported_is_removed_after_two_minutes(void **state)
{
    struct sd sd;
    struct bp_expiry e;
    struct due due = {0};
    struct bp_expiry_limits limits = {15 * CHASSIS_NS_PER_S, 120 * CHASSIS_NS_PER_S,
                                      600 * CHASSIS_NS_PER_S};
    sd_init(&sd);
    bp_expiry_init(&e, &limits);
    reg(&sd, "p", "echo", NONCE);
    assert_int_equal(scan(&sd, &e, 1, &due), 0);
    assert_int_equal(scan(&sd, &e, 119 * CHASSIS_NS_PER_S, &due), 0);
    assert_int_equal(scan(&sd, &e, 120 * CHASSIS_NS_PER_S + 1, &due), 1);
    assert_int_equal(due.last, BP_SD_FORGOTTEN);
    bp_expiry_fini(&e);
    sd_fini(&sd);
}

/* A scan looks at what is due, whatever is registered, and at nobody who reports in time but once in
 * a time to live. */
static void a_scan_costs_what_is_due(void **state)
{
    enum { PROCESSES = 5000, SILENT = 7 };
    const uint64_t s = CHASSIS_NS_PER_S;
    struct sd sd;
    struct bp_expiry e;
    struct due due = {0};
    struct bp_expiry_limits limits = {15 * s, 120 * s, 600 * s};
    char pid[32], nonce[64];
    sd_init(&sd);
    bp_expiry_init(&e, &limits);
    for (unsigned i = 0; i < PROCESSES; i++) {
        snprintf(pid, sizeof pid, "p%u", i);
        snprintf(nonce, sizeof nonce, "%s%u", NONCE, i);
        reg(&sd, pid, "echo", nonce);
        report(&sd, pid, 2 * i + 1, BP_SD_RUNNING);
    }
    assert_int_equal(scan(&sd, &e, 100 * s, &due), 0);
    assert_true(bp_expiry_more(&e)); /* the store is read in pieces */
    while (bp_expiry_more(&e)) {
        assert_int_equal(scan(&sd, &e, 100 * s, &due), 0);
    }
    assert_int_equal(e.n, PROCESSES);
    for (unsigned at = 101; at < 115; at++) { /* everybody reports each second but seven */
        for (unsigned i = SILENT; i < PROCESSES; i++) {
            snprintf(pid, sizeof pid, "p%u", i);
            bp_expiry_touch(&e, V(pid), at * s, 1);
        }
        assert_int_equal(scan(&sd, &e, at * s, &due), 0);
    }
    assert_int_equal(e.looked, 0);
    do {
        scan(&sd, &e, 115 * s, &due);
    } while (bp_expiry_more(&e));
    assert_int_equal(due.n, SILENT);
    assert_int_equal(due.last, BP_SD_EXPIRED);
    assert_int_equal(e.looked, PROCESSES);
    assert_int_equal(scan(&sd, &e, 128 * s, &due), 0);
    assert_int_equal(e.looked, PROCESSES);
    reg(&sd, "late", "echo", "a nonce of its own");
    assert_int_equal(scan(&sd, &e, 128 * s, &due), 0);
    assert_int_equal(e.n, PROCESSES + 1); /* found by its transition */
    assert_int_equal(removal(&sd, "late", 0, BP_SD_FINALIZED), 0);
    due.n = 0;
    do {
        scan(&sd, &e, 400 * s, &due);
    } while (bp_expiry_more(&e));
    assert_int_equal(due.n, PROCESSES - SILENT); /* and dropped with its record */
    assert_int_equal(e.n, PROCESSES);
    bp_expiry_fini(&e);
    sd_fini(&sd);
}

/* Against a plain list: whoever is due is named, in the order of time, whatever moves meanwhile. */
static void those_due_are_those_who_are_silent(void **state)
{
    enum { PROCESSES = 200, TTL = 50 };
    struct sd sd;
    struct bp_expiry e;
    struct due due = {0};
    struct bp_expiry_limits limits = {TTL, 1000000, 1000000};
    struct chassis_prng prng;
    uint64_t seen[PROCESSES] = {0}, now = 1;
    bool gone[PROCESSES] = {false};
    char pid[32], nonce[64];
    sd_init(&sd);
    chassis_prng_init(&prng, 7);
    bp_expiry_init(&e, &limits);
    for (unsigned i = 0; i < PROCESSES; i++) {
        snprintf(pid, sizeof pid, "p%u", i);
        snprintf(nonce, sizeof nonce, "%s%u", NONCE, i);
        reg(&sd, pid, "echo", nonce);
        report(&sd, pid, 2 * i + 1, BP_SD_RUNNING);
        seen[i] = now;
    }
    scan(&sd, &e, now, &due);
    for (unsigned step = 0; step < 400; step++) {
        now += chassis_prng_below(&prng, 5);
        for (unsigned k = 0; k < 20; k++) {
            unsigned i = (unsigned)chassis_prng_below(&prng, PROCESSES);
            snprintf(pid, sizeof pid, "p%u", i);
            bp_expiry_touch(&e, V(pid), now, 1);
            seen[i] = gone[i] ? seen[i] : now;
        }
        unsigned expected = 0;
        for (unsigned i = 0; i < PROCESSES; i++) {
            bool over = !gone[i] && now - seen[i] >= TTL;
            gone[i] = gone[i] || over;
            expected += over;
        }
        assert_int_equal(scan(&sd, &e, now, &due), expected);
    }
    assert_true(due.n > 10 && due.n < PROCESSES);
    bp_expiry_fini(&e);
    sd_fini(&sd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeated_initialize_gives_the_same_pid_for_two_minutes),
        cmocka_unit_test(the_constant_nonce_registers_again_and_again_when_allowed),
        cmocka_unit_test(old_nonces_are_forgotten_in_the_end),
        cmocka_unit_test(only_changes_take_a_revision),
        cmocka_unit_test(leased_records_go_with_an_expired_process_in_one_command),
        cmocka_unit_test(every_transition_says_who_and_why),
        cmocka_unit_test(a_key_id_belongs_to_one_key),
        cmocka_unit_test(silence_expires_and_a_new_leader_gives_a_full_time_to_live),
        cmocka_unit_test(a_process_that_never_reported_is_removed_after_two_minutes),
        cmocka_unit_test(a_scan_costs_what_is_due),
        cmocka_unit_test(those_due_are_those_who_are_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
