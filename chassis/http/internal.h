/* What the files of this module share; included by no other module.
 *
 * An exchange is one HTTP request and its answer:
 *
 *   READING --whole body--> CALLING --ops->end, deadline, client gone--> ANSWERING --written--> gone
 *      |                    (suspended)                                     ^
 *      +-- page, file, refusal ---------------------------------------------+
 *
 * Server streams answer while they call; then the connection is suspended whenever there is nothing
 * to write. The exchange is shared by the connection and its call (refs) and dies with the last.
 */
#ifndef CHASSIS_HTTP_INTERNAL_H
#define CHASSIS_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <chassis/log.h>
#include <chassis/metrics.h>

#include "base/assert.h"
#include "base/list.h"
#include "http/connect.h"
#include "http/http.h"
#include "os/os.h"
#include "os/queue.h"
#include "os/timers.h"
#include "proto/message.h"
#include "rpc/server.h"
#include "rpc/transport.h"

struct http_listener {
    struct chassis_http *http;
    struct MHD_Daemon *daemon; /* NULL = not listening */
    bool admin, quiesced;
    uint16_t port;
    int fd, epoll_fd;
};

enum { HTTP_PEER_NAME_SIZE = 256 };

enum http_identity {
    HTTP_NOT_ASKED,
    HTTP_NO_CERTIFICATE,
    HTTP_BAD_CERTIFICATE, /* not made by an authority of ours, out of date, not for clients */
    HTTP_GOOD_CERTIFICATE,
};

/* One TCP connection; owner: the http thread. */
struct http_socket {
    struct chassis_http *http;
    int fd;
    struct chassis_timer timer; /* for the next request, then for its body */
    struct http_tls *tls;       /* what it is served with; NULL = plaintext */
    enum http_identity identity;
    char name[HTTP_PEER_NAME_SIZE];
};

struct http_route; /* route.c */
struct http_tls;   /* tls.c */

struct chassis_http {
    struct chassis_http_options options; /* defaults filled in */
    struct chassis_logger *log;
    const struct chassis_type_registry *types;
    struct chassis_type_registry *own_types; /* or NULL */
    uint64_t *etags;                         /* one per file */
    struct http_route **routes;              /* one per route, longest path first */
    struct http_listener listeners[2];       /* public, admin */
    pthread_t thread;
    int epoll_fd, wake_fd;
    struct chassis_list exchanges; /* owner: the http thread, as of the next two */
    unsigned n_calls;              /* calls that are not freed yet */
    struct chassis_timers timers;
    struct chassis_gauge *connections;
    struct chassis_counter *requests[6]; /* by status class */
    int64_t started_s;
    bool asks_certificates;
    struct http_tls *tls;                       /* of new connections; NULL = plaintext */
    const struct chassis_auth_tls *tls_refused; /* what GnuTLS would not take; or NULL */
    uint64_t give_up_ns;                        /* after quiesce; 0 = never */
    bool gave_up;                               /* that time has come */

    pthread_mutex_t mutex;      /* guards what follows */
    struct chassis_queue inbox; /* exchanges with news */
    bool quiesce, stop;
    uint64_t grace_ms;
};

enum http_phase { HTTP_READING, HTTP_CALLING, HTTP_ANSWERING };

struct http_exchange {
    struct chassis_list link;
    struct chassis_http *http;
    struct http_listener *listener;
    struct MHD_Connection
        *connection; /* NULL when it is gone; http thread only, as all up to refs */
    enum http_phase phase;
    bool suspended;
    bool holds_call; /* a ref for the call is held */
    int fd;
    char method[8];
    char *path;
    uint64_t began_ns;
    struct chassis_buf body;
    size_t body_max;
    bool body_too_large, client_gone, deadline_passed;
    struct chassis_timer deadline;
    const struct chassis_server_method *rpc; /* NULL = a page or file */
    const struct http_route *route;          /* NULL = an RPC; then rpc is its method */
    struct chassis_http_request request;     /* of a route */
    struct chassis_pair *query;
    size_t n_query;
    struct connect_request connect;
    struct chassis_call *call; /* NULL before and after its life with us */
    struct chassis_pair *headers;
    size_t n_headers;
    struct chassis_transport_peer peer;
    bool in_begin; /* the call is being started on the http thread */

    atomic_uint refs;
    struct chassis_task news; /* in http->inbox, holds a ref */

    pthread_mutex_t mutex;          /* guards what follows */
    struct chassis_buf out;         /* unary: the body. stream: envelopes not yet written */
    size_t out_begin;               /* bytes of it that are written */
    struct chassis_buf out_headers; /* key NUL value NUL … */
    bool have_headers;
    unsigned status;   /* of a route's answer; 0 = none yet */
    bool begun;        /* the route's answer comes in pieces */
    bool ended;        /* ops->end was called */
    bool cut;          /* we ended the answer ourselves: deadline, or the client is gone */
    bool freed;        /* ops->freed was called */
    bool refused_send; /* tell the call when there is room again */
    int code;          /* of the end */
};

/* server.c */
/* Tell the http thread of news. Under the lock that guards them if they are the call's last, `ended` or
 * `freed`: the http thread may see those for itself, answer, and let go of the exchange, so that its
 * place in the inbox must hold it before they can be seen. */
void http_wake(struct http_exchange *x);
bool http_on_thread(const struct chassis_http *http);

/* exchange.c */
enum MHD_Result http_on_request(void *data, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_size, void **state);
void http_on_completed(void *data, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode code);
void http_exchange_unref(struct http_exchange *x);
void http_exchange_suspend(struct http_exchange *x);
void http_exchange_resume(struct http_exchange *x);
void http_exchange_hung_up(struct http_exchange *x);
const char *http_header(const struct http_exchange *x, const char *name);
const char *http_query(const struct http_exchange *x, const char *name);
/* Queue a whole answer; takes the body. */
enum MHD_Result http_answer(struct http_exchange *x, unsigned status, const char *content_type,
                            struct chassis_buf *body);
enum MHD_Result http_answer_text(struct http_exchange *x, unsigned status, const char *format, ...)
    CHASSIS_PRINTF(3, 4);
enum MHD_Result http_answer_error(struct http_exchange *x, int code, unsigned status,
                                  const char *text);
/* Common headers, then queue; drops the response. */
enum MHD_Result http_queue(struct http_exchange *x, unsigned status, struct MHD_Response *response);

/* socket.c */
void http_socket_event(void *data, struct MHD_Connection *connection, void **socket_state,
                       enum MHD_ConnectionNotificationCode code);
void http_socket_headers(struct MHD_Connection *connection); /* of a request have come */
void http_socket_whole(struct MHD_Connection *connection);   /* its body too */
void http_socket_idle(struct MHD_Connection *connection);    /* it is answered */
/* The name is "" but for a good certificate; it lives as long as the connection. */
enum http_identity http_socket_identity(const struct http_exchange *x, const char **ret_name);

/* tls.c: on the http thread, or before and after it */
int http_tls_open(struct chassis_http *http, struct chassis_error *err);
void http_tls_close(struct chassis_http *http);
/* The PEM that the daemon starts with, and that `http_tls_attach` replaces. */
const struct chassis_auth_tls *http_tls_content(const struct chassis_http *http);
/* A connection that has sent nothing yet gets what the identity has now; to be given back. */
struct http_tls *http_tls_attach(struct chassis_http *http, struct MHD_Connection *connection);
void http_tls_unref(struct http_tls *tls); /* NULL is fine */

/* transcode.c: calls */
enum MHD_Result http_rpc_accept(struct http_exchange *x); /* headers are here */
enum MHD_Result http_rpc_begin(struct http_exchange *x);  /* the body is here */
enum MHD_Result http_rpc_resumed(struct http_exchange *x);
void http_rpc_news(struct http_exchange *x);
void http_rpc_closed(struct http_exchange *x); /* the connection is gone or answered */
void http_rpc_give_up(struct http_exchange *x);

/* transport.c: what calls ask of us */
extern const struct chassis_transport_ops http_ops_json, http_ops_connect;
void http_copy_request(struct http_exchange *x);
/* The end of a stream: its last envelope. With the exchange's lock. */
void http_end_stream(struct http_exchange *x, const struct chassis_outcome *outcome);

/* With the lock: the headers as they are at the first message or the end. */
void http_snapshot_headers(struct http_exchange *x);
size_t http_queued(const struct http_exchange *x);
void http_wake_unless_here(struct http_exchange *x);
bool http_op_header(struct chassis_call *call, const char *key, struct chassis_view *ret_value);
void http_op_peer(struct chassis_call *call, struct chassis_transport_peer *ret_peer);
size_t http_op_queued(const struct chassis_call *call);
void http_op_freed(void *transport);
void http_op_read(struct chassis_call *call);

/* route.c */
extern const struct chassis_transport_ops http_ops_route;
void http_routes_init(struct chassis_http *http);
void http_routes_fini(struct chassis_http *http);
/* A route has this path; the answer to the headers. */
bool http_route_accept(struct http_exchange *x, enum MHD_Result *ret_result);
void http_route_deliver(struct http_exchange *x);
bool http_route_lasts(const struct http_exchange *x);
/* It is no preflight, and there is a route for it. */
bool http_route_takes_options(const struct http_exchange *x);
/* "GET, POST" of the routes with this path, appended; nothing if there are none. */
void http_route_methods(const struct http_exchange *x, struct chassis_buf *out);

/* cors.c */
bool http_foreign_browser(const struct http_exchange *x);
enum MHD_Result http_preflight(struct http_exchange *x);
void http_cors_headers(const struct http_exchange *x, struct MHD_Response *response);

/* pages.c, admin.c, web.c: false when the path is none of theirs */
bool http_page(struct http_exchange *x, enum MHD_Result *ret_result);
bool http_is_page(const char *path);
bool http_admin_page(struct http_exchange *x, enum MHD_Result *ret_result);
bool http_web_file(struct http_exchange *x, enum MHD_Result *ret_result);

#endif
