/* What push.c (the plugin, groups by name, life) and pusher.c (one group) share.
 *
 *     UNVERIFIED ──allowed──▶ VERIFIED ──429, 503 with Retry-After──▶ PAUSED
 *       │  ▲                   │  │  ▲                                  │
 *       │  └── target changed ─┘  │  └──────────── time ────────────────┘
 *       └────────410─────────▶ GONE ◀─410
 *
 * (EXEMPT stands for VERIFIED where the endpoint is not asked.) The group has its member while
 * VERIFIED, EXEMPT or PAUSED; otherwise nothing can be posted.
 *
 * Threads: the loop role.
 */
#ifndef CAT_PUSH_INTERNAL_H
#define CAT_PUSH_INTERNAL_H

#include <chassis/metrics.h>

#include "base/assert.h"
#include "base/list.h"
#include "catalyst/push/client.h"
#include "catalyst/push/permit.h"
#include "catalyst/push/push.h"

enum { CAT_PUSH_ASKED_MAX = 256 /* endpoints at a time, over all groups */ };

struct cat_push {
    struct cat_push_options options;
    char origin[256];
    struct cat_groups *groups;      /* NULL before start */
    struct cat_push_client *client; /* NULL until a group needs it */
    struct chassis_list pushers;
    struct chassis_list waiting; /* pushers that may not ask yet */
    uint32_t asked;
    struct chassis_counter *pushed, *failed, *refused;
    void (*closed)(void *data);
    void *closed_data;
};

/* One group. Lives until its group is gone and its last request has ended. */
struct cat_pusher {
    struct chassis_list link, waiting_link;
    struct cat_push *push;
    char *stream, *name, *url, *authorization; /* the last "" = none */
    bool structured, own_backoff;
    uint32_t timeout_ms, concurrency, per_minute;
    uint32_t allowed; /* requests per minute, by the endpoint and by per_minute; 0 = no limit */
    enum cat_push_state state, permitted; /* permitted: VERIFIED or EXEMPT, behind a PAUSED */
    struct cat_member *member;
    uint32_t holds;       /* requests under way: its memory stays */
    uint32_t joined;      /* how often it has: what is under way may be of a former member */
    uint32_t busy, given; /* of this member: requests under way, credit not used yet */
    uint32_t target;      /* raised when another is asked: answers to former questions are void */
    uint32_t refusals;    /* in a row */
    struct cat_rate rate;
    uint64_t paused_until_ns;
    struct chassis_timer timer; /* to ask again, or to post again */
    bool gone;
};

/* ---- push.c ---- */

/* The client is there. */
int cat_push_load(struct cat_push *push, struct chassis_error *err);

/* ---- pusher.c ---- */

struct cat_pusher *cat_pusher_new(struct cat_push *push, char *stream, char *name);
/* Its target or its permission is new: ask, then join. */
void cat_pusher_begin(struct cat_pusher *pusher);
/* The target is as before: join with what is configured now. */
void cat_pusher_go_on(struct cat_pusher *pusher);
void cat_pusher_leave(struct cat_pusher *pusher);
/* Its group is gone; frees it, at once or when its last request has ended. */
void cat_pusher_let_go(struct cat_pusher *pusher);

#endif
