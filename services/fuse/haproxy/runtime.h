/* A client of HAProxy's sockets: the worker's runtime socket and the master's.
 *
 * Threads: blocks; for a worker. Ownership: caller's memory.
 */
#ifndef FUSE_HAPROXY_RUNTIME_H
#define FUSE_HAPROXY_RUNTIME_H

#include <chassis/buf.h>

enum { FUSE_RUNTIME_TIMEOUT_MS = 5000, FUSE_RUNTIME_ANSWER_MAX = 64 * 1024 * 1024 };

/* Commands that go over one connection, and what was answered to each. Zeroed = empty. */
struct fuse_runtime_batch {
    struct chassis_buf commands; /* a line each */
    unsigned n;
    struct chassis_buf
        answers; /* the answers so far, each ended by a NUL, without its last newline */
    unsigned n_answers;
};
void fuse_runtime_add(struct fuse_runtime_batch *batch, const char *format, ...)
    CHASSIS_PRINTF(2, 3);
void fuse_runtime_fini(struct fuse_runtime_batch *batch);
/* The answers one after the other: "" first, then the one before; NULL = that was all. */
const char *fuse_runtime_next(const struct fuse_runtime_batch *batch, const char *before);

/* All of them over the worker's socket. CHASSIS_UNAVAILABLE (nobody listens, or it ended meanwhile:
 * n_answers says how far it came), CHASSIS_DEADLINE_EXCEEDED. */
int fuse_runtime_run(const char *path, struct fuse_runtime_batch *batch, struct chassis_error *err);
/* One command over a connection of its own, until its end: for the master's socket, and for a worker's
 * behind it ("@!<pid> …"). */
int fuse_runtime_ask(const char *path, const char *command, struct chassis_buf *ret_answer,
                     struct chassis_error *err);

/* The value of a line "<name>: <value>" of "show info"; false: none. */
bool fuse_runtime_info(const char *answer, const char *name, char *ret_value, size_t size);

#endif
