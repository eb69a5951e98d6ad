#include "rpc/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grpc/grpc_security.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/identity.h"
#include "base/assert.h"

/* A port with TLS, and what gRPC serves it with. gRPC keeps that for each port, so that ports cannot
 * share this. */
struct rpc_listen {
    struct rpc_listen *next;
    struct chassis_auth_identity *identity;
    pthread_mutex_t lock;
    const struct chassis_auth_tls *given; /* under the lock; NULL = nothing yet */
};

enum { ADDRESSES_MAX = 16 };

/* ---- credentials ---- */

static const char *pem(const struct chassis_buf *buf)
{
    return buf->len != 0 ? (const char *)buf->data : NULL;
}

/* gRPC asks before each handshake. */
static grpc_ssl_certificate_config_reload_status
on_handshake(void *data, grpc_ssl_server_certificate_config **ret_config)
{
    struct rpc_listen *listen = data;
    const struct chassis_auth_tls *tls = chassis_auth_identity_ref(listen->identity);
    pthread_mutex_lock(&listen->lock);
    const struct chassis_auth_tls *old = listen->given;
    bool changed = old != tls;
    listen->given = tls;
    if (changed) {
        grpc_ssl_pem_key_cert_pair pair = {pem(&tls->key), pem(&tls->certificate)};
        /* gRPC insists on authorities here, also where no client is asked for a certificate. */
        const char *roots = tls->ca.len != 0 ? pem(&tls->ca) : pem(&tls->certificate);
        *ret_config = grpc_ssl_server_certificate_config_create(roots, &pair, 1);
    }
    pthread_mutex_unlock(&listen->lock);
    chassis_auth_identity_unref(old);
    return changed ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW
                   : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
}

static int check_identity(const struct chassis_listener_options *o, bool *ret_asks,
                          struct chassis_error *err)
{
    const struct chassis_auth_tls *tls = chassis_auth_identity_ref(o->identity);
    bool pair = tls->certificate.len != 0, ca = tls->ca.len != 0;
    chassis_auth_identity_unref(tls);
    if (!pair) {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "TLS at '%s' needs a certificate and a key: give both",
                                 o->address);
    }
    if (o->client_certificate_required && !ca) {
        return chassis_error_set(
            err, CHASSIS_CONFIG,
            "TLS at '%s' asks for client certificates: give the ca to check them with", o->address);
    }
    *ret_asks = ca;
    return 0;
}

static grpc_server_credentials *credentials_of(const struct chassis_listener_options *o, bool asks,
                                               struct rpc_listen *listen)
{
    grpc_ssl_client_certificate_request_type request =
        !asks ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
        : o->client_certificate_required
            ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
            : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY;
    grpc_server_credentials *credentials = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request, on_handshake,
                                                                        listen));
    CHASSIS_ASSERT(credentials != NULL);
    return credentials;
}

/* ---- addresses ---- */

static bool is_unix(const char *address)
{
    return strncmp(address, "unix", 4) == 0;
}

static int resolve(const char *address, struct addrinfo **ret_found, struct chassis_error *err)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (is_unix(address) || colon == NULL || (size_t)(colon - address) >= sizeof host) {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "listen on '%s': not an address of the form host:port", address);
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    char *name = host;
    if (host[0] == '[' && host[strlen(host) - 1] == ']') {
        host[strlen(host) - 1] = '\0';
        name = host + 1;
    }
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(name, colon + 1, &hints, ret_found);
    return rc == 0 ? 0
                   : chassis_error_set(err, CHASSIS_CONFIG, "listen on '%s': %s", address,
                                       gai_strerror(rc));
}

/* gRPC only says "0": ask the kernel why the address cannot be had. */
static int why_not_bound(const char *address, struct chassis_error *err)
{
    struct addrinfo *found = NULL;
    int rc = resolve(address, &found, err);
    if (rc != 0) {
        return rc;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    int code = CHASSIS_UNAVAILABLE;
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0) {
            code = -errno;
        }
        close(fd);
    }
    freeaddrinfo(found);
    return chassis_error_code(err, code, "listen on '%s'", address);
}

static void numeric(const struct addrinfo *info, int port, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "";
    bool v6 = info->ai_family == AF_INET6;
    const void *from =
        v6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)info->ai_addr)->sin6_addr
           : (const void *)&((const struct sockaddr_in *)(const void *)info->ai_addr)->sin_addr;
    inet_ntop(info->ai_family, from, text, sizeof text);
    snprintf(out, size, v6 ? "[%s]:%d" : "%s:%d", text, port);
}

static int port_of(const struct addrinfo *info)
{
    return ntohs(info->ai_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)(const void *)info->ai_addr)->sin6_port
                     : ((const struct sockaddr_in *)(const void *)info->ai_addr)->sin_port);
}

/* ---- ports ---- */

static int add_tls(grpc_server *server, const struct chassis_listener_options *o, bool asks,
                   const char *address, struct rpc_listen **listens)
{
    struct rpc_listen *listen = chassis_base_zalloc(sizeof *listen);
    pthread_mutex_init(&listen->lock, NULL);
    listen->identity = o->identity;
    listen->next = *listens;
    *listens = listen;
    grpc_server_credentials *credentials = credentials_of(o, asks, listen);
    int port = grpc_server_add_http2_port(server, address, credentials);
    grpc_server_credentials_release(credentials);
    return port;
}

/* A name with several addresses, a port of gRPC for each. gRPC would make them one: then two threads
 * may accept at once, and while one of them replaces what the port is served with, the other still
 * uses it (1.51 takes no lock there). One address is accepted from by one thread at a time. */
static int add_each(grpc_server *server, const struct chassis_listener_options *o, bool asks,
                    const struct addrinfo *found, struct rpc_listen **listens)
{
    int port = port_of(found), bound = 0;
    unsigned n = 0;
    for (const struct addrinfo *it = found; it != NULL && n < ADDRESSES_MAX; it = it->ai_next) {
        char address[INET6_ADDRSTRLEN + 16];
        if (it->ai_family != AF_INET && it->ai_family != AF_INET6) {
            continue;
        }
        numeric(it, port, address, sizeof address);
        int got = add_tls(server, o, asks, address, listens);
        bound = got != 0 && bound == 0 ? got : bound;
        port = bound != 0 ? bound : port; /* any free port: the same for the others */
        n++;
    }
    return bound;
}

static int listen_tls(grpc_server *server, const struct chassis_listener_options *o,
                      struct rpc_listen **listens, int *ret_port, struct chassis_error *err)
{
    bool asks = false;
    struct addrinfo *found = NULL;
    int rc = check_identity(o, &asks, err);
    if (rc == 0 && !is_unix(o->address)) {
        rc = resolve(o->address, &found, err);
    }
    if (rc != 0) {
        return rc;
    }
    *ret_port = found != NULL && found->ai_next != NULL
                    ? add_each(server, o, asks, found, listens)
                    : add_tls(server, o, asks, o->address, listens);
    if (found != NULL) {
        freeaddrinfo(found);
    }
    return 0;
}

int rpc_listen(grpc_server *server, const struct chassis_listener_options *o,
               struct rpc_listen **ret_listen, int *ret_port, struct chassis_error *err)
{
    int port = 0;
    if (o->identity != NULL) {
        int rc = listen_tls(server, o, ret_listen, &port, err);
        if (rc != 0) {
            return rc;
        }
    } else {
        grpc_server_credentials *plaintext = grpc_insecure_server_credentials_create();
        port = grpc_server_add_http2_port(server, o->address, plaintext);
        grpc_server_credentials_release(plaintext);
    }
    *ret_port = port;
    return port != 0 ? 0 : why_not_bound(o->address, err);
}

void rpc_listen_free(struct rpc_listen *listen)
{
    while (listen != NULL) {
        struct rpc_listen *next = listen->next;
        chassis_auth_identity_unref(listen->given);
        pthread_mutex_destroy(&listen->lock);
        free(listen);
        listen = next;
    }
}
