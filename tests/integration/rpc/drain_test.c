/* A server that goes while it is being called: what it did not run is run by another. */
#include "rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* A chain of calls, each started by the reply to the one before. */
struct chain {
    struct load *load;
    atomic_uint done;
};
enum { CHAINS = 8 };
struct load {
    struct chassis_client *client;
    struct chassis_call_options options;
    struct chain chains[CHAINS];
    atomic_bool stop;
    atomic_uint running;
    bool may_be_unavailable;
    pthread_mutex_t lock;
    char text[300]; /* the first failure */
};

static void chain_call(struct chain *chain);

/* What a client that knows nothing of this library would see as cancelled. */
static bool is_broken_off(const struct chassis_reply *reply)
{
    return reply->code != CHASSIS_UNAVAILABLE || strstr(reply->text, "broke the call off") != NULL;
}

static void chain_reply(const struct chassis_reply *reply, void *data)
{
    struct chain *chain = data;
    struct load *load = chain->load;
    atomic_fetch_add(&chain->done, 1);
    pthread_mutex_lock(&load->lock);
    bool failed = reply->code != 0 && (!load->may_be_unavailable || is_broken_off(reply));
    if (failed && load->text[0] == '\0') {
        snprintf(load->text, sizeof load->text, "%s: %s", chassis_status_name(reply->code),
                 reply->text);
    }
    pthread_mutex_unlock(&load->lock);
    if (atomic_load(&load->stop)) {
        atomic_fetch_sub(&load->running, 1);
    } else {
        chain_call(chain);
    }
}

static void chain_call(struct chain *chain)
{
    chassis_client_call_bytes(chain->load->client, "/draft.test.Probe/Echo", chassis_view_str("x"),
                              &chain->load->options, chain_reply, chain);
}

static void load_start(struct load *load, struct chassis_client *client, bool idempotent)
{
    memset(load, 0, sizeof *load);
    load->client = client;
    load->options.idempotent = idempotent;
    pthread_mutex_init(&load->lock, NULL);
    atomic_store(&load->running, CHAINS);
    for (unsigned i = 0; i < CHAINS; i++) {
        load->chains[i].load = load;
        chain_call(&load->chains[i]);
    }
}

/* Every chain has made n more calls. */
static void load_passes(struct load *load, unsigned n)
{
    unsigned from[CHAINS];
    for (unsigned i = 0; i < CHAINS; i++) {
        from[i] = atomic_load(&load->chains[i].done);
    }
    for (unsigned i = 0; i < CHAINS; i++) {
        test_wait_until(atomic_load(&load->chains[i].done) - from[i] >= n);
    }
}

static void load_stop(struct load *load)
{
    atomic_store(&load->stop, true);
    test_wait_until(atomic_load(&load->running) == 0);
    assert_string_equal(load->text, "");
}

static void drain_under_load(bool idempotent, bool told)
{
    enum { ROUNDS = 20 };
    struct rig stays;
    rig_start(&stays, (struct chassis_server_options){0});
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rig goes;
        struct load load;
        char target[160];
        rig_start(&goes, (struct chassis_server_options){0});
        snprintf(target, sizeof target, "%s,%s", goes.address, stays.address);
        struct chassis_client *client =
            rig_client(&goes, (struct chassis_client_options){.target = target, .attempts_max = 5});
        load_start(&load, client, idempotent);
        load_passes(&load, 5 + round);
        if (told) {
            chassis_server_refuse(goes.server);
            load_passes(&load, 4);
        }
        chassis_server_drain(goes.server, 20000);
        load_passes(&load, 5);
        load_stop(&load);
        chassis_client_free(client);
        rig_stop(&goes);
    }
    rig_stop(&stays);
}

static void idempotent_calls_survive_a_server_that_goes_at_once(void **state)
{
    drain_under_load(true, false);
}

/* Once a client was told, it does not call there again: nothing is caught by the closing. */
static void no_call_fails_once_callers_were_told_that_a_server_goes(void **state)
{
    drain_under_load(false, true);
}

/* Nobody was told, nobody tries again: what comes late is refused or not answered at all. */
static void no_call_is_cancelled_by_a_server_that_goes(void **state)
{
    enum { ROUNDS = 40 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rig goes;
        struct load load;
        rig_start(&goes, (struct chassis_server_options){0});
        struct chassis_client *client =
            rig_client(&goes, (struct chassis_client_options){.attempts_max = 1});
        load_start(&load, client, false);
        load.may_be_unavailable = true;
        load_passes(&load, 5 + round);
        chassis_server_drain(goes.server, 20000);
        load_passes(&load, 1);
        load_stop(&load);
        chassis_client_free(client);
        rig_stop(&goes);
    }
}

/* ---- a peer that speaks just enough HTTP/2 ---- */

struct peer {
    pthread_t thread;
    int listener;
    char address[64];
    uint32_t last_seen; /* says so in its GOAWAY */
    atomic_uint calls;
};

static bool read_all(int fd, uint8_t *out, size_t n)
{
    while (n != 0) {
        ssize_t got = recv(fd, out, n, 0);
        if (got <= 0) {
            return false;
        }
        out += got;
        n -= (size_t)got;
    }
    return true;
}

/* Answers the first HEADERS of a connection with GOAWAY, then closes it. */
static void peer_serve(struct peer *p, int fd)
{
    static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    static const uint8_t ack[] = {0, 0, 0, 4, 1, 0, 0, 0, 0};
    uint8_t goaway[17] = {0, 0, 8, 7};
    uint8_t head[24], body[65536];
    bool open = read_all(fd, head, 24) && send(fd, settings, sizeof settings, 0) > 0 &&
                send(fd, ack, sizeof ack, 0) > 0;
    while (open && read_all(fd, head, 9)) {
        size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        open = len <= sizeof body && read_all(fd, body, len);
        if (open && head[3] == 1) {
            goaway[12] = (uint8_t)p->last_seen;
            atomic_fetch_add(&p->calls, 1);
            open = send(fd, goaway, sizeof goaway, 0) < 0;
        }
    }
    shutdown(fd, SHUT_WR);
    while (recv(fd, body, sizeof body, 0) > 0) {
    }
    close(fd);
}

static void *peer_main(void *arg)
{
    struct peer *p = arg;
    int fd;
    while ((fd = accept(p->listener, NULL, NULL)) >= 0) {
        peer_serve(p, fd);
    }
    return NULL;
}

static void peer_start(struct peer *p, uint32_t last_seen)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    memset(p, 0, sizeof *p);
    p->last_seen = last_seen;
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(p->listener, 8), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&at, &len), 0);
    snprintf(p->address, sizeof p->address, "127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
}

static void peer_stop(struct peer *p)
{
    shutdown(p->listener, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->listener);
}

/* Not idempotent, and sent: only the peer's word that it has not seen the stream allows a retry. */
static void call_by_way_of(uint32_t last_seen, struct result *ret)
{
    struct rig rig;
    struct peer peer;
    char target[160];
    rig_start(&rig, (struct chassis_server_options){0});
    peer_start(&peer, last_seen);
    snprintf(target, sizeof target, "%s,%s", peer.address, rig.address);
    struct chassis_client *client =
        rig_client(&rig, (struct chassis_client_options){.target = target});
    probe(client, "Echo", "once", NULL, ret);
    assert_int_equal(atomic_load(&peer.calls), 1);
    assert_int_equal(atomic_load(&probe_calls), ret->code == 0 ? 1 : 0);
    chassis_client_free(client);
    peer_stop(&peer);
    rig_stop(&rig);
}

static void a_stream_the_server_never_saw_is_sent_to_another(void **state)
{
    struct result r;
    call_by_way_of(0, &r);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.first, "once");
}

static void a_stream_the_server_may_have_run_is_not_sent_again(void **state)
{
    struct result r;
    call_by_way_of(1, &r);
    assert_int_equal(r.code, CHASSIS_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idempotent_calls_survive_a_server_that_goes_at_once),
        cmocka_unit_test(no_call_fails_once_callers_were_told_that_a_server_goes),
        cmocka_unit_test(no_call_is_cancelled_by_a_server_that_goes),
        cmocka_unit_test(a_stream_the_server_never_saw_is_sent_to_another),
        cmocka_unit_test(a_stream_the_server_may_have_run_is_not_sent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
