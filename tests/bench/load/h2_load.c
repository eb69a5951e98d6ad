/* h2_load: one load against one gRPC server, the result as one JSON object on standard output.
 *
 *   h2_load --kind echo|download|blueprint-set|blueprint-get|etcd-put|etcd-range
 *           --address HOST:PORT[,HOST:PORT…] [--connections N] [--outstanding N] [--rate PER_S]
 *           [--seconds S] [--warmup S] [--payload BYTES] [--keys N] [--prefill]
 *
 * Closed loop by default (a new request when one ends); with --rate an open loop: requests start on
 * schedule and latency counts from the scheduled time. Each key's value is a function of the key,
 * so every read checks what came back; --prefill writes all keys once first.
 */
#include "h2_load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS_PER_OCTAVE = 64, OCTAVES = 40 };

struct run {
    const struct kind *kind;
    unsigned connections, outstanding;
    double rate, seconds, warmup;
    size_t payload;
    uint64_t keys;
    uint64_t next_prefill; /* key to be written next; == keys when done */
    uint64_t random;
    bool measuring, prefilling;
    uint64_t ops, messages, errors, wrong;
    int last_status;
    uint64_t due_ns; /* open loop: when the request being filled should start; else 0 */
    uint64_t histogram[BUCKETS_PER_OCTAVE * OCTAVES];
};

struct kind {
    const char *name, *path;
    size_t (*encode)(struct run *run, uint64_t key, uint8_t *out);
    bool (*right)(struct run *run, const struct h2_request *request);
    const char *prefill; /* the kind that writes what this one reads */
};

static uint64_t next_random(struct run *run)
{
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return run->random;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put_block(uint8_t *p, unsigned field, const void *data, size_t len)
{
    p = put_varint(p, field << 3 | 2);
    p = put_varint(p, len);
    memcpy(p, data, len);
    return p + len;
}

static size_t key_text(uint64_t key, char out[32])
{
    return (size_t)snprintf(out, 32, "bench/%016llx", (unsigned long long)key);
}

/* The value of a key: its number, then letters that depend on it, `payload` bytes in all. */
static void value_text(const struct run *run, uint64_t key, char *out)
{
    int n = snprintf(out, run->payload + 1, "%016llx", (unsigned long long)key);
    for (size_t i = (size_t)n; i < run->payload; i++) {
        out[i] = (char)('a' + (key + i) % 26);
    }
}

#define VALUE_TYPE "type.googleapis.com/core.registry.key_value.v1.Value"

static size_t encode_echo(struct run *run, uint64_t key, uint8_t *out)
{
    char value[4096];
    value_text(run, key, value);
    return (size_t)(put_block(out, 1, value, run->payload) - out);
}

static size_t encode_download(struct run *run, uint64_t key, uint8_t *out)
{
    uint8_t *p = put_varint(out, 1 << 3);
    p = put_varint(p, run->keys); /* messages per stream */
    p = put_varint(p, 2 << 3);
    return (size_t)(put_varint(p, run->payload) - out);
}

static size_t encode_blueprint_set(struct run *run, uint64_t key, uint8_t *out)
{
    char name[32], value[4096];
    uint8_t message[4200], any[4400];
    value_text(run, key, value);
    size_t message_len = (size_t)(put_block(message, 1, value, run->payload) - message);
    uint8_t *a = put_block(any, 1, VALUE_TYPE, sizeof VALUE_TYPE - 1);
    a = put_block(a, 2, message, message_len);
    uint8_t *p = put_block(out, 1, name, key_text(key, name));
    return (size_t)(put_block(p, 2, any, (size_t)(a - any)) - out);
}

static size_t encode_blueprint_get(struct run *run, uint64_t key, uint8_t *out)
{
    char name[32];
    uint8_t any[128];
    uint8_t *a = put_block(any, 1, VALUE_TYPE, sizeof VALUE_TYPE - 1);
    uint8_t *p = put_block(out, 1, name, key_text(key, name));
    return (size_t)(put_block(p, 2, any, (size_t)(a - any)) - out);
}

static size_t encode_etcd_put(struct run *run, uint64_t key, uint8_t *out)
{
    char name[32], value[4096];
    value_text(run, key, value);
    uint8_t *p = put_block(out, 1, name, key_text(key, name));
    return (size_t)(put_block(p, 2, value, run->payload) - out);
}

static size_t encode_etcd_range(struct run *run, uint64_t key, uint8_t *out)
{
    char name[32];
    return (size_t)(put_block(out, 1, name, key_text(key, name)) - out);
}

static bool right_status(struct run *run, const struct h2_request *request)
{
    return request->messages == 1;
}

static bool right_stream(struct run *run, const struct h2_request *request)
{
    return request->messages == run->keys && request->message_bytes >= run->keys * run->payload;
}

/* The answer holds the value of the key somewhere. */
static bool right_value(struct run *run, const struct h2_request *request)
{
    char value[4096];
    value_text(run, request->key, value);
    return request->messages == 1 &&
           memmem(request->first, request->first_len, value, run->payload) != NULL;
}

static const struct kind kinds[] = {
    {"echo", "/draft.bench.v1.BenchService/Echo", encode_echo, right_value, NULL},
    {"download", "/draft.bench.v1.BenchService/Download", encode_download, right_stream, NULL},
    {"blueprint-set", "/core.registry.key_value.v1.KeyValueService/Set", encode_blueprint_set,
     right_status, NULL},
    {"blueprint-get", "/core.registry.key_value.v1.KeyValueService/Get", encode_blueprint_get,
     right_value, "blueprint-set"},
    {"etcd-put", "/etcdserverpb.KV/Put", encode_etcd_put, right_status, NULL},
    {"etcd-range", "/etcdserverpb.KV/Range", encode_etcd_range, right_value, "etcd-put"},
};

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    fprintf(stderr, "h2_load: unknown kind '%s'\n", name);
    exit(2);
}

static size_t bucket_of(uint64_t ns)
{
    if (ns < BUCKETS_PER_OCTAVE) {
        return (size_t)ns;
    }
    unsigned octave = 63u - (unsigned)__builtin_clzll(ns) - 6u;
    size_t b = (size_t)(octave + 1) * BUCKETS_PER_OCTAVE + ((ns >> octave) & 63u);
    return b < BUCKETS_PER_OCTAVE * OCTAVES ? b : BUCKETS_PER_OCTAVE * OCTAVES - 1;
}

static double percentile_us(const struct run *run, double quantile)
{
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < BUCKETS_PER_OCTAVE * OCTAVES; i++) {
        total += run->histogram[i];
    }
    for (size_t i = 0; i < BUCKETS_PER_OCTAVE * OCTAVES; i++) {
        seen += run->histogram[i];
        if (total != 0 && (double)seen >= quantile * (double)total) {
            size_t octave = i / BUCKETS_PER_OCTAVE;
            uint64_t low = octave == 0 ? i : (64 + (uint64_t)(i % 64)) << (octave - 1);
            return (double)low / 1000.0;
        }
    }
    return 0;
}

static size_t fill(struct h2_request *request, uint8_t *out, void *data)
{
    struct run *run = data;
    if (run->due_ns != 0) {
        request->started_ns = run->due_ns;
    }
    request->key = run->prefilling ? run->next_prefill++ : next_random(run) % run->keys;
    const struct kind *kind =
        run->prefilling && run->kind->prefill != NULL ? find_kind(run->kind->prefill) : run->kind;
    size_t len = kind->encode(run, request->key, out + 5);
    out[0] = 0;
    out[1] = (uint8_t)(len >> 24);
    out[2] = (uint8_t)(len >> 16);
    out[3] = (uint8_t)(len >> 8);
    out[4] = (uint8_t)len;
    return len + 5;
}

static void done(struct h2_request *request, void *data)
{
    struct run *run = data;
    bool right = run->prefilling ? request->messages == 1 : run->kind->right(run, request);
    if (request->grpc_status != 0) {
        run->errors++;
        run->last_status = request->grpc_status;
    } else if (!right) {
        run->wrong++;
    }
    if (run->measuring) {
        run->ops++;
        run->messages += request->messages;
        run->histogram[bucket_of(h2_now_ns() - request->started_ns)]++;
    }
}

static void check(int result)
{
    if (result != 0) {
        fprintf(stderr, "h2_load: a connection broke\n");
        exit(1);
    }
}

static void drain(struct h2_client *client)
{
    while (h2_client_under_way(client) > 0) {
        check(h2_client_poll(client, 1000));
    }
}

/* Keep `outstanding` requests under way until the time is over. */
static void closed_loop(struct run *run, struct h2_client *client, double seconds)
{
    uint64_t end = h2_now_ns() + (uint64_t)(seconds * 1e9);
    while (h2_now_ns() < end) {
        while (h2_client_under_way(client) < run->outstanding) {
            h2_client_start(client);
        }
        check(h2_client_poll(client, 100));
    }
}

/* Start requests on schedule; what is late counts from when it should have started. */
static void open_loop(struct run *run, struct h2_client *client, double seconds)
{
    uint64_t begin = h2_now_ns(), started = 0;
    for (;;) {
        uint64_t now = h2_now_ns();
        if (now - begin > (uint64_t)(seconds * 1e9)) {
            return;
        }
        uint64_t due = (uint64_t)((double)(now - begin) * run->rate / 1e9);
        while (started < due && h2_client_under_way(client) < 20000) {
            run->due_ns = begin + (uint64_t)((double)started * 1e9 / run->rate);
            h2_client_start(client);
            started++;
        }
        check(h2_client_poll(client, 1));
    }
}

static void prefill(struct run *run, const struct h2_options *options)
{
    struct h2_options write = *options;
    if (run->kind->prefill != NULL) {
        write.path = find_kind(run->kind->prefill)->path;
    }
    struct h2_client *client = h2_client_open(&write);
    run->prefilling = true;
    while (run->next_prefill < run->keys) {
        while (h2_client_under_way(client) < 64 && run->next_prefill < run->keys) {
            h2_client_start(client);
        }
        check(h2_client_poll(client, 100));
    }
    drain(client);
    run->prefilling = false;
    h2_client_close(client);
}

static size_t split(char *text, const char *out[], size_t max)
{
    size_t n = 0;
    for (char *save, *t = strtok_r(text, ",", &save); t != NULL && n < max;
         t = strtok_r(NULL, ",", &save)) {
        out[n++] = t;
    }
    return n;
}

static struct run run = {.connections = 1,
                         .outstanding = 1,
                         .seconds = 5,
                         .warmup = 1,
                         .payload = 256,
                         .keys = 10000,
                         .random = 0x9e3779b97f4a7c15ULL};

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"kind", 1, NULL, 'k'},        {"address", 1, NULL, 'a'}, {"connections", 1, NULL, 'c'},
        {"outstanding", 1, NULL, 'o'}, {"rate", 1, NULL, 'r'},    {"seconds", 1, NULL, 's'},
        {"warmup", 1, NULL, 'w'},      {"payload", 1, NULL, 'p'}, {"keys", 1, NULL, 'n'},
        {"prefill", 0, NULL, 'f'},     {NULL, 0, NULL, 0},
    };
    const char *addresses[16];
    struct h2_options h2 = {.addresses = addresses, .fill = fill, .done = done, .data = &run};
    bool want_prefill = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'k':
            run.kind = find_kind(optarg);
            break;
        case 'a':
            h2.n_addresses = split(optarg, addresses, 16);
            break;
        case 'c':
            run.connections = (unsigned)atoi(optarg);
            break;
        case 'o':
            run.outstanding = (unsigned)atoi(optarg);
            break;
        case 'r':
            run.rate = atof(optarg);
            break;
        case 's':
            run.seconds = atof(optarg);
            break;
        case 'w':
            run.warmup = atof(optarg);
            break;
        case 'p':
            run.payload = (size_t)atoi(optarg);
            break;
        case 'n':
            run.keys = (uint64_t)atoll(optarg);
            break;
        case 'f':
            want_prefill = true;
            break;
        default:
            return 2;
        }
    }
    if (run.kind == NULL || h2.n_addresses == 0 || run.payload < 16 || run.payload > 4000) {
        fprintf(stderr, "usage: h2_load --kind KIND --address HOST:PORT … (payload 16…4000)\n");
        return 2;
    }
    h2.connections = run.connections;
    h2.path = run.kind->path;
    if (want_prefill) {
        prefill(&run, &h2);
    }
    struct h2_client *client = h2_client_open(&h2);
    void (*loop)(struct run *, struct h2_client *, double) = run.rate > 0 ? open_loop : closed_loop;
    loop(&run, client, run.warmup);
    run.measuring = true;
    uint64_t begin = h2_now_ns();
    printf("measuring\n"); /* the driver reads the servers' CPU time now … */
    fflush(stdout);
    loop(&run, client, run.seconds);
    run.measuring = false;
    double elapsed = (double)(h2_now_ns() - begin) / 1e9;
    printf("measured\n"); /* … and now */
    fflush(stdout);
    drain(client);
    h2_client_close(client);
    printf("{\"kind\":\"%s\",\"ops\":%llu,\"messages\":%llu,\"seconds\":%.4f,\"per_s\":%.1f,"
           "\"messages_per_s\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"errors\":%llu,"
           "\"last_status\":%d,\"wrong\":%llu}\n",
           run.kind->name, (unsigned long long)run.ops, (unsigned long long)run.messages, elapsed,
           (double)run.ops / elapsed, (double)run.messages / elapsed, percentile_us(&run, 0.5),
           percentile_us(&run, 0.99), (unsigned long long)run.errors, run.last_status,
           (unsigned long long)run.wrong);
    return run.errors != 0 || run.wrong != 0;
}
