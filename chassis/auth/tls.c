/* TLS files: read, looked at before anybody uses them. */
#include <time.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "auth/internal.h"
#include "base/assert.h"

/* gRPC's threads may be in the middle of a handshake when the process exits, and a cleanup of
 * OpenSSL in atexit would take its tables from under them. Whoever initializes it first decides, so
 * this comes before main. */
__attribute__((constructor)) static void keep_openssl_at_exit(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}

static BIO *bio_of(const struct chassis_buf *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->len != 0 ? (const void *)pem->data : "", (int)pem->len);
    CHASSIS_ASSERT(bio != NULL);
    return bio;
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

void chassis_auth_date_text(int64_t time_s, char out[32])
{
    time_t seconds = (time_t)time_s;
    struct tm tm;
    out[0] = '\0';
    if (gmtime_r(&seconds, &tm) != NULL) {
        strftime(out, 32, "%Y-%m-%d %H:%M UTC", &tm);
    }
}

/* gRPC's OpenSSL refuses what is weaker than level 2 of SSL_CTX_set_security_level, and says so only
 * in its own log; HTTP would go on with it. */
static int check_strength(const char *path, X509 *x509, struct chassis_error *err)
{
    enum { BITS_MIN = 112 };
    int digest_bits = 0;
    EVP_PKEY *key = X509_get0_pubkey(x509);
    if (key == NULL || EVP_PKEY_get_security_bits(key) < BITS_MIN) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "a key in '%s' is weak: RSA needs at least 2048 bits", path);
    }
    if (X509_self_signed(x509, 0) != 1 &&
        X509_get_signature_info(x509, NULL, NULL, &digest_bits, NULL) == 1 &&
        digest_bits < BITS_MIN) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "a signature in '%s' is weak: use SHA-256 or better", path);
    }
    return 0;
}

/* Everything in the file: the first certificate (the caller's to free) and when the last one ends. */
static int read_certificates(const char *path, const struct chassis_buf *pem, bool strong,
                             X509 **ret_first, int64_t *ret_last_end_s, struct chassis_error *err)
{
    unsigned n = 0;
    int rc = 0;
    X509 *first = NULL, *x509;
    int64_t last_end_s = 0;
    BIO *bio = bio_of(pem);
    while (rc == 0 && (x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        int64_t end_s = seconds_of(X509_get0_notAfter(x509));
        last_end_s = end_s > last_end_s ? end_s : last_end_s;
        rc = strong ? check_strength(path, x509, err) : 0;
        if (n++ == 0) {
            first = x509;
        } else {
            X509_free(x509);
        }
    }
    bool whole = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (rc == 0 && !whole) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "certificate %u in '%s' is cut off or damaged", n + 1, path);
    } else if (rc == 0 && n == 0) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "'%s' holds no certificate in PEM",
                               path);
    }
    ERR_clear_error();
    BIO_free(bio);
    if (rc != 0) {
        X509_free(first);
        return rc;
    }
    *ret_first = first;
    *ret_last_end_s = last_end_s;
    return 0;
}

/* At least one authority must be valid now; bundles hold ended ones as well. */
static int check_ca(const char *path, struct chassis_auth_tls *tls, struct chassis_error *err)
{
    X509 *first = NULL;
    int rc = read_certificates(path, &tls->ca, false, &first, &tls->ca_ends_s, err);
    if (rc != 0) {
        return rc;
    }
    X509_free(first);
    return tls->ca_ends_s > (int64_t)time(NULL)
               ? 0
               : chassis_error_set(err, CHASSIS_FAILED_PRECONDITION,
                                   "every certificate in '%s' has expired", path);
}

static int check_dates(const char *path, const struct chassis_auth_tls *tls,
                       struct chassis_error *err)
{
    char date[32];
    int64_t now_s = time(NULL);
    if (tls->begins_s > now_s) {
        chassis_auth_date_text(tls->begins_s, date);
        return chassis_error_set(err, CHASSIS_FAILED_PRECONDITION,
                                 "certificate '%s' is not valid before %s: check the clock", path,
                                 date);
    }
    if (tls->ends_s <= now_s) {
        chassis_auth_date_text(tls->ends_s, date);
        return chassis_error_set(err, CHASSIS_FAILED_PRECONDITION, "certificate '%s' expired %s",
                                 path, date);
    }
    return 0;
}

static int check_pair(const char *certificate, const char *key, struct chassis_auth_tls *tls,
                      struct chassis_error *err)
{
    X509 *x509 = NULL; /* the first is ours, the chain follows */
    int64_t ignored;
    int rc = read_certificates(certificate, &tls->certificate, true, &x509, &ignored, err);
    if (rc != 0) {
        return rc;
    }
    BIO *bio = bio_of(&tls->key);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "");
    BIO_free(bio);
    tls->begins_s = seconds_of(X509_get0_notBefore(x509));
    tls->ends_s = seconds_of(X509_get0_notAfter(x509));
    if (pkey == NULL) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "'%s' holds no private key in PEM without a passphrase", key);
    } else if (X509_check_private_key(x509, pkey) != 1) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "key '%s' does not belong to certificate '%s'", key, certificate);
    } else {
        rc = check_dates(certificate, tls, err);
    }
    ERR_clear_error();
    EVP_PKEY_free(pkey);
    X509_free(x509);
    return rc;
}

int chassis_auth_tls_load(const struct chassis_auth_tls_paths *paths,
                          struct chassis_auth_tls *ret_tls, struct chassis_error *err)
{
    struct chassis_auth_tls tls = {0};
    int rc = 0;
    if ((paths->certificate == NULL) != (paths->key == NULL)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "a certificate and its key are given together or not at all");
    }
    if (paths->ca != NULL) {
        rc = chassis_auth_file_read(paths->ca, 0, &tls.ca, err);
        rc = rc == 0 ? check_ca(paths->ca, &tls, err) : rc;
    }
    if (rc == 0 && paths->certificate != NULL) {
        rc = chassis_auth_file_read(paths->certificate, 0, &tls.certificate, err);
        /* The group may read: certificate tools hand keys to services that way. */
        rc = rc == 0 ? chassis_auth_file_read(paths->key, 037, &tls.key, err) : rc;
        rc = rc == 0 ? check_pair(paths->certificate, paths->key, &tls, err) : rc;
    }
    if (rc != 0) {
        chassis_auth_tls_fini(&tls);
        return rc;
    }
    *ret_tls = tls;
    return 0;
}

void chassis_auth_tls_fini(struct chassis_auth_tls *tls)
{
    chassis_buf_fini(&tls->ca);
    chassis_buf_fini(&tls->certificate);
    chassis_auth_wipe(&tls->key);
}
