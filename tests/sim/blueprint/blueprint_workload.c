#include "blueprint_workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "blueprint/key_value/watch.h"
#include "blueprint/machine.h"

enum { KEYS = 5, NODES_MAX = 9, WATCHERS = 2 };
#define KIND chassis_view_str("sim")

/* An executor that is run by hand, inside `committed`: everything happens on the apply role. */
struct hand {
    struct chassis_executor base;
    struct chassis_task *first, **last;
};

static void hand_post(struct chassis_executor *ex, struct chassis_task *task)
{
    struct hand *h = (struct hand *)ex;
    task->next = NULL;
    *h->last = task;
    h->last = &task->next;
}

static void hand_post_after(struct chassis_executor *ex, struct chassis_timer *timer, uint64_t ns)
{
}

static void hand_cancel(struct chassis_executor *ex, struct chassis_timer *timer)
{
}

static uint64_t hand_now(struct chassis_executor *ex)
{
    return 0;
}

static bool hand_current(struct chassis_executor *ex)
{
    return true;
}

static const struct chassis_executor_ops hand_ops = {
    .post = hand_post,
    .post_after = hand_post_after,
    .cancel = hand_cancel,
    .defer = hand_post,
    .now_ns = hand_now,
    .is_current = hand_current,
};

static void hand_run(struct hand *h)
{
    while (h->first != NULL) {
        struct chassis_task *task = h->first;
        h->first = task->next;
        if (h->first == NULL) {
            h->last = &h->first;
        }
        task->run(task);
    }
}

/* One start of one node. */
struct seen {
    struct bp_watcher watcher;
    struct replica *replica;
    uint64_t *revisions, from, through;
    size_t n, cap;
    unsigned room;
    bool in;
};
struct replica {
    struct chassis_state_machine machine;
    struct chassis_store *store; /* of the newest entry applied */
    struct hand hand;
    struct bp_feed feed;
    struct seen seen[WATCHERS];
    unsigned turn;
    bool wrong;
};

struct load {
    struct sim_workload base;
    uint64_t next_value;
    struct replica *replicas[NODES_MAX]; /* the present start of each node */
    bool wrong;
};

static struct chassis_store *acquire(void *data)
{
    return ((struct replica *)data)->store;
}

static void release(void *data, struct chassis_store *store)
{
}

static int take(struct bp_watcher *watcher, struct bp_feed_batch *batch)
{
    struct seen *s = chassis_container_of(watcher, struct seen, watcher);
    if (s->room == 0) {
        return CHASSIS_RESOURCE_EXHAUSTED;
    }
    s->room--;
    for (size_t i = 0; i < batch->n; i++) {
        const struct bp_kv_event *e = batch->events[i];
        if (s->n == s->cap) {
            s->cap = s->cap != 0 ? s->cap * 2 : 256;
            s->revisions = chassis_base_realloc(s->revisions, s->cap * sizeof *s->revisions);
        }
        s->revisions[s->n++] = e->version.at.revision;
    }
    s->through = batch->revision;
    return 0;
}

static void ended(struct bp_watcher *watcher, const struct chassis_error *err)
{
    struct seen *s = chassis_container_of(watcher, struct seen, watcher);
    fprintf(stderr, "a watcher was ended: %s\n", chassis_error_text(err));
    s->replica->wrong = true;
    s->in = false;
}

static const struct bp_sink_ops sink_ops = {take, ended};

static void start_watching(struct replica *r)
{
    struct chassis_buf filter = {0};
    bp_kv_watch_filter(KIND, chassis_view(NULL, 0), false, &filter);
    for (unsigned i = 0; i < WATCHERS; i++) {
        struct seen *s = &r->seen[i];
        s->replica = r;
        s->room = i == 0 ? 1u << 30 : 0;
        s->watcher.ops = &sink_ops;
        s->in = bp_feed_add(&r->feed, &s->watcher, chassis_buf_view(&filter), NULL) == 0;
        s->from = s->watcher.next;
        s->through = s->from - 1;
    }
    chassis_buf_fini(&filter);
}

/* The production state machine; the store is noted for the feed. */
static int apply(void *data, struct chassis_txn *txn, const struct chassis_entry *entry,
                 struct chassis_buf *ret_result)
{
    struct replica *r = data;
    r->store = txn->store;
    return bp_machine_apply(txn, entry, ret_result);
}

static void committed(void *data, uint64_t applied)
{
    struct replica *r = data;
    if (r->store == NULL) {
        return;
    }
    if (!r->seen[0].in && !r->wrong) {
        start_watching(r);
    }
    if (++r->turn % 7 == 0) { /* the slow one takes a batch now and then */
        r->seen[1].room = 1;
        if (r->seen[1].in) {
            bp_feed_writable(&r->feed, &r->seen[1].watcher);
        }
    }
    bp_feed_notify(&r->feed);
    hand_run(&r->hand);
}

static void restored(void *data)
{
    ((struct replica *)data)->store = NULL; /* until the next entry shows the new one */
}

static const struct chassis_state_machine_ops ops = {
    .apply = apply, .committed = committed, .restored = restored, .version = BP_CODEC_VERSION};

static struct chassis_state_machine *machine_new(struct sim_workload *w, unsigned node)
{
    struct load *load = (struct load *)w;
    struct replica *r = chassis_base_zalloc(sizeof *r);
    struct bp_source source = {acquire, release, r};
    CHASSIS_ASSERT(node < NODES_MAX);
    r->machine = (struct chassis_state_machine){&ops, r, bp_tables, BP_TABLES};
    r->hand.base = (struct chassis_executor){&hand_ops, "hand"};
    r->hand.last = &r->hand.first;
    bp_feed_init(&r->feed, &bp_kv_feed_ops, &source, &r->hand.base,
                 chassis_log_module("blueprint"));
    load->replicas[node] = r;
    return &r->machine;
}

static void machine_free(struct sim_workload *w, struct chassis_state_machine *machine)
{
    struct load *load = (struct load *)w;
    struct replica *r = machine->data;
    for (unsigned i = 0; i < WATCHERS; i++) {
        if (r->seen[i].in) {
            bp_feed_remove(&r->feed, &r->seen[i].watcher);
        }
        free(r->seen[i].revisions);
    }
    bp_feed_fini(&r->feed);
    load->wrong |= r->wrong;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        if (load->replicas[i] == r) {
            load->replicas[i] = NULL;
        }
    }
    free(r);
}

static struct chassis_view text_of(uint64_t number, char out[24])
{
    snprintf(out, 24, "%" PRIu64, number);
    return chassis_view_str(out);
}

static void next(struct sim_workload *w, struct chassis_prng *prng, struct sim_op *op,
                 struct chassis_buf *ret_command)
{
    struct load *load = (struct load *)w;
    uint64_t dice = chassis_prng_below(prng, 10);
    char key[24], value[24], expected[24];
    op->kind = dice < 4 ? SIM_READ : dice < 8 ? SIM_WRITE : SIM_CAS;
    op->key = (unsigned)chassis_prng_below(prng, KEYS);
    op->value = op->expected = 0;
    if (op->kind == SIM_READ) {
        return;
    }
    op->value = ++load->next_value;
    struct bp_kv_op set = {.type = BP_KV_OP_SET,
                           .kind = KIND,
                           .key = text_of(op->key, key),
                           .value = text_of(op->value, value)};
    if (op->kind == SIM_WRITE) {
        struct bp_kv_write write = {chassis_view_str("client"), set};
        bp_codec_encode(&bp_kv_layout_write, BP_CODEC_VERSION, &write, ret_command);
        return;
    }
    uint64_t back = 1 + chassis_prng_below(prng, 8);
    op->expected = op->value > back ? op->value - back : 0;
    struct bp_kv_compare compare = {.target = op->expected != 0 ? BP_KV_TARGET_VALUE
                                                                : BP_KV_TARGET_EXISTS,
                                    .kind = KIND,
                                    .key = set.key};
    if (op->expected != 0) {
        compare.value = text_of(op->expected, expected);
    }
    struct bp_kv_txn txn = {chassis_view_str("client"), {&compare, 1}, {&set, 1}, {NULL, 0}};
    bp_codec_encode(&bp_kv_layout_txn, BP_CODEC_VERSION, &txn, ret_command);
}

static bool wrote(struct sim_workload *w, struct sim_op *op, int status, struct chassis_view result)
{
    if (op->unknown) {
        return true;
    }
    if (status != 0) {
        return false;
    }
    op->swapped = true;
    if (op->kind == SIM_CAS) {
        struct bp_kv_txn_result r;
        struct chassis_arena arena;
        chassis_arena_init(&arena, NULL, 0, 0);
        CHASSIS_ASSERT(bp_codec_decode(&bp_kv_layout_txn_result, result, &arena, &r, NULL) == 0);
        op->swapped = r.succeeded;
        chassis_arena_fini(&arena);
    }
    return true;
}

static void read_op(struct sim_workload *w, struct chassis_store *store, struct sim_op *op)
{
    struct chassis_txn *txn;
    struct bp_kv_version v;
    char key[24], value[24];
    CHASSIS_ASSERT(chassis_store_begin(store, false, &txn, NULL) == 0);
    int rc = bp_kv_get(txn, KIND, text_of(op->key, key), 0, &v, NULL);
    CHASSIS_ASSERT(rc == 0 || rc == CHASSIS_NOT_FOUND);
    op->value = 0;
    if (rc == 0) {
        snprintf(value, sizeof value, "%.*s", CHASSIS_VIEW_ARG(v.value));
        op->value = strtoull(value, NULL, 10);
    }
    chassis_txn_abort(txn);
}

/* Every revision of the store from the watcher's start to where it got is one it was shown. */
static bool check_seen(struct chassis_txn *txn, const struct seen *s, unsigned node)
{
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    struct bp_key from;
    size_t i = 0;
    bp_key_position(&from, (struct bp_position){s->from, 0});
    CHASSIS_ASSERT(chassis_cursor_open(txn, BP_TABLE_REVS, &cursor) == 0);
    int rc = chassis_cursor_seek(cursor, bp_key_view(&from), &k, &v);
    bool ok = true;
    while (rc == 0 && ok && bp_position_of(k).revision <= s->through) {
        uint64_t revision = bp_position_of(k).revision;
        ok = i < s->n && s->revisions[i] == revision;
        if (!ok) {
            fprintf(stderr, "node %u: a watcher from %llu missed revision %llu\n", node,
                    (unsigned long long)s->from, (unsigned long long)revision);
        }
        i++;
        rc = chassis_cursor_next(cursor, &k, &v);
    }
    if (ok && i != s->n) {
        fprintf(stderr, "node %u: a watcher saw %zu changes, %zu happened\n", node, s->n, i);
        ok = false;
    }
    chassis_cursor_close(cursor);
    return ok;
}

static bool check(struct sim_workload *w, struct chassis_store *store, unsigned node)
{
    struct load *load = (struct load *)w;
    struct replica *r = load->replicas[node];
    struct chassis_txn *txn;
    uint64_t revision;
    bool ok = !load->wrong && (r == NULL || !r->wrong);
    CHASSIS_ASSERT(chassis_store_begin(store, false, &txn, NULL) == 0);
    CHASSIS_ASSERT(bp_store_counter(txn, BP_COUNTER_REVISION, &revision, NULL) == 0);
    for (unsigned i = 0; ok && r != NULL && i < WATCHERS; i++) {
        ok = !r->seen[i].in || check_seen(txn, &r->seen[i], node);
    }
    if (ok && r != NULL && r->seen[0].in && r->store == store && r->seen[0].through != revision &&
        r->seen[0].from <= revision) {
        fprintf(stderr, "node %u: a quick watcher got to revision %llu of %llu\n", node,
                (unsigned long long)r->seen[0].through, (unsigned long long)revision);
        ok = false;
    }
    chassis_txn_abort(txn);
    return ok;
}

struct sim_workload *sim_blueprint_new(void)
{
    struct load *load = chassis_base_zalloc(sizeof *load);
    load->base = (struct sim_workload){.name = "blueprint",
                                       .n_keys = KEYS,
                                       .machine_new = machine_new,
                                       .machine_free = machine_free,
                                       .next = next,
                                       .wrote = wrote,
                                       .read = read_op,
                                       .check = check};
    return &load->base;
}

void sim_blueprint_free(struct sim_workload *w)
{
    free(w);
}
