/* Events per second through the broker alone, without any protocol: publishes of single events and of
 * batches with so many outstanding, every one synced before it is done, with so many readers at the
 * end of the stream; then a replay of what was stored. CPU is that of the loop thread.
 *
 *     bench_broker [DIRECTORY] [SECONDS]
 *     bench_broker DIRECTORY 0 streams      memory that 100,000 streams take
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "catalyst/broker/broker.h"
#include "catalyst/event/build.h"
#include "os/os.h"

enum { PAYLOAD = 128, OUTSTANDING_MAX = 4096, BATCH_MAX = 100, READERS_MAX = 100 };

struct slot {
    struct cat_publish publish;
    struct cat_publish_event events[BATCH_MAX];
    struct chassis_buf bytes[BATCH_MAX];
};

static struct {
    struct chassis_executor *loop, *writer, *preparer, *worker;
    struct chassis_journal *journal;
    struct cat_broker *broker;
    struct chassis_task task;
    void (*fn)(void);
    struct slot *slots;
    unsigned outstanding, batch, running, n_readers;
    uint64_t next_id, published, delivered, deadline_ns, begin_ns, end_ns;
    double cpu_begin_s, cpu_end_s;
    struct cat_reader *readers[READERS_MAX];
    bool dedupe;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool finished;
} b;

static int64_t wall_ns(void *data)
{
    return chassis_wall_ns(chassis_clock_posix());
}

static double thread_cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void finish(void)
{
    pthread_mutex_lock(&b.lock);
    b.finished = true;
    pthread_cond_signal(&b.cond);
    pthread_mutex_unlock(&b.lock);
}

static void run_task(struct chassis_task *task)
{
    b.fn();
}

static void on_loop(void (*fn)(void))
{
    b.finished = false;
    b.fn = fn;
    b.task.run = run_task;
    chassis_post(b.loop, &b.task);
    pthread_mutex_lock(&b.lock);
    while (!b.finished) {
        pthread_cond_wait(&b.cond, &b.lock);
    }
    pthread_mutex_unlock(&b.lock);
}

/* The id of an event stands in its last 16 bytes of id: written over in place, so that making events
 * is no part of what is measured. */
static void make_event(struct slot *slot, unsigned i)
{
    static uint8_t payload[PAYLOAD];
    struct cat_event_parts parts = {
        .id = chassis_view_str("0000000000000000"),
        .source = chassis_view_str("/bench"),
        .type = chassis_view_str("bench.event"),
        .data_kind = CAT_DATA_BINARY,
        .data = chassis_view(payload, sizeof payload),
    };
    cat_event_build(&parts, &slot->bytes[i]);
    int rc = cat_event_parse(chassis_buf_view(&slot->bytes[i]), &slot->events[i].event, NULL);
    CHASSIS_ASSERT(rc == 0);
}

static void send_slot(struct slot *slot)
{
    static const char hex[] = "0123456789abcdef";
    for (unsigned i = 0; i < b.batch; i++) {
        uint64_t id = ++b.next_id;
        uint8_t *text = slot->bytes[i].data + (slot->events[i].event.id.data - slot->bytes[i].data);
        for (unsigned k = 16; k-- > 0; id >>= 4) {
            text[k] = (uint8_t)hex[id & 15];
        }
    }
    cat_publish(b.broker, &slot->publish);
}

static void on_done(struct cat_publish *publish)
{
    struct slot *slot = chassis_container_of(publish, struct slot, publish);
    CHASSIS_ASSERT(publish->status == 0);
    b.published += b.batch;
    if (chassis_os_monotonic_ns() < b.deadline_ns) {
        send_slot(slot);
    } else if (--b.running == 0) {
        b.end_ns = chassis_os_monotonic_ns();
        b.cpu_end_s = thread_cpu_s();
        finish();
    }
}

static int on_event(void *data, struct chassis_view stream, const struct cat_log_event *stored,
                    const struct cat_event *event)
{
    b.delivered++;
    return 0;
}

static void on_ended(void *data, int status, const struct chassis_error *err)
{
}

static void on_pause(void *data, uint64_t next)
{
    if (data != NULL && next > *(uint64_t *)data) {
        b.end_ns = chassis_os_monotonic_ns();
        b.cpu_end_s = thread_cpu_s();
        finish();
    }
}

static const struct cat_reader_ops reader_ops = {on_event, on_pause, NULL, on_ended};

static void open_readers(enum cat_start_kind kind, void *data)
{
    for (unsigned i = 0; i < b.n_readers; i++) {
        struct cat_reader_options options = {.stream = chassis_view_str("bench"),
                                             .start = {.kind = kind},
                                             .unparsed = true,
                                             .ops = &reader_ops,
                                             .data = data};
        int rc = cat_reader_open(b.broker, &options, &b.readers[i], NULL);
        CHASSIS_ASSERT(rc == 0);
        cat_reader_wake(b.readers[i]);
    }
}

static void start_run(void)
{
    open_readers(CAT_START_NEW, NULL);
    b.begin_ns = chassis_os_monotonic_ns();
    b.cpu_begin_s = thread_cpu_s();
    b.running = b.outstanding;
    for (unsigned i = 0; i < b.outstanding; i++) {
        send_slot(&b.slots[i]);
    }
}

static void close_readers(void)
{
    for (unsigned i = 0; i < b.n_readers; i++) {
        cat_reader_close(b.readers[i]);
    }
    b.n_readers = 0;
    finish();
}

static void run(const char *name, unsigned outstanding, unsigned batch, unsigned n_readers,
                double seconds)
{
    b.slots = calloc(outstanding, sizeof *b.slots);
    CHASSIS_ASSERT(b.slots != NULL);
    for (unsigned i = 0; i < outstanding; i++) {
        struct slot *slot = &b.slots[i];
        for (unsigned k = 0; k < batch; k++) {
            make_event(slot, k);
        }
        slot->publish = (struct cat_publish){.stream = chassis_view_str("bench"),
                                             .events = slot->events,
                                             .n_events = batch,
                                             .done = on_done};
    }
    b.outstanding = outstanding;
    b.batch = batch;
    b.n_readers = n_readers;
    b.published = b.delivered = 0;
    b.deadline_ns = chassis_os_monotonic_ns() + (uint64_t)(seconds * 1e9);
    on_loop(start_run);
    double s = (double)(b.end_ns - b.begin_ns) / 1e9;
    printf("%-32s %10.0f events/s %8.3f us loop CPU per event %12.0f delivered/s\n", name,
           (double)b.published / s, (b.cpu_end_s - b.cpu_begin_s) * 1e6 / (double)b.published,
           (double)b.delivered / s);
    on_loop(close_readers);
    for (unsigned i = 0; i < outstanding; i++) {
        for (unsigned k = 0; k < batch; k++) {
            chassis_buf_fini(&b.slots[i].bytes[k]);
        }
    }
    free(b.slots);
}

static uint64_t replay_end;

static void start_replay(void)
{
    struct cat_stream_info info;
    int rc = cat_stream_get(b.broker, chassis_view_str("bench"), &info, NULL);
    CHASSIS_ASSERT(rc == 0);
    replay_end = info.log.readable;
    b.delivered = 0;
    b.begin_ns = chassis_os_monotonic_ns();
    b.cpu_begin_s = thread_cpu_s();
    open_readers(CAT_START_EARLIEST, &replay_end);
}

static void replay(void)
{
    b.n_readers = 1;
    on_loop(start_replay);
    double s = (double)(b.end_ns - b.begin_ns) / 1e9;
    printf("%-32s %10.0f events/s %8.3f us loop CPU per event\n", "replay, one reader",
           (double)b.delivered / s, (b.cpu_end_s - b.cpu_begin_s) * 1e6 / (double)b.delivered);
    on_loop(close_readers);
}

static void on_created(void *data, int status, const struct chassis_error *err)
{
    CHASSIS_ASSERT(status == 0);
    finish();
}

static void open_broker(void)
{
    struct cat_broker_options options = {.journal = b.journal,
                                         .loop = b.loop,
                                         .workers = b.worker,
                                         .log = chassis_log_module("catalyst"),
                                         .wall_ns = wall_ns};
    struct chassis_error err = {0};
    if (cat_broker_open(&options, &b.broker, &err) != 0) {
        CHASSIS_PANIC("%s", err.text);
    }
    struct cat_stream_config config = {.name = chassis_view_str("bench"), .dedupe_ms = 120000};
    cat_stream_create(b.broker, &config, on_created, NULL);
}

static struct chassis_journal_options journal_options;

static void open_journal(void)
{
    struct chassis_error err = {0};
    if (chassis_journal_open(&journal_options, &b.journal, &err) != 0) {
        CHASSIS_PANIC("%s", err.text);
    }
    finish();
}

static void on_journal_closed(void *data)
{
    finish();
}

static void on_broker_closed(void *data)
{
    chassis_journal_close(b.journal, on_journal_closed, NULL);
}

static void close_broker(void)
{
    cat_broker_close(b.broker, on_broker_closed, NULL);
}

static void run_all(double seconds)
{
    run("single, 1 outstanding", 1, 1, 0, seconds);
    run("single, 256 outstanding", 256, 1, 0, seconds);
    run("single, 4096 outstanding", 4096, 1, 0, seconds);
    run("batches of 100, 16 outstanding", 16, 100, 0, seconds);
    replay();
    run("batches of 100, 8 readers", 16, 100, 8, seconds);
    run("batches of 100, 100 readers", 16, 100, 100, seconds);
}

/* ---- memory of many streams ---- */

enum { STREAMS = 100000, STREAMS_AT_A_TIME = 256 };

static struct {
    unsigned begun, done;
    struct slot slot;
} many;

static void publish_into_next(void);

static void on_many_done(struct cat_publish *publish)
{
    CHASSIS_ASSERT(publish->status == 0);
    if (++many.done == STREAMS) {
        finish();
    } else {
        publish_into_next();
    }
}

static void publish_into_next(void)
{
    static char name[32];
    b.batch = 1;
    snprintf(name, sizeof name, "device-%06u", many.done);
    many.slot.publish = (struct cat_publish){.stream = chassis_view_str(name),
                                             .events = many.slot.events,
                                             .n_events = 1,
                                             .done = on_many_done};
    send_slot(&many.slot);
}

static void create_next(void);

static void on_one_created(void *data, int status, const struct chassis_error *err)
{
    CHASSIS_ASSERT(status == 0);
    if (++many.done == STREAMS) {
        many.done = 0;
        finish();
    } else {
        create_next();
    }
}

static void create_next(void)
{
    char name[32], type[32];
    if (many.begun == STREAMS) {
        return;
    }
    snprintf(name, sizeof name, "device-%06u", many.begun);
    snprintf(type, sizeof type, "device.%06u.>", many.begun);
    many.begun++;
    struct cat_selection takes = {.type = chassis_view_str(type)};
    struct cat_stream_config config = {.name = chassis_view_str(name),
                                       .takes = &takes,
                                       .n_takes = 1,
                                       .age_max_ms = 3600000,
                                       .dedupe_ms = 120000};
    cat_stream_create(b.broker, &config, on_one_created, NULL);
}

static void create_many(void)
{
    for (unsigned i = 0; i < STREAMS_AT_A_TIME; i++) {
        create_next();
    }
}

static unsigned long anonymous_kb(void)
{
    unsigned long kb = 0;
    char line[256];
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "Anonymous: %lu", &kb);
    }
    if (file != NULL) {
        fclose(file);
    }
    return kb;
}

static void memory(void)
{
    unsigned long before = anonymous_kb();
    uint64_t begin = chassis_os_monotonic_ns();
    on_loop(create_many);
    double s = (double)(chassis_os_monotonic_ns() - begin) / 1e9;
    unsigned long empty = anonymous_kb();
    make_event(&many.slot, 0);
    on_loop(publish_into_next);
    unsigned long used = anonymous_kb();
    printf("%-32s %10.0f created/s, %.0f B each; with an event, rule and limit %.0f B each\n",
           "100000 streams", STREAMS / s, (double)(empty - before) * 1024 / STREAMS,
           (double)(used - before) * 1024 / STREAMS);
    chassis_buf_fini(&many.slot.bytes[0]);
}

int main(int argc, char **argv)
{
    char directory[4096], path[4200];
    double seconds = argc > 2 ? atof(argv[2]) : 2;
    snprintf(directory, sizeof directory, "%s/draft-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    chassis_log_set_level("", CHASSIS_LOG_WARN);
    pthread_mutex_init(&b.lock, NULL);
    pthread_cond_init(&b.cond, NULL);
    chassis_os_thread_start("loop", &b.loop);
    chassis_os_thread_start("journal", &b.writer);
    chassis_os_thread_start("prepare", &b.preparer);
    chassis_os_thread_start("worker", &b.worker);
    snprintf(path, sizeof path, "%s/journal", directory);
    journal_options = (struct chassis_journal_options){.disk = chassis_disk_posix(),
                                                       .directory = path,
                                                       .owner = b.loop,
                                                       .writer = b.writer,
                                                       .preparer = b.preparer,
                                                       .log = chassis_log_module("journal"),
                                                       .cache_bytes_per_stream = 1 << 20};
    on_loop(open_journal);
    on_loop(open_broker);
    if (argc > 3 && strcmp(argv[3], "streams") == 0) {
        memory();
        seconds = 0;
    }
    if (seconds > 0) {
        run_all(seconds);
    }
    on_loop(close_broker);
    printf("%d B payload, synced before done, files in %s (removed)\n", PAYLOAD, directory);
    char command[4300];
    snprintf(command, sizeof command, "rm -rf -- '%s'", directory);
    return system(command) == 0 ? 0 : 1;
}
