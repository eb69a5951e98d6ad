/* Who calls: address, and the name a verified certificate gives. */
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>

#include "rpc/grpc_call.h"

static const char *auth_name(struct chassis_call *call, grpc_call *own)
{
    static const char *const properties[] = {GRPC_X509_SAN_PROPERTY_NAME,
                                             GRPC_X509_CN_PROPERTY_NAME};
    const char *name = NULL;
    grpc_auth_context *context = grpc_call_auth_context(own);
    if (context != NULL && grpc_auth_context_peer_is_authenticated(context)) {
        for (size_t i = 0; i < 2 && name == NULL; i++) {
            grpc_auth_property_iterator it =
                grpc_auth_context_find_properties_by_name(context, properties[i]);
            const grpc_auth_property *p = grpc_auth_property_iterator_next(&it);
            if (p != NULL) {
                name = chassis_arena_strndup(&call->arena, p->value, p->value_length);
            }
        }
    }
    grpc_auth_context_release(context);
    return name;
}

void rpc_grpc_peer(struct chassis_call *call, struct chassis_transport_peer *ret_peer)
{
    const struct rpc_grpc_call *g = chassis_call_transport(call);
    char *address = grpc_call_get_peer(g->call);
    ret_peer->address = address != NULL ? chassis_arena_strdup(&call->arena, address) : NULL;
    ret_peer->loopback = address != NULL && rpc_peer_is_local(address);
    gpr_free(address);
    ret_peer->encrypted = g->listener->encrypted;
    ret_peer->peer_listener = g->listener->peer_only;
    if (g->listener->encrypted) {
        ret_peer->name = auth_name(call, g->call);
    }
}
