/* Clients: endpoints, picking, ejection, common headers, life. */
#include "rpc/client_impl.h"

#include <errno.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/fault.h"
#include "metrics/trace.h"
#include "os/os.h"
#include "rpc/access.h"
#include "rpc/transport.h"

enum {
    ENDPOINTS_MAX = 256,
    EJECT_AFTER = 3,
    FIXED_BYTES = 512, /* headers that gRPC adds */
    LEAVING_MS = 5000, /* one that said that it is shutting down is left alone this long */
};

/* ---- endpoints ---- */

static void endpoint_unref(struct rpc_endpoint *endpoint)
{
    if (--endpoint->refs == 0) {
        rpc_channel_release(endpoint->channel);
        free(endpoint->address);
        free(endpoint);
    }
}

static struct rpc_endpoint *endpoint_new(struct chassis_client *client, const char *address)
{
    struct rpc_endpoint *endpoint = chassis_base_zalloc(sizeof *endpoint);
    const struct rpc_channel_options options = {
        .address = address,
        .tls = client->tls,
        .server_name = client->server_name,
        .response_bytes_max = client->response_bytes_max,
    };
    endpoint->address = chassis_base_strdup(address);
    endpoint->channel = rpc_channel_acquire(&options);
    endpoint->refs = 1;
    endpoint->listed = true;
    return endpoint;
}

static struct rpc_endpoint *endpoint_find(struct rpc_endpoint **list, size_t n, const char *address)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i] != NULL && strcmp(list[i]->address, address) == 0) {
            return list[i];
        }
    }
    return NULL;
}

/* The new list: what is in both is kept with its connection, what is gone drains with its calls. */
static void endpoints_set(struct chassis_client *client, const struct chassis_endpoint *endpoints,
                          size_t n)
{
    n = n > ENDPOINTS_MAX ? ENDPOINTS_MAX : n;
    struct rpc_endpoint **list = chassis_base_zalloc((n + 1) * sizeof *list);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct rpc_endpoint *old =
            endpoint_find(client->endpoints, client->n_endpoints, endpoints[i].address);
        if (endpoint_find(list, kept, endpoints[i].address) != NULL) {
            continue;
        }
        if (old != NULL) {
            old->refs++;
        }
        list[kept++] = old != NULL ? old : endpoint_new(client, endpoints[i].address);
    }
    for (size_t i = 0; i < client->n_endpoints; i++) {
        struct rpc_endpoint *old = client->endpoints[i];
        old->listed = endpoint_find(list, kept, old->address) == old;
        endpoint_unref(old);
    }
    free(client->endpoints);
    client->endpoints = list;
    client->n_endpoints = kept;
}

static void on_endpoints(const struct chassis_endpoint *endpoints, size_t n, const char *why,
                         void *data)
{
    struct chassis_client *client = data;
    pthread_mutex_lock(&client->lock);
    if (!client->closed) {
        endpoints_set(client, endpoints, n);
        client->resolved = true;
        snprintf(client->why, sizeof client->why, "%s", why != NULL ? why : "");
        chassis_list_foreach (it, &client->active) {
            struct rpc_client_op *op = chassis_list_entry(it, struct rpc_client_op, link);
            if (op->unresolved) {
                op->unresolved = false;
                rpc_timer_hurry(&op->timer);
            }
        }
    }
    pthread_mutex_unlock(&client->lock);
}

int rpc_client_wait_resolved(struct chassis_client *client, struct rpc_client_op *op,
                             uint64_t deadline_ns, struct chassis_error *err)
{
    if (deadline_ns <= chassis_os_monotonic_ns()) {
        return chassis_error_set(err, CHASSIS_DEADLINE_EXCEEDED,
                                 "'%s' was not resolved before the deadline", client->target);
    }
    op->unresolved = true;
    rpc_timer_start(&op->timer, deadline_ns);
    return 0;
}

static uint64_t out_until_ns(const struct rpc_endpoint *e)
{
    return e->ejected_until_ns > e->leaving_until_ns ? e->ejected_until_ns : e->leaving_until_ns;
}

int rpc_client_pick(struct chassis_client *client, const struct rpc_endpoint *avoid,
                    struct rpc_endpoint **ret_endpoint, struct chassis_error *err)
{
    if (!client->resolved) {
        return chassis_error_set(err, CHASSIS_BUSY, "'%s' is not resolved yet", client->target);
    }
    if (client->n_endpoints == 0) {
        return chassis_error_set(err, CHASSIS_UNAVAILABLE, "nothing is known to serve '%s'%s%s",
                                 client->target, client->why[0] != '\0' ? ": " : "", client->why);
    }
    uint64_t now_ns = chassis_os_monotonic_ns();
    struct rpc_endpoint *best = client->endpoints[client->next_endpoint % client->n_endpoints];
    for (size_t i = 0; i < client->n_endpoints; i++) {
        struct rpc_endpoint *e =
            client->endpoints[(client->next_endpoint + i) % client->n_endpoints];
        bool healthy = out_until_ns(e) <= now_ns;
        if (healthy && e != avoid) {
            best = e;
            client->next_endpoint = (client->next_endpoint + i + 1) % client->n_endpoints;
            break;
        }
        /* All are ejected: the one whose time is up first. */
        if (best == avoid || (e != avoid && out_until_ns(e) < out_until_ns(best))) {
            best = e;
        }
    }
    best->refs++;
    *ret_endpoint = best;
    return 0;
}

void rpc_client_report(struct chassis_client *client, struct rpc_endpoint *endpoint,
                       const struct rpc_verdict *verdict)
{
    int code = verdict->code;
    pthread_mutex_lock(&client->lock);
    if (verdict->leaving) {
        endpoint->leaving_until_ns = chassis_os_monotonic_ns() + LEAVING_MS * CHASSIS_NS_PER_MS;
    } else if (code == CHASSIS_UNAVAILABLE) {
        endpoint->failures++;
        bool alone = client->n_endpoints <= 1;
        if (!alone && (endpoint->failures >= EJECT_AFTER || endpoint->failures == 1)) {
            unsigned doublings = endpoint->failures < 8 ? endpoint->failures - 1 : 7;
            uint64_t ns = 50 * CHASSIS_NS_PER_MS << doublings; /* to 6.4 s */
            double jitter = 0.75 + 0.5 * chassis_prng_unit(&client->prng);
            endpoint->ejected_until_ns =
                chassis_os_monotonic_ns() + (uint64_t)((double)ns * jitter);
        }
    } else if (code != CHASSIS_CANCELLED && code != CHASSIS_DEADLINE_EXCEEDED) {
        endpoint->failures = 0;
        endpoint->ejected_until_ns = 0;
    }
    endpoint_unref(endpoint);
    pthread_mutex_unlock(&client->lock);
}

/* gRPC tells by the peer that a call never reached a connection. */
static bool never_sent(grpc_call *call)
{
    char *peer = grpc_call_get_peer(call);
    bool never = strncmp(peer, "dns:", 4) == 0;
    gpr_free(peer);
    return never;
}

/* What gRPC itself says of a call comes without metadata, but a server may answer so as well: the
 * text decides. "GOAWAY received" is the end of streams beyond the last one that the server says it
 * has seen (RFC 9113, 6.8); the others go on. A gRPC server that is shutting down breaks off what
 * arrives late as cancelled, like any that gives a call up half-way: that may have been run. */
void rpc_client_verdict(const struct rpc_ending *ending, struct rpc_verdict *ret)
{
    struct chassis_view text = rpc_slice_view(ending->details);
    bool bare = ending->initial->count == 0 && ending->trailing->count == 0;
    bool not_run = rpc_metadata_view(ending->trailing, CHASSIS_NOT_RUN_TRAILER).data != NULL;
    ret->code =
        ending->status == GRPC_STATUS_OK ? 0 : chassis_status_from_grpc((int)ending->status);
    ret->leaving = ret->never_run = ret->broken_off = false;
    if (ret->code == CHASSIS_UNAVAILABLE) {
        ret->leaving =
            not_run || (bare && chassis_view_eq(text, chassis_view_str("GOAWAY received")));
        ret->never_run = ret->leaving || never_sent(ending->call);
    } else if (ret->code == CHASSIS_CANCELLED && !ending->cancelled && bare &&
               chassis_view_eq(text, chassis_view_str("CANCELLED"))) {
        ret->code = CHASSIS_UNAVAILABLE;
        ret->broken_off = true;
    }
}

/* ---- headers and deadline ---- */

struct chassis_view rpc_metadata_view(const grpc_metadata_array *array, const char *key)
{
    for (size_t i = 0; i < array->count; i++) {
        struct chassis_view name = rpc_slice_view(&array->metadata[i].key);
        if (chassis_view_eq(name, chassis_view_str(key))) {
            return rpc_slice_view(&array->metadata[i].value);
        }
    }
    return chassis_view(NULL, 0);
}

const char *rpc_metadata_find(const grpc_metadata_array *array, const char *key,
                              struct chassis_arena *arena)
{
    struct chassis_view value = rpc_metadata_view(array, key);
    return value.data != NULL ? chassis_arena_strndup(arena, value.data, value.len) : NULL;
}

static grpc_metadata metadata_of(const char *key, const char *value)
{
    grpc_metadata md;
    memset(&md, 0, sizeof md);
    md.key = grpc_slice_from_copied_string(key);
    md.value = grpc_slice_from_copied_string(value);
    return md;
}

static void trace_header(const struct chassis_call_options *options,
                         char out[CHASSIS_TRACE_PARENT_LEN + 1])
{
    struct chassis_trace own, parent;
    const char *from = options != NULL && options->parent != NULL
                           ? chassis_call_traceparent(options->parent)
                           : NULL;
    if (from != NULL && chassis_trace_parse(chassis_view_str(from), &parent) == 0) {
        chassis_trace_child(&parent, &own);
    } else {
        chassis_trace_new(&own);
    }
    chassis_trace_format(&own, out);
}

/* A server that is sent more than it takes may close the connection, and other calls with it. */
static int headers_check(const struct rpc_headers *headers, const char *path,
                         struct chassis_error *err)
{
    size_t size = FIXED_BYTES + strlen(path); /* as HTTP/2 counts a list of headers */
    for (size_t i = 0; i < headers->n; i++) {
        size += GRPC_SLICE_LENGTH(headers->items[i].key) +
                GRPC_SLICE_LENGTH(headers->items[i].value) + 32;
    }
    return size <= RPC_METADATA_BYTES ? 0
                                      : chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED,
                                                          "the metadata of a call to '%s' has %zu "
                                                          "bytes, the limit is %d: send less",
                                                          path, size, RPC_METADATA_BYTES);
}

/* Unless the caller has its own. */
static void add_authorization(const struct chassis_client *client,
                              const struct chassis_call_options *options, struct rpc_headers *ret)
{
    struct chassis_buf text = {0};
    for (size_t i = 0; options != NULL && i < options->n_metadata; i++) {
        if (strcmp(options->metadata[i].key, "authorization") == 0) {
            return;
        }
    }
    if (client->authorization != NULL) {
        chassis_buf_append_str(&text, client->authorization);
    } else if (client->token_now != NULL) {
        chassis_buf_append_str(&text, "Bearer ");
        size_t before = text.len;
        client->token_now(client->token_data, &text);
        text.len = text.len != before ? text.len : 0;
    }
    if (text.len != 0) {
        chassis_buf_append_byte(&text, 0);
        ret->items[ret->n++] = metadata_of("authorization", (const char *)text.data);
    }
    chassis_buf_fini(&text);
}

int rpc_client_headers(struct chassis_client *client, const char *path,
                       const struct chassis_call_options *options, struct chassis_arena *arena,
                       struct rpc_headers *ret, struct chassis_error *err)
{
    size_t own = options != NULL ? options->n_metadata : 0;
    char trace[CHASSIS_TRACE_PARENT_LEN + 1];
    ret->items = chassis_arena_alloc(arena, (own + 3) * sizeof *ret->items);
    ret->n = 0;
    if (client->secret.len != 0) { /* first: renewed for every attempt */
        char proof[CHASSIS_PROOF_MAX];
        chassis_proof_make(chassis_buf_view(&client->secret), path, (int64_t)time(NULL), proof);
        ret->items[ret->n++] = metadata_of(CHASSIS_PROOF_HEADER, proof);
    }
    trace_header(options, trace);
    ret->items[ret->n++] = metadata_of("traceparent", trace);
    add_authorization(client, options, ret);
    for (size_t i = 0; i < own; i++) {
        grpc_metadata md = metadata_of(options->metadata[i].key, options->metadata[i].value);
        if (grpc_header_key_is_legal(md.key) &&
            (grpc_is_binary_header(md.key) || grpc_header_nonbin_value_is_legal(md.value))) {
            ret->items[ret->n++] = md;
            continue;
        }
        chassis_log_warn(client->log, "request metadata dropped: not legal in a header",
                         chassis_f_str("key", options->metadata[i].key));
        grpc_slice_unref(md.key);
        grpc_slice_unref(md.value);
    }
    return headers_check(ret, path, err);
}

void rpc_client_headers_renew(struct chassis_client *client, const char *path,
                              struct rpc_headers *headers)
{
    if (client->secret.len != 0) {
        char proof[CHASSIS_PROOF_MAX];
        chassis_proof_make(chassis_buf_view(&client->secret), path, (int64_t)time(NULL), proof);
        grpc_slice_unref(headers->items[0].value);
        headers->items[0].value = grpc_slice_from_copied_string(proof);
    }
}

void rpc_headers_fini(struct rpc_headers *headers)
{
    for (size_t i = 0; i < headers->n; i++) {
        grpc_slice_unref(headers->items[i].key);
        grpc_slice_unref(headers->items[i].value);
    }
    headers->n = 0;
}

uint64_t rpc_client_deadline(const struct chassis_client *client,
                             const struct chassis_call_options *options, bool stream)
{
    uint64_t now_ns = chassis_os_monotonic_ns();
    uint64_t ms = options != NULL ? options->timeout_ms : 0;
    ms = ms == 0 && !stream ? client->timeout_ms : ms;
    uint64_t deadline = ms != 0 && ms < UINT64_MAX / 2 / CHASSIS_NS_PER_MS
                            ? now_ns + ms * CHASSIS_NS_PER_MS
                            : UINT64_MAX;
    if (options != NULL && options->parent != NULL) {
        uint64_t left = chassis_call_time_left_ns(options->parent);
        if (left != UINT64_MAX && now_ns + left < deadline) {
            deadline = now_ns + left;
        }
    }
    return deadline;
}

/* ---- life ---- */

/* The identity has a new content: calls from now on go by connections made with it, those under way
 * keep theirs, which end with them. */
static void on_identity(void *data)
{
    struct chassis_client *client = data;
    const struct chassis_auth_tls *tls = chassis_auth_identity_ref(client->identity), *old = tls;
    pthread_mutex_lock(&client->lock);
    if (!client->closed && client->tls != tls) {
        old = client->tls;
        client->tls = tls;
        for (size_t i = 0; i < client->n_endpoints; i++) {
            struct rpc_endpoint *former = client->endpoints[i];
            client->endpoints[i] = endpoint_new(client, former->address);
            former->listed = false;
            endpoint_unref(former);
        }
    }
    pthread_mutex_unlock(&client->lock);
    chassis_auth_identity_unref(old);
}

static int open_tls(struct chassis_client *client, const struct chassis_tls_files *files,
                    struct chassis_error *err)
{
    int rc = chassis_auth_identity_open(files->ca, files->certificate, files->key,
                                        &client->identity, err);
    if (rc != 0) {
        return rc;
    }
    client->server_name =
        files->server_name != NULL ? chassis_base_strdup(files->server_name) : NULL;
    client->watch = (struct chassis_auth_watch){.changed = on_identity, .data = client};
    chassis_auth_watch_start(client->identity, &client->watch);
    on_identity(client); /* as it is now */
    return 0;
}

/* "a:1, b:2" into endpoints. */
static int fixed_endpoints(struct chassis_client *client, struct chassis_error *err)
{
    struct chassis_endpoint list[ENDPOINTS_MAX];
    size_t n = 0;
    char *copy = chassis_base_strdup(client->target), *rest = copy, *one;
    int rc = 0;
    while (rc == 0 && (one = strsep(&rest, ",")) != NULL) {
        one += strspn(one, " ");
        one[strcspn(one, " ")] = '\0';
        const char *colon = strrchr(one, ':');
        bool ok = colon != NULL && colon != one && colon[1] != '\0' && n < ENDPOINTS_MAX;
        if (one[0] == '\0') {
            continue;
        }
        if (!ok) {
            rc = chassis_error_set(err, CHASSIS_CONFIG,
                                   "target '%s': '%s' is not of the form host:port", client->target,
                                   one);
        } else {
            list[n++].address = one;
        }
    }
    if (rc == 0 && n == 0) {
        rc =
            chassis_error_set(err, CHASSIS_CONFIG, "target '%s' names no endpoint", client->target);
    }
    if (rc == 0) {
        endpoints_set(client, list, n);
        client->resolved = true;
    }
    free(copy);
    return rc;
}

static int open_target(struct chassis_client *client, struct chassis_error *err)
{
    static const char scheme[] = "draft:///";
    if (CHASSIS_FAULT("rpc.client.target")) {
        return chassis_error_code(err, -EMFILE, "open target '%s'", client->target);
    }
    if (strncmp(client->target, scheme, sizeof scheme - 1) != 0) {
        return fixed_endpoints(client, err);
    }
    if (client->resolver == NULL) {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "target '%s' needs the registry: set service.entrypoint",
                                 client->target);
    }
    return client->resolver->start(client->resolver, client->target + sizeof scheme - 1,
                                   on_endpoints, client, &client->resolution, err);
}

static void client_destroy(struct chassis_client *client)
{
    if (client->identity != NULL) {
        chassis_auth_watch_stop(&client->watch);
        chassis_auth_identity_unref(client->tls);
        chassis_auth_identity_close(client->identity);
    }
    for (size_t i = 0; i < client->n_endpoints; i++) {
        endpoint_unref(client->endpoints[i]);
    }
    free(client->endpoints);
    free(client->target);
    free(client->authorization);
    free(client->server_name);
    if (client->secret.len != 0) {
        explicit_bzero(client->secret.data, client->secret.cap);
    }
    chassis_buf_fini(&client->secret);
    pthread_mutex_destroy(&client->lock);
    pthread_cond_destroy(&client->changed);
    free(client);
    rpc_client_env_unref();
}

void rpc_client_unref(struct chassis_client *client)
{
    pthread_mutex_lock(&client->lock);
    unsigned refs = --client->refs;
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
    if (refs == 0) {
        client_destroy(client);
    }
}

int chassis_client_new(const struct chassis_client_options *o, struct chassis_client **ret_client,
                       struct chassis_error *err)
{
    int rc = rpc_client_env_ref(err);
    if (rc != 0) {
        return rc;
    }
    struct chassis_client *client = chassis_base_zalloc(sizeof *client);
    uint64_t seed;
    client->log = chassis_log_module("rpc.client");
    client->target = chassis_base_strdup(o->target != NULL ? o->target : "");
    client->executor = o->executor;
    client->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms : 10000;
    client->attempts_max = o->attempts_max != 0 ? o->attempts_max : 3;
    client->response_bytes_max = o->response_bytes_max != 0 ? o->response_bytes_max : 4UL << 20;
    client->resolver = o->resolver;
    client->token_now = o->token_now;
    client->token_data = o->token_data;
    client->refs = 1;
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->changed, NULL);
    chassis_list_init(&client->active);
    rpc_budget_init(&client->budget, chassis_os_monotonic_ns());
    chassis_base_random_bytes(&seed, sizeof seed);
    chassis_prng_init(&client->prng, seed);
    if (o->token != NULL) {
        struct chassis_buf text = {0};
        chassis_buf_printf(&text, "Bearer %s", o->token);
        client->authorization = (char *)text.data;
    }
    rc = o->tls != NULL ? open_tls(client, o->tls, err) : 0;
    if (rc == 0 && o->cluster_secret_file != NULL) {
        rc = chassis_auth_secret_open(o->cluster_secret_file, false, &client->secret, err);
    }
    rc = rc != 0 ? rc : open_target(client, err);
    if (rc != 0) {
        client_destroy(client);
        return rc;
    }
    *ret_client = client;
    return 0;
}

/* On the thread that runs the callbacks nobody can wait for them: the last one frees then. */
void chassis_client_free(struct chassis_client *client)
{
    if (client == NULL) {
        return;
    }
    if (client->resolution != NULL) {
        client->resolver->stop(client->resolver, client->resolution);
    }
    bool wait = !rpc_client_on_queue() &&
                (client->executor == NULL || !chassis_is_current(client->executor));
    pthread_mutex_lock(&client->lock);
    client->closed = true;
    chassis_list_foreach (it, &client->active) {
        struct rpc_client_op *op = chassis_list_entry(it, struct rpc_client_op, link);
        op->cancelled = true;
        rpc_timer_hurry(&op->timer);
        if (op->call != NULL) {
            grpc_call_cancel(op->call, NULL);
        }
    }
    while (wait && client->refs > 1) {
        pthread_cond_wait(&client->changed, &client->lock);
    }
    pthread_mutex_unlock(&client->lock);
    rpc_client_unref(client);
}

bool rpc_client_enter(struct chassis_client *client, struct rpc_client_op *op,
                      void (*resume)(struct rpc_timer *timer))
{
    op->client = client;
    rpc_timer_init(&op->timer, resume);
    pthread_mutex_lock(&client->lock);
    bool open = !client->closed;
    client->refs++;
    chassis_list_append(&client->active, &op->link);
    rpc_budget_call(&client->budget);
    pthread_mutex_unlock(&client->lock);
    return open;
}

void rpc_client_leave(struct rpc_client_op *op)
{
    pthread_mutex_lock(&op->client->lock);
    chassis_list_remove(&op->link);
    pthread_mutex_unlock(&op->client->lock);
}
