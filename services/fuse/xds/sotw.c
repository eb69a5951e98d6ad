/* State of the World: requests name everything the client wants, answers of clusters and listeners
 * carry everything it gets.
 *
 *   request ── nonce of an older answer ──────────▶ ignored: the next one carries the same
 *           ── latest nonce, error_detail ────────▶ refused
 *           ── latest nonce ──────────────────────▶ accepted
 *           └─ (both) names ──────────────────────▶ subscriptions
 *
 * version_info is "<newest revision>.<sum>": the sum over names and contents of what the client has,
 * so it is the same on every Fuse and after every restart. A first request that says it is taken by its
 * word where that is safe: for wildcards, and of clients whose names come from what Fuse sent (Envoy).
 * Others (gRPC) forget a resource as soon as nobody in the process asks for it, and may ask again
 * before they are connected again; such a client would wait for ever for what it no longer has.
 */
#include <stdlib.h>
#include <string.h>

#include <chassis/message.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "fuse/xds/state.h"

typedef Envoy__Service__Discovery__V3__DiscoveryRequest request_t;

static bool carries_all(enum fuse_type type)
{
    return type == FUSE_CLUSTER || type == FUSE_LISTENER;
}

/* ---- requests ---- */

static int subscribe(struct fuse_feed *feed, const request_t *request, bool *ret_star,
                     struct chassis_error *err)
{
    unsigned named = 0;
    bool star = false;
    feed->mark++;
    for (size_t i = 0; i < request->n_resource_names; i++) {
        struct fuse_sub *sub;
        if (fuse_type_has_wildcard(feed->type) && strcmp(request->resource_names[i], "*") == 0) {
            star = true;
            continue;
        }
        int rc = fuse_feed_subscribe(feed, request->resource_names[i], FUSE_SUB_NAMED, &sub, err);
        if (rc != 0) {
            return rc;
        }
        named += sub->mark != feed->mark;
        sub->mark = feed->mark;
    }
    *ret_star = star;
    if (named == feed->n_named) {
        return 0;
    }
    struct fuse_sub **gone = chassis_base_alloc((feed->n_named - named) * sizeof *gone);
    unsigned n = 0;
    struct fuse_tree_walk walk;
    fuse_tree_walk_begin(&walk, &feed->subs);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct fuse_sub *sub = fuse_tree_entry(node, struct fuse_sub, node);
        if ((sub->flags & FUSE_SUB_NAMED) != 0 && sub->mark != feed->mark) {
            gone[n++] = sub;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        fuse_feed_unsubscribe(gone[i]);
    }
    free(gone);
    return 0;
}

/* Everything subscribed is as the client says it is. */
static void resume(struct fuse_feed *feed, const char *version)
{
    uint64_t said, sum = 0;
    bool safe = feed->wildcard ? feed->n_named == 0 : feed->session->follows_servers;
    if (!safe || feed->session->fetching || !fuse_state_sum(version, &said)) {
        return;
    }
    struct fuse_tree_walk walk;
    fuse_tree_walk_begin(&walk, &feed->subs);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        const struct fuse_sub *sub = fuse_tree_entry(node, struct fuse_sub, node);
        uint64_t target = fuse_sub_target(sub);
        sum += target != FUSE_ABSENT ? fuse_sub_share(sub->slot, target) : 0;
    }
    if (sum != said) {
        return;
    }
    fuse_tree_walk_begin(&walk, &feed->subs);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct fuse_sub *sub = fuse_tree_entry(node, struct fuse_sub, node);
        fuse_judge_claimed(sub->slot);
        fuse_sub_has(sub, fuse_sub_target(sub));
    }
    feed->owed = false;
    feed->has.revision = strtoull(version, NULL, 10);
    feed->sent = feed->accepted = feed->has;
    feed->accepted_time_ns = fuse_xds_wall_ns(feed->session->xds);
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
    if (!first && !answers && request->response_nonce[0] != '\0') {
        fuse_measure_add(FUSE_MEASURE_STALE_NONCES, 1);
        return 0;
    }
    bool star = false;
    rc = subscribe(feed, request, &star, err);
    if (rc != 0) {
        return rc;
    }
    feed->started = true;
    feed->named_once = feed->named_once || request->n_resource_names != 0;
    bool empty = request->n_resource_names == 0 && !feed->named_once;
    fuse_feed_set_wildcard(feed, fuse_type_has_wildcard(feed->type) && (star || empty));
    if (first) {
        feed->owed = carries_all(feed->type) || session->fetching;
        resume(feed, request->version_info);
    } else if (answers && feed->outstanding) {
        if (request->error_detail != NULL) {
            fuse_feed_refused(feed, request->error_detail->message);
        } else {
            fuse_feed_accepted(feed);
        }
    }
    fuse_session_wake(session);
    return 0;
}

static int on_request(struct fuse_xds_session *session, struct chassis_view encoded,
                      struct chassis_error *err)
{
    struct chassis_arena arena;
    uint8_t memory[2048] __attribute__((aligned(16)));
    void *message;
    chassis_arena_init(&arena, memory, sizeof memory, 64 << 20);
    int rc = chassis_decode(&envoy__service__discovery__v3__discovery_request__descriptor, encoded,
                            &arena, &message, err);
    if (rc == 0) {
        rc = handle(session, message, err);
    }
    chassis_arena_fini(&arena);
    return rc;
}

/* ---- answers ---- */

static void put_resource(const struct fuse_sub *sub, struct chassis_buf *out)
{
    struct chassis_buf room = {0};
    struct chassis_view any = fuse_sub_any(sub, &room);
    fuse_put_tag(out, 2, any.len);
    chassis_buf_append_view(out, any);
    chassis_buf_fini(&room);
}

/* What differs; as much as a message should carry, the rest follows when it is acknowledged. */
static void compose_some(struct fuse_feed *feed, struct fuse_state *state, struct chassis_buf *out)
{
    chassis_list_foreach (link, &feed->makes) {
        struct fuse_sub *sub = chassis_list_entry(link, struct fuse_sub, wanted);
        uint64_t target = fuse_sub_target(sub);
        if (out->len > FUSE_RESPONSE_SOFT && !feed->session->fetching) {
            break;
        }
        CHASSIS_ASSERT(target != FUSE_ABSENT);
        put_resource(sub, out);
        sub->flags |= FUSE_SUB_PICKED;
        if (sub->sent >= FUSE_UNKNOWN) {
            state->sum -= fuse_sub_share(sub->slot, sub->sent);
        }
        state->sum += fuse_sub_share(sub->slot, target);
        state->revision =
            sub->slot->revision > state->revision ? sub->slot->revision : state->revision;
    }
}

/* Everything; what is to go but has to wait is kept as it was. */
static void compose_all(struct fuse_feed *feed, bool with_breaks, struct fuse_state *state,
                        struct chassis_buf *out)
{
    struct fuse_tree_walk walk;
    state->sum = 0;
    fuse_tree_walk_begin(&walk, &feed->subs);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct fuse_sub *sub = fuse_tree_entry(node, struct fuse_sub, node);
        bool makes = (sub->flags & FUSE_SUB_IN_MAKES) != 0;
        bool breaks = (sub->flags & FUSE_SUB_IN_BREAKS) != 0;
        uint64_t target = fuse_sub_target(sub);
        if (makes || (breaks && with_breaks)) {
            sub->flags |= FUSE_SUB_PICKED;
        }
        if (target == FUSE_ABSENT && (!breaks || with_breaks)) {
            continue;
        }
        put_resource(sub, out);
        state->sum += fuse_sub_share(sub->slot, breaks ? sub->sent : target);
        state->revision =
            sub->slot->revision > state->revision ? sub->slot->revision : state->revision;
    }
}

static bool compose(struct fuse_feed *feed, bool with_breaks, struct chassis_buf *out)
{
    char version[FUSE_VERSION_MAX + 16], nonce[FUSE_NONCE_MAX];
    struct fuse_state state = feed->has;
    if (carries_all(feed->type)) {
        compose_all(feed, with_breaks, &state, out);
    } else {
        compose_some(feed, &state, out);
    }
    fuse_state_text(&state, version);
    fuse_feed_nonce(feed, feed->nonce + 1, nonce);
    fuse_put_text(out, 1, version);
    fuse_put_text(out, 4, fuse_type_urls[feed->type]);
    fuse_put_text(out, 5, nonce);
    return true;
}

const struct fuse_protocol_ops fuse_sotw = {
    .name = "State of the World",
    .request = on_request,
    .compose = compose,
    .tells_absence = carries_all,
    .carries_all = carries_all,
};
