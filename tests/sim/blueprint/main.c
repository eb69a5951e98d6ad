/* Blueprint's real commands under simulation: DRAFT_SIM_SEEDS (default 50) seeds, or DRAFT_SIM_SEED.
 * A failing seed prints itself. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "blueprint_workload.h"
#include "cluster.h"

static uint64_t current;

static void on_panic(const char *text)
{
    fprintf(stderr, "%s\nFAILED: seed %llu\n", text, (unsigned long long)current);
}

static bool run(uint64_t seed, struct sim_report *total)
{
    struct sim_workload *w = sim_blueprint_new();
    struct sim_report report = {0};
    struct sim_config config = {.seed = seed,
                                .n_nodes = seed % 4 == 0 ? 5 : 3,
                                .n_clients = 5,
                                .fault_ns = 20 * CHASSIS_NS_PER_S,
                                .faults = true};
    current = seed;
    bool ok = sim_cluster_run(&config, w, &report);
    sim_blueprint_free(w);
    total->operations += report.operations;
    total->crashes += report.crashes;
    total->partitions += report.partitions;
    if (!ok) {
        fprintf(stderr, "FAILED: seed %llu (DRAFT_SIM_SEED=%llu runs it again)\n",
                (unsigned long long)seed, (unsigned long long)seed);
    }
    return ok;
}

int main(void)
{
    const char *one = getenv("DRAFT_SIM_SEED"), *many = getenv("DRAFT_SIM_SEEDS");
    uint64_t n = many != NULL ? strtoull(many, NULL, 10) : 50, failed = 0;
    struct sim_report total = {0};
    chassis_log_set_level("", CHASSIS_LOG_FATAL);
    chassis_base_on_panic(on_panic);
    if (one != NULL) {
        return run(strtoull(one, NULL, 10), &total) ? 0 : 1;
    }
    for (uint64_t seed = 1; seed <= n; seed++) {
        failed += !run(seed, &total);
    }
    printf("%llu seeds, %llu failed; %llu operations, %llu crashes, %llu partitions\n",
           (unsigned long long)n, (unsigned long long)failed, (unsigned long long)total.operations,
           (unsigned long long)total.crashes, (unsigned long long)total.partitions);
    return failed != 0;
}
