#include "rpc/grpc_env.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <chassis/log.h>

#include "base/assert.h"
#include "base/fault.h"
#include "os/os.h"
#include "proto/message.h"
#include "rpc/burst.h"

static void log_from_grpc(gpr_log_func_args *args)
{
    enum chassis_log_level level = args->severity == GPR_LOG_SEVERITY_ERROR  ? CHASSIS_LOG_WARN
                                   : args->severity == GPR_LOG_SEVERITY_INFO ? CHASSIS_LOG_DEBUG
                                                                             : CHASSIS_LOG_TRACE;
    if (strcmp(args->message, "Failed accept4: Invalid argument") == 0) {
        level = CHASSIS_LOG_DEBUG; /* no longer a listening socket: our doing (hang_up.h) */
    }
    chassis_log_at(chassis_log_module("rpc.grpc"), level, args->message,
                   chassis_f_str("file", args->file), chassis_f_i64("line", args->line));
}

/* Debian builds Abseil with its checks of the order of locks: a tenth of what a message costs in gRPC.
 * They are for whoever works on gRPC; a build without them, or with another name for the switch, has
 * nothing to turn off. OnDeadlockCycle::kIgnore is 0. */
static void skip_lock_order_checks(void)
{
    void (*set_mode)(int) = NULL;
    void *found = dlsym(RTLD_DEFAULT,
                        "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE");
    memcpy(&set_mode, &found, sizeof set_mode);
    if (set_mode != NULL) {
        set_mode(0);
    }
}

/* Names are resolved by the system (getaddrinfo on a helper thread), as everything else on the
 * machine does it; c-ares costs memory and leaks some. A choice made in the environment stands. */
static void set_up_once(void)
{
    setenv("GRPC_DNS_RESOLVER", "native", 0);
    gpr_set_log_function(log_from_grpc);
    skip_lock_order_checks();
}

void rpc_grpc_ref(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up_once);
    grpc_init();
}

void rpc_grpc_unref(void)
{
    grpc_shutdown();
}

/* ---- queues ---- */

static void queue_ring(struct rpc_queue *queue);

enum { IN_A_ROW = 256 };

static void tag_run(struct rpc_tag *tag, bool ok)
{
    rpc_tag_fn run = atomic_load_explicit(&tag->run, memory_order_acquire);
    run(tag, ok);
}

/* The completion gRPC kept for this thread since the cache was set up; NULL if there is none. */
static struct rpc_tag *cached(struct rpc_queue *queue)
{
    void *got = NULL;
    int success = 0;
    if (!grpc_completion_queue_thread_local_cache_flush(queue->cq, &got, &success)) {
        return NULL;
    }
    struct rpc_tag *tag = got;
    tag->ok = success != 0;
    return tag;
}

static void aside_put(struct rpc_queue *queue, struct rpc_tag *tag)
{
    tag->next = NULL;
    *queue->aside_last = tag;
    queue->aside_last = &tag->next;
}

static struct rpc_tag *aside_get(struct rpc_queue *queue)
{
    struct rpc_tag *tag = queue->aside;
    if (tag != NULL) {
        queue->aside = tag->next;
        queue->aside_last = queue->aside != NULL ? queue->aside_last : &queue->aside;
    }
    return tag;
}

/* What a tag starts is often complete when it returns (a write the socket took at once). gRPC keeps
 * the first such completion of a thread in a cache if asked to: taking it from there saves the way
 * through the queue and the wake-up of its poller. After some in a row the queue has its turn. */
static void run_chain(struct rpc_queue *queue, struct rpc_tag *tag, bool ok)
{
    for (unsigned n = 0; tag != NULL; n++) {
        if (n < IN_A_ROW) {
            grpc_completion_queue_thread_local_cache_init(queue->cq);
        }
        tag_run(tag, ok);
        struct rpc_tag *completed = cached(queue); /* always: rpc_queue_take sets it up again */
        if (completed != NULL) {
            aside_put(queue, completed);
        }
        tag = aside_get(queue);
        ok = tag != NULL && tag->ok;
    }
}

/* A turn: what one completion led to, then what that deferred. */
static void run_on(struct rpc_queue *queue, struct rpc_tag *tag, bool ok)
{
    struct chassis_queue tasks;
    struct chassis_task *task;
    while (tag != NULL) {
        run_chain(queue, tag, ok);
        chassis_queue_take_all(&tasks, &queue->deferred);
        while ((task = chassis_queue_pop(&tasks)) != NULL) {
            task->run(task);
            struct rpc_tag *completed = cached(queue);
            if (completed != NULL) {
                aside_put(queue, completed);
            }
        }
        if (queue->deferred.n != 0) { /* by those: it has its turn by way of the queue */
            queue_ring(queue);
        }
        tag = aside_get(queue);
        ok = tag != NULL && tag->ok;
    }
}

bool rpc_queue_take(struct rpc_queue *queue, struct rpc_tag *tag, bool *ret_ok)
{
    struct rpc_tag *completed = cached(queue);
    grpc_completion_queue_thread_local_cache_init(queue->cq);
    if (completed == tag) {
        *ret_ok = tag->ok;
        return true;
    }
    if (completed != NULL) {
        aside_put(queue, completed);
    }
    return false;
}

static _Thread_local struct rpc_queue *current;

struct rpc_queue *rpc_queue_current(void)
{
    return current;
}

/* ---- tasks of other roles ---- */

static void ring_locked(struct rpc_queue *queue)
{
    if (!queue->rung) {
        queue->rung = true;
        grpc_call_error rc = grpc_call_start_batch(queue->bell, NULL, 0, &queue->bell_tag, NULL);
        CHASSIS_ASSERT(rc == GRPC_CALL_OK);
    }
}

static void queue_ring(struct rpc_queue *queue)
{
    pthread_mutex_lock(&queue->inbox_lock);
    ring_locked(queue);
    pthread_mutex_unlock(&queue->inbox_lock);
}

static void queue_post(struct chassis_executor *ex, struct chassis_task *task)
{
    struct rpc_queue *queue = chassis_container_of(ex, struct rpc_queue, executor);
    pthread_mutex_lock(&queue->inbox_lock);
    CHASSIS_ASSERT(!task->queued);
    chassis_queue_push(&queue->inbox, task);
    ring_locked(queue); /* afterwards the task may run, and lead to the queue's end */
    pthread_mutex_unlock(&queue->inbox_lock);
}

static void on_dispatch(struct rpc_tag *tag, bool ok)
{
    struct rpc_queue *queue = chassis_container_of(tag, struct rpc_queue, dispatch_tag);
    struct chassis_task *task = queue->dispatched;
    CHASSIS_ASSERT(!task->queued);
    task->run(task);
}

static bool inbox_empty(struct rpc_queue *queue)
{
    pthread_mutex_lock(&queue->inbox_lock);
    bool empty = queue->inbox.n == 0 && queue->handed == NULL;
    pthread_mutex_unlock(&queue->inbox_lock);
    return empty;
}

/* Run what is due; when the next is. What that left for the queue has its turn by way of the bell: its
 * thread is about to wait, or is not this one. */
static uint64_t run_timers(struct rpc_queue *queue)
{
    uint64_t next_ns = queue->timers != NULL ? queue->timers() : UINT64_MAX;
    struct rpc_tag *completed = cached(queue);
    if (completed != NULL) {
        aside_put(queue, completed);
    }
    if (queue->aside != NULL || queue->deferred.n != 0) {
        queue_ring(queue);
    }
    return next_ns;
}

/* Run a turn of the queue here while its thread waits. Not on the thread of another one: gRPC's cache
 * of a thread is for one queue. */
static void queue_dispatch(struct chassis_executor *ex, struct chassis_task *task)
{
    struct rpc_queue *queue = chassis_container_of(ex, struct rpc_queue, executor);
    if (current != NULL || pthread_mutex_trylock(&queue->role) != 0) {
        queue_post(ex, task);
        return;
    }
    if (!inbox_empty(queue)) { /* it has its place behind those */
        queue_post(ex, task);
        pthread_mutex_unlock(&queue->role);
        return;
    }
    current = queue;
    queue->dispatched = task;
    run_on(queue, &queue->dispatch_tag, true);
    if (run_timers(queue) < queue->until_ns) {
        queue_ring(queue); /* its thread would wait too long */
    }
    current = NULL;
    pthread_mutex_unlock(&queue->role);
}

static void queue_defer(struct chassis_executor *ex, struct chassis_task *task)
{
    struct rpc_queue *queue = chassis_container_of(ex, struct rpc_queue, executor);
    CHASSIS_ASSERT(rpc_queue_current() == queue);
    if (!task->queued) {
        chassis_queue_push(&queue->deferred, task);
    }
}

bool rpc_queue_start_batch(struct rpc_queue *queue, grpc_call *call, const grpc_op *ops, size_t n,
                           struct rpc_tag *tag, bool *ret_ok)
{
    bool here = queue != NULL && rpc_queue_current() == NULL;
    if (here) {
        grpc_completion_queue_thread_local_cache_init(queue->cq);
    }
    grpc_call_error rc = grpc_call_start_batch(call, ops, n, tag, NULL);
    CHASSIS_ASSERT(rc == GRPC_CALL_OK);
    struct rpc_tag *completed = here ? cached(queue) : NULL;
    if (completed == tag && here) {
        *ret_ok = tag->ok;
        return true;
    }
    if (completed != NULL) { /* gRPC did somebody else's work as well: that is the queue's */
        completed->next = NULL;
        pthread_mutex_lock(&queue->inbox_lock);
        *queue->handed_last = completed;
        queue->handed_last = &completed->next;
        ring_locked(queue);
        pthread_mutex_unlock(&queue->inbox_lock);
    }
    return false;
}

static void on_bell(struct rpc_tag *tag, bool ok)
{
    struct rpc_queue *queue = chassis_container_of(tag, struct rpc_queue, bell_tag);
    struct chassis_queue tasks;
    struct chassis_task *task;
    pthread_mutex_lock(&queue->inbox_lock);
    queue->rung = false;
    chassis_queue_take_all(&tasks, &queue->inbox);
    struct rpc_tag *handed = queue->handed, *next;
    queue->handed = NULL;
    queue->handed_last = &queue->handed;
    pthread_mutex_unlock(&queue->inbox_lock);
    for (; handed != NULL; handed = next) {
        next = handed->next;
        aside_put(queue, handed);
    }
    while ((task = chassis_queue_pop(&tasks)) != NULL) {
        if (tasks.n != 0) {
            rpc_burst_begin();
        } else {
            rpc_burst_last();
        }
        task->run(task);
        struct rpc_tag *completed = cached(queue);
        if (completed != NULL) {
            aside_put(queue, completed);
        }
        grpc_completion_queue_thread_local_cache_init(queue->cq);
    }
    rpc_burst_end();
}

static uint64_t queue_now_ns(struct chassis_executor *ex)
{
    return chassis_os_monotonic_ns();
}

static bool queue_is_current(struct chassis_executor *ex)
{
    return rpc_queue_current() == chassis_container_of(ex, struct rpc_queue, executor);
}

static const struct chassis_executor_ops queue_ops = {.post = queue_post,
                                                      .dispatch = queue_dispatch,
                                                      .defer = queue_defer,
                                                      .now_ns = queue_now_ns,
                                                      .is_current = queue_is_current};

static void bell_open(struct rpc_queue *queue)
{
    queue->executor = (struct chassis_executor){&queue_ops, "cq"};
    pthread_mutex_init(&queue->inbox_lock, NULL);
    chassis_queue_init(&queue->inbox);
    chassis_queue_init(&queue->deferred);
    queue->rung = false;
    queue->handed = NULL;
    queue->handed_last = &queue->handed;
    queue->lame = grpc_lame_client_channel_create("bell", GRPC_STATUS_UNAVAILABLE, "bell");
    queue->bell = grpc_channel_create_call(queue->lame, NULL, 0, queue->cq,
                                           grpc_slice_from_static_string("/bell"), NULL,
                                           gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    rpc_tag_set(&queue->bell_tag, on_bell);
    rpc_tag_set(&queue->dispatch_tag, on_dispatch);
}

static void *queue_main(void *arg)
{
    struct rpc_queue *queue = arg;
    current = queue;
    pthread_mutex_lock(&queue->role);
    for (;;) {
        queue->until_ns = run_timers(queue);
        pthread_mutex_unlock(&queue->role);
        grpc_event ev = grpc_completion_queue_next(queue->cq, rpc_deadline(queue->until_ns), NULL);
        pthread_mutex_lock(&queue->role);
        if (ev.type == GRPC_QUEUE_SHUTDOWN) {
            break;
        }
        if (ev.type == GRPC_OP_COMPLETE) {
            run_on(queue, ev.tag, ev.success != 0);
        }
    }
    pthread_mutex_unlock(&queue->role);
    current = NULL;
    return NULL;
}

static void *queue_thread(void *arg)
{
    chassis_os_short_slice();
    return queue_main(arg);
}

void rpc_queue_init(struct rpc_queue *queue)
{
    queue->cq = grpc_completion_queue_create_for_next(NULL);
    queue->running = false;
    queue->timers = NULL;
    pthread_mutex_init(&queue->role, NULL);
    queue->aside = NULL;
    queue->aside_last = &queue->aside;
    bell_open(queue);
}

int rpc_queue_start(struct rpc_queue *queue, const char *name, struct chassis_error *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = CHASSIS_FAULT("rpc.thread")
                 ? EAGAIN
                 : pthread_create(&queue->thread, NULL, queue_thread, queue);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        return chassis_error_code(err, -rc, "start thread '%s'", name);
    }
    pthread_setname_np(queue->thread, name);
    queue->running = true;
    return 0;
}

void rpc_queue_fini(struct rpc_queue *queue)
{
    pthread_mutex_lock(&queue->role); /* whose turn led here may still be about to ring */
    pthread_mutex_unlock(&queue->role);
    grpc_call_unref(queue->bell);
    grpc_channel_destroy(queue->lame);
    grpc_completion_queue_shutdown(queue->cq);
    if (queue->running) {
        pthread_join(queue->thread, NULL);
    } else {
        queue_main(queue);
    }
    grpc_completion_queue_destroy(queue->cq);
    pthread_mutex_destroy(&queue->inbox_lock);
    pthread_mutex_destroy(&queue->role);
}

/* ---- addresses ---- */

static bool host_is_local(const char *host)
{
    struct in_addr a4;
    struct in6_addr a6;
    if (strcmp(host, "localhost") == 0) {
        return true;
    }
    if (inet_pton(AF_INET, host, &a4) == 1) {
        return ntohl(a4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, host, &a6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&a6) || (IN6_IS_ADDR_V4MAPPED(&a6) && a6.s6_addr[12] == 127);
    }
    return false;
}

bool rpc_address_is_local(const char *address)
{
    char host[256];
    if (strncmp(address, "unix:", 5) == 0 || strncmp(address, "unix-abstract:", 14) == 0) {
        return true;
    }
    const char *colon = strrchr(address, ':');
    size_t n = colon != NULL ? (size_t)(colon - address) : strlen(address);
    if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
        address++;
        n -= 2;
    }
    if (n >= sizeof host) {
        return false;
    }
    memcpy(host, address, n);
    host[n] = '\0';
    return host_is_local(host);
}

/* "ipv4:127.0.0.1:50312", "ipv6:[::1]:50312" or "ipv6:%5B::1%5D:50312", "unix:…" */
bool rpc_peer_is_local(const char *peer_uri)
{
    char host[256];
    if (strncmp(peer_uri, "ipv4:", 5) == 0) {
        return rpc_address_is_local(peer_uri + 5);
    }
    if (strncmp(peer_uri, "ipv6:", 5) == 0) {
        const char *from = peer_uri + 5;
        from += strncmp(from, "%5B", 3) == 0 ? 3 : from[0] == '[' ? 1 : 0;
        size_t n = strcspn(from, "%]");
        if (n >= sizeof host) {
            return false;
        }
        memcpy(host, from, n);
        host[n] = '\0';
        return host_is_local(host);
    }
    return strncmp(peer_uri, "unix", 4) == 0;
}

/* ---- bytes ---- */

void rpc_bytes_init(struct rpc_bytes *bytes, grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_reader reader;
    bytes->slice = grpc_empty_slice();
    if (buffer != NULL && grpc_byte_buffer_reader_init(&reader, buffer)) {
        grpc_slice *first = NULL;
        if (buffer->data.raw.slice_buffer.count == 1 &&
            grpc_byte_buffer_reader_peek(&reader, &first)) {
            bytes->slice = grpc_slice_ref(*first);
        } else {
            bytes->slice = grpc_byte_buffer_reader_readall(&reader);
        }
        grpc_byte_buffer_reader_destroy(&reader);
    }
    bytes->view = rpc_slice_view(&bytes->slice);
}

void rpc_bytes_fini(struct rpc_bytes *bytes)
{
    grpc_slice_unref(bytes->slice);
}

grpc_slice rpc_slice_of(const void *message, struct chassis_view encoded)
{
    if (message == NULL) {
        return grpc_slice_from_copied_buffer((const char *)encoded.data, encoded.len);
    }
    grpc_slice slice = grpc_slice_malloc(chassis_message_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    return slice;
}

/* ---- time ---- */

gpr_timespec rpc_deadline(uint64_t monotonic_ns)
{
    if (monotonic_ns == UINT64_MAX) {
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    }
    uint64_t now = chassis_os_monotonic_ns();
    int64_t left = monotonic_ns > now ? (int64_t)(monotonic_ns - now) : 0;
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(left, GPR_TIMESPAN));
}

uint64_t rpc_deadline_from(gpr_timespec deadline)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
        return UINT64_MAX;
    }
    gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
    if (gpr_time_cmp(left, gpr_time_0(GPR_TIMESPAN)) <= 0) {
        return 0;
    }
    if (left.tv_sec > 365LL * 86400) {
        return UINT64_MAX;
    }
    return chassis_os_monotonic_ns() + (uint64_t)left.tv_sec * CHASSIS_NS_PER_S +
           (uint64_t)left.tv_nsec;
}
