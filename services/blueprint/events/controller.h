/* The publisher: every change of records and processes as a CloudEvent, in revision order, each once.
 *
 *              leads                    found                 lost
 *     IDLE ───────────▶ FINDING ───────────────▶ STREAMING ─────────▶ WAITING
 *       ▲                  │ lost                                        │ delay over
 *       └── leads no more  └──────────────▶ WAITING ──▶ FINDING ◀────────┘
 *
 * The leader reads rows from its store and sends them in batches, several ahead of their answers.
 * Each time a connection begins it asks the broker for the newest event of this source and goes on
 * behind it, so nothing is left out or stored twice whoever crashed, and however long ago; the
 * broker's dedupe by (source, id) covers two leaders for a moment. Now and then the last revision
 * that is stored is remembered as a record, for a stream that was emptied, and compaction waits for
 * it. What was compacted before it could be published (the broker was away for very long) is told by
 * an event "gap".
 *
 * Threads: the loop role but bp_events_committed: any.
 */
#ifndef BP_EVENTS_CONTROLLER_H
#define BP_EVENTS_CONTROLLER_H

#include <chassis/consensus.h>
#include <chassis/log.h>
#include <chassis/metrics.h>

#include "../key_value/controller.h"
#include "sink.h"

enum { BP_EVENTS_BATCHES_MAX = 32 };

enum bp_events_state { BP_EVENTS_IDLE, BP_EVENTS_FINDING, BP_EVENTS_STREAMING, BP_EVENTS_WAITING };

struct bp_events_options {
    struct chassis_consensus *consensus;
    struct chassis_executor *loop;
    struct bp_kv *kv; /* whose compaction waits */
    struct bp_events_sink *sink;
    uint64_t position_ms;                    /* between two records of the position; 0 = 5 s */
    uint64_t backoff_min_ms, backoff_max_ms; /* 0 = 100 and 5,000 */
};

struct bp_events_batch {
    struct bp_position last;
    unsigned n, own;
};

struct bp_events {
    struct bp_events_options options;
    struct chassis_logger *log;
    char source[64]; /* "/blueprint/<cluster id>" */
    enum bp_events_state state;
    bool leader, stopping;
    bool active; /* atomic: rows are wanted; 20 ms later is soon enough, so nobody is "watching" */
    bool notified; /* atomic: the task stands in the queue */
    struct chassis_task task;
    struct chassis_timer retry, remember;
    unsigned attempt;
    bool complained;
    struct bp_position next;  /* first row not sent */
    struct bp_position acked; /* everything before it is stored */
    uint64_t gap_told;        /* a gap up to this revision is stored or sent */
    struct bp_events_batch window[BP_EVENTS_BATCHES_MAX];
    unsigned first, n; /* of the window */
    uint64_t remembered;
    bool worth_remembering, proposing;
    struct chassis_proposal proposal;
    struct chassis_counter *published, *refused;
    struct chassis_gauge *behind;
};

void bp_events_start(struct bp_events *events, const struct bp_events_options *options);
/* Waits for nothing: what is not stored is found again by the next leader. */
void bp_events_stop(struct bp_events *events);
void bp_events_leadership(struct bp_events *events, bool leader);
void bp_events_committed(struct bp_events *events);

#endif
