#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "fuse/haproxy/runtime.h"

/* What ends each answer after "prompt". */
static const char prompt[] = "\n> ";

void fuse_runtime_add(struct fuse_runtime_batch *batch, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    chassis_buf_vprintf(&batch->commands, format, args);
    va_end(args);
    chassis_buf_append_byte(&batch->commands, '\n');
    batch->n++;
}

void fuse_runtime_fini(struct fuse_runtime_batch *batch)
{
    chassis_buf_fini(&batch->commands);
    chassis_buf_fini(&batch->answers);
    *batch = (struct fuse_runtime_batch){0};
}

const char *fuse_runtime_next(const struct fuse_runtime_batch *batch, const char *before)
{
    const char *start = (const char *)batch->answers.data;
    if (batch->n_answers == 0) {
        return NULL;
    }
    const char *next = before[0] == '\0' && (before < start || before >= start + batch->answers.len)
                           ? start
                           : before + strlen(before) + 1;
    return next < start + batch->answers.len ? next : NULL;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int dial(const char *path, int *ret_fd, struct chassis_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "socket '%s': path is too long",
                                 path);
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && CHASSIS_FAULT("fuse.haproxy.dial")) {
        close(fd);
        return chassis_error_set(err, CHASSIS_UNAVAILABLE, "haproxy's socket '%s': fault", path);
    }
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int code = errno;
        if (fd >= 0) {
            close(fd);
        }
        return chassis_error_set(err, CHASSIS_UNAVAILABLE, "haproxy's socket '%s': %s", path,
                                 strerror(code));
    }
    *ret_fd = fd;
    return 0;
}

/* One connection: what is still to be sent, what came. */
struct talk {
    const char *path;
    int fd;
    struct chassis_view out;
    struct chassis_buf *in;
    int64_t end_ms;
    bool single; /* nothing follows: say so, as the master waits for it before it closes */
};

/* Wait and move bytes once. 0, CHASSIS_EOF_REACHED, or an error. */
static int talk_step(struct talk *t, struct chassis_error *err)
{
    struct pollfd p = {.fd = t->fd, .events = (short)(POLLIN | (t->out.len != 0 ? POLLOUT : 0))};
    int64_t left = t->end_ms - now_ms();
    if (left <= 0 || (poll(&p, 1, (int)left) == 0)) {
        return chassis_error_set(err, CHASSIS_DEADLINE_EXCEEDED,
                                 "haproxy's socket '%s': no answer within %d ms", t->path,
                                 FUSE_RUNTIME_TIMEOUT_MS);
    }
    if ((p.revents & POLLOUT) != 0) {
        ssize_t n = send(t->fd, t->out.data, t->out.len, MSG_NOSIGNAL);
        if (n > 0) {
            t->out = chassis_view(t->out.data + n, t->out.len - (size_t)n);
        }
        if (t->single && t->out.len == 0) {
            shutdown(t->fd, SHUT_WR);
        }
    }
    if ((p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        chassis_buf_reserve(t->in, 65536);
        ssize_t n = recv(t->fd, t->in->data + t->in->len, 65535, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            return CHASSIS_EOF_REACHED;
        }
        t->in->len += n > 0 ? (size_t)n : 0;
        if (t->in->len > FUSE_RUNTIME_ANSWER_MAX) {
            return chassis_error_set(err, CHASSIS_TOO_LARGE,
                                     "haproxy's socket '%s': answer is "
                                     "larger than %d bytes",
                                     t->path, FUSE_RUNTIME_ANSWER_MAX);
        }
    }
    return 0;
}

/* Take whole answers out of what came: the first prompt ends the answer to "prompt" itself. */
static void cut(struct fuse_runtime_batch *batch, struct chassis_buf *in, size_t *at, bool *greeted)
{
    const size_t len = sizeof prompt - 1;
    const uint8_t *end;
    while (in->len != 0 && batch->n_answers < batch->n &&
           (end = memmem(in->data + *at, in->len - *at, prompt, len)) != NULL) {
        size_t start = *at, stop = (size_t)(end - in->data);
        *at = stop + len;
        if (!*greeted) {
            *greeted = true;
            continue;
        }
        while (stop > start && in->data[stop - 1] == '\n') {
            stop--;
        }
        chassis_buf_append(&batch->answers, in->data + start, stop - start);
        chassis_buf_append_byte(&batch->answers, '\0');
        batch->n_answers++;
    }
}

int fuse_runtime_run(const char *path, struct fuse_runtime_batch *batch, struct chassis_error *err)
{
    struct chassis_buf out = {0}, in = {0};
    struct talk t = {.path = path, .in = &in, .end_ms = now_ms() + FUSE_RUNTIME_TIMEOUT_MS};
    int rc = dial(path, &t.fd, err);
    if (rc != 0) {
        return rc;
    }
    chassis_buf_append_str(&out, "prompt\n");
    chassis_buf_append_view(&out, chassis_buf_view(&batch->commands));
    t.out = chassis_buf_view(&out);
    chassis_buf_clear(&batch->answers);
    batch->n_answers = 0;
    size_t at = 0;
    bool greeted = false;
    while (rc == 0 && batch->n_answers < batch->n) {
        rc = talk_step(&t, err);
        cut(batch, &in, &at, &greeted);
    }
    if (rc == CHASSIS_EOF_REACHED) {
        rc = batch->n_answers == batch->n
                 ? 0
                 : chassis_error_set(err, CHASSIS_UNAVAILABLE,
                                     "haproxy's socket '%s': ended after %u of %u answers", path,
                                     batch->n_answers, batch->n);
    }
    close(t.fd);
    chassis_buf_fini(&out);
    chassis_buf_fini(&in);
    return rc;
}

int fuse_runtime_ask(const char *path, const char *command, struct chassis_buf *ret_answer,
                     struct chassis_error *err)
{
    struct chassis_buf out = {0}, in = {0};
    struct talk t = {
        .path = path, .in = &in, .end_ms = now_ms() + FUSE_RUNTIME_TIMEOUT_MS, .single = true};
    int rc = dial(path, &t.fd, err);
    if (rc != 0) {
        return rc;
    }
    chassis_buf_printf(&out, "%s\n", command);
    t.out = chassis_buf_view(&out);
    while (rc == 0) {
        rc = talk_step(&t, err);
    }
    if (rc == CHASSIS_EOF_REACHED) {
        rc = 0;
        chassis_buf_append_byte(&in, '\0');
        in.len--;
        *ret_answer = chassis_buf_move(&in);
    }
    close(t.fd);
    chassis_buf_fini(&out);
    chassis_buf_fini(&in);
    return rc;
}

bool fuse_runtime_info(const char *answer, const char *name, char *ret_value, size_t size)
{
    size_t len = strlen(name);
    for (const char *line = answer; line != NULL; line = strchr(line, '\n')) {
        line += line[0] == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            const char *value = line + len + 1 + strspn(line + len + 1, " ");
            snprintf(ret_value, size, "%.*s", (int)strcspn(value, "\n"), value);
            return true;
        }
    }
    return false;
}
