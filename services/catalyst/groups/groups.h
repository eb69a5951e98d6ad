/* Groups' controller: durable places in streams, shared by members.
 *
 * Invariants:
 *  - every event of the stream that matches is delivered until it is acknowledged, terminated or
 *    has been delivered deliveries_max times (then it is a dead letter, stored before it is done);
 *  - at most in_flight_max deliveries are unanswered; with ordered_by_key at most one per key, in
 *    order of the stream;
 *  - the place is durable: after a restart nothing that was answered and committed is delivered
 *    again, everything else is, within ack_wait.
 * Threads: the loop role, callbacks too.
 * Ownership: options are copied; a member lives until cat_member_leave or its `ended`.
 */
#ifndef CAT_GROUPS_GROUPS_H
#define CAT_GROUPS_GROUPS_H

#include "catalyst/broker/broker.h"

enum {
    CAT_BACKOFF_MAX = 16,
    CAT_GROUPS_MAX = 1 << 20,
    CAT_IN_FLIGHT_MAX = 65536,
    CAT_DELIVERIES_MAX = 1000,
    CAT_MEMBERS_MAX = 4096, /* of one group */
    CAT_ENTRIES_EACH = 64,  /* what every group may have under way, whatever others have */
    CAT_REASON_MAX = 255,
};

struct cat_push_config {
    struct chassis_view url, token_secret;
    bool structured;
    uint32_t timeout_ms, concurrency;
    uint32_t per_minute; /* requests at most; 0 = as many as the endpoint allows */
};
struct cat_group_config {
    struct chassis_view stream, name, description;
    struct cat_start start;
    struct chassis_view filter; /* draft.events.v1 filters as encoded by the view; "" = all */
    uint32_t ack_wait_ms, deliveries_max, in_flight_max;
    uint32_t backoff_ms[CAT_BACKOFF_MAX], n_backoff;
    bool ordered_by_key;
    struct chassis_view dead_letter_stream;
    struct cat_push_config push;
};
enum cat_push_state {
    CAT_PUSH_NONE,       /* no push URL */
    CAT_PUSH_UNVERIFIED, /* the endpoint has not allowed it: nothing is posted */
    CAT_PUSH_VERIFIED,
    CAT_PUSH_EXEMPT, /* it is not asked */
    CAT_PUSH_PAUSED, /* it asked to wait */
    CAT_PUSH_GONE,   /* nothing is posted until the group is updated */
    CAT_PUSH_STATES,
};
struct cat_push_info {
    enum cat_push_state state;
    uint32_t per_minute; /* requests at most; 0 = no limit */
    int64_t next_ns;     /* wall time: when it is asked or posted to again; 0 = now, or never */
    char reason[CAT_REASON_MAX + 1];
};
struct cat_member_info {
    struct chassis_view name, address;
    int64_t joined_ns;
    uint32_t in_flight;
};
struct cat_group_info { /* borrowed until the loop's turn ends */
    struct cat_group_config config;
    int64_t created_ns;
    uint64_t ack_floor, next_sequence, lag, delivered, redelivered, dead_lettered, lost;
    uint32_t in_flight, waiting;
    const struct cat_member_info *members;
    uint32_t n_members;
    const struct cat_push_info *push; /* NULL = no push URL, or nothing said of it yet */
};

struct cat_groups;
struct cat_groups_options {
    struct cat_broker *broker;
    struct chassis_executor *loop;
    struct chassis_logger *log;
    int64_t (*wall_ns)(void *data);
    void *wall_data;
    /* Makes a filter of its stored form. */
    int (*filter)(struct chassis_view encoded, struct cat_filter **ret_filter,
                  struct chassis_error *err);
    /* A group with a push URL was made, changed or found at start (config), or is gone (NULL). May be
     * NULL. */
    void (*push)(void *data, struct chassis_view stream, struct chassis_view name,
                 const struct cat_group_config *config);
    void *push_data;
    uint32_t entries_max; /* events in flight or waiting, over all groups; 0 = 1,048,576 (about 128
                             bytes each). Beyond it a group keeps to CAT_ENTRIES_EACH. */
};
int cat_groups_open(const struct cat_groups_options *options, struct cat_groups **ret_groups,
                    struct chassis_error *err);
/* Members end with CHASSIS_SHUTTING_DOWN, places are made durable, then `closed`. Before the broker's. */
void cat_groups_close(struct cat_groups *groups, void (*closed)(void *data), void *data);
/* Free without writing or calling anything, as a crash would: for simulations. */
void cat_groups_abandon(struct cat_groups *groups);

void cat_group_create(struct cat_groups *groups, const struct cat_group_config *config,
                      cat_done_cb done, void *data);
void cat_group_update(struct cat_groups *groups, const struct cat_group_config *config,
                      cat_done_cb done, void *data);
void cat_group_delete(struct cat_groups *groups, struct chassis_view stream,
                      struct chassis_view name, cat_done_cb done, void *data);
void cat_group_seek(struct cat_groups *groups, struct chassis_view stream, struct chassis_view name,
                    struct cat_start start, cat_done_cb done, void *data);
int cat_group_get(struct cat_groups *groups, struct chassis_view stream, struct chassis_view name,
                  struct cat_group_info *ret_info, struct chassis_error *err);
/* In order of (stream, name), after the given ones; empty stream = all streams. */
void cat_group_list(struct cat_groups *groups, struct chassis_view stream,
                    struct chassis_view after_stream, struct chassis_view after_name,
                    int (*each)(void *data, const struct cat_group_info *info), void *data);

/* What is said of its push URL from now on; the time to `next` in ms, 0 = none. Of a group that is not
 * there (any more) nothing is kept. */
void cat_group_push_state(struct cat_groups *groups, struct chassis_view stream,
                          struct chassis_view name, const struct cat_push_info *info,
                          uint64_t next_ms);

struct cat_stream_groups { /* of a stream, for its description */
    uint32_t groups, members, readers;
};
struct cat_stream_groups cat_groups_of_stream(const struct cat_groups *groups,
                                              struct chassis_view stream);

/* ---- members ---- */

struct cat_member;
struct cat_member_ops {
    /* Deliver. Only while there is credit; each takes one. `attempt` from 1. */
    void (*deliver)(void *data, const struct cat_log_event *stored, uint32_t attempt);
    /* The end of a run of deliveries: send what was gathered. */
    void (*flush)(void *data);
    /* The group or its stream was deleted, or the service goes. The last callback. */
    void (*ended)(void *data, int status, const struct chassis_error *err);
    /* Events from … to - 1 were removed before the group got them. May be NULL. */
    void (*gap)(void *data, uint64_t from, uint64_t to);
};
struct cat_member_options {
    struct chassis_view stream, group, name, address;
    bool push; /* the one that serves a group with a push URL; others are refused there */
    const struct cat_member_ops *ops;
    void *data;
};
int cat_member_join(struct cat_groups *groups, const struct cat_member_options *options,
                    struct cat_member **ret_member, uint64_t *ret_next, struct chassis_error *err);
void cat_member_credit(struct cat_member *member, uint32_t more);
/* Take back what is left of the credit. */
void cat_member_withdraw(struct cat_member *member);
/* What it has in flight is delivered to others at once. */
void cat_member_leave(struct cat_member *member);

enum cat_answer_kind { CAT_ACK = 0, CAT_NACK = 1, CAT_TERM = 2, CAT_IN_PROGRESS = 3 };
struct cat_answer {
    uint64_t sequence;
    enum cat_answer_kind kind;
    uint32_t delay_ms;
    struct chassis_view reason;
    bool through;
};
/* 0, or CHASSIS_NOT_FOUND: not in flight at this member (too late, or never was). */
int cat_member_answer(struct cat_member *member, const struct cat_answer *answer);

/* ---- dead letters ---- */

/* The name of a group's dead-letter stream, into `buf`. */
void cat_dead_letter_stream(const struct cat_group_config *config, struct chassis_buf *buf);
struct cat_dead_letters {
    uint64_t
        events; /* of the group's dead-letter stream, without those replayed; a stream that groups
                        share is counted as a whole */
    int64_t first_time_ns, last_time_ns;
};
/* Zeros while there is no such stream. CHASSIS_NOT_FOUND: no such group. */
int cat_dead_letter_state(struct cat_groups *groups, struct chassis_view stream,
                          struct chassis_view group, struct cat_dead_letters *ret_state,
                          struct chassis_error *err);
/* The group's dead letters from sequence `from` of the dead-letter stream on, at most `limit`, without
 * those replayed. `done` once, with where to go on. */
void cat_dead_letter_peek(struct cat_groups *groups, struct chassis_view stream,
                          struct chassis_view group, uint64_t from, uint32_t limit,
                          void (*each)(void *data, const struct cat_log_event *stored),
                          void (*done)(void *data, int status, uint64_t next,
                                       const struct chassis_error *err),
                          void *data);

typedef void (*cat_count_cb)(void *data, int status, uint64_t count,
                             const struct chassis_error *err);

/* Put dead letters (of these sequences of the dead-letter stream, rising; NULL = all) back before the
 * group, then remove them. An event that its stream still keeps is delivered again as if for the first
 * time, behind what its key has in flight; another one is published into the stream again with the
 * attribute deadreplay = the group's name, and the other groups pass over it. `done` when that is
 * durable; a status beside a count: the others were not replayed, and stay. One replay or purge of a
 * group at a time, otherwise CHASSIS_BUSY. */
void cat_dead_letter_replay(struct cat_groups *groups, struct chassis_view stream,
                            struct chassis_view group, const uint64_t *sequences, uint32_t n,
                            cat_count_cb done, void *data);
/* Remove the group's dead letters up to `through` (0 = all). */
void cat_dead_letter_purge(struct cat_groups *groups, struct chassis_view stream,
                           struct chassis_view group, uint64_t through, cat_count_cb done,
                           void *data);

#endif
