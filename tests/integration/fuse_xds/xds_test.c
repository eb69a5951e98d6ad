/* xDS over real gRPC: our own client speaks it, everything else is as in production but the store. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

#include <chassis/client.h>
#include <chassis/message.h>

#include "base/assert.h"
#include "envoy/service/discovery/v3/ads.chassis.h"
#include "envoy/service/endpoint/v3/eds.chassis.h"
#include "fuse/xds/rpc.h"
#include "loop/loop.h"
#include "os/os.h"
#include "rpc/server.h"
#include "unit/fuse/fixture.h"

typedef Envoy__Service__Discovery__V3__DiscoveryRequest request_t;
typedef Envoy__Service__Discovery__V3__DiscoveryResponse response_t;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest delta_request_t;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse delta_response_t;

struct rig {
    struct chassis_loop *loop;
    struct chassis_server *server;
    struct chassis_client *client;
    struct fuse_model *model;
    struct fuse_statics statics;
    struct fuse_proxies proxies;
    struct fuse_store store;
    struct fuse_xds_views views;
    struct chassis_service services[FUSE_XDS_SERVICES];
    uint64_t revision;
    unsigned n_proxies;
    /* what on_loop does */
    const char *service, *pid, *address;
};

static int64_t wall_ns(void *data)
{
    return chassis_wall_ns(chassis_clock_posix());
}

static void store_quarantine(struct fuse_store *store, const char *group, const char *route,
                             struct chassis_view record, fuse_store_done_cb done, void *data)
{
    done(0, NULL, 1, data);
}
static const struct fuse_store_ops store_ops = {.quarantine = store_quarantine};

static int loop_start(void *data)
{
    struct rig *rig = data;
    struct chassis_executor *loop = chassis_loop_executor(rig->loop);
    fuse_proxies_init(&rig->proxies, loop);
    rig->views.xds = fuse_xds_new(&(struct fuse_xds_options){.model = rig->model,
                                                             .statics = &rig->statics,
                                                             .proxies = &rig->proxies,
                                                             .store = &rig->store,
                                                             .loop = loop,
                                                             .log = chassis_log_module("fuse.xds"),
                                                             .wall_ns = wall_ns});
    fuse_xds_ready(rig->views.xds);
    return 0;
}
static int loop_drain(void *data)
{
    struct rig *rig = data;
    fuse_xds_views_drain(&rig->views);
    return 0;
}
static int loop_stop(void *data)
{
    struct rig *rig = data;
    fuse_xds_free(rig->views.xds);
    fuse_proxies_fini(&rig->proxies);
    fuse_model_free(rig->model);
    return 0;
}
static int loop_instance(void *data)
{
    struct rig *rig = data;
    fixture_instance(rig->model, ++rig->revision, .pid = rig->pid, .service = rig->service,
                     .rpc_address = rig->address);
    return 0;
}
static int loop_count(void *data)
{
    struct rig *rig = data;
    return (int)rig->proxies.n;
}

static void add_instance(struct rig *rig, const char *service, const char *pid, const char *address)
{
    rig->service = service;
    rig->pid = pid;
    rig->address = address;
    chassis_loop_call(rig->loop, loop_instance, rig);
}

static int set_up(void **state)
{
    struct rig *rig = chassis_base_zalloc(sizeof *rig);
    struct chassis_error err = {0};
    const struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    struct chassis_server_options options = {
        .listeners = &listener, .n_listeners = 1, .streams_max = 4096};
    char target[64];
    chassis_log_set_level("", CHASSIS_LOG_ERROR);
    assert_int_equal(chassis_loop_start("loop", &rig->loop, &err), 0);
    rig->model = fuse_model_new();
    rig->store.ops = &store_ops;
    rig->views.loop = chassis_loop_executor(rig->loop);
    fuse_xds_views_init(&rig->views);
    fuse_xds_services(&rig->views, rig->services);
    assert_int_equal(chassis_server_new(&options, &rig->server, &err), 0);
    for (unsigned i = 0; i < FUSE_XDS_SERVICES; i++) {
        assert_int_equal(chassis_server_add(rig->server, rig->services[i], &err), 0);
    }
    assert_int_equal(chassis_server_start(rig->server, &err), 0);
    chassis_loop_call(rig->loop, loop_start, rig);
    snprintf(target, sizeof target, "127.0.0.1:%u", chassis_server_port(rig->server, 0));
    const struct chassis_client_options client = {.target = target};
    assert_int_equal(chassis_client_new(&client, &rig->client, &err), 0);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    chassis_client_free(rig->client);
    chassis_loop_call(rig->loop, loop_drain, rig);
    chassis_server_free(rig->server);
    chassis_loop_call(rig->loop, loop_stop, rig);
    chassis_loop_stop(rig->loop);
    free(rig);
    return 0;
}

/* ---- a stream ---- */

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct chassis_client_stream *stream;
    const char *names; /* one, acknowledged with each answer */
    atomic_uint *total;
    unsigned answers, resources, removed;
    bool refuse, delta, closed;
    int code;
    char text[256];
};

static char *chars(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void say(struct seen *s, const char *nonce, const char *error)
{
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    Envoy__Config__Core__V3__Node node = ENVOY__CONFIG__CORE__V3__NODE__INIT;
    char *names[] = {chars(s->names)};
    status.message = chars(error);
    node.id = chars("node");
    if (s->delta) {
        delta_request_t r = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
        r.node = nonce == NULL ? &node : NULL;
        r.type_url = chars(fuse_type_urls[FUSE_ENDPOINTS]);
        r.n_resource_names_subscribe = nonce == NULL;
        r.resource_names_subscribe = names;
        r.response_nonce = chars(nonce != NULL ? nonce : "");
        r.error_detail = error != NULL ? &status : NULL;
        assert_int_equal(chassis_stream_send(s->stream, &r), 0);
        return;
    }
    request_t r = ENVOY__SERVICE__DISCOVERY__V3__DISCOVERY_REQUEST__INIT;
    r.node = nonce == NULL ? &node : NULL;
    r.type_url = chars(fuse_type_urls[FUSE_ENDPOINTS]);
    r.n_resource_names = 1;
    r.resource_names = names;
    r.response_nonce = chars(nonce != NULL ? nonce : "");
    r.error_detail = error != NULL ? &status : NULL;
    assert_int_equal(chassis_stream_send(s->stream, &r), 0);
}

static void on_message(struct chassis_client_stream *stream, const void *message,
                       struct chassis_view encoded, void *data)
{
    struct seen *s = data;
    const char *nonce;
    pthread_mutex_lock(&s->lock);
    s->stream = stream;
    if (s->delta) {
        const delta_response_t *r = message;
        s->resources += (unsigned)r->n_resources;
        s->removed += (unsigned)r->n_removed_resources;
        nonce = r->nonce;
    } else {
        const response_t *r = message;
        s->resources += (unsigned)r->n_resources;
        nonce = r->nonce;
    }
    say(s, nonce, s->refuse ? "no" : NULL);
    s->answers++;
    if (s->total != NULL) {
        atomic_fetch_add(s->total, 1);
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void on_closed(struct chassis_client_stream *stream, const struct chassis_reply *status,
                      void *data)
{
    struct seen *s = data;
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    s->code = status->code;
    snprintf(s->text, sizeof s->text, "%s", status->text);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static const struct chassis_stream_handlers stream_handlers = {on_message, NULL, on_closed};

static void seen_open(struct rig *rig, struct seen *s, bool delta, const char *name)
{
    struct chassis_error err = {0};
    const struct chassis_call_options options = {.closed_after_half_close = true};
    s->names = name;
    s->delta = delta;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    assert_int_equal(chassis_stream_open(rig->client,
                                         delta ? &ads_delta_aggregated_resources_method
                                               : &ads_stream_aggregated_resources_method,
                                         &options, &stream_handlers, s, &s->stream, &err),
                     0);
    pthread_mutex_lock(&s->lock);
    say(s, NULL, NULL);
    pthread_mutex_unlock(&s->lock);
}

static void wait_answers(struct seen *s, unsigned n)
{
    pthread_mutex_lock(&s->lock);
    while (s->answers < n) {
        pthread_cond_wait(&s->changed, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

static void wait_closed(struct seen *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->closed) {
        pthread_cond_wait(&s->changed, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

static void seen_close(struct seen *s)
{
    chassis_stream_cancel(s->stream);
    wait_closed(s);
}

/* ---- tests ---- */

static void follows(void **state, bool delta)
{
    struct rig *rig = *state;
    struct seen s = {0};
    add_instance(rig, "echo", "1", "10.0.0.1:1");
    seen_open(rig, &s, delta, "echo");
    wait_answers(&s, 1);
    assert_int_equal(s.resources, 1);
    add_instance(rig, "echo", "2", "10.0.0.2:1");
    wait_answers(&s, 2);
    s.refuse = true;
    add_instance(rig, "echo", "3", "10.0.0.3:1");
    wait_answers(&s, 3);
    s.refuse = false;
    add_instance(rig, "echo", "4", "10.0.0.4:1");
    wait_answers(&s, 4);
    assert_int_equal(s.resources, 4);
    assert_int_equal(chassis_loop_call(rig->loop, loop_count, rig), 1);
    seen_close(&s);
    test_wait_until(chassis_loop_call(rig->loop, loop_count, rig) == 0);
}

static void a_client_follows_instances(void **state)
{
    follows(state, false);
}

static void a_client_follows_instances_by_delta(void **state)
{
    follows(state, true);
}

static void a_thousand_clients_have_a_change(void **state)
{
    enum { CLIENTS = 1000 };
    struct rig *rig = *state;
    struct seen *all = chassis_base_zalloc(CLIENTS * sizeof *all);
    atomic_uint total = 0;
    add_instance(rig, "echo", "1", "10.0.0.1:1");
    for (unsigned i = 0; i < CLIENTS; i++) {
        all[i].total = &total;
        seen_open(rig, &all[i], i % 2 == 0, "echo");
    }
    test_wait_until(atomic_load(&total) == CLIENTS);
    uint64_t began = chassis_os_monotonic_ns();
    add_instance(rig, "echo", "2", "10.0.0.2:1");
    test_wait_until(atomic_load(&total) == 2 * CLIENTS);
    printf("%u clients had a change after %.1f ms\n", CLIENTS,
           (double)(chassis_os_monotonic_ns() - began) / 1e6);
    assert_int_equal(chassis_loop_call(rig->loop, loop_count, rig), CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++) {
        chassis_stream_cancel(all[i].stream);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        wait_closed(&all[i]);
    }
    test_wait_until(chassis_loop_call(rig->loop, loop_count, rig) == 0);
    free(all);
}

static void what_is_no_request_ends_the_stream_in_words(void **state)
{
    struct rig *rig = *state;
    struct seen s = {0};
    seen_open(rig, &s, true, "echo");
    wait_answers(&s, 1); /* there is none */
    assert_int_equal(s.removed, 1);
    assert_int_equal(chassis_stream_send_bytes(s.stream, chassis_view_str("\x0a\xff")), 0);
    chassis_stream_half_close(s.stream);
    wait_closed(&s);
    assert_int_equal(s.code, CHASSIS_INVALID_ARGUMENT);
    test_wait_until(chassis_loop_call(rig->loop, loop_count, rig) == 0);
}

static void a_stream_that_is_half_closed_ends_well(void **state)
{
    struct rig *rig = *state;
    struct seen s = {0};
    seen_open(rig, &s, false, "echo");
    chassis_stream_half_close(s.stream);
    wait_closed(&s);
    assert_int_equal(s.code, 0);
}

static void draining_sends_proxies_elsewhere(void **state)
{
    struct rig *rig = *state;
    struct seen s = {0}, late = {0};
    add_instance(rig, "echo", "1", "10.0.0.1:1");
    seen_open(rig, &s, false, "echo");
    wait_answers(&s, 1);
    chassis_loop_call(rig->loop, loop_drain, rig);
    chassis_stream_half_close(s.stream);
    wait_closed(&s);
    assert_int_equal(s.code, CHASSIS_UNAVAILABLE);
    seen_open(rig, &late, false, "echo");
    chassis_stream_half_close(late.stream);
    wait_closed(&late);
    assert_int_equal(late.code, CHASSIS_UNAVAILABLE);
}

static int fetch(struct rig *rig, const char *name, struct chassis_arena *arena,
                 response_t **ret_response)
{
    request_t r = ENVOY__SERVICE__DISCOVERY__V3__DISCOVERY_REQUEST__INIT;
    char *names[] = {chars(name), chars("other"), chars(name)};
    struct chassis_error err = {0};
    r.n_resource_names = 3;
    r.resource_names = names;
    return chassis_client_call_sync(rig->client, &eds_fetch_endpoints_method, &r, NULL, arena,
                                    (void **)ret_response, &err);
}

static void one_answer_can_be_fetched(void **state)
{
    struct rig *rig = *state;
    struct chassis_arena arena;
    response_t *r;
    chassis_arena_init(&arena, NULL, 0, 0);
    assert_int_equal(fetch(rig, "echo", &arena, &r), 0);
    assert_int_equal(r->n_resources, 0);
    add_instance(rig, "echo", "1", "10.0.0.1:1");
    assert_int_equal(fetch(rig, "echo", &arena, &r), 0);
    assert_int_equal(r->n_resources, 1);
    assert_string_equal(r->type_url, fuse_type_urls[FUSE_ENDPOINTS]);
    assert_int_equal(chassis_loop_call(rig->loop, loop_count, rig), 0);
    chassis_arena_fini(&arena);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_client_follows_instances),
        T(a_client_follows_instances_by_delta),
        T(a_thousand_clients_have_a_change),
        T(what_is_no_request_ends_the_stream_in_words),
        T(a_stream_that_is_half_closed_ends_well),
        T(draining_sends_proxies_elsewhere),
        T(one_answer_can_be_fetched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
