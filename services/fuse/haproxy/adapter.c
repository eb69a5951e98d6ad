#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "fuse/haproxy/internal.h"

enum { WATCH_MS = 250, BACKOFF_MIN_MS = 200, BACKOFF_MAX_MS = 30000, STEADY_S = 10 };

static void on_worker(struct chassis_task *task);

static void on_loop(struct chassis_task *task)
{
    struct fuse_haproxy_job *job = chassis_container_of(task, struct fuse_haproxy_job, task);
    job->busy = false;
    job->done(job->haproxy, job);
    haproxy_turn_soon(job->haproxy);
}

static void on_worker(struct chassis_task *task)
{
    struct fuse_haproxy_job *job = chassis_container_of(task, struct fuse_haproxy_job, task);
    job->work(job);
    task->run = on_loop;
    chassis_post(job->haproxy->loop, task);
}

void haproxy_job_post(struct fuse_haproxy *h, struct fuse_haproxy_job *job,
                      void (*work)(struct fuse_haproxy_job *job),
                      void (*done)(struct fuse_haproxy *h, struct fuse_haproxy_job *job))
{
    CHASSIS_ASSERT(!job->busy);
    job->busy = true;
    job->haproxy = h;
    job->work = work;
    job->done = done;
    job->rc = 0;
    chassis_error_clear(&job->err);
    job->task.run = on_worker;
    chassis_post(h->options.workers, &job->task);
}

void haproxy_forget(struct fuse_haproxy *h)
{
    fuse_live_free(h->live);
    fuse_plan_free(h->plan);
    free(h->pool_changed);
    h->live = NULL;
    h->plan = NULL;
    h->pool_changed = NULL;
}

void haproxy_adopt(struct fuse_haproxy *h, struct fuse_plan *plan, struct fuse_live *live)
{
    haproxy_forget(h);
    h->plan = plan;
    h->live = live;
    h->pool_changed = chassis_base_alloc(plan->pools.n + 1);
    memset(h->pool_changed, true, plan->pools.n + 1);
    h->servers_changed = true;
}

void haproxy_again_later(struct fuse_haproxy *h, const char *what, const char *words)
{
    h->backoff_ns = h->backoff_ns == 0 ? BACKOFF_MIN_MS * CHASSIS_NS_PER_MS : h->backoff_ns * 2;
    if (h->backoff_ns > BACKOFF_MAX_MS * CHASSIS_NS_PER_MS) {
        h->backoff_ns = BACKOFF_MAX_MS * CHASSIS_NS_PER_MS;
    }
    h->not_before_ns = chassis_now_ns(h->loop) + h->backoff_ns;
    h->changed = h->force = true;
    h->phase = FUSE_HAPROXY_IDLE;
    chassis_log_error(h->options.log, what, chassis_f_str("words", words),
                      chassis_f_u64("again_ms", h->backoff_ns / CHASSIS_NS_PER_MS));
    haproxy_turn_soon(h);
}

/* ---- what is to be done ---- */

static void finish(struct fuse_haproxy *h)
{
    void (*closed)(void *data) = h->closed;
    void *data = h->closed_data;
    fuse_proxies_remove(h->options.proxies, &h->proxy);
    chassis_cancel(h->loop, &h->turn);
    chassis_cancel(h->loop, &h->watch);
    haproxy_forget(h);
    haproxy_judge_end(h);
    fuse_plan_free(h->next);
    fuse_plan_free(h->trial);
    struct fuse_haproxy_job *jobs[] = {&h->main, &h->servers};
    for (unsigned i = 0; i < 2; i++) {
        chassis_buf_fini(&jobs[i]->words);
        chassis_buf_fini(&jobs[i]->state);
        fuse_runtime_fini(&jobs[i]->commands);
        fuse_runtime_fini(&jobs[i]->removals);
    }
    free(h->guilty);
    free(h->directory);
    free(h->program);
    free(h);
    closed(data);
}

static void work_stop(struct fuse_haproxy_job *job)
{
    fuse_master_stop(job->stop);
}

static void on_stopped(struct fuse_haproxy *h, struct fuse_haproxy_job *job)
{
    h->master.pid = 0;
}

static void close_on(struct fuse_haproxy *h)
{
    if (h->run != NULL) {
        fuse_run_cancel(h->run);
        h->run = NULL;
    }
    if (h->main.busy || h->servers.busy) {
        return;
    }
    if (h->options.stop_with_us && h->master.pid != 0) {
        h->main.stop = h->master.pid;
        haproxy_job_post(h, &h->main, work_stop, on_stopped);
        return;
    }
    finish(h);
}

/* A timer's, so that changes of one turn of the loop are one. */
static void on_turn(struct chassis_timer *timer)
{
    struct fuse_haproxy *h = chassis_container_of(timer, struct fuse_haproxy, turn);
    if (h->closing) {
        close_on(h);
        return;
    }
    if (!h->ready) {
        return;
    }
    uint64_t now = chassis_now_ns(h->loop);
    if (h->phase == FUSE_HAPROXY_IDLE && !h->servers.busy && h->must_look) {
        if (now >= h->look_at_ns) {
            haproxy_look(h);
        } else {
            chassis_post_after(h->loop, &h->turn, h->look_at_ns - now);
        }
    } else if (h->phase == FUSE_HAPROXY_IDLE && !h->must_look &&
               (h->changed || h->master.pid == 0)) {
        if (now >= h->not_before_ns) {
            haproxy_apply(h);
        } else {
            chassis_post_after(h->loop, &h->turn, h->not_before_ns - now);
        }
    } else if (h->phase == FUSE_HAPROXY_CHECKED && !h->servers.busy) {
        haproxy_change(h);
    }
    bool steady = h->phase != FUSE_HAPROXY_LOOKING && h->phase != FUSE_HAPROXY_CHANGING &&
                  h->phase != FUSE_HAPROXY_CHECKED && !h->must_look;
    if (h->servers_changed && steady && !h->servers.busy && h->plan != NULL) {
        haproxy_servers(h);
    }
    fuse_proxies_moved(h->options.proxies);
}

void haproxy_turn_soon(struct fuse_haproxy *h)
{
    chassis_post_after(h->loop, &h->turn, 0);
}

/* It is nobody's child: look whether it is still there. */
static void on_watch(struct chassis_timer *timer)
{
    struct fuse_haproxy *h = chassis_container_of(timer, struct fuse_haproxy, watch);
    chassis_post_after(h->loop, &h->watch, WATCH_MS * CHASSIS_NS_PER_MS);
    if (h->closing || h->master.pid == 0 || h->main.busy || h->servers.busy ||
        fuse_process_lives(h->master.pid, &h->start_time)) {
        return;
    }
    chassis_counter_add(h->restarts, 1);
    uint64_t now = chassis_now_ns(h->loop);
    h->master.pid = 0;
    haproxy_forget(h);
    if (now - h->started_ns < STEADY_S * CHASSIS_NS_PER_S && h->phase == FUSE_HAPROXY_IDLE) {
        haproxy_again_later(h, "haproxy died soon after its start", "");
        return;
    }
    chassis_log_error(h->options.log, "haproxy died; starting it again");
    h->changed = h->force = true;
    haproxy_turn_soon(h);
}

void fuse_haproxy_changed(struct fuse_haproxy *h, const struct fuse_change *change)
{
    if (change == NULL || change->service == NULL) {
        h->changed = true;
    }
    for (unsigned i = 0; h->plan != NULL && i < h->plan->pools.n; i++) {
        const struct fuse_pool *pool = h->plan->pools.items[i];
        for (unsigned t = 0; t < pool->n_targets && change != NULL && change->service != NULL;
             t++) {
            if (strcmp(pool->targets[t].service, change->service->name) == 0) {
                h->pool_changed[i] = h->servers_changed = true;
            }
        }
    }
    if (h->changed || h->servers_changed) {
        haproxy_turn_soon(h);
    }
}

/* ---- life ---- */

static void make_metrics(struct fuse_haproxy *h)
{
    h->reloads = chassis_counter("fuse_haproxy_reloads_total",
                                 "New configurations HAProxy was given.", NULL, 0);
    h->refused = chassis_counter("fuse_haproxy_refused_total",
                                 "Configurations HAProxy refused when it checked them.", NULL, 0);
    h->commands = chassis_counter("fuse_haproxy_commands_total",
                                  "Commands HAProxy's runtime socket was given.", NULL, 0);
    h->restarts = chassis_counter("fuse_haproxy_restarts_total",
                                  "How often HAProxy was found dead and started again.", NULL, 0);
    static const char *const kinds[] = {"configuration", "servers"};
    for (unsigned i = 0; i < 2; i++) {
        struct chassis_label label = {"kind", kinds[i]};
        h->apply_time[i] =
            chassis_histogram("fuse_haproxy_apply_seconds", "From a change to HAProxy having it.",
                              NULL, 0, &label, 1);
    }
}

int fuse_haproxy_open(const struct fuse_haproxy_options *options, struct fuse_haproxy **ret_haproxy,
                      struct chassis_error *err)
{
    size_t len = strlen(options->directory);
    if (options->directory[0] != '/' || len > FUSE_PLAN_DIRECTORY_MAX ||
        !fuse_text_is_plain(options->directory)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "directory of haproxy '%s': must be absolute and at most %d bytes",
                                 options->directory, FUSE_PLAN_DIRECTORY_MAX);
    }
    if (mkdir(options->directory, 0700) != 0 && errno != EEXIST) {
        return chassis_error_code(err, -errno, "make directory of haproxy '%s'",
                                  options->directory);
    }
    struct fuse_haproxy *h = chassis_base_zalloc(sizeof *h);
    h->options = *options;
    h->directory = chassis_base_strdup(options->directory);
    h->program = chassis_base_strdup(options->program);
    h->options.directory = h->directory;
    h->options.program = h->program;
    h->loop = chassis_loop_executor(options->loop);
    h->turn.run = on_turn;
    h->watch.run = on_watch;
    h->must_look = h->changed = true;
    h->has_dns = access("/etc/resolv.conf", R_OK) == 0;
    make_metrics(h);
    h->proxy.ops = &haproxy_proxy_ops;
    fuse_proxies_add(options->proxies, &h->proxy, "haproxy");
    *ret_haproxy = h;
    return 0;
}

void fuse_haproxy_ready(struct fuse_haproxy *h)
{
    h->ready = true;
    chassis_post_after(h->loop, &h->watch, WATCH_MS * CHASSIS_NS_PER_MS);
    haproxy_turn_soon(h);
}

void fuse_haproxy_close(struct fuse_haproxy *h, void (*closed)(void *data), void *data)
{
    h->closing = true;
    h->closed = closed;
    h->closed_data = data;
    haproxy_turn_soon(h);
}
