/* The engines beside the journal, against what they are for: a real nats-server, and the cluster that
 * comes with librdkafka. One set of expectations for both, from broker/log.h. */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <semaphore.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "catalyst/engines/plugin.h"
#include "os/os.h"
#include "tests/test.h"

extern char **environ;

/* ---- the loop, and one errand at a time on it ---- */

static struct chassis_executor *loop;

struct errand {
    struct chassis_task task;
    void (*run)(void *data);
    void *data;
    sem_t done; /* posted by `run` or by what it started */
};

static void errand_run(struct chassis_task *task)
{
    struct errand *errand = (struct errand *)task;
    errand->run(errand->data);
}

static struct errand errand;

static void on_loop(void (*run)(void *data), void *data)
{
    errand = (struct errand){.task.run = errand_run, .run = run, .data = data};
    sem_init(&errand.done, 0, 0);
    chassis_post(loop, &errand.task);
    sem_wait(&errand.done);
}

static void finished(void)
{
    sem_post(&errand.done);
}

/* ---- an engine and a stream of it ---- */

static struct cat_log_engine *engine;
static struct cat_log *stream;
static struct chassis_error last_error;
static int last_status;

static void opened(void *data, struct cat_log *log, const struct chassis_error *err)
{
    stream = log;
    last_status = err != NULL ? err->code : 0;
    if (err != NULL) {
        last_error = *err;
    }
    finished();
}

static void open_stream(void *name)
{
    engine->ops->open(engine,
                      &(struct cat_log_options){
                          .name = chassis_view_str(name), .number = 16, .durability = CAT_FSYNC},
                      opened, NULL);
}

static void stream_opened(const char *name)
{
    on_loop(open_stream, (void *)(uintptr_t)name);
    if (last_status != 0) {
        fail_msg("%s", last_error.text);
    }
}

static void close_stream(void *data)
{
    stream->ops->close(stream);
    finished();
}

static void destroy_stream(void *data)
{
    stream->ops->destroy(stream);
    finished();
}

static void engine_closed(void *data)
{
    finished();
}

static void close_engine(void *data)
{
    engine->ops->close(engine, engine_closed, NULL);
}

static void engine_opened(const char *name, const char *url)
{
    const struct cat_engine_plugin_options options = {
        .version = CAT_ENGINE_PLUGIN_VERSION, .url = url, .loop = loop};
    struct chassis_error err = {0};
    if (cat_engine_load(ENGINES_DIRECTORY, chassis_view_str(name), &options, &engine, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

/* ---- appending ---- */

enum { BATCH = 10 };

struct batch {
    struct cat_append append;
    struct chassis_view events[BATCH];
    char text[BATCH][64];
    unsigned number;
};

static unsigned appended_in_order;
static uint64_t first_of_last;
static unsigned expected;

static void appended(struct cat_append *append, int status, const struct chassis_error *err)
{
    struct batch *batch = (struct batch *)append;
    last_status = status;
    if (err != NULL) {
        last_error = *err;
    }
    if (batch->number == appended_in_order) {
        appended_in_order++;
    }
    first_of_last = append->first_sequence;
    if (--expected == 0) {
        finished();
    }
}

static struct batch batches[100];

struct appending {
    unsigned n, events_each;
};

static void append_batches(void *data)
{
    const struct appending *a = data;
    expected = a->n;
    appended_in_order = 0;
    for (unsigned i = 0; i < a->n; i++) {
        struct batch *batch = &batches[i];
        struct chassis_error err = {0};
        batch->number = i;
        for (unsigned k = 0; k < a->events_each; k++) {
            int n = snprintf(batch->text[k], sizeof batch->text[k], "event %u of batch %u", k, i);
            batch->events[k] = chassis_view(batch->text[k], (size_t)n);
        }
        batch->append = (struct cat_append){.events = batch->events,
                                            .n_events = a->events_each,
                                            .time_ns = 1700000000000000000 + i * 1000000000LL,
                                            .appended = appended};
        if (stream->ops->append(stream, &batch->append, &err) != 0) {
            appended(&batch->append, err.code, &err);
        }
    }
}

static void append(unsigned n, unsigned events_each)
{
    on_loop(append_batches, &(struct appending){n, events_each});
}

/* ---- reading ---- */

struct reading {
    struct cat_read read;
    uint64_t next, taken, take_max;
    int status;
    char first[64], last[64];
    bool in_order;
};
static struct reading reading;

static int take(struct cat_read *read, const struct cat_log_event *event)
{
    struct reading *r = (struct reading *)read;
    if (r->taken == r->take_max) {
        return 1;
    }
    char *text = r->taken == 0 ? r->first : r->last;
    snprintf(text, 64, "%.*s", (int)event->bytes.len, (const char *)event->bytes.data);
    r->in_order &= event->sequence == r->read.from + r->taken;
    r->taken++;
    return 0;
}

static void read_done(struct cat_read *read, int status, uint64_t next,
                      const struct chassis_error *err)
{
    struct reading *r = (struct reading *)read;
    r->status = status;
    r->next = next;
    if (err != NULL) {
        last_error = *err;
    }
    finished();
}

static void read_some(void *data)
{
    stream->ops->read(stream, &reading.read);
}

static void read_from(uint64_t from, uint32_t events_max, uint64_t take_max)
{
    memset(&reading, 0, sizeof reading);
    reading.in_order = true;
    reading.take_max = take_max;
    reading.read = (struct cat_read){.from = from,
                                     .events_max = events_max,
                                     .bytes_max = 1 << 20,
                                     .event = take,
                                     .done = read_done};
    on_loop(read_some, NULL);
    if (reading.status != 0 && reading.status != CHASSIS_NOT_FOUND) {
        fail_msg("%s", last_error.text);
    }
}

static struct cat_log_state state;

static void ask_state(void *data)
{
    state = stream->ops->state(stream);
    finished();
}

static uint64_t found_sequence;

static void found(void *data, int status, uint64_t sequence)
{
    last_status = status;
    found_sequence = sequence;
    finished();
}

static void find_time(void *data)
{
    stream->ops->at_time(stream, *(int64_t *)data, found, NULL);
}

static void trim_to(void *data)
{
    stream->ops->trim(stream, *(uint64_t *)data);
    finished();
}

/* ---- what every engine must do ---- */

static void stores_in_order_and_reads_back(void)
{
    stream_opened("orders.eu");
    on_loop(ask_state, NULL);
    assert_int_equal(state.last, 0);
    append(100, BATCH);
    assert_int_equal(last_status, 0);
    assert_int_equal(appended_in_order, 100);
    assert_int_equal(first_of_last, 991);
    on_loop(ask_state, NULL);
    assert_int_equal(state.first, 1);
    assert_int_equal(state.readable, 1000);

    read_from(1, 1000, 1000);
    assert_int_equal(reading.taken, 1000);
    assert_true(reading.in_order);
    assert_string_equal(reading.first, "event 0 of batch 0");
    assert_string_equal(reading.last, "event 9 of batch 99");
    assert_int_equal(reading.next, 1001);
    read_from(501, 100, 1000);
    assert_int_equal(reading.taken, 100);
    assert_string_equal(reading.first, "event 0 of batch 50");
    read_from(601, 100, 7); /* a reader that has no more room */
    assert_int_equal(reading.taken, 7);
    assert_int_equal(reading.next, 608);
    read_from(608, 1, 1);
    assert_string_equal(reading.first, "event 7 of batch 60");
    read_from(1001, 10, 10); /* nothing there yet */
    assert_int_equal(reading.taken, 0);
    assert_int_equal(reading.next, 1001);
    on_loop(close_stream, NULL);
}

static void keeps_everything_over_a_reopen(void)
{
    stream_opened("orders.eu");
    on_loop(ask_state, NULL);
    assert_int_equal(state.last, 1000);
    append(1, 1);
    assert_int_equal(first_of_last, 1001);
    read_from(1000, 10, 10);
    assert_int_equal(reading.taken, 2);
    on_loop(close_stream, NULL);
}

/* ---- JetStream ---- */

struct nats {
    pid_t pid;
    char directory[256], url[64], port[16];
};

static void nats_start(struct nats *nats)
{
    char *argv[] = {"nats-server", "-js",       "-sd", nats->directory,
                    "-a",          "127.0.0.1", "-p",  nats->port,
                    "-l",          NULL,        NULL};
    char log[300];
    snprintf(log, sizeof log, "%s/log", nats->directory);
    argv[9] = log;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    assert_int_equal(posix_spawnp(&nats->pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
}

static bool nats_answers(const struct nats *nats)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)atoi(nats->port))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    close(fd);
    return yes;
}

static void nats_stop(struct nats *nats, int how)
{
    kill(nats->pid, how);
    waitpid(nats->pid, NULL, 0);
}

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void nats_new(struct nats *nats)
{
    int port = free_port();
    test_tmpdir(nats->directory);
    snprintf(nats->port, sizeof nats->port, "%d", port);
    snprintf(nats->url, sizeof nats->url, "nats://127.0.0.1:%d", port);
    nats_start(nats);
    test_wait_until(nats_answers(nats));
    engine_opened("nats", nats->url);
}

static void nats_free(struct nats *nats)
{
    on_loop(close_engine, NULL);
    nats_stop(nats, SIGKILL);
    test_rmtree(nats->directory);
}

static void jetstream_keeps_events_in_order(void **unused)
{
    struct nats nats;
    nats_new(&nats);
    stores_in_order_and_reads_back();
    keeps_everything_over_a_reopen();
    nats_free(&nats);
}

static void jetstream_finds_a_time_and_drops_what_is_trimmed(void **unused)
{
    struct nats nats;
    nats_new(&nats);
    stream_opened("times");
    append(2, BATCH);
    int64_t long_ago = 1, far_away = INT64_MAX / 2;
    on_loop(find_time, &long_ago);
    assert_int_equal(found_sequence, 1);
    on_loop(find_time, &far_away);
    assert_int_equal(found_sequence, 21);
    uint64_t through = 5;
    on_loop(trim_to, &through);
    on_loop(ask_state, NULL);
    assert_int_equal(state.first, 6);
    read_from(3, 10, 10); /* runs after the trim */
    assert_int_equal(reading.status, CHASSIS_NOT_FOUND);
    read_from(6, 100, 100);
    assert_int_equal(reading.taken, 15);
    on_loop(destroy_stream, NULL);
    stream_opened("times"); /* a new one */
    on_loop(ask_state, NULL);
    assert_int_equal(state.last, 0);
    on_loop(close_stream, NULL);
    nats_free(&nats);
}

/* The server sends the rest of the stream while the place is known already. */
static void jetstream_finds_times_while_events_still_come(void **unused)
{
    struct nats nats;
    int64_t long_ago = 1;
    nats_new(&nats);
    stream_opened("many");
    for (unsigned i = 0; i < 20; i++) {
        append(100, BATCH);
    }
    for (unsigned i = 0; i < 100; i++) {
        on_loop(find_time, &long_ago);
        assert_int_equal(found_sequence, 1);
    }
    on_loop(close_stream, NULL);
    nats_free(&nats);
}

/* What was acknowledged before the server was killed is there afterwards; what is stored meanwhile is
 * either acknowledged by the new one or refused in so many words. */
static void jetstream_killed_and_back_loses_nothing_acknowledged(void **unused)
{
    struct nats nats;
    nats_new(&nats);
    stream_opened("killed");
    append(10, BATCH);
    nats_stop(&nats, SIGKILL);
    append(1, 1);
    int while_away = last_status;
    if (while_away != 0) {
        assert_non_null(strstr(last_error.text, "may have been stored"));
    }
    nats_start(&nats);
    test_wait_until(nats_answers(&nats));
    do { /* until the connection is back */
        append(1, 1);
    } while (last_status != 0);
    read_from(1, 1000, 1000);
    assert_true(reading.taken >= 101);
    assert_true(reading.in_order);
    on_loop(close_stream, NULL);
    nats_free(&nats);
}

static void no_server_is_an_error_that_names_it(void **unused)
{
    engine_opened("nats", "nats://127.0.0.1:1");
    on_loop(open_stream, "nowhere");
    assert_int_equal(last_status, CHASSIS_UNAVAILABLE);
    assert_non_null(strstr(last_error.text, "127.0.0.1:1"));
    on_loop(close_engine, NULL);
}

/* ---- Kafka ---- */

static void kafka_keeps_events_in_order(void **unused)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(host, 3);
    assert_int_equal(rd_kafka_mock_topic_create(cluster, "draft-orders.eu", 1, 3), 0);
    engine_opened("kafka", rd_kafka_mock_cluster_bootstraps(cluster));
    stores_in_order_and_reads_back();
    keeps_everything_over_a_reopen();
    on_loop(close_engine, NULL);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
}

static void kafka_finds_a_time(void **unused)
{
    char text[256];
    rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(host, 1);
    const int64_t begin = 1700000000000000000, second = 1000000000;
    assert_int_equal(rd_kafka_mock_topic_create(cluster, "draft-times", 1, 1), 0);
    engine_opened("kafka", rd_kafka_mock_cluster_bootstraps(cluster));
    stream_opened("times");
    append(3, BATCH); /* a second apart */
    on_loop(close_stream, NULL);
    stream_opened("times");
    on_loop(ask_state, NULL);
    assert_int_equal(state.first_time_ns, begin);
    assert_int_equal(state.last_time_ns, begin + 2 * second);
    struct {
        int64_t time_ns;
        uint64_t sequence;
    } cases[] = {{1, 1},
                 {begin, 1},
                 {begin + 1, 11},
                 {begin + second, 11},
                 {begin + 2 * second, 21},
                 {begin + 2 * second + 1, 31},
                 {INT64_MAX / 2, 31}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        on_loop(find_time, &cases[i].time_ns);
        assert_int_equal(last_status, 0);
        assert_int_equal(found_sequence, cases[i].sequence);
    }
    on_loop(close_stream, NULL);
    on_loop(close_engine, NULL);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
}

static void kafka_refuses_what_it_cannot_store(void **unused)
{
    char text[256];
    rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(host, 1);
    assert_int_equal(rd_kafka_mock_topic_create(cluster, "draft-refused", 1, 1), 0);
    engine_opened("kafka", rd_kafka_mock_cluster_bootstraps(cluster));
    stream_opened("refused");
    append(1, 1);
    assert_int_equal(last_status, 0);
    rd_kafka_mock_push_request_errors(cluster, 0 /* Produce */, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    append(1, 1);
    assert_int_equal(last_status, CHASSIS_PERMISSION_DENIED);
    on_loop(close_stream, NULL);
    on_loop(close_engine, NULL);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
}

/* ---- plugins ---- */

static void a_plugin_that_is_not_there_is_named(void **unused)
{
    const struct cat_engine_plugin_options options = {
        .version = CAT_ENGINE_PLUGIN_VERSION, .url = "", .loop = loop};
    struct chassis_error err = {0};
    assert_int_equal(
        cat_engine_load("/nonexistent", chassis_view_str("nats"), &options, &engine, &err),
        CHASSIS_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nonexistent/catalyst-engine-nats.so"));
    assert_int_equal(
        cat_engine_load("/nonexistent", chassis_view_str("../evil"), &options, &engine, &err),
        CHASSIS_INVALID_ARGUMENT);
}

static void a_plugin_of_another_version_is_refused(void **unused)
{
    const struct cat_engine_plugin_options options = {
        .version = CAT_ENGINE_PLUGIN_VERSION + 1, .url = "nats://127.0.0.1:1", .loop = loop};
    struct chassis_error err = {0};
    assert_int_equal(
        cat_engine_load(ENGINES_DIRECTORY, chassis_view_str("nats"), &options, &engine, &err),
        CHASSIS_BAD_VERSION);
}

static int start(void **unused)
{
    return chassis_os_thread_start("loop", &loop);
}

static int stop(void **unused)
{
    chassis_os_thread_stop(loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plugin_that_is_not_there_is_named),
        cmocka_unit_test(a_plugin_of_another_version_is_refused),
        cmocka_unit_test(no_server_is_an_error_that_names_it),
        cmocka_unit_test(jetstream_keeps_events_in_order),
        cmocka_unit_test(jetstream_finds_a_time_and_drops_what_is_trimmed),
        cmocka_unit_test(jetstream_finds_times_while_events_still_come),
        cmocka_unit_test(jetstream_killed_and_back_loses_nothing_acknowledged),
        cmocka_unit_test(kafka_keeps_events_in_order),
        cmocka_unit_test(kafka_finds_a_time),
        cmocka_unit_test(kafka_refuses_what_it_cannot_store),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
