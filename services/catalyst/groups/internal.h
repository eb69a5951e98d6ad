/* What the files of this folder share: the groups of a node, one group, its members.
 *
 * controller.c  groups by name, their memory; open, close
 * change.c      create, update, delete, seek
 * config.c      what a configuration may be, what is said of a group: get, list
 * member.c      join, credit, answers, leave; who gets the next event
 * work.c        what a group does in a turn: time, redelivery, the reader
 * save.c        places become durable: many groups in one commit
 * dead.c        dead letters are stored · replay.c they come back, are read, purged
 * measure.c     metrics
 *
 * A group does its work in the `turn` task of all groups: whoever changes something says so with
 * cat_group_touch, and at the end of the loop's turn every touched group looks at its place once.
 *
 * Threads: the loop role.
 */
#ifndef CAT_GROUPS_INTERNAL_H
#define CAT_GROUPS_INTERNAL_H

#include "base/assert.h"
#include "base/fault.h"
#include "base/list.h"
#include "catalyst/broker/catalog.h"
#include "catalyst/groups/codec.h"
#include "catalyst/groups/groups.h"

enum {
    CAT_FETCH_MAX = 256, /* events read again at a time, of one group */
    CAT_FETCH_BYTES = 4 << 20,
    CAT_RETRY_MS = 1000,      /* after a failure that is not the event's */
    CAT_SAVE_MS = 20,         /* a place is written so much after its change */
    CAT_SAVE_MAX_MS = 100,    /* and so much when places are large */
    CAT_SAVE_GROUPS = 512,    /* in one commit */
    CAT_SAVE_BYTES = 1 << 20, /* of one commit, but for its last place */
    CAT_NACK_DELAY_MAX = 86400000,
    CAT_MEASURED_MAX = 1000, /* groups with metrics of their own */
    CAT_MEASURE_MS = 2000,   /* how often lag is looked at */
};

struct cat_group;
struct cat_fetching; /* work.c */
struct cat_burial;   /* dead.c */
struct cat_measures; /* measure.c */
struct cat_saving;   /* save.c */

/* Something under way that comes back: its group's memory stays meanwhile. */
struct cat_work {
    struct chassis_list link;
    struct cat_group *group;                /* NULL = of all groups */
    void (*abandon)(struct cat_work *work); /* free what it is embedded in, after a crash */
};

struct cat_group_wait { /* for something that happens to a group once */
    struct cat_group_wait *next;
    cat_done_cb done;
    void *data;
    uint64_t version; /* of the place, for those who wait until it is saved */
};

enum cat_group_state {
    CAT_GROUP_MAKING, /* its rows are not durable yet */
    CAT_GROUP_LIVE,
    CAT_GROUP_GONE, /* not found any more; its memory goes when nothing is under way */
};

struct cat_group {
    struct cat_groups *all;
    struct chassis_list link;       /* of all groups, those that are gone too */
    struct cat_group_config config; /* views into `row` */
    struct chassis_buf row;
    uint32_t number, stream_number;
    int64_t created_ns;
    enum cat_group_state state;
    uint32_t holds; /* of work under way that comes back to this memory */
    struct cat_group_wait *makers;
    bool changing; /* an update, seek or removal is under way */
    bool walking;  /* so is a replay or purge of its dead letters */

    struct cat_place place;
    uint32_t counted;    /* of its entries, in those of all groups */
    uint64_t generation; /* of the place: a seek makes old work void */
    struct cat_runs replayed;
    uint64_t delivered, redelivered, dead_lettered, acked, nacked, lost;

    struct chassis_list members; /* struct cat_member, link */
    uint32_t n_members;
    struct cat_heap able; /* members with credit */
    uint64_t credit, turn;
    struct chassis_list unflushed; /* struct cat_member, flush_link */

    struct cat_filter *filter;
    bool filter_made;
    struct cat_reader *reader;
    bool reader_waits; /* it gave an event that was not taken, or has not begun */
    bool reader_holds; /* that event is one to be held */
    struct cat_fetching *fetching;
    struct cat_burial *burial;
    bool fetch_fails, burial_fails; /* lately; said in the log once */

    uint64_t due_ns; /* in the heap of all groups, by at_due */
    uint32_t at_due;
    bool touched, dirty;
    struct chassis_list touched_link, dirty_link;
    uint64_t version, saved_version; /* of the place */
    struct cat_group_wait *savers;   /* in order of versions */

    struct cat_measures *measures;
    struct cat_push_info *push; /* NULL = nothing was said of its push URL */
};

struct cat_member {
    struct cat_group *group; /* NULL once it left */
    struct cat_holder holder;
    struct chassis_list link, flush_link;
    const struct cat_member_ops *ops;
    void *data;
    uint32_t credit, at_able;
    uint32_t load; /* in flight, as the heap of able members knows it */
    uint64_t turn; /* when it got its last event */
    int64_t joined_ns;
    char *name, *address;
};

struct cat_groups {
    struct cat_groups_options options;
    struct cat_catalog *catalog;
    struct cat_group **sorted; /* by stream, name */
    size_t n, cap;
    struct chassis_list groups, works;
    uint32_t last_number;
    uint64_t entries; /* of all places, as counted */
    struct cat_heap due;
    struct chassis_timer due_timer;
    uint64_t due_armed_ns; /* 0 = not */
    struct chassis_task turn;
    struct chassis_list touched;
    bool in_turn;
    struct chassis_list left; /* members to be freed, by link */

    struct chassis_list dirty;
    struct chassis_timer save_timer;
    struct cat_saving *saving;
    bool save_armed, save_failed, save_urgent;

    struct chassis_timer measure_timer;
    size_t n_measured;
    bool measuring;

    struct chassis_buf infos; /* members of the group that was described last */

    uint32_t under_way; /* work that comes back; 0 = may close */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

static inline uint64_t cat_groups_now(const struct cat_groups *all)
{
    return chassis_now_ns(all->options.loop);
}
static inline int64_t cat_groups_wall_ms(const struct cat_groups *all)
{
    return all->options.wall_ns(all->options.wall_data) / (int64_t)CHASSIS_NS_PER_MS;
}

/* ---- controller.c ---- */

struct cat_group *cat_groups_find(const struct cat_groups *all, struct chassis_view stream,
                                  struct chassis_view name);
/* The same, LIVE; sets the error. */
struct cat_group *cat_groups_live(const struct cat_groups *all, struct chassis_view stream,
                                  struct chassis_view name, struct chassis_error *err);
/* The place in `sorted` after the given names, and not before `stream`. */
size_t cat_groups_after(const struct cat_groups *all, struct chassis_view stream,
                        struct chassis_view after_stream, struct chassis_view after_name);
extern const struct cat_heap_kind cat_groups_by_due;
void cat_groups_closed(struct cat_groups *all);
void cat_work_begin(struct cat_work *work, struct cat_groups *all, struct cat_group *group,
                    void (*abandon)(struct cat_work *work));
/* Before what it is embedded in is freed; may free the group. */
void cat_work_end(struct cat_work *work, struct cat_groups *all);
/* The group's memory stays. */
void cat_group_hold(struct cat_group *group);
void cat_group_release(struct cat_group *group);
void cat_groups_hold(struct cat_groups *all);
void cat_groups_release(struct cat_groups *all);
/* From its row, which it takes. */
struct cat_group *cat_group_new(struct cat_groups *all, struct chassis_buf *row,
                                uint32_t stream_number, enum cat_group_state state);
void cat_groups_insert(struct cat_groups *all, struct cat_group *group);
/* It is not found any more. */
void cat_group_gone(struct cat_group *group, int status, const struct chassis_error *err);
void cat_group_tell_push(struct cat_group *group, bool there);
struct cat_place_rules cat_group_rules(const struct cat_group_config *config);

/* ---- change.c ---- */

/* Rows of a group that is gone already. If the catalog takes nothing now, the next start removes
 * them. */
void cat_group_remove_rows(struct cat_group *group);
void cat_groups_stream_deleted(void *data, uint32_t number, struct chassis_view name);

/* ---- config.c ---- */

/* Refusals name the field; defaults are filled in. */
int cat_group_check(const struct cat_groups *all, struct cat_group_config *config,
                    struct chassis_error *err);

/* ---- work.c ---- */

void cat_group_touch(struct cat_group *group);
/* Have a reader while there are members, none otherwise. */
int cat_group_attend(struct cat_group *group, struct chassis_error *err);
void cat_group_detach(struct cat_group *group);
/* How many more events may be delivered now. */
bool cat_group_may_deliver(const struct cat_group *group);
void cat_groups_turn(struct chassis_task *task);
void cat_groups_due(struct chassis_timer *timer);

/* ---- member.c ---- */

/* To a member with credit, which is there. */
void cat_group_deliver(struct cat_group *group, struct cat_entry *entry,
                       const struct cat_log_event *stored);
void cat_group_flush(struct cat_group *group);
/* Every member hears of it; none leaves. */
void cat_group_tell_gap(struct cat_group *group, uint64_t from, uint64_t to);
/* What members have in flight has changed in other ways than by their answers. */
void cat_group_reload(struct cat_group *group);
/* Every member: its last callback. */
void cat_group_end_members(struct cat_group *group, int status, const struct chassis_error *err);
void cat_groups_free_left(struct cat_groups *all);

/* ---- save.c ---- */

/* The place has changed. */
void cat_group_dirty(struct cat_group *group);
/* `done` when the place is durable as it is now. */
void cat_group_save(struct cat_group *group, cat_done_cb done, void *data);
void cat_groups_save_due(struct chassis_timer *timer);
void cat_groups_save_now(struct cat_groups *all);
/* The group is gone: it is not saved any more. */
void cat_group_save_forget(struct cat_group *group);

/* ---- dead.c ---- */

/* Begin to store what is dead, unless that is under way. */
void cat_group_bury(struct cat_group *group);

/* ---- measure.c ---- */

enum cat_measure {
    CAT_MEASURE_DELIVERED,
    CAT_MEASURE_REDELIVERED,
    CAT_MEASURE_ACKS,
    CAT_MEASURE_NACKS,
    CAT_MEASURE_DEAD,
    CAT_MEASURE_LOST,
    CAT_MEASURES,
};
void cat_group_measure(struct cat_group *group, enum cat_measure measure, uint64_t n);
void cat_group_measured(struct cat_group *group); /* a new group */
void cat_group_unmeasured(struct cat_group *group);
void cat_groups_measure(struct chassis_timer *timer);
uint64_t cat_group_lag(const struct cat_group *group);

#endif
