#include "tests/test.h"

#include <errno.h>
#include <sys/stat.h>

#include <chassis/plugin/secret_store.h>

#include "auth/internal.h"
#include "tests/unit/auth/vectors_test.h"

static char dir[256];
static struct chassis_error err;

static const char *in_dir(const char *name)
{
    static char paths[4][320];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, 320, "%s/%s", dir, name);
    return path;
}

static void put_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static const char *mode_of(const char *path)
{
    static char text[8];
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    snprintf(text, sizeof text, "%04o", (unsigned)st.st_mode & 07777);
    return text;
}

static void a_key_is_made_once_and_kept_private(void **state)
{
    struct chassis_auth_key *key = NULL, *again = NULL;
    uint8_t a[32], b[32];
    const char *path = in_dir("node.key");
    assert_int_equal(chassis_auth_key_open(path, &key, &err), 0);
    assert_string_equal(mode_of(path), "0600");
    assert_int_equal(chassis_auth_key_open(path, &again, &err), 0);
    chassis_auth_key_public(key, a);
    chassis_auth_key_public(again, b);
    assert_memory_equal(a, b, 32);
    chassis_auth_key_close(key);
    chassis_auth_key_close(again);
    chassis_auth_key_close(NULL);

    chmod(path, 0640);
    key = NULL;
    assert_int_equal(chassis_auth_key_open(path, &key, &err), CHASSIS_PERMISSION_DENIED);
    assert_non_null(strstr(err.text, "chmod 600"));
    assert_null(key);
    put_file(path, "not a key", 0600);
    assert_int_equal(chassis_auth_key_open(path, &key, &err), CHASSIS_CORRUPT);
    assert_int_equal(chassis_auth_key_open(in_dir("no/where"), &key, &err), -ENOENT);
    assert_int_equal(chassis_auth_key_open(dir, &key, &err), CHASSIS_INVALID_ARGUMENT);
    unlink(path);
}

static void a_flipped_bit_anywhere_in_a_key_is_refused_by_name(void **state)
{
    struct chassis_auth_key *key = NULL;
    const char *path = in_dir("node.key");
    char text[1024];
    assert_int_equal(chassis_auth_key_open(path, &key, &err), 0);
    chassis_auth_key_close(key);
    FILE *f = fopen(path, "re");
    size_t len = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[len] = '\0';
    assert_true(len > 100);
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 7; bit += 3) { /* a NUL would only cut the text put there */
            key = NULL;
            text[i] = (char)(text[i] ^ 1 << bit);
            put_file(path, text, 0600);
            int rc = chassis_auth_key_open(path, &key, &err);
            if (rc != CHASSIS_CORRUPT || strstr(err.text, "node.key") == NULL) {
                fail_msg("byte %zu, bit %d: %d %s", i, bit, rc, err.text);
            }
            assert_null(key);
            text[i] = (char)(text[i] ^ 1 << bit);
        }
    }
    put_file(path, text, 0600);
    assert_int_equal(chassis_auth_key_open(path, &key, &err), 0);
    chassis_auth_key_close(key);
    *strstr(text, "-----BEGIN PUBLIC") = '\0'; /* as openssl genpkey makes one */
    put_file(path, text, 0600);
    assert_int_equal(chassis_auth_key_open(path, &key, &err), 0);
    chassis_auth_key_close(key);
    unlink(path);
}

static void make_key_with_a_fault(void *data)
{
    struct chassis_auth_key *key = NULL;
    const char *path = in_dir("fault.key");
    int rc = chassis_auth_key_open(path, &key, &err);
    if (rc != 0) {
        /* Nothing half-made: what is there, if anything, is a whole key. */
        chassis_fault_disarm();
        assert_true(err.text[0] != '\0');
        assert_int_equal(chassis_auth_key_open(path, &key, &err), 0);
        chassis_fault_armed = true;
    }
    chassis_auth_key_close(key);
    unlink(path);
}

static void a_disk_that_fails_leaves_no_half_a_key(void **state)
{
    unsigned fired = 0;
    for (unsigned n = 1; n <= 8; n++) {
        chassis_fault_arm("auth.", n);
        make_key_with_a_fault(NULL);
        fired += chassis_fault_disarm();
    }
    assert_true(fired >= 4);
}

static void the_cluster_secret_is_made_once_and_read_strictly(void **state)
{
    struct chassis_buf a = {0}, b = {0};
    const char *path = in_dir("secret");
    assert_int_equal(chassis_auth_secret_open(path, false, &a, &err), -ENOENT);
    assert_int_equal(chassis_auth_secret_open(path, true, &a, &err), 0);
    assert_int_equal(a.len, 32);
    assert_string_equal(mode_of(path), "0600");
    assert_int_equal(chassis_auth_secret_open(path, true, &b, &err), 0);
    assert_true(chassis_auth_equal(chassis_buf_view(&a), chassis_buf_view(&b)));
    chassis_secret_wipe(&a);
    chassis_secret_wipe(&b);
    assert_null(a.data);
    put_file(path, "1234\n", 0600);
    assert_int_equal(chassis_auth_secret_open(path, true, &a, &err), CHASSIS_CORRUPT);
    assert_null(strstr(err.text, "1234"));
    chmod(path, 0604);
    assert_int_equal(chassis_auth_secret_open(path, true, &a, &err), CHASSIS_PERMISSION_DENIED);
}

enum { NOW = 1700000000 };

static struct chassis_auth_key *test_key(uint8_t public[32])
{
    uint8_t seed[32];
    memset(seed, 7, sizeof seed);
    struct chassis_auth_key *key = chassis_auth_key_from_seed(seed);
    chassis_auth_key_public(key, public);
    return key;
}

static const struct chassis_auth_claims good_claims = {
    .process = "5f0c6c0e-0000-4000-8000-000000000001",
    .name = "echo \"\\ \n gr\xc3\xbc\xc3\x9f",
    .incarnation = 42,
    .issued_s = NOW,
    .expires_s = NOW + 86400,
    .key_id = "node-1",
};

static void a_token_says_what_was_signed(void **state)
{
    uint8_t public[32], stranger[32] = {1};
    char token[CHASSIS_AUTH_TOKEN_MAX];
    struct chassis_auth_claims claims;
    struct chassis_auth_key *key = test_key(public);
    assert_int_equal(chassis_auth_token_sign(key, &good_claims, token, &err), 0);
    assert_int_equal(chassis_auth_token_verify(token, public, NOW, &claims, &err), 0);
    assert_string_equal(claims.process, good_claims.process);
    assert_string_equal(claims.name, good_claims.name);
    assert_string_equal(claims.key_id, "node-1");
    assert_int_equal(claims.incarnation, 42);
    assert_int_equal(claims.expires_s, NOW + 86400);
    memset(&claims, 0, sizeof claims);
    assert_int_equal(chassis_auth_token_peek(token, &claims, &err), 0);
    assert_string_equal(claims.key_id, "node-1");

    memset(&claims, 0, sizeof claims);
    assert_int_equal(chassis_auth_token_verify(token, stranger, NOW, &claims, &err),
                     CHASSIS_UNAUTHENTICATED);
    assert_string_equal(err.text, "token refused: wrong signature");
    assert_int_equal(chassis_auth_token_verify(token, public, NOW + 86400 + 59, &claims, &err), 0);
    assert_int_equal(chassis_auth_token_verify(token, public, NOW + 86400 + 60, &claims, &err),
                     CHASSIS_UNAUTHENTICATED);
    assert_string_equal(err.text, "token refused: expired");
    assert_int_equal(chassis_auth_token_verify(token, public, NOW - 60, &claims, &err), 0);
    assert_int_equal(chassis_auth_token_verify(token, public, NOW - 61, &claims, &err),
                     CHASSIS_UNAUTHENTICATED);
    chassis_auth_key_close(key);
}

static void a_token_with_any_bit_changed_is_refused(void **state)
{
    uint8_t public[32];
    char token[CHASSIS_AUTH_TOKEN_MAX];
    struct chassis_auth_claims claims = {0};
    struct chassis_auth_key *key = test_key(public);
    assert_int_equal(chassis_auth_token_sign(key, &good_claims, token, &err), 0);
    size_t len = strlen(token);
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            token[i] = (char)(token[i] ^ 1 << bit);
            assert_int_equal(chassis_auth_token_verify(token, public, NOW, &claims, &err),
                             CHASSIS_UNAUTHENTICATED);
            token[i] = (char)(token[i] ^ 1 << bit);
        }
        char end = token[i];
        token[i] = '\0';
        assert_int_equal(chassis_auth_token_verify(token, public, NOW, &claims, &err),
                         CHASSIS_UNAUTHENTICATED);
        token[i] = end;
    }
    token[len] = 'A';
    token[len + 1] = '\0';
    assert_int_equal(chassis_auth_token_verify(token, public, NOW, &claims, &err),
                     CHASSIS_UNAUTHENTICATED);
    assert_string_equal(claims.name, "");
    chassis_auth_key_close(key);
}

/* A token whose signature is good but whose content is not ours. */
static int verify_made_of(const char *header, const char *payload)
{
    uint8_t public[32], signature[64];
    struct chassis_auth_key *key = test_key(public);
    struct chassis_buf token = {0};
    struct chassis_auth_claims claims;
    chassis_auth_base64url(chassis_view_str(header), &token);
    chassis_buf_append_byte(&token, '.');
    chassis_auth_base64url(chassis_view_str(payload), &token);
    chassis_auth_sign(key, chassis_buf_view(&token), signature);
    chassis_buf_append_byte(&token, '.');
    chassis_auth_base64url(chassis_view(signature, 64), &token);
    int rc = chassis_auth_token_verify((char *)token.data, public, NOW, &claims, &err);
    chassis_buf_fini(&token);
    chassis_auth_key_close(key);
    return rc;
}

static void only_eddsa_and_only_our_claims_are_taken(void **state)
{
    static const char header[] = "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"n\"}";
    static const char claims[] =
        "{\"sub\":\"p\",\"name\":\"n\",\"inc\":1,\"iat\":1700000000,\"exp\":1700000001}";
    static const char *const bad_headers[] = {
        "{\"alg\":\"none\",\"typ\":\"JWT\",\"kid\":\"n\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"n\"}",
        "{\"alg\":\"eddsa\",\"typ\":\"JWT\",\"kid\":\"n\"}",
        "{\"alg\":\"EdDSA\",\"alg\":\"none\",\"kid\":\"n\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"n\",\"crit\":\"exp\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\"}",
        "{}",
        "",
        "{\"alg\":[\"EdDSA\"]}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"n\"}x",
    };
    static const char *const bad_claims[] = {
        "{\"sub\":\"p\",\"name\":\"n\",\"inc\":1,\"iat\":1700000000}",
        "{\"sub\":\"p\",\"name\":\"n\",\"inc\":1,\"iat\":1700000000,\"exp\":\"1700000001\"}",
        "{\"sub\":\"p\",\"name\":\"n\",\"inc\":1,\"iat\":1700000000,\"exp\":1.7e9}",
        "{\"sub\":\"p\",\"name\":\"n\",\"inc\":1,\"iat\":1700000000,\"exp\":99999999999999999999}",
        "{\"sub\":\"\",\"name\":\"n\",\"inc\":1,\"iat\":1700000000,\"exp\":1700000001}",
        "{\"sub\":\"p\",\"name\":\"\xff\",\"inc\":1,\"iat\":1700000000,\"exp\":1700000001}",
        "{\"sub\":\"p\",\"name\":\"\\u0000\",\"inc\":1,\"iat\":1700000000,\"exp\":1700000001}",
        "{\"sub\":\"p\",\"name\":\"n\",\"inc\":-1,\"iat\":1700000000,\"exp\":1700000001}",
        "{\"sub\":\"p\",\"name\":\"n\",\"inc\":01,\"iat\":1700000000,\"exp\":1700000001}",
        "{\"sub\":{\"a\":1},\"name\":\"n\",\"inc\":1,\"iat\":1700000000,\"exp\":1700000001}",
        "[]",
        "",
        "{\"sub\":\"p\"",
    };
    assert_int_equal(verify_made_of(header, claims), 0);
    for (size_t i = 0; i < sizeof bad_headers / sizeof bad_headers[0]; i++) {
        assert_int_equal(verify_made_of(bad_headers[i], claims), CHASSIS_UNAUTHENTICATED);
    }
    for (size_t i = 0; i < sizeof bad_claims / sizeof bad_claims[0]; i++) {
        assert_int_equal(verify_made_of(header, bad_claims[i]), CHASSIS_UNAUTHENTICATED);
    }
    /* One more claim of a newer node is no reason to refuse. */
    assert_int_equal(verify_made_of(header, "{\"sub\":\"p\",\"name\":\"n\",\"inc\":1,\"new\":true,"
                                            "\"iat\":1700000000,\"exp\":1700000001}"),
                     0);
}

static void what_cannot_be_a_token_is_not_signed(void **state)
{
    uint8_t public[32];
    char token[CHASSIS_AUTH_TOKEN_MAX] = "untouched";
    struct chassis_auth_key *key = test_key(public);
    struct chassis_auth_claims claims = good_claims;
    strcpy(claims.name, "bad \xff");
    assert_int_equal(chassis_auth_token_sign(key, &claims, token, &err), CHASSIS_INVALID_ARGUMENT);
    memset(claims.name, 1, 255); /* six bytes each as \u0001 */
    claims.name[255] = '\0';
    assert_int_equal(chassis_auth_token_sign(key, &claims, token, &err), CHASSIS_TOO_LARGE);
    claims.process[0] = '\0';
    assert_int_equal(chassis_auth_token_sign(key, &claims, token, &err), CHASSIS_INVALID_ARGUMENT);
    assert_string_equal(token, "untouched");
    claims = good_claims;
    memset(claims.name, 'n', 255);
    memset(claims.process, 'p', 63);
    memset(claims.key_id, 'k', 63);
    claims.incarnation = INT64_MAX;
    assert_int_equal(chassis_auth_token_sign(key, &claims, token, &err), 0);
    assert_int_equal(chassis_auth_token_verify(token, public, NOW, &claims, &err), 0);
    chassis_auth_key_close(key);
}

/* Made by the openssl command, so that a foreign hand wrote the files. */
static void make_pair(const char *name, const char *days)
{
    char command[1500];
    snprintf(command, sizeof command,
             "cd '%s' && { openssl req -new -newkey ed25519 -nodes -keyout %s.key -out csr "
             "-subj /CN=%s && openssl x509 -req -in csr -signkey %s.key -days %s -out %s.crt; } "
             "2>/dev/null && chmod 600 %s.key",
             dir, name, name, name, days, name, name);
    assert_int_equal(system(command), 0);
}

static int load(const char *ca, const char *certificate, const char *key)
{
    struct chassis_auth_tls tls = {0};
    int rc =
        chassis_auth_tls_load(&(struct chassis_auth_tls_paths){ca, certificate, key}, &tls, &err);
    assert_int_equal(tls.certificate.len > 100 && tls.key.len > 50, rc == 0 && certificate);
    assert_int_equal(tls.ca.len > 100, rc == 0 && ca);
    chassis_auth_tls_fini(&tls);
    return rc;
}

static void refused(const char *ca, const char *certificate, const char *key, int code,
                    const char *words)
{
    assert_int_equal(load(ca, certificate, key), code);
    if (strstr(err.text, words) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, words);
    }
}

static void tls_files_are_looked_at_before_use(void **state)
{
    make_pair("good", "100");
    make_pair("other", "10");
    make_pair("old", "-1");
    const char *crt = in_dir("good.crt"), *key = in_dir("good.key");
    assert_int_equal(load(crt, crt, key), 0);
    assert_int_equal(load(crt, NULL, NULL), 0);
    refused(NULL, in_dir("old.crt"), in_dir("old.key"), CHASSIS_FAILED_PRECONDITION, "expired 20");
    refused(in_dir("old.crt"), NULL, NULL, CHASSIS_FAILED_PRECONDITION, "has expired");
    refused(NULL, crt, in_dir("other.key"), CHASSIS_INVALID_ARGUMENT, "does not belong to");
    refused(NULL, crt, NULL, CHASSIS_INVALID_ARGUMENT, "together");
    refused(in_dir("good.key"), NULL, NULL, CHASSIS_INVALID_ARGUMENT, "holds no certificate");
    refused(in_dir("none"), NULL, NULL, -ENOENT, "none'");
    chmod(in_dir("good.key"), 0644);
    refused(NULL, in_dir("good.crt"), in_dir("good.key"), CHASSIS_PERMISSION_DENIED, "chmod 600");
}

static void shell(const char *format)
{
    char command[2000];
    snprintf(command, sizeof command, "cd '%s' && { %s; } 2>/dev/null", dir, format);
    assert_int_equal(system(command), 0);
}

static void half_written_and_weak_certificates_are_refused(void **state)
{
    make_pair("whole", "100");
    const char *cut = in_dir("cut.crt"), *key = in_dir("whole.key");
    shell("cat whole.crt whole.crt > two.crt && head -c -40 two.crt > cut.crt");
    assert_int_equal(load(in_dir("two.crt"), in_dir("two.crt"), key), 0);
    refused(cut, NULL, NULL, CHASSIS_INVALID_ARGUMENT, "certificate 2 in '");
    refused(NULL, cut, key, CHASSIS_INVALID_ARGUMENT, "certificate 2 in '");
    shell("head -c 100 whole.crt > cut.crt");
    refused(NULL, cut, key, CHASSIS_INVALID_ARGUMENT, "certificate 1 in '");
    shell("head -c 50 whole.key > cut.key && chmod 600 cut.key");
    refused(NULL, in_dir("whole.crt"), in_dir("cut.key"), CHASSIS_INVALID_ARGUMENT,
            "no private key");
    shell("openssl req -x509 -newkey rsa:1024 -nodes -subj /CN=weak -keyout weak.key "
          "-out weak.crt && chmod 600 weak.key");
    refused(NULL, in_dir("weak.crt"), in_dir("weak.key"), CHASSIS_INVALID_ARGUMENT, "2048");
    shell("openssl req -new -newkey rsa:2048 -nodes -subj /CN=sha1 -keyout sha1.key -out sha1.csr "
          "&& openssl x509 -req -in sha1.csr -CA whole.crt -CAkey whole.key -CAcreateserial "
          "-days 9 -out sha1.crt && chmod 600 sha1.key");
    assert_int_equal(load(NULL, in_dir("sha1.crt"), in_dir("sha1.key")), 0);
    shell("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=ca -keyout ca.key -out ca.crt && "
          "openssl x509 -req -in sha1.csr -sha1 -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 "
          "-out sha1.crt");
    refused(NULL, in_dir("sha1.crt"), in_dir("sha1.key"), CHASSIS_INVALID_ARGUMENT, "SHA-256");
}

static void a_directory_of_private_files_is_a_secret_store(void **state)
{
    struct chassis_secret_store *store = NULL;
    struct chassis_buf secret = {0};
    put_file(in_dir("db.password"), "hunter2\n", 0600);
    put_file(in_dir("open"), "x", 0644);
    assert_int_equal(chassis_secret_store_file(dir, &store, &err), 0);
    assert_int_equal(store->ops->get(store, "db.password", &secret, &err), 0);
    assert_string_equal((char *)secret.data, "hunter2");
    chassis_secret_wipe(&secret);
    assert_int_equal(store->ops->get(store, "none", &secret, &err), CHASSIS_NOT_FOUND);
    assert_int_equal(store->ops->get(store, "open", &secret, &err), CHASSIS_PERMISSION_DENIED);
    static const char *const bad[] = {"", "../x", "a/b", "/etc/passwd", ".hidden", "a..b", "a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(store->ops->get(store, bad[i], &secret, &err), CHASSIS_INVALID_ARGUMENT);
    }
    store->ops->close(store);
    store = NULL;
    assert_int_equal(chassis_secret_store_file(in_dir("none"), &store, &err), -ENOENT);
    assert_int_equal(chassis_secret_store_file(in_dir("open"), &store, &err), -ENOTDIR);
    assert_null(store);
}

static void the_environment_is_a_secret_store(void **state)
{
    struct chassis_secret_store *store = NULL;
    struct chassis_buf secret = {0};
    setenv("DRAFT_SECRET_DB_PASSWORD", "hunter2", 1);
    assert_int_equal(chassis_secret_store_environment("", &store, &err), CHASSIS_INVALID_ARGUMENT);
    assert_int_equal(chassis_secret_store_environment("DRAFT_SECRET_", &store, &err), 0);
    assert_int_equal(store->ops->get(store, "db-password", &secret, &err), 0);
    assert_string_equal((char *)secret.data, "hunter2");
    chassis_secret_wipe(&secret);
    assert_int_equal(store->ops->get(store, "none", &secret, &err), CHASSIS_NOT_FOUND);
    assert_non_null(strstr(err.text, "DRAFT_SECRET_NONE"));
    store->ops->close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ed25519_gives_the_signatures_of_rfc_8032),
        cmocka_unit_test(a_signature_of_rfc_8037_is_accepted),
        cmocka_unit_test(hmac_sha256_gives_the_macs_of_rfc_4231),
        cmocka_unit_test(base64url_gives_the_texts_of_rfc_4648),
        cmocka_unit_test(a_key_is_made_once_and_kept_private),
        cmocka_unit_test(a_flipped_bit_anywhere_in_a_key_is_refused_by_name),
        cmocka_unit_test(a_disk_that_fails_leaves_no_half_a_key),
        cmocka_unit_test(the_cluster_secret_is_made_once_and_read_strictly),
        cmocka_unit_test(a_token_says_what_was_signed),
        cmocka_unit_test(a_token_with_any_bit_changed_is_refused),
        cmocka_unit_test(only_eddsa_and_only_our_claims_are_taken),
        cmocka_unit_test(what_cannot_be_a_token_is_not_signed),
        cmocka_unit_test(tls_files_are_looked_at_before_use),
        cmocka_unit_test(half_written_and_weak_certificates_are_refused),
        cmocka_unit_test(a_directory_of_private_files_is_a_secret_store),
        cmocka_unit_test(the_environment_is_a_secret_store),
    };
    test_tmpdir(dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_rmtree(dir);
    return failed;
}
