/* grpc.health.v1.Health: Check and Watch, per service and for the server as a whole.
 *
 * Threads: any; one mutex. Watchers are calls whose handler has not ended them: they are told of a
 * change from the thread that makes it and end when the client goes or the server drains.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/list.h"
#include "grpc/health/v1/health.chassis.h"
#include "rpc/server_impl.h"
#include "rpc/wire.h"

enum serving { UNKNOWN = 0, SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

struct entry { /* a service set on its own */
    struct entry *next;
    bool serving;
    char name[];
};

struct watcher {
    struct chassis_list link;
    struct chassis_call *call;
    char *service;
    int told;
};

struct rpc_health {
    struct chassis_server *server;
    pthread_mutex_t lock;
    bool serving, closed;
    struct entry *entries;
    struct chassis_list watchers;
};

/* Under the lock. */
static enum serving status_of(struct rpc_health *h, const char *service)
{
    for (struct entry *e = h->entries; e != NULL; e = e->next) {
        if (strcmp(e->name, service) == 0) {
            return e->serving && h->serving ? SERVING : NOT_SERVING;
        }
    }
    bool known = service[0] == '\0';
    for (size_t i = 0; i < h->server->n_services && !known; i++) {
        known = strcmp(h->server->services[i]->type->name, service) == 0;
    }
    return !known ? SERVICE_UNKNOWN : h->serving ? SERVING : NOT_SERVING;
}

static struct chassis_view response_of(enum serving status, uint8_t room[2])
{
    room[0] = 1 << 3;
    room[1] = (uint8_t)status;
    return chassis_view(room, 2);
}

/* The field `service`, in the call's arena; NULL when the call was ended. */
static char *request_service(struct chassis_call *call, const void *request)
{
    const struct chassis_view *raw = request;
    struct chassis_reader reader = chassis_reader(*raw);
    struct rpc_field field;
    struct chassis_view service = {0};
    while (rpc_wire_next(&reader, &field)) {
        service = field.number == 1 ? field.bytes : service;
    }
    if (reader.bad) {
        chassis_call_fail(call, CHASSIS_MALFORMED, "health request is not a valid message");
        return NULL;
    }
    char *name = chassis_arena_strndup(chassis_call_arena(call), service.data, service.len);
    if (name == NULL) {
        chassis_call_fail(call, CHASSIS_TOO_LARGE, "name of the service is too long");
    }
    return name;
}

static void check(const void *handlers, struct chassis_call *call, const void *request)
{
    struct rpc_health *h = chassis_call_data(call);
    uint8_t room[2];
    char *service = request_service(call, request);
    if (service == NULL) {
        return;
    }
    pthread_mutex_lock(&h->lock);
    enum serving status = status_of(h, service);
    pthread_mutex_unlock(&h->lock);
    if (status == SERVICE_UNKNOWN) {
        chassis_call_fail(call, CHASSIS_NOT_FOUND, "no service '%s' here", service);
    } else {
        chassis_call_reply_bytes(call, response_of(status, room));
    }
}

/* Take the watcher out; only who finds it linked ends the call. */
static bool watcher_take(struct rpc_health *h, struct watcher *w)
{
    pthread_mutex_lock(&h->lock);
    bool linked = !chassis_list_empty(&w->link);
    chassis_list_remove(&w->link);
    pthread_mutex_unlock(&h->lock);
    return linked;
}

static void watch_cancelled(struct chassis_call *call, void *data)
{
    struct watcher *w = data;
    if (watcher_take(chassis_call_data(call), w)) {
        chassis_call_fail(call, CHASSIS_CANCELLED, "watch cancelled");
    }
}

/* Under the lock: the list keeps the call from ending meanwhile. A watcher that reads too slowly
 * misses states between, never the last: it is told again by the next change or on writable. */
static void watcher_tell(struct rpc_health *h, struct watcher *w)
{
    uint8_t room[2];
    int status = (int)status_of(h, w->service);
    if (status != w->told &&
        chassis_call_send_bytes(w->call, response_of((enum serving)status, room)) == 0) {
        w->told = status;
    }
}

static void watch_writable(struct chassis_call *call, void *data)
{
    struct rpc_health *h = chassis_call_data(call);
    struct watcher *w = data;
    pthread_mutex_lock(&h->lock);
    if (!chassis_list_empty(&w->link)) {
        watcher_tell(h, w);
    }
    pthread_mutex_unlock(&h->lock);
}

static void watch(const void *handlers, struct chassis_call *call, const void *request)
{
    struct rpc_health *h = chassis_call_data(call);
    char *service = request_service(call, request);
    if (service == NULL) {
        return;
    }
    struct watcher *w = chassis_arena_zalloc(chassis_call_arena(call), sizeof *w);
    if (w == NULL) {
        chassis_call_fail(call, CHASSIS_RESOURCE_EXHAUSTED, "no memory left for this call");
        return;
    }
    w->call = call;
    w->service = service;
    w->told = -1;
    chassis_list_init(&w->link);
    chassis_call_on_writable(call, watch_writable, w);
    pthread_mutex_lock(&h->lock);
    bool closed = h->closed;
    if (!closed) {
        chassis_list_append(&h->watchers, &w->link);
        watcher_tell(h, w);
    }
    pthread_mutex_unlock(&h->lock);
    if (closed) {
        chassis_call_fail(call, CHASSIS_SHUTTING_DOWN, "this server is shutting down");
        return;
    }
    /* The call is still ours: this role is the only one that registers the callback. */
    chassis_call_on_cancel(call, watch_cancelled, w);
}

static const struct chassis_method methods[] = {
    {.name = "Check",
     .path = "/grpc.health.v1.Health/Check",
     .service = "grpc.health.v1.Health",
     .kind = CHASSIS_UNARY},
    {.name = "Watch",
     .path = "/grpc.health.v1.Health/Watch",
     .service = "grpc.health.v1.Health",
     .kind = CHASSIS_SERVER_STREAM},
};
static const struct chassis_method_binding bindings[] = {
    {.method = &methods[0], .message = check},
    {.method = &methods[1], .message = watch},
};
static const struct chassis_service_type type = {.name = "grpc.health.v1.Health",
                                                 .methods = bindings,
                                                 .n_methods = 2,
                                                 .file = &grpc_health_v1_health_file};
static const struct chassis_method_options options[] = {
    {.method = "*",
     .access = CHASSIS_ACCESS_PUBLIC,
     .never_blocks = true,
     .idempotent = true,
     .request_bytes_max = 4096},
    {.method = NULL},
};

struct chassis_service rpc_health_service(struct rpc_health *health)
{
    return (struct chassis_service){.type = &type, .options = options, .data = health};
}

struct rpc_health *rpc_health_new(struct chassis_server *server)
{
    struct rpc_health *h = chassis_base_zalloc(sizeof *h);
    h->server = server;
    pthread_mutex_init(&h->lock, NULL);
    chassis_list_init(&h->watchers);
    return h;
}

void rpc_health_free(struct rpc_health *h)
{
    if (h == NULL) {
        return;
    }
    while (h->entries != NULL) {
        struct entry *e = h->entries;
        h->entries = e->next;
        free(e);
    }
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static void entry_set(struct rpc_health *h, const char *service, bool serving)
{
    struct entry *e = h->entries;
    while (e != NULL && strcmp(e->name, service) != 0) {
        e = e->next;
    }
    if (e == NULL) {
        size_t n = strlen(service) + 1;
        e = chassis_base_alloc(sizeof *e + n);
        memcpy(e->name, service, n);
        e->next = h->entries;
        h->entries = e;
    }
    e->serving = serving;
}

/* `service` NULL: no more watching; ends the watchers. */
void rpc_health_set(struct rpc_health *h, const char *service, bool serving)
{
    struct chassis_list gone;
    chassis_list_init(&gone);
    pthread_mutex_lock(&h->lock);
    if (service == NULL) {
        h->closed = true;
    } else if (service[0] == '\0') {
        h->serving = serving;
    } else {
        entry_set(h, service, serving);
    }
    chassis_list_foreach_safe (it, &h->watchers) {
        struct watcher *w = chassis_list_entry(it, struct watcher, link);
        watcher_tell(h, w);
        if (h->closed) {
            chassis_list_remove(&w->link); /* unlinked: on_cancel leaves the call to us */
            chassis_list_append(&gone, &w->link);
        }
    }
    pthread_mutex_unlock(&h->lock);
    for (;;) {
        pthread_mutex_lock(&h->lock);
        struct watcher *w =
            chassis_list_empty(&gone) ? NULL : chassis_list_entry(gone.next, struct watcher, link);
        if (w != NULL) {
            chassis_list_remove(&w->link);
        }
        pthread_mutex_unlock(&h->lock);
        if (w == NULL) {
            return;
        }
        chassis_call_fail(w->call, CHASSIS_SHUTTING_DOWN, "this server is shutting down");
    }
}
