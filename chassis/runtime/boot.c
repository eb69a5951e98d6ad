/* The stages of a boot, in order; closing runs those that were started backwards. */
#include "base/fault.h"
#include "runtime/internal.h"

/* Runners start before anything listens: no call is served before what serves it is there. */
static const struct stage {
    const char *name;
    int (*start)(struct chassis *c, struct chassis_error *err);
    void (*stop)(struct chassis *c); /* NULL = nothing to close */
} stages[] = {
    {"log", stage_log, NULL},
    {"loop", stage_loop, unstage_loop},
    {"secrets", stage_secrets, unstage_secrets},
    {"tls", stage_tls, unstage_tls},
    {"workers", stage_workers, unstage_workers},
    {"repositories", stage_repositories, unstage_repositories},
    {"consensus", stage_cluster, unstage_cluster},
    {"rpc", stage_server, unstage_server},
    {"registry", stage_registry, unstage_registry},
    {"brokers", stage_brokers, unstage_brokers},
    {"runners", stage_runners, unstage_runners},
    {"listen", stage_listen, NULL},
    {"http", stage_http, unstage_http},
    {"ports", stage_ports, NULL},
    {"join", stage_cluster_start, NULL},
    {"subscriptions", stage_subscriptions, unstage_subscriptions},
    {"ready", stage_ready, unstage_ready},
    {"register", stage_register, NULL},
    {"routes", stage_routes, unstage_routes},
};
enum { N_STAGES = sizeof stages / sizeof stages[0] };

static void close_from(struct chassis *c, unsigned n)
{
    while (n-- > 0) {
        if (stages[n].stop != NULL) {
            chassis_log_debug(c->log, "closing", chassis_f_str("stage", stages[n].name));
            stages[n].stop(c);
        }
    }
}

static bool stop_asked(struct chassis *c)
{
    pthread_mutex_lock(&c->mutex);
    bool asked = c->stop_asked;
    pthread_mutex_unlock(&c->mutex);
    return asked;
}

int runtime_boot(struct chassis *c, struct chassis_error *err)
{
    for (unsigned i = 0; i < N_STAGES; i++) {
        int rc = stop_asked(c) ? chassis_error_set(err, CHASSIS_CANCELLED, "told to stop") : 0;
        if (rc == 0 && CHASSIS_FAULT("runtime.stage")) {
            rc = chassis_error_set(err, CHASSIS_INTERNAL, "fault injected");
        }
        rc = rc == 0 ? stages[i].start(c, err) : rc;
        if (rc != 0) {
            chassis_error_wrap(err, "%s", stages[i].name);
            close_from(c, i);
            return rc;
        }
        chassis_log_debug(
            c->log, "stage done", chassis_f_str("stage", stages[i].name),
            chassis_f_u64("since_start_us", (chassis_os_monotonic_ns() - c->booted_ns) / 1000));
    }
    return 0;
}

void runtime_unboot(struct chassis *c)
{
    close_from(c, N_STAGES);
}
