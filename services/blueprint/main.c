/* Blueprint: configuration and registry of a Draft cluster. */
#include <stdio.h>

#include "cluster/rpc.h"
#include "core/control_plane/networking/v1/networking.pb-c.h"
#include "core/registry/key_value/v1/key_value.pb-c.h"
#include "damage.h"
#include "draft/routing/v1/routing.pb-c.h"
#include "events/publisher.h"
#include "key_value/rpc.h"
#include "machine.h"
#include "offline.h"
#include "runtime/runtime.h"
#include "service_discovery/rpc.h"

struct settings {
    uint64_t keep_revisions_ms, ttl_ms, interval_ms, first_report_ms, forget_ms, token_ms;
    int64_t keep_revisions;
    const char *legacy_nonce, *events_stream;
};
static const struct chassis_config_key table[] = {
    {"blueprint.history.revisions", CHASSIS_CONFIG_INT, offsetof(struct settings, keep_revisions),
     "10000", 1, INT64_MAX, NULL, "Revisions that compaction leaves at least.", 0},
    {"blueprint.history.time", CHASSIS_CONFIG_DURATION,
     offsetof(struct settings, keep_revisions_ms), "1h", 1, INT64_MAX, NULL,
     "Age up to which revisions are kept.", 0},
    {"blueprint.registry.ttl", CHASSIS_CONFIG_DURATION, offsetof(struct settings, ttl_ms), "15s",
     100, 86400000, NULL, "Silence after which a process expires.", 0},
    {"blueprint.registry.interval", CHASSIS_CONFIG_DURATION, offsetof(struct settings, interval_ms),
     "5s", 50, 3600000, NULL, "Time between the reports that processes are asked for.", 0},
    {"blueprint.registry.first-report", CHASSIS_CONFIG_DURATION,
     offsetof(struct settings, first_report_ms), "2m", 100, 86400000, NULL,
     "Time to the first report, after which a process is removed.", 0},
    {"blueprint.registry.forget", CHASSIS_CONFIG_DURATION, offsetof(struct settings, forget_ms),
     "10m", 100, INT64_MAX, NULL, "Time an expired process is still listed.", 0},
    {"blueprint.registry.token-life", CHASSIS_CONFIG_DURATION, offsetof(struct settings, token_ms),
     "24h", 1000, 31536000000, NULL,
     "Life of a process's token; one that has lived half of it is renewed.", 0},
    {"blueprint.registry.legacy-nonce", CHASSIS_CONFIG_STRING,
     offsetof(struct settings, legacy_nonce), NULL, 0, 0, NULL,
     "Constant nonce of original clients that is accepted again and again; empty = none.", 0},
    {"blueprint.events.stream", CHASSIS_CONFIG_STRING, offsetof(struct settings, events_stream),
     "blueprint", 0, 0, NULL,
     "Stream of brokers.catalyst.url that changes are published to; empty = none.", 0},
    {0},
};

static struct settings settings;
static struct blueprint blueprint;
static struct bp_cluster cluster;
static struct bp_publisher publisher;
static struct chassis_auth_key *key;

static int start(struct chassis *c, void *data, struct chassis_error *err)
{
    const struct chassis_settings *own = chassis_runtime_settings(c);
    char path[512];
    bp_damage_watch(c);
    snprintf(path, sizeof path, "%s/node.key", own->data_directory);
    int r = chassis_auth_key_open(path, &key, err);
    r = r == 0 ? bp_publisher_start(&publisher, c, &blueprint, settings.events_stream, err) : r;
    if (r != 0) {
        return r;
    }
    bp_blueprint_start(&blueprint,
                       &(struct bp_kv_options){.consensus = chassis_consensus(c),
                                               .loop = chassis_loop(c),
                                               .readers = chassis_workers(c),
                                               .scheme = own->raft_scheme,
                                               .keep_revisions = (uint64_t)settings.keep_revisions,
                                               .keep_ms = settings.keep_revisions_ms},
                       &(struct bp_sd_options){.consensus = chassis_consensus(c),
                                               .loop = chassis_loop(c),
                                               .readers = chassis_workers(c),
                                               .key = key,
                                               .legacy_nonce = settings.legacy_nonce,
                                               .ttl_ms = settings.ttl_ms,
                                               .interval_ms = settings.interval_ms,
                                               .first_report_ms = settings.first_report_ms,
                                               .forget_ms = settings.forget_ms,
                                               .token_ms = settings.token_ms});
    return 0;
}

static void stop(struct chassis *c, void *data)
{
    bp_publisher_stop(&publisher);
    bp_blueprint_stop(&blueprint);
}

int main(int argc, char **argv)
{
    int code;
    if (bp_offline(&argc, argv, &code)) {
        return code;
    }
    struct chassis *c = chassis_new("blueprint", argc, argv);
    struct chassis_state_machine machine = bp_machine(&blueprint);
    bp_cluster_init(&cluster, c);
    blueprint.describe = bp_cluster_describe;
    blueprint.describe_data = &cluster;
    chassis_runtime_with_default(c, "service.network.bind_port", "2221");
    chassis_runtime_with_http_offset(c, 100);
    chassis_with_config(c, table, &settings);
    chassis_runtime_with_type(c, &core__registry__key_value__v1__value__descriptor);
    chassis_runtime_with_type(c, &core__control_plane__networking__v1__route__descriptor);
    chassis_runtime_with_type(c, &draft__routing__v1__route_version__descriptor);
    chassis_runtime_with_type(c, &draft__routing__v1__quarantine__descriptor);
    chassis_with_consensus(c, &machine);
    chassis_with_runner(c, &(struct chassis_runner){start, stop, NULL});
    chassis_with_rpc_handler(c, bp_kv_service(&blueprint.kv));
    chassis_with_rpc_handler(c, bp_sd_service(&blueprint.sd));
    chassis_with_rpc_handler(c, bp_cluster_service(&cluster));
    chassis_with_rpc_handler(c, bp_raft_service(&cluster));
    chassis_runtime_with_drain(c, bp_blueprint_drain, &blueprint);
    code = bp_run(c);
    chassis_auth_key_close(key);
    return code;
}
