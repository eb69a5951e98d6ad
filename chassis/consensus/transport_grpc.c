#include "consensus/transport_grpc.h"

#include <pthread.h>
#include <stdlib.h>

#include <chassis/call.h>

#include "base/assert.h"
#include "base/prng.h"
#include "consensus/hello.h"

#define PEER_SERVICE "draft.cluster.v1.PeerService"
#define PEER_PATH    "/" PEER_SERVICE "/Frames"
enum { BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 1000, HANDSHAKE_MS = 3000 };

enum outbound_state { OUT_IDLE, OUT_CONNECTING, OUT_UP };
/* What this node sends to one peer. Loop. */
struct outbound {
    struct grpc_transport *t;
    const struct chassis_consensus_member *member;
    struct chassis_client *client;
    struct chassis_client_stream *stream;
    enum outbound_state state;
    uint64_t session, backoff_ms;
    struct hello hello;
    struct chassis_timer timer; /* the next try, or the end of patience with a handshake */
    bool complained;
};
/* What one peer sends to this node; in the call's arena. Messages come one at a time, but the end
 * may come beside them: `ended` is changed under lock, and whoever set it ends the call. */
struct inbound {
    struct grpc_transport *t;
    bool greeted, ended;
    struct hello hello;
};
/* A frame on its way to the loop. */
struct arrival {
    struct chassis_task task;
    struct grpc_transport *t;
    uint64_t peer, boot, session;
    struct chassis_buf data;
};
struct grpc_transport {
    struct chassis_transport base;
    struct chassis_transport_grpc_options options;
    struct chassis_logger *log;
    /* Set by start, before `serving`; constant afterwards. */
    struct chassis_transport_self self;
    struct chassis_buf secret;
    const struct chassis_transport_events *events;
    void *data;
    /* Loop. */
    struct outbound out[CHASSIS_CONSENSUS_NODES_MAX];
    uint64_t newest_boot[CHASSIS_CONSENSUS_NODES_MAX], newest_session[CHASSIS_CONSENSUS_NODES_MAX];
    struct chassis_prng prng;
    bool stopping;
    void (*stopped)(void *data);
    void *stopped_data;
    struct chassis_task stop_task;
    /* Under lock. */
    pthread_mutex_t lock;
    bool serving;
};

/* --- sending ----------------------------------------------------------------------------------- */

static void connect_now(struct outbound *o);

static void connect_later(struct outbound *o)
{
    uint64_t ms = o->backoff_ms / 2 + chassis_prng_below(&o->t->prng, o->backoff_ms / 2 + 1);
    o->backoff_ms = o->backoff_ms * 2 < BACKOFF_MAX_MS ? o->backoff_ms * 2 : BACKOFF_MAX_MS;
    chassis_post_after(o->t->self.loop, &o->timer, ms * CHASSIS_NS_PER_MS);
}

static void stop_if_done(struct grpc_transport *t)
{
    for (unsigned i = 0; i < t->self.n_members; i++) {
        if (t->out[i].stream != NULL) {
            return;
        }
    }
    if (t->stopping && t->stopped != NULL) {
        void (*stopped)(void *) = t->stopped;
        t->stopped = NULL;
        stopped(t->stopped_data);
    }
}

static void on_welcome(struct outbound *o, struct chassis_view encoded)
{
    struct hello got, expected = o->hello;
    struct chassis_error err = {0};
    expected.welcome = true;
    expected.to = o->t->self.id;
    int rc = hello_decode(encoded, &expected, chassis_buf_view(&o->t->secret), &got, &err);
    if (rc == 0 &&
        (got.from != o->member->id || memcmp(got.nonce, o->hello.nonce, sizeof got.nonce) != 0)) {
        rc = chassis_error_set(&err, CHASSIS_PERMISSION_DENIED, "the answer is not to our hello");
    }
    rc = rc != 0 ? rc : o->t->events->admit(o->t->data, o->member->id, got.boot, &err);
    if (rc != 0) {
        chassis_log_warn(o->t->log, "a peer was refused", chassis_f_str("peer", o->member->name),
                         chassis_f_err(&err));
        chassis_stream_cancel(o->stream);
        return;
    }
    chassis_cancel(o->t->self.loop, &o->timer);
    o->state = OUT_UP;
    o->backoff_ms = BACKOFF_FIRST_MS;
    o->complained = false;
    o->t->events->up(o->t->data, o->member->id, got.boot, got.version);
}

static void on_message(struct chassis_client_stream *stream, const void *message,
                       struct chassis_view encoded, void *data)
{
    struct outbound *o = data;
    if (o->state == OUT_CONNECTING && !o->t->stopping) {
        on_welcome(o, encoded);
    }
}

static void on_writable(struct chassis_client_stream *stream, void *data)
{
    struct outbound *o = data;
    if (o->state == OUT_UP && !o->t->stopping) {
        o->t->events->writable(o->t->data, o->member->id);
    }
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct outbound *o = data;
    bool was_up = o->state == OUT_UP;
    o->stream = NULL;
    o->state = OUT_IDLE;
    chassis_cancel(o->t->self.loop, &o->timer);
    if (o->t->stopping) {
        stop_if_done(o->t);
        return;
    }
    if (was_up || !o->complained) {
        o->complained = true; /* once per outage, not once per try */
        chassis_log_warn(o->t->log, "no connection to a peer",
                         chassis_f_str("peer", o->member->name),
                         chassis_f_str("address", o->member->address), chassis_f_code(status->code),
                         chassis_f_str("reason", status->text));
    }
    if (was_up) {
        o->t->events->down(o->t->data, o->member->id);
    }
    connect_later(o);
}

static const struct chassis_stream_handlers stream_handlers = {
    .message = on_message, .writable = on_writable, .closed = on_closed};

static void connect_now(struct outbound *o)
{
    struct grpc_transport *t = o->t;
    struct chassis_error err = {0};
    uint8_t bytes[HELLO_LEN];
    o->hello = (struct hello){.from = t->self.id,
                              .to = o->member->id,
                              .boot = t->self.boot,
                              .session = ++o->session,
                              .version = t->self.version};
    memcpy(o->hello.cluster_id, t->self.cluster_id, sizeof t->self.cluster_id);
    chassis_base_random_bytes(o->hello.nonce, sizeof o->hello.nonce);
    hello_encode(&o->hello, chassis_buf_view(&t->secret), bytes);
    int rc =
        chassis_stream_open_path(o->client, PEER_PATH, NULL, &stream_handlers, o, &o->stream, &err);
    if (rc != 0) {
        o->stream = NULL;
        chassis_log_warn(t->log, "cannot open a stream to a peer",
                         chassis_f_str("peer", o->member->name), chassis_f_err(&err));
        connect_later(o);
        return;
    }
    o->state = OUT_CONNECTING;
    chassis_post_after(t->self.loop, &o->timer, HANDSHAKE_MS * CHASSIS_NS_PER_MS);
    (void)chassis_stream_send_bytes(o->stream, chassis_view(bytes, sizeof bytes));
}

static void on_timer(struct chassis_timer *timer)
{
    struct outbound *o = chassis_container_of(timer, struct outbound, timer);
    if (o->t->stopping) {
        return;
    }
    if (o->state == OUT_IDLE) {
        connect_now(o);
    } else if (o->state == OUT_CONNECTING) {
        chassis_stream_cancel(o->stream);
    }
}

static int transport_send(struct chassis_transport *base, uint64_t peer, struct chassis_buf *frame)
{
    struct grpc_transport *t = (struct grpc_transport *)base;
    struct outbound *o = &t->out[peer - 1];
    if (o->state != OUT_UP || t->stopping) {
        return CHASSIS_UNAVAILABLE;
    }
    int rc = chassis_stream_send_bytes(o->stream, chassis_buf_view(frame));
    if (rc == 0) {
        chassis_buf_fini(frame);
    }
    return rc == 0 || rc == CHASSIS_RESOURCE_EXHAUSTED ? rc : CHASSIS_UNAVAILABLE;
}

/* --- receiving --------------------------------------------------------------------------------- */

static void on_arrival(struct chassis_task *task)
{
    struct arrival *a = chassis_container_of(task, struct arrival, task);
    struct grpc_transport *t = a->t;
    uint64_t *boot = &t->newest_boot[a->peer - 1], *session = &t->newest_session[a->peer - 1];
    bool old = a->boot < *boot || (a->boot == *boot && a->session < *session);
    if (!old && !t->stopping) {
        *boot = a->boot;
        *session = a->session;
        t->events->frame(t->data, a->peer, chassis_buf_view(&a->data));
    }
    chassis_buf_fini(&a->data);
    free(a);
}

static bool inbound_may_end(struct inbound *in)
{
    pthread_mutex_lock(&in->t->lock);
    bool first = !in->ended;
    in->ended = true;
    pthread_mutex_unlock(&in->t->lock);
    return first;
}

static int check_hello(struct grpc_transport *t, struct chassis_view data, struct hello *ret_hello,
                       struct chassis_error *err)
{
    struct hello expected = {0};
    pthread_mutex_lock(&t->lock);
    bool serving = t->serving;
    pthread_mutex_unlock(&t->lock);
    if (!serving) {
        return chassis_error_set(err, CHASSIS_UNAVAILABLE,
                                 "this node does not take part yet or any more");
    }
    expected.to = t->self.id;
    memcpy(expected.cluster_id, t->self.cluster_id, sizeof expected.cluster_id);
    int rc = hello_decode(data, &expected, chassis_buf_view(&t->secret), ret_hello, err);
    if (rc == 0 && (ret_hello->from == 0 || ret_hello->from > t->self.n_members ||
                    ret_hello->from == t->self.id)) {
        rc = chassis_error_set(err, CHASSIS_PERMISSION_DENIED, "node %llu is no other member",
                               (unsigned long long)ret_hello->from);
    }
    return rc != 0 ? rc : t->events->admit(t->data, ret_hello->from, ret_hello->boot, err);
}

static void inbound_hello(struct inbound *in, struct chassis_call *call, struct chassis_view data)
{
    struct grpc_transport *t = in->t;
    struct chassis_error err = {0};
    uint8_t bytes[HELLO_LEN];
    int rc = check_hello(t, data, &in->hello, &err);
    if (rc != 0) {
        if (rc != CHASSIS_UNAVAILABLE) {
            chassis_log_warn(t->log, "a stranger was refused",
                             chassis_f_str("address", chassis_call_peer(call)->address),
                             chassis_f_err(&err));
        }
        if (inbound_may_end(in)) {
            chassis_call_fail_error(call, &err);
        }
        return;
    }
    struct hello welcome = in->hello;
    welcome.welcome = true;
    welcome.from = t->self.id;
    welcome.to = in->hello.from;
    welcome.boot = t->self.boot;
    welcome.version = t->self.version;
    in->greeted = true;
    hello_encode(&welcome, chassis_buf_view(&t->secret), bytes);
    (void)chassis_call_send_bytes(call, chassis_view(bytes, sizeof bytes));
}

static void peer_message(const void *handlers, struct chassis_call *call, const void *request)
{
    struct inbound *in = chassis_call_state(call);
    const struct chassis_view *data = request;
    if (!in->greeted) {
        inbound_hello(in, call, *data);
        return;
    }
    pthread_mutex_lock(&in->t->lock);
    bool serving = in->t->serving;
    if (serving) { /* under the lock, so that nothing is posted once stop has begun */
        struct arrival *a = chassis_base_zalloc(sizeof *a);
        a->t = in->t;
        a->peer = in->hello.from;
        a->boot = in->hello.boot;
        a->session = in->hello.session;
        chassis_buf_append_view(&a->data, *data);
        a->task.run = on_arrival;
        chassis_post(in->t->self.loop, &a->task);
    }
    pthread_mutex_unlock(&in->t->lock);
    if (!serving && inbound_may_end(in)) {
        chassis_call_fail(call, CHASSIS_UNAVAILABLE, "this node does not take part any more");
    }
}

static void peer_end(const void *handlers, struct chassis_call *call, const void *request)
{
    if (inbound_may_end(chassis_call_state(call))) {
        chassis_call_finish(call);
    }
}

static void peer_cancelled(struct chassis_call *call, void *data)
{
    if (inbound_may_end(data)) {
        chassis_call_fail(call, CHASSIS_CANCELLED, "the peer is gone");
    }
}

static void peer_open(const void *handlers, struct chassis_call *call, const void *request)
{
    struct inbound *in = chassis_arena_zalloc(chassis_call_arena(call), sizeof *in);
    CHASSIS_ASSERT(in != NULL); /* the first allocation of the call's arena */
    in->t = (struct grpc_transport *)(uintptr_t)handlers;
    chassis_call_set_state(call, in);
    chassis_call_on_cancel(call, peer_cancelled, in);
}

static bool peer_present(const void *handlers)
{
    return true;
}

static const struct chassis_method peer_method = {
    .name = "Frames", .path = PEER_PATH, .service = PEER_SERVICE, .kind = CHASSIS_BIDI_STREAM};
static const struct chassis_method_binding peer_binding = {&peer_method, peer_open, peer_message,
                                                           peer_end, peer_present};
static const struct chassis_service_type peer_type = {
    .name = PEER_SERVICE, .methods = &peer_binding, .n_methods = 1};
static const struct chassis_method_options peer_options[] = {
    {.method = "Frames", .access = CHASSIS_ACCESS_PEER, .never_blocks = true}, {.method = NULL}};

struct chassis_service chassis_transport_grpc_service(struct chassis_transport *transport)
{
    return (struct chassis_service){
        .type = &peer_type, .handlers = transport, .options = peer_options, .data = transport};
}

/* --- life -------------------------------------------------------------------------------------- */

static int transport_start(struct chassis_transport *base,
                           const struct chassis_transport_self *self,
                           const struct chassis_transport_events *events, void *data,
                           struct chassis_error *err)
{
    struct grpc_transport *t = (struct grpc_transport *)base;
    uint64_t seed;
    chassis_base_random_bytes(&seed, sizeof seed);
    chassis_prng_init(&t->prng, seed);
    t->self = *self;
    chassis_buf_append_view(&t->secret, self->secret);
    t->events = events;
    t->data = data;
    for (unsigned i = 0; i < self->n_members; i++) {
        struct outbound *o = &t->out[i];
        o->t = t;
        o->member = &self->members[i];
        o->backoff_ms = BACKOFF_FIRST_MS;
        o->timer.run = on_timer;
        if (o->member->id == self->id) {
            continue;
        }
        struct chassis_client_options co = {.target = o->member->address,
                                            .tls = t->options.tls,
                                            .executor = self->loop,
                                            .cluster_secret_file = t->options.cluster_secret_file};
        int rc = chassis_client_new(&co, &o->client, err);
        if (rc != 0) {
            return chassis_error_wrap(err, "peer '%s'", o->member->name);
        }
        connect_now(o);
    }
    pthread_mutex_lock(&t->lock);
    t->serving = true;
    pthread_mutex_unlock(&t->lock);
    return 0;
}

static void on_stop(struct chassis_task *task)
{
    stop_if_done(chassis_container_of(task, struct grpc_transport, stop_task));
}

static void transport_stop(struct chassis_transport *base, void (*stopped)(void *data), void *data)
{
    struct grpc_transport *t = (struct grpc_transport *)base;
    t->stopping = true;
    t->stopped = stopped;
    t->stopped_data = data;
    pthread_mutex_lock(&t->lock);
    t->serving = false;
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < t->self.n_members; i++) {
        chassis_cancel(t->self.loop, &t->out[i].timer);
        if (t->out[i].stream != NULL) {
            chassis_stream_half_close(t->out[i].stream); /* what was sent still arrives */
            chassis_stream_cancel(t->out[i].stream);
        }
    }
    t->stop_task.run = on_stop;
    chassis_post(t->self.loop, &t->stop_task);
}

static const struct chassis_transport_ops transport_ops = {
    .start = transport_start, .send = transport_send, .stop = transport_stop};

struct chassis_transport *
chassis_transport_grpc_new(const struct chassis_transport_grpc_options *options)
{
    struct grpc_transport *t = chassis_base_zalloc(sizeof *t);
    t->base.ops = &transport_ops;
    t->options = *options;
    t->log = options->log != NULL ? options->log : chassis_log_module("consensus");
    pthread_mutex_init(&t->lock, NULL);
    return &t->base;
}

void chassis_transport_grpc_free(struct chassis_transport *transport)
{
    struct grpc_transport *t = (struct grpc_transport *)transport;
    if (t == NULL) {
        return;
    }
    for (unsigned i = 0; i < CHASSIS_CONSENSUS_NODES_MAX; i++) {
        chassis_client_free(t->out[i].client);
    }
    chassis_buf_fini(&t->secret);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
