/* Blueprint's contracts as Fuse uses them: names of kinds and records, shorthands, pauses.
 *
 * Threads: any.
 */
#ifndef FUSE_BLUEPRINT_WIRE_H
#define FUSE_BLUEPRINT_WIRE_H

#include <chassis/client.h>

#include "base/prng.h"
#include "core/registry/key_value/v1/key_value.chassis.h"
#include "core/registry/service_discovery/v1/service_discovery.chassis.h"

#define KV(name)      Core__Registry__KeyValue__V1__##name
#define KV_INIT(name) CORE__REGISTRY__KEY_VALUE__V1__##name##__INIT
#define SD(name)      Core__Registry__ServiceDiscovery__V1__##name
#define SD_INIT(name) CORE__REGISTRY__SERVICE_DISCOVERY__V1__##name##__INIT

#define FUSE_KIND_ROUTE      "type.googleapis.com/core.control_plane.networking.v1.Route"
#define FUSE_KIND_VERSION    "type.googleapis.com/draft.routing.v1.RouteVersion"
#define FUSE_KIND_QUARANTINE "type.googleapis.com/draft.routing.v1.Quarantine"
#define FUSE_KIND_VALUE      "type.googleapis.com/core.registry.key_value.v1.Value"
#define FUSE_KEY_ADDRESS     "fuse_address"

enum { FUSE_CALL_MS = 5000, FUSE_BACKOFF_MIN_MS = 50, FUSE_BACKOFF_MAX_MS = 5000 };

/* An Any that borrows; of a value or, without one, of a kind. */
static inline Google__Protobuf__Any fuse_any(const char *kind, struct chassis_view value)
{
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    any.type_url = (char *)(uintptr_t)kind;
    any.value = (ProtobufCBinaryData){value.len, (uint8_t *)(uintptr_t)value.data};
    return any;
}

/* Full jitter: Brooker, "Exponential Backoff And Jitter", AWS 2015. `attempt` counts failures. */
static inline uint64_t fuse_backoff_ns(struct chassis_prng *prng, unsigned *attempt)
{
    uint64_t ceiling = FUSE_BACKOFF_MIN_MS;
    for (unsigned i = 0; i < *attempt && ceiling < FUSE_BACKOFF_MAX_MS; i++) {
        ceiling *= 2;
    }
    ceiling = ceiling < FUSE_BACKOFF_MAX_MS ? ceiling : FUSE_BACKOFF_MAX_MS;
    (*attempt)++;
    return chassis_prng_below(prng, ceiling * 1000000 + 1);
}

#endif
