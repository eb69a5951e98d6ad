/* Very many streams in one journal: memory, appending, opening, reading those whose records lie far
 * apart, trimming.
 *
 *     bench_journal_streams [DIRECTORY] [STREAMS] [RECORDS_EACH]
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/prng.h"
#include "journal/journal.h"
#include "os/os.h"

enum { PAYLOAD = 128, BATCH = 1000 };

static struct chassis_journal_options options;
static struct chassis_journal *journal;
static struct chassis_journal_append appends[BATCH];
static struct chassis_task task;
static struct chassis_error err;
static uint32_t n_streams;
static uint64_t each_stream, *next;
static struct chassis_prng prng;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool finished;
static uint64_t spent_ns, written, goal, seen;

static void finish(void *data)
{
    pthread_mutex_lock(&lock);
    finished = true;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&lock);
}

static void on_owner(void (*run)(struct chassis_task *))
{
    task.run = run;
    chassis_post(options.owner, &task);
    pthread_mutex_lock(&lock);
    while (!finished) {
        pthread_cond_wait(&cond, &lock);
    }
    finished = false;
    pthread_mutex_unlock(&lock);
}

static double anonymous_mib(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    double kib = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "Anonymous: %lf", &kib) == 1) {
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return kib / 1024;
}

static void write_some(struct chassis_journal_append *a);

static void ignore(struct chassis_journal_append *a)
{
}

static void put_batch(void)
{
    static char payload[PAYLOAD];
    uint64_t begin = chassis_os_monotonic_ns();
    for (unsigned i = 0; i < BATCH; i++) {
        struct chassis_journal_append *a = &appends[i];
        uint32_t s = written < n_streams ? (uint32_t)written
                                         : (uint32_t)chassis_prng_below(&prng, n_streams);
        struct chassis_journal_record record = {.index = ++next[s],
                                                .time_ns = (int64_t)++written,
                                                .payload = chassis_view(payload, sizeof payload)};
        a->stream = s;
        a->records = &record;
        a->n_records = 1;
        a->done = i + 1 < BATCH ? ignore : write_some;
        CHASSIS_ASSERT(chassis_journal_append(journal, a, &err) == 0);
    }
    spent_ns += chassis_os_monotonic_ns() - begin;
}

static void write_some(struct chassis_journal_append *a)
{
    if (written >= goal) {
        finish(NULL);
    } else {
        put_batch();
    }
}

static void start_writing(struct chassis_task *t)
{
    put_batch();
}

static void write_to(uint64_t n, const char *what)
{
    uint64_t before = written, begin = chassis_os_monotonic_ns();
    spent_ns = 0;
    goal = n;
    on_owner(start_writing);
    printf("%-44s %10.0f ns each on the owner, %8.0f durable/s\n", what,
           (double)spent_ns / (double)(n - before),
           (double)(n - before) / ((double)(chassis_os_monotonic_ns() - begin) / 1e9));
}

static void close_journal(struct chassis_task *t)
{
    chassis_journal_close(journal, finish, NULL);
}

static void reopen(const char *what)
{
    on_owner(close_journal);
    malloc_trim(0);
    double anonymous = anonymous_mib();
    size_t heap = mallinfo2().uordblks;
    uint64_t begin = chassis_os_monotonic_ns();
    if (chassis_journal_open(&options, &journal, &err) != 0) {
        CHASSIS_PANIC("%s", err.text);
    }
    double ms = (double)(chassis_os_monotonic_ns() - begin) / 1e6;
    printf("%-44s %10.1f ms, %.0f bytes of heap per stream, anonymous memory %+.1f MiB\n", what, ms,
           (double)(mallinfo2().uordblks - heap) / n_streams, anonymous_mib() - anonymous);
}

/* ---- reading one stream in a thousand, whole ---- */

static struct chassis_journal_scan *scan;
static uint32_t stream;
static void open_scan(struct chassis_task *t)
{
    if (chassis_journal_scan_open(journal, stream, 1, &scan, &err) != 0) {
        CHASSIS_PANIC("%s", err.text);
    }
    finish(NULL);
}
static void refresh(struct chassis_task *t)
{
    CHASSIS_ASSERT(chassis_journal_scan_refresh(scan, &err) == 0);
    finish(NULL);
}
static void close_scan(struct chassis_task *t)
{
    chassis_journal_scan_close(scan);
    finish(NULL);
}
static int each(const struct chassis_journal_record *record, void *data)
{
    seen++;
    return 0;
}

static void read_some(void)
{
    struct chassis_journal_scratch scratch = {0};
    unsigned n = 0;
    seen = 0;
    uint64_t reading = 0;
    for (stream = 0; stream < n_streams; stream += 1000, n++) {
        on_owner(open_scan);
        while (chassis_journal_scan_next(scan) <= next[stream]) {
            if (chassis_journal_scan_next(scan) == chassis_journal_scan_end(scan)) {
                on_owner(refresh);
            }
            uint64_t begin = chassis_os_monotonic_ns();
            if (chassis_journal_scan_read(scan, &scratch, 1 << 20, each, NULL, &err) != 0) {
                CHASSIS_PANIC("%s", err.text);
            }
            reading += chassis_os_monotonic_ns() - begin;
        }
        on_owner(close_scan);
    }
    double us = (double)reading / 1e3;
    printf("%-44s %10.1f µs a stream of %.1f records, %.2f µs a record\n",
           "read whole streams (in scan_read)", us / n, (double)seen / n, us / (double)seen);
    chassis_journal_scratch_fini(&scratch);
}

static void trim_each(struct chassis_task *t)
{
    uint64_t begin = chassis_os_monotonic_ns();
    for (uint32_t s = 0; s < n_streams; s++) {
        chassis_journal_trim(journal, s, next[s] / 2);
    }
    spent_ns = chassis_os_monotonic_ns() - begin;
    finish(NULL);
}

int main(int argc, char **argv)
{
    char directory[4096], path[4200];
    n_streams = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 100000;
    each_stream = argc > 3 ? strtoull(argv[3], NULL, 10) : 40;
    next = calloc(n_streams, sizeof *next);
    chassis_prng_init(&prng, 1);
    snprintf(directory, sizeof directory, "%s/draft-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    chassis_log_set_level("", CHASSIS_LOG_WARN);
    snprintf(path, sizeof path, "%s/journal", directory);
    options = (struct chassis_journal_options){
        .disk = chassis_disk_posix(), .directory = path, .log = chassis_log_module("journal")};
    chassis_os_thread_start("loop", &options.owner);
    chassis_os_thread_start("journal", &options.writer);
    chassis_os_thread_start("prepare", &options.preparer);
    if (chassis_journal_open(&options, &journal, &err) != 0) {
        CHASSIS_PANIC("%s", err.text);
    }
    printf("%u streams, %d B payload\n", n_streams, PAYLOAD);
    write_to(n_streams, "first record of each");
    reopen("open, one record each");
    read_some();
    write_to(n_streams * each_stream, "further records, random streams");
    read_some();
    reopen("open, more records each");
    read_some();
    on_owner(trim_each);
    printf("%-44s %10.0f ns each\n", "trim half of each stream", (double)spent_ns / n_streams);
    on_owner(close_journal);
    chassis_os_thread_stop(options.owner);
    chassis_os_thread_stop(options.writer);
    chassis_os_thread_stop(options.preparer);
    char command[4300];
    snprintf(command, sizeof command, "rm -rf -- '%s'", directory);
    free(next);
    return system(command) == 0 ? 0 : 1;
}
