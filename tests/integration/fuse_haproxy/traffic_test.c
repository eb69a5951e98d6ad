/* Steady HTTP and gRPC requests while routes and instances change: not one fails. */
#include "integration/rpc/rig.h"

#include "site.h"

enum { BROWSERS = 3, CHAINS = 4, SERVERS = 4, RIGS = 3 };

/* One that asks again and again over a connection it keeps. */
struct browser {
    pthread_t thread;
    struct load *load;
    atomic_uint done;
};
/* Calls, each started by the reply to the one before. */
struct chain {
    struct load *load;
    atomic_uint done;
};
struct load {
    struct site *site;
    struct chassis_client *client;
    struct browser browsers[BROWSERS];
    struct chain chains[CHAINS];
    atomic_bool stop;
    atomic_uint running, from[SERVERS];
    pthread_mutex_t lock;
    char text[400]; /* the first failure */
};

static void note(struct load *load, const char *kind, int code, const char *text)
{
    pthread_mutex_lock(&load->lock);
    if (load->text[0] == '\0') {
        snprintf(load->text, sizeof load->text, "%s: %d %.300s", kind, code, text);
    }
    pthread_mutex_unlock(&load->lock);
}

static void *browse(void *data)
{
    struct browser *browser = data;
    struct lab_client client = {.port = browser->load->site->listener.port, .fd = -1};
    while (!atomic_load(&browser->load->stop)) {
        struct lab_answer a;
        lab_get(&client, "shop", "/web/page?x=1", &a);
        if (a.status != 200 || a.server < 0) {
            note(browser->load, "http", a.status, a.path);
        } else {
            atomic_fetch_add(&browser->load->from[a.server], 1);
        }
        atomic_fetch_add(&browser->done, 1);
        poll(NULL, 0, 1); /* leave the processor to the others */
    }
    lab_client_close(&client);
    return NULL;
}

static void chain_call(struct chain *chain);

static void chain_reply(const struct chassis_reply *reply, void *data)
{
    struct chain *chain = data;
    if (reply->code != 0) {
        note(chain->load, "grpc", reply->code, reply->text);
    }
    atomic_fetch_add(&chain->done, 1);
    if (atomic_load(&chain->load->stop)) {
        atomic_fetch_sub(&chain->load->running, 1);
    } else {
        chain_call(chain);
    }
}

static void chain_call(struct chain *chain)
{
    struct chassis_call_options options = {0};
    chassis_client_call_bytes(chain->load->client, "/draft.test.Probe/Echo", chassis_view_str("x"),
                              &options, chain_reply, chain);
}

static void load_start(struct load *load, struct site *site, struct chassis_client *client)
{
    memset(load, 0, sizeof *load);
    load->site = site;
    load->client = client;
    pthread_mutex_init(&load->lock, NULL);
    atomic_store(&load->running, CHAINS);
    for (unsigned i = 0; i < CHAINS; i++) {
        load->chains[i].load = load;
        chain_call(&load->chains[i]);
    }
    for (unsigned i = 0; i < BROWSERS; i++) {
        load->browsers[i].load = load;
        pthread_create(&load->browsers[i].thread, NULL, browse, &load->browsers[i]);
    }
}

/* Everybody has asked n more times. */
static void load_passes(struct load *load, unsigned n)
{
    unsigned browsers[BROWSERS], chains[CHAINS];
    for (unsigned i = 0; i < BROWSERS; i++) {
        browsers[i] = atomic_load(&load->browsers[i].done);
    }
    for (unsigned i = 0; i < CHAINS; i++) {
        chains[i] = atomic_load(&load->chains[i].done);
    }
    for (unsigned i = 0; i < BROWSERS; i++) {
        test_wait_until(atomic_load(&load->browsers[i].done) - browsers[i] >= n);
    }
    for (unsigned i = 0; i < CHAINS; i++) {
        test_wait_until(atomic_load(&load->chains[i].done) - chains[i] >= n);
    }
}

static unsigned load_stop(struct load *load)
{
    unsigned n = 0;
    atomic_store(&load->stop, true);
    for (unsigned i = 0; i < BROWSERS; i++) {
        pthread_join(load->browsers[i].thread, NULL);
        n += atomic_load(&load->browsers[i].done);
    }
    test_wait_until(atomic_load(&load->running) == 0);
    for (unsigned i = 0; i < CHAINS; i++) {
        n += atomic_load(&load->chains[i].done);
    }
    assert_string_equal(load->text, "");
    return n;
}

struct town {
    struct site site;
    struct rig rigs[RIGS];
    struct chassis_client *client;
    struct load load;
};

static void town_begin(struct town *t)
{
    char target[64];
    site_begin(&t->site, SERVERS);
    for (unsigned i = 0; i < RIGS; i++) {
        rig_start(&t->rigs[i], (struct chassis_server_options){0});
    }
    site_put(&t->site, route(.name = "web", .path = "/web/", .service = "web"));
    site_put(&t->site, route(.name = "echo", .path = "/draft.test.Probe/", .service = "echo",
                             .grpc = true, .http2 = true));
    site_instance(&t->site, "web", 0, FUSE_INSTANCE_USABLE);
    site_instance(&t->site, "web", 1, FUSE_INSTANCE_USABLE);
    site_rpc_instance(&t->site, "echo", 0, t->rigs[0].address);
    site_rpc_instance(&t->site, "echo", 1, t->rigs[1].address);
    site_open(&t->site);
    site_settle(&t->site);
    snprintf(target, sizeof target, "127.0.0.1:%u", t->site.listener.port);
    t->client = rig_client(&t->rigs[0],
                           (struct chassis_client_options){.target = target, .attempts_max = 1});
    load_start(&t->load, &t->site, t->client);
    load_passes(&t->load, 5);
}

static void town_end(struct town *t)
{
    unsigned n = load_stop(&t->load);
    print_message("%u requests, none failed\n", n);
    chassis_client_free(t->client);
    site_end(&t->site);
    for (unsigned i = 0; i < RIGS; i++) {
        rig_stop(&t->rigs[i]);
    }
}

static void no_request_fails_while_a_thousand_routes_change(void **state)
{
    enum { ROUNDS = 12, AT_ONCE = 84 };
    static struct town t;
    struct fuse_master before, after;
    char name[32], path[32];
    town_begin(&t);
    site_master(&t.site, &before);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < AT_ONCE; i++) {
            snprintf(name, sizeof name, "r%u", (round * 7 + i) % 200);
            snprintf(path, sizeof path, "/r%u/%u", i, round);
            if (i % 5 == 4) {
                site_delete(&t.site, name);
            } else {
                site_put(&t.site, route(.name = name, .path = path, .service = "web"));
            }
        }
        site_settle(&t.site);
        load_passes(&t.load, 3);
    }
    site_master(&t.site, &after);
    assert_int_equal(before.pid, after.pid);
    assert_true(after.reloads - before.reloads >= ROUNDS);
    town_end(&t);
}

static void no_request_fails_while_every_instance_is_replaced(void **state)
{
    static struct town t;
    struct fuse_master before, after;
    town_begin(&t);
    site_master(&t.site, &before);
    for (unsigned i = 0; i < 2; i++) {
        site_instance(&t.site, "web", i + 2, FUSE_INSTANCE_USABLE);
        site_rpc_instance(&t.site, "echo", i == 0 ? 2 : 0, t.rigs[i == 0 ? 2 : 0].address);
        site_remove_instance(&t.site, "web", i);
        site_remove_instance(&t.site, "echo", i);
        site_settle(&t.site);
        lab_servers_close(t.site.servers, i);
        load_passes(&t.load, 2);
        unsigned answered = atomic_load(&t.load.from[i]);
        load_passes(&t.load, 10);
        assert_int_equal(atomic_load(&t.load.from[i]), answered);
        if (i == 1) { /* rig 0 came back */
            chassis_server_drain(t.rigs[1].server, 20000);
            load_passes(&t.load, 10);
        }
    }
    site_master(&t.site, &after);
    assert_int_equal(before.worker, after.worker);
    town_end(&t);
}

/* An instance that leaves while a new configuration is on its way is not asked again by anybody. */
static void routes_and_instances_may_change_together(void **state)
{
    static struct town t;
    char path[32];
    town_begin(&t);
    for (unsigned round = 0; round < 6; round++) {
        snprintf(path, sizeof path, "/new/%u", round);
        site_put(&t.site, route(.name = "new", .path = path, .service = "web"));
        site_instance(&t.site, "web", (round + 2) % SERVERS, FUSE_INSTANCE_USABLE);
        site_remove_instance(&t.site, "web", round % SERVERS);
        site_settle(&t.site);
        load_passes(&t.load, 3);
        unsigned answered = atomic_load(&t.load.from[round % SERVERS]);
        load_passes(&t.load, 5);
        assert_int_equal(atomic_load(&t.load.from[round % SERVERS]), answered);
    }
    town_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_request_fails_while_a_thousand_routes_change),
        cmocka_unit_test(no_request_fails_while_every_instance_is_replaced),
        cmocka_unit_test(routes_and_instances_may_change_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
