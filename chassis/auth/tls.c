/* TLS files: read, looked at before a listener is built on them. */
#include <stdio.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "auth/internal.h"
#include "base/assert.h"

enum { WARN_DAYS = 30 };

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

static X509 *next_certificate(BIO *bio)
{
    X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    ERR_clear_error();
    return x509;
}

/* At least one authority must be valid now; bundles hold ended ones as well. */
static int check_ca(const char *path, const struct chassis_buf *pem, struct chassis_error *err)
{
    unsigned n = 0, valid = 0;
    BIO *bio = bio_of(pem);
    for (X509 *x509 = next_certificate(bio); x509 != NULL; x509 = next_certificate(bio)) {
        n++;
        valid += X509_cmp_current_time(X509_get0_notAfter(x509)) > 0;
        X509_free(x509);
    }
    BIO_free(bio);
    if (n == 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "'%s' holds no certificate in PEM",
                                 path);
    }
    return valid != 0 ? 0
                      : chassis_error_set(err, CHASSIS_FAILED_PRECONDITION,
                                          "every certificate in '%s' has expired", path);
}

static void date_text(const ASN1_TIME *time, char out[32])
{
    struct tm tm;
    out[0] = '\0';
    if (ASN1_TIME_to_tm(time, &tm) == 1) {
        strftime(out, 32, "%Y-%m-%d %H:%M UTC", &tm);
    }
}

static int check_dates(const char *path, const X509 *x509, char ret_warning[256],
                       struct chassis_error *err)
{
    char date[32];
    if (X509_cmp_current_time(X509_get0_notBefore(x509)) > 0) {
        date_text(X509_get0_notBefore(x509), date);
        return chassis_error_set(err, CHASSIS_FAILED_PRECONDITION,
                                 "certificate '%s' is not valid before %s: check the clock", path,
                                 date);
    }
    date_text(X509_get0_notAfter(x509), date);
    if (X509_cmp_current_time(X509_get0_notAfter(x509)) <= 0) {
        return chassis_error_set(err, CHASSIS_FAILED_PRECONDITION, "certificate '%s' expired %s",
                                 path, date);
    }
    time_t soon = time(NULL) + WARN_DAYS * 86400;
    if (X509_cmp_time(X509_get0_notAfter(x509), &soon) <= 0) {
        snprintf(ret_warning, 256, "certificate '%.160s' expires %s", path, date);
    }
    return 0;
}

static int check_pair(const char *certificate, const char *key, const struct chassis_auth_tls *tls,
                      char ret_warning[256], struct chassis_error *err)
{
    BIO *bio = bio_of(&tls->certificate);
    X509 *x509 = next_certificate(bio); /* the first is ours, the chain follows */
    BIO_free(bio);
    if (x509 == NULL) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "'%s' holds no certificate in PEM",
                                 certificate);
    }
    bio = bio_of(&tls->key);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "");
    BIO_free(bio);
    int rc;
    if (pkey == NULL) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "'%s' holds no private key in PEM without a passphrase", key);
    } else if (X509_check_private_key(x509, pkey) != 1) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "key '%s' does not belong to certificate '%s'", key, certificate);
    } else {
        rc = check_dates(certificate, x509, ret_warning, err);
    }
    ERR_clear_error();
    EVP_PKEY_free(pkey);
    X509_free(x509);
    return rc;
}

int chassis_auth_tls_load(const char *ca, const char *certificate, const char *key,
                          struct chassis_auth_tls *ret_tls, char ret_warning[256],
                          struct chassis_error *err)
{
    struct chassis_auth_tls tls = {0};
    int rc = 0;
    ret_warning[0] = '\0';
    if ((certificate == NULL) != (key == NULL)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "a certificate and its key are given together or not at all");
    }
    if (ca != NULL) {
        rc = chassis_auth_file_read(ca, 0, &tls.ca, err);
        rc = rc == 0 ? check_ca(ca, &tls.ca, err) : rc;
    }
    if (rc == 0 && certificate != NULL) {
        rc = chassis_auth_file_read(certificate, 0, &tls.certificate, err);
        /* The group may read: certificate tools hand keys to services that way. */
        rc = rc == 0 ? chassis_auth_file_read(key, 037, &tls.key, err) : rc;
        rc = rc == 0 ? check_pair(certificate, key, &tls, ret_warning, err) : rc;
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
