/* What the adapter's files share.
 *
 *   adapter.c   life, and what is to be done next      apply.c    a new configuration, step by step
 *   servers.c   servers through the runtime socket     judge.c    which route was refused
 *   describe.c  what other parts see of it
 *
 * Two lanes run beside each other, a job at a time in each: `main` (look, write, check, reload) and
 * `servers`. While the worker changes only `main` runs.
 */
#ifndef FUSE_HAPROXY_INTERNAL_H
#define FUSE_HAPROXY_INTERNAL_H

#include <chassis/metrics.h>

#include "fuse/haproxy/adapter.h"
#include "fuse/haproxy/live.h"
#include "fuse/haproxy/process.h"

enum fuse_haproxy_phase {
    FUSE_HAPROXY_IDLE,
    FUSE_HAPROXY_LOOKING,  /* is one running, and what has it? */
    FUSE_HAPROXY_CHECKING, /* written, haproxy -c runs */
    FUSE_HAPROXY_JUDGING,  /* refused: halves are tried */
    FUSE_HAPROXY_CHECKED,  /* waits for the servers' lane */
    FUSE_HAPROXY_CHANGING, /* renamed, reload or start under way */
};

/* Work on a worker, then the rest on the loop. */
struct fuse_haproxy_job {
    struct chassis_task task;
    struct fuse_haproxy *haproxy;
    void (*work)(struct fuse_haproxy_job *job);
    void (*done)(struct fuse_haproxy *haproxy, struct fuse_haproxy_job *job);
    bool busy;
    int rc;
    struct chassis_error err;
    /* in */
    const struct fuse_plan *plan;
    char file[24];
    bool discard; /* the file was refused, `words` says why */
    bool reload;  /* else a start */
    struct chassis_buf words;
    pid_t stop; /* end this master */
    struct fuse_runtime_batch commands, removals;
    /* in and out */
    struct fuse_master master;
    /* out */
    pid_t deaf; /* a master that lives but does not answer */
    uint64_t structure;
    struct chassis_buf state;
};

/* A refused version of a route. */
struct fuse_haproxy_guilty {
    char name[FUSE_NAME_MAX + 1];
    uint64_t version;
};
struct fuse_haproxy_judge {
    struct fuse_haproxy_guilty *suspects; /* by name */
    unsigned n, low, high, mid;
    enum { JUDGE_NONE, JUDGE_WITHOUT, JUDGE_FIRST_HALF, JUDGE_ALONE } step;
    unsigned try_low, try_high; /* of the trial */
};

/* What was sent and taken, of one kind. */
struct fuse_haproxy_track {
    char sent[40], acked[40];
    int64_t sent_ns, acked_ns, refused_ns; /* Unix */
    uint64_t begun_ns, lag_us, refusals;
    char words[FUSE_WORDS_MAX + 1];
};

struct fuse_haproxy {
    struct fuse_haproxy_options options;
    char *directory, *program;
    struct fuse_proxy proxy;
    struct chassis_executor *loop;
    struct chassis_timer turn, watch;
    enum fuse_haproxy_phase phase;
    bool ready, closing, has_dns;
    void (*closed)(void *data);
    void *closed_data;

    struct fuse_master master; /* pid 0 = none runs */
    unsigned long long start_time;
    int64_t connected_ns;
    uint64_t started_ns;    /* the last start by us */
    uint64_t look_at_ns;    /* not before */
    unsigned deaf_looks;    /* in a row */
    pid_t given_up;         /* a deaf master that was told to end */
    bool must_look;         /* what runs is not known (any more) */
    struct fuse_plan *plan; /* what it runs; NULL = nothing of ours */
    struct fuse_live *live;
    bool *pool_changed; /* by pool of `plan` */
    bool servers_changed;
    unsigned servers_failed; /* in a row */

    bool changed; /* the structure may have */
    bool force;   /* though the structure is the same */
    struct fuse_plan *next;
    struct fuse_plan *trial;
    struct fuse_run *run;
    void (*trial_done)(struct fuse_haproxy *haproxy, bool fine, const char *words);
    uint64_t not_before_ns, backoff_ns;
    struct fuse_haproxy_guilty *guilty;
    unsigned n_guilty;
    struct fuse_haproxy_judge judge;

    struct fuse_haproxy_job main, servers;
    struct fuse_haproxy_track configuration_track, servers_track;
    struct chassis_counter *reloads, *refused, *commands, *restarts;
    struct chassis_histogram *apply_time[2];
};

void haproxy_turn_soon(struct fuse_haproxy *h);
void haproxy_job_post(struct fuse_haproxy *h, struct fuse_haproxy_job *job,
                      void (*work)(struct fuse_haproxy_job *job),
                      void (*done)(struct fuse_haproxy *h, struct fuse_haproxy_job *job));
/* What runs is this plan now, with these servers. Takes both. */
void haproxy_adopt(struct fuse_haproxy *h, struct fuse_plan *plan, struct fuse_live *live);
/* Nothing of ours runs, as far as is known. */
void haproxy_forget(struct fuse_haproxy *h);
/* Try again after a while that grows. */
void haproxy_again_later(struct fuse_haproxy *h, const char *what, const char *words);

void haproxy_look(struct fuse_haproxy *h);
void haproxy_apply(struct fuse_haproxy *h);
void haproxy_change(struct fuse_haproxy *h); /* CHECKED → CHANGING */
/* The view without what is hidden; NULL, and it is noted, when that is impossible. */
struct fuse_plan *haproxy_render(struct fuse_haproxy *h);
/* Write it and let HAProxy check it. Takes the plan, gives it back as h->trial. */
void haproxy_try(struct fuse_haproxy *h, struct fuse_plan *plan, const char *file,
                 void (*done)(struct fuse_haproxy *h, bool fine, const char *words));

void haproxy_servers(struct fuse_haproxy *h);

void haproxy_judge_begin(struct fuse_haproxy *h);
void haproxy_judge_end(struct fuse_haproxy *h);
/* Those whose version the view no longer has. */
void haproxy_forgive(struct fuse_haproxy *h);
bool haproxy_hides(const struct fuse_entry *entry, void *data);

extern const struct fuse_proxy_ops haproxy_proxy_ops;
void haproxy_track_sent(struct fuse_haproxy *h, struct fuse_haproxy_track *track, uint64_t revision,
                        uint64_t structure);
void haproxy_track_acked(struct fuse_haproxy *h, struct fuse_haproxy_track *track);
void haproxy_track_refused(struct fuse_haproxy *h, struct fuse_haproxy_track *track,
                           const char *words);

#endif
