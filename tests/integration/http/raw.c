#include "raw.h"

#include "test.h"

#include <arpa/inet.h>
#include <strings.h>
#include <sys/socket.h>

int raw_connect(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static void send_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len != 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return; /* refused early: the answer says why */
        }
        p += n;
        len -= (size_t)n;
    }
}

void raw_send(int fd, const char *method, const char *path, const char *headers, const void *body,
              size_t len)
{
    struct chassis_buf head = {0};
    chassis_buf_printf(&head, "%s %s HTTP/1.1\r\nConnection: close\r\n", method, path);
    if (strcasestr(headers, "Host:") == NULL) {
        chassis_buf_append_str(&head, "Host: localhost\r\n");
    }
    if (body != NULL) {
        chassis_buf_printf(&head, "Content-Length: %zu\r\n", len);
    }
    chassis_buf_printf(&head, "%s\r\n", headers);
    send_all(fd, head.data, head.len);
    send_all(fd, body, len);
    chassis_buf_fini(&head);
}

static void unchunk(struct chassis_buf *body)
{
    struct chassis_buf whole = {0};
    const char *p = (const char *)body->data;
    const char *end = p + body->len;
    while (p < end) {
        char *after;
        size_t len = strtoul(p, &after, 16);
        p = after + 2;
        if (len == 0 || p + len > end) {
            break;
        }
        chassis_buf_append(&whole, p, len);
        p += len + 2;
    }
    chassis_buf_fini(body);
    *body = whole;
}

void raw_read(int fd, struct raw_answer *ret)
{
    struct chassis_buf all = {0};
    char room[65536];
    ssize_t n;
    memset(ret, 0, sizeof *ret);
    while ((n = recv(fd, room, sizeof room, 0)) > 0) {
        chassis_buf_append(&all, room, (size_t)n);
    }
    close(fd);
    if (all.len != 0) {
        char *blank = strstr((char *)all.data, "\r\n\r\n");
        assert_non_null(blank);
        size_t head = (size_t)(blank - (char *)all.data) + 4;
        assert_int_equal(sscanf((char *)all.data, "HTTP/1.1 %d", &ret->status), 1);
        chassis_buf_append(&ret->headers, all.data, head);
        chassis_buf_append(&ret->body, all.data + head, all.len - head);
        const char *encoding = raw_header(ret, "Transfer-Encoding");
        if (encoding != NULL && strcmp(encoding, "chunked") == 0) {
            unchunk(&ret->body);
        }
    }
    chassis_buf_append_str(&ret->body, "");
    chassis_buf_reserve(&ret->body, 1);
    ret->body.data[ret->body.len] = '\0';
    chassis_buf_fini(&all);
}

void raw_free(struct raw_answer *answer)
{
    chassis_buf_fini(&answer->headers);
    chassis_buf_fini(&answer->body);
}

const char *raw_header(const struct raw_answer *answer, const char *name)
{
    static char value[512];
    size_t len = strlen(name);
    const char *line = answer->headers.data != NULL ? (const char *)answer->headers.data : "";
    while ((line = strstr(line, "\r\n")) != NULL) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line + len + 2, "\r"),
                     line + len + 2);
            return value;
        }
    }
    return NULL;
}

void raw_call(uint16_t port, const char *method, const char *path, const char *headers,
              const char *body, struct raw_answer *ret)
{
    int fd = raw_connect(port);
    raw_send(fd, method, path, headers, body, body != NULL ? strlen(body) : 0);
    raw_read(fd, ret);
}
