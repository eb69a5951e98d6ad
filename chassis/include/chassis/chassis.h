/* The chassis: turns plain C functions into a production service.
 *
 *     int main(int argc, char **argv)
 *     {
 *         struct chassis *c = chassis_new("echo", argc, argv);
 *         chassis_with_rpc_handler(c, echo_service(&handlers, NULL));
 *         chassis_register(c, "examples", NULL, 0);
 *         return chassis_run(c);
 *     }
 *
 * chassis_new reads configuration and command line; the chassis_with_* functions say what the
 * service is made of; chassis_run boots stage by stage (log, store, consensus, listeners, registry),
 * serves until SIGINT or SIGTERM, then drains: leaves the registry, stops accepting, finishes calls
 * within the grace time, hands over leadership and closes the rest in reverse order.
 *
 * Invariants: chassis_with_* only before chassis_run; a wrong configuration is reported in full on
 * standard error and ends chassis_run with 2 before anything is opened.
 * Threads: build and run on the main thread; accessors from any after boot.
 * Ownership: chassis_run frees the chassis; what is given to chassis_with_* must outlive it.
 */
#ifndef CHASSIS_CHASSIS_H
#define CHASSIS_CHASSIS_H

#include <chassis/arena.h>
#include <chassis/buf.h>
#include <chassis/call.h>
#include <chassis/client.h>
#include <chassis/config.h>
#include <chassis/consensus.h>
#include <chassis/error.h>
#include <chassis/executor.h>
#include <chassis/http_route.h>
#include <chassis/log.h>
#include <chassis/message.h>
#include <chassis/metrics.h>
#include <chassis/plugin/broker.h>
#include <chassis/plugin/log_sink.h>
#include <chassis/plugin/repository.h>
#include <chassis/plugin/secret_store.h>
#include <chassis/route.h>
#include <chassis/service.h>
#include <chassis/uuid.h>

struct chassis;

/* Never NULL. `--help`, `--version`, `--check-config` and `--print-config` are answered by
 * chassis_run. */
struct chassis *chassis_new(const char *name, int argc, char **argv);
/* Further keys of the service's own, filled into `config` before chassis_run's callbacks run. */
void chassis_with_config(struct chassis *c, const struct chassis_config_key *table, void *config);
void chassis_with_rpc_handler(struct chassis *c, struct chassis_service service);
void chassis_with_consensus(struct chassis *c, const struct chassis_state_machine *machine);
/* A store of the service's own, opened at boot: repositories.<kind>.path … */
void chassis_with_repository(struct chassis *c, const struct chassis_repository *repository,
                             const char *const *tables, unsigned n_tables);
/* A message broker, opened at boot if brokers.<kind>.url is set: chassis_broker(c, kind). */
void chassis_with_broker(struct chassis *c, const struct chassis_broker_plugin *plugin);
/* Events of `type`, from before READY until draining; see <chassis/plugin/broker.h>. What `options`
 * (may be NULL) points to is borrowed. Without brokers.<kind>.url the boot fails. */
void chassis_with_subscription(struct chassis *c, const char *kind, const char *type,
                               const struct chassis_subscribe_options *options,
                               chassis_event_fn handler, void *data);
void chassis_with_secret_store(struct chassis *c, struct chassis_secret_store *store);
void chassis_with_log_sink(struct chassis *c, struct chassis_log_sink *sink);
/* One file of an embedded single-page application; unknown paths fall back to "/index.html". */
struct chassis_web_file {
    const char *path; /* "/index.html" */
    const char *content_type;
    const void *data;
    size_t len;
};
void chassis_with_client_application(struct chassis *c, const struct chassis_web_file *files,
                                     size_t n);
/* HTTP of the service's own: <chassis/http_route.h>. Copied; its texts are borrowed. */
void chassis_with_http_route(struct chassis *c, const struct chassis_http_route *route);
/* `start` runs on the loop role once everything is open and before READY; non-zero ends the boot
 * with `err`. `stop` (may be NULL) runs there while draining, after the last call ended. */
struct chassis_runner {
    int (*start)(struct chassis *c, void *data, struct chassis_error *err);
    void (*stop)(struct chassis *c, void *data);
    void *data;
};
void chassis_with_runner(struct chassis *c, const struct chassis_runner *runner);
/* Further readiness: READY only when all return true. Polled on the loop role. */
void chassis_with_readiness(struct chassis *c, const char *name, bool (*ready)(void *data),
                            void *data);

struct chassis_metadata_pair {
    const char *key, *value;
};
/* Register with Blueprint (service.entrypoint) under `group` and stay registered. */
void chassis_register(struct chassis *c, const char *group,
                      const struct chassis_metadata_pair *metadata, size_t n);
/* Requests from outside that come here, told to Fuse while the process runs: <chassis/route.h>.
 * Copied; its texts are borrowed. */
void chassis_with_route(struct chassis *c, const struct chassis_route *route);
/* Blocks; returns the process' exit code: 0 drained, 1 failed, 2 wrong configuration or usage. */
int chassis_run(struct chassis *c);
/* Begin draining, as SIGTERM does. From any thread. */
void chassis_stop(struct chassis *c);

/* Valid inside runners, handlers and callbacks. */
struct chassis_executor *chassis_loop(struct chassis *c);
struct chassis_executor *chassis_workers(struct chassis *c);
struct chassis_consensus *chassis_consensus(struct chassis *c); /* NULL without */
struct chassis_store *chassis_repository(struct chassis *c, const char *kind);
struct chassis_broker *chassis_broker(struct chassis *c, const char *kind); /* NULL: no url */
int chassis_secret(struct chassis *c, const char *name, struct chassis_buf *ret_secret,
                   struct chassis_error *err);
struct chassis_logger *chassis_logger(struct chassis *c);
/* A client of another service by name ("echo") or fixed addresses, with the chassis' TLS and token.
 * Freed by the chassis. */
int chassis_client(struct chassis *c, const char *target, struct chassis_client **ret_client,
                   struct chassis_error *err);
/* host:port at which others reach this process, valid from READY on. */
const char *chassis_rpc_address(struct chassis *c);
const char *chassis_http_address(struct chassis *c);

#endif
