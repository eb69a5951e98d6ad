/* dctl proxies list, get: what each data plane has of what Fuse sent. */
#include <stdlib.h>
#include <string.h>

#include "connect.h"
#include "routes.h"

typedef Draft__Routing__V1__Proxy proxy_message;
typedef Draft__Routing__V1__ProxyResources proxy_resources;

static struct chassis_call_options read_options(const struct dctl *d)
{
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    return options;
}

/* A version is "<revision>.<checksum>". */
static uint64_t revision_of(const char *version)
{
    return strtoull(version, NULL, 10);
}

static const char *lag_text(struct dctl *d, uint64_t us)
{
    return us < 1000 ? chassis_arena_printf(&d->arena, "%lluus", (unsigned long long)us)
                     : chassis_arena_printf(&d->arena, "%.1fms", (double)us / 1000.0);
}

/* Sums over the types of resources, for the table. */
static void add_sums(struct dctl *d, struct dctl_node *row, const proxy_message *p)
{
    uint64_t sent = 0, acked = 0, lag_us = 0, nacks = 0;
    for (size_t i = 0; i < p->n_resources; i++) {
        const proxy_resources *r = p->resources[i];
        uint64_t s = revision_of(r->sent_version), a = revision_of(r->acked_version);
        sent = s > sent ? s : sent;
        acked = a > acked ? a : acked;
        lag_us = r->ack_lag_us > lag_us ? r->ack_lag_us : lag_us;
        nacks += r->nacks;
    }
    dctl_add_u64(&d->arena, row, "sent", sent);
    dctl_add_u64(&d->arena, row, "acked", acked);
    dctl_add_text(&d->arena, row, "lag", lag_text(d, lag_us));
    dctl_add_u64(&d->arena, row, "nacks", nacks);
    dctl_add_text(&d->arena, row, "sync", p->in_sync ? "yes" : "no");
}

int dctl_proxies_list(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {{"ID", "id", 0},
                                                 {"KIND", "kind", 0},
                                                 {"GROUP", "group", 0},
                                                 {"PROTOCOL", "protocol", 0},
                                                 {"IN SYNC", "sync", 0},
                                                 {"SENT", "sent", 0},
                                                 {"ACKED", "acked", 0},
                                                 {"ACK LAG", "lag", 0},
                                                 {"NACKS", "nacks", 0},
                                                 {"SINCE", "connected_time", 0},
                                                 {0}};
    struct chassis_error err = {0};
    Draft__Routing__V1__ListProxiesRequest req = DRAFT__ROUTING__V1__LIST_PROXIES_REQUEST__INIT;
    Draft__Routing__V1__ListProxiesResponse *res;
    struct chassis_call_options options = read_options(d);
    if (dctl_routes_client(d, &err) == NULL ||
        routing_list_proxies_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *list = dctl_list(&d->arena);
    for (size_t i = 0; i < res->n_proxies; i++) {
        struct dctl_node *row = dctl_add(list, NULL, dctl_message_node(&d->arena, res->proxies[i]));
        if (d->format == DCTL_TABLE) {
            add_sums(d, row, res->proxies[i]);
        }
    }
    dctl_print(d, list, columns);
    return DCTL_OK;
}

/* "envoy.config.route.v3.RouteConfiguration" -> "RouteConfiguration" */
static const char *short_type(const char *type)
{
    const char *dot = strrchr(type, '.');
    return dot != NULL ? dot + 1 : type;
}

static void print_proxy(struct dctl *d, const proxy_message *p)
{
    static const struct dctl_column columns[] = {
        {"TYPE", "short", 0},          {"SUBSCRIBED", "names", 0},
        {"SENT", "sent_version", 0},   {"ACKED", "acked_version", 0},
        {"ACK LAG", "lag", 0},         {"NACKS", "nacks", 0},
        {"ACKED AT", "acked_time", 0}, {0}};
    struct chassis_arena *a = &d->arena;
    struct dctl_node *map = dctl_map(a), *list = dctl_list(a);
    struct dctl_node *whole = dctl_message_node(a, p);
    for (struct dctl_node *n = whole->first, *next; n != NULL; n = next) {
        next = n->next;
        n->next = NULL;
        if (strcmp(n->key, "resources") != 0) {
            dctl_add(map, n->key, n);
        }
    }
    dctl_print(d, map, NULL);
    for (size_t i = 0; i < p->n_resources; i++) {
        const proxy_resources *r = p->resources[i];
        struct dctl_node *row = dctl_add(list, NULL, dctl_message_node(a, r));
        dctl_add_text(a, row, "short", short_type(r->type));
        dctl_add_text(a, row, "names",
                      r->wildcard ? chassis_arena_printf(a, r->subscribed != 0 ? "all, %u" : "all",
                                                         r->subscribed)
                                  : chassis_arena_printf(a, "%u", r->subscribed));
        dctl_add_text(a, row, "lag", lag_text(d, r->ack_lag_us));
    }
    if (list->first != NULL) {
        fputc('\n', d->out);
        dctl_print(d, list, columns);
    }
    for (size_t i = 0; i < p->n_resources; i++) {
        if (p->resources[i]->last_nack[0] != '\0') {
            fprintf(d->out, "\nrefused last (%s): %s\n", short_type(p->resources[i]->type),
                    p->resources[i]->last_nack);
        }
    }
}

int dctl_proxies_get(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Routing__V1__GetProxyRequest req = DRAFT__ROUTING__V1__GET_PROXY_REQUEST__INIT;
    proxy_message *proxy;
    struct chassis_call_options options = read_options(d);
    req.id = argv[0];
    if (dctl_routes_client(d, &err) == NULL ||
        routing_get_proxy_sync(d->client, &req, &options, &d->arena, &proxy, &err) != 0) {
        return dctl_fail(d, &err);
    }
    if (d->format == DCTL_TABLE) {
        print_proxy(d, proxy);
    } else {
        dctl_print(d, dctl_message_node(&d->arena, proxy), NULL);
    }
    return DCTL_OK;
}
