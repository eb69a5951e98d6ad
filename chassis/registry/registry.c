#include <stdio.h>

#include "base/fault.h"
#include "registry/internal.h"

struct loop_call {
    struct chassis_task task;
    struct chassis_registry *registry;
    void (*fn)(struct chassis_registry *, void *);
    void *data;
};

static void run_loop_call(struct chassis_task *task)
{
    struct loop_call *call = chassis_container_of(task, struct loop_call, task);
    call->fn(call->registry, call->data);
    free(call);
}

void registry_on_loop(struct chassis_registry *r, void (*fn)(struct chassis_registry *, void *),
                      void *data)
{
    struct loop_call *call = chassis_base_zalloc(sizeof *call);
    call->task.run = run_loop_call;
    call->registry = r;
    call->fn = fn;
    call->data = data;
    chassis_post(r->loop, &call->task);
}

const char *chassis_registry_state_name(enum registry_state state)
{
    static const char *const names[] = {
        [REGISTRY_OUT] = "out",         [REGISTRY_INITIALIZING] = "initializing",
        [REGISTRY_OPENING] = "opening", [REGISTRY_MEMBER] = "member",
        [REGISTRY_WAITING] = "waiting", [REGISTRY_LEAVING] = "leaving",
        [REGISTRY_GONE] = "gone",
    };
    return names[state];
}

/* host:port of "http://host:port/…". */
static int parse_entrypoint(const char *text, char out[256])
{
    const char *scheme = strstr(text, "://");
    const char *host = scheme != NULL ? scheme + 3 : text;
    size_t len = strcspn(host, "/");
    if (len == 0 || len >= 256 || memchr(host, ':', len) == NULL) {
        return CHASSIS_CONFIG;
    }
    snprintf(out, 256, "%.*s", (int)len, host);
    return 0;
}

void registry_add_node(struct chassis_registry *r, const char *address, bool entrypoint)
{
    struct registry_node *free_slot = NULL;
    for (unsigned i = 0; i < r->n_nodes; i++) {
        struct registry_node *node = &r->nodes[i];
        if (strcmp(node->address, address) == 0) {
            node->listed = true;
            node->entrypoint = node->entrypoint || entrypoint;
            return;
        }
        if (!node->listed && node->client == NULL && free_slot == NULL) {
            free_slot = node;
        }
    }
    if (free_slot == NULL && r->n_nodes == REGISTRY_NODES_MAX) {
        return; /* those we know will do */
    }
    struct registry_node *node = free_slot != NULL ? free_slot : &r->nodes[r->n_nodes++];
    snprintf(node->address, sizeof node->address, "%s", address);
    node->listed = true;
    node->entrypoint = entrypoint;
}

void registry_learn(struct chassis_registry *r, const char *const *addresses, size_t n)
{
    if (n == 0) {
        return; /* a node that knows nobody teaches nothing */
    }
    for (unsigned i = 0; i < r->n_nodes; i++) {
        r->nodes[i].listed = r->nodes[i].entrypoint;
    }
    for (size_t i = 0; i < n; i++) {
        char address[256];
        if (parse_entrypoint(addresses[i], address) == 0) {
            registry_add_node(r, address, false);
        }
    }
}

const char *registry_node_address(struct chassis_registry *r,
                                  const struct registry_backoff *backoff)
{
    return r->nodes[backoff->node].address;
}

struct chassis_client *registry_client(struct chassis_registry *r, struct registry_backoff *backoff,
                                       struct chassis_error *err)
{
    struct registry_node *node = &r->nodes[backoff->node];
    CHASSIS_ASSERT(!r->closing);
    if (node->client == NULL) {
        struct chassis_client_options options = {
            .target = node->address,
            .tls = r->options.tls != NULL ? &r->tls : NULL,
            .executor = r->loop,
            .timeout_ms = r->options.call_timeout_ms,
            .attempts_max = 1, /* trying again, and elsewhere, is done here */
        };
        if (chassis_client_new(&options, &node->client, err) != 0) {
            return NULL;
        }
    }
    return node->client;
}

uint64_t registry_next_attempt_ns(struct chassis_registry *r, struct registry_backoff *backoff)
{
    for (unsigned step = 1; step <= r->n_nodes; step++) {
        unsigned next = (backoff->node + step) % r->n_nodes;
        if (r->nodes[next].listed) {
            backoff->node = next;
            break;
        }
    }
    /* Full jitter: Brooker, "Exponential Backoff And Jitter", AWS 2015. */
    uint64_t ceiling = r->options.backoff_min_ms;
    for (unsigned i = 0; i < backoff->attempt && ceiling < r->options.backoff_max_ms; i++) {
        ceiling *= 2;
    }
    if (ceiling > r->options.backoff_max_ms) {
        ceiling = r->options.backoff_max_ms;
    }
    backoff->attempt++;
    return chassis_prng_below(&r->prng, ceiling * CHASSIS_NS_PER_MS + 1);
}

static void keep_tls(struct chassis_registry *r, const struct chassis_tls_files *tls)
{
    const char *from[4] = {tls->ca, tls->certificate, tls->key, tls->server_name};
    char **to[4] = {&r->ca, &r->certificate, &r->key, &r->server_name};
    for (unsigned i = 0; i < 4; i++) {
        *to[i] = from[i] != NULL ? chassis_base_strdup(from[i]) : NULL;
    }
    r->tls = (struct chassis_tls_files){r->ca, r->certificate, r->key, r->server_name};
}

static void registry_free(struct chassis_registry *r)
{
    free(r->ca);
    free(r->certificate);
    free(r->key);
    free(r->server_name);
    chassis_buf_fini(&r->token);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

static int add_entrypoints(struct chassis_registry *r, const struct chassis_registry_options *o,
                           struct chassis_error *err)
{
    for (size_t i = 0; i < o->n_entrypoints; i++) {
        char address[256];
        if (parse_entrypoint(o->entrypoints[i], address) != 0) {
            return chassis_error_set(err, CHASSIS_CONFIG,
                                     "service.entrypoint '%s': must be http://host:port",
                                     o->entrypoints[i]);
        }
        registry_add_node(r, address, true);
    }
    return r->n_nodes != 0 ? 0
                           : chassis_error_set(err, CHASSIS_CONFIG,
                                               "service.entrypoint: names no Blueprint node");
}

int chassis_registry_open(const struct chassis_registry_options *options,
                          struct chassis_registry **ret_registry, struct chassis_error *err)
{
    struct chassis_registry *r = chassis_base_zalloc(sizeof *r);
    pthread_condattr_t attr;
    uint64_t seed;
    r->resolver.start = registry_resolve;
    r->resolver.stop = registry_unresolve;
    r->loop = options->loop;
    r->log = chassis_log_module("registry");
    r->options = *options;
    r->options.interval_ms = options->interval_ms != 0 ? options->interval_ms : 5000;
    r->options.backoff_min_ms = options->backoff_min_ms != 0 ? options->backoff_min_ms : 100;
    r->options.backoff_max_ms = options->backoff_max_ms != 0 ? options->backoff_max_ms : 10000;
    r->options.call_timeout_ms = options->call_timeout_ms != 0 ? options->call_timeout_ms : 3000;
    chassis_list_init(&r->watches);
    chassis_base_random_bytes(&seed, sizeof seed);
    chassis_prng_init(&r->prng, seed);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
    r->registered = chassis_gauge("chassis_registry_registered",
                                  "1 while Blueprint answers our reports.", NULL, 0);
    r->reconnects = chassis_counter("chassis_registry_reconnects_total",
                                    "Times the way to Blueprint had to be found anew.", NULL, 0);
    if (options->tls != NULL) {
        keep_tls(r, options->tls);
    }
    int rc = add_entrypoints(r, options, err);
    if (rc != 0) {
        registry_free(r);
        return rc;
    }
    /* Processes that start together do not all begin at the same node. */
    r->member.backoff.node = (unsigned)chassis_prng_below(&r->prng, r->n_nodes);
    *ret_registry = r;
    return 0;
}

static void add_metadata(struct registry_member *m, const char *key, const char *value)
{
    m->metadata[m->n_metadata++] =
        (struct chassis_metadata_pair){chassis_base_strdup(key), chassis_base_strdup(value)};
}

static void begin_on_loop(struct chassis_registry *r, void *data)
{
    if (r->closing) {
        return;
    }
    if (!r->member.health_told) {
        r->member.healthy = data != NULL;
    }
    member_begin(r);
}

int chassis_registry_register(struct chassis_registry *r,
                              const struct chassis_registration *registration,
                              struct chassis_error *err)
{
    struct registry_member *m = &r->member;
    CHASSIS_ASSERT(m->name == NULL);
    m->name = chassis_base_strdup(registration->name);
    m->address = chassis_base_strdup(registration->address);
    m->interval_ms = r->options.interval_ms;
    m->metadata = chassis_base_alloc((registration->n_metadata + 4) * sizeof *m->metadata);
    add_metadata(m, "draft.name", registration->name);
    add_metadata(m, "draft.group", registration->group != NULL ? registration->group : "");
    struct chassis_buf services = {0};
    chassis_buf_append_str(&services, "");
    for (size_t i = 0; i < registration->n_services; i++) {
        chassis_buf_printf(&services, "%s%s", i != 0 ? "," : "", registration->services[i]);
    }
    add_metadata(m, "draft.rpc_services", services.len != 0 ? (const char *)services.data : "");
    chassis_buf_fini(&services);
    if (registration->http_address != NULL) {
        add_metadata(m, "draft.http_address", registration->http_address);
    }
    for (size_t i = 0; i < registration->n_metadata; i++) {
        add_metadata(m, registration->metadata[i].key, registration->metadata[i].value);
    }
    registry_on_loop(r, begin_on_loop, registration->healthy ? r : NULL);
    return 0;
}

static void set_healthy_on_loop(struct chassis_registry *r, void *data)
{
    bool healthy = data != NULL;
    r->member.health_told = true;
    if (r->member.healthy != healthy) {
        r->member.healthy = healthy;
        member_report_now(r);
    }
}

void chassis_registry_set_healthy(struct chassis_registry *r, bool healthy)
{
    registry_on_loop(r, set_healthy_on_loop, healthy ? r : NULL);
}

static void leave_on_loop(struct chassis_registry *r, void *data)
{
    member_leave(r);
}

void chassis_registry_leave(struct chassis_registry *r)
{
    pthread_mutex_lock(&r->mutex);
    bool asked = r->member.name != NULL;
    r->leaving = r->leaving || asked;
    pthread_mutex_unlock(&r->mutex);
    if (asked) {
        registry_on_loop(r, leave_on_loop, NULL);
    }
}

static void check_quiet(struct chassis_registry *r)
{
    if (r->clients_freed && r->in_flight == 0) {
        pthread_mutex_lock(&r->mutex);
        r->quiet = true;
        pthread_cond_broadcast(&r->changed);
        pthread_mutex_unlock(&r->mutex);
    }
}

void registry_done_one(struct chassis_registry *r)
{
    CHASSIS_ASSERT(r->in_flight > 0);
    r->in_flight--;
    check_quiet(r);
}

static void close_on_loop(struct chassis_registry *r, void *data)
{
    r->closing = true;
    member_stop(r);
    watches_stop(r);
    pthread_mutex_lock(&r->mutex);
    r->halted = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

static void freed_on_loop(struct chassis_registry *r, void *data)
{
    r->clients_freed = true;
    check_quiet(r);
}

static void wait_until(struct chassis_registry *r, const bool *flag)
{
    pthread_mutex_lock(&r->mutex);
    while (!*flag) {
        pthread_cond_wait(&r->changed, &r->mutex);
    }
    pthread_mutex_unlock(&r->mutex);
}

bool chassis_registry_wait_left(struct chassis_registry *r, uint64_t wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ms * CHASSIS_NS_PER_MS;
    until.tv_sec += (time_t)(ns / CHASSIS_NS_PER_S);
    until.tv_nsec = (long)(ns % CHASSIS_NS_PER_S);
    pthread_mutex_lock(&r->mutex);
    while (r->leaving && !r->left && pthread_cond_timedwait(&r->changed, &r->mutex, &until) == 0) {
    }
    bool over = r->left || !r->leaving;
    pthread_mutex_unlock(&r->mutex);
    return over;
}

void chassis_registry_close(struct chassis_registry *r, uint64_t wait_ms)
{
    if (r == NULL) {
        return;
    }
    CHASSIS_ASSERT(!chassis_is_current(r->loop));
    chassis_registry_wait_left(r, wait_ms);
    registry_on_loop(r, close_on_loop, NULL);
    wait_until(r, &r->halted);
    /* Freeing the clients cancels what is in flight; the last callbacks run on the loop. */
    for (unsigned i = 0; i < r->n_nodes; i++) {
        chassis_client_free(r->nodes[i].client);
    }
    registry_on_loop(r, freed_on_loop, NULL);
    wait_until(r, &r->quiet);
    member_fini(r);
    watches_fini(r);
    registry_free(r);
}

struct chassis_resolver *chassis_registry_resolver(struct chassis_registry *r)
{
    return &r->resolver;
}

void chassis_registry_status(struct chassis_registry *r, struct chassis_registry_status *ret_status)
{
    pthread_mutex_lock(&r->mutex);
    *ret_status = r->status;
    pthread_mutex_unlock(&r->mutex);
}
