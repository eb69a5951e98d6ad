/* HAProxy's processes: the master, which lives as long as it is not told to end, and its workers, of
 * which each reload makes a new one while the old end when their connections have.
 *
 * Invariants: whatever is started is independent of us: it goes on when we are killed, and is found
 * again by the master's socket in its directory.
 * Threads: those that block say so; for a worker. The others: the loop role.
 */
#ifndef FUSE_HAPROXY_PROCESS_H
#define FUSE_HAPROXY_PROCESS_H

#include <sys/types.h>

#include "loop/loop.h"

enum { FUSE_MASTER_OLD_MAX = 64, FUSE_WORDS_MAX = 2048 };

struct fuse_master {
    pid_t pid;
    unsigned long reloads, failed; /* failed: in a row */
    pid_t worker;                  /* 0 = none */
    pid_t old[FUSE_MASTER_OLD_MAX];
    unsigned n_old;
    char version[64];
};
/* Blocks. CHASSIS_UNAVAILABLE: there is none. */
int fuse_master_look(const char *directory, struct fuse_master *ret_master,
                     struct chassis_error *err);
/* Blocks until there is one whose worker takes connections, at most 10 s. */
int fuse_master_await(const char *directory, struct fuse_master *ret_master,
                      struct chassis_error *err);
/* Blocks until the new worker takes connections. CHASSIS_FAILED_PRECONDITION: HAProxy could not use the
 * configuration after all (a port is taken); the worker before goes on. */
int fuse_master_reload(const char *directory, struct fuse_master *ret_master,
                       struct chassis_error *err);
/* Blocks until it and its workers are gone, at most 5 s. */
void fuse_master_stop(pid_t pid);
/* The master that was started in this directory, by its pid file: for one that lives but whose sockets
 * answer no more. 0 = none. */
pid_t fuse_master_of_file(const char *directory);
/* Still the process it was when `*start_time` was 0 (it is filled in then). */
bool fuse_process_lives(pid_t pid, unsigned long long *start_time);

/* A run of HAProxy that ends by itself: a check, or the start of a master, which leaves it. */
struct fuse_run;
struct fuse_run_options {
    struct chassis_loop *loop;
    const char *program, *directory;
    const char *file; /* in the directory */
    bool check;       /* else start */
    /* `words`: what it said (alerts, at most FUSE_WORDS_MAX bytes), without paths and numbers of
     * processes. Not called after fuse_run_cancel. */
    void (*done)(bool fine, const char *words, void *data);
    void *data;
};
int fuse_run_start(const struct fuse_run_options *options, struct fuse_run **ret_run,
                   struct chassis_error *err);
void fuse_run_cancel(struct fuse_run *run);

#endif
