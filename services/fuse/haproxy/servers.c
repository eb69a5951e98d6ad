#include <stdio.h>
#include <stdlib.h>

#include "fuse/haproxy/internal.h"

enum { TRIES_MAX = 3 };

/* First who answers, so that commands never reach a worker they were not meant for; at the end the
 * removals to workers that are ending: they may still take a request. */
static void work_commands(struct fuse_haproxy_job *job)
{
    struct fuse_haproxy *h = job->haproxy;
    char path[256], value[32] = "";
    snprintf(path, sizeof path, "%s/%s", h->directory, FUSE_PLAN_RUNTIME_SOCKET);
    job->rc = fuse_runtime_run(path, &job->commands, &job->err);
    const char *first = fuse_runtime_next(&job->commands, "");
    if (job->rc == 0 && (first == NULL || !fuse_runtime_info(first, "Pid", value, sizeof value) ||
                         strtol(value, NULL, 10) != job->master.worker)) {
        job->rc = chassis_error_set(&job->err, CHASSIS_UNAVAILABLE, "another worker answered: '%s'",
                                    value);
    }
    if (job->rc != 0 || job->removals.n == 0 || job->master.n_old == 0 ||
        fuse_master_look(h->directory, &job->master, NULL) != 0) {
        return;
    }
    snprintf(path, sizeof path, "%s/%s", h->directory, FUSE_PLAN_MASTER_SOCKET);
    for (unsigned i = 0; i < job->master.n_old; i++) {
        const char *line = (const char *)job->removals.commands.data;
        for (unsigned k = 0; k < job->removals.n; k++) {
            char command[1024];
            struct chassis_buf answer = {0};
            size_t len = strcspn(line, "\n");
            snprintf(command, sizeof command, "@!%ld %.*s", (long)job->master.old[i], (int)len,
                     line);
            fuse_runtime_ask(path, command, &answer, NULL); /* it may have ended by now */
            chassis_buf_fini(&answer);
            line += len + 1;
        }
    }
}

/* The first answer that is not what it should be; NULL = none. */
static const char *complaint(const struct fuse_haproxy_job *job)
{
    const char *answer = fuse_runtime_next(&job->commands, "");
    for (unsigned i = 1; i < job->commands.n; i++) {
        answer = fuse_runtime_next(&job->commands, answer);
        if (answer == NULL || !fuse_live_answer_is_fine(answer)) {
            return answer != NULL ? answer : "";
        }
    }
    return NULL;
}

static void on_commands(struct fuse_haproxy *h, struct fuse_haproxy_job *job)
{
    struct fuse_haproxy_track *track = &h->servers_track;
    const char *words = job->rc != 0 ? job->err.text : complaint(job);
    if (job->rc == 0) {
        h->master.n_old = job->master.n_old;
        memcpy(h->master.old, job->master.old, sizeof h->master.old);
    }
    if (words == NULL) {
        h->servers_failed = 0;
        haproxy_track_acked(h, track);
        uint64_t took = chassis_now_ns(h->loop) - track->begun_ns;
        chassis_histogram_observe(h->apply_time[1], (double)took / CHASSIS_NS_PER_S);
        chassis_log_debug(h->options.log, "haproxy has its servers",
                          chassis_f_u64("commands", job->commands.n - 1));
        return;
    }
    haproxy_track_refused(h, track, words);
    chassis_log_warn(h->options.log, "haproxy did not take commands for its servers",
                     chassis_f_str("words", words));
    h->must_look = true; /* what has it now? */
    if (++h->servers_failed >= TRIES_MAX) {
        h->servers_failed = 0;
        h->changed = h->force = true; /* a new configuration says it all */
    }
}

void haproxy_servers(struct fuse_haproxy *h)
{
    struct fuse_haproxy_job *job = &h->servers;
    const struct fuse_model *model = fuse_view_model(h->options.view);
    fuse_runtime_fini(&job->commands);
    fuse_runtime_fini(&job->removals);
    fuse_runtime_add(&job->commands, "show info");
    struct fuse_live_change change = {.commands = &job->commands, .removals = &job->removals};
    for (unsigned i = 0; i < h->plan->pools.n; i++) {
        if (h->pool_changed[i]) {
            h->pool_changed[i] = false;
            fuse_live_change(h->live, i, model, &change);
        }
    }
    h->servers_changed = false;
    if (change.needs_configuration) {
        h->changed = h->force = true;
        haproxy_turn_soon(h);
    }
    haproxy_track_sent(h, &h->servers_track, fuse_model_revision(model), 0);
    if (job->commands.n == 1) {
        haproxy_track_acked(h, &h->servers_track);
        return;
    }
    chassis_counter_add(h->commands, job->commands.n - 1);
    job->master = h->master;
    haproxy_job_post(h, job, work_commands, on_commands);
}
