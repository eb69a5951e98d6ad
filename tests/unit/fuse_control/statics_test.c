/* Listeners and TLS files of the configuration: what is understood, what is refused, what is read again. */
#include "fuse/statics.h"

#include <sys/stat.h>

#include "auth/internal.h"
#include "os/os.h"
#include "test.h"

#define PAIRS(...)                                                                                 \
    {                                                                                              \
        (const struct chassis_config_pair[]){__VA_ARGS__},                                         \
            sizeof((const struct chassis_config_pair[]){__VA_ARGS__}) /                            \
                sizeof(struct chassis_config_pair)                                                 \
    }

static char directory[256], files[600], other[600];

/* A key and a certificate made by the openssl command, so that a foreign hand wrote the files. */
static void make_pair(const char *name, char files_out[600])
{
    char command[1200];
    snprintf(command, sizeof command,
             "cd '%s' && openssl req -x509 -newkey ed25519 -nodes -days 60 -subj /CN=%s -keyout "
             "%s.key -out %s.crt 2>/dev/null",
             directory, name, name, name);
    assert_int_equal(system(command), 0);
    snprintf(files_out, 600, "%s/%s.crt,%s/%s.key", directory, name, directory, name);
}

static int set_up(void **state)
{
    test_tmpdir(directory);
    make_pair("one", files);
    make_pair("two", other);
    return 0;
}

static int tear_down(void **state)
{
    test_rmtree(directory);
    return 0;
}

static struct fuse_static_set *open_set(const struct fuse_statics_config *config)
{
    struct fuse_static_set *set = NULL;
    struct chassis_error err = {0};
    if (fuse_statics_open(config, &set, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return set;
}

static void listeners_have_addresses_groups_and_secrets(void **state)
{
    struct fuse_statics_config config = {
        .listener_address = "127.0.0.1",
        .listener_port = 18080,
        .listeners = PAIRS({"plain", "http://0.0.0.0:80?group=a,b"}, {"v6", "http://[::1]:81/"},
                           {"tls", "https://10.0.0.1:443?secret=web&group=a"}),
        .secrets = PAIRS({"web", files}),
    };
    struct fuse_static_set *set = open_set(&config);
    const struct fuse_statics *s = fuse_statics_of(set);
    assert_int_equal(s->n_listeners, 4);
    assert_string_equal(s->listeners[0].name, "default");
    assert_int_equal(s->listeners[0].port, 18080);
    assert_int_equal(s->listeners[0].n_groups, 0);
    assert_string_equal(s->listeners[1].address, "0.0.0.0");
    assert_int_equal(s->listeners[1].n_groups, 2);
    assert_string_equal(s->listeners[1].groups[1], "b");
    assert_string_equal(s->listeners[2].address, "::1");
    assert_null(s->listeners[2].secret);
    assert_string_equal(s->listeners[3].secret, "web");
    assert_int_equal(s->listeners[3].port, 443);
    assert_int_equal(s->n_secrets, 1);
    assert_true(chassis_view_starts_with(s->secrets[0].certificate,
                                         chassis_view_str("-----BEGIN CERTIFICATE")));
    assert_int_equal(s->secrets[0].ca.len, 0);
    fuse_statics_close(set);
}

static void without_a_port_there_is_no_listener(void **state)
{
    struct fuse_static_set *set = open_set(&(struct fuse_statics_config){.listener_address = "x"});
    assert_int_equal(fuse_statics_of(set)->n_listeners, 0);
    fuse_statics_close(set);
}

static void refused(const char *listener, const char *secret, const char *words)
{
    struct chassis_config_pair listeners[] = {{"l", listener}}, secrets[] = {{"web", secret}};
    struct fuse_statics_config config = {.listeners = {listeners, listener != NULL},
                                         .secrets = {secrets, secret != NULL}};
    struct fuse_static_set *set = NULL;
    struct chassis_error err = {0};
    assert_int_not_equal(fuse_statics_open(&config, &set, &err), 0);
    if (strstr(err.text, words) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, words);
    }
}

static void what_is_wrong_is_named(void **state)
{
    char mixed[1200], missing[1200];
    refused("ftp://x:1", NULL, "fuse.listeners.l: neither http nor https");
    refused("http://x", NULL, "no port");
    refused("http://x:0", NULL, "no port");
    refused("http://x:65536", NULL, "no port");
    refused("http://x:1x", NULL, "no port");
    refused("http://x:1/path", NULL, "a path");
    refused("http://x:1?color=red", NULL, "unknown parameter");
    refused("http://x:1?group=", NULL, "");
    refused("http://x:1?group=a,,b", NULL, "without a name");
    refused("https://x:1", NULL, "without a secret");
    refused("http://x:1?secret=web", files, "without https");
    refused("https://x:1?secret=web2", files, "no fuse.secrets.web2");
    refused(NULL, "one.pem", "fuse.secrets.web: expected");
    refused(NULL, "a,b,c,d", "fuse.secrets.web: expected");
    snprintf(missing, sizeof missing, "%s/absent.crt,%s/one.key", directory, directory);
    refused(NULL, missing, "absent.crt");
    snprintf(mixed, sizeof mixed, "%s/one.crt,%s/two.key", directory, directory);
    refused(NULL, mixed, "fuse.secrets.web");
}

/* ---- files that change ---- */

struct watched {
    struct fuse_static_set *set;
    struct chassis_executor *loop;
    struct chassis_task begin, end;
    char seen[4096]; /* of the certificate; owner: the loop until `changes` says so */
    int changes;     /* atomic */
    int stopped;     /* atomic */
};

static void on_changed(void *data)
{
    struct watched *w = data;
    const struct fuse_statics *s = fuse_statics_of(w->set);
    snprintf(w->seen, sizeof w->seen, "%.*s", CHASSIS_VIEW_ARG(s->secrets[0].certificate));
    __atomic_add_fetch(&w->changes, 1, __ATOMIC_RELEASE);
}

static void begin(struct chassis_task *task)
{
    struct watched *w = chassis_container_of(task, struct watched, begin);
    fuse_statics_watch(w->set, &(struct fuse_statics_watch){
                                   .loop = w->loop,
                                   .changed = on_changed,
                                   .data = w,
                               });
}

static void on_stopped(void *data)
{
    __atomic_store_n(&((struct watched *)data)->stopped, 1, __ATOMIC_RELEASE);
}

static void end(struct chassis_task *task)
{
    struct watched *w = chassis_container_of(task, struct watched, end);
    fuse_statics_stop(w->set, on_stopped, w);
}

static void copy_file(const char *from, const char *to)
{
    char command[900];
    snprintf(command, sizeof command, "cd '%s' && cp '%s' tmp && mv tmp '%s'", directory, from, to);
    assert_int_equal(system(command), 0);
}

static void changed_files_are_read_again_when_they_fit_together(void **state)
{
    struct watched w = {.begin.run = begin, .end.run = end};
    char live[600], two[4096] = "";
    chassis_auth_look_every_ms(5);
    make_pair("live", live);
    struct fuse_statics_config config = {.secrets = PAIRS({"web", live})};
    w.set = open_set(&config);
    assert_int_equal(chassis_os_thread_start("loop", &w.loop), 0);
    chassis_post(w.loop, &w.begin);
    /* A certificate without its key is not taken; with it, it is. */
    copy_file("two.crt", "live.crt");
    copy_file("two.key", "live.key");
    test_wait_until(__atomic_load_n(&w.changes, __ATOMIC_ACQUIRE) == 1);
    char path[400];
    snprintf(path, sizeof path, "%s/two.crt", directory);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    two[fread(two, 1, sizeof two - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(w.seen, two);
    copy_file("one.crt", "live.crt");
    copy_file("one.key", "live.key");
    test_wait_until(__atomic_load_n(&w.changes, __ATOMIC_ACQUIRE) == 2);
    chassis_post(w.loop, &w.end);
    test_wait_until(__atomic_load_n(&w.stopped, __ATOMIC_ACQUIRE) == 1);
    chassis_os_thread_stop(w.loop);
    fuse_statics_close(w.set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listeners_have_addresses_groups_and_secrets),
        cmocka_unit_test(without_a_port_there_is_no_listener),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(changed_files_are_read_again_when_they_fit_together),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
