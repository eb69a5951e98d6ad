/* Certificates that change under a running server and its clients: new connections get the new ones,
 * those that stand go on, and what is broken changes nothing. */
#include "rig.h"

#include <chassis/metrics.h>

#include "auth/internal.h"

static char dir[256];

static char *path(const char *name)
{
    static char paths[16][400];
    static unsigned next;
    char *out = paths[next++ % 16];
    snprintf(out, 400, "%s/%s", dir, name);
    return out;
}

static void shell(const char *what)
{
    char command[2000];
    snprintf(command, sizeof command, "cd '%s' && { %s; } 2>/dev/null", dir, what);
    assert_int_equal(system(command), 0);
}

/* Two authorities; of each a server and two nodes: server1, anna1, bert1, server2 … */
static int set_up(void **state)
{
    test_tmpdir(dir);
    shell("for a in 1 2; do "
          "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 60 "
          "-subj /CN=ca$a -keyout ca$a.key -out ca$a.crt || exit 1; "
          "for n in server anna bert; do openssl req -new -newkey ec -pkeyopt "
          "ec_paramgen_curve:P-256 -nodes -keyout $n$a.key -out csr -subj /CN=$n$a && "
          "printf 'subjectAltName=DNS:%s' $(test $n = server && echo localhost || echo $n$a) "
          "> ext && openssl x509 -req -in csr -CA ca$a.crt -CAkey ca$a.key -CAcreateserial "
          "-out $n$a.crt -days 60 -extfile ext && chmod 600 $n$a.key || exit 1; done; done; "
          "cat ca1.crt ca2.crt > both.crt");
    chassis_auth_look_every_ms(3);
    return 0;
}

static int tear_down(void **state)
{
    test_rmtree(dir);
    return 0;
}

/* `from`.crt and .key in the place of `to`.crt and .key: the key first, each by rename. */
static void rotate(const char *to, const char *from)
{
    char what[400];
    snprintf(what, sizeof what,
             "cp -p %s.key part && mv part %s.key && cp -p %s.crt part && mv part %s.crt", from, to,
             from, to);
    shell(what);
}

static void trust(const char *to, const char *from)
{
    char what[400];
    snprintf(what, sizeof what, "cp -p %s.crt part && mv part %s.crt", from, to);
    shell(what);
}

/* ---- a server that certificates are put under ---- */

struct site {
    struct rig rig;
    struct chassis_auth_identity *identity;
};

static void site_start(struct site *s, bool required)
{
    struct chassis_error err = {0};
    rotate("server", "server1");
    trust("trusted", "ca1");
    s->identity = NULL;
    if (chassis_auth_identity_open(path("trusted.crt"), path("server.crt"), path("server.key"),
                                   &s->identity, &err) != 0) {
        fail_msg("%s", err.text);
    }
    const struct chassis_listener_options listener = {
        .address = "localhost:0", .identity = s->identity, .client_certificate_required = required};
    rig_start(&s->rig, (struct chassis_server_options){
                           .listeners = &listener, .n_listeners = 1, .n_queues = 2});
}

static void site_stop(struct site *s)
{
    rig_stop(&s->rig);
    chassis_auth_identity_close(s->identity);
}

/* Each with a connection of its own: there are no two of one size. */
static struct chassis_client *client_of(struct site *s, const char *ca, const char *name)
{
    static size_t size = 100000;
    char crt[64], key[64];
    snprintf(crt, sizeof crt, "%s.crt", name != NULL ? name : "");
    snprintf(key, sizeof key, "%s.key", name != NULL ? name : "");
    const struct chassis_tls_files files = {
        .ca = path(ca),
        .certificate = name != NULL ? path(crt) : NULL,
        .key = name != NULL ? path(key) : NULL,
    };
    return rig_client(&s->rig, (struct chassis_client_options){.tls = &files,
                                                               .timeout_ms = 20000,
                                                               .response_bytes_max = size++});
}

static bool can_call(struct chassis_client *client)
{
    struct result r;
    probe(client, "Echo", "x", NULL, &r);
    return r.code == 0;
}

/* A client of that trust and name that connects now. */
static bool can_connect(struct site *s, const char *ca, const char *name)
{
    struct chassis_client *client = client_of(s, ca, name);
    bool can = can_call(client);
    chassis_client_free(client);
    return can;
}

static uint64_t generation_of(struct chassis_auth_identity *identity)
{
    const struct chassis_auth_tls *tls = chassis_auth_identity_ref(identity);
    uint64_t generation = tls->generation;
    chassis_auth_identity_unref(tls);
    return generation;
}

/* ---- a stream that stands all the while ---- */

struct chat {
    struct chassis_client_stream *stream;
    struct result r;
    unsigned sent;
};

static void chat_open(struct chat *c, struct chassis_client *client)
{
    c->sent = 0;
    result_init(&c->r);
    assert_int_equal(chassis_stream_open_path(client, "/draft.test.Probe/Chat", NULL,
                                              &result_stream, &c->r, &c->stream, NULL),
                     0);
}

static void chat_goes_on(struct chat *c)
{
    assert_int_equal(chassis_stream_send_bytes(c->stream, chassis_view_str("ping")), 0);
    result_wait_messages(&c->r, ++c->sent);
}

static void chat_close(struct chat *c)
{
    chassis_stream_half_close(c->stream);
    result_wait(&c->r);
    assert_int_equal(c->r.code, 0);
}

/* ---- tests ---- */

static void a_server_serves_its_new_certificate_and_keeps_its_callers(void **state)
{
    struct site s;
    struct chat chat;
    site_start(&s, false);
    struct chassis_client *old = client_of(&s, "ca1.crt", NULL);
    chat_open(&chat, old);
    chat_goes_on(&chat);
    test_wait_until(can_connect(&s, "ca1.crt", NULL));
    uint64_t before = generation_of(s.identity);
    rotate("server", "server2");
    test_wait_until(generation_of(s.identity) > before);
    test_wait_until(can_connect(&s, "ca2.crt", NULL));
    assert_false(can_connect(&s, "ca1.crt", NULL));
    assert_true(can_call(old)); /* by the connection it has */
    chat_goes_on(&chat);
    chat_close(&chat);
    chassis_client_free(old);
    site_stop(&s);
}

static void broken_files_leave_a_server_as_it_was(void **state)
{
    static const char *const broken[] = {
        "cp -p server2.crt part && mv part server.crt", /* without its key */
        "head -c 300 server1.crt > part && mv part server.crt",
        "rm server.key",
        ": > trusted.crt",
    };
    struct site s;
    struct chassis_label label = {"file", path("server.crt")};
    site_start(&s, false);
    struct chassis_gauge *refused = chassis_gauge("chassis_certificate_refused", "", &label, 1);
    struct chassis_client *old = client_of(&s, "ca1.crt", "anna1");
    assert_true(can_call(old));
    for (unsigned i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        uint64_t before = generation_of(s.identity);
        shell(broken[i]);
        test_wait_until(chassis_gauge_value(refused) == 1);
        test_wait_until(can_connect(&s, "ca1.crt", "anna1"));
        assert_true(can_call(old));
        assert_int_equal(generation_of(s.identity), before);
        rotate("server", "server1");
        trust("trusted", "ca1");
        test_wait_until(chassis_gauge_value(refused) == 0);
    }
    chassis_client_free(old);
    site_stop(&s);
}

static void an_authority_is_replaced_with_an_overlap(void **state)
{
    struct site s;
    struct chat chat;
    site_start(&s, true);
    struct chassis_client *old = client_of(&s, "both.crt", "anna1");
    chat_open(&chat, old);
    chat_goes_on(&chat);
    assert_false(can_connect(&s, "both.crt", "anna2"));
    uint64_t before = generation_of(s.identity);
    trust("trusted", "both");
    test_wait_until(generation_of(s.identity) > before);
    test_wait_until(can_connect(&s, "both.crt", "anna1"));
    test_wait_until(can_connect(&s, "both.crt", "anna2"));
    before = generation_of(s.identity);
    trust("trusted", "ca2");
    test_wait_until(generation_of(s.identity) > before);
    assert_false(can_connect(&s, "both.crt", "anna1"));
    test_wait_until(can_connect(&s, "both.crt", "anna2"));
    chat_goes_on(&chat);
    chat_close(&chat);
    chassis_client_free(old);
    site_stop(&s);
}

static const char *name_seen(struct chassis_client *client)
{
    static char name[128];
    struct chassis_peer peer;
    struct result r;
    probe(client, "Echo", "x", NULL, &r);
    assert_int_equal(r.code, 0);
    probe_last_peer(&peer, name);
    return name;
}

static void a_client_shows_its_new_certificate_and_keeps_its_streams(void **state)
{
    struct site s;
    struct chat chat;
    site_start(&s, false);
    rotate("me", "anna1");
    struct chassis_client *client = client_of(&s, "ca1.crt", "me");
    chat_open(&chat, client);
    chat_goes_on(&chat);
    assert_string_equal(name_seen(client), "anna1");
    rotate("me", "bert1");
    test_wait_until(strcmp(name_seen(client), "bert1") == 0);
    chat_goes_on(&chat); /* as anna, by the connection of then */
    shell("head -c 300 bert1.crt > part && mv part me.crt");
    struct chassis_label label = {"file", path("me.crt")};
    struct chassis_gauge *refused = chassis_gauge("chassis_certificate_refused", "", &label, 1);
    test_wait_until(chassis_gauge_value(refused) == 1);
    assert_string_equal(name_seen(client), "bert1");
    chat_close(&chat);
    chassis_client_free(client);
    site_stop(&s);
}

static void a_client_trusts_whom_its_file_names_now(void **state)
{
    struct site s;
    site_start(&s, false);
    trust("mine", "ca2");
    struct chassis_client *client = client_of(&s, "mine.crt", NULL);
    assert_false(can_call(client));
    trust("mine", "both");
    test_wait_until(can_call(client));
    trust("mine", "ca2");
    test_wait_until(!can_call(client));
    uint64_t before = generation_of(s.identity);
    rotate("server", "server2");
    test_wait_until(generation_of(s.identity) > before);
    test_wait_until(can_call(client));
    chassis_client_free(client);
    site_stop(&s);
}

/* Calls without a break while both sides change again and again: none fails. */
static void no_call_fails_while_certificates_change(void **state)
{
    enum { CLIENTS = 3, ROUNDS = 12 };
    struct site s;
    struct chassis_client *clients[CLIENTS];
    static struct result results[CLIENTS];
    site_start(&s, true);
    trust("trusted", "both");
    trust("mine", "both");
    rotate("me", "anna1");
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = client_of(&s, "mine.crt", "me");
        assert_true(can_call(clients[i]));
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t before = generation_of(s.identity);
        rotate("me", round % 2 == 0 ? "bert1" : "anna1");
        rotate("server", round % 2 == 0 ? "server2" : "server1");
        while (generation_of(s.identity) == before) {
            for (unsigned i = 0; i < CLIENTS; i++) {
                result_init(&results[i]);
                chassis_client_call_bytes(clients[i], "/draft.test.Probe/Echo",
                                          chassis_view_str("x"), NULL, on_reply, &results[i]);
            }
            for (unsigned i = 0; i < CLIENTS; i++) {
                result_wait(&results[i]);
                assert_int_equal(results[i].code, 0);
            }
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        chassis_client_free(clients[i]);
    }
    site_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_serves_its_new_certificate_and_keeps_its_callers),
        cmocka_unit_test(broken_files_leave_a_server_as_it_was),
        cmocka_unit_test(an_authority_is_replaced_with_an_overlap),
        cmocka_unit_test(a_client_shows_its_new_certificate_and_keeps_its_streams),
        cmocka_unit_test(a_client_trusts_whom_its_file_names_now),
        cmocka_unit_test(no_call_fails_while_certificates_change),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
