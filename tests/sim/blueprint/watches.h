/* Watch clients of simulated Blueprint nodes: they come and go, move from node to node, are slow, and
 * must see every change of their log in order, once, however often they reconnect. */
#ifndef DRAFT_SIM_BLUEPRINT_WATCHES_H
#define DRAFT_SIM_BLUEPRINT_WATCHES_H

#include "base/prng.h"
#include "truth.h"

enum { WATCHES = 6 };
struct watch {
    struct bp_watcher watcher;
    struct truth *truth;
    enum truth_log log;
    struct bp_feed *feed; /* it is connected to; NULL = to none */
    size_t at;            /* next row of its log */
    uint64_t next;        /* revision to go on from; 0 = never connected */
    unsigned room;        /* batches it can take */
    bool slow;
    uint64_t batches, events, resyncs;
};

void watch_init(struct watch *w, struct truth *truth, unsigned number);
/* On the feed's role. False if it could not be. */
bool watch_connect(struct watch *w, struct bp_feed *feed);
void watch_disconnect(struct watch *w);
void watch_make_room(struct watch *w, unsigned batches);
/* It has seen everything there is. */
bool watch_caught_up(const struct watch *w);

#endif
