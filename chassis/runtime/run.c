/* chassis_run: from the command line to the last thread's end. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "runtime/internal.h"

enum {
    LEAVE_MS = 2500,   /* for Finalize, while a cluster elects, too */
    LINGER_MS = 250,   /* for callers to hear from the registry that we left */
    OVERDUE_MS = 5000, /* after the grace time: for handlers to end calls that were cancelled */
};

static void move_to(struct chassis *c, enum life_state to)
{
    pthread_mutex_lock(&c->mutex);
    life_move(&c->life, to);
    pthread_mutex_unlock(&c->mutex);
    chassis_log_debug(c->log, "life", chassis_f_str("state", life_name(to)));
}

void chassis_stop(struct chassis *c)
{
    pthread_mutex_lock(&c->mutex);
    c->stop_asked = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->mutex);
}

void chassis_runtime_fail(struct chassis *c, const char *text)
{
    pthread_mutex_lock(&c->mutex);
    bool first = !c->failed;
    c->failed = true;
    pthread_mutex_unlock(&c->mutex);
    if (first) {
        chassis_log_fatal(c->log, "this process ends", chassis_f_str("why", text));
    }
    chassis_stop(c);
}

/* Signals are the loop's: block them before any thread is made, so that all inherit it. */
static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void wait_for_stop(struct chassis *c)
{
    pthread_mutex_lock(&c->mutex);
    while (!c->stop_asked) {
        pthread_cond_wait(&c->changed, &c->mutex);
    }
    pthread_mutex_unlock(&c->mutex);
}

static int run_drains(void *data)
{
    struct chassis *c = data;
    for (unsigned i = 0; i < c->n_drains; i++) {
        c->drains[i].drain(c->drains[i].data);
    }
    return 0;
}

/* A handler that does not look whether its call was cancelled could keep the process for ever. */
static void on_overdue(struct chassis_timer *timer)
{
    struct chassis *c = chassis_container_of(timer, struct chassis, overdue);
    chassis_log_fatal(c->log, "calls do not end although they were cancelled: ending without them",
                      chassis_f_u64("calls", chassis_server_calls_in_flight(c->server)));
    _exit(1);
}

static int watch_overdue(void *data)
{
    struct chassis *c = data;
    c->overdue.run = on_overdue;
    chassis_post_after(chassis_loop(c), &c->overdue,
                       (c->settings.drain_grace_ms + OVERDUE_MS) * CHASSIS_NS_PER_MS);
    return 0;
}

static int unwatch_overdue(void *data)
{
    struct chassis *c = data;
    chassis_cancel(chassis_loop(c), &c->overdue);
    return 0;
}

/* In this order, so that no caller is sent to a process that is about to refuse it: stop being
 * ready, leave the registry, hand over leadership while the others still hear us, serve on until no
 * proxy sends requests any more (each HTTP answer closes its connection), refuse new calls, let those
 * under way finish. Listeners close last. */
static void drain(struct chassis *c)
{
    uint64_t grace_ms = c->settings.drain_grace_ms;
    notify_send("STOPPING=1\nSTATUS=draining");
    ready_refuse(c);
    bool left = true;
    if (c->registry != NULL) {
        chassis_registry_leave(c->registry);
        left = chassis_registry_wait_left(c->registry, LEAVE_MS);
        if (!left) {
            chassis_log_warn(c->log, "Blueprint does not answer: leaving without its word");
        }
    }
    cluster_hand_over(c);
    chassis_http_quiesce(c->http, RUNTIME_WITHDRAW_MS + grace_ms);
    routes_withdraw(c, left);
    chassis_server_refuse(c->server);
    chassis_loop_call(c->loop, watch_overdue, c);
    chassis_http_quiesce(c->http, grace_ms);
    chassis_loop_call(c->loop, run_drains, c);
    if (c->registry != NULL && c->wants_registration) {
        /* Calls that meet a closing connection are unavailable, and not all may be sent again; those
         * that are refused are sent elsewhere, and others after them. */
        poll(NULL, 0, LINGER_MS);
    }
    chassis_server_drain(c->server, grace_ms);
    chassis_loop_call(c->loop, unwatch_overdue, c);
}

void runtime_free(struct chassis *c)
{
    for (size_t i = 0; i < c->n_metadata; i++) {
        free((void *)(uintptr_t)c->metadata[i].key);
        free((void *)(uintptr_t)c->metadata[i].value);
    }
    free(c->metadata);
    free(c->group);
    free(c->files);
    free(c->own_table);
    chassis_dynamic_free(c->types);
    chassis_config_free(c->config);
    chassis_buf_fini(&c->checks_json);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

static int serve(struct chassis *c)
{
    struct chassis_error err = {0};
    int rc = runtime_boot(c, &err);
    if (rc != 0) {
        bool told = rc == CHASSIS_CANCELLED;
        if (told) {
            chassis_log_info(c->log, "stopped while booting");
        } else {
            chassis_log_fatal(c->log, "cannot start", chassis_f_err(&err), chassis_f_code(rc));
        }
        move_to(c, LIFE_CLOSING);
        move_to(c, LIFE_DONE);
        return told ? 0 : rc == CHASSIS_CONFIG ? 2 : 1;
    }
    move_to(c, LIFE_READY);
    notify_send("READY=1");
    wait_for_stop(c);
    move_to(c, LIFE_DRAINING);
    drain(c);
    move_to(c, LIFE_CLOSING);
    runtime_unboot(c);
    move_to(c, LIFE_DONE);
    chassis_log_info(c->log, "ended");
    return c->failed ? 1 : 0;
}

int chassis_run(struct chassis *c)
{
    int result = runtime_load(c);
    if (result < 0) {
        block_signals();
        result = serve(c);
    }
    runtime_free(c);
    return result;
}
