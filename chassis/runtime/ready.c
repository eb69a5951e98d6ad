/* Readiness: all checks, polled on the loop; health, /readyz, the registry and the service manager
 * follow it. */
#include <stdio.h>

#include "http/connect.h"
#include "runtime/internal.h"

enum { POLL_MS = 250, POLL_FIRST_MS = 10 };

static bool run_checks(struct chassis *c, struct chassis_buf *json)
{
    bool all = true;
    chassis_buf_append_byte(json, '{');
    for (unsigned i = 0; i < c->n_checks; i++) {
        bool ready = c->checks[i].ready(c->checks[i].data);
        all = all && ready;
        chassis_buf_append_str(json, i != 0 ? "," : "");
        connect_json_string(c->checks[i].name, json);
        chassis_buf_append_str(json, ready ? ":true" : ":false");
    }
    chassis_buf_append_byte(json, '}');
    return all;
}

static void check(struct chassis *c)
{
    struct chassis_buf json = {0};
    bool ready = run_checks(c, &json);
    pthread_mutex_lock(&c->mutex);
    ready = ready && c->life.state <= LIFE_READY;
    bool changed = ready != c->ready;
    c->ready = ready;
    chassis_buf_fini(&c->checks_json);
    c->checks_json = json;
    pthread_mutex_unlock(&c->mutex);
    if (!changed) {
        return;
    }
    chassis_server_set_serving(c->server, "", ready);
    if (c->registry != NULL) {
        chassis_registry_set_healthy(c->registry, ready);
    }
    chassis_log_info(
        c->log, ready ? "ready" : "not ready", chassis_f_str("checks", (const char *)json.data),
        chassis_f_u64("since_start_ms", (chassis_os_monotonic_ns() - c->booted_ns) / 1000000));
    notify_send(ready ? "STATUS=ready" : "STATUS=not ready");
}

static void on_poll(struct chassis_timer *timer)
{
    struct chassis *c = chassis_container_of(timer, struct chassis, poll);
    check(c);
    unsigned ms = chassis_runtime_is_ready(c) ? POLL_MS : POLL_FIRST_MS;
    chassis_post_after(chassis_loop(c), timer, ms * CHASSIS_NS_PER_MS);
}

/* Beaten from the loop: a loop that hangs is a service that hangs. */
static void on_watchdog(struct chassis_timer *timer)
{
    struct chassis *c = chassis_container_of(timer, struct chassis, watchdog);
    notify_send("WATCHDOG=1");
    chassis_post_after(chassis_loop(c), timer, c->watchdog_ns / 2);
}

static int begin(void *data)
{
    struct chassis *c = data;
    c->poll.run = on_poll;
    on_poll(&c->poll);
    c->watchdog_ns = notify_watchdog_ns();
    c->watchdog.run = on_watchdog;
    if (c->watchdog_ns != 0) {
        on_watchdog(&c->watchdog);
    }
    return 0;
}

static int end(void *data)
{
    struct chassis *c = data;
    chassis_cancel(chassis_loop(c), &c->poll);
    chassis_cancel(chassis_loop(c), &c->watchdog);
    return 0;
}

static int check_now(void *data)
{
    check(data);
    return 0;
}

int stage_ready(struct chassis *c, struct chassis_error *err)
{
    if (c->machine != NULL) {
        chassis_with_readiness(c, "consensus", cluster_ready, c);
    }
    return chassis_loop_call(c->loop, begin, c);
}

void unstage_ready(struct chassis *c)
{
    chassis_loop_call(c->loop, end, c);
}

void ready_refuse(struct chassis *c)
{
    chassis_loop_call(c->loop, check_now, c);
}

bool ready_http(void *data, struct chassis_buf *ret_checks)
{
    struct chassis *c = data;
    pthread_mutex_lock(&c->mutex);
    chassis_buf_append_view(ret_checks, chassis_buf_view(&c->checks_json));
    bool ready = c->ready;
    pthread_mutex_unlock(&c->mutex);
    return ready;
}
