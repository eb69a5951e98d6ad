/* Delta: requests say which names come and go, answers what changed.
 *
 *   request ── latest nonce ─────────────▶ accepted, or refused with error_detail
 *           ── subscribe, unsubscribe ───▶ whatever the nonce
 *           ── initial_resource_versions ▶ first request of a type: what the client has
 *
 * A name asked for again is answered again. A name taken back while the wildcard goes on is answered,
 * too: the client cannot know whether the wildcard has it.
 */
#include <stdio.h>
#include <string.h>

#include <chassis/message.h>

#include "base/bytes.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "fuse/xds/state.h"

typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest request_t;

static bool always(enum fuse_type type)
{
    return true;
}
static bool never(enum fuse_type type)
{
    return false;
}

/* ---- requests ---- */

static bool is_star(const struct fuse_feed *feed, const char *name)
{
    return fuse_type_has_wildcard(feed->type) && strcmp(name, "*") == 0;
}

static int subscribe(struct fuse_feed *feed, const request_t *request, bool first,
                     struct chassis_error *err)
{
    bool wildcard =
        first && request->n_resource_names_subscribe == 0 && fuse_type_has_wildcard(feed->type);
    for (size_t i = 0; i < request->n_resource_names_subscribe; i++) {
        const char *name = request->resource_names_subscribe[i];
        struct fuse_sub *sub = NULL;
        if (is_star(feed, name)) {
            wildcard = true;
            continue;
        }
        int rc = fuse_feed_subscribe(feed, name, FUSE_SUB_NAMED | FUSE_SUB_FORCED, &sub, err);
        if (rc != 0) {
            return rc;
        }
    }
    if (wildcard) {
        fuse_feed_set_wildcard(feed, true);
    }
    return 0;
}

static void unsubscribe(struct fuse_feed *feed, const request_t *request)
{
    for (size_t i = 0; i < request->n_resource_names_unsubscribe; i++) {
        const char *name = request->resource_names_unsubscribe[i];
        struct fuse_sub *sub = fuse_feed_find(feed, name);
        if (is_star(feed, name)) {
            fuse_feed_set_wildcard(feed, false);
        } else if (sub != NULL && (sub->flags & FUSE_SUB_NAMED) != 0) {
            if ((sub->flags & FUSE_SUB_WILD) != 0) {
                sub->flags |= FUSE_SUB_FORCED;
            }
            fuse_feed_unsubscribe(sub);
        }
    }
}

/* What the client has from an earlier stream. */
static void resume(struct fuse_feed *feed, const request_t *request)
{
    for (size_t i = 0; i < request->n_initial_resource_versions; i++) {
        const char *name = request->initial_resource_versions[i]->key;
        const char *version = request->initial_resource_versions[i]->value;
        struct fuse_sub *sub = fuse_feed_find(feed, name);
        if (sub == NULL && feed->wildcard && name[0] != '\0' &&
            strlen(name) <= FUSE_NAME_BYTES_MAX) {
            struct chassis_error err = {0};
            if (fuse_feed_subscribe(feed, name, 0, &sub, &err) != 0) {
                continue; /* beyond every limit: it stays what it is at the client */
            }
        }
        if (sub == NULL) {
            continue; /* it does not want it any more */
        }
        uint64_t target = fuse_sub_target(sub);
        bool same = target != FUSE_ABSENT && strcmp(sub->slot->version, version) == 0;
        sub->flags &= ~(uint32_t)FUSE_SUB_FORCED;
        fuse_sub_has(sub, same ? target : FUSE_UNKNOWN);
        if (same) {
            fuse_judge_claimed(sub->slot);
        }
    }
}

static int handle(struct fuse_xds_session *session, const request_t *request,
                  struct chassis_error *err)
{
    int rc = fuse_session_identify(session, request->node, err);
    if (rc != 0) {
        return rc;
    }
    struct fuse_feed *feed = fuse_session_feed(session, request->type_url, err);
    if (feed == NULL) {
        return err->code;
    }
    bool first = !feed->started,
         answers = fuse_session_nonce_is_latest(feed, request->response_nonce);
    feed->started = true;
    if (answers && feed->outstanding) {
        if (request->error_detail != NULL) {
            fuse_feed_refused(feed, request->error_detail->message);
        } else {
            fuse_feed_accepted(feed);
        }
    } else if (!first && request->response_nonce[0] != '\0') {
        fuse_measure_add(FUSE_MEASURE_STALE_NONCES, 1);
    }
    unsubscribe(feed, request);
    rc = subscribe(feed, request, first, err);
    if (rc == 0 && first) {
        /* Who has nothing and gets nothing is told so, or would wait. */
        feed->owed = feed->wildcard && request->n_initial_resource_versions == 0;
        resume(feed, request);
    }
    fuse_session_wake(session);
    return rc;
}

static int on_request(struct fuse_xds_session *session, struct chassis_view encoded,
                      struct chassis_error *err)
{
    struct chassis_arena arena;
    uint8_t memory[2048] __attribute__((aligned(16)));
    void *message;
    chassis_arena_init(&arena, memory, sizeof memory, 64 << 20);
    int rc = chassis_decode(&envoy__service__discovery__v3__delta_discovery_request__descriptor,
                            encoded, &arena, &message, err);
    if (rc == 0) {
        rc = handle(session, message, err);
    }
    chassis_arena_fini(&arena);
    return rc;
}

/* ---- answers ---- */

static size_t varint_size(size_t n)
{
    size_t size = 1;
    for (; n >= 0x80; n >>= 7) {
        size++;
    }
    return size;
}

static size_t block_size(size_t len)
{
    return 1 + varint_size(len) + len;
}

/* Resource {1 version, 2 resource, 3 name} */
static void put_resource(const struct fuse_sub *sub, struct chassis_buf *out)
{
    const struct fuse_slot *slot = sub->slot;
    struct chassis_buf room = {0};
    struct chassis_view any = fuse_sub_any(sub, &room);
    fuse_put_tag(out, 2,
                 block_size(strlen(slot->version)) + block_size(any.len) +
                     block_size(strlen(slot->name)));
    fuse_put_text(out, 1, slot->version);
    fuse_put_tag(out, 2, any.len);
    chassis_buf_append_view(out, any);
    fuse_put_text(out, 3, slot->name);
    chassis_buf_fini(&room);
}

static void compose_list(struct chassis_list *list, struct fuse_state *state,
                         struct chassis_buf *out)
{
    chassis_list_foreach (link, list) {
        struct fuse_sub *sub = chassis_list_entry(link, struct fuse_sub, wanted);
        const struct fuse_slot *slot = sub->slot;
        uint64_t target = fuse_sub_target(sub);
        if (out->len > FUSE_RESPONSE_SOFT) {
            return;
        }
        sub->flags |= FUSE_SUB_PICKED;
        if (target == FUSE_ABSENT) {
            fuse_put_text(out, 6, slot->name);
            continue;
        }
        put_resource(sub, out);
        state->revision = slot->revision > state->revision ? slot->revision : state->revision;
    }
}

static bool compose(struct fuse_feed *feed, bool with_breaks, struct chassis_buf *out)
{
    char version[24], nonce[FUSE_NONCE_MAX];
    struct fuse_state state = feed->has;
    compose_list(&feed->makes, &state, out);
    if (with_breaks) {
        compose_list(&feed->breaks, &state, out);
    }
    snprintf(version, sizeof version, "%llu", (unsigned long long)state.revision);
    fuse_feed_nonce(feed, feed->nonce + 1, nonce);
    fuse_put_text(out, 1, version);
    fuse_put_text(out, 4, fuse_type_urls[feed->type]);
    fuse_put_text(out, 5, nonce);
    return true;
}

const struct fuse_protocol_ops fuse_delta = {
    .name = "Delta",
    .request = on_request,
    .compose = compose,
    .tells_absence = always,
    .carries_all = never,
};
