#include "blueprint_workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"

static bool wrong(struct sim_workload *w)
{
    return load_of(w)->truth.wrong;
}

/* No process is left, with its records; every watcher saw everything. */
static bool settled(struct sim_workload *w, struct chassis_store *store, unsigned node)
{
    struct load *load = load_of(w);
    struct chassis_txn *txn;
    CHASSIS_ASSERT(chassis_store_begin(store, false, &txn, NULL) == 0);
    bool ok = chassis_txn_count(txn, BP_TABLE_PROCESSES) == 0 &&
              chassis_txn_count(txn, BP_TABLE_LEASES) == 0;
    chassis_txn_abort(txn);
    for (unsigned i = 0; i < WATCHES && ok; i++) {
        ok = watch_caught_up(&load->watches[i]);
    }
    return ok;
}

/* Every value is unique to one request: none may be there twice. */
static void check_once(struct load *load)
{
    uint8_t *times = chassis_base_zalloc(load->next_value + 1);
    for (unsigned log = 0; log <= TRUTH_LEASED; log++) {
        const struct truth_rows *l = &load->truth.logs[log];
        for (size_t i = 0; i < l->n; i++) {
            uint64_t value = l->rows[i].value;
            CHASSIS_ASSERT(value <= load->next_value);
            if (value != 0 && times[value]++ != 0) {
                truth_wrong(&load->truth, "value %" PRIu64 " was applied more than once", value);
            }
        }
    }
    free(times);
}

struct comparison {
    struct load *load;
    unsigned n;
};

static int compare_with_truth(const struct bp_kv_version *v, void *data)
{
    struct comparison *c = data;
    char key[8];
    truth_copy(key, sizeof key, v->key);
    if (truth_register(&c->load->truth, key, v->at.revision) != truth_number(v->value)) {
        truth_wrong(&c->load->truth, "key %s ends with another value than was written", key);
    }
    c->n++;
    return 0;
}

static bool check(struct sim_workload *w, struct chassis_store *store, unsigned node)
{
    struct load *load = load_of(w);
    struct comparison c = {load, 0};
    struct bp_kv_range range = {.kind = chassis_view_str(TRUTH_KIND)};
    struct chassis_txn *txn;
    uint64_t revision, floor;
    unsigned expected = 0;
    CHASSIS_ASSERT(chassis_store_begin(store, false, &txn, NULL) == 0);
    int r = bp_kv_list(txn, &range, compare_with_truth, &c, NULL);
    CHASSIS_ASSERT(r == 0 || r == CHASSIS_NOT_FOUND);
    CHASSIS_ASSERT(bp_kv_revisions(txn, &revision, &floor, NULL) == 0);
    chassis_txn_abort(txn);
    for (unsigned key = 0; key < LOAD_KEYS; key++) {
        char text[8];
        snprintf(text, sizeof text, "%u", key);
        expected += truth_register(&load->truth, text, UINT64_MAX - 1) != 0;
    }
    if (c.n != expected || revision != load->truth.revision || floor != load->truth.floor) {
        truth_wrong(&load->truth,
                    "node %u ends with %u keys, revision %" PRIu64 ", floor %" PRIu64
                    " instead of %u, %" PRIu64 ", %" PRIu64,
                    node, c.n, revision, floor, expected, load->truth.revision, load->truth.floor);
    }
    check_once(load);
    return !load->truth.wrong;
}

/* Keys that are the same in every run: Ed25519 in PKCS #8, the last bytes tell nodes apart. */
static void open_keys(struct load *load)
{
    char path[] = "/tmp/draft-sim-key-XXXXXX";
    int fd = mkstemp(path);
    CHASSIS_ASSERT(fd >= 0);
    for (unsigned i = 0; i < SIM_NODES_MAX; i++) {
        char text[200];
        struct chassis_error err = {0};
        int n = snprintf(text, sizeof text,
                         "-----BEGIN %s KEY-----\nMC4CAQAwBQYDK2VwBCIEI%s%c\n"
                         "-----END %s KEY-----\n",
                         "PRIVATE", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 'A' + (char)i,
                         "PRIVATE");
        CHASSIS_ASSERT(ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n);
        if (chassis_auth_key_open(path, &load->keys[i], &err) != 0) {
            CHASSIS_PANIC("%s", chassis_error_text(&err));
        }
    }
    close(fd);
    unlink(path);
}

struct sim_workload *sim_blueprint_new(unsigned planted)
{
    struct load *load = chassis_base_zalloc(sizeof *load);
    load->base = (struct sim_workload){.name = "blueprint",
                                       .n_keys = LOAD_KEYS,
                                       .machine_new = load_machine_new,
                                       .machine_free = load_machine_free,
                                       .started = load_started,
                                       .stopped = load_stopped,
                                       .tick = load_tick,
                                       .next = load_next,
                                       .wrote = load_wrote,
                                       .read = load_read,
                                       .wrong = wrong,
                                       .settled = settled,
                                       .check = check};
    load->planted = planted;
    load->truth.quiet = planted != 0;
    for (unsigned i = 0; i < WATCHES; i++) {
        watch_init(&load->watches[i], &load->truth, i);
    }
    open_keys(load);
    return &load->base;
}

/* Of all seeds, for the summary. */
static uint64_t all_operations[16], all_events, all_resyncs, all_compacted;

void sim_blueprint_free(struct sim_workload *w)
{
    struct load *load = load_of(w);
    for (unsigned i = 0; i < FLAVOURS; i++) {
        all_operations[i] += load->operations[i];
    }
    for (unsigned i = 0; i < WATCHES; i++) {
        all_events += load->watches[i].events;
        all_resyncs += load->watches[i].resyncs;
    }
    all_compacted += load->truth.floor;
    for (unsigned i = 0; i < SIM_NODES_MAX; i++) {
        chassis_auth_key_close(load->keys[i]);
    }
    truth_fini(&load->truth);
    free(load);
}

void sim_blueprint_summary(void)
{
    static const char *const names[FLAVOURS] = {
        "get", "list", "at_revision", "set",    "delete", "cas by value", "cas by revision",
        "txn", "join", "report",      "health", "lease",  "finalize",     "silent",
    };
    printf("  ");
    for (unsigned i = 0; i < FLAVOURS; i++) {
        printf("%" PRIu64 " %s, ", all_operations[i], names[i]);
    }
    printf("%" PRIu64 " events watched, %" PRIu64 " resyncs, %" PRIu64 " revisions compacted\n",
           all_events, all_resyncs, all_compacted);
}
