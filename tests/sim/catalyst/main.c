/* The program around the simulation of Catalyst:
 *     sim [--seeds N] [--first S] [--seed X] [--seconds S] [--planted N] [--keep FILE] [--verbose]
 * The environment gives the same: DRAFT_SIM_SEEDS, DRAFT_SIM_SEED. A failing seed prints itself with
 * the command that runs it again. --nodes is taken and means nothing here. */
#include "world.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

static uint64_t current_seed;

static void print_failed(FILE *out)
{
    fprintf(out,
            "FAILED: catalyst, seed %" PRIu64 "\n  again:  ./dev sim catalyst --seed %" PRIu64
            "\n  for ever: add the line \"catalyst %" PRIu64 " 1\" to tests/sim/seeds.txt\n",
            current_seed, current_seed, current_seed);
}

static void on_abort(int number)
{
    print_failed(stderr);
    signal(number, SIG_DFL);
    raise(number);
}

void __asan_on_error(void);
void __asan_on_error(void)
{
    print_failed(stderr);
}

static struct {
    uint64_t seeds, seed, first, seconds, planted, nodes;
    const char *kept;
    bool verbose;
} settings;

static bool run_seed(uint64_t seed, struct report *total)
{
    current_seed = seed;
    bool ok = world_run(seed, PLANT_NOTHING, settings.seconds);
    const uint64_t *from = (const uint64_t *)&w.report;
    uint64_t *to = (uint64_t *)total;
    for (size_t i = 0; i < sizeof w.report / sizeof *from; i++) {
        to[i] += from[i];
    }
    if (!ok) {
        printf("seed %" PRIu64 ": %s\n", seed, w.why);
        print_failed(stdout);
    }
    return ok;
}

/* Lines "catalyst SEED NODES" of seeds that failed once. */
static uint64_t run_kept(struct report *total, uint64_t *ret_failed)
{
    FILE *file = settings.kept != NULL ? fopen(settings.kept, "r") : NULL;
    char line[200];
    uint64_t seed, n = 0;
    if (settings.kept != NULL && file == NULL) {
        fprintf(stderr, "sim: cannot read '%s'\n", settings.kept);
        ++*ret_failed;
        return 0;
    }
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "catalyst %" SCNu64, &seed) == 1) {
            *ret_failed += !run_seed(seed, total);
            n++;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return n;
}

static int run(void)
{
    struct report total = {0};
    uint64_t begun = chassis_os_monotonic_ns(), failed = 0;
    uint64_t n = settings.seed != 0 ? 1 : settings.seeds != 0 ? settings.seeds : 100;
    uint64_t from = settings.seed != 0 ? settings.seed : settings.first;
    uint64_t kept = settings.seed != 0 ? 0 : run_kept(&total, &failed);
    for (uint64_t seed = from; seed < from + n; seed++) {
        failed += !run_seed(seed, &total);
    }
    printf("catalyst: %" PRIu64 " seeds, %" PRIu64 " failed: %" PRIu64 " acknowledged (%" PRIu64
           " duplicates, %" PRIu64 " refusals), %" PRIu64 " delivered, %" PRIu64 " gaps, %" PRIu64
           " answered in groups (%" PRIu64 " redelivered), %.0f s of virtual time in %.1f s\n",
           n + kept, failed, total.published, total.duplicates, total.refused, total.delivered,
           total.gaps, total.acked, total.redelivered, (double)total.virtual_ns / 1e9,
           (double)(chassis_os_monotonic_ns() - begun) / 1e9);
    printf("  %" PRIu64 " kills, %" PRIu64 " losses of power, %" PRIu64 " restarts, %" PRIu64
           " full disks, %" PRIu64 " slow disks\n",
           total.kills, total.power_losses, total.restarts, total.full_disks, total.slow_disks);
    return failed != 0;
}

static const struct {
    const char *name;
    enum planted planted;
} plants[] = {
    {"an acknowledgement before the sync", PLANT_EARLY_ACK},
    {"a reader leaves an event out", PLANT_SKIP},
    {"a reader gets an event twice", PLANT_DOUBLE},
    {"a group forgets an event", PLANT_GROUP_SKIP},
};

static bool planted_found(enum planted planted, uint64_t *ret_seed)
{
    for (uint64_t seed = settings.first; seed < settings.first + settings.planted; seed++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            signal(SIGABRT, SIG_DFL);
            _exit(world_run(seed, planted, settings.seconds) ? 0 : 1);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child) {
            return false;
        }
        if (status != 0) {
            *ret_seed = seed;
            return WIFEXITED(status) && WEXITSTATUS(status) == 1;
        }
    }
    return false;
}

static int run_planted(void)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof plants / sizeof plants[0]; i++) {
        uint64_t seed = 0;
        bool found = planted_found(plants[i].planted, &seed);
        printf("%s: planted bug \"%s\" %s\n", found ? "ok" : "FAILED", plants[i].name,
               found ? "found" : "not found");
        failed += !found;
    }
    return failed != 0;
}

static uint64_t number(const char *text)
{
    return text != NULL ? strtoull(text, NULL, 0) : 0;
}

int main(int argc, char **argv)
{
    const struct {
        const char *name;
        uint64_t *value;
    } options[] = {
        {"--seeds", &settings.seeds}, {"--seed", &settings.seed},
        {"--first", &settings.first}, {"--seconds", &settings.seconds},
        {"--nodes", &settings.nodes}, {"--planted", &settings.planted},
    };
    settings.first = 1;
    settings.seconds = 4;
    settings.seeds = number(getenv("DRAFT_SIM_SEEDS"));
    settings.seed = number(getenv("DRAFT_SIM_SEED"));
    for (int i = 1; i < argc; i++) {
        bool known = strcmp(argv[i], "--verbose") == 0;
        settings.verbose = settings.verbose || known;
        if (!known && i + 1 < argc && strcmp(argv[i], "--keep") == 0) {
            settings.kept = argv[++i];
            known = true;
        }
        for (size_t o = 0; !known && o < sizeof options / sizeof options[0] && i + 1 < argc; o++) {
            if (strcmp(argv[i], options[o].name) == 0) {
                *options[o].value = number(argv[++i]);
                known = true;
            }
        }
        if (!known) {
            fprintf(stderr, "sim: '%s' needs a value or is unknown\n", argv[i]);
            return 2;
        }
    }
    chassis_log_set_level("", settings.verbose ? CHASSIS_LOG_DEBUG : CHASSIS_LOG_FATAL);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    return settings.planted != 0 ? run_planted() : run();
}
