/* What services of the platform itself need of the runtime beyond <chassis/chassis.h>.
 *
 * Threads: the chassis_runtime_with_* functions before chassis_run on the main thread; the rest as
 * marked.
 */
#ifndef CHASSIS_RUNTIME_RUNTIME_H
#define CHASSIS_RUNTIME_RUNTIME_H

#include <chassis/chassis.h>

#include "auth/auth.h"
#include "proto/message.h"
#include "runtime/settings.h"

struct chassis_server;
struct chassis_loop;

/* How bearer tokens are verified: see rpc/server.h. */
void chassis_runtime_with_token_verifier(struct chassis *c,
                                         int (*verify)(void *data, const char *token,
                                                       struct chassis_auth_claims *ret_claims,
                                                       struct chassis_error *err),
                                         void *data);
/* A message type that may stand in an Any of JSON callers. */
void chassis_runtime_with_type(struct chassis *c, const ProtobufCMessageDescriptor *type);
/* Messages of `file` and what it imports may stand in an Any of JSON callers, beside those of the
 * files of the registered services, which are known anyway. */
void chassis_runtime_with_file(struct chassis *c, const struct chassis_file_descriptor *file);
/* HTTP on bind_port + `offset` instead of + 1, unless configured. */
void chassis_runtime_with_http_offset(struct chassis *c, unsigned offset);
/* Before chassis_run: defaults of keys that this service sets otherwise ("service.network.bind_port",
 * "2221"). Strings are borrowed. */
void chassis_runtime_with_default(struct chassis *c, const char *key, const char *value);

/* `drain` runs on the loop role when draining begins: end long-lived streams with
 * CHASSIS_SHUTTING_DOWN there, or they hold up the drain for the whole grace time. */
void chassis_runtime_with_drain(struct chassis *c, void (*drain)(void *data), void *data);

/* `close` runs on the loop role after the runners stopped: for what needs the loop to close, such as a
 * journal. It calls `closed` once, at once or later, from any role; everything else waits for that. */
void chassis_runtime_with_closer(struct chassis *c,
                                 void (*close)(void *data, void (*closed)(void *closed_data),
                                               void *closed_data),
                                 void *data);

/* Instead of chassis_run, after the same chassis_with_… calls: make the data directory of a new
 * cluster's node from a backup; see consensus/restore.h. `id`: what the first node printed, NULL on
 * the first. Prints what was done or why not, frees `c`, returns the exit code. */
int chassis_runtime_restore(struct chassis *c, const char *file, const char *id);

/* From the first runner on, any thread. */
const struct chassis_settings *chassis_runtime_settings(struct chassis *c);
struct chassis_server *chassis_runtime_server(struct chassis *c);
/* The loop itself, for who starts processes. */
struct chassis_loop *chassis_runtime_loop(struct chassis *c);
/* brokers.<kind>.url; NULL when it is not set. */
const char *chassis_runtime_broker_url(struct chassis *c, const char *kind);
/* As chassis_client, with callbacks on `executor`. */
int chassis_runtime_client(struct chassis *c, const char *target, struct chassis_executor *executor,
                           struct chassis_client **ret_client, struct chassis_error *err);
/* The pid Blueprint gave this process; false while it is not registered. */
bool chassis_runtime_pid(struct chassis *c, char ret_pid[64]);
/* Any thread: the process cannot go on. It drains and ends with 1. */
void chassis_runtime_fail(struct chassis *c, const char *text);
/* The cluster's secret; empty without consensus. */
struct chassis_view chassis_runtime_cluster_secret(struct chassis *c);
/* Ready as /readyz says. */
bool chassis_runtime_is_ready(struct chassis *c);

#endif
