/* Listeners and the http thread: one epoll over both libmicrohttpd daemons, the inbox and the
 * sockets of suspended connections (libmicrohttpd does not look at those, and a client that hangs up
 * must cancel its call). */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/hash.h"
#include "http/internal.h"

enum { HTTP_STACK_BYTES = 256 * 1024, EVENTS_MAX = 64, BACKLOG = 256 };

static _Thread_local const struct chassis_http *current_http;

bool http_on_thread(const struct chassis_http *http)
{
    return current_http == http;
}

void http_wake(struct http_exchange *x)
{
    struct chassis_http *http = x->http;
    pthread_mutex_lock(&http->mutex);
    bool was_empty = http->inbox.n == 0;
    if (!x->news.queued) {
        atomic_fetch_add(&x->refs, 1);
        chassis_queue_push(&http->inbox, &x->news);
        if (was_empty) {
            eventfd_write(http->wake_fd, 1);
        }
    }
    pthread_mutex_unlock(&http->mutex);
}

static bool is_loopback(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)addr;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static int bind_listen(const struct addrinfo *info, uint16_t *ret_port)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    if (CHASSIS_FAULT("http.bind") || bind(fd, info->ai_addr, info->ai_addrlen) != 0 ||
        listen(fd, BACKLOG) != 0 || getsockname(fd, (struct sockaddr *)&bound, &len) != 0) {
        int rc = errno != 0 ? -errno : -EADDRINUSE;
        close(fd);
        return rc;
    }
    *ret_port =
        ntohs(bound.ss_family == AF_INET ? ((struct sockaddr_in *)(void *)&bound)->sin_port
                                         : ((struct sockaddr_in6 *)(void *)&bound)->sin6_port);
    return fd;
}

static int open_socket(struct chassis_http *http, struct http_listener *l, const char *address,
                       struct chassis_error *err)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || (size_t)(colon - address) >= sizeof host) {
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "http address '%s': must be host:port, such as 127.0.0.1:8091",
                                 address);
    }
    bool v6 = address[0] == '[' && colon > address && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - address - (v6 ? 2 : 0)),
             address + (v6 ? 1 : 0));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *info = NULL;
    int rc = getaddrinfo(host[0] != '\0' ? host : NULL, colon + 1, &hints, &info);
    if (rc != 0) {
        return chassis_error_set(err, CHASSIS_CONFIG, "http address '%s': %s", address,
                                 gai_strerror(rc));
    }
    bool plaintext = http->options.identity == NULL || l->admin;
    if (!is_loopback(info->ai_addr) && plaintext && !http->options.plaintext_beyond_loopback) {
        freeaddrinfo(info);
        return chassis_error_set(err, CHASSIS_CONFIG,
                                 "listen for http on '%s': others can reach this address and there "
                                 "is no TLS: give certificates, bind 127.0.0.1 or allow plaintext",
                                 address);
    }
    rc = bind_listen(info, &l->port);
    freeaddrinfo(info);
    if (rc < 0) {
        return chassis_error_code(err, rc, "listen for http on '%s'", address);
    }
    l->fd = rc;
    return 0;
}

static void on_mhd_log(void *data, const char *format, va_list args) CHASSIS_PRINTF(2, 0);
static void on_mhd_log(void *data, const char *format, va_list args)
{
    struct chassis_http *http = data;
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    chassis_log_debug(http->log, "libmicrohttpd", chassis_f_str("text", text));
}

static int start_daemon(struct http_listener *l, struct chassis_error *err)
{
    struct chassis_http *http = l->http;
    const struct chassis_http_options *o = &http->options;
    bool tls = o->identity != NULL && !l->admin;
    const struct chassis_auth_tls *pem = tls ? http_tls_content(http) : NULL;
    struct MHD_OptionItem secure[] = {
        {tls ? MHD_OPTION_HTTPS_MEM_KEY : MHD_OPTION_END, 0, tls ? pem->key.data : NULL},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, tls ? pem->certificate.data : NULL},
        {http->asks_certificates ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0,
         tls ? pem->ca.data : NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    l->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG |
            (tls ? MHD_USE_TLS : 0),
        0, NULL, NULL, http_on_request, l, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, http,
        MHD_OPTION_LISTEN_SOCKET, l->fd, MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, l,
        MHD_OPTION_NOTIFY_CONNECTION, http_socket_event, l, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)o->connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((o->idle_timeout_ms + 999) / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        o->header_bytes_max, MHD_OPTION_ARRAY, secure, MHD_OPTION_END);
    if (l->daemon == NULL) {
        close(l->fd);
        return chassis_error_set(err, CHASSIS_INTERNAL, "start http listener on port %u%s", l->port,
                                 tls ? ": TLS key or certificate not accepted" : "");
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    l->epoll_fd = info->epoll_fd;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
    epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, l->epoll_fd, &ev);
    return 0;
}

/* The listener stays open: whoever still comes is to read that we are not ready, and a call that it
 * is refused, instead of being turned away by the kernel. */
static void quiesce_now(struct chassis_http *http, uint64_t grace_ms)
{
    http->listeners[0].quiesced = true;
    http->give_up_ns = chassis_os_monotonic_ns() + grace_ms * CHASSIS_NS_PER_MS;
}

static void stop_accepting(struct chassis_http *http)
{
    for (unsigned i = 0; i < 2; i++) {
        struct http_listener *l = &http->listeners[i];
        int fd = l->daemon != NULL ? MHD_quiesce_daemon(l->daemon) : -1;
        if (fd >= 0) {
            close(fd);
        }
    }
}

/* True when the thread is to end. */
static bool run_inbox(struct chassis_http *http)
{
    eventfd_t ignored;
    eventfd_read(http->wake_fd, &ignored);
    struct chassis_queue news;
    pthread_mutex_lock(&http->mutex);
    chassis_queue_take_all(&news, &http->inbox);
    bool stop = http->stop, quiesce = http->quiesce;
    uint64_t grace_ms = http->grace_ms;
    http->quiesce = false;
    pthread_mutex_unlock(&http->mutex);
    /* The mark that it stands in a queue is the inbox's: it is taken back under its lock. */
    for (;;) {
        pthread_mutex_lock(&http->mutex);
        struct chassis_task *task = news.n != 0 ? chassis_queue_pop(&news) : NULL;
        pthread_mutex_unlock(&http->mutex);
        if (task == NULL) {
            break;
        }
        struct http_exchange *x = chassis_container_of(task, struct http_exchange, news);
        http_rpc_news(x);
        http_exchange_unref(x);
    }
    if (quiesce) {
        quiesce_now(http, grace_ms);
    }
    return stop;
}

static int wait_ms(const struct chassis_http *http)
{
    uint64_t wait = UINT64_MAX;
    for (unsigned i = 0; i < 2; i++) {
        MHD_UNSIGNED_LONG_LONG ms;
        if (http->listeners[i].daemon != NULL &&
            MHD_get_timeout(http->listeners[i].daemon, &ms) == MHD_YES && ms < wait) {
            wait = ms;
        }
    }
    uint64_t now = chassis_os_monotonic_ns();
    const struct chassis_timer *first = chassis_timers_first(&http->timers);
    uint64_t due = first != NULL ? first->due_ns : UINT64_MAX;
    due = http->give_up_ns != 0 && http->give_up_ns < due ? http->give_up_ns : due;
    if (due != UINT64_MAX) {
        uint64_t ms = due > now ? (due - now + CHASSIS_NS_PER_MS - 1) / CHASSIS_NS_PER_MS : 0;
        wait = ms < wait ? ms : wait;
    }
    return wait == UINT64_MAX ? -1 : wait > 60000 ? 60000 : (int)wait;
}

static void run_timers(struct chassis_http *http)
{
    uint64_t now = chassis_os_monotonic_ns();
    for (struct chassis_timer *t; (t = chassis_timers_take_due(&http->timers, now)) != NULL;) {
        t->run(t);
    }
    if (http->give_up_ns != 0 && now >= http->give_up_ns) {
        http->give_up_ns = 0;
        http->gave_up = true;
        chassis_list_foreach_safe (it, &http->exchanges) {
            http_rpc_give_up(chassis_list_entry(it, struct http_exchange, link));
        }
    }
}

static void run_daemons(struct chassis_http *http)
{
    for (unsigned i = 0; i < 2; i++) {
        if (http->listeners[i].daemon != NULL) {
            MHD_run(http->listeners[i].daemon);
        }
    }
}

static void turn(struct chassis_http *http, bool *ret_stop)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(http->epoll_fd, events, EVENTS_MAX, wait_ms(http));
    for (int i = 0; i < n; i++) {
        void *what = events[i].data.ptr;
        if (what != http && what != &http->listeners[0] && what != &http->listeners[1]) {
            http_exchange_hung_up(what);
        }
    }
    *ret_stop = run_inbox(http);
    run_timers(http);
    run_daemons(http);
}

static void *http_main(void *data)
{
    struct chassis_http *http = data;
    current_http = http;
    pthread_setname_np(pthread_self(), "http");
    bool stop = false;
    while (!stop) {
        turn(http, &stop);
    }
    /* No new requests; those under way have what is left of the grace time, then they are given up,
     * their calls cancelled and waited for. */
    stop_accepting(http);
    if (!http->listeners[0].quiesced) {
        quiesce_now(http, 0);
    }
    while (http->n_calls != 0 || (!http->gave_up && !chassis_list_empty(&http->exchanges))) {
        turn(http, &stop);
    }
    run_daemons(http); /* what was resumed last */
    for (unsigned i = 0; i < 2; i++) {
        if (http->listeners[i].daemon != NULL) {
            MHD_stop_daemon(http->listeners[i].daemon);
        }
    }
    return NULL;
}

/* Every message type a method can send or receive, so that Any of them is readable in JSON. */
static void add_types(struct chassis_type_registry *types, const ProtobufCMessageDescriptor *type)
{
    if (chassis_type_registry_find(types, chassis_view_str(type->name)) != NULL) {
        return;
    }
    chassis_type_registry_add(types, type);
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            add_types(types, type->fields[i].descriptor);
        }
    }
}

static void collect_types(struct chassis_http *http)
{
    http->types = http->options.types;
    if (http->types != NULL) {
        return;
    }
    http->types = http->own_types = chassis_type_registry_new();
    size_t n = http->options.server != NULL ? chassis_server_method_count(http->options.server) : 0;
    for (size_t i = 0; i < n; i++) {
        const struct chassis_method *m = chassis_server_method_at(http->options.server, i)->method;
        if (m->request != NULL) {
            add_types(http->own_types, chassis_message_descriptor(m->request));
        }
        if (m->response != NULL) {
            add_types(http->own_types, chassis_message_descriptor(m->response));
        }
    }
}

static void fill_defaults(struct chassis_http *http)
{
    struct chassis_http_options *o = &http->options;
    o->connections_max = o->connections_max != 0 ? o->connections_max : 1024;
    o->header_bytes_max = o->header_bytes_max != 0 ? o->header_bytes_max : 32 * 1024;
    o->body_bytes_max = o->body_bytes_max != 0 ? o->body_bytes_max : 4 * 1024 * 1024;
    o->idle_timeout_ms = o->idle_timeout_ms != 0 ? o->idle_timeout_ms : 30000;
    o->upload_timeout_ms = o->upload_timeout_ms != 0 ? o->upload_timeout_ms : 30000;
    o->call_timeout_ms = o->call_timeout_ms != 0 ? o->call_timeout_ms : 60000;
    http->etags = chassis_base_alloc((o->n_files + 1) * sizeof *http->etags);
    for (size_t i = 0; i < o->n_files; i++) {
        http->etags[i] = chassis_fnv1a(o->files[i].data, o->files[i].len);
    }
}

static void make_metrics(struct chassis_http *http)
{
    static const char *const classes[6] = {"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"};
    http->connections =
        chassis_gauge("chassis_http_connections", "Open HTTP connections.", NULL, 0);
    for (unsigned i = 2; i < 6; i++) {
        struct chassis_label label = {"status", classes[i]};
        http->requests[i] = chassis_counter("chassis_http_requests_total",
                                            "HTTP requests by class of status.", &label, 1);
    }
}

static void http_free(struct chassis_http *http)
{
    chassis_type_registry_free(http->own_types);
    chassis_timers_fini(&http->timers);
    close(http->epoll_fd);
    close(http->wake_fd);
    pthread_mutex_destroy(&http->mutex);
    http_tls_close(http);
    http_routes_fini(http);
    free(http->etags);
    free(http);
}

static int open_listeners(struct chassis_http *http, struct chassis_error *err)
{
    const char *addresses[2] = {http->options.address, http->options.admin_address};
    for (unsigned i = 0; i < 2; i++) {
        struct http_listener *l = &http->listeners[i];
        l->http = http;
        l->admin = i == 1;
        if (addresses[i] == NULL || addresses[i][0] == '\0') {
            continue;
        }
        int rc = open_socket(http, l, addresses[i], err);
        rc = rc == 0 ? start_daemon(l, err) : rc;
        if (rc != 0) {
            if (http->listeners[0].daemon != NULL) {
                MHD_stop_daemon(http->listeners[0].daemon);
            }
            return rc;
        }
    }
    return 0;
}

static int start_thread(struct chassis_http *http)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, HTTP_STACK_BYTES);
    int rc = CHASSIS_FAULT("http.thread") ? EAGAIN
                                          : pthread_create(&http->thread, &attr, http_main, http);
    pthread_attr_destroy(&attr);
    return -rc;
}

int chassis_http_start(const struct chassis_http_options *options, struct chassis_http **ret_http,
                       struct chassis_error *err)
{
    struct chassis_http *http = chassis_base_zalloc(sizeof *http);
    http->options = *options;
    http->log = chassis_log_module("http");
    http->started_s = time(NULL);
    http->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    http->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHASSIS_ASSERT(http->epoll_fd >= 0 && http->wake_fd >= 0);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = http};
    epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, http->wake_fd, &ev);
    chassis_list_init(&http->exchanges);
    chassis_queue_init(&http->inbox);
    pthread_mutex_init(&http->mutex, NULL);
    fill_defaults(http);
    make_metrics(http);
    collect_types(http);
    http_routes_init(http);
    int rc = http->options.identity != NULL ? http_tls_open(http, err) : 0;
    rc = rc == 0 ? open_listeners(http, err) : rc;
    if (rc == 0) {
        rc = start_thread(http);
        if (rc != 0) {
            chassis_error_code(err, rc, "start the http thread");
            for (unsigned i = 0; i < 2; i++) {
                if (http->listeners[i].daemon != NULL) {
                    MHD_stop_daemon(http->listeners[i].daemon);
                }
            }
        }
    }
    if (rc != 0) {
        http_free(http);
        return rc;
    }
    *ret_http = http;
    return 0;
}

uint16_t chassis_http_port(const struct chassis_http *http)
{
    return http->listeners[0].port;
}

uint16_t chassis_http_admin_port(const struct chassis_http *http)
{
    return http->listeners[1].port;
}

static void tell_thread(struct chassis_http *http, bool stop, uint64_t grace_ms)
{
    pthread_mutex_lock(&http->mutex);
    http->quiesce = http->quiesce || !stop;
    http->stop = http->stop || stop;
    http->grace_ms = grace_ms;
    eventfd_write(http->wake_fd, 1);
    pthread_mutex_unlock(&http->mutex);
}

void chassis_http_quiesce(struct chassis_http *http, uint64_t grace_ms)
{
    tell_thread(http, false, grace_ms);
}

void chassis_http_stop(struct chassis_http *http)
{
    if (http == NULL) {
        return;
    }
    tell_thread(http, true, 0);
    pthread_join(http->thread, NULL);
    http_free(http);
}
