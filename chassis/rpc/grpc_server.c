/* gRPC listeners: queues, armed methods, start and drain. */
#include <errno.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/fault.h"
#include "rpc/channel.h"
#include "rpc/grpc_call.h"
#include "rpc/hang_up.h"
#include "rpc/listen.h"

/* ---- armed calls ---- */

static void on_slot(struct rpc_tag *tag, bool ok);

static void slot_arm(struct rpc_slot *slot)
{
    /* Hands the slot over to the queue's thread: everything written before is seen there. */
    rpc_tag_set(&slot->tag, on_slot);
    grpc_server *server = slot->listener->server;
    grpc_completion_queue *cq = slot->queue->cq;
    grpc_call_error rc;
    if (slot->method == NULL) {
        rc = grpc_server_request_call(server, &slot->call, &slot->details, &slot->metadata, cq, cq,
                                      &slot->tag);
    } else {
        rc = grpc_server_request_registered_call(server, slot->registered, &slot->call,
                                                 &slot->deadline, &slot->metadata, &slot->payload,
                                                 cq, cq, &slot->tag);
    }
    CHASSIS_ASSERT(rc == GRPC_CALL_OK);
}

/* A call that came by the generic slot. */
static void on_generic(struct rpc_slot *slot, grpc_call *call)
{
    struct rpc_listener *l = slot->listener;
    struct chassis_view path = rpc_slice_view(&slot->details.method);
    const struct chassis_server_method *m = chassis_server_find(l->owner->server, path);
    if (m == NULL || (l->peer_only && m->access != CHASSIS_ACCESS_PEER)) {
        rpc_grpc_call_refuse(slot, call, path);
    } else {
        rpc_grpc_call_accept(slot, m, call, rpc_deadline_from(slot->details.deadline), NULL);
    }
    grpc_slice_unref(slot->details.method);
    grpc_slice_unref(slot->details.host);
    grpc_call_details_init(&slot->details);
}

static void on_slot(struct rpc_tag *tag, bool ok)
{
    struct rpc_slot *slot = chassis_container_of(tag, struct rpc_slot, tag);
    if (!ok) { /* the server shuts down: stays unarmed */
        rpc_grpc_release(slot->listener->owner);
        return;
    }
    grpc_call *call = slot->call;
    slot->call = NULL;
    if (slot->method == NULL) {
        on_generic(slot, call);
    } else {
        grpc_byte_buffer *payload = slot->payload;
        slot->payload = NULL;
        rpc_grpc_call_accept(slot, slot->method, call, rpc_deadline_from(slot->deadline), payload);
    }
    slot_arm(slot);
}

static struct rpc_slot *slot_new(struct rpc_listener *listener, struct rpc_queue *queue,
                                 const struct chassis_server_method *method, void *registered)
{
    struct rpc_slot *slot = chassis_base_zalloc(sizeof *slot);
    slot->listener = listener;
    slot->queue = queue;
    slot->method = method;
    slot->registered = registered;
    grpc_metadata_array_init(&slot->metadata);
    grpc_call_details_init(&slot->details);
    return slot;
}

static void slot_free(struct rpc_slot *slot)
{
    grpc_metadata_array_destroy(&slot->metadata);
    grpc_call_details_destroy(&slot->details);
    free(slot);
}

/* gRPC keeps a table of the registered methods for each connection, 160 bytes a method. It reads the
 * one message of their calls by itself, which is worth it for unary methods that are called much. */
static bool is_registered(const struct rpc_listener *l, const struct chassis_server_method *m)
{
    return m->method->kind == CHASSIS_UNARY && !m->rare &&
           (!l->peer_only || m->access == CHASSIS_ACCESS_PEER);
}

/* One slot of each registered method, and a generic one for the others, on every queue. */
static void listener_register(struct rpc_listener *l)
{
    struct rpc_grpc *grpc = l->owner;
    struct chassis_server *server = grpc->server;
    size_t max = (server->n_methods + 1) * grpc->n_queues;
    l->slots = chassis_base_zalloc(max * sizeof(void *));
    for (size_t i = 0; i < server->n_methods; i++) {
        const struct chassis_server_method *m = server->methods[i];
        if (!is_registered(l, m)) {
            continue;
        }
        void *registered = grpc_server_register_method(
            l->server, m->method->path, NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
        CHASSIS_ASSERT(registered != NULL);
        for (unsigned q = 0; q < grpc->n_queues; q++) {
            l->slots[l->n_slots++] = slot_new(l, grpc->queues[q], m, registered);
        }
    }
    for (unsigned q = 0; q < grpc->n_queues; q++) {
        l->slots[l->n_slots++] = slot_new(l, grpc->queues[q], NULL, NULL);
    }
}

/* ---- listeners ---- */

static grpc_arg arg_int(const char *key, int value)
{
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key};
    arg.value.integer = value;
    return arg;
}

static int clamp_int(size_t value)
{
    return value > INT32_MAX ? INT32_MAX : (int)value;
}

static grpc_server *server_create(const struct chassis_server_options *o)
{
    grpc_arg args[] = {
        arg_int(GRPC_ARG_ALLOW_REUSEPORT, 0), /* else two processes bind one port silently */
        arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, clamp_int(o->message_bytes_max)),
        arg_int(GRPC_ARG_MAX_METADATA_SIZE, clamp_int(o->metadata_bytes_max)),
        arg_int(GRPC_ARG_MAX_CONCURRENT_STREAMS, clamp_int(o->streams_max)),
        arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, clamp_int(o->keepalive_ms)),
        arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, clamp_int(o->keepalive_timeout_ms)),
        arg_int(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        arg_int(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        arg_int(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000),
        arg_int(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 5),
        arg_int(GRPC_ARG_ENABLE_CHANNELZ, 0),
        arg_int(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10000),
        arg_int(GRPC_ARG_HTTP2_BDP_PROBE, 0), /* else a ping and its answer for nearly every read */
        arg_int(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, RPC_WINDOW_BYTES),
    };
    grpc_channel_args all = {sizeof args / sizeof args[0], args};
    return grpc_server_create(&all, NULL);
}

static int listener_open(struct rpc_listener *l, const struct chassis_listener_options *o,
                         struct chassis_error *err)
{
    if (CHASSIS_FAULT("rpc.listen")) {
        return chassis_error_code(err, -EADDRINUSE, "listen on '%s'", o->address);
    }
    if (o->identity == NULL && !o->plaintext_beyond_loopback && !rpc_address_is_local(o->address)) {
        return chassis_error_set(
            err, CHASSIS_CONFIG,
            "listen on '%s': others could reach it in plaintext; give TLS files, "
            "bind to 127.0.0.1, or allow plaintext beyond loopback",
            o->address);
    }
    l->peer_only = o->peer_only;
    l->encrypted = o->identity != NULL;
    l->server = server_create(&l->owner->server->options);
    for (unsigned q = 0; q < l->owner->n_queues; q++) {
        grpc_server_register_completion_queue(l->server, l->owner->queues[q]->cq, NULL);
    }
    return rpc_listen(l->server, o, &l->listen, &l->port, err);
}

/* ---- life ---- */

static void on_shutdown(struct rpc_tag *tag, bool ok)
{
    struct rpc_listener *l = chassis_container_of(tag, struct rpc_listener, shutdown_tag);
    struct rpc_grpc *grpc = l->owner;
    pthread_mutex_lock(&grpc->lock);
    grpc->shut++;
    pthread_cond_broadcast(&grpc->changed);
    pthread_mutex_unlock(&grpc->lock);
    rpc_grpc_release(grpc);
}

void rpc_grpc_hold(struct rpc_grpc *grpc)
{
    pthread_mutex_lock(&grpc->lock);
    grpc->held++;
    pthread_mutex_unlock(&grpc->lock);
}

void rpc_grpc_release(struct rpc_grpc *grpc)
{
    pthread_mutex_lock(&grpc->lock);
    if (--grpc->held == 0) {
        pthread_cond_broadcast(&grpc->changed);
    }
    pthread_mutex_unlock(&grpc->lock);
}

static struct rpc_grpc *grpc_new(struct chassis_server *server)
{
    struct rpc_grpc *grpc = chassis_base_zalloc(sizeof *grpc);
    grpc->server = server;
    pthread_mutex_init(&grpc->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&grpc->changed, &attr);
    pthread_condattr_destroy(&attr);
    grpc->n_queues = server->options.n_queues;
    grpc->queues = chassis_base_zalloc(grpc->n_queues * sizeof(struct rpc_queue *));
    grpc->queues[0] = rpc_client_env_queue();
    for (unsigned q = 1; q < grpc->n_queues; q++) {
        grpc->queues[q] = chassis_base_zalloc(sizeof *grpc->queues[q]);
        rpc_queue_init(grpc->queues[q]);
    }
    grpc->listeners = chassis_base_zalloc(server->options.n_listeners * sizeof *grpc->listeners);
    return grpc;
}

int rpc_grpc_start(struct chassis_server *server, struct chassis_error *err)
{
    /* The first queue is the one client calls complete on: gRPC has one poller per process, and two
     * threads that wait for it hand the role, and each other's events, to and fro. */
    int rc = rpc_client_env_ref(err);
    if (rc != 0) {
        return rc;
    }
    struct rpc_grpc *grpc = grpc_new(server);
    for (unsigned i = 0; i < server->options.n_listeners; i++) {
        struct rpc_listener *l = &grpc->listeners[grpc->n_listeners++];
        l->owner = grpc;
        rpc_tag_set(&l->shutdown_tag, on_shutdown);
        rc = listener_open(l, &server->listeners[i], err);
        if (rc != 0) {
            rpc_grpc_free(grpc);
            return rc;
        }
        listener_register(l);
    }
    for (unsigned q = 1; q < grpc->n_queues; q++) {
        char name[16];
        snprintf(name, sizeof name, "cq%u", q % 1000);
        rc = rpc_queue_start(grpc->queues[q], name, err);
        if (rc != 0) {
            rpc_grpc_free(grpc);
            return rc;
        }
    }
    server->grpc = grpc;
    grpc->started = true;
    for (unsigned i = 0; i < grpc->n_listeners; i++) {
        struct rpc_listener *l = &grpc->listeners[i];
        grpc_server_start(l->server);
        l->started = true;
        for (size_t s = 0; s < l->n_slots; s++) {
            rpc_grpc_hold(grpc);
            slot_arm(l->slots[s]);
        }
    }
    return 0;
}

uint16_t rpc_grpc_port(const struct rpc_grpc *grpc, unsigned listener)
{
    return listener < grpc->n_listeners ? (uint16_t)grpc->listeners[listener].port : 0;
}

static void wait_shut(struct rpc_grpc *grpc, uint64_t grace_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(grace_ms / 1000);
    until.tv_nsec += (long)(grace_ms % 1000) * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&grpc->lock);
    int rc = 0;
    while (grpc->shut < grpc->n_listeners && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&grpc->changed, &grpc->lock, &until);
    }
    bool cancel = grpc->shut < grpc->n_listeners;
    pthread_mutex_unlock(&grpc->lock);
    for (unsigned i = 0; i < grpc->n_listeners && cancel; i++) {
        grpc_server_cancel_all_calls(grpc->listeners[i].server);
    }
    pthread_mutex_lock(&grpc->lock);
    while (grpc->shut < grpc->n_listeners) {
        pthread_cond_wait(&grpc->changed, &grpc->lock);
    }
    pthread_mutex_unlock(&grpc->lock);
}

/* ---- connections ---- */

struct round_trip {
    struct chassis_task task;
    struct rpc_grpc *grpc;
    bool done; /* under its lock */
};

static void round_trip_run(struct chassis_task *task)
{
    struct round_trip *trip = chassis_container_of(task, struct round_trip, task);
    struct rpc_grpc *grpc = trip->grpc;
    pthread_mutex_lock(&grpc->lock);
    trip->done = true;
    pthread_cond_broadcast(&grpc->changed);
    pthread_mutex_unlock(&grpc->lock);
}

/* What the queues' threads were about is done with: they may have been accepting. */
static void queues_settle(struct rpc_grpc *grpc)
{
    for (unsigned q = 0; q < grpc->n_queues; q++) {
        struct round_trip trip = {.task.run = round_trip_run, .grpc = grpc};
        chassis_post(&grpc->queues[q]->executor, &trip.task);
        pthread_mutex_lock(&grpc->lock);
        while (!trip.done) {
            pthread_cond_wait(&grpc->changed, &grpc->lock);
        }
        pthread_mutex_unlock(&grpc->lock);
    }
}

static void hang_up(struct rpc_grpc *grpc, uint64_t wait_ms)
{
    struct chassis_server *server = grpc->server;
    struct rpc_hang_up h = {0};
    struct chassis_error err = {0};
    int rc = 0;
    for (unsigned i = 0; i < grpc->n_listeners && rc == 0; i++) {
        rc = rpc_hang_up_listening(server->listeners[i].address, grpc->listeners[i].port, &err);
    }
    queues_settle(grpc);
    for (unsigned i = 0; i < grpc->n_listeners && rc == 0; i++) {
        rc = rpc_hang_up_connections(&h, server->listeners[i].address, grpc->listeners[i].port,
                                     &err);
    }
    if (rc != 0) {
        chassis_log_warn(server->log, "callers may see calls that come late as cancelled",
                         chassis_f_err(&err));
    }
    rpc_hang_up_fini(&h, wait_ms);
}

void rpc_grpc_drain(struct rpc_grpc *grpc, uint64_t grace_ms)
{
    if (grpc->n_listeners == 0 || !grpc->started) {
        return;
    }
    hang_up(grpc, grace_ms);
    for (unsigned i = 0; i < grpc->n_listeners; i++) {
        struct rpc_listener *l = &grpc->listeners[i];
        rpc_grpc_hold(grpc);
        grpc_server_shutdown_and_notify(l->server, grpc->queues[0]->cq, &l->shutdown_tag);
    }
    wait_shut(grpc, grace_ms);
}

void rpc_grpc_free(struct rpc_grpc *grpc)
{
    for (unsigned i = 0; i < grpc->n_listeners; i++) {
        struct rpc_listener *l = &grpc->listeners[i];
        if (l->server != NULL && !l->started) { /* opening failed half-way */
            rpc_grpc_hold(grpc);
            grpc_server_shutdown_and_notify(l->server, grpc->queues[0]->cq, &l->shutdown_tag);
        }
    }
    pthread_mutex_lock(&grpc->lock);
    while (grpc->held != 0) {
        pthread_cond_wait(&grpc->changed, &grpc->lock);
    }
    pthread_mutex_unlock(&grpc->lock);
    for (unsigned q = 1; q < grpc->n_queues; q++) {
        rpc_queue_fini(grpc->queues[q]);
        free(grpc->queues[q]);
    }
    for (unsigned i = 0; i < grpc->n_listeners; i++) {
        struct rpc_listener *l = &grpc->listeners[i];
        if (l->server != NULL) {
            grpc_server_destroy(l->server);
        }
        rpc_listen_free(l->listen);
        for (size_t s = 0; s < l->n_slots; s++) {
            slot_free(l->slots[s]);
        }
        free(l->slots);
    }
    rpc_grpc_pool_free(grpc);
    free(grpc->listeners);
    free(grpc->queues);
    pthread_mutex_destroy(&grpc->lock);
    pthread_cond_destroy(&grpc->changed);
    free(grpc);
    rpc_client_env_unref();
}
