/* Plain structs of service_discovery to protobuf and back; shared by its view's files.
 *
 * Ownership: messages point into the arena and into what the views given point to.
 */
#ifndef BP_SERVICE_DISCOVERY_CONVERT_H
#define BP_SERVICE_DISCOVERY_CONVERT_H

#include "controller.h"
#include "core/registry/service_discovery/v1/service_discovery.chassis.h"

#define SD(name)      Core__Registry__ServiceDiscovery__V1__##name
#define SD_INIT(name) CORE__REGISTRY__SERVICE_DISCOVERY__V1__##name##__INIT

SD(Process) * bp_sd_process_message(struct chassis_arena *arena, const struct bp_sd_process *p,
                                    int64_t last_seen_ns);
/* CHASSIS_INVALID_ARGUMENT. The chassis' own metadata ("draft.…") fills group, services and HTTP
 * address. */
int bp_sd_details_of(const SD(ClientDetails) * message, struct chassis_arena *arena,
                     struct bp_sd_details *ret_details, struct chassis_error *err);
int bp_sd_filter_of(const SD(Filter) * message, struct bp_sd_filter *ret_filter,
                    struct chassis_error *err);
SD(ClusterDetails) * bp_sd_cluster_message(struct bp_sd *sd, struct chassis_arena *arena);
SD(ProcessEvent) *
    bp_sd_event_message(struct chassis_arena *arena, const struct bp_sd_transition *transition);
/* For bp_watch_options.encode. */
void bp_sd_encode_batch(const struct bp_feed_batch *batch, struct chassis_buf *out);
struct chassis_view bp_sd_actor(struct chassis_call *call);

/* The handlers of Synchronize, in session.c. */
void bp_sd_sync_open(struct chassis_call *call);
void bp_sd_sync_message(struct chassis_call *call, const SD(ClientDetails) * req);
void bp_sd_sync_end(struct chassis_call *call);
/* Query, in query.c. */
void bp_sd_rpc_query(struct chassis_call *call, const SD(QueryRequest) * req);

#endif
