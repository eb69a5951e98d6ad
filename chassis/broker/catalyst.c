/* The broker "catalyst": opening, connections, closing. */
#include <stdio.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/internal.h"

struct loop_call {
    struct chassis_task task;
    struct catalyst_broker *broker;
    void (*fn)(struct catalyst_broker *, void *);
    void *data;
};

static void run_loop_call(struct chassis_task *task)
{
    struct loop_call *call = chassis_container_of(task, struct loop_call, task);
    call->fn(call->broker, call->data);
    free(call);
}

void broker_on_loop(struct catalyst_broker *b, void (*fn)(struct catalyst_broker *, void *),
                    void *data)
{
    struct loop_call *call = chassis_base_zalloc(sizeof *call);
    call->task.run = run_loop_call;
    call->broker = b;
    call->fn = fn;
    call->data = data;
    chassis_post(b->loop, &call->task);
}

void broker_wait(struct catalyst_broker *b, struct broker_backoff *backoff, const char *what,
                 int code, const char *text)
{
    /* Full jitter: Brooker, "Exponential Backoff And Jitter", AWS 2015. */
    uint64_t ceiling = b->backoff_min_ms;
    for (unsigned i = 0; i < backoff->attempt && ceiling < b->backoff_max_ms; i++) {
        ceiling *= 2;
    }
    ceiling = ceiling < b->backoff_max_ms ? ceiling : b->backoff_max_ms;
    if (!backoff->complained && (backoff->attempt > 0 || code != 0)) {
        backoff->complained = true;
        chassis_log_warn(b->log, "broken off: trying again", chassis_f_str("what", what),
                         chassis_f_str("url", b->url), chassis_f_code(code),
                         chassis_f_str("text", text));
    }
    backoff->attempt++;
    chassis_post_after(b->loop, &backoff->timer,
                       1 + chassis_prng_below(&b->prng, ceiling * CHASSIS_NS_PER_MS));
}

void broker_connected(struct catalyst_broker *b, struct broker_backoff *backoff, const char *what)
{
    if (backoff->complained) {
        chassis_log_info(b->log, "connected again", chassis_f_str("what", what),
                         chassis_f_str("url", b->url));
    }
    backoff->complained = false;
    backoff->attempt = 0;
}

void broker_stream_opened(struct catalyst_broker *b)
{
    b->streams++;
}

static void check_quiet(struct catalyst_broker *b)
{
    if (b->clients_freed && b->streams == 0) {
        pthread_mutex_lock(&b->mutex);
        b->quiet = true;
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->mutex);
    }
}

void broker_stream_closed(struct catalyst_broker *b)
{
    CHASSIS_ASSERT(b->streams > 0);
    b->streams--;
    check_quiet(b);
}

/* --- opening --- */

/* "http://host:port,…", "host:port" or a registered name. */
int chassis_broker_target(const char *url, char *out, size_t size, struct chassis_error *err)
{
    size_t n = 0;
    bool name = strchr(url, ':') == NULL;
    if (url[0] == '\0' || strlen(url) + sizeof "draft:///" > size) {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "brokers.catalyst.url '%s': must be "
                                 "http://host:port or a registered name",
                                 url);
    }
    if (name || strncmp(url, "draft://", 8) == 0) {
        snprintf(out, size, "%s%s", name ? "draft:///" : "", url);
        return 0;
    }
    for (const char *p = url; *p != '\0';) {
        size_t len = strcspn(p, ",");
        const char *end = p + len, *scheme = strstr(p, "://");
        const char *host = scheme != NULL && scheme < end ? scheme + 3 : p;
        size_t host_len = strcspn(host, "/,");
        if (host_len == 0 || memchr(host, ':', host_len) == NULL) {
            return chassis_error_set(err, CHASSIS_CONFIG,
                                     "brokers.catalyst.url '%s': must be http://host:port", url);
        }
        n += (size_t)snprintf(out + n, size - n, "%s%.*s", n != 0 ? "," : "", (int)host_len, host);
        p = end + (*end == ',');
    }
    return 0;
}

static void broker_free(struct catalyst_broker *b)
{
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->mutex);
    free(b->url);
    free(b->service);
    free(b->source);
    free(b);
}

static void init_metrics(struct catalyst_broker *b)
{
    b->published = chassis_counter("chassis_broker_published_total",
                                   "Events acknowledged by the broker.", NULL, 0);
    b->refused =
        chassis_counter("chassis_broker_refused_total",
                        "Events the broker refused, or that were not acknowledged.", NULL, 0);
    b->received =
        chassis_counter("chassis_broker_received_total", "Events handed to handlers.", NULL, 0);
    b->failed = chassis_counter("chassis_broker_handler_failures_total",
                                "Events whose handler did not return 0.", NULL, 0);
    b->waiting = chassis_gauge("chassis_broker_outbox_events",
                               "Events published and not acknowledged yet.", NULL, 0);
}

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static void close_broker(struct chassis_broker *broker, uint64_t flush_ms);

static int open_broker(const struct chassis_broker_options *o, struct chassis_broker **ret_broker,
                       struct chassis_error *err)
{
    static const struct chassis_broker_ops ops = {.publish = publisher_publish,
                                                  .subscribe = subscription_open,
                                                  .unsubscribe = subscription_close,
                                                  .close = close_broker};
    char target[1024], source[300];
    uint64_t seed;
    pthread_condattr_t monotonic;
    int rc = chassis_broker_target(o->url, target, sizeof target, err);
    if (rc != 0) {
        return rc;
    }
    struct catalyst_broker *b = chassis_base_zalloc(sizeof *b);
    b->broker.ops = &ops;
    b->loop = o->loop;
    b->workers = o->workers;
    b->log = chassis_log_module("broker");
    b->url = chassis_base_strdup(o->url);
    b->service = chassis_base_strdup(o->service);
    snprintf(source, sizeof source, "/%s", o->service);
    b->source = chassis_base_strdup(source);
    b->backoff_min_ms = or_default(o->backoff_min_ms, 100);
    b->backoff_max_ms = or_default(o->backoff_max_ms, 5000);
    b->outbox_events_max = (uint32_t)or_default(o->outbox_events_max, 8192);
    b->outbox_bytes_max = or_default(o->outbox_bytes_max, 16 << 20);
    chassis_base_random_bytes(&seed, sizeof seed);
    chassis_prng_init(&b->prng, seed);
    pthread_mutex_init(&b->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&b->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    chassis_list_init(&b->subscriptions);
    publisher_init(b);
    init_metrics(b);
    struct chassis_client_options client = {
        .target = target,
        .tls = o->tls,
        .resolver = o->resolver,
        .executor = o->loop,
        .attempts_max = 1, /* trying again is done here */
    };
    rc = chassis_client_new(&client, &b->client, err);
    if (rc != 0) {
        broker_free(b);
        return chassis_error_wrap(err, "brokers.catalyst.url '%s'", o->url);
    }
    *ret_broker = &b->broker;
    return 0;
}

const struct chassis_broker_plugin chassis_broker_catalyst = {.kind = "catalyst",
                                                              .open = open_broker};

/* --- closing --- */

/* Until everything published is acknowledged and the subscriptions have said their last. */
static void wait_flushed(struct catalyst_broker *b, uint64_t flush_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + flush_ms * CHASSIS_NS_PER_MS;
    until.tv_sec += (time_t)(ns / CHASSIS_NS_PER_S);
    until.tv_nsec = (long)(ns % CHASSIS_NS_PER_S);
    pthread_mutex_lock(&b->mutex);
    while ((b->events != 0 || b->subscribed != 0) &&
           pthread_cond_timedwait(&b->changed, &b->mutex, &until) == 0) {
    }
    uint32_t left = b->events;
    b->closing = true;
    pthread_mutex_unlock(&b->mutex);
    if (left != 0) {
        chassis_log_warn(b->log, "closing before everything published was acknowledged",
                         chassis_f_u64("events", left), chassis_f_str("url", b->url));
    }
}

/* A step on the loop that the closing thread waits for. */
struct step {
    void (*fn)(struct catalyst_broker *b);
    bool done;
};

static void run_step(struct catalyst_broker *b, void *data)
{
    struct step *step = data;
    step->fn(b);
    pthread_mutex_lock(&b->mutex);
    step->done = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->mutex);
}

static void do_step(struct catalyst_broker *b, void (*fn)(struct catalyst_broker *b))
{
    struct step step = {.fn = fn};
    broker_on_loop(b, run_step, &step);
    pthread_mutex_lock(&b->mutex);
    while (!step.done) {
        pthread_cond_wait(&b->changed, &b->mutex);
    }
    pthread_mutex_unlock(&b->mutex);
}

static void halt(struct catalyst_broker *b)
{
    b->halted = true;
    publisher_halt(b);
    subscriptions_halt(b);
}

static void freed(struct catalyst_broker *b)
{
    b->clients_freed = true;
    check_quiet(b);
}

static void fail_rest(struct catalyst_broker *b)
{
    publisher_fail_all(b, CHASSIS_SHUTTING_DOWN);
    subscriptions_free(b);
}

static void close_broker(struct chassis_broker *broker, uint64_t flush_ms)
{
    struct catalyst_broker *b = chassis_container_of(broker, struct catalyst_broker, broker);
    CHASSIS_ASSERT(!chassis_is_current(b->loop));
    do_step(b, subscriptions_refuse);
    subscriptions_quiesce(b); /* what the last handlers publish is flushed, too */
    do_step(b, subscriptions_stop);
    wait_flushed(b, flush_ms);
    do_step(b, halt);
    chassis_client_free(b->client); /* the last callbacks run on the loop */
    do_step(b, freed);
    pthread_mutex_lock(&b->mutex);
    while (!b->quiet) {
        pthread_cond_wait(&b->changed, &b->mutex);
    }
    pthread_mutex_unlock(&b->mutex);
    do_step(b, fail_rest);
    broker_free(b);
}
