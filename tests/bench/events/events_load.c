/* events_load: one load against one event broker, the result as one JSON object on standard output.
 *
 *   events_load --side catalyst|catalyst-interval|jetstream|redis --address HOST:PORT --do publish|replay|fanout|latency
 *               --stream NAME [--window EVENTS] [--batch EVENTS] [--consumers N] [--events N]
 *               [--rate PER_S] [--payload BYTES] [--seconds S] [--warmup S]
 *   events_load --do create-streams|create-groups --address HOST:PORT --events N [--first N] [--stream S]
 *   events_load --do bare --stream FILE [--payload BYTES] [--seconds S]
 *
 * publish keeps `window` events unanswered; replay first stores `events` events, then reads them
 * again and again from the beginning; fanout publishes to `consumers` readers and counts what they
 * get, keeping at most `window` events unread by the slowest; latency publishes at `rate` and
 * measures from when an event should have been sent to when a reader has it. bare writes and
 * fdatasyncs `payload` bytes, one at a time.
 * Every event that is read is checked; after a publish the broker must hold all that it
 * acknowledged.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "side.h"

enum { BUCKETS_PER_OCTAVE = 64, OCTAVES = 40, CONSUMERS_MAX = 1000, SENT_MAX = 1 << 16 };

static struct {
    const struct side *side;
    const char *address, *stream, *what;
    unsigned window, batch, consumers, first;
    uint64_t events;
    double rate, seconds, warmup;
    size_t payload;
} options = {.stream = "bench",
             .window = 1000,
             .batch = 1,
             .consumers = 1,
             .events = 1000000,
             .seconds = 5,
             .warmup = 1,
             .payload = 128};

static struct {
    bool measuring;
    uint64_t ops, wrong;
    uint64_t histogram[BUCKETS_PER_OCTAVE * OCTAVES];
} result;

static struct producer producer;
static struct consumer consumers[CONSUMERS_MAX];
static uint64_t due_ns; /* open loop: when the event being made should be sent; else 0 */

/* ---- events ---- */

void payload_fill(uint8_t *out, size_t payload, uint64_t number)
{
    uint64_t sent = due_ns != 0 ? due_ns : now_ns();
    memcpy(out, &number, 8);
    memcpy(out + 8, &sent, 8);
    memset(out + 16, (int)('a' + number % 26), payload - 16);
}

void consumer_take(struct consumer *consumer, const uint8_t *data, size_t len)
{
    uint64_t number, sent;
    if (len != consumer->payload) {
        die("an event of %zu bytes", len);
    }
    memcpy(&number, data, 8);
    memcpy(&sent, data + 8, 8);
    uint8_t letter = (uint8_t)('a' + number % 26);
    if (data[16] != letter || memcmp(data + 16, data + 17, len - 17) != 0) {
        die("event %llu is not what was sent", (unsigned long long)number);
    }
    consumer->received++;
    if (consumer->event != NULL) {
        consumer->event(consumer, number, sent);
    }
}

/* ---- results ---- */

static void record(uint64_t ns)
{
    if (!result.measuring) {
        return;
    }
    size_t b = (size_t)ns;
    if (ns >= BUCKETS_PER_OCTAVE) {
        unsigned octave = 63u - (unsigned)__builtin_clzll(ns) - 6u;
        b = (size_t)(octave + 1) * BUCKETS_PER_OCTAVE + ((ns >> octave) & 63u);
    }
    result.histogram[b < BUCKETS_PER_OCTAVE * OCTAVES ? b : BUCKETS_PER_OCTAVE * OCTAVES - 1]++;
}

static double percentile_us(double quantile)
{
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < BUCKETS_PER_OCTAVE * OCTAVES; i++) {
        total += result.histogram[i];
    }
    for (size_t i = 0; i < BUCKETS_PER_OCTAVE * OCTAVES; i++) {
        seen += result.histogram[i];
        if (total != 0 && (double)seen >= quantile * (double)total) {
            size_t octave = i / BUCKETS_PER_OCTAVE;
            uint64_t low = octave == 0 ? i : (64 + (uint64_t)(i % 64)) << (octave - 1);
            return (double)low / 1000.0;
        }
    }
    return 0;
}

static void say(const char *text) /* the driver reads the servers' CPU time at these lines */
{
    printf("%s\n", text);
    fflush(stdout);
}

static void print_result(double seconds)
{
    printf("{\"side\":\"%s\",\"ops\":%llu,\"messages\":%llu,\"seconds\":%.4f,\"per_s\":%.1f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"errors\":0,\"wrong\":%llu,\"durability\":\"%s\"}\n",
           options.side != NULL ? options.side->name : "bare", (unsigned long long)result.ops,
           (unsigned long long)result.ops, seconds, (double)result.ops / seconds,
           percentile_us(0.5), percentile_us(0.99), (unsigned long long)result.wrong,
           options.side != NULL ? options.side->durability : "fdatasync each");
}

/* ---- publishing ---- */

static uint64_t sent_at[SENT_MAX]; /* by event number, for the time to the acknowledgement */

static void send_message(void)
{
    uint64_t now = now_ns();
    for (unsigned i = 0; i < producer.batch; i++) {
        sent_at[(producer.sent + i) % SENT_MAX] = now;
    }
    options.side->produce(&producer);
}

static void note_acks(uint64_t before)
{
    uint64_t now = now_ns();
    for (uint64_t i = before; i < producer.acked; i++) {
        record(now - sent_at[i % SENT_MAX]);
    }
    if (result.measuring) {
        result.ops += producer.acked - before;
    }
}

static void publish_for(double seconds, uint64_t until)
{
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end && producer.acked < until) {
        while (producer.sent < until &&
               producer.sent - producer.acked + producer.batch <= options.window) {
            send_message();
        }
        uint64_t before = producer.acked;
        wires_poll(100);
        note_acks(before);
    }
}

static void settle(void)
{
    while (producer.acked < producer.sent) {
        wires_poll(1000);
    }
}

static void producer_start(void)
{
    producer.stream = options.stream;
    producer.batch = options.batch;
    producer.payload = options.payload;
    options.side->produce_open(&producer, options.address);
}

/* What was acknowledged is there: the broker counts it. */
static void check_count(void)
{
    uint64_t kept = options.side->count(options.address, options.stream);
    if (kept < producer.acked) {
        die("%llu events were acknowledged, %llu are there", (unsigned long long)producer.acked,
            (unsigned long long)kept);
    }
}

static double measure(void (*run)(double seconds))
{
    run(options.warmup);
    result.measuring = true;
    uint64_t begin = now_ns();
    say("measuring");
    run(options.seconds);
    result.measuring = false;
    double elapsed = (double)(now_ns() - begin) / 1e9;
    say("measured");
    return elapsed;
}

static void run_publish(double seconds)
{
    publish_for(seconds, UINT64_MAX);
}

static void do_publish(void)
{
    options.side->create(options.address, options.stream);
    producer_start();
    double elapsed = measure(run_publish);
    settle();
    options.side->produce_close(&producer);
    check_count();
    options.side->remove(options.address, options.stream);
    print_result(elapsed);
}

/* ---- replay ---- */

static void on_replayed(struct consumer *consumer, uint64_t number, uint64_t sent_ns)
{
    if (number != consumer->received - 1) {
        die("event %llu came as number %llu", (unsigned long long)number,
            (unsigned long long)consumer->received - 1);
    }
    if (result.measuring) {
        result.ops++;
    }
}

static void run_replay(double seconds)
{
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    struct consumer *consumer = &consumers[0];
    while (now_ns() < end) {
        if (consumer->received == options.events) { /* once more from the beginning */
            options.side->consume_close(consumer);
            memset(consumer, 0, sizeof *consumer);
        }
        if (consumer->side == NULL) {
            *consumer = (struct consumer){.stream = options.stream,
                                          .payload = options.payload,
                                          .from_start = true,
                                          .event = on_replayed};
            options.side->consume_open(consumer, options.address);
        }
        wires_poll(100);
    }
}

static void do_replay(void)
{
    options.side->create(options.address, options.stream);
    producer_start();
    publish_for(1e6, options.events);
    settle();
    options.side->produce_close(&producer);
    double elapsed = measure(run_replay);
    options.side->consume_close(&consumers[0]);
    options.side->remove(options.address, options.stream);
    print_result(elapsed);
}

/* ---- fan-out and latency ---- */

static void on_delivered(struct consumer *consumer, uint64_t number, uint64_t sent_ns)
{
    if (number != consumer->received - 1) {
        die("event %llu came as number %llu", (unsigned long long)number,
            (unsigned long long)consumer->received - 1);
    }
    if (result.measuring) {
        result.ops++;
    }
    record(now_ns() - sent_ns);
}

static void consumers_start(void)
{
    for (unsigned i = 0; i < options.consumers; i++) {
        consumers[i] = (struct consumer){
            .stream = options.stream, .payload = options.payload, .event = on_delivered};
        options.side->consume_open(&consumers[i], options.address);
    }
}

static uint64_t slowest(void)
{
    uint64_t least = producer.acked;
    for (unsigned i = 0; i < options.consumers; i++) {
        least = consumers[i].received < least ? consumers[i].received : least;
    }
    return least;
}

static void run_fanout(double seconds)
{
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end) {
        uint64_t least = slowest();
        while (producer.sent - least + producer.batch <= options.window) {
            send_message();
        }
        wires_poll(100);
    }
}

/* Open loop: what is due is sent within TICK_NS, whatever comes back. */
static void run_rate(double seconds)
{
    enum { TICK_NS = 50000 };
    uint64_t begin = now_ns(), started = 0;
    prctl(PR_SET_TIMERSLACK, 1000UL); /* else sleeps last up to 50 us longer */
    for (;;) {
        uint64_t now = now_ns();
        if (now - begin > (uint64_t)(seconds * 1e9)) {
            break;
        }
        uint64_t due = (uint64_t)((double)(now - begin) * options.rate / 1e9);
        for (; started < due; started++) {
            due_ns = begin + (uint64_t)((double)started * 1e9 / options.rate);
            send_message();
        }
        wires_poll_ns(TICK_NS);
    }
    due_ns = 0;
}

static void do_deliver(void (*run)(double seconds))
{
    options.side->create(options.address, options.stream);
    producer_start();
    consumers_start();
    double elapsed = measure(run);
    settle();
    while (slowest() < producer.sent) { /* every consumer gets every event */
        wires_poll(1000);
    }
    options.side->produce_close(&producer);
    for (unsigned i = 0; i < options.consumers; i++) {
        options.side->consume_close(&consumers[i]);
    }
    check_count();
    options.side->remove(options.address, options.stream);
    print_result(elapsed);
}

/* ---- the floor ---- */

static int bare_fd;

static void run_bare(double seconds)
{
    static off_t at;
    uint8_t block[PAYLOAD_MAX];
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    memset(block, 'x', sizeof block);
    while (now_ns() < end) {
        uint64_t began = now_ns();
        if (pwrite(bare_fd, block, options.payload, at) != (ssize_t)options.payload ||
            fdatasync(bare_fd) != 0) {
            die("write of '%s' failed", options.stream);
        }
        at += (off_t)options.payload;
        record(now_ns() - began);
        result.ops += result.measuring;
    }
}

static void do_bare(void)
{
    enum { SIZE = 64 << 20 };
    static uint8_t zeros[1 << 20];
    bare_fd = open(options.stream, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (off_t at = 0; bare_fd >= 0 && at < SIZE; at += (off_t)sizeof zeros) {
        if (pwrite(bare_fd, zeros, sizeof zeros, at) < 0) { /* space is there, as in a journal */
            die("write of '%s' failed", options.stream);
        }
    }
    if (bare_fd < 0 || fsync(bare_fd) != 0) {
        die("cannot write '%s'", options.stream);
    }
    double elapsed = measure(run_bare);
    unlink(options.stream);
    print_result(elapsed);
}

static void do_latency(void)
{
    options.consumers = 1;
    do_deliver(run_rate);
}

static void do_fanout(void)
{
    do_deliver(run_fanout);
}

static void do_create_streams(void)
{
    catalyst_create_many(options.address, "streams", NULL, options.first, (unsigned)options.events);
}

static void do_create_groups(void)
{
    catalyst_create_many(options.address, "groups", options.stream, options.first,
                         (unsigned)options.events);
}

static const struct {
    const char *name;
    void (*run)(void);
} actions[] = {
    {"publish", do_publish},
    {"replay", do_replay},
    {"fanout", do_fanout},
    {"latency", do_latency},
    {"bare", do_bare},
    {"create-streams", do_create_streams},
    {"create-groups", do_create_groups},
};

static const struct side *find_side(const char *name)
{
    static const struct side *const sides[] = {&side_catalyst, &side_catalyst_interval,
                                               &side_jetstream, &side_redis};
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        if (strcmp(sides[i]->name, name) == 0) {
            return sides[i];
        }
    }
    die("no side '%s'", name);
}

static void read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"side", 1, NULL, 'S'},   {"address", 1, NULL, 'a'}, {"do", 1, NULL, 'd'},
        {"stream", 1, NULL, 't'}, {"window", 1, NULL, 'w'},  {"batch", 1, NULL, 'b'},
        {"events", 1, NULL, 'e'}, {"rate", 1, NULL, 'r'},    {"consumers", 1, NULL, 'c'},
        {"first", 1, NULL, 'f'},  {"payload", 1, NULL, 'p'}, {"seconds", 1, NULL, 's'},
        {"warmup", 1, NULL, 'u'}, {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'S':
            options.side = find_side(optarg);
            break;
        case 'a':
            options.address = optarg;
            break;
        case 'd':
            options.what = optarg;
            break;
        case 't':
            options.stream = optarg;
            break;
        case 'w':
            options.window = (unsigned)atoi(optarg);
            break;
        case 'b':
            options.batch = (unsigned)atoi(optarg);
            break;
        case 'e':
            options.events = (uint64_t)atoll(optarg);
            break;
        case 'r':
            options.rate = atof(optarg);
            break;
        case 'c':
            options.consumers = (unsigned)atoi(optarg);
            break;
        case 'f':
            options.first = (unsigned)atoi(optarg);
            break;
        case 'p':
            options.payload = (size_t)atoi(optarg);
            break;
        case 's':
            options.seconds = atof(optarg);
            break;
        case 'u':
            options.warmup = atof(optarg);
            break;
        default:
            exit(2);
        }
    }
    if (options.payload < 32 || options.payload > PAYLOAD_MAX || options.window > SENT_MAX ||
        options.batch == 0 || options.batch > options.window || options.consumers > CONSUMERS_MAX) {
        die("payload 32…%d, batch 1…window, window up to %d, consumers up to %d", PAYLOAD_MAX,
            SENT_MAX, CONSUMERS_MAX);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    for (size_t i = 0; options.what != NULL && i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(actions[i].name, options.what) == 0) {
            actions[i].run();
            return 0;
        }
    }
    die("--do what? publish, replay, fanout, latency, bare, create-streams or create-groups");
}
