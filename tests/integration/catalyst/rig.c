#include "rig.h"

#include <stdlib.h>

#include "base/assert.h"
#include "catalyst/event/build.h"
#include "catalyst/groups/rpc.h"
#include "catalyst/http/http.h"
#include "http/http.h"
#include "loop/loop.h"
#include "os/disk.h"
#include "os/os.h"
#include "rpc/server.h"

/* ---- on the loop, waited for ---- */

struct step {
    struct chassis_task task;
    void (*run)(struct step *step);
    struct rig *rig;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
};

static void step_done(void *data)
{
    struct step *s = data;
    pthread_mutex_lock(&s->lock);
    s->is_done = true;
    pthread_cond_signal(&s->done);
    pthread_mutex_unlock(&s->lock);
}

static void step_task(struct chassis_task *task)
{
    struct step *s = chassis_container_of(task, struct step, task);
    s->run(s);
}

static void on_loop(struct rig *rig, void (*run)(struct step *step))
{
    struct step s = {.task.run = step_task, .run = run, .rig = rig};
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.done, NULL);
    chassis_post(rig->loop, &s.task);
    pthread_mutex_lock(&s.lock);
    while (!s.is_done) {
        pthread_cond_wait(&s.done, &s.lock);
    }
    pthread_mutex_unlock(&s.lock);
}

/* ---- life ---- */

static int64_t wall_ns(void *data)
{
    return chassis_wall_ns(chassis_clock_posix());
}

static int secret(void *data, const char *name, struct chassis_buf *ret_secret,
                  struct chassis_error *err)
{
    if (strcmp(name, "hook") != 0) {
        return chassis_error_set(err, CHASSIS_NOT_FOUND, "no secret '%s'", name);
    }
    chassis_buf_append_str(ret_secret, "open-sesame");
    return 0;
}

static void open_all(struct step *step)
{
    struct rig *rig = step->rig;
    struct chassis_error err = {0};
    struct chassis_journal_options journal = {.disk = chassis_disk_posix(),
                                              .directory = rig->directory,
                                              .owner = rig->loop,
                                              .writer = rig->writer,
                                              .preparer = rig->preparer,
                                              .log = chassis_log_module("journal"),
                                              .segment_bytes = 4 << 20,
                                              .reserve_bytes = 1 << 20};
    struct cat_broker_options broker = {.loop = rig->loop,
                                        .workers = chassis_os_pool_executor(rig->workers),
                                        .log = chassis_log_module("broker"),
                                        .wall_ns = wall_ns,
                                        .publish_bytes_max = rig->publish_bytes_max};
    struct cat_groups_options groups = {.loop = rig->loop,
                                        .log = chassis_log_module("groups"),
                                        .wall_ns = wall_ns,
                                        .filter = cat_group_filter_of,
                                        .push = cat_push_group};
    const char *build = getenv("DRAFT_BUILD");
    snprintf(rig->plugins, sizeof rig->plugins, "%s/lib/draft",
             build != NULL ? build : DRAFT_BUILD_DIR);
    groups.push_data = rig->push = cat_push_new(
        &(struct cat_push_options){.loop = rig->loop,
                                   .log = chassis_log_module("push"),
                                   .directory = rig->plugins,
                                   .secret = secret,
                                   .origin = "broker.test",
                                   .unvalidated_hosts = &rig->unvalidated_host,
                                   .n_unvalidated_hosts = rig->unvalidated_host != NULL});
    int rc = chassis_journal_open(&journal, &rig->journal, &err);
    if (rc == 0) {
        broker.journal = rig->journal;
        rc = cat_broker_open(&broker, &rig->broker, &err);
    }
    if (rc == 0) {
        groups.broker = rig->broker;
        rc = cat_groups_open(&groups, &rig->groups, &err);
    }
    if (rc != 0) {
        CHASSIS_PANIC("%s", chassis_error_text(&err));
    }
    cat_push_start(rig->push, rig->groups);
    cat_views_init(&rig->views, rig->broker, rig->groups, rig->loop);
    step_done(step);
}

static void serve(struct rig *rig)
{
    struct chassis_error err = {0};
    const struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    struct chassis_server_options options = {.listeners = &listener,
                                             .n_listeners = 1,
                                             .workers = chassis_os_pool_executor(rig->workers),
                                             .queue_bytes_max = rig->queue_bytes_max,
                                             .operator_loopback = true};
    struct chassis_service services[] = {
        cat_producer_service(&rig->views), cat_consumer_service(&rig->views),
        cat_event_service(&rig->views),    cat_stream_service(&rig->views),
        cat_group_service(&rig->views),    cat_dead_letter_service(&rig->views),
    };
    struct chassis_http_route routes[CAT_HTTP_ROUTES];
    int rc = chassis_server_new(&options, &rig->server, &err);
    for (unsigned i = 0; i < sizeof services / sizeof services[0] && rc == 0; i++) {
        rc = chassis_server_add(rig->server, services[i], &err);
    }
    rc = rc == 0 ? chassis_server_start(rig->server, &err) : rc;
    cat_http_routes(&rig->views, routes);
    static const char *const origins[] = {"https://app.example"};
    struct chassis_http_options http = {.address = "127.0.0.1:0",
                                        .origins = origins,
                                        .n_origins = 1,
                                        .server = rig->server,
                                        .routes = routes,
                                        .n_routes = CAT_HTTP_ROUTES,
                                        .name = "catalyst",
                                        .version = "1"};
    rc = rc == 0 ? chassis_http_start(&http, &rig->http, &err) : rc;
    rig->http_port = chassis_http_port(rig->http);
    snprintf(rig->address, sizeof rig->address, "127.0.0.1:%u",
             chassis_server_port(rig->server, 0));
    const struct chassis_client_options client = {
        .target = rig->address, .timeout_ms = 30000, .executor = rig->reader};
    rc = rc == 0 ? chassis_client_new(&client, &rig->client, &err) : rc;
    if (rc != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
}

void rig_init(struct rig *rig)
{
    *rig = (struct rig){0};
    test_tmpdir(rig->directory);
}

void rig_open(struct rig *rig)
{
    assert_int_equal(chassis_loop_start("loop", &rig->uv, NULL), 0);
    rig->loop = chassis_loop_executor(rig->uv);
    assert_int_equal(chassis_os_thread_start("reader", &rig->reader), 0);
    assert_int_equal(chassis_os_thread_start("writer", &rig->writer), 0);
    assert_int_equal(chassis_os_thread_start("preparer", &rig->preparer), 0);
    assert_int_equal(chassis_os_pool_start("worker", 2, 1000, &rig->workers), 0);
    on_loop(rig, open_all);
    serve(rig);
}

static void drain(struct step *step)
{
    cat_views_drain(&step->rig->views);
    step_done(step);
}

static void close_journal(void *data)
{
    struct step *step = data;
    chassis_journal_close(step->rig->journal, step_done, step);
}

static void close_broker(void *data)
{
    struct step *step = data;
    cat_broker_close(step->rig->broker, close_journal, step);
}

static void close_groups(void *data)
{
    struct step *step = data;
    cat_push_free(step->rig->push);
    cat_groups_close(step->rig->groups, close_broker, step);
}

static void close_push(struct step *step)
{
    cat_push_close(step->rig->push, close_groups, step);
}

void rig_drain(struct rig *rig)
{
    on_loop(rig, drain);
}

void rig_close(struct rig *rig)
{
    rig_drain(rig);
    chassis_http_quiesce(rig->http, 5000);
    chassis_server_drain(rig->server, 5000);
    chassis_http_stop(rig->http);
    chassis_client_free(rig->client);
    chassis_server_free(rig->server);
    assert_int_equal(atomic_load(&rig->views.intake_memory), 0); /* whatever came, and went */
    on_loop(rig, close_push);
    cat_views_fini(&rig->views);
    chassis_os_thread_stop(rig->reader);
    chassis_os_thread_stop(rig->writer);
    chassis_os_thread_stop(rig->preparer);
    chassis_loop_stop(rig->uv);
    chassis_os_pool_stop(rig->workers);
}

void rig_fini(struct rig *rig)
{
    test_rmtree(rig->directory);
}

int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig_init(rig);
    rig_open(rig);
    *state = rig;
    return 0;
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    rig_close(rig);
    rig_fini(rig);
    free(rig);
    return 0;
}

void rig_new_client(struct rig *rig)
{
    const struct chassis_client_options client = {.target = rig->address, .timeout_ms = 30000};
    assert_int_equal(chassis_client_new(&client, &rig->client, NULL), 0);
}

void rig_free_client(struct rig *rig, struct chassis_client *former)
{
    chassis_client_free(rig->client);
    rig->client = former;
}

void *rig_call(struct rig *rig, const struct chassis_method *method, const void *request, int code,
               struct chassis_arena *arena, struct chassis_error *ret_err)
{
    struct chassis_error err = {0};
    void *response = NULL;
    int rc = chassis_client_call_sync(rig->client, method, request, NULL, arena, &response, &err);
    if (rc != code) {
        fail_msg("%s: %d %s; expected %d", method->path, rc, chassis_error_text(&err), code);
    }
    if (ret_err != NULL) {
        *ret_err = err;
    }
    return response;
}

void rig_stream(struct rig *rig, const char *name)
{
    struct chassis_arena arena;
    EV(StreamConfig) config = EV_INIT(STREAM_CONFIG);
    EV(CreateStreamRequest) req = EV_INIT(CREATE_STREAM_REQUEST);
    chassis_arena_init(&arena, NULL, 0, 0);
    config.name = (char *)(uintptr_t)name;
    req.config = &config;
    rig_call(rig, &events_stream_service_create_method, &req, 0, &arena, NULL);
    chassis_arena_fini(&arena);
}

/* ---- events ---- */

void rig_event(struct chassis_buf *out, unsigned n, const char *source, const char *type,
               const char *data)
{
    char id[16];
    snprintf(id, sizeof id, "%u", n);
    struct cat_event_parts parts = {.id = chassis_view_str(id),
                                    .source = chassis_view_str(source != NULL ? source : "/test"),
                                    .type = chassis_view_str(type != NULL ? type : "test.type"),
                                    .data_kind = data != NULL ? CAT_DATA_TEXT : CAT_DATA_NONE,
                                    .data = chassis_view_str(data)};
    cat_event_build(&parts, out);
}

void rig_publish(struct rig *rig, const char *stream, unsigned from, unsigned n)
{
    struct chassis_arena arena;
    struct chassis_buf batch = {0}, event = {0};
    EV(PublishRequest) req = EV_INIT(PUBLISH_REQUEST);
    ACTORS(CloudEventBatch) *decoded = NULL;
    chassis_arena_init(&arena, NULL, 0, 0);
    for (unsigned i = 0; i < n; i++) {
        chassis_buf_clear(&event);
        rig_event(&event, from + i, NULL, NULL, NULL);
        cat_batch_append(&batch, chassis_buf_view(&event));
    }
    assert_int_equal(core__message_broker__actors__v1__cloud_event_batch__decode(
                         chassis_buf_view(&batch), &arena, &decoded, NULL),
                     0);
    req.stream = (char *)(uintptr_t)stream;
    req.batch = decoded;
    const EV(PublishResponse) *res =
        rig_call(rig, &events_event_service_publish_method, &req, 0, &arena, NULL);
    assert_int_equal(res->accepted, n);
    chassis_buf_fini(&event);
    chassis_buf_fini(&batch);
    chassis_arena_fini(&arena);
}

/* ---- taps ---- */

static void on_message(struct chassis_client_stream *stream, const void *message,
                       struct chassis_view encoded, void *data)
{
    struct tap *tap = data;
    pthread_mutex_lock(&tap->lock);
    while (tap->paused) {
        pthread_cond_wait(&tap->changed, &tap->lock);
    }
    if (tap->n == tap->cap) {
        tap->cap = tap->cap != 0 ? tap->cap * 2 : 64;
        tap->messages = realloc(tap->messages, tap->cap * sizeof *tap->messages);
    }
    tap->messages[tap->n] = (struct chassis_buf){0};
    chassis_buf_append_view(&tap->messages[tap->n++], encoded);
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct tap *tap = data;
    pthread_mutex_lock(&tap->lock);
    tap->closed = true;
    tap->code = status->code;
    snprintf(tap->text, sizeof tap->text, "%s", status->text);
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
}

static void open_tap(struct rig *rig, struct tap *tap, const struct chassis_method *method,
                     bool ours_to_end)
{
    static const struct chassis_stream_handlers handlers = {on_message, NULL, on_closed};
    const struct chassis_call_options options = {.closed_after_half_close = ours_to_end};
    struct chassis_error err = {0};
    memset(tap, 0, sizeof *tap);
    pthread_mutex_init(&tap->lock, NULL);
    pthread_cond_init(&tap->changed, NULL);
    if (chassis_stream_open_path(rig->client, method->path, &options, &handlers, tap, &tap->stream,
                                 &err) != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
}

void tap_open(struct rig *rig, struct tap *tap, const struct chassis_method *method)
{
    open_tap(rig, tap, method, true);
}

void tap_open_ending(struct rig *rig, struct tap *tap, const struct chassis_method *method)
{
    open_tap(rig, tap, method, false);
}

void tap_send_bytes(struct tap *tap, struct chassis_view bytes)
{
    int rc = CHASSIS_RESOURCE_EXHAUSTED;
    for (int i = 0; i < 30000 && rc == CHASSIS_RESOURCE_EXHAUSTED; i++) {
        rc = chassis_stream_send_bytes(tap->stream, bytes);
        if (rc == CHASSIS_RESOURCE_EXHAUSTED) {
            poll(NULL, 0, 1);
        }
    }
    assert_int_equal(rc, 0);
}

void tap_send(struct tap *tap, const void *message)
{
    struct chassis_buf out = {0};
    chassis_encode(message, &out);
    tap_send_bytes(tap, chassis_buf_view(&out));
    chassis_buf_fini(&out);
}

void tap_wait(struct tap *tap, size_t n)
{
    pthread_mutex_lock(&tap->lock);
    while (tap->n < n && !tap->closed) {
        pthread_cond_wait(&tap->changed, &tap->lock);
    }
    bool enough = tap->n >= n;
    pthread_mutex_unlock(&tap->lock);
    if (!enough) {
        fail_msg("the stream ended after %zu messages: %d %s", tap->n, tap->code, tap->text);
    }
}

void tap_wait_closed(struct tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    while (!tap->closed) {
        pthread_cond_wait(&tap->changed, &tap->lock);
    }
    pthread_mutex_unlock(&tap->lock);
}

static void tap_free(struct tap *tap)
{
    tap_wait_closed(tap);
    for (size_t i = 0; i < tap->n; i++) {
        chassis_buf_fini(&tap->messages[i]);
    }
    free(tap->messages);
    tap->messages = NULL;
    tap->n = tap->cap = 0;
}

int tap_closed(struct tap *tap)
{
    tap_free(tap);
    return tap->code;
}

int tap_end(struct tap *tap)
{
    chassis_stream_half_close(tap->stream);
    tap_free(tap);
    return tap->code;
}

void tap_cancel(struct tap *tap)
{
    chassis_stream_cancel(tap->stream);
    tap_free(tap);
}

void tap_pause(struct tap *tap, bool paused)
{
    pthread_mutex_lock(&tap->lock);
    tap->paused = paused;
    pthread_cond_broadcast(&tap->changed);
    pthread_mutex_unlock(&tap->lock);
}

static size_t ids_of(struct tap *tap, struct chassis_buf *out)
{
    struct chassis_arena arena;
    EV(SubscribeResponse) *res = NULL;
    size_t n = 0;
    chassis_arena_init(&arena, NULL, 0, 0);
    pthread_mutex_lock(&tap->lock);
    for (size_t i = 0; i < tap->n; i++) {
        assert_int_equal(draft__events__v1__subscribe_response__decode(
                             chassis_buf_view(&tap->messages[i]), &arena, &res, NULL),
                         0);
        for (size_t j = 0; j < res->n_deliveries; j++) {
            chassis_buf_printf(out, "%s ", res->deliveries[j]->event->id);
        }
        n += res->n_deliveries;
    }
    pthread_mutex_unlock(&tap->lock);
    chassis_arena_fini(&arena);
    return n;
}

char *tap_ids(struct tap *tap)
{
    struct chassis_buf out = {0};
    chassis_buf_append_str(&out, "");
    ids_of(tap, &out);
    return (char *)out.data;
}

size_t tap_deliveries(struct tap *tap)
{
    struct chassis_buf out = {0};
    size_t n = ids_of(tap, &out);
    chassis_buf_fini(&out);
    return n;
}
