/* A node group: its view, and of every resource that somebody of it asked for one slot.
 *
 * A slot is built when it is first asked for, built again once after what it is made of was touched
 * (however many sessions have it, and not before one of them can take it: so a burst of changes costs
 * what is sent of it), and gone with the last who asked. Sessions stand at their slots, so
 * a change finds them without looking at anything else.
 *
 * Invariants: a slot lives while it has subscribers or belongs to a wildcard; its hash tells content
 * apart (FUSE_ABSENT: there is no such resource); the bytes of a resource that is gone stay as long
 * as a session has to keep it, so that a State-of-the-World answer can still carry it.
 * Threads: the loop role. Ownership: groups are the server's, slots their group's.
 */
#ifndef FUSE_XDS_GROUP_H
#define FUSE_XDS_GROUP_H

#include "base/list.h"
#include "fuse/control_plane/tree.h"
#include "fuse/xds/judge.h"
#include "fuse/xds/resources.h"

struct fuse_feed;
struct fuse_sub;
struct fuse_xds;

/* Hashes of content, and what else a session may have been told. */
enum {
    FUSE_NOTHING = 0,    /* was told nothing */
    FUSE_ABSENT = 1,     /* there is no such resource */
    FUSE_UNKNOWN = 2,    /* has a version, but which? */
    FUSE_HASH_FIRST = 3, /* hashes begin here */
};

/* Names with a port, which share the fate of the name without it. */
struct fuse_stem {
    struct fuse_tree_node node;
    struct chassis_list slots;
    char name[];
};

struct fuse_slot {
    struct fuse_tree_node node; /* of its group and type, by name */
    struct fuse_group *group;
    struct fuse_stem *stem; /* NULL: it is its own */
    struct chassis_list stem_link;
    struct chassis_list subs;  /* of sessions: struct fuse_sub.link */
    struct chassis_list stale; /* of the group, while it has to be built again */
    struct chassis_list wild;  /* of the wildcard of its type */
    struct chassis_buf any;    /* google.protobuf.Any */
    char version[FUSE_VERSION_MAX];
    uint64_t hash, name_hash;
    uint64_t revision;
    /* What the judge knows: the server's sequence when it was last sent to somebody, when what was
     * last accepted by somebody was sent, and the content of that. */
    uint64_t sent_sequence, proven_sequence, proven_hash;
    unsigned n_holding; /* subscribers that have some version */
    uint32_t wild_round;
    enum fuse_type type;
    bool in_wild;
    char name[];
};

struct fuse_wildcard {
    struct chassis_list slots, feeds;
    uint32_t round;
    bool dirty; /* what belongs to it may have changed */
};

struct fuse_group {
    struct fuse_tree_node node; /* of the server, by name */
    struct fuse_xds *xds;
    struct fuse_view *view;
    struct fuse_tree slots[FUSE_N_TYPES], stems[FUSE_N_TYPES];
    struct fuse_wildcard wildcards[FUSE_N_TYPES];
    struct chassis_list stale; /* slots, to be built again as soon as somebody can take them */
    unsigned n_stale[FUSE_N_TYPES];
    struct chassis_list touched;  /* of the server, while something is to be done */
    struct chassis_list sessions; /* struct fuse_xds_session.group_link */
    unsigned n_sessions;
    bool pinned; /* asked for from outside: stays */
    struct fuse_judge judge;
    char name[];
};

/* NULL if there is none. */
struct fuse_group *fuse_group_find(const struct fuse_xds *xds, const char *name);
/* Made if it is not there. */
struct fuse_group *fuse_group_get(struct fuse_xds *xds, const char *name);
/* Free it if nobody needs it any more. */
void fuse_group_release(struct fuse_group *group);
void fuse_group_free(struct fuse_group *group);
struct fuse_resource_source fuse_group_source(const struct fuse_group *group);

/* After the model or the view changed. The route changes are told to the judge by the caller. */
void fuse_group_touch(struct fuse_group *group, const struct fuse_change *change);
/* Everything that the configuration makes. */
void fuse_group_touch_statics(struct fuse_group *group);
/* Build again what was touched and somebody can take now, tell those who have it. */
void fuse_group_refresh(struct fuse_group *group);
/* A subscriber can take something again. */
void fuse_group_can_take(struct fuse_group *group);
/* Something is to be done for the group at the end of the turn. */
void fuse_group_wake(struct fuse_group *group);
bool fuse_group_is_stale(const struct fuse_group *group);
/* There is more to come of this type than the feeds know. */
bool fuse_group_has_stale(const struct fuse_group *group, enum fuse_type type);

struct fuse_slot *fuse_slot_find(const struct fuse_group *group, enum fuse_type type,
                                 const char *name);
/* Made and built if it is not there; up to date. */
struct fuse_slot *fuse_slot_get(struct fuse_group *group, enum fuse_type type, const char *name);
/* Free it if nobody needs it any more. */
void fuse_slot_release(struct fuse_slot *slot);
/* A subscriber came to have some version, or has none any more. */
void fuse_slot_hold(struct fuse_slot *slot, bool holds);

static inline bool fuse_type_has_wildcard(enum fuse_type type)
{
    return type == FUSE_CLUSTER || type == FUSE_LISTENER;
}
/* From now on the feed has what the wildcard of its type has. */
void fuse_wildcard_join(struct fuse_group *group, struct fuse_feed *feed);
void fuse_wildcard_leave(struct fuse_group *group, struct fuse_feed *feed);

#endif
