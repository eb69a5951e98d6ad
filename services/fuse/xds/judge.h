/* Which route did the proxy refuse? Last known good, by bisection.
 *
 *   refused ──▶ suspects: routes of the response that nobody of the group has accepted as they are
 *           ──▶ the group has what it accepted last (or nothing) instead of each
 *           ──▶ some are offered to the same proxy: accepted = good, refused = one of them is bad,
 *               half of them next ── one left ──▶ quarantine
 *
 * k bad among n routes take O(k log n) rounds. What was accepted is known without a list: a slot
 * remembers the newest content of it that was acknowledged. Only of a route that changed and is not
 * acknowledged everywhere yet the group keeps what it had before (`past`).
 *
 * While a group has an oracle, whatever else is new joins the suspects, so that one trial differs from
 * the one before only by what it is about. Without one the suspects stay out until there is one. A
 * proxy that refuses even what was accepted before is contrary: it decides nothing until it accepts
 * something.
 *
 * Invariants: at most one inquiry a group; a proxy that was found contrary begins none.
 * Threads: the loop role. Ownership: the group's.
 */
#ifndef FUSE_XDS_JUDGE_H
#define FUSE_XDS_JUDGE_H

#include <chassis/executor.h>

#include "base/list.h"
#include "fuse/control_plane/tree.h"
#include "fuse/control_plane/view.h"

struct fuse_feed;
struct fuse_group;
struct fuse_slot;
struct fuse_suspect;
struct fuse_xds;

enum fuse_judge_phase {
    FUSE_JUDGE_IDLE,
    FUSE_JUDGE_FALLBACK, /* is the proxy content without any suspect? */
    FUSE_JUDGE_TRIAL,    /* the first `n_offered` suspects are offered */
    FUSE_JUDGE_WAITING,  /* for an oracle */
};
struct fuse_judge {
    enum fuse_judge_phase phase;
    struct fuse_tree past;         /* struct fuse_past */
    struct chassis_list with_sent; /* those of it that have some */
    uint64_t replaced;         /* when something was last replaced that was sent, not accepted */
    struct chassis_timer tidy; /* some of `past` may say nothing any more */
    struct fuse_suspect **suspects; /* oldest version first */
    unsigned n_suspects, cap, n_offered;
    unsigned n_bad; /* one of the first n_bad is bad; 0 = nothing is known */
    bool sane;      /* the oracle has accepted something */
    bool again;     /* others were refused meanwhile: look at them */
    int type;       /* enum fuse_type */
    struct fuse_feed *oracle;
    uint64_t sequence; /* the server's when the trial began */
    char *words, *proxy;
    struct chassis_timer timer; /* an oracle must not be silent for ever */
};

void fuse_judge_init(struct fuse_group *group);
void fuse_judge_fini(struct fuse_group *group);
/* A route changed: before the group is touched. */
void fuse_judge_route(struct fuse_group *group, const struct fuse_change *change);
/* The group has this route again: while others are tried it waits with them. */
void fuse_judge_capture(struct fuse_group *group, const char *route);
/* The feed's response was accepted, refused; its flight list is still there. */
void fuse_judge_accepted(struct fuse_feed *feed);
void fuse_judge_refused(struct fuse_feed *feed);
/* The feed ends. */
void fuse_judge_gone(struct fuse_feed *feed);
/* Nobody has this slot any more. */
void fuse_judge_forget(struct fuse_slot *slot);
/* The client says, and it is so, that it has the slot's present content. */
void fuse_judge_claimed(struct fuse_slot *slot);
/* Everything that could be sent has been. True: something has to be sent again. */
bool fuse_judge_settle(struct fuse_group *group);
/* Another Fuse has convicted it: no suspect any more. */
void fuse_judge_leave(struct fuse_group *group, const char *route);
bool fuse_judge_is_idle(const struct fuse_group *group);

/* ---- accuse.c ---- */
/* The feed's answer was refused; `fresh`: some of it was never accepted by anybody. */
void fuse_accuse(struct fuse_feed *feed, void (*each)(const struct fuse_entry *entry, void *data),
                 void *data, bool *ret_fresh);

/* ---- past.c: what was accepted ---- */
enum { FUSE_PAST_SENT_MAX = 3 };
/* A route that changed, until every resource made of it has been accepted by somebody. */
struct fuse_past {
    struct fuse_tree_node node;    /* by name */
    uint64_t sequence;             /* the server's when the group got the present version */
    struct fuse_entry accepted;    /* without a route = nothing */
    struct chassis_list with_sent; /* of the judge, while n_sent != 0 */
    unsigned n_sent;
    struct { /* sent, not yet accepted, and replaced since; oldest first */
        struct fuse_entry entry;
        uint64_t from, until; /* the group had it in answers of these sequences */
    } sent[FUSE_PAST_SENT_MAX];
    char name[];
};
struct fuse_past *fuse_past_find(const struct fuse_group *group, const char *route);
struct fuse_past *fuse_past_get(struct fuse_group *group, const char *route);
/* Its present version came. */
void fuse_past_changed(struct fuse_group *group, const struct fuse_change *change);
/* Every resource that somebody asks for was accepted with `entry`, the present version. */
bool fuse_past_is_over(const struct fuse_group *group, const struct fuse_past *past,
                       const struct fuse_entry *entry);
/* Somebody accepted what the feed has in flight: maybe a version that was replaced meanwhile. */
void fuse_past_accept(struct fuse_feed *feed);
/* Somebody of the group accepted resources of this type with this version. `past` may be NULL. */
bool fuse_past_is_proven(const struct fuse_group *group, const struct fuse_past *past,
                         const struct fuse_entry *entry, int type);
/* Forget what says nothing any more: soon, and the later the more there is to look at. */
void fuse_past_untidy(struct fuse_group *group);
void fuse_past_tidy(struct chassis_timer *timer);
void fuse_past_fini(struct fuse_group *group);
void fuse_entry_copy(struct fuse_entry *to, const struct fuse_entry *from);
void fuse_entry_drop(struct fuse_entry *entry);
/* Slots of the group that are made of a route. */
void fuse_past_each_slot(const struct fuse_group *group, const struct fuse_change *change,
                         void (*each)(struct fuse_slot *slot, void *data), void *data);

/* ---- the group's view, with everybody told ---- */
void fuse_group_override(struct fuse_group *group, const char *route,
                         const struct fuse_entry *instead);
void fuse_group_restore(struct fuse_group *group, const char *route);

/* ---- quarantine.c ---- */
/* The judge's verdict: the group's view is as it should be already. */
void fuse_quarantine_add(struct fuse_group *group, const struct fuse_entry *guilty,
                         const struct fuse_entry *instead, const char *proxy, const char *words);
/* A route changed or went: quarantines of other versions are over, in every group. */
void fuse_quarantine_route(struct fuse_xds *xds, const struct fuse_change *change);
/* A group came to be. */
void fuse_quarantine_apply(struct fuse_group *group);
/* The model is complete: those of other versions are over. */
void fuse_quarantine_settle(struct fuse_xds *xds);
void fuse_quarantine_fini(struct fuse_xds *xds);

#endif
