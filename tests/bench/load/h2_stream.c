#include "h2_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>

enum { WINDOW = 64 * 1024 * 1024, GRPC_PREFIX = 5 };

struct h2_stream {
    nghttp2_session *session;
    int fd, id;
    bool receiving; /* HTTP/2 may not be asked to write then */
    h2_stream_message_cb message;
    void *data;
    uint8_t *out; /* framed, not yet given to HTTP/2 */
    size_t out_len, out_sent, out_cap;
    uint8_t *in; /* the message being received, prefix included */
    size_t in_len, in_cap;
};

static int epoll = -1;
static uint64_t received;

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "h2_stream: %s: %s\n", what, why);
    exit(1);
}

static int dial(const char *address)
{
    char host[64];
    const char *colon = strrchr(address, ':');
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (colon == NULL || (size_t)(colon - address) >= sizeof host) {
        die(address, "not host:port");
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    to.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) {
        die(address, "not an IPv4 address");
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        die(address, strerror(errno));
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *data)
{
    struct h2_stream *s = data;
    size_t n = s->out_len - s->out_sent;
    if (n == 0) {
        s->out_len = s->out_sent = 0;
        return NGHTTP2_ERR_DEFERRED;
    }
    n = n < room ? n : room;
    memcpy(to, s->out + s->out_sent, n);
    s->out_sent += n;
    return (ssize_t)n;
}

static size_t message_len(const struct h2_stream *s)
{
    return ((size_t)s->in[1] << 24) | ((size_t)s->in[2] << 16) | ((size_t)s->in[3] << 8) | s->in[4];
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
                   size_t len, void *data)
{
    struct h2_stream *s = data;
    received += len;
    if (s->in_len + len > s->in_cap) {
        s->in_cap = (s->in_len + len) * 2;
        s->in = realloc(s->in, s->in_cap);
    }
    memcpy(s->in + s->in_len, bytes, len);
    s->in_len += len;
    size_t done = 0;
    while (s->in_len >= GRPC_PREFIX && s->in_len >= GRPC_PREFIX + message_len(s)) {
        size_t whole = GRPC_PREFIX + message_len(s);
        s->message(s, s->in + GRPC_PREFIX, whole - GRPC_PREFIX, s->data);
        memmove(s->in, s->in + whole, s->in_len - whole);
        s->in_len -= whole;
        done++;
    }
    if (done != 0 && s->in_len == 0 && s->in_cap > 65536) {
        free(s->in);
        s->in = NULL;
        s->in_cap = 0;
    }
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *data)
{
    if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0) {
        fprintf(stderr, "h2_stream: the server says: %.*s\n", (int)value_len, (const char *)value);
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
    die("stream", "ended by the server");
}

static void flush(struct h2_stream *s)
{
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(s->session, &bytes)) > 0) {
        for (ssize_t sent = 0; sent < n;) {
            ssize_t wrote = send(s->fd, bytes + sent, (size_t)(n - sent), MSG_NOSIGNAL);
            if (wrote < 0 && errno == EAGAIN) {
                struct pollfd p = {.fd = s->fd, .events = POLLOUT};
                poll(&p, 1, 1000);
            } else if (wrote < 0) {
                die("send", strerror(errno));
            } else {
                sent += wrote;
            }
        }
    }
    if (n < 0) {
        die("HTTP/2", nghttp2_strerror((int)n));
    }
}

#define HEADER(k, v)                                                                               \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(k), (uint8_t *)(uintptr_t)(v), sizeof(k) - 1, strlen(v),            \
            NGHTTP2_NV_FLAG_NONE                                                                   \
    }

struct h2_stream *h2_stream_open(const char *address, const char *path,
                                 h2_stream_message_cb message, void *data)
{
    struct h2_stream *s = calloc(1, sizeof *s);
    s->fd = dial(address);
    s->message = message;
    s->data = data;
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_client_new(&s->session, callbacks, s);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
                                         {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(s->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
    const nghttp2_nv headers[] = {HEADER(":method", "POST"),
                                  HEADER(":scheme", "http"),
                                  HEADER(":path", path),
                                  HEADER(":authority", address),
                                  HEADER("content-type", "application/grpc"),
                                  HEADER("te", "trailers")};
    const nghttp2_data_provider body = {.read_callback = read_body};
    s->id = nghttp2_submit_request(s->session, NULL, headers, sizeof headers / sizeof headers[0],
                                   &body, NULL);
    flush(s);
    epoll = epoll >= 0 ? epoll : epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event);
    return s;
}

void h2_stream_close(struct h2_stream *s)
{
    close(s->fd);
    nghttp2_session_del(s->session);
    free(s->in);
    free(s->out);
    free(s);
}

void h2_stream_send(struct h2_stream *s, const uint8_t *message, size_t len)
{
    if (s->out_len + len + GRPC_PREFIX > s->out_cap) {
        s->out_cap = (s->out_len + len + GRPC_PREFIX) * 2;
        s->out = realloc(s->out, s->out_cap);
    }
    const uint8_t prefix[GRPC_PREFIX] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                                         (uint8_t)(len >> 8), (uint8_t)len};
    memcpy(s->out + s->out_len, prefix, GRPC_PREFIX);
    memcpy(s->out + s->out_len + GRPC_PREFIX, message, len);
    s->out_len += GRPC_PREFIX + len;
    nghttp2_session_resume_data(s->session, s->id);
    if (!s->receiving) {
        flush(s);
    }
}

void h2_streams_poll(int timeout_ms)
{
    static uint8_t bytes[256 * 1024];
    struct epoll_event events[256];
    int n = epoll_wait(epoll, events, 256, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct h2_stream *s = events[i].data.ptr;
        ssize_t got = recv(s->fd, bytes, sizeof bytes, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            die("recv", got == 0 ? "the server hung up" : strerror(errno));
        }
        s->receiving = true;
        if (got > 0 && nghttp2_session_mem_recv(s->session, bytes, (size_t)got) < 0) {
            die("HTTP/2", "the server broke the rules");
        }
        s->receiving = false;
        flush(s);
    }
}

uint64_t h2_streams_received(void)
{
    return received;
}
