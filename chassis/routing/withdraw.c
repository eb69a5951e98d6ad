/* Leaving: routes to this process alone go, then Fuse says when nobody sends here any more.
 *
 *   (a call of keep.c ends) ──▶ Fuse known? ──▶ own routes: still ours? delete ──▶ AwaitWithdrawn ──▶ over
 *                                  └── read the record once; none: over
 */
#include "routing/internal.h"

static void next_own(struct chassis_routing *r);

static uint64_t left_ms(struct chassis_routing *r)
{
    uint64_t now = chassis_now_ns(r->loop);
    return now < r->withdraw_by_ns ? (r->withdraw_by_ns - now) / CHASSIS_NS_PER_MS + 1 : 1;
}

void routing_withdraw_end(struct chassis_routing *r, bool withdrawn)
{
    pthread_mutex_lock(&r->mutex);
    r->withdrawn = withdrawn;
    r->withdraw_over = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

static void on_withdrawn(const struct chassis_reply *reply, void *data)
{
    struct chassis_routing *r = data;
    const Draft__Routing__V1__AwaitWithdrawnResponse *res = routing_await_withdrawn_response(reply);
    bool withdrawn = reply->code == 0 && res != NULL && res->withdrawn;
    r->calling = false;
    if (!withdrawn && !r->closing) {
        chassis_log_warn(r->log, "Fuse does not say that proxies have let go of this process",
                         chassis_f_code(reply->code), chassis_f_str("text", reply->text));
    }
    routing_withdraw_end(r, withdrawn);
}

static void await(struct chassis_routing *r, struct chassis_client *client)
{
    Draft__Routing__V1__AwaitWithdrawnRequest req =
        DRAFT__ROUTING__V1__AWAIT_WITHDRAWN_REQUEST__INIT;
    struct chassis_call_options options = {.timeout_ms = left_ms(r), .idempotent = true};
    if (r->pid[0] == '\0') {
        routing_withdraw_end(r, false); /* was never registered: nobody knows us by that */
        return;
    }
    req.pid = r->pid;
    req.timeout_ms = (uint32_t)options.timeout_ms;
    r->calling = true;
    routing_await_withdrawn(client, &req, &options, on_withdrawn, r);
}

static void on_deleted(const struct chassis_reply *reply, void *data)
{
    struct chassis_routing *r = data;
    r->calling = false;
    if (reply->code != 0 && reply->code != CHASSIS_NOT_FOUND) {
        chassis_log_warn(r->log, "a route to this process could not be deleted",
                         chassis_f_str("route", r->routes[r->at].message->name),
                         chassis_f_code(reply->code), chassis_f_str("text", reply->text));
    }
    r->routes[r->at++].told = false;
    next_own(r);
}

/* Another process may have taken the name over: its route stays. */
static bool is_ours(const struct chassis_reply *reply, const routing_message *ours)
{
    const Draft__Routing__V1__RouteState *state = routing_get_route_response(reply);
    return reply->code == 0 && state != NULL && state->route != NULL &&
           state->route->endpoint != NULL &&
           strcmp(state->route->endpoint->host, ours->endpoint->host) == 0 &&
           state->route->endpoint->port == ours->endpoint->port;
}

static void on_own(const struct chassis_reply *reply, void *data)
{
    struct chassis_routing *r = data;
    struct chassis_error err = {0};
    struct chassis_client *client = routing_fuse(r, &err);
    const routing_message *message = r->routes[r->at].message;
    r->calling = false;
    if (client == NULL || r->closing || !is_ours(reply, message)) {
        r->at++;
        next_own(r);
        return;
    }
    Core__ControlPlane__Networking__V1__DeleteRouteRequest req =
        CORE__CONTROL_PLANE__NETWORKING__V1__DELETE_ROUTE_REQUEST__INIT;
    struct chassis_call_options options = {.timeout_ms = left_ms(r)};
    req.name = message->name;
    r->calling = true;
    networking_delete_route(client, &req, &options, on_deleted, r);
}

static void next_own(struct chassis_routing *r)
{
    struct chassis_error err = {0};
    struct chassis_client *client = r->closing ? NULL : routing_fuse(r, &err);
    if (client == NULL) {
        routing_withdraw_end(r, false);
        return;
    }
    while (r->at < r->n_routes && !r->routes[r->at].own) {
        r->at++;
    }
    if (r->at == r->n_routes) {
        await(r, client);
        return;
    }
    Draft__Routing__V1__GetRouteRequest req = DRAFT__ROUTING__V1__GET_ROUTE_REQUEST__INIT;
    struct chassis_call_options options = {.timeout_ms = left_ms(r), .idempotent = true};
    req.name = r->routes[r->at].message->name;
    r->calling = true;
    routing_get_route(client, &req, &options, on_own, r);
}

static void on_found(struct chassis_routing *r, int code, const char *text)
{
    if (code != 0 || r->closing) { /* no Fuse here: nobody routes to us */
        routing_withdraw_end(r, false);
        return;
    }
    next_own(r);
}

void routing_withdraw_begin(struct chassis_routing *r)
{
    r->withdrawing = true;
    chassis_cancel(r->loop, &r->timer);
    if (r->calling || r->closing) {
        return; /* keep.c comes here when its call has ended */
    }
    r->at = 0;
    if (routing_knows_fuse(r)) {
        next_own(r);
    } else {
        routing_find(r, left_ms(r), on_found);
    }
}
