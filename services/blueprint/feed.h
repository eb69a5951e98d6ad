/* A feed: tails an append-only table of the store and fans what is new out to watchers.
 *
 * Watchers that want the same share a group: each row is looked at once per group, each batch is
 * built once and encoded once (by the first sink that needs it), then handed to every member. A
 * watcher that cannot take a batch leaves its group and catches up from the store at its own pace,
 * so a slow one costs no memory; one that fell below what is kept is told to resynchronise.
 *
 *                 refused, or behind                       reached the newest revision
 *      in a group ------------------> catching up ------------------------------> in a group
 *                                          | fell below the floor: resync, then on from now
 *
 * Invariants: a watcher gets every matching row from its start on, in order, each once; all rows of
 * one revision come in one batch; nothing is sent after bp_feed_remove or `ended`.
 * Threads: everything on the feed's executor but bp_feed_notify and bp_feed_watched.
 * Ownership: watchers are caller's memory, from bp_feed_add until bp_feed_remove or `ended`.
 */
#ifndef BP_FEED_H
#define BP_FEED_H

#include <chassis/executor.h>
#include <chassis/log.h>

#include "base/list.h"
#include "store.h"

enum bp_feed_kind {
    BP_FEED_NORMAL,
    BP_FEED_PROGRESS, /* nothing new up to `revision` */
    BP_FEED_SNAPSHOT, /* what is there at the start, for watchers that begin with it */
    BP_FEED_RESYNC,   /* the same for one that fell behind: forget what you know */
};

/* What is handed to watchers; lives during the call. */
struct bp_feed_batch {
    enum bp_feed_kind kind;
    const void **events; /* the domain's own structs, in order */
    size_t n, cap;
    size_t bytes;      /* about what they take, encoded */
    uint64_t first;    /* revision of the first event */
    uint64_t revision; /* everything up to this one is delivered with this batch */
    uint64_t floor;    /* nothing at or below this revision can be watched from */
    struct chassis_txn *txn;
    struct chassis_arena arena;
    struct chassis_buf encoded; /* of the sink: filled once, shared by all that get the batch */
};

struct bp_watcher;
struct bp_sink_ops {
    /* 0, CHASSIS_RESOURCE_EXHAUSTED (nothing was taken: bp_feed_writable will be called) or
     * CHASSIS_CANCELLED (bp_feed_remove will be called). */
    int (*send)(struct bp_watcher *watcher, struct bp_feed_batch *batch);
    /* The feed gave up (damage in the store); the watcher is out. */
    void (*ended)(struct bp_watcher *watcher, const struct chassis_error *err);
};
struct bp_feed_group;
struct bp_watcher {
    const struct bp_sink_ops *ops;
    uint64_t next;        /* revision it waits for; in: where to start, 0 = after the newest */
    uint64_t progress_ns; /* 0 = none */
    bool begin;           /* in: begin with a snapshot; next must be 0 then */
    /* the feed's own */
    struct chassis_list link;
    struct bp_feed_group *group;
    uint64_t sent_ns;
    bool live, blocked, resync;
};

struct bp_feed_group {
    struct chassis_list link, watchers;
    struct chassis_buf filter; /* the domain's; equal bytes mean the same group */
    uint64_t cache;            /* the domain's */
    unsigned members;
    struct bp_feed_batch batch;
};

struct bp_feed_ops {
    enum bp_table table;
    /* Add what the row means to this group to the batch (bp_feed_batch_add), if anything. */
    int (*event)(struct bp_feed_group *group, struct bp_position at, struct chassis_view key,
                 struct chassis_view value, struct bp_feed_batch *batch, struct chassis_error *err);
    /* The highest revision that cannot be watched from any more. */
    int (*floor)(struct chassis_txn *txn, uint64_t *ret_floor, struct chassis_error *err);
    /* Fill a batch that replaces all a watcher knows; may be NULL (none needed). */
    int (*snapshot)(struct bp_feed_group *group, struct bp_feed_batch *batch,
                    struct chassis_error *err);
};

/* Where the feed reads; the pointer may change between calls (chassis_consensus_store_acquire). */
struct bp_source {
    struct chassis_store *(*acquire)(void *data);
    void (*release)(void *data, struct chassis_store *store);
    void *data;
};

struct bp_feed {
    const struct bp_feed_ops *ops;
    struct bp_source source;
    struct chassis_executor *executor;
    struct chassis_logger *log;
    struct chassis_task task;
    struct chassis_timer timer;
    bool notified; /* atomic: the task stands in the queue */
    bool closed;
    uint64_t seen; /* groups have everything up to this revision */
    struct chassis_list groups, lagging;
    unsigned watchers; /* written on the executor, read by notify: atomic */
};

void bp_feed_init(struct bp_feed *feed, const struct bp_feed_ops *ops,
                  const struct bp_source *source, struct chassis_executor *executor,
                  struct chassis_logger *log);
/* No watcher may be left and no notification under way. */
void bp_feed_fini(struct bp_feed *feed);
/* Whether there is a watcher. From any role. */
bool bp_feed_watched(const struct bp_feed *feed);
/* The store may have changed. From any role. */
void bp_feed_notify(struct bp_feed *feed);
/* The first delivery happens in a later turn. CHASSIS_OUT_OF_RANGE when the start is not kept. */
int bp_feed_add(struct bp_feed *feed, struct bp_watcher *watcher, struct chassis_view filter,
                struct chassis_error *err);
void bp_feed_remove(struct bp_feed *feed, struct bp_watcher *watcher);
/* A refused watcher can take more. */
void bp_feed_writable(struct bp_feed *feed, struct bp_watcher *watcher);
/* End every watcher and take no more (the service stops). */
void bp_feed_close(struct bp_feed *feed, const struct chassis_error *err);
void bp_feed_batch_add(struct bp_feed_batch *batch, const void *event, uint64_t revision,
                       size_t bytes);

#endif
