/* The controllers over a fake consensus, on simulated executors and clock: watches, compaction, the
 * leader record, keys, tokens, heartbeats and expiry. */
#include "auth/auth.h"
#include "base/prng.h"
#include "blueprint/machine.h"
#include "fake_consensus.h"
#include "kv_fixture.h"
#include "os/sim.h"

struct world {
    struct chassis_sim *sim;
    struct chassis_sim_host *host;
    struct chassis_executor *loop;
    struct chassis_consensus node;
    struct blueprint blueprint;
    struct chassis_state_machine machine;
    struct chassis_auth_key *key;
    char dir[256];
};

/* Run `fn` on the loop, and the world until it ran. */
struct call {
    struct chassis_task task;
    void (*fn)(void *data);
    void *data;
    bool ran;
};

static void run_call(struct chassis_task *task)
{
    struct call *call = chassis_container_of(task, struct call, task);
    call->fn(call->data);
    call->ran = true;
}

static bool call_ran(void *data)
{
    return ((struct call *)data)->ran;
}

static void on_loop(struct world *w, void (*fn)(void *data), void *data)
{
    struct call call = {.task.run = run_call, .fn = fn, .data = data};
    chassis_post(w->loop, &call.task);
    assert_true(chassis_sim_run(w->sim, CHASSIS_NS_PER_S, call_ran, &call));
}

struct starting {
    struct world *world;
    struct bp_kv_options kv;
    struct bp_sd_options sd;
};

static void do_start(void *data)
{
    struct starting *s = data;
    bp_blueprint_start(&s->world->blueprint, &s->kv, &s->sd);
}

static void do_stop(void *data)
{
    bp_blueprint_stop(data);
}

static void do_lead(void *data)
{
    bp_machine_ops.leadership(data, true, 1);
}

static bool key_published(void *data)
{
    return ((struct blueprint *)data)->sd.key_published;
}

static void start(struct world *w, uint64_t seed, const struct bp_kv_options *kv,
                  const struct bp_sd_options *sd)
{
    memset(w, 0, sizeof *w);
    w->sim = chassis_sim_new(seed);
    w->host = chassis_sim_host_new(w->sim, "one");
    w->loop = chassis_sim_executor(w->host, "loop", 0);
    w->machine = bp_machine(&w->blueprint);
    w->node = (struct chassis_consensus){.store = array_store_new(bp_tables, BP_TABLES),
                                         .executor = w->loop,
                                         .machine = &w->machine,
                                         .wall_ns = chassis_wall_ns(chassis_sim_clock(w->host))};
    char path[300];
    snprintf(path, sizeof path, "%s/node.key", test_tmpdir(w->dir));
    assert_int_equal(chassis_auth_key_open(path, &w->key, NULL), 0);
    struct bp_kv_options kv_options = kv != NULL ? *kv : (struct bp_kv_options){0};
    struct bp_sd_options sd_options = sd != NULL ? *sd : (struct bp_sd_options){0};
    kv_options.consensus = sd_options.consensus = &w->node;
    kv_options.loop = sd_options.loop = w->loop;
    kv_options.clock = sd_options.clock = chassis_sim_clock(w->host);
    sd_options.key = w->key;
    struct starting starting = {w, kv_options, sd_options};
    on_loop(w, do_start, &starting);
    /* The node's key is published first, at revision 1. */
    assert_true(chassis_sim_run(w->sim, CHASSIS_NS_PER_S, key_published, &w->blueprint));
}

static void stop(struct world *w)
{
    on_loop(w, do_stop, &w->blueprint);
    chassis_sim_run(w->sim, 1000 * CHASSIS_NS_PER_MS, NULL, NULL);
    chassis_store_close(w->node.store);
    chassis_auth_key_close(w->key);
    chassis_sim_free(w->sim);
    test_rmtree(w->dir);
}

static void run_ms(struct world *w, uint64_t ms)
{
    chassis_sim_run(w->sim, ms * CHASSIS_NS_PER_MS, NULL, NULL);
    w->node.wall_ns = chassis_wall_ns(chassis_sim_clock(w->host));
}

static int apply(struct world *w, const struct bp_layout *layout, const void *message,
                 struct chassis_buf *ret_result)
{
    struct chassis_buf command = {0}, result = {0};
    struct chassis_txn *txn;
    bp_codec_encode(layout, BP_CODEC_VERSION, message, &command);
    struct chassis_entry entry = {.index = ++w->node.applied,
                                  .time_ns = w->node.wall_ns,
                                  .command = chassis_buf_view(&command)};
    assert_int_equal(chassis_store_begin(w->node.store, true, &txn, NULL), 0);
    int r = bp_machine_apply(txn, &entry, &result);
    chassis_txn_commit(txn, NULL);
    bp_machine_ops.committed(&w->blueprint, w->node.applied);
    chassis_buf_fini(&command);
    if (ret_result != NULL) {
        *ret_result = result;
    } else {
        chassis_buf_fini(&result);
    }
    return r;
}

static int set(struct world *w, const char *key, const char *value)
{
    struct bp_kv_write m = {V("t"),
                            {.type = value != NULL ? BP_KV_OP_SET : BP_KV_OP_DELETE,
                             .kind = V(KIND),
                             .key = V(key),
                             .value = V(value != NULL ? value : "")}};
    return apply(w, &bp_kv_layout_write, &m, NULL);
}

/* --- a watcher that writes down what it gets --- */

struct recorder {
    struct bp_watcher watcher;
    struct chassis_buf text; /* "3:a=1 4:-a " … */
    unsigned batches, resyncs, progress;
    unsigned room; /* batches it takes before it refuses */
    uint64_t last;
    int ended;
};

static int record(struct bp_watcher *watcher, struct bp_feed_batch *batch)
{
    struct recorder *r = chassis_container_of(watcher, struct recorder, watcher);
    if (r->room == 0) {
        return CHASSIS_RESOURCE_EXHAUSTED;
    }
    r->room--;
    r->batches++;
    r->resyncs += batch->kind == BP_FEED_RESYNC;
    r->progress += batch->kind == BP_FEED_PROGRESS;
    for (size_t i = 0; i < batch->n; i++) {
        const struct bp_kv_event *e = batch->events[i];
        assert_true(e->version.at.revision >= r->last);
        r->last = e->version.at.revision;
        chassis_buf_printf(&r->text, "%llu:%s%.*s=%.*s ", (unsigned long long)r->last,
                           e->version.deleted ? "-" : "", CHASSIS_VIEW_ARG(e->version.key),
                           CHASSIS_VIEW_ARG(e->version.value));
        if (e->has_prev) {
            chassis_buf_printf(&r->text, "(was %.*s) ", CHASSIS_VIEW_ARG(e->prev_value));
        }
    }
    assert_true(batch->revision >= r->last);
    return 0;
}

static void end_record(struct bp_watcher *watcher, const struct chassis_error *err)
{
    chassis_container_of(watcher, struct recorder, watcher)->ended = err->code;
}
static const struct bp_sink_ops record_ops = {record, end_record};

struct watching {
    struct world *world;
    struct recorder *recorder;
    struct chassis_buf filter;
    int status;
};

static void do_watch(void *data)
{
    struct watching *x = data;
    x->status = bp_feed_add(&x->world->blueprint.kv.feed, &x->recorder->watcher,
                            chassis_buf_view(&x->filter), NULL);
}

static int watch(struct world *w, struct recorder *r, const char *prefix, uint64_t from, bool prev)
{
    struct watching x = {w, r, {0}, 0};
    r->watcher.ops = &record_ops;
    r->watcher.next = from;
    bp_kv_watch_filter(V(KIND), V(prefix), prev, &x.filter);
    on_loop(w, do_watch, &x);
    chassis_buf_fini(&x.filter);
    return x.status;
}

static void do_remove(void *data)
{
    struct watching *x = data;
    bp_feed_remove(&x->world->blueprint.kv.feed, &x->recorder->watcher);
}

static void do_writable(void *data)
{
    struct watching *x = data;
    bp_feed_writable(&x->world->blueprint.kv.feed, &x->recorder->watcher);
}

static void writable(struct world *w, struct recorder *r)
{
    struct watching x = {w, r, {0}, 0};
    on_loop(w, do_writable, &x);
}

static const char *seen(const struct recorder *r)
{
    return r->text.len != 0 ? (const char *)r->text.data : "";
}

static void watchers_see_every_change_in_order_from_any_kept_revision(void **state)
{
    struct world w;
    struct recorder now = {.room = 100}, past = {.room = 100}, some = {.room = 100};
    start(&w, 1, NULL, NULL);
    set(&w, "a", "1");
    set(&w, "b", "1");
    assert_int_equal(watch(&w, &now, "", 0, false), 0);
    assert_int_equal(watch(&w, &past, "", 1, true), 0);
    assert_int_equal(watch(&w, &some, "a", 5, false), 0); /* of the future */
    run_ms(&w, 10);
    set(&w, "a", "2");
    run_ms(&w, 10);
    set(&w, "a", NULL);
    set(&w, "ab", "3");
    run_ms(&w, 10);
    assert_string_equal(seen(&now), "4:a=2 5:-a= 6:ab=3 ");
    assert_string_equal(seen(&past), "2:a=1 3:b=1 4:a=2 (was 1) 5:-a= (was 2) 6:ab=3 ");
    assert_string_equal(seen(&some), "5:-a= 6:ab=3 ");
    stop(&w);
    assert_int_equal(now.ended, CHASSIS_SHUTTING_DOWN);
    chassis_buf_fini(&now.text);
    chassis_buf_fini(&past.text);
    chassis_buf_fini(&some.text);
}

static void a_slow_watcher_catches_up_from_the_store(void **state)
{
    struct world w;
    struct recorder slow = {.room = 1}, fast = {.room = 100000};
    char key[16];
    start(&w, 1, NULL, NULL);
    watch(&w, &slow, "", 0, false);
    watch(&w, &fast, "", 0, false);
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k%d", i % 7);
        set(&w, key, "x");
        if (i % 3 == 0) {
            run_ms(&w, 1);
        }
        if (i % 50 == 0) {
            slow.room = 1;
            writable(&w, &slow);
        }
    }
    slow.room = 100000;
    writable(&w, &slow);
    run_ms(&w, 10);
    assert_string_equal(seen(&slow), seen(&fast));
    assert_int_equal(slow.last, 501);
    stop(&w);
    chassis_buf_fini(&slow.text);
    chassis_buf_fini(&fast.text);
}

static void a_watcher_below_the_floor_is_told_to_resync(void **state)
{
    struct world w;
    struct recorder slow = {.room = 0};
    start(&w, 1, NULL, NULL);
    set(&w, "a", "1");
    watch(&w, &slow, "", 0, false);
    run_ms(&w, 1);
    set(&w, "a", "2");
    set(&w, "a", "3");
    run_ms(&w, 1);
    struct bp_kv_compact compact = {4};
    assert_int_equal(apply(&w, &bp_kv_layout_compact, &compact, NULL), 0);
    slow.room = 100;
    writable(&w, &slow);
    run_ms(&w, 1);
    assert_int_equal(slow.resyncs, 1);
    set(&w, "a", "4");
    run_ms(&w, 1);
    assert_string_equal(seen(&slow), "5:a=4 ");
    struct recorder late = {.room = 1};
    assert_int_equal(watch(&w, &late, "", 4, false), CHASSIS_OUT_OF_RANGE);
    stop(&w);
    chassis_buf_fini(&slow.text);
}

static void idle_watchers_hear_of_progress(void **state)
{
    struct world w;
    struct recorder r = {.room = 100, .watcher.progress_ns = 100 * CHASSIS_NS_PER_MS};
    start(&w, 1, NULL, NULL);
    watch(&w, &r, "", 0, false);
    run_ms(&w, 1050);
    assert_in_range(r.progress, 5, 11);
    struct watching x = {&w, &r, {0}, 0};
    on_loop(&w, do_remove, &x);
    unsigned before = r.progress;
    run_ms(&w, 500);
    assert_int_equal(r.progress, before);
    stop(&w);
    assert_int_equal(r.ended, 0);
}

static void damage_ends_watchers_instead_of_being_served(void **state)
{
    struct world w;
    struct recorder r = {.room = 100};
    start(&w, 1, NULL, NULL);
    set(&w, "a", "1");
    set(&w, "a", "2");
    assert_true(array_store_flip(w.node.store, BP_TABLE_REVS, 1, 77));
    watch(&w, &r, "", 1, false);
    run_ms(&w, 10);
    assert_int_equal(r.ended, CHASSIS_CORRUPT);
    stop(&w);
    chassis_buf_fini(&r.text);
}

static void random_watchers_miss_nothing(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world w;
        struct recorder all = {.room = 1000000}, r[6];
        struct chassis_prng p;
        char key[16], value[16];
        start(&w, seed, NULL, NULL);
        chassis_prng_init(&p, seed);
        memset(r, 0, sizeof r);
        watch(&w, &all, "", 1, false);
        for (unsigned i = 0; i < 6; i++) {
            r[i].room = (unsigned)chassis_prng_below(&p, 3);
            watch(&w, &r[i], "", 1, false);
        }
        for (unsigned step = 0; step < 400; step++) {
            snprintf(key, sizeof key, "k%u", (unsigned)chassis_prng_below(&p, 9));
            snprintf(value, sizeof value, "%u", step);
            set(&w, key, chassis_prng_chance(&p, 0.8) ? value : NULL);
            if (chassis_prng_chance(&p, 0.3)) {
                run_ms(&w, chassis_prng_below(&p, 3));
            }
            unsigned i = (unsigned)chassis_prng_below(&p, 6);
            if (chassis_prng_chance(&p, 0.3)) {
                r[i].room += (unsigned)chassis_prng_below(&p, 3);
                writable(&w, &r[i]);
            }
        }
        for (unsigned i = 0; i < 6; i++) {
            r[i].room = 1000000;
            writable(&w, &r[i]);
        }
        run_ms(&w, 20);
        for (unsigned i = 0; i < 6; i++) {
            assert_string_equal(seen(&r[i]), seen(&all));
            chassis_buf_fini(&r[i].text);
        }
        chassis_buf_fini(&all.text);
        stop(&w);
    }
}

/* --- what the leader does --- */

static uint64_t counter(struct world *w, const char *name)
{
    struct chassis_txn *txn;
    uint64_t value;
    chassis_store_begin(w->node.store, false, &txn, NULL);
    assert_int_equal(bp_store_counter(txn, name, &value, NULL), 0);
    chassis_txn_abort(txn);
    return value;
}

static void the_leader_writes_its_record_and_compacts_what_is_old(void **state)
{
    struct world w;
    struct bp_kv_options kv = {.keep_revisions = 500, .keep_ms = 60000};
    start(&w, 1, &kv, NULL);
    for (unsigned i = 0; i < 3000; i++) {
        set(&w, "a", "1");
    }
    run_ms(&w, 3000);
    assert_int_equal(counter(&w, BP_COUNTER_FLOOR), 0); /* nobody leads */
    w.node.leader = true;
    on_loop(&w, do_lead, &w.blueprint);
    run_ms(&w, 3000);
    assert_int_equal(counter(&w, BP_COUNTER_FLOOR), 0); /* too young */
    struct chassis_txn *txn;
    struct bp_kv_version v;
    chassis_store_begin(w.node.store, false, &txn, NULL);
    assert_int_equal(bp_kv_get(txn, V(KIND), V("leader"), 0, &v, NULL), 0);
    assert_true(chassis_view_eq(v.value, V("\x0a\x15http://127.0.0.1:2221")));
    chassis_txn_abort(txn);
    run_ms(&w, 61000);
    assert_int_equal(counter(&w, BP_COUNTER_FLOOR), 2000); /* steps of 1000, 500 are left */
    stop(&w);
}

static void tokens_are_checked_against_published_keys_and_expire(void **state)
{
    struct world w;
    struct bp_sd_options sd = {.token_ms = 3600 * 1000};
    start(&w, 1, NULL, &sd);
    run_ms(&w, 100);
    struct bp_sd *d = &w.blueprint.sd;
    assert_true(d->key_published);
    char token[CHASSIS_AUTH_TOKEN_MAX];
    struct chassis_auth_claims claims;
    assert_int_equal(bp_sd_token_make(d, V("pid"), V("echo"), 7, token, NULL), 0);
    assert_int_equal(bp_sd_token_check(d, token, &claims, NULL), 0);
    assert_string_equal(claims.process, "pid");
    assert_int_equal(claims.incarnation, 7);
    assert_false(bp_sd_token_aging(d, &claims));
    strcpy(d->key_id, "elsewhere"); /* as another node sees it: the key comes from the store */
    assert_int_equal(bp_sd_token_check(d, token, &claims, NULL), 0);
    token[strlen(token) - 3] ^= 1;
    assert_int_equal(bp_sd_token_check(d, token, &claims, NULL), CHASSIS_UNAUTHENTICATED);
    token[strlen(token) - 3] ^= 1;
    assert_int_equal(bp_sd_token_check(d, "", &claims, NULL), CHASSIS_UNAUTHENTICATED);
    assert_int_equal(bp_sd_token_check(d, "nonsense", &claims, NULL), CHASSIS_UNAUTHENTICATED);
    run_ms(&w, 31 * 60 * 1000);
    assert_int_equal(bp_sd_token_check(d, token, &claims, NULL), 0);
    assert_true(bp_sd_token_aging(d, &claims));
    run_ms(&w, 31 * 60 * 1000); /* 60 s of skew are allowed */
    assert_int_equal(bp_sd_token_check(d, token, &claims, NULL), CHASSIS_UNAUTHENTICATED);
    stop(&w);
}

static void names_and_nonces_have_limits(void **state)
{
    struct world w;
    struct bp_sd_options sd = {.legacy_nonce = "old"};
    start(&w, 1, NULL, &sd);
    struct chassis_error err = {0};
    struct bp_sd_register m = {.name = V("echo"), .nonce = V("short")};
    assert_int_equal(bp_sd_check_register(&w.blueprint.sd, &m, &err), CHASSIS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "16 to 128"));
    m.nonce = V("");
    assert_int_equal(bp_sd_check_register(&w.blueprint.sd, &m, &err), CHASSIS_INVALID_ARGUMENT);
    m.nonce = V("old");
    assert_int_equal(bp_sd_check_register(&w.blueprint.sd, &m, &err), 0);
    assert_true(m.any_nonce);
    m = (struct bp_sd_register){.name = V("  "), .nonce = V("0123456789abcdef")};
    assert_int_equal(bp_sd_check_register(&w.blueprint.sd, &m, &err), CHASSIS_INVALID_ARGUMENT);
    stop(&w);
}

struct asking {
    struct world *world;
    struct chassis_buf question;
    int status;
};

static void do_ask(void *data)
{
    struct asking *x = data;
    struct chassis_buf answer = {0};
    x->status =
        bp_machine_ops.ask(&x->world->blueprint, 2, chassis_buf_view(&x->question), &answer);
    chassis_buf_fini(&answer);
}

static void silent_processes_expire_and_reported_ones_stay(void **state)
{
    struct world w;
    struct bp_sd_options sd = {.ttl_ms = 1000};
    start(&w, 1, NULL, &sd);
    w.node.leader = true;
    on_loop(&w, do_lead, &w.blueprint);
    for (unsigned i = 0; i < 2; i++) {
        const char *pid = i == 0 ? "quiet" : "lively";
        struct bp_sd_register reg = {V("t"), V(pid), V("echo"),
                                     i == 0 ? V("nonce-nonce-0000") : V("nonce-nonce-0001"), false};
        assert_int_equal(apply(&w, &bp_sd_layout_register, &reg, NULL), 0);
        struct bp_sd_report report = {.actor = V("t"),
                                      .pid = V(pid),
                                      .reason = V("reported"),
                                      .details = {.running = BP_SD_RUNNING}};
        assert_int_equal(apply(&w, &bp_sd_layout_report, &report, NULL), 0);
    }
    for (unsigned i = 0; i < 15; i++) {
        struct bp_sd_text pid = {V("lively")};
        struct bp_sd_heartbeats beats = {{&pid, 1}};
        struct asking x = {&w, {0}, 0};
        bp_codec_encode(&bp_sd_layout_heartbeats, BP_CODEC_VERSION, &beats, &x.question);
        on_loop(&w, do_ask, &x);
        assert_int_equal(x.status, 0);
        chassis_buf_fini(&x.question);
        run_ms(&w, 200);
    }
    struct chassis_txn *txn;
    struct chassis_arena arena;
    struct bp_sd_process p;
    chassis_arena_init(&arena, NULL, 0, 0);
    chassis_store_begin(w.node.store, false, &txn, NULL);
    assert_int_equal(bp_sd_get(txn, V("quiet"), &arena, &p, NULL), 0);
    assert_int_equal(p.details.running, BP_SD_DISCONNECTED);
    assert_int_equal(bp_sd_get(txn, V("lively"), &arena, &p, NULL), 0);
    assert_int_equal(p.details.running, BP_SD_RUNNING);
    chassis_txn_abort(txn);
    chassis_arena_fini(&arena);
    stop(&w);
}

static void do_beat(void *data)
{
    bp_sd_heartbeat(data, V("p"));
}

static void heartbeats_go_to_the_leader_at_most_five_times_a_second(void **state)
{
    struct world w;
    start(&w, 1, NULL, NULL); /* not the leader itself */
    run_ms(&w, 100);
    for (unsigned i = 0; i < 200; i++) {
        on_loop(&w, do_beat, &w.blueprint.sd);
        run_ms(&w, 5);
    }
    assert_in_range(w.node.asks, 3, 6);
    stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watchers_see_every_change_in_order_from_any_kept_revision),
        cmocka_unit_test(a_slow_watcher_catches_up_from_the_store),
        cmocka_unit_test(a_watcher_below_the_floor_is_told_to_resync),
        cmocka_unit_test(idle_watchers_hear_of_progress),
        cmocka_unit_test(damage_ends_watchers_instead_of_being_served),
        cmocka_unit_test(random_watchers_miss_nothing),
        cmocka_unit_test(the_leader_writes_its_record_and_compacts_what_is_old),
        cmocka_unit_test(tokens_are_checked_against_published_keys_and_expire),
        cmocka_unit_test(names_and_nonces_have_limits),
        cmocka_unit_test(silent_processes_expire_and_reported_ones_stay),
        cmocka_unit_test(heartbeats_go_to_the_leader_at_most_five_times_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
