#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "fuse/haproxy/internal.h"
#include "os/disk.h"

/* Workers that are ending make the next reload wait: each new one keeps the old ones' memory alive. */
enum { PER_OLD_WORKER_MS = 250, GAP_MAX_MS = 5000 };
/* 100 ms, 200 ms … 1.6 s */
enum { DEAF_LOOKS_MAX = 5, DEAF_WAIT_MS = 50 };

static void path_of(const struct fuse_haproxy *h, const char *name, char ret_path[256])
{
    snprintf(ret_path, 256, "%s/%s", h->directory, name);
}

/* ---- what runs? ---- */

static void work_look(struct fuse_haproxy_job *job)
{
    const struct fuse_haproxy *h = job->haproxy;
    struct fuse_runtime_batch batch = {0};
    char path[256], text[128] = "", pid[32] = "";
    job->structure = 0;
    job->master = (struct fuse_master){0};
    chassis_buf_clear(&job->state);
    job->rc = fuse_master_look(h->directory, &job->master, &job->err);
    job->deaf = job->rc != 0 ? fuse_master_of_file(h->directory) : 0;
    if (job->rc != 0 || job->master.worker == 0) {
        return;
    }
    path_of(h, FUSE_PLAN_RUNTIME_SOCKET, path);
    fuse_runtime_add(&batch, "show info");
    fuse_runtime_add(&batch, "show servers state");
    if (fuse_runtime_run(path, &batch, &job->err) == 0) {
        const char *info = fuse_runtime_next(&batch, "");
        fuse_runtime_info(info, "description", text, sizeof text);
        if (fuse_runtime_info(info, "Pid", pid, sizeof pid) &&
            strtol(pid, NULL, 10) == job->master.worker) {
            job->structure = fuse_plan_structure_of(text);
            chassis_buf_append_str(&job->state, fuse_runtime_next(&batch, info));
        }
    }
    fuse_runtime_fini(&batch);
}

/* A second one must not be started: it would take the sockets' names and fail at the ports. A master
 * may be busy for a while; one that stays deaf is told to end when its requests have. */
static void on_deaf(struct fuse_haproxy *h, struct fuse_haproxy_job *job)
{
    h->phase = FUSE_HAPROXY_IDLE;
    h->deaf_looks++;
    chassis_log_warn(h->options.log, "haproxy lives but does not answer",
                     chassis_f_i64("process", job->deaf), chassis_f_err(&job->err));
    if (h->deaf_looks > DEAF_LOOKS_MAX) {
        h->deaf_looks = 0;
        h->given_up = job->deaf;
        kill(job->deaf, SIGUSR1);
        return;
    }
    h->look_at_ns = chassis_now_ns(h->loop) + (DEAF_WAIT_MS << h->deaf_looks) * CHASSIS_NS_PER_MS;
}

static void on_looked(struct fuse_haproxy *h, struct fuse_haproxy_job *job)
{
    if (job->deaf != 0 && job->deaf != h->given_up) {
        on_deaf(h, job);
        return;
    }
    h->deaf_looks = 0;
    bool was = h->master.pid == job->master.pid && h->master.pid != 0;
    h->phase = FUSE_HAPROXY_IDLE;
    h->must_look = false;
    h->master = job->master;
    if (h->master.pid == 0) {
        haproxy_forget(h);
        h->changed = true;
        return;
    }
    if (!was) {
        h->start_time = 0;
        fuse_process_lives(h->master.pid, &h->start_time);
        h->connected_ns = h->options.wall_ns(h->options.data);
    }
    if (job->structure == 0) {
        haproxy_forget(h);
        h->changed = h->force = true;
        return;
    }
    struct fuse_plan *plan =
        h->plan != NULL && h->plan->structure == job->structure ? h->plan : NULL;
    if (plan != NULL) {
        h->plan = NULL; /* kept */
        fuse_live_free(h->live);
        h->live = NULL;
    } else {
        plan = haproxy_render(h);
    }
    if (plan == NULL || plan->structure != job->structure) {
        fuse_plan_free(plan);
        haproxy_forget(h);
        h->changed = true;
        return;
    }
    if (!was) {
        chassis_log_info(h->options.log, "took over the running haproxy",
                         chassis_f_i64("process", h->master.pid));
        haproxy_track_sent(h, &h->configuration_track, plan->revision, plan->structure);
        haproxy_track_acked(h, &h->configuration_track);
    }
    haproxy_adopt(h, plan, fuse_live_of_state(plan, (const char *)job->state.data));
}

void haproxy_look(struct fuse_haproxy *h)
{
    h->phase = FUSE_HAPROXY_LOOKING;
    haproxy_job_post(h, &h->main, work_look, on_looked);
}

/* ---- write and check ---- */

struct fuse_plan *haproxy_render(struct fuse_haproxy *h)
{
    struct fuse_plan_options options = {
        .view = h->options.view,
        .statics = h->options.statics,
        .directory = h->directory,
        .has_dns = h->has_dns,
        .hidden = haproxy_hides,
        .data = h,
    };
    struct fuse_plan *plan = NULL;
    struct chassis_error err = {0};
    if (fuse_plan_new(&options, &plan, &err) != 0) {
        haproxy_track_refused(h, &h->configuration_track, err.text);
        chassis_log_error(h->options.log, "no configuration for haproxy", chassis_f_err(&err));
        return NULL;
    }
    return plan;
}

static void work_write(struct fuse_haproxy_job *job)
{
    const struct fuse_haproxy *h = job->haproxy;
    char path[256];
    for (unsigned i = 0; i < job->plan->n_files && job->rc == 0; i++) {
        const struct fuse_plan_file *file = &job->plan->files[i];
        path_of(h, file->name, path);
        if (access(path, R_OK) != 0) { /* else: named by its content */
            job->rc = chassis_disk_replace_file(chassis_disk_posix(), path,
                                                chassis_buf_view(&file->content), &job->err);
        }
    }
    path_of(h, job->file, path);
    if (job->rc == 0) {
        job->rc = chassis_disk_replace_file(chassis_disk_posix(), path,
                                            chassis_buf_view(&job->plan->config), &job->err);
    }
}

static void on_checked(bool fine, const char *words, void *data)
{
    struct fuse_haproxy *h = data;
    h->run = NULL;
    h->trial_done(h, fine, words);
    haproxy_turn_soon(h);
}

static void on_written(struct fuse_haproxy *h, struct fuse_haproxy_job *job)
{
    struct fuse_run_options options = {
        .loop = h->options.loop,
        .program = h->program,
        .directory = h->directory,
        .file = job->file,
        .check = true,
        .done = on_checked,
        .data = h,
    };
    int rc = h->closing ? CHASSIS_CANCELLED : job->rc;
    if (rc == 0) {
        rc = job->rc = fuse_run_start(&options, &h->run, &job->err);
    }
    if (rc != 0 && !h->closing) {
        haproxy_judge_end(h);
        haproxy_again_later(h, "cannot check a configuration of haproxy", job->err.text);
    }
}

void haproxy_try(struct fuse_haproxy *h, struct fuse_plan *plan, const char *file,
                 void (*done)(struct fuse_haproxy *h, bool fine, const char *words))
{
    fuse_plan_free(h->trial);
    h->trial = plan;
    h->trial_done = done;
    h->main.plan = plan;
    snprintf(h->main.file, sizeof h->main.file, "%s", file);
    haproxy_job_post(h, &h->main, work_write, on_written);
}

/* ---- refused ---- */

static void work_discard(struct fuse_haproxy_job *job)
{
    char from[256], to[256];
    path_of(job->haproxy, job->file, from);
    path_of(job->haproxy, "refused.cfg", to);
    chassis_disk_posix()->ops->rename(chassis_disk_posix(), from, to);
    path_of(job->haproxy, "refused.txt", to);
    job->rc = chassis_disk_replace_file(chassis_disk_posix(), to, chassis_buf_view(&job->words),
                                        &job->err);
}

static void on_discarded(struct fuse_haproxy *h, struct fuse_haproxy_job *job)
{
    if (job->rc != 0) {
        chassis_log_warn(h->options.log, "cannot keep the words of haproxy",
                         chassis_f_err(&job->err));
    }
    haproxy_judge_begin(h);
}

static void on_next_checked(struct fuse_haproxy *h, bool fine, const char *words)
{
    h->next = h->trial;
    h->trial = NULL;
    if (fine) {
        h->phase = FUSE_HAPROXY_CHECKED;
        return;
    }
    chassis_counter_add(h->refused, 1);
    haproxy_track_refused(h, &h->configuration_track, words);
    chassis_log_error(h->options.log, "haproxy refuses the new configuration; the old one stays",
                      chassis_f_str("words", words));
    fuse_plan_free(h->next);
    h->next = NULL;
    h->phase = FUSE_HAPROXY_JUDGING;
    chassis_buf_clear(&h->main.words);
    chassis_buf_printf(&h->main.words, "%s\n", words);
    haproxy_job_post(h, &h->main, work_discard, on_discarded);
}

void haproxy_apply(struct fuse_haproxy *h)
{
    bool force = h->force || h->master.pid == 0;
    h->changed = h->force = false;
    haproxy_forgive(h);
    struct fuse_plan *plan = haproxy_render(h);
    if (plan == NULL) {
        return; /* until something changes */
    }
    haproxy_track_sent(h, &h->configuration_track, plan->revision, plan->structure);
    if (h->plan != NULL && plan->structure == h->plan->structure && !force) {
        fuse_plan_free(plan);
        haproxy_track_acked(h, &h->configuration_track);
        return;
    }
    h->phase = FUSE_HAPROXY_CHECKING;
    haproxy_try(h, plan, "next.cfg", on_next_checked);
}

/* ---- take it into use ---- */

/* Files of earlier configurations: nobody reads them any more once a worker runs. */
static void tidy(const struct fuse_haproxy *h, const struct fuse_plan *plan)
{
    DIR *dir = opendir(h->directory);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.'), *dash = strrchr(entry->d_name, '-');
        bool ours = dash != NULL && dot == dash + 17 &&
                    (strcmp(dot, ".map") == 0 || strcmp(dot, ".pem") == 0);
        for (unsigned i = 0; i < plan->n_files && ours; i++) {
            ours = strcmp(plan->files[i].name, entry->d_name) != 0;
        }
        if (ours) {
            unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

static void work_change(struct fuse_haproxy_job *job)
{
    const struct fuse_haproxy *h = job->haproxy;
    struct chassis_disk *disk = chassis_disk_posix();
    char from[256], to[256];
    path_of(h, job->file, from);
    path_of(h, "haproxy.cfg", to);
    job->rc = disk->ops->rename(disk, from, to);
    if (job->rc == 0) {
        job->rc = disk->ops->dir_sync(disk, h->directory);
    }
    if (job->rc != 0) {
        chassis_error_code(&job->err, job->rc, "rename '%s' to '%s'", from, to);
    } else if (job->reload) {
        job->rc = fuse_master_reload(h->directory, &job->master, &job->err);
        if (job->rc == 0) {
            tidy(h, job->plan);
        }
    }
}

static void wait_for_old_workers(struct fuse_haproxy *h)
{
    uint64_t gap_ms = (uint64_t)h->master.n_old * PER_OLD_WORKER_MS;
    gap_ms = gap_ms > GAP_MAX_MS ? GAP_MAX_MS : gap_ms;
    h->not_before_ns = chassis_now_ns(h->loop) + gap_ms * CHASSIS_NS_PER_MS;
    h->backoff_ns = 0;
}

static void in_use(struct fuse_haproxy *h, const struct fuse_master *master)
{
    struct fuse_plan *plan = h->next;
    h->next = NULL;
    h->master = *master;
    h->phase = FUSE_HAPROXY_IDLE;
    haproxy_adopt(h, plan, fuse_live_of_plan(plan));
    haproxy_track_acked(h, &h->configuration_track);
    uint64_t took = chassis_now_ns(h->loop) - h->configuration_track.begun_ns;
    chassis_histogram_observe(h->apply_time[0], (double)took / CHASSIS_NS_PER_S);
    chassis_counter_add(h->reloads, 1);
    wait_for_old_workers(h);
    chassis_log_info(h->options.log, "haproxy has a new configuration",
                     chassis_f_u64("routes", plan->n_routes), chassis_f_u64("pools", plan->pools.n),
                     chassis_f_u64("ms", took / CHASSIS_NS_PER_MS),
                     chassis_f_i64("worker", master->worker));
}

static void work_started(struct fuse_haproxy_job *job)
{
    job->rc = fuse_master_await(job->haproxy->directory, &job->master, &job->err);
    if (job->rc == 0) {
        tidy(job->haproxy, job->plan);
    }
}

static void on_started_look(struct fuse_haproxy *h, struct fuse_haproxy_job *job)
{
    if (job->rc != 0) {
        haproxy_again_later(h, "haproxy started but does not answer", job->err.text);
        fuse_plan_free(h->next);
        h->next = NULL;
        h->must_look = true;
        return;
    }
    h->start_time = 0;
    fuse_process_lives(job->master.pid, &h->start_time);
    h->started_ns = chassis_now_ns(h->loop);
    h->connected_ns = h->options.wall_ns(h->options.data);
    uint64_t backoff = h->backoff_ns;
    in_use(h, &job->master);
    h->backoff_ns = backoff; /* until it has lived for a while */
}

static void on_started(bool fine, const char *words, void *data)
{
    struct fuse_haproxy *h = data;
    h->run = NULL;
    if (fine) {
        h->main.plan = h->next;
        haproxy_job_post(h, &h->main, work_started, on_started_look);
        return;
    }
    haproxy_track_refused(h, &h->configuration_track, words);
    fuse_plan_free(h->next);
    h->next = NULL;
    h->must_look = true;
    haproxy_again_later(h, "haproxy does not start", words);
}

static void on_changed(struct fuse_haproxy *h, struct fuse_haproxy_job *job)
{
    struct fuse_run_options options = {
        .loop = h->options.loop,
        .program = h->program,
        .directory = h->directory,
        .file = "haproxy.cfg",
        .done = on_started,
        .data = h,
    };
    if (job->rc == 0 && job->reload) {
        in_use(h, &job->master);
        return;
    }
    if (h->closing) {
        return;
    }
    if (job->rc == 0) {
        job->rc = fuse_run_start(&options, &h->run, &job->err);
    }
    if (job->rc != 0) {
        haproxy_track_refused(h, &h->configuration_track, job->err.text);
        fuse_plan_free(h->next);
        h->next = NULL;
        h->must_look = true;
        haproxy_again_later(h, "haproxy did not take the new configuration", job->err.text);
    }
}

void haproxy_change(struct fuse_haproxy *h)
{
    h->phase = FUSE_HAPROXY_CHANGING;
    h->main.plan = h->next;
    h->main.reload = h->master.pid != 0;
    haproxy_job_post(h, &h->main, work_change, on_changed);
}
