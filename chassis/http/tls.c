/* What HTTPS connections are served with. libmicrohttpd keeps what it was started with; so each
 * connection, before its first byte, is given credentials of ours, which are made anew when the
 * identity has a new content. */
#include <gnutls/gnutls.h>

#include "http/internal.h"

struct http_tls {
    gnutls_certificate_credentials_t credentials;
    const struct chassis_auth_tls *content;
    unsigned refs; /* owner: the http thread */
};

static gnutls_datum_t datum(const struct chassis_buf *buf)
{
    return (gnutls_datum_t){.data = buf->data, .size = (unsigned)buf->len};
}

static int fill(gnutls_certificate_credentials_t credentials,
                const struct chassis_auth_tls *content)
{
    gnutls_datum_t certificate = datum(&content->certificate), key = datum(&content->key);
    gnutls_datum_t ca = datum(&content->ca);
    int rc =
        gnutls_certificate_set_x509_key_mem(credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
    if (rc >= 0 && ca.size != 0) {
        rc = gnutls_certificate_set_x509_trust_mem(credentials, &ca, GNUTLS_X509_FMT_PEM);
    }
    return rc;
}

/* Takes the content if it succeeds. */
static int tls_new(const struct chassis_auth_tls *content, struct http_tls **ret_tls,
                   struct chassis_error *err)
{
    gnutls_certificate_credentials_t credentials;
    int rc = gnutls_certificate_allocate_credentials(&credentials);
    CHASSIS_ASSERT(rc == 0);
    rc = fill(credentials, content);
    if (rc < 0) {
        gnutls_certificate_free_credentials(credentials);
        return chassis_error_set(err, CHASSIS_CONFIG, "TLS of http: %s", gnutls_strerror(rc));
    }
    struct http_tls *tls = chassis_base_zalloc(sizeof *tls);
    *tls = (struct http_tls){credentials, content, 1};
    *ret_tls = tls;
    return 0;
}

void http_tls_unref(struct http_tls *tls)
{
    if (tls != NULL && --tls->refs == 0) {
        gnutls_certificate_free_credentials(tls->credentials);
        chassis_auth_identity_unref(tls->content);
        free(tls);
    }
}

int http_tls_open(struct chassis_http *http, struct chassis_error *err)
{
    const struct chassis_auth_tls *content = chassis_auth_identity_ref(http->options.identity);
    http->asks_certificates = content->ca.len != 0;
    int rc = tls_new(content, &http->tls, err);
    if (rc != 0) {
        chassis_auth_identity_unref(content);
    }
    return rc;
}

void http_tls_close(struct chassis_http *http)
{
    http_tls_unref(http->tls);
    chassis_auth_identity_unref(http->tls_refused);
}

const struct chassis_auth_tls *http_tls_content(const struct chassis_http *http)
{
    return http->tls->content;
}

/* OpenSSL has looked at it already; what GnuTLS does not take is said once, and not tried again. */
static void renew(struct chassis_http *http)
{
    const struct chassis_auth_tls *content = chassis_auth_identity_ref(http->options.identity);
    if (content == http->tls->content || content == http->tls_refused) {
        chassis_auth_identity_unref(content);
        return;
    }
    struct http_tls *tls = NULL;
    struct chassis_error err = {0};
    if (tls_new(content, &tls, &err) != 0) {
        chassis_auth_identity_unref(http->tls_refused);
        http->tls_refused = content;
        chassis_log_error(http->log, "a new certificate cannot be used: HTTPS keeps the one before",
                          chassis_f_err(&err));
        return;
    }
    http_tls_unref(http->tls);
    http->tls = tls;
}

struct http_tls *http_tls_attach(struct chassis_http *http, struct MHD_Connection *connection)
{
    if (http->tls == NULL) {
        return NULL;
    }
    renew(http);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info == NULL || info->tls_session == NULL ||
        gnutls_credentials_set(info->tls_session, GNUTLS_CRD_CERTIFICATE, http->tls->credentials) !=
            0) {
        return NULL; /* served with what the daemon was started with */
    }
    http->tls->refs++;
    return http->tls;
}
