#include "base/assert.h"
#include "fuse/xds/names.h"
#include "fuse/xds/route_message.h"

#include <string.h>

/* Bits of fuse_retry.on in Envoy's words, in the order of draft.routing.v1.RetryOn. */
static const char *const retry_words[] = {
    NULL,        "connect-failure",   "reset",    "gateway-error",      "5xx",
    "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
};

static ROUTE(RetryPolicy) * retry_of(const struct fuse_retry *retry, struct chassis_arena *arena)
{
    ROUTE(RetryPolicy) *policy =
        fuse_message_new(arena, &envoy__config__route__v3__retry_policy__descriptor);
    struct chassis_buf words = {0};
    for (size_t i = 1; i < sizeof retry_words / sizeof *retry_words; i++) {
        if (retry->on & 1U << i) {
            chassis_buf_append_str(&words, words.len != 0 ? "," : "");
            chassis_buf_append_str(&words, retry_words[i]);
        }
    }
    policy->retry_on =
        chassis_arena_strndup(arena, words.len != 0 ? (char *)words.data : "", words.len);
    chassis_buf_fini(&words);
    policy->num_retries = fuse_message_u32(arena, retry->retries);
    if (retry->per_try_timeout_ms != 0) {
        policy->per_try_timeout = fuse_message_ms(arena, retry->per_try_timeout_ms);
    }
    if (retry->backoff_base_ms != 0 || retry->backoff_max_ms != 0) {
        enum { BASE_MS = 25 };
        uint64_t base = retry->backoff_base_ms != 0 ? retry->backoff_base_ms : BASE_MS;
        uint64_t most = retry->backoff_max_ms != 0 ? retry->backoff_max_ms : 10 * base;
        policy->retry_back_off = fuse_message_new(
            arena, &envoy__config__route__v3__retry_policy__retry_back_off__descriptor);
        policy->retry_back_off->base_interval = fuse_message_ms(arena, base < most ? base : most);
        policy->retry_back_off->max_interval = fuse_message_ms(arena, most);
    }
    return policy;
}

static void hash_by_header(ROUTE(RouteAction__HashPolicy) * policy, const char *name,
                           struct chassis_arena *arena)
{
    policy->policy_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_HEADER;
    policy->header = fuse_message_new(
        arena, &envoy__config__route__v3__route_action__hash_policy__header__descriptor);
    policy->header->header_name = fuse_message_text(name);
}

static void hash_by_cookie(ROUTE(RouteAction__HashPolicy) * policy, const char *name,
                           struct chassis_arena *arena)
{
    policy->policy_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_COOKIE;
    policy->cookie = fuse_message_new(
        arena, &envoy__config__route__v3__route_action__hash_policy__cookie__descriptor);
    policy->cookie->name = fuse_message_text(name);
}

/* A proxyless client is the only one behind its channel. */
static void hash_by_source(ROUTE(RouteAction__HashPolicy) * policy, enum fuse_audience audience,
                           struct chassis_arena *arena)
{
    if (audience == FUSE_FOR_PROXYLESS) {
        policy->policy_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_FILTER_STATE;
        policy->filter_state = fuse_message_new(
            arena, &envoy__config__route__v3__route_action__hash_policy__filter_state__descriptor);
        policy->filter_state->key = fuse_message_text("io.grpc.channel_id");
        return;
    }
    policy->policy_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_CONNECTION_PROPERTIES;
    policy->connection_properties = fuse_message_new(
        arena,
        &envoy__config__route__v3__route_action__hash_policy__connection_properties__descriptor);
    policy->connection_properties->source_ip = true;
}

static void hash_by_query(ROUTE(RouteAction__HashPolicy) * policy, const char *name,
                          struct chassis_arena *arena)
{
    policy->policy_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_QUERY_PARAMETER;
    policy->query_parameter = fuse_message_new(
        arena, &envoy__config__route__v3__route_action__hash_policy__query_parameter__descriptor);
    policy->query_parameter->name = fuse_message_text(name);
}

static void add_hash(ROUTE(RouteAction) * action, const struct fuse_route *route,
                     enum fuse_audience audience, struct chassis_arena *arena)
{
    if (route->hash_kind == FUSE_HASH_NONE) {
        return;
    }
    ROUTE(RouteAction__HashPolicy) *policy =
        fuse_message_new(arena, &envoy__config__route__v3__route_action__hash_policy__descriptor);
    switch (route->hash_kind) {
    case FUSE_HASH_NONE:
        break;
    case FUSE_HASH_HEADER:
        hash_by_header(policy, route->hash_name, arena);
        break;
    case FUSE_HASH_COOKIE:
        hash_by_cookie(policy, route->hash_name, arena);
        break;
    case FUSE_HASH_SOURCE_ADDRESS:
        hash_by_source(policy, audience, arena);
        break;
    case FUSE_HASH_QUERY:
        hash_by_query(policy, route->hash_name, arena);
        break;
    }
    action->n_hash_policy = 1;
    action->hash_policy = fuse_message_list(arena, policy);
}

static void split(ROUTE(RouteAction) * action, const struct fuse_route *route,
                  enum fuse_audience audience, struct chassis_arena *arena)
{
    ROUTE(WeightedCluster) *split =
        fuse_message_new(arena, &envoy__config__route__v3__weighted_cluster__descriptor);
    split->clusters = chassis_arena_alloc(arena, route->n_targets * sizeof *split->clusters);
    CHASSIS_ASSERT(split->clusters != NULL);
    uint32_t sum = 0;
    for (unsigned i = 0; i < route->n_targets; i++) {
        if (!fuse_target_is_used(route, i)) {
            continue;
        }
        ROUTE(WeightedCluster__ClusterWeight) *cluster = fuse_message_new(
            arena, &envoy__config__route__v3__weighted_cluster__cluster_weight__descriptor);
        cluster->name = fuse_message_text(fuse_cluster_name(route, i, arena));
        cluster->weight = fuse_message_u32(arena, route->targets[i].weight);
        sum += route->targets[i].weight;
        split->clusters[split->n_clusters++] = cluster;
    }
    if (audience == FUSE_FOR_PROXYLESS) {
        split->total_weight = fuse_message_u32(arena, sum);
    }
    action->cluster_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
    action->weighted_clusters = split;
}

/* Envoy's timeout counts until the whole response is there and is 15 s unless it is turned off;
 * gRPC clients have one for the life of a stream instead, and none unless it is given. */
static void add_timeout(ROUTE(RouteAction) * action, uint64_t timeout_ms,
                        enum fuse_audience audience, struct chassis_arena *arena)
{
    if (audience == FUSE_FOR_ENVOY) {
        action->timeout = fuse_message_ms(arena, timeout_ms);
    } else if (timeout_ms != 0) {
        action->max_stream_duration = fuse_message_new(
            arena, &envoy__config__route__v3__route_action__max_stream_duration__descriptor);
        action->max_stream_duration->max_stream_duration = fuse_message_ms(arena, timeout_ms);
    }
}

ROUTE(RouteAction) * fuse_action_build(const struct fuse_route *route, enum fuse_audience audience,
                                       struct chassis_arena *arena)
{
    ROUTE(RouteAction) *action =
        fuse_message_new(arena, &envoy__config__route__v3__route_action__descriptor);
    if (route->n_targets == 1) {
        action->cluster_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
        action->cluster = fuse_message_text(fuse_cluster_name(route, 0, arena));
    } else {
        split(action, route, audience, arena);
    }
    action->prefix_rewrite = fuse_message_text(route->prefix_rewrite);
    add_timeout(action, route->timeout_ms, audience, arena);
    if (route->retry.on != 0) {
        action->retry_policy = retry_of(&route->retry, arena);
    }
    add_hash(action, route, audience, arena);
    return action;
}
