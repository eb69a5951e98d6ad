/* Child processes: uv_spawn with two pipes cut into lines.
 *
 *   RUNNING --process ended--> ENDED --both pipes at their end, or half a second--> told, closing
 */
#include <errno.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "loop/internal.h"

enum { PIPES_GRACE_MS = 500, READ_BYTES = 4096 };

struct child_pipe {
    uv_pipe_t handle;
    struct chassis_child *child;
    enum chassis_child_stream stream;
    struct chassis_buf line; /* the beginning of a line whose newline has not come */
    bool open;
    char room[READ_BYTES];
};

struct chassis_child {
    struct chassis_list link;
    struct chassis_loop *loop;
    struct chassis_child_options options; /* argv and environment are not used after spawn */
    uv_process_t process;
    uv_timer_t grace;
    struct child_pipe pipes[2];
    unsigned n_handles; /* open libuv handles; memory goes with the last */
    bool ended, told, abandoned;
    int exit_code, signal;
};

static void on_handle_closed(uv_handle_t *handle)
{
    struct chassis_child *child = handle->data;
    if (--child->n_handles == 0) {
        chassis_buf_fini(&child->pipes[0].line);
        chassis_buf_fini(&child->pipes[1].line);
        free(child);
    }
}

static void close_child_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, on_handle_closed);
    }
}

static void emit_line(struct child_pipe *pipe, struct chassis_view line)
{
    struct chassis_child *child = pipe->child;
    if (!child->abandoned) {
        child->options.line(child, pipe->stream, line, child->options.data);
    }
}

static void flush_line(struct child_pipe *pipe)
{
    if (pipe->line.len != 0) {
        emit_line(pipe, chassis_buf_view(&pipe->line));
        chassis_buf_clear(&pipe->line);
    }
}

static void close_all(struct chassis_child *child)
{
    chassis_list_remove(&child->link);
    for (unsigned i = 0; i < 2; i++) {
        if (child->options.line != NULL) {
            child->pipes[i].open = false;
            close_child_handle((uv_handle_t *)&child->pipes[i].handle);
        }
    }
    close_child_handle((uv_handle_t *)&child->grace);
    close_child_handle((uv_handle_t *)&child->process);
}

static void tell_exit(struct chassis_child *child)
{
    if (child->told) {
        return;
    }
    child->told = true;
    flush_line(&child->pipes[0]);
    flush_line(&child->pipes[1]);
    if (!child->abandoned && child->options.exited != NULL) {
        child->options.exited(child, child->exit_code, child->signal, child->options.data);
    }
    close_all(child);
}

static void maybe_tell_exit(struct chassis_child *child)
{
    if (child->ended && !child->pipes[0].open && !child->pipes[1].open) {
        tell_exit(child);
    }
}

static void on_grace_over(uv_timer_t *timer)
{
    tell_exit(timer->data);
}

static void on_process_exit(uv_process_t *process, int64_t exit_code, int signal)
{
    struct chassis_child *child = process->data;
    child->ended = true;
    child->exit_code = (int)exit_code;
    child->signal = signal;
    uv_timer_start(&child->grace, on_grace_over, PIPES_GRACE_MS, 0);
    maybe_tell_exit(child);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_room)
{
    struct child_pipe *pipe = (struct child_pipe *)(void *)handle;
    *ret_room = uv_buf_init(pipe->room, sizeof pipe->room);
}

static void cut_lines(struct child_pipe *pipe, const char *data, size_t len)
{
    while (len != 0) {
        size_t room = CHASSIS_CHILD_LINE_MAX - pipe->line.len;
        size_t span = len < room ? len : room;
        const char *newline = memchr(data, '\n', span);
        size_t take = newline != NULL ? (size_t)(newline - data) : span;
        if (newline != NULL && pipe->line.len == 0) {
            emit_line(pipe, chassis_view(data, take));
        } else {
            chassis_buf_append(&pipe->line, data, take);
            if (newline != NULL || pipe->line.len == CHASSIS_CHILD_LINE_MAX) {
                emit_line(pipe, chassis_buf_view(&pipe->line));
                chassis_buf_clear(&pipe->line);
            }
        }
        take += newline != NULL;
        data += take;
        len -= take;
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
    struct child_pipe *pipe = (struct child_pipe *)(void *)stream;
    if (n > 0) {
        cut_lines(pipe, room->base, (size_t)n);
    } else if (n < 0) {
        flush_line(pipe);
        pipe->open = false;
        uv_read_stop(stream);
        maybe_tell_exit(pipe->child);
    }
}

static void init_child_handles(struct chassis_child *child)
{
    uv_loop_t *uv = &child->loop->uv;
    for (unsigned i = 0; i < 2; i++) {
        child->pipes[i].child = child;
        child->pipes[i].stream = (enum chassis_child_stream)i;
        if (child->options.line != NULL) {
            uv_pipe_init(uv, &child->pipes[i].handle, 0);
            child->pipes[i].handle.data = child;
            child->n_handles++;
        }
    }
    uv_timer_init(uv, &child->grace);
    child->grace.data = child;
    child->process.data = child;
    child->n_handles += 2; /* uv_spawn initialises the process handle, also when it fails */
}

static int spawn(struct chassis_child *child)
{
    const struct chassis_child_options *o = &child->options;
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE}};
    for (int i = 0; i < 2; i++) {
        if (o->line != NULL) {
            stdio[i + 1].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
            stdio[i + 1].data.stream = (uv_stream_t *)&child->pipes[i].handle;
        } else {
            stdio[i + 1].flags = UV_INHERIT_FD;
            stdio[i + 1].data.fd = i + 1;
        }
    }
    uv_process_options_t p = {
        .exit_cb = on_process_exit,
        .file = o->argv[0],
        .args = (char **)(uintptr_t)o->argv, /* libuv does not write through it */
        .env = (char **)(uintptr_t)o->environment,
        .cwd = o->directory,
        .flags = o->own_group ? UV_PROCESS_DETACHED : 0,
        .stdio = stdio,
        .stdio_count = 3,
    };
    int rc = uv_spawn(&child->loop->uv, &child->process, &p);
    for (int i = 0; rc == 0 && o->line != NULL && i < 2; i++) {
        child->pipes[i].open = true;
        rc = uv_read_start((uv_stream_t *)&child->pipes[i].handle, give_room, on_read);
    }
    return rc;
}

int chassis_child_spawn(struct chassis_loop *loop, const struct chassis_child_options *options,
                        struct chassis_child **ret_child, struct chassis_error *err)
{
    CHASSIS_ASSERT(chassis_is_current(&loop->executor));
    if (CHASSIS_FAULT("loop.spawn")) {
        return chassis_error_code(err, -EAGAIN, "start '%s'", options->argv[0]);
    }
    struct chassis_child *child = chassis_base_zalloc(sizeof *child);
    child->loop = loop;
    child->options = *options;
    chassis_list_append(&loop->children, &child->link);
    init_child_handles(child);
    int rc = spawn(child);
    if (rc != 0) {
        child->told = child->abandoned = true;
        close_all(child);
        return chassis_error_code(err, rc, "start '%s'", options->argv[0]);
    }
    *ret_child = child;
    return 0;
}

pid_t chassis_child_pid(const struct chassis_child *child)
{
    return child->process.pid;
}

int chassis_child_kill(struct chassis_child *child, int signal)
{
    if (child->ended) {
        return -ESRCH;
    }
    if (child->options.own_group) {
        return kill(-child->process.pid, signal) == 0 ? 0 : -errno;
    }
    return uv_process_kill(&child->process, signal);
}

void loop_children_abandon(struct chassis_loop *loop)
{
    chassis_list_foreach_safe (it, &loop->children) {
        struct chassis_child *child = chassis_list_entry(it, struct chassis_child, link);
        child->abandoned = child->told = true;
        if (!child->ended) {
            chassis_child_kill(child, SIGKILL);
            waitpid(child->process.pid, NULL, 0); /* the loop is over: nobody else reaps it */
        }
        close_all(child);
    }
}
