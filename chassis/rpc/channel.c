#include "rpc/channel.h"

#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "os/os.h"

static struct {
    pthread_mutex_t lock;
    unsigned refs;
    struct rpc_queue *queue;
    struct rpc_channel *channels;
    struct chassis_list timers; /* by due time */
    _Atomic uint64_t next_ns;   /* due time of the first; UINT64_MAX = none */
    grpc_channel *lame;         /* never changes its state: watching it wakes the queue */
    struct rpc_tag wake_tag;
    bool waking;
} env = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- timers ---- */

/* Runs only to end the wait of the queue's thread. */
static void on_wake(struct rpc_tag *tag, bool ok)
{
    pthread_mutex_lock(&env.lock);
    env.waking = false;
    pthread_mutex_unlock(&env.lock);
}

/* The first timer changed: the queue's thread waits for another time now. Under the lock. */
static void first_changed(void)
{
    struct rpc_timer *first = chassis_list_empty(&env.timers)
                                  ? NULL
                                  : chassis_list_entry(env.timers.next, struct rpc_timer, link);
    atomic_store(&env.next_ns, first != NULL ? first->due_ns : UINT64_MAX);
    if (first != NULL && !env.waking && !rpc_client_on_queue()) {
        env.waking = true;
        rpc_tag_set(&env.wake_tag, on_wake);
        grpc_channel_watch_connectivity_state(
            env.lame, grpc_channel_check_connectivity_state(env.lame, 0),
            gpr_inf_past(GPR_CLOCK_MONOTONIC), env.queue->cq, &env.wake_tag);
    }
}

static void timer_insert(struct rpc_timer *timer, uint64_t due_ns)
{
    struct chassis_list *at = env.timers.prev; /* most are due last */
    while (at != &env.timers && chassis_list_entry(at, struct rpc_timer, link)->due_ns > due_ns) {
        at = at->prev;
    }
    timer->due_ns = due_ns;
    chassis_list_prepend(at, &timer->link);
    if (at == &env.timers) {
        first_changed();
    }
}

void rpc_timer_init(struct rpc_timer *timer, void (*run)(struct rpc_timer *timer))
{
    chassis_list_init(&timer->link);
    timer->run = run;
}

void rpc_timer_start(struct rpc_timer *timer, uint64_t due_ns)
{
    pthread_mutex_lock(&env.lock);
    timer_insert(timer, due_ns);
    pthread_mutex_unlock(&env.lock);
}

void rpc_timer_hurry(struct rpc_timer *timer)
{
    pthread_mutex_lock(&env.lock);
    if (!chassis_list_empty(&timer->link)) {
        chassis_list_remove(&timer->link);
        timer->due_ns = 0;
        chassis_list_prepend(&env.timers, &timer->link);
        first_changed();
    }
    pthread_mutex_unlock(&env.lock);
}

/* The first timer if it is due, taken off. (A queue that is being closed has none.) */
static struct rpc_timer *timer_due(void)
{
    struct rpc_timer *due = NULL;
    pthread_mutex_lock(&env.lock);
    if (rpc_client_on_queue() && !chassis_list_empty(&env.timers)) {
        struct rpc_timer *first = chassis_list_entry(env.timers.next, struct rpc_timer, link);
        if (first->due_ns <= chassis_os_monotonic_ns()) {
            due = first;
            chassis_list_remove(&due->link);
            first_changed();
        }
    }
    pthread_mutex_unlock(&env.lock);
    return due;
}

/* Between two tags: run what is due; when the next is. */
static uint64_t timers_run(void)
{
    uint64_t next_ns;
    while ((next_ns = atomic_load(&env.next_ns)) <= chassis_os_monotonic_ns()) {
        struct rpc_timer *due = timer_due();
        if (due == NULL) {
            return UINT64_MAX;
        }
        due->run(due);
    }
    return next_ns;
}

/* ---- life ---- */

static int env_open(struct chassis_error *err)
{
    rpc_grpc_ref();
    env.queue = chassis_base_zalloc(sizeof *env.queue);
    rpc_queue_init(env.queue);
    env.queue->timers = timers_run;
    env.lame = grpc_lame_client_channel_create("timer", GRPC_STATUS_UNAVAILABLE, "timer");
    chassis_list_init(&env.timers);
    atomic_store(&env.next_ns, UINT64_MAX);
    env.waking = false;
    return rpc_queue_start(env.queue, "cq0", err);
}

static void env_close(struct rpc_queue *queue, grpc_channel *lame)
{
    grpc_channel_destroy(lame);
    rpc_queue_fini(queue);
    free(queue);
    rpc_grpc_unref();
}

int rpc_client_env_ref(struct chassis_error *err)
{
    pthread_mutex_lock(&env.lock);
    int rc = env.refs == 0 ? env_open(err) : 0;
    if (rc == 0) {
        env.refs++;
    } else {
        struct rpc_queue *queue = env.queue;
        queue->timers = NULL;
        env.queue = NULL;
        env_close(queue, env.lame);
    }
    pthread_mutex_unlock(&env.lock);
    return rc;
}

struct last { /* what is left to do when the last user went */
    struct rpc_queue *queue;
    grpc_channel *lame;
};

static void *last_main(void *arg)
{
    struct last *last = arg;
    env_close(last->queue, last->lame);
    free(last);
    return NULL;
}

/* A thread cannot join itself: when the last client goes inside a callback, a detached one does. */
void rpc_client_env_unref(void)
{
    struct last *last = NULL;
    bool own = rpc_client_on_queue();
    pthread_mutex_lock(&env.lock);
    CHASSIS_ASSERT(env.refs > 0);
    if (--env.refs == 0) {
        CHASSIS_ASSERT(env.channels == NULL && chassis_list_empty(&env.timers));
        last = chassis_base_alloc(sizeof *last);
        last->queue = env.queue;
        last->lame = env.lame;
        env.queue = NULL;
    }
    pthread_mutex_unlock(&env.lock);
    if (last == NULL) {
        return;
    }
    if (!own) {
        last_main(last);
        return;
    }
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, last_main, last);
    CHASSIS_ASSERT(rc == 0);
    pthread_detach(thread);
}

grpc_completion_queue *rpc_client_queue(void)
{
    return env.queue->cq;
}

struct rpc_queue *rpc_client_env_queue(void)
{
    return env.queue;
}

bool rpc_client_on_queue(void)
{
    return env.queue != NULL && rpc_queue_current() == env.queue;
}

/* ---- channels ---- */

static grpc_arg arg_int(const char *key, int value)
{
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key};
    arg.value.integer = value;
    return arg;
}

static grpc_arg arg_string(const char *key, const char *value)
{
    grpc_arg arg = {.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key};
    arg.value.string = (char *)(uintptr_t)value;
    return arg;
}

static const char *pem(const struct chassis_buf *buf)
{
    return buf->len != 0 ? (const char *)buf->data : NULL;
}

static grpc_channel *channel_create(const struct rpc_channel_options *o)
{
    char target[512];
    grpc_arg args[16];
    size_t n = 0;
    args[n++] = arg_int(GRPC_ARG_ENABLE_RETRIES, 0); /* ours: with a budget, to another endpoint */
    args[n++] = arg_int(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
    /* Also how long one attempt to connect may take: a TLS handshake on a busy machine needs more
     * than the 50 ms between attempts. */
    args[n++] = arg_int(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
    args[n++] = arg_int(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
    args[n++] = arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
    args[n++] = arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
    args[n++] = arg_int(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    args[n++] = arg_int(GRPC_ARG_ENABLE_CHANNELZ, 0);
    args[n++] = arg_int(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    args[n++] = arg_int(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    args[n++] = arg_int(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, RPC_WINDOW_BYTES);
    args[n++] = arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
                        o->response_bytes_max > INT32_MAX ? INT32_MAX : (int)o->response_bytes_max);
    if (o->server_name != NULL && o->tls != NULL) {
        args[n++] = arg_string(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, o->server_name);
    }
    grpc_channel_credentials *credentials;
    if (o->tls != NULL) {
        grpc_ssl_pem_key_cert_pair pair = {pem(&o->tls->key), pem(&o->tls->certificate)};
        credentials = grpc_ssl_credentials_create_ex(
            pem(&o->tls->ca), pair.private_key != NULL ? &pair : NULL, NULL, NULL);
    } else {
        credentials = grpc_insecure_credentials_create();
    }
    /* "dns:///" so that the peer of a call that reached no connection ("dns:///…") differs from that
     * of one that did ("ipv4:…"). */
    bool plain = strncmp(o->address, "unix:", 5) == 0;
    snprintf(target, sizeof target, "%s%s", plain ? "" : "dns:///", o->address);
    grpc_channel_args all = {n, args};
    grpc_channel *channel = grpc_channel_create(target, credentials, &all);
    grpc_channel_credentials_release(credentials);
    return channel;
}

struct rpc_channel *rpc_channel_acquire(const struct rpc_channel_options *o)
{
    struct chassis_buf key = {0};
    chassis_buf_printf(&key, "%s|%llu|%s|%zu", o->address,
                       o->tls != NULL ? (unsigned long long)o->tls->generation : 0,
                       o->server_name != NULL ? o->server_name : "", o->response_bytes_max);
    pthread_mutex_lock(&env.lock);
    struct rpc_channel *c = env.channels;
    while (c != NULL && strcmp(c->key, (const char *)key.data) != 0) {
        c = c->next;
    }
    if (c == NULL) {
        c = chassis_base_zalloc(sizeof *c);
        c->key = chassis_base_strdup((const char *)key.data);
        c->channel = channel_create(o);
        c->next = env.channels;
        env.channels = c;
    }
    c->refs++;
    pthread_mutex_unlock(&env.lock);
    chassis_buf_fini(&key);
    return c;
}

void rpc_channel_release(struct rpc_channel *channel)
{
    pthread_mutex_lock(&env.lock);
    bool last = --channel->refs == 0;
    if (last) {
        struct rpc_channel **at = &env.channels;
        while (*at != channel) {
            at = &(*at)->next;
        }
        *at = channel->next;
    }
    pthread_mutex_unlock(&env.lock);
    if (last) {
        grpc_channel_destroy(channel->channel);
        free(channel->key);
        free(channel);
    }
}
