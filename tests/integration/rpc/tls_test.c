/* TLS, and answers that leave together. */
#include "rig.h"

#include "auth/identity.h"

static void make_certificates(const char *dir)
{
    char command[2048];
    snprintf(command, sizeof command,
             "cd '%s' && exec 2>/dev/null && "
             "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 90 "
             "-subj /CN=ca && for n in server node1 stranger; do "
             "openssl req -newkey rsa:2048 -nodes -keyout $n.key -out $n.csr -subj /CN=$n && "
             "printf 'subjectAltName=DNS:%%s' $(test $n = server && echo localhost || echo $n) "
             "> $n.ext && openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
             "-out $n.pem -days 90 -extfile $n.ext || exit 1; done && chmod 600 *.key",
             dir);
    assert_int_equal(system(command), 0);
}

struct files { /* of the authority, node1, a stranger and the server */
    char dir[256], ca[300], cert[300], key[300], cert2[300], key2[300];
    struct chassis_auth_identity *server;
};

static void files_make(struct files *f)
{
    char cert[300], key[300];
    struct chassis_error err = {0};
    memset(f, 0, sizeof *f);
    make_certificates(test_tmpdir(f->dir));
    snprintf(f->ca, sizeof f->ca, "%s/ca.pem", f->dir);
    snprintf(cert, sizeof cert, "%s/server.pem", f->dir);
    snprintf(key, sizeof key, "%s/server.key", f->dir);
    snprintf(f->cert, sizeof f->cert, "%s/node1.pem", f->dir);
    snprintf(f->key, sizeof f->key, "%s/node1.key", f->dir);
    snprintf(f->cert2, sizeof f->cert2, "%s/stranger.pem", f->dir);
    snprintf(f->key2, sizeof f->key2, "%s/stranger.key", f->dir);
    if (chassis_auth_identity_open(f->ca, cert, key, &f->server, &err) != 0) {
        fail_msg("%s", chassis_error_text(&err));
    }
}

static void files_remove(struct files *f)
{
    chassis_auth_identity_close(f->server);
    test_rmtree(f->dir);
}

static void the_client_certificate_is_the_identity(void **state)
{
    static const char *const peers[] = {"node1", NULL};
    struct rig rig;
    struct result r;
    struct chassis_peer peer;
    struct files f;
    char name[128];
    files_make(&f);
    const struct chassis_listener_options listener = {.address = "localhost:0",
                                                      .identity = f.server};
    rig_start(&rig, (struct chassis_server_options){
                        .listeners = &listener, .n_listeners = 1, .peers = peers});
    const struct chassis_tls_files node = {.ca = f.ca, .certificate = f.cert, .key = f.key};
    const struct chassis_tls_files stranger = {.ca = f.ca, .certificate = f.cert2, .key = f.key2};
    const struct chassis_tls_files nobody = {.ca = f.ca};
    struct chassis_client *a = rig_client(&rig, (struct chassis_client_options){.tls = &node});
    struct chassis_client *b = rig_client(&rig, (struct chassis_client_options){.tls = &stranger});
    struct chassis_client *c = rig_client(&rig, (struct chassis_client_options){.tls = &nobody});
    probe(a, "Peer", "", NULL, &r);
    assert_int_equal(r.code, 0);
    probe_last_peer(&peer, name);
    assert_string_equal(name, "node1");
    assert_true(peer.encrypted);
    probe(b, "Peer", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_UNAUTHENTICATED);
    probe(b, "Echo", "", NULL, &r);
    assert_int_equal(r.code, 0);
    probe(c, "Echo", "", NULL, &r);
    assert_int_equal(r.code, 0);
    probe_last_peer(&peer, name);
    assert_string_equal(name, "");
    struct chassis_client *plain = rig_client(&rig, (struct chassis_client_options){0});
    probe(plain, "Echo", "", NULL, &r);
    assert_int_equal(r.code, CHASSIS_UNAVAILABLE);
    chassis_client_free(plain);
    chassis_client_free(a);
    chassis_client_free(b);
    chassis_client_free(c);
    rig_stop(&rig);
    files_remove(&f);
}

/* Calls of several connections wait; all are answered in one go on the queue's thread. */
static void answer_together(struct rig *rig, const struct chassis_client_options *options)
{
    enum { CLIENTS = 3, CALLS = 60 };
    static struct result results[CALLS];
    struct chassis_client *clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct chassis_client_options o = *options;
        o.response_bytes_max = 4096 + i; /* a connection of its own */
        clients[i] = rig_client(rig, o);
    }
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < CALLS; i++) {
            result_init(&results[i]);
            chassis_client_call_bytes(clients[i % CLIENTS], "/draft.test.Probe/Park",
                                      chassis_view_str("x"), NULL, on_reply, &results[i]);
        }
        test_wait_until(probe_parked() == CALLS);
        probe_release();
        for (unsigned i = 0; i < CALLS; i++) {
            result_wait(&results[i]);
            assert_int_equal(results[i].code, 0);
            assert_string_equal(results[i].first, "released");
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        chassis_client_free(clients[i]);
    }
}

static void answers_of_one_turn_reach_every_connection(void **state)
{
    struct rig rig;
    rig_start(&rig, (struct chassis_server_options){0});
    answer_together(&rig, &(struct chassis_client_options){0});
    rig_stop(&rig);
}

static void answers_of_one_turn_reach_every_connection_by_tls(void **state)
{
    struct rig rig;
    struct files f;
    files_make(&f);
    const struct chassis_listener_options listener = {.address = "localhost:0",
                                                      .identity = f.server};
    rig_start(&rig, (struct chassis_server_options){.listeners = &listener, .n_listeners = 1});
    const struct chassis_tls_files nobody = {.ca = f.ca};
    answer_together(&rig, &(struct chassis_client_options){.tls = &nobody});
    rig_stop(&rig);
    files_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_certificate_is_the_identity),
        cmocka_unit_test(answers_of_one_turn_reach_every_connection),
        cmocka_unit_test(answers_of_one_turn_reach_every_connection_by_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
