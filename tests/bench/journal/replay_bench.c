/* Records per second read back by a scan, away from the owner, page cache warm: one stream alone, and
 * one of several that were written interleaved.
 *
 *     bench_journal_replay [DIRECTORY] [RECORDS]
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "journal/journal.h"
#include "os/os.h"

enum { PAYLOAD = 128, BATCH = 100, STREAMS = 8, ROUNDS = 5 };

static struct chassis_journal_options options;
static struct chassis_journal *journal;
static struct chassis_journal_scan *scan;
static struct chassis_journal_append appends[BATCH];
static struct chassis_task task;
static struct chassis_error err;
static uint64_t next[STREAMS + 1], written, records, sum;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool finished;

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

static void write_some(struct chassis_journal_append *a);

static void ignore(struct chassis_journal_append *a)
{
}

static void put(struct chassis_journal_append *a, uint32_t s, unsigned n)
{
    static char payload[PAYLOAD];
    struct chassis_journal_record batch[BATCH];
    for (unsigned i = 0; i < n; i++) {
        batch[i] = (struct chassis_journal_record){
            .index = ++next[s],
            .time_ns = (int64_t)written++,
            .payload = chassis_view(payload, sizeof payload),
        };
    }
    a->stream = s;
    a->records = batch;
    a->n_records = n;
    CHASSIS_ASSERT(chassis_journal_append(journal, a, &err) == 0);
}

/* The first half goes to stream 0 alone, the second to the others in turn. */
static void write_some(struct chassis_journal_append *a)
{
    if (written >= records) {
        finish(NULL);
    } else if (written < records / 2) {
        appends[0].done = write_some;
        put(&appends[0], 0, BATCH);
    } else {
        for (unsigned i = 0; i < BATCH; i++) {
            appends[i].done = i + 1 < BATCH ? ignore : write_some;
            put(&appends[i], 1 + i % STREAMS, 1);
        }
    }
}

static void start_writing(struct chassis_task *t)
{
    write_some(appends);
}

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
static void close_journal(struct chassis_task *t)
{
    chassis_journal_close(journal, finish, NULL);
}

static int each(const struct chassis_journal_record *record, void *data)
{
    sum += record->index + record->payload.len;
    return 0;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * CHASSIS_NS_PER_S + (uint64_t)t.tv_nsec;
}

static void replay(uint32_t s)
{
    struct chassis_journal_scratch scratch = {0};
    stream = s;
    for (int round = 0; round < ROUNDS; round++) {
        on_owner(open_scan);
        uint64_t begin = chassis_os_monotonic_ns(), cpu = cpu_ns();
        unsigned refreshes = 0;
        while (chassis_journal_scan_next(scan) <= next[s]) {
            if (chassis_journal_scan_next(scan) == chassis_journal_scan_end(scan)) {
                on_owner(refresh);
                refreshes++;
            }
            if (chassis_journal_scan_read(scan, &scratch, 1 << 20, each, NULL, &err) != 0) {
                CHASSIS_PANIC("%s", err.text);
            }
        }
        double seconds = (double)(chassis_os_monotonic_ns() - begin) / 1e9;
        printf("%-30s %10llu records %8.2f M/s, %8.2f M per second of CPU, %u refreshes\n",
               s == 0 ? "one stream, batches" : "one of eight, interleaved",
               (unsigned long long)next[s], (double)next[s] / seconds / 1e6,
               (double)next[s] * 1e3 / (double)(cpu_ns() - cpu), refreshes);
        on_owner(close_scan);
    }
    chassis_journal_scratch_fini(&scratch);
}

int main(int argc, char **argv)
{
    char directory[4096], path[4200];
    records = argc > 2 ? strtoull(argv[2], NULL, 10) : 4000000;
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
    on_owner(start_writing);
    replay(0);
    replay(1);
    on_owner(close_journal);
    uint64_t begin = chassis_os_monotonic_ns();
    if (chassis_journal_open(&options, &journal, &err) != 0) {
        CHASSIS_PANIC("%s", err.text);
    }
    double seconds = (double)(chassis_os_monotonic_ns() - begin) / 1e9;
    printf("%-30s %10llu records %8.2f M/s\n", "open", (unsigned long long)written,
           (double)written / seconds / 1e6);
    on_owner(close_journal);
    chassis_os_thread_stop(options.owner);
    chassis_os_thread_stop(options.writer);
    chassis_os_thread_stop(options.preparer);
    char command[4300];
    snprintf(command, sizeof command, "rm -rf -- '%s'", directory);
    return system(command) == 0 && sum != 0 ? 0 : 1;
}
