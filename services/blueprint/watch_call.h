/* A stream from a feed to a client: the view of every watch.
 *
 * Invariants: a message is sent whole or not at all; a client that reads too slowly is served from
 * the store when it can take more, so it costs at most the rest of one batch.
 * Threads: open on the role that handles the call; everything else on the feed's executor.
 * Ownership: frees itself when the call is over.
 */
#ifndef BP_WATCH_CALL_H
#define BP_WATCH_CALL_H

#include <chassis/call.h>

#include "feed.h"

struct bp_watch_options {
    struct bp_feed *feed;
    struct chassis_view filter; /* copied */
    uint64_t start_revision;    /* 0 = from now on */
    uint64_t progress_ms;
    bool begin_with_snapshot;
    /* Append the messages of a batch, each with its length before it (chassis_buf_append_block). */
    void (*encode)(const struct bp_feed_batch *batch, struct chassis_buf *out);
};
void bp_watch_call_open(struct chassis_call *call, const struct bp_watch_options *options);

#endif
