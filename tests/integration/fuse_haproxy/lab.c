#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>

#include "lab.h"

enum { CONNS_MAX = 2000, HEAD_MAX = 16384, WAIT_MS = 30000 };

uint16_t lab_free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_int_equal(bind(fd, (void *)&a, len), 0);
    assert_int_equal(getsockname(fd, (void *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

void lab_address(unsigned i, char out[24])
{
    snprintf(out, 24, "127.1.%u.%u", i / 200, i % 200 + 1);
}

/* ---- servers ---- */

struct conn {
    int fd; /* -1 = free */
    unsigned server;
    size_t len;
    bool held, raw; /* raw: gives back what it gets */
    char head[HEAD_MAX];
};
struct lab_servers {
    pthread_t thread;
    pthread_mutex_t mutex;
    uint16_t port;
    unsigned n;
    int *listeners;
    struct conn *conns;
    bool stopping, released;
};

static int listen_at(unsigned i, uint16_t port)
{
    char text[24];
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    lab_address(i, text);
    inet_pton(AF_INET, text, &a.sin_addr);
    if (bind(fd, (void *)&a, sizeof a) != 0 || listen(fd, 256) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void answer(struct conn *c)
{
    char path[2048] = "", out[4096], fail[32];
    sscanf(c->head, "%*s %2047s", path);
    snprintf(fail, sizeof fail, "fail=%u", c->server);
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 %s\r\nx-server: %u\r\nx-path: %s\r\ncontent-length: 2\r\n\r\nok",
                     strstr(path, fail) != NULL ? "500 Failed" : "200 OK", c->server, path);
    bool head_only = strncmp(c->head, "HEAD ", 5) == 0;
    if (send(c->fd, out, (size_t)n - (head_only ? 2 : 0), MSG_NOSIGNAL) < 0) {
        close(c->fd);
        c->fd = -1;
    }
    c->held = false;
}

/* The bodies of the tests' requests are empty. */
static void serve(struct lab_servers *s, struct conn *c)
{
    ssize_t n = recv(c->fd, c->head + c->len, HEAD_MAX - 1 - c->len, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            close(c->fd);
            c->fd = -1;
            c->held = false;
        }
        return;
    }
    if (c->raw) {
        (void)!send(c->fd, c->head, (size_t)n, MSG_NOSIGNAL);
        return;
    }
    c->len += (size_t)n;
    c->head[c->len] = '\0';
    char *end;
    while (c->fd >= 0 && !c->held && (end = strstr(c->head, "\r\n\r\n")) != NULL) {
        const char *path = strchr(c->head, ' ');
        if (path != NULL && strncmp(path, " /hold", 6) == 0 && !s->released) {
            c->held = true;
            return;
        }
        if (path != NULL && strncmp(path, " /ws", 4) == 0) {
            static const char switched[] =
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
                "connection: Upgrade\r\nsec-websocket-accept: "
                "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            (void)!send(c->fd, switched, sizeof switched - 1, MSG_NOSIGNAL);
            c->raw = true;
            c->len = 0;
            return;
        }
        answer(c);
        size_t used = (size_t)(end + 4 - c->head);
        memmove(c->head, c->head + used, c->len - used + 1);
        c->len -= used;
    }
}

static void take(struct lab_servers *s, unsigned i)
{
    int fd = accept4(s->listeners[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    for (unsigned k = 0; fd >= 0 && k < CONNS_MAX; k++) {
        if (s->conns[k].fd < 0) {
            s->conns[k].fd = fd;
            s->conns[k].server = i;
            s->conns[k].len = 0;
            s->conns[k].held = s->conns[k].raw = false;
            return;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void turn(struct lab_servers *s, struct pollfd *polls)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->n; i++) {
        polls[n++] = (struct pollfd){.fd = s->listeners[i], .events = POLLIN};
    }
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        polls[n++] = (struct pollfd){.fd = s->conns[i].fd, .events = POLLIN};
    }
    pthread_mutex_unlock(&s->mutex);
    poll(polls, n, 2);
    pthread_mutex_lock(&s->mutex);
    for (unsigned i = 0; i < n; i++) {
        struct conn *c = i >= s->n ? &s->conns[i - s->n] : NULL;
        if (polls[i].revents == 0) {
            continue;
        }
        if (c == NULL && s->listeners[i] >= 0) {
            take(s, i);
        } else if (c != NULL && c->fd == polls[i].fd) {
            serve(s, c);
        }
    }
    for (unsigned i = 0; i < CONNS_MAX && s->released; i++) {
        if (s->conns[i].fd >= 0 && s->conns[i].held) {
            answer(&s->conns[i]);
            s->conns[i].len = 0;
        }
    }
}

static void *run_servers(void *data)
{
    struct lab_servers *s = data;
    struct pollfd *polls = calloc(s->n + CONNS_MAX, sizeof *polls);
    pthread_mutex_lock(&s->mutex);
    while (!s->stopping) {
        turn(s, polls);
    }
    pthread_mutex_unlock(&s->mutex);
    free(polls);
    return NULL;
}

struct lab_servers *lab_servers_start(unsigned n)
{
    struct lab_servers *s = calloc(1, sizeof *s);
    pthread_mutex_init(&s->mutex, NULL);
    s->n = n;
    s->listeners = calloc(n, sizeof *s->listeners);
    s->conns = calloc(CONNS_MAX, sizeof *s->conns);
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        s->conns[i].fd = -1;
    }
    bool all = false;
    for (unsigned tries = 0; tries < 50 && !all; tries++) {
        s->port = lab_free_port();
        all = true;
        for (unsigned i = 0; i < n; i++) {
            s->listeners[i] = all ? listen_at(i, s->port) : -1;
            all = all && s->listeners[i] >= 0;
        }
        for (unsigned i = 0; i < n && !all; i++) {
            if (s->listeners[i] >= 0) {
                close(s->listeners[i]);
            }
        }
    }
    assert_true(all);
    assert_int_equal(pthread_create(&s->thread, NULL, run_servers, s), 0);
    return s;
}

void lab_servers_stop(struct lab_servers *s)
{
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    for (unsigned i = 0; i < s->n; i++) {
        if (s->listeners[i] >= 0) {
            close(s->listeners[i]);
        }
    }
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        if (s->conns[i].fd >= 0) {
            close(s->conns[i].fd);
        }
    }
    pthread_mutex_destroy(&s->mutex);
    free(s->listeners);
    free(s->conns);
    free(s);
}

uint16_t lab_servers_port(const struct lab_servers *s)
{
    return s->port;
}

unsigned lab_servers_held(struct lab_servers *s, unsigned i)
{
    unsigned n = 0;
    pthread_mutex_lock(&s->mutex);
    for (unsigned k = 0; k < CONNS_MAX; k++) {
        n += s->conns[k].fd >= 0 && s->conns[k].held && s->conns[k].server == i;
    }
    pthread_mutex_unlock(&s->mutex);
    return n;
}

void lab_servers_release(struct lab_servers *s)
{
    pthread_mutex_lock(&s->mutex);
    s->released = true;
    pthread_mutex_unlock(&s->mutex);
}

void lab_servers_close(struct lab_servers *s, unsigned i)
{
    pthread_mutex_lock(&s->mutex);
    close(s->listeners[i]);
    s->listeners[i] = -1;
    pthread_mutex_unlock(&s->mutex);
}

/* ---- client ---- */

void lab_client_close(struct lab_client *client)
{
    if (client->fd >= 0) {
        close(client->fd);
    }
    client->fd = -1;
}

bool lab_send(struct lab_client *client, const char *head)
{
    if (client->fd < 0) {
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_port = htons(client->port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int one = 1;
        client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(client->fd, (void *)&a, sizeof a) != 0) {
            lab_client_close(client);
            return false;
        }
    }
    size_t len = strlen(head);
    return send(client->fd, head, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static const char *field(const char *head, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') {
            return line + 3 + len + strspn(line + 3 + len, " ");
        }
    }
    return NULL;
}

void lab_receive(struct lab_client *client, struct lab_answer *a)
{
    char in[HEAD_MAX];
    size_t len = 0, want = 0;
    *a = (struct lab_answer){.server = -1};
    while (want == 0 || len < want) {
        struct pollfd p = {.fd = client->fd, .events = POLLIN};
        ssize_t n =
            poll(&p, 1, WAIT_MS) == 1 ? recv(client->fd, in + len, HEAD_MAX - 1 - len, 0) : -1;
        if (n <= 0) {
            lab_client_close(client);
            break;
        }
        len += (size_t)n;
        in[len] = '\0';
        const char *end = strstr(in, "\r\n\r\n"), *length;
        if (end != NULL && want == 0) {
            length = field(in, "content-length");
            want = (size_t)(end + 4 - in) + (length != NULL ? strtoul(length, NULL, 10) : 0);
        }
    }
    if (want == 0 || len < want) {
        return;
    }
    const char *server = field(in, "x-server"), *path = field(in, "x-path"),
               *connection = field(in, "connection");
    sscanf(in, "HTTP/%*s %d", &a->status);
    a->server = server != NULL ? atoi(server) : -1;
    a->closes = connection != NULL && strncasecmp(connection, "close", 5) == 0;
    if (path != NULL) {
        snprintf(a->path, sizeof a->path, "%.*s", (int)strcspn(path, "\r"), path);
    }
    if (a->closes || field(in, "content-length") == NULL) {
        lab_client_close(client);
    }
}

void lab_ask(struct lab_client *client, const char *head, struct lab_answer *ret_answer)
{
    if (lab_send(client, head)) {
        lab_receive(client, ret_answer);
    } else {
        lab_client_close(client);
        *ret_answer = (struct lab_answer){.server = -1};
    }
}

void lab_get(struct lab_client *client, const char *host, const char *path,
             struct lab_answer *ret_answer)
{
    char head[4096];
    snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host);
    lab_ask(client, head, ret_answer);
}
