/* Opening and closing; where Fuse is. */
#include "routing/routing.h"

#include <stdio.h>

#include "base/fault.h"
#include "routing/internal.h"

static char fuse_record[] = "fuse_address";
static char plain_kind[] = "type.googleapis.com/core.registry.key_value.v1.Value";

/* --- where Fuse is --- */

/* With the mutex: nobody is told after their stop returned. */
static void tell(struct chassis_routing *r)
{
    const char *address = r->status.fuse;
    const struct chassis_endpoint endpoint = {address};
    if (r->update != NULL) {
        r->update(&endpoint, address[0] != '\0', "Blueprint has no record 'fuse_address'",
                  r->update_data);
    }
}

static int resolve(struct chassis_resolver *resolver, const char *name, chassis_endpoints_cb update,
                   void *data, struct chassis_resolution **ret_resolution,
                   struct chassis_error *err)
{
    struct chassis_routing *r = (struct chassis_routing *)(void *)resolver;
    pthread_mutex_lock(&r->mutex);
    CHASSIS_ASSERT(r->update == NULL); /* we make one client */
    r->update = update;
    r->update_data = data;
    tell(r);
    pthread_mutex_unlock(&r->mutex);
    *ret_resolution = (struct chassis_resolution *)(void *)r;
    return 0;
}

static void unresolve(struct chassis_resolver *resolver, struct chassis_resolution *resolution)
{
    struct chassis_routing *r = (struct chassis_routing *)(void *)resolver;
    pthread_mutex_lock(&r->mutex);
    r->update = NULL;
    pthread_mutex_unlock(&r->mutex);
}

void routing_set_fuse(struct chassis_routing *r, const char *address)
{
    pthread_mutex_lock(&r->mutex);
    if (strcmp(r->status.fuse, address) != 0) {
        chassis_log_info(r->log, "Fuse is there", chassis_f_str("address", address));
        snprintf(r->status.fuse, sizeof r->status.fuse, "%s", address);
        tell(r);
    }
    pthread_mutex_unlock(&r->mutex);
}

bool routing_knows_fuse(struct chassis_routing *r)
{
    pthread_mutex_lock(&r->mutex);
    bool known = r->status.fuse[0] != '\0';
    pthread_mutex_unlock(&r->mutex);
    return known;
}

static struct chassis_client *open_client(struct chassis_routing *r, const char *target,
                                          struct chassis_client **client, struct chassis_error *err)
{
    if (*client == NULL) {
        struct chassis_client_options options = {
            .target = target,
            .tls = r->options.tls,
            .resolver = &r->resolver,
            .executor = r->loop,
            .timeout_ms = r->options.call_timeout_ms,
            .attempts_max = client == &r->fuse ? 1 : 0, /* trying again is done here */
            .token_now = r->options.token_now,
            .token_data = r->options.token_data,
        };
        if (CHASSIS_FAULT("routing.client")) {
            chassis_error_set(err, CHASSIS_INTERNAL, "fault injected");
            return NULL;
        }
        if (chassis_client_new(&options, client, err) != 0) {
            return NULL;
        }
    }
    return *client;
}

struct chassis_client *routing_fuse(struct chassis_routing *r, struct chassis_error *err)
{
    return open_client(r, "draft:///fuse", &r->fuse, err);
}

struct finding {
    struct chassis_routing *routing;
    void (*done)(struct chassis_routing *r, int code, const char *text);
};

/* The record's address; "" without one. */
static void address_of(const struct chassis_reply *reply, char out[ROUTING_ADDRESS_SIZE])
{
    const Core__Registry__KeyValue__V1__GetResponse *res = key_value_get_response(reply);
    struct chassis_arena arena;
    struct chassis_buf text = {0};
    Core__Registry__KeyValue__V1__Value *value;
    chassis_arena_init(&arena, NULL, 0, 1 << 20);
    out[0] = '\0';
    if (res != NULL && res->value != NULL &&
        core__registry__key_value__v1__value__decode(
            chassis_view(res->value->value.data, res->value->value.len), &arena, &value, NULL) ==
            0 &&
        routing_host_port(value->data, &text)) {
        snprintf(out, ROUTING_ADDRESS_SIZE, "%.*s", CHASSIS_VIEW_ARG(chassis_buf_view(&text)));
    }
    chassis_buf_fini(&text);
    chassis_arena_fini(&arena);
}

static void on_record(const struct chassis_reply *reply, void *data)
{
    struct finding *f = data;
    struct chassis_routing *r = f->routing;
    char address[ROUTING_ADDRESS_SIZE];
    int code = reply->code;
    const char *text = reply->text;
    if (code == 0) {
        address_of(reply, address);
        if (address[0] != '\0') {
            routing_set_fuse(r, address);
        } else {
            code = CHASSIS_MALFORMED;
            text = "Blueprint's record 'fuse_address' is no http://host:port";
        }
    }
    void (*done)(struct chassis_routing *, int, const char *) = f->done;
    free(f);
    r->calling = false;
    done(r, code, text);
}

void routing_find(struct chassis_routing *r, uint64_t timeout_ms,
                  void (*done)(struct chassis_routing *r, int code, const char *text))
{
    struct chassis_error err = {0};
    if (r->options.address != NULL) {
        done(r, 0, "");
        return;
    }
    struct chassis_client *client = open_client(r, r->blueprint_target, &r->blueprint, &err);
    if (client == NULL) {
        done(r, err.code, chassis_error_text(&err));
        return;
    }
    Core__Registry__KeyValue__V1__GetRequest req = CORE__REGISTRY__KEY_VALUE__V1__GET_REQUEST__INIT;
    Google__Protobuf__Any kind = GOOGLE__PROTOBUF__ANY__INIT;
    struct chassis_call_options options = {.timeout_ms = timeout_ms, .idempotent = true};
    struct finding *f = chassis_base_alloc(sizeof *f);
    *f = (struct finding){r, done};
    kind.type_url = plain_kind;
    req.key = fuse_record;
    req.value = &kind;
    r->calling = true;
    key_value_get(client, &req, &options, on_record, f);
}

/* --- life --- */

static const char *keep(struct chassis_routing *r, const char *text)
{
    return text != NULL ? chassis_arena_strdup(&r->arena, text) : NULL;
}

static void keep_options(struct chassis_routing *r, const struct chassis_routing_options *o)
{
    r->options = *o;
    r->options.name = keep(r, o->name);
    r->options.domain = keep(r, o->domain);
    r->options.rpc_address = keep(r, o->rpc_address);
    r->options.http_address = keep(r, o->http_address);
    r->options.backoff_min_ms = o->backoff_min_ms != 0 ? o->backoff_min_ms : 100;
    r->options.backoff_max_ms = o->backoff_max_ms != 0 ? o->backoff_max_ms : 5000;
    r->options.interval_ms = o->interval_ms != 0 ? o->interval_ms : 30000;
    r->options.call_timeout_ms = o->call_timeout_ms != 0 ? o->call_timeout_ms : 3000;
    if (o->tls != NULL) {
        r->tls = (struct chassis_tls_files){keep(r, o->tls->ca), keep(r, o->tls->certificate),
                                            keep(r, o->tls->key), keep(r, o->tls->server_name)};
        r->options.tls = &r->tls;
    }
}

static int keep_addresses(struct chassis_routing *r, const struct chassis_routing_options *o,
                          struct chassis_error *err)
{
    struct chassis_buf text = {0};
    int rc = 0;
    for (size_t i = 0; i < o->n_entrypoints; i++) {
        if (!routing_host_port(o->entrypoints[i], &text)) {
            rc = chassis_error_set(err, CHASSIS_CONFIG,
                                   "service.entrypoint '%s': must be http://host:port",
                                   o->entrypoints[i]);
        }
    }
    r->blueprint_target =
        text.len != 0 ? chassis_arena_strndup(&r->arena, text.data, text.len) : NULL;
    chassis_buf_clear(&text);
    if (o->address != NULL && rc == 0) {
        if (routing_host_port(o->address, &text)) {
            r->options.address = chassis_arena_strndup(&r->arena, text.data, text.len);
            snprintf(r->status.fuse, sizeof r->status.fuse, "%s", r->options.address);
        } else {
            rc = chassis_error_set(err, CHASSIS_CONFIG,
                                   "fuse.address '%s': must be "
                                   "http://host:port",
                                   o->address);
        }
    }
    chassis_buf_fini(&text);
    CHASSIS_ASSERT(rc != 0 || o->address != NULL || r->blueprint_target != NULL);
    return rc;
}

static void free_all(struct chassis_routing *r)
{
    chassis_arena_fini(&r->arena);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

static void on_timer(struct chassis_timer *timer)
{
    routing_round(chassis_container_of(timer, struct chassis_routing, timer));
}

int chassis_routing_open(const struct chassis_routing_options *options,
                         struct chassis_routing **ret_routing, struct chassis_error *err)
{
    struct chassis_routing *r = chassis_base_zalloc(sizeof *r);
    pthread_condattr_t attr;
    uint64_t seed;
    r->resolver.start = resolve;
    r->resolver.stop = unresolve;
    r->loop = options->loop;
    r->log = chassis_log_module("routing");
    r->timer.run = on_timer;
    chassis_arena_init(&r->arena, NULL, 0, 0);
    chassis_base_random_bytes(&seed, sizeof seed);
    chassis_prng_init(&r->prng, seed);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
    r->gauge_told =
        chassis_gauge("chassis_routing_told", "Routes of this process that Fuse has.", NULL, 0);
    r->failures = chassis_counter("chassis_routing_failures_total",
                                  "Times Fuse could not be found, asked or told.", NULL, 0);
    keep_options(r, options);
    int rc = keep_addresses(r, options, err);
    if (rc != 0) {
        free_all(r);
        return rc;
    }
    *ret_routing = r;
    return 0;
}

int chassis_routing_add(struct chassis_routing *r, const struct chassis_route *route,
                        struct chassis_error *err)
{
    CHASSIS_ASSERT(r->n_routes < ROUTING_ROUTES_MAX);
    struct routing_route *added = &r->routes[r->n_routes];
    int rc = routing_build(r, route, &added->message, &added->own, err);
    for (unsigned i = 0; rc == 0 && i < r->n_routes; i++) {
        if (strcmp(r->routes[i].message->name, added->message->name) == 0) {
            rc = chassis_error_set(err, CHASSIS_ALREADY_EXISTS,
                                   "two routes are called '%s': give one another name",
                                   added->message->name);
        }
    }
    if (rc == 0) {
        r->n_routes++;
        r->status.routes = r->n_routes;
    }
    return rc;
}

void routing_count(struct chassis_routing *r)
{
    unsigned told = 0, refused = 0;
    for (unsigned i = 0; i < r->n_routes; i++) {
        told += r->routes[i].told;
        refused += r->routes[i].refused;
    }
    chassis_gauge_set(r->gauge_told, told);
    pthread_mutex_lock(&r->mutex);
    r->status.told = told;
    r->status.refused = refused;
    r->status.attempts = r->attempt;
    pthread_mutex_unlock(&r->mutex);
}

void chassis_routing_status(struct chassis_routing *r, struct chassis_routing_status *ret_status)
{
    pthread_mutex_lock(&r->mutex);
    *ret_status = r->status;
    pthread_mutex_unlock(&r->mutex);
}

/* --- from other threads to the loop --- */

struct loop_call {
    struct chassis_task task;
    struct chassis_routing *routing;
    void (*fn)(struct chassis_routing *r);
};

static void run_loop_call(struct chassis_task *task)
{
    struct loop_call *call = chassis_container_of(task, struct loop_call, task);
    call->fn(call->routing);
    free(call);
}

static void on_loop(struct chassis_routing *r, void (*fn)(struct chassis_routing *r))
{
    struct loop_call *call = chassis_base_zalloc(sizeof *call);
    call->task.run = run_loop_call;
    call->routing = r;
    call->fn = fn;
    chassis_post(r->loop, &call->task);
}

static void start_on_loop(struct chassis_routing *r)
{
    if (r->n_routes != 0 && !r->withdrawing && !r->closing) {
        routing_round(r);
    }
}

void chassis_routing_start(struct chassis_routing *r)
{
    on_loop(r, start_on_loop);
}

/* False when time was up. */
static bool wait_for(struct chassis_routing *r, const bool *flag, uint64_t wait_ms)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ms * CHASSIS_NS_PER_MS;
    until.tv_sec += (time_t)(ns / CHASSIS_NS_PER_S);
    until.tv_nsec = (long)(ns % CHASSIS_NS_PER_S);
    pthread_mutex_lock(&r->mutex);
    while (!*flag && rc == 0) {
        rc = wait_ms != 0 ? pthread_cond_timedwait(&r->changed, &r->mutex, &until)
                          : pthread_cond_wait(&r->changed, &r->mutex);
    }
    bool reached = *flag;
    pthread_mutex_unlock(&r->mutex);
    return reached;
}

bool chassis_routing_withdraw(struct chassis_routing *r, const char *pid, uint64_t wait_ms)
{
    CHASSIS_ASSERT(!chassis_is_current(r->loop) && wait_ms != 0);
    snprintf(r->pid, sizeof r->pid, "%s", pid); /* the loop reads it after the post */
    r->withdraw_by_ns = chassis_now_ns(r->loop) + wait_ms * CHASSIS_NS_PER_MS;
    on_loop(r, routing_withdraw_begin);
    bool over = wait_for(r, &r->withdraw_over, wait_ms);
    pthread_mutex_lock(&r->mutex);
    bool withdrawn = over && r->withdrawn;
    pthread_mutex_unlock(&r->mutex);
    return withdrawn;
}

static void close_on_loop(struct chassis_routing *r)
{
    r->closing = true;
    chassis_cancel(r->loop, &r->timer);
    pthread_mutex_lock(&r->mutex);
    r->halted = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

static void quiet_on_loop(struct chassis_routing *r)
{
    pthread_mutex_lock(&r->mutex);
    r->quiet = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

void chassis_routing_close(struct chassis_routing *r)
{
    if (r == NULL) {
        return;
    }
    CHASSIS_ASSERT(!chassis_is_current(r->loop));
    on_loop(r, close_on_loop);
    wait_for(r, &r->halted, 0);
    /* Freeing cancels what is under way; its last callbacks run on the loop before `quiet` does. */
    chassis_client_free(r->blueprint);
    chassis_client_free(r->fuse);
    on_loop(r, quiet_on_loop);
    wait_for(r, &r->quiet, 0);
    free_all(r);
}
