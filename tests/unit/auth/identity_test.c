/* TLS files that change while somebody uses them: what is taken, what is refused, who is told. */
#include "tests/test.h"

#include <pthread.h>
#include <stdatomic.h>

#include <chassis/log.h>
#include <chassis/metrics.h>
#include <chassis/plugin/log_sink.h>

#include "auth/internal.h"

static char dir[256], ca[300], certificate[300], key[300];

static void shell(const char *what)
{
    char command[1200];
    snprintf(command, sizeof command, "cd '%s' && { %s; } 2>/dev/null", dir, what);
    assert_int_equal(system(command), 0);
}

/* `live` is what is used; whole files appear there by rename. */
static void put(const char *from, const char *to)
{
    char what[300];
    snprintf(what, sizeof what, "cp -p %s part && mv part %s", from, to);
    shell(what);
}

static int set_up(void **state)
{
    test_tmpdir(dir);
    snprintf(ca, sizeof ca, "%s/live.ca", dir);
    snprintf(certificate, sizeof certificate, "%s/live.crt", dir);
    snprintf(key, sizeof key, "%s/live.key", dir);
    shell("for n in one two; do openssl req -x509 -newkey ed25519 -nodes -days 60 -subj /CN=$n "
          "-keyout $n.key -out $n.crt && chmod 600 $n.key || exit 1; done; "
          "cat one.crt two.crt > both.crt");
    chassis_auth_look_every_ms(3);
    return 0;
}

static int tear_down(void **state)
{
    test_rmtree(dir);
    return 0;
}

/* ---- what was logged ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char logged[1024]; /* the last error; under the lock */

static void on_record(struct chassis_log_sink *sink, const struct chassis_log_record *record)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; record->level == CHASSIS_LOG_ERROR && i < record->n_fields; i++) {
        if (strcmp(record->fields[i].key, "error") == 0) {
            snprintf(logged, sizeof logged, "%s", record->fields[i].value.str);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* "" forgets. */
static bool said(const char *words)
{
    pthread_mutex_lock(&lock);
    bool found = strstr(logged, words) != NULL;
    if (words[0] == '\0') {
        logged[0] = '\0';
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void on_flush(struct chassis_log_sink *sink)
{
}

static struct chassis_log_sink sink = {.write = on_record, .flush = on_flush};

/* ---- an identity under watch ---- */

struct watched {
    struct chassis_auth_identity *identity;
    struct chassis_auth_watch watch;
    atomic_uint changes;
};

static void on_change(void *data)
{
    atomic_fetch_add(&((struct watched *)data)->changes, 1);
}

static void begin(struct watched *w)
{
    struct chassis_error err = {0};
    put("one.crt", "live.crt");
    put("one.key", "live.key");
    put("one.crt", "live.ca");
    memset(w, 0, sizeof *w);
    if (chassis_auth_identity_open(ca, certificate, key, &w->identity, &err) != 0) {
        fail_msg("%s", err.text);
    }
    w->watch = (struct chassis_auth_watch){.changed = on_change, .data = w};
    chassis_auth_watch_start(w->identity, &w->watch);
    chassis_log_set_sink(&sink);
    said("");
}

static void end(struct watched *w)
{
    chassis_auth_watch_stop(&w->watch);
    chassis_auth_identity_close(w->identity);
}

static int64_t gauge(const char *name, const char *file)
{
    struct chassis_label label = {"file", file};
    return chassis_gauge_value(chassis_gauge(name, "", &label, 1));
}

static bool in_use(const char *name, const struct chassis_buf *what)
{
    char path[300], text[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    return n == what->len && memcmp(text, what->data, n) == 0;
}

static bool uses(struct watched *w, const char *name)
{
    char file[64];
    const struct chassis_auth_tls *tls = chassis_auth_identity_ref(w->identity);
    snprintf(file, sizeof file, "%s.crt", name);
    bool same = in_use(file, &tls->certificate);
    snprintf(file, sizeof file, "%s.key", name);
    same = same && in_use(file, &tls->key);
    chassis_auth_identity_unref(tls);
    return same;
}

static bool trusts(struct chassis_auth_identity *identity, const char *name)
{
    const struct chassis_auth_tls *tls = chassis_auth_identity_ref(identity);
    bool same = in_use(name, &tls->ca);
    chassis_auth_identity_unref(tls);
    return same;
}

/* ---- tests ---- */

static void a_new_pair_is_taken_and_told(void **state)
{
    struct watched w;
    begin(&w);
    const struct chassis_auth_tls *before = chassis_auth_identity_ref(w.identity);
    assert_int_equal(gauge("chassis_certificate_not_after_seconds", certificate), before->ends_s);
    assert_true(before->ends_s - before->begins_s == 60 * 86400);
    assert_true(uses(&w, "one"));
    put("two.key", "live.key");
    put("two.crt", "live.crt");
    test_wait_until(atomic_load(&w.changes) == 1);
    assert_true(uses(&w, "two"));
    const struct chassis_auth_tls *after = chassis_auth_identity_ref(w.identity);
    assert_true(after->generation > before->generation);
    assert_int_equal(gauge("chassis_certificate_not_after_seconds", certificate), after->ends_s);
    assert_int_equal(gauge("chassis_certificate_refused", certificate), 0);
    end(&w);
    /* What somebody still holds outlives the identity. */
    assert_true(in_use("one.key", &before->key));
    chassis_auth_identity_unref(before);
    chassis_auth_identity_unref(after);
}

static void refused_files_leave_what_was_good(void **state)
{
    static const struct {
        const char *what, *words;
    } cases[] = {
        {"cp -p two.crt part && mv part live.crt", "does not belong to certificate"},
        {"head -c 200 one.crt > part && mv part live.crt", "certificate 1 in '"},
        {"rm live.crt", "live.crt'"},
        {"head -c -30 both.crt > part && mv part live.ca", "live.ca' is cut off"},
        {": > live.ca", "live.ca' holds no certificate"},
        {": > live.key", "no private key"},
        {"chmod 644 live.key", "chmod 600"},
        {"rm live.key && mkdir live.key", "not a regular file"},
    };
    struct watched w;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin(&w);
        shell(cases[i].what);
        test_wait_until(gauge("chassis_certificate_refused", certificate) == 1);
        test_wait_until(said(cases[i].words));
        assert_true(uses(&w, "one"));
        /* The same files again, or another mode: good again, nothing new to tell. */
        shell("test ! -d live.key || rmdir live.key");
        put("one.crt", "live.crt");
        put("one.key", "live.key");
        put("one.crt", "live.ca");
        test_wait_until(gauge("chassis_certificate_refused", certificate) == 0);
        assert_true(uses(&w, "one"));
        /* And new ones are taken after that. */
        put("two.crt", "live.crt");
        put("two.key", "live.key");
        test_wait_until(uses(&w, "two"));
        test_wait_until(atomic_load(&w.changes) == 1);
        end(&w);
    }
}

static void a_key_may_come_before_or_after_its_certificate(void **state)
{
    struct watched w;
    begin(&w);
    put("two.crt", "live.crt");
    test_wait_until(gauge("chassis_certificate_refused", certificate) == 1);
    assert_true(uses(&w, "one"));
    put("two.key", "live.key");
    test_wait_until(uses(&w, "two"));
    put("one.key", "live.key");
    test_wait_until(gauge("chassis_certificate_refused", certificate) == 1);
    assert_true(uses(&w, "two"));
    put("one.crt", "live.crt");
    test_wait_until(uses(&w, "one"));
    end(&w);
}

static void a_directory_swapped_by_a_link_is_seen(void **state)
{
    struct watched w = {0};
    struct chassis_error err = {0};
    char crt[300], private[300];
    snprintf(crt, sizeof crt, "%s/mount/tls.crt", dir);
    snprintf(private, sizeof private, "%s/mount/tls.key", dir);
    shell("mkdir mount mount/v1 mount/v2 && cp -p one.crt mount/v1/tls.crt && "
          "cp -p one.key mount/v1/tls.key && cp -p two.crt mount/v2/tls.crt && "
          "cp -p two.key mount/v2/tls.key && ln -s v1 mount/..data && "
          "ln -s ..data/tls.crt mount/tls.crt && ln -s ..data/tls.key mount/tls.key");
    assert_int_equal(chassis_auth_identity_open(NULL, crt, private, &w.identity, &err), 0);
    assert_true(uses(&w, "one"));
    shell("ln -s v2 mount/next && mv -T mount/next mount/..data");
    test_wait_until(uses(&w, "two"));
    chassis_auth_identity_close(w.identity);
}

static void files_are_shared_by_their_names(void **state)
{
    struct watched w;
    struct chassis_auth_identity *again = NULL, *only_ca = NULL;
    struct chassis_error err = {0};
    begin(&w);
    assert_int_equal(chassis_auth_identity_open(ca, certificate, key, &again, &err), 0);
    assert_ptr_equal(again, w.identity);
    assert_int_equal(chassis_auth_identity_open(ca, NULL, NULL, &only_ca, &err), 0);
    assert_ptr_not_equal(only_ca, w.identity);
    put("both.crt", "live.ca");
    test_wait_until(atomic_load(&w.changes) == 1);
    test_wait_until(trusts(only_ca, "both.crt"));
    chassis_auth_identity_close(only_ca);
    chassis_auth_identity_close(again);
    /* While somebody knows a good content, broken files hinder nobody from opening them. */
    shell(": > live.crt");
    assert_int_equal(chassis_auth_identity_open(ca, certificate, key, &again, &err), 0);
    chassis_auth_identity_close(again);
    end(&w);
    assert_int_not_equal(chassis_auth_identity_open(ca, certificate, key, &again, &err), 0);
    assert_non_null(strstr(err.text, "live.crt"));
}

static void faults_leave_nothing_behind(void *data)
{
    struct chassis_auth_identity *identity = NULL;
    struct chassis_error err = {0};
    if (chassis_auth_identity_open(ca, certificate, key, &identity, &err) == 0) {
        chassis_auth_identity_close(identity);
    } else {
        assert_int_not_equal(strlen(err.text), 0);
    }
}

static void a_failed_open_leaves_nothing_behind(void **state)
{
    put("one.crt", "live.crt");
    put("one.key", "live.key");
    put("one.crt", "live.ca");
    assert_true(test_each_fault("auth.file", faults_leave_nothing_behind, NULL) >= 3);
    assert_true(test_each_fault("os.thread", faults_leave_nothing_behind, NULL) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_pair_is_taken_and_told),
        cmocka_unit_test(refused_files_leave_what_was_good),
        cmocka_unit_test(a_key_may_come_before_or_after_its_certificate),
        cmocka_unit_test(a_directory_swapped_by_a_link_is_seen),
        cmocka_unit_test(files_are_shared_by_their_names),
        cmocka_unit_test(a_failed_open_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
