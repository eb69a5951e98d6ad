#include "rig.h"

#include <google/protobuf/wrappers.pb-c.h>

/* ---- the probe service ---- */

atomic_uint probe_calls, probe_cancels, probe_sent, probe_refused, probe_bytes_peak;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct chassis_call *parked[64];
static unsigned n_parked;
static struct chassis_peer last_peer;
static char last_name[128];

unsigned probe_parked(void)
{
    pthread_mutex_lock(&lock);
    unsigned n = n_parked;
    pthread_mutex_unlock(&lock);
    return n;
}

/* Answered where the call's own work is done: many at a time leave together. */
struct release {
    struct chassis_task task;
    struct chassis_call *call;
};

static _Thread_local unsigned released_here;

static void release_run(struct chassis_task *task)
{
    const struct release *r = chassis_container_of(task, struct release, task);
    released_here++;
    chassis_call_reply_bytes(r->call, chassis_view_str("released"));
}

struct chassis_executor *probe_parked_on(void)
{
    pthread_mutex_lock(&lock);
    struct chassis_executor *executor = chassis_call_executor(parked[0]);
    pthread_mutex_unlock(&lock);
    return executor;
}

static void release_by(void (*pass)(struct chassis_executor *ex, struct chassis_task *task))
{
    for (;;) {
        pthread_mutex_lock(&lock);
        struct chassis_call *call = n_parked != 0 ? parked[--n_parked] : NULL;
        pthread_mutex_unlock(&lock);
        if (call == NULL) {
            return;
        }
        struct release *r = chassis_arena_zalloc(chassis_call_arena(call), sizeof *r);
        r->task.run = release_run;
        r->call = call;
        pass(chassis_call_executor(call), &r->task);
    }
}

void probe_release(void)
{
    release_by(chassis_post);
}

unsigned probe_release_here(void)
{
    unsigned before = released_here;
    release_by(chassis_dispatch);
    return released_here - before;
}

static void park_cancelled(struct chassis_call *call, void *data)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < n_parked; i++) {
        if (parked[i] == call) {
            parked[i] = parked[--n_parked];
            found = true;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    if (found) {
        atomic_fetch_add(&probe_cancels, 1);
        chassis_call_fail(call, CHASSIS_CANCELLED, "cancelled");
    }
}

static void park(const void *handlers, struct chassis_call *call, const void *request)
{
    atomic_fetch_add(&probe_calls, 1);
    pthread_mutex_lock(&lock);
    assert_true(n_parked < 64);
    parked[n_parked++] = call;
    pthread_mutex_unlock(&lock);
    chassis_call_on_cancel(call, park_cancelled, NULL);
}

void probe_last_peer(struct chassis_peer *ret, char name[128])
{
    pthread_mutex_lock(&lock);
    *ret = last_peer;
    memcpy(name, last_name, sizeof last_name);
    pthread_mutex_unlock(&lock);
}

static void echo(const void *handlers, struct chassis_call *call, const void *request)
{
    const struct chassis_view *raw = request;
    const char *header = chassis_call_metadata(call, "x-probe");
    atomic_fetch_add(&probe_calls, 1);
    const struct chassis_peer *peer = chassis_call_peer(call);
    pthread_mutex_lock(&lock);
    last_peer = *peer;
    snprintf(last_name, sizeof last_name, "%s", peer->name);
    pthread_mutex_unlock(&lock);
    chassis_call_set_trailer(call, "x-trace", chassis_view_str(chassis_call_trace_id(call)));
    if (header != NULL) {
        chassis_call_set_header(call, "x-probe-back", chassis_view_str(header));
    }
    chassis_call_reply_bytes(call, *raw);
}

/* Fails with the status named by the request ("14") and one detail. */
static void fail_as_asked(const void *handlers, struct chassis_call *call, const void *request)
{
    const struct chassis_view *raw = request;
    char text[16];
    atomic_fetch_add(&probe_calls, 1);
    snprintf(text, sizeof text, "%.*s", CHASSIS_VIEW_ARG(*raw));
    Google__Protobuf__StringValue detail = GOOGLE__PROTOBUF__STRING_VALUE__INIT;
    detail.value = "detail of it";
    chassis_call_add_detail(call, &detail);
    chassis_call_fail(call, chassis_status_from_grpc(atoi(text)), "failed with %s as asked", text);
}

/* Sends 1 KiB messages until refused, then waits for room; 64 MiB in all. */
enum { FLOOD = 65536 };
static void flood_on(struct chassis_call *call, void *data)
{
    static const uint8_t kilobyte[1024];
    unsigned *n = data;
    while (*n < FLOOD) {
        int rc = chassis_call_send_bytes(call, chassis_view(kilobyte, sizeof kilobyte));
        unsigned queued = (unsigned)chassis_call_queued_bytes(call);
        if (queued > atomic_load(&probe_bytes_peak)) {
            atomic_store(&probe_bytes_peak, queued);
        }
        if (rc == CHASSIS_RESOURCE_EXHAUSTED) {
            atomic_fetch_add(&probe_refused, 1);
            return;
        }
        if (rc != 0) {
            break;
        }
        ++*n;
        atomic_fetch_add(&probe_sent, 1);
    }
    chassis_call_finish(call);
}

static void flood_cancelled(struct chassis_call *call, void *data)
{
    atomic_fetch_add(&probe_cancels, 1);
    chassis_call_fail(call, CHASSIS_CANCELLED, "cancelled");
}

static void flood(const void *handlers, struct chassis_call *call, const void *request)
{
    unsigned *n = chassis_arena_zalloc(chassis_call_arena(call), sizeof *n);
    chassis_call_on_cancel(call, flood_cancelled, NULL);
    chassis_call_on_writable(call, flood_on, n);
    flood_on(call, n);
}

static void chat_message(const void *handlers, struct chassis_call *call, const void *request)
{
    chassis_call_send_bytes(call, *(const struct chassis_view *)request);
}
static void chat_end(const void *handlers, struct chassis_call *call, const void *request)
{
    chassis_call_finish(call);
}
/* Answers the first message, then ends the call while the client has more to say. */
static void refuse_message(const void *handlers, struct chassis_call *call, const void *request)
{
    chassis_call_send_bytes(call, chassis_view_str("one answer"));
    chassis_call_fail(call, CHASSIS_ABORTED, "refused '%.*s'",
                      CHASSIS_VIEW_ARG(*(const struct chassis_view *)request));
}
static void sum_message(const void *handlers, struct chassis_call *call, const void *request)
{
    size_t *sum = chassis_call_state(call);
    if (sum == NULL) {
        sum = chassis_arena_zalloc(chassis_call_arena(call), sizeof *sum);
        chassis_call_set_state(call, sum);
    }
    *sum += ((const struct chassis_view *)request)->len;
}
static void sum_end(const void *handlers, struct chassis_call *call, const void *request)
{
    const size_t *sum = chassis_call_state(call);
    char text[32];
    snprintf(text, sizeof text, "%zu", sum != NULL ? *sum : 0);
    chassis_call_reply_bytes(call, chassis_view_str(text));
}

/* Encoded, typed as a StringValue: answered with the bytes that came. */
static void bytes(const void *handlers, struct chassis_call *call, const void *request)
{
    assert_null(request);
    chassis_call_reply_bytes(call, chassis_call_encoded(call));
}

/* Gathers what comes in a turn and answers it in a deferred task, each with "<message>/<turn>"; the
 * burst is corked. Everything on the call's executor. */
struct gather {
    struct chassis_task task;
    struct chassis_call *call;
    unsigned n, turn;
    bool over;
    char texts[512][16];
};
static void gather_flush(struct chassis_task *task)
{
    struct gather *g = chassis_container_of(task, struct gather, task);
    g->turn++;
    chassis_call_cork(g->call);
    for (unsigned i = 0; i < g->n; i++) {
        char text[40];
        snprintf(text, sizeof text, "%s/%u", g->texts[i], g->turn);
        assert_int_equal(chassis_call_send_bytes(g->call, chassis_view_str(text)), 0);
    }
    g->n = 0;
    if (g->over) {
        chassis_call_finish(g->call);
    }
    chassis_call_uncork(g->call);
}
static void gather_open(const void *handlers, struct chassis_call *call, const void *request)
{
    struct gather *g = chassis_arena_zalloc(chassis_call_arena(call), sizeof *g);
    g->call = call;
    g->task.run = gather_flush;
    chassis_call_set_state(call, g);
}
static void gather_message(const void *handlers, struct chassis_call *call, const void *request)
{
    struct gather *g = chassis_call_state(call);
    assert_null(request);
    assert_true(g->n < 512);
    snprintf(g->texts[g->n++], sizeof g->texts[0], "%.*s",
             CHASSIS_VIEW_ARG(chassis_call_encoded(call)));
    chassis_defer(chassis_call_executor(call), &g->task);
}
static void gather_end(const void *handlers, struct chassis_call *call, const void *request)
{
    struct gather *g = chassis_call_state(call);
    g->over = true;
    chassis_defer(chassis_call_executor(call), &g->task);
}

#define SERVICE "draft.test.Probe"
#define METHOD(n, k)                                                                               \
    {                                                                                              \
        .name = n, .path = "/" SERVICE "/" n, .service = SERVICE, .kind = k                        \
    }
#define TYPED(n, k)                                                                                \
    {                                                                                              \
        .name = n, .path = "/" SERVICE "/" n, .service = SERVICE, .kind = k,                       \
        .request = (const void *)&google__protobuf__string_value__descriptor                       \
    }
static const struct chassis_method methods[] = {
    METHOD("Echo", CHASSIS_UNARY),         METHOD("Fail", CHASSIS_UNARY),
    METHOD("Park", CHASSIS_UNARY),         METHOD("Flood", CHASSIS_SERVER_STREAM),
    METHOD("Chat", CHASSIS_BIDI_STREAM),   METHOD("Sum", CHASSIS_CLIENT_STREAM),
    METHOD("Operate", CHASSIS_UNARY),      METHOD("Peer", CHASSIS_UNARY),
    METHOD("Service", CHASSIS_UNARY),      METHOD("Small", CHASSIS_UNARY),
    METHOD("Refuse", CHASSIS_BIDI_STREAM), TYPED("Bytes", CHASSIS_UNARY),
    TYPED("Gather", CHASSIS_BIDI_STREAM),  METHOD("Rare", CHASSIS_UNARY),
};
static const struct chassis_method_binding bindings[] = {
    {.method = &methods[0], .message = echo},
    {.method = &methods[1], .message = fail_as_asked},
    {.method = &methods[2], .message = park},
    {.method = &methods[3], .message = flood},
    {.method = &methods[4], .message = chat_message, .end = chat_end},
    {.method = &methods[5], .message = sum_message, .end = sum_end},
    {.method = &methods[6], .message = echo},
    {.method = &methods[7], .message = echo},
    {.method = &methods[8], .message = echo},
    {.method = &methods[9], .message = echo},
    {.method = &methods[10], .message = refuse_message},
    {.method = &methods[11], .message = bytes},
    {.method = &methods[12], .open = gather_open, .message = gather_message, .end = gather_end},
    {.method = &methods[13], .message = park},
};
static const struct chassis_service_type type = {
    .name = SERVICE, .methods = bindings, .n_methods = sizeof methods / sizeof methods[0]};
static const struct chassis_method_options method_options[] = {
    {.method = "Operate", .access = CHASSIS_ACCESS_OPERATOR},
    {.method = "Peer", .access = CHASSIS_ACCESS_PEER},
    {.method = "Service", .access = CHASSIS_ACCESS_SERVICE},
    {.method = "Small", .request_bytes_max = 100, .never_blocks = true},
    {.method = "Flood", .never_blocks = true},
    {.method = "Bytes", .encoded = true},
    {.method = "Gather", .encoded = true, .never_blocks = true},
    {.method = "Rare", .rare = true},
    {.method = NULL},
};

struct chassis_service probe_service(void)
{
    return (struct chassis_service){.type = &type, .options = method_options};
}

/* ---- server and client ---- */

void rig_start(struct rig *rig, struct chassis_server_options options)
{
    struct chassis_error err = {0};
    const struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    *rig = (struct rig){0};
    assert_int_equal(chassis_os_pool_start("worker", 4, 1024, &rig->pool), 0);
    options.workers = chassis_os_pool_executor(rig->pool);
    if (options.listeners == NULL) {
        options.listeners = &listener;
        options.n_listeners = 1;
    }
    if (chassis_server_new(&options, &rig->server, &err) != 0 ||
        chassis_server_add(rig->server, probe_service(), &err) != 0 ||
        chassis_server_start(rig->server, &err) != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
    chassis_server_set_serving(rig->server, "", true);
    snprintf(rig->address, sizeof rig->address, "localhost:%u",
             chassis_server_port(rig->server, 0));
    if (options.listeners[0].identity == NULL) {
        rig->client = rig_client(rig, (struct chassis_client_options){0});
    }
    atomic_store(&probe_calls, 0);
    atomic_store(&probe_cancels, 0);
    atomic_store(&probe_sent, 0);
    atomic_store(&probe_refused, 0);
    atomic_store(&probe_bytes_peak, 0);
}

struct chassis_client *rig_client(const struct rig *rig, struct chassis_client_options options)
{
    struct chassis_error err = {0};
    struct chassis_client *client = NULL;
    if (options.target == NULL) {
        options.target = rig->address;
    }
    if (chassis_client_new(&options, &client, &err) != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
    return client;
}

void rig_stop(struct rig *rig)
{
    chassis_client_free(rig->client);
    chassis_server_free(rig->server);
    chassis_os_pool_stop(rig->pool);
}

/* ---- results ---- */

void result_init(struct result *r)
{
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
}

void on_reply(const struct chassis_reply *reply, void *data)
{
    struct result *r = data;
    pthread_mutex_lock(&r->lock);
    const char *trailer = reply->trailer(reply, "x-trace");
    const char *header = reply->trailer(reply, "x-probe-back");
    r->code = reply->code;
    snprintf(r->text, sizeof r->text, "%s", reply->text);
    snprintf(r->trailer, sizeof r->trailer, "%s", trailer != NULL ? trailer : "");
    if (reply->encoded.len != 0) {
        snprintf(r->first, sizeof r->first, "%.*s", CHASSIS_VIEW_ARG(reply->encoded));
    }
    if (header != NULL) {
        snprintf(r->details, sizeof r->details, "%s", header);
    }
    if (reply->details.len != 0 && reply->details.len < sizeof r->details) {
        memcpy(r->details, reply->details.data, reply->details.len);
        r->details_len = reply->details.len;
    }
    r->times++;
    r->done = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void on_message(struct chassis_client_stream *stream, const void *message,
                       struct chassis_view encoded, void *data)
{
    struct result *r = data;
    pthread_mutex_lock(&r->lock);
    if (r->messages++ == 0) {
        r->raw_len = encoded.len < sizeof r->raw ? encoded.len : sizeof r->raw;
        memcpy(r->raw, encoded.data, r->raw_len);
        snprintf(r->first, sizeof r->first, "%.*s", CHASSIS_VIEW_ARG(encoded));
    }
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    on_reply(status, data);
}

static void on_writable(struct chassis_client_stream *stream, void *data)
{
    struct result *r = data;
    pthread_mutex_lock(&r->lock);
    r->writable++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

const struct chassis_stream_handlers result_stream = {on_message, on_writable, on_closed};

void result_wait(struct result *r)
{
    pthread_mutex_lock(&r->lock);
    while (!r->done) {
        pthread_cond_wait(&r->changed, &r->lock);
    }
    pthread_mutex_unlock(&r->lock);
}

void result_wait_messages(struct result *r, unsigned n)
{
    pthread_mutex_lock(&r->lock);
    while (r->messages < n) {
        pthread_cond_wait(&r->changed, &r->lock);
    }
    pthread_mutex_unlock(&r->lock);
}

void probe(struct chassis_client *client, const char *method, const char *request,
           const struct chassis_call_options *options, struct result *ret)
{
    char path[128];
    snprintf(path, sizeof path, "/draft.test.Probe/%s", method);
    result_init(ret);
    chassis_client_call_bytes(client, path, chassis_view_str(request), options, on_reply, ret);
    result_wait(ret);
}
