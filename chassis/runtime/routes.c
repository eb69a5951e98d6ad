/* The stage of routes: what Fuse is told, and that it is asked before listeners close. */
#include <poll.h>

#include "runtime/internal.h"

enum {
    UNSURE_MS = 250, /* to withdraw when Blueprint did not answer */
    SETTLE_MS = 50,  /* for what proxies sent before they let go to be read */
};

void chassis_with_route(struct chassis *c, const struct chassis_route *route)
{
    CHASSIS_ASSERT(c->n_edge_routes < (unsigned)RUNTIME_EDGE_ROUTES_MAX);
    c->edge_routes[c->n_edge_routes++] = *route;
}

static void token_now(void *data, struct chassis_buf *out)
{
    chassis_registry_token(data, out);
}

/* Others may route to whoever is registered: those are withdrawn, too. */
int stage_routes(struct chassis *c, struct chassis_error *err)
{
    const struct chassis_settings *s = &c->settings;
    bool address = s->fuse_address != NULL && s->fuse_address[0] != '\0';
    bool member = c->registry != NULL && c->wants_registration;
    if (!address && c->registry == NULL) {
        if (c->n_edge_routes != 0) {
            chassis_log_info(c->log,
                             "not routed: neither service.entrypoint nor fuse.address is set");
        }
        return 0;
    }
    if (c->n_edge_routes == 0 && !member) {
        return 0;
    }
    struct chassis_tls_files tls = {s->tls_ca, s->tls_certificate, s->tls_key, NULL};
    struct chassis_routing_options options = {
        .name = s->name,
        .domain = s->domain,
        .rpc_address = c->rpc_address,
        .http_address = c->http_address,
        .address = address ? s->fuse_address : NULL,
        .entrypoints = s->entrypoints.items,
        .n_entrypoints = s->entrypoints.n,
        .loop = chassis_loop(c),
        .tls = c->identity != NULL ? &tls : NULL,
        .token_now = c->registry != NULL ? token_now : NULL,
        .token_data = c->registry,
    };
    int rc = chassis_routing_open(&options, &c->routing, err);
    for (unsigned i = 0; rc == 0 && i < c->n_edge_routes; i++) {
        rc = chassis_routing_add(c->routing, &c->edge_routes[i], err);
    }
    if (rc != 0) {
        unstage_routes(c);
        return rc;
    }
    chassis_routing_start(c->routing);
    return 0;
}

void unstage_routes(struct chassis *c)
{
    chassis_routing_close(c->routing);
    c->routing = NULL;
}

void routes_withdraw(struct chassis *c, bool left)
{
    if (c->routing == NULL) {
        return;
    }
    struct chassis_registry_status status = {0};
    if (c->registry != NULL) {
        chassis_registry_status(c->registry, &status);
    }
    if (chassis_routing_withdraw(c->routing, status.pid, left ? RUNTIME_WITHDRAW_MS : UNSURE_MS)) {
        poll(NULL, 0, SETTLE_MS);
    }
}
