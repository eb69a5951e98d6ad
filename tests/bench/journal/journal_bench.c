/* Durable appends per second of the journal at several numbers outstanding, against a bare loop of
 * one write and one fdatasync per record on a preallocated file of the same file system.
 *
 *     bench_journal [DIRECTORY] [SECONDS]
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "journal/journal.h"
#include "os/os.h"

enum { PAYLOAD = 256, OUTSTANDING_MAX = 1024 };

struct bench {
    struct chassis_journal_options options;
    struct chassis_journal *journal;
    struct chassis_task start;
    struct chassis_journal_append appends[OUTSTANDING_MAX];
    unsigned outstanding, running;
    uint64_t next, done, begin_ns, end_ns;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool finished;
};
static char payload[PAYLOAD];

static void finish(void *data)
{
    struct bench *b = data;
    pthread_mutex_lock(&b->lock);
    b->finished = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

static struct bench bench;

static void submit(struct chassis_journal_append *a);

static void on_done(struct chassis_journal_append *a)
{
    bench.done++;
    if (chassis_os_monotonic_ns() < bench.end_ns) {
        submit(a);
    } else if (--bench.running == 0) {
        bench.end_ns = chassis_os_monotonic_ns();
        chassis_journal_close(bench.journal, finish, &bench);
    }
}

static void submit(struct chassis_journal_append *a)
{
    struct chassis_journal_record record = {.index = ++bench.next,
                                            .payload = chassis_view(payload, sizeof payload)};
    a->stream = 1;
    a->records = &record;
    a->n_records = 1;
    a->done = on_done;
    struct chassis_error err = {0};
    if (chassis_journal_append(bench.journal, a, &err) != 0) {
        CHASSIS_PANIC("%s", err.text);
    }
    if (record.index % 100000 == 0) {
        chassis_journal_trim(bench.journal, 1, record.index - 50000);
    }
}

static void on_start(struct chassis_task *task)
{
    bench.running = bench.outstanding;
    for (unsigned i = 0; i < bench.outstanding; i++) {
        submit(&bench.appends[i]);
    }
}

static double run(const char *directory, unsigned outstanding, double seconds)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/journal-%u", directory, outstanding);
    memset(&bench, 0, sizeof bench);
    pthread_mutex_init(&bench.lock, NULL);
    pthread_cond_init(&bench.cond, NULL);
    bench.outstanding = outstanding;
    bench.options.disk = chassis_disk_posix();
    bench.options.directory = path;
    bench.options.log = chassis_log_module("journal");
    chassis_os_thread_start("loop", &bench.options.owner);
    chassis_os_thread_start("journal", &bench.options.writer);
    chassis_os_thread_start("prepare", &bench.options.preparer);
    struct chassis_error err = {0};
    if (chassis_journal_open(&bench.options, &bench.journal, &err) != 0) {
        CHASSIS_PANIC("%s", err.text);
    }
    bench.begin_ns = chassis_os_monotonic_ns();
    bench.end_ns = bench.begin_ns + (uint64_t)(seconds * 1e9);
    bench.start.run = on_start;
    chassis_post(bench.options.owner, &bench.start);
    pthread_mutex_lock(&bench.lock);
    while (!bench.finished) {
        pthread_cond_wait(&bench.cond, &bench.lock);
    }
    pthread_mutex_unlock(&bench.lock);
    chassis_os_thread_stop(bench.options.owner);
    chassis_os_thread_stop(bench.options.writer);
    chassis_os_thread_stop(bench.options.preparer);
    return (double)bench.done / ((double)(bench.end_ns - bench.begin_ns) / 1e9);
}

static double run_bare(const char *directory, double seconds)
{
    char path[4200];
    static char zeros[1 << 20];
    enum { SIZE = 64 << 20, RECORD = PAYLOAD + 64 };
    snprintf(path, sizeof path, "%s/bare", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHASSIS_ASSERT(fd >= 0);
    for (int at = 0; at < SIZE; at += (int)sizeof zeros) {
        CHASSIS_ASSERT(pwrite(fd, zeros, sizeof zeros, at) == (ssize_t)sizeof zeros);
    }
    CHASSIS_ASSERT(fdatasync(fd) == 0);
    char record[RECORD] = {1};
    uint64_t n = 0, begin = chassis_os_monotonic_ns(), end = begin + (uint64_t)(seconds * 1e9);
    while (chassis_os_monotonic_ns() < end) {
        off_t at = (off_t)(n % (SIZE / RECORD)) * RECORD;
        CHASSIS_ASSERT(pwrite(fd, record, sizeof record, at) == RECORD && fdatasync(fd) == 0);
        n++;
    }
    double rate = (double)n / ((double)(chassis_os_monotonic_ns() - begin) / 1e9);
    close(fd);
    return rate;
}

int main(int argc, char **argv)
{
    char directory[4096];
    static const unsigned cases[] = {1, 64, 256, 1024};
    double seconds = argc > 2 ? atof(argv[2]) : 2;
    snprintf(directory, sizeof directory, "%s/draft-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    chassis_log_set_level("", CHASSIS_LOG_WARN);
    printf("%-28s %14s %10s\n", "case", "appends/s", "µs each");
    double bare = run_bare(directory, seconds);
    printf("%-28s %14.0f %10.2f\n", "bare pwrite + fdatasync", bare, 1e6 / bare);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double rate = run(directory, cases[i], seconds);
        printf("journal, %4u outstanding    %14.0f %10.2f\n", cases[i], rate, 1e6 / rate);
    }
    printf("256 B payload, files in %s (removed)\n", directory);
    char command[4200];
    snprintf(command, sizeof command, "rm -rf -- '%s'", directory);
    return system(command) == 0 ? 0 : 1;
}
