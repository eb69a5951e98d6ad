#include <stdio.h>

#include "base/assert.h"
#include "fuse/haproxy/internal.h"

void haproxy_track_sent(struct fuse_haproxy *h, struct fuse_haproxy_track *track, uint64_t revision,
                        uint64_t structure)
{
    if (structure != 0) {
        snprintf(track->sent, sizeof track->sent, "%llu.%08lx", (unsigned long long)revision,
                 (unsigned long)(uint32_t)(structure ^ structure >> 32));
    } else {
        snprintf(track->sent, sizeof track->sent, "%llu", (unsigned long long)revision);
    }
    track->sent_ns = h->options.wall_ns(h->options.data);
    track->begun_ns = chassis_now_ns(h->loop);
}

void haproxy_track_acked(struct fuse_haproxy *h, struct fuse_haproxy_track *track)
{
    memcpy(track->acked, track->sent, sizeof track->acked);
    track->acked_ns = h->options.wall_ns(h->options.data);
    track->lag_us = (chassis_now_ns(h->loop) - track->begun_ns) / 1000;
}

void haproxy_track_refused(struct fuse_haproxy *h, struct fuse_haproxy_track *track,
                           const char *words)
{
    track->refusals++;
    track->refused_ns = h->options.wall_ns(h->options.data);
    snprintf(track->words, sizeof track->words, "%s", words);
}

static Google__Protobuf__Timestamp *time_of(struct chassis_arena *arena, int64_t ns)
{
    if (ns == 0) {
        return NULL;
    }
    Google__Protobuf__Timestamp *time = chassis_arena_alloc(arena, sizeof *time);
    google__protobuf__timestamp__init(time);
    time->seconds = ns / (int64_t)CHASSIS_NS_PER_S;
    time->nanos = (int32_t)(ns % (int64_t)CHASSIS_NS_PER_S);
    return time;
}

static Draft__Routing__V1__ProxyResources *
resources_of(const struct fuse_haproxy_track *track, const char *type, struct chassis_arena *arena)
{
    Draft__Routing__V1__ProxyResources *r = chassis_arena_alloc(arena, sizeof *r);
    draft__routing__v1__proxy_resources__init(r);
    r->type = chassis_arena_strdup(arena, type);
    r->wildcard = true;
    r->sent_version = chassis_arena_strdup(arena, track->sent);
    r->acked_version = chassis_arena_strdup(arena, track->acked);
    r->sent_time = time_of(arena, track->sent_ns);
    r->acked_time = time_of(arena, track->acked_ns);
    r->ack_lag_us = track->lag_us;
    r->nacks = track->refusals;
    r->last_nack = chassis_arena_strdup(arena, track->words);
    r->last_nack_time = time_of(arena, track->refused_ns);
    return r;
}

/* While nothing runs nobody sends requests anywhere. */
static bool settled(struct fuse_proxy *proxy)
{
    const struct fuse_haproxy *h = chassis_container_of(proxy, struct fuse_haproxy, proxy);
    if (!h->ready || h->must_look) {
        return false;
    }
    return h->phase == FUSE_HAPROXY_IDLE && !h->changed && !h->servers_changed && !h->servers.busy;
}

static void describe(struct fuse_proxy *proxy, Draft__Routing__V1__Proxy *out,
                     struct chassis_arena *arena)
{
    const struct fuse_haproxy *h = chassis_container_of(proxy, struct fuse_haproxy, proxy);
    out->kind = DRAFT__ROUTING__V1__PROXY__KIND__HAPROXY;
    out->group = chassis_arena_strdup(arena, fuse_view_group(h->options.view));
    out->user_agent = chassis_arena_printf(arena, "HAProxy %s", h->master.version);
    out->address = chassis_arena_printf(arena, "%s/%s", h->directory, FUSE_PLAN_RUNTIME_SOCKET);
    out->connected_time = time_of(arena, h->master.pid != 0 ? h->connected_ns : 0);
    out->in_sync = h->master.pid != 0 && settled(proxy) && h->n_guilty == 0;
    out->n_resources = 2;
    out->resources = chassis_arena_alloc(arena, 2 * sizeof *out->resources);
    out->resources[0] = resources_of(&h->configuration_track, "configuration", arena);
    out->resources[1] = resources_of(&h->servers_track, "servers", arena);
}

const struct fuse_proxy_ops haproxy_proxy_ops = {.describe = describe, .settled = settled};
