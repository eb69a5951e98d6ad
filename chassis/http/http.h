/* The HTTP side of a service: its RPCs as JSON and by the Connect protocol, health, metrics, admin
 * pages and an embedded web application. The only user of <microhttpd.h>.
 *
 *     POST /package.Service/Method   application/json, application/proto          unary
 *                                    application/connect+json, …connect+proto     server stream
 *     GET  /package.Service/Method?connect=v1&encoding=json&message=…             idempotent unary
 *     GET  /livez /readyz /version /metrics
 *     a route's method and path      the service's own (<chassis/http_route.h>)
 *     GET  anything else             the web application's file, else its index
 * and on the admin address only: / /requests /config /loglevel /metrics.
 *
 * Connect: https://connectrpc.com/docs/protocol. Streams from the client need gRPC (HTTP/1.1 is half
 * duplex): UNIMPLEMENTED.
 *
 * Invariants: one thread runs both listeners and is the only one that touches libmicrohttpd; a
 * request waiting for its handler is suspended and costs no thread; body, headers, connections and
 * time of a request are bounded.
 * Threads: start, quiesce and stop on one thread, the rest from any.
 * Ownership: what options point to is borrowed and must outlive the server.
 */
#ifndef CHASSIS_HTTP_HTTP_H
#define CHASSIS_HTTP_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/config.h>
#include <chassis/error.h>
#include <chassis/http_route.h>

#include "auth/identity.h"

struct chassis_http;
struct chassis_server;
struct chassis_type_registry;

struct chassis_http_file {
    const char *path; /* "/index.html" */
    const char *content_type;
    const void *data;
    size_t len;
};

struct chassis_http_options {
    const char *address;       /* "127.0.0.1:0", "[::1]:8091"; NULL = no public listener */
    const char *admin_address; /* NULL = no admin listener */
    struct chassis_auth_identity *identity; /* of the public listener; NULL = plaintext. With a ca
                                               client certificates are asked for. New connections
                                               get what it has then */
    bool client_certificate_required;       /* on the public listener: without one 403 */
    bool plaintext_beyond_loopback; /* else a plaintext address others can reach is refused */
    struct chassis_server *server;  /* whose methods are served; NULL = none */
    const struct chassis_type_registry *types; /* for Any in JSON; NULL = those the methods use */
    const struct chassis_http_route *routes;   /* copied; need a server */
    size_t n_routes;
    const struct chassis_http_file *files; /* the web application */
    size_t n_files;
    const char *const *origins; /* allowed for browsers (CORS), "*" = any; may be NULL */
    size_t n_origins;

    const char *name, *version;          /* of the service */
    const struct chassis_config *config; /* for /config; may be NULL */
    /* Append one JSON object of all checks ({"store":true,…}); true when all are. NULL = ready. */
    bool (*ready)(void *data, struct chassis_buf *ret_checks);
    void *ready_data;

    uint32_t connections_max;   /* 0 = 1,024 */
    size_t header_bytes_max;    /* of a request, with its URL; 0 = 32 KiB */
    size_t body_bytes_max;      /* 0 = 4 MiB; a method's own limit may be lower */
    uint32_t idle_timeout_ms;   /* for the next request's headers, all of them; 0 = 30,000 */
    uint32_t upload_timeout_ms; /* for a whole request body; 0 = 30,000 */
    uint32_t call_timeout_ms;   /* of unary calls that ask for none; 0 = 60,000 */
};

int chassis_http_start(const struct chassis_http_options *options, struct chassis_http **ret_http,
                       struct chassis_error *err);
/* The bound ports; 0 where there is no listener. */
uint16_t chassis_http_port(const struct chassis_http *http);
uint16_t chassis_http_admin_port(const struct chassis_http *http);
/* Begin to end: each answer closes its connection; calls not ended, and answers not taken, within
 * `grace_ms` are given up. The listener stays open until stop, so that whoever still comes reads that
 * this process is not ready. */
void chassis_http_quiesce(struct chassis_http *http, uint64_t grace_ms);
/* Cancel what is left, wait until handlers have ended their calls, close. NULL is fine. */
void chassis_http_stop(struct chassis_http *http);

#endif
