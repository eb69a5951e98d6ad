#include <inttypes.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "fuse/xds/quirk.h"
#include "fuse/xds/state.h"
#include "proto/wire.h"

/* ---- protobuf by hand ---- */

void fuse_put_tag(struct chassis_buf *out, unsigned field, size_t len)
{
    chassis_buf_append_varint(out, field << 3 | 2);
    chassis_buf_append_varint(out, len);
}

void fuse_put_text(struct chassis_buf *out, unsigned field, const char *text)
{
    size_t len = strlen(text);
    if (len != 0) {
        fuse_put_tag(out, field, len);
        chassis_buf_append(out, text, len);
    }
}

struct chassis_view fuse_sub_any(const struct fuse_sub *sub, struct chassis_buf *room)
{
    struct chassis_view any = chassis_buf_view(&sub->slot->any);
    if (sub->slot->type != FUSE_CLUSTER || !sub->feed->session->fears_ring_hash) {
        return any;
    }
    struct wire_field url, value;
    struct chassis_buf cluster = {0};
    const uint8_t *middle = wire_next(any.data, wire_end(any), &url);
    const uint8_t *end = wire_next(middle, wire_end(any), &value);
    CHASSIS_ASSERT(end == wire_end(any)); /* group.c made it */
    fuse_quirk_drop_ring_hash(value.bytes, &cluster);
    chassis_buf_append(room, any.data, (size_t)(middle - any.data));
    fuse_put_tag(room, 2, cluster.len);
    chassis_buf_append_view(room, chassis_buf_view(&cluster));
    chassis_buf_fini(&cluster);
    return chassis_buf_view(room);
}

void fuse_feed_nonce(const struct fuse_feed *feed, uint32_t nonce, char ret_nonce[FUSE_NONCE_MAX])
{
    snprintf(ret_nonce, FUSE_NONCE_MAX, "%" PRIx64 ".%" PRIu32, feed->session->serial, nonce);
}

void fuse_state_text(const struct fuse_state *state, char ret_version[FUSE_VERSION_MAX + 16])
{
    snprintf(ret_version, FUSE_VERSION_MAX + 16, "%" PRIu64 ".%016" PRIx64, state->revision,
             state->sum);
}

bool fuse_state_sum(const char *version, uint64_t *ret_sum)
{
    const char *dot = strchr(version, '.');
    if (dot == NULL || strlen(dot + 1) != 16 || strspn(dot + 1, "0123456789abcdef") != 16) {
        return false;
    }
    *ret_sum = strtoull(dot + 1, NULL, 16);
    return true;
}

/* ---- what a client has ---- */

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014), so that sums of shares do not cancel out. */
uint64_t fuse_sub_share(const struct fuse_slot *slot, uint64_t sent)
{
    uint64_t x = slot->name_hash + sent * 0x9e3779b97f4a7c15U;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

static bool counts(const struct fuse_sub *sub)
{
    return sub->sent >= FUSE_UNKNOWN && (sub->flags & FUSE_SUB_REFUSED) == 0;
}

static void set_sent(struct fuse_sub *sub, uint64_t sent, bool refused)
{
    bool held = sub->sent >= FUSE_UNKNOWN, holds = sent >= FUSE_UNKNOWN;
    if (counts(sub)) {
        sub->feed->has.sum -= fuse_sub_share(sub->slot, sub->sent);
    }
    sub->sent = sent;
    sub->flags = refused ? sub->flags | FUSE_SUB_REFUSED : sub->flags & ~(uint32_t)FUSE_SUB_REFUSED;
    if (counts(sub)) {
        sub->feed->has.sum += fuse_sub_share(sub->slot, sub->sent);
    }
    if (held != holds) {
        fuse_slot_hold(sub->slot, holds);
    }
}

uint64_t fuse_sub_target(const struct fuse_sub *sub)
{
    bool wanted = (sub->flags & (FUSE_SUB_NAMED | FUSE_SUB_WILD)) != 0;
    bool allowed = sub->feed->type != FUSE_SECRET || sub->feed->session->private_stream;
    return wanted && allowed ? sub->slot->hash : FUSE_ABSENT;
}

static bool differs(const struct fuse_sub *sub, uint64_t target)
{
    if (target == FUSE_ABSENT && !sub->feed->session->protocol->tells_absence(sub->feed->type)) {
        return false;
    }
    return sub->sent != target || (sub->flags & FUSE_SUB_FORCED) != 0;
}

static void unwant(struct fuse_sub *sub)
{
    chassis_list_remove(&sub->wanted);
    sub->flags &= ~(uint32_t)(FUSE_SUB_IN_MAKES | FUSE_SUB_IN_BREAKS);
}

/* Stands in makes or breaks, or in neither, as it should. */
static void place(struct fuse_sub *sub)
{
    uint64_t target = fuse_sub_target(sub);
    bool breaks = target == FUSE_ABSENT && sub->sent >= FUSE_UNKNOWN;
    uint32_t flag = breaks ? FUSE_SUB_IN_BREAKS : FUSE_SUB_IN_MAKES;
    if (!differs(sub, target)) {
        unwant(sub);
        return;
    }
    if ((sub->flags & flag) == 0) {
        unwant(sub);
        sub->flags |= flag;
        chassis_list_append(breaks ? &sub->feed->breaks : &sub->feed->makes, &sub->wanted);
    }
    fuse_session_wake(sub->feed->session);
}

/* Of what was refused together nobody knows what the client took: all of it again, now that there is
 * something new in it. */
static void forget_refusal(struct fuse_feed *feed)
{
    while (!chassis_list_empty(&feed->refused)) {
        struct fuse_sub *sub = chassis_list_entry(feed->refused.next, struct fuse_sub, flight);
        chassis_list_remove(&sub->flight);
        sub->flags &= ~(uint32_t)FUSE_SUB_IN_FLIGHT;
        set_sent(sub, sub->sent >= FUSE_UNKNOWN ? FUSE_UNKNOWN : FUSE_NOTHING, false);
        place(sub);
    }
    feed->unjudged = false;
}

void fuse_sub_touch(struct fuse_sub *sub)
{
    struct fuse_feed *feed = sub->feed;
    if ((sub->flags & FUSE_SUB_REFUSED) != 0 && sub->sent != fuse_sub_target(sub)) {
        forget_refusal(feed);
        return;
    }
    if ((sub->flags & (FUSE_SUB_IN_MAKES | FUSE_SUB_IN_BREAKS)) != 0) {
        fuse_measure_add(FUSE_MEASURE_COALESCED, 1);
    }
    place(sub);
}

void fuse_sub_has(struct fuse_sub *sub, uint64_t sent)
{
    set_sent(sub, sent, false);
    place(sub);
}

/* ---- subscriptions ---- */

struct fuse_feed *fuse_feed_new(struct fuse_xds_session *session, enum fuse_type type)
{
    struct fuse_feed *feed = chassis_base_zalloc(sizeof *feed);
    feed->session = session;
    feed->type = type;
    chassis_list_init(&feed->makes);
    chassis_list_init(&feed->breaks);
    chassis_list_init(&feed->flight);
    chassis_list_init(&feed->refused);
    chassis_list_init(&feed->wild_link);
    return feed;
}

static size_t weight(const char *name)
{
    return sizeof(struct fuse_sub) + strlen(name);
}

static void sub_free(struct fuse_sub *sub)
{
    struct fuse_slot *slot = sub->slot;
    struct fuse_feed *feed = sub->feed;
    set_sent(sub, FUSE_NOTHING, false);
    chassis_list_remove(&sub->wanted);
    chassis_list_remove(&sub->flight);
    chassis_list_remove(&sub->link);
    fuse_tree_remove(&feed->subs, &sub->node);
    feed->n_named -= (sub->flags & FUSE_SUB_NAMED) != 0;
    feed->session->bytes -= weight(slot->name);
    feed->session->xds->bytes -= weight(slot->name);
    free(sub);
    fuse_slot_release(slot);
}

void fuse_feed_free(struct fuse_feed *feed)
{
    fuse_judge_gone(feed);
    if (feed->wildcard) {
        fuse_wildcard_leave(feed->session->group, feed);
    }
    while (feed->subs.root != NULL) {
        sub_free(fuse_tree_entry(feed->subs.root, struct fuse_sub, node));
    }
    free(feed->words);
    free(feed);
}

struct fuse_sub *fuse_feed_find(const struct fuse_feed *feed, const char *name)
{
    struct fuse_tree_node *node = fuse_tree_find(&feed->subs, name);
    return node != NULL ? fuse_tree_entry(node, struct fuse_sub, node) : NULL;
}

static struct fuse_sub *sub_get(struct fuse_feed *feed, const char *name)
{
    struct fuse_sub *sub = fuse_feed_find(feed, name);
    if (sub != NULL) {
        return sub;
    }
    sub = chassis_base_zalloc(sizeof *sub);
    sub->feed = feed;
    sub->slot = fuse_slot_get(feed->session->group, feed->type, name);
    sub->node.key = sub->slot->name;
    chassis_list_init(&sub->wanted);
    chassis_list_init(&sub->flight);
    chassis_list_append(&sub->slot->subs, &sub->link);
    fuse_tree_put(&feed->subs, &sub->node);
    feed->session->bytes += weight(name);
    feed->session->xds->bytes += weight(name);
    return sub;
}

int fuse_feed_subscribe(struct fuse_feed *feed, const char *name, uint32_t flag,
                        struct fuse_sub **ret_sub, struct chassis_error *err)
{
    struct fuse_sub *sub = fuse_feed_find(feed, name);
    if (sub == NULL) {
        size_t len = strlen(name);
        if (len == 0 || len > FUSE_NAME_BYTES_MAX) {
            return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                     "a resource name of %zu bytes: it must have 1 to %d", len,
                                     FUSE_NAME_BYTES_MAX);
        }
        if (feed->subs.n >= FUSE_NAMES_MAX && !feed->wildcard) {
            return chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED,
                                     "more than %d names of type '%s': ask for fewer",
                                     FUSE_NAMES_MAX, fuse_type_urls[feed->type]);
        }
        if (feed->session->xds->bytes > FUSE_SUBS_BYTES_MAX) {
            return chassis_error_set(
                err, CHASSIS_RESOURCE_EXHAUSTED,
                "all clients together subscribe to more than fits into %d MiB: "
                "ask for less, or at another Fuse",
                FUSE_SUBS_BYTES_MAX >> 20);
        }
        sub = sub_get(feed, name);
    }
    feed->n_named += (flag & ~sub->flags & FUSE_SUB_NAMED) != 0;
    sub->flags |= flag;
    place(sub);
    *ret_sub = sub;
    return 0;
}

/* Nobody asked for it: gone at once if the client does not have it, or knows. */
static void leave(struct fuse_sub *sub)
{
    if (sub->sent < FUSE_UNKNOWN) {
        sub_free(sub);
    } else {
        place(sub);
    }
}

void fuse_feed_unsubscribe(struct fuse_sub *sub)
{
    struct fuse_feed *feed = sub->feed;
    feed->n_named -= (sub->flags & FUSE_SUB_NAMED) != 0;
    sub->flags &= ~(uint32_t)FUSE_SUB_NAMED;
    if (!feed->wildcard) {
        sub_free(sub); /* the client has forgotten it already */
    } else if ((sub->flags & FUSE_SUB_WILD) == 0) {
        leave(sub);
    } else {
        place(sub);
    }
}

void fuse_feed_wild(struct fuse_feed *feed, struct fuse_slot *slot, bool belongs)
{
    struct fuse_sub *sub = belongs ? sub_get(feed, slot->name) : fuse_feed_find(feed, slot->name);
    if (belongs) {
        sub->flags |= FUSE_SUB_WILD;
        place(sub);
    } else if (sub != NULL) {
        sub->flags &= ~(uint32_t)FUSE_SUB_WILD;
        if ((sub->flags & FUSE_SUB_NAMED) == 0) {
            leave(sub);
        }
    }
}

/* The client forgets what it had by the wildcard alone. */
static void forget_wild(struct fuse_feed *feed)
{
    struct fuse_sub **gone = chassis_base_alloc((feed->subs.n + 1) * sizeof *gone);
    unsigned n = 0;
    struct fuse_tree_walk walk;
    fuse_tree_walk_begin(&walk, &feed->subs);
    for (struct fuse_tree_node *node; (node = fuse_tree_walk_next(&walk)) != NULL;) {
        struct fuse_sub *sub = fuse_tree_entry(node, struct fuse_sub, node);
        sub->flags &= ~(uint32_t)FUSE_SUB_WILD;
        if ((sub->flags & FUSE_SUB_NAMED) == 0) {
            gone[n++] = sub;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        sub_free(gone[i]);
    }
    free(gone);
}

void fuse_feed_set_wildcard(struct fuse_feed *feed, bool wildcard)
{
    if (feed->wildcard == wildcard) {
        return;
    }
    feed->wildcard = wildcard;
    if (wildcard) {
        fuse_wildcard_join(feed->session->group, feed);
    } else {
        fuse_wildcard_leave(feed->session->group, feed);
        forget_wild(feed);
    }
}

/* ---- responses ---- */

static void to_flight(struct fuse_sub *sub)
{
    struct fuse_feed *feed = sub->feed;
    chassis_list_remove(&sub->flight);
    chassis_list_append(&feed->flight, &sub->flight);
    sub->flags |= FUSE_SUB_IN_FLIGHT;
    sub->slot->sent_sequence = feed->session->xds->sequence;
    if (sub->slot->revision > feed->has.revision) {
        feed->has.revision = sub->slot->revision;
    }
}

static void sent(struct fuse_sub *sub)
{
    uint64_t target = fuse_sub_target(sub);
    sub->flags &= ~(uint32_t)(FUSE_SUB_PICKED | FUSE_SUB_FORCED);
    set_sent(sub, target, false);
    unwant(sub);
    if ((sub->flags & (FUSE_SUB_NAMED | FUSE_SUB_WILD)) == 0) {
        sub_free(sub);
        return;
    }
    to_flight(sub);
}

static void each_picked(struct chassis_list *list, void (*each)(struct fuse_sub *sub))
{
    chassis_list_foreach_safe (link, list) {
        struct fuse_sub *sub = chassis_list_entry(link, struct fuse_sub, wanted);
        if ((sub->flags & FUSE_SUB_PICKED) == 0) {
            return; /* they are picked from the front on */
        }
        each(sub);
    }
}

static void unpick(struct fuse_sub *sub)
{
    sub->flags &= ~(uint32_t)FUSE_SUB_PICKED;
}

void fuse_feed_uncommit(struct fuse_feed *feed)
{
    each_picked(&feed->makes, unpick);
    each_picked(&feed->breaks, unpick);
}

void fuse_feed_commit(struct fuse_feed *feed)
{
    struct fuse_xds *xds = feed->session->xds;
    CHASSIS_ASSERT(!feed->outstanding && chassis_list_empty(&feed->flight));
    each_picked(&feed->makes, sent);
    each_picked(&feed->breaks, sent);
    if (feed->session->protocol->carries_all(feed->type)) {
        chassis_list_foreach_safe (link, &feed->refused) {
            struct fuse_sub *sub = chassis_list_entry(link, struct fuse_sub, flight);
            set_sent(sub, sub->sent, false);
            to_flight(sub);
        }
    }
    feed->nonce++;
    feed->owed = false;
    feed->outstanding = true;
    feed->sent = feed->has;
    feed->sent_sequence = xds->sequence;
    feed->sent_ns = fuse_xds_now_ns(xds);
    feed->sent_time_ns = fuse_xds_wall_ns(xds);
}

void fuse_feed_accepted(struct fuse_feed *feed)
{
    struct fuse_xds *xds = feed->session->xds;
    uint64_t lag_ns = fuse_xds_now_ns(xds) - feed->sent_ns;
    feed->outstanding = feed->contrary = false;
    fuse_group_can_take(feed->session->group);
    feed->accepted = feed->sent;
    feed->accepted_time_ns = fuse_xds_wall_ns(xds);
    feed->lag_us = lag_ns / 1000;
    fuse_measure_ack(feed->type, (double)lag_ns / 1e9);
    fuse_judge_accepted(feed);
    while (!chassis_list_empty(&feed->flight)) {
        struct fuse_sub *sub = chassis_list_entry(feed->flight.next, struct fuse_sub, flight);
        chassis_list_remove(&sub->flight);
        sub->flags &= ~(uint32_t)FUSE_SUB_IN_FLIGHT;
    }
    fuse_session_wake(feed->session);
}

/* At most so many bytes of text that can be shown: no control characters, no half characters. */
static char *clean_words(const char *words)
{
    size_t len = strlen(words);
    if (len > FUSE_NACK_MAX) {
        len = FUSE_NACK_MAX;
        while (len > 0 && ((unsigned char)words[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    char *clean = chassis_base_alloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)words[i];
        clean[i] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
    clean[len] = '\0';
    return clean;
}

void fuse_feed_refused(struct fuse_feed *feed, const char *words)
{
    struct fuse_xds *xds = feed->session->xds;
    feed->outstanding = false;
    fuse_group_can_take(feed->session->group);
    feed->nacks++;
    feed->refused_time_ns = fuse_xds_wall_ns(xds);
    free(feed->words);
    feed->words = clean_words(words);
    feed->unjudged = true;
    fuse_measure_nack(feed->type);
    chassis_list_foreach_safe (link, &feed->flight) {
        struct fuse_sub *sub = chassis_list_entry(link, struct fuse_sub, flight);
        chassis_list_remove(&sub->flight);
        if (sub->sent < FUSE_UNKNOWN) {
            sub->flags &= ~(uint32_t)FUSE_SUB_IN_FLIGHT;
            continue;
        }
        chassis_list_append(&feed->refused, &sub->flight);
        set_sent(sub, sub->sent, true);
    }
    /* What changed while it was under way makes all of it new. */
    chassis_list_foreach (link, &feed->refused) {
        struct fuse_sub *sub = chassis_list_entry(link, struct fuse_sub, flight);
        if (sub->sent != fuse_sub_target(sub)) {
            fuse_judge_refused(feed);
            forget_refusal(feed);
            fuse_session_wake(feed->session);
            return;
        }
    }
    fuse_judge_refused(feed);
    fuse_session_wake(feed->session);
}
