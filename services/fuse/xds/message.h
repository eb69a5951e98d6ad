/* Envoy's messages, in an arena: short names for the generated types, and the values that every
 * resource is full of.
 *
 * Threads: none of its own. Ownership: everything lives in the arena, which has no limit (what goes
 * in is bounded by the limits of routes and of the registry).
 */
#ifndef FUSE_XDS_MESSAGE_H
#define FUSE_XDS_MESSAGE_H

#include <chassis/arena.h>

#include "envoy/config/core/v3/address.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/core/v3/config_source.pb-c.h"

#define CORE(Name)     Envoy__Config__Core__V3__##Name
#define LISTENER(Name) Envoy__Config__Listener__V3__##Name
#define ROUTE(Name)    Envoy__Config__Route__V3__##Name
#define CLUSTER(Name)  Envoy__Config__Cluster__V3__##Name
#define ENDPOINT(Name) Envoy__Config__Endpoint__V3__##Name
#define HTTP(Name)     Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__##Name
#define TLS(Name)      Envoy__Extensions__TransportSockets__Tls__V3__##Name
#define UPSTREAM(Name) Envoy__Extensions__Upstreams__Http__V3__##Name
#define MATCHER(Name)  Envoy__Type__Matcher__V3__##Name

/* An empty message of this type. */
void *fuse_message_new(struct chassis_arena *arena, const ProtobufCMessageDescriptor *type);
/* An array with one element. */
void *fuse_message_list(struct chassis_arena *arena, const void *element);
/* Messages do not own their texts, and do not change them. */
static inline char *fuse_message_text(const char *text)
{
    return (char *)(uintptr_t)text;
}
Google__Protobuf__Any *fuse_message_any(struct chassis_arena *arena,
                                        const ProtobufCMessage *message);
Google__Protobuf__Duration *fuse_message_ms(struct chassis_arena *arena, uint64_t ms);
Google__Protobuf__UInt32Value *fuse_message_u32(struct chassis_arena *arena, uint32_t value);
Google__Protobuf__BoolValue *fuse_message_true(struct chassis_arena *arena);
/* "From the stream you got this from." */
CORE(ConfigSource) * fuse_message_ads(struct chassis_arena *arena);
CORE(Address) * fuse_message_address(struct chassis_arena *arena, const char *host, uint16_t port);

#endif
