/* What groups must do, said in the plainest way: one row per group and event, told of every publish,
 * delivery, answer and crash, and judging each.
 *
 * What a crash may forget: answers and deliveries of the last moment (UNSAVED_NS), and of a time when
 * the disk was full. Nothing else.
 * Threads: one.
 */
#ifndef SIM_CATALYST_GROUPS_TRUTH_H
#define SIM_CATALYST_GROUPS_TRUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "catalyst/groups/groups.h"

enum { EVENTS_MAX = 3000, GROUPS = 4, KEYS = 6 };
#define UNSAVED_NS (150 * CHASSIS_NS_PER_MS)

struct row { /* of one event in one group */
    unsigned attempts;
    int member; /* -1 = in flight at nobody */
    uint64_t deadline_ns, not_before_ns;
    uint64_t changed_ns; /* last delivery or negative answer */
    uint64_t done_ns;    /* acknowledged or given up; 0 = neither */
    bool acked;          /* once, ever */
    bool dying;          /* given up: it is or becomes a dead letter */
    bool buried;         /* may have been once, whatever a crash brought back */
    bool uncertain;      /* a crash may have forgotten its last delivery */
    bool forgiven;       /* a crash may have forgotten that it is done */
    bool replayable, replayed;
    unsigned letters;
};
struct event {
    uint64_t sequence; /* 0 = not known */
    unsigned key;      /* 0 = none */
    bool odd, stored;  /* type; its publish was acknowledged */
};
struct group_rules {
    char name[16];
    uint32_t ack_wait_ms, deliveries_max, in_flight_max, backoff_ms;
    bool ordered, odd_only;
};
struct truth {
    uint64_t now_ns, full_ns; /* since when the disk is or was full lately; 0 = it was not */
    struct event events[EVENTS_MAX];
    struct row rows[GROUPS][EVENTS_MAX];
    struct group_rules groups[GROUPS];
    unsigned n_events, n_deliveries, n_redeliveries, n_acks, n_replayed;
    unsigned at_sequence[4 * EVENTS_MAX]; /* event + 1 */
};

/* Prints what is wrong and ends the program. */
_Noreturn void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool truth_matches(const struct truth *t, unsigned group, unsigned event);
void truth_delivered(struct truth *t, unsigned group, int member, unsigned event, uint64_t sequence,
                     uint32_t attempt);
/* `rc` is what the service said. */
void truth_answered(struct truth *t, unsigned group, int member, uint64_t sequence,
                    const struct cat_answer *answer, int rc);
void truth_left(struct truth *t, unsigned group, int member);
/* The service stopped; `orderly`: with time to write everything. */
void truth_stopped(struct truth *t, bool orderly);
/* Dead letters of the group may come back from now on. */
void truth_replay(struct truth *t, unsigned group);
/* All is delivered and answered: each event is acknowledged or a dead letter. */
void truth_settled(const struct truth *t, unsigned group);

#endif
