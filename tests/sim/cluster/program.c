/* The program around simulations:
 *     sim [--seeds N] [--first S] [--seed X] [--nodes N] [--seconds S] [--planted N] [--keep FILE]
 * The environment gives the same: DRAFT_SIM_SEEDS, DRAFT_SIM_SEED, DRAFT_SIM_NODES; DRAFT_SIM_TRACE=1
 * prints what happens. A failing seed prints itself with the command that runs it again. */
#include "program.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chassis/log.h"
#include "os/os.h"

struct settings {
    uint64_t seeds, seed, first, seconds, nodes, planted;
    const char *kept; /* file of seeds that failed once */
    bool verbose, trace;
};
static const struct sim_program *self;
static struct settings settings;
static char directory[400];
static uint64_t current_seed;
static unsigned current_nodes;

static void print_failed(FILE *out)
{
    fprintf(out,
            "FAILED: %s, seed %" PRIu64 ", %u nodes\n"
            "  again:  ./dev sim %s --seed %" PRIu64 " --nodes %u   (DRAFT_SIM_TRACE=1: what "
            "happens)\n"
            "  for ever: add the line \"%s %" PRIu64 " %u\" to tests/sim/seeds.txt\n",
            self->name, current_seed, current_nodes, self->name, current_seed, current_nodes,
            self->name, current_seed, current_nodes);
}

/* The run ends here in any case: an assertion, or what AddressSanitizer found. */
static void on_abort(int number)
{
    print_failed(stderr);
    signal(number, SIG_DFL);
    raise(number);
}

/* What a node has in memory dies with it: what was posted to its executors when it crashed has nobody
 * who could free it. These are the ones who post. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:bp_expiry_scan\nleak:send_beats\nleak:publish_key\nleak:compact\n"
           "leak:record_leader\nleak:chassis_consensus_checkpoint\n"
           "leak:chassis_consensus_transfer\n";
}

void __asan_on_error(void);
void __asan_on_error(void)
{
    print_failed(stderr);
}

static unsigned nodes_of(uint64_t seed)
{
    return settings.nodes != 0 ? (unsigned)settings.nodes : seed % 4 == 0 ? 5 : 3;
}

static bool run_seed(uint64_t seed, unsigned nodes, struct sim_report *total)
{
    struct sim_report report = {0};
    struct sim_workload *workload = self->workload_new(0);
    struct sim_config config = {.seed = seed,
                                .n_nodes = nodes,
                                .n_clients = 5,
                                .fault_ns = settings.seconds * CHASSIS_NS_PER_S,
                                .faults = true,
                                .storm = seed % 16 == 9,
                                .grind = seed % 16 == 13,
                                .trace = settings.trace,
                                .lmdb = seed % 10 == 3,
                                .directory = directory};
    current_seed = seed;
    current_nodes = nodes;
    bool ok = sim_cluster_run(&config, workload, &report);
    self->workload_free(workload);
    total->operations += report.operations;
    total->unknown += report.unknown;
    total->restarts += report.restarts;
    total->installs += report.installs;
    total->virtual_ns += report.virtual_ns;
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        total->faults[i] += report.faults[i];
    }
    if (!ok) {
        fflush(stderr);
        print_failed(stdout);
    }
    return ok;
}

/* --- seeds that failed once: "PROGRAM SEED NODES" a line, # begins a comment --- */

static uint64_t run_kept(struct sim_report *total, uint64_t *ret_failed)
{
    FILE *file = settings.kept != NULL ? fopen(settings.kept, "r") : NULL;
    char line[200], name[64];
    uint64_t seed, n = 0;
    unsigned nodes;
    if (settings.kept != NULL && file == NULL) {
        fprintf(stderr, "sim: cannot read '%s'\n", settings.kept);
        ++*ret_failed;
        return 0;
    }
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%63s %" SCNu64 " %u", name, &seed, &nodes) == 3 && name[0] != '#' &&
            strcmp(name, self->name) == 0 && nodes >= 1 && nodes <= SIM_NODES_MAX) {
            *ret_failed += !run_seed(seed, nodes, total);
            n++;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return n;
}

/* --- planted bugs --- */

static int run_planted_seed(const struct sim_planted *p, uint64_t seed)
{
    struct sim_report report;
    struct sim_config config = {.seed = seed,
                                .n_nodes = 3,
                                .n_clients = 5,
                                .fault_ns = settings.seconds * CHASSIS_NS_PER_S,
                                .faults = true,
                                .planted = p->consensus,
                                .storm = p->storm,
                                .grind = p->grind,
                                .quiet = true};
    if (freopen("/dev/null", "w", stderr) == NULL) {
        return 2;
    }
    signal(SIGABRT, SIG_DFL);
    struct sim_workload *w = self->workload_new(p->workload);
    return sim_cluster_run(&config, w, &report) ? 0 : 1;
}

/* In a process of its own: a planted bug may well end in an assertion. */
static bool planted_found(const struct sim_planted *p, uint64_t n_seeds, uint64_t *ret_seed)
{
    for (uint64_t seed = settings.first; seed < settings.first + n_seeds; seed++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            _exit(run_planted_seed(p, seed));
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child) {
            return false;
        }
        if ((WIFEXITED(status) && WEXITSTATUS(status) == 1) ||
            (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)) {
            *ret_seed = seed;
            return true;
        }
        if (status != 0) {
            fprintf(stderr, "sim: seed %" PRIu64 " ended with status %d\n", seed, status);
            return false;
        }
    }
    return false;
}

static int run_planted(void)
{
    int failed = 0;
    for (unsigned i = 0; i < self->n_planted; i++) {
        uint64_t seed = 0;
        bool found = planted_found(&self->planted[i], settings.planted, &seed);
        printf("%s: planted bug \"%s\" ", found ? "ok" : "FAILED", self->planted[i].name);
        printf(found ? "found by seed %" PRIu64 "\n" : "not found in %" PRIu64 " seeds\n",
               found ? seed : settings.planted);
        failed += !found;
    }
    return failed != 0;
}

/* --- the whole --- */

static uint64_t number(const char *text)
{
    return text != NULL ? strtoull(text, NULL, 0) : 0;
}

static bool parse(int argc, char **argv)
{
    const struct {
        const char *name;
        uint64_t *value;
    } options[] = {
        {"--seeds", &settings.seeds}, {"--seed", &settings.seed},
        {"--first", &settings.first}, {"--seconds", &settings.seconds},
        {"--nodes", &settings.nodes}, {"--planted", &settings.planted},
    };
    const char *trace = getenv("DRAFT_SIM_TRACE");
    settings = (struct settings){.seeds = number(getenv("DRAFT_SIM_SEEDS")),
                                 .seed = number(getenv("DRAFT_SIM_SEED")),
                                 .nodes = number(getenv("DRAFT_SIM_NODES")),
                                 .first = 1,
                                 .seconds = 20,
                                 .trace = trace != NULL && strcmp(trace, "1") == 0};
    for (int i = 1; i < argc; i++) {
        bool known = false;
        if (strcmp(argv[i], "--verbose") == 0) {
            settings.verbose = true;
            continue;
        }
        if (i + 1 < argc && strcmp(argv[i], "--keep") == 0) {
            settings.kept = argv[++i];
            continue;
        }
        for (size_t o = 0; o < sizeof options / sizeof options[0] && i + 1 < argc; o++) {
            if (strcmp(argv[i], options[o].name) == 0) {
                *options[o].value = number(argv[++i]);
                known = true;
                break;
            }
        }
        if (!known) {
            fprintf(stderr, "sim: '%s' needs a value or is unknown\n", argv[i]);
            return false;
        }
    }
    if (settings.nodes > SIM_NODES_MAX) {
        fprintf(stderr, "sim: %" PRIu64 " nodes, at most %d are simulated\n", settings.nodes,
                SIM_NODES_MAX);
        return false;
    }
    return true;
}

static void print_total(const struct sim_report *t, uint64_t n, uint64_t failed, double real)
{
    printf("%s: %" PRIu64 " seeds, %" PRIu64 " failed: %" PRIu64 " operations (%" PRIu64
           " unknown), %" PRIu64 " starts, %" PRIu64 " checkpoints installed, %.0f s of virtual "
           "time in %.1f s\n ",
           self->name, n, failed, t->operations, t->unknown, t->restarts, t->installs,
           (double)t->virtual_ns / 1e9, real);
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        printf(" %" PRIu64 " %s%s", t->faults[i], sim_fault_names[i],
               i + 1 < SIM_FAULTS ? "," : "\n");
    }
}

static int run(void)
{
    struct sim_report total = {0};
    uint64_t begun = chassis_os_monotonic_ns(), failed = 0;
    bool single = settings.seed != 0;
    uint64_t from = single ? settings.seed : settings.first;
    uint64_t n = single ? 1 : settings.seeds != 0 ? settings.seeds : 100;
    uint64_t kept = single ? 0 : run_kept(&total, &failed);
    for (uint64_t seed = from; seed < from + n; seed++) {
        failed += !run_seed(seed, nodes_of(seed), &total);
    }
    print_total(&total, n + kept, failed, (double)(chassis_os_monotonic_ns() - begun) / 1e9);
    if (self->summary != NULL) {
        self->summary();
    }
    return failed != 0;
}

static void remove_directory(void)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char path[800];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        (void)remove(path);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    rmdir(directory);
}

int sim_program_main(const struct sim_program *program, int argc, char **argv)
{
    const char *tmp = getenv("DRAFT_TMP");
    self = program;
    if (!parse(argc, argv)) {
        return 2;
    }
    snprintf(directory, sizeof directory, "%s/sim-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(directory) == NULL) {
        fprintf(stderr, "sim: cannot make a directory '%s'\n", directory);
        return 2;
    }
    chassis_log_set_level("", settings.verbose ? CHASSIS_LOG_DEBUG : CHASSIS_LOG_FATAL);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    int code = settings.planted != 0 ? run_planted() : run();
    remove_directory();
    return code;
}
