#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "fuse/haproxy/process.h"
#include "fuse/haproxy/render.h"
#include "fuse/haproxy/runtime.h"

enum {
    START_TIMEOUT_MS = 10000,
    RELOAD_TIMEOUT_MS = 60000,
    STOP_TIMEOUT_MS = 5000,
    LOOK_EVERY_MS = 5
};

/* ---- master ---- */

static void socket_path(const char *directory, const char *name, char ret_path[256])
{
    snprintf(ret_path, 256, "%s/%s", directory, name);
}

/* "<pid> master <reloads> [failed: <n>] <uptime> <version>", "<pid> worker …"; old workers stand behind
 * "# old workers". */
static void parse(const char *text, struct fuse_master *m)
{
    bool old = false;
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += line[0] == '\n';
        char kind[16] = "", uptime[32] = "", version[64] = "";
        unsigned long pid = 0, reloads = 0, failed = 0;
        if (strncmp(line, "# old workers", 13) == 0) {
            old = true;
        } else if (strncmp(line, "# ", 2) == 0) {
            old = false;
        } else if (sscanf(line, "%lu %15s %lu", &pid, kind, &reloads) < 3) {
            continue;
        } else if (strcmp(kind, "master") == 0) {
            m->pid = (pid_t)pid;
            m->reloads = reloads;
            if (sscanf(line, "%*u %*s %*u [failed: %lu] %31s %63s", &failed, uptime, version) ==
                3) {
                m->failed = failed;
                memcpy(m->version, version, sizeof version);
            }
        } else if (strcmp(kind, "worker") == 0 && !old) {
            m->worker = (pid_t)pid;
        } else if (strcmp(kind, "worker") == 0 && m->n_old < FUSE_MASTER_OLD_MAX) {
            m->old[m->n_old++] = (pid_t)pid;
        }
    }
}

int fuse_master_look(const char *directory, struct fuse_master *ret_master,
                     struct chassis_error *err)
{
    char path[256];
    struct chassis_buf answer = {0};
    socket_path(directory, FUSE_PLAN_MASTER_SOCKET, path);
    int rc = fuse_runtime_ask(path, "show proc", &answer, err);
    if (rc != 0) {
        return rc;
    }
    struct fuse_master master = {0};
    parse((const char *)answer.data, &master);
    chassis_buf_fini(&answer);
    if (master.pid == 0) {
        return chassis_error_set(err, CHASSIS_UNAVAILABLE,
                                 "haproxy's socket '%s': no master answers", path);
    }
    *ret_master = master;
    return 0;
}

/* The worker behind the runtime socket is this one: the socket was handed over. */
static bool worker_answers(const char *directory, pid_t pid)
{
    char path[256], value[32] = "";
    socket_path(directory, FUSE_PLAN_RUNTIME_SOCKET, path);
    struct chassis_buf answer = {0};
    bool answers = fuse_runtime_ask(path, "show info", &answer, NULL) == 0 &&
                   fuse_runtime_info((const char *)answer.data, "Pid", value, sizeof value) &&
                   strtol(value, NULL, 10) == pid;
    chassis_buf_fini(&answer);
    return answers;
}

int fuse_master_await(const char *directory, struct fuse_master *ret_master,
                      struct chassis_error *err)
{
    struct fuse_master now = {0};
    int rc = -1;
    for (int waited = 0; waited < START_TIMEOUT_MS; waited += LOOK_EVERY_MS) {
        rc = fuse_master_look(directory, &now, err);
        if (rc == 0 && now.worker != 0 && worker_answers(directory, now.worker)) {
            *ret_master = now;
            return 0;
        }
        poll(NULL, 0, LOOK_EVERY_MS); /* there is nothing to wait on */
    }
    return rc != 0 ? rc
                   : chassis_error_set(err, CHASSIS_DEADLINE_EXCEEDED,
                                       "haproxy (process %ld) has no worker that answers",
                                       (long)now.pid);
}

int fuse_master_reload(const char *directory, struct fuse_master *ret_master,
                       struct chassis_error *err)
{
    struct fuse_master before = {0}, now = {0};
    struct chassis_buf answer = {0};
    char path[256];
    int rc = fuse_master_look(directory, &before, err);
    if (rc != 0) {
        return rc;
    }
    socket_path(directory, FUSE_PLAN_MASTER_SOCKET, path);
    rc = fuse_runtime_ask(path, "reload", &answer, err);
    chassis_buf_fini(&answer);
    for (int waited = 0; rc == 0 && waited < RELOAD_TIMEOUT_MS; waited += LOOK_EVERY_MS) {
        poll(NULL, 0, LOOK_EVERY_MS); /* there is nothing to wait on */
        if (fuse_master_look(directory, &now, NULL) != 0 || now.reloads == before.reloads) {
            continue; /* it executes itself anew */
        }
        if (now.failed != 0) {
            return chassis_error_set(
                err, CHASSIS_FAILED_PRECONDITION,
                "haproxy could not use the configuration it had checked; is an "
                "address of a listener taken?");
        }
        if (now.worker != 0 && now.worker != before.worker &&
            worker_answers(directory, now.worker)) {
            *ret_master = now;
            return 0;
        }
    }
    return rc != 0 ? rc
                   : chassis_error_set(err, CHASSIS_DEADLINE_EXCEEDED,
                                       "haproxy (process %ld) did not reload within %d s",
                                       (long)before.pid, RELOAD_TIMEOUT_MS / 1000);
}

/* The first bytes of a small file as a text; its zeros become spaces. */
static bool read_text(const char *path, char *ret_text, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    size_t n = fread(ret_text, 1, size - 1, file);
    fclose(file);
    for (size_t i = 0; i < n; i++) {
        ret_text[i] = (char)(ret_text[i] != '\0' ? ret_text[i] : ' ');
    }
    ret_text[n] = '\0';
    return n != 0;
}

bool fuse_process_lives(pid_t pid, unsigned long long *start_time)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    if (!read_text(path, text, sizeof text)) {
        return false;
    }
    const char *rest = strrchr(text, ')'); /* the name may have anything in it */
    if (rest == NULL || rest[1] == '\0') {
        return false;
    }
    char state = rest[2];
    for (unsigned field = 2; field < 22 && rest != NULL; field++) {
        rest = strchr(rest + 1, ' '); /* proc(5): the 22nd is the time of its start */
    }
    unsigned long long started = rest != NULL ? strtoull(rest, NULL, 10) : 0;
    *start_time = *start_time == 0 ? started : *start_time;
    return state != 'Z' && state != 'X' && started == *start_time;
}

pid_t fuse_master_of_file(const char *directory)
{
    char path[256], text[2048], config[256];
    snprintf(path, sizeof path, "%s/haproxy.pid", directory);
    if (!read_text(path, text, sizeof text)) {
        return 0;
    }
    long pid = strtol(text, NULL, 10);
    unsigned long long started = 0;
    snprintf(path, sizeof path, "/proc/%ld/cmdline", pid);
    snprintf(config, sizeof config, " %s/haproxy.cfg ",
             directory); /* else its number is another's */
    bool ours = pid > 1 && fuse_process_lives((pid_t)pid, &started) &&
                read_text(path, text, sizeof text) && strstr(text, config) != NULL;
    return ours ? (pid_t)pid : 0;
}

void fuse_master_stop(pid_t pid)
{
    unsigned long long started = 0;
    if (!fuse_process_lives(pid, &started)) {
        return;
    }
    kill(pid, SIGTERM);
    for (int waited = 0; waited < STOP_TIMEOUT_MS; waited += LOOK_EVERY_MS) {
        if (!fuse_process_lives(pid, &started)) {
            return;
        }
        poll(NULL, 0, LOOK_EVERY_MS);
    }
    kill(pid, SIGKILL);
}

/* ---- runs ---- */

struct fuse_run {
    struct chassis_child *child;
    void (*done)(bool fine, const char *words, void *data);
    void *data;
    bool cancelled;
    char directory[FUSE_PLAN_DIRECTORY_MAX + 1];
    struct chassis_buf words;
};

/* "[ALERT]    (123) : config : parsing [/dir/next.cfg:7] : …" → "parsing [next.cfg:7] : …" */
static void on_line(struct chassis_child *child, enum chassis_child_stream stream,
                    struct chassis_view line, void *data)
{
    struct fuse_run *run = data;
    char text[1024];
    snprintf(text, sizeof text, "%.*s", CHASSIS_VIEW_ARG(line));
    const char *rest = text;
    if (strncmp(rest, "[NOTICE]", 8) == 0 || strncmp(rest, "[WARNING]", 9) == 0 ||
        strstr(rest, "rror(s) found in configuration file") != NULL ||
        strstr(rest, "Fatal errors found in configuration") != NULL ||
        run->words.len >= FUSE_WORDS_MAX - 1) {
        return;
    }
    const char *colon = strstr(rest, ") : ");
    if (rest[0] == '[' && colon != NULL) {
        rest = colon + 4;
        rest += strncmp(rest, "config : ", 9) == 0 ? 9 : 0;
    }
    if (run->words.len != 0) {
        chassis_buf_append_byte(&run->words, '\n');
    }
    size_t len = strlen(run->directory);
    for (; *rest != '\0' && run->words.len < FUSE_WORDS_MAX - 1; rest++) {
        if (strncmp(rest, run->directory, len) == 0 && rest[len] == '/') {
            rest += len; /* of the slash the loop is rid */
            continue;
        }
        chassis_buf_append_byte(&run->words, (uint8_t)*rest);
    }
}

static void on_exited(struct chassis_child *child, int exit_code, int signal, void *data)
{
    struct fuse_run *run = data;
    if (!run->cancelled) {
        char end[64];
        snprintf(end, sizeof end, signal != 0 ? "ended by signal %d" : "ended with status %d",
                 signal != 0 ? signal : exit_code);
        run->done(exit_code == 0 && signal == 0,
                  run->words.len != 0 ? (const char *)run->words.data : end, run->data);
    }
    chassis_buf_fini(&run->words);
    free(run);
}

int fuse_run_start(const struct fuse_run_options *o, struct fuse_run **ret_run,
                   struct chassis_error *err)
{
    char file[512], pid_file[512], master[512];
    snprintf(file, sizeof file, "%s/%s", o->directory, o->file);
    snprintf(pid_file, sizeof pid_file, "%s/haproxy.pid", o->directory);
    snprintf(master, sizeof master, "%s/%s,mode,600", o->directory, FUSE_PLAN_MASTER_SOCKET);
    const char *check[] = {o->program, "-c", "-f", file, NULL};
    const char *start[] = {o->program, "-W", "-D", "-f", file, "-p", pid_file, "-S", master, NULL};
    struct fuse_run *run = chassis_base_zalloc(sizeof *run);
    run->done = o->done;
    run->data = o->data;
    snprintf(run->directory, sizeof run->directory, "%s", o->directory);
    struct chassis_child_options child = {.argv = o->check ? check : start,
                                          .own_group = true,
                                          .line = on_line,
                                          .exited = on_exited,
                                          .data = run};
    int rc = chassis_child_spawn(o->loop, &child, &run->child, err);
    if (rc != 0) {
        free(run);
        return rc;
    }
    *ret_run = run;
    return 0;
}

void fuse_run_cancel(struct fuse_run *run)
{
    run->cancelled = true;
    chassis_child_kill(run->child, SIGKILL);
}
