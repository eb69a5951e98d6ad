/* Clusters: what stands behind a target, and how a proxy treats it. */
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"
#include "fuse/xds/message.h"
#include "fuse/xds/names.h"
#include "fuse/xds/part.h"

#include <chassis/message.h>

/* Endpoints come by EDS, under the name of the cluster without policies. */
static void discover_by_eds(CLUSTER(Cluster) * cluster, const char *endpoints,
                            struct chassis_arena *arena)
{
    CLUSTER(Cluster__EdsClusterConfig) *eds = fuse_message_new(
        arena, &envoy__config__cluster__v3__cluster__eds_cluster_config__descriptor);
    eds->eds_config = fuse_message_ads(arena);
    if (strcmp(endpoints, cluster->name) != 0) {
        eds->service_name = fuse_message_text(endpoints);
    }
    cluster->eds_cluster_config = eds;
    cluster->type = ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS;
}

/* The proxy asks DNS itself: one endpoint, by name. */
static void discover_by_dns(CLUSTER(Cluster) * cluster, const char *host, uint16_t port,
                            struct chassis_arena *arena)
{
    ENDPOINT(Endpoint) *endpoint =
        fuse_message_new(arena, &envoy__config__endpoint__v3__endpoint__descriptor);
    endpoint->address = fuse_message_address(arena, host, port);
    ENDPOINT(LbEndpoint) *lb =
        fuse_message_new(arena, &envoy__config__endpoint__v3__lb_endpoint__descriptor);
    lb->host_identifier_case = ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
    lb->endpoint = endpoint;
    ENDPOINT(LocalityLbEndpoints) *locality =
        fuse_message_new(arena, &envoy__config__endpoint__v3__locality_lb_endpoints__descriptor);
    locality->n_lb_endpoints = 1;
    locality->lb_endpoints = fuse_message_list(arena, lb);
    ENDPOINT(ClusterLoadAssignment) *assignment =
        fuse_message_new(arena, &envoy__config__endpoint__v3__cluster_load_assignment__descriptor);
    assignment->cluster_name = cluster->name;
    assignment->n_endpoints = 1;
    assignment->endpoints = fuse_message_list(arena, locality);
    cluster->load_assignment = assignment;
    cluster->type = ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS;
    cluster->dns_lookup_family =
        ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__V4_PREFERRED;
}

/* HTTP/1.1 is what a proxy speaks when it is told nothing. Upgrades (WebSocket) travel over HTTP/2
 * as extended CONNECT. */
static void speak_http2(CLUSTER(Cluster) * cluster, struct chassis_arena *arena)
{
    CORE(Http2ProtocolOptions) *http2 =
        fuse_message_new(arena, &envoy__config__core__v3__http2_protocol_options__descriptor);
    http2->allow_connect = true;
    UPSTREAM(HttpProtocolOptions__ExplicitHttpConfig) *config = fuse_message_new(
        arena,
        &envoy__extensions__upstreams__http__v3__http_protocol_options__explicit_http_config__descriptor);
    config->protocol_config_case =
        ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP2_PROTOCOL_OPTIONS;
    config->http2_protocol_options = http2;
    UPSTREAM(HttpProtocolOptions) *options = fuse_message_new(
        arena, &envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor);
    options->upstream_protocol_options_case =
        ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG;
    options->explicit_http_config = config;
    CLUSTER(Cluster__TypedExtensionProtocolOptionsEntry) *entry = fuse_message_new(
        arena,
        &envoy__config__cluster__v3__cluster__typed_extension_protocol_options_entry__descriptor);
    entry->key = fuse_message_text(options->base.descriptor->name);
    entry->value = fuse_message_any(arena, &options->base);
    cluster->n_typed_extension_protocol_options = 1;
    cluster->typed_extension_protocol_options = fuse_message_list(arena, entry);
}

static Google__Protobuf__UInt32Value *limit(struct chassis_arena *arena, uint32_t value)
{
    return value != 0 ? fuse_message_u32(arena, value) : NULL;
}

static void break_circuit(CLUSTER(Cluster) * cluster, const struct fuse_breaker *breaker,
                          struct chassis_arena *arena)
{
    CLUSTER(CircuitBreakers__Thresholds) *thresholds = fuse_message_new(
        arena, &envoy__config__cluster__v3__circuit_breakers__thresholds__descriptor);
    thresholds->max_connections = limit(arena, breaker->max_connections);
    thresholds->max_pending_requests = limit(arena, breaker->max_pending_requests);
    thresholds->max_requests = limit(arena, breaker->max_requests);
    thresholds->max_retries = limit(arena, breaker->max_retries);
    cluster->circuit_breakers =
        fuse_message_new(arena, &envoy__config__cluster__v3__circuit_breakers__descriptor);
    cluster->circuit_breakers->n_thresholds = 1;
    cluster->circuit_breakers->thresholds = fuse_message_list(arena, thresholds);
}

/* Only errors in a row count: the proxies' other measure, the share of successes, is on unless it
 * is turned off. */
static void detect_outliers(CLUSTER(Cluster) * cluster, const struct fuse_outlier *outlier,
                            struct chassis_arena *arena)
{
    CLUSTER(OutlierDetection) *detection =
        fuse_message_new(arena, &envoy__config__cluster__v3__outlier_detection__descriptor);
    detection->consecutive_5xx = fuse_message_u32(arena, outlier->consecutive_errors);
    detection->interval = fuse_message_ms(arena, outlier->interval_ms);
    detection->base_ejection_time = fuse_message_ms(arena, outlier->base_ejection_ms);
    detection->max_ejection_percent = fuse_message_u32(arena, outlier->max_ejection_percent);
    detection->enforcing_success_rate = fuse_message_u32(arena, 0);
    cluster->outlier_detection = detection;
}

static void apply_policies(CLUSTER(Cluster) * cluster, const struct fuse_route *route,
                           struct chassis_arena *arena)
{
    if (route->hash_kind != FUSE_HASH_NONE) {
        cluster->lb_policy = ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RING_HASH;
    }
    if (route->breaker.set) {
        break_circuit(cluster, &route->breaker, arena);
    }
    if (route->outlier.set) {
        detect_outliers(cluster, &route->outlier, arena);
    }
}

/* The entry whose target has this cluster of its own, NULL if there is none. */
static const struct fuse_entry *owner(const struct fuse_resource_source *source,
                                      const struct fuse_cluster_name *name)
{
    const struct fuse_entry *entry = fuse_view_route(source->view, name->route);
    return entry != NULL && name->target < entry->route->n_targets &&
                   fuse_route_has_policies(entry->route) &&
                   fuse_target_is_used(entry->route, name->target)
               ? entry
               : NULL;
}

bool fuse_cluster_build(const struct fuse_resource_source *source, const char *name,
                        struct chassis_arena *arena, struct chassis_buf *out,
                        uint64_t *ret_revision)
{
    struct fuse_cluster_name parsed;
    if (!fuse_cluster_parse(fuse_view_model(source->view), name, arena, &parsed)) {
        return false;
    }
    CLUSTER(Cluster) *cluster =
        fuse_message_new(arena, &envoy__config__cluster__v3__cluster__descriptor);
    cluster->name = fuse_message_text(name);
    cluster->cluster_discovery_type_case =
        ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
    uint64_t revision = 0; /* of a shared cluster nothing ever changes */
    const char *endpoints = name;
    if (parsed.kind == FUSE_CLUSTER_OF_ROUTE) {
        const struct fuse_entry *entry = owner(source, &parsed);
        if (entry == NULL) {
            return false;
        }
        const struct fuse_target *target = &entry->route->targets[parsed.target];
        revision = entry->version;
        parsed.http2 = entry->route->http2;
        parsed.service = target->service[0] != '\0' ? target->service : NULL;
        parsed.host = target->host;
        parsed.port = target->port;
        endpoints = fuse_endpoints_name(target, parsed.http2, arena);
        apply_policies(cluster, entry->route, arena);
    }
    if (parsed.service != NULL || fuse_is_ip(parsed.host)) {
        discover_by_eds(cluster, endpoints, arena);
    } else {
        discover_by_dns(cluster, parsed.host, parsed.port, arena);
    }
    if (parsed.http2) {
        speak_http2(cluster, arena);
    }
    chassis_encode(cluster, out);
    *ret_revision = revision;
    return true;
}
