/* One route in Envoy's words: match.c says which requests, action.c what becomes of them.
 *
 * Proxyless gRPC clients understand less than Envoy and refuse the whole resource for what they do
 * not (sources: gRFC A28, A41, A42, A44; gRPC C core 1.51 xds_route_config.cc; @grpc/grpc-js-xds
 * 1.14 route-config-resource-type.ts). So they get other words for the same, and routes that no
 * gRPC request can take, or that need what they cannot do, are left out.
 *
 * Threads: any. Ownership: messages live in the arena and borrow from the route.
 */
#ifndef FUSE_XDS_ROUTE_MESSAGE_H
#define FUSE_XDS_ROUTE_MESSAGE_H

#include "envoy/config/route/v3/route_components.pb-c.h"
#include "fuse/control_plane/route.h"
#include "fuse/xds/message.h"

enum fuse_audience { FUSE_FOR_ENVOY, FUSE_FOR_PROXYLESS };

/* In how many pieces the match is said, each a route of its own with the same action: a proxyless
 * client never takes an absent header as "not equal", so each inverted header doubles them. 0: the
 * route is not for this audience. */
unsigned fuse_match_pieces(const struct fuse_route *route, enum fuse_audience audience);
ROUTE(RouteMatch) * fuse_match_build(const struct fuse_route *route, enum fuse_audience audience,
                                     unsigned piece, struct chassis_arena *arena);
ROUTE(RouteAction) * fuse_action_build(const struct fuse_route *route, enum fuse_audience audience,
                                       struct chassis_arena *arena);

#endif
