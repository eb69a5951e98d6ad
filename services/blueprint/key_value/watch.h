/* What a watch of key_value sees: the feed of its versions.
 *
 * Threads: as feed.h. Ownership: an event's views point into the store, valid during `send`.
 */
#ifndef BP_KEY_VALUE_WATCH_H
#define BP_KEY_VALUE_WATCH_H

#include "../feed.h"
#include "model.h"

/* One event of a batch. */
struct bp_kv_event {
    struct bp_kv_version version;
    struct chassis_view kind;
    bool has_prev;
    struct chassis_view prev_value;
};

extern const struct bp_feed_ops bp_kv_feed_ops;

/* The filter of a watcher, appended. */
void bp_kv_watch_filter(struct chassis_view kind, struct chassis_view prefix, bool prev_value,
                        struct chassis_buf *out);

#endif
