/* What a session has, as others see it. */
#include <stdio.h>
#include <string.h>

#include "fuse/xds/state.h"

static Google__Protobuf__Timestamp *timestamp(int64_t time_ns, struct chassis_arena *arena)
{
    if (time_ns == 0) {
        return NULL;
    }
    Google__Protobuf__Timestamp *time = chassis_arena_alloc(arena, sizeof *time);
    if (time != NULL) {
        google__protobuf__timestamp__init(time);
        time->seconds = time_ns / 1000000000;
        time->nanos = (int32_t)(time_ns % 1000000000);
    }
    return time;
}

static char *text(struct chassis_arena *arena, const char *words)
{
    char *copy = chassis_arena_strdup(arena, words != NULL ? words : "");
    return copy != NULL ? copy : (char *)(uintptr_t) "";
}

static char *version(struct chassis_arena *arena, const struct fuse_feed *feed,
                     const struct fuse_state *state, bool any)
{
    char made[FUSE_VERSION_MAX + 16] = "";
    if (any && feed->session->protocol == &fuse_delta) {
        snprintf(made, sizeof made, "%llu", (unsigned long long)state->revision);
    } else if (any) {
        fuse_state_text(state, made);
    }
    return text(arena, made);
}

static Draft__Routing__V1__ProxyResources *describe_feed(const struct fuse_feed *feed,
                                                         struct chassis_arena *arena)
{
    Draft__Routing__V1__ProxyResources *out = chassis_arena_alloc(arena, sizeof *out);
    if (out == NULL) {
        return NULL;
    }
    draft__routing__v1__proxy_resources__init(out);
    out->type = text(arena, strchr(fuse_type_urls[feed->type], '/') + 1);
    out->subscribed = feed->n_named;
    out->wildcard = feed->wildcard;
    out->sent_version = version(arena, feed, &feed->sent, feed->nonce != 0);
    out->acked_version = version(arena, feed, &feed->accepted, feed->accepted_time_ns != 0);
    out->sent_time = timestamp(feed->sent_time_ns, arena);
    out->acked_time = timestamp(feed->accepted_time_ns, arena);
    out->ack_lag_us = feed->lag_us;
    out->nacks = feed->nacks;
    out->last_nack = text(arena, feed->words);
    out->last_nack_time = timestamp(feed->refused_time_ns, arena);
    return out;
}

static bool settled(struct fuse_proxy *proxy)
{
    const struct fuse_xds_session *session =
        chassis_container_of(proxy, struct fuse_xds_session, proxy);
    bool done = session->waiting.len == 0 && !fuse_group_is_stale(session->group);
    for (unsigned type = 0; type < FUSE_N_TYPES; type++) {
        done = done && (session->feeds[type] == NULL || fuse_feed_is_settled(session->feeds[type]));
    }
    return done;
}

static void describe(struct fuse_proxy *proxy, Draft__Routing__V1__Proxy *out,
                     struct chassis_arena *arena)
{
    const struct fuse_xds_session *session =
        chassis_container_of(proxy, struct fuse_xds_session, proxy);
    out->kind = DRAFT__ROUTING__V1__PROXY__KIND__XDS;
    out->group = text(arena, session->group->name);
    out->user_agent = text(arena, session->user_agent);
    out->address = text(arena, session->address);
    out->protocol = text(arena, session->protocol->name);
    out->connected_time = timestamp(session->connected_ns, arena);
    out->in_sync = settled(proxy);
    out->resources = chassis_arena_alloc(arena, FUSE_N_TYPES * sizeof *out->resources);
    for (unsigned type = 0; type < FUSE_N_TYPES && out->resources != NULL; type++) {
        if (session->feeds[type] != NULL) {
            Draft__Routing__V1__ProxyResources *feed = describe_feed(session->feeds[type], arena);
            if (feed != NULL) {
                out->resources[out->n_resources++] = feed;
            }
            out->in_sync = out->in_sync && chassis_list_empty(&session->feeds[type]->refused);
        }
    }
}

const struct fuse_proxy_ops fuse_session_proxy_ops = {.describe = describe, .settled = settled};
