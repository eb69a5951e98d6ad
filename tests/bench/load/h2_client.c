#include "h2_load.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BODY_MAX = 65536, WINDOW = 16 * 1024 * 1024 };

struct h2_connection {
    struct h2_client *client;
    nghttp2_session *session;
    char authority[128];
    int fd;
    unsigned under_way;
    bool want_write, dirty, broken;
    uint8_t out[256 * 1024]; /* serialised, not yet written */
    size_t out_len;
};

struct h2_client {
    struct h2_options options;
    struct h2_connection *connections;
    struct h2_request *free;
    unsigned under_way;
    int epoll;
};

uint64_t h2_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int dial(const char *address, char authority[128])
{
    char host[128];
    snprintf(host, sizeof host, "%s", address);
    snprintf(authority, 128, "%s", address);
    char *colon = strrchr(host, ':');
    if (colon == NULL) {
        fprintf(stderr, "h2_load: '%s' is not host:port\n", address);
        exit(2);
    }
    *colon = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        fprintf(stderr, "h2_load: cannot resolve '%s'\n", address);
        exit(1);
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        fprintf(stderr, "h2_load: connect to '%s': %s\n", address, strerror(errno));
        exit(1);
    }
    freeaddrinfo(found);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *data)
{
    struct h2_request *request = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (request != NULL && name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
        request->grpc_status = atoi((const char *)value);
    }
    return 0;
}

/* Cut the response body into gRPC messages: five bytes of prefix, then the message. */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t len, void *user)
{
    struct h2_request *request = nghttp2_session_get_stream_user_data(session, stream_id);
    while (request != NULL && len > 0) {
        if (request->prefix_len < 5) {
            request->prefix[request->prefix_len++] = *data++;
            len--;
            if (request->prefix_len == 5) {
                const uint8_t *p = request->prefix;
                request->left = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
            }
        } else {
            size_t n = len < request->left ? len : request->left;
            if (request->messages == 0 && request->first_len + n <= sizeof request->first) {
                memcpy(request->first + request->first_len, data, n);
                request->first_len += n;
            }
            request->message_bytes += n;
            request->left -= n;
            data += n;
            len -= n;
        }
        if (request->prefix_len == 5 && request->left == 0) {
            request->messages++;
            request->prefix_len = 0;
        }
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream_id, uint32_t error, void *user)
{
    struct h2_connection *c = user;
    struct h2_request *request = nghttp2_session_get_stream_user_data(session, stream_id);
    if (request == NULL) {
        return 0;
    }
    c->under_way--;
    c->client->under_way--;
    c->client->options.done(request, c->client->options.data);
    request->next_free = c->client->free;
    c->client->free = request;
    return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2_request *request = source->ptr;
    size_t n = request->body_len - request->body_sent;
    if (n > room) {
        n = room;
    }
    memcpy(out, request->body + request->body_sent, n);
    request->body_sent += n;
    if (request->body_sent == request->body_len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)n;
}

static void open_session(struct h2_connection *c)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_client_new(&c->session, callbacks, c);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 1);
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
}

struct h2_client *h2_client_open(const struct h2_options *options)
{
    struct h2_client *client = calloc(1, sizeof *client);
    client->options = *options;
    client->connections = calloc(options->connections, sizeof *client->connections);
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < options->connections; i++) {
        struct h2_connection *c = &client->connections[i];
        c->client = client;
        c->fd = dial(options->addresses[i % options->n_addresses], c->authority);
        open_session(c);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(client->epoll, EPOLL_CTL_ADD, c->fd, &event);
        c->dirty = true;
    }
    return client;
}

void h2_client_close(struct h2_client *client)
{
    for (unsigned i = 0; i < client->options.connections; i++) {
        nghttp2_session_del(client->connections[i].session);
        close(client->connections[i].fd);
    }
    while (client->free != NULL) {
        struct h2_request *request = client->free;
        client->free = request->next_free;
        free(request->body);
        free(request);
    }
    close(client->epoll);
    free(client->connections);
    free(client);
}

static struct h2_request *take_request(struct h2_client *client)
{
    struct h2_request *request = client->free;
    if (request == NULL) {
        request = calloc(1, sizeof *request);
        request->body = malloc(BODY_MAX);
        return request;
    }
    client->free = request->next_free;
    uint8_t *body = request->body;
    memset(request, 0, offsetof(struct h2_request, first));
    request->first_len = request->prefix_len = request->left = 0;
    request->body = body;
    return request;
}

#define HEADER(n, v, vlen)                                                                         \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, (vlen),               \
            NGHTTP2_NV_FLAG_NO_COPY_NAME                                                           \
    }

void h2_client_start(struct h2_client *client)
{
    struct h2_connection *c = &client->connections[0];
    for (unsigned i = 1; i < client->options.connections; i++) {
        if (client->connections[i].under_way < c->under_way) {
            c = &client->connections[i];
        }
    }
    struct h2_request *request = take_request(client);
    request->connection = c;
    request->grpc_status = -1;
    request->started_ns = h2_now_ns();
    request->body_len = client->options.fill(request, request->body, client->options.data);
    const nghttp2_nv headers[] = {
        HEADER(":method", "POST", 4),
        HEADER(":scheme", "http", 4),
        HEADER(":path", client->options.path, strlen(client->options.path)),
        HEADER(":authority", c->authority, strlen(c->authority)),
        HEADER("te", "trailers", 8),
        HEADER("content-type", "application/grpc", 16),
    };
    nghttp2_data_provider body = {.source.ptr = request, .read_callback = read_body};
    int32_t id = nghttp2_submit_request(c->session, NULL, headers,
                                        sizeof headers / sizeof headers[0], &body, request);
    if (id < 0) {
        fprintf(stderr, "h2_load: submit: %s\n", nghttp2_strerror(id));
        exit(1);
    }
    c->under_way++;
    client->under_way++;
    c->dirty = true;
}

/* Serialise what the session wants to send and write it in as few system calls as fit. */
static void flush(struct h2_connection *c)
{
    for (;;) {
        while (c->out_len < sizeof c->out / 2) {
            const uint8_t *piece;
            ssize_t n = nghttp2_session_mem_send(c->session, &piece);
            if (n <= 0) {
                break;
            }
            if ((size_t)n > sizeof c->out - c->out_len) {
                fprintf(stderr, "h2_load: frame of %zd bytes\n", n);
                exit(1);
            }
            memcpy(c->out + c->out_len, piece, (size_t)n);
            c->out_len += (size_t)n;
        }
        if (c->out_len == 0) {
            break;
        }
        ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN) {
                c->broken = true;
            }
            break;
        }
        memmove(c->out, c->out + n, c->out_len - (size_t)n);
        c->out_len -= (size_t)n;
    }
    c->dirty = false;
    bool want = c->out_len > 0;
    if (want != c->want_write) {
        c->want_write = want;
        struct epoll_event event = {.events = EPOLLIN | (want ? EPOLLOUT : 0u), .data.ptr = c};
        epoll_ctl(c->client->epoll, EPOLL_CTL_MOD, c->fd, &event);
    }
}

static void receive(struct h2_connection *c)
{
    static uint8_t in[256 * 1024];
    ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        c->broken = true;
        return;
    }
    if (n > 0 && nghttp2_session_mem_recv(c->session, in, (size_t)n) < 0) {
        c->broken = true;
    }
    c->dirty = true;
}

int h2_client_poll(struct h2_client *client, int timeout_ms)
{
    for (unsigned i = 0; i < client->options.connections; i++) {
        if (client->connections[i].dirty) {
            flush(&client->connections[i]);
        }
    }
    struct epoll_event events[64];
    int n = epoll_wait(client->epoll, events, 64, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct h2_connection *c = events[i].data.ptr;
        receive(c);
        if (c->broken) {
            return -1;
        }
        flush(c);
    }
    return 0;
}

unsigned h2_client_under_way(const struct h2_client *client)
{
    return client->under_way;
}
