#include "test.h"

#include "site.h"

/* TSan does not see how libuv closes a descriptor, and takes the number for a race when it is ours the
 * next time. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libuv.so\n";
}

/* Everything about the adapter and its model happens on the loop. */
struct act {
    struct site *site;
    void (*fn)(struct site *s, void *data);
    void *data;
};
static int run_act(void *data)
{
    struct act *act = data;
    act->fn(act->site, act->data);
    return 0;
}
static void on_loop(struct site *s, void (*fn)(struct site *s, void *data), void *data)
{
    struct act act = {s, fn, data};
    assert_int_equal(chassis_loop_call(s->loop, run_act, &act), 0);
}

static void on_model_changed(void *data, const struct fuse_change *change)
{
    struct site *s = data;
    if (s->haproxy != NULL) {
        fuse_haproxy_changed(s->haproxy, change);
    }
}

static int64_t wall_ns(void *data)
{
    return chassis_wall_ns(chassis_clock_posix());
}

static void on_quarantine(const struct fuse_entry *entry, const char *text, void *data)
{
    struct site *s = data;
    s->n_quarantined++;
    snprintf(s->quarantined, sizeof s->quarantined, "%s", entry->route->name);
    snprintf(s->words, sizeof s->words, "%s", text);
}

/* A test that fails must not leave a HAProxy behind. */
static char homes[64][300];
static unsigned n_homes;
static void stop_all(void)
{
    for (unsigned i = 0; i < n_homes; i++) {
        struct fuse_master master;
        if (fuse_master_look(homes[i], &master, NULL) == 0) {
            fuse_master_stop(master.pid);
        }
    }
}

void site_begin(struct site *s, unsigned n_servers)
{
    char dir[] = "/tmp/fuse-haproxy-XXXXXX"; /* sockets have short paths */
    assert_non_null(mkdtemp(dir));
    site_begin_at(s, n_servers, dir, lab_free_port());
}

void site_begin_at(struct site *s, unsigned n_servers, const char *dir, uint16_t port)
{
    *s = (struct site){.program = "haproxy", .client.fd = -1};
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    snprintf(s->home, sizeof s->home, "%s/home", s->dir);
    if (n_homes == 0) {
        atexit(stop_all);
    }
    assert_true(n_homes < 64);
    memcpy(homes[n_homes++], s->home, sizeof s->home);
    assert_int_equal(chassis_loop_start("loop", &s->loop, NULL), 0);
    assert_int_equal(chassis_os_pool_start("worker", 2, 100, &s->pool), 0);
    s->model = fuse_model_new();
    s->view = fuse_view_new(s->model, "");
    struct fuse_model_listener listener = {on_model_changed, s};
    fuse_model_listen(s->model, &listener);
    s->listener =
        (struct fuse_socket_listener){.name = "default", .address = "127.0.0.1", .port = port};
    s->statics = (struct fuse_statics){.listeners = &s->listener, .n_listeners = 1};
    s->client.port = s->listener.port;
    fuse_proxies_init(&s->proxies, chassis_loop_executor(s->loop));
    s->servers = n_servers != 0 ? lab_servers_start(n_servers) : NULL;
}

static void do_open(struct site *s, void *data)
{
    struct chassis_error err = {0};
    struct fuse_haproxy_options options = {
        .view = s->view,
        .statics = &s->statics,
        .proxies = &s->proxies,
        .loop = s->loop,
        .workers = chassis_os_pool_executor(s->pool),
        .log = chassis_log_module("fuse.haproxy"),
        .wall_ns = wall_ns,
        .program = s->program,
        .directory = s->home,
        .quarantine = on_quarantine,
        .data = s,
    };
    if (fuse_haproxy_open(&options, &s->haproxy, &err) != 0) {
        fail_msg("%s", err.text);
    }
    s->closed = false;
    fuse_haproxy_ready(s->haproxy);
}

void site_open(struct site *s)
{
    on_loop(s, do_open, NULL);
}

static void on_closed(void *data)
{
    struct site *s = data;
    __atomic_store_n(&s->closed, true, __ATOMIC_RELEASE);
}
static void do_close(struct site *s, void *data)
{
    struct fuse_haproxy *haproxy = s->haproxy;
    s->haproxy = NULL;
    fuse_haproxy_close(haproxy, on_closed, s);
}

void site_close(struct site *s)
{
    on_loop(s, do_close, NULL);
    test_wait_until(__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE));
}

static void do_fini(struct site *s, void *data)
{
    fuse_proxies_fini(&s->proxies);
}

void site_end(struct site *s)
{
    if (s->haproxy != NULL) {
        site_close(s);
    }
    struct fuse_master master;
    if (fuse_master_look(s->home, &master, NULL) == 0) {
        fuse_master_stop(master.pid);
    }
    lab_client_close(&s->client);
    on_loop(s, do_fini, NULL);
    chassis_os_pool_stop(s->pool);
    chassis_loop_stop(s->loop);
    fuse_view_free(s->view);
    fuse_model_free(s->model);
    if (s->servers != NULL) {
        lab_servers_stop(s->servers);
    }
    test_rmtree(s->dir);
}

struct instance_act {
    const char *service;
    unsigned i;
    enum fuse_instance_state state;
};
static void do_instance(struct site *s, void *data)
{
    const struct instance_act *a = data;
    char pid[64], address[24], place[64];
    snprintf(pid, sizeof pid, "%s-%u", a->service, a->i);
    lab_address(a->i, address);
    snprintf(place, sizeof place, "%s:%u", address, lab_servers_port(s->servers));
    fixture_instance(s->model, ++s->revision, .pid = pid, .service = a->service,
                     .http_address = place, .state = a->state);
}

void site_instance(struct site *s, const char *service, unsigned i, enum fuse_instance_state state)
{
    struct instance_act act = {service, i, state};
    on_loop(s, do_instance, &act);
}

static void do_remove(struct site *s, void *data)
{
    const struct instance_act *a = data;
    char pid[64];
    snprintf(pid, sizeof pid, "%s-%u", a->service, a->i);
    fuse_model_delete_instance(s->model, pid, ++s->revision);
}

void site_remove_instance(struct site *s, const char *service, unsigned i)
{
    struct instance_act act = {service, i, FUSE_INSTANCE_USABLE};
    on_loop(s, do_remove, &act);
}

static void do_put(struct site *s, void *data)
{
    fixture_put(s->model, ++s->revision, data);
}

void site_put(struct site *s, const struct fuse_route *route)
{
    on_loop(s, do_put, (void *)(uintptr_t)route);
}

struct rpc_act {
    const char *service, *address;
    unsigned i;
};
static void do_rpc_instance(struct site *s, void *data)
{
    const struct rpc_act *a = data;
    char pid[64];
    snprintf(pid, sizeof pid, "%s-%u", a->service, a->i);
    fixture_instance(s->model, ++s->revision, .pid = pid, .service = a->service,
                     .rpc_address = a->address);
}
void site_rpc_instance(struct site *s, const char *service, unsigned i, const char *address)
{
    struct rpc_act act = {service, address, i};
    on_loop(s, do_rpc_instance, &act);
}

static void do_delete(struct site *s, void *data)
{
    fuse_model_delete_route(s->model, data, ++s->revision);
}
void site_delete(struct site *s, const char *name)
{
    on_loop(s, do_delete, (void *)(uintptr_t)name);
}

struct settle {
    bool asked, done, settled;
};
static void on_settled(bool settled, void *data)
{
    struct settle *settle = data;
    settle->settled = settled;
    __atomic_store_n(&settle->done, true, __ATOMIC_RELEASE);
}
static void do_settle(struct site *s, void *data)
{
    fuse_proxies_await(&s->proxies, 30000, on_settled, data);
}

void site_settle(struct site *s)
{
    struct settle settle = {0};
    on_loop(s, do_settle, &settle);
    test_wait_until(__atomic_load_n(&settle.done, __ATOMIC_ACQUIRE));
    assert_true(settle.settled);
}

void site_master(struct site *s, struct fuse_master *ret_master)
{
    struct chassis_error err = {0};
    if (fuse_master_look(s->home, ret_master, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

static void do_see(struct site *s, void *data)
{
    struct site_seen *seen = data;
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    Draft__Routing__V1__Proxy proxy = DRAFT__ROUTING__V1__PROXY__INIT;
    struct fuse_proxy *p = fuse_proxies_find(&s->proxies, "haproxy");
    assert_non_null(p);
    p->ops->describe(p, &proxy, &arena);
    assert_int_equal(proxy.n_resources, 2);
    seen->in_sync = proxy.in_sync;
    snprintf(seen->configuration, sizeof seen->configuration, "%s",
             proxy.resources[0]->acked_version);
    snprintf(seen->servers, sizeof seen->servers, "%s", proxy.resources[1]->acked_version);
    snprintf(seen->words, sizeof seen->words, "%s", proxy.resources[0]->last_nack);
    seen->refusals = proxy.resources[0]->nacks;
    chassis_arena_fini(&arena);
}

void site_see(struct site *s, struct site_seen *ret_seen)
{
    *ret_seen = (struct site_seen){0};
    on_loop(s, do_see, ret_seen);
}
