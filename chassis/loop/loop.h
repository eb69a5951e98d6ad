/* The loop role: one libuv loop on its own thread, as an executor, with signals, child processes and
 * a probe of TCP ports. The only user of <uv.h>.
 *
 * A turn of the loop: wait → inbox → (end of turn) → due timers and I/O callbacks → (end of turn). At
 * each end of turn the deferred tasks run. While the thread waits, others may be the loop: what is
 * dispatched to its executor runs on the thread that has it.
 *
 * Invariants: tasks run in the order posted; a timer never runs early (libuv counts milliseconds,
 * delays are rounded up); a callback of this header runs on the loop thread only.
 * Threads: chassis_loop_start, _stop, _call and _on_signal from any thread but (stop) the loop's own;
 * children and probes from the loop only.
 * Ownership: the loop is freed by stop; a child frees itself after its `exited`.
 */
#ifndef CHASSIS_LOOP_LOOP_H
#define CHASSIS_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <chassis/buf.h>
#include <chassis/error.h>
#include <chassis/executor.h>

struct chassis_loop;

/* Begin a loop on a thread of that name (at most 15 characters are shown). */
int chassis_loop_start(const char *name, struct chassis_loop **ret_loop, struct chassis_error *err);
/* Run what is queued, drop armed timers, kill remaining children (their `exited` does not run), end
 * the thread, free. NULL is fine. */
void chassis_loop_stop(struct chassis_loop *loop);
struct chassis_executor *chassis_loop_executor(struct chassis_loop *loop);

/* Run `fn` on the loop and wait for what it returns; called on the loop it runs at once. */
int chassis_loop_call(struct chassis_loop *loop, int (*fn)(void *data), void *data);

typedef void (*chassis_loop_signal_cb)(int signal, void *data);
/* `cb` each time the process gets `signal`, which is unblocked on the loop thread: block it
 * everywhere else before threads are made. Watching the same signal again replaces the callback. */
int chassis_loop_on_signal(struct chassis_loop *loop, int signal, chassis_loop_signal_cb cb,
                           void *data, struct chassis_error *err);

struct chassis_child;

enum chassis_child_stream {
    CHASSIS_CHILD_STDOUT,
    CHASSIS_CHILD_STDERR,
};
enum { CHASSIS_CHILD_LINE_MAX = 16 * 1024 }; /* longer lines come in pieces of this many bytes */

struct chassis_child_options {
    const char *const *argv;        /* argv[0] is searched in PATH; ends with NULL */
    const char *const *environment; /* ends with NULL; NULL = that of this process */
    const char *directory;          /* NULL = the present one */
    bool own_group; /* a process group of its own: a Ctrl-C at the terminal does not reach it */
    /* One line without its newline. May be NULL: then the child inherits stdout and stderr. */
    void (*line)(struct chassis_child *child, enum chassis_child_stream stream,
                 struct chassis_view line, void *data);
    /* The process ended: by exit (signal 0) or by a signal. Its output came before, unless a process
     * it left behind still holds the pipes open half a second later. The last callback. */
    void (*exited)(struct chassis_child *child, int exit_code, int signal, void *data);
    void *data;
};
int chassis_child_spawn(struct chassis_loop *loop, const struct chassis_child_options *options,
                        struct chassis_child **ret_child, struct chassis_error *err);
pid_t chassis_child_pid(const struct chassis_child *child);
/* Send a signal, to its whole process group if it has one of its own. -ESRCH when it has ended. */
int chassis_child_kill(struct chassis_child *child, int signal);

/* Can a TCP connection to `address` ("127.0.0.1:80", "[::1]:80", "localhost:80"; no name look-up) be
 * made within the time? `done` once: 0 or the reason. */
int chassis_loop_probe_tcp(struct chassis_loop *loop, const char *address, uint64_t timeout_ms,
                           void (*done)(int status, void *data), void *data,
                           struct chassis_error *err);

#endif
