/* Telling the routes, and looking after them.
 *
 *   round: find Fuse ──▶ route 0 ──▶ route 1 … ──▶ all seen: the next round after the interval
 *             │             │ not told: AddRoute
 *             │             │ told: GetRoute; NOT_FOUND: AddRoute
 *             └── failed ◀──┘ failed, but not refused
 *                  └──▶ the next round after a backoff
 */
#include <stdio.h>

#include "routing/internal.h"

static void next_route(struct chassis_routing *r);

static uint64_t jitter(struct chassis_routing *r, uint64_t from_ms, uint64_t to_ms)
{
    return from_ms * CHASSIS_NS_PER_MS +
           chassis_prng_below(&r->prng, (to_ms - from_ms) * CHASSIS_NS_PER_MS + 1);
}

/* Another one has taken over, or the round is void. */
static bool is_over(struct chassis_routing *r)
{
    if (r->withdrawing && !r->closing) {
        routing_withdraw_begin(r);
    }
    return r->withdrawing || r->closing;
}

static void failed(struct chassis_routing *r, const char *what, int code, const char *text)
{
    uint64_t ceiling = r->options.backoff_min_ms;
    for (unsigned i = 0; i < r->attempt && ceiling < r->options.backoff_max_ms; i++) {
        ceiling *= 2;
    }
    if (ceiling > r->options.backoff_max_ms) {
        ceiling = r->options.backoff_max_ms;
    }
    /* While the platform comes up this is no news; a Fuse that stays away is, once. */
    enum { NEWS = 8 };
    enum chassis_log_level level = ++r->attempt == NEWS ? CHASSIS_LOG_WARN : CHASSIS_LOG_DEBUG;
    chassis_log_at(r->log, level, what, chassis_f_code(code), chassis_f_str("text", text),
                   chassis_f_u64("attempt", r->attempt));
    chassis_counter_add(r->failures, 1);
    routing_count(r);
    chassis_post_after(r->loop, &r->timer, jitter(r, ceiling / 2, ceiling));
}

static void refused(struct chassis_routing *r, struct routing_route *route, const char *words)
{
    route->told = false;
    if (!route->refused || strcmp(route->words, words) != 0) {
        snprintf(route->words, sizeof route->words, "%s", words);
        chassis_log_error(r->log, "Fuse refuses a route of this service: requests do not get here",
                          chassis_f_str("route", route->message->name),
                          chassis_f_str("why", route->words));
    }
    route->refused = true;
}

/* Does it help to try again soon, or elsewhere? A token that is not there yet comes. */
static bool is_refusal(int code)
{
    enum chassis_error_class c = chassis_status_class(code);
    return c != CHASSIS_CLASS_RETRY && c != CHASSIS_CLASS_REDIRECT &&
           code != CHASSIS_UNAUTHENTICATED && code != CHASSIS_UNIMPLEMENTED;
}

static void join_problems(const Core__ControlPlane__Networking__V1__AddRouteResponse *res,
                          char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < res->n_problems && len < size; i++) {
        len +=
            (size_t)snprintf(out + len, size - len, "%s%s", i != 0 ? "; " : "", res->problems[i]);
    }
}

static void on_added(const struct chassis_reply *reply, void *data)
{
    struct chassis_routing *r = data;
    struct routing_route *route = &r->routes[r->at];
    const Core__ControlPlane__Networking__V1__AddRouteResponse *res =
        networking_add_route_response(reply);
    char words[512];
    r->calling = false;
    if (reply->code == 0 && res != NULL) {
        join_problems(res, words, sizeof words);
        if (res->code == CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_RESPONSE_CODE__OK) {
            route->told = true;
            route->refused = false;
            chassis_log_info(r->log, "routed", chassis_f_str("route", route->message->name),
                             chassis_f_u64("version", res->version),
                             chassis_f_str("warnings", words));
        } else {
            refused(r, route, words[0] != '\0' ? words : "it gives no reason");
        }
    } else if (reply->code != 0 && is_refusal(reply->code)) {
        refused(r, route, reply->text);
    } else if (!is_over(r)) {
        failed(r, "cannot tell Fuse a route", reply->code, reply->text);
        return;
    } else {
        return;
    }
    if (!is_over(r)) {
        r->at++;
        next_route(r);
    }
}

static void add(struct chassis_routing *r, struct chassis_client *client)
{
    Core__ControlPlane__Networking__V1__AddRouteRequest req =
        CORE__CONTROL_PLANE__NETWORKING__V1__ADD_ROUTE_REQUEST__INIT;
    req.route = r->routes[r->at].message;
    r->calling = true;
    networking_add_route(client, &req, NULL, on_added, r);
}

static void on_seen(const struct chassis_reply *reply, void *data)
{
    struct chassis_routing *r = data;
    struct chassis_error err = {0};
    r->calling = false;
    if (is_over(r)) {
        return;
    }
    if (reply->code == CHASSIS_NOT_FOUND) {
        r->routes[r->at].told = false;
        chassis_log_info(r->log, "a route of this service is gone: telling it again",
                         chassis_f_str("route", r->routes[r->at].message->name));
        struct chassis_client *client = routing_fuse(r, &err);
        if (client != NULL) {
            add(r, client);
            return;
        }
    }
    if (reply->code != 0) {
        failed(r, "cannot ask Fuse for a route", reply->code, reply->text);
        return;
    }
    r->at++;
    next_route(r);
}

static void look(struct chassis_routing *r, struct chassis_client *client)
{
    Draft__Routing__V1__GetRouteRequest req = DRAFT__ROUTING__V1__GET_ROUTE_REQUEST__INIT;
    struct chassis_call_options options = {.idempotent = true};
    req.name = r->routes[r->at].message->name;
    r->calling = true;
    routing_get_route(client, &req, &options, on_seen, r);
}

static void next_route(struct chassis_routing *r)
{
    struct chassis_error err = {0};
    if (r->at == r->n_routes) {
        r->attempt = 0;
        routing_count(r);
        chassis_post_after(r->loop, &r->timer,
                           jitter(r, r->options.interval_ms / 2, r->options.interval_ms * 3 / 2));
        return;
    }
    struct chassis_client *client = routing_fuse(r, &err);
    if (client == NULL) {
        failed(r, "cannot reach Fuse", err.code, chassis_error_text(&err));
    } else if (r->routes[r->at].told) {
        look(r, client);
    } else {
        add(r, client);
    }
}

static void on_found(struct chassis_routing *r, int code, const char *text)
{
    if (is_over(r)) {
        return;
    }
    if (code != 0) {
        failed(r, "cannot find Fuse", code, text);
        return;
    }
    r->at = 0;
    next_route(r);
}

void routing_round(struct chassis_routing *r)
{
    routing_find(r, r->options.call_timeout_ms, on_found);
}
