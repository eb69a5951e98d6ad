/* The publisher over a fake consensus and a broker that loses connections: every change is stored
 * once and in order, whoever is away. The broker here does not know duplicates: they would show. */
#include "auth/auth.h"
#include "base/assert.h"
#include "base/prng.h"
#include "blueprint/events/controller.h"
#include "blueprint/machine.h"
#include "fake_consensus.h"
#include "kv_fixture.h"
#include "os/sim.h"

enum { STORED_MAX = 20000, BATCH_MAX = 600, PENDING_MAX = 64 };

typedef char id_text[BP_EVENTS_ID_MAX];

struct batch {
    id_text ids[BATCH_MAX];
    unsigned n;
};

/* A stream of a broker. What is sent waits a while, then is stored, or not. */
struct fake_sink {
    struct bp_events_sink sink;
    struct chassis_executor *loop;
    struct chassis_prng prng;
    struct chassis_timer timer;
    id_text *stored;
    unsigned n_stored;
    struct batch making, pending[PENDING_MAX];
    unsigned first, n_pending;
    bool finding, full;
    unsigned trouble; /* percent of everything that fails */
    bool away;
    unsigned finds, lost;
};

static bool goes_wrong(struct fake_sink *f)
{
    return chassis_prng_below(&f->prng, 100) < f->trouble;
}

static void store(struct fake_sink *f, const struct batch *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        assert_true(f->n_stored < STORED_MAX);
        memcpy(f->stored[f->n_stored++], b->ids[i], sizeof(id_text));
    }
}

static void lose(struct fake_sink *f)
{
    f->n_pending = 0;
    f->lost++;
    f->sink.handlers.lost(f->sink.data, CHASSIS_UNAVAILABLE, "as the test wants");
}

static void arm(struct fake_sink *f)
{
    chassis_post_after(f->loop, &f->timer, CHASSIS_NS_PER_MS);
}

static void answer_find(struct fake_sink *f)
{
    f->finding = false;
    if (f->away || goes_wrong(f)) {
        lose(f);
        return;
    }
    f->sink.handlers.found(f->sink.data, f->n_stored != 0 ? f->stored[f->n_stored - 1] : "");
}

/* The oldest batch: stored and told; stored in part or as a whole and not told; not at all. */
static void answer_batch(struct fake_sink *f)
{
    const struct batch *b = &f->pending[f->first];
    if (f->away) {
        lose(f);
        return;
    }
    if (goes_wrong(f)) {
        store(f, b, (unsigned)chassis_prng_below(&f->prng, b->n + 1));
        lose(f);
        return;
    }
    store(f, b, b->n);
    f->first = (f->first + 1) % PENDING_MAX;
    f->n_pending--;
    f->sink.handlers.stored(f->sink.data, 0);
}

static void on_timer(struct chassis_timer *timer)
{
    struct fake_sink *f = chassis_container_of(timer, struct fake_sink, timer);
    if (f->finding) {
        answer_find(f);
    } else if (f->n_pending != 0) {
        answer_batch(f);
    }
    if (f->full) {
        f->full = false;
        f->sink.handlers.writable(f->sink.data);
    }
    if (f->finding || f->n_pending != 0) {
        arm(f);
    }
}

static struct fake_sink *fake_of(struct bp_events_sink *sink)
{
    return chassis_container_of(sink, struct fake_sink, sink);
}

static void find(struct bp_events_sink *sink, const char *source)
{
    struct fake_sink *f = fake_of(sink);
    f->finding = true;
    f->finds++;
    f->n_pending = f->making.n = 0;
    arm(f);
}

static void add(struct bp_events_sink *sink, const char *source, const struct bp_events_row *row)
{
    struct batch *b = &fake_of(sink)->making;
    assert_true(b->n < BATCH_MAX);
    bp_events_id(row->at, b->ids[b->n++]);
}

static void add_gap(struct bp_events_sink *sink, const char *source, const char *id, uint64_t from,
                    uint64_t through)
{
    struct batch *b = &fake_of(sink)->making;
    snprintf(b->ids[b->n++], sizeof(id_text), "%s", id);
}

static size_t size(struct bp_events_sink *sink)
{
    return fake_of(sink)->making.n * 100;
}

static int send_batch(struct bp_events_sink *sink)
{
    struct fake_sink *f = fake_of(sink);
    bool full = f->n_pending == PENDING_MAX || goes_wrong(f);
    if (!full) {
        f->pending[(f->first + f->n_pending++) % PENDING_MAX] = f->making;
    }
    f->full = f->full || full;
    f->making.n = 0;
    arm(f);
    return full ? CHASSIS_RESOURCE_EXHAUSTED : 0;
}

static void close_sink(struct bp_events_sink *sink)
{
    struct fake_sink *f = fake_of(sink);
    f->finding = f->full = false;
    f->n_pending = f->making.n = 0;
}

/* --- a node with a publisher --- */

struct world {
    struct chassis_sim *sim;
    struct chassis_sim_host *host;
    struct chassis_executor *loop;
    struct chassis_consensus node;
    struct blueprint blueprint;
    struct bp_events events;
    struct chassis_state_machine machine;
    struct chassis_auth_key *key;
    struct fake_sink sink;
    struct bp_kv_options kv;
    char dir[256];
};

struct call {
    struct chassis_task task;
    void (*fn)(struct world *w);
    struct world *world;
    bool ran;
};

static void run_call(struct chassis_task *task)
{
    struct call *call = chassis_container_of(task, struct call, task);
    call->fn(call->world);
    call->ran = true;
}

static bool call_ran(void *data)
{
    return ((struct call *)data)->ran;
}

static void on_loop(struct world *w, void (*fn)(struct world *w))
{
    struct call call = {.task.run = run_call, .fn = fn, .world = w};
    chassis_post(w->loop, &call.task);
    assert_true(chassis_sim_run(w->sim, CHASSIS_NS_PER_S, call_ran, &call));
}

static void committed(void *data)
{
    bp_events_committed(data);
}

static void leadership(void *data, bool leader)
{
    bp_events_leadership(data, leader);
}

static void do_start(struct world *w)
{
    bp_events_start(&w->events, &(struct bp_events_options){.consensus = &w->node,
                                                            .loop = w->loop,
                                                            .kv = &w->blueprint.kv,
                                                            .sink = &w->sink.sink});
    w->blueprint.follower =
        (struct bp_follower){.committed = committed, .leadership = leadership, .data = &w->events};
    bp_blueprint_start(&w->blueprint, &w->kv,
                       &(struct bp_sd_options){.consensus = &w->node,
                                               .loop = w->loop,
                                               .clock = chassis_sim_clock(w->host),
                                               .key = w->key});
}

static void do_stop(struct world *w)
{
    bp_events_stop(&w->events);
    bp_blueprint_stop(&w->blueprint);
}

static void do_lead(struct world *w)
{
    bp_machine_ops.leadership(&w->blueprint, true, 1);
}

static void do_yield(struct world *w)
{
    bp_machine_ops.leadership(&w->blueprint, false, 1);
}

static void run_ms(struct world *w, uint64_t ms)
{
    chassis_sim_run(w->sim, ms * CHASSIS_NS_PER_MS, NULL, NULL);
    w->node.wall_ns = chassis_wall_ns(chassis_sim_clock(w->host));
}

static void start(struct world *w, uint64_t seed, const struct bp_kv_options *kv)
{
    static const struct bp_events_sink_ops ops = {find, add, add_gap, size, send_batch, close_sink};
    char path[300];
    memset(w, 0, sizeof *w);
    w->sim = chassis_sim_new(seed);
    w->host = chassis_sim_host_new(w->sim, "one");
    w->loop = chassis_sim_executor(w->host, "loop", 0);
    w->machine = bp_machine(&w->blueprint);
    w->node = (struct chassis_consensus){.store = array_store_new(bp_tables, BP_TABLES),
                                         .executor = w->loop,
                                         .machine = &w->machine,
                                         .wall_ns = chassis_wall_ns(chassis_sim_clock(w->host))};
    w->sink.sink.ops = &ops;
    w->sink.loop = w->loop;
    w->sink.timer.run = on_timer;
    w->sink.stored = chassis_base_alloc(STORED_MAX * sizeof(id_text));
    chassis_prng_init(&w->sink.prng, seed);
    snprintf(path, sizeof path, "%s/node.key", test_tmpdir(w->dir));
    assert_int_equal(chassis_auth_key_open(path, &w->key, NULL), 0);
    w->kv = kv != NULL ? *kv : (struct bp_kv_options){0};
    w->kv.consensus = &w->node;
    w->kv.loop = w->loop;
    w->kv.clock = chassis_sim_clock(w->host);
    on_loop(w, do_start);
    run_ms(w, 1000);
}

static void stop(struct world *w)
{
    on_loop(w, do_stop);
    chassis_sim_run(w->sim, 1000 * CHASSIS_NS_PER_MS, NULL, NULL);
    chassis_store_close(w->node.store);
    chassis_auth_key_close(w->key);
    chassis_sim_free(w->sim);
    free(w->sink.stored);
    test_rmtree(w->dir);
}

static void apply(struct world *w, const struct bp_layout *layout, const void *message)
{
    struct chassis_buf command = {0}, result = {0};
    struct chassis_txn *txn;
    bp_codec_encode(layout, BP_CODEC_VERSION, message, &command);
    struct chassis_entry entry = {.index = ++w->node.applied,
                                  .time_ns = w->node.wall_ns,
                                  .command = chassis_buf_view(&command)};
    assert_int_equal(chassis_store_begin(w->node.store, true, &txn, NULL), 0);
    (void)bp_machine_apply(txn, &entry, &result);
    chassis_txn_commit(txn, NULL);
    bp_machine_ops.committed(&w->blueprint, w->node.applied);
    chassis_buf_fini(&command);
    chassis_buf_fini(&result);
}

static void set(struct world *w, const char *key, const char *value)
{
    struct bp_kv_write m = {V("t"),
                            {.type = value != NULL ? BP_KV_OP_SET : BP_KV_OP_DELETE,
                             .kind = V(KIND),
                             .key = V(key),
                             .value = V(value != NULL ? value : "")}};
    apply(w, &bp_kv_layout_write, &m);
}

static void set_three(struct world *w)
{
    struct bp_kv_op ops[3] = {
        {.type = BP_KV_OP_SET, .kind = V(KIND), .key = V("x"), .value = V("1")},
        {.type = BP_KV_OP_SET, .kind = V(KIND), .key = V("y"), .value = V("2")},
        {.type = BP_KV_OP_SET, .kind = V(KIND), .key = V("z"), .value = V("3")}};
    struct bp_kv_txn m = {.actor = V("t"), .success = {ops, 3}};
    apply(w, &bp_kv_layout_txn, &m);
}

static void join(struct world *w, unsigned n)
{
    char pid[32], nonce[64];
    snprintf(pid, sizeof pid, "pid-%u", n);
    snprintf(nonce, sizeof nonce, "nonce-of-sixteen-%u", n);
    struct bp_sd_register m = {V("t"), V(pid), V("svc"), V(nonce), false};
    apply(w, &bp_sd_layout_register, &m);
}

/* --- what must be stored --- */

struct comparing {
    const struct fake_sink *sink;
    unsigned n;
};

static int compare_id(const struct bp_events_row *row, void *data)
{
    struct comparing *c = data;
    id_text id;
    bp_events_id(row->at, id);
    if (c->n >= c->sink->n_stored || strcmp(c->sink->stored[c->n], id) != 0) {
        fail_msg("stored event %u is '%s', not '%s'", c->n,
                 c->n < c->sink->n_stored ? c->sink->stored[c->n] : "(none)", id);
    }
    c->n++;
    return 0;
}

static void assert_all_stored(struct world *w)
{
    struct comparing c = {&w->sink, 0};
    struct chassis_txn *txn;
    assert_int_equal(chassis_store_begin(w->node.store, false, &txn, NULL), 0);
    assert_int_equal(bp_events_rows(txn, (struct bp_position){1, 0}, compare_id, &c, NULL), 0);
    chassis_txn_abort(txn);
    assert_int_equal(c.n, w->sink.n_stored);
}

static void changes_are_published_in_order_with_their_revision_as_id(void **state)
{
    static struct world w;
    start(&w, 1, NULL);
    set(&w, "a", "1"); /* revision 2: the node's key took the first */
    on_loop(&w, do_lead);
    run_ms(&w, 200);
    set_three(&w);
    set(&w, "a", NULL);
    join(&w, 1);
    run_ms(&w, 200);
    assert_all_stored(&w);
    static const char *const first[] = {"2", "3", "4", "4.1", "4.2", "5", "6"};
    for (unsigned i = 0; i < sizeof first / sizeof first[0]; i++) {
        assert_string_equal(w.sink.stored[i], first[i]); /* 3 is the record `leader` */
    }
    stop(&w);
}

static void a_follower_publishes_nothing(void **state)
{
    static struct world w;
    start(&w, 2, NULL);
    set(&w, "a", "1");
    run_ms(&w, 1000);
    assert_int_equal(w.sink.finds, 0);
    on_loop(&w, do_lead);
    run_ms(&w, 200);
    on_loop(&w, do_yield);
    unsigned before = w.sink.n_stored;
    set(&w, "a", "2");
    run_ms(&w, 1000);
    assert_int_equal(w.sink.n_stored, before);
    stop(&w);
}

/* Without trouble, with little, with much; leaders come and go, the node is restarted. */
static void every_change_is_stored_once_whatever_breaks(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        static struct world w;
        start(&w, seed, NULL);
        struct chassis_prng prng;
        chassis_prng_init(&prng, seed + 1000);
        w.sink.trouble = (unsigned)chassis_prng_below(&prng, 40);
        on_loop(&w, do_lead);
        for (unsigned i = 0; i < 400; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%u", (unsigned)chassis_prng_below(&prng, 20));
            switch (chassis_prng_below(&prng, 12)) {
            case 0:
                set_three(&w);
                break;
            case 1:
                join(&w, i);
                break;
            case 2:
                run_ms(&w, chassis_prng_below(&prng, 50));
                break;
            case 3:
                w.sink.away = chassis_prng_below(&prng, 3) == 0;
                break;
            case 4:
                if (chassis_prng_below(&prng, 4) == 0) {
                    on_loop(&w, do_yield);
                    on_loop(&w, do_lead);
                }
                break;
            case 5:
                if (chassis_prng_below(&prng, 8) == 0) {
                    on_loop(&w, do_stop);
                    run_ms(&w, 5);
                    on_loop(&w, do_start);
                    on_loop(&w, do_lead);
                }
                break;
            case 6:
                set(&w, key, NULL);
                break;
            default:
                set(&w, key, "v");
                break;
            }
        }
        w.sink.away = false;
        w.sink.trouble = 0;
        run_ms(&w, 60000);
        assert_all_stored(&w);
        stop(&w);
    }
}

static uint64_t position(struct world *w)
{
    struct chassis_txn *txn;
    uint64_t revision;
    assert_int_equal(chassis_store_begin(w->node.store, false, &txn, NULL), 0);
    assert_int_equal(bp_events_position_get(txn, &revision, NULL), 0);
    chassis_txn_abort(txn);
    return revision;
}

static void the_position_is_remembered_now_and_then_and_not_for_its_own_sake(void **state)
{
    static struct world w;
    start(&w, 3, NULL);
    on_loop(&w, do_lead);
    set(&w, "a", "1");
    set(&w, "a", "2");
    run_ms(&w, 6000);
    uint64_t first = position(&w);
    assert_true(first >= 3);
    unsigned proposals = w.node.proposals;
    run_ms(&w, 60000); /* its own record was published meanwhile */
    assert_int_equal(position(&w), first);
    assert_int_equal(w.node.proposals, proposals);
    assert_all_stored(&w);
    stop(&w);
}

static void after_the_stream_was_emptied_it_goes_on_behind_the_remembered_position(void **state)
{
    static struct world w;
    start(&w, 4, NULL);
    on_loop(&w, do_lead);
    set(&w, "a", "1");
    run_ms(&w, 6000);
    uint64_t remembered = position(&w);
    on_loop(&w, do_yield);
    w.sink.n_stored = 0;
    set(&w, "a", "2");
    on_loop(&w, do_lead);
    run_ms(&w, 500);
    struct bp_position next;
    uint64_t gap;
    assert_true(bp_events_id_parse(w.sink.stored[0], &next, &gap));
    assert_int_equal(next.revision, remembered + 1);
    stop(&w);
}

static void compaction_waits_for_what_is_not_published(void **state)
{
    static struct world w;
    struct bp_kv_options kv = {.keep_revisions = 10, .keep_ms = 1, .compact_step = 5};
    start(&w, 5, &kv);
    on_loop(&w, do_lead);
    run_ms(&w, 200);
    w.sink.away = true;
    for (unsigned i = 0; i < 200; i++) {
        set(&w, "same", "v");
        run_ms(&w, 20);
    }
    run_ms(&w, 20000);
    w.sink.away = false;
    run_ms(&w, 20000);
    /* Nothing was left out, although by now most of it is compacted. */
    uint64_t expected = 0;
    for (unsigned i = 0; i < w.sink.n_stored; i++) {
        struct bp_position next;
        uint64_t gap;
        assert_true(bp_events_id_parse(w.sink.stored[i], &next, &gap));
        assert_int_equal(gap, 0);
        assert_true(expected == 0 || next.revision == expected);
        expected = next.revision + 1;
    }
    assert_true(w.sink.n_stored > 200);
    struct chassis_txn *txn;
    uint64_t floor;
    assert_int_equal(chassis_store_begin(w.node.store, false, &txn, NULL), 0);
    assert_int_equal(bp_store_counter(txn, BP_COUNTER_FLOOR, &floor, NULL), 0);
    chassis_txn_abort(txn);
    assert_true(floor > 100);
    stop(&w);
}

static void what_is_compacted_unpublished_is_told_once(void **state)
{
    static struct world w;
    struct bp_kv_options kv = {.keep_revisions = 10, .keep_ms = 1, .compact_step = 5};
    start(&w, 6, &kv);
    on_loop(&w, do_lead);
    set(&w, "a", "1");
    run_ms(&w, 6000);
    on_loop(&w, do_yield);
    struct bp_kv_compact compact = {.revision = 0};
    for (unsigned i = 0; i < 50; i++) {
        set(&w, "same", "v");
        compact.revision = 40;
    }
    apply(&w, &bp_kv_layout_compact, &compact); /* another leader's, that did not wait */
    unsigned before = w.sink.n_stored;
    on_loop(&w, do_lead);
    run_ms(&w, 500);
    assert_memory_equal(w.sink.stored[before], "gap-", 4);
    unsigned gaps = 0;
    on_loop(&w, do_yield);
    on_loop(&w, do_lead);
    run_ms(&w, 500);
    for (unsigned i = 0; i < w.sink.n_stored; i++) {
        gaps += memcmp(w.sink.stored[i], "gap-", 4) == 0;
    }
    assert_int_equal(gaps, 1);
    stop(&w);
}

static void a_stream_that_knows_more_than_this_cluster_is_not_written(void **state)
{
    static struct world w;
    start(&w, 7, NULL);
    snprintf(w.sink.stored[w.sink.n_stored++], sizeof(id_text), "1000000");
    on_loop(&w, do_lead);
    set(&w, "a", "1");
    run_ms(&w, 10000);
    assert_int_equal(w.sink.n_stored, 1);
    assert_true(w.sink.finds > 2); /* it may be that this node is behind */
    stop(&w);
}

static void ids_read_back(void **state)
{
    static const struct {
        const char *id;
        struct bp_position next;
        uint64_t gap;
    } good[] = {{"17", {17, 1}, 0}, {"17.3", {17, 4}, 0}, {"gap-18-29", {18, 0}, 29}};
    static const char *const bad[] = {"",    "x",     "0",    "17.",    "17.x",
                                      "17 ", "gap-1", "gap-", "1.70000"};
    struct bp_position next;
    uint64_t gap;
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(bp_events_id_parse(good[i].id, &next, &gap));
        assert_int_equal(next.revision, good[i].next.revision);
        assert_int_equal(next.sub, good[i].next.sub);
        assert_int_equal(gap, good[i].gap);
    }
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(bp_events_id_parse(bad[i], &next, &gap));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_published_in_order_with_their_revision_as_id),
        cmocka_unit_test(a_follower_publishes_nothing),
        cmocka_unit_test(every_change_is_stored_once_whatever_breaks),
        cmocka_unit_test(the_position_is_remembered_now_and_then_and_not_for_its_own_sake),
        cmocka_unit_test(after_the_stream_was_emptied_it_goes_on_behind_the_remembered_position),
        cmocka_unit_test(compaction_waits_for_what_is_not_published),
        cmocka_unit_test(what_is_compacted_unpublished_is_told_once),
        cmocka_unit_test(a_stream_that_knows_more_than_this_cluster_is_not_written),
        cmocka_unit_test(ids_read_back),
    };
    return cmocka_run_group_tests_name("blueprint events", tests, NULL, NULL);
}
