#include "rpc.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "envoy/service/cluster/v3/cds.chassis.h"
#include "envoy/service/discovery/v3/ads.chassis.h"
#include "envoy/service/endpoint/v3/eds.chassis.h"
#include "envoy/service/listener/v3/lds.chassis.h"
#include "envoy/service/route/v3/rds.chassis.h"
#include "envoy/service/secret/v3/sds.chassis.h"
#include "rpc/transport.h"

static const struct {
    const struct chassis_method *method;
    enum fuse_xds_protocol protocol;
    enum fuse_type only;
} methods[] = {
    {&ads_stream_aggregated_resources_method, FUSE_XDS_SOTW, FUSE_N_TYPES},
    {&ads_delta_aggregated_resources_method, FUSE_XDS_DELTA, FUSE_N_TYPES},
    {&lds_stream_listeners_method, FUSE_XDS_SOTW, FUSE_LISTENER},
    {&lds_delta_listeners_method, FUSE_XDS_DELTA, FUSE_LISTENER},
    {&lds_fetch_listeners_method, FUSE_XDS_SOTW, FUSE_LISTENER},
    {&rds_stream_routes_method, FUSE_XDS_SOTW, FUSE_ROUTES},
    {&rds_delta_routes_method, FUSE_XDS_DELTA, FUSE_ROUTES},
    {&rds_fetch_routes_method, FUSE_XDS_SOTW, FUSE_ROUTES},
    {&cds_stream_clusters_method, FUSE_XDS_SOTW, FUSE_CLUSTER},
    {&cds_delta_clusters_method, FUSE_XDS_DELTA, FUSE_CLUSTER},
    {&cds_fetch_clusters_method, FUSE_XDS_SOTW, FUSE_CLUSTER},
    {&eds_stream_endpoints_method, FUSE_XDS_SOTW, FUSE_ENDPOINTS},
    {&eds_delta_endpoints_method, FUSE_XDS_DELTA, FUSE_ENDPOINTS},
    {&eds_fetch_endpoints_method, FUSE_XDS_SOTW, FUSE_ENDPOINTS},
    {&sds_stream_secrets_method, FUSE_XDS_SOTW, FUSE_SECRET},
    {&sds_delta_secrets_method, FUSE_XDS_DELTA, FUSE_SECRET},
    {&sds_fetch_secrets_method, FUSE_XDS_SOTW, FUSE_SECRET},
};

static unsigned method_of(const struct chassis_call *call)
{
    unsigned i = 0;
    while (methods[i].method != chassis_call_method(call)) {
        i++;
        CHASSIS_ASSERT(i < sizeof methods / sizeof *methods);
    }
    return i;
}

static struct fuse_xds_peer peer_of(const struct chassis_call *call)
{
    const struct chassis_peer *peer = chassis_call_peer(call);
    return (struct fuse_xds_peer){.address = peer->address,
                                  .private_stream = peer->loopback || peer->encrypted};
}

/* ---- streams ---- */

enum input {
    INPUT_OPEN,
    INPUT_MESSAGE,
    INPUT_END,
};

/* Lies in the call's arena; the call is referenced by each task that is under way, and by the
 * session. */
struct stream {
    struct chassis_list link;
    struct chassis_call *call;
    struct fuse_xds_views *views;
    struct fuse_xds_session *session; /* NULL = none (any more) */
    struct chassis_task in, event;
    enum input input;
    struct chassis_buf message; /* while `in` is under way */
    bool closing;               /* the session wants it to end */
    atomic_bool event_posted, gone, over, room;
};

static int stream_send(void *data, struct chassis_view response)
{
    const struct stream *s = data;
    return chassis_call_send_bytes(s->call, response);
}

static void post_event(struct stream *s)
{
    if (!atomic_exchange(&s->event_posted, true)) {
        chassis_call_ref(s->call);
        chassis_post(s->views->loop, &s->event);
    }
}

/* Ends the stream, once; the server may have ended it already. */
static void stream_end(struct stream *s, const struct chassis_error *err)
{
    struct fuse_xds_session *session = s->session;
    if (session == NULL) {
        return;
    }
    s->session = NULL;
    chassis_list_remove(&s->link);
    fuse_xds_close(session);
    if (err != NULL) {
        chassis_call_abort(s->call, err);
    } else if (!atomic_load(&s->over)) {
        chassis_call_finish(s->call);
    }
    chassis_call_unref(s->call);
}

static void refuse(struct chassis_call *call, const struct chassis_error *err)
{
    if (err->code == CHASSIS_SHUTTING_DOWN || err->code == CHASSIS_UNAVAILABLE) {
        chassis_call_set_trailer(call, CHASSIS_NOT_RUN_TRAILER, chassis_view_str("1"));
    }
    chassis_call_abort(call, err);
}

static void stream_fail(void *data, const struct chassis_error *err)
{
    struct stream *s = data;
    s->closing = true; /* whoever called the session ends it then */
    chassis_call_abort(s->call, err);
}

static void on_cancel(struct chassis_call *call, void *data)
{
    struct stream *s = data;
    atomic_store(&s->gone, true);
    post_event(s);
}

static void on_over(struct chassis_call *call, void *data)
{
    struct stream *s = data;
    atomic_store(&s->over, true);
    post_event(s);
}

static void on_writable(struct chassis_call *call, void *data)
{
    struct stream *s = data;
    atomic_store(&s->room, true);
    post_event(s);
}

static int may_serve(const struct fuse_xds_views *views, struct chassis_error *err)
{
    if (views->draining) {
        return chassis_error_set(err, CHASSIS_SHUTTING_DOWN,
                                 "Fuse is shutting down: ask another one");
    }
    if (views->xds == NULL) {
        return chassis_error_set(err, CHASSIS_UNAVAILABLE, "Fuse is starting: come again");
    }
    return 0;
}

static void stream_start(struct stream *s)
{
    struct chassis_error err = {0};
    unsigned method = method_of(s->call);
    const struct fuse_xds_wire wire = {stream_send, stream_fail, s};
    const struct fuse_xds_peer peer = peer_of(s->call);
    if (atomic_load(&s->over)) {
        return;
    }
    if (may_serve(s->views, &err) != 0 ||
        fuse_xds_open(s->views->xds, methods[method].protocol, methods[method].only, &peer, &wire,
                      &s->session, &err) != 0) {
        refuse(s->call, &err);
        return;
    }
    chassis_call_ref(s->call);
    chassis_list_append(&s->views->streams, &s->link);
    chassis_call_on_writable(s->call, on_writable, s);
    chassis_call_on_cancel(s->call, on_cancel, s);
    chassis_call_resume(s->call);
}

static void run_in(struct chassis_task *task)
{
    struct stream *s = chassis_container_of(task, struct stream, in);
    struct chassis_call *call = s->call;
    struct chassis_error err = {0};
    switch (s->input) {
    case INPUT_OPEN:
        stream_start(s);
        break;
    case INPUT_MESSAGE:
        if (s->session != NULL) {
            fuse_xds_request(s->session, chassis_buf_view(&s->message));
        }
        chassis_buf_fini(&s->message); /* before resume: the next one fills it */
        if (s->closing) {
            chassis_error_set(&err, CHASSIS_CANCELLED, "the stream has been ended");
            stream_end(s, &err);
        } else if (s->session != NULL) {
            chassis_call_resume(call);
        }
        break;
    case INPUT_END:
        stream_end(s, NULL);
        break;
    }
    chassis_call_unref(call);
}

static void run_event(struct chassis_task *task)
{
    struct stream *s = chassis_container_of(task, struct stream, event);
    struct chassis_call *call = s->call;
    struct chassis_error err = {0};
    atomic_store(&s->event_posted, false);
    bool room = atomic_exchange(&s->room, false);
    if (atomic_load(&s->gone) || atomic_load(&s->over)) {
        chassis_error_set(&err, CHASSIS_CANCELLED, "the proxy went away");
        stream_end(s, &err);
    } else if (room && s->session != NULL) {
        fuse_xds_writable(s->session);
    }
    chassis_call_unref(call);
}

/* The next is read when the loop is done with this one. */
static void post_in(struct stream *s, enum input input)
{
    s->input = input;
    chassis_call_hold(s->call);
    chassis_call_ref(s->call);
    chassis_post(s->views->loop, &s->in);
}

static void open_stream(struct chassis_call *call)
{
    struct stream *s = chassis_arena_zalloc(chassis_call_arena(call), sizeof *s);
    if (s == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    s->call = call;
    s->views = chassis_call_data(call);
    s->in.run = run_in;
    s->event.run = run_event;
    chassis_list_init(&s->link);
    chassis_call_set_state(call, s);
    chassis_call_on_end(call, on_over, s);
    post_in(s, INPUT_OPEN);
}

static void take_message(struct chassis_call *call)
{
    struct stream *s = chassis_call_state(call);
    chassis_buf_append_view(&s->message, chassis_call_encoded(call));
    post_in(s, INPUT_MESSAGE);
}

static void on_sotw(struct chassis_call *call,
                    const Envoy__Service__Discovery__V3__DiscoveryRequest *req)
{
    take_message(call);
}

static void on_delta(struct chassis_call *call,
                     const Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *req)
{
    take_message(call);
}

static void end_stream(struct chassis_call *call)
{
    post_in(chassis_call_state(call), INPUT_END);
}

/* ---- fetches ---- */

struct fetch {
    struct chassis_task task;
    struct chassis_call *call;
};

static void run_fetch(struct chassis_task *task)
{
    struct fetch *f = chassis_container_of(task, struct fetch, task);
    struct chassis_call *call = f->call;
    struct fuse_xds_views *views = chassis_call_data(call);
    struct chassis_error err = {0};
    struct chassis_buf out = {0};
    const struct fuse_xds_peer peer = peer_of(call);
    if (may_serve(views, &err) != 0 ||
        fuse_xds_fetch(views->xds, methods[method_of(call)].only, &peer, chassis_call_encoded(call),
                       &out, &err) != 0) {
        chassis_call_fail_error(call, &err);
    } else {
        chassis_call_reply_bytes(call, chassis_buf_view(&out));
    }
    chassis_buf_fini(&out);
}

static void on_fetch(struct chassis_call *call,
                     const Envoy__Service__Discovery__V3__DiscoveryRequest *req)
{
    struct fetch *f = chassis_arena_zalloc(chassis_call_arena(call), sizeof *f);
    if (f == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "the call's memory limit is reached");
        return;
    }
    f->task.run = run_fetch;
    f->call = call;
    chassis_post(((struct fuse_xds_views *)chassis_call_data(call))->loop, &f->task);
}

/* ---- services ---- */

#define STREAMS(what)                                                                              \
    .stream_##what = {open_stream, on_sotw, end_stream},                                           \
    .delta_##what = {open_stream, on_delta, end_stream}
static const struct ads_handlers ads = {STREAMS(aggregated_resources)};
static const struct lds_handlers lds = {STREAMS(listeners), .fetch_listeners = on_fetch};
static const struct rds_handlers rds = {STREAMS(routes), .fetch_routes = on_fetch};
static const struct cds_handlers cds = {STREAMS(clusters), .fetch_clusters = on_fetch};
static const struct eds_handlers eds = {STREAMS(endpoints), .fetch_endpoints = on_fetch};
static const struct sds_handlers sds = {STREAMS(secrets), .fetch_secrets = on_fetch};

/* Proxies have no tokens; who may ask is decided by the listener (TLS). */
static const struct chassis_method_options options[] = {
    {.method = "*",
     .access = CHASSIS_ACCESS_PUBLIC,
     .never_blocks = true,
     .encoded = true,
     .rare = true},
    {.method = NULL},
};

void fuse_xds_services(struct fuse_xds_views *views,
                       struct chassis_service ret_services[FUSE_XDS_SERVICES])
{
    ret_services[0] = ads_service(&ads, views);
    ret_services[1] = lds_service(&lds, views);
    ret_services[2] = rds_service(&rds, views);
    ret_services[3] = cds_service(&cds, views);
    ret_services[4] = eds_service(&eds, views);
    ret_services[5] = sds_service(&sds, views);
    for (unsigned i = 0; i < FUSE_XDS_SERVICES; i++) {
        ret_services[i].options = options;
    }
}

void fuse_xds_views_init(struct fuse_xds_views *views)
{
    chassis_list_init(&views->streams);
}

void fuse_xds_views_drain(struct fuse_xds_views *views)
{
    struct chassis_error err = {0};
    views->draining = true;
    (void)may_serve(views, &err);
    while (!chassis_list_empty(&views->streams)) {
        stream_end(chassis_list_entry(views->streams.next, struct stream, link), &err);
    }
}
