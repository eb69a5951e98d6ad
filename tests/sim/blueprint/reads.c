/* Reads of every kind, held against what really happened. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "blueprint_workload.h"

struct reading {
    struct load *load;
    struct sim_op *op;
    struct chassis_txn *txn;
    uint64_t revision, floor, values[LOAD_KEYS], at[LOAD_KEYS];
};

static uint64_t get(struct reading *g, const char *key, uint64_t at, uint64_t *ret_revision)
{
    struct bp_kv_version v;
    int r = bp_kv_get(g->txn, chassis_view_str(TRUTH_KIND), chassis_view_str(key), at, &v, NULL);
    CHASSIS_ASSERT(r == 0 || r == CHASSIS_NOT_FOUND);
    *ret_revision = r == 0 ? v.at.revision : 0;
    return r == 0 ? truth_number(v.value) : 0;
}

static int each(const struct bp_kv_version *v, void *data)
{
    struct reading *g = data;
    uint64_t key = truth_number(v->key);
    CHASSIS_ASSERT(key < LOAD_KEYS && g->values[key] == 0);
    g->values[key] = truth_number(v->value);
    g->at[key] = v->at.revision;
    return 0;
}

static void list(struct reading *g, uint64_t at)
{
    struct bp_kv_range range = {.kind = chassis_view_str(TRUTH_KIND), .at_revision = at};
    int r = bp_kv_list(g->txn, &range, each, g, NULL);
    CHASSIS_ASSERT(r == 0 || r == CHASSIS_NOT_FOUND);
}

/* What was read of a key must be what was there at that revision, on whatever node. */
static void compare(struct reading *g, unsigned key, uint64_t at, uint64_t value)
{
    char text[8];
    snprintf(text, sizeof text, "%u", key);
    uint64_t expected = truth_register(&g->load->truth, text, at);
    if (value != expected) {
        truth_wrong(&g->load->truth,
                    "node %u: key %u at revision %" PRIu64 " was read as %" PRIu64
                    ", it was %" PRIu64,
                    g->op->node, key, at, value, expected);
    }
}

/* One client at one start of a node never sees less than before; a confirmed read never less than
 * anybody was told before it began. */
static void check_age(struct reading *g)
{
    struct replica *r = g->load->replicas[g->op->node];
    uint64_t *seen = &r->seen[g->op->client];
    if (g->revision < *seen) {
        truth_wrong(&g->load->truth, "node %u went back from revision %" PRIu64 " to %" PRIu64,
                    g->op->node, *seen, g->revision);
    }
    *seen = g->revision;
    if (g->op->kind == SIM_READ && g->revision < g->op->detail[0]) {
        truth_wrong(&g->load->truth,
                    "node %u confirmed a read at revision %" PRIu64 ", %" PRIu64
                    " had been acknowledged",
                    g->op->node, g->revision, g->op->detail[0]);
    }
}

/* All registers at one moment: as many reads. */
static void read_all(struct reading *g, bool counts)
{
    list(g, 0);
    for (unsigned key = 0; key < LOAD_KEYS; key++) {
        compare(g, key, g->revision, g->values[key]);
        struct sim_op op = *g->op;
        op.key = key;
        op.value = g->values[key];
        if (counts && key != g->op->key) {
            sim_history_add(g->load->base.history, &op);
        }
    }
    g->op->value = g->values[g->op->key];
}

static void read_old(struct reading *g)
{
    uint64_t span = g->revision - g->floor;
    uint64_t at = span != 0 ? g->floor + g->op->detail[1] % span + 1 : g->revision;
    uint64_t unused;
    char key[8];
    if (at == 0) {
        return;
    }
    snprintf(key, sizeof key, "%u", g->op->key);
    compare(g, g->op->key, at, get(g, key, at, &unused));
    list(g, at);
    for (unsigned i = 0; i < LOAD_KEYS; i++) {
        compare(g, i, at, g->values[i]);
    }
    if (g->floor > 1) { /* what was compacted away is refused, not made up */
        struct bp_kv_version v;
        int r = bp_kv_get(g->txn, chassis_view_str(TRUTH_KIND), chassis_view_str(key), g->floor - 1,
                          &v, NULL);
        if (r != CHASSIS_OUT_OF_RANGE) {
            truth_wrong(&g->load->truth, "a read below the floor answered %d", r);
        }
    }
}

bool load_read(struct sim_workload *w, struct chassis_store *store, struct sim_op *op)
{
    struct load *load = load_of(w);
    struct reading g = {.load = load, .op = op};
    char key[8];
    CHASSIS_ASSERT(chassis_store_begin(store, false, &g.txn, NULL) == 0);
    CHASSIS_ASSERT(bp_kv_revisions(g.txn, &g.revision, &g.floor, NULL) == 0);
    snprintf(key, sizeof key, "%u", op->key);
    check_age(&g);
    load->operations[op->flavour]++;
    if (op->flavour == F_LIST) {
        read_all(&g, op->kind == SIM_READ);
    } else if (op->flavour == F_AT) {
        read_old(&g);
    } else {
        g.values[op->key] = op->value = get(&g, key, 0, &g.at[op->key]);
        compare(&g, op->key, g.revision, op->value);
    }
    if (op->flavour != F_AT) {
        load->known[op->client][op->key].value = g.values[op->key];
        load->known[op->client][op->key].revision = g.at[op->key];
    }
    chassis_txn_abort(g.txn);
    return op->kind == SIM_READ && op->flavour != F_AT;
}
