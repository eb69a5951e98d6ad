/* One TCP connection of a client: how long it may keep us waiting, and who it has proved to be.
 *
 * libmicrohttpd's own timeout begins anew with every byte. Ours does not: a client that sends one
 * byte a second is cut off like one that sends none.
 */
#include <sys/socket.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "http/internal.h"

static void on_time_up(struct chassis_timer *timer)
{
    struct http_socket *s = chassis_container_of(timer, struct http_socket, timer);
    chassis_log_debug(s->http->log, "connection cut off: its request did not come in time");
    shutdown(s->fd, SHUT_RDWR); /* libmicrohttpd sees the end and closes */
}

static void arm(struct http_socket *s, uint32_t ms)
{
    s->timer.run = on_time_up;
    chassis_timers_arm(&s->http->timers, &s->timer,
                       chassis_os_monotonic_ns() + ms * CHASSIS_NS_PER_MS);
}

static struct http_socket *socket_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

void http_socket_event(void *data, struct MHD_Connection *connection, void **socket_state,
                       enum MHD_ConnectionNotificationCode code)
{
    struct http_listener *l = data;
    bool begins = code == MHD_CONNECTION_NOTIFY_STARTED;
    chassis_gauge_add(l->http->connections, begins ? 1 : -1);
    if (begins) {
        struct http_socket *s = chassis_base_zalloc(sizeof *s);
        s->http = l->http;
        s->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        s->tls = l->admin ? NULL : http_tls_attach(l->http, connection);
        arm(s, l->http->options.idle_timeout_ms);
        *socket_state = s;
    } else if (*socket_state != NULL) {
        struct http_socket *s = *socket_state;
        chassis_timers_cancel(&s->http->timers, &s->timer);
        http_tls_unref(s->tls); /* GnuTLS is through with the connection, or frees only */
        free(s);
        *socket_state = NULL;
    }
}

void http_socket_headers(struct MHD_Connection *connection)
{
    struct http_socket *s = socket_of(connection);
    arm(s, s->http->options.upload_timeout_ms);
}

void http_socket_whole(struct MHD_Connection *connection)
{
    struct http_socket *s = socket_of(connection);
    chassis_timers_cancel(&s->http->timers, &s->timer);
}

void http_socket_idle(struct MHD_Connection *connection)
{
    struct http_socket *s = socket_of(connection);
    if (s != NULL) {
        arm(s, s->http->options.idle_timeout_ms);
    }
}

/* The first alternative name that gRPC would report too, else the common name. */
static void read_name(gnutls_x509_crt_t certificate, char out[HTTP_PEER_NAME_SIZE])
{
    for (unsigned i = 0;; i++) {
        size_t size = HTTP_PEER_NAME_SIZE - 1;
        int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, out, &size, NULL);
        if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
            break;
        }
        bool text =
            type == GNUTLS_SAN_DNSNAME || type == GNUTLS_SAN_URI || type == GNUTLS_SAN_RFC822NAME;
        if (text && memchr(out, '\0', size) == NULL) {
            out[size] = '\0';
            return;
        }
    }
    size_t size = HTTP_PEER_NAME_SIZE;
    if (gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out, &size) !=
            0 ||
        memchr(out, '\0', size) != NULL) {
        out[0] = '\0';
    }
}

/* True when the certificate was made for clients by one of the authorities of the configuration. */
static bool verified(gnutls_session_t session)
{
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
    unsigned status = 0;
    return gnutls_certificate_verify_peers(session, &purpose, 1, &status) == 0 && status == 0;
}

static void identify(struct http_socket *s, gnutls_session_t session)
{
    unsigned n = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &n);
    gnutls_x509_crt_t certificate;
    s->identity = HTTP_NO_CERTIFICATE;
    if (chain == NULL || n == 0) {
        return;
    }
    s->identity = HTTP_BAD_CERTIFICATE;
    if (!verified(session) || gnutls_x509_crt_init(&certificate) != 0) {
        return;
    }
    if (gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) == 0) {
        read_name(certificate, s->name);
        s->identity = HTTP_GOOD_CERTIFICATE;
    }
    gnutls_x509_crt_deinit(certificate);
}

enum http_identity http_socket_identity(const struct http_exchange *x, const char **ret_name)
{
    struct http_socket *s = socket_of(x->connection);
    if (s->identity == HTTP_NOT_ASKED && x->http->asks_certificates && !x->listener->admin) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        if (info != NULL && info->tls_session != NULL) {
            identify(s, info->tls_session);
        }
    }
    *ret_name = s->name;
    return s->identity;
}
