#include "fake.h"

#include "core/registry/key_value/v1/key_value.chassis.h"
#include "draft/routing/v1/routing.chassis.h"
#include "test.h"

typedef Core__ControlPlane__Networking__V1__Route route_message;

static struct fake_route *find(struct fake *f, const char *name)
{
    for (unsigned i = 0; i < f->n_routes; i++) {
        if (strcmp(f->routes[i].name, name) == 0) {
            return &f->routes[i];
        }
    }
    return NULL;
}

/* "host prefix path regex grpc methods | http2 priority rewrite timeout retries | targets" */
static void describe(const route_message *r, char out[512])
{
    const Core__ControlPlane__Networking__V1__RouteMatch *m = r->match;
    const char *grpc = m->grpc_match_options != NULL ? m->grpc_match_options->service : "";
    size_t n =
        (size_t)snprintf(out, 512, "%s %s %s %s %s", m->host, m->prefix, m->path, m->regex, grpc);
    for (size_t i = 0; i < m->n_methods; i++) {
        n += (size_t)snprintf(out + n, 512 - n, " %s", m->methods[i]);
    }
    n += (size_t)snprintf(out + n, 512 - n, " | %d %d %s %lldms %u |", r->enable_http2, r->priority,
                          r->prefix_rewrite,
                          r->timeout != NULL
                              ? (long long)r->timeout->seconds * 1000 + r->timeout->nanos / 1000000
                              : 0,
                          r->retry != NULL ? r->retry->retries : 0);
    for (size_t i = 0; i < r->n_targets; i++) {
        n += (size_t)snprintf(out + n, 512 - n, " %s", r->targets[i]->service);
    }
    if (r->endpoint != NULL) {
        snprintf(out + n, 512 - n, " %s:%u", r->endpoint->host, r->endpoint->port);
    }
}

static void keep(struct fake *f, const route_message *r)
{
    struct fake_route *kept = find(f, r->name);
    if (kept == NULL) {
        assert_true(f->n_routes < FAKE_ROUTES_MAX);
        kept = &f->routes[f->n_routes++];
    }
    memset(kept, 0, sizeof *kept);
    snprintf(kept->name, sizeof kept->name, "%s", r->name);
    describe(r, kept->words);
    if (r->endpoint != NULL) {
        snprintf(kept->host, sizeof kept->host, "%s", r->endpoint->host);
        kept->port = r->endpoint->port;
    }
}

static bool fails(struct fake *f, struct chassis_call *call)
{
    if (f->fail != 0) {
        chassis_call_fail(call, f->fail, "as the test wants");
    }
    return f->fail != 0;
}

static void on_add(struct chassis_call *call,
                   const Core__ControlPlane__Networking__V1__AddRouteRequest *req)
{
    struct fake *f = chassis_call_data(call);
    Core__ControlPlane__Networking__V1__AddRouteResponse res =
        CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE__INIT;
    char *problems[1];
    pthread_mutex_lock(&f->mutex);
    f->adds++;
    if (!fails(f, call)) {
        res.name = req->route->name;
        if (f->refuse != NULL && strcmp(f->refuse, req->route->name) == 0) {
            problems[0] = (char *)(uintptr_t)f->refuse_why;
            res.code =
                CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE_CODE__INVALID_REQUEST;
            res.problems = problems;
            res.n_problems = 1;
        } else {
            res.code = CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE_CODE__OK;
            keep(f, req->route);
        }
        networking_add_route_reply(call, &res);
    }
    pthread_mutex_unlock(&f->mutex);
}

static void on_delete(struct chassis_call *call,
                      const Core__ControlPlane__Networking__V1__DeleteRouteRequest *req)
{
    struct fake *f = chassis_call_data(call);
    Core__ControlPlane__Networking__V1__DeleteRouteResponse res =
        CORE__CONTROL_PLANE__NETWORKING__V1__DELETE_ROUTE_RESPONSE__INIT;
    fake_forget(f, req->name);
    pthread_mutex_lock(&f->mutex);
    f->deletes++;
    res.code = CORE__CONTROL_PLANE__NETWORKING__V1__DELETE_ROUTE_CODE__DELETE_ROUTE_OK;
    networking_delete_route_reply(call, &res);
    pthread_mutex_unlock(&f->mutex);
}

static void on_get(struct chassis_call *call, const Draft__Routing__V1__GetRouteRequest *req)
{
    struct fake *f = chassis_call_data(call);
    Draft__Routing__V1__RouteState res = DRAFT__ROUTING__V1__ROUTE_STATE__INIT;
    route_message route = CORE__CONTROL_PLANE__NETWORKING__V1__ROUTE__INIT;
    Core__ControlPlane__Networking__V1__Endpoint endpoint =
        CORE__CONTROL_PLANE__NETWORKING__V1__ENDPOINT__INIT;
    pthread_mutex_lock(&f->mutex);
    struct fake_route *kept = find(f, req->name);
    f->gets++;
    if (fails(f, call)) {
    } else if (kept == NULL) {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "no route '%s'", req->name);
    } else {
        endpoint.host = kept->host;
        endpoint.port = kept->port;
        route.name = kept->name;
        route.endpoint = kept->port != 0 ? &endpoint : NULL;
        res.route = &route;
        routing_get_route_reply(call, &res);
    }
    pthread_mutex_unlock(&f->mutex);
}

static void on_cancelled(struct chassis_call *call, void *data)
{
    chassis_call_fail(call, CHASSIS_CANCELLED, "cancelled");
}

static void on_await(struct chassis_call *call,
                     const Draft__Routing__V1__AwaitWithdrawnRequest *req)
{
    struct fake *f = chassis_call_data(call);
    Draft__Routing__V1__AwaitWithdrawnResponse res =
        DRAFT__ROUTING__V1__AWAIT_WITHDRAWN_RESPONSE__INIT;
    pthread_mutex_lock(&f->mutex);
    f->awaits++;
    snprintf(f->pid, sizeof f->pid, "%s", req->pid);
    bool mute = f->mute;
    pthread_mutex_unlock(&f->mutex);
    if (mute) {
        chassis_call_on_cancel(call, on_cancelled, f);
        return;
    }
    res.withdrawn = 1;
    routing_await_withdrawn_reply(call, &res);
}

static void on_record(struct chassis_call *call,
                      const Core__Registry__KeyValue__V1__GetRequest *req)
{
    struct fake *f = chassis_call_data(call);
    Core__Registry__KeyValue__V1__GetResponse res =
        CORE__REGISTRY__KEY_VALUE__V1__GET_RESPONSE__INIT;
    Core__Registry__KeyValue__V1__Value value = CORE__REGISTRY__KEY_VALUE__V1__VALUE__INIT;
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    struct chassis_buf bytes = {0};
    pthread_mutex_lock(&f->mutex);
    f->records++;
    if (strcmp(req->key, "fuse_address") != 0 || f->record[0] == '\0') {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "no record '%s'", req->key);
    } else {
        value.data = f->record;
        core__registry__key_value__v1__value__encode(&value, &bytes);
        any.type_url = req->value->type_url;
        any.value.data = bytes.data;
        any.value.len = bytes.len;
        res.value = &any;
        key_value_get_reply(call, &res);
        chassis_buf_fini(&bytes);
    }
    pthread_mutex_unlock(&f->mutex);
}

static struct chassis_server *server_new(void)
{
    struct chassis_error err = {0};
    struct chassis_server *server;
    struct chassis_listener_options listener = {.address = "127.0.0.1:0"};
    struct chassis_server_options options = {
        .listeners = &listener, .n_listeners = 1, .n_queues = 1};
    assert_int_equal(chassis_server_new(&options, &server, &err), 0);
    return server;
}

static void start_fuse(struct fake *f)
{
    static const struct networking_handlers networking = {.add_route = on_add,
                                                          .delete_route = on_delete};
    static const struct routing_handlers routing = {.get_route = on_get,
                                                    .await_withdrawn = on_await};
    f->fuse = server_new();
    assert_int_equal(chassis_server_add(f->fuse, networking_service(&networking, f), NULL), 0);
    assert_int_equal(chassis_server_add(f->fuse, routing_service(&routing, f), NULL), 0);
    assert_int_equal(chassis_server_start(f->fuse, NULL), 0);
    snprintf(f->fuse_address, sizeof f->fuse_address, "127.0.0.1:%u",
             chassis_server_port(f->fuse, 0));
}

void fake_start(struct fake *f)
{
    static const struct key_value_handlers kv = {.get = on_record};
    pthread_mutex_lock(&f->mutex);
    size_t kept = offsetof(struct fake, fuse);
    memset((char *)f + kept, 0, sizeof *f - kept);
    pthread_mutex_unlock(&f->mutex);
    start_fuse(f);
    f->blueprint = server_new();
    assert_int_equal(chassis_server_add(f->blueprint, key_value_service(&kv, f), NULL), 0);
    assert_int_equal(chassis_server_start(f->blueprint, NULL), 0);
    snprintf(f->blueprint_address, sizeof f->blueprint_address, "127.0.0.1:%u",
             chassis_server_port(f->blueprint, 0));
    fake_record(f, f->fuse_address);
}

void fake_record(struct fake *f, const char *address)
{
    pthread_mutex_lock(&f->mutex);
    snprintf(f->record, sizeof f->record, "%s%s", address[0] != '\0' ? "http://" : "", address);
    pthread_mutex_unlock(&f->mutex);
}

void fake_move(struct fake *f)
{
    struct chassis_server *old = f->fuse;
    start_fuse(f);
    fake_record(f, f->fuse_address);
    chassis_server_free(old);
}

void fake_stop(struct fake *f)
{
    chassis_server_free(f->fuse);
    chassis_server_free(f->blueprint);
}

void fake_words(struct fake *f, const char *name, char out[512])
{
    pthread_mutex_lock(&f->mutex);
    struct fake_route *kept = find(f, name);
    snprintf(out, 512, "%s", kept != NULL ? kept->words : "");
    pthread_mutex_unlock(&f->mutex);
}

void fake_forget(struct fake *f, const char *name)
{
    pthread_mutex_lock(&f->mutex);
    struct fake_route *kept = find(f, name);
    if (kept != NULL) {
        *kept = f->routes[--f->n_routes];
    }
    pthread_mutex_unlock(&f->mutex);
}

void fake_put(struct fake *f, const char *name, const char *host, uint32_t port)
{
    fake_forget(f, name);
    pthread_mutex_lock(&f->mutex);
    struct fake_route *kept = &f->routes[f->n_routes++];
    memset(kept, 0, sizeof *kept);
    snprintf(kept->name, sizeof kept->name, "%s", name);
    snprintf(kept->host, sizeof kept->host, "%s", host);
    snprintf(kept->words, sizeof kept->words, "of another");
    kept->port = port;
    pthread_mutex_unlock(&f->mutex);
}

unsigned fake_count(struct fake *f, const unsigned *counter)
{
    pthread_mutex_lock(&f->mutex);
    unsigned n = *counter;
    pthread_mutex_unlock(&f->mutex);
    return n;
}
