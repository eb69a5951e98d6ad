/* Sessions, what each asked for, and the two protocols over it.
 *
 *   session ── feed (one a type) ── sub (one a name) ── slot of the group
 *
 * A feed sends one response, waits for ACK or NACK, sends what changed meanwhile. Its subs stand in
 * `makes` (to be sent), `breaks` (removals, which wait until nothing refers to them), `flight` (in the
 * response that is out) or `refused` (in one that was not accepted: sent again when one of them
 * changes).
 *
 * Invariants: a sub differs from its slot only while it stands in makes or breaks; `sum` is that of
 * what the client has, whatever the order it came in.
 * Threads: the loop role. Ownership: sessions own feeds, feeds own subs.
 */
#ifndef FUSE_XDS_SESSION_H
#define FUSE_XDS_SESSION_H

#include "fuse/xds/group.h"
#include "fuse/xds/server.h"

enum {
    FUSE_NAMES_MAX = 20000,       /* of one type and session */
    FUSE_NAME_BYTES_MAX = 1024,   /* of one name */
    FUSE_RESPONSE_SOFT = 1 << 20, /* a response that may be divided ends here */
    FUSE_NACK_MAX = 2048,
    FUSE_WAITING_MAX = 4 << 20, /* requests of one session before the server is ready */
};

enum {
    FUSE_SUB_NAMED = 1,   /* asked for by name */
    FUSE_SUB_WILD = 2,    /* by a wildcard */
    FUSE_SUB_FORCED = 4,  /* to be sent though the client has it: it asked again */
    FUSE_SUB_REFUSED = 8, /* `sent` was not accepted */
    FUSE_SUB_IN_MAKES = 16,
    FUSE_SUB_IN_BREAKS = 32,
    FUSE_SUB_IN_FLIGHT = 64, /* in `flight`, or in `refused` */
    FUSE_SUB_PICKED = 128,   /* in the response being made */
};
struct fuse_sub {
    struct fuse_tree_node node; /* of the feed, by name */
    struct fuse_slot *slot;
    struct fuse_feed *feed;
    struct chassis_list link;   /* of the slot */
    struct chassis_list wanted; /* of makes or breaks */
    struct chassis_list flight; /* of flight or refused */
    uint64_t sent;              /* what the client was told: a hash */
    uint32_t mark;              /* the latest request that names it */
    uint32_t flags;
};

/* What a client has of a type: newest revision and the sum over names and contents. */
struct fuse_state {
    uint64_t revision, sum;
};

struct fuse_feed {
    struct fuse_xds_session *session;
    enum fuse_type type;
    struct fuse_tree subs;
    struct chassis_list makes, breaks, flight, refused;
    struct chassis_list wild_link; /* of the group's wildcard */
    unsigned n_named;
    uint32_t mark;  /* counts requests */
    uint32_t nonce; /* of the last response; 0 = none */
    bool wildcard;
    bool legacy;           /* wildcard by asking for nothing */
    bool named_once;       /* asked for names on this stream: nothing means nothing now */
    bool started;          /* had a request */
    bool owed;             /* a response is due even if it is empty */
    bool outstanding;      /* the last response is neither accepted nor refused */
    bool unjudged;         /* refused, and nobody has looked why */
    bool contrary;         /* refuses everything, it seems: see judge.h */
    struct fuse_state has; /* after the last response */
    struct fuse_state sent, accepted; /* as in responses */
    uint64_t sent_sequence;           /* the server's when it was made */
    uint64_t sent_ns;
    int64_t sent_time_ns, accepted_time_ns, refused_time_ns;
    uint64_t lag_us, nacks;
    char *words; /* of the last refusal */
};

struct fuse_protocol_ops {
    const char *name;
    /* Take a request; a negative code ends the stream. */
    int (*request)(struct fuse_xds_session *session, struct chassis_view encoded,
                   struct chassis_error *err);
    /* Append what is to be sent of the feed and mark it picked; false = nothing. `with_breaks`:
     * removals may go. */
    bool (*compose)(struct fuse_feed *feed, bool with_breaks, struct chassis_buf *out);
    /* A resource that is not there (any more) is told. */
    bool (*tells_absence)(enum fuse_type type);
    /* Every response carries everything that is subscribed. */
    bool (*carries_all)(enum fuse_type type);
};
extern const struct fuse_protocol_ops fuse_sotw, fuse_delta;

struct fuse_xds_session {
    struct fuse_proxy proxy; /* registered once the node is known: `group` */
    struct fuse_xds *xds;
    const struct fuse_protocol_ops *protocol;
    struct fuse_group *group;
    struct chassis_list link, group_link, pushing;
    struct fuse_xds_wire wire;
    struct fuse_feed *feeds[FUSE_N_TYPES];
    uint64_t serial;
    int64_t connected_ns;
    struct chassis_buf waiting; /* requests from before the server was ready */
    char *address, *user_agent;
    enum fuse_type only;
    size_t bytes; /* of subs */
    bool private_stream, follows_servers, fears_ring_hash, blocked, failed, queued;
    bool fetching; /* answered once, not remembered */
};

/* ---- session.c ---- */
/* Learn who it is, at the first request. */
int fuse_session_identify(struct fuse_xds_session *session, const void *node,
                          struct chassis_error *err);
/* The feed a request is for; NULL with an error, or without one when the type is not ours. */
struct fuse_feed *fuse_session_feed(struct fuse_xds_session *session, const char *type_url,
                                    struct chassis_error *err);
bool fuse_session_nonce_is_latest(const struct fuse_feed *feed, const char *nonce);
/* Look after it at the end of the turn. */
void fuse_session_wake(struct fuse_xds_session *session);
void fuse_session_push(struct fuse_xds_session *session);
void fuse_session_fail(struct fuse_xds_session *session, const struct chassis_error *err);
/* Nothing is under way, nothing to be sent. */
bool fuse_feed_is_settled(const struct fuse_feed *feed);

/* ---- feed.c ---- */
struct fuse_feed *fuse_feed_new(struct fuse_xds_session *session, enum fuse_type type);
void fuse_feed_free(struct fuse_feed *feed);
struct fuse_sub *fuse_feed_find(const struct fuse_feed *feed, const char *name);
/* Found or made; CHASSIS_RESOURCE_EXHAUSTED, CHASSIS_INVALID_ARGUMENT. `flag` is set on it. */
int fuse_feed_subscribe(struct fuse_feed *feed, const char *name, uint32_t flag,
                        struct fuse_sub **ret_sub, struct chassis_error *err);
/* Not by name any more. */
void fuse_feed_unsubscribe(struct fuse_sub *sub);
void fuse_feed_set_wildcard(struct fuse_feed *feed, bool wildcard);
void fuse_feed_accepted(struct fuse_feed *feed);
void fuse_feed_refused(struct fuse_feed *feed, const char *words);
/* The client has this already. */
void fuse_sub_has(struct fuse_sub *sub, uint64_t sent);
/* What the client should have. */
uint64_t fuse_sub_target(const struct fuse_sub *sub);
/* Its slot changed, or what the client asks for. */
void fuse_sub_touch(struct fuse_sub *sub);
/* Belongs to the wildcard from now on, or no longer. */
void fuse_feed_wild(struct fuse_feed *feed, struct fuse_slot *slot, bool belongs);
/* What was picked has been sent. */
void fuse_feed_commit(struct fuse_feed *feed);
void fuse_feed_uncommit(struct fuse_feed *feed);
uint64_t fuse_sub_share(const struct fuse_slot *slot, uint64_t sent);

/* ---- protobuf by hand, where the messages are many and all alike ---- */
/* The google.protobuf.Any of a sub's slot, as this client can bear it; in `room` if it is not the
 * slot's own. */
struct chassis_view fuse_sub_any(const struct fuse_sub *sub, struct chassis_buf *room);
void fuse_put_tag(struct chassis_buf *out, unsigned field, size_t len);
void fuse_put_text(struct chassis_buf *out, unsigned field, const char *text);
enum { FUSE_NONCE_MAX = 32 };
void fuse_feed_nonce(const struct fuse_feed *feed, uint32_t nonce, char ret_nonce[FUSE_NONCE_MAX]);
void fuse_state_text(const struct fuse_state *state, char ret_version[FUSE_VERSION_MAX + 16]);
/* The sum in a version; false if it is none of ours. */
bool fuse_state_sum(const char *version, uint64_t *ret_sum);

/* ---- status.c ---- */
extern const struct fuse_proxy_ops fuse_session_proxy_ops;

#endif
