#include "fuse/xds/names.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_MAX = 253 };
static const char host_characters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
static const char route_prefix[] = "route/";
static const char http_suffix[] = "/http";

bool fuse_is_ip(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* Digits without a leading zero, at most `max`. */
static bool number_parse(const char *text, unsigned max, unsigned *ret_number)
{
    size_t len = strlen(text);
    if (len == 0 || len > 5 || strspn(text, "0123456789") != len || (len > 1 && text[0] == '0')) {
        return false;
    }
    unsigned long number = strtoul(text, NULL, 10);
    if (number > max) {
        return false;
    }
    *ret_number = (unsigned)number;
    return true;
}

bool fuse_address_parse(const char *text, struct chassis_arena *arena, const char **ret_host,
                        uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    unsigned port;
    if (colon == NULL || colon == text || !number_parse(colon + 1, UINT16_MAX, &port) ||
        port == 0) {
        return false;
    }
    size_t len = (size_t)(colon - text);
    const char *host;
    if (text[0] == '[' && text[len - 1] == ']') {
        host = chassis_arena_strndup(arena, text + 1, len - 2);
        if (!fuse_is_ip(host)) {
            return false;
        }
    } else {
        host = chassis_arena_strndup(arena, text, len);
        if (len > HOST_MAX || strspn(host, host_characters) != len) {
            return false;
        }
    }
    *ret_host = host;
    *ret_port = (uint16_t)port;
    return true;
}

bool fuse_route_has_policies(const struct fuse_route *route)
{
    return route->hash_kind != FUSE_HASH_NONE || route->breaker.set || route->outlier.set;
}

bool fuse_target_is_used(const struct fuse_route *route, unsigned i)
{
    return route->n_targets == 1 || route->targets[i].weight != 0;
}

const char *fuse_endpoints_name(const struct fuse_target *target, bool http2,
                                struct chassis_arena *arena)
{
    const char *suffix = http2 ? "" : http_suffix;
    if (target->service[0] != '\0') {
        return chassis_arena_printf(arena, "%s%s", target->service, suffix);
    }
    bool is_v6 = strchr(target->host, ':') != NULL;
    return chassis_arena_printf(arena, "%s%s%s:%u%s", is_v6 ? "[" : "", target->host,
                                is_v6 ? "]" : "", target->port, suffix);
}

const char *fuse_cluster_name(const struct fuse_route *route, unsigned i,
                              struct chassis_arena *arena)
{
    if (fuse_route_has_policies(route)) {
        return chassis_arena_printf(arena, "%s%s/%u", route_prefix, route->name, i);
    }
    return fuse_endpoints_name(&route->targets[i], route->http2, arena);
}

bool fuse_cluster_parse(const struct fuse_model *model, const char *name,
                        struct chassis_arena *arena, struct fuse_cluster_name *ret_name)
{
    struct fuse_cluster_name parsed = {.http2 = true};
    size_t len = strlen(name);
    if (strncmp(name, route_prefix, sizeof route_prefix - 1) == 0) {
        const char *begin = name + sizeof route_prefix - 1, *slash = strrchr(begin, '/');
        if (slash == NULL || slash == begin ||
            !number_parse(slash + 1, FUSE_LIST_MAX - 1, &parsed.target)) {
            return false;
        }
        parsed.kind = FUSE_CLUSTER_OF_ROUTE;
        parsed.route = chassis_arena_strndup(arena, begin, (size_t)(slash - begin));
        *ret_name = parsed;
        return true;
    }
    size_t suffix = sizeof http_suffix - 1;
    if (len > suffix && strcmp(name + len - suffix, http_suffix) == 0) {
        parsed.http2 = false;
        name = chassis_arena_strndup(arena, name, len - suffix);
    }
    if (fuse_model_service(model, name) != NULL) {
        parsed.kind = FUSE_CLUSTER_OF_SERVICE;
        parsed.service = name;
    } else if (fuse_address_parse(name, arena, &parsed.host, &parsed.port)) {
        parsed.kind = FUSE_CLUSTER_OF_ADDRESS;
    } else {
        return false;
    }
    *ret_name = parsed;
    return true;
}
